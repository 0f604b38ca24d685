"""What depends at a source on some entities of a table, in whatever schema: ways down along foreign keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import host
from ..model.graph import Name
from ..model.ranges import Key, Sql
from ..model.schema import ForeignKey, Table
from ..servers.catalogue import Catalogue
from ..servers.dialect import Dialect
from ..servers.keyed import Keyed
from ..servers.site import Site


@dataclass(frozen=True)
class Way:
    """How some entities are reached from rows of a table: along foreign keys, the first of them this table's own."""

    keys: tuple[ForeignKey, ...]
    tables: tuple[Table, ...]


@dataclass
class Dependent:
    """A table whose rows depend on entities, with the ways by which they do."""

    table: Table
    ways: list[Way] = field(default_factory=list)

    @property
    def name(self) -> Name:
        """Schema and table."""
        return self.table.schema, self.table.name


class Descent:
    """The tables that depend on one, each after those that it depends on; as far as the account sees them.

    Parameters
    ----------
    site : Site
        The source server.
    catalogue : Catalogue
        Its catalogue.
    source : Table
        The table whose entities it is about.
    """

    def __init__(self, site: Site, catalogue: Catalogue, source: Table) -> None:
        self._dialect: Dialect = site.dialect
        self.rows = Keyed(site.dialect, source)
        host.know_schema(site.connection, source.schema)
        with site.in_our_words():
            names = host.dependents(site.connection, [(source.schema, source.name)])
        catalogue.read_tables(names)
        root = Dependent(source, [Way((), ())])
        found = {root.name: root}
        for name in names:
            table = source if name == root.name else catalogue.table(*name)
            ways = [
                Way((fk, *way.keys), (above.table, *way.tables))
                for fk in table.foreign_keys
                if (above := found.get((fk.schema, fk.table))) and above.name != name
                for way in above.ways
            ]
            if ways:
                found[name] = Dependent(table, ways)
        self.by_name = found
        self.tables = [each for each in found.values() if each is not root]

    def counting(self, dependent: Dependent, keys: Sequence[Key], condition: str = "1 = 1") -> Sql:
        """SELECT how many rows of a table depend on some entities, by whatever ways."""
        table = dependent.table
        selected = ", ".join(self._dialect.field(table, column) for column in table.key_columns or table.columns)
        ways = [self._joined(table, way, keys) for way in dependent.ways]
        union = " UNION ".join(f"SELECT {selected} FROM {rows} WHERE {condition}" for rows, _ in ways)
        return f"SELECT COUNT(*) FROM ({union}) {self._dialect.alias('rows')}", tuple(
            a for _, args in ways for a in args
        )

    def holding_back(self, dependent: Dependent, keys: Sequence[Key], condition: str) -> Sql:
        """SELECT the keys of those entities on which rows of a table depend for which a condition is true."""
        ways = [self._joined(dependent.table, way, keys) for way in dependent.ways]
        union = " UNION ".join(f"SELECT {self.rows.selected} FROM {rows} WHERE {condition}" for rows, _ in ways)
        return union, tuple(a for _, args in ways for a in args)

    def going(self, dependent: Dependent, keys: Sequence[Key]) -> Sql:
        """SELECT the keys of those rows of a table that depend on some entities; of the source these themselves."""
        rows = Keyed(self._dialect, dependent.table)
        items = [
            self._joined(dependent.table, way, keys) if way.keys else self._above(way, keys) for way in dependent.ways
        ]
        union = " UNION ".join(f"SELECT {rows.selected} FROM {item}" for item, _ in items)
        return union, tuple(a for _, args in items for a in args)

    def masters(self, part: Table, ways: Sequence[Way], master: Table, keys: Sequence[Key]) -> Sql:
        """SELECT the keys of a master's rows whose rows of a part depend on some entities by these ways."""
        # The master may be a table on the way, too.
        rows = Keyed(self._dialect, master).called(self._dialect.alias("master"))
        name, on = f"{self._dialect.name_of(master)} {rows.name}", Keyed(self._dialect, part).equals(rows)
        items = [self._joined(part, way, keys) for way in ways]
        joined = (self._dialect.driving_join(item, name, on) for item, _ in items)
        union = " UNION ".join(f"SELECT {rows.selected} FROM {item}" for item in joined)
        return union, tuple(a for _, args in items for a in args)

    def deletions(self, dependent: Dependent, keys: Sequence[Key], condition: str) -> list[Sql]:
        """DELETE the rows of a table that depend on some entities: one statement for each way."""
        found = []
        for way in dependent.ways:
            above, args = self._above(way, keys)
            on = self._equal(dependent.table, way.keys[0])
            found.append(
                (self._dialect.delete_listed(self._dialect.name_of(dependent.table), above, on, condition), args)
            )
        return found

    def _joined(self, table: Table, way: Way, keys: Sequence[Key]) -> Sql:
        above, args = self._above(way, keys)
        joined = self._dialect.driving_join(above, self._dialect.name_of(table), self._equal(table, way.keys[0]))
        return joined, args

    def _above(self, way: Way, keys: Sequence[Key]) -> Sql:
        """A FROM item: the rows that the first foreign key of a way refers to, read from the entities on."""
        item, on, args = self.rows.listed(keys)
        joined = self._dialect.driving_join(item, self.rows.name, on)
        for fk, table in reversed(list(zip(way.keys[1:], way.tables[:-1], strict=True))):
            joined = self._dialect.driving_join(joined, self._dialect.name_of(table), self._equal(table, fk))
        return joined, args

    def _equal(self, table: Table, fk: ForeignKey) -> str:
        referred = (f"{self._dialect.full_name(fk.schema, fk.table)}.{self._dialect.quote(c)}" for c in fk.referred)
        own = (f"{self._dialect.name_of(table)}.{self._dialect.quote(c)}" for c in fk.columns)
        return " AND ".join(f"{mine} = {theirs}" for mine, theirs in zip(own, referred, strict=True))
