"""The tables that are measured, and the statements that fill them where they stand."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import datajoint as dj
import numpy as np
from fleet import TestServer

SMALL_ROWS = """
animal : int32
session : int32
unit : int32
---
quality : varchar(20)
t_first : float64
depth : float32
n : int64
ts : datetime(6)
waveform : bytes  # 64 to 128 of them
"""
LARGE_ROWS = """
recording : int32
---
trace : bytes
"""

#: A table as DataJoint 2 declares it, and what 0.x declares beside the key.
BLOB_ROWS = """
item : int32
---
quality : varchar(20)
waveform : <blob>  # 2 KB of them
"""
LEGACY_BLOB_COLUMNS = ("quality varchar(20) NOT NULL", "waveform longblob NOT NULL COMMENT '2 KB of them'")

_SMALL = {
    "mysql": "SELECT i DIV 10000, (i DIV 100) % 100, i % 100, CONCAT('good ', i % 7), i * 0.1234567e0, i * 0.7, "
    "i * 1000003, TIMESTAMPADD(MICROSECOND, i * 1000003, '2024-01-01'), UNHEX(REPEAT(SHA2(i, 256), 2 + i % 3)) FROM c",
    "postgresql": "SELECT i / 10000, (i / 100) % 100, i % 100, 'good ' || i % 7, i * 0.1234567, i * 0.7, "
    "i * 1000003::bigint, '2024-01-01'::timestamp + i * interval '1.000003 s', "
    "decode(repeat(encode(sha256(i::text::bytea), 'hex'), 2 + i % 3), 'hex') FROM c",
}
_FIELDS = "animal, session, unit, quality, t_first, depth, n, ts, waveform"
#: A checksum of all small rows, as one would write it by hand: a digest of each, and the sum of sixty bits of it.
SMALL_CHECKSUM = {
    "mysql": "SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',', animal, session, unit, QUOTE(quality), t_first, "
    "CAST(depth AS DOUBLE), n, ts, HEX(waveform)), 256), 15), 16, 10) AS UNSIGNED))",
    "postgresql": f"SUM(('x' || left(encode(sha256(convert_to(ROW({_FIELDS})::text, 'UTF8')), 'hex'), 15))::bit(60)"
    "::bigint::numeric)",
}
#: How many numbers a recursive query may count to.
_COUNTING = {"mysql": "cte_max_recursion_depth", "mariadb": "max_recursive_iterations"}


def fill_small(server: TestServer, name: str, rows: int) -> None:
    """Fill a table of small rows by one statement."""
    _run(server, [f"INSERT INTO {name} {_numbers(rows)} {_SMALL[server.backend]}", *_analysed(server, name)])


def fill_large(server: TestServer, name: str, rows: int, size: int) -> None:
    """Fill a table of long rows with bytes that no server can compress, each row other than the others."""
    join = "SUBSTR(l.trace, i + 1) || SUBSTR(l.trace, 1, i)"
    join = join if server.kind == "postgresql" else "CONCAT(SUBSTR(l.trace, i + 1), SUBSTR(l.trace, 1, i))"
    server.sql(f"INSERT INTO {name} VALUES (0, %s)", os.urandom(size))
    copies = f"{_numbers(rows)} SELECT i, {join} FROM c CROSS JOIN {name} l WHERE i > 0"
    _run(server, [f"INSERT INTO {name} {copies}", *_analysed(server, name)])


def fill_blobs(server: TestServer, name: str, rows: int) -> None:
    """Fill a table of arrays, as DataJoint packs them, each other than the others; not for PostgreSQL."""
    array = np.zeros(2048, np.uint8)
    head = dj.blob.pack(array, compress=False)[: -array.nbytes].hex()
    data = "UNHEX(REPEAT(SHA2(i, 256), 64))"
    select = f"SELECT i, CONCAT('good ', i % 7), CONCAT(X'{head}', {data}) FROM c"
    _run(server, [f"INSERT INTO {name} {_numbers(rows)} {select}", *_analysed(server, name)])


def fill(server: TestServer, name: str, rows: int, values: str) -> None:
    """Fill a table with values that follow from the number of the row, `i`."""
    _run(server, [f"INSERT INTO {name} {_numbers(rows)} SELECT {values} FROM c", *_analysed(server, name)])


def _numbers(count: int) -> str:
    return f"WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < {count - 1})"


def analyse(server: TestServer, name: str) -> None:
    """Let the server learn what a table holds, as it would by itself in a while."""
    _run(server, _analysed(server, name))


def _analysed(server: TestServer, name: str) -> list[str]:
    return [f"VACUUM ANALYZE {name}" if server.kind == "postgresql" else f"ANALYZE TABLE {name}"]


def _run(server: TestServer, statements: list[str]) -> None:
    if server.kind in _COUNTING:
        statements = [f"SET SESSION {_COUNTING[server.kind]} = 100000000", *statements]
    with closing(server.connect_raw()) as connection, connection.cursor() as cursor:
        for statement in statements:
            _execute(cursor, statement)


def _execute(cursor: Any, statement: str) -> None:
    cursor.execute(statement)
    if cursor.description:
        cursor.fetchall()
