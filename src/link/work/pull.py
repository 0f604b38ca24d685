"""Pulling: what rows come from the source to the local server, and in which order that is done.

First what an interrupted run has left, then what is held and not local, then what nobody holds.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..config import CONFLICTS
from ..ends.ends import Ends
from ..errors import LockedError, UnreachableError
from ..files.copies import Files
from ..model.ranges import ALL, EVERYTHING, Range, Selection
from ..model.results import PullResult, RefreshResult, count_in
from ..model.states import ASKED, AT_REST, PULLING, REFETCH, REHOLD, UNFINISHED, UNFLAGGED, Count
from ..progress import Bar, bar_of_entities, no_bar
from ..servers.keyed import Segment
from ..signals import BusyError, ChangedError
from .adopting import look
from .claims import Chunks, Claims, Unfinished
from .comparing import FEW, Comparison
from .dependents import dependents_of
from .recovery import Recovery
from .refresher import Refresher
from .run import Run, persistently
from .tally import IN_OTHER_HANDS, Tally
from .transfer import Transfer

logger = logging.getLogger("link")


def pull(
    ends: Ends,
    selection: Selection = ALL,
    *,
    display_progress: bool = False,
    max_calls: int | None = None,
    dry_run: bool = False,
    suppress_errors: bool = False,
    transfers: int = 8,
    conflicts: str = CONFLICTS[0],
    fresh: bool = True,
    former: Iterable[int] = (),
    tally: Tally | None = None,
) -> PullResult:
    """Pull a selection of the source table; see :meth:`link.Source.pull`.

    Without ``fresh``, only what is held already is finished or fetched again; conflicts are looked for all the same.
    ``former`` are numbers of runs that have ended, whatever the server still believes. It is counted in ``tally``,
    where there is one.
    """
    started = time.monotonic()
    ends.require_no_transaction("pull of")
    if not dry_run:
        ends.require_home("pull of")
        _complete(ends)
        ends.require_fit()
    tally = tally or Tally()
    result = tally.result
    result.dry_run, result.dependents = dry_run, dependents_of([(ends, result.replaced_entities)])
    pulling = _Pulling(selection, conflicts, suppress_errors, transfers, tally, max_calls, fresh, display_progress)
    once = pulling.foresee if dry_run else pulling.pull
    try:
        persistently(functools.partial(Run, ends), once, lambda: result.pulled, former)
    except (UnreachableError, LockedError, BusyError):
        if result.pulled:
            logger.warning("%s: stopped: %r. The next pull goes on from there.", ends.name, result)
        raise
    tally.settle()
    result.seconds = time.monotonic() - started
    logger.debug("%s: %r", ends.name, result)
    return result


def pull_range(
    ends: Ends,
    selection: Selection,
    within: Range,
    suppress_errors: bool,
    transfers: int,
    conflicts: str,
    expecting: bool,
) -> PullResult:
    """Pull what nobody holds of one range: one worker's share of a pull, after its recovery.

    It is told whether entities that are local are to be expected.
    """
    tally = Tally()
    pulling = _Pulling(selection, conflicts, suppress_errors, transfers, tally)
    once = functools.partial(pulling.pull_range, within=within, expecting=expecting)
    persistently(functools.partial(Run, ends), once, lambda: tally.result.pulled)
    return tally.result


@dataclass
class _Pulling:
    """What each run of a pull does, until one of them has gone through; all of them count together.

    Attributes
    ----------
    selection : Selection
        What is pulled.
    conflicts : str
        What becomes of entities that are local, not held, and not what the source has.
    suppress_errors : bool
        Whether to go on after an entity that cannot be had.
    transfers : int
        Files that are copied at once.
    tally : Tally
        Where to count.
    max_calls : int or None
        At most so many new entities.
    fresh : bool
        Whether what nobody holds is claimed.
    display_progress : bool
        Whether to show a progress bar.
    """

    selection: Selection
    conflicts: str
    suppress_errors: bool
    transfers: int
    tally: Tally
    max_calls: int | None = None
    fresh: bool = True
    display_progress: bool = False
    _has_counted: bool = False

    def foresee(self, run: Run) -> None:
        """Only count what a pull would do."""
        self._look(run, run.holds.survey(run.home))
        result = self.tally.result
        new = run.holds.unshared(self.selection).count(run.home) - result.adopted - len(result.differing)
        result.pulled = new if self.max_calls is None else min(new, self.max_calls)

    def pull(self, run: Run) -> None:
        """Finish what was begun, hold again what has vanished, then claim and copy what nobody holds."""
        recovery, moved, tally = Recovery(run), list[Chunks](), self.tally
        counts = recovery.recover()
        both, unequal = self._look(run, counts)
        with _letting_go(recovery, tally, moved):
            held = _hold_again(both, counts, tally.result, self.selection, self._left(), unequal)
            with (
                _bar(run, self.selection, self._left() if self.fresh else 0, self.display_progress) as bar,
                run.files(self.transfers, tally.result, self.display_progress) as files,
            ):
                if held or _is_unfinished(run, counts):
                    self._finish(run, files, bar)
                    recovery.adopted = False
                if self.fresh and self._may_be_new(run, sum(count.entities for count in counts)):
                    claims = Claims(run, self.selection, self.conflicts, EVERYTHING, self._left())
                    if unequal and is_looked_at(self.selection, tally.result.shared):
                        claims.expecting.set()
                    moved.append(claims)
                    tally.begin()
                    self._move(run, claims, files, bar)
                # What the sessions of a lost run had sent may have been done only now.
                if run.former and _is_unfinished(run, recovery.recover()):
                    self._finish(run, files, bar)
                replace_outdated(run, files, tally, self.suppress_errors)
        if tally.before is not None and self.max_calls is None:
            tally.count_others(run.holds.held(self.selection).count(run.home))

    def pull_range(self, run: Run, within: Range, expecting: bool) -> None:
        """Claim and copy what nobody holds of a range; see :func:`pull_range`."""
        recovery, moved = Recovery(run), list[Chunks]()
        run.holds.enlist(run.home)
        run.require_changes()
        with (
            _letting_go(recovery, self.tally, moved),
            _bar(run, self.selection, None, False) as bar,
            run.files(self.transfers, self.tally.result) as files,
        ):
            if run.former:
                recovery.recover()
                self._finish(run, files, bar)
                recovery.adopted = False
            claims = Claims(run, self.selection, self.conflicts, within)
            if expecting:
                claims.expecting.set()
            moved.append(claims)
            self._move(run, claims, files, bar)
            replace_outdated(run, files, self.tally, self.suppress_errors)

    def _look(self, run: Run, counts: Sequence[Count]) -> tuple[Comparison, bool]:
        """Count what is held already, and look for conflicts before anything else is, where that is wanted.

        Both ends, and whether entities may be local and not held, or the other way round.
        """
        result = self.tally.result
        if not self._has_counted:
            self.tally.held = count_held(run, counts, self.selection, result)
            self._has_counted = True
        both = Comparison(run)
        unequal = may_meet(both, self.selection, result.shared)
        if unequal and (result.dry_run or self.conflicts == "raise"):
            look(run, self.selection, result)
        return both, unequal

    def _left(self) -> int | None:
        """How many new entities are still wanted at the most; None for any number."""
        result = self.tally.result
        met = result.adopted + len(result.differing) + len(result.replaced) + len(self.tally.outdated)
        return None if self.max_calls is None else max(self.max_calls - result.pulled - met, 0)

    def _may_be_new(self, run: Run, held: int) -> bool:
        """Whether there may be entities that nobody holds, as far as that is soon told."""
        return bool(self.selection) or not held or run.holds.selected().count(run.home) != held

    def _finish(self, run: Run, files: Files, bar: Bar) -> None:
        """Copy what the run has in hand already."""
        self._move(run, Unfinished(run, self.selection, self.conflicts), files, bar)

    def _move(self, run: Run, chunks: Chunks, files: Files, bar: Bar) -> None:
        Transfer(run, chunks, files, self.tally).move(bar, self.suppress_errors)


@contextlib.contextmanager
def _letting_go(recovery: Recovery, tally: Tally, moved: Sequence[Chunks]) -> Iterator[None]:
    """Whatever ends a pull, it lets go of what it had only claimed; after a lost connection another run goes on."""
    try:
        yield
    except UnreachableError:
        raise
    except BaseException as error:
        finished = None
        with contextlib.suppress(Exception):  # what this cannot clean up, the next operation does
            finished = recovery.let_go([chunk for chunks in moved if chunks.lets_go for chunk in chunks.waiting])
        if isinstance(error, KeyboardInterrupt):
            claimed = "what was only claimed is let go of, and " if finished is not None else ""
            logger.warning(
                "%s: interrupted after %d entities; %sthe next pull goes on from here",
                *(recovery.run.name, tally.moved(finished or 0), claimed),
            )
        raise


def _complete(ends: Ends) -> None:
    """Where an interrupted drop has left a table without parts, delete its rows first: they can be made anew then."""
    if ends.mapping.lacking:
        with Run(ends) as run:
            Recovery(run).recover()
            if Segment(run.rows).key_at(run.local, 0) is None:
                raise ChangedError(f"The local table of {ends.name} has lost its rows.")


def _is_unfinished(run: Run, counts: Sequence[Count]) -> bool:
    """Whether this run has something to copy, by what the helper table says."""
    return any(count.row.says(PULLING) and count.worker == run.holds.worker for count in counts)


def _bar(run: Run, selection: Selection, limit: int | None, display_progress: bool) -> Bar:
    if not display_progress:
        return no_bar()
    fresh = run.holds.unshared(selection).count(run.home)
    mine = run.holds.mine(PULLING).count(run.home)
    return bar_of_entities(run.name, mine + (fresh if limit is None else min(fresh, limit)))


def count_held(run: Run, counts: Sequence[Count], selection: Selection, result: PullResult) -> int:
    """Count what of the selection is held already, by what will be done about it; how many that is in all."""
    counts = run.holds.survey(run.home, selection) if selection else counts
    living = run.holds.living(run.home, counts)
    for count in counts:
        busy = count.row.says(UNFINISHED) and count.worker in living
        if busy or count.row.says(ASKED):
            reason = IN_OTHER_HANDS if busy else "flagged for deletion by the source"
            count_in(result.skipped, {reason: count.entities})
        elif count.row.says(AT_REST):
            result.shared += count.entities
    return sum(count.entities for count in counts)


def may_meet(both: Comparison, selection: Selection, shared: int) -> bool:
    """Whether there may be entities that are local and not held, or the other way round, as far as is cheaply told."""
    if shared:
        return both.may_differ(selection, shared)
    return Segment(both.run.rows).key_at(both.run.local, 0) is not None


def is_looked_at(selection: Selection, shared: int) -> bool:
    """Whether each chunk is looked at before it is read, where some may be local; else once one has been met."""
    return not selection or shared > FEW


def replace_outdated(run: Run, files: Files, tally: Tally, suppress_errors: bool) -> None:
    """Bring to the source's content what was met with another one, and is held and at rest by now."""
    if not tally.outdated:
        return
    done, keys = RefreshResult(), sorted(tally.outdated)
    try:
        Refresher(run, files, done).refresh(suppress_errors, keys)
    finally:
        tally.result.replaced += done.keys
        tally.result.replaced_entities += done.entities
        tally.result.errors += done.refused
        tally.refused_held += len(done.refused)
        replaced, refused = set(done.entities), {str(shown) for shown, _ in done.refused}
        tally.outdated = [key for key in keys if key not in replaced and str(run.as_dict(key)) not in refused]
    # They have been flagged meanwhile, and are what they were.
    tally.result.differing += map(run.as_dict, tally.outdated)
    tally.outdated = []


def _hold_again(
    both: Comparison,
    counts: Sequence[Count],
    result: PullResult,
    selection: Selection,
    limit: int | None,
    unequal: bool,
) -> bool:
    """Hold again what has a helper row and no local row: unflagged after deprecation, or vanished locally."""
    deprecated, vanished, run = [], [], both.run
    if any(count.row.says(UNFLAGGED) for count in counts):
        deprecated = run.holds.saying(UNFLAGGED, selection).keys(run.home)[:limit]
        run.apply(REHOLD, deprecated)
    if result.shared and unequal:
        vanished = both.vanished(selection)[: None if limit is None else limit - len(deprecated)]
        if vanished:
            logger.warning("%s: %d shared entities are gone locally; pulling them again", run.name, len(vanished))
        run.apply(REFETCH, vanished)
        result.shared -= len(vanished)
    return bool(deprecated or vanished)
