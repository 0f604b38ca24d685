"""The types of MySQL and MariaDB: their kinds, how values of each kind are written, and how columns are declared."""

from __future__ import annotations

import json
import re
from decimal import Decimal

from ..model.kinds import Default, Kind, marker

_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_TEXTS = {"tinytext": 255, "text": 65_535, "mediumtext": 16_777_215, "longtext": None}
_BLOBS = {"tinyblob": 255, "blob": 65_535, "mediumblob": 16_777_215, "longblob": None}
_DECLARED_INTEGERS = {8: "tinyint", 16: "smallint", 24: "mediumint", 32: "int", 64: "bigint"}
_LONG = re.compile("(medium|long)?(blob|text)|json")
#: What a zero timestamp is in a key.
NEVER = "0000-00-00 00:00:00.000000"
#: Text up to so many characters becomes VARCHAR: four bytes each must fit into a row.
_LONGEST_VARCHAR = 4096
#: What a number that MySQL rounds has: 16 digits, or an exponent among those where DOUBLE loses digits, or ends.
_MANY_DIGITS = re.compile(rb"[0-9.]{16}|[eE]-?[0-9]{3}")
#: An index takes 3072 bytes, of four-byte characters so many.
_LONGEST_KEY = 768


def kind_of(sql_type: str, comment: str, mariadb: bool) -> Kind | None:
    """The kind of a column; None for a type that cannot be linked."""
    base = re.match(r"[a-z]+", sql_type)
    name = base[0] if base else ""
    numbers = [int(n) for n in re.findall(r"\d+", (re.search(r"\(([\d, ]+)\)", sql_type) or [""])[0])]
    size = numbers[0] if numbers else None
    special = marker(comment)
    if name in _INTEGERS:
        if name == "tinyint" and special == "bool":
            return Kind("bool")
        return Kind("integer", _INTEGERS[name], unsigned="unsigned" in sql_type)
    if name in ("float", "double"):
        form = ",".join(map(str, numbers))
        # In a DOUBLE of fixed decimals the last bits are not those of the number that is printed.
        return Kind("float", 32, form=form) if name == "float" else Kind("float", 64, sum(numbers[1:]), form=form)
    if name == "decimal":
        return Kind("decimal", size, numbers[1] if len(numbers) > 1 else 0)
    if name in ("char", "varchar"):
        return Kind("text", size, form="no blanks" if name == "char" else "")
    if name in _TEXTS:
        is_json = mariadb and name == "longtext" and re.match(r"json$|<[^>]*@", special)
        return Kind("json") if is_json else Kind("text", _TEXTS[name])
    if name in ("binary", "varbinary"):
        if special == "uuid" and size == 16:
            return Kind("uuid")
        return Kind("bytes", size, form=f"{size} bytes" if name == "binary" else "")
    if name in _BLOBS:
        return Kind("bytes", _BLOBS[name])
    if name in ("time", "datetime", "timestamp"):
        return Kind(name, size or 0)
    if name == "enum":
        return Kind("enum", labels=_labels(sql_type))
    if name == "year":
        return None if size == 2 else Kind("integer", 16, form="year")  # MariaDB has years of two digits still
    return {"json": Kind("json"), "date": Kind("date")}.get(name)


def is_long(sql_type: str) -> bool:
    """Whether values of a type may be long, and are kept beside their rows."""
    return bool(_LONG.fullmatch(sql_type))


_ESCAPES = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "Z": "\x1a"}


def unescape(inside: str) -> str:
    """The text of what stands between the quotes of a literal."""
    return re.sub(r"\\(.)|''", lambda m: _ESCAPES.get(m[1], m[1]) if m[1] else "'", inside, flags=re.DOTALL)


def literal(text: str) -> str:
    """A text as a literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"


def _labels(sql_type: str) -> tuple[str, ...]:
    return tuple(map(unescape, re.findall(r"'((?:[^'\\]|''|\\.)*)'", sql_type, re.DOTALL)))


def declare(kind: Kind, in_key: bool) -> str | None:
    """The type, in these servers' words, of a column from a server of another kind; None if there is none."""
    if kind.name == "integer":
        return _DECLARED_INTEGERS[kind.size or 64] + (" unsigned" if kind.unsigned else "")
    if kind.name == "decimal":
        fits = kind.size is not None and kind.size <= 65 and 0 <= kind.scale <= min(30, kind.size)
        return f"decimal({kind.size},{kind.scale})" if fits else None
    if kind.name == "text":
        limit = _LONGEST_KEY if in_key else _LONGEST_VARCHAR
        if kind.size is not None and kind.size <= limit:
            return f"varchar({kind.size})"
        return None if in_key else "longtext"
    if kind.name == "bytes":
        if in_key:
            return f"varbinary({kind.size})" if kind.size is not None and kind.size <= 3072 else None
        return "longblob"
    if kind.name in ("time", "datetime", "timestamp"):
        return f"{kind.name}({kind.size})"
    if kind.name == "enum":
        # Spaces at the end of a label are lost, and characters of four bytes are not told when it is read.
        held = not any(
            label.endswith(" ") or len(label) > 255 or max(label, default="") > "\uffff" for label in kind.labels
        )
        return "enum(" + ",".join(map(literal, kind.labels)) + ")" if held else None
    words = {"float": "float" if kind.size == 32 else "double", "bool": "tinyint", "uuid": "binary(16)"}
    return {**words, "json": "json", "date": "date"}.get(kind.name)


def default(kind: Kind, given: Default) -> str | None:
    """A default for a column of a kind; None if these servers cannot have it."""
    if given.now:
        decimals = f"({kind.size})" if kind.size else ""
        return f"CURRENT_TIMESTAMP{decimals}" if kind.name in ("datetime", "timestamp") else None
    text = given.text
    if kind.name in ("bytes", "uuid"):
        digits = text.replace("-", "") if kind.name == "uuid" else text.removeprefix("\\x")
        return f"x'{digits}'" if re.fullmatch(r"([0-9a-f]{2})*", digits) else None
    if kind.name == "bool":
        return "'1'" if text.lower() in ("1", "t", "true") else "'0'"
    if kind.name in ("date", "datetime", "timestamp"):
        text = text.removesuffix("+00")
        return literal(text) if re.fullmatch(r"\d{4}-\d\d-\d\d( [\d:.]+)?", text) else None
    return None if kind.name in ("float", "decimal") and not re.match(r"-?[\d.]", text) else literal(text)


def in_values(kind: Kind, reference: str) -> str:
    """An expression for the value as it stands in a VALUES tuple of these servers."""
    if kind.name in ("integer", "decimal", "bool"):
        return reference
    if kind.name == "float":
        # Quoted: the literal -0 is the integer 0, the text '-0' is not.
        return f"CONCAT('''', {_exact(kind, reference)}, '''')"
    if kind.name in ("date", "time", "datetime", "timestamp"):
        return f"CONCAT('''', {reference}, '''')"
    if kind.name in ("bytes", "uuid"):
        return f"CONCAT('x''', HEX({reference}), '''')"
    return f"QUOTE(CONVERT({reference} USING utf8mb4))"


def in_digest(kind: Kind, reference: str) -> str:
    """An expression for the value, unless it is text, as it stands between commas, without one of its own."""
    if kind.name == "float":
        return _digits(kind, reference)
    # Bytes as they are, behind their number: twice as many digits take a sixth of all the time.
    return f"CONCAT(LENGTH({reference}), ',', {reference})" if kind.name in ("bytes", "uuid") else reference


def _exact(kind: Kind, reference: str) -> str:
    """A float that is fetched with all its digits: as it is, one of a FLOAT column has six."""
    return f"CAST({reference} AS DOUBLE)" if kind.size == 32 or kind.scale else reference


def _digits(kind: Kind, reference: str) -> str:
    """A text with all digits of a float: that of a cast has at most 22 characters on MySQL, enough for 32 bits."""
    exact = _exact(kind, reference)
    return f"IF({exact} < 0, CONCAT('-', ABS({exact})), {exact})" if kind.scale else exact


def refusal(why: str) -> str:
    """What stands for a value that the destination shall refuse, with this text."""
    return f"CAST({literal(why)} AS SIGNED)"


#: Heads of what DataJoint's serializers make, 0.x's and MATLAB's too; ``datajoint/blob.py`` of 0.12 and later.
_COMPRESSED, _HEADS = "x'5A4C31323300'", "x'6D596D00', x'646A3000'"
#: Names of files are shorter than this.
_NAME = 1024


def is_as(what: str, reference: str) -> str:
    """The condition that bytes are what a column's :class:`~link.model.schema.Content` says."""
    if what != "attachment":
        packed = f"(LEFT({reference}, 4) IN ({_HEADS}) OR LEFT({reference}, 6) = {_COMPRESSED})"
        return packed if what == "packed" else f"NOT {packed}"
    head = f"LEFT({reference}, {_NAME})"
    name = f"SUBSTRING_INDEX({head}, x'00', 1)"
    is_path = f"LOCATE(x'2F', {name}) OR LOCATE(x'5C', {name}) OR {name} IN (x'2E', x'2E2E')"
    return f"(LOCATE(x'00', {head}) > 1 AND NOT ({is_path}))"


def rounded_json(column: str) -> str:
    """What stands for JSON that MySQL would round."""
    return refusal(f"{column}: JSON with numbers of more digits than MySQL keeps")


def is_rounded(reference: str) -> str:
    """Whether MySQL would change its own JSON when it reads the text of it: DECIMAL becomes DOUBLE."""
    text = f"CAST({reference} AS CHAR)"
    again = f"CAST({text} AS JSON)"
    return f"NOT ({again} = {reference} OR CAST({again} AS CHAR) = {text})"


def rounds(document: bytes) -> bool:
    """Whether MySQL would round a number in this JSON; integers it keeps up to 64 bits, others as DOUBLE."""
    found = False

    def look(digits: str) -> None:
        nonlocal found
        number = Decimal(digits)
        kept = re.fullmatch(r"-?\d+", digits) and -(2**63) <= number < 2**64
        found = found or not (kept or Decimal(repr(float(digits))) == number)

    if _MANY_DIGITS.search(document):
        json.loads(document, parse_float=look, parse_int=look)
    return found


def in_copy(kind: Kind, reference: str) -> str:
    """An expression for the value as it stands in a line of PostgreSQL's COPY text format."""
    if kind.name == "float":
        return _digits(kind, reference)
    if kind.name == "bytes":
        return f"CONCAT('\\\\\\\\x', HEX({reference}))"
    if kind.name == "uuid":
        return f"HEX({reference})"
    if kind.name in ("text", "enum", "json"):
        escaped = f"CONVERT({reference} USING utf8mb4)"
        for plain, written in (("\\\\", "\\\\\\\\"), ("\\t", "\\\\t"), ("\\n", "\\\\n"), ("\\r", "\\\\r")):
            escaped = f"REPLACE({escaped}, '{plain}', '{written}')"
        return escaped
    return reference


def canonical(kind: Kind, reference: str) -> str:
    """An expression that fetches the value so that it equals, in Python, what the other kind of server gives."""
    if kind.name == "float":
        return _exact(kind, reference)
    if kind.name in ("datetime", "timestamp"):
        return f"DATE_FORMAT({reference}, '%%Y-%%m-%%d %%H:%%i:%%s.%%f')"
    if kind.name == "time":
        return f"TIME_FORMAT({reference}, '%%H:%%i:%%s.%%f')"
    if kind.name == "date":
        return f"CAST({reference} AS CHAR)"
    if kind.name in ("bytes", "uuid"):
        return f"LOWER(HEX({reference}))"
    if kind.name == "json":
        return f"CONVERT({reference} USING utf8mb4)"
    return reference


def summed(kind: Kind, reference: str) -> str:
    """An expression for a checksum over keys, the same text on every kind of server."""
    if kind.name == "integer":
        return f"({reference} + 0)"  # without zeros in front
    if kind.name != "float":
        return canonical(kind, reference)
    # Servers write floats in forms of their own: sign, first digits and magnitude are common to all.
    digits = f"TRIM(BOTH '0' FROM REPLACE(SUBSTRING_INDEX(ABS({_exact(kind, reference)}), 'e', 1), '.', ''))"
    return f"CONCAT(SIGN({reference}), LEFT({digits}, 14), IFNULL(FLOOR(LOG10(NULLIF(ABS({reference}), 0))), ''))"


def parameter(kind: Kind) -> str:
    """The placeholder for a canonical value."""
    return "UNHEX(%s)" if kind.name in ("bytes", "uuid") else "%s"


def some(kind: Kind) -> str:
    """Some value of a kind, as an expression."""
    times = {"date": "DATE'2000-01-01'", "time": "TIME'00:00:00'", "datetime": "TIMESTAMP'2000-01-01 00:00:00'"}
    words = {**times, "timestamp": times["datetime"], "float": "0e0", "bytes": "x''", "uuid": "x''"}
    return {**words, "text": "''", "enum": "''"}.get(kind.name, "0")
