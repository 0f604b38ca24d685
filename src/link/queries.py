"""How the rows of tables are followed through DataJoint's queries; with :mod:`link.host`, what is known of its insides.

A query is made of tables and of other queries, which are its support, and is one statement. What is added here to that
statement, at every level, are the columns of one of its tables: so they come out with just those rows that take part
in the result, whatever has been joined, renamed, restricted, limited or counted on the way.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import datajoint as dj
from datajoint.expression import Aggregation, QueryExpression, Union

from . import host
from .errors import ConfigError

#: The attributes of a query by which rows are told apart, taken along under other names.
_TAKEN = "~{}"


class UnfollowedError(Exception):
    """The rows of the tables in a query cannot be told from its result."""


class Occurrence:
    """A table in a query.

    Parameters
    ----------
    query : datajoint.QueryExpression
        The query.
    path : sequence of int
        Which part of its support it is, of that which part, and so on.
    """

    def __init__(self, query: Any, path: Sequence[int]) -> None:
        self._query = query
        self._path = path
        for place in path:
            query = _operands(query)[place]
        self.full_name = str(query)

    def values(self, columns: Sequence[str]) -> str:
        """A query for the values of columns of this table, in the rows of it that take part in the result."""
        taken = host.quoted(self._query, _names(columns))
        (alias,) = host.quoted(self._query, ["~taken"])
        taking = _taking(self._query, self._path, columns, whole=False)
        return f"SELECT {', '.join(taken)} FROM ({taking}) AS {alias}"


def occurrences(query: Any, path: tuple[int, ...] = ()) -> Iterator[Occurrence]:
    """Every table whose rows a query is made of; of an aggregation those of what is counted for, not what is counted.

    Raises
    ------
    UnfollowedError
        Its rows are no longer those of tables.
    """
    within = query
    for place in path:
        within = _operands(within)[place]
    if isinstance(within, str):
        yield Occurrence(query, path)
        return
    for place in range(len(_operands(within))):
        yield from occurrences(query, (*path, place))


def _operands(query: Any) -> list[Any]:
    """The tables, by full name, and the queries that the rows of a query are made of."""
    if query._distinct:
        raise UnfollowedError("of dj.U it has only values, each once")
    if not isinstance(query, Aggregation):
        return list(query.support)
    about = getattr(query, "_about", None)
    if about is None:
        raise UnfollowedError("it is an aggregation of other rows")
    return [about]


def is_recounted(query: Any) -> bool:
    """Whether the rows of a query are no longer those that its statement reads."""
    return isinstance(query, (Aggregation, Union))


class _Text(QueryExpression):
    """A query whose text is known."""

    def __init__(self, text: str) -> None:
        self._text = text

    def make_sql(self, fields: Any = None) -> str:
        return self._text


def _taking(query: Any, path: Sequence[int], columns: Sequence[str], whole: bool = True) -> str:
    """The text of a query, with columns of one of its tables besides; not the whole of it where nobody asks for it."""
    place, *further = path
    operand, taken = _operands(query)[place], host.quoted(query, _names(columns))
    if is_recounted(query):
        # By its key.
        result, one = host.quoted(query, ["~result", "~one"])
        same = " AND ".join(f"{one}.{name} = {result}.{name}" for name in host.quoted(query, query.primary_key))
        added = ", ".join(f"{one}.{name}" for name in taken)
        inner = _taking(operand, further, columns)
        return (
            f"SELECT {result}.*, {added} FROM ({query.make_sql()}) AS {result} "
            f"JOIN ({inner}) AS {one} ON {same or '1 = 1'}"
        )
    source = copy.copy(query)
    if isinstance(operand, str):
        fields = [f"{operand}.{name} AS {alias}" for name, alias in _paired(query, columns)]
    else:
        source._support = [*query.support]
        source._support[place] = _Text(_taking(operand, further, columns))
        fields = taken
    # What it is sorted by may have been computed.
    names = query.heading.names if whole else query.heading.new_attributes if query._top else []
    shown = query.heading.as_sql(names, adapter=query.connection.adapter) if names else ""
    return (
        f"SELECT {', '.join(filter(None, (shown, *fields)))} FROM {source.from_clause()}"
        f"{query.where_clause()}{query.sorting_clauses()}"
    )


def _names(columns: Sequence[str]) -> list[str]:
    return [_TAKEN.format(number) for number in range(len(columns))]


def _paired(query: Any, columns: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(host.quoted(query, columns), host.quoted(query, _names(columns)), strict=True)


# diagrams


def is_diagram(given: Any) -> bool:
    """Whether something is a diagram; the libraries that draw them are slow to import, and loaded by who makes one."""
    drawing = sys.modules.get("datajoint.diagram")
    return drawing is not None and isinstance(given, drawing.Diagram)


def diagram_connection(diagram: Any) -> Any:
    """The connection of a diagram."""
    return diagram._connection


def restricted_tables(diagram: Any) -> list[Any]:
    """The tables of a diagram that are restricted, each as a query.

    Raises
    ------
    ConfigError
        DataJoint's restrictions have come to mean something else on their way through the diagram.
    """
    restrictions = diagram._cascade_restrictions or diagram._restrict_conditions
    tables = []
    for name in restrictions:
        if name not in diagram.nodes_to_show:
            continue
        given = [_as_written(each) for each in restrictions[name]]
        table = host.FreeTable(diagram._connection, name)
        # Of a cascade one of them is to be true, else all of them.
        table = (table & given) if diagram._cascade_restrictions and given else table & dj.AndList(given)
        if "%%%%" in table.make_sql():
            raise ConfigError(
                "DataJoint doubles the percent sign in a condition of this diagram, which then selects something else.",
                "Select by the query itself; pull(..., descendants=True) brings what has been derived from it.",
            )
        tables.append(table)
    return tables


def _as_written(restriction: Any) -> Any:
    """A restriction as a user has written it: DataJoint doubles percent signs each time that it takes one."""
    if isinstance(restriction, str):
        return restriction.replace("%%", "%")
    if isinstance(restriction, dj.AndList):
        return dj.AndList(map(_as_written, restriction))
    return [_as_written(each) for each in restriction] if isinstance(restriction, list) else restriction
