"""Two S3 servers on loopback, with accounts of their own: the source's and the local one.

They are announced to a keeper (see `keeper.py`), which ends them and removes their data even when the tests are killed.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet import START_SECONDS, Keeper, free_port
from s3fs.core import S3FileSystem


@dataclass(frozen=True)
class Account:
    """A running S3 server and the account that may do everything there."""

    port: int
    access_key: str
    secret_key: str = field(repr=False)

    def store(self, bucket: str, location: str = "data", **settings: Any) -> dict[str, Any]:
        """DataJoint's settings for a store in a bucket."""
        account = {"access_key": self.access_key, "secret_key": self.secret_key, "secure": False}
        place = {"protocol": "s3", "endpoint": f"127.0.0.1:{self.port}", "bucket": bucket, "location": location}
        return place | account | settings

    def filesystem(self) -> Any:
        """The whole server as a filesystem."""
        from datajoint.storage import StorageBackend

        return StorageBackend(self.store("any")).fs


class Buckets:
    """Both servers, started when this is made: of different make, unless they are to be ``alike``."""

    def __init__(self, alike: bool = False) -> None:
        self._keeper = Keeper()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.source = Account(free_port(), "source-key", secrets.token_hex())
        self.local = Account(free_port(), "local-key", secrets.token_hex())
        self._start(self._seaweed(self.source) if alike else self._rclone(self.source))
        self._start(self._seaweed(self.local))
        for account in (self.source, self.local):
            self._await(account)
            account.filesystem().mkdir("any")

    def close(self) -> None:
        """End both and remove their data."""
        for filesystem in S3FileSystem._cache.values():
            if filesystem._s3 is not None:  # it would leave its connections to the garbage collection
                S3FileSystem.close_session(filesystem.loop, filesystem._s3)
        S3FileSystem.clear_instance_cache()
        self._keeper.dismiss()
        for process in self._processes:
            process.wait(START_SECONDS)
        self._keeper.wait()

    def encrypted(self, certificate: bytes, key: bytes) -> Account:
        """One more server, which speaks TLS only, with a bucket of the name ``any``."""
        account = Account(free_port(), "encrypted-key", secrets.token_hex())
        files = {name: self._keeper.folder / f"{account.port}.{name}" for name in ("cert", "key")}
        files["cert"].write_bytes(certificate)
        files["key"].write_bytes(key)
        self._start([*self._rclone(account), *(f"--{name}={file}" for name, file in files.items())])
        (self._keeper.folder / f"rclone{account.port}" / "any").mkdir()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", account.port)):
                return account
            time.sleep(0.05)
        raise RuntimeError(f"the S3 server on port {account.port} does not start")

    def _rclone(self, account: Account) -> Sequence[str]:
        folder = self._keeper.folder / f"rclone{account.port}"
        folder.mkdir()
        address = f"127.0.0.1:{account.port}"
        keys = f"{account.access_key},{account.secret_key}"
        return [program("rclone"), "serve", "s3", "--addr", address, "--auth-key", keys, "--config", "", str(folder)]

    def _seaweed(self, account: Account) -> Sequence[str]:
        folder = self._keeper.folder / account.access_key
        folder.mkdir()
        credentials = [{"accessKey": account.access_key, "secretKey": account.secret_key}]
        identity = {"name": "admin", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
        accounts = folder / "accounts.json"
        accounts.write_text(json.dumps({"identities": [identity]}))
        names = [f"{part}.port{grpc}" for part in ("master", "volume", "filer") for grpc in ("", ".grpc")]
        names.append("s3.port.grpc")
        settings: dict[str, object] = {name: free_port() for name in names}
        settings |= {"s3.port": account.port, "s3.config": accounts, "s3.port.iceberg": 0, "s3.port.lance": 0}
        settings |= {"dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "volume.max": 0}
        settings |= {
            "master.volumeSizeLimitMB": 64,
            "master.telemetry": "false",
            "s3.iam": "false",
            "s3.autoCreateBucket": "false",
        }
        options = [f"-{name}={value}" for name, value in settings.items()]
        return [program("weed"), "server", "-filer", "-s3", *options]

    def _start(self, command: Sequence[str]) -> None:
        with (self._keeper.folder / f"{Path(command[0]).name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._keeper.note(process.pid)
        self._processes.append(process)

    def _await(self, account: Account) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{account.port}/", timeout=1)
                except urllib.error.HTTPError as error:
                    error.close()
                    return  # it wants to know who asks
            time.sleep(0.05)
        logs = "".join(log.read_text()[-2000:] for log in self._keeper.folder.glob("*.log"))
        raise RuntimeError(f"the S3 server on port {account.port} does not start:\n{logs}")


def program(name: str) -> str:
    """A program that a wheel has brought."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise RuntimeError(f"no program {name}: it comes with the development dependencies")
    return found
