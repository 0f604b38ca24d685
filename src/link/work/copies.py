"""The copies of a pipeline's pull: each group once those that it refers to are here, large ones in pieces.

What is copied is held by then, with all that it stands on (:mod:`.following`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ..ends.ends import Ends
from ..errors import ConnectionLimitError
from ..holds.together import in_other_hands
from ..model.graph import Name, label
from ..model.ranges import EVERYTHING, Range, Selection
from ..model.results import PullResult
from ..model.schema import Table
from ..model.states import PULLING, UNFINISHED
from ..progress import Bar, bar_of_entities, no_bar
from ..servers.keyed import Segment
from ..servers.session import Session, Weight
from ..signals import OrphanError
from . import parallel
from .claims import CHUNK_ROWS, FIRST_CHUNK_ROWS, CalledOffError, Held, Mark
from .following import Following, Wanted
from .pull import replace_outdated
from .run import Run, persistently
from .tally import Tally
from .transfer import Transfer

logger = logging.getLogger("link")

#: Seconds between looks whether others are done.
PAUSE = 0.5
#: Groups that are copied at once, each over sessions of its own; and with those that take no memory.
AT_ONCE = 4
FEW_AT_ONCE = 8
#: Characters or bytes that a value may have so that few rows take no memory worth mentioning; and what may have more.
LONGEST = 65_535
_LONG = ("text", "bytes", "json")
#: Pieces of a large group that are copied at once: the local server checks the foreign keys of each by itself.
PIECES = 2
#: They are nearly equal where they differ by this part of all.
NEARLY = 50


def _unheard() -> None:
    """Nobody waits for the news."""


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
        # How many rows small groups have, in hand or not: asked at once before copies begin.
        self._there: dict[Name, int] = {}
        self._weights: dict[Table, Weight] = {}
        self._in_use: list[Session] = []  # by threads that copy, each two at a time; spare ones are idle
        self._told = set[Name]()

    def copy(self, resumed: bool) -> None:
        """Copy what is in hand: each group once those that it refers to are here, some groups at once."""
        left = {name: number for name, number in self.following.in_hand.items() if number}
        total, shows = sum(left.values()), self.wanted.display_progress
        bar = bar_of_entities("", total, shows)
        if self.wanted.workers == 1:
            at_once = min(FEW_AT_ONCE, max(self._width(left), min(len(left), PIECES)))
            self.runs.open_ahead(2 * at_once, at_once)
        busy = self._look(left) if left else set()
        self._weights = self.runs.home.weigh([pair.there for n in left for pair in self.runs[n].mapping.tables])
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
        """Copy each group as soon as those that it refers to are here, be they finished at the source or not."""
        under_way: dict[Future[bool], Name] = {}
        news, here = queue.SimpleQueue[Future[bool] | Name](), set[Name]()
        room, alone = FEW_AT_ONCE, None
        with ThreadPoolExecutor(FEW_AT_ONCE, "link-gatherer") as pool:
            try:
                while left:
                    awaited = left.keys() - here
                    for name in [n for n in left if n not in under_way.values() and not self._stands_on(n, awaited)]:
                        large = [other for other in under_way.values() if not self._is_light(other)]
                        may_begin = len(under_way) < room and (self._is_light(name) or len(large) < AT_ONCE)
                        if may_begin and not self._must_wait(name, busy):
                            alone = name if room == 1 else None
                            arrived = functools.partial(news.put, name)
                            future = pool.submit(self._copy_group, name, bar, resumed, arrived)
                            under_way[future] = name
                            future.add_done_callback(news.put)
                    try:
                        told = news.get(timeout=PAUSE if busy or not under_way else None)
                    except queue.Empty:
                        continue
                    if not isinstance(told, Future):
                        here.add(told)
                        continue
                    name = under_way.pop(told)
                    try:
                        has_lost = told.result()
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

    def _stands_on(self, name: Name, others: Collection[Name]) -> bool:
        """Whether a group refers to one of others, itself or by groups between."""
        return bool((self.wanted.graph.ancestors([name]) - {name}) & set(others))

    def _copy_group(self, name: Name, bar: Bar, resumed: bool, arrived: Callable[[], None] = _unheard) -> bool:
        """Copy a group; whether some of it was let go of, on which others may stand.

        Where all of it is here before all of it is finished at the source, it is told that it has ``arrived``.
        """
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

            def tell() -> None:
                if tally.left_out == before and wanted.conflicts != "replace":
                    arrived()

            self._transfer_pieces(name, bar, resumed, tell)
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

    def _transfer_pieces(self, name: Name, bar: Bar, resumed: bool, arrived: Callable[[], None]) -> None:
        """Copy what is in hand of a group, where that is much by several pieces at once, if there is room for them."""
        run, number = self.runs[name], self.following.in_hand[name]
        with self._beside(run) as beside:
            expecting = self.following.has_rows_here(name, beside) and self.following.may_differ(name, beside)
            pieces = [Piece(EVERYTHING, number, (), self._there.get(name))]
            # Of what an earlier run has had in hand it is counted in one place what it has copied.
            if not resumed and number * self._weigh(run).rows >= 2 * CHUNK_ROWS:
                pieces = list(cut(beside, number, self.following.marks(name, beside.home)))
            if len(pieces) == 1:
                return self._transfer(beside, self.tallies[name], pieces[0], bar, resumed, expecting, arrived)

        awaited, telling = list(pieces), threading.Lock()

        def tell(piece: Piece, tally: Tally) -> None:
            if not tally.left_out:
                with telling:
                    awaited.remove(piece)
                    if not awaited:
                        arrived()

        def transfer(piece: Piece) -> BaseException | None:
            tally = Tally()
            try:
                with self._beside(run) as beside:
                    told = functools.partial(tell, piece, tally)
                    self._transfer(beside, tally, piece, bar, False, expecting, told)
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

    def _transfer(
        self,
        run: Run,
        tally: Tally,
        piece: Piece,
        bar: Bar,
        resumed: bool,
        expecting: bool,
        arrived: Callable[[], None] = _unheard,
    ) -> None:
        wanted = self.wanted
        chunks = Held(run, wanted.conflicts, resumed, *piece, over=self.over, founded=self.founded)
        if expecting:
            chunks.expecting.set()
        _move(run, chunks, tally, bar, wanted, arrived, self._weigh(run).row_bytes)

    def _weigh(self, run: Run) -> Weight:
        """About how many rows an entity of a group has, with those of its parts, and how many bytes these have."""
        weights = [self._weights.get(pair.there, Weight()) for pair in run.mapping.tables]
        masters = weights[0].rows
        if not masters:
            return Weight(1, 0)
        rows, size = sum(w.rows for w in weights), sum(w.rows * w.row_bytes for w in weights)
        return Weight(max(round(rows / masters), 1), size // masters)

    def _width(self, left: Mapping[Name, int]) -> int:
        """How many small groups may be copied at once."""
        small = set(filter(self._is_light, left))
        return max(len(small.intersection(level)) for level in self.following.levels())

    def _is_light(self, name: Name) -> bool:
        """Whether what is in hand of a group takes no memory worth mentioning: a few short rows without parts."""
        tables = self.runs[name].mapping.tables
        if len(tables) > 1 or not _is_small(self.following.in_hand[name]):
            return False
        return not any(
            column.kind is None or (column.kind.name in _LONG and (column.kind.size or LONGEST + 1) > LONGEST)
            for column in tables[0].there.columns
        )

    def _look(self, left: Mapping[Name, int]) -> set[Name]:
        """The groups of which others have some in hand; it is noted how many rows small ones have."""
        runs = self.runs.runs
        few = {runs[name].holds: number for name, number in left.items() if _is_small(number)}
        found, there = in_other_hands(self.runs.home, [run.holds for run in runs.values()], few)
        self._there = {name: there[runs[name].holds] for name in left if runs[name].holds in there}
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
    """A range of what is in hand of a group: how many entities that are, and where some numbers of them end.

    And how many rows the source had there a moment ago, if it was asked.
    """

    within: Range
    number: int
    marks: Sequence[Mark]
    there: int | None = None


def _is_small(number: int) -> bool:
    """Whether so many entities are one chunk, be they as long as they may."""
    return number <= FIRST_CHUNK_ROWS


def cut(run: Run, number: int, marks: Sequence[Mark]) -> Iterator[Piece]:
    """Cut what is in hand of a group into pieces of equal numbers, looked for from the last mark before each end on."""
    after, done = None, 0
    for nth in range(1, PIECES):
        goal = number * nth // PIECES
        upto, count = max([(None, 0), *(mark for mark in marks if mark[1] <= goal)], key=lambda mark: mark[1])
        if goal - count > number // NEARLY:
            upto = run.holds.mine(PULLING, Range(upto)).unguessed.key_at(run.home, goal - count - 1)
            count = goal
        if upto is None or count <= done:
            continue
        yield Piece(Range(after, upto), count - done, [(key, n - done) for key, n in marks if done < n < count])
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


def _move(
    run: Run,
    chunks: Held,
    tally: Tally,
    bar: Bar,
    how: Wanted | Share,
    arrived: Callable[[], None] = _unheard,
    entity_bytes: int = 0,
) -> None:
    with run.files(how.transfers, tally.result, how.display_progress) as files:
        if not files:
            chunks.pace.foresee(entity_bytes)
        Transfer(run, chunks, files, tally).move(bar, how.suppress_errors, arrived)
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
