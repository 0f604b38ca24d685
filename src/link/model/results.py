"""What operations return: counts that print as one line, or as a small table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .states import State

#: So many keys are printed.
_SHOWN = 3


@dataclass
class PullResult:
    """What a pull did.

    Attributes
    ----------
    pulled : int
        Entities copied (with ``dry_run``: that would be).
    shared : int
        Entities of the selection that were shared before.
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
        now, and their content was left as it is.
    errors : list of tuple
        ``(key, error)`` of every entity that was refused; only with ``suppress_errors=True``.
    """

    pulled: int = 0
    shared: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    part_rows: int = 0
    bytes: int = 0
    files: int = 0
    file_bytes: int = 0
    seconds: float = 0.0
    differing: list[dict[str, Any]] = field(default_factory=list)
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
        self.part_rows += part.part_rows
        self.bytes += part.bytes
        self.files += part.files
        self.file_bytes += part.file_bytes
        self.differing += part.differing
        self.errors += part.errors

    def __repr__(self) -> str:
        words = [
            f"{'would pull' if self.dry_run else 'pulled'} {self.pulled:,}",
            f"already shared {self.shared:,}",
            *(f"skipped {count:,} ({reason})" for reason, count in self.skipped.items() if count),
        ]
        if self.differing:
            words.append(f"differing {len(self.differing):,}")
        if self.errors:
            words.append(f"refused {len(self.errors):,}")
        if not self.dry_run:
            files = [f"files {self.files:,} ({_size(self.file_bytes)})"] * bool(self.files)
            words += [f"part rows {self.part_rows:,}", _size(self.bytes), *files, f"{self.seconds:.1f} s"]
        return ", ".join(words)


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}"
        number /= 1000
    return f"{number:,.1f} GB"


def _named(keys: Sequence[object]) -> str:
    """The first of some keys, in parentheses."""
    more = [f"and {len(keys) - _SHOWN:,} more"] * (len(keys) > _SHOWN)
    return f" ({', '.join([*map(str, keys[:_SHOWN]), *more])})" if keys else ""


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
    """

    def __init__(self, counts: Mapping[State, int], title: str, in_other_hands: Mapping[State, int]) -> None:
        self.in_other_hands = {state: number for state, number in in_other_hands.items() if number}
        self._counts = {state.value: counts.get(state, 0) for state in State}
        self._title = title

    def __getitem__(self, state: str | State) -> int:
        return self._counts[state.value if isinstance(state, State) else state]

    def __iter__(self) -> Any:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __repr__(self) -> str:
        width = max(map(len, self._counts))
        resting = (State.UNSHARED.value, State.SHARED.value)
        lines = [f"{name:<{width}}  {n:>12,}" for name, n in self._counts.items() if n or name in resting]
        return "\n".join([self._title, *lines, *_in_other_hands(self)])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{name}</td><td>{n:,}</td></tr>" for name, n in self._counts.items())
        return f"<table><caption>{self._title}</caption><tr><th>state</th><th>entities</th></tr>{rows}</table>"


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
    seconds : float
        Wall time.
    """

    compared: int = 0
    differing: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    not_here: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return not self.differing and not self.missing

    def __repr__(self) -> str:
        left_out = f"not compared, for they are not here: {', '.join(self.not_here)}, " if self.not_here else ""
        return (
            f"compared {self.compared:,}, {len(self.differing):,} differing{_named(self.differing)}, "
            f"{len(self.missing):,} missing{_named(self.missing)}, {left_out}{self.seconds:.1f} s"
        )


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
        self.refused += part.refused
        self.files += part.files
        self.file_bytes += part.file_bytes
        for reason, count in part.skipped.items():
            self.skipped[reason] = self.skipped.get(reason, 0) + count

    def __repr__(self) -> str:
        total = self.refreshed + self.equal + len(self.refused)
        words = [f"{'would refresh' if self.dry_run else 'refreshed'} {self.refreshed:,} of {total:,}"]
        words += [f"refused {len(self.refused):,}"] * bool(self.refused)
        words += [f"skipped {count:,} ({reason})" for reason, count in self.skipped.items() if count]
        words += [f"files {self.files:,} ({_size(self.file_bytes)})"] * bool(self.files)
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
        busy = _in_other_hands(self.before)
        if not self.actions:
            return "\n".join(["nothing to repair", *busy])
        verb = "would" if self.dry_run else "did"
        lines = [f"  {n:>10,} {state.value}: {action}" for state, (n, action) in self.actions.items()]
        return "\n".join([f"repair {verb}:", *lines, *busy])


def _in_other_hands(status: Status) -> list[str]:
    """A line about what running operations have in hand, if they have."""
    number = sum(status.in_other_hands.values())
    return [f"in other hands: {number:,}, of pulls or deletions that are running"] if number else []
