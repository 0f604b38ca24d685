"""Bad input gets a clear error, and nothing is changed: not a schema, table, type or row on either server."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import datajoint as dj
import pytest
from lab import Lab
from linking import admin, contents, declare_session, everything_said, linked, quoted

from link import (
    ConfigError,
    CredentialsError,
    DefinitionError,
    HelperMismatchError,
    LinkError,
    LocalMismatchError,
    LoginError,
    NotFoundError,
    PrivilegeError,
    StoreError,
    TransactionError,
    UnreachableError,
    UnseenError,
)
from link.servers import connecting

MYSQLS = pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)


def refused(lab: Lab, error: type[LinkError], match: str, name: str = "Session", **changes: Any) -> LinkError:
    """Use a link, expect an error of exactly this type, and check that both servers are as before."""
    before = contents(lab)
    table = linked(lab, name, **changes)
    with pytest.raises(error, match=match) as raised:
        table().source.pull()
    assert type(raised.value) is error
    assert isinstance(raised.value, dj.DataJointError)
    assert contents(lab) == before
    assert lab.link_password not in everything_said(raised.value)
    assert lab.local_password not in everything_said(raised.value)
    return raised.value


# --- reaching the source


def test_credentials_are_read_when_first_needed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    declare_session(lab)
    for name in ("LINK_USER", "LINK_PASS"):
        monkeypatch.delenv(name)
    table = linked(lab)
    with pytest.raises(CredentialsError, match="LINK_USER and LINK_PASS are not set"):
        table()
    monkeypatch.setenv("LINK_USER", lab.link_user)
    with pytest.raises(CredentialsError, match="LINK_PASS is not set"):
        table()
    monkeypatch.setenv("LINK_PASS", lab.link_password)
    assert table().source.pull().pulled == 3
    for name in ("LINK_USER", "LINK_PASS"):
        monkeypatch.delenv(name)
    # The connection is there, and a local table needs no source.
    assert len(table().source) == len(table()) == len(linked(lab)()) == 3


@pytest.mark.parametrize("use_tls", [None, False])
@pytest.mark.parametrize("wrong", ["LINK_USER", "LINK_PASS"])
def test_wrong_credentials(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: str, use_tls: bool | None
) -> None:
    declare_session(lab)
    monkeypatch.setenv(wrong, "s3cret")
    user = "s3cret" if wrong == "LINK_USER" else lab.link_user
    monkeypatch.setattr(dj.logger, "propagate", True)
    with caplog.at_level(logging.DEBUG, "link"):
        error = refused(lab, LoginError, "Check LINK_USER and LINK_PASS", use_tls=use_tls)
    assert f"{lab.source_server.host}:{lab.source_server.port}" in error.what
    assert repr(user) in error.what
    password = lab.link_password if wrong == "LINK_USER" else "s3cret"
    assert password not in everything_said(error) + caplog.text


def test_unreachable_source(lab: Lab) -> None:
    backend = lab.source_server.backend
    taken = socket.socket()  # nobody else can listen there, and this one does not
    taken.bind(("127.0.0.1", 0))
    closed = f"127.0.0.1:{taken.getsockname()[1]}"
    hosts = {
        closed: closed,
        "nowhere.invalid": f"nowhere.invalid:{5432 if backend == 'postgresql' else 3306}",
        f"{backend}://nowhere.invalid:77": "nowhere.invalid:77",
    }
    for host, where in hosts.items():
        error = refused(lab, UnreachableError, "Check host, port and backend", host=host)
        assert where in error.what
        assert repr(lab.link_user) in error.what
    taken.close()


@POSTGRESQL
def test_a_socket_folder_without_server(lab: Lab) -> None:
    refused(lab, UnreachableError, "/tmp:1 as", host="/tmp", port=1)


def test_a_local_table_works_without_its_source(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    declare_session(lab)
    linked(lab)().source.pull()
    table = linked(lab, host="127.0.0.1:1")
    assert len(table()) == 3
    assert len(table.Trial()) == 6
    operations: list[Callable[[], Any]] = [
        lambda: table().source,
        lambda: table.source,
        lambda: table().delete(prompt=False),
        lambda: table().delete_quick(),
    ]
    for operation in operations:
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 as"):
            operation()
    assert len(table()) == 3


@pytest.mark.parametrize("form", ["host:port", "port=", "URL"])
def test_ways_to_name_the_source(lab: Lab, form: str) -> None:
    server = lab.source_server
    database = "/postgres" if server.backend == "postgresql" else ""
    forms: dict[str, dict[str, Any]] = {
        "host:port": {"host": f"{server.host}:{server.port}"},
        "port=": {"host": server.host, "port": server.port, "backend": server.backend},
        "URL": {"host": f"{server.kind}://{server.host}:{server.port}{database}"},
    }
    declare_session(lab)
    assert linked(lab, **forms[form])().source.pull().pulled == 3


@POSTGRESQL
def test_a_socket_folder_is_a_host(lab: Lab) -> None:
    declare_session(lab)
    table = linked(lab, host=lab.source_server.socket_dir, port=lab.source_server.port)
    assert table().source.pull().pulled == 3


@pytest.mark.parametrize("use_tls", [None, False])
def test_a_server_of_another_kind(lab: Lab, use_tls: bool | None) -> None:
    """Told at once, at any port."""
    server = lab.source_server
    other = {"mysql": "postgresql", "postgresql": "mysql"}[server.backend]
    title = {"mysql": "MySQL or MariaDB", "postgresql": "PostgreSQL"}[server.backend]
    expected = f"is a {title} server.\n  → Say so with backend='{server.backend}', or in the URL: {server.backend}://"
    for backend in ({"backend": other}, {"host": f"{other}://{server.host}:{server.port}"}):
        refused(lab, ConfigError, re.escape(expected), use_tls=use_tls, **backend)


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_no_server_of_a_known_kind(lab: Lab, answer: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that accepts and says nothing, that hangs up, that speaks HTTP once it is asked: a sentence, in time."""
    if answer is None:
        monkeypatch.setattr(connecting, "ANSWER_WITHIN", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wires: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    wire, _ = listener.accept()
                    wires.append(wire)
                    if answer is not None:
                        if answer:
                            wire.recv(1)
                            wire.sendall(answer)
                        wire.close()

        threading.Thread(target=serve, daemon=True).start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        expected = "has not answered within 2 s" if answer is None else "Check host"
        refused(lab, UnreachableError, expected, host=host)
        for wire in wires:
            wire.close()


@POSTGRESQL
def test_no_such_database(lab: Lab) -> None:
    refused(lab, NotFoundError, "Name it with database= or in the URL", database="nope")


@MYSQLS
def test_a_database_where_there_are_none(lab: Lab) -> None:
    """Also where nobody says what kind of server it is."""
    declare_session(lab)
    refused(lab, ConfigError, "database='nope' is for PostgreSQL", database="nope")


@pytest.mark.parametrize("connection", [7, "127.0.0.1", dj.Manual])
def test_a_local_connection_of_another_kind(lab: Lab, connection: Any) -> None:
    refused(lab, ConfigError, "connection=dj.Instance", connection=connection)


# --- names that are not there, or cannot be


def unseen(lab: Lab) -> type[NotFoundError]:
    """What is not there, and what may only be hidden: PostgreSQL hides nothing."""
    return NotFoundError if lab.kind == "postgresql" else UnseenError


def test_a_mistyped_source_schema_is_not_created(lab: Lab) -> None:
    declare_session(lab)
    error = refused(lab, unseen(lab), "sees no schema", source_schema=f"{lab.prefix}_sorce")
    assert repr(lab.source_schema) in str(error.hint)


@pytest.mark.parametrize("other", ["helper_schema", "local_schema"])
def test_schemas_in_the_wrong_order(lab: Lab, other: str) -> None:
    declare_session(lab)
    names = {"source_schema": getattr(lab, other), other: lab.source_schema}
    said = str(refused(lab, unseen(lab), "sees no", **names))
    assert f"{lab.source_schema} there has such a table: are source_schema and {other} swapped?" in said


def test_a_mistyped_class_name(lab: Lab) -> None:
    declare_session(lab)
    error = refused(lab, unseen(lab), "sees no table 'sesion'", name="Sesion")
    assert "'session'" in str(error.hint)
    assert lab.source_schema in error.what


@pytest.mark.parametrize("argument", ["helper_table", "helper_schema", "local_schema"])
def test_names_that_the_server_would_cut_off(lab: Lab, argument: str) -> None:
    declare_session(lab)
    refused(lab, ConfigError, "is too long", **{argument: lab.prefix + "_" + "x" * 60})


def test_long_names(lab: Lab) -> None:
    declare_session(lab)
    # MySQL names the foreign key after the table, in the same 64 characters.
    lab.helper_table = "x" * 55
    lab.grant("session")
    longest = linked(lab, local_schema=lab.prefix + "_" + "x" * (62 - len(lab.prefix)))
    assert longest().source.pull().pulled == 3
    assert (lab.source_server.port, lab.helper_schema, lab.helper_table) in contents(lab)


def test_a_source_cannot_be_linked_into_its_own_schema(lab: Lab) -> None:
    declare_session(lab)
    for host in ("127.0.0.1", "localhost"):
        refused(
            lab,
            ConfigError,
            "is the source's own",
            host=f"{host}:{lab.source_server.port}",
            connection=lab.source,
            local_schema=lab.source_schema,
        )


def test_source_and_local_table_may_be_on_one_server(lab: Lab) -> None:
    declare_session(lab)
    assert linked(lab, connection=lab.source)().source.pull().pulled == 3


def test_schemas_of_one_name_on_two_servers(lab: Lab) -> None:
    declare_session(lab)
    if lab.kind == "postgresql":
        lab.local_server.sql(f"CREATE SCHEMA {lab.source_schema} AUTHORIZATION {lab.local_user}")
    assert linked(lab, local_schema=lab.source_schema)().source.pull().pulled == 3


@pytest.mark.parametrize("mark", ["'", '"', "`", "%"])
def test_names_are_never_sql(lab: Lab, mark: str) -> None:
    session = declare_session(lab)
    name = f"x{mark}; DROP TABLE session; --"
    if lab.kind != "postgresql":
        helper = f"{lab.helper_schema}.{quoted(lab.source_server, name)}"
        lab.source_server.sql(f"GRANT ALL PRIVILEGES ON {helper} TO {lab.link_user}@'%'")
    table = linked(lab, helper_table=name)
    assert table().source.pull().pulled == 3
    (table() & "session = 1").delete(prompt=False)
    assert table().source.status()["Shared"] == 2
    assert (lab.source_server.port, lab.helper_schema, name) in contents(lab)
    assert len(session()) == 3


# --- source tables that cannot be linked


def test_a_table_without_primary_key(lab: Lab) -> None:
    admin(lab, 'CREATE TABLE "{source}"."session" (session int)')
    lab.grant("session")
    refused(lab, DefinitionError, "has no primary key")


@pytest.mark.parametrize("name", ["process", "is_flagged", "is_deprecated", "_worker"])
def test_key_attributes_that_the_helper_table_has_itself(lab: Lab, name: str) -> None:
    admin(lab, f'CREATE TABLE "{{source}}"."session" ("session" int, "{name}" int, PRIMARY KEY ("session", "{name}"))')
    lab.grant("session")
    refused(lab, DefinitionError, f"primary key .* has the attribute {name}, which is a column of the helper table")


def test_other_attributes_may_have_any_name(lab: Lab) -> None:
    names = ["process", "is_flagged", "is_deprecated", "order", "select", "key", "j", "h", "w", "k0"]
    columns = ", ".join(f'"{name}" int' for name in names)
    admin(lab, f'CREATE TABLE "{{source}}"."session" (session int PRIMARY KEY, {columns})')
    for number in (1, 2, 3):
        values = ", ".join([str(number)] * (len(names) + 1))
        admin(lab, f'INSERT INTO "{{source}}"."session" VALUES ({values})')
    lab.grant("session")
    table = linked(lab)
    assert (table().source & dict.fromkeys(names, 2)).pull().pulled == 1
    every = " AND ".join(f"{quoted(lab.source_server, name)} = 2" for name in names)
    assert len(table() & every) == 1
    (table() & every).delete(prompt=False)
    assert table().source.pull().pulled == 3
    assert list(table().to_arrays("process", order_by="session")) == [1, 2, 3]


@pytest.mark.parametrize("name", ["J", "H", "K0", "Selection", "Order"])
def test_tables_may_have_any_name(lab: Lab, name: str) -> None:
    """Also those that statements might use for something else; here the helper table lies in the source schema."""
    source, helper = f'"{{source}}"."{name.lower()}"', {"J": "H", "K0": "J"}.get(name, "K0")
    admin(lab, f'CREATE TABLE {source} ("k0" int, "j" varchar(20), "h" int, "n" int, PRIMARY KEY ("k0", "j"))')
    for number in range(6):
        admin(lab, f"INSERT INTO {source} VALUES ({number}, 'it''s {number}0%', {number}, {number})")
    lab.grant(name.lower())
    if lab.kind == "postgresql":
        admin(lab, 'GRANT CREATE ON SCHEMA "{source}" TO {user}')
    else:
        admin(lab, f'GRANT ALL PRIVILEGES ON "{{source}}"."{helper.lower()}" TO {{user}}')
    table = linked(lab, name, helper_schema=lab.source_schema, helper_table=helper)
    assert (table.source & "k0 % 2 = 0" & "j LIKE '%0%'" & (table.source & "h < 4 AND n < 4").proj()).pull().pulled == 2
    assert (table.source & {"k0": 1, "h": 1}).pull().pulled == 1
    assert table.source.pull("k0 > 0", dj.Top(1, "k0 DESC")).pulled == 1
    lab.local_server.sql(f"DELETE FROM {table.full_table_name} WHERE k0 = 5")
    flag = quoted(lab.source_server, lab.source_schema), quoted(lab.source_server, helper.lower())
    lab.source_server.sql(f"UPDATE {'.'.join(flag)} SET is_flagged = 'TRUE' WHERE k0 = 1")
    assert dict((table.source & "k0 > 0" & "n > 0").status(deep=True)) | {"Unshared": 2} == {
        **dict.fromkeys(dict(table.source.status()), 0),
        "Unshared": 2,
        "Shared": 1,
        "Tainted": 1,
        "Vanished": 1,
    }
    assert table.source.repair(dry_run=False, vanished="release").actions
    assert (table & table.source.flagged).delete(prompt=False) == 1
    assert (table & (table & "k0 = 0").proj()).delete(prompt=False) == 1
    assert table.source.pull().pulled == 4
    assert table.source.verify().compared == 5


UNSUPPORTED = {
    "mysql": ["geometry", "point", "bit(3)"],
    "mariadb": ["geometry", "bit(3)", "inet6"],
    "postgresql": ["xml", "inet", "integer[]", "text[]", "int4range", "point", "bit(3)", "tsvector"],
}


@pytest.mark.parametrize("where", ["session", "session__trial"])
def test_columns_of_unsupported_types(lab: Lab, where: str) -> None:
    declare_session(lab)
    types = UNSUPPORTED[lab.kind]
    columns = ", ".join(f'ADD COLUMN "odd_{n}" {kind} NULL' for n, kind in enumerate(types))
    admin(lab, f'ALTER TABLE "{{source}}"."{where}" {columns}')
    error = refused(lab, DefinitionError, "types that cannot be linked")
    for n, kind in enumerate(types):
        assert f"{where}.odd_{n}: {kind}" in error.what


# --- a helper table that does not fit


def test_a_helper_table_of_another_source_table(lab: Lab) -> None:
    declare_session(lab)
    admin(lab, 'CREATE TABLE "{source}"."other" (session int PRIMARY KEY)')
    lab.grant("other")
    linked(lab, "Other")().source.pull()
    error = refused(lab, HelperMismatchError, "does not fit the source table")
    assert f"refers to {lab.source_schema}.other, expected {lab.source_schema}.session" in error.what
    assert "Name another helper table" in str(error.hint)


def test_a_helper_table_that_serves_another_local_table(lab: Lab) -> None:
    declare_session(lab)
    linked(lab)().source.pull()
    error = refused(lab, HelperMismatchError, "serves another local table", local_schema=f"{lab.prefix}_other")
    assert "Name another helper table" in str(error.hint)


def test_a_helper_table_of_another_structure(lab: Lab) -> None:
    declare_session(lab)
    lab.source_server.sql(f"CREATE TABLE {lab.helper_schema}.outbound (trial int PRIMARY KEY, process int, extra int)")
    if lab.kind == "postgresql":
        lab.source_server.sql(f"GRANT ALL ON {lab.helper_schema}.outbound TO {lab.link_user}")
    error = refused(lab, HelperMismatchError, "does not fit the source table")
    for difference in (
        "column session: missing",
        "column is_flagged: missing",
        "column is_deprecated: missing",
        "column trial: not expected",
        "column extra: not expected",
        "primary key: (trial), expected (session)",
        "foreign key: refers to no table, expected",
        "column process: int",
        "expected enum('PULL', 'DELETE', 'NONE')",
    ):
        assert difference in error.what


def test_a_helper_table_with_another_type_of_key(lab: Lab) -> None:
    declare_session(lab)
    lab.source_server.sql(f"CREATE TABLE {lab.helper_schema}.outbound (session bigint PRIMARY KEY)")
    if lab.kind == "postgresql":
        lab.source_server.sql(f"GRANT ALL ON {lab.helper_schema}.outbound TO {lab.link_user}")
    refused(lab, HelperMismatchError, "column session: bigint, in the table session int")


# --- local tables that do not fit


def local_session(lab: Lab, definition: str) -> Any:
    """A local table Session made by hand."""
    return lab.local.Schema(lab.local_schema)(type("Session", (dj.Manual,), {"definition": definition}))


def test_a_local_table_with_another_heading(lab: Lab) -> None:
    declare_session(lab)
    local_session(lab, "session: int64\nday: int32\n---\nnote=null: varchar(30)\nweather: varchar(8)")
    error = refused(lab, LocalMismatchError, "has another heading than the source table")
    for difference in (
        "session: bigint not null, at the source int",
        "note: (varchar|character varying)\\(30\\), at the source (varchar|character varying)\\(20\\) not null",
        "day: not at the source",
        "weather: not at the source",
        "primary key: \\(session, day\\), at the source \\(session\\)",
    ):
        assert re.search(difference, error.what), difference


def test_a_local_table_that_lacks_a_column(lab: Lab) -> None:
    declare_session(lab)
    local_session(lab, "session: int32")
    refused(lab, LocalMismatchError, "note: missing")


def test_a_local_table_that_reads_a_blob_in_another_way(lab: Lab) -> None:
    class Session(dj.Manual):
        definition = "session: int32\n---\ntrace: <blob>"

    lab.source.Schema(lab.source_schema)(Session)
    lab.grant("session")
    local_session(lab, "session: int32\n---\ntrace: <attach>")
    error = refused(lab, LocalMismatchError, "trace: ")
    assert "<attach>" in error.what and "<blob>" in error.what


def test_a_local_table_with_the_same_heading_is_used(lab: Lab) -> None:
    declare_session(lab)
    local_session(lab, "session: int32\n---\nnote='': varchar(20)")
    table = linked(lab)
    assert table().source.pull().pulled == 3
    assert len(table.Trial()) == 6


def test_a_local_table_that_lacks_a_part_of_rows_that_are_there(lab: Lab) -> None:
    declare_session(lab)
    linked(lab)().source.pull()
    admin(
        lab,
        'CREATE TABLE "{source}"."session__electrode" ("session" int, "electrode" int, '
        'PRIMARY KEY ("session", "electrode"), '
        'FOREIGN KEY ("session") REFERENCES "{source}"."session" ("session"))',
    )
    lab.grant("session")
    before = contents(lab)
    table = linked(lab)
    with pytest.raises(LocalMismatchError, match="has a part table session__electrode that the local table"):
        table().source.pull()
    assert contents(lab) == before


def test_a_local_part_table_that_the_source_has_no_more(lab: Lab) -> None:
    declare_session(lab)
    linked(lab)().source.pull()
    admin(lab, 'DROP TABLE "{source}"."session__trial"')
    refused(lab, LocalMismatchError, "has the part table session__trial, which the link user does not see")


# --- stores, transactions, restrictions, and the source's read-only face


def test_a_store_that_is_not_configured(lab: Lab) -> None:
    declare_session(lab)
    error = refused(lab, StoreError, "The store 'ours' of stores= is not configured", stores={"theirs": "ours"})
    assert "dj.config.stores['ours']" in str(error.hint)
    lab.local.config.stores["ours"] = {"protocol": "file", "location": "/tmp"}
    assert linked(lab, stores={"theirs": "ours"})().source.pull().pulled == 3


def test_nothing_is_done_inside_an_open_transaction(lab: Lab) -> None:
    declare_session(lab)
    table = linked(lab)
    (table().source & "session = 1").pull()
    before = contents(lab)
    operations: list[Callable[[], Any]] = [
        lambda: table().source.pull(),
        lambda: table().delete(prompt=False),
        lambda: table().delete_quick(),
    ]
    for operation in operations:
        with pytest.raises(TransactionError, match="inside an open transaction"), lab.local.connection.transaction:
            operation()
        assert contents(lab) == before
    assert table().source.pull().pulled == 2


def test_a_restriction_that_the_server_does_not_understand(lab: Lab) -> None:
    declare_session(lab)
    table = linked(lab)
    (table().source & "session = 1").pull()
    before = contents(lab)
    for restriction in ("no_such_column = 1", "session = ", "is_flagged = 'FALSE'"):
        with pytest.raises(dj.DataJointError):
            (table().source & restriction).pull()
        assert contents(lab) == before
    for restriction in ("session = ", "no_such_function(session) = 1"):
        source = table().source & restriction
        for operation in (source.pull, source.status, source.verify, source.refresh):
            with pytest.raises(LinkError, match=r"→ If a condition was given, look at it"):
                operation()
        assert contents(lab) == before


@MYSQLS
def test_a_restriction_is_never_a_statement_of_its_own(lab: Lab) -> None:
    declare_session(lab)
    table = linked(lab)
    table().source.pull("session = 1")
    names = f"{lab.helper_schema}.{lab.helper_table}", f"{lab.local_schema}.session"
    # DataJoint looks for names of attributes, in small letters and not within quotes.
    hidden = [f"; SET @A = 'DELETE FROM {name}'; PREPARE S FROM @A; EXECUTE S; SELECT " for name in names]
    before = contents(lab)
    for depth in range(1, 9):
        there, here = (f"1 = 1{')' * depth}{sql}{'(' * depth}1" for sql in hidden)
        source = table().source & there
        ours = (source.pull, source.status, source.verify, source.refresh, source.repair, source.to_dicts)
        delete = functools.partial((table() & here).delete, prompt=False)
        for attempt in (*ours, delete):
            with pytest.raises(dj.DataJointError):
                attempt()
        assert contents(lab) == before


def test_the_source_is_read_only_from_here(lab: Lab) -> None:
    declare_session(lab)
    source = linked(lab)().source
    for name in ("insert", "insert1", "update1", "delete", "delete_quick", "drop", "drop_quick", "alter"):
        with pytest.raises(LinkError, match="read-only from here"):
            getattr(source, name)()
    assert len(source) == 3


# --- creation that fails half-way


def test_a_local_account_that_may_not_create(lab: Lab) -> None:
    declare_session(lab)
    elsewhere = "elsewhere_" + lab.prefix
    if lab.kind == "postgresql":
        lab.local_server.sql(f"REVOKE CREATE ON DATABASE postgres FROM {lab.local_user}")
    error = refused(lab, PrivilegeError, "Cannot create the local tables in", local_schema=elsewhere)
    assert "GRANT" in str(error.hint)
    schemas = "SELECT schema_name FROM information_schema.schemata WHERE schema_name = %s"
    assert lab.local_server.sql(schemas, elsewhere) == []


def test_a_helper_table_that_cannot_be_created_leaves_nothing_behind(lab: Lab) -> None:
    declare_session(lab)
    if lab.kind == "postgresql":
        lab.source_server.sql(f"REVOKE CREATE ON SCHEMA {lab.helper_schema} FROM {lab.link_user}")
    refused(lab, PrivilegeError, "Cannot create the helper table", helper_table="not_granted")


def test_local_tables_that_exist_survive_a_failed_link(lab: Lab) -> None:
    admin(lab, 'CREATE TABLE "{source}"."session" (session int PRIMARY KEY)')
    lab.grant("session")
    table = local_session(lab, "session: int32")
    table.insert1({"session": 99})
    refused(lab, PrivilegeError, "Cannot create the helper table", helper_schema=f"{lab.prefix}_nowhere")
    assert len(table()) == 1


def test_a_failed_link_works_once_the_reason_is_gone(lab: Lab) -> None:
    declare_session(lab, grant=False)
    table = linked(lab)
    with pytest.raises(LinkError):
        table()
    lab.grant("session")
    assert table().source.pull().pulled == 3


@pytest.mark.parametrize("pair", [("postgresql", "mysql"), ("postgresql", "mariadb")], indirect=True, ids="-".join)
def test_a_local_table_that_its_server_does_not_take(mixed: Lab) -> None:
    """More columns than the local server has room for."""
    lab = mixed
    columns = ", ".join(f"c{n} smallint" for n in range(1100))
    lab.source_server.sql(f'CREATE TABLE "{lab.source_schema}".unit (k integer PRIMARY KEY, {columns})')
    lab.grant("unit")
    with pytest.raises(DefinitionError, match=rf"{lab.local_schema}\.unit cannot be made: .*Too many columns"):
        linked(lab, "Unit", backend=lab.source_server.backend).source.pull()
    assert lab.local_schema not in {name for (name,) in lab.local_server.sql("SHOW DATABASES")}
