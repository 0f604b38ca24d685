"""How statements are written for PostgreSQL 14 and later. Pure text: nothing here connects.

Rows travel as binary COPY data, which the client forwards without looking at it: both ends have columns of the same
types, so every bit arrives. Key columns that the client must hold travel as text with a cast on the way back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

from ..model.kinds import Kind
from ..model.ranges import Key, Sql
from ..model.schema import Column, Table
from . import mysql_types, postgresql_types
from .dialect import DIGEST, LONG_VALUE, PARTITION, Dialect, linkable_kind, may_be_long, plain
from .session import Form

#: Encodings in which several strings of bytes are one character, and which put one character for another.
_MERGING = {"EUC_JP", "EUC_TW", "MULE_INTERNAL"}
_INTEGERS = ("smallint", "integer", "bigint")


class PostgreSQL(Dialect):
    """PostgreSQL."""

    name = "postgresql"
    signed_zero_in_json = False
    relations = (
        f"SELECT c.relname, CASE WHEN c.relispartition THEN '{PARTITION}' WHEN c.relkind IN ('r', 'p') THEN '' "
        "WHEN c.relkind = 'v' THEN 'a view' WHEN c.relkind = 'm' THEN 'a materialized view' ELSE 'a foreign table' END "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.relname"
    )
    # One snapshot for reads and DELETE: what others change meanwhile makes it fail, what they add it does not see.
    stable = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",)
    begin_snapshot = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)

    def language_from(self, source: Dialect) -> Literal["values", "copy", "binary"]:
        return "binary" if self.alike(source) else "copy"

    def takes_text(self, column: Column, charset: str | None) -> bool:
        return column.charset == charset or column.charset not in _MERGING

    def tells_keys(self, column: Column) -> bool:
        return column.charset not in _MERGING

    # names

    def fits(self, name: str) -> bool:
        return len(name.encode()) <= 63

    def quote(self, name: str) -> str:
        return '"' + name.replace('"', '""').replace("%", "%%") + '"'

    def text(self, value: str) -> str:
        return "'" + value.replace("'", "''").replace("%", "%%") + "'"

    def type_of(self, column: Column) -> str:
        """The type of a column as a cast names it."""
        return column.enum_type.replace("%", "%%") if column.enum_type else column.type

    def owned(self, table: Table) -> Table:
        """A table to be declared, whose enums are of types in its own schema."""
        schema = plain(self.quote(table.schema))
        return replace(
            table,
            columns=tuple(
                replace(c, enum_type=f"{schema}.{c.enum_type.rpartition('.')[2]}") if c.enum_type else c
                for c in table.columns
            ),
        )

    # keys

    def key_select(self, column: Column, reference: str) -> str:
        return postgresql_types.canonical(linkable_kind(column), reference)

    def _key_param(self, column: Column) -> str:
        return postgresql_types.parameter(linkable_kind(column), self.type_of(column))

    def beyond(self, columns: Sequence[tuple[Column, str]], key: Key, sign: str) -> Sql:
        left = ", ".join(reference for _, reference in columns)
        right = ", ".join(self._key_param(column) for column, _ in columns)
        return f"({left}) {sign} ({right})", tuple(map(_sent, key))

    def equals(self, columns: Sequence[tuple[Column, str]], key: Key) -> Sql:
        terms = (f"{reference} = {self._key_param(column)}" for column, reference in columns)
        return " AND ".join(terms), tuple(map(_sent, key))

    def divided(self, column: Column, reference: str, by: int) -> str | None:
        return f"{reference} / {by}" if column.type in _INTEGERS else None

    def key_list(self, columns: Sequence[Column], keys: Sequence[Key]) -> Sql:
        types = (postgresql_types.listed_type(linkable_kind(c), self.type_of(c)) for c in columns)
        arrays = ", ".join(f"%s::{listed_type}[]" for listed_type in types)
        names = ", ".join(self.alias(str(n)) for n in range(len(columns)))
        lists = zip(*keys, strict=True) if keys else [()] * len(columns)
        return f"unnest({arrays}) AS {self.alias('keys')}({names})", tuple(map(_array, columns, lists))

    def listed_value(self, column: Column, listed: str) -> str:
        return postgresql_types.parameter(linkable_kind(column), self.type_of(column), listed)

    def told_exactly(self, column: Column, reference: str) -> str:
        is_text = linkable_kind(column).name in ("text", "enum")
        return f'{self.key_select(column, reference)} COLLATE "C"' if is_text else self.key_select(column, reference)

    def written(self, value: Any) -> str:
        if not isinstance(value, str):
            parts = (str(part).replace("\\", "\\\\").replace('"', '\\"') for part in value)
            value = "{" + ",".join(f'"{part}"' for part in parts) + "}"
        escaped = value.replace("\\", "\\\\").replace("'", "''").replace("%", "\\x25")
        return f"E'{escaped}'"

    def key_checksum(self, columns: Sequence[tuple[Column, str]], alike: bool) -> str:
        if alike:
            # Sums of big integers are wider than these.
            return f"SUM({self.key_digest(columns)})"
        fields = ", ".join(postgresql_types.summed(linkable_kind(column), reference) for column, reference in columns)
        digest = f"encode(sha256(convert_to(concat_ws(',', {fields}), 'UTF8')), 'hex')"
        return f"SUM(('x' || left({digest}, 8))::bit(32)::bigint)"

    def bucket(self, columns: Sequence[tuple[Column, str]], number: int) -> str:
        return f"{self.key_digest(columns)} & {number - 1}"

    def key_digest(self, columns: Sequence[tuple[Column, str]]) -> str:
        if all(column.type in _INTEGERS for column, _ in columns):
            digest = "0"
            for _, reference in columns:
                digest = f"hashint8extended({reference}::bigint, {digest})"
            return digest
        fields = ", ".join(f"quote_literal({reference}::text)" for _, reference in columns)
        # Under another collation texts that it takes for equal would have one hash.
        return f"hashtextextended(concat_ws(',', {fields}) COLLATE \"C\", 0)"

    def seconds(self, time: str) -> str:
        return f"EXTRACT(EPOCH FROM {time})"

    # statements in which dialects differ

    def insert_new(self, table: str, columns: Sequence[str], select: str, key: str) -> str:
        names = ", ".join(self.quote(c) for c in columns)
        return f"INSERT INTO {table} ({names}) {select} ON CONFLICT DO NOTHING"

    def update_listed(self, table: str, assignments: str, key_list: str, on: str, where: str) -> str:
        return f"UPDATE {table} SET {assignments} FROM {key_list} WHERE {on} AND {self.unguessed(where)}"

    def delete_listed(self, table: str, key_list: str, on: str, where: str) -> str:
        return f"DELETE FROM {table} USING {key_list} WHERE {on} AND {self.unguessed(where)}"

    def unguessed(self, condition: str) -> str:
        # Taken to be true of every other row. A guess of one row would compare each with all keys of the list.
        return f"CASE WHEN {condition} THEN TRUE END"

    def stable_read(self, select: str) -> str:
        return select

    def locking_count(self, rows: str) -> str:
        # Others may refer to the rows all the same.
        return f"SELECT COUNT(*) FROM (SELECT 1 FROM {rows} FOR NO KEY UPDATE) AS {self.alias('locked')}"

    def staging_schema(self, schema: str) -> str:
        return "pg_temp"

    def update_joined(self, table: str, columns: Sequence[str], other: str, on: str, within: str | None = None) -> str:
        names = [self.quote(name) for name in columns]
        ours, theirs = (f"ROW({', '.join(f'{owner}.{name}' for name in names)})::record" for owner in (table, other))
        assignments = ", ".join(f"{name} = {other}.{name}" for name in names)
        # What equals need not be the same: -0.0, or text under some collations; and JSON does not compare.
        where = f"{on} AND {ours} *<> {theirs}" + (f" AND {within}" if within else "")
        return f"UPDATE {table} SET {assignments} FROM {other} WHERE {where}"

    def is_spelt(self, column: Column) -> bool:
        return linkable_kind(column).name in ("text", "float", "decimal")

    def spelt_alike(self, pairs: Sequence[tuple[Column, str, str]]) -> str:
        ours, theirs = ", ".join(a for _, a, _ in pairs), ", ".join(b for _, _, b in pairs)
        return f"ROW({ours})::record *= ROW({theirs})::record"

    def driving_join(self, first: str, second: str, on: str) -> str:
        return f"{first} JOIN {second} ON {on}"

    def row_size(self, table: Table) -> str:
        return "+".join(f"COALESCE(pg_column_size({self.field(table, column)}), 0)" for column in table.columns)

    def told_size(self, reference: str) -> str:
        size = f"{reference}::json -> 'size'"
        return f"CASE WHEN json_typeof({size}) = 'number' THEN ({size})::text::numeric END"

    def comparable(self, table: Table, alike: bool) -> str:
        references = [(column, self.field(table, column)) for column in table.columns]
        if not alike:
            return ", ".join(_common(linkable_kind(c), reference) for c, reference in references)
        return f"encode({self._digest(table)}, 'hex')"

    def _digest(self, table: Table) -> str:
        # As rows travel: each value in its type's binary form, with its length. It is the same in sessions of whatever
        # settings, and quicker than a text of them all.
        fields = ", ".join(self._digested(column, self.field(table, column)) for column in table.columns)
        return f"sha256(record_send(ROW({fields})))"

    def _digested(self, column: Column, reference: str) -> str:
        kind = linkable_kind(column).name
        if kind == "float":
            return f"CASE WHEN {reference} = 'NaN' THEN 'NaN' ELSE {reference} END"  # there are several, all alike
        if kind not in ("text", "enum", "json"):
            return reference
        # Not in the session's encoding, which need not be able to hold it; and an enum's type has another number there.
        encoding = "getdatabaseencoding()" if column.as_stored else "'UTF8'"
        return f"convert_to({reference}::text, {encoding})"

    def _summand(self, table: Table) -> str:
        # 64 bits of each digest. A sum of big integers is wider than these.
        return f"('x' || encode(substring({self._digest(table)} for 8), 'hex'))::bit(64)::bigint"

    def sum_of_digests(self, table: Table) -> str:
        return f"SUM({self._summand(table)})"

    def sums_by_group(self, table: Table, groups: Sequence[tuple[Column | None, str]], source: str) -> str:
        # Of what comes out of a UNION the planner assumes that it falls into few groups. Of an expression on the key
        # it would take nearly every row for one, and sort them all, on disk, in the end.
        names = [self.alias(str(n)) for n in range(len(groups))]
        made = ", ".join(f"{by} AS {name}" for (_, by), name in zip(groups, names, strict=True))
        digests = f"SELECT {made}, {self._summand(table)} AS digest {source}"
        none = f"SELECT {', '.join(['NULL'] * len(names))}, 0::bigint WHERE FALSE"
        told = (self.key_select(c, name) if c else name for (c, _), name in zip(groups, names, strict=True))
        return (
            f"SELECT {', '.join(told)}, COUNT(*), SUM(digest) "
            f"FROM ({digests} UNION ALL {none}) AS {self.alias('digests')} GROUP BY {', '.join(names)}"
        )

    # rendering

    def render(self, table: Table, form: Form) -> str:
        """What is selected of each row: for a destination that is alike its columns, else a text.

        ``(1,'text',x'ff',NULL)``.
        """
        if form.language == "binary":
            return ", ".join(self._sent(column, self.field(table, column)) for column in table.columns)
        fields = (self._render_column(column, self.field(table, column), form) for column in table.columns)
        return "'(' || " + " || ',' || ".join(fields) + " || ')'"

    def is_as(self, what: str, reference: str) -> str:
        return postgresql_types.is_as(what, reference)

    def _render_column(self, column: Column, reference: str, form: Form) -> str:
        value = postgresql_types.in_values(linkable_kind(column), reference)
        if linkable_kind(column).name == "json" and not form.exact_json:
            refusal = self.text(mysql_types.rounded_json(column.name))
            value = f"CASE WHEN {postgresql_types.is_rounded(reference)} THEN {refusal} ELSE {value} END"
        if column.content:
            refusal = self.text(mysql_types.refusal(column.content.refusal))
            value = f"CASE WHEN {postgresql_types.is_attachment(reference)} THEN {value} ELSE {refusal} END"
        return f"coalesce({value}, 'NULL')" if column.nullable else value

    def _sent(self, column: Column, reference: str) -> str:
        """A column in the binary form of the type that it is for; how long its values may be the other server says."""
        bare = re.sub(r"\([-\d,]+\)", "", column.sent_as or column.type)
        sent = reference if bare == re.sub(r"\([-\d,]+\)", "", column.type) else f"{reference}::{bare}"
        if not column.content:
            return sent
        # An error of this server's: it shall not be computed before there is such a row, hence the bytes at its end.
        why = f"{self.text(column.content.refusal + ' ')} || encode(substring({reference} from 1 for 0), 'hex')"
        refusal = f"convert_to(({why})::int::text, 'UTF8')"
        return f"CASE WHEN {postgresql_types.is_attachment(reference)} THEN {sent} ELSE {refusal} END"


def _common(kind: Kind, reference: str) -> str:
    """A value in a form common to all servers; of a long one a digest."""
    value = postgresql_types.canonical(kind, reference)
    if not may_be_long(kind):
        return value
    code = reference if kind.name == "bytes" else f"convert_to({reference}::text, 'UTF8')"
    digest = f"'{DIGEST}' || encode(sha256({code}), 'hex')"
    return f"CASE WHEN octet_length({code}) > {LONG_VALUE} THEN {digest} ELSE {value} END"


def _array(column: Column, values: Sequence[Any]) -> str | list[Any]:
    """An array for the driver; of integers as text, for it takes them one by one."""
    return "{" + ",".join(map(str, values)) + "}" if column.type in _INTEGERS else list(map(_sent, values))


def _sent(value: Any) -> Any:
    """A value of a key for the driver, which would send an infinite decimal as NaN."""
    return str(value) if isinstance(value, Decimal) else value
