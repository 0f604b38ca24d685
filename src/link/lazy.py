"""Attributes that are made when they are first asked for."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class cached_property(functools.cached_property[T]):  # noqa: N801 - as functools has it
    """As :func:`functools.cached_property` of Python 3.12, which has no lock; two threads may both make the value.

    That of 3.10 and 3.11 has one for all objects of a class: a thread that asks a server lets those of other servers
    wait, and a process that is forked meanwhile waits for good.
    """

    def __init__(self, func: Callable[[Any], T]) -> None:
        super().__init__(func)
        self.lock = contextlib.nullcontext()
