"""Letting nobody drop a helper table, or a table with parts of held rows, before the guard is taken away.

DataJoint's ``drop()`` of a held table begins with what refers to it: with its parts, and for an administrator with the
helper table. Only then does it come to the table itself, which the holds keep. So each of the others gets an anchor:
something without rows that refers to it, so that the server refuses to drop it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

from ..ends.lineage import origins
from ..model.schema import Table, part_names
from ..servers.catalogue import Catalogue
from ..servers.definitions import Definitions
from ..servers.dialect import plain
from ..servers.rights import LINEAGE, Statement
from .helpers import held_by

#: How the names of anchors begin. DataJoint lists no table whose name begins so.
ANCHOR = "~link_guard_"


def to_anchor(catalogue: Catalogue, helpers: Sequence[Table]) -> tuple[list[Table], list[Table]]:
    """The helper tables and the parts of what they hold; and those parts that no foreign key can refer to."""
    # Several helper tables may well hold the rows of one table.
    tables = {(table.schema, table.name): table for h in helpers for table in (h, *_parts(catalogue, h))}.values()
    loose = [table for table in tables if catalogue.obstacle(table, held=True)]
    return [table for table in tables if table not in loose], loose


def anchor(catalogue: Catalogue, define: Definitions, schema: str, tables: Sequence[Table]) -> Iterator[Statement]:
    """The script that anchors tables, in place of all anchors that a helper schema has.

    Parameters
    ----------
    catalogue, define
        Of the source server, as an administrator.
    schema : str
        The helper schema.
    tables : sequence of Table
        What :func:`to_anchor` has found.
    """
    yield from unanchor(catalogue, define, schema)
    if not catalogue.shows_all_keys:
        columns = "table_name VARCHAR(64) NOT NULL, attribute_name VARCHAR(64) NOT NULL, lineage VARCHAR(255) NOT NULL"
        made = f"CREATE TABLE IF NOT EXISTS {define.dialect.full_name(schema, LINEAGE)}"
        yield Statement(plain(f"{made} ({columns}, PRIMARY KEY (table_name, attribute_name)) ENGINE=InnoDB"))
    for table in tables:
        full_name = f"{table.schema}.{table.name}"
        name = f"{ANCHOR}{zlib.crc32(full_name.encode()):08x}"
        comment = f"keeps {full_name} from being dropped: datajoint-link guard --remove"
        yield from (Statement(plain(sql)) for sql in define.create_anchor(schema, name, table, comment))
        if not catalogue.shows_all_keys:
            yield _record_origins(catalogue, define, schema, name, table)


def unanchor(catalogue: Catalogue, define: Definitions, schema: str) -> Iterator[Statement]:
    """The script that takes all anchors of a schema away."""
    there = catalogue.relations(schema)
    for name in sorted(there):
        if name.startswith(ANCHOR) and not name.endswith("_"):
            yield Statement(plain(define.drop_anchor(schema, name)))
    if LINEAGE in there and not catalogue.shows_all_keys:
        lineage, beginning = define.dialect.full_name(schema, LINEAGE), define.dialect.text(ANCHOR)
        yield Statement(plain(f"DELETE FROM {lineage} WHERE LEFT(table_name, {len(ANCHOR)}) = {beginning}"))


def _parts(catalogue: Catalogue, helper: Table) -> Iterator[Table]:
    """The parts of what a helper table holds."""
    held = held_by(helper)
    assert held
    for name in part_names(held.table, catalogue.tables(held.schema)):
        part = catalogue.table(held.schema, name)
        if part.primary_key:
            yield part


def _record_origins(catalogue: Catalogue, define: Definitions, schema: str, name: str, table: Table) -> Statement:
    """Tell DataJoint, which sees this anchor, where its attributes come from: else it refuses to delete anything."""
    text = define.dialect.text
    entries = (
        f"({text(name)}, {text(attribute)}, {text(origin)})"
        for attribute, origin in origins(catalogue, table, table.primary_key).items()
    )
    return Statement(plain(f"INSERT INTO {define.dialect.full_name(schema, LINEAGE)} VALUES {', '.join(entries)}"))
