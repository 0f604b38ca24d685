"""Step 2: a thread that reads the next chunks while this one is loaded.

What it reads goes through a pipe that holds a few blocks. For each chunk there come, in this order: a :class:`Reading`;
where rows name files, a :class:`~link.files.copies.Batch` of their copies; of each table the blocks of its rows, and
their number. An error that ends a chunk comes in the place of what would have followed.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import queue
import threading
from collections.abc import Iterator
from typing import Any

from ..files.copies import AHEAD, CHUNK_FILE_BYTES, CHUNK_FILES, Batch, Files
from ..model.ranges import Chunk
from ..servers.session import BLOCK_BYTES, Block, Form, Session
from ..signals import BusyError, RowError, final
from .adopting import Adopter
from .claims import CHUNK_BYTES, Chunks
from .run import Run

#: Blocks that wait between the reader and the local server.
QUEUED_BLOCKS = 2


class _Shut(Exception):  # noqa: N818 - not an error
    """The reader was told to stop."""


class Tokens:
    """So many may be taken before some are given back.

    What waits here is C's, for Ctrl-C may come to who gives: a lock made of Python would stay locked for who takes.
    """

    def __init__(self, number: int) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(number):
            self.give()

    def take(self) -> bool:
        """Take one, if there is one within a moment."""
        with contextlib.suppress(queue.Empty):
            self._queue.get(timeout=0.1)
            return True
        return False

    def give(self) -> None:
        """Give one back."""
        self._queue.put(None)


class Pipe:
    """Hands things to another thread, a few ahead of it, until it is shut."""

    def __init__(self, shut: threading.Event) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()  # as in Tokens
        self._room = Tokens(QUEUED_BLOCKS)
        self._shut = shut
        #: Set when nobody wants what comes.
        self.leaks = threading.Event()

    def put(self, item: Any) -> None:
        """Wait for room; raises what ends the reader when the pipe is shut."""
        while not self.leaks.is_set():
            if self._shut.is_set():
                raise _Shut
            if self._room.take():
                self._queue.put(item)
                return

    def get(self) -> Any:
        """The next thing; an error is raised."""
        item = self._queue.get()
        self._room.give()
        if isinstance(item, BaseException):
            raise item
        return item


class Reading:
    """One chunk on its way, as the loader's thread gets it.

    Attributes
    ----------
    chunk : Chunk
        What is claimed there.
    rows : list of int
        How many rows the reader has sent, of each table that has come to its end.
    bytes : int
        How many bytes of rows have come.
    """

    def __init__(self, chunk: Chunk, tables: int, pipe: Pipe) -> None:
        self.chunk = chunk
        self.rows: list[int] = []
        self.bytes = 0
        self._tables = tables
        self._pipe = pipe

    def files(self) -> Batch:
        """The files, where rows name any; to be asked first."""
        batch = self._get()
        assert isinstance(batch, Batch)
        return batch

    def blocks(self) -> Iterator[Block]:
        """The rows of the next table."""
        while isinstance(item := self._get(), Block):
            self.bytes += item.size
            yield item
        self.rows.append(item)

    def skip(self) -> None:
        """Let the rest go."""
        while len(self.rows) < self._tables:
            with contextlib.suppress(RowError, BusyError):  # of the reader, which has given up the chunk as well
                collections.deque(self.blocks(), 0)

    def _get(self) -> Any:
        try:
            return self._pipe.get()
        except (RowError, BusyError):
            self._tables = 0  # the reader has given up this chunk
            raise


class Reader:
    """Reads chunk after chunk on a session of its own, each in one snapshot.

    Parameters
    ----------
    run : Run
        Whose chunks they are.
    chunks : Chunks
        What is moved.
    session : Session
        At the source; nobody else uses it.
    form : Form
        How rows travel.
    files : Files
        Copies the files that rows name.
    adopter : Adopter
        Takes out of each chunk what is local already.
    """

    def __init__(self, run: Run, chunks: Chunks, session: Session, form: Form, files: Files, adopter: Adopter) -> None:
        self.run = run
        self.holds = run.holds
        self.tables = [pair.there for pair in run.mapping.tables]
        self.chunks = chunks
        self.session = session
        self.form = form
        self.files = files
        self.adopter = adopter
        self._is_alone = len(self.tables) == 1 and not self.files
        self._pipe = Pipe(chunks.stop)
        self._ahead = Tokens(AHEAD)
        self._thread = threading.Thread(target=self._run, name="link-reader", daemon=True)

    # in the loader's thread

    def readings(self) -> Iterator[Reading]:
        """Read in a thread, and give what it reads, chunk by chunk."""
        self._thread.start()
        while reading := self._pipe.get():
            self.chunks.begin(reading.chunk)
            yield reading
            self._ahead.give()

    def stop(self, failed: bool = False) -> None:
        """Stop claiming and reading, and wait until nothing is under way; stop that, too, where all has ``failed``."""
        self.chunks.stop.set()
        while self._thread.is_alive():
            self._thread.join(1 if failed else None)
            if self._thread.is_alive():
                for session in (self.session, self.run.home, *self.chunks.sessions):
                    session.cancel()

    def leave(self) -> None:
        """Stop after the chunk that is being read, which nobody wants: the session may be used again."""
        self._pipe.leaks.set()
        self.chunks.stop.set()
        self._thread.join()
        self.session.rollback()

    # in the reader's thread

    def _run(self) -> None:
        try:
            with final():  # a signal would be taken to be about one chunk, and more be waited for
                for claimed in self.chunks:
                    if self.chunks.stop.is_set():
                        break
                    for chunk in self.adopter.adopt(claimed):
                        self._pipe.put(Reading(chunk, len(self.tables), self._pipe))
                        self._read(chunk)
            self._pipe.put(None)
        except _Shut:
            pass
        except BaseException as error:
            with contextlib.suppress(_Shut):
                self._pipe.put(error)

    def _read(self, chunk: Chunk) -> None:
        if not self._is_alone:  # of one table each read is a snapshot by itself
            self._await_turn()
            self.session.begin_snapshot()
        try:
            batch = self._begin_files(chunk) if self.files else None
            rows, size = self._send_rows(chunk)
        except (RowError, BusyError) as error:
            self.session.rollback()
            self._pipe.put(error)
        else:
            if not self._is_alone:
                self.session.execute("COMMIT")
            self._adapt(rows, size, batch)

    def _send_rows(self, chunk: Chunk) -> tuple[int, int]:
        """Send the rows of all tables, as many as the server counts; how many entities and bytes that were."""
        sizes = list[int]()

        def send(block: Block) -> None:
            sizes.append(block.size)
            self._pipe.put(block)

        numbers = self._count(chunk)
        for table, number in zip(self.tables, numbers, strict=True):
            rows = self.session.stream(table, self.holds.rows_of(table, chunk), self.form, send)
            if rows != number and not (self._is_alone and self._count_again(chunk) == rows):
                raise RowError(f"{rows} rows of {table.name} were read where there are {number}")
            if table is self.tables[-1]:
                # Claimed, and read: before the last of it is told, and anything kept.
                self.run.ends.require_held(self.session)
            self._pipe.put(rows)
        return numbers[0], sum(sizes)

    def _count(self, chunk: Chunk) -> list[int]:
        """How many rows of each table are to come.

        Of the master as many as were claimed: all of a range, or else as a rule, for some may be flagged by now.
        """
        if chunk.whole or self._is_alone:
            return [chunk.claimed, *self.holds.count_rows(self.session, self.tables[1:], chunk)]
        return self.holds.count_rows(self.session, self.tables, chunk)

    def _count_again(self, chunk: Chunk) -> int | None:
        return None if chunk.whole else self.holds.count_rows(self.session, self.tables, chunk)[0]

    def _await_turn(self) -> None:
        """Begin copies of files for so many chunks only before the first of them is loaded."""
        while self.files and not self._ahead.take():
            if self.chunks.stop.is_set():
                raise _Shut

    def _begin_files(self, chunk: Chunk) -> Batch:
        if chunk.whole and self.holds.has_others(self.session, chunk):
            raise RowError(f"other rows in a range of which {chunk.claimed} were claimed")
        rows_of = functools.partial(self.holds.rows_of, within=chunk)
        batch = self.files.begin(self.session, rows_of, thorough=self.chunks.resumed)
        self._pipe.put(batch)
        return batch

    def _adapt(self, rows: int, size: int, batch: Batch | None) -> None:
        bounds = [(CHUNK_BYTES, size)]
        if batch:
            # The blocks of a chunk wait together for its files.
            bounds = [(QUEUED_BLOCKS * BLOCK_BYTES, size), (CHUNK_FILES, batch.count), (CHUNK_FILE_BYTES, batch.size)]
        self.chunks.pace.adapt(rows, bounds)
