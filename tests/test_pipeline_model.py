"""Random sequences over a diamond of four tables, against a plain model: what users, administrators and crashes do.

The model says what is held and what is here after each step, from what refers to what; on real servers the same is
done, and both must agree, as must what `status()` counts. Crashes are real ones: a child process is killed in the
middle of what is done again then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import psycopg2
import pymysql
import pytest
from crasher import Crasher, Order
from diamond import TABLES, Entities, Entity, Name, Servers, ancestors, descendants, made, parents
from figures import SOAK, Figures
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from lab import Lab

from link.model.states import REST, HelperRow, State, state_of

REFUSALS = (pymysql.MySQLError, psycopg2.Error)
DEPRECATED, UNFLAGGED = HelperRow("NONE", "TRUE", "TRUE"), HelperRow("NONE", "FALSE", "TRUE")


@dataclass
class Model:
    """What the servers hold, and what the operations do to it."""

    source: Entities = field(default_factory=dict)
    helper: dict[Name, HelperRow] = field(default_factory=dict)
    local: Entities = field(default_factory=dict)

    def states(self) -> dict[Name, State | None]:
        names = self.source.keys() | self.local.keys()
        return {n: state_of(n in self.source, self.helper.get(n), n in self.local) for n in names}

    def settle(self) -> Model:
        """What any operation does first of all: what is flagged and not here is deprecated."""
        for name, row in self.helper.items():
            if row.is_flagged == "TRUE" and name not in self.local:
                self.helper[name] = DEPRECATED
        return self

    def pull(self, chosen: Collection[Name], opened: str = "ABCD", fresh: bool = True) -> None:
        """Bring what is chosen and not here, and all that it stands on, but nothing below what is flagged.

        Of what was taken in hand for the sake of that, what nothing held needs is let go of; ``opened`` are the tables
        that a pull looks at. Without ``fresh`` nothing is held that was not.
        """
        self.settle()
        hand, waiting = set[Name](), set(chosen)
        while waiting := {name for name in waiting - hand if self._is_wanted(name, fresh)}:
            hand |= waiting
            waiting = {parent for name in waiting for parent in parents(name, self.source[name])}
            fresh = True
        flagged = {name for name, row in self.helper.items() if row.is_flagged == "TRUE"}
        blocked = {name for name in hand if ancestors(self.source, [name]) & flagged}
        others = {name for name in self.helper.keys() - hand if name[0] in opened}
        kept, more = set[Name](), hand & set(chosen) - blocked
        while more:
            kept |= more
            needed = {parent for name in kept | others for parent in parents(name, self.source[name])}
            more = (needed & hand) - blocked - kept
        for name in hand:
            self.helper.pop(name, None)
        for name in kept:
            self.helper[name], self.local[name] = REST, self.source[name]

    def refresh(self) -> list[Name]:
        """Bring what was edited up to date, and what it refers to now; the names of what may be left, below a flag."""
        self.settle()
        shared = [name for name in self.local if self.helper.get(name) == REST]
        edited = [name for name in shared if self.local[name] != self.source[name]]
        flagged = {name for name, row in self.helper.items() if row.is_flagged == "TRUE"}
        free = [name for name in edited if not ancestors(self.source, [name]) & flagged]
        self.pull({parent for name in free for parent in parents(name, self.source[name])})
        self.local |= {name: self.source[name] for name in free}
        return [name for name in edited if name not in free]

    def _is_wanted(self, name: Name, fresh: bool) -> bool:
        """Whether a pull takes it in hand: nobody holds it, or it is held and not here."""
        row = self.helper.get(name)
        return fresh if row is None else row == UNFLAGGED or (row == REST and name not in self.local)

    def delete(self, chosen: Iterable[Name]) -> None:
        """Delete here what is chosen with all that stands on it; the holds go, or are deprecated."""
        for name in descendants(self.local, set(chosen) & self.local.keys()):
            del self.local[name]
            if self.helper[name].is_flagged == "TRUE":
                self.helper[name] = DEPRECATED
            else:
                del self.helper[name]

    def repair(self, vanished: str) -> None:
        self.settle()
        gone = [n for n, row in self.helper.items() if row == REST and n not in self.local]
        if vanished == "refetch":
            self.pull([*gone, *(n for n, row in self.helper.items() if row == UNFLAGGED)], fresh=False)
        for name in gone if vanished == "release" else ():
            del self.helper[name]


#: The tables that a pull of one of them looks at.
OPENED = {"A": "A", "B": "AB", "C": "AC", "D": "ABCD"}
MADE = made(3)
names = st.sampled_from(list(MADE))
some = st.sets(st.integers(0, 2), min_size=1).map(sorted)
letters = st.sampled_from("ABCD")
points = st.integers(1, 30)


class Machine(RuleBasedStateMachine):
    """One sequence; the servers are those of the class attribute."""

    world: Servers
    crasher: Crasher
    figures: Figures
    known: set[tuple[int, int]]

    def __init__(self) -> None:
        super().__init__()
        self.lab_a = self.world.lab_a
        self.world.clear()
        self.world.clear_source()
        self.world.put(False, MADE)
        self.model = Model(source=dict(MADE))
        self.kind = self.world.lab.kind

    @invariant()
    def servers_are_as_the_model(self) -> None:
        world = self.world
        found = Model(world.source_entities(), world.helper_rows(), world.local_entities()).settle()
        model = self.model.settle()
        assert found.source == model.source
        assert found.helper == model.helper
        assert found.local == model.local
        assert not world.dangling()
        expected = Counter((name[0], state) for name, state in model.states().items())
        counts = self.lab_a.status().tables
        for letter, table in TABLES.items():
            counted = counts[f"{world.theirs[table.schema]}.{letter}"]
            assert {state: counted[state] for state in State if counted[state]} == {
                state: number for (which, state), number in expected.items() if which == letter
            }
        self.figures.add("steps of random sequences over a pipeline", self.kind)

    # the source's people

    @rule(name=names)
    def insert_at_source(self, name: Name) -> None:
        if name not in self.model.source and parents(name, MADE[name]) <= self.model.source.keys():
            self.world.put(False, {name: MADE[name]})
            self.model.source[name] = MADE[name]

    @rule(name=names)
    def delete_at_source(self, name: Name) -> None:
        """The server refuses it exactly when it is held, or something stands on it."""
        if name not in self.model.source:
            return
        children = descendants(self.model.source, [name]) - {name}
        try:
            self.world.take(False, [name])
        except REFUSALS:
            assert children or name in self.model.helper
            return
        assert not children and name not in self.model.helper
        del self.model.source[name]

    @rule(name=names)
    def take_deprecated(self, name: Name) -> None:
        """Delete at the source what was asked for and is not here any more, with the row that says so."""
        if self.model.settle().helper.get(name) == DEPRECATED and descendants(self.model.source, [name]) == {name}:
            self.world.release(name)
            self.world.take(False, [name])
            del self.model.helper[name], self.model.source[name]

    @rule(name=names, c=st.one_of(st.none(), st.integers(0, 2)), other=st.integers(0, 2))
    def edit_at_source(self, name: Name, c: int | None, other: int) -> None:
        """Let an entity refer to another C, and a new part row of it to another A."""
        new = Entity((c, "edited"), frozenset({(5, other)}))
        if name in self.model.source and name[0] == "D" and parents(name, new) <= self.model.source.keys():
            self.world.edit(name, new)
            self.model.source[name] = new

    @rule(name=names, flagged=st.sampled_from([True, True, False]))
    def flag(self, name: Name, flagged: bool) -> None:
        self.world.flag(name, flagged)
        if name in self.model.helper:
            self.model.helper[name] = self.model.helper[name]._replace(is_flagged="TRUE" if flagged else "FALSE")

    # hands on the local tables

    @rule(name=names)
    def delete_by_sql(self, name: Name) -> None:
        gone = descendants(self.model.local, {name} & self.model.local.keys())
        self.world.take(True, gone)
        for each in gone:
            del self.model.local[each]

    # the local side

    @rule(letter=letters, chosen=some, descendants_too=st.booleans())
    def pull(self, letter: str, chosen: Sequence[int], descendants_too: bool) -> None:
        """Pull, and what a plan has said of it comes true."""
        code, before = self._pulling(letter, chosen, descendants_too), set(self.model.helper)
        plan = eval(code.replace("lab_a.pull", "lab_a.plan"), {"lab_a": self.lab_a})
        self._pull(letter, chosen, descendants_too)
        assert sum(table.new for table in plan.tables) == len(self.model.helper.keys() - before)

    def _pull(self, letter: str, chosen: Sequence[int], descendants_too: bool) -> None:
        eval(self._pulling(letter, chosen, descendants_too), {"lab_a": self.lab_a})
        selected = self._chosen(letter, chosen)
        if descendants_too:
            self.model.pull(descendants(self.model.source, selected))
        else:
            self.model.pull(selected, OPENED[letter])

    @rule(letter=letters, chosen=some, descendants_too=st.booleans(), point=points)
    def pull_killed(self, letter: str, chosen: Sequence[int], descendants_too: bool, point: int) -> None:
        """A pull that is killed, and the same again."""
        self._killed(self._pulling(letter, chosen, descendants_too), point)
        self._pull(letter, chosen, descendants_too)

    @rule()
    def refresh(self) -> None:
        self.lab_a.refresh(suppress_errors=True)
        below = self.model.refresh()
        found, here = self.world.local_entities(), self.world.helper_rows()
        for name in below:
            assert found[name] in (self.model.local[name], self.model.source[name])
            self.model.local[name] = found[name]
        # What these refer to now may have come all the same.
        for name in (found.keys() - self.model.local.keys()) & ancestors(self.model.source, below):
            self.model.local[name], self.model.helper[name] = found[name], here[name]

    @rule(letter=letters, chosen=some)
    def delete(self, letter: str, chosen: Sequence[int]) -> None:
        eval(self._deleting(letter, chosen), {"lab_a": self.lab_a})
        self.model.delete(self._chosen(letter, chosen, self.model.local))

    @rule(letter=letters, chosen=some, point=points)
    def delete_killed(self, letter: str, chosen: Sequence[int], point: int) -> None:
        """A deletion that is killed, and the same again."""
        self._killed(self._deleting(letter, chosen), point)
        self.delete(letter, chosen)

    @rule(vanished=st.sampled_from(["refetch", "release"]))
    def repair(self, vanished: Any) -> None:
        self.lab_a.repair(dry_run=False, vanished=vanished)
        self.model.repair(vanished)

    def _pulling(self, letter: str, chosen: Sequence[int], descendants_too: bool) -> str:
        selected = f"lab_a.source[{TABLES[letter].schema}].{letter} & '{restriction(letter, chosen)}'"
        return self.world.code(f"lab_a.pull({selected}, descendants={descendants_too})")

    def _deleting(self, letter: str, chosen: Sequence[int]) -> str:
        table, where = TABLES[letter], restriction(letter, chosen)
        return self.world.code(f"(lab_a[{table.schema}].{letter} & '{where}').delete(part_integrity='cascade')")

    def _chosen(self, letter: str, chosen: Sequence[int], among: Entities | None = None) -> list[Name]:
        entities = self.model.source if among is None else among
        return [name for name in entities if name[0] == letter and name[1][0] in chosen]

    def _killed(self, code: str, point: int) -> None:
        crashed = self.crasher.run(Order(code, "kill before", point))
        assert crashed.get("error") is None
        self.world.await_sessions(self.known)
        assert self.world.local_names() <= self.world.helper_rows().keys()
        assert not self.world.dangling()
        self.figures.add("crashes in random sequences over a pipeline", self.kind, crashed["status"] == -9)

    def teardown(self) -> None:
        """With all flags taken back, a last pull of everything brings all that is at the source."""
        with suppress(AttributeError):
            for name in self.model.helper:
                self.flag(name, False)
            modules = [self.lab_a.source[schema] for schema in self.world.theirs.values()]
            self.lab_a.pull(*modules)
            self.model.pull(self.model.source.keys())
            self.servers_are_as_the_model()
            assert set(self.model.states().values()) <= {State.SHARED}
            self.figures.add("random sequences over a pipeline", self.kind)


def restriction(letter: str, chosen: Sequence[int]) -> str:
    return f"{TABLES[letter].key[0]} IN ({', '.join(map(str, chosen))})"


@pytest.mark.timeout(7200 if SOAK else 300)
def test_random_sequences(lab: Lab, figures: Figures) -> None:
    with ExitStack() as stack:
        world = Servers(lab, stack)
        nothing = "lab_a.pull(lab_a.source[second].D & 'FALSE'), (lab_a[first].A & 'FALSE').delete()"
        eval(world.code(nothing), {"lab_a": world.lab_a})
        crasher = stack.enter_context(Crasher(lab, world.schemas, world.code(nothing)))
        crasher.run(Order("0"))
        body = {"world": world, "crasher": crasher, "figures": figures, "known": world.sessions()}
        run_state_machine_as_test(
            type("Sequence", (Machine,), body),
            settings=settings(
                max_examples=100 if SOAK else 4,
                stateful_step_count=40 if SOAK else 12,
                deadline=None,
                derandomize=not SOAK,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if SOAK else [])],
            ),
        )
