"""What users choose of a pipeline: queries, classes, schemas and diagrams of the source, as conditions on groups."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from types import ModuleType
from typing import Any, cast

from . import host
from .api import LinkedPart, LinkedTable
from .errors import ConfigError, NotFoundError, PrivilegeError
from .host import QueryExpression
from .model.graph import Edge, Name, Outside, label
from .model.ranges import ALL, Selection
from .model.schema import Table
from .ours import LocalSchema
from .queries import (
    Occurrence,
    UnfollowedError,
    diagram_connection,
    is_diagram,
    occurrences,
    restricted_tables,
)
from .selections import Selecting, require_matched
from .theirs import SourceSchema, SourceTable, Theirs
from .travelling import in_batches

#: Of each group that is chosen from: conditions, one of which is to be true.
Selections = dict[Name, list[Selection]]

_WAYS = (
    "Such as source.ephys.Unit & 'subject_id = 7' of the pipeline, a class, or a schema: any number of them, which are "
    "added up."
)


def chosen(theirs: Theirs, selections: Iterable[Any]) -> Selections:
    """What some selections choose of which groups, all of them together.

    Of a join the rows of every table in it are chosen; of a part the entities that its rows belong to.

    Raises
    ------
    ConfigError
        One of them is no selection, or cannot be followed, or not on this source.
    NotFoundError
        A table in one of them is not the pipeline's.
    """
    selections = list(selections)
    if not selections:
        raise ConfigError("Nothing is selected.", _WAYS)
    graph, found = theirs.graph(), Selections()
    for selection in selections:
        for name, rows in _chosen(theirs, selection):
            found.setdefault(name, []).append(rows)
    for name, several in found.items():
        found[name] = [ALL] if ALL in several else list(dict.fromkeys(several))
        for each in found[name]:
            theirs.links.connect_source().require_short(each.condition)
    return {name: found[name] for name in graph.groups if name in found}


def in_turns(selections: Iterable[Any], among: Any) -> Iterator[Any]:
    """Queries, restricted by what may be more keys than travel at once; each as several, as the keys need it.

    Raises
    ------
    ConfigError
        A selection is no query; or the keys are no keys of it.
    """
    for selection in selections:
        query = selection() if isinstance(selection, type) and issubclass(selection, QueryExpression) else selection
        if not isinstance(query, Selecting):
            raise ConfigError(
                f"among= restricts queries on tables of the source, and {_told(selection)} is none.",
                "Such as pull(source.ephys.Unit, among=MySelection) of the pipeline.",
            )
        for batch in in_batches(query, among):
            yield cast(Any, query) & batch


def _chosen(theirs: Theirs, selection: Any) -> Iterator[tuple[Name, Selection]]:
    _require_theirs(theirs, selection)
    if isinstance(selection, type):
        selection = selection()
    if isinstance(selection, QueryExpression):
        yield from _of_query(theirs, selection)
    elif is_diagram(selection):
        tables = restricted_tables(selection)
        if not tables:
            raise ConfigError(
                "This diagram has no restricted tables.",
                "Make it by dj.Diagram.cascade(), .trace() or .restrict(); or select the schemas or tables themselves.",
            )
        for table in tables:
            yield from _of_query(theirs, table)
    else:
        schema = _schema_of(selection)
        yield from ((name, ALL) for name in theirs.graph().groups if name[0] == schema.database)


def _of_query(theirs: Theirs, query: Any) -> Iterator[tuple[Name, Selection]]:
    require_matched(query)
    if host.is_restricted_table(query):
        (full_name,) = query.support
        name, table = _table(theirs, full_name)
        if table.name == name[1]:
            clause = host.where_clause(query)
            yield name, Selection(f"({clause})") if clause else ALL
            return
    for occurrence in _followed(query):
        name, table = _table(theirs, occurrence.full_name)
        if not host.is_restricted_table(query):
            _require_key(theirs, name, table)
        master = theirs.graph().groups[name].master
        if not master.primary_key:
            yield name, ALL  # one row, or none
            continue
        key = ", ".join(host.quoted(query, master.primary_key))
        yield name, Selection(f"({key}) IN ({occurrence.values(table.entity_key)})")


def _followed(query: Any) -> list[Occurrence]:
    try:
        return list(occurrences(query))
    except UnfollowedError as error:
        raise ConfigError(
            f"What this query selects of the tables that it is made of cannot be told: {error}.",
            "Restrict the tables by it, and select those: source.ephys.Unit & query.",
        ) from None


def _require_key(theirs: Theirs, name: Name, table: Table) -> None:
    """Raise PrivilegeError where DataJoint does not see by which attributes rows of a table are told apart."""
    shown = theirs.heading(name, table.name).primary_key
    if table.primary_key and not shown:
        site = theirs.links.connect_source()
        raise PrivilegeError(
            f"DataJoint does not see the primary key of {table.schema}.{table.name} as {site.user!r}, who lacks "
            "REFERENCES: of such tables only conditions on their own attributes can be followed.",
            site.grant_hint(["REFERENCES"], table.schema, table.name),
        )


def _table(theirs: Theirs, full_name: str) -> tuple[Name, Table]:
    """The group of a table, and the table."""
    schema, table = host.parted(full_name)
    for name, group in theirs.graph().groups.items():
        if name[0] == schema:
            for each in group.tables:
                if each.name == table:
                    return name, each
    raise NotFoundError(
        f"The table {schema}.{table} is not one of this pipeline's.",
        f"Name its schema in schemas=: {schema!r}, and the local schema that shall have its tables.",
    )


# what is refused


def _require_theirs(theirs: Theirs, selection: Any) -> None:
    """Raise ConfigError for what does not select at the source of the pipeline."""
    if named := _local_name(theirs, selection):
        raise ConfigError(
            f"{named} is what is here; what is to be pulled is selected at the source.",
            f"Write source.{named} of the pipeline, restricted by the source's attributes, or by what is here.",
        )
    if is_diagram(selection):
        connection = diagram_connection(selection)
    elif isinstance(selection, QueryExpression) or (
        isinstance(selection, type) and issubclass(selection, QueryExpression)
    ):
        connection = selection.connection
    else:
        connection = _schema_of(selection).connection
    links = theirs.links
    if connection is links.connect_here():
        raise ConfigError(
            "A query on the local tables selects nothing at the source: its text means something else there.",
            "Write the same query with the tables of the pipeline's source: source.ephys.Unit & ... "
            "Or restrict by it: source.ephys.Unit & query, whose keys travel.",
        )
    if connection is not links.connect_source().connection:
        site = links.connect_source()
        raise ConfigError(
            f"A selection is on another connection than that of the pipeline's source {site.address} as {site.user!r}.",
            _WAYS,
        )


def _schema_of(selection: Any) -> Any:
    """The schema of a module: one of ours, or one that DataJoint has made."""
    schema = selection
    if isinstance(selection, ModuleType) and not isinstance(selection, SourceSchema):
        schema = getattr(selection, "schema", None)
    if isinstance(schema, SourceSchema) or host.is_schema(schema):
        return schema
    several = isinstance(selection, (list, tuple, set))
    raise ConfigError(
        f"{f'A {type(selection).__name__} of selections' if several else _told(selection)} selects nothing of the "
        "source.",
        ("Give them one by one, or with a *: pull(*selections). " if several else "") + _WAYS,
    )


def _local_name(theirs: Theirs, selection: Any) -> str | None:
    """The source's name of what is a local table, or the module of a local schema."""
    if isinstance(selection, LocalSchema):
        return selection.__name__
    kind = selection if isinstance(selection, type) else type(selection)
    if not issubclass(kind, (LinkedTable, LinkedPart)):
        return None
    spec = kind._link.spec
    within = f".{kind.__name__}" if issubclass(kind, LinkedPart) else ""
    return f"{spec.source_schema}.{spec.source_class}{within}"


# what is said by name


def groups_named(theirs: Theirs, argument: str, given: Any) -> set[Name]:
    """The groups that an argument such as ``leave_out=`` names, by classes or as ``"schema.Class"``."""
    found = set[Name]()
    for each in _several(argument, given):
        if isinstance(each, str):
            found.add(theirs.graph().find(each))
            continue
        if isinstance(each, type) and issubclass(each, SourceTable) and each.is_master:
            found.add(each.group)
        elif isinstance(each, type) and issubclass(each, LinkedTable):
            found.add(theirs.graph().find(f"{each._link.spec.source_schema}.{each._link.spec.source_class}"))
        else:
            raise ConfigError(
                f"{argument}= takes classes of tables, whole with their parts, and names of such; not {_told(each)}.",
                f'Such as {argument}=[source.ephys.Unit] of the pipeline, or {argument}=["ephys.Unit"].',
            )
    return found


def require_some_left(selected: Collection[Name], out: Set[Name]) -> None:
    """Raise ConfigError where all that is selected is left out."""
    if selected and set(selected) <= out:
        raise ConfigError(
            f"All that is selected is left out: {', '.join(map(label, sorted(selected)))}.",
            "leave_out= is for tables that come along with what is selected.",
        )


def keys_to_cut(theirs: Theirs, cut: Any) -> list[Edge | Outside]:
    """The foreign keys that are not followed: those that ``cut=`` names, and those that local tables lack."""
    found = list[Edge | Outside]()
    for place in _several("cut", cut):
        if not isinstance(place, str) or place.count(".") < 2:
            raise ConfigError(
                f"cut={_told(place)} names no attribute of a foreign key.",
                'It is "schema.Class.attribute", or "schema.Class.Part.attribute".',
            )
        found += theirs.graph().find_key(place)
    return theirs.links.find_cut(list(dict.fromkeys(found)))


def _several(argument: str, given: Any) -> Collection[Any]:
    if isinstance(given, (str, type)):
        return [given]
    # Every row of a query would be one.
    if isinstance(given, Iterable) and not isinstance(given, QueryExpression):
        return list(given)
    raise ConfigError(f"{argument}= takes a list, not {_told(given)}.", f'Such as {argument}=["{_FORMS[argument]}"].')


_FORMS = {"leave_out": "ephys.Unit", "tables": "ephys.Unit", "cut": "ephys.Unit.subject_id"}


def _told(given: Any) -> str:
    """What something is, in few words: a query would show its rows."""
    return "a query" if isinstance(given, QueryExpression) else f"{given!r:.200}"


LOOKUPS = ("referenced", "whole")


def require_lookups(lookups: object) -> None:
    """Raise ConfigError for what is no word for lookup tables."""
    if lookups not in LOOKUPS:
        raise ConfigError(
            f"lookups={lookups!r} is not known.",
            "'referenced' brings those rows of lookup tables to which others refer, 'whole' the lookup tables of the "
            "plan whole.",
        )


def require_limits(limits: Mapping[str, object]) -> None:
    """Raise ConfigError for limits that are no numbers."""
    for name, limit in limits.items():
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit < 0):
            raise ConfigError(f"{name}= must be a number of at least 0, not {limit!r}.")
