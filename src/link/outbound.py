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
from collections.abc import Sequence
from dataclasses import dataclass

from .keyed import EVERYTHING, Chunk, Keyed, batches
from .schema import Table
from .servers import Connection, Key, Server, Sql
from .states import HOLD, HelperRow, Transition

WORKER = "_worker"


@dataclass(frozen=True)
class Count:
    """How many helper rows look the same."""

    row: HelperRow
    worker: int
    entities: int


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
        self.helper = Keyed(server, helper, source.key_columns)
        self.rows = Keyed(server, source, source.key_columns)
        self.table = self.helper.name
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
        within, more = self.helper.within(chunk)
        condition, args = " AND ".join([*conditions, within]), (*args, *more)
        if transition.then is None:
            return connection.execute(f"DELETE FROM {self.table} WHERE {condition}", args)
        return connection.execute(f"UPDATE {self.table} SET {self._assignments(transition)} WHERE {condition}", args)

    def apply_to_keys(self, connection: Connection, transition: Transition, keys: Sequence[Key]) -> int:
        """Apply a transition to the rows of these keys that its guard admits; how many."""
        done = 0
        for batch in batches(keys):
            listed, on, args = self.helper.listed(batch)
            conditions, more = self._guard(transition)
            where = " AND ".join(conditions)
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
        return self.rows.key_at(connection, self._unshared(where, within), offset)

    def next_claim(self, connection: Connection, where: str, within: Chunk, size: int) -> tuple[Key | None, bool]:
        """Where the next ``size`` unshared source rows of a range end, if there are as many; whether all rows are.

        Rows that nobody holds mostly lie together: that is cheaper to see than which of them are held.
        """
        if not where:
            upto = self.rows.key_at(connection, self.rows.within(within), size - 1)
            held = self.helper.within(Chunk(within.after, upto or within.upto))
            if not self.helper.key_at(connection, held, 0):
                return upto, True
        return self.next_unshared(connection, where, within, size - 1), False

    def claim(self, connection: Connection, where: str, chunk: Chunk, mixed: bool = True) -> int:
        """Hold the unshared source rows of a chunk; how many that were.

        Where none is known to be held, so that the chunk is not ``mixed``, they need not be looked up one by one first:
        of what somebody holds after all the INSERT takes no second hold.
        """
        condition, args = self._unshared(where, chunk) if mixed else self._selected(where, chunk)
        return connection.execute(self._claim_statement(f"FROM {self.rows.name} WHERE {condition}"), args)

    def claim_keys(self, connection: Connection, where: str, keys: Sequence[Key]) -> int:
        """Hold the unshared source rows of these keys that are in the selection; how many that were."""
        claimed = 0
        condition, _ = self._unshared(where, EVERYTHING)
        for batch in batches(keys):
            rows, args = self.rows.rows_of(batch)
            claimed += connection.execute(self._claim_statement(f"{rows} WHERE {condition}"), args)
        return claimed

    def _claim_statement(self, rows: str) -> str:
        columns = [column.name for column in self.rows.key]
        names = [*columns, *HOLD._fields, *([WORKER] if self.shared else [])]
        constants = [repr(value) for value in HOLD] + ([str(self.worker)] if self.shared else [])
        select = f"SELECT {', '.join(self.rows.references)}, {', '.join(constants)} {rows}"
        return self.server.insert_new(self.table, names, select, columns[0])

    def count_unshared(self, connection: Connection, where: str) -> int:
        """How many rows of the selection are not held."""
        return self.rows.count(connection, self._unshared(where, EVERYTHING))

    def _unshared(self, where: str, chunk: Chunk) -> Sql:
        condition, args = self._selected(where, chunk)
        # The helper table has another name in here: it is the target of the INSERT around it.
        other = (f"h.{self.server.quote(column.name)}" for column in self.helper.key)
        equal = " AND ".join(f"{a} = {b}" for a, b in zip(other, self.rows.references, strict=True))
        held = f"EXISTS (SELECT {self.server.by_index}1 FROM {self.table} h WHERE {equal})"
        return f"NOT {held} AND {condition}", args

    def _selected(self, where: str, chunk: Chunk) -> Sql:
        condition, args = self.rows.within(chunk)
        return condition + (f" AND {where}" if where else ""), args

    # reading

    def next_unfinished(self, connection: Connection, after: Key | None, offset: int) -> Key | None:
        """The key ``offset`` rows further on among the rows that this run has yet to copy."""
        return self.helper.key_at(connection, self._mine("PULL", Chunk(after, None)), offset)

    def keys(self, connection: Connection, process: str, chunk: Chunk) -> list[Key]:
        """The keys of this run's rows in a process."""
        return self.helper.keys(connection, self._mine(process, chunk))

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
        within, args = self.helper.within(Chunk(after, None))
        return self.helper.keys(connection, (f"{condition} AND {within} AND {self._selection(where)}", args), limit)

    def count_mine(self, connection: Connection, process: str) -> int:
        """How many rows this run has in a process."""
        return self.helper.count(connection, self._mine(process, EVERYTHING))

    def count_source(self, connection: Connection, chunk: Chunk) -> int:
        """How many source rows there are in a chunk, whoever holds them."""
        return self.rows.count(connection, self.rows.within(chunk))

    def all_rows(self, table: Table, chunk: Chunk) -> Sql:
        """FROM ... ORDER BY: all rows of a source table that belong to the entities of a chunk."""
        rows = self._part(table)
        within, args = rows.within(chunk)
        return f"FROM {rows.name} WHERE {within} ORDER BY {rows.order}", args

    def claimed_rows(self, table: Table, chunk: Chunk) -> Sql:
        """FROM ... ORDER BY: the rows of a source table that belong to the claimed entities of a chunk.

        Rows whose deletion is asked for by now are left out.
        """
        rows = self._part(table)
        condition, args = self._mine("PULL", chunk)
        join = self.server.driving_join(self.table, rows.name, _equal(rows, self.helper))
        return f"FROM {join} WHERE {condition} AND {self.table}.is_flagged = 'FALSE' ORDER BY {self.helper.order}", args

    # pieces

    def _part(self, table: Table) -> Keyed:
        return Keyed(self.server, table, [table[name] for name in table.entity_key])

    def _selection(self, where: str) -> str:
        equal = _equal(self.rows, self.helper)
        return f"EXISTS (SELECT 1 FROM {self.rows.name} WHERE {equal} AND {where})" if where else "1 = 1"

    def _mine(self, process: str, chunk: Chunk) -> Sql:
        condition, args = self.helper.within(chunk)
        worker = f" AND {self.table}.{WORKER} = {self.worker}" if self.shared else ""
        return f"{self.table}.process = '{process}'{worker} AND {condition}", args


def _equal(a: Keyed, b: Keyed) -> str:
    return " AND ".join(f"{left} = {right}" for left, right in zip(a.references, b.references, strict=True))
