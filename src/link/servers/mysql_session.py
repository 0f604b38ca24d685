"""Sessions on MySQL and MariaDB, by PyMySQL."""

from __future__ import annotations

import collections
import contextlib
import re
import socket
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import pymysql
from pymysql.constants import CR, ER, SERVER_STATUS
from pymysql.cursors import SSCursor

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
from ..model.schema import Column, Table
from ..signals import BusyError, OrphanError, RowError
from . import encryption, mysql_wire, refusals, settings
from .dialect import plain
from .languages import interleaved, writer
from .mysql import MariaDB, MySQL
from .session import BLOCK_BYTES, CLOSED, LESS, UNCLEAR, Block, Form, Session, Weight, require_taken

#: Bytes of a statement beside its rows: the names of table and columns.
_MARGIN = 16_384
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
#: Of the server, and of the account.
_NO_ROOM = {ER.CON_COUNT_ERROR, ER.TOO_MANY_USER_CONNECTIONS}
#: An option, or a transaction that is read-only.
_CLOSED = {ER.OPTION_PREVENTS_STATEMENT, 1792}
#: No SQL, or a column or function that is not there, or has other arguments.
_UNCLEAR = {ER.PARSE_ERROR, ER.BAD_FIELD_ERROR, ER.SP_DOES_NOT_EXIST, 1582}
_TIME_IS_OVER = {3024, 1969}  # MySQL, MariaDB
_BUSY = {ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, 1020}  # 1020: MariaDB, record changed since the snapshot
#: What else the drivers do not count as errors of data.
_UNFIT = (
    ER.WARN_DATA_TRUNCATED,
    ER.TRUNCATED_WRONG_VALUE_FOR_FIELD,
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
#: What the server makes of `mysql_types.refusal`, by which a source says why a value must not arrive.
_SAID = re.compile(r"Truncated incorrect INTEGER value: '(.+(?:: | has ).+)'", re.DOTALL)
#: Also of a password that has expired, and of a locked account.
_REFUSED = {ER.ACCESS_DENIED_ERROR, 1698, 1820, 1862, 3118, 4151}
_DENIED = {ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, 1227, 1370, 1419}


def translate(error: Exception, address: str, user: str) -> LinkError:
    """The one table from the driver's errors to ours."""
    code = error.args[0] if error.args else None
    text = str(error.args[-1]) if error.args else str(error)
    if code in _REFUSED:
        todo = refusals.remedy(str(error), "Check the user name and the password.")
        return LoginError(f"The server {address} refused the user {user!r}: {text}", todo)
    # The resource that an account has used up has the same name in all languages.
    if code in _NO_ROOM or (code == ER.USER_LIMIT_REACHED and "connections" in text):
        return ConnectionLimitError(
            f"The server {address} has no connection left for {user!r}: {text}",
            "End other programs that use this account; or an administrator sets MAX_USER_CONNECTIONS of the account, "
            "or max_connections of the server.",
        )
    if code in _TIME_IS_OVER:
        return ServerError(
            f"{address}: {text}",
            f"A statement may take {settings.STATEMENT_SECONDS:,} seconds here. Restrict what is asked for.",
        )
    if code in _CLOSED:
        return ReadOnlyError(f"{address}: {text}", CLOSED.format(look=settings.MYSQL_LOOK))
    if untrusted := encryption.find_refusal(str(error), f"The server {address}"):
        return untrusted
    if code in _LOST or isinstance(error, (OSError, pymysql.InterfaceError)):
        return UnreachableError(
            f"Lost or could not make the connection to {address} as {user!r}: {text}",
            "Check that the server runs and can be reached from here, then run the same again: it goes on.",
        )
    if code in _BUSY:
        return BusyError(f"{address}: {text}", "Another session holds the same rows; try again.")
    if code == ER.NET_PACKET_TOO_LARGE:
        return ServerError(f"{address}: {text}", LESS)
    if code == ER.DBACCESS_DENIED_ERROR and text.endswith("'information_schema'"):
        # Where a session is: a function that is not built in is looked for there, and nobody may use any of it.
        return ServerError(f"{address}: A function is called that there is not.", UNCLEAR)
    if code in _DENIED:
        return PrivilegeError(f"The account {user!r} on {address} lacks a right: {text}")
    if isinstance(error, (pymysql.IntegrityError, pymysql.DataError)) or code in _UNFIT:
        if said := _SAID.fullmatch(text):
            text = said[1]
        orphans = code in (ER.NO_REFERENCED_ROW, ER.NO_REFERENCED_ROW_2)
        return (OrphanError if orphans else RowError)(f"{address}: {text}")
    return ServerError(f"{address}: {text}", UNCLEAR if code in _UNCLEAR else None)


def setting_up(connection: Any, browsing: bool = False) -> str:
    """The statement that sets what a session needs, or one that only browses; see :mod:`link.servers.settings`."""
    told = connection.get_server_info()
    version = tuple(map(int, re.findall(r"\d+", told.removeprefix("5.5.5-"))[:3]))
    known = settings.MARIADB if _is_mariadb(connection) else settings.MYSQL
    chosen = settings.fitting(known, version, browsing)
    return "SET " + ", ".join(f"SESSION {setting.name} = {setting.value}" for setting in chosen)


def _is_mariadb(connection: Any) -> bool:
    return "MariaDB" in connection.get_server_info()


class RawColumns:
    """Which columns of which tables travel raw; shared by all sessions of a site.

    A table of other columns is another one: links need not have all of them here, and a source's table may be replaced.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Table, Form], tuple[Column, ...]] = {}
        self._lengths: dict[Table, int] = {}

    def weigh(self, session: MySQLSession, tables: Sequence[Table]) -> dict[Table, Weight]:
        """Ask how many rows some tables have, and how long these are."""
        one = (
            "SELECT %s, TABLE_ROWS, AVG_ROW_LENGTH FROM information_schema.TABLES "
            "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        )
        args = [arg for number, table in enumerate(tables) for arg in (number, table.schema, table.name)]
        found = session.query(" UNION ALL ".join([one] * len(tables)), args) if tables else []
        told = {int(number): Weight(int(rows or 0), int(length or 0)) for number, rows, length in found}
        weights = {table: told.get(number, Weight()) for number, table in enumerate(tables)}
        self._lengths |= {table: weight.row_bytes for table, weight in weights.items()}
        return weights

    def find(self, session: MySQLSession, table: Table, form: Form) -> tuple[Column, ...]:
        """The columns to send raw: the long ones of a table whose rows are long on average."""
        known = table, form
        if known not in self._known:
            if table not in self._lengths:
                self.weigh(session, [table])
            long_rows = self._lengths[table] > _LONG_ROW
            self._known[known] = session.dialect.raw_columns(table, form, long_rows)
        return self._known[known]

    def add(self, session: MySQLSession, table: Table, form: Form) -> None:
        """From now on send all long columns of a table raw: it has longer rows than was thought."""
        self._known[table, form] = session.dialect.raw_columns(table, form, True)


class MySQLSession(Session):
    """A PyMySQL connection with the session settings that exact copies need.

    Parameters
    ----------
    connection : pymysql.Connection
        Just opened, and for this session alone.
    address, user, stop
        As for :class:`Session`.
    raw_columns : RawColumns
        What all sessions of the site know of long rows.
    packet : int or None
        Bytes of the longest statement that the server takes; None for a session that loads nothing.
    """

    dialect: MySQL
    look = settings.MYSQL_LOOK

    def __init__(
        self,
        connection: Any,
        address: str,
        user: str,
        stop: Callable[[], None],
        raw_columns: RawColumns,
        packet: int | None,
    ) -> None:
        super().__init__(MariaDB() if _is_mariadb(connection) else MySQL(), address, user, stop)
        self._connection = connection
        self._raw_columns = raw_columns
        # Only where rows are inserted: what others have written gets into statements elsewhere.
        self._takes_several: bool | None = None
        self._max_statement = (sys.maxsize if packet is None else packet) - _MARGIN
        if wire := mysql_wire.find_socket(connection):
            _keep_alive(wire)
        mysql_wire.widen(connection)
        self.execute(setting_up(connection))

    def translate(self, error: Exception) -> LinkError:
        return translate(error, self.address, self.user)

    def _find_closed(self) -> str | None:
        names = settings.MARIADB_CLOSED if _is_mariadb(self._connection) else settings.MYSQL_CLOSED
        [told] = self.query(f"SELECT {', '.join(f'@@{name}' for name in names)}")
        on = [name for name, value in zip(names, told, strict=True) if str(value).upper() not in ("0", "OFF")]
        if "read_only" in on and self._may_change_all_the_same():
            on.remove("read_only")
        return next(iter(on), None)

    def _may_change_all_the_same(self) -> bool:
        """Whether the account changes what is read-only for others."""
        grants = " ".join(str(grant) for (grant,) in self.query("SHOW GRANTS"))
        rights = ("SUPER", "CONNECTION_ADMIN", "READ_ONLY ADMIN", "ALL PRIVILEGES ON *.*")
        return any(right in grants for right in rights)

    def query(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._cursor(SSCursor) as cursor:
            cursor.execute(self._whole(cursor, sql, args))
            return mysql_wire.table(cursor)

    def execute(self, sql: str, args: Sequence[Any] = ()) -> int:
        with self._cursor() as cursor:
            return int(cursor.execute(self._whole(cursor, sql, args)))

    def _whole(self, cursor: Any, sql: str, args: Sequence[Any]) -> str:
        """A statement as it is sent: one that the server does not take would end the session."""
        whole = str(cursor.mogrify(sql, tuple(args)))
        try:
            require_taken(whole, self._max_statement, self.address)
        except ServerError:
            self._busy = False
            raise
        return whole

    @contextlib.contextmanager
    def _cursor(self, kind: type[Any] | None = None) -> Iterator[Any]:
        cursor = self._connection.cursor(kind)
        self._busy = True
        try:
            yield cursor
            if kind is None:
                cursor.close()
            self._busy = False
        except (pymysql.MySQLError, OSError) as error:
            self._busy = False
            raise self.translate(error) from error
        except LinkError:
            raise
        except BaseException:
            # Ctrl-C leaves half a statement on the wire, or half an answer: the next one would wait for the rest.
            mysql_wire.drop(self._connection)
            raise

    def stream(self, table: Table, source: Sql, form: Form, emit: Callable[[Block], None]) -> int:
        raw = self._raw_columns.find(self, table, form)
        block = Block.of_values if form.language == "values" else _lines
        total, size = 0, 0
        rows: list[bytes] = []
        with self._cursor(SSCursor) as cursor:
            rendered_row = self.dialect.render(table, form, raw)
            select = f"{self.dialect.unhurried_select} STRAIGHT_JOIN {rendered_row} {source[0]}"
            cursor.execute(self._whole(cursor, select, source[1]))
            rendered = _interleaved(cursor, table, raw, form) if raw else mysql_wire.values(cursor)
            with contextlib.closing(rendered):
                for data in rendered:
                    if data is None:
                        collections.deque(rendered, 0)  # the session goes on
                        self._raw_columns.add(self, table, form)
                        raise _too_long(table)
                    if rows and size + len(data) > form.block_bytes:
                        emit(block(rows))
                        total += len(rows)
                        rows, size = [], 0
                    rows.append(data)
                    size += len(data) + 1
            if rows:
                emit(block(rows))
        return total + len(rows)

    def weigh(self, tables: Sequence[Table]) -> dict[Table, Weight]:
        return self._raw_columns.weigh(self, tables)

    def load(self, table: Table, blocks: Iterable[Block], form: Form) -> int:
        names = ", ".join(self.dialect.quote(name) for name in table.names)
        head = plain(f"INSERT INTO {self.dialect.name_of(table)} ({names}) VALUES ").encode()
        total = 0
        for block in blocks:
            pieces, room = block.pieces, self._max_statement - block.size
            if len(pieces) > 1 and (len(pieces) * (len(head) + 1) > room or not self._take_several()):
                pieces = [b",".join(pieces)]
            if len(head) + len(pieces) - 1 > room:
                raise RowError(
                    f"{block.rows} row(s) of {table.name} take {block.size:,} bytes, more than max_allowed_packet "
                    f"({self._max_statement + _MARGIN:,}) of the local server {self.address}."
                )
            total += self._insert(head, pieces)
        return total

    def _take_several(self) -> bool:
        """Whether the server takes several statements at once; from now on it does, if the driver can tell it so."""
        if self._takes_several is None:
            with self._cursor() as cursor:
                self._takes_several = mysql_wire.take_several(cursor.connection)
        return self._takes_several

    def _insert(self, head: bytes, pieces: Sequence[bytes]) -> int:
        """Insert rows by a statement a piece, in one round trip, all of them or none; how many there were."""
        alone = len(pieces) > 1 and not self._connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
        begin, between, end = head, b";" + head, b""
        if alone:
            begin, end = b"BEGIN;" + head, b";COMMIT"
        sql = [begin, pieces[0], *(part for piece in pieces[1:] for part in (between, piece)), end]
        try:
            with self._cursor() as cursor:
                changed = cursor.execute(b"".join(sql))
                while cursor.nextset():
                    changed += cursor.rowcount
                return int(changed)
        except BaseException:
            if alone:
                self.rollback()
            raise

    @property
    def block_bytes(self) -> int:
        return min(BLOCK_BYTES, self._max_statement - _MARGIN)

    @property
    def number(self) -> int:
        return int(self._connection.thread_id())

    def _end(self, number: int) -> bool:
        # It is not looked for in the list of sessions: MySQL's is an error while one runs a statement with an emoji.
        try:
            self.execute(f"KILL {number}")
        except UnreachableError:
            raise
        except ServerError:  # it has ended
            return False
        return True

    def lock(self, name: tuple[int, int], wait: bool) -> bool:
        seconds = settings.LOCK_SECONDS if wait else 0
        while not self.query("SELECT GET_LOCK(%s, %s)", (_lock_name(*name), seconds))[0][0]:
            if not wait:
                return False
        return True

    def lock_free(self, names: Sequence[tuple[int, int]]) -> None:
        if names:
            locks = ", ".join(["GET_LOCK(%s, 0)"] * len(names))
            self.query(f"SELECT {locks}", [_lock_name(*name) for name in names])

    def unlock(self, name: tuple[int, int]) -> None:
        self.query("SELECT RELEASE_LOCK(%s)", (_lock_name(*name),))

    def locked(self, space: int, names: Iterable[int]) -> set[int]:
        return {
            name
            for name in names
            if self.query("SELECT IS_USED_LOCK(%s)", (_lock_name(space, name),))[0][0] is not None
        }

    def definition(self, schema: str, name: str) -> bytes:
        """A table as its server would create it; in defaults there may be bytes that are no text."""
        with self._cursor() as cursor:
            encoding, self._connection.encoding = self._connection.encoding, "latin-1"
            try:
                cursor.execute(plain(f"SHOW CREATE TABLE {self.dialect.full_name(schema, name)}").encode())
                return bytes(cursor.fetchone()[1].encode("latin-1"))
            finally:
                self._connection.encoding = encoding

    @contextlib.contextmanager
    def unwaiting(self) -> Iterator[None]:
        # A DELETE locks every row that it looks at, one after the other.
        self.execute("SET SESSION innodb_lock_wait_timeout = 1")
        try:
            yield
        finally:
            self.execute(f"SET SESSION innodb_lock_wait_timeout = {settings.LOCK_SECONDS}")

    def rollback(self) -> None:
        with contextlib.suppress(LinkError):
            self.execute("ROLLBACK")

    def _close(self) -> None:
        # Not close() alone: it would say goodbye politely, and wait, in the middle of an unbuffered result.
        mysql_wire.drop(self._connection)


def _interleaved(
    cursor: SSCursor, table: Table, raw: Sequence[Column], form: Form
) -> Generator[bytes | None, None, None]:
    writers, places = [writer(column, form) for column in raw], [table.columns.index(column) for column in raw]
    with contextlib.closing(mysql_wire.rows(cursor)) as rows:
        for row in rows:
            yield interleaved(row, writers, places, form)


def _lines(rows: Sequence[bytes]) -> Block:
    return Block([b"\n".join((*rows, b""))], len(rows))


def _too_long(table: Table) -> RowError:
    return RowError(
        f"A row of {table.schema}.{table.name} is longer than the source server can render within its "
        "max_allowed_packet."
    )


def _keep_alive(connection: socket.socket) -> None:
    """Notice within two minutes when the server is gone without a word, also in the middle of sending."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 120_000))
    for option, value in options:
        if hasattr(socket, option) and connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _lock_name(space: int, name: int) -> str:
    return f"datajoint-link:{space}:{name}"
