"""Refreshing: shared entities that are not what the source has become so, in place.

What differs is found as :mod:`.verify` finds it, and brought up to date a batch at a time (:mod:`.refresher`). No
entity changes its state, and nothing is changed at the source but a time that is noted there.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..ends.ends import Ends
from ..errors import LockedError, UnreachableError
from ..holds.closure import Way
from ..model.ranges import EVERYTHING, Key, Range, Selection
from ..model.results import RefreshResult, count_in
from ..model.states import SHARED
from ..progress import Bar, bar_of_entities, no_bar
from ..signals import BusyError
from .comparing import FEW, Comparison
from .dependents import Descent, Pulled, dependents_of
from .differences import differences
from .refresher import Refresher
from .run import Run, persistently
from .sweeping import Sweep
from .tally import IN_OTHER_HANDS

logger = logging.getLogger("link")

#: Why entities are left alone that were shared and gone here, or equal when it was asked about the others.
GONE, LATER = "gone here", "edited since you were asked"


@dataclass(frozen=True)
class Share:
    """How one worker does its share of a refresh; see :meth:`link.Source.refresh`.

    Attributes
    ----------
    delete : bool
        Whether dependent rows are deleted that can be made anew.
    covered : frozenset of Key or None
        The entities of which it was asked whether they may be; None where nobody is asked.
    ways : tuple of Way
        The foreign keys by which entities stand on those of other groups, which are brought before.
    pulled : tuple of Pulled
        Linked tables of which dependent rows that were made here are told and deleted as well.
    """

    dry_run: bool = False
    suppress_errors: bool = False
    transfers: int = 8
    delete: bool = False
    covered: frozenset[Key] | None = None
    ways: tuple[Way, ...] = ()
    pulled: tuple[Pulled, ...] = ()

    def cover(self, keys: list[Key], result: RefreshResult) -> list[Key]:
        """Those of the keys that it was asked about; the others are counted."""
        if self.covered is None:
            return keys
        covered = [key for key in keys if key in self.covered]
        if later := len(keys) - len(covered):
            count_in(result.skipped, {LATER: later})
        return covered


def refresh(ends: Ends, selection: Selection, share: Share, display_progress: bool = False) -> RefreshResult:
    """Refresh the selected shared entities; see :meth:`link.Source.refresh`."""
    started = time.monotonic()
    result = begin_refresh(ends, selection, share)
    result.add(refresh_range(ends, selection, EVERYTHING, share, display_progress))
    result.seconds = time.monotonic() - started
    logger.debug("%s: %r", ends.name, result)
    return result


def deletable(
    some: Sequence[tuple[Run, Selection]], pulled: Sequence[Pulled] = ()
) -> tuple[list[frozenset[Key]], dict[str, int]]:
    """What refreshes would refresh of some links, and how many rows of which tables they would delete with it."""
    found: list[list[Key]] = []
    for run, selection in some:
        require_possible(run.ends)
        run.require_changes()
        found.append(
            [key for looked in differences(Comparison(run), selection, EVERYTHING) for key in looked.differing]
        )
    first = some[0][0]
    descent = Descent([run.ends for run, _ in some], first.local, lambda: first.home, pulled)
    descent.find(*found)
    descent.spare()
    return list(map(frozenset, found)), {name: count for name, count in descent.made().items() if count}


def require_possible(ends: Ends, *, dry_run: bool = False) -> None:
    """Raise LinkError where nothing can be refreshed as things are."""
    ends.require_no_transaction("refresh of")
    if not dry_run:
        ends.require_home("refresh of")
        ends.require_fit()


def begin_refresh(ends: Ends, selection: Selection, share: Share) -> RefreshResult:
    """See that a refresh is possible; count what is held and not shared, which is left alone."""
    require_possible(ends, dry_run=share.dry_run)
    result = RefreshResult(dry_run=share.dry_run)
    result.dependents = dependents_of([(ends, result.entities)], pulled=lambda: share.pulled)
    with Run(ends) as run:
        result.skipped = left_alone(run, selection)
    return result


def left_alone(run: Run, selection: Selection) -> dict[str, int]:
    """What of a selection is held and not shared, by reason."""
    unfinished, flagged = run.holds.left_alone(run.home, selection)
    counts = {IN_OTHER_HANDS: unfinished, "flagged for deletion by the source": flagged}
    return {reason: number for reason, number in counts.items() if number}


def refresh_by(
    run: Run, selection: Selection, within: Range, share: Share, counts: RefreshResult, display_progress: bool = False
) -> None:
    """Refresh what is shared of one range, through the sessions of a run."""
    if not share.dry_run:
        run.require_changes()
    # Those that a lost run has refreshed are equal by now.
    counts.equal = -counts.refreshed
    counts.refused.clear()
    counts.refused_entities.clear()
    counts.skipped.clear()
    found: list[Key] = []
    descent = None
    if share.delete and not share.dry_run:
        descent = Descent([run.ends], run.local, lambda: run.home, share.pulled)
    with (
        _bar(run, selection, display_progress) as bar,
        run.files(share.transfers, counts, display_progress) as files,
    ):
        refresher = Refresher(run, files, counts, descent, share.ways)
        act = refresher.foresee if share.dry_run else functools.partial(refresher.refresh, share.suppress_errors)
        sweep = None
        if not (share.dry_run or share.delete or share.covered is not None):
            sweep = Sweep(refresher, selection, bar.update).sweep
        for looked in differences(refresher.both, selection, within, sweep):
            if looked.missing:
                count_in(counts.skipped, {GONE: len(looked.missing)})
            counts.equal += looked.entities - len(looked.differing) - len(looked.missing)
            differing = share.cover(looked.differing, counts)
            whole = looked.whole if len(differing) == len(looked.differing) else None
            if whole is None:
                found += differing
            if whole or len(found) >= FEW:
                act(found)
                found = []
            if whole:
                act(differing, whole)
            bar.update(looked.entities)
        act(found)


def refresh_range(
    ends: Ends, selection: Selection, within: Range, share: Share, display_progress: bool = False
) -> RefreshResult:
    """Refresh what is shared of one range."""
    counts = RefreshResult()

    def once(run: Run) -> None:
        refresh_by(run, selection, within, share, counts, display_progress)

    try:
        persistently(functools.partial(Run, ends), once, lambda: counts.refreshed)
    except (UnreachableError, LockedError, BusyError, KeyboardInterrupt):
        if counts.refreshed and not share.dry_run:
            logger.warning(
                "%s: stopped after %d refreshed entities, which stay so; the next refresh goes on from here",
                *(ends.name, counts.refreshed),
            )
        raise
    counts.equal = max(counts.equal, 0)
    return counts


def _bar(run: Run, selection: Selection, display_progress: bool) -> Bar:
    if not display_progress:
        return no_bar()
    return bar_of_entities(run.name, run.holds.saying(SHARED, selection).count(run.home))
