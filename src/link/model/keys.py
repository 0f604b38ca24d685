"""Values of keys, and how DataJoint has them."""

from __future__ import annotations

import datetime
import math
import re
import struct
from collections.abc import Callable, Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any, cast
from uuid import UUID

from .kinds import Kind
from .ranges import Key
from .schema import Column

#: Loses no digit of any server's decimal.
WIDE = Context(prec=1_100_000, Emax=MAX_EMAX, Emin=MIN_EMIN)
#: Before the bytes, in hexadecimal, of a text that UTF-8 cannot tell from others. It begins with what is no character.
MARK = "\uffffbytes:"
_HEX = re.compile("(?:[0-9A-F]{2})+")

#: Of kinds that travel as something else, what DataJoint has of them.
_CONVERT: dict[str, Callable[[Any], Any]] = {"uuid": UUID, "bytes": bytes.fromhex, "bool": bool}


class TextBytes(bytes):
    """The bytes of such a text, as DataJoint is given them: it writes what is no text into its conditions as it is."""

    def __str__(self) -> str:
        return f"0x{self.hex()}"


def marked(value: object) -> str | None:
    """The bytes, in hexadecimal, for which a text in a key stands; None for one that is just itself."""
    # Anybody may have written such a text, with anything behind the mark.
    is_marked = isinstance(value, str) and value.startswith(MARK) and _HEX.fullmatch(value, len(MARK))
    return cast(str, value)[len(MARK) :] if is_marked else None


def folder_key(columns: Sequence[Column], key: Key) -> dict[str, Any]:
    """A key as DataJoint fetches it, from which it makes the folders of objects."""
    return {column.name: _dated(column, value) for column, value in zip(columns, key, strict=True)}


def _dated(column: Column, value: Any) -> Any:
    convert = {"date": datetime.date.fromisoformat, "datetime": datetime.datetime.fromisoformat}
    convert["timestamp"] = convert["datetime"]
    name = column.kind.name if column.kind else ""
    try:
        return convert[name](value) if name in convert else as_datajoint(column, value)
    except ValueError:
        return value  # zero dates, infinity


def as_dict(columns: Sequence[Column], key: Key) -> dict[str, Any]:
    """A key as DataJoint writes it."""
    return {column.name: as_datajoint(column, value) for column, value in zip(columns, key, strict=True)}


def as_dicts(columns: Sequence[Column], keys: Sequence[Key]) -> list[dict[str, Any]]:
    """Many keys as DataJoint writes them; those of numbers alone are not looked at one by one."""
    if all(column.kind and column.kind.name in ("integer", "float", "decimal") for column in columns):
        names = [column.name for column in columns]
        return [dict(zip(names, key, strict=True)) for key in keys]
    return [as_dict(columns, key) for key in keys]


def as_datajoint(column: Column, value: Any) -> Any:
    """A value of a key as DataJoint writes it."""
    name = column.kind.name if column.kind else ""
    if (code := marked(value)) is not None:
        return TextBytes.fromhex(code)
    return _CONVERT[name](value) if name in _CONVERT else value


def as_listed(kind: Kind, value: Any) -> Any:
    """A value as keys have it, of one that a user has; None for one that is of another type than the kind's own."""
    value = value.item() if hasattr(value, "item") else value
    name, given = kind.name, type(value)
    if name in ("integer", "bool", "decimal") and given in (int, bool):
        return int(value)
    if name == "float" and given in (int, float):
        return float(value)
    if (name, given) in (("decimal", Decimal), ("text", str), ("enum", str)):
        return value
    if (name, given) in (("bytes", bytes), ("uuid", UUID)):
        return value.hex if given is UUID else value.hex()
    if name == "date" and given is datetime.date:
        return value.isoformat()
    if name == "datetime" and given is datetime.datetime and value.tzinfo is None:
        return value.isoformat(" ", "microseconds")
    return None


def fits(kind: Kind, value: Any) -> bool:
    """Whether a value of a key, as keys have it, can be in a column of a kind: else nothing there equals it."""
    name, size = kind.name, kind.size
    if name == "bool":
        return bool(value in (0, 1))
    if name in ("integer", "decimal") and (number := Decimal(value)).is_finite():
        if name == "integer":
            return number == int(number) and kind.range[0] <= number <= kind.range[1]
        decimals = -int(number.normalize(WIDE).as_tuple().exponent)
        return size is None or (decimals <= kind.scale and number.adjusted() < size - kind.scale)
    if name == "float" and size == 32 and math.isfinite(value):
        try:
            return bool(struct.unpack("f", struct.pack("f", value))[0] == value)
        except OverflowError:
            return False
    if name == "text":
        return size is None or marked(value) is not None or len(value.rstrip(" ")) <= size
    if name == "enum":
        return value in ("", *kind.labels)
    if name in ("bytes", "uuid"):
        return size is None or len(value) <= 2 * size
    if name in ("time", "datetime", "timestamp") and (fraction := value.partition(".")[2]).isdigit():
        return not fraction[size or 0 :].strip("0")
    return True


def is_day(text: str) -> bool:
    """Whether a text is a day of the calendar."""
    try:
        return bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False
