"""Too few connections, pools, old versions, and what no session may set: refused at once, in words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import labs
import pytest
from fleet import Fleet, TestServer
from lab import Lab
from linking import contents, declare_session, everything_said, linked
from pipelines import count_held, wait_until
from proxy import Proxy
from test_sites import source_sessions

from link import ConfigError, ConnectionLimitError, NotFoundError, UnsupportedServerError
from link.accounts import Credentials
from link.addresses import Address
from link.admin.grants import grants
from link.admin.guard import guard
from link.servers.mysql_site import MySQLSite
from link.servers.postgresql_site import PostgreSQLSite
from link.servers.rights import Access
from link.servers.site import Site
from link.work import claims, run

T = TypeVar("T")


def limit(lab: Lab, connections: int) -> None:
    """Let the link user have so many connections; 0 means any number. Those that are just leaving do not count."""
    wait_until(lambda: source_sessions(lab) <= 1)
    if lab.kind == "postgresql":
        lab.source_server.sql(f"ALTER ROLE {lab.link_user} CONNECTION LIMIT {connections or -1}")
    else:
        lab.source_server.sql(f"ALTER USER {lab.link_user}@'%' WITH MAX_USER_CONNECTIONS {connections}")


def admitted(action: Callable[[], T]) -> T:
    """Do something as soon as there is room for it: a server counts who is leaving for longer than it lists them."""
    done = list[T]()

    def attempt() -> bool:
        with suppress(ConnectionLimitError):
            done.append(action())
        return bool(done)

    wait_until(attempt)
    return done[0]


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

    def refused() -> str:
        with pytest.raises(ConnectionLimitError) as caught:
            session().source.pull()
        assert lab.link_user in str(caught.value) and lab.link_password not in everything_said(caught.value)
        assert count_held(lab) == 0
        return str(caught.value)

    limit(lab, 1)
    refused()
    for connections in (2, 3):
        limit(lab, connections)
        wait_until(lambda: "needs 3 connections at the source beside DataJoint's own" in refused())
    limit(lab, 4)
    with caplog.at_level(logging.WARNING, "link"):
        assert admitted(session().source.pull).pulled == 40
        limit(lab, 4)
        assert admitted(session.source.verify).compared == 40
        limit(lab, 4)
        assert admitted(lambda: (session & "session < 9").delete(prompt=False)) == 9
        limit(lab, 4)
        assert admitted(session().source.pull).pulled == 9
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


# versions

OLD_VERSIONS = [
    # A server, as what it comes, what such a one lacks, and a word that it does not know.
    ("mariadb", "MySQL 5.7.44", "lacks JSON_TABLE", "transaction_isolation"),
    ("mariadb", "MariaDB 10.5.29", "lacks JSON_TABLE", "UTF8_IS_UTF8MB3"),
    ("postgresql", "PostgreSQL 13.23", "does not notice when a client is gone", "idle_session_timeout"),
]
of_old_versions = pytest.mark.parametrize(("kind", "called", "lack", "word"), OLD_VERSIONS, indirect=["kind"])


@contextmanager
def as_old(server: TestServer, called: str, word: str) -> Iterator[TestServer]:
    """A server behind a wire on which it is an old one."""
    kind, version = called.split()
    if server.kind == "postgresql":
        major, minor = server.version.split(".")
        instead = {server.version: version[: len(server.version)], f"{major}{minor:0>4}": "130023"}
    else:
        told = f"{server.version}-MariaDB"
        instead = {told: f"{version}-{kind if kind == 'MariaDB' else 'log'}".ljust(len(told), "-")}
    instead[word] = word[:-1] + "_"
    proxy = Proxy(server.host, server.port, instead={old.encode(): new.encode() for old, new in instead.items()})
    yield TestServer(server.kind, proxy.port, "")
    proxy.close()


@of_old_versions
@pytest.mark.parametrize("end", ["source", "local"])
def test_an_old_server_is_refused(lab: Lab, end: str, called: str, lack: str, word: str) -> None:
    """By a sentence, and not by whatever it does not know: as MySQL 5.6, MariaDB 10.5 and PostgreSQL 13 were found."""
    declare_session(lab)
    before = contents(lab)
    with as_old(lab.source_server if end == "source" else lab.local_server, called, word) as old:
        if end == "source":
            session = linked(lab, host=f"{old.host}:{old.port}")
        else:
            session = linked(lab, connection=lab.instance(old, lab.local_user, lab.local_password))
        for use in (session, lambda: session().source.pull(), lambda: session.source.pull()):
            assert_old(use, old, called, lack)
    assert contents(lab) == before


@of_old_versions
def test_an_old_server_is_refused_to_its_administrator(lab: Lab, called: str, lack: str, word: str) -> None:
    with as_old(lab.source_server, called, word) as old:
        place = Address(old.host, old.port, old.backend)
        account = Credentials(old.admin_user, old.admin_password, "administrator", "DJ_USER and DJ_PASS")
        access = Access(
            source_schema=lab.source_schema, tables=["Session"], helper_schema="h", helper_tables=["s"], user="u"
        )
        assert_old(lambda: grants(access, address=place, administrator=account), old, called, lack)
        assert_old(lambda: guard(place, account, lab.helper_schema), old, called, lack)


@pytest.mark.parametrize(
    ("site", "old", "new"),
    [
        (MySQLSite, ("8.0.16-debug",), ("8.0.17-0ubuntu0.18.04.1",)),
        (MySQLSite, ("5.7.44-log",), ("10.6.1-MariaDB-log",)),
        (MySQLSite, ("10.5.29-MariaDB-0+deb11u1",), ("11.8.3-MariaDB-0+deb13u1",)),
        (PostgreSQLSite, ("130023", "13.23"), ("140000", "14.0 (Debian 14.0-1)")),
    ],
)
def test_the_oldest_versions(site: type[Site], old: tuple[str, ...], new: tuple[str, ...]) -> None:
    reason, _ = site.find_outdated(*old) or ("", "")
    assert old[-1].partition("-")[0] in reason
    assert site.find_outdated(*new) is None


def assert_old(use: Callable[[], Any], server: TestServer, called: str, lack: str) -> None:
    """Which server, which version, why, and what to do."""
    with pytest.raises(UnsupportedServerError) as caught:
        use()
    said, todo = str(caught.value).split("→")
    assert f"The server {server.host}:{server.port} runs {called[:-1]}" in said and lack in said
    assert "is the oldest supported. Upgrade it" in todo and "replica" in todo


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
def test_a_server_that_writes_names_in_small_letters(
    servers: tuple[TestServer, TestServer], fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: DataJoint could not delete from a schema whose name was typed otherwise."""
    spare = fleet.spare(servers[0].kind, "--lower-case-table-names=1")
    with world(servers[0], spare, monkeypatch) as lab:
        declare_session(lab)
        typed = lab.local_schema.replace("_local", "_Local")
        with pytest.raises(ConfigError, match=f"small letters.*{typed}.*\n.*{lab.local_schema}"):
            linked(lab, local_schema=typed)()
        assert spare.sql("SHOW SCHEMAS LIKE %s", lab.local_schema) == []
        assert linked(lab)().source.pull().pulled == 3
        assert linked(lab)().delete(prompt=False) == 3
        # The source's own names may have capital letters.
        schemas = {f"{lab.prefix}_Big_{name}": f"{lab.prefix}_our_{name}" for name in labs.SCHEMAS}
        labs.fill(labs.declare(lab.source, f"{lab.prefix}_Big"))
        labs.grant(lab, *schemas)
        lab_a = labs.pipeline(lab, schemas={theirs: theirs.replace("_Big", "_Our") for theirs in schemas})
        with pytest.raises(ConfigError, match=f"small letters.*{lab.prefix}_Our_.*\n.*{lab.prefix}_our_"):
            lab_a.pull(lab_a.source[f"{lab.prefix}_Big_ephys"].Psth)
        use_pipeline(lab, labs.pipeline(lab, schemas=schemas), f"{lab.prefix}_Big")
    with world(spare, servers[1], monkeypatch) as lab:
        declare_session(lab)
        with pytest.raises(ConfigError, match="small letters"):
            linked(lab, helper_schema=lab.helper_schema.replace("_helper", "_Helper"))()
        assert linked(lab)().source.pull().pulled == 3
        labs.build(lab)
        lab_a = labs.pipeline(lab, schemas={f"{lab.prefix}_Ephys": f"{lab.prefix}_our"})
        with pytest.raises(NotFoundError, match=f"{lab.prefix}_Ephys.*\n.*{lab.prefix}_ephys"):
            lab_a.pull(lab_a.source)
        use_pipeline(lab, labs.pipeline(lab), lab.prefix)
    spare.stop()


def use_pipeline(lab: Lab, lab_a: Any, prefix: str) -> None:
    """A pipeline's life, once."""
    ephys, subject = f"{prefix}_ephys", f"{prefix}_subject"
    plan = lab_a.plan(lab_a.source[ephys].Psth & "subject < 3")
    result = plan.pull()
    assert result.pulled + result.part_rows == plan.rows == 33
    assert len(lab_a[ephys].Psth()) == 3 and lab_a.verify()
    assert lab_a[ephys].Session.children() == [f"`{lab.prefix}_our_ephys`.`session__trial`"]
    assert (
        labs.pipeline(lab, schemas=dict(lab_a._spec.schemas)).pull(lab_a.source[ephys].Psth & "subject < 3").pulled == 0
    )
    (lab_a[subject].Subject & "subject = 1").delete(prompt=False)
    assert lab_a.status().tables[f"{ephys}.Psth"]["Shared"] == 2
    (lab.source.FreeTable(f"`{subject}`.`subject`") & "subject = 1").delete(prompt=False)


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
    [check] = [each for each in labs.pipeline(lab).ping().checks if isinstance(each.error, UnsupportedServerError)]
    assert check.what == f"{end} server"
    server.sql(f"ALTER ROLE {user} RESET session_replication_role")
    assert linked(lab)().source.pull().pulled == 3
