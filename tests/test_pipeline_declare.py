"""The local tables of a pipeline: to DataJoint, and to the server, what the source's are."""

from __future__ import annotations

import re
from typing import Any

from lab import Lab
from labs import build, everything, local_schemas, pipeline


def schemas(lab: Lab, local: bool) -> list[str]:
    return list(local_schemas(lab).values() if local else local_schemas(lab))


def theirs(lab: Lab, text: str) -> str:
    """A text with the source's names of schemas for ours, and without quotes."""
    for source, ours in local_schemas(lab).items():
        text = text.replace(ours, source)
    return text.replace('"', "").replace("`", "")


def edges(lab: Lab, local: bool) -> set[Any]:
    """The foreign keys as DataJoint sees them, by the source's names of schemas."""
    instance = lab.local if local else lab.source
    graph: Any = instance.connection.dependencies
    graph.clear()
    for schema in schemas(lab, local):
        instance.Schema(schema, create_schema=False, create_tables=False)
    graph.load()
    facts = ("primary", "multi", "aliased", "attr_map")
    return {
        (theirs(lab, parent), theirs(lab, child), *(repr(edge[fact]) for fact in facts))
        for parent, child, edge in graph.edges(data=True)
        if lab.helper_schema not in child
    }


def tables(lab: Lab, local: bool) -> dict[str, Any]:
    """All tables at one end, by the source's names."""
    instance: Any = lab.local if local else lab.source
    found = {}
    for schema in schemas(lab, local):
        for name in instance.Schema(schema, create_schema=False, create_tables=False).list_tables():
            table = instance.FreeTable(f"{schema}.{name}")
            found[theirs(lab, table.full_table_name)] = table
    return found


def described(lab: Lab, local: bool) -> dict[str, str]:
    return {
        # PostgreSQL's names of enum types.
        name: re.sub(r"::\S+", "", theirs(lab, table.describe(printout=False)))
        for name, table in tables(lab, local).items()
    }


def lineage(lab: Lab, local: bool) -> dict[str, str | None]:
    """Where DataJoint believes that each attribute comes from."""
    found = {}
    for name, table in tables(lab, local).items():
        heading = table.heading
        for attribute in heading.names:
            origin = heading.attributes[attribute].lineage
            found[f"{name}.{attribute}"] = theirs(lab, origin) if origin else None
    return found


def test_the_local_pipeline_is_the_source_s(lab: Lab) -> None:
    build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(*everything(lab, lab_a))
    assert edges(lab, True) == edges(lab, False)
    assert described(lab, True) == described(lab, False)
    assert lineage(lab, True) == lineage(lab, False)
    assert {n: len(t) for n, t in tables(lab, True).items()} == {n: len(t) for n, t in tables(lab, False).items()}
