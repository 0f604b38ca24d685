"""Whose turn it is, whatever the graph, what is lost on the way, and where there is no room: with real threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link.errors import ConnectionLimitError
from link.model.graph import Name
from link.work.claims import PutOffError
from link.work.turns import ROOM, Turn, Turns


def named(number: int) -> Name:
    return ("schema", str(number))


@st.composite
def graphs(draw: st.DrawFn) -> dict[Name, set[Name]]:
    """Up to twelve groups, and all that each refers to."""
    above: dict[Name, set[Name]] = {}
    for number in range(draw(st.integers(1, 12))):
        parents = draw(st.sets(st.sampled_from(range(number)), max_size=3)) if number else set()
        above[named(number)] = {named(n) for n in parents}.union(*(above[named(n)] for n in parents))
    return above


@dataclass
class Copying:
    """Copies of groups that do nothing but to note what they find."""

    above: Mapping[Name, set[Name]]
    losing: set[Name] = field(default_factory=set)
    crowded: int = 100  # sessions that there are
    unheard: set[Name] = field(default_factory=set)
    here: set[Name] = field(default_factory=set)
    tried: list[Name] = field(default_factory=list)
    let_go: list[Name] = field(default_factory=list)
    broken_off: list[bool] = field(default_factory=list)
    most: int = 0
    _under_way: set[Name] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.Lock)

    def copy(self, name: Name, turn: Turn) -> bool:
        with self._lock:
            self.tried.append(name)
            assert name not in self._under_way
            self._under_way.add(name)
            self.most = max(self.most, len(self._under_way))
            is_refused = len(self._under_way) > self.crowded
        try:
            if is_refused:
                raise ConnectionLimitError("no room", "")
            turn.taken()
            turn.wait()
            with self._lock:
                assert self.above[name] <= self.here, "its turn had not come"
                has_lost = name in self.losing
                if not has_lost:
                    self.here.add(name)
            if not has_lost and name not in self.unheard:
                turn.arrived()
            return has_lost
        finally:
            with self._lock:
                self._under_way.remove(name)

    def let_go_below(self, name: Name) -> None:
        assert not self._under_way, "somebody copies what is being let go of"
        self.let_go.append(name)
        self.here.add(name)

    def run(self, light: set[Name], must_wait: Any = lambda _: False) -> None:
        """Copy all; it must come to its end."""
        turns = Turns(self.above, self.copy, must_wait, light)
        errors: list[BaseException] = []

        def work() -> None:
            try:
                turns.copy(self.let_go_below, False, self.broken_off.append)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), f"waits for ever: {self}"
        if errors:
            raise errors[0]


@given(st.data())
def test_each_is_copied_once_what_it_refers_to_is_here(data: st.DataObject) -> None:
    above = data.draw(graphs())
    some = st.sets(st.sampled_from(list(above)))
    copying = Copying(above, data.draw(some), data.draw(st.integers(1, 12)), data.draw(some))
    light = data.draw(some)
    copying.run(light)
    assert copying.here == set(above)
    assert sorted(copying.let_go) == sorted(copying.losing)
    assert copying.most <= ROOM
    if not light:
        assert copying.most <= ROOM // 2


def test_what_is_read_ahead_is_put_off_where_something_is_lost() -> None:
    above = {named(0): set[Name](), named(1): {named(0)}, named(2): {named(0), named(1)}}
    reading = threading.Event()

    class Late(Copying):
        def copy(self, name: Name, turn: Turn) -> bool:
            if name == named(0):
                turn.taken()
                assert reading.wait(30)
                self.tried.append(name)
                return True
            if name == named(2):
                reading.set()
            return super().copy(name, turn)

    copying = Late(above)
    copying.run(light=set(above))
    assert copying.let_go == [named(0)]
    assert sorted(copying.tried) == [named(0), named(1), named(1), named(2), named(2)]


def test_what_fails_ends_the_others_that_wait() -> None:
    above = {named(0): set[Name](), named(1): {named(0)}}
    reading, waited = threading.Event(), list[Any]()

    def copy(name: Name, turn: Turn) -> bool:
        turn.taken()
        if name == named(0):
            assert reading.wait(30)
            raise ValueError("it fails")
        reading.set()
        with suppress(PutOffError):
            turn.wait()
            waited.append("its turn has come")
        return False

    told = list[bool]()
    with pytest.raises(ValueError, match="it fails"):
        Turns(above, copy, lambda _: False, set(above)).copy(lambda _: None, False, told.append)
    assert not waited and told == [False]


def test_where_one_alone_finds_no_room_that_is_told() -> None:
    above = {named(0): set[Name](), named(1): set[Name]()}
    copying = Copying(above, crowded=0)
    with pytest.raises(ConnectionLimitError):
        copying.run(light=set())
    assert len(copying.tried) == 3
