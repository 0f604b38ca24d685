"""Child processes that pull or delete, and are killed or cut off at a chosen statement.

A process of the kind of `children` has used the link already, and forks a child for each order, so that a crash costs
a fraction of a second. See `Crasher`, which talks to it, and `Order`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import logging
import os
import re
import signal
import socket
import struct
import threading
import warnings
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Literal

import psycopg2
import psycopg2.extensions
import pymysql.connections
from children import CHILDREN, accounts

if TYPE_CHECKING:
    from lab import Lab

Mode = Literal["", "kill before", "kill after", "cut before", "cut after", "cut after and kill"]
#: With this option, closing a socket sends a reset.
_RESET = struct.pack("ii", 1, 0)
#: What does not change a server's state; locks of sessions do.
_READS = re.compile(r"\s*(SELECT(?! (GET_LOCK|pg_(try_)?advisory))|SHOW|SET|USE|COPY \(|WITH)", re.IGNORECASE)


@dataclass
class Order:
    """What a child is to do, and where it shall end.

    `code` runs with the linked class as `Session`, or a pipeline as `lab_a` where there are `schemas`, theirs and
    ours; `point` counts the statements that change something on a server (with `reads`, all statements; with `blocks`,
    the blocks of files as well) from 1, those of the first use of the class only with `first_use`. `stores` are
    DataJoint's settings: files go from `theirs` to `ours`.
    """

    code: str
    mode: Mode = ""
    point: int = 0
    reads: bool = False
    first_use: bool = False
    blocks: bool = False
    stores: dict[str, Any] = field(default_factory=dict)
    schemas: dict[str, str] = field(default_factory=dict)
    use: str = ""
    link: list[str] = field(default_factory=list)
    older: bool = False
    local: dict[str, Any] = field(default_factory=dict)
    source: tuple[str, int] = ("", 0)


class Crasher:
    """Starts children for a lab, or for a pipeline of these schemas; a context manager.

    What is read once and imported by `use` the children find in memory.
    """

    def __init__(
        self,
        lab: Lab,
        schemas: dict[str, str] | None = None,
        # DataJoint reads what depends on what, and imports much, at the first deletion.
        use: str = "Session.source, (Session() & 'FALSE').delete()",
    ) -> None:
        self._schemas, self._use = schemas or {}, use
        self._older = lab.older
        self._link = [lab.source_schema, lab.helper_schema, lab.helper_table, lab.local_schema]
        server = lab.local_server
        self._local = {"host": server.host, "port": server.port, "user": lab.local_user}
        self._local |= {"password": lab.local_password, "backend": server.backend}
        self._source = (lab.source_server.host, lab.source_server.port)

    def __enter__(self) -> Crasher:
        self._pipe, theirs = CHILDREN.Pipe()
        self._process = CHILDREN.Process(target=serve, args=(theirs, accounts()))
        self._process.start()
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()

    def run(self, order: Order) -> dict[str, Any]:
        """What became of a child: `status`, and if it came to its end, `statements`, `result`, `error`."""
        order.link, order.local, order.source = self._link, self._local, self._source
        order.older, order.schemas, order.use = self._older, self._schemas, self._use
        self._pipe.send(order)
        report: dict[str, Any] = self._pipe.recv()
        return report


# in the child


class Trap:
    """Counts statements, and does at the chosen one what was ordered."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.armed = order.first_use
        self.count = 0
        self.sprung = False
        self.relays: list[Relay] = []
        self._lock = threading.Lock()

    def before(self, port: int, sql: Any) -> bool:
        """Called before a statement is sent from a local port; whether it is the chosen one."""
        text = sql.decode("utf-8", "replace") if isinstance(sql, (bytes, bytearray)) else str(sql)
        # PyMySQL reads the answer to SET NAMES, which comes with connecting, in a way of its own.
        if not self.armed or text.startswith("SET NAMES") or (not self.order.reads and _READS.match(text)):
            return False
        with self._lock:
            self.count += 1
            if self.count != self.order.point:
                return False
        self.sprung = True
        mode = self.order.mode
        if mode == "kill before":
            os.kill(os.getpid(), signal.SIGKILL)
        for relay in self.relays:
            relay.cut(port, at_once=mode == "cut before")
        return True

    def after(self) -> None:
        """Called when the chosen statement's result, or the loss of its connection, has become known."""
        if self.order.mode in ("kill after", "cut after and kill"):
            os.kill(os.getpid(), signal.SIGKILL)


class Relay:
    """Forwards connections to a server; one of them can be cut, at once or when the server next answers."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._wires: dict[int, tuple[socket.socket, socket.socket]] = {}
        self._deaf: set[int] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, port: int, at_once: bool) -> None:
        """Cut the connection that comes from a local port, if it is one of these."""
        if port in self._wires:
            self._deaf.add(port)
            if at_once:
                self._drop(port)

    def _accept(self) -> None:
        while True:
            client, (_, port) = self._listener.accept()
            server = socket.create_connection(self._target)
            self._wires[port] = (client, server)
            self._deaf.discard(port)
            threading.Thread(target=self._forward, args=(client, server, -1), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, port), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if port in self._deaf:
                    self._drop(port)
                    return
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _drop(self, port: int) -> None:
        for wire in self._wires.pop(port, ()):
            with contextlib.suppress(OSError):
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                wire.shutdown(socket.SHUT_RDWR)
            wire.close()


def hook(trap: Trap) -> None:
    """Let both drivers tell of every statement, before it is sent and after its result is there."""
    _hook_pymysql(trap)
    _hook_psycopg2(trap)


def _hook_pymysql(trap: Trap) -> None:
    connection: Any = pymysql.connections.Connection
    execute = connection._execute_command

    def sending(self: Any, command: int, sql: Any) -> None:
        self.chosen = trap.before(self._sock.getsockname()[1], sql) if command == 3 and self._sock else False
        execute(self, command, sql)

    def listening(read: Any) -> Any:
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return read(self, *args, **kwargs)
            finally:
                if getattr(self, "chosen", False):
                    self.chosen = False
                    trap.after()

        return wrapped

    connection._execute_command = sending
    connection._read_query_result = listening(connection._read_query_result)
    connection._read_ok_packet = listening(connection._read_ok_packet)


def _hook_psycopg2(trap: Trap) -> None:
    class Connection(psycopg2.extensions.connection):
        def cursor(self, *args: Any, **kwargs: Any) -> Any:
            base = kwargs.pop("cursor_factory", None) or psycopg2.extensions.cursor
            return super().cursor(*args, cursor_factory=_cursor(base, trap), **kwargs)

        def commit(self) -> None:
            with _around(self, trap, "COMMIT"):
                super().commit()

        def rollback(self) -> None:
            with _around(self, trap, "ROLLBACK"):
                super().rollback()

    module: Any = psycopg2
    connect = module.connect
    module.connect = lambda *args, **kwargs: connect(*args, **{"connection_factory": Connection} | kwargs)


def _hook_files(trap: Trap) -> None:
    from link.files import stores

    checked: Any = stores.Checked
    blocks = checked.blocks

    def counted(self: Any, *args: Any) -> Any:
        for block in blocks(self, *args):
            yield block[: len(block) // 2]
            trap.before(0, "half a block of a file")
            yield block[len(block) // 2 :]

    checked.blocks = counted
    # Through here, as from other stores, and not by the kernel.
    file_store: Any = stores.FileStore
    file_store.reaches = lambda self, source: False


@contextlib.contextmanager
def _around(connection: Any, trap: Trap, sql: Any) -> Any:
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as wire:
        chosen = trap.before(wire.getsockname()[1], sql)
    try:
        yield
    finally:
        if chosen:
            trap.after()


def _cursor(base: Any, trap: Trap) -> Any:
    class Cursor(base):  # type: ignore[misc]
        def execute(self, query: Any, vars: Any = None) -> Any:
            with _around(self.connection, trap, query):
                return super().execute(query, vars)

        def copy_expert(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
            with _around(self.connection, trap, sql):
                return super().copy_expert(sql, *args, **kwargs)

    return Cursor


@dataclass
class Linked:
    """The linked class, used once: children need not read the definitions again, only connect."""

    session: Any
    local: Any
    name: str = "Session"
    inherited: list[Any] = field(default_factory=list)

    def connect(self, trap: Trap) -> None:
        """Give this process connections of its own, through relays where they are to be cut."""
        link = self.session._theirs.links if self.name == "lab_a" else self.session._link
        connections = [link.connect_source().connection, self.local.connection]
        for connection in connections:
            # Kept: the driver would say goodbye on the parent's session.
            self.inherited.append(connection._conn)
            if trap.order.mode.startswith("cut"):
                info = connection.conn_info
                trap.relays.append(Relay((info["host"], info["port"])))
                info["host"], info["port"] = "127.0.0.1", trap.relays[-1].port
            connection.connect()


def linked(order: Order) -> Linked:
    """The class that an order's `link` describes, not used yet."""
    import datajoint as dj

    from dj_link import LazySchema, Link
    from link import Pipeline, link

    local = dj.Instance(**order.local, use_tls=False, safemode=False)
    local.config.stores = order.stores
    stores = {"theirs": "ours"} if order.stores else None
    host = f"{order.source[0]}:{order.source[1]}"
    if order.schemas:
        options: dict[str, Any] = {"helper_schema": order.link[1], "connection": local, "use_tls": False}
        return Linked(Pipeline(host, schemas=order.schemas, **options), local, "lab_a")
    decorate: Any = link(host, *order.link, connection=local, use_tls=False, stores=stores)
    if order.older:
        account: dict[str, Any] = {"user": os.environ["LINK_USER"], "password": os.environ["LINK_PASS"]}
        account |= {"port": order.source[1], "backend": order.local["backend"]}
        source = dj.Instance(order.source[0], use_tls=False, **account)
        local_schema = LazySchema(order.link[3], connection=local)
        decorate = Link(local_schema, LazySchema(order.link[0], connection=source))
    return Linked(decorate(type("Session", (), {})), local)


def obey(order: Order, known: Linked) -> dict[str, Any]:
    """Do in this process what was ordered."""
    import datajoint as dj

    from link import LinkError
    from link.work import claims, differences, run

    # Three chunks of the twelve entities; and no patience with servers that are there all the time.
    claims.FIRST_CHUNK_ROWS = claims.CHUNK_ROWS = 5
    differences.FIRST = 0  # of ranges: the first has one entity
    run.PAUSES = (0.02,) * 7
    trap = Trap(order)
    hook(trap)
    if order.blocks:
        _hook_files(trap)
    report: dict[str, Any] = {"result": None, "error": None}
    try:
        if order.first_use:
            known = linked(order)
        else:
            known.connect(trap)
        trap.armed = True
        report["result"] = repr(eval(order.code, {known.name: known.session}))
    except (LinkError, dj.DataJointError) as error:
        report["error"] = f"{type(error).__name__}: {error}"
    except Exception as error:
        report["error"] = f"unexpected {type(error).__name__}: {error}"
    return report | {"statements": trap.count, "sprung": trap.sprung}


def serve(orders: Connection, environment: dict[str, str]) -> None:
    """Fork a child for each order, and say what became of it."""
    os.environ |= environment
    warnings.simplefilter("ignore")
    logging.getLogger("datajoint").setLevel(logging.ERROR)
    known: Linked | None = None
    with contextlib.suppress(EOFError):
        while True:
            order: Order = orders.recv()
            known = known or used(order)
            orders.send(forked(order, known))


def used(order: Order) -> Linked:
    """The class that an order describes, so that children find in memory what they need."""
    known = linked(order)
    eval(order.use, {known.name: known.session})
    gc.freeze()  # a collection in a child would write to, and so copy, all memory
    return known


def forked(order: Order, known: Linked) -> dict[str, Any]:
    """What became of a child that obeys."""
    hearing, telling = os.pipe()
    child = os.fork()
    if not child:
        os.close(hearing)
        faulthandler.dump_traceback_later(30)
        with os.fdopen(telling, "w") as pipe:
            json.dump(obey(order, known), pipe)
        os._exit(0)
    os.close(telling)
    with os.fdopen(hearing) as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"status": status} | (json.loads(said) if said else {})
