"""Tables with files as DataJoint 0.14 declares and fills them, by SQL alone; none of it is needed for that."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from datajoint import blob
from filing import backend
from lab import Lab

#: What DataJoint 0.14 declares for each store of a schema, in which it keeps values, attachments or files.
TRACKING = """CREATE TABLE `{schema}`.`~external_{store}` (
  `hash` binary(16) NOT NULL COMMENT ':uuid:hash of contents (blob), of filename + contents (attach)',
  `size` bigint unsigned NOT NULL COMMENT 'size of object in bytes',
  `attachment_name` varchar(255) DEFAULT NULL COMMENT 'the filename of an attachment',
  `filepath` varchar(1000) DEFAULT NULL COMMENT 'relative filepath or attachment filename',
  `contents_hash` binary(16) DEFAULT NULL COMMENT ':uuid:used for the filepath datatype',
  `timestamp` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT 'automatic timestamp',
  PRIMARY KEY (`hash`)
) ENGINE=InnoDB COMMENT='external storage tracking'"""


class Tracker:
    """A source schema's table for one store, and what DataJoint 0.14 would put there.

    Each method stores an object and gives what the row has that names it.

    Parameters
    ----------
    folds : sequence of int
        The ``subfolding`` of the store's settings at the source.
    """

    def __init__(self, lab: Lab, store: str, folds: Sequence[int] = (2, 2)) -> None:
        self.lab, self.store, self.folds = lab, store, folds
        self.name = f"`{lab.source_schema}`.`~external_{store}`"
        lab.source_server.sql(TRACKING.format(schema=lab.source_schema, store=store))
        lab.grant_tracking(store)

    def value(self, value: Any) -> bytes:
        """What ``blob@store`` keeps."""
        return self.packed(blob.pack(value))

    def packed(self, content: bytes) -> bytes:
        """Bytes, in the place of those that ``blob@store`` has packed."""
        digest = hashlib.md5(content).digest()
        self.put(self.path(digest), content)
        return self.row(digest, len(content))

    def attachment(self, name: str, content: bytes) -> bytes:
        """What ``attach@store`` keeps."""
        digest = hashlib.md5(name.encode() + b"\0" + content).digest()
        self.put(f"{self.path(digest)}.{name}", content)
        return self.row(digest, len(content), attachment_name=name)

    def file(self, path: str, content: bytes, checksum: bool = True) -> bytes:
        """What ``filepath@store`` keeps; without a digest if the file is larger than a setting of 0.14 says."""
        self.put(path, content)
        digest = hashlib.md5(content).digest() if checksum else None
        return self.row(hashlib.md5(path.encode()).digest(), len(content), filepath=path, contents_hash=digest)

    def brought(self, value: Any) -> bytes:
        """What ``blob@store`` keeps of what DataJoint 0.12 has taken over from 0.11."""
        return self.file(f"{self.lab.source_schema}/{hashlib.sha1(repr(value).encode()).hexdigest()}", blob.pack(value))

    def row(self, digest: bytes, size: int, **columns: Any) -> bytes:
        """A row for an object."""
        values = {"hash": digest, "size": size} | columns
        names, marks = ", ".join(f"`{name}`" for name in values), ", ".join(["%s"] * len(values))
        self.lab.source_server.sql(f"INSERT IGNORE INTO {self.name} ({names}) VALUES ({marks})", *values.values())
        return digest

    def put(self, path: str, content: bytes) -> None:
        """An object, in the store itself."""
        backend(self.lab.source, self.store).put_buffer(content, path)

    def path(self, digest: bytes) -> str:
        """Where an object lies that has its name from its hash."""
        name, folders, at = digest.hex(), [self.lab.source_schema], 0
        for fold in self.folds:
            folders.append(name[at : at + fold])
            at += fold
        return "/".join([*folders, name])


def in_store(lab: Lab, column: str, marker: str, store: str, nullable: bool = False) -> str:
    """The lines of a CREATE TABLE for a column in a store; `marker` as in ``blob@store`` or ``<adapter>``."""
    null = "DEFAULT NULL" if nullable else "NOT NULL"
    return (
        f"`{column}` binary(16) {null} COMMENT ':{marker}:about {column}', KEY (`{column}`), "
        f"FOREIGN KEY (`{column}`) REFERENCES `{lab.source_schema}`.`~external_{store}` (`hash`) "
        "ON DELETE RESTRICT ON UPDATE RESTRICT"
    )


def create(lab: Lab, table: str, *lines: str, key: str = "`item` int NOT NULL, PRIMARY KEY (`item`)") -> str:
    """A table of the source's."""
    lab.source_server.sql(f"CREATE TABLE `{lab.source_schema}`.`{table}` ({', '.join([key, *lines])}) ENGINE=InnoDB")
    return table


def insert(lab: Lab, table: str, **values: Any) -> None:
    """A row of such a table."""
    names, marks = ", ".join(f"`{name}`" for name in values), ", ".join(["%s"] * len(values))
    lab.source_server.sql(f"INSERT INTO `{lab.source_schema}`.`{table}` ({names}) VALUES ({marks})", *values.values())
