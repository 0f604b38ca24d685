"""Sessions on PostgreSQL, by psycopg2."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2 import errorcodes

from ..errors import (
    ConnectionLimitError,
    LinkError,
    LoginError,
    PrivilegeError,
    ReadOnlyError,
    ServerError,
    UnreachableError,
)
from ..model.ranges import Sql
from ..model.schema import Table
from ..signals import BusyError, OrphanError, RowError
from . import encryption, refusals, settings
from .dialect import plain
from .interrupting import stoppable
from .languages import REFUSED, unhexed
from .postgresql import PostgreSQL
from .session import CLOSED, UNCLEAR, Block, Form, Session, Weight

#: Asks a session for its number.
NUMBER = "SELECT pg_backend_pid()"
#: No SQL, or a column or function that is not there, or has other arguments.
_UNCLEAR = {
    errorcodes.SYNTAX_ERROR,
    errorcodes.UNDEFINED_COLUMN,
    errorcodes.UNDEFINED_FUNCTION,
    errorcodes.DATATYPE_MISMATCH,
}
_BUSY = {
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.LOCK_NOT_AVAILABLE,
    errorcodes.SERIALIZATION_FAILURE,
}
_LOST = {
    errorcodes.ADMIN_SHUTDOWN,
    errorcodes.CRASH_SHUTDOWN,
    errorcodes.CANNOT_CONNECT_NOW,
    errorcodes.IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    "57P05",  # a session has rested for too long
    "25P04",  # a transaction has taken too long
}
#: What is said of a connection that was not made has no code.
_NO_ROOM = re.compile(r"too many (clients|connections)|remaining connection slots|no more connections allowed")

#: One column a row, as it is: a row is quoted only when it holds a line break, and the quote is a character
#: that text hardly ever has.
_ONE_COLUMN = r"(FORMAT CSV, DELIMITER E'\x02', QUOTE E'\x01')"


_NAN = float("nan")


def _float(text: str | bytes | None, _: Any) -> float | None:
    # Always the same NaN: then Python finds keys that have one.
    return None if text is None else _NAN if text == "NaN" else float(text)


class _NotADecimal(Decimal):
    """NaN, which sorts behind all numbers, as on the server; Python's own is an error wherever keys are sorted."""

    def __lt__(self, _: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return not isinstance(other, _NotADecimal)


_NOT_A_DECIMAL = _NotADecimal("NaN")


def _decimal(text: str | bytes | None, _: Any) -> Decimal | None:
    return None if text is None else _NOT_A_DECIMAL if text == "NaN" else Decimal(str(text))


_FLOATS = psycopg2.extensions.new_type((700, 701), "FLOATS", _float)
_DECIMALS = psycopg2.extensions.new_type((1700,), "DECIMALS", _decimal)


def translate(error: Exception, address: str, user: str, code: str | None = None) -> LinkError:
    """The one table from the driver's errors to ours; the ``code`` is the driver's, unless it is given."""
    code, text = code or getattr(error, "pgcode", None) or "", str(error).strip()
    first = text.partition("\n")[0]  # then come what psycopg asks itself, and where in the statement
    check = "Check the user name and the password."
    todo = refusals.remedy(text, check)
    if code.startswith("28") or (todo and not code):
        todo = todo or refusals.UNKNOWN.format(check=check)
        return LoginError(f"The server {address} refused the user {user!r}: {text}", todo)
    if code == errorcodes.TOO_MANY_CONNECTIONS or _NO_ROOM.search(text):
        return ConnectionLimitError(
            f"The server {address} has no connection left for {user!r}: {text}",
            "End other programs that use this account; or an administrator sets the CONNECTION LIMIT of the role, or "
            "max_connections of the server.",
        )
    if code == errorcodes.READ_ONLY_SQL_TRANSACTION:
        return ReadOnlyError(f"{address}: {text}", CLOSED.format(look=settings.POSTGRESQL_LOOK))
    if not code and (untrusted := encryption.find_refusal(first, f"The server {address}")):
        return untrusted
    if code in _LOST or (not code and isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError))):
        return UnreachableError(
            f"Lost or could not make the connection to {address} as {user!r}: {first}",
            "Check that the server runs and can be reached from here, then run the same again: it goes on.",
        )
    if code in _BUSY:
        return BusyError(f"{address}: {text}", "Another session holds the same rows; try again.")
    if code == errorcodes.INSUFFICIENT_PRIVILEGE:
        return PrivilegeError(f"The account {user!r} on {address} lacks a right: {first}")
    # 54: what exceeds a limit, of an index entry for one; P0001: a trigger says no.
    if code[:2] in ("22", "23", "54") or code == errorcodes.RAISE_EXCEPTION:
        orphans = code == errorcodes.FOREIGN_KEY_VIOLATION
        return (OrphanError if orphans else RowError)(f"{address}: {text}")
    return ServerError(f"{address}: {text}", UNCLEAR if code in _UNCLEAR else None)


def setting_up(connection: Any, browsing: bool = False) -> str:
    """The statements that set what a session needs, or one that only browses; see :mod:`link.servers.settings`."""
    chosen = settings.fitting(settings.POSTGRESQL, (connection.server_version // 10000,), browsing)
    kept = [] if browsing else [settings.POSTGRESQL_KEPT]
    return "; ".join([*(f"SET {s.name} = {s.value}" for s in chosen), settings.POSTGRESQL_ENDING, *kept])


class PostgreSQLSession(Session):
    """A psycopg2 connection in autocommit mode.

    Parameters
    ----------
    connection : psycopg2.extensions.connection
        Just opened, and for this session alone.
    address, user, stop
        As for :class:`Session`.
    """

    dialect: PostgreSQL
    takes_several = True
    look = settings.POSTGRESQL_LOOK

    def __init__(self, connection: Any, address: str, user: str, stop: Callable[[], None]) -> None:
        super().__init__(PostgreSQL(), address, user, stop)
        self._connection = connection
        for numbers in (_FLOATS, _DECIMALS):
            psycopg2.extensions.register_type(numbers, self._connection)
        # Asked, in the same answer: of what a pool tells of itself the driver knows only a number of the pool's.
        self._number = int(self.query(f"{setting_up(connection)}; {NUMBER}")[0][0])

    def translate(self, error: Exception) -> LinkError:
        return translate(error, self.address, self.user)

    def _find_closed(self) -> str | None:
        name = settings.POSTGRESQL_CLOSED
        return name if self.query("SELECT current_setting(%s)", (name,)) == [("on",)] else None

    def query(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            self._run(cursor, sql, args)
            return list(cursor.fetchall())

    def execute(self, sql: str, args: Sequence[Any] = ()) -> int:
        with self._cursor() as cursor:
            self._run(cursor, sql, args)
            return max(int(cursor.rowcount), 0)

    def execute_all(self, statements: Sequence[str]) -> None:
        if statements:
            self.execute("; ".join(statements))

    def execute_together(self, statements: Sequence[str]) -> None:
        self.execute_all(statements)  # which are a transaction, for they come at once

    def _run(self, cursor: Any, sql: str, args: Sequence[Any]) -> None:
        try:
            cursor.execute(sql, tuple(args)) if args else cursor.execute(plain(sql))
        except ValueError as error:
            self._busy = False
            # The driver itself refuses a NUL, which keys of other servers may have.
            raise RowError(f"{self.address}: {error}") from error

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        self._busy = True
        with stoppable(self._stop):
            try:
                with self._connection.cursor() as cursor:
                    yield cursor
                self._busy = False
            except psycopg2.Error as error:
                self._busy = False
                raise self.translate(error) from error

    def stream(self, table: Table, source: Sql, form: Form, emit: Callable[[Block], None]) -> int:
        if form.language == "binary":
            copy, sink = self._alike(table), _Sink(emit, form.block_bytes)
        else:
            copy, sink = _ONE_COLUMN, _Tuples(emit, form.block_bytes)
        with self._cursor() as cursor:
            fields = self.dialect.render(table, form)
            select = cursor.mogrify(f"SELECT {fields} {source[0]}", source[1]).decode()
            cursor.copy_expert(f"COPY ({select}) TO STDOUT {copy}", sink)
            sink.flush()
            return int(cursor.rowcount)

    def weigh(self, tables: Sequence[Table]) -> dict[Table, Weight]:
        # What was never analysed has -1 rows.
        one = (
            "SELECT %s, reltuples::bigint, (pg_table_size(oid) / reltuples)::bigint FROM pg_class "
            "WHERE oid = to_regclass(format('%%I.%%I', %s, %s)) AND reltuples > 0"
        )
        args = [arg for number, table in enumerate(tables) for arg in (number, table.schema, table.name)]
        found = self.query(" UNION ALL ".join([one] * len(tables)), args) if tables else []
        told = {int(number): Weight(int(rows), int(length or 0)) for number, rows, length in found}
        return {table: told.get(number, Weight()) for number, table in enumerate(tables)}

    def load(self, table: Table, blocks: Iterable[Block], form: Form) -> int:
        names = ", ".join(self.dialect.quote(name) for name in table.names)
        copy = f"COPY {self.dialect.name_of(table)} ({names}) FROM STDIN "
        with self._cursor() as cursor:
            given = _Source(blocks)
            try:
                how = self._alike(table) if form.language == "binary" else ""
                cursor.copy_expert(plain(copy) + how, given, size=1 << 18)
            except psycopg2.Error as error:
                if given.error:
                    raise given.error from None
                if error.pgcode == errorcodes.CHARACTER_NOT_IN_REPERTOIRE and (found := _unfit(table, given.last)):
                    raise RowError(f"{self.address}: {found}") from error
                raise
            return int(cursor.rowcount)

    def _alike(self, table: Table) -> str:
        """The format between servers of this kind: in binary, text would have to go through UTF-8."""
        encoding = next((column.charset for column in table.columns if column.as_stored), None)
        return f"(ENCODING '{encoding}')" if encoding else "(FORMAT BINARY)"

    @property
    def encoding(self) -> str | None:
        """The encoding of the database, where it is another one than UTF-8."""
        name = self._connection.get_parameter_status("server_encoding")
        return None if name == "UTF8" else str(name)

    def remark(self, text: str) -> str:
        return text if self.encoding is None else text.encode("ascii", "replace").decode()

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        self.execute("SAVEPOINT datajoint_link")
        try:
            yield
        except LinkError:
            self.execute("ROLLBACK TO SAVEPOINT datajoint_link")
            raise

    @property
    def number(self) -> int:
        return self._number

    def _end(self, number: int) -> bool:
        return bool(self.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s", (number,)))

    def lock(self, name: tuple[int, int], wait: bool) -> bool:
        if wait:
            # In one round trip; of what fails the server takes back all of it.
            waiting, usual = "SET lock_timeout = 0", f"SET lock_timeout = '{settings.LOCK_SECONDS}s'"
            self.execute(f"{waiting}; SELECT pg_advisory_lock(%s, %s); {usual}", name)
            return True
        return bool(self.query("SELECT pg_try_advisory_lock(%s, %s)", name)[0][0])

    def lock_free(self, names: Sequence[tuple[int, int]]) -> None:
        if names:
            locks = ", ".join(["pg_try_advisory_lock(%s, %s)"] * len(names))
            self.query(f"SELECT {locks}", [number for name in names for number in name])

    def unlock(self, name: tuple[int, int]) -> None:
        self.query("SELECT pg_advisory_unlock(%s, %s)", name)

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

    def _close(self) -> None:
        with contextlib.suppress(psycopg2.Error):
            self._connection.close()


class _Sink(io.RawIOBase):
    """Takes what COPY TO sends, row by row, and emits it in blocks."""

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

    def block(self, rows: Sequence[bytes]) -> Block:
        """Rows as the destination takes them."""
        return Block([b"".join(rows)], len(rows))

    def flush(self) -> None:
        if self._rows:
            self._emit(self.block(self._rows))
            self._rows, self._size = [], 0


class _Tuples(_Sink):
    """Takes rows that were rendered as VALUES tuples."""

    def row(self, data: bytes) -> bytes:
        row = data[:-1]
        if row[:1] == b"\x01":
            row = row[1:-1].replace(b"\x01\x01", b"\x01")
        return unhexed(row)

    def block(self, rows: Sequence[bytes]) -> Block:
        return Block.of_values(rows)


class _Source(io.RawIOBase):
    """Gives blocks to COPY FROM in pieces of the size that it asks for."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._pieces = (piece for block in blocks for piece in block.pieces)
        self._data = memoryview(b"")
        self.last = b""
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while not self._data:
                given = next(self._pieces, None)
                if given is None:
                    return b""
                self.last, self._data = given, memoryview(given)
        except BaseException as error:
            # psycopg2 would report it, Ctrl-C too, as an error of the server's.
            self.error = error
            raise
        piece, self._data = self._data[:size], self._data[size:]
        return bytes(piece)


def _unfit(table: Table, lines: bytes) -> str | None:
    """What is wrong with the first column in lines of COPY that is no text to PostgreSQL: the server names none."""
    place, what = lines.find(b"\0"), "has a NUL, which PostgreSQL's text cannot"
    if place < 0:
        try:
            lines.decode()
            return None
        except UnicodeDecodeError as error:
            place, what = error.start, "has bytes that are no character"
    if lines.startswith(REFUSED, place):
        why = re.match(rb"[^\t\n]*", lines[place + len(REFUSED) :])
        return why[0].decode(errors="replace") if why else None
    column = table.names[lines.count(b"\t", lines.rfind(b"\n", 0, place) + 1, place)]
    return f"{table.name}.{column} {what}"
