"""Single objects between stores of every kind: in parts, within one server, over lines that break, damaged."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import Account, Buckets
from datajoint.settings import Config
from proxy import Proxy
from shop import CONTENT, Shop

from link import LinkError, StoreError, UnreachableError
from link.files import objects, s3, s3_transport, stores
from link.files.objects import ObjectError
from link.files.opening import OpenStores, open_store
from link.files.routes import Route
from link.files.stores import Found

SIZES = {"empty": 0, "small": 1000, "medium": 2_000_000, "large": len(CONTENT)}
PAIRS = [
    *(("file", other) for other in ("other_file", "rclone", "seaweed", "memory")),
    *((other, "seaweed") for other in ("rclone", "other_seaweed", "memory")),
    *(("seaweed", other) for other in ("rclone", "file", "memory")),
    ("rclone", "other_rclone"),
]


@pytest.mark.parametrize(("source", "local"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_every_size(shop: Shop, source: str, local: str) -> None:
    for size in SIZES.values():
        content = CONTENT[:size]
        shop.put(source, "a/b c+ü.dat", content)
        for facts in ({}, {"size": size}, {"size": size, "md5": hashlib.md5(content).hexdigest(), "by_content": True}):
            shop.copy(source, local, **facts)
            assert shop.got(local, "x/y") == content
            shop[local].backend.remove("x/y")
    shop.put(source, "a/b c+ü.dat", b"content")
    for facts in ({"size": 8}, {"size": 7, "md5": hashlib.md5(b"another").hexdigest(), "by_content": True}):
        with pytest.raises(ObjectError):
            shop.copy(source, local, **facts)
        assert shop[local].find("x/y") is None
    shop[source].backend.remove("a/b c+ü.dat")
    for facts in ({}, {"size": 7, "md5": hashlib.md5(b"content").hexdigest()}):
        with pytest.raises(ObjectError, match="is missing"):
            shop.copy(source, local, **facts)


@pytest.mark.parametrize(("source", "local"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_what_stands_before_an_object(shop: Shop, source: str, local: str) -> None:
    """As the name before an attachment of DataJoint 0.x: in one piece, in blocks and in parts."""
    before = "Blätt.csv".encode() + b"\0"
    for size in SIZES.values():
        content = before + CONTENT[:size]
        shop.put(source, "a/b c+ü.dat", CONTENT[:size])
        known = {"size": len(content), "md5": hashlib.md5(content).hexdigest(), "by_content": True, "prefix": before}
        shop.copy(source, local, **known)
        assert shop.got(local, "x/y") == content
        shop[local].backend.remove("x/y")
        for damaged in (CONTENT[1 : size + 1], CONTENT[: size - 1]) if size else ():
            shop.put(source, "a/b c+ü.dat", damaged)
            with pytest.raises(ObjectError):
                shop.copy(source, local, **known)
            assert shop[local].find("x/y") is None


def test_two_write_the_same_object(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a store that shows what is being written: each has it to itself until it is whole, and nothing is left."""
    content, read, others = CONTENT[:2_000_000], stores.FileStore.read, [1]

    def meanwhile(self: stores.FileStore, *args: Any) -> Iterator[bytes]:
        for number, block in enumerate(read(self, *args)):
            if number == 3 and others:
                others.pop()
                shop.copy("file", "memory", size=len(content))
                assert shop.got("memory", "x/y") == content
            yield block

    shop.put("file", "a/b c+ü.dat", content)
    monkeypatch.setattr(stores.FileStore, "read", meanwhile)
    shop.copy("file", "memory", size=len(content))
    assert not others and shop.got("memory", "x/y") == content
    shop["memory"].backend.remove("x/y")
    with pytest.raises(ObjectError):
        shop.copy("file", "memory", size=len(content), md5=hashlib.md5(b"another").hexdigest(), by_content=True)
    assert not shop["memory"].files("")


@pytest.mark.parametrize("source", ["seaweed", "rclone"])
def test_small_objects_take_one_request(shop: Shop, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading tells what there is to know of it: it need not be asked for, and is checked all the same."""
    content = CONTENT[:1000]
    shop.put(source, "a/b c+ü.dat", content)
    methods: list[str] = []
    send = s3_transport.Transport.send

    def sending(self: s3_transport.Transport, method: str, *args: Any, **kwargs: Any) -> Any:
        methods.append(method)
        return send(self, method, *args, **kwargs)

    monkeypatch.setattr(s3_transport.Transport, "send", sending)
    shop.copy(source, "file", thorough=False, size=1000)
    assert methods == ["GET"] and shop.got("file", "x/y") == content
    for size in (1, 999, 1001):
        with pytest.raises(ObjectError, match=f"has 1,000 bytes, {size:,} were stored"):
            shop.copy(source, "memory", thorough=False, size=size)
    monkeypatch.setattr(s3, "_md5_of", lambda reply: "0" * 32)
    with pytest.raises(ObjectError, match="another content"):
        shop.copy(source, "memory", thorough=False, size=1000)
    shop[source].backend.remove("a/b c+ü.dat")
    with pytest.raises(ObjectError, match="is missing"):
        shop.copy(source, "memory", thorough=False, size=1000)
    shop.put(source, "a/b c+ü.dat", b"")
    with pytest.raises(ObjectError, match="has 0 bytes, 1,000 were stored"):
        shop.copy(source, "memory", thorough=False, size=1000)
    assert shop["memory"].find("x/y") is None


@pytest.mark.parametrize(("source", "local"), [("file", "seaweed"), ("file", "rclone"), ("rclone", "file")])
@pytest.mark.parametrize("size", ["medium", "large"])
def test_damaged_while_it_streams(shop: Shop, source: str, local: str, size: str) -> None:
    """What is large is checked before its last bytes are sent: it never gets its name."""
    content = CONTENT[: SIZES[size]]
    shop.put(source, "a/b c+ü.dat", content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ObjectError, match="another content"):
        shop.copy(source, local, size=len(content), md5=hashlib.md5(content).hexdigest(), by_content=True)
    assert shop[local].find("x/y") is None


def test_within_one_server(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the content comes through here."""
    for source, local in (("file", "other_file"), ("seaweed", "other_seaweed")):
        content = CONTENT[:2_000_000]
        shop.put(source, "a/b c+ü.dat", content)
        with monkeypatch.context() as patched:
            patched.setattr(type(shop[local]), "write", None)
            shop.copy(source, local, size=len(content))
            shop[local].backend.remove("x/y")
            shop.copy(source, local, size=len(content), md5=hashlib.md5(content).hexdigest())
            assert shop.got(local, "x/y") == content
            if source == "seaweed":
                patched.setattr(s3, "WHOLE_COPY", 1_000_000)
                patched.setattr(s3, "_md5_of", lambda reply: None)  # as of what was put there in parts
                shop[local].backend.remove("x/y")
                shop.put(source, "a/b c+ü.dat", CONTENT)
                shop.copy(source, local, size=len(CONTENT))
                assert shop.got(local, "x/y") == CONTENT


def test_parts_that_were_left(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process has uploaded of the same object is let go of, once it is old."""
    files: Any = shop["seaweed"].backend.fs
    full = shop["seaweed"].full("x/y")
    bucket, _, key = full.partition("/")

    def uploads() -> int:
        return len(files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key).get("Uploads", []))

    files.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    shop.put("file", "a/b c+ü.dat", CONTENT)
    shop.copy("file", "seaweed")
    assert uploads() == 1
    monkeypatch.setattr(s3, "STALE", -60)
    shop["seaweed"].backend.remove("x/y")
    shop.copy("file", "seaweed")
    assert uploads() == 0 and shop.got("seaweed", "x/y") == CONTENT


def test_not_within_one_server_without_the_rights(shop: Shop) -> None:
    """Who may write there, but not read here, is sent the bytes."""
    own = shop.config.stores["other_seaweed"] | {"bucket": "nobody's"}
    shop.put("seaweed", "a/b c+ü.dat", b"content")
    other = s3.S3Store("other", type(shop["seaweed"].backend)(own))
    assert not shop["seaweed"].copy_within(other, "a/b c+ü.dat", "x/y", Found(7))
    other.close()


def test_lines_that_break(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks is taken up where it was; one that does not come back is told."""
    monkeypatch.setattr(s3_transport, "TRIES", 3)
    proxy = Proxy("127.0.0.1", shop.buckets.local.port)
    shop.config.stores["far"] = shop.config.stores["seaweed"] | {"endpoint": f"127.0.0.1:{proxy.port}"}
    for source, local in (("far", "file"), ("file", "far")):
        shop.put({"far": "seaweed"}.get(source, source), "a/b c+ü.dat", CONTENT)
        with cut_again_and_again(proxy), contextlib.suppress(UnreachableError):
            shop.copy(source, local)
        found = shop[local].find("x/y")
        assert found is None or found.size == len(CONTENT)
        shop.copy(source, local)
        assert shop.got({"far": "seaweed"}.get(local, local), "x/y") == CONTENT
    proxy.close()
    with pytest.raises(UnreachableError, match="'far'"):
        shop["far"].find("x/y")


@contextlib.contextmanager
def cut_again_and_again(proxy: Proxy) -> Iterator[None]:
    """Break all connections every few milliseconds."""
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(0.05):
            proxy.cut()
            proxy.mend()

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        yield
    finally:
        stop.set()
        cutter.join()


def test_two_writers_of_one_file(shop: Shop) -> None:
    """Both end with the whole file."""
    shop.put("rclone", "a/b c+ü.dat", CONTENT)
    shop["file"]  # one that all of them share
    failures: list[LinkError] = []

    def copy() -> None:
        try:
            shop.copy("rclone", "file", size=len(CONTENT))
        except LinkError as error:
            failures.append(error)

    threads = [threading.Thread(target=copy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and shop.got("file", "x/y") == CONTENT
    staging = Path(shop.config.stores["file"]["location"]) / objects.STAGING
    # What others have in hand is not tidied away, and nothing stays of who has ended.
    ours = set(staging.iterdir())
    other = open_store(shop.config, "file")
    other.tidy()
    shop["file"].tidy()
    assert set(staging.iterdir()) == ours and len(ours) == 2
    shop.close()
    assert not list(staging.iterdir())


def test_users_files_are_never_overwritten(shop: Shop) -> None:
    """Where something else is, the copy goes beside it, and is found there again."""
    for local in ("other_file", "seaweed"):
        shop.put("file", "a/b c+ü.dat", b"theirs")
        shop.put(local, "x/y", b"ours, and not theirs")
        beside = shop.copy("file", local, free=True, size=6)
        assert beside.local != "x/y" and beside.local == shop.copy("file", local, free=True, size=6).local
        assert (shop.got(local, "x/y"), shop.got(local, beside.local)) == (b"ours, and not theirs", b"theirs")
        shop.put(local, "x/y", b"theirs")
        assert shop.copy("file", local, free=True, size=6).local == "x/y"


def test_accounts_hide_their_secret(buckets: Buckets) -> None:
    assert isinstance(buckets.source, Account) and buckets.source.secret_key not in repr(buckets.source)


def test_a_store_that_is_not_there_is_so_for_all_who_ask(buckets: Buckets) -> None:
    """Threads share it: to the second its files would only be missing, each by itself."""
    config = Config()
    config.stores["gone"] = buckets.source.store("no-such-bucket", "x")
    with contextlib.closing(OpenStores(config)) as opened:
        for _ in range(2):
            with pytest.raises(StoreError, match="there is no bucket"):
                opened.find("gone")


@pytest.mark.parametrize(("local", "cut"), [("file", True), ("memory", True), ("rclone", False)])
def test_changed_while_it_is_copied(shop: Shop, local: str, cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read on after a line broke, or in parts: no beginning of one version with the end of another, without digests."""
    proxy = Proxy("127.0.0.1", shop.buckets.local.port)
    shop.config.stores["far"] = shop.config.stores["seaweed"] | {"endpoint": f"127.0.0.1:{proxy.port}"}
    monkeypatch.setattr(s3, "_md5_of", lambda reply: None)  # as of what was put there in parts
    shop.put("seaweed", "a/b c+ü.dat", CONTENT)
    counted = [0]

    def progress(number: int) -> None:
        counted[0] += number
        if counted[0] - number < 6_000_000 <= counted[0]:
            shop.put("seaweed", "a/b c+ü.dat", CONTENT[::-1])
            if cut:
                proxy.cut()
                proxy.mend()

    with pytest.raises(ObjectError, match="was changed while it was copied"):
        shop.copy("far", local, size=len(CONTENT), progress=progress)
    assert shop[local].find("x/y") is None
    shop.copy("far", local, size=len(CONTENT))
    assert shop.got(local, "x/y") == CONTENT[::-1]
    proxy.close()


@pytest.mark.parametrize("local", ["memory", "seaweed", "rclone"])
def test_a_file_that_is_written_while_it_is_copied(shop: Shop, local: str) -> None:
    """In place, with as many bytes as before."""
    shop.put("file", "a/b c+ü.dat", CONTENT)
    written = [False]

    def progress(number: int) -> None:
        if not written[0]:
            written[0] = True
            with Path(shop["file"].full("a/b c+ü.dat")).open("r+b") as file:
                file.write(CONTENT[::-1])

    with pytest.raises(ObjectError, match="was changed while it was copied"):
        shop.copy("file", local, progress=progress)
    assert shop[local].find("x/y") is None


def test_changed_within_one_server(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two parts that the server copies."""
    monkeypatch.setattr(s3, "WHOLE_COPY", 1_000_000)
    monkeypatch.setattr(s3, "_md5_of", lambda reply: None)
    ask = s3_transport.Transport.ask
    for last in ("1", "3"):
        shop.put("seaweed", "a/b c+ü.dat", CONTENT)

        def asking(self: Any, method: str, full: str, query: str = "", *args: Any, last: str = last, **kw: Any) -> Any:
            reply = ask(self, method, full, query, *args, **kw)
            if query.startswith(f"?partNumber={last}&"):
                shop.put("seaweed", "a/b c+ü.dat", CONTENT[::-1])
            return reply

        with monkeypatch.context() as patched, pytest.raises(ObjectError, match="was changed while it was copied"):
            patched.setattr(s3_transport.Transport, "ask", asking)
            shop.copy("seaweed", "other_seaweed", size=len(CONTENT))
        assert shop["other_seaweed"].find("x/y") is None


@pytest.mark.parametrize("local", ["rclone", "seaweed"])
def test_the_last_answer_is_lost(shop: Shop, local: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the request that makes an object of its parts: that was done, and is so at the second request."""
    send, lost = s3_transport.Transport.send, list[str]()

    def sending(self: Any, method: str, full: str, query: str = "", *args: Any, **kwargs: Any) -> Any:
        response = send(self, method, full, query, *args, **kwargs)
        if method == "POST" and query.startswith("?uploadId=") and query not in lost:
            lost.append(query)
            response.read()
            raise ConnectionResetError("as if it were")
        return response

    monkeypatch.setattr(s3_transport.Transport, "send", sending)
    shop.put("file", "a/b c+ü.dat", CONTENT)
    for facts in ({}, {"free": True}):
        shop.copy("file", local, size=len(CONTENT), **facts)
        assert shop.got(local, "x/y") == CONTENT
        shop[local].backend.remove("x/y")
    assert len(lost) == 2


@pytest.mark.parametrize("local", ["plain", "file"])
@pytest.mark.parametrize("size", [200_000, 2_000_000])
def test_a_store_that_is_full(shop: Shop, local: str, size: int) -> None:
    """Nothing cut short has the name, also in a store whose filesystem writes step by step."""
    shop.put("memory", "a/b c+ü.dat", CONTENT[:size])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=f"The store '{local}' failed at x/y: "):
            shop.copy("memory", local, size=size)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert shop[local].find("x/y") is None
    left = Path(shop[local].full(objects.STAGING))
    assert not [path for path in left.glob("**/*") if path.is_file() and path.suffix != ".lock"]
    shop.copy("memory", local, size=size)
    assert shop.got(local, "x/y") == CONTENT[:size]


def test_what_was_left_in_a_store_of_any_kind(shop: Shop) -> None:
    left = Path(shop["plain"].full(objects.STAGING))
    left.mkdir(parents=True)
    for name, age in (("old", 2 * stores.STALE), ("new", 60)):
        (left / name).touch()
        os.utime(left / name, (time.time() - age,) * 2)
    shop["plain"].tidy()
    assert [path.name for path in left.iterdir()] == ["new"]
    shop["memory"].tidy()


def test_a_filesystem_that_remembers(shop: Shop) -> None:
    """What it has listed once for somebody in this process, it would show for as long as that lives."""
    shop.put("seaweed", "d/one", b"1")
    shop.put("seaweed", "d/two", b"")
    assert shop["listed"].backend.fs.ls(shop["listed"].full("d"))
    other: Any = shop["seaweed"]
    other._transport.ask("DELETE", other.full("d/two"))
    with contextlib.closing(open_store(shop.config, "listed")) as again:
        assert again.files("d") == [("one", 1)] and again.find("d/two") is None


@pytest.mark.parametrize("local", ["other_file", "seaweed"])
@pytest.mark.parametrize("size", [1000, 2_000_000, 12_000_000])
def test_a_store_that_goes_away(shop: Shop, local: str, size: int) -> None:
    """Nobody says of the source's object that it is missing, and no other store is made in its place."""
    shop.put("rclone", "a/b c+ü.dat", CONTENT[:size])
    if local == "seaweed":
        files = shop.buckets.local.filesystem()
        files.mkdir("for-a-while")
        shop.config.stores[local] = shop.config.stores[local] | {"bucket": "for-a-while"}
        shop[local].require_there()
        files.rmdir("for-a-while")
    else:
        shop[local].require_there()
        Path(shop[local].full("")).rmdir()
    with pytest.raises(StoreError, match=f"The store '{local}' failed at x/y: nothing can be written there any more"):
        shop.copy("rclone", local, size=size, thorough=False)
    assert local == "seaweed" or not Path(shop[local].full("")).exists()


def test_routes_hide_secrets(buckets: Buckets) -> None:
    assert buckets.source.secret_key not in repr(Route("theirs", "ours", False, buckets.source.store("any")))


def test_a_filesystem_with_errors_of_its_own(shop: Shop) -> None:
    """Whatever goes wrong in a store of another kind is told as any trouble with a store, without signatures."""
    shop.put("file", "a/b c+ü.dat", b"content")
    for source, local in (("nowhere", "file"), ("file", "nowhere")):
        with pytest.raises(StoreError, match=r"The store 'nowhere' failed at \S+.*(\n|.)*127\.0\.0\.1:1"):
            shop.copy(source, local)
    assert stores.shown(ValueError("at https://x.y/z?sig=s3cret%20 no")) == "ValueError: at https://x.y/z?... no"


@pytest.mark.parametrize(("source", "local"), [("seaweed", "file"), ("rclone", "seaweed"), ("file", "other_file")])
def test_another_content_under_the_name(shop: Shop, source: str, local: str) -> None:
    """With as many bytes, where a copy may be of an earlier run: seen where the source tells a digest."""
    for size in (1000, 2_000_000):
        shop.put(source, "a/b c+ü.dat", CONTENT[:size])
        shop.put(local, "x/y", CONTENT[-size:])
        shop.copy(source, local, size=size)
        assert shop.got(local, "x/y") == (CONTENT[-size:] if source == "file" else CONTENT[:size])
