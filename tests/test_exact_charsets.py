"""Text in every character set of MySQL and MariaDB: every string of bytes that a column takes, in rows and in keys.

Which they are the source says itself. Many are of no character, or of one that has others: their way through UTF-8 and
back would end elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from figures import SOAK, Figures
from fleet import TestServer
from lab import Lab
from oracle import run, string
from pipelines import count_held, linked

from link import LocalMismatchError
from link.model.keys import MARK
from link.model.ranges import ALL
from link.servers.keyed import Segment
from link.work import claims, comparing
from link.work.comparing import Comparison
from link.work.run import Run

FLAVOURS = ("mysql", "mariadb")
ALIKE = [(kind, kind) for kind in FLAVOURS]
#: Strings of bytes of a character set, beside those of one byte, and rows of keys.
DRAWN, ROWS = (4000, 2000) if SOAK else (60, 60)


def charsets(server: TestServer) -> dict[str, str]:
    """The character sets of a server, each with its binary collation."""
    rows = server.sql("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS ORDER BY 1")
    return {name: f"{name}_bin" for name, _ in rows if name != "binary"}


def candidates(seed: str) -> list[bytes]:
    """Strings of bytes, of which some are text: all of one byte, and of every length that a character has."""
    chance = random.Random(seed)
    single = [bytes([n]) for n in range(256)]
    double = [bytes([chance.choice((0x5C, 0x81, 0x87, 0xA1, 0xD8, chance.randrange(256))), n]) for n in range(256)]
    halves = [
        bytes([0, 0, 0xD8, 1]),
        b"\xed\xa0\x80",
        b"\xd8\x00",
        b"\xed\xbf\xbf",
        b"\x00\x00\xdf\xff",
        b"\xed\x95\x9c",
    ]
    shapes = chance.choices(_SHAPES, k=10 * DRAWN)
    found = [bytes(chance.randrange(*limits) for limits in shape) for shape in shapes]
    return list(dict.fromkeys([b"", b"ab", b"a b", *single, *double, *halves, *found]))


_HIGH, _ANY = (0x80, 256), (0, 256)
_SHAPES = (
    *(
        [_HIGH, _ANY],
        [_HIGH, _HIGH],
        [(0x8E, 0x90), (0xA0, 256), (0xA0, 256)],
        [(0xE0, 0xF0), (0x80, 0xC0), (0x80, 0xC0)],
    ),
    *([(0x81, 0xFF), (0x30, 0x3A), (0x81, 0xFF), (0x30, 0x3A)], [(0xD8, 0xDC), _ANY, (0xDC, 0xE0), _ANY]),
    *([(0, 1), (0, 0x11), _ANY, _ANY], [_ANY, (0xD8, 0xDC), _ANY, (0xDC, 0xE0)]),
    [(0xF0, 0xF5), (0x80, 0xC0), (0x80, 0xC0), (0x80, 0xC0)],
)


@dataclass(frozen=True)
class Storable:
    """Strings of bytes that a column of a character set takes as they are: those that UTF-8 changes, and others."""

    lossy: list[bytes]
    exact: list[bytes]

    def some(self, number: int) -> list[bytes]:
        """So many, in an order that is no order; half of them lossy, if there are as many."""
        found = self.lossy[: number // 2] + self.exact
        return random.Random(1).sample(found[:number], min(number, len(found)))


_KNOWN: dict[tuple[int, str], Storable] = {}


def storable(server: TestServer, schema: str, charset: str) -> Storable:
    """What the server says itself of a character set."""
    if (server.port, charset) not in _KNOWN:
        _KNOWN[server.port, charset] = _ask(server, f"{schema}.probe", charset)
    return _KNOWN[server.port, charset]


def _ask(server: TestServer, name: str, charset: str) -> Storable:
    codes = ", ".join(f"({n}, x'{value.hex()}')" for n, value in enumerate(candidates(charset)))
    run(
        server,
        f"CREATE TABLE {name} (n int PRIMARY KEY, b varbinary(8), t varchar(8) CHARACTER SET {charset})",
        f"INSERT INTO {name} (n, b) VALUES {codes}",
        "SET sql_mode = ''",
        f"UPDATE IGNORE {name} SET t = b",
    )
    again = f"CAST(CONVERT(CONVERT(t USING utf8mb4) USING {charset}) AS BINARY)"
    # A blank at the end is lost in CHAR.
    rows = server.sql(
        f"SELECT b, {again} <=> b FROM {name} WHERE CAST(t AS BINARY) = b AND RIGHT(HEX(b), 2) <> '20' ORDER BY n"
    )
    run(server, f"DROP TABLE {name}")
    chance = random.Random(charset)
    found = {exact: [bytes(value) for value, is_exact in rows if is_exact == exact] for exact in (0, 1)}
    return Storable(*(chance.sample(values, len(values)) for values in found.values()))


def create(lab: Lab, table: str, columns: dict[str, str], key: Sequence[str], rows: Iterable[Sequence[bytes]]) -> None:
    """A table whose columns after `n` are text, filled with bytes; of equal keys the first."""
    names = ", ".join(["n", *columns])
    values = ", ".join(
        f"({', '.join([str(n), *(f'''x'{value.hex()}' ''' for value in row)])})" for n, row in enumerate(rows)
    )
    run(
        lab.source_server,
        f"CREATE TABLE {lab.source_schema}.{table} (n int NOT NULL, "
        f"{', '.join(f'{name} {words} NOT NULL' for name, words in columns.items())}, PRIMARY KEY ({', '.join(key)}))",
        "SET sql_mode = ''",
        *([f"INSERT IGNORE INTO {lab.source_schema}.{table} ({names}) VALUES {values}"] if values else []),
    )
    lab.helper_table = f"helper_{table}"
    lab.grant(table)


def stored(server: TestServer, schema: str, table: str, columns: Iterable[str]) -> list[tuple[str, ...]]:
    """The bytes of some columns, of all rows."""
    fields = ", ".join(f"HEX(CAST({column} AS BINARY))" for column in columns)
    return sorted(server.sql(f"SELECT {fields} FROM {schema}.{table}"))


def states(linked_class: Any) -> dict[str, int]:
    return {state: n for state, n in linked_class.source.status().items() if n}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 7)
    monkeypatch.setattr(claims, "CHUNK_ROWS", 20)
    monkeypatch.setattr(comparing, "FEW", 50)


@pytest.mark.parametrize("pair", ALIKE, ids="-".join, indirect=True)
def test_rows(mixed: Lab, figures: Figures) -> None:
    """All bytes of all character sets arrive, and a single one that is changed is seen, whichever it is."""
    lab = mixed
    server, schema = lab.source_server, lab.source_schema
    columns, values = {}, {}
    for name in charsets(server):
        known = storable(server, schema, name)
        for letter, words in {"v": "varchar(6)", "c": "char(4)", "t": "text"}.items():
            columns[f"{letter}_{name}"] = f"{words} CHARACTER SET {name}"
            values[f"{letter}_{name}"] = known.lossy[: 2 * DRAWN] + known.exact[: 2 * DRAWN]
    number = max(map(len, values.values()))
    rows = [[value[(n + p) % len(value)] for p, value in enumerate(values.values())] for n in range(number)]
    create(lab, "thing", columns, ["n"], rows)
    Thing = linked(lab, "Thing", backend=server.backend)
    assert Thing.source.pull().pulled == number
    there, here = (server, schema, "thing"), (lab.local_server, lab.local_schema, "thing")
    assert stored(*here, ["n", *columns]) == stored(*there, ["n", *columns])
    assert Thing.source.verify()
    figures.add("strings of bytes in a character set", lab.kind, number * len(columns))

    changed = []
    for n, (column, known_values) in enumerate(values.items()):
        old, new = rows[n % number][n], known_values[(n + n + 1) % len(known_values)]
        if old != new and n < number:
            where, place = here[:2] if n % 2 else there[:2]
            run(where, f"UPDATE {place}.thing SET {column} = x'{new.hex()}' WHERE n = {n}")
            changed.append(n)
    assert [key["n"] for key in Thing.source.verify().differing] == changed


@pytest.mark.parametrize("pair", ALIKE, ids="-".join, indirect=True)
def test_long_rows(mixed: Lab) -> None:
    """Long text travels beside its row; nothing but backslashes takes more than a packet as a literal."""
    lab = mixed
    server, schema = lab.source_server, lab.source_schema
    names = ("cp932", "sjis", "ucs2", "latin1", "ascii", "gbk", "utf8mb3")
    columns = {f"t_{name}": f"longtext CHARACTER SET {name}" for name in names}
    rows = [[b"".join(storable(server, schema, name).some(40)[k:]) * 90 for name in names] for k in range(8)] + [
        [bytes([0x5C]) * 600_000] * len(names)
    ]
    create(lab, "thing", columns, ["n"], rows)
    server.sql(f"ANALYZE TABLE {schema}.thing")
    Thing = linked(lab, "Thing", backend=server.backend)
    assert Thing.source.pull().pulled == len(rows)
    digests = [f"SHA2({column}, 256)" for column in columns]
    here, there = (
        sorted(where.sql(f"SELECT n, {', '.join(digests)} FROM {place}.thing"))
        for where, place in ((lab.local_server, lab.local_schema), (server, schema))
    )
    assert here == there
    assert Thing.source.verify()
    run(server, f"UPDATE {schema}.thing SET t_cp932 = CONCAT(LEFT(t_cp932, 200), _cp932 x'81AD') WHERE n = 3")
    run(lab.local_server, f"UPDATE {lab.local_schema}.thing SET t_latin1 = CONCAT(t_latin1, ' ') WHERE n = 8")
    assert Thing.source.verify().differing == [{"n": 3}, {"n": 8}]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("pair", ALIKE, ids="-".join, indirect=True)
@pytest.mark.parametrize("collated", [True, False], ids=["binary", "default"])
def test_keys(mixed: Lab, collated: bool, figures: Figures) -> None:
    """Keys of all bytes are found again, each once, under a collation that tells them apart and under the usual one."""
    lab = mixed
    server, schema = lab.source_server, lab.source_schema
    known = charsets(server)
    values = {name: storable(server, schema, name).some(ROWS) for name in known}
    names = list(values)
    # Each comes first in a key once in a soak, and once in a while otherwise.
    width = 1 if SOAK else 7
    for number, chosen in enumerate(names[n : n + width] for n in range(0, len(names), width)):
        columns = {
            f"k_{name}": f"varchar(4) CHARACTER SET {name}{f' COLLATE {known[name]}' if collated else ''}"
            for name in chosen
        }
        rows = [[values[name][(n * (p + 1)) % len(values[name])] for p, name in enumerate(chosen)] for n in range(ROWS)]
        create(lab, f"thing{number}", columns, list(columns), rows)
        check_keys(lab, f"Thing{number}", list(columns))
        figures.add("keys of any bytes", lab.kind, len(chosen) * len(rows))


def check_keys(lab: Lab, name: str, key: list[str]) -> None:
    there = stored(lab.source_server, lab.source_schema, name.lower(), [*key, "n"])
    Thing = linked(lab, name, backend=lab.source_server.backend)
    assert Thing.source.pull().pulled == len(there)
    assert stored(lab.local_server, lab.local_schema, name.lower(), [*key, "n"]) == there
    assert states(Thing) == {"Shared": len(there)}
    assert Thing.source.pull().pulled == 0
    assert Thing.source.verify().compared == len(there)
    with Run(Thing._link.open()) as run_:
        everything, both = Segment(run_.rows).keys(run_.local), Comparison(run_)
        assert len(set(everything)) == len(there)
        assert both.present(everything) == set(everything)
        assert both.differing(everything) == []
        assert not both.may_differ(ALL, 0)
    helper = f"{lab.helper_schema}.{lab.helper_table}"
    run(lab.source_server, f"UPDATE {helper} SET is_flagged = 'TRUE' ORDER BY {key[0]} LIMIT 5")
    run(lab.local_server, f"DELETE FROM {lab.local_schema}.{name.lower()} ORDER BY {key[0]} DESC LIMIT 5")
    assert states(Thing) == {"Shared": len(there) - 10, "Vanished": 5, "Tainted": 5}
    assert Thing.source.pull().pulled == 5
    assert Thing.delete(prompt=False) == len(there)
    assert count_held(lab) == 5
    assert states(Thing) == {"Unshared": len(there) - 5, "Deprecated": 5}


ELSEWHERE = [("mysql", "mariadb"), ("mariadb", "mysql"), ("mysql", "postgresql"), ("mariadb", "postgresql")]


@pytest.mark.parametrize("pair", ELSEWHERE, ids="-".join, indirect=True)
def test_elsewhere(mixed: Lab) -> None:
    """A server that cannot hold the bytes gets the very text, or refuses the row by name: it never holds another."""
    lab = mixed
    server, schema = lab.source_server, lab.source_schema
    names = charsets(server)
    columns = {f"c_{name}": f"varchar(6) CHARACTER SET {name} COLLATE {collation}" for name, collation in names.items()}
    known = {name: storable(server, schema, name) for name in names}
    cells = [(name, value) for name in names for value in known[name].lossy[:3] + known[name].exact[:5]]
    rows = [[value if name == other else b"" for other in names] for name, value in cells]
    create(lab, "thing", columns, ["n"], rows)
    Thing = linked(lab, "Thing", backend=server.backend)
    result = Thing.source.pull(suppress_errors=True)
    refused = {key["n"]: str(error) for key, error in result.errors}
    there = lab.local_kind == "postgresql"
    converted = ", ".join(f"CONVERT({column} USING utf8mb4)" for column in columns)
    charsets_there = {} if there else charsets(lab.local_server)
    texts = dict(server.sql(f"SELECT n, HEX(CONCAT({converted})) FROM {schema}.thing"))
    for n, (name, value) in enumerate(cells):
        if n in refused:
            assert f"'n': {n}" in refused[n] and f"c_{name}" in refused[n]
            assert value in known[name].lossy or "NUL" in refused[n] or is_half(texts[n])
        else:
            assert value not in known[name].lossy or name in charsets_there
    if there:
        read = ", ".join(f"encode(convert_to({column}, 'UTF8'), 'hex')" for column in columns)
        for n, *found in lab.local_server.sql(f"SELECT n, {read} FROM {lab.local_schema}.thing"):
            assert "".join(found).upper() == texts[n]
    else:
        arrived = [n for n in range(len(cells)) if n not in refused]
        both = names.keys() & charsets_there.keys()
        kept = ["n", *(f"c_{name}" for name in sorted(both))]
        here = stored(lab.local_server, lab.local_schema, "thing", kept)
        assert here == [row for row in stored(server, schema, "thing", kept) if int(bytes.fromhex(row[0])) in arrived]
    assert states(Thing) == {"Shared": len(cells) - len(refused), "Unshared": len(refused)}
    assert count_held(lab) == len(cells) - len(refused)
    assert Thing.source.verify()


def is_half(code: str) -> bool:
    """Whether a text in hexadecimal has half a character, which is no UTF-8."""
    return "\ud800" <= max(bytes.fromhex(code).decode("utf-8", "surrogatepass"), default="") <= "\udfff"


def key_table(lab: Lab, words: str, values: Sequence[bytes]) -> Any:
    """The linked class of a table with a part, with such a key."""
    create(lab, "thing", {"k": words}, ["k"], [[value] for value in values])
    part = f"{lab.source_schema}.thing__part"
    run(
        lab.source_server,
        f"CREATE TABLE {part} (k {words} NOT NULL, i int NOT NULL, PRIMARY KEY (k, i), "
        f"FOREIGN KEY (k) REFERENCES {lab.source_schema}.thing (k))",
        f"INSERT INTO {part} SELECT k, n FROM {lab.source_schema}.thing",
    )
    lab.grant("thing")
    return linked(lab, "Thing", backend=lab.source_server.backend)


#: Of each: what a server of another kind can hold, and what it cannot.
TRAVELLING = {
    "cp932": ([b"a", b"\x83\x5c", b"z"], [b"\x81\xad", b"\x87\x90", b"\xed\x40"]),
    "sjis": ([b"a", b"\x83\x5c"], [b"\x5c", b"a\x5c"]),
    "ucs2": ([b"\0a", b"\x30\x42"], [b"\xd8\x00", b"\xdf\xff\0a"]),
    "swe7": ([b"a", b"[]"], [b"\xff", b"a\x80"]),
    "tis620": ([b"a", b"\xa1"], [b"\xa0", b"\xdb"]),
}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("pair", ELSEWHERE[2:], ids="-".join, indirect=True)
@pytest.mark.parametrize("charset", [*TRAVELLING, "utf8mb4"] if SOAK else ["cp932", "ucs2", "utf8mb4"])
def test_keys_elsewhere(mixed: Lab, charset: str) -> None:
    """Keys that the other kind of server cannot even be asked for: refused, and let go of; the pull ends."""
    lab = mixed
    held, refused = TRAVELLING.get(charset, ([b"a", "\u3042".encode(), "\uffff".encode()], [b"\0", b"a\0b"]))
    if charset == "utf8mb4" and lab.kind == "mariadb":
        refused = [*refused, b"\xed\xa0\x80", b"a\xed\xbf\xbf"]
    Thing = key_table(lab, f"varchar(6) CHARACTER SET {charset} COLLATE {charset}_bin", [*held, *refused])
    result = Thing.source.pull(suppress_errors=True)
    assert (result.pulled, len(result.errors)) == (len(held), len(refused))
    assert all("thing" in str(error) for _, error in result.errors)
    assert states(Thing) == {"Shared": len(held), "Unshared": len(refused)}
    assert count_held(lab) == len(held)
    assert Thing.source.verify().compared == len(held)
    assert Thing.source.pull(suppress_errors=True).pulled == 0
    assert Thing.delete(prompt=False) == len(held)
    assert count_held(lab) == 0


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("pair", [*ALIKE, *ELSEWHERE[1:3]], ids="-".join, indirect=True)
@pytest.mark.parametrize("charset", ["cp932", "utf8mb4"])
def test_labels(mixed: Lab, charset: str) -> None:
    """Labels that differ in case alone, in a key and elsewhere; each row has the one that it had."""
    lab = mixed
    labels = ["a", "A", "b'\\", "\u00e9", "e"] if charset != "cp932" else ["a", "A", "\u80fd", "\uff5e", "\u2225", "-"]
    words = (
        f"enum({', '.join(string(lab.kind, label) for label in labels)}) CHARACTER SET {charset} COLLATE {charset}_bin"
    )
    columns = {"k": words, "v": words}
    create(lab, "thing", columns, ["k"], [])
    numbers = range(1, len(labels) + 1)
    run(
        lab.source_server,
        *(f"INSERT INTO {lab.source_schema}.thing VALUES ({n}, {n}, {len(labels) + 1 - n})" for n in numbers),
    )
    Thing = linked(lab, "Thing", backend=lab.source_server.backend)
    assert Thing.source.pull().pulled == len(labels)
    if lab.local_kind == "postgresql":
        rows = lab.local_server.sql(f"SELECT n, k::text, v::text FROM {lab.local_schema}.thing ORDER BY n")
        assert rows == [(n, labels[n - 1], labels[-n]) for n in numbers]
    else:
        for server, schema in ((lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema)):
            found = server.sql(f"SELECT n, k+0, v+0 FROM {schema}.thing ORDER BY n")
            assert [tuple(map(int, row)) for row in found] == [(n, n, len(labels) + 1 - n) for n in numbers]
    assert states(Thing) == {"Shared": len(labels)}
    assert Thing.source.verify()
    assert Thing.source.pull().pulled == 0
    assert Thing.delete(prompt=False) == len(labels)


@pytest.mark.parametrize("pair", ALIKE, ids="-".join, indirect=True)
def test_keys_of_bytes_restrict(mixed: Lab) -> None:
    """What is told of an entity whose key UTF-8 does not have selects it, and it alone."""
    lab = mixed
    words = "varchar(6) CHARACTER SET cp932 COLLATE cp932_bin"
    Thing = key_table(lab, words, [b"a", *TRAVELLING["cp932"][1]])
    assert Thing.source.pull().pulled == 4
    run(lab.source_server, f"UPDATE {lab.source_schema}.thing SET n = n + 10 WHERE k = _cp932 x'8790'")
    differing = Thing.source.verify().differing
    assert differing == [{"k": b"\x87\x90"}]
    assert (Thing & differing).delete(prompt=False) == 1
    assert states(Thing) == {"Shared": 3, "Unshared": 1}
    assert Thing.source.pull().pulled == 1
    assert Thing.source.verify()


@pytest.mark.parametrize("pair", [*ALIKE, *ELSEWHERE], ids="-".join, indirect=True)
def test_keys_that_begin_as_the_mark_does(mixed: Lab) -> None:
    """What anybody may write behind the mark is no SQL, and no bytes: the text is just itself."""
    lab = mixed
    texts = [f"{MARK}{rest}" for rest in ("", "4", "zz", "4142 ", "41' OR '1'='1", "41'; DROP TABLE thing; -- ")]
    words = "varchar(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    others = [b"A", *[b"\xed\xa0\x80"] * (lab.kind == lab.local_kind == "mariadb")]  # its keys have the mark
    Thing = key_table(lab, words, [*others, *(text.encode() for text in texts)])
    assert Thing.source.pull().pulled == len(others) + 6
    assert states(Thing) == {"Shared": len(others) + 6}
    with Run(Thing._link.open()) as run_:
        everything = Segment(run_.rows).keys(run_.local)
        assert len(everything) == len(others) + 6
        assert Comparison(run_).present(everything) == set(everything)
    run(lab.source_server, f"UPDATE {lab.source_schema}.thing SET n = n + 10 WHERE LENGTH(k) > 3")
    differing = Thing.source.verify().differing
    assert {key["k"] for key in differing} == set(texts)
    for key in differing:
        assert Thing.source.refresh(key).refreshed == 1
        assert (Thing & key).delete(prompt=False) == 1
    assert states(Thing) == {"Shared": len(others), "Unshared": 6}
    assert Thing.source.pull().pulled == 6
    assert Thing.source.verify()


#: Defaults, and whether UTF-8 has them.
DEFAULTS = {
    "cp932": {b"\x81\xad": False, b"\x87\x90": False, b"\x94\x5c": True, b"what?": True},
    "sjis": {b"\x5c": False, b"\x83\x5c": True},
    "swe7": {b"[\xff": False, b"[]": True},
    "tis620": {b"\xa0": False, b"\xa1": True},
}


@pytest.mark.parametrize("pair", [*ALIKE, *ELSEWHERE], ids="-".join, indirect=True)
def test_defaults(mixed: Lab) -> None:
    """The very default, or none where the other server cannot have it."""
    lab = mixed
    cells = [(charset, *item) for charset, values in DEFAULTS.items() for item in values.items()]
    columns = {
        f"c{n}": f"varchar(9) CHARACTER SET {charset} DEFAULT _{charset} x'{value.hex()}'"
        for n, (charset, value, _) in enumerate(cells)
    }
    lines = ", ".join(f"{name} {words}" for name, words in columns.items())
    run(
        lab.source_server,
        f"CREATE TABLE {lab.source_schema}.thing (n int NOT NULL PRIMARY KEY, {lines})",
        f"INSERT INTO {lab.source_schema}.thing (n) VALUES (1)",
    )
    lab.grant("thing")
    Thing = linked(lab, "Thing", backend=lab.source_server.backend)
    Thing.source.pull("n = 0")
    run(lab.local_server, f"INSERT INTO {lab.local_schema}.thing (n) VALUES (1)")
    if lab.local_kind != "postgresql":
        where = ((lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema))
        there, here = (stored(server, schema, "thing", columns) for server, schema in where)
        assert here == there
        return
    read = ", ".join(f"encode(convert_to({column}, 'UTF8'), 'hex')" for column in columns)
    converted = ", ".join(f"LOWER(HEX(CONVERT({column} USING utf8mb4)))" for column in columns)
    (found,) = lab.local_server.sql(f"SELECT {read} FROM {lab.local_schema}.thing")
    (known,) = lab.source_server.sql(f"SELECT {converted} FROM {lab.source_schema}.thing")
    assert list(found) == [text if exact else None for text, (_, _, exact) in zip(known, cells, strict=True)]


@pytest.mark.parametrize("pair", [("mysql", "mysql"), ("mariadb", "mysql")], ids="-".join, indirect=True)
@pytest.mark.parametrize("charset", ["cp932", "tis620"])
def test_local_columns_that_keep_other_characters(mixed: Lab, charset: str) -> None:
    """A server puts a character for one that its character set lacks, also in strict mode: such a table is refused."""
    lab = mixed
    create(lab, "thing", {"v": "varchar(9) CHARACTER SET utf8mb4"}, ["n"], [["\u6661".encode()]])
    with lab.local_server.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {lab.local_schema}")
        columns = f"n int NOT NULL PRIMARY KEY, v varchar(9) CHARACTER SET {charset} NOT NULL"
        cursor.execute(f"CREATE TABLE {lab.local_schema}.thing ({columns})")
    with pytest.raises(LocalMismatchError, match=rf"thing\.v .*{charset}.*utf8mb4"):
        linked(lab, "Thing", backend=lab.source_server.backend).source.pull()
