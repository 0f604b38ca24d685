"""Files and folders that users name themselves: nothing of theirs is replaced, or taken for another one."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import datajoint as dj
import pytest
from buckets import Buckets
from filing import Stores, Where, backend, change, fetched, insert, listed, stored
from lab import Lab
from pipelines import declare, granted
from shop import CONTENT, Shop

from link.files import objects
from link.files.objects import ObjectError

LOCAL = ["other_file", "seaweed", "rclone", "memory", "plain"]


@pytest.mark.parametrize("local", LOCAL)
@pytest.mark.parametrize("thorough", [False, True])
def test_a_folder_that_looks_the_same(shop: Shop, local: str, thorough: bool) -> None:
    """By names and sizes: it is left alone, and so is what a change at the source finds here."""

    def bring() -> str:
        return shop.carry("file", local, "d", "d", thorough, is_folder=True, free=True).local

    def here(folder: str) -> list[bytes]:
        return [shop.got(local, f"{folder}/{name}") for name, _ in shop[local].files(folder)]

    shop.put("file", "d/one", b"theirs")
    shop.put("file", "d/two/three", CONTENT[:400_000])
    shop.put(local, "d/one", b"ours!!")
    first = bring()
    assert first != "d" and first == bring()
    assert (here("d"), here(first)) == ([b"ours!!"], [b"theirs", CONTENT[:400_000]])
    shop.put("file", "d/two/three", CONTENT[400_000:800_000])
    second = bring()
    assert len({"d", first, second}) == 3 and second == bring()
    assert here(first) == [b"theirs", CONTENT[:400_000]] and here(second) == [b"theirs", CONTENT[400_000:800_000]]
    # What a killed pull has left of it is completed.
    shop.put(local, "d/one", b"theirs")
    assert bring() == "d" and here("d") == here(second)
    shop.put(local, "d/four", b"another one of ours")
    assert bring() == second


def test_a_file_where_a_folder_would_be(shop: Shop) -> None:
    shop.put("file", "d/one", b"theirs")
    shop.put("file", "e", b"theirs")
    shop.put("other_file", "d", b"ours")
    shop.put("other_file", "e/one", b"ours")
    (Path(shop["other_file"].full("")) / "f").symlink_to("not here for now")
    folder = shop.carry("file", "other_file", "d", "d", is_folder=True, free=True).local
    for path in ("e", "f"):
        file = shop.carry("file", "other_file", "e", path, size=6, free=True).local
        assert file != path and shop.got("other_file", file) == b"theirs"
    assert shop.got("other_file", f"{folder}/one") == b"theirs"
    assert (shop.got("other_file", "d"), shop.got("other_file", "e/one")) == (b"ours", b"ours")
    assert (Path(shop["other_file"].full("")) / "f").is_symlink()


@pytest.mark.parametrize("local", LOCAL)
def test_two_of_one_name_at_once(shop: Shop, local: str) -> None:
    """Out of two stores into one, by several threads: each row names its own content."""
    content = {"file": b"a" * 1_000_000, "rclone": b"b" * 1_000_000}
    for number in range(4):
        named: dict[str, str] = {}

        def bring(source: str, path: str = f"{number}", named: dict[str, str] = named) -> None:
            named[source] = shop.carry(source, local, path, f"to {path}", size=1_000_000, free=True).local

        for source in content:
            shop.put(source, f"{number}", content[source])
        shop[local]  # before all that share it
        threads = [threading.Thread(target=bring, args=(source,)) for source in content]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {source: shop.got(local, path) for source, path in named.items()} == content


@pytest.mark.parametrize("local", ["other_file", "seaweed"])
@pytest.mark.parametrize("size", [1000, 1_000_000, 12_000_000])
@pytest.mark.parametrize("source", ["file", "seaweed"])
def test_a_name_that_others_take_meanwhile(
    shop: Shop, source: str, local: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes, too: the system refuses a name that was free when it was looked for."""
    shop.put(source, "x", CONTENT[:size])
    looked = type(shop[local]).find
    taken: list[str] = []

    def find(self: Any, path: str) -> Any:
        found = looked(self, path)
        if self is shop[local] and path == "y" and not taken:
            taken.append(path)
            shop.put(local, "y", b"ours")
        return found

    monkeypatch.setattr(type(shop[local]), "find", find)
    beside = shop.carry(source, local, "x", "y", size=size, free=True).local
    assert taken and beside != "y"
    assert (shop.got(local, "y"), shop.got(local, beside)) == (b"ours", CONTENT[:size])


@pytest.mark.parametrize(
    ("outer", "inner", "path"),
    [("file", "within_file", "within/x"), ("seaweed", "other_seaweed", "other/x")],
)
def test_one_store_within_another(shop: Shop, outer: str, inner: str, path: str) -> None:
    """The source's own file is no copy of it, by whatever path."""
    shop.put(outer, path, b"theirs")
    shop.put(outer, "within/d/one", b"theirs")
    beside = shop.carry(outer, inner, path, "x", size=6, free=True).local
    assert beside != "x" and shop.got(inner, beside) == b"theirs"
    if outer == "file":
        assert shop.carry(outer, inner, "within/d", "d", is_folder=True, free=True).local != "d"


def test_names_that_nothing_can_have(shop: Shop) -> None:
    """They concern their own row: the others go on."""
    shop.put("file", "x", b"x")
    shop.put("other_file", "one", b"1")
    for name in ("x" * 300, "a/" + "ü" * 200, "one/two"):
        with pytest.raises(ObjectError, match=f"cannot be {name} in the store 'other_file': "):
            shop.carry("file", "other_file", "x", name)
    with pytest.raises(ObjectError, match="within a store"):
        objects.require_inside("half of a \ud83d.dat")


def test_links_in_folders(shop: Shop) -> None:
    """What is there by a link is copied as well; what leads nowhere is told."""
    root = Path(shop["file"].full(""))
    shop.put("file", "elsewhere/one", b"1")
    shop.put("file", "d/two", b"2")
    (root / "d" / "linked").symlink_to("../elsewhere")
    (root / "d" / "three").symlink_to("../elsewhere/one")
    shop.carry("file", "other_file", "d", "e", is_folder=True)
    assert shop["other_file"].files("e") == [("linked/one", 1), ("three", 1), ("two", 1)]
    (root / "d" / "back").symlink_to("../d")
    with pytest.raises(ObjectError, match="leads back"):
        shop.carry("file", "other_file", "d", "f", is_folder=True)
    (root / "d" / "back").unlink()
    (root / "elsewhere" / "one").unlink()
    with pytest.raises(ObjectError, match="has three, which is gone or a link to nothing"):
        shop.carry("file", "other_file", "d", "g", is_folder=True)
    assert not shop["other_file"].files("nothing") and not shop["other_file"].files("e/two")


@pytest.mark.parametrize(
    ("source", "local"), [("file", "seaweed"), ("seaweed", "file"), ("rclone", "memory"), ("memory", "rclone")]
)
def test_folders_with_a_slash_at_the_end(shop: Shop, source: str, local: str) -> None:
    shop.put(source, "d/one", b"1")
    shop.put(source, "d/s/two", b"2")
    for free in (True, False):
        moved = shop.carry(source, local, "d/", "e/", is_folder=True, free=free)
        assert (moved.source, moved.local) == ("d/", "e/")
        assert shop[local].files("e") == [("one", 1), ("s/two", 1)] and shop.got(local, "e/one") == b"1"
    shop.put(local, "e/one", b"ours")
    beside = shop.carry(source, local, "d/", "e/", is_folder=True, free=True).local
    assert beside.endswith("/") and shop[local].files(beside) == [("one", 1), ("s/two", 1)]
    assert shop[local].files("e") == [("one", 4), ("s/two", 1)]


@pytest.fixture
def movies(lab: Lab, tmp_path: Path, buckets: Buckets) -> Any:
    """Three rows with a folder each, and a file; the third row has the second one's."""
    Stores(lab, tmp_path, buckets, "file", "file")

    class Movie(dj.Manual):
        definition = "movie: int32\n---\nframes: <filepath@theirs>\nsound: <filepath@theirs>"

    table = declare(lab, Movie)
    theirs = backend(lab.source, "theirs")
    for n in range(3):
        if n < 2:
            theirs.put_buffer(b"frame %d" % n, f"movies/{n}/frame")
            theirs.put_buffer(b"sound %d" % n, f"sounds/{n}")
        insert(table, {"movie": n, "frames": f"movies/{min(n, 1)}", "sound": f"sounds/{min(n, 1)}"})
    return table


def test_a_folder_that_was_filled_anew(lab: Lab, movies: Any) -> None:
    """With as many bytes under the same names: a refresh brings them, and rows that name the older ones keep them."""
    Movie = granted(lab, movies, stores={"theirs": "ours"})
    assert Movie.source.pull().pulled == 3
    before = fetched(movies)
    theirs = backend(lab.source, "theirs")
    theirs.remove("movies/1/frame")
    theirs.put_buffer(b"frame X", "movies/1/frame")
    change(movies, {"movie": 2}, {"frames": "movies/1"})
    assert Movie.source.refresh().refreshed == 1
    assert fetched(Movie)[:2] == before[:2] and fetched(Movie)[2] == fetched(movies)[2] != before[2]
    result = Movie.source.verify(files=True)
    assert [(damaged.key, damaged.column) for damaged in result.damaged] == [({"movie": 1}, "movie.frames")]
    change(movies, {"movie": 1}, {"frames": "movies/1"})
    assert Movie.source.refresh().refreshed == 1
    assert fetched(Movie) == fetched(movies) and Movie.source.verify(files=True)
    assert len([path for path in listed(lab.local, "ours") if path.startswith("movies/1")]) == 2


@pytest.mark.parametrize(("source", "local"), [("file", "s3"), ("s3", "file")])
def test_rows_that_name_folders_with_a_slash(
    lab: Lab, tmp_path: Path, buckets: Buckets, source: Where, local: Where
) -> None:
    Stores(lab, tmp_path, buckets, source, local)

    class Movie(dj.Manual):
        definition = "movie: int32\n---\nframes: <filepath@theirs>"

    table, theirs = declare(lab, Movie), backend(lab.source, "theirs")
    for n in range(3):
        theirs.put_buffer(b"frame %d" % n, f"movies/{n}/frame")
    for n in range(2):
        insert(table, {"movie": n, "frames": f"movies/{n}/"})
    Linked = granted(lab, table, stores={"theirs": "ours"})
    assert Linked.source.pull().pulled == 2
    assert fetched(Linked) == fetched(table) and Linked.source.verify(files=True).files == 2
    # Another folder with all else as it was: the name tells.
    value = next(row[1] for row in stored(lab.source_server, lab.source_schema, "movie", "movie", "frames") if row[0])
    lab.source_server.sql(
        f"UPDATE {lab.source_schema}.movie SET frames = %s WHERE movie = 1", json.dumps(value | {"path": "movies/2/"})
    )
    assert Linked.source.verify().differing == [{"movie": 1}]
    assert Linked.source.refresh().refreshed == 1
    assert fetched(Linked) == fetched(table) and Linked.source.verify(files=True).files == 2


def test_what_cannot_have_its_name_is_left_out(lab: Lab, movies: Any) -> None:
    """A file of the user's own is where the copies need a folder: that is said of each row, and ends no pull."""
    backend(lab.local, "ours").put_buffer(b"ours", "sounds")
    Movie = granted(lab, movies, stores={"theirs": "ours"})
    result = Movie.source.pull(suppress_errors=True)
    assert result.pulled == 0 and len(result.errors) == 3
    for _, error in result.errors:
        assert "column sound: sounds/" in str(error) and "in the store 'ours'" in str(error)
    assert backend(lab.local, "ours").get_buffer("sounds") == b"ours"
    backend(lab.local, "ours").remove("sounds")
    assert Movie.source.pull().pulled == 3 and fetched(Movie) == fetched(movies)


def test_what_is_kept_for_ourselves(lab: Lab, movies: Any) -> None:
    """A file that the source has where we write what is not whole: its copy goes elsewhere, and is not tidied away."""
    path = f"{objects.STAGING}/old.lock"
    backend(lab.source, "theirs").put_buffer(b"frame 0", path)
    change(movies, {"movie": 0}, {"sound": path})
    Movie = granted(lab, movies, stores={"theirs": "ours"})
    assert Movie.source.pull("movie = 0").pulled == 1
    assert Movie.source.pull().pulled == 2
    named = {row[0]: row[1]["path"] for row in stored(lab.local_server, lab.local_schema, "movie", "movie", "sound")}
    assert named[0] == "old.lock" and fetched(Movie) == fetched(movies)
    assert Movie.source.verify(files=True)
