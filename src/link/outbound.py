"""The helper table at the source: every statement that reads or changes it.

A transition of :mod:`link.states` becomes one guarded, set-based statement over a chunk of keys. Several runs share
the table: each writes its number into the hidden column ``_worker`` of the rows that it has in hand, and holds an
advisory lock of that number for as long as its connection lives. The rows of a number whose lock is free belong to a
dead run; the next run adopts them. A helper table without that column (made by an older program) is worked on by one
run at a time.

What stands in part tables of the helper table, where its layout has any, changes in one transaction with it.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .keyed import EVERYTHING, Chunk, Keyed, batches
from .layouts import LINK, WORKER, Layout, part_name
from .schema import Table
from .servers import BusyError, Connection, Key, RowError, Server, Sql
from .states import HOLD, Condition, HelperRow, Transition

#: Helper rows, by a range of keys or one by one.
Rows = Chunk | Sequence[Key]

#: What a helper row can say.
UNFINISHED: Condition = {"process": ("PULL", "DELETE")}
SHARED: Condition = {"process": ("NONE",), "is_flagged": ("FALSE",), "is_deprecated": ("FALSE",)}
REST = HelperRow("NONE", "FALSE", "FALSE")


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
    layout : Layout
        Where the helper table says what.
    """

    def __init__(self, server: Server, source: Table, helper: Table, layout: Layout = LINK) -> None:
        self.server = server
        self.source = source
        self.columns = layout.columns
        self.parts = {
            said: Keyed(server, replace(helper, name=part_name(helper.name, suffix)), source.key_columns)
            for said, suffix in layout.parts.items()
        }
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

    def alive(self, connection: Connection) -> bool:
        """Whether a run is alive that has rows in hand."""
        rows = connection.query(f"SELECT DISTINCT {WORKER} FROM {self.table} WHERE {self.condition(UNFINISHED)}")
        return bool(connection.locked(self._space, {int(worker) for (worker,) in rows}))

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
            f"UPDATE {self.table} SET {WORKER} = %s WHERE {self.condition(UNFINISHED)} AND {WORKER} IN ({marks})",
            (self.worker, *dead),
        )

    def survey(self, connection: Connection, where: str = "") -> list[Count]:
        """Count the helper rows by what they say; ``where`` selects source rows.

        Most are at rest, and are counted without being told apart from one another.
        """
        rest, selection = self.condition(SHARED), self._selection(where)
        total, shared = connection.query(
            f"SELECT COUNT(*), COALESCE(SUM(CASE WHEN {rest} THEN 1 ELSE 0 END), 0) FROM {self.table} WHERE {selection}"
        )[0]
        counts = [Count(REST, 0, int(shared))] if shared else []
        if total == shared:
            return counts
        said = ", ".join(map(self._value, HelperRow._fields))
        worker = f"CASE WHEN {self.condition(UNFINISHED)} THEN {WORKER if self.shared else 0} ELSE 0 END"
        others = f"NOT ({rest}) AND {selection}"
        rows = connection.query(
            f"SELECT {said}, {worker}, COUNT(*) FROM {self.table} WHERE {others} GROUP BY 1, 2, 3, 4"
        )
        return counts + [Count(HelperRow(*row[:3]), int(row[3]), int(row[4])) for row in rows]

    def count_source(self, connection: Connection) -> int:
        """How many source rows there are: no fewer than helper rows, each of which is of one."""
        return self.rows.count(connection, ("1 = 1", ()))

    # transitions

    def apply(self, connection: Connection, transition: Transition, chunk: Chunk) -> int:
        """Apply a transition to the rows of a chunk that its guard admits; how many."""
        return self._apply(connection, transition, chunk)

    def apply_to_keys(self, connection: Connection, transition: Transition, keys: Sequence[Key]) -> int:
        """Apply a transition to the rows of these keys that its guard admits; how many."""
        return sum(self._apply(connection, transition, batch) for batch in batches(keys))

    def _apply(self, connection: Connection, transition: Transition, rows: Rows) -> int:
        # No row that goes may be left approved.
        deprecated = "FALSE" if transition.then is None else transition.then.get("is_deprecated")
        if "is_deprecated" not in self.parts or deprecated is None:
            return self._change(connection, transition, rows)
        try:
            with connection.transaction():
                if deprecated == "TRUE":
                    return self._change_approved(connection, transition, rows)
                return self._change_disapproved(connection, transition, rows)
        except RowError as error:
            # What was to be let go of has been asked for just now. The guard sees that when it is tried again.
            raise BusyError(error.what) from error

    def _change(self, connection: Connection, transition: Transition, rows: Rows) -> int:
        guard = self._guard(transition.when)
        if transition.then is None:
            return self._delete(connection, self.helper, rows, guard)
        return self._update(connection, self._assignments(transition.then), rows, guard)

    def _change_approved(self, connection: Connection, transition: Transition, rows: Rows) -> int:
        assert transition.then is not None
        approved = self._approve(connection, rows, self._guard(transition.when))
        if not self._assignments(transition.then):
            return approved
        return self._change(connection, transition, rows)

    def _change_disapproved(self, connection: Connection, transition: Transition, rows: Rows) -> int:
        if "is_deprecated" not in transition.when:
            self._disapprove(connection, rows, transition.when)
            return self._change(connection, transition, rows)
        # The guard looks at the approvals itself: then they go afterwards, with the rows that have been changed.
        assert transition.then is not None
        changed = self._change(connection, transition, rows)
        self._disapprove(connection, rows, {"process": (transition.then["process"],)})
        return changed

    def _approve(self, connection: Connection, rows: Rows, guard: Sql) -> int:
        keys = f"SELECT {', '.join(self.helper.references)} "
        if isinstance(rows, Chunk):
            within, args = self.helper.within(rows)
            select, args = f"{keys} FROM {self.table} WHERE {guard[0]} AND {within}", (*guard[1], *args)
        else:
            of_keys, args = self.helper.rows_of(rows)
            select, args = f"{keys} {of_keys} WHERE {guard[0]}", (*args, *guard[1])
        names = [column.name for column in self.helper.key]
        insert = self.server.insert_new(self.parts["is_deprecated"].name, names, select, names[0])
        return connection.execute(insert, args)

    def _disapprove(self, connection: Connection, rows: Rows, when: Condition) -> None:
        approved, (guard, args) = self.parts["is_deprecated"], self._guard(when)
        equal = self.helper.equals(approved)
        held = f"EXISTS (SELECT {self.server.by_index}1 FROM {self.table} WHERE {equal} AND {guard})"
        self._delete(connection, approved, rows, (held, args))

    def _delete(self, connection: Connection, table: Keyed, rows: Rows, where: Sql) -> int:
        if isinstance(rows, Chunk):
            within, args = table.within(rows)
            return connection.execute(f"DELETE FROM {table.name} WHERE {where[0]} AND {within}", (*where[1], *args))
        listed, on, args = table.listed(rows)
        return connection.execute(self.server.delete_listed(table.name, listed, on, where[0]), (*args, *where[1]))

    def _update(self, connection: Connection, assignments: str, rows: Rows, where: Sql) -> int:
        if isinstance(rows, Chunk):
            within, args = self.helper.within(rows)
            sql = f"UPDATE {self.table} SET {assignments} WHERE {where[0]} AND {within}"
            return connection.execute(sql, (*where[1], *args))
        listed, on, args = self.helper.listed(rows)
        sql = self.server.update_listed(self.table, assignments, listed, on, where[0])
        return connection.execute(sql, (*args, *where[1]))

    def _guard(self, when: Condition) -> Sql:
        # Rows in the middle of a process belong to a run, but for a deletion: it may take over what was just received.
        if self.shared and "NONE" not in when["process"]:
            return f"{self.condition(when)} AND {self.table}.{WORKER} = %s", (self.worker,)
        return self.condition(when), ()

    def _assignments(self, then: Mapping[str, str]) -> str:
        values = {self.columns[said]: repr(value) for said, value in then.items() if said in self.columns}
        # The number of a row at rest means nothing, and is not worth another write.
        if self.shared and then.get("process", "NONE") != "NONE":
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
        upto = self.rows.key_at(connection, self._selected(where, within), size - 1)
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
        said = {self.columns[name]: repr(value) for name, value in HOLD._asdict().items() if name in self.columns}
        names = [*columns, *said, *([WORKER] if self.shared else [])]
        constants = [*said.values(), *([str(self.worker)] if self.shared else [])]
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

    def keys(self, connection: Connection, process: str, chunk: Chunk, limit: int | None = None) -> list[Key]:
        """The keys of this run's rows in a process, in order."""
        return self.helper.keys(connection, self._mine(process, chunk), limit)

    def keys_where(
        self,
        connection: Connection,
        says: Condition,
        where: str = "",
        after: Key | None = None,
        limit: int | None = None,
    ) -> list[Key]:
        """The keys of the helper rows that say this, in order.

        ``where`` selects source rows.
        """
        within, args = self.helper.within(Chunk(after, None))
        condition = f"{self.condition(says)} AND {within} AND {self._selection(where)}"
        return self.helper.keys(connection, (condition, args), limit)

    def existing(self, connection: Connection, keys: Sequence[Key], says: Condition) -> set[Key]:
        """Those of the keys whose helper rows say this."""
        return self.helper.existing(connection, keys, self.condition(says))

    def checksum(self, connection: Connection, says: Condition, alike: bool) -> tuple[int, int]:
        """Count and checksum of the keys of the helper rows that say this."""
        return self.helper.checksum(connection, self.condition(says), alike)

    def count_mine(self, connection: Connection, process: str) -> int:
        """How many rows this run has in a process."""
        return self.helper.count(connection, self._mine(process, EVERYTHING))

    def has_others(self, connection: Connection, chunk: Chunk) -> bool:
        """Whether the source has more rows in a chunk than were claimed."""
        return self.rows.key_at(connection, self.rows.within(chunk), chunk.claimed) is not None

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
        join = self.server.driving_join(self.table, rows.name, rows.equals(self.helper))
        unflagged = self.condition({"is_flagged": ("FALSE",)})
        return f"FROM {join} WHERE {condition} AND {unflagged} ORDER BY {self.helper.order}", args

    # pieces

    def condition(self, says: Condition) -> str:
        """The SQL condition that a helper row says this."""
        return " AND ".join(self._says(name, values) for name, values in says.items())

    def _says(self, name: str, values: Sequence[str]) -> str:
        if name in self.parts:
            return self._is_in_part(name) if tuple(values) == ("TRUE",) else f"NOT {self._is_in_part(name)}"
        column = f"{self.table}.{self.columns[name]}"
        return f"{column} IN ({', '.join(map(repr, values))})" if len(values) > 1 else f"{column} = {values[0]!r}"

    def _value(self, name: str) -> str:
        if name in self.parts:
            return f"CASE WHEN {self._is_in_part(name)} THEN 'TRUE' ELSE 'FALSE' END"
        return f"{self.table}.{self.columns[name]}"

    def _is_in_part(self, name: str) -> str:
        # The part has another name in here: it may be the target of the INSERT around it.
        columns = (f"p.{self.server.quote(column.name)}" for column in self.helper.key)
        equal = " AND ".join(f"{a} = {b}" for a, b in zip(columns, self.helper.references, strict=True))
        return f"EXISTS (SELECT {self.server.by_index}1 FROM {self.parts[name].name} p WHERE {equal})"

    def _part(self, table: Table) -> Keyed:
        return Keyed(self.server, table, [table[name] for name in table.entity_key])

    def _selection(self, where: str) -> str:
        equal = self.rows.equals(self.helper)
        return f"EXISTS (SELECT 1 FROM {self.rows.name} WHERE {equal} AND {where})" if where else "1 = 1"

    def _mine(self, process: str, chunk: Chunk) -> Sql:
        condition, args = self.helper.within(chunk)
        worker = f" AND {self.table}.{WORKER} = {self.worker}" if self.shared else ""
        return f"{self.condition({'process': (process,)})}{worker} AND {condition}", args
