"""The pull of a pipeline: what is selected, and all that it stands on, from several tables of a source.

In this order, and from any point of it again:

1. what dead runs have left is taken in hand (:mod:`.recovery`)
2. of each group, from below: what is selected is claimed, and what the run has in hand is followed upward
   (:mod:`.following`). A held row keeps its ancestors at the source, so the order of claims does not matter.
3. what depends on what the source wants deleted is let go of, and what nothing needs then
4. of each group, from above: what is in hand is copied (:mod:`.copies`), so that whatever a row refers to is here
   before it

Several such pulls may run at once. One that has come to a group waits for what others have in hand above it; they never
wait for one another in a circle, as all that each has above the group that it has come to is here: finished at the
source, or about to be, which waits for nobody.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..ends.ends import Ends
from ..errors import LockedError, TransferError, UnreachableError
from ..holds.together import enlist, survey
from ..model.graph import Name
from ..model.ranges import Chunk, union
from ..model.results import PullResult
from ..model.states import Count
from ..signals import BusyError, LostWorkerError, OrphanError
from .copies import Copies
from .dependents import dependents_of
from .following import FOLLOWERS, Following, Wanted
from .pull import count_held
from .recovery import Recovery
from .run import Runs, persistently
from .tally import Tally

logger = logging.getLogger("link")

#: So many times what somebody has just taken away is looked for again.
TRIES = 10
#: After so many it is not taken away, but not what is referred to here: another spelling of a key, for one.
FOUNDED = 3


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
    tallies = {name: Tally() for name in ends}
    counted = set[Name]()

    def once(runs: Runs) -> None:
        nonlocal wanted
        again = False
        for attempt in range(TRIES):
            gathering = _Gathering(runs, wanted, tallies, counted, attempt < FOUNDED, again)
            wanted = replace(wanted, alike=frozenset())  # by the next attempt it may be another moment
            try:
                return gathering.gather()
            except OrphanError as orphan:
                # Somebody has taken away what it refers to, between two looks: it is looked for again.
                level = logging.DEBUG if attempt else logging.INFO
                logger.log(level, "%s; looking again for what it refers to", orphan.what)
                lost, again = orphan, again or gathering.has_resumed
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
    for name, tally in tallies.items():
        tally.settle()
        tally.result.seconds = time.monotonic() - started
        tally.result.dependents = dependents_of([(ends[name], tally.result.replaced_entities)])
    return {name: tally.result for name, tally in tallies.items()}


class _Gathering:
    """One attempt of a pull, from its recovery on."""

    def __init__(
        self, runs: Runs, wanted: Wanted, tallies: Mapping[Name, Tally], counted: set[Name], founded: bool, again: bool
    ) -> None:
        self.runs, self.wanted, self.tallies = runs, wanted, tallies
        #: Whether all that was in hand from the first has been copied.
        self.has_resumed = False
        self.recoveries = {name: Recovery(run) for name, run in runs.runs.items()}
        if any(run.mapping.new for run in runs.runs.values()):
            runs.open_ahead(FOLLOWERS - 1)  # to tables that have just been made much will come
        holds = [run.holds for run in runs.runs.values()]
        enlist(runs.home, holds)
        surveys = dict(zip(runs.runs, survey(runs.home, holds), strict=True))
        # What depends on others before them: where that is to be deleted, they could not be.
        counts = {name: self._recover(name, surveys[name], counted) for name in reversed(surveys)}
        self.following = Following(runs, wanted, tallies, counts)
        self._copies = Copies(self.following, founded, again)

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
                self._copies.copy(resumed=True)
                for recovery in self.recoveries.values():
                    recovery.adopted = False
            self.has_resumed = True
            following.hold(fresh=True)
            following.meet()
            self._copies.copy(resumed=False)

    # when it fails

    @contextlib.contextmanager
    def _letting_go(self) -> Iterator[None]:
        """Whatever ends a pull, it lets go of what it had only claimed.

        After a lost connection, or a worker that has died, another run goes on: rows may still come to be here.
        """
        try:
            yield
        except (UnreachableError, OrphanError, LostWorkerError):
            raise
        except BaseException as error:
            finished = dict[Name, int]()
            with contextlib.suppress(Exception):  # what this cannot clean up, the next operation does
                self._let_go_of_all(finished)
            if isinstance(error, KeyboardInterrupt):
                number = sum(tally.moved(finished.get(name, 0)) for name, tally in self.tallies.items())
                logger.warning("interrupted after %d entities; the next pull goes on from here", number)
            raise

    def _let_go_of_all(self, finished: dict[Name, int]) -> None:
        """Let go of what was claimed and not copied; noted is how many of each group are here, and finished by it."""
        if any(recovery.adopted for recovery in self.recoveries.values()):
            return
        first = next(iter(self.recoveries.values())).run
        source, local = first.open_together([first.ends.source, first.ends.local])
        self.runs.local.close()
        local.outlive(self.runs.local)
        for name in reversed(self.following.names):
            recovery = self.recoveries[name]
            recovery.run.local = local
            finished[name] = recovery.let_go_by(source, [Chunk()] if self.wanted.conflicts in ("raise", "skip") else [])
