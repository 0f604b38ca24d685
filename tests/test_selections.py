"""Restrictions that have no attribute of the table: DataJoint takes them for everything; nothing is done by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datajoint as dj
import numpy as np
import pandas as pd
import pytest
from lab import Lab
from pipelines import declare, everything, granted, sessions, units

from link import ConfigError, State


class Probe(dj.Manual):
    definition = """
    probe: int32
    ---
    depht=null: float64
    """


TYPING_ERRORS: dict[str, Callable[[], Any]] = {
    "mapping": lambda: {"unti": 1},
    "mapping by a path": lambda: {"unti.first": 1},
    "list": lambda: [{"unit": 1}, {"unti": 2}],
    "tuple in a list": lambda: [({"unti": 2},)],
    "generator": lambda: ({"unti": n} for n in (1, 2)),
    "list of conditions that all apply": lambda: dj.AndList(["unit < 3", {"unti": 2}]),
    "negation": lambda: dj.Not({"unti": 1}),
    "negation of a generator": lambda: dj.Not({"unti": n} for n in (1, 2)),
    "record": lambda: np.array([(1,)], dtype=[("unti", "i4")])[0],
    "records": lambda: np.array([(1,)], dtype=[("unti", "i4")]),
    "data frame": lambda: pd.DataFrame({"unti": [1]}),
}


@pytest.mark.parametrize("error", TYPING_ERRORS)
def test_no_attribute_of_the_table(lab: Lab, error: str) -> None:
    """Refused by whatever copies, holds, deletes or counts; nothing is changed."""
    Unit = granted(lab, units(lab, 5))
    Unit.source.pull("unit < 3")
    before = everything(lab)
    wrong = TYPING_ERRORS[error]
    operations: list[Callable[[], Any]] = [
        lambda: Unit.source.pull(wrong()),
        lambda: (Unit.source & wrong()).pull(),
        lambda: (Unit.source & wrong() & {"unit": 3} & "depth > 0").pull(),
        lambda: (Unit.source & wrong()).pull(dry_run=True),
        lambda: (Unit.source & wrong()).status(),
        lambda: (Unit.source & wrong()).flagged,
        lambda: (Unit.source & wrong()).verify(),
        lambda: (Unit.source & wrong()).repair(dry_run=False),
        lambda: (Unit & wrong()).delete(prompt=False),
        lambda: (Unit & {"unit": 1} & wrong()).delete(prompt=False),
        lambda: (Unit & wrong() & dj.Top(2)).delete_quick(),
        lambda: (Unit & wrong()).proj().delete_quick(),
        lambda: (Unit - wrong()).delete(prompt=False),
    ]
    for operation in operations:
        with pytest.raises(ConfigError, match=r"unti has no attribute of Unit(?s:.*)Did you mean 'unit'\?$"):
            operation()
    assert everything(lab) == before
    # Looked at by, it means what it means to DataJoint.
    plain: Any = dj.FreeTable(Unit.connection, Unit.full_table_name)
    assert len(Unit & wrong()) == len(plain & wrong())
    assert len(Unit - wrong()) == len(plain - wrong())


def test_a_query_that_shares_no_attribute(lab: Lab) -> None:
    """Whether it is empty decides between all and nothing."""
    table = units(lab, 5)
    declare(lab, Probe).insert([{"probe": 1, "depht": 3}])
    lab.grant("probe")
    Unit = granted(lab, table)
    Unit.source.pull()
    unrelated = dj.FreeTable(Unit.source.connection, Unit.source.full_table_name.replace("unit", "probe"))
    here = dj.Schema(lab.local_schema, connection=lab.local.connection)(type("Probe", (Probe,), {}), context={})
    before = everything(lab)
    operations: list[Callable[[], Any]] = [
        lambda: (Unit.source & unrelated).pull(),
        lambda: (Unit.source - unrelated).pull(),
        lambda: (Unit & here).delete(prompt=False),
        lambda: (Unit - here()).delete(prompt=False),
    ]
    for operation in operations:
        with pytest.raises(ConfigError, match=r"probe, depht has no attribute of Unit(?s:.*)Did you mean 'depth'\?$"):
            operation()
    assert everything(lab) == before


def test_what_is_meant_is_not_refused(lab: Lab) -> None:
    """Keys with more attributes than the table, everything by DataJoint's own ways to say so, and nothing."""
    Session = granted(lab, sessions(lab, 20))
    key = {"session": 3, "subject": 3, "trial": 1, "unti": 5}
    restrictions: dict[int, list[Any]] = {
        0: [[], False, pd.DataFrame({"unti": []})],
        1: [key, [key], dj.AndList([key]), np.array([(3, 9)], dtype=[("session", "i4"), ("unti", "i4")])[0]],
        2: [pd.DataFrame({"session": [3, 4], "unti": [1, 1]}), ({"session": n, "x": 0} for n in (3, 4))],
        20: [{}, True, "1 = 1", dj.U(), dj.AndList(), dj.Top(99), [{}], dj.U("session")],
    }
    for number, some in restrictions.items():
        for restriction in some:
            assert (Session.source & restriction).pull(dry_run=True).pulled == number, restriction
    Session.source.pull()
    assert (Session & Session.source.flagged).delete(prompt=False) == 0
    assert (Session & (Session.Trial & {"trial": 1, "session": 3}).keys()).delete(prompt=False) == 1
    assert (Session - [{"session": n} for n in range(10)]).delete(prompt=False) == 10
    assert Session.source.status()[State.SHARED] == 9
    assert (Session & {}).delete(prompt=False) == 9
