"""What who checks types, and an editor, cannot see of DataJoint's tables: it says no types.

Little of this is there when a program runs. A class of a table has most of what a table has: DataJoint makes a table
then, of which that is asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import datajoint as dj

from .host import Heading, TableMeta

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class Method(Generic[P, R_co]):
    """A method that a class of a table has as well as its instances: a table is made then, of which it is."""

    def __init__(self, method: Callable[Concatenate[Any, P], R_co]) -> None:
        named: Any = self
        functools.update_wrapper(named, method)
        self._method: Any = method

    def __get__(self, instance: object, owner: Any = None, /) -> Callable[P, R_co]:
        return cast(Callable[P, R_co], self._method.__get__(owner() if instance is None else instance))


def of_classes(method: Callable[Concatenate[Any, P], R]) -> Method[P, R]:
    """Let a method be one of the class as well, as DataJoint makes those of its own names."""
    as_declared: Any = method
    return cast(Method[P, R], as_declared)


class TypedMeta(TableMeta):
    """What is done with a class of a table as with a table."""

    if TYPE_CHECKING:

        def __and__(cls: type[T], restriction: Any) -> T: ...
        def __sub__(cls: type[T], restriction: Any) -> T: ...
        def __mul__(cls, other: Any) -> Any: ...
        def __add__(cls, other: Any) -> Any: ...
        def __neg__(cls) -> Any: ...


class Typed:
    """A table of DataJoint's, or a query."""

    if TYPE_CHECKING:
        table_name: str
        full_table_name: str
        connection: dj.Connection
        heading: Heading
        primary_key: list[str]

        def __and__(self: T, restriction: Any) -> T: ...
        def __sub__(self: T, restriction: Any) -> T: ...
        def __mul__(self, other: Any) -> Any: ...
        def __len__(self) -> int: ...
        def _repr_html_(self) -> str: ...

        proj: Method[..., Any]
        extend: Method[..., Any]
        keys: Method[..., list[dict[str, Any]]]
        fetch: Method[..., Any]
        fetch1: Method[..., Any]
        head: Method[..., Any]
        tail: Method[..., Any]
        to_dicts: Method[..., list[dict[str, Any]]]
        to_arrays: Method[..., Any]
        to_arrow: Method[..., Any]
        to_pandas: Method[..., Any]
        to_polars: Method[..., Any]
        describe: Method[..., str]
        parents: Method[..., list[Any]]
        children: Method[..., list[Any]]
        ancestors: Method[..., list[Any]]
        descendants: Method[..., list[Any]]
        parts: Method[..., list[Any]]
        populate: Method[..., Any]
        progress: Method[..., Any]
        insert1: Method[..., None]
        insert_dataframe: Method[..., None]
        staged_insert1: Any
        validate: Method[..., Any]
