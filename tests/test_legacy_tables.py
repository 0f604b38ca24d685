"""Tables as DataJoint 0.12 to 0.14 declared them, made by SQL: what arrives of them, and what is refused."""

from __future__ import annotations

import datetime
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datajoint as dj
import numpy as np
import older
import oracle
import pytest
from datajoint.codecs import unregister_codec
from lab import Lab
from oracle import Type
from pipelines import linked

from dj_link import LazySchema, Link
from link import ConfigError, DefinitionError, TransferError

KEY = Type("int", "integer", ())
BLOB = Type("longblob", "bytes", ())
#: What 0.x declares on servers old and new.
TEXTS = {f"text_{s}": Type(f"varchar(9) CHARACTER SET {s}", "text", ()) for s in ("latin1", "utf8mb4")}
UUID = Type("binary(16)", "uuid", (), "uuid")
ATTACH = Type("longblob", "bytes", (), "attach")
ADAPTED = Type("longblob", "bytes", (), "<graph>")
ARRAY = np.arange(7.0)
PACKED = dj.blob.pack(ARRAY)
COMPRESSED = dj.blob.pack(np.zeros(5000))
#: Values by the first bytes of what packs them.
OBJECTS = {b"mYm\0": ARRAY, b"dj0\0": {"a": [1, None]}, b"ZL123\0": np.zeros(5000)}
#: First bytes that are nearly those.
ODD = (
    b"",
    b"\0",
    b"m",
    b"mYm",
    b"mYm A",
    b"mym\0A",
    b"dj1\0A",
    b"dj0",
    b"ZL123",
    b"ZL12\0A",
    b" mYm\0A",
    b"\x89PNG\r\n",
)
FILE = b"notes.txt\0hello"
#: Names that would lead out of the folder into which DataJoint writes, or that are none.
NO_NAMES = (b"../../x\0data", b"a/b\0data", b"c:\\x\0data", b"..\0data", b"\0data", b"no NUL", b"")


def declare(lab: Lab, columns: dict[str, Type], rows: list[tuple[Any, ...]], **options: Any) -> Any:
    """The source table `thing` with rows, as 0.x leaves it, and its linked class; there is text in each row, too."""
    oracle.create(lab.source_server, lab.source_schema, "thing", {"k": KEY} | columns | TEXTS, ["k"])
    texts = [(*row, *("é",) * len(TEXTS)) for row in rows]
    oracle.insert(lab.source_server, lab.source_schema, "thing", {"k": KEY} | columns | TEXTS, texts)
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


def test_every_beginning_is_told_in_every_column(mixed: Lab) -> None:
    packed = [dj.blob.pack(value) for value in OBJECTS.values()]
    assert all(blob.startswith(head) for blob, head in zip(packed, OBJECTS, strict=True))
    types = ("tinyblob", "blob", "mediumblob", "longblob")
    rows: list[tuple[Any, ...]] = [(n, *[blob] * len(types)) for n, blob in enumerate(packed)]
    odd = {len(rows) + n: (column, blob) for n, (column, blob) in enumerate(itertools.product(types, ODD))}
    rows += [(k, *(blob if column == of else PACKED for of in types)) for k, (column, blob) in odd.items()]
    thing = declare(mixed, {f"a_{sql}": Type(sql, "bytes", ()) for sql in types}, rows)
    refused = {key["k"]: str(error) for key, error in thing.source.pull(suppress_errors=True).errors}
    assert refused.keys() == odd.keys()
    for k, error in refused.items():
        name = f"a_{odd[k][0]}"
        assert f": {name}: not packed by DataJoint\n" in error and f"codecs={{'{name}': 'bytes'}}" in error
    for wanted, row in zip(OBJECTS.values(), thing().to_dicts(order_by="k"), strict=True):
        for sql in types:
            np.testing.assert_array_equal(row[f"a_{sql}"], wanted)
    assert thing.source.verify()


def test_keys_of_uuids_and_parts(mixed: Lab) -> None:
    """A uuid as key, referred to under another name, and a blob in a part: the word for it names the part."""
    lab = mixed
    master, part = {"u": UUID, "other": UUID}, {"u": UUID, "n": KEY, "trace": BLOB}
    first, second = oracle.UUIDS[1:]
    server, schema = lab.source_server, lab.source_schema
    oracle.create(server, schema, "thing", master, ["u"])
    server.sql(f"ALTER TABLE {schema}.thing ADD FOREIGN KEY (other) REFERENCES {schema}.thing (u)")
    oracle.create(server, schema, "thing__slice", part, ["u", "n"], "thing")
    oracle.insert(server, schema, "thing", master, [(first, None), (second, first)])
    oracle.insert(server, schema, "thing__slice", part, [(first, 1, PACKED), (second, 1, PACKED), (second, 2, b"odd")])
    lab.grant("thing")
    thing = linked(lab, "Thing", backend="mysql")
    ((key, error),) = thing.source.pull(suppress_errors=True).errors
    assert str(key["u"]) == second
    assert "Slice.trace: not packed by DataJoint" in str(error) and "codecs={'Slice.trace': 'bytes'}" in str(error)
    lab.source_server.sql(f"UPDATE {schema}.thing__slice SET trace = %s WHERE n = 2", PACKED)
    assert thing.source.pull().pulled == 1
    assert thing.source.verify()
    for name, columns in (("thing", master), ("thing__slice", part)):
        there, here = (sorted(oracle.read(*side, name, columns), key=repr) for side in sides(lab))
        assert there == here


def sides(lab: Lab) -> tuple[tuple[Any, str], tuple[Any, str]]:
    return (lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema)


def test_a_word_for_a_column_of_a_part(mixed: Lab) -> None:
    lab = mixed
    part = {"k": KEY, "n": KEY, "trace": BLOB, "note": Type("varchar(9)", "text", ())}
    oracle.create(lab.source_server, lab.source_schema, "thing", {"k": KEY}, ["k"])
    oracle.create(lab.source_server, lab.source_schema, "thing__slice", part, ["k", "n"], "thing")
    oracle.insert(lab.source_server, lab.source_schema, "thing", {"k": KEY}, [(1,)])
    oracle.insert(lab.source_server, lab.source_schema, "thing__slice", part, [(1, 1, b"\0odd", "a")])
    lab.grant("thing")
    thing = linked(lab, "Thing", backend="mysql", codecs={"Slice.trace": "bytes"})
    assert thing.source.pull().pulled == 1
    assert bytes(thing.Slice().fetch1("trace")) == b"\0odd"
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
    thing = declare(lab, {"file": ATTACH}, [(1, FILE)])
    thing.source.pull()
    lab.local.config["download_path"] = str(tmp_path)
    path = Path(thing().fetch1("file"))
    assert (path.name, path.read_bytes()) == ("notes.txt", b"hello")


def test_a_codec_that_is_not_registered_leaves_what_it_was_made_of(mixed: Lab) -> None:
    thing = declare(mixed, {"net": ADAPTED}, [(1, PACKED)])
    thing.source.pull()
    np.testing.assert_array_equal(thing().fetch1("net"), ARRAY)


def test_adapters_of_what_is_no_blob_leave_their_inner_values(mixed: Lab) -> None:
    """0.14 keeps an adapter's name alone, over whatever type: the column would be unreadable with it."""
    lab = mixed
    columns = {
        "k": Type("varchar(9)", "text", (), "<word>"),
        "id": Type("binary(16)", "uuid", (), "<tag>"),
        "n": Type("int", "integer", (), "<number>"),
        "day": Type("date", "date", (), "<day>"),
    }
    oracle.create(lab.source_server, lab.source_schema, "thing", columns, ["k"])
    oracle.insert(lab.source_server, lab.source_schema, "thing", columns, [("a", oracle.UUIDS[1], 7, "2024-02-29")])
    lab.grant("thing")
    thing = linked(lab, "Thing", backend="mysql")
    assert thing.source.pull().pulled == 1
    attributes = thing().heading.attributes
    assert all(attribute.codec is None for attribute in attributes.values()) and attributes["id"].uuid
    assert thing().proj("n", "day").to_dicts() == [{"k": "a", "n": 7, "day": datetime.date(2024, 2, 29)}]
    there, here = (oracle.read(*side, "thing", columns) for side in sides(lab))
    assert there == here
    assert thing.source.verify()


@pytest.fixture
def graph() -> Iterator[None]:
    """A codec that bears an adapter's name."""

    class Graph(dj.Codec):
        name = "graph"

        def get_dtype(self, is_store: bool) -> str:
            return "<blob>"

        def encode(self, value: Any, *, key: Any = None, store_name: Any = None) -> Any:
            return value[0]

        def decode(self, stored: Any, *, key: Any = None) -> Any:
            return ["a graph", stored]

    yield
    unregister_codec("graph")


def test_a_registered_codec_takes_what_its_adapter_left(mixed: Lab, graph: None) -> None:
    lab = mixed
    thing = declare(lab, {"net": ADAPTED, "more": BLOB}, [(1, PACKED, PACKED)], codecs={"more": "<graph>"})
    assert thing.source.pull().pulled == 1
    found = thing().fetch1()
    for name in ("net", "more"):
        assert found[name][0] == "a graph"
        np.testing.assert_array_equal(found[name][1], ARRAY)
    assert thing.source.verify()


def test_what_was_changed_at_the_source_is_told(mixed: Lab) -> None:
    lab = mixed
    thing = declare(lab, {"wave": BLOB, "file": ATTACH}, [(k, PACKED, FILE) for k in range(3)])
    thing.source.pull()
    assert thing.source.verify()
    there = f"UPDATE {lab.source_schema}.thing SET"
    lab.source_server.sql(f"{there} wave = CONCAT(LEFT(wave, LENGTH(wave) - 1), 'x') WHERE k = 1")
    lab.source_server.sql(f"{there} file = CONCAT(file, 'x') WHERE k = 2")
    assert thing.source.verify().differing == [{"k": 1}, {"k": 2}]


def test_the_older_interface_takes_them_for_the_same(lab: Lab, tmp_path: Path) -> None:
    lab.older = True
    columns = {"k": KEY, "wave": BLOB, "file": ATTACH, "raw": BLOB}
    oracle.create(lab.source_server, lab.source_schema, "thing", columns, ["k"])
    oracle.insert(
        lab.source_server, lab.source_schema, "thing", columns, [(1, PACKED, FILE, b"odd"), (2, b"odd", FILE, b"")]
    )
    older.grant_schemas(lab)
    schemas = (
        LazySchema(lab.local_schema, connection=lab.local),
        LazySchema(lab.source_schema, connection=lab.link_instance()),
    )
    lab.helper_table = "thing_outbound"
    thing: Any = Link(*schemas, codecs={"raw": "bytes"})(type("Thing", (), {}))
    with pytest.raises(TransferError, match=r"wave: not packed by DataJoint(.|\n)*Say codecs=\{'wave': 'bytes'\}"):
        thing().pull()
    lab.local.config.download_path = str(tmp_path)
    found = thing().fetch1()
    np.testing.assert_array_equal(found["wave"], ARRAY)
    assert (found["k"], bytes(found["raw"]), Path(found["file"]).read_bytes()) == (1, b"odd", b"hello")
    assert thing().source.verify()


def test_it_is_told_once_what_was_taken_for_what(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    columns = {"wave": BLOB, "file": ATTACH, "word": Type("varchar(9)", "text", (), "<word>"), "raw": BLOB}
    thing = declare(lab, columns, [(1, PACKED, FILE, "a", b"odd")], codecs={"raw": "bytes"})
    with caplog.at_level(logging.INFO, "link"):
        thing.source.pull()
        linked(lab, "Thing", backend="mysql", codecs={"raw": "bytes"}).source.pull()
    (told,) = [record.getMessage() for record in caplog.records if "are taken" in record.getMessage()]
    assert told.endswith("are taken: wave for <blob>, file for <attach>, word for varchar(9)")


def test_attachments_that_would_leave_their_folder_are_refused(mixed: Lab) -> None:
    thing = declare(mixed, {"file": ATTACH}, [(0, FILE), *enumerate(NO_NAMES, 1)])
    with pytest.raises(TransferError, match=r"file: the file name in it is none(.|\n)*Say codecs=\{'file': 'bytes'\}"):
        thing.source.pull()
    errors = thing.source.pull(suppress_errors=True).errors
    assert sorted(key["k"] for key, _ in errors) == list(range(1, len(NO_NAMES) + 1))
    assert thing().to_arrays("k").tolist() == [0]


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
