"""Which of the source's entities are here, told by what the helper table holds, where these are too many to travel."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..ends.ends import Ends
from ..model.ranges import ALL, Key, Range
from ..model.states import DEPRECATED, HELD
from ..servers.keyed import Segment
from .comparing import FEW, Comparison
from .run import Run


@dataclass(frozen=True)
class Presence:
    """The local keys: what is held, and how they differ from that.

    Attributes
    ----------
    besides : list of Key
        Those of the source's keys that are local, and not held, or not at rest.
    gone : list of Key
        Those that are held and at rest, and not local.
    """

    besides: list[Key]
    gone: list[Key]


def find_presence(ends: Ends, most: int) -> Presence | None:
    """Which of the source's keys are local; None where up to so many are, or where more are not as the holds say."""
    with Run(ends) as run:
        both, here = Comparison(run), Segment(run.rows)
        if here.key_at(run.local, most) is None:
            return None
        if not both.may_differ(ALL, 0):
            return Presence([], [])
        besides = _first(_besides(both), most)
        gone = _first((keys for _, keys in both.by_presence(HELD)), most)
        return None if len(besides) + len(gone) > most else Presence(besides, gone)


def _besides(both: Comparison) -> Iterator[list[Key]]:
    run, after = both.run, None
    while keys := Segment(run.rows, Range(after)).keys(run.local, FEW):
        held = run.holds.existing(run.home, keys, HELD)
        others = [key for key in keys if key not in held]
        there = run.holds.rows.existing(run.home, others)
        yield [key for key in others if key in there]
        after = keys[-1]


def _first(batches: Iterable[list[Key]], most: int) -> list[Key]:
    """Some keys, of which one more than so many are enough."""
    return list(itertools.islice(itertools.chain.from_iterable(batches), most + 1))


def find_given_back(ends: Ends) -> list[Key]:
    """The entities that were deleted here as the source had asked, and that are here all the same."""
    with Run(ends) as run:
        return [key for here, _ in Comparison(run).by_presence(DEPRECATED) for key in here]
