"""The SQL that a source administrator runs to let a link user in, and to let it out again.

Nothing here changes a server: the text is printed, read by a human and run by a human. The rights are the
least with which a link works: reading and referencing the source tables with their part tables, and
everything on the helper table. Two findings, both kept by tests on real servers, shaped the statements:

- MySQL and MariaDB take the names in a grant on a *table* literally. Only a grant on a whole database reads
  ``_`` and ``%`` as wildcards, so only there they are escaped: ``source\\_schema`` in a grant on a table
  means another schema, which is refused for a source table and silently useless for a helper table.
- On PostgreSQL the link user owns the helper table, and the foreign key is checked with its owner's rights.
  An owner without rights on the schema makes *every* delete in the source table fail, and ``DROP OWNED``
  would drop the helper table with all its holds. So the helper table is moved to the administrator first.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import datajoint as dj
from datajoint.utils import from_camel_case

from .config import BACKENDS, Address, Credentials
from .errors import ConfigError, NotFoundError
from .schema import TIER_PREFIXES, nearest, part_names

PASSWORD_PLACEHOLDER = "choose-a-password"


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a link user gets on the source server.

    Parameters
    ----------
    source_schema : str
        The schema with the source tables.
    tables : sequence of str
        Names of the source tables and of their part tables, as the server knows them.
    helper_schema : str
        The schema for the helper tables.
    helper_tables : sequence of str
        Names of the helper tables.
    user : str
        Name of the link user.
    client_host : str
        The host that the link user connects from, in MySQL's notation; not for PostgreSQL.
    password : str
        Its password.
    database : str, optional
        The PostgreSQL database; ``None`` leaves out its CONNECT, which every role has by default.
    new_user : bool
        Whether the account is created (and, when taking back, dropped) as well.
    """

    source_schema: str
    tables: Sequence[str]
    helper_schema: str
    helper_tables: Sequence[str]
    user: str = "djlink"
    client_host: str = "%"
    password: str = field(default=PASSWORD_PLACEHOLDER, repr=False)
    database: str | None = None
    new_user: bool = True


@dataclass(frozen=True)
class Statement:
    """One SQL statement without its semicolon; an optional one is printed as a comment."""

    sql: str
    why: str = ""
    optional: bool = False


def grants(
    access: Access,
    *,
    backend: str | None = None,
    address: Address | None = None,
    administrator: Credentials | None = None,
    revoke: bool = False,
) -> str:
    """Return the script that gives `access`, or takes it back.

    Parameters
    ----------
    access : Access
        Its tables may be class names; they are looked up if an address is given.
    backend : str, optional
        ``"mysql"`` (MariaDB as well) or ``"postgresql"``; default: what the address says, else ``"mysql"``.
    address, administrator : optional
        The source server and an account there that sees all tables of the source schema.
    revoke : bool
        Whether to take back.

    Raises
    ------
    ConfigError
        If a name cannot be one on this kind of server.
    NotFoundError
        If there is no such schema or table.
    """
    backend = backend or (address.backend if address else None) or BACKENDS[0]
    if address is not None and administrator is not None:
        access = _looked_up(access, backend, address, administrator)
    named = replace(
        access,
        tables=list(dict.fromkeys(map(table_name, access.tables))),
        helper_tables=list(map(table_name, access.helper_tables)),
    )
    return render((revoke_statements if revoke else grant_statements)(named, backend))


def grant_statements(access: Access, backend: str) -> list[Statement]:
    """Return what gives `access`, for ``"mysql"`` (MariaDB as well) or ``"postgresql"``."""
    return _dialect(backend).grant(access)


def revoke_statements(access: Access, backend: str) -> list[Statement]:
    """Return what takes `access` back; no helper row, thus no hold, is lost by it."""
    return _dialect(backend).revoke(access)


def render(statements: Iterable[Statement]) -> str:
    """Return the statements as a script, with the reasons and the optional statements as comments."""
    lines: list[str] = []
    for statement in statements:
        if statement.why:
            lines += _comment(statement.why)
        lines += _comment(f"{statement.sql};") if statement.optional else [f"{statement.sql};"]
    return "\n".join(lines) + "\n"


def required_sql(statements: Iterable[Statement]) -> list[str]:
    """Return the statements that are not optional, ready to be executed one by one."""
    return [statement.sql for statement in statements if not statement.optional]


def random_password() -> str:
    """Return a password of 32 characters from an alphabet that needs no quoting anywhere."""
    return secrets.token_urlsafe(24)


def table_name(name: str) -> str:
    """Return the table name for a class name (``Unit``, ``Unit.Waveform``), a table name as it is.

    Without a look at the server a class is taken for a manual table, as only there the names agree.
    """
    if not name[:1].isupper():
        return name
    return "__".join(from_camel_case(part) for part in name.split("."))


def helper_name(table: str) -> str:
    """Return the helper table's name that is proposed for a source table."""
    return f"{table_name(table).lstrip('#_')}_outbound"


def look_up(connection: Any, backend: str, schema: str, names: Iterable[str]) -> list[str]:
    """Find the tables that class or table names stand for, each followed by all of its part tables.

    Parameters
    ----------
    connection : datajoint.Connection
        To the source server, as its administrator.
    backend : str
        ``"mysql"`` or ``"postgresql"``.
    schema : str
        The source schema.
    names : iterable of str
        Class names (``Unit``, of any tier) or table names (``#lookup``, ``_imported``, ``__computed``).

    Raises
    ------
    NotFoundError
        If there is no such schema or table.
    ConfigError
        If a class name fits tables of several tiers.
    """
    present = [str(row[0]) for row in connection.query(_dialect(backend).tables_query, (schema,))]
    if not present:
        raise NotFoundError(
            f"The schema {schema!r} does not exist on the server, or has no tables.",
            "Check its name, and on PostgreSQL the name of the database.",
        )
    found: list[str] = []
    for name in names:
        master = _resolve(name, present, schema)
        found += [master, *part_names(master, present)]
    return list(dict.fromkeys(found))


def _looked_up(access: Access, backend: str, address: Address, administrator: Credentials) -> Access:
    options: dict[str, Any] = {"port": address.port, "backend": backend}
    if access.database is not None:
        options["database__name"] = access.database
    connection = dj.Instance(address.host, administrator.user, administrator.password, **options).connection
    try:
        return replace(access, tables=look_up(connection, backend, access.source_schema, access.tables))
    finally:
        connection.close()


def _resolve(name: str, present: Sequence[str], schema: str) -> str:
    wanted = table_name(name)
    tiers = TIER_PREFIXES if name[:1].isupper() else ("",)
    fitting = [tier + wanted for tier in tiers if tier + wanted in present]
    if len(fitting) > 1:
        raise ConfigError(f"{name!r} fits several tables of {schema!r}: {', '.join(fitting)}.", "Give the table name.")
    if not fitting:
        raise NotFoundError(f"There is no table {name!r} in the schema {schema!r}.", nearest(wanted, present))
    return fitting[0]


def _comment(text: str) -> list[str]:
    # By splitlines, as a line break inside a name must not end the comment
    return [f"-- {line}" for line in text.splitlines()]


def _checked(name: str, fits: bool, what: str) -> str:
    if not name or "\0" in name or not fits:
        raise ConfigError(f"{name!r} cannot be {what}: it is empty, too long, or holds a NUL.")
    return name


class _Dialect(Protocol):
    tables_query: str

    def grant(self, access: Access) -> list[Statement]: ...

    def revoke(self, access: Access) -> list[Statement]: ...


class _MySQL:
    """MySQL and MariaDB."""

    tables_query = (
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = %s AND table_type = 'BASE TABLE' ORDER BY table_name"
    )

    def grant(self, access: Access) -> list[Statement]:
        user = self._user(access)
        create = Statement(f"CREATE USER {user} IDENTIFIED BY {self._literal(access.password)}")
        return [
            *([create] if access.new_user else []),
            Statement(f"CREATE SCHEMA IF NOT EXISTS {self._name(access.helper_schema)}"),
            *(Statement(f"GRANT SELECT, REFERENCES ON {table} TO {user}") for table in self._tables(access)),
            *(Statement(f"GRANT ALL PRIVILEGES ON {table} TO {user}") for table in self._helpers(access)),
            Statement(
                f"GRANT SHOW VIEW ON {self._pattern(access.source_schema)}.* TO {user}",
                "Optional. The server hides tables without a grant: a part table added later would be\n"
                "missed without a word. It shows the names and definitions of all tables there, no rows:",
                optional=True,
            ),
            Statement(
                f"GRANT SELECT ON {self._name(access.source_schema)}.`~lineage` TO {user}",
                "and with it this, if the schema has that table: DataJoint reads it where it sees it:",
                optional=True,
            ),
        ]

    def revoke(self, access: Access) -> list[Statement]:
        user = self._user(access)
        if access.new_user:
            taken = [Statement(f"DROP USER {user}", "All rights of the account end with it.")]
        else:
            sources = (f"REVOKE SELECT, REFERENCES ON {table} FROM {user}" for table in self._tables(access))
            helpers = (f"REVOKE ALL PRIVILEGES ON {table} FROM {user}" for table in self._helpers(access))
            taken = [*map(Statement, sources), *map(Statement, helpers)]
        return [*taken, *_drop_helpers(self._helpers(access))]

    def _user(self, access: Access) -> str:
        _checked(access.user, len(access.user) <= 128, "the name of an account")
        return f"{self._literal(access.user)}@{self._literal(access.client_host)}"

    def _tables(self, access: Access) -> list[str]:
        return [f"{self._name(access.source_schema)}.{self._name(table)}" for table in access.tables]

    def _helpers(self, access: Access) -> list[str]:
        return [f"{self._name(access.helper_schema)}.{self._name(table)}" for table in access.helper_tables]

    def _name(self, name: str) -> str:
        return "`" + _checked(name, len(name) <= 64, "a name on MySQL").replace("`", "``") + "`"

    def _pattern(self, schema: str) -> str:
        return re.sub(r"([\\_%])", r"\\\1", self._name(schema))

    def _literal(self, text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


class _PostgreSQL:
    tables_query = (
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relkind IN ('r', 'p') ORDER BY c.relname"
    )

    def grant(self, access: Access) -> list[Statement]:
        user, source, helper = self._names(access.user, access.source_schema, access.helper_schema)
        create = Statement(f"CREATE ROLE {user} LOGIN PASSWORD {self._literal(access.password)}")
        return [
            *([create] if access.new_user else []),
            *(Statement(f"GRANT CONNECT ON DATABASE {name} TO {user}") for name in self._database(access)),
            Statement(f"GRANT USAGE ON SCHEMA {source} TO {user}"),
            *(Statement(f"GRANT SELECT, REFERENCES ON {table} TO {user}") for table in self._tables(access)),
            Statement(f"CREATE SCHEMA IF NOT EXISTS {helper}"),
            Statement(f"GRANT USAGE, CREATE ON SCHEMA {helper} TO {user}"),
            Statement(
                f"GRANT {user} TO CURRENT_USER",
                "Only for an administrator who is no superuser. The link user will own the helper table;\n"
                "as its member you can set flags there:",
                optional=True,
            ),
        ]

    def revoke(self, access: Access) -> list[Statement]:
        user, source, helper = self._names(access.user, access.source_schema, access.helper_schema)
        rest = [
            f"REVOKE USAGE, CREATE ON SCHEMA {helper} FROM {user}",
            f"REVOKE USAGE ON SCHEMA {source} FROM {user}",
        ]
        rest += [f"REVOKE CONNECT ON DATABASE {name} FROM {user}" for name in self._database(access)]
        shared = "" if access.new_user else "Only if no other link of this account needs it:"
        return [
            *_because(
                "First of all: the foreign key is checked with the rights of the helper table's owner.",
                self._disown(access, user),
            ),
            *(Statement(f"REVOKE SELECT, REFERENCES ON {table} FROM {user}") for table in self._tables(access)),
            *_because(shared, rest, optional=bool(shared)),
            *([Statement(f"DROP ROLE {user}")] if access.new_user else []),
            *_drop_helpers(self._helpers(access)),
        ]

    def _disown(self, access: Access, user: str) -> list[str]:
        if access.new_user:
            return [f"REASSIGN OWNED BY {user} TO CURRENT_USER"]
        return [f"ALTER TABLE IF EXISTS {table} OWNER TO CURRENT_USER" for table in self._helpers(access)]

    def _database(self, access: Access) -> list[str]:
        return [] if access.database is None else self._names(access.database)

    def _tables(self, access: Access) -> list[str]:
        return [".".join(self._names(access.source_schema, table)) for table in access.tables]

    def _helpers(self, access: Access) -> list[str]:
        return [".".join(self._names(access.helper_schema, table)) for table in access.helper_tables]

    def _names(self, *names: str) -> list[str]:
        return ['"' + self._fitting(name).replace('"', '""') + '"' for name in names]

    def _fitting(self, name: str) -> str:
        # The server would cut a longer name off, and that might be the name of another table.
        return _checked(name, len(name.encode()) <= 63, "a name on PostgreSQL")

    def _literal(self, text: str) -> str:
        quoted = text.replace("'", "''")
        # E'' means the same under either setting of standard_conforming_strings
        return f"'{quoted}'" if "\\" not in text else "E'" + quoted.replace("\\", "\\\\") + "'"


def _drop_helpers(tables: Sequence[str]) -> list[Statement]:
    why = "The helper table stays, and its rows go on holding. When nobody has copies any more:"
    return _because(why, [f"DROP TABLE {table}" for table in tables], optional=True)


def _because(why: str, statements: Iterable[str], optional: bool = False) -> list[Statement]:
    return [Statement(sql, "" if i else why, optional) for i, sql in enumerate(statements)]


_DIALECTS: dict[str, _Dialect] = {"mysql": _MySQL(), "postgresql": _PostgreSQL()}


def _dialect(backend: str) -> _Dialect:
    try:
        return _DIALECTS[backend]
    except KeyError:
        raise ConfigError(f"backend={backend!r} is not known.", f"Use one of {', '.join(BACKENDS)}.") from None
