"""The local tables of one link: compared with what the source's ask for, and declared where they are missing."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..config import LinkSpec
from ..errors import (
    DefinitionError,
    LinkError,
    LocalMismatchError,
    NotFoundError,
    PrivilegeError,
    ReadOnlyError,
    UnreachableError,
    told_together,
)
from ..holds.helper import require_names
from ..holds.serving import Served
from ..model.kinds import is_null
from ..model.mapping import (
    Differences,
    Mapping,
    compare,
    keys_of,
    local_group,
    mirrored,
    paired,
    refitted,
    same_key,
)
from ..model.readers import Reader
from ..model.schema import Group, KeyName, Table, key_name, master_of, part_name, part_names
from ..model.served import Tie
from ..servers.catalogue import Catalogue
from ..servers.dialect import plain
from ..servers.rights import LINEAGE
from ..servers.session import Session
from ..servers.site import Site
from .complaints import another_heading, complaint_of, unfit
from .identity import Identity, linked_in
from .lineage import renew_lineage

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


@dataclass(frozen=True)
class Order:
    """The local tables of one link, as they are asked for.

    Attributes
    ----------
    spec : LinkSpec
        What the link was given.
    group : Group
        The source's tables.
    relabel : callable
        Gives columns with files the names of the local stores.
    """

    spec: LinkSpec
    group: Group
    relabel: Callable[[Table], Table]


class Declaration:
    """The local tables of one link, looked at, and declared, through one session on the local server.

    Parameters
    ----------
    source, local : Site
        Both ends.
    session : Session
        On the local server.
    catalogue : Catalogue
        The local server's, read through that session.
    known : dict
        The local tables that others refer to, by their names; those of this link are added.
    order : Order
        What is asked for.

    Attributes
    ----------
    creatable : list of Table
        What is to be created.
    serves : Served
        The local table as a helper table knows it, once that was made.
    """

    wanted: Declared

    def __init__(
        self,
        source: Site,
        local: Site,
        session: Session,
        catalogue: Catalogue,
        known: dict[tuple[str, str], Table],
        order: Order,
    ) -> None:
        self.source, self.local, self.session, self.catalogue, self.known = source, local, session, catalogue, known
        self.order, self.spec, self.group = order, order.spec, order.group
        # A bool without its marker is 0 and 1, which are equal to it.
        kinds = tuple(kind for kind in local.dialect.unseen if kind != "bool")
        self.reader = Reader(self.spec.for_legacy, kinds)
        self.creatable: list[Table] = []
        self.serves: Served | None = None

    def look(self) -> None:
        """Compare what is there with what the source's ask for; nothing is changed.

        Raises
        ------
        LinkError
            It does not fit, or cannot be made.
        """
        self.wanted = wanted = self._wanted()
        self.lacking = self._lacking(wanted)
        self.missing = [table for table in wanted.missing if table not in self.lacking]
        self._require_creation(self.missing)
        self.found = [self._compare(table) for table in wanted.tables if table not in wanted.missing]
        if self.spec.mirror:
            told_together(functools.partial(self._require_no_other_keys, different) for different in self.found)
        there = tuple(part_names(wanted.group.master.name, wanted.there))
        surplus = tuple(name for name in there if name not in {table.name for table in wanted.tables})
        # A copy without any key is no part table.
        has_keys, schema = self.catalogue.has_keys, self.spec.local_schema
        self.surplus = tuple(name for name in surplus if has_keys(self.catalogue.table(schema, name)))
        self.complaint = unfit(self.local, self.spec, self.found) or complaint_of(
            self.local, self.found, self.lacking, self.surplus
        )
        # Before the transaction, which would not survive what the server cannot evaluate.
        self.creatable = [self._creatable(table) for table in self.missing]

    def create(self, created: list[Table], schemas: set[str]) -> None:
        """Create what is missing, the local schema too, unless it is one of those that have just been created."""
        schema = self.spec.local_schema
        try:
            if schema not in schemas and not self.catalogue.has_schema(schema):
                self.session.execute(self.local.definitions.create_schema(schema))
                schemas.add(schema)
            for table in self.creatable:
                self._create_one(table)
                created.append(table)
        except PrivilegeError as error:
            raise PrivilegeError(
                f"Cannot create the local tables in {schema}: {error.what}", self.local.grant_schema_hint(schema)
            ) from error

    def _create_one(self, table: Table) -> None:
        try:
            self.session.execute_all(self.local.definitions.create_table(table))
        except (PrivilegeError, ReadOnlyError, UnreachableError):
            raise
        except LinkError as error:
            raise DefinitionError(
                f"The local table {table.schema}.{table.name} cannot be made: {error.what}",
                "The source's has a shape that this server, with its settings, does not take.",
            ) from error

    def identify(self, numbered: set[str], take_over: bool) -> Served:
        """Read the number of the local table: by that a helper table is to know it."""
        self.identity = Identity(self.local, self.session, self.spec, numbered)
        self.serves = serves = self.identity.served(take_over)
        serves.complaint = self.complaint
        if self.wanted.group.master in self.missing:
            serves.tie = None  # whatever the rows were from that it had
        self.former = serves.tie
        return serves

    def bind(self) -> None:
        """Note where the rows of the local table are from, once that is known."""
        if self.serves and self.serves.tie:
            self.identity.bind(replace(self.serves.tie, keys=self._known_keys(self.former)))

    def _known_keys(self, former: Tie | None) -> tuple[KeyName, ...] | None:
        """The foreign keys to be noted with a table: of one that a pipeline has made those that the source had then.

        And those that are here since, or were cut by word.
        """
        mirror = self.spec.mirror
        if mirror is None:
            return former.keys if former else None
        there = {(table.name, key) for table in self.group.tables for key in table.foreign_keys}
        if former is None or former.keys is None:
            return tuple(sorted(key_name(*key) for key in there))
        found = {different.expected.name: different.found.foreign_keys for different in self.found}
        known = set(former.keys) | mirror.cut
        for table, key in there:
            here = mirror.key(table, key)
            if here and any(same_key(here, own) for own in found.get(table, ())):
                known.add(key_name(table, key))
        return tuple(sorted(known & {key_name(*key) for key in there} | set(former.keys)))

    def read_back(self) -> None:
        """Read what was created, for what has a name of its own on this server: the types of enums on PostgreSQL."""
        self.found += [self._require_unmoved(table, self._compare(table)) for table in self.missing]

    def mapping(self) -> Mapping:
        """The tables there and here."""
        wanted, group = self.wanted, self.group
        named = {different.found.name: different for different in self.found}
        tables = zip(group.tables, wanted.group.tables, strict=True)
        pairs = [(there, named[here.name]) for there, here in tables if here not in self.lacking]
        return replace(
            paired(
                Group(group.master, tuple(there for there, _ in pairs[1:])),
                Group(pairs[0][1].shared, tuple(here.shared for _, here in pairs[1:])),
                tuple(named[part.name].shared for part in wanted.own_parts),
            ),
            differences=tuple(self.found),
            lacking=self.lacking,
            surplus=self.surplus,
            new=wanted.group.master in self.missing,
        )

    def renew_lineage(self) -> bool:
        """Let what is written down of where attributes come from name their server as it is named now; whether it is.

        Where a schema has nothing of the kind DataJoint does not ask for it: it is the lab's, and has been made by 0.x.
        Or else all its tables are linked, and who has made them did not come to it.
        """
        if LINEAGE not in self.wanted.there:
            masters = {master_of(name) for name in self.wanted.there if not name.startswith("~")}
            return not (self.spec.mirror and masters <= set(linked_in(self.session, self.spec.local_schema)))
        names = [different.found.name for different in self.found]
        return renew_lineage(self.source, self.session, self.catalogue, self.spec, names)

    @property
    def was_at(self) -> str | None:
        """Where the local data were last used, if that is another place than where they are."""
        return None if self.identity.place == self.identity.here else self.identity.place

    def _wanted(self) -> Declared:
        spec, group = self.spec, self.group
        declared = (
            mirrored(group, spec.mirror) if spec.mirror else local_group(group, spec.local_schema, spec.table_name)
        ).map(self.order.relabel)
        relations = self.catalogue.relations(spec.local_schema)
        there = {name for name, what in relations.items() if not what}
        self.catalogue.read_tables([(t.schema, t.name) for t in declared.tables if t.name in there])
        localized = declared.map(lambda table: self._localized(table, table.name in there))
        own_parts = self._own_parts(group, localized)
        require_names(self.local, spec.local_schema, *(table.name for table in (*localized.tables, *own_parts)))
        wanted = Declared(localized, own_parts, frozenset(there))
        for table in wanted.missing:
            if table.name in relations:
                raise LocalMismatchError(
                    f"{table.schema}.{table.name} on {self.local.address} is {relations[table.name]}, and no "
                    "table that could take rows.",
                    "Link into another local schema, or rename it.",
                )
        return wanted

    def _localized(self, table: Table, is_there: bool) -> Table:
        """A table in this server's words, and in DataJoint's; what refers to others is of their types."""
        localized = refitted(self.reader.declared(self.catalogue.localized(table, self.source.dialect)), self.known)
        name = table.schema, table.name
        self.known[name] = self.catalogue.table(*name) if is_there else self.catalogue.creatable(localized)
        return localized

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

    def _require_no_other_keys(self, different: Differences) -> None:
        """Refuse a local table with a foreign key that the source's has not, and that every row would have to obey."""
        found, expected = different.found, different.expected.foreign_keys
        for key in found.foreign_keys:
            if not any(same_key(key, wanted) for wanted in expected) and not any(
                found[c].nullable for c in key.columns
            ):
                drop = plain(self.local.definitions.drop_foreign_key(found, key))
                raise LocalMismatchError(
                    f"The local table {found.schema}.{found.name} on {self.local.address} has a foreign key "
                    f"({', '.join(key.columns)}) to {key.schema}.{key.table}, which the source's has not: it would "
                    "refuse rows of the source.",
                    f"Pull into another local schema, or do without it: {drop}",
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

    def _creatable(self, table: Table) -> Table:
        """A table to be created, in what this server knows; said is what is left out of the source's."""
        created = self.catalogue.creatable(table)
        theirs = {here.name: t for t, here in zip(self.group.tables, self.wanted.group.tables, strict=True)}
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
