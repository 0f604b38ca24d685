"""Where attributes come from: DataJoint joins by name only what has one origin.

The origin of an attribute is found along the source's foreign keys, as far as the link user sees them.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Map

from .. import host
from ..config import LinkSpec
from ..errors import LinkError, PrivilegeError, UnreachableError
from ..model.kinds import marker
from ..model.mapping import Mapping
from ..model.schema import ForeignKey, Table
from ..servers.catalogue import Catalogue
from ..servers.rights import LINEAGE
from ..servers.session import Session
from ..servers.site import Site

logger = logging.getLogger("link")


def record_lineage(source: Site, local: Site, catalogue: Catalogue, made: Sequence[tuple[LinkSpec, Mapping]]) -> None:
    """Tell DataJoint where the attributes of local tables come from, so that linked tables join with one another.

    Parameters
    ----------
    source, local : Site
        Both ends.
    catalogue : Catalogue
        The source's.
    made : sequence of tuple
        The tables of links, of those first to whose others refer.
    """
    with local.turn, local.in_our_words():
        if not local.in_transaction():
            local.revive()  # it has rested while the tables were found and made
        referred = {k.schema for spec, m in made if spec.mirror for t in m.local.tables for k in t.foreign_keys}
        known = dict[str, str]()
        for schema in sorted(referred):
            known |= host.recorded_lineage(local.connection, schema)
        entries = defaultdict[str, list[tuple[str, str, str]]](list)
        for spec, mapping in made:
            pairs = [(pair.there, pair.here) for pair in mapping.tables]
            pairs += [(mapping.source.master, part) for part in mapping.own_parts]
            for there, here in pairs:
                # Two labs may well have schemas of one name: the server is part of the origin, however it was reached.
                found = {n: f"{source.facts.name}/{o}" for n, o in origins(catalogue, there, here.names).items()}
                if spec.mirror:
                    found = _local_origins(there, here, found, known)
                    known |= {f"{here.schema}.{here.name}.{name}": origin for name, origin in found.items()}
                entries[here.schema] += [(here.name, name, origin) for name, origin in found.items()]
        for schema, told in entries.items():
            host.record_lineage(local.connection, schema, told)


def _local_origins(there: Table, here: Table, elsewhere: Map[str, str], known: Map[str, str]) -> dict[str, str]:
    """Where attributes of a local table come from that is what the source's is: as if it had been declared here.

    From the local tables that it refers to, therefore; and from the source only along foreign keys that are not here.
    """
    cut = {column for key in there.foreign_keys for column in key.columns}
    found = dict[str, str]()
    for name, origin in elsewhere.items():
        key = next((key for key in here.foreign_keys if name in key.columns), None)
        if key:
            parent = f"{key.schema}.{key.table}.{key.referred[key.columns.index(name)]}"
            found[name] = known.get(parent, parent)
        else:
            found[name] = origin if name in cut else f"{here.schema}.{here.name}.{name}"
    return found


def renew_lineage(source: Site, session: Session, catalogue: Catalogue, spec: LinkSpec, names: Sequence[str]) -> bool:
    """Write anew what says where attributes of local tables come from, where it names their server otherwise.

    Earlier versions wrote down the address as it was typed, and a server may become another. Tables that depend on the
    local ones have the same origins written down, in their own schemas. Returned is whether anything says where they
    come from, as far as the account may know.
    """
    name = session.dialect.full_name(spec.local_schema, LINEAGE)
    listed = ", ".join(["%s"] * len(names))
    try:
        told = session.query(f"SELECT DISTINCT lineage FROM {name} WHERE table_name IN ({listed})", names)
    except PrivilegeError:
        return True  # the local tables are another account's
    renamed = {old: new for (old,) in told if (new := _renamed(old, source.facts.name)) not in (None, old)}
    if not renamed:
        return bool(told)
    cases = " ".join(["WHEN %s THEN %s"] * len(renamed))
    changed = f"lineage = CASE lineage {cases} END WHERE lineage IN ({', '.join(['%s'] * len(renamed))})"
    args = [text for pair in renamed.items() for text in pair] + list(renamed)
    for schema in catalogue.schemas():
        if LINEAGE not in catalogue.tables(schema):
            continue
        try:
            session.execute(f"UPDATE {session.dialect.full_name(schema, LINEAGE)} SET {changed}", args)
        except UnreachableError:
            raise
        except LinkError as error:  # another account's, or somebody is at it
            logger.info("%s: cannot tell where attributes in %s come from: %s", spec.class_name, schema, error.what)
    logger.info("%s: its attributes come from the server %s now", spec.class_name, source.facts.name)
    return True


def _renamed(lineage: str, server: str) -> str | None:
    """An origin with another name of its server; None for one without any, and for names that hide where it ends."""
    before, slash, origin = lineage.rpartition("/")
    return f"{server}/{origin}" if slash and before and origin.count(".") >= 2 else None


def origins(catalogue: Catalogue, table: Table, names: Iterable[str]) -> dict[str, str]:
    """Of those attributes that have an origin, as ``schema.table.attribute``: of keys, its own and others'."""
    return {
        name: f"{origin.schema}.{origin.name}.{column}"
        for name, (origin, column) in _origins(catalogue, table, names).items()
    }


def find_origins(catalogue: Catalogue, table: Table) -> tuple[dict[str, str], bool]:
    """Where the attributes of a source table come from, and whether that is guessed.

    The account may not see what DataJoint has written down of it, nor the tables that the key's attributes come from.
    """
    if (told := catalogue.origins(table.schema)) is not None:
        return dict(told.get(table.name, {})), False
    # DataJoint 2 has written it down.
    is_written = any(host.is_core_type(marker(column.comment)) for column in table.columns)
    are_seen = all(origin.columns for origin, _ in _origins(catalogue, table, table.primary_key).values())
    return origins(catalogue, table, table.names), is_written and not are_seen


def _origins(catalogue: Catalogue, table: Table, names: Iterable[str]) -> dict[str, tuple[Table, str]]:
    inherited = {column for fk in table.foreign_keys for column in fk.columns}
    return {name: _origin(catalogue, table, name) for name in names if name in inherited or name in table.primary_key}


def _origin(catalogue: Catalogue, table: Table, column: str, seen: tuple[ForeignKey, ...] = ()) -> tuple[Table, str]:
    for fk in table.foreign_keys:
        if column in fk.columns and fk not in seen:
            try:
                parent = catalogue.table(fk.schema, fk.table)
            except PrivilegeError:
                parent = Table(fk.schema, fk.table, "", (), ())  # known by name only
            return _origin(catalogue, parent, fk.referred[fk.columns.index(column)], (*seen, fk))
    return table, column
