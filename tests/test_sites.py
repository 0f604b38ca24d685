"""One server as one account: what all links of a process to it share, and how many sessions that takes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import datajoint as dj
import pytest
from lab import Lab
from linking import linked
from pipelines import count_held, wait_until

from link import LoginError, UnreachableError
from link.servers.sites import site_of
from link.work import claims, loader
from link.work.transfer import sessions_at_source


class Subject(dj.Manual):
    definition = "subject: int32\n---\nspecies: varchar(20)"


class Session(dj.Manual):
    definition = "-> Subject\nsession: int32\n---\nnote='': varchar(20)"

    class Trial(dj.Part):
        definition = "-> master\ntrial: int32"


@pytest.fixture
def pipeline(lab: Lab) -> tuple[Any, Any]:
    """Subjects, mice and rats, with two sessions each, linked by two classes; the account sees no `~lineage`."""
    schema: Any = lab.source.Schema(lab.source_schema)
    subject: Any
    session: Any
    subject, session = (schema(table, context={"Subject": Subject}) for table in (Subject, Session))
    subject.insert({"subject": n, "species": "mouse" if n % 2 else "rat"} for n in range(6))
    session.insert({"subject": n, "session": s} for n in range(6) for s in range(2))
    session.Trial.insert({"subject": n, "session": s, "trial": 0} for n in range(6) for s in range(2))
    made = []
    for table in (subject, session):
        lab.helper_table = f"{table.table_name}_outbound"
        lab.grant(table)
        made.append(linked(lab, table.__name__))
    return made[0], made[1]


def source_sessions(lab: Lab) -> int:
    """How many sessions the link user has at the source."""
    if lab.kind == "postgresql":
        query = "SELECT COUNT(*) FROM pg_stat_activity WHERE usename = %s"
    else:
        query = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s"
    return int(lab.source_server.sql(query, lab.link_user)[0][0])


def test_tables_of_one_source_are_joined_and_restricted_with_one_another(
    lab: Lab, pipeline: tuple[Any, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dj.logger, "propagate", True)
    subject, session = pipeline
    with caplog.at_level(logging.WARNING):
        assert len(subject.source * session.source) == 12
        mice = session.source & (subject.source & "species = 'mouse'")
        assert len(mice) == 6
        assert mice.pull().pulled == 6
        assert (session.source - (subject.source & "species = 'mouse'")).pull(max_calls=2).pulled == 2
        assert len(subject.source.proj(animal="subject") * session.source) == 72
    assert not caplog.records
    assert len(session()) == len(session.Trial()) == count_held(lab) == 8
    assert subject.source.connection is session.source.connection


def test_attributes_of_other_origins_are_not_joined(lab: Lab) -> None:
    """What has the same name and another origin is refused, as at the source."""

    class Rig(dj.Manual):
        definition = "number: int32"

    class Cage(dj.Manual):
        definition = "number: int32\n---\nplace: varchar(20)"

    schema, made = lab.source.Schema(lab.source_schema), []
    for table in (Rig, Cage):
        lab.helper_table = f"{table.__name__.lower()}_outbound"
        lab.grant(schema(table))
        made.append(linked(lab, table.__name__))
    with pytest.raises(dj.DataJointError, match="lineage"):
        made[0].source * made[1].source


def test_links_share_one_connection(lab: Lab, pipeline: tuple[Any, Any]) -> None:
    """Twenty classes of one source have one connection of DataJoint's there; with its links it goes."""
    again = [linked(lab, "Session", local_schema=f"{lab.local_schema}_{n}") for n in range(10)]
    assert all(len(table.source) == 12 for table in (pipeline[1], *again))
    wait_until(lambda: source_sessions(lab) == 1)  # the last of ours may just be leaving


def test_another_password_is_another_account(
    lab: Lab, pipeline: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password is told, though a link with the right one is connected."""
    assert len(pipeline[0].source) == 6
    monkeypatch.setenv("LINK_PASS", "wrong")
    with pytest.raises(LoginError):
        linked(lab, "Session", local_schema=f"{lab.local_schema}_2")().source.pull()
    assert len(pipeline[0].source) == 6


def test_a_pull_has_so_many_sessions_at_the_source(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number that is documented, with DataJoint's own."""

    class Unit(dj.Manual):
        definition = "unit: int32"

    table: Any = lab.source.Schema(lab.source_schema)(Unit)
    table.insert({"unit": n} for n in range(200))
    lab.grant(table)
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 10)
    monkeypatch.setattr(claims, "CHUNK_ROWS", 10)
    load, seen = loader.Loader.load, []
    documented = 5 if lab.kind == "postgresql" else 4

    def loading(self: Any, reading: Any) -> int:
        wait_until(lambda: source_sessions(lab) <= documented + 1)  # one of ours may just be leaving
        seen.append(source_sessions(lab))
        return load(self, reading)

    monkeypatch.setattr(loader.Loader, "load", loading)
    assert linked(lab, "Unit")().source.pull().pulled == 200
    assert sessions_at_source(site_of(lab.source.connection).dialect) == documented
    assert len(seen) == 20 and max(seen) == documented + 1


def test_many_threads_take_turns(lab: Lab, pipeline: tuple[Any, Any]) -> None:
    """Classes of one source are first used, and pulled, by threads at once: their connection serves one at a time."""
    tables = [*pipeline, *pipeline]
    start = threading.Barrier(len(tables))

    def use(table: Any) -> int:
        start.wait()
        return sum(table.source.pull({"subject": n}).pulled for n in range(6))

    with ThreadPoolExecutor(len(tables)) as pool:
        assert sum(pool.map(use, tables)) == 6 + 12
    assert [len(table()) for table in pipeline] == [6, 12]


def test_a_closed_session_has_ended_though_a_child_has_its_socket(lab: Lab) -> None:
    """A process that was forked meanwhile keeps no lock alive: what waited for it would wait for ever."""
    site = site_of(lab.local.connection)
    session = site.open()
    assert session.lock((1, 2), wait=False)
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    try:
        session.close()
        with site.session() as other:
            wait_until(lambda: other.lock((1, 2), wait=False))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_forked_process_waits_for_no_thread_of_its_parent(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may be asking a server just then what workers ask as well."""
    asking, answered = threading.Event(), threading.Event()

    def ask() -> None:
        asking.set()
        answered.wait(60)

    def work() -> None:
        local = lab.instance(lab.local_server, lab.local_user, lab.local_password)
        with site_of(local.connection).session() as session:
            assert session.closed_by is None

    with site_of(lab.local.connection).session() as session:
        monkeypatch.setattr(session, "_find_closed", ask)
        thread = threading.Thread(target=lambda: session.closed_by)
        thread.start()
        assert asking.wait(60)
        worker = multiprocessing.get_context("fork").Process(target=work)
        worker.start()
        try:
            worker.join(30)
            assert worker.exitcode == 0
        finally:
            answered.set()
            worker.kill()
            thread.join()


def test_a_session_ends_whatever_comes_while_it_is_closed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C, for one; locks of what had stayed would be waited for without end."""
    site = site_of(lab.local.connection)
    session = site.open()
    assert session.lock((1, 2), wait=False)

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "cancel", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.close()
    with site.session() as other:
        wait_until(lambda: other.lock((1, 2), wait=False))


def test_a_session_is_outlived_whatever_another_one_runs(lab: Lab) -> None:
    site = site_of(lab.local.connection)
    with site.session() as ended, site.session() as busy, site.session() as other, ThreadPoolExecutor(1) as pool:
        sleep = "pg_sleep(60)" if lab.kind == "postgresql" else "SLEEP(60)"
        asleep = pool.submit(busy.query, f"SELECT {sleep}, '\N{GRINNING FACE}'")
        wait_until(lambda: busy._busy)
        other.outlive(ended)
        with pytest.raises(UnreachableError):
            ended.query("SELECT 1")
        assert not asleep.done()
        other.outlive(busy)
        assert isinstance(asleep.exception(), UnreachableError)


def test_a_table_that_is_made_anew_is_read_as_it_is_now(lab: Lab) -> None:
    """A site outlives links: what it knows of a table with long rows is not taken for what another one has."""
    for column in ("wave", "trace"):
        Unit = type("Unit", (dj.Manual,), {"definition": f"unit: int32\n---\n{column}: bytes"})
        schema: Any = lab.source.Schema(lab.source_schema)
        table = schema(Unit)
        table.insert({"unit": n, column: bytes(50_000)} for n in range(20))
        if lab.kind != "postgresql":
            lab.source_server.sql(f"ANALYZE TABLE {lab.source_schema}.unit")
        lab.helper_table = f"{column}_outbound"
        lab.grant(table)
        linked_table = linked(lab, "Unit", local_schema=f"{lab.local_schema}_{column}")
        assert linked_table().source.pull().pulled == 20
        assert linked_table.source.verify().compared == 20
        assert len(linked_table() & f"LENGTH({column}) = 50000") == 20
        lab.source_server.sql(f"DROP TABLE {lab.helper_schema}.{lab.helper_table}")
        lab.source_server.sql(f"DROP TABLE {lab.source_schema}.unit")
