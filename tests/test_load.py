"""Many processes pull, refresh and delete on one link, rows are edited, flags come and go, connections are cut: then
everything converges."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2
import pymysql
import pytest
from children import counted
from figures import SOAK, Figures
from lab import Lab
from loader import work
from pipelines import assert_same, flag, granted, helper, sessions, wait_until
from proxy import Proxy

from link import State

REFUSALS = (pymysql.IntegrityError, psycopg2.IntegrityError)
ROWS, PROCESSES, SECONDS = (200_000, 8, 60) if SOAK else (20_000, 4, 12)
#: What each process does at least.
OPERATIONS = 5 if SOAK else 34


class Cutter(Proxy):
    """A proxy that cuts one connection of many."""

    def cut_one(self, chance: random.Random) -> int:
        """Cut one, if there is any; how many were."""
        pairs = len(self._wires) // 2
        if not pairs:
            return 0
        place = 2 * chance.randrange(pairs)
        pair = self._wires[place : place + 2]
        del self._wires[place : place + 2]
        for wire in chance.sample(pair, k=2):
            self._drop(wire)
        return 1


@contextmanager
def repeatedly(seconds: float, action: Callable[[], int]) -> Iterator[Counter[str]]:
    """Call something in a thread again and again; counts what it returns under "sum"."""
    stop, counts = threading.Event(), Counter[str]()

    def loop() -> None:
        while not stop.wait(seconds):
            counts["sum"] += action()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


@pytest.mark.timeout(1800 if SOAK else 300)
@pytest.mark.parametrize("older", [False, True] if SOAK else [False], ids=lambda older: "dj_link" if older else "link")
def test_load(lab: Lab, older: bool, figures: Figures) -> None:
    lab.older = older
    table = sessions(lab, ROWS, trials=1)
    Session = granted(lab, table)
    Session.source.pull(f"session < {ROWS // 2}")
    chance = random.Random(0)
    proxies = [Cutter(server.host, server.port) for server in (lab.source_server, lab.local_server)]

    def change_flags() -> int:
        first = chance.randrange(ROWS)
        flagged = chance.choice(["TRUE", "FALSE"])
        # The source's people have to try again after a deadlock, or when what they want to flag is just let go of.
        refused = pymysql.OperationalError, psycopg2.OperationalError, *REFUSALS
        with suppress(*refused):
            flag(lab, f"session BETWEEN {first} AND {first + ROWS // 100}", flagged)
        # The master's row and its part's by one transaction: a refresh has both or neither.
        with suppress(*refused), closing(lab.source_server.connect_raw()) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            for name, value in (("session", "note = CONCAT('edit ', {})"), ("session__trial", "score = {}")):
                changed = f"{value.format(first)} WHERE session BETWEEN {first} AND {first + ROWS // 100}"
                cursor.execute(f"UPDATE {lab.source_schema}.{name} SET {changed}")
            cursor.execute("COMMIT")
        return 1

    try:
        with (
            repeatedly(0.2, change_flags) as flags,
            repeatedly(1, lambda: chance.choice(proxies).cut_one(chance)) as cuts,
        ):
            counts = load(lab, proxies[0].port, proxies[1].port)
    finally:
        for proxy in proxies:
            proxy.close()
    # Nobody sees an error but for a connection that was lost: a pull gets over that, a deletion may not.
    assert not [what for what in counts if what.startswith(("unexpected", "error"))], counts
    assert counts["operations"] > PROCESSES and counts["pulled"] and counts["deleted"] and counts["refreshed"], counts
    assert not mixed(lab)

    lost = converge(lab, Session)
    assert lost == 0
    assert_same(lab, table, "trial")
    for what in ("operations", "pulled", "refreshed", "deleted"):
        figures.add(f"load, {what}", lab.kind, counts[what])
    figures.add("load, changes of flags", lab.kind, flags["sum"])
    figures.add("load, connections cut", lab.kind, cuts["sum"])
    figures.add("load, gave up waiting for a lock", lab.kind, counts["gave up waiting"])
    figures.add("load, rows lost", lab.kind, lost)


def load(lab: Lab, source_port: int, local_port: int) -> Counter[str]:
    """What the processes have done together."""
    local = {"host": "127.0.0.1", "port": local_port, "user": lab.local_user, "password": lab.local_password}
    names = [lab.source_schema, lab.helper_schema, lab.helper_table, lab.local_schema]
    order = {
        "older": lab.older,
        "link": [f"127.0.0.1:{source_port}", *names],
        "local": local | {"backend": lab.local_server.backend},
        "rows": ROWS,
        "seconds": SECONDS,
        "operations": OPERATIONS,
    }
    return counted(work, order, PROCESSES)


def mixed(lab: Lab) -> list[Any]:
    """Entities here that have the note of one edit and the score of another."""
    joined = "{0}.session m JOIN {0}.session__trial t ON t.subject = m.subject AND t.session = m.session"
    edited = "m.note LIKE 'edit %' AND m.note <> CONCAT('edit ', ROUND(t.score))"
    with closing(lab.local_server.connect_raw()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT m.session, m.note, t.score FROM {joined.format(lab.local_schema)} WHERE {edited}")
        return list(cursor.fetchall())


def converge(lab: Lab, linked: Any) -> int:
    """Take back all flags and pull everything; how many entities are lost, or not shared then."""
    flag(lab, "1 = 1", "FALSE")
    # The servers may need a moment to notice that the processes have gone.
    wait_until(lambda: not linked.source.pull().pulled and linked.source.status()[State.SHARED] == ROWS, 60)
    linked.source.refresh(processes=2)
    status = linked.source.status(deep=True)
    assert {name: count for name, count in status.items() if count} == {State.SHARED.value: ROWS}
    verified = linked.source.verify()
    assert verified and verified.compared == ROWS
    with closing(lab.source_server.connect_raw()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {helper(lab)} WHERE process <> 'NONE'")
        assert cursor.fetchone() == (0,)
        cursor.execute(f"SELECT COUNT(*) FROM {lab.source_schema}.session")
        left = int(cursor.fetchone()[0])
    return ROWS - left + ROWS - int(status[State.SHARED])
