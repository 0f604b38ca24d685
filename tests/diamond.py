"""A pipeline in the form of a diamond, on real servers and as plain Python: what refers to what, and what follows.

`A` is above `B` and `C`, these are above `D`, in two schemas; `B` and `D` have parts, and those of `D` refer to `A`
by another name. An entity is a master row with its part rows.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import datajoint as dj
from both_servers import BothServers
from lab import Lab
from pipelines import at_one_instant

from link import Pipeline
from link.model.states import HelperRow, State, state_of

#: The number of a run whose lock nobody holds.
DEAD = 4711
SCHEMAS = ("first", "second")


class Table(NamedTuple):
    """A master: where it is, what it is called, the columns of its key and of all, and its part's."""

    schema: str
    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    part: str = ""
    part_columns: tuple[str, ...] = ()


#: Parents first.
TABLES = {
    "A": Table("first", "a", ("a",), ("a", "note")),
    "B": Table("first", "b", ("a", "b"), ("a", "b", "note"), "b__piece", ("a", "b", "piece", "size")),
    "C": Table("second", "c", ("c",), ("c", "a", "note")),
    "D": Table(
        "second",
        "__d",
        ("a", "b", "d"),
        ("a", "b", "d", "c", "note"),
        "__d__mark",
        ("a", "b", "d", "mark", "other"),
    ),
}


class Entity(NamedTuple):
    """The values of a master row beside its key, and those of its part rows."""

    row: tuple[Any, ...]
    parts: frozenset[tuple[Any, ...]] = frozenset()


Name = tuple[str, tuple[Any, ...]]  # of an entity: its table and its key
Entities = dict[Name, Entity]


def entities(rows: Mapping[str, Iterable[tuple[Any, ...]]]) -> Entities:
    """The entities that are in the rows of masters and parts."""
    found: Entities = {}
    for letter, table in TABLES.items():
        parts: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
        width = len(table.key)
        for row in rows.get(table.part, ()):
            parts.setdefault(row[:width], set()).add(row[width:])
        for row in rows[table.name]:
            found[letter, row[:width]] = Entity(row[width:], frozenset(parts.pop(row[:width], ())))
        assert not parts, f"part rows without a master: {parts}"
    return found


# what follows from what


def parents(name: Name, entity: Entity) -> set[Name]:
    """What an entity refers to."""
    table, key = name
    if table == "B":
        return {("A", key[:1])}
    if table == "C":
        return {("A", entity.row[:1])}
    if table == "D":
        found: set[Name] = {("B", key[:2]), *(("A", row[-1:]) for row in entity.parts)}
        return found | ({("C", entity.row[:1])} if entity.row[0] is not None else set())
    return set()


def ancestors(entities: Entities, chosen: Iterable[Name]) -> set[Name]:
    """These and all that they stand on."""
    found, left = set[Name](), set(chosen)
    while left:
        found |= left
        left = {parent for name in left for parent in parents(name, entities[name])} - found
    return found


def descendants(entities: Entities, chosen: Iterable[Name]) -> set[Name]:
    """These and all that stands on them."""
    found, left = set[Name](), set(chosen)
    while left:
        found |= left
        left = {name for name, entity in entities.items() if parents(name, entity) & left} - found
    return found


def made(number: int = 4) -> Entities:
    """Some entities: so many of A, and what is below them; every other part row refers to another A."""
    found: Entities = {}
    for a in range(number):
        found["A", (a,)] = Entity((f"a {a}",))
        found["C", (a,)] = Entity(((a + 1) % number, f"c {a}"))
        for b in range(2):
            found["B", (a, b)] = Entity((f"b {b}",), frozenset((piece, a + piece) for piece in range(b + 1)))
            for d in range(2):
                c = (a + b) % number if d or b else None
                found["D", (a, b, d)] = Entity(
                    (c, f"d {d}"), frozenset((m, (a + 2 * m) % number) for m in range(b + d))
                )
    return found


class Servers(BothServers):
    """The diamond on the servers of a lab, by SQL of administrators; `lab_a` is the pipeline that is tested.

    Parameters
    ----------
    lab : Lab
        Fresh schemas and accounts.
    stack : ExitStack
        Closes what is opened.
    granted : bool
        Whether the link user has the documented rights.
    """

    def __init__(self, lab: Lab, stack: ExitStack, granted: bool = True) -> None:
        super().__init__(lab, stack)
        self.theirs = {schema: f"{lab.prefix}_{schema}" for schema in SCHEMAS}
        self.ours = {schema: f"{lab.prefix}_our_{schema}" for schema in SCHEMAS}
        self.schemas = {self.theirs[schema]: self.ours[schema] for schema in SCHEMAS}
        self.classes = declare(lab.source, self.theirs)
        if granted:
            grant(lab, self.theirs.values())
        self.lab_a = self.pipeline()
        self._helpers: dict[str, str] = {}

    def beside(self, stack: ExitStack) -> Servers:
        """The same by sessions of its own, for another thread."""
        other = copy.copy(self)
        other.connect(stack)
        return other

    def pipeline(self, connection: Any = None) -> Any:
        """The pipeline, not connected yet; into another connection than the lab's, where one is given."""
        host = f"{self.lab.source_server.host}:{self.lab.source_server.port}"
        options: dict[str, Any] = {"connection": connection or self.lab.local, "use_tls": False}
        return Pipeline(host, schemas=self.schemas, helper_schema=self.lab.helper_schema, **options)

    def code(self, text: str) -> str:
        """A line of Python with the names of the source's schemas for `[first]` and `[second]`."""
        for schema, theirs in self.theirs.items():
            text = text.replace(f"[{schema}]", f"[{theirs!r}]")
        return text

    # what is there

    def catalogues(self) -> list[list[tuple[Any, ...]]]:
        """The tables of the lab's schemas at both ends."""
        asked = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema LIKE %s"
        return [
            sorted(server.sql(asked, f"{self.lab.prefix}%"))
            for server in (self.lab.source_server, self.lab.local_server)
        ]

    def source_entities(self) -> Entities:
        """All at the source."""
        return entities(self._rows(self.there, self.theirs))

    def local_entities(self) -> Entities:
        """All that is here."""
        return entities(self._rows(self.here, self.ours))

    def local_names(self) -> set[Name]:
        """The names of what is here, in the middle of anything."""
        return {
            (letter, row)
            for letter, table in TABLES.items()
            for row in self.sql(self.here, f"SELECT {', '.join(table.key)} FROM {self.ours[table.schema]}.{table.name}")
        }

    def _rows(self, connection: Any, schemas: Mapping[str, str]) -> dict[str, set[tuple[Any, ...]]]:
        """The rows of each master and each part."""
        return {
            name: set(self.sql(connection, f"SELECT {', '.join(columns)} FROM {schemas[table.schema]}.{name}"))
            for table in TABLES.values()
            for name, columns in ((table.part, table.part_columns), (table.name, table.columns))
            if name
        }

    def helper_rows(self) -> dict[Name, HelperRow]:
        """All holds."""
        found: dict[Name, HelperRow] = {}
        for letter, helper in self.helpers().items():
            key = TABLES[letter].key
            for row in self.sql(
                self.there, f"SELECT {', '.join(key)}, process, is_flagged, is_deprecated FROM {helper}"
            ):
                found[letter, row[: len(key)]] = HelperRow(*row[len(key) :])
        return found

    def helpers(self) -> dict[str, str]:
        """The helper tables, each found by what it refers to."""
        if len(self._helpers) < len(TABLES):
            query = (
                "SELECT DISTINCT h.relname, n.nspname, t.relname FROM pg_constraint c "
                "JOIN pg_class h ON h.oid = c.conrelid JOIN pg_class t ON t.oid = c.confrelid "
                "JOIN pg_namespace n ON n.oid = t.relnamespace "
                f"WHERE c.contype = 'f' AND h.relnamespace = '{self.lab.helper_schema}'::regnamespace"
                if self.lab.kind == "postgresql"
                else "SELECT DISTINCT table_name, referenced_table_schema, referenced_table_name "
                "FROM information_schema.key_column_usage "
                f"WHERE table_schema = '{self.lab.helper_schema}' AND referenced_table_name IS NOT NULL"
            )
            found = {row[1:]: f"{self.lab.helper_schema}.{row[0]}" for row in self.sql(self.there, query)}
            names = {letter: (self.theirs[table.schema], table.name) for letter, table in TABLES.items()}
            self._helpers = {letter: found[name] for letter, name in names.items() if name in found}
        return self._helpers

    def states(self) -> dict[Name, State | None]:
        """The state of every entity."""
        there, helper, here = self.source_entities(), self.helper_rows(), self.local_entities()
        return {n: state_of(n in there, helper.get(n), n in here) for n in {*there, *here}}

    # what people do

    def put(self, local: bool, entities: Mapping[Name, Entity]) -> None:
        """Insert entities, parents first."""
        connection, schemas = (self.here, self.ours) if local else (self.there, self.theirs)
        for letter, table in TABLES.items():
            chosen = {key: entity for (which, key), entity in entities.items() if which == letter}
            masters = [(*key, *entity.row) for key, entity in chosen.items()]
            parts = [(*key, *part) for key, entity in chosen.items() for part in entity.parts]
            for name, columns, rows in (
                (table.name, table.columns, masters),
                (table.part, table.part_columns, parts),
            ):
                if rows:
                    values = ", ".join(map(literals, rows))
                    into = f"{schemas[table.schema]}.{name} ({', '.join(columns)})"
                    self.sql(connection, f"INSERT INTO {into} VALUES {values}")

    def take(self, local: bool, names: Iterable[Name]) -> None:
        """Delete entities, children first, in one transaction; refused as the server refuses it."""
        connection, schemas = (self.here, self.ours) if local else (self.there, self.theirs)
        chosen = sorted(names, key=lambda name: list(TABLES).index(name[0]), reverse=True)
        statements = []
        for letter, key in chosen:
            table = TABLES[letter]
            for name in filter(None, (table.part, table.name)):
                statements.append(f"DELETE FROM {schemas[table.schema]}.{name} WHERE {condition(table.key, key)}")
        self.sql(connection, "BEGIN")
        try:
            self.sql(connection, *statements)
        except BaseException:
            self.sql(connection, "ROLLBACK")
            raise
        self.sql(connection, "COMMIT")

    def hold(self, rows: Mapping[Name, HelperRow]) -> None:
        """Insert helper rows, those in process as of a dead run."""
        for letter, helper in self.helpers().items():
            values = [literals((*key, *row, DEAD)) for (which, key), row in rows.items() if which == letter]
            if values:
                columns = (*TABLES[letter].key, "process", "is_flagged", "is_deprecated", "_worker")
                self.sql(self.there, f"INSERT INTO {helper} ({', '.join(columns)}) VALUES {', '.join(values)}")

    def flag(self, name: Name, flagged: bool = True) -> None:
        """Ask for the deletion of what is held, or take that back."""
        letter, key = name
        said = "TRUE" if flagged else "FALSE"
        where = condition(TABLES[letter].key, key)
        self.sql(self.there, f"UPDATE {self.helpers()[letter]} SET is_flagged = '{said}' WHERE {where}")

    def clear(self) -> None:
        """Empty the local tables and the helper tables."""
        self._empty(self.here, self.ours)
        self.sql(self.there, *(f"DELETE FROM {helper}" for helper in self.helpers().values()))

    def _empty(self, connection: Any, schemas: Mapping[str, str]) -> None:
        for table in reversed(TABLES.values()):
            for name in filter(None, (table.part, table.name)):
                self.sql(connection, f"DELETE FROM {schemas[table.schema]}.{name}")

    def edit(self, name: Name, entity: Entity) -> None:
        """Give an entity at the source other values, and other part rows."""
        table, where = TABLES[name[0]], condition(TABLES[name[0]].key, name[1])
        columns = table.columns[len(table.key) :]
        assigned = ", ".join(f"{c} = {literal(value)}" for c, value in zip(columns, entity.row, strict=True))
        schema = self.theirs[table.schema]
        self.sql(
            self.there,
            f"DELETE FROM {schema}.{table.part} WHERE {where}",
            f"UPDATE {schema}.{table.name} SET {assigned} WHERE {where}",
        )
        rows = ", ".join(literals((*name[1], *part)) for part in entity.parts)
        self.sql(self.there, f"INSERT INTO {schema}.{table.part} ({', '.join(table.part_columns)}) VALUES {rows}")

    def release(self, name: Name) -> None:
        """Delete a helper row, as the source's administrator."""
        where = condition(TABLES[name[0]].key, name[1])
        self.sql(self.there, f"DELETE FROM {self.helpers()[name[0]]} WHERE {where}")

    def clear_source(self) -> None:
        """Empty the source's tables, of which nothing may be held."""
        self._empty(self.there, self.theirs)

    # what must be

    def check_safety(self, before: Mapping[Name, Entity] | None = None, made_here: Iterable[Name] = ()) -> None:
        """True at every instant: what is here is held, refers to what is here, and is what the source has or had."""
        local = entities(at_one_instant(lambda: self._rows(self.here, self.ours)))
        helper, there = self.helper_rows(), self.source_entities()
        for name in made_here:
            local.pop(name, None)
        assert not local.keys() - helper.keys(), "local and not held"
        partial = {n for n in local.keys() & there.keys() if local[n] not in (there[n], (before or there).get(n))}
        assert not partial, f"partial: {partial}"
        assert not self.dangling(), "local rows refer to nothing"

    def dangling(self) -> list[tuple[Any, ...]]:
        """Local rows that refer to what is not here, asked of the server at one instant."""
        first, second = self.ours.values()
        edges = [
            (f"{first}.b", f"{first}.a", ["a"], ["a"]),
            (f"{first}.b__piece", f"{first}.b", ["a", "b"], ["a", "b"]),
            (f"{second}.c", f"{first}.a", ["a"], ["a"]),
            (f"{second}.__d", f"{first}.b", ["a", "b"], ["a", "b"]),
            (f"{second}.__d", f"{second}.c", ["c"], ["c"]),
            (f"{second}.__d__mark", f"{second}.__d", ["a", "b", "d"], ["a", "b", "d"]),
            (f"{second}.__d__mark", f"{first}.a", ["other"], ["a"]),
        ]
        selects = []
        for child, parent, columns, referred in edges:
            equal = " AND ".join(f"p.{theirs} = t.{ours}" for ours, theirs in zip(columns, referred, strict=True))
            selects.append(
                f"SELECT '{child}', COUNT(*) FROM {child} t WHERE t.{columns[0]} IS NOT NULL "
                f"AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {equal}) HAVING COUNT(*) > 0"
            )
        return self.sql(self.here, " UNION ALL ".join(selects))


def declare(instance: dj.Instance, schemas: Mapping[str, str]) -> dict[str, Any]:
    """Declare the tables by DataJoint."""

    class A(dj.Manual):
        definition = "a : int32\n---\nnote : varchar(20)"

    class B(dj.Manual):
        definition = "-> A\nb : int32\n---\nnote : varchar(20)"

        class Piece(dj.Part):
            definition = "-> master\npiece : int32\n---\nsize : int32"

    class C(dj.Manual):
        definition = "c : int32\n---\n-> A\nnote : varchar(20)"

    class D(dj.Computed):
        definition = "-> B\nd : int32\n---\n-> [nullable] C\nnote : varchar(20)"

        class Mark(dj.Part):
            definition = "-> master\nmark : int32\n---\n-> A.proj(other='a')"

        def make(self, key: Any, **_: Any) -> None:
            raise NotImplementedError

    classes: dict[str, Any] = {}
    for table in (A, B, C, D):
        schema = instance.Schema(schemas[TABLES[table.__name__].schema])
        classes[table.__name__] = schema(table, context=dict(classes))
    return classes


def grant(lab: Lab, schemas: Iterable[str]) -> None:
    """Give the link user the documented rights of a pipeline: by schema."""
    for schema in schemas:
        if lab.kind == "postgresql":
            lab.source_server.sql(f"GRANT USAGE ON SCHEMA {schema} TO {lab.link_user}")
            lab.source_server.sql(f"GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA {schema} TO {lab.link_user}")
        else:
            lab.source_server.sql(f"GRANT SELECT, REFERENCES ON `{escaped(schema)}`.* TO {lab.link_user}@'%'")
    if lab.kind != "postgresql":
        lab.source_server.sql(f"GRANT ALL PRIVILEGES ON `{escaped(lab.helper_schema)}`.* TO {lab.link_user}@'%'")


def escaped(schema: str) -> str:
    return schema.replace("_", "\\_")


def literals(row: Iterable[Any]) -> str:
    return f"({', '.join(map(literal, row))})"


def literal(value: Any) -> str:
    return "NULL" if value is None else repr(value)


def condition(columns: Iterable[str], values: Iterable[Any]) -> str:
    return " AND ".join(f"{column} = {value!r}" for column, value in zip(columns, values, strict=True))
