"""Requests to an S3 server: signed, over connections that are kept, directly or through a proxy, patiently.

botocore signs them, and has credentials, region and authority where its own settings have them; urllib3 keeps the
connections, for all threads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

import botocore.session
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_any,
    stop_when_event_set,
    wait_chain,
    wait_none,
    wait_random_exponential,
)
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from ..errors import EncryptionError, StoreError, UnreachableError

logger = logging.getLogger("link")
T = TypeVar("T")

TRIES = 5
#: Seconds to wait for a connection, for what is read, and for the answer to what is written: a server may take its time
#: to copy within itself.
CONNECTING, READING, WRITING = 20, 60, 300
#: More of them at once are made, and not kept.
KEPT = 256
_PORTS = {"http": 80, "https": 443}
_UNAVAILABLE = {429, 500, 502, 503, 504}
_PROXY_ASKS = 407
#: urllib3 is not to try again: it knows nothing of what was sent.
_ONCE = Retry(False)


class Reply(NamedTuple):
    """An answer that has been read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Signer(S3SigV4Auth):
    """Signs everything but the content, which has its MD5 digest with it."""

    def _should_sha256_sign_payload(self, request: Any) -> bool:
        return False


class Transport:
    """The way to one S3 server.

    Parameters
    ----------
    name : str
        The store's name in the settings, for errors.
    spec : mapping
        Its settings: ``endpoint`` and ``secure``, ``access_key`` and ``secret_key``, ``proxy_server``.

    Raises
    ------
    StoreError
        There are no credentials, or what the settings or the environment name cannot be used.
    """

    def __init__(self, name: str, spec: Mapping[str, Any]) -> None:
        self._name, self.endpoint = name, _endpoint(spec)
        try:
            session = botocore.session.get_session()
            if spec.get("access_key"):
                session.set_credentials(spec["access_key"], spec["secret_key"])
            self._credentials = session.get_credentials()
            self._region = str(session.get_config_variable("region") or "us-east-1")
            self._url = urlsplit(self.endpoint)
            self._proxy = _proxy_for(self._url, spec)
            # As botocore looks for them; else those of the system.
            self._authorities = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
            self._manager = self._connect()
            self._reach()
        except (BotoCoreError, OSError, HTTPError, ValueError) as error:
            raise StoreError(
                f"The way to the store {name!r} at {self.endpoint} cannot be prepared: {error}",
                f"Look at dj.config.stores[{name!r}], the settings of AWS (AWS_CA_BUNDLE, AWS_PROFILE, ~/.aws), and "
                "https_proxy or http_proxy.",
            ) from error
        if self._credentials is None:
            raise StoreError(
                f"The store {name!r} has no credentials.",
                f"Set access_key and secret_key in dj.config.stores[{name!r}], or provide AWS credentials.",
            )
        self._stopped = threading.Event()
        self._retrying = Retrying(
            sleep=sleep_using_event(self._stopped),
            retry=retry_if_exception_type(ConnectionError),
            # The first failure may only mean that the server has closed an idle connection.
            wait=wait_chain(wait_none(), wait_random_exponential(multiplier=0.4, max=10)),
            stop=stop_any(stop_after_attempt(TRIES), stop_when_event_set(self._stopped)),
            before_sleep=before_sleep_log(logger, logging.DEBUG),
            reraise=True,
        )

    def stop(self) -> None:
        """Ask nothing again, from now on: nobody waits for it any more."""
        self._stopped.set()

    def close(self) -> None:
        """Let go of all connections."""
        self._manager.clear()

    def patiently(self, request: Callable[[], T]) -> T:
        """What a function returns that makes a request, which is repeated where the connection was lost.

        Raises
        ------
        UnreachableError
            It was lost again and again.
        """
        try:
            return self._retrying(request)
        except ConnectionError as error:
            raise UnreachableError(
                f"Lost or could not make the connection to the store {self._name!r} at {self._place}: {error}",
                "Check that it runs and can be reached from here, then run the same again: it goes on.",
            ) from error

    def ask(
        self,
        method: str,
        full: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | Callable[[], Iterable[bytes]] = b"",
        length: int | None = None,
    ) -> Reply:
        """The answer to a request, whole; what it sends is asked for anew each time that it is repeated.

        Raises
        ------
        UnreachableError
            There was none, again and again.
        """
        return self.patiently(lambda: self.read(self.send(method, full, query, headers, body, length)))

    def read(self, response: urllib3.BaseHTTPResponse) -> Reply:
        """All of a response.

        Raises
        ------
        ConnectionError
            It is none that will last: asked again, there may be another.
        """
        with self.translated():
            reply = Reply(response.status, response.headers, response.read(decode_content=False))
        region = reply.headers.get("x-amz-bucket-region")
        if reply.status in (301, 307, 400) and region and region != self._region:
            self._move_to(region)
            raise ConnectionError(f"the bucket is in the region {region}")
        if reply.status in _UNAVAILABLE or (reply.status == 400 and b"<Code>RequestTimeout</Code>" in reply.body):
            raise ConnectionError(said(reply))
        if reply.status == _PROXY_ASKS and self._proxy:
            raise self._refused()
        return reply

    def send(
        self,
        method: str,
        full: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | Callable[[], Iterable[bytes]] = b"",
        length: int | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The beginning of the answer to one request: its content is still to be read, or the response closed.

        Raises
        ------
        ConnectionError
            There is none.
        """
        target = f"{self._url.path}/{quote(full, safe='/~')}{query}"
        asked = {"Host": self._host, **(headers or {})}
        if method in ("PUT", "POST"):
            asked["Content-Length"] = str(len(body) if isinstance(body, bytes) else length)
        request = AWSRequest(method, f"{self._url.scheme}://{self._host}{target}", headers=asked)
        try:
            signer: Any = cast(Any, _Signer)(self._credentials.get_frozen_credentials(), "s3", self._region)
            signer.add_auth(request)
        except BotoCoreError as error:
            raise StoreError(f"The store {self._name!r}: {error}") from error
        seconds = WRITING if method in ("PUT", "POST") else READING
        with self.translated():
            return self._pool.urlopen(
                method,
                # A proxy that does not see what is asked is asked for a tunnel; else it has to be told where.
                f"http://{self._host}{target}" if self._proxy and self._url.scheme == "http" else target,
                (body if isinstance(body, bytes) else body()) or None,
                dict(request.headers.items()),
                retries=_ONCE,
                timeout=urllib3.Timeout(connect=CONNECTING, read=seconds),
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Make ConnectionError, or an error of ours, of those of urllib3."""
        try:
            yield
        except HTTPError as error:
            cause = _cause(error)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise EncryptionError(
                    f"The store {self._name!r} at {self._place} has a certificate that is not trusted here: "
                    f"{cause.verify_message}.",
                    "Name the file with the certificate of its authority in AWS_CA_BUNDLE, or as ca_bundle in "
                    "~/.aws/config.",
                ) from error
            if self._proxy and f" {_PROXY_ASKS} " in str(cause):
                raise self._refused() from error
            raise ConnectionError(str(cause) or type(cause).__name__) from error

    def _refused(self) -> UnreachableError:
        return UnreachableError(
            f"The proxy on the way to the store {self._name!r} wants to know who asks: {self._place}.",
            f"Give name and password in {self._url.scheme}_proxy, as http://name:password@host:port.",
        )

    @property
    def _place(self) -> str:
        return self.endpoint + (f" (through the proxy {_server(self._proxy)})" if self._proxy else "")

    def _connect(self) -> urllib3.PoolManager:
        settings: dict[str, Any] = {"maxsize": KEPT}
        if "https" in (self._url.scheme, self._proxy.scheme if self._proxy else ""):
            settings["ssl_context"] = _trusting(self._authorities)
        if not self._proxy:
            return urllib3.PoolManager(**settings)
        account = f"{unquote(self._proxy.username or '')}:{unquote(self._proxy.password or '')}"
        return urllib3.ProxyManager(
            f"{self._proxy.scheme}://{_server(self._proxy)}",
            proxy_headers=urllib3.make_headers(proxy_basic_auth=account) if self._proxy.username else None,
            proxy_ssl_context=settings.get("ssl_context"),
            **settings,
        )

    def _reach(self) -> None:
        host, port = self._url.hostname or "", self._url.port
        self._host = f"[{host}]" if ":" in host else host
        if port not in (None, _PORTS[self._url.scheme]):
            self._host += f":{port}"
        self._pool = self._manager.connection_from_host(host, port, self._url.scheme)

    def _move_to(self, region: str) -> None:
        self._region = region
        if re.fullmatch(r"s3[.\w-]*\.amazonaws\.com", self._url.netloc):
            self._url = self._url._replace(netloc=f"s3.{region}.amazonaws.com")
            self._reach()


def said(reply: Reply) -> str:
    """What a server says of what it refuses."""
    text = reply.body.decode(errors="replace")
    code, message = (re.search(f"<{tag}>(.*?)</{tag}>", text) for tag in ("Code", "Message"))
    return " ".join([str(reply.status), *(found[1] for found in (code, message) if found)])


def _endpoint(spec: Mapping[str, Any]) -> str:
    # As DataJoint reads the settings.
    endpoint: str = spec["endpoint"]
    if endpoint.startswith(("http://", "https://")):
        return endpoint.rstrip("/")
    return f"{'https' if spec.get('secure', False) else 'http'}://{endpoint}".rstrip("/")


def _proxy_for(url: SplitResult, spec: Mapping[str, Any]) -> SplitResult | None:
    """The proxy on the way to a server, if there is one: that of the settings, else that of the environment."""
    proxy = spec.get("proxy_server")
    if not proxy and not urllib.request.proxy_bypass(url.netloc):
        proxy = urllib.request.getproxies().get(url.scheme)
    if not proxy:
        return None
    try:
        found = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        if found.hostname and found.port != 0:
            return found
    except ValueError:
        pass  # what it says may be a part of a password
    raise ValueError(
        "the proxy is no http://host:port or http://name:password@host:port (for a / write %2F, for an @ %40)"
    )


def _server(url: SplitResult) -> str:
    return url.netloc.rpartition("@")[2]


def _trusting(authorities: str | None) -> ssl.SSLContext:
    try:
        if authorities and Path(authorities).is_dir():
            return ssl.create_default_context(capath=authorities)
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:  # it does not say which
        raise ValueError(f"{authorities}: {error.strerror or error}") from error


def _cause(error: BaseException) -> BaseException:
    """What an error is about that others have been wrapped around."""
    inner = next((given for given in error.args if isinstance(given, BaseException)), error.__cause__)
    return _cause(inner) if inner else error
