"""Random sequences of what users, administrators and crashes do, against a plain model of the state table.

The model holds what the three tables should hold: contents of entities with their parts at the source and here, and
helper rows. Each rule does something on real servers and the same in the model; after each, the tables must be as
the model says, and every entity in a state of the table. Where two workers are interleaved, an entity may end as
either order of the two would have left it.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import Any

import datajoint as dj
import hypothesis.strategies as st
import older
import psycopg2
import pymysql
import pytest
from figures import SOAK, Figures
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from lab import Lab
from pipelines import declare, granted, helper

from link import State
from link.holds.holds import Holds
from link.model.states import HelperRow, state_of
from link.work import claims, loader, marker, refresher, run

#: The number of a run whose lock nobody holds.
DEAD = 4711
ITEMS = range(6)
REST = HelperRow("NONE", "FALSE", "FALSE")

#: The note of an entity, and the sizes of its pieces.
Content = tuple[str, tuple[int, ...]]


@dataclass
class Model:
    """What the tables hold, and what the operations do to them."""

    source: dict[int, Content] = field(default_factory=dict)
    helper: dict[int, HelperRow] = field(default_factory=dict)
    local: dict[int, Content] = field(default_factory=dict)

    def states(self) -> dict[int, State | None]:
        keys = self.source.keys() | self.local.keys()
        return {k: state_of(k in self.source, self.helper.get(k), k in self.local) for k in keys}

    def recover(self) -> None:
        """What every operation begins with."""
        for key, row in list(self.helper.items()):
            if row.process == "DELETE":
                self.local.pop(key, None)
                self._release(key, row)
        self._settle()

    def _settle(self) -> None:
        for key, row in self.helper.items():
            if row == ("NONE", "TRUE", "FALSE") and key not in self.local:
                self.helper[key] = HelperRow("NONE", "TRUE", "TRUE")

    def _release(self, key: int, row: HelperRow) -> None:
        if row.is_flagged == "TRUE":
            self.helper[key] = HelperRow("NONE", "TRUE", "TRUE")
        else:
            del self.helper[key]

    def pull(self, chosen: Sequence[int], limit: int | None = None) -> None:
        self.recover()
        left = len(ITEMS) if limit is None else limit
        wanted = [k for k in sorted(self.helper) if k in chosen]
        again = [k for k in wanted if self.helper[k] == ("NONE", "FALSE", "TRUE")][:left]
        again += [k for k in wanted if self.helper[k] == REST and k not in self.local][: left - len(again)]
        before = set(self.local)
        for key in [*again, *(k for k, row in self.helper.items() if row.process == "PULL")]:
            self._finish(key)
        left -= len(set(self.local) - before)
        for key in [k for k in sorted(self.source) if k in chosen and k not in self.helper][: max(left, 0)]:
            self.helper[key] = REST
            self.local.setdefault(key, self.source[key])

    def _finish(self, key: int) -> None:
        flagged = self.helper[key].is_flagged
        if flagged == "FALSE":
            self.local.setdefault(key, self.source[key])
        self.helper[key] = HelperRow("NONE", flagged, "FALSE")
        self._settle()

    def delete(self, chosen: Sequence[int]) -> None:
        self.recover()
        for key in [k for k in chosen if k in self.local]:
            del self.local[key]
            if key in self.helper:
                self._release(key, self.helper[key])

    def release(self, chosen: Sequence[int]) -> None:
        self.recover()
        for key in [k for k in chosen if k in self.helper]:
            self._release(key, self.helper[key])

    def refresh(self, chosen: Sequence[int]) -> None:
        for key in chosen:
            if key in self.local and self.helper.get(key, HelperRow("", "", ""))[:2] == ("NONE", "FALSE"):
                self.local[key] = self.source[key]

    def flag(self, chosen: Sequence[int], flagged: str) -> None:
        for key in chosen:
            if key in self.helper:
                self.helper[key] = self.helper[key]._replace(is_flagged=flagged)


def declare_items(lab: Lab) -> Any:
    class Item(dj.Manual):
        definition = "item: int32\n---\nnote: varchar(20)"

        class Piece(dj.Part):
            definition = "-> master\npiece: int32\n---\nsize: int32"

    return declare(lab, Item)


class World:
    """The same on real servers."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self.lab = lab
        self.Item = granted(lab, declare_items(lab))
        self.Item()
        _ = self.Item.source
        self.there = stack.enter_context(closing(lab.source_server.connect_raw()))
        self.here = stack.enter_context(closing(lab.local_server.connect_raw()))
        self.helper = f"{lab.helper_schema}.{lab.helper_table}"
        self.said = helper(lab)
        self.process = "_process" if lab.older else "process"
        # What says the flags, where that is not a column.
        self.parts = older.parts(lab) if lab.older else {}
        self.sessions = self._sessions()

    def sql(self, connection: Any, *statements: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def clear(self) -> None:
        self.delete_helper_rows("1 = 1")
        for connection, schema in ((self.there, self.lab.source_schema), (self.here, self.lab.local_schema)):
            self.sql(connection, f"DELETE FROM {schema}.item__piece", f"DELETE FROM {schema}.item")

    def delete_helper_rows(self, condition: str) -> None:
        self.sql(self.there, *(f"DELETE FROM {t} WHERE {condition}" for t in (*self.parts.values(), self.helper)))

    def flag(self, condition: str, flagged: str) -> None:
        """Ask for deletions, or take that back."""
        requested = self.parts.get("is_flagged")
        if requested is None:
            statement = f"UPDATE {self.helper} SET is_flagged = '{flagged}' WHERE {condition}"
        elif flagged == "FALSE":
            statement = f"DELETE FROM {requested} WHERE {condition}"
        else:
            new = f"item NOT IN (SELECT item FROM {requested})"
            statement = f"INSERT INTO {requested} (item) SELECT item FROM {self.helper} WHERE {condition} AND {new}"
        self.sql(self.there, statement)

    def observe(self) -> Model:
        columns = "item, process, is_flagged, is_deprecated"
        rows = self.sql(self.there, f"SELECT {columns} FROM {self.said}")
        return Model(
            self._contents(self.there, self.lab.source_schema),
            {row[0]: HelperRow(*row[1:]) for row in rows},
            self._contents(self.here, self.lab.local_schema),
        )

    def _contents(self, connection: Any, schema: str) -> dict[int, Content]:
        pieces: dict[int, list[int]] = {}
        for item, _, size in self.sql(connection, f"SELECT item, piece, size FROM {schema}.item__piece ORDER BY 1, 2"):
            pieces.setdefault(item, []).append(size)
        notes = self.sql(connection, f"SELECT item, note FROM {schema}.item")
        assert pieces.keys() <= {item for item, _ in notes}
        return {item: (note, tuple(pieces.get(item, ()))) for item, note in notes}

    def put(self, connection: Any, schema: str, item: int, content: Content) -> None:
        note, pieces = content
        rows = ", ".join(f"({item}, {n}, {size})" for n, size in enumerate(pieces))
        self.sql(connection, f"INSERT INTO {schema}.item VALUES ({item}, '{note}')")
        if rows:
            self.sql(connection, f"INSERT INTO {schema}.item__piece VALUES {rows}")

    def take(self, connection: Any, schema: str, item: int) -> None:
        self.sql(
            connection,
            "BEGIN",
            f"DELETE FROM {schema}.item__piece WHERE item = {item}",
            f"DELETE FROM {schema}.item WHERE item = {item}",
            "COMMIT",
        )

    def await_end(self) -> None:
        """Wait until the server has noticed that the last run has ended, and freed its lock."""
        deadline = time.monotonic() + 60
        while self._sessions() - self.sessions:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def _sessions(self) -> set[Any]:
        query = f"SELECT id FROM information_schema.processlist WHERE user = '{self.lab.link_user}'"
        if self.lab.kind == "postgresql":
            query = f"SELECT pid FROM pg_stat_activity WHERE usename = '{self.lab.link_user}'"
        return set(self.sql(self.there, query))


class Pause:
    """Lets the first thread that comes to a place wait there until it may go on."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def wait(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(60)


PLACES = {
    "claim": (Holds, "claim"),
    "load": (loader.Loader, "load"),
    "finish": (marker.Marker, "_finish"),
}

#: Where a refresh stops: before it reads, and between that and what it changes here.
STEPS = {
    "read": (refresher.Refresher, "_bring"),
    "replace": (refresher.Refresher, "_replace"),
}
OTHERS = ["pull", "delete", "refresh", "TRUE", "FALSE"]

items = st.sampled_from(list(ITEMS))
some = st.sets(items, min_size=1).map(sorted)
contents = st.tuples(st.sampled_from(["a", "b"]), st.lists(st.integers(0, 3), max_size=2).map(tuple))


class Machine(RuleBasedStateMachine):
    """One sequence; the servers are those of the class attribute."""

    world: World
    figures: Figures

    def __init__(self) -> None:
        super().__init__()
        self.world.clear()
        self.model = Model()
        self.kind = self.world.lab.kind
        for item in ITEMS[:4]:
            self.insert_at_source(item, ("a", (item,)))
        self.figures.add("random sequences", self.kind)

    @invariant()
    def tables_are_as_the_model(self) -> None:
        found = self.world.observe()
        assert found == self.model, f"\nfound {found}\nmodel {self.model}"
        assert None not in found.states().values()
        self.figures.add("steps of random sequences", self.kind)

    # the source's people

    @rule(item=items, content=contents)
    def insert_at_source(self, item: int, content: Content) -> None:
        if item not in self.model.source:
            self.world.put(self.world.there, self.world.lab.source_schema, item, content)
            self.model.source[item] = content

    @rule(item=items)
    def delete_at_source(self, item: int) -> None:
        """The server refuses it exactly when the entity is held."""
        try:
            self.world.take(self.world.there, self.world.lab.source_schema, item)
        except (pymysql.IntegrityError, psycopg2.IntegrityError):
            self.world.sql(self.world.there, "ROLLBACK")
            assert item in self.model.helper
            return
        assert item not in self.model.helper
        self.model.source.pop(item, None)

    @rule(item=items, size=st.integers(4, 9))
    def edit_at_source(self, item: int, size: int) -> None:
        if item in self.model.source:
            schema = self.world.lab.source_schema
            self.world.sql(
                self.world.there,
                f"DELETE FROM {schema}.item__piece WHERE item = {item}",
                f"INSERT INTO {schema}.item__piece VALUES ({item}, 0, {size})",
            )
            self.model.source[item] = (self.model.source[item][0], (size,))

    @rule(chosen=some, flagged=st.sampled_from(["TRUE", "TRUE", "FALSE"]))
    def flag(self, chosen: list[int], flagged: str) -> None:
        self._flag(chosen, flagged)
        self.model.flag(chosen, flagged)

    def _flag(self, chosen: Sequence[int], flagged: str) -> None:
        self.world.flag(restriction(chosen), flagged)

    # hands on the helper table

    @rule(item=items)
    def delete_helper_row(self, item: int) -> None:
        self.world.delete_helper_rows(f"item = {item}")
        self.model.helper.pop(item, None)

    @rule(item=items, process=st.sampled_from(["PULL", "DELETE", "NONE"]))
    def insert_helper_row(self, item: int, process: str) -> None:
        if item in self.model.source and item not in self.model.helper:
            columns, values = f"item, {self.world.process}", f"{item}, '{process}'"
            self.world.sql(self.world.there, f"INSERT INTO {self.world.helper} ({columns}) VALUES ({values})")
            self.model.helper[item] = REST._replace(process=process)

    @rule(item=items, process=st.sampled_from(["PULL", "DELETE", "NONE"]))
    def set_process(self, item: int, process: str) -> None:
        self.world.await_end()  # or the row would be one of a run that has not quite ended
        change = f"SET {self.world.process} = '{process}' WHERE item = {item}"
        self.world.sql(self.world.there, f"UPDATE {self.world.helper} {change}")
        if item in self.model.helper:
            self.model.helper[item] = self.model.helper[item]._replace(process=process)

    # hands on the local tables

    @rule(item=items)
    def delete_local_row(self, item: int) -> None:
        self.world.take(self.world.here, self.world.lab.local_schema, item)
        self.model.local.pop(item, None)

    @rule(item=items, content=contents)
    def insert_local_row(self, item: int, content: Content) -> None:
        if item not in self.model.local:
            self.world.put(self.world.here, self.world.lab.local_schema, item, content)
            self.model.local[item] = content

    # crashes: what a worker leaves that dies in the middle

    @rule(item=items, copied=st.booleans())
    def crash_in_a_pull(self, item: int, copied: bool) -> None:
        if item not in self.model.source or item in self.model.helper:
            return
        columns, values = f"item, {self.world.process}, _worker", f"{item}, 'PULL', {DEAD}"
        self.world.sql(self.world.there, f"INSERT INTO {self.world.helper} ({columns}) VALUES ({values})")
        self.model.helper[item] = REST._replace(process="PULL")
        if copied and item not in self.model.local:
            content = self.model.source[item]
            self.world.put(self.world.here, self.world.lab.local_schema, item, content)
            self.model.local[item] = content

    @rule(item=items, committed=st.booleans())
    def crash_in_a_delete(self, item: int, committed: bool) -> None:
        if item not in self.model.local or item not in self.model.helper:
            return
        self.world.sql(
            self.world.there,
            f"UPDATE {self.world.helper} SET {self.world.process} = 'DELETE', _worker = {DEAD} WHERE item = {item}",
        )
        self.model.helper[item] = self.model.helper[item]._replace(process="DELETE")
        if committed:
            self.delete_local_row(item)

    # the local side

    @rule(chosen=st.one_of(st.none(), some), limit=st.sampled_from([None, None, 0, 1, 2]))
    def pull(self, chosen: list[int] | None, limit: int | None) -> None:
        self._pull(chosen, limit)
        self.model.pull(chosen or ITEMS, limit)

    def _pull(self, chosen: Sequence[int] | None, limit: int | None = None) -> None:
        self.world.Item.source.pull(*([restriction(chosen)] if chosen else []), max_calls=limit)

    @rule(chosen=some)
    def delete(self, chosen: list[int]) -> None:
        self._delete(chosen)
        self.model.delete(chosen)

    def _delete(self, chosen: Sequence[int]) -> None:
        (self.world.Item & restriction(chosen)).delete()

    @rule(chosen=some)
    def release(self, chosen: list[int]) -> None:
        (self.world.Item.source & restriction(chosen)).release(prompt=False)
        self.model.release(chosen)

    @rule(chosen=st.one_of(st.none(), some))
    def refresh(self, chosen: list[int] | None) -> None:
        self._refresh(chosen or ITEMS)
        self.model.refresh(chosen or ITEMS)

    def _refresh(self, chosen: Sequence[int]) -> None:
        self.world.Item.source.refresh(restriction(chosen))

    # two at once

    @rule(place=st.sampled_from(list(STEPS)), first=some, what=st.sampled_from(OTHERS), second=some)
    def interleave_a_refresh(self, place: str, first: list[int], what: str, second: list[int]) -> None:
        """A refresh stops somewhere, something else happens, and it goes on: the one or the other was first."""
        if (place, what) == ("replace", "refresh"):
            return  # which would wait for the first
        ends = [copy.deepcopy(self.model) for _ in range(2)]
        ends[0].refresh(first)
        for model in ends:
            self._other(model, what, second)
        ends[1].refresh(first)
        self._interleave(STEPS[place], lambda: self._refresh(first), what, second)
        found = self.world.observe()
        assert (found.source, found.helper) == (self.model.source, ends[0].helper)
        assert found.local.keys() == ends[0].local.keys()
        for key, content in found.local.items():
            assert content in [end.local[key] for end in ends], (key, found, ends)
        self.model = found
        self.figures.add("interleavings of two workers", self.kind)

    def _other(self, model: Model, what: str, chosen: Sequence[int]) -> None:
        if what in ("pull", "delete", "refresh"):
            getattr(model, what)(chosen)
        else:
            model.flag(chosen, what)

    @rule(
        place=st.sampled_from(list(PLACES)),
        first=some,
        what=st.sampled_from(OTHERS),
        second=some,
    )
    def interleave(self, place: str, first: list[int], what: str, second: list[int]) -> None:
        """A pull stops somewhere, something else happens, and it goes on."""
        ends = [copy.deepcopy(self.model) for _ in range(2)]
        undone = self._brought_back(first) & set(second) if what == "delete" else set()
        released = {key for key, row in self.model.helper.items() if row.process == "DELETE"}
        ends[0].pull(first)
        self._other(ends[0], what, second)
        self._other(ends[1], what, second)
        ends[1].pull(first)
        self._interleave(PLACES[place], lambda: self._pull(first), what, second)
        found = self.world.observe()
        assert found.source == self.model.source
        for key, state in found.states().items():
            allowed = {end.states().get(key) for end in ends}
            contents = [end.local.get(key) for end in ends]
            if what == "TRUE" and key in second:
                allowed |= {State.TAINTED, State.DEPRECATED}
            if key in released and key in first:
                allowed.add(State.SHARED)  # there was nothing to flag between its release and its pull
            if key in undone:
                allowed.add(State.SHARED)
                contents.append(found.source[key])
            assert state in allowed, (key, state, allowed, found)
            assert found.local.get(key) in contents or state is State.DEPRECATED
        self.model = found
        self.figures.add("interleavings of two workers", self.kind)

    def _brought_back(self, chosen: Sequence[int]) -> set[int]:
        """What a pull copies although it is local: gone when it is loaded, it comes back."""
        unfinished = {key for key, row in self.model.helper.items() if row.process == "PULL"}
        unheld = self.model.source.keys() & set(chosen) - self.model.helper.keys()
        return self.model.local.keys() & (unfinished | unheld)

    def _interleave(self, place: tuple[Any, str], action: Callable[[], None], what: str, second: Sequence[int]) -> None:
        owner, name = place
        original, pause, failures = getattr(owner, name), Pause(), list[BaseException]()

        def pausing(*args: Any, **kwargs: Any) -> Any:
            pause.wait()
            return original(*args, **kwargs)

        def acting() -> None:
            try:
                action()
            except BaseException as error:
                failures.append(error)
            finally:
                pause.reached.set()

        thread = threading.Thread(target=acting)
        setattr(owner, name, pausing)
        try:
            thread.start()
            assert pause.reached.wait(60)
            if what in ("pull", "delete", "refresh"):
                getattr(self, f"_{what}")(second)
            else:
                self._flag(second, what)
        finally:
            pause.go_on.set()
            thread.join()
            setattr(owner, name, original)
        assert not failures, failures
        self.world.await_end()

    def teardown(self) -> None:
        """A last pull of everything brings all to rest; what is lost is counted."""
        with suppress(AttributeError):
            self._pull(None)
            self.model.pull(ITEMS)
            found = self.world.observe()
            resting = {State.SHARED, State.TAINTED, State.DEPRECATED, State.LOCAL_ONLY}
            assert set(found.states().values()) <= resting
            assert found == self.model
            lost = found.source.keys() - found.local.keys() - found.helper.keys()
            self.figures.add("rows lost in random sequences", self.kind, len(lost))


def restriction(chosen: Sequence[int]) -> str:
    return f"item IN ({', '.join(map(str, chosen))})"


@pytest.mark.timeout(7200 if SOAK else 300)
def test_random_sequences(either: Lab, figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    # Chunks of two, so that there is something between them.
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 2)
    monkeypatch.setattr(claims, "CHUNK_ROWS", 2)
    monkeypatch.setattr(run, "PAUSES", ())
    with ExitStack() as stack:
        body = {"world": World(either, stack), "figures": figures}
        run_state_machine_as_test(
            type("Sequence", (Machine,), body),
            settings=settings(
                max_examples=100 if SOAK else 4 if either.older else 10,
                stateful_step_count=40 if SOAK else 15,
                deadline=None,
                derandomize=not SOAK,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if SOAK else [])],
            ),
        )
