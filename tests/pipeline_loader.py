"""What processes do that pull and delete at random over one diamond until their time is up, for test_pipeline_load."""

from __future__ import annotations

import random
import time
import traceback
from collections import Counter
from typing import Any

import datajoint as dj

from link import LinkError, Pipeline


def work(number: int, order: dict[str, Any]) -> Counter[str]:
    """Pull and delete until the time is up; how many entities, and what errors."""
    chance, counts = random.Random(number), Counter[str]()
    local = dj.Instance(**order["local"], use_tls=False, safemode=False)
    lab_a = Pipeline(order["host"], **order["pipeline"], connection=local, use_tls=False)
    first, second = order["pipeline"]["schemas"]
    deadline, least = time.monotonic() + order["seconds"], int(order["operations"])

    def goes_on() -> bool:
        """Until the time is up; a slow or busy machine gets some more, so that no less is done there."""
        late = time.monotonic() - deadline
        return late < 0 or (late < 60 and counts["operations"] < least)

    while goes_on():
        subject = chance.randrange(order["subjects"])
        what = chance.random()
        try:
            if what < 0.6:
                chosen = f"a BETWEEN {subject} AND {subject + chance.randrange(4)}"
                counts["pulled"] += lab_a.pull(lab_a.source[second].D & chosen).pulled
            elif what < 0.7:
                counts["pulled"] += lab_a.pull(lab_a.source[first].A & f"a = {subject}", descendants=True).pulled
            elif what < 0.9:
                counts["deleted"] += (lab_a[first].A & f"a = {subject}").delete(part_integrity="cascade")
            else:
                counts["deleted"] += lab_a.delete_flagged(part_integrity="cascade")
            counts["operations"] += 1
        except (LinkError, dj.DataJointError) as error:
            counts[f"error {error!r}"] += 1
        except Exception:
            counts[f"unexpected {traceback.format_exc()}"] += 1
    return counts
