"""Processes of the tests, forked from one that has everything imported and is itself no copy of one with threads."""

from __future__ import annotations

import multiprocessing
import os

CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["link.api", "dj_link", "pymysql", "psycopg2", "pytest", "networkx", "tqdm.auto"])


def accounts() -> dict[str, str]:
    """What a link finds in the environment; that of the children is as old as the process that forks them."""
    return {name: os.environ[name] for name in ("LINK_USER", "LINK_PASS", "LINK_OUTBOUND")}
