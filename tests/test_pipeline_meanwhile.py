"""What happens between the claims and the copies of a pull of several tables: other pulls, deletions, edits, flags."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

import datajoint as dj
import psutil
import psycopg2
import pymysql
import pytest
from children import CHILDREN, accounts
from diamond import Entity, Name, Servers, ancestors, descendants, made
from lab import Lab
from pipelines import wait_until

from link import Pipeline
from link.model.states import REST, HelperRow
from link.work import deletion
from link.work.reach import Reach
from link.work.transfer import Transfer

MADE = made()
FIRST, SECOND = ([name for name in MADE if name[0] == "D" and name[1][0] == a] for a in (0, 1))
SHARED = ancestors(MADE, FIRST) & ancestors(MADE, SECOND)
assert {table for table, _ in SHARED} == {"A", "C"}


@pytest.fixture
def servers(lab: Lab) -> Iterator[Servers]:
    """The diamond, filled at the source."""
    with ExitStack() as stack:
        found = Servers(lab, stack)
        found.put(False, MADE)
        yield found


def pull(servers: Servers, chosen: str) -> Any:
    lab_a = servers.lab_a
    return lab_a.pull(lab_a.source[servers.theirs["second"]].D & chosen)


def check(servers: Servers, chosen: list[Name]) -> None:
    """All that was chosen is here with what it stands on, and nothing else; all is at rest."""
    entities = servers.source_entities()
    expected = ancestors(entities, chosen)
    servers.check_safety()
    assert servers.local_entities() == {name: entities[name] for name in expected}
    assert servers.helper_rows() == dict.fromkeys(expected, REST)


# another pull of what is in the hands of one


def stop_before_copying(pipe: Connection, place: dict[str, Any], environment: dict[str, str]) -> None:
    """Pull, and stop when all is claimed and nothing copied."""
    os.environ |= environment
    patched: Any = Transfer
    move = patched.move
    local = dj.Instance(**place.pop("local"), use_tls=False, safemode=False)
    second = place.pop("second")

    def stopping(self: Any, *args: Any) -> None:
        patched.move = move
        pipe.send("stopping")
        os.kill(os.getpid(), signal.SIGSTOP)
        move(self, *args)

    patched.move = stopping
    lab_a = Pipeline(**place, connection=local, use_tls=False)
    lab_a.pull(lab_a.source[second].D & "a = 0")


@contextmanager
def stopped(servers: Servers) -> Iterator[psutil.Process]:
    """Another process, stopped between its claims and its copies; it must have ended in the end."""
    lab = servers.lab
    place = {
        "host": f"{lab.source_server.host}:{lab.source_server.port}",
        "schemas": servers.schemas,
        "helper_schema": lab.helper_schema,
        "second": servers.theirs["second"],
        "local": {
            "host": lab.local_server.host,
            "port": lab.local_server.port,
            "user": lab.local_user,
            "password": lab.local_password,
            "backend": lab.local_server.backend,
        },
    }
    ours, theirs = CHILDREN.Pipe(duplex=False)
    child = CHILDREN.Process(target=stop_before_copying, args=(theirs, place, accounts()))
    child.start()
    theirs.close()
    try:
        assert ours.recv() == "stopping"
        process = psutil.Process(child.pid)
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
        yield process
        child.join(60)
        assert child.exitcode is not None
    finally:
        if child.exitcode is None:
            child.kill()
        child.join()


@pytest.mark.parametrize("word", ["continue", "kill"])
def test_a_pull_waits_for_another(servers: Servers, word: str, caplog: pytest.LogCaptureFixture) -> None:
    """It says for whom; what a dead one had in hand it takes over."""
    caplog.set_level(logging.INFO, "link")
    with stopped(servers) as other:
        assert servers.helper_rows().keys() >= SHARED and not servers.local_names()
        failures: list[BaseException] = []

        def pulling() -> None:
            try:
                pull(servers, "a = 1")
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=pulling)
        thread.start()
        try:
            wait_until(lambda: not thread.is_alive() or "waiting" in caplog.text, 60)
            assert not failures
            time.sleep(0.5)
            assert thread.is_alive()
            assert servers.local_names() <= servers.helper_rows().keys()
        finally:
            other.send_signal(signal.SIGCONT if word == "continue" else signal.SIGKILL)
            thread.join(60)
        assert not thread.is_alive() and not failures
    told = [record.message for record in caplog.records if "waiting" in record.message]
    assert 0 < len(told) < 5 and all(any(f".{letter}" in line for letter in "AC") for line in told)
    check(servers, FIRST + SECOND)


# what people do between the claims and the copies of a pull


@contextmanager
def between(table: str, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do something when all is claimed, and before any entity of a table is copied."""
    move: Any = Transfer.move
    done = threading.Event()

    def moving(self: Any, *args: Any) -> None:
        if self.run.mapping.source.master.name == table and not done.is_set():
            done.set()
            action()
        move(self, *args)

    monkeypatch.setattr(Transfer, "move", moving)
    yield
    assert done.is_set()


def edit_reference(servers: Servers) -> None:
    """Let an entity, and a part row of another, refer to what nothing of the pull has referred to."""
    schema = servers.theirs["second"]
    servers.sql(servers.there, f"UPDATE {schema}.__d SET c = 3 WHERE a = 0 AND b = 0 AND d = 0")
    servers.sql(servers.there, f"UPDATE {schema}.__d__mark SET other = 3 WHERE a = 0 AND b = 1 AND d = 1 AND mark = 1")


def delete_by_sql(servers: Servers) -> None:
    """Delete here what stands on an A, and it, as somebody does who knows nothing of the source.

    Who is refused, since the pull has brought a row between the look and the deletion, looks again.
    """
    for left in reversed(range(10)):
        local = servers.local_entities()
        try:
            servers.take(True, descendants(local, [("A", (1,))] if ("A", (1,)) in local else []))
        except (pymysql.IntegrityError, psycopg2.IntegrityError):
            if not left:
                raise
        else:
            return


@pytest.mark.parametrize("action", [edit_reference, delete_by_sql])
def test_what_a_pull_stands_on_changes(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, action: Callable[[Servers], object]
) -> None:
    pull(servers, "FALSE")
    for table in ("a", "__d"):
        servers.clear()
        with between(table, lambda: action(servers), monkeypatch):
            pull(servers, "a = 0")
        check(servers, FIRST)


@pytest.mark.parametrize("table", ["a", "c", "__d"])
def test_somebody_deletes_here_meanwhile(servers: Servers, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    """What stands on an A, and it, by the class: what the pull needs of it is brought once more, and held."""
    lab, first = servers.lab, servers.theirs["first"]
    pull(servers, "a = 1")
    expected = ancestors(MADE, FIRST) | ancestors(MADE, SECOND) - descendants(MADE, [("A", (1,))])
    other = servers.pipeline(lab.instance(lab.local_server, lab.local_user, lab.local_password))
    with between(table, lambda: (other[first].A & "a = 1").delete(part_integrity="cascade"), monkeypatch):
        pull(servers, "a = 0")
    servers.check_safety()
    assert servers.local_names() == expected
    assert servers.helper_rows() == dict.fromkeys(expected, REST)


def test_somebody_pulls_into_new_tables_while_one_deletes(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """DataJoint had known nothing of them: it is begun anew, with their holds."""
    lab, first, local = servers.lab, servers.theirs["first"], servers.lab.local_server
    lab_a, others = servers.lab_a, servers.pipeline(lab.instance(local, lab.local_user, lab.local_password))
    lab_a.pull(lab_a.source[first].A)
    delete: Any = deletion._delete_patiently

    def pull_and_delete(*args: Any) -> Any:
        monkeypatch.setattr(deletion, "_delete_patiently", delete)
        others.pull(others.source[servers.theirs["second"]].D & "a = 1")
        return delete(*args)

    monkeypatch.setattr(deletion, "_delete_patiently", pull_and_delete)
    assert (lab_a[first].A & "a = 1").delete(part_integrity="cascade", prompt=False) == 1
    servers.check_safety()
    left = ({name for name in MADE if name[0] == "A"} | ancestors(MADE, SECOND)) - descendants(MADE, [("A", (1,))])
    assert servers.local_names() == left
    assert servers.helper_rows() == dict.fromkeys(left, REST)


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"], indirect=True)  # MySQL lets nobody make one then
def test_somebody_makes_a_table_while_one_deletes(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """When DataJoint has looked what depends on what: it is refused by the rows of a table that it knows nothing of."""
    lab, first, local = servers.lab, servers.theirs["first"], servers.lab.local_server
    pull(servers, "a = 1")
    classes: dict[str, Any] = {}
    schema = lab.instance(local, lab.local_user, lab.local_password).Schema(servers.ours["first"])
    schema.make_classes(into=classes)
    find: Any = Reach.find

    class Made(dj.Manual):
        definition = "-> B"

    extra: Any = Made

    def find_and_make(*args: Any) -> Any:
        monkeypatch.setattr(Reach, "find", find)
        made: Any = schema(extra, context=classes)
        made.insert1({"a": 1, "b": 0})
        return find(*args)

    monkeypatch.setattr(Reach, "find", find_and_make)
    assert (servers.lab_a[first].A & "a = 1").delete(part_integrity="cascade", prompt=False) == 1
    servers.check_safety()
    left = ancestors(MADE, SECOND) - descendants(MADE, [("A", (1,))])
    assert not extra() and servers.local_names() == left
    assert servers.helper_rows() == dict.fromkeys(left, REST)


def test_what_a_pull_stands_on_is_gone_from_here(servers: Servers) -> None:
    """What was deleted here, with what stands on it, by somebody who knows nothing of the source, comes again."""
    pull(servers, "a < 2")
    servers.take(True, descendants(servers.local_entities(), [("A", (2,))]))
    pull(servers, "a < 2")
    check(servers, FIRST + SECOND)


@pytest.mark.parametrize("flagged", [("A", (1,)), ("C", (0,)), ("D", (0, 1, 0))], ids="{0[0]}".format)
def test_a_flag_comes_meanwhile(servers: Servers, monkeypatch: pytest.MonkeyPatch, flagged: Name) -> None:
    """What stands on it is left out, unless it is here already, and comes when the flag is taken back."""
    free = {name for name in FIRST if flagged not in ancestors(MADE, [name])}
    pull(servers, "FALSE")
    for table in ("a", "c", "__d"):
        servers.clear()
        with between(table, lambda: servers.flag(flagged), monkeypatch):
            pull(servers, "a = 0")
        for _ in range(2):
            servers.check_safety()
            held, local = servers.helper_rows(), servers.local_entities()
            assert {row.process for row in held.values()} == {"NONE"}
            assert held[flagged] == HelperRow("NONE", "TRUE", "FALSE" if flagged in local else "TRUE")
            assert ancestors(MADE, free) <= local.keys() <= ancestors(MADE, FIRST)
            pull(servers, "a = 0")
        servers.flag(flagged, False)
        pull(servers, "a = 0")
        check(servers, FIRST)


def test_what_is_chosen_changes(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held cannot be deleted, but parts of it; what comes to the selection now is left to the next pull."""
    pull(servers, "FALSE")
    new = {("D", (0, 1, 7)): Entity((2, "new"), frozenset({(5, 3)}))}

    def change() -> None:
        servers.sql(servers.there, f"DELETE FROM {servers.theirs['second']}.__d__mark WHERE a = 0 AND d = 1")
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            servers.take(False, [("D", (0, 1, 1))])
        servers.put(False, new)

    with between("a", change, monkeypatch):
        pull(servers, "a = 0")
    servers.check_safety()
    entities = servers.source_entities()
    assert {name for name in servers.local_names() if name[0] == "D"} == set(FIRST)
    pull(servers, "a = 0")
    servers.check_safety()
    local = ancestors(entities, [*FIRST, *new]) | ancestors(MADE, FIRST)
    assert servers.local_entities() == {name: entities[name] for name in local}
    assert servers.helper_rows() == dict.fromkeys(local, REST)
