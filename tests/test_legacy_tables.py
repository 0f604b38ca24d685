"""Tables as DataJoint 0.12 to 0.14 declared them, made by SQL: what arrives of them, and what is refused."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import datajoint as dj
import numpy as np
import oracle
import pytest
from lab import Lab
from oracle import Type
from pipelines import linked

from link import ConfigError, DefinitionError, TransferError

KEY = Type("int", "integer", ())
BLOB = Type("longblob", "bytes", ())
ATTACH = Type("longblob", "bytes", (), "attach")
ADAPTED = Type("longblob", "bytes", (), "<graph>")
ARRAY = np.arange(7.0)
PACKED = dj.blob.pack(ARRAY)
COMPRESSED = dj.blob.pack(np.zeros(5000))
FILE = b"notes.txt\0hello"
#: Names that would lead out of the folder into which DataJoint writes, or that are none.
NO_NAMES = (b"../../x\0data", b"a/b\0data", b"c:\\x\0data", b"..\0data", b"\0data", b"no NUL", b"")


def declare(lab: Lab, columns: dict[str, Type], rows: list[tuple[Any, ...]], **options: Any) -> Any:
    """The source table `thing` with rows, as 0.x leaves it, and its linked class."""
    oracle.create(lab.source_server, lab.source_schema, "thing", {"k": KEY} | columns, ["k"])
    oracle.insert(lab.source_server, lab.source_schema, "thing", {"k": KEY} | columns, rows)
    lab.grant("thing")
    return linked(lab, "Thing", backend=lab.source_server.backend, **options)


@pytest.fixture(scope="session", params=["mysql", "mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kinds of server that 0.x knows."""
    return str(request.param)


@pytest.fixture(
    scope="session",
    params=list(itertools.product(("mysql", "mariadb"), ("mysql", "mariadb", "postgresql"))),
    ids="-".join,
)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A source that 0.x knows, and each kind of local server."""
    return request.param  # type: ignore[no-any-return]


def test_unmarked_blobs_are_objects(mixed: Lab) -> None:
    lab = mixed
    columns = {"wave": BLOB, "maybe": Type("mediumblob", "bytes", ())}
    thing = declare(lab, columns, [(1, PACKED, None), (2, COMPRESSED, PACKED)])
    result = thing.source.pull()
    assert result.pulled == 2
    found = thing().to_dicts(order_by="k")
    assert [row["k"] for row in found] == [1, 2]
    np.testing.assert_array_equal(found[0]["wave"], ARRAY)
    assert found[0]["maybe"] is None
    np.testing.assert_array_equal(found[1]["wave"], np.zeros(5000))
    np.testing.assert_array_equal(found[1]["maybe"], ARRAY)
    assert thing.source.verify()


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_what_was_not_packed_is_refused_and_named(mixed: Lab, long: bool) -> None:
    lab = mixed
    odd = b"\x01\x02" * (8000 if long else 1)
    rows = [(1, dj.blob.pack(np.random.default_rng(1).random(3000 if long else 3))), (2, odd), (3, PACKED)]
    thing = declare(lab, {"wave": BLOB}, rows)
    if long:
        lab.source_server.sql(f"ANALYZE TABLE `{lab.source_schema}`.thing")
    with pytest.raises(TransferError, match=r"wave: not packed by DataJoint(.|\n)*Say codecs=\{'wave': 'bytes'\}"):
        thing.source.pull()
    assert [error[0]["k"] for error in thing.source.pull(suppress_errors=True).errors] == [2]
    assert sorted(thing().to_arrays("k")) == [1, 3]


def test_attachments_are_files(mixed: Lab, tmp_path: Any) -> None:
    lab = mixed
    if lab.local_server.kind == "postgresql":
        pytest.skip("DataJoint 2.3 cannot read them there")
    thing = declare(lab, {"file": ATTACH}, [(1, FILE)])
    thing.source.pull()
    lab.local.config["download_path"] = str(tmp_path)
    path = Path(thing().fetch1("file"))
    assert (path.name, path.read_bytes()) == ("notes.txt", b"hello")


def test_a_codec_that_is_not_registered_leaves_what_it_was_made_of(mixed: Lab) -> None:
    thing = declare(mixed, {"net": ADAPTED}, [(1, PACKED)])
    thing.source.pull()
    np.testing.assert_array_equal(thing().fetch1("net"), ARRAY)


@pytest.mark.parametrize("named", NO_NAMES, ids=ascii)
def test_attachments_that_would_leave_their_folder_are_refused(mixed: Lab, named: bytes) -> None:
    thing = declare(mixed, {"file": ATTACH}, [(1, FILE), (2, named)])
    with pytest.raises(TransferError, match=r"file: the file name in it is none(.|\n)*Say codecs=\{'file': 'bytes'\}"):
        thing.source.pull()
    assert len(thing.source.pull(suppress_errors=True).errors) == 1
    assert thing().to_arrays("k").tolist() == [1]


def test_a_word_wins_over_every_rule(mixed: Lab) -> None:
    lab = mixed
    odd = b"\x01\x02"
    rows = [(1, odd, PACKED, FILE, PACKED)]
    columns = {"wave": BLOB, "kept": BLOB, "file": ATTACH, "net": ADAPTED}
    words = {"wave": "bytes", "kept": "<blob>", "file": "bytes", "net": "<blob>"}
    thing = declare(lab, columns, rows, codecs=words)
    thing.source.pull()
    found = thing().fetch1()
    assert bytes(found["wave"]) == odd and bytes(found["file"]) == FILE
    np.testing.assert_array_equal(found["kept"], ARRAY)
    np.testing.assert_array_equal(found["net"], ARRAY)
    assert thing.source.verify()


def test_words_that_fit_nothing_are_refused_before_anything_is_made(lab: Lab) -> None:
    columns = {"wave": BLOB, "note": Type("varchar(9)", "text", ())}
    declare(lab, columns, [(1, PACKED, "a")])
    for words, told in (
        ({"wav": "bytes"}, "names 'wav', which the source table .* does not have"),
        ({"note": "<blob>"}, r"note is of the type varchar\(9\)"),
        ({"wave": "<graph>"}, "no codec <graph> is registered"),
        ({"wave": "json"}, "wave is of the type longblob"),
    ):
        with pytest.raises(ConfigError, match=told):
            linked(lab, "Thing", codecs=words).source.pull()
    for wrong in ({"wave": "blob"}, {"wave": 1}, ["wave"], {"wave": "<blob@raw>"}):
        with pytest.raises(ConfigError, match="codecs"):
            linked(lab, "Thing", codecs=wrong)
    assert not lab.local_server.sql(
        f"SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{lab.local_schema}'"
    )


def test_what_came_before_0_12_is_refused_in_our_words(lab: Lab) -> None:
    thing = declare(lab, {"raw": Type("char(51)", "text", (), "external-raw")}, [])
    with pytest.raises(DefinitionError, match=r"thing\.raw is declared external-raw by a DataJoint before 0\.12"):
        thing.source.pull()


def test_blobs_beside_columns_of_datajoint_2_are_bytes_or_asked_about(mixed: Lab) -> None:
    columns = {"wave": BLOB, "count": oracle.INTEGER}
    thing = declare(mixed, columns, [(1, b"\x01\x02", 1), (2, PACKED, 1), (3, COMPRESSED, 1)])
    with pytest.raises(
        TransferError, match=r"wave: packed by DataJoint, it seems(.|\n)*Say codecs=\{'wave': '<blob>'\}, or"
    ):
        thing.source.pull()
    assert len(thing.source.pull(suppress_errors=True).errors) == 2
    assert bytes(thing().fetch1("wave")) == b"\x01\x02"


def test_the_longest_names_are_told_whole(mixed: Lab) -> None:
    lab, name = mixed, "w" * 60
    thing = declare(lab, {name: BLOB}, [(1, b"\x01\x02")])
    with pytest.raises(TransferError, match=rf"{name}: not packed by DataJoint(.|\n)*codecs=\{{'{name}': 'bytes'\}}"):
        thing.source.pull()
