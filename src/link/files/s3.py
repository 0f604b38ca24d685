"""S3, spoken directly: many small objects are a matter of what one request costs.

Requests are signed by botocore, which also finds credentials where none are configured, and go over connections that
each thread keeps. A PUT says the digest of what it brings; the answers' ETags tell it without reading.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.client
import random
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import botocore.session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError

from ..errors import StoreError, UnreachableError
from ..host import StorageBackend
from .objects import HEAD, Inspect, ObjectError
from .stores import BLOCK, SMALL, STALE, Checked, Found, Store, Told

T = TypeVar("T")

#: Objects above this size go in parts of this size; S3 takes at most 10,000 parts and 5 GB at once.
PART = 256 << 20
MOST_PARTS = 10_000
#: Above this size the server copies in parts.
WHOLE_COPY = 5_000_000_000
COPIED_PART = 1 << 30
TRIES = 5
#: A server may take its time to copy within itself.
SECONDS = 300
_PLAIN_MD5 = re.compile("[0-9a-f]{32}")
_UNAVAILABLE = {429, 500, 502, 503, 504}


class Reply(NamedTuple):
    """An answer that has been read."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class _Signer(S3SigV4Auth):
    """Signs everything but the content, which has its MD5 digest with it."""

    def _should_sha256_sign_payload(self, request: Any) -> bool:
        return False


def proxied(backend: StorageBackend) -> bool:
    """Whether the way to a store leads through a proxy, which botocore knows how to use."""
    url = urlsplit(_endpoint(backend))
    return url.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(url.hostname or "")


def _endpoint(backend: StorageBackend) -> str:
    # As DataJoint reads the settings.
    endpoint: str = backend.spec["endpoint"]
    if endpoint.startswith(("http://", "https://")):
        return endpoint.rstrip("/")
    return f"{'https' if backend.spec.get('secure', False) else 'http'}://{endpoint}".rstrip("/")


class S3Store(Store):
    """A bucket, or a folder of it."""

    tells = True

    def __init__(self, name: str, backend: StorageBackend) -> None:
        super().__init__(name, backend)
        session = botocore.session.get_session()
        self._credentials = self._find_credentials(session)
        self._region = str(session.get_config_variable("region") or "us-east-1")
        self.endpoint = _endpoint(backend)
        self._url = urlsplit(self.endpoint)
        self._thread = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def _find_credentials(self, session: Any) -> Any:
        spec = self.backend.spec
        if spec.get("access_key"):
            session.set_credentials(spec["access_key"], spec["secret_key"])
        found = session.get_credentials()
        if found is None:
            raise StoreError(
                f"The store {self.name!r} has no credentials.",
                f"Set access_key and secret_key in dj.config.stores[{self.name!r}], or provide AWS credentials.",
            )
        return found

    # what a store does

    def require_there(self) -> None:
        bucket = self.full("").partition("/")[0]
        if self._patiently(lambda: self._ask("HEAD", bucket)).status == 404:
            raise StoreError(
                f"The store {self.name!r}: there is no bucket {bucket!r} at {self.endpoint}.",
                f"Create it, or correct dj.config.stores[{self.name!r}].",
            )

    def find(self, path: str) -> Found | None:
        reply = self._patiently(lambda: self._ask("HEAD", self.full(path)))
        if reply.status == 404:
            return None
        self._require(reply, path)
        return Found(int(reply.headers["Content-Length"]), _md5_of(reply))

    def files(self, path: str) -> list[tuple[str, int]]:
        bucket, _, prefix = f"{self.full(path).rstrip('/')}/".partition("/")
        found: list[tuple[str, int]] = []
        after = ""
        while True:
            query = f"?list-type=2&prefix={quote(prefix, safe='')}"
            query += f"&continuation-token={quote(after, safe='')}" if after else ""
            reply = self._patiently(lambda query=query: self._ask("GET", bucket, query))  # type: ignore[misc]
            self._require(reply, path)
            page = ElementTree.fromstring(reply.body)
            for item in page.iterfind("{*}Contents"):
                name = (item.findtext("{*}Key") or "")[len(prefix) :]
                if name and not name.endswith("/"):
                    found.append((name, int(item.findtext("{*}Size") or 0)))
            after = page.findtext("{*}NextContinuationToken") or ""
            if page.findtext("{*}IsTruncated") != "true":
                return sorted(found)

    def read(self, path: str, offset: int, length: int, told: Told | None = None) -> Iterator[bytes]:
        end, failures = offset + length, 0
        while offset < end:
            try:
                for block in self._get(path, offset, end, told):
                    offset += len(block)
                    failures = 0
                    yield block
                return
            except (OSError, http.client.HTTPException) as error:
                failures += 1
                self._pause(failures, error)

    def write(self, path: str, content: Checked) -> None:
        if content.size <= SMALL:
            data = content.whole()
            reply = self._patiently(lambda: self._ask("PUT", self.full(path), headers=_digest(content.md5), body=data))
            self._require(reply, path)
        elif content.size > PART:
            self._write_in_parts(path, content)
        elif content.expected:
            self._write_expected(path, content, content.expected)
        else:
            reply = self._patiently(
                lambda: self._ask("PUT", self.full(path), body=content.blocks(), length=content.size)
            )
            self._require(reply, path)
            self._require_same(path, reply, content.md5)

    def _write_expected(self, path: str, content: Checked, md5: str) -> None:
        """Let the server take the digest: it is told beforehand what it must be."""
        reply = self._patiently(
            lambda: self._ask(
                "PUT",
                self.full(path),
                headers=_digest(md5),
                body=content.blocks(receiver_checks=True),
                length=content.size,
            )
        )
        if reply.status == 400 and b"Digest" in reply.body:
            raise ObjectError(f"has another content than was stored: its MD5 is not {md5}")
        self._require(reply, path)
        try:
            self._require_same(path, reply, md5)
        except StoreError:
            self._ask("DELETE", self.full(path))
            raise ObjectError(f"has another content than was stored: its MD5 is not {md5}") from None

    @property
    def place(self) -> tuple[str, ...]:
        return self.endpoint, self.full("").rstrip("/")

    def reaches(self, source: Store) -> bool:
        return isinstance(source, S3Store) and source.endpoint == self.endpoint

    def copy_within(
        self, source: S3Store, source_path: str, path: str, found: Found, inspect: Inspect | None = None
    ) -> bool:
        if inspect:
            inspect(b"".join(source.read(source_path, 0, min(found.size, HEAD))), found.size)
        if found.size > WHOLE_COPY:
            # The ETag of parts does not tell the digest: where that is known, through here.
            return not found.md5 and self._copy_in_parts(source, source_path, path, found.size)
        headers = {"x-amz-copy-source": quote(f"/{source.full(source_path)}")}
        if found.md5:
            headers["x-amz-copy-source-if-match"] = f'"{found.md5}"'
        reply = self._patiently(lambda: self._ask("PUT", self.full(path), headers=headers))
        if reply.status == 200 and b"<Error>" not in reply.body:
            etag = (ElementTree.fromstring(reply.body).findtext("{*}ETag") or "").strip('"')
            copy = None if found.md5 else self.find(path)
            if (found.md5 and etag == found.md5) or (copy and copy.size == found.size):
                return True
            self._ask("DELETE", self.full(path))  # not every server knows the condition
        # Changed, forbidden to these credentials, or not known to this server: through here.
        return False

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    # parts

    def _write_in_parts(self, path: str, content: Checked) -> None:
        size = max(PART, -(-content.size // MOST_PARTS))
        digests: list[bytes] = []

        def part(upload: str, number: int) -> str:
            offset = (number - 1) * size
            etag, digest = self._put_part(path, f"?partNumber={number}&uploadId={upload}", content, offset, size)
            digests.append(digest)
            return etag

        self._in_parts(path, -(-content.size // size), part)
        joined = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
        reply = self._patiently(lambda: self._ask("HEAD", self.full(path)))
        if _etag(reply) != f"{joined}-{len(digests)}" and self.md5(path) != content.md5:
            raise StoreError(f"The store {self.name!r} has not kept what was written to {path}.")

    def _put_part(self, path: str, query: str, content: Checked, offset: int, size: int) -> tuple[str, bytes]:
        digest = hashlib.md5(usedforsecurity=False)

        def blocks() -> Iterator[bytes]:
            nonlocal digest
            digest = hashlib.md5(usedforsecurity=False)
            for block in content.blocks(offset, size):
                digest.update(block)
                yield block

        length = min(size, content.size - offset)
        reply = self._patiently(lambda: self._ask("PUT", self.full(path), query, body=blocks(), length=length))
        self._require(reply, path)
        return _etag(reply), digest.digest()

    def _copy_in_parts(self, source: S3Store, source_path: str, path: str, size: int) -> bool:
        origin = quote(f"/{source.full(source_path)}")

        def part(upload: str, number: int) -> str:
            start = (number - 1) * COPIED_PART
            span = f"bytes={start}-{min(size, start + COPIED_PART) - 1}"
            headers = {"x-amz-copy-source": origin, "x-amz-copy-source-range": span}
            query = f"?partNumber={number}&uploadId={upload}"
            reply = self._patiently(lambda: self._ask("PUT", self.full(path), query, headers=headers))
            self._require(reply, path)
            return (ElementTree.fromstring(reply.body).findtext("{*}ETag") or "").strip('"')

        self._in_parts(path, -(-size // COPIED_PART), part)
        copy = self.find(path)
        return copy is not None and copy.size == size

    def _in_parts(self, path: str, count: int, part: Callable[[str, int], str]) -> None:
        """Upload in parts: nothing is seen of it before the last request."""
        self._abort_stale(self.full(path))
        reply = self._patiently(lambda: self._ask("POST", self.full(path), "?uploads="))
        self._require(reply, path)
        upload = quote(ElementTree.fromstring(reply.body).findtext("{*}UploadId") or "", safe="")
        try:
            etags = [part(upload, number) for number in range(1, count + 1)]
        except BaseException:
            self._ask("DELETE", self.full(path), f"?uploadId={upload}")
            raise
        parts = "".join(
            f'<Part><PartNumber>{number}</PartNumber><ETag>"{etag}"</ETag></Part>'
            for number, etag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        reply = self._patiently(lambda: self._ask("POST", self.full(path), f"?uploadId={upload}", body=body))
        if b"<Error>" in reply.body:
            raise StoreError(f"The store {self.name!r} failed at {path}: {_said(reply)}")
        self._require(reply, path)

    def _abort_stale(self, full: str) -> None:
        """Let go of parts that a process has left which was killed: they are not seen, but they cost."""
        bucket, _, key = full.partition("/")
        reply = self._patiently(lambda: self._ask("GET", bucket, f"?uploads=&prefix={quote(key, safe='')}"))
        for upload in ElementTree.fromstring(reply.body).iterfind("{*}Upload") if reply.status == 200 else ():
            begun = datetime.datetime.fromisoformat((upload.findtext("{*}Initiated") or "").replace("Z", "+00:00"))
            age = datetime.datetime.now(datetime.timezone.utc) - begun
            if upload.findtext("{*}Key") == key and age.total_seconds() > STALE:
                self._ask("DELETE", full, f"?uploadId={quote(upload.findtext('{*}UploadId') or '', safe='')}")

    def _require_same(self, path: str, reply: Reply, md5: str) -> None:
        # With encryption by keys of one's own the ETag is no digest.
        if _etag(reply) != md5 and self.md5(path) != md5:
            raise StoreError(f"The store {self.name!r} has not kept what was written to {path}.")

    # requests

    def _get(self, path: str, offset: int, end: int, told: Told | None) -> Iterator[bytes]:
        response = self._send("GET", self.full(path), headers={"Range": f"bytes={offset}-{end - 1}"})
        try:
            if response.status == 404:
                raise FileNotFoundError(path)
            if response.status not in (200, 206, 416):
                self._require(Reply(response.status, response.headers, response.read()), path)
            found = _told(Reply(response.status, response.headers, b""))
            if told:
                told(found)
            # What is shorter than it should be ends earlier, and who reads it notices.
            end = min(end, found.size)
            if offset >= end:
                response.read()
                return
            if offset and response.headers.get("Content-Length") != str(end - offset):
                raise StoreError(f"The store {self.name!r} does not give parts of objects.")
            left = end - offset
            while left > 0 and (block := response.read(min(BLOCK, left))):
                left -= len(block)
                yield block
            if left:
                raise ConnectionError(f"{left:,} bytes of {path} are missing")
            response.read()
        finally:
            if not response.isclosed():
                self._drop()

    def _ask(
        self,
        method: str,
        full: str,
        query: str = "",
        headers: dict[str, str] | None = None,
        body: bytes | Iterable[bytes] = b"",
        length: int | None = None,
    ) -> Reply:
        response = self._send(method, full, query, headers or {}, body, length)
        reply = Reply(response.status, response.headers, response.read())
        region = reply.headers.get("x-amz-bucket-region")
        if reply.status in (301, 307, 400) and region and region != self._region:
            self._move_to(region)
            raise ConnectionError(f"the bucket is in the region {region}")
        if reply.status in _UNAVAILABLE:
            raise ConnectionError(f"{reply.status} {_said(reply)}")
        return reply

    def _send(
        self,
        method: str,
        full: str,
        query: str = "",
        headers: dict[str, str] | None = None,
        body: bytes | Iterable[bytes] = b"",
        length: int | None = None,
    ) -> http.client.HTTPResponse:
        target = f"{self._url.path}/{quote(full, safe='/~')}"
        if method in ("PUT", "POST"):
            headers = {**(headers or {}), "Content-Length": str(len(body) if isinstance(body, bytes) else length)}
        request = AWSRequest(method, f"{self._url.scheme}://{self._url.netloc}{target}{query}", headers=headers)
        try:
            signer: Any = cast(Any, _Signer)(self._credentials.get_frozen_credentials(), "s3", self._region)
            signer.add_auth(request)
        except BotoCoreError as error:
            raise StoreError(f"The store {self.name!r}: {error}") from error
        connection = self._connection()
        try:
            connection.request(method, target + query, body=body or None, headers=dict(request.headers.items()))
            return connection.getresponse()
        except BaseException:
            self._drop()
            raise

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._thread, "connection", None)
        if connection is None:
            host, port = self._url.hostname or "", self._url.port
            if self._url.scheme == "https":
                context = ssl.create_default_context()
                connection = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)
            else:
                connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
            self._thread.connection = connection
            self._connections.append(connection)
        return connection

    def _drop(self) -> None:
        """Begin anew with the next request."""
        if connection := getattr(self._thread, "connection", None):
            connection.close()

    def _move_to(self, region: str) -> None:
        self._region = region
        if re.fullmatch(r"s3[.\w-]*\.amazonaws\.com", self._url.netloc):
            self._url = self._url._replace(netloc=f"s3.{region}.amazonaws.com")
            self._thread = threading.local()

    def _patiently(self, request: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return request()
            except FileNotFoundError:
                raise
            except (OSError, http.client.HTTPException) as error:
                failures += 1
                self._pause(failures, error)

    def _pause(self, failures: int, error: Exception) -> None:
        if isinstance(error, FileNotFoundError):
            raise error
        if failures >= TRIES:
            raise UnreachableError(
                f"Lost or could not make the connection to the store {self.name!r} at {self.endpoint}: {error}",
                "Check that it runs and can be reached from here, then run the same again: it goes on.",
            ) from error
        # The first failure may only mean that the server has closed an idle connection.
        time.sleep(0 if failures == 1 else random.uniform(0.5, 1) * 0.2 * 2**failures)

    def _require(self, reply: Reply, path: str) -> None:
        if reply.status == 404:
            raise FileNotFoundError(path)
        if reply.status in (401, 403):
            raise PermissionError(_said(reply))
        if reply.status not in (200, 204, 206):
            raise StoreError(f"The store {self.name!r} at {self.endpoint} refused {path}: {_said(reply)}")


def _digest(md5: str) -> dict[str, str]:
    return {"Content-MD5": base64.b64encode(bytes.fromhex(md5)).decode()}


def _etag(reply: Reply) -> str:
    return str(reply.headers.get("ETag") or "").strip('"')


def _md5_of(reply: Reply) -> str | None:
    """The digest, as far as an ETag is one."""
    encrypted = "aws:kms" in str(reply.headers.get("x-amz-server-side-encryption"))
    etag = _etag(reply)
    return etag if _PLAIN_MD5.fullmatch(etag) and not encrypted else None


def _told(reply: Reply) -> Found:
    """The whole object's size and digest, of a reply that has a part of it."""
    whole = str(reply.headers.get("Content-Range") or "").rpartition("/")[2]
    if not whole.isdecimal():  # all of it was sent, or it is empty and has no such part
        whole = "0" if reply.status == 416 else reply.headers["Content-Length"]
    return Found(int(whole), _md5_of(reply))


def _said(reply: Reply) -> str:
    text = reply.body.decode(errors="replace")
    code, message = (re.search(f"<{tag}>(.*?)</{tag}>", text) for tag in ("Code", "Message"))
    return " ".join([str(reply.status), *(found[1] for found in (code, message) if found)])
