"""MySQL 8 and later, and MariaDB 10.6 and later.

The source renders each row as a VALUES tuple in one binary string, and the client joins tuples to INSERT statements
without looking at them: no value is decoded on the way. Floats pass through DOUBLE (the text protocol prints FLOAT
with six digits), text as UTF-8, bytes as hexadecimal or, in tables of long rows, raw beside the tuple; both sessions
run in UTC.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import functools
import itertools
import json
import re
import socket
import ssl
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal, cast

import datajoint as dj
import pymysql
from pymysql.constants import CR, ER
from pymysql.cursors import SSCursor

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
from . import mysql_types, mysql_wire, postgresql_types
from .base import BLOCK_BYTES, Block, BusyError, Connection, Form, Key, RowError, Server, Sql

_SESSION = (
    "SET SESSION time_zone = '+00:00', SESSION transaction_isolation = 'READ-COMMITTED', "
    # Rows that are being read may have to wait for files to be copied.
    "SESSION net_write_timeout = 3600, "
    "SESSION sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'"
)
#: MariaDB answers EXISTS by copying the other table aside; for every chunk, the whole helper table.
_SESSION_MARIADB = _SESSION.replace("transaction_isolation", "tx_isolation") + (
    ", SESSION optimizer_switch = 'exists_to_in=off'"
)

_LONG = re.compile("(medium|long)?(blob|text)|json")

#: And texts of up to more characters than this.
_LONG_TEXT = 1000

_LONG_LITERAL = 1_000_000

#: Tables with longer rows than this (bytes, on average) send their long columns raw.
_LONG_ROW = 4096

_LOST = {
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST,
    CR.CR_CONN_HOST_ERROR,
    CR.CR_CONNECTION_ERROR,
    ER.SERVER_SHUTDOWN,
    1927,  # MariaDB: connection was killed
    ER.QUERY_INTERRUPTED,
    4031,  # MySQL: disconnected by the server because of inactivity
}
_BUSY = {ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, 1020}  # 1020: MariaDB, record changed since the snapshot
#: What else the drivers do not count as errors of data.
_UNFIT = (
    ER.TRUNCATED_WRONG_VALUE,
    ER.TOO_BIG_ROWSIZE,
    ER.ILLEGAL_VALUE_FOR_TYPE,
    1300,  # invalid character string
    1301,  # longer than max_allowed_packet
    1364,  # no default
    1411,  # incorrect value for a function
    1644,  # a trigger says no
    3140,  # invalid JSON
    3141,
    4038,
    3156,
    3157,  # JSON too deep
    3669,  # JSON_TABLE: out of range
    3819,  # MySQL: a check is violated
    4025,  # MariaDB: a check is violated
)
_DENIED = {ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, 1227, 1370}


#: Bytes of a statement beside its rows: the names of table and columns.
_MARGIN = 16_384


class MySQLConnection(Connection):
    """A PyMySQL connection with the session settings that exact copies need."""

    server: MySQL

    def __init__(self, server: MySQL) -> None:
        super().__init__(server)
        self._raw: Any = server.open()
        _keep_alive(self._raw._sock)
        mysql_wire.widen(self._raw)
        self.is_mariadb = "MariaDB" in self._raw.get_server_info()
        self.execute(_SESSION_MARIADB if self.is_mariadb else _SESSION)
        server.mariadb = server.exact_json = self.is_mariadb
        self._max_statement = int(self.query("SELECT @@max_allowed_packet")[0][0]) - _MARGIN

    def query(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            cursor.execute(sql, tuple(args))
            return list(cursor.fetchall())

    def execute(self, sql: str, args: Sequence[Any] = ()) -> int:
        with self._cursor() as cursor:
            return int(cursor.execute(sql, tuple(args)))

    @contextlib.contextmanager
    def _cursor(self, kind: type[Any] | None = None) -> Any:
        cursor = self._raw.cursor(kind)
        try:
            yield cursor
        except (pymysql.MySQLError, OSError) as error:
            raise self.server.translate(error) from error
        finally:
            if kind is None:
                cursor.close()

    def stream(self, table: Table, source: Sql, form: Form, emit: Callable[[Block], None]) -> int:
        raw = self.server.raw_columns(self, table, form)
        fields = [
            self.server.render(table, form, raw),
            *(_bytes(column, self.server.field(table, column.name)) for column in raw),
        ]
        writers = [_writer(column, form) for column in raw]
        between, end = (b",", b"") if form.language == "values" else (b"\n", b"\n")
        total, size = 0, 0
        rows: list[bytes] = []
        with self._cursor(SSCursor) as cursor:
            cursor.execute(f"SELECT STRAIGHT_JOIN {', '.join(fields)} {source[0]}", source[1])
            rendered = _interleaved(cursor, writers, form) if raw else mysql_wire.values(cursor)
            with contextlib.closing(rendered):
                for data in rendered:
                    if data is None:
                        collections.deque(rendered, 0)  # the session goes on
                        self.server.send_raw(table, form)
                        raise _too_long(table)
                    if rows and size + len(data) > form.block_bytes:
                        emit(Block(between.join(rows) + end, len(rows)))
                        total += len(rows)
                        rows, size = [], 0
                    rows.append(data)
                    size += len(data) + 1
            if rows:
                emit(Block(between.join(rows) + end, len(rows)))
        return total + len(rows)

    def load(self, table: Table, blocks: Iterable[Block], form: Form) -> int:
        names = ", ".join(self.server.quote(name) for name in table.names)
        head = _plain(f"INSERT INTO {self.server.name(table.schema, table.name)} ({names}) VALUES ").encode()
        total = 0
        for block in blocks:
            if len(head) + len(block.data) > self._max_statement:
                raise RowError(
                    f"{block.rows} row(s) of {table.name} take {len(block.data):,} bytes, more than max_allowed_packet "
                    f"({self._max_statement + _MARGIN:,}) of the local server {self.server.where}."
                )
            with self._cursor() as cursor:
                total += cursor.execute(head + block.data)
        return total

    @property
    def block_bytes(self) -> int:
        return min(BLOCK_BYTES, self._max_statement - _MARGIN)

    def lock(self, name: tuple[int, int], wait: bool) -> bool:
        return bool(self.query("SELECT GET_LOCK(%s, %s)", (_lock_name(*name), 86400 if wait else 0))[0][0])

    def locked(self, space: int, names: Iterable[int]) -> set[int]:
        return {
            name
            for name in names
            if self.query("SELECT IS_USED_LOCK(%s)", (_lock_name(space, name),))[0][0] is not None
        }

    def definition(self, schema: str, name: str) -> bytes:
        """A table as its server would create it; in defaults there may be bytes that are no text."""
        with self._cursor() as cursor:
            encoding, self._raw.encoding = self._raw.encoding, "latin-1"
            try:
                cursor.execute(_plain(f"SHOW CREATE TABLE {self.server.name(schema, name)}").encode())
                return bytes(cursor.fetchone()[1].encode("latin-1"))
            finally:
                self._raw.encoding = encoding

    @contextlib.contextmanager
    def unwaiting(self) -> Iterator[None]:
        # A DELETE locks every row that it looks at, one after the other.
        self.execute("SET SESSION innodb_lock_wait_timeout = 1")
        try:
            yield
        finally:
            self.execute("SET SESSION innodb_lock_wait_timeout = DEFAULT")

    def rollback(self) -> None:
        with contextlib.suppress(LinkError):
            self.execute("ROLLBACK")

    def close(self) -> None:
        # Not close(): it would say goodbye politely, and wait, in the middle of an unbuffered result.
        self._raw._force_close()


def _json_columns(definition: bytes) -> set[str]:
    """MariaDB's JSON is a LONGTEXT with a check, which an account that may only read sees here alone."""
    found = re.findall(
        r"^  `((?:[^`]|``)+)` longtext .*CHECK \(json_valid\(`\1`\)\)",
        definition.decode(errors="replace"),
        re.MULTILINE,
    )
    return {column.replace("``", "`") for column in found}


#: A column's name, and its default as a literal: the first that is not within quotes.
_DEFAULT = re.compile(
    rb"^  `((?:[^`]|``)+)` (?:[^'\n]|'(?:[^'\\]|''|\\.)*')*? DEFAULT (?:0x([0-9A-F]+)|'((?:[^'\\]|''|\\.)*)')",
    re.MULTILINE | re.DOTALL,
)


#: Character sets with more than MySQL's catalogue can tell.
_WIDE = {
    "utf8mb4": "utf-8",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "gb18030": "gb18030",
}


def _told_defaults(definition: bytes, columns: Sequence[tuple[Any, ...]]) -> dict[str, str]:
    """The defaults, as SQL, of which the catalogue may not tell all."""
    charsets = {row[0]: row[6] for row in columns if _is_unsure(row)}
    told = {}
    for quoted, code, inside in _DEFAULT.findall(definition):
        name = quoted.decode().replace("``", "`")
        if name in charsets and charsets[name] is None:
            value = bytes.fromhex(code.decode()) or mysql_types.unescape(inside.decode("latin-1")).encode("latin-1")
            told[name] = f"0x{value.hex().upper()}" if value else "''"
        elif code and charsets.get(name) in _WIDE:
            told[name] = mysql_types.literal(bytes.fromhex(code.decode()).decode(_WIDE[charsets[name]]))
    return told


def _keep_alive(connection: socket.socket) -> None:
    """Notice within two minutes when the server is gone without a word, also in the middle of sending."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 120_000))
    for option, value in options:
        if hasattr(socket, option) and connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _bytes(column: Column, reference: str) -> str:
    """A raw column as it travels: text in UTF-8, whatever its character set is."""
    text = f"CONVERT({reference} USING utf8mb4)" if column.charset not in (None, "utf8mb4") else reference
    return f"CAST({text} AS BINARY)"


def _lock_name(space: int, name: int) -> str:
    return f"datajoint-link:{space}:{name}"


def _plain(sql: str) -> str:
    """The text that the driver sends when there are no arguments to fill in."""
    return sql.replace("%%", "%")


def _too_long(table: Table) -> RowError:
    return RowError(
        f"A row of {table.schema}.{table.name} is longer than the source server can render within its "
        "max_allowed_packet."
    )


def _is_text(column: Column) -> bool:
    return _kind(column).name in ("text", "json")


def _interleave(row: tuple[bytes | None, ...], writers: Sequence[Callable[[bytes], bytes]], form: Form) -> bytes | None:
    """Put raw columns into the places that the rendered row keeps for those that are not NULL, each marked by a NUL."""
    if row[0] is None:
        return None
    pieces = row[0].split(b"\0")
    values = [write(value) for value, write in zip(row[1:], writers, strict=True) if value is not None]
    if len(pieces) != len(values) + 1:
        # In a line of COPY a NUL may be one of the text, and PostgreSQL shall refuse it; else a value was too long.
        return row[0] if form.language == "copy" else None
    return b"".join(itertools.chain.from_iterable(itertools.zip_longest(pieces, values, fillvalue=b"")))


def _interleaved(
    cursor: SSCursor, writers: Sequence[Callable[[bytes], bytes]], form: Form
) -> Generator[bytes | None, None, None]:
    while row := cast(Any, cursor).fetchone():
        yield _interleave(row, writers, form)


def _writer(column: Column, form: Form) -> Callable[[bytes], bytes]:
    if form.language == "values":
        if _kind(column).name == "json" and not form.exact_json:
            return functools.partial(_exact_json, column.name)
        return text_literal if _is_text(column) else literal
    return copied_bytes if column.kind and column.kind.name == "bytes" else copied_text


def literal(value: bytes) -> bytes:
    """A string literal; nothing but backslash and quote needs an escape."""
    escaped = value.replace(b"\\", b"\\\\").replace(b"'", b"\\'")
    # Escapes may double a long value, which then takes more than a packet; in base64 it takes a third more.
    if len(escaped) > _LONG_LITERAL and 3 * len(escaped) > 4 * len(value):
        return b"FROM_BASE64('" + base64.b64encode(value) + b"')"
    return b"'" + escaped + b"'"


def text_literal(value: bytes) -> bytes:
    """A literal for a text in UTF-8."""
    written = literal(value)
    return written if written[:1] == b"'" else b"CONVERT(" + written + b" USING utf8mb4)"


def _exact_json(column: str, value: bytes) -> bytes:
    """A literal for JSON, or what MySQL refuses instead of rounding its numbers."""
    return mysql_types.rounded_json(column).encode() if mysql_types.rounds(value) else text_literal(value)


def copied_bytes(value: bytes) -> bytes:
    """Bytes in a line of COPY."""
    return b"\\\\x" + value.hex().encode()


def copied_text(value: bytes) -> bytes:
    """Text in a line of COPY."""
    escaped = value.replace(b"\\", b"\\\\").replace(b"\t", b"\\t")
    return escaped.replace(b"\n", b"\\n").replace(b"\r", b"\\r")


@functools.cache
def _encrypted() -> ssl.SSLContext:
    """Encryption that checks no certificate, as DataJoint's own; made once: reading the system's roots takes long."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class MySQL(Server):
    """A MySQL or MariaDB server."""

    driver_errors = (pymysql.MySQLError,)
    loads_whole = True
    claimers = 1
    by_index = "/*+ NO_SEMIJOIN(MATERIALIZATION) */ "
    # At READ COMMITTED, which sessions have for their claims, WITH CONSISTENT SNAPSHOT would be ignored in silence.
    begin_snapshot = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    )

    def __init__(self, connection: dj.Connection) -> None:
        super().__init__(connection)
        self._raw_columns: dict[tuple[str, str, Form], tuple[Column, ...]] = {}
        self.mariadb = False  # known with the first session

    def open(self) -> Any:
        """Connect with the address, account and encryption of DataJoint's connection."""
        info = self.info
        tls = getattr(self.dj._conn, "_secure", False)
        settings: dict[str, Any] = {"ssl_disabled": True}
        if tls:
            given = info.get("ssl")
            settings = {"ssl": given if isinstance(given, dict) and given else _encrypted()}
        try:
            return pymysql.connect(
                host=info["host"],
                port=info["port"],
                user=info["user"],
                password=info["passwd"],
                # MySQL wants a default schema, any, for a table function in a joined UPDATE.
                database="information_schema",
                charset="utf8mb4",
                autocommit=True,
                **settings,
            )
        except (pymysql.MySQLError, OSError) as error:
            raise self.translate(error) from error

    def connect(self) -> MySQLConnection:
        return MySQLConnection(self)

    def translate(self, error: Exception) -> LinkError:
        """The one table from the drivers' errors to ours."""
        code = error.args[0] if error.args else None
        text = str(error.args[-1]) if error.args else str(error)
        if code in (ER.ACCESS_DENIED_ERROR, 1698):
            return LoginError(
                f"The server {self.where} refused the user {self.user!r}: {text}",
                "Check the user name and the password.",
            )
        if code in _LOST or isinstance(error, (OSError, pymysql.InterfaceError)):
            return UnreachableError(
                f"Lost or could not make the connection to {self.where} as {self.user!r}: {text}",
                "Check that the server runs and can be reached from here, then run the same again: it goes on.",
            )
        if code in _BUSY:
            return BusyError(f"{self.where}: {text}", "Another session holds the same rows; try again.")
        if code in _DENIED:
            return PrivilegeError(f"The account {self.user!r} on {self.where} lacks a right: {text}")
        if isinstance(error, (pymysql.IntegrityError, pymysql.DataError)) or code in (
            ER.WARN_DATA_TRUNCATED,
            ER.TRUNCATED_WRONG_VALUE_FOR_FIELD,
            *_UNFIT,
        ):
            return RowError(f"{self.where}: {text}")
        return ServerError(f"{self.where}: {text}")

    def check_version(self, connection: Connection) -> None:
        version = str(connection.query("SELECT VERSION()")[0][0])
        number = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
        oldest = (10, 6) if "MariaDB" in version else (8, 0)
        if number < oldest:
            raise UnsupportedServerError(
                f"The server {self.where} runs version {version}.",
                "MySQL 8.0 and MariaDB 10.6 are the oldest supported.",
            )

    def identity(self, connection: Connection) -> tuple[str, ...]:
        return tuple(map(str, connection.query("SELECT @@hostname, @@port, @@datadir")[0]))

    def lasting_identity(self, connection: Connection) -> str | None:
        # MariaDB has no such number, and a host name is that of a container.
        return None if self.mariadb else str(connection.query("SELECT @@server_uuid")[0][0])

    # names

    def fits(self, name: str) -> bool:
        return len(name) <= 64

    def quote(self, name: str) -> str:
        return "`" + name.replace("`", "``").replace("%", "%%") + "`"

    def field(self, table: Table, column: str) -> str:
        """A column with the name of its table."""
        return f"{self.name(table.schema, table.name)}.{self.quote(column)}"

    # kinds of server

    def language_from(self, source: Server) -> Literal["values", "copy", "binary"]:
        return "values"

    def alike(self, source: Server) -> bool:
        return isinstance(source, MySQL) and source.mariadb == self.mariadb

    def localized(self, connection: Connection, table: Table, source: Server) -> Table:
        if self.alike(source):
            return table
        known = {str(name) for (name,) in connection.query("SELECT COLLATION_NAME FROM information_schema.COLLATIONS")}
        same_family = isinstance(source, MySQL)
        if same_family:
            return replace(table, columns=tuple(self._from_family(c, known) for c in table.columns))
        columns = tuple(self._from_elsewhere(table, c) for c in table.columns)
        return _fitting(replace(table, columns=columns, comment=table.comment[:_TABLE_COMMENT]))

    def _from_family(self, column: Column, collations: set[str]) -> Column:
        """MySQL and MariaDB share their types, but not all collations, nor how JSON is shown."""
        if column.kind and column.kind.name == "json":
            column = replace(column, type="json", charset=None, collation=None)
        elif column.collation and column.collation not in collations:
            column = replace(column, charset="utf8mb4", collation=self._exact_collation())
        return replace(column, default=_default_for(self.mariadb, column, column.default))

    def _from_elsewhere(self, table: Table, column: Column) -> Column:
        kind, in_key = _kind(column), column.name in (*table.primary_key, *table.master_key)
        words = mysql_types.declare(kind, in_key)
        if words is None:
            raise DefinitionError(
                f"The column {table.name}.{column.name} is of the type {column.type}{' in a key' * in_key}, "
                "which MySQL and MariaDB cannot hold."
            )
        given = default_of(column.default, postgresql_types.unescape)
        default = mysql_types.default(kind, given) if given else None
        charset = ("utf8mb4", self._exact_collation()) if kind.name in ("text", "enum") else (None, None)
        return replace(
            column,
            type=words,
            charset=charset[0],
            collation=charset[1],
            enum_type=None,
            comment=marked(column.comment, kind)[:_COMMENT],
            default=f"({default})" if default and _LONG.fullmatch(words) else default,
        )

    def _exact_collation(self) -> str:
        """One under which no two different texts are equal."""
        return "utf8mb4_nopad_bin" if self.mariadb else "utf8mb4_0900_bin"

    # keys

    def key_select(self, column: Column, reference: str) -> str:
        return mysql_types.canonical(_kind(column), reference)

    def key_param(self, column: Column) -> str:
        return mysql_types.parameter(_kind(column))

    def key_order(self, column: Column, reference: str) -> str:
        # An enum sorts by its index but compares with text by its label.
        return f"({reference}+0)" if _kind(column).name == "enum" else reference

    def beyond(self, columns: Sequence[tuple[Column, str]], key: Key, sign: str) -> Sql:
        # Only this spelt-out form makes MySQL read a range of the index; a row comparison reads all of it.
        strict = sign[0]
        terms: list[str] = []
        args: list[Any] = []
        for n in range(len(columns)):
            last = n == len(columns) - 1
            signs = ["="] * n + [sign if last else strict]
            terms.append(" AND ".join(self._compare(c, ref, s) for (c, ref), s in zip(columns, signs, strict=False)))
            args += key[: n + 1]
        return "(" + " OR ".join(f"({term})" for term in terms) + ")", tuple(args)

    def _compare(self, column: Column, reference: str, sign: str) -> str:
        kind = _kind(column)
        if kind.name == "enum" and sign != "=":
            index = " ".join(f"WHEN {_text(label)} THEN {n}" for n, label in enumerate(kind.labels, 1))
            return f"({reference}+0) {sign} (CASE %s {index} END)"
        return f"{reference} {sign} {self.key_param(column)}"

    def key_list(self, columns: Sequence[Column], keys: Sequence[Key]) -> Sql:
        fields = ", ".join(f"k{n} {self._json_type(c)} PATH '$[{n}]' ERROR ON ERROR" for n, c in enumerate(columns))
        return f"JSON_TABLE(%s, '$[*]' COLUMNS ({fields})) AS j", (json.dumps(keys, default=_json_value),)

    def _json_type(self, column: Column) -> str:
        kind = _kind(column)
        if kind.name == "float":
            return "DOUBLE"
        if kind.name in ("bytes", "uuid"):
            return "VARCHAR(6144) CHARACTER SET ascii"
        if kind.name == "json":
            return "LONGTEXT CHARACTER SET utf8mb4"
        if kind.name in ("text", "enum"):
            return f"VARCHAR({kind.size or 255}) CHARACTER SET {column.charset} COLLATE {column.collation}"
        # Compared as a year, MariaDB would take 0 for 2000.
        return "SMALLINT" if column.type == "year" else column.type

    def listed_value(self, column: Column, listed: str) -> str:
        return mysql_types.parameter(_kind(column)).replace("%s", listed)

    def key_checksum(self, columns: Sequence[tuple[Column, str]], alike: bool) -> str:
        if alike:
            fields = ", ".join(mysql_types.in_values(_kind(column), reference) for column, reference in columns)
            return f"SUM(CRC32(CONCAT_WS(',', {fields})))"
        fields = ", ".join(mysql_types.summed(_kind(column), reference) for column, reference in columns)
        return f"SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',', {fields}), 256), 8), 16, 10) AS UNSIGNED))"

    # statements in which dialects differ

    def insert_new(self, table: str, columns: Sequence[str], select: str, key: str) -> str:
        names = ", ".join(self.quote(c) for c in columns)
        column = f"{table}.{self.quote(key)}"
        return f"INSERT INTO {table} ({names}) {select} ON DUPLICATE KEY UPDATE {column} = {column}"

    def update_listed(self, table: str, assignments: str, key_list: str, on: str, where: str) -> str:
        return f"UPDATE {key_list} STRAIGHT_JOIN {table} ON {on} SET {assignments} WHERE {where}"

    def delete_listed(self, table: str, key_list: str, on: str, where: str) -> str:
        return f"DELETE {table} FROM {key_list} STRAIGHT_JOIN {table} ON {on} WHERE {where}"

    def stable_read(self, select: str) -> tuple[str, ...]:
        # Locks the gaps as well: nobody adds rows meanwhile.
        return (f"{select} FOR UPDATE",)

    def driving_join(self, first: str, second: str, on: str) -> str:
        return f"{first} STRAIGHT_JOIN {second} ON {on}"

    def comparable(self, table: Table, alike: bool) -> str:
        if not alike:
            return ", ".join(mysql_types.canonical(_kind(c), self.field(table, c.name)) for c in table.columns)
        fields = ", ".join(self._render_column(c, self.field(table, c.name), Form("values")) for c in table.columns)
        return f"SHA2(CONCAT_WS(',', {fields}), 256)"

    def sum_of_digests(self, table: Table) -> str:
        # Sixty bits of each digest: sums of them fit into a decimal.
        return f"SUM(CAST(CONV(LEFT({self.comparable(table, True)}, 15), 16, 10) AS UNSIGNED))"

    # rendering

    def raw_columns(self, connection: Connection, table: Table, form: Form) -> tuple[Column, ...]:
        """The columns to send raw: the long ones of a table whose rows are long on average."""
        known = (table.schema, table.name, form)
        if known not in self._raw_columns:
            length = connection.query(
                "SELECT AVG_ROW_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
                known[:2],
            )
            long = length and (length[0][0] or 0) > _LONG_ROW
            # MariaDB takes quadratic time to escape a text.
            slow = self.mariadb and form.language == "copy"
            # MySQL must not round what MariaDB keeps as text.
            looked_at = self.mariadb and not form.exact_json
            self._raw_columns[known] = tuple(
                c
                for c in table.columns
                if _is_long(c) and (long or (slow and _is_text(c)) or (looked_at and _kind(c).name == "json"))
            )
        return self._raw_columns[known]

    def send_raw(self, table: Table, form: Form) -> None:
        """From now on send the long columns of this table raw: it has longer rows than was thought."""
        self._raw_columns[table.schema, table.name, form] = tuple(filter(_is_long, table.columns))

    def render(self, table: Table, form: Form, raw: Sequence[Column] = ()) -> str:
        """One binary string a row, with a NUL byte in the place of each raw column that is not NULL."""
        null = "'NULL'" if form.language == "values" else r"'\\N'"
        fields = (
            (f"IF({self.field(table, c.name)} IS NULL, {null}, 0x00)" if c.nullable else "0x00")
            if c in raw
            else self._render_column(c, self.field(table, c.name), form)
            for c in table.columns
        )
        before, between, after = ("'('", "','", "')'") if form.language == "values" else ("''", "CHAR(9)", "''")
        joined = f", {between}, ".join(fields)
        return f"CONVERT(CONCAT({before}, {joined}, {after}) USING binary)"

    def _render_column(self, column: Column, reference: str, form: Form) -> str:
        if form.language == "values":
            rendered, null = mysql_types.in_values(_kind(column), reference), "'NULL'"
            if _kind(column).name == "json" and not (self.mariadb or form.exact_json):
                refusal = _text(mysql_types.rounded_json(column.name))
                rendered = f"IF({mysql_types.is_rounded(reference)}, {refusal}, {rendered})"
        else:
            rendered, null = mysql_types.in_copy(_kind(column), reference), r"'\\N'"
        # Not IFNULL: a value too long to render is NULL as well, and must not pass for one that is.
        return f"IF({reference} IS NULL, {null}, {rendered})" if column.nullable else rendered

    # definitions

    def schemas(self, connection: Connection) -> list[str]:
        return [str(name) for (name,) in connection.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")]

    def schema_exists(self, connection: Connection, schema: str) -> bool:
        return schema in self.schemas(connection)

    def create_schema(self, connection: Connection, schema: str) -> None:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self.quote(schema)}")

    def tables(self, connection: Connection, schema: str) -> list[str]:
        rows = connection.query(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE'",
            (schema,),
        )
        return sorted(str(name) for (name,) in rows)

    def read_table(self, connection: Connection, schema: str, name: str) -> Table:
        where = "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        comment = connection.query(f"SELECT TABLE_COMMENT FROM information_schema.TABLES {where}", (schema, name))
        assert isinstance(connection, MySQLConnection)
        mariadb = connection.is_mariadb
        columns = connection.query(
            "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLUMN_COMMENT, CHARACTER_SET_NAME, "
            f"COLLATION_NAME FROM information_schema.COLUMNS {where} ORDER BY ORDINAL_POSITION",
            (schema, name),
        )
        keys = connection.query(
            "SELECT CONSTRAINT_NAME, COLUMN_NAME, "
            "REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME "
            f"FROM information_schema.KEY_COLUMN_USAGE {where} ORDER BY CONSTRAINT_NAME, ORDINAL_POSITION",
            (schema, name),
        )
        # What the catalogue does not tell, or not with every byte.
        long_text = mariadb and any(row[1] == "longtext" for row in columns)
        unsure = long_text or any(map(_is_unsure, columns))
        definition = connection.definition(schema, name) if unsure else b""
        json_columns, told = _json_columns(definition) if mariadb else (), _told_defaults(definition, columns)
        return Table(
            schema,
            name,
            str(comment[0][0] or "") if comment else "",
            tuple(
                _as_json(c) if c.name in json_columns else c
                for c in (_column(row, mariadb, told.get(row[0])) for row in columns)
            ),
            tuple(column for constraint, column, *_ in keys if constraint == "PRIMARY"),
            _foreign_keys(keys),
        )

    def supports(self, column: Column) -> bool:
        return column.kind is not None

    def missing_rights(self, connection: Connection, table: Table, rights: Sequence[str]) -> list[str]:
        # SHOW GRANTS without a user shows the account's own grants, those through its active roles included.
        held = {right for (grant,) in connection.query("SHOW GRANTS") for right in _granted(str(grant), table)}
        return [right for right in rights if not {right, "ALL PRIVILEGES"} & held]

    def grant_hint(self, rights: Sequence[str], schema: str, table: str) -> str:
        return f"As administrator of {self.where}: {self._grant(rights, self._plain_name(schema, table))}"

    def grant_helper_hint(self, schema: str, table: str) -> str:
        create = f"CREATE SCHEMA IF NOT EXISTS {self.quote(schema)};".replace("%%", "%")
        grant = self._grant(["ALL PRIVILEGES"], self._plain_name(schema, table))
        return f"As administrator of {self.where}: {create} {grant}"

    def grant_schema_hint(self, schema: str) -> str:
        # In a grant on a whole schema _ and % are wildcards.
        name = re.sub(r"([_%\\])", r"\\\1", schema).replace("`", "``")
        return f"As administrator of {self.where}: {self._grant(['ALL PRIVILEGES'], f'`{name}`.*')}"

    def _grant(self, rights: Sequence[str], target: str) -> str:
        return f"GRANT {', '.join(rights)} ON {target} TO {self._account};"

    def _plain_name(self, schema: str, table: str) -> str:
        return self.name(schema, table).replace("%%", "%")

    @functools.cached_property
    def _account(self) -> str:
        """The account as the server knows it, whose host need not be ``%``."""
        with contextlib.closing(self.connect()) as connection:
            user, _, host = str(connection.query("SELECT CURRENT_USER()")[0][0]).rpartition("@")
        return f"{_text(user)}@{_text(host)}".replace("%%", "%")

    def create_helper(
        self, source: Table, schema: str, name: str, columns: Mapping[str, Sequence[str]], comment: str
    ) -> list[str]:
        made = self._create_keyed(source, schema, name, (source.schema, source.name), columns)
        return [f"{made} ENGINE=InnoDB COMMENT={_text(comment)}"]

    def create_helper_part(self, source: Table, schema: str, name: str, helper: str) -> list[str]:
        return [f"{self._create_keyed(source, schema, name, (schema, helper), {})} ENGINE=InnoDB"]

    def _helper_column(self, schema: str, name: str, labels: Sequence[str]) -> str:
        kind = f"ENUM({', '.join(map(_text, labels))})" if labels else "INT"
        return f"{self.quote(name)} {kind} NOT NULL DEFAULT {_text(labels[-1]) if labels else 0}"

    def add_helper_columns(self, schema: str, name: str, columns: Mapping[str, Sequence[str]]) -> list[str]:
        added = ", ".join(f"ADD COLUMN {self._helper_column(schema, *column)}" for column in columns.items())
        return [f"ALTER TABLE {self.name(schema, name)} {added}"]

    def rename_columns(self, schema: str, name: str, columns: Mapping[str, str]) -> list[str]:
        renamed = ", ".join(f"RENAME COLUMN {self.quote(a)} TO {self.quote(b)}" for a, b in columns.items())
        return [f"ALTER TABLE {self.name(schema, name)} {renamed}"]

    def rename_table(self, schema: str, name: str, new: str) -> str:
        return f"RENAME TABLE {self.name(schema, name)} TO {self.name(schema, new)}"

    def _key_definition(self, column: Column) -> str:
        return f"{self.quote(column.name)} {_full_type(column)} NOT NULL"

    def create_table(self, table: Table) -> list[str]:
        lines = [
            # A column that counts must be the first of an index.
            self._definition(replace(c, auto_increment=c.auto_increment and c.name == table.primary_key[0]))
            for c in table.columns
        ]
        lines.append(f"PRIMARY KEY ({', '.join(self.quote(k) for k in table.primary_key)})")
        for fk in table.foreign_keys:
            lines.append(
                f"FOREIGN KEY ({', '.join(self.quote(c) for c in fk.columns)}) "
                f"REFERENCES {self.name(fk.schema, fk.table)} ({', '.join(self.quote(c) for c in fk.referred)}) "
                f"ON UPDATE CASCADE ON DELETE {'CASCADE' if fk.cascades else 'RESTRICT'}"
            )
        return [
            f"CREATE TABLE {self.name(table.schema, table.name)} ({', '.join(lines)}) "
            f"ENGINE=InnoDB COMMENT={_text(table.comment)}"
        ]

    def _definition(self, column: Column) -> str:
        _kind(column)
        words = [self.quote(column.name), _full_type(column), "NULL" if column.nullable else "NOT NULL"]
        if column.default is not None:
            words.append(f"DEFAULT {column.default}".replace("%", "%%"))
        if column.on_update:
            words.append(f"ON UPDATE {column.on_update}")
        if column.auto_increment:
            words.append("AUTO_INCREMENT")
        words.append(f"COMMENT {_text(column.comment)}")
        return " ".join(words)


def _is_long(column: Column) -> bool:
    characters = re.fullmatch(r"varchar\((\d+)\)", column.type)
    return bool(_LONG.fullmatch(column.type)) or bool(characters and int(characters[1]) > _LONG_TEXT)


def _granted(grant: str, table: Table) -> list[str]:
    """The rights that a line of SHOW GRANTS gives on all columns of a table."""
    name = r"(\*|`(?:[^`]|``)*`)"
    found = re.match(rf"GRANT (.*) ON {name}\.{name} TO ", grant)
    if not found:
        return []
    rights, schema, granted_table = found.groups()
    if granted_table == "*":
        applies = schema == "*" or _like(schema[1:-1].replace("``", "`")).fullmatch(table.schema) is not None
    else:
        applies = [n[1:-1].replace("``", "`") for n in (schema, granted_table)] == [table.schema, table.name]
    on_columns = r"[A-Z ]+ \(.*?\)"
    return re.split(", ?", re.sub(on_columns, "", rights)) if applies else []


def _like(pattern: str) -> re.Pattern[str]:
    """The schemas that the name in a grant on a whole schema stands for."""
    wild = {"%": ".*", "_": "."}
    pieces = re.findall(r"\\?.", pattern, re.DOTALL)
    return re.compile("".join(wild.get(piece, re.escape(piece[-1])) for piece in pieces), re.DOTALL)


def _full_type(column: Column) -> str:
    kind = column.type.replace("%", "%%")
    if column.charset:
        kind += f" CHARACTER SET {column.charset} COLLATE {column.collation}"
    return kind


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("%", "%%") + "'"


def _kind(column: Column) -> Kind:
    if column.kind is None:
        raise DefinitionError(f"The column {column.name} is of the type {column.type}, which cannot be linked.")
    return column.kind


def _is_unsure(row: tuple[Any, ...]) -> bool:
    """Whether the catalogue may show another default than there is: of bytes, or with characters of four bytes."""
    return row[3] is not None and ("binary" in str(row[1]) or "?" in str(row[3]))


def _column(row: tuple[Any, ...], mariadb: bool, default_told: str | None) -> Column:
    name, kind, nullable, default, extra, comment, charset, collation = row
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    # The width of an integer says nothing, but for tinyint(1), which DataJoint takes for a bool.
    kind = re.sub(r"^((?:small|medium|big)?int|year|tinyint(?!\(1\)))\(\d+\)", r"\1", kind)
    on_update = re.search(r"on update (current_timestamp(?:\(\d*\))?)", extra or "", re.IGNORECASE)
    return Column(
        name=name,
        type=kind,
        nullable=nullable == "YES",
        default=_default(default, extra or "", mariadb) if default_told is None else default_told,
        comment=comment or "",
        charset=charset,
        collation=collation,
        auto_increment="auto_increment" in (extra or "").lower(),
        on_update=on_update[1] if on_update else None,
        kind=mysql_types.kind_of(kind, comment or "", mariadb),
    )


def _as_json(column: Column) -> Column:
    return replace(column, type="json", charset=None, collation=None, kind=Kind("json"))


#: A row takes 65,535 bytes beside its long columns, of four-byte characters so many fewer.
_ROW_BYTES = 65_535
_KEY_BYTES = 3072
#: Characters of a comment.
_COMMENT, _TABLE_COMMENT = 1024, 2048


def _fitting(table: Table) -> Table:
    """Let the longest texts become LONGTEXT until a row fits."""
    if sum(map(_width, table.key_columns)) > _KEY_BYTES:
        raise DefinitionError(
            f"The primary key of {table.name} ({', '.join(f'{c.name} {c.type}' for c in table.key_columns)}) is longer "
            f"than the {_KEY_BYTES} bytes that MySQL and MariaDB index."
        )
    while sum(map(_width, table.columns)) > _ROW_BYTES:
        free = [c for c in table.columns if c.type.startswith("varchar") and c.name not in table.primary_key]
        if not free:
            break
        longest = max(free, key=_width)
        default = f"({longest.default})" if longest.default else None
        changed = replace(longest, type="longtext", default=default)
        table = replace(table, columns=tuple(changed if c is longest else c for c in table.columns))
    return table


def _width(column: Column) -> int:
    size = re.search(r"\((\d+)\)", column.type)
    if column.type.startswith("var") and size:
        return int(size[1]) * (4 if column.charset else 1) + 2
    return 32


def _default_for(mariadb: bool, column: Column, default: str | None) -> str | None:
    """A default that came from another flavour or kind of server, as SQL of this one."""
    if default is None:
        return None
    if mariadb:
        # It cannot read its own text again when a literal has both a character set before it and escapes in it.
        return re.sub(r"('(?:[^'\\]|\\.)*')|\b_\w+(?=')", lambda m: m[1] or "", default, flags=re.DOTALL)
    if re.match("current_timestamp", default, re.IGNORECASE):
        decimals = column.kind.size if column.kind else 0
        return f"CURRENT_TIMESTAMP({decimals})" if decimals else "CURRENT_TIMESTAMP"
    # Of long columns MySQL takes expressions only, and those in parentheses.
    bare = _is_constant(default) and not _LONG.fullmatch(column.type)
    return default if bare or default.startswith("(") else f"({default})"


def _is_constant(default: str) -> bool:
    return bool(re.fullmatch(r"'(?:[^']|'')*'|-?[\d.]+|NULL|current_timestamp(\(\d*\))?", default, re.IGNORECASE))


def _default(default: Any, extra: str, mariadb: bool) -> str | None:
    """The default as SQL: MariaDB prints it so, MySQL prints literals bare and expressions escaped."""
    if default is None:
        return None
    text = default.decode() if isinstance(default, bytes) else str(default)
    if mariadb:
        return text
    if "DEFAULT_GENERATED" in extra:
        if re.fullmatch(r"CURRENT_TIMESTAMP(\(\d*\))?", text, re.IGNORECASE):
            return text
        return "(" + re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) + ")"
    return mysql_types.literal(text)


def _foreign_keys(rows: Sequence[tuple[Any, ...]]) -> tuple[ForeignKey, ...]:
    grouped: dict[str, list[tuple[Any, ...]]] = {}
    for constraint, *rest in rows:
        if rest[2] is not None:
            grouped.setdefault(constraint, []).append(tuple(rest))
    return tuple(
        ForeignKey(tuple(r[0] for r in fk), fk[0][1], fk[0][2], tuple(r[3] for r in fk)) for fk in grouped.values()
    )


def _json_value(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a key")
