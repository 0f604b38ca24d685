"""Reading a server's catalogue: what is there, what the account may do with it, what a table would be here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from ..errors import LinkError, NotFoundError, UnreachableError, UnseenError
from ..model.kinds import counts, is_null
from ..model.schema import Column, Table
from .dialect import Dialect
from .rights import LINEAGE, MemberRights
from .session import Session, lock_number

#: Rows that tell one thing of one table.
Told = Sequence[tuple[Any, ...]]


class Fact(NamedTuple):
    """Something that a catalogue tells of tables.

    Attributes
    ----------
    names : str
        The expression with the tables' names.
    told : tuple of str
        The expressions with what is told.
    of : str
        FROM with what is read.
    schema, table : str
        The conditions for the tables of one schema, and for one of them; the one argument of each is the name.
    """

    names: str
    told: tuple[str, ...]
    of: str
    schema: str
    table: str

    def select(self, alone: bool) -> str:
        """The query for a schema, whose name is the first argument as well, or for one table of it."""
        where = f"{self.schema} AND {self.table}" if alone else self.schema
        return f"SELECT %s, {self.names}, {', '.join(self.told)} {self.of} WHERE {where}"


class Catalogue(ABC):
    """The catalogue of a server, read through one session.

    It is asked anew for each table, but for what has been read of many at once: that is told from then on.

    Parameters
    ----------
    session : Session
        Through which it is read.
    """

    #: Whether accounts without any right on a table are shown its foreign keys all the same.
    shows_all_keys: ClassVar[bool] = False
    #: What there is to know of tables, each with one query.
    facts: ClassVar[Mapping[str, Fact]]

    def __init__(self, session: Session) -> None:
        self.session = session
        self.dialect = session.dialect
        self._schemas: list[str] | None = None
        self._relations: dict[str, dict[str, str]] = {}
        self._facts: dict[tuple[str, str], dict[str, Told]] = {}
        self._tables: dict[tuple[str, str], Table] = {}
        self._origins: dict[str, dict[str, dict[str, str]]] = {}
        self._reserved: set[str] = set()

    # reading many at once

    def read(self, schemas: Iterable[str]) -> None:
        """Read all that there is in some schemas, with one statement for each fact.

        From now on it is told as it was then, until it is forgotten.
        """
        unread = [schema for schema in dict.fromkeys(schemas) if schema not in self._relations]
        if not unread:
            return
        self._schemas = None
        listed = f"SELECT %s, r.* FROM ({self.dialect.relations}) r"
        found = self.session.query(" UNION ALL ".join([listed] * len(unread)), [s for s in unread for _ in range(2)])
        self._read_tables([(schema, None) for schema in unread], {(schema, name) for schema, name, _ in found})
        for schema in unread:
            self._relations[schema] = {name: what for of, name, what in found if of == schema}
        self._origins |= self._asked_origins(
            [s for s in unread if self._tells_origins(s) and self._may_read_origins(s)]
        )

    def read_tables(self, tables: Sequence[tuple[str, str]]) -> None:
        """Read all of some tables, each named with its schema, with one statement for each fact."""
        unread = [table for table in dict.fromkeys(tables) if not self._is_read(*table)]
        self._read_tables(unread, set(unread))

    def _read_tables(self, places: Sequence[tuple[str, str | None]], tables: set[tuple[str, str]]) -> None:
        told: dict[tuple[str, str], dict[str, Told]] = {table: {} for table in tables}
        for name, fact in self.facts.items():
            for table, rows in self._asked(fact, places).items():
                if table in tables:
                    told[table][name] = rows
        self._facts |= told

    def _asked(self, fact: Fact, places: Sequence[tuple[str, str | None]]) -> dict[tuple[str, str], Told]:
        """What is told of tables, or of all in a schema."""
        found = defaultdict[tuple[str, str], list[tuple[Any, ...]]](list)
        if places:
            # One SELECT for each: MariaDB looks into every schema of the server for what is in any of some.
            asked = " UNION ALL ".join(fact.select(alone=name is not None) for _, name in places)
            args = [arg for schema, name in places for arg in (schema, schema, name) if arg is not None]
            for schema, table, *row in self.session.query(asked, args):
                found[schema, table].append(tuple(row))
        return dict(found)

    def _is_read(self, schema: str, name: str) -> bool:
        return schema in self._relations or (schema, name) in self._facts

    def _rows(self, fact: str, schema: str, name: str) -> Told:
        """What is told of a table: as it was read, or as it is now."""
        if self._is_read(schema, name):
            return self._facts.get((schema, name), {}).get(fact, ())
        # A server may write the name otherwise.
        return next(iter(self._asked(self.facts[fact], [(schema, name)]).values()), ())

    def forget(self, schema: str) -> None:
        """Take what was read of a schema for nothing: something in it is to be changed."""
        self._schemas = None
        self._relations.pop(schema, None)
        self._origins.pop(schema, None)
        for known in (self._facts, self._tables):
            for table in [table for table in known if table[0] == schema]:
                del known[table]

    def reserve(self, schema: str) -> bool:
        """Wait until no other link changes a schema, and keep them all from it for as long as the session lives.

        Whether that is new: what was read of it before may have changed then.
        """
        if schema in self._reserved:
            return False
        # Links may well be used for the first time at once.
        self.session.lock((lock_number(schema), 0), wait=True)
        self._reserved.add(schema)
        return True

    @contextmanager
    def changing(self, *schemas: str) -> Iterator[None]:
        """While schemas are changed, forget what was read of them; in the end read those again of which all was."""
        read = [schema for schema in schemas if schema in self._relations]
        for schema in schemas:
            self.forget(schema)
        yield
        for schema in schemas:
            self.forget(schema)
        self.read(read)

    def renew(self, *schemas: str) -> None:
        """Forget what was read of schemas, and read again those of which that was all."""
        with self.changing(*schemas):
            pass

    # what is there

    def schemas(self) -> list[str]:
        """The schemas that the account sees."""
        if self._schemas is None:
            seen = self._seen_schemas()
            if not self._relations:
                return seen
            self._schemas = seen
        return self._schemas

    @abstractmethod
    def _seen_schemas(self) -> list[str]:
        """The schemas that the account sees now."""

    def has_schema(self, schema: str) -> bool:
        """Whether the account sees the schema."""
        return schema in self.schemas()

    @abstractmethod
    def may_hide(self, schema: str, table: str = "") -> bool:
        """Whether a schema, or a table of it, may be there and not be shown to the account."""

    def no_such(self, what: str, advice: str, remedy: str, schema: str, table: str = "") -> NotFoundError:
        """The error for a schema, or a table, that the account does not see; ``remedy`` is for one that is hidden."""
        if not self.may_hide(schema, table):
            return NotFoundError(what, advice.strip() or None)
        return UnseenError(
            f"{what} There is none, or nothing of it is granted to the account.",
            f"{advice} If it is there: {remedy}".strip(),
        )

    def relations(self, schema: str) -> dict[str, str]:
        """The tables that the account sees, and what resembles tables: with what it is, in words."""
        if schema in self._relations:
            return dict(self._relations[schema])
        return {str(name): str(what) for name, what in self.session.query(self.dialect.relations, (schema,))}

    def tables(self, schema: str) -> list[str]:
        """The tables that the account sees."""
        return sorted(name for name, what in self.relations(schema).items() if not what)

    @abstractmethod
    def obstacle(self, table: Table, *, held: bool) -> tuple[str, str] | None:
        """What keeps the rows of a table from being read whole, or ``held``; and what is to be done about it."""

    def table(self, schema: str, name: str) -> Table:
        """A table's definition."""
        if not self._is_read(schema, name):
            return self._table(schema, name)
        if (schema, name) not in self._tables:
            self._tables[schema, name] = self._table(schema, name)
        return self._tables[schema, name]

    @abstractmethod
    def _table(self, schema: str, name: str) -> Table:
        """A table's definition, from what is told of it."""

    def has_keys(self, table: Table) -> bool:
        """Whether a table may have a primary key or a foreign key, as far as the account may know."""
        return bool(table.primary_key or table.foreign_keys)

    # where attributes come from

    def origins(self, schema: str) -> Mapping[str, Mapping[str, str]] | None:
        """Where attributes of tables come from, as DataJoint has written it down; None where it sees nothing of that.

        By table and attribute, of those that come from somewhere.

        Raises
        ------
        PrivilegeError
            DataJoint sees that it is written down, and may not read it.
        """
        if not self._tells_origins(schema):
            return None
        return self._origins[schema] if schema in self._origins else self._asked_origins([schema])[schema]

    def _tells_origins(self, schema: str) -> bool:
        """Whether DataJoint sees that it is written down in a schema where attributes come from."""
        return LINEAGE in self.relations(schema)

    def _may_read_origins(self, schema: str) -> bool:
        return not self.missing_rights(Table(schema, LINEAGE, "", (), ()), ["SELECT"])

    def _asked_origins(self, schemas: Sequence[str]) -> dict[str, dict[str, dict[str, str]]]:
        found: dict[str, dict[str, dict[str, str]]] = {schema: {} for schema in schemas}
        select = "SELECT %s, table_name, attribute_name, lineage FROM"
        asked = " UNION ALL ".join(f"{select} {self.dialect.full_name(schema, LINEAGE)}" for schema in schemas)
        for schema, table, attribute, origin in self.session.query(asked, schemas) if schemas else ():
            found[schema].setdefault(table, {})[attribute] = origin
        return found

    @abstractmethod
    def outline(self, masters: Sequence[tuple[str, str]]) -> frozenset[tuple[Any, ...]]:
        """What tables, each named with its schema, and their part tables are, comments too: the same while they are.

        Read with one statement.
        """

    @staticmethod
    @abstractmethod
    def has_triggers(outline: frozenset[tuple[Any, ...]]) -> bool:
        """Whether the server may write something else than it is given into some of the tables of an outline.

        Of triggers it tells those that the account sees: see :meth:`may_hide_triggers`.
        """

    def may_hide_triggers(self, table: Table) -> bool:
        """Whether a table may have triggers that the account is not shown."""
        return False

    def outlines(self, groups: Sequence[Sequence[tuple[str, str]]]) -> list[frozenset[tuple[Any, ...]]]:
        """The outlines of several lists of tables; read with one statement."""
        rows = self.outline([master for masters in groups for master in masters])
        found = [set[tuple[Any, ...]]() for _ in groups]
        homes = defaultdict[tuple[str, str], list[set[tuple[Any, ...]]]](list)
        for masters, home in zip(groups, found, strict=True):
            for master in masters:
                homes[master].append(home)
        for row in rows:
            schema, table = (each.decode() if isinstance(each, bytes) else str(each) for each in row[:2])
            ends = [i for i in range(1, len(table)) if table[i : i + 2] == "__"]
            named = [home for end in (*ends, len(table)) for home in homes[schema, table[:end]]]
            for home in named or found:  # a server may write the name otherwise
                home.add(row)
        return list(map(frozenset, found))

    def lost(self, table: Table, columns: Sequence[Column]) -> list[str]:
        """What columns would lose where they have to be declared anew to be changed: each with the words for it."""
        return []

    @abstractmethod
    def refers(self, table: Table, referred: Table) -> bool:
        """Whether a table has a foreign key to another one as it is named now. Read with one statement."""

    @abstractmethod
    def missing_rights(self, table: Table, rights: Sequence[str]) -> list[str]:
        """Those of the rights that the account lacks on a table, in words for :class:`~link.servers.rights.Rights`."""

    @abstractmethod
    def may_create(self, schema: str, names: Sequence[str]) -> bool:
        """Whether the account may create and use tables of some names in a schema, and it, if it is not there."""

    def large_rows(self, tables: Sequence[Table]) -> dict[Table, float]:
        """About how large rows are in those tables where it would take long to look at some, as statistics have it.

        None, where a row's size is known without reading it.
        """
        return {}

    def owners(self, schema: str) -> list[str]:
        """The accounts that own tables of a schema; only where tables have owners."""
        return []

    @abstractmethod
    def link_users(self, schema: str, names: Sequence[str]) -> dict[str, list[str]]:
        """Of each of some helper tables the accounts, without their hosts, that write to it, as far as that is seen.

        They own it; where tables have no owners, they may insert by a right on just that table, or just that schema.
        """

    @abstractmethod
    def account_rights(self, user: str, client_host: str) -> set[tuple[str, str]] | None:
        """The schemas and tables on which an account has rights of its own, or which it owns; None if it is not seen.

        Of a right on all of a schema no table is named; of one on everything the schema is ``*``.
        """

    @abstractmethod
    def account_roles(self, user: str, client_host: str) -> list[str]:
        """The roles that an account which is there has."""

    def folded(self, name: str) -> str:
        """A name as the server compares it."""
        return name

    def guests(self, schema: str, asked: Sequence[tuple[Table, MemberRights]]) -> list[list[str]]:
        """Of each source table, the accounts that may delete from it, and lack a right on tables of a helper schema.

        Only where foreign keys are shown to all. Read with one statement.
        """
        raise NotImplementedError

    def has_policies(self, table: Table) -> bool:
        """Whether rows of a table are kept from others than its owner; only where foreign keys are shown to all."""
        raise NotImplementedError

    def hides_rows(self, table: Table) -> bool:
        """Whether rows of a table may be hidden from this account, or kept from it, whatever its rights."""
        return False

    @abstractmethod
    def held_on_columns(self, table: Table, rights: Sequence[str]) -> list[str]:
        """Those of the rights that the account has on some columns of a table."""

    @abstractmethod
    def idle_roles(self) -> list[str]:
        """The roles that the account has been given and whose rights it does not have as it is."""

    @abstractmethod
    def localized(self, table: Table, source: Dialect) -> Table:
        """A table of a source of some kind, in this server's words.

        Raises
        ------
        DefinitionError
            A column's type has no equivalent here.
        """

    def creatable(self, table: Table) -> Table:
        """A table in this server's words as it can be created here.

        It is without defaults that only another server can evaluate, and without collations that only that one has.
        """
        given = [column for column in table.columns if not is_null(column.default)]
        if self._evaluates(table, given):
            left_out: list[Column] = []
        else:
            left_out = [column for column in given if not self._evaluates(table, [column])]
        columns = (replace(c, default=None) if c in left_out else c for c in table.columns)
        return replace(table, columns=tuple(map(self._collated, columns)))

    def _evaluates(self, table: Table, columns: Sequence[Column]) -> bool:
        """Whether this server can evaluate the defaults of some columns, which may refer to others of the table."""
        defaults = [column.default for column in columns if column.default is not None]
        if any(map(counts, defaults)):
            return False
        fields = ", ".join(default.replace("%", "%%") for default in defaults)
        try:
            if fields:
                self.session.query(f"EXPLAIN SELECT {fields} {self._from_nothing(table)}")
        except UnreachableError:
            raise
        except LinkError:
            return False
        return True

    @abstractmethod
    def _from_nothing(self, table: Table) -> str:
        """A FROM with what defaults of a table can refer to."""

    @abstractmethod
    def _collated(self, column: Column) -> Column:
        """A column with a collation that this server has."""
