"""How tables are declared on a kind of server. Pure text: nothing here connects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from ..model.layouts import HelperColumns
from ..model.schema import Column, ForeignKey, Table
from ..model.states import TRUE
from .dialect import Dialect


class Definitions(ABC):
    """The statements that make, and change, tables.

    Parameters
    ----------
    dialect : Dialect
        How names are written.
    """

    #: What refuses to delete a row that is referred to.
    refuses: ClassVar[str] = "RESTRICT"
    #: What a foreign key is to a DROP.
    foreign_key_word: ClassVar[str]
    #: Lets what changes a table fail soon where others are busy with it: whoever comes while it waits would wait too.
    impatiently: ClassVar[str]

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    def create_schema(self, schema: str) -> str:
        """The statement that creates a schema unless it is there."""
        return f"CREATE SCHEMA IF NOT EXISTS {self.dialect.quote(schema)}"

    @abstractmethod
    def create_table(self, table: Table) -> list[str]:
        """The statements that create a local table, with those of its indexes that are fit for it."""

    @abstractmethod
    def alter_table(
        self, table: Table, added: Sequence[Column] = (), changed: Sequence[Column] = (), dropped: Sequence[Column] = ()
    ) -> list[str]:
        """The statements that give a table other columns.

        Those that are changed have new types or comments, and may be NULL; all else stays as it is.
        """

    @abstractmethod
    def create_staging(self, table: Table, staging: Table) -> list[str]:
        """The statements that create a temporary table of the same columns and key as a table that is there."""

    def _like(self, table: Table) -> str:
        """SELECT of no rows, whose columns have the types of a table's."""
        return f"SELECT {self.listed(table.names)} FROM {self.dialect.name_of(table)} WHERE 1 = 0"

    def refer(self, helper: Table, source: Table) -> str:
        """The statement that lets a helper table refer to its source table, and to no other."""
        former = [self._drop_key(fk) for fk in helper.foreign_keys]
        return f"ALTER TABLE {self.dialect.name_of(helper)} {', '.join([*former, f'ADD {self.hold(source)}'])}"

    @abstractmethod
    def create_helper(self, source: Table, schema: str, name: str, columns: HelperColumns, comment: str) -> list[str]:
        """The statements that create the helper table of a source table, which has these columns beside the key."""

    def drop_helper(self, schema: str, name: str, columns: HelperColumns) -> list[str]:
        """The statements that drop a helper table, or a part of one, with what was made for it; each may be refused."""
        return [f"DROP TABLE {self.dialect.full_name(schema, name)}"]

    @abstractmethod
    def create_helper_part(self, source: Table, schema: str, name: str, helper: str) -> list[str]:
        """The statements that create a part table of a helper table, with nothing but the key."""

    @abstractmethod
    def create_anchor(self, schema: str, name: str, table: Table, comment: str) -> list[str]:
        """The statements that create an anchor: what has no rows and keeps a table from being dropped."""

    @abstractmethod
    def drop_anchor(self, schema: str, name: str) -> str:
        """The statement that drops an anchor, if it is there."""

    @abstractmethod
    def create_numbers(self, schema: str, name: str) -> list[str]:
        """The statements that create the table with the numbers of linked tables, their places, and their ties."""

    @abstractmethod
    def add_ties(self, schema: str, name: str) -> list[str]:
        """The statements that let the table with the numbers, which an earlier version has made, hold ties as well."""

    @abstractmethod
    def create_edits(self, schema: str, name: str) -> list[str]:
        """The statements that create the table that notes which rows were edited."""

    @abstractmethod
    def comment_on(self, schema: str, name: str, comment: str) -> list[str]:
        """The statements that give a table another comment, or fail soon where others are busy with it."""

    @abstractmethod
    def add_columns(self, schema: str, name: str, columns: HelperColumns) -> list[str]:
        """The statements that add columns to a helper table."""

    def note_flags(self, schema: str, name: str, key: Sequence[str]) -> list[str]:
        """The statements that let the server note the time when a helper row is flagged: nobody else knows it."""
        return []  # the column itself says so

    @abstractmethod
    def rename_columns(self, schema: str, name: str, columns: Mapping[str, str]) -> list[str]:
        """The statements that give columns other names: all at once, or within a transaction."""

    @abstractmethod
    def rename_table(self, schema: str, name: str, new: str) -> str:
        """The statement that gives a table another name."""

    def keep_rows(self, schema: str, name: str, may_go: str) -> list[str]:
        """The statements that keep the rows of a table from being deleted by others than its owner.

        But for those of which ``may_go`` is true; who may look, insert and change is a matter of rights. Only on
        servers that show all foreign keys to everybody.
        """
        raise NotImplementedError

    def deprecated(self, column: str) -> str:
        """The condition that a helper row is deprecated."""
        return f"{self.dialect.quote(column)} = {self.dialect.text(TRUE)}"

    def owning(self, source: Table) -> str:
        """The condition that the current account owns the source table."""
        raise NotImplementedError

    @abstractmethod
    def key_column(self, column: Column) -> str:
        """A key column exactly as the source has it."""

    @abstractmethod
    def helper_column(self, schema: str, name: str, labels: Sequence[str] | None) -> str:
        """A column of a helper table in a schema, with labels, or a number, or a time."""

    def create_keyed(
        self, source: Table, schema: str, name: str, referred: tuple[str, str], columns: HelperColumns
    ) -> str:
        """CREATE TABLE with the source's key, some columns, and a foreign key that nothing passes by."""
        lines = [
            *(self.key_column(column) for column in source.key_columns),
            *(self.helper_column(schema, *column) for column in columns.items()),
            self.primary_key(source),
            self.hold(replace(source, schema=referred[0], name=referred[1])),
        ]
        return f"CREATE TABLE {self.dialect.full_name(schema, name)} ({', '.join(lines)})"

    def primary_key(self, table: Table) -> str:
        """The line of CREATE TABLE with the primary key."""
        return f"PRIMARY KEY ({self.listed(table.primary_key)})"

    def foreign_key(self, fk: ForeignKey, on_update: str = "CASCADE", on_delete: str | None = None) -> str:
        """The line of CREATE TABLE with a foreign key."""
        on_delete = on_delete or ("CASCADE" if fk.cascades else "RESTRICT")
        return (
            f"FOREIGN KEY ({self.listed(fk.columns)}) REFERENCES {self.dialect.full_name(fk.schema, fk.table)} "
            f"({self.listed(fk.referred)}) ON UPDATE {on_update} ON DELETE {on_delete}"
        )

    def add_foreign_key(self, table: Table, fk: ForeignKey) -> str:
        """The statement that gives a local table a foreign key."""
        return f"ALTER TABLE {self.dialect.name_of(table)} ADD {self.foreign_key(fk)}"

    def drop_foreign_key(self, table: Table, fk: ForeignKey) -> str:
        """The statement that takes a foreign key, of which the name is known, from a table."""
        return f"ALTER TABLE {self.dialect.name_of(table)} {self._drop_key(fk)}"

    def _drop_key(self, fk: ForeignKey) -> str:
        return f"DROP {self.foreign_key_word} {self.dialect.quote(fk.name)}"

    def hold(self, source: Table) -> str:
        """The line of CREATE TABLE with the foreign key that holds the source's rows."""
        key = ForeignKey(source.primary_key, source.schema, source.name, source.primary_key)
        return self.foreign_key(key, self.refuses, self.refuses)

    def listed(self, names: Sequence[str]) -> str:
        """Names, quoted, with commas between them."""
        return ", ".join(map(self.dialect.quote, names))
