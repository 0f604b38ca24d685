"""One object's way from store to store: complete, checked, and under its name only then."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection

from ..errors import StoreError
from .objects import HEAD, MissingError, Move, ObjectError, other_path, require_inside
from .stores import SMALL, Checked, Found, Store, Taken, explained

Progress = Callable[[int], None]


class Copier:
    """Copies objects between two stores, or sees that those are there to which rows will point.

    Parameters
    ----------
    source, local : Store
        The stores; of objects that stay where they are, both are the local one.
    progress : callable
        Is told of numbers of bytes; may raise :class:`stores.Cancelled`.
    thorough : bool
        Whether copies may be there from an interrupted run. Large ones and those named by content are always looked
        for.
    """

    def __init__(self, source: Store, local: Store, progress: Progress, thorough: bool) -> None:
        self.source, self.local = source, local
        self.progress = progress
        self.thorough = thorough

    def carry(self, move: Move) -> Move:
        """Bring one object; what of it is known then.

        Raises
        ------
        ObjectError
            It is missing or damaged at the source.
        """
        is_folder = move.is_folder
        if is_folder is None:
            is_folder = self._find(move.source) is None
        if is_folder:  # which may be named with a slash at its end
            named, slash = move.source, "/" * move.local.endswith("/")
            move = dataclasses.replace(move, source=named.rstrip("/"), local=move.local.rstrip("/"))
            carried = self._carry_folder(move)
            return dataclasses.replace(carried, source=named, local=carried.local + slash)
        if move.route.referenced:
            self._require_right(move)
            return move
        return self._carry_file(move)

    # files

    def _carry_file(self, move: Move) -> Move:
        expected = self._expected(move)
        if move.free:
            with self.local.alone(move.local):
                return self._carry_free(move, expected)
        if (move.by_content or self.thorough or expected.size > SMALL) and self._is_there(move, expected):
            self._inspect(move.local, move, expected)
            self.progress(expected.size)
            return move
        self._copy(move, expected)
        return move

    def _expected(self, move: Move) -> Found:
        """Size and digest that the object must have, from what is stored of it; else from the source store."""
        if move.size is not None and (move.md5 or self._is_told(move)):
            return Found(move.size, move.md5)
        found = self._find(move.source)
        if found is None:
            raise MissingError("is missing")
        if move.size not in (None, found.size):
            raise ObjectError(f"has {found.size:,} bytes, {move.size:,} were stored")
        return found._replace(md5=move.md5 or found.md5)

    def _is_told(self, move: Move) -> bool:
        """Whether size and digest show when the object is read, and nothing depends on them before."""
        plain = self.source.tells and not self.local.reaches(self.source)
        return plain and not (move.free or move.by_content or self.thorough) and 0 < (move.size or 0) <= SMALL

    def _is_there(self, move: Move, expected: Found) -> bool:
        there = self._local(move.local)
        if there is None or there.size != expected.size:
            return False
        if move.by_content or expected.md5:
            return expected.md5 == (there.md5 or self._md5(self.local, move.local))
        # Its name is that of this object only, and it was complete before it had the name.
        return True

    def _carry_free(self, move: Move, expected: Found) -> Move:
        """Bring a file of the user's own: where something is already, take it if it is the same, and leave it alone."""
        there = self._local(move.local)
        if not there:
            with contextlib.suppress(Taken):
                self._copy(move, expected, new=True)
                return move
            there = self._local(move.local)
        content = expected.md5 or self._md5(self.source, move.source)
        same = there and there.size == expected.size and content == (there.md5 or self._md5(self.local, move.local))
        if same and not self._is_own(move):
            self.progress(expected.size)
            return move
        elsewhere, known = _elsewhere(move, content), Found(expected.size, content)
        if not self._is_there(elsewhere, known):
            self._copy(elsewhere, known)
        return elsewhere

    def _is_own(self, move: Move) -> bool:
        """Whether the name is that of the source's own object, in a store that both share: the source may remove it."""
        return self.source.place_of(move.source) == self.local.place_of(move.local)

    def _md5(self, store: Store, path: str) -> str:
        with explained(store, path):
            return store.md5(path)

    def _copy(self, move: Move, expected: Found, new: bool = False) -> None:
        try:
            with explained(self.local, move.local):
                self._write(move, expected, new)
        except FileNotFoundError as error:
            raise StoreError(
                f"The store {self.local.name!r} failed at {move.local}: nothing can be written there any more: {error}",
                f"Is it still there? Look at dj.config.stores[{self.local.name!r}].",
            ) from error

    def _write(self, move: Move, expected: Found, new: bool) -> None:
        within = self.local.reaches(self.source) and not move.prefix
        if within and self.local.copy_within(self.source, move.source, move.local, expected, move.inspect, new):
            self.progress(expected.size)
            return
        content = Checked(
            self.source, move.source, expected.size, expected.md5, move.inspect, self.progress, move.prefix
        )
        self.local.write(move.local, content, new)

    def _inspect(self, path: str, move: Move, there: Found) -> None:
        """Look at the beginning of what is in the local store already."""
        if move.inspect:
            with explained(self.local, path):
                head = b"".join(self.local.read(path, 0, min(there.size, HEAD)))
            move.inspect(head, there.size)

    def _require_right(self, move: Move) -> None:
        found = self._local(move.source)
        if found is None:
            raise MissingError(f"is not to be found through the local store {self.local.name!r}")
        if move.size not in (None, found.size):
            raise ObjectError(f"has {found.size:,} bytes, {move.size:,} were stored")
        if None not in (move.md5, found.md5) and move.md5 != found.md5:
            raise ObjectError(f"has another content than was stored: its MD5 is {found.md5}, expected {move.md5}")
        self._inspect(move.source, move, found)
        self.progress(found.size)

    # folders

    def _carry_folder(self, move: Move) -> Move:
        with explained(self.source, move.source):
            files = self.source.files(move.source)
        manifest = self._find(f"{move.source}.manifest.json")
        self._require_complete(move, files, manifest is not None)
        if move.route.referenced:
            self.progress(sum(size for _, size in files))
            return move
        if not move.free:
            self._bring(move, files, manifest)
            return move
        with self.local.alone(move.local):
            return self._carry_free_folder(move, files, manifest)

    def _bring(
        self, move: Move, files: list[tuple[str, int]], manifest: Found | None, there: Collection[str] = ()
    ) -> None:
        """Copy the files of a folder but for those that are ``there``."""
        for name, size in files:
            require_inside(name)
            within = _within(move, f"/{name}", size)
            if not move.free:
                self._carry_file(within)
            elif name not in there:
                self._copy(within, self._expected(within), new=True)
        with explained(self.local, move.local):
            self.local.make_folder(move.local)
        if manifest:
            self._carry_file(dataclasses.replace(_within(move, ".manifest.json", manifest.size), free=move.free))

    def _carry_free_folder(self, move: Move, files: list[tuple[str, int]], manifest: Found | None) -> Move:
        """Bring a folder of the user's own: where one is already, complete it if all in it is the same."""
        with explained(self.local, move.local):
            there = self.local.files(move.local)
        fits = not self._is_own(move) and self._local(move.local) is None and set(there) <= set(files)
        if fits and all(self._is_same(move, name) for name, _ in there):
            with contextlib.suppress(Taken):
                self._bring(move, files, manifest, dict(there))
                return move
        content = repr([(name, self._md5(self.source, f"{move.source}/{name}")) for name, _ in files])
        elsewhere = _elsewhere(move, content)
        self._bring(elsewhere, files, manifest)
        return elsewhere

    def _is_same(self, folder: Move, name: str) -> bool:
        return self._md5(self.source, f"{folder.source}/{name}") == self._md5(self.local, f"{folder.local}/{name}")

    def _require_complete(self, move: Move, files: list[tuple[str, int]], has_manifest: bool) -> None:
        size = sum(size for _, size in files)
        if not files and not has_manifest and move.files != 0:
            raise MissingError("is missing")
        if move.files not in (None, len(files)) or move.size not in (None, size):
            raise ObjectError(f"has {len(files):,} files of {size:,} bytes, {move.files} of {move.size} were stored")

    def _find(self, path: str) -> Found | None:
        with explained(self.source, path):
            return self.source.find(path)

    def _local(self, path: str) -> Found | None:
        with explained(self.local, path):
            return self.local.find(path)


def _elsewhere(move: Move, content: str) -> Move:
    """Beside what has the name: under one that no other content has."""
    return dataclasses.replace(move, local=other_path(move.local, move.source, content), free=False)


def _within(folder: Move, name: str, size: int) -> Move:
    return Move(folder.route, folder.source + name, folder.local + name, size)
