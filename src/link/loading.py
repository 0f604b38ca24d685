"""The links of a ``links.toml``, each a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .config import LocalStore, make_pipeline_spec, reference
from .errors import ConfigError
from .links_file import LinksFile, ReferenceSettings, read_links, resembling
from .pipeline import Pipeline
from .selections import restricted


class UnknownLinkError(ConfigError, AttributeError):
    """No such link; to Python no such attribute, which many ask for before they use it."""


class Loaded:
    """What :func:`load` returns: a :class:`Pipeline` for each link, by its name.

    Nothing is connected before one is used. What is no identifier, or is taken, goes in brackets:
    ``loaded["odd name"]``.

    Attributes
    ----------
    path : Path
        The file.
    """

    def __init__(self, file: LinksFile, connection: Any = None) -> None:
        self.path = file.path
        self._file, self._connection = file, connection
        self._pipelines: dict[str, Pipeline] = {}

    def __getitem__(self, name: str) -> Pipeline:
        """The pipeline of a link."""
        if name not in self._file.links:
            raise UnknownLinkError(f"{self.path} has no [link.{name}].", resembling(name, self._file.links, "link"))
        if name not in self._pipelines:
            self._pipelines[name] = _pipeline(self._file, name, self._connection)
        return self._pipelines[name]

    def __getattr__(self, name: str) -> Pipeline:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.links)

    def __len__(self) -> int:
        return len(self._file.links)

    def __contains__(self, name: object) -> bool:
        return name in self._file.links

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *filter(str.isidentifier, self)})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        return f"<links of {self.path}: {', '.join(self) or 'none'}>"

    def standing(self, name: str) -> list[Any]:
        """What a link's ``[link.NAME.pull]`` selects: queries at the source, for :meth:`Pipeline.pull`.

        Parameters
        ----------
        name : str
            The link.

        Examples
        --------
        >>> links = load()
        >>> links.ephys.pull(*links.standing("ephys"))
        """
        source, found = self[name].source, list[Any]()
        for table, condition in self._file.links[name].pull.items():
            schema, _, of = table.partition(".")
            query = source[schema][of]
            if condition is not True:
                query = restricted(query, _plain(condition), f"{table}, in [link.{name}.pull] of {self.path},")
            found.append(query)
        return found


def load(path: Path | str | None = None, *, connection: Any = None) -> Loaded:
    """Read a ``links.toml``: its links as attributes, each a :class:`Pipeline`.

    Parameters
    ----------
    path : Path or str, optional
        The file. Default: the one of the working directory, or of the nearest folder above it in the same project.
    connection : datajoint.Instance or datajoint.Connection, optional
        The local server. Default: DataJoint's own connection, ``dj.conn()``.

    Returns
    -------
    Loaded
        The links. Nothing is connected.

    Raises
    ------
    ConfigError
        There is no file, or it says what is not understood, or holds a password.

    Examples
    --------
    >>> lab_a = load().ephys
    >>> lab_a.pull(lab_a.source.ephys.Unit & "quality = 'good'")
    """
    return Loaded(read_links(path), connection)


def _pipeline(file: LinksFile, name: str, connection: Any) -> Pipeline:
    said = file.links[name]
    stores: dict[str, LocalStore] = {
        theirs: reference(ours.reference) if isinstance(ours, ReferenceSettings) else ours
        for theirs, ours in said.stores.items()
    }
    try:
        spec = make_pipeline_spec(
            file.source(said.source),
            _plain(said.schemas),
            said.helper_schema,
            prefix=said.prefix,
            stores=stores,
            codecs=said.codecs,
            backend=None,
            database=None,
            port=None,
            use_tls=None,
            holder=said.holder,
            name=name,
        )
    except ConfigError as error:
        raise ConfigError(f"{file.path}: [link.{name}]: {error.what}", error.hint) from None
    return Pipeline._of(spec, connection)


def _plain(said: Any) -> Any:
    """Lists of the file, which are kept so that they do not change, as lists: to DataJoint a tuple is a key."""
    return list(said) if isinstance(said, tuple) else said
