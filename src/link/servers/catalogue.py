"""Reading a server's catalogue: what is there, what the account may do with it, what a table would be here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from ..errors import LinkError, UnreachableError
from ..model.kinds import counts, is_null
from ..model.schema import Column, Table
from .dialect import Dialect
from .rights import MemberRights
from .session import Session


class Catalogue(ABC):
    """The catalogue of a server, read through one session.

    Parameters
    ----------
    session : Session
        Through which it is read.
    """

    #: Whether accounts without any right on a table are shown its foreign keys all the same.
    shows_all_keys: ClassVar[bool] = False

    def __init__(self, session: Session) -> None:
        self.session = session
        self.dialect = session.dialect

    @abstractmethod
    def schemas(self) -> list[str]:
        """The schemas that the account sees."""

    def has_schema(self, schema: str) -> bool:
        """Whether the account sees the schema."""
        return schema in self.schemas()

    def relations(self, schema: str) -> dict[str, str]:
        """The tables that the account sees, and what resembles tables: with what it is, in words."""
        return {str(name): str(what) for name, what in self.session.query(self.dialect.relations, (schema,))}

    def tables(self, schema: str) -> list[str]:
        """The tables that the account sees."""
        return sorted(name for name, what in self.relations(schema).items() if not what)

    @abstractmethod
    def obstacle(self, table: Table, *, held: bool) -> tuple[str, str] | None:
        """What keeps the rows of a table from being read whole, or ``held``; and what is to be done about it."""

    @abstractmethod
    def table(self, schema: str, name: str) -> Table:
        """A table's definition."""

    def has_keys(self, table: Table) -> bool:
        """Whether a table may have a primary key or a foreign key, as far as the account may know."""
        return bool(table.primary_key or table.foreign_keys)

    @abstractmethod
    def outline(self, masters: Sequence[tuple[str, str]]) -> frozenset[tuple[Any, ...]]:
        """What tables, each named with its schema, and their part tables are, comments too: the same while they are.

        Read with one statement.
        """

    def lost(self, table: Table, columns: Sequence[Column]) -> list[str]:
        """What columns would lose where they have to be declared anew to be changed: each with the words for it."""
        return []

    @abstractmethod
    def refers(self, table: Table, referred: Table) -> bool:
        """Whether a table has a foreign key to another one as it is named now. Read with one statement."""

    @abstractmethod
    def missing_rights(self, table: Table, rights: Sequence[str]) -> list[str]:
        """Those of the rights that the account lacks on a table, in words for :class:`~link.servers.rights.Rights`."""

    def writers(self, schema: str, names: Sequence[str]) -> list[str]:
        """The accounts, without their hosts, that may insert into one of some tables by a right on just that."""
        raise NotImplementedError

    def guests(self, source: Table, schema: str, rights: MemberRights) -> list[str]:
        """The accounts that may delete from a source table, and lack a right on tables of the helper schema.

        Only where foreign keys are shown to all.
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
