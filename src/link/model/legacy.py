"""Tables that DataJoint 0.12 to 0.14 declared, as DataJoint 2 would have declared them. Nothing here asks a server.

0.x leaves what its serializer packs without a marker, and keeps of what is in a store 16 bytes beside a foreign key to
the table that has a row for each object. The bytes in tables are the same in 2.x: only declarations differ. How each
type is stored was seen with DataJoint 0.12.9, 0.13.8 and 0.14.6, and is in its ``declare.py`` and ``external.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from .. import host
from ..errors import ConfigError, DefinitionError
from .kinds import Kind, marker, with_marker
from .schema import Column, Content, Group, Table, Tracked, part_class

#: The table of 0.x that has a row for each object in a store; before 0.12 there was one for all stores.
TRACKING = "~external_"
#: What 0.x marks columns in stores with; adapters are marked with their names alone.
_IN_STORE = re.compile(r"(blob|attach|filepath)@(.+)")
#: Characters of a comment that every server takes.
_COMMENT = 1024


@dataclass(frozen=True)
class Modern:
    """A group as DataJoint 2 would have declared it.

    Attributes
    ----------
    group : Group
        Its tables.
    taken : tuple of str
        What was taken for what.
    """

    group: Group
    taken: tuple[str, ...] = ()

    @property
    def tracking(self) -> tuple[Table, ...]:
        """The source's tables in which 0.x tells of the objects that columns name."""
        tracked = (column.tracked for table in self.group.tables for column in table.columns if column.tracked)
        found = dict.fromkeys((each.schema, each.table) for each in tracked)
        return tuple(Table(schema, name, "", (), ()) for schema, name in found)


def modernized(group: Group, codecs: Mapping[str, str], converts: bool = True) -> Modern:
    """What a source's tables are to everything else.

    Parameters
    ----------
    group : Group
        The tables as they are declared.
    codecs : mapping
        What columns are taken for, whatever is declared: ``{"waveform": "bytes", "Spike.trace": "<blob>"}``.
    converts : bool
        Whether they become tables of DataJoint 2. Else bytes mean there what they mean here, whatever they are.

    Raises
    ------
    ConfigError
        ``codecs`` names no column, or one that cannot be taken for it; or a codec that is not registered.
    DefinitionError
        A column is of a type that DataJoint 2 has no equivalent of.
    """
    master = group.master
    behind = {part.name: f"{part_class(master.name, part.name)}." for part in group.parts}
    places = {(t.name, c.name): behind.get(t.name, "") + c.name for t in group.tables for c in t.columns}
    if unknown := set(codecs) - set(places.values()):
        raise ConfigError(
            f"codecs= names {min(unknown)!r}, which the source table {master.schema}.{master.name} does not have.",
            f"It has {', '.join(sorted(places.values()))}.",
        )
    legacy = not any(_is_modern(column) for table in group.tables for column in table.columns)
    taken = []

    def modern(table: Table) -> Table:
        columns = []
        for column in table.columns:
            place = places[table.name, column.name]
            made = _modern(table, column, place, codecs.get(place), legacy)
            if legacy or made.tracked or marker(column.comment) == "attach":
                made = replace(made, former=marker(column.comment))
            if not converts and made.content and made.content.what == "packed":
                made = replace(made, content=None)
            columns.append(made)
            if converts and made.comment != column.comment:
                taken.append(f"{place} for {marker(made.comment) or made.type}")
        keys = tuple(fk for fk in table.foreign_keys if not fk.table.startswith(TRACKING))
        return replace(table, columns=tuple(columns), foreign_keys=keys)

    return Modern(group.map(modern), tuple(taken))


def _is_modern(column: Column) -> bool:
    """Whether DataJoint 2 has declared a column: 0.x marks none of its types, and names no store behind an adapter."""
    special = marker(column.comment)
    return host.is_core_type(special) or special in ("<blob>", "<attach>") or bool(re.fullmatch("<.*@.*>", special))


def _modern(table: Table, column: Column, place: str, word: str | None, legacy: bool) -> Column:
    special = marker(column.comment)
    if special.startswith("external"):
        raise DefinitionError(
            f"The column {table.schema}.{table.name}.{column.name} is declared {special} by a DataJoint before 0.12, "
            "which kept what is in stores in another way.",
            "The source lab can bring it to DataJoint 0.12 with migrate_dj011_external_blob_storage_to_dj012 of "
            "datajoint.migrate in 0.12 to 0.14; it can be linked then.",
        )
    tracked = _tracked(table, column, special)
    if word:
        return _told(table, column, place, word, tracked)
    if tracked:
        codec = special if tracked.declared != "adapter" else _adapter(special)
        return _in_store(table, column, codec.strip("<>").partition("@")[0], tracked)
    if _IN_STORE.fullmatch(special):
        raise DefinitionError(
            f"The column {table.schema}.{table.name}.{column.name} is declared {special} and is of the type "
            f"{column.type}: half way from DataJoint 0.x to 2.x.",
            f"Let the source lab finish its migration; or say codecs={{'{place}': 'json'}} to take what is there.",
        )
    adapted = special.startswith("<") and legacy and not host.is_codec_registered(special.strip("<>"))
    if adapted and column.kind == Kind("bytes", 16):  # of 16 bytes 0.x has nothing else
        return replace(_remarked(column, "uuid"), kind=Kind("uuid"))
    if column.kind is None or column.kind.name != "bytes":
        return _remarked(column, "") if adapted else column
    if special == "attach":
        return _declared(column, "<attach>", place)
    if special.startswith("<") and not adapted:
        return _declared(column, special, place)
    if not column.type.endswith("blob") or (special and not adapted):
        return column
    if legacy:
        return replace(_declared(column, "<blob>", place), content=Content("packed", place))
    # Beside columns of DataJoint 2 these are bytes, unless 2.x has only added to what was there before.
    return replace(column, content=Content("raw", place))


def _tracked(table: Table, column: Column, special: str) -> Tracked | None:
    """Where 0.x keeps what a column in a store names, if it is one."""
    declared = _IN_STORE.fullmatch(special)
    is_hash = column.kind == Kind("bytes", 16) or column.kind == Kind("uuid")
    kind = cast(Literal["blob", "attach", "filepath"], declared[1]) if declared else "adapter"
    for fk in table.foreign_keys:
        if fk.columns == (column.name,) and fk.table.startswith(TRACKING):
            return Tracked(fk.schema, fk.table, kind, _store(fk.table.removeprefix(TRACKING)))
    return Tracked(table.schema, TRACKING + declared[2], kind, _store(declared[2])) if declared and is_hash else None


def _store(name: str) -> str:
    """A store's name as DataJoint 2 writes it, which gives none to the default one."""
    return "" if name == "default" else name


def _adapter(special: str) -> str:
    return special if host.is_codec_registered(special.strip("<>")) else "blob"


def _in_store(table: Table, column: Column, codec: str, tracked: Tracked) -> Column:
    if column.name in table.primary_key:
        raise DefinitionError(
            f"The key of {table.schema}.{table.name} has the column {column.name}, which names objects in the store "
            f"{tracked.store!r}: DataJoint 2 has no such keys."
        )
    return replace(
        _remarked(column, f"<{codec}@{tracked.store}>"),
        type="json",
        kind=Kind("json"),
        default=None,
        tracked=tracked,
    )


def _told(table: Table, column: Column, place: str, word: str, tracked: Tracked | None) -> Column:
    """A column as the user says that it is."""
    said = f"codecs={{{place!r}: {word!r}}}"
    name = column.kind.name if column.kind else ""
    if word == name and word in ("bytes", "json"):
        return _remarked(column, "json" if word == "json" else "")
    if word.startswith("<"):
        codec = word.strip("<>")
        if not host.is_codec_registered(codec):
            raise ConfigError(
                f"{said}: no codec {word} is registered in this process.",
                "Import the package that defines it before the linked table is used.",
            )
        if tracked:
            return _in_store(table, column, codec, tracked)
        if name == "bytes" and host.resolve_dtype(word)[0] == "bytes":
            return _declared(column, word, place)
    raise ConfigError(
        f"{said}: the column {table.schema}.{table.name}.{column.name} is of the type {column.type}"
        f"{f', {special}' if (special := marker(column.comment)) else ''}, which cannot be taken for that."
    )


def _declared(column: Column, codec: str, place: str) -> Column:
    """A column of bytes with a codec; of attachments the names are looked at, whoever declared them."""
    is_attachment = host.is_codec_registered(codec.strip("<>")) and any(
        isinstance(each, host.AttachCodec) for each in host.resolve_dtype(codec)[1]
    )
    return replace(_remarked(column, codec), content=Content("attachment", place) if is_attachment else None)


def _remarked(column: Column, special: str) -> Column:
    """A column with another marker in its comment."""
    return replace(column, comment=with_marker(column.comment, special)[:_COMMENT])
