"""Pulls by several workers: processes, any executor, a cluster; each entity is transferred once."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datajoint as dj
import pulling
import pytest
import scripts
from figures import SOAK
from lab import Lab
from pipelines import assert_same, granted, helper_rows, run_sql, sessions, units
from provision import KINDS

from link import Pipeline, TransferError
from link.work import claims, copies, marker, parallel

REST = ("NONE", "FALSE", "FALSE")


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some ranges for each worker, though the tables are small."""
    monkeypatch.setattr(parallel, "FEWEST", 50)


def spawning() -> Executor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A local dask cluster of two processes."""
    distributed, dask = pytest.importorskip("dask.distributed"), pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as started,
        distributed.Client(started) as client,
    ):
        yield client


def assert_pulled_once(lab: Lab, table: Any, result: Any, number: int) -> None:
    """Every row was inserted by one worker, and nothing is left in hand."""
    assert (result.pulled, result.part_rows, result.errors, result.differing) == (number, 2 * number, [], [])
    assert helper_rows(lab) == [REST] * number
    assert_same(lab, table, "trial")


@pytest.mark.parametrize("processes", [2, 3, 4] if SOAK else [3])
def test_processes(lab: Lab, processes: int) -> None:
    table = sessions(lab, 2000)
    Session = granted(lab, table)
    result = Session.source.pull(processes=processes)
    assert_pulled_once(lab, table, result, 2000)
    again = Session.source.pull(processes=processes)
    assert (again.pulled, again.shared) == (0, 2000)


# What runs the tasks does not care for the kind of server, and takes long to start.
one_kind = pytest.mark.parametrize("kind", KINDS if SOAK else ["postgresql"], indirect=True)


@one_kind
@pytest.mark.parametrize("make", [spawning, lambda: ThreadPoolExecutor(3)], ids=["processes", "threads"])
def test_executor(lab: Lab, make: Callable[[], Executor]) -> None:
    """Any executor; it is the caller's, and still works afterwards."""
    table = sessions(lab, 1000)
    Session = granted(lab, table)
    with make() as executor:
        result = Session.source.pull("session < 600", executor=executor, processes=2)
        assert (result.pulled, result.part_rows) == (600, 1200)
        rest = Session.source.pull(executor=executor)
        assert (rest.pulled, rest.shared) == (400, 600)
    assert helper_rows(lab) == [REST] * 1000
    assert_same(lab, table, "trial")


@one_kind
@pytest.mark.filterwarnings("ignore")
def test_cluster(lab: Lab, cluster: Any) -> None:
    table = sessions(lab, 1000)
    Session = granted(lab, table)
    result = Session.source.pull(executor=cluster.get_executor(), processes=2)
    assert_pulled_once(lab, table, result, 1000)

    class Deadly:
        def submit(self, *_: Any) -> Any:
            return cluster.submit(os._exit, 1, pure=False)

    Session.delete(prompt=False)
    with pytest.raises(TransferError, match=r"A worker of Session has died: .*\n.*run the same again"):
        Session.source.pull(executor=Deadly(), processes=2)


def test_what_was_left_is_finished_first(lab: Lab) -> None:
    """Held and not copied, vanished, unheld: as in a pull by one."""
    table = sessions(lab, 300)
    Session = granted(lab, table)
    Session.source.pull("session < 100")
    helper = f"{lab.helper_schema}.{lab.helper_table}"
    run_sql(
        lab.source_server,
        [
            f"INSERT INTO {helper} (subject, session, process, _worker) VALUES (0, 200, 'PULL', 4711)",
            f"DELETE FROM {helper} WHERE session = 5",
        ],
    )
    for table_name in ("session__trial", "session"):
        lab.local_server.sql(f"DELETE FROM {lab.local_schema}.{table_name} WHERE session = 7")
    result = Session.source.pull(processes=2)
    assert (result.pulled, result.shared, result.adopted) == (201, 98, 1)
    assert helper_rows(lab) == [REST] * 300
    assert_same(lab, table, "trial")


def test_max_calls(lab: Lab) -> None:
    Unit = granted(lab, units(lab, 1000))
    assert Unit.source.pull(processes=2, max_calls=333).pulled == 333
    assert Unit.source.pull("unit >= 900", processes=3, max_calls=30).pulled == 30
    assert len(Unit()) == len(helper_rows(lab)) == 363


def test_progress(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    Unit = granted(lab, units(lab, 400))
    Unit.source.pull(processes=2, display_progress=True)
    shown = capsys.readouterr().err
    assert "Unit: 100%" in shown and "400/400" in shown


def test_entity_that_is_refused(lab: Lab) -> None:
    """The error of a worker arrives as it was; with suppress_errors the others are pulled."""
    Unit = granted(lab, units(lab, 400))
    Unit()
    lab.local_server.sql(f"ALTER TABLE {Unit.full_table_name} ADD CONSTRAINT picky CHECK (unit <> 123)")
    with pytest.raises(TransferError, match=r"does not take \{'unit': 123\}"):
        Unit.source.pull(processes=2)
    result = Unit.source.pull(processes=2, suppress_errors=True)
    assert [key for key, _ in result.errors] == [{"unit": 123}]
    assert len(Unit()) == 399
    assert helper_rows(lab) == [REST] * 399


def test_worker_that_dies(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed worker ends the pull with an error; the next pull goes on."""
    table = sessions(lab, 1000)
    Session = granted(lab, table)
    begin, parent = marker.Marker._finish, os.getpid()

    def die(self: Any, *args: Any) -> None:
        if os.getpid() != parent and args[0].after and args[0].after > (4,):
            os.kill(os.getpid(), signal.SIGKILL)
        begin(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(marker.Marker, "_finish", die)
        with pytest.raises(TransferError, match="worker"):
            Session.source.pull(processes=2)
    Session.source.pull(processes=2)
    Session.source.pull()
    assert helper_rows(lab) == [REST] * 1000
    assert_same(lab, table, "trial")


class Kind(dj.Manual):
    definition = "kind: int32"


class Item(dj.Manual):
    definition = """
    item: int32
    ---
    -> Kind
    """


def test_one_meets_rows_that_refer_to_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the others have done counts as what it is, and what was left in hand as what it had been."""
    for module in (claims, copies):
        monkeypatch.setattr(module, "CHUNK_ROWS", 20)
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 10)
    there, here = f"{lab.prefix}_lab", f"{lab.prefix}_ours"
    tables = {"lab": [Kind, Item]}
    pulling.declare(lab, tables, {"Kind": [(n,) for n in range(400)], "Item": [(n, n) for n in range(400)]})
    pulling.grant(lab, [there])
    off, on = ("foreign_key_checks = 0", "foreign_key_checks = 1")
    if lab.kind == "postgresql":
        off, on = (f"session_replication_role = {role}" for role in ("replica", "DEFAULT"))
    run_sql(lab.source_server, [f"SET {off}", f"DELETE FROM {there}.kind WHERE kind = 200", f"SET {on}"])
    address = f"{lab.source_server.host}:{lab.source_server.port}"
    options: dict[str, Any] = {"connection": lab.local, "backend": lab.source_server.backend, "use_tls": False}
    lab_a = Pipeline(address, {there: here}, lab.helper_schema, **options)
    chosen = lab_a.source[there].Item
    lab_a.pull(chosen & "FALSE")
    others = [n for n in range(400) if n != 200]
    for table, values in (("kind", "({0})"), ("item", "({0}, {0})")):
        lab.local_server.sql(f"INSERT INTO {here}.{table} VALUES {', '.join(map(values.format, others))}")
    result = lab_a.pull(chosen, processes=2, suppress_errors=True).tables[f"{there}.Item"]
    assert (result.pulled, result.adopted, result.shared, len(result.errors)) == (0, 399, 0, 1)


@one_kind
def test_ctrl_c_while_processes_are_begun(lab: Lab, tmp_path: Path) -> None:
    """None of them is waited for at the end of the program, by a pool of which there is but a half."""
    lab.grant(sessions(lab, 200))
    script = """
        import multiprocessing.process, signal
        from link.work import parallel
        parallel.FEWEST = 50
        signal.signal(signal.SIGINT, signal.default_int_handler)
        begin = multiprocessing.process.BaseProcess.start

        def begin_and_interrupt(self):
            begin(self)
            signal.raise_signal(signal.SIGINT)

        multiprocessing.process.BaseProcess.start = begin_and_interrupt

        @linked
        class Session: pass
        Session.source.pull(processes=2)
        """
    done = scripts.run(lab, script, tmp_path)
    assert done.returncode == -signal.SIGINT and done.stderr.endswith("KeyboardInterrupt\n"), done.stderr
    assert set(helper_rows(lab)) <= {REST}


@one_kind
def test_ctrl_c_twice_while_processes_work(lab: Lab, tmp_path: Path) -> None:
    """They end when they have done what they are at, and the program with them."""
    lab.grant(sessions(lab, 200))
    script = """
        import multiprocessing.process, os, signal, threading, time
        from link.work import parallel
        parallel.FEWEST = 50
        signal.signal(signal.SIGINT, signal.default_int_handler)
        begin, do = multiprocessing.process.BaseProcess.start, parallel.do

        def do_slowly(task):
            time.sleep(3)
            return do(task)

        def begin_and_interrupt_soon(self):
            begin(self)
            if len(multiprocessing.active_children()) == 2:
                for seconds in (1, 1.5):
                    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()

        parallel.do = do_slowly
        multiprocessing.process.BaseProcess.start = begin_and_interrupt_soon

        @linked
        class Session: pass
        Session.source.pull(processes=2)
        """
    done = scripts.run(lab, script, tmp_path)
    assert done.returncode == -signal.SIGINT and done.stderr.endswith("KeyboardInterrupt\n"), done.stderr


def test_no_password_is_shown(lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Not by the tasks as a cluster's log shows them, nor by the package's own log."""
    Unit = granted(lab, units(lab, 200))
    tasks: list[Any] = []

    class Recording(ThreadPoolExecutor):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            tasks.extend(args)
            return super().submit(function, *args, **kwargs)

    with caplog.at_level(logging.DEBUG, "link"), Recording(2) as executor:
        Unit.source.pull(executor=executor, processes=2)
    assert len(tasks) > 1
    for secret in (lab.link_password, lab.local_password):
        assert secret not in "".join(map(repr, tasks)) + "".join(map(str, tasks)) + caplog.text
        assert secret.encode() in pickle.dumps(tasks[0])  # it must travel, of course
    assert "pulled 200" in caplog.text


@one_kind
def test_workers_that_import_the_script(lab: Lab, tmp_path: Path) -> None:
    """Where processes are not forked, as on macOS and Windows, a script needs a guard, and is told so."""
    lab.grant(sessions(lab, 20))
    script = """
        from link.work import parallel
        parallel.FORKS = False
        @linked
        class Session: pass
        {guard}Session.source.pull(processes=2)
        """
    failed = scripts.run(lab, script.format(guard=""), tmp_path)
    assert failed.returncode == 1
    assert 'put what starts workers under if __name__ == "__main__":' in failed.stderr.splitlines()[-1]
    passed = scripts.run(lab, script.format(guard='if __name__ == "__main__": '), tmp_path)
    assert passed.returncode == 0, passed.stderr
    assert helper_rows(lab) == [REST] * 20
