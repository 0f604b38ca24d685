"""Stores of every kind that DataJoint has a filesystem for."""

from __future__ import annotations

import contextlib
import datetime
import secrets
from collections.abc import Iterator
from typing import Any

from ..errors import StoreError
from ..host import StorageBackend
from .objects import STAGING
from .stores import BLOCK, SMALL, STALE, Checked, Found, Store, Taken, Told


class AnyStore(Store):
    """A store of any kind that DataJoint has a filesystem for."""

    has_own_errors = True

    def __init__(self, name: str, backend: StorageBackend) -> None:
        super().__init__(name, backend)
        backend.fs.invalidate_cache()  # others have it as well, for as long as this process lives

    def find(self, path: str) -> Found | None:
        try:
            info = self.backend.fs.info(self.full(path))
        except FileNotFoundError:
            return None
        return Found(int(info["size"])) if info["type"] == "file" else None

    def files(self, path: str) -> list[tuple[str, int]]:
        root = self.full(path).rstrip("/") + "/"
        found = self.backend.fs.find(root, detail=True)
        return sorted((name[len(root) :], int(info["size"])) for name, info in found.items() if len(name) > len(root))

    def read(self, path: str, offset: int, length: int, told: Told | None = None) -> Iterator[bytes]:
        with self.backend.fs.open(self.full(path), "rb", block_size=SMALL, cache_type="readahead") as file:
            file.seek(offset)
            while length > 0 and (block := file.read(min(BLOCK, length))):
                length -= len(block)
                yield block

    def write(self, path: str, content: Checked, new: bool = False) -> None:
        fs, full = self.backend.fs, self.full(path)
        whole = content.whole() if content.size <= SMALL else None
        if new and fs.lexists(full):
            raise Taken
        fs.makedirs(full.rpartition("/")[0], exist_ok=True)
        if whole is not None and _puts_at_once(fs):
            fs.pipe_file(full, whole)
            return
        part = self.full(f"{STAGING}/{secrets.token_hex(16)}")  # another process may be writing the same object
        fs.makedirs(part.rpartition("/")[0], exist_ok=True)
        try:
            with fs.open(part, "wb", block_size=2 * SMALL) as file:
                for block in content.blocks() if whole is None else [whole]:
                    file.write(block)
            fs.mv(part, full)
        except BaseException:
            with contextlib.suppress(Exception):
                fs.rm_file(part)
            raise
        kept = self.find(path)
        if kept is None or kept.size != content.size:
            raise StoreError(f"The store {self.name!r} has not kept what was written to {path}.")

    def tidy(self) -> None:
        fs = self.backend.fs
        with contextlib.suppress(Exception):  # not every system tells when something was written
            for part in fs.ls(self.full(STAGING), detail=False):
                age = datetime.datetime.now(datetime.timezone.utc) - fs.modified(part).astimezone()
                if age.total_seconds() > STALE:
                    fs.rm_file(part)


def _puts_at_once(fs: Any) -> bool:
    """Whether a filesystem puts an object by a request of its own, of which nothing is seen before it is complete.

    Others open a file and write, and may be killed in between.
    """
    while type(fs).__module__ == "fsspec.implementations.dirfs":
        fs = fs.fs
    own = {kind.__module__ for kind in type(fs).__mro__ if {"pipe_file", "_pipe_file"} & vars(kind).keys()}
    return bool(own - {"fsspec.spec", "fsspec.asyn"})
