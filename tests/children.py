"""Processes of the tests, forked from one that has everything imported and is itself no copy of one with threads."""

from __future__ import annotations

import logging
import multiprocessing
import os
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

#: What a process does: it is told its number and an order, and returns what it has done and met.
Work = Callable[[int, dict[str, Any]], Counter[str]]

CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["link.api", "dj_link", "pymysql", "psycopg2", "pytest", "networkx", "tqdm.auto"])


def accounts() -> dict[str, str]:
    """What a link finds in the environment; that of the children is as old as the process that forks them."""
    return {name: os.environ[name] for name in ("LINK_USER", "LINK_PASS", "LINK_OUTBOUND")}


def counted(work: Work, order: dict[str, Any], processes: int) -> Counter[str]:
    """What so many processes have done together."""
    with ExitStack() as stack:
        pipes = []
        for number in range(processes):
            ours, theirs = CHILDREN.Pipe(duplex=False)
            process = CHILDREN.Process(target=_report, args=(theirs, work, number, order, accounts()))
            process.start()
            theirs.close()
            stack.callback(process.join)
            pipes.append(stack.enter_context(ours))
        return sum((pipe.recv() for pipe in pipes), Counter[str]())


def _report(pipe: Connection, work: Work, number: int, order: dict[str, Any], environment: dict[str, str]) -> None:
    """Work, and send what was done and met."""
    os.environ |= environment
    warnings.simplefilter("ignore")
    for logger in ("link", "datajoint"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    pipe.send(work(number, order))
