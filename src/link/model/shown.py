"""How results are shown: as text, as tables of a notebook, and as plain values for JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, NamedTuple

from ..errors import LinkError

#: So many keys are printed.
_SHOWN = 3


class Fact(NamedTuple):
    """One thing that a result says; ``text`` is how it is said in a line, where that is not the word and the value."""

    word: str
    value: str
    text: str | None = None

    def __str__(self) -> str:
        return f"{self.word} {self.value}" if self.text is None else self.text


def as_line(facts: Iterable[Fact]) -> str:
    """Facts in one line."""
    return ", ".join(map(str, facts))


def as_rows(facts: Iterable[Fact]) -> list[tuple[str, str]]:
    """Facts as the rows of a table."""
    return [(fact.word, fact.value) for fact in facts]


def as_table(
    rows: Iterable[Iterable[str]], header: Iterable[str] = (), title: str = "", remarks: Iterable[str] = ()
) -> str:
    """A table as HTML, with its caption, and with remarks below it."""
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    lines = [_row(header, "th")] if (header := list(header)) else []
    lines += [_row(cells, "td") for cells in rows]
    table = f"<table>{caption}{''.join(lines)}</table>"
    return table + "".join(f"<p>{html.escape(remark)}</p>" for remark in remarks)


def _row(cells: Iterable[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def size(number: float) -> str:
    """A number of bytes, as people read it."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}"
        number /= 1000
    return f"{number:,.1f} GB"


def number_of(number: int, one: str, several: str | None = None) -> str:
    """A number of something, as people say it: `several` is the plural, unless that has an s."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def first_of(keys: Sequence[object]) -> str:
    """The first of some keys, in parentheses."""
    more = [f"and {len(keys) - _SHOWN:,} more"] * (len(keys) > _SHOWN)
    return f" ({', '.join([*map(str, keys[:_SHOWN]), *more])})" if keys else ""


def plain(value: Any) -> Any:
    """A value as JSON has it: mappings, lists, numbers, texts, true, false and null.

    What JSON has not becomes text: times as ISO 8601 writes them, bytes in hexadecimal, numbers that are none.
    """
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(plain(name)): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Exception):
        return plain_error(value)
    return str(value)


def plain_error(error: Exception) -> dict[str, str | None]:
    """An error as JSON has it: what it is, what happened, and what to do about it."""
    what, hint = (error.what, error.hint) if isinstance(error, LinkError) else (str(error), None)
    return {"type": type(error).__name__, "what": what, "hint": hint}


def plain_errors(errors: Iterable[tuple[dict[str, Any], Exception]]) -> list[dict[str, Any]]:
    """The errors of single entities, each with its key."""
    return [{"key": plain(key), **plain_error(error)} for key, error in errors]


def _duration(value: timedelta) -> str:
    """As servers write it: hours may be more than 24, and less than none."""
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    minutes, seconds = divmod(value.days * 86_400 + value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06}" if value.microseconds else ""
    return f"{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}"
