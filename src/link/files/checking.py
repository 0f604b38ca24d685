"""The files that local rows name, read again: are they what the rows say, and what the source has?

A hash in a row tells what the content must be. Where there is none, size and content are compared with the source's
object, as long as the row here is that of the source's row.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import host
from ..model.keys import as_dict
from ..model.mapping import Mapping, TablePair
from ..model.ranges import Key
from ..model.results import Damaged, VerifyResult
from ..model.schema import Table
from ..servers.keyed import Keyed, batches
from ..servers.session import Session
from . import objects
from .carriers import Carriers
from .columns import FileColumn, file_columns
from .objects import MissingError, Move, ObjectError, Place
from .routes import Route, Routes
from .stores import Checked, Store, explained

#: Entities whose files are looked at together.
ENTITIES = 1000


@dataclass(frozen=True)
class _Named:
    """An object that a local row names: its entity, where it is named; store and path at the source, if they matter.

    Without a move the row names none, as the reason says.
    """

    entity: Key
    where: Damaged
    move: Move | None
    source: tuple[str, str] | None


@dataclass(frozen=True)
class _FileTable:
    """A table whose rows name files, there and here, and the columns of both."""

    there: Table
    here: Table
    theirs: tuple[FileColumn, ...]
    ours: tuple[FileColumn, ...]


class Checker(Carriers):
    """Reads the objects that local rows name; a context manager.

    Parameters
    ----------
    mapping : Mapping
        The tables there and here.
    routes : Routes
        Which store goes where.
    name : str
        What the progress bar calls the link.
    transfers : int
        Objects that are read at once.
    result : VerifyResult
        Where to count.
    display_progress : bool
        Show a progress bar.
    """

    stands_alone = True

    def __init__(
        self,
        mapping: Mapping,
        routes: Routes,
        name: str,
        transfers: int,
        result: VerifyResult,
        display_progress: bool = False,
    ) -> None:
        self.tables = [_file_table(pair) for pair in mapping.tables if file_columns(pair.there)]
        self._routes = routes
        super().__init__(
            host.config(routes.connection), name, transfers, result, display_progress and bool(self.tables)
        )

    def having_files(self, local: Session, keys: Sequence[Key]) -> set[Key]:
        """Those of some entities that name files."""
        found: set[Key] = set()
        for table in self.tables:
            rows = _keyed(local, table, table.here)
            there = " OR ".join(f"{local.dialect.field(table.here, c.column)} IS NOT NULL" for c in table.ours)
            found |= rows.existing(local, keys, f"({there})")
        return found

    def damaged(self, source: Session, local: Session, keys: Sequence[Key]) -> list[tuple[Key, Damaged]]:
        """Look at the files of some entities: those that are not what they must be, each with its entity.

        Nothing is locked, so what seems wrong is looked at twice: a deletion or a refresh may have had it in hand.
        """
        named = self._all_named(source, local, keys)
        self.expect(sum(found.move.size or 0 for found in named if found.move))
        failed = self._failing(named)
        self.count(len(named) - len(failed))
        if failed:
            again = self._all_named(source, local, sorted({found.entity for found, _ in failed}))
            failed = self._failing([found for found, _ in failed if found in again])
        return [(found.entity, found.where._replace(reason=reason)) for found, reason in failed]

    def _failing(self, named: Sequence[_Named]) -> list[tuple[_Named, str]]:
        checks = [self.pool.submit(self._check, found) for found in named]
        failed = []
        for found, check in zip(named, checks, strict=True):
            try:
                check.result()
            except ObjectError as error:
                failed.append((found, error.what))
        return failed

    def _all_named(self, source: Session, local: Session, keys: Sequence[Key]) -> list[_Named]:
        return [found for table in self.tables for found in self._named(source, local, table, keys)]

    # what rows name

    def _named(self, source: Session, local: Session, table: _FileTable, keys: Sequence[Key]) -> Iterator[_Named]:
        """The objects that the local rows of some entities name in one table."""
        theirs: dict[Key, Sequence[Any]] = {}
        if any(column.addressing != "hash" for column in table.ours):
            theirs = {key: values for _, key, values in _read(source, table.there, table, table.theirs, keys)}
        for entity, key, values in _read(local, table.here, table, table.ours, keys):
            columns = table.there.key_columns
            shown = as_dict(columns, key)
            others = theirs.get(key, [None] * len(values))
            for ours, stored, column, there in zip(table.ours, values, table.theirs, others, strict=True):
                if stored is not None:
                    where = Damaged(shown, f"{table.here.name}.{ours.name}", "", "")
                    yield from self._of_value(entity, where, ours, stored, column, there)

    def _of_value(
        self, entity: Key, where: Damaged, ours: FileColumn, stored: Any, theirs: FileColumn, there: Any
    ) -> Iterator[_Named]:
        try:
            moves = objects.moves(ours, stored, Place("", "", {}), _as_it_is)
        except ObjectError as error:
            yield _Named(entity, where._replace(reason=error.what), None, None)
            return
        sources = self._sources(ours, stored, theirs, there)
        for move in moves:
            yield _Named(entity, where._replace(path=move.source), move, sources.get(move.source))

    def _sources(self, ours: FileColumn, stored: Any, theirs: FileColumn, there: Any) -> dict[str, tuple[str, str]]:
        """Store and path of the source's object for each local path, where the value is the same and the object is not.

        Where a hash tells the content they do not matter.
        """
        if there is None or ours.addressing == "hash" or not self._are_same(ours, stored, theirs, there):
            return {}
        told = objects.told_of(theirs, there) if theirs.column.tracked else None
        pairs = zip(
            ours.codec.referenced_paths(stored),
            theirs.codec.referenced_paths(told.value if told else there),
            strict=True,
        )
        routes = [(here, self._routes.route(store or "", theirs.name), path) for (here, _), (path, store) in pairs]
        return {here: (route.source, path) for here, route, path in routes if not route.referenced}

    def _are_same(self, ours: FileColumn, stored: Any, theirs: FileColumn, there: Any) -> bool:
        local, source = self._routes.side(True), self._routes.side(False)
        found = objects.identity(ours, json.dumps(stored), local)
        return found == objects.identity(theirs, json.dumps(there), source)

    # what is there

    def _check(self, named: _Named) -> None:
        """Raise ObjectError where an object is not what it must be."""
        move = named.move
        if move is None:
            raise ObjectError(named.where.reason)
        store = self.stores.find(move.route.local)
        with explained(store, move.source):
            found = store.find(move.source)
        is_folder = move.is_folder
        if is_folder or (is_folder is None and found is None):
            source = named.source and (named.source[0], named.source[1].rstrip("/"))
            self._check_folder(store, dataclasses.replace(move, source=move.source.rstrip("/")), source)
            return
        if found is None:
            raise MissingError("is missing")
        self._check_file(store, move, found.size, named.source)

    def _check_folder(self, store: Store, move: Move, source: tuple[str, str] | None) -> None:
        with explained(store, move.source):
            files = store.files(move.source)
            manifest = store.find(f"{move.source}.manifest.json")
        size = sum(size for _, size in files)
        if not files and not manifest and move.files != 0:
            raise MissingError("is missing")
        if move.files not in (None, len(files)) or move.size not in (None, size):
            raise ObjectError(f"has {len(files):,} files of {size:,} bytes, {move.files} of {move.size} were stored")
        if source and move.files is None and (lacking := self._names_in(source).difference(name for name, _ in files)):
            raise ObjectError(f"lacks {min(lacking)}, and has {len(files):,} of {len(files) + len(lacking):,} files")
        for name, length in files:
            within = dataclasses.replace(move, source=f"{move.source}/{name}", size=length, inspect=None)
            try:
                self._check_file(store, within, length, source and (source[0], f"{source[1]}/{name}"))
            except ObjectError as error:
                raise ObjectError(f"{name}: {error.what}") from error

    def _names_in(self, source: tuple[str, str]) -> set[str]:
        """The files in the source's folder."""
        store, path = self.stores.find(source[0]), source[1]
        with explained(store, path):
            return {name for name, _ in store.files(path)}

    def _check_file(self, store: Store, move: Move, size: int, source: tuple[str, str] | None) -> None:
        if move.size not in (None, size):
            raise ObjectError(f"has {size:,} bytes, {move.size:,} were stored")
        md5 = move.md5 or (self._md5_of(source, size) if source else None)
        content = Checked(store, move.source, size, md5, move.inspect, self.progress)
        collections.deque(content.blocks(), 0)

    def _md5_of(self, source: tuple[str, str], size: int) -> str:
        """The digest of the source's object, which must have the size of the local one."""
        store, path = self.stores.find(source[0]), source[1]
        with explained(store, path):
            found = store.find(path)
            if found is None:
                raise MissingError(f"cannot be compared: the source has no {path} in the store {store.name!r} any more")
            if found.size != size:
                raise ObjectError(f"has {size:,} bytes, the source's {path} has {found.size:,}")
            return found.md5 or store.md5(path)


def _as_it_is(store: str) -> Route:
    """To a local value an object is where it says."""
    return Route(store, store, True, {})


def _file_table(pair: TablePair) -> _FileTable:
    theirs = file_columns(pair.there)
    ours = tuple(dataclasses.replace(column, column=pair.here[column.name]) for column in theirs)
    return _FileTable(pair.there, pair.here, theirs, ours)


def _keyed(session: Session, table: _FileTable, at: Table) -> Keyed:
    return Keyed(session.dialect, at, [at[name] for name in table.there.entity_key])


def _read(
    session: Session, at: Table, table: _FileTable, columns: Sequence[FileColumn], keys: Sequence[Key]
) -> Iterator[tuple[Key, Key, list[Any]]]:
    """Of the rows of some entities at one end: the entity's key, the row's own key, the stored values."""
    entity = _keyed(session, table, at)
    own = Keyed(session.dialect, at, [at[name] for name in table.there.primary_key])
    names = Keyed(session.dialect, at, [column.column for column in columns])
    first, second = len(entity.key), len(entity.key) + len(own.key)
    for batch in batches(keys):
        rows, args = entity.rows_of(batch)
        sql = f"SELECT {entity.selected}, {own.selected}, {names.selected} {rows}"
        for row in session.query(sql, args):
            yield row[:first], row[first:second], [None if text is None else json.loads(text) for text in row[second:]]
