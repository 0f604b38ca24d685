"""The older interface, as its users know it: two schemas, `Link`, requests in part tables, `refresh`."""

from __future__ import annotations

import inspect
import re
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import datajoint as dj
import pytest
from buckets import Buckets
from datajoint.utils import to_camel_case
from filing import Stores, collected, fetched, fill, nothing_left_over, recordings
from lab import Lab
from older import declare_outbound as declare_older_outbound
from older import keys, linked, older, outbound
from pipelines import assert_same, everything, run_sql, sessions
from recorder import Statement

from dj_link import LazySchema, Link, LinkedTable
from link import (
    ConfigError,
    CredentialsError,
    NotFoundError,
    PullResult,
    State,
    StoreError,
    TransactionError,
    UnreachableError,
)
from link.model.layouts import DJ_LINK


def session_keys(*numbers: int) -> list[dict[str, Any]]:
    """The keys of these `sessions`, of which there are no more than ten."""
    return [{"subject": n, "session": n} for n in numbers]


# schemas


def test_nothing_connects_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LINK_OUTBOUND", raising=False)
    local_schema = LazySchema("local_schema")
    source_schema = LazySchema("source_schema", host="mysql://127.0.0.1:1")

    @Link(local_schema, source_schema)
    class Table:
        """The local table."""

    assert issubclass(Table, LinkedTable)
    assert Table.__name__ == "Table" and str(Table.__doc__).startswith("The local table.\n")
    assert repr(source_schema) == "LazySchema('source_schema')"
    assert not hasattr(source_schema, "_repr_html_")  # as a notebook asks
    with pytest.raises(CredentialsError, match="LINK_USER"):
        _ = source_schema.connection
    monkeypatch.setenv("LINK_USER", "somebody")
    monkeypatch.setenv("LINK_PASS", "something")
    with pytest.raises(UnreachableError):
        _ = source_schema.connection


def test_host_and_connection_are_two_ways(lab: Lab) -> None:
    with pytest.raises(ValueError, match="not both"):
        LazySchema("source_schema", host="source_database", connection=lab.local)


@pytest.mark.parametrize(
    "arguments",
    [{"schema_name": ""}, {"schema_name": "a.b"}, {"schema_name": "a", "host": "user:secret@host"}],
)
def test_impossible_schemas_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LazySchema(**arguments)


def test_what_is_not_a_connection_or_a_schema_is_refused_at_once() -> None:
    wrong: Any = "database"
    with pytest.raises(ConfigError, match=r"dj\.Instance"):
        LazySchema("schema", connection=wrong)
    with pytest.raises(ConfigError, match="local_schema must be a LazySchema"):
        Link(wrong, LazySchema("schema"))
    with pytest.raises(ConfigError, match="CamelCase"):
        Link(LazySchema("a"), LazySchema("b"))(type("table", (), {}))


def test_a_lazy_schema_decorates_tables_of_its_own(lab: Lab, statements: list[Statement]) -> None:
    schema = LazySchema(lab.local_schema, connection=lab.local)
    assert not statements

    @schema
    class Subject(dj.Manual):
        definition = "subject: int32"

    @schema
    class Weight(dj.Manual):
        definition = """
        -> Subject
        ---
        weight: float64
        """

    declared: list[Any] = [Subject(), Weight()]
    declared[0].insert1({"subject": 1})
    declared[1].insert1({"subject": 1, "weight": 20.0})
    assert schema.exists and schema.list_tables() == ["subject", "weight"]
    assert schema.database == lab.local_schema


def test_the_local_schema_is_by_default_on_the_connection_of_datajoint(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a source on a host is read as the link user of the environment."""
    table = sessions(lab, 3)
    older(lab, table)
    monkeypatch.setattr("datajoint.instance._singleton_connection", lab.local.connection)
    host = f"{lab.source_server.backend}://{lab.source_server.host}:{lab.source_server.port}"
    source_schema = LazySchema(lab.source_schema, host=host)
    Session: Any = Link(LazySchema(lab.local_schema), source_schema)(type("Session", (), {}))
    assert Session().pull().pulled == 3
    assert Session.connection is lab.local.connection
    assert_same(lab, table, "trial")


def test_the_outbound_schema_is_named_when_it_is_first_needed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    Session = older(lab, sessions(lab, 3))
    monkeypatch.delenv("LINK_OUTBOUND")
    before = everything(lab)
    with pytest.raises(ConfigError, match="LINK_OUTBOUND"):
        Session()
    assert everything(lab) == before
    monkeypatch.setenv("LINK_OUTBOUND", lab.helper_schema)
    assert Session().pull().pulled == 3
    monkeypatch.delenv("LINK_OUTBOUND")
    assert len(linked(lab, "Session")()) == 3  # what is here needs neither the source nor its outbound table


@pytest.mark.parametrize("option", ["create_schema", "create_tables"])
def test_nothing_is_created_that_shall_not_be(lab: Lab, option: str) -> None:
    Session = older(lab, sessions(lab, 3))
    options: dict[str, Any] = {option: False, "connection": lab.local}
    source_schema = LazySchema(lab.source_schema, connection=lab.link_instance())
    Careful: Any = Link(LazySchema(lab.local_schema, **options), source_schema)(type("Session", (), {}))
    before = everything(lab)
    with pytest.raises(NotFoundError, match=option):
        Careful()
    assert everything(lab) == before
    Session().pull()
    assert len(Careful()) == 3


def test_stores_are_named_local_first(lab: Lab, tmp_path: Any) -> None:
    """The mapping is handed on the other way round, and its local stores must be configured."""
    table = sessions(lab, 3)
    Session = older(lab, table, local_store="source_store")
    assert Session._link.spec.stores == {"source_store": "local_store"}
    with pytest.raises(StoreError, match="local_store"):
        Session()
    lab.local.config.stores = {"local_store": {"protocol": "file", "location": str(tmp_path)}}
    assert Session().pull().pulled == 3


def test_files_come_along(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """With all codecs, from one store to the other; what is deleted as requested frees its files."""
    Stores(lab, tmp_path, buckets, "file", "file")
    table = recordings(lab)
    fill(lab, table, tmp_path)
    Recording = older(lab, table, ours="theirs")
    assert (Recording().pull("recording > 0").pulled, Recording().pull().pulled) == (3, 1)
    assert fetched(Recording) == fetched(table)
    assert fetched(Recording.Channel) == fetched(table.Channel)
    with nothing_left_over(lab.local, lab.local_schema, "ours"):
        pass

    Outbound = outbound(lab, "Recording")
    Outbound.DeletionRequested().insert((Outbound() & "recording = 1").keys())
    Recording().refresh()
    (Recording() & Recording().DeletionRequested()).delete()
    assert [len(rows()) for rows in (Recording, Outbound, Outbound.DeletionApproved)] == [3, 4, 1]
    report = collected(lab.local, lab.local_schema, "ours", dry_run=False)
    assert report["deleted"] and not report["errors"]
    assert fetched(Recording) == [row for row in fetched(table) if row["recording"] != 1]


@pytest.mark.parametrize("stores", ["local", ["local"], {"local": 1}, {"one": "source", "two": "source"}])
def test_stores_that_map_nothing(stores: Any) -> None:
    with pytest.raises(ConfigError, match="stores"):
        Link(LazySchema("local"), LazySchema("source"), stores=stores)


# source and pull


def test_the_source_is_seen_with_and_without_parentheses(lab: Lab) -> None:
    table = sessions(lab, 4)
    Session = older(lab, table)
    for source in (Session().source, Session().source(), Session.source, Session.source()):
        assert source.to_dicts(order_by="KEY") == table.to_dicts(order_by="KEY")
    assert len(Session().source() & "session > 1") == 2
    assert len(Session()) == 0


def test_pull_with_and_without_restrictions(lab: Lab) -> None:
    table = sessions(lab, 10)
    Session = older(lab, table)
    result = Session().pull("session < 3")
    assert isinstance(result, PullResult) and result.pulled == 3
    assert keys(Session()) == session_keys(0, 1, 2)
    assert Session().pull({"session": 7}).pulled == 1
    # A list selects what any of its members does, and several restrictions what all of them do, as in populate().
    assert Session().pull([{"session": 3}, "session = 4"]).pulled == 2
    assert Session().pull("session > 4", "session < 6").pulled == 1
    assert keys(Session()) == session_keys(0, 1, 2, 3, 4, 5, 7)
    assert Session().pull(dry_run=True).pulled == 3
    assert Session().pull(max_calls=1).pulled == 1
    assert Session().pull(processes=2).pulled == 2
    assert Session().pull().pulled == 0
    assert_same(lab, table, "trial")
    assert keys(outbound(lab, "Session")()) == keys(table())


def test_a_restricted_table_cannot_be_pulled(lab: Lab) -> None:
    """Its restriction selects local rows: to ignore it would pull everything."""
    Session = older(lab, sessions(lab, 3))
    with pytest.raises(ConfigError, match=r"pull\(restriction\)"):
        (Session() & "session = 1").pull()
    assert len(Session()) == 0


def test_parts_come_along(lab: Lab) -> None:
    Session = older(lab, sessions(lab, 4))
    assert Session().pull("session < 2").part_rows == 4
    assert len(Session().Trial()) == len(Session.Trial()) == 4
    assert len(Session.Trial & "session = 1") == 2
    assert len(Session() * Session.Trial()) == 4
    assert (Session() & Session.Trial & "session = 1").delete() == 1
    assert len(Session.Trial()) == 2


# deletions


def test_request_refresh_delete_approve(lab: Lab) -> None:
    """The whole way of a deletion, the source's part by plain DataJoint."""
    table = sessions(lab, 6)
    Session = older(lab, table)
    assert Session().pull().pulled == 6
    Outbound = outbound(lab, "Session")
    assert Outbound().heading.names == ["subject", "session"]
    assert keys(Outbound()) == keys(table())

    Outbound.DeletionRequested().insert(session_keys(1, 4))
    assert len(Session().DeletionRequested()) == 0
    Session().refresh()
    assert keys(Session().DeletionRequested()) == session_keys(1, 4)
    assert keys(Session().source.flagged) == session_keys(1, 4)
    assert Session().pull().pulled == 0

    assert (Session() & Session().DeletionRequested()).delete() == 2
    assert keys(Outbound.DeletionApproved()) == session_keys(1, 4)
    assert (Session() & "session = 5").delete() == 1
    assert keys(Outbound()) == session_keys(0, 1, 2, 3, 4)
    assert keys(Outbound.DeletionApproved()) == session_keys(1, 4)
    assert len(Session().DeletionRequested()) == 0

    result = Session().pull()
    assert (result.pulled, result.shared) == (1, 3)
    assert (table & session_keys(1, 4)).delete() == 2
    assert keys(table()) == keys(Outbound()) == keys(Session()) == session_keys(0, 2, 3, 5)
    assert len(Outbound.DeletionRequested()) == len(Outbound.DeletionApproved()) == 0
    assert Session().pull().shared == 4


def test_refresh_follows_what_is_requested(lab: Lab) -> None:
    Session = older(lab, sessions(lab, 6, trials=0))
    Session().pull("session < 4")
    Requested = outbound(lab, "Session").DeletionRequested
    Requested().insert(session_keys(0, 1, 2))
    Session().refresh()
    (Requested() & "session = 1").delete_quick()
    Requested().insert(session_keys(3))
    assert (Session() & "session = 0").delete_quick(get_count=True) == 1
    assert keys(Session().DeletionRequested()) == session_keys(1, 2)
    Session().refresh()
    assert keys(Session().DeletionRequested()) == session_keys(2, 3)
    Session().refresh()
    assert keys(Session().DeletionRequested()) == session_keys(2, 3)
    Requested().delete_quick()
    with lab.local.connection.transaction, pytest.raises(TransactionError):
        Session().refresh()
    Session().refresh()
    assert len(Session().DeletionRequested()) == 0
    assert len(Session()) == 3


def test_the_source_may_write_the_outbound_classes_itself(lab: Lab) -> None:
    """As it always had to: over the tables that are there."""
    Session = older(lab, sessions(lab, 3))
    Session().pull()
    source: dict[str, Any] = {}
    lab.source.Schema(lab.source_schema).make_classes(into=source)

    class SessionOutbound(dj.Manual):
        definition = "-> Session"

        class DeletionRequested(dj.Part):
            definition = "-> master"

        class DeletionApproved(dj.Part):
            definition = "-> master"

    Outbound: Any = lab.source.Schema(lab.helper_schema)(SessionOutbound, context=source)
    Outbound.DeletionRequested().insert((source["Session"] & "session = 2").proj())
    Session().refresh()
    assert (Session() & Session().DeletionRequested()).delete() == 1
    assert (source["Session"]() & Outbound.DeletionApproved().keys()).delete() == 1
    assert keys(Outbound()) == session_keys(0, 1)


def test_a_held_row_cannot_be_deleted_at_the_source(lab: Lab) -> None:
    table = sessions(lab, 3, trials=0)
    Session = older(lab, table)
    Session().pull("session = 1")
    with pytest.raises(Exception, match="foreign key"):
        lab.source_server.sql(f"DELETE FROM {table.full_table_name} WHERE session = 1")
    lab.source_server.sql(f"DELETE FROM {table.full_table_name} WHERE session = 2")
    assert keys(table()) == session_keys(0, 1)


def test_a_request_that_is_taken_back(lab: Lab) -> None:
    """Before the deletion nothing has happened; after it the row can be pulled again, and is approved no more."""
    table = sessions(lab, 4)
    Session = older(lab, table)
    Session().pull()
    Outbound = outbound(lab, "Session")
    Outbound.DeletionRequested().insert(session_keys(1, 2))
    (Session() & "session = 2").delete()
    Outbound.DeletionRequested().delete_quick()
    assert Session().source.status()[State.VANISHED] == 1
    result = Session().pull()
    assert (result.pulled, result.shared) == (1, 3)
    assert len(Outbound.DeletionApproved()) == 0
    assert_same(lab, table, "trial")


def test_a_request_before_anybody_has_pulled(lab: Lab) -> None:
    """It is approved as soon as it is noticed, and the row is not pulled."""
    Session = older(lab, sessions(lab, 3))
    Session()
    Outbound = outbound(lab, "Session")
    Outbound().insert(session_keys(1))
    Outbound.DeletionRequested().insert(session_keys(1))
    result = Session().pull()
    assert (result.pulled, sum(result.skipped.values())) == (2, 1)
    assert keys(Outbound.DeletionApproved()) == session_keys(1)
    assert keys(Session()) == session_keys(0, 2)


@pytest.mark.parametrize("asked", [True, False], ids=["commits", "rolls back"])
def test_a_request_at_the_moment_of_a_release(lab: Lab, asked: bool) -> None:
    """The release waits for the request, then gives way to it; it is never lost, and the delete succeeds."""
    Session = older(lab, sessions(lab, 3))
    Session().pull()
    with closing(lab.source_server.connect_raw()) as connection, connection.cursor() as cursor:
        part = f"{lab.helper_schema}.session_outbound__deletion_requested"
        cursor.execute("BEGIN")
        cursor.execute(f"INSERT INTO {part} (subject, session) VALUES (1, 1)")
        counts: list[int] = []
        deletion = threading.Thread(target=lambda: counts.append((Session() & "session < 2").delete()))
        deletion.start()
        deletion.join(1)
        assert deletion.is_alive(), "it did not wait"
        cursor.execute("COMMIT" if asked else "ROLLBACK")
        deletion.join(30)
    assert counts == [2]
    Outbound = outbound(lab, "Session")
    assert keys(Outbound()) == session_keys(1, 2) if asked else session_keys(2)
    assert keys(Outbound.DeletionApproved()) == (session_keys(1) if asked else [])
    assert keys(Session()) == session_keys(2)


def test_rows_that_are_approved_are_let_go_of(lab: Lab) -> None:
    """A request taken back, and a row not wanted back: nothing keeps the outbound row."""
    Session = older(lab, sessions(lab, 3))
    Session().pull()
    Outbound = outbound(lab, "Session")
    Outbound.DeletionRequested().insert(session_keys(1))
    (Session() & "session = 1").delete()
    Outbound.DeletionRequested().delete_quick()
    Session().source.repair(dry_run=False, vanished="release")
    assert keys(Outbound()) == session_keys(0, 2)
    assert len(Outbound.DeletionApproved()) == 0


def test_status_verify_and_repair(lab: Lab) -> None:
    table = sessions(lab, 9)
    Session = older(lab, table)
    Session().pull("session < 8")
    Outbound = outbound(lab, "Session")
    Outbound.DeletionRequested().insert(session_keys(1, 2, 3))
    (Session() & "session = 1").delete()
    helper, local = f"{lab.helper_schema}.session_outbound", f"{lab.local_schema}.session"
    dead = "_worker = 4711"
    run_sql(
        lab.source_server,
        [f"UPDATE {helper} SET _process = '{p}', {dead} WHERE session = {n}" for n, p in ((4, "PULL"), (5, "DELETE"))],
    )
    run_sql(
        lab.local_server, [f"DELETE FROM {local}__trial WHERE session = 6", f"DELETE FROM {local} WHERE session = 6"]
    )
    found = {state: n for state, n in Session().source.status(deep=True).items() if n}
    expected = {State.DEPRECATED: 1, State.TAINTED: 2, State.RECEIVED_PULL: 1, State.RECEIVED_DELETE: 1}
    expected |= {State.VANISHED: 1, State.SHARED: 2, State.UNSHARED: 1}
    assert found == {state.value: n for state, n in expected.items()}
    assert Session().source.verify().missing == session_keys(6)
    Session().source.repair(dry_run=False)
    found = {state: n for state, n in Session().source.status(deep=True).items() if n}
    assert found == {"Shared": 4, "Tainted": 2, "Deprecated": 1, "Unshared": 2}
    assert Session().source.verify()


# the tables


def test_an_outbound_table_of_an_earlier_program_is_adopted(lab: Lab) -> None:
    """It has the key alone; what stands in its part tables counts."""
    table = sessions(lab, 7)
    Session = older(lab, table)
    Made = declare_older_outbound(lab, table)
    Made().insert(session_keys(0, 1, 2, 3, 4))
    Made.DeletionRequested().insert(session_keys(1, 2))
    Made.DeletionApproved().insert(session_keys(2))
    Session()
    there, here = f"{lab.source_schema}.session", f"{lab.local_schema}.session"
    chosen = "WHERE session IN (0, 1, 3)"
    for suffix, columns in (("", 3), ("__trial", 4)):
        rows = lab.source_server.sql(f"SELECT * FROM {there}{suffix} {chosen}")
        for row in rows:
            lab.local_server.sql(f"INSERT INTO {here}{suffix} VALUES ({', '.join(['%s'] * columns)})", *row)
    found = {state: n for state, n in Session().source.status(deep=True).items() if n}
    assert found == {"Shared": 2, "Tainted": 1, "Deprecated": 1, "Vanished": 1, "Unshared": 2}
    assert Session().pull().pulled == 3
    Session().refresh()
    assert (Session() & Session().DeletionRequested()).delete() == 1
    assert keys(Made.DeletionApproved()) == session_keys(1, 2)
    assert Made().heading.names == ["subject", "session"]
    assert keys(Session()) == session_keys(0, 3, 4, 5, 6)


def test_a_part_of_the_source_that_has_the_name_of_the_local_one(lab: Lab) -> None:
    class Session(dj.Manual):
        definition = "session: int32"

        class DeletionRequested(dj.Part):
            definition = "-> master"

    Linked = older(lab, lab.source.Schema(lab.source_schema)(Session))
    before = everything(lab)
    with pytest.raises(dj.DataJointError, match="deletion_requested"):
        Linked()
    assert everything(lab) == before


def test_a_table_of_link_is_not_taken_for_an_outbound_table(lab: Lab) -> None:
    table = sessions(lab, 3)
    Session = older(lab, table)
    Session()
    helper = f"{lab.helper_schema}.session_outbound"
    run_sql(lab.source_server, [f"ALTER TABLE {helper} RENAME COLUMN _process TO process"])
    with pytest.raises(dj.DataJointError, match="converted"):
        linked(lab, "Session").source.pull()


# the document

DOCUMENT = (Path(__file__).parent.parent / "docs/dj_link.md").read_text()


def test_the_documented_rights_suffice(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SQL of the document, with this lab's names."""
    sessions(lab, 4)
    user, created = f"{lab.prefix}_documented", f"{lab.prefix}_made"
    mark = '"' if lab.kind == "postgresql" else "`"
    blocks = re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)
    block = next(block for block in blocks if mark in block)
    if lab.kind == "mariadb":  # has no TLS before 11.4, unless it is given a certificate
        block = block.replace(" REQUIRE SSL", "")
    names = {"djlink": user, "source_schema": lab.source_schema, "outbound_schema": created}
    for name, ours in names.items():
        block = block.replace(name, ours).replace(name.replace("_", "\\_"), ours.replace("_", "\\_"))
    run_sql(lab.source_server, [line for line in block.split(";\n") if line])
    monkeypatch.setenv("LINK_USER", user)
    monkeypatch.setenv("LINK_PASS", "choose-a-password")
    monkeypatch.setenv("LINK_OUTBOUND", created)
    host = f"{lab.source_server.backend}://{lab.source_server.host}:{lab.source_server.port}"
    source_schema = LazySchema(lab.source_schema, host=host)
    Session: Any = Link(LazySchema(lab.local_schema, connection=lab.local), source_schema)(type("Session", (), {}))
    assert Session().pull().pulled == 4
    lab.source_server.sql(
        f"INSERT INTO {created}.session_outbound__deletion_requested (subject, session) VALUES (1, 1)"
    )
    Session().refresh()
    assert (Session() & Session().DeletionRequested()).delete() == 1
    approved = f"{created}.session_outbound__deletion_approved"
    assert lab.source_server.sql(f"SELECT subject, session FROM {approved}") == [(1, 1)]


def test_the_document_says_where_what_is_said() -> None:
    for said, column in DJ_LINK.columns.items():
        assert f"| column `{said}` | hidden column `{column}` |" in DOCUMENT
    for said, suffix in DJ_LINK.parts.items():
        assert f"| column `{said}` | `TRUE` if the key is in `{to_camel_case(suffix)}` |" in DOCUMENT


def test_the_signatures_of_the_document() -> None:
    for public in (LazySchema, Link):
        parameters = inspect.signature(public).parameters.values()
        signature = inspect.Signature([p.replace(annotation=p.empty) for p in parameters])
        assert f"`{public.__name__}{signature}`" in DOCUMENT.replace("\n  ", " ")
