"""The transfer: claims, a reader, a loader and a marker, at work together.

For each chunk of keys, in the order of the source's primary key:

1. source: INSERT ... SELECT the keys into the helper table (process PULL): held before copied (:mod:`.claims`)
2. source: read master and parts in one snapshot, each row rendered in the local server's language (:mod:`.reader`)
3. local: one transaction: master rows, then parts; what files they name is complete in the local stores before
   (:mod:`.loader`, and :mod:`.careful` where the local server refuses some)
4. source: UPDATE process = NONE, guarded (:mod:`.marker`)

A reader thread does 1 and 2 of the next chunks while the caller's does 3, and 4 runs beside it. Between any two of
these statements the process may be killed: the next operation goes on from what the helper table says.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from ..errors import ConnectionLimitError, HelperMismatchError, LinkError, UnreachableError
from ..files.copies import Files
from ..progress import Bar
from ..servers.dialect import Dialect
from ..servers.session import Form
from .adopting import Adopter
from .claims import Chunks, PutOffError
from .loader import Loader
from .marker import Marker
from .reader import Reader
from .run import Run
from .tally import Tally

logger = logging.getLogger("link")


#: Sessions at the source without which no pull goes: the run's own, the reader's, the marker's.
FEWEST_SESSIONS = 3


def at_once() -> None:
    """Nothing is waited for, and nobody waits."""


def sessions_at_source(dialect: Dialect) -> int:
    """How many sessions a pull has open at a source of some kind at a time, beside DataJoint's own connection.

    The run's own, which also claims; the reader's; the marker's; and those that claim beside the run's.
    """
    return FEWEST_SESSIONS + dialect.claimers


class Transfer:
    """Moves chunks of entities, all of which are held before they are moved.

    Parameters
    ----------
    run : Run
        A run that has recovered.
    chunks : Chunks
        What is moved: what this run has in hand already, or what nobody holds. Never both at once: what is claimed
        meanwhile must not get into the range of a chunk that is being finished.
    files : Files
        Copies the files that rows name.
    tally : Tally
        Where to count.
    """

    def __init__(self, run: Run, chunks: Chunks, files: Files, tally: Tally) -> None:
        self.run = run
        self.chunks = chunks
        self.files = files
        self.tally = tally

    def move(
        self,
        bar: Bar,
        suppress_errors: bool,
        wait: Callable[[], None] = at_once,
        arrived: Callable[[], None] = at_once,
    ) -> None:
        """Move everything. On an error nothing is under way any more; what was only claimed is the caller's.

        It is read and not loaded while there is something to ``wait`` for, which may put it off. Once all of it is
        here, and some perhaps not finished at the source, it is told that it has ``arrived``.
        """
        run, errors = self.run, self.tally.result.errors
        self._open()
        with contextlib.closing(self.marker):
            try:
                for reading in self.reader.readings():
                    wait()
                    moved = self.loader.load(reading)
                    self.marker.finish(reading.chunk, moved)
                    bar.update(moved)
                    if errors and not suppress_errors:
                        break
                else:
                    arrived()
            except PutOffError:
                self.reader.leave()
                run.give_back(run.ends.source, self._sessions)
                raise
            except BaseException as error:
                self._break_off()
                if isinstance(error, LinkError) and not isinstance(error, (UnreachableError, HelperMismatchError)):
                    # Tables that were exchanged show in many ways.
                    run.ends.require_held(self.marker.session)
                raise
            self._end()
        self.marker.settle()
        run.give_back(run.ends.source, self._sessions)
        if errors and not suppress_errors:
            raise errors[0][1]

    def _open(self) -> None:
        """Open sessions, and set up who uses which."""
        run, chunks = self.run, self.chunks
        source, local = run.ends.source, run.ends.local
        try:
            apart = int(chunks.claims_ahead)
            self._sessions = run.open_some(source, 1 + apart, 1 + apart + chunks.sessions_wanted)
            marking, *others = self._sessions
            reading, chunks.sessions = (others[0], others[1:]) if apart else (run.home, [])
        except ConnectionLimitError as error:
            raise ConnectionLimitError(
                error.what,
                f"A pull needs {FEWEST_SESSIONS} connections at the source beside DataJoint's own, and uses "
                f"{sessions_at_source(source.dialect)} where it gets them. {error.hint}",
            ) from error
        language = local.dialect.language_from(source.dialect)
        form = Form(language, run.local.block_bytes, local.dialect.exact_json)
        self.reader = Reader(run, chunks, reading, form, self.files, Adopter(run, chunks, reading, self.tally))
        self.marker = Marker(run, chunks.selection, marking, self.tally)
        self.loader = Loader(run, chunks, form, self.files, self.marker, self.tally)

    def _break_off(self) -> None:
        self.reader.stop(failed=True)
        with contextlib.suppress(Exception):  # of which something else is the reason, or which is the reason
            self.marker.wait()

    def _end(self) -> None:
        """Stop reading; let go of what was claimed and not begun."""
        self.reader.stop()
        self.marker.wait()
        self.marker.let_go(self.chunks.waiting)
