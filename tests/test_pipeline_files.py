"""Files travel with the rows of every table of a pipeline, those that it stands on too, each under its own schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datajoint as dj
import labs
import numpy as np
import pytest
from buckets import Buckets
from filing import Stores, fetched, fill, insert, listed, nothing_left_over, path_in, recordings, stored
from lab import Lab
from linking import contents

from link import StoreError, TransferError


class Analysis(dj.Computed):
    definition = """
    -> Recording
    ---
    summary: <npy@theirs>
    figure=null: <attach@theirs>
    """


@pytest.fixture
def pipeline(lab: Lab, tmp_path: Path, buckets: Buckets) -> Any:
    """Recordings, and what was computed of them in another schema; recordings 1 to 3, of all that 0 to 4 there are."""
    lab.stores = Stores(lab, tmp_path, buckets, "file", "file")  # type: ignore[attr-defined]
    Recording = recordings(lab)
    fill(lab, Recording, tmp_path, rows=5)
    schema = f"{lab.prefix}_analysis"
    made: Any = type("Analysis", (dj.Computed,), {"definition": Analysis.definition})
    made._allow_insert = True
    made = lab.source.Schema(schema)(made, context={"Recording": Recording})
    for key in Recording().proj().to_dicts():
        (tmp_path / f"figure {key['recording']}.png").write_bytes(b"png" * key["recording"])
        figure = str(tmp_path / f"figure {key['recording']}.png")
        insert(made, {**key, "summary": np.arange(key["recording"]) / 3, "figure": figure})
    labs.grant(lab, lab.source_schema, schema)
    return lab, made


def linked(lab: Lab, **changes: Any) -> Any:
    schemas = {lab.source_schema: lab.local_schema, f"{lab.prefix}_analysis": f"{lab.prefix}_our_analysis"}
    return labs.pipeline(lab, **{"schemas": schemas, "stores": {"theirs": "ours"}} | changes)


def test_files_of_all_tables(pipeline: tuple[Lab, Any]) -> None:
    lab, Made = pipeline
    lab_a = linked(lab)
    there, here = lab_a.source[f"{lab.prefix}_analysis"], lab_a[f"{lab.prefix}_analysis"]
    plan = lab_a.plan(there.Analysis & "recording IN (1, 3)")
    result = plan.pull()
    files = {name.partition(".")[2]: each.files for name, each in result.tables.items()}
    assert result.files == plan.files == sum(files.values()) and min(files.values()) > 0, (result, plan)
    recording = lab_a[lab.source_schema].Recording
    assert fetched(here.Analysis) == [row for row in fetched(Made) if row["recording"] in (1, 3)]
    assert [row["recording"] for row in fetched(recording)] == [1, 3] and len(recording.Channel()) == 4
    columns = ("recording", "summary", "figure")
    for _, summary, figure in stored(lab.local_server, here.database, "__analysis", *columns):
        assert summary["store"] == "ours" and here.database in summary["path"]
        assert here.database in figure["path"] and figure["store"] == "ours"
    for database in (here.database, lab.local_schema):
        with nothing_left_over(lab.local, database, "ours"):
            pass
    assert lab_a.verify(files=True) and not lab_a.plan(there.Analysis & "recording IN (1, 3)")
    (here.Analysis & "recording = 1").delete(prompt=False)
    assert [row["recording"] for row in fetched(here.Analysis)] == [3]


def test_a_file_that_is_missing(pipeline: tuple[Lab, Any]) -> None:
    """What stands on it is not pulled either, and nothing of it is held."""
    lab, _ = pipeline
    lab_a = linked(lab)
    there = lab_a.source[f"{lab.prefix}_analysis"]
    Path(path_in(lab.source, "theirs", lab.source_server, lab.source_schema, "recording", "raw", 1)).unlink()
    selected = there.Analysis & "recording IN (1, 2)"
    with pytest.raises(TransferError, match="raw"):
        lab_a.pull(selected & "recording = 1")
    result = lab_a.pull(selected, suppress_errors=True)
    assert (result.tables[f"{lab.source_schema}.Recording"].pulled, len(result.errors)) == (1, 1), result
    assert [row["recording"] for row in fetched(lab_a[there.database].Analysis)] == [2]
    assert not any("raw1.dat" in name for name in listed(lab.local, "ours"))
    held = lab.source_server.sql(f"SELECT recording FROM {lab.helper_schema}.{lab.prefix}_analysis_analysis_outbound")
    assert list(held) == [(2,)] and lab_a.verify(files=True)


def test_stores_that_are_not_named(pipeline: tuple[Lab, Any]) -> None:
    lab, _ = pipeline
    lab_a = linked(lab, stores=None)
    before = contents(lab)
    with pytest.raises(StoreError, match="theirs"):
        lab_a.pull(lab_a.source[f"{lab.prefix}_analysis"].Analysis & "recording = 1")
    assert contents(lab) == before
