"""What is stored, told without the package: its own SQL literals, its own exact reading, its own rules of refusal.

A :class:`Type` is a column type of one kind of server with the values worth trying. :func:`read` fetches a table in a
form that is equal, in Python, exactly when the stored values are: IEEE bits of floats, bytes of text, numbers of JSON
with all their digits. :func:`refusal` says why a server of another kind cannot hold a value.
"""

from __future__ import annotations

import datetime
import json
import math
import re
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fleet import TestServer

#: Text that has gone wrong somewhere, some day.
TEXTS = (
    "",
    "a",
    "A",
    " lead and trail ",
    "it's",
    '"double"',
    "`tick`",
    "back\\slash\\",
    "\\N",
    "\\.",
    "%s %% %(a)s",
    "tab\tnew\nline\rreturn\r\n",
    "NULL",
    "'); --",
    "é à ß ñ",
    "日本語",
    "😀\U0001d6c2",
    "\x01\x02\x08\x0b\x0c\x1a\x1b\x7f",
    "),(",
    "x'00'",
    ",x'",
)
NUL_TEXT = "nul\0inside"
BYTES = (b"", b"\0", b"a\0", b"\0\0b", bytes(range(256)), b"'\\\"\n\r\t\x1a", b"\xff\xfe\xf0\x9f", b"x'00'", b"\\x41")
FLOAT32 = (
    *(0.0, -0.0, 1.0, -1.5, 0.1, 16777216.0, 16777217.0, 123456.789, 1e-45, 1.1754942e-38, 1.17549435e-38),
    *(3.4028234663852886e38, -3.4028234663852886e38, 9.8765432e-12, 1234567.0, 0.3333333432674408, 33554434.0),
)
FLOAT64 = (
    *FLOAT32,
    *(5e-324, 2.2250738585072009e-308, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308),
    *(0.1 + 0.2, 1e22, 1e23, 9007199254740993.0, 123456789012345680000.0, 1e-7, 1e15, 1e16, math.pi),
)
JSONS = (
    "null",
    "true",
    '"text"',
    '"it\'s \\"quoted\\" \\\\ \\n tab\\t é 😀 \\u0001"',
    "0",
    "-1",
    "1.5",
    "9007199254740993",
    "18446744073709551615",
    "-9223372036854775808",
    "0.1",
    "1e-7",
    "1.7976931348623157e308",
    "[]",
    "{}",
    '{"a": [1, 2.5, null, {"b": "x\'y"}], "": false, "k\\"ey": "%s"}',
)


@dataclass(frozen=True)
class Type:
    """A column type of one kind of server.

    Attributes
    ----------
    sql : str
        As it stands in CREATE TABLE; ``{schema}`` where an enum's type is created.
    family : str
        What the values are: integer, float, decimal, text, bytes, uuid, json, date, time, datetime, timestamp, bool.
    values : tuple
        Values to try, in the forms that :func:`literal` takes.
    marker : str
        DataJoint's type marker in the comment.
    bits : int
        Of a float.
    labels : tuple of str
        Of an enum.
    """

    sql: str
    family: str
    values: tuple[Any, ...]
    marker: str = ""
    bits: int = 64
    labels: tuple[str, ...] = ()


def _integers(bits: int, unsigned: bool = False) -> tuple[int, ...]:
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return tuple(dict.fromkeys((low, low + 1, 0, 1, 7, high - 1, high)))


def _short(size: int) -> tuple[str, ...]:
    return tuple(text for text in TEXTS if len(text) <= size)


LABELS = ("a", "it's", "c,d", "x%y", 'q"', "back\\slash", "tab\t", "nl\n", "é", "(1)", "NULL", "B c", "$$")
DECIMALS = tuple(
    map(Decimal, ("0", "0.1", "-0.1", "99999999999999999999999999999999999.123456789012345678901234567891", "1E-30"))
)
_SMALL_DECIMALS = tuple(map(Decimal, ("0.00", "-999.99", "999.99", "0.10", "-0.01")))
_DATES = ("1000-01-01", "9999-12-31", "1970-01-01", "2024-02-29", "0500-06-07")
_ODD_DATES = ("0000-00-00", "2020-00-00", "2020-02-31", "0000-01-01")
_TIMES = ("00:00:00", "23:59:59", "12:34:56")
_ODD_TIMES = ("30:00:00", "-00:00:01", "838:59:59", "-838:59:59")
_CLOCKS = ("1000-01-01 00:00:00", "9999-12-31 23:59:59", "2024-10-27 02:30:00", "2024-03-31 02:30:00")
INSTANTS = ("1970-01-01 00:00:01", "2038-01-19 03:14:07", "2024-10-27 00:30:00", "2024-10-27 01:30:00")
UUIDS = (
    "00000000-0000-0000-0000-000000000000",
    "5c005c27-2b00-4e2d-8027-5c5c5c5c5c5c",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
)
#: As DataJoint 2 declares it: where nothing is, unmarked blobs are those of 0.x.
INTEGER = Type("integer", "integer", (0, 1), "int32")


def mysql_enum(labels: Iterable[str]) -> str:
    return "enum(" + ",".join("'" + s.replace("\\", "\\\\").replace("'", "''") + "'" for s in labels) + ")"


_MYSQL = (
    *(
        Type(f"{name}{' unsigned' * unsigned}", "integer", _integers(bits, unsigned))
        for name, bits in {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}.items()
        for unsigned in (False, True)
    ),
    Type("tinyint(1)", "integer", (0, 1, -5, 100)),
    Type("int(3) zerofill", "integer", (0, 42, 12345)),
    Type("tinyint", "bool", (0, 1), "bool"),
    Type("float", "float", FLOAT32, "float32", 32),
    Type("float unsigned", "float", (0.1, 3e38), bits=32),
    Type("float(7,3)", "float", (0.1, 1234.567, -1234.5), bits=32),
    Type("double", "float", FLOAT64, "float64"),
    Type("double(10,3)", "float", (0.1, 1234567.891)),
    Type("double(60,30)", "float", (-3.3306690738754696e-16, -1.1102230246251565e-16, 5e-29)),
    Type("decimal(65,30)", "decimal", DECIMALS, "decimal(65,30)"),
    Type("decimal(5,2)", "decimal", _SMALL_DECIMALS, "decimal(5,2)"),
    Type("decimal(65,0)", "decimal", (Decimal("9" * 65), Decimal("-" + "9" * 65))),
    Type("decimal(7,2) unsigned zerofill", "decimal", (Decimal("1.50"),)),
    Type("char(60)", "text", TEXTS, "char(60)"),
    Type("varchar(60)", "text", (*TEXTS, NUL_TEXT), "varchar(60)"),
    Type("varchar(4000)", "text", ("x" * 4000, "'\\" * 2000)),
    Type("varchar(0)", "text", ("",)),
    Type("varchar(60) CHARACTER SET latin1", "text", ("é ÿ ß", "it's \\ €…\x8d")),
    Type("varchar(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "text", TEXTS),
    *(Type(name, "text", TEXTS) for name in ("tinytext", "text", "mediumtext", "longtext")),
    Type("longtext CHARACTER SET latin1", "text", ("é ÿ ß" * 2000,)),
    Type("longtext", "text", (NUL_TEXT, "y😀'\\\n" * 20_000)),
    Type(mysql_enum(LABELS), "text", LABELS, "enum", labels=LABELS),
    Type("date", "date", (*_DATES, *_ODD_DATES), "date"),
    Type("time", "time", (*_TIMES, *_ODD_TIMES)),
    Type("time(6)", "time", ("12:34:56.789012", "00:00:00.000001", "-00:00:00.500000", "100:00:00.000001")),
    Type("datetime", "datetime", (*_CLOCKS, "0000-00-00 00:00:00", "2020-02-31 10:00:00"), "datetime"),
    Type("datetime(3)", "datetime", ("2024-10-27 02:30:00.123",), "datetime(3)"),
    Type("datetime(6)", "datetime", ("2024-10-27 02:30:00.123456", "9999-12-31 23:59:59.999999"), "datetime(6)"),
    Type("timestamp", "timestamp", (*INSTANTS, "0000-00-00 00:00:00")),
    Type("timestamp(6)", "timestamp", ("1970-01-01 00:00:01.000001", "2038-01-19 03:14:07.999999")),
    Type("year", "integer", (0, 1901, 1999, 2155)),
    Type("json", "json", (*JSONS, '"\\u0000"'), "json"),
    Type("json", "json", ('{"url": "a/b", "size": 1}',), "<not_installed>"),
    Type("binary(5)", "bytes", (b"\0\0\0\0\0", b"ab\0\0\0", b"'\\\"\n\r")),
    Type("varbinary(300)", "bytes", BYTES),
    *(Type(name, "bytes", BYTES) for name in ("blob", "mediumblob", "longblob")),
    Type("tinyblob", "bytes", tuple(b for b in BYTES if len(b) < 256)),
    Type("longblob", "bytes", (b"dj0\0\x01None", bytes(range(256)) * 400), "<blob>"),
    Type("longblob", "bytes", (b"name.txt\0\xff\0data\0",), "<attach>"),
    Type("longblob", "bytes", (b"what only its codec understands",), "<not_installed>"),
    Type("binary(16)", "uuid", UUIDS, "uuid"),
)

_POSTGRESQL = (
    *(Type(n, "integer", _integers(b)) for n, b in {"smallint": 16, "integer": 32, "bigint": 64}.items()),
    Type("smallint", "integer", _integers(8), "int8"),
    Type("boolean", "bool", (0, 1), "bool"),
    Type("boolean", "bool", (0, 1)),
    Type("real", "float", (*FLOAT32, math.nan, math.inf, -math.inf), "float32", 32),
    Type("double precision", "float", (*FLOAT64, math.nan, math.inf, -math.inf), "float64"),
    Type("numeric(65,30)", "decimal", DECIMALS, "decimal(65,30)"),
    Type("numeric(5,2)", "decimal", (*_SMALL_DECIMALS, Decimal("NaN")), "decimal(5,2)"),
    Type("numeric(65,0)", "decimal", (Decimal("9" * 65), Decimal("-" + "9" * 65))),
    Type("character(60)", "text", TEXTS, "char(60)"),
    Type("character varying(60)", "text", TEXTS, "varchar(60)"),
    Type("character varying(5000)", "text", ("x" * 5000, "'\\" * 2500)),
    Type("character varying", "text", TEXTS),
    Type("text", "text", (*TEXTS, "y😀'\\\n" * 20_000)),
    Type("{schema}.mood", "text", LABELS, "enum", labels=LABELS),
    Type("date", "date", (*_DATES, "infinity", "-infinity", "0044-03-15 BC", "12345-01-01"), "date"),
    Type("time", "time", (*_TIMES, "24:00:00", "12:34:56.789012")),
    Type("time(3)", "time", ("12:34:56.789",)),
    Type("timestamp", "datetime", (*_CLOCKS, "infinity", "0044-03-15 10:00:00 BC", "12345-01-01 00:00:00"), "datetime"),
    Type("timestamp(0)", "datetime", ("2024-10-27 02:30:00",)),
    Type("timestamp(6)", "datetime", ("2024-10-27 02:30:00.123456", "9999-12-31 23:59:59.999999")),
    Type("timestamptz", "timestamp", (*INSTANTS, "2024-10-27 00:30:00.000001", "1960-01-01 00:00:00", "infinity")),
    Type("jsonb", "json", JSONS, "json"),
    Type("json", "json", JSONS),
    Type("jsonb", "json", ('{"url": "a/b", "size": 1}',), "<not_installed>"),
    Type("bytea", "bytes", (*BYTES, bytes(range(256)) * 400), "bytes"),
    Type("bytea", "bytes", (b"dj0\0\x01None",), "<blob>"),
    Type("bytea", "bytes", (b"name.txt\0\xff\0data\0",), "<attach>"),
    Type("bytea", "bytes", (b"what only its codec understands",), "<not_installed>"),
    Type("uuid", "uuid", UUIDS, "uuid"),
    Type("uuid", "uuid", UUIDS),
)

TYPES: dict[str, tuple[Type, ...]] = {"mysql": _MYSQL, "mariadb": _MYSQL, "postgresql": _POSTGRESQL}


# writing


def quote(kind: str, *names: str) -> str:
    """A quoted name, with its schema if there are two."""
    mark = '"' if kind == "postgresql" else "`"
    return ".".join(mark + name.replace(mark, mark * 2) + mark for name in names)


def string(kind: str, text: str) -> str:
    """A string literal for definitions: comments and defaults."""
    if kind != "postgresql":
        text = text.replace("\\", "\\\\")
    return "'" + text.replace("'", "''") + "'"


def literal(kind: str, column: Type, value: Any, schema: str = "") -> str:
    """A value as SQL: text and bytes in hexadecimal, numbers and times in quotes."""
    if value is None:
        return "NULL"
    postgresql = kind == "postgresql"
    if column.family == "bytes":
        return f"'\\x{value.hex()}'::bytea" if postgresql else f"x'{value.hex()}'"
    if column.family == "uuid":
        return f"'{value}'" if postgresql else f"x'{value.replace('-', '')}'"
    if column.family in ("text", "json"):
        code = value.encode().hex()
        if postgresql:
            text = f"convert_from('\\x{code}', 'UTF8')"
            return f"{text}::{column.sql.format(schema=schema)}" if column.labels or column.family == "json" else text
        return f"_utf8mb4 x'{code}'"
    if column.family == "bool" and postgresql:
        return "true" if value else "false"
    if column.family == "integer":
        return str(value)
    if column.family == "timestamp" and postgresql:
        return f"'{value}+00'" if value[0].isdigit() else f"'{value}'"
    return f"'{value!r}'" if column.family == "float" else f"'{value}'"


def create_enum(server: TestServer, schema: str) -> None:
    """The enum's type, where enums have types of their own."""
    if server.kind == "postgresql":
        labels = ", ".join(string(server.kind, label) for label in LABELS)
        run(server, f"CREATE TYPE {schema}.mood AS ENUM ({labels})")


def create(
    server: TestServer,
    schema: str,
    table: str,
    columns: Mapping[str, Type],
    key: Sequence[str],
    master: str = "",
    *,
    required: Collection[str] = (),
    defaults: Mapping[str, str] | None = None,
    comments: Mapping[str, str] | None = None,
    comment: str = "",
) -> None:
    """A table whose columns take NULL but for the key and those that are required; with a master, a part of it.

    Defaults are SQL; comments follow the types' markers.
    """
    kind, name = server.kind, quote(server.kind, schema, table)
    postgresql = kind == "postgresql"
    lines, later = [], []
    for column, given in columns.items():
        null = "NOT NULL" if column in key or column in required else "NULL"
        text = string(kind, (f":{given.marker}:" if given.marker else "") + (comments or {}).get(column, ""))
        # Not format(): an enum's labels may have braces.
        words = f"{quote(kind, column)} {given.sql.replace('{schema}', schema)} {null}"
        if column in (defaults or {}):
            words += f" DEFAULT {(defaults or {})[column]}"
        lines.append(words if postgresql else f"{words} COMMENT {text}")
        later += [f"COMMENT ON COLUMN {name}.{quote(kind, column)} IS {text}"] if postgresql and text != "''" else []
    lines.append(f"PRIMARY KEY ({', '.join(quote(kind, k) for k in key)})")
    if master:
        inherited = ", ".join(quote(kind, k) for k in key[:-1])
        lines.append(f"FOREIGN KEY ({inherited}) REFERENCES {quote(kind, schema, master)} ({inherited})")
    options = "" if postgresql else f" DEFAULT CHARSET utf8mb4 COMMENT {string(kind, comment)}"
    later += [f"COMMENT ON TABLE {name} IS {string(kind, comment)}"] if postgresql and comment else []
    run(server, f"CREATE TABLE {name} ({', '.join(lines)}){options}", *later)


def insert(
    server: TestServer, schema: str, table: str, columns: Mapping[str, Type], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert rows, one by one, in one transaction."""
    names = ", ".join(quote(server.kind, name) for name in columns)
    head = f"INSERT INTO {quote(server.kind, schema, table)} ({names}) VALUES"
    literals = (
        ", ".join(literal(server.kind, c, v, schema) for c, v in zip(columns.values(), row, strict=True))
        for row in rows
    )
    run(server, "BEGIN", *(f"{head} ({values})" for values in literals), "COMMIT")


def run(server: TestServer, *statements: str) -> None:
    """Statements of one session, in UTC and with every date that the server can hold."""
    with server.cursor("oracle") as cursor:
        _prepare(server.kind, cursor)
        for statement in statements:
            cursor.execute(statement)


def _prepare(kind: str, cursor: Any) -> None:
    if kind == "postgresql":
        cursor.execute("SET TIME ZONE 'UTC'")
        return
    cursor.execute("SET NAMES utf8mb4")
    cursor.execute("SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")


# reading

Row = tuple[Any, ...]


def read(server: TestServer, schema: str, table: str, columns: Mapping[str, Type]) -> list[Row]:
    """All rows of a table, each value in a form that is equal exactly when the stored values are.

    The columns are named with their types at the source: JSON and uuid do not show everywhere.
    """
    with server.cursor("oracle") as cursor:
        _prepare(server.kind, cursor)
        types = _types(server.kind, cursor, schema, table)
        readers = [
            _reader(server.kind, _shown(column, types[name]), quote(server.kind, name))
            for name, column in columns.items()
        ]
        cursor.execute(f"SELECT {', '.join(sql for sql, _ in readers)} FROM {quote(server.kind, schema, table)}")
        return [
            tuple(None if value is None else decode(value) for value, (_, decode) in zip(row, readers, strict=True))
            for row in cursor.fetchall()
        ]


def _types(kind: str, cursor: Any, schema: str, table: str) -> dict[str, str]:
    if kind == "postgresql":
        cursor.execute(
            "SELECT a.attname, CASE WHEN t.typtype = 'e' THEN 'enum' ELSE t.typname END FROM pg_attribute a "
            "JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = %s::regclass AND a.attnum > 0",
            (quote(kind, schema, table),),
        )
        return dict(cursor.fetchall())
    cursor.execute(f"SHOW FULL COLUMNS FROM {quote(kind, schema, table)}")
    types = {row[0]: row[1].replace("double(", "double fixed(") for row in cursor.fetchall()}
    return {name: re.sub(r"[^a-z ].*| (?!fixed).*", "", shown, flags=re.DOTALL) for name, shown in types.items()}


def _shown(column: Type, found: str) -> str:
    return "json" if column.family == "json" and found == "longtext" else found


Reader = tuple[str, Callable[[Any], Any]]


def _reader(kind: str, name: str, column: str) -> Reader:
    if kind == "postgresql":
        return _postgresql_reader(name, column)
    if name in ("float", "double", "double fixed"):
        # As text a float of 32 bits has six digits, one of fixed decimals has those, and not every calculated one of
        # 64 bits has all, nor one that is longer than 22 characters.
        exact = column if name == "double" else f"IF({column} < 0, '-', ''), ABS({column} * 1e0)"
        decode = _single if name == "float" else _zero_marked
        return f"CONCAT({exact}, IF({column} = 0 AND ATAN2(0, {column}) > 1, '-', ''))", decode
    if name in ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum"):
        return f"HEX(CONVERT({column} USING utf8mb4))", _unhex
    if name == "json":
        return f"HEX(CAST({column} AS CHAR CHARACTER SET utf8mb4))", _json
    if name in ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"):
        return f"HEX({column})", _unhex
    if name == "timestamp":
        return f"IF({column} = 0, '0000-00-00', UNIX_TIMESTAMP({column}))", _instant
    if name in ("date", "time", "datetime"):
        return f"CAST({column} AS CHAR)", _moment
    return f"CAST({column} AS CHAR)", lambda value: Decimal(str(value))


def _postgresql_reader(name: str, column: str) -> Reader:
    if name in ("float4", "float8"):
        form = ">f" if name == "float4" else ">d"
        return f"encode({name}send({column}), 'hex')", lambda value: _bits(struct.unpack(form, bytes.fromhex(value))[0])
    if name == "bpchar":
        return f"encode(convert_to(rtrim({column}::text, ' '), 'UTF8'), 'hex')", _unhex
    if name in ("varchar", "text", "enum"):
        return f"encode(convert_to({column}::text, 'UTF8'), 'hex')", _unhex
    if name in ("json", "jsonb"):
        return f"encode(convert_to({column}::text, 'UTF8'), 'hex')", _json
    if name == "bytea":
        return f"encode({column}, 'hex')", _unhex
    if name == "uuid":
        return f"encode(uuid_send({column}), 'hex')", _unhex
    if name == "timestamptz":
        return f"CASE WHEN isfinite({column}) THEN extract(epoch FROM {column})::text ELSE {column}::text END", _instant
    if name in ("date", "time", "timestamp"):
        return f"{column}::text", _moment
    if name == "bool":
        return f"{column}::int", Decimal
    return f"{column}::text", lambda value: repr(Decimal(value)) if value == "NaN" else Decimal(value)


def _bits(value: float) -> str:
    return struct.pack(">d", value).hex()


def _zero_marked(text: Any) -> str:
    text = text.decode() if isinstance(text, bytes) else text
    return _bits(-0.0) if text.endswith("-") else _bits(float(text))


def _single(text: Any) -> str:
    (value,) = struct.unpack(">d", bytes.fromhex(_zero_marked(text)))
    return _bits(struct.unpack(">f", struct.pack(">f", value))[0])


def _unhex(text: Any) -> bytes:
    return bytes.fromhex(text.decode() if isinstance(text, bytes) else text)


def _json(text: Any) -> str:
    """JSON with its members sorted and its numbers as exact decimals."""
    return repr(_plain(json.loads(_unhex(text), parse_float=Decimal, parse_int=Decimal, parse_constant=str)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {"object": sorted((key, _plain(item)) for key, item in value.items())}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, Decimal):
        return ("is", value)
    # Not normalize(): it rounds to the context's 28 digits.
    digits = format(value, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _instant(text: Any) -> Any:
    text = text.decode() if isinstance(text, bytes) else str(text)
    return Decimal(text) if re.fullmatch(r"-?[\d.]+", text) else text


def _moment(text: Any) -> str:
    text = text.decode() if isinstance(text, bytes) else str(text)
    return re.sub(r"\.0*$", "", re.sub(r"(\.\d*?)0+$", r"\1", text))


# rules


def refusal(source: str, local: str, column: Type, value: Any) -> str | None:
    """Why the local kind of server cannot hold a value of the source's; None where it can."""
    if value is None or source == local:
        return None
    if column.family == "json":
        return _json_refusal(source, local, value, plain=column.sql == "jsonb")
    if "postgresql" not in (source, local):
        return None
    return _postgresql_refusal(column, value) if local == "postgresql" else _mysql_refusal(column, value)


#: Levels of nesting in JSON.
_DEEPEST = {"mysql": 100, "mariadb": 31}


def _json_refusal(source: str, local: str, document: str, plain: bool) -> str | None:
    texts, numbers, depth = _look_into(document)
    if plain:  # as jsonb writes them
        numbers = [format(Decimal(number), "f") for number in numbers]
    if depth > _DEEPEST.get(local, depth):
        return "JSON nested too deep"
    # MySQL's own documents are what MySQL has made of them.
    if local == "mysql" and source != "mysql" and any(map(_is_rounded, numbers)):
        return "a number that MySQL would round"
    if local == "postgresql" and any("\0" in text for text in texts):
        return "NUL in JSON"
    if local == "postgresql" and any(map(_overflows, numbers)):
        return "a number that numeric cannot hold"
    if any(map(_lone, texts)):
        return "half a character in JSON"
    return None


def _look_into(document: str) -> tuple[list[str], list[str], int]:
    """The texts in a document, its numbers as they are written, and how deep it is nested."""
    texts: list[str] = []
    numbers: list[str] = []

    def note(digits: str) -> str:
        numbers.append(digits)
        return ""

    def depth(value: Any) -> int:
        if isinstance(value, str):
            texts.append(value)
        if isinstance(value, dict):
            return 1 + max(map(depth, (*value, *value.values())), default=0)
        return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0

    levels = depth(json.loads(document, parse_int=note, parse_float=note))
    return texts, numbers, levels


def _lone(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _overflows(digits: str) -> bool:
    number = Decimal(digits)
    return number.adjusted() >= 131_072 or int(number.as_tuple().exponent) < -16_383


def _is_rounded(digits: str) -> bool:
    """Whether a number is neither an integer of 64 bits nor, with all its digits, the shortest form of a DOUBLE."""
    number = Decimal(digits)
    if re.fullmatch(r"-?\d+", digits) and -(2**63) <= number < 2**64:
        return False
    return math.isinf(float(digits)) or Decimal(repr(float(digits))) != number


def _postgresql_refusal(column: Type, value: Any) -> str | None:
    if column.family == "text" and "\0" in value:
        return "NUL in text"
    if column.family == "bool" and value not in (0, 1):
        return "neither true nor false"
    if column.family in ("date", "datetime", "timestamp"):
        try:
            datetime.date.fromisoformat(value[:10])
        except ValueError:
            return "not a day of the calendar"
    if column.family == "time" and (value[0] == "-" or (len(value.split(":")[0]), value) > (2, "24:00:00")):
        return "not a time of day"
    return None


def _mysql_refusal(column: Type, value: Any) -> str | None:
    if column.family == "float" and not math.isfinite(value):
        return "not a number"
    if column.family == "decimal" and not value.is_finite():
        return "not a number"
    if column.family in ("date", "datetime", "timestamp"):
        if not re.fullmatch(r"\d{4}-\d\d-\d\d( [\d:.]+)?", value):
            return "not a date of four digits"
        if column.family == "timestamp" and not "1970-01-01 00:00:01" <= value < "2038-01-19 03:14:08":
            return "not an instant of 32 bits"
    return None


def stored(local: str, column: Type, value: Any) -> Any:
    """The value as the local server must hold it: MariaDB knows no negative zero."""
    negative = column.family == "float" and value == _bits(-0.0)
    return _bits(0.0) if negative and local == "mariadb" else value


def tables(server: TestServer, schema: str) -> list[str]:
    """The tables of a schema, if there is one."""
    found = server.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", schema)
    return sorted(name for (name,) in found)


@dataclass(frozen=True)
class Declaration:
    """What a table says about itself, as far as every kind of server can say it."""

    comment: str
    key: tuple[str, ...]
    #: Whether it takes NULL, and the comment with its marker.
    columns: dict[str, tuple[bool, str]]


def declaration(server: TestServer, schema: str, table: str) -> Declaration:
    """What the server's catalogue says about a table."""
    if server.kind == "postgresql":
        name = quote(server.kind, schema, table)
        columns = server.sql(
            "SELECT attname, NOT attnotnull, coalesce(col_description(attrelid, attnum), '') FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            name,
        )
        key = server.sql(
            "SELECT attname FROM pg_index i, unnest(indkey) WITH ORDINALITY AS u(number, position), pg_attribute "
            "WHERE indrelid = %s::regclass AND indisprimary AND attrelid = indrelid AND attnum = number "
            "ORDER BY position",
            name,
        )
        comment = server.sql("SELECT coalesce(obj_description(%s::regclass), '')", name)[0][0]
    else:
        columns = [
            (row[0], row[3] == "YES", row[8])
            for row in server.sql(f"SHOW FULL COLUMNS FROM {quote(server.kind, schema, table).replace('%', '%%')}")
        ]
        indexes = server.sql(f"SHOW INDEX FROM {quote(server.kind, schema, table)}")
        key = [(row[4],) for row in sorted(indexes, key=lambda row: row[3]) if row[2] == "PRIMARY"]
        found = "SELECT table_comment FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
        comment = server.sql(found, schema, table)[0][0]
    return Declaration(comment, tuple(name for (name,) in key), {row[0]: (bool(row[1]), row[2]) for row in columns})


#: Zones in the years of the tests: name, then (instant from which it is so, seconds east of Greenwich).
_ZONES = {
    "Test/Berlin": ((-(2**31), 3600), (1711846800, 7200), (1729990800, 3600)),
    "Test/Apia": ((-(2**31), 46800), (1711846800, -39600), (1729990800, 46800)),
}


@contextmanager
def zones(*places: tuple[TestServer, str, str]) -> Iterator[None]:
    """Servers whose new sessions live in other time zones; on PostgreSQL, the sessions of one account."""
    for server, user, zone in places:
        if server.kind == "postgresql":
            real = {"Test/Berlin": "Europe/Berlin", "Test/Apia": "America/St_Johns"}[zone]
            server.sql(f"ALTER ROLE {user} SET timezone = '{real}'")
        else:
            _make_zone(server, zone)
            server.sql("SET GLOBAL time_zone = %s", zone)
    try:
        yield
    finally:
        for server, _, _ in places:
            if server.kind != "postgresql":
                server.sql("SET GLOBAL time_zone = 'SYSTEM'")


def _make_zone(server: TestServer, zone: str) -> None:
    if server.sql("SELECT 1 FROM mysql.time_zone_name WHERE name = %s", zone):
        return
    offsets = sorted({offset for _, offset in _ZONES[zone]})
    run(
        server,
        "INSERT INTO mysql.time_zone (use_leap_seconds) VALUES ('N')",
        "SET @zone = LAST_INSERT_ID()",
        f"INSERT INTO mysql.time_zone_name VALUES ('{zone}', @zone)",
        *(
            f"INSERT INTO mysql.time_zone_transition_type VALUES (@zone, {n}, {offset}, {n}, 'Z{n}')"
            for n, offset in enumerate(offsets)
        ),
        *(
            f"INSERT INTO mysql.time_zone_transition VALUES (@zone, {since}, {offsets.index(offset)})"
            for since, offset in _ZONES[zone]
        ),
    )
