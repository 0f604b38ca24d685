"""What DataJoint 2.3 cannot do with values of some types, mended in DataJoint itself.

On PostgreSQL it can neither read nor insert nor restrict by a ``uuid``, reads neither an ``<attach>`` in the table nor
JSON that is a text, and finds no row by a text with a backslash or by a ``real``; on no server does it restrict by
bytes, on MySQL not by a ``time``. Rows that are pulled have such keys, and so have their parts, joins and the lab's own
tables below them, all of which are DataJoint's: therefore it is mended there, and not in tables of ours. Nothing is
touched but what ends in an error or in the wrong rows, and what a later DataJoint does right is left to it.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import datajoint as dj
import numpy as np
from datajoint import codecs, condition, expression, jobs
from datajoint import table as tables
from datajoint.adapters import postgres
from datajoint.builtin_codecs import AttachCodec

#: A uuid in a condition of DataJoint's: to MySQL bytes, but to PostgreSQL bits.
_BITS = re.compile(r"""("(?:[^"]|"")+")=X'([0-9a-f]{32})'""")
#: PostgreSQL's types of JSON, by number.
_JSON_TYPES = (3802, 114)


def mend() -> None:
    """Mend DataJoint in this process."""
    functions = {
        "make_condition": _condition(condition.make_condition),
        "decode_attribute": _decoding(codecs.decode_attribute),
    }
    for module in (codecs, condition, expression, jobs, tables):  # each that uses one has it under its own name
        for name in functions.keys() & vars(module).keys():
            setattr(module, name, functions[name])
    AttachCodec.decode = _attachment(AttachCodec.decode)  # type: ignore[method-assign]
    inserting = "_Table__make_placeholder"
    setattr(dj.Table, inserting, _placeholder(getattr(dj.Table, inserting)))


def _is_postgresql(connection: Any) -> bool:
    return isinstance(connection.adapter, postgres.PostgreSQLAdapter)


# reading


def _decoding(decode: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(decode)
    def mended(attr: Any, data: Any, squeeze: bool = False, connection: Any = None) -> Any:
        if isinstance(data, (str, UUID)) and connection is not None and _is_postgresql(connection):
            # DataJoint does not mark what a table inherits, so that it would be a text there.
            if attr.uuid or (attr.type == "uuid" and attr.lineage):
                return UUID(str(data))
            if attr.json and not attr.codec and _is_read(connection):
                return data
        return decode(attr, data, squeeze, connection)

    return mended


def _is_read(connection: Any) -> bool:
    """Whether the driver has read JSON already: what it gives as a text is one, and need not look like JSON."""
    driver: Any = postgres
    own, common = connection._conn.string_types, driver.client.extensions.string_types
    readers = [own.get(number) or common.get(number) for number in _JSON_TYPES]
    return all(reader and reader('""', None) == "" for reader in readers)


def _attachment(decode: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(decode)
    def mended(codec: Any, stored: Any, **context: Any) -> Any:
        return decode(codec, bytes(stored), **context)

    return mended


# inserting


def _placeholder(make_placeholder: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make_placeholder)
    def mended(table: Any, *args: Any, **kwargs: Any) -> Any:
        made = make_placeholder(table, *args, **kwargs)
        if made and isinstance(made[2], (bytes, UUID)) and _is_postgresql(table.connection):
            name, placeholder, value = made
            if isinstance(value, UUID):
                return name, placeholder, str(value)
            if table.heading[name].uuid:
                return name, placeholder, str(UUID(bytes=value))
        return made

    return mended


# restricting


class _Literal:
    """A value as it is to be written in a condition: DataJoint asks what is no text for its text."""

    def __init__(self, sql: str) -> None:
        self._sql = sql

    def __str__(self) -> str:
        return self._sql.replace("%", "%%")


def _condition(make_condition: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make_condition)
    def mended(query: Any, restriction: Any, columns: set[str], semantic_check: bool = True) -> Any:
        made = make_condition(query, _written(query, restriction), columns, semantic_check)
        if not isinstance(made, str) or "=X'" not in made or not _is_postgresql(query.connection):
            return made
        attributes = query.heading.attributes

        def with_uuid(match: re.Match[str]) -> str:
            attribute = attributes.get(match[1][1:-1])
            return f"{match[1]}='{UUID(match[2])}'" if attribute and attribute.uuid else match[0]

        return _BITS.sub(with_uuid, made)

    return mended


def _written(query: Any, restriction: Any) -> Any:
    """A restriction with those values as literals that DataJoint does not write as the server reads them."""
    if isinstance(restriction, dj.Not):
        return dj.Not(_written(query, restriction.restriction))
    if isinstance(restriction, np.void) and restriction.dtype.names:
        values = {name: restriction[name] for name in restriction.dtype.names}
    elif isinstance(restriction, Mapping):
        values = dict(restriction)
    else:
        return restriction  # of a list, each comes by itself
    literal = _postgresql_literal if _is_postgresql(query.connection) else _mysql_literal
    attributes = query.heading.attributes
    literals = {}
    for name, value in values.items():
        attribute = attributes.get(name.partition(".")[0])  # what follows is a path into JSON
        if attribute and not attribute.uuid and (sql := literal(attribute, value)) is not None:
            literals[name] = _Literal(sql)
    return values | literals if literals else restriction


def _postgresql_literal(attribute: Any, value: Any) -> str | None:
    if isinstance(value, str) and "\\" in value:
        text = value.replace("\\", "\\\\").replace("'", "''")
        return f"E'{text}'"
    if _is_bytes(value):
        return rf"E'\\x{bytes(value).hex()}'"
    if isinstance(value, (float, np.floating)) and attribute.type in ("real", "double precision"):
        return f"'{float(value)!r}'"  # without a type it takes the column's
    if isinstance(value, (int, np.integer)) and attribute.type == "boolean" and value in (0, 1):
        return str(bool(value))
    if isinstance(value, (UUID, datetime.timedelta)):
        return f"'{value}'"
    return None


def _mysql_literal(attribute: Any, value: Any) -> str | None:
    if _is_bytes(value):
        return f"X'{bytes(value).hex()}'"
    if isinstance(value, datetime.timedelta):
        seconds, micros = divmod(abs(value) // datetime.timedelta(microseconds=1), 1_000_000)
        sign = "-" if value < datetime.timedelta() else ""
        return f"'{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}'"
    if isinstance(value, datetime.datetime) and value.tzinfo and attribute.type.startswith("timestamp"):
        instant = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return f"CONVERT_TZ('{instant}', '+00:00', @@session.time_zone)"
    return None


def _is_bytes(value: Any) -> bool:
    # Not those that say themselves how they are written.
    return type(value) in (bytes, bytearray, memoryview, np.bytes_)
