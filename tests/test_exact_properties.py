"""Whole pipelines made up by Hypothesis: every value of every type arrives, or its entity is refused by name.

An example is a source table with attributes of all types, in random order and with random sizes, labels, character
sets, defaults and comments, with up to two part tables, and with rows of edge cases. The oracle says which entities the
local server cannot hold: those and no others are refused, and the rest is the same on both servers.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

import hypothesis.strategies as st
import oracle
import pytest
from figures import SOAK, Figures
from hypothesis import HealthCheck, Phase, given, settings
from lab import Lab
from oracle import LABELS, TEXTS, Type
from pipelines import count_held, linked

from link.servers.keyed import Segment
from link.work import claims
from link.work.comparing import Comparison
from link.work.run import Run

T = TypeVar("T")
Values = st.SearchStrategy[Any]
Draw = Callable[[st.SearchStrategy[T]], T]

PROFILE = settings(
    max_examples=40 if SOAK else 3,
    deadline=None,
    derandomize=not SOAK,
    database=None,
    suppress_health_check=list(HealthCheck),
    # A failure names column and value: smaller tables would say no more.
    phases=[Phase.explicit, Phase.generate],
)
#: Drawn values of a column, beside those that have gone wrong somewhere, some day.
DRAWN = 4
#: And so many of those.
EDGES = 6
#: Entities of an example.
ENTITIES = 24
#: Entities of an example that are refused, at most.
REFUSED = 12 if SOAK else 6

NAMES = (
    *("plain", "UpperCase", "select", "50% off", "%s", 'quo"te', "back`tick", "it's", "spa ce", "a.b", "semi;colon"),
    *("c{0}", "naïve", "größe", "back\\slash", "$1", "?", "tab\tbed", "--", "/*", "a,b", "(", "für%(x)s"),
)


@dataclass(frozen=True)
class Case:
    """A column type with its values.

    Attributes
    ----------
    type : Type
        As the oracle knows it.
    values : strategy
        Any that the source can hold.
    edges : tuple
        Values that are worth trying each time.
    defaults : bool
        Whether every kind of server can have its values as defaults.
    """

    type: Type
    values: Values
    edges: tuple[Any, ...] = ()
    defaults: bool = True


@dataclass(frozen=True)
class Column:
    """A column as it is declared, and the values for it: those that the local server can hold, and others."""

    type: Type
    held: tuple[Any, ...]
    refused: tuple[Any, ...]
    required: bool
    default: str | None = None
    comment: str = ""


@dataclass(frozen=True, repr=False)
class Pipeline:
    """A source table with its parts, and what to put into them.

    Attributes
    ----------
    key : tuple of str
        The primary key of the master.
    columns : dict
        Of the master.
    parts : tuple of dict
        The columns of each part beside the master's key and its own number.
    comment : str
        Of each table.
    chunk_rows : int
        How many entities are pulled at once.
    refused : tuple
        What the local server cannot hold: the table (0 is the master), the column, and the value.
    """

    key: tuple[str, ...]
    columns: dict[str, Column]
    parts: tuple[dict[str, Column], ...]
    comment: str
    chunk_rows: int
    refused: tuple[tuple[int, str, Any], ...]

    def __repr__(self) -> str:
        return f"a pipeline of {len(self.columns)} columns and {len(self.parts)} parts"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # For Hypothesis: all of it would be thousands of lines, and what failed is said by name.
        printer.text(repr(self))


# values


def characters(codec: str = "utf-8", nul: bool = True) -> st.SearchStrategy[str]:
    return st.characters(codec=codec, exclude_characters="" if nul else "\0")


def texts(size: int, alphabet: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    return st.text(alphabet, max_size=min(size, 12))


def short(size: int) -> tuple[str, ...]:
    return tuple(text for text in TEXTS if len(text) <= size)


def integers(low: int, high: int) -> Case:
    edges = tuple(sorted({low, low + 1, min(max(0, low), high), high - 1, high}))
    return Case(Type("", "integer", ()), st.integers(low, high), edges)


def decimals(words: str, digits: int, scale: int, marker: str = "") -> Case:
    most = 10**digits - 1
    values = st.integers(-most, most).map(lambda n: Decimal(f"{n}E{-scale}"))
    edges = tuple(Decimal(f"{n}E{-scale}") for n in (0, 1, -1, most, -most))
    return Case(Type(f"{words}({digits},{scale})", "decimal", (), marker), values, edges)


def fraction(decimals: int) -> st.SearchStrategy[str]:
    return st.integers(0, 10**decimals - 1).map(lambda n: f".{n:0{decimals}}" if decimals else "")


def days(first: int = 1, last: int = 9999) -> st.SearchStrategy[str]:
    return st.builds("{:04}-{:02}-{:02}".format, st.integers(first, last), st.integers(1, 12), st.integers(1, 28))


def hours(decimals: int, *, odd: bool = False) -> st.SearchStrategy[str]:
    sign, last = ("", 23) if not odd else ("-", 837)
    clock = st.builds("{}:{:02}:{:02}".format, st.integers(0, last).map("{:02}".format), SIXTY, SIXTY)
    return st.builds("{}{}{}".format, st.sampled_from(["", sign]), clock, fraction(decimals))


SIXTY = st.integers(0, 59)


def moments(decimals: int, dates: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[str]:
    return st.builds("{} {}".format, days() if dates is None else dates, hours(decimals))


def instants(decimals: int) -> st.SearchStrategy[str]:
    return moments(decimals, days(1971, 2037))


def json_numbers(kind: str) -> st.SearchStrategy[str]:
    """Numbers as they may be written; MySQL itself rounds what it cannot hold, but takes no more than it can."""
    whole = st.integers(-(2**70), 2**70)
    number = st.one_of(
        whole.map(str),
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.builds("{}.{:020}".format, whole, st.integers(0, 10**20 - 1)),
        st.builds("{}.{}".format, st.integers(-999, 999), st.integers(0, 99)),
        st.builds(
            "{}{}{}".format,
            st.integers(-(10**17), 10**17),
            st.sampled_from(["e", "E", "e+", "e-", "E-"]),
            st.sampled_from([0, 1, 22, 100, 280, 400, 1000] if kind != "mysql" else [0, 1, 22, 100, 280]),
        ),
    )
    # MySQL alone keeps the sign of a zero in JSON.
    return number.filter(lambda text: text[0] != "-" or Decimal(text) != 0)


@st.composite
def documents(draw: Draw[Any], kind: str, depth: int = 3) -> Any:
    """JSON as text."""
    what = draw(st.integers(0, 6 if depth else 3))
    if what < 2:
        return str(draw(json_numbers(kind)))
    if what == 2:
        text = draw(texts(9, characters()) | st.sampled_from(TEXTS))
        return json.dumps(text, ensure_ascii=draw(st.booleans()))
    if what == 3:
        return str(draw(st.sampled_from(["null", "true", "false", "[]", "{}", '""'])))
    items = draw(st.lists(documents(kind, depth - 1), max_size=3))
    blank = draw(st.sampled_from(["", " ", "\n"]))
    if what == 4:
        return f"[{blank}{f',{blank}'.join(items)}]"
    if what == 5:
        keys = [json.dumps(draw(texts(4, characters(nul=False)))) for _ in items]
        return "{" + ",".join(f"{key}:{blank}{item}" for key, item in zip(keys, items, strict=True)) + f"{blank}}}"
    levels = draw(st.sampled_from([1, 5, 20, 25]))
    return "[" * levels + str(draw(documents(kind, 0))) + "]" * levels


JSON_EDGES = (
    *("null", "0", '"\\u0000"', "18446744073709551615", "18446744073709551616", "-9223372036854775808", "1e-7"),
    *("1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", '{"b": 1, "a": {"b": [], "a": ""}}', "0.1"),
)
#: What MySQL could only round, in few digits or in many.
ROUNDED = ("1e-400", "1e400", "3e-324", "9007199254740993e1", "9007199254740993.0", "[-1.2345678901234567890]")
NESTED = ("[" * 31 + "]" * 31, "[" * 40 + "]" * 40, "[" * 101 + "]" * 101)


def json_edges(kind: str) -> tuple[str, ...]:
    others = {
        "mysql": NESTED[:2],
        "mariadb": (*ROUNDED, *NESTED[:1], "1e131072", "1e-16384"),
        "postgresql": (*ROUNDED, *NESTED),
    }
    return (*JSON_EDGES, *others[kind])


@st.composite
def labels(draw: Draw[Any], postgresql: bool, wide: bool) -> tuple[str, ...]:
    """Labels that no collation confuses; some characters only PostgreSQL's labels can have."""
    alphabet = st.characters(
        codec="utf-8", exclude_characters="\0\xff", max_codepoint=None if wide and postgresql else 0xD7FF
    )
    drawn = draw(st.lists(st.text(alphabet, max_size=6), min_size=1, max_size=4))
    known = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=4, unique=True))
    return (*known, *(f"{text}{n}" for n, text in enumerate(drawn)))


# types


def cases(kind: str, local: str) -> list[st.SearchStrategy[Case]]:
    """Every type that tables of the source can have, with random sizes."""
    return _postgresql_cases(local) if kind == "postgresql" else _mysql_cases(kind)


def fixed(sql: str, family: str, values: Values, *edges: Any, marker: str = "", bits: int = 64) -> Any:
    return st.just(Case(Type(sql, family, (), marker, bits), values, edges))


def sized(build: Callable[..., Case], *numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Case]:
    return st.builds(build, *numbers)


SIZES = st.integers(1, 60)
PLACES = st.integers(0, 6)


def precise(words: str) -> Callable[[int], str]:
    """A type of times with so many decimals."""
    return lambda n: words.replace("()", f"({n})" if n else "")


CHARSETS: dict[str, st.SearchStrategy[str] | str] = {
    "latin1": st.characters(codec="latin-1").map(lambda c: c if c < "\x80" or c > "\x9f" else "€"),
    "utf8mb3": st.characters(codec="utf-8", max_codepoint=0xFFFF),
    "ucs2": st.characters(codec="utf-8", max_codepoint=0xFFFF),
    "utf16": characters(),
    "utf32": characters(),
    "ascii": characters("ascii"),
    "koi8r": "абвЖЯ'\\\"\n\t\0",
    "cp1251": "абвЖЯ'\\\"\n\t\0",
    "greek": "αβγΩ'\\\"\n\t\0",
    # The second byte of some of these is a backslash.
    "sjis": "アソ能表十'\\\"\n\t",
    "cp932": "アソ能表十'\\\"\n\t",
    "gbk": "功許蓋誠'\\\"\n\t",
    "big5": "功許蓋'\\\"\n\t",
    "utf8mb4 COLLATE utf8mb4_bin": characters(),
    "utf8mb4 COLLATE utf8mb4_general_ci": characters(),
    "utf8mb4 COLLATE utf8mb4_unicode_ci": characters(),
}
OWN_CHARSETS: dict[str, dict[str, st.SearchStrategy[str] | str]] = {
    "mysql": {
        "gb18030": characters("gb18030"),
        "utf8mb4 COLLATE utf8mb4_0900_ai_ci": characters(),
        "utf8mb4 COLLATE utf8mb4_ja_0900_as_cs": characters(),
    },
    "mariadb": {"utf8mb4 COLLATE utf8mb4_nopad_bin": characters(), "utf8mb4 COLLATE uca1400_ai_ci": characters()},
}


def mysql_text(charsets: dict[str, Any], words: str, size: int, charset: str) -> Case:
    name = f"{words.replace('()', f'({size})')}{f' CHARACTER SET {charset}' if charset else ''}"
    values = texts(size, charsets[charset] if charset else characters())
    edges = short(size) if "utf8mb4" in charset or not charset else ("", "it's \\"[: size - 1], "a ")
    return Case(Type(name, "text", ()), values, edges if size > 1 else ("",), defaults="()" in words)


def _mysql_cases(kind: str) -> list[st.SearchStrategy[Case]]:
    def typed(case: Case, sql: str, marker: str = "") -> st.SearchStrategy[Case]:
        return st.just(Case(Type(sql, case.type.family, (), marker), case.values, case.edges))

    ints = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
    singles, doubles = (st.floats(width=width, allow_nan=False, allow_infinity=False) for width in (32, 64))
    charsets = CHARSETS | OWN_CHARSETS[kind]
    chosen = st.sampled_from(["", *charsets])
    json_values = documents(kind)
    return [
        *(
            typed(integers(*((0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))), words)
            for name, bits in ints.items()
            for unsigned in (False, True)
            for words in [name + " unsigned" * unsigned]
        ),
        typed(integers(-128, 127), "tinyint(1)"),
        typed(integers(0, 2**32 - 1), "int(3) zerofill"),
        typed(Case(Type("", "bool", ()), st.sampled_from([0, 1]), (0, 1, 2, -1)), "tinyint", "bool"),
        fixed("float", "float", singles, *oracle.FLOAT32, marker="float32", bits=32),
        fixed("float unsigned", "float", singles.map(abs), 0.1, bits=32),
        fixed("float(7,3)", "float", st.integers(-9999999, 9999999).map(lambda n: n / 1000), 0.001, bits=32),
        fixed("double", "float", doubles, *oracle.FLOAT64, marker="float64"),
        fixed("double(10,3)", "float", st.integers(-(10**10), 10**10).map(lambda n: n / 1000 / 1.001), 0.001),
        st.integers(1, 65).flatmap(
            lambda digits: st.integers(0, min(digits, 30)).map(
                lambda scale: decimals("decimal", digits, scale, f"decimal({digits},{scale})")
            )
        ),
        *(
            sized(lambda size, charset, words=words: mysql_text(charsets, words, size, charset), SIZES, chosen)
            for words in ("char()", "varchar()", "varchar()", "tinytext", "text", "mediumtext", "longtext")
        ),
        labels(False, False).map(
            lambda found: Case(Type(oracle.mysql_enum(found), "text", (), "enum", labels=found), st.sampled_from(found))
        ),
        fixed("date", "date", days(0), *oracle._DATES, *oracle._ODD_DATES, "0001-01-01", marker="date"),
        sized(
            lambda n: Case(
                Type(precise("time()")(n), "time", ()),
                hours(n) | hours(n, odd=True),
                ("00:00:00", "23:59:59", "24:00:00", "24:00:01", "-00:00:01", "838:59:59", "-838:59:59"),
            ),
            PLACES,
        ),
        sized(
            lambda n: Case(
                Type(precise("datetime()")(n), "datetime", ()),
                moments(n),
                ("0001-01-01 00:00:00", "9999-12-31 23:59:59", "0000-00-00 00:00:00", "2023-02-29 12:00:00"),
            ),
            PLACES,
        ),
        sized(
            lambda n: Case(
                Type(precise("timestamp()")(n), "timestamp", ()),
                instants(n),
                (*oracle.INSTANTS, "0000-00-00 00:00:00"),
            ),
            PLACES,
        ),
        fixed("year", "integer", st.integers(1901, 2155), 0, 1901, 2155),
        fixed("json", "json", json_values, *json_edges(kind), marker="json"),
        st.sampled_from(["<not_installed>", "<odd>"]).map(
            lambda marker: Case(Type("json", "json", (), marker), json_values, ('{"path": "a/b", "size": 1}',))
        ),
        sized(
            lambda n: Case(Type(f"binary({n})", "bytes", ()), st.binary(min_size=n, max_size=n), (b"\0" * n,)),
            st.integers(1, 20),
        ),
        sized(lambda n: Case(Type(f"varbinary({n})", "bytes", ()), st.binary(max_size=n), (b"", b"\0")), SIZES),
        *(
            st.sampled_from(["bytes", "<blob>", "<attach>", "<not_installed>"]).map(
                lambda marker, words=words: Case(Type(words, "bytes", (), marker), *contents(marker))  # type: ignore[misc]
            )
            for words in ("tinyblob", "blob", "mediumblob", "longblob")
        ),
        fixed("binary(16)", "uuid", st.uuids().map(str), *oracle.UUIDS, marker="uuid"),
    ]


def contents(marker: str) -> tuple[st.SearchStrategy[bytes], tuple[bytes, ...]]:
    """Bytes for a column, and edges of them; an attachment begins with the name of a file."""
    before = b"a file\0" if marker == "<attach>" else b""
    edges = tuple(before + value for value in oracle.BYTES if len(value) < 99)
    return st.binary(max_size=20).map(lambda value: before + value), edges


def _postgresql_cases(local: str) -> list[st.SearchStrategy[Case]]:
    alike = local == "postgresql"

    def typed(case: Case, sql: str, marker: str = "") -> st.SearchStrategy[Case]:
        return st.just(Case(Type(sql, case.type.family, (), marker), case.values, case.edges))

    inside = characters(nul=False)
    odd = ("infinity", "-infinity", "0044-03-15 BC", "12345-01-01")
    texts_ = texts(12, inside)
    digits = st.integers(1, 200 if alike else 65)
    json_values = documents("postgresql")
    return [
        *(
            typed(integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), name)
            for name, bits in {"smallint": 16, "integer": 32, "bigint": 64}.items()
        ),
        typed(integers(-128, 127), "smallint", "int8"),
        fixed("boolean", "bool", st.sampled_from([0, 1]), 0, 1, marker="bool"),
        fixed("boolean", "bool", st.sampled_from([0, 1]), 0, 1),
        fixed("real", "float", st.floats(width=32), *oracle.FLOAT32, marker="float32", bits=32),
        fixed("double precision", "float", st.floats(), *oracle.FLOAT64, marker="float64"),
        digits.flatmap(
            lambda digits: st.integers(-5 if alike else 0, digits if alike else min(digits, 30)).map(
                lambda scale: decimals("numeric", digits, scale, f"decimal({digits},{scale})" if scale >= 0 else "")
            )
        ),
        *(
            [fixed("numeric", "decimal", st.decimals(allow_infinity=False, allow_nan=False), Decimal("1E-99"))]
            if alike
            else []
        ),
        fixed("numeric(5,2)", "decimal", st.integers(-99999, 99999).map(lambda n: Decimal(n) / 100), Decimal("NaN")),
        sized(lambda n: Case(Type(f"character({n})", "text", ()), texts(n, inside), short(n)), SIZES),
        *(
            sized(lambda n: Case(Type(f"character varying({n})", "text", ()), texts(n, inside), short(n)), SIZES)
            for _ in range(3)
        ),
        st.just(Case(Type("character varying", "text", ()), texts_, TEXTS, defaults=False)),
        st.just(Case(Type("text", "text", ()), texts_, TEXTS, defaults=False)),
        labels(True, alike).map(
            lambda found: Case(
                Type(f"{{schema}}.{enum_name(found)}", "text", (), "enum", labels=found), st.sampled_from(found)
            )
        ),
        fixed("date", "date", days(), *oracle._DATES, "0001-01-01", *odd, marker="date"),
        *(
            sized(
                lambda n, words=words, family=family, values=values, edges=edges: Case(
                    Type(f"{words}({n})", family, ()), values(n), edges
                ),
                PLACES,
            )
            for words, family, values, edges in (
                ("time", "time", hours, ("00:00:00", "24:00:00", "23:59:59")),
                ("timestamp", "datetime", moments, ("0001-01-01 00:00:00", "9999-12-31 23:59:59", *odd)),
                (
                    "timestamptz",
                    "timestamp",
                    lambda n: instants(n) | moments(n),
                    (*oracle.INSTANTS, "1970-01-01 00:00:00", "2038-01-19 03:14:08", "infinity"),
                ),
            )
        ),
        fixed("jsonb", "json", json_values.filter(lambda t: "\\u0000" not in t), *_jsonb_edges(), marker="json"),
        fixed("json", "json", json_values, *json_edges("postgresql"), '"\\ud800"'),
        *(
            st.just(Case(Type("bytea", "bytes", (), marker), *contents(marker)))
            for marker in ("bytes", "<blob>", "<attach>", "<not_installed>")
        ),
        fixed("uuid", "uuid", st.uuids().map(str), *oracle.UUIDS, marker="uuid"),
        fixed("uuid", "uuid", st.uuids().map(str), *oracle.UUIDS),
    ]


def _jsonb_edges() -> tuple[str, ...]:
    return tuple(text for text in json_edges("postgresql") if "\\u0000" not in text)


def enum_name(found: Sequence[str]) -> str:
    """The name of an enum's type at the source."""
    return f"mood_{hashlib.sha256(repr(found).encode()).hexdigest()[:8]}"


# pipelines


def in_key(case: Case, local: str) -> bool:
    """Whether both servers can have it in a key."""
    sql = case.type.sql
    if case.type.family == "json" or sql.startswith(("tinytext", "text", "medium", "long", "tinyblob", "blob")):
        return sql.startswith("mediumint")
    # DataJoint refuses keys of bytes.
    return sql != "bytea" and (local == "postgresql" or sql not in ("text", "character varying"))


def default_of(kind: str, column: Type, value: Any) -> str | None:
    """A value as a default that every server can have and show; None where there are such that cannot."""
    if value is None or column.family == "json" or (column.sql == "year" and value == 0):
        return None
    if column.family == "text":
        # MariaDB does not tell characters of four bytes in defaults.
        told = kind != "mariadb" or max(value, default="") <= "\uffff"
        return oracle.string(kind, value) if told and "\0" not in value else None
    if column.family == "float":
        # Servers show defaults with six digits.
        return f"'{value!r}'" if float(f"{value:.6g}") == value and 1e-30 < abs(value) < 1e30 else None
    if column.family in ("integer", "decimal", "date", "time", "datetime", "timestamp", "bool"):
        return oracle.literal(kind, column, value)
    return (
        oracle.literal(kind, column, value) if column.sql.startswith(("varbinary", "uuid", "bytea", "binary")) else None
    )


@st.composite
def columns(draw: Draw[Any], kind: str, local: str, chance: Random, case: Case, key: bool = False) -> Column:
    """A column of a type, and values for it."""

    def odd(value: Any) -> bool:
        return oracle.refusal(kind, local, case.type, value) is not None

    edges = chance.sample(case.edges, min(EDGES, len(case.edges)))
    values = [*edges, *draw(st.lists(case.values, min_size=2, max_size=DRAWN))]
    held = [v for v in values if not odd(v)] or [draw(case.values.filter(lambda v: not odd(v)))]
    required = key or chance.random() < 0.5
    default = default_of(kind, case.type, chance.choice(held)) if case.defaults and chance.random() < 0.5 else None
    return Column(
        case.type,
        (*held, *([] if required else [None])),
        tuple(v for v in values if odd(v)),
        required,
        None if key else default,
        draw(COMMENTS),
    )


#: Of characters that MySQL's own tables can hold.
COMMENTS = st.text(st.characters(codec="utf-8", exclude_characters="\0:", max_codepoint=0xFFFF), max_size=8)


@st.composite
def pipelines(draw: Draw[Any], kind: str, local: str) -> Pipeline:
    """A source table with attributes of every type, some of them in parts."""
    chance: Random = draw(st.randoms(use_true_random=True))
    known: list[Case] = [draw(strategy) for strategy in cases(kind, local)]
    chance.shuffle(known)
    titles = chance.sample(NAMES, len(NAMES))
    names = (f"{title}{n}" for n, title in enumerate(itertools.cycle(titles)))
    keys = chance.sample([c for c in known if in_key(c, local)], chance.randrange(4))
    key = [
        # DataJoint itself cannot delete by a key with quotes or percent signs in its names.
        (re.sub(r"[%`\"]", "", next(names)), draw(columns(kind, local, chance, case, key=True)))
        for case in keys
    ]
    key.insert(chance.randint(0, len(key)), ("n", NUMBER))
    others = [(next(names), draw(columns(kind, local, chance, case))) for case in known]
    parts: list[dict[str, Column]] = [{} for _ in range(chance.randrange(3))]
    for part in parts:
        for _ in range(chance.randint(0, 6)):
            part |= [others.pop()]
    master = [*key, *others]
    chance.shuffle(master)
    refused = [(0, name, value) for name, column in master for value in column.refused]
    refused += [(n, name, v) for n, part in enumerate(parts, 1) for name, c in part.items() for v in c.refused]
    chance.shuffle(refused)
    return Pipeline(
        tuple(name for name, _ in key),
        dict(master),
        tuple(parts),
        draw(COMMENTS),
        chance.choice([3, 7, 1000]),
        tuple(refused[:REFUSED]),
    )


NUMBER = Column(oracle.INTEGER, (), (), True)


# checking


def rows_of(given: Pipeline) -> list[list[dict[str, Any]]]:
    """The rows of the master and of each part; the column `n` counts entities, `i` rows of a part."""
    tables: list[list[dict[str, Any]]] = [[] for _ in range(1 + len(given.parts))]
    odd: Sequence[tuple[int, str, Any] | None] = [*[None] * (ENTITIES - len(given.refused)), *given.refused]
    for n, refused in enumerate(sorted(odd, key=lambda item: zlib.crc32(repr(item).encode()) % 97)):
        row = {name: held(column, n) for name, column in given.columns.items()} | {"n": n}
        key = {name: row[name] for name in given.key}
        tables[0].append(row)
        for t, part in enumerate(given.parts, 1):
            for i in range((n + t) % 3 or (refused is not None and refused[0] == t)):
                tables[t].append(key | {name: held(column, 2 * n + i) for name, column in part.items()} | {"i": i})
        if refused:
            t, name, value = refused
            tables[t][-1][name] = value
            if name in key:
                for table in tables[1:]:
                    for inherited in table:
                        if inherited["n"] == n:
                            inherited[name] = value
    return tables


def held(column: Column, n: int) -> Any:
    return column.held[n % len(column.held)] if column.held else None


class Checked:
    """One example on real servers; failures are collected, for one does not hide another."""

    def __init__(self, lab: Lab, name: str, given: Pipeline) -> None:
        self.lab, self.name, self.given = lab, name, given
        self.source = lab.source_server, lab.source_schema
        self.local = lab.local_server, lab.local_schema
        self.failures: list[str] = []
        master = given.columns
        key = {name: master[name] for name in given.key}
        self.tables = {
            name.lower(): master,
            **{f"{name.lower()}__part{n}": key | {"i": NUMBER} | part for n, part in enumerate(given.parts)},
        }
        self.types = {name: {k: c.type for k, c in table.items()} for name, table in self.tables.items()}
        self.rows = rows_of(given)
        self.values = sum(len(row) for table in self.rows for row in table)

    def check(self) -> list[str]:
        self.declare()
        self.lab.helper_table = f"helper_{self.name.lower()}"
        self.lab.grant(self.name.lower())
        Thing: Any = linked(self.lab, self.name, backend=self.lab.source_server.backend)
        result = Thing().source.pull(suppress_errors=True)
        self.result = result
        shared = self.check_rows(result)
        self.check_ends(Thing, shared)
        self.check_declarations()
        self.check_defaults(shared)
        self.check_deletion(Thing)
        return self.failures

    def fail(self, condition: bool, text: str) -> None:
        if condition:
            self.failures.append(text)

    def declare(self) -> None:
        for master, (table, columns) in enumerate(self.tables.items()):
            for column in columns.values():
                self.declare_enum(column.type)
            oracle.create(
                *(*self.source, table, self.types[table], [*self.given.key, *["i"] * (master > 0)]),
                self.name.lower() if master else "",
                required=[name for name, c in columns.items() if c.required],
                defaults={name: c.default for name, c in columns.items() if c.default is not None},
                comments={name: c.comment for name, c in columns.items()},
                comment=self.given.comment,
            )
        for (table, types), rows in zip(self.types.items(), self.rows, strict=True):
            oracle.insert(*self.source, table, types, ([row[name] for name in types] for row in rows))

    def declare_enum(self, column: Type) -> None:
        if self.lab.kind == "postgresql" and column.labels:
            name, labels = (
                column.sql.format(schema=self.lab.source_schema),
                ", ".join(oracle.string("postgresql", label) for label in column.labels),
            )
            oracle.run(
                self.lab.source_server,
                f"DO $do$ BEGIN CREATE TYPE {name} AS ENUM ({labels}); "
                "EXCEPTION WHEN duplicate_object THEN NULL; END $do$",
            )

    def check_rows(self, result: Any) -> set[int]:
        """The same rows are on both servers, but for those that the local server cannot hold."""
        # A row may have several values of which each would be refused: one of them is named.
        expected: dict[int, dict[str, str]] = {}
        for (table, types), rows in zip(self.types.items(), self.rows, strict=True):
            for row in rows:
                for name, column in types.items():
                    if reason := oracle.refusal(self.lab.kind, self.lab.local_kind, column, row[name]):
                        expected.setdefault(row["n"], {})[name] = f"{table} {column.sql} {row[name]!r}: {reason}"
        refused = {key["n"]: f"{error}" for key, error in result.errors}
        for n, text in refused.items():
            self.fail(n not in expected, f"wrongly refused {n}: {text}")
            self.fail(f"'n': {n}" not in text or self.name.lower() not in text, f"does not say which: {text}")
            # MySQL does not say which document is too deep.
            reasons = expected.get(n, {}).items()
            named = any(name in text or repr(name)[1:-1] in text or "deep" in reason for name, reason in reasons)
            self.fail(not named, f"names none of {[*expected.get(n, {})]}: {text}")
        for n, all_reasons in expected.items():
            self.fail(n not in refused, f"not refused {n}: {all_reasons}")
        for table, types in self.types.items():
            place, count = list(types).index("n"), list(types).index("i") if "i" in types else None

            def by_key(rows: list[Any], place: int = place, count: int | None = count) -> dict[Any, Any]:
                return {(row[place], row[count] if count is not None else 0): row for row in rows}

            there, here = (by_key(oracle.read(*end, table, types)) for end in (self.source, self.local))
            wanted = {key for key in there if key[0] not in expected}
            self.fail(here.keys() != wanted, f"{table}: rows {sorted(here.keys() ^ wanted)} are missing or too many")
            for key in here.keys() & there.keys():
                for (name, column), new, old in zip(types.items(), here[key], there[key], strict=True):
                    right = oracle.stored(self.lab.local_kind, column, old)
                    self.fail(new != right, f"{table}.{name} {column.sql}, row {key}: {new!r} instead of {right!r}")
        return {row["n"] for row in self.rows[0]} - expected.keys()

    def check_ends(self, linked_class: Any, shared: set[int]) -> None:
        """The states, the holds, and what the package itself says of both ends."""
        lab = self.lab
        held = count_held(lab)
        self.fail(held != len(shared), f"{held} are held instead of {len(shared)}")
        states = {state: n for state, n in linked_class().source.status().items() if n}
        wanted = {"Shared": len(shared), "Unshared": ENTITIES - len(shared)}
        self.fail(states != {state: n for state, n in wanted.items() if n}, f"{states} instead of {wanted}")
        with Run(linked_class._link.open()) as run:
            keys, both = Segment(run.rows).keys(run.local, 1000), Comparison(run)
            self.fail(len(keys) != len(shared), f"{len(keys)} keys instead of {len(shared)}")
            self.fail(both.present(keys) != set(keys), f"not found again: {set(keys) - both.present(keys)}")
            different = both.differing(keys)
            self.fail(bool(different), f"said to differ: {different}")
        again = linked_class().source.pull(suppress_errors=True)
        self.fail((again.pulled, again.shared) != (0, len(shared)), f"pulled again: {again}")

    def check_declarations(self) -> None:
        """Keys, nullability, comments with markers; a row of defaults is the same at both ends."""
        for table, columns in self.tables.items():
            there, here = (oracle.declaration(*end, table) for end in (self.source, self.local))
            self.fail(here.comment != there.comment, f"{table}: {here.comment!r} instead of {there.comment!r}")
            self.fail(here.key != there.key, f"{table}: key {here.key} instead of {there.key}")
            self.fail(list(here.columns) != list(there.columns), f"{table}: {here.columns} instead of {there.columns}")
            for name, (null, comment) in there.columns.items():
                column = columns[name].type
                wanted = null, f":{column.family}:{comment}" if self.is_marked(column) else comment
                found = here.columns.get(name)
                self.fail(found != wanted, f"{table}.{name}: {found!r} instead of {wanted!r}")

    def is_marked(self, column: Type) -> bool:
        """Whether it gets a marker on its way: its type says what it is, and there none would."""
        if column.marker:
            return False
        if column.family == "json":
            return self.lab.local_kind == "mariadb"
        return column.family in ("bool", "uuid") and self.lab.kind != self.lab.local_kind

    def check_defaults(self, shared: set[int]) -> None:
        """A row in which nothing is given that has a default."""
        table, columns = next(iter(self.tables.items()))
        given = [name for name, c in columns.items() if c.default is None and name != "n"]
        read = []
        for server, schema in (self.source, self.local):
            name, names = oracle.quote(server.kind, schema, table), [oracle.quote(server.kind, g) for g in given]
            listed = "".join(f", {quoted}" for quoted in names)
            oracle.run(server, f"INSERT INTO {name} (n{listed}) SELECT -1{listed} FROM {name} WHERE n = {min(shared)}")
            place = list(columns).index("n")
            read += [next(r for r in oracle.read(server, schema, table, self.types[table]) if r[place] == -1)]
        for (name, column), old, new in zip(columns.items(), *read, strict=True):
            if column.default is not None:
                self.fail(old != new, f"{name} {column.type.sql} DEFAULT {column.default}: {new!r} instead of {old!r}")

    def check_deletion(self, linked_class: Any) -> None:
        """Everything goes, whatever is in the keys."""
        linked_class.delete(prompt=False)
        left = [table for table in self.types if oracle.read(*self.local, table, {"n": oracle.INTEGER})]
        self.fail(bool(left), f"rows are left in {left}")
        self.fail(count_held(self.lab) > 0, f"{count_held(self.lab)} are still held")


@pytest.mark.timeout(7200 if SOAK else 300)
def test_pipelines_arrive(mixed: Lab, figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, numbers = mixed, itertools.count()

    @PROFILE
    @given(pipelines(lab.kind, lab.local_kind))
    def arrives(example: Pipeline) -> None:
        monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", example.chunk_rows)
        monkeypatch.setattr(claims, "CHUNK_ROWS", example.chunk_rows)
        checked = Checked(lab, f"Thing{next(numbers)}", example)
        assert checked.check() == []
        figures.add("values compared", f"{lab.kind} to {lab.local_kind}", checked.values)

    arrives()


# what was found


def found(lab: Lab, sql: str, family: str, *values: Any, default: str | None = None, **more: Any) -> Column:
    """A column with just these values."""
    column = Type(sql, family, (), **more)
    odd = [oracle.refusal(lab.kind, lab.local_kind, column, value) for value in values]
    return Column(
        column,
        tuple(v for v, reason in zip(values, odd, strict=True) if not reason),
        tuple(v for v, reason in zip(values, odd, strict=True) if reason),
        required=True,
        default=default,
    )


def found_at_mysql(lab: Lab) -> dict[str, Column]:
    brain = r"'🧠 ?\\'''"
    labels = ("? DEFAULT 'no'", "?")
    columns = {
        # What is stored is not -0.159, nor is it what is printed.
        "fixed": found(lab, "double(10,3)", "float", 1.5, -0.15884115884115887),
        # Keys that PostgreSQL cannot even be asked for.
        "at": found(lab, "datetime", "datetime", "2020-01-01 00:00:00", "0000-00-00 00:00:00"),
        # The catalogue shows none of these defaults as they are, or puts something into their way.
        "raw": found(lab, "varbinary(9)", "bytes", b"", default="x'0061ff2700'"),
        "id": found(lab, "binary(16)", "uuid", *oracle.UUIDS, default=f"x'00ff{'6b' * 13}00'", marker="uuid"),
        "midnight": found(lab, "time", "time", "01:00:00", default="'24:00:00'"),
        "label": found(lab, oracle.mysql_enum(labels), "text", "?", default="'?'", labels=labels),
        "text": found(lab, "varchar(9)", "text", "a", "nul\0", default="'what?'"),
    }
    if lab.kind == "mysql":
        columns["brain"] = found(lab, "varchar(9)", "text", "", default=brain)
        columns["wide"] = found(lab, "varchar(9) CHARACTER SET utf16", "text", "", default=brain)
    else:
        columns["json"] = found(lab, "json", "json", "0.1", *ROUNDED, "1e131072", "1e-16384")
    return columns


def found_at_postgresql(lab: Lab) -> dict[str, Column]:
    held_but_not_looked_into = r'["\u0000", 0.1234567890123456]'
    return {
        # Keys that MySQL and MariaDB cannot even be asked for.
        "fixed": found(lab, "double precision", "float", 1.5, float("nan"), float("-inf")),
        "at": found(lab, "timestamp(6)", "datetime", "2020-01-01 00:00:00", "infinity", "0044-03-15 10:00:00 BC"),
        "json": found(lab, "json", "json", "0.1", *ROUNDED, r'"\ud800"', held_but_not_looked_into),
        "jsonb": found(lab, "jsonb", "json", "0.1", "1e400", "3e-324", "[9007199254740993e1]"),
    }


def test_what_was_found(mixed: Lab) -> None:
    """What random pipelines have shown to go wrong, once."""
    columns = found_at_postgresql(mixed) if mixed.kind == "postgresql" else found_at_mysql(mixed)
    refused = tuple((0, name, value) for name, column in columns.items() for value in column.refused)
    example = Pipeline(("fixed", "n", "at"), columns | {"n": NUMBER}, (), "", 7, refused)
    assert Checked(mixed, "Thing", example).check() == []


def test_comments_that_mysql_cannot_hold(mixed: Lab) -> None:
    """They are cut."""
    lab = mixed
    if lab.kind != "postgresql":
        pytest.skip("MySQL and MariaDB have no such comments")
    columns = {"k": oracle.INTEGER, "v": oracle.INTEGER}
    oracle.create(
        *(lab.source_server, lab.source_schema, "thing", columns, ["k"]), comments={"v": "v" * 1500}, comment="t" * 2500
    )
    lab.grant("thing")
    assert linked(lab, "Thing", backend="postgresql").source.pull().pulled == 0
    here = oracle.declaration(lab.local_server, lab.local_schema, "thing")
    kept = (2000, 2500) if lab.local_kind == "postgresql" else (1024, 2048)
    assert (here.columns["v"][1], here.comment) == ((":int32:" + "v" * 1500)[: kept[0]], "t" * kept[1])
