"""What the local server cannot hold is refused by name, left Unshared and without a hold, and the rest is pulled."""

from __future__ import annotations

import re
from contextlib import closing
from random import Random
from typing import Any

import oracle
import pytest
from lab import Lab
from oracle import Type
from pipelines import count_held, linked

from link import DefinitionError, LocalMismatchError, TransferError

TEXT = Type("varchar(20)", "text", ())


def declare(lab: Lab, columns: dict[str, Type], rows: list[tuple[Any, ...]], key: list[str]) -> Any:
    """The source table `thing` with rows, and its linked class."""
    oracle.create(lab.source_server, lab.source_schema, "thing", columns, key)
    oracle.insert(lab.source_server, lab.source_schema, "thing", columns, rows)
    lab.grant("thing")
    return linked(lab, "Thing", backend=lab.source_server.backend)


def run_local(lab: Lab, *statements: str) -> None:
    """What the local account has done before it links."""
    with closing(lab.local_server.connect_raw(lab.local_user, lab.local_password)) as connection:
        for statement in statements:
            connection.cursor().execute(statement)


def distinct(lab: Lab) -> Type:
    """Text whose collation keeps everything apart, on the kinds that pad or fold."""
    if lab.kind == "postgresql":
        return TEXT
    collation = "utf8mb4_0900_bin" if lab.kind == "mysql" else "utf8mb4_nopad_bin"
    return Type(f"varchar(20) CHARACTER SET utf8mb4 COLLATE {collation}", "text", ())


def check_refused(lab: Lab, linked_class: Any, total: int, refused: int) -> list[str]:
    """Pull everything: so many entities are refused, the others Shared; the errors' texts."""
    with pytest.raises(TransferError, match="thing"):
        linked_class.source.pull()
    result = linked_class.source.pull(suppress_errors=True)
    assert len(result.errors) == refused
    assert count_held(lab) == total - refused
    assert {s: n for s, n in linked_class.source.status().items() if n} == {
        "Shared": total - refused,
        "Unshared": refused,
    }
    return [str(error) for _, error in result.errors]


# collations


def test_collations_keep_keys_apart(mixed: Lab) -> None:
    lab = mixed
    texts = ["a", "A", "á", "a ", " a", "ss", "ß", "e\u0301", "é", ""]
    Thing = declare(lab, {"k": distinct(lab)}, [(text,) for text in texts], ["k"])
    assert Thing.source.pull().pulled == len(texts)
    assert sorted(oracle.read(lab.local_server, lab.local_schema, "thing", {"k": TEXT})) == sorted(
        (text.encode(),) for text in texts
    )


@pytest.mark.parametrize("texts", [("a", "A"), ("e", "é"), ("a", "a ")], ids=["case", "accent", "blank"])
def test_keys_that_the_local_table_does_not_tell_apart(mixed: Lab, texts: tuple[str, str]) -> None:
    lab = mixed
    if lab.local_kind == "postgresql":
        pytest.skip("a collation of PostgreSQL that folds takes ICU, and there is none that pads")
    columns = {"k": distinct(lab), "v": TEXT}
    rows = [("first", ""), (texts[0], "one"), (texts[1], "other"), ("zz", "")]
    Thing = declare(lab, columns, rows, ["k"])
    run_local(
        lab,
        f"CREATE SCHEMA {lab.local_schema}",
        f"CREATE TABLE {lab.local_schema}.thing "
        "(k varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL, "
        "v varchar(20) CHARACTER SET utf8mb4 NULL, PRIMARY KEY (k))",
    )
    (error,) = check_refused(lab, Thing, 4, 1)
    assert "Duplicate" in error
    assert "'k': " in error
    here = oracle.read(lab.local_server, lab.local_schema, "thing", columns)
    assert len(here) == 3
    assert set(here) < set(oracle.read(lab.source_server, lab.source_schema, "thing", columns))


def test_part_keys_that_the_local_table_does_not_tell_apart(mixed: Lab) -> None:
    lab = mixed
    if lab.local_kind == "postgresql":
        pytest.skip("a collation of PostgreSQL that folds takes ICU")
    parts = {"k": oracle.INTEGER, "p": distinct(lab)}
    oracle.create(lab.source_server, lab.source_schema, "thing", {"k": oracle.INTEGER}, ["k"])
    oracle.create(lab.source_server, lab.source_schema, "thing__part", parts, ["k", "p"], "thing")
    oracle.insert(lab.source_server, lab.source_schema, "thing", {"k": oracle.INTEGER}, [(1,), (2,), (3,)])
    oracle.insert(lab.source_server, lab.source_schema, "thing__part", parts, [(1, "a"), (2, "a"), (2, "A"), (3, "A")])
    lab.grant("thing")
    Thing = linked(lab, "Thing", backend=lab.source_server.backend)
    run_local(
        lab,
        f"CREATE SCHEMA {lab.local_schema}",
        f"CREATE TABLE {lab.local_schema}.thing (k int NOT NULL PRIMARY KEY)",
        f"CREATE TABLE {lab.local_schema}.thing__part (k int NOT NULL, "
        "p varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL, PRIMARY KEY (k, p), "
        f"FOREIGN KEY (k) REFERENCES {lab.local_schema}.thing (k))",
    )
    (error,) = check_refused(lab, Thing, 3, 1)
    assert "{'k': 2}" in error
    assert sorted(oracle.read(lab.local_server, lab.local_schema, "thing__part", parts)) == [(1, b"a"), (3, b"A")]


@pytest.mark.parametrize("text", ["\0", "in\0side"])
def test_the_column_with_a_nul_is_named_beside_long_ones(mixed: Lab, text: str) -> None:
    """Long columns of long rows travel by themselves, and what stands for them is no NUL of a text."""
    lab = mixed
    if lab.kind == "postgresql" or lab.local_kind != "postgresql":
        pytest.skip("PostgreSQL alone takes no NUL in a text")
    text_of = {"before": Type("longtext CHARACTER SET utf8mb4", "text", ())}
    columns = {"k": oracle.INTEGER, **text_of, "v": TEXT, "behind": Type("longblob", "bytes", ())}
    long = "é" * 20_000
    Thing = declare(lab, columns, [(1, long, text, b"\0" * 9), (2, long, "plain", b"\0"), (3, None, text, b"")], ["k"])
    lab.source_server.sql(f"ANALYZE TABLE {lab.source_schema}.thing")
    for error in check_refused(lab, Thing, 3, 2):
        assert "thing.v has a NUL" in error


# character sets


def test_text_that_a_latin1_column_cannot_hold(mixed: Lab) -> None:
    lab = mixed
    if lab.local_kind == "postgresql":
        pytest.skip("a database of PostgreSQL has one character set")
    columns = {"k": oracle.INTEGER, "v": TEXT}
    Thing = declare(lab, columns, [(1, "é"), (2, "日本"), (3, "\U0001f9e0"), (4, "plain")], ["k"])
    run_local(
        lab,
        f"CREATE SCHEMA {lab.local_schema} CHARACTER SET latin1",
        f"CREATE TABLE {lab.local_schema}.thing (k int NOT NULL PRIMARY KEY, v varchar(20) NULL)",
    )
    errors = check_refused(lab, Thing, 4, 2)
    assert all("Incorrect string value" in error for error in errors)
    assert sorted(oracle.read(lab.local_server, lab.local_schema, "thing", columns)) == [
        (1, "é".encode()),
        (4, b"plain"),
    ]


def test_latin1_servers_get_every_character(mixed: Lab) -> None:
    """The local schema's default is latin1, the source has four-byte text: columns are declared as the source's."""
    lab = mixed
    if lab.local_kind != "postgresql":
        run_local(lab, f"CREATE SCHEMA {lab.local_schema} CHARACTER SET latin1")
    columns = {"k": TEXT, "v": Type("text", "text", ())}
    Thing = declare(lab, columns, [("\U0001f9e0", "日本"), ("é", "\U0001f9e0")], ["k"])
    assert Thing.source.pull().pulled == 2
    assert sorted(oracle.read(lab.local_server, lab.local_schema, "thing", columns)) == sorted(
        oracle.read(lab.source_server, lab.source_schema, "thing", columns)
    )


# values


@pytest.mark.parametrize("charset", ["utf8mb4", "gbk"])  # in gbk a label can be written in several ways
def test_invalid_enum_values_in_keys(mixed: Lab, charset: str) -> None:
    lab = mixed
    if lab.kind == "postgresql":
        pytest.skip("PostgreSQL holds no invalid label")
    columns = {"e": Type(f"enum('a','b') CHARACTER SET {charset}", "text", ()), "k": oracle.INTEGER}
    Thing = declare(lab, columns, [("a", 1), ("b", 2)], ["e"])
    oracle.run(
        lab.source_server, "SET sql_mode = ''", f"INSERT IGNORE INTO {lab.source_schema}.thing VALUES ('neither', 3)"
    )
    (error,) = check_refused(lab, Thing, 3, 1)
    assert "{'e': ''}" in error


def test_invalid_enum_values(mixed: Lab) -> None:
    lab = mixed
    if lab.kind == "postgresql":
        pytest.skip("PostgreSQL holds no invalid label")
    columns = {"k": oracle.INTEGER, "e": Type("enum('a','b')", "text", ())}
    Thing = declare(lab, columns, [(1, "a"), (2, None)], ["k"])
    oracle.run(
        lab.source_server, "SET sql_mode = ''", f"INSERT IGNORE INTO {lab.source_schema}.thing VALUES (3, 'neither')"
    )
    (error,) = check_refused(lab, Thing, 3, 1)
    assert "{'k': 3}" in error


@pytest.mark.parametrize(
    "number",
    [
        *("0.12345678901234567890", "12345678901234567890123", "-9223372036854775809", "1.00000000000000000001"),
        *("18446744073709551615", "0.1", "1e300", "-9223372036854775808"),
    ],
)
def test_numbers_in_json_are_not_rounded(mixed: Lab, number: str) -> None:
    lab = mixed
    columns = {"k": oracle.INTEGER, "j": Type("jsonb" if lab.kind == "postgresql" else "json", "json", ())}
    Thing = declare(lab, columns, [(1, '{"a": [1, 1.5, "0.12345678901234567890"]}'), (3, None)], ["k"])
    document = f"""'{{"n": [true, {number}]}}'"""
    if lab.kind == "mysql":
        # As text MySQL would round it right here; a calculated number it keeps.
        document = f"JSON_OBJECT('n', JSON_ARRAY(true, {number}))"
    oracle.run(lab.source_server, f"INSERT INTO {lab.source_schema}.thing VALUES (2, {document})")
    rounded = lab.local_kind == "mysql" and len(number) > 20 and number != "18446744073709551615"
    if rounded or (lab.local_kind == "mysql" and number == "-9223372036854775809"):
        (error,) = check_refused(lab, Thing, 3, 1)
        assert "more digits than MySQL keeps" in error
    else:
        assert Thing.source.pull().pulled == 3
    here, there = (
        sorted(oracle.read(server, schema, "thing", columns), key=repr)
        for server, schema in ((lab.local_server, lab.local_schema), (lab.source_server, lab.source_schema))
    )
    assert here == [row for row in there if row in here]


def test_rows_that_a_check_refuses(mixed: Lab) -> None:
    lab = mixed
    Thing = declare(lab, {"k": oracle.INTEGER}, [(1,), (2,), (3,)], ["k"])
    run_local(
        lab,
        f"CREATE SCHEMA {lab.local_schema}",
        f"CREATE TABLE {lab.local_schema}.thing (k int NOT NULL PRIMARY KEY, CONSTRAINT even CHECK (k <> 2))",
    )
    (error,) = check_refused(lab, Thing, 3, 1)
    assert "even" in error


#: Types that bring values into a form of their own, without a word, by what the source may have for them.
FORMS = {"varchar(20)": "char(20)", "float": "float(7,3)", "double": "double(10,3)", "smallint": "year"}


def test_local_columns_that_keep_other_values(mixed: Lab) -> None:
    """They are refused when they are linked; where the source's have become others since, each row is that changes."""
    lab = mixed
    names = {"float": "real", "double": "double precision"} if lab.kind == "postgresql" else {}
    forms = FORMS if lab.local_kind != "postgresql" else {"varchar(20)": "character(20)"}
    if "postgresql" not in (lab.kind, lab.local_kind):
        forms = forms | {"varbinary(5)": "binary(5)"}
    run_local(lab, f"CREATE SCHEMA {lab.local_schema}")
    for n, (sql, form) in enumerate(forms.items()):
        columns = {"k": oracle.INTEGER, "v": Type(names.get(sql, sql), "", ())}
        oracle.create(lab.source_server, lab.source_schema, f"thing{n}", columns, ["k"])
        lab.grant(f"thing{n}")
        run_local(lab, f"CREATE TABLE {lab.local_schema}.thing{n} (k int NOT NULL PRIMARY KEY, v {form})")
        with pytest.raises(LocalMismatchError, match=rf"v: {re.escape(form)}, at the source"):
            linked(lab, f"Thing{n}", backend=lab.source_server.backend).source.pull()
    assert oracle.tables(lab.source_server, lab.helper_schema) == []

    Thing = declare(lab, {"k": oracle.INTEGER, "v": Type("char(20)", "text", ())}, [(1, "a"), (2, "b c")], ["k"])
    char = "character(20)" if lab.local_kind == "postgresql" else "char(20)"
    run_local(lab, f"CREATE TABLE {lab.local_schema}.thing (k int NOT NULL PRIMARY KEY, v {char})")
    if lab.kind == lab.local_kind and lab.kind != "postgresql":  # and of the same character set
        run_local(lab, f"ALTER TABLE {lab.local_schema}.thing CONVERT TO CHARACTER SET utf8mb4")
    assert Thing.source.pull().pulled == 2
    widened = "ALTER COLUMN v TYPE" if lab.kind == "postgresql" else "MODIFY v"
    oracle.run(lab.source_server, f"ALTER TABLE {lab.source_schema}.thing {widened} varchar(20)")
    rows = f"INSERT INTO {lab.source_schema}.thing VALUES (3, 'c '), (4, 'd')"
    oracle.run(lab.source_server, rows)
    (error,) = check_refused(lab, linked(lab, "Thing", backend=lab.source_server.backend), 4, 1)
    assert "holds it otherwise" in error


# types


TYPES_WITHOUT_EQUIVALENT = {
    "mysql": ["bit(3)", "set('a','b')", "geometry"],
    "mariadb": ["bit(3)", "set('a','b')", "geometry", "year(2)"],
    "postgresql": ["interval", "integer[]", "inet", "point", "timetz", "money", "tsvector", "int4range"],
}
ONLY_POSTGRESQL = ["numeric", "numeric(70,2)", "numeric(40,35)"]


def test_types_without_an_equivalent(mixed: Lab) -> None:
    lab = mixed
    types = TYPES_WITHOUT_EQUIVALENT[lab.kind]
    if lab.kind == "postgresql" and lab.local_kind != "postgresql":
        types = [*types, *ONLY_POSTGRESQL]
    for n, sql in enumerate(types):
        columns = {"k": oracle.INTEGER, "odd": Type(sql, "", ())}
        oracle.create(lab.source_server, lab.source_schema, f"thing{n}", columns, ["k"])
        lab.grant(f"thing{n}")
        Thing = linked(lab, f"Thing{n}", backend=lab.source_server.backend)
        with pytest.raises(DefinitionError, match=rf"thing{n}\.odd") as refused:
            Thing.source.pull()
        assert sql.split("(")[0].split("[")[0][:4] in str(refused.value)
        assert oracle.tables(lab.local_server, lab.local_schema) == []


@pytest.mark.parametrize("sql", ["text", "bytea", "character varying(800)", "character varying"])
def test_keys_that_mysql_cannot_index(mixed: Lab, sql: str) -> None:
    lab = mixed
    if lab.kind != "postgresql" or lab.local_kind == "postgresql":
        pytest.skip("of keys from PostgreSQL to MySQL and MariaDB")
    Thing = declare(lab, {"long": Type(sql, "", ())}, [], ["long"])
    with pytest.raises(DefinitionError, match=r"thing\.long.*in a key"):
        Thing.source.pull()


def test_keys_that_together_are_too_long_for_mysql(mixed: Lab) -> None:
    lab = mixed
    if lab.kind != "postgresql" or lab.local_kind == "postgresql":
        pytest.skip("of keys from PostgreSQL to MySQL and MariaDB")
    half = Type("character varying(500)", "text", ())
    Thing = declare(lab, {"a": half, "b": half}, [], ["a", "b"])
    with pytest.raises(DefinitionError, match="3072"):
        Thing.source.pull()


def test_rows_of_many_long_texts(mixed: Lab) -> None:
    """More text than a row of MySQL holds: some become LONGTEXT, and every character arrives."""
    lab = mixed
    if lab.kind != "postgresql":
        pytest.skip("MySQL and MariaDB have no such tables")
    long = Type("character varying(4000)", "text", ())
    columns = {"k": oracle.INTEGER} | {f"t{n}": long for n in range(9)}
    Thing = declare(lab, columns, [(1, *["\U0001f9e0" * 4000] * 9)], ["k"])
    assert Thing.source.pull().pulled == 1
    assert oracle.read(lab.local_server, lab.local_schema, "thing", columns) == oracle.read(
        lab.source_server, lab.source_schema, "thing", columns
    )


def test_keys_that_postgresql_cannot_index(mixed: Lab) -> None:
    """A key may be longer than an entry of PostgreSQL's index: that entity is refused."""
    lab = mixed
    if lab.kind == "postgresql" or lab.local_kind != "postgresql":
        pytest.skip("of keys from MySQL and MariaDB to PostgreSQL")
    key = Type("varbinary(3000)", "bytes", ())
    noise = Random(1).randbytes(3000)
    Thing = declare(lab, {"k": key}, [(b"short",), (noise,)], ["k"])
    (error,) = check_refused(lab, Thing, 2, 1)
    assert "index row size" in error


# attachments


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_attachments_that_would_leave_their_folder(mixed: Lab, long: bool) -> None:
    lab = mixed
    content = b"\x01data\xff" * (2000 if long else 1)
    names = (b"../../x", b"a/b", b"c:\\x", b".", b"..", b"")
    rows = [(1, b"notes.txt\0" + content), (2, None), *((n, name + b"\0" + content) for n, name in enumerate(names, 3))]
    rows.append((9, content))
    sql = "bytea" if lab.source_server.kind == "postgresql" else "longblob"
    thing = declare(lab, {"k": oracle.INTEGER, "file": Type(sql, "bytes", (), "<attach>")}, rows, ["k"])
    if long and lab.source_server.kind != "postgresql":
        lab.source_server.sql(f"ANALYZE TABLE `{lab.source_schema}`.thing")
    for error in check_refused(lab, thing, len(rows), len(names) + 1):
        assert "file: the file name in it is none" in error and "Say codecs={'file': 'bytes'}" in error
