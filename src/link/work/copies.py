"""The copies of a pipeline's pull: each group once those that it refers to are here, of large ones several
chunks at once.

What is copied is held by then, with all that it stands on (:mod:`.following`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ..ends.ends import Ends
from ..errors import ConnectionLimitError
from ..holds.together import in_other_hands
from ..model.graph import Name, label
from ..model.ranges import EVERYTHING, Range, Selection
from ..model.schema import Table
from ..model.states import PULLING, UNFINISHED
from ..progress import Bar, bar_of_entities, no_bar
from ..servers.keyed import Segment
from ..servers.session import Session, Weight
from ..signals import OrphanError
from . import parallel
from .claims import CHUNK_ROWS, FIRST_CHUNK_ROWS, CalledOffError, Held, Lot, PutOffError
from .following import Following, Wanted
from .pull import replace_outdated
from .run import Run, persistently
from .tally import Tally
from .transfer import Transfer, at_once
from .turns import PAUSE, ROOM, Turn, Turns

logger = logging.getLogger("link")

#: Characters or bytes that a value may have so that few rows take no memory worth mentioning; and what may have more.
LONGEST = 65_535
_LONG = ("text", "bytes", "json")
#: How many take of a large group at once, each to copy it: the local server checks the foreign keys of each by itself.
TAKERS = 2


class Steps(NamedTuple):
    """Steps of a copy that others have to do with.

    Attributes
    ----------
    wait : callable
        Waits until rows may come here.
    taken, arrived : callable
        Told that all rows are being read, or have been; and that all of them are here.
    """

    wait: Callable[[], None] = at_once
    taken: Callable[[], None] = at_once
    arrived: Callable[[], None] = at_once


class Copies:
    """Copies what a run has in hand.

    Parameters
    ----------
    following : Following
        What the run has in hand.
    founded : bool
        Whether what is referred to has been brought here: where it is missing, somebody has just taken it away.
    again : bool
        Whether what is in hand from the first has been claimed by this pull, which tries again.
    """

    def __init__(self, following: Following, founded: bool, again: bool) -> None:
        self.following, self.founded, self.again = following, founded, again
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
            at_once = min(ROOM, max(self._width(left), min(len(left), TAKERS)))
            self.runs.open_ahead(2 * at_once, at_once)
        busy = self._look(left) if left else set()
        self._weights = self.runs.home.weigh([pair.there for n in left for pair in self.runs[n].mapping.tables])
        with bar:
            if self.wanted.workers > 1:
                self._copy_by_processes(left, bar, resumed, busy)
            else:
                self._copy_together(left, bar, resumed, busy)

    def _copy_by_processes(self, left: Mapping[Name, int], bar: Bar, resumed: bool, busy: set[Name]) -> None:
        """Copy one group after the other, each by several processes; no thread is at work when they are begun."""
        turn = Turn()
        turn.come()
        for name in left:
            while self._must_wait(name, busy):
                time.sleep(PAUSE)
            if self._copy_group(name, bar, resumed, turn):
                self.following.let_go_below([name])

    def _copy_together(self, left: Mapping[Name, int], bar: Bar, resumed: bool, busy: set[Name]) -> None:
        """Copy several groups at once, each as soon as those that it refers to are here."""

        def copy(name: Name, turn: Turn) -> bool:
            return self._copy_group(name, bar, resumed, turn)

        above = {name: self.wanted.graph.ancestors([name]) - {name} for name in left}
        light = set(filter(self._is_light, left))
        turns = Turns(above, copy, lambda name: self._must_wait(name, busy), light)
        turns.copy(lambda lost: self.following.let_go_below([lost]), bool(busy), self._break_off)

    def _break_off(self, hurried: bool) -> None:
        self.over.set()
        for session in list(self._in_use) if hurried else ():
            session.cancel()

    def _copy_group(self, name: Name, bar: Bar, resumed: bool, turn: Turn) -> bool:
        """Copy a group when its turn has come; whether some of it was let go of, on which others may stand."""
        run, tally, wanted = self.runs[name], self.tallies[name], self.wanted
        before, number = tally.left_out, self.following.in_hand[name]

        def wait() -> None:
            turn.wait()
            bar.set_description(label(name))

        def arrived() -> None:
            if tally.left_out == before and wanted.conflicts != "replace":
                turn.arrived()

        if wanted.workers > 1 and number > 2 * parallel.FEWEST:
            wait()
            options = wanted.conflicts, wanted.suppress_errors, wanted.transfers
            share = Share(self.runs.number, resumed, resumed and not self.again, self.founded, *options)
            work = functools.partial(copy_range, share=share)
            with self._beside(run) as beside:
                for part in parallel.copy(beside, work, bar, wanted.workers, wanted.executor):
                    tally.result.add(part)
        else:
            self._transfer_all(name, bar, resumed, Steps(wait, turn.taken, arrived))
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
        except (ConnectionLimitError, PutOffError):
            self._rest(run)
            raise
        self._rest(run)

    def _rest(self, run: Run) -> None:
        run.give_back(run.ends.source, [run.home])
        run.give_back(run.ends.local, [run.local])

    def _transfer_all(self, name: Name, bar: Bar, resumed: bool, steps: Steps) -> None:
        """Copy what is in hand of a group, where that is much by several that take of it, if there is room for them."""
        run, tally, number = self.runs[name], self.tallies[name], self.following.in_hand[name]
        with self._beside(run) as beside:
            expecting = self.following.has_rows_here(name, beside) and self.following.may_differ(name, beside)
            if expecting:
                steps.wait()  # what is read ahead is not looked at
            marks = self.following.marks(name, beside.home)
            # Of what an earlier run has had in hand it is counted in one place what it has copied.
            if resumed or number * self._weigh(run).rows < 2 * CHUNK_ROWS:
                lot = Lot(EVERYTHING, number, marks, self._there.get(name), taken=steps.taken)
                return self._transfer(beside, tally, lot, bar, resumed, expecting, steps)
        lot = Lot(EVERYTHING, number, marks, takers=TAKERS, taken=steps.taken)
        if not self._transfer_together(name, lot, bar, expecting, steps):
            # Some found no room, and others have taken what they could; now that those are done, there is more.
            with self._beside(run) as beside:
                if left := run.holds.mine(PULLING).count(beside.home):
                    self.following.in_hand[name] = left
                    self._transfer(beside, tally, Lot(EVERYTHING, left), bar, False, expecting, Steps(steps.wait))
        return None

    def _transfer_together(self, name: Name, lot: Lot, bar: Bar, expecting: bool, steps: Steps) -> bool:
        """Copy a lot by several that take of it, each over sessions of its own; whether all of these found room."""
        run, others = self.runs[name], threading.Semaphore(lot.takers - 1)

        def transfer(_: int) -> BaseException | None:
            tally = Tally()

            def arrived() -> None:
                if not tally.left_out and not others.acquire(blocking=False):
                    steps.arrived()

            try:
                with self._beside(run) as beside:
                    self._transfer(beside, tally, lot, bar, False, expecting, Steps(steps.wait, arrived=arrived))
            except BaseException as error:
                if not isinstance(error, (ConnectionLimitError, PutOffError)):
                    self.over.set()
                return error
            finally:
                self.tallies[name].add(tally)
            return None

        with ThreadPoolExecutor(lot.takers, "link-copier") as pool:
            errors = [error for error in pool.map(transfer, range(lot.takers)) if error]
        if failed := [error for error in errors if not isinstance(error, ConnectionLimitError)]:
            raise min(failed, key=lambda error: isinstance(error, CalledOffError))
        return not errors

    def _transfer(
        self, run: Run, tally: Tally, lot: Lot, bar: Bar, resumed: bool, expecting: bool, steps: Steps
    ) -> None:
        wanted = self.wanted
        held_before = resumed and not self.again
        chunks = Held(
            run, wanted.conflicts, resumed, lot, over=self.over, founded=self.founded, held_before=held_before
        )
        if expecting:
            chunks.expecting.set()
        _move(run, chunks, tally, bar, wanted, steps, self._weigh(run).row_bytes)

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


def _is_small(number: int) -> bool:
    """Whether so many entities are one chunk, be they as long as they may."""
    return number <= FIRST_CHUNK_ROWS


@dataclass(frozen=True)
class Share:
    """How a worker copies what a run has in hand, whose number it has; the run lives elsewhere.

    Attributes
    ----------
    number : int
        The run's.
    resumed : bool
        Whether some was in hand of an earlier run, or has been here before.
    held_before : bool
        Whether it was held before this pull.
    founded : bool
        Whether what is referred to has been brought here.
    conflicts, suppress_errors, transfers
        As in :class:`~link.work.following.Wanted`.
    """

    number: int
    resumed: bool
    held_before: bool
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
    steps: Steps,
    entity_bytes: int = 0,
) -> None:
    with run.files(how.transfers, tally.result, how.display_progress) as files:
        if files:
            steps.wait()  # they are copied as rows are read
        else:
            chunks.pace.foresee(entity_bytes)
        Transfer(run, chunks, files, tally).move(bar, how.suppress_errors, steps.wait, steps.arrived)
        replace_outdated(run, files, tally, how.suppress_errors)


def copy_range(ends: Ends, _: Selection, within: Range, share: Share) -> parallel.Copied:
    """Copy a range of what a run has in hand: one worker's share."""
    tally = Tally()

    def begin(former: set[int]) -> Run:
        run = Run(ends, former)
        run.holds = ends.holds.numbered(share.number)
        return run

    def once(run: Run) -> None:
        resumed = share.resumed or bool(run.former)
        number = run.holds.mine(PULLING, within).count(run.home)
        lot = Lot(within, number)
        over, founded, held_before = threading.Event(), share.founded, share.held_before
        chunks = Held(run, share.conflicts, resumed, lot, over=over, founded=founded, held_before=held_before)
        if Segment(run.rows).key_at(run.local, 0) is not None:
            chunks.expecting.set()
        with no_bar() as bar:
            _move(run, chunks, tally, bar, share, Steps())

    try:
        persistently(begin, once, lambda: tally.result.pulled)
    except OrphanError as orphan:
        return parallel.Copied(tally.result, orphan)
    return parallel.Copied(tally.result)
