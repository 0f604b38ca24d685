"""The older interface of linking: schemas that connect late, and a decorator that takes two of them.

Code written for it goes on working, on the engine of :mod:`link` and with its guarantees. New code is better off with
``@link``; docs/dj_link.md shows how to move.
"""

from .schemas import LazySchema
from .tables import Link, LinkedTable, Source

__all__ = ["LazySchema", "Link", "LinkedTable", "Source"]
