"""The kinds of database server: one module each. Nothing outside of this folder asks for a server's kind."""

from __future__ import annotations

import datajoint as dj

from ..errors import UnsupportedServerError
from .base import BLOCK_BYTES, Block, BusyError, Connection, Form, Key, RowError, Server, Sql

__all__ = [
    "BLOCK_BYTES",
    "DEFAULT_PORTS",
    "Block",
    "BusyError",
    "Connection",
    "Form",
    "Key",
    "RowError",
    "Server",
    "Sql",
    "server_for",
]

DEFAULT_PORTS = {"mysql": 3306, "postgresql": 5432}


def server_for(connection: dj.Connection) -> Server:
    """The server behind a DataJoint connection.

    Raises
    ------
    UnsupportedServerError
        A backend that this package does not speak.
    """
    backend = connection.adapter.backend
    if backend == "mysql":
        from .mysql import MySQL

        return MySQL(connection)
    if backend == "postgresql":
        from .postgresql import PostgreSQL

        return PostgreSQL(connection)
    raise UnsupportedServerError(f"DataJoint's backend {backend!r} is not supported.")
