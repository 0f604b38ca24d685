"""What a plan says: how much a pull would bring of which tables, and why."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ..errors import LimitError
from ..host import agrees
from .pipelines import PipelineResult
from .shown import as_table, number_of, plain, size

if TYPE_CHECKING:
    import pandas as pd

#: More than so many rows, or bytes, are asked about before they are pulled.
MANY_ROWS, MANY_BYTES = 10_000_000, 100_000_000_000


@dataclass(frozen=True)
class PlanTable:
    """One table of a plan, with its part tables. What is new is counted; what is shared already is not.

    Attributes
    ----------
    name : str
        ``"schema.Class"``, as the source has it.
    source, local : str
        The master tables there and here, with their schemas.
    entities : int
        How many are selected, or stood on by what is.
    new : int
        How many of them are not held yet.
    part_rows : int
        Part rows of these.
    bytes : int
        About how many bytes their rows have, part rows too.
    files : int
        Files that their rows name; a folder counts as one.
    file_bytes : int
        The bytes of these files, as far as the source has written them down.
    reason : str
        Why: ``selected``, ``derived from ...``, or ``<-`` and the tables that refer to it.
    keys : tuple of str
        The foreign keys that make them needed.
    """

    name: str
    source: str
    local: str
    entities: int
    new: int
    part_rows: int
    bytes: int
    files: int
    file_bytes: int
    reason: str
    keys: tuple[str, ...] = field(default=(), repr=False)

    @property
    def rows(self) -> int:
        """New rows, part rows too."""
        return self.new + self.part_rows

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, for JSON."""
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)}

    @property
    def told(self) -> str:
        """What is new, in a line."""
        parts = f", {number_of(self.part_rows, 'part row')}" if self.part_rows else ""
        return f"{self.new:,} new of {self.entities:,}{parts}"


@dataclass(frozen=True)
class Conflict:
    """Entities of one table that are local, not held, and not what the source has.

    Attributes
    ----------
    table : str
        ``"schema.Class"``, as the source has it.
    count : int
        How many.
    examples : list of dict
        The keys of some.
    columns : list of str
        What differs in these; of a part, behind its class.
    """

    table: str
    count: int
    examples: list[dict[str, Any]]
    columns: list[str]

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.examples)) + ", ..." * (self.count > len(self.examples))
        return f"{self.count:,} of {self.table} differ in {', '.join(self.columns)}: {shown}"

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, for JSON."""
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)}


@dataclass(frozen=True)
class Cut:
    """A foreign key that is not followed, and why."""

    place: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.place} ({self.why})" if self.why else self.place


@dataclass(frozen=True)
class Counted:
    """What was found for a plan.

    Attributes
    ----------
    tables : list of PlanTable
        Those first to which others refer.
    conflicts : list of Conflict
        What is here with another content.
    missing : list of str
        The GRANT statements that a pull needs beside what the account has.
    cut : list of Cut
        Foreign keys that are not followed.
    left_out : int
        Entities that were selected and are not held, and stand on what the source wants deleted.
    gone : int
        Entities that are held and are not here any more: a pull fetches them again.
    unseen : list of str
        Tables of which it is not known whether something here differs, or is gone.
    """

    tables: list[PlanTable]
    conflicts: list[Conflict] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    cut: list[Cut] = field(default_factory=list)
    left_out: int = 0
    gone: int = 0
    unseen: list[str] = field(default_factory=list)


class Plan:
    """What a pull would bring. A question, not a snapshot: :meth:`pull` asks the source again.

    True if there is anything to pull. Prints as a table.

    Parameters
    ----------
    counted : Counted
        What was found.
    source : str
        The source server.
    helper_schema : str
        Where rows are held there.
    limits : tuple
        ``max_rows`` and ``max_bytes``.
    pull : callable
        Pulls the same.
    diagram : callable
        Draws it.
    """

    def __init__(
        self,
        counted: Counted,
        source: str,
        helper_schema: str,
        limits: tuple[float | None, float | None],
        pull: Callable[..., PipelineResult],
        diagram: Callable[[Plan], Any],
    ) -> None:
        self._counted = counted
        self._source, self._helper_schema = source, helper_schema
        self._limits = limits
        self._pull, self._diagram = pull, diagram

    @property
    def tables(self) -> list[PlanTable]:
        """The tables of the plan, those first to which others refer."""
        return self._counted.tables

    @property
    def entities(self) -> int:
        """How many entities are selected, or stood on by what is."""
        return sum(table.entities for table in self.tables)

    @property
    def new(self) -> int:
        """How many of them are not held yet."""
        return sum(table.new for table in self.tables)

    @property
    def rows(self) -> int:
        """New rows, part rows too."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """About how many bytes the new rows have; files are not counted."""
        return sum(table.bytes for table in self.tables)

    @property
    def files(self) -> int:
        """Files that new rows name; a folder counts as one."""
        return sum(table.files for table in self.tables)

    @property
    def file_bytes(self) -> int:
        """The bytes of these files, as far as the source has written them down."""
        return sum(table.file_bytes for table in self.tables)

    @property
    def conflicts(self) -> list[Conflict]:
        """What is here, not held, and not what the source has."""
        return self._counted.conflicts

    @property
    def missing(self) -> list[str]:
        """The GRANT statements that a pull needs beside what the account has."""
        return self._counted.missing

    @property
    def cut(self) -> list[str]:
        """The foreign keys that are not followed: ``"schema.Class.attribute"``."""
        return [cut.place for cut in self._counted.cut]

    @property
    def left_out(self) -> int:
        """Entities that were selected, are not held, and stand on what the source wants deleted."""
        return self._counted.left_out

    @property
    def gone(self) -> int:
        """Entities that are held and are not here any more: a pull fetches them again."""
        return self._counted.gone

    def __bool__(self) -> bool:
        return bool(self.new or self.gone)

    def pull(self, **options: Any) -> PipelineResult:
        """Pull what the plan is about, as it is at the source by then; its limits apply.

        Parameters
        ----------
        **options
            As for :meth:`link.Pipeline.pull`: ``display_progress``, ``processes``, ``executor``, ``transfers``,
            ``suppress_errors``, ``max_calls``, ``conflicts``.

        Returns
        -------
        PipelineResult
            What was done, and of each table what was; nothing, where somebody at a prompt has declined so much.

        Raises
        ------
        LimitError
            There is more than ``max_rows`` or ``max_bytes`` allow. Nothing was pulled or held.
        LinkError
            As for :meth:`link.Pipeline.pull`.
        """
        asks = self.is_large and hasattr(sys, "ps1")
        if asks and not agrees(f"{self}\nPull all of it?", unattended=True):
            return PipelineResult({})
        return self._pull(**options)

    def diagram(self) -> Any:
        """The source's ``dj.Diagram`` of the plan's tables, with what is new of each."""
        return self._diagram(self)

    def to_pandas(self) -> pd.DataFrame:
        """The tables as a data frame."""
        import pandas as pd

        names = [each.name for each in fields(PlanTable) if each.repr]
        return pd.DataFrame([[getattr(table, name) for name in names] for table in self.tables], columns=names)

    def to_dict(self) -> dict[str, Any]:
        """What the plan says as plain values, for JSON: the sums, and in ``tables`` each, by ``"schema.Class"``."""
        counted = self._counted
        return {
            "source": self._source,
            "helper_schema": self._helper_schema,
            "entities": self.entities,
            "new": self.new,
            "rows": self.rows,
            "bytes": self.bytes,
            "files": self.files,
            "file_bytes": self.file_bytes,
            "left_out": self.left_out,
            "gone": self.gone,
            "conflicts": plain(self.conflicts),
            "cut": [{"foreign_key": cut.place, "reason": cut.why} for cut in counted.cut],
            "unseen": list(counted.unseen),
            "missing": list(self.missing),
            "over_limits": self._over(),
            "tables": {table.name: plain(table) for table in self.tables},
        }

    # limits

    @property
    def is_large(self) -> bool:
        """Whether one should be asked before so much is pulled."""
        return self.rows > MANY_ROWS or self.bytes + self.file_bytes > MANY_BYTES

    def require_within_limits(self) -> None:
        """Raise LimitError for a plan that is over its limits."""
        if over := self._over():
            raise LimitError(
                f"The plan is over its limits: {'; '.join(over)}. Nothing was pulled or held. {self._largest()}",
                "Select less, say leave_out= or cut= for what is not wanted, or give a larger limit. print(plan) shows "
                "all tables.",
            )

    def _over(self) -> list[str]:
        rows, largest = self._limits
        found = [f"{self.rows:,} new rows, and max_rows={rows:,}"] if rows is not None and self.rows > rows else []
        total = self.bytes + self.file_bytes
        if largest is not None and total > largest:
            found.append(f"about {size(total)}, and max_bytes={largest:,}")
        return found

    def _largest(self) -> str:
        """Which table makes it large, and through which foreign keys."""
        rows, _ = self._limits
        by_rows = rows is not None and self.rows > rows
        table = max(self.tables, key=lambda t: t.rows if by_rows else t.bytes + t.file_bytes)
        through = f", through {', '.join(table.keys[:3])}{', ...' * (len(table.keys) > 3)}" if table.keys else ""
        amount = f"{number_of(table.rows, 'row')}, {size(table.bytes + table.file_bytes)}"
        return f"Most of it is {table.name}: {amount} ({table.reason}{through})."

    # printing

    def __repr__(self) -> str:
        rows = [list(_HEADER), *map(_cells, self.tables)]
        widths = [max(len(row[n]) for row in rows) for n in range(len(_HEADER))]
        lines = [
            "  "
            + "  ".join(
                cell.ljust(width) if n in (0, 1, len(widths) - 1) else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([self._title(), *lines, *(f"  {line}" for line in self._notes())])

    def _repr_html_(self) -> str:
        return as_table(map(_cells, self.tables), _HEADER, self._title(), self._notes())

    def _title(self) -> str:
        return f"Plan: {self._source} -> this server, held in {self._helper_schema}"

    def _notes(self) -> list[str]:
        counted, shared = self._counted, self.entities - self.new
        files = f", {number_of(self.files, 'file')} ({size(self.file_bytes)})" if self.files else ""
        notes = [
            f"{number_of(len(self.tables), 'table')}, {number_of(self.new, 'new entity', 'new entities')}, "
            f"{number_of(self.rows, 'row')}, {size(self.bytes)}{files}; {shared:,} "
            f"{'is' if shared == 1 else 'are'} shared already"
        ]
        notes += [f"over its limits: {'; '.join(over)}. {self._largest()}"] if (over := self._over()) else []
        if counted.cut:
            notes.append(f"cut: {', '.join(map(str, counted.cut))}")
        left = f"left out: {counted.left_out:,} that depend on what the source wants deleted; " * bool(counted.left_out)
        notes.append(f"{left}conflicts: {'; '.join(map(str, counted.conflicts)) or 'none'}")
        if counted.gone:
            verb = "is gone here: a pull fetches it" if counted.gone == 1 else "are gone here: a pull fetches them"
            notes.append(f"{counted.gone:,} {verb} again")
        if counted.unseen:
            notes.append(f"what is here could not be compared of {', '.join(counted.unseen)}")
        if counted.missing:
            notes.append(f"the account lacks rights for a pull: {' '.join(counted.missing)}")
        return notes


_HEADER = ("theirs", "ours", "entities", "new", "parts", "about", "files", "")


def _cells(table: PlanTable) -> list[str]:
    def number(value: int) -> str:
        return f"{value:,}" if value else "-"

    files = f"{table.files:,} ({size(table.file_bytes)})" if table.files else "-"
    counts = [number(table.entities), number(table.new), number(table.part_rows)]
    return [table.source, table.local, *counts, size(table.bytes) if table.rows else "-", files, table.reason]
