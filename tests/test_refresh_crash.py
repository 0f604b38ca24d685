"""Killed or cut off at a statement of a refresh: each entity is what it was or what the source has, never a mixture.

A real child process refreshes twelve entities that were all edited at the source, in three batches, and is killed or
loses a connection as in `test_crash`. In the soak at every statement, else at some, by turns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from buckets import Buckets
from crasher import Crasher, Mode, Order
from figures import SOAK, Figures
from filing import Stores, backend, change, fetched
from lab import Lab
from pipelines import at_one_instant, count_held, granted, helper_rows
from test_crash import NUMBER, TABLES, Rows, World, declare_sessions, literals
from test_files_crash import sessions

MODES: tuple[Mode, ...] = ("kill before", "cut after", "kill after", "cut before", "cut after and kill")
#: Entities by their key: the rows of each table.
Entities = dict[Any, tuple[Any, ...]]


class Edited(World):
    """Sessions that are shared, and all edited at the source since."""

    def __init__(self, lab: Lab, linked: Any, stack: ExitStack) -> None:
        super().__init__(lab, linked, stack)
        self.old = self.source_rows
        schema = lab.source_schema
        self.sql(
            self.there,
            f"UPDATE {schema}.session SET note = CONCAT('new ', session)",
            f"DELETE FROM {schema}.session__event",
            f"INSERT INTO {schema}.session__event SELECT subject, session, 7, 'new' FROM {schema}.session",
            f"UPDATE {schema}.session__trial SET score = -1 WHERE trial = 1",
        )
        self.new = {table: self.rows(self.there, schema, table) for table in TABLES}

    def put_back(self) -> None:
        """Let the local rows be what they were."""
        self.sql(self.here, *(f"DELETE FROM {self.lab.local_schema}.{table}" for table in reversed(TABLES)))
        for table, rows in self.old.items():
            values = ", ".join(map(literals, rows))
            self.sql(self.here, f"INSERT INTO {self.lab.local_schema}.{table} VALUES {values}")

    def check(self, done: bool) -> int:
        """Each entity is old or new, and held; how many are new, which are all if it is done."""
        local = by_entity(at_one_instant(lambda: {table: self.local_rows(table) for table in TABLES}))
        old, new = by_entity(self.old), by_entity(self.new)
        assert {row.process for row in self.helper_rows().values()} == {"NONE"}
        assert len(self.helper_rows()) == NUMBER
        assert local.keys() == new.keys()
        mixed = [key for key, rows in local.items() if rows not in (old[key], new[key])]
        assert not mixed, [(local[key], old[key], new[key]) for key in mixed]
        number = sum(rows == new[key] for key, rows in local.items())
        assert number == NUMBER or not done
        return number


def by_entity(tables: dict[str, Rows]) -> Entities:
    return {
        key: tuple(frozenset(row for row in rows if row[:2] == key) for rows in tables.values())
        for key in {row[:2] for row in tables["session"]}
    }


@pytest.fixture
def edited(lab: Lab) -> Iterator[Edited]:
    Session = granted(lab, declare_sessions(lab))
    Session.source.pull()
    with ExitStack() as stack:
        yield Edited(lab, Session, stack)


@pytest.mark.timeout(3600 if SOAK else 300)
def test_crash_at_every_statement(lab: Lab, edited: Edited, figures: Figures) -> None:
    with Crasher(lab) as crasher:
        crasher.run(Order("0"))
        edited.first_sessions = edited.sessions()
        for modes in [[mode] for mode in MODES] if SOAK else [MODES]:
            for turn in itertools.count():
                edited.put_back()
                point = 1 + turn * (1 if SOAK else 4)
                order = Order("Session.source.refresh()", modes[turn % len(modes)], point, reads=SOAK)
                crashed = crasher.run(order)
                where = f"{order.mode} statement {point}: {crashed}"
                assert not str(crashed.get("error")).startswith("unexpected"), where
                edited.await_sessions(edited.first_sessions)
                edited.check(done=crashed["status"] == 0 and crashed["error"] is None)
                if crashed["status"] == 0 and not crashed["sprung"]:
                    assert crashed["error"] is None and turn > 5, where
                    break
                figures.add("crash points in refresh", lab.kind)
                left = NUMBER - edited.check(done=False)
                assert edited.linked.source.refresh().refreshed == left, where
                edited.check(done=True)


@pytest.mark.timeout(1800 if SOAK else 300)
def test_killed_while_copying(lab: Lab, tmp_path: Path, buckets: Buckets, figures: Figures) -> None:
    Stores(lab, tmp_path, buckets, "file", "file")
    theirs = sessions(lab)
    Session = granted(lab, theirs, stores={"theirs": "ours"})
    Session.source.pull()
    order = Order("Session.source.refresh()", "kill before", blocks=True, stores=dict(lab.local.config.stores))
    killed = 0
    with Crasher(lab) as crasher:
        for order.point in range(2, 300, 1 if SOAK else 23):
            old = files_by_entity(Session)
            rewrite(lab, theirs, order.point)
            new = files_by_entity(theirs)
            crashed = crasher.run(order)
            local = files_by_entity(Session)
            assert all(local[key] in (old[key], new[key]) for key in new), (order.point, crashed)
            assert count_held(lab) == NUMBER and set(helper_rows(lab)) == {("NONE", "FALSE", "FALSE")}
            refreshed = Session.source.refresh().refreshed
            assert refreshed == sum(local[key] != new[key] for key in new)
            assert files_by_entity(Session) == new
            if crashed["status"] == 0:
                assert crashed["error"] is None and refreshed == 0
                break
            killed += 1
    assert killed >= 3
    figures.add("crash points in refresh, with files", lab.kind, killed)


def rewrite(lab: Lab, table: Any, version: int) -> None:
    """Write all files anew, some under the name that they had."""
    store = backend(lab.source, "theirs")
    for n in range(NUMBER):
        store.put_buffer(bytes([n, version % 256]) * 1500, f"movies/{n}.avi")
        change(table, {"session": n}, {"raw": bytes([version % 256, n]) * 2500, "kind": {"kind": version + n % 3}})
        change(table.Trial, {"session": n, "trial": 0}, {"movie": f"movies/{n}.avi"})


def files_by_entity(table: Any) -> Entities:
    trials = {row["session"]: row for row in fetched(table.Trial)}
    return {row["session"]: (row, trials.get(row["session"])) for row in fetched(table)}
