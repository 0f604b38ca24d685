"""The copies of a pipeline's pull: each group once those that it refers to are here, large ones in pieces.

What is copied is held by then, with all that it stands on (:mod:`.following`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ..ends.ends import Ends
from ..errors import ConnectionLimitError
from ..holds.together import in_other_hands
from ..model.graph import Name, label
from ..model.ranges import EVERYTHING, Range, Selection
from ..model.results import PullResult
from ..model.states import PULLING, UNFINISHED
from ..progress import Bar, bar_of_entities, no_bar
from ..servers.keyed import Segment
from ..servers.session import Session
from ..signals import OrphanError
from . import parallel
from .claims import CHUNK_ROWS, CalledOffError, Held, Mark
from .following import Following, Wanted
from .pull import replace_outdated
from .run import Run, persistently
from .tally import Tally
from .transfer import Transfer

logger = logging.getLogger("link")

#: Seconds between looks whether others are done.
PAUSE = 0.5
#: Groups that are copied at once, each over sessions of its own.
AT_ONCE = 4
#: Pieces of a large group that are copied at once: the local server checks the foreign keys of each by itself.
PIECES = 2


class Copies:
    """Copies what a run has in hand.

    Parameters
    ----------
    following : Following
        What the run has in hand.
    founded : bool
        Whether what is referred to has been brought here: where it is missing, somebody has just taken it away.
    """

    def __init__(self, following: Following, founded: bool) -> None:
        self.following, self.founded = following, founded
        self.runs, self.wanted, self.tallies = following.runs, following.wanted, following.tallies
        #: Set when copies are to end.
        self.over = threading.Event()
        self._in_use: list[Session] = []  # by threads that copy, each two at a time; spare ones are idle
        self._told = set[Name]()

    def copy(self, resumed: bool) -> None:
        """Copy what is in hand: each group once those that it refers to are here, some groups at once."""
        left = {name: number for name, number in self.following.in_hand.items() if number}
        total, shows = sum(left.values()), self.wanted.display_progress
        bar = bar_of_entities("", total, shows)
        busy = self._are_busy() if left else set()
        self.runs.home.expect([pair.there for name in left for pair in self.runs[name].mapping.tables])
        with bar:
            if self.wanted.workers > 1:
                self._copy_by_turns(left, bar, resumed, busy)
            else:
                self._copy_together(left, bar, resumed, busy)

    def _copy_by_turns(self, left: Mapping[Name, int], bar: Bar, resumed: bool, busy: set[Name]) -> None:
        """Copy one group after the other, each by several processes; no thread is at work when they are begun."""
        for name in (name for name in self.following.names if name in left):
            while self._must_wait(name, busy):
                time.sleep(PAUSE)
            if self._copy_group(name, bar, resumed):
                self.following.let_go_below([name])

    def _copy_together(self, left: dict[Name, int], bar: Bar, resumed: bool, busy: set[Name]) -> None:
        """Copy each group as soon as those that it refers to are here."""
        under_way: dict[Future[bool], Name] = {}
        room, alone = AT_ONCE, None
        with ThreadPoolExecutor(AT_ONCE, "link-gatherer") as pool:
            try:
                while left:
                    for name in [n for n in left if n not in under_way.values() and not self._stands_on(n, left)]:
                        if len(under_way) < room and not self._must_wait(name, busy):
                            alone = name if room == 1 else None
                            under_way[pool.submit(self._copy_group, name, bar, resumed)] = name
                    if not under_way:
                        time.sleep(PAUSE)
                    for future in wait(under_way, PAUSE if busy else None, FIRST_COMPLETED).done:
                        name = under_way.pop(future)
                        try:
                            has_lost = future.result()
                        except ConnectionLimitError:
                            if name == alone:
                                raise
                            room = 1
                            continue
                        del left[name]
                        if has_lost:
                            wait(under_way)
                            self.following.let_go_below([name])
            except BaseException as error:
                self.over.set()
                # Who has pressed Ctrl-C does not wait for somebody's rows, as they may.
                while not isinstance(error, Exception) and wait(under_way, PAUSE).not_done:
                    for session in list(self._in_use):
                        session.cancel()
                raise

    def _stands_on(self, name: Name, others: Mapping[Name, int]) -> bool:
        """Whether a group refers to one of others, itself or by groups between."""
        return bool((self.wanted.graph.ancestors([name]) - {name}) & set(others))

    def _copy_group(self, name: Name, bar: Bar, resumed: bool) -> bool:
        """Copy a group; whether some of it was let go of, on which others may stand."""
        run, tally, wanted = self.runs[name], self.tallies[name], self.wanted
        before = tally.left_out
        bar.set_description(label(name))
        number = self.following.in_hand[name]
        if wanted.workers > 1 and number > 2 * parallel.FEWEST:
            options = wanted.conflicts, wanted.suppress_errors, wanted.transfers
            share = Share(self.runs.number, resumed, self.founded, *options)
            work = functools.partial(copy_range, share=share)
            with self._beside(run) as beside:
                tally.result.add(parallel.copy(beside, work, bar, wanted.workers, wanted.executor))
        else:
            self._transfer_pieces(name, bar, resumed)
        self.following.in_hand[name] = 0
        return tally.left_out > before

    @contextlib.contextmanager
    def _beside(self, run: Run) -> Iterator[Run]:
        """The same run by sessions of a thread's own."""
        source, local = run.ends.source, run.ends.local
        home = run.open(source)
        try:
            run = run.beside(home, run.open(local))
        except ConnectionLimitError:
            run.give_back(source, [home])
            raise
        self._in_use.extend((run.home, run.local))
        try:
            yield run
        except ConnectionLimitError:
            self._rest(run)
            raise
        self._rest(run)

    def _rest(self, run: Run) -> None:
        run.give_back(run.ends.source, [run.home])
        run.give_back(run.ends.local, [run.local])

    def _transfer_pieces(self, name: Name, bar: Bar, resumed: bool) -> None:
        """Copy what is in hand of a group, where that is much by several pieces at once, if there is room for them."""
        run, number = self.runs[name], self.following.in_hand[name]
        with self._beside(run) as beside:
            expecting = self.following.has_rows_here(name, beside) and self.following.may_differ(name, beside)
            pieces = [Piece(EVERYTHING, number, ())]
            # Of what an earlier run has had in hand it is counted in one place what it has copied.
            if not resumed and number >= 2 * CHUNK_ROWS:
                pieces = list(cut(number, self.following.marks(name, beside.home)))
            if len(pieces) == 1:
                return self._transfer(beside, self.tallies[name], pieces[0], bar, resumed, expecting)

        def transfer(piece: Piece) -> BaseException | None:
            tally = Tally()
            try:
                with self._beside(run) as beside:
                    self._transfer(beside, tally, piece, bar, False, expecting)
            except BaseException as error:
                if not isinstance(error, ConnectionLimitError):
                    self.over.set()
                return error
            finally:
                self.tallies[name].add(tally)
            return None

        with ThreadPoolExecutor(len(pieces), "link-copier") as pool:
            errors = list(pool.map(transfer, pieces))
        left = list[Piece]()
        for piece, error in zip(pieces, errors, strict=True):
            if error is None:
                self.following.in_hand[name] -= piece.number
            elif isinstance(error, ConnectionLimitError):
                left.append(piece)
        if failed := [error for error in errors if error and not isinstance(error, ConnectionLimitError)]:
            raise min(failed, key=lambda error: isinstance(error, CalledOffError))
        for piece in left:
            if error := transfer(piece):
                raise error
            self.following.in_hand[name] -= piece.number
        return None

    def _transfer(self, run: Run, tally: Tally, piece: Piece, bar: Bar, resumed: bool, expecting: bool) -> None:
        wanted = self.wanted
        chunks = Held(run, wanted.conflicts, resumed, *piece, over=self.over, founded=self.founded)
        if expecting:
            chunks.expecting.set()
        _move(run, chunks, tally, bar, wanted)

    def _are_busy(self) -> set[Name]:
        """The groups of which others have some in hand."""
        runs = self.runs.runs
        found = in_other_hands(self.runs.home, [run.holds for run in runs.values()])
        return {name for name, busy in zip(runs, found, strict=True) if busy}

    def _must_wait(self, name: Name, busy: set[Name]) -> bool:
        """Whether other runs have in hand what a group refers to: it comes to be here.

        Raises
        ------
        OrphanError
            A run that had some in hand is dead: it is taken over.
        """
        home = self.runs.home
        for way in (way for way in self.following.up(name) if way.edge.parent in busy):
            if way.parent.others(UNFINISHED).where(way.is_wanted).key_at(home, 0) is None:
                continue
            if not way.parent.living(home, way.parent.survey(home)):
                raise OrphanError(f"A run that pulled {label(way.edge.parent)} has ended")
            if name not in self._told:
                logger.info("%s: waiting for another pull of %s", label(name), label(way.edge.parent))
            self._told.add(name)
            return True
        return False


class Piece(NamedTuple):
    """A range of what is in hand of a group: how many entities that are, and where some numbers of them end."""

    within: Range
    number: int
    marks: Sequence[Mark]


def cut(number: int, marks: Sequence[Mark]) -> Iterator[Piece]:
    """Cut what is in hand of a group at some of the marks, into pieces of about equal numbers."""
    after, done = None, 0
    for nth in range(1, PIECES):
        behind = [mark for mark in marks if mark[1] > done]
        if not behind:
            break
        upto, count = min(behind, key=lambda mark: abs(mark[1] - number * nth // PIECES))
        yield Piece(Range(after, upto), count - done, [(key, n - done) for key, n in behind if n < count])
        after, done = upto, count
    yield Piece(Range(after), number - done, [(key, n - done) for key, n in marks if n > done])


@dataclass(frozen=True)
class Share:
    """How a worker copies what a run has in hand, whose number it has; the run lives elsewhere.

    Attributes
    ----------
    number : int
        The run's.
    resumed : bool
        Whether some was in hand of an earlier run, or has been here before.
    founded : bool
        Whether what is referred to has been brought here.
    conflicts, suppress_errors, transfers
        As in :class:`~link.work.following.Wanted`.
    """

    number: int
    resumed: bool
    founded: bool
    conflicts: str
    suppress_errors: bool
    transfers: int
    display_progress: ClassVar[bool] = False


def _move(run: Run, chunks: Held, tally: Tally, bar: Bar, how: Wanted | Share) -> None:
    with run.files(how.transfers, tally.result, how.display_progress) as files:
        Transfer(run, chunks, files, tally).move(bar, how.suppress_errors)
        replace_outdated(run, files, tally, how.suppress_errors)


def copy_range(ends: Ends, _: Selection, within: Range, share: Share) -> PullResult:
    """Copy a range of what a run has in hand: one worker's share."""
    tally = Tally()

    def begin(former: set[int]) -> Run:
        run = Run(ends, former)
        run.holds = ends.holds.numbered(share.number)
        return run

    def once(run: Run) -> None:
        resumed = share.resumed or bool(run.former)
        number = run.holds.mine(PULLING, within).count(run.home)
        chunks = Held(run, share.conflicts, resumed, within, number, over=threading.Event(), founded=share.founded)
        if Segment(run.rows).key_at(run.local, 0) is not None:
            chunks.expecting.set()
        with no_bar() as bar:
            _move(run, chunks, tally, bar, share)

    persistently(begin, once, lambda: tally.result.pulled)
    return tally.result
