"""Waiting for what another session has, and for a session that another thread has."""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ..servers.session import Session
from ..signals import BusyError

logger = logging.getLogger("link")
T = TypeVar("T")

TRIES = 10


def patiently(action: Callable[[], T]) -> T:
    """Repeat a statement that lost a deadlock or waited too long for a lock, with growing pauses."""
    retrying = Retrying(
        retry=retry_if_exception_type(BusyError),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_attempt(TRIES),
        before_sleep=before_sleep_log(logger, logging.DEBUG),
        reraise=True,
    )
    return retrying(action)


class Idle:
    """Sessions that threads use by turns, each by one at a time."""

    def __init__(self, sessions: Iterable[Session]) -> None:
        self._queue: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for session in sessions:
            self._queue.put(session)

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Session]:
        """Wait for a session that nobody uses."""
        session = self._queue.get()
        try:
            yield session
        finally:
            self._queue.put(session)
