"""The command ``datajoint-link``: a thin shell over public functions in modules of their own."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .accounts import Credentials
    from .addresses import Address

app = typer.Typer(
    help="Share living data between DataJoint database servers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; errors of this package or of DataJoint become a message on stderr."""
    try:
        with _logs_on_stderr():
            app()
    except Exception as error:
        from .host import DataJointError

        if not isinstance(error, DataJointError):
            raise
        print(f"datajoint-link: {error}", file=sys.stderr)
        sys.exit(1)


@contextmanager
def _logs_on_stderr() -> Iterator[None]:
    # DataJoint logs to stdout, where the SQL goes that somebody may redirect into a file.
    handlers = [h for h in logging.getLogger("datajoint").handlers if isinstance(h, logging.StreamHandler)]
    before = [(handler, handler.setStream(sys.stderr)) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in before:
            handler.setStream(stream or sys.stderr)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"datajoint-link {version('datajoint-link')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


@app.command("grants")
def _grants(
    schema: Annotated[list[str], typer.Option(help="Source schema. Repeatable, for a pipeline of several.")],
    helper_schema: Annotated[str, typer.Option(help="Schema for the helper tables.")],
    table: Annotated[
        list[str] | None,
        typer.Option(help="Source table (Unit, #area, __result), for one link; ephys.Unit for a pipeline. Repeatable."),
    ] = None,
    with_ancestors: Annotated[
        bool, typer.Option("--with-ancestors", help="For a pipeline: all that these tables stand on, too.")
    ] = False,
    helper_table: Annotated[
        list[str] | None, typer.Option(help="Helper table of each --table.  [default: <table>_outbound]")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(help="Part table (Unit.Wave); found by itself with --host. Repeatable."),
    ] = None,
    user: Annotated[str, typer.Option(help="Name of the link user.")] = "djlink",
    client_host: Annotated[str, typer.Option(help="MySQL: the host that the link user connects from.")] = "%",
    backend: Annotated[
        str | None,
        typer.Option(help="mysql (and MariaDB) or postgresql.  [default: mysql]", envvar="DJ_BACKEND"),
    ] = None,
    database: Annotated[str | None, typer.Option(help="PostgreSQL: name of the database.")] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Source server: look tables and parts up there, as DJ_USER and DJ_PASS."),
    ] = None,
    member: Annotated[
        list[str] | None,
        typer.Option(help="User of the source (MySQL: NAME or NAME@HOST): print what he or she needs. Repeatable."),
    ] = None,
    generate_password: Annotated[bool, typer.Option(help="Print a random password, no placeholder.")] = False,
    existing_user: Annotated[bool, typer.Option(help="The account is there already, and stays.")] = False,
    revoke: Annotated[bool, typer.Option(help="Print what takes the rights back.")] = False,
) -> None:
    """Print the SQL for a new link user, or for users of the source beside it; the source's administrator runs it.

    Of whole schemas, without --table, or of tables named as in ephys.Unit, it is that of a pipeline.
    """
    from .admin import grants
    from .config import require_backend
    from .servers.rights import PASSWORD_PLACEHOLDER, Access

    require_backend(backend)
    if generate_password and (existing_user or revoke):
        raise typer.BadParameter("--generate-password is for a new user only.")
    table, of_pipeline = table or [], [name for name in table or [] if name.partition(".")[0] in schema]
    if with_ancestors and not table:
        raise typer.BadParameter("--with-ancestors is for tables: --table ephys.Unit. Whole schemas are named each.")
    if with_ancestors or len(schema) > 1 or not table or of_pipeline:
        if helper_table or part or len(of_pipeline) < len(table):
            raise typer.BadParameter(
                "For a pipeline name whole schemas (--schema), or tables in them as schema.Class "
                "(--schema ephys --table ephys.Unit); their parts and helper tables follow from that."
            )
        print(
            _pipeline_script(
                schema,
                of_pipeline,
                with_ancestors,
                helper_schema=helper_schema,
                user=user,
                client_host=client_host,
                backend=backend,
                database=database,
                host=host,
                member=member or [],
                password=grants.random_password() if generate_password else PASSWORD_PLACEHOLDER,
                new_user=not existing_user,
                revoke=revoke,
            ),
            end="",
        )
        return
    if helper_table and len(helper_table) != len(table):
        raise typer.BadParameter("Give one --helper-table for each --table, in the same order, or none.")
    address = _address(host)
    access = Access(
        source_schema=schema[0],
        tables=[*table, *(part or [])],
        helper_schema=helper_schema,
        helper_tables=helper_table or [grants.helper_name(name) for name in table],
        user=user,
        client_host=client_host,
        password=grants.random_password() if generate_password else PASSWORD_PLACEHOLDER,
        database=database or (address.database if address else None),
        new_user=not existing_user,
    )
    administrator = _administrator() if address else None
    script = grants.grants(
        access, backend=backend, address=address, administrator=administrator, revoke=revoke, members=member or []
    )
    print(script, end="")
    if address is None and not part and not member:
        print("No part tables are named: they need --part or --host.", file=sys.stderr)


def _pipeline_script(
    schemas: list[str],
    tables: list[str],
    ancestors: bool,
    *,
    backend: str | None,
    host: str | None,
    member: list[str],
    revoke: bool,
    **account: Any,
) -> str:
    from .admin.pipeline_grants import Asked, pipeline_grants
    from .servers.rights import PipelineAccess

    address = _address(host)
    database = account.pop("database") or (address.database if address else None)
    asked = Asked(
        access=PipelineAccess(schemas=dict.fromkeys(schemas), database=database, **account),
        tables=tables,
        ancestors=ancestors,
        backend=backend,
        address=address,
        administrator=_administrator() if address else None,
    )
    return pipeline_grants(asked, revoke=revoke, members=member)


@app.command("guard")
def _guard(
    host: Annotated[str, typer.Option(help="Source server; the account there is DJ_USER and DJ_PASS.")],
    helper_schema: Annotated[str, typer.Option(help="Schema with the helper tables of one link user.")],
    user: Annotated[
        str | None, typer.Option(help="MySQL: name of the link user.  [default: who may write to them]")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="mysql (and MariaDB) or postgresql.  [default: mysql]", envvar="DJ_BACKEND"),
    ] = None,
    database: Annotated[str | None, typer.Option(help="PostgreSQL: name of the database.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Run the SQL.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the guard away again.")] = False,
) -> None:
    """Let nobody but the link user delete helper rows while they hold: print the SQL, or run it."""
    from .addresses import parse_host
    from .admin.grants import render
    from .admin.guard import guard
    from .config import require_backend

    require_backend(backend)
    address = parse_host(host)
    address = replace(address, database=database or address.database)
    options: dict[str, Any] = {"user": user, "backend": backend, "apply": apply, "remove": remove}
    done = guard(address, _administrator(), helper_schema, **options)
    if not apply:
        print(render(done.statements), end="")
    what = "no longer guarded" if remove else "guarded"
    print(f"{what if apply else f'to be {what}'}: {', '.join(done.tables)}", file=sys.stderr)
    if done.loose and not remove:
        print(
            f"can be dropped all the same, as no foreign key can refer to it: {', '.join(done.loose)}", file=sys.stderr
        )
    if done.others:
        print(f"no helper tables of @link, and left alone: {', '.join(done.others)}", file=sys.stderr)


def _address(host: str | None) -> Address | None:
    from .addresses import parse_host

    return None if host is None else parse_host(host)


def _administrator() -> Credentials:
    from .accounts import Credentials

    # Prompts go to stderr, so that the SQL alone can be redirected into a file.
    user = os.environ.get("DJ_USER") or typer.prompt("Administrator", err=True)
    password = os.environ.get("DJ_PASS") or typer.prompt(f"Password of {user}", hide_input=True, err=True)
    return Credentials(user, password, "administrator", "DJ_USER and DJ_PASS")


@app.command("convert")
def _convert(
    host: Annotated[str, typer.Option(help="Source server; the account there is LINK_USER and LINK_PASS.")],
    schema: Annotated[str, typer.Option(help="Source schema.")],
    table: Annotated[str, typer.Option(help="The linked class (Unit).")],
    local_schema: Annotated[str, typer.Option(help="Local schema, on the server that DataJoint is configured for.")],
    outbound_schema: Annotated[
        str, typer.Option(help="Schema of the outbound table at the source.", envvar="LINK_OUTBOUND")
    ],
    dry_run: Annotated[bool, typer.Option(help="Only say what would be done.")] = True,
) -> None:
    """Convert a link of dj_link, in place, to one of @link."""
    from dj_link.convert import convert
    from dj_link.settings import older_spec

    from .ends.linking import Link

    spec = older_spec(table, _address(host), schema, outbound_schema, local_schema)
    print(repr(convert(Link(spec), dry_run=dry_run)))


@app.command("demo")
def _demo() -> None:
    """Show the whole job, with real data, on two private database servers that vanish afterwards."""
    from .demo import demo

    demo()
