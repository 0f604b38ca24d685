"""Bringing to rest every entity that is not: what an interrupted run, a backup or a hand left behind."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import Literal

from . import transfer
from .ends import Ends
from .results import PullResult, Status
from .run import FEW, UNFLAGGED, Run, patiently
from .servers import Key
from .states import CANCEL_DELETE, LET_GO, State
from .status import status

logger = logging.getLogger("link")

#: What is done about an entity of each state; the others are at rest, or the users' to decide on.
ACTIONS: dict[State, str] = {
    State.ACTIVATED_PULL: "copy it, and finish the pull",
    State.RECEIVED_PULL: "finish the pull",
    State.RECEIVED_DELETE: "delete it locally, and finish the deletion",
    State.ACTIVATED_DELETE: "finish the deletion",
    State.UNHELD: "hold it again",
    State.VANISHED: "",  # the choice of the caller
}
VANISHED = {"refetch": "fetch it again", "release": "release its hold"}


@dataclass(frozen=True)
class RepairResult:
    """What a repair did, or with ``dry_run`` would do.

    Attributes
    ----------
    actions : dict of State to tuple of (int, str)
        How many entities of each state, and what about them.
    dry_run : bool
        Whether nothing was changed.
    before : Status
        The counts that the actions follow from.
    """

    actions: dict[State, tuple[int, str]]
    dry_run: bool
    before: Status
    pulled: PullResult | None = None

    def __repr__(self) -> str:
        if not self.actions:
            return "nothing to repair"
        verb = "would" if self.dry_run else "did"
        lines = [f"  {n:>10,} {state.value}: {action}" for state, (n, action) in self.actions.items()]
        return "\n".join([f"repair {verb}:", *lines])


def repair(
    ends: Ends, where: str = "", *, dry_run: bool = True, vanished: Literal["refetch", "release"] = "refetch"
) -> RepairResult:
    """Bring every selected entity to rest; see :meth:`link.Source.repair`."""
    before = status(ends, where, deep=True)
    actions = {state: (before[state], text or VANISHED[vanished]) for state, text in ACTIONS.items() if before[state]}
    if dry_run:
        return RepairResult(actions, dry_run, before)
    ends.require_no_transaction("repair of")
    with Run(ends) as run:
        run.recover()  # also where nothing else is to be done: the source may have to be told of a deletion
        if not actions:
            return RepairResult(actions, dry_run, before)
        if vanished == "release":
            _let_go(run, where)
        _hold_unheld(run, where)
    # What is held now and not finished is compared, copied and finished by a pull of nothing new.
    pulled = transfer.pull(ends, where, fresh=False, former=[run.outbound.worker])
    return RepairResult(actions, dry_run, before, pulled)


def _let_go(run: Run, where: str) -> None:
    """Release what is held and not local, but for what another run has fetched again meanwhile."""
    unflagged = [key for _, gone in run.by_presence(UNFLAGGED, where) for key in gone]
    keys = [*run.vanished(where), *unflagged]
    run.apply(LET_GO, keys)
    back = run.present(keys)
    run.apply(CANCEL_DELETE, sorted(back))
    run.release([key for key in keys if key not in back])
    logger.info("%s: released the holds of %d entities that are gone locally", run.name, len(keys) - len(back))


def _hold_unheld(run: Run, where: str) -> None:
    """Hold again what is local, at the source, and not held."""
    after: Key | None = None
    while keys := run.local_keys(after, FEW):
        held = run.outbound.helper.existing(run.home, keys)
        unheld = [key for key in keys if key not in held]
        patiently(functools.partial(run.outbound.claim_keys, run.home, where, unheld))
        after = keys[-1]
