"""The local tables of a pipeline by the source's names, in the tiers of the source's; they are there once pulled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import datajoint as dj

from .api import LinkedMeta, LinkedTable, linked_class
from .ends.pipeline import Links
from .errors import DefinitionError, LinkError
from .model.graph import Name, class_of, master_of
from .model.schema import nearest, tier
from .sharing import UnknownNameError
from .theirs import NamedSchema, Theirs, named

TIERS: dict[str, type[dj.Table]] = {
    "manual": dj.Manual,
    "lookup": dj.Lookup,
    "imported": dj.Imported,
    "computed": dj.Computed,
}


class LocalSchema(NamedSchema):
    """The local tables of one of the source's schemas, as classes; they are there once they have been pulled.

    Parameters
    ----------
    theirs : Theirs
        What is known of the source.
    schema : str
        The schema's name there.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> type[LinkedTable]: ...
        def __getitem__(self, name: str) -> type[LinkedTable]: ...

    def __init__(self, theirs: Theirs, schema: str) -> None:
        super().__init__(schema)
        self._theirs = theirs
        self._schema = schema
        self._classes: dict[Name, Any] = {}

    @property
    def database(self) -> str:
        """The local schema's name."""
        return str(self._theirs.links.spec.here(self._schema))

    @property
    def connection(self) -> dj.Connection:
        """DataJoint's connection to the local server."""
        return self._theirs.links.connect_here()

    def _names(self) -> dict[str, Name]:
        """The tables that are here; asks the local server only."""
        with self._theirs.links.connect_local().catalogue() as catalogue:
            tables = [name for name in catalogue.tables(self.database) if not name.startswith("~")]
        known = {(self._schema, name) for name in tables}
        masters = [name for name in tables if master_of(self._schema, name, known)[1] == name]
        classes = [class_of(master) for master in masters]
        return {
            c if classes.count(c) == 1 else master: (self._schema, master)
            for c, master in zip(classes, masters, strict=True)
        }

    def _find(self, name: str) -> Any:
        known = self._names()
        if (found := named(known, name)) is None:
            raise _not_here(self._theirs, self._schema, name, known)
        if found not in self._classes:
            self._classes[found] = _local_class(self._theirs.links, found)
        return self._classes[found]

    def __repr__(self) -> str:
        return f"<schema {self.database}, with tables of the source's {self._schema}>"


def _not_here(theirs: Theirs, schema: str, name: str, known: Iterable[str]) -> LinkError:
    """Why there is no local table of a name."""
    there, unknown = dict[str, Name](), "and the source does not tell what it has"
    try:
        there = theirs.tables(schema)
    except LinkError as error:  # it may be away
        unknown = f"and the source cannot be asked: {error.what.rstrip('.')}"
    if name in there or name in [table for _, table in there.values()]:
        title = f"{schema}.{name}" if name.isidentifier() else f"{schema}[{name!r}]"
        return UnknownNameError(
            f"{title} has not been pulled yet: there is no such table here.",
            f"pull(source.{title}) of the pipeline makes it, with all that it stands on; source.{title} is what they "
            "have.",
        )
    choices = {*known, *there}
    return UnknownNameError(
        f"There is no table {name} in {theirs.links.spec.here(schema)} here"
        + (f", nor in {schema} at the source." if there else f", {unknown}."),
        nearest(name, choices) if choices else "Its first pull makes it.",
    )


class PulledMeta(LinkedMeta):
    """Of a linked class that makes no tables: a pull does."""

    def _declare(cls) -> None:
        spec = cls._link.spec
        raise DefinitionError(
            f"The local table {spec.local_schema}.{spec.table_name} is not there any more, or not yet.",
            f"A pull of {spec.source_schema}.{spec.class_name} makes it, with all that it stands on.",
        )


class PulledTable(LinkedTable, metaclass=PulledMeta):
    """A local table of a pipeline: what :class:`LinkedTable` is, in the tier of the source's table."""


def _local_class(links: Links, name: Name) -> Any:
    body = {"__module__": name[0]}
    return linked_class(type(class_of(name[1]), (), body), links.link(name), PulledTable, TIERS[tier(name[1])])
