"""Pulls and refreshes by several workers: processes here, or what a :class:`concurrent.futures.Executor` runs tasks on.

The keys that they are about are cut into ranges, more of them than workers; each task opens sessions of its own and
does one range. The databases arbitrate, as between any two pulls.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import queue
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar

from .. import host
from ..config import LinkSpec
from ..ends.ends import Ends
from ..ends.linking import Link
from ..errors import LinkError
from ..host import Login
from ..model.ranges import ALL, EVERYTHING, Range, Selection
from ..model.results import PullResult, RefreshResult
from ..model.states import PULLING, SHARED
from ..progress import Bar, bar_of_entities
from ..servers.connecting import connect_by
from ..servers.interrupting import undisturbed
from ..servers.keyed import Segment
from ..servers.sites import site_of
from ..signals import LostWorkerError, OrphanError
from .comparing import Comparison
from .pull import is_looked_at, may_meet, pull_range
from .pull import pull as pull_alone
from .refresh import Share, begin_refresh, refresh_range
from .run import Run
from .tally import Tally

logger = logging.getLogger("link")

#: Ranges a worker: so many that a slow one does not hold up the end.
RANGES_PER_WORKER = 4
#: A range is not worth a task of its own below so many entities.
FEWEST = 1000
#: Whether workers are forked: that needs no importable __main__, as in a notebook; elsewhere there is no choice.
FORKS = sys.platform == "linux"
#: What those need that are not.
IN_SCRIPTS = 'In a script, put what starts workers under if __name__ == "__main__": as each of them imports it. '


class Copied(NamedTuple):
    """What a worker has copied, until it met rows whose references are not here, if it has."""

    result: PullResult
    orphan: OrphanError | None = None


R = TypeVar("R", PullResult, RefreshResult, Copied)
G = TypeVar("G", PullResult, RefreshResult)
#: What a worker does with a range of a link.
Work = Callable[[Ends, Selection, Range], R]


@dataclass(frozen=True)
class Task(Generic[R]):
    """All that a worker needs for one range; it travels to wherever the worker is, and shows no password."""

    spec: LinkSpec
    source: Login
    local: Login
    selection: Selection
    within: Range
    work: Work[R]
    stores: dict[str, Any] = field(repr=False)


def pull(
    ends: Ends,
    selection: Selection,
    *,
    workers: int,
    executor: Executor | None,
    display_progress: bool,
    max_calls: int | None,
    suppress_errors: bool,
    transfers: int,
    conflicts: str,
) -> PullResult:
    """Pull with several workers; see :meth:`link.Source.pull`."""
    started = time.monotonic()
    # Recovery, and whatever is held and not local, is one worker's work: this one's.
    tally = Tally()
    result = pull_alone(
        ends,
        selection,
        tally=tally,
        max_calls=max_calls,
        suppress_errors=suppress_errors,
        transfers=transfers,
        conflicts=conflicts,
        fresh=False,
    )
    left = None if max_calls is None else max(max_calls - result.pulled, 0)
    with Run(ends) as run:
        expecting = is_looked_at(selection, result.shared) and may_meet(Comparison(run), selection, result.shared)
    work = functools.partial(
        pull_range, suppress_errors=suppress_errors, transfers=transfers, conflicts=conflicts, expecting=expecting
    )
    parts = _share_out(ends, selection, _unshared, left, work, workers, executor, display_progress)
    tally.begin()
    _gathered(ends, started, result, parts)
    if left is None:
        # Of what was to be replaced, and was refused, the hold stays.
        tally.refused_held = len(result.errors) if conflicts == "replace" else 0
        with Run(ends) as run:
            tally.count_others(run.holds.held(selection).count(run.home))
    return result


def copy(run: Run, work: Work[Copied], bar: Bar, workers: int, executor: Executor | None) -> Iterator[PullResult]:
    """Copy with several workers what a run has in hand; ``work`` knows its number.

    What each of them has done comes as it ends, and an OrphanError that one has met when all have ended.
    """
    number, orphan = workers * RANGES_PER_WORKER, None
    ranges = list(_ranges(run, lambda within: run.holds.mine(PULLING, within).unguessed, number, None))
    for part in do_shares(run.ends, ALL, ranges, work, workers, executor, bar):
        yield part.result
        orphan = orphan or part.orphan
    if orphan:
        raise orphan


def refresh(
    ends: Ends,
    selection: Selection,
    *,
    workers: int,
    display_progress: bool,
    share: Share,
) -> RefreshResult:
    """Refresh with several workers; see :meth:`link.Source.refresh`."""
    started = time.monotonic()
    result = begin_refresh(ends, selection, share)
    work = functools.partial(refresh_range, share=share)
    parts = _share_out(ends, selection, _shared, None, work, workers, None, display_progress)
    return _gathered(ends, started, result, parts)


def _unshared(run: Run, selection: Selection, within: Range) -> Segment:
    return run.holds.unshared(selection, within)


def _shared(run: Run, selection: Selection, within: Range) -> Segment:
    return run.holds.saying(SHARED, selection, within)


def _gathered(ends: Ends, started: float, result: G, parts: Iterator[G]) -> G:
    for part in parts:
        result.add(part)
    result.seconds = time.monotonic() - started
    logger.debug("%s: %r", ends.name, result)
    return result


def _share_out(
    ends: Ends,
    selection: Selection,
    rows: Callable[[Run, Selection, Range], Segment],
    limit: int | None,
    work: Work[R],
    workers: int,
    executor: Executor | None,
    display_progress: bool,
) -> Iterator[R]:
    """Cut rows into ranges, and let workers do them: what each of them has done, as it ends."""
    with Run(ends) as run:
        ranges = list(_ranges(run, functools.partial(rows, run, selection), workers * RANGES_PER_WORKER, limit))
    with bar_of_entities(ends.name, sum(n for _, n in ranges), display_progress) as bar:
        yield from do_shares(ends, selection, ranges, work, workers, executor, bar)


def do_shares(
    ends: Ends,
    selection: Selection,
    ranges: Sequence[tuple[Range, int]],
    work: Work[R],
    workers: int,
    executor: Executor | None,
    bar: Bar,
) -> Iterator[R]:
    """Let workers do ranges of so many entities each: what each of them has done, as it ends."""
    spec = replace(ends.spec, helper_schema=ends.spec.find_helper_schema())
    sites = ends.source.login, ends.local.login
    settings = ends.routes.settings
    tasks = [Task(spec, *sites, selection, within, work, settings) for within, _ in ranges]
    pool = executor or _processes(workers)
    work_of = do if executor else _do_here
    futures, ended = dict[Future[R], int](), queue.SimpleQueue[Future[R]]()
    try:
        for task, (_, number) in zip(tasks, ranges, strict=True):
            with undisturbed():  # half of a pool would be waited for by itself, and at the end of the program
                future = pool.submit(work_of, task)
                futures[future] = number
                future.add_done_callback(ended.put)
        for _ in tasks:
            future = ended.get()
            yield future.result()
            bar.update(futures[future])
    except Exception as error:
        # Each kind of cluster has an error of its own for a worker that has died.
        if isinstance(error, LinkError) or not (executor or isinstance(error, BrokenExecutor)):
            raise
        raise LostWorkerError(
            f"A worker of {ends.name} has died: {error}",
            f"Was it killed, or out of memory? {'' if executor is None and FORKS else IN_SCRIPTS}"
            "What was done stays; run the same again, and it goes on.",
        ) from error
    finally:
        with undisturbed():
            for future in futures:
                future.cancel()
        if executor is None:
            _await(pool, futures, ended)


def _await(pool: Executor, futures: Collection[Future[R]], ended: queue.SimpleQueue[Future[R]]) -> None:
    """Wait until no process of ours is at work; who presses Ctrl-C again leaves that to the end of the program.

    A thread whose end was waited for when it came is taken to have ended (by Python 3.11), and its processes stay.
    """
    try:
        while not all(future.done() for future in futures):
            ended.get()
    except BaseException:
        with undisturbed():
            pool.shutdown(wait=False, cancel_futures=True)
        raise
    with undisturbed():
        pool.shutdown()


def _do_here(task: Task[R]) -> R:
    """What a process of ours does, which hears of Ctrl-C only while it works."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return do(task)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def do(task: Task[R]) -> R:
    """What a worker does."""
    source, local = connect_by(task.source), connect_by(task.local)
    host.set_stores(local, task.stores)
    try:
        site = site_of(source)  # kept as long as the link
        site.guard_queries()
        ends = Link(task.spec, local, source).open()
        return task.work(ends, task.selection, task.within)
    finally:
        local.close()
        source.close()


def _ranges(run: Run, rows: Callable[[Range], Segment], count: int, limit: int | None) -> Iterator[tuple[Range, int]]:
    """Cut entities into ranges of equal numbers."""
    total = rows(EVERYTHING).count(run.home)
    total = total if limit is None else min(total, limit)
    size = max(-(-total // count), FEWEST)
    after = None
    for done in range(0, total, size):
        number = min(size, total - done)
        last = done + number == total and limit is None
        upto = None if last else rows(Range(after)).key_at(run.home, number - 1)
        yield Range(after, upto), number
        if upto is None:
            return
        after = upto


def _processes(workers: int) -> Executor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork" if FORKS else "spawn"))
