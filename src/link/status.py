"""Counting the entities of a link by state, by looking at both servers."""

from __future__ import annotations

from collections import Counter

from .ends import Ends
from .outbound import SHARED, UNFINISHED
from .results import Status
from .run import DEPRECATED, FEW, UNFLAGGED, UNSETTLED, Run
from .servers import Key
from .states import FLAGS, Condition, HelperRow, State, state_of


def status(ends: Ends, where: str = "", *, deep: bool = False) -> Status:
    """Count the entities that the SQL condition ``where`` selects of the source table, by state.

    Helper rows at rest are counted by the servers, and their keys compared by checksum; single keys are looked up only
    where something is in process, flagged, or not the same on both sides; with ``deep``, everywhere. Entities that are
    local only are counted when everything is.
    """
    counts: Counter[State] = Counter()
    with Run(ends) as run:
        survey = run.outbound.survey(run.home, where)
        counts[State.UNSHARED] = run.outbound.count_unshared(run.home, where)
        counts[State.DEPRECATED] = sum(c.entities for c in survey if c.row == ("NONE", "TRUE", "TRUE"))
        counts[State.SHARED] = sum(c.entities for c in survey if c.row == ("NONE", "FALSE", "FALSE"))
        for condition in (UNFINISHED, UNSETTLED, UNFLAGGED):
            _look_up(run, condition, where, counts)
        differ = deep or run.may_differ(where, counts[State.SHARED])
        if differ:
            gone = sum(len(gone) for _, gone in run.by_presence(SHARED, where))
            counts[State.SHARED] -= gone
            counts[State.VANISHED] += gone
        if differ and not where:
            _count_unheld(run, counts)
            back = sum(len(here) for here, _ in run.by_presence(DEPRECATED))
            counts[State.DEPRECATED] -= back
            counts[State.TAINTED] += back
    return Status(counts, f"{ends.spec.class_name}: entities by state")


def _look_up(run: Run, condition: Condition, where: str, counts: Counter[State]) -> None:
    for process in condition["process"]:
        for flagged in condition.get("is_flagged", FLAGS):
            exact = {**condition, "process": (process,), "is_flagged": (flagged,)}
            for keys in run.by_presence(exact, where):
                for local, some in zip((True, False), keys, strict=True):
                    state = state_of(True, HelperRow(process, flagged, "FALSE"), local)
                    assert state
                    counts[state] += len(some)


def _count_unheld(run: Run, counts: Counter[State]) -> None:
    """Local entities without a helper row: is there a source row?"""
    after: Key | None = None
    while keys := run.local_keys(after, FEW):
        held = run.outbound.helper.existing(run.home, keys)
        unheld = [key for key in keys if key not in held]
        at_source = len(run.outbound.rows.existing(run.home, unheld))
        counts[State.UNHELD] += at_source
        counts[State.UNSHARED] -= at_source
        counts[State.LOCAL_ONLY] += len(unheld) - at_source
        after = keys[-1]
