"""What a pull has counted, over all runs that it takes when connections are lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..model.results import PullResult


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
    """

    result: PullResult = field(default_factory=PullResult)
    finished: int = 0

    def count(self, loaded: Sequence[int]) -> int:
        """Count rows that were loaded, by table; how many entities those are."""
        self.result.pulled += loaded[0]
        self.result.part_rows += sum(loaded[1:])
        return loaded[0]

    def count_present(self, number: int, resumed: bool) -> None:
        """Count entities that were local already.

        Some of those that a resumed pull meets it has itself copied, and not finished, before it lost a connection.
        """
        counted = min(number, self.result.pulled - self.finished) if resumed else 0
        self.finished += counted
        self.result.shared += number - counted
