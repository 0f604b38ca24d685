"""Pipelines made up by Hypothesis: up to twelve tables with foreign keys of every kind, rows, and what to ask of them.

Tables are declared as labs do, by DataJoint's definitions, or by SQL where these cannot say it. Each has an attribute
with the number of its row, named after it, by which selections are made and known again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import datajoint as dj
import hypothesis.strategies as st
from lab import Lab
from oracle import quote, string

Row = dict[str, str | None]

#: Tables of an example, at most.
TABLES = 12
#: Queries of an example.
QUERIES = 5
#: Attributes of a primary key beyond which no foreign key is taken into it.
WIDEST = 6


@dataclass(frozen=True)
class Type:
    """What a key attribute can be, and values for it that every kind of server tells apart."""

    name: str
    mysql: str
    postgresql: str
    values: tuple[str, ...]
    marker: str = ""


TYPES = (
    Type("int32", "int", "integer", ("-1", "0", "1", "2", "40", "2147483647"), "int32"),
    Type("varchar(8)", "varchar(8)", "varchar(8)", ("", "a", "it's", "50%", "é'\"", "back\\")),
    Type("char(2)", "char(2)", "char(2)", ("aa", "ab", "zz", "%s", "xy")),
    Type("uuid", "binary(16)", "uuid", tuple(f"{n * 0x5C27:032X}" for n in range(5)), "uuid"),
    Type("datetime", "datetime", "timestamp", tuple(f"20{n:02}-02-28 23:59:0{n}" for n in range(5))),
    Type("date", "date", "date", ("1000-01-01", "2024-02-29", "1970-01-01", "9999-12-31")),
    Type("decimal(6,2)", "decimal(6,2)", "numeric(6,2)", ("-1.50", "0.00", "0.01", "9999.99")),
    Type("enum('a', 'b c', 'É')", "enum('a', 'b c', 'É')", "", ("a", "b c", "É")),
    Type("", "varbinary(6)", "bytea", ("", "00", "00FF5C27", "FFFFFFFFFFFF", "20")),
)
NUMBER = Type("int32", "int", "integer", (), "int32")
#: Collations of MySQL and MariaDB, for tables that are declared by SQL.
COLLATIONS = ("utf8mb4_bin", "utf8mb4_general_ci", "utf8mb4_unicode_ci", "latin1_swedish_ci", "latin1_bin")
TIERS = {"": dj.Manual, "#": dj.Lookup, "_": dj.Imported, "__": dj.Computed}


@dataclass(frozen=True)
class Column:
    type: Type
    nullable: bool = False
    collation: str = ""


@dataclass(frozen=True)
class ForeignKey:
    """To a table's primary key, or by SQL to the number of its row, with what its attributes are called here."""

    parent: Table
    names: tuple[tuple[str, str], ...]  # here, there
    primary: bool = False
    nullable: bool = False
    unique: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(here for here, _ in self.names)

    @property
    def words(self) -> str:
        """As it stands in a definition."""
        options = ["nullable"] * self.nullable + ["unique"] * self.unique
        changed = [f"{here}={there!r}" for here, there in self.names if here != there]
        place = self.parent.place + (f".proj({', '.join(changed)})" if changed else "")
        return f"-> [{', '.join(options)}] {place}" if options else f"-> {place}"


@dataclass(eq=False)
class Table:
    """A master, or a part of one."""

    number: int
    schema: int
    tier: str = ""
    master: Table | None = None
    columns: dict[str, Column] = field(default_factory=dict)
    key: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The name of its class."""
        return f"{'P' if self.master else 'M'}{self.number}"

    @property
    def place(self) -> str:
        """Its class among all."""
        return f"{self.master.label}.{self.label}" if self.master else self.label

    @property
    def name(self) -> str:
        """What the server calls it."""
        return f"{self.master.name}__{self.label.lower()}" if self.master else f"{self.tier}{self.label.lower()}"

    @property
    def counter(self) -> str:
        """The attribute with the number of the row."""
        return f"n_{self.number}"

    def definition(self) -> str:
        """DataJoint's."""
        lines = [key.words for key in self.foreign_keys if key.primary]
        lines += [f"{name}: {self.columns[name].type.name}" for name in self.own]
        lines += ["---", f"{self.counter}: int32"]
        lines += [key.words for key in self.foreign_keys if not key.primary]
        return "\n".join(lines)

    def statements(self, kind: str, schemas: Sequence[str]) -> Iterator[str]:
        """SQL's."""
        full = quote(kind, schemas[self.schema], self.name)
        lines, later = [], []
        for name, column in self.columns.items():
            words = f"{quote(kind, name)} {column.type.postgresql if kind == 'postgresql' else column.type.mysql}"
            if column.collation and kind != "postgresql" and "char" in column.type.mysql:
                words += f" CHARACTER SET {column.collation.partition('_')[0]} COLLATE {column.collation}"
            words += "" if column.nullable else " NOT NULL"
            comment = string(kind, f":{column.type.marker}:") if column.type.marker else ""
            if comment and kind == "postgresql":
                later.append(f"COMMENT ON COLUMN {full}.{quote(kind, name)} IS {comment}")
            lines.append(words + (f" COMMENT {comment}" if comment and kind != "postgresql" else ""))
        lines.append(f"PRIMARY KEY ({', '.join(quote(kind, name) for name in self.key)})")
        lines.append(f"UNIQUE ({quote(kind, self.counter)})")
        for key in self.foreign_keys:
            # PostgreSQL alone takes another order than that of what is referred to.
            names = key.names[::-1] if kind == "postgresql" else key.names
            here, there = (", ".join(quote(kind, name) for name in side) for side in zip(*names, strict=True))
            lines += [f"UNIQUE ({here})"] * key.unique
            parent = quote(kind, schemas[key.parent.schema], key.parent.name)
            lines.append(f"FOREIGN KEY ({here}) REFERENCES {parent} ({there}) ON UPDATE CASCADE ON DELETE RESTRICT")
        yield f"CREATE TABLE {full} ({', '.join(lines)}){'' if kind == 'postgresql' else ' DEFAULT CHARSET utf8mb4'}"
        yield from later


@dataclass(eq=False)
class Pipeline:
    """An example: tables, their rows, and queries, each as code over the schemas' modules `a` and `b`."""

    tables: list[Table]
    by_sql: bool
    queries: list[tuple[str, dict[str, Any]]]
    seed: str
    #: Whether text that refers to something may be written otherwise, where its collation takes it for the same.
    spelled: bool = False
    rows: dict[Table, list[Row]] = field(default_factory=dict)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def __repr__(self) -> str:
        text = "".join(f"\n{table.place} ({'ab'[table.schema]}): {table.definition()!r}" for table in self.tables)
        return f"a pipeline{' by SQL' * self.by_sql} of {len(self.tables)} tables:{text}\nof the seed {self.seed!r}"


# making up


def pipelines(kind: str, local: str) -> st.SearchStrategy[Pipeline]:
    """Pipelines for this kind of source, each of a number: drawn one by one its choices would be much alike."""
    return st.integers(0, 2**32).map(lambda number: pipeline(kind, local, number))


def pipeline(kind: str, local: str, number: int) -> Pipeline:
    """The pipeline of a number."""
    seed = f"{kind} {local} {number}"
    random = Random(seed)
    by_sql = random.randint(0, 2) == 0
    maker = _Maker(random, kind, local, by_sql)
    for _ in range(random.randint(4, 8)):
        if len(maker.tables) < TABLES:
            maker.add_group(random.randint(0, 2))
    made = Pipeline(maker.tables, by_sql, [maker.query() for _ in range(QUERIES)], seed)
    made.spelled = kind == local != "postgresql"
    for table in made.tables:
        made.rows[table] = []
        wanted = random.choice((0, 4, 6, 6, 8, 8, 10, 10)) if table.number else 6
        for _ in range(5 * wanted):
            if len(made.rows[table]) < wanted:
                add_row(made, table, random)
    return made


class _Maker:
    """Tables one after the other, each of which may refer to those of groups before."""

    def __init__(self, random: Random, kind: str, local: str, by_sql: bool) -> None:
        self._random = random
        self._by_sql = by_sql
        postgresql = kind == "postgresql"
        self._types = [t for t in TYPES if (t.postgresql or not postgresql if by_sql else t.name)]
        if postgresql and local != kind:  # no key of MySQL and MariaDB is of just any bytes
            self._types = [t for t in self._types if t.postgresql != "bytea"]
        self._schemas: Sequence[int] = (0, 0, 1)
        if postgresql and not by_sql:
            # There DataJoint cannot inherit an enum that was inherited from another schema.
            if self.chance(2):
                self._schemas = (0,)
            else:
                self._types = [t for t in self._types if not t.name.startswith("enum")]
        self._collations = COLLATIONS if by_sql else ("",)
        self.tables: list[Table] = []

    def pick(self, options: Sequence[Any]) -> Any:
        return self._random.choice(options)

    def chance(self, of: int) -> bool:
        return self._random.randint(1, of) == 1

    def add_group(self, parts: int) -> None:
        before = list(self.tables)
        master = Table(len(self.tables), self.pick(self._schemas), self.pick(list(TIERS)))
        self.tables.append(master)
        self.refer(master, before, primary=True, most=2)
        # A table without a key of its own is one of a single row, to which DataJoint gives one.
        if not (master.key and self.chance(4)) and (self._by_sql or master.key or not self.chance(12)):
            self.own(master)
        self.rest(master, before)
        for _ in range(min(parts, TABLES - len(self.tables)) if master.key else 0):
            self.add_part(master, before)

    def add_part(self, master: Table, before: list[Table]) -> None:
        part = Table(len(self.tables), master.schema, master=master)
        # Of parts a part can be one that have the master's key in theirs.
        above = [t for t in self.tables if t.master is master and set(master.key) <= set(t.key)]
        up = self.pick([master, master, *above])
        loose = up is master and bool(master.key) and self.chance(6)
        self.tables.append(part)
        if not loose:
            self.key_to(part, up, primary=True, renamed=self.chance(4))
        if loose or not self.chance(6):
            self.own(part)
        self.refer(part, before, primary=True, most=1)
        if loose:
            self.key_to(part, up, primary=False)
        self.rest(part, before)

    def own(self, table: Table) -> None:
        for _ in range(self.pick((1, 1, 2))):
            name = f"k{table.number}_{len(table.own)}"
            table.own.append(name)
            table.key.append(name)
            table.columns[name] = Column(self.pick(self._types), collation=self.pick(self._collations))

    def rest(self, table: Table, before: list[Table]) -> None:
        table.columns[table.counter] = Column(NUMBER)
        self.refer(table, before, primary=False, most=3)

    def refer(self, table: Table, before: list[Table], *, primary: bool, most: int) -> None:
        for _ in range(self._random.randint(0, most) if before else 0):
            parent = self.pick(before)
            options = {} if primary else {"nullable": not self.chance(3), "unique": self.chance(6)}
            twice = any(key.parent is parent for key in table.foreign_keys)
            if self._by_sql and not primary and self.chance(4):
                name = f"r{table.number}_{len(table.foreign_keys)}"
                table.columns[name] = Column(NUMBER, options["nullable"])
                table.foreign_keys.append(ForeignKey(parent, ((name, parent.counter),), primary, **options))
            elif parent.key and len({*table.key, *parent.key}) <= (WIDEST if primary else 99):
                self.key_to(table, parent, primary=primary, renamed=twice or self.chance(3), **options)

    def key_to(self, table: Table, parent: Table, *, primary: bool, renamed: bool = False, **options: bool) -> None:
        changed = [name for name in parent.key if renamed and not self.chance(3)] or parent.key[: int(renamed)]
        number = len(table.foreign_keys)
        names = [
            (f"c{table.number}_{number}_{n}" if name in changed else name, name) for n, name in enumerate(parent.key)
        ]
        for here, there in names:
            if here not in table.columns:
                column = parent.columns[there]
                table.columns[here] = Column(column.type, options.get("nullable", False), column.collation)
                if primary:
                    table.key.append(here)
        table.foreign_keys.append(ForeignKey(parent, tuple(names), primary, **options))

    # queries

    def query(self) -> tuple[str, dict[str, Any]]:
        """Code of a query, and what else is asked for."""
        # What stands low has more above.
        table = self.pick(self.tables[len(self.tables) // 2 :] if self.chance(2) else self.tables)
        other = self.pick(self.tables)
        limit = self._random.randint(1, 5)
        name, n = self.code(table), table.counter
        some, others = f"{name} & '{n} < {limit}'", f"{self.code(other)} & '{other.counter} < {limit}'"
        forms = [
            some,
            some,
            f"{name} & '{n} = {limit}'",
            f"{name} & {{'{n}': {limit}}}",
            f"{name} & [{{'{n}': {limit}}}, '{n} = 1']",
            f"{name} - '{n} > 1'",
            name,
            f"{name}()",
            f"{name} & '{n} < 0'",
            f"{name} & dj.Top({limit + 1}, '{n} DESC')",
            f"({some}).proj('{n}')",
            f"({some}, {others})",
            f"({some}, {self.code(other)})",
            "a",
        ]
        if table is not other and set(table.key) & set(other.key):
            forms += [f"{name} & ({others})", f"{name} - ({others})", f"{name} * ({others})"] * 2
        options: dict[str, Any] = {"descendants": True} if self.chance(3) else {}
        return self.pick(forms), options | ({"lookups": "whole"} if self.chance(6) else {})

    def code(self, table: Table) -> str:
        return f"{'ab'[table.schema]}.{table.place}"


def add_row(made: Pipeline, table: Table, random: Random) -> Row | None:
    """Make up one more row of a table, if there is one that its foreign keys and unique keys allow."""
    row: Row = {}
    for key in table.foreign_keys:
        if not _refer(made, key, table, row, random):
            return None
    for name in table.own:
        row[name] = random.choice(table.columns[name].type.values)
    row[table.counter] = str(len(made.rows[table]))
    for names in (table.key, *(key.columns for key in table.foreign_keys if key.unique)):
        value = _values(row, names)
        if None not in value and any(_values(other, names) == value for other in made.rows[table]):
            return None
    made.rows[table].append(row)
    return row


def add_entities(made: Pipeline, random: Random) -> dict[Table, list[Row]]:
    """Make up some more masters, and parts of these; rows of the entities that are there stay all that these have."""
    new: dict[Table, list[Row]] = {table: [] for table in made.tables}
    for table in made.tables:
        for _ in range(4):
            row = add_row(made, table, random)
            if row and table.master:
                up = next(key for key in table.foreign_keys if table.master in (key.parent, key.parent.master))
                if not any(all(row[here] == above[there] for here, there in up.names) for above in new[up.parent]):
                    made.rows[table].remove(row)
                    continue
            new[table] += [row] if row else []
    return new


def _refer(made: Pipeline, key: ForeignKey, table: Table, row: Row, random: Random) -> bool:
    """Fill in a foreign key so that it refers to a row, or so that it is NULL in full or in part."""
    parents = made.rows[key.parent]
    fitting = [p for p in parents if all(row.get(here, p[there]) == p[there] for here, there in key.names)]
    new = [here for here in key.columns if here not in row]
    free = [here for here in new if table.columns[here].nullable]
    void = any(row.get(here, "") is None for here in key.columns)  # by what it shares with another key
    if not void and free and (not fitting or random.random() < 0.3):
        row |= dict.fromkeys(random.sample(free, random.randint(1, len(free))))
        void = True
    if not (parents if void else fitting):
        row |= dict.fromkeys(free)
        return void and set(new) <= set(free)
    chosen = random.choice(parents if void else fitting)
    for here, there in key.names:
        if here not in row:
            column, value = table.columns[here], chosen[there]
            same = "char" in column.type.name and (column.collation or "_ci").endswith("_ci")
            row[here] = value.swapcase() if value and same and made.spelled and random.random() < 0.1 else value
    return True


def _values(row: Row, names: Sequence[str]) -> list[str | None]:
    """Some values of a row, alike where any collation takes them for the same."""
    return [value and value.casefold() for value in map(row.get, names)]


# declaring


def declare(lab: Lab, made: Pipeline, schemas: Sequence[str]) -> None:
    """Declare and fill it at the source, in new schemas."""
    opened = [lab.source.Schema(name) for name in schemas]
    context: dict[str, Any] = {}
    for table in made.tables:
        if made.by_sql:
            run(lab, *table.statements(lab.kind, schemas))
        elif not table.master:
            parts = [part for part in made.tables if part.master is table]
            body = {part.label: type(part.label, (dj.Part,), {"definition": part.definition()}) for part in parts}
            declared = type(table.label, (TIERS[table.tier],), {"definition": table.definition(), **body})
            context[table.label] = opened[table.schema](declared, context=dict(context))
    for table, rows in made.rows.items():
        insert(lab, table, schemas, rows)


def insert(lab: Lab, table: Table, schemas: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert rows at the source."""
    if not rows:
        return
    names = list(table.columns)
    lines = (", ".join(_literal(lab.kind, table.columns[name].type, row[name]) for name in names) for row in rows)
    values = ", ".join(f"({line})" for line in lines)
    columns = ", ".join(quote(lab.kind, name) for name in names)
    run(lab, f"INSERT INTO {quote(lab.kind, schemas[table.schema], table.name)} ({columns}) VALUES {values}")


def _literal(kind: str, column: Type, value: str | None) -> str:
    if value is None:
        return "NULL"
    if kind == "postgresql":
        return f"'\\x{value}'" if column.postgresql == "bytea" else string(kind, value)
    return f"x'{value}'" if "binary" in column.mysql else string(kind, value)


def run(lab: Lab, *statements: str) -> None:
    """Run statements at the source, as administrator."""
    with lab.source_server.cursor("invented") as cursor:
        for statement in statements:
            cursor.execute(statement)
