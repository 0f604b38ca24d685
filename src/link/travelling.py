"""Keys that travel: what a query on one server selects, or a long list, as a condition on a query of another server.

The keys are read when the query is made. They travel as values of their columns' kinds, exactly, and stand in the
statement as one list that the server looks up, never as thousands of conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datajoint as dj
import numpy as np
import pandas as pd

from . import host
from .ends.identity import LINKS_TABLE, linked_in
from .errors import ConfigError
from .host import QueryExpression
from .model.keys import as_listed, fits
from .model.ranges import Key
from .model.schema import Column, Table
from .model.served import Tie
from .servers.keyed import Keyed, told_keys
from .servers.site import Site
from .servers.sites import site_of
from .signals import final

#: Keys, and characters of them, that travel to another lab's server with one query; and how often a statement may have
#: them: what it takes is shared by so many.
MOST_KEYS = 20_000, 800_000, 4
#: To one's own.
MOST_HERE = 500_000, 8_000_000, 2
#: Shorter lists are conditions as DataJoint writes them.
FEW = 1000
#: Kinds of which the values of the one may be values of the other.
_FAMILIES = ({"integer", "bool", "decimal"}, {"bytes", "uuid"}, {"text", "enum"})


class Travelled(QueryExpression):
    """Keys that were read elsewhere, as a query on the server where they are wanted.

    Parameters
    ----------
    query : datajoint.QueryExpression
        What they are to restrict.
    names : sequence of str
        Those of its attributes that they are.
    text : str
        The SELECT.
    """

    def __init__(self, query: Any, names: Sequence[str], text: str) -> None:
        this: Any = self
        this._connection, this._heading = query.connection, host.heading_of(query, names)
        self._text = text

    def make_sql(self, fields: Any = None) -> str:
        return self._text


@dataclass(frozen=True)
class _Place:
    """Where the values of an attribute stand."""

    table: Table
    column: Column


class _Side:
    """A query, and the columns of tables that its attributes are."""

    def __init__(self, query: Any, names: Iterable[str]) -> None:
        self.query = query
        self.site: Site = site_of(query.connection)
        traced = {name: list(host.traced(query, name)) for name in names}
        tables = dict.fromkeys(table for found in traced.values() for table, _ in found)
        ties = dict[str, dict[str, Tie | None]]()
        with self.site.catalogue() as catalogue:
            known = {table: catalogue.table(*table) for table in tables}
            for schema in dict.fromkeys(schema for schema, _ in tables):
                if LINKS_TABLE in catalogue.relations(schema):
                    ties[schema] = linked_in(catalogue.session, schema)
            for schema in {lineage[0] for name in names if (lineage := self._lineage(name))} - ties.keys():
                if LINKS_TABLE in catalogue.relations(schema):
                    ties[schema] = linked_in(catalogue.session, schema)
        self._ties = {(schema, table): tie for schema, of in ties.items() for table, tie in of.items() if tie}
        self._places = {
            name: _Place(known[table], known[table][column])
            for name, found in traced.items()
            for table, column in found[::-1]
            if column in known[table].names
        }

    def _lineage(self, name: str) -> tuple[str, ...] | None:
        """Where DataJoint says that an attribute comes from, if it is of this server: schema, table, attribute."""
        lineage = host.lineage_of(self.query, name)
        return tuple(lineage.split(".", 2)) if lineage and "/" not in lineage and lineage.count(".") >= 2 else None

    def place(self, name: str) -> _Place:
        """Where the values of an attribute stand.

        Raises
        ------
        ConfigError
            They are computed.
        """
        if name not in self._places:
            raise ConfigError(
                f"{name!r} is computed by the query on {self.site.address}: its values do not travel.",
                f"Leave it out, or name it otherwise: proj(..., other_name={name!r}).",
            )
        return self._places[name]

    def origins(self, name: str) -> set[str]:
        """All that an attribute is known as: where it comes from, and the column that it is."""
        found = set[str]()
        if lineage := host.lineage_of(self.query, name):
            found.add(lineage if "/" in lineage else f"{self.site.facts.name}/{lineage}")
            if told := self._lineage(name):
                found |= self._original(*told)
        return found | self.columns(name)

    def columns(self, name: str) -> set[str]:
        """The column that an attribute is, and the source's column that this one is a copy of."""
        if name not in self._places:
            return set()
        table, column = self._places[name].table, self._places[name].column.name
        own = f"{self.site.facts.name}/{table.schema}.{table.name}.{column}"
        return {own} | self._original(table.schema, table.name, column)

    def _original(self, schema: str, table: str, column: str) -> set[str]:
        """The source's column of which one is a copy, in a linked table or a part of one."""
        return {
            f"{tie.server}/{tie.table[0]}.{tie.table[1]}{table[len(master) :]}.{column}"
            for (linked_schema, master), tie in self._ties.items()
            if linked_schema == schema and (table == master or table.startswith(f"{master}__"))
        }


def _common(target: Any, other: Any, semantic_check: bool) -> tuple[list[str], _Side, _Side]:
    """The attributes by which rows of two queries on different servers match, as DataJoint would have it on one.

    Raises
    ------
    ConfigError
        There is none; or attributes of one name do not come from one place.
    """
    namesakes = [name for name in target.heading.names if name in other.heading.names]
    if not namesakes:
        raise ConfigError(
            f"A query on {site_of(other.connection).address} has no attribute in common with what it restricts, on "
            f"{site_of(target.connection).address}.",
            f"It has {', '.join(other.heading.names)}; the other one {', '.join(target.heading.names)}.",
        )
    there, here = _Side(target, namesakes), _Side(other, namesakes)
    # Of a table and its copy it is the key that tells a row; other columns may have been edited.
    key = host.key_of_table(target)
    if (
        semantic_check
        and key
        and set(key) <= set(namesakes)
        and all(there.columns(name) & here.columns(name) for name in key)
    ):
        return key, there, here
    if not semantic_check or not (host.has_lineage(target.heading) and host.has_lineage(other.heading)):
        return namesakes, there, here
    found = list[str]()
    for name in namesakes:
        if there.origins(name) & here.origins(name) and host.lineage_of(target, name):
            found.append(name)
        elif not there.columns(name) & here.columns(name):
            raise ConfigError(
                f"{name!r} of the query on {there.site.address} and {name!r} of the one on {here.site.address} are not "
                "the same attribute, as far as DataJoint knows where they come from.",
                f"Name it otherwise, or leave it out: proj(..., other_name={name!r}), or proj() for the key alone. If "
                "they are the same, restrict(..., semantic_check=False) goes by the names.",
            )
    if not found:
        raise ConfigError(
            f"The queries on {there.site.address} and {here.site.address} have no key in common.",
            f"They have {', '.join(namesakes)} in common, which is in the key of neither.",
        )
    return found, there, here


def travelled(target: Any, other: Any, semantic_check: bool = True) -> Travelled:
    """What a query on another server selects, to restrict a query by: its keys are read now.

    Raises
    ------
    ConfigError
        They are too many, or do not match.
    """
    with final():
        names, there, here = _common(target, other, semantic_check)
        keys = _read(names, there, here, target.most_keys[0])
        return _written(target, names, there, keys, is_list=False)


def listed(target: Any, given: Sequence[Any]) -> Travelled | None:
    """A long list of keys, to restrict a query by; None for one that DataJoint had better read itself.

    Raises
    ------
    ConfigError
        They are too many.
    """
    with final():
        found = _as_keys(target, given)
        return None if found is None else _written(target, *found, is_list=True)


def among(target: Any, names: Sequence[str], keys: Sequence[Key]) -> str:
    """The condition that a row of a table, by the names of its columns, has one of some keys.

    Raises
    ------
    ConfigError
        They are too many.
    """
    fields, text = host.quoted(target, names), _written(target, names, _Side(target, names), keys, is_list=False)
    return f"({', '.join(fields)}) IN ({text.make_sql()})"


def in_batches(target: Any, restriction: Any) -> Iterator[Any]:
    """A restriction cut into several, each of which can travel; most are one.

    Of two of them no row is selected by both.
    """
    if host.is_query(restriction):
        if isinstance(restriction, type):
            restriction = restriction()
        if restriction.connection is target.connection:
            yield restriction
            return
        names, there, here = _common(target, restriction, True)
        keys = _read(names, there, here, None)
    elif found := _as_keys(target, restriction):
        names, there, keys = found
    else:
        yield restriction
        return
    for batch in _cut(keys, *_room(target, there.site)):
        yield _written(target, names, there, batch, is_list=False)


def _room(target: Any, site: Site) -> tuple[int, int]:
    """So many keys, and characters of them, restrict a query on a server at once."""
    most, longest, times = target.most_keys
    return most, site.room_for(longest, times)


def _cut(keys: Sequence[Key], most: int, longest: int) -> Iterator[Sequence[Key]]:
    """Keys in batches; one that is empty, if there are none."""
    start, length = 0, 0
    for n, key in enumerate(keys):
        size = sum((2 if (text := str(value)).isascii() else 12) * (len(text) + 4) for value in key)  # at the most
        if n - start == most or (n > start and length + size > longest):
            yield keys[start:n]
            start, length = n, 0
        length += size
    yield keys[start:]


def _read(names: Sequence[str], there: _Side, here: _Side, most: int | None) -> list[Key]:
    """The keys that a query selects, no more than one over so many; without those that can be no keys there."""
    columns = [here.place(name).column for name in names]
    kinds = [there.place(name).column.kind for name in names]
    for name, column, kind in zip(names, columns, kinds, strict=True):
        if not (column.kind and kind and _are_alike(column.kind.name, kind.name)):
            raise ConfigError(
                f"{name!r} is {column.type} on {here.site.address} and {there.place(name).column.type} on "
                f"{there.site.address}: values of the one are none of the other.",
                f"Leave it out: proj(..., other_name={name!r}).",
            )
    dialect, connection = here.site.dialect, here.query.connection
    alias, *fields = host.quoted(here.query, ["~keys", *names])
    select = ", ".join(dialect.told_exactly(c, f"{alias}.{f}") for c, f in zip(columns, fields, strict=True))
    sql = f"SELECT DISTINCT {select} FROM ({here.query.make_sql(names)}) AS {alias}"
    with here.site.turn, here.site.in_our_words():
        if not here.site.in_transaction():
            here.site.revive()
        rows = connection.query(sql if most is None else f"{sql} LIMIT {most + 1}").fetchall()
    # What is NULL matches nothing.
    return [
        key
        for key in told_keys(rows)
        if None not in key and all(kind and fits(kind, value) for kind, value in zip(kinds, key, strict=True))
    ]


def _are_alike(one: str, other: str) -> bool:
    return one == other or any({one, other} <= family for family in _FAMILIES)


def _written(target: Any, names: Sequence[str], there: _Side, keys: Sequence[Key], *, is_list: bool) -> Travelled:
    most, longest = _room(target, there.site)
    dialect, places = there.site.dialect, [there.place(name) for name in names]
    columns = [dialect.travelling(place.column) for place in places]
    listed_fields = [dialect.listed(n) for n in range(len(names))]
    for n, (name, column) in enumerate(zip(names, columns, strict=True)):
        if strange := next((key[n] for key in keys if not dialect.travels(column, key[n])), None):
            raise ConfigError(
                f"A key with {name} = {strange!r} does not travel to {there.site.address}: it is no day of the "
                "calendar, and sessions may take it for another one, or for none.",
                f"Leave it out, and ask for it apart: & {{{name!r}: {strange!r}}}.",
            )
    if len(keys) <= most:
        item = dialect.key_text(columns, keys)
        if len(item) <= longest:
            values = [dialect.travelled_value(c, f) for c, f in zip(columns, listed_fields, strict=True)]
            text = dialect.looked_up(values, item)
            apart = [
                dialect.told_apart(place.column, f"{dialect.alias('told')}.{dialect.quote(place.column.name)}", field)
                for place, field in zip(places, listed_fields, strict=True)
            ]
            if any(apart):
                text = _looked_up(there, places, listed_fields, apart, item)
            return Travelled(target, names, text)
    number = f"more than {most:,}" if len(keys) > most and not is_list else f"{len(keys):,}"
    raise ConfigError(
        f"A {'list' if is_list else 'query on another server'} with {number} keys does not restrict a query on "
        f"{there.site.address}: no more than {most:,} travel at once, nor more than {longest:,} characters of them.",
        target.for_more_keys,
    )


def _looked_up(
    there: _Side, places: Sequence[_Place], fields: Sequence[str], apart: Sequence[str | None], item: str
) -> str:
    """SELECT: the values that the table itself has, where equal values are not told by comparing them."""
    dialect, [table, *others] = there.site.dialect, list(dict.fromkeys(place.table for place in places))
    if others:
        raise ConfigError(
            f"Attributes of {table.name} and {others[0].name} are not compared together with keys of another server.",
            "Restrict the tables one by one, before they are joined.",
        )
    rows = Keyed(dialect, table, [place.column for place in places]).called(dialect.alias("told"))
    on = " AND ".join(
        own or dialect.key_match(place.column, reference, field)
        for own, place, reference, field in zip(apart, places, rows.references, fields, strict=True)
    )
    joined = dialect.driving_join(item, f"{dialect.name_of(table)} {rows.name}", on)
    return dialect.looked_up(rows.references, joined)


# lists


def rows_in(given: Any) -> Sequence[Any] | None:
    """The keys in a long list, as far as they are such; None for what is no long list."""
    if isinstance(given, (list, tuple, set, frozenset)) and not isinstance(given, dj.AndList):
        return list(given) if len(given) > FEW else None
    if isinstance(given, pd.DataFrame) and len(given) > FEW:
        given = given.to_records()
    if isinstance(given, np.ndarray) and given.dtype.names and given.size > FEW:
        names = given.dtype.names
        return [dict(zip(names, row, strict=True)) for row in given.tolist()]
    return None


def _as_keys(target: Any, given: Any) -> tuple[list[str], _Side, list[Key]] | None:
    """A long list of keys as values of columns, if all of them are that."""
    rows = rows_in(given)
    if rows is None or not all(isinstance(row, Mapping) for row in rows):
        return None
    names = [name for name in target.heading.names if name in rows[0]]
    wanted = set(target.heading.names)
    if not names or any(wanted.intersection(row) != set(names) or not all(map(str.isidentifier, row)) for row in rows):
        return None
    there = _Side(target, names)
    kinds = [there.place(name).column.kind for name in names]
    found = dict[Key, None]()
    for row in rows:
        key = tuple(as_listed(kind, row[name]) if kind else None for kind, name in zip(kinds, names, strict=True))
        if None in key:
            return None
        if all(kind and fits(kind, value) for kind, value in zip(kinds, key, strict=True)):
            found[key] = None
    return names, there, list(found)
