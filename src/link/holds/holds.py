"""The holds at the source: every statement that reads or changes the helper table.

A transition of :mod:`link.model.states` becomes one guarded, set-based statement over a range or a list of keys.
Several runs share the table: each writes its number into the hidden column ``_worker`` of the rows that it has in hand,
and holds an advisory lock of that number for as long as its connection lives. The rows of a number whose lock is free
belong to a dead run; the next run adopts them. A helper table without that column (made by an older program) is worked
on by one run at a time.

Hidden columns say since when, where they are there; that takes no statement of its own but for a refresh. When a row is
flagged the server itself notes it, of each change that does not say otherwise: so the statements here all do.

Methods that take no session return SQL, which can be read without a server (tests/golden); the others run it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ..model.layouts import FLAGGED, LINK, PULLED, REFRESHED, TIMES, WORKER, Layout
from ..model.ranges import ALL, EVERYTHING, Chunk, Key, Range, Rows, Selection, Sql
from ..model.schema import Table
from ..model.states import (
    ASKED,
    AT_REST,
    DEPRECATED,
    FALSE,
    HELD,
    HOLD,
    NONE,
    PULL,
    PULLING,
    REST,
    SHARED,
    TRUE,
    UNASKED,
    UNFINISHED,
    UNSETTLED,
    Condition,
    Count,
    HelperRow,
    Transition,
)
from ..servers.dialect import Dialect
from ..servers.keyed import Keyed, Segment, batches
from ..servers.session import Session, lock_number

H = TypeVar("H", bound="Holds")

#: At the source's clock.
NOW = "CURRENT_TIMESTAMP"


class Change(NamedTuple):
    """The statements of a transition, in their order; of one of them counts how many rows it changes."""

    statements: tuple[Sql, ...]
    counted: int = 0


class Holds:
    """The holds of one link, in columns of the helper table.

    Parameters
    ----------
    dialect : Dialect
        How the source server is spoken to.
    source, helper : Table
        The master table at the source and its helper table; their keys have the same names.
    layout : Layout
        Where the helper table says what.

    Attributes
    ----------
    worker : int
        The number of the run whose holds these are; 0 for none.
    multi : bool
        Whether several runs may work at a time.
    timed : bool
        Whether the helper table says since when.
    """

    def __init__(self, dialect: Dialect, source: Table, helper: Table, layout: Layout = LINK) -> None:
        self.dialect = dialect
        self.columns = layout.columns
        self.helper = Keyed(dialect, helper, source.key_columns)
        self.rows = Keyed(dialect, source, source.key_columns)
        self.table = self.helper.name
        self.multi = WORKER in helper.names
        self.timed = set(TIMES) <= set(helper.names)
        self._untouched = {FLAGGED: f"{self.table}.{FLAGGED}"} if FLAGGED in helper.names else {}
        #: Of a copy that is held from now on.
        self._since_now = {PULLED: NOW, REFRESHED: dialect.never}
        self.worker = 0
        self._space = lock_number(helper.schema, helper.name)

    def numbered(self: H, number: int | None = None) -> H:
        """The same holds as a run sees them that has a number of its own."""
        holds = copy.copy(self)
        if self.multi:
            holds.worker = random.randrange(1, 2**31) if number is None else number
        return holds

    # runs

    @property
    def life(self) -> tuple[int, int]:
        """The advisory lock by which it is known that the run is alive."""
        return self._space, self.worker

    def enlist(self, session: Session) -> None:
        """Mark this run as alive for as long as a session lives."""
        session.lock(self.life, wait=not self.multi)

    def is_worked_on(self, session: Session) -> bool:
        """Whether a run is alive that has rows in hand."""
        rows = session.query(f"SELECT DISTINCT {WORKER} FROM {self.table} WHERE {self.condition(UNFINISHED)}")
        return bool(session.locked(self._space, {int(worker) for (worker,) in rows}))

    def living(self, session: Session, counts: Sequence[Count]) -> set[int]:
        """The runs beside this one that are alive and have rows in hand."""
        workers = {count.worker for count in counts if count.row.says(UNFINISHED)} - {0, self.worker}
        return session.locked(self._space, workers) if self.multi and workers else set()

    def adopt(self, session: Session, counts: Sequence[Count], former: set[int]) -> int:
        """Take over the unfinished rows of dead runs, the ``former`` among them; how many there are."""
        unfinished = [count for count in counts if count.row.says(UNFINISHED)]
        workers = {count.worker for count in unfinished}
        if not self.multi or not unfinished:
            return sum(count.entities for count in unfinished)
        dead = workers - session.locked(self._space, workers - {0} - former)
        return session.execute(*self.adopting(dead)) if dead else 0

    def adopting(self, dead: set[int]) -> Sql:
        """UPDATE: the unfinished rows of dead runs are this one's."""
        marks = ", ".join(["%s"] * len(dead))
        adopted = _assigned({WORKER: "%s", **self._untouched})
        sql = f"UPDATE {self.table} SET {adopted} WHERE {self.condition(UNFINISHED)} AND {WORKER} IN ({marks})"
        return sql, (self.worker, *dead)

    def survey(self, session: Session, selection: Selection = ALL) -> list[Count]:
        """Count the helper rows of a selection by what they say.

        Most are at rest, and are counted without being told apart from one another.
        """
        total, resting = session.query(*self.counting_rest(selection))[0]
        counts = [Count(REST, 0, int(resting))] if resting else []
        if total == resting:
            return counts
        others = session.query(*self.counting_others(selection))
        return counts + [Count(HelperRow(*row[:3]), int(row[3]), int(row[4])) for row in others]

    def counting_rest(self, selection: Selection = ALL) -> Sql:
        """SELECT: how many helper rows there are, and how many of them are at rest."""
        resting = f"COALESCE(SUM(CASE WHEN {self.condition(AT_REST)} THEN 1 ELSE 0 END), 0)"
        return self.saying({}, selection).selecting(f"COUNT(*), {resting}")

    def counting_others(self, selection: Selection = ALL) -> Sql:
        """SELECT: how many helper rows that are not at rest look the same."""
        said = ", ".join(map(self._value, HelperRow._fields))
        worker = f"CASE WHEN {self.condition(UNFINISHED)} THEN {WORKER if self.multi else 0} ELSE 0 END"
        others = self.saying({}, selection).where(f"NOT ({self.condition(AT_REST)})")
        sql, args = others.selecting(f"{said}, {worker}, COUNT(*)")
        return f"{sql} GROUP BY 1, 2, 3, 4", args

    def left_alone(self, session: Session, selection: Selection = ALL) -> tuple[int, int]:
        """How many helper rows of a selection are in the middle of a process, and how many others are flagged."""
        number, unfinished = session.query(*self.counting_left_alone(selection))[0]
        return int(unfinished), int(number) - int(unfinished)

    def counting_left_alone(self, selection: Selection) -> Sql:
        """SELECT: how many helper rows are not shared, and how many of them are in the middle of a process.

        Nearly all are shared: they are passed over, and nothing is made of them.
        """
        others = self.saying({}, selection).where(f"NOT ({self.condition(SHARED)})")
        return others.selecting(f"COUNT(*), COALESCE(SUM(CASE WHEN {self.condition(UNFINISHED)} THEN 1 ELSE 0 END), 0)")

    # transitions

    def apply(self, session: Session, transition: Transition, rows: Rows) -> int:
        """Apply a transition to those of some rows that its guard admits; how many."""
        lists: Iterator[Rows] = iter([rows]) if isinstance(rows, Range) else iter(batches(rows))
        return sum(self._apply(session, self.change(transition, some)) for some in lists)

    def _apply(self, session: Session, change: Change) -> int:
        if len(change.statements) == 1:
            return session.execute(*change.statements[0])
        with session.transaction():
            return [session.execute(*statement) for statement in change.statements][change.counted]

    def change(self, transition: Transition, rows: Rows) -> Change:
        """The statements of a transition on some rows: one statement's worth."""
        guard = self._guard(transition.when)
        if transition.then is None:
            return Change((self.helper.deletion(rows, guard),))
        return Change((self.helper.change(self._assignments(transition.then), rows, guard),))

    def _guard(self, when: Condition) -> Sql:
        # Rows in the middle of a process belong to a run, but for a deletion: it may take over what was just received.
        if self.multi and NONE not in when["process"]:
            return f"{self.condition(when)} AND {self.table}.{WORKER} = %s", (self.worker,)
        return self.condition(when), ()

    def _assignments(self, then: Mapping[str, str]) -> str:
        values = {self.columns[said]: repr(value) for said, value in then.items() if said in self.columns}
        # The number of a row at rest means nothing, and is not worth another write.
        if self.multi and then.get("process", NONE) != NONE:
            values[WORKER] = str(self.worker)
        if self.timed and then.get("process") == PULL:
            values |= self._since_now
        return _assigned({**values, **self._untouched}) if values else ""

    # claims

    def next_claim(self, session: Session, selection: Selection, within: Range, size: int) -> tuple[Key | None, bool]:
        """Where the next ``size`` unshared source rows of a range end, if there are as many; whether all rows are.

        Rows that nobody holds mostly lie together: that is cheaper to see than which of them are held.
        """
        upto = self.selected(selection, within).key_at(session, size - 1)
        if not Segment(self.helper, Range(within.after, upto or within.upto)).key_at(session, 0):
            return upto, True
        return self.unshared(selection, within).key_at(session, size - 1), False

    def claim(self, session: Session, selection: Selection, within: Range, mixed: bool = True) -> int:
        """Hold the unshared source rows of a range; how many that were."""
        return session.execute(*self.claiming(selection, within, mixed))

    def claim_keys(self, session: Session, selection: Selection, keys: Sequence[Key]) -> int:
        """Hold the unshared source rows of these keys that are in the selection; how many that were."""
        return sum(session.execute(*self.claiming_keys(selection, batch)) for batch in batches(keys))

    def claiming(self, selection: Selection, within: Range, mixed: bool = True) -> Sql:
        """INSERT ... SELECT: hold the unshared source rows of a range.

        Where none is known to be held, so that the range is not ``mixed``, they need not be looked up one by one first:
        of what somebody holds after all the INSERT takes no second hold.
        """
        rows = self.unshared(selection, within) if mixed else self.selected(selection, within)
        condition, args = rows.condition
        return self.claim_of(self.rows.references, f"FROM {self.rows.name} WHERE {condition}"), args

    def claiming_keys(self, selection: Selection, keys: Sequence[Key]) -> Sql:
        """INSERT ... SELECT: hold those of some source rows that are unshared and in the selection."""
        condition, more = self.unshared(selection).condition
        rows, args = self.rows.rows_of(keys)
        return self.claim_of(self.rows.references, f"{rows} WHERE {condition}"), (*args, *more)

    def claim_of(self, keys: Sequence[str], rows: str) -> str:
        """INSERT ... SELECT: hold what some expressions are the keys of, FROM onward."""
        said = {self.columns[name]: repr(value) for name, value in HOLD._asdict().items() if name in self.columns}
        if self.multi:
            said[WORKER] = str(self.worker)
        if self.timed:
            said |= self._since_now
        select = f"SELECT {', '.join([*keys, *said.values()])} {rows}"
        return self.dialect.insert_new(self.table, [*self.rows.names, *said], select, self.rows.names[0])

    # reading

    def selected(self, selection: Selection = ALL, within: Range = EVERYTHING) -> Segment:
        """The source rows of a selection."""
        return Segment(self.rows, within).where(*selection.conditions)

    def held(self, selection: Selection = ALL) -> Segment:
        """The entities of a selection that somebody holds."""
        return self.selected(selection).where(self.holding(self.rows)) if selection else Segment(self.helper)

    def unshared(self, selection: Selection = ALL, within: Range = EVERYTHING) -> Segment:
        """The source rows of a selection that nobody holds."""
        return Segment(self.rows, within).where(f"NOT {self.rows.exists(self.helper, 'held')}", *selection.conditions)

    def saying(self, says: Condition, selection: Selection = ALL, within: Range = EVERYTHING) -> Segment:
        """The helper rows of a selection that say this."""
        helper = Segment(self.helper, within).where(self.condition(says)) if says else Segment(self.helper, within)
        if not selection:
            return helper
        same = self.rows.equals(self.helper)
        return helper.where(f"EXISTS (SELECT 1 FROM {self.rows.name} WHERE {same} AND {selection.condition})")

    def holding(self, rows: Keyed, says: Condition | None = None) -> str:
        """The condition that the entity of a row is held, and that its helper row says this.

        The helper table goes by another name in there: it may be the target of the INSERT around it.
        """
        held = self.dialect.alias("holding")
        where = rows.equals(self.helper.called(held))
        if says:
            where += f" AND {self.dialect.unguessed(self.condition(says, held))}"
        return f"EXISTS (SELECT {self.dialect.by_index}1 FROM {self.table} {held} WHERE {where})"

    def in_hand(self, workers: set[int], says: Condition, selection: Selection) -> Segment:
        """The helper rows of a selection that say this and that some runs have in hand."""
        of_these = f"{self.table}.{WORKER} IN ({', '.join(map(str, sorted(workers)))})"
        return self.saying({**UNFINISHED, **says}, selection).where(of_these)

    def mine(self, says: Condition, within: Range = EVERYTHING) -> Segment:
        """The helper rows that say this and that this run has in hand."""
        rows = self.saying(says, within=within)
        return rows.where(f"{self.table}.{WORKER} = {self.worker}") if self.multi else rows

    def others(self, says: Condition) -> Segment:
        """The helper rows that say this and that this run has not in hand; none where runs do not work at a time."""
        return self.saying(says).where(f"{self.table}.{WORKER} <> {self.worker}" if self.multi else "1 = 0")

    def existing(self, session: Session, keys: Sequence[Key], says: Condition) -> set[Key]:
        """Those of the keys whose helper rows say this."""
        return self.helper.existing(session, keys, self.condition(says))

    def equal(self, session: Session, keys: Sequence[Key], says: Condition, selection: Selection = ALL) -> set[Key]:
        """The keys of helper rows of a selection that say this and equal one of the keys."""
        condition, _ = self.saying(says, selection).condition
        return self.helper.equal(session, keys, condition)

    def fingerprint(self, session: Session, rows: Rows, says: Condition) -> tuple[int, int]:
        """How many of some helper rows say this, and a number that is another one when some were held anew."""
        selected = f"COUNT(*), COALESCE(SUM({self.table}.{WORKER}), 0)" if self.multi else "COUNT(*), 0"
        if isinstance(rows, Range):
            found = session.query(*self.saying(says, within=rows).selecting(selected))
        else:
            condition = self.dialect.unguessed(self.condition(says))
            lists = (self.helper.rows_of(batch) for batch in batches(rows))
            found = [
                row for sql, args in lists for row in session.query(f"SELECT {selected} {sql} WHERE {condition}", args)
            ]
        return sum(int(row[0]) for row in found), sum(int(row[1]) for row in found)

    def has_others(self, session: Session, chunk: Chunk) -> bool:
        """Whether the source has more rows in a chunk than were claimed."""
        return Segment(self.rows, chunk).key_at(session, chunk.claimed) is not None

    def rows_of(self, table: Table, within: Range) -> Sql:
        """FROM ... ORDER BY: the rows of a source table that belong to entities of a range that this run is pulling.

        Rows whose deletion is asked for by now are left out.
        """
        rows, args = self._pulled(table, within)
        return f"{rows} ORDER BY {(Keyed(self.dialect, table) if _is_whole(within) else self.helper).order}", args

    def _pulled(self, table: Table, within: Range) -> Sql:
        rows = Keyed(self.dialect, table)
        if _is_whole(within):
            # All rows of the range are ours: it is read as it lies, without looking at the helper table.
            condition, args = rows.within(within)
            return f"FROM {rows.name} WHERE {condition}", args
        condition, args = self.mine(PULLING, within).where(self.condition(UNASKED)).condition
        join = self.dialect.driving_join(self.table, rows.name, rows.equals(self.helper))
        return f"FROM {join} WHERE {condition}", args

    def count_rows(self, session: Session, tables: Sequence[Table], within: Range) -> list[int]:
        """How many rows of each of some source tables :meth:`rows_of` has, as the server counts them."""
        return list(map(int, session.query(*self.counting_rows(tables, within))[0])) if tables else []

    def counting_rows(self, tables: Sequence[Table], within: Range) -> Sql:
        """SELECT: how many rows of each of some source tables :meth:`rows_of` has."""
        counted = [self._pulled(table, within) for table in tables]
        return (
            "SELECT " + ", ".join(f"(SELECT COUNT(*) {rows})" for rows, _ in counted),
            tuple(arg for _, args in counted for arg in args),
        )

    # since when

    def note_refreshed(self, session: Session, rows: Rows) -> None:
        """Note that shared entities have been refreshed by now."""
        lists: Iterator[Rows] = iter([rows]) if isinstance(rows, Range) else iter(batches(rows))
        for some in lists if self.timed else ():
            session.execute(*self.noting_refreshed(some))

    def noting_refreshed(self, rows: Rows) -> Sql:
        """UPDATE: some entities, if they are shared, have been refreshed by now."""
        return self.helper.change(_assigned({REFRESHED: NOW, **self._untouched}), rows, (self.condition(SHARED), ()))

    def since(self, session: Session, selection: Selection) -> list[float | None]:
        """Of :meth:`reading_since` the times, in seconds since 1970."""
        return list(session.query(*self.reading_since(selection))[0]) if self.timed else [None] * 4

    def reading_since(self, selection: Selection = ALL) -> Sql:
        """SELECT: the first and last time of what is held and at rest, the last refresh, the first flag that waits."""
        waiting = f"CASE WHEN {self.condition(UNSETTLED)} THEN {FLAGGED} END"
        times = (f"MIN({PULLED})", f"MAX({PULLED})", f"MAX({REFRESHED})", f"MIN({waiting})")
        return self.saying(HELD, selection).selecting(", ".join(map(self.dialect.seconds, times)))

    # what people of the source do

    def reading_account(self) -> Sql:
        """SELECT: how many entities are held, flagged, deprecated and in hand; and where they are told, the times.

        These are of what is not deprecated: when the first and the last hold was taken, when a copy was last refreshed;
        and when the first of the flags was set that wait.
        """
        said = (SHARED, UNSETTLED, DEPRECATED, UNFINISHED)
        counts = [f"COALESCE(SUM(CASE WHEN {self.condition(each)} THEN 1 ELSE 0 END), 0)" for each in said]
        here, waiting = f"NOT ({self.condition(DEPRECATED)})", self.condition(UNSETTLED)
        times = [
            f"{aggregate}(CASE WHEN {of} THEN {column} END)"
            for aggregate, of, column in (
                ("MIN", here, PULLED),
                ("MAX", here, PULLED),
                ("MAX", here, REFRESHED),
                ("MIN", waiting, FLAGGED),
            )
        ]
        told = map(self.dialect.seconds, times) if self.timed else ()
        return f"SELECT {', '.join([*counts, *told])} FROM {self.table}", ()

    def flagging(self, selection: Selection) -> Sql:
        """The statement by which the source asks for the deletion of what is held of a selection."""
        return self._flag(TRUE, self.saying(UNASKED, selection))

    def unflagging(self, selection: Selection) -> Sql:
        """The statement by which the source no longer asks for that."""
        return self._flag(FALSE, self.saying(ASKED, selection))

    def _flag(self, flag: str, rows: Segment) -> Sql:
        # Nothing is said of the time: the server itself notes it.
        condition, args = rows.condition
        return f"UPDATE {self.table} SET {self.columns['is_flagged']} = {flag!r} WHERE {condition}", args

    def clearing(self, keys: Sequence[Key]) -> list[Sql]:
        """DELETE what some deprecated entities have here, one statement's worth; each has a row for each of them."""
        return [self.helper.deletion(keys, (self.condition(DEPRECATED), ()))]

    # what helper rows say

    def condition(self, says: Condition, table: str | None = None) -> str:
        """The SQL condition that a helper row says this; the helper table may go by another name."""
        return " AND ".join(self._says(table or self.table, name, values) for name, values in says.items())

    def _says(self, table: str, name: str, values: tuple[str, ...]) -> str:
        column = f"{table}.{self.columns[name]}"
        return f"{column} IN ({', '.join(map(repr, values))})" if len(values) > 1 else f"{column} = {values[0]!r}"

    def _value(self, name: str) -> str:
        return f"{self.table}.{self.columns[name]}"


def _assigned(values: Mapping[str, str]) -> str:
    return ", ".join(f"{column} = {value}" for column, value in values.items())


def _is_whole(within: Range) -> bool:
    return isinstance(within, Chunk) and within.whole
