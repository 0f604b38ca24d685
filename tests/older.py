"""Links of the older interface: the documented rights, the linked class, and the outbound table by plain DataJoint."""

from __future__ import annotations

from typing import Any

import datajoint as dj
from lab import Lab
from pipelines import run_sql

from dj_link import LazySchema, Link


def grant_schemas(lab: Lab) -> None:
    """The documented rights and no more: reading and referring to the source schema, all on the outbound schema."""
    user = lab.link_user
    if lab.kind == "postgresql":
        tables = f"ALL TABLES IN SCHEMA {lab.source_schema}"
        run_sql(lab.source_server, [f"GRANT SELECT, REFERENCES ON {tables} TO {user}"])
    else:
        # In a right on a whole schema _ stands for any character.
        source, helper = (schema.replace("_", "\\_") for schema in (lab.source_schema, lab.helper_schema))
        statements = [f"GRANT SELECT, REFERENCES ON `{source}`.* TO {user}@'%'"]
        run_sql(lab.source_server, [*statements, f"GRANT ALL ON `{helper}`.* TO {user}@'%'"])


def older(lab: Lab, table: Any, **stores: str) -> Any:
    """The class of a source table, linked by the older interface, with its rights; nothing is connected yet."""
    grant_schemas(lab)
    return linked(lab, table if isinstance(table, str) else table.__name__, **stores)


def linked(lab: Lab, name: str, **stores: str) -> Any:
    """The class of this name, linked by the older interface."""
    local_schema = LazySchema(lab.local_schema, connection=lab.local)
    source_schema = LazySchema(lab.source_schema, connection=lab.link_instance())
    return Link(local_schema, source_schema, stores=stores or None)(type(name, (), {}))


def outbound(lab: Lab, name: str) -> Any:
    """The outbound table of a class, as the source's administrator sees it with nothing but DataJoint."""
    schema: Any = lab.source.Schema(lab.helper_schema, create_schema=False, create_tables=False)
    found: dict[str, Any] = {}
    schema.make_classes(into=found)
    return found[f"{name}Outbound"]


def keys(table: Any) -> list[dict[str, Any]]:
    """The primary keys of a DataJoint table, in order."""
    return sorted(table.keys(), key=repr)


def declare_outbound(lab: Lab, table: Any) -> Any:
    """The outbound table as the earlier programs have made it: by DataJoint, as the link user, with the key alone."""
    instance = lab.link_instance()
    there: Any = instance.Schema(lab.source_schema, create_schema=False, create_tables=False)
    found: dict[str, Any] = {}
    there.make_classes(into=found)

    class DeletionRequested(dj.Part):
        definition = "-> master"

    class DeletionApproved(dj.Part):
        definition = "-> master"

    body = {"definition": f"-> {table.__name__}", "DeletionRequested": DeletionRequested}
    made = type(f"{table.__name__}Outbound", (dj.Manual,), {**body, "DeletionApproved": DeletionApproved})
    return instance.Schema(lab.helper_schema)(made, context=found)
