"""Whole pipelines: several schemas of a source, and what of them is here."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import datajoint as dj

from . import host
from .api import LinkedTable, linked_class
from .config import LocalStore, make_pipeline_spec, require_conflicts
from .ends.pipeline import Links
from .errors import ConfigError, LinkError
from .host import FreeTable
from .model.graph import Name, class_of, label
from .model.pipelines import PipelineResult
from .model.ranges import ALL, Selection
from .selections import Selecting, selection_of
from .signals import final
from .work.gather import Wanted, gather


class Pipeline:
    """A source's pipeline, of several schemas, and the local one into which rows of it are pulled.

    Nothing connects before first use, and nothing is created at either end before the first pull.

    Parameters
    ----------
    host : str
        The source server, as for :func:`link.link`.
    schemas : mapping or sequence of str
        The source's schemas, and the local ones that have their tables: theirs to ours. Of a sequence the names are the
        same here, behind ``prefix``.
    helper_schema : str
        Where on the source server rows are held.
    prefix : str, optional
        What the names of local schemas begin with.
    stores, codecs, backend, database, port, use_tls, holder, connection
        As for :func:`link.link`; ``codecs`` by ``"schema.Class.column"``.
    """

    def __init__(
        self,
        host: str,
        schemas: Mapping[str, str] | Sequence[str],
        helper_schema: str,
        *,
        prefix: str | None = None,
        stores: Mapping[str, LocalStore] | None = None,
        codecs: Mapping[str, str] | None = None,
        backend: str | None = None,
        database: str | None = None,
        port: int | None = None,
        use_tls: bool | Mapping[str, Any] | None = None,
        holder: str | None = None,
        connection: Any = None,
    ) -> None:
        spec = make_pipeline_spec(
            host,
            schemas,
            helper_schema,
            prefix=prefix,
            stores=stores,
            codecs=codecs,
            backend=backend,
            database=database,
            port=port,
            use_tls=use_tls,
            holder=holder,
        )
        self._links = Links(spec, connection)
        self._classes: dict[Name, Any] = {}

    @property
    def source(self) -> Any:
        """What the source has: its schemas as attributes, whose tables are queries there."""
        return _There(self._links)

    def __getitem__(self, schema: str) -> Any:
        return _Here(self, schema)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def _class_of(self, name: Name) -> Any:
        if name not in self._classes:
            link = self._links.link(name)
            self._classes[name] = linked_class(type(class_of(name[1]), (), {}), link, LinkedTable)
        return self._classes[name]

    def pull(
        self,
        *selections: Any,
        display_progress: bool = False,
        max_calls: int | None = None,
        suppress_errors: bool = False,
        transfers: int = 8,
        conflicts: Literal["raise", "keep", "skip", "replace"] = "raise",
        cut: Collection[str] = (),
    ) -> PipelineResult:
        """Pull what is selected, with all that it stands on, and hold it at the source."""
        require_conflicts(conflicts)
        started = time.monotonic()
        with final():
            graph = self._links.find_graph()
            keys = [key for place in cut for key in graph.find_key(place)]
            selected: dict[Name, list[Selection]] = {}
            for selection in selections:
                for name, rows in _selected(selection):
                    selected.setdefault(name, []).append(rows)

            def work() -> PipelineResult:
                ends = self._links.open(selected, keys)
                wanted = Wanted(
                    graph.without(keys),
                    selected,
                    conflicts,
                    max_calls,
                    suppress_errors,
                    transfers,
                    display_progress,
                )
                results = {label(name): result for name, result in gather(ends, wanted).items()}
                return PipelineResult(results, time.monotonic() - started)

            return self._links.operate(work)


class _Named:
    """Groups of one schema as attributes."""

    def __init__(self, links: Links, schema: str) -> None:
        self._links, self._schema = links, schema

    def _names(self) -> dict[str, Name]:
        graph = self._links.find_graph()
        return {class_of(name[1]): name for name in graph.groups if name[0] == self._schema}

    def __dir__(self) -> list[str]:
        return sorted(self._names())


class _There:
    def __init__(self, links: Links) -> None:
        self._links = links

    def __getitem__(self, schema: str) -> Any:
        return _SchemaThere(self._links, schema)

    def __getattr__(self, schema: str) -> Any:
        if schema.startswith("_"):
            raise AttributeError(schema)
        return self[schema]


class _SchemaThere(_Named):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._names():
            raise AttributeError(name)
        return _Query(self._links, self._names()[name])

    def _all(self) -> list[Any]:
        return [_Query(self._links, name) for name in self._names().values()]


class _Here:
    def __init__(self, pipeline: Pipeline, schema: str) -> None:
        self._pipeline, self._schema = pipeline, schema

    def __getattr__(self, name: str) -> Any:
        names = _Named(self._pipeline._links, self._schema)._names()
        if name.startswith("_") or name not in names:
            raise AttributeError(name)
        return self._pipeline._class_of(names[name])


class _Query(Selecting, FreeTable):
    """A table of the source as a query."""

    def __init__(self, links: Links, name: Name) -> None:
        site = links.connect_source()
        super().__init__(site.connection, host.full_name(site.connection, *name))  # type: ignore[no-untyped-call]
        self._name = name

    def __call__(self) -> _Query:
        return self


def _selected(selection: Any) -> list[tuple[Name, Selection]]:
    if isinstance(selection, _SchemaThere):
        return [(query._name, ALL) for query in selection._all()]
    if isinstance(selection, _Query):
        return [(selection._name, selection_of(selection, label(selection._name)))]
    if isinstance(selection, dj.expression.QueryExpression):
        raise LinkError("Such a query cannot be followed yet.")
    raise ConfigError(f"{selection!r} selects nothing of the source.")
