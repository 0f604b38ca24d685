"""Where measures are taken: two servers with a link between them, the timed child processes, and the peers."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datajoint as dj
import psutil
from fleet import Fleet, TestServer
from lab import Lab
from provision import find

HERE = Path(__file__).parent
#: What the servers may use: the dump of a row of 10 MB takes a statement of more than 20 MB.
PACKET_BYTES = 64_000_000 // 1024 * 1024
POOL_BYTES = 512 * 2**20


@dataclass
class Sample:
    """What one run took; processor seconds by who spent them, as far as they can be told."""

    seconds: float
    rows: int = 0
    peak_bytes: int = 0
    cpu: dict[str, float] = field(default_factory=dict)


class MissingPeerError(Exception):
    """A program to compare with is not on this machine."""


class Yard:
    """A source and a local server with one link at a time between them.

    Parameters
    ----------
    source, local : TestServer
        Running servers.
    """

    def __init__(self, source: TestServer, local: TestServer) -> None:
        self.source, self.local = source, local
        self.lab = Lab(source, local)
        self.lab.build()
        self.copy_schema = f"{self.lab.prefix}_copy"
        for server in {source.port: source, local.port: local}.values():
            _configure(server)

    def close(self) -> None:
        """Remove everything from the servers."""
        self.lab.clear()

    # tables

    def declare(self, name: str, definition: str) -> str:
        """An empty source table with the rights that a link needs; its quoted full name."""
        table = type(name, (dj.Manual,), {"definition": definition})
        self.lab.source.Schema(self.lab.source_schema)(table)
        self.lab.grant(table)
        return self.source_name(name)

    def drop(self, name: str) -> None:
        """Remove a source table with all that was made from it."""
        self.reset()
        self.source.sql(f"DROP TABLE {self.source_name(name)}")

    def reset(self) -> None:
        """As if nothing had been pulled or copied."""
        cascade = " CASCADE" if self.local.kind == "postgresql" else ""
        for schema in (self.lab.local_schema, self.copy_schema):
            self.local.sql(f"DROP SCHEMA IF EXISTS {schema}{cascade}")
        self.source.sql(f"DROP TABLE IF EXISTS {self.lab.helper_schema}.{self.lab.helper_table}")

    def source_name(self, name: str) -> str:
        """The name of a source table; none of them needs quotes."""
        return f"{self.lab.source_schema}.{_snake(name)}"

    def unlinked_copy(self, name: str) -> str:
        """An empty unlinked table like the source's, declared by DataJoint, on the local server."""
        table = type(name, (dj.Manual,), {"definition": self._definition(name)})
        self.lab.instance(self.local).Schema(self.copy_schema)(table)
        user = self.lab.local_user
        if self.local.kind == "postgresql":
            self.local.sql(f"GRANT ALL ON SCHEMA {self.copy_schema} TO {user}")
            self.local.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA {self.copy_schema} TO {user}")
        return f"{self.copy_schema}.{_snake(name)}"

    def _definition(self, name: str) -> str:
        classes: dict[str, Any] = {}
        schema = self.lab.source.Schema(self.lab.source_schema, create_schema=False)
        schema.make_classes(into=classes)
        return str(classes[name].describe(printout=False))

    # timing

    def run(self, do: str, name: str, ports: Sequence[int] = (), **more: Any) -> Sample:
        """Run an operation of `worker` in a child process; `ports` lead to the servers by another way."""
        source_port, local_port = ports or (self.source.port, self.local.port)
        lab = self.lab
        spec = {
            "do": do,
            "name": name,
            "source_schema": lab.source_schema,
            "helper_schema": lab.helper_schema,
            "helper_table": lab.helper_table,
            "local_schema": lab.local_schema,
            "copy_schema": self.copy_schema,
            "source": _address(self.source, source_port, lab.link_user, lab.link_password),
            "local": _address(self.local, local_port, lab.local_user, lab.local_password),
            **more,
        }
        command = [sys.executable, str(HERE / "worker.py"), json.dumps(spec)]
        environment = {**os.environ, "DJ_LOG_LEVEL": "ERROR", "DJ_IGNORE_CONFIG_FILE": "true"}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as child:
            assert child.stdin is not None and child.stdout is not None
            if child.stdout.readline() != "ready\n":
                raise RuntimeError(f"{do} of {name} was not ready")
            before = self._spent()
            report, _ = child.communicate("go\n")
        if child.returncode:
            raise RuntimeError(f"{do} of {name} failed")
        found = json.loads(report.splitlines()[-1])
        spent = {who: after - before[who] for who, after in self._spent().items()}
        cpu = {"client": found["client"], **spent}
        return Sample(found["seconds"], found["rows"], found["peak_bytes"], cpu)

    def shell(self, command: str, environment: dict[str, str]) -> Sample:
        """Run a pipeline of other programs."""
        before, own = self._spent(), resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        script = ["bash", "-o", "pipefail", "-c", command]
        subprocess.run(script, check=True, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        client = after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
        return Sample(seconds, cpu={"client": client, **{k: v - before[k] for k, v in self._spent().items()}})

    def sql(self, statement: str) -> Sample:
        """Run one statement at the source."""
        with closing(self.source.connect_raw()) as connection, connection.cursor() as cursor:
            before, started = self._spent(), time.perf_counter()
            cursor.execute(statement)
            rows = int(cursor.fetchall()[0][0])
            seconds = time.perf_counter() - started
        return Sample(seconds, rows, cpu={k: v - before[k] for k, v in self._spent().items()})

    def checksums(self, name: str, expressions: Mapping[str, str]) -> Sample:
        """Let both servers compute a checksum of a whole table at once; of one kind, they must come to the same."""

        def compute(server: TestServer, table: str) -> tuple[int, int]:
            with closing(server.connect_raw()) as connection, connection.cursor() as cursor:
                cursor.execute(f"SELECT COUNT(*), {expressions[server.backend]} FROM {table}")
                count, checksum = cursor.fetchone()
                return int(count), int(checksum)

        before, started = self._spent(), time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            tables = self.source_name(name), f"{self.lab.local_schema}.{_snake(name)}"
            (count, there), (_, here) = pool.map(compute, (self.source, self.local), tables)
        seconds = time.perf_counter() - started
        if self.source.kind == self.local.kind and there != here:
            raise RuntimeError(f"the tables of {name} are not the same")
        return Sample(seconds, count, cpu={k: v - before[k] for k, v in self._spent().items()})

    def _spent(self) -> dict[str, float]:
        ends = {"source": self.source, "local": self.local}
        return {who: _processor_seconds(server) for who, server in ends.items() if server.process}

    @contextmanager
    def relayed(self, delay_ms: float) -> Iterator[tuple[int, int]]:
        """Ports that lead to both servers over wires of a length, the delay each way."""
        command = [sys.executable, str(HERE / "relay.py"), *map(str, (delay_ms, self.source.port, self.local.port))]
        tests = str(HERE.parent / "tests")
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])},
        ) as child:
            assert child.stdin is not None and child.stdout is not None
            first, second = map(int, child.stdout.readline().split())
            try:
                yield first, second
            finally:
                child.stdin.close()

    # peers

    def dump_and_load(self, name: str) -> Sample:
        """The servers' own programs, one piped to the other; what they make is removed again."""
        sample = self._pg_dump(name) if self.source.kind == "postgresql" else self._mysqldump(name)
        cascade = " CASCADE" if self.local.kind == "postgresql" else ""
        self.local.sql(f"DROP SCHEMA {self.lab.source_schema}{cascade}")
        return sample

    def _mysqldump(self, name: str) -> Sample:
        dump, client = mysql_programs(self.source.kind)
        packet = f"--max-allowed-packet={PACKET_BYTES}"
        self.local.sql(f"CREATE SCHEMA {self.lab.source_schema}")
        out = f"{dump} --hex-blob {packet} {_options(self.source)} {self.lab.source_schema} {_snake(name)}"
        into = f"{client} {packet} {_options(self.local)} {self.lab.source_schema}"
        return self.shell(f"{out} | {into}", {"MYSQL_PWD": self.source.admin_password})

    def _pg_dump(self, name: str) -> Sample:
        programs = find("postgresql").home / "bin"
        password = {"PGPASSWORD": self.source.admin_password}
        dump = f"{programs}/pg_dump --no-acl {_pg_options(self.source)} -t {self.source_name(name)}"
        psql = f"{programs}/psql -q -v ON_ERROR_STOP=1 {_pg_options(self.local)}"
        self.local.sql(f"CREATE SCHEMA {self.lab.source_schema}")
        self.shell(f"{dump} --schema-only | {psql}", password)
        return self.shell(f"{dump} --data-only | {psql}", password)


def mysql_programs(kind: str) -> tuple[str, str]:
    """The dump program and the client to use with a kind of server."""
    own, other = ("mysqldump", "mysql"), ("mariadb-dump", "mariadb")
    for dump, client in (own, other) if kind == "mysql" else (other, own):
        if shutil.which(dump) and shutil.which(client):
            return dump, client
    raise MissingPeerError("neither mysqldump nor mariadb-dump is on the PATH")


def versions(fleet: Fleet) -> dict[str, str]:
    """The programs that were measured."""
    found = dict(name.rsplit(" ", 1) for name in fleet.covered())
    for kind in ("mysql", "mariadb"):
        with suppress(MissingPeerError):
            dump, _ = mysql_programs(kind)
            found[dump] = subprocess.run([dump, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return found


def _configure(server: TestServer) -> None:
    if server.kind != "postgresql":
        server.sql(f"SET GLOBAL max_allowed_packet = {PACKET_BYTES}")
        server.sql(f"SET GLOBAL innodb_buffer_pool_size = {POOL_BYTES}")


def _processor_seconds(server: TestServer) -> float:
    """What a server has spent in all, sessions that have ended included."""
    process = psutil.Process(server.process_id)
    times = [process.cpu_times()]
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times.append(child.cpu_times())
    own = sum(t.user + t.system for t in times)
    return float(own + times[0].children_user + times[0].children_system)


def _address(server: TestServer, port: int, user: str, password: str) -> dict[str, Any]:
    return {"host": server.host, "port": port, "user": user, "password": password, "backend": server.backend}


def _options(server: TestServer) -> str:
    return f"-h {server.host} -P {server.port} -u {server.admin_user}"


def _pg_options(server: TestServer) -> str:
    return f"-h {server.host} -p {server.port} -U {server.admin_user} -d postgres"


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
