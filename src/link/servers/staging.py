"""Rows that are to take the place of older ones: what stages them beside their table, and what brings them into it.

They are loaded into a temporary table first. One statement each then removes rows that have gone, gives the others
their values, and adds what is new; rows keep their keys, and whatever refers to them. Pure text.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.ranges import Range, Sql
from ..model.schema import Table
from .definitions import Definitions
from .keyed import Keyed


class Staging:
    """A temporary table with the columns of a table that are loaded, and its key.

    Parameters
    ----------
    define : Definitions
        How tables are made on its server.
    table : Table
        Where the rows are to go.
    number : int
        Of all that a session has at a time.

    Attributes
    ----------
    staged : Table
        The temporary table.
    """

    def __init__(self, define: Definitions, table: Table, number: int) -> None:
        self.define = define
        self.dialect = define.dialect
        self.table = table
        # DataJoint has no such table.
        self.staged = replace(
            table, schema=self.dialect.staging_schema(table.schema), name=f"~refresh_{number}", foreign_keys=()
        )
        # A part's own key need not say whose row it is: one that has moved to another entity is another row.
        same = [table[name] for name in dict.fromkeys((*table.primary_key, *table.entity_key))]
        self._rows, self._new = Keyed(self.dialect, table, same), Keyed(self.dialect, self.staged, same)

    @property
    def creation(self) -> list[str]:
        """The statements that make the temporary table, empty, whatever was there before."""
        return self.define.create_staging(self.table, self.staged)

    @property
    def locking(self) -> str:
        """SELECT how many rows are staged and there; nobody deletes them before the transaction ends."""
        join = self.dialect.driving_join(self._new.name, self._rows.name, self._rows.equals(self._new))
        return self.dialect.locking_count(join)

    def removal(self, master: Staging) -> str:
        """DELETE of the rows that are not staged, of entities that are."""
        rows, entities = Keyed(self.dialect, self.table), Keyed(self.dialect, master.staged)
        gone = f"NOT {self._rows.exists(self._new, 'staged')}"
        return self.dialect.delete_listed(rows.name, entities.name, rows.equals(entities), gone)

    def counting(self, master: Staging) -> str:
        """SELECT how many rows are staged, and how many there are of entities that are."""
        rows, entities = Keyed(self.dialect, self.table), Keyed(self.dialect, master.staged)
        there = self.dialect.driving_join(entities.name, rows.name, rows.equals(entities))
        return f"SELECT (SELECT COUNT(*) FROM {self._new.name}), (SELECT COUNT(*) FROM {there})"

    @property
    def comparing(self) -> str:
        """SELECT how many rows are staged, and how many of them are there just so."""
        new, there = (self.dialect.comparable(table, True) for table in (self.staged, self.table))
        same = f"COALESCE(SUM(CASE WHEN {new} = {there} THEN 1 ELSE 0 END), 0)"
        join = f"{self._new.name} LEFT JOIN {self._rows.name} ON {self._rows.equals(self._new)}"
        return f"SELECT COUNT(*), {same} FROM {join}"

    @property
    def _changed(self) -> list[str]:
        return [name for name in self.table.names if name not in self.table.entity_key]

    @property
    def update(self) -> str | None:
        """UPDATE of the rows that are there; None where they are nothing but their entity's key.

        A key that is equal need not be the same, as a text in other letters: it is written as well.
        """
        key = (self.table[name] for name in self.table.entity_key)
        changed = [*(column.name for column in key if self.dialect.is_spelt(column)), *self._changed]
        if not changed:
            return None
        return self.dialect.update_joined(self._rows.name, changed, self._new.name, self._rows.equals(self._new))

    def update_within(self, bounds: Range) -> Sql | None:
        """UPDATE of the master's rows of a range, as :attr:`update`, but not where a key is equal and not the same."""
        if not self._changed:
            return None
        pairs = zip(self._rows.key, self._rows.references, self._new.references, strict=True)
        same = f"{self._rows.equals(self._new)} AND {self.dialect.spelt_alike(list(pairs))}"
        within, args = Keyed(self.dialect, self.table).within(bounds)
        return self.dialect.update_joined(self._rows.name, self._changed, self._new.name, same, within), args

    @property
    def insertion(self) -> str:
        """INSERT of the staged rows that are not there."""
        names = self.define.listed(self.table.names)
        values = ", ".join(f"{self._new.name}.{self.dialect.quote(name)}" for name in self.table.names)
        new = f"NOT {self._new.exists(self._rows, 'there')}"
        return f"INSERT INTO {self._rows.name} ({names}) SELECT {values} FROM {self._new.name} WHERE {new}"
