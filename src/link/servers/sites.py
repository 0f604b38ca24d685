"""Which site stands behind a connection, an address, the name of a backend: the one place that tells kinds apart."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import datajoint as dj

from .. import host, logs, mends
from ..accounts import Credentials, logged_in
from ..addresses import Address, require_databases
from ..errors import ConfigError, LinkError
from ..links_file import NamedSource
from ..model.backends import BACKENDS
from ..tls import CLEAR, Tls, parse_tls
from . import encryption
from .connecting import completed, connect, site_type
from .mysql import MySQL
from .mysql_rights import MySQLRights
from .postgresql import PostgreSQL
from .postgresql_rights import PostgreSQLRights
from .rights import Rights
from .site import Site

logger = logging.getLogger("link")

# No server is used before: neither by what comes from a pickle, nor by a module that is imported by its own name.
logs.join()
mends.mend()

_RIGHTS: dict[str, Rights] = {"mysql": MySQLRights(MySQL()), "postgresql": PostgreSQLRights(PostgreSQL())}


class _Registry:
    """Sites by what they are found by, as long as somebody else holds them."""

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Begin anew. A forked child must not use its parent's sockets, nor wait for locks of its parent's threads."""
        self._lock = threading.Lock()
        self._sites: WeakValueDictionary[Any, Site] = WeakValueDictionary()
        self._turns: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()

    def find(self, key: Hashable, make: Callable[[], Site]) -> Site:
        """The site of a key. Threads that ask for the same get the same; those that ask for another do not wait."""
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            site = self._sites.get(key)
            if site is None:
                site = self._sites[key] = make()
            return site

    def known(self) -> list[tuple[Any, Site]]:
        """What there is by now."""
        with self._lock:
            return list(self._sites.items())


#: By the connection's id: it cannot be hashed, and lives as long as its site.
_of_connections = _Registry()
_of_accounts = _Registry()


def site_of(connection: dj.Connection) -> Site:
    """The site of a connection of DataJoint's; always the same for the same connection.

    Raises
    ------
    UnsupportedServerError
        A backend, or a version of a server, that this package does not speak.
    """
    return _of_connections.find(id(connection), lambda: site_type(host.backend(connection))(connection))


def source_site(address: Address, account: Credentials, tls: Tls, backend: str) -> Site:
    """The site of a source server, of the kind ``backend`` unless its address says so.

    All links of a process to the same server and account share it, and with it DataJoint's connection; by whatever
    names the server was reached.

    Raises
    ------
    LinkError
        The server cannot be reached, or refuses the account, or is not supported.
    """
    login = (account.user, account.password, tls)
    key = (require_databases(completed(address, backend)), login)
    return _of_accounts.find(key, lambda: _connected_site(connect(address, account, tls, backend), login))


class Way(NamedTuple):
    """How a source server is reached: all but the password, which is found where it is to be connected."""

    address: Address
    named: NamedSource | None
    tls: Tls
    backend: str


def reach(way: Way) -> Site:
    """The site of a source server, by the account that this process has for it."""
    site = logged_in(way.named, lambda account: source_site(way.address, account, way.tls, way.backend))
    host.pickle_as(site.connection, _arrive, way)
    return site


#: Sites, by address and user, to which only queries lead that came from other processes: more of these will come.
_arrived: dict[tuple[str, str], Site] = {}


def _arrive(way: Way) -> dj.Connection:
    known = [site for _, site in _of_accounts.known()]
    site = reach(way)
    if site not in known:
        _arrived[site.address, site.user] = site
    return site.connection


@contextlib.contextmanager
def visiting(address: Address, account: Credentials, backend: str | None) -> Iterator[Site]:
    """The site of a server for a while, by a connection of its own, which is closed then.

    It is encrypted as DataJoint's own would be, but for what comes of it: see :class:`~link.tls.Tls`.
    """
    connection = connect(address, account, parse_tls(host.use_tls_of_process()), backend_meant(address, backend))
    try:
        site = site_of(connection)
        site.guard_queries()
        yield site
    finally:
        connection.close()


def _connected_site(connection: dj.Connection, login: Hashable) -> Site:
    try:
        site = site_of(connection)
        if known := _by_another_name(site, login):
            connection.close()
            return known
        site.guard_queries()
        _tell(site)
        return site
    except LinkError:
        connection.close()
        raise


def _tell(site: Site) -> None:
    """Say that there is a connection, and if it can be read on its way."""
    login = site.login
    encrypted = login.tls != CLEAR
    connected = f"Connected to the source server {site.address} as {site.user}"
    if encrypted or encryption.is_this_machine(login.host):
        logger.info(f"{connected}{' by TLS' * encrypted}.")
    else:
        logger.warning(f"{connected}, not encrypted (use_tls=False): what goes there can be read on its way.")


def _by_another_name(site: Site, login: Hashable) -> Site | None:
    """The site of the same server and account that goes by another name already."""
    for (_, known_login), known in _of_accounts.known():
        said = known.facts.place, known.facts.account
        if known_login == login and said == (site.facts.place, site.facts.account):
            with contextlib.suppress(LinkError):  # it may be gone, and what is known of it with it
                if known.is_server_of(site):
                    return known
    return None


def backend_meant(address: Address | None, backend: str | None) -> str:
    """The kind of server: what its address says, else what is said beside it, else the first that there is."""
    return (address and address.backend) or backend or next(iter(BACKENDS))


def rights_for(backend: str) -> Rights:
    """What is granted on servers of a backend.

    Raises
    ------
    ConfigError
        No such backend is known.
    """
    try:
        return _RIGHTS[backend]
    except KeyError:
        raise ConfigError(f"backend={backend!r} is not known.", f"Use one of {', '.join(BACKENDS)}.") from None
