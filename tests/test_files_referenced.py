"""Rows that point at the source's own objects: found before the row is there, safe from both garbage collections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from buckets import Buckets
from filing import Stores, collected, fetched, fill, listed, path_in, recordings, stored
from lab import Lab
from pipelines import granted

from link import ConfigError, StoreError, TransferError, reference


def shared(lab: Lab, tmp_path: Path, buckets: Buckets, where: Any) -> Any:
    """The source's table; the local store is on the place of the source's."""
    stores = Stores(lab, tmp_path, buckets, where, "file")
    lab.local.config.stores = {"ours": stores.theirs}
    table = recordings(lab)
    fill(lab, table, tmp_path)
    return table


@pytest.mark.parametrize("where", ["file", "s3"])
def test_rows_point_at_the_source(lab: Lab, tmp_path: Path, buckets: Buckets, where: Any) -> None:
    table = shared(lab, tmp_path, buckets, where)
    before = listed(lab.source, "theirs")
    Recording = granted(lab, table, stores={"theirs": reference("ours")})
    assert Recording.source.pull().pulled == 4
    assert fetched(Recording) == fetched(table)
    assert fetched(Recording.Channel) == fetched(table.Channel)
    here = stored(lab.local_server, lab.local_schema, "recording", "recording", "raw", "result")
    there = stored(lab.source_server, lab.source_schema, "recording", "recording", "raw", "result")
    as_here = [tuple(v | {"store": "ours"} if isinstance(v, dict) else v for v in row) for row in there]
    assert here == as_here
    assert Recording.source.verify()
    for instance, schema, store in ((lab.local, lab.local_schema, "ours"), (lab.source, lab.source_schema, "theirs")):
        assert collected(instance, schema, store, dry_run=False)["deleted"] == 0
    (Recording & "TRUE").delete(prompt=False)
    assert collected(lab.local, lab.local_schema, "ours", dry_run=False)["deleted"] == 0
    assert listed(lab.source, "theirs") == before


def test_what_is_not_there_is_not_pointed_at(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    table = shared(lab, tmp_path, buckets, "file")
    Path(path_in(lab.source, "theirs", lab.source_server, lab.source_schema, "recording", "raw", 1)).unlink()
    Recording = granted(lab, table, stores={"theirs": reference("ours")})
    with pytest.raises(TransferError, match=r"column raw: .* is not to be found through the local store 'ours'"):
        Recording.source.pull()
    # The local store is somewhere else: nothing of the source's is there.
    (tmp_path / "elsewhere").mkdir()
    lab.local.config.stores["ours"] = {"protocol": "file", "location": str(tmp_path / "elsewhere")}
    result = granted(lab, table, stores={"theirs": reference("ours")}).source.pull(suppress_errors=True)
    assert len(result.errors) + len(Recording()) == 4 and not result.pulled


def test_refused_where_the_local_side_could_collect(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """A local schema with the name of the source's: its garbage collection would take the objects for orphans."""
    table = shared(lab, tmp_path, buckets, "file")
    before = listed(lab.source, "theirs")
    lab.local_server.sql(f"CREATE SCHEMA {lab.source_schema}")
    Recording = granted(lab, table, stores={"theirs": reference("ours")})
    if lab.kind == "postgresql":
        lab.local_server.sql(f"GRANT ALL ON SCHEMA {lab.source_schema} TO {lab.local_user}")
    with pytest.raises(StoreError, match=rf"reference\(\).*{lab.source_schema}, whose garbage collection"):
        Recording.source.pull()
    assert not len(Recording())
    lab.local.config.stores["ours"] |= {"hash_prefix": "none", "schema_prefix": "nothing"}
    Recording = granted(lab, table, stores={"theirs": reference("ours")})
    assert Recording.source.pull().pulled == 4
    assert collected(lab.local, lab.source_schema, "ours", dry_run=False)["deleted"] == 0
    assert listed(lab.source, "theirs") == before


def test_one_place_and_schemas_of_one_name(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """Copies would be the source's own objects: each side's garbage collection would delete the other's."""
    table = shared(lab, tmp_path, buckets, "file")
    lab.local.config.stores["theirs"] = lab.local.config.stores["ours"]
    Recording = granted(lab, table, stores={"theirs": "ours"}, local_schema=lab.source_schema)
    with pytest.raises(StoreError, match="are one place"):
        Recording.source.pull()
    # Under another name the copies are others.
    Recording = granted(lab, table, stores={"theirs": ("ours", "theirs")})
    lab.source_server.sql(f"DELETE FROM {lab.helper_schema}.{lab.helper_table}")
    lab.source_server.sql(f"DROP TABLE {lab.helper_schema}.{lab.helper_table}")
    assert Recording.source.pull().pulled == 4
    assert fetched(Recording) == fetched(table)
    paths = [listed_path for listed_path in listed(lab.local, "ours") if listed_path.startswith("movies/")]
    assert len(paths) == 4


def test_arguments() -> None:
    for wrong in ("", None, 7):
        with pytest.raises(ConfigError, match="name of a local store"):
            reference(wrong)  # type: ignore[arg-type]
