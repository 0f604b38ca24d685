"""S3, spoken directly: many small objects are a matter of what one request costs.

A PUT says the digest of what it brings; the answers' ETags tell it without reading.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote
from xml.etree import ElementTree

from ..errors import StoreError, UnreachableError
from ..host import StorageBackend
from .objects import HEAD, Inspect, MissingError, ObjectError
from .s3_transport import Reply, Transport, said
from .stores import BLOCK, SMALL, STALE, Checked, Found, Store, Taken, Told, require_version

#: Objects above this size go in parts of this size; S3 takes at most 10,000 parts and 5 GB at once.
PART = 256 << 20
MOST_PARTS = 10_000
#: Above this size the server copies in parts.
WHOLE_COPY = 5_000_000_000
COPIED_PART = 1 << 30
#: What asks that nothing has the name yet, and the answers where something has, or is just getting it.
_NEW = {"If-None-Match": "*"}
_NONE: dict[str, str] = {}
_TAKEN = (409, 412)
_PLAIN_MD5 = re.compile("[0-9a-f]{32}")


class S3Store(Store):
    """A bucket, or a folder of it."""

    tells = True

    def __init__(self, name: str, backend: StorageBackend) -> None:
        super().__init__(name, backend)
        self._transport = Transport(name, backend.spec)

    # what a store does

    def require_there(self) -> None:
        bucket = self.full("").partition("/")[0]
        if self._transport.ask("HEAD", bucket).status == 404:
            raise StoreError(
                f"The store {self.name!r}: there is no bucket {bucket!r} at {self._transport.endpoint}.",
                f"Create it, or correct dj.config.stores[{self.name!r}].",
            )

    def find(self, path: str) -> Found | None:
        reply = self._transport.ask("HEAD", self.full(path))
        if reply.status == 404:
            return None
        self._require(reply, path)
        return self._found(reply, path, reply.headers.get("Content-Length"))

    def files(self, path: str) -> list[tuple[str, int]]:
        bucket, _, prefix = f"{self.full(path).rstrip('/')}/".partition("/")
        found: list[tuple[str, int]] = []
        after = ""
        while True:
            query = f"?list-type=2&prefix={quote(prefix, safe='')}"
            query += f"&continuation-token={quote(after, safe='')}" if after else ""
            reply = self._transport.ask("GET", bucket, query)
            self._require(reply, path)
            page = self._said_of(reply, path)
            for item in page.iterfind("{*}Contents"):
                name = (item.findtext("{*}Key") or "")[len(prefix) :]
                if name and not name.endswith("/"):
                    found.append((name, int(item.findtext("{*}Size") or 0)))
            after = page.findtext("{*}NextContinuationToken") or ""
            if page.findtext("{*}IsTruncated") != "true":
                return sorted(found)

    def read(self, path: str, offset: int, length: int, told: Told | None = None) -> Iterator[bytes]:
        end = offset + length
        blocks: Generator[bytes, None, None] | None = None
        version: str | None = None

        def hear(found: Found) -> None:
            nonlocal version
            version = require_version(found, version)
            if told:
                told(found)

        def block() -> bytes | None:
            nonlocal blocks
            blocks = blocks or self._get(path, offset, end, hear)
            try:
                return next(blocks, None)
            except ConnectionError:
                blocks = None  # from here on, anew
                raise

        try:
            while offset < end and (data := self._transport.patiently(block)) is not None:
                offset += len(data)
                yield data
        finally:
            if blocks:
                blocks.close()

    def write(self, path: str, content: Checked, new: bool = False) -> None:
        if content.size <= SMALL:
            data = content.whole()
            self._require(self._put(path, new, data, headers=_digest(content.md5)), path)
        elif content.size > PART:
            self._write_in_parts(path, content, new)
        elif content.expected:
            self._write_expected(path, content, content.expected, new)
        else:
            reply = self._put(path, new, content.blocks, content.size)
            self._require(reply, path)
            self._require_same(path, reply, content.md5)

    def _put(
        self,
        path: str,
        new: bool,
        body: bytes | Callable[[], Iterable[bytes]],
        length: int | None = None,
        headers: Mapping[str, str] = _NONE,
    ) -> Reply:
        """The answer to what stores an object; Taken where it shall be ``new``, and is not."""
        reply = self._transport.ask("PUT", self.full(path), "", {**headers, **(_NEW if new else _NONE)}, body, length)
        if new and reply.status in _TAKEN:
            raise Taken
        if new and reply.status == 501:  # this server does not know the condition
            return self._put(path, False, body, length, headers)
        return reply

    def _write_expected(self, path: str, content: Checked, md5: str, new: bool) -> None:
        """Let the server take the digest: it is told beforehand what it must be."""
        reply = self._put(path, new, lambda: content.blocks(receiver_checks=True), content.size, _digest(md5))
        if reply.status == 400 and b"Digest" in reply.body:
            raise ObjectError(f"has another content than was stored: its MD5 is not {md5}")
        self._require(reply, path)
        try:
            self._require_same(path, reply, md5)
        except StoreError:
            self._transport.ask("DELETE", self.full(path))
            raise ObjectError(f"has another content than was stored: its MD5 is not {md5}") from None

    def place_of(self, path: str) -> tuple[str, ...]:
        return self._transport.endpoint, self.full(path).rstrip("/")

    def reaches(self, source: Store) -> bool:
        return isinstance(source, S3Store) and source._transport.endpoint == self._transport.endpoint

    def copy_within(
        self,
        source: S3Store,
        source_path: str,
        path: str,
        found: Found,
        inspect: Inspect | None = None,
        new: bool = False,
    ) -> bool:
        try:
            if inspect:
                inspect(b"".join(source.read(source_path, 0, min(found.size, HEAD))), found.size)
            if found.size > WHOLE_COPY:
                # The ETag of parts does not tell the digest: where that is known, through here.
                return not found.md5 and self._copy_in_parts(source, source_path, path, found, new)
        except FileNotFoundError:
            return False  # through here it is told of what
        headers = _from(source, source_path, found.md5 or found.version) | (_NEW if new else _NONE)
        reply = self._transport.ask("PUT", self.full(path), headers=headers)
        if reply.status == 200 and b"<Error>" not in reply.body:
            etag = (self._said_of(reply, path).findtext("{*}ETag") or "").strip('"')
            copy = None if found.md5 else self.find(path)
            if (found.md5 and etag == found.md5) or (copy and copy.size == found.size):
                return True
            self._transport.ask("DELETE", self.full(path))  # not every server knows the condition
        # Changed, forbidden to these credentials, or not known to this server: through here.
        return False

    def stop(self) -> None:
        self._transport.stop()

    def close(self) -> None:
        self._transport.close()

    # parts

    def _write_in_parts(self, path: str, content: Checked, new: bool) -> None:
        size = max(PART, -(-content.size // MOST_PARTS))
        digests: list[bytes] = []

        def part(upload: str, number: int) -> str:
            offset = (number - 1) * size
            etag, digest = self._put_part(path, f"?partNumber={number}&uploadId={upload}", content, offset, size)
            digests.append(digest)
            return etag

        self._in_parts(path, -(-content.size // size), part, new)
        joined = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
        reply = self._transport.ask("HEAD", self.full(path))
        if _etag(reply) != f"{joined}-{len(digests)}":
            self._require_kept(path, content.md5)

    def _put_part(self, path: str, query: str, content: Checked, offset: int, size: int) -> tuple[str, bytes]:
        digest = hashlib.md5(usedforsecurity=False)

        def blocks() -> Iterator[bytes]:
            nonlocal digest
            digest = hashlib.md5(usedforsecurity=False)
            for block in content.blocks(offset, size):
                digest.update(block)
                yield block

        length = min(size, content.size - offset)
        reply = self._transport.ask("PUT", self.full(path), query, body=blocks, length=length)
        self._require(reply, path)
        return _etag(reply), digest.digest()

    def _copy_in_parts(self, source: S3Store, source_path: str, path: str, found: Found, new: bool) -> bool:
        count = -(-found.size // COPIED_PART)

        def part(upload: str, number: int) -> str:
            start = (number - 1) * COPIED_PART
            span = f"bytes={start}-{min(found.size, start + COPIED_PART) - 1}"
            headers = _from(source, source_path, found.version) | {"x-amz-copy-source-range": span}
            query = f"?partNumber={number}&uploadId={upload}"
            reply = self._transport.ask("PUT", self.full(path), query, headers=headers)
            if reply.status == 412 or (number == count and found.version and source.find(source_path) != found):
                raise ObjectError("was changed while it was copied")
            self._require(reply, path)
            return (self._said_of(reply, path).findtext("{*}ETag") or "").strip('"')

        completed = self._in_parts(path, count, part, new)
        copy = self.find(path)
        return completed and copy is not None and copy.size == found.size

    def _in_parts(self, path: str, count: int, part: Callable[[str, int], str], new: bool) -> bool:
        """Upload in parts: nothing is seen of it before the last request.

        False where the server knows nothing of it when all is sent: the answer to a first request may have been lost.
        """
        self._abort_stale(self.full(path))
        reply = self._transport.ask("POST", self.full(path), "?uploads=")
        self._require(reply, path)
        upload = quote(self._said_of(reply, path).findtext("{*}UploadId") or "", safe="")
        try:
            etags = [part(upload, number) for number in range(1, count + 1)]
            return self._complete(path, upload, etags, new)
        except BaseException:
            with contextlib.suppress(UnreachableError):
                self._transport.ask("DELETE", self.full(path), f"?uploadId={upload}")
            raise

    def _complete(self, path: str, upload: str, etags: Sequence[str], new: bool) -> bool:
        parts = "".join(
            f'<Part><PartNumber>{number}</PartNumber><ETag>"{etag}"</ETag></Part>'
            for number, etag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        reply = self._transport.ask("POST", self.full(path), f"?uploadId={upload}", _NEW if new else _NONE, body)
        if new and reply.status in _TAKEN:
            raise Taken
        if new and reply.status == 501:
            return self._complete(path, upload, etags, False)
        if reply.status == 404:
            return False
        if b"<Error>" in reply.body:
            raise StoreError(f"The store {self.name!r} failed at {path}: {said(reply)}")
        self._require(reply, path)
        return True

    def _abort_stale(self, full: str) -> None:
        """Let go of parts that a process has left which was killed: they are not seen, but they cost."""
        bucket, _, key = full.partition("/")
        reply = self._transport.ask("GET", bucket, f"?uploads=&prefix={quote(key, safe='')}")
        for upload in self._said_of(reply, key).iterfind("{*}Upload") if reply.status == 200 else ():
            begun = datetime.datetime.fromisoformat((upload.findtext("{*}Initiated") or "").replace("Z", "+00:00"))
            age = datetime.datetime.now(datetime.timezone.utc) - begun
            if upload.findtext("{*}Key") == key and age.total_seconds() > STALE:
                self._transport.ask("DELETE", full, f"?uploadId={quote(upload.findtext('{*}UploadId') or '', safe='')}")

    def _require_same(self, path: str, reply: Reply, md5: str) -> None:
        # With encryption by keys of one's own the ETag is no digest.
        if _etag(reply) != md5:
            self._require_kept(path, md5)

    def _require_kept(self, path: str, md5: str) -> None:
        with contextlib.suppress(MissingError):
            if self.md5(path) == md5:
                return
        raise StoreError(f"The store {self.name!r} has not kept what was written to {path}.")

    def _get(self, path: str, offset: int, end: int, told: Told) -> Generator[bytes, None, None]:
        response = self._transport.send("GET", self.full(path), headers={"Range": f"bytes={offset}-{end - 1}"})
        try:
            if response.status not in (200, 206, 416):
                self._require(self._transport.read(response), path)
            found = self._told(Reply(response.status, response.headers, b""), path)
            told(found)
            # What is shorter than it should be ends earlier, and who reads it notices.
            end = min(end, found.size)
            if offset >= end:
                if response.status == 416:
                    self._transport.read(response)
                return
            if offset and response.headers.get("Content-Length") != str(end - offset):
                raise StoreError(f"The store {self.name!r} does not give parts of objects.")
            left = end - offset
            while left > 0:
                with self._transport.translated():
                    block = response.read(min(BLOCK, left), decode_content=False)
                if not block:
                    raise ConnectionError(f"{left:,} bytes of {path} are missing")
                left -= len(block)
                yield block
        finally:
            response.close()  # what was read to its end has given its connection back

    def _require(self, reply: Reply, path: str) -> None:
        if reply.status == 404:
            raise FileNotFoundError(said(reply))
        if reply.status in (401, 403):
            raise PermissionError(said(reply))
        if b"<Code>KeyTooLongError</Code>" in reply.body:
            raise ObjectError(f"cannot be {path} in the store {self.name!r}: {said(reply)}")
        if reply.status not in (200, 204, 206):
            raise StoreError(f"The store {self.name!r} at {self._transport.endpoint} refused {path}: {said(reply)}")

    def _said_of(self, reply: Reply, path: str) -> ElementTree.Element:
        """An answer's XML."""
        try:
            return ElementTree.fromstring(reply.body)
        except ElementTree.ParseError as error:
            raise StoreError(
                f"The store {self.name!r} at {self._transport.endpoint} gives no answer that can be read about {path}: "
                f"{error}"
            ) from error

    def _told(self, reply: Reply, path: str) -> Found:
        """The whole object, of a reply that has a part of it."""
        whole = str(reply.headers.get("Content-Range") or "").rpartition("/")[2]
        if not whole.isdecimal():  # all of it was sent, or it is empty and has no such part
            return self._found(reply, path, "0" if reply.status == 416 else reply.headers.get("Content-Length"))
        return self._found(reply, path, whole)

    def _found(self, reply: Reply, path: str, size: str | None) -> Found:
        if size is None:
            raise StoreError(f"The store {self.name!r} at {self._transport.endpoint} does not tell the size of {path}.")
        return Found(int(size), _md5_of(reply), _etag(reply) or None)


def _from(source: S3Store, path: str, version: str | None) -> dict[str, str]:
    """What makes a request one that copies, of this version only."""
    condition = {"x-amz-copy-source-if-match": f'"{version}"'} if version else {}
    return {"x-amz-copy-source": quote(f"/{source.full(path)}"), **condition}


def _digest(md5: str) -> dict[str, str]:
    return {"Content-MD5": base64.b64encode(bytes.fromhex(md5)).decode()}


def _etag(reply: Reply) -> str:
    return str(reply.headers.get("ETag") or "").strip('"')


def _md5_of(reply: Reply) -> str | None:
    """The digest, as far as an ETag is one."""
    encrypted = "aws:kms" in str(reply.headers.get("x-amz-server-side-encryption"))
    etag = _etag(reply)
    return etag if _PLAIN_MD5.fullmatch(etag) and not encrypted else None
