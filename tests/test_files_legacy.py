"""Files of tables that DataJoint 0.14 has declared: here as DataJoint 2 would have stored them, or refused by name."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import datajoint as dj
import numpy as np
import pytest
from buckets import Buckets
from crasher import Crasher, Order
from figures import SOAK, Figures
from filing import Stores, collected, fetched, listed, stored
from filing import insert as insert_natively
from lab import Lab
from legacy_tables import Tracker, create, in_store, insert
from older import older
from pipelines import count_held, linked
from test_files_crash import contents

from link import DefinitionError, PrivilegeError, StoreError, TransferError, reference
from link.accounts import Credentials
from link.addresses import Address
from link.admin.grants import grants
from link.files.objects import STAGING
from link.servers.rights import Access
from link.work import parallel

KINDS = ("mysql", "mariadb")
legacy_sources = pytest.mark.parametrize("kind", KINDS, indirect=True)
legacy_pairs = pytest.mark.parametrize(
    "pair", list(itertools.product(KINDS, (*KINDS, "postgresql"))), indirect=True, ids="-".join
)
EVIL_NAMES = ("../../evil.sh", "/tmp/evil.sh", "..", "", "a\\b", "line\nbreak", "bell\a")
EVIL_PATHS = ("../secret", "/etc/hostname", "movies/../../secret", "..\\x", "a\nb")


def granted(lab: Lab, **options: Any) -> Any:
    """The linked class of the table `item`, with the documented rights."""
    lab.grant("item")
    return linked(lab, "Item", backend="mysql", **options)


def items(lab: Lab, theirs: Tracker, rows: int = 6) -> None:
    """A table with a column of each kind in one store, and a part."""
    create(
        lab,
        "item",
        in_store(lab, "value", "blob@theirs", "theirs", nullable=True),
        in_store(lab, "sheet", "attach@theirs", "theirs", nullable=True),
        in_store(lab, "movie", "filepath@theirs", "theirs", nullable=True),
        in_store(lab, "graph", "<graph>", "theirs", nullable=True),
    )
    create(
        lab,
        "item__page",
        in_store(lab, "scan", "blob@theirs", "theirs"),
        f"FOREIGN KEY (`item`) REFERENCES `{lab.source_schema}`.`item` (`item`) ON DELETE RESTRICT ON UPDATE CASCADE",
        key="`item` int NOT NULL, `page` tinyint NOT NULL, PRIMARY KEY (`item`, `page`)",
    )
    for n in range(rows):
        value, sheet = theirs.value([n]), theirs.attachment(f"sheet {n}.csv", b"a,b\n%d" % n)
        movie, graph = theirs.file(f"movies/{n}.avi", b"movie %d" % n), theirs.value({"graph": n % 2})
        insert(lab, "item", item=n, value=value, sheet=sheet, movie=movie, graph=graph)
        insert(lab, "item__page", item=n, page=1, scan=theirs.value(f"scan {n}"))


def as_fetched(n: int) -> dict[str, Any]:
    """What DataJoint gives of a row of `items`."""
    sheet = (f"sheet {n}.csv", b"a,b\n%d" % n)
    return {"item": n, "value": [n], "sheet": sheet, "movie": b"movie %d" % n, "graph": {"graph": n % 2}}


def change(lab: Lab, item: int, **columns: bytes | None) -> None:
    """Let a row of the source's name something else."""
    names = ", ".join(f"`{name}` = %s" for name in columns)
    lab.source_server.sql(f"UPDATE {lab.source_schema}.item SET {names} WHERE item = {item}", *columns.values())


def refused(linked_class: Any) -> dict[int, str]:
    """What is said of each entity that is not pulled."""
    result = linked_class.source.pull(suppress_errors=True)
    return {key["item"]: str(error) for key, error in result.errors}


@legacy_pairs
def test_as_datajoint_2_stores_the_same_values(mixed: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """Stored values and objects are those of a table that DataJoint 2 has declared and filled here."""
    lab = mixed
    given = Stores(lab, tmp_path, buckets, "file", "file")
    (tmp_path / "flat").mkdir()
    given.theirs["location"] = str(tmp_path / "theirs")
    flat = {"protocol": "file", "location": str(tmp_path / "flat"), "subfolding": []}
    for instance in (lab.source, lab.local):
        instance.config.stores["their-flat"] = flat
    theirs, hyphen = Tracker(lab, "theirs"), Tracker(lab, "their-flat", folds=())
    create(
        lab,
        "item",
        in_store(lab, "value", "blob@theirs", "theirs"),
        in_store(lab, "other", "blob@their-flat", "their-flat", nullable=True),
        in_store(lab, "sheet", "attach@theirs", "theirs", nullable=True),
        in_store(lab, "movie", "filepath@their-flat", "their-flat", nullable=True),
        in_store(lab, "graph", "<graph>", "theirs", nullable=True),
    )
    value, name = {"a": np.arange(400), "b": b"x" * 3000}, "Blätt 1'%.csv"
    insert(
        lab,
        "item",
        item=0,
        value=theirs.value(value),
        other=hyphen.brought([1, 2]),
        sheet=theirs.attachment(name, b"a,b\n"),
        movie=hyphen.file("movies/ä 0.avi", b"movie"),
        graph=theirs.value("inner"),
    )
    insert(lab, "item", item=1, value=theirs.value(value))
    insert(
        lab, "item", item=2, value=theirs.value({}), other=hyphen.value(7), movie=hyphen.file("b", b"", checksum=False)
    )
    Item = granted(lab, stores={"theirs": "ours", "their-flat": "ours"})
    assert Item.source.pull().pulled == 3
    assert Item.source.verify(files=True)

    class Native(dj.Manual):
        definition = """
        item: int32
        ---
        value: <blob@ours>
        other=null: <blob@ours>
        sheet=null: <attach@ours>
        movie=null: <filepath@ours>
        graph=null: <blob@ours>
        """

    before = contents(lab, "ours")
    native = lab.local.Schema(lab.local_schema)(Native)
    (tmp_path / name).write_bytes(b"a,b\n")
    row = {"item": 0, "value": value, "other": [1, 2], "sheet": str(tmp_path / name), "movie": "movies/ä 0.avi"}
    insert_natively(native, row | {"graph": "inner"})
    insert_natively(native, {"item": 1, "value": value})
    insert_natively(native, {"item": 2, "value": {}, "other": 7, "movie": "b"})
    assert contents(lab, "ours") == before  # all of it was there, by its content
    columns = ("item", "value", "other", "sheet", "graph", "movie")
    ours, theirs_here = (stored(lab.local_server, lab.local_schema, t, *columns) for t in ("item", "native"))
    for pulled, made in zip(ours, theirs_here, strict=True):
        assert pulled[:5] == made[:5]
        assert (pulled[5] or {}) | {"timestamp": 0} == (made[5] or {}) | {"timestamp": 0}
    assert fetched(Item) == fetched(native)
    assert Item.heading["value"].store == "ours" and Item.describe().count("@ours>") == 5
    report = collected(lab.local, lab.local_schema, "ours")
    assert report["hash_paths_orphaned"] == 0 and report["hash_paths_stored"] == 6


@pytest.mark.parametrize("kind", ["mariadb"], indirect=True)
@pytest.mark.parametrize(("there", "here"), [("s3", "file"), ("file", "s3"), ("s3", "s3")])
def test_stores_of_other_kinds(lab: Lab, tmp_path: Path, buckets: Buckets, there: Any, here: Any) -> None:
    Stores(lab, tmp_path, buckets, there, here)
    theirs = Tracker(lab, "theirs")
    items(lab, theirs, rows=3)
    # More than goes at once, and nothing.
    change(lab, 1, sheet=theirs.attachment("large.bin", bytes(range(256)) * 20_000), value=theirs.value(np.zeros(9)))
    change(lab, 2, sheet=theirs.attachment("empty", b""))
    Item = granted(lab, stores={"theirs": "ours"})
    assert Item.source.pull().pulled == 3
    first, second, third = fetched(Item)
    assert first == as_fetched(0) and third["sheet"] == ("empty", b"")
    assert second["sheet"] == ("large.bin", bytes(range(256)) * 20_000)
    assert Item.source.verify(files=True)


@legacy_sources
def test_what_is_missing_or_damaged(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """Each such entity is left out, by name; the others are pulled, and a mended one by the next pull."""
    Stores(lab, tmp_path, buckets, "file", "file")
    theirs = Tracker(lab, "theirs")
    items(lab, theirs, rows=12)
    there = tmp_path / "theirs"

    def path(item: int, column: str = "value") -> Path:
        (found,) = lab.source_server.sql(f"SELECT {column} FROM {lab.source_schema}.item WHERE item = {item}")
        return there / theirs.path(found[0])

    path(0).unlink()
    whole = path(1).read_bytes()
    path(1).write_bytes(whole[:-1] + b"?")
    path(2).write_bytes(whole + b"?")
    sheet = Path(f"{path(3, 'sheet')}.sheet 3.csv")
    sheet.write_bytes(b"a,b\n?")
    (there / "movies/4.avi").write_bytes(b"movie ?")
    (there / "movies/5.avi").write_bytes(b"")
    (there / "movies/6.avi").unlink()
    change(lab, 7, value=theirs.packed(b"raw bytes"), graph=None)
    change(lab, 8, graph=theirs.attachment("x", b"y"))
    change(lab, 9, graph=theirs.file("no blob", b"no blob"))
    Item = granted(lab, stores={"theirs": "ours"})
    said = refused(Item)
    assert sorted(said) == list(range(10)) and [row["item"] for row in fetched(Item)] == [10, 11]
    for item, column in enumerate(
        ("value", "value", "value", "sheet", "movie", "movie", "movie", "value", "graph", "graph")
    ):
        assert f"column {column}: " in said[item] and f"'item': {item}" in said[item]
    assert "is missing" in said[0] and "subfolding" in said[0]
    assert "is missing" in said[6] and "subfolding" not in said[6]
    assert all("another content than was stored: its MD5 is" in said[item] for item in (1, 3, 4))
    assert "ends after 0 of 7 bytes" in said[5] and "has another content" in said[2]
    assert "nothing that DataJoint has packed: it begins with b'raw by'; codecs=" in said[7]
    assert "is an attachment, which cannot be taken for a value; codecs=" in said[8]
    assert "nothing that DataJoint has packed: it begins with b'no blo'; codecs=" in said[9]
    assert count_held(lab) == 2
    with pytest.raises(TransferError, match="A file is not to be had of"):
        Item.source.pull("item = 1")
    path(1).write_bytes(whole)
    assert Item.source.pull("item = 1").pulled == 1
    report = collected(lab.local, lab.local_schema, "ours", dry_run=False)
    assert report["errors"] == 0 and Item.source.verify() and len(fetched(Item)) == 3


@legacy_sources
def test_a_row_that_names_another_file(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """Of the same name in another folder, as large, and tracked in the same second: it is told, and brought."""
    Stores(lab, tmp_path, buckets, "file", "file", filepath_prefix="lab a")
    theirs = Tracker(lab, "theirs")
    items(lab, theirs, rows=2)
    first, second = (theirs.file(f"session {n}/raw.dat", b"raw %d" % n) for n in range(2))
    lab.source_server.sql(f"UPDATE {theirs.name} SET timestamp = '2020-01-01 12:00:00'")
    change(lab, 0, movie=first)
    change(lab, 1, movie=second)
    Item = granted(lab, stores={"theirs": "ours"})
    assert Item.source.pull().pulled == 2
    assert Item.source.verify(files=True).files == 10
    change(lab, 0, movie=second)
    change(lab, 1, movie=first)
    assert Item.source.verify().differing == [{"item": 0}, {"item": 1}]
    assert Item.source.refresh().refreshed == 2
    assert [row["movie"] for row in fetched(Item)] == [b"raw 1", b"raw 0"]
    assert Item.source.verify(files=True)
    (tmp_path / "ours" / "lab a" / "session 0" / "raw.dat").write_bytes(b"raw X")
    assert [damaged.key for damaged in Item.source.verify(files=True).damaged] == [{"item": 1}]


@legacy_sources
def test_hashes_that_stand_for_nothing(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """They are not taken for NULL."""
    Stores(lab, tmp_path, buckets, "file", "file")
    theirs = Tracker(lab, "theirs")
    items(lab, theirs, rows=3)
    Item = granted(lab, stores={"theirs": "ours"})
    assert Item.source.pull("item < 1").pulled == 1
    digest = hashlib.md5(b"nothing").digest()
    with lab.source_server.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        for item, column in enumerate(("value", "movie", "sheet")):
            cursor.execute(f"UPDATE {lab.source_schema}.item SET {column} = %s WHERE item = {item}", (digest,))
        cursor.execute("SET foreign_key_checks = 1")
    assert Item.source.verify().differing == [{"item": 0}]
    said = refused(Item)
    assert sorted(said) == [1, 2]
    assert all(f"~external_theirs has no row for {digest.hex().upper()}" in what for what in said.values())


@legacy_sources
def test_names_and_paths_that_are_evil(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    Stores(lab, tmp_path, buckets, "file", "file")
    (tmp_path / "secret").write_bytes(b"secret")
    theirs = Tracker(lab, "theirs")
    items(lab, theirs, rows=13)
    for item, name in enumerate(EVIL_NAMES):
        digest = hashlib.md5(name.encode() + b"\0x").digest()
        change(lab, item, sheet=theirs.row(digest, 1, attachment_name=name))
    for item, path in enumerate(EVIL_PATHS, len(EVIL_NAMES)):
        digest = hashlib.md5(path.encode()).digest()
        contents_hash = hashlib.md5(b"secret").digest()
        change(lab, item, movie=theirs.row(digest, 6, filepath=path, contents_hash=contents_hash))
    Item = granted(lab, stores={"theirs": "ours"})
    said = refused(Item)
    assert sorted(said) == list(range(len(EVIL_NAMES) + len(EVIL_PATHS))) and len(Item()) == 1
    for item, name in enumerate((*EVIL_NAMES, *EVIL_PATHS)):
        assert repr(name) in said[item] and ("attachment's own name" in said[item]) == (item < len(EVIL_NAMES))
    assert not [name for name in listed(lab.local, "ours") if "secret" in name or "hostname" in name]


@legacy_sources
def test_columns_are_taken_for_what_codecs_says(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """Where an adapter has kept attachments, files, or what DataJoint has not packed."""
    Stores(lab, tmp_path, buckets, "file", "file")
    theirs = Tracker(lab, "theirs")
    columns = ("attachments", "files", "raw", "hashes")
    create(lab, "item", *(in_store(lab, name, f"<{name}>", "theirs") for name in columns))
    hashed = theirs.value(4)
    insert(
        lab,
        "item",
        item=0,
        attachments=theirs.attachment("a.txt", b"attached"),
        files=theirs.file("movies/a.avi", b"file"),
        raw=theirs.packed(b"raw"),
        hashes=hashed,
    )
    words = {"attachments": "<attach>", "files": "<filepath>", "raw": "<hash>", "hashes": "bytes"}
    Item = granted(lab, stores={"theirs": "ours"}, codecs=words)
    assert Item.source.pull().pulled == 1 and Item.source.verify()
    (row,) = fetched(Item)
    assert row == {"item": 0, "attachments": ("a.txt", b"attached"), "files": b"file", "raw": b"raw", "hashes": hashed}


@legacy_sources
def test_stores_are_asked_for(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """Before anything is made; the default store of 2.x is how one called default is named."""
    given = Stores(lab, tmp_path, buckets, "file", "file")
    theirs = Tracker(lab, "theirs")
    items(lab, theirs, rows=1)
    for wrong in (None, {"others": "ours"}):
        with pytest.raises(StoreError, match=r"item\.sheet: attach@theirs(.|\n)*item__page\.scan: blob@theirs"):
            granted(lab, stores=wrong).source.pull()
    with pytest.raises(
        StoreError, match=r"item\.sheet is declared attach@theirs .*without their names(.|\n)*be copied"
    ):
        granted(lab, stores={"theirs": reference("ours")}).source.pull()
    schemata = "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s"
    assert not lab.local_server.sql(schemata, lab.local_schema) and not count_tables(lab)
    lab.source_server.sql(f"DROP TABLE {lab.source_schema}.item__page")
    lab.source_server.sql(f"DROP TABLE {lab.source_schema}.item")
    lab.source.config.stores["default"] = given.theirs
    default = Tracker(lab, "default")
    create(lab, "item", in_store(lab, "value", "blob@default", "default"))
    insert(lab, "item", item=1, value=default.value([1]))
    with pytest.raises(StoreError, match=r"item\.value: blob@default(.|\n)*stores=\{'default'"):
        granted(lab).source.pull()
    Item = granted(lab, stores={"default": ("theirs", "ours")})
    assert Item.source.pull().pulled == 1 and fetched(Item) == [{"item": 1, "value": [1]}]


def count_tables(lab: Lab) -> int:
    """How many tables the helper schema has."""
    return len(
        lab.source_server.sql("SELECT 1 FROM information_schema.tables WHERE table_schema = %s", lab.helper_schema)
    )


@legacy_sources
def test_rows_point_at_the_source(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    given = Stores(lab, tmp_path, buckets, "file", "file")
    lab.local.config.stores = {"ours": given.theirs}
    theirs = Tracker(lab, "theirs")
    create(
        lab,
        "item",
        in_store(lab, "value", "blob@theirs", "theirs"),
        in_store(lab, "movie", "filepath@theirs", "theirs"),
    )
    for n in range(3):
        insert(lab, "item", item=n, value=theirs.value([n]), movie=theirs.file(f"movies/{n}", b"%d" % n))
    change(lab, 2, value=theirs.packed(b"not packed"))
    before = listed(lab.source, "theirs")
    Item = granted(lab, stores={"theirs": reference("ours")})
    assert list(refused(Item)) == [2]
    assert fetched(Item) == [{"item": n, "value": [n], "movie": b"%d" % n} for n in range(2)]
    assert Item.source.verify()
    assert collected(lab.local, lab.local_schema, "ours", dry_run=False)["deleted"] == 0
    assert listed(lab.source, "theirs") == before
    # Of one name with the source's store: nothing but the stored value itself differs.
    lab.local.config.stores = {"theirs": given.theirs}
    (Item & "TRUE").delete(prompt=False)
    Same = granted(lab, stores={"theirs": reference("theirs")}, local_schema=f"{lab.local_schema}2")
    lab.source_server.sql(f"DROP TABLE {lab.helper_schema}.{lab.helper_table}")
    assert Same.source.pull("item < 2").pulled == 2
    assert fetched(Same) == [{"item": n, "value": [n], "movie": b"%d" % n} for n in range(2)]


@legacy_sources
def test_keys_that_name_objects(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    Stores(lab, tmp_path, buckets, "file", "file")
    Tracker(lab, "theirs")
    create(lab, "item", in_store(lab, "value", "blob@theirs", "theirs"), key="`item` int, PRIMARY KEY (`value`)")
    with pytest.raises(DefinitionError, match=r"key of \S+\.item has the column value, .* in the store 'theirs'"):
        granted(lab, stores={"theirs": "ours"}).source.pull()


@legacy_sources
def test_rights(lab: Lab, tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one on the source's table of objects is asked for, and printed where tables need it; it is SELECT alone."""
    Stores(lab, tmp_path, buckets, "file", "file")
    items(lab, Tracker(lab, "theirs"), rows=2)
    Tracker(lab, "unused")
    tracking = f"`{lab.source_schema}`.`~external_theirs`"
    lab.source_server.sql(f"REVOKE SELECT ON {tracking} FROM '{lab.link_user}'@'%'")
    with pytest.raises(PrivilegeError, match=r"lacks SELECT on \S+\.~external_theirs") as caught:
        granted(lab, stores={"theirs": "ours"}).source.pull()
    assert f"GRANT SELECT ON {tracking} TO" in str(caught.value)
    user = f"{lab.prefix}_linker2"
    access = Access(
        source_schema=lab.source_schema,
        tables=["Item"],
        helper_schema=lab.helper_schema,
        helper_tables=[lab.helper_table],
        user=user,
        password=lab.link_password,
        require_tls=False,
    )
    server = lab.source_server
    administrator = Credentials(server.admin_user, server.admin_password)
    address = Address(server.host, server.port)
    script = grants(access, backend="mysql", address=address, administrator=administrator)
    assert f"GRANT SELECT ON {tracking} TO '{user}'@'%';" in script and "~external_unused" not in script
    for statement in required(script):
        server.sql(statement)
    monkeypatch.setenv("LINK_USER", user)
    Item = linked(lab, "Item", backend="mysql", stores={"theirs": "ours"})
    assert Item.source.pull().pulled == 2 and Item.source.verify()
    taken = grants(
        replace(access, new_user=False), backend="mysql", address=address, administrator=administrator, revoke=True
    )
    assert f"-- REVOKE SELECT ON {tracking} FROM '{user}'@'%';" in taken


def required(script: str) -> list[str]:
    """The statements of a script that are no comments."""
    return [line.rstrip(";") for line in script.splitlines() if not line.startswith("--")]


@legacy_sources
def test_copies_are_looked_after_as_any(
    lab: Lab, tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers in processes, a dry run, what has changed at the source, repairs, DataJoint's garbage collection."""
    monkeypatch.setattr(parallel, "FEWEST", 2)
    Stores(lab, tmp_path, buckets, "file", "file")
    theirs = Tracker(lab, "theirs")
    items(lab, theirs, rows=8)
    Item = granted(lab, stores={"theirs": "ours"})
    assert Item.source.pull(dry_run=True).pulled == 8 and not listed(lab.local, "ours")
    result = Item.source.pull(processes=2, transfers=2)
    assert result.pulled == 8 and result.files == 8 * 5
    assert fetched(Item) == [as_fetched(n) for n in range(8)] and Item.source.verify()
    change(lab, 1, value=theirs.value("another"), graph=None)
    change(lab, 2, movie=theirs.file("movies/another.avi", b"another"))
    change(lab, 3, sheet=theirs.attachment("sheet 3 .csv", b"a,b\n3"))
    assert Item.source.verify().differing == [{"item": n} for n in (1, 2, 3)]
    (Item & "item BETWEEN 1 AND 3").delete(prompt=False)
    assert Item.source.pull().pulled == 3 and Item.source.verify()
    assert (Item & "item = 1").fetch1("value") == "another"
    (Item & "item > 0").delete(prompt=False)
    report = collected(lab.local, lab.local_schema, "ours", dry_run=False)
    assert report["errors"] == 0 and len([path for path in listed(lab.local, "ours") if "_hash" in path]) == 4
    assert fetched(Item) == [as_fetched(0)]


@legacy_sources
def test_linked_by_the_older_interface(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    Stores(lab, tmp_path, buckets, "file", "file")
    items(lab, Tracker(lab, "theirs"), rows=2)
    with pytest.raises(StoreError, match=r"item\.value: blob@theirs"):
        older(lab, "Item").source.pull()
    Item = older(lab, "Item", ours="theirs")
    Item.source.pull()
    assert fetched(Item) == [as_fetched(0), as_fetched(1)] and len(Item.Page()) == 2
    assert Item.Page().to_arrays("scan", order_by="KEY").tolist() == ["scan 0", "scan 1"]


@pytest.mark.timeout(1800 if SOAK else 300)
@legacy_sources
def test_killed_while_copying(lab: Lab, tmp_path: Path, buckets: Buckets, figures: Figures) -> None:
    """At every statement, and in every file: no row without its files, nothing half; the next pull goes on."""
    Stores(lab, tmp_path, buckets, "file", "file")
    theirs = Tracker(lab, "theirs")
    create(
        lab,
        "session",
        in_store(lab, "value", "blob@theirs", "theirs"),
        in_store(lab, "sheet", "attach@theirs", "theirs"),
        in_store(lab, "movie", "filepath@theirs", "theirs"),
    )
    rows, whole = {}, set()
    for n in range(12):
        sheet, movie = (f"{n}.csv", bytes([n]) * 3000), bytes([n]) * 2000
        kind = {"kind": n % 3}
        insert(
            lab,
            "session",
            item=n,
            value=theirs.value(kind),
            sheet=theirs.attachment(*sheet),
            movie=theirs.file(f"movies/{n}", movie),
        )
        rows[n] = {"item": n, "value": kind, "sheet": sheet, "movie": movie}
        whole |= {dj.blob.pack(kind), sheet[0].encode() + b"\0" + sheet[1], movie}
    lab.grant("session")
    Session = linked(lab, "Session", stores={"theirs": "ours"})
    Session()
    order = Order("Session.source.pull()", "kill before", blocks=True, stores=dict(lab.local.config.stores))
    killed = 0
    with Crasher(lab) as crasher:
        for order.point in range(1, 400, 1 if SOAK else 9):
            crashed = crasher.run(order)
            if crashed["status"] == 0:
                assert crashed["error"] is None and crashed["statements"] < order.point
                break
            killed += 1
            assert set(contents(lab, "ours").values()) <= whole
            assert all(row == rows[row["item"]] for row in fetched(Session))
            assert count_held(lab) >= len(Session())
            Session.source.pull()
            assert fetched(Session) == list(rows.values()) and Session.source.verify()
            assert not [path for path in listed(lab.local, "ours") if path.startswith(STAGING)]
            (Session & "TRUE").delete(prompt=False)
            collected(lab.local, lab.local_schema, "ours", dry_run=False)
    assert killed >= 5
    figures.add("crash points with files of 0.x", lab.kind, killed)
