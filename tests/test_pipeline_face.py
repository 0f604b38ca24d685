"""What a `Pipeline` shows: names at both ends, classes by tier, and errors that say what to do."""

from __future__ import annotations

import pickle
import rlcompleter
from collections.abc import Callable
from typing import Any

import datajoint as dj
import labs
import pytest
from lab import Lab
from linking import contents
from recorder import Statement

from link import (
    ConfigError,
    DefinitionError,
    LinkedTable,
    LinkError,
    NotFoundError,
    Pipeline,
    State,
    UnreachableError,
    reference,
)

SCHEMAS = {"subject": "a_subject", "ephys": "a_ephys"}
GIVEN: dict[str, Any] = {"host": "db.lab-a.org", "schemas": SCHEMAS, "helper_schema": "link_lab_b"}


# without a server


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schemas": {}}, "names none"),
        ({"schemas": "ephys"}, "must be a mapping or a list"),
        ({"schemas": 3}, "must be a mapping or a list"),
        ({"schemas": {"ephys": 3}}, "schemas= is of names, not of 3"),
        ({"schemas": {"": "ours"}}, "schemas must be a name"),
        ({"schemas": ["e phys"]}, "no schemas with such characters"),
        ({"schemas": {"a": "ours", "b": "ours"}}, "the local schema 'ours' twice"),
        ({"schemas": ["a", "a"]}, "the source's schema 'a' twice"),
        ({"schemas": ["ephys"], "prefix": 7}, "prefix must be a text"),
        ({"schemas": ["ephys"], "prefix": "a b"}, "no schemas with such characters"),
        ({"helper_schema": "ephys"}, "one of the schemas to pull from"),
        ({"helper_schema": ""}, "helper_schema must be a name"),
        ({"host": ""}, "must be a name"),
        ({"host": "mysql://me:secret@host"}, "LINK_USER"),
        ({"port": 0}, "port must be"),
        ({"host": "host:3306", "port": 3307}, "contradicts the host"),
        ({"backend": "oracle"}, "is not known"),
        ({"database": 3, "backend": "mysql"}, "database must be a name, not 3"),
        ({"use_tls": "yes"}, "use_tls must be"),
        ({"stores": {"raw": 3}}, "stores must map"),
        ({"holder": " "}, "holder must be"),
        ({"codecs": {"Unit.waveform": "bytes"}}, "no column of the pipeline's"),
        ({"codecs": {"other.Unit.waveform": "bytes"}}, "schemas are subject, ephys"),
        ({"codecs": {"ephys.Unit.waveform": "blob"}}, "no word for a column"),
        ({"codecs": ["ephys.Unit.waveform"]}, "codecs must map"),
    ],
)
def test_what_can_be_told_without_a_server(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pipeline(**GIVEN | changes)


def test_nothing_connects_before_first_use(statements: list[Statement], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither accounts nor servers need be there; nor for what it prints, or for names to complete."""
    for name in ("LINK_USER", "LINK_PASS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(dj, "conn", lambda *_, **__: pytest.fail("connects to the local server"))
    lab_a = Pipeline(
        "no.such.host.invalid",
        {**SCHEMAS, "odd-name": "b", "plan": "c", "source": "d"},
        "link_lab_b",
        stores={"raw": "ours", "more": reference("theirs")},
        codecs={"ephys.Unit.Spike.trace": "bytes"},
        backend="postgresql",
        database="lab",
        port=5433,
        use_tls={"ca": "x"},
        holder="Lab B",
    )
    assert repr(lab_a) == (
        "<pipeline of no.such.host.invalid: subject as a_subject, ephys as a_ephys, odd-name as b, plan as c, "
        "source as d; held in link_lab_b there>"
    )
    assert {"ephys", "subject", "source", "pull"} <= set(dir(lab_a)) and "odd-name" not in dir(lab_a)
    assert {"ephys", "subject", "plan"} <= set(dir(lab_a.source)) and "no.such.host" in repr(lab_a.source)
    assert lab_a["odd-name"].database == "b" and lab_a["source"].database == "d" and callable(lab_a.pull)
    assert lab_a.source["odd-name"].database == "odd-name" and lab_a.ephys.database == "a_ephys"
    assert lab_a.ephys is lab_a["ephys"] and not hasattr(lab_a, "ephsy") and not hasattr(lab_a.source, "_repr_html_")
    with pytest.raises(NotFoundError, match=r"no schema 'ephsy'(?s:.*)Did you mean 'ephys"):
        lab_a.ephsy  # noqa: B018
    with pytest.raises(NotFoundError, match=r"no schema 'ephsy'"):
        lab_a.source["ephsy"]
    sequences: list[Any] = [lab_a, lab_a.ephys, lab_a.source, lab_a.source.ephys]
    for not_a_sequence in sequences:
        with pytest.raises(TypeError):
            iter(not_a_sequence)
    again = pickle.loads(pickle.dumps(lab_a))
    assert repr(again) == repr(lab_a) and again.ephys.database == "a_ephys"
    assert statements == []


def test_a_list_of_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    same, behind = (Pipeline("host", ["subject", "ephys"], "helper", prefix=prefix) for prefix in (None, "a_"))
    assert (same.ephys.database, behind.ephys.database) == ("ephys", "a_ephys")
    assert repr(same) == "<pipeline of host: subject, ephys; held in helper there>"


# names


def test_what_the_source_has(lab: Lab) -> None:
    """Classes that are queries there: restricted, joined, fetched, described; nothing can be changed."""
    made = labs.build(lab)
    before = contents(lab)
    lab_a = labs.pipeline(lab)
    ephys, subject = (lab_a.source[f"{lab.prefix}_{name}"] for name in ("ephys", "subject"))
    assert dir(ephys) == ["Probe", "Psth", "Session", "Unit"] and dir(subject) == ["Pair", "Subject", "Tag"]
    assert {"Electrode", "fetch", "to_dicts"} <= set(dir(ephys.Probe))
    assert ephys.Unit is ephys["Unit"] is ephys["_unit"] is lab_a.source[ephys.database].Unit
    assert len(ephys.Unit()) == len(ephys.Unit & "subject < 8") == 8 and len(ephys.Session.Trial & {"trial": 1}) == 16
    assert (ephys.Unit & "subject = 2").fetch1("wave") == [2] and ephys.Probe.Electrode().primary_key[1] == "electrode"
    assert len(ephys.Unit * subject.Subject & "name = 's3'") == 1 and len(ephys.Unit - subject.Tag) == 7
    assert "(Total: 8)" in repr(ephys.Unit()) and ephys.Unit._repr_html_(ephys.Unit()).count("<tr>") == 9
    assert ephys.Unit.heading.names == made["Unit"].heading.names and "start" in ephys.Session().heading
    assert ephys.Session().describe().splitlines() == [
        f"-> {subject.database}.Subject",
        *made["Session"]().describe(context={}).splitlines()[1:3],
        f'-> [nullable] {ephys.database}.Probe.Electrode.proj(used="probe",used_electrode="electrode")',
        *made["Session"]().describe(context={}).splitlines()[4:],
    ]
    assert ephys.Unit.__doc__ == "" and lab_a.source[f"{lab.prefix}_lab"].Person.__doc__ == " who works here".strip()
    assert len(dj.Diagram(ephys).nodes_to_show) == 7 and len((dj.Diagram(ephys.Unit) - 1).nodes_to_show) == 3
    taken: Any = labs.pipeline(lab, codecs={f"{ephys.database}.Unit.wave": "bytes"}).source[ephys.database].Unit
    assert dj.blob.unpack(bytes((taken & "subject = 2").fetch1("wave"))) == [2]
    changes: list[Callable[[], Any]] = [
        lambda: ephys.Unit.insert1({}),
        lambda: (ephys.Unit & "subject = 1").delete(),
        lambda: ephys.Probe().drop(),
        lambda: ephys.Session.Trial.update1({}),
    ]
    for change in changes:
        with pytest.raises(LinkError, match="is read-only from here"):
            change()
    names: list[tuple[Callable[[], Any], str]] = [
        (lambda: ephys.Unti, r"sees no table \w+.Unti on(?s:.*)Did you mean 'Unit"),
        (lambda: ephys["#unit"], "sees no table"),
        (lambda: ephys.Ärger, "sees no table"),
        (lambda: ephys.Session.Ärger, "no part table 'Ärger'"),
        (lambda: ephys.Session.Trail, r"no part table 'Trail'(?s:.*)Did you mean 'Trial"),
        (lambda: ephys.Psth.Trail, "no part table 'Trail'"),
    ]
    for wrong, message in names:
        with pytest.raises(NotFoundError, match=message):
            wrong()
    assert not hasattr(ephys, "Unti") and not hasattr(ephys.Session, "Trail") and not hasattr(ephys, "unit")
    assert contents(lab) == before


def test_what_is_here(lab: Lab) -> None:
    """Classes of the source's tiers, once they have been pulled: DataJoint's in every other way."""
    labs.build(lab)
    lab_a = labs.pipeline(lab)
    there, here = lab_a.source[f"{lab.prefix}_ephys"], lab_a[f"{lab.prefix}_ephys"]
    before = contents(lab)
    assert dir(here) == [] and not hasattr(here, "Unit")
    with pytest.raises(
        NotFoundError, match=r"ephys\.Unit has not been pulled yet(?s:.*)pull\(source\.\w+_ephys\.Unit\)"
    ):
        here.Unit  # noqa: B018
    with pytest.raises(NotFoundError, match=r"There is no table Unti (?s:.*)Did you mean 'Unit"):
        here.Unti  # noqa: B018
    assert contents(lab) == before
    result = lab_a.pull(there.Unit & "subject = 3")
    assert list(result.tables)[-1] == f"{there.database}.Unit" and result.tables[f"{there.database}.Unit"].pulled == 1
    assert dir(here) == ["Probe", "Session", "Unit"]
    subject, persons = lab_a[f"{lab.prefix}_subject"], lab_a[f"{lab.prefix}_lab"]
    tiers = {here.Unit: dj.Imported, here.Probe: dj.Manual, persons.Kind: dj.Lookup, subject.Subject: dj.Manual}
    for linked, tier in tiers.items():
        assert issubclass(linked, LinkedTable) and issubclass(linked, tier) and isinstance(linked(), tier)
        assert [kind for kind in set(tiers.values()) if issubclass(linked, kind)] == [tier]
    assert here.Unit is here["Unit"] is here["_unit"] and here.Unit.__name__ == "Unit"
    assert (here.Unit * subject.Subject & "name = 's3'").fetch1("wave") == [3]
    assert len(here.Session.Event()) == 1 and here.Session.Event.master is here.Session
    assert here.Unit.source.status()[State.SHARED] == 1
    assert len(there.Unit.differing()) == len(there.Unit().differing()) == len(there.Unit & there.Unit.flagged) == 0
    tables: list[Any] = [there.Unit, there.Unit()]
    for table in tables:
        with pytest.raises(AttributeError, match=r"lab\.pull\(lab\.source\.\w+_ephys\.Unit & \.\.\.\)"):
            table.pull()
    with pytest.raises(dj.DataJointError, match="allow_direct_insert"):
        here.Unit.insert1({"subject": 3})
    with pytest.raises(NotFoundError, match="Psth has not been pulled yet"):
        here.Psth  # noqa: B018
    assert len(dj.Diagram(here).nodes_to_show) == 6 and len((dj.Diagram(here.Unit) - 9).nodes_to_show) == 8
    complete = rlcompleter.Completer({"lab_a": lab_a}).attr_matches
    for start, full in ((f"lab_a.source.{there.database}.U", "nit("), (f"lab_a.{there.database}.Session.E", "vent(")):
        (completed,) = complete(start)
        assert completed.startswith(start + full)
    assert f"lab_a.{there.database}" in complete(f"lab_a.{lab.prefix}") and "lab_a.pull(" in complete("lab_a.p")
    # Its view of the source selects there, too.
    assert lab_a.pull(here.Unit.source & "subject = 4").tables[f"{there.database}.Unit"].pulled == 1
    # Once it is there it is used without the source, in another process as well.
    away = labs.pipeline(lab, host="127.0.0.1:1")[here.__name__]
    assert (
        dir(away) == dir(here) and len(away.Unit & "subject = 3") == 1 and len(away.Session.Trial & "subject = 3") == 2
    )
    with pytest.raises(NotFoundError, match=r"no table Unti (?s:.*)the source cannot be asked(?s:.*)mean 'Unit"):
        away.Unti  # noqa: B018
    with pytest.raises(UnreachableError):
        away.Unit.source  # noqa: B018
    # Nothing but a pull makes tables.
    Unit = here.Unit
    with pytest.raises(dj.DataJointError, match=r"(?i)foreign key|depend"):
        here.Probe.drop_quick()  # others refer to it
    Unit.drop_quick()
    with pytest.raises(LinkError, match=r"is not there any more(?s:.*)A pull of \w+_ephys\.Unit makes it"):
        Unit()


def test_odd_names(lab: Lab) -> None:
    """Of a schema that is no identifier, one that is called as a method is, and tables that go by one class."""
    odd, plain, taken = f"{lab.prefix}_odd-name", f"{lab.prefix}_two", "plan"
    quote = '"' if lab.kind == "postgresql" else "`"
    for schema, tier, key in ((odd, dj.Manual, "thing"), (plain, dj.Manual, "thing"), (plain, dj.Lookup, "other")):
        body = {"definition": f"{key}: int32", "contents": [{key: 3}]}
        table: Any = lab.source.Schema(schema)(type("Thing", (tier,), body), context={})
        table.insert([{key: 3}], skip_duplicates=True)
    for schema in (odd, plain):
        name = f"{quote}{schema}{quote}"
        on = f"ALL TABLES IN SCHEMA {name}" if lab.kind == "postgresql" else f"{name}.*".replace("_", r"\_")
        lab.source_server.sql(f"GRANT SELECT, REFERENCES ON {on} TO {lab._account(lab.link_user)}")
        if lab.kind == "postgresql":
            lab.source_server.sql(f"GRANT USAGE ON SCHEMA {name} TO {lab.link_user}")
    labs.grant(lab)
    lab_a: Any = labs.pipeline(lab, schemas={odd: f"{lab.prefix}_here", plain: f"{lab.prefix}_here_two", taken: "x"})
    with pytest.raises(NotFoundError, match="sees no schema 'plan'"):
        lab_a.source.plan.Thing  # noqa: B018
    lab_a = labs.pipeline(lab, schemas={odd: f"{lab.prefix}_here", plain: f"{lab.prefix}_here_two"})
    assert odd not in dir(lab_a) and odd not in dir(lab_a.source) and dir(lab_a.source[plain]) == []
    lab_a.pull(lab_a.source[odd].Thing)
    assert lab_a[odd].Thing.to_dicts() == [{"thing": 3}] == lab_a.source[odd].Thing.to_dicts()
    assert (len(lab_a.source[plain]["thing"]()), len(lab_a.source[plain]["#thing"]())) == (1, 1)
    with pytest.raises(DefinitionError, match=r"several tables that \w+_two\.Thing can mean: #thing, thing"):
        lab_a.pull(lab_a.source[plain]["thing"])


def test_what_is_new_at_the_source(lab: Lab) -> None:
    """A table that was not there when the pipeline was first looked at is there for the next pull, and by name."""
    made = labs.build(lab)
    lab_a, ephys = labs.pipeline(lab), f"{lab.prefix}_ephys"
    there = lab_a.source[ephys]
    lab_a.pull(there.Session & "subject = 1")

    body = {"definition": "-> Session\nlate: int16"}
    table: Any = lab.source.Schema(ephys)(type("Late", (dj.Manual,), body), context={"Session": made["Session"]})
    table.insert({"subject": n, "session": 0, "late": 5} for n in (1, 2))
    labs.grant(lab, ephys)
    assert lab_a.pull(there.Session & "subject = 1", descendants=True).tables[f"{ephys}.Late"].pulled == 1
    assert lab_a[ephys].Late.to_dicts() == [{"subject": 1, "session": 0, "late": 5}]
    assert len(there.Late()) == 2 and "Late" in dir(there)


def test_diagram(lab: Lab) -> None:
    """DataJoint's, of all schemas; and with a line of text at some tables."""
    labs.build(lab)
    lab_a = labs.pipeline(lab)
    diagram, ephys = lab_a.diagram(), f"{lab.prefix}_ephys"
    assert isinstance(diagram, dj.Diagram) and len(diagram.nodes_to_show) == 12
    shown = diagram.make_mermaid()
    assert f'subgraph {ephys}["{ephys}"]' in shown and f"{ephys}_Unit([Unit]):::imported" in shown
    assert '"' + ephys + '.Unit"' in diagram.make_dot().to_string()
    plan = lab_a.plan(lab_a.source[ephys].Unit & "subject < 3")
    assert len(plan.diagram().nodes_to_show) == 9 and "Unit<br/>3 new of 3" in lab_a.diagram(plan).make_mermaid()
    texts = {(ephys, "_unit"): "3 new", (ephys, "session"): "5 new"}
    some = lab_a._theirs.drawing(texts)
    assert len(some.nodes_to_show) == 4
    assert f"{ephys}_Unit([Unit<br/>3 new])" in some.make_mermaid()
    drawn = some.make_dot().to_string()
    assert "Unit<br/>3 new" in drawn and "<u>Session</u><br/>5 new" in drawn
    with pytest.raises(LinkError, match=r"graphviz(?s:.*)make_mermaid"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        some.svg_string()
