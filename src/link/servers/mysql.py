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
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar, Literal

from ..model.keys import is_day, marked
from ..model.kinds import Kind
from ..model.ranges import Key, Sql
from ..model.schema import Column, Table
from . import mysql_texts, mysql_types
from .dialect import DIGEST, LONG_VALUE, Dialect, linkable_kind, may_be_long
from .languages import REFUSED, is_text, travels_as_bytes
from .session import Form
from .settings import NO_LIMIT

#: Texts of up to more characters than this are long as well.
_LONG_TEXT = 1000
#: In a list of keys.
_ANY_TEXT = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


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
    most_sets = 300  # MySQL gives up at some thousand; MariaDB even makes each anew
    by_index = "/*+ NO_SEMIJOIN(MATERIALIZATION) */ "
    exact_json = False
    never = "FROM_UNIXTIME(1)"  # the first that a TIMESTAMP can be; from NULL to a time a row grows, and pages split
    zoned = ("timestamp",)
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
    #: Whether the catalogue tells of a table's size what was so a day ago.
    keeps_statistics: ClassVar[bool] = True
    #: Whether text may have halves of characters, which are no UTF-8.
    halves: ClassVar[bool] = False

    def language_from(self, source: Dialect) -> Literal["values", "copy", "binary"]:
        return "values"

    def takes_text(self, column: Column, charset: str | None) -> bool:
        return mysql_texts.takes_text(column, charset)

    # names

    def fits(self, name: str) -> bool:
        return len(name) <= 64

    def quote(self, name: str) -> str:
        return "`" + name.replace("`", "``").replace("%", "%%") + "`"

    def text(self, value: str) -> str:
        return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("%", "%%") + "'"

    def field(self, table: Table, column: Column) -> str:
        """A column with the name of its table, or what that of a table of DataJoint 0.x stands for.

        Where the hash stands for nothing it is told alone: such a value is not NULL.
        """
        own = super().field(table, column)
        if column.tracked is None:
            return own
        row = self.alias("tracked")
        names = ("size", "attachment_name", "filepath", "contents_hash", "timestamp")
        size, attachment_name, filepath, contents_hash, timestamp = (f"{row}.{self.quote(name)}" for name in names)
        told = (
            f"'hash', HEX({own}), 'size', {size}, 'attachment_name', {attachment_name}, 'filepath', {filepath}, "
            f"'contents_hash', HEX({contents_hash}), 'timestamp', CAST({timestamp} AS CHAR)"
        )
        rows = f"{self.full_name(column.tracked.schema, column.tracked.table)} AS {row}"
        found = f"(SELECT JSON_OBJECT({told}) FROM {rows} WHERE {row}.{self.quote('hash')} = {own})"
        return f"CASE WHEN {own} IS NOT NULL THEN COALESCE({found}, JSON_OBJECT('hash', HEX({own}))) END"

    # keys

    def key_select(self, column: Column, reference: str) -> str:
        if _by_index(column):
            # The labels as the catalogue tells them, by which the others are found; 0 is a value that is none of them.
            return f"ELT({reference}+1, '', {', '.join(map(self.text, linkable_kind(column).labels))})"
        return self._canonical(column, reference)

    def _canonical(self, column: Column, reference: str) -> str:
        if _has_characters(column):
            return mysql_texts.written(column, reference, self.halves)
        return mysql_types.canonical(linkable_kind(column), reference)

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
            compared = [self._compare(*each) for each in zip(columns, signs, key, strict=False)]
            terms.append(" AND ".join(sql for sql, _ in compared))
            args += (arg for _, some in compared for arg in some)
        return "(" + " OR ".join(f"({term})" for term in terms) + ")", tuple(args)

    def equals(self, columns: Sequence[tuple[Column, str]], key: Key) -> Sql:
        compared = [self._compare(referred, "=", value) for referred, value in zip(columns, key, strict=True)]
        return " AND ".join(sql for sql, _ in compared), tuple(arg for _, args in compared for arg in args)

    def divided(self, column: Column, reference: str, by: int) -> str | None:
        # Compared with a number, a year is taken for another one.
        plain = linkable_kind(column).name == "integer" and not column.type.startswith("year")
        return f"{reference} DIV {by}" if plain else None

    def _compare(self, referred: tuple[Column, str], sign: str, value: Any) -> Sql:
        column, reference = referred
        kind = linkable_kind(column)
        if kind.name == "enum" and (sign != "=" or _by_index(column)):
            return f"({reference}+0) {sign} ({self._index(column, '%s')})", (value,)
        code = marked(value) if kind.name == "text" else None
        if code is not None:
            return f"{reference} {sign} {mysql_texts.literal(column, code)}", ()
        return f"{reference} {sign} {mysql_types.parameter(kind)}", (value,)

    def _index(self, column: Column, label: str) -> str:
        """The index of an enum's label; labels may differ in case alone."""
        labels = enumerate(linkable_kind(column).labels, 1)
        index = " ".join(f"WHEN {self.text(known)} THEN {n}" for n, known in labels)
        if "" not in linkable_kind(column).labels:
            index += " WHEN '' THEN 0"  # of a value that is none of the labels
        return f"CASE {label} COLLATE {self.exact_collation} {index} END"

    def key_list(self, columns: Sequence[Column], keys: Sequence[Key]) -> Sql:
        some_marked = [_any_marked(column, keys, n) for n, column in enumerate(columns)]
        types = (_ANY_TEXT if some else self._json_type(c) for c, some in zip(columns, some_marked, strict=True))
        fields = ", ".join(f"{self.alias(str(n))} {kind} PATH '$[{n}]' ERROR ON ERROR" for n, kind in enumerate(types))
        item = f"JSON_TABLE(%s, '$[*]' COLUMNS ({fields})) AS {self.alias('keys')}"
        if any(some_marked):
            taken = (
                f"{mysql_texts.unmarked(c, self.listed(n)) if some_marked[n] else self.listed(n)} "
                f"AS {self.alias(str(n))}"
                for n, c in enumerate(columns)
            )
            item = f"(SELECT {', '.join(taken)} FROM {item}) AS {self.alias('keys')}"
        return item, (json.dumps(keys, default=_json_value),)

    def _json_type(self, column: Column) -> str:
        kind = linkable_kind(column)
        if kind.name == "float":
            return "DOUBLE"
        if kind.name in ("bytes", "uuid"):
            return "VARCHAR(6144) CHARACTER SET ascii"
        if kind.name == "json":
            return "LONGTEXT CHARACTER SET utf8mb4"
        if _by_index(column):
            return "VARCHAR(255) CHARACTER SET utf8mb4"
        if kind.name in ("text", "enum"):
            return f"VARCHAR({kind.size or 255}) CHARACTER SET {column.charset} COLLATE {column.collation}"
        # Compared as a year, MariaDB would take 0 for 2000.
        return "SMALLINT" if column.type == "year" else column.type

    def listed_value(self, column: Column, listed: str) -> str:
        return mysql_types.parameter(linkable_kind(column)).replace("%s", listed)

    def key_match(self, column: Column, reference: str, listed: str) -> str:
        if _by_index(column):
            return f"({reference}+0) = ({self._index(column, listed)})"
        return super().key_match(column, reference, listed)

    def told_exactly(self, column: Column, reference: str) -> str:
        if _has_characters(column):
            return f"CAST(CONVERT({self.key_select(column, reference)} USING utf8mb4) AS BINARY)"
        if linkable_kind(column).name == "timestamp":
            # An instant, whatever the session's time zone shows of it.
            instant = f"TIMESTAMPADD(MICROSECOND, {_microseconds(reference)}, '1970-01-01 00:00:00.000000')"
            told = mysql_types.canonical(linkable_kind(column), instant)
            return f"IF(UNIX_TIMESTAMP({reference}) = 0, '{mysql_types.NEVER}', {told})"
        return self.key_select(column, reference)

    def travelling(self, column: Column) -> Column:
        is_instant = linkable_kind(column).name == "timestamp"
        return replace(column, type="datetime(6)") if is_instant else column

    def travels(self, column: Column, value: Any) -> bool:
        # A strict session takes no day that is not in the calendar, and MariaDB says nothing of it.
        return linkable_kind(column).name not in ("date", "datetime", "timestamp") or is_day(value[:10])

    def written(self, value: Any) -> str:
        plain = not re.search(r"[^ -~]|['\\%]", value)
        return f"'{value}'" if plain else f"CONVERT(x'{value.encode().hex()}' USING utf8mb4)"

    def travelled_value(self, column: Column, listed: str) -> str:
        # Of what may be NULL MySQL looks up nothing where it is asked for what is not in a list.
        return f"IFNULL({self.listed_value(column, listed)}, {mysql_types.some(linkable_kind(column))})"

    def looked_up(self, values: Sequence[str], item: str) -> str:
        # Of a list they believe that it is short, and go through it for each row; not of a derived table.
        names = [self.alias(str(n)) for n in range(len(values))]
        made = ", ".join(f"{value} AS {name}" for value, name in zip(values, names, strict=True))
        return f"SELECT {', '.join(names)} FROM (SELECT DISTINCT {made} FROM {item}) AS {self.alias('made')}"

    def told_apart(self, column: Column, reference: str, listed: str) -> str | None:
        if linkable_kind(column).name == "timestamp":
            told = f"COALESCE(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {listed}), 0)"
            return f"{_microseconds(reference)} = {told}"
        return self.key_match(column, reference, listed) if _by_index(column) else None

    def key_checksum(self, columns: Sequence[tuple[Column, str]], alike: bool) -> str:
        if alike:
            return f"SUM({self.key_digest(columns)})"
        fields = ", ".join(self._summed(column, reference) for column, reference in columns)
        return f"SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',', {fields}), 256), 8), 16, 10) AS UNSIGNED))"

    def bucket(self, columns: Sequence[tuple[Column, str]], number: int) -> str:
        if not all(linkable_kind(column).name == "integer" for column, _ in columns):
            return f"{self.key_digest(columns)} & {number - 1}"
        # Much cheaper. What is kept of each number keeps the sum from being too large.
        digest, *others = (f"({reference} & 65535)" for _, reference in columns)
        for other in others:
            digest = f"(({digest} * 31 + {other}) & 65535)"
        return f"{digest} & {number - 1}"

    def key_digest(self, columns: Sequence[tuple[Column, str]]) -> str:
        fields = ", ".join(self._digested(column, reference) for column, reference in columns)
        # Twice: a checksum is linear, so that sums of them are the same for whole families of keys.
        return f"CRC32(CRC32(CONCAT_WS(',', {fields})))"

    def seconds(self, time: str) -> str:
        return f"NULLIF(UNIX_TIMESTAMP({time}), 1)"

    # statements in which dialects differ

    def insert_new(self, table: str, columns: Sequence[str], select: str, key: str) -> str:
        names = ", ".join(self.quote(c) for c in columns)
        column = f"{table}.{self.quote(key)}"
        return f"INSERT INTO {table} ({names}) {select} ON DUPLICATE KEY UPDATE {column} = {column}"

    def update_listed(self, table: str, assignments: str, key_list: str, on: str, where: str) -> str:
        return f"UPDATE {key_list} STRAIGHT_JOIN {table} ON {on} SET {assignments} WHERE {where}"

    def delete_listed(self, table: str, key_list: str, on: str, where: str) -> str:
        return f"DELETE {table} FROM {key_list} STRAIGHT_JOIN {table} ON {on} WHERE {where}"

    def stable_read(self, select: str) -> str:
        # Locks the gaps as well: nobody adds rows meanwhile. It runs in a session of the user's: a limit that is said
        # goes before the session's own.
        return f"{select} LIMIT {NO_LIMIT} FOR UPDATE"

    def locking_count(self, rows: str) -> str:
        return f"SELECT COUNT(*) FROM {rows} FOR UPDATE"

    def staging_schema(self, schema: str) -> str:
        return schema

    def update_joined(self, table: str, columns: Sequence[str], other: str, on: str, within: str | None = None) -> str:
        # The server itself compares, byte by byte, and leaves alone what has these values.
        pairs = ((f"{table}.{self.quote(name)}", f"{other}.{self.quote(name)}") for name in columns)
        assigned = ", ".join(f"{a} = {b}" for a, b in pairs)
        if within is None:
            return f"UPDATE {other} STRAIGHT_JOIN {table} ON {on} SET {assigned}"
        # Rows of the first table are changed as they are read, others are noted down and found again.
        return f"UPDATE {table} STRAIGHT_JOIN {other} ON {on} SET {assigned} WHERE {within}"

    def is_spelt(self, column: Column) -> bool:
        return linkable_kind(column).name in ("text", "enum", "float")

    def spelt_alike(self, pairs: Sequence[tuple[Column, str, str]]) -> str:
        spelt = [(a, b) for column, a, b in pairs if self.is_spelt(column)]
        return " AND ".join(f"CAST({a} AS BINARY) = CAST({b} AS BINARY)" for a, b in spelt) or "1 = 1"

    def driving_join(self, first: str, second: str, on: str) -> str:
        return f"{first} STRAIGHT_JOIN {second} ON {on}"

    def row_size(self, table: Table) -> str:
        fields = (f"{self.name_of(table)}.{self.quote(name)}" for name in table.names)
        return "+".join(f"COALESCE(LENGTH({field}), 0)" for field in fields)

    def told_size(self, reference: str) -> str:
        return f"JSON_EXTRACT({reference}, '$.size')"

    def comparable(self, table: Table, alike: bool) -> str:
        references = [(column, self.field(table, column)) for column in table.columns]
        if not alike:
            return ", ".join(self._common(column, reference) for column, reference in references)
        fields = ", ".join(
            f"IF({reference} IS NULL, 'NULL', {self._digested(column, reference)})"
            if column.nullable
            else self._digested(column, reference)
            for column, reference in references
        )
        return f"SHA2(CONCAT_WS(',', {fields}), 256)"

    def _digested(self, column: Column, reference: str) -> str:
        """A text that is the same exactly when what is stored is; never one too long to be made."""
        kind = linkable_kind(column)
        if kind.name == "json":
            return f"SHA2(CONVERT({reference} USING utf8mb4), 256)"
        if _has_characters(column):
            text, short = self._digested_text(column, reference)
        else:
            text, short = reference, mysql_types.in_digest(kind, reference)
        if not may_be_long(kind):
            return short
        return f"IF(LENGTH({text}) > {LONG_VALUE}, CONCAT('=', SHA2({text}, 256)), {short})"

    def _digested_text(self, column: Column, reference: str) -> tuple[str, str]:
        """A text of which a digest is made, and what stands for it where it is short."""
        if column.as_stored and not mysql_texts.is_exact(column):
            return reference, mysql_texts.stored(column, reference)
        exact = mysql_texts.is_exact(column)
        text = f"CONVERT({reference} USING utf8mb4)" if exact else self._canonical(column, reference)
        return text, f"QUOTE({text})"

    def _common(self, column: Column, reference: str) -> str:
        """A value in a form common to all servers; of a long one a digest."""
        value = self._canonical(column, reference)
        kind = linkable_kind(column)
        if not may_be_long(kind):
            return value
        bare = value if kind.name == "text" else reference
        digest = f"CONCAT({self.text(DIGEST)}, SHA2({bare}, 256))"
        return f"IF(LENGTH({bare}) > {LONG_VALUE}, {digest}, {value})"

    def _summed(self, column: Column, reference: str) -> str:
        if not _has_characters(column):
            return mysql_types.summed(linkable_kind(column), reference)
        text = self._canonical(column, reference)
        return f"CHAR_LENGTH({text}), {text}"

    def sum_of_digests(self, table: Table) -> str:
        # Sixty bits of each digest: sums of them fit into a decimal.
        return f"SUM(CAST(CONV(LEFT({self.comparable(table, True)}, 15), 16, 10) AS UNSIGNED))"

    # rendering

    def raw_columns(self, table: Table, form: Form, long_rows: bool) -> tuple[Column, ...]:
        """The columns to send raw: the long ones of a table whose rows are long."""
        long = (c for c in table.columns if _is_long(c) and not c.tracked and not _is_looked_at(c))
        return tuple(c for c in long if long_rows or self._always_raw(c, form))

    def _always_raw(self, column: Column, form: Form) -> bool:
        return False

    def _may_be_rounded(self, column: Column, form: Form) -> bool:
        """Whether what a destination that keeps fewer digits would round is refused; made here, JSON has no such."""
        return linkable_kind(column).name == "json" and not form.exact_json and column.tracked is None

    def render(self, table: Table, form: Form, raw: Sequence[Column] = ()) -> str:
        """What is selected of each row: a binary string, with a NUL for each raw column that is not NULL, and these."""
        rendered = self._render_row(table, form, raw)
        return ", ".join([rendered, *(_raw(column, self.field(table, column)) for column in raw)])

    def is_as(self, what: str, reference: str) -> str:
        return mysql_types.is_as(what, reference)

    def _looked_at(self, column: Column, reference: str, rendered: str, form: Form) -> str:
        """What is rendered of a column, or what the destination refuses in place of bytes that it must not have."""
        if not column.content:
            return rendered
        refusal = self._refusal(column.content.refusal, form)
        if form.language == "copy":
            # What is no text would become text beside a text of the row, or NULL on MariaDB.
            rendered = f"CAST({rendered} AS BINARY)"
        return f"IF({mysql_types.is_as(column.content.what, reference)}, {rendered}, {refusal})"

    def _refusal(self, why: str, form: Form) -> str:
        """What stands for a value that the destination shall refuse, with this text."""
        if form.language == "values":
            return self.text(mysql_types.refusal(why))
        return f"CONCAT(x'{REFUSED.hex()}', {self.text(why)})"

    def _render_row(self, table: Table, form: Form, raw: Sequence[Column]) -> str:
        null = "'NULL'" if form.language == "values" else r"'\\N'"
        fields = []
        for column in table.columns:
            reference = self.field(table, column)
            rendered = "0x00" if column in raw else self._render_column(column, reference, form)
            rendered = self._looked_at(column, reference, rendered, form)
            # Not IFNULL: a value too long to render is NULL as well, and must not pass for one that is.
            is_null = f"{super().field(table, column)} IS NULL"
            fields.append(f"IF({is_null}, {null}, {rendered})" if column.nullable else rendered)
        before, between, after = ("'('", "','", "')'") if form.language == "values" else ("''", "CHAR(9)", "''")
        joined = f", {between}, ".join(fields)
        return f"CONVERT(CONCAT({before}, {joined}, {after}) USING binary)"

    def _render_column(self, column: Column, reference: str, form: Form) -> str:
        if form.language == "values":
            rendered = mysql_types.in_values(linkable_kind(column), reference)
            if not mysql_texts.is_exact(column):
                if column.as_stored:
                    rendered = mysql_texts.stored(column, reference)
                else:
                    refusal = self._refusal(mysql_texts.reason(column), form)
                    rendered = f"IF({mysql_texts.lost(column, reference, self.halves)}, {refusal}, {rendered})"
            if self._may_be_rounded(column, form) and not self.exact_json:
                refusal = self.text(mysql_types.rounded_json(column.name))
                rendered = f"IF({mysql_types.is_rounded(reference)}, {refusal}, {rendered})"
        else:
            rendered = mysql_types.in_copy(linkable_kind(column), reference)
            if not mysql_texts.is_exact(column):
                refusal = self._refusal(mysql_texts.reason(column), form)
                condition = mysql_texts.lost(column, reference, self.halves)
                rendered = f"IF({condition}, {refusal}, CAST({rendered} AS BINARY))"
        return rendered

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
    keeps_statistics = False
    unseen = (*MySQL.unseen, "json")
    halves = True
    signed_zero = False

    def _always_raw(self, column: Column, form: Form) -> bool:
        # It takes quadratic time to escape a text.
        slow = form.language == "copy" and is_text(column)
        # MySQL must not round what is kept as text here.
        return slow or self._may_be_rounded(column, form)

    def shown_default(self, default: str, extra: str) -> str:
        return default

    def adopted_default(self, column: Column, default: str) -> str:
        # It cannot read its own text again when a literal has both a character set before it and escapes in it.
        return re.sub(r"('(?:[^'\\]|\\.)*')|\b_\w+(?=')", lambda m: m[1] or "", default, flags=re.DOTALL)


def _is_long(column: Column) -> bool:
    characters = re.fullmatch(r"varchar\((\d+)\)", column.type)
    return mysql_types.is_long(column.type) or bool(characters and int(characters[1]) > _LONG_TEXT)


def _raw(column: Column, reference: str) -> str:
    """A raw column as it travels: text in UTF-8, whatever its character set is, or the bytes that are stored."""
    converted = column.charset not in (None, "utf8mb4") and not travels_as_bytes(column)
    code = f"CAST({f'CONVERT({reference} USING utf8mb4)' if converted else reference} AS BINARY)"
    return f"IF({mysql_types.is_as(column.content.what, reference)}, {code}, NULL)" if column.content else code


def _is_looked_at(column: Column) -> bool:
    """Whether some text of a column is refused by its source, where it must not be raw."""
    return not mysql_texts.is_exact(column) and not column.as_stored


def _has_characters(column: Column) -> bool:
    return linkable_kind(column).name in ("text", "enum")


def _by_index(column: Column) -> bool:
    """Whether an enum in a key is told by the indexes of its labels: they may be written in more than one way."""
    return linkable_kind(column).name == "enum" and not mysql_texts.is_exact(column)


def _microseconds(reference: str) -> str:
    """An instant as microseconds since 1970."""
    return f"CAST(UNIX_TIMESTAMP({reference}) * 1000000 AS SIGNED)"


def _any_marked(column: Column, keys: Sequence[Key], place: int) -> bool:
    return linkable_kind(column).name == "text" and any(marked(key[place]) is not None for key in keys)


def _is_constant(default: str) -> bool:
    return bool(re.fullmatch(r"'(?:[^']|'')*'|-?[\d.]+|NULL|current_timestamp(\(\d*\))?", default, re.IGNORECASE))


def _json_value(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a key")
