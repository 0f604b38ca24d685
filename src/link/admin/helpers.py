"""Finding helper tables by what they are: what an administrator does needs neither a link nor its class."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..accounts import Credentials
from ..addresses import Address
from ..errors import ConfigError, NotFoundError, PrivilegeError
from ..holds.holds import Holds
from ..holds.parts import holds_of
from ..model.graph import Name, label
from ..model.layouts import DJ_LINK, LINK, Layout
from ..model.schema import ForeignKey, Table, nearest, part_name
from ..model.served import holder
from ..servers.catalogue import Catalogue
from ..servers.session import Session
from ..servers.site import Site
from ..servers.sites import visiting
from ..signals import final


@dataclass(frozen=True, eq=False)
class Helper:
    """A helper table.

    Attributes
    ----------
    table : Table
        The helper table.
    held : ForeignKey
        Its foreign key to the table whose rows it holds.
    layout : Layout
        Where it says what.
    """

    table: Table
    held: ForeignKey
    layout: Layout

    @property
    def name(self) -> str:
        """Schema and table, for messages."""
        return f"{self.table.schema}.{self.table.name}"

    @property
    def source(self) -> Name:
        """The schema and name of the table whose rows are held."""
        return self.held.schema, self.held.table

    @property
    def holder(self) -> str:
        """Who holds, in words; nothing where the comment does not say it."""
        return holder(self.table.comment)

    @property
    def part_tables(self) -> list[str]:
        """The names of its parts, where it says something in some."""
        return [part_name(self.table.name, suffix) for suffix in self.layout.parts.values()]

    @property
    def is_complete(self) -> bool:
        """Whether it has all columns of its layout; what an older program made gets hidden ones when it is used."""
        return {*self.layout.columns.values()} <= {*self.table.names}

    def holds(self, site: Site, source: Table | None = None) -> Holds:
        """Its holds, of a table at the source, or by themselves."""
        return holds_of(site.dialect, source or self.table, self.table, self.layout)


def held_by(helper: Table) -> ForeignKey | None:
    """What a helper table holds: what its key refers to; None for a table whose key refers to nothing."""
    return next((fk for fk in helper.foreign_keys if set(fk.columns) == set(helper.primary_key)), None)


def as_helper(table: Table, beside: Collection[str]) -> Helper | None:
    """A table as a helper table, if it is built as one is: it holds other rows by its key, and says how far that is.

    Some layouts say so in parts: ``beside`` has the names of tables of its schema, those that refer to it at least.
    """
    held = held_by(table)
    if held is None or table.name.startswith("~"):
        return None
    for layout in (LINK, DJ_LINK):
        helper = Helper(table, held, layout)
        if {*layout.visible} <= {*table.names} and {*helper.part_tables} <= {*beside}:
            return helper
    return None


def find_helpers(site: Site, catalogue: Catalogue, schema: str) -> list[Helper]:
    """The helper tables of a schema.

    Raises
    ------
    NotFoundError
        There is no such schema, or no helper table in it, as far as the account sees.
    """
    if not catalogue.has_schema(schema):
        raise catalogue.no_such(
            f"The account {site.user!r} sees no schema {schema!r} on the server {site.address}.",
            nearest(schema, catalogue.schemas()),
            _member_hint(site, schema),
            schema,
        )
    catalogue.read([schema])
    names = catalogue.tables(schema)
    helpers = (as_helper(catalogue.table(schema, name), names) for name in names)
    found = [helper for helper in helpers if helper and helper.is_complete]
    if not found:
        raise catalogue.no_such(
            f"The account {site.user!r} sees no helper table in the schema {schema!r} on the server {site.address}.",
            "Links create them when they are first used.",
            _member_hint(site, schema),
            schema,
            "outbound",
        )
    return found


def helpers_of(site: Site, catalogue: Catalogue, schema: str, named: str) -> list[Helper]:
    """The helper tables of a schema that hold rows of one table: ``"schema.Class"``, or by the table's own name.

    Raises
    ------
    NotFoundError
        There is none.
    ConfigError
        A part is named, or what fits several tables.
    """
    helpers = find_helpers(site, catalogue, schema)
    sources = {helper.source for helper in helpers}
    meant = {source for source in sources if named in (".".join(source), label(source))}
    if len(meant) > 1:
        fitting = ", ".join(sorted(map(".".join, meant)))
        raise ConfigError(f"{named!r} fits several tables: {fitting}.", "Give the table's own name.")
    if not meant:
        if master := next((label(source) for source in sources if named.startswith(f"{label(source)}.")), None):
            raise ConfigError(f"{named!r} is a part: its rows are held with their master.", f"Say {master}.")
        raise NotFoundError(
            f"No helper table of the schema {schema!r} on the server {site.address} holds rows of {named!r}.",
            f"Tables are named as schema.Class. {nearest(named, sorted(map(label, sources)))}",
        )
    return [helper for helper in helpers if helper.source in meant]


class Opened(NamedTuple):
    """A table whose rows are held, at its server, as one account.

    Attributes
    ----------
    site, session, catalogue
        The server.
    source : Table
        The table, which may be read.
    helpers : list of Helper
        What holds rows of it.
    """

    site: Site
    session: Session
    catalogue: Catalogue
    source: Table
    helpers: list[Helper]


@contextlib.contextmanager
def opened(
    address: Address, account: Credentials, backend: str | None, helper_schema: str, table: str
) -> Iterator[Opened]:
    """A table whose rows are held, for a while.

    Raises
    ------
    NotFoundError
        Nobody holds rows of such a table there.
    PrivilegeError
        The account may not read it.
    """
    with (
        final(),
        visiting(address, account, backend) as site,
        site.session() as session,
    ):
        catalogue = site.catalogue_type(session)
        helpers = helpers_of(site, catalogue, helper_schema, table)
        source = catalogue.table(*helpers[0].source)
        require(site, catalogue, source, ["SELECT"])
        yield Opened(site, session, catalogue, source, helpers)


def require(site: Site, catalogue: Catalogue, table: Table, rights: Sequence[str], column: str | None = None) -> None:
    """Raise PrivilegeError, with the GRANT, where the account lacks a right on a table.

    UPDATE may be wanted of one column only.
    """
    missing = catalogue.missing_rights(table, rights)
    if column is not None and catalogue.held_on_columns(table, ["UPDATE"]):
        missing = [right for right in missing if right != "UPDATE"]
    if missing:
        what = f" ({site.dialect.quote(column)})" if column is not None else ""
        needed = [f"{right}{what}" if right == "UPDATE" else right for right in missing]
        raise PrivilegeError(
            f"The account {site.user!r} lacks {' and '.join(missing)} on {table.schema}.{table.name} on the server "
            f"{site.address}.",
            site.grant_hint(needed, table.schema, table.name) + site.role_hint(catalogue.idle_roles()),
        )


def _member_hint(site: Site, schema: str) -> str:
    return (
        f"what the account needs there is printed by: datajoint-link grants ... --helper-schema {shlex.quote(schema)} "
        f"--member {shlex.quote(site.user)} --host {site.address}"
    )
