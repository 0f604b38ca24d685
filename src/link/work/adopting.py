"""What is local already when a pull comes to it: held as it is where it is the same, and else as ``conflicts=`` says.

Nothing is read of what is here. It is held first, like all that is pulled, then compared, and only then finished.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..errors import ConflictError, ConnectionLimitError
from ..model.ranges import Chunk, Key, Selection
from ..model.results import PullResult
from ..model.states import ABANDON_PULL, FINISH_PULL, PULLING, Transition
from ..servers.keyed import Segment
from ..servers.session import Session
from ..signals import RowError
from .claims import Chunks
from .comparing import Comparison
from .retry import patiently
from .run import Run
from .tally import Tally

logger = logging.getLogger("link")

#: Why conflicts are skipped, in words.
OTHER_CONTENT = "local with another content"
#: What can be done about conflicts.
WAYS_ON = (
    "Delete the local rows, or give them other keys; or say what is to become of them: conflicts='keep' holds them as "
    "they are, 'skip' leaves them alone, 'replace' brings them to the source's content."
)
#: So many conflicts are shown.
SHOWN = 3
#: Applies a transition to some entities; how many its guard admits.
Mark = Callable[[Transition, Sequence[Key]], int]


class Meeting:
    """What becomes of entities in hand that are local.

    Parameters
    ----------
    run : Run
        Whose they are; by its sessions they are compared.
    chunks : Chunks
        What is moved.
    tally : Tally
        Where to count.
    """

    def __init__(self, run: Run, chunks: Chunks, tally: Tally) -> None:
        self.run = run
        self.chunks = chunks
        self.tally = tally
        self.both = Comparison(run)

    def meet(self, keys: Sequence[Key], mark: Mark) -> None:
        """Entities of the chunk in hand that are local, and that nobody has held unless the chunk was resumed.

        Raises
        ------
        ConflictError
            Some are not what the source has, and the word is ``"raise"``: they are let go of.
        """
        if not keys:
            return
        self.chunks.expecting.set()
        run, word = self.run, self.chunks.conflicts
        differing = self.both.unequal(keys)
        let_go = set(differing) if self.chunks.lets_go else set()
        if let_go and mark(ABANDON_PULL, sorted(let_go)) < len(let_go):
            let_go -= run.holds.helper.existing(run.home, sorted(let_go))  # flagged meanwhile
        mark(FINISH_PULL, [key for key in keys if key not in let_go])
        kept = [key for key in differing if key not in let_go]
        if word != "replace":
            for key in kept:
                logger.warning("%s: %s is local and differs from the source; left as it is", run.name, run.as_dict(key))
        self.tally.meet(
            len(keys) - len(differing),
            [] if word == "replace" else [run.as_dict(key) for key in kept],
            kept if word == "replace" else [],
            resumed=self.chunks.resumed and bool(run.former),
            before=self.chunks.held_before,
        )
        if let_go and word == "raise":
            raise conflict(self.both, differing, "What was pulled stays, and these are not held.")
        if let_go:
            self.tally.skip(OTHER_CONTENT, len(let_go))


class Adopter:
    """Looks at chunks before they are read, in the reader's thread: what is here already need not travel.

    Parameters
    ----------
    run : Run
        Whose chunks they are.
    chunks : Chunks
        What is moved.
    session : Session
        The reader's, at the source.
    tally : Tally
        Where to count.
    """

    def __init__(self, run: Run, chunks: Chunks, session: Session, tally: Tally) -> None:
        self.run = run
        self.chunks = chunks
        self.session = session
        self.tally = tally
        self._meeting: Meeting | None = None

    def adopt(self, chunk: Chunk) -> Iterator[Chunk]:
        """Finish what is local of a chunk; what is left to be copied, in pieces no longer than may be read at once."""
        if self.chunks.resumed or not self.chunks.expecting.is_set():
            yield chunk
            return
        left = self._adopt(chunk)
        if left is not chunk:
            self.chunks.pace.grow()
        while left.claimed > (size := self.chunks.pace.read):
            upto = self.run.holds.mine(PULLING, left).unguessed.key_at(self.session, size - 1)
            if upto is None:  # a deletion has taken over some
                break
            piece, rest = replace(left, upto=upto, claimed=size), replace(left, after=upto, claimed=left.claimed - size)
            for waiting in (piece, rest):
                self.chunks.give_back(waiting)
            self.chunks.begin(left)
            yield piece
            left = rest
        if left.claimed:
            yield left
        else:
            self.chunks.begin(left)

    def _adopt(self, chunk: Chunk) -> Chunk:
        try:
            meeting = self._meeting = self._meeting or self._open()
        except ConnectionLimitError:
            return chunk
        run = meeting.run
        try:
            here = Segment(run.rows, chunk).count(run.local)
            if not here:
                return chunk
            if here >= chunk.claimed and meeting.both.is_same_range(chunk):
                # Whatever else lies there, held before or not selected, is the same as well.
                finished = patiently(lambda: run.holds.apply(self.session, FINISH_PULL, chunk))
                self.tally.meet(finished)
                return replace(chunk, claimed=0)
        except RowError:
            logger.debug("%s: keys up to %s are none that the local server could have", run.name, chunk.upto)
        keys = run.holds.mine(PULLING, chunk).keys(self.session)
        present = meeting.both.present(keys)
        meeting.meet([key for key in keys if key in present], self._mark)
        return replace(chunk, claimed=len(keys) - len(present), whole=False) if present else chunk

    def _open(self) -> Meeting:
        return Meeting(self.run.beside(self.session, self.run.open(self.run.ends.local)), self.chunks, self.tally)

    def _mark(self, transition: Transition, keys: Sequence[Key]) -> int:
        return patiently(lambda: self.run.holds.apply(self.session, transition, keys))


def look(run: Run, selection: Selection, result: PullResult) -> None:
    """Look for conflicts before anything is held: a dry run counts them.

    Raises
    ------
    ConflictError
        There are some, and the run is no dry one.
    """
    both = Comparison(run)
    conflicts: list[Key] = []
    for keys in both.met(selection):
        differing = both.unequal(keys)
        conflicts += differing
        if result.dry_run:
            result.adopted += len(keys) - len(differing)
    if result.dry_run:
        result.differing += map(run.as_dict, conflicts)
    elif conflicts:
        raise conflict(both, conflicts, "Nothing was pulled or held.")


def conflict(both: Comparison, keys: Sequence[Key], done: str) -> ConflictError:
    """An error that tells of conflicts: how many, the first of them, and what differs."""
    run, first = both.run, keys[:SHOWN]
    master = run.mapping.local.master
    shown = ", ".join(str(run.as_dict(key)) for key in first) + (", ..." if len(keys) > SHOWN else "")
    return ConflictError(
        f"{len(keys):,} entities of {master.schema}.{master.name} are local, not held, and not what {run.name} has at "
        f"the source: {shown}. What differs there: {', '.join(both.differing_columns(first))}.",
        f"{done} pull(dry_run=True) names all of them (.differing). {WAYS_ON}",
    )
