"""Keys of every type, between any two kinds of server: found again at both ends, whatever is in them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import oracle
import pytest
from lab import Lab
from oracle import LABELS, TEXTS, Type
from pipelines import linked

from link import ConfigError, State
from link.model.ranges import ALL
from link.servers.keyed import Segment
from link.work import claims
from link.work.comparing import Comparison
from link.work.run import Run

#: Texts that differ under every collation.
PLAIN_TEXTS = tuple(text for text in TEXTS if text not in ("A", ""))


@dataclass(frozen=True)
class Keys:
    """A key column and its values, by name of the case."""

    column: Type
    values: tuple[Any, ...]


def _keys(sql: str, family: str, *values: Any, marker: str = "", bits: int = 64, labels: tuple[str, ...] = ()) -> Keys:
    return Keys(Type(sql, family, values, marker, bits, labels), values)


_UNICODE = "CHARACTER SET utf8mb4 COLLATE utf8mb4_"
_MYSQL = {
    "tinyint": _keys("tinyint", "integer", -128, 0, 127),
    "int zerofill": _keys("int(3) zerofill", "integer", 0, 7, 12345),
    "bigint unsigned": _keys("bigint unsigned", "integer", 0, 2**63, 2**64 - 1, 5),
    "float": _keys("float", "float", 0.0, 0.1, -0.1, 16777216.0, 1e-45, 3.4028234663852886e38, 1.17549435e-38, bits=32),
    "double": _keys("double", "float", 0.1, 0.1 + 0.2, -1.2345678901234567e-300, 5e-324, 1.7976931348623157e308, 1e22),
    "decimal": _keys("decimal(65,30)", "decimal", *oracle.DECIMALS),
    "varchar bin": _keys(f"varchar(60) {_UNICODE}bin", "text", *TEXTS, marker="varchar(60)"),
    "varchar ci": _keys(f"varchar(60) {_UNICODE}general_ci", "text", *PLAIN_TEXTS),
    "varchar latin1": _keys("varchar(60) CHARACTER SET latin1", "text", "é", "ÿ", "it's", "%s", "€"),
    "char": _keys(f"char(60) {_UNICODE}bin", "text", *PLAIN_TEXTS),
    "long": _keys(f"varchar(600) {_UNICODE}bin", "text", "x" * 600, "x" * 599, "\U0001f9e0é'\\" * 150),
    "enum": _keys(oracle.mysql_enum(LABELS), "text", *LABELS, labels=LABELS),
    "date": _keys("date", "date", "1000-01-01", "2024-02-29", "9999-12-31"),
    "time": _keys("time(6)", "time", "00:00:00", "12:34:56.789012", "23:59:59.999999"),
    "datetime": _keys("datetime(6)", "datetime", "2024-10-27 02:30:00", "2024-10-27 02:30:00.000001"),
    "timestamp": _keys("timestamp(6)", "timestamp", *oracle.INSTANTS),
    "year": _keys("year", "integer", 1901, 1999, 2155, 2001, 0),
    "binary": _keys("binary(5)", "bytes", b"\0\0\0\0\0", b"ab\0\0\0", b"'\\\"\n\xff"),
    "varbinary": _keys("varbinary(300)", "bytes", *oracle.BYTES),
    "uuid": _keys("binary(16)", "uuid", *oracle.UUIDS, marker="uuid"),
    "bool": _keys("tinyint", "bool", 0, 1, marker="bool"),
}
#: Keys that only the same family of servers can hold.
_MYSQL_ONLY = {
    "zero date": _keys("date", "date", "0000-00-00", "2020-00-00", "2020-02-31", "2020-01-01"),
    "zero datetime": _keys("datetime(3)", "datetime", "0000-00-00 00:00:00", "2020-01-01 00:00:00.001"),
    "zero timestamp": _keys("timestamp", "timestamp", "0000-00-00 00:00:00", "2020-01-01 00:00:00"),
    "long time": _keys(
        "time(6)", "time", "-838:59:59", "30:00:00", "-00:00:00.5", "00:00:00", "-01:00:00", "838:59:59"
    ),
    "NUL": _keys(f"varchar(9) {_UNICODE}bin", "text", "\0", "a\0", "a", "a\0b", "\x000"),
}
_POSTGRESQL = {
    "smallint": _keys("smallint", "integer", -(2**15), 0, 2**15 - 1),
    "bigint": _keys("bigint", "integer", -(2**63), 0, 2**63 - 1),
    "real": _keys("real", "float", 0.0, 0.1, -0.1, 16777216.0, 1e-45, 3.4028234663852886e38, bits=32),
    "double": _keys("double precision", "float", 0.1, 0.1 + 0.2, -1.2345678901234567e-300, 5e-324, 1e22),
    "numeric": _keys("numeric(65,30)", "decimal", *oracle.DECIMALS),
    "varchar": _keys("character varying(60)", "text", *TEXTS, "a ", "\u0301e", "é", "e"),
    "char": _keys("character(60)", "text", *PLAIN_TEXTS),
    "long": _keys("character varying(600)", "text", "x" * 600, "x" * 599, "\U0001f9e0é'\\" * 150),
    "enum": _keys("{schema}.mood", "text", *LABELS, labels=LABELS),
    "date": _keys("date", "date", "1000-01-01", "2024-02-29", "9999-12-31"),
    "time": _keys("time", "time", "00:00:00", "12:34:56.789012", "24:00:00"),
    "timestamp": _keys("timestamp", "datetime", "2024-10-27 02:30:00", "2024-10-27 02:30:00.000001"),
    "timestamptz": _keys("timestamptz", "timestamp", *oracle.INSTANTS),
    "uuid": _keys("uuid", "uuid", *oracle.UUIDS, marker="uuid"),
    "uuid unmarked": _keys("uuid", "uuid", *oracle.UUIDS),
    "bool": _keys("boolean", "bool", 0, 1),
}
_POSTGRESQL_ONLY = {
    "numeric NaN": _keys("numeric(5,2)", "decimal", Decimal("1.50"), Decimal("NaN"), Decimal("-1.50")),
    "numeric infinity": _keys("numeric", "decimal", *map(Decimal, ("NaN", "Infinity", "-Infinity", "1.50"))),
    "NaN": _keys("double precision", "float", math.nan, math.inf, -math.inf, 1.5),
    "infinity": _keys(
        "timestamp", "datetime", "infinity", "-infinity", "0044-03-15 10:00:00 BC", "2020-01-01 00:00:00"
    ),
    "infinite day": _keys("date", "date", "infinity", "-infinity", "0044-03-15 BC", "12345-01-01", "2020-01-01"),
    "text": _keys("text", "text", *TEXTS),
    "bytea": _keys("bytea", "bytes", *oracle.BYTES),
}


def cases(source: str, local: str) -> dict[str, Keys]:
    """The keys to try between two kinds of server."""
    if source == "postgresql":
        return _POSTGRESQL | (_POSTGRESQL_ONLY if local == source else {})
    return _MYSQL | (_MYSQL_ONLY if local != "postgresql" else {})


#: Attributes of one key: several types at once, so that fewer tables are needed. An index takes 3072 bytes.
WIDTH = 5


def tables(source: str, local: str) -> list[dict[str, Keys]]:
    """The keys to try, as attributes of composite keys."""
    waiting = [item for item in cases(source, local).items() if item[0] != "long"]
    keys = [dict(waiting[n : n + WIDTH]) for n in range(0, len(waiting), WIDTH)]
    return [*keys, {"long": cases(source, local)["long"]}]


def test_every_key_is_found_again(mixed: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = mixed
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 5)
    monkeypatch.setattr(claims, "CHUNK_ROWS", 5)
    oracle.create_enum(lab.source_server, lab.source_schema)
    failures = {}
    for n, keys in enumerate(tables(lab.kind, lab.local_kind)):
        try:
            check(lab, f"Thing{n}", keys)
        except Exception as error:
            failures[f"{n}: {', '.join(keys)}"] = f"{type(error).__name__}: {error}"
    assert failures == {}


def rows_of(keys: dict[str, Keys]) -> list[tuple[Any, ...]]:
    """Each value of each attribute once, beside the first values of the others."""
    first = [key.values[0] for key in keys.values()]
    rows = [
        (*first[:n], value, *first[n + 1 :]) for n, key in enumerate(keys.values()) for value in key.values[min(n, 1) :]
    ]
    return [(*row, number) for row in rows for number in (1, -1)]


def linked_by(
    lab: Lab, name: str, keys: dict[str, Keys], marks: Sequence[int]
) -> tuple[Any, dict[str, Type], list[tuple[Any, ...]]]:
    """The linked class of a table with these keys, whose rows have a part row for each mark; its columns and rows."""
    table, rows = name.lower(), rows_of(keys)
    columns = {f"k{n}": key.column for n, key in enumerate(keys.values())} | {"n": oracle.INTEGER}
    parts = columns | {"i": oracle.INTEGER}
    oracle.create(lab.source_server, lab.source_schema, table, columns, list(columns))
    oracle.create(lab.source_server, lab.source_schema, f"{table}__part", parts, list(parts), table)
    oracle.insert(lab.source_server, lab.source_schema, table, columns, rows)
    part_rows = [(*row, mark) for row in rows for mark in marks]
    oracle.insert(lab.source_server, lab.source_schema, f"{table}__part", parts, part_rows)
    lab.helper_table = f"helper_{table}"
    lab.grant(table)
    return linked(lab, name, backend=lab.source_server.backend), columns, rows


def check(lab: Lab, name: str, keys: dict[str, Keys]) -> None:
    """Pull, lose, pull again, flag and delete rows with these keys, which have part rows."""
    Thing, columns, rows = linked_by(lab, name, keys, (0, 1))
    table, parts = name.lower(), columns | {"i": oracle.INTEGER}

    result = Thing.source.pull()
    assert (result.pulled, result.part_rows) == (len(rows), 2 * len(rows))
    there = oracle.read(lab.source_server, lab.source_schema, table, columns)
    assert len(there) == len(rows)
    wanted = Counter(
        tuple(oracle.stored(lab.local_kind, column, v) for column, v in zip(columns.values(), row, strict=True))
        for row in there
    )
    assert Counter(oracle.read(lab.local_server, lab.local_schema, table, columns)) == wanted
    assert Counter(oracle.read(lab.source_server, lab.helper_schema, lab.helper_table, columns)) == Counter(there)
    read = oracle.read(lab.local_server, lab.local_schema, f"{table}__part", parts)
    assert Counter(read) == Counter((*row, i) for row in wanted for i in (0, 1))
    assert shown(Thing) == {"Shared": len(rows)}
    again = Thing.source.pull()
    assert (again.pulled, again.shared) == (0, len(rows))
    with Run(Thing._link.open()) as run:
        everything, both = Segment(run.rows).keys(run.local, 1000), Comparison(run)
        assert len(everything) == len(rows)
        assert both.present(everything) == set(everything)
        assert both.differing(everything) == []
        assert not both.may_differ(ALL, 0)

    helper, local = f"{lab.helper_schema}.{lab.helper_table}", f"{lab.local_schema}.{table}"
    last = " AND ".join(
        f"{k} = {oracle.literal(lab.kind, column, value, lab.source_schema)}"
        for (k, column), value in zip(columns.items(), rows[-2], strict=True)
    )
    oracle.run(lab.source_server, f"UPDATE {helper} SET is_flagged = 'TRUE' WHERE {last}")
    oracle.run(lab.local_server, *(f"DELETE FROM {name} WHERE n = -1" for name in (f"{local}__part", local)))
    half = len(rows) // 2
    assert shown(Thing) == {"Shared": half - 1, "Vanished": half, "Tainted": 1}
    if "zero date" in keys:
        with pytest.raises(ConfigError, match=r"k0 = '0000-00-00' does not travel"):
            _ = Thing.source & (Thing & "n = 1")
    else:
        travel(Thing, half)
    assert Thing.source.pull().pulled == half
    assert len(Thing.source.flagged) == 1
    assert Thing.delete(prompt=False) == 2 * half
    assert shown(Thing) == {"Unshared": 2 * half - 1, "Deprecated": 1}


def travel(table: Any, half: int) -> None:
    """Keys that restrict a query on the other server: half of the entities are here, those with one number.

    Whatever time zones DataJoint's sessions have.
    """
    for connection, zone in ((table.connection, "+03:00"), (table.source.connection, "-05:00")):
        is_postgresql = connection.adapter.backend == "postgresql"
        connection.query(
            f"SET TIME ZONE INTERVAL '{zone}' HOUR TO MINUTE" if is_postgresql else f"SET time_zone='{zone}'"
        )
    source, here = table.source, table & "n = 1"
    assert len(source & here) == len(source & here & "n = 1") == half
    assert len(source - here) == len((source - here) & "n = -1") == half
    assert len(table & (source & "n = 1")) == half and len(table - (source & "n = 1")) == 0
    assert source.pull(here, dry_run=True).pulled == 0
    assert (source & here).status()[State.UNSHARED] == 0


def shown(linked_class: Any) -> dict[str, int]:
    """The states that there are."""
    return {state: n for state, n in linked_class.source.status().items() if n}
