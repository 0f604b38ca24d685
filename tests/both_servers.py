"""Both servers of a lab by plain SQL, over one session on each."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import Any

from lab import Lab


class BothServers:
    """The servers of one lab: ``there``, the source's, and ``here``."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self.lab = lab
        self.connect(stack)

    def connect(self, stack: ExitStack) -> None:
        """Open the sessions, until the stack is closed."""
        self.there = stack.enter_context(closing(self.lab.source_server.connect_raw()))
        self.here = stack.enter_context(closing(self.lab.local_server.connect_raw()))

    def sql(self, connection: Any, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements over a session; the rows of the last one."""
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def sessions(self) -> set[tuple[int, int]]:
        """The sessions of the lab's accounts."""
        query = "SELECT id FROM information_schema.processlist WHERE user LIKE '{}%'"
        if self.lab.kind == "postgresql":
            query = "SELECT pid FROM pg_stat_activity WHERE usename LIKE '{}%'"
        return {
            (number, row[0])
            for number, connection in enumerate((self.there, self.here))
            for row in self.sql(connection, query.format(self.lab.prefix))
        }

    def await_sessions(self, known: set[tuple[int, int]]) -> None:
        """Wait until both servers have noticed that a child has gone, and rolled back what it had begun."""
        deadline = time.monotonic() + 60
        while self.sessions() - known:
            assert time.monotonic() < deadline, "the servers do not notice"
            time.sleep(0.003)
