"""The test infrastructure itself: servers, accounts, recorder and proxy do what the other tests rely on."""

from __future__ import annotations

import io
import time
from contextlib import closing
from typing import Any

import datajoint as dj
import psycopg2
import pymysql
import pytest
from fleet import TestServer
from lab import Lab
from proxy import Proxy
from recorder import Statement

OLDEST = {"mysql": (8,), "mariadb": (10, 6), "postgresql": (14,)}
REFUSALS = (pymysql.MySQLError, psycopg2.Error)


@pytest.fixture
def session(lab: Lab) -> Any:
    """A source table with one part and one row, and the link user's rights on both."""

    class Session(dj.Manual):
        definition = "session: int32"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32"

    table: Any = lab.source.Schema(lab.source_schema)(Session)
    table.insert1({"session": 7})
    lab.grant(table)
    return table


def link_sql(lab: Lab, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement as the link user."""
    with closing(lab.source_server.connect_raw(lab.link_user, lab.link_password)) as connection:
        cursor = connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def test_versions(kind: str, source_server: TestServer, local_server: TestServer) -> None:
    for server in (source_server, local_server):
        assert tuple(map(int, server.version.split("."))) >= OLDEST[kind]
    assert source_server.port != local_server.port


def test_link_user_has_the_documented_rights_only(lab: Lab, session: Any) -> None:
    source, helper = f"{lab.source_schema}.session", f"{lab.helper_schema}.{lab.helper_table}"
    assert link_sql(lab, f"SELECT * FROM {source}") == [(7,)]
    assert link_sql(lab, f"SELECT * FROM {source}__trial") == []
    foreign_key = f"FOREIGN KEY (session) REFERENCES {source} (session)"
    link_sql(lab, f"CREATE TABLE {helper} (session int PRIMARY KEY, {foreign_key})")
    for refused in (f"INSERT INTO {source} VALUES (8)", f"CREATE TABLE {lab.source_schema}.other (a int)"):
        with pytest.raises(REFUSALS):
            link_sql(lab, refused)


def test_link_user_sees_nothing_ungranted(lab: Lab, session: Any) -> None:
    lab.revoke("SELECT", session.Trial)
    with pytest.raises(REFUSALS):
        link_sql(lab, f"SELECT * FROM {lab.source_schema}.session__trial")


def test_local_account_has_schemas_of_its_own(lab: Lab) -> None:
    class Here(dj.Manual):
        definition = "here: int32"

    lab.local.Schema(lab.local_schema)(Here)
    assert len(Here()) == 0
    elsewhere = "public" if lab.kind == "postgresql" else "mysql"
    with closing(lab.local_server.connect_raw(lab.local_user, lab.local_password)) as connection:
        cursor = connection.cursor()
        with pytest.raises(REFUSALS):
            cursor.execute(f"CREATE TABLE {elsewhere}.foreign_ground (a int)")


def test_nothing_remains(source_server: TestServer, local_server: TestServer) -> None:
    lab = Lab(source_server, local_server)
    lab.build()
    lab.clear()
    users = "pg_roles" if lab.kind == "postgresql" else "mysql.user"
    name = "rolname" if lab.kind == "postgresql" else "user"
    for server in (source_server, local_server):
        assert server.sql(f"SELECT {name} FROM {users} WHERE {name} LIKE %s", f"{lab.prefix}%") == []
        query = "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE %s"
        assert server.sql(query, f"{lab.prefix}%") == []


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_server_keeps_what_was_committed(lab: Lab, session: Any, ending: str) -> None:
    before = lab.source_server.process_id
    getattr(lab.source_server, ending)()
    with pytest.raises(REFUSALS):
        lab.source_server.connect_raw()
    lab.source_server.start()
    assert lab.source_server.process_id != before
    assert link_sql(lab, f"SELECT * FROM {lab.source_schema}.session") == [(7,)]


def test_recorder_hears_every_statement(lab: Lab, session: Any, statements: list[Statement]) -> None:
    statements.clear()
    with session.connection.transaction:
        session.insert1({"session": 8})
        session().to_dicts()
    link_sql(lab, "SELECT 1")
    said = [text.sql.split()[0] for text in statements if text.user == lab.source_server.admin_user]
    assert said[0] in ("START", "BEGIN") and said[-1] == "COMMIT"
    assert {"INSERT", "SELECT"} <= set(said)
    assert {text.port for text in statements} == {lab.source_server.port}
    assert "SELECT 1" in [text.sql for text in statements if text.user == lab.link_user]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_recorder_hears_copy(lab: Lab, session: Any, statements: list[Statement]) -> None:
    with closing(lab.source_server.connect_raw()) as connection:
        connection.cursor().copy_expert(f"COPY {lab.source_schema}.session TO STDOUT", io.BytesIO())
    assert statements[-1].sql == f"COPY {lab.source_schema}.session TO STDOUT"


def test_proxy_delays_and_breaks(source_server: TestServer) -> None:
    proxy = Proxy(source_server.host, source_server.port, delay_ms=30)
    distant = TestServer(source_server.kind, proxy.port, source_server.socket_dir)
    with closing(distant.connect_raw()) as connection:
        cursor = connection.cursor()
        started = time.monotonic()
        cursor.execute("SELECT 1")
        assert time.monotonic() - started >= 0.06
        proxy.cut()
        with pytest.raises(REFUSALS):
            cursor.execute("SELECT 1")
    with pytest.raises(REFUSALS):
        distant.sql("SELECT 1")
    proxy.mend()
    assert distant.sql("SELECT 1") == [(1,)]
    proxy.close()
    with pytest.raises(REFUSALS):
        distant.sql("SELECT 1")
