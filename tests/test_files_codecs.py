"""Codecs that DataJoint does not bring, and what else a column that names files may be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datajoint as dj
import pytest
from buckets import Buckets
from datajoint.builtin_codecs import SchemaCodec
from datajoint.codecs import unregister_codec
from filing import Stores, backend, collected, encoded, fetched, insert, listed, stored
from lab import Lab
from pipelines import declare, granted

from link import ConfigError, StoreError

CODECS = ("words", "table_of_text", "bundle")


@pytest.fixture(autouse=True)
def codecs() -> Iterator[None]:
    """Three codecs: one by way of ``<hash@>``, one that keeps a folder, one that names several files its own way."""

    class Words(dj.Codec):
        name = "words"

        def get_dtype(self, is_store: bool) -> str:
            return "<hash>"

        def encode(self, value: Any, *, key: Any = None, store_name: Any = None) -> Any:
            return " ".join(value).encode()

        def decode(self, stored: Any, *, key: Any = None) -> Any:
            return stored.decode().split()

    class TableOfText(SchemaCodec):
        name = "table_of_text"

        def encode(self, value: Any, *, key: Any = None, context: Any = None, store_name: Any = None) -> Any:
            schema, table, field, own = self._extract_context(key, context)
            config = self._codec_config(key, context)
            path, _ = self._build_path(schema, table, field, own, ".txts", store_name, config)
            for name, text in value.items():
                self._get_backend(store_name, config).put_buffer(text.encode(), f"{path}/{name}")
            return {"path": path, "store": store_name, "names": list(value), "depth": {"of": 1.5}}

        def decode(self, stored: Any, *, key: Any = None, context: Any = None) -> Any:
            where = self._get_backend(stored["store"], self._codec_config(key, context))
            return {name: where.get_buffer(f"{stored['path']}/{name}").decode() for name in stored["names"]}

    class Bundle(dj.Codec):
        name = "bundle"

        def get_dtype(self, is_store: bool) -> str:
            return "json"

        def encode(self, value: Any, *, key: Any = None, store_name: Any = None) -> Any:
            return {"store": store_name, "main": value[0], "more": [{"at": path} for path in value[1:]]}

        def decode(self, stored: Any, *, key: Any = None, context: Any = None) -> Any:
            where = SchemaCodec._get_backend(self, stored["store"], context["config"])  # type: ignore[arg-type]
            return [where.get_buffer(path) for path, _ in self.referenced_paths(stored)]

        def referenced_paths(self, stored: Any) -> list[tuple[str, str | None]]:
            value = stored if isinstance(stored, dict) else {"main": stored, "more": [], "store": None}
            return [(path, value["store"]) for path in (value["main"], *(item["at"] for item in value["more"]))]

    yield
    for name in CODECS:
        try:
            unregister_codec(name)
        except dj.DataJointError:
            continue  # by the test


def items(lab: Lab) -> Any:
    """Two rows of them, the second one with NULLs."""

    class Item(dj.Manual):
        definition = """
        item: int32
        ---
        words=null: <words@theirs>
        texts=null: <table_of_text@theirs>
        bundle=null: <bundle@theirs>
        """

    table = declare(lab, Item)
    for name in ("main", "more", "other"):
        backend(lab.source, "theirs").put_buffer(name.encode(), f"by hand/{name}.bin")
    insert(
        table,
        {
            "item": 0,
            "words": ["a", "b"],
            "texts": {"one": "1", "two": "2"},
            "bundle": [f"by hand/{name}.bin" for name in ("main", "more", "other")],
        },
    )
    insert(table, {"item": 1})
    return table


def test_other_codecs(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    Stores(lab, tmp_path, buckets, "file", "file", filepath_prefix="raw data", schema_prefix="objects")
    table = items(lab)
    Item = granted(lab, table, stores={"theirs": "ours"})
    assert Item.source.pull().pulled == 2
    # DataJoint's garbage collection knows `<hash@>` by its own codecs' names only: what it says of the source, no more.
    there = collected(lab.source, lab.source_schema, "theirs")
    here = collected(lab.local, lab.local_schema, "ours")
    for count in ("hash_paths_orphaned", "schema_paths_orphaned", "schema_paths_stored", "hash_paths_stored"):
        assert here[count] == there[count]
    assert fetched(Item) == fetched(table)
    assert Item.source.verify()
    ((_, bundle),) = [row for row in stored(lab.local_server, lab.local_schema, "item", "item", "bundle") if row[1]]
    assert bundle["main"] == "raw data/by hand/main.bin"
    assert any(path.startswith(f"objects/{lab.local_schema}/item/item=0/texts_") for path in listed(lab.local, "ours"))
    # What is written anew at the source is another object.
    again = {"item": 0, "texts": {"one": "1", "two": "3"}}
    value = encoded(table(), "texts", again["texts"], again)
    lab.source_server.sql(f"UPDATE {lab.source_schema}.item SET texts = %s WHERE item = 0", value)
    assert Item.source.verify().differing == [{"item": 0}]


def test_a_folder_of_which_nobody_has_counted_the_files(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """One that lacks a file is damaged, also where the row does not say how many there are."""
    Stores(lab, tmp_path, buckets, "file", "file")
    Item = granted(lab, items(lab), stores={"theirs": "ours"})
    Item.source.pull()
    assert Item.source.verify(files=True)
    (path,) = [path for path in listed(lab.local, "ours") if path.endswith("/two")]
    backend(lab.local, "ours").remove(path)
    (found,) = Item.source.verify(files=True).damaged
    assert (found.key, found.column) == ({"item": 0}, "item.texts") and "lacks two, and has 1 of 2" in found.reason


def test_files_that_are_named_and_nothing_else(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """Where a codec says no more of a file than its path, a row that names another file differs."""
    Stores(lab, tmp_path, buckets, "file", "file", filepath_prefix="raw data")
    table = items(lab)
    for name in ("session1", "session2"):
        backend(lab.source, "theirs").put_buffer(name.encode(), f"by hand/next-{name}.bin")
    for folder in ("again", "by hand"):
        backend(lab.source, "theirs").put_buffer(folder.encode(), f"{folder}/next.bin")
        backend(lab.source, "theirs").put_buffer(b"anew", f"{folder}/main.bin")
    backend(lab.local, "ours").put_buffer(b"of our own", "raw data/by hand/main.bin")  # a token is added to the copy's
    Item = granted(lab, table, stores={"theirs": "ours"})
    assert Item.source.pull().pulled == 2
    assert Item.source.verify()
    names = ("next", "next-session1", "next-session2")  # which end as tokens of ours might
    for named in (*(f"by hand/{name}.bin" for name in names), "again/next.bin", "again/main.bin", "by hand/main.bin"):
        bundle = {"store": "theirs", "main": named, "more": [{"at": "by hand/more.bin"}]}
        change = f"UPDATE {lab.source_schema}.item SET bundle = %s WHERE item = 0"
        lab.source_server.sql(change, json.dumps(bundle))
        assert Item.source.verify().differing == [{"item": 0}]
        assert Item.source.refresh().refreshed == 1
        assert fetched(Item) == fetched(table)
        assert Item.source.verify()


def test_a_codec_that_is_not_there(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    Stores(lab, tmp_path, buckets, "file", "file")
    table = items(lab)
    unregister_codec("bundle")
    Item = granted(lab, table, stores={"theirs": "ours"})
    with pytest.raises(ConfigError, match="no codec <bundle> is registered"):
        Item.source.pull()


def test_the_default_store(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """A column declared with ``@`` alone, whose values name no store or the empty one."""
    stores = Stores(lab, tmp_path, buckets, "file", "file")
    lab.source.config.stores[""] = stores.theirs

    class Item(dj.Manual):
        definition = "item: int32\n---\nresult: <blob@>\nraw=null: <object@>"

    table = declare(lab, Item)
    insert(table, {"item": 0, "result": [1, 2], "raw": b"raw"})
    insert(table, {"item": 1, "result": [1, 2]})
    value = stored(lab.source_server, lab.source_schema, "item", "raw", "item")
    assert next(row[0] for row in value if row[0])["store"] == ""
    with pytest.raises(StoreError, match=r"item\.result: <blob@>(.|\n)*stores=\{'default'"):
        granted(lab, table).source.pull()
    Paired = granted(lab, table, stores={"default": ("theirs", "ours")})
    assert Paired.source.pull().pulled == 2
    assert fetched(Paired) == fetched(table)
    assert Paired.heading["raw"].store == "ours"
    lab.local.config.stores["default"] = "theirs"
    Other = granted(lab, table, stores={"default": "ours"})
    (Other & "TRUE").delete(prompt=False)
    assert Other.source.pull().pulled == 2
    assert fetched(Other) == fetched(table)
