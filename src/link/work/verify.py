"""Proof that the local copy equals the source: digests of whole ranges, and the keys where they differ.

Both servers are only read, and no lock is taken that a writer would wait for.
"""

from __future__ import annotations

import heapq
import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..config import require_at_least, require_switch
from ..ends.ends import Ends
from ..errors import ConfigError, PrivilegeError, ServerError
from ..files.checking import ENTITIES, Checker
from ..model.graph import Name, label
from ..model.keys import as_dict
from ..model.pipelines import PipelineVerification
from ..model.ranges import ALL, Key, Selection
from ..model.results import Dangling, VerifyResult
from ..model.states import SHARED
from ..servers.keyed import Keyed, Segment
from .comparing import Comparison, Looked
from .differences import differences
from .run import Run, Runs

logger = logging.getLogger("link")


def verify(
    ends: Ends,
    selection: Selection,
    look: Look,
) -> VerifyResult:
    """Compare the selected shared entities; see :meth:`link.Source.verify`."""
    with Run(ends) as run:
        return _verify(run, selection, look)


def verify_each(ends: Mapping[Name, Ends], look: Look) -> PipelineVerification:
    """Compare all shared entities of several links; see :meth:`link.Pipeline.verify`."""
    started = time.monotonic()
    if not ends:
        return PipelineVerification({})
    with Runs(ends) as runs:
        found = {label(name): _verify(run, ALL, look) for name, run in runs.runs.items()}
    return PipelineVerification(found, time.monotonic() - started)


@dataclass(frozen=True)
class Look:
    """How files are looked at; see :meth:`link.Source.verify`.

    Raises
    ------
    ConfigError
        An argument makes no sense.
    """

    files: bool = False
    sample: int | None = None
    display_progress: bool = False
    transfers: int = 8

    def __post_init__(self) -> None:
        if self.sample is not None and not self.files:
            raise ConfigError("sample= says of how many entities the files are read: verify(files=True, sample=...).")
        require_switch(files=self.files, display_progress=self.display_progress)
        require_at_least(sample=(self.sample, 1), transfers=(self.transfers, 1))


def _verify(run: Run, selection: Selection, look: Look) -> VerifyResult:
    """Compare the selected shared entities of one link."""
    started, result, both = time.monotonic(), VerifyResult(), Comparison(run)
    result.not_here, result.not_there = list(run.mapping.not_here), list(run.mapping.not_there)
    for looked in differences(both, selection):
        _tell(both, looked, result)
    if not selection:
        result.dangling = _dangling(run)
    if look.files:
        routes = run.ends.routes
        with Checker(run.mapping, routes, run.name, look.transfers, result, look.display_progress) as checker:
            for keys in _having_files(both, checker, selection, look.sample):
                _check_files(both, checker, keys, result)
    result.seconds = time.monotonic() - started
    logger.debug("%s: %r", run.name, result)
    return result


def _dangling(run: Run) -> list[Dangling]:
    """The local rows that refer to rows of other groups which are not there."""
    own = {(table.schema, table.name) for table in run.mapping.local.tables}
    catalogue = run.ends.local.catalogue_type(run.local)
    found = []
    for table in run.mapping.local.tables:
        rows = Keyed(run.local.dialect, table, table.key_columns)
        for fk in table.foreign_keys:
            if (fk.schema, fk.table) in own:
                continue
            parent = f"{fk.schema}.{fk.table}"
            try:
                keys = Segment(rows).where(rows.dialect.dangles(table, fk)).keys(run.local)
            except PrivilegeError:
                logger.info(
                    "%s: %s is not this account's to read, so what refers to it is not proved", run.name, parent
                )
                continue
            except ServerError:
                if fk.table in catalogue.tables(fk.schema):
                    raise
                # It was dropped while the server was told not to look.
                keys = Segment(rows).where(rows.dialect.refers(table, fk)).keys(run.local)
            found += [Dangling(as_dict(rows.key, key), f"{table.schema}.{table.name}", parent) for key in keys]
    return found


def _having_files(
    both: Comparison, checker: Checker, selection: Selection, sample: int | None
) -> Iterator[Sequence[Key]]:
    """The shared entities that name files here, some at a time; with ``sample``, so many of them at random."""
    chosen: list[tuple[float, Key]] = []
    for keys in both.listed(SHARED, selection):
        found = sorted(checker.having_files(both.run.local, keys))
        if sample is None:
            yield from (found[n : n + ENTITIES] for n in range(0, len(found), ENTITIES))
        else:
            chosen = heapq.nlargest(sample, chosen + [(random.random(), key) for key in found])
    for n in range(0, len(chosen), ENTITIES):
        yield [key for _, key in chosen[n : n + ENTITIES]]


def _check_files(both: Comparison, checker: Checker, keys: Sequence[Key], result: VerifyResult) -> None:
    damaged = checker.damaged(both.run.home, both.run.local, keys)
    shared = both.still_shared([key for key, _ in damaged])
    result.damaged += [found for key, found in damaged if key in shared]


def _tell(both: Comparison, looked: Looked, result: VerifyResult) -> None:
    """Look again at what may differ: what a pull or a deletion had just in hand is no difference."""
    as_dict = both.run.as_dict
    result.compared += looked.entities
    differing = both.differing(looked.differing)
    shared = both.still_shared([*differing, *looked.missing])
    result.differing += [as_dict(key) for key in differing if key in shared]
    gone = [key for key in looked.missing if key in shared]
    back = both.present(gone)
    result.missing += [as_dict(key) for key in gone if key not in back]
