"""What sessions inherit of servers, accounts and databases, at either end: no limit or mode changes a result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import datajoint as dj
import labs
import pytest
from figures import Figures
from fleet import Fleet, TestServer
from lab import Lab
from pipelines import assert_same, count_held, declare, ephys, flag, granted, rows, series, sessions, states
from shelling import shell
from test_cli_lab_a import environment
from test_source_lab import give
from test_unfit import world

from link import ConfigError, LocalMismatchError, ServerError, State, TransferError
from link.servers import settings

#: What an administrator may well set for everybody. A read of all rows takes longer than is allowed here.
MYSQL = {
    "sql_select_limit": "5",
    "max_join_size": "10",
    "sql_safe_updates": "1",
    "sql_auto_is_null": "1",
    "max_sort_length": "64",
    "completion_type": "'CHAIN'",
    "foreign_key_checks": "0",
    "unique_checks": "0",
    "sql_quote_show_create": "0",
    "sql_mode": "'ANSI'",
    "time_zone": "'+05:30'",
    "lock_wait_timeout": "1",
    "net_write_timeout": "1",
    "character_set_results": "'latin1'",
}
#: Of these the first ones hold at the local side, too: DataJoint's own connection shall still delete there.
LOCAL: tuple[str, ...] = ("sql_select_limit", "sql_auto_is_null", "max_sort_length", "time_zone", "lock_wait_timeout")
OF_KIND = {
    "mysql": {"max_execution_time": "300", "transaction_isolation": "'SERIALIZABLE'"},
    "mariadb": {
        "max_statement_time": "0.3",
        "tx_isolation": "'SERIALIZABLE'",
        "idle_transaction_timeout": "1",
        "system_versioning_asof": "'2020-01-01 00:00:00'",
    },
}
POSTGRESQL = {
    "statement_timeout": "'300ms'",
    "idle_session_timeout": "'300ms'",
    "idle_in_transaction_session_timeout": "'100ms'",
    "lock_timeout": "'1ms'",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "extra_float_digits": "-9",
    "bytea_output": "escape",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "sql_standard",
    "TimeZone": "'Asia/Kolkata'",
    "quote_all_identifiers": "on",
    "xmloption": "document",
    "synchronous_commit": "off",
    "search_path": "nowhere",
}
LOCAL_POSTGRESQL: tuple[str, ...] = (
    "idle_session_timeout",
    "extra_float_digits",
    "DateStyle",
    "TimeZone",
    "search_path",
    "array_nulls",
)
#: Rows that are looked at one by one, so slowly that all of them take longer than statements may.
ROWS = 40
SLOWLY = {"mysql": "SLEEP(0.01) = 0", "mariadb": "SLEEP(0.01) = 0", "postgresql": "pg_sleep(0.01) IS NOT NULL"}


@pytest.fixture
def table(lab: Lab) -> Any:
    """A table whose keys begin alike, with a part; values that a session may show otherwise."""

    class Scan(dj.Manual):
        definition = """
        scan: varchar(120)
        ---
        taken: datetime
        depth: float64
        raw: bytes
        """

        class Field(dj.Part):
            definition = """
            -> master
            field: int32
            """

    made = declare(lab, Scan)
    keys = [f"{'x' * 100}{n:03}é" for n in range(ROWS)]
    made.insert({"scan": k, "taken": "2025-02-03 04:05:06", "depth": 1 / 3, "raw": b"\0\xff\\"} for k in keys)
    made.Field.insert({"scan": k, "field": n} for k in keys for n in range(3))
    return made


@pytest.fixture
def hostile(lab: Lab) -> Iterator[Lab]:
    """Everybody's sessions begin with these settings, but for the administrators'."""
    if lab.kind == "postgresql":
        for name, value in POSTGRESQL.items():
            lab.source_server.sql(f"ALTER ROLE {lab.link_user} SET {name} = {value}")
        for name in LOCAL_POSTGRESQL:
            lab.local_server.sql(f"ALTER ROLE {lab.local_user} SET {name} = {POSTGRESQL[name]}")
        yield lab
        return
    everything = {**MYSQL, **OF_KIND[lab.kind]}
    try:
        for server, names in ((lab.source_server, tuple(everything)), (lab.local_server, LOCAL)):
            said = ", ".join(f"SESSION {name} = {everything[name]}" for name in names)
            server.sql("SET GLOBAL init_connect = %s", f"SET {said}")
        yield lab
    finally:
        for server in (lab.source_server, lab.local_server):
            server.sql("SET GLOBAL init_connect = ''")


@pytest.fixture
def reconnected(table: Any, hostile: Lab) -> Lab:
    """The lab, whose user has connected since."""
    hostile.local = hostile.instance(hostile.local_server, hostile.local_user, hostile.local_password)
    return hostile


def test_no_setting_changes_a_result(table: Any, reconnected: Lab, figures: Figures) -> None:
    """They cut, slow down, refuse, and write values otherwise; all that a link does is as it is elsewhere."""
    lab = reconnected
    scan = granted(lab, table)
    assert len(scan().source.to_dicts()) == ROWS
    assert (scan().source & SLOWLY[lab.kind]).pull(max_calls=ROWS - 9).pulled == ROWS - 9
    assert (scan().source & SLOWLY[lab.kind]).pull(processes=2).pulled == 9
    assert_same(lab, table, "field")
    assert scan().source.verify()
    assert scan().source.verify().compared == ROWS
    assert scan().source.status(deep=True)[State.SHARED] == ROWS
    assert count_held(lab) == ROWS
    flag(lab, "1 = 1")
    assert len(scan().source.flagged) == ROWS
    time.sleep(0.5)  # longer than a session may rest
    assert len(scan().source) == ROWS
    some = sorted(row["scan"] for row in table.to_dicts())[:7]
    assert (scan & [{"scan": key} for key in some]).delete(prompt=False) == 7
    assert scan().source.status()[State.DEPRECATED] == 7
    assert scan().delete(prompt=False) == ROWS - 7
    assert set(states(lab, "scan", "scan").values()) == {State.DEPRECATED}
    names = (*MYSQL, *OF_KIND[lab.kind]) if lab.kind != "postgresql" else POSTGRESQL
    figures.add("settings that a session may inherit, results as without them", lab.kind, len(names))


def test_none_changes_what_a_source_s_people_do(hostile: Lab) -> None:
    """They see all tables there, and all that depends on what they delete; who lets others in grants all parts."""
    lab, user = hostile, f"{hostile.prefix}_member"
    Subject = granted(lab, ephys(lab)["Subject"])
    assert Subject.source.pull().pulled == 3
    lab.source_server.create_user(user, "secret")
    give(lab, user, flags=True)
    if lab.kind == "postgresql":
        for name, value in POSTGRESQL.items():
            lab.source_server.sql(f"ALTER ROLE {user} SET {name} = {value}")
    else:
        lab.source_server.sql(f"GRANT SELECT ON `{lab.source_schema}`.* TO {user}@'%'")
    person = environment(lab, user, "secret")
    schema = ["--helper-schema", lab.helper_schema]
    server = f"{lab.source_server.host}:{lab.source_server.port}"
    of_table = ["--schema", lab.source_schema, "--table", "Sorting", "--host", server]
    script = shell("grants", *schema, *of_table, env=person)
    assert all(f"__sorting__{part}" in script.stdout for part in ("unit", "spike", "report")), script
    table = ["--table", f"{lab.source_schema}.Subject", *schema]
    assert "flagged 3" in shell("flag", *table, "--where", "1 = 1", env=person).stdout
    assert (Subject & True).delete(prompt=False) == 3
    cleaned = shell("clean", *table, "--yes", env=person)
    assert "deleted 3" in cleaned.stdout, cleaned
    assert rows(lab.source_server, f"{lab.source_schema}.subject") == []


def test_every_variable_is_one_that_the_server_has(source_server: TestServer, kind: str) -> None:
    """Our table names no variable that the newest server has dropped."""
    known = {"mysql": settings.MYSQL, "mariadb": settings.MARIADB, "postgresql": settings.POSTGRESQL}[kind]
    shown = "SELECT name FROM pg_settings" if kind == "postgresql" else "SHOW SESSION VARIABLES"
    there = {row[0].lower() for row in source_server.sql(shown)}
    version = tuple(map(int, source_server.version.split(".")))
    assert {setting.name.lower() for setting in settings.fitting(known, version, False)} <= there
    assert len({setting.name for setting in known}) == len(known)


def test_deletion_sees_all_keys(table: Any, reconnected: Lab) -> None:
    """They are read through the user's own session, whatever limit that has."""
    lab = reconnected
    scan = granted(lab, table)
    scan().source.pull()
    assert (scan & (scan.Field & "field = 1")).delete(prompt=False) == ROWS
    assert count_held(lab) == len(scan()) == 0


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_what_is_cut_all_the_same_is_noticed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are counted by the server in the snapshot in which they are read: a part row too few is an error."""
    table = sessions(lab, rows=12, trials=7)
    session = granted(lab, table)
    assert len(session()) == 0
    for name in ("MYSQL", "MARIADB"):
        kept = [setting for setting in getattr(settings, name) if setting.name != "sql_select_limit"]
        monkeypatch.setattr(settings, name, kept)
    try:
        lab.source_server.sql("SET GLOBAL sql_select_limit = 40")  # fewer than the part rows
        with pytest.raises(TransferError, match=r"sent .* of .* rows"):
            session().source.pull()
    finally:
        lab.source_server.sql("SET GLOBAL sql_select_limit = DEFAULT")
    assert session().source.pull().pulled == 12
    assert_same(lab, table, "trial")


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_no_timestamp_changes_with_every_update(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions say so where they may. Elsewhere, as on MariaDB 10.6, holds have a default, local tables are refused."""

    class Visit(dj.Manual):
        definition = "visit: timestamp\n---\nleft: timestamp"

    table = declare(lab, Visit)
    table.insert1({"visit": "2025-02-03 04:05:06", "left": "2025-02-03 05:06:07"})
    try:
        for server in (lab.source_server, lab.local_server):
            server.sql("SET GLOBAL explicit_defaults_for_timestamp = 0")
        with monkeypatch.context() as older:
            for name in ("MYSQL", "MARIADB"):
                kept = [s for s in getattr(settings, name) if s.name != "explicit_defaults_for_timestamp"]
                older.setattr(settings, name, kept)
            visit = granted(lab, table)
            with pytest.raises(LocalMismatchError, match=r"visit\.visit with every UPDATE"):
                visit()
            assert lab.local_server.sql(f"SHOW SCHEMAS LIKE '{lab.local_schema}'") == []
            lab.local_server.sql("SET GLOBAL explicit_defaults_for_timestamp = 1")
            assert visit().source.pull().pulled == 1
        assert visit().source.verify().compared == 1
        assert visit().delete(prompt=False) == 1
    finally:
        for server in (lab.source_server, lab.local_server):
            server.sql("SET GLOBAL explicit_defaults_for_timestamp = 1")


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_lists_of_keys_fit_into_statements(lab: Lab) -> None:
    """Some servers take no more than a megabyte at once; letters with accents are sent as several bytes."""

    class Scan(dj.Manual):
        definition = "scan: varchar(60)\n---\nnote: int32"

    table = declare(lab, Scan)
    before = lab.source_server.sql("SELECT @@GLOBAL.max_allowed_packet")[0][0]
    try:
        for server in (lab.source_server, lab.local_server):
            server.sql("SET GLOBAL max_allowed_packet = 1048576")
        key = "CONCAT(REPEAT('é', 25), LEFT(SHA2(i, 256), 32))"
        lab.source_server.sql(f"INSERT INTO {table.full_table_name} SELECT {key}, 0 FROM {series(9000)}")
        scan = granted(lab, table)
        assert scan().source.pull().pulled == 9000
        lab.source_server.sql(f"UPDATE {table.full_table_name} SET note = 1")
        assert len(scan().source.verify().differing) == 9000
        assert scan().delete(prompt=False) == 9000
    finally:
        for server in (lab.source_server, lab.local_server):
            server.sql(f"SET GLOBAL max_allowed_packet = {before}")


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_what_is_selected_fits_into_statements(
    kind: str, servers: tuple[TestServer, TestServer], fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of keys, several times in one statement: in more batches, or refused before anything is sent."""
    spare = fleet.spare(kind, "--max-allowed-packet=1M")
    with world(spare, servers[1], monkeypatch) as lab:

        class Scan(dj.Manual):
            definition = "scan: varchar(60)"

        class Field(dj.Manual):
            definition = "-> Scan\nfield: int32"

        class Cell(dj.Manual):
            definition = "cell: int32\n---\n-> Field"

        tables = [declare(lab, Scan), declare(lab, Field, Scan), declare(lab, Cell, Field)]
        keys = [{"scan": f"{n:060}"} for n in range(13_000)]
        tables[0].insert(keys[::1000])
        tables[1].insert({**key, "field": 1} for key in keys[::1000])
        tables[2].insert({"cell": n, **key, "field": 1} for n, key in enumerate(keys[::1000]))
        labs.grant(lab, lab.source_schema)
        lab_a: Any = labs.pipeline(lab, schemas={lab.source_schema: lab.local_schema})
        source = lab_a.source[lab.source_schema]
        assert lab_a.pull(source.Scan, among=keys, descendants=True).pulled == 3 * 13
        assert lab_a.verify().compared == 3 * 13
        with pytest.raises(ConfigError, match="nor more than 262,144 characters"):
            source.Scan & keys
        some = source.Scan & f"scan IN ({', '.join(repr(key['scan']) for key in keys[:10_000])})"
        told = r"A statement of .* bytes is not sent .*max_allowed_packet"
        with pytest.raises(ServerError, match=told):
            lab_a.refresh(source.Field & some, source.Cell & some)
        with pytest.raises(ServerError, match=told):
            lab_a.plan(some, source.Field & some)
    spare.stop()
