"""Refreshing range after range in which all differs, without a look before: what one was, the next is taken to be.

A thread reads ahead at the source, each range in one snapshot, while the local server takes the range before, and the
source notes the time of the one before that. What the local server changes tells whether all has differed: where it
changes fewer rows, or refuses one, the range stays as it was, and is looked at as any other.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from ..errors import LinkError
from ..model.ranges import EVERYTHING, Key, Range, Selection
from ..model.states import SHARED
from ..servers.keyed import Segment
from ..servers.session import Block, Session
from ..signals import BusyError, RowError
from .claims import CHUNK_BYTES
from .reader import Pipe
from .refresher import Refresher, counted, unlock

logger = logging.getLogger("link")

#: Seconds after which another refresh of the table has its turn.
TURN = 10.0
#: Entities of a range at most: of the last one, some steps have nothing beside them.
LONGEST = 8_000
#: In the pipe: no more rows of a table; no more ranges.
_OVER, _END = "over", "end"


class _Mixed(Exception):  # noqa: N818 - not an error
    """Not all of a range differs."""


class _Reading(NamedTuple):
    """A range on its way: how many rows each table has there, and what says of the holds whether they are the same."""

    within: Range
    numbers: list[int]
    mark: tuple[int, int]


class Sweep:
    """Refreshes ranges of which all differs.

    Parameters
    ----------
    refresher : Refresher
        How rows are brought here; it deletes no dependents.
    selection : Selection
        What is refreshed.
    done : callable
        Told of how many entities more that was done.
    """

    def __init__(self, refresher: Refresher, selection: Selection, done: Callable[[int], object]) -> None:
        self.refresher = refresher
        self.run = refresher.run
        self.selection = selection
        self.done = done
        # Set for good where a row was refused: another may be, in any range.
        self._is_over = refresher.stagings[0].update_within(EVERYTHING) is None

    def sweep(self, within: Range) -> Key | None:
        """Refresh what is shared in a range from its beginning on, as long as all differs; up to which key that was."""
        while not self._is_over and (sessions := self.run.open_some(self.run.ends.source, 0, 1)):
            upto, goes_on = self._take_turn(sessions[0], within)
            self.run.give_back(self.run.ends.source, sessions)
            within = Range(upto, within.upto)
            if not goes_on:
                break
        return within.after

    def _take_turn(self, session: Session, within: Range) -> tuple[Key | None, bool]:
        """Go on until another refresh has its turn; up to which key, and whether there may be more."""
        local, reader, upto, goes_on = self.run.local, _Reader(self, session), within.after, False
        noted: Future[None] | None = None
        with ThreadPoolExecutor(1, "link-reader") as reading, ThreadPoolExecutor(1, "link-noter") as noting:
            try:
                local.lock(self.refresher.lock, wait=True)
                reading.submit(reader.read, within)
                while read := reader.next():
                    if not self._take(reader, read, noted):
                        reader.drain()
                        break
                    upto = read.within.upto
                    noted = noting.submit(self.refresher.note, read.within)
                else:
                    goes_on = reader.is_late
                if noted:
                    noted.result()
                local.unlock(self.refresher.lock)
                return upto, goes_on
            except BaseException as error:
                reader.shut.set()
                for other in (session, self.run.home):  # which the threads wait for
                    other.cancel()
                if isinstance(error, LinkError):
                    unlock(local, self.refresher.lock)
                raise

    def _take(self, reader: _Reader, read: _Reading, noted: Future[None] | None) -> bool:
        """Refresh a range, if all of it differs; whether that was so."""
        local, refresher = self.run.local, self.refresher
        try:
            for staging, number in zip(refresher.stagings, read.numbers, strict=True):
                refresher.create(staging)
                if local.load(staging.staged, reader.blocks(), refresher.form) != number:
                    raise _Mixed
            keys = reader.keys()
            with local.transaction():
                self._replace(read, noted)
        except (_Mixed, RowError, BusyError) as error:
            logger.debug("%s: a range is looked at: %s", self.run.name, error)
            self._is_over = isinstance(error, RowError)
            return False
        refresher.count(keys)
        self.done(len(keys))
        return True

    def _replace(self, read: _Reading, noted: Future[None] | None) -> None:
        """Within a transaction: let the local rows be what is staged of them, if all of them differ."""
        refresher, number = self.refresher, read.numbers[0]
        if len(refresher.stagings) > 1:
            refresher.keep_still(number)
            refresher.remove()
        update = refresher.stagings[0].update_within(read.within)
        if update is None or self.run.local.execute(*update) != number:
            raise _Mixed
        refresher.write_parts()
        if noted:
            noted.result()  # by the session that is asked now
        refresher.require_as_read(read.within, read.mark)


class _Reader:
    """Reads ranges in a thread, by a session of its own; what it reads goes through a pipe.

    Of each range there come, in this order: a :class:`_Reading`, of each table the blocks and :data:`_OVER`, and the
    keys. The last thing is :data:`_END` or an error.

    Attributes
    ----------
    shut : Event
        Set when nobody waits for what is read.
    is_late : bool
        Whether it has stopped for the time; to be asked at the end.
    """

    def __init__(self, sweep: Sweep, session: Session) -> None:
        self.refresher = sweep.refresher
        self.run = sweep.run
        self.selection = sweep.selection
        self.session = session
        self.shut, self._stop = threading.Event(), threading.Event()
        self.is_late = False
        self._pipe = Pipe(self.shut)
        # Owned by the thread that loads.
        self._is_at_end = False

    # in the thread that loads

    def next(self) -> _Reading | None:
        """The next range, if there is one that has nothing but what is shared, and it could be read."""
        read = None
        with contextlib.suppress(RowError, BusyError):
            read = self._get()
        self._is_at_end = not isinstance(read, _Reading)
        return read if isinstance(read, _Reading) else None

    def blocks(self) -> Iterator[Block]:
        """The rows of the next table."""
        while isinstance(item := self._get(), Block):
            yield item

    def keys(self) -> list[Key]:
        """The keys of the range, in the source's order; to be asked last."""
        return list(self._get())

    def drain(self) -> None:
        """Let it come to its end, with the range that it is at."""
        self._stop.set()
        while not self._is_at_end:
            with contextlib.suppress(RowError, BusyError):
                self._is_at_end = self._get() is _END

    def _get(self) -> Any:
        try:
            return self._pipe.get()
        except BaseException:
            self._is_at_end = True
            raise

    # in its own thread

    def read(self, within: Range) -> None:
        """Read range after range, until something else is there, or another refresh has its turn."""
        turn = time.monotonic() + TURN
        try:
            while not (self._stop.is_set() or self.is_late):
                with self.session.transaction(snapshot=True):
                    upto = self._read_next(within)
                if upto is None:
                    break
                within = Range(upto, within.upto)
                self.is_late = time.monotonic() > turn
            self._pipe.put(_END)
        except BaseException as error:
            if not self.shut.is_set():
                self._pipe.put(error)

    def _read_next(self, within: Range) -> Key | None:
        """Read the next range, in a snapshot; where it ends, or None if it is to be looked at."""
        session, holds, refresher = self.session, self.run.holds, self.refresher
        shared = holds.saying(SHARED, self.selection, within)
        shared = shared if self.selection else shared.unguessed
        number = min(refresher.pace.rows, LONGEST)
        upto = shared.key_at(session, number - 1)
        if upto is None and (number := shared.count(session)):
            upto = shared.key_at(session, number - 1)
        if upto is None:
            return None
        within = Range(within.after, upto)
        mark = holds.fingerprint(session, within, SHARED)
        if not mark[0] == number == Segment(holds.rows, within).count(session):
            return None
        sources = [refresher.rows_of(pair.there, within) for pair in refresher.pairs]
        numbers, size = [number, *counted(session, sources[1:])], 0
        self._pipe.put(_Reading(within, numbers, mark))

        def emit(block: Block) -> None:
            nonlocal size
            size += block.size
            self._pipe.put(block)

        for pair, rows in zip(refresher.pairs, sources, strict=True):
            session.stream(pair.there, rows, refresher.form, emit)
            self._pipe.put(_OVER)
        # Of the table that it is held in, and of no other that has taken its name.
        self.run.ends.require_held(session)
        self._pipe.put(holds.saying(SHARED, self.selection, within).keys(session))
        refresher.pace.adapt(number, [(CHUNK_BYTES, size)])
        return upto
