"""One run of an operation on a link: its sessions, its number, and the recovery with which every operation begins.

Rows that a dead run left unfinished are finished by the same statements that would have finished them then.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, TypeVar

import datajoint as dj
from datajoint.errors import DataJointError, LostConnectionError
from datajoint.table import FreeTable
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from . import objects
from .ends import Ends
from .errors import UnreachableError
from .keyed import EVERYTHING, Chunk, Keyed, batches
from .kinds import Kind
from .objects import FileColumn
from .outbound import SHARED, Count
from .schema import Table
from .servers import BusyError, Connection, Key, RowError, Server
from .states import DEPRECATE, RELEASE, SETTLE, Condition, Transition

logger = logging.getLogger("link")
T = TypeVar("T")

#: What helper rows at rest can say.
FLAGGED: Condition = {"process": ("NONE",), "is_flagged": ("TRUE",)}
HELD: Condition = {"process": ("NONE",), "is_deprecated": ("FALSE",)}
UNFLAGGED: Condition = {"process": ("NONE",), "is_flagged": ("FALSE",), "is_deprecated": ("TRUE",)}
UNSETTLED: Condition = {"process": ("NONE",), "is_flagged": ("TRUE",), "is_deprecated": ("FALSE",)}
DEPRECATED: Condition = {**FLAGGED, "is_deprecated": ("TRUE",)}
#: Up to so many keys are looked up one by one rather than by a checksum over the tables.
FEW = 20_000
TRIES = 10
#: Seconds between attempts to connect again: together as long as the restart of a server takes.
PAUSES: tuple[float, ...] = (0.2, 0.5, 1, 2, 4, 8, 16)


def patiently(action: Callable[[], T]) -> T:
    """Repeat a statement that lost a deadlock or waited too long for a lock, with growing pauses."""
    retrying = Retrying(
        retry=retry_if_exception_type(BusyError),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_attempt(TRIES),
        before_sleep=before_sleep_log(logger, logging.DEBUG),
        reraise=True,
    )
    return retrying(action)


def persistently(
    begin: Callable[[set[int]], Run],
    action: Callable[[Run], object],
    progress: Callable[[], int] = int,
    former: Iterable[int] = (),
) -> None:
    """Begin a run and do something with it; when a connection is lost on the way, go on with a new run.

    The first connection is not insisted on, unless there was a ``former`` run. After that, every bit of progress gives
    the servers time anew: as long as a restart takes.

    Parameters
    ----------
    begin : callable
        Opens a run that knows the numbers of the runs before it, which are dead.
    action : callable
        What to do; it must do only what is left when it is called again.
    progress : callable
        A number that grows while the work gets on.
    former : iterable of int, optional
        The number of a run that has lost its connection.
    """
    former = set(former)
    pauses, done, begun = iter(PAUSES), progress(), bool(former)
    while True:
        try:
            with begin(former) as run:
                begun = True
                former.add(run.outbound.worker)
                action(run)
                return
        except UnreachableError as error:
            if progress() > done:
                pauses, done = iter(PAUSES), progress()
            pause = next(pauses, None)
            if not begun or pause is None:
                raise
            logger.warning("%s Trying again in %g s.", error.what, pause)
            time.sleep(pause)


def _number(value: Decimal) -> list[str]:
    digits = format(value, "f")
    return [digits.rstrip("0").rstrip(".") if "." in digits else digits]


def _comparable(value: Any, is_json: bool) -> Any:
    # JSON that means the same is not written the same everywhere, NaN is not equal to itself, MariaDB prints -0 as 0.
    if is_json and value is not None:
        return json.dumps(json.loads(value, parse_int=Decimal, parse_float=Decimal), sort_keys=True, default=_number)
    return repr(value + 0.0) if isinstance(value, float) else value


class Idle:
    """Sessions that threads use by turns, each by one at a time."""

    def __init__(self, connections: Iterable[Connection]) -> None:
        self._queue: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        for connection in connections:
            self._queue.put(connection)

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Connection]:
        """Wait for a session that nobody uses."""
        connection = self._queue.get()
        try:
            yield connection
        finally:
            self._queue.put(connection)


class Run:
    """Sessions on both servers for one operation; use it as a context manager.

    Parameters
    ----------
    ends : Ends
        Both ends of the link.
    former : iterable of int
        The numbers of earlier runs of the same operation: dead, whatever the server still believes.

    Attributes
    ----------
    home : Connection
        The source session whose life is the life of this run.
    local : Connection
        A session on the local server.
    """

    def __init__(self, ends: Ends, former: Iterable[int] = ()) -> None:
        self.ends = ends
        self.former = set(former)
        self.entity = ends.entity
        self.source_entity = ends.source_entity
        self.outbound = ends.outbound()
        self.alike = ends.local.alike(ends.source)
        # The local rows, by key columns in the order of the source's key.
        master = self.entity.master
        self.rows = Keyed(ends.local, master, [master[name] for name in self.source_entity.master.primary_key])
        # How many helper rows there are, and whether some stay marked for deletion.
        self.held, self.stuck = 0, False
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Run:
        try:
            self.home, self.local = self.open_together([self.ends.source, self.ends.local])
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def open(self, server: Server) -> Connection:
        """One more session, closed with the run."""
        connection = server.connect()
        self._open.callback(connection.close)
        return connection

    def open_together(self, servers: Sequence[Server]) -> list[Connection]:
        """Several sessions in the time of one: each takes many round trips."""
        with ThreadPoolExecutor(len(servers), "link-opener") as pool:
            return list(pool.map(self.open, servers))

    # recovery

    def recover(self) -> list[Count]:
        """Adopt what dead runs left, finish their deletions, settle flags; what the helper table said before.

        Their pulls are finished by the next pull, which copies adopted rows first.
        """
        self.outbound.enlist(self.home)
        counts = self.outbound.survey(self.home)
        self.held = sum(count.entities for count in counts)
        adopted = patiently(lambda: self.outbound.adopt(self.home, counts, self.former))
        if adopted:
            logger.info("%s: going on with %d entities of an interrupted run", self.name, adopted)
            self._finish_deletions()
        unsettled = any(count.row == ("NONE", "TRUE", "FALSE") for count in counts)
        if unsettled:
            self.settle()
        return self.outbound.survey(self.home) if adopted or unsettled else counts

    def _finish_deletions(self) -> None:
        keys = self.outbound.keys(self.home, "DELETE", EVERYTHING)
        for batch in batches(keys):
            try:
                patiently(functools.partial(self._delete_entities, batch))
            except RowError:
                self._delete_cascading(sorted(self.present(batch)))
        left = self.present(keys)
        self.stuck = bool(left)
        if left:
            logger.warning("%s: %d entities marked for deletion are still local and stay held", self.name, len(left))
        self.release([key for key in keys if key not in left])

    def _delete_entities(self, keys: Sequence[Key]) -> None:
        with self.local.transaction():
            for table in (*self.entity.parts, self.entity.master):
                rows = _keyed(self.local.server, table)
                listed, on, args = rows.listed(keys)
                self.local.execute(self.local.server.delete_listed(rows.name, listed, on, "1 = 1"), args)

    def _delete_cascading(self, keys: Sequence[Key]) -> None:
        """Delete entities with what depends on them, as DataJoint does: it knows the dependents."""
        connection, master = self.ends.local_connection, self.entity.master
        with self.ends.local.in_one_session():
            # A class that has not been used yet has not told DataJoint of its schema, in which dependents are sought.
            dj.Schema(master.schema, connection=connection, create_schema=False, create_tables=False)
            table = FreeTable(connection, connection.adapter.make_full_table_name(master.schema, master.name))
            try:
                (table & [self.as_dict(key) for key in keys]).delete(prompt=False)
            except LostConnectionError:
                raise
            except DataJointError as error:
                logger.warning("%s: a deletion that was begun cannot be finished: %s", self.name, error)

    def apply(self, transition: Transition, keys: Sequence[Key]) -> int:
        """Apply a transition to the helper rows of these keys that its guard admits; how many.

        Many go over two sessions at once.
        """
        lists = list(batches(keys))
        idle = Idle([self.home, self.second] if len(lists) > 1 else [self.home])

        def apply(batch: Sequence[Key]) -> int:
            with idle.borrow() as connection:
                return patiently(lambda: self.outbound.apply_to_keys(connection, transition, batch))

        with ThreadPoolExecutor(2, "link-marker") as pool:
            return sum(pool.map(apply, lists))

    @functools.cached_property
    def second(self) -> Connection:
        """A second session at the source."""
        return self.open(self.ends.source)

    def release(self, keys: Sequence[Key]) -> None:
        """Let go of entities that are gone locally: no hold is left, or a deprecated one where the source had asked."""
        remaining = len(keys)
        while remaining:
            # A flag may come between the two; the guards let no row through both, and the loop takes it up again.
            done = self._apply_to_marked(RELEASE, keys)
            if done < remaining:
                done += self._apply_to_marked(DEPRECATE, keys)
            remaining = remaining - done if done else 0

    def _apply_to_marked(self, transition: Transition, keys: Sequence[Key]) -> int:
        """Apply a transition to these keys, which are all that this run has marked as deleted.

        Where they are many, one look at the whole table is quicker than to look up each.
        """
        if len(keys) > max(FEW, self.held // 4) and not self.stuck:
            with contextlib.suppress(BusyError), self.home.unwaiting():
                return self.outbound.apply(self.home, transition, EVERYTHING)
        return self.apply(transition, keys)

    def settle(self) -> None:
        """Mark as deprecated what is flagged and not local."""
        for _, gone in self.by_presence(UNSETTLED):
            self.apply(SETTLE, gone)

    # comparing both ends

    def present(self, keys: Sequence[Key]) -> set[Key]:
        """Those of the keys that are local, exactly as they are at the source."""
        return self.rows.existing(self.local, keys)

    def by_presence(self, says: Condition, where: str = "") -> Iterator[tuple[list[Key], list[Key]]]:
        """The keys of entities whose helper rows say this, in order and a batch at a time: the local ones, the others.

        ``where`` selects source rows.
        """
        for keys in self.listed(says, where):
            present = self.present(keys)
            yield [key for key in keys if key in present], [key for key in keys if key not in present]

    def listed(self, says: Condition, where: str = "") -> Iterator[list[Key]]:
        """The keys of the helper rows that say this, in order and a batch at a time."""
        after: Key | None = None
        while keys := self.outbound.keys_where(self.home, says, where, after, FEW):
            yield keys
            after = keys[-1]

    def flagged(self, where: str = "") -> list[Key]:
        """The keys of a selection that the source wants deleted and that are local."""
        return [key for here, _ in self.by_presence(FLAGGED, where) for key in here]

    def may_differ(self, where: str, shared: int) -> bool:
        """Whether the local keys may not be those that are held, as far as counts and checksums tell.

        Of a selection with few ``shared`` entities that is not worth a look at the whole tables.
        """
        if where and shared <= FEW:
            return True
        with ThreadPoolExecutor(1, "link-counter") as pool:  # both servers at once
            held = pool.submit(self.outbound.checksum, self.home, HELD, self.alike)
            return self.rows.checksum(self.local, "1 = 1", self.alike) != held.result()

    def vanished(self, where: str = "") -> list[Key]:
        """The shared entities of a selection that are not local."""
        return [key for _, gone in self.by_presence(SHARED, where) for key in gone]

    def local_keys(self, after: Key | None, limit: int) -> list[Key]:
        """The local keys that follow ``after``, in order."""
        return self.rows.keys(self.local, self.rows.within(Chunk(after, None)), limit)

    @property
    def name(self) -> str:
        """What messages call the link."""
        return self.ends.spec.class_name

    def as_dict(self, key: Key) -> dict[str, Any]:
        """A key as DataJoint writes it."""
        columns = self.source_entity.master.key_columns
        return {c.name: objects.as_datajoint(c, value) for c, value in zip(columns, key, strict=True)}

    @property
    def shared_tables(self) -> tuple[Table, ...]:
        """The source tables with the columns that the local ones have."""
        pairs = zip(self.source_entity.tables, self.entity.tables, strict=True)
        return tuple(there.only(here.names) for there, here in pairs)

    def still_shared(self, keys: Sequence[Key]) -> set[Key]:
        """Those of the keys whose helper rows are at rest and not flagged."""
        return self.outbound.existing(self.home, keys, SHARED)

    def digest(self, connection: Connection, table: Table, keys: Sequence[Key]) -> tuple[int, int]:
        """Number of rows of some entities in one table, and a digest of them; only where both ends are alike."""
        count, digest = 0, 0
        for batch in batches(keys):
            rows, args = _keyed(connection.server, table).rows_of(batch)
            row = connection.query(f"SELECT COUNT(*), {connection.server.sum_of_digests(table)} {rows}", args)[0]
            count, digest = count + int(row[0]), digest + int(row[1] or 0)
        return count, digest

    def differing(self, source: Connection, keys: Sequence[Key]) -> list[Key]:
        """Those of the keys whose rows, parts included, are not the same on both servers."""
        different: set[Key] = set()
        for there, here in zip(self.shared_tables, self.entity.tables, strict=True):
            files = objects.file_columns(there)
            for batch in batches(keys):
                ours = Counter(self._contents(self.local, here, batch, files))
                theirs = Counter(self._contents(source, there, batch, files))
                different |= {key for key, _ in (ours - theirs) + (theirs - ours)}
        return sorted(different)

    def _contents(
        self, connection: Connection, table: Table, keys: Sequence[Key], files: Sequence[FileColumn]
    ) -> Iterable[tuple[Key, Key]]:
        """The rows of some entities: their keys, and all values, or a digest where the ends are alike.

        What names files is told by what does not change with their place.
        """
        server, first = connection.server, len(table.entity_key)
        keyed, named = _keyed(server, table), [table[column.name] for column in files]
        plain = table.only([name for name in table.names if table[name] not in named])
        selected = [keyed.selected, *([Keyed(server, table, named).selected] if named else [])]
        rows_of, args = keyed.rows_of(keys)
        comparable = server.comparable(plain, self.alike)
        rows = connection.query(f"SELECT {', '.join([*selected, comparable])} {rows_of}", args)
        decode = [plain[name].kind == Kind("json") for name in plain.names] if not self.alike else [False]
        side, second = self._side(connection is self.local), first + len(files)
        for row in rows:
            identities = (objects.identity(c, text, side) for c, text in zip(files, row[first:second], strict=True))
            yield row[:first], (*identities, *map(_comparable, row[second:], decode))

    def _side(self, local: bool) -> objects.Side:
        routes = {store: self.ends.route(store) for store in self.ends.spec.stores}
        stays = {route.local if local else store for store, route in routes.items() if route.referenced}
        length = min([8, *(int(route.spec.get("token_length", 8)) for route in routes.values())])
        return objects.Side(local, frozenset(stays), max(4, length))

    @functools.cached_property
    def has_files(self) -> bool:
        """Whether any column names files."""
        return any(map(objects.file_columns, self.source_entity.tables))


def _keyed(server: Server, table: Table) -> Keyed:
    return Keyed(server, table, [table[name] for name in table.entity_key])
