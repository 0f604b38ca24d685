"""The public face: the ``@link`` decorator and linked table classes."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, TypeVar, cast, overload

import datajoint as dj

from . import host
from .bodies import documented, parts_named, rebind, require_table_class, tell_of_unused
from .captions import Captioned
from .config import LocalStore, local_side, make_spec
from .ends.altering import alter
from .ends.edits import noting
from .ends.ends import Ends
from .ends.linking import Link
from .errors import LinkError
from .host import UserTable
from .model.ranges import Selection
from .model.schema import part_class, part_of_class
from .selections import Selecting, require_matched, selection_of
from .sharing import by_entity
from .signals import final
from .travelling import MOST_HERE
from .typed import TypedMeta, of_classes
from .view import Source, SourcePart
from .work.deletion import Target, batched, delete, tell_of_holds
from .work.ending import Counts, drop

logger = logging.getLogger("link")

T = TypeVar("T")
L = TypeVar("L", bound="LinkedTable")


class Decorator(Protocol):
    """What :func:`link` returns: it makes a linked table of a class.

    A class that has :class:`LinkedTable` as its base keeps its own attributes for who checks types.
    """

    @overload
    def __call__(self, cls: type[L], /) -> type[L]: ...
    @overload
    def __call__(self, cls: type, /) -> type[LinkedTable]: ...


def link(
    host: str,
    source_schema: str,
    helper_schema: str,
    helper_table: str,
    local_schema: str | dj.Schema,
    *,
    table: str | None = None,
    stores: Mapping[str, LocalStore] | None = None,
    codecs: Mapping[str, str] | None = None,
    datajoint: Literal["2.x", "0.x"] = "2.x",
    backend: str | None = None,
    database: str | None = None,
    port: int | None = None,
    use_tls: bool | Mapping[str, Any] | None = None,
    conflicts: Literal["keep", "raise", "skip", "replace"] = "keep",
    holder: str | None = None,
    connection: Any = None,
) -> Decorator:
    """Link the table that a class names, on another lab's server, to a local table.

    Nothing is read or connected until the class is first used. From then on it is an ordinary DataJoint table on the
    local server, with ``source`` for what the other server has. The account at the source is ``LINK_USER`` and
    ``LINK_PASS`` of the environment, or that of a source with a name.

    Parameters
    ----------
    host : str
        The source server: ``host``, ``host:port``, a socket folder, or a URL such as
        ``postgresql://db.lab.org:5432/neuro``; or the name of a source in the ``links.toml`` of the working directory,
        or of the nearest folder above it in the same project, which is read now and says the account, too.
    source_schema : str
        The schema of the source table.
    helper_schema, helper_table : str
        Where on the source server the rows of this link are held. The table's name may be a class name; table and
        schema are created when missing, as the account's rights allow.
    local_schema : str or datajoint.Schema
        The schema of the local table; created when missing. A ``dj.Schema`` stands for its name and its connection.
    table : str, optional
        The class of the source table, in CamelCase, where the decorated class is to have another name: the local table
        is named by the class. Default: the class has the name of the source table's.
    stores : mapping, optional
        For tables with files: each store of the source, and the local store for copies of its objects. Both are
        configured in DataJoint's settings of the local connection; where the source's goes by another name there, give
        a pair of names. ``reference("local_store")`` copies nothing. The default store is named ``"default"``.
    codecs : mapping, optional
        What columns are taken for where the source does not say it, or says something else: ``"bytes"`` as they are,
        ``"<blob>"`` or another codec. A column of a part table stands behind its class: ``"Spike.trace"``. Needed for
        some of what DataJoint 0.12 to 0.14 declared.
    datajoint : {'2.x', '0.x'}
        What reads the local tables: ``'0.x'`` where the scripts of this lab run DataJoint 0.12 to 0.14, for which they
        are declared then, on MySQL or MariaDB. Columns in stores, and codecs other than ``<blob>`` and ``<attach>``,
        are refused.
    backend : {'mysql', 'postgresql'}, optional
        The kind of the source server ('mysql' for MariaDB as well). Default: that of the local connection.
    database : str, optional
        The database on a PostgreSQL server.
    port : int, optional
        The source server's port.
    use_tls : bool or mapping, optional
        Whether what goes to the source is encrypted. Default: on its way to another machine it is, or there is no
        connection. ``{"ca": path}`` checks the server's certificate as well, ``cert`` and ``key`` are the client's own;
        ``check_hostname=False`` takes a certificate for another name.
    conflicts : {'keep', 'raise', 'skip', 'replace'}
        What pulls do about rows that are local, not held, and not what the source has, unless they are told: see
        :meth:`Source.pull`.
    holder : str, optional
        Who holds, in words for people at the source, such as ``"Lab B"``: they read it in the comment of the helper
        table.
    connection : datajoint.Instance or datajoint.Connection, optional
        The local server. Default: that of ``local_schema``, or DataJoint's own connection, ``dj.conn()``.

    Returns
    -------
    callable
        The decorator; it turns a class into a subclass of :class:`LinkedTable`.

    Raises
    ------
    ConfigError
        An argument is of the wrong kind. Whatever needs a server is raised at first use, as a :class:`LinkError`.

    Examples
    --------
    >>> @link("db.lab-a.org", "ephys", "link_lab_b", "unit_outbound", "ephys_from_a")
    ... class Unit(LinkedTable):
    ...     '''The units of lab A.'''
    >>> (Unit.source & "subject_id = 7").pull(display_progress=True)
    """
    named, connection = local_side("local_schema", local_schema, connection)

    def decorate(cls: type) -> Any:
        require_table_class(cls, "@link")
        schemas = {
            "source_schema": source_schema,
            "helper_schema": helper_schema,
            "local_schema": named,
        }
        spec = make_spec(
            cls.__name__,
            host,
            schemas,
            helper_table,
            stores=stores,
            codecs=codecs,
            datajoint=datajoint,
            backend=backend,
            database=database,
            port=port,
            use_tls=use_tls,
            conflicts=conflicts,
            holder=holder,
            parts_named=parts_named(cls),
            table=table,
        )
        tell_of_unused(cls, parts_named(cls))
        return linked_class(cls, Link(spec, connection), LinkedTable)

    return decorate


def linked_class(cls: type, link: Link, kind: type[LinkedTable], tier: type[dj.Table] = dj.Manual) -> Any:
    """A linked table of some kind and tier, with the name, docstring and methods of the decorated class."""
    left_out = {"__dict__", "__weakref__", "definition", *link.spec.parts_named}
    body = {name: value for name, value in vars(cls).items() if name not in left_out}
    mixins = tuple(base for base in cls.__bases__ if base is not object and not issubclass(base, dj.Table))
    body |= {
        "_link": link,
        "_active": False,
        "_activation": threading.RLock(),
        "database": link.spec.local_schema,
        "__qualname__": cls.__qualname__,
        "__doc__": documented(cls, link.spec),
    }
    made = LinkedMeta(cls.__name__, (*mixins, kind, tier), body)
    rebind(body.values(), cls, made)
    return made


class LinkedMeta(TypedMeta):
    """Connects a linked class when it is first used, not when it is made."""

    _link: Link
    _active: bool
    _activation: Any

    def __call__(cls: type[T], *args: Any, **kwargs: Any) -> T:
        cast(Any, cls)._activate()
        return cast(T, cast(Any, super()).__call__(*args, **kwargs))

    def __getattr__(cls, name: str) -> Any:
        # Part tables are attributes of the class, known once the local tables are; a pull may have added one.
        if name[:1].isupper() and "_link" in cls.__dict__ and (not cls._active or cls._has_new_part(name)):
            cls._active = False
            cls._activate()
            return getattr(cls, name)
        raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}{_elsewhere(cls, name)}")

    @property
    def connection(cls) -> dj.Connection:
        """The connection to the local server."""
        return cls._link.connect_here()

    @property
    def table_name(cls) -> str:
        """The local table's name."""
        return cls._link.spec.table_name

    @property
    def full_table_name(cls) -> str:
        """The local table's quoted full name."""
        return host.full_name(cls.connection, cls._link.spec.local_schema, cls._link.find_name())

    def _declare(cls) -> None:
        """Make the local tables, which are not there."""
        cls._link.open()

    def _has_new_part(cls, name: str) -> bool:
        return part_of_class(cls._link.spec.table_name, name) in cls._link.local_parts()

    def _activate(cls) -> None:
        """Bind the class to the local tables; declare them if they are not there. Only that needs the source."""
        with cls._activation, final():
            if cls._active:
                return
            if not cls._link.is_declared():
                cls._declare()
            cls._active = True
            try:
                cls._bind()
            except BaseException:
                cls._active = False
                raise

    def _bind(cls) -> None:
        local, master = cls._link.connect_local(), cls._link.spec.table_name
        with local.turn, local.in_our_words():
            if not local.in_transaction():
                local.revive()
            for name in cls._link.local_parts():
                part = part_class(master, name)
                setattr(cls, part, type(part, (LinkedPart,), {"definition": ..., "_link": cls._link}))
            schema = dj.Schema(
                cls._link.spec.local_schema,
                connection=local.connection,
                create_schema=False,
                create_tables=False,
            )
            schema(cls, context={cls.__name__: cls})
            host.load_heading(cls())


#: What a source has, and its table here has not.
_AT_SOURCE = frozenset(name for name in dir(Source) if not name.startswith("_")) - frozenset(dir(UserTable))


def _elsewhere(cls: type, name: str) -> str:
    """Where something is to be had that a local table has not, if it is; ends the message of an AttributeError."""
    title = cls.__name__
    return f": it is the source's, {title}.source.{name}, or ({title}.source & ...).{name}" * (name in _AT_SOURCE)


class _SourceOf:
    """``Table.source`` and ``Table().source``."""

    def __get__(self, instance: Any, owner: type[LinkedTable]) -> Source:
        return owner._source_class(owner._link)


class Local(Captioned):
    """A local table of a link, which says in previews where it is, and what follows from changing pulled rows."""

    _link: Link

    def _caption(self) -> str:
        here, spec = cast(Any, self), self._link.spec
        place = f"{here.database}.{here.table_name} at {self._link.connect_local().address}"
        return f"Local: {place}, linked to {self._linked_to()} at {spec.address}."

    def _in_our_words(self) -> contextlib.AbstractContextManager[None]:
        return self._link.connect_local().in_our_words()

    def _linked_to(self) -> str:
        """The table of the source."""
        return f"{self._link.spec.source_schema}.{self._link.spec.source_class}"

    @of_classes
    def update1(self, row: Mapping[str, Any]) -> None:
        """Update one row, as in DataJoint; of a pulled one ``source.refresh()`` brings back the source's values."""
        update = cast(Any, super()).update1
        here: Any = self
        connection, local = here.connection, self._link.connect_local()
        table = self._link.keep_edits().find(here.table_name)
        if table is None:
            update(row)
        else:
            # Threads take turns: it would be a transaction of all of them.
            with local.turn, contextlib.nullcontext() if host.in_transaction(connection) else connection.transaction:
                update(row)
                this = host.where_clause(here & {name: row[name] for name in here.primary_key})
                host.attempt(connection, noting(local.dialect, table, this))
        self._tell()

    @of_classes
    def insert(self, rows: Any, replace: bool = False, *more: Any, **options: Any) -> None:
        """Insert rows, as in DataJoint; of a pulled one that is replaced it is as with :meth:`update1`."""
        cast(Any, super()).insert(rows, replace, *more, **options)
        if replace:
            self._tell()

    def _tell(self) -> None:
        """Say it once; whether a row is held only the source knows, which may be away."""
        name = self._link.spec.class_name
        if self._link.connect_local().is_news((name, "edited")):
            logger.warning(
                "%s: rows were edited here. Of what was pulled, source.verify() will name them, and source.refresh() "
                "bring back the source's values. Corrections belong to the source; attributes of your own into a table "
                "that refers to this one.",
                name,
            )


class _SourceOfPart:
    """``Table.Part.source`` and ``Table.Part().source``."""

    def __get__(self, instance: Any, owner: type[LinkedPart]) -> SourcePart:
        return SourcePart(owner._link, owner.__name__)


class LinkedPart(Local, Selecting, dj.Part):
    """A part of a linked table: an ordinary DataJoint table otherwise, with ``source`` for the source's part."""

    most_keys = MOST_HERE
    source = _SourceOfPart()

    @property
    def _title(self) -> str:
        return type(self).__name__

    def _linked_to(self) -> str:
        return f"{super()._linked_to()}.{type(self).__name__}"

    def delete(self, part_integrity: str = "enforce", **options: Any) -> int:  # type: ignore[override]
        """Delete rows of the part, as in DataJoint.

        With ``part_integrity="cascade"`` the entities that they belong to are deleted, and released at the source: see
        :meth:`LinkedTable.delete`.
        """
        require_matched(self)
        own: Any = super()
        if part_integrity != "cascade":
            return int(own.delete(part_integrity, **options))
        with final():
            local = self._link.open().mapping.local
            (part,) = (part for part in local.parts if part.name == self.table_name)
            master: Any = type(self).master
            entities = master & by_entity(self, part, local.master)
        return int(entities.delete(part_integrity=part_integrity, **options))

    @of_classes
    def delete_quick(self, get_count: bool = False) -> int | None:
        """Delete rows of the part alone, as in DataJoint; the entities that they belong to stay, and stay held."""
        require_matched(self)
        return cast(Any, super()).delete_quick(get_count)  # type: ignore[no-any-return]


class LinkedTable(Local, Selecting, UserTable, metaclass=LinkedMeta):
    """A local table whose rows come from a source table: an ordinary DataJoint table otherwise."""

    _link: Link
    _active = True
    _source_class: type[Source] = Source
    most_keys = MOST_HERE
    source = _SourceOf()

    if not TYPE_CHECKING:  # it would be an attribute of any name

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}{_elsewhere(type(self), name)}"
            )

    @property
    def definition(self) -> str:
        """The local table's definition, as DataJoint describes it."""
        return str(cast(Any, self).describe(printout=False))

    @of_classes
    def alter(self, prompt: bool = True, context: Any = None) -> None:
        """Widen the local table, and its parts, to what the source's have become; and mark columns.

        Columns and part tables that are missing are added, columns that hold less than the source's are widened; and so
        is the key of the helper table. Nothing is narrowed or dropped. Rows that are here get the default of a new
        column, or NULL: ``source.verify()`` names those of which the source has something else.
        Comments that lack the marker by which DataJoint knows what is in a column, or have another one, are changed.

        Parameters
        ----------
        prompt : bool
            Show the statements and ask.
        context : dict, optional
            As in DataJoint; a linked table's definition is the source's.

        Raises
        ------
        TransactionError
            Called inside an open transaction.
        LinkError
            A server refuses, or the source cannot be reached.
        """
        with final():
            self._link.forget()
            try:
                altered = alter(self._link.open(), prompt)
            finally:
                self._look_again()
            type(self)._activate()
        if altered and prompt:
            dj.logger.info("Table altered")

    @of_classes
    def delete(self, transaction: bool = True, prompt: bool | None = None, part_integrity: str = "enforce") -> int:
        """Delete local rows and what depends on them locally, and release them at the source.

        Entities that the source has flagged become deprecated there: it can delete them then. What is held for rows of
        other linked tables that depend on these is released as well, wherever their sources are; they are told first.

        Parameters
        ----------
        transaction : bool
            As in DataJoint; a linked table is always deleted from within a transaction of its own.
        prompt : bool, optional
            Show what will be deleted and ask. Default: ``dj.config['safemode']``.
        part_integrity : {'enforce', 'ignore', 'cascade'}
            As in DataJoint.

        Returns
        -------
        int
            Number of rows deleted here, those of dependent tables not counted.

        Raises
        ------
        UnreachableError
            The source cannot be told; nothing was deleted.
        LinkError
            Rows of another linked table would be deleted, too, whose class is not known here.
        TransactionError
            Called inside an open transaction.
        """
        asks = self._link.asks(prompt)

        def going(keys: Iterable[dict[str, Any]]) -> Iterator[host.Alone]:
            return (host.Cascade(table, part_integrity) for table in self._deletable(keys))

        with final():
            return self._link.operate(lambda ends: delete([Target(ends, self._selection(), going)], asks))

    @of_classes
    def drop(self, prompt: bool | None = None, part_integrity: str = "enforce") -> None:
        """Drop the local table, its parts and what depends on them locally, and release the holds at the source.

        Entities that the source has flagged become deprecated there. Of other linked tables that are dropped with it
        what is held is released as well. ``drop_quick``, and a drop of the schema, leave the holds as they are.

        Parameters
        ----------
        prompt : bool, optional
            Show what will be dropped and released, and ask. Default: ``dj.config['safemode']``.
        part_integrity : {'enforce', 'ignore'}
            As in DataJoint.

        Raises
        ------
        UnreachableError
            The source cannot be told; nothing was dropped, unless the message says so.
        LinkError
            The table is restricted, or another linked table would be dropped, too, whose class is not known here.
        TransactionError
            Called inside an open transaction.
        """
        if self.restriction:
            raise LinkError("A table with a restriction cannot be dropped.", "Call drop() of the whole table.")
        with final():
            self._link.operate(lambda ends: self._drop(ends, prompt, part_integrity))

    def _drop(self, ends: Ends, prompt: bool | None, part_integrity: str) -> None:
        with ends.local.turn, ends.local.in_our_words():
            ends.local.revive()
            tables = host.tables_to_drop(self, part_integrity)
        asks = self._link.asks(prompt)

        def confirm(counts: Counts) -> bool:
            if not asks:
                return True
            with ends.local.in_one_session():
                for table in reversed(tables):
                    dj.logger.info(f"{table.full_table_name} ({len(table)} tuples)")
            tell_of_holds(counts)
            return host.agrees("Proceed?")

        def execute() -> None:
            with ends.local.in_one_session():
                for table in tables:
                    table.drop_quick()

        try:
            if drop(ends, [table.full_table_name for table in tables], confirm, execute) and asks:
                dj.logger.info("Tables dropped, holds released.")
        finally:
            self._look_again()

    @of_classes
    def drop_quick(self) -> None:
        """Drop the local table alone, without a prompt; what is held for it at the source stays held."""
        try:
            with self._link.connect_local().in_our_words():
                cast(Any, super()).drop_quick()
        finally:
            self._look_again()
        dj.logger.warning(
            f"{type(self).__name__}: what was held at the source stays held; drop() releases it, and so does "
            "source.repair(vanished='release', dry_run=False)"
        )

    def _look_again(self) -> None:
        """The tables are not what they were: look at them before they are used the next time."""
        self._link.forget()
        type(self)._active = False

    @of_classes
    def delete_quick(self, get_count: bool = False) -> int | None:
        """Delete local rows without a prompt and without dependents, and release them at the source.

        Parameters
        ----------
        get_count : bool
            Return the number of rows deleted.

        Returns
        -------
        int or None
            That number, if it is asked for.

        Raises
        ------
        LinkError
            As for :meth:`delete`.
        """

        def going(keys: Iterable[dict[str, Any]]) -> Iterator[host.Alone]:
            return map(host.Alone, self._deletable(keys))

        with final():
            count = self._link.operate(lambda ends: delete([Target(ends, self._selection(), going)], prompt=False))
        return count if get_count else None

    @property
    def _title(self) -> str:
        return type(self).__name__

    def _selection(self) -> Selection:
        return selection_of(self)

    def _deletable(self, keys: Iterable[dict[str, Any]]) -> Iterator[Any]:
        """The selected rows, which have these keys, by conditions that deletions can take; in batches, if need be.

        DataJoint's cascade misreads conditions that look up rows, and once rows of a table are gone that they look up
        they select others. A condition by very many keys takes a server too long.
        """
        if not host.is_limited(self) and not host.has_subquery(self):
            yield self
            return
        for batch in batched(keys):
            yield type(self)() & batch
