"""What the tests of safety have tried, in figures that the run prints at its end; and how much they try."""

from __future__ import annotations

import os

#: `make soak` tries more of everything, for longer.
SOAK = os.environ.get("LINK_SOAK") == "1"


class Figures:
    """Counts by kind of server and by what was tried, in the order in which they were first counted."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}

    def add(self, what: str, kind: str, number: int = 1) -> None:
        """Count something that was tried, or lost; zero as well, for it is a figure too."""
        counts = self.counts.setdefault(what, {})
        counts[kind] = counts.get(kind, 0) + number

    def lines(self) -> list[str]:
        """One line for each count."""
        return [
            f"{what}: {sum(counts.values()):,} ({', '.join(f'{kind} {n:,}' for kind, n in counts.items())})"
            for what, counts in self.counts.items()
        ]
