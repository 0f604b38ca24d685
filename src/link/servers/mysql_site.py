"""MySQL 8.0.17 and later, and MariaDB 10.6 and later, as sites."""

from __future__ import annotations

import contextlib
import functools
import re
import ssl
from collections.abc import Callable, Iterator
from typing import Any, cast

import datajoint as dj
import pymysql
from pymysql.constants import CLIENT, CR

from .. import host
from ..errors import LinkError, PrivilegeError
from ..host import Login
from ..model.served import digest
from ..tls import Tls
from . import encryption, mysql_wire, settings
from .dialect import Dialect, plain
from .mysql import MariaDB
from .mysql_catalogue import MySQLCatalogue
from .mysql_definitions import MySQLDefinitions
from .mysql_rights import MySQLRights
from .mysql_session import MySQLSession, RawColumns, setting_up, translate
from .session import Session
from .site import Facts, Site, lasting_name

#: What tells whether a link can work: of each server those that it has.
_TELLING = ("wsrep_on", "log_bin", "binlog_format")
_OLDEST = {"MySQL": (8, 0, 17), "MariaDB": (10, 6)}
_ROW_FORMAT = "SET SESSION binlog_format = 'ROW'"


class MySQLSite(Site):
    """A MySQL or MariaDB server as one account."""

    driver_errors = (pymysql.MySQLError,)
    catalogue_type = MySQLCatalogue
    definitions_type = MySQLDefinitions
    rights_type = MySQLRights
    number_query = "SELECT CONNECTION_ID()"
    closed_query = "SHOW VARIABLES WHERE Variable_name IN ('transaction_read_only', 'tx_read_only')"
    version_query = "SELECT VERSION()"

    def __init__(self, connection: dj.Connection) -> None:
        self._raw_columns = RawColumns()
        self._set_row_format = False
        super().__init__(connection)

    def translate(self, error: Exception) -> LinkError:
        return translate(error, self.address, self.user)

    @staticmethod
    def browsing(driver: Any) -> str:
        return setting_up(driver, browsing=True)

    @contextlib.contextmanager
    def uncut(self) -> Iterator[None]:
        with host.driver(self.connection).cursor() as cursor:
            cursor.execute("SELECT @@sql_select_limit")
            (limit,) = cursor.fetchone() or (0,)
            if limit == settings.NO_LIMIT:
                yield
                return
            cursor.execute(f"SET SESSION sql_select_limit = {settings.NO_LIMIT}")
            try:
                yield
            finally:
                cursor.execute(f"SET SESSION sql_select_limit = {limit}")

    @staticmethod
    def connect_for_datajoint(connect: Callable[..., Any], login: Login, **settings: Any) -> Any:
        tls = _tls(login)
        return _encrypted(connect(**settings | {"use_tls": tls}), tls)

    def offers_tls(self) -> bool:
        return bool(host.driver(self.connection).server_capabilities & CLIENT.SSL)

    @staticmethod
    def is_encrypted(driver: Any) -> bool:
        return bool(getattr(driver, "_secure", False))

    @staticmethod
    def told_number(driver: Any) -> int:
        return int(driver.thread_id())

    @staticmethod
    def find_outdated(*told: str) -> tuple[str, str] | None:
        [version] = told
        kind = "MariaDB" if "MariaDB" in version else "MySQL"
        number = tuple(int(n) for n in re.findall(r"\d+", version)[:3])
        if number >= _OLDEST[kind]:
            return None
        lacked = "JSON_TABLE, by which lists of keys are sent"
        if kind == "MySQL" and number >= (8,):
            lacked = "the collation utf8mb4_0900_bin, by which texts are told apart"
        return (
            f"runs {kind} {version.partition('-')[0]}, which lacks {lacked}",
            f"{kind} {'.'.join(map(str, _OLDEST[kind]))} is the oldest supported. Upgrade it in place (MySQL 5.6 by "
            "way of 5.7), or move its schemas to a newer server with mysqldump.",
        )

    def _opened(self, driver: Any, packet: int | None) -> Session:
        stop = functools.partial(self._stop, self.told_number(driver))
        session = MySQLSession(driver, self.address, self.user, stop, self._raw_columns, packet)
        if self._set_row_format:
            session.execute(_ROW_FORMAT)
        return session

    def _stop(self, number: int) -> None:
        with contextlib.suppress(LinkError, pymysql.MySQLError, OSError), contextlib.closing(self._connect()) as other:
            other.query(f"KILL QUERY {number}")

    @contextlib.contextmanager
    def ended_with_us(self) -> Iterator[None]:
        try:
            with super().ended_with_us():
                yield
        except KeyboardInterrupt:
            mysql_wire.drop(host.driver(self.connection))  # it may have been sent only in part
            raise

    def _connect(self) -> Any:
        tls = _tls(self.login)
        try:
            driver = pymysql.connect(
                host=self.login.host,
                port=self.login.port,
                user=self.login.user,
                password=self.login.password,
                # MySQL wants a default schema, any, for a table function in a joined UPDATE.
                database="information_schema",
                charset="utf8mb4",
                autocommit=True,
                ssl=cast(Any, tls or None),
                ssl_disabled=not tls,
            )
            return _encrypted(driver, tls)
        except (pymysql.MySQLError, OSError) as error:
            raise self.translate(error) from error

    def read_facts(self, session: Session) -> Facts:
        host_name, port, folder, account, packet, letters = session.query(
            "SELECT @@hostname, @@port, @@datadir, CURRENT_USER(), @@max_allowed_packet, @@lower_case_table_names"
        )[0]
        number = _number(session)
        said = (number, str(host_name), str(port), str(folder))
        lasting = None if isinstance(session.dialect, MariaDB) else number
        machine = lasting_name(str(host_name))
        return Facts(
            name=digest(lasting) if lasting else digest(*said),
            lasting_identity=lasting,
            place=f"{machine or 'a container'}, port {port}, {folder}{f', number {lasting}' if lasting else ''}",
            unlike=" ".join(said) if lasting else None,
            host_name=str(host_name) if machine else None,
            account=_account(session.dialect, str(account)),
            packet=int(packet),
            small_letters=letters == 1,
        )

    def find_unfit(self, session: Session) -> tuple[str, str] | None:
        marks = ", ".join(["%s"] * len(_TELLING))
        told = dict(session.query(f"SHOW VARIABLES WHERE Variable_name IN ({marks})", _TELLING))
        if told.get("wsrep_on", "OFF").upper() not in ("OFF", "0"):
            return (
                "is a node of a Galera cluster: advisory locks, by which runs know of one another, are of one node",
                "Link with a server that is no cluster, such as a replica of the cluster for this purpose.",
            )
        if told["log_bin"] == "ON" and told["binlog_format"] == "STATEMENT":
            try:
                session.execute(_ROW_FORMAT)
                self._set_row_format = True
            except PrivilegeError:
                return (
                    "logs statements (binlog_format = STATEMENT), and refuses all changes of an account that reads "
                    "what is committed",
                    "As its administrator: SET PERSIST binlog_format = ROW (on MariaDB SET GLOBAL, and in its file of "
                    f"settings); or let the account {self.facts.account} set it for its own sessions: GRANT "
                    "SESSION_VARIABLES_ADMIN (MySQL) or BINLOG ADMIN (MariaDB) ON *.*.",
                )
        return None


def _number(session: Session) -> str:
    """The number that a server has from its beginning. MariaDB's is made of the machine's; its older ones have none."""
    return "".join(str(value) for _, value in session.query("SHOW GLOBAL VARIABLES LIKE 'server_u%%id'"))


def _account(dialect: Dialect, named: str) -> str:
    """The account as the server knows it, whose host need not be ``%``."""
    user, _, client_host = named.rpartition("@")
    return plain(f"{dialect.text(user)}@{dialect.text(client_host)}")


def _encrypted(driver: Any, tls: object) -> Any:
    """A connection, but for one in the clear where there was to be TLS: before 1.2 the driver goes on without."""
    if tls and not MySQLSite.is_encrypted(driver):
        driver.close()
        raise pymysql.OperationalError(CR.CR_SSL_CONNECTION_ERROR, "SSL is required but the server has none")
    return driver


def _tls(login: Login) -> ssl.SSLContext | dict[str, Any] | bool:
    """What the driver is told: no text, of which it makes what is merely preferred; False for none."""
    if not isinstance(login.tls, Tls):
        return dict(login.tls)
    return encryption.context(login.tls) if login.tls.required else False
