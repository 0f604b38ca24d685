"""What DataJoint 0.x keeps in stores, as DataJoint 2 would have stored it there. Nothing here reads or writes a store.

A row of 0.x has 16 bytes, which stand for a row in the source's table for that store; its server sends what that row
says in place of them (``servers/mysql.py``). The layouts are those of ``datajoint/external.py``, 0.12 to 0.14: a value
lies under its MD5; an attachment too, without the name with which its MD5 begins; a file under a path of its own. What
0.12 took over from 0.11 has a path of its own as well, and its MD5 beside it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model.schema import Tracked
from .columns import Wanted

#: How 0.x makes folders of hashes where a store's settings say nothing of it.
FOLDS = (2, 2)
#: What DataJoint's serializers begin with, MATLAB's too.
HEADS = (b"mYm\0", b"dj0\0", b"ZL123\0")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Told:
    """What the source's tables tell of an object.

    Attributes
    ----------
    value : dict
        What DataJoint 2 would have stored of it at the source.
    md5 : str or None
        The digest of the content that it has in DataJoint 2, in hexadecimal.
    prefix : bytes
        What that content begins with, before that of the object.
    packed : bool
        Whether it must be what DataJoint has packed.
    wrong : str
        Why it cannot be taken; empty if it can.
    advice : str
        What may be wrong where the object is missing.
    """

    value: dict[str, Any]
    md5: str | None = None
    prefix: bytes = b""
    packed: bool = False
    wrong: str = ""
    advice: str = ""


def told(tracked: Tracked, wanted: Wanted, row: Mapping[str, Any], folds: Sequence[int] = FOLDS) -> Told:
    """What is told of the object of one value.

    Parameters
    ----------
    tracked : Tracked
        Where the source keeps that.
    wanted : Wanted
        What the column is here.
    row : mapping
        What the source's server has sent.
    folds : sequence of int
        How many characters of a hash each folder has, by the settings of the source's store.
    """
    if "size" not in row:
        return Told({"hash": row["hash"]}, wrong=f"the source's table {tracked.table} has no row for {row['hash']}")
    kind = _kind(tracked, row)
    if kind != wanted and (kind, wanted) not in _TAKEN:
        return Told(
            {"hash": row["hash"]},
            wrong=f"{tracked.table} says that it is {_WORDS[kind]}, which cannot be taken for {_WORDS[wanted]}; "
            "codecs= of the link says what a column is taken for",
        )
    return _TELL[wanted](tracked, row, folds)


def _kind(tracked: Tracked, row: Mapping[str, Any]) -> Wanted:
    """What an object is: the row alone says it, for what an adapter makes of it the catalogue does not tell."""
    if row["attachment_name"] is not None:
        return "attachment"
    return "file" if row["filepath"] is not None and tracked.declared != "blob" else "packed"


_WORDS: dict[Wanted, str] = {
    "packed": "a value",
    "bytes": "bytes",
    "attachment": "an attachment",
    "file": "a file with a path of its own",
}
#: What an object is, and what it may be taken for besides. What 0.12 took over from 0.11 looks like a file.
_TAKEN: tuple[tuple[Wanted, Wanted], ...] = (("packed", "bytes"), ("file", "packed"), ("file", "bytes"))


def _value(tracked: Tracked, row: Mapping[str, Any], folds: Sequence[int]) -> Told:
    """A value, packed or not."""
    path, digest = row["filepath"], row["contents_hash"]
    if path is None:
        path, digest = _path(tracked, row, folds), row["hash"]
    if digest is None:
        return Told({"hash": row["hash"]}, wrong=f"{tracked.table} tells no hash of the content of {path}")
    value = {"hash": _base32(digest), "path": path, "schema": tracked.schema, "store": tracked.store}
    return Told(value | {"size": row["size"]}, digest.lower(), advice=_advice(tracked, row))


def _packed(tracked: Tracked, row: Mapping[str, Any], folds: Sequence[int]) -> Told:
    found = _value(tracked, row, folds)
    return Told(found.value, found.md5, packed=True, wrong=found.wrong, advice=found.advice)


def _attachment(tracked: Tracked, row: Mapping[str, Any], folds: Sequence[int]) -> Told:
    name = row["attachment_name"]
    prefix = name.encode() + b"\0"
    value = {
        "hash": _base32(row["hash"]),
        "path": f"{_path(tracked, row, folds)}.{name}",
        "schema": tracked.schema,
        "store": tracked.store,
        "size": len(prefix) + row["size"],
    }
    good = is_file_name(name) and not _CONTROL.search(name)
    wrong = "" if good else f"the attachment's own name {name!r} is not that of a file"
    return Told(value, row["hash"].lower(), prefix, wrong=wrong, advice=_advice(tracked, row))


def _file(tracked: Tracked, row: Mapping[str, Any], _: Sequence[int]) -> Told:
    path = row["filepath"]
    value = {
        "path": path,
        "store": tracked.store,
        "size": row["size"],
        "is_dir": False,
        "timestamp": f"{row['timestamp'][:19].replace(' ', 'T')}+00:00",
    }
    # Of large files 0.14 may take no digest.
    digest = row["contents_hash"] and row["contents_hash"].lower()
    wrong = f"{path!r} is not the path of a file within a store" if _CONTROL.search(path) else ""
    return Told(value, digest, wrong=wrong)


_TELL: dict[Wanted, Callable[[Tracked, Mapping[str, Any], Sequence[int]], Told]] = {
    "packed": _packed,
    "bytes": _value,
    "attachment": _attachment,
    "file": _file,
}


def _path(tracked: Tracked, row: Mapping[str, Any], folds: Sequence[int]) -> str:
    name = row["hash"].lower()
    folders, at = [tracked.schema], 0
    for fold in folds:
        folders.append(name[at : at + fold])
        at += fold
    return "/".join((*folders, name))


def _base32(digest: str) -> str:
    """A hash as DataJoint 2 writes it."""
    return base64.b32encode(bytes.fromhex(digest)).decode().rstrip("=").lower()


def _advice(tracked: Tracked, row: Mapping[str, Any]) -> str:
    if row["filepath"] is not None:
        return ""
    return (
        f"is it elsewhere in the source's store {tracked.store or 'default'!r}? DataJoint 0.x does not write down the "
        "location and the subfolding of its settings, which dj.config.stores must have as well"
    )


def is_file_name(name: str) -> bool:
    """Whether a name is that of a file, and no path: DataJoint writes an attachment where its name says."""
    return name not in ("", ".", "..") and not {"/", "\\", "\0"} & set(name)
