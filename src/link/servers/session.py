"""One session on a server, whatever its kind: statements, and rows that travel without being looked at.

Rows move by two methods: a source's session renders them in the destination's own language (:meth:`Session.stream`),
and a destination's session takes them as they are (:meth:`Session.load`). Nobody decodes on the way.
"""

from __future__ import annotations

import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NamedTuple

from ..errors import LinkError, ReadOnlyError, ServerError, UnreachableError
from ..lazy import cached_property
from ..model.ranges import Sql
from ..model.schema import Table
from .dialect import Dialect

#: Rows travel in blocks of about this many bytes: a chunk of small rows in one, for each waits for its answer.
BLOCK_BYTES = 8_000_000
#: Statements that are made of rows are about so long: what is parsed lies near the processor until it is inserted.
STATEMENT_BYTES = 250_000
#: So many statements that each ask for one row are made one.
ASKED_AT_ONCE = 100
#: What to do where a server takes no changes.
CLOSED = (
    "Its administrator has said so, for a while or of a replica: ask when that is over, or link with the server that "
    "takes changes. {look} shows it. What only looks (plan, status, verify) works meanwhile."
)
#: What to do where a server takes no statement as long as that.
LESS = (
    "Restrict by a condition or by another table there, rather than by a long list of keys; or take the list in parts "
    "of some thousand keys; or have the administrator raise max_allowed_packet."
)
#: What to do where a server does not understand a statement: whatever else is in it has been tried.
UNCLEAR = (
    "If a condition was given, look at it: it is SQL in the words of this server, on attributes of the table that it "
    "restricts. Fetching what it selects shows whether it is understood."
)
#: Seconds that the server may take to undo what an ended session has done.
END_WITHIN = 60


def require_taken(sql: str, most: int, address: str) -> None:
    """Raise ServerError for a statement of more bytes than a server takes: it would end the session."""
    if 4 * len(sql) > most and (size := len(sql.encode())) > most:
        raise ServerError(
            f"A statement of {size:,} bytes is not sent to {address}, which takes no more than {most:,} "
            "(max_allowed_packet).",
            LESS,
        )


class Form(NamedTuple):
    """How rows travel: a language that the destination loads, in blocks of about so many bytes.

    ``exact_json`` tells whether the destination keeps all digits of the numbers in JSON.
    """

    language: Literal["values", "copy", "binary"]
    block_bytes: int = BLOCK_BYTES
    exact_json: bool = True


class Block(NamedTuple):
    """Rendered rows on their way: bytes in the destination's own language; where that is statements, those of each."""

    pieces: Sequence[bytes]
    rows: int

    @classmethod
    def of_values(cls, rows: Sequence[bytes]) -> Block:
        """Rows of VALUES, as many for each statement."""
        step = max(1, len(rows) * STATEMENT_BYTES // sum(map(len, rows)))
        pieces = [b",".join(rows[start : start + step]) for start in range(0, len(rows), step)]
        return cls(pieces, len(rows))

    @property
    def size(self) -> int:
        """How many bytes they take."""
        return sum(map(len, self.pieces))


class Weight(NamedTuple):
    """About how many rows a table has, and how many bytes one of them has; 0 where the server does not know."""

    rows: int = 0
    row_bytes: int = 0


class Session(ABC):
    """One session on a server, in autocommit mode outside of :meth:`transaction`.

    Parameters
    ----------
    dialect : Dialect
        How statements are written for it.
    address, user : str
        The server and the account, for messages.
    stop : callable
        Asks the server, by another connection, to stop the statement that this session is running.
    """

    #: The statement that shows whether the server takes changes.
    look: ClassVar[str]
    #: Whether the server takes several statements at once.
    takes_several: ClassVar[bool] = False

    def __init__(self, dialect: Dialect, address: str, user: str, stop: Callable[[], None]) -> None:
        self.dialect = dialect
        self.address = address
        self.user = user
        self._stop = stop
        # Set by the thread that runs a statement. One that was interrupted still runs at the server.
        self._busy = False

    def cancel(self) -> None:
        """Stop the statement that the session is running, if any: a server need not notice that nobody waits for it."""
        if self._busy:
            self._stop()

    @abstractmethod
    def translate(self, error: Exception) -> LinkError:
        """What the driver has raised, as an error of this package."""

    def require_changes(self) -> None:
        """Raise ReadOnlyError where the server takes no changes: it is asked once."""
        if self.closed_by:
            raise ReadOnlyError(
                f"The server {self.address} takes no changes of {self.user!r} at the moment: {self.closed_by} is on.",
                CLOSED.format(look=self.look),
            )

    @cached_property
    def closed_by(self) -> str | None:
        """The variable by which the server takes no changes of this session, if one does."""
        return self._find_closed()

    @abstractmethod
    def _find_closed(self) -> str | None:
        """Ask for it."""

    @abstractmethod
    def query(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows."""

    def query_each(self, statements: Sequence[Sql]) -> list[tuple[Any, ...]]:
        """The rows of statements that return one each, all of them alike: many are asked by one."""
        found: dict[int, tuple[Any, ...]] = {}
        for start in range(0, len(statements), ASKED_AT_ONCE):
            some = list(enumerate(statements[start : start + ASKED_AT_ONCE], start))
            union = " UNION ALL ".join(f"SELECT {n}, {sql.removeprefix('SELECT ')}" for n, (sql, _) in some)
            rows = self.query(union, [arg for _, (_, args) in some for arg in args])
            found |= {int(row[0]): row[1:] for row in rows}
        return [found[n] for n in range(len(statements))]

    @abstractmethod
    def execute(self, sql: str, args: Sequence[Any] = ()) -> int:
        """Run a statement that returns none; the number of rows it changed."""

    def execute_all(self, statements: Sequence[str]) -> None:
        """Run statements one after the other; in one round trip, where a server takes several at once."""
        for statement in statements:
            self.execute(statement)

    def execute_together(self, statements: Sequence[str]) -> None:
        """Run statements, all of them or none as far as the server can; outside of a transaction."""
        with self.transaction():
            self.execute_all(statements)

    @abstractmethod
    def stream(self, table: Table, source: Sql, form: Form, emit: Callable[[Block], None]) -> int:
        """Render the rows of ``table`` that ``source`` (FROM ... onward) yields; the number of rows."""

    @abstractmethod
    def weigh(self, tables: Sequence[Table]) -> dict[Table, Weight]:
        """What the server's statistics say of some tables, asked at once: it may be old, or wrong."""

    @abstractmethod
    def load(self, table: Table, blocks: Iterable[Block], form: Form) -> int:
        """Insert rendered rows, of each block all or none; the number inserted."""

    @property
    def block_bytes(self) -> int:
        """The size of blocks that this session takes best."""
        return BLOCK_BYTES

    def close(self) -> None:
        """End the session, and what it is doing."""
        try:
            self.cancel()
        finally:  # whatever comes meanwhile, a second Ctrl-C, too: a session that stays has its locks
            self._busy = False
            self._close()

    @abstractmethod
    def _close(self) -> None:
        """End the connection."""

    @property
    @abstractmethod
    def number(self) -> int:
        """The server's number of this session."""

    def outlive(self, other: Session) -> None:
        """End another session of this account, and wait until nothing that it had sent can be done any more."""
        waited = 0.0
        while self._end(other.number):
            if waited > END_WITHIN:
                raise UnreachableError(f"A session on {self.address} has not ended within {END_WITHIN} s.")
            time.sleep(0.05)
            waited += 0.05

    @abstractmethod
    def _end(self, number: int) -> bool:
        """Ask the server to end a session; whether it is still there, be it that it is rolling back."""

    @abstractmethod
    def lock(self, name: tuple[int, int], wait: bool) -> bool:
        """Take an advisory lock that lives as long as this session."""

    @abstractmethod
    def lock_free(self, names: Sequence[tuple[int, int]]) -> None:
        """Take advisory locks that nobody else has, with one statement."""

    @abstractmethod
    def unlock(self, name: tuple[int, int]) -> None:
        """Let go of an advisory lock."""

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

    def remark(self, text: str) -> str:
        """A text as a comment on this server can have it."""
        return text

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Within a transaction: what may be refused, without an end of the transaction."""
        yield

    def begin_snapshot(self) -> None:
        """Begin a transaction that reads several tables as they are at one instant; COMMIT ends it."""
        for statement in self.dialect.begin_snapshot:
            self.execute(statement)

    @contextmanager
    def unwaiting(self) -> Iterator[None]:
        """For a statement that looks at many rows: be busy soon where it would wait for those that it leaves alone."""
        yield

    @abstractmethod
    def rollback(self) -> None:
        """Roll back; a connection that is gone has done so already."""


def lock_number(*names: str) -> int:
    """The number by which advisory locks on a schema, or a table, go: the same in every process, on every machine."""
    return zlib.crc32(".".join(names).encode()) & 0x7FFFFFFF
