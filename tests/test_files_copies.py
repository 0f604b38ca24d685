"""Single objects between stores of every kind: in parts, within one server, over lines that break, damaged."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from buckets import Account, Buckets
from datajoint import storage_adapter
from datajoint.settings import Config
from datajoint.storage_adapter import StorageAdapter
from fsspec.implementations.memory import MemoryFileSystem
from proxy import Proxy

from link import LinkError, StoreError, UnreachableError
from link.files import s3, s3_transport, stores
from link.files.copying import Copier
from link.files.objects import Move, ObjectError
from link.files.opening import OpenStores, open_store
from link.files.routes import Route
from link.files.stores import Found, Store


class _Memory(StorageAdapter):
    """A kind of store that only its adapter knows."""

    protocol = "memory"

    def create_filesystem(self, spec: dict[str, Any]) -> fsspec.AbstractFileSystem:
        return MemoryFileSystem()


class Shop:
    """Stores of every kind by their names, opened once."""

    def __init__(self, folder: Path, buckets: Buckets) -> None:
        self.config = Config()
        self.buckets = buckets
        for account in (buckets.source, buckets.local):
            with contextlib.suppress(FileExistsError):
                account.filesystem().mkdir("copies")
        for name in ("file", "other_file"):
            (folder / name).mkdir()
            self.config.stores[name] = {"protocol": "file", "location": str(folder / name)}
        self.config.stores |= {
            "rclone": buckets.source.store("copies", folder.name),
            "other_rclone": buckets.source.store("copies", f"{folder.name}/other"),
            "seaweed": buckets.local.store("copies", folder.name),
            "other_seaweed": buckets.local.store("copies", f"{folder.name}/other"),
            "memory": {"protocol": "memory", "location": f"/{folder.name}"},
        }
        self._open: dict[str, Store] = {}

    def __getitem__(self, name: str) -> Store:
        if name not in self._open:
            self._open[name] = open_store(self.config, name)
        return self._open[name]

    def put(self, name: str, path: str, content: bytes) -> None:
        """Store something without the package."""
        self[name].backend.remove(path)
        self[name].backend.put_buffer(content, path)

    def got(self, name: str, path: str) -> bytes:
        """What DataJoint reads."""
        self[name].backend.fs.invalidate_cache()
        return bytes(self[name].backend.get_buffer(path))

    def copy(self, source: str, local: str, **facts: Any) -> Move:
        """Copy the object `a/b c+ü.dat` to `x/y`."""
        thorough = facts.pop("thorough", True)
        move = Move(Route(source, local, False, {}), "a/b c+ü.dat", "x/y", **facts)
        return Copier(self[source], self[local], lambda number: None, thorough).carry(move)

    def close(self) -> None:
        """Close what was opened."""
        for store in self._open.values():
            store.close()


@pytest.fixture
def shop(tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Stores; what is small, and what goes in parts, is small enough for tests."""
    monkeypatch.setitem(storage_adapter._adapter_registry, "memory", _Memory())
    monkeypatch.setattr(stores, "BLOCK", 100_000)
    monkeypatch.setattr(s3, "BLOCK", 100_000)
    for module in (stores, s3):
        monkeypatch.setattr(module, "SMALL", 300_000)
    # The smallest that S3 allows.
    monkeypatch.setattr(s3, "PART", 5 << 20)
    monkeypatch.setattr(s3, "COPIED_PART", 5 << 20)
    made = Shop(tmp_path, buckets)
    yield made
    made.close()


CONTENT = random.Random(1).randbytes(12_000_000)
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
    staging = Path(shop.config.stores["file"]["location"]) / stores.STAGING
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
