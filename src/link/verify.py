"""Proof that the local copy equals the source: digests of whole ranges, and the keys where they differ.

Both servers are only read, and no lock is taken that a writer would wait for.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from .ends import Ends
from .outbound import SHARED
from .run import Run
from .servers import Connection, Key

logger = logging.getLogger("link")


@dataclass
class VerifyResult:
    """What a verification found; true when everything is equal.

    Attributes
    ----------
    compared : int
        Shared entities compared, each with all its part rows.
    differing : list of dict
        Keys of entities whose rows are not the same on both servers: edited here or there since the pull.
    missing : list of dict
        Keys of entities that are held and not local.
    seconds : float
        Wall time.
    """

    compared: int = 0
    differing: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return not self.differing and not self.missing

    def __repr__(self) -> str:
        return (
            f"compared {self.compared:,}, {len(self.differing):,} differing, {len(self.missing):,} missing, "
            f"{self.seconds:.1f} s"
        )


def verify(ends: Ends, where: str = "") -> VerifyResult:
    """Compare the shared entities that ``where`` selects; see :meth:`link.Source.verify`."""
    started, result = time.monotonic(), VerifyResult()
    with Run(ends) as run:
        for keys in run.listed(SHARED, where):
            _verify_batch(run, keys, result)
    result.seconds = time.monotonic() - started
    logger.info("%s: %r", ends.spec.class_name, result)
    return result


def _verify_batch(run: Run, keys: list[Key], result: VerifyResult) -> None:
    result.compared += len(keys)
    # A digest of whole rows holds where files are, which is another place on each side.
    if run.alike and not run.has_files and _digests(run, run.home, keys) == _digests(run, run.local, keys):
        return
    present = run.present(keys)
    # Looked at twice: an entity that a pull or a delete has just in hand is not a difference.
    suspects = run.differing(run.home, [key for key in keys if key in present])
    still_shared = set(run.still_shared(keys))
    result.differing += [run.as_dict(key) for key in run.differing(run.home, suspects) if key in still_shared]
    gone = [key for key in keys if key not in present and key in still_shared]
    back = run.present(gone)
    result.missing += [run.as_dict(key) for key in gone if key not in back]


def _digests(run: Run, connection: Connection, keys: list[Key]) -> list[tuple[int, int]]:
    """Number and digest of the rows of some entities, table by table."""
    tables = run.entity.tables if connection is run.local else run.shared_tables
    return [run.digest(connection, table, keys) for table in tables]
