"""How many entities are in which state, and since when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .shown import as_table, plain
from .states import TABLE, State


@dataclass(frozen=True)
class Since:
    """Since when: of what is held and at rest, by the source's clock; None where the helper table does not say it.

    Attributes
    ----------
    first_pulled, last_pulled : datetime or None
        When the first and the last of the holds was taken that are there for the copies of now: each was copied at that
        time or a little later.
    last_refreshed : datetime or None
        When a refresh last changed a copy.
    flagged : datetime or None
        When the source flagged the first of those that it waits for.
    """

    first_pulled: datetime | None = None
    last_pulled: datetime | None = None
    last_refreshed: datetime | None = None
    flagged: datetime | None = None

    def __str__(self) -> str:
        said = (
            ("pulled", (self.first_pulled, self.last_pulled)),
            ("last refreshed", (self.last_refreshed,)),
            ("flagged since", (self.flagged,)),
        )
        # Of a second, which is what is shown, there is one.
        shown = ((word, dict.fromkeys(map(_when, filter(None, times)))) for word, times in said)
        return ", ".join(f"{word} {' to '.join(times)}" for word, times in shown if times)

    def to_dict(self) -> dict[str, str | None]:
        """The times as ISO 8601 writes them, in UTC."""
        return {
            "first_pulled": plain(self.first_pulled),
            "last_pulled": plain(self.last_pulled),
            "last_refreshed": plain(self.last_refreshed),
            "flagged": plain(self.flagged),
        }


def _when(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S %Z}"


#: The states that are printed whether there are some or not.
RESTING = (State.UNSHARED.value, State.SHARED.value)


#: For a repair, or a deletion that the source asks for.
_WAITING = [rule.state for rule in TABLE if rule.repair or rule.state is State.TAINTED]


class Status(Mapping[str, int]):
    """Counts of entities by state; prints as a small table.

    Parameters
    ----------
    counts : mapping of State to int
        What was counted.
    title : str
        The link.
    in_other_hands : mapping of State to int
        How many of them pulls or deletions that run at this moment have in hand.
    since : Since
        When they were pulled, refreshed and flagged.
    """

    def __init__(
        self, counts: Mapping[State, int], title: str, in_other_hands: Mapping[State, int], since: Since
    ) -> None:
        self.since = since
        self.in_other_hands = {state: number for state, number in in_other_hands.items() if number}
        self._counts = {state.value: counts.get(state, 0) for state in State}
        self._title = title

    @property
    def remarks(self) -> list[str]:
        """What is printed below the counts: since when, and what running operations have in hand."""
        since = str(self.since)
        return [*([since] if since else []), *busy_line(self)]

    @property
    def waiting(self) -> dict[State, int]:
        """How many entities wait for somebody, by state: they are not at rest, and no running operation has them."""
        numbers = {state: self[state] - self.in_other_hands.get(state, 0) for state in _WAITING}
        return {state: number for state, number in numbers.items() if number > 0}

    def __getitem__(self, state: str | State) -> int:
        return self._counts[state.value if isinstance(state, State) else state]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def _rows(self) -> list[list[str]]:
        """What is printed: the states that there are, and their numbers."""
        return [[name, f"{number:,}"] for name, number in self.items() if number or name in RESTING]

    def __repr__(self) -> str:
        width = max(map(len, self._counts))
        lines = [f"{name:<{width}}  {number:>12}" for name, number in self._rows()]
        return "\n".join([self._title, *lines, *self.remarks])

    def _repr_html_(self) -> str:
        return as_table(self._rows(), ["state", "entities"], self._title, self.remarks)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``states`` has a number for every state, ``in_other_hands`` for those that runs have in hand."""
        return {
            "states": dict(self._counts),
            "in_other_hands": {state.value: number for state, number in self.in_other_hands.items()},
            "since": self.since.to_dict(),
        }


def busy_line(status: Status) -> list[str]:
    """A line about what running operations have in hand, if they have."""
    number = sum(status.in_other_hands.values())
    return [f"in other hands: {number:,}, of pulls or deletions that are running"] if number else []
