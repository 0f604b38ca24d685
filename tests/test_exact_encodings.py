"""Databases of PostgreSQL in other encodings than UTF-8: every byte between two of one encoding, else the very text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import datajoint as dj
import oracle
import pipelines
import psycopg2
import pytest
from fleet import TestServer
from lab import Lab
from oracle import Type

from link import DefinitionError, LocalMismatchError, link

#: Of each encoding: texts as its bytes, and such as are in no other encoding (and no characters).
TEXTS: dict[str, tuple[list[bytes], list[bytes]]] = {
    "LATIN1": ([b"a", b"\xe9", b"\x81\xff", b"it's \\ \xa0"], []),
    "WIN1252": ([b"a", b"\x80\x9f", b"\xe9"], [b"\x81", b"a\x8d"]),
    "EUC_JP": ([b"a", b"\xa4\xa2", b"\x8e\xb1", b"\xad\xf0"], [b"\xa9\xa1", b"\x8f\xa2\xa1"]),
    "KOI8R": ([b"a", b"\xc1\xff"], []),
    "SQL_ASCII": ([b"a", "\u3042".encode(), "\u00e9".encode()], [b"\xe9", b"\xed\xa0\x80", b"\xff"]),
}


@dataclass
class Database:
    """A database of an encoding, and a session in it that looks at bytes."""

    server: TestServer
    name: str
    encoding: str

    def run(self, statement: bytes) -> list[Any]:
        connection = psycopg2.connect(
            host=self.server.host, port=self.server.port, user="admin", password="admin", dbname=self.name
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SET client_encoding = 'SQL_ASCII'")
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()


@pytest.fixture
def databases(mixed: Lab, request: pytest.FixtureRequest) -> Iterator[tuple[Database, Database]]:
    """The source's and the local one, each of an encoding."""
    lab, made = mixed, []
    try:
        for server, encoding in zip((lab.source_server, lab.local_server), request.param, strict=True):
            made.append(Database(server, f"{lab.prefix}_db", encoding))
            server.sql(
                f"CREATE DATABASE {lab.prefix}_db TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
            )
        yield made[0], made[1]
    finally:
        for database in made:
            database.server.sql(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)")


def linked(lab: Lab, databases: tuple[Database, Database], words: str, values: list[bytes]) -> Any:
    """The linked class of a table with texts; those in a key as well, if the words say so."""
    there, here = databases
    source, user = lab.source_schema.encode(), lab.link_user.encode()
    there.run(b"CREATE SCHEMA %s; CREATE SCHEMA %s_helper" % (source, source))
    there.run(b"CREATE TABLE %s.thing (n int NOT NULL, v text NOT NULL, %s)" % (source, words.encode()))
    for n, value in enumerate(values):
        quoted = b"E'%s'" % b"".join(b"\\x%02x" % byte for byte in value)
        there.run(b"INSERT INTO %s.thing VALUES (%d, %s)" % (source, n, quoted))
    there.run(
        b"GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT, REFERENCES ON %s.thing TO %s" % (source, user, source, user)
    )
    there.run(b"GRANT USAGE, CREATE ON SCHEMA %s_helper TO %s" % (source, user))
    server = here.server
    local = dj.Instance(
        server.host,
        "admin",
        "admin",
        port=server.port,
        use_tls=False,
        backend="postgresql",
        safemode=False,
        database__name=here.name,
    )
    lab._open.append(local)
    host = f"{there.server.host}:{there.server.port}"
    names = (lab.source_schema, f"{lab.source_schema}_helper", "thing", lab.local_schema)
    options: dict[str, Any] = {"connection": local, "use_tls": False, "backend": "postgresql", "database": there.name}
    return link(host, *names, **options)(type("Thing", (), {}))


def contents(database: Database, schema: str) -> dict[int, bytes]:
    rows = database.run(b"SELECT n, encode(textsend(v), 'hex') FROM %s.thing ORDER BY n" % schema.encode())
    return {n: bytes.fromhex(code) for n, code in rows}


ALIKE = [(encoding, encoding) for encoding in TEXTS]
OTHERS = [(encoding, "UTF8") for encoding in TEXTS] + [("UTF8", encoding) for encoding in ("LATIN1", "SQL_ASCII")]


ONE_KIND = pytest.mark.parametrize("pair", [("postgresql", "postgresql")], ids="-".join, indirect=True)


@ONE_KIND
@pytest.mark.parametrize("databases", ALIKE + OTHERS, ids="-".join, indirect=True)
def test_text(mixed: Lab, databases: tuple[Database, Database]) -> None:
    """What has no equivalent is refused by name; verify sees a change of bytes that are no character."""
    lab, (there, here) = mixed, databases
    held, odd = TEXTS.get(there.encoding, ([b"a", "\u00e9".encode()], ["\u3042".encode()]))
    if here.encoding in (there.encoding, "SQL_ASCII"):
        held, odd = held + odd, []
    Thing = linked(lab, databases, "PRIMARY KEY (n)", [*held, *odd])
    result = Thing.source.pull(suppress_errors=True)
    assert [key["n"] for key, _ in result.errors] == list(range(len(held), len(held) + len(odd)))
    assert result.pulled == len(held)
    arrived = contents(here, lab.local_schema)
    if here.encoding in (there.encoding, "SQL_ASCII"):
        assert list(arrived.values()) == held
    else:
        read = b"SELECT n, encode(convert_to(v, 'UTF8'), 'hex') FROM %s.thing"
        assert sorted(there.run(read % lab.source_schema.encode() + b" WHERE n < %d" % len(held))) == sorted(
            here.run(read % lab.local_schema.encode())
        )
    assert Thing.source.verify()
    assert Thing.source.pull(suppress_errors=True).pulled == 0
    new = held[-1] if there.encoding == here.encoding else b"b"
    quoted = b"E'%s'" % b"".join(b"\\x%02x" % byte for byte in new)
    there.run(b"UPDATE %s.thing SET v = %s WHERE n = 0" % (lab.source_schema.encode(), quoted))
    assert Thing.source.verify().differing == [{"n": 0}]


@ONE_KIND
@pytest.mark.parametrize("databases", [("EUC_JP", "EUC_JP")], ids="-".join, indirect=True)
def test_keys_that_nobody_else_tells_apart(mixed: Lab, databases: tuple[Database, Database]) -> None:
    """In these encodings there are two ways to write a character."""
    Thing = linked(mixed, databases, "PRIMARY KEY (v)", [b"a"])
    with pytest.raises(DefinitionError, match=rf"thing\.v: text in a key, in {databases[0].encoding}"):
        Thing.source.pull()


@ONE_KIND
@pytest.mark.parametrize("databases", [("UTF8", "EUC_JP")], ids="-".join, indirect=True)
def test_local_databases_that_keep_other_characters(mixed: Lab, databases: tuple[Database, Database]) -> None:
    Thing = linked(mixed, databases, "PRIMARY KEY (n)", ["\u00a6".encode()])
    with pytest.raises(LocalMismatchError, match=r"thing\.v .*EUC_JP"):
        Thing.source.pull()
    assert contents(databases[1], mixed.local_schema) == {}


@pytest.mark.parametrize("pair", [("mysql", "postgresql")], ids="-".join, indirect=True)
def test_keys_that_a_local_database_has_no_characters_for(mixed: Lab) -> None:
    """Refused by name, and let go of; the others are found again."""
    lab, server, name = mixed, mixed.local_server, f"{mixed.prefix}_db"
    columns = {"k": Type("varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "text", ())}
    oracle.create(lab.source_server, lab.source_schema, "thing", columns, ["k"])
    oracle.insert(lab.source_server, lab.source_schema, "thing", columns, [("a",), ("\u00e9",), ("\u3042",), ("z",)])
    lab.grant("thing")
    server.sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        local = dj.Instance(
            *(server.host, "admin", "admin"),
            port=server.port,
            use_tls=False,
            backend="postgresql",
            safemode=False,
            database__name=name,
        )
        lab._open.append(local)
        Thing: Any = pipelines.linked(lab, "Thing", connection=local, backend="mysql")
        result = Thing.source.pull(suppress_errors=True)
        assert [key for key, _ in result.errors] == [{"k": "\u3042"}]
        assert Thing.source.status()["Shared"] == result.pulled == 3
        assert Thing.source.verify()
        assert Thing.source.pull(suppress_errors=True).pulled == 0
        assert Thing.delete(prompt=False) == 3
        assert pipelines.count_held(lab) == 0
    finally:
        server.sql(f"DROP DATABASE {name} WITH (FORCE)")
