"""Keys, ranges of keys, and what is selected of a table: values that travel between modules, threads and processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: The key of one entity, by column in the order of the source's primary key.
Key = tuple[Any, ...]
#: A piece of SQL and its arguments, in the drivers' ``%s`` style: a percent sign that is meant stands twice.
Sql = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Range:
    """The entities whose keys lie in (``after``, ``upto``], in the order of their server; None for an open end."""

    after: Key | None = None
    upto: Key | None = None


#: All keys there are.
EVERYTHING = Range()


@dataclass(frozen=True)
class Chunk(Range):
    """A range that a run moves at once.

    Attributes
    ----------
    claimed : int
        How many entities it has to copy there.
    whole : bool
        Whether the source has nothing else there.
    keys : tuple of Key
        Those of what was found unfinished, which need not be of the run's own selection.
    """

    claimed: int = 0
    whole: bool = False
    keys: tuple[Key, ...] = ()


#: Entities, by a range of keys or one by one.
Rows = Range | Sequence[Key]


@dataclass(frozen=True)
class Selection:
    """What an operation is about: rows of the source's master table for which a condition is true, or all of them.

    Attributes
    ----------
    condition : str
        SQL on the master table, by the full names of its columns or by their own; empty for everything.
    """

    condition: str = ""

    def __bool__(self) -> bool:
        return bool(self.condition)

    @property
    def conditions(self) -> tuple[Sql, ...]:
        """The condition as one of several that are to be true."""
        return ((self.condition, ()),) if self.condition else ()


#: No restriction.
ALL = Selection()


def union(selections: Sequence[Selection]) -> Selection:
    """What one or another of some selections has."""
    if ALL in selections or len(selections) == 1:
        return ALL if ALL in selections else selections[0]
    return Selection(f"({' OR '.join(f'({selection.condition})' for selection in selections)})")
