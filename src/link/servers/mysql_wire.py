"""Reading results straight off PyMySQL's wire.

For each row PyMySQL makes several objects and calls, which takes longer than all that the client does besides. A row
is one packet: its length, a counter, and each value behind the value's own length. PyMySQL neither compresses packets
nor asks for results without an EOF packet at their end, so these are all the forms there are.

All that is known of PyMySQL's insides is here. Where a release of it has others, its own cursor reads, as exactly.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import socket
from collections.abc import Callable, Generator
from typing import Any, cast

import pymysql
from pymysql.constants import COMMAND, CR, ER
from pymysql.cursors import SSCursor

#: How much is read from the socket at once.
BUFFER_BYTES = 1 << 18

#: What one packet holds; what is longer comes in several packets.
_FULL = 2**24 - 1
_NULL, _TWO, _THREE, _END, _ERROR = 0xFB, 0xFC, 0xFD, 0xFE, 0xFF
#: Of a length that does not fit into one byte: in how many more.
_BYTES = {_TWO: 2, _THREE: 3, _END: 8}
#: Packets within others, compressed by zlib or zstd; results without an EOF packet.
_OTHER_FORMS = 1 << 5 | 1 << 26 | 1 << 24
_SEVERAL_STATEMENTS = b"\0\0"

logger = logging.getLogger("link")


def find_socket(connection: Any) -> socket.socket | None:
    """The socket of a connection that is open."""
    found = getattr(connection, "_sock", None)
    return found if isinstance(found, socket.socket) else None


def widen(connection: Any) -> None:
    """Let a fresh connection read more than 8 kB at once."""
    if _is_known(connection) and (wire := find_socket(connection)):
        connection._rfile = wire.makefile("rb", BUFFER_BYTES)


def take_several(connection: Any) -> bool:
    """Let the server take several statements at once on a connection, which it does not by itself; whether it does."""
    if not hasattr(connection, "_execute_command") or not hasattr(connection, "_read_packet"):
        return False
    connection._execute_command(COMMAND.COM_SET_OPTION, _SEVERAL_STATEMENTS)
    try:
        connection._read_packet()
    except pymysql.MySQLError as error:
        if error.args[:1] == (ER.UNKNOWN_COM_ERROR,):  # something in between has not heard of it
            return False
        raise
    return True


def drop(connection: Any) -> None:
    """End a connection, also in the middle of a result; for the server, too, though a forked process may have it."""
    if wire := find_socket(connection):
        with contextlib.suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(pymysql.Error):  # it was closed before
        connection.close()


def values(cursor: SSCursor) -> Generator[bytes | None, None, None]:
    """The rows of the query of one column, a binary string, that the cursor has just run.

    Who stops before the end loses the connection: there is no other way to stop the server.
    """
    if _is_known(cursor.connection) and _has(cursor, "unbuffered_active", "connection"):
        return _straight(cursor)
    _tell(pymysql.VERSION_STRING)
    return _driven(cursor)


def table(cursor: SSCursor) -> list[tuple[Any, ...]]:
    """All rows of the query that the cursor has just run, as PyMySQL would have them."""
    if _is_known(cursor.connection) and _has(cursor, "unbuffered_active", "connection", "converters"):
        return _converted(cursor)
    _tell(pymysql.VERSION_STRING)
    return list(rows(cursor))


def rows(cursor: SSCursor) -> Generator[tuple[bytes | None, ...], None, None]:
    """The rows of the query that the cursor has just run, by the driver's own means; else as :func:`values`."""
    connection = cursor.connection
    try:
        yield from iter(cast(Any, cursor).fetchone, None)
    except (pymysql.MySQLError, OSError):
        raise  # the driver has seen to the connection
    except BaseException:
        drop(connection)
        raise
    finally:
        if hasattr(result := getattr(cursor, "_result", None), "unbuffered_active"):
            cast(Any, result).unbuffered_active = False  # it is not to read the rest when it tidies up


def _is_known(connection: Any) -> bool:
    """Whether PyMySQL reads as this module does."""
    return (
        isinstance(getattr(connection, "_rfile", None), io.BufferedReader)
        and find_socket(connection) is not None
        and not getattr(connection, "client_flag", _OTHER_FORMS) & _OTHER_FORMS
        and hasattr(pymysql.err, "raise_mysql_exception")
    )


def _has(cursor: SSCursor, *names: str) -> bool:
    """Whether what PyMySQL has of a result is called so."""
    result = getattr(cursor, "_result", None)
    return all(hasattr(result, name) for name in names)


@functools.cache
def _tell(version: str) -> None:
    """Say, once, that it is slower."""
    logger.warning(
        "PyMySQL %s does not read from its connections as this package expects. Its own cursors read instead: as "
        "exactly, and slower. Please report this; an older PyMySQL, such as 1.2, is as fast as ever.",
        version,
    )


def _driven(cursor: SSCursor) -> Generator[bytes | None, None, None]:
    with contextlib.closing(rows(cursor)) as read:
        for row in read:
            yield row[0]


def _straight(cursor: SSCursor) -> Generator[bytes | None, None, None]:
    connection, result = cast(Any, cursor.connection), cast(Any, cursor)._result
    # The driver is not to read the rest when it tidies up.
    result.unbuffered_active, result.connection = False, None
    read, finished = connection._rfile.read, False
    try:
        while True:
            data = _packet(read)
            first = data[0]
            if first < _NULL:
                yield data[1:]
            elif first == _TWO:
                yield data[3:]
            elif first == _THREE:
                yield data[4:]
            elif first == _NULL:
                yield None
            elif first == _ERROR:
                finished = True
                pymysql.err.raise_mysql_exception(data)
            elif len(data) < 9:
                finished = True
                return
            else:
                yield data[9:]
    finally:
        if not finished:
            drop(connection)


def _converted(cursor: SSCursor) -> list[tuple[Any, ...]]:
    connection, result = cast(Any, cursor.connection), cast(Any, cursor)._result
    if not result.unbuffered_active:
        return []  # a statement without rows
    result.unbuffered_active, result.connection = False, None
    converters = [_converter(*how) for how in result.converters]
    read, finished, found = connection._rfile.read, False, list[tuple[Any, ...]]()
    try:
        while True:
            data = _packet(read)
            if data[0] > _THREE and (data[0] == _ERROR or len(data) < 9):
                finished = True
                if data[0] == _ERROR:
                    pymysql.err.raise_mysql_exception(data)
                return found
            row, at = [], 0
            for convert in converters:
                end = at + 1 + data[at]
                if data[at] < _NULL:
                    row.append(convert(data[at + 1 : end]))
                elif data[at] == _NULL:
                    row.append(None)
                    end = at + 1
                else:
                    start = at + 1 + _BYTES[data[at]]
                    end = start + int.from_bytes(data[at + 1 : start], "little")
                    row.append(convert(data[start:end]))
                at = end
            found.append(tuple(row))
    finally:
        if not finished:
            drop(connection)


def _converter(encoding: str | None, convert: Callable[[Any], Any] | None) -> Callable[[bytes], Any]:
    """What makes a value of its bytes; numbers are read without being made a text."""
    if encoding is None or convert is int:
        return convert or bytes
    if convert is None:
        return lambda data: data.decode(encoding)
    return lambda data: convert(data.decode(encoding))


def _packet(read: Callable[[int], bytes]) -> bytes:
    """What lies in the next packet, or in all of those in which something long comes: the last is not full."""
    pieces: tuple[bytes, ...] = ()
    while len(header := read(4)) == 4:
        size = header[0] | header[1] << 8 | header[2] << 16
        data = read(size)
        if len(data) < size:
            break
        if size < _FULL:
            return b"".join((*pieces, data)) if pieces else data
        pieces = (*pieces, data)
    raise pymysql.OperationalError(CR.CR_SERVER_LOST, "Lost connection to the server during a query")
