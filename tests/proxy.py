"""Proxies on loopback, for tests: a TCP one with a long, breakable wire; one of HTTP, which is asked where to go."""

from __future__ import annotations

import base64
import queue
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress

# With this option, closing a socket sends a reset: the other end sees a broken wire, not an orderly end.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Listening(ABC):
    """Listens on loopback, at `port`, and serves whoever comes."""

    def __init__(self, buffer: int | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        if buffer:  # those who come have it from here
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        # Closing alone would not wake the thread that accepts.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._begin(client)

    @abstractmethod
    def _begin(self, client: socket.socket) -> None:
        """Begin to serve somebody who has come; others wait meanwhile."""


class Proxy(_Listening):
    """Forwards connections made to `port`; every byte travels for `delay_ms` each way, in any quantity.

    With `instead`, bytes come out as others, as many, at either end: a server then calls itself something else. With
    `most`, a connection takes no more than about so many bytes of its client; then it is `full`.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        delay_ms: float = 0,
        instead: Mapping[bytes, bytes] | None = None,
        most: int | None = None,
    ) -> None:
        self.delay_ms = delay_ms
        self.full = threading.Event()
        self._emptied = threading.Event()
        self._most = most
        self._instead = instead or {}
        assert all(len(old) == len(new) for old, new in self._instead.items())
        self._target = (target_host, target_port)
        self._broken = False
        self._wires: list[socket.socket] = []
        super().__init__(1 << 16 if most else None)

    def cut(self) -> None:
        """Break every connection and refuse new ones until `mend`."""
        self._broken = True
        while self._wires:
            self._drop(self._wires.pop())

    def mend(self) -> None:
        """Let new connections through again."""
        self._broken = False

    def close(self) -> None:
        """Break everything and stop listening."""
        self._emptied.set()
        self.cut()
        super().close()

    def _begin(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._broken:
                raise ConnectionRefusedError
            server = socket.create_connection(self._target)
        except OSError:
            self._drop(client)
            return
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wires += [client, server]
        if self._broken:  # cut meanwhile, without these
            self._drop(client)
            self._drop(server)
        for source, sink in ((client, server), (server, client)):
            wire: queue.Queue[tuple[float, bytes]] = queue.Queue(maxsize=1000)
            most = self._most if source is client else None
            threading.Thread(target=self._read, args=(source, wire, most), daemon=True).start()
            threading.Thread(target=self._write, args=(sink, wire), daemon=True).start()

    def _read(self, source: socket.socket, wire: queue.Queue[tuple[float, bytes]], most: int | None) -> None:
        data, taken = b"-", 0
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            wire.put((time.monotonic() + self.delay_ms / 1000, data))
            taken += len(data)
            if most and taken > most:
                self.full.set()
                self._emptied.wait()

    def _write(self, sink: socket.socket, wire: queue.Queue[tuple[float, bytes]]) -> None:
        """Deliver what is due; after a failure go on emptying the wire, so that its reader never blocks."""
        while (due_data := wire.get())[1]:
            due, data = due_data
            time.sleep(max(0.0, due - time.monotonic()))
            for old, new in self._instead.items():
                data = data.replace(old, new)
            with suppress(OSError):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    @staticmethod
    def _drop(wire: socket.socket) -> None:
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            wire.shutdown(socket.SHUT_RDWR)
        wire.close()


class ForwardProxy(_Listening):
    """A forward proxy: it asks the server that a request names in full, or makes a tunnel to it (CONNECT).

    It alone knows where the `hosts` are. With an `account` (name:password) it wants to know who asks. What `answer`
    returns for the head of a request, not for what is in a tunnel, is the answer; None lets it through.
    """

    def __init__(
        self,
        hosts: Mapping[str, int],
        account: str | None = None,
        answer: Callable[[str], bytes | None] = lambda head: None,
    ) -> None:
        self.asked: list[str] = []
        self._hosts, self._answer = hosts, answer
        self._account = account and base64.b64encode(account.encode()).decode()
        super().__init__()

    def _begin(self, client: socket.socket) -> None:
        threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One request, or one tunnel: a connection is used once."""
        with suppress(OSError), client:
            received = b""
            while b"\r\n\r\n" not in received and (data := client.recv(65536)):
                received += data
            head, _, body = received.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, url, _ = lines[0].split(" ")
            self.asked.append(lines[0])
            if self._account and f"Basic {self._account}" not in head.decode("latin-1"):
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            if method != "CONNECT" and (said := self._answer(head.decode("latin-1"))):
                while data := client.recv(65536) if _is_more(lines, body) else b"":
                    body += data
                client.sendall(said)
                return
            address, _, path = url.removeprefix("http://").partition("/")
            with socket.create_connection(("127.0.0.1", self._hosts[address])) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    kept = [line for line in lines[1:] if not line.lower().startswith(("proxy-", "connection:"))]
                    first = f"{method} /{path} HTTP/1.1"
                    server.sendall("\r\n".join([first, *kept, "Connection: close", "", ""]).encode("latin-1") + body)
                forth = threading.Thread(target=_forward, args=(client, server), daemon=True)
                forth.start()
                _forward(server, client)
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                forth.join()


def _is_more(lines: list[str], body: bytes) -> bool:
    [length] = [int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")] or [0]
    return len(body) < length


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
