"""Refreshing: shared entities that are not what the source has become so, in place.

What differs is found as :mod:`.verify` finds it. Then, for one batch of entities after another:

1. local: an advisory lock, so that no two refreshes of a table put older content over newer
2. source: read master and parts in one snapshot, as a pull does, into temporary tables here; files are copied
3. local: one transaction: lock the master rows, remove part rows that have gone, change what differs, add what is new
4. source: the helper rows note the time

What was computed from the older content is deleted in that same transaction, if it is to be: at no moment it stands
beside the newer one, and of an entity that is refused it stays.

Nothing else is changed at the source, and no entity changes its state. Between any two statements the process may be
killed: each entity is what it was, or what the source has, and the next refresh goes on.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from tqdm.auto import tqdm

from ..ends.edits import noted
from ..ends.ends import Ends
from ..errors import LinkError, LockedError, PrivilegeError, TransferError, UnreachableError
from ..files.copies import CHUNK_FILE_BYTES, CHUNK_FILES, Batch, Files
from ..files.objects import ObjectError
from ..model.mapping import TablePair
from ..model.ranges import EVERYTHING, Key, Range, Rows, Selection, Sql
from ..model.results import RefreshResult, count_in
from ..model.schema import Table
from ..model.states import ASKED, SHARED, UNFINISHED
from ..servers.keyed import Keyed, Segment, batches
from ..servers.session import Block, Form, lock_number
from ..servers.staging import Staging
from ..signals import BusyError, RowError
from .claims import CHUNK_BYTES, Pace
from .comparing import FEW, OTHERWISE, Comparison
from .dependents import Descent, dependents_of
from .differences import differences
from .reader import Pipe
from .retry import patiently
from .run import Run, persistently

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
    """

    dry_run: bool = False
    suppress_errors: bool = False
    transfers: int = 8
    delete: bool = False
    covered: frozenset[Key] | None = None

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
    result = begin_refresh(ends, selection, dry_run=share.dry_run)
    result.add(refresh_range(ends, selection, EVERYTHING, share, display_progress))
    result.seconds = time.monotonic() - started
    logger.info("%s: %r", ends.name, result)
    return result


def deletable(ends: Ends, selection: Selection) -> tuple[frozenset[Key], dict[str, int]]:
    """What a refresh would refresh, and how many rows of which tables it would delete that depend on that."""
    _require_possible(ends)
    with Run(ends) as run:
        both = Comparison(run)
        found = [key for looked in differences(both, selection, EVERYTHING) for key in looked.differing]
        descent = Descent([ends], run.local)
        descent.find(found)
        descent.spare()
        return frozenset(found), {name: count for name, count in descent.made().items() if count}


def _require_possible(ends: Ends) -> None:
    ends.require_no_transaction("refresh of")
    ends.require_home("refresh of")
    ends.require_fit()


def begin_refresh(ends: Ends, selection: Selection, *, dry_run: bool) -> RefreshResult:
    """See that a refresh is possible; count what is held and not shared, which is left alone."""
    if dry_run:
        ends.require_no_transaction("refresh of")
    else:
        _require_possible(ends)
    result = RefreshResult(dry_run=dry_run)
    result.dependents = dependents_of([(ends, result.entities)])
    with Run(ends) as run:
        for count in run.holds.survey(run.home, selection):
            if count.row.says(UNFINISHED) or count.row.says(ASKED):
                reason = "in other hands" if count.row.says(UNFINISHED) else "flagged for deletion by the source"
                count_in(result.skipped, {reason: count.entities})
    return result


def refresh_range(
    ends: Ends, selection: Selection, within: Range, share: Share, display_progress: bool = False
) -> RefreshResult:
    """Refresh what is shared of one range."""
    counts = RefreshResult()

    def once(run: Run) -> None:
        # Those that a lost run has refreshed are equal by now.
        counts.equal = -counts.refreshed
        counts.refused.clear()
        counts.skipped.clear()
        found: list[Key] = []
        descent = Descent([ends], run.local) if share.delete and not share.dry_run else None
        with (
            _bar(run, selection, display_progress) as bar,
            run.files(share.transfers, counts, display_progress) as files,
        ):
            refresher = Refresher(run, files, counts, descent)
            act = refresher.foresee if share.dry_run else functools.partial(refresher.refresh, share.suppress_errors)
            for looked in differences(refresher.both, selection, within):
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


def _bar(run: Run, selection: Selection, display_progress: bool) -> tqdm[NoReturn]:
    total = run.holds.saying(SHARED, selection).count(run.home) if display_progress else None
    return tqdm(total=total, unit="row", desc=run.name, disable=not display_progress)


class _Staged(NamedTuple):
    """Entities that are staged: their keys; the rows of the source by which they are told; what says of their holds
    whether they are the same; and their files."""

    keys: Sequence[Key]
    rows: Rows
    mark: tuple[int, int]
    files: Batch


class Refresher:
    """Refreshes entities of which it is known that they differ, as many at a time as the rows' size allows.

    Parameters
    ----------
    run : Run
        Whose sessions are used.
    files : Files
        Copies the files that rows name.
    result : RefreshResult
        Where to count.
    descent : Descent, optional
        By which dependent rows are deleted, if they are to be.
    """

    def __init__(self, run: Run, files: Files, result: RefreshResult, descent: Descent | None = None) -> None:
        self.run = run
        self.files = files
        self.result = result
        self.descent = descent
        local = run.ends.local
        language = local.dialect.language_from(run.ends.source.dialect)
        self.form = Form(language, run.local.block_bytes, local.dialect.exact_json)
        self.pairs = run.mapping.tables
        self.stagings = [Staging(local.definitions, pair.here, n) for n, pair in enumerate(self.pairs)]
        self.both = Comparison(run)
        self.pace = Pace()
        master = run.mapping.local.master
        self._lock = lock_number(master.schema, master.name), 0
        # Whether others have just been busy with the same rows: some may be gone here.
        self._is_beside_others = False

    @functools.cached_property
    def _noted(self) -> list[tuple[Keyed, str]]:
        """What tells which entities were edited here."""
        catalogue = self.run.ends.local.catalogue_type(self.run.local)
        return noted(catalogue, [pair.here for pair in self.pairs])

    def foresee(self, keys: Sequence[Key], whole: Range | None = None) -> None:
        """Count what would be refreshed, and tell which of them were edited here as far as that is noted."""
        edited: set[Key] = set()
        for rows, condition in self._noted if keys else ():
            edited |= rows.existing(self.run.local, keys, condition)
        self.result.edited_here += map(self.run.as_dict, sorted(edited))
        self.count(keys)

    def count(self, keys: Sequence[Key]) -> None:
        """Entities that are refreshed, or would be."""
        self.result.refreshed += len(keys)
        self.result.entities += keys
        self.result.keys += map(self.run.as_dict, keys)

    def refresh(self, suppress_errors: bool, keys: Sequence[Key], whole: Range | None = None) -> None:
        """Refresh entities, batch by batch; where they are all that is shared in a range, in the source's order.

        Raises
        ------
        TransferError
            One is refused, and that is not to be suppressed. The batches before, and the rest of its own, stay.
        """
        while keys:
            batch = next(batches(keys[: self.pace.rows]))
            keys, within = keys[len(batch) :], None
            if whole:
                within = Range(whole.after, batch[-1] if keys else whole.upto)
                whole = Range(batch[-1], whole.upto)
            failed = self._refresh(batch, within=within)
            again = len(batch)
            # What one of them has given up another may take by now.
            while failed and len(failed) < again:
                again = len(failed)
                failed = self._refresh(list(failed))
            for key, error in failed.items():
                self.result.refused.append(
                    self.run.refused(
                        key,
                        error,
                        state=", as it is at the source now",
                        so="It is held, and as it was here, with all its rows.",
                        suppressed="refreshes",
                    )
                )
            if failed and not suppress_errors:
                raise self.result.refused[-len(failed)][1]

    def _refresh(
        self, keys: Sequence[Key], known: Batch | None = None, within: Range | None = None
    ) -> dict[Key, RowError]:
        """Refresh entities together, or where some are refused by halves; those that are, with the reasons."""
        if not keys:
            return {}
        try:
            batch, failed = patiently(lambda: self._bring(keys, known, within))
        except RowError as error:
            if len(keys) == 1:
                return {keys[0]: error}
            logger.debug("%s: a batch goes by halves: %s", self.run.name, error.what)
            middle = len(keys) // 2
            return {**self._refresh(keys[:middle], known), **self._refresh(keys[middle:], known)}
        if failed:
            return {**failed, **self._refresh([key for key in keys if key not in failed], batch)}
        return {}

    def _bring(
        self, keys: Sequence[Key], known: Batch | None, within: Range | None
    ) -> tuple[Batch, dict[Key, ObjectError]]:
        """Refresh entities together, unless a file cannot be had of some; their files, and those that fail.

        Entities that are not shared any more are left alone.
        """
        local = self.run.local
        local.lock(self._lock, wait=True)
        try:
            if self._is_beside_others:
                keys, within, self._is_beside_others = sorted(self.both.present(keys)), None, False
            staged = self._stage(keys, known, within)
            batch, shared = staged.files, staged.keys
            failed = batch.wait()
            if not failed:
                tables = {staging.table.name: staging.staged for staging in self.stagings}
                batch.rewrite(local, lambda here: tables[here.name])
                with local.transaction():
                    deleted = self._replace(staged)
                self.count(shared)
                self.result.deleted.update({n: self.result.deleted.get(n, 0) + k for n, k in deleted.items()})
        except LinkError as error:
            self._is_beside_others = isinstance(error, BusyError)
            with contextlib.suppress(LinkError):
                local.unlock(self._lock)
            raise
        local.unlock(self._lock)
        if not failed:
            patiently(lambda: self.run.holds.note_refreshed(self.run.home, shared))
        return batch, failed

    # what the source has, beside the local tables

    def _stage(self, keys: Sequence[Key], known: Batch | None, within: Range | None) -> _Staged:
        """Read entities into the temporary tables, those that are shared."""
        run, home = self.run, self.run.home
        with home.transaction(snapshot=True):
            shared, rows = keys, keys if within is None or not self._is_whole(within, len(keys)) else within
            mark = run.holds.fingerprint(home, rows, SHARED)
            if mark[0] != len(keys):
                rows = shared = sorted(run.holds.existing(home, keys, SHARED))
                mark = run.holds.fingerprint(home, rows, SHARED)
            if not shared:
                return _Staged(shared, rows, mark, Batch())
            batch = self.files.begin(home, lambda there: self._rows_of(there, rows), True, known)
            size = self._read(rows, len(shared))
            # Of the table that it is held in, and of no other that has taken its name.
            run.ends.require_held(home)
            if not run.mapping.exact:
                staged = [TablePair(p.there, s.staged) for p, s in zip(self.pairs, self.stagings, strict=True)]
                if self.both.differing_staged(staged, shared):
                    raise RowError(OTHERWISE)
        bounds = [(CHUNK_BYTES, size), (CHUNK_FILES, batch.count), (CHUNK_FILE_BYTES, batch.size)]
        self.pace.adapt(len(shared), bounds)
        return _Staged(shared, rows, mark, batch)

    def _is_whole(self, within: Range, number: int) -> bool:
        """Whether the source has so many rows in a range, and no more."""
        return Segment(self.run.holds.rows, within).count(self.run.home) == number

    def _rows_of(self, there: Table, rows: Rows) -> Sql:
        """FROM onward: the rows of some entities at the source."""
        keyed = Keyed(self.run.home.dialect, there)
        if not isinstance(rows, Range):
            return keyed.rows_of(rows)
        condition, args = keyed.within(rows)
        return f"FROM {keyed.name} WHERE {condition}", args

    def _read(self, rows: Rows, entities: int) -> int:
        """Load the source's rows of some entities into the temporary tables; how many bytes they have."""
        sources = [self._rows_of(pair.there, rows) for pair in self.pairs]
        numbers, size = [entities, *self._count(sources[1:])], 0
        for pair, staging, some, number in zip(self.pairs, self.stagings, sources, numbers, strict=True):
            self._create(staging)
            loaded, length = self._transfer(pair.there, staging.staged, some)
            size += length
            if loaded != number and pair is self.pairs[0] and self._count([some]) == [loaded]:
                raise RowError("the source has no such row any more, though it is held")
            if loaded != number:
                raise TransferError(
                    f"{loaded} of {number} rows of {pair.there.schema}.{pair.there.name} came; nothing was changed.",
                    "Something in between, or a limit at the source, cuts what is read.",
                )
        return size

    def _count(self, rows: Sequence[Sql]) -> list[int]:
        """How many rows of each of some tables are to come, as the source counts them."""
        if not rows:
            return []
        counting = ", ".join(f"(SELECT COUNT(*) {sql})" for sql, _ in rows)
        numbers = self.run.home.query(f"SELECT {counting}", [arg for _, args in rows for arg in args])[0]
        return list(map(int, numbers))

    def _create(self, staging: Staging) -> None:
        try:
            for statement in staging.creation:
                self.run.local.execute(statement)
        except PrivilegeError as error:
            raise PrivilegeError(
                f"A refresh of {self.run.name} makes temporary tables beside the local ones: {error.what}",
                self.run.ends.local.grant_temporary_hint(staging.table.schema),
            ) from error

    def _transfer(self, there: Table, staged: Table, rows: Sql) -> tuple[int, int]:
        """Read rows in a thread, and load them; how many rows and bytes."""
        home, shut, sizes = self.run.home, threading.Event(), list[int]()
        pipe = Pipe(shut)

        def emit(block: Block) -> None:
            sizes.append(len(block.data))
            pipe.put(block)

        def read() -> None:
            try:
                home.stream(there, rows, self.form, emit)
                pipe.put(None)
            except BaseException as error:
                if not shut.is_set():
                    pipe.put(error)

        def blocks() -> Iterator[Block]:
            while block := pipe.get():
                yield block

        incoming = blocks()
        with ThreadPoolExecutor(1, "link-reader") as pool:
            pool.submit(read)
            try:
                return self.run.local.load(staged, incoming, self.form), sum(sizes)
            except LinkError:
                collections.deque(incoming, 0)  # the session at the source goes on
                raise
            except BaseException:
                shut.set()
                home.cancel()
                raise

    # into the local tables

    def _replace(self, staged: _Staged) -> dict[str, int]:
        """Within a transaction: let the local rows be what is staged of them; which dependent rows were deleted.

        Raises
        ------
        BusyError
            Some were deleted, or deleted and pulled anew, or flagged since they were read.
        """
        run, local = self.run, self.run.local
        if not staged.keys:
            return {}
        master, *parts = self.stagings
        if parts or self.descent is not None:
            self._require(int(local.query(master.locking)[0][0]) == len(staged.keys))
        deleted = self._delete_dependents(staged.keys)
        for part in reversed(parts):
            try:
                local.execute(part.removal(master))
            except RowError as error:
                raise RowError(
                    f"rows of {part.table.schema}.{part.table.name} are gone there, and rows here refer to them: "
                    f"{error.what}"
                ) from error
        for staging in self.stagings:
            if staging.update:
                local.execute(staging.update)
        for part in parts:
            local.execute(part.insertion)
        # Now that all of it is locked.
        self._require(run.holds.fingerprint(run.home, staged.rows, SHARED) == staged.mark)
        return deleted

    def _require(self, undisturbed: bool) -> None:
        if not undisturbed:
            raise BusyError(f"{self.run.name}: rows were deleted, or flagged, while they were refreshed.", "Try again.")

    def _delete_dependents(self, keys: Sequence[Key]) -> dict[str, int]:
        """Delete what depends on entities and can be made anew; how many rows of which tables."""
        if self.descent is None:
            return {}
        self.descent.find(keys)
        if spared := self.descent.spare():
            logger.info(
                "%s: %d dependent rows stay: rows refer to them that cannot be made anew", self.run.name, spared
            )
        return self.descent.delete()
