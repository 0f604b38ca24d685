"""`status(deep=True)`, `repair`, `verify`: they find what is not at rest or not equal, and change nothing unasked."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from typing import Any

import pytest
from lab import Lab
from pipelines import (
    assert_same,
    contents,
    everything,
    flag,
    granted,
    helper_rows,
    linked,
    run_sql,
    sessions,
    states,
    units,
)
from recorder import Statement
from test_recovery import CASES, constructed, finished, unit_states

from link import State
from link.model.ranges import ALL
from link.model.states import START_DELETE, HelperRow, state_of
from link.work import comparing, differences, verify
from link.work.run import Run

#: Two pairs of servers of different kinds, and one of two flavours.
MIXED = [("mysql", "postgresql"), ("postgresql", "mariadb"), ("mariadb", "mysql")]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "FEW", 4)


# status


@pytest.mark.usefixtures("small_batches")
def test_deep_status_of_every_state(lab: Lab) -> None:
    Unit = constructed(lab)
    at_first = everything(lab)
    expected = Counter(state.value for state in unit_states(lab).values())
    for counts in (Unit.source.status(deep=True), Unit.source.status()):
        assert dict(counts) == {state.value: expected[state.value] for state in State}
    assert everything(lab) == at_first


def test_deep_status_sees_what_cancels_out(lab: Lab) -> None:
    """As many rows gone locally as there are too many; `deep` looks up each, and so do checksums of keys."""
    Unit = granted(lab, units(lab, 20))
    Unit.source.pull("unit < 10")
    run_sql(
        lab.local_server,
        [f"DELETE FROM {Unit.full_table_name} WHERE unit = 4", f"INSERT INTO {Unit.full_table_name} VALUES (14, 2.0)"],
    )
    for counts in (Unit.source.status(deep=True), Unit.source.status()):
        assert (counts[State.SHARED], counts[State.VANISHED], counts[State.UNHELD]) == (9, 1, 1)
    restricted: Any = Unit.source & "unit < 5"
    assert restricted.status(deep=True)[State.SHARED] == 4


def test_deep_status_reads_in_batches(lab: Lab, monkeypatch: pytest.MonkeyPatch, statements: list[Statement]) -> None:
    """Keys are listed some at a time, of whatever state: memory is bounded."""
    Unit = granted(lab, units(lab, 1000))
    Unit.source.pull()
    flag(lab, "unit < 450")
    assert (Unit & "unit < 300").delete() == 300
    lab.local_server.sql(f"DELETE FROM {Unit.full_table_name} WHERE unit >= 850")
    monkeypatch.setattr(comparing, "FEW", 100)
    statements.clear()
    counts = Unit.source.status(deep=True)
    found = {state: count for state, count in counts.items() if count}
    assert found == {"Deprecated": 300, "Tainted": 150, "Shared": 400, "Vanished": 150}
    lists = [s.sql for s in statements if "ORDER BY" in s.sql and "pg_class" not in s.sql]
    assert len([sql for sql in lists if sql.endswith("LIMIT 100")]) == len(lists) >= 4 + 3 + 6 + 7
    assert max(len(s.sql) for s in statements) < 5000


# repair


def repaired(case: Any, vanished: str) -> State | None:
    """Where a repair leads: what was begun is finished, what is not held or not local by accident is mended."""
    if not case.source:
        return State.LOCAL_ONLY
    state = state_of(True, HelperRow(*case.helper) if case.helper else None, case.local)
    if state is State.UNHELD:
        return State.SHARED
    if state is State.VANISHED:
        return State.SHARED if vanished == "refetch" else State.UNSHARED
    return finished(case)


@pytest.mark.parametrize("vanished", ["refetch", "release"])
@pytest.mark.usefixtures("small_batches")
def test_repair_of_every_state(lab: Lab, vanished: Any) -> None:
    Unit = constructed(lab)
    at_first, before = everything(lab), Counter(unit_states(lab).values())
    planned = Unit.source.repair(vanished=vanished)
    assert everything(lab) == at_first
    resting = {State.UNSHARED, State.SHARED, State.TAINTED, State.DEPRECATED, State.LOCAL_ONLY}
    assert {s: n for s, (n, _) in planned.actions.items()} == {s: n for s, n in before.items() if s not in resting}
    assert repr(planned).startswith("repair would:")
    assert ("release its hold" if vanished == "release" else "fetch it again") in repr(planned)

    done = Unit.source.repair(dry_run=False, vanished=vanished)
    assert done.actions == planned.actions and repr(done).startswith("repair did:")
    assert unit_states(lab) == {case.unit: repaired(case, vanished) for case in CASES}
    assert {process for process, _, _ in helper_rows(lab)} == {"NONE"}
    assert repr(Unit.source.repair()) == "nothing to repair"


def test_beside_a_run_that_is_alive(lab: Lab) -> None:
    """What it has in hand is left to it, and said; what a dead one had is repaired."""
    Unit = granted(lab, units(lab, 10))
    Unit.source.pull("unit < 4")
    dead = "process = 'PULL', _worker = 4711"
    lab.source_server.sql(f"UPDATE {lab.helper_schema}.{lab.helper_table} SET {dead} WHERE unit = 1")
    with Run(Unit._link.open()) as other:
        other.holds.enlist(other.home)
        other.holds.claim_keys(other.home, ALL, [(5,), (6,)])
        other.holds.apply(other.home, START_DELETE, [(3,)])
        for dry_run in (True, False):
            result = Unit.source.repair(dry_run=dry_run)
            assert {state: number for state, (number, _) in result.actions.items()} == {State.RECEIVED_PULL: 1}
            assert result.before.in_other_hands == {State.ACTIVATED_PULL: 2, State.RECEIVED_DELETE: 1}
            assert repr(result).endswith("\nin other hands: 3, of pulls or deletions that are running")
        assert repr(Unit.source.repair()).startswith("nothing to repair\nin other hands: 3")
        assert (Unit.source & "unit < 3").status().in_other_hands == {}
        for dry_run in (True, False):
            pulled = Unit.source.pull(dry_run=dry_run)
            assert (pulled.pulled, pulled.shared, pulled.skipped) == (4, 3, {"in other hands": 3})
            assert "skipped 3 (in other hands)" in repr(pulled)
        assert len(helper_rows(lab, "process = 'NONE'")) == 7
    assert Unit.source.status().in_other_hands == {}
    assert Unit.source.pull().skipped == {}
    assert set(unit_states(lab).values()) <= {State.SHARED, State.UNSHARED}


def test_repair_of_a_selection(lab: Lab) -> None:
    """Vanished and unheld entities outside of it are left as they are."""
    Unit = granted(lab, units(lab, 10))
    Unit.source.pull()
    lab.local_server.sql(f"DELETE FROM {Unit.full_table_name} WHERE unit IN (1, 7)")
    lab.source_server.sql(f"DELETE FROM {lab.helper_schema}.{lab.helper_table} WHERE unit IN (2, 8)")
    part: Any = Unit.source & "unit < 5"
    part.repair(dry_run=False, vanished="release")
    found = states(lab, "unit", "unit")
    assert [found[n,] for n in (1, 2, 7, 8)] == [State.UNSHARED, State.SHARED, State.VANISHED, State.UNHELD]


def test_repair_overwrites_nothing(lab: Lab) -> None:
    """Unheld, and edited at the source: held again, reported, left."""
    Session = granted(lab, sessions(lab, 6))
    Session.source.pull()
    lab.source_server.sql(f"DELETE FROM {lab.helper_schema}.{lab.helper_table}")
    lab.source_server.sql(f"UPDATE {lab.source_schema}.session SET note = 'edited' WHERE session = 2")
    local = contents(lab.local_server, lab.local_schema)
    result = Session.source.repair(dry_run=False)
    assert result.pulled.differing == [{"subject": 2, "session": 2}]
    assert contents(lab.local_server, lab.local_schema) == local
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")] * 6


# verify

#: What makes which session differ, by SQL on the side named.
EDITS = {
    0: ("source", "UPDATE {}.session SET note = 'other' WHERE session = 0"),
    1: ("local", "UPDATE {}.session SET note = NULL WHERE session = 1"),
    2: ("source", "UPDATE {}.session__trial SET score = score + 1e-9 WHERE session = 2 AND trial = 1"),
    3: ("local", "DELETE FROM {}.session__trial WHERE session = 3 AND trial = 0"),
    4: ("source", "DELETE FROM {}.session__trial WHERE session = 4"),
    5: ("local", "INSERT INTO {}.session__trial VALUES (5, 5, 9, 0.5)"),
    6: ("source", "INSERT INTO {}.session__trial VALUES (6, 6, 9, 0.5)"),
    7: ("local", "UPDATE {}.session__trial SET trial = trial + 10 WHERE session = 7"),
}


def edit(lab: Lab, sessions: Any = EDITS) -> None:
    for session in sessions:
        side, statement = EDITS[session]
        server, schema = (
            (lab.source_server, lab.source_schema) if side == "source" else (lab.local_server, lab.local_schema)
        )
        server.sql(statement.format(schema))


def assert_verified(lab: Lab) -> None:
    """Equal after the pull; then every difference is named, and nothing else."""
    table = sessions(lab, 30)
    Session = granted(lab, table, backend=lab.source_server.backend)
    Session.source.pull("session < 25")
    result = Session.source.verify()
    assert result and (result.compared, result.differing, result.missing) == (25, [], [])
    assert repr(result).startswith("compared 25, 0 differing, 0 missing")
    edit(lab)
    at_first = everything(lab)
    result = Session.source.verify()
    assert not result
    assert result.differing == [{"subject": n, "session": n} for n in EDITS]
    first = ", ".join(f"{{'subject': {n}, 'session': {n}}}" for n in range(3))
    assert repr(result).startswith(f"compared 25, 8 differing ({first}, and 5 more), 0 missing, ")
    part: Any = Session.source & "session > 3"
    assert part.verify().differing == [{"subject": n, "session": n} for n in EDITS if n > 3]
    assert everything(lab) == at_first


@pytest.mark.usefixtures("small_batches")
def test_verify(lab: Lab) -> None:
    assert_verified(lab)


@pytest.mark.parametrize("pair", MIXED, ids="-".join, indirect=True)
@pytest.mark.usefixtures("small_batches")
def test_verify_between_kinds(mixed: Lab) -> None:
    assert_verified(mixed)


@pytest.mark.parametrize("session", EDITS)
def test_each_difference_alone(lab: Lab, session: int) -> None:
    Session = granted(lab, sessions(lab, 10))
    Session.source.pull()
    edit(lab, [session])
    result = Session.source.verify()
    assert result.differing == [{"subject": session, "session": session}] and not result.missing


def test_verify_looks_at_what_is_shared(lab: Lab) -> None:
    """Held and gone is missing; local without a hold, flagged or in process is not for it to judge."""
    Unit = constructed(lab)
    lab.local_server.sql(f"UPDATE {Unit.full_table_name} SET depth = -1")
    result = Unit.source.verify()
    found = unit_states(lab)
    assert {key["unit"] for key in result.differing} == {u for u, state in found.items() if state is State.SHARED}
    assert {key["unit"] for key in result.missing} == {u for u, state in found.items() if state is State.VANISHED}


def test_verify_blocks_nobody(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, statements: list[Statement], caplog: pytest.LogCaptureFixture
) -> None:
    """Rows are edited and pulled in the middle of it, at once; it takes no locks and opens no transaction."""
    Session = granted(lab, sessions(lab, 50))
    Session.source.pull("session < 40")
    monkeypatch.setattr(comparing, "FEW", 10)
    tell, batches = verify._tell, list[int]()
    patience = "lock_timeout = '2s'" if lab.kind == "postgresql" else "SESSION innodb_lock_wait_timeout = 2"

    def meanwhile(both: Any, looked: Any, result: Any) -> None:
        tell(both, looked, result)
        batches.append(number := len(batches))
        with closing(lab.source_server.connect_raw()) as other, other.cursor() as cursor:
            cursor.execute(f"SET {patience}")
            cursor.execute(f"UPDATE {lab.source_schema}.session SET note = 'x' WHERE session >= 40")
            cursor.execute(f"UPDATE {lab.source_schema}.session__trial SET score = score WHERE session = {number}")
            other.commit()

    monkeypatch.setattr(verify, "_tell", meanwhile)
    statements.clear()
    with caplog.at_level(logging.DEBUG, "link"):
        assert Session.source.verify().compared == 40
    assert len(batches) == 4
    sent = [s.sql.upper() for s in statements if s.user == lab.link_user]
    assert not [sql for sql in sent if "FOR UPDATE" in sql or "FOR SHARE" in sql or sql.startswith(("BEGIN", "LOCK"))]
    assert not [sql for sql in sent if sql.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert "compared 40" in caplog.text


def keys_sent(statements: list[Statement]) -> list[str]:
    """Statements with lists of keys."""
    return [s.sql for s in statements if "JSON_TABLE" in s.sql or "unnest(" in s.sql]


def test_verify_reads_in_ranges(lab: Lab, monkeypatch: pytest.MonkeyPatch, statements: list[Statement]) -> None:
    """Of what is equal no key travels, and of what differs few: memory is bounded, whatever the table's size."""
    Unit = granted(lab, units(lab, 1000))
    Unit.source.pull()
    monkeypatch.setattr(comparing, "FEW", 100)
    monkeypatch.setattr(differences, "SECONDS", 1000)
    statements.clear()
    assert Unit.source.verify().compared == 1000
    assert not keys_sent(statements)
    # Ranges of 6, 24, 96, 384 and 490: where each ends, and two reads of each server.
    assert len([s for s in statements if "GROUP BY" in s.sql]) == 2 * 5
    assert len([s for s in statements if "OFFSET" in s.sql]) == 5
    lab.local_server.sql(f"UPDATE {Unit.full_table_name} SET depth = 0 WHERE unit = 555")
    statements.clear()
    assert Unit.source.verify().differing == [{"unit": 555}]
    assert len(keys_sent(statements)) <= 6
    assert max(len(s.sql) for s in statements) < 5000


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_digests_of_a_range_are_not_sorted(lab: Lab, statements: list[Statement]) -> None:
    """PostgreSQL's planner took every key for a bucket of its own, and sorted the rows of a range on disk."""
    Unit = granted(lab, units(lab, 5000))
    Unit.source.pull()
    lab.local_server.sql(f"ANALYZE {Unit.full_table_name}")
    statements.clear()
    assert Unit.source.verify()
    sql = max((s.sql for s in statements if "GROUP BY" in s.sql and s.port == lab.local_server.port), key=len)
    with closing(lab.local_server.connect_raw()) as connection, connection.cursor() as cursor:
        cursor.execute("SET work_mem = '64kB'")
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "HashAggregate" in plan and "Sort Key" not in plan


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_no_number_is_like_any_other(lab: Lab) -> None:
    """NaN that was computed has other bits than NaN that was written."""
    Unit = granted(lab, units(lab, 3))
    Unit.source.pull()
    lab.local_server.sql(f"UPDATE {Unit.full_table_name} SET depth = 'NaN' WHERE unit > 0")
    computed = "'Infinity'::float8 - 'Infinity'::float8"
    lab.source_server.sql(f"UPDATE {lab.source_schema}.unit SET depth = {computed} WHERE unit = 1")
    assert Unit.source.verify().differing == [{"unit": 2}]


def test_verify_and_refresh_where_most_differs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, statements: list[Statement]
) -> None:
    """Once most of a range differs, the next ones are not summed up first; what is equal, or gone, is seen."""
    Unit = granted(lab, units(lab, 1000))
    Unit.source.pull()
    monkeypatch.setattr(comparing, "FEW", 100)
    monkeypatch.setattr(differences, "SECONDS", 1000)
    lab.local_server.sql(f"UPDATE {Unit.full_table_name} SET depth = depth + 1 WHERE unit % 50 <> 7")
    statements.clear()
    result = Unit.source.verify()
    assert [key["unit"] for key in result.differing] == [n for n in range(1000) if n % 50 != 7]
    summed = len([s for s in statements if "GROUP BY" in s.sql])
    assert summed <= 4
    lab.local_server.sql(f"DELETE FROM {Unit.full_table_name} WHERE unit = 555")
    lab.source_server.sql(f"DELETE FROM {lab.helper_schema}.{lab.helper_table} WHERE unit = 777")
    result = Unit.source.verify()
    assert [key["unit"] for key in result.differing] == [n for n in range(1000) if n % 50 != 7 and n not in (555, 777)]
    assert result.missing == [{"unit": 555}]
    refreshed = Unit.source.refresh()
    assert (refreshed.refreshed, refreshed.equal) == (978, 20)
    assert Unit.source.verify().missing == [{"unit": 555}] and not Unit.source.verify().differing


def test_verify_beside_other_rows(lab: Lab, monkeypatch: pytest.MonkeyPatch, statements: list[Statement]) -> None:
    """Rows that are not shared, there and here, are between all that are: they are left out, and all else is seen."""
    Session = granted(lab, sessions(lab, 200))
    Session.source.pull("session % 4 < 3")
    flag(lab, "session % 10 = 2")
    lab.source_server.sql(f"DELETE FROM {lab.helper_schema}.{lab.helper_table} WHERE session % 10 = 5")
    monkeypatch.setattr(comparing, "FEW", 40)
    shared = [n for n in range(200) if n % 4 < 3 and n % 10 not in (2, 5)]
    edited = [n for n in EDITS if n % 4 < 3 and n % 10 not in (2, 5)]
    some: Any = Session.source & "session BETWEEN 3 AND 90"
    few: Any = Session.source & "session % 40 IN (1, 6)"
    for source in (Session.source, some, few):
        statements.clear()
        assert source.verify()
        assert max(len(s.sql) for s in statements) < 5000
    assert Session.source.verify().compared == len(shared)
    edit(lab, [0, 1, 2, 3, 4, 5, 6, 7])
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.session__trial WHERE session = 8")
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.session WHERE session = 8")
    result = Session.source.verify()
    assert [key["session"] for key in result.differing] == edited
    assert result.missing == [{"subject": 8, "session": 8}]
    assert [key["session"] for key in some.verify().differing] == [n for n in edited if n >= 3]
    assert [key["session"] for key in few.verify().differing] == [n for n in edited if n in (1, 6)]


def test_parts_that_write_a_key_otherwise(lab: Lab) -> None:
    """A part row may have the key of its master in other letters, where the collation takes them for equal."""
    if lab.kind == "postgresql":
        pytest.skip("texts that are equal are the same")
    there = lab.source_schema
    text = "varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL"
    run_sql(
        lab.source_server,
        [
            f"CREATE TABLE {there}.rat (name {text}, PRIMARY KEY (name))",
            f"CREATE TABLE {there}.rat__weight (name {text}, day int NOT NULL, weight int NOT NULL, "
            f"PRIMARY KEY (name, day), FOREIGN KEY (name) REFERENCES {there}.rat (name))",
            f"INSERT INTO {there}.rat VALUES ('Ada'), ('bob'), ('Cem')",
            f"INSERT INTO {there}.rat__weight VALUES ('ADA', 1, 1), ('Bob', 1, 1), ('cem', 1, 1)",
        ],
    )
    lab.grant("rat")
    Rat: Any = linked(lab, "Rat", backend="mysql")
    Rat().source.pull()
    assert Rat().source.verify()
    lab.source_server.sql(f"UPDATE {there}.rat__weight SET weight = 2 WHERE name = 'ada'")
    lab.local_server.sql(f"UPDATE {lab.local_schema}.rat__weight SET weight = 2 WHERE name = 'bob'")
    assert Rat().source.verify().differing == [{"name": "Ada"}, {"name": "bob"}]


def test_shared_is_the_same_to_all(lab: Lab) -> None:
    """Held, at rest, not flagged, local: that a helper row says of a past deletion changes nothing."""
    table = units(lab, 6)
    Unit = granted(lab, table)
    Unit.source.pull()
    helper = f"{lab.helper_schema}.{lab.helper_table}"
    lab.source_server.sql(f"UPDATE {helper} SET is_deprecated = 'TRUE' WHERE unit IN (2, 3)")
    lab.local_server.sql(f"UPDATE {Unit.full_table_name} SET depth = -1 WHERE unit = 2")
    lab.local_server.sql(f"DELETE FROM {Unit.full_table_name} WHERE unit = 3")
    assert {state: n for state, n in Unit.source.status().items() if n} == {"Shared": 5, "Vanished": 1}
    verified = Unit.source.verify()
    assert (verified.compared, verified.differing, verified.missing) == (6, [{"unit": 2}], [{"unit": 3}])
    assert Unit.source.repair(dry_run=False, vanished="release").actions[State.VANISHED][0] == 1
    assert {state: n for state, n in Unit.source.status().items() if n} == {"Unshared": 1, "Shared": 5}


def test_what_to_do_about_edits(lab: Lab) -> None:
    """As the documents say: delete them locally, and pull again."""
    table = sessions(lab, 10)
    Session = granted(lab, table)
    Session.source.pull()
    edit(lab, [0, 2, 4, 6])
    differing = Session.source.verify().differing
    assert (Session & differing).delete() == 4
    assert Session.source.pull().pulled == 4
    assert Session.source.verify()
    assert_same(lab, table, "trial")
    flag(lab, "session = 1")
    assert Session.source.verify().compared == 9


def test_rows_that_refer_to_nothing(lab: Lab) -> None:
    """A server that is told not to look at foreign keys lets parents go: `verify` looks at those of other tables."""
    Session = granted(lab, sessions(lab, 6))
    Session.source.pull()
    room = f"{lab.local_schema}.room"
    trial = Session.Trial.full_table_name
    run_sql(
        lab.local_server,
        [
            f"CREATE TABLE {room} (number int NOT NULL PRIMARY KEY)",
            f"INSERT INTO {room} VALUES {', '.join(f'({n})' for n in range(6))}",
            f"ALTER TABLE {Session.full_table_name} ADD FOREIGN KEY (session) REFERENCES {room} (number)",
            f"ALTER TABLE {trial} ADD FOREIGN KEY (trial) REFERENCES {room} (number)",
        ],
    )
    Session.source._link.forget()
    assert Session.source.verify()  # also where the account may not read the other table
    if lab.kind == "postgresql":
        lab.local_server.sql(f"GRANT SELECT ON {room} TO {lab.local_user}")
    assert Session.source.verify() and Session.source.verify().dangling == []
    off, on = ("foreign_key_checks = 0", "foreign_key_checks = 1")
    if lab.kind == "postgresql":
        off, on = (f"session_replication_role = {role}" for role in ("replica", "DEFAULT"))
    run_sql(lab.local_server, [f"SET {off}", f"DELETE FROM {room} WHERE number IN (1, 4)", f"SET {on}"])
    result = Session.source.verify()
    assert not result and not result.differing and "8 dangling" in repr(result)
    tables = [f"{lab.local_schema}.session"] * 2 + [f"{lab.local_schema}.session__trial"] * 6
    assert [found.table for found in result.dangling] == tables
    assert [found.key for found in result.dangling[:2]] == [{"subject": n, "session": n} for n in (1, 4)]
    assert {found.key["trial"] for found in result.dangling[2:]} == {1}
    assert str(result.dangling[0]) == f"{result.dangling[0].key} of {tables[0]} refers to nothing in {room}"
    if lab.kind == "postgresql":
        return  # it drops the foreign keys as well
    run_sql(lab.local_server, [f"SET {off}", f"DROP TABLE {room}", f"SET {on}"])
    assert len(Session.source.verify().dangling) == 6 + 12
