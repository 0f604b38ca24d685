"""Claims of a pipeline's pull: what is selected, and what it stands on; and what is let go of, as it cannot be had.

Groups are taken from below: each is complete in hand when what it refers to is claimed.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from ..holds.closure import Way, to_let_go, unneeded, wanted_again
from ..holds.sets import Sets
from ..model.graph import Graph, Name
from ..model.ranges import ALL, EVERYTHING, Key, Range, Selection, Sql, union
from ..model.states import ABANDON_PULL, ASKED, HELD, PULLING, REFETCH, REHOLD, UNFLAGGED, Condition, Count
from ..servers.keyed import Segment, batches
from ..servers.session import Session
from ..signals import OrphanError
from .adopting import OTHER_CONTENT, conflict
from .claims import CHUNK_ROWS, Claims, Mark
from .comparing import Comparison
from .pull import may_meet
from .retry import Idle, patiently
from .run import Run, Runs
from .tally import Tally

logger = logging.getLogger("link")

#: Sessions that claim at a time: nothing is copied meanwhile.
CLAIMERS = 2
#: Sessions that claim at a time where that is little.
FOLLOWERS = 6
#: Why entities are left out, in words.
ANCESTOR_FLAGGED = "an ancestor is flagged"
ANCESTOR_LEFT_OUT = "an ancestor is left out"


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
    max_calls : int or None
        At most so many new entities of what is selected.
    suppress_errors : bool
        Whether to go on after an entity that cannot be had.
    transfers : int
        Files that are copied at once.
    display_progress : bool
        Whether to show a progress bar.
    workers : int
        Processes that copy at once.
    executor : concurrent.futures.Executor or None
        What runs them, where that is not this machine.
    alike : frozenset of Name
        The groups of which a moment ago the very same was local that was held.
    """

    graph: Graph
    selected: Mapping[Name, Sequence[Selection]]
    conflicts: str = "raise"
    max_calls: int | None = None
    suppress_errors: bool = False
    transfers: int = 8
    display_progress: bool = False
    workers: int = 1
    executor: Executor | None = None
    alike: frozenset[Name] = frozenset()


@dataclass
class Following:
    """What a run takes in hand of several groups.

    Attributes
    ----------
    runs : Runs
        The run.
    wanted : Wanted
        What it is about.
    tallies : mapping
        Where to count, by groups.
    counts : mapping
        What the helper tables said once dead runs had been recovered.
    in_hand : dict
        How many entities the run has in hand, by groups.
    """

    runs: Runs
    wanted: Wanted
    tallies: Mapping[Name, Tally]
    counts: Mapping[Name, Sequence[Count]]
    in_hand: dict[Name, int] = field(default_factory=dict)
    _earlier: dict[Name, set[Key]] = field(default_factory=dict)
    _resuming: bool = False
    # Of how many in hand of a group it is known where some of them end, by the numbers of those up to there.
    _marks: dict[Name, tuple[int, list[Mark]]] = field(default_factory=dict)
    _unequal: dict[Name, bool] = field(default_factory=dict)
    # Groups of which all there is was held before.
    _all_held: set[Name] = field(default_factory=set)

    def __post_init__(self) -> None:
        for name in self.names:
            self.in_hand[name] = self._adopted(name)
            if name in self.wanted.alike and not self.in_hand[name]:
                self._unequal[name] = False

    @property
    def names(self) -> list[Name]:
        """The groups, parents first."""
        return list(self.runs.runs)

    def up(self, name: Name) -> list[Way]:
        """The foreign keys of a group, with the holds."""
        holds = {n: run.holds for n, run in self.runs.runs.items()}
        return [Way(e, holds[name], holds[e.parent]) for e in self.wanted.graph.up(name) if e.parent in holds]

    def down(self, name: Name) -> list[Way]:
        """The foreign keys that refer to a group, with the holds."""
        holds = {n: run.holds for n, run in self.runs.runs.items()}
        return [Way(e, holds[e.child], holds[name]) for e in self.wanted.graph.down(name) if e.child in holds]

    def may_differ(self, name: Name, run: Run | None = None) -> bool:
        """Whether there may be entities of a group that are local and not held, or the other way round.

        Looked at once, by a run's own sessions.
        """
        if name not in self._unequal:
            run = run or self.runs[name]
            held = sum(count.entities for count in self.counts[name] if count.row.says(HELD))
            self._unequal[name] = may_meet(Comparison(run), ALL, held)
        return self._unequal[name]

    def has_rows_here(self, name: Name, run: Run | None = None) -> bool:
        """Whether the local table of a group has rows, asked by a run's own sessions."""
        run = run or self.runs[name]
        return Segment(run.rows).key_at(run.local, 0) is not None

    def _let_go_of_all(self) -> None:
        """Let go of all that has been claimed, of which nothing has been copied yet."""
        for name, run in self.runs.runs.items():
            earlier = self._earlier.get(name)
            claimed = sorted(self._mine(name) - earlier) if earlier else EVERYTHING
            patiently(functools.partial(run.holds.apply, run.home, ABANDON_PULL, claimed))

    def marks(self, name: Name, session: Session) -> list[Mark]:
        """Where some numbers of what is in hand of a group end, if that is more than a chunk."""
        number = self.in_hand[name]
        if number <= CHUNK_ROWS:
            return []
        of, marks = self._marks.get(name, (0, []))
        if of != number:
            ends = self.runs[name].holds.mine(PULLING).every(session, CHUNK_ROWS)
            marks = [(key, CHUNK_ROWS * n) for n, key in enumerate(ends, 1)]
            self._marks[name] = number, marks
        return [mark for mark in marks if mark[1] < number]

    def _may_meet(self, name: Name) -> bool:
        """Whether something in hand may be local."""
        return self.has_rows_here(name) and self.may_differ(name)

    def _mine(self, name: Name) -> set[Key]:
        run = self.runs[name]
        return set(run.holds.mine(PULLING).keys(run.home))

    # claims

    def hold(self, *, fresh: bool) -> None:
        """Take in hand what is selected, and all that it stands on.

        Without ``fresh`` only what is held and not local of it, and what this stands on.
        """
        asked, self._resuming = any(self._says(name, ASKED) for name in self.names), not fresh
        before = [n for n in self.names if not fresh and self.in_hand[n] and (asked or self._may_meet(n))]
        self._earlier = {name: self._mine(name) for name in before}
        for name in self.names if fresh else ():
            self.tallies[name].begin()
        for names in self.levels():
            for name in names:
                self._hold_again(name)
                for selection in self.wanted.selected.get(name, ()) if fresh else ():
                    self.in_hand[name] += self._claim(name, selection)
            self._follow(names)
        if fresh and self.wanted.max_calls is None:
            self._count_others()
        # What had been in hand before is met again, among what nobody holds.
        self._let_go_below_flagged(counted=fresh)

    def _count_others(self) -> None:
        """Count what others have taken of what is selected since it was counted what is held."""
        # Of what is fetched again it is not known how much is selected.
        names = [n for n in self.names if self.wanted.selected.get(n) and not self._earlier.get(n)]
        names = [name for name in names if name not in self._all_held]
        totals = self._counted([self.runs[name].holds.held() for name in names])
        # Where there are no more than there were, and were claimed here, nobody has taken any.
        grown = [name for name, total in zip(names, totals, strict=True) if total > self._held_before(name)]
        segments = list[Segment]()
        for name in grown:
            holds, selection = self.runs[name].holds, union(self.wanted.selected[name])
            segments += [holds.held(selection), holds.in_hand({holds.worker}, PULLING, selection)]
        found = self._counted(segments)
        for name, held, mine_of_it in zip(grown, found[::2], found[1::2], strict=True):
            self.tallies[name].count_others(held - mine_of_it)

    def _counted(self, segments: Sequence[Segment]) -> list[int]:
        counts = [segment.selecting("COUNT(*)") for segment in segments]
        return [int(number) for (number,) in self.runs.home.query_each(counts)] if counts else []

    def _held_before(self, name: Name) -> int:
        """How many entities of a group were held before this pull, and are in hand."""
        return sum(count.entities for count in self.counts[name]) - self._adopted(name) + self.in_hand[name]

    def _adopted(self, name: Name) -> int:
        """How many entities of a group this run had in hand when it began, of dead ones."""
        worker = self.runs[name].holds.worker
        return sum(c.entities for c in self.counts[name] if c.row.says(PULLING) and c.worker == worker)

    def levels(self) -> list[list[Name]]:
        """The groups from below: none of a level refers to another of it, or to one of a level before."""
        depths, levels = dict[Name, int](), defaultdict[int, list[Name]](list)
        for name in reversed(self.names):
            below = (depths[edge.child] for edge in self.wanted.graph.down(name) if edge.child in depths)
            depths[name] = 1 + max(below, default=0)
            levels[depths[name]].append(name)
        return [levels[depth] for depth in sorted(levels)]

    def _says(self, name: Name, says: Condition) -> bool:
        return any(count.row.says(says) for count in self.counts[name])

    def _claim(self, name: Name, selection: Selection) -> int:
        """Claim what nobody holds of a selection; how many that is."""
        run = self.runs[name]
        if not self._has_new(name, selection):
            return 0
        claims = Claims(run, selection, self.wanted.conflicts, EVERYTHING, self._left(), CLAIMERS, copied=False)
        claims.pace.rows = claims.pace.read = CHUNK_ROWS
        number, marks = 0, list[Mark]()
        with self._sessions(claims.sessions_wanted) as claims.sessions:
            for chunk in claims:
                number += chunk.claimed
                if chunk.upto is not None:
                    marks.append((chunk.upto, number))
        if not self.in_hand[name]:
            self._marks[name] = number, marks
        return number

    def _has_new(self, name: Name, selection: Selection) -> bool:
        """Whether there is something of a selection that nobody holds; of all there is, numbers tell it soonest."""
        run, held = self.runs[name], sum(count.entities for count in self.counts[name])
        if not selection and held and run.holds.selected().count(run.home) == held:
            self._all_held.add(name)
            return False
        return run.holds.unshared(selection).key_at(run.home, 0) is not None

    @contextlib.contextmanager
    def _sessions(self, number: int) -> Iterator[list[Session]]:
        """Some sessions at the source beside the run's own, as far as there is room for them."""
        first = self.runs[self.names[0]]
        sessions = first.open_some(first.ends.source, 0, number) if number else []
        yield sessions
        first.give_back(first.ends.source, sessions)

    def _left(self) -> int | None:
        limit = self.wanted.max_calls
        if limit is None:
            return None
        selected = [name for name in self.names if name in self.wanted.selected]
        return max(limit - sum(self.tallies[name].result.pulled + self.in_hand[name] for name in selected), 0)

    def _hold_again(self, name: Name) -> None:
        """Take in hand again what is held and not local, and is selected, or wanted by what is in hand."""
        run, selections = self.runs[name], self.wanted.selected.get(name, ())
        ways = [way for way in self.down(name) if self.in_hand[way.edge.child]]
        if not selections and not ways:
            return
        if self._says(name, UNFLAGGED):
            deprecated = set(wanted_again(run.holds, ways, REHOLD).keys(run.home) if ways else ())
            for selection in selections:
                deprecated.update(run.holds.saying(UNFLAGGED, selection).keys(run.home))
            self.in_hand[name] += run.apply(REHOLD, sorted(deprecated))
            self._earlier.setdefault(name, set()).update(deprecated)
        if self.may_differ(name):
            both = Comparison(run)
            gone = {key for selection in selections for key in both.vanished(selection)}
            wanted = wanted_again(run.holds, ways, REFETCH).keys(run.home) if ways else []
            present = both.present(wanted)
            gone.update(key for key in wanted if key not in present)
            if gone:
                logger.warning("%s: %d shared entities are gone locally; pulling them again", run.name, len(gone))
            self.in_hand[name] += run.apply(REFETCH, sorted(gone))
            self._earlier.setdefault(name, set()).update(gone)
            result = self.tallies[name].result
            result.shared = max(result.shared - len(gone), 0)

    def _follow(self, names: Sequence[Name]) -> None:
        """Claim what the entities in hand of groups refer to that do not refer to one another."""
        ways = {name: ways for name in names if (ways := self.up(name))}
        found = [(way, within) for name in ways for within in self._ranges(name) for way in ways[name]]
        if not found:
            return
        # Few rows are waited for, and many keep a server busy.
        wanted = CLAIMERS if sum(self.in_hand[name] for name in names) > CHUNK_ROWS else FOLLOWERS
        with self._sessions(min(wanted, len(found)) - 1) as sessions:
            idle = Idle([self.runs.home, *sessions])

            def follow(task: tuple[Way, Range]) -> int:
                way, within = task
                with idle.borrow() as session:
                    try:
                        return self._execute(way.claiming(within), session)
                    except OrphanError as error:
                        # Rows that were loaded there unchecked: what stands on nothing is refused when it is copied.
                        logger.debug("%s: %s", way.edge.place, error.what)
                        return self._execute(way.claiming(within, only_there=True), session)

            with ThreadPoolExecutor(1 + len(sessions), "link-follower") as pool:
                for (way, _), number in zip(found, pool.map(follow, found), strict=True):
                    self.in_hand[way.edge.parent] += number

    def _ranges(self, name: Name) -> Iterator[Range]:
        """What is in hand of a group, in ranges that a statement does not lock for long."""
        after = None
        for upto, _ in self.marks(name, self.runs.home):
            yield Range(after, upto)
            after = upto
        if self.in_hand[name]:
            yield Range(after)

    def _execute(self, statement: Sql, session: Session | None = None) -> int:
        return patiently(lambda: (session or self.runs.home).execute(*statement))

    # what cannot be had

    def _let_go_below_flagged(self, counted: bool) -> None:
        """Let go of what stands on something that the source wants deleted, be that here already what is between."""
        flagged = {n: self.runs[n].holds for n in self.names if self._says(n, ASKED)}
        dialect = self.runs[self.names[0]].ends.source.dialect
        sets = Sets(dialect, self.wanted.graph, dict.fromkeys(self.names, ()), flagged=flagged)
        for name in self.names if flagged else ():
            if conditions := sets.below_flagged_where(name, self.runs[name].holds.helper.references):
                self._let_go(name, conditions, ANCESTOR_FLAGGED, counted)
        if flagged:
            self._prune()

    def let_go_below(self, above: Iterable[Name]) -> None:
        """Let go of what refers to what some groups do not hold; then of what nothing needs."""
        left_out = set(above)
        for name in self.names if left_out else ():
            unheld = [way.depends_on_unheld for way in self.up(name) if way.edge.parent in left_out]
            if unheld and self._let_go(name, unheld, ANCESTOR_LEFT_OUT, True):
                left_out.add(name)
        if left_out:
            self._prune()

    def _let_go(self, name: Name, conditions: Sequence[str], why: str, counted: bool) -> int:
        number = self._abandon(name, to_let_go(self.runs[name].holds, conditions))
        # What was not selected is not missed.
        self.tallies[name].skip(why, number if counted and name in self.wanted.selected else 0)
        return number

    def _prune(self) -> None:
        for name in reversed(self.names):
            if ways := self.down(name):
                selected = self.wanted.selected.get(name, ())
                rows = unneeded(self.runs[name].holds, ways, selected)
                self._abandon(name, rows, self._earlier.get(name, set()))

    def _abandon(self, name: Name, rows: Segment, spared: Collection[Key] = ()) -> int:
        """Let go of some that are in hand; how many. What a dead run had in hand it may have copied: it stays held."""
        run = self.runs[name]
        if self._resuming or spared:
            keys = [key for key in rows.keys(run.home) if key not in spared]
            present = Comparison(run).present(keys) if self._resuming else set()
            number = run.apply(ABANDON_PULL, [key for key in keys if key not in present])
        else:
            number = self._execute(rows.deletion)
        self.in_hand[name] -= number
        self._marks.pop(name, None)
        return number

    def meet(self) -> None:
        """Let go of what is local with another content, and of what depends on it, where that is not to be held.

        What an earlier run had in hand it may have copied, before it was edited at the source: that stays.

        Raises
        ------
        ConflictError
            There is some, and the word is ``"raise"``.
        """
        word, left_out = self.wanted.conflicts, set[Name]()
        if word not in ("raise", "skip"):
            return
        for name, run in self.runs.runs.items():
            if not self.in_hand[name] or not self._may_meet(name):
                continue
            both, earlier = Comparison(run), self._earlier.get(name, set())
            present = [sorted(both.present(keys) - earlier) for keys in batches(sorted(self._mine(name)))]
            differing = [key for keys in present for key in both.unequal(keys)]
            if differing and word == "raise":
                error = conflict(both, differing, "Nothing was pulled or held.")
                self._let_go_of_all()
                raise error
            if differing:
                self.in_hand[name] -= run.apply(ABANDON_PULL, differing)
                self._marks.pop(name, None)
                self.tallies[name].skip(OTHER_CONTENT, len(differing))
                left_out.add(name)
        self.let_go_below(left_out)
