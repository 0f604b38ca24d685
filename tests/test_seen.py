"""What is at the source is seen, or said to be unseen: tables of every type, and what only resembles one."""

from __future__ import annotations

import logging
import re
from typing import Any

import datajoint as dj
import pytest
from lab import Lab
from linking import admin, contents, declare_session, linked

from link import DefinitionError, LinkError, LocalMismatchError, PrivilegeError
from link.admin.grants import look_up
from link.model.kinds import Kind
from link.model.schema import Column, Table
from link.servers.sites import site_of

MYSQLS = pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
MARIADB = pytest.mark.parametrize("kind", ["mariadb"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)


def refused(lab: Lab, match: str, body: dict[str, Any] | None = None, name: str = "Session") -> LinkError:
    """Link, expect that the tables cannot be linked, and check that nothing has changed on either server."""
    before = contents(lab)
    with pytest.raises(DefinitionError, match=match) as raised:
        linked(lab, name, body).source.pull()
    assert contents(lab) == before
    assert f"{lab.source_server.host}:{lab.source_server.port}" in str(raised.value)
    return raised.value


def cured(lab: Lab, error: LinkError) -> None:
    """Run the statement that the error ends with: then the same works."""
    assert error.hint
    lab.source_server.sql(error.hint.partition(": ")[2].removesuffix(";"))
    whole(lab)


def whole(lab: Lab, parts: int = 6) -> Any:
    """Pull and verify all; the linked class."""
    table = linked(lab)
    assert table.source.pull().pulled == 3
    assert len(table.Trial()) == parts
    assert table.source.verify()
    return table


def plain_tables(lab: Lab, master: str = "", part: str = "", foreign_key: bool = True, rows: bool = True) -> None:
    """Session and its part table Trial by plain SQL, with these options; three sessions of two trials."""
    refers = ', FOREIGN KEY (session) REFERENCES "{source}"."session" (session)' * foreign_key
    admin(
        lab,
        f'CREATE TABLE "{{source}}"."session" (session int PRIMARY KEY, note varchar(20)) {master}',
        'CREATE TABLE "{source}"."session__trial" '
        f"(session int NOT NULL, trial int NOT NULL, PRIMARY KEY (session, trial){refers}) {part}",
    )
    if rows:
        fill(lab)
    lab.grant("session")


def fill(lab: Lab) -> None:
    """Three sessions of two trials."""
    admin(
        lab,
        "INSERT INTO \"{source}\".\"session\" VALUES (0, 'a'), (1, 'b'), (2, 'c')",
        'INSERT INTO "{source}"."session__trial" VALUES (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)',
    )


# --- types of tables


@MARIADB
@pytest.mark.parametrize("named", [False, True], ids=["hidden", "named"])
def test_versioned_tables_are_seen(lab: Lab, named: bool) -> None:
    """Their rows of now are pulled, with the period's columns where the table shows them; held, and deleted here."""
    period = "began timestamp(6) GENERATED ALWAYS AS ROW START, ended timestamp(6) GENERATED ALWAYS AS ROW END, "
    columns = (period + "PERIOD FOR SYSTEM_TIME (began, ended), ") * named
    admin(
        lab,
        f'CREATE TABLE "{{source}}"."session" ({columns}session int PRIMARY KEY, note varchar(20)) '
        "WITH SYSTEM VERSIONING",
        f'CREATE TABLE "{{source}}"."session__trial" ({columns}session int, trial int, PRIMARY KEY (session, trial), '
        'FOREIGN KEY (session) REFERENCES "{source}"."session" (session)) WITH SYSTEM VERSIONING',
        "INSERT INTO \"{source}\".\"session\" (session, note) VALUES (0, 'a'), (1, 'b'), (2, 'c'), (3, 'gone')",
        'DELETE FROM "{source}"."session" WHERE session = 3',
        'UPDATE "{source}"."session" SET note = \'now\' WHERE session = 1',
        'INSERT INTO "{source}"."session__trial" (session, trial) '
        "VALUES (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)",
        'DELETE FROM "{source}"."session__trial" WHERE trial = 2',
    )
    lab.grant("session")
    assert look_up(lab.source.connection, "mysql", lab.source_schema, ["Session"]) == ["session", "session__trial"]
    table = whole(lab)
    assert table.primary_key == ["session"]
    assert table.Trial.primary_key == ["session", "trial"]
    assert ("ended" in table.heading.names) == named
    assert list(table().to_arrays("note", order_by="session")) == ["a", "now", "c"]
    table().delete(prompt=False)
    admin(lab, 'DELETE FROM "{source}"."session__trial"', 'DELETE FROM "{source}"."session"')


def test_columns_that_are_generated_or_not_shown(lab: Lab) -> None:
    """They arrive as what they are at that instant."""
    kinds = {
        "mysql": ["twice int GENERATED ALWAYS AS (2 * session) VIRTUAL", "unseen int DEFAULT 7 INVISIBLE"],
        "mariadb": ["twice int GENERATED ALWAYS AS (2 * session) VIRTUAL", "unseen int INVISIBLE DEFAULT 7"],
        "postgresql": ["twice int GENERATED ALWAYS AS (2 * session) STORED", "unseen int GENERATED ALWAYS AS IDENTITY"],
    }
    declare_session(lab)
    for column in kinds[lab.kind]:
        admin(lab, f'ALTER TABLE "{{source}}"."session" ADD COLUMN {column}')
    table = whole(lab)
    assert list(table().to_arrays("twice", order_by="session")) == [0, 2, 4]
    assert list(table().to_arrays("unseen", order_by="session")) == (
        [1, 2, 3] if lab.kind == "postgresql" else [7, 7, 7]
    )


@POSTGRESQL
def test_a_domain_is_named(lab: Lab) -> None:
    declare_session(lab)
    admin(
        lab,
        'CREATE DOMAIN "{source}".age AS int CHECK (VALUE > 0)',
        'ALTER TABLE "{source}"."session" ADD COLUMN years "{source}".age',
    )
    refused(lab, r"columns of types that cannot be linked:\s*session.years: .*age")


@pytest.mark.parametrize("kind", ["mysql"], indirect=True)
def test_a_key_that_mysql_has_made(lab: Lab) -> None:
    """A table without a key gets an invisible one where the server is told so; it is a key as any other."""
    with lab.source_server.cursor() as cursor:
        cursor.execute("SET SESSION sql_generate_invisible_primary_key = ON")
        cursor.execute(f"CREATE TABLE {lab.source_schema}.session (note varchar(9))")
        cursor.execute("SET SESSION sql_generate_invisible_primary_key = OFF")
    admin(lab, "INSERT INTO \"{source}\".\"session\" (note) VALUES ('a'), ('b')")
    lab.grant("session")
    table = linked(lab)
    assert table.source.pull().pulled == 2
    assert table.source.verify()


@POSTGRESQL
@pytest.mark.parametrize("where", ["session", "session__trial"])
def test_partitions_are_no_parts(lab: Lab, where: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a partitioned table the rows are read once, and held, whatever the names of its partitions."""
    by = "PARTITION BY RANGE (session)"
    plain_tables(lab, by * (where == "session"), by * (where == "session__trial"), rows=False)
    for name, bounds in (("low", "(0) TO (2)"), ("high", "(2) TO (9)")):
        of = f'"{{source}}"."session__{name}" PARTITION OF "{{source}}"."{where}"'
        admin(lab, f"CREATE TABLE {of} FOR VALUES FROM {bounds}")
    fill(lab)
    with caplog.at_level(logging.WARNING, "link"):
        table = whole(lab)
    assert not caplog.records
    assert not hasattr(table, "Low")
    found = look_up(lab.source.connection, "postgresql", lab.source_schema, ["Session"])
    assert found == ["session", "session__trial"]
    with pytest.raises(Exception, match="foreign key"):
        admin(lab, 'DELETE FROM "{source}"."session__trial"', 'DELETE FROM "{source}"."session" WHERE session = 1')
    table().delete(prompt=False)


# --- what cannot be held, or not be read whole


@MYSQLS
@pytest.mark.parametrize(
    ("where", "match"), [("master", "is of the engine MyISAM"), ("part", "is of the engine M"), ("held", "partitioned")]
)
def test_tables_that_cannot_be_held_or_read_at_one_instant(lab: Lab, where: str, match: str) -> None:
    if where == "master":
        plain_tables(lab, master="ENGINE=MyISAM", foreign_key=False)
    elif where == "part":
        plain_tables(lab, part=f"ENGINE={'MEMORY' if lab.kind == 'mysql' else 'MyISAM'}", foreign_key=False)
    else:
        plain_tables(lab, master="PARTITION BY HASH (session) PARTITIONS 2", foreign_key=False)
    cured(lab, refused(lab, match))


@MYSQLS
def test_a_partitioned_part(lab: Lab) -> None:
    plain_tables(lab, part="PARTITION BY HASH (session) PARTITIONS 2", foreign_key=False)
    whole(lab)


@POSTGRESQL
@pytest.mark.parametrize("where", ["session", "session__trial"])
def test_tables_with_heirs(lab: Lab, where: str) -> None:
    """What inherits is read with its parent, but foreign keys do not see it."""
    declare_session(lab)
    admin(lab, f'CREATE TABLE "{{source}}"."session__old" () INHERITS ("{{source}}"."{where}")')
    error = refused(lab, f"{where} .* shows the rows of tables that inherit from it .*session__old")
    admin(lab, 'INSERT INTO "{source}"."session__old" VALUES (7)' if where == "session" else "SELECT 1")
    cured(lab, error)


@POSTGRESQL
def test_an_unlogged_table(lab: Lab) -> None:
    admin(lab, 'CREATE UNLOGGED TABLE "{source}"."session" (session int PRIMARY KEY)')
    admin(lab, 'INSERT INTO "{source}"."session" VALUES (1)')
    lab.grant("session")
    error = refused(lab, "is unlogged")
    assert error.hint
    lab.source_server.sql(error.hint.partition(": ")[2])
    assert linked(lab).source.pull().pulled == 1


# --- what resembles a part table, or a master


@pytest.mark.parametrize("what", ["view", "materialized view", "copy", "foreign table"])
def test_what_is_named_like_a_part_and_is_none(lab: Lab, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is named in one warning, or in an error where the class calls it a part; nothing else is missed."""
    declare_session(lab)
    select = 'AS SELECT * FROM "{source}"."session__trial"'
    makes = {"view": f'CREATE VIEW "{{source}}"."session__odd_one" {select}'}
    makes["copy"] = f'CREATE TABLE "{{source}}"."session__odd_one" {select}'
    if lab.kind == "postgresql":
        makes["materialized view"] = f'CREATE MATERIALIZED VIEW "{{source}}"."session__odd_one" {select}'
        makes["foreign table"] = 'CREATE FOREIGN TABLE "{source}"."session__odd_one" (session int) SERVER "{source}"'
        lab.source_server.sql(f'CREATE FOREIGN DATA WRAPPER "{lab.source_schema}"')
        lab.source_server.sql(f'CREATE SERVER "{lab.source_schema}" FOREIGN DATA WRAPPER "{lab.source_schema}"')
    try:
        if what not in makes:
            pytest.skip(f"{lab.kind} has no {what}s")
        admin(lab, makes[what])
        if what != "foreign table":
            admin(lab, 'GRANT SELECT ON "{source}"."session__odd_one" TO {user}')
        words = "has neither a primary key nor a foreign key" if what == "copy" else f"is a {what}"
        with caplog.at_level(logging.WARNING, "link"):
            links = [whole(lab), linked(lab)]  # what has been said is remembered as long as there is a link
            links[1].source.status()
        (record,) = caplog.records
        place = f"{lab.source_schema}.session__odd_one on the source server {lab.source_server.host}"
        assert place in record.getMessage()
        assert f"is named like a part of session, but {words}: it is not pulled" in record.getMessage()
        refused_by(lab, f"session__odd_one .* {words}: it cannot be pulled", {"OddOne": type("OddOne", (dj.Part,), {})})
    finally:
        if lab.kind == "postgresql":
            lab.source_server.sql(f'DROP FOREIGN DATA WRAPPER "{lab.source_schema}" CASCADE')


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ("session int, PRIMARY KEY (session)", None),
        ("other int, PRIMARY KEY (other)", "no foreign key that leads to its master session, and lacks its key"),
        (
            'session int, FOREIGN KEY (session) REFERENCES "{source}"."session" (session)',
            "odd_one has no primary key to tell its rows apart",
        ),
    ],
    ids=["key alone", "other key", "no key"],
)
def test_what_may_be_a_part(lab: Lab, columns: str, match: str | None) -> None:
    """What has the master's key, or a foreign key to it, belongs to it, as for DataJoint, or is refused."""
    declare_session(lab)
    admin(lab, f'CREATE TABLE "{{source}}"."session__odd_one" ({columns})')
    lab.grant("session")
    if match is None:
        assert len(whole(lab).OddOne()) == 0
    else:
        assert "Rename it at the source" in str(refused_by(lab, match))


def refused_by(lab: Lab, match: str, body: dict[str, Any] | None = None) -> LinkError:
    """Link, and expect that the tables cannot be linked."""
    with pytest.raises(DefinitionError, match=match) as raised:
        linked(lab, body=body).source.pull()
    return raised.value


def test_a_master_that_is_no_table(lab: Lab) -> None:
    declare_session(lab)
    admin(lab, 'CREATE VIEW "{source}"."good_session" AS SELECT * FROM "{source}"."session"')
    lab.grant("good_session", parts=False)
    refused(lab, "good_session .* is a view: it has no rows of its own", name="GoodSession")
    if lab.kind == "postgresql":
        admin(
            lab,
            'CREATE TABLE "{source}"."whole" (k int PRIMARY KEY) PARTITION BY HASH (k)',
            'CREATE TABLE "{source}"."piece" PARTITION OF "{source}"."whole" FOR VALUES WITH (MODULUS 1, REMAINDER 0)',
        )
        refused(lab, "piece .* is a partition of another table", name="Piece")


# --- row-level security


@POSTGRESQL
def test_a_master_under_row_level_security_shares_some_rows(lab: Lab) -> None:
    declare_session(lab)
    admin(
        lab,
        'ALTER TABLE "{source}"."session" ENABLE ROW LEVEL SECURITY',
        'CREATE POLICY shared ON "{source}"."session" FOR SELECT TO {user} USING (session > 0)',
    )
    table = linked(lab)
    assert table.source.pull().pulled == 2
    assert len(table.Trial()) == 4
    assert table.source.verify()
    assert {state: n for state, n in table.source.status().items() if n} == {"Shared": 2}
    admin(lab, 'CREATE POLICY more ON "{source}"."session" FOR SELECT TO {user} USING (note = \'note 0\')')
    assert table.source.pull().pulled == 1
    admin(lab, 'DROP POLICY more ON "{source}"."session"')
    assert table.source.verify().differing == [{"session": 0}]
    assert table().delete(prompt=False) == 3


@POSTGRESQL
@pytest.mark.parametrize("policy", [None, "FOR SELECT TO {user} USING (trial > 0)", "FOR ALL TO public USING (true)"])
def test_a_part_under_row_level_security(lab: Lab, policy: str | None) -> None:
    """It is refused unless a policy shows the link user all rows."""
    declare_session(lab)
    admin(lab, 'ALTER TABLE "{source}"."session__trial" ENABLE ROW LEVEL SECURITY')
    if policy:
        admin(lab, f'CREATE POLICY first ON "{{source}}"."session__trial" {policy}')
    if policy and "true" in policy:
        whole(lab)
        admin(lab, 'CREATE POLICY less ON "{source}"."session__trial" AS RESTRICTIVE USING (trial > 0)')
        refused(lab, "session__trial .* is under row-level security")
    else:
        cured(lab, refused(lab, "session__trial .* is under row-level security"))


@MYSQLS
def test_keys_that_the_catalogue_does_not_tell(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """Where a part is seen by a right on the schema alone it is not taken for a copy, and a copy not for a part."""
    declare_session(lab)
    lab.source_server.sql(f"GRANT SHOW VIEW ON `{lab.source_schema}`.* TO {lab.link_user}@'%'")
    lab.source_server.sql(f"GRANT SELECT ON `{lab.source_schema}`.`~lineage` TO {lab.link_user}@'%'")
    admin(lab, 'CREATE TABLE "{source}"."session__copy" AS SELECT * FROM "{source}"."session__trial"')
    with caplog.at_level(logging.WARNING, "link"):
        whole(lab)
    (record,) = caplog.records
    assert f"{lab.source_schema}.session__copy" in record.getMessage()
    lab.revoke("SELECT, REFERENCES", "session__trial")
    with pytest.raises(PrivilegeError, match=r"lacks SELECT and REFERENCES on .*session__trial"):
        linked(lab).source.pull()


# --- defaults and collations


#: Columns by kind of server: what is left out, and what is kept.
LEFT_OUT = {
    "mysql": {},
    "mariadb": {
        "shared": 'int NOT NULL DEFAULT (nextval("{source}"."numbers"))',
        "maybe": 'int DEFAULT nextval("{source}"."numbers")',
    },
    "postgresql": {
        "shared": """int NOT NULL DEFAULT nextval('"{source}".numbers')""",
        "maybe": """int DEFAULT nextval('"{source}".numbers')""",
        "made": 'int NOT NULL DEFAULT "{source}".made(7)',
        "odd": """text NOT NULL DEFAULT ('x'::text || "{source}".made(1))""",
    },
}
KEPT = {
    "mysql": {"id": "char(36) NOT NULL DEFAULT (uuid())", "label": "varchar(20) DEFAULT (concat('100% ', session))"},
    "mariadb": {
        "id": "char(36) NOT NULL DEFAULT (uuid())",
        "label": "varchar(20) DEFAULT (concat('100% nextval(', session))",
    },
    "postgresql": {
        "id": "uuid NOT NULL DEFAULT gen_random_uuid()",
        "label": "text DEFAULT ('100%' || 'nextval(')",
        "own": "serial",
        "other": "bigint GENERATED BY DEFAULT AS IDENTITY",
    },
}


def test_defaults_that_only_the_source_can_evaluate(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """They are left out, and said; all others are kept."""
    if lab.kind != "mysql":
        admin(lab, 'CREATE SEQUENCE "{source}"."numbers"')
    if lab.kind == "postgresql":
        admin(lab, """CREATE FUNCTION "{source}".made(n int) RETURNS int LANGUAGE sql AS 'SELECT n'""")
    left_out, kept = LEFT_OUT[lab.kind], KEPT[lab.kind]
    columns = ", ".join(f"{name} {words}" for name, words in (left_out | kept).items())
    admin(lab, f'CREATE TABLE "{{source}}"."session" (session int PRIMARY KEY, {columns})')
    admin(lab, 'INSERT INTO "{source}"."session" (session) VALUES (0), (1), (2)')
    lab.grant("session")
    with caplog.at_level(logging.WARNING, "link"):
        assert linked(lab).source.pull().pulled == 3
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(" has no default here: ")[0].rpartition(".")[2] for line in said] == list(left_out)
    assert all("can be evaluated at the source only" in line for line in said)
    rows = lab.local_server.sql(
        "SELECT column_name, column_default FROM information_schema.columns WHERE table_schema = %s", lab.local_schema
    )
    defaults = dict(rows) | ({"other": "a number"} if lab.kind == "postgresql" else {})
    assert {name for name in left_out | kept if defaults[name] in (None, "NULL")} == set(left_out)
    assert lab.local_server.sql(f"SELECT count(*) FROM {lab.local_schema}.session") == [(3,)]


def test_a_collation_that_the_local_server_lacks(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    if lab.kind == "postgresql":
        lab.source_server.sql(f"CREATE COLLATION {lab.source_schema}.\"Own\" (locale = 'C')")
        admin(lab, 'CREATE TABLE "{source}"."session" (session varchar(20) COLLATE "{source}"."Own" PRIMARY KEY)')
        admin(lab, "INSERT INTO {source}.session VALUES ('a'), ('B')")
        lab.grant("session")
        with caplog.at_level(logging.WARNING, "link"):
            assert linked(lab).source.pull().pulled == 2
        (record,) = caplog.records
        assert f'does not know {lab.source_schema}."Own"' in record.getMessage()
        assert linked(lab).source.verify()
        return
    # Two servers of one version have the same: a table as a newer one would show it.
    column = Column("note", "varchar(20)", charset="utf8mb5", collation="utf8mb5_new_ci", kind=Kind("text", 20))
    with site_of(lab.local.connection).catalogue() as catalogue:
        created = catalogue.creatable(Table(lab.local_schema, "session", "", (column,), ("note",)))
    assert (created["note"].charset, created["note"].collation in ("utf8mb4_0900_bin", "utf8mb4_nopad_bin")) == (
        "utf8mb4",
        True,
    )


def test_defaults_between_kinds_of_server(mixed: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """What another kind cannot have is said; a literal is never taken from an expression that begins with one."""
    lab = mixed
    if lab.kind == "postgresql":
        columns = (
            "plain int DEFAULT (5)::smallint, joined text DEFAULT ('a'::text || 'b'::text), "
            "cast_ text DEFAULT ('x'::varchar(3))::text"
        )
    else:
        columns = "plain int DEFAULT 5, joined varchar(20) DEFAULT (concat('a', 'b')), cast_ varchar(9) DEFAULT 'x'"
    admin(lab, f'CREATE TABLE "{{source}}"."session" (session int PRIMARY KEY, {columns})')
    lab.grant("session")
    with caplog.at_level(logging.WARNING, "link"):
        linked(lab, backend=lab.source_server.backend).source.pull()
    lab.local_server.sql(f"INSERT INTO {lab.local_schema}.session (session) VALUES (1)")
    found = lab.local_server.sql(f"SELECT plain, joined, cast_ FROM {lab.local_schema}.session")
    family = lab.source_server.backend == lab.local_server.backend
    assert found == [(5, "ab" if family else None, "x")]
    assert [("joined has no default here" in record.getMessage()) for record in caplog.records] == [True] * (not family)


# --- the same at the local side


def local(lab: Lab, *statements: str) -> None:
    """Run statements as the local administrator."""
    for statement in statements:
        text = statement.format(local=lab.local_schema)
        lab.local_server.sql(text if lab.local_kind == "postgresql" else text.replace('"', "`"))


def unfit(lab: Lab, match: str) -> LinkError:
    """Link, and expect that a local table does not fit."""
    with pytest.raises(LocalMismatchError, match=match) as raised:
        linked(lab).source.pull()
    return raised.value


def test_local_tables_that_cannot_take_rows(lab: Lab) -> None:
    """A view, a column that the server computes, an engine without transactions; a copy is left alone."""
    declare_session(lab)
    admin(lab, 'ALTER TABLE "{source}"."session" ADD COLUMN twice int GENERATED ALWAYS AS (2 * session) STORED')
    table = whole(lab)
    local(lab, 'CREATE TABLE "{local}"."session__backup" AS SELECT * FROM "{local}"."session__trial"')
    assert linked(lab).source.verify()
    table().delete(prompt=False)
    trial = 'ALTER TABLE "{local}"."session__trial"'
    if lab.kind == "postgresql":
        local(lab, 'CREATE TABLE "{local}"."heir" () INHERITS ("{local}"."session__trial")')
    else:
        local(lab, f'{trial} DROP FOREIGN KEY "session__trial_ibfk_1"', f"{trial} ENGINE=MyISAM")
    error = unfit(lab, "session__trial on .* (is of the engine MyISAM|shows the rows of tables that inherit from it)")
    assert error.hint
    local(lab, error.hint.removeprefix("Run ").removesuffix(";"))
    if lab.kind != "postgresql":
        local(lab, f'{trial} ADD FOREIGN KEY (session) REFERENCES "{{local}}"."session" (session)')
    assert linked(lab).source.pull().pulled == 3
    linked(lab)().delete(prompt=False)
    computed = "twice int GENERATED ALWAYS AS (2 * session) STORED"
    local(lab, 'ALTER TABLE "{local}"."session" DROP COLUMN twice', f'ALTER TABLE "{{local}}"."session" ADD {computed}')
    error = unfit(lab, "twice: int(eger)? computed by the server, at the source int")
    (alter,) = re.findall("ALTER TABLE [^;]*?(?=[.] Local rows)", error.hint or "")
    local(lab, alter)
    assert linked(lab).source.pull().pulled == 3
    local(
        lab,
        'DROP TABLE "{local}"."session__trial"',
        'CREATE VIEW "{local}"."session__trial" AS SELECT * FROM "{local}"."session"',
    )
    unfit(lab, "session__trial on .* is a view, and no table")


def test_what_hinders_a_link_is_seen_when_it_comes(lab: Lab) -> None:
    """Also by a process that has used the link before."""
    plain_tables(lab, foreign_key=lab.kind == "postgresql")
    table = whole(lab)
    part = 'ALTER TABLE "{source}"."session__trial"'
    admin(lab, f"{part} ENABLE ROW LEVEL SECURITY" if lab.kind == "postgresql" else f"{part} ENGINE=MyISAM")
    with pytest.raises(DefinitionError, match=r"session__trial .* is (under row-level security|of the engine MyISAM)"):
        table.source.pull()
    admin(lab, f"{part} DISABLE ROW LEVEL SECURITY" if lab.kind == "postgresql" else f"{part} ENGINE=InnoDB")
    assert table.source.pull().shared == 3
