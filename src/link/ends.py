"""Both ends of one link: connected when first needed, checked against each other before anything is created.

Nothing is ever created at the source but the helper table and, where the account may, its schema.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import re
import socket
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import datajoint as dj
from datajoint.errors import AccessError, DataJointError
from datajoint.heading import Heading
from datajoint.lineage import ensure_lineage_table, insert_lineages
from datajoint.table import FreeTable

from . import objects, schema
from .config import Address, Credentials, LinkSpec, Reference, credentials, names_of, outbound_schema
from .errors import (
    ConfigError,
    DefinitionError,
    HelperMismatchError,
    LinkError,
    LocalMismatchError,
    LoginError,
    NotFoundError,
    PrivilegeError,
    ServerError,
    StoreError,
    TransactionError,
    UnreachableError,
)
from .layouts import WORKER, Layout, part_name
from .outbound import Outbound
from .schema import Entity, ForeignKey, Table
from .servers import DEFAULT_PORTS, Connection, Server, server_for

logger = logging.getLogger("link")

SOURCE_RIGHTS = ("SELECT", "REFERENCES")
HELPER_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
SURPLUS_RIGHTS = ("INSERT", "UPDATE", "DELETE")

#: PostgreSQL's SSLRequest: its length and its code (documentation, "Message Formats").
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
#: How the comment of a helper table begins.
_SERVES = "datajoint-link"

#: Of which source tables it has been said that the account could change them.
_warned: list[tuple[object, ...]] = []


class Ends:
    """The source and the local end of one link.

    Parameters
    ----------
    spec : LinkSpec
        What ``@link`` was given.
    connection : datajoint.Instance or datajoint.Connection, optional
        The local side; DataJoint's own connection where there is none.
    parts_named : frozenset of str
        Part classes that the body of the decorated class names; each must be there.
    source : datajoint.Connection, or whatever has one as its ``connection``, optional
        The source side, where it is not to be connected to as the link user of the environment.
    create_schema, create_tables : bool
        Whether the local schema, and the local tables, may be created where they are missing.
    """

    def __init__(
        self,
        spec: LinkSpec,
        connection: Any = None,
        parts_named: frozenset[str] = frozenset(),
        source: Any = None,
        create_schema: bool = True,
        create_tables: bool = True,
    ) -> None:
        self.spec = spec
        self._given = connection
        self.parts_named = parts_named
        self._source = source
        self._create_schema = create_schema
        self._create_tables = create_tables
        self._lock = threading.RLock()
        self._entity: Entity | None = None
        #: Part tables that the local table has beside those of the source.
        self.own_parts: tuple[Table, ...] = ()
        self._heading: Heading | None = None

    # connections

    @functools.cached_property
    def local_connection(self) -> dj.Connection:
        """DataJoint's connection to the local server."""
        if self._given is None:
            return dj.conn()
        connection = getattr(self._given, "connection", self._given)
        if not isinstance(connection, dj.Connection):
            raise ConfigError(
                f"connection= must be a dj.Instance or a dj.Connection, not {type(self._given).__name__}.",
                "For example: connection=dj.Instance(host, user, password).",
            )
        return connection

    @functools.cached_property
    def local(self) -> Server:
        """The local server."""
        return server_for(self.local_connection)

    @functools.cached_property
    def source_connection(self) -> dj.Connection:
        """DataJoint's connection to the source server, as the link user."""
        if self._source is not None:
            connection: dj.Connection = getattr(self._source, "connection", self._source)
            return connection
        address, account = self.spec.address, credentials()
        return connected(address, account, self.spec.use_tls, self.local_connection.adapter.backend)

    @property
    def helper_schema(self) -> str:
        """The schema of the helper table."""
        return self.spec.helper_schema or outbound_schema()

    @functools.cached_property
    def source(self) -> Server:
        """The source server."""
        server = server_for(self.source_connection)
        with contextlib.closing(server.connect()) as connection:
            server.check_version(connection)
        return server

    def require_no_transaction(self, what: str) -> None:
        """Raise TransactionError inside a transaction on the local connection."""
        if self.local.in_transaction():
            raise TransactionError(
                f"{what} {self.spec.class_name} was called inside an open transaction on the local connection.",
                "Leave the transaction first: the source could not be told whether it commits.",
            )

    # definitions

    @functools.cached_property
    def source_entity(self) -> Entity:
        """The source tables as they are declared there, checked for the rights that a link needs."""
        spec, server = self.spec, self.source
        with contextlib.closing(server.connect()) as connection:
            if not server.schema_exists(connection, spec.source_schema):
                raise NotFoundError(
                    f"The link user {server.user!r} sees no schema {spec.source_schema!r} on {server.where}.",
                    schema.nearest(spec.source_schema, server.schemas(connection)),
                )
            tables = server.tables(connection, spec.source_schema)
            master = schema.find_master(spec.class_name, spec.table_name, tables)
            if master is None:
                raise NotFoundError(
                    f"The link user {server.user!r} sees no table {spec.table_name!r} (class {spec.class_name}) in the "
                    f"schema {spec.source_schema} on the source server {server.where}.",
                    schema.nearest(spec.table_name, [t.lstrip("#_") for t in tables])
                    + " "
                    + server.grant_hint(["SELECT", "REFERENCES"], spec.source_schema, spec.table_name),
                )
            read = [
                server.read_table(connection, spec.source_schema, n)
                for n in [master, *schema.part_names(master, tables)]
            ]
            for table in read:
                self._require_rights(connection, table, SOURCE_RIGHTS)
                self._warn_of_surplus(connection, table)
        self._require_heading(read[0])
        check_key(read[0], spec.layout)
        _check_types(server, read)
        entity = schema.with_master_keys(read[0], read[1:])
        self._require_parts(entity)
        return entity

    def _require_rights(self, connection: Connection, table: Table, rights: Sequence[str]) -> None:
        missing = self.source.missing_rights(connection, table, rights)
        if missing:
            raise PrivilegeError(
                f"The link user {self.source.user!r} lacks {' and '.join(missing)} on {table.schema}.{table.name} "
                f"on the source server {self.source.where}.",
                self.source.grant_hint(missing, table.schema, table.name),
            )

    def source_heading(self, heading: Heading) -> Heading:
        """DataJoint's heading of the source table, loaded once: its connection serves one thread at a time."""
        with self._lock:
            if self._heading is None:
                with self.source.in_our_words():
                    heading.attributes  # noqa: B018 - loads
                self._heading = heading
            return self._heading

    def _require_heading(self, table: Table) -> None:
        """DataJoint reads the schema's ``~lineage`` wherever it sees it, as with a right on the whole schema."""
        name = self.source_connection.adapter.make_full_table_name(table.schema, table.name)
        try:
            with self.source.in_our_words():
                FreeTable(self.source_connection, name).heading.attributes  # noqa: B018 - reads
        except AccessError as error:
            raise PrivilegeError(
                f"DataJoint cannot read {table.schema}.{table.name} on the source server {self.source.where} as "
                f"{self.source.user!r}: {error}",
                self.source.grant_hint(["SELECT"], table.schema, "~lineage"),
            ) from error

    def _warn_of_surplus(self, connection: Connection, table: Table) -> None:
        """Say once that the account may change the source's rows: a link never does, and somebody else could."""
        missing = self.source.missing_rights(connection, table, SURPLUS_RIGHTS)
        surplus = [right for right in SURPLUS_RIGHTS if right not in missing]
        known = (self.source.where, self.source.user, self.spec, table.name)
        if surplus and known not in _warned:
            _warned.append(known)
            logger.warning(
                "%s: the link user %r has more rights than a link needs on %s.%s at %s: %s",
                *(self.spec.class_name, self.source.user, table.schema, table.name, self.source.where),
                ", ".join(surplus),
            )

    def _require_parts(self, entity: Entity) -> None:
        unseen = self.parts_named - {entity.part_name(part) for part in entity.parts}
        if unseen:
            name = sorted(unseen)[0]
            raise PrivilegeError(
                f"The class {self.spec.class_name} names a part table {name} that the link user {self.source.user!r} "
                f"does not see in {self.spec.source_schema} on {self.source.where}: it is not there, or not granted.",
                self.source.grant_hint(
                    ["SELECT", "REFERENCES"],
                    entity.master.schema,
                    f"{entity.master.name}__{dj.utils.from_camel_case(name)}",
                ),
            )

    @functools.cached_property
    def helper(self) -> Table:
        """The helper table, checked against the source table; created where it is missing."""
        server, source, layout = self.source, self.source_entity.master, self.spec.layout
        schema_name, name = self.helper_schema, self.spec.helper_table
        parts = [part_name(name, suffix) for suffix in layout.parts.values()]
        with contextlib.closing(server.connect()) as connection:
            if not {name, *parts} <= set(server.tables(connection, schema_name)):
                self._create_helper(connection, parts)
            helper = self._read_helper(connection, name)
            check_helper(source, helper, layout, f"on the source server {server.where}")
            for part in parts:
                _check_helper_part(helper, self._read_helper(connection, part))
            self._check_destination(helper)
            return self._completed(connection, helper)

    def _read_helper(self, connection: Connection, name: str) -> Table:
        table = self.source.read_table(connection, self.helper_schema, name)
        self._require_rights(connection, table, HELPER_RIGHTS)
        return table

    def _completed(self, connection: Connection, helper: Table) -> Table:
        """Add the columns that a helper table made by an older program lacks, where there is no doing without them."""
        needed = {c: labels for c, labels in self.spec.layout.labels.items() if c not in helper.names}
        if not needed:
            return helper
        if WORKER not in helper.names:
            needed[WORKER] = ()
        try:
            for statement in self.source.add_helper_columns(helper.schema, helper.name, needed):
                connection.execute(statement)
        except PrivilegeError as error:
            raise PrivilegeError(
                f"The helper table {helper.schema}.{helper.name} on the source server {self.source.where} was made by "
                f"an older program, and the columns {', '.join(needed)} cannot be added: {error.what}",
                "The account needs all rights on the outbound schema and its tables; where tables have owners, own it.",
            ) from error
        except UnreachableError:
            raise
        except ServerError:
            # Another process may just have done the same.
            if not set(needed) <= set(self._read_helper(connection, helper.name).names):
                raise
        return self._read_helper(connection, helper.name)

    def _destination(self) -> str:
        """The comment of the helper table: which local table it serves, as far as the local server can be told."""
        with contextlib.closing(self.local.connect()) as connection:
            identity = self.local.lasting_identity(connection)
        if identity is None:
            return _SERVES
        table = "\0".join((identity, self.spec.local_schema, self.spec.table_name))
        return f"{_SERVES} {hashlib.sha256(table.encode()).hexdigest()[:16]}"

    def _check_destination(self, helper: Table) -> None:
        # Two copies behind one hold: the first to delete would release it for both.
        served, own = helper.comment, self._destination()
        if served.startswith(f"{_SERVES} ") and own != _SERVES and served != own:
            raise HelperMismatchError(
                f"The helper table {helper.schema}.{helper.name} on the source server {self.source.where} serves "
                f"another local table than {self.spec.local_schema}.{self.spec.table_name} on {self.local.where}.",
                f"{self.spec.layout.elsewhere} If the local server was moved or restored and this is the same "
                f"table, tell the source by setting the comment of the helper table to '{own}'.",
            )

    def _create_helper(self, connection: Connection, parts: Sequence[str]) -> None:
        """Create the helper table, and its part tables, as far as they are missing."""
        server, source = self.source, self.source_entity.master
        schema_name, name = self.helper_schema, self.spec.helper_table
        _check_lengths(server, schema_name, name, *parts)
        failed = f"Cannot create the helper table {schema_name}.{name} at the source"
        columns: dict[str, tuple[str, ...]] = {**self.spec.layout.labels, WORKER: ()}
        try:
            with connection.transaction():
                if not server.schema_exists(connection, schema_name):
                    server.create_schema(connection, schema_name)
                there = server.tables(connection, schema_name)
                statements: list[str] = []
                if name not in there:
                    statements += server.create_helper(source, schema_name, name, columns, self._destination())
                for part in parts:
                    if part not in there:
                        statements += server.create_helper_part(source, schema_name, part, name)
                for statement in statements:
                    connection.execute(statement)
        except PrivilegeError as error:
            raise PrivilegeError(
                f"{failed}: {error.what}",
                server.grant_helper_hint(schema_name, name),
            ) from error
        except UnreachableError:
            raise
        except ServerError as error:
            if not {name, *parts} <= set(server.tables(connection, schema_name)):
                raise DefinitionError(f"{failed}: {error.what}") from error

    def outbound(self) -> Outbound:
        """The helper table as a new run sees it."""
        return Outbound(self.source, self.source_entity.master, self.helper, self.spec.layout)

    # the local tables

    @property
    def declared(self) -> bool:
        """Whether the local table is there; asks the local server only."""
        with contextlib.closing(self.local.connect()) as connection:
            return self.spec.table_name in self.local.tables(connection, self.spec.local_schema)

    def local_parts(self) -> list[str]:
        """The names of the local part tables."""
        with contextlib.closing(self.local.connect()) as connection:
            return schema.part_names(self.spec.table_name, self.local.tables(connection, self.spec.local_schema))

    @property
    def entity(self) -> Entity:
        """The local tables, checked against the source; created where they are missing, the helper table too.

        Raises
        ------
        LinkError
            Whatever does not fit. Nothing has been changed then on either server.
        """
        with self._lock:
            if self._entity is None:
                self._check_stores()
                self._entity = self._declare()
            return self._entity

    @property
    def stores(self) -> dict[str, Any]:
        """The stores in DataJoint's settings of the local connection."""
        return dict(self.local_connection._config.stores or {})

    def _check_stores(self) -> None:
        for store, given in self.spec.stores.items():
            local = names_of(store, given)[1]
            if local not in self.stores:
                raise StoreError(
                    f"The store {local!r} of stores= is not configured.",
                    f"Add it to dj.config.stores[{local!r}] (or datajoint.json), with protocol and location.",
                )
        named = [pair for table in self.source_entity.tables for pair in objects.stores_named(table)]
        missing = [(store, column) for store, column in named if store not in self.spec.stores]
        if missing:
            lines = "".join(f"\n    {column}" for _, column in missing)
            raise StoreError(
                f"The source keeps files in stores that stores= does not name:{lines}",
                f"Say where they go: stores={{{missing[0][0] or 'default'!r}: 'local_store'}}, with both configured in "
                "dj.config.stores.",
            )

    def route(self, store: str, named_in: str = "") -> objects.Route:
        """Where the objects of one of the source's stores are, and where they go.

        ``named_in`` is the column whose values name it.

        Raises
        ------
        StoreError
            ``stores=`` does not name it, or the local store is not configured as it must be.
        """
        if store not in self.spec.stores:
            raise StoreError(
                f"Values of {named_in} name files in the source's store {store!r}, which stores= does not name.",
                f"Say where they go: stores={{{store or 'default'!r}: 'local_store'}}.",
            )
        given = self.spec.stores[store]
        source, local = names_of(store, given)
        local = self.stores["default"] if local == "default" else local
        try:
            spec = self.local_connection._config.get_store_spec(local)
        except DataJointError as error:
            raise StoreError(f"The store {local!r} cannot be used: {error}") from error
        return objects.Route(source, local, isinstance(given, Reference), spec)

    def _declare(self) -> Entity:
        spec, server = self.spec, self.local
        local_names = {store: self.route(store).local for store in spec.stores}
        declared = schema.local_entity(self.source_entity, spec.local_schema, spec.table_name).map(
            lambda table: objects.relabelled(table, local_names)
        )
        with contextlib.closing(server.connect()) as connection:
            server.check_version(connection)
            # Several processes may well use the class for the first time at once: the others wait, and find it done.
            connection.lock((zlib.crc32(f"{spec.local_schema}.{spec.table_name}".encode()) & 0x7FFFFFFF, 0), wait=True)
            wanted = declared.map(lambda table: server.localized(connection, table, self.source))
            tables = [*wanted.tables, *self._own_parts(wanted)]
            self._require_another_schema(connection)
            _check_lengths(server, spec.local_schema, *(part.name for part in self._own_parts(wanted)))
            there = server.tables(connection, spec.local_schema)
            missing = [table for table in tables if table.name not in there]
            self._require_creation(connection, missing)
            found = [self._compare(connection, table) for table in tables if table not in missing]
            self._check_parts(connection, wanted, missing, there)
            with self._undone_on_error(connection) as created:
                self._create_local(connection, missing, created)
                self.helper  # noqa: B018 - created and checked here, while the local tables can still be taken back
                # Read back, for what has a name of its own on this server: the types of enums on PostgreSQL.
                found += [self._compare(connection, table) for table in missing]
        if missing:
            self._record_lineage(wanted)
        shared = {table.name: table for table in found}
        self.own_parts = tuple(shared[table.name] for table in self._own_parts(wanted))
        return Entity(shared[wanted.master.name], tuple(shared[part.name] for part in wanted.parts))

    def _own_parts(self, wanted: Entity) -> list[Table]:
        """The part table that the local table has for itself, if there is to be one."""
        if self.spec.layout.requested is None:
            return []
        name = part_name(wanted.master.name, self.spec.layout.requested)
        if any(part.name == name for part in wanted.parts):
            raise DefinitionError(
                f"The source table {self.source_entity.master.name} has a part table of its own named "
                f"{self.spec.layout.requested}, the name of the one that shows what the source wants deleted.",
                "Link it with @link.",
            )
        return [schema.keys_of(wanted.master, name)]

    def _require_creation(self, connection: Connection, missing: Sequence[Table]) -> None:
        may = self._create_tables and (
            self._create_schema or self.local.schema_exists(connection, self.spec.local_schema)
        )
        if missing and not may:
            raise NotFoundError(
                f"There is no local table {missing[0].schema}.{missing[0].name} on {self.local.where}, and it shall "
                f"not be created: create_{'schema' if self._create_tables else 'tables'}=False."
            )

    def _compare(self, connection: Connection, table: Table) -> Table:
        found = self.local.read_table(connection, table.schema, table.name)
        return schema.check_same(table, found, f"on {self.local.where}", self.local.alike(self.source))

    def _check_parts(self, connection: Connection, wanted: Entity, missing: list[Table], there: list[str]) -> None:
        known = {part.name for part in (*wanted.parts, *self._own_parts(wanted))}
        local_only = set(schema.part_names(wanted.master.name, there)) - known
        if local_only:
            raise LocalMismatchError(
                f"The local table {wanted.master.schema}.{wanted.master.name} has the part table "
                f"{sorted(local_only)[0]}, which the link user does not see at the source: it was dropped there, "
                "or is not granted (any more).",
                "Ask the source's administrator to grant SELECT, REFERENCES on it.",
            )
        missing = [part for part in missing if part in wanted.parts]
        if missing and wanted.master.name in there:
            rows = connection.query(
                f"SELECT 1 FROM {self.local.name(wanted.master.schema, wanted.master.name)} LIMIT 1"
            )
            if rows:
                raise LocalMismatchError(
                    f"The source has a part table {missing[0].name} that the local table {wanted.master.schema}."
                    f"{wanted.master.name} lacks, and rows are there already: their parts would be missing.",
                    "Delete the local rows (they are held no more then) and pull them again.",
                )

    def _require_another_schema(self, connection: Connection) -> None:
        spec = self.spec
        if spec.local_schema == spec.source_schema and self.local.identity(connection) == self._source_identity():
            raise ConfigError(
                f"The local schema {spec.local_schema} is the source's own: both are on {self.source.where}.",
                "Link into a schema of another name.",
            )

    def _source_identity(self) -> tuple[str, ...]:
        with contextlib.closing(self.source.connect()) as connection:
            return self.source.identity(connection)

    def _create_local(self, connection: Connection, tables: Sequence[Table], created: list[Table]) -> None:
        schema_name, server = self.spec.local_schema, self.local
        try:
            if not server.schema_exists(connection, schema_name):
                server.create_schema(connection, schema_name)
            for table in tables:
                for statement in server.create_table(table):
                    connection.execute(statement)
                created.append(table)
        except PrivilegeError as error:
            raise PrivilegeError(
                f"Cannot create the local tables in {schema_name}: {error.what}", server.grant_schema_hint(schema_name)
            ) from error

    @contextlib.contextmanager
    def _undone_on_error(self, connection: Connection) -> Iterator[list[Table]]:
        """Take back what was created: by rolling back where the server can, by dropping where it cannot."""
        schema_name, server = self.spec.local_schema, self.local
        created: list[Table] = []  # not what another process has created at the same moment
        is_new = not server.schema_exists(connection, schema_name)
        try:
            with connection.transaction():
                yield created
        except BaseException:
            left = server.tables(connection, schema_name)
            for table in reversed(created):
                if table.name in left:
                    connection.execute(f"DROP TABLE {server.name(table.schema, table.name)}")
            if is_new and server.schema_exists(connection, schema_name) and set(left) <= {t.name for t in created}:
                connection.execute(f"DROP SCHEMA {server.quote(schema_name)}")
            raise

    def _record_lineage(self, entity: Entity) -> None:
        """Tell DataJoint where the attributes come from, so that linked tables join with one another by name.

        An attribute's origin is found along the source's foreign keys, as far as the link user sees them.
        """
        pairs = list(zip(self.source_entity.tables, entity.tables, strict=True))
        pairs += [(self.source_entity.master, part) for part in self._own_parts(entity)]
        with contextlib.closing(self.source.connect()) as connection:
            entries = [
                (here.name, name, self._origin(connection, there, name))
                for there, here in pairs
                for name in here.names
                if name in there.primary_key or any(name in fk.columns for fk in there.foreign_keys)
            ]
        with self.local.in_our_words():
            ensure_lineage_table(self.local_connection, entity.master.schema)
            insert_lineages(self.local_connection, entity.master.schema, entries)

    def _origin(self, connection: Connection, table: Table, column: str, seen: tuple[ForeignKey, ...] = ()) -> str:
        for fk in table.foreign_keys:
            if column in fk.columns and fk not in seen:
                try:
                    parent = self.source.read_table(connection, fk.schema, fk.table)
                except PrivilegeError:
                    parent = Table(fk.schema, fk.table, "", (), ())  # known by name only
                return self._origin(connection, parent, fk.referred[fk.columns.index(column)], (*seen, fk))
        # Two labs may well have schemas of one name: the server is part of the origin.
        return f"{self.source.where}/{table.schema}.{table.name}.{column}"


def _check_lengths(server: Server, *names: str) -> None:
    for name in names:
        if not server.fits(name):
            raise ConfigError(f"The name {name!r} is too long for the server {server.where}.")


def check_key(source: Table, layout: Layout) -> None:
    """Raise DefinitionError for a source table whose key leaves no room for the columns of a helper table."""
    if not source.primary_key:
        raise DefinitionError(f"The source table {source.schema}.{source.name} has no primary key.")
    taken = [name for name in source.primary_key if name.lower() in (*layout.labels, WORKER)]
    if taken:
        raise DefinitionError(
            f"The primary key of the source table {source.schema}.{source.name} has the attribute {taken[0]}, which is "
            "a column of the helper table."
        )


def _check_types(server: Server, tables: Sequence[Table]) -> None:
    refused = [f"{t.name}.{c.name}: {c.type}" for t in tables for c in t.columns if not server.supports(c)]
    if refused:
        raise DefinitionError(
            f"The source tables in {tables[0].schema} on {server.where} have columns of types that cannot be linked:"
            "\n    " + "\n    ".join(refused)
        )


def check_helper(source: Table, helper: Table, layout: Layout, where: str) -> None:
    """Raise HelperMismatchError for a helper table that is not one of this source table in this layout."""
    visible = {c.name: c for c in helper.columns if not c.hidden}
    differences = [
        *_key_differences(source, helper),
        *(f"column {name}: missing" for name in layout.visible if name not in visible),
        *(
            f"column {name}: {visible[name].type}, expected enum{labels}"
            for name, labels in layout.visible.items()
            if name in visible and set(re.findall(r"'(.*?)'", visible[name].type)) != set(labels)
        ),
        *(f"column {name}: not expected" for name in visible if name not in (*source.primary_key, *layout.visible)),
        *_target_differences(source, helper),
    ]
    if differences:
        raise HelperMismatchError(
            f"The helper table {helper.schema}.{helper.name} ({where}) does not fit the source table "
            f"{source.schema}.{source.name}:\n    " + "\n    ".join(differences),
            layout.elsewhere,
        )


def _check_helper_part(helper: Table, part: Table) -> None:
    differences = [*_key_differences(helper, part), *_target_differences(helper, part)]
    if differences:
        raise HelperMismatchError(
            f"The table {part.schema}.{part.name} at the source is no part table of {helper.name}:\n    "
            + "\n    ".join(differences)
        )


def _key_differences(referred: Table, table: Table) -> Iterator[str]:
    for name in referred.primary_key:
        if name not in table.names:
            yield f"column {name}: missing"
        elif table[name].type != referred[name].type:
            yield f"column {name}: {table[name].type}, in the table {referred.name} {referred[name].type}"
    if set(table.primary_key) != set(referred.primary_key):
        yield f"primary key: ({', '.join(table.primary_key)}), expected ({', '.join(referred.primary_key)})"


def _target_differences(referred: Table, table: Table) -> Iterator[str]:
    targets = {(fk.schema, fk.table) for fk in table.foreign_keys}
    if (referred.schema, referred.name) not in targets:
        others = ", ".join(f"{s}.{t}" for s, t in sorted(targets)) or "no table"
        yield f"foreign key: refers to {others}, expected {referred.schema}.{referred.name}"


def connected(
    address: Address, account: Credentials, use_tls: bool | Mapping[str, Any] | None, backend: str
) -> dj.Connection:
    """A connection of DataJoint's to a source server, which is of the kind ``backend`` unless its address says so.

    Raises
    ------
    LinkError
        The server cannot be reached, or refuses the account.
    """
    backend = address.backend or backend
    port = address.port or DEFAULT_PORTS[backend]
    if backend == "mysql" and port == DEFAULT_PORTS["postgresql"] and _is_postgresql(address.host, port):
        raise ConfigError(
            f"The source server {address.host}:{port} is a PostgreSQL server.",
            f"Say so with backend='postgresql', or in the URL: postgresql://{address.host}:{port}.",
        )
    try:
        instance = dj.Instance(
            address.host,
            account.user,
            account.password,
            port=port,
            use_tls=cast(Any, use_tls),
            backend=cast(Any, backend),
            database__name=address.database,
        )
    except LinkError:
        raise
    except Exception as error:
        raise _refused(error, f"{address.host}:{port}", account.user, account.password) from None
    return instance.connection


def _is_postgresql(host: str, port: int) -> bool:
    """Whether a server answers PostgreSQL's question for TLS; a client of MySQL waits for a greeting, for a minute."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5) as wire:
        wire.sendall(_SSL_REQUEST)
        return wire.recv(1) in (b"S", b"N")
    return False


def _refused(error: Exception, where: str, user: str, password: str) -> LinkError:
    """What DataJoint's connection attempt met, in our words."""
    text = str(error).strip().replace(password, "***")
    if re.search(r'database ".*" does not exist', text):
        return NotFoundError(
            f"The source server {where} has no such database (user {user!r}): {text}",
            "Name it with database= or in the URL.",
        )
    if any(sign in text for sign in ("Access denied", "authentication failed", "no password supplied", "1045")):
        return LoginError(
            f"The source server {where} refused the link user {user!r}: {text}",
            "Check LINK_USER and LINK_PASS.",
        )
    return UnreachableError(
        f"Cannot connect to the source server {where} as {user!r}: {text}",
        "Check host, port and backend, and that the server runs and can be reached from here.",
    )
