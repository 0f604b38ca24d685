"""What is declared: local tables equal to the source's, and a helper table that every DataJoint can read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import datajoint as dj
import pytest
from fleet import TestServer
from lab import Lab
from linking import admin, linked, quoted

from link.servers.sites import site_of

MYSQLS = pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)

REMARK = "100% of \"it\" isn''t µV 猫"
MYSQL_COLUMNS = [
    "tiny tinyint unsigned NOT NULL",
    "switch tinyint(1) NOT NULL DEFAULT 1",
    "small smallint NOT NULL DEFAULT -7",
    "medium mediumint unsigned NULL DEFAULT 7",
    "big bigint unsigned NULL",
    "price decimal(10,3) NOT NULL DEFAULT 1.500",
    "single float NOT NULL DEFAULT 0.5",
    "twice double NULL",
    "born date NOT NULL DEFAULT '2020-02-29'",
    "clock time(3) NULL",
    "day year NULL",
    "seen datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
    "changed timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)",
    "fixed char(5) NOT NULL DEFAULT ''",
    "quoted varchar(40) NOT NULL DEFAULT 'it''s \"100%\" \\\\n'",
    "word varchar(40) NOT NULL DEFAULT 'CURRENT_TIMESTAMP'",
    "nothing varchar(40) NULL DEFAULT 'NULL'",
    "computed varchar(40) NOT NULL DEFAULT (concat('it''s ', '100%'))",
    "sum int NOT NULL DEFAULT (1 + 1)",
    "bytes varbinary(20) NOT NULL DEFAULT 'ab'",
    "raw binary(4) NULL",
    "old varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci NOT NULL",
    "exact varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL",
    "choice enum('a','it''s','100%') NOT NULL DEFAULT 'it''s'",
    "long_text longtext NULL",
    "blob_ longblob NULL",
    "doc json NULL",
]
POSTGRESQL_COLUMNS = [
    "small smallint NOT NULL DEFAULT -7",
    "big bigint NULL",
    "price numeric(10,3) NOT NULL DEFAULT 1.500",
    "any_number numeric NULL",
    "single real NOT NULL DEFAULT 0.5",
    "twice double precision NULL",
    "switch boolean NOT NULL DEFAULT true",
    "born date NOT NULL DEFAULT '2020-02-29'",
    "clock time(3) without time zone NULL",
    "seen timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP",
    "instant timestamptz NOT NULL DEFAULT now()",
    "fixed char(5) NOT NULL DEFAULT ''",
    "quoted varchar(40) NOT NULL DEFAULT 'it''s \"100%\" \\n'",
    "word varchar(40) NOT NULL DEFAULT 'CURRENT_TIMESTAMP'",
    "nothing varchar(40) NULL DEFAULT NULL",
    "computed varchar(40) NOT NULL DEFAULT concat('it''s ', '100%')",
    'exact text COLLATE "C" NULL',
    "choice {source}.\"enum_abc\" NOT NULL DEFAULT 'it''s'",
    "id uuid NOT NULL DEFAULT gen_random_uuid()",
    "bytes bytea NOT NULL DEFAULT '\\x00ff'",
    "doc jsonb NOT NULL DEFAULT '{{\"a\": 1}}'",
    "plain_doc json NULL",
]


def described(server: TestServer, schema: str, table: str) -> list[tuple[Any, ...]]:
    """All that the server's catalogue says of the columns of a table."""
    if server.kind == "postgresql":
        return server.sql(
            "SELECT a.attname, CASE t.typtype WHEN 'e' THEN t.typname::text ELSE format_type(a.atttypid, a.atttypmod) "
            "END, a.attnotnull, replace(pg_get_expr(d.adbin, d.adrelid), %s, ''), "
            "col_description(a.attrelid, a.attnum), l.collname "
            "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
            "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
            "LEFT JOIN pg_collation l ON l.oid = a.attcollation "
            "WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 ORDER BY a.attnum",
            f"{schema}.",
            f"{schema}.{table}",
        )
    return server.sql(
        "SELECT column_name, column_type, is_nullable, column_default, extra, column_comment, character_set_name, "
        "collation_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
        "ORDER BY ordinal_position",
        schema,
        table,
    )


def compare(lab: Lab, *tables: str) -> None:
    """Check that local and source tables are described in the same words."""
    for table in tables:
        there = described(lab.source_server, lab.source_schema, table)
        here = described(lab.local_server, lab.local_schema, table)
        if lab.kind == "mariadb":  # where nothing but the marker tells DataJoint that a column is JSON
            there = [(*row[:5], f":json:{row[5]}", *row[6:]) if row[0] == "doc" else row for row in there]
        assert there
        assert here == there


def source_table(lab: Lab, columns: list[str], comment: str) -> None:
    """Create the source table by plain SQL, with a comment on each column."""
    name = f"{lab.source_schema}.session"
    columns = [column.format(source=lab.source_schema) for column in columns]
    if lab.kind == "postgresql":
        lab.source_server.sql(f"CREATE TABLE {name} (session int PRIMARY KEY, {', '.join(columns)})")
        for column in columns:
            lab.source_server.sql(f"COMMENT ON COLUMN {name}.{column.split()[0]} IS '{comment}'")
        lab.source_server.sql(f"COMMENT ON TABLE {name} IS '{comment}'")
    else:
        lines = [f"{column} COMMENT '{comment}'" for column in columns]
        lab.source_server.sql(f"CREATE TABLE {name} (session int PRIMARY KEY, {', '.join(lines)}) COMMENT '{comment}'")
    lab.grant("session")


# --- the local tables


def test_columns_of_every_type_with_their_defaults_and_comments(lab: Lab) -> None:
    if lab.kind == "postgresql":
        admin(lab, """CREATE TYPE "{source}"."enum_abc" AS ENUM ('a', 'it''s', '100%')""")
    source_table(lab, POSTGRESQL_COLUMNS if lab.kind == "postgresql" else MYSQL_COLUMNS, REMARK)
    linked(lab, codecs={} if lab.kind == "postgresql" else {"blob_": "bytes"})()
    compare(lab, "session")
    comment = "obj_description(to_regclass(%s))" if lab.kind == "postgresql" else "table_comment"
    for server, schema in ((lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema)):
        if lab.kind == "postgresql":
            found = server.sql(f"SELECT {comment}", f"{schema}.session")
        else:
            tables = "information_schema.tables WHERE table_name = 'session' AND table_schema = %s"
            found = server.sql(f"SELECT {comment} FROM {tables}", schema)
        assert found[0] == (REMARK.replace("''", "'"),)


def test_what_datajoint_declared_reads_the_same(lab: Lab) -> None:
    class Session(dj.Manual):
        definition = """
        # sessions of the old rig, isn't it: µV 猫
        subject : varchar(12)      # name; also 'nickname'
        session : int16
        ---
        rig = 'a' : enum('a', 'b')  # which
        weight = null : float32
        doses = 0 : decimal(6,2)
        day = '2020-01-01' : date
        note = '' : varchar(200)
        trace = null : <blob>
        extra = null : json
        valid = 1 : bool
        count = null : int8
        """

        class Trial(dj.Part):
            definition = """
            # trials
            -> master
            trial : int16
            ---
            score = 0.5 : float64   # between 0 and 1
            raw = null : <blob>
            """

    source: Any = lab.source.Schema(lab.source_schema)(Session)
    lab.grant(source)
    table = linked(lab)
    for theirs, ours in ((source(), table()), (source.Trial(), table.Trial())):
        assert ours.heading.primary_key == theirs.heading.primary_key
        for name in theirs.heading.names:
            there, here = (t.heading.attributes[name]._asdict() for t in (theirs, ours))
            for attribute in (there, here):
                for place in ("lineage", "database", "attribute_expression"):
                    attribute.pop(place, None)
            # On PostgreSQL an enum is a type of its schema, and a default is printed with it.
            there["default"] = str(there["default"]).replace(lab.source_schema, lab.local_schema)
            assert here | {"default": str(here["default"])} == there
        assert ours.heading.names == theirs.heading.names
        assert ours.heading.table_status["comment"] == theirs.heading.table_status["comment"]


def test_automatic_numbers_stay_automatic(lab: Lab) -> None:
    word = "serial" if lab.kind == "postgresql" else "int unsigned AUTO_INCREMENT"
    admin(lab, f'CREATE TABLE "{{source}}"."session" (session {word} PRIMARY KEY, note varchar(9))')
    admin(lab, "INSERT INTO \"{source}\".\"session\" (note) VALUES ('a'), ('b')")
    lab.grant("session")
    table = linked(lab)
    assert table().source.pull().pulled == 2
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.session")
    lab.local_server.sql(f"INSERT INTO {lab.local_schema}.session (note) VALUES ('by hand')")
    if lab.kind != "postgresql":
        compare(lab, "session")


def test_generated_columns_become_plain_ones(lab: Lab) -> None:
    admin(
        lab,
        'CREATE TABLE "{source}"."session" (session int PRIMARY KEY, '
        "twice int GENERATED ALWAYS AS (session * 2) STORED)",
        'INSERT INTO "{source}"."session" (session) VALUES (1), (2)',
    )
    lab.grant("session")
    table = linked(lab)
    assert table().source.pull().pulled == 2
    assert lab.local_server.sql(f"SELECT session, twice FROM {lab.local_schema}.session ORDER BY 1") == [(1, 2), (2, 4)]


def test_foreign_keys_lead_from_parts_to_their_master_only(lab: Lab) -> None:
    class Subject(dj.Manual):
        definition = "subject: int32"

    class Session(dj.Manual):
        definition = "-> Subject\nsession: int32"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32\n---\n-> Subject.proj(partner='subject')"

        class Spike(dj.Part):
            definition = "-> Session.Trial\nspike: int32"

    schema = lab.source.Schema(lab.source_schema)
    schema(Subject)
    lab.grant(schema(Session, context={"Subject": Subject}))
    linked(lab)()
    keys = lab.local_server.sql(
        "SELECT table_name, column_name, position_in_unique_constraint FROM information_schema.key_column_usage "
        "WHERE table_schema = %s AND position_in_unique_constraint IS NOT NULL ORDER BY 1, 3",
        lab.local_schema,
    )
    columns = (("subject", 1), ("session", 2))
    assert keys == [(part, *column) for part in ("session__spike", "session__trial") for column in columns]
    rules = lab.local_server.sql(
        "SELECT update_rule, delete_rule FROM information_schema.referential_constraints WHERE constraint_schema = %s",
        lab.local_schema,
    )
    assert rules == [("CASCADE", "RESTRICT")] * 2
    compare(lab, "session", "session__trial", "session__spike")


def test_lineage_is_recorded(lab: Lab) -> None:
    class Session(dj.Manual):
        definition = "subject: int32\nsession: int32\n---\nnote: varchar(9)"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32"

    lab.grant(lab.source.Schema(lab.source_schema)(Session))
    table = linked(lab)
    table()
    origin = f"{site_of(lab.source.connection).facts.name}/{lab.source_schema}.session"
    lineage = {name: a.lineage for name, a in table.Trial().heading.attributes.items()}
    assert lineage == {
        "subject": f"{origin}.subject",
        "session": f"{origin}.session",
        "trial": f"{origin}__trial.trial",
    }
    # Joining by name works with what is declared below a linked table, and with nothing else.
    assert len(table() * table.Trial()) == 0

    class Analysis(dj.Manual):
        definition = "-> Session\nmethod: int32"

    below: Any = lab.local.Schema(lab.local_schema)(Analysis, context={"Session": table})
    assert len(table() * below()) == 0


# --- character sets and collations


@MYSQLS
@pytest.mark.parametrize("charset", ["latin1", "utf8mb4"])
def test_the_schemas_of_both_sides_may_have_another_charset(lab: Lab, charset: str) -> None:
    other = "utf8mb4" if charset == "latin1" else "latin1"
    lab.source_server.sql(f"ALTER SCHEMA {lab.source_schema} CHARACTER SET {charset}")
    lab.source_server.sql(f"ALTER SCHEMA {lab.helper_schema} CHARACTER SET {other}")
    lab.local_server.sql(f"CREATE SCHEMA {lab.local_schema} CHARACTER SET {other}")
    admin(
        lab,
        'CREATE TABLE "{source}"."session" (session varchar(20) PRIMARY KEY, note text)',
        "INSERT INTO \"{source}\".\"session\" VALUES ('é', 'è'), ('a', 'Ã¨')",
    )
    lab.grant("session")
    table = linked(lab)
    assert table().source.pull().pulled == 2
    compare(lab, "session")
    assert helper_key(lab) == described(lab.source_server, lab.source_schema, "session")[0][-2:]
    assert {(row["session"], row["note"]) for row in table().to_dicts()} == {("é", "è"), ("a", "Ã¨")}


@MYSQLS
@pytest.mark.parametrize("end", ["source", "local"])
def test_a_server_that_has_kept_its_old_kind_of_rows(lab: Lab, end: str) -> None:
    """In which an index takes 767 bytes: what we declare takes as much as what the source has."""
    admin(
        lab,
        'CREATE TABLE "{source}"."session" (session varchar(255) CHARACTER SET utf8mb4 PRIMARY KEY, note int) '
        "ROW_FORMAT=DYNAMIC",
        'INSERT INTO "{source}"."session" VALUES (\'é\', NULL)',
    )
    lab.grant("session")
    server = lab.source_server if end == "source" else lab.local_server
    server.sql("SET GLOBAL innodb_default_row_format = 'compact'")
    try:
        table = linked(lab)
        assert table().source.pull().pulled == 1
        assert table().source.verify().compared == 1
        admin(lab, 'UPDATE "{source}"."session" SET note = 1')
        assert table().source.refresh().refreshed == 1
        assert table().delete(prompt=False) == 1
    finally:
        server.sql("SET GLOBAL innodb_default_row_format = 'dynamic'")


@MYSQLS
def test_zeros_in_front_are_those_of_the_source(lab: Lab) -> None:
    """Earlier versions left out how many there are: local tables of theirs, with ten, are as good."""
    admin(
        lab,
        'CREATE TABLE "{source}"."session" (session int(3) zerofill PRIMARY KEY, n smallint(2) zerofill NOT NULL)',
        'INSERT INTO "{source}"."session" VALUES (7, 5), (12345, 0)',
    )
    lab.grant("session")
    table = linked(lab)
    assert table().source.pull({"session": 7}).pulled == 1
    compare(lab, "session")
    assert table().source.verify().compared == 1 and table().source.verify()
    lab.local_server.sql(f"ALTER TABLE {lab.local_schema}.session MODIFY n smallint zerofill NOT NULL")
    assert linked(lab)().source.pull().pulled == 1
    assert linked(lab)().source.verify()


@MYSQLS
def test_collations_have_the_names_that_the_local_server_gives_them(lab: Lab) -> None:
    """Before 8.0.30 MySQL called those of utf8mb3 by another name; MariaDB lists its newer ones by half a name."""
    newer = "utf8mb4_uca1400_as_ci" if lab.kind == "mariadb" else "utf8mb4_0900_as_ci"
    admin(
        lab,
        f'CREATE TABLE "{{source}}"."session" (session varchar(20) CHARACTER SET utf8mb4 COLLATE {newer} PRIMARY KEY, '
        "note varchar(9) CHARACTER SET utf8mb3 COLLATE utf8mb3_unicode_ci)",
        "INSERT INTO \"{source}\".\"session\" VALUES ('é', 'è'), ('e', 'e')",
    )
    lab.grant("session")
    table = linked(lab)
    assert table().source.pull().pulled == 2
    compare(lab, "session")
    source, local = site_of(lab.source.connection), site_of(lab.local.connection)
    with local.catalogue() as here, source.catalogue() as there:
        told = there.table(lab.source_schema, "session")
        former = (replace(told["note"], charset="utf8", collation="utf8_unicode_ci"),)
        assert here.localized(replace(told, columns=(told["session"], *former)), source.dialect) == told


@MYSQLS
def test_keys_that_differ_in_case_only(lab: Lab) -> None:
    admin(
        lab,
        'CREATE TABLE "{source}"."session" (session varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY)',
        "INSERT INTO \"{source}\".\"session\" VALUES ('a'), ('A'), ('b')",
    )
    lab.grant("session")
    table = linked(lab)
    assert table().source.pull().pulled == 3
    assert helper_key(lab) == ("utf8mb4", "utf8mb4_bin")
    (table() & "session = 'A'").delete(prompt=False)
    assert sorted(table().to_arrays("session")) == ["a", "b"]


@POSTGRESQL
def test_a_collation_of_the_lab_s_own(lab: Lab) -> None:
    create = f"CREATE COLLATION {lab.source_schema}.\"Own\" (locale = 'C')"
    lab.source_server.sql(create)
    lab.local_server.sql(f"CREATE SCHEMA {lab.source_schema}")
    lab.local_server.sql(f"GRANT USAGE ON SCHEMA {lab.source_schema} TO {lab.local_user}")
    lab.local_server.sql(create)
    admin(lab, 'CREATE TABLE "{source}"."session" (session varchar(20) COLLATE "{source}"."Own" PRIMARY KEY)')
    admin(lab, "INSERT INTO {source}.session VALUES ('a'), ('B')")
    lab.grant("session")
    assert linked(lab)().source.pull().pulled == 2
    assert helper_key(lab) == ("Own",)
    compare(lab, "session")


def helper_key(lab: Lab) -> tuple[Any, ...]:
    """Character set and collation of the first key column of the helper table."""
    column = described(lab.source_server, lab.helper_schema, lab.helper_table)[0]
    return column[-1:] if lab.kind == "postgresql" else column[-2:]


# --- names


def test_awkward_column_names(lab: Lab) -> None:
    names = ["Upper", "with space", "quote'd", 'double"d', "back`tick", "100%", "käse", "order"]
    keys = [quoted(lab.source_server, name) for name in names]
    values = [quoted(lab.source_server, f"{name} 2") for name in names]
    where = f"{lab.source_schema}.session"
    columns = ", ".join(f"{column} int NOT NULL" for column in (*keys, *values))
    lab.source_server.sql(f"CREATE TABLE {where} ({columns}, PRIMARY KEY ({', '.join(keys)}))")
    for n in (1, 2):
        lab.source_server.sql(f"INSERT INTO {where} VALUES ({', '.join([str(n)] * 16)})")
    lab.grant("session")
    table = linked(lab)
    assert (table().source & {"Upper": 1}).pull().pulled == 1
    assert table().source.pull().pulled == 1
    compare(lab, "session")
    assert sorted(lab.local_server.sql(f"SELECT * FROM {lab.local_schema}.session")) == [(1,) * 16, (2,) * 16]
    (table() & {"Upper": 1}).delete_quick()
    status = table().source.status()
    assert (status["Unshared"], status["Shared"]) == (1, 1)


# --- the helper table


def test_the_helper_table(lab: Lab) -> None:
    class Session(dj.Manual):
        definition = "subject: varchar(12)\nsession: int16\nday: date\nrig: enum('a','b')\n---\nnote: varchar(9)"

    lab.grant(lab.source.Schema(lab.source_schema)(Session))
    linked(lab)()
    columns = described(lab.source_server, lab.helper_schema, lab.helper_table)
    source = described(lab.source_server, lab.source_schema, "session")
    comment = 4 if lab.kind == "postgresql" else 5
    key = ["subject", "session", "day", "rig"]
    for there, here in zip(source, columns[:4], strict=False):
        # The type, character set and collation exactly, but no comment, where DataJoint writes its own types.
        assert [*here[:2], *here[comment + 1 :]] == [*there[:2], *there[comment + 1 :]]
    assert not any(column[comment] for column in columns)
    seen: Any = lab.link_instance().FreeTable(f"{lab.helper_schema}.{lab.helper_table}")
    assert seen.heading.names == [*key, "process", "is_flagged", "is_deprecated"]
    assert seen.heading.primary_key == key
    types = [seen.heading.attributes[name].type.replace(", ", ",") for name in seen.heading.names[4:]]
    labels = ["enum('PULL','DELETE','NONE')", "enum('TRUE','FALSE')", "enum('TRUE','FALSE')"]
    # On PostgreSQL an enum is a type with a name, by which DataJoint knows it.
    named = ["enum_link_pull_delete_none", "enum_link_true_false", "enum_link_true_false"]
    assert types == (named if lab.kind == "postgresql" else labels)
    rules = lab.source_server.sql(
        "SELECT update_rule, delete_rule FROM information_schema.referential_constraints WHERE constraint_schema = %s",
        lab.helper_schema,
    )
    assert rules == [("NO ACTION", "NO ACTION") if lab.kind == "postgresql" else ("RESTRICT", "RESTRICT")]
