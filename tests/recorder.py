"""Every SQL statement that the two drivers send, so that tests can count and read them.

The hooks are installed once, before anything connects, and cost nothing while nobody records.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import psycopg2
import psycopg2.extensions
import pymysql.connections
from pymysql.constants import COMMAND


class Statement(NamedTuple):
    """One statement, with the port of its server and the account that sent it."""

    port: int
    user: str
    sql: str


_listeners: list[list[Statement]] = []


@contextmanager
def recorded(statements: list[Statement] | None = None) -> Iterator[list[Statement]]:
    """A list that fills with the statements before they are sent, by any thread, until the block ends."""
    statements = [] if statements is None else statements
    _listeners.append(statements)
    try:
        yield statements
    finally:
        # By identity: two lists of equal statements are equal.
        _listeners[:] = [listener for listener in _listeners if listener is not statements]


def install() -> None:
    """Hook into PyMySQL and psycopg2."""
    _hook_pymysql()
    _hook_psycopg2()


def _tell(port: int, user: str, sql: str | bytes) -> None:
    text = sql if isinstance(sql, str) else bytes(sql).decode("utf-8", "surrogateescape")
    for listener in _listeners:
        listener.append(Statement(port, user, text))


def _hook_pymysql() -> None:
    connection: Any = pymysql.connections.Connection
    execute = connection._execute_command

    def listening(self: Any, command: int, sql: str | bytes) -> None:
        if _listeners and command == COMMAND.COM_QUERY:
            _tell(self.port, self.user.decode() if isinstance(self.user, bytes) else self.user, sql)
        execute(self, command, sql)

    connection._execute_command = listening


def _hook_psycopg2() -> None:
    module: Any = psycopg2
    connect = module.connect

    def listening(*args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("connection_factory", _ListeningConnection)
        return connect(*args, **kwargs)

    module.connect = listening


class _ListeningConnection(psycopg2.extensions.connection):
    """A connection all of whose cursors tell what they send, whatever class of cursor is asked for."""

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        wanted = kwargs.pop("cursor_factory", None) or psycopg2.extensions.cursor
        return super().cursor(*args, cursor_factory=_listening_cursor(wanted), **kwargs)

    def commit(self) -> None:
        self.tell("COMMIT")
        super().commit()

    def rollback(self) -> None:
        self.tell("ROLLBACK")
        super().rollback()

    def tell(self, sql: str | bytes) -> None:
        if _listeners:
            _tell(self.info.port, self.info.user, sql)


@cache
def _listening_cursor(base: Any) -> Any:
    class ListeningCursor(base):  # type: ignore[misc]
        def execute(self, query: Any, vars: Any = None) -> Any:
            if _listeners:
                self.connection.tell(self.mogrify(query, vars))
            return super().execute(query, vars)

        def copy_expert(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
            self.connection.tell(sql if isinstance(sql, (str, bytes)) else sql.as_string(self))
            return super().copy_expert(sql, *args, **kwargs)

    return ListeningCursor
