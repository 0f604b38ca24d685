"""How statements are written for a kind of server. Pure text: nothing here connects.

SQL text is written for the drivers' ``%s`` style throughout: a percent sign that is meant stands twice, also in quoted
names. :func:`plain` is what is sent where there are no arguments, or printed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ..errors import DefinitionError
from ..model.kinds import Kind
from ..model.ranges import Key, Sql
from ..model.schema import Column, ForeignKey, Table

#: The words for a table whose rows are those of another one.
PARTITION = "a partition of another table"
#: Of values longer than this (bytes) digests are compared: they travel to be compared in no other case.
LONG_VALUE = 1000
#: Stands before the digest of a long value.
DIGEST = "\x01sha256:"


def plain(sql: str) -> str:
    """The text that a driver sends when there are no arguments to fill in."""
    return sql.replace("%%", "%")


def linkable_kind(column: Column) -> Kind:
    """What a column holds.

    Raises
    ------
    DefinitionError
        It is of a type that cannot be linked.
    """
    if column.kind is None:
        raise DefinitionError(f"The column {column.name} is of the type {column.type}, which cannot be linked.")
    return column.kind


def may_be_long(kind: Kind) -> bool:
    """Whether a value can be longer than those that are compared as they are, in UTF-8."""
    return kind.name in ("text", "bytes") and (kind.size is None or 4 * kind.size > LONG_VALUE)


class Dialect(ABC):
    """One kind of server's way to write what all of them can do."""

    #: Servers of one name have the same types, and compute the same digests.
    name: ClassVar[str]
    #: Lists what a schema, its one argument, has: names, and what is no table with rows of its own, in words.
    relations: ClassVar[str]
    begin_snapshot: ClassVar[tuple[str, ...]]
    #: What a transaction with stable reads begins with.
    stable: ClassVar[tuple[str, ...]] = ()
    #: A block is loaded in one round trip, all of its rows or none.
    loads_whole: ClassVar[bool] = False
    #: Sessions that claim at once: the check of the foreign key is what takes the time.
    claimers: ClassVar[int] = 2
    #: After the SELECT in an EXISTS: look each row up in the index, and copy nothing aside.
    by_index: ClassVar[str] = ""
    #: Kinds that a column's type does not show, so that DataJoint goes by its marker.
    unseen: ClassVar[tuple[str, ...]] = ("uuid", "bool")
    #: Whether numbers in JSON keep all their digits.
    exact_json: ClassVar[bool] = True
    #: So many sets (common table expressions) a statement may name, if there is a limit: it writes out each anew, with
    #: all that it is made of, wherever it is named.
    most_sets: ClassVar[int | None] = None
    #: Kinds of which a digest is another one in sessions of another time zone.
    zoned: ClassVar[tuple[str, ...]] = ()
    #: Whether -0.0 is told from 0.0 when a number is printed.
    signed_zero: ClassVar[bool] = True
    #: The same of numbers in JSON that are no integers.
    signed_zero_in_json: ClassVar[bool] = True
    #: What stands for a time that has not come: where a row that gets longer costs much, a time long ago.
    never: ClassVar[str] = "NULL"

    def alike(self, other: Dialect) -> bool:
        """Whether the other's column types mean the same here."""
        return self.name == other.name

    @abstractmethod
    def language_from(self, source: Dialect) -> Literal["values", "copy", "binary"]:
        """The language in which a source of some kind renders rows for this one."""

    def takes_text(self, column: Column, charset: str | None) -> bool:
        """Whether a column takes text of another character set or refuses it, but never keeps another text."""
        return True

    def tells_keys(self, column: Column) -> bool:
        """Whether what is fetched of a column, if it is in a key, tells its values from one another."""
        return True

    # names

    @abstractmethod
    def fits(self, name: str) -> bool:
        """Whether an identifier is not too long; PostgreSQL would cut it off in silence."""

    @abstractmethod
    def quote(self, name: str) -> str:
        """An identifier, quoted."""

    @abstractmethod
    def text(self, value: str) -> str:
        """A text as a literal."""

    def full_name(self, schema: str, table: str) -> str:
        """A table's quoted full name."""
        return f"{self.quote(schema)}.{self.quote(table)}"

    def name_of(self, table: Table) -> str:
        """The quoted full name of a table."""
        return self.full_name(table.schema, table.name)

    def field(self, table: Table, column: Column) -> str:
        """A column with the name of its table."""
        return f"{self.name_of(table)}.{self.quote(column.name)}"

    @abstractmethod
    def is_as(self, what: str, reference: str) -> str:
        """The condition that bytes are what a column's :class:`~link.model.schema.Content` says."""

    def supports(self, column: Column) -> bool:
        """Whether a column is of a type that can be linked."""
        return column.kind is not None

    def alias(self, name: str) -> str:
        """A name for what a statement lists or looks up; no table or column that can be linked has such a one."""
        return self.quote(f"~{name}")

    # keys

    @abstractmethod
    def key_select(self, column: Column, reference: str) -> str:
        """The expression that fetches a key column exactly."""

    def key_order(self, column: Column, reference: str) -> str:
        """The expression by which a key column sorts as it compares."""
        return reference

    @abstractmethod
    def beyond(self, columns: Sequence[tuple[Column, str]], key: Key, sign: str) -> Sql:
        """A condition for keys ``>`` or ``<=`` a key, in the form that uses the index."""

    @abstractmethod
    def equals(self, columns: Sequence[tuple[Column, str]], key: Key) -> Sql:
        """The condition that columns have the values of a key, in the form that uses the index."""

    @abstractmethod
    def divided(self, column: Column, reference: str, by: int) -> str | None:
        """The value of an integer column, divided and cut off toward zero; None of what is no plain integer."""

    @abstractmethod
    def key_list(self, columns: Sequence[Column], keys: Sequence[Key]) -> Sql:
        """A FROM item that holds the keys, as :meth:`listed` names its columns; one statement's worth."""

    def listed(self, number: int) -> str:
        """A column of :meth:`key_list`."""
        return f"{self.alias('keys')}.{self.alias(str(number))}"

    @abstractmethod
    def listed_value(self, column: Column, listed: str) -> str:
        """A value of :meth:`key_list` as its column takes it."""

    def key_match(self, column: Column, reference: str, listed: str) -> str:
        """The condition that a key column equals one of :meth:`key_list`."""
        return f"{reference} = {self.listed_value(column, listed)}"

    # keys that travel within a statement of DataJoint's, by a session that has settings of its own

    def told_exactly(self, column: Column, reference: str) -> str:
        """The expression that fetches a value exactly, in whatever session; no two values of it are equal."""
        return self.key_select(column, reference)

    def travelling(self, column: Column) -> Column:
        """A column as a list has it whose values are compared in whatever session."""
        return column

    def travels(self, column: Column, value: Any) -> bool:
        """Whether a value of a key can stand in :meth:`key_text`, whatever the session makes of it."""
        return True

    def key_text(self, columns: Sequence[Column], keys: Sequence[Key]) -> str:
        """:meth:`key_list` with the keys written out, for a statement that is given no values; without percent signs
        in them, which some drivers halve then, and others do not."""
        item, args = self.key_list(columns, keys)
        written = map(self.written, args)
        return re.sub("%%|%s", lambda mark: next(written) if mark[0] == "%s" else mark[0], item)

    @abstractmethod
    def written(self, value: Any) -> str:
        """An argument of :meth:`key_list` as a literal without a percent sign, in whatever session."""

    def travelled_value(self, column: Column, listed: str) -> str:
        """A value of :meth:`key_text` as its column takes it, to be looked up; it is never NULL."""
        return self.listed_value(column, listed)

    def looked_up(self, values: Sequence[str], item: str) -> str:
        """SELECT some values of a FROM item, which the server makes once, and looks up wherever the statement is."""
        return f"SELECT {', '.join(values)} FROM {item}"

    def told_apart(self, column: Column, reference: str, listed: str) -> str | None:
        """The condition that a column's value is one of :meth:`key_text`, where comparing the two does not tell it."""
        return None

    @abstractmethod
    def key_checksum(self, columns: Sequence[tuple[Column, str]], alike: bool) -> str:
        """An aggregate over keys, equal on both ends when the keys are, whatever their order.

        The cheapest there is where both ends are ``alike``, else one that every kind of server computes.
        """

    @abstractmethod
    def key_digest(self, columns: Sequence[tuple[Column, str]]) -> str:
        """A number that follows from a key, the same on both ends that are alike; another key may have it as well."""

    @abstractmethod
    def bucket(self, columns: Sequence[tuple[Column, str]], number: int) -> str:
        """One of so many buckets, a power of two, that follows from a key: the same on both ends that are alike."""

    @abstractmethod
    def seconds(self, time: str) -> str:
        """A time as seconds since 1970; NULL where it has not come."""

    # statements in which dialects differ

    @abstractmethod
    def insert_new(self, table: str, columns: Sequence[str], select: str, key: str) -> str:
        """INSERT ... SELECT that leaves rows alone which are there already."""

    @abstractmethod
    def update_listed(self, table: str, assignments: str, key_list: str, on: str, where: str) -> str:
        """UPDATE of the rows that match a key list."""

    @abstractmethod
    def delete_listed(self, table: str, key_list: str, on: str, where: str) -> str:
        """DELETE of the rows that match a key list."""

    def unguessed(self, condition: str) -> str:
        """A condition on rows that a key list selects; the server's planner shall not guess how few rows meet it.

        Of what a helper table says its statistics know nothing, or what was so a moment ago.
        """
        return condition

    @abstractmethod
    def stable_read(self, select: str) -> str:
        """A read, within a transaction that began with `stable`, of rows that a DELETE after it finds the very same."""

    @abstractmethod
    def locking_count(self, rows: str) -> str:
        """SELECT how many rows there are, within a transaction: nobody removes or changes them before its end."""

    @abstractmethod
    def staging_schema(self, schema: str) -> str:
        """The schema that temporary tables beside those of a schema go by."""

    @abstractmethod
    def update_joined(self, table: str, columns: Sequence[str], other: str, on: str, within: str | None = None) -> str:
        """UPDATE: give rows the values of another table's columns of the same names; only what differs is written.

        With a condition that tells where the rows lie, they are read as they lie, and the other table's looked up.
        """

    @abstractmethod
    def is_spelt(self, column: Column) -> bool:
        """Whether values of a key column may be equal that are not the same, as texts in other letters."""

    @abstractmethod
    def spelt_alike(self, pairs: Sequence[tuple[Column, str, str]]) -> str:
        """The condition that values of key columns which are equal are the same: equal text need not be."""

    @abstractmethod
    def driving_join(self, first: str, second: str, on: str) -> str:
        """A join that reads ``first`` in its order and looks up ``second``."""

    def refers(self, table: Table, fk: ForeignKey) -> str:
        """The condition that a row refers to a row."""
        return " AND ".join(f"{self.name_of(table)}.{self.quote(name)} IS NOT NULL" for name in fk.columns)

    def dangles(self, table: Table, fk: ForeignKey) -> str:
        """The condition that a row refers to a row which is not there."""
        parent = self.alias("parent")
        refers = [f"{self.name_of(table)}.{self.quote(name)}" for name in fk.columns]
        equal = " AND ".join(
            f"{parent}.{self.quote(referred)} = {name}" for referred, name in zip(fk.referred, refers, strict=True)
        )
        there = f"EXISTS (SELECT 1 FROM {self.full_name(fk.schema, fk.table)} {parent} WHERE {equal})"
        return f"{self.refers(table, fk)} AND NOT {there}"

    @abstractmethod
    def row_size(self, table: Table) -> str:
        """About how many bytes a row has; no value is read for it that lies elsewhere, where that can be helped."""

    @abstractmethod
    def told_size(self, reference: str) -> str:
        """The number that JSON has as ``size``, or NULL."""

    @abstractmethod
    def comparable(self, table: Table, alike: bool) -> str:
        """Expressions that are the same on both ends when the values are.

        A digest over all columns where both ends are ``alike``, else the values in a form common to all servers.
        """

    @abstractmethod
    def sum_of_digests(self, table: Table) -> str:
        """An aggregate: a digest of all rows, whatever their order; only for ends that are alike."""

    def sums_by_group(self, table: Table, groups: Sequence[tuple[Column | None, str]], source: str) -> str:
        """SELECT of each group what it is, the number of its rows, and their digests' sum; ``source`` is FROM onward.

        Rows are grouped by expressions: columns of the key, which are fetched as keys are, or numbers.
        """
        told = (self.key_select(column, by) if column else by for column, by in groups)
        # Of columns as they are, which an index has in that order; a number is computed once.
        grouped = (by if column else str(n) for n, (column, by) in enumerate(groups, 1))
        selected = f"{', '.join(told)}, COUNT(*), {self.sum_of_digests(table)}"
        return f"SELECT {selected} {source} GROUP BY {', '.join(grouped)}"
