"""How tables are declared on MySQL and MariaDB. Pure text: nothing here connects."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import DefinitionError
from ..model.layouts import FLAGGED, HelperColumns
from ..model.schema import Column, Index, Table
from . import mysql_types
from .definitions import Definitions
from .dialect import linkable_kind

#: Characters of a comment.
COMMENT, TABLE_COMMENT = 1024, 2048
#: A row takes 65,535 bytes beside its long columns, of four-byte characters so many fewer.
_ROW_BYTES = 65_535
_KEY_BYTES = 3072
#: Characters of a name from which the server makes one of a foreign key: it adds a number of one or two digits.
_NAMED = 56
#: Bytes of a character, where it does not take up to four.
_CHARACTER = {None: 1, "ascii": 1, "latin1": 1, "utf8": 3, "utf8mb3": 3}
#: In the rows that a server may still have for its default an index takes 767 bytes.
_STORED = "ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
_TIE = "tie TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL"


class MySQLDefinitions(Definitions):
    """The statements that make, and change, tables on MySQL and MariaDB."""

    foreign_key_word = "FOREIGN KEY"
    impatiently = "SET SESSION lock_wait_timeout = 3"

    def create_table(self, table: Table) -> list[str]:
        lines = [
            # A column that counts must be the first of an index.
            *(
                self._column(replace(c, auto_increment=c.auto_increment and c.name == table.primary_key[0]))
                for c in table.columns
            ),
            self.primary_key(table),
            *(f"{'UNIQUE ' * i.unique}INDEX ({self.listed(i.columns)})" for i in table.indexes if not i.unfit),
            *(self._named(table, n) + self.foreign_key(key) for n, key in enumerate(table.foreign_keys, 1)),
        ]
        return [
            f"CREATE TABLE {self.dialect.name_of(table)} ({', '.join(lines)}) "
            f"{_STORED} COMMENT={self.dialect.text(table.comment)}"
        ]

    def _named(self, table: Table, number: int) -> str:
        """A name for a foreign key, where the one that the server would give it has no room."""
        if len(table.name) <= _NAMED:
            return ""
        stem = f"{table.name[: _NAMED - 9]}_{zlib.crc32(table.name.encode()):08x}"
        return f"CONSTRAINT {self.dialect.quote(f'{stem}_ibfk_{number}')} "

    def alter_table(
        self, table: Table, added: Sequence[Column] = (), changed: Sequence[Column] = (), dropped: Sequence[Column] = ()
    ) -> list[str]:
        actions = [
            *(f"ADD COLUMN {self._column(column)}" for column in added),
            *(f"MODIFY COLUMN {self._column(column)}" for column in changed),
            *(f"DROP COLUMN {self.dialect.quote(column.name)}" for column in dropped),
        ]
        return [f"ALTER TABLE {self.dialect.name_of(table)} {', '.join(actions)}"] if actions else []

    def create_staging(self, table: Table, staging: Table) -> list[str]:
        name, key = self.dialect.name_of(staging), self.primary_key(staging)
        return [
            f"DROP TEMPORARY TABLE IF EXISTS {name}",
            f"CREATE TEMPORARY TABLE {name} ({key}) {_STORED} {self._like(table)}",
        ]

    def _column(self, column: Column) -> str:
        linkable_kind(column)
        words = [self.dialect.quote(column.name), _full_type(column), "NULL" if column.nullable else "NOT NULL"]
        if column.default is not None:
            words.append(f"DEFAULT {column.default}".replace("%", "%%"))
        if column.on_update:
            words.append(f"ON UPDATE {column.on_update}")
        if column.auto_increment:
            words.append("AUTO_INCREMENT")
        words.append(f"COMMENT {self.dialect.text(column.comment[:COMMENT])}")
        return " ".join(words)

    def create_helper(self, source: Table, schema: str, name: str, columns: HelperColumns, comment: str) -> list[str]:
        made = self.create_keyed(source, schema, name, (source.schema, source.name), columns)
        return [f"{made} {_STORED} COMMENT={self.dialect.text(comment)}"]

    def create_helper_part(self, source: Table, schema: str, name: str, helper: str) -> list[str]:
        return [f"{self.create_keyed(source, schema, name, (schema, helper), {})} {_STORED}"]

    def create_anchor(self, schema: str, name: str, table: Table, comment: str) -> list[str]:
        # DataJoint would drop the first table before the one that it refers to. It does not see what refers to tables
        # with such a name, and the server refuses.
        return [
            *self.create_helper(table, schema, name, {}, comment),
            *self.create_helper_part(table, schema, f"{name}_", name),
        ]

    def drop_anchor(self, schema: str, name: str) -> str:
        return (
            f"DROP TABLE IF EXISTS {self.dialect.full_name(schema, f'{name}_')}, {self.dialect.full_name(schema, name)}"
        )

    def key_column(self, column: Column) -> str:
        # A TIMESTAMP without a default would get the time of each UPDATE, where servers do not want that said.
        default = "" if column.type.partition("(")[0] != "timestamp" else " DEFAULT '1970-01-01 00:00:01'"
        return f"{self.dialect.quote(column.name)} {_full_type(column)} NOT NULL{default}"

    def helper_column(self, schema: str, name: str, labels: Sequence[str] | None) -> str:
        if labels is None:
            # The link's own statements leave the time as it is: who else changes a row has set or taken back a flag.
            changed = " ON UPDATE CURRENT_TIMESTAMP" if name == FLAGGED else ""
            return f"{self.dialect.quote(name)} TIMESTAMP NULL DEFAULT NULL{changed}"
        kind = f"ENUM({', '.join(map(self.dialect.text, labels))})" if labels else "INT"
        default = self.dialect.text(labels[-1]) if labels else 0
        return f"{self.dialect.quote(name)} {kind} NOT NULL DEFAULT {default}"

    def create_numbers(self, schema: str, name: str) -> list[str]:
        return [
            f"CREATE TABLE {self.dialect.full_name(schema, name)} "
            "(name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, "
            "number CHAR(16) CHARACTER SET ascii NOT NULL, "
            f"place VARCHAR(2000) CHARACTER SET utf8mb4 NOT NULL, {_TIE}) {_STORED}"
        ]

    def add_ties(self, schema: str, name: str) -> list[str]:
        return [self.impatiently, f"ALTER TABLE {self.dialect.full_name(schema, name)} ADD COLUMN {_TIE}"]

    def create_edits(self, schema: str, name: str) -> list[str]:
        kind = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
        return [
            f"CREATE TABLE {self.dialect.full_name(schema, name)} "
            f"(name VARCHAR(64) {kind}, digest CHAR(64) {kind}, PRIMARY KEY (name, digest)) {_STORED}"
        ]

    def comment_on(self, schema: str, name: str, comment: str) -> list[str]:
        return [
            self.impatiently,
            f"ALTER TABLE {self.dialect.full_name(schema, name)} COMMENT={self.dialect.text(comment)}",
        ]

    def add_columns(self, schema: str, name: str, columns: HelperColumns) -> list[str]:
        added = ", ".join(f"ADD COLUMN {self.helper_column(schema, *column)}" for column in columns.items())
        return [f"ALTER TABLE {self.dialect.full_name(schema, name)} {added}"]

    def rename_columns(self, schema: str, name: str, columns: Mapping[str, str]) -> list[str]:
        quote = self.dialect.quote
        renamed = ", ".join(f"RENAME COLUMN {quote(a)} TO {quote(b)}" for a, b in columns.items())
        return [f"ALTER TABLE {self.dialect.full_name(schema, name)} {renamed}"]

    def rename_table(self, schema: str, name: str, new: str) -> str:
        return f"RENAME TABLE {self.dialect.full_name(schema, name)} TO {self.dialect.full_name(schema, new)}"


def _full_type(column: Column) -> str:
    kind = column.type.replace("%", "%%")
    if column.charset:
        kind += f" CHARACTER SET {column.charset} COLLATE {column.collation}"
    return kind


def fitting(table: Table) -> Table:
    """A table whose longest texts have become LONGTEXT, as many as it takes until a row fits.

    Raises
    ------
    DefinitionError
        The primary key does not fit.
    """
    if sum(map(_width, table.key_columns)) > _KEY_BYTES:
        raise DefinitionError(
            f"The primary key of {table.name} ({', '.join(f'{c.name} {c.type}' for c in table.key_columns)}) is longer "
            f"than the {_KEY_BYTES} bytes that MySQL and MariaDB index."
        )
    while sum(map(_width, table.columns)) > _ROW_BYTES:
        free = [c for c in table.columns if c.type.startswith("varchar") and c.name not in table.primary_key]
        if not free:
            break
        longest = max(free, key=_width)
        default = f"({longest.default})" if longest.default else None
        changed = replace(longest, type="longtext", default=default)
        table = replace(table, columns=tuple(changed if c is longest else c for c in table.columns))
    return table


def indexable(table: Table) -> Table:
    """A table that knows which of its indexes these servers cannot have."""

    def judged(index: Index) -> Index:
        columns = [table[name] for name in index.columns]
        if index.unfit or not columns:
            return index
        if long := next((c for c in columns if c.type == "json" or mysql_types.is_long(c.type)), None):
            return replace(index, unfit=f"{long.name} is {long.type}, which MySQL and MariaDB do not index")
        if sum(map(_width, columns)) > _KEY_BYTES:
            return replace(index, unfit=f"it is longer than the {_KEY_BYTES} bytes that MySQL and MariaDB index")
        return index

    return replace(table, indexes=tuple(map(judged, table.indexes)))


def _width(column: Column) -> int:
    size = re.search(r"\((\d+)\)", column.type)
    if column.type.startswith("var") and size:
        return int(size[1]) * _CHARACTER.get(column.charset, 4) + 2
    return 32
