"""The pull of a pipeline: what is selected, and all that it stands on, from several tables of a source.

In this order, and from any point of it again:

1. what dead runs have left is taken in hand (:mod:`.recovery`), and what is held and not local
2. of each group, from below: what is selected is claimed, then what this run has in hand is followed upward, and what
   it refers to is claimed as well (:mod:`link.holds.closure`). A held row keeps its ancestors at the source, so the
   order of claims does not matter.
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
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from tqdm.auto import tqdm

from ..ends.ends import Ends
from ..errors import LockedError, TransferError, UnreachableError
from ..holds.closure import Way, letting_go, pruning, unheld_parents
from ..model.graph import Graph, Name, label
from ..model.ranges import ALL, EVERYTHING, Chunk, Range, Selection, Sql
from ..model.results import PullResult
from ..model.states import (
    ABANDON_PULL,
    ASKED,
    HELD,
    PULLING,
    REFETCH,
    REHOLD,
    UNFINISHED,
    UNFLAGGED,
    Condition,
    Count,
)
from ..servers.keyed import Segment
from ..signals import BusyError, OrphanError
from .adopting import OTHER_CONTENT, conflict
from .claims import CHUNK_ROWS, Claims, Held
from .comparing import Comparison
from .pull import count_held, may_meet, replace_outdated
from .recovery import Recovery
from .retry import patiently
from .run import Runs, persistently
from .tally import Tally
from .transfer import Transfer

logger = logging.getLogger("link")

#: Why entities are left out, in words.
ANCESTOR_FLAGGED = "an ancestor is flagged"
ANCESTOR_LEFT_OUT = "an ancestor is left out"
#: So many times what somebody has just taken away is looked for again.
TRIES = 10


@dataclass
class Wanted:
    """What a pull of a pipeline is about.

    Attributes
    ----------
    graph : Graph
        The source's groups, without the foreign keys that are not followed.
    selected : mapping
        What is selected of which groups.
    conflicts : str
        What becomes of what is local, not held, and not what the source has.
    """

    graph: Graph
    selected: Mapping[Name, Sequence[Selection]]
    conflicts: str = "raise"
    max_calls: int | None = None
    suppress_errors: bool = False
    transfers: int = 8
    display_progress: bool = False


def gather(ends: Mapping[Name, Ends], wanted: Wanted) -> dict[Name, PullResult]:
    """Pull what is selected, and all that it stands on; what was done, by groups.

    Parameters
    ----------
    ends : mapping
        Both ends of all groups, parents first.
    wanted : Wanted
        What to pull.
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
                return _Gathering(runs, wanted, tallies, counted).gather()
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
        persistently(functools.partial(Runs, ends), once, done)
    except (UnreachableError, LockedError, BusyError):
        if done():
            logger.warning("stopped after %d entities. The next pull goes on from there.", done())
        raise
    for tally in tallies.values():
        tally.result.seconds = time.monotonic() - started
    return {name: tally.result for name, tally in tallies.items()}


@dataclass
class _Gathering:
    """One attempt of a pull, from its recovery on."""

    runs: Runs
    wanted: Wanted
    tallies: Mapping[Name, Tally]
    counted: set[Name]
    recoveries: dict[Name, Recovery] = field(default_factory=dict)
    counts: dict[Name, Sequence[Count]] = field(default_factory=dict)
    unequal: dict[Name, bool] = field(default_factory=dict)

    @property
    def names(self) -> list[Name]:
        """The groups, parents first."""
        return list(self.runs.runs)

    def gather(self) -> None:
        """Do it all."""
        self._recover()
        with self._letting_go():
            again = self._hold(fresh=False)
            if again or any(recovery.adopted for recovery in self.recoveries.values()):
                self._copy(resumed=True)
                for recovery in self.recoveries.values():
                    recovery.adopted = False
            self._hold(fresh=True)
            self._meet()
            self._copy(resumed=False)

    # what there is

    def _recover(self) -> None:
        for name, run in self.runs.runs.items():
            recovery = self.recoveries[name] = Recovery(run)
            self.counts[name] = recovery.recover()
            for selection in self.wanted.selected.get(name, ()):
                if name not in self.counted:
                    count_held(run, self.counts[name], selection, self.tallies[name].result)
            self.counted.add(name)

    def _may_differ(self, name: Name) -> bool:
        """Whether there may be entities of a group that are local and not held, or the other way round."""
        if name not in self.unequal:
            run = self.runs[name]
            held = run.holds.saying(HELD).count(run.home)
            self.unequal[name] = may_meet(Comparison(run), ALL, held)
        return self.unequal[name]

    def _says(self, name: Name, says: Condition) -> bool:
        return any(count.row.says(says) for count in self.counts[name])

    # claims

    def _hold(self, fresh: bool) -> bool:
        """Take in hand what is selected, and all that it stands on; whether that is anything."""
        found = False
        for name in reversed(self.names):
            found |= self._hold_again(name)
            if fresh:
                for selection in self.wanted.selected.get(name, ()):
                    found |= self._claim(name, selection) > 0
            self._follow(name)
        self._let_go_below(counted=fresh)
        return found

    def _claim(self, name: Name, selection: Selection) -> int:
        """Claim what nobody holds of a selection."""
        run, limit = self.runs[name], self._left()
        claims = Claims(run, selection, self.wanted.conflicts, EVERYTHING, limit)
        claims.pace.rows = claims.pace.read = CHUNK_ROWS
        source = run.ends.source
        claims.sessions = run.open_some(source, 0, claims.sessions_wanted)
        claimed = sum(chunk.claimed for chunk in claims)
        run.give_back(source, claims.sessions)
        return claimed

    def _left(self) -> int | None:
        limit = self.wanted.max_calls
        if limit is None:
            return None
        selected = [name for name in self.names if name in self.wanted.selected]
        taken = sum(self.tallies[name].result.pulled for name in selected)
        taken += sum(self.runs[name].holds.mine(PULLING).count(self.runs.home) for name in selected)
        return max(limit - taken, 0)

    def _hold_again(self, name: Name) -> bool:
        """Take in hand again what is held and not local, and is selected, or wanted by what is in hand."""
        run, ways = self.runs[name], self._down(name)
        selections = self.wanted.selected.get(name, ())
        deprecated, gone = set(), set()
        if self._says(name, UNFLAGGED):
            for selection in selections:
                deprecated.update(run.holds.saying(UNFLAGGED, selection).keys(run.home))
            deprecated.update(unheld_parents(run.holds, ways, REHOLD).keys(run.home) if ways else ())
            run.apply(REHOLD, sorted(deprecated))
        if (selections or ways) and self._may_differ(name):
            both = Comparison(run)
            for selection in selections:
                gone.update(both.vanished(selection))
            wanted = unheld_parents(run.holds, ways, REFETCH).keys(run.home) if ways else []
            present = both.present(wanted)
            gone.update(key for key in wanted if key not in present)
            if gone:
                logger.warning("%s: %d shared entities are gone locally; pulling them again", run.name, len(gone))
            run.apply(REFETCH, sorted(gone))
            self.tallies[name].result.shared = max(self.tallies[name].result.shared - len(gone), 0)
        return bool(deprecated or gone)

    def _follow(self, name: Name) -> None:
        """Claim what the entities in hand refer to."""
        ways = self._up(name)
        for within in self._ranges(name) if ways else ():
            for way in ways:
                self._execute(way.claiming(within))

    def _ranges(self, name: Name) -> Iterator[Range]:
        """What is in hand of a group, in ranges that a statement does not lock for long."""
        run, after = self.runs[name], None
        while True:
            mine = run.holds.mine(PULLING, Range(after))
            upto = mine.key_at(run.home, CHUNK_ROWS - 1)
            if upto is not None or mine.key_at(run.home, 0) is not None:
                yield Range(after, upto)
            if upto is None:
                return
            after = upto

    def _up(self, name: Name) -> list[Way]:
        holds = {n: run.holds for n, run in self.runs.runs.items()}
        return [Way(e, holds[name], holds[e.parent]) for e in self.wanted.graph.up(name) if e.parent in holds]

    def _down(self, name: Name) -> list[Way]:
        holds = {n: run.holds for n, run in self.runs.runs.items()}
        return [Way(e, holds[e.child], holds[name]) for e in self.wanted.graph.down(name) if e.child in holds]

    # what cannot be had

    def _let_go_below(
        self, why: str = ANCESTOR_FLAGGED, above: Iterable[Name] | None = None, *, counted: bool = True
    ) -> None:
        """Let go of what depends on what is not held, or to be deleted; then of what nothing needs.

        What had been in hand before is not ``counted``: it is met again among what nobody holds.
        """
        left_out = {n for n in self.names if self._says(n, ASKED)} if above is None else set(above)
        if not left_out:
            return
        for name in self.names:
            ways = [way for way in self._up(name) if way.edge.parent in left_out]
            if ways and (number := self._execute(letting_go(self.runs[name].holds, ways))):
                left_out.add(name)
                self.tallies[name].skip(why, number if counted else 0)
        for name in reversed(self.names):
            if ways := self._down(name):
                self._execute(pruning(self.runs[name].holds, ways, self.wanted.selected.get(name, ())))

    def _execute(self, statement: Sql) -> int:
        return patiently(lambda: self.runs.home.execute(*statement))

    def _meet(self) -> None:
        """What becomes of entities in hand that are local with another content, where they are not to be held."""
        word, left_out = self.wanted.conflicts, list[Name]()
        if word not in ("raise", "skip"):
            return
        for name, run in self.runs.runs.items():
            if not self._has_rows_here(name):
                continue
            both, differing = Comparison(run), []
            for keys in both.listed(PULLING):
                mine = [key for key in keys if key in both.present(keys)]
                differing += both.unequal(mine) if mine else []
            if not differing:
                continue
            if word == "raise":
                raise conflict(both, differing, "Nothing was pulled.")
            run.apply(ABANDON_PULL, differing)
            self.tallies[name].skip(OTHER_CONTENT, len(differing))
            left_out.append(name)
        self._let_go_below(ANCESTOR_LEFT_OUT, left_out)

    def _has_rows_here(self, name: Name) -> bool:
        return Segment(self.runs[name].rows).key_at(self.runs.local, 0) is not None

    # copies

    def _copy(self, resumed: bool) -> None:
        """Copy what is in hand, from above."""
        mine = {name: run.holds.mine(PULLING).count(self.runs.home) for name, run in self.runs.runs.items()}
        total = sum(mine.values())
        bar: tqdm[NoReturn] = tqdm(total=total, unit="row", disable=not self.wanted.display_progress or not total)
        with bar:
            for name in self.names:
                if mine[name]:
                    bar.set_description(label(name))
                    self._await_others(name)
                    self._copy_group(name, bar, resumed)

    def _copy_group(self, name: Name, bar: tqdm[NoReturn], resumed: bool) -> None:
        run, tally, wanted = self.runs[name], self.tallies[name], self.wanted
        before = len(tally.result.errors), sum(tally.result.skipped.values())
        chunks = Held(run, wanted.conflicts, resumed)
        if self._has_rows_here(name) and self._may_differ(name):
            chunks.expecting.set()
        with run.files(wanted.transfers, tally.result, wanted.display_progress) as files:
            Transfer(run, chunks, files, tally).move(bar, wanted.suppress_errors)
            replace_outdated(run, files, tally, wanted.suppress_errors)
        if before != (len(tally.result.errors), sum(tally.result.skipped.values())):
            self._let_go_below(ANCESTOR_LEFT_OUT, [name])

    def _await_others(self, name: Name) -> None:
        """Wait until what other runs have in hand of what a group refers to is here.

        Raises
        ------
        OrphanError
            A run that had some in hand is dead: it is taken over.
        """
        told, home = False, self.runs.home
        for way in self._up(name):
            while way.parent.others(UNFINISHED).where(way.is_wanted).key_at(home, 0) is not None:
                if not way.parent.living(home, way.parent.survey(home)):
                    raise OrphanError(f"A run that pulled {label(way.edge.parent)} has ended")
                if not told:
                    logger.info("%s: waiting for another pull of %s", label(name), label(way.edge.parent))
                    told = True
                time.sleep(0.5)

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
        for name in reversed(self.names):
            recovery = self.recoveries[name]
            recovery.run.local = local
            recovery.let_go_by(source, [Chunk()] if self.wanted.conflicts in ("raise", "skip") else [])
