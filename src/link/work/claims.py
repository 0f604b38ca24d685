"""What is moved, chunk by chunk: every entity of a chunk is held before the chunk is handed out.

An iterator of chunks runs in the reader's thread. It also keeps a list of what it has claimed and nobody has begun to
load: whatever happens, that is let go of in the end.
"""

from __future__ import annotations

import bisect
import collections
import contextlib
import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from ..holds.holds import Holds
from ..model.ranges import ALL, EVERYTHING, Chunk, Key, Range, Selection
from ..model.states import PULLING
from ..servers.session import Session
from .retry import Idle, patiently
from .run import Run

#: A chunk ends at this many rows or about this many bytes, whichever comes first.
CHUNK_ROWS = 20_000
CHUNK_BYTES = 64_000_000
FIRST_CHUNK_ROWS = 64
#: Of that many bytes the first one may have this part, for what is known then may be old.
FIRST_OF_BYTES = 4
#: The last chunk that is claimed is shared by sessions down to this part of one.
PARTS = 8
#: A key, and how many entities of a range there are up to it.
Mark = tuple[Key, int]


class CalledOffError(Exception):
    """Copies are to end, for something has failed elsewhere."""


class PutOffError(CalledOffError):
    """What was to be copied is to be copied later: what it refers to is not what it was."""


class Pace:
    """How many rows the next chunk takes. The reader sets it; who claims reads it.

    Attributes
    ----------
    rows : int
        How many are claimed at a time.
    read : int
        How many may be read at a time, by those that were read.
    """

    def __init__(self) -> None:
        self.rows = self.read = FIRST_CHUNK_ROWS

    def foresee(self, entity_bytes: int) -> None:
        """Let the first chunk keep well within its bytes, where it is known about how long an entity is."""
        if entity_bytes:
            self.rows = self.read = max(
                FIRST_CHUNK_ROWS, min(CHUNK_BYTES // (FIRST_OF_BYTES * entity_bytes), CHUNK_ROWS)
            )

    def adapt(self, rows: int, bounds: Sequence[tuple[int, int]]) -> None:
        """Let the next chunk keep within bounds, from what a chunk of so many rows had of what is bounded."""
        fitting = [bound * rows // number for bound, number in bounds if number]
        self.rows = self.read = max(1, min(16 * self.read, *fitting, CHUNK_ROWS))

    def grow(self) -> None:
        """Let more be claimed at a time: of the last chunk was little to be read."""
        self.rows = min(16 * self.rows, CHUNK_ROWS)


class Chunks(ABC):
    """The chunks of one transfer.

    Parameters
    ----------
    run : Run
        A run that has recovered.
    selection : Selection
        What the transfer is about.

    Attributes
    ----------
    pace : Pace
        How large the next one is.
    stop : threading.Event
        Set when nothing more is to be claimed.
    resumed : bool
        Whether an earlier run may have copied files of what is moved.
    held_before : bool
        Whether what is moved was held before this pull.
    conflicts : str
        What becomes of what is local, and is not what the source has.
    expecting : threading.Event
        Set while entities that are local are to be expected: chunks are looked at before they are read.
    claims_ahead : bool
        Whether the run's own session claims while another one reads.
    founded : bool
        Whether what is moved has been brought what it refers to: of what the local server refuses for the want of that,
        somebody has just taken it away.
    """

    resumed = False
    held_before = False
    founded = False
    claims_ahead = True

    def __init__(self, run: Run, selection: Selection, conflicts: str) -> None:
        self.conflicts = conflicts
        self.expecting = threading.Event()
        self.run = run
        self.holds = run.holds
        self.selection = selection
        self.pace = Pace()
        self.stop = threading.Event()
        # Claimed or about to be, not yet begun to load; threads add and remove single items.
        self._waiting: dict[tuple[Key | None, Key | None], Chunk] = {}

    @property
    def lets_go(self) -> bool:
        """Whether what is local and not what the source has is let go of."""
        return self.conflicts in ("skip", "raise")

    @abstractmethod
    def __iter__(self) -> Iterator[Chunk]:
        """The chunks, in the order of keys."""

    #: Sessions at the source that claim, beside the run's own.
    sessions: Sequence[Session] = ()

    @property
    def sessions_wanted(self) -> int:
        """How many more sessions at the source are of use."""
        return 0

    def begin(self, chunk: Chunk) -> None:
        """From now on the loader answers for a chunk."""
        self._waiting.pop((chunk.after, chunk.upto), None)

    def give_back(self, chunk: Chunk) -> None:
        """Nothing of a chunk was loaded: it is to be let go of."""
        self._waiting[chunk.after, chunk.upto] = chunk

    @property
    def waiting(self) -> list[Chunk]:
        """What is held and was not begun; to be asked when nothing is claimed any more."""
        return list(self._waiting.values())


class Unfinished(Chunks):
    """What this run has in hand already: what recovery has found, and what is held again.

    An earlier run may have copied it before it was edited at the source. So nothing that is local is let go of.
    """

    resumed = held_before = True

    def __init__(self, run: Run, selection: Selection, conflicts: str) -> None:
        super().__init__(run, selection, "replace" if conflicts == "replace" else "keep")

    def __iter__(self) -> Iterator[Chunk]:
        after: Key | None = None
        while keys := self.holds.mine(PULLING, Range(after)).keys(self.run.home, self.pace.rows):
            yield Chunk(after, keys[-1], len(keys), keys=tuple(keys))
            after = keys[-1]


@dataclass
class _Share:
    """What is left of a lot for one who takes of it: from where, how many, and what of the lot lies before."""

    within: Range
    left: int
    before: int = 0


class Lot:
    """What a run has in hand of a group, or of a range of it, cut into chunks as they are taken.

    Who takes of it goes from one key to the next, far from others: rows that come here side by side would hinder one
    another. Who has come to the end goes on with half of what another one has left.

    Parameters
    ----------
    within : Range
        The range.
    number : int
        How many entities that are.
    marks : sequence of Mark
        Where some numbers of these entities end, as far as that is known.
    there : int or None
        How many rows the source had there a moment ago, held by whomever, if it was asked.
    takers : int
        How many take of it.
    taken : callable
        Told when nothing is left.
    """

    def __init__(
        self,
        within: Range,
        number: int,
        marks: Sequence[Mark] = (),
        there: int | None = None,
        takers: int = 1,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        self.number, self.takers, self._there, self._marks, self._taken = number, takers, there, marks, taken
        self._unshared: list[_Share] = [_Share(within, number)]
        self._shares: dict[object, _Share] = {}
        self._taking = threading.Lock()

    def take(self, taker: object, holds: Holds, session: Session, rows: int) -> Chunk | None:
        """The next chunk of about so many rows, if there is one; of none, where there are not as many as there were."""
        rows = min(rows, max(-(-self.number // self.takers), 1))  # all of them find some
        with self._taking:
            if not (share := self._share_of(taker, holds, session, rows)):
                return None
            within, left = share.within, share.left
            mine = holds.mine(PULLING, within)
            upto: Key | None = None
            # Of a few, or up to a mark, it is known how many there are: where it is not so any more, it is noticed.
            size = rows
            if mark := self._last_mark(share.before, size) if left > size else None:
                upto, size = mark[0], mark[1] - share.before
            elif left > size:
                upto = mine.unguessed.key_at(session, size - 1)
            claimed = size if upto else left if left <= size else mine.count(session)
            if upto:
                self._shares[taker] = _Share(Range(upto, within.upto), left - claimed, share.before + claimed)
            else:
                del self._shares[taker]
            is_over = not self._shares
            is_known = self._there is not None and claimed == self.number
        if is_over:
            self._taken()
        end = upto or within.upto
        if end is None and not is_known and claimed > FIRST_CHUNK_ROWS:
            end = mine.unguessed.last(session)  # behind it may lie what is not selected
        chunk = Chunk(within.after, end, claimed)
        if not claimed:
            return chunk
        return replace(chunk, whole=claimed == self._there if is_known else not holds.has_others(session, chunk))

    def _share_of(self, taker: object, holds: Holds, session: Session, rows: int) -> _Share | None:
        """What is left for one who takes; half of what another one has, if that is much."""
        if taker not in self._shares:
            if self._unshared:
                self._shares[taker] = self._unshared.pop()
            elif self._shares:
                self._share(taker, holds, session, max(rows // PARTS, 1))
        return self._shares.get(taker)

    def _share(self, taker: object, holds: Holds, session: Session, least: int) -> None:
        other = max(self._shares, key=lambda each: self._shares[each].left)
        share = self._shares[other]
        if (half := share.left // 2) < least:
            return
        mark = self._last_mark(share.before, half)
        if mark:
            half = mark[1] - share.before
        if upto := mark[0] if mark else holds.mine(PULLING, share.within).unguessed.key_at(session, half - 1):
            self._shares[other] = _Share(Range(share.within.after, upto), half, share.before)
            self._shares[taker] = _Share(Range(upto, share.within.upto), share.left - half, share.before + half)

    def _last_mark(self, before: int, size: int) -> Mark | None:
        """The last mark within so many entities behind some."""
        nth = bisect.bisect_right(self._marks, before + size, key=lambda mark: mark[1]) - 1
        return self._marks[nth] if nth >= 0 and self._marks[nth][1] > before else None


class Held(Chunks):
    """What this run has in hand of a group of a pipeline, all of it held by now, and what it stands on.

    Parameters
    ----------
    lot : Lot
        What that is; others may take of it, too.
    resumed : bool
        Whether some of it was in hand of an earlier run, or has been here before.
    over : threading.Event
        Set when no more is to be copied.
    founded : bool
        Whether what it refers to has been brought here.
    held_before : bool
        Whether it was held before this pull.
    """

    claims_ahead = False

    def __init__(
        self,
        run: Run,
        conflicts: str,
        resumed: bool,
        lot: Lot,
        *,
        over: threading.Event,
        founded: bool,
        held_before: bool,
    ) -> None:
        super().__init__(run, ALL, "keep" if resumed and conflicts != "replace" else conflicts)
        self.resumed, self.founded, self.held_before = resumed, founded, held_before
        self._lot, self._over = lot, over

    def __iter__(self) -> Iterator[Chunk]:
        session = self.run.home
        while not self.stop.is_set():
            if self._over.is_set():
                raise CalledOffError("A copy was called off.")
            if (chunk := self._lot.take(self, self.holds, session, self.pace.rows)) is None:
                return
            if chunk.claimed:
                # What another run may take over meanwhile is taken back by its key, where others lie between.
                keys = () if chunk.whole else tuple(self.holds.mine(PULLING, chunk).keys(session))
                self.give_back(chunk)
                yield replace(chunk, claimed=chunk.claimed if chunk.whole else len(keys), keys=keys)


class Claims(Chunks):
    """What nobody holds of a range, claimed chunk by chunk; at most so many entities, where there is a limit.

    ``claimers`` is how many sessions claim at a time, where that is not what is best beside copies. With ``copied`` the
    chunks are read as they come: it is told of each whether other rows lie between.
    """

    def __init__(
        self,
        run: Run,
        selection: Selection,
        conflicts: str,
        within: Range = EVERYTHING,
        limit: int | None = None,
        claimers: int | None = None,
        copied: bool = True,
    ) -> None:
        super().__init__(run, selection, conflicts)
        self.within = within
        self.limit, self.copied = limit, copied
        claimers = claimers or run.ends.source.dialect.claimers
        self._turns = threading.Semaphore(claimers)
        # One session more than may claim, which is the run's own: it looks where the next chunk ends.
        self._wanted = claimers if limit is None else 0

    @property
    def sessions_wanted(self) -> int:
        return self._wanted

    def __iter__(self) -> Iterator[Chunk]:
        chunks = self._ahead() if self.limit is None else self._one_by_one(self.limit)
        return (chunk for chunk in chunks if chunk.claimed)

    def _ahead(self) -> Iterator[Chunk]:
        """Claim the next chunks while this one is read: most of a claim is the server's work on the foreign key."""
        left, idle = _Left(self.within), Idle([self.run.home, *self.sessions])
        turns = itertools.count()
        # The first is read before others are claimed: from it is known how long rows are.
        if self.copied and (chunk := self._next(left, idle, next(turns))):
            yield chunk
        number = 1 + len(self.sessions)
        with ThreadPoolExecutor(number, "link-claimer") as pool:
            under_way = collections.deque[Future[Chunk | None]](
                pool.submit(self._next, left, idle, next(turns)) for _ in range(number)
            )
            while under_way:
                if chunk := under_way.popleft().result():
                    under_way.append(pool.submit(self._next, left, idle, next(turns)))
                    yield chunk

    def _next(self, left: _Left, idle: Idle, turn: int) -> Chunk | None:
        with idle.borrow() as session:
            with left.taking(turn):
                if self.stop.is_set() or left.range is None:
                    return None
                within, rows = left.range, self.pace.rows
                upto, free = self.holds.next_claim(session, self.selection, within, rows)
                if upto is None and not self.copied and within != self.within:
                    upto, rows = self._shared(session, within)
                left.range = Range(upto, within.upto) if upto else None
            return self._claim(session, within, upto, rows, free)

    def _shared(self, session: Session, within: Range) -> tuple[Key | None, int]:
        """Where the half of the last rows ends, if they are many: else all but one session would rest meanwhile."""
        rows = self.holds.selected(self.selection, within)
        number = rows.count(session) // 2
        return (rows.key_at(session, number - 1), number) if number > CHUNK_ROWS // PARTS else (None, number)

    def _one_by_one(self, limit: int) -> Iterator[Chunk]:
        within: Range | None = self.within
        while within and limit > 0:
            size = min(self.pace.rows, limit)
            upto, free = self.holds.next_claim(self.run.home, self.selection, within, size)
            chunk = self._claim(self.run.home, within, upto, size, free)
            yield chunk
            within, limit = Range(upto, within.upto) if upto else None, limit - chunk.claimed

    def _claim(self, session: Session, within: Range, upto: Key | None, rows: int, free: bool) -> Chunk:
        """Claim a range up to a key, with so many rows of the selection to hold, or, without one, to its end.

        Of a ``free`` range is known that nobody holds anything there.
        """
        chunk = Chunk(within.after, upto or within.upto)
        # Listed before it is claimed: whatever happens then, it is let go of in the end.
        self.give_back(chunk)
        with self._turns:
            claimed = patiently(lambda: self.holds.claim(session, self.selection, chunk, mixed=not free))
        chunk = replace(chunk, claimed=claimed)
        all_known = free and upto is not None and not self.selection and claimed == rows
        whole = claimed > 0 and (all_known or (self.copied and not self.holds.has_others(session, chunk)))
        return replace(chunk, whole=whole)


class _Left:
    """What is left to be cut into chunks; None when nothing is. Who claims takes of it when it is her turn."""

    def __init__(self, within: Range) -> None:
        self.range: Range | None = within
        self._turn = 0
        self._over = threading.Condition()

    @contextlib.contextmanager
    def taking(self, turn: int) -> Iterator[None]:
        """Take the next range, in the order of turns: threads begin in any."""
        with self._over:
            self._over.wait_for(lambda: self._turn == turn)
            try:
                yield
            finally:
                self._turn += 1
                self._over.notify_all()
