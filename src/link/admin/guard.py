"""Letting nobody but the link user take away the rows of helper tables while they hold: triggers, by an administrator.

In many labs everybody has all rights; DataJoint's cascade then deletes holds with the rows that they hold. With a guard
on its helper table such a deletion is refused, by a sentence that says what to do. So is a drop (:mod:`.anchors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..accounts import Credentials
from ..addresses import Address
from ..errors import ConfigError, NotFoundError
from ..model.layouts import FLAGGED, LINK
from ..model.schema import Table
from ..model.served import holders
from ..servers.catalogue import Catalogue
from ..servers.rights import Guarded, Statement
from ..servers.site import Site
from ..servers.sites import visiting
from .anchors import anchor, to_anchor, unanchor
from .helpers import find_helpers

#: What everybody may change in a helper table; the server itself changes the second with the first.
FREE = (LINK.columns["is_flagged"], FLAGGED)


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
    user: str | None = None,
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
    user : str, optional
        The link user, where helper tables have no owner; default: the one account that may insert into them.
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
    ConfigError
        It is not clear who the link user is.
    LinkError
        The server refuses.
    """
    with visiting(address, administrator, backend) as site, site.session() as session:
        catalogue = site.catalogue_type(session)
        if apply:
            catalogue.reserve(schema)
        tables, others = _look(site, catalogue, schema)
        names = [table.name for table in tables]
        loose: list[Table] = []
        if remove:
            statements = [*unanchor(catalogue, site.definitions, schema), *site.rights.unguard(schema, names)]
        else:
            firm, loose = to_anchor(catalogue, tables)
            link_user = "" if catalogue.shows_all_keys else _link_user(catalogue, schema, names, user)
            statements = site.rights.guard([_guarded(table) for table in tables], link_user)
            statements += anchor(catalogue, site.definitions, schema, firm)
        for statement in statements if apply else ():
            session.execute(statement.sql.replace("%", "%%"))
        return Guard(statements, names, [f"{table.schema}.{table.name}" for table in loose], others)


def _look(site: Site, catalogue: Catalogue, schema: str) -> tuple[list[Table], list[str]]:
    """The helper tables of a schema, and the names of its other tables."""
    found = [helper.table for helper in find_helpers(site, catalogue, schema) if helper.layout is LINK]
    if not found:
        raise NotFoundError(
            f"The schema {schema!r} on the server {site.address} has outbound tables of the older interface only.",
            "Convert them: datajoint-link convert.",
        )
    names = {table.name for table in found}
    return found, [name for name in catalogue.tables(schema) if name not in names and not name.startswith("~")]


def _link_user(catalogue: Catalogue, schema: str, names: Sequence[str], given: str | None) -> str:
    """The link user; of a wrong one the guard would keep the links themselves from letting go."""
    found = sorted({user for users in catalogue.link_users(schema, names).values() for user in users})
    if given is not None and (given in found or not found):
        return given
    if given is None and len(found) == 1:
        return found[0]
    have = f"{', '.join(found) or 'nobody'} may write to the helper tables of {schema!r} by a right on just these"
    raise ConfigError(f"{have}{'' if given is None else f', and not {given}'}.", "Name the link user with --user.")


def _guarded(table: Table) -> Guarded:
    fixed: Sequence[str] = [name for name in table.names if name not in FREE]
    return Guarded(table.schema, table.name, fixed, holders(table.comment) or f"Rows held by {table.schema}")
