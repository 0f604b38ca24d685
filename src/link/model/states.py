"""The states of an entity and the transitions between them: the one place where they are written down.

An entity is one master row with all its part rows. Its state is never stored: it follows from where the entity is
present and from the three visible columns of its helper row at the source. Every combination has a meaning and a
way on, so that a crash between any two statements leaves a row of :data:`TABLE`, and the next operation goes on
from there. Each transition changes one server only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

#: What a run is doing with an entity.
PULL, DELETE, NONE = "PULL", "DELETE", "NONE"
#: Whether a flag is set.
TRUE, FALSE = "TRUE", "FALSE"
#: The labels of a column, the default last.
PROCESSES = (PULL, DELETE, NONE)
FLAGS = (TRUE, FALSE)

#: What helper rows say: of each column the values that it may have.
Condition = Mapping[str, tuple[str, ...]]


class State(Enum):
    """What is known of one entity on both servers together."""

    UNSHARED = "Unshared"
    UNHELD = "Unheld"
    ACTIVATED_PULL = "Activated (pull)"
    RECEIVED_PULL = "Received (pull)"
    SHARED = "Shared"
    TAINTED = "Tainted"
    RECEIVED_DELETE = "Received (delete)"
    ACTIVATED_DELETE = "Activated (delete)"
    DEPRECATED = "Deprecated"
    VANISHED = "Vanished"
    LOCAL_ONLY = "Local-only"


class HelperRow(NamedTuple):
    """The visible columns of a helper row, beside its key."""

    process: str
    is_flagged: str
    is_deprecated: str

    def says(self, condition: Condition) -> bool:
        """Whether a condition is true of this row."""
        return all(getattr(self, column) in values for column, values in condition.items())

    @property
    def condition(self) -> Condition:
        """What is true of such rows only."""
        return {column: (value,) for column, value in self._asdict().items()}


@dataclass(frozen=True)
class Count:
    """How many helper rows look the same, and the number of the run that has them in hand, if any has."""

    row: HelperRow
    worker: int
    entities: int


class Rule(NamedTuple):
    """One line of the state table; None stands for "any" (or, without a helper row, "none").

    ``next`` is what happens next, ``repair`` what a repair does: nothing where it is at rest, or the users' to decide.
    """

    source: bool
    outbound: bool
    process: str | None
    flagged: str | None
    local: bool
    state: State
    next: str
    repair: str = ""

    @property
    def when(self) -> Condition:
        """What the helper row says; nothing where there is none."""
        said = {"process": self.process, "is_flagged": self.flagged}
        return {column: (value,) for column, value in said.items() if value is not None}


TABLE: tuple[Rule, ...] = (
    Rule(True, False, None, None, False, State.UNSHARED, "pull takes the hold and copies it"),
    Rule(
        True,
        False,
        None,
        None,
        True,
        State.UNHELD,
        "pull takes the hold again; other content is what conflicts= says",
        "hold it again",
    ),
    Rule(
        True,
        True,
        PULL,
        None,
        False,
        State.ACTIVATED_PULL,
        "finish: copy it; if flagged meanwhile, deprecate",
        "copy it, and finish the pull",
    ),
    Rule(True, True, PULL, None, True, State.RECEIVED_PULL, "finish: process = NONE", "finish the pull"),
    Rule(True, True, NONE, FALSE, True, State.SHARED, "at rest"),
    Rule(True, True, NONE, TRUE, True, State.TAINTED, "the local side deletes it"),
    Rule(
        True,
        True,
        DELETE,
        None,
        True,
        State.RECEIVED_DELETE,
        "finish: delete it locally",
        "delete it locally, and finish the deletion",
    ),
    Rule(
        True,
        True,
        DELETE,
        None,
        False,
        State.ACTIVATED_DELETE,
        "finish: release the hold; if flagged, deprecate",
        "finish the deletion",
    ),
    Rule(
        True,
        True,
        NONE,
        TRUE,
        False,
        State.DEPRECATED,
        "the source deletes it, or unflags it: pullable again",
    ),
    Rule(True, True, NONE, FALSE, False, State.VANISHED, "pull fetches it again", "fetch it again"),
    Rule(False, False, None, None, True, State.LOCAL_ONLY, "left alone, counted"),
)


def state_of(source: bool, helper: HelperRow | None, local: bool) -> State | None:
    """Return the state of an entity, or None for one that is nowhere.

    Parameters
    ----------
    source, local : bool
        Whether the master row is there.
    helper : HelperRow or None
        The helper row, if there is one. A helper row implies a source row: its foreign key sees to that.
    """
    for rule in TABLE:
        same_place = (rule.source, rule.outbound, rule.local) == (source, helper is not None, local)
        if same_place and (helper is None or helper.says(rule.when)):
            return rule.state
    return None


def _when(state: State) -> Condition:
    return next(rule.when for rule in TABLE if rule.state is state)


#: Held and at rest, and the source has not asked for it: Shared where it is local, else Vanished.
SHARED = _when(State.SHARED)
#: At rest, and the source wants it deleted: Tainted where it is local, else Deprecated.
FLAGGED = _when(State.TAINTED)
#: Shared, and never deleted here. Nearly all helper rows are like this one.
REST = HelperRow(NONE, FALSE, FALSE)
AT_REST: Condition = REST.condition
#: Shared, and deleted here before the source took its flag back: to be held again.
UNFLAGGED: Condition = {**SHARED, "is_deprecated": (TRUE,)}
#: Flagged, and not known to be deleted here.
UNSETTLED: Condition = {**FLAGGED, "is_deprecated": (FALSE,)}
#: Flagged, and deleted here.
DEPRECATED: Condition = {**FLAGGED, "is_deprecated": (TRUE,)}
#: At rest, and not known to be deleted here, whether flagged or not.
HELD: Condition = {"process": (NONE,), "is_deprecated": (FALSE,)}
#: A run has it in hand to copy it.
PULLING: Condition = {"process": (PULL,)}
#: A run has it in hand to delete it.
DELETING: Condition = {"process": (DELETE,)}
#: A run has it in hand.
UNFINISHED: Condition = {"process": (PULL, DELETE)}
#: The source wants it deleted, whatever a run is doing.
ASKED: Condition = {"is_flagged": (TRUE,)}
#: The source has not asked for it, whatever a run is doing.
UNASKED: Condition = {"is_flagged": (FALSE,)}


@dataclass(frozen=True)
class Transition:
    """One guarded, set-based change of helper rows at the source.

    ``when`` is the guard (column -> the values it may have), ``then`` what is written (None: the row is removed).
    ``edge`` names the step in the diagram of docs/states.md.
    """

    edge: str
    when: Condition
    then: Mapping[str, str] | None = field(default=None)


#: A new helper row, the hold, taken before anything is copied.
HOLD = HelperRow(PULL, FALSE, FALSE)

#: The source took its flag back after the local side had deleted: hold again.
REHOLD = Transition("b", UNFLAGGED, {"process": PULL, "is_deprecated": FALSE})
#: Held, yet the local row is gone: fetch it again.
REFETCH = Transition("b", SHARED, {"process": PULL})
#: Held, yet the local row is gone, and is not wanted back: from here on as after any deletion.
LET_GO = Transition("k", SHARED, {"process": DELETE})
#: The copy is complete.
FINISH_PULL = Transition("d", PULLING, {"process": NONE, "is_deprecated": FALSE})
#: The copy cannot be made (or was stopped before it began): back to Unshared.
ABANDON_PULL = Transition("e", {**PULLING, **UNASKED})
#: The user has confirmed a deletion.
START_DELETE = Transition("f", {"process": (NONE, PULL)}, {"process": DELETE})
#: The local transaction failed after all.
CANCEL_DELETE = Transition("g", DELETING, {"process": NONE})
#: Deleted locally, and the source did not ask for it: the hold is released.
RELEASE = Transition("h", {**DELETING, **UNASKED})
#: Deleted locally as the source asked.
DEPRECATE = Transition("i", {**DELETING, "is_flagged": (TRUE,)}, {"process": NONE, "is_deprecated": TRUE})
#: Flagged, and not (or no longer) local, or to be let go of.
SETTLE = Transition("j", UNSETTLED, {"is_deprecated": TRUE})
#: To be let go of, whether local or not: local rows stay. It never says DELETE, which recovery would go on with.
LEAVE = Transition("m", SHARED)

TRANSITIONS = (
    REHOLD,
    REFETCH,
    LET_GO,
    FINISH_PULL,
    ABANDON_PULL,
    START_DELETE,
    CANCEL_DELETE,
    RELEASE,
    DEPRECATE,
    SETTLE,
    LEAVE,
)
