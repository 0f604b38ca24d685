"""The transfer: how rows come from the source to the local server. Reads top to bottom.

For each chunk of keys, in the order of the source's primary key:

1. source: INSERT ... SELECT the keys into the helper table (process PULL): held before copied
2. source: read master and parts in one snapshot, each row rendered in the local server's language
3. local: one transaction: master rows, then parts; what files they name is complete in the local stores before
4. source: UPDATE process = NONE, guarded

A reader thread does 1 and 2 of the next chunks while this one does 3, and 4 runs beside it. Between any two of these
statements the process may be killed: the next operation goes on from what the helper table says.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, NoReturn

from tqdm.auto import tqdm

from .ends import Ends
from .errors import LinkError, StoreError, TransferError, UnreachableError
from .files import AHEAD, CHUNK_FILE_BYTES, CHUNK_FILES, Batch, Files
from .keyed import EVERYTHING, Chunk
from .objects import ObjectError
from .outbound import SHARED, Count
from .results import PullResult
from .run import UNFLAGGED, Idle, Run, patiently, persistently
from .schema import Table
from .servers import BLOCK_BYTES, Block, BusyError, Connection, Form, Key, RowError
from .states import ABANDON_PULL, FINISH_PULL, REFETCH, REHOLD, Transition

logger = logging.getLogger("link")

#: A chunk ends at this many rows or about this many bytes, whichever comes first.
CHUNK_ROWS = 20_000
CHUNK_BYTES = 64_000_000
FIRST_CHUNK_ROWS = 64
#: Blocks that wait between the reader and the local server.
QUEUED_BLOCKS = 3


def pull(
    ends: Ends,
    where: str = "",
    *,
    display_progress: bool = False,
    max_calls: int | None = None,
    dry_run: bool = False,
    suppress_errors: bool = False,
    transfers: int = 8,
    fresh: bool = True,
    former: Iterable[int] = (),
) -> PullResult:
    """Pull what the SQL condition ``where`` selects of the source table; see :meth:`link.Source.pull`.

    Without ``fresh``, only what is held already is finished or fetched again. ``former`` are numbers of runs that have
    ended, whatever the server still believes.
    """
    started = time.monotonic()
    ends.require_no_transaction("pull of")
    result, tallied = PullResult(dry_run=dry_run), threading.Event()

    def left() -> int | None:
        return None if max_calls is None else max(max_calls - result.pulled, 0)

    def once(run: Run) -> None:
        counts = run.outbound.survey(run.home) if dry_run else run.recover()
        if not tallied.is_set():
            _tally(run, counts, where, result)
            tallied.set()
        if dry_run:
            result.pulled = run.outbound.count_unshared(run.home, where)
            result.pulled = result.pulled if max_calls is None else min(result.pulled, max_calls)
            return
        held = _hold_again(run, counts, result, where, left())
        with (
            _bar(run, where, left() if fresh else 0, display_progress) as bar,
            Files(run, transfers, result, display_progress) as files,
        ):
            if held or _unfinished(run, counts):
                Transfer(run, where, result, files).move(bar, suppress_errors)
            held_rows = sum(count.entities for count in counts)
            if fresh and (where or not held_rows or run.outbound.count_source(run.home) != held_rows):
                Transfer(run, where, result, files, claim=EVERYTHING, limit=left()).move(bar, suppress_errors)
            # What the sessions of a lost run had sent may have been done only now.
            if run.former and _unfinished(run, run.recover()):
                Transfer(run, where, result, files).move(bar, suppress_errors)

    try:
        persistently(functools.partial(Run, ends), once, lambda: result.pulled, former)
    except (UnreachableError, BusyError):
        if result.pulled:
            logger.warning("%s: stopped: %r. The next pull goes on from there.", ends.spec.class_name, result)
        raise
    result.seconds = time.monotonic() - started
    logger.info("%s: %r", ends.spec.class_name, result)
    return result


def pull_range(ends: Ends, where: str, within: Chunk, suppress_errors: bool, transfers: int) -> PullResult:
    """Pull what nobody holds of one range: one worker's share of a pull, after its recovery."""
    result = PullResult()

    def once(run: Run) -> None:
        run.outbound.enlist(run.home)
        with _bar(run, where, None, False) as bar, Files(run, transfers, result) as files:
            if run.former:
                run.recover()
                Transfer(run, where, result, files).move(bar, suppress_errors)
            Transfer(run, where, result, files, claim=within).move(bar, suppress_errors)

    persistently(functools.partial(Run, ends), once, lambda: result.pulled)
    return result


def _unfinished(run: Run, counts: list[Count]) -> bool:
    return any(count.row.process == "PULL" and count.worker == run.outbound.worker for count in counts)


def _bar(run: Run, where: str, limit: int | None, display_progress: bool) -> tqdm[NoReturn]:
    total = None
    if display_progress:
        fresh = run.outbound.count_unshared(run.home, where)
        total = run.outbound.count_mine(run.home, "PULL") + (fresh if limit is None else min(fresh, limit))
    return tqdm(total=total, unit="row", desc=run.name, disable=not display_progress)


def _tally(run: Run, counts: list[Count], where: str, result: PullResult) -> None:
    """Count what of the selection is held already, by what will be done about it."""
    for count in run.outbound.survey(run.home, where) if where else counts:
        process, flagged, deprecated = count.row
        if flagged == "TRUE":
            reason = "flagged for deletion by the source"
            result.skipped[reason] = result.skipped.get(reason, 0) + count.entities
        elif process == "NONE" and deprecated == "FALSE":
            result.shared += count.entities


def _hold_again(run: Run, counts: list[Count], result: PullResult, where: str, limit: int | None) -> bool:
    """Hold again what has a helper row and no local row: unflagged after deprecation, or vanished locally."""
    outbound, deprecated, vanished = run.outbound, [], []
    if any(count.row == ("NONE", "FALSE", "TRUE") for count in counts):
        deprecated = outbound.keys_where(run.home, UNFLAGGED, where)[:limit]
        run.apply(REHOLD, deprecated)
    if result.shared and run.may_differ(where, result.shared):
        vanished = run.vanished(where)[: None if limit is None else limit - len(deprecated)]
        if vanished:
            logger.warning("%s: %d shared entities are gone locally; pulling them again", run.name, len(vanished))
        run.apply(REFETCH, vanished)
        result.shared -= len(vanished)
    return bool(deprecated or vanished)


class _TableEnd(NamedTuple):
    """The reader has sent all rows of one table of the chunk."""

    rows: int


class _Ranges:
    """What is left to be cut into chunks; None when nothing is."""

    def __init__(self, within: Chunk) -> None:
        self.lock = threading.Lock()
        self.left: Chunk | None = within


class _Stopped(Exception):  # noqa: N818 - not an error
    """The reader was told to stop."""


class Transfer:
    """Moves entities: those that this run found held and not copied, or those of one selection that nobody holds.

    Never both at once: what is claimed meanwhile must not get into the range of a chunk that is being finished.

    Parameters
    ----------
    run : Run
        A run that has recovered.
    where : str
        The selection, as a condition on the source table.
    result : PullResult
        Where to count.
    files : Files
        Copies the files that rows name.
    claim : Chunk, optional
        Claim, and move, the entities of this range that nobody holds. Without it, move those already held.
    limit : int, optional
        Claim at most so many.
    """

    def __init__(
        self,
        run: Run,
        where: str,
        result: PullResult,
        files: Files,
        *,
        claim: Chunk | None = None,
        limit: int | None = None,
    ) -> None:
        self.run = run
        self.outbound = run.outbound
        self.where = where
        self.result = result
        self.files = files
        self.limit = limit
        self.within = claim
        local = run.ends.local
        self.form = Form(local.language_from(run.ends.source), run.local.block_bytes, local.exact_json)
        self.tables = [
            (there.only(here.names), here)
            for there, here in zip(run.source_entity.tables, run.entity.tables, strict=True)
        ]
        self.chunk_rows = FIRST_CHUNK_ROWS
        # Claimed or about to be, not yet begun to load; threads add and remove single items.
        self.waiting: dict[tuple[Key | None, Key | None], Chunk] = {}
        self.queue: queue.Queue[Chunk | Batch | Block | _TableEnd | BaseException | None] = queue.Queue(QUEUED_BLOCKS)
        self.ahead = threading.Semaphore(AHEAD)
        self.ends_to_come = 0
        #: How many of the chunk in hand have been finished or let go of one by one.
        self.marked = 0
        self.stop = threading.Event()
        self.unsettled: list[Chunk] = []
        self.taken: list[Chunk] = []

    def move(self, bar: tqdm[NoReturn], suppress_errors: bool) -> None:
        """Move everything. On an error what was moved stays, and what was only claimed is let go."""
        source = self.run.ends.source
        # One session more than may claim: it looks where the next chunk ends.
        ahead = source.claimers + 1 if self.within is not None and self.limit is None else 0
        self.turns = threading.Semaphore(source.claimers)
        self.reading, self.marking, *self.claiming = self.run.open_together([source] * (2 + ahead))
        reader = threading.Thread(target=self._read, name="link-reader", daemon=True)
        with ThreadPoolExecutor(1, "link-marker") as self.marker:
            reader.start()
            try:
                for chunk in iter(self._next_chunk, None):
                    moved = self._load(chunk)
                    self._await_finish()
                    self.finishing = self.marker.submit(self._finish, chunk, moved, self.marked)
                    bar.update(moved)
                    if self.result.errors and not suppress_errors:
                        break
            except BaseException as error:
                # What this cannot clean up, the next operation does.
                with contextlib.suppress(LinkError):
                    self._end(reader, interrupted=isinstance(error, KeyboardInterrupt))
                if isinstance(error, KeyboardInterrupt):
                    logger.warning(
                        "%s: interrupted after %d entities; what was only claimed is let go of, and the next pull "
                        "goes on from here",
                        *(self.run.name, self.result.pulled),
                    )
                raise
            self._end(reader)
        if self.unsettled:
            self._settle()
        if self.result.errors and not suppress_errors:
            raise self.result.errors[0][1]

    # steps 1 and 2, in the reader thread

    def _read(self) -> None:
        try:
            for chunk in self._chunks():
                self._put(chunk)
                self._read_chunk(chunk)
            self._put(None)
        except _Stopped:
            pass
        except BaseException as error:
            with contextlib.suppress(_Stopped):
                self._put(error)

    def _chunks(self) -> Iterator[Chunk]:
        if self.within is None:
            return self._unfinished()
        return self._claims_ahead(self.within) if self.limit is None else self._claims_within(self.within, self.limit)

    def _unfinished(self) -> Iterator[Chunk]:
        after: Key | None = None
        while True:
            keys = self.outbound.keys(self.run.home, "PULL", Chunk(after, None), self.chunk_rows)
            if not keys:
                return
            yield Chunk(after, keys[-1], len(keys), keys=tuple(keys))
            after = keys[-1]

    def _claims_ahead(self, within: Chunk) -> Iterator[Chunk]:
        """Claim the next chunks while this one is read: most of a claim is the server's work on the foreign key."""
        ranges, idle = _Ranges(within), Idle(self.claiming)
        # The first is read before others are claimed: from it is known how long rows are.
        if chunk := self._claim_next(ranges, idle):
            yield from self._if_any(chunk)
        under_way: collections.deque[Future[Chunk | None]] = collections.deque()
        with ThreadPoolExecutor(len(self.claiming), "link-claimer") as pool:
            for _ in self.claiming:
                under_way.append(pool.submit(self._claim_next, ranges, idle))
            while under_way:
                if chunk := under_way.popleft().result():
                    under_way.append(pool.submit(self._claim_next, ranges, idle))
                    yield from self._if_any(chunk)

    def _claims_within(self, within: Chunk, limit: int) -> Iterator[Chunk]:
        while limit > 0:
            size = min(self.chunk_rows, limit)
            upto, free = self.outbound.next_claim(self.run.home, self.where, within, size)
            chunk = self._claim_up_to(self.run.home, within, upto, size, free)
            yield from self._if_any(chunk)
            if upto is None:
                return
            within, limit = Chunk(upto, within.upto), limit - chunk.claimed

    def _claim_next(self, ranges: _Ranges, idle: Idle) -> Chunk | None:
        with idle.borrow() as connection:
            with ranges.lock:
                if self.stop.is_set() or ranges.left is None:
                    return None
                left, rows = ranges.left, self.chunk_rows
                upto, free = self.outbound.next_claim(connection, self.where, left, rows)
                ranges.left = Chunk(upto, left.upto) if upto else None
            return self._claim_up_to(connection, left, upto, rows, free)

    def _claim_up_to(self, connection: Connection, within: Chunk, upto: Key | None, rows: int, free: bool) -> Chunk:
        """Claim a range up to a key, with so many rows of the selection to hold, or, without one, to its end.

        Of a ``free`` range is known that nobody holds anything there.
        """
        chunk = Chunk(within.after, upto or within.upto)
        # Listed before it is claimed: whatever happens then, it is let go of in the end.
        self.waiting[chunk.after, chunk.upto] = chunk
        with self.turns:
            claimed = patiently(lambda: self.outbound.claim(connection, self.where, chunk, mixed=not free))
        chunk = replace(chunk, claimed=claimed)
        all_known = free and upto is not None and not self.where and claimed == rows
        whole = claimed > 0 and (all_known or not self.outbound.has_others(connection, chunk))
        return replace(chunk, whole=whole)

    def _if_any(self, chunk: Chunk) -> Iterator[Chunk]:
        if chunk.claimed:
            yield chunk

    def _read_chunk(self, chunk: Chunk) -> None:
        sizes: list[int] = []

        def send(block: Block) -> None:
            sizes.append(len(block.data))
            self._put(block)

        # All rows of the range are ours: read it as it lies, without looking at the helper table.
        rows_of = self.outbound.all_rows if chunk.whole else self.outbound.claimed_rows
        several, counts = len(self.tables) > 1 or bool(self.files), []
        batch = None
        if several:  # of one table each read is a snapshot by itself
            self._await_turn()
            self.reading.begin_snapshot()
        try:
            if self.files:
                batch = self._begin_files(chunk)
            for there, _ in self.tables:
                counts.append(self.reading.stream(there, rows_of(there, chunk), self.form, send))
                if chunk.whole and counts[0] != chunk.claimed:
                    raise RowError(f"{counts[0]} rows in a range of which {chunk.claimed} were claimed")
                self._put(_TableEnd(counts[-1]))
        except RowError as error:
            self.reading.rollback()
            self._put(error)
        else:
            if several:
                self.reading.execute("COMMIT")
            self._adapt(counts[0], sum(sizes), batch)

    def _await_turn(self) -> None:
        """Begin copies of files for so many chunks only before the first of them is loaded."""
        while self.files and not self.ahead.acquire(timeout=0.1):
            if self.stop.is_set():
                raise _Stopped

    def _begin_files(self, chunk: Chunk) -> Batch:
        if chunk.whole and self.outbound.has_others(self.reading, chunk):
            raise RowError(f"other rows in a range of which {chunk.claimed} were claimed")
        rows_of = self.outbound.all_rows if chunk.whole else self.outbound.claimed_rows
        batch = self.files.begin(self.reading, lambda there: rows_of(there, chunk), thorough=self.within is None)
        self._put(batch)
        return batch

    def _adapt(self, rows: int, size: int, batch: Batch | None) -> None:
        bounds = [(CHUNK_BYTES, size)]
        if batch:
            # The blocks of a chunk wait together for its files.
            bounds = [(QUEUED_BLOCKS * BLOCK_BYTES, size), (CHUNK_FILES, batch.count), (CHUNK_FILE_BYTES, batch.size)]
        fitting = [bound * rows // number for bound, number in bounds if number]
        self.chunk_rows = max(1, min(16 * self.chunk_rows, *fitting, CHUNK_ROWS))

    def _put(self, item: Chunk | Batch | Block | _TableEnd | BaseException | None) -> None:
        while not self.stop.is_set():
            try:
                return self.queue.put(item, timeout=0.1)
            except queue.Full:
                continue
        raise _Stopped

    # step 3

    def _next_chunk(self) -> Chunk | None:
        item = self._get()
        assert item is None or isinstance(item, Chunk)
        if item:
            self.waiting.pop((item.after, item.upto), None)
            self.ends_to_come, self.marked = len(self.tables), 0
        return item

    def _get(self) -> Chunk | Batch | Block | _TableEnd | None:
        item = self.queue.get()
        if isinstance(item, RowError):
            self.ends_to_come = 0  # the reader has given up this chunk
        if isinstance(item, BaseException):
            raise item
        return item

    def _load(self, chunk: Chunk) -> int:
        batch, failed = None, dict[Key, ObjectError]()
        try:
            if self.files:
                batch, failed = self._await_files(chunk)
                for error in failed.values():
                    raise error
            return self._count(self._load_tables(batch))
        except (RowError, BusyError) as error:
            while self.ends_to_come:
                with contextlib.suppress(RowError):  # of the reader, which has given up the chunk as well
                    list(self._incoming())
            logger.debug("%s: the chunk goes row by row: %s", self.run.name, error.what)
            self._await_finish()
            for key, failure in failed.items():
                self._refuse(key, failure)
            return self._load_carefully(chunk, batch)
        finally:
            self.ahead.release()

    def _await_files(self, chunk: Chunk) -> tuple[Batch, dict[Key, ObjectError]]:
        """The files of a chunk once they are copied, and the entities of which some cannot be had."""
        try:
            batch = self._get()
            assert isinstance(batch, Batch)
            return batch, batch.wait()
        except (StoreError, KeyboardInterrupt):
            self.waiting[chunk.after, chunk.upto] = chunk  # nothing of it is loaded: it is let go of
            raise

    def _load_tables(self, batch: Batch | None) -> list[int]:
        local = self.run.local
        incoming: list[Iterator[Block]] = [self._incoming() for _ in self.tables]
        alone = False
        if local.server.loads_whole and len(self.tables) == 1 and not batch:
            blocks = list(itertools.islice(incoming[0], 1))
            if blocks and len(blocks[0].data) < BLOCK_BYTES:
                blocks += itertools.islice(incoming[0], 1)
                alone = len(blocks) == 1
            incoming[0] = itertools.chain(blocks, incoming[0])
        # One statement is a transaction by itself: over a long wire each of three would wait for its answer.
        with contextlib.nullcontext() if alone else local.transaction():
            tables = zip(self.tables, incoming, strict=True)
            loaded = [self._load_table(here, blocks) for (_, here), blocks in tables]
            if batch:
                batch.rewrite(local)
        return loaded

    def _load_table(self, here: Table, blocks: Iterable[Block]) -> int:
        loaded = self.run.local.load(here, blocks, self.form)
        if loaded != self.rows_sent:
            raise TransferError(
                f"The local server took {loaded} of {self.rows_sent} rows of {here.schema}.{here.name}; nothing of the "
                "chunk was kept.",
                "Does a trigger there change what is inserted?",
            )
        return loaded

    def _incoming(self) -> Iterator[Block]:
        while not isinstance(item := self._get(), _TableEnd):
            assert isinstance(item, Block)
            self.result.bytes += len(item.data)
            yield item
        self.ends_to_come -= 1
        self.rows_sent = item.rows

    def _count(self, loaded: Sequence[int]) -> int:
        self.result.pulled += loaded[0]
        self.result.part_rows += sum(loaded[1:])
        return loaded[0]

    # step 3 again, for a chunk that was refused: entities that are there already, or that the local server cannot hold

    def _load_carefully(self, chunk: Chunk, batch: Batch | None) -> int:
        keys = self._without_present(self.outbound.keys(self.marking, "PULL", chunk))
        return self._load_range(chunk, keys, batch)

    def _without_present(self, keys: Sequence[Key]) -> list[Key]:
        """Those of the keys that are not local; the others are compared, and finished as they are."""
        present = self.run.present(keys)
        there_already = [key for key in keys if key in present]
        for key in self.run.differing(self.marking, there_already):
            logger.warning(
                "%s: %s is local and differs from the source; left as it is",
                self.run.name,
                self.run.as_dict(key),
            )
            self.result.differing.append(self.run.as_dict(key))
        self._mark(FINISH_PULL, there_already)
        # What this pull has copied and not finished, before it lost a connection, has been counted.
        counted = min(len(there_already), self.result.pulled - self.result._finished) if self.run.former else 0
        self.result._finished += counted
        self.result.shared += len(there_already) - counted
        return [key for key in keys if key not in present]

    def _load_range(self, chunk: Chunk, keys: Sequence[Key], known: Batch | None) -> int:
        if not keys:
            return 0
        try:
            with self.marking.transaction(snapshot=True):
                batch = self.files.begin(
                    self.marking, lambda there: self.outbound.claimed_rows(there, chunk), True, known
                )
                read = [self._collect(there, chunk) for there, _ in self.tables]
            for failure in batch.wait().values():
                raise failure
            return patiently(lambda: self._load_collected(read, batch))
        except RowError as error:
            # A lost session, or a run that was taken for dead, may have brought them just now: they stay held.
            left = self._without_present(keys)
            if len(left) < len(keys):
                return self._load_range(chunk, left, known)
            if len(keys) == 1:
                self._refuse(keys[0], error)
                return 0
        middle = len(keys) // 2
        first = self._load_range(Chunk(chunk.after, keys[middle - 1]), keys[:middle], known)
        return first + self._load_range(Chunk(keys[middle - 1], chunk.upto), keys[middle:], known)

    def _collect(self, there: Table, chunk: Chunk) -> list[Block]:
        blocks: list[Block] = []
        self.marking.stream(there, self.outbound.claimed_rows(there, chunk), self.form, blocks.append)
        return blocks

    def _load_collected(self, read: Sequence[Sequence[Block]], batch: Batch) -> int:
        with self.run.local.transaction():
            loaded = [
                self.run.local.load(here, blocks, self.form)
                for (_, here), blocks in zip(self.tables, read, strict=True)
            ]
            batch.rewrite(self.run.local)
        return self._count(loaded)

    def _refuse(self, key: Key, error: RowError) -> None:
        if not self._mark(ABANDON_PULL, [key]):
            self._mark(FINISH_PULL, [key])  # flagged meanwhile
        table = self.run.entity.master
        failed = "A file is not to be had of" if isinstance(error, ObjectError) else "The local server does not take"
        refused = TransferError(
            f"{failed} {self.run.as_dict(key)} of {table.schema}.{table.name}: {error.what}",
            "It is not shared and not held. suppress_errors=True pulls the others and returns such errors.",
        )
        self.result.errors.append((self.run.as_dict(key), refused))

    # step 4, beside step 3 of the next chunk

    finishing: Future[None] | None = None

    def _finish(self, chunk: Chunk, moved: int, marked: int) -> None:
        finished = patiently(lambda: self.outbound.apply(self.marking, FINISH_PULL, chunk))
        logger.debug("%s: chunk up to %s: %d copied, %d finished", self.run.name, chunk.upto, moved, finished)
        if finished > moved:
            self.unsettled.append(chunk)
        self.result._finished += moved
        if (missing := chunk.claimed - marked - finished) > 0:
            # Another run has deleted them, or has adopted them since this one was taken for dead. They may have been
            # released before they were loaded here: never leave them unheld.
            logger.warning("%s: another run took over %d entities of this one", self.run.name, missing)
            self.taken.append(chunk)
            patiently(functools.partial(self._take_back, chunk))

    def _take_back(self, chunk: Chunk) -> None:
        if chunk.keys:
            self.outbound.claim_keys(self.marking, "", chunk.keys)
        else:
            self.outbound.claim(self.marking, self.where, chunk)

    def _settle(self) -> None:
        """More was finished than was copied: what has been flagged meanwhile. Anything else shall not go unnoticed."""
        self.run.settle()
        for chunk in self.unsettled:
            within, args = self.outbound.helper.within(chunk)
            keys = self.outbound.helper.keys(self.run.home, (f"{self.outbound.condition(SHARED)} AND {within}", args))
            present = self.run.present(keys)
            # Others may have deleted or flagged some while we looked.
            missing = self.run.still_shared([key for key in keys if key not in present])
            if missing:
                logger.warning(
                    "%s: %d entities are held and were not copied, %s among them; the next pull tries again",
                    *(self.run.name, len(missing), self.run.as_dict(min(missing, key=repr))),
                )

    def _await_finish(self) -> None:
        if self.finishing:
            self.finishing.result()
            self.finishing = None

    def _end(self, reader: threading.Thread, interrupted: bool = False) -> None:
        """Stop reading; let go of what was claimed and not begun."""
        self.stop.set()
        reader.join()
        self._await_finish()
        if interrupted:  # perhaps in the middle of a statement: these sessions may be of no more use
            self.run.local, self.marking = self.run.open_together([self.run.ends.local, self.run.ends.source])
        for chunk in self.waiting.values():
            self._let_go(chunk)
        for chunk in self.taken:
            self._mark(FINISH_PULL, sorted(self._let_go(chunk)))

    def _let_go(self, chunk: Chunk) -> set[Key]:
        """Let go of what is held in a chunk and not local; the keys of what is."""
        keys = self.outbound.keys(self.marking, "PULL", chunk)
        present = self.run.present(keys)
        self._mark(ABANDON_PULL, [key for key in keys if key not in present])
        return present

    def _mark(self, transition: Transition, keys: Sequence[Key]) -> int:
        marked = patiently(lambda: self.outbound.apply_to_keys(self.marking, transition, keys))
        self.marked += marked
        return marked
