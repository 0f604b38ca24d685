"""What operations on whole pipelines return: the sums, and by table what the same operation returns for one."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

from .results import PullResult


class PipelineResult(PullResult):
    """What a pull of a pipeline did: the sums over all tables, and the same of each.

    Parameters
    ----------
    tables : mapping of str to PullResult
        What was done of each table of the pull, those first to which others refer.
    seconds : float
        Wall time.
    dry_run : bool
        Whether nothing was pulled.

    Attributes
    ----------
    tables : dict of str to PullResult
        The tables by ``"schema.Class"``, as the source has them. All else are the sums; what names keys names those of
        all tables, one after the other.
    """

    def __init__(self, tables: Mapping[str, PullResult], seconds: float = 0.0, dry_run: bool = False) -> None:
        super().__init__(seconds=seconds, dry_run=dry_run)
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


def _has_happened(result: PullResult) -> bool:
    """Whether a pull has done, or left undone, anything in a table."""
    counted = result.pulled, result.adopted, result.differing, result.replaced, result.errors
    return any(counted) or any(result.skipped.values())


def _number(tables: Mapping[str, Any]) -> str:
    return "1 table" if len(tables) == 1 else f"{len(tables):,} tables"


def _as_text(lines: Mapping[str, str]) -> str:
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())


def _as_html(lines: Mapping[str, str]) -> str:
    return _table(["table", ""], lines.items())


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def row(cells: Iterable[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

    return f"<table>{row(header, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"
