"""The linked tables that a deletion reaches: those it begins with, and those whose rows depend on theirs.

What goes there is held as well, by another link or at another source. So each of them has a run of its own, and what it
was left by dead ones is finished before anything is locked here.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import host
from ..addresses import Address
from ..ends.ends import Ends
from ..ends.identity import linked_in
from ..ends.linking import Link, open_together
from ..ends.loaded import Opening, serving
from ..errors import LinkError, PrivilegeError, UnreachableError
from ..holds.together import enlist, survey
from ..model.graph import Name
from ..model.ranges import Key
from ..model.served import Tie
from ..model.shown import number_of
from ..model.states import Count
from ..servers.keyed import told_keys
from ..servers.site import Site
from ..signals import ChangedError
from .recovery import Recovery
from .run import Run, Runs

logger = logging.getLogger("link")


@dataclass(eq=False)
class Reached:
    """One linked table that a deletion reaches.

    Attributes
    ----------
    name : str
        Its quoted full name here.
    run : Run
        Of its link.
    recovery : Recovery
        Of that run; it has been done.
    keys : list of tuple
        The entities that go.
    """

    name: str
    run: Run
    recovery: Recovery
    keys: list[Key] = field(default_factory=list)


class Reach:
    """All linked tables that a deletion can reach, each with a run; use it as a context manager.

    Parameters
    ----------
    what : str
        The operation, for messages.
    roots : sequence of Ends
        The tables that it begins with, all by one local connection.
    with_empty : bool
        Whether tables without rows matter.

    Raises
    ------
    LinkError
        One of the roots cannot be worked with. Of other tables that is raised once rows of theirs would go.
    """

    def __init__(self, what: str, roots: Sequence[Ends], with_empty: bool = False) -> None:
        self._what = what
        self._roots = roots
        self._with_empty = with_empty
        self.local = roots[0].local
        self._reached: dict[str, Reached] = {}
        self._refused: dict[str, LinkError] = {}
        self._order: list[str] = []
        self._names: list[Name] = []
        self._open = contextlib.ExitStack()
        self._runs: dict[tuple[Site, Site], Runs] = {}
        self._lost: dict[Address, UnreachableError] = {}

    def __enter__(self) -> Reach:
        try:
            for ends in self._roots:
                ends.require_home(self._what)
            for sites, some in _by_sites({_local(ends): ends for ends in self._roots}).items():
                self._begin(sites, some)
            self._find_below()
            self._recover()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _begin(self, sites: tuple[Site, Site], ends: Mapping[Name, Ends]) -> None:
        """Begin runs of links; those on the same servers share their sessions."""
        if runs := self._runs.get(sites):
            runs.join(ends)
        else:
            runs = self._runs[sites] = self._open.enter_context(Runs(ends))
        for table in ends:
            name = self._name(*table)
            self._reached[name] = Reached(name, runs[table], Recovery(runs[table]))

    def _name(self, schema: str, table: str) -> str:
        return host.full_name(self.local.connection, schema, table)

    def _find_below(self) -> None:
        roots = {_local(ends) for ends in self._roots}
        tables = [(table.schema, table.name) for ends in self._roots for table in ends.mapping.local.tables]
        with self.local.in_one_session(), self.local.uncut():
            for schema in {schema for schema, _ in roots}:
                host.know_schema(self.local.connection, schema)
            names = self._names = host.dependents(self.local.connection, tables)
        self._order = [self._name(*name) for name in [*names, *(name for name in roots if name not in names)]]
        self._session = next(iter(self._reached.values())).run.local
        below = dict.fromkeys(schema for schema, _ in names if len(names) > len(tables))
        linked = {(schema, table): tie for schema in below for table, tie in linked_in(self._session, schema).items()}
        links = {name: self._links_of(name, linked) for name in names if name not in roots}
        links = {name: some for name, some in links.items() if (some or name in linked) and self._matters(name)}
        _open_at_once([some[0] for some in links.values() if some])
        opened = {name: self._opened(name, some, linked.get(name)) for name, some in links.items()}
        found = {name: link for name, link in opened.items() if link}
        for sites, some in _by_sites({name: link.open() for name, link in found.items()}).items():
            with self._refusing(some):
                try:
                    self._begin(sites, some)
                except ChangedError:
                    for name in some:
                        found[name].forget()
                    self._begin(sites, {name: found[name].open() for name in some})

    @contextlib.contextmanager
    def _refusing(self, tables: Iterable[Name]) -> Iterator[None]:
        """Where tables below cannot be worked with, rows of theirs must not go."""
        try:
            yield
        except LinkError as error:
            if any(_local(ends) in tables for ends in self._roots):
                raise
            for name in (self._name(*table) for table in tables):
                self._reached.pop(name, None)
                self._refused[name] = error

    def _recover(self) -> None:
        """Finish what dead runs have left, of what depends on others first: these could not be deleted."""
        said = dict[str, list[Count]]()
        for runs in self._runs.values():
            holds = [run.holds for run in runs.runs.values()]
            with self._refusing(runs.runs):
                enlist(runs.home, holds)
                said |= zip((self._name(*table) for table in runs.runs), survey(runs.home, holds), strict=True)
        tables = {self._name(*table): table for runs in self._runs.values() for table in runs.runs}
        for reached in list(self):
            with self._refusing([tables[reached.name]]):
                reached.recovery.recover_from(said[reached.name])

    def _links_of(self, table: Name, linked: Mapping[Name, Tie | None]) -> Sequence[Opening]:
        """The links to which a table may belong: those that are known, or one by what is noted beside it.

        Of a pipeline's table whose rows are from a source of the roots all is known.
        """
        known = list(serving(self.local, *table, table in linked))
        tie = linked.get(table)
        if known or tie is None or tie.keys is None:
            return known
        return [_like(ends, table, tie) for ends in self._roots if ends.source.facts.name == tie.server][:1]

    def _matters(self, table: Name) -> bool:
        """Whether a linked table may have rows that go."""
        name = self._name(*table)
        try:
            if self._with_empty or self._session.query(f"SELECT 1 FROM {name} LIMIT 1"):
                return True
            self._refused[name] = ChangedError(f"{'.'.join(table)} was empty, and has rows by now.")
        except PrivilegeError as error:
            self._refused[name] = error
        return False

    def _opened(self, table: Name, links: Sequence[Opening], tie: Tie | None) -> Opening | None:
        """The first link of a table that can be opened."""
        errors = list[LinkError]()
        for link in links:
            try:
                if lost := self._lost.get(link.spec.address):
                    raise lost
                link.open().require_home(self._what)
                return link
            except LinkError as failed:
                errors.append(failed)
                if isinstance(failed, UnreachableError):
                    self._lost[link.spec.address] = failed
        here = f"{'.'.join(table)} on {self.local.address}"
        self._refused[self._name(*table)] = errors[0] if errors else _unknown(here, tie)
        return None

    def __iter__(self) -> Iterator[Reached]:
        """The tables, those before that depend on others."""
        for name in reversed(self._order):
            if name in self._reached:
                yield self._reached[name]

    def sorted(self, names: Sequence[str]) -> list[str]:
        """Some tables by their full names; what depends on others stands behind them."""
        places = {name: place for place, name in enumerate(self._order)}
        return sorted(names, key=lambda name: places.get(name, len(places)))

    def of(self, ends: Ends) -> Reached:
        """One of the roots."""
        return self._reached[self._name(*_local(ends))]

    def has_grown(self) -> bool:
        """Whether others have made tables that depend on these."""
        with self.local.in_one_session(), self.local.uncut():
            return bool(set(host.dependents(self.local.connection, self._names)).difference(self._names))

    # within a transaction on DataJoint's own connection

    def begin(self) -> None:
        """Begin a transaction whose reads are stable."""
        self.local.connection.start_transaction()
        for statement in self.local.dialect.stable:
            self.local.connection.query(statement)
        for reached in self._reached.values():
            reached.keys = []

    def read(self, reached: Reached, condition: str) -> list[Key]:
        """The keys of local rows for which a condition is true, that a deletion after it finds the very same."""
        run = reached.run
        where = f" WHERE {condition}" if condition else ""
        select = self.local.dialect.stable_read(f"SELECT {run.rows.told} FROM {run.rows.name}{where}")
        return list(told_keys(self.local.connection.query(select)))

    def find(self, tables: Sequence[Any], known: Reached | None) -> dict[str, list[Key]]:
        """Of some restricted tables of DataJoint's, the entities of linked ones; by full names.

        Those of one of them may be ``known``.

        Raises
        ------
        LinkError
            There are some for which nobody could be told.
        ChangedError
            There is a table of which nothing was known.
        """
        found = {}
        for table in tables:
            name = table.full_table_name
            if name not in self._order:
                raise grown()
            if reached := self._reached.get(name):
                if reached is not known:
                    found[name] = self.read(reached, host.where_clause(table))
            elif (error := self._refused.get(name)) and (number := len(table)):
                raise _with_them(error, f"{number_of(number, 'row')} of {name} would be deleted, too")
        return found

    def add(self, found: dict[str, list[Key]]) -> None:
        """Count in the entities that have been deleted."""
        for name, keys in found.items():
            self._reached[name].keys += keys

    def require(self, names: Sequence[str]) -> None:
        """Raise LinkError for tables, by full names, that are linked and for which nobody could be told."""
        for name in names:
            if error := self._refused.get(name):
                raise _with_them(error, f"{name} would be dropped, too")


def grown() -> ChangedError:
    """Others have made tables that depend on those of a deletion; it may be begun anew."""
    return ChangedError(
        "Other tables depend on what is to be deleted than a moment ago; nothing was deleted.",
        "Does somebody make tables, or pull into new ones? Run the same again, or when that is over.",
    )


def _local(ends: Ends) -> Name:
    master = ends.mapping.local.master
    return master.schema, master.name


def _by_sites(ends: Mapping[Name, Ends]) -> dict[tuple[Site, Site], dict[Name, Ends]]:
    """Links by the servers that they lead from and to."""
    found: dict[tuple[Site, Site], dict[Name, Ends]] = {}
    for name, each in ends.items():
        found.setdefault((each.source, each.local), {})[name] = each
    return found


def _open_at_once(links: Sequence[Opening]) -> None:
    """Open links, those that lead from one server to one other by the same few questions; errors each has again."""
    together: dict[tuple[Site, Site], list[Link]] = {}
    lost = set[Address]()
    for link in links:
        if isinstance(link, Link) and link.spec.address not in lost:
            try:
                together.setdefault((link.connect_source(), link.connect_local()), []).append(link)
            except LinkError:
                lost.add(link.spec.address)
    for some in together.values():
        with contextlib.suppress(LinkError):
            open_together(some)


def _like(ends: Ends, table: Name, tie: Tie) -> Link:
    """The link of a pipeline's table, from and to the same servers as another one."""
    return Link(ends.spec.for_linked(table, tie), ends.local.connection, ends.source.connection)


def _unknown(table: str, tie: Tie | None) -> LinkError:
    origin = f" Its rows are from {'.'.join(tie.table)} on {tie.server}, held in {'.'.join(tie.helper)}." if tie else ""
    return LinkError(
        f"{table} is a linked table, too, and its link is not known in this process.{origin}",
        "Import its class, or make its Pipeline, and run the same again; or delete these rows before, by its class. If "
        "that link has ended, these rows are your own: delete them before, by DataJoint alone.",
    )


def _with_them(error: LinkError, what: str) -> LinkError:
    return type(error)(
        f"{what}, and what is held for its rows at their source could not be released: {error.what.rstrip('.')}. "
        "Nothing was changed.",
        error.hint,
    )
