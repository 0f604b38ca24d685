"""Tables addressed by the keys of entities: the one place where conditions on keys are put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .schema import Column, Table
from .servers import Connection, Key, RowError, Server, Sql

#: Keys that travel in one statement where a list of them has to.
KEYS_PER_STATEMENT = 20_000
KEY_BYTES_PER_STATEMENT = 2_000_000


@dataclass(frozen=True)
class Chunk:
    """The entities whose keys lie in (``after``, ``upto``], in the order of their server; None for an open end.

    ``claimed`` counts what a run has to copy there, ``whole`` if the source has nothing else there. ``keys`` are those
    of what it found unfinished, which need not be of its own selection.
    """

    after: Key | None
    upto: Key | None
    claimed: int = 0
    whole: bool = False
    keys: tuple[Key, ...] = ()


EVERYTHING = Chunk(None, None)


def batches(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    """Cut a list of keys into statements' worth."""
    start, size = 0, 0
    for n, key in enumerate(keys):
        length = sum(len(value) for value in key if isinstance(value, str))
        if n - start == KEYS_PER_STATEMENT or size + length > KEY_BYTES_PER_STATEMENT:
            yield keys[start:n]
            start, size = n, 0
        size += length
    if keys:
        yield keys[start:]


class Keyed:
    """A table on a server, and its columns that say which entity a row belongs to.

    Parameters
    ----------
    server : Server
        Where it is.
    table : Table
        The table.
    key : sequence of Column
        The columns of the entity's key, in the order that keys have everywhere.
    """

    def __init__(self, server: Server, table: Table, key: Sequence[Column]) -> None:
        self.server = server
        self.name = server.name(table.schema, table.name)
        self.key = tuple(key)
        self.references = tuple(f"{self.name}.{server.quote(column.name)}" for column in self.key)

    @property
    def pairs(self) -> list[tuple[Column, str]]:
        """Each key column with its full name."""
        return list(zip(self.key, self.references, strict=True))

    @property
    def selected(self) -> str:
        """The expressions that fetch a key exactly."""
        return ", ".join(self.server.key_select(column, reference) for column, reference in self.pairs)

    @property
    def order(self) -> str:
        """The expressions by which keys sort."""
        return ", ".join(self.server.key_order(column, reference) for column, reference in self.pairs)

    def equals(self, other: Keyed) -> str:
        """The condition that rows of two tables belong to one entity."""
        return " AND ".join(f"{a} = {b}" for a, b in zip(self.references, other.references, strict=True))

    def within(self, chunk: Chunk) -> Sql:
        """The condition that a key lies in a chunk."""
        bounds = [
            self.server.beyond(self.pairs, bound, sign)
            for bound, sign in ((chunk.after, ">"), (chunk.upto, "<="))
            if bound is not None
        ]
        return " AND ".join(sql for sql, _ in bounds) or "1 = 1", tuple(arg for _, args in bounds for arg in args)

    def listed(self, keys: Sequence[Key], values: Sequence[Column] = ()) -> tuple[str, str, tuple[Any, ...]]:
        """A FROM item with some keys, the condition that a row has one of them, and the item's arguments.

        Behind each key may stand ``values`` of other columns.
        """
        item, args = self.server.key_list((*self.key, *values), keys)
        pairs = enumerate(self.pairs)
        on = " AND ".join(self.server.key_match(column, reference, f"j.k{n}") for n, (column, reference) in pairs)
        return item, on, args

    def rows_of(self, keys: Sequence[Key]) -> Sql:
        """FROM onward: the rows of some entities."""
        item, on, args = self.listed(keys)
        return f"FROM {self.server.driving_join(item, self.name, on)}", args

    def existing(self, connection: Connection, keys: Sequence[Key], condition: str = "1 = 1") -> set[Key]:
        """Those of the keys that are there, exactly as they are given, in rows for which a condition is true."""
        found: set[Key] = set()
        for batch in batches(keys):
            found |= self._found(connection, batch, condition)
        return found & set(keys)

    def _found(self, connection: Connection, keys: Sequence[Key], condition: str) -> set[Key]:
        rows, args = self.rows_of(keys)
        try:
            sql = f"SELECT {self.selected} {rows} WHERE {self.server.unguessed(condition)}"
            return set(connection.query(sql, args))
        except RowError:
            # A key of another server may be none that this one could hold.
            middle = len(keys) // 2
            halves = (keys[:middle], keys[middle:]) if middle else ()
            return set().union(*(self._found(connection, half, condition) for half in halves))

    def keys(self, connection: Connection, where: Sql, limit: int | None = None) -> list[Key]:
        """The keys of the rows for which a condition is true, in order."""
        sql = f"SELECT {self.selected} FROM {self.name} WHERE {where[0]} ORDER BY {self.order}"
        return connection.query(sql + (f" LIMIT {limit}" if limit is not None else ""), where[1])

    def key_at(self, connection: Connection, where: Sql, offset: int) -> Key | None:
        """The key ``offset`` rows further on among those for which a condition is true, if there are as many."""
        sql = f"SELECT {self.selected} FROM {self.name} WHERE {where[0]} ORDER BY {self.order} LIMIT 1 OFFSET {offset}"
        rows = connection.query(sql, where[1])
        return rows[0] if rows else None

    def count(self, connection: Connection, where: Sql) -> int:
        """How many rows there are for which a condition is true."""
        return int(connection.query(f"SELECT COUNT(*) FROM {self.name} WHERE {where[0]}", where[1])[0][0])

    def checksum(self, connection: Connection, condition: str, alike: bool) -> tuple[int, int]:
        """Count and checksum of the keys of the rows for which a condition is true."""
        expression = self.server.key_checksum(self.pairs, alike)
        count, checksum = connection.query(f"SELECT COUNT(*), {expression} FROM {self.name} WHERE {condition}")[0]
        return int(count), int(checksum or 0)
