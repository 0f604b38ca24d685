"""One object's way from store to store: complete, checked, and under its name only then."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from .objects import HEAD, MissingError, Move, ObjectError, other_path, require_inside
from .stores import SMALL, Checked, Found, Store, explained

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
        if is_folder:
            return self._carry_folder(move)
        if move.route.referenced:
            self._require_right(move)
            return move
        return self._carry_file(move)

    # files

    def _carry_file(self, move: Move) -> Move:
        expected = self._expected(move)
        if move.free and (there := self._local(move.local)):
            return self._beside(move, expected, there)
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
        return Found(found.size, move.md5 or found.md5)

    def _is_told(self, move: Move) -> bool:
        """Whether size and digest show when the object is read, and nothing depends on them before."""
        plain = self.source.tells and not self.local.reaches(self.source)
        return plain and not (move.free or move.by_content or self.thorough) and 0 < (move.size or 0) <= SMALL

    def _is_there(self, move: Move, expected: Found) -> bool:
        there = self._local(move.local)
        if there is None or there.size != expected.size:
            return False
        if move.by_content:
            with explained(self.local, move.local):
                return expected.md5 == (there.md5 or self.local.md5(move.local))
        # Its name is that of this object only, and it was complete before it had the name.
        return None in (there.md5, expected.md5) or there.md5 == expected.md5

    def _beside(self, move: Move, expected: Found, there: Found) -> Move:
        """Something is where the user's file would go: take it if it is the same, and else leave it alone."""
        with explained(self.source, move.source):
            content = expected.md5 or self.source.md5(move.source)
        with explained(self.local, move.local):
            same = there.size == expected.size and content == (there.md5 or self.local.md5(move.local))
            # In a store that both sides share it is the source's own file, which the source may remove.
            if same and (self.source.place, move.source) != (self.local.place, move.local):
                self.progress(expected.size)
                return move
        elsewhere = dataclasses.replace(move, local=other_path(move.local, move.source, content), free=False)
        if not self._is_there(elsewhere, Found(expected.size, content)):
            self._copy(elsewhere, expected)
        return elsewhere

    def _copy(self, move: Move, expected: Found) -> None:
        if self.local.reaches(self.source) and not move.prefix:
            with explained(self.local, move.local):
                try:
                    copied = self.local.copy_within(self.source, move.source, move.local, expected, move.inspect)
                except FileNotFoundError:
                    raise MissingError("is missing") from None
            if copied:
                self.progress(expected.size)
                return
        with explained(self.local, move.local):
            content = Checked(
                self.source, move.source, expected.size, expected.md5, move.inspect, self.progress, move.prefix
            )
            self.local.write(move.local, content)

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
        if move.free:
            move = self._folder_beside(move, files)
        for name, size in files:
            require_inside(name)
            self._carry_file(_within(move, f"/{name}", size))
        with explained(self.local, move.local):
            self.local.make_folder(move.local)
        if manifest:
            self._carry_file(_within(move, ".manifest.json", manifest.size))
        return move

    def _require_complete(self, move: Move, files: list[tuple[str, int]], has_manifest: bool) -> None:
        size = sum(size for _, size in files)
        if not files and not has_manifest and move.files != 0:
            raise MissingError("is missing")
        if move.files not in (None, len(files)) or move.size not in (None, size):
            raise ObjectError(f"has {len(files):,} files of {size:,} bytes, {move.files} of {move.size} were stored")

    def _folder_beside(self, move: Move, files: list[tuple[str, int]]) -> Move:
        with explained(self.local, move.local):
            there = self.local.files(move.local)
        if not set(there) <= set(files) or (self.source.place, move.source) == (self.local.place, move.local):
            content = repr(files)
            return dataclasses.replace(move, local=other_path(move.local, move.source, content), free=False)
        return dataclasses.replace(move, free=False)

    def _find(self, path: str) -> Found | None:
        with explained(self.source, path):
            return self.source.find(path)

    def _local(self, path: str) -> Found | None:
        with explained(self.local, path):
            return self.local.find(path)


def _within(folder: Move, name: str, size: int) -> Move:
    return Move(folder.route, folder.source + name, folder.local + name, size)
