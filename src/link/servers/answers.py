"""What a PostgreSQL server has answered who wanted to come in, whatever its language.

Of a connection that was not made the driver tells no code, but the server's words, which its administrator may have in
any language. Who is let in nowhere is told that before anybody asks who it is, with the code.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct

#: What is said of a login that was refused, for whatever reason; and where there is no connection left.
REFUSED, NO_ROOM = "28000", "53300"
#: The version of the protocol (documentation, "Message Formats"), and who asks.
_STARTUP = struct.pack("!i", 196608) + b"user\0datajoint-link\0\0"
#: Seconds for each answer.
_WITHIN = 2


def find_code(said: str, host: str, port: int | None) -> str | None:
    """The code of a refusal, of which a driver has said this: by which everybody is refused now, else :data:`REFUSED`.

    None where the server has refused nothing, but was not reached, or cannot be reached any more.
    """
    # A server's report begins with how grave it is, in its language, a colon, and two spaces.
    if not re.search(r"\w ?:  \S", said):
        return None
    with contextlib.suppress(OSError), _wire(host, port or 0) as wire:
        wire.sendall(struct.pack("!i", 4 + len(_STARTUP)) + _STARTUP)
        with wire.makefile("rb") as told:
            kind, length = told.read(1), told.read(4)
            if kind == b"E":
                fields = told.read(struct.unpack("!i", length)[0] - 4).split(b"\0")
                code = next((field[1:].decode() for field in fields if field.startswith(b"C")), REFUSED)
                return code if code[:2] in ("53", "57") else REFUSED
            if kind:
                return REFUSED
    return None


def _wire(host: str, port: int) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), timeout=_WITHIN)
    wire = socket.socket(socket.AF_UNIX)
    try:
        wire.settimeout(_WITHIN)
        wire.connect(f"{host}/.s.PGSQL.{port}")
    except OSError:
        wire.close()
        raise
    return wire
