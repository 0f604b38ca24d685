"""Pulls of whole pipelines in tests: what a pull is to bring, by brute force, and what it has brought."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import closures
import datajoint as dj
from closures import Contents, Entity, Reference, Table
from datajoint.utils import to_camel_case
from lab import Lab

from link import Pipeline


def declare(
    lab: Lab, pipeline: Mapping[str, Sequence[type]], rows: Mapping[str, Iterable[tuple[Any, ...]]]
) -> dict[str, str]:
    """Declare classes at the source, by schemas, and fill them; the names of the schemas, by what they are called."""
    names = {name: f"{lab.prefix}_{name}" for name in pipeline}
    context: dict[str, Any] = {}
    for name, tables in pipeline.items():
        schema = lab.source.Schema(names[name])
        for table in tables:
            # A class of its own for each server, which DataJoint keeps in it.
            given = {key: value for key, value in vars(table).items() if not key.startswith("__")}
            parts: dict[str, Any] = {key: value for key, value in given.items() if isinstance(value, type)}
            given |= {key: type(key, (dj.Part,), {"definition": part.definition}) for key, part in parts.items()}
            own = type(table.__name__, table.__bases__, given)
            context[table.__name__] = schema(own, context=dict(context))
    for place, lines in rows.items():
        master, _, part = place.partition(".")
        target = getattr(context[master], part) if part else context[master]
        here = target.heading.names
        target.insert((dict(zip(here, line, strict=True)) for line in lines), allow_direct_insert=True)
    return names


def grant(lab: Lab, schemas: Sequence[str]) -> None:
    """Give the link user the documented rights on whole schemas and the helper schema, and no more."""
    user, server = lab.link_user, lab.source_server
    if lab.kind == "postgresql":
        names = ", ".join(schemas)
        server.sql(f"GRANT USAGE ON SCHEMA {names} TO {user}")
        server.sql(f"GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA {names} TO {user}")
        return
    for schema in schemas:
        escaped = schema.replace("_", "\\_")
        server.sql(f"GRANT SELECT, REFERENCES ON `{escaped}`.* TO {user}@'%'")
    escaped = lab.helper_schema.replace("_", "\\_")
    server.sql(f"GRANT ALL PRIVILEGES ON `{escaped}`.* TO {user}@'%'")


class Checked:
    """One pipeline at the source of a lab, what of it is to be here, and what is."""

    def __init__(self, lab: Lab, schemas: Iterable[str]) -> None:
        self.lab = lab
        self.schemas = list(schemas)
        self.local = {schema: f"{schema}_here" for schema in schemas}
        self.back = {here: schema for schema, here in self.local.items()}
        address = f"{lab.source_server.host}:{lab.source_server.port}"
        options: dict[str, Any] = {"connection": lab.local, "backend": lab.source_server.backend, "use_tls": False}
        self.pipeline = Pipeline(address, self.local, lab.helper_schema, **options)
        self.wanted: set[Entity] = set()
        self.tables: set[Table] = set()
        self.cut: set[Reference] = set()
        #: Whether rows are compared by their keys alone: where values of some types look otherwise here.
        self.keys_only = False

    def read(self) -> Contents:
        """What the source has now."""
        return closures.read(self.lab.source_server, self.schemas)

    def here(self) -> Contents:
        """What is local, under the source's names."""
        return closures.renamed(closures.read(self.lab.local_server, list(self.back)), self.back)

    def pull(
        self,
        contents: Contents,
        start: set[Entity],
        tables: set[Table],
        *selections: Any,
        lookups: str = "referenced",
        descendants: bool = False,
        leave_out: Collection[Table] = (),
        cut: Collection[Reference] = (),
    ) -> Any:
        """Pull a selection that is known to select these entities of these tables, and check what has come of it."""
        away = [r for r in contents.references if closures.master(r.parent) in leave_out]
        how: dict[str, Any] = {"descendants": descendants, "leave_out": leave_out}
        groups = closures.tables_of(contents, tables, cut=self.cut.union(cut), **how)
        # What a table was made without it stays without.
        self.cut |= {r for r in [*cut, *away] if closures.master(r.child) in groups}
        whole = {table for table in groups if table[1].startswith("#") and lookups == "whole"}
        chosen = closures.closure(contents, start, lookups=whole, cut=self.cut.union(cut), **how)
        new = chosen - self.wanted
        options = how | {"lookups": lookups, "leave_out": list(map(label, leave_out)), "cut": list(map(place, cut))}
        planned = self.pipeline.plan(*selections, **options)
        assert not planned.missing
        assert {t.name: (t.entities, t.new, t.part_rows) for t in planned.tables if t.entities} == {
            label(table): (len(some), len(some & new), count_parts(contents, some & new))
            for table, some in by_table(chosen).items()
        }
        assert {t.name for t in planned.tables} == set(map(label, groups))
        result = self.pipeline.pull(*selections, **options)
        self.wanted |= chosen
        self.tables |= groups
        self.check(contents)
        assert (result.pulled, result.part_rows) == (len(new), count_parts(contents, new)), result
        assert not result.errors
        again = self.pipeline.pull(*selections, **options)
        assert (again.pulled, again.adopted) == (0, 0), again
        return result

    def check(self, contents: Contents) -> None:
        """What is here, and what is held, is what is wanted and nothing else, and refers to the same as there."""
        here = self.here()
        groups = {table for table in contents.rows if closures.master(table) in self.tables}
        assert set(here.rows) == groups
        entities = {entity for table in here.masters() for entity in here.entities(table)}
        assert entities == self.wanted, difference(entities, self.wanted)
        there = closures.rows_of(contents, self.wanted)
        for table in groups:
            rows = sorted((self._shown(contents, table, row.items()) for row in here.rows[table]), key=repr)
            assert rows == sorted((self._shown(contents, table, row) for row in there.get(table, [])), key=repr), table
        held = closures.held(self.lab.source_server, self.lab.helper_schema, contents)
        assert held == self.wanted, difference(held, self.wanted)
        wanted = [r for r in contents.references if closures.master(r.child) in self.tables and r not in self.cut]
        assert ordered(here.references) == ordered(wanted)

    def _shown(self, contents: Contents, table: Table, row: Iterable[tuple[str, str | None]]) -> Any:
        return sorted(pair for pair in row if not self.keys_only or pair[0] in contents.keys[table])

    def select(self, schema: str, place: str, restriction: Any = "1 = 1", **options: Any) -> Any:
        """Pull what a restriction selects of a table, and check what has come of it."""
        contents = self.read()
        start, table = self.chosen(contents, schema, place, restriction)
        return self.pull(contents, start, {table}, self.there(schema, place) & restriction, **options)

    def there(self, schema: str, place: str) -> Any:
        """A table of the source, or a part, as the package has it."""
        return _found(self.pipeline.source[schema], place)

    def chosen(self, contents: Contents, schema: str, place: str, restriction: Any) -> tuple[set[Entity], Table]:
        """The entities that DataJoint itself says a restriction selects, and of which table."""
        found: dict[str, Any] = {}
        self.lab.source.Schema(schema, create_schema=False, create_tables=False).make_classes(into=found)
        table = _found(SimpleNamespace(**found), place)
        there = schema, table.table_name
        if not table.primary_key:  # the one row of a table whose key DataJoint hides
            return (contents.entities(there) if table & restriction else set()), there
        keys = {tuple(map(shown, row.values())) for row in (table & restriction).proj().to_dicts()}
        return {contents.entity(there, row) for row in contents.rows[there] if contents.key(there, row) in keys}, there

    def flag(self, entity: Entity, flagged: str = "TRUE") -> None:
        """What an administrator of the source does to ask for a deletion, or to take that back."""
        (schema, table), key = entity
        helpers = closures.read(self.lab.source_server, [self.lab.helper_schema])
        ((_, helper),) = {r.child for r in helpers.references if r.parent == (schema, table)}
        names = helpers.keys[self.lab.helper_schema, helper]
        mark = '"' if self.lab.kind == "postgresql" else "`"
        same = " AND ".join(f"{mark}{name}{mark} = %s" for name in names)
        update = f"UPDATE {self.lab.helper_schema}.{helper} SET is_flagged = '{flagged}' WHERE {same}"
        self.lab.source_server.sql(update, *key)

    def forget(self) -> None:
        """Let everything here go, and every hold, as nobody may: for the next selection."""
        _emptied(self.lab.local_server, list(self.back))
        helpers = closures.read(self.lab.source_server, [self.lab.helper_schema])
        mine = {r.child for r in helpers.references if r.parent[0] in self.schemas}
        _emptied(self.lab.source_server, [self.lab.helper_schema], mine)
        self.wanted = set()


def _found(module: Any, place: str) -> Any:
    master, _, part = place.partition(".")
    return getattr(getattr(module, master), part) if part else getattr(module, master)


def shown(value: Any) -> str:
    """A value as `closures.read` shows it."""
    return value.hex.upper() if isinstance(value, uuid.UUID) else str(value)


def label(table: Table) -> str:
    """A master as users name it."""
    return f"{table[0]}.{to_camel_case(table[1].strip('#_'))}"


def place(reference: Reference) -> str:
    """A foreign key as users name it."""
    master, (_, name) = closures.master(reference.child), reference.child
    part = to_camel_case(name[len(master[1]) :].lstrip("_"))
    return ".".join([label(master), *[part] * bool(part), reference.columns[-1]])


def by_table(entities: set[Entity]) -> dict[Table, set[Entity]]:
    """Entities by their tables."""
    return {table: {e for e in entities if e[0] == table} for table, _ in entities}


def count_parts(contents: Contents, entities: set[Entity]) -> int:
    """The number of their part rows."""
    return sum(len(contents.members(entity)) - 1 for entity in entities)


def difference(found: set[Entity], wanted: set[Entity]) -> str:
    return f"too many: {sorted(found - wanted)}\nmissing: {sorted(wanted - found)}"


def ordered(references: list[closures.Reference]) -> list[Any]:
    """Foreign keys, whatever the order of their columns."""
    return sorted((r.child, r.parent, sorted(zip(r.columns, r.referred, strict=True))) for r in references)


def _emptied(server: Any, schemas: list[str], only: set[Table] | None = None) -> None:
    tables = closures.read(server, schemas).rows if only is None else only
    mark = '"' if server.kind == "postgresql" else "`"
    names = [f"{mark}{schema}{mark}.{mark}{table}{mark}" for schema, table in tables]
    with server.cursor("closures") as cursor:
        if server.kind == "postgresql" and names:
            cursor.execute(f"TRUNCATE {', '.join(names)}")
        elif names:
            cursor.execute("SET foreign_key_checks = 0")
            for name in names:
                cursor.execute(f"DELETE FROM {name}")
            cursor.execute("SET foreign_key_checks = 1")
