"""Errors in the middle of the work: Ctrl-C, lost connections, and what a user sees of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psutil
import pytest
from figures import Figures
from fleet import TestServer
from lab import Lab
from linking import admin, declare_session, linked
from pipelines import wait_until
from proxy import Proxy

import link
from link import LinkError, UnreachableError
from link.servers.session import Block, Form
from link.signals import BusyError, RowError

ROWS = 100_000
CHILD = """
import sys
import datajoint as dj
from link import link

host, source, helper, table, local, backend, port, user, password = sys.argv[1:]
here = dj.Instance("127.0.0.1", user, password, port=int(port), use_tls=False, backend=backend)

@link(host, source, helper, table, local, connection=here, use_tls=False)
class Session:
    pass

print("ready", flush=True)
Session().source.pull()
print("done", flush=True)
"""


def fill(lab: Lab, rows: int) -> None:
    """A source table of many rows, made by the server itself."""
    digits = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))
    places = len(str(rows)) - 1
    number = " + ".join(f"d{p}.n * {10**p}" for p in range(places))
    tables = ", ".join(f"({digits}) AS d{p}" for p in range(places))
    admin(
        lab,
        'CREATE TABLE "{source}"."session" (session int PRIMARY KEY, note varchar(255) NOT NULL)',
        f'INSERT INTO "{{source}}"."session" SELECT {number}, REPEAT(\'x\', 200) FROM {tables}',
    )
    lab.grant("session")


def count(lab: Lab) -> int:
    """Rows of the local table; 0 while there is none."""
    with closing(lab.local_server.connect_raw()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM information_schema.tables WHERE table_schema = %s", (lab.local_schema,))
        if not cursor.fetchall():
            return 0
        cursor.execute(f"SELECT COUNT(*) FROM {lab.local_schema}.session")
        return int(cursor.fetchone()[0])


def helper_rows(lab: Lab, where: str) -> int:
    """Rows of the helper table."""
    query = f"SELECT COUNT(*) FROM {lab.helper_schema}.{lab.helper_table} WHERE {where}"
    return int(lab.source_server.sql(query)[0][0])


def start_pull(lab: Lab, rows: int, port: int = 0) -> subprocess.Popen[str]:
    """A real process that pulls, by way of a port where one is given; returns when it has pulled so many rows."""
    names = [lab.source_schema, lab.helper_schema, lab.helper_table, lab.local_schema]
    here = [lab.local_server.backend, str(port or lab.local_server.port), lab.local_user, lab.local_password]
    host = f"127.0.0.1:{lab.source_server.port}"
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD, host, *names, *here],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"DJ_LOG_LEVEL": "WARNING", "DJ_LOG_STREAM": "stderr"},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 60
    while count(lab) < rows and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    return child


def test_ctrl_c_in_the_middle_of_a_pull(lab: Lab) -> None:
    fill(lab, ROWS)
    child = start_pull(lab, 5_000)
    child.send_signal(signal.SIGINT)
    said, complaints = child.communicate(timeout=60)
    assert (said, child.returncode) == ("", -signal.SIGINT)
    pulled = count(lab)
    assert 5_000 <= pulled < ROWS
    # One line says what happened; the traceback is that of the caller, without threads or errors of drivers.
    (line,) = [line for line in complaints.splitlines() if "Session: interrupted" in line]
    assert "the next pull goes on" in line
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    assert "Exception in thread" not in complaints
    assert "During handling" not in complaints and "direct cause" not in complaints
    assert lab.link_password not in complaints and lab.local_password not in complaints
    # What was only claimed has been let go, the chunk in hand included: held is what is local.
    assert pulled == helper_rows(lab, "1 = 1") == helper_rows(lab, "process = 'NONE'")
    table = linked(lab)
    result = table().source.pull()
    assert (result.pulled, result.shared) == (ROWS - pulled, pulled)
    assert len(table()) == helper_rows(lab, "process = 'NONE'") == helper_rows(lab, "1 = 1") == ROWS


@pytest.mark.parametrize("kind", ["mariadb", "mysql"], indirect=True)
def test_ctrl_c_while_rows_are_being_sent(lab: Lab) -> None:
    """Half of a statement is on the wire, of which the server waits for the rest: nothing else is sent behind it."""
    admin(
        lab,
        'CREATE TABLE "{source}"."session" (session int PRIMARY KEY, note longtext NOT NULL)',
        *(f'INSERT INTO "{{source}}"."session" VALUES ({n}, REPEAT(\'x\', 7000000))' for n in range(3)),
    )
    lab.grant("session")
    wire = Proxy(lab.local_server.host, lab.local_server.port, most=1_000_000)
    child = start_pull(lab, 0, wire.port)
    try:
        assert wire.full.wait(60)
        child.send_signal(signal.SIGINT)
        said, complaints = child.communicate(timeout=60)
    finally:
        child.kill()
        child.communicate()
        wire.close()
    assert (said, child.returncode) == ("", -signal.SIGINT), complaints
    assert "Session: interrupted" in complaints and "During handling" not in complaints, complaints
    assert count(lab) == helper_rows(lab, "1 = 1") == 0
    assert linked(lab)().source.pull().pulled == 3


def test_ctrl_c_twice_in_a_row(lab: Lab) -> None:
    fill(lab, ROWS)
    child = start_pull(lab, 1)
    child.send_signal(signal.SIGINT)
    time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    assert said == ""
    assert child.returncode != 0
    table = linked(lab)
    table().source.pull()
    assert len(table()) == helper_rows(lab, "process = 'NONE'") == helper_rows(lab, "1 = 1") == ROWS


@pytest.mark.parametrize("where", ["source", "local"])
def test_ctrl_c_while_a_statement_waits(lab: Lab, where: str) -> None:
    """For what others have locked, and keep locked: it is stopped at once, and all is at rest."""
    declare_session(lab, rows=10)
    table = linked(lab)
    (table().source & "session < 3").pull()
    server = lab.source_server if where == "source" else lab.local_server
    locked = f"{lab.source_schema if where == 'source' else lab.local_schema}.session"
    with closing(server.connect_raw()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        if where == "source":
            cursor.execute(f"SELECT * FROM {locked} WHERE session = 5 FOR UPDATE")
        else:
            cursor.execute(f"INSERT INTO {locked} (session, note) VALUES (5, 'of somebody else')")
        child = start_pull(lab, 0)
        wait_until(lambda: child.poll() is not None or server.waits(lab.link_user) or server.waits(lab.local_user))
        started = time.monotonic()
        child.send_signal(signal.SIGINT)
        said, complaints = child.communicate(timeout=60)
        assert (said, child.returncode) == ("", -signal.SIGINT), complaints
        assert "Session: interrupted" in complaints and "During handling" not in complaints, complaints
        assert complaints.count('  File "') < 8, complaints
        assert "QueryCanceled" not in complaints and time.monotonic() - started < 30  # where they wait for 50
        cursor.execute("ROLLBACK")
    assert count(lab) == helper_rows(lab, "1 = 1") == helper_rows(lab, "process = 'NONE'") == 3
    assert table().source.pull().pulled == 7


DELETING = """
import logging, os, signal, sys, time, traceback
import datajoint as dj
from link import link
from link.work import deletion

logging.basicConfig(stream=sys.stdout, format="%(name)s: %(message)s", level=logging.WARNING)
dj.logger.propagate = False
host, source, helper, table, local, backend, port, user, password = sys.argv[1:]
here = dj.Instance("127.0.0.1", user, password, port=int(port), use_tls=False, backend=backend)

@link(host, source, helper, table, local, connection=here, use_tls=False)
class Session:
    pass

def once_committed(*_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

Session().source.pull()
print("ready", flush=True)
while line := sys.stdin.readline():
    try:
        exec(line)
    except KeyboardInterrupt:
        print(traceback.format_exc())
    print("done", flush=True)
"""


def until(child: subprocess.Popen[str], end: str) -> str:
    """What a child says, up to some words."""
    assert child.stdout
    said = ""
    while not said.endswith(end):
        said += (read := child.stdout.read(1))
        assert read, said
    return said


def test_ctrl_c_in_a_deletion(lab: Lab, figures: Figures) -> None:
    """At the prompt, while rows are deleted, while the source is told, and after that: what was done is said."""
    declare_session(lab, rows=10)
    names = [lab.source_schema, lab.helper_schema, lab.helper_table, lab.local_schema]
    here = [lab.local_server.backend, str(lab.local_server.port), lab.local_user, lab.local_password]
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", DELETING, f"127.0.0.1:{lab.source_server.port}", *names, *here],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"DJ_LOG_LEVEL": "WARNING", "DJ_LOG_STREAM": "stderr"},
    )

    guard = threading.Timer(120, child.kill)  # then what it has said is shown
    guard.start()

    def interrupt(order: str, locked: tuple[TestServer, str] | None = None, when: str = "") -> str:
        """Let the child delete, and interrupt it: at some words, or while it waits for a row that is locked."""
        assert child.stdin
        with contextlib.ExitStack() as stack:
            if locked:
                cursor = stack.enter_context(stack.enter_context(closing(locked[0].connect_raw())).cursor())
                cursor.execute("BEGIN")
                cursor.execute(f"SELECT * FROM {locked[1]} WHERE session = 3 FOR UPDATE")
            child.stdin.write(f"{order}\n")
            child.stdin.flush()
            if when:
                until(child, when)
                wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_SLEEPING)  # until it reads
            if locked:
                wait_until(lambda: locked[0].waits(lab.local_user) or locked[0].waits(lab.link_user))
            if when or locked:
                child.send_signal(signal.SIGINT)
            return until(child, "done\n")

    until(child, "ready\n")
    local, helper = f"{lab.local_schema}.session", f"{lab.helper_schema}.{lab.helper_table}"
    for said in (
        interrupt("(Session & 'session < 5').delete(prompt=True)", when="Commit deletes? [yes, No]: "),
        interrupt("(Session & 'session < 5').delete(prompt=False)", (lab.local_server, local)),
        interrupt("(Session & 'session < 5').delete(prompt=False)", (lab.source_server, helper)),
    ):
        assert said.count("link: Session: interrupted; nothing was deleted\n") == 1, said
        assert said.rstrip().endswith("KeyboardInterrupt\n\ndone")
        assert "During handling" not in said and "direct cause" not in said
        assert said.count('  File "') < 8, said  # the caller's lines, and hardly any of ours
        assert count(lab) == helper_rows(lab, "process = 'NONE'") == 10
    said = interrupt("deletion._release = once_committed; (Session & 'session < 5').delete(prompt=False)")
    assert "interrupted; 5 entities were deleted here, and the next operation tells the source\n" in said
    assert (count(lab), helper_rows(lab, "process = 'DELETE'")) == (5, 5)
    child.communicate(timeout=60)
    guard.cancel()
    table = linked(lab)
    assert table().source.pull("session = 9").pulled == 0
    assert helper_rows(lab, "1 = 1") == 5
    figures.add("a deletion interrupted by Ctrl-C", lab.kind, 4)


def test_an_error_of_the_reader_is_not_hidden_by_the_loader(lab: Lab) -> None:
    declare_session(lab)
    ends = linked(lab)._link.open()
    here = ends.mapping.local.master
    form = Form(ends.local.dialect.language_from(ends.source.dialect))

    def broken_off(error: BaseException) -> Iterator[Block]:
        yield from ()
        raise error

    for error in (UnreachableError("The source is gone."), KeyboardInterrupt()):
        with (
            closing(ends.local.open()) as connection,
            pytest.raises(type(error)) as raised,
            connection.transaction(),
        ):
            connection.load(here, broken_off(error), form)
        assert raised.value is error


# what modules tell one another, and no user


def refusing(lab: Lab, event: str, table: str) -> None:
    """A trigger at the source that says no to a change of a table."""
    if lab.kind == "postgresql":
        lab.source_server.sql(
            f"CREATE FUNCTION {lab.helper_schema}.refuse() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$"
        )
        lab.source_server.sql(
            f"CREATE TRIGGER refuse BEFORE {event} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {lab.helper_schema}.refuse()"
        )
    else:
        lab.source_server.sql(
            f"CREATE TRIGGER {lab.helper_schema}.refuse BEFORE {event} ON {table} FOR EACH ROW "
            "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not today'"
        )


OPERATIONS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "pull": ("INSERT", lambda table: table.source.pull()),
    "delete": ("UPDATE", lambda table: table().delete(prompt=False)),
    "delete_quick": ("UPDATE", lambda table: table().delete_quick()),
    "repair": ("UPDATE", lambda table: table.source.repair(dry_run=False)),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_the_source_refuses_is_an_error_of_the_tree(lab: Lab, operation: str) -> None:
    """A trigger of the source's people says no: the user gets its words, and an error that she can import."""
    event, operate = OPERATIONS[operation]
    declare_session(lab)
    table = linked(lab)
    table()
    if event == "UPDATE":
        table.source.pull()
        lab.source_server.sql(f"UPDATE {lab.helper_schema}.{lab.helper_table} SET process = 'PULL' WHERE session = 1")
    refusing(lab, event, f"{lab.helper_schema}.{lab.helper_table}")
    with pytest.raises(LinkError, match="not today") as raised:
        operate(table)
    assert type(raised.value).__name__ in link.__all__
    assert not isinstance(raised.value, (RowError, BusyError))


def test_a_query_at_a_stopped_source_is_told_in_our_words(lab: Lab, source_server: TestServer) -> None:
    """What DataJoint's own connection meets while the source is browsed."""
    declare_session(lab)
    table = linked(lab)
    assert len(table.source) == 3
    source_server.stop()
    for browse in (len, lambda source: source.to_dicts(), lambda source: source.pull(), repr):
        with pytest.raises(LinkError) as raised:
            browse(table.source & "session < 2")
        assert type(raised.value).__name__ in link.__all__, raised.value
    source_server.start()
    assert len(table.source & "session < 2") == 2
