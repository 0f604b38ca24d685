"""One run of an operation on a link: its sessions, its number among the holds, and what it does when a wire breaks."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import queue
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from ..ends.ends import Ends, outlines
from ..errors import ConnectionLimitError, DefinitionError, TransferError, UnreachableError
from ..files.copies import Files
from ..files.objects import ObjectError
from ..lazy import cached_property
from ..model.graph import Name
from ..model.keys import as_dict
from ..model.ranges import Key
from ..model.results import PullResult, RefreshResult
from ..model.states import Transition
from ..servers.keyed import Keyed, batches
from ..servers.session import Session
from ..servers.site import Site
from ..signals import ChangedError, OrphanError, RowError
from .retry import Idle, patiently

logger = logging.getLogger("link")

#: Seconds between attempts to connect again: together as long as the restart of a server takes.
PAUSES: tuple[float, ...] = (0.2, 0.5, 1, 2, 4, 8, 16)


class Run:
    """Sessions on both servers for one operation, and a number; use it as a context manager.

    Parameters
    ----------
    ends : Ends
        Both ends of the link.
    former : iterable of int
        The numbers of earlier runs of the same operation: dead, whatever the server still believes.

    Attributes
    ----------
    holds : Holds
        The holds, as this run sees them.
    rows : Keyed
        The local master's rows, by their keys as they are at the source.
    home : Session
        The source session whose life is the life of this run.
    local : Session
        A session on the local server.
    """

    def __init__(self, ends: Ends, former: Iterable[int] = ()) -> None:
        self.ends = ends
        self.name = ends.name
        self.mapping = ends.mapping
        self.former = set(former)
        self.holds = ends.holds.numbered()
        self.rows = Keyed(ends.local.dialect, ends.mapping.local.master, ends.mapping.local_key)
        self._open = contextlib.ExitStack()
        self._spare: dict[Site, queue.SimpleQueue[Session]] = {
            s: queue.SimpleQueue() for s in (ends.source, ends.local)
        }
        self._ahead: dict[Site, queue.SimpleQueue[Future[Session]]] = {  # sessions that are being opened
            s: queue.SimpleQueue() for s in (ends.source, ends.local)
        }

    @property
    def number(self) -> int:
        """By which the run is known among the holds."""
        return self.holds.worker

    def __enter__(self) -> Run:
        self.begin([self])
        return self

    def begin(self, runs: Sequence[Run]) -> None:
        """Open a session on each server, on which the tables of some runs are what they were."""
        try:
            with ThreadPoolExecutor(2, "link-opener") as pool:
                self.home, self.local = pool.map(functools.partial(self._open_unchanged, runs), (False, True))
        except BaseException:
            self._open.close()
            raise

    def _open_unchanged(self, runs: Sequence[Run], local: bool) -> Session:
        session = self.open(self.ends.local if local else self.ends.source)
        require_unchanged(runs, session, local)
        return session

    def require_changes(self) -> None:
        """Raise ReadOnlyError where one of the servers takes no changes: before anything is changed at the other."""
        for session in (self.home, self.local):
            session.require_changes()

    def require_like(self, outline: frozenset[Any], session: Session, local: bool) -> None:
        """Raise ChangedError where tables at one end are not what they were when they were looked at."""
        if outline != self.ends.outlines[local]:
            what = f"The tables of {self.name} on {session.address} are not what they were any more."
            if self.former:
                raise DefinitionError(f"{what} They were changed in the middle of it.", "Run the same again.")
            raise ChangedError(what)

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def open(self, site: Site) -> Session:
        """One more session, closed with the run; one that was lent and given back, where there is one."""
        with contextlib.suppress(queue.Empty):
            return self._spare[site].get_nowait()
        with contextlib.suppress(queue.Empty, ConnectionLimitError):
            return self._ahead[site].get_nowait().result()
        return self._open_another(site)

    def _open_another(self, site: Site) -> Session:
        session = site.open()
        self._open.callback(session.close)
        return session

    def open_ahead(self, there: int, here: int = 0) -> None:
        """Begin to open sessions, as many as are to be at hand for who opens some next at the source, and here."""
        for site, number in ((self.ends.source, there), (self.ends.local, here)):
            lacking = number - self._spare[site].qsize() - self._ahead[site].qsize()
            if lacking > 0:
                pool = ThreadPoolExecutor(lacking, "link-opener")
                self._open.callback(pool.shutdown)
                for _ in range(lacking):
                    self._ahead[site].put(pool.submit(self._open_another, site))

    def give_back(self, site: Site, sessions: Iterable[Session]) -> None:
        """Sessions at rest, for who opens some next: each takes many round trips."""
        for session in sessions:
            self._spare[site].put(session)

    def beside(self, home: Session, local: Session | None = None) -> Run:
        """The same run by other sessions: what a thread asks, while another uses the run's own."""
        other = copy.copy(self)
        other.__dict__.pop("markers", None)
        other.home, other.local = home, local or self.local
        return other

    def open_together(self, sites: Sequence[Site]) -> list[Session]:
        """Several sessions in the time of one: each takes many round trips."""
        with ThreadPoolExecutor(len(sites), "link-opener") as pool:
            return list(pool.map(self.open, sites))

    def open_some(self, site: Site, least: int, most: int) -> list[Session]:
        """So many sessions as a site has room for, in the time of one.

        Raises
        ------
        ConnectionLimitError
            There are fewer than ``least``.
        """

        def attempt(_: int) -> Session | ConnectionLimitError:
            try:
                return self.open(site)
            except ConnectionLimitError as error:
                return error

        with ThreadPoolExecutor(most, "link-opener") as pool:
            tried = list(pool.map(attempt, range(most)))
        refused = [one for one in tried if isinstance(one, ConnectionLimitError)]
        opened = [one for one in tried if isinstance(one, Session)]
        if len(opened) < least:
            self.give_back(site, opened)
            raise refused[0]
        if refused and site.is_news(type(refused[0])):
            logger.warning("%s Going on with %d sessions where %d are quicker.", refused[0].what, len(opened), most)
        return opened

    @cached_property
    def markers(self) -> list[Session]:
        """The sessions at the source that mark many rows, a second one if there is room; opened when first needed."""
        return [self.home, *self.open_some(self.ends.source, 0, 1)]

    def apply(self, transition: Transition, keys: Sequence[Key]) -> int:
        """Apply a transition to the helper rows of these keys that its guard admits; how many.

        Many go over two sessions at once.
        """
        lists = list(batches(keys))
        sessions = self.markers if len(lists) > 1 else [self.home]
        idle = Idle(sessions)

        def apply(batch: Sequence[Key]) -> int:
            with idle.borrow() as session:
                return patiently(lambda: self.holds.apply(session, transition, batch))

        with ThreadPoolExecutor(2, "link-marker") as pool:
            try:
                return sum(pool.map(apply, lists))
            except KeyboardInterrupt:
                for session in sessions:  # which the threads wait for, and these perhaps for a lock
                    session.cancel()
                raise

    def files(self, transfers: int, result: PullResult | RefreshResult, display_progress: bool = False) -> Files:
        """What copies the files of rows that are moved, so many at once, and counts them in a result."""
        ends = self.ends
        schemas = {ends.spec.local_schema}
        if ends.routes.has_references:
            schemas.update(ends.local.catalogue_type(self.local).schemas())
        return Files(self.mapping, ends.routes, schemas, self.name, transfers, result, display_progress)

    def refused(
        self, key: Key, error: RowError, *, state: str = "", so: str, suppressed: str
    ) -> tuple[dict[str, Any], TransferError]:
        """An entity that cannot be had, and why: in which ``state``, what became of it ``so``, and the way on."""
        table, shown = self.mapping.local.master, self.as_dict(key)
        failed = "A file is not to be had of" if isinstance(error, ObjectError) else "The local server does not take"
        # Of bytes that were refused for what they are, what to do is known.
        contents = (column.content for each in self.mapping.source.tables for column in each.columns)
        told = [content for content in contents if content and content.refusal in error.what]
        remedy = f"{max(told, key=lambda content: len(content.place)).remedy} " if told else ""
        if isinstance(error, OrphanError):
            remedy = (
                "What it refers to is not here: it is not there either, where foreign keys were not checked; or it is "
                "here under another spelling, which this server tells apart. "
            )
        return shown, TransferError(
            f"{failed} {shown} of {table.schema}.{table.name}{state}: {error.what}",
            f"{remedy}{so} suppress_errors=True (in the shell --keep-going) {suppressed} the others and returns such "
            "errors.",
        )

    def as_dict(self, key: Key) -> dict[str, Any]:
        """A key as DataJoint writes it."""
        return as_dict(self.mapping.source.master.key_columns, key)


def require_unchanged(runs: Sequence[Run], session: Session, local: bool) -> None:
    """Raise ChangedError where tables of some runs at one end are not what they were; they are read at once."""
    for run, outline in zip(runs, outlines([run.ends for run in runs], session, local=local), strict=True):
        run.require_like(outline, session, local)


class Runs:
    """One run over the links of a pipeline: one number, and sessions that are shared; use it as a context manager.

    Parameters
    ----------
    ends : mapping
        Both ends of each link, all on the same servers.
    former : iterable of int
        The numbers of earlier runs of the same operation.

    Attributes
    ----------
    number : int
        By which the run is known among the holds of all its links.
    home : Session
        The source session whose life is the life of this run.
    local : Session
        A session on the local server.
    """

    def __init__(self, ends: Mapping[Name, Ends], former: Iterable[int] = ()) -> None:
        self.number = random.randrange(1, 2**31)
        self.runs = {name: Run(each, former) for name, each in ends.items()}
        self._first = next(iter(self.runs.values()))

    def __getitem__(self, name: Name) -> Run:
        return self.runs[name]

    def __enter__(self) -> Runs:
        self._first.begin(list(self.runs.values()))
        self.home, self.local = self._first.home, self._first.local
        self._share(self.runs.values())
        return self

    def _share(self, runs: Iterable[Run]) -> None:
        first = self._first
        for run in runs:
            run.holds = run.ends.holds.numbered(self.number)
            run.home, run.local = first.home, first.local
            run._open, run._spare, run._ahead = first._open, first._spare, first._ahead

    def open_ahead(self, there: int, here: int = 0) -> None:
        """Begin to open sessions, as many as are to be at hand for who opens some next at the source, and here."""
        self._first.open_ahead(there, here)

    def join(self, ends: Mapping[Name, Ends]) -> None:
        """Begin with more links on the same servers."""
        runs = {name: Run(each) for name, each in ends.items()}
        for local, session in enumerate((self.home, self.local)):
            require_unchanged(list(runs.values()), session, bool(local))
        self._share(runs.values())
        self.runs |= runs

    def __exit__(self, *_: object) -> None:
        self._first.__exit__()


class Numbered(Protocol):
    """What runs: a run, or one over several links."""

    @property
    def number(self) -> int:
        """By which it is known among the holds."""

    def __enter__(self: N) -> N: ...

    def __exit__(self, *_: object) -> None: ...


N = TypeVar("N", bound=Numbered)


def persistently(
    begin: Callable[[set[int]], N],
    action: Callable[[N], object],
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
    pauses, done, begun, lost = iter(PAUSES), progress(), bool(former), bool(former)
    while True:
        try:
            with begin(former) as run:
                begun = True
                former.add(run.number)
                action(run)
                return
        except (UnreachableError, ConnectionLimitError) as error:
            # Where a connection was lost, the server may count it for a while. Otherwise there is nothing to wait for.
            lost = lost or isinstance(error, UnreachableError)
            if progress() > done:
                pauses, done = iter(PAUSES), progress()
            pause = next(pauses, None)
            if not (begun and lost) or pause is None:
                raise
            logger.warning("%s Trying again in %g s.", error.what, pause)
            time.sleep(pause)
