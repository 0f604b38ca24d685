"""What chosen rows stand on, by brute force: rows in Python, followed one by one until there are no more.

It shares nothing with the package. What there is it reads as administrator, from the servers' own catalogues; every
value is text, in one form on every kind of server, so that what is there and what is here can be compared.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet import TestServer

#: A schema and a table in it.
Table = tuple[str, str]
Row = dict[str, str | None]
#: A master's table and its primary key.
Entity = tuple[Table, tuple[str, ...]]


@dataclass(frozen=True)
class Reference:
    """A foreign key."""

    child: Table
    columns: tuple[str, ...]
    parent: Table
    referred: tuple[str, ...]


@dataclass
class Contents:
    """All tables of some schemas: their primary keys, their rows, what they refer to, how their text compares."""

    keys: dict[Table, tuple[str, ...]] = field(default_factory=dict)
    rows: dict[Table, list[Row]] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    collations: dict[tuple[Table, str], str] = field(default_factory=dict)
    _members: dict[Entity, list[tuple[Table, Row]]] = field(default_factory=dict)

    def key(self, table: Table, row: Row) -> tuple[str, ...]:
        """The primary key of a row."""
        return tuple(str(row[name]) for name in self.keys[table])

    def referred(self, reference: Reference, row: Row) -> Row | None:
        """The row to which a row refers; none if a column of the key is NULL."""
        if any(row[name] is None for name in reference.columns):
            return None
        pairs = list(zip(reference.columns, reference.referred, strict=True))
        (found,) = [
            parent
            for parent in self.rows[reference.parent]
            if all(self.equal(reference.parent, theirs, row[ours], parent[theirs]) for ours, theirs in pairs)
        ]
        return found

    def equal(self, table: Table, column: str, one: str | None, other: str | None) -> bool:
        """Whether two values are the same to the server."""
        collation = self.collations.get((table, column), "")
        return folded(collation, one) == folded(collation, other)

    def entity(self, table: Table, row: Row) -> Entity:
        """The entity of which a row is part."""
        if table == master(table):
            return table, self.key(table, row)
        inner = [r for r in self.references if r.child == table and master(r.parent) == master(table)]
        up = self.referred(inner[0], row)
        assert up is not None
        return self.entity(inner[0].parent, up)

    def entities(self, table: Table) -> set[Entity]:
        """All of a master's table."""
        return {(table, self.key(table, row)) for row in self.rows[table]}

    def members(self, entity: Entity) -> list[tuple[Table, Row]]:
        """The rows of an entity: the master's and those of its parts."""
        if not self._members:
            for table, rows in self.rows.items():
                for row in rows:
                    self._members.setdefault(self.entity(table, row), []).append((table, row))
        return self._members[entity]

    def masters(self) -> set[Table]:
        """The tables that are no parts."""
        return {table for table in self.rows if table == master(table)}


def folded(collation: str, value: str | None) -> str | None:
    """What a collation takes for the same."""
    if value is None or collation.endswith("_bin") or not collation:
        return value
    if "_0900_" not in collation:  # the older ones fill up with spaces before they compare
        value = value.rstrip(" ")
    letters = unicodedata.normalize("NFD", value.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def master(table: Table) -> Table:
    """The table of which this one is a part, or itself: DataJoint tells by the name."""
    schema, name = table
    bare = name.lstrip("#_")
    return schema, name[: len(name) - len(bare)] + bare.partition("__")[0]


# closures


def closure(
    contents: Contents,
    chosen: Iterable[Entity],
    *,
    descendants: bool = False,
    leave_out: Collection[Table] = (),
    cut: Collection[Reference] = (),
    lookups: Collection[Table] = (),
) -> set[Entity]:
    """The entities that a pull brings: those chosen, all derived from them if wished, and what all these refer to."""
    references = [r for r in contents.references if r.parent in contents.rows and _is_followed(r, leave_out, cut)]
    found = set(chosen)
    if descendants:
        found = _reached(contents, found, references, down=True)
    found = _reached(contents, found, references)
    # Some tables may be wanted whole.
    return _reached(contents, found.union(*(contents.entities(table) for table in lookups)), references)


def _is_followed(reference: Reference, leave_out: Collection[Table], cut: Collection[Reference]) -> bool:
    return reference not in cut and not {master(reference.child), master(reference.parent)} & set(leave_out)


def _reached(contents: Contents, start: set[Entity], references: list[Reference], *, down: bool = False) -> set[Entity]:
    """All entities that can be reached from some, to what they refer or to what refers to them."""
    ways: dict[Entity, set[Entity]] = defaultdict(set)
    for reference in references:
        for row in contents.rows[reference.child]:
            above = contents.referred(reference, row)
            if above is not None:
                ends = contents.entity(reference.child, row), contents.entity(reference.parent, above)
                child, parent = ends
                ways[parent if down else child].add(child if down else parent)
    found, todo = set(start), list(start)
    while todo:
        for entity in ways[todo.pop()] - found:
            found.add(entity)
            todo.append(entity)
    return found


def tables_of(
    contents: Contents,
    tables: Iterable[Table],
    *,
    descendants: bool = False,
    leave_out: Collection[Table] = (),
    cut: Collection[Reference] = (),
) -> set[Table]:
    """The masters of which there are to be rows, or may be: those selected, derived from these, and referred to."""
    references = [r for r in contents.references if _is_followed(r, leave_out, cut)]
    found = {master(table) for table in tables}
    steps = [{(master(r.child), master(r.parent)) for r in references}]
    if descendants:
        steps.insert(0, {(parent, child) for child, parent in steps[0]})
    for step in steps:
        while more := {there for here, there in step if here in found} - found:
            found |= more
    return found


def where(contents: Contents, table: Table, condition: Callable[[Mapping[str, Any]], bool]) -> set[Entity]:
    """The entities of the rows of a master or a part for which a condition is true."""
    return {contents.entity(table, row) for row in contents.rows[table] if condition(row)}


def rows_of(contents: Contents, entities: Iterable[Entity]) -> dict[Table, list[list[tuple[str, str | None]]]]:
    """Every row of some entities, by table, sorted."""
    found: dict[Table, list[list[tuple[str, str | None]]]] = defaultdict(list)
    for entity in entities:
        for table, row in contents.members(entity):
            found[table].append(sorted(row.items()))
    return {table: sorted(rows, key=repr) for table, rows in found.items()}


# reading


def read(server: TestServer, schemas: Collection[str]) -> Contents:
    """All that is in some schemas, but for what DataJoint and the package keep for themselves."""
    found = Contents()
    with server.cursor("closures") as cursor:

        def asked(query: str) -> list[tuple[Any, ...]]:
            marks = ", ".join(["%s"] * len(schemas))
            cursor.execute(query.replace("{schemas}", f"({marks})"), tuple(schemas))
            return [row for row in cursor.fetchall() if not row[1].startswith("~")]

        postgresql = server.kind == "postgresql"
        columns: dict[Table, dict[str, str]] = defaultdict(dict)
        for schema, table, column, data_type, collation in asked(COLUMNS):
            columns[schema, table][column] = data_type
            if collation and not postgresql:
                found.collations[(schema, table), column] = collation
        for schema, table, column in asked(POSTGRESQL_KEYS if postgresql else MYSQL_KEYS):
            found.keys[schema, table] = (*found.keys.get((schema, table), ()), column)
        pairs: dict[tuple[Table, str, Table], list[tuple[str, str]]] = defaultdict(list)
        for schema, table, name, column, *parent, referred in asked(
            POSTGRESQL_REFERENCES if postgresql else MYSQL_REFERENCES
        ):
            pairs[(schema, table), name, (parent[0], parent[1])].append((column, referred))
        for (child, _, above), ends in pairs.items():
            ours, theirs = zip(*ends, strict=True)
            found.references.append(Reference(child, ours, above, theirs))
        for (schema, table), types in columns.items():
            read_as = ", ".join(_shown(postgresql, column, data_type) for column, data_type in types.items())
            mark = '"' if postgresql else "`"
            cursor.execute(f"SELECT {read_as} FROM {mark}{schema}{mark}.{mark}{table}{mark}")
            found.rows[schema, table] = [
                {name: _text(value) for name, value in zip(types, row, strict=True)} for row in cursor.fetchall()
            ]
    return found


COLUMNS = """SELECT table_schema, table_name, column_name, data_type, collation_name FROM information_schema.columns
    WHERE table_schema IN {schemas} ORDER BY ordinal_position"""
MYSQL_KEYS = """SELECT table_schema, table_name, column_name FROM information_schema.key_column_usage
    WHERE table_schema IN {schemas} AND constraint_name = 'PRIMARY' ORDER BY ordinal_position"""
MYSQL_REFERENCES = """SELECT table_schema, table_name, constraint_name, column_name, referenced_table_schema,
        referenced_table_name, referenced_column_name FROM information_schema.key_column_usage
    WHERE table_schema IN {schemas} AND referenced_table_name IS NOT NULL ORDER BY ordinal_position"""
_CONSTRAINTS = """FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS place (ours, theirs, number)
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = place.ours"""
POSTGRESQL_KEYS = f"""SELECT n.nspname, t.relname, a.attname {_CONSTRAINTS}
    WHERE n.nspname IN {{schemas}} AND c.contype = 'p' ORDER BY place.number"""
POSTGRESQL_REFERENCES = f"""SELECT n.nspname, t.relname, c.conname, a.attname, pn.nspname, pt.relname, pa.attname
    {_CONSTRAINTS} JOIN pg_class pt ON pt.oid = c.confrelid JOIN pg_namespace pn ON pn.oid = pt.relnamespace
    JOIN pg_attribute pa ON pa.attrelid = pt.oid AND pa.attnum = place.theirs
    WHERE n.nspname IN {{schemas}} AND c.contype = 'f' ORDER BY place.number"""


def _shown(postgresql: bool, column: str, data_type: str) -> str:
    """A column as text that says the same on every kind of server."""
    if not postgresql:
        return f"HEX(`{column}`)" if "binary" in data_type or "blob" in data_type else f"CAST(`{column}` AS CHAR)"
    forms = {
        "bytea": "upper(encode({}, 'hex'))",
        "uuid": "upper(replace({}::text, '-', ''))",
        "boolean": "{}::int::text",
    }
    return forms.get(data_type, "{}::text").format(f'"{column}"')


def _text(value: Any) -> str | None:
    text = value.decode() if isinstance(value, bytes) else value
    # Some servers show fractions of seconds where there are none.
    return text and re.sub(r"(\d\d:\d\d:\d\d)\.0+$", r"\1", text)


# what a pull has brought


def held(server: TestServer, helper_schema: str, contents: Contents) -> set[Entity]:
    """The entities of the source that are held: those to which the rows of its helper tables refer."""
    helpers = read(server, [helper_schema])
    found: set[Entity] = set()
    for reference in helpers.references:
        if reference.parent in contents.rows:
            rows = helpers.rows[reference.child]
            entities = [contents.referred(reference, row) for row in rows]
            assert None not in entities
            held_here = {(reference.parent, contents.key(reference.parent, row)) for row in entities if row}
            assert len(held_here) == len(rows), f"held more than once: {rows}"
            assert not held_here & found, f"held by two helper tables: {held_here & found}"
            assert {(row["process"], row["is_deprecated"]) for row in rows} <= {("NONE", "FALSE")}, rows
            found |= held_here
    return found


def renamed(contents: Contents, names: Mapping[str, str]) -> Contents:
    """The same in schemas of other names."""

    def there(table: Table) -> Table:
        return names.get(table[0], table[0]), table[1]

    return Contents(
        {there(table): key for table, key in contents.keys.items()},
        {there(table): rows for table, rows in contents.rows.items()},
        [Reference(there(r.child), r.columns, there(r.parent), r.referred) for r in contents.references],
        {(there(table), column): collation for (table, column), collation in contents.collations.items()},
    )
