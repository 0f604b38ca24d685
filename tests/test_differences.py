"""What `differences` finds is what a comparison of all rows finds, whatever the keys, and with few rows read twice."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import oracle
import pytest
from lab import Lab
from oracle import INTEGER, Type
from pipelines import granted, linked, units
from recorder import Statement

from link.model.ranges import EVERYTHING
from link.model.states import SHARED
from link.servers import grouping
from link.servers.grouping import Grouping
from link.servers.keyed import Keyed
from link.work import comparing, differences
from link.work.comparing import Comparison
from link.work.run import Run


class Shape(NamedTuple):
    """The columns of a key, with values of which every combination is an entity's; how many can be in stretches."""

    columns: tuple[Type, ...]
    values: tuple[tuple[Any, ...], ...]
    stretches: int


def _type(family: str, mysql: str, postgresql: str, kind: str, marker: str = "") -> Type:
    return Type(postgresql if kind == "postgresql" else mysql, family, (), marker)


def shapes(kind: str) -> dict[str, Shape]:
    """Keys of several kinds."""
    big = _type("integer", "bigint", "bigint", kind)
    text = _type("text", "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "varchar(20)", kind)
    day = _type("date", "date", "date", kind)
    uuid = _type("uuid", "binary(16)", "uuid", kind, "uuid")
    code = _type("bytes", "varbinary(4)", "bytea", kind)
    uuids = tuple(f"{n * 0x1357:08x}-0000-4000-8000-{n:012x}" for n in range(7))
    decimal = _type("decimal", "decimal(9,2)", "numeric(9,2)", kind)
    not_a_number = ("NaN",) if kind == "postgresql" else ()
    some = (-(2**63), -(2**63) + 1, -700, -3, 0, 1, 2**40, 2**63 - 2, 2**63 - 1)
    found = {
        "integers": Shape((big, INTEGER), (some, tuple(range(-10, 12))), 2),
        "wide": Shape((big,), (tuple(sorted({*some, *range(-90, 90, 2), *range(10**12, 10**15, 10**13)})),), 1),
        "text": Shape((text, INTEGER), (("Ada", "bob", "it's", "50%", "Žofie", "zz"), tuple(range(-9, 25))), 2),
        "days": Shape((day, INTEGER), (tuple(f"2024-0{m}-1{d}" for m in (2, 3) for d in range(8)), tuple(range(9))), 2),
        "codes": Shape((code, uuid), ((b"", b"\0", b"a'\\", b"\xff%"), uuids), 2),
        "uuid": Shape((uuid,), (tuple(f"{n:08x}-0000-4000-8000-00000000000{n % 9}" for n in range(0, 9000, 77)),), 1),
        "decimals": Shape((decimal,), (tuple(f"{n}.50" for n in range(-60, 60)) + not_a_number,), 0),
    }
    if kind != "postgresql":
        huge = (*range(0, 60, 2), *range(2**63 - 40, 2**63 + 40, 3), *range(2**64 - 50, 2**64))
        found["unsigned"] = Shape((Type("bigint unsigned", "integer", ()),), (huge,), 1)
    return found


def rows_of(shape: Shape, n: int = 0) -> Iterator[tuple[Any, ...]]:
    if n == len(shape.values):
        yield ()
    else:
        yield from ((value, *more) for value in shape.values[n] for more in rows_of(shape, n + 1))


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[Grouping]:
    """Many ranges, groups and looks, of few rows; the groupings that were chosen."""
    for module, name, value in (
        (comparing, "FEW", 40),
        (differences, "SECONDS", 1000),
        (differences, "SAMPLE", 25),
        (differences, "GROUPS", 2),
        (grouping, "FEWEST", 2),
        (grouping, "MOST", 7),
        (grouping, "BUCKETS", 16),
    ):
        monkeypatch.setattr(module, name, value)
    found: list[Grouping] = []

    def noting(*args: Any) -> Grouping:
        found.append(grouping.fitting(*args))
        return found[-1]

    monkeypatch.setattr(differences, "fitting", noting)
    return found


def test_all_that_differs_is_found_and_nothing_else(lab: Lab, chosen: list[Grouping]) -> None:
    for number, (name, shape) in enumerate(shapes(lab.kind).items()):
        chosen.clear()
        check(lab, name, shape, random.Random(number))
        assert all(0 < each.columns <= shape.stretches for each in chosen) and bool(chosen) == bool(shape.stretches)


def check(lab: Lab, name: str, shape: Shape, draw: random.Random) -> None:
    """Edit rows, part rows and holds at either end, some at a time; each time all that differs is found."""
    key = {f"k{n}": column for n, column in enumerate(shape.columns)}
    columns, parts = {**key, "n": INTEGER, "v": INTEGER}, {"i": INTEGER, **key, "n": INTEGER}
    rows: list[tuple[Any, ...]] = [(*values, n, 0) for n, values in enumerate(rows_of(shape))]
    there, here = lab.source_schema, lab.local_schema
    table, part, names = name, f"{name}__part", ", ".join(key)
    oracle.create(lab.source_server, there, table, columns, list(key))
    oracle.create(lab.source_server, there, part, parts, [*key, "i"], table)
    # Entities are not at the beginning of its primary key, and may be spelt in another way.
    former = f"CONSTRAINT {part}_pkey" if lab.kind == "postgresql" else "PRIMARY KEY"
    index = "" if lab.kind == "postgresql" else f"ADD INDEX ({names}), "
    oracle.run(lab.source_server, f"ALTER TABLE {there}.{part} {index}DROP {former}, ADD PRIMARY KEY (i, {names})")
    spelt = [tuple(v.upper() if isinstance(v, str) and v == "bob" else v for v in row) for row in rows]
    spelt = rows if lab.kind == "postgresql" else spelt
    oracle.insert(lab.source_server, there, table, columns, rows)
    oracle.insert(
        lab.source_server, there, part, parts, [(i, *row[:-1]) for row in spelt for i in range(int(row[-2]) % 3)]
    )
    lab.helper_table = f"helper_{name}"
    lab.grant(table)
    Thing = linked(lab, name.title(), backend=lab.source_server.backend)
    Thing.source.pull("MOD(n, 6) <> 0")
    helper = f"{lab.helper_schema}.{lab.helper_table}"

    def edit(n: int, what: int, new: int) -> None:
        server, schema = (lab.source_server, there) if what % 2 else (lab.local_server, here)
        master, its = f"{schema}.{table}", f"{schema}.{part}"
        statements = {
            0: [f"UPDATE {master} SET v = v + 1 WHERE n = {n}"],
            1: [f"DELETE FROM {its} WHERE n = {n}"],
            2: [f"UPDATE {its} SET i = i + {new} WHERE n = {n}"],
            3: [f"INSERT INTO {its} (i, {names}, n) SELECT {new}, {names}, n FROM {master} WHERE n = {n}"],
            4: [f"DELETE FROM {its} WHERE n = {n}", f"DELETE FROM {master} WHERE n = {n}"],
        }
        oracle.run(server, *statements[what // 2])

    with Run(Thing._link.open()) as run:
        assert_found(run)
        for new, whats in enumerate((range(4), range(8), range(9), (0, 1, 6)), 10):
            for n in draw.sample(range(len(rows)), 9):
                edit(n, draw.choice(tuple(whats)), new)
            if 8 in whats:  # from now on there are other rows at either end
                same = " AND ".join(f"t.{each} = {helper}.{each}" for each in key)
                let_go = f"SELECT 1 FROM {there}.{table} t WHERE {same} AND MOD(n, 31) = 7"
                lab.source_server.sql(f"DELETE FROM {helper} WHERE EXISTS ({let_go})")
                oracle.insert(lab.local_server, here, table, columns, rows[12:40:6])
            assert_found(run)


def assert_found(run: Run) -> None:
    """What is found differing, or gone, is what all rows of both ends show."""
    both = Comparison(run)
    shared = set(run.holds.saying(SHARED).keys(run.home))
    theirs, ours = (contents(run, local=local) for local in (False, True))
    gone = shared - {key for key, tables in ours.items() if any(table == 0 for table, _ in tables)}
    differing = {key for key in shared - gone if theirs[key] != ours[key]}
    looked = list(differences.differences(both, within=EVERYTHING))
    assert sorted(key for each in looked for key in each.missing) == sorted(gone)
    assert sorted(key for each in looked for key in each.differing) == sorted(differing)
    assert sum(each.entities for each in looked) == len(shared)


def contents(run: Run, *, local: bool) -> dict[Any, Counter[Any]]:
    """The rows of all tables at one end, by the key of their entity as the source spells it."""
    session, found = run.local if local else run.home, defaultdict[Any, Counter[Any]](Counter)
    spelt: dict[Any, Any] = {}
    for number, pair in enumerate(run.mapping.tables):
        table = pair.here if local else pair.there
        rows = Keyed(session.dialect, table)
        for row in session.query(
            f"SELECT {rows.selected}, {session.dialect.comparable(table, False)} FROM {rows.name}"
        ):
            key = row[: len(rows.key)]
            plain = tuple(value.lower() if isinstance(value, str) else value for value in key)
            found[spelt.setdefault(plain, key)][number, row[len(rows.key) :]] += 1
    return found


def test_a_group_has_some_hundred_rows() -> None:
    """Of whole columns where that can be, else of a column divided; by a hash where there would be too many or few."""
    keys = [(n // 500, n // 100, n % 100) for n in range(1250)]
    assert grouping.fitting(keys, [True, True, True]) == Grouping(2)
    assert grouping.fitting(keys, [False]) == Grouping()  # too many
    assert grouping.fitting([(n,) for n in range(-600, 600)], [True]) == Grouping(1, 256)
    assert grouping.fitting([(f"s{n // 90}", n) for n in range(1250)], [False, True]) == Grouping(1)
    assert grouping.fitting([(f"s{n}", 1) for n in range(1250)], [False, True]) == Grouping()  # too few
    assert grouping.fitting([("s", n * 2**20) for n in range(1250)], [False, True]) == Grouping(2, 2**28)
    # With many part rows to each.
    assert grouping.fitting(keys, [True, True, True], 10.0) == Grouping(3, 32)
    assert grouping.fitting(keys, [True, True, True], 1e5) == Grouping(3)
    assert grouping.fitting([(f"s{n}",) for n in range(9)], [False], 100.0) == Grouping(1)


def test_a_group_that_does_not_find_its_rows_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was summed up must be accounted for: else the range is looked at by its keys."""
    Unit = granted(lab, units(lab, 3000))
    Unit.source.pull()
    lab.local_server.sql(f"UPDATE {lab.local_schema}.unit SET depth = -1 WHERE unit IN (7, 2777, 2999)")
    one, missed = Grouping._one, list[Any]()

    def miss(self: Grouping, rows: Keyed, label: grouping.Label) -> Any:
        missed.append(label)
        sql, args = one(self, rows, label)
        return f"{sql} AND 1 = 0", args

    monkeypatch.setattr(Grouping, "_one", miss)
    assert [key["unit"] for key in Unit.source.verify().differing] == [7, 2777, 2999]
    assert missed


@pytest.mark.parametrize("here_too", [(7,), (7, 2777), ()])
def test_what_is_held_and_at_neither_end(lab: Lab, here_too: tuple[int, ...]) -> None:
    """Rows may go at the source while nobody looks at foreign keys; what is held of them and gone here is missing."""
    Unit = granted(lab, units(lab, 3000))
    Unit.source.pull()
    off, on = ("foreign_key_checks = 0", "foreign_key_checks = 1")
    if lab.kind == "postgresql":
        off, on = (f"session_replication_role = {role}" for role in ("replica", "DEFAULT"))
    gone = f"DELETE FROM {lab.source_schema}.unit WHERE unit IN (7, 2777)"
    oracle.run(lab.source_server, f"SET {off}", gone, f"SET {on}")
    for unit in here_too:
        lab.local_server.sql(f"DELETE FROM {lab.local_schema}.unit WHERE unit = {unit}")
    result = Unit.source.verify()
    assert [key["unit"] for key in result.missing] == list(here_too)
    assert [key["unit"] for key in result.differing] == [unit for unit in (7, 2777) if unit not in here_too]


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
@pytest.mark.parametrize("every", [2, 7, 1000])
def test_text_that_sorts_otherwise_here(
    lab: Lab, every: int, chosen: list[Grouping], statements: list[Statement]
) -> None:
    """Where an entity lies here in no range that it lies in there, it is compared all the same."""
    words = [f"{'aBcD'[n % 4]}{n:03}" for n in range(300)]
    columns = {"word": Type("varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "text", ()), "n": INTEGER}
    oracle.create(lab.source_server, lab.source_schema, "word", columns, ["word"])
    oracle.insert(lab.source_server, lab.source_schema, "word", columns, [(word, 0) for word in words])
    lab.grant("word")
    Word = linked(lab, "Word", backend=lab.source_server.backend)
    Word.source.pull()
    here = f"{lab.local_schema}.word"
    lab.local_server.sql(
        f"ALTER TABLE {here} MODIFY word varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
    )
    assert Word.source.verify().compared == 300 and Word.source.verify()
    edited = words[::every]
    oracle.run(
        lab.source_server, *(f"UPDATE {lab.source_schema}.word SET n = 1 WHERE word = '{word}'" for word in edited)
    )
    assert sorted(key["word"] for key in Word.source.verify().differing) == sorted(edited)
    refreshed = Word.source.refresh()
    assert (refreshed.refreshed, refreshed.equal) == (len(edited), 300 - len(edited)) and not refreshed.skipped
    assert lab.local_server.sql(f"SELECT SUM(n) FROM {here}") == [(len(edited),)] and Word.source.verify()
    lab.local_server.sql(f"DELETE FROM {here} WHERE word IN ('a000', 'B297')")
    assert sorted(key["word"] for key in Word.source.verify().missing) == ["B297", "a000"]


def test_few_rows_are_read_twice(lab: Lab, statements: list[Statement]) -> None:
    """Of a group that differs the index tells where it lies."""
    Unit = granted(lab, units(lab, 9000))
    Unit.source.pull()
    local = f"{lab.local_schema}.unit"
    lab.local_server.sql(f"UPDATE {local} SET depth = -1 WHERE unit = 7777")
    lab.local_server.sql(f"ANALYZE {'' if lab.kind == 'postgresql' else 'TABLE '}{local}")
    statements.clear()
    assert Unit.source.verify().differing == [{"unit": 7777}]
    (again,) = {s.sql for s in statements if s.port == lab.local_server.port and " BETWEEN " in s.sql}
    with closing(lab.local_server.connect_raw()) as connection, connection.cursor() as cursor:
        if lab.kind == "postgresql":
            cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF) {again}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan" not in plan and "Index Cond" in plan and "Rows Removed" not in plan
        else:
            cursor.execute("FLUSH STATUS")
            cursor.execute(again)
            assert 0 < len(cursor.fetchall()) <= 2 * grouping.MOST
            cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
            assert sum(int(number) for _, number in cursor.fetchall()) <= 2 * grouping.MOST + 5
