"""What operations return: counts that print as one line or a small table, in notebooks too, and are plain as a dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .dependents import Dependents, no_dependents
from .keys import as_dicts
from .ranges import Key
from .schema import Column
from .shown import Fact, as_line, as_rows, as_table, first_of, number_of, plain, plain_errors, size
from .states import State
from .statuses import Status, busy_line


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
    dependents : Dependents
        The local rows that depend on replaced entities, by table: ``Psth & result.dependents[Psth]``.
    errors : list of tuple
        ``(key, error)`` of every entity that was refused; only with ``suppress_errors=True``.
    dry_run : bool
        Whether nothing was done.
    replaced_entities : list of tuple
        The same keys as those in ``replaced``, as statements take them.
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
    dependents: Dependents = field(default_factory=no_dependents)
    replaced_entities: list[Key] = field(default_factory=list)

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
        self.replaced_entities += part.replaced_entities
        self.errors += part.errors

    @property
    def total(self) -> int:
        """All that is counted: the selection, and what an interrupted run had left to be finished."""
        named = len(self.differing) + len(self.replaced) + len(self.errors)
        return self.pulled + self.shared + self.adopted + named + sum(self.skipped.values())

    def _facts(self) -> list[Fact]:
        facts = [
            Fact("would pull" if self.dry_run else "pulled", f"{self.pulled:,}"),
            Fact("already shared", f"{self.shared:,}"),
            *[Fact("adopted", f"{self.adopted:,}")] * bool(self.adopted),
            *_skipped(self.skipped),
        ]
        named = (("differing", self.differing), ("replaced", self.replaced), ("refused", self.errors))
        facts += [Fact(word, f"{len(keys):,}") for word, keys in named if keys]
        if not self.dry_run:
            facts += [Fact("part rows", f"{self.part_rows:,}"), Fact("bytes", size(self.bytes), size(self.bytes))]
            facts += [_files(self.files, self.file_bytes)] * bool(self.files)
            facts += [_time(self.seconds)]
        return facts

    def __repr__(self) -> str:
        return as_line(self._facts())

    def _repr_html_(self) -> str:
        return as_table(as_rows(self._facts()))

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, for JSON; errors have ``key``, ``type``, ``what`` and ``hint``.

        Where entities were replaced, the local server is asked for the ``dependents``.
        """
        return {
            "pulled": self.pulled,
            "shared": self.shared,
            "adopted": self.adopted,
            "skipped": dict(self.skipped),
            "total": self.total,
            "part_rows": self.part_rows,
            "bytes": self.bytes,
            "files": self.files,
            "file_bytes": self.file_bytes,
            "seconds": self.seconds,
            "differing": plain(self.differing),
            "replaced": plain(self.replaced),
            "dependents": plain(self.dependents) if self.replaced else {},
            "errors": plain_errors(self.errors),
            "dry_run": self.dry_run,
        }


def _skipped(reasons: Mapping[str, int]) -> list[Fact]:
    return [Fact("skipped", f"{count:,} ({reason})") for reason, count in reasons.items() if count]


def _files(number: int, file_bytes: int) -> Fact:
    return Fact("files", f"{number:,} ({size(file_bytes)})")


def _time(seconds: float) -> Fact:
    return Fact("seconds", f"{seconds:.1f}", f"{seconds:.1f} s")


def count_in(counts: dict[str, int], more: Mapping[str, int]) -> None:
    """Add numbers to those that are counted under the same words."""
    for what, number in more.items():
        counts[what] = counts.get(what, 0) + number


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

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, for JSON."""
        return {"key": plain(self.key), "column": self.column, "path": self.path, "reason": self.reason}


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

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, for JSON."""
        return {"key": plain(self.key), "table": self.table, "parent": self.parent}


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
    not_there : list of str
        Columns and part tables that are here, and that the source does not have, or does not show the link user (any
        more): nothing proves them.
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
    not_there: list[str] = field(default_factory=list)
    files: int = 0
    file_bytes: int = 0
    damaged: list[Damaged] = field(default_factory=list)
    dangling: list[Dangling] = field(default_factory=list)
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return not (self.differing or self.missing or self.not_there or self.damaged or self.dangling)

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
        self.not_there += part.not_there
        self.files += part.files
        self.file_bytes += part.file_bytes
        self.damaged += part.damaged
        self.dangling += part.dangling

    def _facts(self, named: Callable[[Sequence[object]], str] = first_of) -> list[Fact]:
        """What is said; what stands behind numbers is ``named`` so."""

        def found(word: str, some: Sequence[object]) -> Fact:
            number, names = f"{len(some):,}", named(some)
            return Fact(word, f"{number}{names}", f"{number} {word}{names}")

        facts = [
            Fact("compared", f"{self.compared:,}"),
            found("differing", self.differing),
            found("missing", self.missing),
            *[found("dangling", self.dangling)] * bool(self.dangling),
        ]
        for some, where in ((self.not_here, "not here"), (self.not_there, "not at the source, or not shown")):
            if some:
                word, names = f"not compared, for they are {where}", ", ".join(some)
                facts.append(Fact(word, names, f"{word}: {names}"))
        if self.files or self.damaged:
            facts += [_files(self.files, self.file_bytes), found("damaged", self.damaged)]
        return [*facts, _time(self.seconds)]

    def __repr__(self) -> str:
        return as_line(self._facts())

    def _repr_html_(self) -> str:
        return as_table(as_rows(self._facts()))

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, for JSON; ``equal`` says whether everything that is here is."""
        return {
            "equal": bool(self),
            "compared": self.compared,
            "differing": plain(self.differing),
            "missing": plain(self.missing),
            "not_here": list(self.not_here),
            "not_there": list(self.not_there),
            "files": self.files,
            "file_bytes": self.file_bytes,
            "damaged": plain(self.damaged),
            "dangling": plain(self.dangling),
            "seconds": self.seconds,
        }


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
    dry_run : bool
        Whether nothing was done.
    entities, refused_entities : list of tuple
        The same keys as those in ``keys`` and ``refused``, as statements take them.
    key_columns : tuple of Column
        What these consist of, of one table.
    """

    refreshed: int = 0
    equal: int = 0
    refused: list[tuple[dict[str, Any], Exception]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    files: int = 0
    file_bytes: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    deleted: dict[str, int] = field(default_factory=dict)
    dependents: Dependents = field(default_factory=no_dependents)
    entities: list[Key] = field(default_factory=list)
    refused_entities: list[Key] = field(default_factory=list)
    edited_here: list[dict[str, Any]] = field(default_factory=list)
    key_columns: tuple[Column, ...] = field(default=(), repr=False)
    _keys: list[dict[str, Any]] = field(default_factory=list, repr=False, compare=False)

    @property
    def keys(self) -> list[dict[str, Any]]:
        """The keys of those that are counted as refreshed; made when they are first asked for, as there may be many."""
        if len(self._keys) != len(self.entities):
            self._keys = as_dicts(self.key_columns, self.entities)
        return self._keys

    def add(self, part: RefreshResult) -> None:
        """Count in what one of several workers did.

        Parameters
        ----------
        part : RefreshResult
            What another worker did.
        """
        self.refreshed += part.refreshed
        self.equal += part.equal
        self.key_columns = self.key_columns or part.key_columns
        self.entities += part.entities
        self.edited_here += part.edited_here
        self.refused += part.refused
        self.refused_entities += part.refused_entities
        self.files += part.files
        self.file_bytes += part.file_bytes
        count_in(self.skipped, part.skipped)
        count_in(self.deleted, part.deleted)

    @property
    def total(self) -> int:
        """All that is counted: the selection."""
        return self.refreshed + self.equal + len(self.refused) + sum(self.skipped.values())

    def _facts(self) -> list[Fact]:
        shared = self.refreshed + self.equal + len(self.refused)
        facts = [Fact("would refresh" if self.dry_run else "refreshed", f"{self.refreshed:,} of {shared:,}")]
        facts += [Fact("edited here", f"{len(self.edited_here):,}")] * bool(self.edited_here)
        facts += [Fact("refused", f"{len(self.refused):,}")] * bool(self.refused)
        facts += _skipped(self.skipped)
        if self.deleted:
            number = sum(self.deleted.values())
            told = f"deleted {number_of(number, 'dependent row')}"
            facts.append(Fact("deleted dependent rows", f"{number:,}", told))
        facts += [_files(self.files, self.file_bytes)] * bool(self.files)
        return [*facts, _time(self.seconds)]

    def __repr__(self) -> str:
        return as_line(self._facts())

    def _repr_html_(self) -> str:
        return as_table(as_rows(self._facts()))

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, for JSON; the local server is asked for the ``dependents``."""
        return {
            "refreshed": self.refreshed,
            "equal": self.equal,
            "skipped": dict(self.skipped),
            "total": self.total,
            "keys": plain(self.keys),
            "edited_here": plain(self.edited_here),
            "refused": plain_errors(self.refused),
            "files": self.files,
            "file_bytes": self.file_bytes,
            "seconds": self.seconds,
            "deleted": dict(self.deleted),
            "dependents": plain(self.dependents),
            "dry_run": self.dry_run,
        }


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
    pulled : PullResult or None
        What was held, copied or finished by a pull; None where there was none.
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

    def _repr_html_(self) -> str:
        busy = busy_line(self.before)
        if not self.actions:
            return as_table([], (), "nothing to repair", busy)
        rows = [[f"{n:,}", state.value, action] for state, (n, action) in self.actions.items()]
        title = f"repair {'would' if self.dry_run else 'did'}:"
        return as_table(rows, ["entities", "state", ""], title, busy)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``actions`` by state, each with its number of ``entities`` and the ``action``."""
        return {
            "dry_run": self.dry_run,
            "actions": {state.value: {"entities": n, "action": what} for state, (n, what) in self.actions.items()},
            "before": self.before.to_dict(),
            "pulled": None if self.pulled is None else self.pulled.to_dict(),
        }
