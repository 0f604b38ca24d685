"""Links of the older interface: the documented rights, the linked class, and the outbound table by plain DataJoint."""

from __future__ import annotations

from typing import Any

import datajoint as dj
from datajoint.utils import from_camel_case
from lab import Lab

from dj_link import LazySchema, Link


def grant_schemas(lab: Lab) -> None:
    """The documented rights and no more: reading and referring to the source schema, all on the outbound schema."""
    if lab.kind == "postgresql":
        lab.source_server.sql(
            f"GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA {lab.source_schema} TO {lab.link_user}"
        )
        return
    for rights, schema in (("SELECT, REFERENCES", lab.source_schema), ("ALL", lab.helper_schema)):
        # In a right on a whole schema _ stands for any character.
        name = schema.replace("_", "\\_")
        lab.source_server.sql(f"GRANT {rights} ON `{name}`.* TO {lab.link_user}@'%'")


def older(lab: Lab, table: Any, **stores: str) -> Any:
    """The class of a source table, linked by the older interface, with its rights; nothing is connected yet."""
    grant_schemas(lab)
    return linked(lab, table if isinstance(table, str) else table.__name__, **stores)


def linked(lab: Lab, name: str, **stores: str) -> Any:
    """The class of this name, linked by the older interface."""
    lab.helper_table = f"{from_camel_case(name)}_outbound"
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


# what the outbound table says


def parts(lab: Lab) -> dict[str, str]:
    """The part tables of the outbound table by what they say."""
    name = f"{lab.helper_schema}.{lab.helper_table}__deletion"
    return {"is_flagged": f"{name}_requested", "is_deprecated": f"{name}_approved"}


def key_of(lab: Lab) -> str:
    """The columns of the key, as a list."""
    named = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
    found = lab.source_server.sql(named, lab.helper_schema, f"{lab.helper_table}__deletion_requested")
    return ", ".join(name for (name,) in found)


def said(lab: Lab) -> str:
    """A FROM item with what the outbound table says, as the columns of a helper table."""
    key, name = key_of(lab), f"{lab.helper_schema}.{lab.helper_table}"
    flags = ", ".join(
        f"CASE WHEN ({key}) IN (SELECT {key} FROM {part}) THEN 'TRUE' ELSE 'FALSE' END AS {column}"
        for column, part in parts(lab).items()
    )
    return f"(SELECT {key}, _process AS process, _worker, {flags} FROM {name}) said"


def request(lab: Lab, condition: str, wanted: bool) -> None:
    """Ask for the deletion of what is held, or take that back."""
    part, key = parts(lab)["is_flagged"], key_of(lab)
    if wanted:
        held = f"SELECT {key} FROM {lab.helper_schema}.{lab.helper_table} WHERE {condition}"
        lab.source_server.sql(f"INSERT INTO {part} ({key}) {held} AND ({key}) NOT IN (SELECT {key} FROM {part})")
    else:
        lab.source_server.sql(f"DELETE FROM {part} WHERE {condition}")
