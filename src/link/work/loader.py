"""Step 3: one local transaction a chunk, in the thread that called the pull."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterable, Iterator

from ..errors import HelperMismatchError, StoreError
from ..files.copies import Batch, Files
from ..files.objects import ObjectError
from ..model.ranges import Key
from ..model.schema import Table
from ..servers.session import BLOCK_BYTES, Block, Form
from ..signals import BusyError, OrphanError, RowError
from .adopting import Meeting
from .careful import CarefulLoader, require_all
from .claims import Chunks
from .marker import Marker
from .reader import Reading
from .run import Run
from .tally import Tally

logger = logging.getLogger("link")


class Loader:
    """Loads readings: as a whole where the local server takes them, else by halves.

    Parameters
    ----------
    run : Run
        Whose rows they are.
    chunks : Chunks
        Takes back a chunk of which nothing was loaded.
    form : Form
        How rows travel.
    files : Files
        Copies the files that rows name.
    marker : Marker
        Waited for where it lends its session.
    tally : Tally
        Where to count.
    """

    def __init__(self, run: Run, chunks: Chunks, form: Form, files: Files, marker: Marker, tally: Tally) -> None:
        self.run = run
        self.chunks = chunks
        self.form = form
        self.files = files
        self.marker = marker
        self.tally = tally
        meeting = Meeting(run.beside(marker.session), chunks, tally)
        self.careful = CarefulLoader(run, form, files, marker, tally, meeting)

    def load(self, reading: Reading) -> int:
        """Load a chunk; how many entities were moved."""
        batch, failed = None, dict[Key, ObjectError]()
        self.marker.begin()
        try:
            if self.files:
                batch, failed = self._await_files(reading)
                for error in failed.values():
                    raise error
            return self._load_tables(reading, batch)
        except HelperMismatchError:
            self.chunks.give_back(reading.chunk)
            raise
        except (RowError, BusyError) as error:
            reading.skip()
            if isinstance(error, OrphanError) and self.chunks.founded:
                self.chunks.give_back(reading.chunk)
                raise
            logger.debug("%s: the chunk goes row by row: %s", self.run.name, error.what)
            self.marker.wait()
            for key, failure in failed.items():
                self.careful.refuse(key, failure)
            return self.careful.load(reading.chunk, batch)
        finally:
            self.tally.result.bytes += reading.bytes

    def _await_files(self, reading: Reading) -> tuple[Batch, dict[Key, ObjectError]]:
        """The files of a chunk once they are copied, and the entities of which some cannot be had."""
        try:
            batch = reading.files()
            return batch, batch.wait()
        except (StoreError, KeyboardInterrupt):
            self.chunks.give_back(reading.chunk)
            raise

    def _load_tables(self, reading: Reading, batch: Batch | None) -> int:
        local, is_exact = self.run.local, self.run.ends.is_exact
        tables = [pair.here for pair in self.run.mapping.tables]
        incoming: list[Iterable[Block]] = [reading.blocks() for _ in tables]
        alone = False
        if local.dialect.loads_whole and len(tables) == 1 and not batch and is_exact:
            alone, incoming[0] = _is_alone(reading.blocks())
        # One block is a transaction by itself: over a long wire each of three would wait for its answer.
        with contextlib.nullcontext() if alone else local.transaction():
            loaded = [self._load(here, blocks, reading) for here, blocks in zip(tables, incoming, strict=True)]
            if batch:
                batch.rewrite(local)
            if not is_exact:
                self.marker.wait()
                self.careful.require_same(reading.chunk, loaded[0])
        return self.tally.count(loaded)

    def _load(self, here: Table, blocks: Iterable[Block], reading: Reading) -> int:
        loaded = self.run.local.load(here, blocks, self.form)
        require_all([here], [reading.rows[-1]], [loaded])
        return loaded


def _is_alone(blocks: Iterator[Block]) -> tuple[bool, Iterator[Block]]:
    """Whether there is one block and no more, as far as a look ahead costs little; and all of them."""
    begun = list(itertools.islice(blocks, 1))
    if begun and begun[0].size < BLOCK_BYTES:
        begun += itertools.islice(blocks, 1)
        return len(begun) == 1, itertools.chain(begun, blocks)
    return False, itertools.chain(begun, blocks)
