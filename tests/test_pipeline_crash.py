"""Killed or cut off at a statement that changes something, over a diamond of four tables: nothing is lost.

A real child process pulls some entities with all that they stand on, or deletes one with all that stands on it, and is
killed or loses a connection as in `test_crash`. At that instant what is here is held, is whole, and refers to what
is here too; after the next run all is as after one that was not interrupted. In the soak at every statement, and in
every way at each; else at some, by turns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from crasher import Crasher, Mode, Order
from diamond import Entity, Name, Servers, ancestors, descendants, made
from figures import SOAK, Figures
from lab import Lab

from link.model.states import HelperRow
from link.work import claims, copies, following

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
    """What is held at first, what is done, and the holds to which it leads.

    What is held is here as well, but for what is ``absent`` at first, and for what is deprecated in the end. Entities
    that are ``edited`` are here as they were before that.
    """

    code: str
    before: Mapping[Name, HelperRow]
    after: Mapping[Name, HelperRow]
    absent: Collection[Name] = ()
    edited: Mapping[Name, Entity] = field(default_factory=dict)
    step: int = 4  # outside of the soak, how many statements to go on


def without(chosen: Name, *deprecated: Name) -> dict[Name, HelperRow]:
    """What is held when something has been deleted with all that stands on it."""
    gone = descendants(MADE, [chosen])
    return {name: REST for name in MADE if name not in gone} | dict.fromkeys(deprecated, DEPRECATED)


ALL = dict.fromkeys(MADE, REST)
PULLED = dict.fromkeys(ancestors(MADE, CHOSEN), REST)
PULL, DELETE = HelperRow("PULL", "FALSE", "FALSE"), HelperRow("DELETE", "FALSE", "FALSE")
#: Claimed without what it stands on; copied with all that, and not finished; to be deleted here; deleted.
BEGUN, COPIED, GOING, GONE = (("D", (0, 0, 1)), ("D", (0, 1, 0)), ("D", (1, 0, 0)), ("D", (1, 1, 1)))
MESS = {
    **dict.fromkeys(ancestors(MADE, [GOING, GONE]), REST),
    **dict.fromkeys(ancestors(MADE, [COPIED]) - ancestors(MADE, [GOING, GONE]), PULL),
    BEGUN: PULL,
    GOING: DELETE,
    GONE: DELETE,
}
#: What refers to a C that nothing of the pull has referred to.
EDITED = {name: Entity((3, "edited"), frozenset({(5, 1)})) for name in CHOSEN if name[1][0] == 0}
#: Groups are large from a few entities on: they are copied in pieces at once.
SMALL = "[setattr(__import__('sys').modules[m], 'CHUNK_ROWS', 2) for m in %s]" % [
    f"link.work.{name}" for name in ("claims", "following", "copies")
]
SCENES = {
    "pull": Scene("lab_a.pull(lab_a.source[second].D & 'a < 2')", {}, PULLED),
    "pull in pieces": Scene(f"{SMALL} and lab_a.pull(lab_a.source[second].D & 'a < 2')", {}, PULLED, step=3),
    "recovery": Scene("lab_a.pull(lab_a.source[second].D & 'a < 2')", MESS, PULLED, absent=[BEGUN, GONE], step=7),
    "refresh": Scene("lab_a.refresh()", PULLED, {**PULLED, ("C", (3,)): REST}, edited=EDITED, step=3),
    "pull below a flag": Scene(
        "lab_a.pull(lab_a.source[second].D & 'a < 2')",
        {A1: FLAGGED},
        {**dict.fromkeys(LEFT, REST), A1: FLAGGED},
    ),
    "delete": Scene(
        "(lab_a[first].A & 'a = 1').delete(part_integrity='cascade')",
        {**ALL, B10: FLAGGED},
        without(A1, B10),
        step=3,
    ),
    "delete flagged": Scene("lab_a.delete_flagged()", {**ALL, A1: FLAGGED, B10: FLAGGED}, without(A1, A1, B10), step=3),
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
def test_crash_at_every_statement(
    lab: Lab, world: Servers, name: str, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SCENES[name]
    for module in (claims, following, copies):  # some scenes run in this process, too, and set it for their end
        monkeypatch.setattr(module, "CHUNK_ROWS", module.CHUNK_ROWS)
    for entity, content in scene.edited.items():
        world.edit(entity, content)
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
        world.put(True, {name: MADE[name] for name in scene.before if name not in scene.absent})
        crashed = crasher.run(Order(world.code(scene.code), mode, point, reads=SOAK))
        try:
            assert not str(crashed.get("error")).startswith("unexpected")
            world.check_safety(MADE)
            world.await_sessions(known)
            world.check_safety(MADE)
            if crashed["status"] == 0 and not crashed["sprung"]:
                assert crashed["error"] is None
                check_end(world, scene)
                assert turn > 3
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
    entities = {**MADE, **scene.edited}
    assert world.local_entities() == {n: entities[n] for n, row in scene.after.items() if row.is_deprecated == "FALSE"}
