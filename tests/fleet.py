"""Private database servers on loopback for the tests: two of each kind, gone when their starter is.

Data live in one temporary folder; every process is announced to a keeper (see `keeper.py`), which ends it and
removes the folder even when the starter is killed. Started as a script, this runs all servers until Ctrl-C,
for trying things and for `LINK_TEST_SERVERS`.
"""

from __future__ import annotations

import json
import os
import pwd
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import datajoint as dj
import psycopg2
import pymysql
import pytest
from engines import ADMIN, ENGINES, PASSWORD, Engine, PgBouncer
from provision import KINDS, TITLES, Program, UnavailableError, find, find_pgbouncer

# Outside the range the system takes for outgoing connections, so that a restart finds its port still free.
PORTS = range(15000, 30000)
#: Test runs side by side that never try the same port.
WORKERS = 8
_OWN = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % WORKERS
_PORTS = random.sample(PORTS[_OWN::WORKERS], k=len(PORTS) // WORKERS)
START_SECONDS = 60


#: Sessions of administrators that nobody uses at the moment, of a process (no child takes its parent's) and a server,
#: by what they are for.
_IDLE: dict[tuple[int, str, int], dict[str, list[Any]]] = {}


def _alive(idle: list[Any]) -> Any:
    """Take a session whose server has not ended it meanwhile."""
    while idle:
        connection = idle.pop()
        wire = connection if hasattr(connection, "fileno") else getattr(connection, "_sock", None)
        if wire and not select.select([wire], [], [], 0)[0]:
            return connection
        _leave(connection)
    return None


def _leave(connection: Any) -> None:
    with suppress(pymysql.MySQLError, psycopg2.Error):  # it is over already
        connection.close()


class Keeper:
    """The process that outlives this one to end its servers and remove their folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="link-"))
        self.folder.chmod(0o755)
        script = str(Path(__file__).with_name("keeper.py"))
        self._process = subprocess.Popen(
            [sys.executable, script, str(self.folder)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lock = threading.Lock()

    def note(self, change: int) -> None:
        """Tell of a process that runs (its id) or has ended (minus its id)."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(f"{change:+d}\n")
            self._process.stdin.flush()

    def dismiss(self) -> None:
        """Let it end every server that still runs."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> None:
        """Wait until it has removed the folder."""
        self._process.wait(START_SECONDS)


@dataclass
class TestServer:
    """One running server and its administrator."""

    __test__ = False  # not a test, whatever its name

    kind: str
    port: int
    socket_dir: str
    host: str = "127.0.0.1"
    admin_user: str = ADMIN
    admin_password: str = PASSWORD
    version: str = ""
    process: ServerProcess | None = field(default=None, repr=False)

    @property
    def backend(self) -> Literal["mysql", "postgresql"]:
        """What DataJoint calls this kind of server."""
        return "postgresql" if self.kind == "postgresql" else "mysql"

    @property
    def dsn(self) -> str:
        """The server and its administrator as one URL."""
        return f"{self.backend}://{self.admin_user}:{self.admin_password}@{self.host}:{self.port}"

    def instance(self, user: str | None = None, password: str | None = None) -> dj.Instance:
        """A DataJoint instance, of the administrator unless a user is named."""
        user, password = self._account(user, password)
        return dj.Instance(
            self.host, user, password, port=self.port, use_tls=False, backend=self.backend, safemode=False
        )

    def connect_raw(self, user: str | None = None, password: str | None = None) -> Any:
        """An autocommit connection of the bare driver, PyMySQL or psycopg2."""
        user, password = self._account(user, password)
        if self.kind != "postgresql":
            return pymysql.connect(
                host=self.host,
                port=self.port,
                user=user,
                password=password,
                autocommit=True,
                ssl_disabled=True,
            )
        connection = psycopg2.connect(host=self.host, port=self.port, user=user, password=password, dbname="postgres")
        connection.autocommit = True
        return connection

    @contextmanager
    def cursor(self, purpose: str = "") -> Iterator[Any]:
        """A cursor of an administrator's session, which others with this purpose take up later, settings and all."""
        idle = _IDLE.setdefault((os.getpid(), self.host, self.port), {}).setdefault(purpose, [])
        connection = _alive(idle) or self.connect_raw()
        try:
            with connection.cursor() as cursor:
                yield cursor
        except BaseException:
            _leave(connection)
            raise
        idle.append(connection)

    def sql(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        """Run one statement as administrator and return its rows, if it has any."""
        with self.cursor() as cursor:
            cursor.execute(statement, params or None)
            rows = list(cursor.fetchall()) if cursor.description else []
        if statement.startswith("SET "):
            self.forget_sessions()  # what is set for the server holds in new ones
        return rows

    def forget_sessions(self) -> None:
        """Let the next statement come in a new session."""
        for idle in _IDLE.pop((os.getpid(), self.host, self.port), {}).values():
            for connection in idle:
                _leave(connection)

    def create_user(self, name: str, password: str) -> None:
        """An account that may log in and nothing else."""
        if self.kind == "postgresql":
            self.sql(f"CREATE ROLE {name} LOGIN PASSWORD %s", password)
        else:
            self.sql(f"CREATE USER {name}@'%%' IDENTIFIED BY %s", password)

    def waits(self, user: str) -> bool:
        """Whether a session of an account waits for a row or a table that another one has locked."""
        if self.kind == "postgresql":
            asked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = %s"
        else:
            time.sleep(0.2)  # MySQL and MariaDB look no sooner again
            asked = (
                "SELECT 1 FROM information_schema.processlist "
                "LEFT JOIN information_schema.innodb_trx ON id = trx_mysql_thread_id "
                "WHERE user = %s AND (trx_state = 'LOCK WAIT' OR state LIKE 'Waiting for%%lock')"
            )
        return bool(self.sql(asked, user))

    @property
    def process_id(self) -> int:
        """The server's process."""
        return self._own().pid

    def start(self) -> None:
        """Start the server if it does not run."""
        self._own().start(self)

    def stop(self) -> None:
        """Shut the server down, sessions or not."""
        self._end(self._own().engine.stop_signal)

    def kill(self) -> None:
        """Let the server die at once, as in a power cut."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Shut the server down and start it again, on the same port."""
        self.stop()
        self.start()

    def restore(self) -> None:
        """Bring the server back after a test that may have ended it."""
        if self.process is not None:
            self.start()

    def read_version(self) -> str:
        """The version as the server tells it, digits and dots only; an error while it does not answer."""
        query = "SHOW server_version" if self.kind == "postgresql" else "SELECT VERSION()"
        found = re.match(r"[\d.]+", self.sql(query)[0][0])
        assert found is not None
        return found.group()

    def _account(self, user: str | None, password: str | None) -> tuple[str, str]:
        return (self.admin_user, self.admin_password) if user is None else (user, password or "")

    def _end(self, number: signal.Signals) -> None:
        self._own().end(number)
        self.forget_sessions()  # PostgreSQL's outlive it for a moment, and would answer for the next one

    def _own(self) -> ServerProcess:
        if self.process is None:
            pytest.skip("this test stops a server, and those of LINK_TEST_SERVERS are not its own")
        return self.process


class ServerProcess:
    """The operating system's side of a server: its process, its log, its keeper."""

    def __init__(self, engine: Engine, keeper: Keeper) -> None:
        self.engine = engine
        self._keeper = keeper
        self._log = engine.folder.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server has not been started"
        return self._process.pid

    def run(self, command: Sequence[str]) -> None:
        """Run a command to its end."""
        self._spawn(command)
        assert self._process is not None
        if self._process.wait():
            raise self._failure()
        self._keeper.note(-self.pid)

    def start(self, server: TestServer) -> None:
        """Start the server unless it runs, and wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            # After a kill, PostgreSQL does not start before the last of its old processes has noticed.
            if self._process is None or self._process.poll() is not None:
                self._spawn(self.engine.command())
            with suppress(pymysql.MySQLError, psycopg2.Error):
                server.version = server.read_version()
                return
            time.sleep(0.05)
        raise self._failure()

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait until the process has gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_SECONDS)
            self._keeper.note(-self.pid)

    def reap(self) -> None:
        """Wait for a process that somebody else ends."""
        if self._process is not None:
            self._process.wait(START_SECONDS)

    def _spawn(self, command: Sequence[str]) -> None:
        account = self.engine.account
        identity: dict[str, Any] = {}
        if account:
            identity = {"user": account, "group": pwd.getpwnam(account).pw_gid, "extra_groups": []}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                # An open pipe that nothing is written to: see CONTAINER_SCRIPT.
                stdin=subprocess.PIPE if self.engine.program.engine else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.engine.folder,
                start_new_session=True,
                **identity,
            )
        self._keeper.note(self.pid)

    def _failure(self) -> RuntimeError:
        return RuntimeError(f"{self.engine.folder.name} does not start:\n{self._log.read_text()[-3000:]}")


class Fleet:
    """All servers of a test run: a pair of each kind, started when first asked for."""

    def __init__(self, hurried: bool = True) -> None:
        self.hurried = hurried
        self.missing: dict[str, str] = {}
        self.elsewhere: set[str] = set()
        self._pairs: dict[str, tuple[TestServer, TestServer]] = {}
        self._processes: list[ServerProcess] = []
        self._keeper: Keeper | None = None
        if listing := os.environ.get("LINK_TEST_SERVERS"):
            self._attach(Path(listing))

    def pair(self, kind: str) -> tuple[TestServer, TestServer]:
        """The source and the local server of one kind; `UnavailableError` where there is none."""
        self.start([kind])
        if kind in self.missing:
            raise UnavailableError(f"no {TITLES[kind]} server: see the last lines")
        return self._pairs[kind]

    def start(self, kinds: Collection[str]) -> None:
        """Start all servers of these kinds side by side."""
        new = {}
        for kind in sorted(set(kinds) - self._pairs.keys() - self.missing.keys()):
            try:
                new[kind] = find(kind)
            except UnavailableError as reason:
                self.missing[kind] = str(reason)
        with ThreadPoolExecutor() as pool:
            started = {kind: [pool.submit(self._launch, *args) for args in self._plan(kind, new[kind])] for kind in new}
        for kind, (source, local) in started.items():
            self._pairs[kind] = source.result(), local.result()

    def spare(self, kind: str, *options: str, files: Mapping[str, bytes] = MappingProxyType({})) -> TestServer:
        """One more server, with options of its own, in which ``{folder}`` stands for where its files are."""
        self._keeper = self._keeper or Keeper()
        folder = self._keeper.folder / f"spare{len(self._processes)}"
        return self._launch(kind, find(kind), folder, free_port(), options, files)

    def pooler(
        self,
        server: TestServer,
        mode: str,
        accounts: Mapping[str, str],
        *options: str,
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> TestServer:
        """PgBouncer before a server, for some accounts with their passwords, in one of its modes."""
        self._keeper = self._keeper or Keeper()
        folder = self._keeper.folder / f"pooler{len(self._processes)}"
        folder.mkdir()
        engine = PgBouncer(find_pgbouncer(), folder, free_port(), options=(mode, *_placed(options, files, folder)))
        engine.prepare(server.host, server.port, accounts)
        process = ServerProcess(engine, self._keeper)
        self._processes.append(process)
        user, password = next(iter(accounts.items()))
        pooled = TestServer(server.kind, engine.port, str(folder), admin_user=user, admin_password=password)
        pooled.process = process
        pooled.start()
        return pooled

    def servers(self) -> list[TestServer]:
        """Every server that has been started."""
        return [server for pair in self._pairs.values() for server in pair]

    def covered(self) -> list[str]:
        """The kinds that have been started, with their versions."""
        own = {f"{TITLES[kind]} {self._pairs[kind][0].version}" for kind in KINDS if kind in self._pairs}
        return sorted(own | self.elsewhere)

    def close(self) -> None:
        """End all servers and remove their data."""
        for server in self.servers():
            server.forget_sessions()
        if self._keeper is not None:
            self._keeper.dismiss()
            for process in self._processes:
                process.reap()
            self._keeper.wait()

    def _attach(self, listing: Path) -> None:
        if not listing.exists():
            raise pytest.UsageError(f"LINK_TEST_SERVERS={listing}: no such file; does `make servers` run?")
        for entry in json.loads(listing.read_text()):
            server = TestServer(**entry)
            self._pairs[server.kind] = (*self._pairs.get(server.kind, ()), server)

    def _plan(self, kind: str, program: Program) -> list[tuple[str, Program, Path, int]]:
        self._keeper = self._keeper or Keeper()
        folders = [self._keeper.folder / f"{kind}{number}" for number in (1, 2)]
        return [(kind, program, folder, free_port()) for folder in folders]

    def _launch(
        self,
        kind: str,
        program: Program,
        folder: Path,
        port: int,
        options: Sequence[str] = (),
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> TestServer:
        assert self._keeper is not None
        folder.mkdir()
        engine = ENGINES[kind](program, folder, port, self.hurried, _placed(options, files, folder))
        process = ServerProcess(engine, self._keeper)
        self._processes.append(process)
        if make_data_files := engine.set_up():
            process.run(make_data_files)
        server = TestServer(kind, port, str(folder), process=process)
        server.start()
        return server


def _placed(options: Sequence[str], files: Mapping[str, bytes], folder: Path) -> tuple[str, ...]:
    """Options that say where files are, which are written there."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return tuple(option.format(folder=folder) for option in options)


def free_port() -> int:
    """A port of loopback that nobody listens on, and that this process has not been given before."""
    while True:
        port = _PORTS.pop()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def main(listing: Path) -> None:
    """Run all servers until Ctrl-C and list them in a file for `LINK_TEST_SERVERS`."""
    fleet = Fleet()
    say = sys.stdout.write
    try:
        fleet.start(KINDS)
        listing.parent.mkdir(parents=True, exist_ok=True)
        entries = [asdict(TestServer(**{**vars(server), "process": None})) for server in fleet.servers()]
        listing.write_text(json.dumps(entries, indent=1))
        for server in fleet.servers():
            say(f"{TITLES[server.kind]} {server.version}: {server.dsn} (socket folder {server.socket_dir})\n")
        for kind, reason in fleet.missing.items():
            say(f"no {TITLES[kind]}: {reason}\n")
        say(f"Running until Ctrl-C. In another terminal: LINK_TEST_SERVERS={listing} make test\n")
        sys.stdout.flush()
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        listing.unlink(missing_ok=True)
        fleet.close()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    main(Path(sys.argv[1]).resolve())
