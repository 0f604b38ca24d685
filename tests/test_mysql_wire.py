"""Rows read straight off the wire: of every length, with errors in their midst, from servers that go away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pymysql
import pytest
from fleet import TestServer
from pipelines import series
from proxy import Proxy
from pymysql.constants import CR, ER
from pymysql.cursors import SSCursor

from link import ServerError
from link.servers import mysql_wire

pytestmark = pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)

#: What one packet holds; what is longer comes in several.
FULL = 2**24 - 1
#: Around each change of form: of the value's own length, before which stand 1, 3, 4 or 9 bytes, and of the packets.
LENGTHS = (
    *(0, 1, 250, 251, 252, 253, 254, 255, 2**16 - 1, 2**16, FULL - 5, FULL - 4, FULL - 3, FULL, FULL + 1),
    *(2 * FULL - 9, 2 * FULL - 8),
)
OUT_OF_RANGE = 1690
#: Far more than is on its way at once.
ROWS = 400_000
ENDLESS = f"SELECT REPEAT('x', 100 + MOD(i, 7)) FROM {series(ROWS)}"


@pytest.fixture
def server(source_server: TestServer) -> Iterator[TestServer]:
    """A server that sends rows of several packets."""
    before = source_server.sql("SELECT @@GLOBAL.max_allowed_packet")[0][0]
    source_server.sql(f"SET GLOBAL max_allowed_packet = {2**26}")
    yield source_server
    source_server.sql(f"SET GLOBAL max_allowed_packet = {before}")


@pytest.fixture
def raw(server: TestServer) -> Iterator[Any]:
    """A connection that is read off the wire."""
    connection = server.connect_raw()
    mysql_wire.widen(connection)
    yield connection
    connection._force_close()


def select(connection: Any, sql: str) -> Any:
    """The rows of a query."""
    cursor = connection.cursor(SSCursor)
    cursor.execute(sql)
    return mysql_wire.values(cursor)


def ask(connection: Any) -> Any:
    """Whether the session goes on: the answer to another query, read by PyMySQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 7, NULL, 'x'")
        return cursor.fetchall()


def test_values_of_every_length(raw: Any) -> None:
    lengths = " UNION ALL ".join(f"SELECT {n} AS n" for n in LENGTHS)
    seen = []
    for value in select(
        raw, f"SELECT CONCAT(LEFT('<', n), REPEAT(CHAR(65 + n % 26), n - 2), LEFT('>', n - 1)) FROM ({lengths}) s"
    ):
        seen.append(len(value))
        letter = b"%c" % (65 + len(value) % 26)
        assert value == (b"<" + letter * (len(value) - 2) + b">")[: len(value)]
    assert sorted(seen) == sorted(LENGTHS)
    assert ask(raw) == ((7, None, "x"),)


def test_null_and_nothing(raw: Any) -> None:
    assert list(select(raw, "SELECT NULL UNION ALL SELECT '' UNION ALL SELECT 'a'")) == [None, b"", b"a"]
    assert list(select(raw, "SELECT 1 FROM DUAL WHERE 1 = 0")) == []
    assert ask(raw) == ((7, None, "x"),)


def test_warnings_do_not_end_up_among_rows(raw: Any) -> None:
    rows = list(select(raw, f"SELECT CAST(CONCAT(i, 'x') AS SIGNED) FROM {series(500)}"))
    assert sorted(map(int, rows)) == list(range(500))
    assert ask(raw) == ((7, None, "x"),)


def test_error_after_many_rows(raw: Any) -> None:
    """What the server finds out late is raised, after the rows that it has sent, and the session goes on."""
    rows = select(raw, f"SELECT EXP(IF(i = {ROWS - 5}, 1000, 0)) FROM {series(ROWS)}")
    seen = 0
    with pytest.raises(pymysql.MySQLError) as error:
        for value in rows:
            assert value == b"1"
            seen += 1
    assert error.value.args[0] == OUT_OF_RANGE
    assert seen > 1000
    assert ask(raw) == ((7, None, "x"),)


@pytest.mark.parametrize("what", ["CONNECTION", "QUERY"])
def test_killed_in_the_middle(server: TestServer, raw: Any, what: str) -> None:
    """It never looks as if these were all rows."""
    rows = select(raw, ENDLESS)
    seen = [next(rows)]
    server.sql(f"KILL {what} {raw.thread_id()}")
    with pytest.raises(pymysql.MySQLError) as error:
        seen += rows
    assert len(seen) < ROWS
    assert error.value.args[0] in (CR.CR_SERVER_LOST, ER.QUERY_INTERRUPTED, 1927, 1053)
    if what == "QUERY":
        assert ask(raw) == ((7, None, "x"),)


def test_lost_in_the_middle(server: TestServer) -> None:
    proxy = Proxy(server.host, server.port)
    with closing(proxy):
        connection = pymysql.connect(
            host="127.0.0.1", port=proxy.port, user=server.admin_user, password=server.admin_password, ssl_disabled=True
        )
        mysql_wire.widen(connection)
        rows = select(connection, ENDLESS)
        next(rows)
        proxy.cut()
        with pytest.raises((pymysql.OperationalError, OSError)):
            list(rows)
        assert not connection.open


def test_who_stops_early_loses_the_connection(raw: Any) -> None:
    """Rather than reading rows of one query as the answer to another."""
    with closing(select(raw, ENDLESS)) as rows:
        next(rows)
    assert not raw.open


def test_another_pymysql(raw: Any) -> None:
    """One that does not read as ours does is refused before anything is read."""
    del raw._rfile
    with pytest.raises(ServerError, match="PyMySQL"):
        mysql_wire.widen(raw)
