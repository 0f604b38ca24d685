"""Tables as they stand on a server, and masters with their parts."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ..errors import DefinitionError
from ..host import table_of, to_camel_case
from .kinds import Kind

TIER_PREFIXES = ("", "#", "_", "__")


@dataclass(frozen=True)
class Content:
    """What the bytes of a column must be, which its server looks at when it sends them.

    Attributes
    ----------
    what : {'packed', 'raw', 'attachment'}
        What DataJoint's serializer makes; anything but that; the name of a file, a NUL, and its content.
    place : str
        The column, as ``codecs=`` names it.
    """

    what: Literal["packed", "raw", "attachment"]
    place: str

    @property
    def refusal(self) -> str:
        """Why other bytes are refused; servers quote no more than 128 characters of it."""
        why = {
            "packed": "not packed by DataJoint",
            "raw": "packed by DataJoint, it seems",
            "attachment": "the file name in it is none",
        }
        return f"{self.place}: {why[self.what]}"

    @property
    def remedy(self) -> str:
        """What to do where they are what they should be."""
        word, besides = ("<blob>", ", or 'bytes',") if self.what == "raw" else ("bytes", "")
        return f"Say codecs={{'{self.place}': '{word}'}}{besides} if that is what they are."


@dataclass(frozen=True)
class Tracked:
    """Where DataJoint 0.x keeps what a column in a store names: the table that has a row for each object.

    Attributes
    ----------
    schema, table : str
        ``~external_<store>``, in the source's schema.
    declared : {'blob', 'attach', 'filepath', 'adapter'}
        What the column was declared as; of an adapter each row says what its object is.
    store : str
        The store's name at the source.
    """

    schema: str
    table: str
    declared: Literal["blob", "attach", "filepath", "adapter"]
    store: str


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
    generated : bool
        Whether the server computes it: it takes no values.
    enum_type : str or None
        The quoted name of a PostgreSQL enum's type.
    as_stored : bool
        Whether it is text, and its counterpart at the other end has the same character set: the bytes can travel.
    sent_as : str or None
        The type of the column that its values are for, where that is another one.
    content : Content or None
        What its bytes must be, if they are looked at.
    tracked : Tracked or None
        Of a column that DataJoint 0.x declared in a store: where it keeps what is told of each object. To all others it
        is a column of JSON.
    former : str or None
        The marker with which DataJoint 0.x declared it; None of what DataJoint 2 declared.
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
    generated: bool = False
    enum_type: str | None = None
    as_stored: bool = False
    sent_as: str | None = None
    content: Content | None = None
    tracked: Tracked | None = None
    former: str | None = None

    @property
    def hidden(self) -> bool:
        """DataJoint does not show columns whose names begin with an underscore."""
        return self.name.startswith("_")


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key: the columns, and the columns of the table that they refer to.

    ``cascades`` says, of one to be declared, whether the row goes with the one that it refers to; ``name``, of one that
    is there, the name of the constraint.
    """

    columns: tuple[str, ...]
    schema: str
    table: str
    referred: tuple[str, ...]
    cascades: bool = False
    name: str = field(default="", compare=False)


#: What tells a foreign key of a group from its others: its table, its columns, and what it refers to.
KeyName = tuple[str, tuple[str, ...], str]


def key_name(table: str, key: ForeignKey) -> KeyName:
    """The name of a foreign key of a table."""
    return table, key.columns, f"{key.schema}.{key.table}"


@dataclass(frozen=True)
class Index:
    """An index beside the primary key, and those that only serve a foreign key.

    Attributes
    ----------
    columns : tuple of str
        In their order; of an expression none are told.
    unique : bool
        Whether no two rows have the same values in them.
    unfit : str
        Why no other table gets it, in words; empty if one may.
    """

    columns: tuple[str, ...]
    unique: bool = False
    unfit: str = ""


def listed_indexes(indexes: Iterable[Index], foreign_keys: Sequence[ForeignKey]) -> tuple[Index, ...]:
    """Indexes as a table has them: each once, and none that only serves a foreign key."""
    serving = {fk.columns for fk in foreign_keys}
    found = {index for index in indexes if index.unique or index.unfit or index.columns not in serving}
    return tuple(sorted(found, key=lambda index: (index.columns, index.unique, index.unfit)))


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
    indexes: tuple[Index, ...] = ()

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
        columns = tuple(c for c in self.columns if c.name in names)
        return replace(self, columns=columns, indexes=tuple(i for i in self.indexes if set(i.columns) <= set(names)))


@dataclass(frozen=True)
class Group:
    """A master table with its part tables."""

    master: Table
    parts: tuple[Table, ...] = ()

    @property
    def tables(self) -> tuple[Table, ...]:
        """The master first."""
        return (self.master, *self.parts)

    def map(self, change: Callable[[Table], Table]) -> Group:
        """The same group with every table changed."""
        return Group(change(self.master), tuple(change(part) for part in self.parts))


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


def tier(name: str, tables: Collection[str] = ()) -> str:
    """The tier of a table in DataJoint's words, of a part that of its master, which is one of ``tables``."""
    master = name.rpartition("__")[0]
    if master in tables:
        return tier(master, tables)
    prefixes = {"__": "computed", "_": "imported", "#": "lookup"}
    return next((word for prefix, word in prefixes.items() if name.startswith(prefix)), "manual")


def part_name(master: str, suffix: str) -> str:
    """The name of a part table, from its master's and its own end."""
    return f"{master}__{suffix}"


def master_of(name: str) -> str:
    """The name of the table of which this one would be a part, by its name; its own, if it is no part's."""
    bare = name.lstrip("#_")
    return name[: len(name) - len(bare)] + bare.partition("__")[0]


def part_names(master: str, tables: Iterable[str]) -> list[str]:
    """The part tables of ``master`` among ``tables``."""
    return sorted(name for name in tables if name.startswith(part_name(master, "")))


def part_suffix(master: str, part: str) -> str:
    """The end of a part table's name that is its own."""
    return part[len(part_name(master, "")) :]


def part_class(master: str, part: str) -> str:
    """The name of a part table's class."""
    return to_camel_case(part_suffix(master, part))


def part_of_class(master: str, class_name: str) -> str:
    """The name of the part table of a class."""
    # DataJoint leaves underscores out.
    return part_name(master, table_of(class_name.replace("_", "")))


def with_master_keys(master: Table, parts: Sequence[Table]) -> Group:
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
        names = {part.name for part in waiting}
        # What a part inherits from another one says whose it is, once it is known whose that one is.
        heirs = [
            p for p in waiting if any(_is_inherited(fk, p) for fk in p.foreign_keys if fk.table in names - {p.name})
        ]
        reached = [part for part in waiting if part not in heirs and _map_master_key(part, master, known)]
        reached = reached or [part for part in heirs if _map_master_key(part, master, known)]
        if not reached:
            break
        waiting = [part for part in waiting if part not in reached]
    if waiting:
        raise DefinitionError(
            f"The part table {waiting[0].schema}.{waiting[0].name} has no foreign key that leads to its master "
            f"{master.name}, and lacks its key ({', '.join(master.primary_key)}).",
            "Rename it at the source if it is no part table; else give it a foreign key to its master.",
        )
    if keyless := next((part for part in parts if not part.primary_key), None):
        raise DefinitionError(
            f"The part table {keyless.schema}.{keyless.name} has no primary key to tell its rows apart.",
            "Rename it at the source if it is no part table; else give it a primary key.",
        )
    return Group(master, tuple(_with_master_key(master, part, known[part.name]) for part in _ordered(parts)))


def _ordered(parts: Sequence[Table]) -> Iterator[Table]:
    """Part tables, each after those of them that it refers to: so they are made, and filled."""
    waiting = {(part.schema, part.name): part for part in parts}
    while waiting:
        # Where they refer to one another in a circle, no order would do.
        free = next((p for p in waiting.values() if not _awaits(p, waiting)), next(iter(waiting.values())))
        yield waiting.pop((free.schema, free.name))


def _awaits(part: Table, others: Collection[tuple[str, str]]) -> bool:
    own = part.schema, part.name
    return any((fk.schema, fk.table) in others and (fk.schema, fk.table) != own for fk in part.foreign_keys)


def _with_master_key(master: Table, part: Table, found: dict[str, str]) -> Table:
    # An inherited attribute does not always say what it is: DataJoint marks a bool in the master only.
    kinds = {own: master[key].kind for key, own in found.items()}
    columns = tuple(replace(c, kind=kinds.get(c.name, c.kind)) for c in part.columns)
    return replace(part, columns=columns, master_key=tuple(found[key] for key in master.primary_key))


def _map_master_key(part: Table, master: Table, known: dict[str, dict[str, str]]) -> bool:
    found = list[tuple[tuple[bool, int], dict[str, str]]]()
    for fk in part.foreign_keys:
        through = known.get(fk.table) if fk.schema == master.schema else None
        columns = dict(zip(fk.referred, fk.columns, strict=True))
        if through and set(through.values()) <= set(columns):
            own = {key: columns[column] for key, column in through.items()}
            found.append(((not _is_inherited(fk, part), sum(key != name for key, name in own.items())), own))
    if not found and set(master.primary_key) <= set(part.names) and not _refers_within(part, master):
        found = [((False, 0), {key: key for key in master.primary_key})]
    if found:
        # One within the primary key is what makes the table a part; of several the one that gives no other names.
        _, known[part.name] = min(found, key=lambda way: way[0])
    return bool(found)


def _is_inherited(fk: ForeignKey, part: Table) -> bool:
    return set(fk.columns) <= set(part.primary_key)


def _refers_within(part: Table, master: Table) -> bool:
    referred = [fk.table for fk in part.foreign_keys if fk.schema == master.schema]
    return master.name in referred or bool(part_names(master.name, referred))
