"""Rows that depend on others: a temporary table of keys beside each table, and what brings keys from one to the next.

The keys follow the foreign keys down, and from part rows up to their masters. Where rows are to be deleted, those are
struck out again to which others refer that stay. Every statement names each temporary table once: MySQL can do no more.
Pure text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..model.ranges import Key, Sql
from ..model.schema import Column, ForeignKey, Table
from .definitions import Definitions
from .keyed import Keyed


class Stale:
    """A table, and a temporary table of the keys of some of its rows.

    Parameters
    ----------
    define : Definitions
        How tables are made on its server.
    table : Table
        The table; it has a primary key.
    schema : str
        Where the account may make temporary tables.
    number : int
        Of all that a session has at a time.
    """

    def __init__(self, define: Definitions, table: Table, schema: str, number: int) -> None:
        self.define = define
        self.dialect = define.dialect
        self.table = table
        self._keys_only = table.only(table.primary_key)
        place = self.dialect.staging_schema(schema)
        # DataJoint has no such table.
        self._listed = replace(self._keys_only, schema=place, name=f"~stale_{number}", foreign_keys=())
        self.rows = Keyed(self.dialect, self._keys_only, table.key_columns)
        self.keys = Keyed(self.dialect, self._listed, table.key_columns)

    @property
    def creation(self) -> list[str]:
        """The statements that make the temporary table, empty, whatever was there before."""
        return self.define.create_staging(self._keys_only, self._listed)

    @property
    def emptying(self) -> str:
        """DELETE of all keys."""
        return f"DELETE FROM {self.keys.name}"

    @property
    def counting(self) -> str:
        """SELECT of the number of keys."""
        return f"SELECT COUNT(*) FROM {self.keys.name}"

    def adding(self, rows: Keyed, keys: Sequence[Key]) -> Sql:
        """INSERT of the keys of rows that have these keys, by columns of the table that tell them."""
        item, args = rows.rows_of(keys)
        return self._insertion(item), args

    def striking_out(self, key: Sequence[Column], keys: Sequence[Key]) -> Sql:
        """DELETE of keys, by these columns of the table, which are its primary key in some order."""
        return self.listed_by(key).deletion(keys)

    def listed_by(self, key: Sequence[Column]) -> Keyed:
        """The temporary table, by these columns, which are the primary key in some order."""
        return Keyed(self.dialect, self._listed, key)

    def following(self, parent: Stale, fk: ForeignKey) -> str:
        """INSERT of the keys of the rows that refer to rows whose keys are listed."""
        refers = self._equal(self.rows.name, fk.columns, *parent.with_columns(fk.referred))
        return self._insertion(f"FROM {self.dialect.driving_join(parent.driving(fk.referred), self.rows.name, refers)}")

    def gathering(self, part: Stale, master_key: Sequence[str]) -> str:
        """INSERT of the keys of the rows, of a master, whose part rows' keys are listed."""
        belongs = self._equal(self.rows.name, self.table.primary_key, *part.with_columns(master_key))
        return self._insertion(f"FROM {self.dialect.driving_join(part.driving(master_key), self.rows.name, belongs)}")

    def sparing(self, child: Table, fk: ForeignKey, going: Stale | None) -> str:
        """DELETE of keys to whose rows others refer that stay: those of a table, or but for ``going`` ones."""
        name = self.dialect.name_of(child)
        if set(fk.referred) <= set(self.table.primary_key):
            rows, refers = name, self._equal(name, fk.columns, self.keys.name, fk.referred)
        else:
            refers = self._equal(name, fk.columns, self.rows.name, fk.referred)
            rows, refers = f"{self.rows.name} JOIN {name} ON {refers}", self.rows.equals(self.keys)
        stay = f" AND NOT {going.rows.exists(going.keys, 'going')}" if going else ""
        return f"{self.emptying} WHERE EXISTS (SELECT 1 FROM {rows} WHERE {refers}{stay})"

    def staying_with(self, master: Stale, master_key: Sequence[str]) -> str:
        """DELETE of keys, of a part, whose masters' are not listed."""
        alias = self.dialect.alias("master")
        belongs = self._equal(alias, master.table.primary_key, self.rows.name, master_key)
        listed = f"EXISTS (SELECT 1 FROM {master.keys.name} {alias} WHERE {belongs})"
        own = self.rows.equals(self.keys)
        return f"{self.emptying} WHERE EXISTS (SELECT 1 FROM {self.rows.name} WHERE {own} AND NOT {listed})"

    @property
    def deletion(self) -> str:
        """DELETE of the rows."""
        return self.dialect.delete_listed(self.rows.name, self.keys.name, self.rows.equals(self.keys), "1 = 1")

    def with_columns(self, names: Sequence[str]) -> tuple[str, Sequence[str]]:
        """What has some columns of the rows in :meth:`driving`, and the columns."""
        return (self.keys.name if set(names) <= set(self.table.primary_key) else self.rows.name), names

    def driving(self, names: Sequence[str]) -> str:
        """A FROM item with the keys, and with the rows where some columns are not in the key."""
        if set(names) <= set(self.table.primary_key):
            return self.keys.name
        return self.dialect.driving_join(self.keys.name, self.rows.name, self.rows.equals(self.keys))

    def _insertion(self, rows: str) -> str:
        names = self.table.primary_key
        fields = ", ".join(f"{self.rows.name}.{self.dialect.quote(name)}" for name in names)
        return self.dialect.insert_new(self.keys.name, names, f"SELECT DISTINCT {fields} {rows}", names[0])

    def _equal(self, one: str, columns: Sequence[str], other: str, others: Sequence[str]) -> str:
        pairs = zip(map(self.dialect.quote, columns), map(self.dialect.quote, others), strict=True)
        return " AND ".join(f"{one}.{a} = {other}.{b}" for a, b in pairs)
