"""Foreign keys of a source that local tables do not have: a pipeline does not follow them.

A table that was made without one stays so. Whether a foreign key is here is what the local catalogue says; which ones
the source had when a table was made, or was last used, is noted with it, so that a new one is noticed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from ..errors import LocalMismatchError, told_together
from ..model.graph import Edge, Graph, Name, Outside, label
from ..model.mapping import same_key
from ..model.schema import TIER_PREFIXES, ForeignKey, Table, key_name
from ..model.served import Tie
from ..servers.catalogue import Catalogue
from ..servers.dialect import plain
from ..servers.site import Site
from .identity import linked_in

logger = logging.getLogger("link")


class Cuts:
    """The foreign keys of a source beside those of the local tables, as their catalogue tells them.

    Parameters
    ----------
    local : Site
        The local server.
    catalogue : Catalogue
        Of it; what is not read yet is read.
    graph : Graph
        The source's groups, with all foreign keys.
    schemas : mapping
        The local schema of each of the source's.

    Attributes
    ----------
    missing : dict
        Of each group those of its foreign keys that its local tables, which are there, do not have.
    present : list of Edge
        Foreign keys that are here.
    """

    def __init__(self, local: Site, catalogue: Catalogue, graph: Graph, schemas: Mapping[str, str]) -> None:
        self.local, self.catalogue, self.graph, self.schemas = local, catalogue, graph, schemas
        here = read_here(catalogue, schemas.values())
        self.ties: dict[str, dict[str, Tie | None]] = {ours: linked_in(catalogue.session, ours) for ours in here}
        self.missing: dict[Name, list[Edge | Outside]] = {}
        self.present: list[Edge | Outside] = []
        keys: list[Edge | Outside] = [*graph.edges, *graph.outside]
        for key in keys:
            if table := self._here(key.table):
                if any(same_key(own, self._mapped(key.key)) for own in table.foreign_keys):
                    self.present.append(key)
                else:
                    self.missing.setdefault(key.child, []).append(key)

    @property
    def standing(self) -> list[Edge | Outside]:
        """The foreign keys that local tables were made without."""
        return [replace(key, is_standing=True) for keys in self.missing.values() for key in keys]

    @property
    def linked(self) -> list[Name]:
        """The groups whose local tables are there, and linked: of what only has such a name nothing is known."""
        return [
            name
            for name, group in self.graph.groups.items()
            if name[1] in self.ties.get(self.schemas.get(name[0], ""), {}) and self._here(group.master)
        ]

    def recent(self, name: Name) -> list[Edge | Outside]:
        """Of the foreign keys that a group's local tables do not have, those that the source has got since."""
        schema, table = name
        tie = self.ties.get(self.schemas.get(schema, ""), {}).get(table)
        if tie is None or tie.keys is None:
            return []
        return [key for key in self.missing.get(name, []) if key_name(key.table.name, key.key) not in tie.keys]

    def _here(self, table: Table) -> Table | None:
        """The local table of one of the source's, if it is there."""
        ours = self.schemas.get(table.schema)
        if ours not in self.ties or table.name not in self.catalogue.tables(ours):
            return None
        return self.catalogue.table(ours, table.name)

    def _mapped(self, key: ForeignKey) -> ForeignKey:
        return ForeignKey(key.columns, self.schemas.get(key.schema, ""), key.table, key.referred)

    def require_open(self, said: Collection[Edge | Outside]) -> None:
        """Raise LocalMismatchError where a foreign key shall be cut that a local table has: its rows refer by it."""
        for key in self.present:
            if key in said and (table := self._here(key.table)):
                own = next(own for own in table.foreign_keys if same_key(own, self._mapped(key.key)))
                drop = plain(self.local.definitions.drop_foreign_key(table, own))
                raise LocalMismatchError(
                    f"{key.place} shall not be followed, but the local table {table.schema}.{table.name} on "
                    f"{self.local.address} has this foreign key, to {own.schema}.{own.table}.",
                    f"Pull without that cut; or let the local table be without the foreign key, for good: {drop}; or "
                    f"drop the local table ({label(key.child)}, drop() of its class) and pull it anew.",
                )

    def require_fit(self, names: Iterable[Name], said: Collection[Edge | Outside]) -> None:
        """Raise LinkError where local tables of some groups are not what a pipeline has made, or would make.

        Parameters
        ----------
        names : iterable of tuple
            The groups.
        said : collection of Edge or Outside
            The foreign keys that are cut by word.
        """
        told_together((lambda n=name: self._require_fit(n, said)) for name in names)  # type: ignore[misc]

    def _require_fit(self, name: Name, said: Collection[Edge | Outside]) -> None:
        schema, table = name
        ours = self.schemas[schema]
        self._require_no_other_tier(name)
        here = self._here(self.graph.groups[name].master)
        if here is None:
            return
        missing = [key for key in self.missing.get(name, []) if key not in said]
        if not missing:
            return
        ties, place = self.ties[ours], f"{ours}.{table} on {self.local.address}"
        tie = ties.get(table)
        if table in ties and (tie is None or tie.keys is None):
            lacking = "; ".join(_told(key) for key in missing)
            raise LocalMismatchError(
                f"The local table {place} was made by @link, without foreign keys; a pipeline's has those of the "
                f"source: {lacking}.",
                f"Let the pipeline have another local schema for {schema!r} (schemas=), or end that link: release() of "
                "its class's source, and drop() of the class. To use the table as it is, leave the foreign keys out: "
                f"cut={[key.place for key in missing]!r}.",
            )
        if new := [key for key in missing if key in self.recent(name)]:
            raise self._new(name, place, new)
        if self.local.is_news((name, *(key.place for key in missing))):
            logger.info(
                "%s: its local table has no foreign key for %s: they are not followed",
                *(label(name), ", ".join(key.place for key in missing)),
            )

    def _new(self, name: Name, place: str, keys: list[Edge | Outside]) -> LocalMismatchError:
        """The error that names foreign keys which the source has got since a local table was made."""
        pairs = [(key, table) for key in keys if (table := self._here(key.table))]
        lacks_columns = any(set(key.key.columns) - set(table.names) for key, table in pairs)
        adding = "; ".join(plain(self.local.definitions.add_foreign_key(t, self._mapped(key.key))) for key, t in pairs)
        first = f"alter() of the class of {label(name)} adds the columns; then, t" if lacks_columns else "T"
        return LocalMismatchError(
            f"The source has got foreign keys that the local table {place} lacks: "
            f"{'; '.join(_told(key) for key in keys)}.",
            f"{first}o have them here, too: {adding}; but what they refer to has to be here first: pull it. To do "
            f"without them: cut={[key.place for key in keys]!r}, once.",
        )

    def _require_no_other_tier(self, name: Name) -> None:
        """Refuse a table of the same class beside one of another tier: DataJoint has one class for both."""
        schema, table = name
        ours, stem = self.schemas[schema], table.lstrip("#_")
        there = self.catalogue.tables(ours) if ours in self.ties else []
        others = [prefix + stem for prefix in TIER_PREFIXES if prefix + stem != table]
        for other in others:
            if other not in there or (schema, other) in self.graph.groups:
                continue
            made = "made by @link" if other in self.ties[ours] else "the lab's own"
            end = (
                "or end that link: release() of its class's source, and drop() of the class."
                if other in self.ties[ours]
                else "or rename the local table."
            )
            raise LocalMismatchError(
                f"The local schema {ours} on {self.local.address} has a table {other}, {made}, and {label(name)} of "
                f"the source would be {table} beside it: both are one class to DataJoint.",
                f"Let the pipeline have another local schema for {schema!r} (schemas=), {end}",
            )


def read_here(catalogue: Catalogue, schemas: Iterable[str]) -> list[str]:
    """Read what there is in those of some local schemas that are there; which these are."""
    there = catalogue.schemas()
    here = [ours for ours in schemas if ours in there]
    catalogue.read(here)
    return here


def _told(key: Edge | Outside) -> str:
    return f"{key.place} -> {key.key.schema}.{key.key.table}"
