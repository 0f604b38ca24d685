"""Ending a link: with the local tables, without them, and after the tables were dropped in another way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import datajoint as dj
import pytest
from figures import Figures
from lab import Lab
from pipelines import count_held, flag, granted, helper_rows, linked, rows, sessions, states
from test_changes import answering

from link import HelperMismatchError, LinkError, State, UnreachableError
from link.host import FreeTable
from link.model.states import START_DELETE
from link.work import ending

KEY = ("subject", "session")


def pulled(lab: Lab, number: int = 6) -> Any:
    Session = granted(lab, sessions(lab, number))
    assert Session.source.pull().pulled == number
    return Session


def local_tables(lab: Lab) -> set[str]:
    """The tables that the local schema has, but for DataJoint's and the link's own."""
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    return {name for (name,) in lab.local_server.sql(tables, lab.local_schema) if not name.startswith("~")}


def dependent(lab: Lab, linked_class: Any) -> Any:
    """A table of lab B's own that depends on the linked one."""

    class Total(dj.Manual):
        definition = "-> Session\n---\ntotal: float64"

    table: Any = lab.local.Schema(lab.local_schema)(Total, context={"Session": linked_class})
    table.insert1({"subject": 1, "session": 1, "total": 1.5})
    return table


def test_drop(either: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One question says what goes and what is released; then both are gone, and the class can begin anew."""
    lab = either
    Session = pulled(lab)
    dependent(lab, Session)
    flag(lab, "session = 2")
    tables = local_tables(lab)
    monkeypatch.setattr(dj.logger, "propagate", True)
    asked = answering(monkeypatch, "no")
    with caplog.at_level(logging.INFO, "datajoint"):
        Session.drop(prompt=True)
    assert len(asked) == 1
    for said in ("(6 tuples)", "(12 tuples)", "(1 tuples)", "5 holds at", "1 flagged there will become deprecated"):
        assert said in caplog.text
    assert local_tables(lab) == tables and len(Session()) == count_held(lab) == 6
    with pytest.raises(LinkError, match="with a restriction"):
        (Session & "session = 1").drop()
    assert answering(monkeypatch, "yes") == []
    Session.drop(prompt=True)
    assert local_tables(lab) == set()
    assert helper_rows(lab) == [("NONE", "TRUE", "TRUE")]
    # Used again, it is declared again, without a word: nothing is missing.
    caplog.clear()
    assert Session.source.status()[State.UNSHARED] == 5
    assert "made anew" not in caplog.text
    assert Session.source.pull().pulled == 5 and len(Session.Trial()) == 10


def test_drop_needs_the_source_and_leaves_all_without_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    Session = pulled(lab)

    def fail(*_: Any) -> None:
        raise UnreachableError("gone")

    monkeypatch.setattr(ending, "_mark_all", fail)
    with pytest.raises(UnreachableError):
        Session.drop(prompt=False)
    assert len(Session()) == 6 and set(states(lab, "session", *KEY).values()) == {State.SHARED}


class Crash(BaseException):
    """The process has ended here."""


@pytest.mark.parametrize("place", ["marked", "half", "dropped"])
def test_a_drop_that_is_killed(lab: Lab, place: str, figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was confirmed is finished by the next use: rows are gone before their holds."""
    Session = pulled(lab)
    flag(lab, "session = 2")
    quick: Any = FreeTable.drop_quick
    dropped: list[Any] = []

    def crash(*_: Any) -> None:
        raise Crash

    def drop_quick(table: Any) -> None:
        if len(dropped) == {"marked": 0, "half": 1}.get(place):
            raise Crash
        dropped.append(table)
        quick(table)

    with monkeypatch.context() as patch:
        patch.setattr(FreeTable, "drop_quick", drop_quick)
        patch.setattr(ending, "_release_all", crash)
        patch.setattr(ending, "CANCEL_DELETE", START_DELETE)  # nobody takes back what was marked
        with pytest.raises(Crash):
            Session.drop(prompt=False)
    assert count_held(lab) == 6
    figures.add("drops and releases killed", lab.kind)
    again = linked(lab, "Session")
    assert again.source.status()[State.SHARED] == 0
    assert again.source.pull("session < 0").pulled == 0
    assert len(again()) == 0 and helper_rows(lab) == [("NONE", "TRUE", "TRUE")]


@pytest.mark.parametrize("again", ["the same process", "another"])
@pytest.mark.parametrize("way", ["drop_quick", "schema", "sql"])
def test_tables_that_were_dropped_in_another_way(
    lab: Lab, way: str, again: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything works on, and says what is there; nothing is pulled again without a word."""
    Session = pulled(lab)
    assert Session.source.status()[State.SHARED] == 6
    if way == "drop_quick":
        Session.Trial().drop_quick()
        Session().drop_quick()
    elif way == "schema":
        lab.local.Schema(lab.local_schema).drop(prompt=False)
    else:
        lab.local_server.sql(f"DROP TABLE {lab.local_schema}.session__trial")
        lab.local_server.sql(f"DROP TABLE {lab.local_schema}.session")
    assert count_held(lab) == 6
    if again == "another":
        Session = linked(lab, "Session")
    with caplog.at_level(logging.WARNING, "link"):
        if way == "schema" and lab.kind == "mariadb":
            # The number by which the table was known is gone with the schema, and the server cannot be known for sure.
            with pytest.raises(HelperMismatchError, match="serves another local table"):
                Session.source.status()
            Session.source.moved(prompt=False)
        status = Session.source.status()
    assert "6 entities are held at the source" in caplog.text and "vanished='release'" in caplog.text
    assert (status[State.VANISHED], status[State.SHARED]) == (6, 0)
    assert len(Session()) == 0
    assert Session.source.pull("session = 1").pulled == 1
    assert "gone locally; pulling them again" in caplog.text
    Session.source.repair(vanished="release", dry_run=False)
    assert count_held(lab) == len(Session()) == 1 and len(Session.Trial()) == 2


def test_release(either: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Local rows stay, and are the lab's own; what the source has flagged it may delete."""
    lab = either
    Session = pulled(lab)
    flag(lab, "session = 2")
    monkeypatch.setattr(dj.logger, "propagate", True)
    asked = answering(monkeypatch, "no")
    with caplog.at_level(logging.INFO, "datajoint"):
        assert Session.source.release(prompt=True) == 0
    assert len(asked) == 1 and "6 holds at" in caplog.text and "stay, as your own" in caplog.text
    assert count_held(lab) == 6
    assert (Session.source & "session = 1").release("subject < 5", prompt=False) == 1
    assert states(lab, "session", *KEY)[1, 1] is State.UNHELD
    assert Session.source.release(prompt=False) == 5
    assert helper_rows(lab) == [("NONE", "TRUE", "TRUE")]
    assert len(Session()) == 6 and len(Session.Trial()) == 12
    status = Session.source.status()
    assert (status[State.UNHELD], status[State.SHARED], status[State.VANISHED]) == (5, 0, 0)
    assert Session.source.release(prompt=False) == 0
    # A later pull holds again what is there, but for what the source wants deleted.
    assert Session.source.pull().pulled == 0
    assert count_held(lab) == 6 and Session.source.status()[State.SHARED] == 5


@pytest.mark.parametrize("crash_after", [0, 1, 2])
def test_a_release_that_is_killed(
    lab: Lab, crash_after: int, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No local row is ever deleted, whatever is left of it and whoever goes on."""
    Session = pulled(lab)
    flag(lab, "session = 2")
    change, made = ending._change, list[int]()

    def changing(*args: Any) -> int:
        if len(made) == crash_after:
            raise Crash
        made.append(1)
        return change(*args)

    monkeypatch.setattr(ending, "_change", changing)
    with pytest.raises(Crash):
        Session.source.release(prompt=False)
    figures.add("drops and releases killed", lab.kind)
    operations: list[Callable[[], Any]] = [Session.source.status, Session.source.verify, Session.source.pull]
    for operation in operations:
        operation()
        assert len(rows(lab.local_server, f"{lab.local_schema}.session")) == 6
    found = states(lab, "session", *KEY)
    assert found.pop((2, 2)) is State.TAINTED and set(found.values()) == {State.SHARED}


def test_release_lets_go_of_what_a_pull_left(lab: Lab) -> None:
    """Rows in the hands of a run that has died, local or not."""
    Session = pulled(lab, 4)
    table = f"{lab.helper_schema}.{lab.helper_table}"
    lab.source_server.sql(f"UPDATE {table} SET process = 'PULL', _worker = 7 WHERE session < 2")
    for name in ("session__trial", "session"):
        lab.local_server.sql(f"DELETE FROM {lab.local_schema}.{name} WHERE session IN (0, 3)")
    assert Session.source.release(prompt=False) == 4
    assert count_held(lab) == 0 and len(Session()) == 2
