"""Source tables with files for the tests, and what DataJoint makes of them on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import datajoint as dj
import numpy as np
from buckets import Buckets
from datajoint.codecs import resolve_dtype
from lab import Lab
from pipelines import declare

Where = Literal["file", "s3"]


class Stores:
    """A source store and a local store of a lab, both known to both sides' settings.

    The source store is called ``theirs``, the local one ``ours``.
    """

    def __init__(self, lab: Lab, folder: Path, buckets: Buckets, source: Where, local: Where, **settings: Any) -> None:
        self.lab, self.folder = lab, folder
        self.theirs = self._made("theirs", source, buckets.source if source == "s3" else None)
        self.ours = self._made("ours", local, buckets.local if local == "s3" else None) | settings
        self.settings = {"theirs": self.theirs, "ours": self.ours}
        for instance in (lab.source, lab.local):
            instance.config.stores = dict(self.settings)
            instance.config.download_path = str(folder / f"downloads{id(instance)}")

    def _made(self, name: str, where: Where, account: Any) -> dict[str, Any]:
        if where == "s3":
            bucket = f"{self.lab.prefix}-{name}"
            account.filesystem().mkdir(bucket)
            settings: dict[str, Any] = account.store(bucket)
            return settings
        (self.folder / name).mkdir()
        return {"protocol": "file", "location": str(self.folder / name)}


def backend(instance: Any, store: str) -> Any:
    """DataJoint's backend of a store."""
    from datajoint.hash_registry import get_store_backend

    return get_store_backend(store, config=instance.config)


def listed(instance: Any, store: str) -> set[str]:
    """The paths of all files in a store."""
    found = backend(instance, store)
    root = found._full_path("").rstrip("/") + "/"
    found.fs.invalidate_cache()
    return {name[len(root) :] for name in found.fs.find(root)}


def recordings(lab: Lab) -> Any:
    """A table with a column of every codec, nullable or not, and a part with files of its own."""

    class Recording(dj.Manual):
        definition = """
        recording: int32
        day: date
        ---
        note: varchar(40)
        result: <blob@theirs>  # what came out
        sheet=null: <attach@theirs>
        digest=null: <hash@theirs>
        raw=null: <object@theirs>
        chunks=null: <object@theirs>
        wave=null: <npy@theirs>
        movie=null: <filepath@theirs>
        inside=null: <blob>
        """

        class Channel(dj.Part):
            definition = """
            -> master
            channel: int32
            ---
            trace: <npy@theirs>
            spikes=null: <blob@theirs>
            """

    return declare(lab, Recording)


def fill(lab: Lab, table: Any, folder: Path, first: int = 0, rows: int = 4) -> None:
    """Rows of `recordings`; every third has nothing but what it must have."""
    theirs = backend(lab.source, "theirs")
    for n in range(first, first + rows):
        row: dict[str, Any] = {"recording": n, "day": f"2024-03-{n % 28 + 1:02d}", "note": f"note {n}"}
        row |= {"result": {"mean": n / 7, "all": np.arange(n)}}
        if n % 3:
            theirs.put_buffer(f"movie {n}".encode(), f"movies/mouse {n}.avi")
            row |= {"sheet": _file(folder, f"sheet {n}.csv", f"a,b\n{n}"), "digest": bytes([n]) * 1000}
            row |= {"raw": _file(folder, f"raw{n}.dat", "x" * (10 + n)), "chunks": _folder(folder, n)}
            row |= {"wave": np.linspace(0, n, 50, dtype="float32"), "movie": f"movies/mouse {n}.avi", "inside": [n]}
        insert(table, row)
        for channel in range(2):
            part = {"recording": n, "day": row["day"], "channel": channel, "trace": np.arange(n + channel)}
            insert(table.Channel, part | ({"spikes": [n, channel]} if channel else {}))


def insert(table: Any, row: Mapping[str, Any]) -> None:
    """Insert one row: as DataJoint does where it can, on MariaDB what it would insert."""
    instance = table()
    if not instance.connection.query("SELECT VERSION()").fetchone()[0].count("MariaDB"):
        instance.insert1(row)
        return
    values = {name: encoded(instance, name, value, row) for name, value in row.items()}
    names = ", ".join(f"`{name}`" for name in values)
    marks = ", ".join(["%s"] * len(values))
    instance.connection.query(
        f"INSERT INTO {instance.full_table_name} ({names}) VALUES ({marks})", args=list(values.values())
    )


def change(table: Any, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Change a row with files as DataJoint would, on MariaDB too."""
    instance = table()
    stored = [encoded(instance, name, value, key | values) for name, value in values.items()]
    quote = instance.connection.adapter.quote_identifier
    assignments = ", ".join(f"{quote(name)} = %s" for name in values)
    where = " AND ".join(f"{quote(name)} = %s" for name in key)
    sql = f"UPDATE {instance.full_table_name} SET {assignments} WHERE {where}"
    instance.connection.query(sql, args=[*(json.dumps(v) if isinstance(v, dict) else v for v in stored), *key.values()])


def encoded(table: Any, name: str, value: Any, row: Mapping[str, Any]) -> Any:
    """What DataJoint would store of a value of a column."""
    attribute = table.heading[name]
    if value is None or not attribute.codec:
        return value
    _, chain, store = resolve_dtype(f"<{attribute.codec.name}>", store_name=attribute.store)
    config = table.connection._config
    context = {"schema": table.database, "table": table.table_name, "field": name, "config": config}
    key = {key: row[key] for key in table.primary_key}
    for codec in chain:
        encode: Any = codec.encode
        accepted = {"context": context, "store_name": store}
        value = encode(value, key=key, **{n: v for n, v in accepted.items() if n in encode.__code__.co_varnames})
    return json.dumps(value) if isinstance(value, dict) else value


def _file(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def _folder(folder: Path, number: int) -> str:
    made = folder / f"chunks{number}"
    (made / "0" / "1").mkdir(parents=True, exist_ok=True)
    (made / ".zarray").write_text("{}")
    (made / "0" / "1" / "c").write_bytes(bytes([number]) * 100)
    return str(made)


def fetched(table: Any) -> list[dict[str, Any]]:
    """Every row, with the content of its files in place of what names them."""
    rows = table().to_dicts(order_by="KEY")
    return [{name: _content(value) for name, value in row.items()} for row in rows]


def _content(value: Any) -> Any:
    if isinstance(value, dj.builtin_codecs.NpyRef):
        value = value.load()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return {name: _content(item) for name, item in value.items()}
    if isinstance(value, dj.objectref.ObjectRef):
        if value.is_dir:
            return _tree(value)
        return value.read()
    if isinstance(value, str) and Path(value).is_file():
        return Path(value).name, Path(value).read_bytes()
    return value


def _tree(ref: Any) -> list[tuple[str, bytes]]:
    return sorted((name, bytes(data)) for name, data in ref.fsmap.items())


def stored(server: Any, schema: str, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """Rows with the stored values decoded from JSON, in the order of the columns."""
    rows = server.sql(f"SELECT {', '.join(columns)} FROM {schema}.{table}")
    return sorted((tuple(map(_decoded, row)) for row in rows), key=repr)


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value[:1] == "{" else value


def collected(instance: Any, schema: str, store: str, dry_run: bool = True) -> dict[str, Any]:
    """What DataJoint's garbage collection says of a schema."""
    found = instance.Schema(schema, create_schema=False, create_tables=False)
    return dict(dj.gc.GarbageCollector(found, store=store).collect(dry_run=dry_run))


@contextmanager
def nothing_left_over(instance: Any, schema: str, store: str) -> Iterator[None]:
    """See that there is neither an orphan nor a missing file afterwards."""
    yield
    report = collected(instance, schema, store)
    assert (report["hash_paths_orphaned"], report["schema_paths_orphaned"], report["scan_errors"]) == (0, 0, [])


def path_in(instance: Any, store: str, server: Any, schema: str, table: str, column: str, number: int) -> str:
    """Where a file of the row with this first key value is."""
    found = next(row[1] for row in stored(server, schema, table, table, column) if row[0] == number)
    return str(backend(instance, store)._full_path(found["path"]))
