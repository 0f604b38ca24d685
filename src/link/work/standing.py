"""Refreshing several tables, parents first: what edited rows refer to now is pulled before them.

An edited row may refer to what was never pulled, or to a part row that its parent has got since. So, over and over
until there is nothing more to be done:

1. whatever shared entities refer to at the source, and nobody holds, is pulled, with all that it stands on
2. the entities of each table are refreshed (:mod:`.refresh`), those first to which others refer. One is refused whose
   parent is not here yet, or whose part row has gone to which others still refer: these may be next
3. if all that is left is refused, it is refreshed in one transaction: of two entities neither can be first where one
   refers to a part row that the other only gets, and no more to one that it loses
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ends.ends import Ends
from ..errors import LockedError, TransferError, UnreachableError
from ..holds.closure import Way
from ..model.graph import Graph, Name, label
from ..model.pipelines import PipelineRefresh, PipelineResult
from ..model.ranges import EVERYTHING, Key, Selection
from ..model.results import PullResult, RefreshResult, count_in
from ..model.states import SHARED
from ..signals import BusyError, RowError
from . import parallel
from .comparing import FEW
from .dependents import Descent, also_made_here, dependents_of
from .following import Wanted
from .gather import gather
from .refresh import Share, deletable, left_alone, refresh_by, require_possible
from .refresher import Refresher, bring_together
from .retry import patiently
from .run import Run, Runs, persistently

logger = logging.getLogger("link")


@dataclass(frozen=True)
class Wish:
    """What is to be refreshed of a pipeline, and how; see :meth:`link.Pipeline.refresh`.

    Attributes
    ----------
    about : mapping
        What is selected of which groups, those first to which others refer.
    share : Share
        How each is refreshed.
    confirm : callable or None
        Whether rows of so many tables may be deleted, which depend on what is refreshed; None where nobody is asked.
    conflicts : str
        What becomes of what is to be pulled and is local, not held, and not what the source has.
    """

    about: Mapping[Name, Selection]
    share: Share
    confirm: Callable[[Mapping[str, int]], bool] | None = None
    conflicts: str = "raise"
    processes: int = 1
    display_progress: bool = False


def refresh_each(ends: Mapping[Name, Ends], graph: Graph, wish: Wish) -> PipelineRefresh:
    """Refresh shared entities of several tables, and pull what they refer to.

    Parameters
    ----------
    ends : mapping
        Both ends of all groups that are to be refreshed, and of all that these stand on, parents first.
    graph : Graph
        The source's groups, without the foreign keys that are not followed.
    wish : Wish
        What to refresh.
    """
    if not wish.about:
        return PipelineRefresh({}, PipelineResult({}), RefreshResult().dependents, dry_run=wish.share.dry_run)
    return _Refreshing(ends, graph, wish).refresh()


class _Refreshing:
    def __init__(self, ends: Mapping[Name, Ends], graph: Graph, wish: Wish) -> None:
        self.ends, self.graph, self.wish = ends, graph, wish
        self.also_made_here = also_made_here(ends.values())
        self.results = {name: RefreshResult(dry_run=wish.share.dry_run) for name in wish.about}
        self.pulled: dict[Name, PullResult] = {}

    def refresh(self) -> PipelineRefresh:
        started, share = time.monotonic(), self.wish.share
        for name in self.wish.about:
            require_possible(self.ends[name], dry_run=share.dry_run)
        agreed = self._agreed()
        left = self.wish.about if agreed is not None else {}
        for attempt in itertools.count():
            before = self._done()
            failed = self._attempt(left, agreed or {}, unless_held=not attempt) if left else {}
            left = {name: self.wish.about[name] for name in left if failed[name] or self.results[name].refused}
            if share.dry_run or not left:
                break
            if attempt and self._done() == before and not self._refresh_together(left):
                break
        if error := next((error for error in failed.values() if error), None):
            raise error
        tables = {label(name): result for name, result in self.results.items()}
        pulled = PipelineResult({label(name): result for name, result in self.pulled.items()})
        found = [(self.ends[name], result.entities) for name, result in self.results.items()]
        dependents = dependents_of(found, pulled=lambda: self.also_made_here)
        return PipelineRefresh(tables, pulled, dependents, time.monotonic() - started, share.dry_run)

    def _done(self) -> int:
        pulled = sum(result.pulled + result.adopted for result in self.pulled.values())
        return pulled + sum(result.refreshed for result in self.results.values())

    def _agreed(self) -> dict[Name, Share] | None:
        """How each table is refreshed, once it was asked what may be deleted; None if nothing may."""
        share, confirm = self.wish.share, self.wish.confirm
        if not (share.delete and confirm) or share.dry_run:
            return {}
        with Runs(self.ends) as runs:
            some = [(runs[name], selection) for name, selection in self.wish.about.items()]
            entities, counts = deletable(some, self.also_made_here)
        if counts and not confirm(counts):
            return None
        return {name: replace(share, covered=keys) for name, keys in zip(self.wish.about, entities, strict=True)}

    def _attempt(
        self, left: Mapping[Name, Selection], agreed: Mapping[Name, Share], *, unless_held: bool
    ) -> dict[Name, Exception | None]:
        """Refresh tables, and pull before what they refer to; why one of each is refused, if that has ended it."""
        failed: dict[Name, Exception | None] = {}

        def once(runs: Runs) -> None:
            if not self.wish.share.dry_run:
                self._bring(runs, left, unless_held=unless_held)
            for name in left:
                if name not in failed:
                    failed[name] = self._refresh(runs[name], name, agreed.get(name, self.wish.share))

        try:
            persistently(functools.partial(Runs, self.ends), once, self._done)
        except (UnreachableError, LockedError, BusyError, KeyboardInterrupt):
            if done := sum(result.refreshed for result in self.results.values()):
                logger.warning("stopped after %d refreshed entities, which stay so; the next refresh goes on", done)
            raise
        return failed

    def _bring(self, runs: Runs, left: Mapping[Name, Selection], *, unless_held: bool) -> None:
        """Pull what shared entities refer to; at first only where that is something that nobody holds."""
        wanted: dict[Name, list[Selection]] = {}
        ways = [(way, selection) for name, selection in left.items() for way in self._ways(name)]
        asked = [way.child.saying(SHARED, rows).where(way.depends_on_unheld).selecting("1") for way, rows in ways]
        found = runs.home.query_each([(f"SELECT EXISTS ({sql})", args) for sql, args in asked])
        for (way, rows), (lacks,) in zip(ways, found, strict=True):
            if lacks or not unless_held:
                wanted.setdefault(way.edge.parent, []).append(way.referred_by(SHARED, rows))
        if not wanted:
            return
        share, wish = self.wish.share, self.wish
        pull = Wanted(self.graph, wanted, wish.conflicts, None, share.suppress_errors, share.transfers)
        for name, result in gather(self.ends, pull).items():
            self.pulled.setdefault(name, PullResult()).add(result)

    def _refresh_together(self, left: Iterable[Name]) -> bool:
        """Refresh what was refused of several tables at once, or nothing of it; whether that was possible."""
        share, some, first = self.wish.share, dict[Refresher, Sequence[Key]](), 0
        keys = {name: self.results[name].refused_entities for name in left}
        keys = {name: refused for name, refused in keys.items() if refused}
        if not keys or any(len(refused) > FEW for refused in keys.values()):
            return False
        before = self._done()
        with Runs(self.ends) as runs, contextlib.ExitStack() as stack:
            for name, refused in keys.items():
                run, result = runs[name], self.results[name]
                files = stack.enter_context(run.files(share.transfers, result))
                some[Refresher(run, files, result, first=first)] = refused
                first += len(run.mapping.tables)
            links = [each.run.ends for each in some]
            descent = Descent(links, runs.local, lambda: runs.home, self.also_made_here) if share.delete else None
            try:
                deleted = patiently(lambda: bring_together(some, descent))
            except RowError:
                return False
            count_in(self.results[next(iter(keys))].deleted, deleted)
        return self._done() > before

    def _ways(self, name: Name) -> tuple[Way, ...]:
        """The foreign keys of a group."""
        edges = [edge for edge in self.graph.up(name) if edge.parent in self.ends]
        return tuple(Way(edge, self.ends[name].holds, self.ends[edge.parent].holds) for edge in edges)

    def _refresh(self, run: Run, name: Name, share: Share) -> Exception | None:
        """Refresh one table; why an entity is refused, if that has ended it."""
        ends, selection, result = self.ends[name], self.wish.about[name], self.results[name]
        share = replace(share, ways=self._ways(name), pulled=self.also_made_here)
        started, shows = time.monotonic(), self.wish.display_progress
        # What was refreshed before is equal by now.
        result.equal, result.refused, result.refused_entities, result.skipped = -result.refreshed, [], [], {}
        result.dependents = dependents_of([(ends, result.entities)], pulled=lambda: self.also_made_here)
        try:
            if self.wish.processes == 1:
                return self._refresh_alone(run, selection, share, result)
            # Each worker would stop by itself.
            together, workers = replace(share, suppress_errors=True), self.wish.processes
            result.add(parallel.refresh(ends, selection, workers=workers, share=together, display_progress=shows))
            return next((error for _, error in result.refused if not share.suppress_errors), None)
        finally:
            result.seconds += time.monotonic() - started

    def _refresh_alone(
        self, run: Run, selection: Selection, share: Share, result: RefreshResult
    ) -> TransferError | None:
        count_in(result.skipped, left_alone(run, selection))
        counts = RefreshResult()
        try:
            refresh_by(run, selection, EVERYTHING, share, counts, self.wish.display_progress)
        except TransferError as error:
            return error
        finally:
            result.add(counts)
        return None
