"""Rows of a range in groups, each of some hundred rows, which follow from the keys: the same on both ends.

A group is a stretch of the keys' order, where the key's first columns allow that: what they have in common, the last of
them as a number divided by some width. The rows of a few such groups are found by the index. Of other keys groups are
made by a hash, and to find the rows of a few of them all are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..model.ranges import Key, Sql
from ..model.schema import Column
from .dialect import linkable_kind
from .keyed import Keyed

#: By a hash rows fall into so many groups: a power of two.
BUCKETS = 1024
#: A group shall have so many rows: with fewer the groups would be too many, with more a look at one would take long.
FEWEST, MOST = 32, 256
#: Kinds of which what is equal to one value is a stretch of the order, and is told alike on both ends.
_STRETCHES = {"integer", "bool", "date", "datetime", "uuid", "bytes", "text"}
#: The lowest value of a column that is divided.
_LOWEST = -(2**63)

#: What is fetched of a group, by which it is known: values of the key's first columns, or a number.
Label = tuple[Any, ...]


@dataclass(frozen=True)
class Grouping:
    """How rows are grouped by the keys of their entities.

    Attributes
    ----------
    columns : int
        How many of the key's columns the rows of a group have in common; none if they are grouped by a hash.
    width : int
        So many values of the last of these columns are one.
    """

    columns: int = 0
    width: int = 1

    def of(self, rows: Keyed) -> list[tuple[Column | None, str]]:
        """What the rows of a table are grouped by; see :meth:`.Dialect.sums_by_group`."""
        if not self.columns:
            return [(None, rows.dialect.bucket(rows.pairs, BUCKETS))]
        pairs: list[tuple[Column | None, str]] = [*rows.pairs[: self.columns]]
        return pairs if self.width == 1 else [*pairs[:-1], (None, self._divided(rows))]

    def having(self, rows: Keyed, labels: Sequence[Label]) -> Sql:
        """The condition that rows of a table are in one of some groups, in the form that uses the index."""
        if not self.columns:
            return f"{rows.dialect.bucket(rows.pairs, BUCKETS)} IN ({', '.join(str(n) for (n,) in labels)})", ()
        conditions = [self._one(rows, label) for label in labels]
        either = " OR ".join(f"({sql})" for sql, _ in conditions)
        return f"({either})", tuple(arg for _, args in conditions for arg in args)

    def _one(self, rows: Keyed, label: Label) -> Sql:
        if self.width == 1:
            return rows.dialect.equals(rows.pairs[: self.columns], label)
        first, last = _values(label[-1], self.width)
        between = f"{rows.references[self.columns - 1]} BETWEEN {first} AND {last}"
        if self.columns == 1:
            return between, ()
        sql, args = rows.dialect.equals(rows.pairs[: self.columns - 1], label[:-1])
        return f"{sql} AND {between}", args

    def _divided(self, rows: Keyed) -> str:
        divided = rows.dialect.divided(*rows.pairs[self.columns - 1], self.width)
        assert divided is not None  # or it would not have been chosen
        return divided

    def suits(self, rows: int, entities: int, groups: int) -> bool:
        """Whether so many groups of stretches are about what the rows of some entities should have."""
        not_many = FEWEST * groups <= 2 * max(rows, FEWEST * MOST)
        return bool(self.columns) and not_many and (rows <= 4 * MOST * groups or groups == entities)


def divisible(ends: Sequence[tuple[Keyed, Keyed]]) -> list[bool]:
    """Of the key's first columns, as far as groups can be stretches of them, whether such a column can be divided.

    ``ends`` are the tables with rows of the entities, there and here.
    """
    found: list[bool] = []
    for n in range(len(ends[0][0].key)):
        pairs = [(rows.dialect, *rows.pairs[n]) for end in ends for rows in end]
        if not all(_is_same(there.key[n], here.key[n]) for there, here in ends):
            break
        found.append(all(dialect.divided(column, reference, 1) for dialect, column, reference in pairs))
    # Without parts each row has another value of the whole key.
    is_whole = len(found) == len(ends[0][0].key)
    return found[:-1] if is_whole and not found[-1] and len(ends) == 1 else found


def _is_same(there: Column, here: Column) -> bool:
    """Whether values of a column that are equal at one end are so at the other."""
    if there.type != here.type or linkable_kind(there).name not in _STRETCHES:
        return False
    return (there.charset, there.collation) == (here.charset, here.collation)


def fitting(keys: Sequence[Key], may_divide: Sequence[bool], rows: float = 1.0) -> Grouping:
    """The coarsest grouping whose groups have few enough rows, as far as keys tell that lie one after the other.

    Columns as they are come before divided ones: an index has them in order. ``rows`` is how many an entity has.
    """
    most, fewest = MOST / rows, FEWEST / rows
    for n, divides in enumerate(may_divide, 1):
        groups = len({key[:n] for key in keys})
        if len(keys) > most * groups and n < len(keys[0]):
            continue
        if len(keys) >= fewest * groups:
            return Grouping(n)
        return Grouping(n, _width(keys, n, most)) if divides else Grouping()
    return Grouping()


def _width(keys: Sequence[Key], columns: int, most: float) -> int:
    """The greatest width of the last column with which groups have no more than so many entities."""
    width = 2
    while width < 2**62:
        wider = {(*key[: columns - 1], _quotient(key[columns - 1], 2 * width)) for key in keys}
        if len(keys) > most * len(wider):
            break
        width *= 2
    return width


def _quotient(value: int, by: int) -> int:
    return value // by if value >= 0 else -(-value // by)


def _values(quotient: int, width: int) -> tuple[int, int]:
    """The first and the last value that, divided by a width and cut off toward zero, is a number."""
    first = quotient * width - (width - 1 if quotient <= 0 else 0)
    last = quotient * width + (width - 1 if quotient >= 0 else 0)
    return max(first, _LOWEST), last
