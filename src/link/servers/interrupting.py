"""Ctrl-C where it must not come as it does.

While a driver waits in C, Python hears of no signal: the statement is stopped at its server. Where threads or processes
are begun, or told something, an error between any two steps leaves half of it, and others wait for the rest.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class _Watch:
    """Hears of signals while the main thread waits, in a thread of its own that lives as long as the process.

    What is to be stopped belongs to the main thread, which changes it; who stops it holds ``turn``.
    """

    def __init__(self) -> None:
        self._heard, self.told = os.pipe()
        if hasattr(os, "set_blocking"):
            os.set_blocking(self.told, False)  # as Python wants it where there is such a thing
        self.others = -1
        self.stop: Callable[[], None] | None = None
        self.has_stopped = False
        self.turn = threading.Lock()
        threading.Thread(target=self._listen, name="link-interrupts", daemon=True).start()

    def _listen(self) -> None:
        while numbers := os.read(self._heard, 64):
            if self.others >= 0:
                with contextlib.suppress(OSError):
                    os.write(self.others, numbers)  # an event loop's, perhaps
            # Any other handler need not raise anything.
            if any(signal.getsignal(number) is signal.default_int_handler for number in numbers):
                with self.turn, contextlib.suppress(Exception):  # what cannot be stopped ends by itself
                    if self.stop is not None:
                        self.has_stopped = True
                        self.stop()


_watches: dict[int, _Watch] = {}


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait for the end of what the main thread does in here, which takes no time worth mentioning."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    heard = list[tuple[int, FrameType | None]]()
    signal.signal(signal.SIGINT, lambda *told: heard.append(told))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            before(*heard[0])


@contextlib.contextmanager
def stoppable(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C stop what the main thread waits for in here; the error that comes of it gives way to the interrupt.

    Parameters
    ----------
    stop : callable
        Asks the server, by another connection, to stop it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if os.getpid() not in _watches:  # a forked process has no threads
        _watches[os.getpid()] = _Watch()
    watch = _watches[os.getpid()]
    others, before = signal.set_wakeup_fd(watch.told, warn_on_full_buffer=False), watch.stop
    if others != watch.told:
        watch.others = others
    watch.has_stopped, watch.stop = False, stop
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.__suppress_context__ = True
        raise
    except Exception:
        if watch.has_stopped:  # the driver may have lost the interrupt on its way to this
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.set_wakeup_fd(others)
        with watch.turn:  # what comes next is not to be stopped
            watch.stop = before
