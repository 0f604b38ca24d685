"""What several test modules need to link tables of a `Lab`, and to see that nothing has changed anywhere."""

from __future__ import annotations

import re
import traceback
from typing import Any

import datajoint as dj
from fleet import TestServer
from lab import Lab

from link import LinkError, link


def linked(lab: Lab, name: str = "Session", body: dict[str, Any] | None = None, **changes: Any) -> Any:
    """A class of this name, linked to the lab's source; `changes` replace arguments of the decorator."""
    names = {
        "host": f"{lab.source_server.host}:{lab.source_server.port}",
        "source_schema": lab.source_schema,
        "helper_schema": lab.helper_schema,
        "helper_table": lab.helper_table,
        "local_schema": lab.local_schema,
    }
    options: dict[str, Any] = {"connection": lab.local, "use_tls": False} | changes
    positional: list[Any] = [options.pop(argument, value) for argument, value in names.items()]
    decorate: Any = link
    return decorate(*positional, **options)(type(name, (), body or {}))


def declare_session(lab: Lab, rows: int = 3, grant: bool = True) -> Any:
    """The source table Session with a part table Trial, two trials a session."""

    class Session(dj.Manual):
        definition = "session: int32\n---\nnote='': varchar(20)"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32"

    table: Any = lab.source.Schema(lab.source_schema)(Session)
    table.insert({"session": n, "note": f"note {n}"} for n in range(rows))
    table.Trial.insert({"session": n, "trial": t} for n in range(rows) for t in range(2))
    if grant:
        lab.grant(table)
    return table


def admin(lab: Lab, *statements: str) -> None:
    """Run statements as the source's administrator; identifiers in double quotes, schemas as {source} and {helper}."""
    for statement in statements:
        text = statement.format(
            source=lab.source_schema,
            helper=lab.helper_schema,
            user=lab.link_user if lab.kind == "postgresql" else f"{lab.link_user}@'%'",
        )
        lab.source_server.sql(text if lab.kind == "postgresql" else text.replace('"', "`"))


def quoted(server: TestServer, name: str) -> str:
    """An identifier, whatever is in it, for a statement without parameters."""
    quote = '"' if server.kind == "postgresql" else "`"
    return f"{quote}{name.replace(quote, 2 * quote)}{quote}"


def contents(lab: Lab) -> dict[tuple[int, str, str], Any]:
    """All schemas of the lab on both servers with their types, tables, columns and rows."""
    found: dict[tuple[int, str, str], Any] = {}
    for server in (lab.source_server, lab.local_server):
        with server.cursor() as cursor:
            found |= _contents(server, cursor, f"{lab.prefix}%")
    return found


def _contents(server: TestServer, cursor: Any, pattern: str) -> dict[tuple[int, str, str], Any]:
    def rows(query: str, *args: str) -> list[tuple[Any, ...]]:
        cursor.execute(query, args or None)
        return list(cursor.fetchall())

    schemas = rows("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE %s", pattern)
    found: dict[tuple[int, str, str], Any] = {(server.port, schema, ""): "schema" for (schema,) in schemas}
    columns = rows(
        "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema LIKE %s ORDER BY ordinal_position",
        pattern,
    )
    for schema, table in sorted({row[:2] for row in columns}):
        name = f"{quoted(server, schema)}.{quoted(server, table)}"
        described = [row[2:] for row in columns if row[:2] == (schema, table)]
        found[server.port, schema, table] = described, sorted(map(_shown, rows(f"SELECT * FROM {name}")))
    if server.kind == "postgresql":
        types = "SELECT nspname, typname FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace"
        for schema, name in rows(f"{types} WHERE nspname LIKE %s AND typtype = 'e'", pattern):
            found[server.port, schema, f"type {name}"] = "type"
    return found


def _shown(row: tuple[Any, ...]) -> str:
    return repr([bytes(value) if isinstance(value, memoryview) else value for value in row])


def remedies(error: LinkError) -> list[str]:
    """The SQL statements in the hint of an error."""
    return re.findall(r"(?:CREATE|GRANT|ALTER) [^;]*", error.hint or "")


def remedy(lab: Lab, error: LinkError) -> None:
    """Do what the error says, as the source's administrator."""
    statements = remedies(error)
    assert statements, error
    for statement in statements:
        lab.source_server.sql(statement)


def everything_said(error: BaseException) -> str:
    """All text that a user can see of an error, that of its causes included."""
    chain: list[BaseException | None] = [error]
    while chain[-1] is not None:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)
    texts = "".join(f"{e!r} {e} {getattr(e, '__dict__', {})}" for e in chain)
    return texts + "".join(traceback.format_exception(error))
