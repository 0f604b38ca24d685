"""Servers that restart, connections that break or hang, locks that others hold, hands that change things meanwhile.

Ctrl-C is in test_errors.py, kills of the process itself in test_crash.py.
"""

from __future__ import annotations

import itertools
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import datajoint as dj
import pytest
from figures import Figures
from fleet import TestServer
from lab import Lab
from pipelines import (
    assert_same,
    count_held,
    flag,
    granted,
    helper_rows,
    run_sql,
    series,
    sessions,
    states,
    units,
)
from proxy import Proxy
from test_crash import NUMBER, declare_sessions

from link import LockedError, State, UnreachableError
from link.servers import mysql_session, postgresql_session, settings
from link.servers.session import Block
from link.work import claims, deletion, loader, retry, run

REST = ("NONE", "FALSE", "FALSE")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten chunks of a hundred rows, in blocks of a few rows."""
    for name in ("FIRST_CHUNK_ROWS", "CHUNK_ROWS"):
        monkeypatch.setattr(claims, name, 10)
    for connection in (mysql_session.MySQLSession, postgresql_session.PostgreSQLSession):
        monkeypatch.setattr(connection, "block_bytes", 100)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions wait for a lock for one second, and try three times; lost servers are given up at once."""
    monkeypatch.setattr(retry, "TRIES", 3)
    monkeypatch.setattr(run, "PAUSES", (0.01, 0.1))
    for name in ("MYSQL", "MARIADB", "POSTGRESQL"):
        known = getattr(settings, name)
        hurried = {"innodb_lock_wait_timeout": "1", "lock_timeout": "'1s'"}
        monkeypatch.setattr(settings, name, [s._replace(value=hurried.get(s.name, s.value)) for s in known])


class Wires:
    """A lab's link through a proxy to each server."""

    def __init__(self, lab: Lab) -> None:
        self.source, self.local = (Proxy(s.host, s.port) for s in (lab.source_server, lab.local_server))
        self._lab = lab
        self.instance = dj.Instance(
            "127.0.0.1",
            lab.local_user,
            lab.local_password,
            port=self.local.port,
            use_tls=False,
            backend=lab.local_server.backend,
            safemode=False,
        )

    def linked(self, table: Any) -> Any:
        return granted(self._lab, table, host=f"127.0.0.1:{self.source.port}", connection=self.instance)

    def cut(self, proxy: Proxy) -> None:
        """Break what is there; what comes then gets through."""
        proxy.cut()
        proxy.mend()

    def close(self) -> None:
        self.instance.connection.close()
        for proxy in (self.source, self.local):
            proxy.close()


@pytest.fixture
def wires(lab: Lab) -> Iterator[Wires]:
    through = Wires(lab)
    yield through
    through.close()


def at_chunk(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object]) -> None:
    """Do something just before the n-th chunk is loaded."""
    load, chunks = loader.Loader.load, iter(range(1, 10_000))

    def wrapped(self: Any, reading: Any) -> int:
        if next(chunks) == number:
            action()
        return load(self, reading)

    monkeypatch.setattr(loader.Loader, "load", wrapped)


def assert_all_shared(lab: Lab, table: Any, number: int, *parts: str) -> None:
    assert helper_rows(lab) == [REST] * number
    assert_same(lab, table, *parts)


# servers that go


@pytest.mark.parametrize("way", ["restart", "kill"])
@pytest.mark.usefixtures("small_chunks")
def test_servers_restart_in_mid_pull(lab: Lab, way: str, monkeypatch: pytest.MonkeyPatch, figures: Figures) -> None:
    table = sessions(lab, 100)
    Session = granted(lab, table)
    Session()

    def lose(server: TestServer) -> None:
        server.kill() if way == "kill" else server.stop()
        threading.Timer(1, server.start).start()

    at_chunk(monkeypatch, 3, lambda: lose(lab.source_server))
    at_chunk(monkeypatch, 9, lambda: lose(lab.local_server))
    result = Session.source.pull()
    assert 90 <= result.pulled <= 100 and result.pulled + result.shared == 100
    assert_all_shared(lab, table, 100, "trial")
    figures.add("restarts of a server survived", lab.kind, 2)


@pytest.mark.usefixtures("small_chunks")
def test_cut_in_mid_statement(lab: Lab, wires: Wires, monkeypatch: pytest.MonkeyPatch, figures: Figures) -> None:
    """Cut while rows are on their way: to the local server, from the source."""
    table = sessions(lab, 100, trials=5)
    Session = wires.linked(table)
    Session()
    load, stream = (getattr(link_class(lab), name) for name in ("load", "stream"))
    cuts: list[Proxy] = []

    def cutting(proxy: Proxy, blocks: list[Block]) -> None:
        if len(blocks) == 2 and len(cuts) < 6:
            cuts.append(proxy)
            wires.cut(proxy)

    def loading(self: Any, here: Any, blocks: Any, form: Any) -> Any:
        seen: list[Block] = []

        def passed() -> Iterator[Block]:
            for block in blocks:
                seen.append(block)
                yield block
                cutting(wires.local, seen)

        return load(self, here, passed(), form)

    def streaming(self: Any, there: Any, source: Any, form: Any, emit: Any) -> Any:
        seen: list[Block] = []

        def emitting(block: Block) -> None:
            seen.append(block)
            emit(block)
            if len(cuts) % 2:
                cutting(wires.source, seen)

        return stream(self, there, source, form, emitting)

    monkeypatch.setattr(link_class(lab), "load", loading)
    monkeypatch.setattr(link_class(lab), "stream", streaming)
    monkeypatch.setattr(run, "PAUSES", (0.05,) * 10)
    result = Session.source.pull()
    assert {wires.source, wires.local} == set(cuts)
    assert result.pulled == 100 and not result.differing
    assert_all_shared(lab, table, 100, "trial")
    figures.add("cuts in mid-statement survived", lab.kind, len(cuts))


def link_class(lab: Lab) -> Any:
    return postgresql_session.PostgreSQLSession if lab.kind == "postgresql" else mysql_session.MySQLSession


@pytest.mark.usefixtures("small_chunks")
def test_cut_again_and_again(lab: Lab, wires: Wires, monkeypatch: pytest.MonkeyPatch, figures: Figures) -> None:
    """As long as it gets on, it does not give up."""
    table = sessions(lab, 600)
    Session = wires.linked(table)
    Session()
    monkeypatch.setattr(run, "PAUSES", (0.01, 0.1, 0.2, 0.5, 1))
    cuts, stop, chance = 0, threading.Event(), random.Random(0)

    def cut() -> None:
        """Cut whenever more has arrived since the last time, however fast that is."""
        nonlocal cuts
        seen = 0
        with closing(lab.local_server.connect_raw()) as connection, connection.cursor() as cursor:
            while not stop.wait(0.02):
                cursor.execute(f"SELECT COUNT(*) FROM {lab.local_schema}.session")
                arrived = cursor.fetchone()[0]
                if arrived > seen:
                    time.sleep(chance.random() / 12)
                    wires.cut((wires.source, wires.local)[cuts % 2])
                    seen, cuts = arrived, cuts + 1

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        Session.source.pull()
    finally:
        stop.set()
        cutter.join()
    assert cuts > 3
    assert_all_shared(lab, table, 600, "trial")
    figures.add("cuts in mid-pull survived", lab.kind, cuts)


def test_source_down_from_the_start(lab: Lab, wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    """No patience before anything was done: most likely the address is wrong, or the server down for long."""
    Session = wires.linked(sessions(lab, 3))
    wires.source.cut()
    attempts: list[Callable[[], Any]] = [lambda: Session.source.pull(), lambda: Session().delete()]
    for attempt in attempts:
        with pytest.raises(UnreachableError, match=f"127.0.0.1:{wires.source.port}") as caught:
            attempt()
        assert lab.link_password not in str(caught.value)
    wires.source.mend()
    assert Session.source.pull().pulled == 3
    wires.source.cut()
    for attempt in attempts:
        with pytest.raises(UnreachableError):
            attempt()
    assert "trying again" not in caplog.text.lower()
    wires.source.mend()
    assert len(Session()) == count_held(lab) == 3


@pytest.mark.usefixtures("small_chunks", "impatient")
@pytest.mark.parametrize("end", ["source", "local"])
def test_server_that_does_not_come_back(
    lab: Lab, wires: Wires, end: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a bounded time an error that says which server; what was done stays, and is said."""
    table = sessions(lab, 100)
    Session = wires.linked(table)
    Session()
    lost = wires.source if end == "source" else wires.local
    at_chunk(monkeypatch, 4, lost.cut)
    with caplog.at_level(logging.INFO, "link"), pytest.raises(UnreachableError, match=str(lost.port)):
        Session.source.pull()
    assert caplog.text.count("Trying again in") == len(run.PAUSES) and "stopped: pulled" in caplog.text
    assert lab.link_password not in caplog.text and lab.local_password not in caplog.text
    lost.mend()
    done = int(lab.local_server.sql(f"SELECT COUNT(*) FROM {lab.local_schema}.session")[0][0])
    assert 30 <= done < 100
    result = Session.source.pull()
    assert result.pulled + done == 100 and result.shared == done
    assert_all_shared(lab, table, 100, "trial")


# connections that hang


def test_connections_notice_a_dead_peer(lab: Lab) -> None:
    """The options that make the system ask whether the other end is there, on every session of a run."""
    Unit = granted(lab, units(lab, 1))
    Unit()
    for server in (Unit._link.connect_source(), Unit._link.connect_local()):
        with closing(server.open()) as connection:
            raw = connection._connection
            number = raw.fileno() if lab.kind == "postgresql" else raw._sock.fileno()
            with socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as wire:
                assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
                assert [wire.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [30, 10, 3, 120_000]
            if lab.kind == "postgresql":
                # The server looks for us as well, so that what a lost laptop had in hand is soon free.
                assert connection.query("SHOW tcp_keepalives_idle") == [("30",)]


@pytest.mark.usefixtures("small_chunks")
def test_laptop_sleeps(lab: Lab, wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while nothing comes through, either way; then all does."""
    table = sessions(lab, 100)
    Session = wires.linked(table)
    Session()

    def sleep() -> None:
        wires.source.delay_ms = wires.local.delay_ms = 2000
        threading.Timer(1, wake).start()

    def wake() -> None:
        wires.source.delay_ms = wires.local.delay_ms = 0

    at_chunk(monkeypatch, 3, sleep)
    started = time.monotonic()
    assert Session.source.pull().pulled == 100
    assert time.monotonic() - started > 1.9
    assert_all_shared(lab, table, 100, "trial")


# locks


@pytest.mark.usefixtures("impatient")
def test_locked_helper_row(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has a transaction open on a helper row: for a while is waited for; for long is an error, in time."""
    Unit = granted(lab, units(lab, 10))
    Unit.source.pull()
    helper = f"{lab.helper_schema}.{lab.helper_table}"
    with closing(lab.source_server.connect_raw()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {helper} SET is_flagged = 'TRUE' WHERE unit = 3")
        with pytest.raises(LockedError, match="Another session holds the same rows"):
            (Unit & "unit < 5").delete()
        assert len(Unit()) == 10
        monkeypatch.setattr(retry, "TRIES", 60)
        timer = threading.Timer(1.5, lambda: cursor.execute("COMMIT"))
        timer.start()
        assert (Unit & "unit < 5").delete() == 5
        timer.join()
    found = states(lab, "unit", "unit")
    assert found[3,] is State.DEPRECATED and found[4,] is State.UNSHARED and found[5,] is State.SHARED


@pytest.mark.usefixtures("impatient", "small_chunks")
def test_locked_source_row(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has a row at the source locked, so that it cannot be held: the pull waits, or says so in time."""
    table = units(lab, 100)
    Unit = granted(lab, table)
    Unit()
    with closing(lab.source_server.connect_raw()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT * FROM {lab.source_schema}.unit WHERE unit = 55 FOR UPDATE")
        with pytest.raises(LockedError, match="Another session holds the same rows"):
            Unit.source.pull()
        monkeypatch.setattr(retry, "TRIES", 60)
        timer = threading.Timer(1.5, lambda: cursor.execute("COMMIT"))
        timer.start()
        Unit.source.pull()
        timer.join()
    assert_all_shared(lab, table, 100)


@pytest.mark.usefixtures("impatient")
def test_deadlock(lab: Lab) -> None:
    """Whoever the server chooses to go on: the deletion happens, once."""
    Unit = granted(lab, units(lab, 200))
    Unit.source.pull()
    helper = f"{lab.helper_schema}.{lab.helper_table}"
    with closing(lab.source_server.connect_raw()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {helper} SET is_flagged = 'TRUE' WHERE unit = 150")
        thread = threading.Thread(target=lambda: Unit().delete())
        thread.start()
        time.sleep(0.5)
        try:
            cursor.execute(f"UPDATE {helper} SET is_flagged = 'TRUE' WHERE unit = 5")
            cursor.execute("COMMIT")
        except Exception:
            cursor.execute("ROLLBACK")
        thread.join()
    if len(Unit()):
        Unit().delete()
    assert set(states(lab, "unit", "unit").values()) <= {State.UNSHARED, State.DEPRECATED}


# deletions


@pytest.mark.usefixtures("impatient")
def test_source_lost_after_the_local_commit(
    lab: Lab, wires: Wires, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Session = wires.linked(sessions(lab, 10))
    Session.source.pull()
    flag(lab, "session = 1")
    commit = deletion._commit

    def losing(*args: Any) -> None:
        commit(*args)
        wires.source.cut()

    monkeypatch.setattr(deletion, "_commit", losing)
    with pytest.raises(UnreachableError, match="3 entities of Session were deleted here"):
        (Session & "session < 3").delete()
    assert len(Session()) == 7 and count_held(lab) == 10
    wires.source.mend()
    assert Session.source.status()[State.ACTIVATED_DELETE] == 3
    Session.source.pull("session = 9")
    found = states(lab, "session", "subject", "session")
    assert [found[n, n] for n in range(4)] == [State.UNSHARED, State.DEPRECATED, State.UNSHARED, State.SHARED]

    # A short loss is made up for at once.
    def losing_shortly(*args: Any) -> None:
        commit(*args)
        wires.cut(wires.source)

    monkeypatch.setattr(deletion, "_commit", losing_shortly)
    assert (Session & "session = 5").delete() == 1
    assert count_held(lab) == 7
    assert "trying again to tell the source" in caplog.text


def test_local_server_lost_in_mid_delete(lab: Lab, wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever statement, nothing is deleted; what was to be committed is by the next deletion.

    DataJoint takes no notice of a lost connection while it reads lineage, and goes on with a new one.
    """
    table = declare_sessions(lab)
    linked = wires.linked(table)
    linked.source.pull()
    wires.cut(wires.local)
    assert len(linked()) == NUMBER
    query = dj.Connection.query
    statements: list[str] = []
    last = 0

    def losing(self: Any, sql: str, *args: Any, **kwargs: Any) -> Any:
        if self is wires.instance.connection:
            statements.append(sql)
            if len(statements) == last:
                wires.cut(wires.local)
        return query(self, sql, *args, **kwargs)

    monkeypatch.setattr(dj.Connection, "query", losing)
    # Of two statements one: what DataJoint reads in vain it reads twice.
    for last in itertools.count(1, 2):
        statements.clear()
        try:
            linked().delete()
        except UnreachableError:
            assert_same(lab, table, "event", "trial")
            is_marked = statements[last - 1] == "COMMIT"
            assert helper_rows(lab) == [("DELETE" if is_marked else "NONE", "FALSE", "FALSE")] * NUMBER
        else:
            break
    assert last > len(statements)
    assert sum("DELETE" in sql for sql in statements) == 3
    begun = next(n for n, sql in enumerate(statements) if sql.startswith(("START", "BEGIN")))
    assert any("~lineage" in sql for sql in statements[begun:])
    last = 0
    assert (len(linked()), count_held(lab)) == (0, 0)


# hands


def test_local_backup_restored(lab: Lab) -> None:
    """Rows that had been deleted are back without a hold, later ones are gone though held."""
    table = sessions(lab, 30)
    Session = granted(lab, table)
    local = f"{lab.local_schema}.session"
    Session.source.pull("session < 20")
    run_sql(
        lab.local_server,
        [f"CREATE TABLE {local}_b{n} AS SELECT * FROM {t}" for n, t in enumerate((local, f"{local}__trial"))],
    )
    flag(lab, "session = 1")
    (Session & "session < 5").delete()
    Session.source.pull("session >= 20")
    run_sql(
        lab.local_server,
        [
            *(f"DELETE FROM {t}" for t in (f"{local}__trial", local)),
            *(f"INSERT INTO {t} SELECT * FROM {local}_b{n}" for n, t in enumerate((local, f"{local}__trial"))),
            *(f"DROP TABLE {local}_b{n}" for n in range(2)),
        ],
    )
    status = Session.source.status(deep=True)
    assert (status[State.UNHELD], status[State.VANISHED]) == (4, 10)
    result = Session.source.pull()
    assert result.pulled == 10 and not result.differing
    found = states(lab, "session", "subject", "session")
    # Session 1 is deprecated at the source, and here again: it is for the local side to delete it.
    assert found.pop((1, 1)) is State.TAINTED
    assert set(found.values()) == {State.SHARED}
    assert_same(lab, table, "trial")


def test_cascade_of_a_table_that_is_not_linked(lab: Lab) -> None:
    """A local table to which somebody has tied the linked one takes rows of it along: they are pulled again."""
    table = units(lab, 10)
    Unit = granted(lab, table)
    Unit.source.pull()
    probe = f"{lab.local_schema}.probe"
    run_sql(
        lab.local_server,
        [
            f"CREATE TABLE {probe} (unit INT PRIMARY KEY)",
            f"INSERT INTO {probe} SELECT unit FROM {lab.local_schema}.unit",
            f"ALTER TABLE {lab.local_schema}.unit ADD FOREIGN KEY (unit) REFERENCES {probe} (unit) ON DELETE CASCADE",
            f"DELETE FROM {probe} WHERE unit < 4",
        ],
    )
    assert Unit.source.status()[State.VANISHED] == 4
    lab.local_server.sql(f"INSERT INTO {probe} SELECT i FROM {series(4)}")
    assert Unit.source.pull().pulled == 4
    assert_all_shared(lab, table, 10)


def test_hands_on_the_helper_table(lab: Lab) -> None:
    """Rows deleted, inserted and put into a process by an administrator, a local row deleted and one made by SQL."""
    table = units(lab, 12)
    Unit = granted(lab, table)
    Unit.source.pull("unit < 8")
    helper = f"{lab.helper_schema}.{lab.helper_table}"
    run_sql(
        lab.source_server,
        [
            f"DELETE FROM {helper} WHERE unit IN (0, 1)",
            f"INSERT INTO {helper} (unit) VALUES (8)",
            f"INSERT INTO {helper} (unit, process) VALUES (9, 'PULL'), (10, 'DELETE')",
            f"UPDATE {helper} SET process = 'PULL' WHERE unit = 2",
            f"UPDATE {helper} SET process = 'DELETE' WHERE unit = 3",
        ],
    )
    run_sql(
        lab.local_server,
        [
            f"DELETE FROM {Unit.full_table_name} WHERE unit = 4",
            f"INSERT INTO {Unit.full_table_name} VALUES (77, 1.5)",
        ],
    )
    result = Unit.source.pull()
    assert not result.differing
    assert Unit.source.status(deep=True)[State.LOCAL_ONLY] == 1
    lab.local_server.sql(f"DELETE FROM {Unit.full_table_name} WHERE unit = 77")
    assert_all_shared(lab, table, 12)
