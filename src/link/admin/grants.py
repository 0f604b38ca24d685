"""The SQL that a source administrator runs to let a link user in, and to let it out again.

Nothing here changes a server: the text is printed, read by a human and run by a human. The statements are those of
:mod:`link.servers.rights`; here tables are looked up, and the script is put together.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..accounts import Credentials
from ..addresses import Address
from ..errors import ConfigError, NotFoundError
from ..host import table_of
from ..model.legacy import TRACKING
from ..model.schema import TIER_PREFIXES, nearest, part_name, part_names
from ..servers.rights import LINEAGE, Access, Statement
from ..servers.sites import backend_meant, rights_for, visiting
from .known import Known, given, held_of, know, taken


def grants(
    access: Access,
    *,
    backend: str | None = None,
    address: Address | None = None,
    administrator: Credentials | None = None,
    revoke: bool = False,
    members: Sequence[str] = (),
) -> str:
    """Return the script that gives `access`, or takes it back.

    Parameters
    ----------
    access : Access
        Its tables may be class names; they are looked up if an address is given.
    backend : str, optional
        ``"mysql"`` (MariaDB as well) or ``"postgresql"``, where the address does not say it; default: ``"mysql"``.
    address, administrator : optional
        The source server and an account there that sees all tables of the source schema.
    revoke : bool
        Whether to take back.
    members : sequence of str
        Users of the source: then the script gives, or takes back, what they have beside that access.

    Raises
    ------
    ConfigError
        If a name cannot be one on this kind of server.
    NotFoundError
        If there is no such schema or table.
    """
    backend = backend_meant(address, backend)
    known = Known()
    if address is not None and administrator is not None:
        access, known = _looked_up(access, backend, address, administrator, revoke and not members)
    named = replace(
        access,
        tables=list(dict.fromkeys(map(table_name, access.tables))),
        helper_tables=list(map(table_name, access.helper_tables)),
    )
    if members:
        return render(
            statement for member in members for statement in member_statements(named, backend, member, revoke)
        )
    if revoke:
        named, more = taken(named, known, rights_for(backend))
        return render([*revoke_statements(named, backend), *more])
    named, told = given(named, known)
    return commented(told) + render(grant_statements(named, backend))


def grant_statements(access: Access, backend: str) -> list[Statement]:
    """Return what gives `access`, for ``"mysql"`` (MariaDB as well) or ``"postgresql"``."""
    return rights_for(backend).let_in(access)


def revoke_statements(access: Access, backend: str) -> list[Statement]:
    """Return what takes `access` back; no helper row, thus no hold, is lost by it."""
    return rights_for(backend).let_out(access)


def member_statements(access: Access, backend: str, member: str, revoke: bool = False) -> list[Statement]:
    """Return what a user of the source needs beside `access`, or what takes it back."""
    rights = rights_for(backend)
    return (rights.let_member_out if revoke else rights.let_member_in)(access, member)


def render(statements: Iterable[Statement]) -> str:
    """Return the statements as a script, with the reasons and the optional statements as comments."""
    lines: list[str] = []
    for statement in statements:
        if statement.why:
            lines += _comment(statement.why)
        ended = [f"{statement.sql};"]
        if statement.pieces:
            ended = ["DELIMITER //", f"{statement.sql} //", "DELIMITER ;"]
        lines += _comment("\n".join(ended)) if statement.optional else ended
    return "\n".join(lines) + "\n"


def commented(lines: Iterable[str]) -> str:
    """Lines that a script begins with."""
    return "".join(f"-- {line}\n" for line in lines)


def required_sql(statements: Iterable[Statement]) -> list[str]:
    """Return the statements that are not optional, ready to be executed one by one."""
    return [statement.sql for statement in statements if not statement.optional]


def random_password() -> str:
    """Return a password of 32 characters from an alphabet that needs no quoting anywhere."""
    return secrets.token_urlsafe(24)


def table_name(name: str) -> str:
    """Return the table name for a class name (``Unit``, ``Unit.Waveform``), a table name as it is.

    Without a look at the server a class is taken for a manual table, as only there the names agree.
    """
    master, _, part = name.partition(".")
    return part_name(table_of(master), table_of(part)) if part and master[:1].isupper() else table_of(name)


def helper_name(table: str) -> str:
    """Return the helper table's name that is proposed for a source table."""
    return f"{table_name(table).lstrip('#_')}_outbound"


#: What to do where the account that is asked for a table does not see it.
AS_ADMINISTRATOR = "give DJ_USER and DJ_PASS of an account that may grant rights on it."


def look_up(connection: Any, backend: str, schema: str, names: Iterable[str]) -> list[str]:
    """Find the tables that class or table names stand for, each followed by all of its part tables.

    Parameters
    ----------
    connection : datajoint.Connection
        To the source server, as its administrator.
    backend : str
        ``"mysql"`` or ``"postgresql"``.
    schema : str
        The source schema.
    names : iterable of str
        Class names (``Unit``, of any tier) or table names (``#lookup``, ``_imported``, ``__computed``).

    Raises
    ------
    NotFoundError
        If there is no such schema or table.
    ConfigError
        If a class name fits tables of several tiers.
    """
    relations = connection.query(rights_for(backend).dialect.relations, (schema,))
    present = [str(name) for name, what in relations if not what]
    if not present:
        raise NotFoundError(
            f"The schema {schema!r} does not exist on the server, or has no tables.",
            "Check its name, and on PostgreSQL the name of the database.",
        )
    found: list[str] = []
    for name in names:
        master = _resolve(name, present, schema)
        found += [master, *part_names(master, present)]
    return list(dict.fromkeys(found))


def _looked_up(
    access: Access, backend: str, address: Address, administrator: Credentials, revoke: bool
) -> tuple[Access, Known]:
    there = replace(address, database=access.database)
    with visiting(there, administrator, backend) as site, site.catalogue() as catalogue:
        try:
            tables = look_up(site.connection, backend, access.source_schema, access.tables)
        except NotFoundError as error:
            schema, any_table = access.source_schema, "outbound"
            raise catalogue.no_such(error.what, error.hint or "", AS_ADMINISTRATOR, schema, any_table) from None
        keys = (fk for name in tables for fk in catalogue.table(access.source_schema, name).foreign_keys)
        tracking = dict.fromkeys(fk.table for fk in keys if fk.table.startswith(TRACKING))
        has_lineage = LINEAGE in catalogue.tables(access.source_schema)
        own = {(access.source_schema, name) for name in tables}
        own |= {(access.helper_schema, table_name(name)) for name in access.helper_tables}
        known = know(catalogue, access, own)
        found = replace(
            access,
            tables=held_of(catalogue, known, access.source_schema, tables) if revoke else tables,
            tracking_tables=[*tracking],
            has_lineage=has_lineage,
            require_tls=access.require_tls and site.offers_tls(),
        )
        return found, known


def _resolve(name: str, present: Sequence[str], schema: str) -> str:
    wanted = table_name(name)
    tiers = TIER_PREFIXES if name[:1].isupper() else ("",)
    fitting = [tier + wanted for tier in tiers if tier + wanted in present]
    if len(fitting) > 1:
        raise ConfigError(f"{name!r} fits several tables of {schema!r}: {', '.join(fitting)}.", "Give the table name.")
    if not fitting:
        raise NotFoundError(f"There is no table {name!r} in the schema {schema!r}.", nearest(wanted, present))
    return fitting[0]


def _comment(text: str) -> list[str]:
    # By splitlines, as a line break inside a name must not end the comment
    return [f"-- {line}" for line in text.splitlines()]
