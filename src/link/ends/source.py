"""The source's end: the tables that a class names there, with the rights that a link needs on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..config import LinkSpec
from ..errors import DefinitionError, PrivilegeError
from ..holds.helper import check_key, require_rights
from ..host import from_camel_case
from ..model.kinds import marker
from ..model.legacy import modernized
from ..model.readers import Reader
from ..model.schema import (
    TIER_PREFIXES,
    Group,
    Table,
    find_master,
    nearest,
    part_class,
    part_names,
    part_of_class,
    with_master_keys,
)
from ..servers.catalogue import Catalogue
from ..servers.dialect import PARTITION
from ..servers.rights import LINEAGE
from ..servers.site import Site

logger = logging.getLogger("link")

SOURCE_RIGHTS = ("SELECT", "REFERENCES")
SURPLUS_RIGHTS = ("INSERT", "UPDATE", "DELETE")


def find_source(site: Site, spec: LinkSpec, catalogue: Catalogue) -> Group:
    """The source's tables as DataJoint 2 would have declared them, checked for the rights that a link needs.

    Raises
    ------
    NotFoundError
        There is no such schema or table, as far as the account sees.
    PrivilegeError
        A right is missing.
    DefinitionError
        They are not of a kind that can be linked.
    ConfigError
        ``codecs=`` does not fit them.
    """
    tables = _named(site, spec, catalogue)
    modern = modernized(Group(tables[0], tuple(tables[1:])), spec.codecs, not spec.for_legacy)
    for table in tables:
        require_rights(site, catalogue, table, SOURCE_RIGHTS)
        _warn_of_surplus(site, spec, catalogue, table)
        _require_no_obstacle(site, catalogue, table, held=table is tables[0])
    for tracking in () if spec.for_legacy else modern.tracking:
        require_rights(site, catalogue, tracking, ("SELECT",))
    _require_heading(site, catalogue, tables[0])
    check_key(tables[0], spec.layout)
    group = with_master_keys(modern.group.master, modern.group.parts)
    _require_parts(site, spec, group)
    if modern.taken and site.is_news((spec, modern.taken)):
        logger.info(
            "%s: of %s.%s on %s these are taken: %s",
            *(spec.class_name, group.master.schema, group.master.name, site.address, ", ".join(modern.taken)),
        )
    return group


def _named(site: Site, spec: LinkSpec, catalogue: Catalogue) -> list[Table]:
    """The table that the class names, and its part tables."""
    stem = from_camel_case(spec.source_class)
    if not catalogue.has_schema(spec.source_schema):
        raise catalogue.no_such(
            f"The link user {site.user!r} sees no schema {spec.source_schema!r} on {site.address}.",
            _swapped(spec, catalogue) + nearest(spec.source_schema, catalogue.schemas()),
            site.grant_hint(SOURCE_RIGHTS, spec.source_schema, stem) + site.role_hint(catalogue.idle_roles()),
            spec.source_schema,
        )
    relations = catalogue.relations(spec.source_schema)
    names = [name for name, what in relations.items() if not what]
    master = (
        find_master(spec.source_class, stem, names)
        if spec.source_table is None
        else next((name for name in names if name == spec.source_table), None)
    )
    if master is None:
        if other := find_master(spec.source_class, stem, list(relations)):
            raise DefinitionError(
                f"{spec.source_schema}.{other} on the source server {site.address} is {relations[other]}: it has no "
                "rows of its own that could be held.",
                "Link the table that has them.",
            )
        raise catalogue.no_such(
            f"The link user {site.user!r} sees no table {stem!r} (class {spec.source_class}) in the "
            f"schema {spec.source_schema} on the source server {site.address}.",
            _swapped(spec, catalogue) + nearest(stem, [name.lstrip("#_") for name in names]),
            site.grant_hint(SOURCE_RIGHTS, spec.source_schema, stem) + site.role_hint(catalogue.idle_roles()),
            spec.source_schema,
            stem,
        )
    parts = part_names(master, relations)
    catalogue.read_tables([(spec.source_schema, name) for name in (master, *parts) if not relations[name]])
    found = [catalogue.table(spec.source_schema, master)]
    for name in parts:
        if relations[name] == PARTITION:
            continue  # its rows are those of a table that is read
        part = None if relations[name] else catalogue.table(spec.source_schema, name)
        if part is None or not catalogue.has_keys(part):
            why = f"is {relations[name]}" if part is None else "has neither a primary key nor a foreign key"
            _leave_out(site, spec, master, name, why)
        else:
            found.append(part)
    return found


def _swapped(spec: LinkSpec, catalogue: Catalogue) -> str:
    """Where a table is in another schema that was named: that arguments are swapped."""
    stem = from_camel_case(spec.source_class)
    for argument, schema in (("helper_schema", spec.helper_schema), ("local_schema", spec.local_schema)):
        if schema != spec.source_schema and catalogue.has_schema(schema):
            names = set(catalogue.tables(schema)) - {spec.helper_table}
            if any(prefix + stem in names for prefix in TIER_PREFIXES):
                return f"The schema {schema} there has such a table: are source_schema and {argument} swapped? "
    return ""


def _leave_out(site: Site, spec: LinkSpec, master: str, name: str, why: str) -> None:
    """Say once that something is named like a part table and is none: DataJoint declares no part table without a key.

    Raises
    ------
    DefinitionError
        The class names it among its part tables.
    """
    what = f"{spec.source_schema}.{name} on the source server {site.address} is named like a part of {master}, but"
    advice = "Rename it if it is none; a part table has a primary key, and a foreign key to its master."
    if part_class(master, name) in spec.parts_named:
        raise DefinitionError(f"{what} {why}: it cannot be pulled.", advice)
    if site.is_news((spec, name, why)):
        logger.warning("%s: %s %s: it is not pulled. %s", spec.class_name, what, why, advice)


def _require_no_obstacle(site: Site, catalogue: Catalogue, table: Table, *, held: bool) -> None:
    if obstacle := catalogue.obstacle(table, held=held):
        why, remedy = obstacle
        raise DefinitionError(
            f"The source table {table.schema}.{table.name} on the source server {site.address} {why}.",
            f"{site.rights.granter} {site.address}: {remedy}",
        )


def _warn_of_surplus(site: Site, spec: LinkSpec, catalogue: Catalogue, table: Table) -> None:
    """Say once that the account may change the source's rows: a link never does, and somebody else could."""
    missing = catalogue.missing_rights(table, SURPLUS_RIGHTS)
    surplus = [right for right in SURPLUS_RIGHTS if right not in missing]
    if surplus and site.is_news((spec, table.name)):
        logger.warning(
            "%s: the link user %r has more rights than a link needs on %s.%s at %s: %s",
            *(spec.class_name, site.user, table.schema, table.name, site.address, ", ".join(surplus)),
        )


def _require_heading(site: Site, catalogue: Catalogue, table: Table) -> None:
    """DataJoint reads the schema's ``~lineage`` wherever it sees it, as with a right on the whole schema."""
    try:
        catalogue.origins(table.schema)
    except PrivilegeError as error:
        raise PrivilegeError(
            f"DataJoint cannot read {table.schema}.{table.name} on the source server {site.address} as "
            f"{site.user!r}: {error.what}",
            site.grant_hint(["SELECT"], table.schema, LINEAGE),
        ) from error


def require_types(site: Site, tables: Sequence[Table]) -> None:
    """Raise DefinitionError where columns are of types that cannot be linked."""
    refused = [f"{t.name}.{c.name}: {c.type}" for t in tables for c in t.columns if not site.dialect.supports(c)]
    refused += [
        f"{tables[0].name}.{c.name}: {c.type} in a key, in {c.charset}, where two texts can be the same to others"
        for c in tables[0].key_columns
        if not site.dialect.tells_keys(c)
    ]
    if refused:
        raise DefinitionError(
            f"The source tables in {tables[0].schema} on {site.address} have columns of types that cannot be linked:"
            "\n    " + "\n    ".join(refused)
        )


def require_readable(site: Site, tables: Sequence[Table], reader: Reader) -> None:
    """Raise DefinitionError where columns have what the DataJoint that reads the local tables cannot read."""
    refused = [
        f"{t.name}.{c.name}: {c.type}{f', {special}' if (special := c.former or marker(c.comment)) else ''}"
        for t in tables
        for c in t.columns
        if not reader.reads(c)
    ]
    if refused:
        raise DefinitionError(
            f"The source tables in {tables[0].schema} on {site.address} have columns that DataJoint 0.x could not read "
            "here (datajoint='0.x'):\n    " + "\n    ".join(refused),
            "Link without datajoint='0.x', and read them with DataJoint 2. Of bytes that DataJoint has packed say "
            "codecs={'column': '<blob>'}.",
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
