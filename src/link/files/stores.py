"""Stores as copies need them: what is there, read in blocks from anywhere, written so that nothing half is ever seen.

DataJoint's own :class:`datajoint.storage.StorageBackend` says where a path lies and, for stores of most kinds, does the
reading and writing. Files on this machine and S3 have ways of their own: to write durably or by parts, to tell a
digest without reading, and to copy within one system without a detour through here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import re
import secrets
import shutil
import stat
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from filelock import BaseFileLock, FileLock

from .. import host
from ..errors import LinkError, StoreError, UnreachableError
from ..host import StorageBackend
from .objects import HEAD, STAGING, Inspect, MissingError, ObjectError

#: Objects are read in blocks of so many bytes, up to :data:`SMALL` at once.
BLOCK = 1 << 20
SMALL = 4 << 20
_LOCK = ".lock"
#: What a filesystem says of a name that nothing can have there.
_UNFIT = (errno.ENAMETOOLONG, errno.EILSEQ, errno.ELOOP)
#: What a process left there that was killed is removed after so many seconds.
STALE = 86_400


class Found(NamedTuple):
    """An object that is there: its size and, where the store knows them without reading, its MD5 digest and version.

    Another version may have another content.
    """

    size: int
    md5: str | None = None
    version: str | None = None


#: Is told what is known of an object.
Told = Callable[[Found], None]


class Cancelled(Exception):  # noqa: N818 - not an error
    """The pull is over before the copy is."""


class Taken(Exception):  # noqa: N818 - not an error
    """Something has by now the name that a new object should have got."""


class Checked:
    """An object's bytes on their way: the last of them are not given before all of them are known to be right.

    Parameters
    ----------
    store : Store
        Where it is.
    path : str
        Its path there.
    size : int
        The size that it must have.
    md5 : str or None
        The digest that it must have.
    inspect : callable or None
        Looks at the first bytes and the size.
    progress : callable
        Is told of numbers of bytes; may raise :class:`Cancelled`.
    prefix : bytes
        What is given before the object's own bytes; size and digest are those of both, and the digest is known.
    """

    def __init__(
        self,
        store: Store,
        path: str,
        size: int,
        md5: str | None = None,
        inspect: Inspect | None = None,
        progress: Callable[[int], None] = lambda number: None,
        prefix: bytes = b"",
    ) -> None:
        self.store, self.path, self.size, self.expected = store, path, size, md5
        self._prefix = prefix
        self._inspect, self._progress = inspect, progress
        self._digests = {0: hashlib.md5(usedforsecurity=False)}
        self._version: str | None = None
        self._told = 0

    def blocks(self, offset: int = 0, length: int | None = None, receiver_checks: bool = False) -> Iterator[bytes]:
        """The bytes from an offset on, at which some earlier call ended; as often as it takes.

        The digest need not be taken here where the receiver refuses another one than it was told.
        """
        end = self.size if length is None else min(self.size, offset + length)
        at, digest = offset, self._digests[offset].copy()
        if not self.size:
            self._check(digest.hexdigest(), b"")
        for block in self._read(offset, end - offset) if end > offset else ():
            if not at and self._inspect:
                self._inspect(block[:HEAD], self.size)
            at += len(block)
            if not receiver_checks:
                digest.update(block)
                if at == end:
                    self._digests[end] = digest
                if at == self.size:
                    self._check(digest.hexdigest())
            self._tell(at)
            yield block
        if at != end:
            raise ObjectError(f"ends after {at:,} of {self.size:,} bytes")

    def whole(self) -> bytes:
        """All bytes."""
        return b"".join(self.blocks())

    @property
    def md5(self) -> str:
        """The digest of what was read; of everything, once it has been."""
        return self._digests[self.size].hexdigest()

    def _read(self, offset: int, length: int) -> Iterator[bytes]:
        if before := self._prefix[offset : offset + length]:
            yield before
        offset, length = max(0, offset - len(self._prefix)), length - len(before)
        blocks = self.store.read(self.path, offset, length, self._hear)
        while True:
            # Said here whose fault it is: this is read in the middle of writing to another store.
            with explained(self.store, self.path):
                try:
                    block = next(blocks, None)
                except FileNotFoundError:
                    raise MissingError("is missing") from None
            if block is None:
                return
            yield block

    def _hear(self, found: Found) -> None:
        if not self.expected and found.size != self.size:
            raise ObjectError(f"has {found.size:,} bytes, {self.size:,} were stored")
        self.expected = self.expected or found.md5
        self._version = require_version(found, self._version)

    def _check(self, found: str, head: bytes | None = None) -> None:
        if head is not None and self._inspect:
            self._inspect(head, self.size)
        if self.expected and found != self.expected:
            raise ObjectError(f"has another content than was stored: its MD5 is {found}, expected {self.expected}")

    def _tell(self, at: int) -> None:
        self._progress(at - self._told)
        self._told = at


def require_version(found: Found, before: str | None) -> str | None:
    """The version that was found; ObjectError where it was another one ``before``."""
    if None not in (before, found.version) and found.version != before:
        raise ObjectError("was changed while it was copied")
    return found.version


class Store(ABC):
    """One store.

    Parameters
    ----------
    name : str
        Its name in the settings.
    backend : StorageBackend
        What DataJoint makes of the settings.
    """

    #: Whether :meth:`read` tells what :meth:`find` would find.
    tells: ClassVar[bool] = False
    #: Whether its system has errors that are none of :class:`OSError`.
    has_own_errors: ClassVar[bool] = False

    def __init__(self, name: str, backend: StorageBackend) -> None:
        self.name, self.backend = name, backend
        self._busy: set[str] = set()
        self._turn = threading.Condition()

    @property
    def place(self) -> tuple[str, ...]:
        """Where it is, whatever its name."""
        return self.place_of("")

    def place_of(self, path: str) -> tuple[str, ...]:
        """Where an object is, by whatever store it is reached."""
        return self.backend.protocol, self.full(path).rstrip("/")

    @contextlib.contextmanager
    def alone(self, path: str) -> Iterator[None]:
        """Let no other thread be here with the same path."""
        with self._turn:
            self._turn.wait_for(lambda: path not in self._busy)
            self._busy.add(path)
        try:
            yield
        finally:
            with self._turn:
                self._busy.discard(path)
                self._turn.notify_all()

    def full(self, path: str) -> str:
        """A path as the store's system has it."""
        return host.path_in(self.backend, path)

    @abstractmethod
    def find(self, path: str) -> Found | None:
        """The object at a path, if there is one; a folder is none."""

    @abstractmethod
    def files(self, path: str) -> list[tuple[str, int]]:
        """The files in a folder, by their paths within it, with their sizes."""

    @abstractmethod
    def read(self, path: str, offset: int, length: int, told: Told | None = None) -> Iterator[bytes]:
        """Bytes of an object, in blocks; FileNotFoundError if there is none.

        A store that :attr:`tells` lets ``told`` know first what :meth:`find` would find; others may.
        """

    @abstractmethod
    def write(self, path: str, content: Checked, new: bool = False) -> None:
        """Store an object, which is not seen before it is complete.

        With ``new``, :class:`Taken` is raised where something has the name, as far as the store can tell in time.
        """

    def reaches(self, source: Store) -> bool:
        """Whether an object of another store may be copied without reading it here."""
        return False

    def copy_within(
        self, source: Any, source_path: str, path: str, found: Found, inspect: Inspect | None = None, new: bool = False
    ) -> bool:
        """Copy an object of a store that this one :meth:`reaches`, if that proves that the copy is right.

        ``inspect`` looks at its first bytes before it has its name. ``new`` is as for :meth:`write`.
        """
        return False

    def make_folder(self, path: str) -> None:  # noqa: B027 - most have nothing to make
        """Make a folder, where folders are something."""

    def md5(self, path: str) -> str:
        """The digest of an object, by reading it where nobody knows it."""
        found = self.find(path)
        if found and found.md5:
            return found.md5
        digest = hashlib.md5(usedforsecurity=False)
        try:
            for block in self.read(path, 0, found.size) if found else ():
                digest.update(block)
        except FileNotFoundError:
            found = None
        if found is None:
            raise MissingError("is missing")
        return digest.hexdigest()

    def require_there(self) -> None:  # noqa: B027
        """Raise StoreError if nothing can be there at all."""

    def tidy(self) -> None:  # noqa: B027
        """Remove what dead processes have begun to write."""

    def stop(self) -> None:  # noqa: B027
        """Be patient with nothing any more."""

    def close(self) -> None:  # noqa: B027
        """Let go of connections."""


class FileStore(Store):
    """A folder on this machine."""

    def __init__(self, name: str, backend: StorageBackend) -> None:
        super().__init__(name, backend)
        self._opening = threading.Lock()
        self._staging: Path | None = None
        self._lock: BaseFileLock | None = None
        self._numbers = itertools.count()

    def require_there(self) -> None:
        if not Path(self.full("")).is_dir():
            raise StoreError(
                f"The store {self.name!r}: there is no folder {self.full('')!r} on this machine.",
                f"Is it mounted? Create it, or correct dj.config.stores[{self.name!r}].",
            )

    def find(self, path: str) -> Found | None:
        try:
            there = Path(self.full(path)).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Found(there.st_size) if stat.S_ISREG(there.st_mode) else None

    def files(self, path: str) -> list[tuple[str, int]]:
        root = Path(self.full(path))
        return sorted((file.relative_to(root).as_posix(), size) for file, size in _files_in(root))

    def read(self, path: str, offset: int, length: int, told: Told | None = None) -> Iterator[bytes]:
        with Path(self.full(path)).open("rb", buffering=0) as file:
            if told:
                told(_found(file))
            file.seek(offset)
            while length > 0 and (block := file.read(min(BLOCK, length))):
                length -= len(block)
                if told and not length:
                    told(_found(file))
                yield block

    def write(self, path: str, content: Checked, new: bool = False) -> None:
        with self._written(path, new) as file:
            for block in content.blocks():
                file.write(block)

    def place_of(self, path: str) -> tuple[str, ...]:
        return self.backend.protocol, str(Path(self.full(path)).resolve())

    def reaches(self, source: Store) -> bool:
        return isinstance(source, FileStore) and hasattr(os, "copy_file_range")

    def copy_within(
        self,
        source: FileStore,
        source_path: str,
        path: str,
        found: Found,
        inspect: Inspect | None = None,
        new: bool = False,
    ) -> bool:
        with explained(source, source_path):
            try:
                origin = Path(source.full(source_path)).open("rb", buffering=0)  # noqa: SIM115 - closed below
            except FileNotFoundError:
                raise MissingError("is missing") from None
        try:
            with origin, self._written(path, new) as file:
                version, left = _found(origin).version, found.size
                while left > 0 and (copied := os.copy_file_range(origin.fileno(), file.fileno(), left)):
                    left -= copied
                if left:
                    raise OSError(errno.EXDEV, "not all was copied")
                require_version(_found(origin), version)
                if inspect:
                    file.seek(0)
                    inspect(file.read(min(found.size, HEAD)), found.size)
                if found.md5:
                    _require_md5(file, found.md5)
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM):
                return False  # other filesystems, or one that cannot: through here
            raise
        return True

    def make_folder(self, path: str) -> None:
        Path(self.full(path)).mkdir(parents=True, exist_ok=True)

    def tidy(self) -> None:
        staging, mine = Path(self.full(STAGING)), self._staging
        for left in staging.glob("*") if staging.is_dir() else ():
            with contextlib.suppress(OSError):
                if left.suffix == _LOCK and (mine is None or mine.with_suffix(_LOCK) != left):
                    with FileLock(left, timeout=0):  # had at once: whoever wrote there is dead
                        _remove(left.with_suffix(""))
                elif left.is_file() and time.time() - left.stat().st_mtime > STALE:
                    left.unlink()

    def close(self) -> None:
        with self._opening:
            if self._lock and self._staging:
                _remove(self._staging)
                self._lock.release()
                self._lock = self._staging = None

    @contextlib.contextmanager
    def _written(self, path: str, new: bool = False) -> Iterator[Any]:
        """A file that gets its name when it is complete, on the disk."""
        final = Path(self.full(path))
        part = self._own_staging() / str(next(self._numbers))
        final.parent.mkdir(parents=True, exist_ok=True)  # now that the store is known to be there
        try:
            with part.open("w+b", buffering=0) as file:
                yield file
                os.fsync(file.fileno())
            _give_name(part, final, new)  # only now, as Windows moves no open file
            _sync_folder(final.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _own_staging(self) -> Path:
        """A folder that is locked as long as this store is open: what is left in others, of dead processes, can go."""
        with self._opening:
            if self._staging is None:
                own = Path(self.full(STAGING)) / secrets.token_hex(8)
                own.parent.mkdir(exist_ok=True)
                self._lock = FileLock(own.with_suffix(_LOCK), thread_local=False)
                self._lock.acquire()
                own.mkdir()
                self._staging = own
            return self._staging


def _remove(staging: Path) -> None:
    """Remove a folder whose lock is held, and the lock's file."""
    shutil.rmtree(staging, ignore_errors=True)
    with contextlib.suppress(PermissionError):  # of Windows, where it goes as soon as it is let go of
        staging.with_suffix(_LOCK).unlink(missing_ok=True)


def _give_name(part: Path, final: Path, new: bool) -> None:
    """Rename a file; where it shall be a new one, without replacing anything."""
    if new:
        try:
            os.link(part, final)
        except FileExistsError:
            raise Taken from None
        except OSError as error:  # a filesystem without links
            if os.path.lexists(final):
                raise Taken from error
        else:
            part.unlink()
            return
    part.replace(final)


def _files_in(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[tuple[Path, int]]:
    """The files in a folder, also where links lead, with their sizes."""
    try:
        here = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        if above:
            raise ObjectError(f"was changed while it was listed: {folder.name} is gone") from None
        return
    if (here.st_dev, here.st_ino) in above:
        raise ObjectError(f"has a link in {folder.name} that leads back to a folder above it")
    for entry in entries:
        if entry.is_dir():
            yield from _files_in(Path(entry.path), above | {(here.st_dev, here.st_ino)})
            continue
        try:
            yield Path(entry.path), entry.stat().st_size
        except FileNotFoundError:
            raise ObjectError(f"has {entry.name}, which is gone or a link to nothing") from None


def _found(file: Any) -> Found:
    """What an open file is now."""
    there = os.fstat(file.fileno())
    return Found(there.st_size, None, f"{there.st_dev}:{there.st_ino}:{there.st_size}:{there.st_mtime_ns}")


def _require_md5(file: Any, expected: str) -> None:
    file.seek(0)
    digest = hashlib.md5(usedforsecurity=False)
    while block := file.read(BLOCK):
        digest.update(block)
    if digest.hexdigest() != expected:
        raise ObjectError(f"has another content than was stored: its MD5 is {digest.hexdigest()}, expected {expected}")


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows opens no folders
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def explained(store: Store, path: str) -> Iterator[None]:
    """Say in our words what a store's system refuses."""
    try:
        yield
    except (LinkError, Cancelled, Taken, FileNotFoundError):
        raise
    except PermissionError as error:
        raise StoreError(
            f"The store {store.name!r} does not let us at {path}: {error}",
            f"Check the rights and credentials of dj.config.stores[{store.name!r}].",
        ) from error
    except ConnectionError as error:
        raise UnreachableError(
            f"Lost the connection to the store {store.name!r} at {path}: {error}", "Run the same again: it goes on."
        ) from error
    except OSError as error:
        if error.errno in _UNFIT or isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
            raise ObjectError(f"cannot be {path} in the store {store.name!r}: {error.strerror or error}") from error
        raise StoreError(f"The store {store.name!r} failed at {path}: {error}") from error
    except Exception as error:
        if not store.has_own_errors:
            raise
        raise StoreError(f"The store {store.name!r} failed at {path}: {shown(error)}") from error


def shown(error: Exception) -> str:
    """What an error of a filesystem says, without what a URL in it may have as a signature."""
    said = re.sub(r"[?]\S+", "?...", str(error))
    return f"{type(error).__name__}: {said}"
