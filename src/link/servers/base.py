"""What the rest of the package asks of a database server, whatever its kind.

A :class:`Server` is one end of a link: it knows its dialect, builds the few pieces of SQL in which dialects differ,
and reads and creates tables. A :class:`Connection` is one session on it. SQL text is written for the drivers'
``%s`` style throughout: a percent sign that is meant stands twice, also in quoted names.
"""

from __future__ import annotations

import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NamedTuple

import datajoint as dj
from datajoint.errors import LostConnectionError

from ..errors import LinkError, UnreachableError
from ..schema import Column, Table

Key = tuple[Any, ...]
Sql = tuple[str, tuple[Any, ...]]

#: Rows travel in blocks of about this many bytes: a chunk of small rows in one, for each waits for its answer.
BLOCK_BYTES = 8_000_000
#: DataJoint's connections serve one thread at a time.
_TURN = threading.RLock()


class Form(NamedTuple):
    """How rows travel: a language that the destination loads, in blocks of about so many bytes.

    ``exact_json`` tells whether the destination keeps all digits of the numbers in JSON.
    """

    language: Literal["values", "copy", "binary"]
    block_bytes: int = BLOCK_BYTES
    exact_json: bool = True


class Block(NamedTuple):
    """Rendered rows on their way: bytes in the destination's own language."""

    data: bytes
    rows: int


class BusyError(LinkError):
    """Deadlock, lock timeout or serialization failure: the same statement may work a moment later."""


class RowError(LinkError):
    """The destination refused rows: a duplicate key, a value out of range."""


class Connection(ABC):
    """One session on a server, in autocommit mode outside of :meth:`transaction`."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @abstractmethod
    def query(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows."""

    @abstractmethod
    def execute(self, sql: str, args: Sequence[Any] = ()) -> int:
        """Run a statement that returns none; the number of rows it changed."""

    @abstractmethod
    def stream(self, table: Table, source: Sql, form: Form, emit: Callable[[Block], None]) -> int:
        """Render the rows of ``table`` that ``source`` (FROM ... onward) yields; the number of rows."""

    @abstractmethod
    def load(self, table: Table, blocks: Iterable[Block], form: Form) -> int:
        """Insert rendered rows; the number inserted."""

    @property
    def block_bytes(self) -> int:
        """The size of blocks that this session takes best."""
        return BLOCK_BYTES

    @abstractmethod
    def close(self) -> None:
        """End the session, whatever it is doing."""

    @abstractmethod
    def lock(self, name: tuple[int, int], wait: bool) -> bool:
        """Take an advisory lock that lives as long as this session."""

    @abstractmethod
    def locked(self, space: int, names: Iterable[int]) -> set[int]:
        """Those of ``names`` whose advisory lock somebody holds."""

    @contextmanager
    def transaction(self, snapshot: bool = False) -> Iterator[None]:
        """Commit at the end, roll back on any exception; ``snapshot`` for reads of several tables at one instant."""
        if snapshot:
            self.begin_snapshot()
        else:
            self.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.rollback()
            raise
        self.execute("COMMIT")

    def begin_snapshot(self) -> None:
        """Begin a transaction that reads several tables as they are at one instant; COMMIT ends it."""
        for statement in self.server.begin_snapshot:
            self.execute(statement)

    @contextmanager
    def unwaiting(self) -> Iterator[None]:
        """For a statement that looks at many rows: be busy soon where it would wait for those that it leaves alone."""
        yield

    @abstractmethod
    def rollback(self) -> None:
        """Roll back; a connection that is gone has done so already."""


class Server(ABC):
    """One end of a link.

    Parameters
    ----------
    connection : datajoint.Connection
        DataJoint's connection to the server. Its address and account are used for sessions of our own, so that
        transfers run beside the user's queries and never inside a transaction of hers.
    """

    begin_snapshot: ClassVar[tuple[str, ...]]
    #: A block is loaded by one statement that takes all of its rows or none.
    loads_whole: ClassVar[bool] = False
    #: Sessions that claim at once: the check of the foreign key is what takes the time.
    claimers: ClassVar[int] = 2
    #: After the SELECT in an EXISTS: look each row up in the index, and copy nothing aside.
    by_index: ClassVar[str] = ""

    #: Whether numbers in JSON keep all their digits.
    exact_json = True

    def __init__(self, connection: dj.Connection) -> None:
        self.dj = connection
        self.info: dict[str, Any] = connection.conn_info
        self.user: str = self.info["user"]
        self.where = f"{self.info['host']}:{self.info['port']}"

    @abstractmethod
    def connect(self) -> Connection:
        """Open a session."""

    @abstractmethod
    def check_version(self, connection: Connection) -> None:
        """Raise UnsupportedServerError for a server that is too old."""

    @abstractmethod
    def identity(self, connection: Connection) -> tuple[str, ...]:
        """What only this server answers, by whatever address it was reached."""

    @abstractmethod
    def lasting_identity(self, connection: Connection) -> str | None:
        """What this server answers for as long as its data live; None where there is nothing of the kind."""

    @contextmanager
    def in_our_words(self) -> Iterator[None]:
        """What DataJoint's own connection to this server meets, as an error of this package."""
        try:
            yield
        except LostConnectionError as error:
            raise UnreachableError(
                f"Lost the connection to {self.where} as {self.user!r}.", "Run the same again."
            ) from error
        except self.driver_errors as error:
            raise self.translate(error) from error

    @contextmanager
    def in_one_session(self) -> Iterator[None]:
        """Let what is done on DataJoint's own connection fail when the connection is lost; in our words.

        DataJoint would connect anew. It then tells of a transaction that is gone, but not while it reads definitions,
        as it does between two statements of a deletion: the next would be kept, whatever became of the others.
        Threads take turns.
        """
        connection: Any = self.dj
        with _TURN, self.in_our_words():
            self.revive()
            connection.query = functools.partial(connection.query, reconnect=False)
            try:
                yield
            finally:
                del connection.query

    def in_transaction(self) -> bool:
        """Whether a transaction is open on DataJoint's own connection, but for a deletion's in another thread."""
        if not _TURN.acquire(blocking=False):
            return False
        try:
            return bool(self.dj.in_transaction) and self.dj_lives()
        finally:
            _TURN.release()

    def revive(self) -> None:
        """Connect DataJoint's own connection anew if it is lost; what was open on it is rolled back."""
        if not self.dj_lives():
            self.dj.connect()
            self.dj._in_transaction = False

    def dj_lives(self) -> bool:
        """Whether DataJoint's own connection is there; its `is_connected` is true of one that is lost, too."""
        return bool(self.dj.adapter.ping(self.dj._conn))

    driver_errors: ClassVar[tuple[type[Exception], ...]]

    @abstractmethod
    def translate(self, error: Any) -> LinkError:
        """The one table from the driver's errors to ours."""

    # names

    @abstractmethod
    def fits(self, name: str) -> bool:
        """Whether an identifier is not too long; PostgreSQL would cut it off in silence."""

    @abstractmethod
    def quote(self, name: str) -> str:
        """An identifier, quoted."""

    def name(self, schema: str, table: str) -> str:
        """A table's quoted full name."""
        return f"{self.quote(schema)}.{self.quote(table)}"

    # kinds of server

    @abstractmethod
    def language_from(self, source: Server) -> Literal["values", "copy", "binary"]:
        """The language in which a source server renders rows for this one."""

    @abstractmethod
    def alike(self, source: Server) -> bool:
        """Whether the source's column types mean the same here."""

    @abstractmethod
    def localized(self, connection: Connection, table: Table, source: Server) -> Table:
        """A table of the source in this server's words.

        Raises
        ------
        DefinitionError
            A column's type has no equivalent here.
        """

    # keys

    @abstractmethod
    def key_select(self, column: Column, reference: str) -> str:
        """The expression that fetches a key column exactly."""

    @abstractmethod
    def key_param(self, column: Column) -> str:
        """The placeholder that compares exactly with a key column."""

    @abstractmethod
    def key_order(self, column: Column, reference: str) -> str:
        """The expression by which a key column sorts as it compares."""

    @abstractmethod
    def beyond(self, columns: Sequence[tuple[Column, str]], key: Key, sign: str) -> Sql:
        """A condition for keys ``>`` or ``<=`` a key, in the form that uses the index."""

    @abstractmethod
    def key_list(self, columns: Sequence[Column], keys: Sequence[Key]) -> Sql:
        """A FROM item ``j(k0, k1, ...)`` that holds the keys; one statement's worth."""

    @abstractmethod
    def listed_value(self, column: Column, listed: str) -> str:
        """A value of :meth:`key_list` as its column takes it."""

    def key_match(self, column: Column, reference: str, listed: str) -> str:
        """The condition that a key column equals one of :meth:`key_list`."""
        return f"{reference} = {self.listed_value(column, listed)}"

    @abstractmethod
    def key_checksum(self, columns: Sequence[tuple[Column, str]], alike: bool) -> str:
        """An aggregate over keys, equal on both ends when the keys are, whatever their order.

        The cheapest there is where both ends are ``alike``, else one that every kind of server computes.
        """

    # statements in which dialects differ

    @abstractmethod
    def insert_new(self, table: str, columns: Sequence[str], select: str, key: str) -> str:
        """INSERT ... SELECT that leaves rows alone which are there already."""

    @abstractmethod
    def update_listed(self, table: str, assignments: str, key_list: str, on: str, where: str) -> str:
        """UPDATE of the rows that match a key list."""

    @abstractmethod
    def delete_listed(self, table: str, key_list: str, on: str, where: str) -> str:
        """DELETE of the rows that match a key list."""

    def unguessed(self, condition: str) -> str:
        """A condition on rows that a key list selects; the server's planner shall not guess how few rows meet it.

        Of what a helper table says its statistics know nothing, or what was so a moment ago.
        """
        return condition

    @abstractmethod
    def stable_read(self, select: str) -> tuple[str, ...]:
        """A read, within a transaction just begun, of rows that a DELETE after it finds the very same.

        Of several statements, the last returns the rows.
        """

    @abstractmethod
    def driving_join(self, first: str, second: str, on: str) -> str:
        """A join that reads ``first`` in its order and looks up ``second``."""

    @abstractmethod
    def comparable(self, table: Table, alike: bool) -> str:
        """Expressions that are the same on both ends when the values are.

        A digest over all columns where both ends are ``alike``, else the values in a form common to all servers.
        """

    @abstractmethod
    def sum_of_digests(self, table: Table) -> str:
        """An aggregate: a digest of all rows, whatever their order; only for ends that are alike."""

    # definitions

    @abstractmethod
    def schema_exists(self, connection: Connection, schema: str) -> bool:
        """Whether the account sees the schema."""

    @abstractmethod
    def schemas(self, connection: Connection) -> list[str]:
        """The schemas that the account sees."""

    @abstractmethod
    def create_schema(self, connection: Connection, schema: str) -> None:
        """Create a schema."""

    @abstractmethod
    def tables(self, connection: Connection, schema: str) -> list[str]:
        """The tables that the account sees."""

    @abstractmethod
    def read_table(self, connection: Connection, schema: str, name: str) -> Table:
        """A table's definition."""

    @abstractmethod
    def supports(self, column: Column) -> bool:
        """Whether the column is of a type that can be linked."""

    @abstractmethod
    def missing_rights(self, connection: Connection, table: Table, rights: Sequence[str]) -> list[str]:
        """Those of the rights that the account lacks on a table, in words for :meth:`grant_hint`."""

    @abstractmethod
    def grant_hint(self, rights: Sequence[str], schema: str, table: str) -> str:
        """The GRANT that gives rights on a table to this account."""

    @abstractmethod
    def grant_helper_hint(self, schema: str, table: str) -> str:
        """The GRANT that lets this account create and use the helper table."""

    @abstractmethod
    def grant_schema_hint(self, schema: str) -> str:
        """The GRANT that lets this account create tables in a schema."""

    @abstractmethod
    def create_helper(
        self, source: Table, schema: str, name: str, columns: Mapping[str, Sequence[str]], comment: str
    ) -> list[str]:
        """The statements that create the helper table of a source table.

        Beside the key it has these columns: each with its labels, the default last, or without any for a number.
        """

    @abstractmethod
    def create_helper_part(self, source: Table, schema: str, name: str, helper: str) -> list[str]:
        """The statements that create a part table of a helper table, with nothing but the key."""

    @abstractmethod
    def add_helper_columns(self, schema: str, name: str, columns: Mapping[str, Sequence[str]]) -> list[str]:
        """The statements that add columns to a helper table."""

    @abstractmethod
    def rename_columns(self, schema: str, name: str, columns: Mapping[str, str]) -> list[str]:
        """The statements that give columns other names: all at once, or within a transaction."""

    @abstractmethod
    def rename_table(self, schema: str, name: str, new: str) -> str:
        """The statement that gives a table another name."""

    @abstractmethod
    def create_table(self, table: Table) -> list[str]:
        """The statements that create a local table."""

    def _create_keyed(
        self,
        source: Table,
        schema: str,
        name: str,
        referred: tuple[str, str],
        columns: Mapping[str, Sequence[str]],
    ) -> str:
        """CREATE TABLE with the source's key, some columns, and a foreign key that nothing passes by."""
        key = ", ".join(self.quote(k) for k in source.primary_key)
        lines = [
            *(self._key_definition(column) for column in source.key_columns),
            *(self._helper_column(schema, *column) for column in columns.items()),
            f"PRIMARY KEY ({key})",
            f"FOREIGN KEY ({key}) REFERENCES {self.name(*referred)} ({key}) ON UPDATE RESTRICT ON DELETE RESTRICT",
        ]
        return f"CREATE TABLE {self.name(schema, name)} ({', '.join(lines)})"

    @abstractmethod
    def _key_definition(self, column: Column) -> str:
        """A key column exactly as the source has it."""

    @abstractmethod
    def _helper_column(self, schema: str, name: str, labels: Sequence[str]) -> str:
        """A column with labels, or a number."""
