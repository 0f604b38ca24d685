"""``init``: a ``links.toml`` by questions, or by options where nobody can be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .asking import answer, confirmed
from .lab_b import PANEL, Yes
from .reporting import Asked, Report

app = typer.Typer()


@app.command("init", **PANEL)
def _init(
    context: typer.Context,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="What the source is called here: lab_a.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Its server: host, host:port, or postgresql://host/database.", metavar="HOST")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="The link user's name there.")] = None,
    schema: Annotated[
        list[str] | None,
        typer.Option(metavar="THEIRS[=OURS]", help="A schema there, and the local one. Repeatable."),
    ] = None,
    helper_schema: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where rows are held there: link_lab_b.")
    ] = None,
    link: Annotated[str | None, typer.Option(metavar="NAME", help="What the link is called.")] = None,
    yes: Yes = False,
) -> Report:
    """Write a links.toml, and print the GRANTs for the source's lab.

    Asks for what no option says. To a file that is there the link is added.
    """
    from ..config import require_own_helper_schema
    from ..links_file import NAME, find_links_file, read_links, secret, variable
    from ..links_writing import add_link

    asked: Asked = context.obj
    path = asked.config or find_links_file() or Path.cwd() / NAME
    known = read_links(path).sources if path.exists() and path.read_text("utf-8").strip() else {}
    source = answer(asked, source, "What is the source called here", "--source", next(iter(known), "lab_a"))
    settings: dict[str, Any] = {}
    if source not in known:
        settings["host"] = answer(asked, host, "Its server (host, host:port, or a URL)", "--host")
        settings["user"] = answer(asked, user, "The link user's name there", "--user", "djlink")
    schemas = _schemas(asked, schema, source)
    held = answer(asked, helper_schema, "The schema there in which rows are held", "--helper-schema")
    require_own_helper_schema(held, schemas)
    link = answer(asked, link, "What is the link called", "--link", next(iter(schemas), None))
    if path.exists() and not confirmed(asked, yes, f"add it to {path}", f"Add it to {path}?"):
        return Report(notes=["Nothing was written."])
    add_link(path, (link, {"source": source, "helper_schema": held, "schemas": schemas}), (source, settings))
    sql = _grants(path, source, list(schemas), held)
    notes = [
        f"{path} has [link.{link}] now. What the administrator of the source has to run is on stdout.",
        f"The password goes into {variable(source, 'PASS')}, or into .secrets/{secret(source)} beside the file.",
        f"Then: datajoint-link ping {link}",
    ]
    return Report(sql, notes, link=link, counts={"file": str(path), "source": source}, more={"sql": sql})


def _schemas(asked: Asked, given: list[str] | None, source: str) -> dict[str, str]:
    """Theirs, and ours; a local one is called by the source unless it is said."""
    if given is None:
        names = answer(asked, None, "The schemas there, with commas between", "--schema THEIRS[=OURS]")
        theirs = [name.strip() for name in names.split(",") if name.strip()]
        return {
            name: answer(asked, None, f"The local schema for {name}", "--schema", f"{source}_{name}") for name in theirs
        }
    pairs = [each.partition("=") for each in given]
    return {theirs.strip(): ours.strip() or f"{source}_{theirs.strip()}" for theirs, _, ours in pairs}


def _grants(path: Path, source: str, schemas: list[str], helper_schema: str) -> str:
    from ..admin.pipeline_grants import Asked as Wanted
    from ..admin.pipeline_grants import pipeline_grants
    from ..host import configured
    from ..links_file import read_links
    from ..servers.rights import PipelineAccess

    named = read_links(path).source(source)
    access = PipelineAccess(
        schemas=dict.fromkeys(schemas),
        helper_schema=helper_schema,
        user=named.settings.user or "djlink",
        database=named.address.database,
    )
    wanted = Wanted(access=access, backend=named.address.backend or configured().backend)
    return pipeline_grants(wanted).rstrip("\n")
