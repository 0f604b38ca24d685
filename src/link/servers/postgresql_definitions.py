"""How tables are declared on PostgreSQL. Pure text: nothing here connects."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..model.layouts import FLAGGED, LINK, HelperColumns
from ..model.schema import Column, Index, Table
from .definitions import Definitions
from .dialect import linkable_kind, plain
from .postgresql import PostgreSQL


class PostgreSQLDefinitions(Definitions):
    """The statements that make, and change, tables on PostgreSQL."""

    dialect: PostgreSQL
    #: From version 18 on RESTRICT has an error of its own, which DataJoint does not know for a refusal.
    refuses = "NO ACTION"
    foreign_key_word = "CONSTRAINT"
    impatiently = "SET lock_timeout = '3s'"

    def create_table(self, table: Table) -> list[str]:
        name = self.dialect.name_of(table)
        lines = [
            *(self._column(column) for column in table.columns),
            self.primary_key(table),
            *map(self.foreign_key, table.foreign_keys),
        ]
        return [
            *self._enums(table),
            f"CREATE TABLE {name} ({', '.join(lines)})",
            *([f"COMMENT ON TABLE {name} IS {self.dialect.text(table.comment)}"] if table.comment else []),
            *self._comments(table, table.columns),
            *self._indexes(table),
        ]

    def _comments(self, table: Table, columns: Sequence[Column], emptied: bool = False) -> list[str]:
        name = self.dialect.name_of(table)
        return [
            f"COMMENT ON COLUMN {name}.{self.dialect.quote(c.name)} IS {self.dialect.text(c.comment)}"
            for c in columns
            if c.comment or emptied
        ]

    def alter_table(
        self, table: Table, added: Sequence[Column] = (), changed: Sequence[Column] = (), dropped: Sequence[Column] = ()
    ) -> list[str]:
        quote = self.dialect.quote
        retyped = [column for column in changed if column.type != table[column.name].type]
        grown = [column for column in retyped if self._is_same_enum(column, table[column.name])]
        actions = [
            *(f"ADD COLUMN {self._column(column)}" for column in added),
            *(action for c in retyped if c not in grown for action in self._change_type(table, c)),
            *(
                f"ALTER COLUMN {quote(column.name)} DROP NOT NULL"
                for column in changed
                if column.nullable and not table[column.name].nullable
            ),
            *(f"DROP COLUMN {quote(column.name)}" for column in dropped),
        ]
        name = self.dialect.name_of(table)
        return [
            *self._enums(replace(table, columns=(*added, *(c for c in retyped if c not in grown)))),
            *(statement for column in grown for statement in self._add_labels(table, column)),
            *([f"ALTER TABLE {name} {', '.join(actions)}"] if actions else []),
            *self._comments(table, added),
            *self._comments(table, [c for c in changed if c.comment != table[c.name].comment], emptied=True),
        ]

    def _is_same_enum(self, column: Column, former: Column) -> bool:
        names = [_own_name(c.enum_type) if c.enum_type else None for c in (column, former)]
        return names[0] is not None and names[0] == names[1]

    def _change_type(self, table: Table, column: Column) -> list[str]:
        alter = f"ALTER COLUMN {self.dialect.quote(column.name)}"
        kind = self._type(replace(column, auto_increment=False))
        # A default, and an enum, do not become another type by themselves.
        former = table[column.name].default is not None
        using = f" USING {self.dialect.quote(column.name)}::text::{kind}" if column.enum_type else ""
        return [
            *([f"{alter} DROP DEFAULT"] if former else []),
            f"{alter} TYPE {kind}{self._collate(column)}{using}",
            *([f"{alter} SET DEFAULT {column.default}".replace("%", "%%")] if former and column.default else []),
        ]

    def _add_labels(self, table: Table, column: Column) -> list[str]:
        name = self.dialect.type_of(table[column.name])
        labels, former = linkable_kind(column).labels, linkable_kind(table[column.name]).labels
        text = self.dialect.text
        return [
            f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {text(label)}" + (f" AFTER {text(before)}" if before else "")
            for before, label in zip((None, *labels), labels, strict=False)
            if label not in former
        ]

    def create_staging(self, table: Table, staging: Table) -> list[str]:
        name = self.dialect.name_of(staging)
        return [
            f"DROP TABLE IF EXISTS {name}",
            f"CREATE TEMPORARY TABLE {self.dialect.quote(staging.name)} AS {self._like(table)}",
            f"ALTER TABLE {name} ADD {self.primary_key(staging)}",
        ]

    def _enums(self, table: Table) -> list[str]:
        # Columns of a foreign key are of the type that they refer to, which is there: in another schema, it may be.
        own = f"{plain(self.dialect.quote(table.schema))}."
        labels = {self.dialect.type_of(c): linkable_kind(c).labels for c in table.columns if c.enum_type}
        return [self._create_enum(name, of_type) for name, of_type in labels.items() if plain(name).startswith(own)]

    def _indexes(self, table: Table) -> list[str]:
        indexes = [index for index in table.indexes if not index.unfit]
        # Unlike MySQL, PostgreSQL does not index the columns of a foreign key by itself.
        for fk in table.foreign_keys:
            there = (table.primary_key, *(index.columns for index in indexes))
            if not any(columns[: len(fk.columns)] == fk.columns for columns in there):
                indexes.append(Index(fk.columns))
        name = self.dialect.name_of(table)
        return [f"CREATE {'UNIQUE ' * i.unique}INDEX ON {name} ({self.listed(i.columns)})" for i in indexes]

    def _column(self, column: Column) -> str:
        words = [self.dialect.quote(column.name), self._type(column) + self._collate(column)]
        words.append("NULL" if column.nullable else "NOT NULL")
        if column.default is not None:
            words.append("DEFAULT " + column.default.replace("%", "%%"))
        return " ".join(words)

    def _type(self, column: Column) -> str:
        if column.enum_type:
            return self.dialect.type_of(column)
        if column.auto_increment:
            counting = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}
            return counting.get(column.type, column.type)
        return column.type

    def _collate(self, column: Column) -> str:
        return f" COLLATE {column.collation}".replace("%", "%%") if column.collation else ""

    def create_helper(self, source: Table, schema: str, name: str, columns: HelperColumns, comment: str) -> list[str]:
        made = self.create_keyed(source, schema, name, (source.schema, source.name), columns)
        return [
            *self._helper_enums(schema, columns),
            # Room on each page for its rows' second version: finishing a pull need not touch the index then.
            f"{made} WITH (fillfactor = 50)",
            f"COMMENT ON TABLE {self.dialect.full_name(schema, name)} IS {self.dialect.text(comment)}",
        ]

    def drop_helper(self, schema: str, name: str, columns: HelperColumns) -> list[str]:
        kinds = dict.fromkeys(labels for labels in columns.values() if labels)
        return [
            *super().drop_helper(schema, name, columns),
            f"DROP FUNCTION IF EXISTS {self._since(schema, name)}()",
            # Those that another helper table uses stay.
            *(f"DROP TYPE IF EXISTS {self._helper_enum(schema, labels)}" for labels in kinds),
        ]

    def create_helper_part(self, source: Table, schema: str, name: str, helper: str) -> list[str]:
        return [self.create_keyed(source, schema, name, (schema, helper), {})]

    def create_anchor(self, schema: str, name: str, table: Table, comment: str) -> list[str]:
        view = self.dialect.full_name(schema, name)
        return [
            f"CREATE VIEW {view} AS SELECT 1 AS anchor FROM {self.dialect.name_of(table)} WHERE false",
            f"COMMENT ON VIEW {view} IS {self.dialect.text(comment)}",
        ]

    def drop_anchor(self, schema: str, name: str) -> str:
        return f"DROP VIEW IF EXISTS {self.dialect.full_name(schema, name)}"

    def keep_rows(self, schema: str, name: str, may_go: str) -> list[str]:
        table = self.dialect.full_name(schema, name)
        # The owner is exempt, and with him every check of a foreign key.
        return [
            f"CREATE POLICY link_seen ON {table} FOR SELECT USING (true)",
            f"CREATE POLICY link_added ON {table} FOR INSERT WITH CHECK (true)",
            f"CREATE POLICY link_changed ON {table} FOR UPDATE USING (true)",
            f"CREATE POLICY link_kept ON {table} FOR DELETE USING ({may_go})",
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        ]

    def owning(self, source: Table) -> str:
        table = self.dialect.text(plain(self.dialect.name_of(source)))
        return f"pg_has_role((SELECT relowner FROM pg_catalog.pg_class WHERE oid = {table}::regclass), 'USAGE')"

    def key_column(self, column: Column) -> str:
        return f"{self.dialect.quote(column.name)} {self.dialect.type_of(column)}{self._collate(column)} NOT NULL"

    def helper_column(self, schema: str, name: str, labels: Sequence[str] | None) -> str:
        if labels is None:
            return f"{self.dialect.quote(name)} timestamp with time zone NULL"
        kind = self._helper_enum(schema, labels) if labels else "integer"
        default = self.dialect.text(labels[-1]) if labels else 0
        return f"{self.dialect.quote(name)} {kind} NOT NULL DEFAULT {default}"

    def create_numbers(self, schema: str, name: str) -> list[str]:
        table = self.dialect.full_name(schema, name)
        return [
            f"CREATE TABLE {table} (name text PRIMARY KEY, number text NOT NULL, place text NOT NULL, tie text NULL)",
            # Who uses the linked tables need not be who made them.
            f"GRANT SELECT ON {table} TO PUBLIC",
        ]

    def add_ties(self, schema: str, name: str) -> list[str]:
        return [self.impatiently, f"ALTER TABLE {self.dialect.full_name(schema, name)} ADD COLUMN tie text NULL"]

    def create_edits(self, schema: str, name: str) -> list[str]:
        table = self.dialect.full_name(schema, name)
        return [
            f"CREATE TABLE {table} (name text NOT NULL, digest text NOT NULL, PRIMARY KEY (name, digest))",
            f"GRANT SELECT, INSERT ON {table} TO PUBLIC",
        ]

    def comment_on(self, schema: str, name: str, comment: str) -> list[str]:
        return [
            self.impatiently,
            f"COMMENT ON TABLE {self.dialect.full_name(schema, name)} IS {self.dialect.text(comment)}",
        ]

    def add_columns(self, schema: str, name: str, columns: HelperColumns) -> list[str]:
        added = ", ".join(f"ADD COLUMN {self.helper_column(schema, *column)}" for column in columns.items())
        return [*self._helper_enums(schema, columns), f"ALTER TABLE {self.dialect.full_name(schema, name)} {added}"]

    def note_flags(self, schema: str, name: str, key: Sequence[str]) -> list[str]:
        # A trigger before the change would have every statement of the link's lock each row first. It is the owner who
        # notes it: others may change nothing but the flag. And no flag shall be refused for the sake of its time.
        table, quote = self.dialect.full_name(schema, name), self.dialect.quote
        function = self._since(schema, name)
        flag, new = quote(LINK.columns["is_flagged"]), ", ".join(f"NEW.{quote(column)}" for column in key)
        noted = f"UPDATE {table} SET {quote(FLAGGED)} = now() WHERE ({self.listed(key)}) = ({new})"
        body = _between_dollars(f"BEGIN {noted}; RETURN NULL; EXCEPTION WHEN OTHERS THEN RETURN NULL; END", "since")
        how = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
        return [
            self._unless(
                "insufficient_privilege",
                f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger {how} AS {body}",
                f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC",
                f"CREATE OR REPLACE TRIGGER link_since AFTER UPDATE OF {flag} ON {table} FOR EACH ROW "
                f"WHEN (OLD.{flag} IS DISTINCT FROM NEW.{flag}) EXECUTE FUNCTION {function}()",
            )
        ]

    def _since(self, schema: str, name: str) -> str:
        return self.dialect.full_name(schema, f"link_since_{zlib.crc32(name.encode()):08x}")

    def rename_columns(self, schema: str, name: str, columns: Mapping[str, str]) -> list[str]:
        table, quote = self.dialect.full_name(schema, name), self.dialect.quote
        return [f"ALTER TABLE {table} RENAME COLUMN {quote(a)} TO {quote(b)}" for a, b in columns.items()]

    def rename_table(self, schema: str, name: str, new: str) -> str:
        return f"ALTER TABLE {self.dialect.full_name(schema, name)} RENAME TO {self.dialect.quote(new)}"

    def _helper_enums(self, schema: str, columns: HelperColumns) -> list[str]:
        kinds = dict.fromkeys(labels for labels in columns.values() if labels)
        return [self._create_enum(self._helper_enum(schema, labels), labels) for labels in kinds]

    def _helper_enum(self, schema: str, labels: Sequence[str]) -> str:
        # DataJoint shows a column of such a type as an enum when the type's name begins like this.
        return self.dialect.full_name(schema, "enum_link_" + "_".join(labels).lower())

    def _create_enum(self, name: str, labels: Sequence[str]) -> str:
        values = ", ".join(map(self.dialect.text, labels))
        return self._unless("duplicate_object", f"CREATE TYPE {name} AS ENUM ({values})")

    def _unless(self, error: str, *statements: str) -> str:
        body = f"BEGIN {'; '.join(statements)}; EXCEPTION WHEN {error} THEN NULL; END"
        return f"DO {_between_dollars(body)}"


def _between_dollars(text: str, mark: str = "") -> str:
    """A text as a literal in which nothing is escaped, between marks that are not in it."""
    while f"${mark}$" in text:
        mark += "_"
    return f"${mark}$ {text} ${mark}$"


def _own_name(enum_type: str) -> str:
    """The quoted name of a type without its schema."""
    return enum_type.rpartition(".")[2]
