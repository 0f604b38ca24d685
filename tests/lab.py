"""A world of its own for each test: schemas at the source, a prefix at the local side, weak accounts."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import datajoint as dj
import pymysql
from fleet import TestServer
from pymysql.constants import ER


@dataclass
class Lab:
    """Names, accounts and connections; `build` makes them on the servers and `clear` takes them away."""

    source_server: TestServer
    local_server: TestServer
    prefix: str = field(default_factory=lambda: f"t{secrets.token_hex(3)}")
    helper_table: str = "outbound"
    older: bool = False  # whether tables are linked by the older interface
    link_password: str = field(default_factory=secrets.token_hex)
    local_password: str = field(default_factory=secrets.token_hex)

    def __post_init__(self) -> None:
        self.kind = self.source_server.kind
        self.local_kind = self.local_server.kind
        self.source_schema = f"{self.prefix}_source"
        self.helper_schema = f"{self.prefix}_helper"
        self.local_schema = f"{self.prefix}_local"
        self.link_user = f"{self.prefix}_linker"
        self.local_user = f"{self.prefix}_scientist"
        self._open: list[dj.Instance] = []

    def build(self) -> None:
        """Empty schemas at the source, a link user without rights on tables, the local account."""
        self.source_server.create_user(self.link_user, self.link_password)
        self.source_server.sql(f"CREATE SCHEMA {self.source_schema}")
        own = f" AUTHORIZATION {self.link_user}" if self.kind == "postgresql" else ""
        self.source_server.sql(f"CREATE SCHEMA {self.helper_schema}{own}")
        if self.kind == "postgresql":
            self.source_server.sql(f"GRANT USAGE ON SCHEMA {self.source_schema} TO {self.link_user}")
        self._create_local_user()
        self.source = self.instance(self.source_server)
        self.local = self.instance(self.local_server, self.local_user, self.local_password)

    def grant(self, *tables: Any, parts: bool = True) -> None:
        """Give the link user the documented rights and no more: on these source tables and the helper table.

        A table is a DataJoint class or its name in the database; with `parts`, its part tables are included.
        """
        for table in tables:
            name = getattr(table, "table_name", table)
            for granted in [name, *(self._parts(name) if parts else [])]:
                self._grant("SELECT, REFERENCES", self.source_schema, granted)
        if self.kind != "postgresql":
            self._grant("ALL PRIVILEGES", self.helper_schema, self.helper_table)
            self._grant("CREATE, SELECT, INSERT, UPDATE, DELETE", self.helper_schema, "~lineage")

    def grant_tracking(self, *stores: str) -> None:
        """Let the link user read what DataJoint 0.x tells of the objects in these stores of the source schema."""
        for store in stores:
            self._grant("SELECT", self.source_schema, f"~external_{store}")

    def revoke(self, right: str, table: Any) -> None:
        """Take one right on a source table back."""
        name = self._quoted(self.source_schema, getattr(table, "table_name", table))
        self.source_server.sql(f"REVOKE {right} ON {name} FROM {self._account(self.link_user)}")

    def instance(self, server: TestServer, user: str | None = None, password: str | None = None) -> dj.Instance:
        """A DataJoint instance that is closed with the lab; of the administrator unless a user is named."""
        self._open.append(server.instance(user, password))
        return self._open[-1]

    def link_instance(self) -> dj.Instance:
        """A DataJoint instance at the source, of the link user."""
        return self.instance(self.source_server, self.link_user, self.link_password)

    def clear(self) -> None:
        """Remove everything whose name begins with the prefix, from running or restarted servers."""
        with ExitStack() as stack:
            for instance in self._open:
                stack.callback(_close, instance.connection)
            for server in {server.port: server for server in (self.source_server, self.local_server)}.values():
                stack.callback(_clear, server, self.prefix)

    def _create_local_user(self) -> None:
        self.local_server.create_user(self.local_user, self.local_password)
        if self.local_kind == "postgresql":
            self.local_server.sql(f"GRANT CREATE ON DATABASE postgres TO {self.local_user}")
        else:
            # In a right on whole schemas _ stands for any character unless escaped, and % for any text.
            self.local_server.sql(f"GRANT ALL PRIVILEGES ON `{self.prefix}\\_%`.* TO {self.local_user}@'%'")

    def _parts(self, master: str) -> list[str]:
        rows = self.source_server.sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", self.source_schema
        )
        return [name for (name,) in rows if name.startswith(f"{master}__")]

    def _grant(self, rights: str, schema: str, table: str) -> None:
        # In a right on one table the schema's name is taken literally: an escaped underscore would not match.
        name = self._quoted(schema, table)
        self.source_server.sql(f"GRANT {rights} ON {name} TO {self._account(self.link_user)}")

    def _quoted(self, schema: str, table: str) -> str:
        return f'"{schema}"."{table}"' if self.kind == "postgresql" else f"`{schema}`.`{table}`"

    def _account(self, user: str) -> str:
        return user if self.kind == "postgresql" else f"{user}@'%'"


def _close(connection: dj.Connection) -> None:
    with suppress(pymysql.err.Error):  # a test has closed it
        connection.close()


def _clear(server: TestServer, prefix: str) -> None:
    server.restore()
    with server.cursor() as cursor:

        def column(query: str) -> list[Any]:
            cursor.execute(query, (f"{prefix}\\_%",))
            return [row[0] for row in cursor.fetchall()]

        schemas = column("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE %s")
        if server.kind == "postgresql":
            column("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE %s")
            statements = ['DROP SCHEMA "{}" CASCADE'.format(schema.replace('"', '""')) for schema in schemas]
            for user in column("SELECT rolname FROM pg_roles WHERE rolname LIKE %s"):
                role = '"{}"'.format(user.replace('"', '""'))
                statements += [f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}"]
        else:
            sessions = column("SELECT id FROM information_schema.processlist WHERE user LIKE %s")
            for session in sessions:
                _kill(cursor, session)
            statements = ["SET foreign_key_checks = 0"]
            statements += ["DROP SCHEMA `{}`".format(schema.replace("`", "``")) for schema in schemas]
            statements += [f"DROP USER {user}@'%'" for user in column("SELECT user FROM mysql.user WHERE user LIKE %s")]
            statements += ["SET foreign_key_checks = 1"]
        for statement in statements:
            cursor.execute(statement)


def _kill(cursor: Any, session: int) -> None:
    try:
        cursor.execute(f"KILL {session}")
    except pymysql.MySQLError as error:
        if error.args[0] != ER.NO_SUCH_THREAD:  # it has ended by itself
            raise
