"""The linked class: made without connecting, an ordinary DataJoint table afterwards, also without the source."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from typing import Any

import datajoint as dj
import labs
import pulling
import pytest
from lab import Lab
from pipelines import assert_same, contents, count_held, ephys, everything, flag, granted, linked, rows, sessions, units
from proxy import Proxy
from recorder import Statement

from link import LinkedTable, State, link
from link.errors import ConfigError, UnreachableError


def test_nothing_connects_at_decoration(statements: list[Statement], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither account nor server need be there, nor even a name that resolves."""
    for name in ("LINK_USER", "LINK_PASS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(dj, "conn", lambda *_, **__: pytest.fail("connects to the local server"))

    class Plain:
        """Some units."""

    Plain.__name__ = "Unit"
    decorate = link("no.such.host.invalid:1", "source", "helper", "UnitOutbound", "local", stores={"theirs": "ours"})
    Unit = decorate(Plain)
    assert issubclass(Unit, LinkedTable) and issubclass(Unit, dj.Manual)
    assert (Unit.__name__, Unit.__module__, Unit.__qualname__) == ("Unit", __name__, Plain.__qualname__)
    assert str(Unit.__doc__).startswith("Some units.\n\n") and ".source.pull()" not in str(Plain.__doc__)
    assert "(Unit.source & ...).pull()" in str(Unit.__doc__)
    assert Unit.table_name == "unit" and Unit.database == "local"
    assert statements == []


def test_body_and_base_do_no_harm(lab: Lab) -> None:
    lab.grant(sessions(lab, 3))

    class Mixin:
        def shout(self) -> str:
            return "from a mixin"

    class Session(Mixin, dj.Manual):
        """What we know of a session."""

        definition = "this: is not a definition"
        limit = 2

        class Trial(dj.Part):
            definition = "nor: is this"

        def few(self) -> Any:
            return self & f"session < {self.limit}"

        @property
        def number(self) -> int:
            return len(self)

        @staticmethod
        def twice(value: int) -> int:
            return 2 * value

    with pytest.warns(UserWarning, match="definition"):
        Linked = linked(lab, "Session", body=Session)
    assert Linked.source.pull().part_rows == 6
    assert (len(Linked().few()), Linked().number, Linked.twice(4), Linked().shout()) == (2, 3, 8, "from a mixin")
    assert Linked.__doc__.startswith("What we know of a session.")
    assert (len(Linked.Trial()), Linked.Trial().primary_key) == (6, ["subject", "session", "trial"])
    assert Linked.Trial.master is Linked and [part.table_name for part in Linked().parts(as_objects=True)]
    assert Linked().heading.names == ["subject", "session", "note"]
    assert "subject" in Linked().describe() and "note" in Linked.definition.fget(Linked())


def test_ordinary_table(lab: Lab) -> None:
    """Fetching, restricting, projecting, aggregating, previewing, inserting: as in any table."""
    Session = granted(lab, sessions(lab, 12))
    Session().source.pull()
    assert Session.fetch1 is not None and (Session & "session = 3").fetch1("note") == "s3"
    assert len(Session & {"subject": 1}) == 2 and len(Session - {"subject": 1}) == 10
    assert list((Session & "session < 2").to_arrays("note", order_by="session")) == ["s0", "s1"]
    counted = Session.aggr(Session.Trial, trials="count(*)", total="sum(score)")
    assert {int(row["trials"]) for row in counted} == {2}
    assert "s3" in repr(Session & "session = 3") and "<table" in Session()._repr_html_()
    assert len(Session * Session.Trial) == 24
    Session.insert1({"subject": 50, "session": 500, "note": "made here"})
    Session.update1({"subject": 50, "session": 500, "note": "changed"})
    assert (Session & "session = 500").fetch1("note") == "changed"
    assert Session.source.status()[State.LOCAL_ONLY] == 1
    assert Session.source.pull().shared == 12 and len(Session()) == 13
    assert Session.source.verify() and Session.source.refresh().equal == 12


def test_edits_are_told_once(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """Of the table and its parts, by all that changes rows, and without the source."""
    Session = granted(lab, sessions(lab, 4))
    Session().source.pull()
    Session.insert1({"subject": 9, "session": 99})
    Session.Trial.insert([{"subject": 9, "session": 99, "trial": 0, "score": 1.0}], skip_duplicates=True)
    assert "edited" not in caplog.text
    with Session.connection.transaction:
        Session.Trial.update1({"subject": 1, "session": 1, "trial": 0, "score": -1.0})
    assert caplog.text.count("Session: rows were edited here.") == 1
    Session.update1({"subject": 2, "session": 2, "note": "mine"})
    if lab.local_kind != "postgresql":  # for which DataJoint has no REPLACE
        Session.Trial.insert1({"subject": 9, "session": 99, "trial": 0, "score": 2.0}, replace=True)
    assert caplog.text.count("edited") == 1
    assert (Session.Trial & "session = 1 AND trial = 0").fetch1("score") == -1
    keys = [{"subject": n, "session": n} for n in (1, 2)]
    assert Session.source.verify().differing == keys
    assert Session.source.refresh(dry_run=True).edited_here == keys
    assert Session.source.refresh().keys == keys
    assert (Session & "session = 2").fetch1("note") == "s2"
    linked(lab, "Session").Trial.update1({"subject": 9, "session": 99, "trial": 0, "score": 3.0})
    assert caplog.text.count("edited") == 1
    assert (Session.Trial & "session = 99").fetch1("score") == 3


@pytest.mark.parametrize("name", ["SessionOutbound", "session_outbound"])
def test_names_of_the_helper_table(lab: Lab, name: str) -> None:
    """A class name and a table name are the same table."""
    table = sessions(lab, 2)
    lab.helper_table = "session_outbound"
    lab.grant(table)
    lab.helper_table = name
    assert linked(lab, table).source.pull().pulled == 2
    lab.helper_table = "session_outbound"
    assert count_held(lab) == 2
    assert_made(lab)


def test_forms_of_the_address(lab: Lab) -> None:
    table = units(lab, 2)
    server = lab.source_server
    lab.grant(table)
    forms: list[dict[str, Any]] = [
        {"host": server.host, "port": server.port},
        {"host": f"{server.host}:{server.port}", "backend": server.backend},
        {"host": f"{server.backend}://{server.host}:{server.port}"},
    ]
    if lab.kind == "postgresql":
        forms += [
            {"host": f"postgresql://{server.host}:{server.port}/postgres"},
            {"host": server.host, "port": server.port, "database": "postgres"},
        ]
    for form in forms:
        assert len(linked(lab, table, **form).source) == 2
    # The local side may be given as an instance or as its connection.
    assert linked(lab, table, connection=lab.local.connection).source.pull().pulled == 2


def test_nothing_else_is_made_at_the_source(lab: Lab) -> None:
    table = sessions(lab, 3)
    before = contents(lab.source_server, lab.source_schema)
    Session = granted(lab, table)
    Session.source.pull()
    (Session & "session = 1").delete(prompt=False)
    assert contents(lab.source_server, lab.source_schema) == before
    assert_made(lab)


def assert_made(lab: Lab) -> None:
    """The helper schema has the helper table, DataJoint's own about its key, and nothing else."""
    made = contents(lab.source_server, lab.helper_schema)
    assert set(made) == {f"{lab.helper_schema}.{name}" for name in (lab.helper_table, "~lineage")}
    assert len(made[f"{lab.helper_schema}.~lineage"]) == 2


def test_existing_local_table_is_used(lab: Lab) -> None:
    """A local table of the same heading stays as it is, rows and comments included."""
    table = sessions(lab, 4)
    schema: Any = lab.local.Schema(lab.local_schema)

    class Session(dj.Manual):
        definition = """
        # made here first
        subject: int32
        session: int32
        ---
        note=null: varchar(40)  # only the comment is other
        """

        class Trial(dj.Part):
            definition = """
            -> master
            trial: int32
            ---
            score: float64
            """

    mine: Any = schema(Session)
    mine.insert1({"subject": 1000, "session": 1, "note": "mine"})
    before = definition(lab)
    Session_ = granted(lab, table)
    assert len(Session_()) == 1
    assert Session_.source.pull().part_rows == 8
    assert definition(lab) == before
    assert (mine & "subject = 1000").fetch1("note") == "mine"
    assert Session_.source.status()[State.LOCAL_ONLY] == 1
    # A second class of the same link finds what the first has made.
    again = linked(lab, table)
    assert again.source.pull().shared == 4 and len(again.Trial()) == 8


def definition(lab: Lab) -> list[tuple[Any, ...]]:
    """Columns, types and defaults of the local tables."""
    columns = "table_name, column_name, data_type, is_nullable, column_default, ordinal_position"
    condition = f"table_schema = '{lab.local_schema}' AND table_name NOT LIKE '~%'"
    return rows(lab.local_server, f"information_schema.columns WHERE {condition}", columns)


def test_two_links_on_one_helper_schema(lab: Lab) -> None:
    tables = {"session_out": sessions(lab, 6), "unit_out": units(lab, 5)}
    links = {}
    for name, table in tables.items():
        lab.helper_table = name
        links[name] = granted(lab, table)
    assert [made.source.pull().pulled for made in links.values()] == [6, 5]
    lab.helper_table = "unit_out"
    flag(lab, "unit = 2")
    Session, Unit = links.values()
    assert Session.source.flagged.keys() == [] and Unit.source.flagged.keys() == [{"unit": 2}]
    assert (Unit & Unit.source.flagged).delete(prompt=False) == 1
    assert (len(Session()), len(Unit())) == (6, 4)
    assert Session.source.status()[State.SHARED] == 6


# joins


def pipeline(lab: Lab, *names: str) -> list[Any]:
    """Linked and pulled tables of the pipeline of all tiers."""
    tables = ephys(lab)
    links = []
    for name in names:
        lab.helper_table = f"{name.lower()}_out"
        links.append(granted(lab, tables[name]))
        links[-1].source.pull()
    return links


def test_master_joins_its_parts(lab: Lab) -> None:
    (Sorting,) = pipeline(lab, "Sorting")
    assert len(Sorting * Sorting.Unit) == 18
    assert len(Sorting.Spike & (Sorting & {"subject": "ann"})) == 14
    assert len(Sorting * Sorting.Spike & "spike < 2") == 12


def test_joins_of_part_with_part(lab: Lab) -> None:
    (Sorting,) = pipeline(lab, "Sorting")
    assert len(Sorting.Unit * Sorting.Spike) == 42


def test_joins_of_two_linked_tables(lab: Lab) -> None:
    Subject, Recording = pipeline(lab, "Subject", "Recording")
    assert len(Subject * Recording) == 3
    assert len(Recording & (Subject & "weight > 3")) == 2


def test_computing_on_a_linked_table(lab: Lab) -> None:
    """A local computed table populates from a linked one, and again when more has been pulled."""
    Session = granted(lab, sessions(lab, 8))
    Session.source.pull("session < 5")

    class Total(dj.Computed):
        definition = """
        -> Session
        ---
        total: float64
        """

        def make(self, key: Any, **_: Any) -> None:
            new: Any = self
            new.insert1({**key, "total": sum((Session.Trial & key).to_arrays("score"))})

    total: Any = lab.local.Schema(f"{lab.prefix}_analysis")(Total, context={"Session": Session})
    total.populate()
    assert len(total()) == 5
    Session.source.pull()
    total.populate()
    assert (len(total()), (total & "session = 7").fetch1("total")) == (8, 14.125)
    assert len(Session * total) == 8 and len(Session - total) == 0


# without the source


def test_local_work_without_the_source(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the local table is there, only what concerns the source needs it."""
    table = sessions(lab, 5)
    granted(lab, table).source.pull()
    for name in ("LINK_USER", "LINK_PASS"):
        monkeypatch.delenv(name)
    Session = linked(lab, table, host="127.0.0.1:1")
    assert (len(Session()), len(Session.Trial()), len(Session * Session.Trial)) == (5, 10, 10)
    Session.insert1({"subject": 8, "session": 8})
    assert (Session & "session = 8").fetch1("note") is None
    before = everything(lab)
    monkeypatch.setenv("LINK_USER", lab.link_user)
    monkeypatch.setenv("LINK_PASS", lab.link_password)
    operations: list[Any] = [
        lambda: Session.source,
        lambda: Session().source.pull(),
        lambda: (Session & "session = 1").delete(prompt=False),
        lambda: (Session & "session = 1").delete_quick(),
    ]
    for operation in operations:
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 ") as caught:
            operation()
        assert lab.link_password not in str(caught.value)
    assert everything(lab) == before


def test_source_goes_and_comes_back(lab: Lab) -> None:
    """A link outlives the loss of its connections, and says so while the source is away."""
    table = sessions(lab, 30)
    proxy = Proxy(lab.source_server.host, lab.source_server.port)
    try:
        Session = granted(lab, table, host=f"127.0.0.1:{proxy.port}")
        assert Session.source.pull("session < 10").pulled == 10
        source = Session.source
        assert len(source) == 30
        before = everything(lab)
        proxy.cut()
        assert len(Session()) == 10
        for operation in (source.pull, source.status, (Session & "session = 1").delete):
            with pytest.raises(UnreachableError):
                operation()
        assert everything(lab) == before
        proxy.mend()
        assert source.pull("session < 20").pulled == 10
        assert Session.source.pull().pulled == 10
        assert (Session & "session = 1").delete(prompt=False) == 1
        assert Session.source.status()[State.UNSHARED] == 1
    finally:
        proxy.close()


def test_source_goes_before_it_was_looked_at(lab: Lab) -> None:
    proxy = Proxy(lab.source_server.host, lab.source_server.port)
    try:
        source = granted(lab, units(lab, 3), host=f"127.0.0.1:{proxy.port}").source
        proxy.cut()
        with pytest.raises(UnreachableError):
            source.pull()
    finally:
        proxy.close()


# other ways to connect

CONNECTED_BY_ARGUMENT = """
import os
import datajoint as dj
from link import link
local = dj.Instance(os.environ["L_HOST"], os.environ["L_USER"], os.environ["L_PASS"], port=int(os.environ["L_PORT"]),
                    use_tls=False, backend=os.environ["BACKEND"], safemode=False)
@link(*os.environ["LINK"].split(), connection=local, use_tls=False)
class Session:
    pass
"""
CONNECTED_BY_SETTINGS = """
import os
from link import link
@link(*os.environ["LINK"].split(), use_tls=False)
class Session:
    pass
"""
USE = """
print(Session().source.pull("session < 4").pulled)
print((Session & "session = 1").delete(prompt=False))
print(len(Session()), len(Session.Trial()))
"""


@pytest.mark.parametrize("way", ["thread safe", "settings"])
def test_in_a_process_of_its_own(lab: Lab, way: str) -> None:
    """In DataJoint's thread-safe mode with connection=, and by DataJoint's own settings without it."""
    table = sessions(lab, 5)
    lab.grant(table)
    local = lab.local_server
    names = [f"{lab.source_server.host}:{lab.source_server.port}", lab.source_schema, lab.helper_schema]
    settings = {"LINK": " ".join([*names, lab.helper_table, lab.local_schema]), "BACKEND": local.backend}
    if way == "thread safe":
        program, settings = CONNECTED_BY_ARGUMENT, settings | {"DJ_THREAD_SAFE": "true"}
        settings |= {"L_HOST": local.host, "L_PORT": str(local.port)}
        settings |= {"L_USER": lab.local_user, "L_PASS": lab.local_password}
    else:
        program, settings = CONNECTED_BY_SETTINGS, settings | {"DJ_HOST": local.host, "DJ_PORT": str(local.port)}
        settings |= {"DJ_USER": lab.local_user, "DJ_PASS": lab.local_password}
        settings |= {"DJ_BACKEND": local.backend, "DJ_USE_TLS": "false"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program + USE)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == ["4", "1", "3 6"]
    assert count_held(lab) == 3


def test_pulled_through_a_copy_of_the_class(lab: Lab) -> None:
    """Two classes of one link see the same rows and hold each once."""
    table = sessions(lab, 6)
    first, second = granted(lab, table), linked(lab, table)
    assert first.source.pull("session < 3").pulled == 3
    result = second.source.pull()
    assert (result.pulled, result.shared) == (3, 3)
    assert (second & "session = 5").delete(prompt=False) == 1
    assert first.source.status()[State.SHARED] == len(first()) == 5
    first.source.pull()
    assert_same(lab, table, "trial")


# arguments and bodies


def test_two_tables_of_one_name(lab: Lab) -> None:
    """In one module, and in one local schema: each is named by its class here."""

    class Unit(dj.Manual):
        definition = "unit: int32\n---\nnote: varchar(9)"

        class Spike(dj.Part):
            definition = "-> master\nspike: int32"

    rows: dict[str, Any] = {"Unit": [(1, "theirs")], "Unit.Spike": [(1, n) for n in range(3)]}
    schemas = [pulling.declare(lab, {name: [Unit]}, rows)[name] for name in ("a", "b")]
    pulling.grant(lab, schemas)
    host = f"{lab.source_server.host}:{lab.source_server.port}"

    def of(schema: str, name: str) -> Any:
        names = (schema, lab.helper_schema, f"{name}Outbound", lab.local_schema)
        return link(host, *names, table="Unit", connection=lab.local, use_tls=False)(type(name, (), {}))

    UnitOfA, UnitOfB = of(schemas[0], "UnitOfA"), of(schemas[1], "UnitOfB")
    assert UnitOfA.source.pull().part_rows == UnitOfB.source.pull().part_rows == 3
    assert (UnitOfA.table_name, UnitOfA.Spike.table_name) == ("unit_of_a", "unit_of_a__spike")
    assert UnitOfB.full_table_name != UnitOfA.full_table_name and "unit_of_b" in UnitOfB.full_table_name
    assert UnitOfA.source.verify() and UnitOfA.source.status()[State.SHARED] == 1
    with pytest.raises(dj.DataJointError, match="lineage"):
        UnitOfA() * UnitOfB()  # their numbers are different labs' numbers
    again = of(schemas[0], "UnitOfA")
    assert (again & "unit = 1").fetch1("note") == "theirs" and len(again.Spike()) == 3
    assert again.delete(prompt=False) == 1
    assert (len(UnitOfA()), len(UnitOfB()), UnitOfA.source.status()[State.UNSHARED]) == (0, 1, 1)
    assert f"{schemas[0]}.Unit at" in str(UnitOfA.__doc__)


def test_a_pipeline_takes_a_class_by_another_name(lab: Lab) -> None:
    """What it leaves out, or is asked for, is the table at the source."""

    class Unit(dj.Manual):
        definition = "unit: int32"

    schema = pulling.declare(lab, {"a": [Unit]}, {"Unit": [(1,)]})["a"]
    pulling.grant(lab, [schema])
    lab_a = pulling.Checked(lab, [schema]).pipeline
    host = f"{lab.source_server.host}:{lab.source_server.port}"
    names = (schema, lab.helper_schema, "outbound", lab.local_schema)
    Theirs: Any = link(host, *names, table="Unit", connection=lab.local, use_tls=False)(type("Theirs", (), {}))
    with pytest.raises(ConfigError, match=f"{schema}.Unit"):
        lab_a.plan(Theirs)
    with pytest.raises(ConfigError, match="left out"):
        lab_a.plan(lab_a.source[schema].Unit, leave_out=[Theirs])


def test_a_schema_of_datajoint_is_the_local_one(lab: Lab) -> None:
    """Its connection is taken with it; another one is refused."""
    lab.grant(sessions(lab, 3))
    schema: Any = lab.local.Schema(lab.local_schema)
    Session = linked(lab, "Session", local_schema=schema, connection=None)
    assert Session.source.pull().pulled == 3 and Session.connection is lab.local.connection
    assert len(linked(lab, "Session", local_schema=schema, connection=lab.local)()) == 3
    with pytest.raises(ConfigError, match="another connection"):
        linked(lab, "Session", local_schema=schema, connection=lab.source)

    theirs, pair = lab.source_schema, {"schemas": {lab.source_schema: schema}}
    lab_a = labs.pipeline(lab, **pair, connection=None)
    assert len(lab_a[theirs].Session()) == 3 and lab_a[theirs].Session.connection is lab.local.connection
    for elsewhere in (
        {**pair, "connection": lab.source},
        {"schemas": {theirs: schema, "other": lab.source.Schema(lab.source_schema)}, "connection": None},
    ):
        with pytest.raises(ConfigError, match=r"schemas= has the dj\.Schema \S+ which is on another connection"):
            labs.pipeline(lab, **elsewhere)
    with pytest.raises(ConfigError, match=r"schemas= is of names(?s:.*)ours, which may be a dj\.Schema"):
        labs.pipeline(lab, schemas={schema: lab.local_schema})


class Outer:
    """Where a linked class may well be."""

    @link("db.invalid", "source", "helper", "outbound", "local")
    class Unit(LinkedTable):
        """A class within another."""

    class Second(Unit):
        """A class of a linked one."""


def test_classes_are_pickled_by_their_names() -> None:
    assert pickle.loads(pickle.dumps(Outer.Unit)) is Outer.Unit
    assert pickle.loads(pickle.dumps(Outer.Second)) is Outer.Second


def test_methods_of_a_body_that_go_on_with_those_of_the_base(lab: Lab) -> None:
    """As in any class, also in a class of the linked one."""
    lab.grant(sessions(lab, 6))

    class Session(LinkedTable):
        def delete(self, *args: Any, **options: Any) -> int:
            return -super().delete(*args, **options)

        @property
        def title(self) -> str:
            return f"{__class__.__name__} {super().table_name}"  # type: ignore[name-defined]

    Linked = linked(lab, "Session", body=Session)
    Few: Any = type("Few", (Linked,), {"few": lambda self: self & "session < 2"})
    assert Few.source.pull().pulled == 6 and Few().title == "Session session"
    assert len(Few().few()) == 2 and (Few & "session = 1").delete(prompt=False) == -1
    assert len(Linked()) == len(Few()) == 5 and len(Few.Trial()) == 10
