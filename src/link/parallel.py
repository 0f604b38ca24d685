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

import datajoint as dj
from tqdm.auto import tqdm

from . import transfer
from .config import LinkSpec
from .ends import Ends
from .errors import TransferError
from .keyed import Chunk
from .results import PullResult
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
    source: dict[str, Any] = field(repr=False)
    local: dict[str, Any] = field(repr=False)
    where: str
    within: Chunk
    suppress_errors: bool
    transfers: int
    stores: dict[str, Any] = field(repr=False)


def pull(
    ends: Ends,
    where: str,
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
    result = transfer.pull(
        ends, where, max_calls=max_calls, suppress_errors=suppress_errors, transfers=transfers, fresh=False
    )
    with Run(ends) as run:
        left = None if max_calls is None else max(max_calls - result.pulled, 0)
        ranges = list(_ranges(run, where, workers * RANGES_PER_WORKER, left))
    spec = replace(ends.spec, helper_schema=ends.helper_schema)
    source, local = _address(ends.source_connection), _address(ends.local_connection)
    tasks = [Task(spec, source, local, where, within, suppress_errors, transfers, ends.stores) for within, _ in ranges]
    pool = executor or _processes(workers)
    bar = tqdm(total=sum(n for _, n in ranges), unit="row", desc=ends.spec.class_name, disable=not display_progress)
    futures = [pool.submit(pull_task, task) for task in tasks]
    try:
        with bar:
            for future in as_completed(futures):
                part = future.result()
                bar.update(part.pulled)
                result.add(part)
    except BrokenExecutor as error:
        raise TransferError(
            f"A worker of the pull of {ends.spec.class_name} has died: {error}",
            "Was it killed, or out of memory? What was pulled stays; run the same again, and it goes on.",
        ) from error
    finally:
        for future in futures:
            future.cancel()
        if executor is None:
            pool.shutdown(cancel_futures=True)
    result.seconds = time.monotonic() - started
    logger.info("%s: %r", ends.spec.class_name, result)
    return result


def pull_task(task: Task) -> PullResult:
    """What a worker does."""
    source, local = (dj.Instance(**address).connection for address in (task.source, task.local))
    local._config.stores = task.stores
    ends = Ends(task.spec, local, source=source)
    try:
        return transfer.pull_range(ends, task.where, task.within, task.suppress_errors, task.transfers)
    finally:
        local.close()
        source.close()


def _ranges(run: Run, where: str, count: int, limit: int | None) -> Iterator[tuple[Chunk, int]]:
    """Cut the unshared entities into ranges of equal numbers."""
    total = run.outbound.count_unshared(run.home, where)
    total = total if limit is None else min(total, limit)
    size = max(-(-total // count), FEWEST)
    after = None
    for done in range(0, total, size):
        number = min(size, total - done)
        last = done + number == total and limit is None
        upto = None if last else run.outbound.next_unshared(run.home, where, Chunk(after, None), number - 1)
        yield Chunk(after, upto), number
        if upto is None:
            return
        after = upto


def _processes(workers: int) -> Executor:
    # Forking needs no importable __main__, as in a notebook; elsewhere there is no choice.
    method = "fork" if sys.platform == "linux" else "spawn"
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method))


def _address(connection: dj.Connection) -> dict[str, Any]:
    info: dict[str, Any] = connection.conn_info
    return {
        "host": info["host"],
        "user": info["user"],
        "password": info["passwd"],
        "port": info["port"],
        "use_tls": info["ssl_input"],
        "backend": connection.adapter.backend,
        "database__name": info.get("database_name"),
    }
