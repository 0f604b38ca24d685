"""What the body of a class says that is decorated: its parts, what is used of it, and what help tells of it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable
from typing import Any

import datajoint as dj

from . import host
from .config import LinkSpec
from .errors import ConfigError


def require_table_class(cls: object, decorator: str) -> None:
    """Raise ConfigError for what cannot be decorated."""
    if not isinstance(cls, type) or not host.is_camel_case(cls.__name__):
        raise ConfigError(
            f"{decorator} decorates a class whose name is the source table's in CamelCase, not {cls!r}.",
            "For example: class Unit: pass",
        )


def parts_named(cls: type) -> frozenset[str]:
    """The part classes that the body of a class names."""
    return frozenset(n for n, v in vars(cls).items() if isinstance(v, type) and issubclass(v, dj.Part))


def tell_of_unused(cls: type, parts: frozenset[str]) -> None:
    """Say once what the body of a class, as it was pasted perhaps, has for nothing."""
    body = vars(cls)
    unused = [name for name in ("definition", "contents", "make", "key_source") if name in body]
    unused += [f"{name}.definition" for name in sorted(parts) if "definition" in vars(body[name])]
    unused += [
        f"the base dj.{base.__name__}" for base in cls.__bases__ if base in (dj.Computed, dj.Imported, dj.Lookup)
    ]
    if unused:
        warnings.warn(
            f"@link does not use {', '.join(unused)} of the class {cls.__name__}: the local table is declared as the "
            f"source's is, and its rows come by {cls.__name__}.source.pull(). Leave them out; what is computed here "
            f"goes into a class of its own that refers to this one (-> {cls.__name__}).",
            stacklevel=3,
        )


def documented(cls: type, spec: LinkSpec) -> str:
    """What help and ``Table?`` say of a linked class."""
    name, own = spec.class_name, inspect.cleandoc(cls.__doc__ or "")
    return (
        own
        + "\n\n" * bool(own)
        + (
            f"Linked to {spec.source_schema}.{spec.source_class} at {spec.address.host}.\n\n"
            f"    {name}.source                 what the source has: a query there\n"
            f"    ({name}.source & ...).pull()  copy rows, with their parts, and hold them at the source\n"
            f"    {name}()                      what is here: an ordinary DataJoint table\n"
            f"    ({name} & ...).delete()       delete here, and release at the source\n"
            f"    {name}.source.status()        how many entities are in which state\n"
            f"    help({name}.source)           verify, refresh, repair, flagged, release"
        )
    )


def rebind(values: Iterable[Any], cls: type, made: type) -> None:
    """Let ``super()`` and ``__class__``, in methods that were written in one class, mean another."""
    for value in values:
        for function in (value, *(getattr(value, name, None) for name in ("__func__", "fget", "fset", "fdel"))):
            code = getattr(function, "__code__", None)
            for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True) if code else ():
                if name == "__class__" and cell.cell_contents is cls:
                    cell.cell_contents = made
