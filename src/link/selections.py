"""What a DataJoint query selects of the rows of one table, as a value that our own statements can use.

DataJoint takes some restrictions for "everything" in silence: a mapping, a record or another query that has no
attribute of the table, as after a typing error. That is harmless where rows are looked at. Where they are copied, held
or deleted it is refused, so a query remembers it.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import datajoint as dj
import numpy as np
import pandas as pd

from . import host
from .errors import ConfigError
from .host import QueryExpression
from .model.ranges import Selection


class Selecting:
    """A table that remembers which of its restrictions have none of its attributes."""

    #: What such a restriction has instead.
    _unmatched: tuple[tuple[str, ...], ...] = ()

    def restrict(self, restriction: Any, semantic_check: bool = True) -> Any:
        """Restrict as DataJoint does; see :meth:`datajoint.QueryExpression.restrict`."""
        restriction = _readable(restriction)
        expression: Any = super()
        result = expression.restrict(restriction, semantic_check=semantic_check)
        unmatched = tuple(_unmatched(frozenset(self.heading.names), restriction))  # type: ignore[attr-defined]
        if unmatched:
            result = copy.copy(result)  # DataJoint returns the same object where a restriction has no effect
        if unmatched or self._unmatched:
            result._unmatched = (*self._unmatched, *unmatched)
        return result


def _readable(restriction: Any) -> Any:
    """A restriction that can be read more than once."""
    if isinstance(restriction, dj.Not):
        return dj.Not(_readable(restriction.restriction))
    return list(restriction) if isinstance(restriction, Iterator) else restriction


def _unmatched(known: frozenset[str], restriction: Any) -> Iterator[tuple[str, ...]]:
    """What restrictions have instead of the known attributes, where they have none of those; DataJoint's own rules.

    An empty mapping is its way to say "everything".
    """
    while isinstance(restriction, dj.Not):
        restriction = restriction.restriction
    if isinstance(restriction, type) and issubclass(restriction, QueryExpression):
        restriction = restriction()
    if isinstance(restriction, Mapping):
        named = [str(name).split(".", 1)[0] for name in restriction]
    elif isinstance(restriction, QueryExpression):
        named = list(restriction.heading.names)
    elif isinstance(restriction, pd.DataFrame):
        named = list(restriction.head(1).to_records().dtype.names or ()) if len(restriction) else []
    elif isinstance(restriction, (np.void, np.ndarray)) and restriction.dtype.names:
        named = list(restriction.dtype.names) if restriction.size else []
    elif isinstance(restriction, Iterable) and not isinstance(restriction, str):
        for item in restriction:
            yield from _unmatched(known, item)
        return
    else:
        return
    if named and known.isdisjoint(named):
        yield tuple(map(str, named))


def selection_of(expression: Any, name: str) -> Selection:
    """The selection of those rows of a base table that are in a DataJoint expression on it.

    Parameters
    ----------
    expression : datajoint.QueryExpression
        The table, restricted in whatever way.
    name : str
        Its class, for messages.

    Raises
    ------
    ConfigError
        It is restricted by what has none of its attributes.
    """
    for named in getattr(expression, "_unmatched", ()):
        raise ConfigError(
            f"A restriction by {', '.join(named)} has no attribute of {name}: DataJoint would select everything.",
            _meant(named, expression.heading.names),
        )
    if host.is_restricted_table(expression):
        clause = host.where_clause(expression)
        return Selection(f"({clause})" if clause else "")
    key = ", ".join(host.quoted(expression, expression.primary_key))
    (alias,) = host.quoted(expression, ["~selection"])
    return Selection(f"({key}) IN (SELECT {key} FROM ({expression.proj().make_sql()}) AS {alias})")


def _meant(named: Sequence[str], known: Sequence[str]) -> str:
    close = dict.fromkeys(match for name in named for match in difflib.get_close_matches(name, known, n=2, cutoff=0.5))
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else f"It has {', '.join(known)}."
