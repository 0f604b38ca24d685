"""Proof that the local copy equals the source: digests of whole ranges, and the keys where they differ.

Both servers are only read, and no lock is taken that a writer would wait for.
"""

from __future__ import annotations

import logging
import time

from ..ends.ends import Ends
from ..model.ranges import ALL, Key, Selection
from ..model.results import VerifyResult
from ..model.states import SHARED
from .comparing import Comparison
from .run import Run

logger = logging.getLogger("link")


def verify(ends: Ends, selection: Selection = ALL) -> VerifyResult:
    """Compare the selected shared entities; see :meth:`link.Source.verify`."""
    started, result = time.monotonic(), VerifyResult()
    with Run(ends) as run:
        both = Comparison(run)
        result.not_here = list(run.mapping.not_here)
        for keys in both.listed(SHARED, selection):
            _verify_batch(both, keys, result)
    result.seconds = time.monotonic() - started
    logger.info("%s: %r", ends.name, result)
    return result


def _verify_batch(both: Comparison, keys: list[Key], result: VerifyResult) -> None:
    as_dict = both.run.as_dict
    result.compared += len(keys)
    if both.has_same_digests(keys):
        return
    present = both.present(keys)
    # Looked at twice: an entity that a pull or a delete has just in hand is not a difference.
    suspects = both.differing([key for key in keys if key in present])
    still_shared = both.still_shared(keys)
    result.differing += [as_dict(key) for key in both.differing(suspects) if key in still_shared]
    gone = [key for key in keys if key not in present and key in still_shared]
    back = both.present(gone)
    result.missing += [as_dict(key) for key in gone if key not in back]
