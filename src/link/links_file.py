"""``links.toml``: sources by name, and links to them. Nothing here connects anywhere, or loads DataJoint.

What a file may hold is what the models below say; the table of it in ``docs/settings.md`` is made of them.
"""

from __future__ import annotations

import difflib
import functools
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from .addresses import Address, completed_by, config_error, parse_host
from .model.backends import BACKENDS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "links.toml"
#: Where a search upward ends, as DataJoint's own for its ``datajoint.json`` does: with the project.
_PROJECT = (".git", ".hg")
#: No host with a domain, a port or a folder looks like that.
_SOURCE_NAME = re.compile(r"[^\W_][\w-]*")
_PASSWORDS = {"password", "passwd", "pass", "passphrase", "pwd", "secret", "token"}


def _known_backend(backend: str) -> str:
    if backend not in BACKENDS:
        raise ValueError
    return backend


_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class _Table(BaseModel):
    """A table of the file. The ``title`` of a field says what it must be."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class TlsSettings(_Table):
    """``use_tls`` in detail."""

    ca: _Text | None = Field(None, title="a path")
    cert: _Text | None = Field(None, title="a path")
    key: _Text | None = Field(None, title="a path")
    check_hostname: bool | None = Field(None, title="true or false")

    @model_validator(mode="after")
    def _is_whole(self) -> TlsSettings:
        if not (self.ca or self.cert) or (self.key and not self.cert) or (self.check_hostname is False and not self.ca):
            raise ValueError
        return self


class SourceSettings(_Table):
    """A source server, and the account there."""

    host: _Text = Field(
        title="a text",
        description="the server: `name`, `name:port`, `/socket/folder`, or a URL such as `postgresql://db.lab-a.org/neuro`",
    )
    port: int | None = Field(
        None, gt=0, lt=65536, title="a number from 1 to 65535", description="unless `host` says it"
    )
    backend: Annotated[str, AfterValidator(_known_backend)] | None = Field(
        None,
        title=" or ".join(f'"{name}"' for name in BACKENDS),
        description="the kind of server, unless `host` says it; MariaDB's is MySQL's. Else that of your own server",
    )
    database: _Text | None = Field(None, title="a text", description="on PostgreSQL, unless `host` says it")
    user: _Text | None = Field(None, title="a text", description="the link user's name there")
    use_tls: bool | TlsSettings | None = Field(
        None,
        title="true, false, or a table: ca, or cert and key, or all three; check_hostname with ca",
        description="as for `@link`; paths are relative to the file's folder",
    )
    password_command: _Text | Annotated[tuple[_Text, ...], Field(min_length=1, strict=False)] | None = Field(
        None,
        repr=False,
        title="a text, or a list of texts",
        description="a program that prints the password: it and its arguments",
    )


class ReferenceSettings(_Table):
    """A local store through which rows point at the source's objects."""

    reference: _Text


_Pair = Annotated[tuple[_Text, _Text], Field(strict=False)]
_Conditions = _Text | Annotated[tuple[_Text, ...], Field(min_length=1, strict=False)] | Literal[True]
_Schemas = Annotated[
    dict[_Text, _Text] | Annotated[tuple[_Text, ...], Field(strict=False)],
    Field(min_length=1),
]


class LinkSettings(_Table):
    """A pipeline of a source, and what of it is wanted here."""

    source: _Text = Field(title="a text", description="the `NAME` of a `[source.NAME]` of this file")
    helper_schema: _Text = Field(title="a text", description="where at the source rows are held")
    schemas: _Schemas = Field(
        title='a table, { ephys = "a_ephys" }, or a list of texts',
        description="the source's schemas, and the local ones that have their tables; or a list, with `prefix`",
    )
    prefix: str | None = Field(
        None, title="a text", description="what the names of local schemas begin with that are not told"
    )
    stores: dict[_Text, _Text | ReferenceSettings | _Pair] = Field(
        {},
        title='a table: "ours", { reference = "ours" }, or ["theirs as it is named here", "ours"] for each of theirs',
        description="the local store for each of the source's",
    )
    codecs: dict[_Text, _Text] = Field(
        {},
        title="a table of texts",
        description='what columns are taken for: `"schema.Class.column" = "bytes"`',
    )
    holder: _Text | None = Field(None, title="a text", description="who holds, in words for people at the source")
    pull: dict[_Text, _Conditions] = Field(
        {},
        title="a table: a condition, a list of conditions, or true for each table",
        description="what a pull brings that is told no table: see below",
    )


_KINDS: dict[str, type[_Table]] = {"source": SourceSettings, "link": LinkSettings}
T = TypeVar("T", bound=_Table)


@dataclass(frozen=True)
class NamedSource:
    """A source of a file, wherever it is handed on to; its password is not here.

    Attributes
    ----------
    was_found : bool
        Whether nobody has named the file: it lay on the way up from the working directory.
    """

    name: str
    settings: SourceSettings
    path: Path
    was_found: bool = field(compare=False)

    @property
    def place(self) -> str:
        """Where it is told, for messages."""
        return f"[source.{self.name}] of {self.path}"

    @property
    def address(self) -> Address:
        """Where the server is."""
        said = self.settings
        return completed_by(
            parse_host(said.host), "the host", port=said.port, backend=said.backend, database=said.database
        )

    @property
    def use_tls(self) -> bool | dict[str, Any] | None:
        """As ``@link`` takes it, with absolute paths."""
        asked = self.settings.use_tls
        if not isinstance(asked, TlsSettings):
            return asked
        said = asked.model_dump(exclude_none=True)
        return {k: str(self.path.parent / Path(v).expanduser()) if isinstance(v, str) else v for k, v in said.items()}


@dataclass(frozen=True)
class LinksFile:
    """What a ``links.toml`` says.

    Attributes
    ----------
    path : Path
        The file.
    sources, links : mapping
        The settings by name.
    was_found : bool
        Whether it was looked for, and not named.
    """

    path: Path
    sources: Mapping[str, SourceSettings]
    links: Mapping[str, LinkSettings]
    was_found: bool

    def source(self, name: str) -> NamedSource:
        """One of the sources."""
        return NamedSource(name, self.sources[name], self.path, self.was_found)


def find_links_file() -> Path | None:
    """The ``links.toml`` of the working directory, or of the nearest folder above it in the same project.

    As DataJoint looks for its ``datajoint.json``: upward, to the first folder with a ``.git`` or ``.hg``.
    """
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / NAME).is_file():
            return folder / NAME
        if any((folder / mark).exists() for mark in _PROJECT):
            return None
    return None


def read_links(path: Path | str | None = None) -> LinksFile:
    """Read a ``links.toml``, and check it as far as that goes without a server.

    Parameters
    ----------
    path : Path or str, optional
        The file. Default: the one that :func:`find_links_file` finds.

    Raises
    ------
    ConfigError
        There is none, or it cannot be read, or says what is not understood, or holds a password.
    """
    found = find_links_file() if path is None else Path(path).expanduser().resolve()
    if found is None:
        raise config_error(
            f"There is no {NAME} in {Path.cwd()}, or above it in the same project.",
            "Run datajoint-link init, which writes one; or name the file.",
        )
    said = ""
    try:
        status = found.stat()
        return replace(_read(found, status.st_mtime_ns, status.st_size), was_found=path is None)
    except OSError as error:
        said = error.strerror or type(error).__name__
    raise config_error(
        f"The file {found} cannot be read: {said}.", "Name a links.toml that is there and that you may read."
    )


def source_named(host: object) -> NamedSource | None:
    """The source that a host stands for, if the ``links.toml`` of the working directory names one so.

    The file is not looked for where the host can be no such name, as with a domain or a port.

    Raises
    ------
    ConfigError
        The file cannot be used.
    """
    if not isinstance(host, str) or not _SOURCE_NAME.fullmatch(host) or find_links_file() is None:
        return None
    file = read_links()
    return file.source(host) if host in file.sources else None


def not_named(host: str) -> str | None:
    """A sentence for whom a host cannot be reached, if it may well have been meant for the name of a source."""
    path = find_links_file() if _SOURCE_NAME.fullmatch(host) else None
    if path is None:
        return None
    return f"{path} has no [source.{host}]. {resembling(host, read_links(path).sources, 'source')}"


def variable(name: str, what: str) -> str:
    """The environment variable for the user or the password of a source: ``LINK_LAB_A_PASS`` of ``lab_a``."""
    return f"LINK_{re.sub('[^A-Z0-9]', '_', name.upper())}_{what}"


def secret(name: str) -> str:
    """The file for the password of a source, in a folder ``.secrets``."""
    return f"link.{name}.password"


def resembling(name: str, known: Iterable[str], what: str) -> str:
    """A sentence with the name that resembles one most, or else with all."""
    names = list(known)
    begun = [one for one in names if one.startswith(name)]
    close = begun or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"There {_are(what, names)}."


def _are(what: str, names: Collection[str]) -> str:
    if len(names) < 2:
        return f"is the {what} {next(iter(names))!r} alone" if names else f"is no {what}"
    return f"are the {what}s {', '.join(names)}"


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> LinksFile:
    """Read a file that was last changed then."""
    said = _parsed(path)
    for table, named in said.items():
        if table not in _KINDS:
            raise config_error(f"{path}: there is no [{table}].", resembling(table, _KINDS, "table"))
        if not isinstance(named, dict) or not all(isinstance(one, dict) for one in named.values()):
            raise config_error(
                f"{path}: each [{table}] has a name.", f"Such as [{table}.lab_a], and below it what belongs to it."
            )
    sources = {name: _source(path, name, one) for name, one in said.get("source", {}).items()}
    _require_told_apart(path, sources)
    links = {name: _link(path, name, one, sources) for name, one in said.get("link", {}).items()}
    return LinksFile(path, sources, links, was_found=False)


def _parsed(path: Path) -> dict[str, Any]:
    said = ""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        said = str(error)  # with line and column; raised below, for the error keeps the text of the file
    except UnicodeDecodeError as error:
        said = f"byte {error.start} is no UTF-8"
    raise config_error(
        f"The file {path} is not TOML: {said}.", "Correct it there: texts stand in quotes, tables in brackets."
    )


def _source(path: Path, name: str, said: dict[str, Any]) -> SourceSettings:
    place = f"{path}: [source.{name}]"
    if not _SOURCE_NAME.fullmatch(name):
        raise config_error(
            f"{place}: that is no name of a source.", "Letters, digits, _ and -, and a letter or a digit first."
        )
    settings = _checked(SourceSettings, place, said, name, f"Or is it of a [link.NAME] with source = {name!r}?")
    try:
        _ = NamedSource(name, settings, path, was_found=False).address
    except Exception as error:
        from .errors import ConfigError

        if not isinstance(error, ConfigError):
            raise
        hint = _way(name) if "password" in error.what else error.hint
        raise config_error(f"{place}, host: {error.what}", hint) from None
    return settings


def _link(path: Path, name: str, said: dict[str, Any], sources: Mapping[str, SourceSettings]) -> LinkSettings:
    place = f"{path}: [link.{name}]"
    if not name or not name.isprintable() or "." in name:
        raise config_error(
            f"{place}: that is no name of a link.", "Such as [link.ephys]; a dot in a name would not do."
        )
    settings = _checked(LinkSettings, place, said, str(said.get("source", "NAME")), "Or is it of [source.NAME]?")
    if settings.source not in sources:
        raise config_error(
            f"{place}, source: there is no [source.{settings.source}].",
            resembling(settings.source, sources, "source"),
        )
    for table in settings.pull:
        schema, dot, of = table.partition(".")
        if not dot or not schema or not of or "." in of:
            raise config_error(
                f"{place}, pull: {table!r} is no table.", 'Such as "ephys.Unit", by the source\'s schema and class.'
            )
        if schema not in settings.schemas and settings.prefix is None:
            raise config_error(
                f"{place}, pull: {table!r} is of no schema of this link's.",
                resembling(schema, settings.schemas, "schema"),
            )
    return settings


def _require_told_apart(path: Path, sources: Iterable[str]) -> None:
    """Two names that have one variable for their passwords are refused."""
    seen = dict[str, str]()
    for name in sources:
        twin = seen.setdefault(variable(name, "PASS"), name)
        if twin != name:
            raise config_error(
                f"{path}: [source.{twin}] and [source.{name}] would both have the password {variable(name, 'PASS')}.",
                "Name one of them differently.",
            )


def _checked(kind: type[T], place: str, said: dict[str, Any], source: str, other: str) -> T:
    """A table, as its model has it; or the first thing that is wrong with it, by its key."""
    if held := next((key for key in said if key.lower() in _PASSWORDS), None):
        raise config_error(f"{place} holds a password ({held}), and no password belongs into this file.", _way(source))
    wrong: list[Any] = []
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
    fields = kind.model_fields
    # Of a key that may be several things each is tried; a table with a wrong key of its own was meant to be one.
    first = next((one for one in wrong if one["type"] == "extra_forbidden"), wrong[0])
    key, *within = map(str, first["loc"])
    if first["type"] == "missing" and not within:
        meaning = str(fields[key].description).replace("`", "")
        raise config_error(f"{place}: the key {key} is missing.", f"{key} is {fields[key].title}: {meaning}.")
    if first["type"] == "extra_forbidden" and key not in fields:
        hint = resembling(key, fields, "key")
        belongs = any(key in model.model_fields for model in _KINDS.values())
        raise config_error(f"{place} has no key {key!r}.", other if belongs else hint)
    keys = [repr(one) for one in within if isinstance(said[key], dict) and one in said[key]]
    raise config_error(f"{place}, {', '.join([key, *keys])}: that cannot be.", f"{key} is {fields[key].title}.")


def _way(name: str) -> str:
    """How the password of a source is told instead."""
    return (
        f"Take it out, and change it if others have seen the file. A password is read from the environment variable "
        f"{variable(name, 'PASS')}, or from the file .secrets/{secret(name)} beside this one, or is what "
        "password_command prints; or you are asked for it."
    )
