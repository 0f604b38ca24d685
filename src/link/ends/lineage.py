"""Where attributes come from: DataJoint joins by name only what has one origin.

The origin of an attribute is found along the source's foreign keys, as far as the link user sees them.
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import host
from ..errors import PrivilegeError
from ..model.mapping import Mapping
from ..model.schema import ForeignKey, Table
from ..servers.catalogue import Catalogue
from ..servers.site import Site


def record_lineage(source: Site, local: Site, mapping: Mapping) -> None:
    """Tell DataJoint where the attributes of local tables come from, so that linked tables join with one another."""
    pairs = [(pair.there, pair.here) for pair in mapping.tables]
    pairs += [(mapping.source.master, part) for part in mapping.own_parts]
    with source.catalogue() as catalogue:
        entries = [
            # Two labs may well have schemas of one name: the server is part of the origin.
            (here.name, name, f"{source.address}/{origin}")
            for there, here in pairs
            for name, origin in origins(catalogue, there, here.names).items()
        ]
    with local.turn, local.in_our_words():
        if not local.in_transaction():
            local.revive()  # it has rested while the tables were found and made
        host.record_lineage(local.connection, mapping.local.master.schema, entries)


def origins(catalogue: Catalogue, table: Table, names: Iterable[str]) -> dict[str, str]:
    """Of those attributes that have an origin, as ``schema.table.attribute``: of keys, its own and others'."""
    inherited = {column for fk in table.foreign_keys for column in fk.columns}
    return {name: _origin(catalogue, table, name) for name in names if name in inherited or name in table.primary_key}


def _origin(catalogue: Catalogue, table: Table, column: str, seen: tuple[ForeignKey, ...] = ()) -> str:
    for fk in table.foreign_keys:
        if column in fk.columns and fk not in seen:
            try:
                parent = catalogue.table(fk.schema, fk.table)
            except PrivilegeError:
                parent = Table(fk.schema, fk.table, "", (), ())  # known by name only
            return _origin(catalogue, parent, fk.referred[fk.columns.index(column)], (*seen, fk))
    return f"{table.schema}.{table.name}.{column}"
