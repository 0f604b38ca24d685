"""Looking whether everything is there that a pull of a pipeline needs. Changes nothing at either end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .. import host
from ..ends.pipeline import Links
from ..ends.source import SOURCE_RIGHTS
from ..errors import DefinitionError, LinkError, PrivilegeError
from ..files.opening import open_store
from ..files.routes import Routes
from ..holds.helper import HELPER_RIGHTS
from ..model.graph import Graph
from ..model.pings import Check, Ping
from ..model.schema import Table
from ..servers.site import Site
from ..signals import final

#: So many statements are told in one line.
_TOLD = 5


def ping(links: Links) -> Ping:
    """Look at both servers; see :meth:`link.Pipeline.ping`."""
    return Ping(list(_checks(links)))


def _checks(links: Links) -> Iterator[Check]:
    yield (here := _checked("local server", lambda: _server(links.connect_local())))
    if not here.error:
        yield from _closed("changes here", links.connect_local())
        yield _checked("local schemas", lambda: _local_schemas(links))
        yield _checked("stores", lambda: _stores(links))
    if here.error and not links.spec.address.backend:
        return
    yield (there := _checked("source server", lambda: _server(links.connect_source())))
    if there.error:
        return
    yield from _closed("changes there", links.connect_source())
    yield (seen := _checked("source tables", lambda: _tables(links)))
    yield _checked("helper schema", lambda: _helper_schema(links, not seen.error))
    if not (here.error or seen.error):
        yield _checked("stores of columns", lambda: _stores_of_columns(links))


def _checked(what: str, look: Callable[[], str]) -> Check:
    try:
        with final():
            return Check(what, look())
    except LinkError as error:
        return Check(what, error.what, error)


def _server(site: Site) -> str:
    site.require_fit()
    with site.session() as session:
        [[version]] = session.query("SELECT version()")
    return f"{site.address}, as {site.user!r}: {str(version).partition(' (')[0]}"


def _closed(what: str, site: Site) -> Iterator[Check]:
    """Whether a server takes no changes: nothing is told of one that does, and others are looked at all the same."""

    def look() -> str:
        with site.session() as session:
            session.require_changes()
        return ""

    if (check := _checked(what, look)).error:
        yield check


def _local_schemas(links: Links) -> str:
    """Whether the local schemas are there, or can be made, and tables in them."""
    site, told, lacking = links.connect_local(), list[str](), list[str]()
    with site.session() as session:
        catalogue = site.catalogue_type(session)
        there = catalogue.schemas()
        for _, ours in links.spec.schemas:
            told.append(ours if ours in there else f"{ours} (not there yet)")
            if not catalogue.may_create(ours, [f"{ours}_any"]):
                lacking.append(ours)
    if lacking:
        raise PrivilegeError(
            f"{site.user!r} may not create tables in {', '.join(lacking)} on {site.address}.",
            " ".join(map(site.grant_schema_hint, lacking)),
        )
    return ", ".join(told)


def _tables(links: Links) -> str:
    """Whether all tables of the source's schemas may be read, and referred to."""
    site, graph = links.connect_source(), links.find_graph()
    with site.session() as session:
        catalogue = site.catalogue_type(session)
        tables = [table for group in graph.groups.values() for table in group.tables]
        catalogue.read(sorted({table.schema for table in tables}))
        lacking = [(table, some) for table in tables if (some := catalogue.missing_rights(table, SOURCE_RIGHTS))]
    if lacking:
        grants = [site.rights.on_table(some, table.schema, table.name, site.facts.account) for table, some in lacking]
        raise PrivilegeError(
            f"{site.user!r} lacks rights on {_some([f'{t.schema}.{t.name}' for t, _ in lacking])} at {site.address}.",
            f"{site.rights.granter} {site.address}: {' '.join(dict.fromkeys(grants))}",
        )
    if not graph.groups:
        raise DefinitionError(
            f"{site.user!r} sees no tables in {', '.join(theirs for theirs, _ in links.spec.schemas)} at "
            f"{site.address}.",
            "Have them granted: datajoint-link grants prints what the administrator has to run.",
        )
    return f"{len(graph.groups):,} tables, and {len(tables) - len(graph.groups):,} of parts{_unseen(graph)}"


def _unseen(graph: Graph) -> str:
    """What tables refer to and is not seen: a pull of these has to leave it out."""
    places = [outside.place for outside in graph.outside]
    return f"; foreign keys lead to what is not seen: {_some(places)}" if places else ""


def _helper_schema(links: Links, has_seen: bool) -> str:
    """Whether helper tables are the link user's to use, and can be made."""
    site, schema = links.connect_source(), links.spec.helper_schema
    with site.session() as session:
        catalogue = site.catalogue_type(session)
        names = catalogue.tables(schema) if catalogue.has_schema(schema) else []
        helpers = [name for name in names if not name.startswith("~")]
        lacking = [n for n in helpers if catalogue.missing_rights(Table(schema, n, "", (), ()), HELPER_RIGHTS)]
        wanted = (
            [links.link(name).spec.helper_table for name in links.find_graph().groups] if has_seen else ["outbound"]
        )
        may_create = catalogue.may_create(schema, wanted)
    if lacking:
        raise PrivilegeError(
            f"{site.user!r} may not use {_some([f'{schema}.{name}' for name in lacking])} at {site.address}.",
            site.grant_schema_hint(schema),
        )
    if not may_create:
        raise PrivilegeError(
            f"{site.user!r} may not create helper tables in {schema} at {site.address}.", site.grant_schema_hint(schema)
        )
    return f"{schema}, with {len(helpers):,} helper tables"


def _stores(links: Links) -> str:
    """Whether the local stores are configured, and there."""
    connection, given = links.connect_here(), dict(links.spec.store_pairs)
    routes = Routes(connection, given)
    routes.require_configured()
    for store in given:
        opened = open_store(host.config(connection), routes.route(store).local)
        try:
            opened.require_there()
        finally:
            opened.close()
    return ", ".join(f"{store or 'default'} as {routes.route(store).local}" for store in given) or "none"


def _stores_of_columns(links: Links) -> str:
    """Whether each store that a column of the source names has one here."""
    routes = Routes(links.connect_here(), dict(links.spec.store_pairs))
    for group in links.find_graph().groups.values():
        routes.require_named(group)
    return "all named"


def _some(named: list[str]) -> str:
    more = [f"and {len(named) - _TOLD:,} more"] * (len(named) > _TOLD)
    return ", ".join([*named[:_TOLD], *more])
