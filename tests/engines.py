"""How each kind of server is set up and run, as command lines; who runs them is `fleet`'s business."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from provision import DAEMONS, Program

_COPYING = threading.Lock()
AS_ROOT = os.geteuid() == 0
ADMIN, PASSWORD = "admin", "admin"

# The container's stdin stays open as long as its starter lives; when it closes, the server ends.
CONTAINER_SCRIPT = """\
exec 3<&0
docker-entrypoint.sh "$0" "$@" & server=$!
trap 'kill $server' TERM
(cat <&3 >/dev/null; kill $server) &
wait $server; wait $server
"""


@dataclass(frozen=True)
class Engine:
    """A server to be, with a folder and a port of its own."""

    program: Program
    folder: Path
    port: int
    #: For tests: without what only costs time where a few rows come and go. Measures want servers as they are.
    hurried: bool = True
    #: What a test wants otherwise than the others.
    options: tuple[str, ...] = ()

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    account: ClassVar[str | None] = None

    def set_up(self) -> Sequence[str]:
        """Prepare the folder; returns the command that makes the data files, empty if none is needed."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        """The command that runs the server in the foreground."""
        raise NotImplementedError


class MySQL(Engine):
    """MySQL, and what MariaDB has in common with it."""

    kind = "mysql"
    # Nothing need reach the disk: what a killed process has committed is safe in the system's memory.
    common = ("--innodb-flush-method=nosync", "--skip-log-bin", "--innodb-buffer-pool-size=256M")
    in_haste = ("--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=OFF", "--performance-schema=OFF")
    own: ClassVar[tuple[str, ...]] = ("--mysqlx=OFF", "--secure-file-priv=NULL")
    # Several of these share two cores: threads that wake up for nothing take their time.
    own_in_haste: ClassVar[tuple[str, ...]] = (
        *("--innodb-log-writer-threads=OFF", "--innodb-read-io-threads=1"),
        *("--innodb-write-io-threads=1", "--innodb-purge-threads=1"),
    )

    def set_up(self) -> Sequence[str]:
        for name in ("data", "tmp"):
            (self.folder / name).mkdir()
            # The account inside a container is another one.
            (self.folder / name).chmod(0o777 if self.program.engine else 0o700)
        (self.folder / "accounts.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{ADMIN}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{ADMIN}'@'%' WITH GRANT OPTION;\n"
        )
        return [] if self.program.engine else self._make_data_files()

    def command(self) -> Sequence[str]:
        files = [f"--socket={self.folder}/tmp/server.sock", f"--init-file={self.folder}/accounts.sql"]
        options = [f"--port={self.port}", "--skip-name-resolve", *files, *self.common, *self.own]
        if self.hurried:
            options += [*self.in_haste, *self.own_in_haste]
        options += self.options
        if self.program.engine:
            return [*self._container(), *options]
        return [*self._native(), "--bind-address=127.0.0.1", f"--pid-file={self.folder}/pid", *options]

    def _make_data_files(self) -> Sequence[str]:
        at_first = [option for option in self.options if option.startswith("--lower-case-table-names")]
        return [*self._native(), "--initialize-insecure", *at_first]

    def _native(self) -> list[str]:
        # No common tmpdir: a starting MariaDB removes all temporary tables it finds there, its neighbour's too.
        user = ["--user=root"] if AS_ROOT else []
        return [*self.program.argv, *user, f"--datadir={self.folder}/data", f"--tmpdir={self.folder}/tmp"]

    def _container(self) -> list[str]:
        options = {
            "--user": f"{os.geteuid()}:{os.getegid()}",
            "--volume": f"{self.folder}:{self.folder}",
            "--mount": f"type=bind,source={self.folder}/data,target=/var/lib/mysql",
            "--env": f"MYSQL_ROOT_PASSWORD={PASSWORD}",
            "--publish": f"127.0.0.1:{self.port}:{self.port}",
            "--entrypoint": "sh",
        }
        words = [word for option in options.items() for word in option]
        run = [str(self.program.engine), "run", "--rm", "--interactive", *words, *self.program.argv]
        return [*run, "-c", CONTAINER_SCRIPT, DAEMONS[self.kind]]


class MariaDB(MySQL):
    """MariaDB makes its data files by running SQL scripts in a server without network and accounts."""

    kind = "mariadb"
    own = own_in_haste = ()

    def _make_data_files(self) -> Sequence[str]:
        parts = ("system_tables", "performance_tables", "system_tables_data")
        scripts = [next(self.program.home.glob(f"share/m*/m*_{part}.sql")).read_text() for part in parts]
        # One statement a line is the language of the bootstrap.
        script = self.folder / "bootstrap.sql"
        script.write_text("\n".join(["CREATE DATABASE mysql;", "USE mysql;", "SET @auth_root_socket=NULL;", *scripts]))
        return ["sh", "-c", f'"$@" < {script}', "sh", *self._native(), self.common[0], "--bootstrap"]


class PostgreSQL(Engine):
    """PostgreSQL, which refuses to run as root: there it runs as `nobody`."""

    stop_signal = signal.SIGINT
    account = "nobody" if AS_ROOT else None

    def set_up(self) -> Sequence[str]:
        if self.account:
            shutil.chown(self.folder, self.account)
            self._copy_program()
        (self.folder / "password").write_text(PASSWORD)
        accounts = ["--auth=scram-sha-256", f"--username={ADMIN}", f"--pwfile={self.folder}/password"]
        # Logging in shall cost no time: nobody guesses these passwords.
        quick = ["--no-sync", "--set=scram_iterations=1"]
        # How text sorts shall not depend on the machine's locale.
        return [*self._binary("initdb"), "--encoding=UTF8", "--locale=C", *accounts, *quick]

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "full_page_writes": "off",
        }
        return [*self._binary("postgres"), *(f"--{name}={value}" for name, value in settings.items())]

    def _binary(self, name: str) -> list[str]:
        home = self._copy if self.account else self.program.home
        return [f"{home}/bin/{name}", "-D", f"{self.folder}/data"]

    @property
    def _copy(self) -> Path:
        return self._copies / self.program.home.parent.name / self.program.home.name

    @property
    def _copies(self) -> Path:
        return self.folder.parent / "wheel"

    def _copy_program(self) -> None:
        """Copy the programs and the libraries they load to where the other account can read them, once for all."""
        with _COPYING:
            if self._copies.exists():
                return
            shutil.copytree(self.program.home, self._copy)
            for libraries in self.program.home.parents[1].glob(f"{self.program.home.parent.name}.libs"):
                shutil.copytree(libraries, self._copies / libraries.name)


class PgBouncer(Engine):
    """A pool of sessions before a PostgreSQL server. Its options are the mode, and lines of its settings."""

    def prepare(self, host: str, port: int, accounts: Mapping[str, str]) -> None:
        """Write down which server it stands before, and who may use it."""
        mode, *others = self.options
        known = "".join(f'"{user}" "{password}"\n' for user, password in accounts.items())
        (self.folder / "accounts").write_text(known)
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "plain",
            "auth_file": self.folder / "accounts",
            "pool_mode": mode,
        }
        lines = ["[databases]", f"* = host={host} port={port}", "[pgbouncer]"]
        lines += [*(f"{name} = {value}" for name, value in settings.items()), *others]
        (self.folder / "settings.ini").write_text("\n".join(lines) + "\n")

    def command(self) -> Sequence[str]:
        account = ["-u", "nobody"] if AS_ROOT else []
        return [*self.program.argv, *account, str(self.folder / "settings.ini")]


ENGINES: dict[str, type[Engine]] = {"mysql": MySQL, "mariadb": MariaDB, "postgresql": PostgreSQL}
