"""One text for each Python value, so that two processes with different versions of NumPy can compare what they have.

Imported here and in the environment of DataJoint 0.14 alike: nothing but the standard library and NumPy.
"""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

#: What is told by its text; of each the type counts.
TOLD = (bool, int, str, Decimal, UUID, datetime.datetime, datetime.date, datetime.time, datetime.timedelta)


def canonical(value: Any) -> Any:
    """A value as JSON that tells types, every bit of numbers, and shapes; equal for values that are the same."""
    if value is None:
        return None
    name = type(value).__name__
    if isinstance(value, np.ndarray):
        return [f"{name} {list(value.shape)}", _elements(value)]
    if isinstance(value, np.generic):
        # Their types have other names in other versions.
        return [f"scalar {value.dtype.str}", value.tobytes().hex()]
    if isinstance(value, TOLD):
        return [name, str(value)]
    if isinstance(value, float):
        return [name, value.hex()]
    if isinstance(value, complex):
        return [name, value.real.hex(), value.imag.hex()]
    if isinstance(value, (bytes, bytearray)):
        return [name, bytes(value).hex()]
    if isinstance(value, (set, frozenset)):
        return [name, *sorted(map(canonical, value), key=json.dumps)]
    if isinstance(value, dict):
        return [name, *([canonical(key), canonical(item)] for key, item in value.items())]
    if isinstance(value, (list, tuple)):
        return [name, *map(canonical, value)]
    raise TypeError(f"no text for a {type(value)}")


def _elements(array: Any) -> Any:
    """Of a record array each field, of objects and text each element, of everything else the bytes."""
    if array.dtype.names:
        return [[name, canonical(np.asarray(array[name]))] for name in array.dtype.names]
    if array.dtype.kind in "OU":
        return [canonical(item) for item in array.ravel(order="C").tolist()]
    return [array.dtype.str, array.tobytes("C").hex()]


def as_older(value: Any) -> Any:
    """A value of a type of the database's own as MySQL's driver gives it; PostgreSQL's gives others."""
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    if isinstance(value, datetime.time):
        return datetime.datetime.combine(datetime.date.min, value) - datetime.datetime.min
    return value
