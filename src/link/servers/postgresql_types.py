"""The types of PostgreSQL: their kinds, how values of each kind are written, and how columns are declared."""

from __future__ import annotations

import re

from ..model.keys import is_day
from ..model.kinds import Default, Kind

_INTEGERS = {"smallint": 16, "integer": 32, "bigint": 64}
_SIMPLE = {
    "real": Kind("float", 32),
    "double precision": Kind("float", 64),
    "boolean": Kind("bool"),
    "text": Kind("text"),
    "bytea": Kind("bytes"),
    "uuid": Kind("uuid"),
    "json": Kind("json"),
    "jsonb": Kind("json"),
    "date": Kind("date"),
}
_TIMES = {
    "time without time zone": "time",
    "timestamp without time zone": "datetime",
    "timestamp with time zone": "timestamp",
}

#: Longer texts are sent encoded.
_LONG_TEXT = 250_000


def kind_of(sql_type: str, labels: tuple[str, ...]) -> Kind | None:
    """The kind of a column; None for a type that has no equivalent elsewhere."""
    if labels:
        return Kind("enum", labels=labels)
    numbers = [int(n) for n in re.findall(r"-?\d+", sql_type)]
    name = re.sub(r"\([-\d,]+\)", "", sql_type)
    if name in _INTEGERS:
        return Kind("integer", _INTEGERS[name])
    if name in _TIMES:
        return Kind(_TIMES[name], numbers[0] if numbers else 6)
    if name == "numeric":
        return Kind("decimal", numbers[0] if numbers else None, sum(numbers[1:]))
    if name in ("character varying", "character"):
        return Kind("text", numbers[0] if numbers else None, form="no blanks" if name == "character" else "")
    return _SIMPLE.get(name)


def declare(kind: Kind) -> str:
    """The type, in this server's words, of a column that comes from a server of another kind; not for enums."""
    if kind.name == "integer":
        smallest = next((n for n, bits in _INTEGERS.items() if Kind("integer", bits).holds(kind)), None)
        return smallest or "numeric(20,0)"
    if kind.name == "decimal":
        return "numeric" if kind.size is None else f"numeric({kind.size},{kind.scale})"
    if kind.name == "float":
        return "real" if kind.size == 32 else "double precision"
    if kind.name == "text":
        # Never character(n): it would pad.
        # A length of nothing, which MySQL has, is none here.
        return "text" if kind.size is None or kind.size > 10_485_760 else f"character varying({max(kind.size, 1)})"
    if kind.name in _TIMES.values():
        name = next(sql for sql, name in _TIMES.items() if name == kind.name)
        return name.replace(" ", f"({kind.size}) ", 1)
    words = {"bool": "boolean", "bytes": "bytea", "uuid": "uuid", "json": "jsonb", "date": "date"}
    return words[kind.name]


def is_rounded(reference: str) -> str:
    """Whether MySQL would round a number in JSON; integers it keeps up to 64 bits, others as DOUBLE."""
    # As they are written: to MySQL 1e0 and 1.0 are no integers. What lies between quotes is no number.
    bare = rf"""regexp_replace({reference}::text, '"(?:[^"\\]|\\.)*"', '""', 'g')"""
    numbers = f"regexp_matches({bare}, '-?[0-9.]+(?:[eE][-+]?[0-9]+)?', 'g') AS n"
    number = "n[1]::numeric"
    kept = f"n[1] !~ '[.eE]' AND {number} >= -9223372036854775808 AND {number} < 18446744073709551616"
    # Beyond what a DOUBLE can hold the cast would be an error.
    inside = f"{number} = 0 OR abs({number}) BETWEEN 4e-324 AND 1.7976931348623157e308"
    differ = f"CASE WHEN {inside} THEN {number} <> n[1]::float8::text::numeric ELSE true END"
    digits = "'[0-9.]{16}|[eE]-?[0-9]{3}'"
    return f"{reference}::text ~ {digits} AND EXISTS (SELECT 1 FROM {numbers} WHERE NOT ({kept}) AND {differ})"


def unescape(inside: str) -> str:
    """The text of what stands between the quotes of a literal."""
    return inside.replace("''", "'")


def literal(text: str) -> str:
    """A text as a literal."""
    return "'" + text.replace("'", "''") + "'"


def default(kind: Kind, given: Default) -> str | None:
    """A default for a column of a kind; None if this server cannot have it."""
    if given.now:
        return "CURRENT_TIMESTAMP" if kind.name in ("date", "datetime", "timestamp") else None
    text = given.text
    if kind.name == "bytes":
        return f"'\\x{text.encode('latin-1').hex()}'" if all(c <= "\xff" for c in text) else None
    if kind.name == "uuid":
        return f"'{text.encode('latin-1').hex()}'" if len(text) == 16 and max(text) <= "\xff" else None
    if kind.name in ("date", "datetime", "timestamp"):
        return literal(text) if is_day(text[:10]) else None
    if kind.name == "time":
        return literal(text) if re.match(r"([01]\d|2[0-3]):|24:00:00(\.0*)?$", text) else None
    return None if "\0" in text else literal(text)


def in_values(kind: Kind, reference: str) -> str:
    """An expression for the value as it stands in a VALUES tuple of MySQL."""
    if kind.name == "integer":
        return f"{reference}::text"
    if kind.name == "bool":
        return f"{reference}::int::text"
    if kind.name == "bytes":
        return f"'x''' || encode({reference}, 'hex') || ''''"
    if kind.name == "uuid":
        return f"'x''' || replace({reference}::text, '-', '') || ''''"
    if kind.name in ("text", "enum", "json"):
        quoted = rf"'''' || replace(replace({reference}::text, '\', '\\'), '''', '\''') || ''''"
        if kind.name == "enum" or (kind.size is not None and kind.size <= _LONG_TEXT):
            return quoted
        # Escapes may double a long text, which then takes more than the other server's packet.
        encoded = f"encode(convert_to({reference}::text, 'UTF8'), 'base64')"
        long = f"'CONVERT(FROM_BASE64(''' || {encoded} || ''') USING utf8mb4)'"
        return f"CASE WHEN octet_length({reference}::text) > {_LONG_TEXT} THEN {long} ELSE {quoted} END"
    if kind.name == "float":
        # Through double precision: the text of a real, read as a double and rounded again, can be another real.
        return f"'''' || {reference}::float8::text || ''''"
    if kind.name == "timestamp":
        return f"'''' || ({reference} AT TIME ZONE 'UTC')::text || ''''"
    return f"'''' || {reference}::text || ''''"


def canonical(kind: Kind, reference: str) -> str:
    """An expression that fetches the value so that it equals, in Python, what the other kind of server gives."""
    if kind.name == "float":
        return f"{reference}::float8"
    if kind.name == "bool":
        return f"{reference}::int"
    if kind.name in ("datetime", "timestamp"):
        return _written_out(f"({reference} AT TIME ZONE 'UTC')" if kind.name == "timestamp" else reference)
    if kind.name == "time":
        return f"to_char({reference}, 'HH24:MI:SS.US')"
    if kind.name == "bytes":
        return f"encode({reference}, 'hex')"
    if kind.name == "uuid":
        return f"replace({reference}::text, '-', '')"
    if kind.name in ("text", "enum", "json", "date"):
        return f"{reference}::text"
    return reference


def _written_out(reference: str) -> str:
    # What other servers cannot hold keeps PostgreSQL's own words: infinity, BC.
    finite = f"isfinite({reference}) AND {reference} >= '0001-01-01'"
    return f"CASE WHEN {finite} THEN to_char({reference}, 'YYYY-MM-DD HH24:MI:SS.US') ELSE {reference}::text END"


def is_as(what: str, reference: str) -> str:
    """The condition that bytes are what a column's :class:`~link.model.schema.Content` says."""
    if what == "attachment":
        return is_attachment(reference)
    heads = f"substring({reference} from 1 for 4) IN ('\\x6d596d00'::bytea, '\\x646a3000'::bytea)"
    packed = f"({heads} OR substring({reference} from 1 for 6) = '\\x5a4c31323300'::bytea)"
    return packed if what == "packed" else f"NOT {packed}"


def is_attachment(reference: str) -> str:
    """The condition that bytes are the name of a file, a NUL, and its content."""
    head = f"substring({reference} from 1 for 1024)"
    name = f"substring({head} from 1 for position('\\x00'::bytea in {head}) - 1)"
    is_path = f"position('\\x2f'::bytea in {name}) > 0 OR position('\\x5c'::bytea in {name}) > 0"
    is_path = f"{is_path} OR {name} IN ('\\x2e'::bytea, '\\x2e2e'::bytea)"
    # One after the other: what comes later must not be computed of what has no name.
    return (
        f"{reference} IS NULL OR CASE WHEN position('\\x00'::bytea in {head}) > 1 THEN NOT ({is_path}) ELSE false END"
    )


def summed(kind: Kind, reference: str) -> str:
    """An expression for a checksum over keys, the same text on every kind of server."""
    if kind.name in ("text", "enum"):
        # Where one text ends and the next begins.
        return f"char_length({reference}::text), {reference}::text"
    if kind.name != "float":
        return canonical(kind, reference)
    value = f"{reference}::float8"
    digits = f"trim(BOTH '0' FROM replace(split_part(abs({value})::text, 'e', 1), '.', ''))"
    return f"concat(sign({value}), left({digits}, 14), floor(log(nullif(abs({value}), 0))))"


def parameter(kind: Kind, cast: str, value: str = "%s") -> str:
    """The expression, of the column's type ``cast``, for a canonical value."""
    if kind.name == "bytes":
        return f"decode({value}, 'hex')"
    if kind.name == "bool":
        return f"({value}::int)::boolean"
    if kind.name == "timestamp":
        return f"({value}::timestamp AT TIME ZONE 'UTC')"
    # In parentheses: the minus of a number binds less than the cast, which 32768 does not survive.
    return f"({value})::{'float8' if kind.name == 'float' else cast}"


def listed_type(kind: Kind, cast: str) -> str:
    """The type in which canonical values of a kind travel in an array."""
    if kind.name in ("integer", "decimal"):
        return cast
    return {"float": "float8", "bool": "int"}.get(kind.name, "text")
