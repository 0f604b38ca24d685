"""The pipeline that a linked table is part of here: it refers to other linked tables, and they to others.

A row of it needs theirs before it. Which source tables they are of is noted beside them; whoever has made the foreign
keys, a pipeline or the lab itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..model.graph import Edge, Graph, Name, graph_of
from ..model.mapping import Mapping, same_key
from ..model.schema import ForeignKey, Table, part_name
from ..model.served import Tie
from .ends import Ends
from .identity import linked_in
from .linking import Link
from .loaded import serving


@dataclass(frozen=True)
class Implied:
    """A linked table with those that it stands on here.

    Attributes
    ----------
    name : tuple of str
        Its group.
    ends : dict
        Both ends of all groups, parents first.
    graph : Graph
        The groups, with those of the source's foreign keys that are here.
    """

    name: Name
    ends: dict[Name, Ends]
    graph: Graph


def implied_by(link: Link) -> Implied | None:
    """What a linked table stands on here, if it refers to other linked tables.

    Tables that are linked to another source, or with another helper schema, are not followed: rows that refer to what
    is not there are refused by the server.
    """
    found, waiting = {_name(link.open()): link.open()}, [link]
    while waiting:
        for parent in _parents(waiting.pop()):
            name = _name(parent.open())
            if name not in found:
                found[name] = parent.open()
                waiting.append(parent)
    if len(found) == 1:
        return None
    graph = graph_of(table for ends in found.values() for table in ends.mapping.source.tables)
    graph = graph.without([edge for edge in graph.edges if not _is_here(edge, found)]).without(graph.outside)
    order = graph.order()
    return Implied(_name(link.open()), {name: found[name] for name in order}, graph)


def _name(ends: Ends) -> Name:
    master = ends.mapping.source.master
    return master.schema, master.name


def _keys(mapping: Mapping) -> Iterator[ForeignKey]:
    """The foreign keys of local tables to others than themselves."""
    own = {(table.schema, table.name) for table in (*mapping.local.tables, *mapping.own_parts)}
    for table in mapping.local.tables:
        yield from (key for key in table.foreign_keys if (key.schema, key.table) not in own)


def _parents(link: Link) -> Iterator[Link]:
    """The links of the tables that the local ones of a link refer to."""
    ends = link.open()
    referred = {(key.schema, key.table) for key in _keys(ends.mapping)}
    if not referred:
        return
    with ends.local.session() as session:
        ties = {schema: linked_in(session, schema) for schema in {schema for schema, _ in referred}}
    seen = set[tuple[str, str]]()
    for schema, table in sorted(referred):
        for name, tie in ties[schema].items():
            here, is_of_it = (schema, name), table == name or table.startswith(part_name(name, ""))
            if is_of_it and here not in seen and tie is not None and _is_alike(ends, tie):
                seen.add(here)
                yield _link_of(link, ends, here, tie)


def _is_alike(ends: Ends, tie: Tie) -> bool:
    return tie.server == ends.source.facts.name and tie.helper[0] == ends.helper.schema


def _link_of(child: Link, ends: Ends, here: tuple[str, str], tie: Tie) -> Link:
    """The link of a local table: one that this process has made already, or one like the child's."""
    for made in serving(ends.local, *here, is_linked=True):
        if isinstance(made, Link) and (made.spec.address, made.spec.source_schema) == (
            child.spec.address,
            tie.table[0],
        ):
            return child.stand_on(made)
    return child.stand_on_like(child.spec.for_linked(here, tie))


def _is_here(edge: Edge, found: dict[Name, Ends]) -> bool:
    """Whether a foreign key of the source is one of the local tables, too."""
    child = _here(found[edge.child], edge.table)
    parent = next(t for t in found[edge.parent].mapping.source.tables if t.name == edge.key.table)
    referred = _here(found[edge.parent], parent)
    if child is None or referred is None:
        return False
    wanted = replace(edge.key, schema=referred.schema, table=referred.name)
    return any(same_key(key, wanted) for key in child.foreign_keys)


def _here(ends: Ends, table: Table) -> Table | None:
    tables = zip(ends.mapping.source.tables, ends.mapping.local.tables, strict=True)
    return next((here for there, here in tables if there.name == table.name), None)
