"""Bringing to rest every entity that is not: what an interrupted run, a backup or a hand left behind."""

from __future__ import annotations

import functools
import logging
from typing import Literal

from ..ends.ends import Ends
from ..model.ranges import ALL, Selection
from ..model.results import RepairResult
from ..model.states import CANCEL_DELETE, LET_GO, TABLE, State
from .comparing import Comparison
from .pull import pull
from .recovery import Recovery
from .retry import patiently
from .run import Run
from .status import status

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
    before = status(ends, selection, deep=True)
    done = ACTIONS if vanished == "refetch" else {**ACTIONS, State.VANISHED: "release its hold"}
    at_rest = {state: before[state] - before.in_other_hands.get(state, 0) for state in done}
    actions = {state: (at_rest[state], text) for state, text in done.items() if at_rest[state] > 0}
    if dry_run:
        return RepairResult(actions, dry_run, before)
    ends.require_no_transaction("repair of")
    ends.require_home("repair of")
    with Run(ends) as run:
        recovery = Recovery(run)
        recovery.recover()  # also where nothing else is to be done: the source may have to be told of a deletion
        if not actions:
            return RepairResult(actions, dry_run, before)
        released = {State.VANISHED} if vanished == "release" else set[State]()
        copies = actions.keys() - {State.RECEIVED_DELETE, State.ACTIVATED_DELETE, *released}
        if copies:
            ends.require_fit()
        if vanished == "release":
            _let_go(recovery, selection)
        _hold_unheld(run, selection)
    if ends.find_obstacle():
        return RepairResult(actions, dry_run, before)
    # What is held now and not finished is compared, copied and finished by a pull of nothing new.
    pulled = pull(ends, selection, conflicts="keep", fresh=False, former=[run.holds.worker])
    return RepairResult(actions, dry_run, before, pulled)


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
    for keys in Comparison(run).unheld():
        patiently(functools.partial(run.holds.claim_keys, run.home, selection, keys))
