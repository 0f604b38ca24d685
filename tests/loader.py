"""What processes do that pull, refresh and delete at random on one link until their time is up, for test_load."""

from __future__ import annotations

import random
import time
import traceback
from collections import Counter
from typing import Any

import datajoint as dj

from dj_link import LazySchema, Link
from link import LinkError, LockedError, UnreachableError, link
from link.work import run


def linked(order: dict[str, Any], local: Any) -> Any:
    """The class, linked by either interface."""
    host, source_schema, *others = order["link"]
    decorate: Any = link(host, source_schema, *others, connection=local, use_tls=False)
    if order["older"]:
        source = LazySchema(source_schema, host=f"{order['local']['backend']}://{host}")
        decorate = Link(LazySchema(others[-1], connection=local), source)
    return decorate(type("Session", (), {}))


def work(number: int, order: dict[str, Any]) -> Counter[str]:
    """Pull, refresh and delete ranges until the time is up; how many entities, and what errors."""
    # The servers are there all the time, it is only connections that are lost.
    run.PAUSES = (0.05, 0.1, 0.2, 0.5, 1, 1, 1)
    chance, counts = random.Random(number), Counter[str]()
    deadline, least = time.monotonic() + order["seconds"], int(order["operations"])

    def goes_on() -> bool:
        """Until the time is up; a slow or busy machine gets some more, so that no less is done there."""
        late = time.monotonic() - deadline
        return late < 0 or (late < 60 and counts["operations"] < least)

    while goes_on():
        try:
            local = dj.Instance(**order["local"], use_tls=False, safemode=False)
        except Exception:  # DataJoint's own: it has not got as far as to tell that the connection was lost
            counts["lost UnreachableError"] += 1
            continue
        try:
            table = linked(order, local)
            while goes_on():
                first = chance.randrange(order["rows"])
                last = first + chance.randrange(order["rows"] // 20)
                chosen = f"session BETWEEN {first} AND {last}"
                what = chance.random()
                if what < 0.5:
                    counts["pulled"] += table.source.pull(chosen).pulled
                elif what < 0.7:
                    counts["refreshed"] += table.source.refresh(chosen).refreshed
                else:
                    counts["deleted"] += (table() & chosen).delete()
                counts["operations"] += 1
        except LockedError:
            counts["gave up waiting"] += 1
        except (UnreachableError, dj.errors.LostConnectionError) as error:
            counts[f"lost {type(error).__name__}"] += 1
        except (LinkError, dj.DataJointError) as error:
            counts[f"error {error!r}"] += 1
        except Exception:
            counts[f"unexpected {traceback.format_exc()}"] += 1
    return counts
