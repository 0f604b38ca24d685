"""``LINK[.schema.Table] ...``: what a verb is about, by the names of the ``links.toml``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .reporting import Asked

if TYPE_CHECKING:
    from ..links_file import LinksFile
    from ..pipeline import Pipeline


@dataclass(frozen=True)
class Target:
    """One link, or tables of it.

    Attributes
    ----------
    link : str
        The link's name.
    tables : tuple of str
        ``"schema.Class"``, as the source has them; nothing for the whole link.
    """

    link: str
    tables: tuple[str, ...] = ()


def targets(words: Iterable[str], known: Iterable[str]) -> list[Target]:
    """What some words name: each link once, with its tables; all links, where there are no words.

    Raises
    ------
    typer.BadParameter
        A word names nothing that there is.
    """
    known = list(known)
    found: dict[str, list[str]] = {}
    for word in words:
        link, dot, table = word.partition(".")
        if link not in known:
            raise typer.BadParameter(_unknown(word, link, known))
        if dot and not all(table.partition(".")[::2]):
            raise typer.BadParameter(f"{word} names no table. It is LINK.schema.Table, such as {link}.ephys.Unit.")
        found.setdefault(link, []).append(table)
    for link, tables in found.items():
        if "" in tables and any(tables):
            raise typer.BadParameter(f"{link} is named as a whole, and so are tables of it: name it one way.")
    found = found or {link: [] for link in known}
    return [Target(link, tuple(dict.fromkeys(filter(None, tables)))) for link, tables in found.items()]


def _unknown(word: str, link: str, known: list[str]) -> str:
    from ..links_file import resembling

    return f"{word}: there is no link {link!r}. {resembling(link, known, 'link')}"


def read(asked: Asked) -> LinksFile:
    """The ``links.toml`` that is asked for."""
    from ..links_file import read_links

    return read_links(asked.config)


def query(pipeline: Pipeline, table: str, where: str | None) -> Any:
    """A table at the source, restricted: what is to be pulled or refreshed."""
    from ..selections import restricted

    schema, _, name = table.partition(".")
    found = pipeline.source[schema][name]
    return found if where is None else restricted(found, where, table)


def _complete(context: typer.Context, incomplete: str) -> list[str]:
    """The links of the file; of one that is begun, its schemas and the tables that it names. Connects nowhere."""
    from ..links_file import read_links

    before = context.parent.params if context.parent else {}
    try:
        file = read_links(before.get("config"))
    except Exception:  # told to who runs the verb; to know which errors there are would take longer than a Tab may
        return []
    found = list(file.links)
    link, dot, _ = incomplete.partition(".")
    if dot and link in file.links:
        said = file.links[link]
        found = [f"{link}.{name}" for name in [*(f"{schema}." for schema in said.schemas), *said.pull]]
    return [name for name in found if name.startswith(incomplete)]


_NAMED = typer.Argument(
    metavar="LINK[.schema.Table]",
    hidden=True,  # what typer would write of it is its type; the usage names it, and the help of the command says what
    autocompletion=_complete,
)
#: What most verbs take.
Words = Annotated[list[str] | None, _NAMED]
_REQUIRED = typer.Argument(
    metavar="LINK[.schema.Table]",
    hidden=True,
    autocompletion=_complete,
)
#: What verbs take that let something go.
RequiredWords = Annotated[list[str], _REQUIRED]
