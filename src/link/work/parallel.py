"""A pull by several workers: processes here, or whatever a :class:`concurrent.futures.Executor` runs tasks on.

The unshared keys of the selection are cut into ranges, more of them than workers; each task opens sessions of its own
and pulls one range. The databases arbitrate, as between any two pulls.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any

from tqdm.auto import tqdm

from .. import host
from ..config import LinkSpec
from ..ends.ends import Ends
from ..ends.linking import Link
from ..errors import TransferError
from ..host import Login
from ..model.ranges import Range, Selection
from ..model.results import PullResult
from ..servers.sites import site_of
from .pull import pull as pull_alone
from .pull import pull_range
from .run import Run

logger = logging.getLogger("link")

#: Ranges a worker: so many that a slow one does not hold up the end.
RANGES_PER_WORKER = 4
#: A range is not worth a task of its own below so many entities.
FEWEST = 1000


@dataclass(frozen=True)
class Task:
    """All that a worker needs to pull one range; it travels to wherever the worker is, and shows no password."""

    spec: LinkSpec
    source: Login
    local: Login
    selection: Selection
    within: Range
    suppress_errors: bool
    transfers: int
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
) -> PullResult:
    """Pull with several workers; see :meth:`link.Source.pull`."""
    started = time.monotonic()
    # Recovery, and whatever is held and not local, is one worker's work: this one's.
    result = pull_alone(
        ends, selection, max_calls=max_calls, suppress_errors=suppress_errors, transfers=transfers, fresh=False
    )
    with Run(ends) as run:
        left = None if max_calls is None else max(max_calls - result.pulled, 0)
        ranges = list(_ranges(run, selection, workers * RANGES_PER_WORKER, left))
    spec = replace(ends.spec, helper_schema=ends.spec.find_helper_schema())
    sites = ends.source.login, ends.local.login
    settings = ends.routes.settings
    tasks = [Task(spec, *sites, selection, within, suppress_errors, transfers, settings) for within, _ in ranges]
    pool = executor or _processes(workers)
    bar = tqdm(total=sum(n for _, n in ranges), unit="row", desc=ends.name, disable=not display_progress)
    futures = [pool.submit(pull_task, task) for task in tasks]
    try:
        with bar:
            for future in as_completed(futures):
                part = future.result()
                bar.update(part.pulled)
                result.add(part)
    except BrokenExecutor as error:
        raise TransferError(
            f"A worker of the pull of {ends.name} has died: {error}",
            "Was it killed, or out of memory? What was pulled stays; run the same again, and it goes on.",
        ) from error
    finally:
        for future in futures:
            future.cancel()
        if executor is None:
            pool.shutdown(cancel_futures=True)
    result.seconds = time.monotonic() - started
    logger.info("%s: %r", ends.name, result)
    return result


def pull_task(task: Task) -> PullResult:
    """What a worker does."""
    source, local = task.source.connect(), task.local.connect()
    host.set_stores(local, task.stores)
    try:
        site = site_of(source)  # kept as long as the link
        site.guard_queries()
        ends = Link(task.spec, local, source).open()
        return pull_range(ends, task.selection, task.within, task.suppress_errors, task.transfers)
    finally:
        local.close()
        source.close()


def _ranges(run: Run, selection: Selection, count: int, limit: int | None) -> Iterator[tuple[Range, int]]:
    """Cut the unshared entities into ranges of equal numbers."""
    total = run.holds.unshared(selection).count(run.home)
    total = total if limit is None else min(total, limit)
    size = max(-(-total // count), FEWEST)
    after = None
    for done in range(0, total, size):
        number = min(size, total - done)
        last = done + number == total and limit is None
        upto = None if last else run.holds.unshared(selection, Range(after)).key_at(run.home, number - 1)
        yield Range(after, upto), number
        if upto is None:
            return
        after = upto


def _processes(workers: int) -> Executor:
    # Forking needs no importable __main__, as in a notebook; elsewhere there is no choice.
    method = "fork" if sys.platform == "linux" else "spawn"
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method))
