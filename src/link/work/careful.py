"""Step 3 again, for a chunk that was refused: entities that are there already, or that the local server cannot hold."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from ..errors import TransferError
from ..files.copies import Batch, Files
from ..model.ranges import Chunk, Key, Range
from ..model.schema import Table
from ..model.states import ABANDON_PULL, FINISH_PULL, PULLING
from ..servers.session import Block, Form
from ..signals import OrphanError, RowError
from .adopting import Meeting
from .comparing import OTHERWISE, Comparison
from .marker import Marker
from .retry import patiently
from .run import Run
from .tally import Tally

logger = logging.getLogger("link")


def require_all(tables: Iterable[Table], sent: Sequence[int], loaded: Sequence[int]) -> None:
    """Raise TransferError where the local server took other rows than it was sent, of each table so many."""
    for table, number, taken in zip(tables, sent, loaded, strict=True):
        if taken != number:
            raise TransferError(
                f"The local server took {taken} of {number} rows of {table.schema}.{table.name}; nothing of them was "
                "kept.",
                "Does a trigger there change what is written?",
            )


class CarefulLoader:
    """Loads a chunk by halves, down to single entities; in the loader's thread, on the marker's session.

    Parameters
    ----------
    run : Run
        Whose rows they are.
    form : Form
        How rows travel.
    files : Files
        Copies the files that rows name.
    marker : Marker
        Marks entities one by one, and lends its session: it must rest.
    tally : Tally
        Where to count.
    meeting : Meeting
        Says what becomes of entities that are local.
    """

    def __init__(self, run: Run, form: Form, files: Files, marker: Marker, tally: Tally, meeting: Meeting) -> None:
        self.run = run
        self.holds = run.holds
        self.form = form
        self.files = files
        self.marker = marker
        self.tally = tally
        self.meeting = meeting

    def load(self, chunk: Chunk, batch: Batch | None) -> int:
        """Load what can be loaded of a chunk; how many entities that were."""
        self.run.ends.require_held(self.marker.session)
        keys = self._without_present(self.holds.mine(PULLING, chunk).keys(self.marker.session))
        # Not the chunk itself: what was alone in its range need not be by now.
        return self._load(Range(chunk.after, chunk.upto), keys, batch)

    def refuse(self, key: Key, error: RowError) -> None:
        """Let go of an entity that cannot be had, and keep the error."""
        if not self.marker.mark(ABANDON_PULL, [key]):
            self.tally.refused_held += self.marker.mark(FINISH_PULL, [key])  # flagged meanwhile
        self.tally.result.errors.append(
            self.run.refused(key, error, so="It is not shared and not held.", suppressed="pulls")
        )

    def require_same(self, within: Range, loaded: int) -> None:
        """Raise RowError where rows just loaded, so many of the master's, are not what the source has.

        Columns that cannot hold all of the source's values may take another for one: of a text without the spaces at
        its end, or of a number with fewer digits, no server complains.
        """
        keys = self.holds.mine(PULLING, within).keys(self.marker.session)
        both = Comparison(self.run)
        here = sorted(both.present(keys))
        if len(here) != loaded or both.differing(here, self.marker.session):
            raise RowError(OTHERWISE)

    def _without_present(self, keys: Sequence[Key]) -> list[Key]:
        present = Comparison(self.run).present(keys)
        self.meeting.meet([key for key in keys if key in present], self.marker.mark)
        return [key for key in keys if key not in present]

    def _load(self, within: Range, keys: Sequence[Key], known: Batch | None) -> int:
        if not keys:
            return 0
        try:
            return self._load_at_once(within, known)
        except RowError as error:
            if isinstance(error, OrphanError) and self.meeting.chunks.founded:
                raise
            # A lost session, or a run that was taken for dead, may have brought them just now: they stay held.
            left = self._without_present(keys)
            if len(left) < len(keys):
                return self._load(within, left, known)
            if len(keys) == 1:
                self.refuse(keys[0], error)
                return 0
        middle = len(keys) // 2
        first = self._load(Range(within.after, keys[middle - 1]), keys[:middle], known)
        return first + self._load(Range(keys[middle - 1], within.upto), keys[middle:], known)

    def _load_at_once(self, within: Range, known: Batch | None) -> int:
        source = self.marker.session
        with source.transaction(snapshot=True):
            batch = self.files.begin(source, lambda there: self.holds.rows_of(there, within), True, known)
            read = self._read([pair.there for pair in self.run.mapping.tables], within)
        for failure in batch.wait().values():
            raise failure
        return patiently(lambda: self._insert(read, batch, within))

    def _read(self, tables: Sequence[Table], within: Range) -> list[tuple[list[Block], int]]:
        """Of each table its rows, and how many they are."""
        read = list[tuple[list[Block], int]]()
        source = self.marker.session
        for table, number in zip(tables, self.holds.count_rows(source, tables, within), strict=True):
            blocks = list[Block]()
            read.append((blocks, number))
            sent = source.stream(table, self.holds.rows_of(table, within), self.form, blocks.append)
            if sent != number:
                raise TransferError(
                    f"The source server sent {sent} of {number} rows of {table.schema}.{table.name}; nothing of them "
                    "was kept.",
                    "Something in between, or a limit there, cuts what is read.",
                )
        return read

    def _insert(self, read: Sequence[tuple[Sequence[Block], int]], batch: Batch, within: Range) -> int:
        local, pairs = self.run.local, self.run.mapping.tables
        with local.transaction():
            loaded = [local.load(pair.here, blocks, self.form) for pair, (blocks, _) in zip(pairs, read, strict=True)]
            require_all((pair.here for pair in pairs), [number for _, number in read], loaded)
            batch.rewrite(local)
            if not self.run.ends.is_exact:
                self.require_same(within, loaded[0])
        return self.tally.count(loaded)
