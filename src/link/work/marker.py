"""Step 4: what was copied is finished at the source, beside the loading of the next chunk."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from ..model.ranges import ALL, Chunk, Key, Selection
from ..model.states import ABANDON_PULL, FINISH_PULL, PULLING, SHARED, Transition
from ..servers.session import Session
from .comparing import Comparison
from .recovery import Recovery
from .retry import patiently
from .run import Run
from .tally import Tally

logger = logging.getLogger("link")


class Marker:
    """Marks the helper rows of a transfer, on a session and in a thread of its own.

    The loader's thread may use the session, and marks rows one by one, after it has waited (:meth:`wait`).

    Parameters
    ----------
    run : Run
        Whose rows they are.
    selection : Selection
        What the transfer is about.
    session : Session
        At the source.
    tally : Tally
        Where to count.
    """

    def __init__(self, run: Run, selection: Selection, session: Session, tally: Tally) -> None:
        self.run = run
        self.holds = run.holds
        self.selection = selection
        self.session = session
        self.tally = tally
        self._thread = ThreadPoolExecutor(1, "link-marker")
        self._under_way: Future[None] | None = None
        # The loader's thread: how many of the chunk in hand it has finished or let go of one by one.
        self._marked = 0
        # The marker's thread adds to these; the loader's looks at them in the end.
        self._unsettled: list[Chunk] = []
        self._taken: list[Chunk] = []

    # in the loader's thread

    def begin(self) -> None:
        """Another chunk is in hand."""
        self._marked = 0

    def finish(self, chunk: Chunk, moved: int) -> None:
        """Finish a chunk of which so many entities were copied, once the one before is finished."""
        self.wait()
        self._under_way = self._thread.submit(self._finish, chunk, moved, self._marked)

    def wait(self) -> None:
        """Wait until nothing is being marked; raises what has gone wrong."""
        if under_way := self._under_way:
            under_way.result()
            self._under_way = None

    def mark(self, transition: Transition, keys: Sequence[Key]) -> int:
        """Apply a transition to some entities of the chunk in hand; how many its guard admits."""
        marked = patiently(lambda: self.holds.apply(self.session, transition, keys))
        self._marked += marked
        return marked

    def let_go(self, waiting: Sequence[Chunk]) -> None:
        """In the end: let go of what is held and was not begun, and finish what was taken back and is local."""
        for chunk in waiting:
            self._let_go(chunk)
        for chunk in self._taken:
            self.mark(FINISH_PULL, sorted(self._let_go(chunk)))

    def _let_go(self, chunk: Chunk) -> set[Key]:
        """Let go of what is held in a chunk and not local; the keys of what is."""
        keys = self.holds.mine(PULLING, chunk).keys(self.session)
        present = Comparison(self.run).present(keys)
        self.mark(ABANDON_PULL, [key for key in keys if key not in present])
        return present

    def settle(self) -> None:
        """More was finished than was copied: what has been flagged meanwhile. Anything else shall not go unnoticed."""
        if self._unsettled:
            Recovery(self.run).settle()
        for chunk in self._unsettled:
            keys = self.holds.saying(SHARED, within=chunk).keys(self.run.home)
            both = Comparison(self.run)
            present = both.present(keys)
            # Others may have deleted or flagged some while we looked.
            missing = both.still_shared([key for key in keys if key not in present])
            if missing:
                logger.warning(
                    "%s: %d entities are held and were not copied, %s among them; the next pull tries again",
                    *(self.run.name, len(missing), self.run.as_dict(min(missing, key=repr))),
                )

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    # in the marker's thread

    def _finish(self, chunk: Chunk, moved: int, marked: int) -> None:
        finished = patiently(lambda: self.holds.apply(self.session, FINISH_PULL, chunk))
        logger.debug("%s: chunk up to %s: %d copied, %d finished", self.run.name, chunk.upto, moved, finished)
        if finished > moved:
            self._unsettled.append(chunk)
        self.tally.finished += moved
        if (missing := chunk.claimed - marked - finished) > 0:
            # Another run has deleted them, or has adopted them since this one was taken for dead. They may have been
            # released before they were loaded here: never leave them unheld.
            logger.warning("%s: another run took over %d entities of this one", self.run.name, missing)
            self._taken.append(chunk)
            patiently(functools.partial(self._take_back, chunk))

    def _take_back(self, chunk: Chunk) -> None:
        if chunk.keys:
            self.holds.claim_keys(self.session, ALL, chunk.keys)
        else:
            self.holds.claim(self.session, self.selection, chunk)
