"""The benchmarks run, at sizes that say nothing about speed."""

from __future__ import annotations

import json
from pathlib import Path

import measures
import pytest
import report
import whole
import wide
from fleet import TestServer
from yard import MissingPeerError

TINY = measures.Sizes(200, 1_000, 2, 20_000, 200, 100, 200, 3, 1, 3, 1, 1, 2, 2)


@pytest.fixture
def tiny(servers: tuple[TestServer, TestServer], pytestconfig: pytest.Config) -> measures.Bench:
    """The measures at the smallest sizes, on the servers of the other tests."""
    from conftest import FLEET

    return measures.Bench(pytestconfig.stash[FLEET], TINY)


@pytest.mark.parametrize("measure", ["large", "verify"])
def test_measure(tiny: measures.Bench, kind: str, tmp_path: Path, measure: str) -> None:
    """A measure yields figures that can be saved, drawn and merged with those of another run."""
    try:
        taken = tiny.measures()[f"{measure}-{kind}"]()
    except MissingPeerError as reason:
        pytest.skip(str(reason))
    figures = taken if isinstance(taken, list) else [taken]
    about = {"versions": {"MySQL": "1"}, "machine": "small", "date": "today"}
    other = report.Figure("other", "another", "limit", 1, 2, "MB", 1)
    report.save(tmp_path, [other], about)
    merged = report.save(tmp_path, figures, about)
    assert merged == [other, *figures]
    assert all(figure.ours > 0 and figure.peer > 0 for figure in figures)
    assert len(json.loads((tmp_path / "bench.json").read_text())["figures"]) == len(merged)
    assert (tmp_path / "bench.md").read_text().count("\n| ") == len(merged)
    assert (tmp_path / "bench.png").stat().st_size and (tmp_path / "bench.svg").stat().st_size


@pytest.mark.parametrize("kind", ["mariadb"], indirect=True)
def test_what_0_x_declared_is_measured_beside_what_2_x_did(tiny: measures.Bench, kind: str) -> None:
    """Both are pulled whole from one source."""
    for name, rows in (("legacy", TINY.few), ("legacy-files", TINY.stored)):
        taken = tiny.measures()[f"{name}-{kind}"]()
        assert isinstance(taken, report.Figure)
        assert {sample["rows"] for run in taken.runs for sample in run.values()} == {rows}


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_refreshing(tiny: measures.Bench, kind: str) -> None:
    """Both ways of refreshing, and adopting, at sizes at which all is done that is to be."""
    for measure in (tiny.refresh, tiny.mending, tiny.adopting):
        taken = measure(kind)
        assert all(figure.ours > 0 for figure in (taken if isinstance(taken, list) else [taken]))


def test_whole_pipelines(tiny: measures.Bench, kind: str) -> None:
    """All of a pipeline against its tables one by one; on one kind also part of it, and nothing new in it."""
    found = whole.Whole(tiny)
    time, memory = found.pipeline(kind)
    assert time.ours > 0 and memory.ours > 0
    if kind == "postgresql":
        assert all(way(kind).ours > 0 for way in (found.trace, found.nothing, found.plan, found.closure))


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_many_tables_over_a_long_wire(tiny: measures.Bench, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them arrive, and again nothing; the wire is shorter here."""
    monkeypatch.setattr(wide, "DELAY", 1)
    assert all(figure.ours > 0 for figure in wide.Wide(tiny).latency(kind))


def test_bar() -> None:
    """A ratio at the bar is good enough, one above is not."""
    assert report.Figure("name", "measure", "peer", 2, 2, "s", 1.0).met
    assert not report.Figure("name", "measure", "peer", 2.1, 2, "s", 1.0).met
