"""Tables addressed by the keys of entities, and segments of them: the one place where conditions on keys are made.

What is built is :data:`~link.model.ranges.Sql`, which can be read without a server; the methods that take a session
run it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..model.ranges import EVERYTHING, Key, Range, Rows, Sql
from ..model.schema import Column, Table
from ..signals import RowError
from .dialect import Dialect
from .session import Session

#: Keys that travel in one statement where a list of them has to.
KEYS_PER_STATEMENT = 20_000
#: Bytes of them, as they are sent: some servers take no statement of more than a megabyte.
KEY_BYTES_PER_STATEMENT = 900_000


def batches(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    """Cut a list of keys into statements' worth."""
    start, size = 0, 0
    for n, key in enumerate(keys):
        length = 4 + sum(map(_sent, key))
        if n - start == KEYS_PER_STATEMENT or size + length > KEY_BYTES_PER_STATEMENT:
            yield keys[start:n]
            start, size = n, 0
        size += length
    if keys:
        yield keys[start:]


def _sent(value: Any) -> int:
    """About how many bytes a value of a key is as it is sent."""
    # With what is around it. Other characters than ASCII are escaped, up to fourteen bytes for one.
    return 8 + (len(value) * (1 if value.isascii() else 14) if isinstance(value, str) else len(str(value)))


def told_keys(rows: Iterable[Sequence[Any]]) -> Iterator[Key]:
    """Keys as they are everywhere, of what :meth:`~link.servers.dialect.Dialect.told_exactly` fetches."""
    return (tuple(value.decode() if isinstance(value, bytes) else value for value in row) for row in rows)


class Keyed:
    """A table on a server, and its columns that say which entity a row belongs to.

    Parameters
    ----------
    dialect : Dialect
        How its server is spoken to.
    table : Table
        The table.
    key : sequence of Column, optional
        The columns of the entity's key, in the order that keys have everywhere; those of the table's entity key
        unless it is said otherwise.
    """

    def __init__(self, dialect: Dialect, table: Table, key: Sequence[Column] | None = None) -> None:
        self.dialect = dialect
        self.name = dialect.name_of(table)
        self.key = tuple(key if key is not None else (table[name] for name in table.entity_key))
        self.references = tuple(dialect.field(table, column) for column in self.key)

    @property
    def names(self) -> list[str]:
        """The names of the key columns."""
        return [column.name for column in self.key]

    @property
    def pairs(self) -> list[tuple[Column, str]]:
        """Each key column with its full name."""
        return list(zip(self.key, self.references, strict=True))

    @property
    def selected(self) -> str:
        """The expressions that fetch a key exactly."""
        return ", ".join(self.dialect.key_select(column, reference) for column, reference in self.pairs)

    @property
    def told(self) -> str:
        """The expressions that fetch a key exactly in a session of DataJoint's; see :func:`told_keys`."""
        return ", ".join(self.dialect.told_exactly(column, reference) for column, reference in self.pairs)

    @property
    def order(self) -> str:
        """The expressions by which keys sort."""
        return ", ".join(self.dialect.key_order(column, reference) for column, reference in self.pairs)

    def called(self, alias: str) -> Keyed:
        """The same table as it goes by another name in a statement."""
        other = copy.copy(self)
        other.name = alias
        other.references = tuple(f"{alias}.{self.dialect.quote(column.name)}" for column in self.key)
        return other

    def equals(self, other: Keyed) -> str:
        """The condition that rows of two tables belong to one entity."""
        return " AND ".join(f"{a} = {b}" for a, b in zip(self.references, other.references, strict=True))

    def exists(self, other: Keyed, name: str) -> str:
        """The condition that another table has a row of the same entity.

        In there the other goes by another name: it may be the target of the INSERT around it.
        """
        alias = self.dialect.alias(name)
        columns = (f"{alias}.{self.dialect.quote(column.name)}" for column in other.key)
        equal = " AND ".join(f"{a} = {b}" for a, b in zip(columns, self.references, strict=True))
        return f"EXISTS (SELECT {self.dialect.by_index}1 FROM {other.name} {alias} WHERE {equal})"

    def within(self, bounds: Range) -> Sql:
        """The condition that a key lies in a range."""
        conditions = [
            self.dialect.beyond(self.pairs, bound, sign)
            for bound, sign in ((bounds.after, ">"), (bounds.upto, "<="))
            if bound is not None
        ]
        return " AND ".join(sql for sql, _ in conditions) or "1 = 1", tuple(a for _, args in conditions for a in args)

    def listed(self, keys: Sequence[Key], values: Sequence[Column] = ()) -> tuple[str, str, tuple[Any, ...]]:
        """A FROM item with some keys, the condition that a row has one of them, and the item's arguments.

        Behind each key may stand ``values`` of other columns.
        """
        item, args = self.dialect.key_list((*self.key, *values), keys)
        pairs = enumerate(self.pairs)
        on = " AND ".join(
            self.dialect.key_match(column, reference, self.dialect.listed(n)) for n, (column, reference) in pairs
        )
        return item, on, args

    def rows_of(self, keys: Sequence[Key]) -> Sql:
        """FROM onward: the rows of some entities."""
        item, on, args = self.listed(keys)
        return f"FROM {self.dialect.driving_join(item, self.name, on)}", args

    def deletion(self, rows: Rows, condition: Sql = ("1 = 1", ())) -> Sql:
        """DELETE of the rows of some entities for which a condition is true."""
        where, args = condition
        if isinstance(rows, Range):
            within, bounds = self.within(rows)
            return f"DELETE FROM {self.name} WHERE {where} AND {within}", (*args, *bounds)
        item, on, keys = self.listed(rows)
        return self.dialect.delete_listed(self.name, item, on, where), (*keys, *args)

    def change(self, assignments: str, rows: Rows, condition: Sql = ("1 = 1", ())) -> Sql:
        """UPDATE of the rows of some entities for which a condition is true."""
        where, args = condition
        if isinstance(rows, Range):
            within, bounds = self.within(rows)
            return f"UPDATE {self.name} SET {assignments} WHERE {where} AND {within}", (*args, *bounds)
        item, on, keys = self.listed(rows)
        return self.dialect.update_listed(self.name, assignments, item, on, where), (*keys, *args)

    def existing(self, session: Session, keys: Sequence[Key], condition: str = "1 = 1") -> set[Key]:
        """Those of the keys that are there, exactly as they are given, in rows for which a condition is true."""
        return self.equal(session, keys, condition) & set(keys)

    def equal(self, session: Session, keys: Sequence[Key], condition: str = "1 = 1") -> set[Key]:
        """The keys of rows for which a condition is true that equal one of the keys, however they are written there."""
        found: set[Key] = set()
        for batch in batches(keys):
            found |= self._found(session, batch, condition)
        return found

    def _found(self, session: Session, keys: Sequence[Key], condition: str) -> set[Key]:
        rows, args = self.rows_of(keys)
        try:
            sql = f"SELECT {self.selected} {rows} WHERE {self.dialect.unguessed(condition)}"
            return set(session.query(sql, args))
        except RowError:
            # A key of another server may be none that this one could hold.
            middle = len(keys) // 2
            halves = (keys[:middle], keys[middle:]) if middle else ()
            return set().union(*(self._found(session, half, condition) for half in halves))


@dataclass(frozen=True)
class Segment:
    """Some rows of a table: those of a range of keys for which conditions are true. A value, which makes its own SQL.

    Attributes
    ----------
    rows : Keyed
        The table.
    within : Range
        The range.
    conditions : tuple of Sql
        What else is to be true.
    """

    rows: Keyed
    within: Range = EVERYTHING
    conditions: tuple[Sql, ...] = ()

    def where(self, *conditions: str | Sql) -> Segment:
        """The rows of this segment for which these conditions are true as well."""
        added = tuple((condition, ()) if isinstance(condition, str) else condition for condition in conditions)
        return replace(self, conditions=(*self.conditions, *added))

    @property
    def condition(self) -> Sql:
        """The condition that a row is in this segment."""
        all_of = list(self.conditions)
        if self.within != EVERYTHING or not all_of:
            all_of.append(self.rows.within(self.within))
        return " AND ".join(sql for sql, _ in all_of), tuple(arg for _, args in all_of for arg in args)

    @property
    def unguessed(self) -> Segment:
        """The same rows, to be read as they lie: most of a range, of which the planner would guess that they are few.

        Who takes them for few reads all there are and sorts them, for each key that is looked for.
        """
        read = self.rows.dialect.unguessed
        return replace(self, conditions=tuple((read(condition), args) for condition, args in self.conditions))

    def selecting(self, what: str, order: str = "") -> Sql:
        """SELECT something of these rows."""
        condition, args = self.condition
        return f"SELECT {what} FROM {self.rows.name} WHERE {condition}{order and f' ORDER BY {order}'}", args

    @property
    def deletion(self) -> Sql:
        """DELETE of these rows."""
        condition, args = self.condition
        return f"DELETE FROM {self.rows.name} WHERE {condition}", args

    def keys(self, session: Session, limit: int | None = None) -> list[Key]:
        """The keys, in order."""
        sql, args = self.selecting(self.rows.selected, self.rows.order)
        return session.query(sql + (f" LIMIT {limit}" if limit is not None else ""), args)

    def key_at(self, session: Session, offset: int) -> Key | None:
        """The key ``offset`` rows further on, if there are as many."""
        sql, args = self.selecting(self.rows.selected, self.rows.order)
        found = session.query(f"{sql} LIMIT 1 OFFSET {offset}", args)
        return found[0] if found else None

    def last(self, session: Session) -> Key | None:
        """The last key, if there is one."""
        order = ", ".join(f"{self.rows.dialect.key_order(*pair)} DESC" for pair in self.rows.pairs)
        sql, args = self.selecting(self.rows.selected, order)
        found = session.query(f"{sql} LIMIT 1", args)
        return found[0] if found else None

    def every(self, session: Session, step: int) -> list[Key]:
        """The key of every so many rows, in order: all of them by one look at the rows."""
        dialect = self.rows.dialect
        names = [dialect.alias(f"key {n}") for n in range(len(self.rows.key))]
        number = dialect.alias("number")
        keys = (f"{dialect.key_select(*pair)} AS {name}" for pair, name in zip(self.rows.pairs, names, strict=True))
        sql, args = self.selecting(f"{', '.join(keys)}, ROW_NUMBER() OVER (ORDER BY {self.rows.order}) AS {number}")
        item = f"({sql}) AS {dialect.alias('numbered')}"
        every = f"SELECT {', '.join(names)} FROM {item} WHERE MOD({number}, {step}) = 0 ORDER BY {number}"
        return session.query(every, args)

    def count(self, session: Session) -> int:
        """How many rows there are."""
        return int(session.query(*self.selecting("COUNT(*)"))[0][0])

    def counting_upto(self, limit: int) -> Sql:
        """SELECT: how many rows there are, of which no more are looked at than so many."""
        sql, args = self.selecting("1")
        return f"SELECT COUNT(*) FROM ({sql} LIMIT {limit}) {self.rows.dialect.alias('some')}", args

    def checksum(self, session: Session, alike: bool) -> tuple[int, int]:
        """Count and checksum of the keys."""
        count, digest = session.query(*self.checking(alike))[0]
        return int(count), int(digest or 0)

    def checking(self, alike: bool) -> Sql:
        """SELECT count and checksum of the keys."""
        return self.selecting(f"COUNT(*), {self.rows.dialect.key_checksum(self.rows.pairs, alike)}")
