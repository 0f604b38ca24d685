"""The SQL that lets an account in, and out again. Pure text: nothing here connects, and a human runs it.

The rights are the least with which a link works: reading and referencing the source tables with their part tables, and
everything on the helper table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from ..errors import ConfigError
from ..model.layouts import LINK
from ..model.states import TRUE
from .dialect import Dialect, plain

PASSWORD_PLACEHOLDER = "choose-a-password"
#: The table in which DataJoint looks for where attributes come from.
LINEAGE = "~lineage"

#: What somebody gets on which table: rights, each on one column or, where none is named, on all of them.
MemberRights = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a link user gets on the source server.

    Parameters
    ----------
    source_schema : str
        The schema with the source tables.
    tables : sequence of str
        Names of the source tables and of their part tables, as the server knows them.
    helper_schema : str
        The schema for the helper tables.
    helper_tables : sequence of str
        Names of the helper tables.
    user : str
        Name of the link user.
    client_host : str
        The host that the link user connects from, in MySQL's notation; not for PostgreSQL.
    password : str
        Its password.
    database : str, optional
        The PostgreSQL database; ``None`` leaves out its CONNECT, which every role has by default.
    new_user : bool
        Whether the account is created (and, when taking back, dropped) as well.
    has_lineage : bool
        Whether the source schema is known to have DataJoint's table of where attributes come from.
    tracking_tables : sequence of str
        Names of the source's tables in which DataJoint 0.x tells of the objects in its stores.
    require_tls : bool
        Whether a new account is let in by TLS alone.
    """

    source_schema: str
    tables: Sequence[str]
    helper_schema: str
    helper_tables: Sequence[str]
    user: str = "djlink"
    client_host: str = "%"
    password: str = field(default=PASSWORD_PLACEHOLDER, repr=False)
    database: str | None = None
    new_user: bool = True
    has_lineage: bool = False
    tracking_tables: Sequence[str] = ()
    require_tls: bool = True


@dataclass(frozen=True, kw_only=True)
class PipelineAccess:
    """What the link user of a pipeline gets on the source server.

    Parameters
    ----------
    schemas : mapping of str to sequence of str or None
        The schemas of the source, with the names of tables in them, part tables too; None for all there are, and all
        that come.
    helper_schema : str
        The schema for the helper tables, which is the link user's own.
    helper_tables : sequence of str
        Those that are known to be there.
    owners : mapping of str to sequence of str
        Who makes tables in a schema, where that matters and is known.
    lineage : sequence of str
        The schemas that have DataJoint's table of where attributes come from.
    user, client_host, password, database, new_user, require_tls
        As for :class:`Access`.
    """

    schemas: Mapping[str, Sequence[str] | None]
    helper_schema: str
    helper_tables: Sequence[str] = ()
    owners: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lineage: Sequence[str] = ()
    user: str = "djlink"
    client_host: str = "%"
    password: str = field(default=PASSWORD_PLACEHOLDER, repr=False)
    database: str | None = None
    new_user: bool = True
    require_tls: bool = True


@dataclass(frozen=True)
class Statement:
    """One SQL statement without its semicolon; an optional one is printed as a comment.

    One in ``pieces`` has semicolons of its own, which a client must not take for its end.
    """

    sql: str
    why: str = ""
    optional: bool = False
    pieces: bool = False


@dataclass(frozen=True)
class Guarded:
    """A helper table whose rows nobody but the link user shall take away while they hold.

    Attributes
    ----------
    schema, name : str
        The helper table.
    fixed : sequence of str
        The columns that nobody else shall change.
    who : str
        Who holds, in words.
    """

    schema: str
    name: str
    fixed: Sequence[str]
    who: str

    @property
    def refusals(self) -> tuple[str, str]:
        """What is said to whom deletes, or changes something else than the flag; MySQL takes 128 characters."""
        flag, deprecated = LINK.columns["is_flagged"], LINK.columns["is_deprecated"]
        said = (
            f"set {flag} to {TRUE} and wait until {deprecated} says {TRUE}",
            f"nothing but {flag} can be changed here",
        )
        return f"{self.who[:60]}: {said[0]}", f"{self.who[:60]}: {said[1]}"


class Rights(ABC):
    """What is granted on a kind of server, and how it is said.

    Parameters
    ----------
    dialect : Dialect
        How names are written.
    """

    #: Who grants rights on a table; an address follows.
    granter: ClassVar[str]

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    @abstractmethod
    def let_in(self, access: Access) -> list[Statement]:
        """The script that gives an access."""

    @abstractmethod
    def let_out(self, access: Access) -> list[Statement]:
        """The script that takes an access back; no helper row, thus no hold, is lost by it."""

    @abstractmethod
    def drop(self, access: Access | PipelineAccess) -> str:
        """The statement that drops the account of an access."""

    @abstractmethod
    def let_pipeline_in(self, access: PipelineAccess) -> list[Statement]:
        """The script that gives an access to whole schemas, or to tables of several."""

    @abstractmethod
    def let_pipeline_out(self, access: PipelineAccess) -> list[Statement]:
        """The script that takes such an access back; no helper row, thus no hold, is lost by it."""

    @abstractmethod
    def on_table(self, rights: Sequence[str], schema: str, table: str, account: str) -> str:
        """The statements that give rights on a table to an account, each with its semicolon."""

    @abstractmethod
    def of_role(self, role: str, account: str) -> str:
        """The statement that lets an account have the rights of a role that it was given, without asking for them."""

    @abstractmethod
    def on_helper(self, schema: str, table: str, account: str) -> str:
        """The statements that let an account create and use a helper table."""

    @abstractmethod
    def on_schema(self, schema: str, account: str) -> str:
        """The statements that let an account create tables in a schema."""

    @abstractmethod
    def on_temporary(self, place: str, account: str) -> str:
        """The statement that lets an account create temporary tables in a place, which its site knows."""

    @abstractmethod
    def on_lineage(self, schema: str, account: str) -> str:
        """The statements that let an account write down where attributes come from, as DataJoint does."""

    @abstractmethod
    def let_member_in(self, access: Access | PipelineAccess, member: str) -> list[Statement]:
        """The script for a user of the source, who deletes and flags rows there."""

    @abstractmethod
    def guard(self, tables: Sequence[Guarded], user: str) -> list[Statement]:
        """The script that lets nobody but the link user take away helper rows while they hold."""

    @abstractmethod
    def unguard(self, schema: str, tables: Sequence[str]) -> list[Statement]:
        """The script that takes that back."""

    def let_member_out(self, access: Access | PipelineAccess, member: str) -> list[Statement]:
        """The script that takes back what such a user has got."""
        return [
            Statement(plain(f"REVOKE {what} FROM {self.member(member)}"))
            for what in reversed(self.of_member(access.helper_schema, member_rights(access)))
        ]

    @abstractmethod
    def member(self, name: str) -> str:
        """An account of a user of the source, as a GRANT names it."""

    def of_member(self, schema: str, rights: MemberRights) -> list[str]:
        """What a user of the source has in a helper schema: each as ``rights ON table``."""
        return [
            ", ".join(f"{right} ({self.dialect.quote(column)})" if column else right for right, column in some)
            + f" ON {self.dialect.full_name(schema, name)}"
            for name, some in rights.items()
        ]

    def owning(self, schema: str, tables: Iterable[str], account: str) -> str:
        """The statements that make a schema, and tables in it, an account's own; only where they have owners."""
        raise NotImplementedError


def member_rights_on(
    helper: str, parts: Mapping[str, str] = MappingProxyType({}), columns: Mapping[str, str] = LINK.columns
) -> MemberRights:
    """What those get in a helper schema who may delete from the source table: to look, to flag, to clear away.

    Parameters
    ----------
    helper : str
        The helper table.
    parts, columns : mapping of str to str
        Its part tables and its columns by what they say.
    """
    see_and_clear = [("SELECT", ""), ("REFERENCES", ""), ("DELETE", "")]
    flag = [("UPDATE", columns["is_flagged"])] if "is_flagged" in columns else []
    rights = {helper: [*see_and_clear, *flag]}
    rights |= {name: [*see_and_clear, *[("INSERT", "")] * (said == "is_flagged")] for said, name in parts.items()}
    return rights | {LINEAGE: [("SELECT", "")]}


def member_rights(access: Access | PipelineAccess) -> MemberRights:
    """The same on all helper tables of an access."""
    return {name: some for helper in access.helper_tables for name, some in member_rights_on(helper).items()}


def checked(name: str, fits: bool, what: str) -> str:
    """A name that can be one; raises ConfigError for any other."""
    if not name or "\0" in name or not fits:
        raise ConfigError(f"{name!r} cannot be {what}: it is empty, too long, or holds a NUL.")
    return name


def dropping(statements: Iterable[str]) -> list[Statement]:
    """Dropping helper tables, and what belongs to them; nobody has to."""
    why = (
        "The helper table stays, and its rows go on holding; a guard is taken away by datajoint-link guard --remove.\n"
        "When nobody has copies any more:"
    )
    return because(why, statements, optional=True)


def because(why: str, statements: Iterable[str], optional: bool = False) -> list[Statement]:
    """Statements, the first of them with the reason for all."""
    return [Statement(sql, "" if i else why, optional) for i, sql in enumerate(statements)]
