"""Ends servers when the process that started them is gone, however it went.

The starter holds the other end of this script's standard input and names its servers' process ids there, one
a line (`+123` started, `-123` ended). The pipe closes when the starter exits, also by SIGKILL: then every
server still named is stopped and the folder with their data removed.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path


def main(folder: Path) -> None:
    """Remember process ids until the pipe closes, then clean up."""
    running = set[int]()
    for line in sys.stdin:
        change = int(line)
        running = running | {change} if change > 0 else running - {-change}
    end(running)
    shutil.rmtree(folder, ignore_errors=True)


def end(running: set[int], patience: float = 5.0) -> None:
    """SIGQUIT is PostgreSQL's immediate and MySQL's orderly shutdown; who does not obey is killed."""
    deadline = time.monotonic() + patience
    send(running, signal.SIGQUIT)
    while alive(running) and time.monotonic() < deadline:
        time.sleep(0.05)
    send(running, signal.SIGKILL)


def send(pids: set[int], number: int) -> set[int]:
    """Send a signal and return those that were there to get it."""
    reached = set()
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        reached.add(pid)
    return reached


def alive(pids: set[int]) -> set[int]:
    """Which of the processes still exist."""
    return send(pids, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
