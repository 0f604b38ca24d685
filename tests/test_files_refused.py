"""Files that are missing, damaged or not to be trusted, stores that are not named: said exactly, nothing half done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datajoint as dj
import numpy as np
import pytest
from buckets import Buckets
from datajoint.hash_registry import compute_hash
from filing import Stores, backend, collected, fetched, insert, listed, stored
from lab import Lab
from pipelines import count_held, declare, granted, helper_rows

from link import StoreError, TransferError, reference


@pytest.fixture
def shelf(lab: Lab, tmp_path: Path, buckets: Buckets) -> Any:
    """Six rows with files in a source store on this machine, whose local copies go to S3."""
    Stores(lab, tmp_path, buckets, "file", "s3")

    class Item(dj.Manual):
        definition = """
        item: int32
        ---
        result=null: <blob@theirs>
        sheet=null: <attach@theirs>
        raw=null: <object@theirs>
        wave=null: <npy@theirs>
        movie=null: <filepath@theirs>
        """

        class Page(dj.Part):
            definition = "-> master\npage: int32\n---\nscan: <object@theirs>"

    table = declare(lab, Item)
    for n in range(6):
        (tmp_path / "sheet.csv").write_text(f"sheet {n}")
        backend(lab.source, "theirs").put_buffer(b"%d" % n * 10, f"movies/{n}.avi")
        row = {"item": n, "result": np.arange(n), "sheet": str(tmp_path / "sheet.csv"), "raw": b"raw %d" % n}
        insert(table, row | {"wave": np.arange(n + 1), "movie": f"movies/{n}.avi"})
        insert(table.Page, {"item": n, "page": 1, "scan": b"scan %d" % n})
    return table


def path_of(lab: Lab, table: str, column: str, item: int) -> Path:
    """A file of the source's."""
    row = next(row for row in stored(lab.source_server, lab.source_schema, table, "item", column) if row[0] == item)
    return Path(backend(lab.source, "theirs")._full_path(row[1]["path"]))


def restore(lab: Lab, item: int, column: str, change: dict[str, Any]) -> None:
    """Change what the source's row says of a file."""
    rows = stored(lab.source_server, lab.source_schema, "item", "item", column)
    value = next(row[1] for row in rows if row[0] == item) | change
    lab.source_server.sql(f"UPDATE {lab.source_schema}.item SET {column} = %s WHERE item = {item}", json.dumps(value))


def test_missing_and_damaged(lab: Lab, shelf: Any) -> None:
    """Each such entity is left out, by name; the others are pulled, and a mended one by the next pull."""
    path_of(lab, "item", "result", 0).unlink()
    path_of(lab, "item__page", "scan", 1).unlink()
    attachment = path_of(lab, "item", "sheet", 2)
    whole = attachment.read_bytes()
    attachment.write_bytes(whole[:-1] + b"?")
    path_of(lab, "item", "wave", 3).write_bytes(path_of(lab, "item", "wave", 3).read_bytes()[:-3])
    path_of(lab, "item", "movie", 4).write_bytes(b"")
    Item = granted(lab, shelf, stores={"theirs": "ours"})

    result = Item.source.pull(suppress_errors=True)

    assert result.pulled == 1 and len(fetched(Item)) == 1
    said = {key["item"]: str(error) for key, error in result.errors}
    assert sorted(said) == [0, 1, 2, 3, 4]
    for item, words in enumerate(("result", "scan", "sheet", "wave", "movie")):
        assert f"column {words}: " in said[item] and f"'item': {item}" in said[item] and "'theirs'" in said[item]
    assert "item__page" in said[1] and "'page': 1" in said[1]
    assert "is missing" in said[0] and "is missing" in said[1]
    assert "MD5" in said[2] and "shape" in said[3] and "0 bytes" in said[4]
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")]
    assert all(Path(path).name != compute_hash(attachment.read_bytes()) for path in listed(lab.local, "ours"))

    with pytest.raises(TransferError, match="A file is not to be had of"):
        Item.source.pull()
    attachment.write_bytes(whole)
    assert Item.source.pull("item = 2").pulled == 1
    assert count_held(lab) == 2
    report = collected(lab.local, lab.local_schema, "ours", dry_run=False)
    assert report["errors"] == 0 and Item.source.verify()
    assert len(fetched(Item)) == 2


def test_paths_out_of_the_store(lab: Lab, shelf: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0" * 10)
    paths = ["../secret", "/etc/hostname", "movies/../../secret", "a/./b", "..\\x"]
    for item, path in enumerate(paths):
        restore(lab, item, "movie", {"path": path})
    Item = granted(lab, shelf, stores={"theirs": "ours"})
    result = Item.source.pull(suppress_errors=True)
    assert (result.pulled, len(result.errors)) == (1, len(paths))
    for key, error in result.errors:
        assert "within a store" in str(error) and repr(paths[key["item"]]) in str(error)
    assert not [name for name in listed(lab.local, "ours") if "secret" in name or "hostname" in name]


def test_names_of_attachments(lab: Lab, shelf: Any) -> None:
    """DataJoint would write them where their names say."""
    for item, content in enumerate((b"../../evil.sh\0x", b"/tmp/evil.sh\0x", b"..\0x", b"\0x", b"no end")):
        path = f"_hash/{lab.source_schema}/{compute_hash(content)}"
        backend(lab.source, "theirs").put_buffer(content, path)
        restore(lab, item, "sheet", {"path": path, "hash": compute_hash(content), "size": len(content)})
    Item = granted(lab, shelf, stores={"theirs": "ours"})
    result = Item.source.pull(suppress_errors=True)
    assert result.pulled == 1
    assert sorted(key["item"] for key, error in result.errors if "attachment" in str(error)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("referenced", [False, True], ids=["copied", "referenced"])
def test_names_of_attachments_whose_content_is_there(
    lab: Lab, tmp_path: Path, buckets: Buckets, referenced: bool
) -> None:
    """They are looked at as well where nothing is copied: the same bytes were, as something else, or stay there."""
    Stores(lab, tmp_path, buckets, "file", "file")
    if referenced:
        lab.local.config.stores["ours"] = lab.local.config.stores["theirs"]

    class Item(dj.Manual):
        definition = "item: int32\n---\ndigest=null: <hash@theirs>\nsheet=null: <attach@theirs>"

    table = declare(lab, Item)
    insert(table, {"item": 0, "digest": b"../../evil.sh\0x"})
    value = next(iter(stored(lab.source_server, lab.source_schema, "item", "digest")))[0]
    lab.source_server.sql(f"INSERT INTO {lab.source_schema}.item (item, sheet) VALUES (1, %s)", json.dumps(value))
    lab.source_server.sql(
        f"INSERT INTO {lab.source_schema}.item VALUES (2, %s, %s)", json.dumps(value), json.dumps(value)
    )
    linked = granted(lab, table, stores={"theirs": reference("ours") if referenced else "ours"})
    assert linked.source.pull("item = 0").pulled == 1
    result = linked.source.pull(suppress_errors=True)
    assert [key["item"] for key, error in result.errors if "attachment's own name" in str(error)] == [1, 2]


def test_values_that_name_nothing(lab: Lab, shelf: Any) -> None:
    for item, value in enumerate(("{}", "[]", '"text"', '{"path": null}', '{"path": 7}')):
        lab.source_server.sql(f"UPDATE {lab.source_schema}.item SET raw = %s WHERE item = {item}", value)
    Item = granted(lab, shelf, stores={"theirs": "ours"})
    result = Item.source.pull(suppress_errors=True)
    assert (result.pulled, len(result.errors)) == (1, 5)
    assert all("column raw" in str(error) for _, error in result.errors)


def test_stores_that_are_not_named(lab: Lab, shelf: Any) -> None:
    lab.grant(shelf)
    for stores in (None, {"others": "ours"}):
        with pytest.raises(StoreError, match=r"item\.result: <blob@theirs>(.|\n)*item__page\.scan: <object@theirs>"):
            granted(lab, shelf, stores=stores).source.pull()
    assert not lab.local_server.sql(
        "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", lab.local_schema
    )
    restore(lab, 4, "raw", {"store": "elsewhere"})
    Item = granted(lab, shelf, stores={"theirs": "ours"})
    with pytest.raises(StoreError, match=r"source\.item\.raw name files in the source's store 'elsewhere'"):
        Item.source.pull()
    assert count_held(lab) == len(Item()) == 0
    assert not listed(lab.local, "ours")
    lab.local.config.stores["elsewhere"] = lab.local.config.stores["theirs"]
    Both = granted(lab, shelf, stores={"theirs": "ours", "elsewhere": "ours"})
    assert Both.source.pull().pulled == 6
    assert fetched(Both) == fetched_from(lab, shelf)


def fetched_from(lab: Lab, table: Any) -> Any:
    """What the source has, one of whose stores has two names now."""
    lab.source.config.stores["elsewhere"] = lab.source.config.stores["theirs"]
    return fetched(table)


def test_stores_that_do_not_work(lab: Lab, shelf: Any) -> None:
    """A store that refuses is told as such, and holds nothing."""
    right = dict(lab.local.config.stores["ours"])
    Item = granted(lab, shelf, stores={"theirs": "ours"})
    for wrong in ({"secret_key": "wrong"}, {"bucket": "no-such-bucket"}):
        lab.local.config.stores["ours"] = right | wrong
        with pytest.raises(StoreError, match="'ours'") as caught:
            Item.source.pull()
        assert right["secret_key"] not in str(caught.value)
    assert count_held(lab) == 0
    lab.local.config.stores["ours"] = right
    assert Item.source.pull().pulled == 6
