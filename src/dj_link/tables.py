"""Linked tables as the older interface has them; everything is done by :mod:`link`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import link.api
import link.bodies
import link.view
from link import PullResult
from link.config import require_codecs, require_reader
from link.ends.linking import Link as EndsLink
from link.errors import ConfigError
from link.signals import final

from .requested import refresh
from .schemas import LazySchema
from .settings import older_spec, swapped_stores


class Source(link.view.Source):
    """The contents of the source table: a DataJoint query, also when it is called."""

    def __call__(self) -> Source:
        """The same contents."""
        return self


class LinkedTable(link.api.LinkedTable):
    """A local table whose rows come from a source table.

    Its part tables are those of the source, and ``DeletionRequested``.
    """

    _source_class = Source

    def pull(self, *restrictions: Any, **options: Any) -> PullResult:
        """Copy what is not local yet, and whose deletion the source has not requested, and hold it at the source.

        Parameters
        ----------
        *restrictions
            What to pull, as for ``&``; all of them apply, as in ``populate``. Without any: everything.
        **options
            As for :meth:`link.Source.pull`.

        Returns
        -------
        PullResult
            Counts; prints as one line.

        Raises
        ------
        ConfigError
            The table is restricted: restrictions go into the parentheses.
        LinkError
            As for :meth:`link.Source.pull`.
        """
        if self.restriction:
            raise ConfigError(
                f"{type(self).__name__} is restricted, which selects local rows; a pull selects rows of the source.",
                f"Write {type(self).__name__}().pull(restriction).",
            )
        return self.source.pull(*restrictions, **options)

    def refresh(self) -> None:
        """Let ``DeletionRequested`` show which local rows the source wants deleted by now.

        Raises
        ------
        LinkError
            The source cannot be reached, or this was called inside an open local transaction.
        """
        with final():
            self._link.operate(refresh)


class Link:
    """Link the table that a class names, in another server's schema, to a local table.

    A decorator. Nothing is read or connected until the class is first used. ``LINK_OUTBOUND`` of the environment names
    the schema of the outbound tables at the source.

    Parameters
    ----------
    local_schema : LazySchema
        The schema of the local table.
    source_schema : LazySchema
        The schema of the source table.
    stores : mapping of str to str, optional
        Local store to source store, for tables with files.
    codecs : mapping of str to str, optional
        As for ``@link``.
    datajoint : {'2.x', '0.x'}
        As for ``@link``.

    Raises
    ------
    ConfigError
        An argument is of the wrong kind. Whatever needs a server is raised at first use, as a ``LinkError``.

    Examples
    --------
    >>> @Link(local_schema, source_schema)
    ... class Table:
    ...     '''The local table.'''
    """

    def __init__(
        self,
        local_schema: LazySchema,
        source_schema: LazySchema,
        stores: Mapping[str, str] | None = None,
        *,
        codecs: Mapping[str, str] | None = None,
        datajoint: str = "2.x",
    ) -> None:
        for what, schema in (("local_schema", local_schema), ("source_schema", source_schema)):
            if not isinstance(schema, LazySchema):
                raise ConfigError(f"{what} must be a LazySchema, not {type(schema).__name__}.")
        self._local = local_schema
        self._source = source_schema
        self._stores = swapped_stores(stores)
        require_codecs(codecs)
        self._codecs = codecs
        require_reader(datajoint)
        self._datajoint = datajoint

    def __call__(self, cls: type) -> Any:
        """Decorate a class, and return a subclass of :class:`LinkedTable`."""
        link.bodies.require_table_class(cls, "@Link")
        spec = older_spec(
            cls.__name__,
            self._source.address,
            self._source.schema_name,
            None,
            self._local.schema_name,
            self._stores,
            codecs=self._codecs,
            datajoint=self._datajoint,
            parts_named=link.bodies.parts_named(cls),
            create_schema=self._local.create_schema,
            create_tables=self._local.create_tables,
        )
        made = EndsLink(spec, self._local, None if self._source.address else self._source)
        return link.api.linked_class(cls, made, LinkedTable)
