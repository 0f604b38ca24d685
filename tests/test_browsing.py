"""What the source's view shows of tables that DataJoint 0.12 to 0.14 declared, made by SQL as these make them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import datajoint as dj
import numpy as np
import oracle
import pytest
from lab import Lab
from linking import admin, linked
from oracle import Type

from link import LinkError

of_legacy = pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
ARRAY = np.arange(5.0)
HASH = bytes(range(16))
TRACKED = (
    'CREATE TABLE "{source}"."~external_raw" ("hash" binary(16) PRIMARY KEY COMMENT \':uuid:hash of contents\', '
    '"size" bigint unsigned NOT NULL, "attachment_name" varchar(255), "filepath" varchar(1000), '
    '"contents_hash" binary(16) COMMENT \':uuid:\', "timestamp" timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)'
)
#: An array, one of MATLAB's, an attachment, an adapter's value, what is in a store, JSON.
UNIT = (
    'CREATE TABLE "{source}"."unit" ("unit" int NOT NULL, "depth" int NOT NULL COMMENT \'in µm\', '
    '"waveform" longblob NOT NULL COMMENT \'mean\', "matlab" mediumblob, "notes" longblob COMMENT \':attach:a day\', '
    "\"graph\" longblob COMMENT ':<unheard_of>:', \"count\" smallint COMMENT ':<unheard_of>:', "
    '"name" binary(16) COMMENT \':<unheard_of>:\', "trace" binary(16) COMMENT \':blob@raw:\', "facts" json, '
    'PRIMARY KEY ("unit"), KEY "trace" ("trace"), FOREIGN KEY ("trace") REFERENCES "{source}"."~external_raw" ("hash"))'
)
SHOWN = ["unit", "depth", "waveform", "matlab", "notes", "graph", "count", "name", "facts"]


@pytest.fixture
def downloads(tmp_path: Path) -> Iterator[Path]:
    """Where DataJoint writes attachments."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    with dj.config.override(download_path=str(folder)):
        yield folder


def units(lab: Lab, **options: Any) -> Any:
    """Unit 1 with all that 0.x packs, and 2 without what can be left out; and the linked class."""
    admin(lab, TRACKED, UNIT)
    matlab = dj.blob.pack(np.eye(2), compress=False)
    lab.source_server.sql(
        f"INSERT INTO `{lab.source_schema}`.`~external_raw` VALUES (%s, 8, NULL, NULL, NULL, now())", HASH
    )
    for row in (
        (1, 30, dj.blob.pack(ARRAY), matlab, b"day.txt\0fine", dj.blob.pack([1, 2]), 7, HASH, HASH, '{"a": 1}'),
        (2, 40, dj.blob.pack({"a": ARRAY}), *[None] * 7),
    ):
        lab.source_server.sql(f"INSERT INTO `{lab.source_schema}`.`unit` VALUES ({', '.join(['%s'] * 10)})", *row)
    lab.grant("unit")
    lab.grant_tracking("raw")
    return linked(lab, "Unit", **options)


@of_legacy
def test_values_are_shown_as_they_are_pulled(lab: Lab, downloads: Path) -> None:
    """By each way to fetch; of what is in a store the 16 bytes are no value."""
    source = units(lab).source
    one, two = source.to_dicts(order_by="KEY")
    for found in (one, (source & "unit = 1").fetch1(), next(iter(source & {"unit": 1})), source.head(1)[0]):
        assert list(found) == SHOWN
        np.testing.assert_array_equal(found["waveform"], ARRAY)
        np.testing.assert_array_equal(found["matlab"], np.eye(2))
        assert Path(found["notes"]) == downloads / "day.txt"
        assert [found[name] for name in SHOWN[5:]] == [[1, 2], 7, UUID(bytes=HASH), {"a": 1}]
    np.testing.assert_array_equal(two.pop("waveform")["a"], ARRAY)
    assert two == dict.fromkeys(SHOWN[3:]) | {"unit": 2, "depth": 40}
    assert (downloads / "day.txt").read_text() == "fine"
    np.testing.assert_array_equal((source & "unit = 1").to_arrays("waveform")[0], ARRAY)
    np.testing.assert_array_equal((source & "unit = 1").to_arrays()["waveform"][0], ARRAY)
    np.testing.assert_array_equal(source.to_pandas().loc[1, "waveform"], ARRAY)


@of_legacy
def test_it_prints(lab: Lab) -> None:
    source = units(lab).source
    for text in (repr(source), source._repr_html_().replace("&lt;", "<").replace("&gt;", ">")):
        assert "<blob 0.x>" in text
        assert "<safe attach>" in text
        assert "trace" not in text
    for text in (source.describe(), repr(source.heading)):
        lines = [line.split() for line in text.splitlines()]
        assert lines[0] == ["#", "not", "shown,", "but", "pulled:", "trace", "<blob@raw>"]
        assert [line[2] for line in lines[1:] if line[0] != "---"] == (
            ["int", "int", "<blob>", "<blob>", "<attach>", "<blob>", "smallint", "uuid", "json"]
        )


@of_legacy
def test_queries_of_it_show_the_same(lab: Lab, tmp_path: Path) -> None:
    """Restricted, projected, joined, aggregated; and a pull takes what they select."""
    Unit = units(lab, stores={"raw": "ours"})
    lab.local.config.stores = {name: {"protocol": "file", "location": str(tmp_path)} for name in ("raw", "ours")}
    curve = (
        '"unit" int NOT NULL PRIMARY KEY, "shape" longblob NOT NULL, FOREIGN KEY ("unit") REFERENCES "{source}"."unit"'
    )
    admin(lab, f'CREATE TABLE "{{source}}"."curve" ({curve} ("unit"))')
    lab.source_server.sql(f"INSERT INTO `{lab.source_schema}`.`curve` VALUES (1, %s)", dj.blob.pack(2 * ARRAY))
    lab.grant("curve")
    Curve, source = linked(lab, "Curve"), Unit.source
    np.testing.assert_array_equal((source & "matlab IS NOT NULL").fetch1("waveform"), ARRAY)
    np.testing.assert_array_equal(source.proj(shape="waveform").to_dicts(order_by="KEY")[0]["shape"], ARRAY)
    joined = (source.proj("waveform") * Curve.source).fetch1()
    np.testing.assert_array_equal(joined["shape"], 2 * joined["waveform"])
    assert source.aggr(Curve.source, exclude_nonmatching=True, n="count(*)").fetch1("n") == 1
    with pytest.raises(dj.DataJointError, match="trace"):
        source.proj("trace")
    with pytest.raises(dj.DataJointError, match="trace"):
        source & "trace IS NULL"
    assert (source & (Curve.source & "unit = 1")).pull(dry_run=True).pulled == 1
    assert (source & "matlab IS NULL AND depth > 30").pull().pulled == 1
    assert Unit().to_arrays("unit").tolist() == [2]


class Graph(dj.Codec):
    """An adapter of 0.x, brought to DataJoint 2."""

    name = "test_graph"

    def get_dtype(self, is_store: bool) -> str:
        return "<blob>"

    def encode(self, value: Any, *, key: Any = None, store_name: str | None = None) -> Any:
        return sorted(value)

    def decode(self, stored: Any, *, key: Any = None) -> Any:
        return set(stored)


PACKED, FILE = dj.blob.pack([1, 2]), b"a.txt\0text"


@of_legacy
def test_it_shows_the_same_to_a_lab_whose_tables_older_clients_read(lab: Lab) -> None:
    """This process has DataJoint 2, whatever reads the local tables."""
    source = thing(lab, "", PACKED, b"\1\2\0", datajoint="0.x").source
    assert [row["thing"] for row in source.to_dicts(order_by="k")] == [[1, 2], b"\1\2\0"]


@of_legacy
@pytest.mark.parametrize(
    ("special", "stored", "word", "shown"),
    [
        pytest.param("", PACKED, None, [1, 2], id="packed"),
        pytest.param("", b"\1\2\0", None, b"\1\2\0", id="not_packed"),
        pytest.param("", PACKED, "bytes", PACKED, id="packed,_taken_for_bytes"),
        pytest.param("", PACKED, "<test_graph>", {1, 2}, id="packed,_taken_for_an_adapter"),
        pytest.param("attach", FILE, "bytes", FILE, id="attachment,_taken_for_bytes"),
        pytest.param("<test_graph>", PACKED, None, {1, 2}, id="adapter"),
        pytest.param("<test_graph>", PACKED, "<blob>", [1, 2], id="adapter,_taken_for_what_it_packed"),
        pytest.param("<unheard_of>", b"\1\2\0", None, b"\1\2\0", id="adapter_of_bytes"),
    ],
)
def test_what_a_column_is_taken_for_is_shown(
    lab: Lab, special: str, stored: bytes, word: str | None, shown: Any
) -> None:
    source = thing(lab, special, stored, codecs={"thing": word} if word else None).source
    assert source.fetch1("thing") == shown
    declared = source.describe().splitlines()[-1].split()[2]
    assert declared == {"bytes": "longblob", "<unheard_of>": "<blob>"}.get(word or special, word or special or "<blob>")
    assert repr(source)


def thing(lab: Lab, special: str, *stored: bytes, **options: Any) -> Any:
    """A table with a column of bytes under a marker, rows from 0 on, and the linked class."""
    columns = {"k": Type("int", "integer", ()), "thing": Type("longblob", "bytes", (), special)}
    if lab.kind == "postgresql":
        columns = {"k": Type("integer", "integer", ()), "thing": Type("bytea", "bytes", (), special)}
    oracle.create(lab.source_server, lab.source_schema, "thing", columns, ["k"])
    oracle.insert(lab.source_server, lab.source_schema, "thing", columns, list(enumerate(stored)))
    lab.grant("thing")
    return linked(lab, "Thing", backend=lab.source_server.backend, **options)


#: What DataJoint would write elsewhere, or has no name for.
NO_NAMES = (*(name + b"\0text" for name in (b"../../x", b"..", b"a/b", b"\\x", b"", b"\xff")), b"text")


@pytest.mark.parametrize("special", ["attach", "<attach>"])
def test_an_attachment_is_not_written_elsewhere(lab: Lab, downloads: Path, special: str) -> None:
    """That of any DataJoint: its codec writes to what the stored name says."""
    if lab.kind == "postgresql" and special == "attach":
        pytest.skip("DataJoint 0.x knows no PostgreSQL")
    before = sorted(downloads.parent.rglob("*"))
    source = thing(lab, special, *NO_NAMES, FILE).source
    for number in range(len(NO_NAMES)):
        chosen = source & {"k": number}
        for fetch in (chosen.fetch1, chosen.to_dicts, chosen.to_arrays):
            with pytest.raises(LinkError, match="An attachment at the source was not fetched"):
                fetch()
    assert len(source.proj().to_dicts()) == len(NO_NAMES) + 1
    assert sorted(downloads.parent.rglob("*")) == before
    path = Path((source & {"k": len(NO_NAMES)}).fetch1("thing"))
    assert (path, path.read_bytes()) == (downloads / "a.txt", b"text")
