"""The links of a pipeline: one for each group of the source, found and opened together."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shlex
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from ..config import LinkSpec, PipelineSpec
from ..errors import LinkError, NotFoundError, PrivilegeError, UnreachableError
from ..holds.helper import require_rights
from ..holds.holds import Holds
from ..holds.parts import holds_of
from ..model.graph import Edge, Graph, Name, Outside, class_of, graph_of, label
from ..model.mapping import Mirror
from ..model.schema import Group, Table, key_name, nearest
from ..servers.catalogue import Catalogue
from ..servers.site import Site
from ..signals import ChangedError
from .connected import Connected
from .cuts import Cuts, read_here
from .ends import Ends
from .identity import LINKS_TABLE, linked_in
from .linking import Link, open_together
from .loaded import enter, is_at
from .source import SOURCE_RIGHTS

T = TypeVar("T")

#: Characters of the longest name of a helper table: MySQL and MariaDB make longer ones of it, of its foreign key.
_NAME = 56
#: So many seconds an operation goes by what was read when its tables were chosen.
RECENT = 60


class Links(Connected[PipelineSpec]):
    """The links of a pipeline. Making one connects nowhere; each method says what it does.

    Parameters
    ----------
    spec : PipelineSpec
        What ``Pipeline`` was given.
    connection : datajoint.Instance or datajoint.Connection, optional
        The local side; DataJoint's own connection where there is none.
    source : datajoint.Connection, or whatever has one as its ``connection``, optional
        The source side, where it is not to be connected to as the link user of the environment.
    """

    def __init__(self, spec: PipelineSpec, connection: Any = None, source: Any = None) -> None:
        super().__init__(spec, connection, source)
        self._graph: Graph | None = None
        self._looked_at: float | None = None  # when, if nobody has done anything by it since
        self._links: dict[Name, Link] = {}
        self._here = _Here()
        enter(self)

    def serving(self, local: Site, schema: str, table: str, is_linked: bool) -> Link | None:
        """The link of a linked table on a server, if it is of one of the local schemas; connects to no other server."""
        theirs = self.spec.there(schema)
        return self.link((theirs, table)) if theirs is not None and is_linked and is_at(self._given, local) else None

    def find_graph(self) -> Graph:
        """The source's groups and their foreign keys, as far as the account sees them; asks the source only."""
        with self._lock:
            if self._graph is None:
                self._graph, self._looked_at = self._read_graph(), time.monotonic()
            return self._graph

    def _read_graph(self) -> Graph:
        site = self.connect_source()
        with site.catalogue() as catalogue:
            waiting = [theirs for theirs, _ in self.spec.schemas]
            catalogue.read(waiting)
            known = catalogue.schemas()
            if unseen := [theirs for theirs in waiting if theirs not in known]:
                raise self._no_schemas(unseen, set(known) - {*waiting, self.spec.helper_schema}, catalogue)
            tables, read = list[Table](), set[str]()
            while waiting:
                catalogue.read(waiting)
                read.update(waiting)
                found = [table for schema in waiting for table in _tables(catalogue, schema)]
                tables += found
                # Ancestors may come from schemas that are not named.
                others = {key.schema for table in found for key in table.foreign_keys}
                waiting = sorted(others & set(known) - read) if self.spec.prefix is not None else []
        return graph_of(tables)

    def _no_schemas(self, unseen: Sequence[str], others: Collection[str], catalogue: Catalogue) -> NotFoundError:
        """Of schemas that the account does not see, all of them: each is misspelt, or not granted."""
        site, hidden = self.connect_source(), [theirs for theirs in unseen if catalogue.may_hide(theirs)]
        resembling = [nearest(theirs, others) for theirs in unseen]
        named = "".join(f" --schema {shlex.quote(theirs)}" for theirs in hidden)
        return catalogue.no_such(
            f"The link user {site.user!r} sees no schema{'s' * (len(unseen) > 1)} {', '.join(map(repr, unseen))} on "
            f"{site.address}.",
            " ".join(dict.fromkeys(resembling)),
            f"the GRANTs that the administrator of {site.address} has to run are printed by: "
            f"datajoint-link grants{named} --helper-schema {shlex.quote(self.spec.helper_schema)} "
            f"--user {shlex.quote(site.user)} --existing-user --host {site.address}"
            + site.role_hint(catalogue.idle_roles()),
            (hidden or unseen)[0],
        )

    def link(self, name: Name) -> Link:
        """The link of a group; connects nowhere."""
        with self._lock:
            if name not in self._links:
                self._links[name] = Link(self._spec_of(name), self._given, self._given_source)
            return self._links[name]

    def _spec_of(self, name: Name) -> LinkSpec:
        spec, (schema, table) = self.spec, name
        here, within = spec.here(schema), f"{label(name)}."
        if here is None:
            raise NotFoundError(
                f"The schema {schema!r} of {label(name)} is not one of the pipeline's.",
                f"Name it in schemas=: {schema!r} and the local schema that shall have its tables.",
            )
        return LinkSpec(
            class_name=class_of(table),
            address=spec.address,
            source_schema=schema,
            helper_schema=spec.helper_schema,
            helper_table=helper_name(name, self._graph.groups if self._graph else ()),
            local_schema=here,
            store_pairs=spec.store_pairs,
            use_tls=spec.use_tls,
            codec_pairs=tuple((c[len(within) :], word) for c, word in spec.codec_pairs if c.startswith(within)),
            conflicts="raise",
            holder=spec.holder,
            source_table=table,
            local_table=table,
            mirror=Mirror(self._schemas()),
            named=spec.named,
        )

    def _schemas(self) -> tuple[tuple[str, str], ...]:
        named = dict(self.spec.schemas)
        if self.spec.prefix is not None and self._graph is not None:
            named |= {s: str(self.spec.here(s)) for s, _ in self._graph.groups if s not in named}
        return tuple(sorted(named.items()))

    def require_known(self, graph: Graph, names: Collection[Name]) -> None:
        """Raise LinkError where groups refer to tables that the account does not see, or cannot be told apart."""
        for name in sorted(names):
            if error := graph.broken.get(name):
                raise error
        if unseen := [outside for outside in graph.outside if outside.child in names]:
            raise self._not_seen(unseen)

    def _not_seen(self, unseen: Sequence[Outside]) -> PrivilegeError | NotFoundError:
        site = self.connect_source()
        lines = [f"{outside.place} -> {outside.key.schema}.{outside.key.table}" for outside in unseen]
        told = "Foreign keys lead to tables that are not to be had:\n    " + "\n    ".join(lines)
        hidden = sorted({(o.key.schema, o.key.table) for o in unseen if self.spec.here(o.key.schema) is not None})
        cut = f"Or leave them out: cut={[outside.place for outside in unseen]!r}; their columns stay."
        if hidden:
            grants = " ".join(site.grant_hint(SOURCE_RIGHTS, *table) for table in hidden)
            return PrivilegeError(told, f"{grants} {cut}")
        schemas = sorted({outside.key.schema for outside in unseen})
        return NotFoundError(told, f"Name their schemas in schemas=: {', '.join(schemas)}. {cut}")

    def find_cut(self, said: Collection[Edge | Outside]) -> list[Edge | Outside]:
        """The foreign keys that are not followed: those that are said, and those that local tables were made without.

        Raises
        ------
        LocalMismatchError
            A local table has one that is said.
        """
        with self._cuts() as cuts:
            cuts.require_open(said)
        return list(dict.fromkeys([*said, *cuts.standing]))

    @contextlib.contextmanager
    def looking_once(self) -> Iterator[None]:
        """Meanwhile what this thread looks at of the local tables is read once, until they are opened."""
        self._here.stack = stack = contextlib.ExitStack()
        if self._local is not None and self._graph is not None:  # else it is not known where, or which
            # The source is looked at again first: meanwhile.
            pool = stack.enter_context(ThreadPoolExecutor(1, "link-looker"))
            self._here.ahead = pool.submit(_read_ahead, self._local, list(dict(self._schemas()).values()))
            stack.callback(_close, self._here.ahead)
        try:
            yield
        finally:
            self._here.leave()

    @contextlib.contextmanager
    def catalogue_here(self) -> Iterator[Catalogue]:
        """The local server's catalogue, as far as it is read by now where this thread looks once."""
        with self._cuts() as cuts:
            yield cuts.catalogue

    @contextlib.contextmanager
    def _cuts(self) -> Iterator[Cuts]:
        """The foreign keys of the source beside those of the local tables, and a session to look at these."""
        graph, here = self.find_graph(), self._here
        if here.cuts is not None and here.cuts.graph is graph:
            yield here.cuts
            return
        with contextlib.ExitStack() as stack:
            ahead, here.ahead = here.ahead, None
            catalogue = (
                ahead.result() if ahead else (here.stack or stack).enter_context(self.connect_local().catalogue())
            )
            cuts = Cuts(self.connect_local(), catalogue, graph, dict(self._schemas()))
            if here.stack:
                here.cuts = cuts
            yield cuts

    def open(self, names: Iterable[Name], cut: Collection[Edge | Outside] = ()) -> dict[Name, Ends]:
        """Both ends of some groups and of all that they stand on, parents first; created where they are missing.

        Raises
        ------
        LinkError
            Whatever does not fit.
        """
        said = frozenset(key for key in cut if not key.is_standing)
        with self._cuts() as cuts:
            cut = {*said, *cuts.standing}
            graph = cuts.graph.without(cut)
            chosen = graph.ancestors(names)
            cuts.require_open([key for key in said if key.child in chosen])
            cuts.require_fit(graph.order(chosen), said)
        self._here.leave()
        return self._open(graph, chosen, cut)

    def open_linked(self, take_over: bool = False) -> tuple[dict[Name, Ends], Graph]:
        """Both ends of all groups that are linked here, parents first, and the source's foreign keys that are here.

        They are taken as they are: a foreign key that the source has got since is a matter of the next pull. With
        ``take_over`` the helper tables serve the local ones whatever they have served before, at this place.
        """
        with self._cuts() as cuts:
            linked = cuts.linked
        graph = self.find_graph().without(cuts.standing)
        chosen = graph.ancestors(linked)
        recent = {key for name in chosen for key in cuts.recent(name)}
        return self._open(graph, chosen, [key for key in cuts.standing if key not in recent], take_over), graph

    def linked_here(self) -> dict[Name, tuple[str, str]]:
        """The groups whose local tables are there and linked, and these tables; asks the local server only."""
        found = dict[Name, tuple[str, str]]()
        with self.connect_local().session() as session:
            catalogue = self.connect_local().catalogue_type(session)
            there = catalogue.schemas()
            schemas = [(theirs, ours) for theirs, ours in self.spec.schemas if ours in there]
            catalogue.read([ours for _, ours in schemas])
            for theirs, ours in schemas:
                tables = catalogue.tables(ours)
                for table in linked_in(session, ours):
                    if table in tables:
                        found[theirs, table] = ours, table
        return found

    def _open(
        self, graph: Graph, chosen: Collection[Name], cut: Collection[Edge | Outside], take_over: bool = False
    ) -> dict[Name, Ends]:
        order = graph.order(chosen)
        self.require_known(graph, chosen)
        links = [self.link(name) for name in order]
        for link, name in zip(links, order, strict=True):
            own = frozenset(key_name(key.table.name, key.key) for key in cut if key.child == name)
            mirror = Mirror(self._schemas(), own)
            if link.spec.mirror != mirror:
                link.respecify(replace(link.spec, mirror=mirror))
        if take_over:
            for link in links:
                link.forget()
        try:
            opened = dict(zip(order, open_together(links, take_over), strict=True))
        except UnreachableError:
            raise
        except LinkError as error:
            if self._has_changed():
                raise ChangedError(error.what, error.hint) from error
            raise
        if any(_leads_elsewhere(ends.mapping.source, graph.groups[name]) for name, ends in opened.items()):
            raise ChangedError("Foreign keys at the source have changed since they were looked at")
        return opened

    def find_helpers(self, there: Catalogue, here: Catalogue, names: Iterable[Name]) -> dict[Name, Table]:
        """The helper tables of those groups that have one; asks both servers, and changes nothing.

        Parameters
        ----------
        there, here : Catalogue
            Of the source, and of the local server.
        names : iterable of Name
            The groups.
        """
        source, found, specs = self.connect_source(), dict[Name, Table](), {n: self.link(n).spec for n in names}
        here.read(sorted({spec.local_schema for spec in specs.values()}))
        ours = {spec.local_schema for spec in specs.values() if LINKS_TABLE in here.relations(spec.local_schema)}
        ties = {schema: linked_in(here.session, schema) for schema in sorted(ours)}
        for name, spec in specs.items():
            tie = ties.get(spec.local_schema, {}).get(spec.table_name)
            is_noted = tie is not None and (tie.server, tie.table) == (source.facts.name, name)
            # The one that is noted goes on to hold its rows where the source table has got another name.
            noted, meant = [tie.helper] if tie else [], (spec.helper_schema, spec.helper_table)
            for schema, helper in noted if is_noted else [meant, *noted]:
                there.read([schema])
                if helper in there.tables(schema):
                    table = there.table(schema, helper)
                    if any((key.schema, key.table) == name for key in table.foreign_keys):
                        found[name] = table
        return found

    def find_holds(self, name: Name) -> Holds | None:
        """The holds of a group, if it has a helper table by now; asks both servers, and creates nothing."""
        source, link = self.connect_source(), self.link(name)
        with source.catalogue() as there, self.connect_local().catalogue() as here:
            helper = self.find_helpers(there, here, [name]).get(name)
            if helper is None:
                return None
            require_rights(source, there, helper, ("SELECT",))
        return holds_of(source.dialect, self.find_graph().groups[name].master, helper, link.spec.layout)

    def know_holds(self, name: Name) -> Holds | None:
        """The holds of a group as far as they are known; the servers are asked once, unless its link is opened."""
        return self.link(name).know_holds(lambda: self.find_holds(name))

    def look_again(self) -> Graph:
        """The source's groups as they are now: there may be new ones, which stand on what was there before."""
        with self._lock:
            recent = self._looked_at is not None and time.monotonic() - self._looked_at < RECENT
            if (known := self._graph) is not None and not recent:
                found = self._read_graph()
                if not self._is_other(found):
                    return known
                self.forget()
                self._graph = found
            graph, self._looked_at = self.find_graph(), None
            return graph

    def _is_other(self, found: Graph) -> bool:
        """Whether the source's groups are not what they were when they were looked at."""
        known = self._graph
        return known is None or (found.groups, found.outside) != (known.groups, known.outside)

    def _has_changed(self) -> bool:
        """The same, as far as the source can be asked now."""
        with contextlib.suppress(LinkError):
            return self._is_other(self._read_graph())
        return False

    def forget(self) -> None:
        """Look at the tables again before they are used the next time."""
        with self._lock:
            self._graph = None
            for link in self._links.values():
                link.forget()

    def operate(self, operation: Callable[[], T]) -> T:
        """Do something; where tables have changed since they were looked at, again with the tables as they are now."""
        try:
            return operation()
        except ChangedError:
            self.forget()
        return operation()


class _Here(threading.local):
    """What a thread has read of the local tables, where it reads them once; and what ends its session with them."""

    cuts: Cuts | None = None
    ahead: Future[Catalogue] | None = None
    stack: contextlib.ExitStack | None = None

    def leave(self) -> None:
        """Read them anew from now on."""
        stack, self.cuts, self.ahead, self.stack = self.stack, None, None, None
        if stack:
            stack.close()


def _read_ahead(local: Site, schemas: Collection[str]) -> Catalogue:
    """The catalogue of the local server with these schemas, and its session, in a thread of its own."""
    session = local.open()
    try:
        catalogue = local.catalogue_type(session)
        read_here(catalogue, schemas)
        return catalogue
    except BaseException:
        session.close()
        raise


def _close(reading: Future[Catalogue]) -> None:
    """End the session of what was read, once it is."""
    with contextlib.suppress(Exception):  # which was told to whom it mattered
        reading.result().session.close()


def helper_name(name: Name, names: Iterable[Name]) -> str:
    """The name of the helper table of a group, and of no other of some ``names``."""
    plain, room = _plain(name), _NAME - len("_outbound")
    if len(plain) > room or any(other != name and _plain(other) == plain for other in names):
        digest = hashlib.sha256("\0".join(name).encode()).hexdigest()[:8]
        plain = f"{plain[: room - 9]}_{digest}"
    return f"{plain}_outbound"


@functools.cache
def _plain(name: Name) -> str:
    """Schema and table in one: DataJoint would take a name with two underscores for a part."""
    schema, table = name
    return "_".join(word for word in f"{schema}_{table.lstrip('#_')}".replace("-", "_").split("_") if word)


def _leads_elsewhere(found: Group, known: Group) -> bool:
    """Whether keys of a group are not what they were when it was looked at: what it refers to, or whose rows are."""

    def keys(table: Table) -> object:
        return table.entity_key, set(table.foreign_keys)

    before = {table.name: keys(table) for table in known.tables}
    return any(before.get(table.name) != keys(table) for table in found.tables)


def _tables(catalogue: Catalogue, schema: str) -> Iterator[Table]:
    """The tables of a schema that DataJoint takes for such."""
    for name in catalogue.tables(schema):
        if not name.startswith("~"):
            yield catalogue.table(schema, name)
