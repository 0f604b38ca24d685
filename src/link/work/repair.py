"""Bringing to rest every entity that is not: what an interrupted run, a backup or a hand left behind."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping
from typing import Literal

from ..ends.ends import Ends
from ..errors import ConfigError
from ..model.graph import Graph, Name, label
from ..model.pipelines import PipelineRepair, PipelineResult
from ..model.ranges import ALL, Key, Selection
from ..model.results import RepairResult
from ..model.schema import tier
from ..model.states import CANCEL_DELETE, LET_GO, REFETCH, REHOLD, TABLE, UNFLAGGED, State
from ..model.statuses import Status
from .comparing import Comparison
from .dependents import MADE
from .following import Wanted
from .gather import gather
from .pull import pull
from .recovery import Recovery
from .retry import patiently
from .run import Run, Runs
from .status import count

logger = logging.getLogger("link")

#: What is done about an entity of each state.
ACTIONS = {rule.state: rule.repair for rule in TABLE if rule.repair}


def repair(
    ends: Ends,
    selection: Selection = ALL,
    *,
    dry_run: bool = True,
    vanished: Literal["refetch", "release"] = "refetch",
) -> RepairResult:
    """Bring every selected entity to rest; see :meth:`link.Source.repair`."""
    with Run(ends) as run:
        before = count(run, selection, deep=True)
        actions = _actions(run, before, vanished)
    if dry_run:
        return RepairResult(actions, dry_run, before)
    ends.require_no_transaction("repair of")
    ends.require_home("repair of")
    with Run(ends) as run:
        recovery = Recovery(run)
        recovery.recover()  # also where nothing else is to be done: the source may have to be told of a deletion
        if not actions:
            return RepairResult(actions, dry_run, before)
        if _copies(actions, vanished):
            ends.require_fit()
        if vanished == "release":
            _let_go(recovery, selection)
        _hold_unheld(run, selection)
    if ends.find_obstacle():
        return RepairResult(actions, dry_run, before)
    # What is held now and not finished is compared, copied and finished by a pull of nothing new.
    pulled = pull(ends, selection, conflicts="keep", fresh=False, former=[run.holds.worker])
    return RepairResult(actions, dry_run, before, pulled)


def repair_each(
    ends: Mapping[Name, Ends],
    graph: Graph,
    about: Mapping[Name, Selection],
    title: str,
    *,
    dry_run: bool,
    vanished: Literal["refetch", "release"],
) -> PipelineRepair:
    """Bring to rest every entity that is selected of several tables, and what it stands on.

    Parameters
    ----------
    ends : mapping
        Both ends of all groups that are repaired, and of all that these stand on, parents first.
    graph : Graph
        The source's groups, without the foreign keys that are not followed.
    about : mapping
        What is selected of which groups.
    title : str
        What the counts are called.
    dry_run, vanished
        As for :meth:`link.Source.repair`.
    """
    if not about:
        return PipelineRepair({}, dry_run, title, None)
    if not dry_run:
        for each in ends.values():
            each.require_no_transaction("repair of")
            each.require_home("repair of")
    with Runs(ends) as runs:
        counted = {name: count(runs[name], selection, deep=True) for name, selection in about.items()}
        actions = {name: _actions(runs[name], counted[name], vanished) for name in about}
        copies = any(_copies(some, vanished) for some in actions.values())
        if not dry_run:
            for each in ends.values() if copies else ():
                each.require_fit()
            _mend(runs, about, vanished)
    # What is held now and not finished is followed upward, copied from above, and finished by a pull of nothing new.
    pulled = gather(ends, Wanted(graph, {}, "keep"), [runs.number]) if copies and not dry_run else None
    brought = {label(name): result for name, result in (pulled or {}).items()}
    found = {label(n): RepairResult(actions[n], dry_run, counted[n], brought.get(label(n))) for n in about}
    return PipelineRepair(found, dry_run, title, PipelineResult(brought) if brought else None)


def require_known(vanished: str) -> None:
    """Raise ConfigError for what is no word for entities that are held and not local."""
    if vanished not in ("refetch", "release"):
        raise ConfigError(
            f"vanished={vanished!r} is not known.",
            "'refetch' fetches again what is held and not local, 'release' lets its holds go.",
        )


def _actions(run: Run, before: Status, vanished: str) -> dict[State, tuple[int, str]]:
    """What is to be done about how many entities of each state, but for those that others have in hand."""
    done = ACTIONS if vanished == "refetch" else {**ACTIONS, State.VANISHED: "release its hold"}
    numbers = {state: before[state] - before.in_other_hands.get(state, 0) for state in done}
    if numbers[State.UNHELD] and _is_made_here(run):
        numbers[State.UNHELD] = sum(map(len, _unheld(run)))
    return {state: (numbers[state], text) for state, text in done.items() if numbers[state] > 0}


def _copies(actions: Mapping[State, tuple[int, str]], vanished: str) -> bool:
    """Whether something is to be copied, or compared."""
    released = {State.VANISHED} if vanished == "release" else set[State]()
    return bool(actions.keys() - {State.RECEIVED_DELETE, State.ACTIVATED_DELETE, *released})


def _mend(runs: Runs, about: Mapping[Name, Selection], vanished: str) -> None:
    """Take in hand what is to be copied, and let go of the rest: what stands on others first."""
    recoveries = {name: Recovery(run) for name, run in reversed(runs.runs.items())}
    for recovery in recoveries.values():
        recovery.recover()
    for name, recovery in recoveries.items():
        if name not in about:
            continue
        run, selection = recovery.run, about[name]
        if vanished == "release":
            _let_go(recovery, selection)
        else:
            run.apply(REHOLD, run.holds.saying(UNFLAGGED, selection).keys(run.home))
            run.apply(REFETCH, recovery.both.vanished(selection))
        _hold_unheld(run, selection)


def _let_go(recovery: Recovery, selection: Selection) -> None:
    """Release what is held and not local, but for what another run has fetched again meanwhile."""
    run, both = recovery.run, recovery.both
    keys = both.vanished(selection)
    run.apply(LET_GO, keys)
    back = both.present(keys)
    run.apply(CANCEL_DELETE, sorted(back))
    recovery.release([key for key in keys if key not in back])
    logger.info("%s: released the holds of %d entities that are gone locally", run.name, len(keys) - len(back))


def _hold_unheld(run: Run, selection: Selection) -> None:
    """Hold again what is local, at the source, and not held."""
    for keys in _unheld(run):
        patiently(functools.partial(run.holds.claim_keys, run.home, selection, keys))


def _unheld(run: Run) -> Iterator[list[Key]]:
    """The local keys without a helper row, some at a time, but for what was made here.

    A row of a computed table that is not what the source has may well be what ``populate()`` has made here.
    """
    both = Comparison(run)
    for keys in both.unheld():
        if _is_made_here(run):
            there = sorted(run.holds.rows.existing(run.home, keys))
            different = set(both.unequal(there))
            keys = [key for key in there if key not in different]
        yield keys


def _is_made_here(run: Run) -> bool:
    """Whether rows of the local table can be made here, other than by hand."""
    return tier(run.mapping.local.master.name) in MADE
