"""One link from what it was given to its ends: connected when first needed, checked before anything is created."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .. import host
from ..config import LinkSpec
from ..errors import ConfigError, LinkError, NotFoundError, told_together
from ..files.columns import relabelled
from ..files.routes import Routes
from ..holds.helper import Wanted, find_helper, provide_helpers
from ..holds.holds import Holds
from ..holds.parts import holds_of
from ..holds.serving import Served
from ..model.backends import BACKENDS
from ..model.readers import Reader
from ..model.schema import TIER_PREFIXES, Column, Group, Table, part_class, part_names
from ..model.states import HELD
from ..servers.catalogue import Catalogue
from ..servers.rights import LINEAGE
from ..servers.session import Session
from ..servers.site import Site
from ..signals import ChangedError
from .browsing import read_heading
from .connected import Connected
from .declaration import Declaration, Order
from .edits import Edits
from .ends import Ends, outlines
from .identity import linked_in
from .lineage import find_origins
from .loaded import enter, is_at
from .local import Made, declare
from .source import find_source, require_readable, require_types

logger = logging.getLogger("link")
T = TypeVar("T")


class Link(Connected[LinkSpec]):
    """One link of a source table to a local table. Making one connects nowhere; each method says what it does.

    Parameters
    ----------
    spec : LinkSpec
        What ``@link`` was given.
    connection : datajoint.Instance or datajoint.Connection, optional
        The local side; DataJoint's own connection where there is none.
    source : datajoint.Connection, or whatever has one as its ``connection``, optional
        The source side, where it is not to be connected to as the link user of the environment.
    """

    def __init__(self, spec: LinkSpec, connection: Any = None, source: Any = None) -> None:
        super().__init__(spec, connection, source)
        self._group: Group | None = None
        self._headings: dict[str | None, host.Heading] = {}
        self._ends: Ends | None = None
        self._edits: Edits | None = None
        self._sought: tuple[Holds | None] | None = None
        self._is_any_tier = spec.local_table is None
        self._has_looked = False
        self._stands_on: list[Link] = []
        enter(self)

    def serving(self, local: Site, schema: str, table: str, is_linked: bool) -> Link | None:
        """This link, if a table on a server is its local table; connects to no other server.

        Of a link that has not been used a table may just have the name.
        """
        if not is_linked and self._ends is None:
            return None
        named = self.spec.local_schema, self.spec.table_name
        if self._is_any_tier and is_linked and table in (prefix + self.spec.class_table for prefix in TIER_PREFIXES):
            named = self.spec.local_schema, table
        if (schema, table) != (tuple(map(str.lower, named)) if local.facts.small_letters else named):
            return None
        return self if is_at(self._given if self._given is not None else self._connection, local) else None

    def find_source(self, catalogue: Catalogue | None = None) -> Group:
        """The source's tables, checked for the rights that a link needs; asks the source only, and changes nothing.

        It is asked through a session of its own, unless a catalogue of it is given.
        """
        with self._lock:
            if self._group is None:
                site = self.connect_source()
                with contextlib.nullcontext(catalogue) if catalogue else site.catalogue() as asked:
                    self._group = find_source(site, self.spec, asked)
            return self._group

    def find_parts(self) -> dict[str, Table]:
        """The part tables of the source by their classes, as far as the account sees them; asks the source only."""
        group = self.find_source()
        return {part_class(group.master.name, part.name): part for part in group.parts}

    def find_table(self, part: str | None) -> Table:
        """The source's table, or that of the part of a class; asks the source only."""
        return self.find_source().master if part is None else self.find_parts()[part]

    def read_heading(self, part: str | None = None) -> host.Heading:
        """DataJoint's heading of a source table, which tells where each attribute comes from."""
        with self._lock:
            if part not in self._headings:
                self._headings[part] = read_heading(self.connect_source(), self.find_table(part))
            return self._headings[part]

    def find_holds(self) -> Holds | None:
        """The holds, if there is a helper table by now; asks the servers, and creates nothing."""
        with self._lock:
            if self._ends is not None:
                return self._ends.holds
            if self.spec.mirror:  # by what is noted beside the local table
                return self.open().holds if self.is_declared() else None
            site = self.connect_source()
            with site.catalogue() as catalogue:
                master = self.find_source(catalogue).master
                helper = find_helper(site, catalogue, self.spec, master)
            return holds_of(site.dialect, master, helper, self.spec.layout) if helper else None

    def know_holds(self, seek: Callable[[], Holds | None] | None = None) -> Holds | None:
        """The holds as far as they are known; they are sought once, unless the link is opened."""
        with self._lock:
            if self._ends is not None:
                return self._ends.holds
            if self._sought is None:
                self._sought = ((seek or self.find_holds)(),)
            return self._sought[0]

    def find_origins(self, catalogue: Catalogue | None = None) -> dict[str, str]:
        """Where the attributes of the source table come from, of those that come from somewhere.

        The source is asked through a session of its own, unless a catalogue of it is given.
        """
        master, site, schema = self.find_source(catalogue).master, self.connect_source(), self.spec.source_schema
        with contextlib.nullcontext(catalogue) if catalogue else site.catalogue() as asked:
            found, is_guessed = find_origins(asked, master)
        if is_guessed and site.is_news((schema, LINEAGE)):
            logger.warning(
                "%s: the link user %r does not see which tables the key's attributes come from. %s",
                *(self.spec.class_name, site.user, site.grant_hint(["SELECT"], schema, LINEAGE)),
            )
        return found

    def find_name(self) -> str:
        """The local table's name, of whatever tier; asks the local server, where it has not been asked."""
        if self._is_any_tier and not self._has_looked:
            self._local_tables()
        return self.spec.table_name

    def is_declared(self) -> bool:
        """Whether the local table is there; asks the local server only."""
        tables = self._local_tables()
        return self.spec.table_name in tables

    def local_parts(self) -> list[str]:
        """The names of the local part tables; asks the local server only."""
        tables = self._local_tables()
        return part_names(self.spec.table_name, tables)

    def _local_tables(self) -> list[str]:
        with self.connect_local().session() as session:
            tables = self.connect_local().catalogue_type(session).tables(self.spec.local_schema)
            if self._is_any_tier:
                self._find_tier(tables, session)
                self._has_looked = True
        return tables

    def _find_tier(self, tables: Sequence[str], session: Session) -> None:
        """Be about the linked table that a pipeline has made for the same class, which is of the source's tier."""
        schema, stem = self.spec.local_schema, self.spec.class_table
        others = [prefix + stem for prefix in TIER_PREFIXES if prefix and prefix + stem in tables]
        linked = linked_in(session, schema) if others and stem not in tables else {}
        name = next((other for other in others if other in linked), None)
        if name != self.spec.local_table:
            with self._lock:
                self.spec = replace(self.spec, local_table=name)

    def keep_edits(self) -> Edits:
        """The notes on what is edited here; asks the local server only, once they are used."""
        with self._lock:
            if self._edits is None:
                self._edits = Edits(self.connect_local(), self.spec.local_schema)
            return self._edits

    def open(self) -> Ends:
        """Both ends, checked against each other; local tables and helper table are created where they are missing.

        Raises
        ------
        LinkError
            Whatever does not fit. Nothing has been changed then on either server.
        """
        with self._lock:
            if self.spec.mirror and self._ends is None and not self.is_declared():
                raise NotFoundError(
                    f"There is no local table {self.spec.local_schema}.{self.spec.table_name} on "
                    f"{self.connect_local().address} yet.",
                    "The first pull of the pipeline that has rows of it makes it, with what it refers to.",
                )
            return open_together([self])[0]

    def take_over(self) -> Ends:
        """Open, and let the helper table serve the local table whatever it has served before, at this place."""
        with self._lock:
            self._ends = None
            return open_together([self], take_over=True)[0]

    def _ask(self, catalogue: Catalogue) -> _Asked:
        """What is to be found, checked and created at both ends; asks, the source by its catalogue; changes nothing."""
        if self._is_any_tier:
            self._local_tables()
        spec, local = self.spec, self.connect_local()
        if spec.for_legacy and not BACKENDS[host.backend(local.connection)].has_legacy:
            raise ConfigError(
                f"datajoint='0.x': DataJoint 0.12 to 0.14, which shall read the local tables, cannot connect to "
                f"{local.address}.",
                "Link into a MySQL or MariaDB server, or without datajoint='0.x'.",
            )
        routes = Routes(local.connection, spec.stores)
        routes.require_configured()
        source = self.connect_source()
        for site in (source, local):
            site.require_fit()
        group, unlinkable = self._linkable(self.find_source(catalogue), routes)
        order = Order(spec, group, functools.partial(relabelled, local_names=routes.local_names))
        return _Asked(order, functools.partial(self.find_origins, catalogue), routes, unlinkable)

    def look(self, helper: Table | None, there: Catalogue, here: Catalogue) -> Ends | None:
        """Both ends as they are, to be compared; None where the local tables are not there, or do not fit.

        Nothing is created or changed, and the helper table is not looked at: there need be none.

        Parameters
        ----------
        helper : Table or None
            The helper table, if there is one.
        there, here : Catalogue
            Of both servers.
        """
        with self._lock:
            if self._ends is not None:
                return self._ends
            asked, source, local = self._ask(there), self.connect_source(), self.connect_local()
            declaration = Declaration(source, local, here.session, here, {}, asked.order)
            declaration.look()
            if declaration.missing or declaration.complaint:
                return None
            mapping = replace(declaration.mapping(), unlinkable=asked.unlinkable)
            master = mapping.source.master
            spec = self.spec
            helper = helper or replace(master, schema=spec.find_helper_schema(), name=spec.helper_table)
            holds = holds_of(source.dialect, master, helper, spec.layout)
            return Ends(spec, source, local, mapping, holds, asked.routes, helper)

    def _keep(self, asked: _Asked, made: Made[Table]) -> Ends:
        """What has been found and made."""
        # It is whichever holds the rows of the local table.
        spec = self.spec = replace(self.spec, helper_table=made.other.name)
        source, local, routes = self.connect_source(), self.connect_local(), asked.routes
        mapping = replace(made.mapping, unlinkable=asked.unlinkable)
        routes.require_named(Group(mapping.tables[0].there, tuple(pair.there for pair in mapping.tables[1:])))
        holds = holds_of(source.dialect, mapping.source.master, made.other, spec.layout)
        return Ends(spec, source, local, mapping, holds, routes, made.other, was_at=made.was_at)

    def _linkable(self, group: Group, routes: Routes) -> tuple[Group, tuple[str, ...]]:
        """The source's tables without columns that cannot be linked, and these.

        A link that is there goes on without them; another one is refused.
        """
        dialect, reader = self.connect_source().dialect, Reader(self.spec.for_legacy)

        def may(column: Column) -> bool:
            return dialect.supports(column) and reader.reads(column)

        try:
            require_types(self.connect_source(), group.tables)
            require_readable(self.connect_source(), group.tables, reader)
            routes.require_named(group)
        except LinkError:
            if not self.is_declared() or not all(reader.reads(c) for t in group.tables for c in t.key_columns):
                raise
        unlinkable = tuple(f"{t.name}.{c.name}" for t in group.tables for c in t.columns if not may(c))
        return group.map(lambda t: t.only([c.name for c in t.columns if may(c)])), unlinkable

    def stand_on(self, other: Link) -> Link:
        """Look at another link, to whose local table this one's refers, again whenever this one is."""
        with self._lock:
            if other not in self._stands_on:
                self._stands_on.append(other)
            return other

    def stand_on_like(self, spec: LinkSpec) -> Link:
        """The link of another local table of the same source, to which this one's refers."""
        with self._lock:
            known = next((link for link in self._stands_on if link.spec == spec), None)
            return known or self.stand_on(Link(spec, self._given, self._given_source))

    def respecify(self, spec: LinkSpec) -> None:
        """Be about something else from now on; nothing is known of it yet."""
        with self._lock:
            self.spec = spec
        self.forget()

    def forget(self) -> None:
        """Look at the tables again before they are used the next time."""
        with self._lock:
            self._group = self._ends = self._edits = self._sought = None
            self._headings = {}
            others = list(self._stands_on)
        for other in others:  # without the lock: who opens several waits for theirs
            other.forget()

    def operate(self, operation: Callable[[Ends], T]) -> T:
        """Do something with both ends; where tables have changed since they were looked at, as they are now."""
        try:
            return operation(self.open())
        except ChangedError as change:
            logger.info("%s: %s", self.spec.class_name, change.what)
            self.forget()
        return operation(self.open())


@dataclass(frozen=True)
class _Asked:
    """What a link asks for at both ends.

    Attributes
    ----------
    order : Order
        The local tables.
    origins : callable
        Where the attributes of the source table come from.
    routes : Routes
        Where files go.
    unlinkable : tuple of str
        Columns of the source, with their tables, that cannot be linked.
    """

    order: Order
    origins: Callable[[], dict[str, str]]
    routes: Routes
    unlinkable: tuple[str, ...]


def open_together(links: Sequence[Link], take_over: bool = False) -> list[Ends]:
    """Both ends of links that go from one server to one other; what is missing is created, all of it or nothing.

    Parameters
    ----------
    links : sequence of Link
        Those first whose local tables others refer to.
    take_over : bool
        Whether the helper tables serve the local tables whatever they have served before.

    Raises
    ------
    LinkError
        All that does not fit. Nothing has been changed then on either server.
    """
    with contextlib.ExitStack() as stack:
        for link in sorted(links, key=id):
            stack.enter_context(link._lock)
        closed = [link for link in links if link._ends is None]
        if closed:
            source, local = closed[0].connect_source(), closed[0].connect_local()
            known = [table for link in links if link._ends for table in link._ends.mapping.local.tables]
            with source.session() as there:
                opened = _open(source, local, there, closed, known, take_over)
            for link, ends in zip(closed, opened, strict=True):
                link._ends = ends
        return [link._ends for link in links if link._ends]


def _open(
    source: Site, local: Site, there: Session, links: Sequence[Link], known: Sequence[Table], take_over: bool
) -> list[Ends]:
    catalogue, asked = source.catalogue_type(there), dict[int, _Asked]()
    lacking = set[tuple[str, str]]()  # helper tables that are made now: nothing is held in them
    if len(links) > 1:
        specs = [link.spec for link in links]
        catalogue.read([*(spec.source_schema for spec in specs), *(spec.find_helper_schema() for spec in specs)])
        wanted = {(spec.find_helper_schema(), spec.helper_table) for spec in specs}
        lacking = {(schema, name) for schema, name in wanted if name not in catalogue.tables(schema)}

    def ask(link: Link) -> None:
        asked[id(link)] = link._ask(catalogue)

    def provide(served: Sequence[Served]) -> list[Table]:
        orders = [(asked[id(link)].order, asked[id(link)].origins) for link in links]
        ordered = [
            Wanted(order.spec, order.group.master, origins, serves)
            for (order, origins), serves in zip(orders, served, strict=True)
        ]
        return provide_helpers(source, local, catalogue, ordered)

    told_together(functools.partial(ask, link) for link in links)
    made = declare(source, local, catalogue, [asked[id(link)].order for link in links], provide, known, take_over)
    opened = [link._keep(asked[id(link)], tables) for link, tables in zip(links, made, strict=True)]
    with local.session() as here:
        outlined = zip(outlines(opened, there, local=False), outlines(opened, here, local=True), strict=True)
        ours = local.catalogue_type(here)
        hidden = [ours.may_hide_triggers(ends.mapping.local.master) for ends in opened]
    made_anew = [ends for ends in opened if ends.mapping.new]
    _tell_of_held(there, [e for e in made_anew if (e.helper.schema, e.helper.name) not in lacking])
    return [
        replace(ends, outlines=both, may_hide_triggers=hides)
        for ends, both, hides in zip(opened, outlined, hidden, strict=True)
    ]


def _tell_of_held(there: Session, opened: Sequence[Ends]) -> None:
    """Say of which local tables that have just been made entities are held at the source."""
    held = there.query_each([ends.holds.saying(HELD).selecting("COUNT(*)") for ends in opened])
    for ends, (number,) in zip(opened, held, strict=True):
        if number:
            logger.warning(
                "%s: the local table %s.%s was not there and has been made anew, empty; %d entities are held at the "
                "source: pull() fetches them again, repair(vanished='release', dry_run=False) lets them go",
                *(ends.name, ends.spec.local_schema, ends.spec.table_name, number),
            )
