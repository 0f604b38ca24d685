"""Proof that the local copy equals the source: digests of whole ranges, and the keys where they differ.

Both servers are only read, and no lock is taken that a writer would wait for.
"""

from __future__ import annotations

import logging
import time

from ..ends.ends import Ends
from ..model.ranges import ALL, Selection
from ..model.results import VerifyResult
from .comparing import Comparison, Looked
from .differences import differences
from .run import Run

logger = logging.getLogger("link")


def verify(ends: Ends, selection: Selection = ALL) -> VerifyResult:
    """Compare the selected shared entities; see :meth:`link.Source.verify`."""
    started, result = time.monotonic(), VerifyResult()
    with Run(ends) as run:
        both = Comparison(run)
        result.not_here = list(run.mapping.not_here)
        for looked in differences(both, selection):
            _tell(both, looked, result)
    result.seconds = time.monotonic() - started
    logger.info("%s: %r", ends.name, result)
    return result


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
