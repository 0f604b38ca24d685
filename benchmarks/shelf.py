"""Rows with a file each: on two S3 servers that are started for them, and what rclone makes of the same files.

And in folders, as DataJoint 0.x and 2.x keep what they have packed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from base64 import b32encode
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any

import datajoint as dj
import numpy as np
from buckets import Account, Buckets, program
from legacy_tables import Tracker, create, in_store
from yard import Sample, Yard

RECORDING = """
recording : int32
---
raw : <object@theirs>
"""
STORED = """
item : int32
---
raw : <blob@theirs>  # about raw
"""
#: Copies at once, rclone's as well.
TRANSFERS = 8


class Shelf:
    """A table in a yard with so many rows, each with a file of so many bytes in the source's store."""

    def __init__(self, yard: Yard, rows: int, size: int) -> None:
        self.yard = yard
        self.buckets = Buckets(alike=True)
        self._names = (f"local{number}" for number in count())
        self.theirs = self._bucket(self.buckets.source, "source")
        yard.lab.source.config.stores["theirs"] = self.theirs
        yard.declare("Recording", RECORDING)
        self._fill(rows, size)

    def close(self) -> None:
        """End the servers."""
        self.buckets.close()

    def pull(self) -> Sample:
        """Pull everything, into an empty bucket."""
        self.yard.reset()
        stores = {"theirs": self.theirs, "ours": self._bucket(self.buckets.local, next(self._names))}
        sample = self.yard.run("pull", "Recording", stores=stores)
        self.yard.reset()
        self._remove(stores["ours"])
        return sample

    def rclone(self) -> Sample:
        """Copy the files alone, into an empty bucket."""
        ours = self._bucket(self.buckets.local, next(self._names))
        settings: dict[str, str] = {}
        for name, store in (("theirs", self.theirs), ("ours", ours)):
            facts = {"type": "s3", "provider": "Other", "endpoint": f"http://{store['endpoint']}"}
            facts |= {"access_key_id": store["access_key"], "secret_access_key": store["secret_key"]}
            settings |= {f"RCLONE_CONFIG_{name.upper()}_{key.upper()}": value for key, value in facts.items()}
        copy = f"{program('rclone')} --config '' copy --transfers {TRANSFERS}"
        sample = self.yard.shell(f"{copy} theirs:{self.theirs['bucket']}/data ours:{ours['bucket']}/data", settings)
        self._remove(ours)
        return sample

    def _bucket(self, account: Account, name: str) -> dict[str, Any]:
        account.filesystem().mkdir(name)
        return account.store(name)

    def _remove(self, store: dict[str, Any]) -> None:
        files = self.buckets.local.filesystem()
        files.invalidate_cache()
        files.rm(store["bucket"], recursive=True)

    def _fill(self, rows: int, size: int) -> None:
        files, contents = self.buckets.source.filesystem(), os.urandom(size)

        def put(number: int) -> dict[str, Any]:
            path = f"_schema/{self.yard.lab.source_schema}/recording/recording={number}/raw_{number:08d}.dat"
            # No two of them alike.
            files.pipe_file(f"{self.theirs['bucket']}/data/{path}", number.to_bytes(4, "big") + contents[4:])
            facts = {"path": path, "store": "theirs", "size": size, "ext": ".dat", "is_dir": False, "item_count": None}
            facts["timestamp"] = datetime.now(timezone.utc).isoformat()
            return {"recording": number, "raw": facts}

        with ThreadPoolExecutor(TRANSFERS if size < 1_000_000 else 1) as pool:
            found = list(pool.map(put, range(rows)))
        classes: dict[str, Any] = {}
        self.yard.lab.source.Schema(self.yard.lab.source_schema, create_schema=False).make_classes(into=classes)
        classes["Recording"]().insert(found)


class Drawers:
    """Two tables in a yard with the same arrays of so many bytes, all in one folder: of DataJoint 2.x and of 0.x."""

    def __init__(self, yard: Yard, rows: int, size: int) -> None:
        self.yard = yard
        self.folder = Path(tempfile.mkdtemp(prefix="link-bench-"))
        self.theirs = self._store("theirs")
        yard.lab.source.config.stores["theirs"] = self.theirs
        yard.declare("Recording", STORED)
        tracker = Tracker(yard.lab, "theirs")
        yard.lab.grant(create(yard.lab, "legacy", in_store(yard.lab, "raw", "blob@theirs", "theirs")))
        self._fill(tracker, rows, size)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)

    def pull(self, name: str) -> Sample:
        """Pull everything, into an empty folder."""
        self.yard.reset()
        sample = self.yard.run("pull", name, stores={"theirs": self.theirs, "ours": self._store("ours")})
        self.yard.reset()
        shutil.rmtree(self.folder / "ours")
        return sample

    def _store(self, name: str) -> dict[str, Any]:
        (self.folder / name).mkdir()
        return {"protocol": "file", "location": str(self.folder / name)}

    def _fill(self, tracker: Tracker, rows: int, size: int) -> None:
        schema, noise = self.yard.lab.source_schema, np.random.default_rng(0)
        tracked, legacy, modern = [], [], []
        for number in range(rows):
            packed = dj.blob.pack(noise.integers(0, 256, size, dtype=np.uint8))
            digest = hashlib.md5(packed).digest()
            name = b32encode(digest).decode().rstrip("=").lower()
            facts = {"hash": name, "path": f"_hash/{schema}/{name}", "schema": schema, "store": "theirs"}
            for path in (facts["path"], tracker.path(digest)):
                tracker.put(path, packed)
            tracked.append((digest, len(packed)))
            legacy.append((number, digest))
            modern.append((number, json.dumps(facts | {"size": len(packed)})))
        with self.yard.source.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {tracker.name} (hash, size) VALUES (%s, %s)", tracked)
            cursor.executemany(f"INSERT INTO {schema}.legacy VALUES (%s, %s)", legacy)
            cursor.executemany(f"INSERT INTO {schema}.recording VALUES (%s, %s)", modern)
