"""There and here: the source's tables, the local ones, and what must hold between them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import LocalMismatchError
from .kinds import marker
from .schema import Column, ForeignKey, Group, Table, part_name, part_suffix


@dataclass(frozen=True)
class ColumnPair:
    """A column at the source, and the local one that takes its values."""

    there: Column
    here: Column


@dataclass(frozen=True)
class TablePair:
    """A table at the source, with the columns that are local as well, and the local table, with them in that order."""

    there: Table
    here: Table

    @property
    def columns(self) -> tuple[ColumnPair, ...]:
        """The columns, there and here."""
        return tuple(map(ColumnPair, self.there.columns, self.here.columns))


@dataclass(frozen=True)
class Mapping:
    """The tables of a group at the source, and the local ones that take their rows.

    Attributes
    ----------
    source : Group
        The source's tables with all their columns.
    local : Group
        The local tables, part by part in the order of the source's, with the columns that are at the source as well.
    own_parts : tuple of Table
        Part tables that the local master has besides, for itself.
    """

    source: Group
    local: Group
    own_parts: tuple[Table, ...] = ()

    @property
    def tables(self) -> tuple[TablePair, ...]:
        """The tables, there and here; the master first."""
        pairs = zip(self.source.tables, self.local.tables, strict=True)
        return tuple(TablePair(there.only(here.names), here) for there, here in pairs)

    @property
    def local_key(self) -> tuple[Column, ...]:
        """The columns of the local master's key, in the order of the source's: the order that keys have everywhere."""
        return tuple(self.local.master[name] for name in self.source.master.primary_key)


def paired(source: Group, local: Group, own_parts: tuple[Table, ...] = ()) -> Mapping:
    """The mapping of two groups, whose columns know whether their counterparts have the same character set."""
    pairs = list(zip(source.tables, local.tables, strict=True))
    there, here = [_knowing(a, b) for a, b in pairs], [_knowing(b, a) for a, b in pairs]
    return Mapping(Group(there[0], tuple(there[1:])), Group(here[0], tuple(here[1:])), own_parts)


def _knowing(table: Table, other: Table) -> Table:
    charsets = {column.name: column.charset for column in other.columns}
    same = {name for name, charset in charsets.items() if charset is not None}
    return replace(
        table,
        columns=tuple(replace(c, as_stored=c.name in same and c.charset == charsets[c.name]) for c in table.columns),
    )


def local_group(source: Group, schema: str, table_name: str) -> Group:
    """The tables to declare locally: a Manual master, parts of the right names, no foreign keys but to the master."""
    master = replace(source.master, schema=schema, name=table_name, foreign_keys=())
    parts = tuple(
        replace(
            part,
            schema=schema,
            name=part_name(table_name, part_suffix(source.master.name, part.name)),
            foreign_keys=(ForeignKey(part.master_key, schema, table_name, master.primary_key),),
        )
        for part in source.parts
    )
    return Group(master, parts)


def keys_of(master: Table, name: str) -> Table:
    """A part table to declare that holds nothing but keys of its master, and lets them go with it."""
    refers = ForeignKey(master.primary_key, master.schema, master.name, master.primary_key, cascades=True)
    columns = tuple(replace(column, auto_increment=False) for column in master.key_columns)
    return Table(master.schema, name, "", columns, master.primary_key, (refers,), master.primary_key)


def check_same(expected: Table, found: Table, place: str, alike: bool) -> Table:
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
            f"The local table {found.schema}.{found.name} ({place}) has another heading than the source table:\n    "
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
