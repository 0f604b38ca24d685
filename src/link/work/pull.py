"""Pulling: what rows come from the source to the local server, and in which order that is done.

First what an interrupted run has left, then what is held and not local, then what nobody holds.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

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
    tally, tallied = tally or Tally(), threading.Event()
    result = tally.result
    result.dry_run, result.dependents = dry_run, dependents_of([(ends, result.replaced_entities)])

    def left() -> int | None:
        met = result.adopted + len(result.differing) + len(result.replaced) + len(tally.outdated)
        return None if max_calls is None else max(max_calls - result.pulled - met, 0)

    def once(run: Run) -> None:
        recovery = Recovery(run)
        counts = run.holds.survey(run.home) if dry_run else recovery.recover()
        if not tallied.is_set():
            tally.held = count_held(run, counts, selection, result)
            tallied.set()
        both = Comparison(run)
        unequal = may_meet(both, selection, result.shared)
        if unequal and (dry_run or conflicts == "raise"):
            look(run, selection, result)
        if dry_run:
            new = run.holds.unshared(selection).count(run.home) - result.adopted - len(result.differing)
            result.pulled = new if max_calls is None else min(new, max_calls)
            return
        move(run, recovery, counts, both, unequal)

    def move(run: Run, recovery: Recovery, counts: Sequence[Count], both: Comparison, unequal: bool) -> None:
        moved: list[Chunks] = []
        with _letting_go(recovery, tally, moved):
            held = _hold_again(both, counts, result, selection, left(), unequal)
            with (
                _bar(run, selection, left() if fresh else 0, display_progress) as bar,
                run.files(transfers, result, display_progress) as files,
            ):

                def finish() -> None:
                    Transfer(run, Unfinished(run, selection, conflicts), files, tally).move(bar, suppress_errors)

                if held or _is_unfinished(run, counts):
                    finish()
                    recovery.adopted = False
                held_rows = sum(count.entities for count in counts)
                if fresh and (selection or not held_rows or run.holds.selected().count(run.home) != held_rows):
                    claims = Claims(run, selection, conflicts, EVERYTHING, left())
                    if unequal and is_looked_at(selection, result.shared):
                        claims.expecting.set()
                    moved.append(claims)
                    tally.begin()
                    Transfer(run, claims, files, tally).move(bar, suppress_errors)
                # What the sessions of a lost run had sent may have been done only now.
                if run.former and _is_unfinished(run, recovery.recover()):
                    finish()
                replace_outdated(run, files, tally, suppress_errors)
        if tally.before is not None and max_calls is None:
            tally.count_others(run.holds.held(selection).count(run.home))

    try:
        persistently(functools.partial(Run, ends), once, lambda: result.pulled, former)
    except (UnreachableError, LockedError, BusyError):
        if result.pulled:
            logger.warning("%s: stopped: %r. The next pull goes on from there.", ends.name, result)
        raise
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

    def once(run: Run) -> None:
        recovery = Recovery(run)
        run.holds.enlist(run.home)
        run.require_changes()
        moved: list[Chunks] = []
        with (
            _letting_go(recovery, tally, moved),
            _bar(run, selection, None, False) as bar,
            run.files(transfers, tally.result) as files,
        ):
            if run.former:
                recovery.recover()
                Transfer(run, Unfinished(run, selection, conflicts), files, tally).move(bar, suppress_errors)
                recovery.adopted = False
            claims = Claims(run, selection, conflicts, within)
            if expecting:
                claims.expecting.set()
            moved.append(claims)
            Transfer(run, claims, files, tally).move(bar, suppress_errors)
            replace_outdated(run, files, tally, suppress_errors)

    persistently(functools.partial(Run, ends), once, lambda: tally.result.pulled)
    return tally.result


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
