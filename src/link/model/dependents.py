"""Local rows that depend on entities, as results tell of them: looked up when they are asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import LinkError
from ..lazy import cached_property
from .shown import as_table, number_of

#: Of more keys no condition is made.
MOST_KEYS = 5000


class DependentRows:
    """Rows of one table that depend on entities: a restriction of that table. They are read when it is used.

    Of very many :meth:`batches` has the keys in parts, and nothing else.
    """

    def __init__(self, count: int, read: Callable[[], Iterator[dict[str, Any]]]) -> None:
        self._count = count
        self._read = read

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._count > MOST_KEYS:
            raise LinkError(
                f"A condition by {self._count:,} keys is not made: by more than {MOST_KEYS:,} a server is busy for "
                "minutes or hours.",
                "Take them in parts: for some in result.dependents[Table].batches(): (Table & some).delete(). "
                'refresh(dependents="delete") deletes any number.',
            )
        return self._read() if self._count else iter(())

    def batches(self, size: int = 1000) -> Iterator[list[dict[str, Any]]]:
        """The keys, so many at a time: restrictions for one query after the other."""
        remaining = self._read() if self._count else iter(())
        while batch := list(itertools.islice(remaining, size)):
            yield batch

    def __repr__(self) -> str:
        return number_of(self._count, "row")


class Dependents(Mapping[Any, DependentRows]):
    """Local rows that depend on some entities, by table.

    It takes a class or the full name of a table, and has for it what restricts that table to these rows. It is looked
    up when it is first asked. Of refreshed entities those come first that ``populate()`` makes anew, and rows of linked
    tables are not told, for what they are is up to their sources: but for those of a pipeline that were made here.
    """

    def __init__(
        self, count: Callable[[], dict[str, tuple[str, int]]], read: Callable[[str], Iterator[dict[str, Any]]]
    ) -> None:
        self._count = count
        self._read = read

    def __reduce__(self) -> tuple[Any, ...]:
        # With a result that travels to another process; there is no connection there to look it up by.
        return Dependents, (_elsewhere, _elsewhere)

    @cached_property
    def _tables(self) -> dict[str, tuple[str, int]]:
        return self._count()

    def __getitem__(self, table: Any) -> DependentRows:
        name = str(getattr(table, "full_table_name", table))
        return DependentRows(self._tables[name][1], lambda: self._read(name))

    def __contains__(self, table: object) -> bool:
        name = str(getattr(table, "full_table_name", table))
        return name in set(self)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, (_, number) in self._tables.items() if number])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        if not self:
            return "no dependents"
        width = max(map(len, self))
        return "\n".join(f"{name:<{width}}  {self._tables[name][0]:<8}  {len(self[name]):>12,}" for name in self)

    def _repr_html_(self) -> str:
        rows = ([name, self._tables[name][0], f"{len(self[name]):,}"] for name in self)
        return as_table(rows, ["table", "tier", "rows"]) if self else "no dependents"

    def to_dict(self) -> dict[str, dict[str, Any]] | None:
        """By table ``tier`` and number of ``rows``; None in another process than that which can look it up."""
        if self._count is _elsewhere:
            return None
        return {name: {"tier": self._tables[name][0], "rows": len(self[name])} for name in self}


def _elsewhere(*_: str) -> Any:
    raise LinkError(
        "What depends on entities is looked up where the result was made that tells of them, and it comes from there.",
        "Ask for it in that process; or restrict the dependent tables by the keys, as far as they have its attributes.",
    )


def no_dependents() -> Dependents:
    """Nothing depends on anything."""
    return Dependents(dict, lambda _: iter(()))
