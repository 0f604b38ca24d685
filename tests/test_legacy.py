"""What DataJoint 0.14 has declared and filled arrives on every kind of server as what 0.14 itself fetches there.

`legacy_lab.py` declares, fills and fetches with a real DataJoint 0.14; here its tables are pulled, and what DataJoint
2 fetches is compared value by value.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datajoint as dj
import pytest
from buckets import Buckets
from canonical import as_older, canonical
from crasher import Crasher, Order
from datajoint.blob import unpack
from datajoint.utils import to_camel_case
from figures import Figures
from filing import collected, listed
from fleet import Fleet, TestServer
from lab import Lab
from people import answered
from pipelines import count_held, helper_rows, linked
from provision import KINDS

from link.accounts import Credentials
from link.addresses import Address
from link.admin.grants import grants
from link.files.objects import STAGING
from link.model.schema import part_class
from link.servers.rights import Access

PROGRAM = Path(__file__).with_name("legacy_lab.py")
#: Each kind of server that 0.14 knows, and each kind of local server.
PAIRS = list(itertools.product(("mysql", "mariadb"), KINDS))
#: The local store for each of the source's.
STORES = {"theirs": "ours", "my-store": "ours", "att": "more", "fp": "more", "cloud": "bucket"}
#: Where DataJoint 2 reads the very bytes as something else: 0.14 makes an array of MATLAB's cells where they are alike,
#: and cannot read them where they are rows of different length.
CELLS = {"cell", "ragged cell", "cell matrix", "cell in struct", "alike cell"}
#: What is refused, by table and row: what adapters made of attachments and paths, which nothing at the source tells.
REFUSED = {
    "wrapped": {
        1: ("leaf: not packed by DataJoint", "codecs={'leaf': 'bytes'}"),
        2: ("column paper: ~external_att says that it is an attachment", "codecs="),
        3: ("column placed: placed.dat in the store 'fp' is nothing that DataJoint has packed", "codecs="),
    }
}
#: The words by which that is told.
CODECS = {"leaf": "<attach>", "paper": "<attach>", "placed": "<filepath>"}
#: Numbers that are `numeric` on PostgreSQL, which has no unsigned ones.
DECIMALS = {"u64", "sid"}

Row = dict[str, Any]


@pytest.fixture(scope="session", params=PAIRS, ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The kinds of the source's and the local server."""
    return request.param  # type: ignore[no-any-return]


@dataclass
class Filled:
    """A schema that DataJoint 0.14 has made.

    ``tables`` has of each the names of its key and its rows as 0.14 fetches them; ``stores`` are in DataJoint's
    settings.
    """

    schema: str
    tables: dict[str, dict[str, Any]]
    stores: dict[str, dict[str, Any]]

    def masters(self) -> Iterator[tuple[str, list[str]]]:
        """The tables that are no parts, each with its parts."""
        for name in self.tables:
            if "__" not in name.lstrip("_"):
                yield name, [part for part in self.tables if part.startswith(f"{name}__")]


@pytest.fixture(scope="session")
def filled(
    fleet: Fleet, datajoint_014: Path, buckets: Buckets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Filled]]:
    """What 0.14 has made on the kinds of servers that have been asked for; it is not changed."""

    class Made(dict[str, Filled]):
        def __missing__(self, kind: str) -> Filled:
            self[kind] = fill(datajoint_014, fleet.pair(kind)[0], buckets, tmp_path_factory.mktemp(kind))
            return self[kind]

    made = Made()
    yield made
    for kind, found in made.items():
        fleet.pair(kind)[0].sql(f"DROP SCHEMA {found.schema}")


def fill(python: Path, server: TestServer, buckets: Buckets, folder: Path) -> Filled:
    """Let 0.14 make a schema, with stores in folders and one in a bucket."""
    schema = f"made_{secrets.token_hex(3)}"
    stores: dict[str, dict[str, Any]] = {}
    for name in STORES:
        for made in (stage := folder / "stage" / name), (location := folder / "stores" / name):
            made.mkdir(parents=True)
        stores[name] = {"protocol": "file", "location": str(location), "stage": str(stage)}
    stores["my-store"]["subfolding"] = []
    bucket = schema.replace("_", "-")
    buckets.source.filesystem().mkdir(bucket)
    stores["cloud"] = buckets.source.store(bucket) | {"stage": stores["cloud"]["stage"]}
    where = {"host": server.host, "port": server.port, "user": server.admin_user, "password": server.admin_password}
    order = {"server": where, "schema": schema, "stores": stores, "folder": str(folder)}
    answer = answered(python, PROGRAM, order, folder)
    assert answer["version"] == "0.14.6"
    return Filled(schema, answer["tables"], stores)


@pytest.fixture
def source(mixed: Lab, filled: dict[str, Filled], buckets: Buckets, tmp_path: Path) -> Filled:
    """What 0.14 has made at the lab's source, and stores on both sides."""
    lab, found = mixed, filled[mixed.kind]
    lab.source_schema = found.schema
    bucket = f"{lab.prefix}-ours"
    buckets.local.filesystem().mkdir(bucket)
    ours: dict[str, Any] = {"bucket": buckets.local.store(bucket)}
    for name in ("ours", "more"):
        (tmp_path / name).mkdir()
        ours[name] = {"protocol": "file", "location": str(tmp_path / name)}
    lab.local.config.stores = found.stores | ours
    if lab.local_kind != "postgresql":
        lab.local.connection.query("SET time_zone = '+00:00'")
    return found


def granted(lab: Lab, master: str, helper: str, **options: Any) -> Any:
    """The linked class of a table on which the link user has got the rights that are printed, and no others."""
    lab.helper_table = helper
    name, server = to_camel_case(master.strip("#_")), lab.source_server
    access = Access(
        source_schema=lab.source_schema,
        tables=[name],
        helper_schema=lab.helper_schema,
        helper_tables=[helper],
        user=lab.link_user,
        new_user=False,
    )
    administrator = Credentials(server.admin_user, server.admin_password)
    script = grants(access, address=Address(server.host, server.port, "mysql"), administrator=administrator)
    for line in script.splitlines():
        if not line.startswith("--"):
            server.sql(line.rstrip(";"))
    return linked(lab, name, backend="mysql", **options)


@pytest.mark.timeout(300)
def test_every_value_arrives(mixed: Lab, source: Filled, figures: Figures, tmp_path: Path) -> None:
    lab, different, compared = mixed, [], 0
    for number, (master, parts) in enumerate(source.masters()):
        table = granted(lab, master, f"held_{number}", stores=STORES)
        result = table.source.pull(suppress_errors=True)
        if refused := REFUSED.get(master):
            errors = {key["id"]: str(error) for key, error in result.errors}
            assert errors.keys() == refused.keys()
            assert all(word in errors[row] for row, words in refused.items() for word in words), list(errors.values())
            options = {"stores": STORES, "local_schema": f"{lab.local_schema}_told", "codecs": CODECS}
            table = granted(lab, master, f"held_{number}_told", **options)
            result = table.source.pull(suppress_errors=True)
        different += [f"{master}: {error}" for _, error in result.errors]
        assert table.source.verify(), master
        for name in (master, *parts):
            here = fetched(table if name == master else getattr(table, part_class(master, name)), tmp_path / "here")
            different += [f"{name}: {line}" for line in compare(lab, name, source.tables[name], here)]
            compared += sum(map(len, here))
    assert not different, "\n".join(different)
    figures.add("values that DataJoint 0.14 had stored", f"{lab.kind} to {lab.local_kind}", compared)


def fetched(table: Any, folder: Path) -> list[Row]:
    """Every row of a local table as DataJoint 2 fetches it, each with a folder of its own for attachments."""
    instance = table()
    rows = []
    for number in range(len(instance)):
        instance.connection._config.download_path = str(folder / instance.table_name / str(number))
        (row,) = instance.to_dicts(order_by="KEY", limit=1, offset=number)
        rows.append({name: told(instance.heading[name], value, folder) for name, value in row.items()})
    return rows


def told(attribute: Any, value: Any, folder: Path) -> Any:
    """A value as `legacy_lab.told` tells it."""
    if isinstance(value, dj.objectref.ObjectRef):
        return ["object", value.path, value.read().hex()]
    if isinstance(value, str) and folder in Path(value).parents:
        return ["file", Path(value).name, Path(value).read_bytes().hex()]
    return canonical(value if attribute.codec else as_older(value))


def compare(lab: Lab, name: str, theirs: dict[str, Any], ours: list[Row]) -> list[str]:
    """In what the rows of both sides differ."""

    def by_key(rows: list[Row]) -> dict[str, Row]:
        return {json.dumps([row[column] for column in theirs["key"]]): row for row in rows}

    there, here = by_key([awaited(lab, name, row, lab.local_kind) for row in theirs["rows"]]), by_key(ours)
    found = [f"{key} is not on both sides" for key in there.keys() ^ here.keys()]
    for key in there.keys() & here.keys():
        assert there[key].keys() == here[key].keys(), name
        pairs = {column: (value, here[key][column]) for column, value in there[key].items()}
        found += [f"{key} {column}: {pair!s:.400}" for column, pair in pairs.items() if pair[0] != pair[1]]
    return found


def awaited(lab: Lab, name: str, row: Row, kind: str) -> Row:
    """What DataJoint 2 shall fetch of a row on a kind of server, where that is something else than 0.14 fetches."""
    if name == "document" and lab.kind == "mariadb":  # where 0.14 has text
        texts = {column: value[1] for column, value in row.items() if column != "id" and value}
        return row | {column: canonical(json.loads(text)) for column, text in texts.items()}
    if name == "matlab" and row["what"][1] in CELLS:
        ((blob,),) = lab.source_server.sql(f"SELECT object FROM {lab.source_schema}.matlab WHERE id = {row['id'][1]}")
        return row | {"object": canonical(unpack(blob))}
    assert "unreadable" not in [value[0] for value in row.values() if value], row
    if kind == "postgresql":
        return row | {column: ["Decimal", row[column][1]] for column in DECIMALS & row.keys()}
    return row


#: What a look at the source leaves out: 0.x has 16 bytes there.
IN_STORES = {
    "session": {"notes"},
    "__result": {"bx"},
    "stored": {"bx", "bxn", "bh", "ax", "axn", "fx", "fxn"},
    "clouded": {"bx", "ax", "fx"},
    "adapted": {"wx"},
    "wrapped": {"paper", "placed"},
}


@pytest.mark.parametrize("pair", [("mariadb", "mysql"), ("mysql", "postgresql")], ids="-".join, indirect=True)
def test_a_look_at_the_source_shows_the_same_values(mixed: Lab, source: Filled, tmp_path: Path) -> None:
    lab, different = mixed, []
    for number, (master, _) in enumerate(source.masters()):
        view = granted(lab, master, f"held_{number}", stores=STORES).source
        heading, left_out = view.heading, IN_STORES.get(master, set())
        with dj.config.override(download_path=str(tmp_path)):
            rows = view.to_dicts(order_by="KEY")
        here = [{name: told(heading[name], value, tmp_path) for name, value in row.items()} for row in rows]
        there = [awaited(lab, master, row, "mysql") for row in source.tables[master]["rows"]]
        shown = [{name: value for name, value in row.items() if name not in left_out} for row in there]
        if master == "wrapped":  # by an adapter, which nothing tells
            shown[0]["leaf"] = canonical(b"leaf.txt\0green")
        different += [f"{master}: {pair!s:.600}" for pair in zip(shown, here, strict=True) if pair[0] != pair[1]]
    assert not different, "\n".join(different)


#: A column of a table, or of its part, that changes at the source in one row, and to what.
CHANGES = {
    "packed": ("packed", "object", "id = 3", "CONCAT(LEFT(object, LENGTH(object) - 1), 'x')"),
    "attached": ("attached", "an", "id = 2", "CONCAT(an, 'x')"),
    "stored": (
        "stored__slice",
        "image",
        "id = 2 AND n = 0",
        "(SELECT MIN(e.hash) FROM {schema}.`~external_my-store` e WHERE e.hash <> image)",
    ),
}


@pytest.mark.parametrize("pair", [("mariadb", "mysql"), ("mysql", "postgresql")], ids="-".join, indirect=True)
def test_what_is_changed_at_the_source_is_told(mixed: Lab, source: Filled) -> None:
    lab, there = mixed, mixed.source_server
    for master, (table, column, row, value) in CHANGES.items():
        linked_class = granted(lab, master, f"held_{master}", stores=STORES)
        linked_class.source.pull()
        assert linked_class.source.verify()
        ((before,),) = there.sql(f"SELECT {column} FROM {source.schema}.{table} WHERE {row}")
        there.sql(f"UPDATE {source.schema}.{table} SET {column} = {value.format(schema=source.schema)} WHERE {row}")
        try:
            ((after,),) = there.sql(f"SELECT {column} FROM {source.schema}.{table} WHERE {row}")
            assert after != before
            assert linked_class.source.verify().differing == [{"id": int(row.split()[2])}]
        finally:
            there.sql(f"UPDATE {source.schema}.{table} SET {column} = %s WHERE {row}", before)
        assert linked_class.source.verify()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pair", [("mariadb", "mysql")], ids="-".join, indirect=True)
def test_killed_at_every_statement(mixed: Lab, source: Filled, figures: Figures, tmp_path: Path) -> None:
    """Of a pull of sessions with trials and events, whose values, attachments and paths are in one store."""
    lab, theirs = mixed, source.tables["session"]
    Session = granted(lab, "session", "outbound", stores={"theirs": "ours"})
    Session()
    order = Order("Session.source.pull()", "kill before", stores=dict(lab.local.config.stores))
    killed = 0
    with Crasher(lab) as crasher:
        for order.point in itertools.count(1):
            crashed = crasher.run(order)
            if crashed["status"] == 0:
                assert crashed["error"] is None
                break
            killed += 1
            # Whoever is here is whole, and held.
            here = fetched(Session, tmp_path / f"crashed {killed}")
            assert all(row in theirs["rows"] for row in here)
            assert count_held(lab) >= len(here)
            Session.source.pull()
            check_all_there(lab, source, Session, tmp_path / f"pulled {killed}")
            (Session & "TRUE").delete(prompt=False)
            collected(lab.local, lab.local_schema, "ours", dry_run=False)
    assert killed >= 10
    figures.add("crash points with files of DataJoint 0.14", lab.kind, killed)


def check_all_there(lab: Lab, source: Filled, linked: Any, folder: Path) -> None:
    """Every row with its files, held and finished; nothing else in the local store."""
    for name, table in (("session", linked), ("session__trial", linked.Trial), ("session__event", linked.Event)):
        assert compare(lab, name, source.tables[name], fetched(table, folder)) == []
    assert set(helper_rows(lab)) == {("NONE", "FALSE", "FALSE")}
    report = collected(lab.local, lab.local_schema, "ours")
    assert report["hash_paths_orphaned"] == report["schema_paths_orphaned"] == 0
    assert not [path for path in listed(lab.local, "ours") if path.startswith(STAGING)]
