"""What operations return: counts that print as one line, or as a small table."""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from ..errors import LinkError
from .ranges import Key
from .states import State

#: Of more keys no condition is made.
MOST_KEYS = 5000
#: So many keys are printed.
_SHOWN = 3


@dataclass
class PullResult:
    """What a pull did. Each entity of the selection is counted in one place.

    Attributes
    ----------
    pulled : int
        Entities copied (with ``dry_run``: that would be).
    shared : int
        Entities of the selection that were shared before.
    adopted : int
        Entities that were local without a hold, and the same as at the source: held now, and not copied.
    skipped : dict of str to int
        Entities of the selection that were left alone, by reason.
    part_rows : int
        Rows of part tables copied.
    bytes : int
        Bytes of rows sent to the local server.
    files : int
        Files copied to local stores, or found there; a folder counts as one.
    file_bytes : int
        Their bytes.
    seconds : float
        Wall time.
    differing : list of dict
        Keys of entities that were local without a hold, and whose content differs from the source's. They are held
        now, and their content was left as it is (with ``dry_run``: all conflicts).
    replaced : list of dict
        Keys of such entities that have the source's content now, with ``conflicts="replace"``.
    errors : list of tuple
        ``(key, error)`` of every entity that was refused; only with ``suppress_errors=True``.
    """

    pulled: int = 0
    shared: int = 0
    adopted: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    part_rows: int = 0
    bytes: int = 0
    files: int = 0
    file_bytes: int = 0
    seconds: float = 0.0
    differing: list[dict[str, Any]] = field(default_factory=list)
    replaced: list[dict[str, Any]] = field(default_factory=list)
    errors: list[tuple[dict[str, Any], Exception]] = field(default_factory=list)
    dry_run: bool = False

    def add(self, part: PullResult) -> None:
        """Count in what one of several workers did.

        Parameters
        ----------
        part : PullResult
            What another worker did.
        """
        self.pulled += part.pulled
        self.shared += part.shared
        self.adopted += part.adopted
        count_in(self.skipped, part.skipped)
        self.part_rows += part.part_rows
        self.bytes += part.bytes
        self.files += part.files
        self.file_bytes += part.file_bytes
        self.differing += part.differing
        self.replaced += part.replaced
        self.errors += part.errors

    def __repr__(self) -> str:
        words = [
            f"{'would pull' if self.dry_run else 'pulled'} {self.pulled:,}",
            f"already shared {self.shared:,}",
            *[f"adopted {self.adopted:,}"] * bool(self.adopted),
            *(f"skipped {count:,} ({reason})" for reason, count in self.skipped.items() if count),
        ]
        if self.differing:
            words.append(f"differing {len(self.differing):,}")
        if self.replaced:
            words.append(f"replaced {len(self.replaced):,}")
        if self.errors:
            words.append(f"refused {len(self.errors):,}")
        if not self.dry_run:
            files = [f"files {self.files:,} ({size(self.file_bytes)})"] * bool(self.files)
            words += [f"part rows {self.part_rows:,}", size(self.bytes), *files, f"{self.seconds:.1f} s"]
        return ", ".join(words)


def count_in(counts: dict[str, int], more: Mapping[str, int]) -> None:
    """Add numbers to those that are counted under the same words."""
    for what, number in more.items():
        counts[what] = counts.get(what, 0) + number


def size(number: float) -> str:
    """A number of bytes, as people read it."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}"
        number /= 1000
    return f"{number:,.1f} GB"


def first_of(keys: Sequence[object]) -> str:
    """The first of some keys, in parentheses."""
    more = [f"and {len(keys) - _SHOWN:,} more"] * (len(keys) > _SHOWN)
    return f" ({', '.join([*map(str, keys[:_SHOWN]), *more])})" if keys else ""


@dataclass(frozen=True)
class Since:
    """Since when: of what is held and at rest, by the source's clock; None where the helper table does not say it.

    Attributes
    ----------
    first_pulled, last_pulled : datetime or None
        When the first and the last of the holds was taken that are there for the copies of now: each was copied at that
        time or a little later.
    last_refreshed : datetime or None
        When a refresh last changed a copy.
    flagged : datetime or None
        When the source flagged the first of those that it waits for.
    """

    first_pulled: datetime | None = None
    last_pulled: datetime | None = None
    last_refreshed: datetime | None = None
    flagged: datetime | None = None

    def __str__(self) -> str:
        pulled = [self.first_pulled, self.last_pulled] if self.first_pulled != self.last_pulled else [self.last_pulled]
        said = (("pulled", pulled), ("last refreshed", [self.last_refreshed]), ("flagged since", [self.flagged]))
        return ", ".join(f"{word} {' to '.join(map(_when, times))}" for word, times in said if None not in times)


def _when(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S %Z}"


#: The states that are printed whether there are some or not.
RESTING = (State.UNSHARED.value, State.SHARED.value)


class Status(Mapping[str, int]):
    """Counts of entities by state; prints as a small table.

    Parameters
    ----------
    counts : mapping of State to int
        What was counted.
    title : str
        The link.
    in_other_hands : mapping of State to int
        How many of them pulls or deletions that run at this moment have in hand.
    since : Since
        When they were pulled, refreshed and flagged.
    """

    def __init__(
        self, counts: Mapping[State, int], title: str, in_other_hands: Mapping[State, int], since: Since
    ) -> None:
        self.since = since
        self.in_other_hands = {state: number for state, number in in_other_hands.items() if number}
        self._counts = {state.value: counts.get(state, 0) for state in State}
        self._title = title

    @property
    def remarks(self) -> list[str]:
        """What is printed below the counts: since when, and what running operations have in hand."""
        since = str(self.since)
        return [*([since] if since else []), *busy_line(self)]

    def __getitem__(self, state: str | State) -> int:
        return self._counts[state.value if isinstance(state, State) else state]

    def __iter__(self) -> Any:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __repr__(self) -> str:
        width = max(map(len, self._counts))
        lines = [f"{name:<{width}}  {n:>12,}" for name, n in self._counts.items() if n or name in RESTING]
        return "\n".join([self._title, *lines, *self.remarks])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{name}</td><td>{n:,}</td></tr>" for name, n in self._counts.items())
        table = f"<table><caption>{self._title}</caption><tr><th>state</th><th>entities</th></tr>{rows}</table>"
        return f"{table}<p>{self.since}</p>"


class Damaged(NamedTuple):
    """A local file that is not what it must be.

    Attributes
    ----------
    key : dict
        The primary key of the row that names it.
    column : str
        The local table and its column.
    path : str
        The path in the local store.
    reason : str
        What is wrong with it.
    """

    key: dict[str, Any]
    column: str
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key} {self.column}: {self.path} {self.reason}"


class Dangling(NamedTuple):
    """A local row that refers to a row which is not there.

    Attributes
    ----------
    key : dict
        The primary key of the row.
    table : str
        Its local table.
    parent : str
        The local table that has not got the row.
    """

    key: dict[str, Any]
    table: str
    parent: str

    def __str__(self) -> str:
        return f"{self.key} of {self.table} refers to nothing in {self.parent}"


@dataclass
class VerifyResult:
    """What a verification found; true when everything that is here is equal.

    Attributes
    ----------
    compared : int
        Shared entities compared, each with all its part rows.
    differing : list of dict
        Keys of entities whose rows are not the same on both servers: edited here or there since the pull.
    missing : list of dict
        Keys of entities that are held and not local.
    not_here : list of str
        Columns and part tables of the source that the local tables do not have: they were not compared.
    files : int
        Local files that were read and found right; a folder counts as one. Only with ``files=True``.
    file_bytes : int
        Bytes that were read of local files.
    damaged : list of Damaged
        Local files that are missing, or not what they must be.
    dangling : list of Dangling
        Local rows that refer to rows which are not there. Servers see to it that there are none, unless they were told
        not to look at foreign keys.
    seconds : float
        Wall time.
    """

    compared: int = 0
    differing: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    not_here: list[str] = field(default_factory=list)
    files: int = 0
    file_bytes: int = 0
    damaged: list[Damaged] = field(default_factory=list)
    dangling: list[Dangling] = field(default_factory=list)
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return not self.differing and not self.missing and not self.damaged and not self.dangling

    def add(self, part: VerifyResult) -> None:
        """Count in what was found of another table.

        Parameters
        ----------
        part : VerifyResult
            What was found.
        """
        self.compared += part.compared
        self.differing += part.differing
        self.missing += part.missing
        self.not_here += part.not_here
        self.files += part.files
        self.file_bytes += part.file_bytes
        self.damaged += part.damaged
        self.dangling += part.dangling

    def __repr__(self) -> str:
        return self._told(first_of)

    def _told(self, named: Callable[[Sequence[object]], str]) -> str:
        """In one line; what stands behind numbers is ``named`` so."""
        words = [
            f"compared {self.compared:,}",
            f"{len(self.differing):,} differing{named(self.differing)}",
            f"{len(self.missing):,} missing{named(self.missing)}",
        ]
        if self.dangling:
            words.append(f"{len(self.dangling):,} dangling{named(self.dangling)}")
        if self.not_here:
            words.append(f"not compared, for they are not here: {', '.join(self.not_here)}")
        if self.files or self.damaged:
            words.append(f"files {self.files:,} ({size(self.file_bytes)})")
            words.append(f"{len(self.damaged):,} damaged{named(self.damaged)}")
        return ", ".join([*words, f"{self.seconds:.1f} s"])


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
        return f"{self._count:,} rows"


class Dependents(Mapping[Any, DependentRows]):
    """Local rows that depend on some entities, by table.

    It takes a class or the full name of a table, and has for it what restricts that table to these rows. It is looked
    up when it is first asked. Of refreshed entities those come first that ``populate()`` makes anew, and rows of linked
    tables are not told: what they are is up to their sources.
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
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{self._tables[name][0]}</td><td>{len(self[name]):,}</td></tr>"
            for name in self
        )
        return f"<table><tr><th>table</th><th>tier</th><th>rows</th></tr>{rows}</table>"


def _elsewhere(*_: str) -> Any:
    raise LinkError(
        "What depends on entities is looked up where the result was made that tells of them, and it comes from there.",
        "Ask for it in that process; or restrict the dependent tables by the keys, as far as they have its attributes.",
    )


def _no_keys(_: str) -> Iterator[dict[str, Any]]:
    return iter(())


@dataclass
class RefreshResult:
    """What a refresh did.

    Attributes
    ----------
    refreshed : int
        Entities that have the source's content now (with ``dry_run``: that would).
    equal : int
        Entities that had it before.
    keys : list of dict
        The keys of those that are counted as refreshed.
    edited_here : list of dict
        The keys of those of them that ``update1`` has changed here, and nothing else since; only with ``dry_run``.
    refused : list of tuple
        ``(key, error)`` of every entity that could not be refreshed: it is as it was, with all its rows.
    skipped : dict of str to int
        Entities of the selection that were left alone, by reason.
    files : int
        Files copied to local stores, or found there; a folder counts as one.
    file_bytes : int
        Their bytes.
    seconds : float
        Wall time.
    dependents : Dependents
        The local rows that depend on refreshed entities, by table: ``Psth & result.dependents[Psth]``.
    deleted : dict of str to int
        The dependent rows that were deleted, by the full names of the tables; only with ``dependents="delete"``.
    entities, refused_entities : list of tuple
        The same keys as those in ``keys`` and ``refused``, as statements take them.
    """

    refreshed: int = 0
    equal: int = 0
    keys: list[dict[str, Any]] = field(default_factory=list)
    refused: list[tuple[dict[str, Any], Exception]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    files: int = 0
    file_bytes: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    deleted: dict[str, int] = field(default_factory=dict)
    dependents: Dependents = field(default_factory=lambda: Dependents(dict, _no_keys))
    entities: list[Key] = field(default_factory=list)
    refused_entities: list[Key] = field(default_factory=list)
    edited_here: list[dict[str, Any]] = field(default_factory=list)

    def add(self, part: RefreshResult) -> None:
        """Count in what one of several workers did.

        Parameters
        ----------
        part : RefreshResult
            What another worker did.
        """
        self.refreshed += part.refreshed
        self.equal += part.equal
        self.keys += part.keys
        self.entities += part.entities
        self.edited_here += part.edited_here
        self.refused += part.refused
        self.refused_entities += part.refused_entities
        self.files += part.files
        self.file_bytes += part.file_bytes
        count_in(self.skipped, part.skipped)
        count_in(self.deleted, part.deleted)

    def __repr__(self) -> str:
        total = self.refreshed + self.equal + len(self.refused)
        words = [f"{'would refresh' if self.dry_run else 'refreshed'} {self.refreshed:,} of {total:,}"]
        words += [f"edited here {len(self.edited_here):,}"] * bool(self.edited_here)
        words += [f"refused {len(self.refused):,}"] * bool(self.refused)
        words += [f"skipped {count:,} ({reason})" for reason, count in self.skipped.items() if count]
        words += [f"deleted {sum(self.deleted.values()):,} dependent rows"] * bool(self.deleted)
        words += [f"files {self.files:,} ({size(self.file_bytes)})"] * bool(self.files)
        return ", ".join([*words, f"{self.seconds:.1f} s"])


@dataclass(frozen=True)
class RepairResult:
    """What a repair did, or with ``dry_run`` would do.

    Attributes
    ----------
    actions : dict of State to tuple of (int, str)
        How many entities of each state, and what about them.
    dry_run : bool
        Whether nothing was changed.
    before : Status
        The counts that the actions follow from. What it has ``in_other_hands`` is left to the operations that are
        running.
    """

    actions: dict[State, tuple[int, str]]
    dry_run: bool
    before: Status
    pulled: PullResult | None = None

    def __repr__(self) -> str:
        busy = busy_line(self.before)
        if not self.actions:
            return "\n".join(["nothing to repair", *busy])
        verb = "would" if self.dry_run else "did"
        lines = [f"  {n:>10,} {state.value}: {action}" for state, (n, action) in self.actions.items()]
        return "\n".join([f"repair {verb}:", *lines, *busy])


def busy_line(status: Status) -> list[str]:
    """A line about what running operations have in hand, if they have."""
    number = sum(status.in_other_hands.values())
    return [f"in other hands: {number:,}, of pulls or deletions that are running"] if number else []
