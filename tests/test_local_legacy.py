"""Local tables for DataJoint 0.12 to 0.14, and those that versions of this package made which did not know it."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datajoint as dj
import numpy as np
import older
import pytest
from buckets import Buckets
from filing import Stores
from fleet import TestServer
from lab import Lab
from legacy_tables import Tracker
from linking import admin, contents, linked
from people import NOTHING
from pipelines import count_held, declare, flag
from provision import KINDS
from test_changes import answering
from test_declare import described

from dj_link import LazySchema, Link
from link import ConfigError, DefinitionError, LinkError, LocalMismatchError, State

#: What DataJoint's serializer makes of the integers up to some number, in 0.x and 2.x.
PACKED = [dj.blob.pack(np.arange(n)) for n in range(4)]


def legacy_units(lab: Lab, rows: int = 3) -> None:
    """The tables Unit and Unit.Spike as DataJoint 0.14 would declare them, with bytes as it would pack them."""
    admin(
        lab,
        'CREATE TABLE "{source}"."unit" (unit int NOT NULL COMMENT \'a unit\', waveform mediumblob NOT NULL '
        "COMMENT 'its shape', notes longblob COMMENT ':attach:read them', graph longblob COMMENT ':<no_codec>:drawn', "
        "settings json COMMENT 'of the rig', depth float NOT NULL DEFAULT 1.5, id binary(16) COMMENT ':uuid:', "
        "PRIMARY KEY (unit)) CHARACTER SET latin1",
        'CREATE TABLE "{source}"."unit__spike" (unit int NOT NULL, spike int NOT NULL, trace longblob, '
        'PRIMARY KEY (unit, spike), FOREIGN KEY (unit) REFERENCES "{source}"."unit" (unit))',
    )
    add_units(lab, *range(rows))
    lab.grant("unit")


def add_units(lab: Lab, *units: int) -> None:
    for n in units:
        values = [n, PACKED[n % 4], b"a.txt\0read me", PACKED[2], json.dumps({"gain": n}), 0.5, n.to_bytes(16, "big")]
        unit, places = f"{lab.source_schema}.unit", ", ".join(["%s"] * len(values))
        lab.source_server.sql(f"INSERT INTO {unit} VALUES ({places})", *values)
        lab.source_server.sql(f"INSERT INTO {unit}__spike VALUES (%s, 1, %s), (%s, 2, NULL)", n, PACKED[3], n)


def unmark(lab: Lab, table: str, **comments: str) -> None:
    """Give columns of a local table the comments with which version 635ca32 declared them: those of the source."""
    server, name = lab.local_server, f"{lab.local_schema}.{table}"
    if server.kind == "postgresql":
        for column, comment in comments.items():
            server.sql(f"COMMENT ON COLUMN {name}.{column} IS '{comment}'")
        return
    definition = server.sql(f"SHOW CREATE TABLE {name}")[0][1]
    for column, comment in comments.items():
        (line,) = re.findall(rf"^  (`{column}` .*?),?$", definition, re.MULTILINE)
        plain = re.sub(r" COMMENT '(?:[^']|'')*'| CHECK \(json_valid\(.*\)\)", "", line)
        if "CHECK" in line:
            plain = re.sub(r"longtext CHARACTER SET \w+ COLLATE \w+", "json", plain)
        server.sql(f"ALTER TABLE {name} MODIFY {plain} COMMENT '{comment}'")


#: What those comments were.
FORMER = {"waveform": "its shape", "notes": ":attach:read them", "graph": ":<no_codec>:drawn", "settings": "of the rig"}

PAIRS = [("mysql", "mysql"), ("mariadb", "mariadb"), ("mysql", "mariadb"), ("mariadb", "postgresql")]


@pytest.mark.parametrize("pair", PAIRS, indirect=True, ids="-".join)
def test_markers_that_are_missing_are_added_by_alter(
    mixed: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Local tables of a version that did not know 0.x: pulls go on, and a warning says how to get objects for bytes."""
    lab = mixed
    legacy_units(lab, 2)
    options: dict[str, Any] = {"backend": lab.source_server.backend}
    assert linked(lab, "Unit", **options).source.pull().pulled == 2
    as_2x = described(lab.local_server, lab.local_schema, "unit")
    unmark(lab, "unit", **FORMER)
    unmark(lab, "unit__spike", trace="")
    as_before = described(lab.local_server, lab.local_schema, "unit")
    add_units(lab, 2)

    Unit = linked(lab, "Unit", **options)
    with caplog.at_level(logging.WARNING, "link"):
        assert Unit.source.pull().pulled == 1
        assert Unit.source.pull().pulled == 0
    (said,) = [record.getMessage() for record in caplog.records if "lack the marker" in record.getMessage()]
    assert "unit.waveform: no marker, wanted is <blob>" in said and "Unit().alter()" in said
    assert "unit.notes: attach, wanted is <attach>" in said and "unit.graph: <no_codec>, wanted is <blob>" in said
    assert "unit__spike.trace: no marker" in said
    assert ("unit.settings: no marker, wanted is json" in said) is (lab.local_kind == "mariadb")
    assert isinstance((Unit & "unit = 2").proj("waveform").fetch1("waveform"), (bytes, memoryview))
    assert Unit.source.verify()

    # Of a row that came before anybody looked, the comment would say what is not true.
    change = f"UPDATE {lab.local_schema}.unit SET waveform = %s WHERE unit = 1"
    lab.local_server.sql(change, b"not packed")
    with pytest.raises(LocalMismatchError, match="'unit': 1}: waveform: not packed by DataJoint") as caught:
        Unit().alter(prompt=False)
    assert "codecs={'waveform': 'bytes'}" in str(caught.value.hint)
    lab.local_server.sql(change, PACKED[1])

    asked = answering(monkeypatch, "no")
    Unit().alter()
    assert len(asked) == 1 and described(lab.local_server, lab.local_schema, "unit") == as_before
    answering(monkeypatch, "yes")
    Unit().alter()
    # Every other word of every column is as it was; what the server does not show without the comment is JSON.
    assert described(lab.local_server, lab.local_schema, "unit") == as_2x
    fetched = [row["waveform"].tolist() for row in Unit().proj("waveform").to_dicts(order_by="unit")]
    assert fetched == [list(range(n)) for n in range(3)]
    assert [row["settings"] for row in Unit().proj("settings").to_dicts(order_by="unit")] == [
        {"gain": n} for n in range(3)
    ]
    assert (Unit.Spike & "spike = 1").to_dicts()[0]["trace"].tolist() == [0, 1, 2]
    verified = Unit.source.verify()
    assert verified and verified.compared == 3
    asked = answering(monkeypatch, "no")
    Unit().alter()
    assert not asked


def test_only_the_comment_of_a_column_changes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every type, with its default, character set and all, in a key to which a foreign key refers, too."""
    if lab.kind == "postgresql":
        columns = (
            "waveform bytea NOT NULL DEFAULT '\\x00ff', id uuid NOT NULL, note varchar(9) NOT NULL DEFAULT 'it''s'"
        )
    else:
        columns = (
            "waveform mediumblob NOT NULL, id binary(16) NOT NULL DEFAULT 'abcdefghijklmnop', "
            "note varchar(9) CHARACTER SET latin1 COLLATE latin1_german2_ci NOT NULL DEFAULT 'it''s', "
            "seen timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)"
        )
    count = "serial" if lab.kind == "postgresql" else "int AUTO_INCREMENT"
    admin(lab, f'CREATE TABLE "{{source}}"."thing" (thing {count}, {columns}, PRIMARY KEY (thing))')
    lab.grant("thing")
    Thing = linked(lab, "Thing", codecs={"waveform": "<blob>"})
    assert Thing.source.pull().pulled == 0
    assert ":<blob>:" in str(described(lab.local_server, lab.local_schema, "thing"))
    before = described(lab.local_server, lab.local_schema, "thing")
    # The other way: bytes where a codec was.
    Bytes = linked(lab, "Thing", codecs={"waveform": "bytes"})
    Bytes().alter(prompt=False)
    between = described(lab.local_server, lab.local_schema, "thing")
    assert [[word for word in row if word != ":<blob>:"] for row in before] == [
        [word for n, word in enumerate(row) if (word or "") != "" or before[m][n] != ":<blob>:"]
        for m, row in enumerate(between)
    ]
    Thing = linked(lab, "Thing", codecs={"waveform": "<blob>"})
    if lab.kind != "postgresql":
        # What cannot be kept is not touched.
        change = f"ALTER TABLE {lab.local_schema}.thing MODIFY waveform mediumblob NOT NULL COMMENT 'its CHECK'"
        lab.local_server.sql(f"{change.replace(' COMMENT', ' DEFAULT (0x00) INVISIBLE COMMENT')}")
        with pytest.raises(LocalMismatchError, match="waveform: INVISIBLE") as caught:
            Thing().alter(prompt=False)
        assert "MODIFY COLUMN `waveform`" in str(caught.value.hint)
        lab.local_server.sql(change.replace("its CHECK", ""))
    Thing().alter(prompt=False)
    assert described(lab.local_server, lab.local_schema, "thing") == before
    # A marker that somebody has given to a column which needs none stays.
    name = f"{lab.local_schema}.thing"
    if lab.kind == "postgresql":
        lab.local_server.sql(f"COMMENT ON COLUMN {name}.note IS ':varchar(9):'")
    else:
        words = "binary(16) NOT NULL DEFAULT 'abcdefghijklmnop' COMMENT ':uuid:'"
        lab.local_server.sql(f"ALTER TABLE {name} MODIFY id {words}")
    asked = answering(monkeypatch, "no")
    linked(lab, "Thing", codecs={"waveform": "<blob>"})().alter()
    assert not asked


# objects of which there are but 16 bytes


@pytest.mark.parametrize("pair", [("mysql", "postgresql"), ("mariadb", "mysql")], indirect=True, ids="-".join)
def test_sixteen_bytes_in_place_of_an_object_are_told(mixed: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """Such a local table takes no rows; it is emptied and dropped, which releases what it holds, and linked again."""
    lab = mixed
    Stores(lab, tmp_path, buckets, "file", "file")
    theirs, name = Tracker(lab, "theirs"), f"{lab.local_schema}.unit"
    admin(lab, 'CREATE TABLE "{source}"."unit" (unit int PRIMARY KEY)')
    admin(lab, 'INSERT INTO "{source}"."unit" VALUES (1), (2), (3)')
    lab.grant("unit")
    options: dict[str, Any] = {"backend": lab.source_server.backend}
    assert linked(lab, "Unit", **options).source.pull().pulled == 3
    column = "raw binary(16) NULL COMMENT ':blob@theirs:raw data'"
    tracking = "`{source}`.`~external_theirs` (`hash`)"
    admin(lab, f'ALTER TABLE "{{source}}"."unit" ADD COLUMN {column}, ADD FOREIGN KEY (raw) REFERENCES {tracking}')
    lab.source_server.sql(f"UPDATE {lab.source_schema}.unit SET raw = %s WHERE unit > 1", theirs.value([1, 2]))
    # As version 635ca32 has declared it.
    if lab.local_kind == "postgresql":
        lab.local_server.sql(f"ALTER TABLE {name} ADD COLUMN raw bytea")
        lab.local_server.sql(f"COMMENT ON COLUMN {name}.raw IS ':blob@theirs:raw data'")
    else:
        lab.local_server.sql(f"ALTER TABLE {name} ADD COLUMN {column}")
    Unit = linked(lab, "Unit", **options)
    flag(lab, "unit = 1")
    with pytest.raises(LocalMismatchError, match="16 bytes by which DataJoint 0") as caught:
        Unit.source.pull()
    assert f"{name}.raw" in caught.value.what and "Unit().drop()" in str(caught.value.hint)
    assert Unit.source.status()[State.SHARED] == 2
    verified = Unit.source.verify()
    assert verified and verified.not_here == ["unit.raw"]
    assert (Unit & "unit = 2").delete(prompt=False) == 1 and count_held(lab) == 2
    Unit().drop(prompt=False)
    # What was flagged is deprecated; the rest is free.
    assert count_held(lab) == 1
    Unit = linked(lab, "Unit", stores={"theirs": "ours"}, **options)
    assert Unit.source.pull().pulled == 2
    assert [row["raw"] for row in Unit().to_dicts()] == [[1, 2], [1, 2]]


# local tables for DataJoint 0.x

#: What 0.14 is told before the code of a test: `schema`, and its tables by their classes' names.
PRELUDE = """
import json, os, sys
os.environ["DJ_SUPPORT_ADAPTED_TYPES"] = os.environ["DJ_SUPPORT_FILEPATH_MANAGEMENT"] = "TRUE"
import datajoint as dj, numpy as np
told = json.load(sys.stdin)
dj.config.update({"safemode": False, "loglevel": "ERROR"})
connection = dj.Connection(told["host"], told["user"], told["password"], port=told["port"], use_tls=False)
class Graph(dj.AttributeAdapter):
    attribute_type = "longblob"
    def put(self, obj): return obj
    def get(self, value): return {"graph": value}
names = {"graph": Graph(), "dj": dj, "np": np}
schema = dj.Schema(told["schema"], names, connection=connection)
schema.spawn_missing_classes(names)
globals().update(names)
"""


In014 = Callable[[TestServer, str, str], Any]


@pytest.fixture
def in_014(datajoint_014: Path) -> In014:
    """What some code prints, as JSON, that runs with DataJoint 0.14 on the tables of a schema."""

    def run(server: TestServer, schema: str, code: str) -> Any:
        told = {"host": server.host, "port": server.port, "user": server.admin_user, "password": server.admin_password}
        ran = subprocess.run(
            [str(datajoint_014), "-W", "ignore", "-c", PRELUDE + code],
            input=json.dumps(told | {"schema": schema}),
            capture_output=True,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith(NOTHING)},
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    return run


#: Every value of a table, as 0.14 fetches it.
FETCH = """
def shown(value):
    if isinstance(value, dict): return {name: shown(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)): return [shown(each) for each in value]
    return shown(value.tolist()) if isinstance(value, (np.ndarray, np.generic)) else value
def fetched(table):
    return [shown(dict(row)) for row in table.fetch(as_dict=True, order_by="KEY", download_path=PATH)]
"""


@pytest.mark.parametrize(
    "pair", [("mysql", "mysql"), ("mariadb", "mysql"), ("postgresql", "mariadb")], indirect=True, ids="-".join
)
def test_a_modern_source_for_legacy_clients(
    mixed: Lab, in_014: In014, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All that DataJoint 2 declares in tables is read by 0.14, on which what this lab computes depends."""
    lab = mixed

    class Unit(dj.Manual):
        definition = """
        # units: all core types
        unit : int32
        animal : uuid       # whose
        ---
        i8 : int8
        i64 = null : int64
        f32 : float32
        f64 = null : float64
        sure = 1 : bool
        d = 1.5 : decimal(10,3)
        c = "x" : char(6)
        v = "it's" : varchar(300)
        e = "b" : enum('a','b','c d')
        day = "2020-01-01" : date
        fine : datetime(6)
        j = null : json
        wave = null : <blob>  # an array
        notes = null : <attach>
        """

        class Spike(dj.Part):
            definition = """
            -> master
            n : int16
            ---
            x = null : float64
            trace : <blob>
            """

    table = declare(lab, Unit)
    key = {"unit": 7, "animal": "00000000-0000-0000-0000-000000000005"}
    (tmp_path / "a.txt").write_text("read me")
    values: dict[str, Any] = {"i8": -3, "i64": 2**62, "f32": 0.5, "f64": 0.1, "sure": True, "d": "2.125", "c": "abc"}
    values |= {"v": "µ", "e": "c d", "day": "2021-02-03", "fine": "2021-02-03 04:05:06.000007"}
    server, name = lab.source_server, f"{lab.source_schema}.unit"
    packed = {"wave": PACKED[3], "notes": b"a.txt\0read me"}
    row = key | values | packed | {"j": '{"a": [1, null]}'}
    places = ", ".join(["%s"] * len(row))
    if lab.kind == "postgresql":
        row["sure"] = True
    else:
        row["animal"] = (5).to_bytes(16, "big")
    server.sql(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({places})", *row.values())
    spike = f"INSERT INTO {name}__spike (unit, animal, n, x, trace) VALUES (7, %s, 1, 0.25, %s)"
    server.sql(spike, row["animal"], PACKED[2])
    lab.grant(table)
    Local: Any = linked(lab, "Unit", backend=server.backend, datajoint="0.x")
    with caplog.at_level(logging.WARNING, "link"):
        assert Local.source.pull().pulled == 1
    assert "lack the marker" not in caplog.text
    assert Local.source.verify()

    code = FETCH.replace("PATH", repr(str(tmp_path / "there"))) + (
        "os.mkdir(" + repr(str(tmp_path / "there")) + ")\n"
        "@schema\n"
        "class Rate(dj.Computed):\n"
        "    definition = '-> Unit\\n---\\nrate: float\\nshape: longblob'\n"
        "    def make(self, key):\n"
        "        wave = (Unit & key).fetch1('wave')\n"
        "        self.insert1(dict(key, rate=len(wave), shape=wave + 1))\n"
        "Rate.populate()\n"
        "print(json.dumps([fetched(table) for table in (Unit, Unit.Spike, Rate)], default=str))\n"
    )
    units, spikes, rates = in_014(lab.local_server, lab.local_schema, code)
    document: Any = {"a": [1, None]}
    if lab.local_kind == "mariadb":
        units[0]["j"] = json.loads(units[0]["j"])  # to 0.14 it is text there, whoever has declared it
    expected = key | values | {"sure": 1, "d": "2.125", "j": document, "wave": [0, 1, 2]}
    assert units == [expected | {"notes": str(tmp_path / "there/a.txt")}]
    assert (tmp_path / "there/a.txt").read_text() == "read me"
    assert spikes == [key | {"n": 1, "x": 0.25, "trace": [0, 1]}]
    assert rates == [key | {"rate": 3.0, "shape": [1, 2, 3]}]


@pytest.mark.parametrize("pair", [("mysql", "mariadb"), ("mariadb", "mysql")], indirect=True, ids="-".join)
def test_a_legacy_source_for_legacy_clients(mixed: Lab, in_014: In014, tmp_path: Path) -> None:
    """What 0.x declared arrives as it declared it: what an adapter has made, and bytes that nothing has packed, too."""
    lab = mixed
    legacy_units(lab, 2)
    lab.source_server.sql(f"UPDATE {lab.source_schema}.unit SET waveform = 'not packed' WHERE unit = 1")
    lab.source_server.sql(f"UPDATE {lab.source_schema}.unit SET graph = %s", dj.blob.pack([1, 2]))
    comment = lab.source_server.sql(f"SHOW FULL COLUMNS FROM {lab.source_schema}.unit LIKE 'graph'")[0][-1]
    lab.source_server.sql(
        f"ALTER TABLE {lab.source_schema}.unit MODIFY graph longblob COMMENT %s", comment.replace("no_codec", "graph")
    )
    Unit = linked(lab, "Unit", datajoint="0.x")
    assert Unit.source.pull().pulled == 2 and Unit.source.verify()
    comments = [
        [row[0::8] for row in server.sql(f"SHOW FULL COLUMNS FROM {schema}.unit")]
        for server, schema in ((lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema))
    ]
    assert comments[0] == comments[1]
    code = FETCH.replace("PATH", repr(str(tmp_path))) + (
        "print(json.dumps(fetched(Unit & 'unit = 0') + fetched(Unit.Spike & 'unit = 0'), default=str))"
    )
    unit, *spikes = in_014(lab.local_server, lab.local_schema, code)
    settings = {"gain": 0} if lab.local_kind == "mysql" else '{"gain": 0}'
    assert unit == {
        "unit": 0,
        "waveform": [],
        "notes": str(tmp_path / "a.txt"),
        "graph": {"graph": [1, 2]},
        "settings": settings,
        "depth": 0.5,
        "id": "00000000-0000-0000-0000-000000000000",
    }
    assert [spike["trace"] for spike in spikes] == [[0, 1, 2], None]
    # Names of attachments are looked at all the same: 0.x, too, writes files by them.
    lab.source_server.sql(f"UPDATE {lab.source_schema}.unit SET notes = %s WHERE unit = 1", b"../up\0x")
    assert (Unit & "unit = 1").delete(prompt=False) == 1
    with pytest.raises(LinkError, match="notes"):
        Unit.source.pull()


@pytest.mark.parametrize("pair", [("mysql", "mariadb"), ("postgresql", "mysql")], indirect=True, ids="-".join)
def test_what_legacy_clients_cannot_read_is_refused_by_name(mixed: Lab) -> None:
    """In one error, before anything is created anywhere; a link that is there goes on without a new such column."""
    lab = mixed
    server, columns = lab.source_server, ("trace json", "still json", "raw longblob", "own longblob")
    comments = {"wave": "<blob>", "trace": "<blob@deep>", "still": "<npy@deep>", "raw": "bytes", "own": "<of_this_lab>"}
    admin(lab, 'CREATE TABLE "{source}"."unit" (unit int PRIMARY KEY, wave ' + BYTES[lab.kind] + ")")
    admin(lab, 'INSERT INTO "{source}"."unit" (unit) VALUES (1)')

    def mark(*names: str) -> None:
        for name in names:
            kind = next(words for words in ("wave longblob", *columns) if words.startswith(f"{name} ")).split()[1]
            comment = f":{comments[name]}:"
            if lab.kind == "postgresql":
                server.sql(f"COMMENT ON COLUMN {lab.source_schema}.unit.{name} IS '{comment}'")
            else:
                server.sql(f"ALTER TABLE {lab.source_schema}.unit MODIFY {name} {kind} COMMENT '{comment}'")

    def add(*names: str) -> None:
        for name in names:
            words = next(words for words in columns if words.startswith(f"{name} "))
            admin(lab, f'ALTER TABLE "{{source}}"."unit" ADD COLUMN {words.replace("longblob", BYTES[lab.kind])}')
        mark(*names)

    mark("wave")
    add("raw")
    lab.grant("unit")
    options: dict[str, Any] = {"backend": server.backend, "datajoint": "0.x"}
    add("trace", "still", "own")
    before = contents(lab)
    with pytest.raises(DefinitionError, match="could not read here") as caught:
        linked(lab, "Unit", **options).source.pull()
    lines = {line.split()[0]: line.split()[-1] for line in caught.value.what.splitlines()[1:]}
    assert lines == {f"unit.{name}:": special for name, special in comments.items() if name != "wave"}
    assert contents(lab) == before
    admin(lab, *(f'ALTER TABLE "{{source}}"."unit" DROP COLUMN {name}' for name in ("trace", "still", "own", "raw")))
    if lab.kind == "postgresql":
        admin(lab, 'ALTER TABLE "{source}"."unit" ADD COLUMN id uuid')
    assert linked(lab, "Unit", **options).source.pull().pulled == 1
    comments_here = {row[0]: row[5] for row in described(lab.local_server, lab.local_schema, "unit")}
    assert comments_here == {"unit": "", "wave": ""} | ({"id": ":uuid:"} if lab.kind == "postgresql" else {})
    add("trace")
    admin(lab, 'INSERT INTO "{source}"."unit" (unit) VALUES (2)')
    Unit = linked(lab, "Unit", **options)
    assert Unit.source.pull().pulled == 1
    assert Unit.source.verify().not_here == ["unit.trace"]


BYTES = {"mysql": "longblob", "mariadb": "longblob", "postgresql": "bytea"}


@pytest.mark.parametrize("kind", ["mysql"], indirect=True)
def test_a_key_that_legacy_clients_cannot_read_is_refused_in_any_case(lab: Lab, in_014: In014) -> None:
    """Integers that are filled with zeros: 0.14 fails with the whole table."""
    admin(
        lab,
        'CREATE TABLE "{source}"."unit" (unit int ZEROFILL PRIMARY KEY)',
        'INSERT INTO "{source}"."unit" VALUES (5)',
    )
    lab.grant("unit")
    assert linked(lab, "Unit").source.pull().pulled == 1
    with pytest.raises(AssertionError, match="dtype not found for type"):
        in_014(lab.local_server, lab.local_schema, "print(Unit.fetch())")
    with pytest.raises(DefinitionError, match=r"unit\.unit: int"):
        linked(lab, "Unit", datajoint="0.x").source.pull()


@pytest.mark.parametrize("pair", [(kind, "mariadb") for kind in KINDS], indirect=True, ids="-".join)
def test_json_is_json_to_datajoint_on_mariadb(mixed: Lab) -> None:
    """Also of columns that nobody has marked."""
    lab = mixed
    admin(lab, 'CREATE TABLE "{source}"."unit" (unit int PRIMARY KEY, doc json)')
    lab.source_server.sql(f"INSERT INTO {lab.source_schema}.unit VALUES (1, %s)", '{"a": [1, null]}')
    lab.grant("unit")
    Unit = linked(lab, "Unit", backend=lab.source_server.backend)
    assert Unit.source.pull().pulled == 1 and Unit.source.verify()
    assert Unit().to_dicts() == [{"unit": 1, "doc": {"a": [1, None]}}]


def test_a_local_server_that_legacy_clients_do_not_know_is_refused(lab: Lab) -> None:
    admin(lab, 'CREATE TABLE "{source}"."unit" (unit int PRIMARY KEY)')
    lab.grant("unit")
    Unit = linked(lab, "Unit", datajoint="0.x")
    before = contents(lab)
    if lab.kind != "postgresql":
        assert Unit.source.pull().pulled == 0
        return
    with pytest.raises(ConfigError, match="cannot connect to"):
        Unit.source.pull()
    assert contents(lab) == before


@pytest.mark.parametrize("pair", [("mysql", "mysql"), ("postgresql", "mariadb")], indirect=True, ids="-".join)
def test_tables_for_the_other_datajoint_are_marked_anew(
    mixed: Lab, in_014: In014, caplog: pytest.LogCaptureFixture
) -> None:
    """What reads the local tables may change: one warning says it, alter() changes the comments, back and forth."""
    lab = mixed

    class Unit(dj.Manual):
        definition = "unit : int32\n---\nwave : <blob>\nj = null : json  # of the rig\nnotes = null : <attach>"

    table = declare(lab, Unit)
    insert = f"INSERT INTO {lab.source_schema}.unit VALUES (%s, %s, '[1]', %s)"
    lab.source_server.sql(insert, 1, PACKED[2], b"a.txt\0read me")
    lab.grant(table)
    backend = lab.source_server.backend
    assert linked(lab, "Unit", backend=backend).source.pull().pulled == 1
    as_2x = described(lab.local_server, lab.local_schema, "unit")
    code = FETCH.replace("PATH", "'.'") + "print(json.dumps([row['wave'] for row in fetched(Unit.proj('wave'))]))"
    for datajoint, said in (
        ("0.x", "unit.unit: int32, wanted is none"),
        ("2.x", "unit.wave: no marker, wanted is <blob>"),
    ):
        lab.source_server.sql(insert, len(datajoint) + len(said), PACKED[1], None)
        Unit_: Any = linked(lab, "Unit", backend=backend, datajoint=datajoint)
        with caplog.at_level(logging.WARNING, "link"):
            assert Unit_.source.pull().pulled == 1
        assert said in caplog.text and "Unit().alter()" in caplog.text
        caplog.clear()
        Unit_().alter(prompt=False)
        assert Unit_.source.verify()
        if datajoint == "0.x":
            assert in_014(lab.local_server, lab.local_schema, code) == [[0, 1], [0]]
            assert "json" not in str([row[5] for row in described(lab.local_server, lab.local_schema, "unit")])
    rows = Unit_().proj("wave", "j").to_dicts(order_by="unit")
    assert [row["wave"].tolist() for row in rows] == [[0, 1], [0], [0]]
    assert rows[0]["j"] == [1]
    if lab.local_kind == "mysql" and lab.kind == "mysql":
        # Markers of types that the server shows are not missed.
        told = {row[0]: row[5] for row in described(lab.local_server, lab.local_schema, "unit")}
        assert told["wave"] == {row[0]: row[5] for row in as_2x}["wave"]


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_tables_of_a_legacy_source_are_marked_anew_word_for_word(lab: Lab) -> None:
    """Back to what the source says, an adapter's name too; and forth to what DataJoint 2 makes of it."""
    legacy_units(lab, 1)
    assert linked(lab, "Unit").source.pull().pulled == 1
    as_2x = described(lab.local_server, lab.local_schema, "unit")
    Unit = linked(lab, "Unit", datajoint="0.x")
    assert Unit.source.pull().shared == 1
    Unit().alter(prompt=False)
    there, here = (
        described(server, schema, "unit")
        for server, schema in ((lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema))
    )
    assert here == there
    Unit = linked(lab, "Unit")
    Unit().alter(prompt=False)
    assert described(lab.local_server, lab.local_schema, "unit") == as_2x and Unit.source.verify()


@pytest.mark.parametrize("pair", [("mysql", "mysql"), ("mysql", "mariadb")], indirect=True, ids="-".join)
def test_a_legacy_client_deletes_local_rows(mixed: Lab, in_014: In014) -> None:
    """It knows nothing of holds: the rows are vanished, and pulled again unless they are let go."""
    lab = mixed
    legacy_units(lab, 4)
    Unit = linked(lab, "Unit", datajoint="0.x")
    assert Unit.source.pull().pulled == 4
    # Without its log, which it cannot make within the deletion, 0.14 refuses in a schema that it has never written to.
    code = "schema.log; (Unit & 'unit < 2').delete(); print(len(Unit()))"
    assert in_014(lab.local_server, lab.local_schema, code) == 2
    assert Unit.source.status()[State.VANISHED] == 2 and count_held(lab) == 4
    assert Unit.source.pull("unit = 0").pulled == 1 and len(Unit()) == 3
    Unit.source.repair(vanished="release", dry_run=False)
    assert count_held(lab) == 3 and Unit.source.status()[State.UNSHARED] == 1
    assert Unit.source.verify()


@pytest.mark.parametrize("kind", ["mysql"], indirect=True)
def test_the_older_interface_says_what_reads_its_tables(lab: Lab, in_014: In014) -> None:
    legacy_units(lab, 1)
    older.grant_schemas(lab)
    schemas = (LazySchema(lab.local_schema, connection=lab.local), LazySchema(lab.source_schema, connection=lab.source))
    with pytest.raises(ConfigError, match="is not known"):
        Link(*schemas, datajoint="0.13")
    Unit = Link(*schemas, datajoint="0.x")(type("Unit", (), {}))
    assert Unit().pull().pulled == 1
    assert in_014(lab.local_server, lab.local_schema, "print(json.dumps(Unit.fetch1('waveform').tolist()))") == []
