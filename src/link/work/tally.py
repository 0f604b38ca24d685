"""What a pull has counted, over all runs that it takes when connections are lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.ranges import Key
from ..model.results import PullResult, count_in

#: Why what others are moving is left alone, in words.
IN_OTHER_HANDS = "in other hands"


@dataclass
class Tally:
    """A pull's result as it grows.

    Attributes
    ----------
    result : PullResult
        What the user gets.
    finished : int
        Of the entities pulled, how many are at rest, so that no recovery meets them any more. The marker's thread
        counts; the loader's does while the marker rests.
    held : int
        How many entities of the selection were held when that was counted, before anything was claimed.
    before : int or None
        How many of those that are held were counted by then; None while nothing has been claimed.
    others : int
        How many others have taken in hand meanwhile, as far as they are counted.
    refused_held : int
        How many were refused and are held all the same.
    outdated : list of Key
        Entities that were met with another content than the source's, which they are to be brought to.
    """

    result: PullResult = field(default_factory=PullResult)
    finished: int = 0
    held: int = 0
    before: int | None = None
    others: int = 0
    refused_held: int = 0
    outdated: list[Key] = field(default_factory=list)
    # The loader's thread meets entities, and the reader's.
    _meeting: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def left_out(self) -> int:
        """How many entities were refused, or left alone."""
        return len(self.result.errors) + sum(self.result.skipped.values())

    @property
    def holding(self) -> int:
        """How many of the entities counted are held."""
        result = self.result
        return result.pulled + result.shared + result.adopted + len(result.differing) + len(result.replaced)

    def begin(self) -> None:
        """From now on entities are claimed."""
        self.before = self.holding if self.before is None else self.before

    def count_others(self, held: int) -> None:
        """Count what others have taken in hand meanwhile: what of the selection is ``held`` by now, and not counted."""
        others = held - self.held - (self.holding - (self.before or 0)) - self.refused_held
        if others > self.others:
            self.skip(IN_OTHER_HANDS, others - self.others)
            self.others = others

    def settle(self) -> None:
        """Of entities that were refused more than once keep the last error: a run may meet again what it let go of."""
        self.result.errors = list({str(key): (key, error) for key, error in self.result.errors}.values())

    def moved(self, finished: int) -> int:
        """How many entities are here by a pull that was stopped, of which so many were ``finished`` only then.

        The last ones may have arrived without being counted.
        """
        return self.result.pulled + max(finished - (self.result.pulled - self.finished), 0)

    def add(self, part: Tally) -> None:
        """Count in what was counted of one of several ranges."""
        with self._meeting:
            self.result.add(part.result)
            self.finished += part.finished
            self.refused_held += part.refused_held
            self.outdated += part.outdated

    def count(self, loaded: Sequence[int]) -> int:
        """Count rows that were loaded, by table; how many entities those are."""
        self.result.pulled += loaded[0]
        self.result.part_rows += sum(loaded[1:])
        return loaded[0]

    def meet(
        self,
        same: int,
        kept: Sequence[dict[str, Any]] = (),
        outdated: Sequence[Key] = (),
        *,
        before: bool = False,
        resumed: bool = False,
    ) -> None:
        """Count entities that were local already: the same as at the source, or not, and kept or to be replaced.

        Those that were held ``before`` were shared. Some of those that a ``resumed`` pull meets it has itself copied,
        and not finished, before it lost a connection.
        """
        with self._meeting:
            self.result.differing += kept
            self.outdated += outdated
            counted = min(same, self.result.pulled - self.finished) if resumed else 0
            self.finished += counted
            if before:
                self.result.shared += same - counted
            else:
                self.result.adopted += same - counted

    def skip(self, reason: str, number: int) -> None:
        """Count entities that are left alone."""
        with self._meeting:
            count_in(self.result.skipped, {reason: number})
