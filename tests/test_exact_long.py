"""Values near and above what one statement may hold: they arrive, or their entity is refused and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import oracle
import pytest
from fleet import TestServer
from lab import Lab
from oracle import Type
from pipelines import count_held, linked

#: What MariaDB has by default; most tests use a quarter, and values of a quarter.
PACKET = 16 * 2**20
NOISE = bytes((n * n + n // 251) % 256 for n in range(100_000))

ROWS = {
    1: ("noise", "'small'"),
    2: ("NULL", "REPEAT('''', 2250000)"),
    3: ("NULL", "REPEAT({backslash}, 2250000)"),
    4: ("quotes", "''"),
    5: ("NULL", "REPEAT('é\U0001f9e0', 375000)"),
    6: ("NULL", "REPEAT('{line}', 50000)"),
    7: ("small", "'last'"),
}
#: Two long values in one row: together more than a packet.
TOO_LONG = 8


@pytest.fixture(autouse=True)
def packets(mixed: Lab, request: pytest.FixtureRequest) -> Iterator[None]:
    """Servers with small packets."""
    size = PACKET if request.function is test_what_no_packet_holds_is_refused else PACKET // 4
    changed: list[tuple[TestServer, int]] = []
    for server in (mixed.source_server, mixed.local_server):
        if server.kind != "postgresql":
            changed.append((server, server.sql("SELECT @@GLOBAL.max_allowed_packet")[0][0]))
            server.sql(f"SET GLOBAL max_allowed_packet = {size}")
    yield
    for server, before in changed:
        server.sql(f"SET GLOBAL max_allowed_packet = {before}")


def fill(lab: Lab, times: int, *rows: tuple[int, str, str]) -> None:
    """Rows whose long values the server makes itself."""
    postgresql = lab.kind == "postgresql"
    noise = f"decode(repeat('{NOISE.hex()}', {times}), 'hex')" if postgresql else f"REPEAT(x'{NOISE.hex()}', {times})"
    quotes = "decode(repeat('27', 2500000), 'hex')" if postgresql else "REPEAT(x'27', 2500000)"
    values = {"noise": noise, "quotes": quotes, "NULL": "NULL", "small": oracle.literal(lab.kind, BLOB, b"\0'\\\xff")}
    backslash = r"'\'" if postgresql else r"'\\'"
    line = "it''s " * 8 + "\n"
    oracle.run(
        lab.source_server,
        *(
            f"INSERT INTO {lab.source_schema}.thing (k, b, t) "
            f"VALUES ({k}, {values[blob]}, {text.replace('{backslash}', backslash).replace('{line}', line)})"
            for k, blob, text in rows
        ),
    )


BLOB = Type("longblob", "bytes", ())


def declare(lab: Lab) -> Any:
    """The source table and its part."""
    postgresql = lab.kind == "postgresql"
    blob, text = (Type(sql, "text", ()) for sql in (("bytea", "text") if postgresql else ("longblob", "longtext")))
    columns = {"k": oracle.INTEGER, "b": blob, "t": text}
    oracle.create(lab.source_server, lab.source_schema, "thing", columns, ["k"])
    columns = {"k": oracle.INTEGER, "i": oracle.INTEGER, "t": text}
    oracle.create(lab.source_server, lab.source_schema, "thing__part", columns, ["k", "i"], "thing")
    lab.grant("thing")
    return linked(lab, "Thing", backend=lab.source_server.backend)


def digests(server: TestServer, schema: str) -> list[tuple[Any, ...]]:
    """Length and digest of each value, by each server's own function."""
    if server.kind == "postgresql":
        b, t = (f"encode(sha256({value}), 'hex')" for value in ("b", "convert_to(t, 'UTF8')"))
    else:
        b, t = "SHA2(b, 256)", "SHA2(CONVERT(t USING utf8mb4), 256)"
    return [
        *sorted(server.sql(f"SELECT k, length(b), {b}, char_length(t), {t} FROM {schema}.thing")),
        *sorted(server.sql(f"SELECT k, i, char_length(t), {t} FROM {schema}.thing__part")),
    ]


def test_long_values_arrive(mixed: Lab) -> None:
    lab = mixed
    Thing = declare(lab)
    fill(lab, 25, *((k, *row) for k, row in ROWS.items()))
    oracle.run(
        lab.source_server,
        *(
            f"INSERT INTO {lab.source_schema}.thing__part VALUES (7, {i}, REPEAT('''', 250000 + {i}))"
            for i in range(20)
        ),
    )

    result = Thing.source.pull()

    assert (result.pulled, result.part_rows) == (len(ROWS), 20)
    assert digests(lab.local_server, lab.local_schema) == digests(lab.source_server, lab.source_schema)
    assert {state: n for state, n in Thing.source.status().items() if n} == {"Shared": len(ROWS)}


def test_what_no_packet_holds_is_refused(mixed: Lab) -> None:
    lab = mixed
    Thing = declare(lab)
    fill(lab, 100, (1, "small", "'first'"), (TOO_LONG, "noise", "REPEAT('x', 9000000)"), (9, "small", "'last'"))
    refused = lab.local_kind != "postgresql"

    result = Thing.source.pull(suppress_errors=True)

    assert [key["k"] for key, _ in result.errors] == [TOO_LONG] * refused
    assert all("thing" in str(error) and "max_allowed_packet" in str(error) for _, error in result.errors)
    assert result.pulled == count_held(lab) == 3 - refused
    here, there = (
        digests(server, schema)
        for server, schema in ((lab.local_server, lab.local_schema), (lab.source_server, lab.source_schema))
    )
    assert here == [row for row in there if row[0] != TOO_LONG or not refused]
