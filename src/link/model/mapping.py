"""There and here: the source's tables, the local ones, and what must hold between them."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass, replace

from .kinds import Kind, marker, with_marker
from .readers import Reader
from .schema import Column, ForeignKey, Group, KeyName, Table, key_name, part_name, part_suffix


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
    differences : tuple of Differences
        How each local table differs from what the source's asks for.
    lacking : tuple of Table
        Part tables of the source that are not here, as they would be declared.
    surplus : tuple of str
        Names of local part tables that are not at the source, or not seen there.
    new : bool
        Whether the local tables have just been made.
    unlinkable : tuple of str
        Columns of the source, with their tables, that cannot be linked; ``source`` is without them.
    """

    source: Group
    local: Group
    own_parts: tuple[Table, ...] = ()
    differences: tuple[Differences, ...] = ()
    lacking: tuple[Table, ...] = ()
    surplus: tuple[str, ...] = ()
    new: bool = False
    unlinkable: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[TablePair, ...]:
        """The tables, there and here; the master first."""
        pairs = zip(self.source.tables, self.local.tables, strict=True)
        return tuple(TablePair(_travelling(there.only(here.names), here), here) for there, here in pairs)

    @property
    def exact(self) -> bool:
        """Whether whatever arrives is what the source has; else it has to be compared."""
        return all(different.exact for different in self.differences)

    @property
    def not_here(self) -> tuple[str, ...]:
        """What the source has and the local tables do not: columns and part tables."""
        columns = (f"{d.found.name}.{c.name}" for d in self.differences for c in (*d.added, *d.hashes))
        return (*columns, *(table.name for table in self.lacking), *self.unlinkable)

    @property
    def not_there(self) -> tuple[str, ...]:
        """What the local tables have and the source does not, or does not show: columns and part tables."""
        columns = (f"{d.found.name}.{c.name}" for d in self.differences for c in (*d.dropped, *d.unread))
        return (*columns, *self.surplus)

    @property
    def local_key(self) -> tuple[Column, ...]:
        """The columns of the local master's key, in the order of the source's: the order that keys have everywhere."""
        return tuple(self.local.master[name] for name in self.source.master.primary_key)


def paired(source: Group, local: Group, own_parts: tuple[Table, ...]) -> Mapping:
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


def _travelling(there: Table, here: Table) -> Table:
    """A table at the source whose columns say as what they are to be sent."""

    def travelling(column: Column) -> Column:
        ours = here[column.name]
        return column if column.type == ours.type or column.enum_type else replace(column, sent_as=ours.type)

    return replace(there, columns=tuple(map(travelling, there.columns)))


def local_group(source: Group, schema: str, table_name: str) -> Group:
    """The tables to declare locally: a Manual master, parts of the right names, no foreign keys but to the master.

    What the source computes are plain columns here. There are no indexes beside the keys.
    """
    source = source.map(lambda table: replace(table, columns=tuple(map(_plain, table.columns)), indexes=()))
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


@dataclass(frozen=True)
class Mirror:
    """How the tables of a pipeline are declared here: as at the source, with tiers, foreign keys and indexes.

    Attributes
    ----------
    schemas : tuple of tuple of str
        Schemas at the source, and the local ones.
    cut : frozenset of tuple
        Foreign keys of the source that are left out.
    """

    schemas: tuple[tuple[str, str], ...]
    cut: frozenset[KeyName] = frozenset()

    def key(self, table: str, key: ForeignKey) -> ForeignKey | None:
        """A foreign key of the source, as it is to be here; None where it is cut, or leads elsewhere."""
        schema = dict(self.schemas).get(key.schema)
        # What DataJoint 0.x keeps of objects in stores does not come along.
        if schema is None or key.table.startswith("~") or key_name(table, key) in self.cut:
            return None
        return ForeignKey(key.columns, schema, key.table, key.referred)


def mirrored(source: Group, mirror: Mirror) -> Group:
    """The tables of a pipeline to declare locally: what the source's are, in the local schemas."""
    schemas = dict(mirror.schemas)

    def mirror_table(table: Table) -> Table:
        keys = (mirror.key(table.name, key) for key in dict.fromkeys(table.foreign_keys))
        return replace(
            table,
            schema=schemas[table.schema],
            columns=tuple(map(_plain, table.columns)),
            foreign_keys=tuple(key for key in keys if key),
        )

    return source.map(mirror_table)


def same_key(one: ForeignKey, other: ForeignKey) -> bool:
    """Whether two foreign keys refer to the same by the same columns, in whatever order they say it."""
    pairs = [set(zip(key.columns, key.referred, strict=True)) for key in (one, other)]
    return (one.schema, one.table) == (other.schema, other.table) and pairs[0] == pairs[1]


def refitted(table: Table, known: Map[tuple[str, str], Table]) -> Table:
    """A table to be declared whose columns that refer to known tables are of the types that they refer to.

    Servers demand it, and each has types of its own: with names, as of enums on PostgreSQL, and character sets.
    """
    referred = {
        column: known[key.schema, key.table][name]
        for key in table.foreign_keys
        if (key.schema, key.table) in known
        for column, name in zip(key.columns, key.referred, strict=True)
    }

    def refit(column: Column) -> Column:
        parent = referred.get(column.name)
        if parent is None:
            return column
        return replace(
            column,
            type=parent.type,
            kind=parent.kind,
            charset=parent.charset,
            collation=parent.collation,
            enum_type=parent.enum_type,
        )

    return replace(table, columns=tuple(map(refit, table.columns)))


def _plain(column: Column) -> Column:
    return replace(column, generated=False, tracked=None)


def keys_of(master: Table, name: str) -> Table:
    """A part table to declare that holds nothing but keys of its master, and lets them go with it."""
    refers = ForeignKey(master.primary_key, master.schema, master.name, master.primary_key, cascades=True)
    columns = tuple(replace(column, auto_increment=False) for column in master.key_columns)
    return Table(master.schema, name, "", columns, master.primary_key, (refers,), master.primary_key)


@dataclass(frozen=True)
class Differences:
    """How a local table differs from the one that the source's asks for; hidden columns that one side lacks do not.

    Attributes
    ----------
    expected, found : Table
        The table that would be declared, and the one that is there.
    added : tuple of Column
        Columns that are not here, as they would be.
    widened : tuple of Column
        Local columns that cannot hold all values of the source's, as they would be to hold them and all they hold now.
    altered : tuple of Column
        Columns of which neither side's holds the other's, as they would be declared.
    computed : tuple of Column
        Columns that the local server computes, so that they take no value, as they would be declared.
    remarked : tuple of Column
        Local columns whose comments do not tell DataJoint what is in them, as they are but for that.
    hashes : tuple of Column
        Local columns with the 16 bytes by which DataJoint 0.x finds an object in a store, where the object is wanted.
    dropped : tuple of Column
        Columns that are not at the source.
    unread : tuple of Column
        Local columns that the DataJoint which reads the local tables cannot read.
    wider : tuple of str
        Names of columns that hold more here than at the source.
    unsound : tuple of Column
        Local columns into which the server would put other characters than the source has.
    obstacle : tuple of str or None
        What keeps rows from being written whole, and what is to be done about it.
    alike : bool
        Whether both servers have the same types.
    """

    expected: Table
    found: Table
    added: tuple[Column, ...] = ()
    widened: tuple[Column, ...] = ()
    altered: tuple[Column, ...] = ()
    computed: tuple[Column, ...] = ()
    remarked: tuple[Column, ...] = ()
    hashes: tuple[Column, ...] = ()
    dropped: tuple[Column, ...] = ()
    unread: tuple[Column, ...] = ()
    wider: tuple[str, ...] = ()
    unsound: tuple[Column, ...] = ()
    obstacle: tuple[str, str] | None = None
    alike: bool = True

    @property
    def shared(self) -> Table:
        """The local table with the columns that are at the source as well, in the source's order."""
        without = {column.name for column in self.hashes}
        names = (name for name in self.expected.names if name in self.found.names and name not in without)
        columns = tuple(self.found[name] for name in names)
        return replace(self.found, columns=columns, master_key=self.expected.master_key)

    @property
    def same_key(self) -> bool:
        """Whether both tables have the same key: without it entities cannot be told."""
        return self.found.primary_key == self.expected.primary_key

    @property
    def exact(self) -> bool:
        """Whether whatever the source has arrives as it is, or is refused by the local server itself."""
        pairs = [(self.found[name], self.expected[name]) for name in self.shared.names]
        if self.alike:
            return all(found.type == expected.type for found, expected in pairs)
        return all(_keeps(found.kind, expected.kind) for found, expected in pairs)

    @property
    def stops_pulls(self) -> bool:
        """Whether no row of the source can be what a local row would be."""
        return bool(self.altered or self.computed or self.dropped or self.hashes or self.unread)

    @property
    def lines(self) -> tuple[str, ...]:
        """Each difference."""
        changed = {c.name for c in (*self.widened, *self.altered, *self.computed, *self.hashes)} | set(self.wider)
        ours, theirs = (", ".join(table.primary_key) for table in (self.found, self.expected))
        return (
            *(f"{column.name}: missing" for column in self.added),
            *(f"{column.name}: not at the source" for column in self.dropped),
            *(f"{column.name}: {_describe(column)}, which DataJoint 0.x cannot read" for column in self.unread),
            *(
                f"{name}: {_describe(self.found[name])}, at the source {_describe(self.expected[name])}"
                for name in self.expected.names
                if name in changed
            ),
            *([] if self.same_key else [f"primary key: ({ours}), at the source ({theirs})"]),
        )

    @property
    def words(self) -> tuple[str, ...]:
        """Each comment that does not tell DataJoint what is in its column."""
        return tuple(
            f"{self.found.name}.{column.name}: {marker(self.found[column.name].comment) or 'no marker'}, wanted is "
            f"{marker(column.comment) or 'none'}"
            for column in self.remarked
        )


def compare(expected: Table, found: Table, alike: bool, reader: Reader) -> Differences:
    """Compare an existing local table with the one that would be declared.

    Between servers that are ``alike`` types must be the same; between others the local column must keep every value of
    the source's.
    """
    key = (*expected.primary_key, *found.primary_key)
    added = tuple(c for c in expected.columns if c.name not in found.names and not (c.hidden and c.name not in key))
    others = [c for c in found.columns if c.name not in expected.names and not c.hidden]
    narrow, altered, computed, wider = list[Column](), list[Column](), list[Column](), list[str]()
    remarked, hashes = list[Column](), list[Column]()
    for wanted in expected.columns:
        if wanted.name not in found.names:
            continue
        ours = found[wanted.name]
        same = ours.type == wanted.type if alike else _keeps(ours.kind, wanted.kind)
        if ours.generated:
            computed.append(wanted)
            continue
        if _is_hash(ours, wanted):
            hashes.append(wanted)
            continue
        if not reader.is_word_only(wanted, ours) or not (
            same or _holds(ours.kind, wanted.kind) or widens(ours.kind, wanted.kind)
        ):
            altered.append(replace(wanted, nullable=wanted.nullable or ours.nullable))
            continue
        if reader.is_told_otherwise(wanted, ours):
            comment = with_marker(ours.comment, marker(wanted.comment))
            ours = replace(ours, comment=comment, content=wanted.content)
            remarked.append(ours)
        if not (same or _holds(ours.kind, wanted.kind)):
            narrow.append(widened(ours, wanted))
        elif wanted.nullable and not ours.nullable:
            narrow.append(replace(ours, nullable=True))
        elif not same or ours.nullable != wanted.nullable:
            wider.append(wanted.name)
    return Differences(
        *(expected, found, added, tuple(narrow), tuple(altered), tuple(computed)),
        remarked=tuple(column for column in remarked if column.name not in {c.name for c in narrow}),
        hashes=tuple(hashes),
        dropped=tuple(column for column in others if reader.reads(column)),
        unread=tuple(column for column in others if not reader.reads(column)),
        wider=tuple(wider),
        alike=alike,
    )


def _is_hash(ours: Column, wanted: Column) -> bool:
    """Whether a local column has what DataJoint 0.x keeps of an object in a store, where the object is wanted."""
    in_store = wanted.kind == Kind("json") and wanted.former is not None and marker(wanted.comment) != wanted.former
    return in_store and ours.kind is not None and ours.kind.name == "bytes" and marker(ours.comment) == wanted.former


def widened(ours: Column, wanted: Column) -> Column:
    """A local column with the source's type, and otherwise as it is."""
    charset = (ours.charset, ours.collation) if ours.charset and wanted.charset else (wanted.charset, wanted.collation)
    return replace(
        ours,
        type=wanted.type,
        kind=wanted.kind,
        enum_type=wanted.enum_type,
        charset=charset[0],
        collation=charset[1],
        nullable=ours.nullable or wanted.nullable,
    )


def _holds(ours: Kind | None, wanted: Kind | None) -> bool:
    return ours is not None and wanted is not None and ours.holds(wanted)


def _keeps(ours: Kind | None, wanted: Kind | None) -> bool:
    return ours is not None and wanted is not None and ours.keeps(wanted)


def widens(ours: Kind | None, wanted: Kind | None) -> bool:
    """Whether a column of one kind can become one of the other, and keep all its values."""
    same = ours is not None and wanted is not None and wanted.name == ours.name
    return _holds(wanted, ours) and (same or ours == Kind("bool"))


def _describe(column: Column) -> str:
    computed = " computed by the server" if column.generated else ""
    return f"{column.type}{_codec(column)}{'' if column.nullable else ' not null'}{computed}"


def _codec(column: Column) -> str:
    """What DataJoint makes of the column's values, where the type alone does not say it."""
    special = marker(column.comment)
    return f" {special}" if special in ("uuid", "attach") or special.startswith("<") or "@" in special else ""
