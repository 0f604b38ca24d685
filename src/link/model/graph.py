"""Groups of a source and the foreign keys between them: what stands on what.

Pure: made of tables as a catalogue has them. Entities of one group refer to entities of another by the columns that
hold the other's *master* key, whichever of the other's tables the foreign key names.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError as _Cycle
from graphlib import TopologicalSorter

from ..errors import ConfigError, CycleError, DefinitionError
from ..host import to_camel_case
from ..lazy import cached_property
from .schema import ForeignKey, Group, KeyName, Table, key_name, nearest, part_class, part_name, with_master_keys

#: A group: the schema and the name of its master table at the source.
Name = tuple[str, str]


def label(name: Name) -> str:
    """A group as users name it: ``schema.Class``."""
    return f"{name[0]}.{class_of(name[1])}"


def class_of(table: str) -> str:
    """The class of a master table, whatever its tier."""
    return to_camel_case(table.lstrip("#_"))


class _Key:
    """A foreign key of the source. It stays the same whatever else changes of its table, or of what is granted."""

    child: Name
    table: Table
    key: ForeignKey

    @property
    def name(self) -> tuple[Name, KeyName]:
        """What tells it from all others."""
        return self.child, key_name(self.table.name, self.key)

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if isinstance(other, _Key) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def place(self) -> str:
        """Where it stands, as ``cut=`` names it: ``schema.Class.attribute`` or ``schema.Class.Part.attribute``.

        By an attribute that no other foreign key has, if there is one: that would be cut with it.
        """
        others = {column for key in self.table.foreign_keys if key != self.key for column in key.columns}
        return f"{self.class_place}.{next((c for c in self.key.columns if c not in others), self.key.columns[0])}"

    @property
    def class_place(self) -> str:
        """The class of its table: ``schema.Class`` or ``schema.Class.Part``."""
        part = self.table.name != self.child[1]
        return label(self.child) + (f".{part_class(self.child[1], self.table.name)}" if part else "")


@dataclass(frozen=True, eq=False)
class Edge(_Key):
    """One foreign key from a group to another.

    Attributes
    ----------
    child, parent : tuple of str
        The groups.
    table : Table
        The child's table that has the foreign key: its master or a part.
    key : ForeignKey
        As it stands at the source.
    columns : tuple of str
        The columns that hold the parent's master key, in the order of that key: of ``table``, or of ``through``.
    through : Table or None
        The part referred to, where it is to be joined: the foreign key does not name its master's key.
    is_standing : bool
        Of one that is cut, whether that is because the local table has been made without it, and not by word.
    """

    child: Name
    parent: Name
    table: Table
    key: ForeignKey
    columns: tuple[str, ...]
    through: Table | None = None
    is_standing: bool = False

    @property
    def nullable(self) -> tuple[str, ...]:
        """Its columns that may be NULL: a row with one of them refers to nothing."""
        return tuple(column for column in self.key.columns if self.table[column].nullable)

    @property
    def is_inherited(self) -> bool:
        """Whether the columns are the child's own key, and no other is NULL: rows need not be read to follow it.

        Of a part they must be read: an entity need not have rows there.
        """
        own = self.table.name == self.child[1] and set(self.columns) <= set(self.table.entity_key)
        return own and self.through is None and not self.nullable


@dataclass(frozen=True, eq=False)
class Outside(_Key):
    """A foreign key to a table that is not in the graph: not seen by the account, or in a schema that is not named."""

    child: Name
    table: Table
    key: ForeignKey
    is_standing: bool = False


class Graph:
    """Groups and the foreign keys between them.

    Parameters
    ----------
    groups : mapping
        The groups by their names.
    edges : sequence of Edge
        The foreign keys between them.
    outside : sequence of Outside
        Those that lead elsewhere.
    broken : mapping, optional
        Groups whose parts do not fit their master, and why.
    """

    def __init__(
        self,
        groups: Mapping[Name, Group],
        edges: Sequence[Edge],
        outside: Sequence[Outside] = (),
        broken: Mapping[Name, DefinitionError] | None = None,
    ) -> None:
        self.groups = groups
        self.edges = tuple(edges)
        self.outside = tuple(outside)
        self.broken = broken or {}

    @cached_property
    def _up(self) -> Mapping[Name, Sequence[Edge]]:
        return {name: [e for e in self.edges if e.child == name] for name in self.groups}

    @cached_property
    def _down(self) -> Mapping[Name, Sequence[Edge]]:
        return {name: [e for e in self.edges if e.parent == name] for name in self.groups}

    def up(self, name: Name) -> Sequence[Edge]:
        """The foreign keys of a group."""
        return self._up[name]

    def down(self, name: Name) -> Sequence[Edge]:
        """The foreign keys that refer to a group."""
        return self._down[name]

    def ancestors(self, names: Iterable[Name]) -> set[Name]:
        """Some groups, and all that they stand on."""
        return self._reached(names, lambda name: (edge.parent for edge in self.up(name)))

    def descendants(self, names: Iterable[Name], leave_out: Collection[Name] = ()) -> set[Name]:
        """Some groups, and all that stands on them; what is left out leads no further."""
        return self._reached(names, lambda n: (e.child for e in self.down(n) if e.child not in leave_out))

    @staticmethod
    def _reached(names: Iterable[Name], step: Callable[[Name], Iterable[Name]]) -> set[Name]:
        found, waiting = set[Name](), list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += step(name)
        return found

    def order(self, names: Iterable[Name] | None = None) -> list[Name]:
        """Groups, parents first.

        Raises
        ------
        CycleError
            They stand on one another in a circle.
        """
        chosen = set(self.groups if names is None else names)
        before = {n: sorted({e.parent for e in self.up(n) if e.parent in chosen}) for n in sorted(chosen)}
        if own := next((e for n in sorted(chosen) for e in self.up(n) if e.parent == n), None):
            raise _cycle([own])
        try:
            return list(TopologicalSorter(before).static_order())
        except _Cycle as error:
            path: list[Name] = error.args[1]  # each before the next: the next stands on it
            pairs = itertools.pairwise(path)
            raise _cycle([next(e for e in self.up(child) if e.parent == p) for p, child in pairs][::-1]) from error

    def without(self, cut: Collection[Edge | Outside]) -> Graph:
        """The same groups without some foreign keys."""
        edges = [edge for edge in self.edges if edge not in cut]
        return Graph(self.groups, edges, [o for o in self.outside if o not in cut], self.broken)

    def find(self, named: str) -> Name:
        """The group that ``"schema.Class"`` names, or ``"schema.table"``.

        Raises
        ------
        ConfigError
            There is none.
        """
        known = {label(name): name for name in self.groups}
        found = next((name for name in self.groups if ".".join(name) == named), known.get(named))
        if found is None:
            form = "" if "." in named else 'Tables are named as "schema.Class". '
            raise ConfigError(f"There is no {named!r} at the source.", form + nearest(named, known))
        return found

    def find_key(self, place: str) -> list[Edge | Outside]:
        """The foreign keys that have the column which ``"schema.Class[.Part].attribute"`` names.

        Raises
        ------
        ConfigError
            There is none.
        """
        keys: list[Edge | Outside] = [*self.edges, *self.outside]
        where, _, column = place.rpartition(".")
        found = [key for key in keys if key.place.rpartition(".")[0] == where and column in key.key.columns]
        if not found:
            known = {f"{key.place.rpartition('.')[0]}.{c}" for key in keys for c in key.key.columns}
            raise ConfigError(
                f"cut={place!r} names no attribute of a foreign key at the source.", nearest(place, known)
            )
        return found


def _cycle(edges: Sequence[Edge]) -> CycleError:
    path = " -> ".join([*(label(edge.child) for edge in edges), label(edges[-1].parent)])
    return CycleError(
        f"The source's tables stand on one another in a circle, so that none could be pulled first: {path}.",
        f"Say which foreign key is not to be followed: cut={[edge.place for edge in edges[:1]]!r}, for example. Its "
        "column stays, as a plain one.",
    )


def graph_of(tables: Iterable[Table]) -> Graph:
    """The graph of some tables of a source, whatever their schemas."""
    by_name = {(table.schema, table.name): table for table in tables}
    members: dict[Name, list[Table]] = {}
    for (schema, name), table in sorted(by_name.items()):
        master = master_of(schema, name, by_name)
        if master == (schema, name) or table.primary_key or table.foreign_keys:
            members.setdefault(master, [])
            if master != (schema, name):
                members[master].append(table)
    groups, broken = dict[Name, Group](), dict[Name, DefinitionError]()
    for master, parts in members.items():
        try:
            groups[master] = with_master_keys(by_name[master], parts)
        except DefinitionError as error:
            groups[master], broken[master] = Group(by_name[master]), error
    broken.update(_of_one_class(groups))
    home = {(t.schema, t.name): (name, t) for name, group in groups.items() for t in group.tables}
    edges, outside = list[Edge](), list[Outside]()
    for child, group in groups.items():
        for table in group.tables:
            for key in dict.fromkeys(table.foreign_keys):
                if key.table.startswith("~"):
                    continue  # where DataJoint 0.x keeps what it tells of objects in stores
                if (key.schema, key.table) not in home:
                    outside.append(Outside(child, table, key))
                elif edge := _edge(child, table, key, *home[key.schema, key.table]):
                    edges.append(edge)
    return Graph(groups, edges, outside, broken)


def _of_one_class(groups: Iterable[Name]) -> dict[Name, DefinitionError]:
    """Groups that go by the same class, and why nothing can be done with them."""
    classes: dict[str, list[Name]] = {}
    for name in groups:
        classes.setdefault(label(name), []).append(name)
    return {
        name: DefinitionError(
            f"The source has several tables that {title} can mean: {', '.join(table for _, table in several)}.",
            "Grant the link user only the one that is meant, or rename one at the source.",
        )
        for title, several in classes.items()
        if len(several) > 1
        for name in several
    }


def master_of(schema: str, name: str, known: Collection[Name]) -> Name:
    """The master of a table: the shortest name that its own begins with, as a part's does."""
    ends = (i for i in range(1, len(name) - 2) if name[i : i + 2] == "__")
    masters = (name[:i] for i in ends if (schema, name[:i]) in known and name.startswith(part_name(name[:i], "")))
    return schema, next(masters, name)


def _edge(child: Name, table: Table, key: ForeignKey, parent: Name, referred: Table) -> Edge | None:
    """The edge of a foreign key; None within an entity."""
    columns = dict(zip(key.referred, key.columns, strict=True))
    if set(referred.entity_key) <= set(columns):
        own = tuple(columns[name] for name in referred.entity_key)
        if child == parent and own == table.entity_key:
            return None
        return Edge(child, parent, table, key, own)
    return Edge(child, parent, table, key, referred.entity_key, referred)
