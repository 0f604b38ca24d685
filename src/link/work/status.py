"""Counting the entities of a link by state, by looking at both servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ..ends.ends import Ends
from ..model.dependents import no_dependents
from ..model.graph import Name, label
from ..model.keys import as_dict
from ..model.pipelines import Flagged, PipelineStatus
from ..model.ranges import ALL, Key, Selection
from ..model.states import AT_REST, DEPRECATED, FLAGGED, HELD, UNFINISHED, Count, State, state_of
from ..model.statuses import Since, Status
from ..servers.keyed import Segment
from .comparing import Comparison
from .dependents import dependents_of
from .run import Run, Runs


def status(ends: Ends, selection: Selection = ALL, *, deep: bool = False) -> Status:
    """Count the selected entities by state.

    Helper rows at rest are counted by the servers, and their keys compared by checksum; single keys are looked up only
    where something is in process, flagged, or not the same on both sides; with ``deep``, everywhere. Entities that are
    local only are counted when everything is.
    """
    with Run(ends) as run:
        return count(run, selection, deep=deep)


def count(run: Run, selection: Selection = ALL, *, deep: bool = False) -> Status:
    """Count the selected entities by state, through the sessions of a run."""
    counts: Counter[State] = Counter()
    both = Comparison(run)
    survey = run.holds.survey(run.home, selection)
    counts[State.UNSHARED] = run.holds.unshared(selection).count(run.home)
    counts[State.DEPRECATED] = sum(count.entities for count in survey if count.row.says(DEPRECATED))
    counts[State.SHARED] = sum(count.entities for count in survey if count.row.says(AT_REST))
    # Rows of several runs may look the same.
    for row in dict.fromkeys(count.row for count in survey):
        if not row.says(AT_REST) and not row.says(DEPRECATED):
            for keys in both.by_presence(row.condition, selection):
                for local, some in zip((True, False), keys, strict=True):
                    state = state_of(True, row, local)
                    assert state
                    counts[state] += len(some)
    busy = _in_other_hands(both, survey, selection)
    since = _since(run.holds.since(run.home, selection))
    differ = deep or both.may_differ(selection, counts[State.SHARED])
    if differ:
        gone = sum(len(gone) for _, gone in both.by_presence(AT_REST, selection))
        counts[State.SHARED] -= gone
        counts[State.VANISHED] += gone
    if differ and not selection:
        _count_unheld(both, counts)
        back = sum(len(here) for here, _ in both.by_presence(DEPRECATED))
        counts[State.DEPRECATED] -= back
        counts[State.TAINTED] += back
    return Status(counts, _title(run), busy, since)


def status_of_all(ends: Mapping[Name, Ends], title: str, *, deep: bool) -> PipelineStatus:
    """Count all entities of several links by state; see :meth:`link.Pipeline.status`."""
    if not ends:
        return PipelineStatus({}, title)
    with Runs(ends) as runs:
        counted = count_each(list(runs.runs.values()), deep=deep)
        return PipelineStatus(dict(zip(map(label, runs.runs), counted, strict=True)), title)


def count_each(runs: Sequence[Run], *, deep: bool) -> list[Status]:
    """Count the entities of each of several links by state, through sessions that they share.

    Those where everything is at rest are counted by a few statements for all.
    """
    resting = {} if deep else _at_rest(runs)
    return [resting.get(run) or count(run, deep=deep) for run in runs]


def _at_rest(runs: Sequence[Run]) -> dict[Run, Status]:
    """The links where everything is at rest, and here and there the same is."""
    if not runs:
        return {}
    home, local, alike = runs[0].home, runs[0].local, {run: Comparison(run).alike for run in runs}
    surveys = home.query_each([run.holds.counting_rest() for run in runs])
    resting = [run for run, (held, at_rest) in zip(runs, surveys, strict=True) if held == at_rest]
    theirs, ours = Comparison(runs[0]).at_once(
        lambda: home.query_each([run.holds.saying(HELD).checking(alike[run]) for run in resting]),
        lambda: local.query_each([Segment(run.rows).checking(alike[run]) for run in resting]),
    )
    same = [run for run, *checks in zip(resting, theirs, ours, strict=True) if _are_same(*checks)]
    unshared = home.query_each([run.holds.unshared().selecting("COUNT(*)") for run in same])
    timed = [run for run in same if run.holds.timed]
    since = dict(zip(timed, home.query_each([run.holds.reading_since() for run in timed]), strict=True))
    held = {run: int(number) for run, (number, _) in zip(resting, theirs, strict=True)}
    return {
        run: Status(
            {State.UNSHARED: int(number), State.SHARED: held[run]}, _title(run), {}, _since(since.get(run, [None] * 4))
        )
        for run, (number,) in zip(same, unshared, strict=True)
    }


def _are_same(theirs: Sequence[Any], ours: Sequence[Any]) -> bool:
    """Whether counts and checksums of keys are."""
    return [int(number or 0) for number in theirs] == [int(number or 0) for number in ours]


def _title(run: Run) -> str:
    return f"{run.name}: entities by state"


def _since(times: Sequence[float | None]) -> Since:
    return Since(*map(_as_time, times))


def flagged_of_all(ends: Mapping[Name, Ends]) -> Flagged:
    """What the source wants deleted and that is local, of several links; see :attr:`link.Pipeline.flagged`."""
    keys = find_flagged(ends)
    of_links = [(ends[name], some) for name, some in keys.items()]
    columns = {name: ends[name].mapping.source.master.key_columns for name in keys}
    return Flagged(
        {label(name): [as_dict(columns[name], key) for key in some] for name, some in keys.items()},
        dependents_of(of_links, is_all=True) if keys else no_dependents(),
        tuple(map(label, ends)),
    )


def find_flagged(ends: Mapping[Name, Ends]) -> dict[Name, list[Key]]:
    """The keys of several links that the source wants deleted and that are local, of those that have some."""
    if not ends:
        return {}
    with Runs(ends) as runs:
        waiting = runs.home.query_each([run.holds.saying(FLAGGED).selecting("COUNT(*)") for run in runs.runs.values()])
        some = [name for name, (number,) in zip(runs.runs, waiting, strict=True) if number]
        found = {name: Comparison(runs[name]).flagged() for name in some}
    return {name: keys for name, keys in found.items() if keys}


def _as_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(float(seconds), timezone.utc)


def _in_other_hands(both: Comparison, survey: Sequence[Count], selection: Selection) -> Counter[State]:
    """Of what runs that are alive have in hand, how many entities are in which state."""
    counts: Counter[State] = Counter()
    run = both.run
    if living := run.holds.living(run.home, survey):
        for row in {count.row for count in survey if count.worker in living and count.row.says(UNFINISHED)}:
            keys = run.holds.in_hand(living, row.condition, selection).keys(run.home)
            here = len(both.present(keys))
            for local, number in ((True, here), (False, len(keys) - here)):
                state = state_of(True, row, local)
                assert state
                counts[state] += number
    return counts


def _count_unheld(both: Comparison, counts: Counter[State]) -> None:
    """Local entities without a helper row: is there a source row?"""
    for keys in both.unheld():
        at_source = len(both.holds.rows.existing(both.run.home, keys))
        counts[State.UNHELD] += at_source
        counts[State.UNSHARED] -= at_source
        counts[State.LOCAL_ONLY] += len(keys) - at_source
