"""The helper table at the source: every statement that reads or changes it.

A transition of :mod:`link.states` becomes one guarded, set-based statement over a chunk of keys. Several runs share
the table: each writes its number into the hidden column ``_worker`` of the rows that it has in hand, and holds an
advisory lock of that number for as long as its connection lives. The rows of a number whose lock is free belong to a
dead run; the next run adopts them. A helper table without that column (made by an older program) is worked on by one
run at a time.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .schema import Column, Table
from .servers import Connection, Key, Server, Sql
from .states import HOLD, HelperRow, Transition

#: Keys that travel in one statement where a list of them has to.
KEYS_PER_STATEMENT = 5000
WORKER = "_worker"


@dataclass(frozen=True)
class Chunk:
    """The entities whose keys lie in (``after``, ``upto``], in the order of the source; None for an open end.

    ``claimed`` counts the keys that this run has claimed there; None for those that it found unfinished.
    """

    after: Key | None
    upto: Key | None
    claimed: int | None = None


@dataclass(frozen=True)
class Count:
    """How many helper rows look the same."""

    row: HelperRow
    worker: int
    entities: int


def batches(keys: Sequence[Key], size: int = KEYS_PER_STATEMENT) -> Iterator[Sequence[Key]]:
    """Cut a list of keys into statements' worth."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


class Outbound:
    """The helper table as one run sees it.

    Parameters
    ----------
    server : Server
        The source server.
    source, helper : Table
        The master table at the source and its helper table; their keys have the same names.
    """

    def __init__(self, server: Server, source: Table, helper: Table) -> None:
        self.server = server
        self.source = source
        self.key = source.key_columns
        self.table = server.name(helper.schema, helper.name)
        self.source_name = server.name(source.schema, source.name)
        self.shared = WORKER in helper.names
        self.worker = random.randrange(1, 2**31) if self.shared else 0
        self._space = zlib.crc32(f"{helper.schema}.{helper.name}".encode()) & 0x7FFFFFFF

    # runs

    def enlist(self, connection: Connection) -> None:
        """Mark this run as alive for as long as ``connection`` lives."""
        connection.lock((self._space, self.worker), wait=not self.shared)

    def adopt(self, connection: Connection, counts: Sequence[Count], former: set[int]) -> int:
        """Take over the unfinished rows of dead runs, the ``former`` among them; how many there are."""
        unfinished = {c.worker for c in counts if c.row.process != "NONE"}
        if not self.shared or not unfinished:
            return sum(c.entities for c in counts if c.row.process != "NONE")
        dead = unfinished - connection.locked(self._space, unfinished - {0} - former)
        if not dead:
            return 0
        marks = ", ".join(["%s"] * len(dead))
        return connection.execute(
            f"UPDATE {self.table} SET {WORKER} = %s WHERE process <> 'NONE' AND {WORKER} IN ({marks})",
            (self.worker, *dead),
        )

    def survey(self, connection: Connection, where: str = "") -> list[Count]:
        """Count the helper rows by what they say, in one pass over the table; ``where`` selects source rows."""
        worker = WORKER if self.shared else "0"
        rows = connection.query(
            "SELECT process, is_flagged, is_deprecated, "
            f"CASE WHEN process = 'NONE' THEN 0 ELSE {worker} END AS w, COUNT(*) "
            f"FROM {self.table} WHERE {self._selection(where)} GROUP BY process, is_flagged, is_deprecated, w"
        )
        return [Count(HelperRow(*row[:3]), int(row[3]), int(row[4])) for row in rows]

    # transitions

    def apply(self, connection: Connection, transition: Transition, chunk: Chunk) -> int:
        """Apply a transition to the rows of a chunk that its guard admits; how many."""
        conditions, args = self._guard(transition)
        within, more = self._within(chunk, self.table)
        condition, args = " AND ".join([*conditions, within]), (*args, *more)
        if transition.then is None:
            return connection.execute(f"DELETE FROM {self.table} WHERE {condition}", args)
        return connection.execute(f"UPDATE {self.table} SET {self._assignments(transition)} WHERE {condition}", args)

    def apply_to_keys(self, connection: Connection, transition: Transition, keys: Sequence[Key]) -> int:
        """Apply a transition to the rows of these keys that its guard admits; how many."""
        done = 0
        for batch in batches(keys):
            listed, args = self.server.key_list(self.key, batch)
            conditions, more = self._guard(transition)
            on, where = self._on_listed(self.table), " AND ".join(conditions)
            if transition.then is None:
                sql = self.server.delete_listed(self.table, listed, on, where)
            else:
                sql = self.server.update_listed(self.table, self._assignments(transition), listed, on, where)
            done += connection.execute(sql, (*args, *more))
        return done

    def _guard(self, transition: Transition) -> tuple[list[str], tuple[object, ...]]:
        conditions = [
            f"{self.table}.{column} IN ({', '.join(repr(v) for v in values)})"
            for column, values in transition.when.items()
        ]
        # Rows in the middle of a process belong to a run, but for a deletion: it may take over what was just received.
        if self.shared and "NONE" not in transition.when["process"]:
            return [*conditions, f"{self.table}.{WORKER} = %s"], (self.worker,)
        return conditions, ()

    def _assignments(self, transition: Transition) -> str:
        assert transition.then is not None
        values = {column: repr(value) for column, value in transition.then.items()}
        # The number of a row at rest means nothing, and is not worth another write.
        if self.shared and transition.then.get("process", "NONE") != "NONE":
            values[WORKER] = str(self.worker)
        return ", ".join(f"{column} = {value}" for column, value in values.items())

    # claims

    def next_unshared(self, connection: Connection, where: str, within: Chunk, offset: int) -> Key | None:
        """The key of the unshared source row ``offset`` rows further on in a range, if there are as many."""
        conditions, args = self._unshared(where, within)
        return self._key_at(connection, f"FROM {self.source_name} {conditions}", args, self.source_name, offset)

    def claim(self, connection: Connection, where: str, chunk: Chunk) -> int:
        """Hold the unshared source rows of a chunk; how many that were."""
        conditions, args = self._unshared(where, chunk)
        return connection.execute(self._claim_statement(f"FROM {self.source_name} {conditions}"), args)

    def claim_keys(self, connection: Connection, where: str, keys: Sequence[Key]) -> int:
        """Hold the unshared source rows of these keys that are in the selection; how many that were."""
        claimed = 0
        for batch in batches(keys):
            listed, args = self.server.key_list(self.key, batch)
            conditions, _ = self._unshared(where, Chunk(None, None))
            join = self.server.driving_join(listed, self.source_name, self._on_listed(self.source_name))
            claimed += connection.execute(self._claim_statement(f"FROM {join} {conditions}"), args)
        return claimed

    def _claim_statement(self, rows: str) -> str:
        columns = [column.name for column in self.key]
        names = [*columns, *HOLD._fields, *([WORKER] if self.shared else [])]
        constants = [repr(value) for value in HOLD] + ([str(self.worker)] if self.shared else [])
        select = f"SELECT {', '.join(self._references(self.source_name))}, {', '.join(constants)} {rows}"
        return self.server.insert_new(self.table, names, select, columns[0])

    def count_unshared(self, connection: Connection, where: str) -> int:
        """How many rows of the selection are not held."""
        conditions, args = self._unshared(where, Chunk(None, None))
        return int(connection.query(f"SELECT COUNT(*) FROM {self.source_name} {conditions}", args)[0][0])

    def _unshared(self, where: str, chunk: Chunk) -> Sql:
        condition, args = self._within(chunk, self.source_name)
        helper = self._equal("h", self.source_name)
        conditions = [
            f"NOT EXISTS (SELECT 1 FROM {self.table} h WHERE {helper})",
            condition,
            *([where] if where else []),
        ]
        return "WHERE " + " AND ".join(conditions), args

    # reading

    def next_unfinished(self, connection: Connection, after: Key | None, offset: int) -> Key | None:
        """The key ``offset`` rows further on among the rows that this run has yet to copy."""
        condition, args = self._mine("PULL", Chunk(after, None))
        return self._key_at(connection, f"FROM {self.table} WHERE {condition}", args, self.table, offset)

    def keys(self, connection: Connection, process: str, chunk: Chunk) -> list[Key]:
        """The keys of this run's rows in a process."""
        condition, args = self._mine(process, chunk)
        fields = ", ".join(self._selected(self.table))
        return connection.query(
            f"SELECT {fields} FROM {self.table} WHERE {condition} ORDER BY {self._order(self.table)}", args
        )

    def keys_where(
        self,
        connection: Connection,
        condition: str,
        where: str = "",
        after: Key | None = None,
        limit: int | None = None,
    ) -> list[Key]:
        """The keys of the helper rows for which a condition on the visible columns is true, in order.

        ``where`` selects source rows.
        """
        fields = ", ".join(self._selected(self.table))
        within, args = self._within(Chunk(after, None), self.table)
        sql = f"SELECT {fields} FROM {self.table} WHERE {condition} AND {within} AND {self._selection(where)}"
        return connection.query(
            f"{sql} ORDER BY {self._order(self.table)}" + (f" LIMIT {limit}" if limit is not None else ""),
            args,
        )

    def existing(self, connection: Connection, table: str, keys: Sequence[Key], where: str = "1 = 1") -> set[Key]:
        """Those of the keys that are in the helper table or in the source table, whichever is named."""
        found: set[Key] = set()
        for batch in batches(keys):
            listed, args = self.server.key_list(self.key, batch)
            join = self.server.driving_join(listed, table, self._on_listed(table))
            found |= set(connection.query(f"SELECT {', '.join(self._selected(table))} FROM {join} WHERE {where}", args))
        return found & set(keys)

    def count_mine(self, connection: Connection, process: str) -> int:
        """How many rows this run has in a process."""
        condition, args = self._mine(process, Chunk(None, None))
        return int(connection.query(f"SELECT COUNT(*) FROM {self.table} WHERE {condition}", args)[0][0])

    def checksum(self, connection: Connection, condition: str, alike: bool) -> tuple[int, int]:
        """Count and checksum of the keys of the helper rows for which the condition is true."""
        expression = self.server.key_checksum(list(zip(self.key, self._references(self.table), strict=True)), alike)
        count, checksum = connection.query(f"SELECT COUNT(*), {expression} FROM {self.table} WHERE {condition}")[0]
        return int(count), int(checksum or 0)

    def count_source(self, connection: Connection, chunk: Chunk) -> int:
        """How many source rows there are in a chunk, whoever holds them."""
        within, args = self._within(chunk, self.source_name)
        return int(connection.query(f"SELECT COUNT(*) FROM {self.source_name} WHERE {within}", args)[0][0])

    def all_rows(self, table: Table, chunk: Chunk) -> Sql:
        """FROM ... ORDER BY: all rows of a source table that belong to the entities of a chunk."""
        name = self.server.name(table.schema, table.name)
        columns = [(c, f"{name}.{self.server.quote(own)}") for own, c in zip(table.entity_key, self.key, strict=True)]
        within, args = self._within(chunk, name, columns)
        order = ", ".join(self.server.key_order(column, reference) for column, reference in columns)
        return f"FROM {name} WHERE {within} ORDER BY {order}", args

    def claimed_rows(self, table: Table, chunk: Chunk) -> Sql:
        """FROM ... ORDER BY: the rows of a source table that belong to the claimed entities of a chunk.

        Rows whose deletion is asked for by now are left out.
        """
        name = self.server.name(table.schema, table.name)
        on = " AND ".join(
            f"{name}.{self.server.quote(own)} = {self.table}.{self.server.quote(column.name)}"
            for own, column in zip(table.entity_key, self.key, strict=True)
        )
        condition, args = self._mine("PULL", chunk)
        return (
            f"FROM {self.server.driving_join(self.table, name, on)} "
            f"WHERE {condition} AND {self.table}.is_flagged = 'FALSE' ORDER BY {self._order(self.table)}",
            args,
        )

    # pieces

    def _selection(self, where: str) -> str:
        equal = self._equal(self.source_name, self.table)
        return f"EXISTS (SELECT 1 FROM {self.source_name} WHERE {equal} AND {where})" if where else "1 = 1"

    def _key_at(self, connection: Connection, sql: str, args: Sequence[object], table: str, offset: int) -> Key | None:
        rows = connection.query(
            f"SELECT {', '.join(self._selected(table))} {sql} ORDER BY {self._order(table)} LIMIT 1 OFFSET {offset}",
            args,
        )
        return rows[0] if rows else None

    def _mine(self, process: str, chunk: Chunk) -> Sql:
        condition, args = self._within(chunk, self.table)
        mine = f"{self.table}.process = '{process}'" + (
            f" AND {self.table}.{WORKER} = {self.worker}" if self.shared else ""
        )
        return f"{mine} AND {condition}", args

    def _within(self, chunk: Chunk, table: str, columns: Sequence[tuple[Column, str]] | None = None) -> Sql:
        columns = columns or list(zip(self.key, self._references(table), strict=True))
        bounds = [
            self.server.beyond(columns, bound, sign)
            for bound, sign in ((chunk.after, ">"), (chunk.upto, "<="))
            if bound is not None
        ]
        return " AND ".join(sql for sql, _ in bounds) or "1 = 1", tuple(arg for _, args in bounds for arg in args)

    def _references(self, table: str) -> list[str]:
        return [f"{table}.{self.server.quote(column.name)}" for column in self.key]

    def _selected(self, table: str) -> list[str]:
        return [self.server.key_select(c, ref) for c, ref in zip(self.key, self._references(table), strict=True)]

    def _order(self, table: str) -> str:
        return ", ".join(
            self.server.key_order(c, ref) for c, ref in zip(self.key, self._references(table), strict=True)
        )

    def _equal(self, left: str, right: str) -> str:
        return " AND ".join(f"{a} = {b}" for a, b in zip(self._references(left), self._references(right), strict=True))

    def _on_listed(self, table: str) -> str:
        return " AND ".join(
            self.server.key_match(c, ref, f"j.k{n}")
            for n, (c, ref) in enumerate(zip(self.key, self._references(table), strict=True))
        )
