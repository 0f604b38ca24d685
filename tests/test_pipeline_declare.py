"""The local tables of a pipeline: to DataJoint, and to the server, what the source's are."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import datajoint as dj
import pytest
from lab import Lab
from labs import SCHEMAS, build, declare, everything, grant, local_schemas, pipeline
from linking import admin, contents, linked, quoted, remedies

from link import (
    ConfigError,
    CycleError,
    DefinitionError,
    HelperMismatchError,
    LocalMismatchError,
    Pipeline,
    PrivilegeError,
    host,
)
from link.servers.dialect import plain
from link.servers.sites import site_of


def schemas(lab: Lab, local: bool) -> list[str]:
    return list(local_schemas(lab).values() if local else local_schemas(lab))


def theirs(lab: Lab, text: str) -> str:
    """A text with the source's names of schemas for ours, and without quotes."""
    for source, ours in local_schemas(lab).items():
        text = text.replace(ours, source)
    return text.replace('"', "").replace("`", "")


def edges(lab: Lab, local: bool) -> set[Any]:
    """The foreign keys as DataJoint sees them, by the source's names of schemas."""
    instance = lab.local if local else lab.source
    graph: Any = instance.connection.dependencies
    graph.clear()
    for schema in schemas(lab, local):
        instance.Schema(schema, create_schema=False, create_tables=False)
    graph.load()
    facts = ("primary", "multi", "aliased", "attr_map")
    return {
        (theirs(lab, parent), theirs(lab, child), *(repr(edge[fact]) for fact in facts))
        for parent, child, edge in graph.edges(data=True)
        if lab.helper_schema not in child
    }


def tables(lab: Lab, local: bool) -> dict[str, Any]:
    """All tables at one end, by the source's names."""
    instance: Any = lab.local if local else lab.source
    found = {}
    for schema in schemas(lab, local):
        if schema not in dj.list_schemas(connection=instance.connection):
            continue
        for name in instance.Schema(schema, create_schema=False, create_tables=False).list_tables():
            table = instance.FreeTable(f"{schema}.{name}")
            found[theirs(lab, table.full_table_name)] = table
    return found


def described(lab: Lab, local: bool) -> dict[str, str]:
    return {
        # PostgreSQL's names of enum types.
        name: re.sub(r"::\S+", "", theirs(lab, table.describe(printout=False)))
        for name, table in tables(lab, local).items()
    }


def lineage(lab: Lab, local: bool) -> dict[str, str | None]:
    """Where DataJoint believes that each attribute comes from."""
    found = {}
    for name, table in tables(lab, local).items():
        heading = table.heading
        for attribute in heading.names:
            origin = heading.attributes[attribute].lineage
            found[f"{name}.{attribute}"] = theirs(lab, origin) if origin else None
    return found


def test_the_local_pipeline_is_the_source_s(lab: Lab) -> None:
    build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(*everything(lab, lab_a))
    assert edges(lab, True) == edges(lab, False)
    assert described(lab, True) == described(lab, False)
    assert lineage(lab, True) == lineage(lab, False)
    assert {n: len(t) for n, t in tables(lab, True).items()} == {n: len(t) for n, t in tables(lab, False).items()}
    assert cascaded(lab, True) == cascaded(lab, False)


def test_who_is_killed_before_origins_are_written_down(lab: Lab) -> None:
    """The next use writes them: DataJoint would not join such tables with others."""
    build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(*everything(lab, lab_a))
    wanted = lineage(lab, True)
    for schema, table in (("subject", "subject"), ("ephys", "_unit")):
        name = f"{lab.prefix}_our_{schema}.{quoted(lab.local_server, '~lineage')}"
        lab.local_server.sql(f"DELETE FROM {name} WHERE table_name = '{table}'")
    assert lineage(lab, True) != wanted
    lab_a = pipeline(lab)
    lab_a.pull(source_of(lab, lab_a, "ephys.Unit"))
    assert lineage(lab, True) == wanted


def cascaded(lab: Lab, local: bool) -> dict[str, int]:
    """What DataJoint would delete with a subject."""
    subject = tables(lab, local)[f"{lab.prefix}_subject.subject"]
    diagram = dj.Diagram.cascade(subject & "subject = 2")
    counts = {theirs(lab, table.full_table_name): len(table) for table in diagram}
    return {name: count for name, count in counts.items() if lab.helper_schema not in name}


# --- cuts


def place(lab: Lab, where: str) -> str:
    """A foreign key, as `cut=` names it."""
    return f"{lab.prefix}_{where}"


def source_of(lab: Lab, of: Pipeline, name: str) -> Any:
    """A table of the source, as `schema.Class`."""
    schema, _, table = name.partition(".")
    source: Any = of.source
    return getattr(source[f"{lab.prefix}_{schema}"], table)


def keys_of(lab: Lab, table: str) -> set[tuple[str, ...]]:
    """The columns of the foreign keys of a local table, as `schema.table`."""
    schema, _, name = table.partition(".")
    with site_of(lab.local.connection).catalogue() as catalogue:
        return {key.columns for key in catalogue.table(f"{lab.prefix}_our_{schema}", name).foreign_keys}


def test_a_cut_holds_without_being_said_again(lab: Lab) -> None:
    build(lab)
    lab_a = pipeline(lab)
    subject = source_of(lab, lab_a, "subject.Subject")
    with pytest.raises(ConfigError, match=r"Did you mean '\w+_subject.Subject.keeper'"):
        lab_a.pull(subject & "subject = 1", cut=[place(lab, "subject.Subject.keepr")])
    lab_a.pull(subject & "subject = 1", cut=[place(lab, "subject.Subject.keeper")])
    assert keys_of(lab, "subject.subject") == {("kind",)}
    assert lab.local.Schema(f"{lab.prefix}_our_lab").list_tables() == ["#kind"]
    # A plain attribute, from where it was: it joins with what else comes from there.
    described_here = described(lab, True)[f"{lab.prefix}_subject.subject"]
    assert re.search(r"keeper=null +: varchar\(20\)", described_here)
    origin = lineage(lab, True)[f"{lab.prefix}_subject.subject.keeper"]
    assert origin and origin.endswith(f"/{lab.prefix}_lab.person.person")
    for of in (lab_a, pipeline(lab)):
        of.pull(source_of(lab, of, "ephys.Session") & "subject = 2")
        assert keys_of(lab, "subject.subject") == {("kind",)}
        assert of.verify()
    # A part's foreign key to the cut table is followed all the same.
    assert set(lab.local.Schema(f"{lab.prefix}_our_lab").list_tables()) == {"#kind", "person"}
    assert keys_of(lab, "ephys.session__event") == {("subject", "session", "trial"), ("seen_by",)}


def test_a_cut_of_what_is_here_is_refused_with_the_way(lab: Lab) -> None:
    build(lab)
    lab_a = pipeline(lab)
    subject, cut = source_of(lab, lab_a, "subject.Subject"), [place(lab, "subject.Subject.keeper")]
    lab_a.pull(subject & "subject = 1")
    before = contents(lab)
    with pytest.raises(LocalMismatchError, match="shall not be followed") as refused:
        lab_a.pull(subject & "subject = 2", cut=cut)
    assert contents(lab) == before
    statement = re.search(r"ALTER TABLE [^;]*", str(refused.value.hint))
    assert statement
    lab.local_server.sql(statement[0])
    lab_a.pull(subject & "subject = 2", cut=cut)
    assert len(subject & "subject < 3" & "subject > 0") == len(lab_a[f"{lab.prefix}_subject"].Subject()) == 2
    assert keys_of(lab, "subject.subject") == {("kind",)}


def test_a_new_foreign_key_at_the_source_is_named(lab: Lab) -> None:
    made = build(lab)
    lab_a = pipeline(lab)
    subject = source_of(lab, lab_a, "subject.Subject")
    lab_a.pull(subject & "subject = 1")
    lab.source_server.sql(f"CREATE TABLE {lab.prefix}_lab.day (born date PRIMARY KEY)")
    grant(lab, f"{lab.prefix}_lab")
    lab.source_server.sql(
        f"ALTER TABLE {made['Subject'].full_table_name} ADD FOREIGN KEY (born) REFERENCES {lab.prefix}_lab.day (born)"
    )
    lab_a = pipeline(lab)
    before = contents(lab)
    with pytest.raises(LocalMismatchError, match="has got foreign keys that the local table") as refused:
        lab_a.pull(source_of(lab, lab_a, "subject.Subject") & "subject = 2")
    assert f"{lab.prefix}_subject.Subject.born -> {lab.prefix}_lab.day" in str(refused.value)
    assert contents(lab) == before
    lab_a.pull(source_of(lab, lab_a, "lab.Day"))
    statement = re.search(r"ALTER TABLE [^;]*", str(refused.value.hint))
    assert statement
    lab.local_server.sql(statement[0])
    lab_a.pull(source_of(lab, lab_a, "subject.Subject") & "subject = 2")
    assert keys_of(lab, "subject.subject") == {("kind",), ("keeper",), ("born",)}


def test_a_new_column_that_refers_to_something(lab: Lab) -> None:
    """alter() adds the column; and a cut that is said once holds."""
    made = build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(source_of(lab, lab_a, "subject.Subject") & "subject = 1")
    subjects, people = made["Subject"].full_table_name, made["Person"].full_table_name
    kind = "varchar(20) NULL" if lab.kind == "postgresql" else "varchar(20) NULL COMMENT ':varchar(20):'"
    lab.source_server.sql(f"ALTER TABLE {subjects} ADD COLUMN donor {kind}")
    lab.source_server.sql(f"ALTER TABLE {subjects} ADD FOREIGN KEY (donor) REFERENCES {people} (person)")
    lab.source_server.sql(f"UPDATE {subjects} SET donor = 'eve' WHERE subject = 2")
    lab_a = pipeline(lab)
    subject, ours = source_of(lab, lab_a, "subject.Subject"), lab_a[f"{lab.prefix}_subject"].Subject
    for _ in range(2):
        with pytest.raises(LocalMismatchError, match=r"Subject.donor ->") as refused:
            lab_a.pull(subject & "subject = 2")
        ours().alter(prompt=False)
    assert "alter() of the class" not in str(refused.value)
    lab_a.pull(subject & "subject = 2", cut=[place(lab, "subject.Subject.donor")])
    lab_a.pull(subject & "subject = 3")
    assert (ours & "subject = 2").fetch1("donor") == "eve"
    assert not lab_a[f"{lab.prefix}_lab"].Person & "person = 'eve'"


def test_a_new_part_at_the_source_is_named_and_alter_makes_it(lab: Lab) -> None:
    """With its foreign keys; what they refer to is here."""
    made = build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(source_of(lab, lab_a, "subject.Subject") & "subject = 1")

    class Weighing(dj.Part):
        definition = "-> master\nday: date\n---\n-> Person\nweight: float32"

    subject = made["Subject"]
    subject.Weighing = Weighing
    lab.source.Schema(f"{lab.prefix}_subject")(subject, context={**made, "Subject": subject})
    subject.Weighing.insert1({"subject": 2, "day": "2020-01-02", "person": "eve", "weight": 2})
    grant(lab, f"{lab.prefix}_subject")
    lab_a = pipeline(lab)
    before = contents(lab)
    with pytest.raises(LocalMismatchError, match="part table subject__weighing that the local table"):
        lab_a.pull(source_of(lab, lab_a, "subject.Subject") & "subject = 2")
    assert contents(lab) == before
    lab_a[f"{lab.prefix}_subject"].Subject().alter(prompt=False)
    assert keys_of(lab, "subject.subject__weighing") == {("subject",), ("person",)}
    lab_a.pull(source_of(lab, lab_a, "subject.Subject") & "subject = 2")
    assert len(lab_a[f"{lab.prefix}_subject"].Subject.Weighing()) == 1
    assert lab_a.verify()


def test_two_foreign_keys_by_the_same_column(lab: Lab) -> None:
    """One of them is cut, by hand; and the lab's tables stand in a circle, which a cut opens for good."""
    schema: Any = lab.source.Schema(lab.source_schema)
    made: dict[str, Any] = {}
    for name, definition in {
        "Alpha": "a: int32",
        "Beta": "-> Alpha",
        "Gamma": "-> Alpha\n---\nnext=null: int32",
    }.items():
        made[name] = schema(type(name, (dj.Manual,), {"definition": definition}), context=dict(made))
    made["Delta"] = schema(type("Delta", (dj.Manual,), {"definition": "-> Beta\n-> Gamma"}), context=dict(made))
    deltas, gammas = made["Delta"].full_table_name, made["Gamma"].full_table_name
    lab.source_server.sql(f"ALTER TABLE {gammas} ADD FOREIGN KEY (next) REFERENCES {deltas} (a)")
    for name in made:
        made[name].insert({"a": n} for n in range(3))
    grant(lab, lab.source_schema)

    def fresh() -> tuple[Pipeline, Any]:
        of = pipeline(lab, schemas={lab.source_schema: lab.local_schema})
        return of, getattr(of.source[lab.source_schema], "Delta")  # noqa: B009

    lab_a, delta = fresh()
    with pytest.raises(CycleError, match="in a circle"):
        lab_a.pull(delta & "a = 1")
    lab_a.pull(delta & "a = 1", cut=[f"{lab.source_schema}.Gamma.next"])
    local = site_of(lab.local.connection)
    with local.catalogue() as catalogue:
        table = catalogue.table(lab.local_schema, "delta")
    assert len(table.foreign_keys) == 2
    key = next(key for key in table.foreign_keys if key.table == "gamma")
    lab.local_server.sql(plain(local.definitions.drop_foreign_key(table, key)))
    lab_a, delta = fresh()
    result = lab_a.pull(delta & "a = 2")
    assert {name.partition(".")[2]: each.pulled for name, each in result.tables.items()} == {
        "Alpha": 1,
        "Beta": 1,
        "Delta": 1,
    }
    assert lab_a.status()["Shared"] == 7 and lab_a.verify()


# --- what is there already


def test_tables_of_the_same_code_are_adopted(lab: Lab) -> None:
    """The lab runs the same element code: its lookups are equal, and its own rows stay."""
    build(lab)
    ours = declare(lab.local, f"{lab.prefix}_our")
    ours["Person"].insert1({"person": "zoe", "born": None})
    before = described(lab, True), lineage(lab, True)
    lab_a = pipeline(lab)
    result = lab_a.pull(source_of(lab, lab_a, "ephys.Psth"))
    assert (described(lab, True), lineage(lab, True)) == before
    assert result.tables[f"{lab.prefix}_lab.Kind"].adopted == 2
    assert len(ours["Psth"]()) == 6 and len(ours["Person"]()) == 3
    assert edges(lab, True) == edges(lab, False)


@pytest.mark.parametrize("nullable", [True, False])
def test_a_local_foreign_key_that_the_source_lacks(lab: Lab, nullable: bool) -> None:
    build(lab)
    ours = declare(lab.local, f"{lab.prefix}_our")
    column, table = ("weight", "Subject") if nullable else ("depth", "Probe")
    target = ours[table] if nullable else ours[table].Electrode
    kind = {"weight": "real" if lab.kind == "postgresql" else "float", "depth": "double precision"}[column]
    lab.local_server.sql(f"CREATE TABLE {lab.prefix}_our_lab.step ({column} {kind} PRIMARY KEY)")
    refers = f"FOREIGN KEY ({column}) REFERENCES {lab.prefix}_our_lab.step ({column})"
    lab.local_server.sql(f"ALTER TABLE {target.full_table_name} ADD {refers}")
    lab_a = pipeline(lab)
    if nullable:
        # Rows that refer to what is not here are refused one by one, by the server.
        lab.source_server.sql(f"UPDATE {lab.prefix}_subject.subject SET weight = NULL WHERE subject = 1")
        assert lab_a.pull(source_of(lab, lab_a, "subject.Subject") & "subject = 1").pulled
        return
    before = contents(lab)
    with pytest.raises(LocalMismatchError, match="which the source's has not"):
        lab_a.pull(source_of(lab, lab_a, "ephys.Probe"))
    assert contents(lab) == before


def test_a_table_that_the_lab_has_without_a_foreign_key(lab: Lab) -> None:
    """It is taken as it is: the foreign key is not followed."""
    build(lab)
    ours = declare(lab.local, f"{lab.prefix}_our")
    with site_of(lab.local.connection).catalogue() as catalogue:
        table = catalogue.table(f"{lab.prefix}_our_subject", "subject")
    key = next(key for key in table.foreign_keys if key.columns == ("keeper",))
    lab.local_server.sql(site_of(lab.local.connection).definitions.drop_foreign_key(table, key))
    for of in (pipeline(lab), pipeline(lab)):
        of.pull(source_of(lab, of, "subject.Subject") & "subject = 1")
    assert len(ours["Subject"]()) == 1 and not len(ours["Person"]())


def test_a_second_pipeline_into_the_same_tables_is_refused(lab: Lab) -> None:
    """From another source of the same names; into schemas of the source's own names it goes well: another server."""
    build(lab)
    names = [f"{lab.prefix}_{name}" for name in SCHEMAS]
    lab_a = pipeline(lab, schemas=names)
    lab_a.pull(source_of(lab, lab_a, "subject.Subject") & "subject = 1")
    declare(lab.source, f"{lab.prefix}_other")
    others = {f"{lab.prefix}_other_{name}": f"{lab.prefix}_{name}" for name in SCHEMAS}
    grant(lab, *others)
    lab_b = pipeline(lab, schemas=others)
    before = contents(lab)
    with pytest.raises(LocalMismatchError, match="a local table has one source"):
        lab_b.pull(lab_b.source[f"{lab.prefix}_other_subject"].Subject)
    assert contents(lab) == before
    assert lab_a.status()["Shared"] == 3
    own = pipeline(lab, schemas=names, connection=lab.source)
    with pytest.raises(ConfigError, match="is the source's own"):
        own.pull(source_of(lab, own, "lab.Person"))
    assert contents(lab) == before


# --- with `@link`


def test_what_link_has_made_is_adopted_where_it_is_the_same(lab: Lab) -> None:
    build(lab)
    lab_a = pipeline(lab)
    person = linked_here(lab, "lab", "Person")
    assert person.source.pull().pulled == 3
    result = lab_a.pull(source_of(lab, lab_a, "subject.Subject"))
    assert result.tables[f"{lab.prefix}_lab.Person"].pulled == 0
    assert lab_a.status().tables[f"{lab.prefix}_lab.Person"]["Shared"] == 3
    # Where it comes from is what it was, and so of what refers to it.
    origins = lineage(lab, True)
    assert origins[f"{lab.prefix}_subject.subject.keeper"] == origins[f"{lab.prefix}_lab.person.person"]
    assert "/" in str(origins[f"{lab.prefix}_lab.person.person"])
    with pytest.raises(HelperMismatchError, match=rf"has one helper table.*\n.*helper_schema='{lab.helper_schema}'"):
        elsewhere = pipeline(lab, helper_schema=f"{lab.prefix}_elsewhere")
        elsewhere.pull(source_of(lab, elsewhere, "lab.Person"))
    # One helper table, whatever it is named.
    assert helpers(lab) == {"person_by_link", *(f"{lab.prefix}_{n}_outbound" for n in ("lab_kind", "subject_subject"))}


def test_what_link_has_made_otherwise_is_refused(lab: Lab) -> None:
    build(lab)
    lab_a = pipeline(lab)
    for name, rows, why in (("Subject", 8, "made by @link, without foreign keys"), ("Unit", 8, "both are one class")):
        schema = "subject" if name == "Subject" else "ephys"
        table = linked_here(lab, schema, name)
        assert table.source.pull().pulled == rows
        before = contents(lab)
        with pytest.raises(LocalMismatchError, match=why) as refused:
            lab_a.pull(source_of(lab, lab_a, f"{schema}.{name}"))
        assert "another local schema" in str(refused.value) and "release()" in str(refused.value)
        assert contents(lab) == before
        table.drop(prompt=False)
    assert lab_a.pull(source_of(lab, lab_a, "ephys.Unit")).tables[f"{lab.prefix}_ephys.Unit"].pulled == 8


def test_link_finds_what_a_pipeline_has_made(lab: Lab) -> None:
    """Whatever its tier, and by its helper table: another one is refused, by the name of the one in use."""
    build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(source_of(lab, lab_a, "ephys.Unit") & "subject = 1")
    before = contents(lab)
    with pytest.raises(HelperMismatchError, match="has one helper table") as refused:
        linked_here(lab, "ephys", "Unit").source.status()
    name = f"{lab.prefix}_ephys_unit_outbound"
    assert f"{lab.helper_schema}.{name}" in str(refused.value)
    assert contents(lab) == before
    unit = linked_here(lab, "ephys", "Unit", name)
    assert unit.full_table_name == lab_a[f"{lab.prefix}_ephys"].Unit.full_table_name
    assert unit.source.status()["Shared"] == len(unit()) == 1
    (unit & "subject = 1").delete(prompt=False)
    assert lab_a.status().tables[f"{lab.prefix}_ephys.Unit"]["Shared"] == 0
    assert helpers(lab) == before_names(before, lab)


def test_link_closes_upward_where_its_local_table_refers_to_linked_ones(lab: Lab) -> None:
    """A pipeline has made them; the classes of another process know nothing of it."""
    build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(source_of(lab, lab_a, "ephys.Unit") & "subject = 1")
    unit = linked_here(lab, "ephys", "Unit", f"{lab.prefix}_ephys_unit_outbound")
    result = (unit.source & "subject IN (2, 3)").pull()
    assert result.pulled == 2 and len(unit()) == 3
    status = lab_a.status().tables
    assert {name.partition(".")[2]: status[name]["Shared"] for name in status} == {
        "Kind": 2,
        "Person": 2,
        "Subject": 3,
        "Probe": 2,
        "Session": 3,
        "Unit": 3,
    }
    assert lab_a.verify()
    assert (unit.source & "subject = 2").pull().pulled == 0
    # So does the pipeline's own class; of what is not here yet it says so.
    assert (lab_a[f"{lab.prefix}_ephys"].Unit.source & "subject = 4").pull().pulled == 1


def test_link_closes_upward_by_foreign_keys_of_the_lab_s_own(lab: Lab) -> None:
    """Tables that `@link` has made, between which the lab has declared a foreign key: as if it were a pipeline."""
    build(lab)
    grant(lab, *(f"{lab.prefix}_{name}" for name in ("lab", "subject")))
    person, subject = linked_here(lab, "lab", "Person"), linked_here(lab, "subject", "Subject")
    person(), subject()
    refers = f"(keeper) REFERENCES {person.full_table_name} (person)"
    lab.local_server.sql(f"ALTER TABLE {subject.full_table_name} ADD FOREIGN KEY {refers} ON DELETE RESTRICT")
    assert (subject.source & "subject = 1").pull().pulled == 1
    assert person().to_dicts() == [{"person": "ann", "born": None}]
    assert person.source.status()["Shared"] == 1


def linked_here(lab: Lab, schema: str, name: str, helper: str | None = None) -> Any:
    """The class of `@link` into the local schema of the pipeline."""
    lab.source_schema, lab.helper_table = f"{lab.prefix}_{schema}", helper or f"{name.lower()}_by_link"
    return linked(lab, name, local_schema=f"{lab.prefix}_our_{schema}")


def helpers(lab: Lab) -> set[str]:
    """The helper tables at the source."""
    return before_names(contents(lab), lab)


def before_names(found: dict[tuple[int, str, str], Any], lab: Lab) -> set[str]:
    names = {table for _, schema, table in found if schema == lab.helper_schema and table[:4] != "type"}
    return names - {"", "~lineage"}


# --- all or nothing


def test_what_was_made_goes_where_the_last_local_schema_cannot_be_made(lab: Lab) -> None:
    build(lab)
    schemas = local_schemas(lab)
    forbidden = f"{lab.prefix}_our_ephys" if lab.kind == "postgresql" else f"x{lab.prefix}"
    if lab.kind == "postgresql":
        lab.local_server.sql(f"CREATE SCHEMA {forbidden}")
    lab_a = pipeline(lab, schemas=schemas | {f"{lab.prefix}_ephys": forbidden})
    before = contents(lab)
    with pytest.raises(PrivilegeError, match="Cannot create the local tables") as refused:
        lab_a.pull(*everything(lab, lab_a))
    assert "GRANT" in str(refused.value) and "LINE 1" not in str(refused.value)
    assert contents(lab) == before


def test_local_schemas_that_may_not_be_made_are_told_at_once(lab: Lab) -> None:
    build(lab)
    name, password = f"{lab.prefix}_guest", "of no use"
    lab.local_server.create_user(name, password)
    lab_a = pipeline(lab, connection=lab.instance(lab.local_server, name, password))
    before = contents(lab)
    with pytest.raises(PrivilegeError, match="Cannot create the local tables") as refused:
        lab_a.pull(*everything(lab, lab_a))
    assert contents(lab) == before
    for statement in remedies(refused.value):
        lab.local_server.sql(statement)
    assert lab_a.pull(*everything(lab, lab_a)).pulled


def test_what_was_made_goes_where_the_last_helper_table_does_not_fit(lab: Lab) -> None:
    """By then all local tables are there, and all other helper tables at the source."""
    build(lab)
    # Nobody's: the link user may use it, and does not know what it is.
    admin(lab, f'CREATE TABLE "{{helper}}"."{lab.prefix}_ephys_psth_outbound" (a integer PRIMARY KEY)')
    if lab.kind == "postgresql":
        admin(lab, f'GRANT ALL ON "{{helper}}"."{lab.prefix}_ephys_psth_outbound" TO {{user}}')
    lab_a = pipeline(lab)
    before = contents(lab)
    with pytest.raises(HelperMismatchError, match="does not fit"):
        lab_a.pull(*everything(lab, lab_a))
    assert contents(lab) == before
    admin(lab, f'DROP TABLE "{{helper}}"."{lab.prefix}_ephys_psth_outbound"')
    assert lab_a.pull(source_of(lab, lab_a, "ephys.Psth")).tables[f"{lab.prefix}_ephys.Psth"].pulled == 6


def test_many_open_a_pipeline_for_the_first_time_at_once(lab: Lab) -> None:
    build(lab)

    def pull(number: int) -> int:
        local = lab.instance(lab.local_server, lab.local_user, lab.local_password)
        of = pipeline(lab, connection=local)
        of.pull(source_of(lab, of, "ephys.Psth") & f"subject = {number}")
        return number

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(pull, range(3))) == [0, 1, 2]
    lab_a = pipeline(lab)
    assert lab_a.status().tables[f"{lab.prefix}_ephys.Psth"]["Shared"] == 3
    assert lab_a.verify()


def test_all_that_cannot_be_linked_is_told_at_once_and_only_if_it_is_needed(lab: Lab) -> None:
    build(lab)
    odd = {"mysql": "geometry", "mariadb": "geometry", "postgresql": "tsvector"}[lab.kind]
    for name in ("odd", "#odder"):
        table = quoted(lab.source_server, name)
        lab.source_server.sql(f"CREATE TABLE {lab.prefix}_lab.{table} (a integer PRIMARY KEY, b {odd} NULL)")
    grant(lab, f"{lab.prefix}_lab")
    lab_a = pipeline(lab)
    before = contents(lab)
    with pytest.raises(DefinitionError) as refused:
        lab_a.pull(*everything(lab, lab_a))
    assert f"odd.b: {odd}" in str(refused.value) and f"#odder.b: {odd}" in str(refused.value)
    assert contents(lab) == before
    assert lab_a.pull(source_of(lab, lab_a, "ephys.Psth")).tables[f"{lab.prefix}_ephys.Psth"].pulled == 6


# --- as DataJoint has it


def test_datajoint_goes_on_from_what_was_pulled(lab: Lab) -> None:
    """The lab's own class over the copy, what is derived from it, and joins."""
    build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(source_of(lab, lab_a, "ephys.Unit") & "subject < 6", source_of(lab, lab_a, "ephys.Psth") & "subject < 3")
    psth = declare(lab.local, f"{lab.prefix}_our")["Psth"]
    assert len(psth.key_source - psth) == 3
    psth.populate()
    assert len(psth()) == 6

    class Mean(dj.Computed):
        definition = "-> Psth\n---\nmean: float64"

        def make(self, key: dict[str, Any], **_: Any) -> None:
            table: Any = self
            table.insert1({**key, "mean": (psth & key).fetch1("rate")})

    mean: Any = lab.local.Schema(f"{lab.prefix}_analysis")(Mean, context={"Psth": psth})
    mean.populate()
    assert len(mean()) == 6
    subject, unit = (lab_a[f"{lab.prefix}_{schema}"] for schema in ("subject", "ephys"))
    assert len(subject.Subject() * unit.Unit() * mean()) == 6
    with pytest.raises(dj.errors.DataJointError, match=r"(?i)insert"):
        psth.insert1({"subject": 1})
    status = lab_a.status().tables[f"{lab.prefix}_ephys.Psth"]
    assert status["Shared"] == 3


def test_between_all_kinds_of_servers(mixed: Lab) -> None:
    """Edges, tiers, what is unique, and origins are the source's; of types the nearest that the server has."""
    lab = mixed
    build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(*everything(lab, lab_a))
    assert edges(lab, True) == edges(lab, False)
    assert lineage(lab, True) == lineage(lab, False)
    assert {n: len(t) for n, t in tables(lab, True).items()} == {n: len(t) for n, t in tables(lab, False).items()}
    assert indexes(lab, True) == indexes(lab, False)
    assert lab_a.verify()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_schemas_and_tables_that_make_one_name_together(lab: Lab) -> None:
    """Each table has a helper table of its own, be they pulled one after the other or at once."""
    theirs = [f"{lab.prefix}_lab", f"{lab.prefix}_lab_mouse"]
    for schema, name in zip(theirs, ("MouseScan", "Scan"), strict=True):
        table: Any = lab.source.Schema(schema)(type(name, (dj.Manual,), {"definition": "scan: int32"}))
        table.insert1({"scan": 1})
    grant(lab, *theirs)
    lab_a = pipeline(lab, schemas={schema: f"{schema}_here" for schema in theirs})
    assert lab_a.pull(lab_a.source[theirs[0]].MouseScan).pulled == 1
    assert lab_a.pull(lab_a.source[theirs[1]].Scan).pulled == 1
    other = f"{lab.prefix}_other"
    lab.source_server.sql(f"CREATE SCHEMA {other} AUTHORIZATION {lab.link_user}")
    again = pipeline(lab, schemas={schema: f"{schema}_there" for schema in theirs}, helper_schema=other)
    assert again.pull(*(again.source[schema] for schema in theirs)).pulled == 2
    assert len(helpers(lab)) == 2 and lab_a.verify() and again.verify()


def indexes(lab: Lab, local: bool) -> dict[str, Any]:
    """The indexes at one end, by the source's names."""
    site, found = site_of((lab.local if local else lab.source).connection), {}
    with site.catalogue() as catalogue:
        for schema in schemas(lab, local):
            for name in catalogue.tables(schema):
                found[theirs(lab, f"{schema}.{name}")] = catalogue.table(schema, name).indexes
    return {name: some for name, some in found.items() if some}


@pytest.mark.parametrize(
    "pair", [("mysql", "mariadb"), ("mariadb", "postgresql"), ("postgresql", "mysql")], indirect=True, ids="-".join
)
def test_the_longest_names(mixed: Lab) -> None:
    """Names in which a helper table's has no room, nor on MySQL that of a foreign key; and two that begin alike."""
    lab, length = mixed, 63 if mixed.kind == "postgresql" else 56
    long, other = (f"{'a' * (length - 4)}_{end}" for end in ("one", "two"))
    schema: Any = lab.source.Schema(lab.source_schema)
    classes: dict[str, Any] = {}
    for name in (long, other):
        parent = classes.get(long)
        definition = f"{name[-3:]}: int32" + ("\n---\n-> Parent" if parent else "")
        table = type(host.to_camel_case(name), (dj.Manual,), {"definition": definition})
        classes[name] = schema(table, context={"Parent": parent})
    classes[long].insert1({"one": 1})
    classes[other].insert1({"two": 2, "one": 1})
    grant(lab, lab.source_schema)
    lab_a = pipeline(lab, schemas={lab.source_schema: lab.local_schema})
    source: Any = lab_a.source[lab.source_schema]
    assert lab_a.pull(getattr(source, host.to_camel_case(other))).pulled == 2
    made = helpers(lab)
    assert len(made) == 2 and all(len(name) <= 63 and "__" not in name for name in made)
    assert lab_a.verify()
