"""Killed or cut off at a statement that changes something, over a diamond of four tables: nothing is lost.

A real child process pulls some entities with all that they stand on, or deletes one with all that stands on it, and is
killed or loses a connection as in `test_crash`. At that instant what is here is held, is whole, and refers to what
is here too; after the next run all is as after one that was not interrupted. In the soak at every statement, and in
every way at each; else at some, by turns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from crasher import Crasher, Mode, Order
from diamond import Name, Servers, ancestors, descendants, made
from figures import SOAK, Figures
from lab import Lab

from link.model.states import HelperRow

REST, FLAGGED = HelperRow("NONE", "FALSE", "FALSE"), HelperRow("NONE", "TRUE", "FALSE")
DEPRECATED = HelperRow("NONE", "TRUE", "TRUE")
MODES: tuple[Mode, ...] = ("kill before", "cut after", "cut before", "kill after", "cut after and kill")

MADE = made()
CHOSEN = [name for name in MADE if name[0] == "D" and name[1][0] < 2]
A1, B10 = ("A", (1,)), ("B", (1, 0))
#: What may come where A1 is flagged.
LEFT = ancestors(MADE, [name for name in CHOSEN if A1 not in ancestors(MADE, [name])])

NOTHING = "lab_a.pull(lab_a.source[second].D & 'FALSE')"
#: What each child finds done: the tables are there, and DataJoint has read what depends on what.
USE = f"{NOTHING}, (lab_a[first].A & 'FALSE').delete()"


@dataclass(frozen=True)
class Scene:
    """What is held and here at first, what is done, and the holds to which it leads; all that is held is here then."""

    code: str
    before: Mapping[Name, HelperRow]
    after: Mapping[Name, HelperRow]
    step: int = 4  # outside of the soak, how many statements to go on


def without(chosen: Name, *deprecated: Name) -> dict[Name, HelperRow]:
    """What is held when something has been deleted with all that stands on it."""
    gone = descendants(MADE, [chosen])
    return {name: REST for name in MADE if name not in gone} | dict.fromkeys(deprecated, DEPRECATED)


ALL = dict.fromkeys(MADE, REST)
SCENES = {
    "pull": Scene("lab_a.pull(lab_a.source[second].D & 'a < 2')", {}, dict.fromkeys(ancestors(MADE, CHOSEN), REST)),
    "pull below a flag": Scene(
        "lab_a.pull(lab_a.source[second].D & 'a < 2')",
        {A1: FLAGGED},
        {**dict.fromkeys(LEFT, REST), A1: FLAGGED},
    ),
    "delete": Scene(
        "(lab_a[first].A & 'a = 1').delete(part_integrity='cascade')",
        {**ALL, B10: FLAGGED},
        without(A1, B10),
    ),
    "delete flagged": Scene("lab_a.delete_flagged()", {**ALL, A1: FLAGGED, B10: FLAGGED}, without(A1, A1, B10)),
}


@pytest.fixture
def world(lab: Lab) -> Iterator[Servers]:
    """The diamond, filled at the source; its tables are there at both ends, and empty here."""
    with ExitStack() as stack:
        servers = Servers(lab, stack)
        servers.put(False, MADE)
        eval(servers.code(NOTHING), {"lab_a": servers.lab_a})
        yield servers


@pytest.mark.timeout(7200 if SOAK else 300)
@pytest.mark.parametrize("name", list(SCENES))
def test_crash_at_every_statement(lab: Lab, world: Servers, name: str, figures: Figures) -> None:
    scene = SCENES[name]
    with Crasher(lab, world.schemas, world.code(USE)) as crasher:
        crasher.run(Order("0"))  # connects the process that forks the others
        known = world.sessions()
        for modes in [[mode] for mode in MODES] if SOAK else [MODES]:
            crash_at_each(crasher, world, scene, known, modes, lambda: figures.add(f"crash points in {name}", lab.kind))


def crash_at_each(
    crasher: Crasher,
    world: Servers,
    scene: Scene,
    known: set[tuple[int, int]],
    modes: Sequence[Mode],
    tried: Callable[[], None],
) -> None:
    """Let a child come to the first statement, then to a later one, and so on to its end, in these modes by turns."""
    for turn in itertools.count():
        mode, point = modes[turn % len(modes)], 1 + turn * (1 if SOAK else scene.step)
        world.clear()
        world.hold(scene.before)
        world.put(True, {name: MADE[name] for name in scene.before})
        crashed = crasher.run(Order(world.code(scene.code), mode, point, reads=SOAK))
        try:
            assert not str(crashed.get("error")).startswith("unexpected")
            world.check_safety()
            world.await_sessions(known)
            world.check_safety()
            if crashed["status"] == 0 and not crashed["sprung"]:
                assert crashed["error"] is None
                check_end(world, scene)
                assert turn > 5
                return
            tried()
            if "kill" in mode:
                assert crashed["status"] == -9
            elif crashed["error"] is None:
                check_end(world, scene)  # it went on by itself
            eval(world.code(scene.code), {"lab_a": world.lab_a})
            check_end(world, scene)
        except AssertionError as error:
            raise AssertionError(f"{mode} statement {point}: {crashed}\n{error}") from error


def check_end(world: Servers, scene: Scene) -> None:
    """All is done that was asked for, and nothing else."""
    world.check_safety()
    assert world.helper_rows() == scene.after
    assert world.local_entities() == {n: MADE[n] for n, row in scene.after.items() if row.is_deprecated == "FALSE"}
