"""`verify(files=True)` reads local files again: what is missing, cut short or changed is named, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from buckets import Buckets
from filing import Stores, Where, backend, fill, listed, recordings, stored
from lab import Lab
from pipelines import granted, helper_rows

from link import ConfigError, StoreError, reference
from link.work import verify

COLUMNS = ("result", "sheet", "digest", "raw", "chunks", "wave", "movie")
PAIRS = [("mysql", "postgresql"), ("postgresql", "mariadb")]


def path_of(lab: Lab, table: str, column: str, number: int) -> str:
    """The path, in the local store, of the object of a row here."""
    rows = stored(lab.local_server, lab.local_schema, table, "recording", column)
    path = next(row[1] for row in rows if row[0] == number and row[1])["path"]
    return f"{path}/0/1/c" if column == "chunks" else str(path)


def change(lab: Lab, path: str, how: Callable[[bytes], bytes | None], store: str = "ours") -> None:
    """Change a file behind everybody's back; None removes it."""
    place = backend(lab.local, store)
    content = how(place.get_buffer(path))
    place.remove(path)  # DataJoint overwrites no file
    if content is not None:
        place.put_buffer(content, path)


def flipped(content: bytes) -> bytes:
    """Other bytes, as many: the last one, for headers are looked at for other reasons."""
    return content[:-1] + bytes([content[-1] ^ 1])


def rows_of(lab: Lab) -> list[Any]:
    """What is held, and what the local rows say of their files."""
    rows = stored(lab.local_server, lab.local_schema, "recording", "recording", *COLUMNS)
    return [rows, stored(lab.local_server, lab.local_schema, "recording__channel", "trace", "spikes"), helper_rows(lab)]


def named(result: Any) -> dict[tuple[int, str], str]:
    """What is damaged: number of the recording and column, and the reason."""
    return {(d.key["recording"], d.column): d.reason for d in result.damaged}


@pytest.mark.parametrize(("source", "local"), [("file", "file"), ("s3", "s3")])
def test_every_codec(
    lab: Lab,
    tmp_path: Path,
    buckets: Buckets,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: Where,
    local: Where,
) -> None:
    Stores(lab, tmp_path, buckets, source, local)
    table = recordings(lab)
    fill(lab, table, tmp_path, rows=12)
    Recording = granted(lab, table, stores={"theirs": "ours"})
    pulled = Recording.source.pull()
    monkeypatch.setattr(verify, "ENTITIES", 5)
    at_first, before = rows_of(lab), listed(lab.local, "ours")
    result = Recording.source.verify(files=True, display_progress=True, transfers=3)
    assert result and (result.compared, result.files) == (12, pulled.files)
    manifests = sum(backend(lab.local, "ours").size(p) for p in before if p.endswith(".manifest.json"))
    assert result.file_bytes == pulled.file_bytes - manifests
    assert f"files {pulled.files} (" in repr(result) and "0 damaged" in repr(result)
    assert "Recording files" in capsys.readouterr().err
    assert Recording.source.verify().files == 0

    # Those with files of every kind are 1, 2, 4, 5, 7, 8, 10, 11.
    damage: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
        "result": (lambda content: None, "is missing"),
        "sheet": (lambda content: content[:-1], "bytes, .* were stored"),
        "digest": (flipped, "another content"),
        "raw": (flipped, "another content"),
        "chunks": (flipped, "0/1/c: has another content"),
        "wave": (flipped, "another content"),
        "movie": (flipped, "another content"),
    }
    expected = {}
    for n, (column, (how, reason)) in zip((1, 2, 4, 5, 7, 8, 10), damage.items(), strict=True):
        change(lab, path_of(lab, "recording", column, n), how)
        expected[n, f"recording.{column}"] = reason
    change(lab, path_of(lab, "recording__channel", "trace", 11), lambda content: None)
    expected[11, "recording__channel.trace"] = "is missing"
    result = Recording.source.verify(files=True)
    found = named(result)
    assert found.keys() == expected.keys()
    for place, reason in expected.items():
        assert re.search(reason, found[place])
    assert not result and not result.differing and len(result.damaged) == 8
    assert result.files == pulled.files - 8
    assert "8 damaged ({'recording': " in repr(result) and "and 5 more)" in repr(result)
    part: Any = Recording.source & "recording IN (4, 6)"
    assert named(part.verify(files=True)).keys() == {(4, "recording.digest")}
    assert rows_of(lab) == at_first and len(listed(lab.local, "ours")) == len(before) - 2
    # Keys are restrictions.
    assert len(Recording & [found.key for found in result.damaged]) == 8
    assert Recording.source.verify()  # of rows alone

    # What the documents say to do about it.
    for damaged in result.damaged:
        if damaged.reason != "is missing":
            path = f"{damaged.path}/0/1/c" if damaged.column == "recording.chunks" else damaged.path
            backend(lab.local, "ours").remove(path)
    (Recording & [damaged.key for damaged in result.damaged]).delete(prompt=False)
    assert Recording.source.pull().pulled == 8
    assert Recording.source.verify(files=True).files == pulled.files


def test_a_sample(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    Stores(lab, tmp_path, buckets, "file", "file")
    table = recordings(lab)
    fill(lab, table, tmp_path, rows=9)
    Recording = granted(lab, table, stores={"theirs": "ours"})
    pulled = Recording.source.pull()
    for n in range(9):
        change(lab, path_of(lab, "recording", "result", n), flipped)
    result = Recording.source.verify(files=True, sample=4)
    assert result.compared == 9 and len(result.damaged) == 4
    assert len({found.key["recording"] for found in result.damaged}) == 4
    assert len(Recording.source.verify(files=True, sample=100).damaged) == 9
    chosen = {Recording.source.verify(files=True, sample=1).damaged[0].key["recording"] for _ in range(20)}
    assert len(chosen) > 1
    assert pulled.files > 9
    for wrong in ({"sample": 3}, {"files": True, "sample": 0}, {"files": True, "transfers": 0}):
        with pytest.raises(ConfigError):
            Recording.source.verify(**wrong)


def test_what_the_source_has_now(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """Without a hash it is compared with the source's file: that may be gone, or have been written anew."""
    Stores(lab, tmp_path, buckets, "file", "file")
    table = recordings(lab)
    fill(lab, table, tmp_path, rows=6)
    Recording = granted(lab, table, stores={"theirs": "ours"})
    Recording.source.pull()
    theirs = backend(lab.source, "theirs")
    for n in (1, 2, 5):
        theirs.remove(f"movies/mouse {n}.avi")
    theirs.put_buffer(b"movie X", "movies/mouse 2.avi")
    # The row says so as well, and is told as differing; the file here is what the row here says.
    value = {"store": "theirs", "path": "movies/mouse 5.avi", "size": 7, "is_dir": False, "timestamp": "2030-01-01"}
    theirs.put_buffer(b"movie Y", "movies/mouse 5.avi")
    lab.source_server.sql(f"UPDATE {lab.source_schema}.recording SET movie = %s WHERE recording = 5", json.dumps(value))
    result = Recording.source.verify(files=True)
    found = named(result)
    assert found.keys() == {(1, "recording.movie"), (2, "recording.movie")}
    assert "the source has no movies/mouse 1.avi in the store 'theirs' any more" in found[1, "recording.movie"]
    assert "another content" in found[2, "recording.movie"]
    assert [key["recording"] for key in result.differing] == [5]


def test_rows_that_point_at_the_source(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    stores = Stores(lab, tmp_path, buckets, "file", "file")
    lab.local.config.stores = {"ours": stores.theirs}
    table = recordings(lab)
    fill(lab, table, tmp_path, rows=6)
    Recording = granted(lab, table, stores={"theirs": reference("ours")})
    pulled = Recording.source.pull()
    result = Recording.source.verify(files=True)
    assert result and result.files == pulled.files
    change(lab, path_of(lab, "recording", "digest", 1), flipped)
    change(lab, path_of(lab, "recording", "raw", 2), lambda content: content + b"!")
    change(lab, path_of(lab, "recording", "movie", 4), lambda content: None)
    found = named(Recording.source.verify(files=True))
    assert found.keys() == {(1, "recording.digest"), (2, "recording.raw"), (4, "recording.movie")}


def test_stores_that_cannot_be_reached(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """That is an error, and no file is called missing."""
    Stores(lab, tmp_path, buckets, "s3", "file")
    table = recordings(lab)
    fill(lab, table, tmp_path, rows=2)
    Recording = granted(lab, table, stores={"theirs": "ours"})
    Recording.source.pull()
    right = dict(lab.local.config.stores["theirs"])
    lab.local.config.stores["theirs"] = right | {"secret_key": "wrong"}
    with pytest.raises(StoreError, match="'theirs'"):
        Recording.source.verify(files=True)
    lab.local.config.stores["theirs"] = right
    (tmp_path / "ours").rename(tmp_path / "gone")
    with pytest.raises(StoreError, match="'ours'"):
        Recording.source.verify(files=True)
    assert Recording.source.verify()  # which needs no store
    (tmp_path / "gone").rename(tmp_path / "ours")
    assert Recording.source.verify(files=True)


@pytest.mark.parametrize("pair", PAIRS, indirect=True, ids=["-".join(pair) for pair in PAIRS])
def test_between_kinds_of_server(mixed: Lab, tmp_path: Path, buckets: Buckets) -> None:
    Stores(mixed, tmp_path, buckets, "file", "file")
    table = recordings(mixed)
    fill(mixed, table, tmp_path, rows=3)
    Recording = granted(mixed, table, stores={"theirs": "ours"}, backend=mixed.source_server.backend)
    pulled = Recording.source.pull()
    assert Recording.source.verify(files=True).files == pulled.files
    change(mixed, path_of(mixed, "recording", "raw", 1), flipped)
    assert named(Recording.source.verify(files=True)).keys() == {(1, "recording.raw")}
