"""Reading results of one column straight off PyMySQL's wire.

For each row PyMySQL makes several objects and calls, which takes longer than all that the client does besides. A row
of one column is one packet: its length, a counter, and the value behind the value's own length. PyMySQL neither
compresses packets nor asks for results without an EOF packet at their end, so these are all the forms there are.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from typing import Any, cast

import pymysql
from pymysql.connections import MAX_PACKET_LEN
from pymysql.constants import CR
from pymysql.cursors import SSCursor

from ..errors import ServerError

#: How much is read from the socket at once.
BUFFER_BYTES = 1 << 18

_NULL, _TWO, _THREE, _END, _ERROR = 0xFB, 0xFC, 0xFD, 0xFE, 0xFF


def widen(connection: Any) -> None:
    """Let a fresh connection read more than 8 kB at once.

    Raises
    ------
    ServerError
        A release of PyMySQL that reads in another way.
    """
    if not isinstance(getattr(connection, "_rfile", None), io.BufferedReader):
        raise ServerError(
            f"PyMySQL {pymysql.VERSION_STRING} does not read from its connection as this package expects.",
            "Install an older one, such as PyMySQL 1.1, and report this.",
        )
    connection._rfile = connection._sock.makefile("rb", BUFFER_BYTES)


def values(cursor: SSCursor) -> Generator[bytes | None, None, None]:
    """The rows of the query of one column that the cursor has just run.

    Who stops before the end loses the connection: there is no other way to stop the server.
    """
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
            connection._force_close()


def _packet(read: Any) -> bytes:
    """What lies in the next packet, or in all of those in which something long comes: the last is not full."""
    pieces: list[bytes] = []
    while len(header := read(4)) == 4:
        size = header[0] | header[1] << 8 | header[2] << 16
        data: bytes = read(size)
        if len(data) < size:
            break
        if size < MAX_PACKET_LEN:
            return b"".join((*pieces, data)) if pieces else data
        pieces.append(data)
    raise pymysql.OperationalError(CR.CR_SERVER_LOST, "Lost connection to the server during a query")
