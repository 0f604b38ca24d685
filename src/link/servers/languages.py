"""How rows are written for a destination: VALUES of MySQL and MariaDB, lines of COPY for PostgreSQL. Pure bytes.

Sources render rows by themselves. What is in here does the rest: values that a source sends raw, beside the row that
has a NUL in the place of each, and hexadecimal of which a packet could not hold all.
"""

from __future__ import annotations

import base64
import functools
import itertools
import re
from collections.abc import Callable, Sequence

from ..model.schema import Column
from . import mysql_texts, mysql_types
from .dialect import linkable_kind
from .session import Form

#: Begins what is no text to PostgreSQL, and says why in what follows.
REFUSED = b"\xff\x01"
_LONG_LITERAL = 1_000_000
_LONG_ROW = 65_536
#: Within text literals every quote has a backslash before it, so this is a literal of its own.
_HEXADECIMAL = re.compile(rb"(?<=[(,])x'([0-9a-f]*)'")


def literal(value: bytes) -> bytes:
    """A string literal; nothing but backslash and quote needs an escape."""
    escaped = value.replace(b"\\", b"\\\\").replace(b"'", b"\\'")
    # Escapes may double a long value, which then takes more than a packet; in base64 it takes a third more.
    if len(escaped) > _LONG_LITERAL and 3 * len(escaped) > 4 * len(value):
        return b"FROM_BASE64('" + base64.b64encode(value) + b"')"
    return b"'" + escaped + b"'"


def text_literal(value: bytes) -> bytes:
    """A literal for a text in UTF-8."""
    written = literal(value)
    return written if written[:1] == b"'" else b"CONVERT(" + written + b" USING utf8mb4)"


def text_as_stored(value: bytes) -> bytes:
    """A literal for the bytes of a text, in the character set of the column that takes it."""
    written = literal(value)
    return b"_binary" + written if written[:1] == b"'" else written


def exact_json(column: str, value: bytes) -> bytes:
    """A literal for JSON, or what MySQL refuses instead of rounding its numbers."""
    return mysql_types.rounded_json(column).encode() if mysql_types.rounds(value) else text_literal(value)


def unhexed(row: bytes) -> bytes:
    """A VALUES tuple; of a long one the bytes are no hexadecimal any more, which takes twice their size."""
    return _HEXADECIMAL.sub(_unhexed, row) if len(row) > _LONG_ROW else row


def _unhexed(match: re.Match[bytes]) -> bytes:
    return literal(bytes.fromhex(match[1].decode()))


def copied_bytes(value: bytes) -> bytes:
    """Bytes in a line of COPY."""
    return b"\\\\x" + value.hex().encode()


def copied_text(value: bytes) -> bytes:
    """Text in a line of COPY."""
    escaped = value.replace(b"\\", b"\\\\").replace(b"\t", b"\\t")
    return escaped.replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def is_text(column: Column) -> bool:
    """Whether a raw value of a column is text in UTF-8."""
    return linkable_kind(column).name in ("text", "json")


def travels_as_bytes(column: Column) -> bool:
    """Whether the text of a column, if it is raw, is in its own character set, which the destination has as well."""
    return column.as_stored and not mysql_texts.is_exact(column)


def writer(column: Column, form: Form) -> Callable[[bytes], bytes]:
    """What writes raw values of a column in a form."""
    if form.language == "values":
        if linkable_kind(column).name == "json" and not form.exact_json:
            return functools.partial(exact_json, column.name)
        if travels_as_bytes(column):
            return text_as_stored
        return text_literal if is_text(column) else literal
    return copied_bytes if column.kind and column.kind.name == "bytes" else copied_text


def interleaved(
    row: tuple[bytes | None, ...], writers: Sequence[Callable[[bytes], bytes]], places: Sequence[int], form: Form
) -> bytes | None:
    """Put raw columns into the places that the rendered row keeps for those that are not NULL, each marked by a NUL.

    None where there was more than the source could render. Which columns of the table are raw say their ``places``.
    """
    if row[0] is None:
        return None
    pieces = row[0].split(b"\0")
    written = [None if value is None else write(value) for value, write in zip(row[1:], writers, strict=True)]
    values = [value for value in written if value is not None]
    if len(pieces) == len(values) + 1:
        return b"".join(itertools.chain.from_iterable(itertools.zip_longest(pieces, values, fillvalue=b"")))
    if form.language != "copy":
        return None  # a value was too long
    # A NUL in a line of COPY may be one of a text, which PostgreSQL refuses: then it is the only one to be found.
    fields = row[0].split(b"\t")
    for place, value in zip(places, written, strict=True):
        if value is not None:
            fields[place] = value
    return b"\t".join(fields)
