"""Refreshing several tables, parents first: what edited rows refer to now is pulled before them.

An edited row may refer to what was never pulled, or to a part row that its parent has got since. So, over and over
until there is nothing more to be done:

1. whatever shared entities refer to at the source, and nobody holds, is pulled, with all that it stands on
2. the entities of each table are refreshed (:mod:`.refresh`), those first to which others refer. One is refused whose
   parent is not here yet, or whose part row has gone to which others still refer: these may be next.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..ends.ends import Ends
from ..errors import TransferError
from ..holds.closure import Way
from ..model.graph import Graph, Name, label
from ..model.pipelines import PipelineRefresh, PipelineResult
from ..model.ranges import EVERYTHING, Selection
from ..model.results import PullResult, RefreshResult
from ..model.states import SHARED
from . import parallel
from .dependents import dependents_of
from .following import Wanted
from .gather import gather
from .refresh import Share, begin_refresh, deletable, refresh_range
from .run import Runs


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
        self.results = {name: RefreshResult(dry_run=wish.share.dry_run) for name in wish.about}
        self.pulled: dict[Name, PullResult] = {}

    def refresh(self) -> PipelineRefresh:
        started, share = time.monotonic(), self.wish.share
        agreed = self._agreed()
        left = self.wish.about if agreed is not None else {}
        for attempt in itertools.count():
            before = self._done()
            if left and not share.dry_run:
                self._bring(left, unless_held=not attempt)
            failed = {name: self._refresh(name, (agreed or {}).get(name, share)) for name in left}
            left = {name: self.wish.about[name] for name in left if failed[name] or self.results[name].refused}
            if share.dry_run or not left or (attempt and self._done() == before):
                break
        if error := next((error for error in failed.values() if error), None):
            raise error
        tables = {label(name): result for name, result in self.results.items()}
        pulled = PipelineResult({label(name): result for name, result in self.pulled.items()})
        dependents = dependents_of([(self.ends[name], result.entities) for name, result in self.results.items()])
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
            entities, counts = deletable([(runs[name], selection) for name, selection in self.wish.about.items()])
        if counts and not confirm(counts):
            return None
        return {name: replace(share, covered=keys) for name, keys in zip(self.wish.about, entities, strict=True)}

    def _bring(self, left: Mapping[Name, Selection], *, unless_held: bool) -> None:
        """Pull what shared entities refer to; at first only where that is something that nobody holds."""
        wanted: dict[Name, list[Selection]] = {}
        with Runs(self.ends) as runs:
            for name, selection in left.items():
                shared = runs[name].holds.saying(SHARED, selection)
                for way in self._ways(name):
                    if not unless_held or shared.where(way.depends_on_unheld).key_at(runs.home, 0) is not None:
                        wanted.setdefault(way.edge.parent, []).append(way.referred_by(SHARED, selection))
        if not wanted:
            return
        share, wish = self.wish.share, self.wish
        pull = Wanted(self.graph, wanted, wish.conflicts, None, share.suppress_errors, share.transfers)
        for name, result in gather(self.ends, pull).items():
            self.pulled.setdefault(name, PullResult()).add(result)

    def _ways(self, name: Name) -> tuple[Way, ...]:
        """The foreign keys of a group."""
        edges = [edge for edge in self.graph.up(name) if edge.parent in self.ends]
        return tuple(Way(edge, self.ends[name].holds, self.ends[edge.parent].holds) for edge in edges)

    def _refresh(self, name: Name, share: Share) -> Exception | None:
        """Refresh one table; why an entity is refused, if that ends it."""
        ends, selection, result = self.ends[name], self.wish.about[name], self.results[name]
        share = replace(share, ways=self._ways(name))
        started, shows = time.monotonic(), self.wish.display_progress
        # What was refreshed before is equal by now.
        result.equal, result.refused, result.skipped = -result.refreshed, [], {}
        error: Exception | None = None
        if self.wish.processes > 1:
            # Each worker would stop by itself.
            together, workers = replace(share, suppress_errors=True), self.wish.processes
            result.add(parallel.refresh(ends, selection, workers=workers, share=together, display_progress=shows))
            if result.refused and not share.suppress_errors:
                error = result.refused[0][1]
        else:
            result.add(begin_refresh(ends, selection, dry_run=share.dry_run))
            counts = RefreshResult()
            try:
                refresh_range(ends, selection, EVERYTHING, share, shows, counts)
            except TransferError as refusal:
                error = refusal
            result.add(counts)
        result.dependents = dependents_of([(ends, result.entities)])
        result.seconds += time.monotonic() - started
        return error
