"""Tables as they stand on a server, and what must hold between the source's and the local ones. Pure data."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from datajoint.utils import to_camel_case

from .errors import DefinitionError, LocalMismatchError
from .kinds import Kind, marker

TIER_PREFIXES = ("", "#", "_", "__")


@dataclass(frozen=True)
class Column:
    """One column, in the words of its server.

    Attributes
    ----------
    type : str
        The SQL type as the server prints it, e.g. ``varchar(20)``, ``bigint unsigned``, ``numeric(5,2)``.
    default : str or None
        The default as an SQL expression.
    comment : str
        The raw comment, with DataJoint's ``:type:`` marker.
    kind : Kind or None
        What it holds; None for a type that cannot be linked.
    enum_type : str or None
        The quoted name of a PostgreSQL enum's type.
    """

    name: str
    type: str
    nullable: bool = False
    default: str | None = None
    comment: str = ""
    charset: str | None = None
    collation: str | None = None
    auto_increment: bool = False
    on_update: str | None = None
    kind: Kind | None = None
    enum_type: str | None = None

    @property
    def hidden(self) -> bool:
        """DataJoint does not show columns whose names begin with an underscore."""
        return self.name.startswith("_")


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key: the columns, and the columns of the table that they refer to.

    ``cascades`` says, of one to be declared, whether the row goes with the one that it refers to.
    """

    columns: tuple[str, ...]
    schema: str
    table: str
    referred: tuple[str, ...]
    cascades: bool = False


@dataclass(frozen=True)
class Table:
    """A table: of a part also the columns that hold its master's key, in the order of that key."""

    schema: str
    name: str
    comment: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    master_key: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, hidden ones too."""
        return tuple(column.name for column in self.columns)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the primary key."""
        return tuple(self[name] for name in self.primary_key)

    @property
    def entity_key(self) -> tuple[str, ...]:
        """The columns that say which entity a row belongs to."""
        return self.master_key or self.primary_key

    def only(self, names: Sequence[str]) -> Table:
        """The same table with only these columns."""
        return replace(self, columns=tuple(c for c in self.columns if c.name in names))


@dataclass(frozen=True)
class Entity:
    """A master table with its part tables."""

    master: Table
    parts: tuple[Table, ...] = ()

    @property
    def tables(self) -> tuple[Table, ...]:
        """The master first."""
        return (self.master, *self.parts)

    def map(self, change: Callable[[Table], Table]) -> Entity:
        """The same entity with every table changed."""
        return Entity(change(self.master), tuple(change(part) for part in self.parts))

    def part_name(self, part: Table) -> str:
        """The name of a part's class."""
        return str(to_camel_case(part.name[len(self.master.name) + 2 :]))


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence with the names that resemble ``name`` most."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else "Check the spelling and the grants."


def find_master(class_name: str, table_name: str, tables: Sequence[str]) -> str | None:
    """The source table of this class, whatever its tier, or None.

    Raises
    ------
    DefinitionError
        Tables of two tiers have the same name.
    """
    found = [prefix + table_name for prefix in TIER_PREFIXES if prefix + table_name in tables]
    if len(found) > 1:
        raise DefinitionError(
            f"The source has several tables that a class {class_name} can mean: {', '.join(found)}.",
            "Grant the link user only the one that is meant.",
        )
    return found[0] if found else None


def part_names(master: str, tables: Iterable[str]) -> list[str]:
    """The part tables of ``master`` among ``tables``."""
    return sorted(name for name in tables if name.startswith(master + "__"))


def with_master_keys(master: Table, parts: Sequence[Table]) -> Entity:
    """Find, for each part, the columns that hold its master's key.

    A part usually refers to its master; one that refers to another part instead gets its columns through that one.

    Raises
    ------
    DefinitionError
        A part is connected to its master in no way.
    """
    known = {master.name: dict(zip(master.primary_key, master.primary_key, strict=True))}
    waiting = list(parts)
    while waiting:
        reached = [part for part in waiting if _map_master_key(part, master, known)]
        if not reached:
            break
        waiting = [part for part in waiting if part not in reached]
    if waiting:
        raise DefinitionError(
            f"The part table {waiting[0].schema}.{waiting[0].name} has no foreign key that leads to its master "
            f"{master.name}, and lacks its key ({', '.join(master.primary_key)})."
        )
    return Entity(master, tuple(_with_master_key(master, part, known[part.name]) for part in parts))


def _with_master_key(master: Table, part: Table, found: dict[str, str]) -> Table:
    # An inherited attribute does not always say what it is: DataJoint marks a bool in the master only.
    kinds = {own: master[key].kind for key, own in found.items()}
    columns = tuple(replace(c, kind=kinds.get(c.name, c.kind)) for c in part.columns)
    return replace(part, columns=columns, master_key=tuple(found[key] for key in master.primary_key))


def _map_master_key(part: Table, master: Table, known: dict[str, dict[str, str]]) -> bool:
    # A foreign key within the primary key is the one that makes the table a part.
    for fk in sorted(part.foreign_keys, key=lambda fk: not set(fk.columns) <= set(part.primary_key)):
        through = known.get(fk.table) if fk.schema == master.schema else None
        columns = dict(zip(fk.referred, fk.columns, strict=True))
        if through and set(through.values()) <= set(columns):
            known[part.name] = {key: columns[column] for key, column in through.items()}
            return True
    if set(master.primary_key) <= set(part.names) and not _refers_within(part, master):
        known[part.name] = {key: key for key in master.primary_key}
        return True
    return False


def _refers_within(part: Table, master: Table) -> bool:
    return any(fk.schema == master.schema and fk.table.startswith(master.name) for fk in part.foreign_keys)


def local_entity(source: Entity, schema: str, table_name: str) -> Entity:
    """The tables to declare locally: a Manual master, parts of the right names, no foreign keys but to the master."""
    master = replace(source.master, schema=schema, name=table_name, foreign_keys=())
    parts = tuple(
        replace(
            part,
            schema=schema,
            name=table_name + part.name[len(source.master.name) :],
            foreign_keys=(ForeignKey(part.master_key, schema, table_name, master.primary_key),),
        )
        for part in source.parts
    )
    return Entity(master, parts)


def keys_of(master: Table, name: str) -> Table:
    """A part table to declare that holds nothing but keys of its master, and lets them go with it."""
    refers = ForeignKey(master.primary_key, master.schema, master.name, master.primary_key, cascades=True)
    columns = tuple(replace(column, auto_increment=False) for column in master.key_columns)
    return Table(master.schema, name, "", columns, master.primary_key, (refers,), master.primary_key)


def check_same(expected: Table, found: Table, where: str, alike: bool) -> Table:
    """Compare an existing local table with the one that would be declared; return it with its shared columns.

    Hidden columns that only one side has are left alone. Between servers that are ``alike`` types must be the same;
    between others the local column must hold every value of the source's.

    Raises
    ------
    LocalMismatchError
        With every difference on a line of its own.
    """
    differences = [
        *(
            f"{name}: missing"
            for name in expected.names
            if name not in found.names and not (expected[name].hidden and name not in expected.primary_key)
        ),
        *(
            f"{name}: not at the source"
            for name in found.names
            if name not in expected.names and not found[name].hidden
        ),
        *(
            f"{name}: {_describe(found[name])}, at the source {_describe(expected[name])}"
            for name in expected.names
            if name in found.names and not _fits(found[name], expected[name], alike)
        ),
    ]
    if found.primary_key != expected.primary_key:
        differences.append(
            f"primary key: ({', '.join(found.primary_key)}), at the source ({', '.join(expected.primary_key)})"
        )
    if differences:
        raise LocalMismatchError(
            f"The local table {found.schema}.{found.name} ({where}) has another heading than the source table:\n    "
            + "\n    ".join(differences),
            "Link into another local schema, or rename the local table.",
        )
    columns = tuple(found[name] for name in expected.names if name in found.names)
    return replace(found, columns=columns, master_key=expected.master_key)


def _fits(found: Column, expected: Column, alike: bool) -> bool:
    if _codec(expected) not in ("", _codec(found)) or found.nullable != expected.nullable:
        return False
    if alike:
        return found.type == expected.type
    return found.kind is not None and expected.kind is not None and found.kind.holds(expected.kind)


def _describe(column: Column) -> str:
    return f"{column.type}{_codec(column)}{'' if column.nullable else ' not null'}"


def _codec(column: Column) -> str:
    """What DataJoint makes of the column's values, where the type alone does not say it."""
    special = marker(column.comment)
    return f" {special}" if special == "uuid" or special.startswith("<") else ""
