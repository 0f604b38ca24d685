"""The files of the rows that a pull moves: copied and verified before the rows commit, which then name the copies.

Rows travel as opaque bytes, so for each chunk the names of its files are read beside them, in the same snapshot. Many
copies run at once on threads, for the chunk that is being loaded and for the next; and in the local transaction that
loads the rows, one UPDATE for many of them puts in place what names the copies. Nobody ever sees the source's names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from .. import host
from ..errors import StoreError, TransferError
from ..model.keys import folder_key
from ..model.mapping import Mapping, TablePair
from ..model.ranges import Key, Sql
from ..model.results import PullResult, RefreshResult
from ..model.schema import Table
from ..servers.keyed import Keyed
from ..servers.session import Session
from . import objects
from .carriers import Carriers
from .columns import FileColumn, file_columns
from .copying import Copier
from .objects import MissingError, Move, ObjectError, Place
from .routes import Route, Routes

#: A chunk ends at about so many files or bytes of files: it is held, and not finished, for as long as they take.
CHUNK_FILES = 1000
CHUNK_FILE_BYTES = 1 << 30
#: Chunks whose copies are begun before the first of them is loaded.
AHEAD = 2
#: Characters of names, and rows, in one UPDATE: with escapes less than a megabyte, which is all that some servers take.
UPDATE_BYTES = 400_000
UPDATE_ROWS = 1000


@dataclass
class _Value:
    """A value that names files: as it is loaded, as DataJoint 2 stores it there, and at last as it is to be here."""

    column: FileColumn
    loaded: Any
    stored: Any
    moves: list[Move]
    rewritten: Any = None


@dataclass
class _Row:
    """A row that names files: its entity's key, its own key, its values by column."""

    entity: Key
    key: Key
    place: Place
    values: list[_Value | ObjectError | None]


@dataclass(frozen=True)
class _FileTable:
    """A table with columns that name files, there and here."""

    pair: TablePair
    columns: tuple[FileColumn, ...]


class Batch:
    """The files of one chunk.

    Attributes
    ----------
    count, size : int
        Number of files, and of bytes as far as it is known beforehand.
    """

    def __init__(self) -> None:
        self.tables: list[tuple[_FileTable, list[_Row]]] = []
        self.copies: dict[Move, Future[Move]] = {}
        self.count = self.size = 0

    def moves(self) -> Iterator[Move]:
        """What is to be copied."""
        for _, rows in self.tables:
            for row in rows:
                for value in row.values:
                    yield from value.moves if isinstance(value, _Value) else ()

    def wait(self) -> dict[Key, ObjectError]:
        """Wait for all copies; the entities of which a file cannot be had, each with the first error."""
        failed: dict[Key, ObjectError] = {}
        for table, rows in self.tables:
            for row in rows:
                try:
                    self._complete(row)
                except ObjectError as error:
                    place = f"{table.pair.here.schema}.{table.pair.here.name} {dict(row.place.key)}"
                    failed.setdefault(row.entity, ObjectError(f"{place}, {error.what}"))
        return failed

    def _complete(self, row: _Row) -> None:
        for value in row.values:
            if isinstance(value, ObjectError):
                raise value
            if value:
                try:
                    moved = [self.copies[move].result() for move in value.moves]
                    value.rewritten = objects.rewritten(value.stored, row.place, moved, value.column.codec)
                except ObjectError as error:
                    raise ObjectError(f"column {value.column.name}: {error.what}") from error

    def rewrite(self, local: Session, loaded: Callable[[Table], Table] = lambda here: here) -> None:
        """Let the loaded rows name the copies, within the transaction that has loaded them.

        ``loaded`` is the table that has the rows which are for a local one.
        """
        for table, rows in self.tables:
            changed = [(*row.key, *map(_text, row.values)) for row in rows if any(map(_differs, row.values))]
            for batch in _statements(changed):
                _update(local, table, loaded(table.pair.here), batch)


def _text(value: _Value | ObjectError | None) -> str | None:
    return json.dumps(value.rewritten) if isinstance(value, _Value) else None


def _differs(value: _Value | ObjectError | None) -> bool:
    return isinstance(value, _Value) and value.rewritten != value.loaded


def _statements(rows: Sequence[Key]) -> Iterator[list[Key]]:
    batch: list[Key] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(len(value) for value in row if isinstance(value, str))
        if size > UPDATE_BYTES or len(batch) == UPDATE_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _update(local: Session, table: _FileTable, here: Table, rows: list[Key]) -> None:
    dialect = local.dialect
    columns = [here[column.name] for column in table.columns]
    keyed = Keyed(dialect, here, [here[name] for name in table.pair.there.primary_key])
    item, on, args = keyed.listed(rows, columns)
    values = (dialect.listed_value(c, dialect.listed(n)) for n, c in enumerate(columns, len(keyed.key)))
    assignments = ", ".join(f"{dialect.quote(c.name)} = {v}" for c, v in zip(columns, values, strict=True))
    done = local.execute(dialect.update_listed(keyed.name, assignments, item, on, "1 = 1"), args)
    if done != len(rows):
        raise TransferError(
            f"{done} of {len(rows)} rows of {here.schema}.{here.name} took the names of their files; nothing of the "
            "chunk was kept.",
            "Does a trigger there change what is inserted?",
        )


def _read(session: Session, table: _FileTable, rows: Sql) -> Iterator[tuple[Key, Key, list[Any]]]:
    """The rows that have files: the entity's key, the row's own key, the stored values."""
    dialect, there = session.dialect, table.pair.there
    entity, own = Keyed(dialect, there), Keyed(dialect, there, there.key_columns)
    names = Keyed(dialect, there, [column.column for column in table.columns])
    sql = f"SELECT {entity.selected}, {own.selected}, {names.selected} {rows[0]}"
    first, second = len(entity.key), len(entity.key) + len(own.key)
    for row in session.query(sql, rows[1]):
        values = [None if text is None else json.loads(text) for text in row[second:]]
        if any(value is not None for value in values):
            yield row[:first], row[first:second], values


class Files(Carriers):
    """Copies the files of one pull; a context manager.

    Parameters
    ----------
    mapping : Mapping
        The tables there and here.
    routes : Routes
        Which store goes where.
    local_schemas : collection of str
        The local schema; where objects stay at the source, all on the local server: the garbage collection of none may
        take such an object for one of its own.
    name : str
        What the progress bar calls the pull.
    transfers : int
        Copies at once.
    result : PullResult or RefreshResult
        Where to count.
    display_progress : bool
        Show a progress bar.
    """

    def __init__(
        self,
        mapping: Mapping,
        routes: Routes,
        local_schemas: Collection[str],
        name: str,
        transfers: int,
        result: PullResult | RefreshResult,
        display_progress: bool = False,
    ) -> None:
        self.tables = [_FileTable(pair, columns) for pair in mapping.tables if (columns := file_columns(pair.there))]
        self._source_schema, self._local_schema = mapping.source.master.schema, mapping.local.master.schema
        self._collecting = frozenset(local_schemas)
        self._routes = routes
        self._checked: dict[str, Route] = {}
        super().__init__(
            host.config(routes.connection), name, transfers, result, display_progress and bool(self.tables)
        )

    def __bool__(self) -> bool:
        return bool(self.tables)

    def begin(
        self, session: Session, rows_of: Callable[[Table], Sql], thorough: bool, known: Batch | None = None
    ) -> Batch:
        """Read the names of the files of a chunk, and begin to copy them.

        Parameters
        ----------
        session : Session
            At the source, in the snapshot in which the rows are read.
        rows_of : callable
            FROM onward, for a source table: the rows of the chunk.
        thorough : bool
            Whether copies may be there from an interrupted run.
        known : Batch, optional
            Copies of these are not made again.
        """
        batch = Batch()
        if known:
            batch.copies.update(known.copies)
        for table in self.tables:
            rows = _read(session, table, rows_of(table.pair.there))
            batch.tables.append((table, [self._plan(table, *row) for row in rows]))
        # Not before all of them are known to have somewhere to go.
        for move in batch.moves():
            if move not in batch.copies:
                batch.count += move.files or 1
                batch.size += move.size or 0
                batch.copies[move] = self.pool.submit(self._carry, move, thorough)
        self.expect(batch.size)
        return batch

    def _plan(self, table: _FileTable, entity: Key, key: Key, values: list[Any]) -> _Row:
        there, here = table.pair.there, table.pair.here
        found = folder_key(there.key_columns, key)
        ordered = {name: found[name] for name in here.names if name in found}
        place = Place(here.schema, here.name, ordered)
        row = _Row(entity, key, place, [])
        for column, stored in zip(table.columns, values, strict=True):
            named_in = f"{there.schema}.{there.name}.{column.name}"
            row.values.append(None if stored is None else self._plan_value(column, stored, place, named_in))
        return row

    def _plan_value(self, column: FileColumn, loaded: Any, place: Place, named_in: str) -> _Value | ObjectError:
        def route_of(store: str) -> Route:
            return self._route(store, named_in)

        try:
            tracked = column.column.tracked
            told = objects.told_of(column, loaded, route_of(tracked.store).folds) if tracked else None
            stored = told.value if told else loaded
            moves = objects.moves(column, stored, place, route_of, told)
            self._require_safe(moves)
        except ObjectError as error:
            return ObjectError(f"column {column.name}: {error.what}")
        return _Value(column, loaded, stored, moves)

    def _route(self, store: str, named_in: str) -> Route:
        if store not in self._checked:
            self._checked[store] = route = self._routes.route(store, named_in)
            there, here = self.stores.find(route.source), self.stores.find(route.local)
            if not route.referenced:
                here.tidy()
            if self._source_schema == self._local_schema and there.place == here.place:
                raise StoreError(
                    f"The stores {route.source!r} and {route.local!r} are one place, and the schemas of both sides are "
                    f"called {self._local_schema}: each side's garbage collection would delete the other's objects.",
                    "Use another local schema, or a local store at another place.",
                )
            if (folds := there.backend.spec.get("subfolding")) is not None:
                self._checked[store] = replace(route, folds=tuple(folds))
        return self._checked[store]

    def _require_safe(self, moves: Sequence[Move]) -> None:
        """Raise StoreError where the local garbage collection would take the source's objects for its own."""
        for move in moves:
            risk = move.route.referenced and self._collecting & objects.collecting_schemas(move.source, move.route.spec)
            if risk:
                store = move.route.local
                raise StoreError(
                    f"In the store {store!r} of reference() the source has {move.source} where DataJoint keeps objects "
                    f"of the local schema {min(risk)}, whose garbage collection would delete it.",
                    f"Give dj.config.stores[{store!r}] a hash_prefix and a schema_prefix that nothing there has, or "
                    "let the objects be copied.",
                )

    def _carry(self, move: Move, thorough: bool) -> Move:
        local = self.stores.find(move.route.local)
        source = self.stores.find(move.route.source)
        try:
            carried = Copier(source, local, self.progress, thorough).carry(move)
        except MissingError as error:
            advice = f"; {move.advice}" if move.advice else ""
            raise ObjectError(f"{move.source} in the store {source.name!r} {error.what}{advice}") from error
        except ObjectError as error:
            raise ObjectError(f"{move.source} in the store {source.name!r} {error.what}") from error
        self.count(1)
        return carried
