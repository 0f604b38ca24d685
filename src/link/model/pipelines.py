"""What operations on whole pipelines return: the sums, and by table what the same operation returns for one.

Tables are called ``"schema.Class"``, as the source has them; those come first to which others refer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from .dependents import Dependents
from .results import PullResult, RefreshResult, RepairResult, VerifyResult
from .shown import as_line, as_table, first_of, plain
from .states import State
from .statuses import RESTING, Since, Status, busy_line


class PipelineResult(PullResult):
    """What a pull of a pipeline did: the sums over all tables, and the same of each.

    Parameters
    ----------
    tables : mapping of str to PullResult
        What was done of each table of the pull.
    seconds : float
        Wall time.
    dependents : Dependents, optional
        The local rows that depend on what was replaced of any table.

    Attributes
    ----------
    tables : dict of str to PullResult
        The tables by ``"schema.Class"``. All else are the sums; what names keys names those of all tables, one after
        the other.
    """

    def __init__(
        self,
        tables: Mapping[str, PullResult],
        seconds: float = 0.0,
        dependents: Dependents | None = None,
    ) -> None:
        super().__init__(seconds=seconds)
        if dependents is not None:
            self.dependents = dependents
        self.tables = dict(tables)
        for each in self.tables.values():
            self.add(each)

    def _lines(self) -> dict[str, str]:
        """What is printed of each table in which something happened, and of all together."""
        told = {name: repr(each) for name, each in self.tables.items() if _has_happened(each)}
        return {**told, _number(self.tables): super().__repr__()}

    def __repr__(self) -> str:
        return _as_text(self._lines())

    def _repr_html_(self) -> str:
        return _as_html(self._lines())

    def to_dict(self) -> dict[str, Any]:
        """The sums as of one table; ``tables`` has the same of each, by ``"schema.Class"``."""
        return {**super().to_dict(), "tables": plain(self.tables)}


class PipelineStatus(Status):
    """Counts of entities by state over all tables, and by table: a line each where it is printed.

    Parameters
    ----------
    tables : mapping of str to Status
        What was counted of each table.
    title : str
        The pipeline.

    Attributes
    ----------
    tables : dict of str to Status
        The tables by ``"schema.Class"``. All else is of all of them together.
    """

    def __init__(self, tables: Mapping[str, Status], title: str) -> None:
        counts, busy = Counter[State](), Counter[State]()
        for each in tables.values():
            counts.update({state: each[state] for state in State})
            busy.update(each.in_other_hands)
        super().__init__(counts, title, busy, _since([each.since for each in tables.values()]))
        self.tables = dict(tables)

    def _lines(self) -> list[list[str]]:
        """What is printed: the states that there are, a line of each table, and one of all."""
        shown = [state for state in State if self[state] or state.value in RESTING]
        lines = [*self.tables.items(), *([(_number(self.tables), self)] if len(self.tables) != 1 else [])]
        return [["", *(s.value for s in shown)], *([name, *(f"{one[s]:,}" for s in shown)] for name, one in lines)]

    def __repr__(self) -> str:
        rows = self._lines()
        first, *widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (
            "  ".join([f"{name:<{first}}", *(f"{n:>{width}}" for n, width in zip(numbers, widths, strict=True))])
            for name, *numbers in rows
        )
        return "\n".join([self._title, *lines, *self.remarks])

    def _repr_html_(self) -> str:
        header, *rows = self._lines()
        return as_table(rows, ["table", *header[1:]], self._title, self.remarks)

    def to_dict(self) -> dict[str, Any]:
        """The sums as of one table; ``tables`` has the same of each, by ``"schema.Class"``."""
        return {**super().to_dict(), "tables": plain(self.tables)}


def _since(each: Iterable[Since]) -> Since:
    """Since when, of several tables together."""
    some = list(each)

    def outermost(choose: Callable[[list[datetime]], datetime], name: str) -> datetime | None:
        times = [time for since in some if (time := getattr(since, name)) is not None]
        return choose(times) if times else None

    return Since(
        outermost(min, "first_pulled"),
        outermost(max, "last_pulled"),
        outermost(max, "last_refreshed"),
        outermost(min, "flagged"),
    )


class PipelineVerification(VerifyResult):
    """What a verification of a pipeline found; true when everything that is here of every table is equal.

    Parameters
    ----------
    tables : mapping of str to VerifyResult
        What was found of each table.
    seconds : float
        Wall time.

    Attributes
    ----------
    tables : dict of str to VerifyResult
        The tables by ``"schema.Class"``, each true when what is here of it is equal. All else are the sums; what names
        keys names those of all tables, one after the other.
    """

    def __init__(self, tables: Mapping[str, VerifyResult], seconds: float = 0.0) -> None:
        super().__init__(seconds=seconds)
        self.tables = dict(tables)
        for each in self.tables.values():
            self.add(each)

    def _lines(self) -> dict[str, str]:
        return {
            **{name: repr(each) for name, each in self.tables.items()},
            _number(self.tables): as_line(self._facts(lambda _: "")),
        }

    def __repr__(self) -> str:
        return _as_text(self._lines())

    def _repr_html_(self) -> str:
        return _as_html(self._lines())

    def to_dict(self) -> dict[str, Any]:
        """The sums as of one table; ``tables`` has the same of each, by ``"schema.Class"``."""
        return {**super().to_dict(), "tables": plain(self.tables)}


class PipelineRepair(RepairResult):
    """What a repair of a pipeline did, or with ``dry_run`` would do: the sums over all tables, and the same of each.

    Parameters
    ----------
    tables : mapping of str to RepairResult
        What was done about each table.
    dry_run : bool
        Whether nothing was changed.
    title : str
        What the counts are called.
    pulled : PipelineResult or None
        What was copied, or finished, by a pull.

    Attributes
    ----------
    tables : dict of str to RepairResult
        The tables by ``"schema.Class"``. All else is of all of them together.
    """

    tables: dict[str, RepairResult]

    def __init__(
        self, tables: Mapping[str, RepairResult], dry_run: bool, title: str, pulled: PipelineResult | None
    ) -> None:
        actions: dict[State, tuple[int, str]] = {}
        for each in tables.values():
            for state, (number, action) in each.actions.items():
                actions[state] = actions.get(state, (0, ""))[0] + number, action
        before = PipelineStatus({name: each.before for name, each in tables.items()}, title)
        super().__init__(actions, dry_run, before, pulled)
        object.__setattr__(self, "tables", dict(tables))

    def _lines(self) -> dict[str, str]:
        """What is printed of each table about which there is something to be done."""
        return {
            f"  {name}": ", ".join(f"{n:,} {state.value}: {action}" for state, (n, action) in each.actions.items())
            for name, each in self.tables.items()
            if each.actions
        }

    @property
    def _title(self) -> str:
        return f"repair {'would' if self.dry_run else 'did'}:" if self.actions else "nothing to repair"

    def __repr__(self) -> str:
        lines = [_as_text(lines)] if (lines := self._lines()) else []
        return "\n".join([self._title, *lines, *busy_line(self.before)])

    def _repr_html_(self) -> str:
        return as_table(self._lines().items(), (), self._title, busy_line(self.before))

    def to_dict(self) -> dict[str, Any]:
        """The sums as of one table; ``tables`` has the same of each, by ``"schema.Class"``."""
        return {**super().to_dict(), "tables": plain(self.tables)}


class Flagged(Mapping[str, list[dict[str, Any]]]):
    """The primary keys of what the source wants deleted and that is local, of each table that has some.

    A mapping by ``"schema.Class"``, as the source has the tables, those first to which others refer.

    Parameters
    ----------
    keys : mapping of str to list of dict
        The keys, of all tables.
    dependents : Dependents
        What depends on these.
    tables : tuple of str
        All tables that were looked at.

    Attributes
    ----------
    tables : tuple of str
        All tables that were looked at.
    dependents : Dependents
        What else would be deleted here with these entities, by the full names of local tables; part rows, which go with
        their masters, are not counted.
    """

    def __init__(
        self, keys: Mapping[str, list[dict[str, Any]]], dependents: Dependents, tables: tuple[str, ...]
    ) -> None:
        self._keys = {name: some for name, some in keys.items() if some}
        self.tables = tables
        self.dependents = dependents

    def __getitem__(self, name: str) -> list[dict[str, Any]]:
        return self._keys[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _lines(self) -> dict[str, str]:
        return {name: f"{len(keys):,}{first_of(keys)}" for name, keys in self.items()}

    def __repr__(self) -> str:
        return _as_text(self._lines()) if self else "nothing is flagged"

    def _repr_html_(self) -> str:
        return _as_html(self._lines()) if self else "nothing is flagged"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``keys`` by table; the local server is asked for the ``dependents``."""
        return {"keys": plain(self._keys), "dependents": plain(self.dependents)}


class PipelineRefresh(RefreshResult):
    """What a refresh of a pipeline did: the sums over all tables, and the same of each.

    Parameters
    ----------
    tables : mapping of str to RefreshResult
        What was done of each table.
    pulled : PipelineResult
        What was pulled.
    dependents : Dependents
        What depends on what was refreshed.
    seconds : float
        Wall time.
    dry_run : bool
        Whether nothing was refreshed.

    Attributes
    ----------
    tables : dict of str to RefreshResult
        The tables by ``"schema.Class"``. All else are the sums; what names keys names those of all tables, one after
        the other.
    pulled : PipelineResult
        What was pulled before, since edited rows refer to it now.
    """

    def __init__(
        self,
        tables: Mapping[str, RefreshResult],
        pulled: PipelineResult,
        dependents: Dependents,
        seconds: float = 0.0,
        dry_run: bool = False,
    ) -> None:
        super().__init__(seconds=seconds, dry_run=dry_run, dependents=dependents)
        self.tables, self.pulled = dict(tables), pulled
        for each in self.tables.values():
            self.add(each)

    @property
    def keys(self) -> list[dict[str, Any]]:
        """The keys of those that are counted as refreshed, of one table after the other."""
        return [key for each in self.tables.values() for key in each.keys]

    def _lines(self) -> dict[str, str]:
        """What is printed of each table in which something happened, of all together, and of what was pulled."""
        told = {
            name: repr(each)
            for name, each in self.tables.items()
            if each.refreshed or each.refused or any(each.skipped.values())
        }
        pulled = f"and pulled {self.pulled.pulled:,}, to which edited rows refer now"
        return {**told, _number(self.tables): super().__repr__(), **({"": pulled} if self.pulled.pulled else {})}

    def __repr__(self) -> str:
        return _as_text(self._lines())

    def _repr_html_(self) -> str:
        return _as_html(self._lines())

    def to_dict(self) -> dict[str, Any]:
        """The sums as of one table; ``tables`` has the same of each, and ``pulled`` what was pulled before."""
        return {**super().to_dict(), "tables": plain(self.tables), "pulled": self.pulled.to_dict()}


def _has_happened(result: PullResult) -> bool:
    """Whether a pull has done, or left undone, anything in a table."""
    counted = result.pulled, result.adopted, result.differing, result.replaced, result.errors
    return any(counted) or any(result.skipped.values())


def _number(tables: Mapping[str, Any]) -> str:
    return "1 table" if len(tables) == 1 else f"{len(tables):,} tables"


def _as_text(lines: Mapping[str, str]) -> str:
    width = max(map(len, lines), default=0)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())


def _as_html(lines: Mapping[str, str]) -> str:
    return as_table(lines.items(), ["table", ""])
