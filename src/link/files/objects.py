"""What a stored value names, and what DataJoint itself would have written in its place at the local store.

Nothing here reads or writes a store. The local name of an object follows from its source's alone: where DataJoint puts
a random token into a path, here is one derived from what the source says of the object. So a copy that was completed
before a crash is found again, nothing piles up, and another object at the source is told by another name here.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..host import TOKEN_ALPHABET, AttachCodec, Codec, NpyCodec, build_hash_path, build_object_path
from ..signals import RowError
from . import legacy
from .columns import FileColumn
from .routes import Route, Side

#: So many bytes at the beginning of an object are enough to look into it.
HEAD = 65_536
#: Where files are written before they are whole, in the folder of a store.
STAGING = ".datajoint-link"
#: Looks at the first bytes of an object and its size, and raises ObjectError.
Inspect = Callable[[bytes, int], None]


class ObjectError(RowError):
    """An object at the source is missing or damaged, or must not be taken as it is named."""


class MissingError(ObjectError):
    """An object is not there."""


@dataclass(frozen=True)
class Place:
    """The row that a value belongs to, at the local side: its schema and table, its primary key as DataJoint has it."""

    schema: str
    table: str
    key: Mapping[str, Any]


@dataclass(frozen=True)
class Move:
    """One object: where it is, where it goes, and what is known of it.

    Attributes
    ----------
    route : Route
        The stores.
    source, local : str
        The paths in them.
    size : int or None
        Bytes, of a folder all together.
    md5 : str or None
        The digest of its content, in hexadecimal.
    prefix : bytes
        What stands here before the object's own bytes; size and digest are those of both.
    is_folder : bool or None
        None where nobody has said it.
    files : int or None
        Of a folder, how many.
    by_content : bool
        Whether the local path follows from the content, so that whatever is there is right if its content is.
    free : bool
        Whether another path does as well, if something else is at that one.
    inspect : callable, optional
        Looks at the first bytes and the size, and raises ObjectError. Where it is another one, so is the move.
    advice : str
        What may be wrong where it is missing.
    """

    route: Route
    source: str
    local: str
    size: int | None = None
    md5: str | None = None
    prefix: bytes = b""
    is_folder: bool | None = False
    files: int | None = None
    by_content: bool = False
    free: bool = False
    inspect: Inspect | None = None
    advice: str = dataclasses.field(default="", compare=False)


#: What is in no path: the end of all, another separator, and halves of characters, which JSON can have.
_UNNAMED = re.compile(r"[\0\\\ud800-\udfff]")


# from a stored value to objects, and back


def told_of(column: FileColumn, loaded: Any, folds: Sequence[int] = legacy.FOLDS) -> legacy.Told | None:
    """What is told of the object of a value of DataJoint 0.x; None of one that DataJoint 2 has stored."""
    tracked, wanted = column.column.tracked, column.wanted
    return legacy.told(tracked, wanted, loaded, folds) if tracked and wanted else None


def moves(
    column: FileColumn,
    stored: Any,
    place: Place,
    route_of: Callable[[str], Route],
    told: legacy.Told | None = None,
) -> list[Move]:
    """The objects that a stored value names, and where DataJoint would have put them here.

    ``told`` is what is known of the object where DataJoint 0.x has stored it.

    Raises
    ------
    ObjectError
        The value names no object, or one outside of its store.
    """
    if told and told.wrong:
        raise ObjectError(told.wrong)
    named = column.codec.referenced_paths(stored)
    if not named and column.addressing != "other":
        raise ObjectError(f"the stored value names no file: {_short(stored)}")
    for path, _ in named:
        require_inside(path)
    found = [_move(column, stored, path, route_of(store or ""), place) for path, store in named]
    return [_legacy(move, told) for move in found] if told else found


def _legacy(move: Move, told: legacy.Told) -> Move:
    inspect = _inspect_packed if told.packed else None
    return dataclasses.replace(move, md5=told.md5, prefix=told.prefix, inspect=inspect, advice=told.advice)


def _move(column: FileColumn, stored: Any, path: str, route: Route, place: Place) -> Move:
    known = stored if isinstance(stored, dict) and stored.get("path") == path else {}
    facts: dict[str, Any] = {
        "size": known["size"] if isinstance(known.get("size"), int) else None,
        "is_folder": known["is_dir"] if isinstance(known.get("is_dir"), bool) else None,
        "files": known["item_count"] if isinstance(known.get("item_count"), int) else None,
    }
    if column.addressing == "hash":
        facts |= {"md5": _md5(known.get("hash"), path), "is_folder": False, "by_content": True}
        if isinstance(column.codec, AttachCodec):
            facts["inspect"] = inspect_attachment
    elif isinstance(column.codec, NpyCodec):
        facts |= {"is_folder": False, "inspect": _Array(json.dumps(known.get("shape")))}
    if route.referenced:
        return Move(route, path, path, **facts)
    if column.addressing == "hash":
        folds = tuple(route.spec["subfolding"]) if route.spec.get("subfolding") else None
        local = build_hash_path(known["hash"], place.schema, folds, hash_prefix=route.spec["hash_prefix"])
        return Move(route, path, local, **facts)
    if column.addressing == "schema":
        return Move(route, path, _object_path(column, known, path, route, place), **facts)
    return Move(route, path, _free_path(path, route), free=True, **facts)


def _md5(content_hash: Any, path: str) -> str:
    if not isinstance(content_hash, str) or not re.fullmatch("[a-z2-7]{26}", content_hash):
        raise ObjectError(f"{path}: the stored value has no hash of the content")
    return base64.b32decode(content_hash.upper() + "======").hex()


def _object_path(column: FileColumn, known: Mapping[str, Any], path: str, route: Route, place: Place) -> str:
    """Where DataJoint would put an object, but for the token."""
    spec = route.spec
    extension = known.get("ext") if known.get("ext") else _extension(path)
    if extension and not re.fullmatch(r"[^/\\\0]*", str(extension)):
        raise ObjectError(f"{path}: the extension {extension!r} is none")
    built, random_token = build_object_path(
        place.schema,
        place.table,
        column.name,
        dict(place.key),
        extension or None,
        spec.get("partition_pattern"),
        spec.get("token_length", 8),
        schema_prefix=spec["schema_prefix"],
    )
    folder, slash, name = built.rpartition("/")
    start = len(column.name) + 1
    return folder + slash + name[:start] + token(path, known, len(random_token)) + name[start + len(random_token) :]


def _extension(path: str) -> str:
    name = path.rpartition("/")[2]
    return name[name.rindex(".") :] if "." in name.lstrip(".") else ""


def token(path: str, known: Mapping[str, Any], length: int) -> str:
    """The token of an object's copy: of another object, or of the same one written anew, it is another."""
    facts = {name: value for name, value in known.items() if name not in ("store", "url")}
    digest = hashlib.sha256(json.dumps([path, facts], sort_keys=True, default=str).encode()).digest()
    return "".join(TOKEN_ALPHABET[byte % len(TOKEN_ALPHABET)] for byte in digest[:length])


def _free_path(path: str, route: Route) -> str:
    """Where the user of the local store would have put a file that she names herself."""
    prefix = (route.spec.get("filepath_prefix") or "").strip("/")
    if prefix and not path.startswith(f"{prefix}/"):
        path = f"{prefix}/{path}"
    # What DataJoint keeps to itself in the local store may be an ordinary folder at the source.
    own = [section for name in ("hash_prefix", "schema_prefix") if (section := _section(route.spec, name))]
    reserved = [*own, f"{STAGING}/"]
    while section := next((section for section in reserved if path.startswith(section)), ""):
        path = path[len(section) :]
    return path


def _section(spec: Mapping[str, Any], name: str) -> str:
    """A section of a store with a slash at its end; empty for the whole store."""
    section = str(spec.get(name) or "").strip("/")
    return section and f"{section}/"


def other_path(path: str, source: str, known: str) -> str:
    """Another path for a file, for when something else is at its own."""
    folder, slash, name = path.rpartition("/")
    stem, extension = (name, "") if not (found := _extension(name)) else (name[: -len(found)], found)
    return f"{folder}{slash}{stem}-{_marked(token(source, {'content': known}, 6))}{extension}"


def _marked(token_of_content: str) -> str:
    """A token by which a name that we have made is told from one that merely ends like it."""
    return token_of_content + token(token_of_content, {}, 2)


def _without_tokens(path: str) -> str:
    """A file's path, without what :func:`other_path` may have put into its name, or that of a folder with its slash."""
    folder, slash, name = path.rstrip("/").rpartition("/")
    extension = _extension(name)
    stem = name[: len(name) - len(extension)]
    while (put := stem[-9:])[:1] == "-" and _marked(put[1:7]) == put[1:]:
        stem = stem[:-9]
    return folder + slash + stem + extension


def rewritten(stored: Any, place: Place, moved: Sequence[Move], codec: Codec) -> Any:
    """The stored value as it is to be here, once its objects are where ``moved`` says.

    Raises
    ------
    ObjectError
        The codec does not write paths into the value as it tells them.
    """
    names = {
        store or "": move.route.local for (_, store), move in zip(codec.referenced_paths(stored), moved, strict=True)
    }
    paths = {move.source: move.local for move in moved}
    in_own_schema = any(move.by_content and not move.route.referenced for move in moved)

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(item) for item in value]
        if not isinstance(value, dict):
            return paths.get(value, value) if isinstance(value, str) else value
        # DataJoint makes a URL from store and path, where it needs one.
        changed = {name: replaced(item) for name, item in value.items() if name != "url"}
        if changed.get("store", 0) in (None, *names):
            changed["store"] = names.get(changed["store"] or "")
        if in_own_schema and "schema" in changed:
            changed["schema"] = place.schema
        return changed

    value = replaced(stored)
    expected = {(move.local, move.route.local) for move in moved}
    if {(path, store or "") for path, store in codec.referenced_paths(value)} != expected:
        raise ObjectError(
            f"the codec <{codec.name}> names its files in a way that cannot be rewritten: {_short(stored)}"
        )
    return value


def identity(column: FileColumn, text: str | None, side: Side) -> str | None:
    """What a stored value and its copy have in common, wherever they are, and no other value has.

    Paths differ, and those of rows pulled earlier may have been made by other settings. What stays is what the metadata
    say of the content, and the token: another one tells that the source has written the object anew. A file of the
    user's own keeps its name, wherever it is. A codec that names files its own way need not say more of them than their
    paths, and of what 0.x has tracked the time is told in seconds: these are what they would be by the settings of now.
    """
    if text is None:
        return None
    stored = json.loads(text)
    if not side.local and (known := told_of(column, stored)):
        stored = known.value
    named = dict(column.codec.referenced_paths(stored))
    if column.addressing == "hash" and isinstance(stored, dict):
        return json.dumps([stored.get("hash"), stored.get("size")])

    def seen(path: str) -> str:
        if (named[path] or "") in side.stays:
            return path
        if column.by_path:
            route = None if side.local else side.routes.get(named[path] or "")
            return _without_tokens(_free_path(path, route) if route else path)
        if column.addressing == "filepath":
            return _without_tokens(path).rpartition("/")[2]
        if side.local:
            return path.rpartition("/")[2][len(column.name) + 1 :][: side.token_length]
        return token(path, stored if isinstance(stored, dict) and stored.get("path") == path else {}, side.token_length)

    def compared(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: compared(item) for name, item in value.items() if name not in ("store", "url", "schema")}
        if isinstance(value, list):
            return [compared(item) for item in value]
        return seen(value) if isinstance(value, str) and value in named else value

    return json.dumps(compared(stored), sort_keys=True)


# what must not be taken


def require_inside(path: Any) -> None:
    """Raise ObjectError for a path that leads out of its store: names from a source are not to be trusted."""
    parts = path.split("/") if isinstance(path, str) else []
    if not parts or parts[0] == "" or {".", ".."} & set(parts) or _UNNAMED.search(path):
        raise ObjectError(f"{path!r} is not the path of a file within a store")


def collecting_schemas(path: str, spec: Mapping[str, Any]) -> set[str]:
    """The schemas whose garbage collection, through a store of these settings, takes an object for one of its own."""
    sections = (_section(spec, name) for name in ("hash_prefix", "schema_prefix"))
    return {path[len(section) :].partition("/")[0] for section in sections if path.startswith(section)}


def inspect_attachment(head: bytes, _: int) -> None:
    """Raise ObjectError for an attachment whose name, before the first NUL, is none, or leads elsewhere."""
    name = head.partition(b"\0")[0].decode(errors="replace")
    if b"\0" not in head or not legacy.is_file_name(name):
        raise ObjectError(f"the attachment's own name {_short(name)} is not that of a file")


def _inspect_packed(head: bytes, _: int) -> None:
    if not head.startswith(legacy.HEADS):
        raise ObjectError(
            f"is nothing that DataJoint has packed: it begins with {head[:6]!r}; codecs= of the link says what a "
            "column is taken for"
        )


@dataclass(frozen=True)
class _Array:
    """Looks into a file that shall be an array of the shape that was stored, as JSON."""

    shape: str

    def __call__(self, head: bytes, size: int) -> None:
        file = io.BytesIO(head)
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        except ValueError as error:
            raise ObjectError(f"is not a .npy file: {error}") from error
        expected = file.tell() + math.prod(shape) * dtype.itemsize
        if json.dumps(shape) != self.shape or size != expected:
            raise ObjectError(f"holds {size:,} bytes of shape {shape}, expected {self.shape}, {expected:,} bytes")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
