"""What a look at both servers of a pipeline has found: whether all is there that a pull needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import LinkError
from .shown import as_table, plain_error


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    what : str
        What it was.
    told : str
        What was found.
    error : LinkError or None
        What is wrong with it, and what to do.
    """

    what: str
    told: str
    error: LinkError | None = None

    @property
    def lines(self) -> list[str]:
        """What is printed of it: what was found, and what to do."""
        return [self.told, f"→ {self.error.hint}"] if self.error and self.error.hint else [self.told]


class Ping:
    """What was found, a line for each thing; true when nothing is wrong.

    Parameters
    ----------
    checks : sequence of Check
        What was looked at, in this order.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = list(checks)

    @property
    def errors(self) -> list[LinkError]:
        """What is wrong."""
        return [check.error for check in self.checks if check.error]

    def __bool__(self) -> bool:
        return not self.errors

    def _rows(self) -> list[list[str]]:
        return [["wrong" if check.error else "ok", check.what, line] for check in self.checks for line in check.lines]

    def __repr__(self) -> str:
        width = max((len(check.what) for check in self.checks), default=0)
        lines = []
        for check in self.checks:
            first, *more = "\n".join(check.lines).splitlines()
            lines.append(f"{'wrong' if check.error else 'ok':<5}  {check.what:<{width}}  {first}")
            lines += [f"{'':<{width + 9}}{line}" for line in more]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return as_table(self._rows(), ["", "what", ""])

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``checks``, each with ``what``, ``ok``, ``told`` and, where something is wrong, its ``error``."""
        return {
            "checks": [
                {
                    "what": check.what,
                    "ok": not check.error,
                    "told": check.told,
                    "error": plain_error(check.error) if check.error else None,
                }
                for check in self.checks
            ]
        }
