"""What the source's people do: letting a link user in and out, guarding holds, and asking for rows that are held."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .asking import may_ask
from .reporting import Asked, Exit, Report
from .where import Backend, Database, HelperSchema, Host, Where, administrator, find

if TYPE_CHECKING:
    from ..addresses import Address
    from ..admin.cleaning import Cleaned
    from ..admin.flags import Flagging

app = typer.Typer()

_LAB_A = "Lab A"


Table = Annotated[str, typer.Option(metavar="SCHEMA.TABLE", help="Source table, such as ephys.Unit.")]
Chosen = Annotated[str, typer.Option(metavar="SQL", help="Which rows of it: a restriction as DataJoint takes it.")]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Only say what would be done.")]


@app.command("grants", rich_help_panel=_LAB_A)
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
    backend: Backend = None,
    database: Database = None,
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
    from ..admin.grants import grants, helper_name, random_password
    from ..admin.pipeline_grants import Asked as AskedOfPipeline
    from ..admin.pipeline_grants import pipeline_grants
    from ..config import require_backend
    from ..servers.rights import PASSWORD_PLACEHOLDER, Access, PipelineAccess

    require_backend(backend)
    if generate_password and (existing_user or revoke):
        raise typer.BadParameter("--generate-password is for a new user only.")
    table, of_pipeline = table or [], [name for name in table or [] if name.partition(".")[0] in schema]
    is_pipeline = with_ancestors or len(schema) > 1 or not table or bool(of_pipeline)
    if with_ancestors and not table:
        raise typer.BadParameter("--with-ancestors is for tables: --table ephys.Unit. Whole schemas are named each.")
    if is_pipeline and (helper_table or part or len(of_pipeline) < len(table)):
        raise typer.BadParameter(
            "For a pipeline name whole schemas (--schema), or tables in them as schema.Class "
            "(--schema ephys --table ephys.Unit); their parts and helper tables follow from that."
        )
    if helper_table and len(helper_table) != len(table):
        raise typer.BadParameter("Give one --helper-table for each --table, in the same order, or none.")
    address = _address(host)
    account: dict[str, Any] = {
        "helper_schema": helper_schema,
        "user": user,
        "client_host": client_host,
        "password": random_password() if generate_password else PASSWORD_PLACEHOLDER,
        "database": database or (address.database if address else None),
        "new_user": not existing_user,
        "require_tls": require_tls,
    }
    there: dict[str, Any] = {
        "backend": backend,
        "address": address,
        "administrator": administrator() if address else None,
    }
    if is_pipeline:
        shared = PipelineAccess(schemas=dict.fromkeys(schema), **account)
        asked = AskedOfPipeline(access=shared, tables=of_pipeline, ancestors=with_ancestors, **there)
        return _of_sql(pipeline_grants(asked, revoke=revoke, members=member or []))
    access = Access(
        source_schema=schema[0],
        tables=[*table, *(part or [])],
        helper_tables=helper_table or [helper_name(name) for name in table],
        **account,
    )
    script = grants(access, **there, revoke=revoke, members=member or [])
    incomplete = address is None and not part and not member
    return _of_sql(script, ["No part tables are named: they need --part or --host."] if incomplete else [])


@app.command("guard", rich_help_panel=_LAB_A)
def _guard(
    helper_schema: HelperSchema,
    host: Host = None,
    user: Annotated[
        str | None, typer.Option(help="MySQL: name of the link user.  [default: who may write to them]")
    ] = None,
    backend: Backend = None,
    database: Database = None,
    apply: Annotated[bool, typer.Option("--apply", help="Run the SQL.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the guard away again.")] = False,
) -> Report:
    """Let nobody but the link user delete helper rows while they hold.

    Prints the SQL, or runs it.
    """
    from ..admin.grants import render
    from ..admin.guard import guard

    there = find(host, backend, database)
    done = guard(
        there.address,
        there.administrator,
        helper_schema,
        user=user,
        backend=there.backend,
        apply=apply,
        remove=remove,
    )
    what = "no longer guarded" if remove else "guarded"
    notes = [f"{what if apply else f'to be {what}'}: {', '.join(done.tables)}"]
    if done.loose and not remove:
        notes.append(f"can be dropped all the same, as no foreign key can refer to it: {', '.join(done.loose)}")
    if done.others:
        notes.append(f"no helper tables of @link, and left alone: {', '.join(done.others)}")
    report = _of_sql(render(done.statements), notes)
    report.counts = {"tables": done.tables, "loose": done.loose, "others": done.others, "applied": apply}
    report.text = "" if apply else report.text
    return report


@app.command("holds", rich_help_panel=_LAB_A)
def _holds(
    helper_schema: HelperSchema,
    by: Annotated[Literal["table", "account"], typer.Option(help="What one line is about.")] = "table",
    host: Host = None,
    backend: Backend = None,
    database: Database = None,
) -> Report:
    """Say who holds what, and since when."""
    from ..admin.holding import holds

    there = find(host, backend, database)
    found = holds(there.address, there.administrator, helper_schema, by=by, backend=there.backend)
    return Report(repr(found), counts=found.to_dict())


@app.command("flag", rich_help_panel=_LAB_A)
def _flag(
    helper_schema: HelperSchema,
    table: Table,
    where: Chosen,
    dry_run: DryRun = False,
    host: Host = None,
    backend: Backend = None,
    database: Database = None,
) -> Report:
    """Ask whoever holds rows to delete their copies."""
    from ..admin.flags import flag

    return _change_flags(flag, find(host, backend, database), table, where, helper_schema, dry_run)


@app.command("unflag", rich_help_panel=_LAB_A)
def _unflag(
    helper_schema: HelperSchema,
    table: Table,
    where: Chosen,
    dry_run: DryRun = False,
    host: Host = None,
    backend: Backend = None,
    database: Database = None,
) -> Report:
    """Take back what was asked for by flag."""
    from ..admin.flags import unflag

    return _change_flags(unflag, find(host, backend, database), table, where, helper_schema, dry_run)


def _change_flags(
    change: Callable[..., Flagging], there: Where, table: str, where: str, helper_schema: str, dry_run: bool
) -> Report:
    options: dict[str, Any] = {"helper_schema": helper_schema, "backend": there.backend, "dry_run": dry_run}
    done = change(there.address, there.administrator, table, where, **options)
    return Report(repr(done), counts=done.to_dict())


@app.command("clean", rich_help_panel=_LAB_A)
def _clean(
    context: typer.Context,
    helper_schema: HelperSchema,
    table: Table,
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Only these rows of it.")] = None,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    host: Host = None,
    backend: Backend = None,
    database: Database = None,
) -> Report:
    """Delete what is deprecated.

    The helper rows go, with all that depends on the rows at the source, and these themselves, in one transaction; but
    no hold. Exit code 3 if rows stay as they, or what depends on them, are held.
    """
    from ..admin.cleaning import clean

    there = find(host, backend, database)
    asked = context.ensure_object(Asked)
    asked.stands = "Nothing was deleted."

    def run(only_counted: bool, shown: Cleaned | None = None) -> Cleaned:
        options: dict[str, Any] = {"helper_schema": helper_schema, "backend": there.backend, "dry_run": only_counted}
        cleaned = clean(there.address, there.administrator, table, where, shown=shown, **options)
        asked.stands = asked.stands if only_counted else "It was deleted."
        return cleaned

    done = run(dry_run or not yes)
    if done.entities and not dry_run and may_ask(asked, yes, "delete it, or -n to see it only"):
        print(repr(done), file=sys.stderr)
        if not typer.confirm("Delete it?", err=True):
            return Report(notes=["Nothing was deleted."], counts=done.to_dict())
        done = run(False, shown=done)
    return Report(repr(done), exit=Exit.DIFFERS if done.kept else Exit.DONE, counts=done.to_dict())


def _of_sql(script: str, notes: list[str] | None = None) -> Report:
    """What is said of a script."""
    sql = script.rstrip("\n")
    return Report(sql, notes or [], more={"sql": sql})


def _address(host: str | None) -> Address | None:
    from ..addresses import parse_host

    return None if host is None else parse_host(host)
