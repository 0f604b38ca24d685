"""Where a server is, as people write it. Nothing here connects anywhere, or loads DataJoint."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from .model.backends import BACKENDS


@dataclass(frozen=True)
class Address:
    """Where the source server is."""

    host: str
    port: int | None = None
    backend: str | None = None
    database: str | None = None


def parse_host(host: str) -> Address:
    """Split ``host``, ``host:port``, a socket folder or a URL.

    Raises
    ------
    ConfigError
        The text is none of these, or holds credentials.
    """
    if not isinstance(host, str) or not host.strip():
        raise _refused(f"The host of the source server must be a name, not {host!r}.")
    if "://" in host:
        return _parse_url(host)
    if host.startswith("/"):
        return Address(host, backend=next(name for name, kind in BACKENDS.items() if kind.has_socket_folders))
    if "@" in host:
        raise _credentials_in("host")
    name, colon, port = host.rpartition(":")
    if not colon:
        return Address(host)
    if not name or ":" in name or not port.isdigit():
        raise _refused(f"The host {host!r} is not of the form name, name:port, /socket/folder or URL.")
    return Address(name, int(port))


def _parse_url(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("The port in the URL of the source server is not a number.") from None
    if parts.username or parts.password:
        raise _credentials_in("URL")
    backend = next((name for name, kind in BACKENDS.items() if parts.scheme in kind.schemes), None)
    if backend is None or not parts.hostname or parts.query or parts.fragment:
        raise _refused(f"Cannot read the URL {url!r}.", "Use postgresql://host:port/database or mysql://host:port.")
    if ":" in parts.hostname:
        raise _refused(f"DataJoint does not connect to IPv6 addresses such as {parts.hostname}.", "Use a host name.")
    return Address(parts.hostname, port, backend, parts.path.strip("/") or None)


def _credentials_in(what: str) -> Exception:
    return _refused(
        f"The {what} of the source server holds a user or a password.",
        "Leave them out and set LINK_USER and LINK_PASS in the environment.",
    )


def _refused(what: str, hint: str | None = None) -> Exception:
    from .errors import ConfigError  # it loads DataJoint

    return ConfigError(what, hint)
