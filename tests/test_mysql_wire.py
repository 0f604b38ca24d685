"""Rows read straight off the wire: of every length, with errors in their midst, from servers that go away."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pymysql
import pytest
from fleet import TestServer
from pipelines import series
from proxy import Proxy
from pymysql.constants import CR, ER
from pymysql.cursors import SSCursor

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
#: What a release of PyMySQL may call otherwise.
INSIDES = ("_rfile", "_sock", "_force_close", "_result", "unbuffered_active")
#: A test that pulls values of every type.
VALUES = Path(__file__).with_name("test_exact_values.py::test_every_value_arrives_or_is_refused")
#: Far more than is on its way at once.
ROWS = 400_000
ENDLESS = f"SELECT CONVERT(REPEAT('x', 100 + MOD(i, 7)) USING binary) FROM {series(ROWS)}"


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
    mysql_wire.drop(connection)


def select(connection: Any, sql: str) -> Any:
    """The rows of a query."""
    cursor = connection.cursor(SSCursor)
    cursor.execute(sql)
    return mysql_wire.values(cursor)


def table(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """All rows of a query of several columns."""
    cursor = connection.cursor(SSCursor)
    cursor.execute(sql)
    return mysql_wire.table(cursor)


def ask(connection: Any) -> Any:
    """Whether the session goes on: the answer to another query, read by PyMySQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 7, NULL, 'x'")
        return cursor.fetchall()


def test_values_of_every_length(raw: Any) -> None:
    lengths = " UNION ALL ".join(f"SELECT {n} AS n" for n in LENGTHS)
    seen = []
    for value in select(
        raw,
        f"SELECT CONVERT(CONCAT(LEFT('<', n), REPEAT(CHAR(65 + n % 26), n - 2), LEFT('>', n - 1)) USING binary) "
        f"FROM ({lengths}) s",
    ):
        seen.append(len(value))
        letter = b"%c" % (65 + len(value) % 26)
        assert value == (b"<" + letter * (len(value) - 2) + b">")[: len(value)]
    assert sorted(seen) == sorted(LENGTHS)
    assert ask(raw) == ((7, None, "x"),)


def test_null_and_nothing(raw: Any) -> None:
    assert list(select(raw, "SELECT NULL UNION ALL SELECT x'' UNION ALL SELECT x'61'")) == [None, b"", b"a"]
    assert list(select(raw, "SELECT 1 FROM DUAL WHERE 1 = 0")) == []
    assert ask(raw) == ((7, None, "x"),)


def test_rows_are_as_the_driver_has_them(raw: Any) -> None:
    """Of every type, with NULLs, and with values of every length between others."""
    columns = [
        *("i", "-i * 9000000000", "CAST(i * 4000000000000000 AS UNSIGNED)", "i / 7", "i * 1e-300", "CAST(i AS FLOAT)"),
        *("CAST(i / 7 AS DECIMAL(30, 20))", "i % 2 = 0", "CAST(i AS CHAR)", "CONCAT('é😀', i)", "x'00ff'", "''", "x''"),
        *("DATE'2000-01-31'", "TIMESTAMP'2000-01-31 01:02:03.000004'", "TIME'-11:12:13.5'", "CAST('12:00' AS TIME)"),
        *("JSON_ARRAY(i, 'é')", "IF(i % 3 = 0, NULL, i)", "IF(i % 3 = 1, NULL, 'x')", "NULL", "b'101'"),
        *(
            "CONVERT('é' USING latin1)",
            "REPEAT('é', i)",
            "ST_GeomFromText('POINT(1 2)')",
            "REPEAT(CHAR(65 + i), 999 * i)",
        ),
    ]
    sql = f"SELECT {', '.join(columns)} FROM {series(300)} ORDER BY i"
    with raw.cursor() as cursor:
        cursor.execute(sql)
        expected = list(cursor.fetchall())
    found = table(raw, sql)
    assert found == expected and len(found) == 300
    assert [list(map(type, row)) for row in found] == [list(map(type, row)) for row in expected]
    lengths = " UNION ALL ".join(f"SELECT {n} AS n" for n in LENGTHS)
    long = table(raw, f"SELECT n, CONVERT(REPEAT('x', n) USING binary), n FROM ({lengths}) s")
    assert sorted((n, len(value), again) for n, value, again in long) == sorted((n, n, n) for n in LENGTHS)
    assert table(raw, "SELECT 1, 2 FROM DUAL WHERE 1 = 0") == table(raw, "SET @nothing = 1") == []
    assert ask(raw) == ((7, None, "x"),)


def test_rows_that_end_in_an_error(raw: Any) -> None:
    """It never looks as if these were all; what the server says is raised, and the session goes on."""
    with pytest.raises(pymysql.MySQLError) as error:
        table(raw, f"SELECT i, EXP(IF(i = {ROWS - 5}, 1000, 0)) FROM {series(ROWS)}")
    assert error.value.args[0] == OUT_OF_RANGE
    assert ask(raw) == ((7, None, "x"),)


def test_warnings_do_not_end_up_among_rows(raw: Any) -> None:
    rows = list(select(raw, f"SELECT CONVERT(CAST(CONCAT(i, 'x') AS SIGNED) USING binary) FROM {series(500)}"))
    assert sorted(map(int, rows)) == list(range(500))
    assert ask(raw) == ((7, None, "x"),)


def test_error_after_many_rows(raw: Any) -> None:
    """What the server finds out late is raised, after the rows that it has sent, and the session goes on."""
    rows = select(raw, f"SELECT CONVERT(EXP(IF(i = {ROWS - 5}, 1000, 0)) USING binary) FROM {series(ROWS)}")
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


def test_another_pymysql(kind: str, servers: tuple[TestServer, TestServer], tmp_path: Path) -> None:
    """One whose insides have other names: its own cursors read, as exactly, and one line says so."""
    assert pymysql.__file__
    other = tmp_path / "other" / "pymysql"
    shutil.copytree(Path(pymysql.__file__).parent, other, ignore=shutil.ignore_patterns("__pycache__"))
    for module in other.rglob("*.py"):
        module.write_text(re.sub(rf"\b({'|'.join(INSIDES)})\b", r"\1_of_old", module.read_text()))
    listing, log = tmp_path / "servers.json", tmp_path / "log"
    listing.write_text(json.dumps([asdict(replace(server, process=None)) for server in servers]))
    [another] = {"mysql", "mariadb"} - {kind}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            # The driver's own, of a result that it cannot read to its end.
            *("-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
            # pytest would import it when it hears of the first, and there the second may come.
            *("-p", "tracemalloc"),
            *("-k", f"not another and not {another}]", f"--log-file={log}", "--log-file-level=WARNING"),
            *(__file__, f"{VALUES}[{kind}-{kind}]"),
        ],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(other.parent), *sys.path]),
            "LINK_TEST_SERVERS": str(listing),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert not run.returncode, run.stdout + run.stderr
    assert re.search(r"^\d+ passed", run.stdout, re.MULTILINE), run.stdout
    assert log.read_text().count("does not read from its connections") == 1
