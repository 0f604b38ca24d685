"""How entities that differ are brought to the source's content, one batch after the other:

1. local: an advisory lock, so that no two refreshes of a table put older content over newer
2. source: read master and parts in one snapshot, as a pull does, into temporary tables here; files are copied
3. local: one transaction: lock the master rows, remove part rows that have gone, change what differs, add what is new
4. source: the helper rows note the time

What was computed from the older content is deleted in that same transaction, if it is to be: at no moment it stands
beside the newer one, and of an entity that is refused it stays.

Between any two statements the process may be killed: each entity is what it was, or what the source has, and the next
refresh goes on.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ..ends.edits import noted
from ..errors import LinkError, PrivilegeError, TransferError
from ..files.copies import CHUNK_FILE_BYTES, CHUNK_FILES, Batch, Files
from ..files.objects import ObjectError
from ..holds.closure import Way
from ..lazy import cached_property
from ..model.graph import label
from ..model.mapping import TablePair
from ..model.ranges import Key, Range, Rows, Sql
from ..model.results import RefreshResult, count_in
from ..model.schema import Table
from ..model.states import SHARED
from ..servers.keyed import Keyed, Segment, batches
from ..servers.session import Block, Form, Session, lock_number
from ..servers.staging import Staging
from ..signals import BusyError, OrphanError, RowError
from .careful import require_all
from .claims import CHUNK_BYTES, Pace
from .comparing import OTHERWISE, Comparison
from .dependents import Descent
from .reader import Pipe
from .retry import patiently
from .run import Run

logger = logging.getLogger("link")

#: Why what an entity refers to is not here.
FLAGGED, NOT_HELD = "the source wants that row deleted", "that row cannot be had, or stands on one that cannot be"
NOT_YET = "what it refers to now is to be refreshed before it, or with it"


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
    ways : sequence of Way, optional
        The foreign keys by which entities stand on those of other groups.
    first : int
        The number of the first temporary table; others of the session may have those before.
    """

    def __init__(
        self,
        run: Run,
        files: Files,
        result: RefreshResult,
        descent: Descent | None = None,
        ways: Sequence[Way] = (),
        first: int = 0,
    ) -> None:
        self.run = run
        self.ways = ways
        self.files = files
        self.result = result
        result.key_columns = run.mapping.source.master.key_columns
        self.descent = descent
        local = run.ends.local
        language = local.dialect.language_from(run.ends.source.dialect)
        self.form = Form(language, run.local.block_bytes, local.dialect.exact_json)
        self.pairs = run.mapping.tables
        self.stagings = [Staging(local.definitions, pair.here, n) for n, pair in enumerate(self.pairs, first)]
        self.both = Comparison(run)
        self.pace = Pace()
        master = run.mapping.local.master
        self.lock = lock_number(master.schema, master.name), 0
        # Whether others have just been busy with the same rows: some may be gone here.
        self._is_beside_others = False

    @cached_property
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
            self.result.refused_entities += failed
            for key, error in self._explained(failed).items():
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

    def _explained(self, failed: Mapping[Key, RowError]) -> dict[Key, RowError]:
        """The reasons of refusals; where what an entity refers to now is not here, why it is not."""
        reasons = dict(failed)
        orphans = [key for key, error in failed.items() if self.ways and isinstance(error, OrphanError)]
        for key in orphans:
            reasons[key] = OrphanError(f"{NOT_YET}: {failed[key].what}")
        for way in self.ways:
            for condition, why in ((way.depends_on_unheld, NOT_HELD), (way.depends_on_flagged, FLAGGED)):
                for key in self.run.holds.helper.existing(self.run.home, orphans, condition):
                    reasons[key] = OrphanError(f"{label(way.edge.parent)}, to which it refers now: {why}")
        return reasons

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
                return self._refresh_otherwise(keys[0], error)
            logger.debug("%s: a batch goes by halves: %s", self.run.name, error.what)
            middle = len(keys) // 2
            return {**self._refresh(keys[:middle], known), **self._refresh(keys[middle:], known)}
        if failed:
            return {**failed, **self._refresh([key for key in keys if key not in failed], batch)}
        return {}

    def _refresh_otherwise(self, key: Key, error: RowError) -> dict[Key, RowError]:
        """Refresh an entity of whose parts one may refer to what another only gets, and no more to what it loses."""
        own = {staging.table.name for staging in self.stagings[1:]}
        keys = (key for staging in self.stagings[1:] for key in staging.table.foreign_keys)
        if any(fk.schema == self.stagings[0].table.schema and fk.table in own for fk in keys):
            with contextlib.suppress(RowError):
                count_in(self.result.deleted, patiently(lambda: bring_together({self: [key]}, self.descent)))
                return {}
        return {key: error}

    def _bring(
        self, keys: Sequence[Key], known: Batch | None, within: Range | None
    ) -> tuple[Batch, dict[Key, ObjectError]]:
        """Refresh entities together, unless a file cannot be had of some; their files, and those that fail.

        Entities that are not shared any more are left alone.
        """
        local = self.run.local
        local.lock(self.lock, wait=True)
        try:
            if self._is_beside_others:
                keys, within, self._is_beside_others = sorted(self.both.present(keys)), None, False
            staged = self.stage(keys, known, within)
            failed = staged.files.wait()
            if not failed:
                self.rewrite(staged)
                with local.transaction():
                    deleted = self._replace(staged)
        except LinkError as error:
            self._is_beside_others = isinstance(error, BusyError)
            unlock(local, self.lock)
            raise
        local.unlock(self.lock)
        if not failed:
            count_in(self.result.deleted, deleted)
            self.finish(staged)
        return staged.files, failed

    def rewrite(self, staged: _Staged) -> None:
        """Let what is staged name the files that are here."""
        tables = {staging.table.name: staging.staged for staging in self.stagings}
        staged.files.rewrite(self.run.local, lambda here: tables[here.name])

    def finish(self, staged: _Staged) -> None:
        """Count entities that have been refreshed, and note the time."""
        self.count(staged.keys)
        self.note(staged.rows)

    def note(self, rows: Rows) -> None:
        """Note the time at the source."""
        patiently(lambda: self.run.holds.note_refreshed(self.run.home, rows))

    # what the source has, beside the local tables

    def stage(self, keys: Sequence[Key], known: Batch | None = None, within: Range | None = None) -> _Staged:
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
            batch = self.files.begin(home, lambda there: self.rows_of(there, rows), True, known)
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

    def rows_of(self, there: Table, rows: Rows) -> Sql:
        """FROM onward: the rows of some entities at the source."""
        keyed = Keyed(self.run.home.dialect, there)
        if not isinstance(rows, Range):
            return keyed.rows_of(rows)
        condition, args = keyed.within(rows)
        return f"FROM {keyed.name} WHERE {condition}", args

    def _read(self, rows: Rows, entities: int) -> int:
        """Load the source's rows of some entities into the temporary tables; how many bytes they have."""
        sources = [self.rows_of(pair.there, rows) for pair in self.pairs]
        numbers, size = [entities, *counted(self.run.home, sources[1:])], 0
        for pair, staging, some, number in zip(self.pairs, self.stagings, sources, numbers, strict=True):
            self.create(staging)
            loaded, length = self._transfer(pair.there, staging.staged, some)
            size += length
            if loaded != number and pair is self.pairs[0] and counted(self.run.home, [some]) == [loaded]:
                raise RowError("the source has no such row any more, though it is held")
            if loaded != number:
                raise TransferError(
                    f"{loaded} of {number} rows of {pair.there.schema}.{pair.there.name} came; nothing was changed.",
                    "Something in between, or a limit at the source, cuts what is read.",
                )
        return size

    def create(self, staging: Staging) -> None:
        """Make a temporary table, empty."""
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
            sizes.append(block.size)
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
        if not staged.keys:
            return {}
        self.keep_still(len(staged.keys))
        deleted = _delete_dependents(self.descent, [staged.keys], self.run.name)
        self.remove()
        self._write()
        self.require_as_read(staged.rows, staged.mark)
        return deleted

    def keep_still(self, number: int) -> None:
        """Let nobody delete the entities, so many, before the transaction ends."""
        self._require(int(self.run.local.query(self.stagings[0].locking)[0][0]) == number)

    def _write(self) -> None:
        """Change the rows that are there, and add those that are not."""
        if sql := self.stagings[0].update:
            self.run.local.execute(sql)
        self.write_parts()

    def write_parts(self) -> None:
        """Change the part rows that are there, and add those that are not."""
        for part in self.stagings[1:]:
            if part.update:
                self.run.local.execute(part.update)
            self.run.local.execute(part.insertion)

    def remove(self) -> None:
        """Remove the part rows that have gone."""
        master, *parts = self.stagings
        for part in reversed(parts):
            try:
                self.run.local.execute(part.removal(master))
            except RowError as error:
                raise RowError(
                    f"rows of {part.table.schema}.{part.table.name} are gone there, and rows here refer to them: "
                    f"{error.what}"
                ) from error

    def require_as_read(self, rows: Rows, mark: tuple[int, int]) -> None:
        """Raise BusyError where holds are not what they were; to be asked once all is locked and written.

        TransferError where the local server has not as many part rows by now as were read, or where its triggers have
        made others of some.
        """
        master, *parts = self.stagings
        counts = [(part.table, part.counting(master)) for part in parts]
        if self.run.ends.has_triggers:
            counts += [(staging.table, staging.comparing) for staging in self.stagings]
        for table, counting in counts:
            number, taken = self.run.local.query(counting)[0]
            require_all([table], [number], [taken])
        self._require(self.run.holds.fingerprint(self.run.home, rows, SHARED) == mark)

    def _require(self, undisturbed: bool) -> None:
        if not undisturbed:
            raise BusyError(f"{self.run.name}: rows were deleted, or flagged, while they were refreshed.", "Try again.")


def counted(session: Session, rows: Sequence[Sql]) -> list[int]:
    """How many rows there are of each of some tables."""
    if not rows:
        return []
    counting = ", ".join(f"(SELECT COUNT(*) {sql})" for sql, _ in rows)
    numbers = session.query(f"SELECT {counting}", [arg for _, args in rows for arg in args])[0]
    return list(map(int, numbers))


def _delete_dependents(descent: Descent | None, keys: Sequence[Sequence[Key]], name: str) -> dict[str, int]:
    """Delete what depends on entities and can be made anew; how many rows of which tables."""
    if descent is None:
        return {}
    descent.find(*keys)
    if spared := descent.spare():
        logger.info("%s: %d dependent rows stay: rows refer to them that cannot be made anew", name, spared)
    return descent.delete()


def bring_together(some: Mapping[Refresher, Sequence[Key]], descent: Descent | None = None) -> dict[str, int]:
    """Refresh entities of several links in one transaction; how many dependent rows of which tables were deleted.

    A row may refer to a part row that another entity only gets, and no more to one that it loses: neither of the two
    entities could be the first. So rows that have gone are removed last of all.

    Parameters
    ----------
    some : mapping
        The entities, by who refreshes them: all through one session on each server, those first to which others refer.
    descent : Descent, optional
        Of the same links, by which dependent rows are deleted, if they are to be.

    Raises
    ------
    RowError
        One is refused: all of them are what they were.
    """
    local = next(iter(some)).run.local
    with contextlib.ExitStack() as locks:
        for each in sorted(some, key=lambda each: each.lock):
            local.lock(each.lock, wait=True)
            locks.callback(unlock, local, each.lock)
        staged = {each: each.stage(keys) for each, keys in some.items()}
        for each, rows in staged.items():
            if failed := rows.files.wait():
                raise next(iter(failed.values()))
            each.rewrite(rows)
        present = {each: rows for each, rows in staged.items() if rows.keys}
        with local.transaction():
            for each, rows in present.items():
                each.keep_still(len(rows.keys))
            deleted = _delete_dependents(descent, [rows.keys for rows in staged.values()], next(iter(some)).run.name)
            for each in present:
                each._write()
            for each in reversed(present):
                each.remove()
            for each, rows in present.items():
                each.require_as_read(rows.rows, rows.mark)
    for each, rows in present.items():
        each.finish(rows)
    return deleted


def unlock(session: Session, lock: tuple[int, int]) -> None:
    """Let go of an advisory lock, if the session still has it."""
    with contextlib.suppress(LinkError):  # it may be the session that is lost
        session.unlock(lock)
