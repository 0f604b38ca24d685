"""One server as one account: what it says of itself, read once, and sessions on it.

All links of a process to the same server and account share one site, and with it DataJoint's own connection: their
tables can be joined and restricted with one another, and threads take turns on it.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import datajoint as dj

from .. import host
from ..errors import LinkError, UnreachableError, UnsupportedServerError
from ..host import Login
from ..tls import CLEAR
from .catalogue import Catalogue
from .definitions import Definitions
from .rights import Rights
from .session import Session, require_taken

#: Characters of the longest query of DataJoint's that is sent to a source. Our own lists of keys travel as values, in
#: batches.
LONGEST_QUERY = 1_000_000


@dataclass(frozen=True)
class Facts:
    """What a server says of itself, and of the account.

    Attributes
    ----------
    name : str
        By which origins of attributes go: the same by whatever address the server was reached.
    lasting_identity : str or None
        What this server answers for as long as its data live; None where there is nothing of the kind.
    place : str
        Where it says that it is; one that was moved, or a copy elsewhere, says something else.
    unlike : str or None
        What no other server answers, not even one that began as a copy of the same files; None where servers can look
        alike.
    host_name : str or None
        The machine that it says it runs on; None where it does not tell, or where a container's says nothing.
    account : str
        The account as a GRANT names it.
    packet : int or None
        Bytes of the longest statement that it takes; None where there is no limit.
    small_letters : bool
        Whether it changes names of schemas and tables to small letters.
    """

    name: str
    lasting_identity: str | None
    place: str
    unlike: str | None
    host_name: str | None
    account: str
    packet: int | None
    small_letters: bool


def lasting_name(host_name: str) -> str | None:
    """What of a machine's name stays: not what the network adds to it; nothing of one made up for a container."""
    name = host_name.partition(".")[0].lower()
    made_up = re.fullmatch(r"[0-9a-f]{12}|.*-[0-9a-f]{8,10}-[0-9a-z]{5}", name)
    return None if made_up else name


class Site(ABC):
    """One server as one account. Making one connects, and reads the facts.

    Parameters
    ----------
    connection : datajoint.Connection
        DataJoint's connection to the server. Its address and account are used for sessions of our own, so that
        transfers run beside the user's queries and never inside a transaction of hers.

    Raises
    ------
    UnsupportedServerError
        The server is too old, or a pool that lends sessions.
    UnreachableError
        It does not answer.

    Attributes
    ----------
    address : str
        Host and port, for messages.
    user : str
        The account.
    turn : threading.RLock
        DataJoint's connections serve one thread at a time: who uses it takes this.
    """

    driver_errors: ClassVar[tuple[type[Exception], ...]]
    catalogue_type: ClassVar[type[Catalogue]]
    definitions_type: ClassVar[type[Definitions]]
    rights_type: ClassVar[type[Rights]]
    #: Asks a session for its number.
    number_query: ClassVar[str]
    #: Asks whether a session changes nothing.
    closed_query: ClassVar[str]
    #: Asks for the server's version.
    version_query: ClassVar[str]

    def __init__(self, connection: dj.Connection) -> None:
        self.connection = connection
        login = host.login(connection)
        self.login = login if self.is_encrypted(host.driver(connection)) else replace(login, tls=CLEAR)
        self.user = self.login.user
        self.address = f"{self.login.host}:{self.login.port}"
        self.turn = threading.RLock()
        self._telling = threading.Lock()
        self._told: list[object] = []  # a list: not all that is told of can be hashed
        with contextlib.closing(self._opened(self._first_connection(), None)) as session:
            self.dialect = session.dialect
            self.facts = self.read_facts(session)
            self._unfit = self.find_unfit(session)
        self.definitions = self.definitions_type(self.dialect)
        self.rights = self.rights_type(self.dialect)

    def open(self) -> Session:
        """Open a session."""
        return self._opened(self._connect(), self.facts.packet)

    @abstractmethod
    def _connect(self) -> Any:
        """Connect with the address, account and encryption of DataJoint's connection, by the driver."""

    @abstractmethod
    def _opened(self, driver: Any, packet: int | None) -> Session:
        """A session on a connection, knowing the longest statement that the server takes, or nothing."""

    def _first_connection(self) -> Any:
        """A connection to a server that can be worked with, asked before anything is set in it.

        Raises
        ------
        UnsupportedServerError
            The server is too old: it may not even know what is to be set. Or a pool in between lends sessions.
        """
        first = self._connect()
        try:
            self._require_own_session(first)
            if outdated := self.find_outdated(*self._asked(first, self.version_query)):
                raise UnsupportedServerError(
                    f"The server {self.address} {outdated[0]}.",
                    f"{outdated[1]} A newer replica of it will not do at the source: rows are held on the server on "
                    "which they are changed.",
                )
        except BaseException:
            first.close()
            raise
        return first

    def _require_own_session(self, first: Any) -> None:
        """Raise UnsupportedServerError for a session that is not a connection's own from one statement to the next.

        A pool that lends sessions keeps no settings and no advisory locks; what is set there others get. It is noticed
        before anything is set: the number of the session is not the one that was told when it was connected.
        """
        number = self._asked_number(first)
        if self.told_number(first) == number:
            return
        with contextlib.closing(self._connect()) as second:
            # Whatever its order, it gives the same one to both, or two to one.
            others = [self._asked_number(second) for _ in range(2)]
            if number in others or len(set(others)) > 1 or self._asked_number(first) != number:
                raise UnsupportedServerError(
                    f"At {self.address} is a pool that lends each session to many clients by turns: settings "
                    "and advisory locks, by which runs know of one another, do not last there.",
                    "Link through the server itself, or through a pool in session mode.",
                )

    def _asked_number(self, driver: Any) -> int:
        return int(self._asked(driver, self.number_query)[0])

    def _asked(self, driver: Any, query: str) -> tuple[Any, ...]:
        """The one row that answers a query, by the bare driver."""
        try:
            with driver.cursor() as cursor:
                cursor.execute(query)
                return tuple(cursor.fetchone())
        except self.driver_errors as error:
            raise self.translate(error) from error

    @staticmethod
    @abstractmethod
    def find_outdated(*told: str) -> tuple[str, str] | None:
        """What a server that is too old runs and lacks, by the answer to `version_query`, and what to do."""

    @staticmethod
    @abstractmethod
    def connect_for_datajoint(connect: Callable[..., Any], login: Login, **settings: Any) -> Any:
        """Connect the driver as DataJoint's ``connect`` does by its ``settings``, but encrypted as the login says."""

    @abstractmethod
    def offers_tls(self) -> bool:
        """Whether the server encrypts who wants it."""

    @staticmethod
    @abstractmethod
    def is_encrypted(driver: Any) -> bool:
        """Whether a connection is encrypted."""

    @staticmethod
    @abstractmethod
    def told_number(driver: Any) -> int:
        """The number of a session at the server, as it was told when it was connected."""

    @abstractmethod
    def find_unfit(self, session: Session) -> tuple[str, str] | None:
        """How a server is set up that no link can work with, if it is, and what to do; no session may set it."""

    def require_fit(self) -> None:
        """Raise UnsupportedServerError for a server that is set up so that no link can work."""
        if self._unfit:
            with self.session() as session:  # it may have been mended
                self._unfit = self.find_unfit(session)
        if self._unfit:
            raise UnsupportedServerError(f"The server {self.address} {self._unfit[0]}.", self._unfit[1])

    @abstractmethod
    def read_facts(self, session: Session) -> Facts:
        """Ask the server what it is."""

    @abstractmethod
    def translate(self, error: Exception) -> LinkError:
        """What the driver has raised, as an error of this package."""

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A session that is closed in the end."""
        with contextlib.closing(self.open()) as session:
            yield session

    @contextlib.contextmanager
    def catalogue(self) -> Iterator[Catalogue]:
        """The catalogue, read through a session that is closed in the end."""
        with self.session() as session:
            yield self.catalogue_type(session)

    # which server it is

    def is_server_of(self, other: Site) -> bool:
        """Whether both are on one server, whatever it says of itself: a lock taken here is seen there."""
        if self.dialect.name != other.dialect.name:
            return False
        space, name = secrets.randbelow(2**31), secrets.randbelow(2**31)
        with self.session() as here, other.session() as there:
            here.lock((space, name), wait=False)
            return name in there.locked(space, [name])

    @property
    def known_as(self) -> str:
        """What others know the server by: not the loopback that it is reached by from its own machine."""
        typed = self.login.host
        if typed.startswith(("/", "127.")) or typed.lower() in ("localhost", "::1"):
            here = socket.gethostname()
            return self.facts.host_name or (here if lasting_name(here) else "a container")
        return typed

    # what is said of it

    def grant_hint(self, rights: Sequence[str], schema: str, table: str) -> str:
        """Who gives this account rights on a table, and the GRANT."""
        grant = self.rights.on_table(rights, schema, table, self.facts.account)
        return f"{self.rights.granter} {self.address}: {grant}"

    def role_hint(self, roles: Sequence[str]) -> str:
        """Who lets this account have the rights of roles that it was given, if there are such; after another hint."""
        if not roles:
            return ""
        statement = self.rights.of_role(roles[0], self.facts.account)
        return (
            f"\n  → The rights of a role that the account has do not count, for it is not active ({', '.join(roles)}). "
            f"As administrator of {self.address}: {statement}"
        )

    def grant_helper_hint(self, schema: str, table: str) -> str:
        """Who lets this account create and use a helper table, and the GRANT."""
        return f"As administrator of {self.address}: {self.rights.on_helper(schema, table, self.facts.account)}"

    def grant_schema_hint(self, schema: str) -> str:
        """Who lets this account create tables in a schema, and the GRANT."""
        return f"As administrator of {self.address}: {self.rights.on_schema(schema, self.facts.account)}"

    def grant_temporary_hint(self, schema: str) -> str:
        """Who lets this account create temporary tables beside those of a schema, and the GRANT."""
        grant = self.rights.on_temporary(self.temporary_place(schema), self.facts.account)
        return f"As administrator of {self.address}: {grant}"

    def temporary_place(self, schema: str) -> str:
        """The schema or database on which there is the right to create temporary tables beside those of a schema."""
        return schema

    def is_news(self, what: object) -> bool:
        """Whether something about this server has not been told before; from now on it has."""
        with self._telling:
            news = what not in self._told
            if news:
                self._told.append(what)
            return news

    # DataJoint's own connection

    @contextlib.contextmanager
    def in_our_words(self) -> Iterator[None]:
        """What DataJoint's own connection to this server meets, as an error of this package."""
        try:
            yield
        except host.LostConnectionError as error:
            raise UnreachableError(
                f"Lost the connection to {self.address} as {self.user!r}.", "Run the same again."
            ) from error
        except self.driver_errors as error:
            raise self.translate(error) from error

    def guard_queries(self) -> None:
        """Let all queries on DataJoint's own connection, of which nobody else knows, be told in our words.

        Threads take turns, and a connection that was lost is taken up again, which DataJoint does not everywhere. What
        a session inherits cuts no result there either.
        """
        self._prepare_browsing()
        host.after_connecting(self.connection, self._prepare_browsing)
        host.route_queries(self.connection, self._ask)

    def _prepare_browsing(self) -> None:
        with self.in_our_words(), host.driver(self.connection).cursor() as cursor:
            cursor.execute(self.browsing(host.driver(self.connection)))

    @abstractmethod
    def _stop(self, number: int) -> None:
        """Ask the server to stop what the session of a number is running; errors do not matter."""

    @staticmethod
    @abstractmethod
    def browsing(driver: Any) -> str:
        """The statement that prepares a connection of DataJoint's for browsing."""

    def room_for(self, longest: int, times: int) -> int:
        """How long a text may be, at the longest, that a statement can have so many times."""
        packet = self.facts.packet
        return longest if packet is None else min(longest, packet // times)

    def require_short(self, sql: str) -> None:
        """Raise LinkError for a text that the server does not take, or takes too long to read: a long list of keys."""
        if len(sql) > LONGEST_QUERY:
            raise LinkError(
                f"A query of {len(sql):,} characters is not sent to {self.address}: more than {LONGEST_QUERY:,} keep a "
                "server busy for minutes or hours, whether or not somebody still waits for the answer.",
                "Restrict by a condition or by another table there, rather than by a long list of keys; or take the "
                "list in parts of some thousand keys.",
            )

        if self.facts.packet is not None:
            require_taken(sql, self.facts.packet, self.address)

    def _ask(self, sql: str, ask: Callable[[], Any]) -> Any:
        self.require_short(sql)
        with self.turn:
            # What may have changed something is not sent twice.
            if sql.lstrip().upper().startswith(("SELECT", "SHOW")) and not host.in_transaction(self.connection):
                with contextlib.suppress(UnreachableError), self.ended_with_us(), self.in_our_words():
                    return ask()
                with self.in_our_words():
                    self.revive()
            with self.ended_with_us(), self.in_our_words():
                return ask()

    @contextlib.contextmanager
    def ended_with_us(self) -> Iterator[None]:
        """Stop the query at the server, too, when the user stops waiting for it."""
        try:
            yield
        except KeyboardInterrupt:
            self._stop(self.told_number(host.driver(self.connection)))
            raise

    @contextlib.contextmanager
    def in_one_session(self) -> Iterator[None]:
        """Let what is done on DataJoint's own connection fail when the connection is lost; in our words.

        DataJoint would connect anew. It then tells of a transaction that is gone, but not while it reads definitions,
        as it does between two statements of a deletion: the next would be kept, whatever became of the others.
        Threads take turns.
        """
        with self.turn, self.in_our_words():
            self.revive()
            with host.without_reconnecting(self.connection):
                yield

    @contextlib.contextmanager
    def uncut(self) -> Iterator[None]:
        """Let no limit of the user's own session cut what DataJoint reads on its connection meanwhile."""
        yield

    def in_transaction(self) -> bool:
        """Whether a transaction is open on DataJoint's own connection, but for a deletion's in another thread."""
        if not self.turn.acquire(blocking=False):
            return False
        try:
            return host.in_transaction(self.connection) and self.lives()
        finally:
            self.turn.release()

    def revive(self) -> None:
        """Connect DataJoint's own connection anew if it is lost; what was open on it is rolled back.

        So it is if it was made while the server took no changes, which it would not do ever after.
        """
        if not self.lives() or (not host.in_transaction(self.connection) and self._is_closed()):
            host.reconnect(self.connection)

    def _is_closed(self) -> bool:
        """Whether DataJoint's own connection changes nothing."""
        return str(self._asked(host.driver(self.connection), self.closed_query)[-1]).lower() == "on"

    def lives(self) -> bool:
        """Whether DataJoint's own connection is there."""
        return host.answers(self.connection)
