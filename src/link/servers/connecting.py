"""From an address and an account to a connection of DataJoint's; refusals in our words."""

from __future__ import annotations

import contextlib
import contextvars
import re
import socket
import ssl
import struct
import threading

import datajoint as dj

from .. import host
from ..accounts import Credentials
from ..addresses import Address
from ..errors import (
    ConfigError,
    ConnectionLimitError,
    CredentialsError,
    LinkError,
    LoginError,
    NotFoundError,
    UnreachableError,
    UnsupportedServerError,
)
from ..model.backends import BACKENDS
from ..tls import CLEAR, Tls
from . import answers, encryption, refusals
from .mysql_site import MySQLSite
from .site import Site

#: PostgreSQL's SSLRequest: its length and its code (documentation, "Message Formats").
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
#: What servers say that have no connection left; MySQL and MariaDB by a number, whatever their language.
_NO_ROOM = r"\(1040,|too many (clients|connections)|max_user_connections|connection slots|no more connections"
#: Seconds after which it is looked at who does not answer, and after which a server is given up that does not.
PATIENCE, ANSWER_WITHIN = 1.0, 10.0


def connect(address: Address, account: Credentials, tls: Tls, backend: str) -> dj.Connection:
    """Connect to a source server, which is of the kind ``backend`` unless its address says so.

    Where it is left open whether there is TLS, there is; or, to this machine alone, none if the server has none.

    Raises
    ------
    LinkError
        The server cannot be reached, or is of another kind, or refuses the account.
    """
    address = completed(address, backend)
    attempt = _Attempt(address, account, tls)
    try:
        if attempt.has_ended(PATIENCE):
            return attempt.connection()
        # A client of MySQL waits for a greeting; PostgreSQL, which waits to be asked, hangs up after a minute.
        if address.backend == "mysql" and _is_postgresql(address):
            raise _another_kind(address, "postgresql")
        if attempt.has_ended(ANSWER_WITHIN - PATIENCE):
            return attempt.connection()
    finally:
        attempt.leave()
    raise UnreachableError(
        f"The source server {address.host}:{address.port} has not answered within {ANSWER_WITHIN:g} s.",
        f"Check host and port, and that a server of the kind {address.backend!r} can be reached from here.",
    )


def own_connection(given: object) -> dj.Connection:
    """The connection that an argument ``connection=`` stands for; DataJoint's own is made where there is none.

    Raises
    ------
    LinkError
        The server that DataJoint is configured for cannot be reached, or refuses the account.
    """
    try:
        return host.connection_of(given)
    except LinkError:
        raise
    except Exception as error:
        settings = dj.config.database
        text, password = refusals.said(error), settings.password.get_secret_value() if settings.password else ""
        if password:
            text = text.replace(password, "***")
        place, check = f"{settings.host}:{settings.port}", "DJ_HOST, DJ_PORT, DJ_BACKEND, DJ_USER and DJ_PASS"
        if isinstance(error, host.DataJointError):
            raise CredentialsError(text, f"Check {check}, or datajoint.json.") from error
        todo = refusals.remedy(str(error), f"Check {check}, or datajoint.json.")
        is_postgresql = settings.backend == "postgresql"
        if not todo and is_postgresql and answers.find_code(text, settings.host, settings.port) == answers.REFUSED:
            todo = refusals.UNKNOWN.format(check=f"Check {check}, or datajoint.json.")
        if todo:
            raise LoginError(f"The local server {place} refused {settings.user!r}: {text}", todo) from error
        raise UnreachableError(
            f"Cannot connect to the local server {place} as {settings.user!r}: {text}",
            f"It is the one that DataJoint is configured for: check {check}, or datajoint.json, and that it runs.",
        ) from error


class _Attempt:
    """DataJoint's attempt to connect, in a thread that can be left behind: nothing else ends its drivers' waiting."""

    def __init__(self, address: Address, account: Credentials, tls: Tls) -> None:
        self._address, self._account, self._tls = address, account, tls
        # The thread sets these, and then that it has ended.
        self._connection: dj.Connection | None = None
        self._error: BaseException | None = None
        self._ended, self._left = threading.Event(), threading.Event()
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._connect,), name="link-connector", daemon=True).start()

    def has_ended(self, seconds: float) -> bool:
        """Wait for so long."""
        return self._ended.wait(seconds)

    def leave(self) -> None:
        """Let it end by itself, if it has not, and without a word."""
        self._left.set()

    def connection(self) -> dj.Connection:
        """What it has come to; or what is said of that."""
        if self._connection is not None:
            return self._connection
        error, address = self._error, self._address
        if not isinstance(error, Exception) or isinstance(error, LinkError):
            assert error
            raise error
        if address.backend == "postgresql" and _is_mysql(address):
            raise _another_kind(address, "mysql")
        raise _refused(error, address, self._account, self._tls)

    def _connect(self) -> None:
        try:
            self._connection = self._connected()
        except BaseException as error:
            self._error = error
        if self._left.is_set() and self._connection is not None:
            self._connection.close()
        self._ended.set()

    def _connected(self) -> dj.Connection:
        try:
            return self._logged_in(self._tls.settled(self._tls.required is not False))
        except Exception as error:
            if self._tls.required is not None or not encryption.is_refused(str(error)):
                raise
            if not encryption.is_this_machine(self._address.host):
                raise
        return self._logged_in(CLEAR)

    def _logged_in(self, tls: Tls) -> dj.Connection:
        address, account = self._address, self._account
        assert address.port and address.backend  # it is completed
        return connect_by(
            host.Login(
                address.host,
                address.port,
                account.user,
                account.password,
                address.database,
                tls,
                address.backend,
            )
        )


def connect_by(login: host.Login) -> dj.Connection:
    """Connect once more as a connection is that is there, in another process for one."""
    return host.connect(login, site_type(login.backend).connect_for_datajoint)


def site_type(backend: str) -> type[Site]:
    """The kind of site for a backend of DataJoint's.

    Raises
    ------
    UnsupportedServerError
        There is none.
    ConfigError
        Its driver is not installed.
    """
    if backend == "mysql":
        return MySQLSite
    if backend != "postgresql":
        raise UnsupportedServerError(f"DataJoint's backend {backend!r} is not supported.")
    try:
        # Its driver need not be installed where nobody uses it.
        from .postgresql_site import PostgreSQLSite
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"PostgreSQL's driver is not installed: {error}.", 'pip install "datajoint-link[postgres]"'
        ) from error
    return PostgreSQLSite


def completed(address: Address, backend: str) -> Address:
    """An address with what it does not say: the kind of server is ``backend``, the port where such servers are."""
    backend = address.backend or backend
    return Address(address.host, address.port or BACKENDS[backend].port, backend, address.database)


def _is_postgresql(address: Address) -> bool:
    """Whether a server that does not speak first answers PostgreSQL's question for TLS."""
    with contextlib.suppress(OSError), _wire(address) as wire:
        with contextlib.suppress(TimeoutError):
            return not wire.recv(1)  # MySQL's greeting after all: it is asked nothing that it would take amiss
        wire.sendall(_SSL_REQUEST)
        return wire.recv(1) in (b"S", b"N")
    return False


def _is_mysql(address: Address) -> bool:
    """Whether a server speaks first, as MySQL does: the length of a packet, its number 0, and 10, or that it cannot."""
    with contextlib.suppress(OSError), _wire(address) as wire:
        greeting = wire.recv(5)
        return len(greeting) == 5 and greeting[3] == 0 and greeting[4] in (10, 255)
    return False


def _doubt(address: Address, tls: Tls) -> str:
    """What is wrong with the certificate of a PostgreSQL server, of which its driver says little; nothing elsewhere."""
    if address.backend == "postgresql" and tls.ca is not None:
        with contextlib.suppress(OSError), _wire(address) as wire:
            wire.sendall(_SSL_REQUEST)
            if wire.recv(1) == b"S":
                wire.settimeout(2)
                try:
                    encryption.context(tls).wrap_socket(wire, server_hostname=address.host).close()
                except ssl.SSLCertVerificationError as error:
                    return str(error)
    return ""


def _wire(address: Address) -> socket.socket:
    if address.host.startswith("/"):
        raise OSError("a folder of sockets has one kind of server")
    wire = socket.create_connection((address.host, address.port or 0), timeout=2)
    wire.settimeout(0.3)
    return wire


def _another_kind(address: Address, backend: str) -> ConfigError:
    place, title = f"{address.host}:{address.port}", {"mysql": "MySQL or MariaDB", "postgresql": "PostgreSQL"}[backend]
    return ConfigError(
        f"The source server {place} is a {title} server.",
        f"Say so with backend={backend!r}, or in the URL: {backend}://{place}.",
    )


def _refused(error: Exception, address: Address, account: Credentials, tls: Tls) -> LinkError:
    """What DataJoint's connection attempt met, in our words."""
    place, user, text = f"{address.host}:{address.port}", account.user, refusals.said(error)
    text = text.replace(account.password, "***")
    if untrusted := encryption.find_refusal(_doubt(address, tls) or text, f"The source server {place}"):
        return untrusted
    if re.search(r'database ".*" does not exist', text):
        return NotFoundError(
            f"The source server {place} has no such database (user {user!r}): {text}",
            "Name it with database= or in the URL.",
        )
    check = f"Check {account.told_by}."
    todo, code = refusals.remedy(str(error), check), None
    if not todo and address.backend == "postgresql" and not re.search(_NO_ROOM, text, re.IGNORECASE):
        code = answers.find_code(text, address.host, address.port)
    if todo or code == answers.REFUSED:
        todo = todo or refusals.UNKNOWN.format(check=check)
        return LoginError(f"The source server {place} refused the {account.role} {user!r}: {text}", todo)
    if code == answers.NO_ROOM or re.search(_NO_ROOM, text, re.IGNORECASE):
        return ConnectionLimitError(
            f"The source server {place} has no connection left for the {account.role} {user!r}: {text}",
            "End other programs that use this account, or ask the source's administrator for more connections.",
        )
    return UnreachableError(
        f"Cannot connect to the source server {place} as {user!r}: {text}",
        "Check host, port and backend, and that the server runs and can be reached from here.",
    )
