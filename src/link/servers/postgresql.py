"""PostgreSQL 14 and later.

Rows travel as binary COPY data, which the client forwards without looking at it: both ends have columns of the same
types, so every bit arrives. Key columns that the client must hold travel as text with a cast on the way back.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal, cast

import psycopg2
import psycopg2.extensions
from psycopg2 import errorcodes

from ..errors import (
    DefinitionError,
    LinkError,
    LoginError,
    PrivilegeError,
    ServerError,
    UnreachableError,
    UnsupportedServerError,
)
from ..kinds import Kind, default_of, marked
from ..schema import Column, ForeignKey, Table
from . import mysql_types, postgresql_types
from .base import Block, BusyError, Connection, Form, Key, RowError, Server, Sql
from .mysql import literal

_INTEGERS = ("smallint", "integer", "bigint")
_SESSION = (
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; SET TIME ZONE 'UTC'; "
    "SET extra_float_digits = 1; SET bytea_output = hex; SET DateStyle = ISO; SET IntervalStyle = postgres; "
    "SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; "
    # As patient with locks as MySQL is; and the server, too, notices when we are gone without a word.
    "SET lock_timeout = '50s'; "
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)
_OLDEST = 140000

_BUSY = {
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.LOCK_NOT_AVAILABLE,
    errorcodes.SERIALIZATION_FAILURE,
}
_LOST = {errorcodes.ADMIN_SHUTDOWN, errorcodes.CRASH_SHUTDOWN, errorcodes.CANNOT_CONNECT_NOW}


_NAN = float("nan")


def _float(text: str | bytes | None, _: Any) -> float | None:
    # Always the same NaN: then Python finds keys that have one.
    return None if text is None else _NAN if text == "NaN" else float(text)


_NOT_A_DECIMAL = Decimal("NaN")


def _decimal(text: str | bytes | None, _: Any) -> Decimal | None:
    return None if text is None else _NOT_A_DECIMAL if text == "NaN" else Decimal(str(text))


_FLOATS = psycopg2.extensions.new_type((700, 701), "FLOATS", _float)
_DECIMALS = psycopg2.extensions.new_type((1700,), "DECIMALS", _decimal)


class PostgreSQLConnection(Connection):
    """A psycopg2 connection in autocommit mode."""

    server: PostgreSQL

    def __init__(self, server: PostgreSQL) -> None:
        super().__init__(server)
        self._raw = server.open()
        self._raw.autocommit = True
        for numbers in (_FLOATS, _DECIMALS):
            psycopg2.extensions.register_type(numbers, self._raw)
        self.execute(_SESSION)

    def query(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            cursor.execute(sql, tuple(args) or None) if args else cursor.execute(_plain(sql))
            return list(cursor.fetchall())

    def execute(self, sql: str, args: Sequence[Any] = ()) -> int:
        with self._cursor() as cursor:
            cursor.execute(sql, tuple(args)) if args else cursor.execute(_plain(sql))
            return max(int(cursor.rowcount), 0)

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        try:
            with self._raw.cursor() as cursor:
                yield cursor
        except psycopg2.Error as error:
            raise self.server.translate(error) from error

    def stream(self, table: Table, source: Sql, form: Form, emit: Callable[[Block], None]) -> int:
        with self._cursor() as cursor:
            if form.language == "binary":
                fields = ", ".join(self.server.field(table, name) for name in table.names)
                copy, sink = "(FORMAT BINARY)", _Sink(emit, form.block_bytes)
            else:
                fields, copy = self.server.render(table, form), _ONE_COLUMN
                sink = _Tuples(emit, form.block_bytes)
            select = cursor.mogrify(f"SELECT {fields} {source[0]}", source[1]).decode()
            cursor.copy_expert(f"COPY ({select}) TO STDOUT {copy}", sink)
            sink.flush()
            return int(cursor.rowcount)

    def load(self, table: Table, blocks: Iterable[Block], form: Form) -> int:
        names = ", ".join(self.server.quote(name) for name in table.names)
        copy = f"COPY {self.server.name(table.schema, table.name)} ({names}) FROM STDIN"
        with self._cursor() as cursor:
            given = _Source(blocks)
            try:
                cursor.copy_expert(_plain(copy) + " BINARY" * (form.language == "binary"), given, size=1 << 18)
            except psycopg2.Error as error:
                if given.error:
                    raise given.error from None
                if error.pgcode == errorcodes.CHARACTER_NOT_IN_REPERTOIRE and (found := _with_nul(table, given.last)):
                    raise RowError(f"{self.server.where}: {found} has a NUL, which PostgreSQL's text cannot") from error
                raise
            return int(cursor.rowcount)

    def lock(self, name: tuple[int, int], wait: bool) -> bool:
        if wait:
            self.execute("SET lock_timeout = 0")
            self.query("SELECT pg_advisory_lock(%s, %s)", name)
            self.execute("SET lock_timeout = '50s'")
            return True
        return bool(self.query("SELECT pg_try_advisory_lock(%s, %s)", name)[0][0])

    def locked(self, space: int, names: Iterable[int]) -> set[int]:
        rows = self.query(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid::bigint = %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (space,),
        )
        return {int(name) for (name,) in rows} & set(names)

    def rollback(self) -> None:
        with contextlib.suppress(LinkError):
            self.execute("ROLLBACK")

    def close(self) -> None:
        with contextlib.suppress(psycopg2.Error):
            self._raw.close()


#: One column a row, as it is: a row is quoted only when it holds a line break, and the quote is a character
#: that text hardly ever has.
_ONE_COLUMN = r"(FORMAT CSV, DELIMITER E'\x02', QUOTE E'\x01')"


class _Sink(io.RawIOBase):
    """Takes what COPY TO sends, row by row, and emits it in blocks."""

    between = b""

    def __init__(self, emit: Callable[[Block], None], block_bytes: int) -> None:
        self._emit = emit
        self._block_bytes = block_bytes
        self._rows: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        row = self.row(data)
        if self._rows and self._size + len(row) > self._block_bytes:
            self.flush()
        self._rows.append(row)
        self._size += len(row) + 1
        return len(data)

    def row(self, data: bytes) -> bytes:
        """What is kept of one row."""
        return data

    def flush(self) -> None:
        if self._rows:
            self._emit(Block(self.between.join(self._rows), len(self._rows)))
            self._rows, self._size = [], 0


class _Tuples(_Sink):
    """Takes rows that were rendered as VALUES tuples."""

    between = b","

    def row(self, data: bytes) -> bytes:
        row = data[:-1]
        if row[:1] == b"\x01":
            row = row[1:-1].replace(b"\x01\x01", b"\x01")
        # In hexadecimal a long value takes twice its size, and may take more than the other server's packet.
        return _HEXADECIMAL.sub(_unhexed, row) if len(row) > _LONG_ROW else row


_LONG_ROW = 65_536
#: Within text literals every quote has a backslash before it, so this is a literal of its own.
_HEXADECIMAL = re.compile(rb"(?<=[(,])x'([0-9a-f]*)'")


def _unhexed(match: re.Match[bytes]) -> bytes:
    return literal(bytes.fromhex(match[1].decode()))


class _Source(io.RawIOBase):
    """Gives blocks to COPY FROM in pieces of the size that it asks for."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._blocks = iter(blocks)
        self._data = memoryview(b"")
        self.last = b""
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while not self._data:
                block = next(self._blocks, None)
                if block is None:
                    return b""
                self.last, self._data = block.data, memoryview(block.data)
        except BaseException as error:
            # psycopg2 would report it, Ctrl-C too, as an error of the server's.
            self.error = error
            raise
        piece, self._data = self._data[:size], self._data[size:]
        return bytes(piece)


def _with_nul(table: Table, lines: bytes) -> str | None:
    """The first column with a NUL in lines of COPY: the server names none."""
    place = lines.find(b"\0")
    if place < 0:
        return None
    column = table.names[lines.count(b"\t", lines.rfind(b"\n", 0, place) + 1, place)]
    return f"{table.name}.{column}"


class PostgreSQL(Server):
    """A PostgreSQL server."""

    driver_errors = (psycopg2.Error,)
    begin_snapshot = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)

    def open(self) -> Any:
        """Connect with the address, account and encryption of DataJoint's connection."""
        info, driver = self.info, cast(Any, self.dj._conn)
        try:
            return psycopg2.connect(
                host=info["host"],
                port=info["port"],
                user=info["user"],
                password=info["passwd"],
                dbname=info.get("database_name") or "postgres",
                sslmode="require" if driver.info.ssl_in_use else "disable",
                connect_timeout=10,
                # A server that is gone without a word is noticed within two minutes, also in the middle of sending.
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
                tcp_user_timeout=120_000,
                application_name="datajoint-link",
            )
        except psycopg2.Error as error:
            raise self.translate(error) from error

    def connect(self) -> PostgreSQLConnection:
        return PostgreSQLConnection(self)

    def translate(self, error: psycopg2.Error) -> LinkError:
        """The one table from the driver's errors to ours."""
        code, text = error.pgcode or "", str(error).strip()
        if code.startswith("28") or "authentication failed" in text or "no password supplied" in text:
            return LoginError(
                f"The server {self.where} refused the user {self.user!r}: {text}",
                "Check the user name and the password.",
            )
        if code in _LOST or (not code and isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError))):
            return UnreachableError(
                f"Lost or could not make the connection to {self.where} as {self.user!r}: {text}",
                "Check that the server runs and can be reached from here, then run the same again: it goes on.",
            )
        if code in _BUSY:
            return BusyError(f"{self.where}: {text}", "Another session holds the same rows; try again.")
        if code == errorcodes.INSUFFICIENT_PRIVILEGE:
            return PrivilegeError(f"The account {self.user!r} on {self.where} lacks a right: {text}")
        # 54: what exceeds a limit, of an index entry for one; P0001: a trigger says no.
        if code[:2] in ("22", "23", "54") or code == errorcodes.RAISE_EXCEPTION:
            return RowError(f"{self.where}: {text}")
        return ServerError(f"{self.where}: {text}")

    def dj_lives(self) -> bool:
        # After an error in a transaction the server does not answer a ping, but it is there.
        return super().dj_lives() or not cast(Any, self.dj._conn).closed

    def check_version(self, connection: Connection) -> None:
        number, version = connection.query(
            "SELECT current_setting('server_version_num'), current_setting('server_version')"
        )[0]
        if int(number) < _OLDEST:
            raise UnsupportedServerError(
                f"The server {self.where} runs PostgreSQL {version}.",
                "PostgreSQL 14 is the oldest supported.",
            )

    def identity(self, connection: Connection) -> tuple[str, ...]:
        found = connection.query("SELECT system_identifier, current_database() FROM pg_control_system()")[0]
        return tuple(map(str, found))

    def lasting_identity(self, connection: Connection) -> str | None:
        return "/".join(self.identity(connection))

    # names

    def fits(self, name: str) -> bool:
        return len(name.encode()) <= 63

    def quote(self, name: str) -> str:
        return '"' + name.replace('"', '""').replace("%", "%%") + '"'

    def field(self, table: Table, column: str) -> str:
        """A column with the name of its table."""
        return f"{self.name(table.schema, table.name)}.{self.quote(column)}"

    # kinds of server

    def language_from(self, source: Server) -> Literal["values", "copy", "binary"]:
        return "binary" if self.alike(source) else "copy"

    def alike(self, source: Server) -> bool:
        return isinstance(source, PostgreSQL)

    def localized(self, connection: Connection, table: Table, source: Server) -> Table:
        if self.alike(source):
            return table
        return replace(table, columns=tuple(self._from_elsewhere(table, column) for column in table.columns))

    def _from_elsewhere(self, table: Table, column: Column) -> Column:
        kind = _kind(column)
        if not self.fits(column.name):
            raise DefinitionError(f"The name of the column {table.name}.{column.name} is too long for PostgreSQL.")
        given = default_of(column.default, mysql_types.unescape)
        local = replace(
            column,
            charset=None,
            collation=None,
            on_update=None,
            comment=marked(column.comment, kind),
            default=postgresql_types.default(kind, given) if given else None,
        )
        if kind.name == "enum":
            if not all(map(self.fits, kind.labels)):
                raise DefinitionError(f"A label of the column {table.name}.{column.name} is too long for PostgreSQL.")
            labels = "\0".join(kind.labels).encode()
            name = f"{self.quote(table.schema)}.{self.quote(f'enum_{hashlib.sha256(labels).hexdigest()[:8]}')}"
            return replace(local, type=_enum(kind.labels), enum_type=_plain(name))
        return replace(local, type=postgresql_types.declare(kind))

    def render(self, table: Table, form: Form) -> str:
        """One text a row: ``(1,'text',x'ff',NULL)``."""
        fields = []
        for column in table.columns:
            reference = self.field(table, column.name)
            value = postgresql_types.in_values(_kind(column), reference)
            if _kind(column).name == "json" and not form.exact_json:
                refusal = _text(mysql_types.rounded_json(column.name))
                value = f"CASE WHEN {postgresql_types.is_rounded(reference)} THEN {refusal} ELSE {value} END"
            fields.append(f"coalesce({value}, 'NULL')" if column.nullable else value)
        return "'(' || " + " || ',' || ".join(fields) + " || ')'"

    # keys

    def key_select(self, column: Column, reference: str) -> str:
        return postgresql_types.canonical(_kind(column), reference)

    def key_param(self, column: Column) -> str:
        return postgresql_types.parameter(_kind(column), self._cast(column))

    def _cast(self, column: Column) -> str:
        return column.enum_type.replace("%", "%%") if column.enum_type else column.type

    def key_order(self, column: Column, reference: str) -> str:
        return reference

    def beyond(self, columns: Sequence[tuple[Column, str]], key: Key, sign: str) -> Sql:
        left = ", ".join(reference for _, reference in columns)
        right = ", ".join(self.key_param(column) for column, _ in columns)
        return f"({left}) {sign} ({right})", tuple(key)

    def key_list(self, columns: Sequence[Column], keys: Sequence[Key]) -> Sql:
        arrays = ", ".join(f"%s::{postgresql_types.listed_type(_kind(c), self._cast(c))}[]" for c in columns)
        names = ", ".join(f"k{n}" for n in range(len(columns)))
        lists = zip(*keys, strict=True)
        return f"unnest({arrays}) AS j({names})", tuple(map(_array, columns, lists))

    def listed_value(self, column: Column, listed: str) -> str:
        return postgresql_types.parameter(_kind(column), self._cast(column), listed)

    def key_checksum(self, columns: Sequence[tuple[Column, str]], alike: bool) -> str:
        if alike:
            # Sums of big integers are wider than these.
            if all(column.type in _INTEGERS for column, _ in columns):
                digest = "0"
                for _, reference in columns:
                    digest = f"hashint8extended({reference}::bigint, {digest})"
                return f"SUM({digest})"
            fields = ", ".join(f"quote_literal({reference}::text)" for _, reference in columns)
            return f"SUM(hashtextextended(concat_ws(',', {fields}), 0))"
        fields = ", ".join(postgresql_types.summed(_kind(column), reference) for column, reference in columns)
        digest = f"encode(sha256(convert_to(concat_ws(',', {fields}), 'UTF8')), 'hex')"
        return f"SUM(('x' || left({digest}, 8))::bit(32)::bigint)"

    # statements in which dialects differ

    def insert_new(self, table: str, columns: Sequence[str], select: str, key: str) -> str:
        names = ", ".join(self.quote(c) for c in columns)
        return f"INSERT INTO {table} ({names}) {select} ON CONFLICT DO NOTHING"

    def update_listed(self, table: str, assignments: str, key_list: str, on: str, where: str) -> str:
        return f"UPDATE {table} SET {assignments} FROM {key_list} WHERE {on} AND {self.unguessed(where)}"

    def delete_listed(self, table: str, key_list: str, on: str, where: str) -> str:
        return f"DELETE FROM {table} USING {key_list} WHERE {on} AND {self.unguessed(where)}"

    def unguessed(self, condition: str) -> str:
        # Taken to be true of every other row. A guess of one row would compare each with all keys of the list.
        return f"CASE WHEN {condition} THEN TRUE END"

    def stable_read(self, select: str) -> tuple[str, ...]:
        # One snapshot for both: what others change meanwhile makes the DELETE fail, what they add it does not see.
        return "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", select

    def driving_join(self, first: str, second: str, on: str) -> str:
        return f"{first} JOIN {second} ON {on}"

    def comparable(self, table: Table, alike: bool) -> str:
        if not alike:
            return ", ".join(postgresql_types.canonical(_kind(c), self.field(table, c.name)) for c in table.columns)
        fields = ", ".join(self.field(table, c.name) for c in table.columns)
        return f"encode(sha256(convert_to(ROW({fields})::text, 'UTF8')), 'hex')"

    def sum_of_digests(self, table: Table) -> str:
        # Sixty bits of each digest: sums of them fit into a numeric.
        return f"SUM(('x' || left({self.comparable(table, True)}, 15))::bit(60)::bigint::numeric)"

    # definitions

    def schemas(self, connection: Connection) -> list[str]:
        return [str(name) for (name,) in connection.query("SELECT nspname FROM pg_namespace")]

    def schema_exists(self, connection: Connection, schema: str) -> bool:
        return bool(connection.query("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)))

    def create_schema(self, connection: Connection, schema: str) -> None:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self.quote(schema)}")

    def tables(self, connection: Connection, schema: str) -> list[str]:
        rows = connection.query(
            "SELECT relname FROM pg_class "
            "WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relkind IN ('r', 'p')",
            (schema,),
        )
        return sorted(str(name) for (name,) in rows)

    def read_table(self, connection: Connection, schema: str, name: str) -> Table:
        oid = (
            "(SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE nspname = %s AND relname = %s)"
        )
        comment = connection.query(f"SELECT obj_description({oid}, 'pg_class')", (schema, name))[0][0]
        columns = connection.query(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, "
            "CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END, "
            "col_description(a.attrelid, a.attnum), "
            "CASE WHEN a.attcollation <> t.typcollation "
            "THEN quote_ident(o.nspname) || '.' || quote_ident(l.collname) END, a.attidentity <> '', "
            "(SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e "
            "WHERE e.enumtypid = a.atttypid), "
            "quote_ident(s.nspname) || '.' || quote_ident(t.typname) "
            "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace s ON s.oid = t.typnamespace "
            "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
            "LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_namespace o ON o.oid = l.collnamespace "
            f"WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            (schema, name),
        )
        keys = connection.query(
            "SELECT c.contype::text, n.nspname, f.relname, "
            "(SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k(num, n) "
            "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num), "
            "(SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.confkey) WITH ORDINALITY k(num, n) "
            "JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num) "
            "FROM pg_constraint c LEFT JOIN pg_class f ON f.oid = c.confrelid "
            "LEFT JOIN pg_namespace n ON n.oid = f.relnamespace "
            f"WHERE c.conrelid = {oid} AND c.contype IN ('p', 'f')",
            (schema, name),
        )
        return Table(
            schema,
            name,
            comment or "",
            tuple(_column(row) for row in columns),
            tuple(next((row[3] for row in keys if row[0] == "p"), ())),
            tuple(ForeignKey(tuple(r[3]), r[1], r[2], tuple(r[4])) for r in keys if r[0] == "f"),
        )

    def supports(self, column: Column) -> bool:
        return column.kind is not None

    def missing_rights(self, connection: Connection, table: Table, rights: Sequence[str]) -> list[str]:
        usable = connection.query("SELECT has_schema_privilege(%s, 'USAGE')", (table.schema,))[0][0]
        held = connection.query(
            "SELECT has_table_privilege(c.oid, r) FROM unnest(%s) WITH ORDINALITY AS asked(r, n), pg_class c "
            "JOIN pg_namespace s ON s.oid = c.relnamespace WHERE nspname = %s AND relname = %s ORDER BY n",
            (list(rights), table.schema, table.name),
        )
        missing = [right for right, (may,) in zip(rights, held, strict=True) if not may]
        return missing if usable else ["USAGE", *missing]

    def grant_hint(self, rights: Sequence[str], schema: str, table: str) -> str:
        user, on_table = self.quote(self.user), [right for right in rights if right != "USAGE"]
        grants = [f"GRANT USAGE ON SCHEMA {self.quote(schema)} TO {user};"] * ("USAGE" in rights)
        if on_table:
            grants.append(f"GRANT {', '.join(on_table)} ON {self.name(schema, table)} TO {user};")
        return _plain(f"As its owner on {self.where}: {' '.join(grants)}")

    def grant_helper_hint(self, schema: str, table: str) -> str:
        name = self.quote(schema)
        return _plain(
            f"As administrator of {self.where}: CREATE SCHEMA IF NOT EXISTS {name}; "
            f"GRANT USAGE, CREATE ON SCHEMA {name} TO {self.quote(self.user)};"
        )

    def grant_schema_hint(self, schema: str) -> str:
        return self.grant_helper_hint(schema, "")

    def create_helper(
        self, source: Table, schema: str, name: str, columns: Mapping[str, Sequence[str]], comment: str
    ) -> list[str]:
        return [
            *self._helper_enums(schema, columns),
            # Room on each page for its rows' second version: finishing a pull need not touch the index then.
            self._create_keyed(source, schema, name, (source.schema, source.name), columns) + " WITH (fillfactor = 50)",
            f"COMMENT ON TABLE {self.name(schema, name)} IS {_text(comment)}",
            self._grant_to_owner(source, schema, name),
        ]

    def create_helper_part(self, source: Table, schema: str, name: str, helper: str) -> list[str]:
        return [
            self._create_keyed(source, schema, name, (schema, helper), {}),
            self._grant_to_owner(source, schema, name),
        ]

    def _helper_column(self, schema: str, name: str, labels: Sequence[str]) -> str:
        kind = self._helper_enum(schema, labels) if labels else "integer"
        return f"{self.quote(name)} {kind} NOT NULL DEFAULT {_text(labels[-1]) if labels else 0}"

    def _helper_enums(self, schema: str, columns: Mapping[str, Sequence[str]]) -> list[str]:
        kinds = dict.fromkeys(tuple(labels) for labels in columns.values() if labels)
        return [s for labels in kinds for s in self._create_enum(self._helper_enum(schema, labels), labels)]

    def add_helper_columns(self, schema: str, name: str, columns: Mapping[str, Sequence[str]]) -> list[str]:
        added = ", ".join(f"ADD COLUMN {self._helper_column(schema, *column)}" for column in columns.items())
        return [*self._helper_enums(schema, columns), f"ALTER TABLE {self.name(schema, name)} {added}"]

    def rename_columns(self, schema: str, name: str, columns: Mapping[str, str]) -> list[str]:
        table = self.name(schema, name)
        return [f"ALTER TABLE {table} RENAME COLUMN {self.quote(a)} TO {self.quote(b)}" for a, b in columns.items()]

    def rename_table(self, schema: str, name: str, new: str) -> str:
        return f"ALTER TABLE {self.name(schema, name)} RENAME TO {self.quote(new)}"

    def _grant_to_owner(self, source: Table, schema: str, name: str) -> str:
        # The link user owns the helper table; who owns the source must be able to flag rows in it.
        return (
            f"DO $$ BEGIN EXECUTE format('GRANT ALL ON %%I.%%I TO %%I', {_text(schema)}, {_text(name)}, "
            f"{self._owner(source)}); END $$"
        )

    def _owner(self, source: Table) -> str:
        return (
            "(SELECT tableowner FROM pg_tables WHERE schemaname = "
            f"{_text(source.schema)} AND tablename = {_text(source.name)})"
        )

    def _key_definition(self, column: Column) -> str:
        collation = f" COLLATE {column.collation}".replace("%", "%%") if column.collation else ""
        return f"{self.quote(column.name)} {self._cast(column)}{collation} NOT NULL"

    def _helper_enum(self, schema: str, labels: Sequence[str]) -> str:
        # DataJoint shows a column of such a type as an enum when the type's name begins like this.
        return self.name(schema, "enum_link_" + "_".join(labels).lower())

    def _create_enum(self, name: str, labels: Sequence[str]) -> list[str]:
        values = ", ".join(_text(label) for label in labels)
        return [f"DO $$ BEGIN CREATE TYPE {name} AS ENUM ({values}); EXCEPTION WHEN duplicate_object THEN NULL; END $$"]

    def create_table(self, table: Table) -> list[str]:
        name = self.name(table.schema, table.name)
        enums = {c.enum_type.rpartition(".")[2]: _kind(c).labels for c in table.columns if c.enum_type}
        lines = [self._definition(table.schema, column) for column in table.columns]
        lines.append(f"PRIMARY KEY ({', '.join(self.quote(k) for k in table.primary_key)})")
        for fk in table.foreign_keys:
            lines.append(
                f"FOREIGN KEY ({', '.join(self.quote(c) for c in fk.columns)}) "
                f"REFERENCES {self.name(fk.schema, fk.table)} ({', '.join(self.quote(c) for c in fk.referred)}) "
                f"ON UPDATE CASCADE ON DELETE {'CASCADE' if fk.cascades else 'RESTRICT'}"
            )
        return [
            *(
                s
                for type_name, labels in enums.items()
                for s in self._create_enum(f"{self.quote(table.schema)}.{type_name}", labels)
            ),
            f"CREATE TABLE {name} ({', '.join(lines)})",
            *([f"COMMENT ON TABLE {name} IS {_text(table.comment)}"] if table.comment else []),
            *(
                f"COMMENT ON COLUMN {name}.{self.quote(c.name)} IS {_text(c.comment)}"
                for c in table.columns
                if c.comment
            ),
            *self._indexes(table),
        ]

    def _indexes(self, table: Table) -> list[str]:
        # Unlike MySQL, PostgreSQL does not index the columns of a foreign key by itself.
        return [
            f"CREATE INDEX ON {self.name(table.schema, table.name)} ({', '.join(self.quote(c) for c in fk.columns)})"
            for fk in table.foreign_keys
            if table.primary_key[: len(fk.columns)] != fk.columns
        ]

    def _definition(self, schema: str, column: Column) -> str:
        kind = column.type
        if column.enum_type:
            kind = f"{self.quote(schema)}.{column.enum_type.rpartition('.')[2]}".replace("%", "%%")
        elif column.auto_increment:
            kind = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}.get(column.type, column.type)
        words = [self.quote(column.name), kind]
        if column.collation:
            words.append(f"COLLATE {column.collation}".replace("%", "%%"))
        words.append("NULL" if column.nullable else "NOT NULL")
        if column.default is not None:
            words.append("DEFAULT " + column.default.replace("%", "%%"))
        return " ".join(words)


def _array(column: Column, values: Sequence[Any]) -> str | list[Any]:
    """An array for the driver; of integers as text, for it takes them one by one."""
    return "{" + ",".join(map(str, values)) + "}" if column.type in _INTEGERS else list(values)


def _plain(sql: str) -> str:
    """The text that the driver sends when there are no arguments to fill in."""
    return sql.replace("%%", "%")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''").replace("%", "%%") + "'"


def _enum(labels: Sequence[str]) -> str:
    return "enum(" + ",".join("'" + label.replace("'", "''") + "'" for label in labels) + ")"


def _kind(column: Column) -> Kind:
    if column.kind is None:
        raise DefinitionError(f"The column {column.name} is of the type {column.type}, which cannot be linked.")
    return column.kind


def _column(row: tuple[Any, ...]) -> Column:
    name, kind, nullable, default, comment, collation, identity, labels, full_type = row
    labels = tuple(labels or ())
    serial = bool(identity) or (default or "").startswith("nextval(")
    if labels:
        kind = _enum(labels)
        default = re.sub(r"^('(?:[^']|'')*')::.*$", r"\1", default) if default else None
    return Column(
        name=name,
        type=kind,
        nullable=bool(nullable),
        default=None if serial else default,
        comment=comment or "",
        collation=collation,
        auto_increment=serial,
        kind=postgresql_types.kind_of(kind, labels),
        enum_type=full_type if labels else None,
    )
