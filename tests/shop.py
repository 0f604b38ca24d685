"""Stores of every kind, and single objects that go from one to the other."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from buckets import Buckets
from datajoint import storage_adapter
from datajoint.settings import Config
from datajoint.storage import StorageBackend
from datajoint.storage_adapter import StorageAdapter
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from link.files import any_store, s3, stores
from link.files.copying import Copier, Progress
from link.files.objects import Move
from link.files.opening import open_store
from link.files.routes import Route
from link.files.stores import Store

CONTENT = random.Random(1).randbytes(12_000_000)


class _Memory(StorageAdapter):
    """A kind of store that only its adapter knows."""

    protocol = "memory"

    def create_filesystem(self, spec: dict[str, Any]) -> fsspec.AbstractFileSystem:
        return MemoryFileSystem()


class _Plain(StorageAdapter):
    """Files of this machine, by a filesystem that opens them and writes, as those of most other kinds do."""

    protocol = "plain"

    def create_filesystem(self, spec: dict[str, Any]) -> fsspec.AbstractFileSystem:
        return LocalFileSystem(auto_mkdir=True)


class _Listed(StorageAdapter):
    """A server of objects, by a filesystem that remembers what it has listed."""

    protocol = "listed"

    def create_filesystem(self, spec: dict[str, Any]) -> fsspec.AbstractFileSystem:
        return StorageBackend(spec["of"]).fs

    def validate_spec(self, spec: dict[str, Any]) -> None:
        """Anything goes."""


class Shop:
    """Stores of every kind by their names, opened once."""

    def __init__(self, folder: Path, buckets: Buckets) -> None:
        self.config = Config()
        self.buckets = buckets
        for account in (buckets.source, buckets.local):
            with contextlib.suppress(FileExistsError):
                account.filesystem().mkdir("copies")
        for name in ("file", "other_file"):
            (folder / name).mkdir()
            self.config.stores[name] = {"protocol": "file", "location": str(folder / name)}
        (folder / "file" / "within").mkdir()
        nobody = buckets.local.store("any", endpoint="127.0.0.1:1")
        self.config.stores |= {
            "rclone": buckets.source.store("copies", folder.name),
            "other_rclone": buckets.source.store("copies", f"{folder.name}/other"),
            "seaweed": buckets.local.store("copies", folder.name),
            "other_seaweed": buckets.local.store("copies", f"{folder.name}/other"),
            "memory": {"protocol": "memory", "location": f"/{folder.name}"},
            "plain": {"protocol": "plain", "location": str(folder / "plain")},
            "listed": {"protocol": "listed", "location": f"copies/{folder.name}", "of": buckets.local.store("any")},
            "nowhere": {
                "protocol": "listed",
                "location": "copies",
                "of": nobody,
            },
            "within_file": {"protocol": "file", "location": str(folder / "file" / "within")},
        }
        self._open: dict[str, Store] = {}

    def __getitem__(self, name: str) -> Store:
        if name not in self._open:
            self._open[name] = open_store(self.config, name)
        return self._open[name]

    def put(self, name: str, path: str, content: bytes) -> None:
        """Store something without the package."""
        self[name].backend.remove(path)
        self[name].backend.put_buffer(content, path)

    def got(self, name: str, path: str) -> bytes:
        """What DataJoint reads."""
        self[name].backend.fs.invalidate_cache()
        return bytes(self[name].backend.get_buffer(path))

    def copy(self, source: str, local: str, **facts: Any) -> Move:
        """Copy the object `a/b c+ü.dat` to `x/y`."""
        return self.carry(source, local, "a/b c+ü.dat", "x/y", **{"thorough": True, **facts})

    def carry(
        self,
        source: str,
        local: str,
        path: str,
        to: str,
        thorough: bool = False,
        progress: Progress = lambda number: None,
        **facts: Any,
    ) -> Move:
        """Copy an object, of which so much is known."""
        move = Move(Route(source, local, False, {}), path, to, **facts)
        return Copier(self[source], self[local], progress, thorough).carry(move)

    def close(self) -> None:
        """Close what was opened."""
        for store in self._open.values():
            store.close()


@contextlib.contextmanager
def opened(folder: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Stores; what is small, and what goes in parts, is small enough for tests."""
    for adapter in (_Memory(), _Plain(), _Listed()):
        monkeypatch.setitem(storage_adapter._adapter_registry, adapter.protocol, adapter)
    for module in (stores, s3, any_store):
        monkeypatch.setattr(module, "BLOCK", 100_000)
        monkeypatch.setattr(module, "SMALL", 300_000)
    # The smallest that S3 allows.
    monkeypatch.setattr(s3, "PART", 5 << 20)
    monkeypatch.setattr(s3, "COPIED_PART", 5 << 20)
    made = Shop(folder, buckets)
    try:
        yield made
    finally:
        made.close()
