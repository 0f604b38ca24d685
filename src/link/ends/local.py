"""The local end: tables compared with what the source's ask for, or declared; all of it undone on an error."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ..config import LinkSpec
from ..errors import ConfigError, DefinitionError, LocalMismatchError, NotFoundError, PrivilegeError
from ..holds.helper import Served, require_lengths
from ..model.kinds import is_null
from ..model.mapping import Mapping, check_same, keys_of, local_group, paired
from ..model.schema import Group, Table, part_name, part_names
from ..servers.catalogue import Catalogue
from ..servers.rights import LINEAGE
from ..servers.session import Session, lock_number
from ..servers.site import Site
from .identity import TABLE, Identity
from .lineage import record_lineage, renew_lineage

T = TypeVar("T")

logger = logging.getLogger("link")


@dataclass(frozen=True)
class Declared:
    """The local tables as the source's ask for them, in the local server's words.

    Attributes
    ----------
    group : Group
        The tables that take the source's rows.
    own_parts : tuple of Table
        Part tables that the local table has for itself.
    there : frozenset of str
        The tables that the local schema has.
    """

    group: Group
    own_parts: tuple[Table, ...]
    there: frozenset[str] = field(default=frozenset())

    @property
    def tables(self) -> tuple[Table, ...]:
        """All of them, the master first."""
        return (*self.group.tables, *self.own_parts)

    @property
    def missing(self) -> tuple[Table, ...]:
        """Those that are to be created."""
        return tuple(table for table in self.tables if table.name not in self.there)


def declare(
    source: Site,
    local: Site,
    spec: LinkSpec,
    group: Group,
    relabel: Callable[[Table], Table],
    meanwhile: Callable[[Served], T],
    take_over: bool,
) -> tuple[Mapping, T, str | None]:
    """Find the local tables for those of a source, or create them; compare them with the source's.

    Parameters
    ----------
    source, local : Site
        Both ends.
    spec : LinkSpec
        What the link was given.
    group : Group
        The source's tables.
    relabel : callable
        Gives columns with files the names of the local stores.
    meanwhile : callable
        What else is to be made, while the local tables can still be taken back; it is given the local table as a
        helper table knows it.
    take_over : bool
        Whether the local table is at home where it is, and the helper table its own, whatever was before.

    Returns
    -------
    tuple
        The tables; the result of ``meanwhile``; where the local data were last used, if that is another place.

    Raises
    ------
    LocalMismatchError
        Tables that are there do not fit. Nothing has been changed then.
    PrivilegeError
        They cannot be created.
    """
    with local.session() as session:
        # Several processes may well use classes of a schema for the first time at once: the others wait.
        session.lock((lock_number(spec.local_schema), 0), wait=True)
        return _Declaration(source, local, spec, session).declare(group, relabel, meanwhile, take_over)


class _Declaration:
    """Declares the tables of one link, through one session on the local server."""

    def __init__(self, source: Site, local: Site, spec: LinkSpec, session: Session) -> None:
        self.source, self.local, self.spec, self.session = source, local, spec, session
        self.catalogue: Catalogue = local.catalogue_type(session)

    def declare(
        self, group: Group, relabel: Callable[[Table], Table], meanwhile: Callable[[Served], T], take_over: bool
    ) -> tuple[Mapping, T, str | None]:
        wanted = self._wanted(group, relabel)
        self._require_another_schema()
        self._require_creation(wanted)
        found = [self._compare(table) for table in wanted.tables if table not in wanted.missing]
        self._require_parts(wanted)
        missing = [self._creatable(table, wanted.group, group) for table in wanted.missing]
        with self._undone_on_error() as created:
            self._create(missing, created)
            identity, made = self._identified(wanted, created, meanwhile, take_over)
            # Read back, for what has a name of its own on this server: the types of enums on PostgreSQL.
            found += [self._compare(table) for table in wanted.missing]
        named = {table.name: table for table in found}
        own_parts = tuple(named[part.name] for part in wanted.own_parts)
        mapping = paired(group, wanted.group.map(lambda table: named[table.name]), own_parts)
        if wanted.missing:
            record_lineage(self.source, self.local, mapping)
        if LINEAGE in wanted.there:
            renew_lineage(self.source, self.session, self.catalogue, self.spec, [table.name for table in found])
        return mapping, made, None if identity.place == identity.here else identity.place

    def _identified(
        self, wanted: Declared, created: list[Table], meanwhile: Callable[[Served], T], take_over: bool
    ) -> tuple[Identity, T]:
        """The number of the local table, and what is made at the source meanwhile, which is told of it."""
        identity = Identity(self.local, self.session, self.spec, TABLE in wanted.there)
        serves = identity.served(take_over)
        try:
            made = meanwhile(serves)
        finally:
            # Once the source knows the table by its number, that stays.
            if identity.made and not serves.told:
                created.append(identity.made)
        return identity, made

    def _wanted(self, group: Group, relabel: Callable[[Table], Table]) -> Declared:
        declared = local_group(group, self.spec.local_schema, self.spec.table_name).map(relabel)
        localized = declared.map(lambda table: self.catalogue.localized(table, self.source.dialect))
        own_parts = self._own_parts(group, localized)
        require_lengths(self.local, self.spec.local_schema, *(part.name for part in own_parts))
        return Declared(localized, own_parts, frozenset(self.catalogue.tables(self.spec.local_schema)))

    def _own_parts(self, group: Group, localized: Group) -> tuple[Table, ...]:
        """The part table that the local table has for itself, if there is to be one."""
        requested = self.spec.layout.requested
        if requested is None:
            return ()
        name = part_name(localized.master.name, requested)
        if any(part.name == name for part in localized.parts):
            raise DefinitionError(
                f"The source table {group.master.name} has a part table of its own named {requested}, the name of the "
                "one that shows what the source wants deleted.",
                "Link it with @link.",
            )
        return (keys_of(localized.master, name),)

    def _require_creation(self, wanted: Declared) -> None:
        spec = self.spec
        may = spec.create_tables and (spec.create_schema or self.catalogue.has_schema(spec.local_schema))
        if wanted.missing and not may:
            table = wanted.missing[0]
            raise NotFoundError(
                f"There is no local table {table.schema}.{table.name} on {self.local.address}, and it shall "
                f"not be created: create_{'schema' if spec.create_tables else 'tables'}=False."
            )

    def _compare(self, table: Table) -> Table:
        found = self.catalogue.table(table.schema, table.name)
        self._require_charsets(table, found)
        return check_same(table, found, f"on {self.local.address}", self.local.dialect.alike(self.source.dialect))

    def _require_charsets(self, table: Table, found: Table) -> None:
        """Raise LocalMismatchError where the local server would put another character for one that it does not have."""
        for column in found.columns:
            wanted = table[column.name].charset if column.name in table.names else column.charset
            if not self.local.dialect.takes_text(column, wanted):
                raise LocalMismatchError(
                    f"The local column {found.schema}.{found.name}.{column.name} on {self.local.address} is in the "
                    f"character set {column.charset}, into which its server puts characters for others that are not in "
                    f"it; the source's text comes in {wanted}.",
                    f"Declare it in {wanted}, or rename the local table: it is then made anew.",
                )

    def _require_parts(self, wanted: Declared) -> None:
        """Raise LocalMismatchError where the parts there and here are not the same."""
        master = wanted.group.master
        local_only = set(part_names(master.name, wanted.there)) - {table.name for table in wanted.tables}
        if local_only:
            raise LocalMismatchError(
                f"The local table {master.schema}.{master.name} has the part table {min(local_only)}, which the link "
                "user does not see at the source: it was dropped there, or is not granted (any more).",
                "Ask the source's administrator to grant SELECT, REFERENCES on it.",
            )
        missing = [part for part in wanted.group.parts if part in wanted.missing]
        if missing and master.name in wanted.there and self._has_rows(master):
            raise LocalMismatchError(
                f"The source has a part table {missing[0].name} that the local table {master.schema}.{master.name} "
                "lacks, and rows are there already: their parts would be missing.",
                "Delete the local rows (they are held no more then) and pull them again.",
            )

    def _creatable(self, table: Table, local: Group, source: Group) -> Table:
        """A table to be created, in what this server knows; said is what is left out of the source's."""
        created = self.catalogue.creatable(table)
        theirs = {here.name: there for there, here in zip(source.tables, local.tables, strict=True)}
        if table.name not in theirs:
            return created
        for there in theirs[table.name].columns:
            here, place = created[there.name], f"{created.schema}.{created.name}.{there.name}"
            if not is_null(there.default) and here.default is None and not here.auto_increment:
                logger.warning(
                    "%s: %s has no default here: %s can be evaluated at the source only",
                    *(self.spec.class_name, place, there.default),
                )
            if here.collation != table[there.name].collation:
                logger.warning(
                    "%s: %s has the collation %s here: the local server does not know %s",
                    *(self.spec.class_name, place, here.collation or "of the schema", there.collation),
                )
        return created

    def _has_rows(self, table: Table) -> bool:
        return bool(self.session.query(f"SELECT 1 FROM {self.local.dialect.name_of(table)} LIMIT 1"))

    def _require_another_schema(self) -> None:
        spec = self.spec
        if spec.local_schema == spec.source_schema and self.source.is_server_of(self.local):
            raise ConfigError(
                f"The local schema {spec.local_schema} is the source's own: both are on {self.source.address}.",
                "Link into a schema of another name.",
            )

    def _create(self, tables: Sequence[Table], created: list[Table]) -> None:
        schema, define = self.spec.local_schema, self.local.definitions
        try:
            if not self.catalogue.has_schema(schema):
                self.session.execute(define.create_schema(schema))
            for table in tables:
                for statement in define.create_table(table):
                    self.session.execute(statement)
                created.append(table)
        except PrivilegeError as error:
            raise PrivilegeError(
                f"Cannot create the local tables in {schema}: {error.what}", self.local.grant_schema_hint(schema)
            ) from error

    @contextlib.contextmanager
    def _undone_on_error(self) -> Iterator[list[Table]]:
        """Take back what was created: by rolling back where the server can, by dropping where it cannot."""
        schema, dialect = self.spec.local_schema, self.local.dialect
        created: list[Table] = []  # not what another process has created at the same moment
        is_new = not self.catalogue.has_schema(schema)
        try:
            with self.session.transaction():
                yield created
        except BaseException:
            left = self.catalogue.tables(schema)
            for table in reversed(created):
                if table.name in left:
                    self.session.execute(f"DROP TABLE {dialect.name_of(table)}")
            if is_new and self.catalogue.has_schema(schema) and set(left) <= {table.name for table in created}:
                self.session.execute(f"DROP SCHEMA {dialect.quote(schema)}")
            raise
