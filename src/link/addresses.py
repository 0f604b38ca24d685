"""Where a server is, as people write it. Nothing here connects anywhere, or loads DataJoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .model.backends import BACKENDS


@dataclass(frozen=True)
class Address:
    """Where the source server is."""

    host: str
    port: int | None = None
    backend: str | None = None
    database: str | None = None

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


def parse_host(host: str) -> Address:
    """Split ``host``, ``host:port``, a socket folder or a URL.

    Raises
    ------
    ConfigError
        The text is none of these, or holds credentials.
    """
    if not isinstance(host, str) or not host.strip():
        raise config_error(f"The host of the source server must be a name, not {host!r}.")
    if "://" in host:
        return _parse_url(host)
    if host.startswith("/"):
        return Address(host, backend=next(name for name, kind in BACKENDS.items() if kind.has_socket_folders))
    if "@" in host:
        raise _credentials_in("host")
    name, colon, port = host.rpartition(":")
    if not colon:
        return Address(host)
    if not name or ":" in name or not port.isdecimal():
        raise config_error(f"The host {host!r} is not of the form name, name:port, /socket/folder or URL.")
    return Address(name, require_port(int(port)))


def _parse_url(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise config_error("The port in the URL of the source server is no number from 1 to 65535.") from None
    if parts.username or parts.password:
        raise _credentials_in("URL")
    backend = next((name for name, kind in BACKENDS.items() if parts.scheme in kind.schemes), None)
    if backend is None or not parts.hostname or parts.query or parts.fragment:
        raise config_error(f"Cannot read the URL {url!r}.", "Use postgresql://host:port/database or mysql://host:port.")
    if ":" in parts.hostname:
        raise config_error(
            f"DataJoint does not connect to IPv6 addresses such as {parts.hostname}.", "Use a host name."
        )
    return Address(parts.hostname, require_port(port), backend, parts.path.strip("/") or None)


def require_port(port: Any) -> int | None:
    """A port, if one is given. Some systems take others modulo 65536, and what is none for one that was not said."""
    if port is None or (isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536):
        return port
    raise config_error(f"port must be a number from 1 to 65535, not {port!r}.")


def completed_by(
    address: Address, said_by: str, *, port: int | None, backend: str | None, database: str | None
) -> Address:
    """An address with what is said beside it; ``said_by`` is for messages: what has said the address.

    Raises
    ------
    ConfigError
        They contradict each other, or belong to different kinds of server.
    """
    if database is not None and (not isinstance(database, str) or not database):
        raise config_error(f"database must be a name, not {database!r}.")
    address = Address(
        address.host,
        agree("port", require_port(port), said_by, address.port),
        agree("backend", backend, said_by, address.backend),
        agree("database", database, said_by, address.database),
    )
    return require_databases(address) if address.backend else address


def require_databases(address: Address) -> Address:
    """An address of which the kind of server is known: that has no database where there are none beside schemas."""
    if address.database and address.backend and not BACKENDS[address.backend].has_databases:
        raise config_error(f"database={address.database!r} is for PostgreSQL; on MySQL the schemas are the databases.")
    return address


def agree(what: str, argument: Any, said_by: str, said: Any) -> Any:
    """What two places say of something, which must be the same where both say it."""
    if None not in (argument, said) and argument != said:
        raise config_error(f"{what}={argument!r} contradicts {said_by}, which says {said!r}.")
    return said if argument is None else argument


def _credentials_in(what: str) -> Exception:
    return config_error(
        f"The {what} of the source server holds a user or a password.",
        "Leave them out and set LINK_USER and LINK_PASS in the environment.",
    )


def config_error(what: str, hint: str | None = None) -> Exception:
    """A ConfigError; only who meets one loads DataJoint for it."""
    from .errors import ConfigError

    return ConfigError(what, hint)
