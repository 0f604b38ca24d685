"""Sets of keys as common table expressions: the text of one statement over all that is needed of each group.

One expression for each group, so that the statement grows with the number of foreign keys, not with that of the ways
through them. No key travels, and nothing is needed but SELECT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..model.graph import Edge, Name
from ..model.ranges import Key, Sql
from ..model.schema import Table
from ..model.states import HELD
from ..servers.keyed import Keyed
from .holds import Holds
from .sets import Sets, either, equal


class _Base(NamedTuple):
    """A set from which another one follows: its name, and the places of its columns.

    Upward, ``places`` says which columns of the set are the key; downward, which columns of the key the set has.
    """

    name: str
    places: tuple[int, ...]


@dataclass
class Known:
    """Keys that have been read: what a user has selected of some groups, and what is needed of some."""

    selected: dict[Name, Sequence[Key]] = field(default_factory=dict)
    needed: dict[Name, Sequence[Key]] = field(default_factory=dict)


class Expressions:
    """The text of a statement over sets: those that it needs, each after those that it is made of.

    Some servers write out a set wherever it is named, with all that it is made of. So sets are made of what is as far
    away as keys lead, and :meth:`weight` tells how much is written out.

    Parameters
    ----------
    sets : Sets
        What it is about.
    known : Known, optional
        What has been read of some groups.

    Attributes
    ----------
    args : list
        The arguments of the sets that have been made.
    """

    def __init__(self, sets: Sets, known: Known | None = None) -> None:
        self.sets = sets
        self.dialect = sets.dialect
        self.known = known or Known()
        self.args: list[Any] = []
        self._made: dict[str, str] = {}
        self._widths: dict[str, int] = {}
        self._weights: dict[str, int] = {}
        # Not as the name of a column's table.
        self._named = re.compile(rf"{re.escape(self.dialect.alias('@')).replace('@', '[a-z]+[0-9]+')}(?!\.)")
        self._selections: dict[Name, str] = {}
        self._whole: dict[Name, str] = {}
        self._spared: dict[Name, str | None] = {}
        self._ways_down: dict[Name, list[_Base]] = {}
        self._bases: dict[Name, list[_Base]] = {}
        self._needed: dict[Name, str] = {}
        self._unheld: dict[Name, str] = {}

    @property
    def with_sets(self) -> str:
        """The beginning of the statement."""
        return f"WITH {', '.join(self._made.values())}"

    def weight(self, sql: str) -> int:
        """How many sets a text names, with all those of which they are made."""
        return sum(self._weights[name] for name in re.findall(self._named, sql) if name in self._weights)

    def columns(self, number: int, of: str = "") -> str:
        """The columns of a set; ``of`` which, where there are others."""
        return ", ".join(self._places(range(number), of))

    def _places(self, places: Iterable[int], of: str = "") -> list[str]:
        return [f"{of and f'{of}.'}{self.dialect.alias(str(place))}" for place in places]

    def make(self, kind: str, columns: int, selects: Sequence[str]) -> str:
        """Name a set that is the union of what some statements select."""
        name = self.dialect.alias(f"{kind}{len(self._made)}")
        union = " UNION ".join(dict.fromkeys(selects))
        self._made[name] = f"{name} ({self.columns(columns)}) AS ({union})"
        self._widths[name], self._weights[name] = columns, 1 + self.weight(union)
        return name

    # what is selected

    def chosen(self, name: Name) -> str | None:
        """The set of what is selected of a group, if anything may be; without what stands on flagged entities."""
        if name not in self._spared:
            self._spared[name] = self._spare(name)
        return self._spared[name]

    def _spare(self, name: Name) -> str | None:
        if not (found := self.all_chosen(name)) or name not in self.sets.below_flagged:
            return found
        select = f"SELECT {self.columns(len(self.sets.key(name)), found)} FROM {found}"
        return self.make("spared", len(self.sets.key(name)), [f"{select} WHERE NOT {self.stands_on_flagged(name)}"])

    def stands_on_flagged(self, name: Name) -> str:
        """The condition that one of all that is selected of a group is to be deleted, or stands on such a one."""
        key = self._places(range(len(self.sets.key(name))), self.all_chosen(name) or "")
        return either(self.sets.flagged_where(name, key))

    def all_chosen(self, name: Name) -> str | None:
        """The set of all that is selected of a group, if anything may be."""
        if name in self.sets.whole_names:
            if name not in self._whole:
                self._whole[name] = self.make("whole", len(self.sets.key(name)), [self._all_rows(name)])
            return self._whole[name]
        return self.selected(name) if name in self.sets.selected_names else None

    def selected(self, name: Name) -> str:
        """The set of what a user has selected of a group, or is derived from that."""
        if name not in self._selections:
            self._selections[name] = self._select(name)
        return self._selections[name]

    def _select(self, name: Name) -> str:
        if name in self.known.selected:
            return self._told(name, self.known.selected[name])
        return self.make("selected", len(self.sets.key(name)), self._selects(name))

    def _selects(self, name: Name) -> list[str]:
        sets, some = self.sets, self.sets.selections.get(name, ())
        if name in sets.all_selected:
            return [self._all_rows(name)]
        found = [f"{self._all_rows(name)} WHERE {either(s.condition for s in some)}"] if some else []
        for edge in sets.up(name) if sets.descendants else ():
            if edge.parent in sets.selected_names:
                found += [self._derived(edge, base) for base in self._downward(edge.parent)]
        return found

    def _all_rows(self, name: Name) -> str:
        return f"SELECT {', '.join(self.sets.key(name))} FROM {self.dialect.name_of(self.sets.master(name))}"

    def _downward(self, name: Name) -> list[_Base]:
        """The sets by which it is told what of a group a user has selected."""
        if name not in self._ways_down:
            self._ways_down[name] = self._find_downward(name)
        return self._ways_down[name]

    def _find_downward(self, name: Name) -> list[_Base]:
        sets = self.sets
        edges = [(e.parent, sets.inherited(e)) for e in sets.up(name) if e.parent in sets.selected_names]
        ways = [(parent, places) for parent, places in edges if places is not None]
        if name in {*sets.selections, *sets.all_selected} or len(ways) < len(edges):
            return [_Base(self.selected(name), tuple(range(len(sets.key(name)))))]
        found = [
            _Base(base.name, tuple(places[place] for place in base.places))
            for parent, places in ways
            for base in self._downward(parent)
        ]
        return list(dict.fromkeys(found))

    def _derived(self, edge: Edge, base: _Base) -> str:
        """SELECT: the entities that refer to others of a set."""
        sets, name = self.sets, self.dialect.name_of
        refers = [sets.fields(edge.through or edge.table, edge.columns)[place] for place in base.places]
        on = equal(refers, self._places(range(len(base.places)), base.name))
        joined = self.dialect.driving_join(base.name, name(edge.through or edge.table), on)
        if edge.through is not None:
            joined = self.dialect.driving_join(joined, name(edge.table), sets.through_on(edge))
        own = ", ".join(sets.fields(edge.table, edge.table.entity_key))
        distinct = "" if edge.table == sets.master(edge.child) else "DISTINCT "
        return f"SELECT {distinct}{own} FROM {joined}{_where(sets.filled(edge))}"

    # what is needed

    def needed(self, name: Name) -> str:
        """The set of all that is needed of a group: what is selected, and what other needed entities refer to."""
        if name not in self._needed:
            whole = tuple(range(len(self.sets.key(name))))
            bases = self._sources(name)
            if len(bases) == 1 and self._widths[bases[0].name] == len(whole) and bases[0].places == whole:
                self._needed[name] = bases[0].name
            else:
                distinct = "DISTINCT " * (len(bases) == 1)
                selects = [f"SELECT {distinct}{', '.join(self._places(places))} FROM {base}" for base, places in bases]
                self._needed[name] = self.make("needed", len(whole), selects)
        return self._needed[name]

    def _sources(self, name: Name) -> list[_Base]:
        """The sets that together are what is needed of a group."""
        if name not in self._bases:
            self._bases[name] = self._find_sources(name)
        return self._bases[name]

    def _find_sources(self, name: Name) -> list[_Base]:
        sets, whole = self.sets, tuple(range(len(self.sets.key(name))))
        if name in self.known.needed:
            return [_Base(self._told(name, self.known.needed[name]), whole)]
        chosen = self.chosen(name)
        found = [_Base(chosen, whole)] if chosen else []
        if sets.has_everything(name):
            return found  # others can refer to nothing else
        for edge in sets.down(name):
            places = sets.inherited(edge)
            if places is None:
                found.append(_Base(self.make("referred", len(whole), [self._referred(edge)]), whole))
                continue
            found += [
                _Base(base.name, tuple(base.places[place] for place in places)) for base in self._sources(edge.child)
            ]
        return list(dict.fromkeys(found))

    def _told(self, name: Name, keys: Sequence[Key]) -> str:
        """The set of keys that have been read."""
        rows, args = Keyed(self.dialect, self.sets.master(name)).rows_of(keys)
        self.args += args
        key = self.sets.key(name)
        return self.make("told", len(key), [f"SELECT {', '.join(key)} {rows}"])

    def _referred(self, edge: Edge) -> str:
        """SELECT: the keys to which a foreign key of needed entities leads. One with a NULL leads nowhere."""
        sets, rows = self.sets, self.dialect.name_of(edge.table)
        if not sets.has_everything(edge.child):
            rows = self.join(self.needed(edge.child), edge.table)
        if edge.through is not None:
            rows = self.dialect.driving_join(rows, self.dialect.name_of(edge.through), sets.through_on(edge))
        keys = ", ".join(sets.fields(edge.through or edge.table, edge.columns))
        return f"SELECT DISTINCT {keys} FROM {rows}{_where(sets.filled(edge))}"

    def join(self, name: str, table: Table) -> str:
        """FROM item: the rows of a table that belong to entities of a set."""
        key = self.sets.fields(table, table.entity_key)
        return self.dialect.driving_join(
            name, self.dialect.name_of(table), equal(key, self._places(range(len(key)), name))
        )

    def unheld(self, name: Name, holds: Holds | None) -> str:
        """The set of what is needed of a group and is to be copied: not held, or not held for good."""
        if holds is None:
            return self.needed(name)
        if name not in self._unheld:
            number, rows = len(self.sets.key(name)), self.unsettled(self.needed(name), holds)
            select = f"SELECT {self.columns(number, self.needed(name))} FROM {rows}"
            self._unheld[name] = self.make("unheld", number, [select])
        return self._unheld[name]

    def rows_there(self, name: Name, found: str) -> str:
        """FROM item: those of a set of needed entities that the source has.

        It has what was selected among its rows. What others refer to it may lack, where rows were loaded unchecked.
        """
        sets = self.sets
        is_read = name in self.known.needed or sets.has_everything(name) or not (sets.down(name) or sets.descendants)
        return found if is_read else self.join(found, sets.master(name))

    def unsettled(self, name: str, holds: Holds) -> str:
        """FROM onward: what of a set is not held, or not at rest."""
        on = equal(holds.helper.references, self._places(range(len(holds.helper.key)), name))
        on += f" AND {self.dialect.unguessed(holds.condition(HELD))}"
        return f"{name} LEFT JOIN {holds.table} ON {on} WHERE {holds.helper.references[0]} IS NULL"

    def new_rows(self, name: Name, table: Table, holds: Holds | None) -> str:
        """FROM item: the rows of a table that are to be copied."""
        if holds is None and self.sets.has_everything(name):
            return self.dialect.name_of(table)
        return self.join(self.unheld(name, holds), table)


def reading(some: Expressions, found: str, name: Name, limit: int) -> Sql:
    """SELECT: the keys of a set of entities of a group, as its rows have them; no more than so many."""
    master = some.sets.master(name)
    rows = some.join(found, master)
    sql = f"SELECT {Keyed(some.dialect, master).selected} FROM {rows} LIMIT {limit}"
    return f"{some.with_sets} {sql}", tuple(some.args)


def needing(some: Expressions, name: Name, keys: Sequence[Key]) -> Sql:
    """SELECT: those of some keys that are needed of a group, as its rows have them."""
    rows, needed = Keyed(some.dialect, some.sets.master(name)), some.needed(name)
    of_keys, args = rows.rows_of(keys)
    within = f"({', '.join(rows.references)}) IN (SELECT {some.columns(len(rows.key), needed)} FROM {needed})"
    return f"{some.with_sets} SELECT {rows.selected} {of_keys} WHERE {within}", (*some.args, *args)


def choosing(some: Expressions, name: Name) -> str:
    """The condition that a row of a group's master is selected, by a set, with the keys that have been read in it."""
    found, key = some.chosen(name), some.sets.key(name)
    sql = f"({', '.join(key)}) IN ({some.with_sets} SELECT {some.columns(len(key), found or '')} FROM {found})"
    literals = iter(some.args)
    return re.sub("%%|%s", lambda mark: "%%" if mark[0] == "%%" else some.dialect.text(next(literals)), sql)


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
