"""The state table is total and unambiguous, and its transitions lead from one of its rows to another."""

from __future__ import annotations

from itertools import product

import pytest

from link.model import states
from link.model.states import FLAGS, PROCESSES, TABLE, HelperRow, State, Transition, state_of

HELPER_ROWS = [HelperRow(*values) for values in product(PROCESSES, FLAGS, FLAGS)]


def matching(source: bool, helper: HelperRow | None, local: bool) -> list[State]:
    """The states of all rules that fit, by another way than `state_of` goes."""
    process, flagged = (helper.process, helper.is_flagged) if helper else (None, None)
    return [
        rule.state
        for rule in TABLE
        if rule.source == source
        and rule.outbound == (helper is not None)
        and rule.local == local
        and rule.process == process
        and (rule.flagged is None or rule.flagged == flagged)
    ]


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("helper", [None, *HELPER_ROWS])
def test_every_combination_has_one_state(helper: HelperRow | None, local: bool) -> None:
    found = matching(True, helper, local)
    assert len(found) == 1
    assert state_of(True, helper, local) is found[0]


def test_without_a_source_row() -> None:
    """A helper row cannot be without its source row, so there is little else."""
    assert state_of(False, None, True) is State.LOCAL_ONLY
    assert state_of(False, None, False) is None
    for helper, local in product(HELPER_ROWS, (False, True)):
        assert state_of(False, helper, local) is None


def test_every_state_is_in_the_table_once() -> None:
    assert sorted(rule.state.value for rule in TABLE) == sorted(state.value for state in State)
    assert all(rule.next for rule in TABLE)
    assert len({state.value for state in State}) == len(State)


def test_what_the_table_says() -> None:
    """The table of the design, spelt out a second time."""
    expected = {
        ("PULL", "TRUE", False): State.ACTIVATED_PULL,
        ("PULL", "FALSE", False): State.ACTIVATED_PULL,
        ("PULL", "TRUE", True): State.RECEIVED_PULL,
        ("PULL", "FALSE", True): State.RECEIVED_PULL,
        ("NONE", "FALSE", True): State.SHARED,
        ("NONE", "TRUE", True): State.TAINTED,
        ("DELETE", "TRUE", True): State.RECEIVED_DELETE,
        ("DELETE", "FALSE", True): State.RECEIVED_DELETE,
        ("DELETE", "TRUE", False): State.ACTIVATED_DELETE,
        ("DELETE", "FALSE", False): State.ACTIVATED_DELETE,
        ("NONE", "TRUE", False): State.DEPRECATED,
        ("NONE", "FALSE", False): State.VANISHED,
    }
    for (process, flagged, local), state in expected.items():
        for deprecated in FLAGS:
            assert state_of(True, HelperRow(process, flagged, deprecated), local) is state
    assert state_of(True, None, False) is State.UNSHARED
    assert state_of(True, None, True) is State.UNHELD


def admits(transition: Transition, row: HelperRow) -> bool:
    return all(getattr(row, column) in values for column, values in transition.when.items())


def after(transition: Transition, row: HelperRow) -> HelperRow | None:
    return None if transition.then is None else row._replace(**transition.then)


@pytest.mark.parametrize("transition", states.TRANSITIONS, ids=lambda t: t.edge)
def test_transitions_change_what_they_admit(transition: Transition) -> None:
    admitted = [row for row in HELPER_ROWS if admits(transition, row)]
    assert admitted and len(admitted) < len(HELPER_ROWS)
    for row in admitted:
        changed = after(transition, row)
        assert changed != row
        # Applied twice, a transition does no more than once: its guard shuts behind it.
        assert changed is None or not admits(transition, changed)
        for local in (False, True):
            assert state_of(True, changed, local) is not None


def test_a_flag_is_never_lost() -> None:
    """No transition takes the hold from a flagged row or clears its flag: only the source does that."""
    for transition, row in product(states.TRANSITIONS, HELPER_ROWS):
        if row.is_flagged == "TRUE" and admits(transition, row):
            changed = after(transition, row)
            assert changed is not None and changed.is_flagged == "TRUE"


@pytest.mark.parametrize("flagged", FLAGS)
def test_paths(flagged: str) -> None:
    """The hold of a pull and of a deletion, with a flag set in between or not."""
    row = states.HOLD
    assert state_of(True, row, False) is State.ACTIVATED_PULL
    assert state_of(True, row, True) is State.RECEIVED_PULL
    shared = after(states.FINISH_PULL, row)
    assert shared and state_of(True, shared, True) is State.SHARED
    shared = shared._replace(is_flagged=flagged)
    assert admits(states.START_DELETE, shared)
    deleting = after(states.START_DELETE, shared)
    assert deleting and state_of(True, deleting, False) is State.ACTIVATED_DELETE
    assert admits(states.RELEASE, deleting) is (flagged == "FALSE")
    assert admits(states.DEPRECATE, deleting) is (flagged == "TRUE")
    end = after(states.DEPRECATE if flagged == "TRUE" else states.RELEASE, deleting)
    assert state_of(True, end, False) is (State.DEPRECATED if flagged == "TRUE" else State.UNSHARED)
    if end:
        unflagged = end._replace(is_flagged="FALSE")
        assert admits(states.REHOLD, unflagged) and not admits(states.REHOLD, end)
        assert after(states.REHOLD, unflagged) == states.HOLD
