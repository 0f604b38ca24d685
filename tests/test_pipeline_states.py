"""What a whole pipeline is: `status`, `verify`, `repair` and `refresh` over all its tables, on real servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import datajoint as dj
import pytest
from diamond import DEAD, TABLES, Entities, Entity, Servers, ancestors, grant, made
from lab import Lab
from pipelines import run_sql
from recorder import Statement

import link
from link import ConfigError, LocalMismatchError, LoginError, Pipeline, State, TransferError
from link.model.states import HelperRow
from link.work.dependents import Descent


@pytest.fixture
def diamond(lab: Lab) -> Iterator[Servers]:
    """The diamond, filled at the source; nothing of it is here."""
    with ExitStack() as stack:
        yield filled(lab, stack)


def filled(lab: Lab, stack: ExitStack) -> Servers:
    world = Servers(lab, stack)
    world.put(False, made())
    return world


def table(world: Servers, letter: str) -> Any:
    """A table of the source as a selection."""
    return getattr(world.lab_a.source[world.theirs[TABLES[letter].schema]], letter)


def label(world: Servers, letter: str) -> str:
    """The table as results name it."""
    return f"{world.theirs[TABLES[letter].schema]}.{letter}"


def here(world: Servers, letter: str, part: str = "") -> str:
    """The full name of a local table, or of a part."""
    name = f"{TABLES[letter].name}__{part}" if part else TABLES[letter].name
    return f"{world.ours[TABLES[letter].schema]}.{name}"


def counted(world: Servers) -> dict[str, dict[str, int]]:
    """The states that there are in each table, by its letter, as the test itself looks them up."""
    found = {letter: Counter[str]() for letter in TABLES}
    for (letter, _), state in world.states().items():
        assert state
        found[letter][state.value] += 1
    return {letter: dict(states) for letter, states in found.items()}


def told(world: Servers, status: Any) -> dict[str, dict[str, int]]:
    """The same, as a status tells it."""
    return {letter: {s: n for s, n in status.tables[label(world, letter)].items() if n} for letter in TABLES}


# status


def test_status_of_each_table(diamond: Servers, statements: list[Statement]) -> None:
    """At rest; then with whatever people do to local tables by plain SQL or plain classes, and what the source asks."""
    world, lab_a = diamond, diamond.lab_a
    assert lab_a.status().tables == {} and not lab_a.verify().tables
    assert not world.helpers()  # nothing is created for that
    lab_a.pull(table(world, "D") & "a = 0")
    lab_a.status()
    statements.clear()
    status = lab_a.status()
    alone = len(statements)
    assert told(world, status) == counted(world)
    assert status[State.SHARED] == len(ancestors(made(), [("D", (0, b, d)) for b in range(2) for d in range(2)]))
    assert sum(status.values()) == len(made()) and repr(status).splitlines()[-2].startswith("4 tables ")
    # All that is at rest is counted by the same statements.
    asked = [s.sql for s in statements if s.sql.startswith("SELECT 0, ")]
    assert len(asked) == 5 and all(sql.count(" UNION ALL ") == len(TABLES) - 1 for sql in asked)
    assert not [s for s in statements[:alone] if "COUNT(*)" in s.sql and s.sql not in asked]

    world.take(True, [("D", (0, 1, 1))])
    world.put(True, {("D", (0, 1, 9)): Entity((None, "made here")), ("B", (1, 0)): Entity(("other",))})
    world.put(True, {("D", (1, 0, 0)): Entity((None, "here as well"))})
    world.flag(("C", (0,)))
    for deep in (False, True):
        status = lab_a.status(deep=deep)
        assert told(world, status) == counted(world)
    states = {state: number for state, number in status.items() if number}
    assert states == {"Unshared": 19, "Unheld": 2, "Shared": 9, "Tainted": 1, "Vanished": 1, "Local-only": 1}
    assert "Vanished" in status._repr_html_() and "flagged since" in repr(status)


# verify


def test_verify_each_table(diamond: Servers) -> None:
    """What differs is told by table; rows made here are nobody's to compare; nothing dangles unseen."""
    world, lab_a = diamond, diamond.lab_a
    lab_a.pull(table(world, "D"))
    world.put(True, {("D", (0, 1, 9)): Entity((None, "made here"))})
    result = lab_a.verify()
    assert result and result.compared == len(ancestors(made(), [name for name in made() if name[0] == "D"]))
    assert all(result.tables.values()) and next(iter(result.tables)) == label(world, "A")

    world.sql(world.there, f"UPDATE {world.theirs['first']}.b__piece SET size = 99 WHERE a = 1 AND b = 1 AND piece = 1")
    world.sql(world.here, f"UPDATE {here(world, 'C')} SET note = 'mine' WHERE c = 2")
    world.take(True, [("D", (2, 0, 0))])
    off, on = ("foreign_key_checks = 0", "foreign_key_checks = 1")
    if world.lab.local_kind == "postgresql":
        off, on = (f"session_replication_role = {role}" for role in ("replica", "DEFAULT"))
    world.sql(world.here, f"SET {off}", f"DELETE FROM {here(world, 'C')} WHERE c = 3", f"SET {on}")
    result = lab_a.verify()
    by_letter = {letter: result.tables[label(world, letter)] for letter in TABLES}
    assert not result and {letter for letter, each in by_letter.items() if each} == {"A"}
    assert by_letter["B"].differing == [{"a": 1, "b": 1}]
    assert (by_letter["C"].differing, by_letter["C"].missing) == ([{"c": 2}], [{"c": 3}])
    assert by_letter["D"].missing == [{"a": 2, "b": 0, "d": 0}]
    lost = [name[1] for name, entity in made().items() if name[0] == "D" and entity.row[0] == 3]
    assert sorted(tuple(found.key.values()) for found in by_letter["D"].dangling) == sorted(lost)
    assert {found.parent for found in result.dangling} == {here(world, "C")}
    lines = repr(result).splitlines()
    assert len(lines) == 5 and "2 differing, 2 missing" in lines[-1] and "{'a': 1, 'b': 1}" in lines[1]
    with pytest.raises(ConfigError, match="sample="):
        lab_a.verify(sample=3)
    # What stands where a condition would is no yes; and a list that has come out empty does not mean all.
    asked: list[Callable[..., Any]] = [
        lab_a.verify,
        lab_a.status,
        lab_a.repair,
        lab_a[world.theirs["second"]].D.source.verify,
    ]
    for ask in asked:
        with pytest.raises(ConfigError, match=r"must be True or False, not 'a = 0'(?s:.*)by tables="):
            ask("a = 0")
    held = lab_a.status()[State.SHARED]
    of_tables: list[Callable[..., Any]] = [*asked[:3], lab_a.end, lab_a.delete_flagged]
    for ask in of_tables:
        with pytest.raises(ConfigError, match="tables= names no table"):
            ask(tables=[])
    assert lab_a.status()[State.SHARED] == held


# repair


@pytest.mark.parametrize("vanished", ["refetch", "release"])
def test_repair_of_each_table(diamond: Servers, vanished: Any) -> None:
    """What dead runs had in hand, what is gone here, what lost its hold, over several tables at once."""
    world, lab_a = diamond, diamond.lab_a
    lab_a.pull(table(world, "D") & "a = 0")
    at_first = set(world.local_names())
    world.hold({("D", (3, 1, 1)): HelperRow("PULL", "FALSE", "FALSE")})  # and nothing that it stands on
    d = world.helpers()["D"]
    deleting = f"UPDATE {d} SET process = 'DELETE', _worker = {DEAD} WHERE a = 0 AND b = 0 AND d = 0"
    world.sql(world.there, deleting, f"DELETE FROM {d} WHERE a = 0 AND b = 0 AND d = 1")
    gone = {("D", (0, 1, 0)), ("D", (0, 1, 1)), ("B", (0, 1))}
    world.take(True, gone)
    # Made here: what nobody else has, and what the source has otherwise; what this stands on is as the source has it.
    made_here = {("D", (0, 0, 9)): Entity((None, "made here")), ("D", (1, 0, 0)): Entity((None, "here as well"))}
    world.put(True, {("B", (1, 0)): made()["B", (1, 0)], **made_here})
    before = world.states()
    kept = world.local_entities()

    planned = lab_a.repair(vanished=vanished)
    assert world.states() == before and repr(planned).startswith("repair would:")
    doing = {s: n for s, (n, _) in planned.actions.items()}
    assert doing == {State.ACTIVATED_PULL: 1, State.RECEIVED_DELETE: 1, State.VANISHED: 3, State.UNHELD: 2}
    assert planned.tables[label(world, "B")].actions[State.VANISHED][0] == 1
    done = lab_a.repair(dry_run=False, vanished=vanished)
    assert done.actions == planned.actions and repr(done).startswith("repair did:") and "<td>" in done._repr_html_()

    there = {
        ("D", (3, 1, 1)),
        ("B", (1, 0)),
        *(at_first - {("D", (0, 0, 0))} - (gone if vanished == "release" else set())),
    }
    expected = ancestors(made(), there) | set(made_here)
    here = world.local_entities()
    assert set(here) == expected and {name: here[name] for name in made_here} == made_here
    world.check_safety(made_here=made_here)
    assert set(world.helper_rows()) == expected - set(made_here)
    assert {row.process for row in world.helper_rows().values()} == {"NONE"}
    assert all(here[name] == kept[name] for name in set(kept) & set(here))
    assert repr(lab_a.repair()) == "nothing to repair"
    assert lab_a.verify()


# refresh


def edit(world: Servers, letter: str, change: str, where: str) -> None:
    """Change rows of a table at the source."""
    name = TABLES[letter]
    world.sql(world.there, f"UPDATE {world.theirs[name.schema]}.{name.name} SET {change} WHERE {where}")


@pytest.mark.parametrize("processes", [1, 2])
def test_refresh_of_each_table(diamond: Servers, processes: int) -> None:
    """Values; foreign keys that lead to what is not here; part rows that are new, moved and gone: all in one go."""
    world, lab_a = diamond, diamond.lab_a
    assert lab_a.refresh().refreshed == 0 and not world.helpers()
    lab_a.pull(table(world, "D") & "a = 0")
    made_here = {("D", (0, 1, 9)): Entity((None, "made here"), frozenset({(0, 1)}))}
    world.put(True, made_here)
    at_first = world.local_entities()
    assert ("A", (3,)) not in at_first and ("C", (3,)) not in at_first
    edit(world, "A", "note = 'edited'", "a = 1")
    edit(world, "C", "a = 3", "c = 0")
    edit(world, "D", "c = 3", "a = 0 AND b = 1 AND d = 0")
    mark, piece = f"{world.theirs['second']}.__d__mark", f"{world.theirs['first']}.b__piece"
    world.sql(
        world.there,
        f"INSERT INTO {mark} (a, b, d, mark, other) VALUES (0, 0, 0, 7, 3)",
        f"UPDATE {mark} SET other = 3 WHERE a = 0 AND b = 1 AND d = 1 AND mark = 1",
        f"DELETE FROM {piece} WHERE a = 0 AND b = 1 AND piece = 0",
        f"INSERT INTO {piece} (a, b, piece, size) VALUES (0, 1, 5, 5)",
    )
    edited = {("A", (1,)), ("B", (0, 1)), ("C", (0,)), ("D", (0, 1, 0)), ("D", (0, 0, 0)), ("D", (0, 1, 1))}
    foreseen = lab_a.refresh(dry_run=True)
    assert foreseen.refreshed == len(edited) and world.local_entities() == at_first
    result = lab_a.refresh(processes=processes)
    assert {
        (letter, tuple(key.values())) for letter in TABLES for key in result.tables[label(world, letter)].keys
    } == edited
    assert (result.refreshed, result.equal, result.pulled.pulled) == (6, len(at_first) - 1 - 6 + 2, 2)
    there, here_now = world.source_entities(), world.local_entities()
    assert here_now == {
        **{n: there[n] for n in at_first.keys() - made_here},
        ("A", (3,)): there["A", (3,)],
        ("C", (3,)): there["C", (3,)],
        **made_here,
    }
    world.check_safety(made_here=made_here)
    assert lab_a.verify() and lab_a.refresh().refreshed == 0
    assert "and pulled 2, to which edited rows refer now" in repr(result) and "4 tables" in result._repr_html_()


def test_refresh_of_a_selection(diamond: Servers) -> None:
    """Of what is selected only, and only that is followed."""
    world, lab_a = diamond, diamond.lab_a
    lab_a.pull(table(world, "D") & "a = 0")
    edit(world, "D", "c = 3, note = 'new'", "a = 0")
    edit(world, "C", "note = 'new'", "c = 1")
    result = lab_a.refresh(table(world, "D") & "d = 0", table(world, "D") & "b = 1 AND d = 1")
    assert list(result.tables) == [label(world, "D")]
    assert sorted(tuple(key.values()) for key in result.keys) == [(0, 0, 0), (0, 1, 0), (0, 1, 1)]
    assert lab_a.verify().tables[label(world, "C")].differing == [{"c": 1}]
    assert lab_a.refresh().refreshed == 2 and lab_a.verify()
    world.check_safety()


def test_what_a_refresh_refuses(diamond: Servers) -> None:
    """What refers now to what the source wants deleted, or to what stands on that, is as it was, and says why."""
    world, lab_a = diamond, diamond.lab_a
    lab_a.pull(table(world, "D") & "a = 0", table(world, "A"))
    world.flag(("A", (3,)))
    world.take(True, [("A", (3,))])
    lab_a.status()
    edit(world, "C", "a = 3", "c = 0")  # which is flagged, and gone here
    edit(world, "C", "a = 3", "c = 3")
    edit(world, "D", "c = 3", "a = 0 AND b = 1 AND d = 0")  # which stands on it
    edit(world, "D", "note = 'new'", "a = 0 AND b = 0 AND d = 0")
    at_first = world.local_entities()
    with pytest.raises(TransferError, match=rf"{label(world, 'A')}, to which it refers now: .* wants that row deleted"):
        lab_a.refresh()
    result = lab_a.refresh(suppress_errors=True)
    assert result.refreshed + len(result.refused) >= 2
    refused = {letter: result.tables[label(world, letter)].refused for letter in TABLES}
    assert [key for key, _ in refused["C"]] == [{"c": 0}] and [key for key, _ in refused["D"]] == [
        {"a": 0, "b": 1, "d": 0}
    ]
    assert f"{label(world, 'C')}, to which it refers now: that row cannot be had" in str(refused["D"][0][1])
    now = world.local_entities()
    assert {name for name in at_first if now[name] != at_first[name]} == {("D", (0, 0, 0))}
    world.flag(("A", (3,)), False)
    assert lab_a.refresh().refreshed == 2 and lab_a.verify()
    world.check_safety()


def test_what_became_stale(diamond: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told over all tables together, each row once, and of pulled tables those made here; deleted by one word."""
    world, lab_a = diamond, diamond.lab_a
    lab_a.pull(table(world, "D") & "a = 0", table(world, "B") & "a IN (1, 2)")
    classes = {letter: getattr(lab_a[world.theirs[TABLES[letter].schema]], letter) for letter in TABLES}
    A: Any = classes["A"]

    class D(dj.Computed):
        definition = "-> B\nd : int32\n---\n-> [nullable] C\nnote : varchar(20)"

        class Mark(dj.Part):
            definition = "-> master\nmark : int32\n---\n-> A.proj(other='a')"

        def make(self, key: Any) -> Any:  # type: ignore[override]
            cast(Any, self).insert1({**key, "d": 9, "note": (A & key).fetch1("note")})
            other = 0 if key["b"] == 0 and key["a"] == 1 else key["a"]
            cast(Any, self).Mark.insert1({**key, "d": 9, "mark": 0, "other": other})

    theirs: Any = world.lab.local.Schema(world.ours["second"])(D, context=classes)
    theirs.populate()

    class Own(dj.Computed):
        definition = "-> D\n---\nlength: int32"

        def make(self, key: Any) -> Any:  # type: ignore[override]
            cast(Any, self).insert1({**key, "length": len((D & key).fetch1("note"))})

    own: Any = world.lab.local.Schema(f"{world.lab.prefix}_own")(Own, context={"D": D})
    own.populate()
    assert len(own()) == 8
    edit(world, "A", "note = 'edited'", "a = 0")
    edit(world, "B", "note = 'new'", "a = 1 AND b = 1")
    edit(world, "D", "note = 'longer'", "a = 0 AND b = 1")
    dry = lab_a.refresh(dry_run=True)
    stale = {theirs.full_table_name: 2, theirs.Mark.full_table_name: 2, own.full_table_name: 6}
    assert {name: len(dry.dependents[name]) for name in dry.dependents} == stale
    # Of one it is a part row that depends on what was edited.
    assert sorted((theirs & dry.dependents[theirs]).keys(), key=str) == [
        {"a": 1, "b": 0, "d": 9},
        {"a": 1, "b": 1, "d": 9},
    ]
    asked: list[str] = []

    def decline(question: str) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr(link.host, "agrees", decline)
    assert lab_a.refresh(dependents="delete", prompt=True).refreshed == 0 and len(asked) == 1
    result = lab_a.refresh(dependents="delete", prompt=False)
    assert (result.refreshed, result.deleted) == (4, stale) and not result.dependents
    # What is held stays, and what was made of other rows.
    assert sorted(theirs.to_arrays("a")) == [0, 0, 0, 0, 2, 2] and len(own()) == 2
    theirs.populate()
    own.populate()
    assert len(theirs()) == len(own()) == 8 and lab_a.verify()
    edit(world, "A", "note = 'edited again'", "a = 2")
    edit(world, "B", "note = 'newer'", "a = 1 AND b = 1")
    result = lab_a.refresh(processes=2, dependents="delete", prompt=False)
    assert (result.refreshed, result.deleted[theirs.full_table_name]) == (2, 3) and not result.dependents
    assert sorted(theirs.to_arrays("a")) == [0, 0, 0, 0, 1]
    # A pull of such a row begins at the moment at which it is to go.
    edit(world, "A", "note = 'another'", "a = 1")
    here: Entities = {name: world.local_entities()[name] for name in [("D", (1, 0, 9))]}
    spare, found = Descent.spare, list[int]()

    def spare_and_pull(self: Descent) -> int:
        if not found:
            world.put(False, here)
            world.hold(dict.fromkeys(here, HelperRow("NONE", "FALSE", "FALSE")))
        found.append(self.made()[theirs.full_table_name])
        return spare(self)

    monkeypatch.setattr(Descent, "spare", spare_and_pull)
    result = lab_a.refresh(dependents="delete", prompt=False)
    assert (result.refreshed, found, result.deleted) == (1, [1, 0], {own.full_table_name: 2})
    assert here.keys() <= world.local_names()
    # A pull that replaces tells such rows as well.
    monkeypatch.setattr(Descent, "spare", spare)
    theirs.populate()
    edit(world, "A", "note = 'replaced'", "a = 2")
    world.release(("A", (2,)))
    replacing = lab_a.pull(table(world, "A") & "a = 2", conflicts="replace")
    for told in (replacing, replacing.tables[label(world, "A")]):
        assert len(told.replaced) == 1 and len(told.dependents[theirs]) == 2
    # Where nobody can say what was made here, that is told.
    edit(world, "A", "note = 'last'", "a = 0")
    result, user = lab_a.refresh(), world.lab.link_user
    is_postgresql = world.lab.kind == "postgresql"
    world.lab.source_server.sql(
        f"ALTER ROLE {user} NOLOGIN" if is_postgresql else f"ALTER USER {user}@'%' ACCOUNT LOCK"
    )
    with pytest.raises(LoginError, match="of pulled tables were made here is asked"):
        len(result.dependents)


def test_one_table_of_a_pipeline(diamond: Servers) -> None:
    """`source.refresh()` and `source.repair()` of one class bring what its rows stand on, too."""
    world, lab_a = diamond, diamond.lab_a
    lab_a.pull(table(world, "D") & "a = 0")
    D, C = (getattr(lab_a[world.theirs["second"]], letter) for letter in "DC")
    edit(world, "D", "c = 3, note = 'new'", "a = 0 AND b = 1")
    edit(world, "C", "note = 'new'", "c = 1")
    result = (D.source & "d = 1").refresh()
    assert (result.refreshed, result.equal, result.pulled.pulled) == (1, 1, 1)
    assert D.source.refresh(dry_run=True).keys == [{"a": 0, "b": 1, "d": 0}]
    assert not lab_a.verify().tables[label(world, "C")] and not world.dangling()
    assert lab_a.refresh().refreshed == 2

    world.take(True, [("D", (0, b, d)) for b in range(2) for d in range(2)])
    world.take(True, [("C", (3,)), ("B", (0, 1))])
    repaired = (D.source & "b = 1").repair(dry_run=False)
    assert repaired.actions[State.VANISHED][0] == 2 and repaired.pulled.pulled == 4
    assert lab_a.status()[State.VANISHED] == 2 and C.source.repair().actions == {}
    assert D.source.repair(dry_run=False, vanished="release").actions[State.VANISHED][0] == 2
    world.check_safety()
    assert lab_a.status()[State.VANISHED] == 0


@pytest.fixture
def probes(lab: Lab) -> tuple[Lab, Any]:
    """A table with parts that refer to one another, and one that refers to a part; pulled."""
    return wired(lab)


def wired(lab: Lab) -> tuple[Lab, Any]:
    class Probe(dj.Manual):
        definition = "probe: int32\n---\nnote: varchar(9)"

        class Electrode(dj.Part):
            definition = "-> master\nelectrode: int32\n---\nlabel: varchar(9)\nunique index (probe, label)"

        class Best(dj.Part):
            definition = "-> master\n---\n-> Probe.Electrode"

    class Unit(dj.Manual):
        definition = "unit: int32\n---\n-> [nullable] Probe.Electrode"

    there = f"{lab.prefix}_there"
    schema: Any = lab.source.Schema(there)
    probe = schema(Probe)
    schema(Unit, context={"Probe": probe})
    values = {
        "probe": [(n, "old") for n in range(3)],
        "probe__electrode": [(n, e, f"e{e}") for n in range(3) for e in range(3)],
        "probe__best": [(n, 0) for n in range(3)],
        "unit": [(n, n % 3, 1) for n in range(6)],
    }
    electrodes(lab, *(f"INSERT INTO {{t}}.{name} VALUES {str(rows)[1:-1]}" for name, rows in values.items()))
    grant(lab, [there])
    host = f"{lab.source_server.host}:{lab.source_server.port}"
    schemas, backend = {there: f"{lab.prefix}_here"}, "postgresql" if lab.kind == "postgresql" else "mysql"
    lab_a = Pipeline(host, schemas, lab.helper_schema, connection=lab.local, use_tls=False, backend=backend)
    lab_a.pull(lab_a.source[there])
    return lab, lab_a


def electrodes(lab: Lab, *statements: str) -> None:
    """Edits of these tables at the source; `{t}` is the schema."""
    run_sql(lab.source_server, [statement.format(t=f"{lab.prefix}_there") for statement in statements])


def test_what_refers_to_parts_is_refreshed(probes: tuple[Lab, Any]) -> None:
    """Parts that come and go, while others refer to them: each entity whole, in whatever order that goes."""
    lab, lab_a = probes
    name = f"{lab.prefix}_there.{{}}".format
    # A part refers to another that its entity only gets, and no more to one that goes.
    electrodes(
        lab,
        "INSERT INTO {t}.probe__electrode VALUES (0, 7, 'e7')",
        "UPDATE {t}.probe__best SET electrode = 7 WHERE probe = 0",
        "DELETE FROM {t}.probe__electrode WHERE probe = 0 AND electrode = 0",
    )
    assert lab_a.refresh().refreshed == 1 and lab_a.verify()
    # One that goes has been referred to by another table; and its label is another's now.
    electrodes(
        lab,
        "UPDATE {t}.unit SET probe = NULL, electrode = NULL WHERE probe = 1",
        "DELETE FROM {t}.probe__electrode WHERE probe = 1 AND electrode = 1",
        "INSERT INTO {t}.probe__electrode VALUES (1, 8, 'e1')",
        "UPDATE {t}.unit SET probe = 1, electrode = 8 WHERE unit = 5",
    )
    result = lab_a.refresh()
    assert (result.tables[name("Probe")].refreshed, result.tables[name("Unit")].refreshed) == (1, 3) and lab_a.verify()
    # Neither can be the first: units move from one that goes to one that is new.
    electrodes(
        lab,
        "INSERT INTO {t}.probe__electrode VALUES (2, 9, 'e9')",
        "UPDATE {t}.unit SET electrode = 9 WHERE probe = 2",
        "DELETE FROM {t}.probe__electrode WHERE probe = 2 AND electrode = 1",
    )
    Unit = lab_a[f"{lab.prefix}_there"].Unit
    with pytest.raises(TransferError, match="refreshed before it, or with it"):
        Unit.source.refresh()
    result = lab_a.refresh()
    assert (result.refreshed, result.equal, result.refused) == (2, 7, []) and lab_a.verify()
    assert [key for each in result.tables.values() for key in each.keys] == [{"probe": 2}, {"unit": 2}]


@pytest.mark.parametrize("pair", [("mysql", "postgresql"), ("postgresql", "mariadb")], indirect=True, ids="-".join)
def test_between_kinds_of_servers(mixed: Lab) -> None:
    """What a whole pipeline is, and becomes, where the servers compute no digests that are the same."""
    lab, lab_a = wired(mixed)
    assert lab_a.status()[State.SHARED] == 9 and lab_a.verify()
    electrodes(
        lab,
        "INSERT INTO {t}.probe__electrode VALUES (2, 9, 'e9')",
        "UPDATE {t}.unit SET electrode = 9 WHERE probe = 2",
        "DELETE FROM {t}.probe__electrode WHERE probe = 2 AND electrode = 1",
        "UPDATE {t}.probe SET note = 'new' WHERE probe = 0",
    )
    assert lab_a.verify().tables[f"{lab.prefix}_there.Unit"].differing == [{"unit": 2}, {"unit": 5}]
    assert lab_a.refresh().refreshed == 4 and lab_a.verify()
    lab.local_server.sql(f"DELETE FROM {lab.prefix}_here.unit WHERE unit = 3")
    assert lab_a.repair(dry_run=False).pulled.pulled == 1
    assert lab_a.status()[State.SHARED] == 9 and lab_a.verify()


def test_linked_tables_under_foreign_keys_of_the_lab(diamond: Servers) -> None:
    """By `@link` as well: a foreign key of the lab's own between linked tables is followed by a refresh."""
    world, lab = diamond, diamond.lab
    host = f"{lab.source_server.host}:{lab.source_server.port}"

    def linked(letter: str) -> Any:
        schema = TABLES[letter].schema
        names = world.theirs[schema], lab.helper_schema, f"{letter.lower()}_held", world.ours[schema]
        return link.link(host, *names, connection=lab.local, use_tls=False)(type(letter, (), {}))

    A, C = linked("A"), linked("C")
    A.source.pull("a < 3")
    C.source.pull("c < 2")
    world.sql(world.here, f"ALTER TABLE {here(world, 'C')} ADD FOREIGN KEY (a) REFERENCES {here(world, 'A')} (a)")
    edit(world, "C", "a = 3", "c = 0")
    result = C.source.refresh()
    assert (result.refreshed, result.pulled.pulled) == (1, 1)
    assert A.source.status()[State.SHARED] == 4 and C.source.verify()


def test_foreign_keys_that_are_not_here(diamond: Servers) -> None:
    """One that was cut is not followed; one that the source has got since is a matter of pulls, which name it still."""
    world, second = diamond, diamond.theirs["second"]
    world.lab_a.pull(table(world, "D") & "a = 0 AND b = 1", cut=[f"{second}.D.c"])
    world.lab_a.pull(table(world, "C") & "c = 0")
    lab_a = world.lab_a = world.pipeline()
    edit(world, "D", "c = 3, note = 'new'", "a = 0 AND b = 1 AND d = 0")
    result = lab_a.refresh()
    assert (result.refreshed, result.pulled.pulled) == (1, 0) and lab_a.verify()
    world.take(True, [("D", (0, 1, 0))])
    assert lab_a.repair(dry_run=False).pulled.pulled == 1

    world.sql(
        world.there,
        f"ALTER TABLE {second}.c ADD COLUMN other int NULL",
        f"ALTER TABLE {second}.c ADD FOREIGN KEY (other) REFERENCES {world.theirs['first']}.a (a)",
    )
    edit(world, "C", "note = 'new', other = 3", "c = 0")
    for one in (lab_a, world.pipeline()):
        assert one.status()[State.SHARED] == 7 and one.verify().not_here == ["c.other"]
        assert not one.flagged and one.repair().actions == {}
    result = lab_a.refresh()
    assert (result.refreshed, result.pulled.pulled) == (1, 0)
    with pytest.raises(LocalMismatchError, match=r"has got foreign keys .*C\.other"):
        lab_a.pull(table(world, "C"))
