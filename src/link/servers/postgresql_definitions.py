"""How tables are declared on PostgreSQL. Pure text: nothing here connects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..model.schema import Column, Table
from .definitions import Definitions, HelperColumns
from .dialect import linkable_kind, plain
from .postgresql import PostgreSQL


class PostgreSQLDefinitions(Definitions):
    """The statements that make, and change, tables on PostgreSQL."""

    dialect: PostgreSQL
    #: From version 18 on RESTRICT has an error of its own, which DataJoint does not know for a refusal.
    refuses = "NO ACTION"

    def create_table(self, table: Table) -> list[str]:
        name = self.dialect.name_of(table)
        lines = [
            *(self._column(table.schema, column) for column in table.columns),
            self.primary_key(table),
            *map(self.foreign_key, table.foreign_keys),
        ]
        return [
            *self._enums(table),
            f"CREATE TABLE {name} ({', '.join(lines)})",
            *([f"COMMENT ON TABLE {name} IS {self.dialect.text(table.comment)}"] if table.comment else []),
            *(
                f"COMMENT ON COLUMN {name}.{self.dialect.quote(c.name)} IS {self.dialect.text(c.comment)}"
                for c in table.columns
                if c.comment
            ),
            *self._indexes(table),
        ]

    def _enums(self, table: Table) -> list[str]:
        schema = self.dialect.quote(table.schema)
        labels = {_own_name(c.enum_type): linkable_kind(c).labels for c in table.columns if c.enum_type}
        return [self._create_enum(f"{schema}.{name}", of_type) for name, of_type in labels.items()]

    def _indexes(self, table: Table) -> list[str]:
        # Unlike MySQL, PostgreSQL does not index the columns of a foreign key by itself.
        return [
            f"CREATE INDEX ON {self.dialect.name_of(table)} ({self.listed(fk.columns)})"
            for fk in table.foreign_keys
            if table.primary_key[: len(fk.columns)] != fk.columns
        ]

    def _column(self, schema: str, column: Column) -> str:
        kind = column.type
        if column.enum_type:
            kind = f"{self.dialect.quote(schema)}.{_own_name(column.enum_type)}".replace("%", "%%")
        elif column.auto_increment:
            kind = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}.get(column.type, column.type)
        words = [self.dialect.quote(column.name), kind]
        if column.collation:
            words.append(f"COLLATE {column.collation}".replace("%", "%%"))
        words.append("NULL" if column.nullable else "NOT NULL")
        if column.default is not None:
            words.append("DEFAULT " + column.default.replace("%", "%%"))
        return " ".join(words)

    def create_helper(self, source: Table, schema: str, name: str, columns: HelperColumns, comment: str) -> list[str]:
        made = self.create_keyed(source, schema, name, (source.schema, source.name), columns)
        return [
            *self._helper_enums(schema, columns),
            # Room on each page for its rows' second version: finishing a pull need not touch the index then.
            f"{made} WITH (fillfactor = 50)",
            f"COMMENT ON TABLE {self.dialect.full_name(schema, name)} IS {self.dialect.text(comment)}",
        ]

    def create_helper_part(self, source: Table, schema: str, name: str, helper: str) -> list[str]:
        return [self.create_keyed(source, schema, name, (schema, helper), {})]

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
        collation = f" COLLATE {column.collation}".replace("%", "%%") if column.collation else ""
        return f"{self.dialect.quote(column.name)} {self.dialect.type_of(column)}{collation} NOT NULL"

    def helper_column(self, schema: str, name: str, labels: Sequence[str]) -> str:
        kind = self._helper_enum(schema, labels) if labels else "integer"
        default = self.dialect.text(labels[-1]) if labels else 0
        return f"{self.dialect.quote(name)} {kind} NOT NULL DEFAULT {default}"

    def create_numbers(self, schema: str, name: str) -> list[str]:
        table = self.dialect.full_name(schema, name)
        return [
            f"CREATE TABLE {table} (name text PRIMARY KEY, number text NOT NULL, place text NOT NULL)",
            # Who uses the linked tables need not be who made them.
            f"GRANT SELECT ON {table} TO PUBLIC",
        ]

    def comment_on(self, schema: str, name: str, comment: str) -> list[str]:
        return [
            "SET lock_timeout = '3s'",
            f"COMMENT ON TABLE {self.dialect.full_name(schema, name)} IS {self.dialect.text(comment)}",
        ]

    def add_columns(self, schema: str, name: str, columns: HelperColumns) -> list[str]:
        added = ", ".join(f"ADD COLUMN {self.helper_column(schema, *column)}" for column in columns.items())
        return [*self._helper_enums(schema, columns), f"ALTER TABLE {self.dialect.full_name(schema, name)} {added}"]

    def rename_columns(self, schema: str, name: str, columns: Mapping[str, str]) -> list[str]:
        table, quote = self.dialect.full_name(schema, name), self.dialect.quote
        return [f"ALTER TABLE {table} RENAME COLUMN {quote(a)} TO {quote(b)}" for a, b in columns.items()]

    def rename_table(self, schema: str, name: str, new: str) -> str:
        return f"ALTER TABLE {self.dialect.full_name(schema, name)} RENAME TO {self.dialect.quote(new)}"

    def _helper_enums(self, schema: str, columns: HelperColumns) -> list[str]:
        kinds = dict.fromkeys(tuple(labels) for labels in columns.values() if labels)
        return [self._create_enum(self._helper_enum(schema, labels), labels) for labels in kinds]

    def _helper_enum(self, schema: str, labels: Sequence[str]) -> str:
        # DataJoint shows a column of such a type as an enum when the type's name begins like this.
        return self.dialect.full_name(schema, "enum_link_" + "_".join(labels).lower())

    def _create_enum(self, name: str, labels: Sequence[str]) -> str:
        values = ", ".join(map(self.dialect.text, labels))
        return f"DO $$ BEGIN CREATE TYPE {name} AS ENUM ({values}); EXCEPTION WHEN duplicate_object THEN NULL; END $$"


def _own_name(enum_type: str) -> str:
    """The quoted name of a type without its schema."""
    return enum_type.rpartition(".")[2]
