"""What a pull would come to that is here already: with another content, or held and gone. Only looked at."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..ends.pipeline import Links
from ..errors import ConfigError, ConflictError, PrivilegeError
from ..holds.expressions import Expressions, needing
from ..holds.holds import Holds
from ..model.graph import Name, label
from ..model.plans import Conflict
from ..model.ranges import Key, Range
from ..model.schema import Column, Table
from ..model.states import HELD, SHARED
from ..servers.catalogue import Catalogue
from ..servers.keyed import Keyed, Segment
from ..servers.session import Session
from .adopting import SHOWN, WAYS_ON
from .comparing import FEW, Comparison
from .run import Run

logger = logging.getLogger("link")


@dataclass
class Foreseen:
    """What was seen.

    Attributes
    ----------
    conflicts : list of Conflict
        What is needed, local, not held, and not what the source has.
    gone : int
        How many entities are needed, held, and not local.
    unseen : list of str
        The groups that could not be compared.
    """

    conflicts: list[Conflict] = field(default_factory=list)
    gone: int = 0
    unseen: list[str] = field(default_factory=list)


@dataclass
class Foreseeing:
    """Looks at what is here of some groups, through one session on each server.

    Parameters
    ----------
    links : Links
        The pipeline.
    there, here : Catalogue
        Of both servers.
    helpers : mapping
        The helper tables of those groups that have one.
    held : mapping
        Their holds.
    """

    links: Links
    there: Catalogue
    here: Catalogue
    helpers: Mapping[Name, Table]
    held: Mapping[Name, Holds]

    def foresee(self, some: Expressions, names: Iterable[Name], *, also_gone: bool) -> Foreseen:
        """Compare what is needed of some groups with what is here; count what is gone, too, if that is wanted."""
        found = Foreseen()
        for name in names:
            try:
                ends = self.links.link(name).look(self.helpers.get(name), self.there, self.here)
            except (PrivilegeError, ConfigError) as error:
                logger.info("%s: not compared with what is here: %s", label(name), error.what)
                ends = None
            if ends is None:
                found.unseen.append(label(name))
                continue
            both = Comparison(Run(ends).beside(self.there.session, self.here.session))
            if also_gone and name in self.held:
                for keys in both.listed(SHARED):
                    present = both.present(keys)
                    found.gone += len(self._needed(some, name, [key for key in keys if key not in present]))
            differing = [
                key for keys in self._unheld(name, both) for key in both.unequal(self._needed(some, name, keys))
            ]
            if differing:
                first = differing[:SHOWN]
                examples, columns = [both.run.as_dict(key) for key in first], both.differing_columns(first)
                found.conflicts.append(Conflict(label(name), len(differing), examples, columns))
        return found

    def _needed(self, some: Expressions, name: Name, keys: list[Key]) -> list[Key]:
        return self.there.session.query(*needing(some, name, keys)) if keys else []

    def _unheld(self, name: Name, both: Comparison) -> Iterator[list[Key]]:
        """The local keys that nobody holds, a batch at a time."""
        if name in self.held:
            yield from both.unheld()
            return
        after: Key | None = None
        while keys := Segment(both.run.rows, Range(after)).keys(self.here.session, FEW):
            yield keys
            after = keys[-1]

    def unequal(self, names: Iterable[Name]) -> list[Name]:
        """Those of some groups whose local keys are not those that are held, as counts and checksums tell."""
        here = {name: Segment(self._rows(name)) for name in names if self._table(name)}
        there = {name: self.held[name].saying(HELD) for name in here if name in self.held}
        alike = {name: self.here.dialect.alike(self.there.dialect) and self._is_alike(name) for name in here}
        with ThreadPoolExecutor(1, "link-comparer") as pool:
            asked = pool.submit(_checksums, self.there.session, there, alike)
            try:
                ours, theirs = _checksums(self.here.session, here, alike), asked.result()
            except BaseException:
                self.there.session.cancel()  # which the thread waits for
                raise
        return [name for name in here if theirs.get(name, (0, 0)) != ours[name]]

    def _table(self, name: Name) -> Table | None:
        """The local table of a group, if it is there and has the attributes of its key."""
        spec = self.links.link(name).spec
        if spec.table_name not in self.here.tables(spec.local_schema):
            return None
        table = self.here.table(spec.local_schema, spec.table_name)
        return table if set(self._key(name)) <= set(table.names) else None

    def _key(self, name: Name) -> tuple[str, ...]:
        return self.links.find_graph().groups[name].master.primary_key

    def _rows(self, name: Name) -> Keyed:
        table = self._table(name)
        assert table
        return Keyed(self.here.dialect, table, [table[column] for column in self._key(name)])

    def _is_alike(self, name: Name) -> bool:
        master = self.links.find_graph().groups[name].master
        return all(map(_is_same, self._rows(name).key, master.key_columns))


def rows_here(links: Links, here: Catalogue, names: Iterable[Name]) -> list[Name]:
    """Those of some groups whose local table has rows."""
    specs = {name: links.link(name).spec for name in names}
    here.read(sorted({spec.local_schema for spec in specs.values()}))
    declared = {name: spec for name, spec in specs.items() if spec.table_name in here.tables(spec.local_schema)}
    tables = (here.dialect.full_name(spec.local_schema, spec.table_name) for spec in declared.values())
    selects = (f"SELECT {n}, EXISTS (SELECT 1 FROM {table})" for n, table in enumerate(tables))
    found = here.session.query(" UNION ALL ".join(selects)) if declared else []
    return [list(declared)[int(n)] for n, has_rows in found if has_rows]


def refusal(conflicts: Sequence[Conflict]) -> ConflictError:
    """An error that tells of conflicts in several tables."""
    number = sum(conflict.count for conflict in conflicts)
    return ConflictError(
        f"{number:,} entities are local, not held, and not what the source has: {'; '.join(map(str, conflicts))}.",
        f"Nothing was pulled or held. plan() tells of them, too (.conflicts). {WAYS_ON}",
    )


def _is_same(one: Column, other: Column) -> bool:
    return (one.type, one.charset, one.collation) == (other.type, other.charset, other.collation)


def _checksums(
    session: Session, some: Mapping[Name, Segment], alike: Mapping[Name, bool]
) -> dict[Name, tuple[int, int]]:
    """Count and checksum of the keys of several segments, by one statement."""
    if not some:
        return {}
    selects = list[str]()
    for n, (name, segment) in enumerate(some.items()):
        checksum = session.dialect.key_checksum(segment.rows.pairs, alike[name])
        selects.append(segment.selecting(f"{n}, COUNT(*), {checksum}")[0])
    names = list(some)
    rows = session.query(" UNION ALL ".join(selects))
    return {names[int(n)]: (int(count), int(digest or 0)) for n, count, digest in rows}
