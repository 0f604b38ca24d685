"""Threads that read objects, several at once, with a progress bar in bytes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Protocol, TypeVar

from ..host import Config
from ..progress import bar_of_bytes, no_bar
from .opening import OpenStores
from .stores import Cancelled

Me = TypeVar("Me", bound="Carriers")


class Counts(Protocol):
    """Where files, and their bytes, are counted."""

    files: int
    file_bytes: int


class Carriers:
    """A pool of threads with the stores that they have open; a context manager, which stops them at its end.

    Parameters
    ----------
    config : Config
        DataJoint's settings.
    name : str
        What the progress bar calls their work.
    transfers : int
        Objects at once.
    result : Counts
        Where to count.
    display_progress : bool
        Show a progress bar.
    """

    #: Whether no other bar is above theirs, so that it may stay.
    stands_alone: ClassVar = False

    def __init__(self, config: Config, name: str, transfers: int, result: Counts, display_progress: bool) -> None:
        self.stores = OpenStores(config)
        self.pool = ThreadPoolExecutor(transfers, "link-carrier")
        self._result = result
        self._counting = threading.Lock()
        self._stopped = threading.Event()
        self._title = f"{name} files" if display_progress else None
        self._bar = no_bar()  # none is drawn before there is something to carry

    def __enter__(self: Me) -> Me:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.stores.stop()
        self.pool.shutdown(cancel_futures=True)
        self.stores.close()
        self._bar.set_postfix(files=self._result.files, refresh=False)
        self._bar.close()

    def expect(self, size: int) -> None:
        """So many bytes more are to come."""
        with self._counting:
            if size and self._title:
                self._bar, self._title = bar_of_bytes(self._title, self.stands_alone), None
            self._bar.total = (self._bar.total or 0) + size

    def count(self, files: int) -> None:
        """So many more are done."""
        with self._counting:
            self._result.files += files

    def progress(self, number: int) -> None:
        """Count bytes.

        Raises
        ------
        Cancelled
            Nobody waits for them any more.
        """
        if self._stopped.is_set():
            raise Cancelled
        with self._counting:
            self._result.file_bytes += number
            self._bar.set_postfix(files=self._result.files, refresh=False)
            self._bar.update(number)
