"""Values of keys, and how DataJoint has them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from .ranges import Key
from .schema import Column

#: Before the bytes, in hexadecimal, of a text that UTF-8 cannot tell from others. It begins with what is no character.
MARK = "\uffffbytes:"


#: Of kinds that travel as something else, what DataJoint has of them.
_CONVERT: dict[str, Callable[[Any], Any]] = {"uuid": UUID, "bytes": bytes.fromhex, "bool": bool}


class TextBytes(bytes):
    """The bytes of such a text, as DataJoint is given them: it writes what is no text into its conditions as it is."""

    def __str__(self) -> str:
        return f"0x{self.hex()}"


def marked(value: object) -> str | None:
    """The bytes, in hexadecimal, for which a text in a key stands; None for one that is just itself."""
    return value[len(MARK) :] if isinstance(value, str) and value.startswith(MARK) else None


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


def as_datajoint(column: Column, value: Any) -> Any:
    """A value of a key as DataJoint writes it."""
    name = column.kind.name if column.kind else ""
    if (code := marked(value)) is not None:
        return TextBytes.fromhex(code)
    return _CONVERT[name](value) if name in _CONVERT else value
