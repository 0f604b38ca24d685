"""What is selected at the source of a pipeline: of any query, just the rows that are in it; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datajoint as dj
import labs
import pytest
from lab import Lab

from link import ConfigError, LinkError, PrivilegeError
from link.choosing import chosen, groups_named, keys_to_cut


class World:
    """The tables of the source by class, as the pipeline shows them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.pipeline = labs.pipeline(lab)
        self.theirs = self.pipeline._theirs

    def schema(self, name: str) -> Any:
        return self.pipeline.source[f"{self.lab.prefix}_{name}"]

    def here(self, name: str) -> Any:
        return self.pipeline[f"{self.lab.prefix}_{name}"]

    def elsewhere(self) -> Any:
        """A table at the source in a schema that is not the pipeline's."""
        helper = self.theirs.links.link((f"{self.lab.prefix}_ephys", "probe")).spec
        full_name = self.Unit.full_table_name.replace(helper.source_schema, helper.helper_schema)
        return dj.FreeTable(self.Unit.connection, full_name.replace("_unit", helper.helper_table))

    def __getattr__(self, name: str) -> Any:
        schema = next(schema for schema, tables in labs.TABLES.items() if any(t.__name__ == name for t in tables))
        return getattr(self.schema(schema), name)

    def keys(self, *selections: Any) -> dict[str, Any]:
        """The keys that are chosen, by class, asked for by a session of ours: one value where they are of one."""
        found = {}
        with self.theirs.links.connect_source().session() as session:
            for (schema, table), conditions in chosen(self.theirs, selections).items():
                group = self.theirs.group((schema, table))
                key = ", ".join(map(session.dialect.quote, group.master.primary_key))
                where = " OR ".join(f"({each.condition})" for each in conditions if each) or "1 = 1"
                rows = session.query(f"SELECT {key} FROM {session.dialect.full_name(schema, table)} WHERE {where}", ())
                name = next(n for n, each in self.theirs.tables(schema).items() if each == (schema, table))
                found[name] = sorted(row[0] if len(row) == 1 else tuple(row) for row in rows)
        return found


@pytest.fixture
def world(lab: Lab) -> World:
    labs.build(lab)
    strange = ("it's 100%d", "a\\b", 'q"r')
    lab.source_server.sql(
        f"INSERT INTO {lab.prefix}_subject.subject (subject, kind, name) VALUES "
        "(100, 'wild', %s), (101, 'wild', %s), (102, 'wild', %s)",
        *strange,
    )
    return World(lab)


def unit(*numbers: int) -> list[Any]:
    return [(n, 0, 1, "p2", 2) for n in numbers]


def session(*pairs: Any) -> list[Any]:
    return sorted(pairs)


CASES: dict[str, tuple[Callable[[World], Any], dict[str, Any]]] = {
    "a condition": (lambda w: w.Unit & "subject < 3", {"Unit": unit(0, 1, 2)}),
    "a mapping, of a class": (lambda w: w.Subject & {"name": "it's 100%d"}, {"Subject": [100]}),
    "a text with backslashes": (lambda w: w.Subject & {"name": "a\\b"}, {"Subject": [101]}),
    "a text with quotes": (lambda w: [w.Subject & [{"name": 'q"r'}, {"subject": 3}]], {"Subject": [3, 102]}),
    "percent signs, at all levels": (
        lambda w: (w.Subject & "name LIKE '%100%'").proj() * w.Subject & "name LIKE '%d'",
        {"Subject": [100]},
    ),
    "a class": (lambda w: w.Tag, {"Tag": [1]}),
    "an instance": (lambda w: w.Tag(), {"Tag": [1]}),
    "several": (lambda w: [w.Unit & "subject = 1", w.Unit & {"subject": 2}, w.Tag], {"Unit": unit(1, 2), "Tag": [1]}),
    "all of a table besides": (lambda w: [w.Tag & "subject = 9", w.Tag], {"Tag": [1]}),
    "nothing": (lambda w: w.Unit & "subject > 1000", {"Unit": []}),
    "a list that is empty": (lambda w: w.Unit & [], {"Unit": []}),
    "a part": (lambda w: w.Session.Trial & "subject = 1 AND kind = 'mutant'", {"Session": session((1, 0), (1, 1))}),
    "a part of a part": (lambda w: w.Session.Event & {"seen_by": "eve"}, {"Session": [(n, 0) for n in (1, 3, 5, 7)]}),
    "a class of a part": (lambda w: w.Session.Event, {"Session": [(n, 0) for n in range(8)]}),
    "a join": (
        lambda w: w.Unit * w.Tag,
        {"Unit": unit(1), "Tag": [1]},
    ),
    "a join with parts": (
        lambda w: w.Session.Trial * w.Unit & "subject > 5",
        {"Session": [(6, 0), (7, 0)], "Unit": unit(6, 7)},
    ),
    "a join by a new name": (
        lambda w: w.Pair.proj(subject="father") * w.Subject & "weight > 1",
        {"Pair": [(4, 5), (6, 7)], "Subject": [4, 6]},
    ),
    "a table twice": (
        lambda w: (
            w.Pair * w.Subject.proj(father="subject", one="name") * w.Subject.proj(mother="subject", other="name")
            & "one = 's2'"
        ),
        {"Pair": [(2, 3)], "Subject": [2, 3]},
    ),
    "new names, restricted and joined again": (
        lambda w: (
            ((w.Pair.proj(who="mother") & "who > 3").proj(subject="who") * w.Subject.proj("name")) & "name <> 's7'"
        ),
        {"Pair": [(4, 5)], "Subject": [5]},
    ),
    "what need not be there": (
        lambda w: w.Subject.proj().join(w.Tag, left=True) & "subject < 3",
        {"Subject": [0, 1, 2], "Tag": [1]},
    ),
    "some of what need not be there": (
        lambda w: w.Subject.proj().extend(w.Tag.proj(whose="person") & dj.Top(1)) & "subject < 2",
        {"Subject": [0, 1], "Tag": [1]},
    ),
    "the first of one, joined": (
        lambda w: (w.Unit.proj() & dj.Top(2, order_by="subject DESC")) * w.Subject.proj(),
        {"Unit": unit(6, 7), "Subject": [6, 7]},
    ),
    "other attributes": (lambda w: w.Subject.proj("name", twice="weight * 2") & "twice = 7", {"Subject": [7]}),
    "the first": (lambda w: w.Unit & dj.Top(2, order_by="subject DESC"), {"Unit": unit(6, 7)}),
    "the first of some, and of those": (
        lambda w: w.Subject & "subject < 6" & dj.Top(4, order_by="weight DESC") & "subject <> 5",
        {"Subject": [2, 3, 4]},
    ),
    "the first by what is computed": (
        lambda w: w.Subject.proj(left="10 - subject") & "subject < 6" & dj.Top(2, order_by="left"),
        {"Subject": [4, 5]},
    ),
    "the first of a join": (
        lambda w: (w.Session.Trial.proj() * w.Session & "subject > 1") & dj.Top(3),
        {"Session": session((2, 0), (2, 1))},
    ),
    "counted": (lambda w: w.Subject.aggr(w.Session, n="COUNT(session)") & "n = 0", {"Subject": [100, 101, 102]}),
    "counted, and joined": (
        lambda w: (w.Subject.aggr(w.Psth, n="COUNT(*)", exclude_nonmatching=True) & "n = 1").proj("n") * w.Tag,
        {"Subject": [1], "Tag": [1]},
    ),
    "counted of a join": (
        lambda w: (w.Subject * w.Tag).aggr(w.Session, n="COUNT(*)") & "n > 1",
        {"Subject": [1], "Tag": [1]},
    ),
    "a union": (
        lambda w: (w.Subject & "subject = 3").proj() + w.Tag.proj(),
        {"Subject": [3], "Tag": [1]},
    ),
    "a union, restricted and joined": (
        lambda w: ((w.Subject & "subject > 3").proj() + w.Tag.proj() & "subject < 6") * w.Unit.proj(),
        {"Subject": [4, 5], "Tag": [1], "Unit": unit(1, 4, 5)},
    ),
    "by another query": (lambda w: w.Unit & (w.Subject & "kind = 'wild'"), {"Unit": unit(0, 2, 4, 6)}),
    "without another query": (lambda w: w.Unit - w.Psth, {"Unit": unit(6, 7)}),
    "by one that is limited": (
        lambda w: w.Unit & [w.Subject.proj() & "subject < 8" & dj.Top(2, order_by="subject DESC")],
        {"Unit": unit(6, 7)},
    ),
    "by each of several": (lambda w: w.Unit & [w.Tag, "subject = 5"], {"Unit": unit(1, 5)}),
    "a schema": (lambda w: w.schema("lab"), {"Kind": ["mutant", "wild"], "Person": ["ann", "bob", "eve"]}),
    "a module of DataJoint's": (
        lambda w: dj.VirtualModule("lab", w.schema("lab").database, connection=w.Unit.connection),
        {"Kind": ["mutant", "wild"], "Person": ["ann", "bob", "eve"]},
    ),
    "a diagram of what it stands on": (
        lambda w: dj.Diagram.trace(w.Tag & {"subject": 1}),
        {"Kind": ["mutant"], "Person": ["ann", "bob"], "Subject": [1], "Tag": [1]},
    ),
    "a diagram of what depends on it": (
        lambda w: dj.Diagram.cascade(w.Subject & {"subject": 5} & "MOD(subject, 2) = 1"),
        {"Subject": [5], "Pair": [(4, 5)], "Tag": [], "Session": [(5, 0), (5, 1)], "Unit": unit(5), "Psth": unit(5)},
    ),
    "a diagram, restricted": (
        lambda w: (dj.Diagram(w.Session) + dj.Diagram(w.Unit)).restrict(w.Session & "subject = 2"),
        {"Session": [(2, 0), (2, 1)], "Unit": unit(2)},
    ),
}


def test_just_what_is_in_a_query(world: World) -> None:
    """Asked for on another connection than DataJoint's."""
    found: dict[str, Any] = {}
    for case, (selection, _) in CASES.items():
        made = selection(world)
        try:
            found[case] = world.keys(*(made if isinstance(made, list) else [made]))
        except dj.DataJointError as error:
            found[case] = repr(error)
    expected = {case: {name: sorted(keys) for name, keys in rows.items()} for case, (_, rows) in CASES.items()}
    wrong = {case: (found[case], rows) for case, rows in expected.items() if found[case] != rows}
    assert not wrong, "\n".join(f"{case}: {got}, expected {rows}" for case, (got, rows) in wrong.items())


REFUSED: dict[str, tuple[Callable[[World], Any], str]] = {
    "nothing": (lambda w: (), "Nothing is selected"),
    "a text": (lambda w: ["ephys.Unit"], "selects nothing of the source"),
    "a local class": (
        lambda w: [w.here("ephys").Probe],
        r"Probe is what is here(?s:.*)Write source\.\w+_ephys\.Probe of",
    ),
    "a local part": (lambda w: [w.here("ephys").Probe.Electrode()], r"Write source\.\w+_ephys\.Probe\.Electrode of"),
    "a local schema": (lambda w: [w.here("ephys")], r"Write source\.\w+_ephys of"),
    "a local query": (
        lambda w: [w.here("ephys").Probe.proj() * w.here("ephys").Probe.Electrode],
        "Write the same query with the tables of the pipeline's source",
    ),
    "what DataJoint knows of it": (
        lambda w: [dj.FreeTable(w.lab.source.connection, w.Unit.full_table_name)],
        "on another connection than that of the pipeline's source",
    ),
    "what is not in the schemas": (lambda w: [w.elsewhere()], "is not one of this pipeline's"),
    "values": (lambda w: [dj.U("kind") & w.Subject], r"each once(?s:.*)Restrict the tables by it"),
    "values, counted": (lambda w: [dj.U("kind").aggr(w.Subject, n="COUNT(*)") & "n > 1"], "an aggregation of other"),
    "values, joined": (
        lambda w: [(dj.U("subject").aggr(w.Session, n="COUNT(*)") & "n > 1") * w.Subject],
        "an aggregation of other",
    ),
    "no attribute of it": (
        lambda w: [w.Unit & {"subjct": 1}],
        r"subjct has no attribute of \w+_ephys\.Unit(?s:.*)'subject'",
    ),
    "no attribute, joined": (lambda w: [(w.Unit & {"subjct": 1}) * w.Probe], "subjct has no attribute of"),
    "no attribute of a join": (
        lambda w: [(w.Unit * w.Subject).proj(n="name") & {"nome": 1}],
        "nome has no attribute of this",
    ),
    "no attribute, in a restriction": (lambda w: [w.Unit & [w.Subject & {"nmae": "x"}]], "nmae has no attribute of"),
    "no attribute of what is counted": (lambda w: [w.Subject.aggr(w.Tag & {"nmae": 1}, n="COUNT(*)")], "nmae has no"),
    "no attribute, in a union": (lambda w: [w.Tag.proj() + (w.Subject & {"nmae": 1}).proj()], "nmae has no"),
    "an unrelated query": (lambda w: [w.Tag & w.Probe.Electrode], "probe, electrode, depth has no attribute of"),
    "a diagram of nothing": (lambda w: [dj.Diagram(w.Unit)], "no restricted tables"),
    "a diagram of here": (lambda w: [dj.Diagram(w.here("ephys").Probe)], "query on the local tables"),
    "a diagram with percent signs": (
        lambda w: [dj.Diagram.cascade(w.Subject & "name LIKE 's%'")],
        "doubles the percent",
    ),
    "a very long list": (
        lambda w: [w.Subject & [{"subject": n} for n in range(100_000)]],
        "no more than 20,000 travel",
    ),
}


def test_what_selects_something_else_is_refused(world: World) -> None:
    """Each with what to do; the rows of a local table, and of the source, stay what they are."""
    world.pipeline.pull(world.Probe)
    for case, (selection, message) in REFUSED.items():
        with pytest.raises(LinkError, match=message):
            chosen(world.theirs, selection(world))
            pytest.fail(f"not refused: {case}")


def test_queries_on_both_servers_are_not_mixed(world: World) -> None:
    """But in restrictions, where keys travel."""
    world.pipeline.pull(world.Probe)
    there, here = world.Probe, world.here("ephys").Probe
    mixed: list[Callable[[], Any]] = [
        lambda: there * here,
        lambda: there.proj() + here.proj(),
        lambda: there.aggr(here.Electrode, n="COUNT(*)"),
        lambda: here * there,
    ]
    for operation in mixed:
        with pytest.raises(ConfigError, match=r"each server knows its own tables(?s:.*)& or -: its keys travel"):
            operation()
    some = here & "probe = 'p1'"
    for restricted in (there & some, there & [some, {"probe": "p1"}], there & some.keys(), there.proj() & some):
        assert world.keys(restricted) == {"Probe": ["p1"]}
    assert len(there - here()) == 0 and len(here & there) == len(here & there.proj()) == len(here())
    with pytest.raises(ConfigError, match=r"Or restrict by it: source\.ephys\.Unit & query"):
        world.pipeline.plan(some.proj() * here.Electrode)


def test_what_is_left_out_and_cut(world: World) -> None:
    theirs, schema = world.theirs, f"{world.lab.prefix}_ephys"
    unit, session = (schema, "_unit"), (schema, "session")
    world.pipeline.pull(world.Probe)
    for given in ([world.Unit, f"{schema}.Session"], (f"{schema}.Unit", world.Session), {world.Unit, world.Session}):
        assert groups_named(theirs, "leave_out", given) == {unit, session}
    assert (
        groups_named(theirs, "leave_out", world.Unit) == groups_named(theirs, "leave_out", f"{schema}.Unit") == {unit}
    )
    assert groups_named(theirs, "leave_out", [world.here("ephys").Probe]) == {(schema, "probe")}
    for wrong in (
        [world.Session.Trial],
        [world.Unit & "subject = 1"],
        [3],
        f"{schema}.Unti",
        f"{schema}.Session.Trial",
    ):
        with pytest.raises(ConfigError):
            groups_named(theirs, "leave_out", wrong)
    (key,) = keys_to_cut(theirs, f"{schema}.Session.used_electrode")
    assert key.key.columns == ("used", "used_electrode") and keys_to_cut(theirs, [key.place]) == [key]
    for wrong in ("Session.used", [4], [f"{schema}.Session.sued"], [f"{schema}.Session.start"]):
        with pytest.raises(ConfigError, match="cut="):
            keys_to_cut(theirs, wrong)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_without_references(world: World) -> None:
    """DataJoint sees no primary keys then: conditions on a table's own attributes are followed, and nothing else."""
    lab = world.lab
    for name in labs.SCHEMAS:
        lab.source_server.sql(f"REVOKE REFERENCES ON ALL TABLES IN SCHEMA {lab.prefix}_{name} FROM {lab.link_user}")
    assert world.keys(world.Unit & "subject = 3", world.Subject & {"name": "s5"}) == {"Subject": [5], "Unit": unit(3)}
    assert world.keys(world.Session.Event & "seen_by = 'eve' AND subject < 4") == {"Session": [(1, 0), (3, 0)]}
    assert world.keys(world.Tag, world.schema("lab"))["Kind"] == ["mutant", "wild"]
    for query in (world.Unit * world.Subject, world.Unit & dj.Top(2), world.Subject.proj(who="name")):
        with pytest.raises(PrivilegeError, match=r"REFERENCES(?s:.*)GRANT REFERENCES ON"):
            world.keys(query)
