"""A pipeline is opened for the first time, and one of the servers goes away, or the program is killed, in the middle.

What is left is at rest: nothing is held, the source's own deletions go on, and the next run does what was asked for.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any, Literal

import diamond
import pytest
from crasher import Crasher, Mode, Order
from figures import SOAK, Figures
from lab import Lab
from proxy import Proxy
from recorder import Statement, recorded

from link import Pipeline, UnreachableError
from link.model.states import HelperRow
from link.work import run

ENTITIES = diamond.made(3)
REST = HelperRow("NONE", "FALSE", "FALSE")
End = Literal["source", "local"]


class World(diamond.Servers):
    """The diamond, filled at the source; nothing of it is here."""

    def all(self, lab_a: Any) -> list[Any]:
        """What selects everything."""
        return [lab_a.source[schema] for schema in self.theirs.values()]

    def forget(self) -> None:
        """Take away what a link has made at both ends."""
        lab = self.lab
        cascade, owner = (" CASCADE", f" AUTHORIZATION {lab.link_user}") if lab.kind == "postgresql" else ("", "")
        self.sql(self.there, f"DROP SCHEMA {lab.helper_schema}{cascade}", f"CREATE SCHEMA {lab.helper_schema}{owner}")
        for schema in reversed(self.ours.values()):
            self.sql(self.here, f"DROP SCHEMA IF EXISTS {schema}{cascade}")
        self._helpers = {}

    def check_rest(self) -> None:
        """Nothing is held, and the source deletes as before, by helper tables that have been left, too."""
        assert not self.helper_rows()
        table = self.classes["A"]
        table.connection.dependencies.clear()
        table.insert1({"a": 99, "note": "of the source"})
        (table & "a = 99").delete(prompt=False)
        assert not table & "a = 99"

    def check_end(self) -> None:
        """All was pulled, once."""
        self.check_safety()
        assert self.local_entities() == ENTITIES
        assert self.helper_rows() == dict.fromkeys(ENTITIES, REST)


@pytest.fixture
def world(lab: Lab) -> Iterator[World]:
    with ExitStack() as stack:
        made = World(lab, stack)
        made.put(False, ENTITIES)
        yield made


class Cutting(list[Statement]):
    """Cuts a wire at its n-th statement, before it is sent or soon after."""

    def __init__(self, wire: Proxy, point: int, after: bool) -> None:
        super().__init__()
        self.wire, self.point, self.after = wire, point, after
        self.seen = 0
        self.timer = threading.Timer(0.004, wire.cut)

    def append(self, statement: Statement) -> None:
        if statement.port == self.wire.port:
            self.seen += 1
            if self.seen == self.point:
                self.timer.start() if self.after else self.wire.cut()

    def is_over(self) -> bool:
        """Whether the wire was not cut; once it is."""
        if self.seen >= self.point and self.after:
            self.timer.join()
        return self.seen < self.point


@pytest.mark.timeout(3600 if SOAK else 300)
@pytest.mark.parametrize("end", ["source", "local"])
def test_a_server_is_lost(world: World, end: End, figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PAUSES", (0.02,) * 3)
    lab = world.lab
    servers = {"source": lab.source_server, "local": lab.local_server}
    tables: Any = None
    for turn in itertools.count():
        world.forget()
        wire = Proxy(servers[end].host, servers[end].port)
        place = {name: server.port for name, server in servers.items()} | {end: wire.port}
        local = lab.instance(lab.local_server, lab.local_user, lab.local_password)
        local.connection.conn_info["port"] = place["local"]
        local.connection.connect()

        def pipeline(port: int = place["source"], local: Any = local) -> Any:
            options: dict[str, Any] = {"helper_schema": lab.helper_schema, "connection": local, "use_tls": False}
            return Pipeline(f"{lab.source_server.host}:{port}", schemas=world.schemas, **options)

        lab_a, cutting = (
            pipeline(),
            Cutting(wire, 1 + turn * (1 if SOAK else 9 if end == "local" else 6), turn % 2 == 1),
        )
        try:
            with recorded(cutting), suppress(UnreachableError):
                lab_a.pull(*world.all(lab_a), max_calls=0)
            is_over = cutting.is_over()
            wire.mend()
            world.check_rest()
            if is_over:
                assert turn > 3
                return
            figures.add("openings of a pipeline in which a server was lost", lab.kind)
            lab_a = lab_a if turn % 4 < 2 else pipeline()
            lab_a.pull(*world.all(lab_a))
            world.check_end()
            tables = tables or world.catalogues()
            assert world.catalogues() == tables
        except AssertionError as error:
            raise AssertionError(f"statement {cutting.point} at the {end}\n{error}") from error
        finally:
            wire.close()


@pytest.mark.timeout(3600 if SOAK else 300)
def test_the_program_is_killed(world: World, figures: Figures) -> None:
    code = world.code("lab_a.pull(lab_a.source[first], lab_a.source[second], max_calls=0)")
    modes: tuple[Mode, ...] = ("kill before", "kill after")
    with Crasher(world.lab, world.schemas, "lab_a.source") as crasher:
        crasher.run(Order("0"))  # connects the process that forks the others
        known = world.sessions()
        for turn in itertools.count():
            world.forget()
            order = Order(code, modes[turn % 2], 1 + turn * (1 if SOAK else 5), reads=SOAK, first_use=True)
            crashed = crasher.run(order)
            try:
                world.await_sessions(known)
                world.check_rest()
                lab_a = world.pipeline()
                lab_a.pull(*world.all(lab_a))
                known |= world.sessions()
                world.check_end()
            except AssertionError as error:
                raise AssertionError(f"{order.mode} statement {order.point}: {crashed}\n{error}") from error
            if crashed["status"] == 0:
                assert crashed["error"] is None and turn > 3
                return
            figures.add("openings of a pipeline in which the program was killed", world.lab.kind)
