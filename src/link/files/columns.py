"""The columns of a table whose values name objects in a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from ..host import (
    AttachCodec,
    BlobCodec,
    Codec,
    FilepathCodec,
    HashCodec,
    SchemaCodec,
    is_codec_registered,
    lookup_codec,
    resolve_dtype,
)
from ..model.kinds import Kind, marker, with_marker
from ..model.schema import Column, Table

Addressing = Literal["hash", "schema", "filepath", "other"]
Wanted = Literal["packed", "bytes", "attachment", "file"]


@dataclass(frozen=True)
class FileColumn:
    """A column whose values name objects in a store.

    Attributes
    ----------
    column : Column
        The column.
    codec : Codec
        The codec that the column is declared with.
    addressing : str
        What paths are made of: the content's hash, or schema, table and key, or as the user likes.
    store : str or None
        The store of the declaration, empty for the default one.
    wanted : str or None
        What the codec makes of an object that DataJoint 0.x can have stored; None for what it cannot.
    by_path : bool
        Whether only the whole path tells a file from another: 0.x writes times in seconds, other codecs perhaps none.
    """

    column: Column
    codec: Codec
    addressing: Addressing
    store: str | None
    wanted: Wanted | None = None
    by_path: bool = False

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column.name

    @property
    def declared(self) -> str:
        """How the source has declared it."""
        tracked = self.column.tracked
        return f"{tracked.declared}@{tracked.store or 'default'}" if tracked else marker(self.column.comment)


def file_columns(table: Table) -> tuple[FileColumn, ...]:
    """The columns of a table whose values name objects.

    Raises
    ------
    ConfigError
        A column's codec is not registered in this process.
    """
    found = (_file_column(table, column) for column in table.columns)
    return tuple(column for column in found if column)


def _file_column(table: Table, column: Column) -> FileColumn | None:
    special = marker(column.comment)
    if not special.startswith("<") or column.kind != Kind("json"):
        return None
    name = special.strip("<>").partition("@")[0].strip()
    if not is_codec_registered(name):
        if "@" not in special:
            return None
        raise ConfigError(
            f"The column {table.name}.{column.name} of {table.schema} is declared {special}, and no codec <{name}> is "
            "registered in this process: its files cannot be found.",
            "Import the package that defines the codec before the linked table is used.",
        )
    codec, declared = lookup_codec(special)
    _, chain, store = resolve_dtype(f"<{name}>", store_name=declared)
    addressing, wanted = _addressing(chain, store), _wanted(chain)
    if column.tracked and wanted is None:
        raise ConfigError(
            f"DataJoint 0.x has declared the column {table.name}.{column.name} of {table.schema} in the store "
            f"{column.tracked.store or 'default'!r}, and the codec <{name}> keeps objects in another way.",
            f"Take it for what 0.x has stored: codecs={{{column.name!r}: '<blob>'}}, or '<attach>', or '<filepath>'.",
        )
    if column.tracked:
        store = column.tracked.store
    by_path = addressing == "other" or bool(column.tracked)
    return FileColumn(column, codec, addressing, store, wanted, by_path) if addressing else None


def _wanted(chain: Sequence[Codec]) -> Wanted | None:
    kinds: tuple[tuple[type[Codec], Wanted], ...]
    kinds = ((AttachCodec, "attachment"), (FilepathCodec, "file"), (BlobCodec, "packed"), (HashCodec, "bytes"))
    return next((wanted for kind, wanted in kinds if any(isinstance(codec, kind) for codec in chain)), None)


def _addressing(chain: Sequence[Codec], store: str | None) -> Addressing | None:
    kinds: tuple[tuple[type[Codec], Addressing], ...]
    kinds = ((HashCodec, "hash"), (SchemaCodec, "schema"), (FilepathCodec, "filepath"))
    for kind, addressing in kinds:
        if any(isinstance(codec, kind) for codec in chain):
            return addressing
    if store is not None or any(type(codec).referenced_paths is not Codec.referenced_paths for codec in chain):
        return "other"
    return None


def stores_named(table: Table) -> list[tuple[str, str]]:
    """The stores that columns of a table are declared with, each with the column."""
    return [
        (column.store, f"{table.schema}.{table.name}.{column.name}: {column.declared}")
        for column in file_columns(table)
        if column.store is not None
    ]


def relabelled(table: Table, local_names: Mapping[str, str]) -> Table:
    """A table whose columns are declared with the local stores in place of the source's."""

    def relabel(column: Column) -> Column:
        special = marker(column.comment)
        codec, at, store = special.strip("<>").partition("@")
        if not special.startswith("<") or not at or store.strip() not in local_names:
            return column
        named = f"<{codec}@{local_names[store.strip()]}>"
        return dataclasses.replace(column, comment=with_marker(column.comment, named))

    return dataclasses.replace(table, columns=tuple(map(relabel, table.columns)))
