"""What both labs use: the older interface's conversion, the demo, the version."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from .reporting import Asked, Report

app = typer.Typer()


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
) -> Report:
    """Convert a link of dj_link, in place, to one of @link."""
    from dj_link.convert import convert
    from dj_link.settings import older_spec

    from ..addresses import parse_host
    from ..ends.linking import Link

    spec = older_spec(table, parse_host(host), schema, outbound_schema, local_schema)
    done = convert(Link(spec), dry_run=dry_run)
    return Report(repr(done), counts=done.to_dict())


@app.command("demo")
def _demo(context: typer.Context) -> Report:
    """Show the whole job on two private servers that vanish afterwards."""
    from ..demo import demo

    asked = context.ensure_object(Asked)
    with contextlib.redirect_stdout(sys.stderr) if asked.as_json else contextlib.nullcontext():
        demo()
    return Report()


@app.command("version")
def _version() -> Report:
    """Print the version."""
    return Report(version_line())


def version_line() -> str:
    """The name and the version of this package."""
    from importlib.metadata import version

    return f"datajoint-link {version('datajoint-link')}"
