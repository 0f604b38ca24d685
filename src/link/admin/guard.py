"""Letting nobody but the link user take away the rows of helper tables while they hold: triggers, by an administrator.

In many labs everybody has all rights; DataJoint's cascade then deletes holds with the rows that they hold. With a guard
on its helper table such a deletion is refused, by a sentence that says what to do. So is a drop (:mod:`.anchors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..config import Address, Credentials
from ..errors import NotFoundError
from ..model.backends import BACKENDS
from ..model.layouts import LINK
from ..model.schema import Table, nearest
from ..model.served import holders
from ..servers.catalogue import Catalogue
from ..servers.connecting import connect
from ..servers.rights import Guarded, Statement
from ..servers.site import Site
from ..servers.sites import site_of
from .anchors import anchor, to_anchor, unanchor

#: What everybody may change in a helper table.
FLAG = LINK.columns["is_flagged"]


@dataclass(frozen=True)
class Guard:
    """The statements for the helper tables of a schema.

    Attributes
    ----------
    statements : list of Statement
        To be run, or what was run.
    tables : list of str
        The helper tables.
    loose : list of str
        Parts of what is held that can be dropped all the same.
    others : list of str
        What else the schema has, an outbound table of the older interface for one; nothing is done to it.
    """

    statements: list[Statement]
    tables: list[str]
    loose: list[str]
    others: list[str]


def guard(
    address: Address,
    administrator: Credentials,
    schema: str,
    *,
    user: str = "djlink",
    backend: str | None = None,
    apply: bool = False,
    remove: bool = False,
) -> Guard:
    """Guard the helper tables of a schema, or take the guard away.

    Parameters
    ----------
    address, administrator
        The source server and an account that may create triggers there.
    schema : str
        The helper schema.
    user : str
        The link user, where helper tables have no owner.
    backend : str, optional
        The kind of server, where the address does not say it.
    apply : bool
        Whether to run the statements; else nothing is changed.
    remove : bool
        Whether to take the guard away.

    Raises
    ------
    NotFoundError
        There is no such schema, or no helper table in it.
    LinkError
        The server refuses.
    """
    connection = connect(address, administrator, None, backend or next(iter(BACKENDS)))
    try:
        site = site_of(connection)
        with site.session() as session:
            catalogue = site.catalogue_type(session)
            tables, others = _look(site, catalogue, schema)
            names = [table.name for table in tables]
            firm, loose = to_anchor(catalogue, tables)
            if remove:
                statements = [*unanchor(catalogue, site.definitions, schema), *site.rights.unguard(schema, names)]
            else:
                statements = site.rights.guard([_guarded(table) for table in tables], user)
                statements += anchor(catalogue, site.definitions, schema, firm)
            for statement in statements if apply else ():
                session.execute(statement.sql.replace("%", "%%"))
            return Guard(statements, names, [f"{table.schema}.{table.name}" for table in loose], others)
    finally:
        connection.close()


def _look(site: Site, catalogue: Catalogue, schema: str) -> tuple[list[Table], list[str]]:
    """The helper tables of a schema, and the names of its other tables."""
    if not catalogue.has_schema(schema):
        raise NotFoundError(
            f"There is no schema {schema!r} on the server {site.address}.", nearest(schema, catalogue.schemas())
        )
    tables = [catalogue.table(schema, name) for name in catalogue.tables(schema) if not name.startswith("~")]
    found = [table for table in tables if _is_helper(table)]
    if not found:
        raise NotFoundError(
            f"The schema {schema!r} on the server {site.address} has no helper table.",
            "Links create them when they are first used.",
        )
    return found, [table.name for table in tables if table not in found]


def _is_helper(table: Table) -> bool:
    """Whether a table is built as a helper table is: it holds other rows by its key, and says how far that is."""
    holds = any(set(fk.columns) == set(table.primary_key) for fk in table.foreign_keys)
    return holds and set(LINK.columns.values()) <= set(table.names)


def _guarded(table: Table) -> Guarded:
    fixed: Sequence[str] = [name for name in table.names if name != FLAG]
    return Guarded(table.schema, table.name, fixed, holders(table.comment) or f"Rows held by {table.schema}")
