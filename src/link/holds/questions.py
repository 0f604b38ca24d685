"""What a plan asks the source: one statement over the sets of a selection, which needs nothing but SELECT."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..model.graph import Name
from ..model.ranges import Sql
from ..model.schema import Table
from ..model.states import ASKED
from .expressions import Expressions, Known
from .holds import Holds
from .sets import Sets


class Size(NamedTuple):
    """Rows of one table that are to be copied.

    Attributes
    ----------
    rows : int
        How many.
    files, file_bytes : int
        How many objects they name, and how large these are, as far as it is written down.
    row_bytes : float
        About how large a row is.
    """

    rows: int = 0
    files: int = 0
    file_bytes: int = 0
    row_bytes: float = 0.0


@dataclass
class Answer:
    """What the source has answered of one group.

    Attributes
    ----------
    entities : int
        How many are needed, and there.
    new : int
        How many of them are to be copied.
    left_out : int
        How many were selected, and stand on what the source wants deleted.
    sizes : dict
        By the name of each of its tables, what is to be copied.
    """

    entities: int = 0
    new: int = 0
    left_out: int = 0
    sizes: dict[str, Size] = field(default_factory=dict)


def asking_flags(held: Mapping[Name, Holds]) -> Sql:
    """SELECT: of each helper table, in their order, whether the source wants something deleted."""
    flags = (
        f"SELECT {n}, EXISTS (SELECT 1 FROM {h.table} WHERE {h.condition(ASKED)})" for n, h in enumerate(held.values())
    )
    return " UNION ALL ".join(flags), ()


class Question:
    """A plan's question.

    Parameters
    ----------
    sets : Sets
        What it is about.
    held : mapping
        The holds of the groups that have a helper table.
    samples : mapping
        Of which table about how many rows are looked at to know how large they are; of others none is.
    files : mapping
        By table, the full names of the columns whose values name objects.
    known : Known, optional
        What has been read of some groups.
    """

    def __init__(
        self,
        sets: Sets,
        held: Mapping[Name, Holds],
        samples: Mapping[Table, int],
        files: Mapping[Table, Sequence[str]],
        known: Known | None = None,
    ) -> None:
        self.sets = sets
        self._selects: list[str] = []
        self._asked: list[tuple[str, Name, Table]] = []
        self._text = Expressions(sets, known)
        for name in sets.names:
            self._ask_group(name, held.get(name))
            for table in sets.graph.groups[name].tables:
                self._ask_table(name, table, held.get(name), samples.get(table, 0), files.get(table, ()))

    @property
    def weight(self) -> int:
        """How many sets it names, with all those of which they are made."""
        return sum(map(self._text.weight, self._selects))

    @property
    def statements(self) -> Iterator[Sql]:
        """The statement; or several, where a server would have too much to write out."""
        most, some, weight = self.sets.dialect.most_sets, list[str](), 0
        for select in self._selects:
            heavy = self._text.weight(select)
            if some and most is not None and weight + heavy > most:
                yield self._statement(some)
                some, weight = [], 0
            some.append(select)
            weight += heavy
        yield self._statement(some)

    def _statement(self, selects: Sequence[str]) -> Sql:
        return f"{self._text.with_sets} {' UNION ALL '.join(selects)}", tuple(self._text.args)

    def _ask(self, what: str, name: Name, table: Table, rows: str, counted: Sequence[str] = ("0", "0")) -> None:
        self._selects.append(f"SELECT {len(self._asked)}, COUNT(*), {', '.join(counted)} FROM {rows}")
        self._asked.append((what, name, table))

    def _ask_group(self, name: Name, holds: Holds | None) -> None:
        text, master = self._text, self.sets.master(name)
        self._ask("entities", name, master, text.rows_there(name, text.needed(name)))
        if holds is not None:
            self._ask("new", name, master, text.rows_there(name, text.unheld(name, holds)))
        if name in self.sets.below_flagged and (chosen := text.all_chosen(name)):
            rows = text.unsettled(chosen, holds) if holds else f"{chosen} WHERE 1 = 1"
            self._ask("left_out", name, master, f"{rows} AND {text.stands_on_flagged(name)}")

    def _ask_table(self, name: Name, table: Table, holds: Holds | None, sample: int, files: Sequence[str]) -> None:
        rows, dialect = self._text.new_rows(name, table, holds), self.sets.dialect
        if files or table != self.sets.master(name):
            sizes = "+".join(f"COALESCE(SUM({dialect.told_size(field)}), 0)" for field in files)
            self._ask("rows", name, table, rows, ["+".join(f"COUNT({f})" for f in files) or "0", sizes or "0"])
        if sample:
            size = dialect.alias("size")
            some = (
                f"(SELECT {dialect.row_size(table)} AS {size} FROM {rows} LIMIT {sample}) AS {dialect.alias('sample')}"
            )
            self._ask("sample", name, table, some, [f"COALESCE(SUM({size}), 0)", "0"])

    def read(self, rows: Iterable[Sequence[int]], known_sizes: Mapping[Table, float]) -> dict[Name, Answer]:
        """The answer, by group; of tables without a sample ``known_sizes`` says how large a row is."""
        found = {name: Answer() for name in self.sets.names}
        told = {self._asked[int(n)]: (int(count), float(a), float(b)) for n, count, a, b in rows}
        for name, answer in found.items():
            master = self.sets.master(name)
            answer.entities = told["entities", name, master][0]
            answer.new = told.get(("new", name, master), (answer.entities,))[0]
            answer.left_out = told.get(("left_out", name, master), (0,))[0]
            for table in self.sets.graph.groups[name].tables:
                number, files, file_bytes = told.get(("rows", name, table), (answer.new, 0, 0))
                sampled, total, _ = told.get(("sample", name, table), (0, 0, 0))
                row_bytes = total / sampled if sampled else known_sizes.get(table, 0.0)
                answer.sizes[table.name] = Size(number, int(files), int(file_bytes), row_bytes)
        return found
