"""What a DataJoint query selects of the rows of one table, as a value that our own statements can use."""

from __future__ import annotations

from typing import Any

from . import host
from .model.ranges import Selection


def selection_of(expression: Any) -> Selection:
    """The selection of those rows of a base table that are in a DataJoint expression on it.

    Parameters
    ----------
    expression : datajoint.QueryExpression
        The table, restricted in whatever way.
    """
    if host.is_restricted_table(expression):
        clause = host.where_clause(expression)
        return Selection(f"({clause})" if clause else "")
    key = ", ".join(host.quoted(expression, expression.primary_key))
    return Selection(f"({key}) IN (SELECT {key} FROM ({expression.proj().make_sql()}) AS selection)")
