"""What a pull of a pipeline does with its arguments, and with entities that cannot be had: over a diamond."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import diamond
import pytest
from diamond import Entity, Name
from lab import Lab
from recorder import Statement
from test_unfit import limit

from link import ConflictError, TransferError
from link.model.ranges import Chunk
from link.model.states import HelperRow
from link.servers.session import Form
from link.work import claims, copies, following, transfer
from link.work.claims import Claims
from link.work.loader import Loader
from link.work.marker import Marker
from link.work.reader import Reader


@pytest.fixture
def servers(lab: Lab) -> Iterator[diamond.Servers]:
    """The diamond at the source; nothing is here yet."""
    with ExitStack() as stack:
        made = diamond.Servers(lab, stack)
        made.put(False, diamond.made())
        yield made


def some(servers: diamond.Servers, restriction: str = "1 = 1") -> Any:
    """What is selected of the last table."""
    return servers.lab_a.source[servers.theirs["second"]].D & restriction


def below(letter: str, key: tuple[int, ...]) -> set[Name]:
    """An entity and all that stands on it."""
    return diamond.descendants(diamond.made(), [(letter, key)])


def only_d(names: set[Name]) -> set[Name]:
    return {name for name in names if name[0] == "D"}


def refuse(servers: diamond.Servers, name: Name) -> None:
    """Let the local server refuse an entity, whose table an empty pull has made."""
    table = diamond.TABLES[name[0]]
    where = diamond.condition(table.key, name[1])
    servers.sql(servers.there, f"UPDATE {servers.theirs[table.schema]}.{table.name} SET note = 'refused' WHERE {where}")
    here = f"{servers.ours[table.schema]}.{table.name}"
    servers.sql(servers.here, f"ALTER TABLE {here} ADD CONSTRAINT refused CHECK (note <> 'refused')")


def test_what_stands_on_a_refused_entity_is_left_out_and_all_else_pulled(servers: diamond.Servers) -> None:
    servers.lab_a.pull(some(servers, "a = 99"))
    refuse(servers, ("B", (1, 0)))
    with pytest.raises(TransferError, match=r"'a': 1, 'b': 0"):
        servers.lab_a.pull(some(servers))
    servers.check_safety()
    result = servers.lab_a.pull(some(servers), suppress_errors=True)
    assert [key for key, _ in result.errors] == [{"a": 1, "b": 0}]
    assert result.skipped == {"an ancestor is left out": 2}
    entities = diamond.made()
    wanted = diamond.ancestors(entities, only_d(set(entities)) - below("B", (1, 0)))
    assert servers.local_names() == wanted == set(servers.helper_rows())
    servers.check_safety()


@pytest.mark.parametrize("word", ["raise", "keep", "skip", "replace"])
def test_an_ancestor_of_the_same_key_and_another_content(servers: diamond.Servers, word: Any) -> None:
    entities = diamond.made()
    servers.lab_a.pull(some(servers, "a = 99"))
    servers.put(True, {("A", (1,)): Entity(("made here",)), ("A", (2,)): entities["A", (2,)]})
    if word == "raise":
        with pytest.raises(ConflictError, match=r"'a': 1"):
            servers.lab_a.pull(some(servers))
        assert servers.local_names() == {("A", (1,)), ("A", (2,))}
        assert not servers.helper_rows()
        return
    result = servers.lab_a.pull(some(servers), conflicts=word)
    here = servers.local_entities()
    assert here.pop(("A", (1,))).row == (("a 1" if word == "replace" else "made here"),)
    chosen = only_d(set(entities)) - (below("A", (1,)) if word == "skip" else set())
    wanted = diamond.ancestors(entities, chosen)
    assert set(servers.helper_rows()) == wanted
    assert here.keys() | {("A", (1,))} == wanted | {("A", (1,)), ("A", (2,))}
    assert all(entity == entities[name] for name, entity in here.items())
    assert (len(result.differing), len(result.replaced)) == {"keep": (1, 0), "skip": (0, 0), "replace": (0, 1)}[word]
    # All that stands on it is linked, and its source's.
    assert not result.dependents and not any(each.dependents for each in result.tables.values())


def test_an_ancestor_of_what_is_fetched_again_may_be_a_conflict(servers: diamond.Servers) -> None:
    servers.lab_a.pull(some(servers, "a = 1"))
    servers.take(True, only_d(servers.local_names()))
    helper, local = servers.helpers()["C"], f"{servers.ours['second']}.c"
    servers.sql(servers.there, f"DELETE FROM {helper} WHERE c = 2")
    servers.sql(servers.here, f"UPDATE {local} SET note = 'edited' WHERE c = 2")
    with pytest.raises(ConflictError, match=r"'c': 2"):
        servers.lab_a.pull(some(servers, "a = 1"))
    assert ("C", (2,)) not in servers.helper_rows()
    assert servers.lab_a.pull(some(servers, "a = 1"), conflicts="keep").differing == [{"c": 2}]
    assert only_d(servers.local_names()) == {n for n in only_d(set(diamond.made())) if n[1][0] == 1}


def test_at_most_so_many_of_what_is_selected(servers: diamond.Servers) -> None:
    entities = diamond.made()
    result = servers.lab_a.pull(some(servers), max_calls=3)
    chosen = only_d(servers.local_names())
    assert len(chosen) == 3 == result.tables[f"{servers.theirs['second']}.D"].pulled
    assert servers.local_names() == diamond.ancestors(entities, chosen) == set(servers.helper_rows())


def test_several_processes_copy_what_is_held(servers: diamond.Servers) -> None:
    many: diamond.Entities = {("A", (n,)): Entity((f"a {n}",)) for n in range(4, 3000)}
    many |= {("B", (n, 0)): Entity(("b",), frozenset({(0, n)})) for n in range(4, 3000)}
    servers.put(False, many)
    servers.lab_a.pull(some(servers, "a = 99"))
    source = servers.lab_a.source[servers.theirs["first"]]
    result = servers.lab_a.pull(source.B & "a >= 4", processes=2)
    assert (result.pulled, result.part_rows) == (2 * 2996, 2996)
    assert servers.local_entities() == many
    servers.check_safety()
    assert {tuple(row) for row in servers.helper_rows().values()} == {("NONE", "FALSE", "FALSE")}


class Taken(NamedTuple):
    """A chunk, of which table and by which copy of it."""

    table: str
    copy: int
    number: int


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Taken]:
    """Groups are large from a few entities on; what is taken of them to be copied."""
    chunks, read = list[Taken](), Reader._read

    def noted(self: Reader, chunk: Chunk) -> None:
        chunks.append(Taken(self.tables[0].name, id(self), chunk.claimed))
        read(self, chunk)

    monkeypatch.setattr(Reader, "_read", noted)
    for module in (claims, following, copies):
        monkeypatch.setattr(module, "CHUNK_ROWS", 3)
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 1)
    return chunks


def meet(monkeypatch: pytest.MonkeyPatch, *tables: str) -> None:
    """Let two begin to read each of some tables, or nobody."""
    meetings, met, read = {table: threading.Barrier(2) for table in tables}, set[Reader](), Reader._read

    def meeting(self: Reader, chunk: Chunk) -> None:
        table = self.tables[0].name
        if table in meetings and self not in met:
            met.add(self)
            meetings[table].wait(30)
        read(self, chunk)

    monkeypatch.setattr(Reader, "_read", meeting)


def test_large_groups_are_copied_by_several_at_once(
    servers: diamond.Servers, monkeypatch: pytest.MonkeyPatch, taken: list[Taken]
) -> None:
    meet(monkeypatch, "b", "__d")
    entities = diamond.made()
    servers.lab_a.pull(some(servers, "a = 99"))
    result = servers.lab_a.pull(some(servers))
    wanted = diamond.ancestors(entities, only_d(set(entities)))
    assert servers.local_entities() == {name: entities[name] for name in wanted}
    assert {tuple(row) for row in servers.helper_rows().values()} == {("NONE", "FALSE", "FALSE")}
    assert set(servers.helper_rows()) == wanted
    assert result.pulled == len(wanted)
    assert result.part_rows == sum(len(entities[name].parts) for name in wanted)
    for table, letter in (("__d", "D"), ("b", "B")):
        chunks = [chunk for chunk in taken if chunk.table.endswith(table)]
        assert sum(chunk.number for chunk in chunks) == sum(1 for name in wanted if name[0] == letter)
        assert len({chunk.copy for chunk in chunks}) == 2
    servers.check_safety()
    assert servers.lab_a.verify()
    assert servers.lab_a.pull(some(servers)).pulled == 0


def test_what_one_cannot_have_ends_the_others(servers: diamond.Servers, taken: list[Taken]) -> None:
    servers.lab_a.pull(some(servers, "a = 99"))
    refuse(servers, ("D", (0, 0, 1)))
    with pytest.raises(TransferError, match=r"'a': 0, 'b': 0, 'd': 1"):
        servers.lab_a.pull(some(servers))
    servers.check_safety()
    assert set(servers.helper_rows()) == servers.local_names()
    result = servers.lab_a.pull(some(servers), suppress_errors=True)
    assert [key for key, _ in result.errors] == [{"a": 0, "b": 0, "d": 1}]
    assert only_d(servers.local_names()) == only_d(set(diamond.made())) - {("D", (0, 0, 1))}
    assert set(servers.helper_rows()) == servers.local_names()
    assert len({chunk.copy for chunk in taken}) > 4


def test_small_tables_wait_for_few_answers(
    servers: diamond.Servers, monkeypatch: pytest.MonkeyPatch, statements: list[Statement]
) -> None:
    """Whether other rows lie between is asked of all at once; what stands on a table waits for its rows, no longer."""
    servers.lab_a.pull(some(servers, "a = 99"))
    begun, finish, load = threading.Event(), Marker._finish, Loader.load

    def loading(self: Loader, *args: Any) -> int:
        if self.run.mapping.source.master.name != "a":
            begun.set()
        return load(self, *args)

    def finishing(self: Marker, *args: Any) -> None:
        assert begun.wait(30)
        finish(self, *args)

    monkeypatch.setattr(Loader, "load", loading)
    monkeypatch.setattr(Marker, "_finish", finishing)
    statements.clear()
    servers.lab_a.pull(some(servers))
    entities = diamond.made()
    assert servers.local_entities() == {n: entities[n] for n in diamond.ancestors(entities, only_d(set(entities)))}
    assert servers.helper_rows() == dict.fromkeys(servers.local_names(), HelperRow("NONE", "FALSE", "FALSE"))
    # Whether there is something new, and where the first claim ends; nothing before the copies.
    there, here = servers.lab.source_server.port, servers.lab.local_server.port
    assert len([each for each in statements if "OFFSET" in each.sql and each.port == there]) <= 3
    # What the local tables are is read once.
    assert len([each for each in statements if _about_tables(each.sql) and each.port == here]) == 1


@pytest.mark.parametrize("has_lost", [False, True])
def test_rows_are_read_while_what_they_refer_to_is_loaded(
    servers: diamond.Servers, monkeypatch: pytest.MonkeyPatch, has_lost: bool
) -> None:
    """They come here once it is here; where some of it cannot be had, they are read again without what stands on it."""
    servers.lab_a.pull(some(servers, "a = 99"))
    if has_lost:
        refuse(servers, ("A", (1,)))
    is_read, read, load, times = threading.Event(), Reader._read, Loader.load, list[str]()

    def reading(self: Reader, chunk: Chunk) -> None:
        times.append(self.tables[0].name)
        if self.tables[0].name == "b":
            is_read.set()
        read(self, chunk)

    def loading(self: Loader, *args: Any) -> int:
        assert self.run.mapping.source.master.name != "a" or is_read.wait(30)
        return load(self, *args)

    monkeypatch.setattr(Reader, "_read", reading)
    monkeypatch.setattr(Loader, "load", loading)
    # What waits has come to the middle of its rows.
    monkeypatch.setattr(transfer, "Form", lambda language, _, exact_json: Form(language, 10, exact_json))
    result = servers.lab_a.pull(some(servers), suppress_errors=True)
    entities = diamond.made()
    chosen = only_d(set(entities)) - (below("A", (1,)) if has_lost else set())
    wanted = diamond.ancestors(entities, chosen)
    assert servers.local_entities() == {name: entities[name] for name in wanted}
    assert servers.helper_rows() == dict.fromkeys(wanted, HelperRow("NONE", "FALSE", "FALSE"))
    assert result.pulled == len(wanted)
    assert [key for key, _ in result.errors] == ([{"a": 1}] if has_lost else [])
    assert times.count("b") == 1 + has_lost
    servers.check_safety()


def _about_tables(sql: str) -> bool:
    return "TABLE_NAME, TABLE_COMMENT" in sql or "c.relname, obj_description(" in sql


def test_what_has_many_part_rows_is_large_however_few_entities_it_has(
    servers: diamond.Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the source's statistics say it. What stands on it waits for its rows, no longer."""
    many: diamond.Entities = {("A", (n,)): Entity((f"a {n}",)) for n in range(10, 210)}
    many |= {("B", (n, 0)): Entity(("b",), frozenset((piece, 0) for piece in range(50))) for n in range(20, 24)}
    many |= {("D", (n, 0, 0)): Entity((None, "d")) for n in range(20, 24)}
    servers.put(False, many)
    word = "ANALYZE" if servers.lab.kind == "postgresql" else "ANALYZE TABLE"
    for table in (f"{servers.theirs['first']}.{name}" for name in ("a", "b", "b__piece")):
        servers.lab.source_server.sql(f"{word} {table}")
    monkeypatch.setattr(copies, "CHUNK_ROWS", 20)
    begun, finish, load = threading.Event(), Marker._finish, Loader.load
    readers, chunks, read = dict[str, set[Reader]](), dict[str, list[Chunk]](), Reader._read

    def loading(self: Loader, *args: Any) -> int:
        if self.run.mapping.source.master.name == "__d":
            begun.set()
        return load(self, *args)

    here = Counter[str]()

    def finishing(self: Marker, chunk: Chunk, moved: int, *args: Any) -> None:
        name = self.run.mapping.source.master.name
        here[name] += moved
        assert here[name] < {"a": 194, "b": 4}.get(name, 5) or begun.wait(30)
        finish(self, chunk, moved, *args)

    def reading(self: Reader, chunk: Chunk) -> None:
        chunks.setdefault(self.tables[0].name, []).append(chunk)
        readers.setdefault(self.tables[0].name, set()).add(self)
        read(self, chunk)

    servers.lab_a.pull(some(servers, "a = 99"))
    monkeypatch.setattr(Loader, "load", loading)
    monkeypatch.setattr(Marker, "_finish", finishing)
    monkeypatch.setattr(Reader, "_read", reading)
    meet(monkeypatch, "a", "b")
    first = servers.lab_a.source[servers.theirs["first"]]
    servers.lab_a.pull(some(servers, "a IN (20, 21, 22, 23)"), first.A & "a < 200")
    assert servers.helper_rows() == dict.fromkeys(servers.local_names(), HelperRow("NONE", "FALSE", "FALSE"))
    wanted = {n: e for n, e in {**diamond.made(), **many}.items() if n[1][0] < 200 and (n in many or n[0] == "A")}
    assert servers.local_entities() == wanted
    assert [len(readers[name]) for name in ("a", "b", "__d")] == [2, 2, 1]
    assert sum(chunk.claimed for chunk in chunks["a"]) == 194
    # Rows lie behind them that are not selected: only the last few are read by way of the helper table.
    assert [chunk for chunk in chunks["a"] if not chunk.whole] == [c for c in chunks["a"] if c.upto is None]


def test_the_last_of_a_large_claim_is_shared_by_those_who_claim(
    servers: diamond.Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.put(False, {("A", (n,)): Entity((f"a {n}",)) for n in range(10, 210)})
    for module in (claims, following):
        monkeypatch.setattr(module, "CHUNK_ROWS", 80)
    servers.lab_a.pull(some(servers, "a = 99"))
    claimed, claim = list[Chunk](), Claims._claim

    def noted(self: Claims, *args: Any) -> Chunk:
        claimed.append(claim(self, *args))
        return claimed[-1]

    monkeypatch.setattr(Claims, "_claim", noted)
    servers.lab_a.pull(servers.lab_a.source[servers.theirs["first"]].A & "a < 200")
    assert sorted(chunk.claimed for chunk in claimed) == [17, 17, 80, 80]
    assert servers.helper_rows() == dict.fromkeys(servers.local_names(), HelperRow("NONE", "FALSE", "FALSE"))
    assert len(servers.local_names()) == 194


@pytest.mark.parametrize("connections", [5, 6, 8])
def test_copies_take_turns_where_there_is_no_room(
    servers: diamond.Servers, taken: list[Taken], connections: int
) -> None:
    limit(servers.lab, 100)  # MySQL and MariaDB count connections from when there is a limit
    servers.lab_a.pull(some(servers, "a = 99"))
    limit(servers.lab, connections)
    entities = diamond.made()
    servers.lab_a.pull(servers.lab_a.source[servers.theirs["first"]], some(servers))
    assert servers.local_entities() == entities
    assert set(servers.helper_rows()) == set(entities)
    assert len(taken) > 4


def test_below_a_flagged_entity_nothing_is_pulled_whatever_is_here_in_between(servers: diamond.Servers) -> None:
    entities = diamond.made()
    servers.lab_a.pull(servers.lab_a.source[servers.theirs["first"]].B & "a = 1")
    servers.flag(("A", (1,)))
    result = servers.lab_a.pull(some(servers))
    chosen = only_d(set(entities)) - below("A", (1,))
    assert result.skipped["an ancestor is flagged"] == len(only_d(below("A", (1,))))
    there = {("A", (1,)), ("A", (2,)), ("B", (1, 0)), ("B", (1, 1))}
    assert servers.local_names() == diamond.ancestors(entities, chosen) | there == set(servers.helper_rows())


def test_what_a_dead_run_has_copied_stays_held_whatever_it_stands_on(servers: diamond.Servers) -> None:
    entities = diamond.made()
    name = ("D", (1, 0, 0))
    servers.lab_a.pull(some(servers, "a = 99"))
    here = diamond.ancestors(entities, [name])
    servers.put(True, {each: entities[each] for each in here})
    resting, in_hand = HelperRow("NONE", "FALSE", "FALSE"), HelperRow("PULL", "FALSE", "FALSE")
    servers.hold({each: in_hand if each == name else resting for each in here})
    servers.flag(("A", (1,)))
    servers.lab_a.pull(some(servers, "a = 99"))
    assert servers.local_names() == here
    assert servers.helper_rows()[name] == resting
    servers.check_safety()


def test_a_repair_fetches_again_what_nothing_needs_beside_something_flagged(servers: diamond.Servers) -> None:
    servers.lab_a.pull(some(servers, "a = 99"))
    first = servers.lab_a.source[servers.theirs["first"]]
    servers.lab_a.pull(first.B & "a = 2", first.A & "a = 3")
    gone = {("B", (2, 0)), ("B", (2, 1))}
    servers.take(True, gone)
    servers.flag(("A", (3,)))
    servers.lab_a.repair(dry_run=False)
    assert gone <= servers.local_names()
    servers.check_safety()
