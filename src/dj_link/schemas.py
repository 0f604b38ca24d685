"""A schema that connects when it is first needed."""

from __future__ import annotations

import inspect
from types import FrameType
from typing import Any, cast

import datajoint as dj

from link.accounts import credentials
from link.addresses import parse_host
from link.config import require_schema_name
from link.host import connection_of, use_tls_of_process
from link.lazy import cached_property
from link.servers.sites import source_site
from link.tls import parse_tls


class LazySchema:
    """Like DataJoint's ``Schema``, but nothing is connected when it is made.

    It becomes a DataJoint schema when it first decorates a class, or when anything is asked of it.

    Parameters
    ----------
    schema_name : str
        The schema's name.
    context : dict, optional
        Where the names in definitions are looked up. Default: where a class is decorated.
    connection : datajoint.Connection or datajoint.Instance, optional
        The server. Default: DataJoint's own connection, ``dj.conn()``.
    create_schema : bool
        Whether the schema may be created where it is missing. The one at the source of a link never is.
    create_tables : bool
        Whether tables may be created.
    host : str, optional
        The server, as the link user: ``LINK_USER`` and ``LINK_PASS`` of the environment. As for ``@link``: ``host``,
        ``host:port``, a socket folder, or a URL such as ``postgresql://db.lab.org:5432/neuro``.

    Raises
    ------
    ValueError
        Both ``host`` and ``connection`` are given.
    ConfigError
        The name or the host cannot be one.

    Examples
    --------
    >>> local_schema = LazySchema('local_schema')
    >>> source_schema = LazySchema('source_schema', host='source_database')
    """

    def __init__(
        self,
        schema_name: str,
        context: dict[str, Any] | None = None,
        *,
        connection: Any = None,
        create_schema: bool = True,
        create_tables: bool = True,
        host: str | None = None,
    ) -> None:
        if host is not None and connection is not None:
            raise ValueError("LazySchema takes host= or connection=, not both.")
        require_schema_name("schema_name", schema_name)
        if connection is not None:
            connection_of(connection)  # raises for what is none
        self.schema_name = schema_name
        self.context = context
        self.create_schema = create_schema
        self.create_tables = create_tables
        self.address = None if host is None else parse_host(host)
        self._given = connection

    @cached_property
    def connection(self) -> dj.Connection:
        """The connection to the server, made when it is first needed."""
        if self.address is None:
            return connection_of(self._given)
        # Kept, so that whoever links tables of that server shares the connection.
        self._site = source_site(
            self.address, credentials(), parse_tls(use_tls_of_process()), dj.config["database.backend"]
        )
        return self._site.connection

    @cached_property
    def schema(self) -> Any:
        """DataJoint's schema, made when it is first needed."""
        return dj.Schema(
            self.schema_name,
            self.context,
            connection=self.connection,
            create_schema=self.create_schema,
            create_tables=self.create_tables,
        )

    def __call__(self, cls: type, *, context: dict[str, Any] | None = None) -> Any:
        """Bind a table class to the schema, as DataJoint's schema does."""
        caller = cast(FrameType, cast(FrameType, inspect.currentframe()).f_back)
        return self.schema(cls, context=context or self.context or caller.f_locals)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)  # what only displays or copies this shall not connect
        return getattr(self.schema, name)

    def __repr__(self) -> str:
        return f"LazySchema({self.schema_name!r})"
