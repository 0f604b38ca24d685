"""How statements are written for MySQL 8 and later, and for MariaDB 10.6 and later. Pure text: nothing here connects.

The source renders each row as a VALUES tuple in one binary string, and the client joins tuples to INSERT statements
without looking at them: no value is decoded on the way. Floats pass through DOUBLE (the text protocol prints FLOAT
with six digits), text as UTF-8, bytes as hexadecimal or, in tables of long rows, raw beside the tuple; both sessions
run in UTC.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, Literal

from ..model.kinds import Kind
from ..model.ranges import Key, Sql
from ..model.schema import Column, Table
from . import mysql_types
from .dialect import Dialect, linkable_kind
from .languages import is_text
from .session import Form
from .settings import NO_LIMIT

#: Texts of up to more characters than this are long as well.
_LONG_TEXT = 1000


class MySQL(Dialect):
    """MySQL, and what MariaDB has in common with it."""

    name = "mysql"
    # MariaDB's versioned tables have a type of their own. A sequence holds no rows of anybody's.
    relations = (
        "SELECT TABLE_NAME, CASE WHEN TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') THEN '' "
        "ELSE CONCAT('a ', LOWER(TABLE_TYPE)) END FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = %s AND TABLE_TYPE <> 'SEQUENCE' ORDER BY TABLE_NAME"
    )
    loads_whole = True
    claimers = 1
    by_index = "/*+ NO_SEMIJOIN(MATERIALIZATION) */ "
    exact_json = False
    # At READ COMMITTED, which sessions have for their claims, WITH CONSISTENT SNAPSHOT would be ignored in silence.
    begin_snapshot = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    )

    #: How a read begins whose rows are taken when there is room for them: with no limit to its time. The server sends,
    #: and so notices when its client is gone.
    unhurried_select: ClassVar[str] = "SELECT /*+ MAX_EXECUTION_TIME(2147483000) */"
    #: One under which no two different texts are equal.
    exact_collation: ClassVar[str] = "utf8mb4_0900_bin"
    #: JSON is a LONGTEXT with a check, and nothing but the check tells it from one.
    json_as_text: ClassVar[bool] = False

    def language_from(self, source: Dialect) -> Literal["values", "copy", "binary"]:
        return "values"

    # names

    def fits(self, name: str) -> bool:
        return len(name) <= 64

    def quote(self, name: str) -> str:
        return "`" + name.replace("`", "``").replace("%", "%%") + "`"

    def text(self, value: str) -> str:
        return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("%", "%%") + "'"

    # keys

    def key_select(self, column: Column, reference: str) -> str:
        return mysql_types.canonical(linkable_kind(column), reference)

    def key_param(self, column: Column) -> str:
        return mysql_types.parameter(linkable_kind(column))

    def key_order(self, column: Column, reference: str) -> str:
        # An enum sorts by its index but compares with text by its label.
        return f"({reference}+0)" if linkable_kind(column).name == "enum" else reference

    def beyond(self, columns: Sequence[tuple[Column, str]], key: Key, sign: str) -> Sql:
        # Only this spelt-out form makes MySQL read a range of the index; a row comparison reads all of it.
        strict = sign[0]
        terms: list[str] = []
        args: list[Any] = []
        for n in range(len(columns)):
            last = n == len(columns) - 1
            signs = ["="] * n + [sign if last else strict]
            terms.append(" AND ".join(self._compare(c, ref, s) for (c, ref), s in zip(columns, signs, strict=False)))
            args += key[: n + 1]
        return "(" + " OR ".join(f"({term})" for term in terms) + ")", tuple(args)

    def _compare(self, column: Column, reference: str, sign: str) -> str:
        kind = linkable_kind(column)
        if kind.name == "enum" and sign != "=":
            index = " ".join(f"WHEN {self.text(label)} THEN {n}" for n, label in enumerate(kind.labels, 1))
            return f"({reference}+0) {sign} (CASE %s {index} END)"
        return f"{reference} {sign} {self.key_param(column)}"

    def key_list(self, columns: Sequence[Column], keys: Sequence[Key]) -> Sql:
        fields = ", ".join(
            f"{self.alias(str(n))} {self._json_type(c)} PATH '$[{n}]' ERROR ON ERROR" for n, c in enumerate(columns)
        )
        item = f"JSON_TABLE(%s, '$[*]' COLUMNS ({fields})) AS {self.alias('keys')}"
        return item, (json.dumps(keys, default=_json_value),)

    def _json_type(self, column: Column) -> str:
        kind = linkable_kind(column)
        if kind.name == "float":
            return "DOUBLE"
        if kind.name in ("bytes", "uuid"):
            return "VARCHAR(6144) CHARACTER SET ascii"
        if kind.name == "json":
            return "LONGTEXT CHARACTER SET utf8mb4"
        if kind.name in ("text", "enum"):
            return f"VARCHAR({kind.size or 255}) CHARACTER SET {column.charset} COLLATE {column.collation}"
        # Compared as a year, MariaDB would take 0 for 2000.
        return "SMALLINT" if column.type == "year" else column.type

    def listed_value(self, column: Column, listed: str) -> str:
        return mysql_types.parameter(linkable_kind(column)).replace("%s", listed)

    def key_checksum(self, columns: Sequence[tuple[Column, str]], alike: bool) -> str:
        if alike:
            fields = ", ".join(mysql_types.in_values(linkable_kind(column), reference) for column, reference in columns)
            return f"SUM(CRC32(CONCAT_WS(',', {fields})))"
        fields = ", ".join(mysql_types.summed(linkable_kind(column), reference) for column, reference in columns)
        return f"SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',', {fields}), 256), 8), 16, 10) AS UNSIGNED))"

    # statements in which dialects differ

    def insert_new(self, table: str, columns: Sequence[str], select: str, key: str) -> str:
        names = ", ".join(self.quote(c) for c in columns)
        column = f"{table}.{self.quote(key)}"
        return f"INSERT INTO {table} ({names}) {select} ON DUPLICATE KEY UPDATE {column} = {column}"

    def update_listed(self, table: str, assignments: str, key_list: str, on: str, where: str) -> str:
        return f"UPDATE {key_list} STRAIGHT_JOIN {table} ON {on} SET {assignments} WHERE {where}"

    def delete_listed(self, table: str, key_list: str, on: str, where: str) -> str:
        return f"DELETE {table} FROM {key_list} STRAIGHT_JOIN {table} ON {on} WHERE {where}"

    def stable_read(self, select: str) -> tuple[str, ...]:
        # Locks the gaps as well: nobody adds rows meanwhile. It runs in a session of the user's: a limit that is said
        # goes before the session's own.
        return (f"{select} LIMIT {NO_LIMIT} FOR UPDATE",)

    def driving_join(self, first: str, second: str, on: str) -> str:
        return f"{first} STRAIGHT_JOIN {second} ON {on}"

    def comparable(self, table: Table, alike: bool) -> str:
        references = [(column, self.field(table, column.name)) for column in table.columns]
        if not alike:
            return ", ".join(mysql_types.canonical(linkable_kind(c), reference) for c, reference in references)
        fields = ", ".join(self._render_column(c, reference, Form("values")) for c, reference in references)
        return f"SHA2(CONCAT_WS(',', {fields}), 256)"

    def sum_of_digests(self, table: Table) -> str:
        # Sixty bits of each digest: sums of them fit into a decimal.
        return f"SUM(CAST(CONV(LEFT({self.comparable(table, True)}, 15), 16, 10) AS UNSIGNED))"

    # rendering

    def raw_columns(self, table: Table, form: Form, long_rows: bool) -> tuple[Column, ...]:
        """The columns to send raw: the long ones of a table whose rows are long."""
        return tuple(c for c in table.columns if _is_long(c) and (long_rows or self._always_raw(c, form)))

    def _always_raw(self, column: Column, form: Form) -> bool:
        return False

    def render(self, table: Table, form: Form, raw: Sequence[Column] = ()) -> str:
        """What is selected of each row: a binary string, with a NUL for each raw column that is not NULL, and these."""
        rendered = self._render_row(table, form, raw)
        return ", ".join([rendered, *(_raw(column, self.field(table, column.name)) for column in raw)])

    def _render_row(self, table: Table, form: Form, raw: Sequence[Column]) -> str:
        null = "'NULL'" if form.language == "values" else r"'\\N'"
        fields = (
            (f"IF({self.field(table, c.name)} IS NULL, {null}, 0x00)" if c.nullable else "0x00")
            if c in raw
            else self._render_column(c, self.field(table, c.name), form)
            for c in table.columns
        )
        before, between, after = ("'('", "','", "')'") if form.language == "values" else ("''", "CHAR(9)", "''")
        joined = f", {between}, ".join(fields)
        return f"CONVERT(CONCAT({before}, {joined}, {after}) USING binary)"

    def _render_column(self, column: Column, reference: str, form: Form) -> str:
        if form.language == "values":
            rendered, null = mysql_types.in_values(linkable_kind(column), reference), "'NULL'"
            if linkable_kind(column).name == "json" and not (self.exact_json or form.exact_json):
                refusal = self.text(mysql_types.rounded_json(column.name))
                rendered = f"IF({mysql_types.is_rounded(reference)}, {refusal}, {rendered})"
        else:
            rendered, null = mysql_types.in_copy(linkable_kind(column), reference), r"'\\N'"
        # Not IFNULL: a value too long to render is NULL as well, and must not pass for one that is.
        return f"IF({reference} IS NULL, {null}, {rendered})" if column.nullable else rendered

    # what the catalogue shows

    def kind_of(self, sql_type: str, comment: str) -> Kind | None:
        """The kind of a column; None for a type that cannot be linked."""
        return mysql_types.kind_of(sql_type, comment, mariadb=self.json_as_text)

    def shown_default(self, default: str, extra: str) -> str:
        """A default as SQL, of what the catalogue shows: here literals bare, and expressions escaped."""
        if "DEFAULT_GENERATED" not in extra:
            return mysql_types.literal(default)
        if re.fullmatch(r"CURRENT_TIMESTAMP(\(\d*\))?", default, re.IGNORECASE):
            return default
        return "(" + re.sub(r"\\(.)", r"\1", default, flags=re.DOTALL) + ")"

    def adopted_default(self, column: Column, default: str) -> str:
        """A default of the other flavour as SQL of this one."""
        if re.match("current_timestamp", default, re.IGNORECASE):
            decimals = column.kind.size if column.kind else 0
            return f"CURRENT_TIMESTAMP({decimals})" if decimals else "CURRENT_TIMESTAMP"
        # Of long columns MySQL takes expressions only, and those in parentheses.
        bare = _is_constant(default) and not mysql_types.is_long(column.type)
        return default if bare or default.startswith("(") else f"({default})"


class MariaDB(MySQL):
    """MariaDB, where it differs."""

    name = "mariadb"
    unhurried_select = "SET STATEMENT max_statement_time = 0 FOR SELECT"
    exact_json = True
    exact_collation = "utf8mb4_nopad_bin"
    json_as_text = True

    def _always_raw(self, column: Column, form: Form) -> bool:
        # It takes quadratic time to escape a text.
        slow = form.language == "copy" and is_text(column)
        # MySQL must not round what is kept as text here.
        return slow or (not form.exact_json and linkable_kind(column).name == "json")

    def shown_default(self, default: str, extra: str) -> str:
        return default

    def adopted_default(self, column: Column, default: str) -> str:
        # It cannot read its own text again when a literal has both a character set before it and escapes in it.
        return re.sub(r"('(?:[^'\\]|\\.)*')|\b_\w+(?=')", lambda m: m[1] or "", default, flags=re.DOTALL)


def _is_long(column: Column) -> bool:
    characters = re.fullmatch(r"varchar\((\d+)\)", column.type)
    return mysql_types.is_long(column.type) or bool(characters and int(characters[1]) > _LONG_TEXT)


def _raw(column: Column, reference: str) -> str:
    """A raw column as it travels: text in UTF-8, whatever its character set is."""
    text = f"CONVERT({reference} USING utf8mb4)" if column.charset not in (None, "utf8mb4") else reference
    return f"CAST({text} AS BINARY)"


def _is_constant(default: str) -> bool:
    return bool(re.fullmatch(r"'(?:[^']|'')*'|-?[\d.]+|NULL|current_timestamp(\(\d*\))?", default, re.IGNORECASE))


def _json_value(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a key")
