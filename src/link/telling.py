"""What this process alone knows, for others of the same tree of processes: what travels to them names a place to ask.

They show by the key of their tree, which :mod:`multiprocessing` gives to whatever it starts, that they are of it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from multiprocessing import AuthenticationError, current_process
from multiprocessing.connection import Client, Listener

_REFUSED = (OSError, EOFError, AuthenticationError, UnicodeDecodeError)
_lock = threading.Lock()
#: Where each process answers; a forked one has what its parent has, and no thread.
_places: dict[int, str] = {}


def place_to_ask(find: Callable[[str], str | None]) -> str:
    """Where this process answers from now on.

    Parameters
    ----------
    find : callable
        The answer to a question, if there is one.
    """
    with _lock:
        if os.getpid() not in _places:
            listener = Listener(authkey=_key())
            threading.Thread(target=_answer, args=(listener, find), name="link-telling", daemon=True).start()
            _places[os.getpid()] = str(listener.address)
        return _places[os.getpid()]


def ask(place: str, question: str) -> str | None:
    """What the process at a place answers; None where it is not of this tree, or no longer there."""
    try:
        with Client(place, authkey=_key()) as wire:
            wire.send_bytes(question.encode())
            return wire.recv_bytes().decode() or None
    except _REFUSED:
        return None


def _answer(listener: Listener, find: Callable[[str], str | None]) -> None:
    while True:
        try:
            with listener.accept() as wire:
                wire.send_bytes((find(wire.recv_bytes().decode()) or "").encode())
        except _REFUSED:
            time.sleep(0.1)


def _key() -> bytes:
    return bytes(current_process().authkey)
