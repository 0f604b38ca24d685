"""The way to an S3 server: through proxies, by certificates of one's own authority, and by servers that put off."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import Account, Buckets
from certificates import Authority
from datajoint.settings import Config
from proxy import ForwardProxy

from link import StoreError, UnreachableError
from link.errors import EncryptionError
from link.files import any_store, s3, s3_transport, stores
from link.files.carriers import Carriers
from link.files.copying import Copier
from link.files.objects import Move
from link.files.opening import open_store
from link.files.routes import Route
from link.files.stores import Store
from link.model.results import PullResult

#: A host that only the proxy finds: what arrives there has come through it.
HOST = "s3.lab-a.test"
CONTENT = random.Random(1).randbytes(7_000_000)
PATH = "a/b c+ü.dat"
ACCOUNT = "someone:p%40ss%2Fword"
Forward = Callable[..., ForwardProxy]


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither proxies nor settings of this machine, and objects of all sizes that differ in how they go."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    for module in (stores, s3, any_store):
        monkeypatch.setattr(module, "SMALL", 300_000)
    monkeypatch.setattr(s3, "PART", 5 << 20)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def encrypted(buckets: Buckets, authority: Authority) -> Account:
    """A server with a certificate of the tests' own authority."""
    return buckets.encrypted(*authority.issue(HOST, "127.0.0.1"))


@pytest.fixture
def forward(buckets: Buckets, encrypted: Account) -> Iterator[Forward]:
    """Makes proxies, which know where the servers are."""
    made: list[ForwardProxy] = []

    def make(**given: Any) -> ForwardProxy:
        servers = (buckets.local, encrypted)
        made.append(ForwardProxy({f"{HOST}:{server.port}": server.port for server in servers}, **given))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path) -> Path:
    """The file with the authority's certificate."""
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    return tmp_path / "ca.pem"


def there(account: Account, name: str, **settings: Any) -> dict[str, Any]:
    """A store on a server by the name that only the proxy knows."""
    return account.store("any", name, endpoint=f"{HOST}:{account.port}", **settings)


def there_and_back(store: dict[str, Any], folder: Path) -> None:
    """Objects of every size: to the store and, with all that is asked of it, back."""
    config = Config()
    config.stores["far"] = store
    for name in ("file", "back"):
        (folder / name).mkdir()
        config.stores[name] = {"protocol": "file", "location": str(folder / name)}
    opened = {name: open_store(config, name) for name in config.stores}
    opened["far"].require_there()
    for size in (0, 1000, 2_000_000, len(CONTENT)):
        (folder / "file" / "a").mkdir(exist_ok=True)
        (folder / "file" / PATH).write_bytes(CONTENT[:size])
        carry(opened["file"], opened["far"], PATH, f"{size}/{PATH}")
        carry(opened["far"], opened["back"], f"{size}/{PATH}", f"{size}")
        assert (folder / "back" / f"{size}").read_bytes() == CONTENT[:size]
    assert [size for _, size in opened["far"].files("1000")] == [1000]
    assert opened["far"].find("nothing") is None
    for one in opened.values():
        one.close()


def carry(source: Store, local: Store, path: str, to: str) -> None:
    Copier(source, local, lambda number: None, True).carry(Move(Route("", "", False, {}), path, to))


@pytest.mark.parametrize("account", [None, ACCOUNT], ids=["anybody", "account"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_proxy(
    scheme: str,
    account: str | None,
    buckets: Buckets,
    encrypted: Account,
    forward: Forward,
    trusted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = forward(account=account and "someone:p@ss/word")
    monkeypatch.setenv(f"{scheme}_proxy", f"http://{account + '@' if account else ''}127.0.0.1:{proxy.port}")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted))
    server = encrypted if scheme == "https" else buckets.local
    there_and_back(there(server, tmp_path.name, secure=scheme == "https"), tmp_path)
    assert {line.split(" ")[0] for line in proxy.asked} == (
        {"CONNECT"} if scheme == "https" else {"HEAD", "GET", "PUT", "POST"}
    )


def test_the_proxy_of_a_store(buckets: Buckets, forward: Forward, tmp_path: Path) -> None:
    """Its settings name one, as DataJoint lets them."""
    store = there(buckets.local, tmp_path.name, proxy_server=f"127.0.0.1:{forward().port}")
    there_and_back(store, tmp_path)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_to_know_who_asks(
    scheme: str, buckets: Buckets, encrypted: Account, forward: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once, and the error has no password."""
    proxy = forward(account="someone:p@ss/word")
    monkeypatch.setenv(f"{scheme}_proxy", f"http://someone:wrong@127.0.0.1:{proxy.port}")
    store = there(encrypted if scheme == "https" else buckets.local, "x", secure=scheme == "https")
    with pytest.raises(UnreachableError, match=rf"(?s)who asks: .*127.0.0.1:{proxy.port}.*{scheme}_proxy") as error:
        opened(store).find("x")
    assert "wrong" not in str(error.value) and len(proxy.asked) == 1


def test_past_a_proxy(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no_proxy names is asked directly; a proxy that is not there is named."""
    monkeypatch.setattr(s3_transport, "TRIES", 2)
    monkeypatch.setenv("HTTP_PROXY", "http://someone:p4ssw0rd@127.0.0.1:9")
    with pytest.raises(UnreachableError, match=r"(?s)through the proxy 127.0.0.1:9.*refused") as error:
        opened(buckets.local.store("any")).find("x")
    assert "p4ssw0rd" not in str(error.value)
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    assert opened(buckets.local.store("any")).find("x") is None


def opened(store: dict[str, Any]) -> Store:
    """A store of these settings, on its own."""
    config = Config()
    config.stores["far"] = store
    return open_store(config, "far")


@pytest.mark.parametrize("named", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle"])
def test_an_authority_of_ones_own(
    named: str, encrypted: Account, trusted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for where other programs for S3 look; without it the server is not believed, nor asked twice."""
    store = encrypted.store("any", tmp_path.name, secure=True)
    far = opened(store)
    with pytest.raises(EncryptionError, match=r"(?s)not trusted here.*AWS_CA_BUNDLE"):
        far.find("x")
    far.close()
    if named == "ca_bundle":
        (tmp_path / "aws").write_text(f"[default]\nca_bundle = {trusted}\n")
    else:
        monkeypatch.setenv(named, str(trusted))
    there_and_back(store, tmp_path)
    trusted.unlink()
    with pytest.raises(StoreError, match=str(trusted)):
        opened(store)


def test_a_certificate_for_another_name(
    encrypted: Account, trusted: Path, forward: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted))
    with pytest.raises(EncryptionError, match="localhost"):
        opened(encrypted.store("any", secure=True, endpoint=f"localhost:{encrypted.port}")).find("x")


@pytest.mark.parametrize(
    ("said", "methods"), [("503 SlowDown", {"HEAD", "GET", "PUT", "POST"}), ("400 RequestTimeout", {"PUT"})]
)
def test_a_server_that_puts_off(
    buckets: Buckets, forward: Forward, tmp_path: Path, said: str, methods: set[str]
) -> None:
    """Whatever was asked is asked again, also what was being written, and read."""
    put_off: set[str] = set()

    def answer(head: str) -> bytes | None:
        asked = " ".join(head.split("?")[0].split(" ")[:2])
        if asked in put_off or asked.split(" ")[0] not in methods:
            return None
        put_off.add(asked)
        status, code = said.encode().split()
        body = b"<Error><Code>%b</Code></Error>" % code
        first = b"HTTP/1.1 %b No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        return first + body

    store = there(buckets.local, tmp_path.name, proxy_server=f"127.0.0.1:{forward(answer=answer).port}")
    there_and_back(store, tmp_path)
    assert {line.split(" ")[0] for line in put_off} == methods


def test_a_bucket_in_another_region(buckets: Buckets, forward: Forward, tmp_path: Path) -> None:
    """Where it is told, all is signed for it from then on."""
    wrong: list[str] = []

    def answer(head: str) -> bytes | None:
        if "/eu-central-1/s3/" in head:
            return None
        wrong.append(head)
        told = b"HTTP/1.1 301 Moved Permanently\r\nx-amz-bucket-region: eu-central-1\r\n"
        return told + b"Connection: close\r\nContent-Length: 0\r\n\r\n"

    store = there(buckets.local, tmp_path.name, proxy_server=f"127.0.0.1:{forward(answer=answer).port}")
    there_and_back(store, tmp_path)
    assert len(wrong) == 1


def test_a_server_that_is_always_busy(buckets: Buckets, forward: Forward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_transport, "TRIES", 2)
    answer = b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    proxy = forward(answer=lambda head: answer)
    store = there(buckets.local, "x", proxy_server=f"127.0.0.1:{proxy.port}")
    with pytest.raises(UnreachableError, match="503"):
        opened(store).find("x")
    assert len(proxy.asked) == 2


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("AWS_PROFILE", "nobody", "nobody"),
        ("http_proxy", "http://someone:p4ss/word@127.0.0.1:3128", "no http://host:port"),
        ("http_proxy", "socks5://127.0.0.1:1080", "socks5"),
        ("endpoint", "127.0.0.1:port", "port"),
    ],
)
def test_what_cannot_be_used_is_told_at_once(
    name: str, value: str, complaint: str, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = buckets.local.store("any")
    if name == "endpoint":
        store[name] = value
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match=rf"(?s)store 'far'.*{complaint}") as error:
        opened(store)
    assert "p4ss" not in str(error.value)


def test_a_server_that_says_nothing(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who interrupts a pull then need not wait until all has been asked again."""
    monkeypatch.setattr(s3_transport, "TRIES", 1000)
    monkeypatch.setattr(s3_transport, "READING", 1)
    config = Config()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        config.stores["deaf"] = buckets.local.store("any", endpoint=f"127.0.0.1:{deaf.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt), Carriers(config, "", 2, PullResult(), False) as carriers:
            asked = carriers.pool.submit(lambda: carriers.stores.find("deaf"))
            time.sleep(3)
            assert not asked.done()
            raise KeyboardInterrupt
        assert isinstance(asked.exception(), UnreachableError) and time.monotonic() - started < 10
