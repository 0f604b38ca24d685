"""Servers with too few connections, pools before them, and what no session may set: refused at once, in words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fleet import Fleet, TestServer
from lab import Lab
from linking import declare_session, everything_said, linked
from pipelines import count_held

from link import ConnectionLimitError, ServerError, UnsupportedServerError
from link.work import claims, run


def limit(lab: Lab, connections: int) -> None:
    """Let the link user have so many connections; 0 means any number."""
    if lab.kind == "postgresql":
        lab.source_server.sql(f"ALTER ROLE {lab.link_user} CONNECTION LIMIT {connections or -1}")
    else:
        lab.source_server.sql(f"ALTER USER {lab.link_user}@'%' WITH MAX_USER_CONNECTIONS {connections}")


def test_a_pull_makes_do_with_few_connections_and_says_what_it_needs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Four are enough, with one warning; with fewer it fails at once, and says how many it takes. Nothing is held."""
    declare_session(lab, rows=40)
    limit(lab, 100)  # MySQL and MariaDB count connections from when there is a limit
    session = linked(lab)
    assert len(session()) == 0
    monkeypatch.setattr(run, "PAUSES", (60,))  # a pull that waited for connections would take a minute
    for name in ("FIRST_CHUNK_ROWS", "CHUNK_ROWS"):
        monkeypatch.setattr(claims, name, 10)
    for connections in (1, 2, 3):
        limit(lab, connections)
        with pytest.raises(ConnectionLimitError) as caught:
            session().source.pull()
        assert lab.link_user in str(caught.value) and lab.link_password not in everything_said(caught.value)
        assert connections == 1 or "needs 3 connections at the source beside DataJoint's own" in str(caught.value)
        assert count_held(lab) == 0
    limit(lab, 4)
    with caplog.at_level(logging.WARNING, "link"):
        assert session().source.pull().pulled == 40
        assert session.source.verify().compared == 40
        assert (session & "session < 9").delete(prompt=False) == 9
        assert session().source.pull().pulled == 9
    assert len([r for r in caplog.records if "no connection left" in r.message]) == 1
    limit(lab, 0)


def test_no_connection_left_for_datajoint(lab: Lab) -> None:
    declare_session(lab)
    limit(lab, 100)
    taken = lab.source_server.connect_raw(lab.link_user, lab.link_password)
    limit(lab, 1)
    with pytest.raises(ConnectionLimitError, match="no connection left for the link user"):
        linked(lab)()
    taken.close()
    limit(lab, 0)


# pools


@pytest.fixture(params=["transaction", "statement", "session"])
def pooled(request: pytest.FixtureRequest, lab: Lab, fleet: Fleet) -> Iterator[tuple[str, TestServer]]:
    """PgBouncer before the source."""
    pooler = fleet.pooler(lab.source_server, request.param, {lab.link_user: lab.link_password})
    yield request.param, pooler
    pooler.stop()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_pool_that_lends_sessions_is_refused(lab: Lab, pooled: tuple[str, TestServer]) -> None:
    """Before anything is set in them; with one client and with several. A pool in session mode is as good as none."""
    mode, pooler = pooled
    declare_session(lab, rows=20)
    session = linked(lab, host=f"{pooler.host}:{pooler.port}")
    if mode == "session":
        assert session().source.pull().pulled == 20
        assert session.source.verify().compared == 20
        return
    others = [pooler.connect_raw(lab.link_user, lab.link_password) for _ in range(3)]
    for number, other in enumerate([None, *others]):
        if other:
            other.cursor().execute("SELECT 1")
        with pytest.raises(UnsupportedServerError, match="pool in session mode"):
            linked(lab, host=f"{pooler.host}:{pooler.port}")().source.pull()
        with others[number - 1].cursor() as cursor:
            cursor.execute("SHOW extra_float_digits")
            assert cursor.fetchall() == [("1",)]
            cursor.execute("SHOW tcp_keepalives_idle")
            assert cursor.fetchall() != [("30",)]
    for other in others:
        other.close()


# servers that are set up otherwise


@contextmanager
def world(source: TestServer, local: TestServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab between two servers."""
    lab = Lab(source, local)
    for name, value in (("LINK_USER", lab.link_user), ("LINK_PASS", lab.link_password)):
        monkeypatch.setenv(name, value)
    try:
        lab.build()
        yield lab
    finally:
        lab.clear()


def assert_refused(lab: Lab, *words: str) -> None:
    """The link says so before it makes anything; looking at the source works."""
    session = linked(lab)
    with pytest.raises(UnsupportedServerError) as caught:
        session()
    assert all(word in str(caught.value) for word in words), caught.value
    assert len(session.source) == 3


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_a_server_that_logs_statements(
    kind: str, servers: tuple[TestServer, TestServer], fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, unless the account may have its own sessions logged otherwise."""
    spare = fleet.spare(kind, "--log-bin=log", "--server-id=7", "--binlog-format=STATEMENT")
    with world(spare, servers[1], monkeypatch) as lab:
        declare_session(lab)
        assert_refused(lab, "binlog_format", "GRANT")
        right = "SESSION_VARIABLES_ADMIN" if kind == "mysql" else "BINLOG ADMIN"
        spare.sql(f"GRANT {right} ON *.* TO {lab.link_user}@'%'")
        session = linked(lab)
        assert session().source.pull().pulled == 3
        assert session().delete(prompt=False) == 3
        assert count_held(lab) == 0
    spare.stop()


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_a_server_that_takes_no_changes(lab: Lab) -> None:
    """A replica is noticed when the link is first used; a server that becomes one is told when it refuses."""
    declare_session(lab)
    session = linked(lab)
    try:
        lab.source_server.sql("SET GLOBAL read_only = 1")
        assert_refused(lab, "read-only")
        lab.source_server.sql("SET GLOBAL read_only = 0")
        assert session().source.pull({"session": 1}).pulled == 1
        lab.source_server.sql("SET GLOBAL read_only = 1")
        with pytest.raises(ServerError, match="read-only") as caught:
            session().source.pull()
        assert "replica" in str(caught.value.hint)
    finally:
        lab.source_server.sql("SET GLOBAL read_only = 0")
    assert session().source.pull().pulled == 2


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_standby(
    kind: str, servers: tuple[TestServer, TestServer], fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = fleet.spare(kind)
    with world(spare, servers[1], monkeypatch) as lab:
        declare_session(lab)
        spare.stop()
        assert spare.process
        signal = spare.process.engine.folder / "data/standby.signal"
        signal.touch()
        spare.start()
        spare.forget_sessions()
        assert_refused(lab, "replica")
        spare.stop()
        signal.unlink()
        spare.start()
        spare.forget_sessions()
    spare.stop()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("end", ["source", "local"])
def test_a_role_whose_foreign_keys_are_not_checked(lab: Lab, end: str) -> None:
    """Nothing would hold what is held there."""
    declare_session(lab)
    server, user = (lab.source_server, lab.link_user) if end == "source" else (lab.local_server, lab.local_user)
    server.sql(f"ALTER ROLE {user} SET session_replication_role = replica")
    assert_refused(lab, "session_replication_role", f'ALTER ROLE "{user}" RESET')
    server.sql(f"ALTER ROLE {user} RESET session_replication_role")
    assert linked(lab)().source.pull().pulled == 3
