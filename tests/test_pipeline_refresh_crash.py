"""A refresh, or a repair, of several tables, killed or cut off at a statement that changes something.

As in `test_pipeline_crash`. At that instant each entity is what it was or what the source has, as a whole, is held, and
refers to what is here; the next run goes on.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack

import pytest
from crasher import Crasher, Order
from diamond import Entities, Servers, ancestors, made
from figures import SOAK, Figures
from lab import Lab
from test_pipeline_crash import MODES, NOTHING, REST

#: What is held and here: some entities, and all that they stand on.
MADE = made()
HELD = ancestors(MADE, [("D", (0, b, d)) for b in range(2) for d in range(2)])
#: What one of them refers to once it has been edited.
NEW = {("A", (3,)), ("C", (3,))}
GONE = {("B", (0, 1)), ("D", (0, 1, 0)), ("D", (0, 1, 1))}


def edit(world: Servers) -> None:
    """Values, foreign keys to what is not here, and part rows, of all four tables at the source."""
    first, second = world.theirs.values()
    world.sql(
        world.there,
        f"UPDATE {first}.a SET note = 'edited' WHERE a = 1",
        f"UPDATE {second}.c SET a = 3 WHERE c = 0",
        f"UPDATE {second}.__d SET c = 3 WHERE a = 0 AND b = 1 AND d = 0",
        f"INSERT INTO {second}.__d__mark (a, b, d, mark, other) VALUES (0, 0, 0, 7, 3)",
        f"DELETE FROM {first}.b__piece WHERE a = 0 AND b = 1 AND piece = 0",
    )


@pytest.mark.timeout(7200 if SOAK else 300)
@pytest.mark.parametrize("name", ["refresh", "repair"])
def test_crash_at_every_statement(lab: Lab, name: str, figures: Figures) -> None:
    code = {"refresh": "lab_a.refresh()", "repair": "lab_a.repair(dry_run=False)"}[name]
    with ExitStack() as stack:
        world = Servers(lab, stack)
        world.put(False, MADE)
        eval(world.code(NOTHING), {"lab_a": world.lab_a})
        if name == "refresh":
            edit(world)
        there = world.source_entities()
        here, expected = (HELD, HELD | NEW) if name == "refresh" else (HELD - GONE, HELD)
        with Crasher(lab, world.schemas, world.code(NOTHING)) as crasher:
            crasher.run(Order("0"))  # connects the process that forks the others
            known = world.sessions()
            for turn in itertools.count():
                mode, point = MODES[turn % len(MODES)], 1 + turn * (1 if SOAK else 5)
                world.clear()
                world.hold(dict.fromkeys(HELD, REST))
                world.put(True, {entity: MADE[entity] for entity in here})
                crashed = crasher.run(Order(code, mode, point, reads=SOAK))
                case = f"{mode} statement {point}: {crashed}"
                check(world, there, case)
                world.await_sessions(known)
                check(world, there, case)
                over = crashed["status"] == 0 and not crashed["sprung"]
                if not over:
                    figures.add(f"crash points in {name} of several tables", lab.kind)
                    eval(code, {"lab_a": world.lab_a})
                assert world.local_entities() == {entity: there[entity] for entity in expected}, case
                assert world.helper_rows() == dict.fromkeys(expected, REST), case
                if over:
                    assert turn > 3
                    return


def check(world: Servers, there: Entities, case: str) -> None:
    """What is true at every instant."""
    here = world.local_entities()
    assert not here.keys() - world.helper_rows().keys(), case
    mixtures = {name for name, entity in here.items() if entity not in (MADE.get(name), there[name])}
    assert not mixtures and not world.dangling(), case
