"""The SQL that lets the link user of a pipeline in, and out again: whole schemas, or tables with what they stand on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..accounts import Credentials
from ..addresses import Address
from ..config import require_own_helper_schema
from ..errors import ConfigError
from ..model.graph import Graph, Name, graph_of, label
from ..model.schema import Table, nearest
from ..servers.catalogue import Catalogue
from ..servers.rights import LINEAGE, PipelineAccess
from ..servers.sites import backend_meant, rights_for, visiting
from .grants import AS_ADMINISTRATOR, commented, render
from .known import Known, given, held_of, know, taken


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for.

    Attributes
    ----------
    access : PipelineAccess
        The account, and the schemas, whose tables are looked up.
    tables : sequence of str
        ``"schema.Class"`` of what is shared; nothing for whole schemas.
    ancestors : bool
        Whether all that these tables stand on is granted, too.
    backend : str or None
        ``"mysql"`` (MariaDB as well) or ``"postgresql"``, where the address does not say it; default: ``"mysql"``.
    address, administrator : optional
        The source server, and an account there that sees all of it.
    """

    access: PipelineAccess
    tables: Sequence[str] = ()
    ancestors: bool = False
    backend: str | None = None
    address: Address | None = None
    administrator: Credentials | None = field(default=None, repr=False)

    @property
    def kind(self) -> str:
        """The backend."""
        return backend_meant(self.address, self.backend)


def pipeline_grants(asked: Asked, *, revoke: bool = False, members: Sequence[str] = ()) -> str:
    """Return the script that gives an access to a pipeline, or takes it back.

    Parameters
    ----------
    asked : Asked
        What is asked for.
    revoke : bool
        Whether to take back.
    members : sequence of str
        Users of the source: then the script gives, or takes back, what they have beside that access.

    Raises
    ------
    ConfigError
        Something can only be looked up, and no server is named; a name cannot be one; or rows would be held in a schema
        that is shared.
    NotFoundError
        There is no such schema or table.
    """
    taking = revoke and not members
    access, told, known = _looked_up(asked, taking) if asked.address else (asked.access, list[str](), Known())
    if not asked.address and (asked.tables or members):
        raise ConfigError(
            f"{'Tables with their parts' if asked.tables else 'The helper tables'} have to be looked up on the source "
            "server.",
            "Say where it is: --host, with an administrator's account in DJ_USER and DJ_PASS.",
        )
    rights = rights_for(asked.kind)
    if members:
        make = rights.let_member_out if revoke else rights.let_member_in
        return render(statement for member in members for statement in make(access, member))
    if revoke:
        access, more = taken(access, known, rights)
        return render([*rights.let_pipeline_out(access), *more])
    require_own_helper_schema(access.helper_schema, access.schemas)
    access, more_told = given(access, known)
    return commented([*told, *more_told]) + render(rights.let_pipeline_in(access))


def _looked_up(asked: Asked, taking: bool) -> tuple[PipelineAccess, list[str], Known]:
    """The access with what the server tells of it; what is to be said of foreign keys; and what the account is for."""
    assert asked.address is not None and asked.administrator is not None
    access = asked.access
    address = replace(asked.address, database=access.database)
    with visiting(address, asked.administrator, asked.kind) as site, site.catalogue() as catalogue:
        schemas: Mapping[str, Sequence[str] | None] = access.schemas
        for schema in access.schemas:
            _require_schema(catalogue, schema)
        graph = _graph(catalogue, access.schemas)
        if asked.tables:
            chosen = {graph.find(name) for name in asked.tables}
            chosen = graph.ancestors(chosen) if asked.ancestors else chosen
            schemas = _tables(graph, chosen)
            told = list(_missing(graph, chosen, lambda _: "with --with-ancestors"))
        else:
            chosen = {name for name in graph.groups if name[0] in access.schemas}
            told = list(_missing(graph, chosen, lambda parent: f"with --schema {parent[0]}"))
        own = {(schema, name) for schema, names in schemas.items() for name in names or [""]}
        known = know(catalogue, access, own | {(access.helper_schema, "")})
        lineage = [schema for schema in schemas if LINEAGE in catalogue.tables(schema)]
        if taking and known.rights:
            schemas = {schema: names and held_of(catalogue, known, schema, names) for schema, names in schemas.items()}
            lineage = [schema for schema in lineage if (catalogue.folded(schema), LINEAGE) in known.rights]
        found = replace(
            access,
            schemas=schemas,
            helper_tables=[n for n in catalogue.tables(access.helper_schema) if n != LINEAGE]
            if catalogue.has_schema(access.helper_schema)
            else [],
            owners={schema: catalogue.owners(schema) for schema, tables in schemas.items() if tables is None},
            lineage=lineage,
            require_tls=access.require_tls and site.offers_tls(),
        )
        return found, told, known


def _require_schema(catalogue: Catalogue, schema: str) -> None:
    if not catalogue.has_schema(schema):
        raise catalogue.no_such(
            f"The schema {schema!r} does not exist on the server, as far as this account sees.",
            f"{nearest(schema, catalogue.schemas())} On PostgreSQL check the name of the database, too.",
            AS_ADMINISTRATOR,
            schema,
        )


def _graph(catalogue: Catalogue, schemas: Collection[str]) -> Graph:
    """The tables of some schemas, and of all that these refer to."""
    waiting, read, tables = list(schemas), set[str](), list[Table]()
    while waiting:
        schema = waiting.pop()
        if schema not in read:
            read.add(schema)
            catalogue.read([schema])
            found = [catalogue.table(schema, n) for n in catalogue.tables(schema) if not n.startswith("~")]
            tables += found
            waiting += [key.schema for table in found for key in table.foreign_keys]
    return graph_of(tables)


def _tables(graph: Graph, chosen: Collection[Name]) -> dict[str, list[str]]:
    """The tables of some groups, by schemas."""
    found: dict[str, list[str]] = {}
    for name in sorted(chosen):
        found.setdefault(name[0], []).extend(table.name for table in graph.groups[name].tables)
    return found


def _missing(graph: Graph, chosen: Collection[Name], way: Callable[[Name], str]) -> Iterator[str]:
    """What would have to be cut, as it leads to what is not granted; and the way to grant that."""
    for edge in graph.edges:
        if edge.child in chosen and edge.parent not in chosen:
            yield (
                f"{edge.place} leads to {label(edge.parent)}, which is not granted: {way(edge.parent)} it is. "
                f"Without, a pull has to cut it: cut={[edge.place]!r}"
            )
