"""Pipelines as labs have them, pulled: each brings, and holds, what brute force has worked out, and nothing else."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import closures
import datajoint as dj
import pytest
import tricky
from closures import Entity
from fleet import TestServer
from lab import Lab
from linking import quoted
from pipelines import run_sql, wait_until
from pulling import Checked, declare, grant

from link import ConfigError, CycleError, DefinitionError, TransferError, link

FLAGGED = "an ancestor is flagged"


def checked(lab: Lab, pipeline: dict[str, Any], rows: dict[str, Any]) -> Checked:
    """A pipeline at the source, which the link user may read."""
    names = declare(lab, pipeline, rows)
    grant(lab, list(names.values()))
    return Checked(lab, names.values())


# shapes


def test_twelve_levels(lab: Lab) -> None:
    """By keys that are inherited, and others; from below, from above, and what came up leads no way down."""
    tables, rows = [], {}
    for level in range(12):
        above = f"-> L{level - 1}" if level else ""
        # Inherited by all, the key would become long: every third begins anew.
        key = f"k{level}: int32\n---\n{above}" if level % 3 == 0 else f"{above}\nk{level}: int32\n---"
        tables.append(type(f"L{level}", (dj.Manual,), {"definition": f"{key}\nn{level}: int32"}))
        width = 2 + (level % 3 or 3 * bool(level))
        rows[f"L{level}"] = [(number,) * width for number in range(4)]
    pulled = checked(lab, {"chain": tables}, rows)
    (schema,) = pulled.schemas
    assert pulled.select(schema, "L11", "k11 = 3").pulled == 12
    assert pulled.select(schema, "L5", "k5 < 2").pulled == 12
    assert pulled.select(schema, "L0").pulled == 1
    pulled.forget()
    assert pulled.select(schema, "L0", "k0 = 0", descendants=True).pulled == 12


class Subject(dj.Manual):
    definition = "subject: int32\n---\nname: varchar(20)"


class BreedingPair(dj.Manual):
    definition = """
    pair: varchar(8)
    ---
    -> [nullable] Subject.proj(father='subject')
    -> [nullable] Subject.proj(mother1='subject')
    -> [nullable] Subject.proj(mother2='subject')
    """


class Litter(dj.Manual):
    definition = "litter: varchar(8)\n---\n-> [nullable] BreedingPair"


class LitterSubject(dj.Manual):
    definition = "-> Subject\n---\n-> Litter"


class Weighing(dj.Manual):
    definition = "-> Subject\nday: date\n---\nweight: float64"


BREEDING = (
    {"subject": [Subject, Weighing], "breeding": [BreedingPair, Litter, LitterSubject]},
    {
        "Subject": [(n, f"mouse {n}") for n in range(9)],
        "BreedingPair": [("p1", 1, 2, 3), ("p2", 1, None, 4), ("p3", None, None, None), ("p4", 5, 6, None)],
        "Litter": [("l1", "p1"), ("l2", "p2"), ("l3", "p4"), ("l4", None)],
        "LitterSubject": [(5, "l1"), (6, "l2"), (7, "l3"), (8, "l4")],
        "Weighing": [(n, "2024-02-29", 20.5) for n in range(9)],
    },
)


def test_three_parents(lab: Lab) -> None:
    """A father with descendants: his pairs, their litters and pups, both mothers; no pup's weights but his own."""
    pulled = checked(lab, *BREEDING)
    subject, breeding = pulled.schemas
    assert pulled.select(breeding, "BreedingPair", "pair = 'p1'").pulled == 4
    assert pulled.select(breeding, "BreedingPair", "pair = 'p3'").pulled == 1
    pulled.forget()
    pulled.select(subject, "Subject", "subject = 1", descendants=True)
    kept = {(table[1], *key) for table, key in pulled.wanted}
    assert ("weighing", "1", "2024-02-29") in kept
    assert ("weighing", "5", "2024-02-29") not in kept
    assert {("subject", str(n)) for n in range(1, 7) if n} <= kept
    assert ("litter", "l3") not in kept


class CuratedA(dj.Computed):
    definition = "a: int32\n---\n-> Subject"


class CuratedB(dj.Computed):
    definition = "b: int32\n---\n-> Subject"


class Merge(dj.Manual):
    definition = "merge_id: uuid"

    class CuratedA(dj.Part):
        definition = "-> master\n---\n-> CuratedA"

    class CuratedB(dj.Part):
        definition = "-> master\n---\n-> CuratedB"


class Output(dj.Manual):
    definition = "output_id: uuid"

    class Merged(dj.Part):
        definition = "-> master\n---\n-> Merge"

    class CuratedA(dj.Part):
        definition = "-> master\n---\n-> CuratedA"


class Decoding(dj.Computed):
    definition = "-> Output\n---\nposition: float64"


IDS = [uuid.UUID(int=n << 96 | n) for n in range(8)]


def test_merge_tables(lab: Lab) -> None:
    """Masters without attributes of their own, whose parts refer to one of many parents; and merges of these."""
    tables = [Subject, CuratedA, CuratedB, Merge, Output, Decoding]
    rows = {
        "Subject": [(n, f"mouse {n}") for n in range(6)],
        "CuratedA": [(0, 0), (1, 1)],
        "CuratedB": [(0, 2), (1, 3)],
        "Merge": [(IDS[0],), (IDS[1],), (IDS[2],)],
        "Merge.CuratedA": [(IDS[0], 0)],
        "Merge.CuratedB": [(IDS[1], 0), (IDS[2], 1)],
        "Output": [(IDS[4],), (IDS[5],), (IDS[6],)],
        "Output.Merged": [(IDS[4], IDS[1])],
        "Output.CuratedA": [(IDS[5], 1)],
        "Decoding": [(IDS[4], 0.5), (IDS[5], 0.6), (IDS[6], 0.7)],
    }
    pulled = checked(lab, {"merge": tables}, rows)
    (schema,) = pulled.schemas
    assert pulled.select(schema, "Decoding", "position = 0.5").pulled == 5  # by way of the merge of merges
    assert pulled.select(schema, "Decoding", "position = 0.6").pulled == 4
    assert pulled.select(schema, "Decoding", "position = 0.7").pulled == 2
    pulled.forget()
    pulled.select(schema, "Subject", "subject = 2", descendants=True)
    assert len(pulled.wanted) == 5


class Student(dj.Manual):
    definition = "student: int32\n---\nname: varchar(20)"


class Term(dj.Manual):
    definition = "year: int32\nterm: enum('Spring', 'Fall')"


class CurrentTerm(dj.Manual):
    definition = "---\n-> Term"


class Course(dj.Manual):
    definition = "dept: char(4)\ncourse: int32\n---\ntitle: varchar(20)"


class Section(dj.Manual):
    definition = "-> Course\n-> Term\nsection: char(1)"


class Enroll(dj.Manual):
    definition = "-> Student\n-> Section"


class LetterGrade(dj.Lookup):
    definition = "grade: char(2)\n---\npoints=null: decimal(3,2)"


class Grade(dj.Manual):
    definition = "-> Enroll\n---\n-> LetterGrade"


UNIVERSITY: Any = (
    {"uni": [Student, Term, CurrentTerm, Course, Section, Enroll, LetterGrade, Grade]},
    {
        "Student": [(n, f"student {n}") for n in range(3)],
        "Term": [(2023, "Spring"), (2023, "Fall"), (2024, "Spring")],
        "Course": [("MATH", 1), ("MATH", 2), ("BIOL", 1)],
        "Section": [("MATH", 1, 2023, "Fall", "a"), ("MATH", 2, 2024, "Spring", "a"), ("BIOL", 1, 2024, "Spring", "b")],
        "Enroll": [
            (0, "MATH", 1, 2023, "Fall", "a"),
            (0, "BIOL", 1, 2024, "Spring", "b"),
            (1, "MATH", 2, 2024, "Spring", "a"),
        ],
        "LetterGrade": [("A", "4.00"), ("B", "3.00"), ("F", None)],
        "Grade": [(0, "MATH", 1, 2023, "Fall", "a", "A"), (1, "MATH", 2, 2024, "Spring", "a", "F")],
    },
)
UNIVERSITY[1]["Course"] = [(*key, "title") for key in UNIVERSITY[1]["Course"]]


def test_university(lab: Lab) -> None:
    """One student with descendants; the one row of a table without a key; lookups as they are referred to, or whole."""
    pulled = checked(lab, *UNIVERSITY)
    (schema,) = pulled.schemas
    lab.source.Schema(schema).get_table("current_term").insert1({"year": 2024, "term": "Spring"})
    assert pulled.select(schema, "CurrentTerm").pulled == 2
    pulled.select(schema, "Student", "student = 0", descendants=True)
    kept = [table[1] for table, _ in pulled.wanted]
    counts = {name: kept.count(name) for name in ("student", "enroll", "section", "term", "grade", "#letter_grade")}
    assert list(counts.values()) == [1, 2, 2, 2, 1, 1]


# what the source wants deleted


@pytest.fixture
def deep(lab: Lab) -> Checked:
    """The tricky pipeline, of which nothing is here yet."""
    return checked(lab, tricky.TABLES, tricky.ROWS)


@pytest.mark.parametrize("place", ["Subject 5", "User cyd", "Institute rome"])
def test_what_stands_on_flagged_rows_is_left_out(deep: Checked, place: str) -> None:
    """Of such a selection nothing is held or copied; the rest of it is pulled; unflagged again, all of it is."""
    lab, subject, *_ = deep.schemas
    name, key = place.split()
    table = {"Subject": (subject, "subject"), "User": (lab, "user"), "Institute": (lab, "#institute")}[name]
    flagged: Entity = table, (key,)
    deep.select(table[0], name, {"lab" if name == "Institute" else name.lower(): key})
    deep.flag(flagged)
    contents, sessions = deep.read(), (subject, "session")
    left_out = set()
    for entity in contents.entities(sessions):
        up = closures.closure(contents, [entity])
        if flagged in up:
            left_out.add(entity)
        else:
            deep.wanted |= up
    assert left_out
    result = deep.pipeline.pull(deep.there(subject, "Session"))
    assert result.tables[f"{subject}.Session"].skipped == {FLAGGED: len(left_out)}
    deep.tables |= closures.tables_of(contents, [sessions])
    deep.check(contents)
    deep.flag(flagged, "FALSE")
    deep.select(subject, "Session")


def test_deprecated_and_unflagged_again(deep: Checked) -> None:
    """What was deleted here at the source's wish comes back with whatever needs it, once the wish is taken back."""
    lab, subject, *_ = deep.schemas
    oslo: Entity = (lab, "#institute"), ("oslo",)
    deep.select(lab, "Institute", "lab = 'oslo'")
    deep.flag(oslo)
    (deep.pipeline[lab].Institute & "lab = 'oslo'").delete(prompt=False)
    result = deep.pipeline.pull(deep.there(subject, "Subject") & "subject = 6")
    assert (result.pulled, set(result.skipped)) == (0, {FLAGGED})
    assert result.tables[f"{subject}.Subject"].skipped == {FLAGGED: 1}
    deep.flag(oslo, "FALSE")
    deep.wanted.clear()
    deep.select(subject, "Subject", "subject = 6")
    assert len(deep.wanted) == 3


# what was made here


def test_rows_that_were_computed_here(deep: Checked) -> None:
    """They stay, and nothing is held for them; what the source has as well is held once it is selected, not copied."""
    *_, ephys, report = deep.schemas
    deep.select(report, "Psth", "rate = 7")
    deep.select(ephys, "Clustering", "subject = 5")
    local = deep.lab.local.Schema(deep.local[report], create_schema=False, create_tables=False)
    psth = local.get_table("__psth")
    unit = {"subject": 5, "session": 1, "probe": 3, "params": tricky.PARAMS[1], "unit": 1}
    psth.insert1({**unit, "bins": tricky.PARAMS[1], "rate": 8.0}, allow_direct_insert=True)  # as the source has it
    psth.insert1({**unit, "bins": tricky.PARAMS[0], "rate": 9.0}, allow_direct_insert=True)
    contents = deep.read()
    assert closures.held(deep.lab.source_server, deep.lab.helper_schema, contents) == deep.wanted
    again = deep.pipeline.pull(deep.there(report, "Psth") & "rate = 7")
    assert (again.pulled, again.adopted) == (0, 0)
    assert closures.held(deep.lab.source_server, deep.lab.helper_schema, contents) == deep.wanted
    result = deep.pipeline.pull(deep.there(report, "Psth"))
    assert (result.pulled, result.adopted) == (0, 1)
    deep.wanted |= closures.closure(contents, contents.entities((report, "__psth")))
    assert closures.held(deep.lab.source_server, deep.lab.helper_schema, contents) == deep.wanted
    assert len(psth) == 3


# keys that one side takes for the same


class Mouse(dj.Manual):
    definition = "mouse: varchar(8)\n---\nn: int32"


class Day(dj.Manual):
    definition = "-> Mouse\nday: int32\n---\n-> [nullable] Mouse.proj(other='mouse')"


SPELLED = (
    {"mice": [Mouse], "days": [Day]},
    {
        "Mouse": [("ann", 1), ("bob", 2), ("Zoë", 3)],
        "Day": [("ANN", 1, None), ("ann", 2, "BOB"), ("bob", 1, "zoe"), ("bob", 2, "ann")],
    },
)


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_rows_that_spell_what_they_refer_to_otherwise(lab: Lab) -> None:
    """As the collations of MySQL and MariaDB let them: they refer to the same here."""
    pulled = checked(lab, *SPELLED)
    _, days = pulled.schemas
    pulled.select(days, "Day", "day = 2")
    assert len(pulled.wanted) == 4
    pulled.select(days, "Day")


@pytest.mark.parametrize(
    "pair", [("mysql", "postgresql"), ("mariadb", "postgresql"), ("mysql", "mariadb")], indirect=True
)
def test_rows_that_spell_it_otherwise_where_that_is_another(mixed: Lab) -> None:
    """They are refused, each by its key, and not held; what they refer to is there."""
    pulled = checked(mixed, *SPELLED)
    mice, days = pulled.schemas
    day = pulled.there(days, "Day")
    with pytest.raises(TransferError) as refused:
        pulled.pipeline.pull(day & {"mouse": "ann", "day": 1})
    assert f"{days}_here.day" in str(refused.value)
    assert "ANN" in str(refused.value)
    result = pulled.pipeline.pull(day, suppress_errors=True)
    assert sorted(key["day"] for key, _ in result.errors) == [1, 1, 2]
    contents, here = pulled.read(), pulled.here()
    held = closures.held(mixed.source_server, mixed.helper_schema, contents)
    assert held == here.entities((mice, "mouse")) | here.entities((days, "day"))
    assert here.entities((days, "day")) == {((days, "day"), ("bob", "2"))}
    assert pulled.pipeline.verify()


@pytest.mark.parametrize(
    "pair", [("mysql", "postgresql"), ("postgresql", "mysql"), ("postgresql", "mariadb")], indirect=True, ids="-".join
)
def test_foreign_keys_that_only_sql_declares(mixed: Lab) -> None:
    """To a unique key, and, on PostgreSQL, with columns in another order than those that they refer to."""
    schema = f"{mixed.prefix}_sql"
    turned = "s, n) REFERENCES p (b, a)" if mixed.kind == "postgresql" else "n, s) REFERENCES p (a, b)"
    statements = (
        "CREATE SCHEMA {}",
        "CREATE TABLE p (a int, b varchar(3), u int UNIQUE, PRIMARY KEY (a, b))",
        "CREATE TABLE c (k int PRIMARY KEY, n int, s varchar(3), u int, "
        f"FOREIGN KEY ({turned}, FOREIGN KEY (u) REFERENCES p (u))",
        "INSERT INTO p VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', NULL)",
        "INSERT INTO c VALUES (1, 2, 'b', 10), (2, NULL, 'c', NULL), (3, 3, 'c', NULL)",
    )
    pulled = declared(mixed, schema, statements)
    assert pulled.select(schema, "C", "k = 1").pulled == 3
    assert pulled.select(schema, "C").pulled == 3


def declared(lab: Lab, schema: str, statements: Iterable[str]) -> Checked:
    """A pipeline that plain SQL has made at the source, which the link user may read."""
    for statement in statements:
        lab.source_server.sql(re.sub(r"(TABLE|INTO|REFERENCES) ", rf"\1 {schema}.", statement).format(schema))
    grant(lab, [schema])
    return Checked(lab, [schema])


def test_rows_that_refer_by_a_unique_key(lab: Lab) -> None:
    """To whom they refer tells what is derived from it, what stands on what is flagged, and what a refresh brings."""
    schema = f"{lab.prefix}_sql"
    statements = (
        "CREATE SCHEMA {}",
        "CREATE TABLE q (q int PRIMARY KEY)",
        "CREATE TABLE p (a int PRIMARY KEY, u int NOT NULL UNIQUE, q int NOT NULL, FOREIGN KEY (q) REFERENCES q (q))",
        "CREATE TABLE c (k int PRIMARY KEY, u int, FOREIGN KEY (u) REFERENCES p (u))",
        "CREATE TABLE c__part (k int, n int, u int, PRIMARY KEY (k, n), FOREIGN KEY (k) REFERENCES c (k), "
        "FOREIGN KEY (u) REFERENCES p (u))",
        "INSERT INTO q VALUES (1), (2), (3), (4)",
        "INSERT INTO p VALUES (1, 10, 1), (2, 20, 2), (3, 30, 3), (4, 40, 4)",
        "INSERT INTO c VALUES (1, 10), (2, 20), (3, 30), (4, NULL), (5, NULL)",
        "INSERT INTO c__part VALUES (4, 1, 20), (5, 1, 30), (5, 2, NULL)",
    )
    pulled = declared(lab, schema, statements)
    assert pulled.select(schema, "P", "a = 2", descendants=True).pulled == 4
    pulled.forget()
    pulled.select(schema, "Q", "q = 2")
    pulled.flag(((schema, "q"), ("2",)))
    result = pulled.pipeline.pull(pulled.there(schema, "C"))
    assert result.tables[f"{schema}.C"].skipped == {FLAGGED: 2}
    assert {key for _, key in pulled.here().entities((schema, "c"))} == {("1",), ("3",), ("5",)}
    pulled.flag(((schema, "q"), ("2",)), "FALSE")
    pulled.forget()
    pulled.select(schema, "C", "k = 1")
    lab.source_server.sql(f"UPDATE {schema}.c SET u = 30 WHERE k = 1")
    pulled.pipeline.refresh()
    assert pulled.here().entities((schema, "p")) == {((schema, "p"), (a,)) for a in ("1", "3")}


def test_rows_that_refer_to_what_is_not_there(lab: Lab) -> None:
    """As they come by loading without checks: they are refused, each by its key, and not held; all else is pulled."""
    schema = f"{lab.prefix}_sql"
    declared(
        lab,
        schema,
        (
            "CREATE SCHEMA {}",
            "CREATE TABLE p (a int PRIMARY KEY)",
            "CREATE TABLE c (k int PRIMARY KEY, a int)",
            "CREATE TABLE d (k int PRIMARY KEY)",
            "INSERT INTO p VALUES (1), (2)",
            "INSERT INTO c VALUES (1, 1), (2, 9), (3, 2), (4, NULL)",
            "INSERT INTO d VALUES (1), (2), (3), (5)",
        ),
    )
    unchecked = "NOT VALID" if lab.kind == "postgresql" else ""
    adding = [
        f"ALTER TABLE {schema}.c ADD FOREIGN KEY (a) REFERENCES {schema}.p (a) {unchecked}",
        f"ALTER TABLE {schema}.d ADD FOREIGN KEY (k) REFERENCES {schema}.c (k) {unchecked}",
    ]
    run_sql(lab.source_server, [*["SET foreign_key_checks = 0"] * (lab.kind != "postgresql"), *adding])
    pulled = Checked(lab, [schema])
    with pytest.raises(TransferError, match=r"(?s)'k': 2\}.*not there either"):
        pulled.pipeline.pull(pulled.there(schema, "C"))
    result = pulled.pipeline.pull(pulled.there(schema, "D"), suppress_errors=True)
    assert [(key, str(error).count("not there either")) for key, error in result.tables[f"{schema}.C"].errors] == [
        ({"k": 2}, 1)
    ]
    assert result.tables[f"{schema}.D"].skipped == {"an ancestor is left out": 2}
    contents, here = pulled.read(), pulled.here()
    kept = {((schema, "d"), ("1",)), ((schema, "d"), ("3",))}
    kept |= {((schema, "c"), (k,)) for k in "134"} | {((schema, "p"), (a,)) for a in "12"}
    assert {entity for table in here.masters() for entity in here.entities(table)} == kept
    assert closures.held(lab.source_server, lab.helper_schema, contents) == kept
    assert pulled.pipeline.verify()


def test_parts_that_refer_to_another_of_their_masters(lab: Lab) -> None:
    """By the key that has other names; cut, it is a plain one. Of a part of a part the other part says whose it is."""
    schema = f"{lab.prefix}_sql"
    other = "a_s int, FOREIGN KEY (a, a_s) REFERENCES ses (a, s)"
    statements = (
        "CREATE SCHEMA {}",
        "CREATE TABLE ses (a int, s int, PRIMARY KEY (a, s))",
        "CREATE TABLE ses__trial (a int, s int, t int, PRIMARY KEY (a, s, t), "
        f"FOREIGN KEY (a, s) REFERENCES ses (a, s), {other})",
        "CREATE TABLE ses__event (a int, s int, t int, e int, PRIMARY KEY (a, s, t, a_s, e), "
        f"{other}, FOREIGN KEY (a, s, t) REFERENCES ses__trial (a, s, t))",
        "INSERT INTO ses VALUES (1, 1), (1, 2), (1, 3)",
        "INSERT INTO ses__trial (a, s, t, a_s) VALUES (1, 1, 1, 2), (1, 2, 1, 3), (1, 2, 2, NULL)",
        "INSERT INTO ses__event (a, s, t, a_s, e) VALUES (1, 1, 1, 3, 1), (1, 2, 2, 1, 1)",
    )
    pulled = declared(lab, schema, statements)
    cut = [f"{schema}.Ses.{part}.a_s" for part in ("Trial", "Event")]
    with pytest.raises(CycleError, match=re.escape(cut[0])):
        pulled.pipeline.pull(pulled.there(schema, "Ses") & "s = 1")
    result = pulled.pipeline.pull(pulled.there(schema, "Ses") & "s = 1", cut=cut)
    assert (result.pulled, result.part_rows) == (1, 2)
    here = pulled.here()
    assert here.rows[schema, "ses__trial"] == [{"a": "1", "s": "1", "t": "1", "a_s": "2"}]
    assert {(r["s"], r["a_s"]) for r in here.rows[schema, "ses__event"]} == {("1", "3")}


def test_parts_that_call_the_key_of_their_master_otherwise(lab: Lab) -> None:
    """In part: what is selected by them is told by all of it, in pulls, in what differs, and in deletions."""
    schema = f"{lab.prefix}_sql"
    statements = (
        "CREATE SCHEMA {}",
        "CREATE TABLE ses (a int, s int, PRIMARY KEY (a, s))",
        "CREATE TABLE ses__page (animal int, s int, page int, PRIMARY KEY (animal, s, page), "
        "FOREIGN KEY (animal, s) REFERENCES ses (a, s))",
        "INSERT INTO ses VALUES (1, 1), (2, 1), (3, 1), (3, 2)",
        "INSERT INTO ses__page VALUES (1, 1, 1), (2, 1, 2), (3, 2, 1)",
    )
    pulled = declared(lab, schema, statements)
    assert pulled.select(schema, "Ses.Page", "page = 2").pulled == 1
    lab.source_server.sql(f"UPDATE {schema}.ses__page SET page = 3 WHERE animal = 2")
    there = pulled.there(schema, "Ses.Page")
    assert [row["animal"] for row in there.differing().to_dicts()] == [2]
    host = f"{lab.source_server.host}:{lab.source_server.port}"
    options: dict[str, Any] = {"connection": lab.local, "use_tls": False, "backend": lab.source_server.backend}
    Ses: Any = link(host, schema, lab.helper_schema, "held", f"{lab.prefix}_alone", **options)(type("Ses", (), {}))
    assert (Ses.source.Page & "page = 3").pull().pulled == 1
    assert Ses().to_dicts() == [{"a": 2, "s": 1}]
    Ses.source.pull()
    for wrong in (Ses.Page & {"pages": 1}).delete, (Ses.Page & {"pages": 1}).delete_quick:
        with pytest.raises(ConfigError, match="DataJoint would select everything"):
            wrong()
    assert (Ses.Page & "page = 3").delete(part_integrity="cascade", prompt=False) == 1
    assert [row["a"] for row in Ses().to_dicts()] == [1, 3, 3]
    assert len(lab.source_server.sql(f"SELECT * FROM {lab.helper_schema}.held")) == 3


def test_tables_without_keys(lab: Lab) -> None:
    """All of them are told at once, by a plan and by a pull, and how to do without them."""
    schema = f"{lab.prefix}_sql"
    tables = [f"CREATE TABLE {name} (a int, b int)" for name in ("log", "other_log")]
    pulled = declared(lab, schema, ("CREATE SCHEMA {}", *tables, "CREATE TABLE p (a int PRIMARY KEY)"))
    everything = pulled.pipeline.source[schema]
    for ask in pulled.pipeline.plan, pulled.pipeline.pull:
        with pytest.raises(DefinitionError, match=r"(?s)sql\.log has.*sql\.other_log has.*leave_out="):
            ask(everything)
    assert list(pulled.pipeline.pull(everything, leave_out=[f"{schema}.Log", f"{schema}.OtherLog"]).tables) == [
        f"{schema}.P"
    ]


# changed between a plan and its pull

TWO = (
    "CREATE SCHEMA {}",
    "CREATE TABLE p (a int PRIMARY KEY)",
    "CREATE TABLE q (b int PRIMARY KEY)",
    "CREATE TABLE c (k int PRIMARY KEY, a int, FOREIGN KEY (a) REFERENCES p (a))",
    "INSERT INTO p VALUES (1), (2)",
    "INSERT INTO q VALUES (1), (2)",
    "INSERT INTO c VALUES (1, 1), (2, 2)",
)


@pytest.mark.parametrize("change", ["foreign key", "key", "name"])
def test_keys_that_change_between_a_plan_and_its_pull(lab: Lab, change: str) -> None:
    """It brings what rows refer to as it is by then, though it was just looked at."""
    schema = f"{lab.prefix}_sql"
    pulled = declared(lab, schema, TWO)
    plan = pulled.pipeline.plan(pulled.there(schema, "C") & "k = 1")
    drop = "CONSTRAINT c_pkey" if lab.kind == "postgresql" else "PRIMARY KEY"
    changes = {
        "foreign key": f"ADD b int DEFAULT 2, ADD FOREIGN KEY (b) REFERENCES {schema}.q (b)",
        "key": f"ADD n int NOT NULL DEFAULT 7, DROP {drop}, ADD PRIMARY KEY (k, n)",
    }
    if change == "name":
        to = "r" if lab.kind == "postgresql" else f"{schema}.r"
        lab.source_server.sql(f"ALTER TABLE {schema}.p RENAME TO {to}")
    else:
        lab.source_server.sql(f"ALTER TABLE {schema}.c {changes[change]}")
    result = plan.pull()
    contents = pulled.read()
    pulled.wanted = closures.closure(contents, closures.where(contents, (schema, "c"), lambda row: row["k"] == "1"))
    pulled.tables = closures.tables_of(contents, [(schema, "c")])
    pulled.check(contents)
    assert result.pulled == len(pulled.wanted) == 2 + (change == "foreign key")


def test_a_cut_stays_one_whatever_changes(lab: Lab) -> None:
    """Of a plan that was made before its table got another column."""
    schema = f"{lab.prefix}_sql"
    pulled = declared(lab, schema, TWO)
    plan = pulled.pipeline.plan(pulled.there(schema, "C"), cut=[f"{schema}.C.a"])
    lab.source_server.sql(f"ALTER TABLE {schema}.c ADD n int")
    pulled.pipeline.pull(pulled.there(schema, "Q"))
    assert plan.pull().pulled == 2
    assert {table for _, table in pulled.here().rows} == {"c", "q"}


# interrupted


def test_ctrl_c_while_tables_are_made(lab: Lab) -> None:
    """What was made at both ends is gone, though the session that has made it was cut off in mid-statement."""
    pulled = checked(lab, *BREEDING)
    subject, _ = pulled.schemas
    pulled.select(subject, "Subject", "subject = 1")
    before = made(pulled)
    with locked(lab.local_server, f"{pulled.local[subject]}.{quoted(lab.local_server, '~link')}") as unlock:

        def interrupt() -> None:
            wait_until(lambda: lab.local_server.waits(lab.local_user))
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)  # until it is heard of: the session is cut off while its statement still waits
            unlock()

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            pulled.pipeline.pull(pulled.there(subject, "Weighing"))
        interrupting.join()
    assert made(pulled) == before
    pulled.select(subject, "Weighing")


def made(pulled: Checked) -> Any:
    """The tables at both ends."""
    helpers = closures.read(pulled.lab.source_server, [pulled.lab.helper_schema])
    return sorted(pulled.here().rows), sorted(helpers.rows)


@contextmanager
def locked(server: TestServer, table: str) -> Iterator[Callable[[], None]]:
    """A table that nobody else can write to, until what is given is called."""
    with closing(server.connect_raw()) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        share = f"LOCK TABLE {table} IN SHARE MODE"
        cursor.execute(share if server.kind == "postgresql" else f"SELECT * FROM {table} FOR UPDATE")
        yield lambda: cursor.execute("ROLLBACK")
