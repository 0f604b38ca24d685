"""The pull of a pipeline: what is selected, and all that it stands on, from several tables of a source.

In this order, and from any point of it again:

1. what dead runs have left is taken in hand (:mod:`.recovery`)
2. of each group, from below: what is selected is claimed, and what the run has in hand is followed upward
   (:mod:`.following`). A held row keeps its ancestors at the source, so the order of claims does not matter.
3. what depends on what the source wants deleted is let go of, and what nothing needs then
4. of each group, from above: what is in hand is copied (:mod:`.transfer`), so that whatever a row refers to is here
   before it

Several such pulls may run at once. One that has come to a group waits for what others have in hand above it; they never
wait for one another in a circle, as each has nothing unfinished above the group that it has come to.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ..ends.ends import Ends
from ..errors import LockedError, TransferError, UnreachableError
from ..holds.together import enlist, in_other_hands, survey
from ..model.graph import Name, label
from ..model.ranges import Chunk, Range, Selection, union
from ..model.results import PullResult
from ..model.states import PULLING, UNFINISHED, Count
from ..progress import Bar, bar_of_entities, no_bar
from ..servers.keyed import Segment
from ..servers.session import Session
from ..signals import BusyError, OrphanError
from . import parallel
from .claims import Held
from .following import Following, Wanted
from .pull import count_held, replace_outdated
from .recovery import Recovery
from .run import Run, Runs, persistently
from .tally import Tally
from .transfer import Transfer

logger = logging.getLogger("link")

#: So many times what somebody has just taken away is looked for again.
TRIES = 10
#: After so many it is not taken away, but not what is referred to here: another spelling of a key, for one.
FOUNDED = 3
#: Seconds between looks whether others are done.
PAUSE = 0.5
#: Groups that are copied at once, each over sessions of its own.
AT_ONCE = 4


def gather(ends: Mapping[Name, Ends], wanted: Wanted, former: Iterable[int] = ()) -> dict[Name, PullResult]:
    """Pull what is selected, and all that it stands on; what was done, by groups.

    Parameters
    ----------
    ends : mapping
        Both ends of all groups, parents first.
    wanted : Wanted
        What to pull.
    former : iterable of int
        Numbers of runs that have ended, whatever the server still believes: what they have in hand is finished.
    """
    started = time.monotonic()
    for each in ends.values():
        each.require_no_transaction("pull of")
        each.require_home("pull of")
        each.require_fit()
    tallies = {name: Tally(PullResult()) for name in ends}
    counted = set[Name]()

    def once(runs: Runs) -> None:
        for attempt in range(TRIES):
            try:
                return _Gathering(runs, wanted, tallies, counted, attempt < FOUNDED).gather()
            except OrphanError as orphan:
                # Somebody has taken away what it refers to, between two looks: it is looked for again.
                logger.info("%s; looking again for what it refers to", orphan.what)
                lost = orphan
                time.sleep(min(0.05 * 2**attempt, 2))
        raise TransferError(
            f"Rows cannot be copied, for what they refer to is taken away again and again: {lost.what}",
            "Does another program delete rows of the local tables? What was pulled stays; run the same again.",
        ) from lost

    def done() -> int:
        return sum(tally.result.pulled for tally in tallies.values())

    try:
        persistently(functools.partial(Runs, ends), once, done, former)
    except (UnreachableError, LockedError, BusyError):
        if done():
            logger.warning("stopped after %d entities. The next pull goes on from there.", done())
        raise
    for tally in tallies.values():
        tally.result.seconds = time.monotonic() - started
    return {name: tally.result for name, tally in tallies.items()}


class _Gathering:
    """One attempt of a pull, from its recovery on."""

    def __init__(
        self, runs: Runs, wanted: Wanted, tallies: Mapping[Name, Tally], counted: set[Name], founded: bool
    ) -> None:
        self.runs, self.wanted, self.tallies, self.founded = runs, wanted, tallies, founded
        self.recoveries = {name: Recovery(run) for name, run in runs.runs.items()}
        holds = [run.holds for run in runs.runs.values()]
        enlist(runs.home, holds)
        surveys = dict(zip(runs.runs, survey(runs.home, holds), strict=True))
        # What depends on others before them: where that is to be deleted, they could not be.
        counts = {name: self._recover(name, surveys[name], counted) for name in reversed(surveys)}
        self.following = Following(runs, wanted, tallies, counts)
        #: Set when copies are to end.
        self.over = threading.Event()
        self._in_use: list[Session] = []  # by threads that copy, each two at a time; spare ones are idle
        self._told = set[Name]()

    def _recover(self, name: Name, said: list[Count], counted: set[Name]) -> list[Count]:
        counts = self.recoveries[name].recover_from(said)
        if name not in counted and (selections := self.wanted.selected.get(name)):
            tally = self.tallies[name]
            tally.held = count_held(self.runs[name], counts, union(selections), tally.result)
        counted.add(name)
        return counts

    def gather(self) -> None:
        """Do it all."""
        following = self.following
        with self._letting_go():
            following.hold(fresh=False)
            if any(following.in_hand.values()):
                following.meet()
                self._copy(resumed=True)
                for recovery in self.recoveries.values():
                    recovery.adopted = False
            following.hold(fresh=True)
            following.meet()
            self._copy(resumed=False)

    # copies

    def _copy(self, resumed: bool) -> None:
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
        with ThreadPoolExecutor(AT_ONCE, "link-gatherer") as pool:
            try:
                while left:
                    for name in [n for n in left if n not in under_way.values() and not self._stands_on(n, left)]:
                        if not self._must_wait(name, busy):
                            under_way[pool.submit(self._copy_group, name, bar, resumed)] = name
                    if not under_way:
                        time.sleep(PAUSE)
                    for future in wait(under_way, PAUSE if busy else None, FIRST_COMPLETED).done:
                        name = under_way.pop(future)
                        has_lost = future.result()
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
        source, local = run.ends.source, run.ends.local
        run = run.beside(run.open(source), run.open(local))
        self._in_use.extend((run.home, run.local))
        bar.set_description(label(name))
        number = self.following.in_hand[name]
        self.following.in_hand[name] = 0
        if wanted.workers > 1 and number > 2 * parallel.FEWEST:
            options = wanted.conflicts, wanted.suppress_errors, wanted.transfers
            share = Share(self.runs.number, resumed, self.founded, *options)
            work = functools.partial(copy_range, share=share)
            tally.result.add(parallel.copy(run, work, bar, wanted.workers, wanted.executor))
        else:
            self._transfer(name, run, number, bar, resumed)
        run.give_back(source, [run.home])
        run.give_back(local, [run.local])
        return tally.left_out > before

    def _transfer(self, name: Name, run: Run, number: int, bar: Bar, resumed: bool) -> None:
        tally, wanted = self.tallies[name], self.wanted
        chunks = Held(run, wanted.conflicts, resumed, number, self.over, founded=self.founded)
        if self.following.has_rows_here(name, run) and self.following.may_differ(name, run):
            chunks.expecting.set()
        with run.files(wanted.transfers, tally.result, wanted.display_progress) as files:
            Transfer(run, chunks, files, tally).move(bar, wanted.suppress_errors)
            replace_outdated(run, files, tally, wanted.suppress_errors)

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

    # when it fails

    @contextlib.contextmanager
    def _letting_go(self) -> Iterator[None]:
        """Whatever ends a pull, it lets go of what it had only claimed; after a lost connection another run goes on."""
        try:
            yield
        except (UnreachableError, OrphanError):
            raise
        except BaseException as error:
            with contextlib.suppress(Exception):  # what this cannot clean up, the next operation does
                self._let_go_of_all()
            if isinstance(error, KeyboardInterrupt):
                number = sum(tally.result.pulled for tally in self.tallies.values())
                logger.warning("interrupted after %d entities; the next pull goes on from here", number)
            raise

    def _let_go_of_all(self) -> None:
        if any(recovery.adopted for recovery in self.recoveries.values()):
            return
        first = next(iter(self.recoveries.values())).run
        source, local = first.open_together([first.ends.source, first.ends.local])
        self.runs.local.close()
        local.outlive(self.runs.local)
        for name in reversed(self.following.names):
            recovery = self.recoveries[name]
            recovery.run.local = local
            recovery.let_go_by(source, [Chunk()] if self.wanted.conflicts in ("raise", "skip") else [])


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
        chunks = Held(run, share.conflicts, resumed, number, threading.Event(), within, founded=share.founded)
        if Segment(run.rows).key_at(run.local, 0) is not None:
            chunks.expecting.set()
        with no_bar() as bar, run.files(share.transfers, tally.result) as files:
            Transfer(run, chunks, files, tally).move(bar, share.suppress_errors)
            replace_outdated(run, files, tally, share.suppress_errors)

    persistently(begin, once, lambda: tally.result.pulled)
    return tally.result
