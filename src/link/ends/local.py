"""The local end: tables compared with what the source's ask for, or declared; all of it undone on an error."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ..config import LinkSpec
from ..errors import (
    ConfigError,
    DefinitionError,
    LinkError,
    LocalMismatchError,
    NotFoundError,
    PrivilegeError,
    UnreachableError,
)
from ..holds.helper import require_names
from ..holds.serving import Served
from ..model.kinds import is_null, marker
from ..model.mapping import Differences, Mapping, compare, keys_of, local_group, mirrored, paired
from ..model.readers import Reader
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
        # A bool without its marker is 0 and 1, which are equal to it.
        self.reader = Reader(spec.for_legacy, tuple(kind for kind in local.dialect.unseen if kind != "bool"))
        self.catalogue: Catalogue = local.catalogue_type(session)

    def declare(
        self, group: Group, relabel: Callable[[Table], Table], meanwhile: Callable[[Served], T], take_over: bool
    ) -> tuple[Mapping, T, str | None]:
        wanted = self._wanted(group, relabel)
        self._require_another_schema()
        lacking = self._lacking(wanted)
        missing = [table for table in wanted.missing if table not in lacking]
        self._require_creation(missing)
        found = [self._compare(table) for table in wanted.tables if table not in wanted.missing]
        there = tuple(part_names(wanted.group.master.name, wanted.there))
        surplus = tuple(name for name in there if name not in {table.name for table in wanted.tables})
        # A copy without any key is no part table.
        surplus = tuple(n for n in surplus if self.catalogue.has_keys(self.catalogue.table(self.spec.local_schema, n)))
        complaint = unfit(self.local, self.spec, found) or _complaint(self.local, found, lacking, surplus)
        # Before the transaction, which would not survive what the server cannot evaluate.
        creatable = [self._creatable(table, wanted.group, group) for table in missing]
        with self._undone_on_error() as created:
            self._create(creatable, created)
            identity, made = self._identified(wanted, created, meanwhile, take_over, complaint)
            # Read back, for what has a name of its own on this server: the types of enums on PostgreSQL.
            found += [self._require_unmoved(table, self._compare(table)) for table in missing]
        named = {different.found.name: different for different in found}
        pairs = [(t, named[w.name]) for t, w in zip(group.tables, wanted.group.tables, strict=True) if w not in lacking]
        mapping = replace(
            paired(
                Group(group.master, tuple(there for there, _ in pairs[1:])),
                Group(pairs[0][1].shared, tuple(here.shared for _, here in pairs[1:])),
                tuple(named[part.name].shared for part in wanted.own_parts),
            ),
            differences=tuple(found),
            lacking=lacking,
            surplus=surplus,
            new=wanted.group.master in missing,
        )
        if missing:
            record_lineage(self.source, self.local, mapping)
        if LINEAGE in wanted.there:
            renew_lineage(
                self.source, self.session, self.catalogue, self.spec, [different.found.name for different in found]
            )
        return mapping, made, None if identity.place == identity.here else identity.place

    def _identified(
        self,
        wanted: Declared,
        created: list[Table],
        meanwhile: Callable[[Served], T],
        take_over: bool,
        complaint: LinkError | None,
    ) -> tuple[Identity, T]:
        """The number of the local table, and what is made at the source meanwhile, which is told of it."""
        identity = Identity(self.local, self.session, self.spec, TABLE in wanted.there)
        serves = identity.served(take_over)
        serves.complaint = complaint
        if wanted.group.master in wanted.missing:
            serves.tie = None  # whatever the rows were from that it had
        try:
            made = meanwhile(serves)
            if serves.tie:
                identity.bind(serves.tie)
        finally:
            # Once the source knows the table by its number, that stays.
            if identity.made and not serves.told:
                created.append(identity.made)
        return identity, made

    def _wanted(self, group: Group, relabel: Callable[[Table], Table]) -> Declared:
        spec = self.spec
        declared = (
            mirrored(group, spec.mirror) if spec.mirror else local_group(group, spec.local_schema, spec.table_name)
        ).map(relabel)
        localized = declared.map(
            lambda table: self.reader.declared(self.catalogue.localized(table, self.source.dialect))
        )
        own_parts = self._own_parts(group, localized)
        require_names(self.local, self.spec.local_schema, *(part.name for part in own_parts))
        relations = self.catalogue.relations(self.spec.local_schema)
        wanted = Declared(localized, own_parts, frozenset(name for name, what in relations.items() if not what))
        for table in wanted.missing:
            if table.name in relations:
                raise LocalMismatchError(
                    f"{table.schema}.{table.name} on {self.local.address} is {relations[table.name]}, and no "
                    "table that could take rows.",
                    "Link into another local schema, or rename it.",
                )
        return wanted

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

    def _require_creation(self, missing: Sequence[Table]) -> None:
        spec = self.spec
        may = spec.create_tables and (spec.create_schema or self.catalogue.has_schema(spec.local_schema))
        if missing and not may:
            table = missing[0]
            raise NotFoundError(
                f"There is no local table {table.schema}.{table.name} on {self.local.address}, and it shall "
                f"not be created: create_{'schema' if spec.create_tables else 'tables'}=False."
            )

    def _compare(self, table: Table) -> Differences:
        found = self.catalogue.table(table.schema, table.name)
        different = compare(table, found, self.local.dialect.alike(self.source.dialect), self.reader)
        if not different.same_key:
            raise another_heading(self.local, [different], "Link into another local schema, or rename the local table.")
        takes = self.local.dialect.takes_text
        return replace(
            different,
            unsound=tuple(c for c in different.shared.columns if not takes(c, table[c.name].charset)),
            obstacle=self.catalogue.obstacle(found, held=False),
        )

    def _require_unmoved(self, table: Table, made: Differences) -> Differences:
        """Refuse a table that has just been made with a column that changes with every UPDATE, which was not asked for.

        Some servers give that to the first TIMESTAMP, unless they, or a session that may, are told otherwise.
        """
        moved = [column.name for column in made.found.columns if column.on_update and not table[column.name].on_update]
        if moved:
            raise LocalMismatchError(
                f"The local server {self.local.address} would change {table.schema}.{table.name}.{moved[0]} with every "
                "UPDATE (explicit_defaults_for_timestamp = OFF).",
                "Let its administrator switch that on, as newer servers have it.",
            )
        return made

    def _lacking(self, wanted: Declared) -> tuple[Table, ...]:
        """The parts that are missing here beside a master with rows, whose parts would be missing."""
        master = wanted.group.master
        missing = tuple(part for part in wanted.group.parts if part in wanted.missing)
        return missing if missing and master.name in wanted.there and self._has_rows(master) else ()

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
        for index in created.indexes:
            if index.unfit:
                columns = f" ({', '.join(index.columns)})" if index.columns else ""
                logger.log(
                    logging.WARNING if index.unique else logging.INFO,
                    "%s: %s.%s has no %sindex%s here: %s",
                    *(self.spec.class_name, created.schema, created.name, "unique " * index.unique, columns),
                    index.unfit,
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
        schema = self.spec.local_schema
        try:
            if not self.catalogue.has_schema(schema):
                self.session.execute(self.local.definitions.create_schema(schema))
            for table in tables:
                self._create_one(table)
                created.append(table)
        except PrivilegeError as error:
            raise PrivilegeError(
                f"Cannot create the local tables in {schema}: {error.what}", self.local.grant_schema_hint(schema)
            ) from error

    def _create_one(self, table: Table) -> None:
        try:
            for statement in self.local.definitions.create_table(table):
                self.session.execute(statement)
        except (PrivilegeError, UnreachableError):
            raise
        except LinkError as error:
            raise DefinitionError(
                f"The local table {table.schema}.{table.name} cannot be made: {error.what}",
                "The source's has a shape that this server, with its settings, does not take.",
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


def another_heading(local: Site, differences: Sequence[Differences], hint: str) -> LocalMismatchError:
    """The error that names every difference of some local tables."""
    tables = [
        f"The local table {different.found.schema}.{different.found.name} (on {local.address}) has another heading "
        "than the source table:" + "".join(f"\n    {line}" for line in different.lines)
        for different in differences
        if different.lines
    ]
    return LocalMismatchError("\n".join(tables), hint)


def _without_objects(local: Site, name: str, differences: Sequence[Differences]) -> LocalMismatchError | None:
    """The error that names columns with what DataJoint 0.x keeps of an object, in place of it, if there are any."""
    columns = [f"{d.found.schema}.{d.found.name}.{column.name}" for d in differences for column in d.hashes]
    if not columns:
        return None
    return LocalMismatchError(
        f"Local columns on {local.address} have the 16 bytes by which DataJoint 0.x finds an object in a store, and no "
        f"object: {', '.join(columns)}. A version of this package that did not know 0.x has made them.",
        f"Delete the rows here, {name}().delete(), which lets them go at the source; then {name}().drop(), and link "
        "again: the next pull copies the objects. drop() alone does as well, and lets go of whatever is still held.",
    )


def _unreadable(local: Site, differences: Sequence[Differences]) -> LocalMismatchError | None:
    """The error that names columns which the DataJoint that reads the local tables cannot read, if there are any."""
    columns = [
        f"{d.found.schema}.{d.found.name}.{c.name} ({marker(c.comment) or c.type})"
        for d in differences
        for c in d.unread
    ]
    if not columns:
        return None
    return LocalMismatchError(
        f"DataJoint 0.x, for which the link is (datajoint='0.x'), cannot read local columns on {local.address}: "
        f"{', '.join(columns)}.",
        "Link without datajoint='0.x', into the same tables; or with it, into another local schema, if the source has "
        "no such columns.",
    )


def _other_characters(local: Site, differences: Sequence[Differences]) -> LocalMismatchError | None:
    """The error that names a column for which its server would put other characters than there are, if there is one."""
    for different in differences:
        for column in different.unsound:
            wanted = different.expected[column.name].charset
            return LocalMismatchError(
                f"The local column {different.found.schema}.{different.found.name}.{column.name} on {local.address} is "
                f"in the character set {column.charset}, into which its server puts characters for others that are not "
                f"in it; the source's text comes in {wanted}.",
                f"Declare it in {wanted}, or rename the local table: it is then made anew.",
            )
    return None


def unfit(local: Site, spec: LinkSpec, differences: Sequence[Differences]) -> LocalMismatchError | None:
    """Why local tables cannot take rows whatever their types are, if that is so."""
    return (
        _without_objects(local, spec.class_name, differences)
        or _unreadable(local, differences)
        or _obstructed(local, differences)
        or _other_characters(local, differences)
    )


def _obstructed(local: Site, differences: Sequence[Differences]) -> LocalMismatchError | None:
    """The error that names a table which would not take rows whole, if there is one."""
    for different in differences:
        if different.obstacle:
            why, todo = different.obstacle
            table = f"{different.found.schema}.{different.found.name}"
            return LocalMismatchError(f"The local table {table} on {local.address} {why}.", f"Run {todo}")
    return None


def other_parts(master: Table, lacking: Sequence[Table], surplus: Sequence[str]) -> LocalMismatchError | None:
    """The error that names a part table which only one side has, if there is one."""
    if surplus:
        return LocalMismatchError(
            f"The local table {master.schema}.{master.name} has the part table {min(surplus)}, which the link "
            "user does not see at the source: it was dropped there, or is not granted (any more).",
            "Ask the source's administrator to grant SELECT, REFERENCES on it. If it is gone for good, drop it here.",
        )
    if lacking:
        return LocalMismatchError(
            f"The source has a part table {lacking[0].name} that the local table {master.schema}.{master.name} "
            "lacks, and rows are there already: their parts would be missing.",
            "alter() of the linked table makes the part table here. The rows that are here stay without their parts, "
            "and verify() names them, until they are deleted here and pulled again.",
        )
    return None


def _complaint(
    local: Site, found: Sequence[Differences], lacking: Sequence[Table], surplus: Sequence[str]
) -> LocalMismatchError | None:
    """Why a link to these local tables, which take rows, shall not begin."""
    if any(different.lines for different in found):
        return another_heading(local, found, "Link into another local schema, or rename the local table.")
    return other_parts(found[0].expected, lacking, surplus) if found else None
