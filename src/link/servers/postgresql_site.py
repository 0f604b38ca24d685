"""PostgreSQL 14 and later as a site."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import datajoint as dj
import psycopg2

from .. import host
from ..errors import LinkError, PrivilegeError, UnreachableError
from ..host import Login
from ..model.served import digest
from ..tls import Tls
from . import answers, encryption, settings
from .dialect import plain
from .interrupting import stoppable
from .postgresql_catalogue import PostgreSQLCatalogue
from .postgresql_definitions import PostgreSQLDefinitions
from .postgresql_rights import PostgreSQLRights
from .postgresql_session import NUMBER, PostgreSQLSession, setting_up, translate
from .session import Session
from .site import Facts, Site

#: With client_connection_check_interval.
_OLDEST = 140000
#: Where sessions are of who names no database, as DataJoint's.
_DATABASE = "postgres"


class PostgreSQLSite(Site):
    """A database of a PostgreSQL server as one account."""

    driver_errors = (psycopg2.Error,)
    catalogue_type = PostgreSQLCatalogue
    definitions_type = PostgreSQLDefinitions
    rights_type = PostgreSQLRights
    number_query = NUMBER
    closed_query = f"SHOW {settings.POSTGRESQL_CLOSED}"
    version_query = "SELECT current_setting('server_version_num'), current_setting('server_version')"

    def temporary_place(self, schema: str) -> str:
        return self.database

    def __init__(self, connection: dj.Connection) -> None:
        super().__init__(connection)
        self.rights = PostgreSQLRights(self.dialect, host.driver(connection).server_version >= 160000)

    @property
    def database(self) -> str:
        """The database that sessions are on."""
        return self.login.database or _DATABASE

    def translate(self, error: Exception) -> LinkError:
        return translate(error, self.address, self.user)

    def lives(self) -> bool:
        # After an error in a transaction the server does not answer a ping, but it is there.
        return super().lives() or not host.driver(self.connection).closed

    @staticmethod
    def browsing(driver: Any) -> str:
        return setting_up(driver, browsing=True)

    @staticmethod
    def connect_for_datajoint(connect: Callable[..., Any], login: Login, **settings: Any) -> Any:
        return _connect(login)

    def offers_tls(self) -> bool:
        return self._asked(host.driver(self.connection), "SHOW ssl") == ("on",)

    @staticmethod
    def is_encrypted(driver: Any) -> bool:
        return bool(driver.info.ssl_in_use)

    @staticmethod
    def told_number(driver: Any) -> int:
        return int(driver.info.backend_pid)

    @staticmethod
    def find_outdated(*told: str) -> tuple[str, str] | None:
        number, version = told
        if int(number) >= _OLDEST:
            return None
        return (
            f"runs PostgreSQL {version}, which does not notice when a client is gone",
            "PostgreSQL 14 is the oldest supported. Upgrade it with pg_upgrade, or move its schemas to a newer server "
            "with pg_dump.",
        )

    def _opened(self, driver: Any, packet: int | None) -> Session:
        session = PostgreSQLSession(driver, self.address, self.user, lambda: self._stop(session.number))
        return session

    def _stop(self, number: int) -> None:
        # The driver's own cancel() lets no thread run until the server has answered, or for ever where it is gone.
        with (
            contextlib.suppress(LinkError, psycopg2.Error),
            contextlib.closing(self._connect()) as other,
            other.cursor() as cursor,
        ):
            cursor.execute("SELECT pg_cancel_backend(%s)", (number,))

    @contextlib.contextmanager
    def ended_with_us(self) -> Iterator[None]:
        with stoppable(lambda: self._stop(self.told_number(host.driver(self.connection)))), super().ended_with_us():
            yield

    def _connect(self) -> Any:
        try:
            return _connect(self.login)
        except psycopg2.Error as error:
            told = self.translate(error)
            if type(told) is not UnreachableError:
                raise told from error
            code = answers.find_code(str(error), self.login.host, self.login.port)
            if code != answers.REFUSED:
                raise translate(error, self.address, self.user, code) from error
        # Everybody is let in by now: what was refused may have been that alone.
        try:
            return _connect(self.login)
        except psycopg2.Error as error:
            raise translate(error, self.address, self.user, code) from error

    def find_unfit(self, session: Session) -> tuple[str, str] | None:
        replica, role, damaged = session.query(
            "SELECT pg_is_in_recovery(), current_setting('session_replication_role'), "
            "current_setting('zero_damaged_pages')"
        )[0]
        if replica:
            return "is a replica, which takes no changes", "Link with the server that it follows."
        if role != "origin":
            return (
                f"opens sessions of {self.user!r} with session_replication_role = {role}: foreign keys, by which rows "
                "are held, are not checked there",
                f"As administrator: ALTER ROLE {self.facts.account} RESET session_replication_role, or the same for "
                "the database.",
            )
        if damaged != "off":
            return (
                "shows damaged pages as empty (zero_damaged_pages): rows may be missing in silence",
                "Link with it when it is mended.",
            )
        return None

    def read_facts(self, session: Session) -> Facts:
        port, address = session.query("SELECT current_setting('port'), inet_server_addr()")[0]
        system, timeline = _system(session)
        where = f"database {self.database}, port {port}"
        lasting = f"{system}/{self.database}" if system else None
        return Facts(
            name=digest(lasting) if lasting else digest(self.login.host, str(self.login.port), self.database),
            lasting_identity=lasting,
            place=f"{where}, system {system}, timeline {timeline}" if lasting else where,
            unlike=f"{lasting} {timeline} {port} {address}" if lasting else None,
            host_name=None,
            account=plain(session.dialect.quote(self.user)),
            packet=None,
            small_letters=False,
        )


def _connect(login: Login) -> Any:
    # Of a mapping of its own DataJoint takes no more than that there is to be TLS.
    tls = login.tls if isinstance(login.tls, Tls) else Tls(required=True)
    driver = psycopg2.connect(
        host=login.host,
        port=login.port,
        user=login.user,
        password=login.password,
        dbname=login.database or _DATABASE,
        # The driver writes in what it is told here, whatever is set later.
        client_encoding="UTF8",
        connect_timeout=10,
        # A server that is gone without a word is noticed within two minutes, also in the middle of sending.
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
        tcp_user_timeout=120_000,
        application_name="datajoint-link",
        **encryption.settings(tls),
    )
    driver.autocommit = True
    return driver


def _system(session: Session) -> tuple[str, str]:
    """The number that a server has from its beginning, and its timeline, which is another's after a restored copy."""
    try:
        system, timeline = session.query(
            "SELECT system_identifier, timeline_id FROM pg_control_system(), pg_control_checkpoint()"
        )[0]
    except PrivilegeError:
        return "", ""  # an administrator has taken that right from everybody
    return str(system), str(timeline)
