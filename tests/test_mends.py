"""What DataJoint does with rows that have arrived: it reads them, finds them by what it has read, and takes more."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import datajoint as dj
import oracle
import pytest
from lab import Lab
from oracle import TYPES, Type
from pipelines import declare, granted, linked
from provision import KINDS
from test_exact_keys import Keys, linked_by, tables

HERE = [(kind, "postgresql") for kind in KINDS]
PAIRS = [*HERE, ("postgresql", "mysql")]
#: Keys of types in which DataJoint cannot read or find all values, whoever has put them there.
BEYOND = ("infinity", "infinite day", "zero date", "zero datetime", "zero timestamp")


def is_found(kind: str, column: Type, value: Any) -> bool:
    """Whether DataJoint reads a value on a kind of server, and finds it by what it has read: docs/types.md."""
    if column.family == "json" or column.marker.startswith("<"):
        return False
    if kind == "postgresql":
        return (
            str(value) not in ("infinity", "-infinity", "24:00:00")
            and not str(value).endswith("BC")
            and (column.family not in ("date", "datetime") or str(value)[4] == "-")
        )
    rounded = column.family == "float" and (column.bits == 32 or column.sql == "double(60,30)")
    return not rounded and not (kind == "mysql" and str(value).startswith(("0000-", "2020-00", "2020-02-31")))


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
def test_keys(mixed: Lab) -> None:
    """Rows and part rows are found by their keys, one by one and in lists, at both ends, and so they are deleted."""
    lab = mixed
    oracle.create_enum(lab.source_server, lab.source_schema)
    rounded = ("float", "real") if {lab.kind, lab.local_kind} != {"postgresql"} else ()
    failures = {}
    for n, keys in enumerate(tables(lab.kind, lab.local_kind)):
        tried = {name: without_midnight(key) for name, key in keys.items() if name not in (*BEYOND, *rounded)}
        try:
            check_keys(lab, f"Thing{n}", tried)
        except Exception as error:
            failures[", ".join(tried)] = f"{type(error).__name__}: {error}"
    assert failures == {}


def without_midnight(key: Keys) -> Keys:
    """A key without the end of a day, which Python takes for its beginning."""
    return replace(key, values=tuple(value for value in key.values if value != "24:00:00"))


def check_keys(lab: Lab, name: str, keys: dict[str, Keys]) -> None:
    Thing, _, rows = linked_by(lab, name, keys, (1,))
    assert Thing.source.pull().pulled == len(rows)

    here, there = Thing.keys(), Thing.source.keys()
    assert len(here) == len(there) == len(rows)
    for key in here:
        assert len(Thing & key) == 1, key
        assert (Thing.Part & key).fetch1("i") == 1, key
    for key in (*here, *there):  # also by what the other server says
        assert len(Thing.source & key) == 1, key
    assert len(Thing & here) == len(Thing.source & here) == len(Thing & Thing.Part) == len(rows)
    assert len((Thing * Thing.Part).to_dicts()) == len(rows)
    assert (Thing & here[0]).delete(prompt=False) == 1
    assert len(Thing - here[1:]) == 0
    assert Thing.source.pull(here[0]).pulled == 1
    assert (Thing & here[:3]).delete(prompt=False) == 3
    assert Thing.source.status()["Unshared"] == 3


@pytest.mark.parametrize("pair", PAIRS, ids="-".join, indirect=True)
def test_values(mixed: Lab, tmp_path: Path) -> None:
    """Values of every type are read, and rows are found by them, at both ends."""
    lab = mixed
    oracle.create_enum(lab.source_server, lab.source_schema)
    columns = {f"v{n}": column for n, column in enumerate(TYPES[lab.kind]) if column.marker != "<not_installed>"}
    oracle.create(lab.source_server, lab.source_schema, "thing", {"k": oracle.INTEGER, **columns}, ["k"])
    cases = [(name, column, value) for name, column in columns.items() for value in column.values]
    for name, column in columns.items():
        rows = [(k, value) for k, (other, _, value) in enumerate(cases) if other == name]
        oracle.insert(lab.source_server, lab.source_schema, "thing", {"k": oracle.INTEGER, name: column}, rows)
    lab.grant("thing")
    Thing = linked(lab, "Thing", backend=lab.source_server.backend)
    Thing.source.pull(suppress_errors=True)

    wrong = []
    for kind, table in ((lab.kind, Thing.source), (lab.local_kind, Thing())):
        table.connection._config.download_path = str(tmp_path / kind)
        present = set(table.to_arrays("k"))
        for k, (name, column, value) in enumerate(cases):
            row = table & {"k": k}
            if k not in present:
                continue
            told = f"{kind} {column.sql} [{column.marker}] {value!r:.60}"
            try:
                if column.marker == "json" and value.startswith('"'):
                    assert row.fetch1(name) == json.loads(value), told
                elif column.marker == "<attach>":
                    assert Path(row.fetch1(name)).read_bytes() == value.partition(b"\0")[2], told
                elif column.family == "uuid" and column.marker:
                    assert row.fetch1(name) == UUID(value), told
                if is_found(kind, column, value):
                    assert len(row & {name: row.fetch1(name)}) == 1, told
            except Exception as error:
                wrong.append(f"{told}: {type(error).__name__}: {error}")
    assert wrong == []


@pytest.mark.parametrize("older", [False, True], ids=["link", "dj_link"])
@pytest.mark.parametrize("pair", HERE, ids="-".join, indirect=True)
def test_tables_of_the_lab_below_one_with_uuids(mixed: Lab, older: bool) -> None:
    """A lab computes from rows with uuids, in tables of its own, as it does anywhere."""
    lab = mixed
    lab.older = older

    class Probe(dj.Manual):
        definition = """
        probe : uuid
        ---
        model = null : uuid
        """

        class Shank(dj.Part):
            definition = "-> master\nshank : int32"

    chance = Random(0)
    ids = [UUID(bytes=chance.randbytes(16)) for _ in range(4)]
    source = declare(lab, Probe)
    source.insert({"probe": id, "model": UUID(int=n)} for n, id in enumerate(ids))
    source.update1({"probe": ids[0], "model": None})
    source.Shank.insert({"probe": id, "shank": n} for id in ids for n in range(2))
    Linked: Any = granted(lab, Probe, **({} if older else {"backend": lab.source_server.backend}))
    there = Linked().source
    assert (there & {"probe": ids[1]}).fetch1() == {"probe": ids[1], "model": UUID(int=1)}
    (there & [{"probe": id} for id in ids[:3]]).pull()
    assert sorted(Linked().to_dicts(), key=lambda row: ids.index(row["probe"])) == [
        {"probe": id, "model": UUID(int=n) if n else None} for n, id in enumerate(ids[:3])
    ]
    assert sorted(Linked().to_arrays("probe")) == sorted(ids[:3])
    assert len(Linked & (there & {"probe": str(ids[1])}).keys()) == 1  # as DataJoint takes a text for a uuid
    assert "uuid" in Linked().describe()

    class Depth(dj.Computed):
        definition = """
        -> Linked
        ---
        run : uuid
        depth : float64
        """

        def make(self, key: dict[str, Any], **kwargs: Any) -> None:
            assert isinstance(key["probe"], UUID)
            shanks = len(Linked.Shank & key)
            table: Any = self
            table.insert1({**key, "run": UUID(int=shanks), "depth": 0.1 * shanks})

    schema = lab.local.Schema(f"{lab.prefix}_own")
    Own: Any = schema(Depth, context={"Linked": Linked})
    Own.populate({"probe": ids[0]}, reserve_jobs=True)
    assert Own.keys() == [{"probe": ids[0]}]
    Own.populate()
    assert {row["probe"]: row["run"] for row in (Linked * Own).to_dicts()} == dict.fromkeys(ids[:3], UUID(int=2))
    assert len(Own & (Linked & {"probe": ids[2]})) == len(Own & {"probe": ids[2], "depth": 0.2}) == 1
    assert len(Own.proj(other="probe") & {"other": ids[2]}) == len(dj.U("run") & Own)
    Own.update1({"probe": ids[1], "run": ids[1]})
    assert (Own & {"run": ids[1]}).fetch1("probe") == ids[1]
    records = (Own & {"run": UUID(int=2)}).proj("run").to_arrays()
    assert len(Own & records) == len(Own & list(records)) == 2
    assert len(Own - dj.Not({"probe": ids[1]})) == 1

    assert (Linked & {"probe": ids[1]}).delete(prompt=False) == 1
    assert Counter(Own.to_arrays("probe")) == Counter([ids[0], ids[2]])
    (Linked & [{"probe": ids[0]}, {"probe": ids[2]}]).delete(prompt=False)
    assert len(Own()) == len(Linked()) == 0


@pytest.mark.parametrize("pair", [("postgresql", "postgresql")], ids="-".join, indirect=True)
def test_what_else_a_lab_has_on_its_connection_is_as_before(mixed: Lab) -> None:
    """Its statements, its bits, its bytes; and a driver that it has told to read JSON in another way."""
    lab, connection = mixed, mixed.local.connection

    class Note(dj.Manual):
        definition = """
        note : int32
        ---
        id : uuid
        raw : bytes
        meta : json
        path : varchar(80)
        """

    id = UUID("5f2c9a1e-0b7d-4c33-9e48-d1a6b07f2e95")
    table: Any = lab.local.Schema(lab.local_schema)(Note)
    row = {"note": 1, "id": id, "raw": b"\\x\0", "meta": '{"a": 1}', "path": 'C:\\%"\'"id"=X\'' + "0" * 32 + "'"}
    table.insert1(row)
    assert {name: bytes(v) if name == "raw" else v for name, v in table.fetch1().items()} == row
    assert all(len(table & {name: row[name]}) == 1 for name in row if name != "meta")
    assert isinstance(table.fetch1("raw"), memoryview)
    name = table.full_table_name
    ((told, raw),) = connection.query(f"SELECT id, raw FROM {name}").fetchall()
    assert told == str(id)
    assert isinstance(raw, memoryview)
    connection.query(f"ALTER TABLE {name} ADD bits bit(128) DEFAULT X'{'0' * 31}1'")
    again = dj.FreeTable(connection, name)
    assert len(again & f"\"bits\"=X'{'0' * 31}1'") == 1
    assert len(again & f"\"id\" = '{id}'") == 1
    table.insert1({**row, "note": 2, "meta": {"path": "C:\\%'", "n": 0.5}})
    assert (again & {"meta.path": "C:\\%'"}).fetch1("note") == 2

    import psycopg2.extras

    driver: Any = psycopg2.extras
    driver.register_default_jsonb(connection._conn, loads=lambda text: text)
    assert (again & "note = 1").fetch1("meta") == '{"a": 1}'  # a text in JSON, as DataJoint reads it from what it gets
    driver.register_uuid(conn_or_curs=connection._conn)
    assert (again & "note = 1").fetch1("id") == id
