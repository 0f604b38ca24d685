"""The source's end: the tables that a class names there, with the rights that a link needs on them."""

from __future__ import annotations

import logging

from .. import host
from ..config import LinkSpec
from ..errors import DefinitionError, NotFoundError, PrivilegeError
from ..holds.helper import check_key, require_rights
from ..model.schema import Group, Table, find_master, nearest, part_class, part_names, part_of_class, with_master_keys
from ..servers.catalogue import Catalogue
from ..servers.site import Site

logger = logging.getLogger("link")

SOURCE_RIGHTS = ("SELECT", "REFERENCES")
SURPLUS_RIGHTS = ("INSERT", "UPDATE", "DELETE")


def find_source(site: Site, spec: LinkSpec) -> Group:
    """The source's tables as they are declared there, checked for the rights that a link needs.

    Raises
    ------
    NotFoundError
        There is no such schema or table, as far as the account sees.
    PrivilegeError
        A right is missing.
    DefinitionError
        They are not of a kind that can be linked.
    """
    with site.catalogue() as catalogue:
        tables = _named(site, spec, catalogue)
        for table in tables:
            require_rights(site, catalogue, table, SOURCE_RIGHTS)
            _warn_of_surplus(site, spec, catalogue, table)
    _require_heading(site, tables[0])
    check_key(tables[0], spec.layout)
    _check_types(site, tables)
    group = with_master_keys(tables[0], tables[1:])
    _require_parts(site, spec, group)
    return group


def _named(site: Site, spec: LinkSpec, catalogue: Catalogue) -> list[Table]:
    """The table that the class names, and its part tables."""
    if not catalogue.has_schema(spec.source_schema):
        raise NotFoundError(
            f"The link user {site.user!r} sees no schema {spec.source_schema!r} on {site.address}.",
            nearest(spec.source_schema, catalogue.schemas()),
        )
    names = catalogue.tables(spec.source_schema)
    master = find_master(spec.class_name, spec.table_name, names)
    if master is None:
        raise NotFoundError(
            f"The link user {site.user!r} sees no table {spec.table_name!r} (class {spec.class_name}) in the "
            f"schema {spec.source_schema} on the source server {site.address}.",
            nearest(spec.table_name, [name.lstrip("#_") for name in names])
            + " "
            + site.grant_hint(SOURCE_RIGHTS, spec.source_schema, spec.table_name),
        )
    return [catalogue.table(spec.source_schema, name) for name in (master, *part_names(master, names))]


def _warn_of_surplus(site: Site, spec: LinkSpec, catalogue: Catalogue, table: Table) -> None:
    """Say once that the account may change the source's rows: a link never does, and somebody else could."""
    missing = catalogue.missing_rights(table, SURPLUS_RIGHTS)
    surplus = [right for right in SURPLUS_RIGHTS if right not in missing]
    if surplus and site.is_news((spec, table.name)):
        logger.warning(
            "%s: the link user %r has more rights than a link needs on %s.%s at %s: %s",
            *(spec.class_name, site.user, table.schema, table.name, site.address, ", ".join(surplus)),
        )


def _require_heading(site: Site, table: Table) -> None:
    """DataJoint reads the schema's ``~lineage`` wherever it sees it, as with a right on the whole schema."""
    try:
        with site.turn, site.in_our_words():
            host.load_heading(host.free_table(site.connection, table.schema, table.name))
    except host.AccessError as error:
        raise PrivilegeError(
            f"DataJoint cannot read {table.schema}.{table.name} on the source server {site.address} as "
            f"{site.user!r}: {error}",
            site.grant_hint(["SELECT"], table.schema, "~lineage"),
        ) from error


def _check_types(site: Site, tables: list[Table]) -> None:
    refused = [f"{t.name}.{c.name}: {c.type}" for t in tables for c in t.columns if not site.dialect.supports(c)]
    if refused:
        raise DefinitionError(
            f"The source tables in {tables[0].schema} on {site.address} have columns of types that cannot be linked:"
            "\n    " + "\n    ".join(refused)
        )


def _require_parts(site: Site, spec: LinkSpec, group: Group) -> None:
    unseen = spec.parts_named - {part_class(group.master.name, part.name) for part in group.parts}
    if unseen:
        name = min(unseen)
        raise PrivilegeError(
            f"The class {spec.class_name} names a part table {name} that the link user {site.user!r} "
            f"does not see in {spec.source_schema} on {site.address}: it is not there, or not granted.",
            site.grant_hint(SOURCE_RIGHTS, group.master.schema, part_of_class(group.master.name, name)),
        )
