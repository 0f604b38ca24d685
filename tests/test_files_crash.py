"""Killed in the middle of copying files, several pulls at once: no row without its file, nothing half, no litter."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datajoint as dj
import pytest
from buckets import Buckets
from crasher import Crasher, Order
from figures import SOAK, Figures
from filing import Stores, backend, collected, fetched, insert, listed
from lab import Lab
from pipelines import count_held, declare, granted, helper_rows

from link.files.objects import STAGING
from link.work import parallel

NUMBER = 12


def sessions(lab: Lab) -> Any:
    """Twelve sessions, each with a file of its own and a value of which there are three; and a part with files."""

    class Session(dj.Manual):
        definition = """
        session: int32
        ---
        raw: <object@theirs>
        kind: <blob@theirs>
        """

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32\n---\nmovie: <filepath@theirs>"

    table = declare(lab, Session)
    for n in range(NUMBER):
        backend(lab.source, "theirs").put_buffer(bytes([n]) * 3000, f"movies/{n}.avi")
        insert(table, {"session": n, "raw": bytes([n]) * 5000, "kind": {"kind": n % 3}})
        insert(table.Trial, {"session": n, "trial": 0, "movie": f"movies/{n}.avi"})
    return table


@pytest.fixture
def crashing(lab: Lab, tmp_path: Path, buckets: Buckets) -> Iterator[tuple[Any, Any]]:
    """The source table and the linked one, whose files go between folders."""
    Stores(lab, tmp_path, buckets, "file", "file")
    table = sessions(lab)
    Session = granted(lab, table, stores={"theirs": "ours"})
    Session()
    yield table, Session


def contents(lab: Lab, store: str) -> dict[str, bytes]:
    """Every file of a store, but for those that are not complete."""
    where = backend(lab.local, store)
    paths = {path for path in listed(lab.local, store) if not path.startswith(STAGING)}
    return {path: where.get_buffer(path) for path in paths}


@pytest.mark.timeout(1800 if SOAK else 300)
def test_killed_while_copying(lab: Lab, crashing: tuple[Any, Any], figures: Figures) -> None:
    table, Session = crashing
    whole = set(contents(lab, "theirs").values())
    order = Order("Session.source.pull()", "kill before", blocks=True, stores=dict(lab.local.config.stores))
    rows, killed = {row["session"]: row for row in fetched(table)}, 0
    with Crasher(lab) as crasher:
        for order.point in range(2, 200, 1 if SOAK else 12):
            crashed = crasher.run(order)
            if crashed["status"] == 0:
                assert crashed["error"] is None and crashed["statements"] < order.point
                break
            killed += 1
            # Whatever has its name is whole, and every row has its files.
            assert set(contents(lab, "ours").values()) <= whole
            assert all(row == rows[row["session"]] for row in fetched(Session))
            assert count_held(lab) >= len(Session())
            Session.source.pull()
            check_all_there(lab, table, Session)
            (Session & "TRUE").delete(prompt=False)
            collected(lab.local, lab.local_schema, "ours", dry_run=False)
    assert killed >= 3
    figures.add("crash points with files", lab.kind, killed)


def check_all_there(lab: Lab, table: Any, linked: Any) -> None:
    """Every row with its files, held and finished; nothing else in the local store."""
    assert fetched(linked) == fetched(table)
    assert fetched(linked.Trial) == fetched(table.Trial)
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")] * NUMBER
    report = collected(lab.local, lab.local_schema, "ours")
    assert report["hash_paths_orphaned"] == report["schema_paths_orphaned"] == 0
    assert not [path for path in listed(lab.local, "ours") if path.startswith(STAGING)]
    assert len([path for path in listed(lab.local, "ours") if path.startswith("movies/")]) == NUMBER


def test_what_is_there_is_not_copied_again(lab: Lab, crashing: tuple[Any, Any]) -> None:
    """After a run that died between the files and the rows, the next one takes the files as they are."""
    table, Session = crashing
    Session.source.pull()
    ours = backend(lab.local, "ours")
    before = {path: ours.fs.info(ours._full_path(path))["ino"] for path in listed(lab.local, "ours")}
    for store in ("ours", "theirs"):
        left = Path(lab.local.config.stores[store]["location"]) / STAGING / "left"
        left.parent.mkdir(exist_ok=True)
        left.touch()
        os.utime(left, (0, 0))
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.session__trial")
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.session")
    lab.source_server.sql(f"UPDATE {lab.helper_schema}.{lab.helper_table} SET process = 'PULL', _worker = 4711")
    assert Session.source.pull().pulled == NUMBER
    assert {path: ours.fs.info(ours._full_path(path))["ino"] for path in listed(lab.local, "ours")} == before
    assert f"{STAGING}/left" in listed(lab.source, "theirs")  # which is not ours to tidy
    check_all_there(lab, table, Session)


def test_several_at_once(lab: Lab, tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in processes, and pulls of others beside them, whose values are in part the same content."""
    monkeypatch.setattr(parallel, "FEWEST", 2)
    Stores(lab, tmp_path, buckets, "file", "s3")
    table = sessions(lab)
    Session = granted(lab, table, stores={"theirs": "ours"})
    others = []
    for _ in range(2):
        instance = lab.instance(lab.local_server, lab.local_user, lab.local_password)
        instance.config.stores = dict(lab.local.config.stores)
        others.append(granted(lab, table, stores={"theirs": "ours"}, connection=instance))
    results: list[Any] = []
    threads = [threading.Thread(target=lambda other=other: results.append(other.source.pull())) for other in others]
    for thread in threads:
        thread.start()
    results.append(Session.source.pull(processes=2, transfers=2))
    for thread in threads:
        thread.join()
    assert sum(result.pulled for result in results) == NUMBER
    check_all_there(lab, table, Session)
