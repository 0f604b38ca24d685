"""From what a link, or a pipeline, was given to both servers: connected when first needed."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any, Generic, TypeVar

import datajoint as dj

from .. import host
from ..config import LinkSpec, PipelineSpec
from ..errors import UnreachableError
from ..links_file import not_named
from ..servers.connecting import own_connection
from ..servers.site import Site
from ..servers.sites import Way, reach, site_of

S = TypeVar("S", LinkSpec, PipelineSpec)


class Connected(Generic[S]):
    """Both servers. Making one connects nowhere; each method says what it does.

    Parameters
    ----------
    spec : LinkSpec or PipelineSpec
        What the link, or the pipeline, was given.
    connection : datajoint.Instance or datajoint.Connection, optional
        The local side; DataJoint's own connection where there is none.
    source : datajoint.Connection, or whatever has one as its ``connection``, optional
        The source side, where it is not to be connected to as the link user.
    """

    def __init__(self, spec: S, connection: Any = None, source: Any = None) -> None:
        self.spec: S = spec
        self._given = connection
        self._given_source = source
        self._lock = threading.RLock()
        self._connection: dj.Connection | None = None
        self._local: Site | None = None
        self._source: Site | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process, which connects by itself; without a password."""
        spec = self.spec
        if self._source is not None:
            # It may not know the local server, whose kind the source's is unless it is said.
            spec = replace(spec, address=replace(spec.address, backend=host.backend(self._source.connection)))
        return type(self), (spec, host.for_elsewhere(self._given), host.for_elsewhere(self._given_source))

    def connect_here(self) -> dj.Connection:
        """DataJoint's connection to the local server."""
        with self._lock:
            if self._connection is None:
                self._connection = own_connection(self._given)
            return self._connection

    def asks(self, prompt: bool | None) -> bool:
        """Whether somebody is asked before what cannot be taken back: as ``prompt`` says, else as ``safemode`` does."""
        return host.safemode(self.connect_here()) if prompt is None else prompt

    def connect_local(self) -> Site:
        """The local server."""
        with self._lock:
            if self._local is None:
                self._local = site_of(self.connect_here())
            return self._local

    def connect_source(self) -> Site:
        """The source server, as the link user: shared with all links to the same server and account."""
        with self._lock:
            if self._source is None:
                if self._given_source is not None:
                    self._source = site_of(host.connection_of(self._given_source))
                else:
                    self._source = self._log_in()
            return self._source

    def _log_in(self) -> Site:
        spec = self.spec
        backend = spec.address.backend or host.backend(self.connect_here())
        try:
            return reach(Way(spec.address, spec.named, spec.use_tls, backend))
        except UnreachableError as error:
            if spec.named is None and (more := not_named(spec.address.host)):
                raise type(error)(error.what, f"{error.hint} {more}") from error
            raise
