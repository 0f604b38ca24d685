"""Counting the entities of a link by state, by looking at both servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from ..ends.ends import Ends
from ..model.ranges import ALL, Selection
from ..model.results import Since, Status
from ..model.states import AT_REST, DEPRECATED, UNFINISHED, Count, State, state_of
from .comparing import Comparison
from .run import Run


def status(ends: Ends, selection: Selection = ALL, *, deep: bool = False) -> Status:
    """Count the selected entities by state.

    Helper rows at rest are counted by the servers, and their keys compared by checksum; single keys are looked up only
    where something is in process, flagged, or not the same on both sides; with ``deep``, everywhere. Entities that are
    local only are counted when everything is.
    """
    counts: Counter[State] = Counter()
    with Run(ends) as run:
        both = Comparison(run)
        survey = run.holds.survey(run.home, selection)
        counts[State.UNSHARED] = run.holds.unshared(selection).count(run.home)
        counts[State.DEPRECATED] = sum(count.entities for count in survey if count.row.says(DEPRECATED))
        counts[State.SHARED] = sum(count.entities for count in survey if count.row.says(AT_REST))
        # Rows of several runs may look the same.
        for row in dict.fromkeys(count.row for count in survey):
            if not row.says(AT_REST) and not row.says(DEPRECATED):
                for keys in both.by_presence(row.condition, selection):
                    for local, some in zip((True, False), keys, strict=True):
                        state = state_of(True, row, local)
                        assert state
                        counts[state] += len(some)
        busy = _in_other_hands(both, survey, selection)
        since = Since(*map(_as_time, run.holds.since(run.home, selection)))
        differ = deep or both.may_differ(selection, counts[State.SHARED])
        if differ:
            gone = sum(len(gone) for _, gone in both.by_presence(AT_REST, selection))
            counts[State.SHARED] -= gone
            counts[State.VANISHED] += gone
        if differ and not selection:
            _count_unheld(both, counts)
            back = sum(len(here) for here, _ in both.by_presence(DEPRECATED))
            counts[State.DEPRECATED] -= back
            counts[State.TAINTED] += back
    return Status(counts, f"{ends.name}: entities by state", busy, since)


def flagged(ends: Ends, selection: Selection = ALL) -> list[dict[str, Any]]:
    """The primary keys of a selection that the source wants deleted and that are local."""
    with Run(ends) as run:
        return [run.as_dict(key) for key in Comparison(run).flagged(selection)]


def _as_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(float(seconds), timezone.utc)


def _in_other_hands(both: Comparison, survey: Sequence[Count], selection: Selection) -> Counter[State]:
    """Of what runs that are alive have in hand, how many entities are in which state."""
    counts: Counter[State] = Counter()
    run = both.run
    if living := run.holds.living(run.home, survey):
        for row in {count.row for count in survey if count.worker in living and count.row.says(UNFINISHED)}:
            keys = run.holds.in_hand(living, row.condition, selection).keys(run.home)
            here = len(both.present(keys))
            for local, number in ((True, here), (False, len(keys) - here)):
                state = state_of(True, row, local)
                assert state
                counts[state] += number
    return counts


def _count_unheld(both: Comparison, counts: Counter[State]) -> None:
    """Local entities without a helper row: is there a source row?"""
    for keys in both.unheld():
        at_source = len(both.holds.rows.existing(both.run.home, keys))
        counts[State.UNHELD] += at_source
        counts[State.UNSHARED] -= at_source
        counts[State.LOCAL_ONLY] += len(keys) - at_source
