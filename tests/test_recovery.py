"""Whatever an interrupted run leaves, the next operation goes on from there; several runs at once share the work."""

from __future__ import annotations

import os
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import datajoint as dj
import pytest
from children import CHILDREN, accounts
from lab import Lab
from older import parts
from pipelines import (
    assert_same,
    contents,
    count_held,
    declare,
    everything,
    flag,
    granted,
    helper_rows,
    run_sql,
    series,
    sessions,
    states,
    units,
    wait_until,
)

from link import State, link
from link.model.layouts import TIMES
from link.model.states import FLAGS, TABLE, HelperRow, state_of
from link.work import claims, comparing, loader

#: The number of a run whose lock nobody holds.
DEAD = 4711


class Case(NamedTuple):
    """One entity to construct, as in a row of the state table."""

    unit: int
    source: bool
    helper: tuple[str, str, str] | None
    local: bool


def cases() -> list[Case]:
    """An entity for each combination of the three tables and the flag, deprecated or not where it is not local."""
    found: list[Case] = []
    for rule in TABLE:
        helpers: list[tuple[str, str, str] | None] = [None]
        if rule.process:
            flags = [rule.flagged] if rule.flagged else FLAGS
            deprecations = FLAGS if rule.process == "NONE" and not rule.local else ["FALSE"]
            helpers = [(rule.process, flagged, deprecated) for flagged in flags for deprecated in deprecations]
        found += [Case(len(found) + n, rule.source, helper, rule.local) for n, helper in enumerate(helpers)]
    return found


CASES = cases()


def constructed(lab: Lab, worker: int | None = DEAD) -> Any:
    """A linked table with the entities of all cases; of a helper table without `_worker` if that is None."""
    table = units(lab)
    Unit = granted(lab, table)
    if worker is None:
        create_old_helper(lab)
    Unit()
    at_source = [f"INSERT INTO {table.full_table_name} VALUES ({c.unit}, {c.unit} / 7.0)" for c in CASES if c.source]
    run_sql(lab.source_server, [*at_source, *(sql for c in CASES if c.helper for sql in hold(lab, c, worker))])
    local = [f"INSERT INTO {Unit.full_table_name} VALUES ({c.unit}, {c.unit} / 7.0)" for c in CASES if c.local]
    run_sql(lab.local_server, local)
    assert set(unit_states(lab).values()) == set(State)
    return Unit


def hold(lab: Lab, case: Case, worker: int | None) -> Iterator[str]:
    """What inserts the helper row of a case, by whichever interface the helper table was made."""
    helper = f"{lab.helper_schema}.{lab.helper_table}"
    assert case.helper
    said = dict(zip(("process", "is_flagged", "is_deprecated"), case.helper, strict=True))
    if lab.older:
        yield f"INSERT INTO {helper} (unit, _process, _worker) VALUES ({case.unit}, '{said['process']}', {worker})"
        for flag, part in parts(lab).items():
            if said[flag] == "TRUE":
                yield f"INSERT INTO {part} (unit) VALUES ({case.unit})"
        return
    columns, values = ["unit", *said], [str(case.unit), *map(repr, said.values())]
    if worker is not None:
        columns, values = [*columns, "_worker"], [*values, str(worker)]
    yield f"INSERT INTO {helper} ({', '.join(columns)}) VALUES ({', '.join(values)})"


def create_old_helper(lab: Lab) -> None:
    """A helper table as older programs have made it: without hidden columns."""
    enums = ["ENUM('PULL','DELETE','NONE')", "ENUM('TRUE','FALSE')"]
    name = f"{lab.helper_schema}.{lab.helper_table}"
    if lab.kind == "postgresql":
        for number, enum in enumerate(enums):
            lab.source_server.sql(f"CREATE TYPE {lab.helper_schema}.enum_{number} AS {enum}")
        enums = [f"{lab.helper_schema}.enum_{number}" for number in range(2)]
    lab.source_server.sql(
        f"CREATE TABLE {name} (unit INT NOT NULL PRIMARY KEY, process {enums[0]} NOT NULL DEFAULT 'NONE', "
        f"is_flagged {enums[1]} NOT NULL DEFAULT 'FALSE', is_deprecated {enums[1]} NOT NULL DEFAULT 'FALSE', "
        f"FOREIGN KEY (unit) REFERENCES {lab.source_schema}.unit (unit))"
    )
    if lab.kind == "postgresql":
        lab.source_server.sql(f"ALTER TABLE {name} OWNER TO {lab.link_user}")


def unit_states(lab: Lab) -> dict[int, State]:
    return {unit: state for (unit,), state in states(lab, "unit", "unit").items()}


def recovered(case: Case) -> State:
    """Where recovery alone leads: what is of a deletion is finished, flags are obeyed."""
    process, flagged = case.helper[:2] if case.helper else ("", "")
    if process == "DELETE":
        return State.DEPRECATED if flagged == "TRUE" else State.UNSHARED
    found = state_of(case.source, HelperRow(*case.helper) if case.helper else None, case.local)
    assert found
    return found


def pulled(case: Case) -> State:
    """Where a pull of everything leads."""
    if not case.source:
        return State.LOCAL_ONLY
    if not case.helper or case.helper[1] == "FALSE":
        return State.SHARED
    return State.TAINTED if case.local and case.helper[0] != "DELETE" else State.DEPRECATED


def finished(case: Case) -> State:
    """Where a pull of nothing leads: what was begun is finished, nothing new begins."""
    if case.helper and case.helper[0] == "PULL":
        return pulled(case)
    return recovered(case)


WORKERS = {"dead run": DEAD, "row edited by hand": 0, "old helper table": None}


@pytest.mark.parametrize("worker", [*WORKERS, "older interface"])
def test_pull_from_every_state(lab: Lab, worker: str) -> None:
    lab.older = worker == "older interface"
    Unit = constructed(lab, WORKERS.get(worker, DEAD))
    result = Unit.source.pull()
    found = unit_states(lab)
    assert found == {case.unit: pulled(case) for case in CASES}
    assert set(helper_rows(lab)) <= {("NONE", "FALSE", "FALSE"), ("NONE", "TRUE", "TRUE"), ("NONE", "TRUE", "FALSE")}
    assert rows_deprecated(lab) == Counter(found.values())[State.DEPRECATED]
    assert result.skipped and not result.differing and not result.errors
    assert Unit.source.pull().pulled == 0


def rows_deprecated(lab: Lab) -> int:
    return len(helper_rows(lab, "is_deprecated = 'TRUE' AND is_flagged = 'TRUE' AND process = 'NONE'"))


@pytest.mark.parametrize("worker", ["dead run", "old helper table", "older interface"])
def test_pull_of_nothing_finishes_what_was_begun(lab: Lab, worker: str) -> None:
    lab.older = worker == "older interface"
    Unit = constructed(lab, WORKERS.get(worker, DEAD))
    Unit.source.pull("unit = -1")
    assert unit_states(lab) == {case.unit: finished(case) for case in CASES}


@pytest.mark.parametrize("few", [comparing.FEW, 1], ids=["by key", "at once"])
def test_delete_from_every_state(either: Lab, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is local goes; what was being pulled is taken up by the next pull."""
    monkeypatch.setattr(comparing, "FEW", few)
    Unit = constructed(either)
    Unit().delete(prompt=False)
    found = unit_states(either)
    assert len(Unit()) == 0
    assert not set(found.values()) & {State.RECEIVED_PULL, State.RECEIVED_DELETE, State.ACTIVATED_DELETE}
    Unit.source.pull()
    flagged = {case.unit for case in CASES if case.helper and case.helper[1] == "TRUE"}
    after = unit_states(either)
    assert after == {c.unit: State.DEPRECATED if c.unit in flagged else State.SHARED for c in CASES if c.source}


def test_delete_of_one_finishes_deletions(either: Lab) -> None:
    Unit = constructed(either)
    shared = next(case.unit for case in CASES if case.local and case.helper == ("NONE", "FALSE", "FALSE"))
    assert (Unit & f"unit = {shared}").delete(prompt=False) == 1
    found = unit_states(either)
    expected = {case.unit: recovered(case) for case in CASES} | {shared: State.UNSHARED}
    assert found == expected


def test_status_of_every_state(either: Lab) -> None:
    """Counting changes nothing."""
    Unit = constructed(either)
    at_first = everything(either)
    status = Unit.source.status()
    expected = Counter(state.value for state in unit_states(either).values())
    assert dict(status) == {state.value: expected[state.value] for state in State}
    assert sum(status.values()) == len(CASES)
    assert everything(either) == at_first
    lines = repr(status).splitlines()
    assert len(lines) == 1 + len(State) and lines[0].startswith("Unit")
    assert "<table>" in status._repr_html_()


def test_dry_run_of_every_state(either: Lab) -> None:
    Unit = constructed(either)
    at_first = everything(either)
    result = Unit.source.pull(dry_run=True)
    assert result.pulled >= 1 and everything(either) == at_first


@pytest.mark.parametrize("name", ["it's", '"so"', "a_b", "caf\u00e9", "back\\slash", "50%"])
def test_deletions_with_awkward_keys_are_finished(lab: Lab, name: str) -> None:
    """Recovery finds local rows by their keys, whatever characters these have."""

    class Name(dj.Manual):
        definition = "name: varchar(30)"

    table = declare(lab, Name)
    table.insert([{"name": name}, {"name": "kept"}])
    Linked = granted(lab, table)
    Linked.source.pull()
    lab.source_server.sql(
        f"UPDATE {lab.helper_schema}.{lab.helper_table} SET process = 'DELETE', _worker = {DEAD} WHERE name <> 'kept'"
    )
    Linked.source.pull("name = 'kept'")
    # A row that is still there stays held, whatever else fails.
    assert count_held(lab) == len(Linked())
    assert Linked.to_dicts() == [{"name": "kept"}]
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")]


def test_unheld_rows_are_compared(lab: Lab) -> None:
    """A lost hold is taken again; content that has become another is reported and left alone."""
    Session = granted(lab, sessions(lab, 10))
    Session.source.pull()
    lab.source_server.sql(f"DELETE FROM {lab.helper_schema}.{lab.helper_table} WHERE session < 4")
    lab.source_server.sql(f"UPDATE {lab.source_schema}.session SET note = 'edited' WHERE session = 1")
    lab.source_server.sql(f"DELETE FROM {lab.source_schema}.session__trial WHERE session = 2 AND trial = 0")
    local = contents(lab.local_server, lab.local_schema)
    assert Session.source.status()[State.UNHELD] == 4
    result = Session.source.pull()
    assert (result.pulled, result.shared, result.adopted) == (0, 6, 2)
    assert result.differing == [{"subject": 1, "session": 1}, {"subject": 2, "session": 2}]
    assert contents(lab.local_server, lab.local_schema) == local
    assert count_held(lab) == 10


def test_rows_that_arrive_meanwhile(lab: Lab) -> None:
    """What a run that was taken for dead commits only now is kept, and stays held."""
    table = units(lab, 4)
    Unit = granted(lab, table)
    Unit()
    helper = f"{lab.helper_schema}.{lab.helper_table}"
    lab.source_server.sql(
        f"INSERT INTO {helper} (unit, process, _worker) SELECT unit, 'PULL', {DEAD} FROM {lab.source_schema}.unit"
    )
    insert = f"INSERT INTO {Unit.full_table_name} SELECT i, i / 7.0 FROM {series(4)} WHERE i"
    lab.local_server.sql(f"{insert} = 0")
    with closing(lab.local_server.connect_raw()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"{insert} IN (1, 2)")
        committing = threading.Timer(1, lambda: cursor.execute("COMMIT"))
        committing.start()
        result = Unit.source.pull()
        committing.join()
    assert (result.pulled, result.shared, result.errors) == (1, 3, [])
    assert set(unit_states(lab).values()) == {State.SHARED}
    assert_same(lab, table)


@pytest.mark.parametrize("found", ["unfinished", "unfinished, with one flagged", "unheld"])
def test_rows_that_are_deleted_meanwhile(lab: Lab, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pull finds here and has read when it is deleted is brought back, and held."""
    table = sessions(lab, 6)
    Session = granted(lab, table)
    Session.source.pull("session < 3")
    helper = f"{lab.helper_schema}.{lab.helper_table}"
    if found == "unheld":
        lab.source_server.sql(f"DELETE FROM {helper} WHERE session IN (0, 2)")
    else:
        lab.source_server.sql(f"UPDATE {helper} SET process = 'PULL', _worker = {DEAD} WHERE session IN (0, 2)")
    if "flagged" in found:
        run_sql(
            lab.local_server,
            [f"DELETE FROM {lab.local_schema}.session{part} WHERE session = 2" for part in ("__trial", "")],
        )
        flag(lab, "session = 2")
    load = loader.Loader._load
    chosen = [0] if "flagged" in found else [0, 2]

    def meanwhile(self: Any, here: Any, blocks: Any, reading: Any) -> int:
        blocks = list(blocks)
        if chosen:
            assert (Session & [{"session": session} for session in chosen]).delete() == len(chosen)
            chosen.clear()
        return load(self, here, blocks, reading)

    monkeypatch.setattr(loader.Loader, "_load", meanwhile)
    Session.source.pull("session = 2" if found == "unheld" else "session = 4")
    expected = dict.fromkeys(range(6), State.UNSHARED) | {0: State.SHARED, 1: State.SHARED, 2: State.SHARED}
    if found == "unheld":
        expected[0] = State.UNSHARED
    else:
        expected[4] = State.SHARED
    if "flagged" in found:
        expected[2] = State.DEPRECATED
    assert {key[1]: state for key, state in states(lab, "session", "subject", "session").items()} == expected
    assert Session.source.verify()


def test_rows_of_a_living_run_are_left_alone(lab: Lab) -> None:
    """Another run's unfinished rows are its own as long as its connection lives."""
    Unit = granted(lab, units(lab, 10))
    Unit()
    outbound = Unit._link.open().holds.numbered()
    other = Unit._link.connect_source().open()
    try:
        outbound.enlist(other)
        helper = f"{lab.helper_schema}.{lab.helper_table}"
        lab.source_server.sql(f"INSERT INTO {helper} (unit, process, _worker) VALUES (3, 'PULL', {outbound.worker})")
        assert Unit.source.pull().pulled == 9
        assert helper_rows(lab, "unit = 3") == [("PULL", "FALSE", "FALSE")]
    finally:
        other.close()
    wait_until(lambda: Unit.source.pull().pulled == 1)
    assert set(unit_states(lab).values()) == {State.SHARED}


# processes


class Child(NamedTuple):
    """A process that pulls as soon as it is told to, and tells how many it has pulled."""

    process: BaseProcess
    pipe: Connection


def pull_when_told(pipe: Connection, names: list[str], local: dict[str, Any], account: dict[str, str], n: int) -> None:
    """What a child does."""
    os.environ |= account
    claims.FIRST_CHUNK_ROWS, claims.CHUNK_ROWS = 100, n
    warnings.simplefilter("ignore")
    instance = dj.Instance(use_tls=False, **local)
    Session: Any = link(names[0], *names[1:], connection=instance, use_tls=False)(type("Session", (), {}))
    Session()
    pipe.send("ready")
    pipe.recv()
    pipe.send(Session.source.pull().pulled)


@contextmanager
def child(lab: Lab, chunk_rows: int) -> Iterator[Child]:
    """A child with a table of `sessions`, killed at the end if it is not done."""
    address = f"{lab.source_server.host}:{lab.source_server.port}"
    names = [address, lab.source_schema, lab.helper_schema, lab.helper_table, lab.local_schema]
    server = lab.local_server
    local = {"host": server.host, "port": server.port, "backend": server.backend}
    local |= {"user": lab.local_user, "password": lab.local_password}
    ours, theirs = CHILDREN.Pipe()
    process = CHILDREN.Process(target=pull_when_told, args=(theirs, names, local, accounts(), chunk_rows))
    process.start()
    theirs.close()
    try:
        assert ours.recv() == "ready"
        yield Child(process, ours)
    finally:
        process.kill()
        process.join()
        ours.close()


def test_killed_in_the_middle(lab: Lab) -> None:
    """Killed at several points of a pull: no entity is ever partial, and the next pull completes it."""
    number = 30_000
    table = sessions(lab, number)
    Session = granted(lab, table)
    Session()
    for held in (1, number // 6, number // 3):
        with child(lab, 2000) as (process, pipe):
            pipe.send("go")
            wait_until(lambda: count_held(lab) >= held)  # noqa: B023
            process.kill()
            process.join()
            assert not pipe.poll() or not isinstance(received(pipe), int), "it was done before it was killed"
        assert_entities_are_whole(lab)
    assert 0 < len(Session()) < number
    result = Session.source.pull()
    assert result.pulled > 0 and result.part_rows == 2 * result.pulled
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")] * number
    assert_same(lab, table, "trial")


def received(pipe: Connection) -> Any:
    """What a child has sent, None if it has died instead."""
    try:
        return pipe.recv()
    except EOFError:
        return None


def assert_entities_are_whole(lab: Lab) -> None:
    """Every local session has its two trials, and is held."""
    counts = lab.local_server.sql(
        f"SELECT COUNT(DISTINCT s.session), COUNT(t.session) FROM {lab.local_schema}.session s "
        f"LEFT JOIN {lab.local_schema}.session__trial t ON t.subject = s.subject AND t.session = s.session"
    )
    assert counts[0][1] == 2 * counts[0][0]
    held = set(lab.source_server.sql(f"SELECT session FROM {lab.helper_schema}.{lab.helper_table}"))
    assert set(lab.local_server.sql(f"SELECT session FROM {lab.local_schema}.session")) <= held


def test_killed_while_deleting(lab: Lab) -> None:
    """The local side is rolled back with its connection, and what was marked is deleted by the next run."""
    Session = granted(lab, sessions(lab, 10))
    Session.source.pull()
    flag(lab, "session = 1")
    lab.source_server.sql(
        f"UPDATE {lab.helper_schema}.{lab.helper_table} SET process = 'DELETE', _worker = {DEAD} WHERE session < 3"
    )
    assert Session.source.status()[State.RECEIVED_DELETE] == 3
    assert Session.source.pull("session = 5").shared == 1
    found = Counter(states(lab, "session", "subject", "session").values())
    assert found == {State.SHARED: 7, State.UNSHARED: 2, State.DEPRECATED: 1}
    assert len(Session.Trial()) == 14


def test_processes_pull_at_once(lab: Lab) -> None:
    """Each entity is pulled by one of them, without an error in any."""
    number = 20_000
    table = sessions(lab, number, trials=1)
    Session = granted(lab, table)
    Session()
    with child(lab, 1000) as first, child(lab, 700) as second:
        for _, pipe in (first, second):
            pipe.send("go")
        assert sum(pipe.recv() for _, pipe in (first, second)) == number
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")] * number
    assert_same(lab, table, "trial")


def test_threads_pull_and_delete_at_once(lab: Lab) -> None:
    """DataJoint's connection serves one thread at a time: deletions take turns, and pulls go on meanwhile."""
    table = sessions(lab, 300)
    Session = granted(lab, table)
    Session.source.pull("session < 150")
    doomed = [f"MOD(session, 10) = {digit} AND session < 150" for digit in range(8)]
    wanted = [f"MOD(session, 3) = {rest} AND session >= 150" for rest in range(3)]
    with ThreadPoolExecutor(4) as pool:
        deleted = [pool.submit((Session & condition).delete) for condition in doomed]
        pulled = [pool.submit(Session.source.pull, condition) for condition in wanted]
    assert [future.result() for future in deleted] == [15] * 8
    assert sum(future.result().pulled for future in pulled) == 150
    found = Counter(states(lab, "session", "subject", "session").values())
    assert found == {State.SHARED: 180, State.UNSHARED: 120}
    assert len(Session.Trial()) == 360


@pytest.mark.parametrize("old", ["shared helper table", "old helper table", "older interface"])
def test_threads_pull_at_once(lab: Lab, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.older = old == "older interface"
    monkeypatch.setattr(claims, "CHUNK_ROWS", 300)
    number = 3000
    table = units(lab, number)
    Unit = granted(lab, table)
    if old == "old helper table":
        create_old_helper(lab)
    source = Unit.source
    assert len(source) == number  # by DataJoint's connection, which is not for several threads at once
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(source.pull().pulled)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 and sum(results) == number
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")] * number
    assert_same(lab, table)


def test_old_helper_table(lab: Lab) -> None:
    """A helper table without a column for workers serves all operations, and gets none."""
    Unit = granted(lab, units(lab, 20))
    create_old_helper(lab)
    assert Unit.source.pull("unit < 10").pulled == 10
    flag(lab, "unit < 2")
    assert Unit.source.flagged.keys(order_by="KEY") == [{"unit": 0}, {"unit": 1}]
    assert (Unit & Unit.source.flagged).delete(prompt=False) == 2
    assert (Unit & "unit < 5").delete_quick(get_count=True) == 3
    status = Unit.source.status()
    assert (status[State.SHARED], status[State.DEPRECATED], status[State.UNSHARED]) == (5, 2, 13)
    flag(lab, "unit = 0", "FALSE")
    result = Unit.source.pull()
    assert (result.pulled, result.shared) == (14, 5)
    columns = lab.source_server.sql(f"SELECT * FROM {lab.helper_schema}.{lab.helper_table} LIMIT 1")[0]
    assert len(columns) == 4 + len(TIMES)
