"""Ending a link, or some of it: letting go of what is held while local rows stay, or with the local tables.

While local rows shall stay nothing is ever marked as a deletion: what a crash leaves is either held or not. With the
tables it is as in a deletion: marked before they go, released after.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence

from ..ends.ends import Ends
from ..ends.identity import Identity
from ..errors import UnreachableError
from ..model.graph import Name
from ..model.ranges import ALL, EVERYTHING, Selection
from ..model.states import (
    CANCEL_DELETE,
    DELETING,
    DEPRECATE,
    DEPRECATED,
    FINISH_PULL,
    LEAVE,
    PULLING,
    RELEASE,
    SETTLE,
    SHARED,
    START_DELETE,
    UNSETTLED,
    Condition,
    Transition,
)
from .comparing import Comparison
from .reach import Reach
from .recovery import Recovery
from .retry import patiently
from .run import Run, Runs

logger = logging.getLogger("link")

#: Asked with how many holds are released, and how many entities become deprecated.
Confirm = Callable[[int, int], bool]
#: Of each link as many.
Counts = Sequence[tuple[Ends, int, int]]


def release(ends: Ends, selection: Selection, confirm: Confirm) -> int:
    """Let go of the holds of a selection, and leave the local rows; see :meth:`link.Source.release`."""
    ends.require_home("release of")
    with Run(ends) as run:
        Recovery(run).recover()
        unflagged, flagged = _count(run, selection)
        if not unflagged + flagged or not confirm(unflagged, flagged):
            return 0
        # What an interrupted pull has left, local or not, comes to rest before.
        _change(run, FINISH_PULL, PULLING, selection)
        let_go = _change(run, LEAVE, SHARED, selection) + _change(run, SETTLE, UNSETTLED, selection)
        if not any(_count(run, ALL)):
            with run.local.transaction():
                Identity(ends.local, run.local, ends.spec, {ends.spec.local_schema}).untie()
    logger.info("%s: let go of %d entities", ends.name, let_go)
    return let_go


def end(ends: Mapping[Name, Ends], confirm: Confirm) -> dict[Name, int]:
    """Let go of all that is held of several links, what stands on others first; see :meth:`link.Pipeline.end`."""
    if not ends:
        return {}
    with Runs(ends) as runs:
        for run in runs.runs.values():
            run.require_changes()
        unflagged, flagged = map(sum, zip(*(_count(run, ALL) for run in runs.runs.values()), strict=True))
    if not unflagged + flagged or not confirm(unflagged, flagged):
        return dict.fromkeys(ends, 0)
    return {name: release(ends[name], ALL, lambda *_: True) for name in reversed(list(ends))}


def drop(ends: Ends, tables: Sequence[str], confirm: Callable[[Counts], bool], execute: Callable[[], None]) -> bool:
    """Let ``execute`` drop local tables, and release what was held for them; whether that was confirmed.

    Parameters
    ----------
    ends : Ends
        Of the table that is to be dropped.
    tables : sequence of str
        All tables that go with it, by their full names: linked ones among them are let go of likewise.
    confirm : callable
        Asked with how many holds are released, and how many entities become deprecated, of each link.
    execute : callable
        Drops the tables.
    """
    ends.require_no_transaction("drop of")
    with Reach("drop of", [ends], with_empty=True) as reach:
        reach.require(tables)
        going = [reached for reached in reach if reached.name in tables]
        if not confirm([(reached.run.ends, *_count(reached.run, ALL)) for reached in going]):
            return False
        for reached in going:
            _mark_all(reached.run)
        try:
            execute()
        except BaseException:
            for run in (reached.run for reached in going):
                master = run.mapping.local.master
                if master.name in run.ends.local.catalogue_type(run.local).tables(master.schema):
                    patiently(functools.partial(run.holds.apply, run.home, CANCEL_DELETE, EVERYTHING))
            raise
        for reached in going:
            _release_dropped(reached.run)
    return True


def _release_dropped(run: Run) -> None:
    try:
        # With what another run may have pulled meanwhile.
        _mark_all(run)
        _release_all(run)
    except UnreachableError as error:
        raise UnreachableError(
            f"The local tables of {run.name} are dropped, but the source could not be told: {error.what}",
            "Its rows are held there until the class is used the next time, which tells it.",
        ) from error


def _count(run: Run, selection: Selection) -> tuple[int, int]:
    """How many entities of a selection are held: unflagged ones, and others that are not deprecated yet."""
    counts = [count for count in run.holds.survey(run.home, selection) if not count.row.says(DEPRECATED)]
    flagged = sum(count.entities for count in counts if count.row.says(UNSETTLED))
    return sum(count.entities for count in counts) - flagged, flagged


def _change(run: Run, transition: Transition, says: Condition, selection: Selection) -> int:
    """Apply a transition to all helper rows of a selection that say something, a batch at a time; how many."""
    return sum(run.apply(transition, keys) for keys in Comparison(run).listed(says, selection))


def _mark_all(run: Run) -> None:
    patiently(functools.partial(run.holds.apply, run.home, START_DELETE, EVERYTHING))


def _release_all(run: Run) -> None:
    """Let go of all that this run has marked; a flag may come between the two, whose guards let no row through both."""
    while run.holds.mine(DELETING).key_at(run.home, 0) is not None:
        for transition in (RELEASE, DEPRECATE):
            patiently(functools.partial(run.holds.apply, run.home, transition, EVERYTHING))
