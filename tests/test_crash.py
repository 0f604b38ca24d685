"""Killed or cut off at every statement that changes something: nothing is lost, and the next run completes it.

A real child process pulls or deletes twelve entities with two part tables, in three chunks. Before, or after, its
n-th statement it is killed (SIGKILL), or loses the connection on which it sends it: before the server gets the
statement, or after the server has done it and before the client hears of it. At that instant every local row that has
a source row must be held, and no entity be partial; after the next run all must be there that was asked for. In the
soak all ways are tried at each statement, and reads count as statements too; else some, by turns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import datajoint as dj
import pytest
from both_servers import BothServers
from crasher import Crasher, Mode, Order
from figures import SOAK, Figures
from lab import Lab
from pipelines import at_one_instant, declare, granted, linked

from link import State
from link.model.states import HelperRow, state_of

NUMBER = 12
#: The number of a run whose lock nobody holds.
DEAD = 4711
TABLES = ("session", "session__event", "session__trial")

Rows = set[tuple[Any, ...]]
#: By session: process, is_flagged, is_deprecated.
HelperRows = dict[int, tuple[str, str, str]]


@dataclass(frozen=True)
class Scene:
    """What the servers hold at first, what is done, and the states that it leads to."""

    code: str
    helper: HelperRows
    local: Sequence[int]
    after: dict[int, State]
    first_use: bool = False
    step: int = 1  # outside of the soak, how many statements to go on


def states_of(state: State, **others: Sequence[int]) -> dict[int, State]:
    """The state of every session: ``state`` but for those named."""
    exceptions = {session: State[name.upper()] for name, chosen in others.items() for session in chosen}
    return {session: exceptions.get(session, state) for session in range(NUMBER)}


REST, FLAGGED = ("NONE", "FALSE", "FALSE"), ("NONE", "TRUE", "FALSE")
#: One session or more for each way in which a run, a hand or a backup leaves an entity.
MESS = {
    0: ("PULL", "FALSE", "FALSE"),
    1: ("PULL", "TRUE", "FALSE"),
    2: ("PULL", "FALSE", "FALSE"),
    3: ("DELETE", "FALSE", "FALSE"),
    4: ("DELETE", "TRUE", "FALSE"),
    5: ("DELETE", "TRUE", "FALSE"),
    6: FLAGGED,
    7: REST,
    8: ("NONE", "FALSE", "TRUE"),
}
SCENES = {
    "pull": Scene("Session.source.pull()", {}, [], states_of(State.SHARED)),
    "delete": Scene(
        "(Session & 'session < 8').delete()",
        {session: FLAGGED if session in (2, 5, 6) else REST for session in range(NUMBER)},
        range(NUMBER),
        states_of(State.SHARED, deprecated=[2, 5, 6], unshared=[0, 1, 3, 4, 7]),
    ),
    "recovery": Scene(
        "Session.source.pull()", MESS, [2, 3, 4, 9], states_of(State.SHARED, deprecated=[1, 4, 5, 6]), step=2
    ),
    "repair": Scene(
        "Session.source.repair(dry_run=False, vanished='release')",
        MESS,
        [2, 3, 4, 9],
        states_of(State.UNSHARED, shared=[0, 2, 9], deprecated=[1, 4, 5, 6]),
    ),
    "adoption": Scene("Session.source.pull()", {}, range(8), states_of(State.SHARED), step=2),
    "first pull": Scene("Session.source.pull()", {}, [], states_of(State.SHARED), first_use=True),
}
MODES: list[list[Mode]] = [["kill before"], ["kill after"], ["cut before"], ["cut after"], ["cut after and kill"]]
QUICK_MODES: list[list[Mode]] = [["kill before"], ["cut before", "cut after", "cut after and kill"]]


class World(BothServers):
    """The tables of one lab by plain SQL, over one session on each server."""

    def __init__(self, lab: Lab, linked: Any, stack: ExitStack) -> None:
        super().__init__(lab, stack)
        self.linked = linked
        self.helper = f"{lab.helper_schema}.{lab.helper_table}"
        self.source_rows = {table: self.rows(self.there, lab.source_schema, table) for table in TABLES}
        self.first_sessions = self.sessions()

    def rows(self, connection: Any, schema: str, table: str) -> Rows:
        return set(self.sql(connection, f"SELECT * FROM {schema}.{table}"))

    def set_up(self, scene: Scene) -> None:
        """Put the tables into the state in which the scene begins."""
        if scene.first_use:
            self._drop()
            return
        self.sql(self.there, *(f"DELETE FROM {table}" for table in self.helper_tables))
        self.sql(self.here, *(f"DELETE FROM {self.lab.local_schema}.{table}" for table in reversed(TABLES)))
        if scene.helper:
            self.put_helper_rows(scene.helper)
        for table, rows in self.source_rows.items():
            if chosen := ", ".join(literals(row) for row in rows if row[1] in scene.local):
                self.sql(self.here, f"INSERT INTO {self.lab.local_schema}.{table} VALUES {chosen}")

    @property
    def helper_tables(self) -> list[str]:
        """The tables that make up the helper table, each before the one that it refers to."""
        return [self.helper]

    def put_helper_rows(self, rows: HelperRows) -> None:
        """Insert helper rows, those in process as of a dead run."""
        columns = ("process", "is_flagged", "is_deprecated", "_worker")
        self.insert(self.helper, columns, {session: (*row, DEAD) for session, row in rows.items()})

    def insert(self, table: str, columns: Sequence[str], rows: dict[int, tuple[Any, ...]]) -> None:
        """Insert rows with these columns beside the key, by session."""
        values = ", ".join(literals((session % 3, session, *row)) for session, row in rows.items())
        if values:
            self.sql(self.there, f"INSERT INTO {table} ({', '.join(('subject', 'session', *columns))}) VALUES {values}")

    def _drop(self) -> None:
        lab = self.lab
        self.sql(self.there, *(f"DROP TABLE IF EXISTS {table}" for table in self.helper_tables))
        kind = " CASCADE" if lab.kind == "postgresql" else ""
        self.sql(self.here, f"DROP SCHEMA IF EXISTS {lab.local_schema}{kind}")

    def again(self, scene: Scene) -> None:
        """The next run, here: as the scene's own."""
        if not scene.first_use:
            eval(scene.code, {"Session": self.linked})
            return
        # A class that has been used before does not look whether its tables are there.
        fresh = linked(self.lab, "Session")
        eval(scene.code, {"Session": fresh})
        fresh._link.connect_source().connection.close()

    def local_rows(self, table: str) -> Rows:
        try:
            return self.rows(self.here, self.lab.local_schema, table)
        except Exception as error:
            if is_missing(error):  # first use: not yet
                return set()
            raise

    @property
    def helper_columns(self) -> str:
        """What helper rows say."""
        return "process, is_flagged, is_deprecated"

    def helper_rows(self) -> dict[tuple[int, int], HelperRow]:
        try:
            found = self.sql(self.there, f"SELECT subject, session, {self.helper_columns} FROM {self.helper} h")
        except Exception as error:
            if is_missing(error):
                return {}
            raise
        return {row[:2]: HelperRow(*row[2:]) for row in found}

    def check_safety(self, scene: Scene) -> None:
        """True at every instant: what is local is held, but for what was not held at first; and whole."""
        local = at_one_instant(lambda: {table: self.local_rows(table) for table in reversed(TABLES)})
        helper = self.helper_rows()
        present = {row[:2] for row in local["session"]}
        at_first = {(s % 3, s) for s in scene.local if s not in scene.helper}
        assert present - at_first <= helper.keys(), "local and not held"
        for table, rows in self.source_rows.items():
            expected = {row for row in rows if row[:2] in present}
            assert local[table] == expected, f"partial entities: {table}"

    def check_end(self, scene: Scene) -> None:
        """All is done that was asked for."""
        self.check_safety(scene)
        helper = self.helper_rows()
        local = {row[:2] for row in self.local_rows("session")}
        found = {
            key[1]: state_of(True, helper.get(key), key in local)
            for key in (row[:2] for row in self.source_rows["session"])
        }
        assert found == scene.after
        assert {row.process for row in helper.values()} <= {"NONE"}
        assert {key for key, row in helper.items() if row.is_deprecated == "TRUE"} == {
            (s % 3, s) for s, state in scene.after.items() if state is State.DEPRECATED
        }


class OlderWorld(World):
    """The same with an outbound table of the older interface."""

    @property
    def helper_tables(self) -> list[str]:
        return [*(f"{self.helper}__deletion_{said}" for said in ("requested", "approved")), self.helper]

    def put_helper_rows(self, rows: HelperRows) -> None:
        processes = {session: (row[0], DEAD) for session, row in rows.items()}
        self.insert(self.helper, ("_process", "_worker"), processes)
        for flag, table in enumerate(self.helper_tables[:2], 1):
            self.insert(table, (), {session: () for session, row in rows.items() if row[flag] == "TRUE"})

    @property
    def helper_columns(self) -> str:
        said = (
            f"CASE WHEN EXISTS (SELECT 1 FROM {table} p WHERE p.session = h.session) THEN 'TRUE' ELSE 'FALSE' END"
            for table in self.helper_tables[:2]
        )
        return f"_process, {', '.join(said)}"


def is_missing(error: Exception) -> bool:
    """Whether a server says that there is no such table, or no such schema."""
    return "exist" in str(error) or "Unknown database" in str(error)


def literals(row: Sequence[Any]) -> str:
    return "(" + ", ".join("NULL" if value is None else repr(value) for value in row) + ")"


def declare_sessions(lab: Lab) -> Any:
    """Twelve sessions with two rows in one part and none to two in the other."""

    class Session(dj.Manual):
        definition = "subject: int32\nsession: int32\n---\nnote=null: varchar(40)"

        class Event(dj.Part):
            definition = "-> master\nevent: int32\n---\nwhat: varchar(10)"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32\n---\nscore: float64"

    table = declare(lab, Session)
    keys = [{"subject": s % 3, "session": s} for s in range(NUMBER)]
    table.insert({**key, "note": f"note {n}"} for n, key in enumerate(keys))
    table.Event.insert({**key, "event": e, "what": f"what {e}"} for key in keys for e in range(key["subject"]))
    table.Trial.insert({**key, "trial": t, "score": key["session"] + t / 8} for key in keys for t in range(2))
    return table


@pytest.fixture
def world(either: Lab) -> Iterator[World]:
    """A linked table, by either interface, whose helper table and local tables are there."""
    Session = granted(either, declare_sessions(either))
    Session()
    with ExitStack() as stack:
        yield (OlderWorld if either.older else World)(either, Session, stack)


@pytest.mark.timeout(3600 if SOAK else 300)
@pytest.mark.parametrize("name", [name for name in SCENES if SOAK or name not in ("repair", "first pull")])
def test_crash_at_every_statement(lab: Lab, world: World, name: str, figures: Figures) -> None:
    scene = SCENES[name]
    if lab.older and not SOAK:
        # The engine is the same: not every statement is tried a second time; what recovery does, a pull does too.
        if name == "pull":
            pytest.skip("only in the soak")
        scene = replace(scene, step=3 * scene.step)
    with Crasher(lab) as crasher:
        crasher.run(Order("0"))  # connects the process that forks the others
        world.first_sessions = world.sessions()
        what = f"crash points in {name}{' by dj_link' * lab.older}"
        for modes in MODES if SOAK else QUICK_MODES:
            crash_at_each(crasher, world, scene, modes, lambda: figures.add(what, lab.kind))


def crash_at_each(
    crasher: Crasher, world: World, scene: Scene, modes: Sequence[Mode], tried: Callable[[], None]
) -> None:
    """Let a child come to the first statement, then the next, and so on until it ends, in these modes by turns."""
    for turn in itertools.count():
        mode, point = modes[turn % len(modes)], 1 + turn * (1 if SOAK else scene.step * len(modes[:2]))
        world.set_up(scene)
        order = Order(scene.code, mode, point, reads=SOAK, first_use=scene.first_use)
        crashed = crasher.run(order)
        where = f"{mode} statement {point}: {crashed}"
        try:
            assert not str(crashed.get("error")).startswith("unexpected")
            world.check_safety(scene)
            world.await_sessions(world.first_sessions)
            world.check_safety(scene)
            if crashed["status"] == 0 and not crashed["sprung"]:
                assert crashed["error"] is None
                world.check_end(scene)
                return
            tried()
            if "kill" in mode:
                assert crashed["status"] == -9
            elif crashed["error"] is None:
                world.check_end(scene)  # it went on by itself
            world.again(scene)
            world.check_end(scene)
        except AssertionError as error:
            raise AssertionError(f"{where}\n{error}") from error
