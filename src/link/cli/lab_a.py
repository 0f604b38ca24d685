"""What the source's administrator does: letting a link user in and out, guarding the rows that hold."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .reporting import Report

if TYPE_CHECKING:
    from ..accounts import Credentials
    from ..addresses import Address

app = typer.Typer()


@app.command("grants", rich_help_panel="Lab A")
def _grants(
    schema: Annotated[
        list[str], typer.Option(metavar="NAME", help="Source schema. Repeatable, for a pipeline of several.")
    ],
    helper_schema: Annotated[str, typer.Option(help="Schema for the helper tables.")],
    table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Source table (Unit, #area, __result), for one link; ephys.Unit for a pipeline. Repeatable.",
        ),
    ] = None,
    with_ancestors: Annotated[
        bool, typer.Option("--with-ancestors", help="For a pipeline: all that these tables stand on, too.")
    ] = False,
    helper_table: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Helper table of each --table.  [default: <table>_outbound]"),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Part table (Unit.Wave); found by itself with --host. Repeatable."),
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
        typer.Option(
            metavar="NAME",
            help="User of the source (MySQL: NAME or NAME@HOST): print what he or she needs. Repeatable.",
        ),
    ] = None,
    generate_password: Annotated[
        bool, typer.Option("--generate-password", help="Print a random password, no placeholder.")
    ] = False,
    require_tls: Annotated[
        bool, typer.Option("--require-tls/--no-require-tls", help="Let the new link user in by TLS alone.")
    ] = True,
    existing_user: Annotated[
        bool, typer.Option("--existing-user", help="The account is there already, and stays.")
    ] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Print what takes the rights back.")] = False,
) -> Report:
    """Print the SQL that lets a link user in, or users of the source beside it, or out.

    Of whole schemas, without --table, or of tables named as in ephys.Unit, it is that of a pipeline.
    """
    from ..admin import grants
    from ..config import require_backend
    from ..servers.rights import PASSWORD_PLACEHOLDER, Access

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
        return Report(
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
                require_tls=require_tls,
                revoke=revoke,
            ).rstrip("\n")
        )
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
        require_tls=require_tls,
    )
    administrator = _administrator() if address else None
    script = grants.grants(
        access, backend=backend, address=address, administrator=administrator, revoke=revoke, members=member or []
    )
    incomplete = address is None and not part and not member
    return Report(script.rstrip("\n"), ["No part tables are named: they need --part or --host."] if incomplete else [])


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
    from ..admin.pipeline_grants import Asked, pipeline_grants
    from ..servers.rights import PipelineAccess

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


@app.command("guard", rich_help_panel="Lab A")
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
) -> Report:
    """Let nobody but the link user delete helper rows while they hold.

    Prints the SQL, or runs it.
    """
    from ..addresses import parse_host
    from ..admin.grants import render
    from ..admin.guard import guard
    from ..config import require_backend

    require_backend(backend)
    address = parse_host(host)
    address = replace(address, database=database or address.database)
    options: dict[str, Any] = {"user": user, "backend": backend, "apply": apply, "remove": remove}
    done = guard(address, _administrator(), helper_schema, **options)
    what = "no longer guarded" if remove else "guarded"
    notes = [f"{what if apply else f'to be {what}'}: {', '.join(done.tables)}"]
    if done.loose and not remove:
        notes.append(f"can be dropped all the same, as no foreign key can refer to it: {', '.join(done.loose)}")
    if done.others:
        notes.append(f"no helper tables of @link, and left alone: {', '.join(done.others)}")
    return Report("" if apply else render(done.statements).rstrip("\n"), notes)


def _address(host: str | None) -> Address | None:
    from ..addresses import parse_host

    return None if host is None else parse_host(host)


def _administrator() -> Credentials:
    from ..accounts import Credentials

    # Prompts go to stderr, so that the SQL alone can be redirected into a file.
    user = os.environ.get("DJ_USER") or typer.prompt("Administrator", err=True)
    password = os.environ.get("DJ_PASS") or typer.prompt(f"Password of {user}", hide_input=True, err=True)
    return Credentials(user, password, "administrator", "DJ_USER and DJ_PASS")
