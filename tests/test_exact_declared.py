"""Declarations arrive: keys, nullability, comments with markers, and defaults, which insert the same value there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import oracle
import pytest
from lab import Lab
from oracle import LABELS, Type
from pipelines import linked

COMMENT = 'it\'s 100% "quoted" `so` \\ and é %s {x}'
TEXT = 'it\'s "so" 100% \\ %s\té\n`x`'
NOW = "now"

#: Types with a default each, as SQL; NOW where it is the time of insertion.
MYSQL: dict[str, tuple[Type, str]] = {
    "whole": (Type("int unsigned", "integer", ()), "'7'"),
    "digits": (Type("decimal(7,3)", "decimal", (), "decimal(7,3)"), "-1.250"),
    "real": (Type("float", "float", (), "float32", 32), "0.1"),
    "long_real": (Type("double", "float", (), "float64"), "-1.25e-7"),
    "words": (Type("varchar(60)", "text", (), "varchar(60)"), oracle.string("mysql", TEXT)),
    "nothing": (Type("varchar(60)", "text", ()), "''"),
    "label": (Type(oracle.mysql_enum(LABELS), "text", (), "enum", labels=LABELS), oracle.string("mysql", LABELS[1])),
    "slash": (Type(oracle.mysql_enum(LABELS), "text", (), "enum", labels=LABELS), oracle.string("mysql", LABELS[5])),
    "day": (Type("date", "date", (), "date"), "'2020-02-29'"),
    "clock": (Type("time(3)", "time", ()), "'12:34:56.789'"),
    "wall": (Type("datetime(6)", "datetime", (), "datetime(6)"), "'2020-01-02 03:04:05.678901'"),
    "born": (Type("datetime(6)", "datetime", (), "datetime(6)"), "CURRENT_TIMESTAMP(6)"),
    "since": (Type("timestamp(6)", "timestamp", ()), "CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"),
    "flag": (Type("tinyint", "bool", (), "bool"), "'1'"),
    "unmarked": (Type("tinyint(1)", "integer", ()), "1"),
    "year": (Type("year", "integer", ()), "2020"),
    "raw": (Type("varbinary(9)", "bytes", ()), "'ab'"),
    "UpperCase": (Type("int", "integer", ()), "3"),
    "100% odd`name": (Type("int", "integer", ()), "4"),
}
POSTGRESQL: dict[str, tuple[Type, str]] = {
    "whole": (Type("bigint", "integer", ()), "7"),
    "negative": (Type("smallint", "integer", ()), "-7"),
    "digits": (Type("numeric(7,3)", "decimal", (), "decimal(7,3)"), "-1.250"),
    "real": (Type("real", "float", (), "float32", 32), "0.1"),
    "long_real": (Type("double precision", "float", (), "float64"), "'-1.25e-7'"),
    "words": (Type("character varying(60)", "text", (), "varchar(60)"), oracle.string("postgresql", TEXT)),
    "nothing": (Type("text", "text", ()), "''"),
    "label": (Type("{schema}.mood", "text", (), "enum", labels=LABELS), oracle.string("postgresql", LABELS[1])),
    "slash": (Type("{schema}.mood", "text", (), "enum", labels=LABELS), oracle.string("postgresql", LABELS[5])),
    "day": (Type("date", "date", (), "date"), "'2020-02-29'"),
    "clock": (Type("time(3)", "time", ()), "'12:34:56.789'"),
    "wall": (Type("timestamp", "datetime", (), "datetime(6)"), "'2020-01-02 03:04:05.678901'"),
    "born": (Type("timestamp", "datetime", (), "datetime(6)"), "CURRENT_TIMESTAMP"),
    "since": (Type("timestamptz", "timestamp", ()), "now()"),
    "instant": (Type("timestamptz", "timestamp", ()), "'2020-01-02 03:04:05.678901+02'"),
    "flag": (Type("boolean", "bool", (), "bool"), "true"),
    "unmarked": (Type("boolean", "bool", ()), "false"),
    "document": (Type("jsonb", "json", (), "json"), """'{"a": "it''s"}'"""),
    "raw": (Type("bytea", "bytes", ()), r"'\x00ff27'"),
    "id": (Type("uuid", "uuid", ()), "'5c005c27-2b00-4e2d-8027-5c5c5c5c5c5c'"),
    "UpperCase": (Type("integer", "integer", ()), "3"),
    '100% odd"name': (Type("integer", "integer", ()), "4"),
}
#: Defaults that the other kinds leave out: the column takes NULL there.
LEFT_OUT = {
    "mysql": {"calculated": (Type("varchar(40)", "text", ()), r"(concat('a\\b', '''c'))")},
    "mariadb": {"calculated": (Type("varchar(40)", "text", ()), r"(concat('a\\b', '''c'))")},
    "postgresql": {"calculated": (Type("text", "text", ()), "upper('a') || 'b'")},
}


def test_declarations_arrive(mixed: Lab) -> None:
    lab = mixed
    oracle.create_enum(lab.source_server, lab.source_schema)
    given = POSTGRESQL if lab.kind == "postgresql" else MYSQL
    given = given | LEFT_OUT[lab.kind]
    columns = {"k": oracle.INTEGER, "K2": Type("varchar(9)", "text", (), "varchar(9)")}
    columns |= {name: column for name, (column, _) in given.items()}
    defaults = {name: default for name, (_, default) in given.items()}
    nullable = [name for n, name in enumerate(given) if n % 3 == 0 or name == "calculated"]
    oracle.create(
        *(lab.source_server, lab.source_schema, "thing", columns, ["K2", "k"]),
        comments=dict.fromkeys(columns, COMMENT),
        defaults=defaults,
        required=[name for name in given if name not in nullable],
        comment='Things: 100% of what\'s "there" \\ %s',
    )
    lab.grant("thing")
    Thing = linked(lab, "Thing", backend=lab.source_server.backend)
    assert Thing.source.pull().pulled == 0

    there, here = (
        oracle.declaration(server, schema, "thing")
        for server, schema in ((lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema))
    )
    if lab.kind != lab.local_kind:
        there = replace(there, columns={name: _marked(lab, name, shown) for name, shown in there.columns.items()})
    assert here == there
    assert here.key == ("K2", "k")
    # The same insertion makes the same row.
    for server, schema in ((lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema)):
        names = ", ".join(oracle.quote(server.kind, name) for name in ("K2", "k"))
        oracle.run(server, f"INSERT INTO {oracle.quote(server.kind, schema, 'thing')} ({names}) VALUES ('x', 1)")
    (old,), (new,) = (
        oracle.read(server, schema, "thing", columns)
        for server, schema in ((lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema))
    )
    for name, wanted, found in zip(columns, old, new, strict=True):
        if name in ("born", "since"):
            assert found is not None
            assert str(found)[:4] == str(wanted)[:4]
        elif name == "calculated" and {lab.kind, lab.local_kind} >= {"postgresql"} and lab.kind != lab.local_kind:
            assert found is None
        else:
            assert found == wanted, name


def _marked(lab: Lab, name: str, shown: tuple[bool, str]) -> tuple[bool, str]:
    """What is a bool or a uuid without saying so is marked where its column's type does not show it."""
    unmarked = {"unmarked": "bool", "id": "uuid"} if lab.kind == "postgresql" else {}
    return (shown[0], f":{unmarked[name]}:{shown[1]}") if name in unmarked else shown


def test_tables_that_datajoint_declares(mixed: Lab) -> None:
    """All core types, declared and read by DataJoint: both headings are the same."""
    import datajoint as dj
    from pipelines import declare

    lab = mixed

    class Thing(dj.Manual):
        definition = """
        # all core types
        key : int32                    # first
        animal : uuid
        sure : bool
        ---
        i8 : int8
        i16 = 5 : int16
        i64 = null : int64
        f32 : float32                  # a float
        f64 = null : float64
        d = 1.5 : decimal(10,3)
        c = "x" : char(6)
        v = "it's" : varchar(300)
        e = "b" : enum('a','b','c d')
        day = "2020-01-01" : date
        ts = CURRENT_TIMESTAMP : datetime
        fine : datetime(6)
        j = null : json
        raw = null : bytes
        blob = null : <blob>           # an array
        """

        class Part(dj.Part):
            definition = """
            -> master
            n : int16
            ---
            x = null : float32
            """

    if lab.kind != "postgresql":
        lab.source_server.sql(f"ALTER SCHEMA {lab.source_schema} CHARACTER SET utf8mb4")
    table = declare(lab, Thing)
    lab.grant(table)
    Local: Any = linked(lab, "Thing", backend=lab.source_server.backend)
    assert Local.source.pull().pulled == 0
    for there, here in ((table, Local), (table.Part, Local.Part)):
        assert here.primary_key == there.primary_key
        assert list(here.heading.names) == list(there.heading.names)
        for name in there.heading.names:
            ours, theirs = here.heading[name], there.heading[name]
            assert (ours.nullable, ours.comment or "", ours.codec and ours.codec.name) == (
                theirs.nullable,
                theirs.comment or "",
                theirs.codec and theirs.codec.name,
            ), name
            if there is table:
                assert ours.original_type == theirs.original_type, name
    assert Local.heading.table_status["comment"] == table.heading.table_status["comment"]


# columns that count


@pytest.mark.parametrize("size", ["int", "smallint", "bigint unsigned"])
def test_columns_that_count(mixed: Lab, size: str) -> None:
    lab = mixed
    serial = {"int": "serial", "smallint": "smallserial"}.get(size, "bigserial")
    words = serial if lab.kind == "postgresql" else f"{size} AUTO_INCREMENT"
    column = Type(words, "integer", ())
    oracle.create(lab.source_server, lab.source_schema, "thing", {"k": column}, ["k"])
    oracle.insert(lab.source_server, lab.source_schema, "thing", {"k": column}, [(0,), (1,), (30_000,)])
    if words.startswith("bigint"):
        oracle.insert(lab.source_server, lab.source_schema, "thing", {"k": column}, [(2**64 - 2,)])
    lab.grant("thing")
    Thing = linked(lab, "Thing", backend=lab.source_server.backend)
    assert Thing.source.pull().pulled == 3 + words.startswith("bigint")
    here, there = (
        sorted(oracle.read(server, schema, "thing", {"k": column}))
        for server, schema in ((lab.local_server, lab.local_schema), (lab.source_server, lab.source_schema))
    )
    assert here == there


# time zones


def test_instants_between_time_zones(mixed: Lab) -> None:
    """A timestamp is an instant, whatever the servers' zones: the autumn hour has its two, the spring hour is one."""
    lab = mixed
    instants = [
        *("2024-10-27 00:30:00", "2024-10-27 01:30:00", "2024-10-27 00:59:59", "2024-10-27 01:00:00"),
        *("2024-03-31 00:59:59", "2024-03-31 01:00:00", "2024-03-31 02:30:00", "1970-01-01 00:00:01"),
    ]
    sql = "timestamptz" if lab.kind == "postgresql" else "timestamp"
    wall = "timestamp" if lab.kind == "postgresql" else "datetime"
    columns = {"k": Type(sql, "timestamp", ()), "t": Type(sql, "timestamp", ()), "w": Type(wall, "datetime", ())}
    zones = ((lab.source_server, lab.link_user, "Test/Berlin"), (lab.local_server, lab.local_user, "Test/Apia"))
    with oracle.zones(*zones):
        oracle.create(lab.source_server, lab.source_schema, "thing", columns, ["k"])
        rows = [(instant, instant, instant) for instant in instants]
        oracle.insert(lab.source_server, lab.source_schema, "thing", columns, rows)
        lab.grant("thing")
        Thing = linked(lab, "Thing", backend=lab.source_server.backend)
        assert Thing.source.pull().pulled == len(instants)
        assert {s: n for s, n in Thing.source.status().items() if n} == {"Shared": len(instants)}
        here, there = (
            sorted(oracle.read(server, schema, "thing", columns))
            for server, schema in ((lab.local_server, lab.local_schema), (lab.source_server, lab.source_schema))
        )
        assert len(here) == len(instants)
        assert here == there
        assert Thing.source.pull().shared == len(instants)
        assert Thing.delete(prompt=False) == len(instants)
