"""What a DataJoint query selects of the rows of tables, as values that our own statements can use.

DataJoint takes some restrictions for "everything" in silence: a mapping, a record or another query that has no
attribute of the table, as after a typing error. That is harmless where rows are looked at. Where they are copied, held
or deleted it is refused, so a query remembers it, and so do the queries that are made of it.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import datajoint as dj
import numpy as np
import pandas as pd

from . import host
from .errors import ConfigError, LinkError, PrivilegeError, ServerError, UnreachableError
from .host import QueryExpression
from .model.ranges import Selection
from .travelling import MOST_KEYS, listed, rows_in, travelled
from .typed import Typed, of_classes


@dataclass(frozen=True)
class Unmatched:
    """A restriction without any attribute of what it restricts.

    Attributes
    ----------
    named : tuple of str
        What it has instead.
    table : str
        What it restricts.
    known : tuple of str
        The attributes of that.
    """

    named: tuple[str, ...]
    table: str
    known: tuple[str, ...]


class UnfitQueryError(ConfigError, AttributeError):
    """A query of which something cannot be asked; to Python no such attribute."""


class Selecting(Typed):
    """A query that remembers which of its restrictions have none of its attributes, with all that is made of it."""

    #: What DataJoint would take for everything.
    _unmatched: tuple[Unmatched, ...] = ()
    #: So many keys of another server, and characters of them, restrict it at once; and how often a statement has them.
    most_keys = MOST_KEYS
    #: What to do with more.
    for_more_keys = "Restrict by less, or in parts."
    #: Of an aggregation: the query for whose rows something is counted.
    _about: Any = None
    #: The queries on tables of a source that it is made of.
    _of_source: tuple[Any, ...] = ()

    @property
    def _title(self) -> str:
        """What messages call it."""
        return "this query"

    def _in_our_words(self) -> contextlib.AbstractContextManager[None]:
        """Says in our words what the server says to DataJoint; a source's connection does that by itself."""
        return contextlib.nullcontext()

    def restrict(self, restriction: Any, semantic_check: bool = True) -> Any:
        """Restrict as DataJoint does; see :meth:`datajoint.QueryExpression.restrict`.

        A query on another server restricts as well: the keys that it selects are read now, and travel.
        """
        restriction = _readable(restriction)
        expression: Any = super()
        result = expression.restrict(_travelled(self, restriction, semantic_check), semantic_check=semantic_check)
        unmatched = tuple(_unmatched(self, restriction))
        if unmatched:
            result = copy.copy(result)  # DataJoint returns the same object where a restriction has no effect
            result._unmatched = (*self._unmatched, *unmatched)
        return result

    @of_classes
    def join(self, other: Any, semantic_check: bool = True, left: bool = False, allow_nullable_pk: bool = False) -> Any:
        """Join as DataJoint does; see :meth:`datajoint.QueryExpression.join`."""
        _require_same_connection(self, _queries(other))
        if host.is_limited(self):
            return self.make_subquery().join(other, semantic_check, left=left, allow_nullable_pk=allow_nullable_pk)
        expression: Any = super()
        result = expression.join(_limited(other), semantic_check, left=left, allow_nullable_pk=allow_nullable_pk)
        return _made_of(result, self, other)

    @of_classes  # type: ignore[arg-type]
    def aggr(self, group: Any, *attributes: Any, exclude_nonmatching: bool = False, **named_attributes: Any) -> Any:
        """Aggregate as DataJoint does; see :meth:`datajoint.QueryExpression.aggr`."""
        _require_same_connection(self, _queries(group))
        expression: Any = super()
        result = expression.aggr(group, *attributes, exclude_nonmatching=exclude_nonmatching, **named_attributes)
        counted = result
        while not host.is_aggregation(counted):
            (counted,) = counted.support
        counted._about = self
        return _made_of(result, self, group)

    aggregate = aggr

    def make_subquery(self) -> Any:
        """The same as DataJoint selects from it."""
        result = _made_of(super().make_subquery(), self)  # type: ignore[misc]
        host.inherit_language(result, self)
        return result

    def __add__(self, other: Any) -> Any:
        _require_same_connection(self, _queries(other))
        return _made_of(super().__add__(other), self, other)  # type: ignore[misc]


def _made_of(result: Any, *operands: Any) -> Any:
    """A query that remembers what those which it is made of remember."""
    kind: Any = type(result)
    result.__class__ = _selecting(kind)
    tables = [operand() if _is_table_class(operand) else operand for operand in operands]
    result._of_source = tuple(each for table in tables for each in getattr(table, "_of_source", ()))
    unmatched = [each for operand in operands for each in getattr(operand, "_unmatched", ())]
    if unmatched:
        result._unmatched = tuple(unmatched)
    return result


@functools.cache
def _selecting(kind: type) -> type:
    if issubclass(kind, Selecting):
        return kind
    return type(kind.__name__, (Selecting, kind), {"__reduce__": _reduced, "__getattr__": _lacking})


_JOINED = "A pipeline's pull() takes a join as it is, and brings the rows of every table in it."


def _lacking(query: Any, name: str) -> NoReturn:
    """Say of what a query of tables lacks, and they have, how it is had of them."""
    tables = () if name.startswith("_") else query._of_source
    if answers := list(dict.fromkeys(filter(None, (table._answer(name) for table in tables)))):
        raise UnfitQueryError(
            f"This query is made of {' and '.join(dict.fromkeys(table._written for table in tables))}, and is no table "
            f"itself: it has no {name}.",
            f"Write {' or '.join(answers)}. {_JOINED if name == 'pull' else ''}".strip(),
        )
    raise AttributeError(f"{type(query).__name__!r} object has no attribute {name!r}")


def _reduced(query: Any) -> tuple[Any, ...]:
    """How a query is copied and pickled whose class is made here."""
    return _blank, (type(query).__bases__[1],), vars(query)


def _blank(kind: type) -> Any:
    return object.__new__(_selecting(kind))


def _readable(restriction: Any) -> Any:
    """A restriction that can be read more than once, and that servers take."""
    if isinstance(restriction, dj.Not):
        return dj.Not(_readable(restriction.restriction))
    if isinstance(restriction, (Iterator, list, tuple)):
        kind = dj.AndList if isinstance(restriction, dj.AndList) else list
        return kind(map(_readable, restriction))
    return _limited(restriction)


def _limited(query: Any) -> Any:
    """A query that takes only some rows, so that it does also as a part of another, where DataJoint forgets of it."""
    return query.make_subquery() if isinstance(query, QueryExpression) and host.is_limited(query) else query


def _travelled(query: Any, restriction: Any, semantic_check: bool) -> Any:
    """A restriction as the server of a query can take it: what is on another one, by its keys; and long lists."""
    if isinstance(restriction, dj.Not):
        return dj.Not(_travelled(query, restriction.restriction, semantic_check))
    if host.is_query(restriction):
        # A class that no schema has been given has no connection, of which DataJoint will tell.
        if restriction.connection is None or restriction.connection is query.connection:
            return restriction
        return travelled(query, restriction() if isinstance(restriction, type) else restriction, semantic_check)
    if (rows := rows_in(restriction)) is not None and (found := listed(query, rows)) is not None:
        return found
    if isinstance(restriction, (list, tuple, set, frozenset)):
        kind = dj.AndList if isinstance(restriction, dj.AndList) else list
        return kind(_travelled(query, each, semantic_check) for each in restriction)
    return restriction


def _queries(restriction: Any) -> Iterator[Any]:
    """The queries, and classes of tables, in a restriction."""
    while isinstance(restriction, dj.Not):
        restriction = restriction.restriction
    if isinstance(restriction, QueryExpression) or _is_table_class(restriction):
        yield restriction
    elif isinstance(restriction, (list, tuple, set, frozenset)):
        for item in restriction:
            yield from _queries(item)


def _is_table_class(given: Any) -> bool:
    return isinstance(given, type) and issubclass(given, QueryExpression)


def _require_same_connection(query: Any, others: Iterable[Any]) -> None:
    """Raise ConfigError for queries on another connection: the text of one means something else to another server."""
    for other in others:
        # A class that no schema has been given has none, of which DataJoint will tell.
        if other.connection is not None and other.connection is not query.connection:
            here, there = (host.login(each.connection) for each in (query, other))
            raise ConfigError(
                f"A query on {here.host}:{here.port} as {here.user!r} cannot be combined with one on "
                f"{there.host}:{there.port} as {there.user!r}: each server knows its own tables.",
                "Restrict by the other one, with & or -: its keys travel. Or write the same query with the tables of "
                "this one.",
            )


def _unmatched(query: Any, restriction: Any) -> Iterator[Unmatched]:
    """What restrictions have instead of attributes of a query, where they have none; DataJoint's own rules.

    An empty mapping is its way to say "everything".
    """
    while isinstance(restriction, dj.Not):
        restriction = restriction.restriction
    if _is_table_class(restriction):
        restriction = restriction()
    if isinstance(restriction, Mapping):
        named = [str(name).split(".", 1)[0] for name in restriction]
    elif isinstance(restriction, QueryExpression):
        yield from getattr(restriction, "_unmatched", ())
        named = list(restriction.heading.names)
    elif isinstance(restriction, pd.DataFrame):
        named = list(restriction.head(1).to_records().dtype.names or ()) if len(restriction) else []
    elif isinstance(restriction, (np.void, np.ndarray)) and restriction.dtype.names:
        named = list(restriction.dtype.names) if restriction.size else []
    elif isinstance(restriction, Iterable) and not isinstance(restriction, str):
        for item in restriction:
            yield from _unmatched(query, item)
        return
    else:
        return
    known = tuple(query.heading.names)
    if named and set(known).isdisjoint(named):
        yield Unmatched(tuple(map(str, named)), query._title, known)


def require_matched(expression: Any) -> None:
    """Raise ConfigError for a query that is restricted by what has none of its attributes."""
    for unmatched in getattr(expression, "_unmatched", ()):
        raise ConfigError(
            f"A restriction by {', '.join(unmatched.named)} has no attribute of {unmatched.table}: DataJoint would "
            "select everything.",
            _meant(unmatched.named, unmatched.known),
        )


def require_own_key(query: Any) -> None:
    """Raise ConfigError for a query on a table in which its key has other names, or is left out.

    The values of another column might stand under the name of the key.
    """
    renamed = host.renamed_key(query)
    if renamed is None:
        what = "by dj.U has values of it, each once, and not its rows."
    elif renamed:
        pairs = ", ".join(f"{old} as {new}" for new, old in renamed.items())
        what = f"calls its key something else ({pairs}), and does not tell its rows."
    else:
        return
    raise ConfigError(
        f"This query on {query._title} {what}",
        "Restrict the table itself, by its own names, or by this query where they have names in common.",
    )


def restricted(query: Any, condition: str | list[str], called: str) -> Any:
    """A query on a table, restricted by what somebody has typed in a shell or a file; its server understands it.

    Parameters
    ----------
    query : Selecting
        The table, or its class.
    condition : str or list of str
        One condition; or several, of which one must be true.
    called : str
        What messages call the table.

    Raises
    ------
    ConfigError
        It is empty, or not understood.
    """
    if _is_table_class(query):
        query = query()
    names = query.heading.names
    if isinstance(condition, str) and not condition.strip():
        raise unreadable(called, names, "it is empty.")
    try:
        with query._in_our_words():
            result = query & condition
            result.connection.query(f"{result.make_sql()} LIMIT 0")
    except (host.AccessError, host.LostConnectionError, PrivilegeError, UnreachableError):
        raise
    except ServerError as error:
        raise unreadable(called, names, error.what) from error
    except LinkError:
        raise
    except host.DataJointError as error:
        raise unreadable(called, names, str(error.args[0])) from error
    return result


def unreadable(called: str, names: Iterable[str], said: str) -> ConfigError:
    """The error for a condition on a table that cannot be used."""
    return ConfigError(
        f"The condition on {called} cannot be used: {said}", f"It has the attributes {', '.join(names)}."
    )


def selection_of(expression: Any) -> Selection:
    """The selection of those rows of a base table that are in a DataJoint expression on it.

    Parameters
    ----------
    expression : datajoint.QueryExpression
        The table, restricted in whatever way.

    Raises
    ------
    ConfigError
        It is restricted by what has none of its attributes, or no longer has the table's key.
    """
    require_matched(expression)
    require_own_key(expression)
    if host.is_restricted_table(expression):
        clause = host.where_clause(expression)
        return Selection(f"({clause})" if clause else "")
    key = ", ".join(host.quoted(expression, expression.primary_key))
    (alias,) = host.quoted(expression, ["~selection"])
    return Selection(f"({key}) IN (SELECT {key} FROM ({expression.proj().make_sql()}) AS {alias})")


def _meant(named: Sequence[str], known: Sequence[str]) -> str:
    close = dict.fromkeys(match for name in named for match in difflib.get_close_matches(name, known, n=2, cutoff=0.5))
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else f"It has {', '.join(known)}."
