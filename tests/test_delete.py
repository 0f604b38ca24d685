"""Deleting: as DataJoint does it, with one prompt, and the source told; what fails or is declined changes nothing."""

from __future__ import annotations

import builtins
import functools
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import datajoint as dj
import pytest
from lab import Lab
from pipelines import contents, count_held, declare, everything, flag, granted, helper_rows, sessions, states, units
from recorder import Statement

from link import State, host
from link.errors import ConfigError, TransactionError, TransferError
from link.work import comparing, deletion, retry
from link.work.reach import Reach


class Prompts:
    """Answers every prompt and remembers them."""

    def __init__(self) -> None:
        self.answer = "no"
        self.asked: list[str] = []
        self.said: Callable[[], list[str]] = list
        self.before: list[list[str]] = []  # what had been said before each

    def __call__(self, prompt: str = "") -> str:
        self.asked.append(prompt)
        self.before.append(self.said())
        return self.answer


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Prompts]:
    answering = Prompts()
    monkeypatch.setattr(builtins, "input", answering)
    yield answering


def with_dependents(lab: Lab) -> tuple[Any, Any, Any]:
    """A linked table of ten sessions, a local computed table on it, and a manual one on its part."""
    Session = granted(lab, sessions(lab, 10))
    Session.source.pull()
    schema = lab.local.Schema(f"{lab.prefix}_analysis")

    class Rate(dj.Computed):
        definition = """
        -> Session
        ---
        total: float64
        """

        def make(self, key: Any, **_: Any) -> None:
            new: Any = self
            new.insert1({**key, "total": sum((Session.Trial & key).to_arrays("score"))})

    class Comment(dj.Manual):
        definition = """
        -> Session.Trial
        ---
        text: varchar(20)
        """

    context = {"Session": Session}
    rate: Any = schema(Rate, context=context)
    comment: Any = schema(Comment, context=context)
    rate.populate()
    comment.insert({**key, "text": "good"} for key in (Session.Trial & "trial = 1").keys())  # noqa: SIM118
    return Session, rate, comment


def test_prompt_and_cascade(lab: Lab, prompts: Prompts, caplog: pytest.LogCaptureFixture) -> None:
    Session, Rate, Comment = with_dependents(lab)
    assert len(Rate()) == len(Comment()) == 10
    assert (Rate & "session = 3").fetch1("total") == 6.125
    lab.local.config.safemode = True
    flag(lab, "session IN (1, 7)")
    before = everything(lab), contents(lab.local_server, f"{lab.prefix}_analysis")
    prompts.said = lambda: caplog.messages

    with caplog.at_level(logging.INFO, logger="datajoint"):
        assert (Session & "session < 4").delete() == 0
    assert len(prompts.asked) == 1
    assert (everything(lab), contents(lab.local_server, f"{lab.prefix}_analysis")) == before
    for table, number in ((Session, 4), (Session.Trial, 8), (Rate, 4), (Comment, 4)):
        assert f"{table.full_table_name} ({number} tuples)" in caplog.messages
    # What becomes of the holds is said before the answer, and nothing is completed or committed then.
    address = f"{lab.source_server.host}:{lab.source_server.port}"
    assert prompts.before[0][-2:] == [
        f"3 holds at {address} will be released",
        "1 flagged there will become deprecated: the source can delete them then",
    ]
    assert caplog.messages[len(prompts.before[0]) :] == ["Delete cancelled"]

    flag(lab, "session IN (1, 7)", "FALSE")
    caplog.clear()
    prompts.answer = "yes"
    with caplog.at_level(logging.INFO, logger="datajoint"):
        assert (Session & "session < 4").delete() == 4
    assert prompts.before[1][-1] == f"4 holds at {address} will be released"
    assert caplog.messages[len(prompts.before[1]) :] == ["Delete committed."]
    assert not any("completed" in message for message in caplog.messages)
    assert len(prompts.asked) == 2
    assert [len(table()) for table in (Session, Session.Trial, Rate, Comment)] == [6, 12, 6, 6]
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")] * 6
    # What is gone can be pulled again.
    assert Session.source.pull().pulled == 4


def test_no_prompt(lab: Lab, prompts: Prompts) -> None:
    Session = granted(lab, sessions(lab, 20))
    Session.source.pull()
    assert (Session & "session = 0").delete() == 1  # safemode is off
    lab.local.config.safemode = True
    assert (Session & "session = 1").delete(prompt=False) == 1
    assert (Session & {"session": 2}).delete(transaction=True, prompt=False, part_integrity="enforce") == 1
    assert (Session & dj.Top(5, "session DESC")).delete(prompt=False) == 5
    assert (Session & [{"session": 3}, {"session": 13}]).delete(prompt=False) == 2
    assert prompts.asked == []
    left = {(number % 10, number) for number in range(4, 15) if number != 13}
    assert {key for key, state in states(lab, "session", "subject", "session").items() if state is State.SHARED} == left
    assert count_held(lab) == 10 and len(Session.Trial()) == 20


@pytest.mark.parametrize("nobody", [EOFError, NotImplementedError], ids=["no terminal", "notebook that a program runs"])
def test_nobody_who_answers(lab: Lab, nobody: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks says so, and has done nothing."""
    Session, _, _ = with_dependents(lab)
    lab.source_server.sql(f"UPDATE {lab.source_schema}.session SET note = 'edited'")
    before = everything(lab)

    def unheard(prompt: str = "") -> str:
        raise nobody

    monkeypatch.setattr(builtins, "input", unheard)
    asking: dict[str, Callable[..., Any]] = {
        "Commit deletes?": (Session & "session = 1").delete,
        "Proceed?": Session().drop,
        "Release?": Session.source.release,
        "Delete these, and refresh?": functools.partial(Session.source.refresh, dependents="delete"),
    }
    for question, ask in asking.items():
        with pytest.raises(ConfigError, match=rf"Nobody answers(?s:.*){re.escape(question)}(?s:.*)prompt=False"):
            ask(prompt=True)
        assert everything(lab) == before


def test_delete_of_nothing(lab: Lab, prompts: Prompts) -> None:
    Session = granted(lab, sessions(lab, 3))
    Session.source.pull()
    before = everything(lab)
    assert (Session & "session = 99").delete(prompt=True) == 0
    assert (Session & []).delete(prompt=True) == 0
    assert (Session & "session = 99").delete_quick(get_count=True) == 0
    assert prompts.asked == []
    assert everything(lab) == before


def test_delete_quick(lab: Lab, prompts: Prompts) -> None:
    Unit = granted(lab, units(lab, 10))
    Unit.source.pull()
    flag(lab, "unit = 1")
    lab.local.config.safemode = True
    assert (Unit & "unit < 3").delete_quick(get_count=True) == 3
    assert (Unit & "unit = 3").delete_quick() is None
    assert prompts.asked == []
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")] * 6 + [("NONE", "TRUE", "TRUE")]
    assert dict(Unit.source.status()) == {state.value: 0 for state in State} | {
        State.SHARED.value: 6,
        State.UNSHARED.value: 3,
        State.DEPRECATED.value: 1,
    }


def test_delete_of_everything(lab: Lab) -> None:
    Unit = granted(lab, units(lab, 12_000))
    Unit.source.pull()
    flag(lab, "unit >= 11000")
    assert Unit().delete(prompt=False) == 12_000
    assert (len(Unit()), count_held(lab)) == (0, 1000)
    status = Unit.source.status()
    assert (status[State.UNSHARED], status[State.DEPRECATED]) == (11_000, 1000)


def test_rows_made_by_hand(lab: Lab) -> None:
    """Local rows that the source does not have, or does not hold, can be deleted as well."""
    Unit = granted(lab, units(lab, 3))
    Unit().insert([{"unit": 1}, {"unit": 77}])
    assert Unit.source.status()[State.LOCAL_ONLY] == Unit.source.status()[State.UNHELD] == 1
    assert Unit().delete(prompt=False) == 2
    assert (len(Unit()), count_held(lab)) == (0, 0)


def test_blocked_by_a_dependent(lab: Lab) -> None:
    """A dependent that DataJoint does not know of stops the deletion on both sides."""
    Unit = granted(lab, units(lab, 5))
    Unit.source.pull()
    other = f"{lab.prefix}_other"
    lab.local_server.sql(f"CREATE SCHEMA {other}")
    refers = f"FOREIGN KEY (unit) REFERENCES {lab.local_schema}.unit (unit)"
    lab.local_server.sql(f"CREATE TABLE {other}.note (unit INT PRIMARY KEY, {refers})")
    lab.local_server.sql(f"INSERT INTO {other}.note VALUES (2)")
    before = everything(lab)
    with pytest.raises(dj.DataJointError):
        Unit().delete(prompt=False)
    with pytest.raises(dj.DataJointError):
        Unit().delete_quick()
    assert everything(lab) == before
    assert not Unit.connection.in_transaction
    assert (Unit - "unit = 2").delete_quick(get_count=True) == 4
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")]


def test_not_within_a_transaction(lab: Lab) -> None:
    Unit = granted(lab, units(lab, 5))
    Unit.source.pull("unit < 3")
    before = everything(lab)
    with Unit.connection.transaction:
        for operation in (Unit().delete, Unit().delete_quick, Unit.source.pull):
            with pytest.raises(TransactionError):
                operation()
    assert everything(lab) == before


def test_parts_are_deleted_with_their_master_only(lab: Lab) -> None:
    Session = granted(lab, sessions(lab, 3))
    Session.source.pull()
    before = everything(lab)
    with pytest.raises(dj.DataJointError, match="master"):
        (Session.Trial & "trial = 0").delete(prompt=False)
    assert everything(lab) == before


def test_deleted_behind_our_back(lab: Lab) -> None:
    """Rows that another client has deleted locally are seen, and pulled again."""
    Session = granted(lab, sessions(lab, 10))
    Session.source.pull()
    plain: Any = lab.local.Schema(lab.local_schema, create_tables=False).get_table("session")
    (plain & "session < 2").delete(prompt=False)
    assert Session.source.status()[State.VANISHED] == 2
    assert Session.source.pull("session = 0").pulled == 1
    assert Session.source.pull().pulled == 1
    assert Session.source.status()[State.SHARED] == 10 and len(Session.Trial()) == 20


def test_row_that_comes_meanwhile(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody adds a row to what is being deleted: what was selected goes, what came stays."""
    Unit = granted(lab, units(lab, 10))
    Unit.source.pull("unit <> 5")
    keys_of = Reach.read
    insert = f"INSERT INTO {Unit.full_table_name} VALUES (5, 5 / 7.0)"
    coming = threading.Thread(target=lambda: lab.local_server.sql(insert))

    def meanwhile(*args: Any) -> Any:
        keys = keys_of(*args)
        coming.start()
        coming.join(0.5)
        return keys

    monkeypatch.setattr(Reach, "read", meanwhile)
    assert Unit().delete(prompt=False) == 9
    coming.join()
    assert list(Unit().to_arrays("unit")) == [5] and count_held(lab) == 0


def test_release_of_many(either: Lab, statements: list[Statement], monkeypatch: pytest.MonkeyPatch) -> None:
    """Much is let go of in one look at the helper table, and not more than was deleted."""
    monkeypatch.setattr(comparing, "FEW", 5)
    Unit = granted(either, units(either, 20))
    Unit.source.pull()
    flag(either, "unit = 1")
    statements.clear()
    assert (Unit & "unit < 12").delete(prompt=False) == 12
    table = f"{either.helper_schema}.{either.helper_table}"
    released = [s for s in statements if s.sql.startswith("DELETE") and table in re.sub('[`"]', "", s.sql)]
    assert len([s for s in released if "JSON_TABLE" not in s.sql and "unnest" not in s.sql]) == len(released) > 0
    found = states(either, "unit", "unit")
    expected = {n: State.UNSHARED if n < 12 else State.SHARED for n in range(20)} | {1: State.DEPRECATED}
    assert {unit: state for (unit,), state in found.items()} == expected


def test_release_of_many_beside_a_lock(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator has another helper row locked: nobody waits for that."""
    monkeypatch.setattr(comparing, "FEW", 5)
    monkeypatch.setattr(retry, "TRIES", 1)
    Unit = granted(lab, units(lab, 20))
    Unit.source.pull()
    with closing(lab.source_server.connect_raw()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {lab.helper_schema}.{lab.helper_table} SET is_flagged = 'TRUE' WHERE unit = 5")
        assert (Unit & "unit <> 5").delete(prompt=False) == 19
        cursor.execute("COMMIT")
    assert [row[:2] for row in helper_rows(lab)] == [("NONE", "TRUE")]


def test_release_of_many_beside_what_cannot_be_deleted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an interrupted deletion has left, and something local depends on, stays held."""
    monkeypatch.setattr(comparing, "FEW", 5)
    Unit = granted(lab, units(lab, 20))
    Unit.source.pull()
    dead = "process = 'DELETE', _worker = 4711"
    lab.source_server.sql(f"UPDATE {lab.helper_schema}.{lab.helper_table} SET {dead} WHERE unit = 3")
    hidden = f"hidden_{lab.prefix}"  # the local account has no rights there
    lab.local_server.sql(f"CREATE SCHEMA {hidden}")
    try:
        refers = f"FOREIGN KEY (unit) REFERENCES {lab.local_schema}.unit (unit)"
        lab.local_server.sql(f"CREATE TABLE {hidden}.dependent (unit INT PRIMARY KEY, {refers})")
        lab.local_server.sql(f"INSERT INTO {hidden}.dependent VALUES (3)")
        assert (Unit & "unit <> 3").delete_quick(get_count=True) == 19
        assert {k: s for (k,), s in states(lab, "unit", "unit").items() if s is not State.UNSHARED} == {
            3: State.RECEIVED_DELETE
        }
    finally:
        lab.local_server.sql(f"DROP TABLE {hidden}.dependent")
        lab.local_server.sql(f"DROP SCHEMA {hidden}")


class Name(dj.Manual):
    definition = "name: varchar(30)"


def test_not_a_part_of_what_is_selected(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where DataJoint's cascade misreads a restriction, nothing is deleted or released."""
    table = declare(lab, Name)
    table.insert({"name": name} for name in ("50%", "60", "70"))
    Linked = granted(lab, table)
    Linked.source.pull()
    before = everything(lab)
    with monkeypatch.context() as patched:
        patched.setattr(host, "seed", lambda table: table)  # as it is without our help
        with pytest.raises(TransferError, match="1 of the 2"):
            (Linked & [{"name": "50%"}, {"name": "60"}]).delete(prompt=False)
        with pytest.raises(TransferError, match="0 of the 1"):
            (Linked & "name = '50%'").delete(prompt=False)
    assert everything(lab) == before
    assert (Linked & "name = '50%'").delete(prompt=False) == 1
    assert (Linked & "name < '70'").delete(prompt=False) == count_held(lab) == 1


def test_percent_signs(lab: Lab) -> None:
    """In operators, patterns and values, of what is pulled and of what is deleted, with dependents and without."""
    Session, Rate, Comment = with_dependents(lab)
    assert (Session & "session % 2 = 0" & "session <> 4").delete(prompt=False) == 4
    assert [len(table()) for table in (Session, Session.Trial, Rate, Comment)] == [6, 12, 6, 6]
    assert (Session.source & "session % 4 = 0").pull().pulled == 2
    assert sorted(Session().to_arrays("session")) == [0, 1, 3, 4, 5, 7, 8, 9]
    assert (Session & "note LIKE 's%' AND note NOT LIKE '%4'" & "session % 4 = 0").delete(prompt=False) == 2
    assert sorted(Session().to_arrays("session")) == [1, 3, 4, 5, 7, 9] and count_held(lab) == 6

    table = declare(lab, Name)
    names = ["50%", "50%%", "50", "%", "%s", "%%s", "%(a)s"]
    table.insert({"name": name} for name in names)
    lab.helper_table = "name_outbound"
    Linked = granted(lab, table)
    for name in names:
        assert (Linked.source & {"name": name}).pull().pulled == 1, name
        assert (Linked & "name LIKE '%'" & {"name": name}).delete(prompt=False) == 1, name
    assert Linked.source.pull("name LIKE '50%'").pulled == 3
    assert (Linked & [{"name": "50%%"}, {"name": "50"}]).delete(prompt=False) == 2
    assert count_held(lab) == len(Linked()) == 1


def test_by_what_is_deleted_along(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restricted by dependents, parts and the table itself, which select nothing any more once some rows are gone."""
    monkeypatch.setattr(deletion, "KEYS_AT_ONCE", 2)
    Session, Rate, Comment = with_dependents(lab)
    assert (Session & (Comment & "session = 0")).delete(prompt=False) == 1
    assert (Session & (Rate & "session % 2 = 1" & "session < 6")).delete(prompt=False) == 3
    assert (Session & (Session.Trial & "session = 2")).delete(prompt=False) == 1
    assert (Session & (Session & "session = 4").proj()).delete(prompt=False) == 1
    assert [len(table()) for table in (Session, Session.Trial, Rate, Comment)] == [4, 8, 4, 4]
    Comment.delete(prompt=False)
    Rate.delete(prompt=False)
    Session.Trial.delete(prompt=False, part_integrity="ignore")
    assert (Session & (Session & "session > 6").proj()).delete_quick(get_count=True) == 3
    assert count_held(lab) == len(Session()) == 1


def test_order(lab: Lab, statements: list[Statement]) -> None:
    """Marked before the local rows are gone for good, released after that."""
    Session = granted(lab, sessions(lab, 10))
    Session.source.pull()
    flag(lab, "session = 1")
    statements.clear()
    assert (Session & "session < 4").delete(prompt=False) == 4
    steps = [step for step in (kind_of(lab, statement) for statement in statements) if step]
    assert steps == ["delete parts", "delete", "mark", "commit", "release", "deprecate"]


def kind_of(lab: Lab, statement: Statement) -> str | None:
    """Which step of a deletion a statement is."""
    there, here, sql = lab.source_server.port, lab.local_server.port, statement.sql.upper()
    if statement.port == there and sql.startswith("UPDATE"):
        return "mark" if "'DELETE'" in sql.split("WHERE")[0] else "deprecate"
    if statement.port == there and sql.startswith("DELETE"):
        return "release"
    if statement.port == here and sql.startswith("DELETE"):
        return "delete parts" if "TRIAL" in sql.split("WHERE")[0] else "delete"
    return "commit" if statement.port == here and sql.startswith("COMMIT") else None
