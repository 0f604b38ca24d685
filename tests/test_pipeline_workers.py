"""Worker processes of a pipeline's pull are killed, anywhere: what is here is held, and the next pull goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import diamond
import pytest
from crasher import Mode, Order, Trap, hook
from figures import SOAK, Figures
from lab import Lab
from proxy import Proxy

from link import TransferError
from link.model.states import HelperRow
from link.servers.mysql_session import MySQLSession
from link.servers.postgresql_session import PostgreSQLSession
from link.work import claims, copies, parallel

ENTITIES = diamond.made(30)
REST = HelperRow("NONE", "FALSE", "FALSE")
DO = parallel.do
#: What a worker does first, instead of its task; workers are forked, and find it here.
begin: Callable[[Any], Any] = DO


def work(task: Any) -> Any:
    """In a worker."""
    return DO(begin(task))


@pytest.fixture
def servers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[diamond.Servers]:
    """The diamond at the source, whose empty tables are here; a few entities are enough for several workers."""
    for module in (claims, copies):
        monkeypatch.setattr(module, "CHUNK_ROWS", 5)
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 5)
    monkeypatch.setattr(parallel, "FEWEST", 10)
    monkeypatch.setattr(parallel, "do", work)
    with ExitStack() as stack:
        made = diamond.Servers(lab, stack)
        made.put(False, ENTITIES)
        made.lab_a.pull(some(made, "FALSE"))
        yield made


def some(servers: diamond.Servers, restriction: str = "TRUE") -> Any:
    return servers.lab_a.source[servers.theirs["second"]].D & restriction


def check_end(servers: diamond.Servers) -> None:
    """All that was asked for is here and held, once, and nothing is in hand."""
    servers.check_safety()
    assert servers.local_entities() == ENTITIES
    assert servers.helper_rows() == dict.fromkeys(ENTITIES, REST)


@pytest.mark.timeout(3600 if SOAK else 300)
def test_workers_that_are_killed_at_a_statement(
    servers: diamond.Servers, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    """Each at its n-th statement that changes something, of whichever table and range it has in hand then."""
    known = servers.sessions()
    modes: tuple[Mode, ...] = ("kill before", "kill after")
    for turn in range(1000):
        trap = Trap(Order("", modes[turn % 2], 1 + turn * (1 if SOAK else 14)))

        def arm(task: Any, trap: Trap = trap) -> Any:
            if not trap.armed:
                hook(trap)
                trap.armed = True
            return task

        monkeypatch.setattr(f"{__name__}.begin", arm)
        servers.clear()
        try:
            servers.lab_a.pull(some(servers), processes=2)
        except TransferError as error:
            assert "worker" in str(error) and "run the same again" in str(error)
        else:
            assert turn > 2
            check_end(servers)
            return
        servers.check_safety()
        servers.await_sessions(known)
        servers.check_safety()
        figures.add("workers of a pipeline's pull killed", servers.lab.kind)
        monkeypatch.setattr(f"{__name__}.begin", lambda task: task)
        held, here = servers.helper_rows(), servers.local_names()
        plan = servers.lab_a.plan(some(servers))
        result = servers.lab_a.pull(some(servers), processes=1 + turn % 2)
        for each in plan.tables:  # what is claimed, and not here, is new
            of_table = {name for name in ENTITIES if each.name.endswith(f".{name[0]}")}
            assert each.entities == len(of_table)
            assert each.new == len(of_table - {name for name, row in held.items() if row == REST})
            assert result.tables[each.name].pulled == len(of_table - here)
        check_end(servers)


def test_what_a_killed_worker_had_sent_is_done_later(servers: diamond.Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last word, COMMIT, is on its way to the local server for longer than it takes to notice that it is gone."""
    wire = Proxy(servers.lab.local_server.host, servers.lab.local_server.port)
    fork = multiprocessing.get_context("fork")
    committing, slowed, parent = fork.Event(), fork.Event(), os.getpid()

    def far_away(task: Any) -> Any:
        return replace(task, local=replace(task.local, port=wire.port))

    def note(self: Any, *args: Any) -> Any:
        self.has_loaded = True
        return load(self, *args)

    def commit(self: Any, sql: str, *args: Any) -> Any:
        if sql == "COMMIT" and os.getpid() != parent and getattr(self, "has_loaded", False):
            committing.set()
            slowed.wait()
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return execute(self, sql, *args)

    def slow() -> None:
        committing.wait(30)
        wire.delay_ms = 1000
        slowed.set()

    kind: Any = MySQLSession if servers.lab.local_kind != "postgresql" else PostgreSQLSession
    execute, load = kind.execute, kind.load
    monkeypatch.setattr(kind, "load", note)
    monkeypatch.setattr(kind, "execute", commit)
    monkeypatch.setattr(f"{__name__}.begin", far_away)
    thread, known = threading.Thread(target=slow), servers.sessions()
    thread.start()
    with pytest.raises(TransferError, match="worker"):
        servers.lab_a.pull(some(servers), processes=2)
    thread.join()
    assert committing.is_set()
    servers.await_sessions(known)
    wire.close()
    assert servers.local_names()
    servers.check_safety()
    monkeypatch.setattr(f"{__name__}.begin", lambda task: task)
    servers.lab_a.pull(some(servers))
    check_end(servers)
