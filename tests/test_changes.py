"""What changes under a link: the source's columns and tables, between two operations and in the middle of one."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import datajoint as dj
import psycopg2
import pymysql
import pytest
from figures import Figures
from lab import Lab
from linking import admin
from pipelines import count_held, flag, granted, linked, rows, run_sql, sessions, units
from test_declare import described

from link import DefinitionError, HelperMismatchError, LocalMismatchError, NotFoundError, State, TransferError
from link.model.ranges import Chunk
from link.work.reader import Reader


def alter(lab: Lab, table: str, *changes: str) -> None:
    """Change columns of a source table as its administrator: `name TYPE type` is put in the server's words."""
    for change in changes:
        words = change.split()
        if words[1] == "TYPE":
            postgresql = f"ALTER COLUMN {words[0]} TYPE {' '.join(words[2:])}"
            change = postgresql if lab.kind == "postgresql" else f"MODIFY {words[0]} {' '.join(words[2:])}"
        admin(lab, f'ALTER TABLE "{{source}}"."{table}" {change}')


def pulled_table(lab: Lab, **options: Any) -> Any:
    """A linked table with text, number and date columns, of which three of six rows are here."""
    admin(
        lab,
        'CREATE TABLE "{source}"."session" (session int PRIMARY KEY, note varchar(5) NOT NULL, size int NOT NULL, '
        "cost decimal(5,2) NOT NULL)",
        *(f'INSERT INTO "{{source}}"."session" VALUES ({n}, \'n{n}\', {n}, {n}.25)' for n in range(3)),
    )
    lab.grant("session")
    table = linked(lab, "Session", **options)
    assert table.source.pull().pulled == 3
    return table


def widen(lab: Lab) -> None:
    """What a lab does to a table in a life: longer text, bigger numbers, more digits, a new column."""
    admin(lab, 'ALTER TABLE "{source}"."session" ADD COLUMN extra varchar(9)')
    alter(lab, "session", "note TYPE varchar(40)", "size TYPE bigint", "cost TYPE decimal(9,4)")


ROWS = {
    10: "'fits', 7, 1.5, 'x'",
    11: "'too long for it', 7, 1.5, 'x'",
    12: "'fits', 5000000000, 1.5, 'x'",
    # What servers cut off or round in silence.
    13: "'ab         ', 7, 1.5, 'x'",
    14: "'fits', 7, 1.2345, 'x'",
    15: "'fits', 7, 1.5000, NULL",
}


def fill(lab: Lab) -> None:
    admin(lab, *(f'INSERT INTO "{{source}}"."session" VALUES ({key}, {row})' for key, row in ROWS.items()))


@pytest.mark.parametrize("process", ["the same", "another"])
def test_the_source_widens_columns(lab: Lab, process: str, caplog: pytest.LogCaptureFixture) -> None:
    """Everything goes on; a pull takes what fits exactly, refuses the others by name, and says what has changed."""
    Session = pulled_table(lab)
    widen(lab)
    fill(lab)
    if process == "another":
        Session = linked(lab, "Session")
    assert (Session & "session = 0").delete(prompt=False) == 1
    flag(lab, "session = 1")
    assert Session.source.flagged.keys() == [{"session": 1}]
    assert (Session & Session.source.flagged).delete_quick(get_count=True) == 1
    with caplog.at_level(logging.WARNING, "link"):
        result = Session.source.pull(suppress_errors=True)
    assert "extra: missing" in caplog.text and "Session().alter()" in caplog.text
    assert result.pulled == 3
    assert sorted(key["session"] for key, _ in result.errors) == [11, 12, 13, 14]
    assert all(isinstance(error, TransferError) for _, error in result.errors)
    here = rows(lab.local_server, f"{lab.local_schema}.session", "session, note, size")
    assert sorted(here) == [(0, "n0", 0), (2, "n2", 2), (10, "fits", 7), (15, "fits", 7)]
    verified = Session.source.verify()
    assert verified and verified.compared == 4
    assert verified.not_here == ["session.extra"] and "session.extra" in repr(verified)
    assert count_held(lab) == 5
    status = Session.source.status()
    assert (status[State.SHARED], status[State.UNSHARED], status[State.DEPRECATED]) == (4, 4, 1)
    with pytest.raises(TransferError, match="session': 11"):
        Session.source.pull()


def answering(monkeypatch: pytest.MonkeyPatch, answer: str) -> list[str]:
    """Let somebody answer every question; the list fills with what she was asked."""
    asked: list[str] = []

    def reply(question: str) -> str:
        asked.append(question)
        return answer

    monkeypatch.setattr("builtins.input", reply)
    return asked


def test_alter_widens_after_one_question(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    Session = pulled_table(lab)
    widen(lab)
    fill(lab)
    before = described(lab.local_server, lab.local_schema, "session")
    asked = answering(monkeypatch, "no")
    Session().alter()
    assert len(asked) == 1 and "ALTER TABLE" in asked[0] and "bigint" in asked[0]
    assert described(lab.local_server, lab.local_schema, "session") == before
    asked = answering(monkeypatch, "yes")
    Session().alter()
    there, here = (
        sorted((row[0], row[1]) for row in described(server, schema, "session"))
        for server, schema in ((lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema))
    )
    assert len(asked) == 1 and here == there
    assert Session().heading.names == ["session", "note", "size", "cost", "extra"]
    assert Session.source.pull().pulled == len(ROWS)
    verified = Session.source.verify()
    assert verified and verified.compared == 9 and verified.not_here == []
    # Nothing is left to do, and rows that were here before are told where the source has filled the new column.
    Session().alter()
    assert len(asked) == 1
    admin(lab, 'UPDATE "{source}"."session" SET extra = \'new\' WHERE session = 1')
    assert Session.source.verify().differing == [{"session": 1}]


def test_labels_null_and_parts_are_added(lab: Lab) -> None:
    """What a DataJoint definition says in other words: an enum, a nullable attribute, one more part table."""

    class Session(dj.Manual):
        definition = "session: int32\n---\nrig='a': enum('a','b')\nweight: float32"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32"

    source: Any = lab.source.Schema(lab.source_schema)(Session)
    source.insert1({"session": 1, "weight": 0.1})
    source.Trial.insert1({"session": 1, "trial": 1})
    lab.grant(source)
    table = linked(lab, "Session")
    assert table.source.pull().pulled == 1
    labels = "'a','it''s','b','100%'"
    if lab.kind == "postgresql":
        kind = lab.source_server.sql(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
            f"WHERE attrelid = '{lab.source_schema}.session'::regclass AND attname = 'rig'"
        )[0][0]
        for label in ("it''s' AFTER 'a", "100%"):
            lab.source_server.sql(f"ALTER TYPE {kind} ADD VALUE '{label}'")
        admin(lab, 'ALTER TABLE "{source}"."session" ALTER COLUMN weight DROP NOT NULL')
    else:
        lab.source_server.sql(f"ALTER TABLE {lab.source_schema}.session MODIFY rig enum({labels}) DEFAULT 'a' NOT NULL")
        admin(lab, 'ALTER TABLE "{source}"."session" MODIFY weight float NULL COMMENT \':float32:\'')
    admin(
        lab,
        'CREATE TABLE "{source}"."session__note" (session int, note int, PRIMARY KEY (session, note), '
        'FOREIGN KEY (session) REFERENCES "{source}"."session" (session))',
        "INSERT INTO \"{source}\".\"session\" VALUES (2, 'it''s', NULL), (3, '100%', 1.5)",
        'INSERT INTO "{source}"."session__note" VALUES (1, 1), (2, 7)',
    )
    lab.grant("session")
    # The part table stands in the way of a pull, and of nothing else.
    with pytest.raises(LocalMismatchError, match="session__note that the local table") as caught:
        table.source.pull()
    assert "alter()" in str(caught.value.hint)
    assert table.source.status()[State.SHARED] == 1 and table.source.verify().not_here == ["session__note"]
    table().alter(prompt=False)
    assert table.source.pull().part_rows == 1
    assert [row["note"] for row in table.Note().to_dicts()] == [7]
    assert rows(lab.local_server, f"{lab.local_schema}.session", "session, rig, weight") == [
        (1, "a", pytest.approx(0.1)),
        (2, "it's", None),
        (3, "100%", 1.5),
    ]
    assert table.source.verify().differing == [{"session": 1}]
    (table & "session = 1").delete(prompt=False)
    assert table.source.pull().part_rows == 2
    assert table.source.verify()


@pytest.mark.parametrize("change", ["DROP COLUMN note", "note TYPE int", "ADD"])
def test_what_cannot_be_pulled_any_more_is_said_with_the_statement(
    lab: Lab, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Deleting, flags, status and verification go on; the local table is never narrowed."""
    Session = pulled_table(lab)
    if change == "ADD":
        odd = "xml" if lab.kind == "postgresql" else "geometry"
        admin(lab, f'ALTER TABLE "{{source}}"."session" ADD COLUMN odd {odd}')
    elif "TYPE" in change:
        admin(lab, 'UPDATE "{source}"."session" SET note = \'1\'')
        words = "ALTER COLUMN note TYPE int USING note::int" if lab.kind == "postgresql" else "MODIFY note int NOT NULL"
        admin(lab, f'ALTER TABLE "{{source}}"."session" {words}')
    else:
        admin(lab, f'ALTER TABLE "{{source}}"."session" {change}')
    columns = "session, size, cost" + (", note" if change != "DROP COLUMN note" else "")
    values = "9, 9, 9" + (", '9'" if change != "DROP COLUMN note" else "")
    admin(lab, f'INSERT INTO "{{source}}"."session" ({columns}) VALUES ({values})')
    before = described(lab.local_server, lab.local_schema, "session")
    if change == "ADD":
        assert Session.source.pull().pulled == 1
        assert Session.source.verify().not_here == ["session.odd"]
    else:
        with pytest.raises(LocalMismatchError, match="note: ") as caught:
            Session.source.pull()
        assert ("DROP COLUMN" if "DROP" in change else "note") in str(caught.value.hint)
        assert "ALTER TABLE" in str(caught.value.hint)
        assert count_held(lab) == 3
    with caplog.at_level(logging.WARNING, "link"):
        Session().alter(prompt=False)
    assert ("left to you" in caplog.text) is (change != "ADD")
    assert described(lab.local_server, lab.local_schema, "session") == before
    flag(lab, "session = 1")
    assert Session.source.flagged.keys() == [{"session": 1}]
    assert (Session & "session < 2").delete(prompt=False) == 2
    status = Session.source.status()
    assert (status[State.SHARED], status[State.DEPRECATED]) == (2 if change == "ADD" else 1, 1)
    verified = Session.source.verify()
    assert bool(verified) is (change == "ADD")
    assert verified.not_there == (["session.note"] if "DROP" in change else [])


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_a_part_that_is_not_shown_any_more(lab: Lab) -> None:
    """MySQL and MariaDB hide it; nothing proves what is here of it."""
    table = sessions(lab, 3)
    Session = granted(lab, table)
    Session.source.pull()
    for right in ("SELECT", "REFERENCES"):
        lab.revoke(right, "session__trial")
    admin(lab, 'UPDATE "{source}"."session__trial" SET score = -1')
    Session.source._link.forget()
    result = Session.source.verify()
    assert not result and result.not_there == ["session__trial"] and not result.differing
    assert "not compared, for they are not at the source, or not shown: session__trial" in repr(result)
    assert result.to_dict()["equal"] is False
    lab.grant(table)
    Session.source._link.forget()
    assert len(Session.source.verify().differing) == 3


def test_a_wider_key_is_widened_everywhere(either: Lab) -> None:
    """On MariaDB a key that a foreign key refers to cannot be changed, so that nothing of the kind can happen."""
    lab = either
    admin(lab, 'CREATE TABLE "{source}"."session" (session varchar(5) PRIMARY KEY)')
    admin(lab, "INSERT INTO \"{source}\".\"session\" VALUES ('a'), ('b')")
    if not lab.older:
        lab.grant("session")
    table = granted(lab, "Session") if lab.older else linked(lab, "Session")
    assert table.source.pull().pulled == 2
    if lab.kind == "mariadb":
        with pytest.raises(pymysql.MySQLError, match="used in a foreign key constraint"):
            alter(lab, "session", "session TYPE varchar(30) NOT NULL")
        return
    alter(lab, "session", "session TYPE varchar(30)" + " NOT NULL" * (lab.kind == "mysql"))
    admin(lab, 'INSERT INTO "{source}"."session" VALUES (\'a long one\')')
    with pytest.raises(HelperMismatchError, match="has become wider than that of the helper table") as caught:
        table.source.pull()
    assert "alter()" in str(caught.value.hint)
    assert (table & "session = 'a'").delete(prompt=False) == 1
    table().alter(prompt=False)
    assert table.source.pull().pulled == 2
    assert sorted(table().to_arrays("session")) == ["a", "a long one", "b"] and count_held(lab) == 3
    flag(lab, "session = 'a long one'")
    if lab.older:
        table().refresh()
        assert table.DeletionRequested().to_dicts() == [{"session": "a long one"}]
    assert (table & table.source.flagged).delete(prompt=False) == 1


UNLIKE = [("mysql", "postgresql"), ("postgresql", "mariadb"), ("mariadb", "mysql")]


@pytest.mark.parametrize("pair", UNLIKE, indirect=True, ids="-".join)
def test_between_servers_of_two_kinds(mixed: Lab) -> None:
    """The types to come are in the local server's words."""
    lab = mixed
    Session = pulled_table(lab, backend=lab.source_server.backend)
    widen(lab)
    fill(lab)
    result = Session.source.pull(suppress_errors=True)
    assert (result.pulled, len(result.errors)) == (2, 4)
    assert Session.source.verify()
    Session().alter(prompt=False)
    assert Session.source.pull().pulled == 4
    verified = Session.source.verify()
    # The new column of what was pulled before.
    assert verified.differing == [{"session": 10}] and verified.compared == 9 and not verified.not_here


# tables that are renamed, rebuilt or dropped


def rebuild(lab: Lab, way: str) -> None:
    """What a lab does to a table that is linked, with and without minding what refers to it."""
    table, new = (f'"{{source}}"."{name}"' for name in ("unit", "unit_new"))
    if way == "renamed":
        admin(lab, f"ALTER TABLE {table} RENAME TO {'unit_old' if lab.kind == 'postgresql' else OLD}")
        return
    admin(lab, f"CREATE TABLE {new} (unit int PRIMARY KEY, depth double precision)")
    admin(lab, f"INSERT INTO {new} SELECT unit, depth FROM {table}")
    if way == "swapped":
        renames = [(table, OLD), (new, table)]
        if lab.kind == "postgresql":
            admin(lab, *(f"ALTER TABLE {a} RENAME TO {b.rpartition('.')[2]}" for a, b in renames))
        else:
            admin(lab, f"RENAME TABLE {', '.join(f'{a} TO {b}' for a, b in renames)}")
    elif lab.kind == "postgresql":
        admin(lab, f"DROP TABLE {table} CASCADE", f'ALTER TABLE {new} RENAME TO "unit"')
    else:
        drop = [f"DROP TABLE {lab.source_schema}.unit"]
        run_sql(lab.source_server, ["SET foreign_key_checks = 0", *drop, "SET foreign_key_checks = 1"])
        admin(lab, f"RENAME TABLE {new} TO {table}")
    lab.grant("unit")


OLD = '"{source}"."unit_old"'


def is_held(lab: Lab) -> bool:
    """Whether the source's server refuses to delete what is held."""
    try:
        admin(lab, 'DELETE FROM "{source}"."unit" WHERE unit = 0')
    except (pymysql.MySQLError, psycopg2.Error):
        return True
    return False


@pytest.mark.parametrize("way", ["renamed", "swapped", "dropped"])
def test_a_table_that_is_rebuilt_between_two_pulls(lab: Lab, way: str, figures: Figures) -> None:
    """The process finds out by itself. Nothing is pulled unheld; the statement that mends it is in the message."""
    Unit = granted(lab, units(lab, 6))
    assert Unit.source.pull("unit < 3").pulled == 3
    rebuild(lab, way)
    figures.add("tables renamed, swapped or dropped under a link", lab.kind)
    by_name = way == "dropped" and lab.kind != "postgresql"
    if by_name:
        # These servers keep the foreign key by the table's name: the new one is held, and the process goes on.
        assert Unit.source.pull().pulled == 3
    else:
        for Table in (Unit, linked(lab, "Unit")):
            error = NotFoundError if way == "renamed" else HelperMismatchError
            with pytest.raises(error) as caught:
                Table.source.pull()
            assert len(Table()) == 3 and count_held(lab) == 3
        if way == "renamed":
            admin(lab, f"ALTER TABLE {OLD} RENAME TO {'unit' if lab.kind == 'postgresql' else OLD.replace('_old', '')}")
        else:
            assert not is_held(lab) or way == "swapped"
            statement = re.search(r"by: (ALTER TABLE .*?)\. Where", str(caught.value.hint))
            assert statement
            admin(
                lab,
                f'INSERT INTO "{{source}}"."unit" SELECT 0, 0 FROM "{{helper}}"."{lab.helper_table}" '
                'WHERE unit = 1 AND NOT EXISTS (SELECT 1 FROM "{source}"."unit" WHERE unit = 0)',
            )
            as_link_user(lab, statement[1])
        assert Unit.source.pull().pulled == 3
    assert is_held(lab) and count_held(lab) == 6
    assert Unit.source.verify().compared == 6


def as_link_user(lab: Lab, statement: str) -> None:
    connection = lab.link_instance().connection
    connection.query(statement)
    connection.close()


def before_reading(monkeypatch: pytest.MonkeyPatch, number: int, happens: Callable[[], None]) -> list[Chunk]:
    """Let something happen in a pull when one more chunk was claimed, before it is read; the chunks read by then."""
    read, begun, happened = Reader._read, list[Chunk](), threading.Event()

    def reading(self: Reader, chunk: Chunk) -> None:
        if len(begun) == number and not happened.is_set():
            happened.set()
            happens()
        if not happened.is_set():
            begun.append(chunk)
        read(self, chunk)

    monkeypatch.setattr(Reader, "_read", reading)
    return begun


@pytest.mark.parametrize("way", ["swapped", "dropped"])
@pytest.mark.parametrize("parts", [False, True], ids=["alone", "parts"])
def test_a_table_that_is_rebuilt_in_mid_pull(
    lab: Lab, way: str, parts: bool, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept after the table was exchanged is held in the new one, or the pull stops."""
    monkeypatch.setattr("link.work.claims.CHUNK_ROWS", 64)
    Unit = granted(lab, units(lab, 2000))
    if parts:
        part = '"{source}"."unit__spike"'
        admin(
            lab,
            f"CREATE TABLE {part} (unit int, spike int, PRIMARY KEY (unit, spike), FOREIGN KEY (unit) "
            'REFERENCES "{source}"."unit" (unit))',
        )
        lab.grant("unit")
    read = before_reading(monkeypatch, 3, lambda: rebuild(lab, way))
    figures.add("tables swapped or dropped in mid-pull", lab.kind)
    if way == "dropped" and lab.kind != "postgresql":
        # Held by name: in the table as it is now.
        assert Unit.source.pull().pulled == 2000
        assert is_held(lab)
        return
    with pytest.raises(HelperMismatchError, match="does not refer to the table"):
        Unit.source.pull()
    here = {unit for (unit,) in rows(lab.local_server, f"{lab.local_schema}.unit", "unit")}
    assert here
    for unit in here:
        assert any((c.after is None or c.after < (unit,)) and c.upto and (unit,) <= c.upto for c in read), unit
    with pytest.raises(DefinitionError, match="foreign key"):
        Unit.source.pull()
