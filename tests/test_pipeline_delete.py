"""Deleting rows of a pipeline: all that depends on them goes, and every hold of it, at whatever source it is."""

from __future__ import annotations

import builtins
import contextlib
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import datajoint as dj
import psycopg2
import pymysql
import pytest
from lab import Lab
from linking import admin, linked
from proxy import Proxy
from test_guests import REFUSALS, member

from link import LinkError, Pipeline, State, UnreachableError, host
from link.ends import loaded
from link.model.states import START_DELETE
from link.work import deletion, run

REST = ("NONE", "FALSE", "FALSE")
TABLES_OF = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
#: The tables of `declare`, parents first.
TABLES = ("subject", "session", "__rate", "pair")
#: What of them depends on the first subject: entities, in the order of TABLES.
BELOW = (1, 3, 3, 2)


class Asked:
    """Answers prompts, and remembers what had been said before each."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.answer, self.before = "", list[list[str]]()
        self._caplog = caplog

    def about(self, action: Callable[[], Any], answer: str) -> Any:
        """What comes of something that asks."""
        self.answer = answer
        self._caplog.clear()
        with self._caplog.at_level(logging.INFO, "datajoint"):
            return action()

    def __call__(self, prompt: str = "") -> str:
        self.before.append(list(self._caplog.messages))
        return self.answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Asked:
    answering = Asked(caplog)
    monkeypatch.setattr(builtins, "input", answering)
    monkeypatch.setattr(dj.logger, "propagate", True)
    return answering


def declare(lab: Lab, subjects: int = 4, sessions: int = 3) -> None:
    """Four subjects with three sessions each, their trials and rates, and pairs of neighbours, of all tiers."""

    class Subject(dj.Manual):
        definition = "subject: int32\n---\nname: varchar(20)"

    class Session(dj.Manual):
        definition = "-> Subject\nsession: int32"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32"

    class Rate(dj.Computed):
        definition = "-> Session\n---\ntotal: float64"

        class Bin(dj.Part):
            definition = "-> master\n-> Session.Trial"

        def make(self, key: Any, **_: Any) -> None:
            new: Any = self
            new.insert1({**key, "total": 0.5})

    class Pair(dj.Manual):
        definition = "pair: int32\n---\n-> Subject\n-> [nullable] Subject.proj(mate='subject')"

    schema: Any = lab.source.Schema(lab.source_schema)
    context = {"Subject": schema(Subject)}
    context["Session"] = schema(Session, context=context)
    rate, pair = schema(Rate, context=context), schema(Pair, context=context)
    numbers = [{"subject": n, "session": s} for n in range(subjects) for s in range(sessions)]
    trials = [{**each, "trial": t} for each in numbers for t in range(2)]
    context["Subject"].insert({"subject": n, "name": f"{n}% mouse"} for n in range(subjects))
    context["Session"].insert(numbers)
    context["Session"].Trial.insert(trials)
    rate.insert(({**each, "total": each["session"] / 7} for each in numbers), allow_direct_insert=True)
    rate.Bin.insert(trials, allow_direct_insert=True)
    pair.insert({"pair": n, "subject": n, "mate": n - 1 if n else None} for n in range(subjects))
    grant(lab)


def grant(lab: Lab) -> None:
    """Let the link user have the documented rights, by schema."""
    if lab.kind == "postgresql":
        lab.source_server.sql(
            f"GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA {lab.source_schema} TO {lab.link_user}"
        )
        return
    theirs, helper = (name.replace("_", "\\_") for name in (lab.source_schema, lab.helper_schema))
    lab.source_server.sql(f"GRANT SELECT, REFERENCES ON `{theirs}`.* TO {lab.link_user}@'%'")
    lab.source_server.sql(f"GRANT ALL PRIVILEGES ON `{helper}`.* TO {lab.link_user}@'%'")


def pipeline(lab: Lab, **options: Any) -> Any:
    address = f"{lab.source_server.host}:{lab.source_server.port}"
    given: dict[str, Any] = {"connection": lab.local, "use_tls": False, "backend": lab.source_server.backend} | options
    schemas = {lab.source_schema: given.pop("local_schema", lab.local_schema)}
    return Pipeline(given.pop("host", address), schemas, lab.helper_schema, **given)


def pulled(lab: Lab) -> tuple[Any, Any]:
    """The pipeline, all of which is here, and its local schema."""
    declare(lab)
    lab_a = pipeline(lab)
    lab_a.pull(lab_a.source[lab.source_schema])
    return lab_a, lab_a[lab.source_schema]


def name(lab: Lab, table: str, schema: str | None = None) -> str:
    quote = '"' if (lab.kind if schema != lab.local_schema else lab.local_kind) == "postgresql" else "`"
    return f"{quote}{schema or lab.local_schema}{quote}.{quote}{table}{quote}"


def local(lab: Lab) -> dict[str, int]:
    """How many rows the local tables have."""
    tables = (*TABLES, "session__trial", "__rate__bin")
    return {
        table: lab.local_server.sql(f"SELECT COUNT(*) FROM {name(lab, table, lab.local_schema)}")[0][0]
        for table in tables
    }


def held(lab: Lab) -> dict[str, list[Any]]:
    """What the helper rows of each table say."""
    return {
        table: sorted(
            lab.source_server.sql(
                f"SELECT process, is_flagged, is_deprecated FROM {name(lab, helper(lab, table), lab.helper_schema)}"
            )
        )
        for table in TABLES
    }


def helper(lab: Lab, table: str) -> str:
    return f"{lab.source_schema}_{table.strip('_')}_outbound"


def numbers(found: dict[str, list[Any]]) -> tuple[int, ...]:
    return tuple(len(rows) for rows in found.values())


def flag(lab: Lab, table: str, where: str, flagged: str = "TRUE") -> None:
    helper_table = name(lab, helper(lab, table), lab.helper_schema)
    lab.source_server.sql(f"UPDATE {helper_table} SET is_flagged = '{flagged}' WHERE {where}")


@pytest.mark.parametrize("restriction", ["subject = 0", "name = '0% mouse'", {"subject": 0}, "by another"])
def test_every_hold_goes(lab: Lab, restriction: Any, asked: Asked) -> None:
    """One preview and one prompt over all tables; declined, nothing is marked; then nothing else is released."""
    lab_a, ours = pulled(lab)
    before = local(lab), held(lab)
    assert numbers(before[1]) == (4, 12, 12, 4)
    if restriction == "subject = 0":  # by another process, which knows of nothing yet
        del lab_a, ours
        gc.collect()
        lab_a = pipeline(lab)
        ours = lab_a[lab.source_schema]
        assert len(lab_a.source[lab.source_schema].Subject()) == 4
    doomed = ours.Subject & (ours.Pair & "pair = 0" if restriction == "by another" else restriction)
    assert asked.about(lambda: doomed.delete(prompt=True), "no") == 0
    assert (local(lab), held(lab)) == before
    said = asked.before[0]
    counts = {"subject": 1, "session": 3, "session__trial": 6, "__rate": 3, "__rate__bin": 6, "pair": 2}
    previewed = [f"{name(lab, table, lab.local_schema)} ({count} tuples)" for table, count in counts.items()]
    assert sorted(line for line in said if line.endswith("tuples)")) == sorted(previewed)
    assert said[-1] == f"9 holds at {lab.source_server.host}:{lab.source_server.port} will be released"
    assert asked.about(lambda: doomed.delete(prompt=True), "yes") == 1
    assert len(asked.before) == 2
    assert numbers(held(lab)) == tuple(n - gone for n, gone in zip((4, 12, 12, 4), BELOW, strict=True))
    assert all(row == REST for rows in held(lab).values() for row in rows)
    assert local(lab) == {table: before[0][table] - count for table, count in counts.items()}
    # What is gone can be pulled again.
    result = lab_a.pull(lab_a.source[lab.source_schema])
    assert result.pulled == 9 and (local(lab), held(lab)) == before


def links(lab: Lab) -> tuple[Any, Any]:
    """Two tables, each linked by itself; by hand one refers to the other here."""
    declare(lab)
    options: dict[str, Any] = {"connection": lab.local, "helper_schema": lab.helper_schema}
    Subject = linked(lab, "Subject", helper_table="subjects", **options)
    Session = linked(lab, "Session", helper_table="sessions", **options)
    assert (Subject.source.pull().pulled, Session.source.pull().pulled) == (4, 12)
    refers = f"FOREIGN KEY (subject) REFERENCES {Subject.full_table_name} (subject)"
    lab.local_server.sql(f"ALTER TABLE {Session.full_table_name} ADD {refers}")
    return Subject, Session


def count(lab: Lab, helper_table: str) -> int:
    return int(lab.source_server.sql(f"SELECT COUNT(*) FROM {name(lab, helper_table, lab.helper_schema)}")[0][0])


def test_tables_that_are_linked_one_by_one(lab: Lab) -> None:
    """What depends on the rows of one is let go of by the other's link; nothing is deleted where that is not known."""
    Subject, Session = links(lab)
    assert (Subject & "subject < 2").delete(prompt=False) == 2
    assert (count(lab, "subjects"), count(lab, "sessions")) == (2, 6)
    assert Session.source.status()[State.SHARED] == 6
    del Session
    gc.collect()
    said = r"3 rows of .*session.* would be deleted, too.*not known in this process.*source\.session on .*sessions"
    with pytest.raises(LinkError, match=said):
        (Subject & "subject = 2").delete(prompt=False)
    with pytest.raises(LinkError, match=r"session.* would be dropped, too"):
        Subject.drop(prompt=False)
    assert (count(lab, "subjects"), count(lab, "sessions"), len(Subject())) == (2, 6, 2)
    # Rows on which nothing depends go all the same.
    session = name(lab, "session", lab.local_schema)
    lab.local_server.sql(f"DELETE FROM {name(lab, 'session__trial', lab.local_schema)} WHERE subject = 2")
    lab.local_server.sql(f"DELETE FROM {session} WHERE subject = 2")
    assert (Subject & "subject = 2").delete(prompt=False) == 1
    Session = linked(lab, "Session", helper_table="sessions", helper_schema=lab.helper_schema, connection=lab.local)
    assert Session.source.status()[State.VANISHED] == 3
    assert (Subject & "subject = 3").delete(prompt=False) == 1
    assert (count(lab, "subjects"), count(lab, "sessions")) == (0, 3)


def test_a_drop(lab: Lab) -> None:
    """All tables that go with it are let go of at the source, those also that are not local any more."""
    Subject, Session = links(lab)
    lab.source_server.sql(
        f"UPDATE {name(lab, 'sessions', lab.helper_schema)} SET is_flagged = 'TRUE' WHERE session = 1"
    )
    lab.local_server.sql(f"DELETE FROM {name(lab, 'session__trial', lab.local_schema)}")
    lab.local_server.sql(f"DELETE FROM {Session.full_table_name}")
    Subject.drop(prompt=False)
    assert (count(lab, "subjects"), count(lab, "sessions")) == (0, 4)
    assert Session.source.status()[State.DEPRECATED] == 4
    assert Subject.source.pull().pulled == 4


def test_flagged(lab: Lab, asked: Asked) -> None:
    """What is flagged, and what depends on it, is listed by table, and deleted with one prompt over all tables."""
    lab_a, ours = pulled(lab)
    assert lab_a.flagged == {} and not lab_a.flagged.dependents and "nothing" in repr(lab_a.flagged)
    assert asked.about(lambda: lab_a.delete_flagged(prompt=True), "yes") == 0 and asked.before == []
    flag(lab, "subject", "subject IN (0, 3)")
    flag(lab, "session", "subject = 0 AND session > 0")
    flagged, schema = lab_a.flagged, lab.source_schema
    assert flagged == {
        f"{schema}.Subject": [{"subject": 0}, {"subject": 3}],
        f"{schema}.Session": [{"subject": 0, "session": 1}, {"subject": 0, "session": 2}],
    }
    assert f"{schema}.Session  2 ({{'subject': 0" in repr(flagged) and "<td>2 (" in flagged._repr_html_()
    assert {table: len(rows) for table, rows in flagged.dependents.items()} == {
        name(lab, "session", lab.local_schema): 4,
        name(lab, "__rate", lab.local_schema): 6,
        name(lab, "pair", lab.local_schema): 3,
    }
    assert len(ours.Session & flagged.dependents[ours.Session]) == 4
    before = local(lab), held(lab)
    assert asked.about(lambda: lab_a.delete_flagged(prompt=True), "no") == 0
    assert (local(lab), held(lab)) == before and len(asked.before) == 1
    address = f"{lab.source_server.host}:{lab.source_server.port}"
    assert asked.before[0][-2:] == [
        f"13 holds at {address} will be released",
        "4 flagged there will become deprecated: the source can delete them then",
    ]
    lab.local.config.safemode = True
    assert asked.about(lab_a.delete_flagged, "yes") == 4 and len(asked.before) == 2
    gone = {"subject": 2, "session": 6, "session__trial": 12, "__rate": 6, "__rate__bin": 12, "pair": 3}
    assert local(lab) == {table: number - gone[table] for table, number in before[0].items()}
    deprecated = ("NONE", "TRUE", "TRUE")
    assert held(lab) == {
        "subject": [REST] * 2 + [deprecated] * 2,
        "session": [REST] * 6 + [deprecated] * 2,
        "__rate": [REST] * 6,
        "pair": [REST],
    }
    assert lab_a.flagged == {}


@pytest.mark.parametrize("who", ["administrator", "member"])
def test_the_source_can_delete_what_was_flagged(lab: Lab, who: str) -> None:
    """With its children: all holds below are let go of. Before that it is refused to who has the documented rights."""
    declare(lab)
    instance = lab.source if who == "administrator" else member(lab)
    lab_a = pipeline(lab)
    assert lab_a.flagged == {} and lab_a.delete_flagged(prompt=False) == 0  # nothing is here yet
    lab_a.pull(lab_a.source[lab.source_schema])
    theirs = instance.Schema(lab.source_schema, create_schema=False, create_tables=False)
    subject = theirs.get_table("subject")
    flag(lab, "subject", "subject = 0")
    if who == "member":
        with pytest.raises(REFUSALS):
            (subject & "subject = 0").delete(prompt=False)
    assert lab_a.delete_flagged(prompt=False) == 1
    admin(lab, f'DELETE FROM "{{helper}}"."{helper(lab, "subject")}" WHERE is_deprecated = \'TRUE\'')
    assert (subject & "name LIKE '0_ mouse'").delete(prompt=False) == 1
    assert numbers(held(lab)) == (3, 9, 9, 2)
    assert lab_a.verify()


@pytest.fixture
def wire(mixed: Lab) -> Iterator[Proxy]:
    """A breakable wire to the local server, which is another source at the same time."""
    through = Proxy(mixed.local_server.host, mixed.local_server.port)
    yield through
    through.close()


def another_link(lab: Lab, wire: Proxy) -> Any:
    """Notes on subjects, one each, pulled from another source; by hand they refer to the pipeline's subjects here."""

    class Note(dj.Manual):
        definition = "note: int32\n---\nsubject: int32"

    schema, helper_schema = f"{lab.prefix}_other", f"{lab.prefix}_held"
    server = lab.local_server
    notes: Any = lab.instance(server).Schema(schema)(Note)
    notes.insert({"note": 100 + n, "subject": n} for n in range(4))
    server.create_user(lab.link_user, lab.link_password)
    if lab.local_kind == "postgresql":
        server.sql(f"CREATE SCHEMA {helper_schema} AUTHORIZATION {lab.link_user}")
        server.sql(f"GRANT USAGE ON SCHEMA {schema} TO {lab.link_user}")
        server.sql(f"GRANT SELECT, REFERENCES ON {schema}.note TO {lab.link_user}")
    else:
        server.sql(f"GRANT SELECT, REFERENCES ON {schema}.* TO {lab.link_user}@'%'")
        server.sql(f"GRANT ALL PRIVILEGES ON {helper_schema}.* TO {lab.link_user}@'%'")
    names: dict[str, Any] = {"source_schema": schema, "helper_schema": helper_schema, "helper_table": "notes"}
    table = linked(lab, "Note", host=f"127.0.0.1:{wire.port}", local_schema=f"{lab.prefix}_notes", **names)
    assert table.source.pull().pulled == 4
    refers = f"FOREIGN KEY (subject) REFERENCES {name(lab, 'subject', lab.local_schema)} (subject)"
    server.sql(f"ALTER TABLE {table.full_table_name} ADD {refers}")
    origin = f"{lab.local_schema}.subject.subject"
    host.record_lineage(table.connection, f"{lab.prefix}_notes", [("note", "subject", origin)])
    return table


@pytest.mark.parametrize("pair", [("mysql", "postgresql"), ("postgresql", "mariadb")], indirect=True, ids="-".join)
def test_another_source(mixed: Lab, wire: Proxy, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """What depends on a pipeline's rows may be held elsewhere: there it is released as well, or nothing is deleted."""
    monkeypatch.setattr(run, "PAUSES", (0.01,))
    lab_a, ours = pulled(mixed)
    Note = another_link(mixed, wire)

    def notes() -> int:
        return int(mixed.local_server.sql(f"SELECT COUNT(*) FROM {mixed.prefix}_held.notes")[0][0])

    assert asked.about(lambda: (ours.Subject & "subject = 0").delete(prompt=True), "yes") == 1
    assert set(asked.before[0][-2:]) == {
        f"1 hold at 127.0.0.1:{wire.port} will be released",
        f"9 holds at {mixed.source_server.host}:{mixed.source_server.port} will be released",
    }
    assert (len(Note()), notes(), numbers(held(mixed))) == (3, 3, (3, 9, 9, 2))
    before = local(mixed), held(mixed)
    wire.cut()
    for doomed in (ours.Subject & "subject = 3", ours.Subject()):
        with pytest.raises(UnreachableError, match=r"rows? of .*note.* would be deleted, too"):
            doomed.delete(prompt=False)
    assert (local(mixed), held(mixed), len(Note())) == (*before, 3)
    with monkeypatch.context() as patch:  # in another process
        patch.setattr(loaded, "_made", type(loaded._made)())
        said = r"1 row of .*note.* would be deleted, too.*not known in this process.*other\.note on .*held\.notes"
        with pytest.raises(LinkError, match=said):
            (ours.Subject & "subject = 3").delete(prompt=False)
    # What touches none of its rows goes all the same.
    assert (ours.Session & "subject = 3").delete(prompt=False) == 3
    wire.mend()
    assert ours.Subject().delete(prompt=False) == 3
    assert (len(Note()), notes(), numbers(held(mixed))) == (0, 0, (0, 0, 0, 0))
    assert not lab_a.status().tables[f"{mixed.source_schema}.Rate"][State.VANISHED]


def test_rows_made_here_and_rows_deleted_by_others(lab: Lab) -> None:
    """What was made here goes without a hold; what plain DataJoint has deleted is let go of table by table."""
    lab_a, ours = pulled(lab)
    plain = lab.local.Schema(lab.local_schema, create_schema=False, create_tables=False)
    (plain.get_table("subject") & "subject = 1").delete(prompt=False)
    tables = lab_a.status().tables
    found = {table.rpartition(".")[2]: status[State.VANISHED] for table, status in tables.items()}
    assert found == {"Subject": 1, "Session": 3, "Rate": 3, "Pair": 2}
    lab_a.repair(dry_run=False, vanished="release")
    assert numbers(held(lab)) == (3, 9, 9, 2)
    # Rates of the lab's own, of pulled sessions.
    (ours.Rate & "subject = 2 AND session < 2").delete(prompt=False)
    made = [{"subject": 2, "session": s, "total": -1.0} for s in range(2)]
    plain.get_table("__rate").insert(made, allow_direct_insert=True)
    assert numbers(held(lab)) == (3, 9, 7, 2) and local(lab)["__rate"] == 9
    assert (ours.Session & "subject = 2").delete(prompt=False) == 3
    assert numbers(held(lab)) == (3, 6, 6, 2) and local(lab)["__rate"] == 6


@pytest.mark.parametrize("how", ["at once", "by the run after a dead one"])
def test_parts_that_refer_elsewhere(lab: Lab, how: str) -> None:
    """Deleted with what they refer to only if their masters go as well: then these holds are released, too."""

    class Subject(dj.Manual):
        definition = "subject: int32"

    class Visit(dj.Manual):
        definition = "visit: int32"

        class Guest(dj.Part):
            definition = "-> master\n-> Subject"

    schema: Any = lab.source.Schema(lab.source_schema)
    subjects = schema(Subject)
    visits = schema(Visit, context={"Subject": subjects})
    subjects.insert({"subject": n} for n in range(3))
    visits.insert({"visit": n} for n in range(3))
    visits.Guest.insert({"visit": v, "subject": s} for v, s in [(0, 0), (0, 1), (1, 1), (2, 2)])
    grant(lab)
    lab_a = pipeline(lab)
    lab_a.pull(lab_a.source[lab.source_schema])
    ours = lab_a[lab.source_schema]

    def holds() -> tuple[int, ...]:
        return tuple(count(lab, helper(lab, table)) for table in ("subject", "visit"))

    with pytest.raises(dj.DataJointError, match="before its master"):
        (ours.Subject & "subject = 1").delete(prompt=False)
    assert holds() == (3, 3) and not ours.Subject.connection.in_transaction
    if how == "at once":
        assert (ours.Subject & "subject = 1").delete(prompt=False, part_integrity="cascade") == 1
    else:
        for table, where in (("subject", "subject = 1"), ("visit", "visit < 2")):
            marked = f"UPDATE {name(lab, helper(lab, table), lab.helper_schema)} SET process = 'DELETE', _worker = 4711"
            lab.source_server.sql(f"{marked} WHERE {where}")
        lab_a.pull(lab_a.source[lab.source_schema].Visit & "visit = 2")
    assert holds() == (2, 1)
    assert [len(table()) for table in (ours.Subject, ours.Visit, ours.Visit.Guest)] == [2, 1, 1]
    assert lab_a.verify()


@pytest.mark.parametrize("marked", [TABLES, ("subject",)], ids=["all", "the parents only"])
def test_what_a_dead_deletion_has_left(lab: Lab, marked: tuple[str, ...]) -> None:
    """It is finished by whatever comes next on each table; what was not marked is noticed as lost."""
    pulled(lab)
    for table in marked:
        where = "pair < 2" if table == "pair" else "subject = 0"
        helper_table = name(lab, helper(lab, table), lab.helper_schema)
        lab.source_server.sql(f"UPDATE {helper_table} SET process = 'DELETE', _worker = 4711 WHERE {where}")
    again = pipeline(lab)
    here = again.source[lab.source_schema]
    assert again.pull(here.Subject & "subject = 3").pulled == 0
    assert local(lab)["subject"] == 3 and local(lab)["session"] == 9
    # All that was marked is released by now, or with the next pull of it.
    again.pull(here.Rate & "subject = 3", here.Pair & "pair = 3")
    left = tuple(n - gone for n, gone in zip((4, 12, 12, 4), BELOW, strict=True))
    if marked == TABLES:
        assert numbers(held(lab)) == left
    status = again.status()
    assert status[State.VANISHED] == (0 if marked == TABLES else sum(BELOW) - 1)
    assert again.repair(dry_run=False, vanished="release") is not None
    assert numbers(held(lab)) == left


@pytest.mark.parametrize("moment", ["marking", "committing", "asking"])
def test_what_fails_changes_nothing(lab: Lab, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark that cannot be set takes all others back; so does a commit that fails, and Ctrl-C at the prompt."""
    ours = pulled(lab)[1]
    before = local(lab), held(lab)
    marked = list[int]()
    apply = run.Run.apply

    def failing(self: Any, transition: Any, keys: Any) -> int:
        if transition is START_DELETE and keys:
            marked.append(len(keys))
            if len(marked) == 3:
                raise UnreachableError("gone")
        return apply(self, transition, keys)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    if moment == "marking":
        monkeypatch.setattr(run.Run, "apply", failing)
    elif moment == "committing":
        monkeypatch.setattr(type(ours.Subject.connection), "commit_transaction", interrupted)
    else:
        monkeypatch.setattr(builtins, "input", interrupted)
    with pytest.raises(UnreachableError if moment == "marking" else KeyboardInterrupt):
        (ours.Subject & "subject = 0").delete(prompt=moment == "asking")
    monkeypatch.undo()
    assert not ours.Subject.connection.in_transaction or moment == "committing"
    assert held(lab) == before[1]
    lab.local.connection.cancel_transaction()
    assert local(lab) == before[0]


def test_rows_that_come_meanwhile(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody adds a row below what is being deleted: it goes as well, or is refused; nothing is half deleted."""
    ours = pulled(lab)[1]
    coming, delete = list[threading.Thread](), host.Cascade.delete

    def insert() -> None:
        with contextlib.suppress(pymysql.MySQLError, psycopg2.Error):
            lab.local_server.sql(f"INSERT INTO {name(lab, 'session', lab.local_schema)} VALUES (0, 99)")

    def meanwhile(self: Any) -> Any:
        if not coming:
            coming.append(threading.Thread(target=insert))
            coming[0].start()
            coming[0].join(0.5)
        return delete(self)

    monkeypatch.setattr(host.Cascade, "delete", meanwhile)
    assert (ours.Subject & "subject = 0").delete(prompt=False) == 1
    coming[0].join()
    assert len(ours.Session & "subject = 0") == 0
    assert numbers(held(lab)) == (3, 9, 9, 2)


def test_source_lost_after_the_local_commit(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted here is held until the next operation on each table, which tells the source."""
    monkeypatch.setattr(run, "PAUSES", (0.01,))
    declare(lab)
    wire = Proxy(lab.source_server.host, lab.source_server.port)
    lab_a = pipeline(lab, host=f"127.0.0.1:{wire.port}")
    here = lab_a.source[lab.source_schema]
    lab_a.pull(here)
    commit = deletion._commit

    def losing(*args: Any) -> None:
        commit(*args)
        wire.cut()

    with monkeypatch.context() as patch:
        patch.setattr(deletion, "_commit", losing)
        with pytest.raises(UnreachableError, match="were deleted here, but the source could not be told"):
            (lab_a[lab.source_schema].Subject & "subject = 0").delete(prompt=False)
    assert local(lab)["subject"] == 3 and numbers(held(lab)) == (4, 12, 12, 4)
    assert [row[0] for rows in held(lab).values() for row in rows].count("DELETE") == sum(BELOW)
    wire.mend()
    lab_a.pull(here.Rate & "subject = 3", here.Pair & "pair = 3")
    assert numbers(held(lab)) == (3, 9, 9, 2)
    wire.close()


def test_the_end_of_some_tables(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drop takes what depends on it, and lets go of all that; a release leaves what still holds; both begin anew."""
    lab_a, ours = pulled(lab)
    here = lab_a.source[lab.source_schema]
    assert ours.Subject.source.release(prompt=False) == 4
    assert numbers(held(lab)) == (0, 12, 12, 4) and local(lab)["subject"] == 4
    assert lab_a.status().tables[f"{lab.source_schema}.Subject"][State.UNHELD] == 4
    assert lab_a.pull(here).adopted == 4 and numbers(held(lab)) == (4, 12, 12, 4)
    ours.Session.drop(prompt=False)
    left = {table for (table,) in lab.local_server.sql(TABLES_OF, lab.local_schema) if not table.startswith("~")}
    assert left == {"subject", "pair"}
    assert [count(lab, helper(lab, table)) for table in TABLES] == [4, 0, 0, 4]
    assert lab_a.pull(here.Rate & "subject = 1").pulled == 6
    assert numbers(held(lab)) == (4, 3, 3, 4) and lab_a.verify()
    assert (ours.Subject & "subject = 1").delete(prompt=False) == 1
    assert numbers(held(lab)) == (3, 0, 0, 2)
    assert lab_a.pull(here).pulled == 27
    monkeypatch.setattr(loaded, "_made", type(loaded._made)())  # whose its tables are is noted beside them
    assert (ours.Subject & "subject = 1").delete(prompt=False) == 1
    assert numbers(held(lab)) == (3, 9, 9, 2)
    ours.Subject.drop(prompt=False)
    assert numbers(held(lab)) == (0, 0, 0, 0)
