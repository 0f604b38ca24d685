"""From an address and an account to a connection of DataJoint's; refusals in our words."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Mapping
from typing import Any, cast

import datajoint as dj

from ..config import Address, Credentials
from ..errors import ConfigError, LinkError, LoginError, NotFoundError, UnreachableError
from ..model.backends import BACKENDS

#: PostgreSQL's SSLRequest: its length and its code (documentation, "Message Formats").
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


def connect(
    address: Address, account: Credentials, use_tls: bool | Mapping[str, Any] | None, backend: str
) -> dj.Connection:
    """Connect to a source server, which is of the kind ``backend`` unless its address says so.

    Raises
    ------
    LinkError
        The server cannot be reached, or refuses the account.
    """
    address = completed(address, backend)
    place = f"{address.host}:{address.port}"
    if (address.backend, address.port) == ("mysql", BACKENDS["postgresql"].port) and _is_postgresql(address):
        raise ConfigError(
            f"The source server {place} is a PostgreSQL server.",
            f"Say so with backend='postgresql', or in the URL: postgresql://{place}.",
        )
    try:
        instance = dj.Instance(
            address.host,
            account.user,
            account.password,
            port=address.port,
            use_tls=cast(Any, use_tls),
            backend=cast(Any, address.backend),
            database__name=address.database,
        )
    except LinkError:
        raise
    except Exception as error:
        raise _refused(error, place, account) from None
    return instance.connection


def completed(address: Address, backend: str) -> Address:
    """An address with what it does not say: the kind of server is ``backend``, the port where such servers are."""
    backend = address.backend or backend
    return Address(address.host, address.port or BACKENDS[backend].port, backend, address.database)


def _is_postgresql(address: Address) -> bool:
    """Whether a server answers PostgreSQL's question for TLS; a client of MySQL waits for a greeting, for a minute."""
    place = address.host, address.port
    with contextlib.suppress(OSError), socket.create_connection(place, timeout=5) as wire:
        wire.sendall(_SSL_REQUEST)
        return wire.recv(1) in (b"S", b"N")
    return False


def _refused(error: Exception, place: str, account: Credentials) -> LinkError:
    """What DataJoint's connection attempt met, in our words."""
    user, text = account.user, str(error).strip().replace(account.password, "***")
    if re.search(r'database ".*" does not exist', text):
        return NotFoundError(
            f"The source server {place} has no such database (user {user!r}): {text}",
            "Name it with database= or in the URL.",
        )
    if any(sign in text for sign in ("Access denied", "authentication failed", "no password supplied", "1045")):
        return LoginError(
            f"The source server {place} refused the {account.role} {user!r}: {text}",
            f"Check {account.told_by}.",
        )
    return UnreachableError(
        f"Cannot connect to the source server {place} as {user!r}: {text}",
        "Check host, port and backend, and that the server runs and can be reached from here.",
    )
