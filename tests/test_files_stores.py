"""Files of every codec travel between stores of every kind, and are at the local side as DataJoint writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from buckets import Buckets
from filing import Stores, Where, backend, collected, fetched, fill, listed, nothing_left_over, recordings, stored
from lab import Lab
from pipelines import granted


@pytest.mark.parametrize(("source", "local"), [("file", "file"), ("file", "s3"), ("s3", "file"), ("s3", "s3")])
def test_every_codec(lab: Lab, tmp_path: Path, buckets: Buckets, source: Where, local: Where) -> None:
    Stores(lab, tmp_path, buckets, source, local, subfolding=[2, 2], partition_pattern="{day}", hash_prefix="by_hash")
    table = recordings(lab)
    fill(lab, table, tmp_path)
    Recording = granted(lab, table, stores={"theirs": "ours"})

    result = Recording.source.pull()

    assert (result.pulled, result.part_rows) == (4, 8)
    assert fetched(Recording) == fetched(table)
    assert fetched(Recording.Channel) == fetched(table.Channel)
    with nothing_left_over(lab.local, lab.local_schema, "ours"):
        pass
    assert Recording.heading["result"].store == "ours"
    for row in stored(lab.local_server, lab.local_schema, "recording", "result", "raw", "wave", "movie"):
        assert {value["store"] for value in row if value} == {"ours"}
    assert Recording.source.verify()

    before = listed(lab.source, "theirs")
    (Recording & "recording < 3").delete(prompt=False)
    report = collected(lab.local, lab.local_schema, "ours", dry_run=False)
    assert report["deleted"] and not report["errors"]
    assert fetched(Recording) == [row for row in fetched(table) if row["recording"] == 3]
    assert listed(lab.source, "theirs") == before
    assert Recording.source.pull().pulled == 3
    assert fetched(Recording) == fetched(table)


PAIRS = [("mysql", "postgresql"), ("postgresql", "mariadb"), ("mariadb", "mysql")]


@pytest.mark.parametrize("pair", PAIRS, indirect=True, ids=["-".join(pair) for pair in PAIRS])
def test_between_kinds_of_server(mixed: Lab, tmp_path: Path, buckets: Buckets) -> None:
    lab = mixed
    Stores(lab, tmp_path, buckets, "file", "file")
    table = recordings(lab)
    fill(lab, table, tmp_path)
    Recording = granted(lab, table, stores={"theirs": "ours"}, backend=lab.source_server.backend)
    assert Recording.source.pull().pulled == 4
    assert fetched(Recording) == fetched(table)
    assert fetched(Recording.Channel) == fetched(table.Channel)
    assert Recording.source.verify()
    with nothing_left_over(lab.local, lab.local_schema, "ours"):
        pass
    lab.source_server.sql(f"UPDATE {lab.source_schema}.recording SET note = 'edited', movie = NULL WHERE recording = 1")
    assert [key["recording"] for key in Recording.source.verify().differing] == [1]


def test_progress_and_counts(lab: Lab, tmp_path: Path, buckets: Buckets, capsys: pytest.CaptureFixture[str]) -> None:
    Stores(lab, tmp_path, buckets, "file", "file")
    table = recordings(lab)
    fill(lab, table, tmp_path, rows=2)
    Recording = granted(lab, table, stores={"theirs": "ours"})
    result = Recording.source.pull(display_progress=True, transfers=2)
    # Of the first recording one file, of the second seven; of each channel an array, of every second one more.
    assert result.files == 14
    ours = backend(lab.local, "ours")
    manifests = {path for path in listed(lab.local, "ours") if path.endswith(".manifest.json")}
    sizes = sum(ours.size(path) for path in listed(lab.local, "ours"))
    assert result.file_bytes == sizes and len(manifests) == 1
    assert f"files 14 ({sizes / 1000:,.0f} kB)" in repr(result)
    assert "Recording files" in capsys.readouterr().err
