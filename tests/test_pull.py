"""Pulling: every row of the selection arrives with its parts, whatever the key, the tier and the restriction."""

from __future__ import annotations

import logging
from typing import Any

import datajoint as dj
import pytest
from fleet import TestServer
from lab import Lab
from pipelines import (
    assert_same,
    count_held,
    declare,
    ephys,
    everything,
    flag,
    granted,
    helper_rows,
    rows,
    run_sql,
    sessions,
    units,
)
from recorder import Statement

from link import PullResult, State
from link.errors import ConfigError, LinkError
from link.work import claims


def test_pull_counts(lab: Lab) -> None:
    Session = granted(lab, sessions(lab, 50, trials=3))
    result = Session().source.pull()
    assert (result.pulled, result.shared, result.part_rows, result.skipped) == (50, 0, 150, {})
    assert result.bytes > 150 and result.seconds > 0 and not result.errors and not result.differing
    assert repr(result).startswith("pulled 50, already shared 0, part rows 150, ") and "\n" not in repr(result)
    assert (len(Session()), len(Session.Trial())) == (50, 150)
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")] * 50
    assert_same(lab, Session, "trial")
    again = Session.source.pull()
    assert isinstance(again, PullResult)
    assert (again.pulled, again.shared, again.part_rows, again.bytes) == (0, 50, 0, 0)
    assert dict(Session.source.status()) == {state.value: 50 * (state is State.SHARED) for state in State}


def test_log(lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a chunk, one a run, and no credentials."""
    for name in ("FIRST_CHUNK_ROWS", "CHUNK_ROWS"):
        monkeypatch.setattr(claims, name, 4)
    Unit = granted(lab, units(lab, 10))
    Unit()
    with caplog.at_level(logging.DEBUG, "link"):
        Unit.source.pull()
        (Unit & "unit < 3").delete(prompt=False)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "link"]
    assert [level for level, _ in lines] == ["DEBUG"] * 4 + ["INFO"]
    assert all("4 copied, 4 finished" in line for _, line in lines[:2]) and "2 copied, 2 finished" in lines[2][1]
    assert lines[3][1].startswith("Unit: pulled 10,") and lines[4][1].startswith("Unit: deleted 3 ")
    assert lab.link_password not in caplog.text and lab.local_password not in caplog.text


def test_nothing_to_pull(lab: Lab) -> None:
    Unit = granted(lab, units(lab))
    assert (Unit().source.pull().pulled, len(Unit()), len(Unit().source)) == (0, 0, 0)
    assert Unit().source.flagged.keys() == []
    assert Unit().source.status()[State.UNSHARED] == 0
    assert Unit().delete(prompt=False) == 0


def test_rows_added_later(lab: Lab) -> None:
    table = sessions(lab, 5)
    Session = granted(lab, table)
    Session.source.pull()
    table.insert1({"subject": -1, "session": 0})
    table.insert1({"subject": 99, "session": 0, "note": "last"})
    result = Session.source.pull()
    assert (result.pulled, result.shared, result.part_rows) == (2, 5, 0)
    assert_same(lab, table, "trial")


# keys

KEYS: dict[str, tuple[str, list[str]]] = {
    "integer": ("a: int64", ["-9223372036854775808", "-1", "0", "7", "9223372036854775807"]),
    "small": ("a: int8", ["-128", "0", "5", "127"]),
    "varchar": (
        "a: varchar(40)",
        ["'b'", "'a'", "'B c'", "'it''s'", "'say \"so\"'", "'50%'", "'%s %(x)s'", "'a_b'", "''", "'caf\u00e9'"],
    ),
    "characters": ("a: varchar(40)", ["'\u03bc'", "'\u8111'", "'\U0001f9e0'", "'a\U0001f9e0b'", "'na\u00efve'"]),
    "char": ("a: char(6)", ["'a'", "'abc'", "'abcdef'", "'x y'"]),
    "mixed": (
        "a: varchar(8)\nb: int32\nc: date",
        ["'x', 2, '2020-01-01'", "'x', 1, '2021-01-01'", "'x', 1, '2020-01-01'", "'a', 9, '1999-12-31'"],
    ),
    "date": ("a: date", ["'1000-01-01'", "'2024-02-29'", "'9999-12-31'"]),
    "datetime": ("a: datetime(6)", ["'2024-03-31 02:30:00.000001'", "'2024-03-31 02:30:00'", "'1970-01-01'"]),
    "decimal": ("a: decimal(12,4)", ["-99999999.9999", "-0.0001", "0", "1.5", "99999999.9999"]),
    "bool": ("a: bool\nb: int16", ["true, 1", "false, 1", "false, 2", "true, 2"]),
    "enum": ("a: enum('low','m (b)','high or so','A')", ["'high or so'", "'low'", "'A'", "'m (b)'"]),
    "enum and integer": ("a: enum('z','m','a')\nb: int32", ["'a', 1", "'z', 2", "'m', 1", "'z', 1", "'a', 2"]),
    "five": (
        "a: int32\nb: int32\nc: int32\nd: int32\ne: varchar(3)",
        ["1, 1, 1, 1, 'a'", "1, 1, 1, 2, 'a'", "1, 1, 2, 0, 'b'", "0, 9, 9, 9, 'c'", "1, 1, 1, 1, 'b'"],
    ),
}


@pytest.mark.parametrize("key", KEYS)
def test_keys(lab: Lab, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    definition, values = KEYS[key]
    table = keyed(lab, definition)
    names = [line.split(":")[0] for line in definition.split("\n")]
    fill_keyed(lab, table, values)
    check_key(lab, table, names, values, monkeypatch)


def test_keys_with_backslashes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    table = keyed(lab, "a: varchar(40)")
    values = ["\\", "a\\b", "\\'", "C:\\n%", '"\\"', "{\\x}"]
    table.insert({"a": value, "value": n} for n, value in enumerate(values))
    check_key(lab, table, ["a"], values, monkeypatch)


def test_keys_of_bytes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    # DataJoint declares binary keys of one kind only.
    table = keyed(lab, "a: uuid")
    hexadecimal = ["00" * 16, "27" * 16, "5c" * 16, "ff" * 16, "000102030405060708090a0b0c0d0e0f"]
    literal = "'{}'" if lab.kind == "postgresql" else "x'{}'"
    values = [literal.format(digits) for digits in hexadecimal]
    fill_keyed(lab, table, values)
    check_key(lab, table, ["a"], values, monkeypatch)


def keyed(lab: Lab, definition: str) -> Any:
    """A table with this primary key and one part."""
    if lab.kind != "postgresql":
        lab.source_server.sql(f"ALTER SCHEMA {lab.source_schema} CHARACTER SET utf8mb4")

    key = definition

    class Keyed(dj.Manual):
        definition = f"{key}\n---\nvalue=3: int32"

        class Part(dj.Part):
            definition = "-> master\npart: int32"

    return declare(lab, Keyed)


def fill_keyed(lab: Lab, table: Any, values: list[str]) -> None:
    run_sql(
        lab.source_server,
        (f"INSERT INTO {table.full_table_name} VALUES ({key}, {n})" for n, key in enumerate(values)),
    )


def check_key(
    lab: Lab,
    table: Any,
    names: list[str],
    values: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every operation, in chunks of two entities, finds just the entities that it should."""
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 2)
    monkeypatch.setattr(claims, "CHUNK_ROWS", 2)
    key, number = ", ".join(names), len(values)
    parts = f"INSERT INTO {table.Part.full_table_name} SELECT {key}, 0 FROM {table.full_table_name}"
    lab.source_server.sql(parts)
    Keyed = granted(lab, table)
    assert Keyed.source.pull().pulled == number
    assert_same(lab, table, "part")
    # One flagged, one gone behind our back, one without its hold: each is told from the others by its key.
    first, second, third = rows(lab.source_server, table.full_table_name, f"{key}, value")[:3]
    flag(lab, f"EXISTS ({same_key(table, names, first)})")
    lab.local_server.sql(f"DELETE FROM {Keyed.Part.full_table_name}")
    lab.local_server.sql(f"DELETE FROM {Keyed.full_table_name} WHERE value = {second[-1]}")
    lab.source_server.sql(
        f"DELETE FROM {lab.helper_schema}.{lab.helper_table} WHERE EXISTS ({same_key(table, names, third)})"
    )
    status = Keyed.source.status()
    assert (status[State.TAINTED], status[State.VANISHED], status[State.UNHELD]) == (1, 1, 1)
    assert status[State.SHARED] == number - 3
    result = Keyed.source.pull()
    assert (result.pulled, sum(result.skipped.values()), len(result.differing)) == (1, 1, 1)
    assert (Keyed & Keyed.source.flagged).fetch1("value") == first[-1]
    assert Keyed.delete(prompt=False) == number
    assert helper_rows(lab) == [("NONE", "TRUE", "TRUE")]


def same_key(table: Any, names: list[str], row: tuple[Any, ...]) -> str:
    """A subquery with the source row whose value is this, correlated to the helper table by key."""
    equal = " AND ".join(f"s.{name} = outbound.{name}" for name in names)
    return f"SELECT 1 FROM {table.full_table_name} s WHERE s.value = {row[-1]} AND {equal}"


# tiers and parts


def test_tiers(lab: Lab) -> None:
    tables = ephys(lab)
    parts = {"Subject": (), "Method": (), "Recording": ("file", "channel"), "Sorting": ("unit", "spike", "report")}
    for name, table in tables.items():
        lab.helper_table = f"{name.lower()}_outbound"
        Linked = granted(lab, table)
        entities = len(table())
        part_rows = sum(len(getattr(table, part.title())()) for part in parts[name])
        result = Linked.source.pull()
        assert (result.pulled, result.part_rows, Linked.source.pull().shared) == (entities, part_rows, entities)
        assert issubclass(Linked, dj.Manual) and Linked.table_name == name.lower()
        assert_same(lab, table, *parts[name])
        for part in parts[name]:
            local = getattr(Linked, part.title())
            assert issubclass(local, dj.Part) and len(local()) == len(getattr(table, part.title())())
    assert "_job_duration" in columns_of(lab, "sorting")
    assert set(Linked().heading.names) == set(tables["Sorting"]().heading.names)


def test_delete_with_parts_of_all_kinds(lab: Lab) -> None:
    table = ephys(lab)["Sorting"]
    Sorting = granted(lab, table)
    Sorting.source.pull()
    assert (Sorting & {"subject": "bob's"}).delete(prompt=False) == 2
    assert [len(part()) for part in (Sorting.Unit, Sorting.Spike, Sorting.Report)] == [12, 28, 8]
    assert Sorting.source.status()[State.UNSHARED] == 2
    assert Sorting.source.pull({"subject": "bob's", "method": "slow"}).part_rows == 12
    assert (len(Sorting()), len(Sorting.Spike())) == (5, 35)


def columns_of(lab: Lab, table: str) -> dict[str, tuple[Any, ...]]:
    """Nullability and default of the columns of a local table."""
    query = (
        "SELECT column_name, is_nullable, column_default FROM information_schema.columns "
        "WHERE table_schema = %s AND table_name = %s"
    )
    return {row[0]: row[1:] for row in lab.local_server.sql(query, lab.local_schema, table)}


def test_definition(lab: Lab) -> None:
    """Defaults, nulls, comments, enums and numbering of rows stand in the local table as at the source."""

    class Probe(dj.Manual):
        definition = """
        # a table's comment
        probe: int32
        ---
        name='none': varchar(20)  # what it's called
        kind='a': enum('a','b')
        gain=1.5: float64
        count=0: int32
        used=null: date
        made=CURRENT_TIMESTAMP: datetime
        seen=CURRENT_TIMESTAMP(6): datetime(6)
        """

    table = declare(lab, Probe)
    run_sql(lab.source_server, definition_extras(lab, table.full_table_name))
    table.insert1({"probe": 100})
    Probe_ = granted(lab, table)
    assert Probe_.source.pull().pulled == 1
    assert_same(lab, table)
    assert comments(lab.local_server, lab.local_schema, "probe") == comments(
        lab.source_server, lab.source_schema, "probe"
    )
    written = {row[1:] for row in comments(lab.local_server, lab.local_schema, "probe")}
    assert ('100% "sure", it\'s', '100% "sure", it\'s') in written
    # The local table takes rows as the source's does.
    lab.local_server.sql(f"INSERT INTO {Probe_.full_table_name} (name) VALUES ('made here')")
    made = (Probe_ & "name = 'made here'").fetch1()
    assert (made["kind"], made["gain"], made["count"], made["used"]) == ("a", 1.5, 0, None)
    assert made["made"] is not None and made["seen"] is not None and made["probe"] != 100
    assert {k: v[0] for k, v in columns_of(lab, "probe").items() if v[0] == "YES"} == {"used": "YES"}
    assert Probe_.source.status()[State.LOCAL_ONLY] == 1


def definition_extras(lab: Lab, name: str) -> list[str]:
    """What DataJoint does not declare on every kind of server: a counter as key, signs in comments."""
    comment = "100% \"sure\", it''s"
    if lab.kind == "postgresql":
        return [
            f"ALTER TABLE {name} ALTER COLUMN probe ADD GENERATED BY DEFAULT AS IDENTITY",
            f"COMMENT ON COLUMN {name}.gain IS '{comment}'",
            f"COMMENT ON TABLE {name} IS '{comment}'",
        ]
    return [
        f"ALTER TABLE {name} MODIFY probe INT NOT NULL AUTO_INCREMENT",
        f"ALTER TABLE {name} MODIFY gain DOUBLE NOT NULL DEFAULT 1.5 COMMENT '{comment}'",
        f"ALTER TABLE {name} COMMENT = '{comment}'",
    ]


def comments(server: TestServer, schema: str, table: str) -> list[tuple[Any, ...]]:
    """The comments of a table and its columns."""
    if server.kind == "postgresql":
        return server.sql(
            "SELECT a.attname, col_description(a.attrelid, a.attnum), obj_description(a.attrelid, 'pg_class') "
            "FROM pg_attribute a WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum",
            f"{schema}.{table}",
        )
    return server.sql(
        "SELECT column_name, column_comment, table_comment FROM information_schema.columns "
        "JOIN information_schema.tables USING (table_schema, table_name) "
        "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        schema,
        table,
    )


def test_many_rows(lab: Lab) -> None:
    table = sessions(lab, 100_000, trials=1)
    Session = granted(lab, table)
    assert Session.source.pull(dry_run=True).pulled == 100_000
    result = Session.source.pull()
    assert (result.pulled, result.part_rows) == (100_000, 100_000)
    columns = "COUNT(*), SUM(session), MIN(note), MAX(note)"
    assert rows(lab.local_server, Session.full_table_name, columns) == rows(
        lab.source_server, table.full_table_name, columns
    )
    columns = "COUNT(*), SUM(session), SUM(score)"
    assert rows(lab.local_server, Session.Trial.full_table_name, columns) == rows(
        lab.source_server, table.Trial.full_table_name, columns
    )
    condition = "process = 'NONE' AND is_flagged = 'FALSE' AND is_deprecated = 'FALSE'"
    assert rows(lab.source_server, f"{lab.helper_schema}.{lab.helper_table} WHERE {condition}", "COUNT(*)") == [
        (100_000,)
    ]
    assert Session.source.pull().shared == 100_000


# restrictions


def test_restrictions(lab: Lab) -> None:
    """Every way in which DataJoint restricts selects the same entities for a pull."""
    table = sessions(lab, 60)
    table.insert1({"subject": 77, "session": 1000, "note": '100% it\'s \\ "sure"'})
    Session = granted(lab, table)
    source = Session.source
    schema: Any = dj.Schema(lab.source_schema, connection=source.connection, create_schema=False, create_tables=False)
    trial = schema.get_table("session__trial")
    pulled: set[tuple[int, int]] = set()

    def check(expected: Any, *restrictions: Any, on: Any = source) -> None:
        keys = {(key["subject"], key["session"]) for key in expected.keys()}  # noqa: SIM118
        assert keys, "selects nothing"
        assert on.pull(*restrictions, dry_run=True).pulled == len(keys - pulled)
        result = on.pull(*restrictions)
        assert (result.pulled, result.shared) == (len(keys - pulled), len(keys & pulled))
        pulled.update(keys)
        assert {(key["subject"], key["session"]) for key in Session.keys()} == pulled  # noqa: SIM118

    check(table & "note LIKE '100%'", "note LIKE '100%'")
    check(table & "session = 3", on=source & "session = 3")
    check(table & {"subject": 4}, {"subject": 4})
    check(table & [{"session": 5}, {"session": 6}], [{"session": 5}, {"session": 6}])
    check(table & [{"session": 7}, "session = 8"], on=source & ({"session": 7}, "session = 8"))
    check(table & "subject = 9" & "session > 30", "subject = 9", "session > 30")
    check(table & "session = 12", dj.AndList(["subject = 2", {"session": 12}, "session < 30"]))
    check(table & "subject IN (1, 2)", on=source & "subject < 3" & dj.Not({"subject": 0}))
    check(table & "subject = 0", on=source - "subject > 0")
    check(table & "session BETWEEN 17 AND 18", trial & "score BETWEEN 17 AND 18.2")
    check(table & "session = 21", on=(source & (source.proj() & "session = 21")))
    check(table & dj.Top(3, "session DESC"), dj.Top(3, "session DESC"))
    check(table & dj.Top(3, "session DESC"), on=source & dj.Top(3, "session DESC"))
    assert source.pull([], dry_run=True).pulled == source.pull(dj.Top(0)).pulled == source.pull([]).pulled == 0
    check(table())


@pytest.mark.parametrize("option", ["max_calls", "processes", "transfers"])
def test_less_than_nothing(lab: Lab, option: str) -> None:
    Session = granted(lab, sessions(lab, 5))
    for few in (-1, "3"):
        with pytest.raises(ConfigError, match=f"{option} must be at least [01], not {few!r}"):
            Session.source.pull(**{option: few})


def test_max_calls(lab: Lab) -> None:
    Session = granted(lab, sessions(lab, 50))
    assert Session.source.pull(max_calls=0).pulled == 0
    assert Session.source.pull(max_calls=20, dry_run=True).pulled == 20
    results = [Session.source.pull("session < 45", max_calls=20) for _ in range(4)]
    assert [result.pulled for result in results] == [20, 20, 5, 0]
    assert [result.shared for result in results] == [0, 20, 40, 45]
    assert (len(Session()), count_held(lab), len(Session.Trial())) == (45, 45, 90)


def test_dry_run_changes_nothing(lab: Lab) -> None:
    table = sessions(lab, 30)
    Session = granted(lab, table)
    Session.source.pull("session < 10")
    flag(lab, "session IN (0, 1)")
    (Session & "session = 1").delete(prompt=False)
    before = everything(lab)
    result = Session.source.pull("session < 20", dry_run=True)
    assert (result.pulled, result.shared, sum(result.skipped.values()), result.part_rows) == (10, 8, 2, 0)
    assert repr(result) == "would pull 10, already shared 8, skipped 2 (flagged for deletion by the source)"
    assert len(before[0][f"{lab.source_schema}.session"]) == 30
    assert everything(lab) == before


# what is seen of it


def test_quiet_unless_asked(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    Session = granted(lab, sessions(lab, 30))
    Session.source.pull("session < 10")
    assert capsys.readouterr() == ("", "")
    Session.source.pull(display_progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Session: 100%" in err and "20/20" in err and "entities/s" in err
    Session.source.pull(display_progress=True)
    assert capsys.readouterr().out == ""


def test_source_previews(lab: Lab) -> None:
    table = sessions(lab, 30)
    Session = granted(lab, table)
    for source in (Session.source, Session().source):
        assert len(source) == 30 and len(source & "session < 7") == 7
        assert "*subject" in repr(source) and "s29" in repr(source & "session = 29")
        assert "<table" in (source & "session = 29")._repr_html_() and "s29" in (source & "session = 29")._repr_html_()
        assert (source & "session = 29").fetch1("note") == "s29"
        assert source.primary_key == ["subject", "session"]
        assert len(source.proj("note") & "note = 's4'") == 1
    assert len(Session()) == 0


def test_source_is_read_only(lab: Lab) -> None:
    Session = granted(lab, sessions(lab, 3))
    Session.source.pull()
    before = everything(lab)
    row = {"subject": 1, "session": 99}
    source = Session.source & "session = 1"
    attempts: list[Any] = [
        lambda: source.insert1(row),
        lambda: source.insert([row]),
        lambda: source.update1({"subject": 1, "session": 1, "note": "x"}),
        lambda: source.delete(),
        lambda: source.delete_quick(),
        lambda: source.drop(),
        lambda: source.drop_quick(),
        lambda: source.alter(),
    ]
    for attempt in attempts:
        with pytest.raises(LinkError, match="read-only"):
            attempt()
    assert everything(lab) == before


# the order of things


def test_held_before_copied(lab: Lab, statements: list[Statement]) -> None:
    """Each chunk is held at the source before its rows are there, and finished only after they are committed."""
    Session = granted(lab, sessions(lab, 1000))
    Session()
    statements.clear()
    Session.source.pull()
    sent = [kind_of(lab, statement) for statement in statements]
    steps = [step for step in sent if step]
    assert steps[0] == "hold" and steps[-1] == "finish"
    assert steps.count("commit") == steps.count("finish") >= 2
    for number in range(len(steps)):
        done = steps[: number + 1]
        assert done.count("hold") >= done.count("load") / 2
        assert done.count("commit") >= done.count("finish")


def kind_of(lab: Lab, statement: Statement) -> str | None:
    """Which step of the transfer a statement is."""
    there, here = lab.source_server.port, lab.local_server.port
    sql = statement.sql.upper()
    if statement.port == there and sql.startswith("INSERT"):
        return "hold"
    if statement.port == there and sql.startswith("UPDATE"):
        return "finish"
    if statement.port == here and (sql.startswith("INSERT") or (sql.startswith("COPY") and "FROM STDIN" in sql)):
        return "load"
    if statement.port == here and sql.startswith("COMMIT"):
        return "commit"
    return None


def test_statements_do_not_grow_with_rows(
    lab: Lab, statements: list[Statement], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 20_000)
    monkeypatch.setattr(claims, "CHUNK_ROWS", 20_000)
    table = sessions(lab, 10_100, trials=1)
    Session = granted(lab, table)
    Session.source.pull("session = 0")
    counts = []
    for condition, entities in (("session BETWEEN 1 AND 100", 100), ("session > 100", 9_999)):
        statements.clear()
        assert Session.source.pull(condition).pulled == entities
        counts.append(len(statements))
    assert counts[0] == counts[1] < 60
