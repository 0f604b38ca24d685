"""The public face: the ``@link`` decorator, linked table classes, and the view of the source."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any, Literal, NoReturn, cast

import datajoint as dj

from . import host
from .config import LocalStore, make_spec
from .ends.altering import alter
from .ends.ends import Ends
from .ends.linking import Link
from .errors import ConfigError, LinkError
from .host import FreeTable, TableMeta
from .model.ranges import Selection
from .model.results import PullResult, RepairResult, Status, VerifyResult
from .model.schema import part_class, part_of_class
from .selections import Selecting, selection_of
from .signals import final
from .work import parallel
from .work.deletion import delete
from .work.ending import drop, release
from .work.pull import pull
from .work.repair import repair
from .work.status import flagged, status
from .work.verify import verify

#: Keys of rows that DataJoint deletes by one statement, where it cannot do so by the conditions.
KEYS_AT_ONCE = 1000


def link(
    host: str,
    source_schema: str,
    helper_schema: str,
    helper_table: str,
    local_schema: str,
    /,
    *,
    stores: Mapping[str, LocalStore] | None = None,
    backend: str | None = None,
    database: str | None = None,
    port: int | None = None,
    use_tls: bool | Mapping[str, Any] | None = None,
    holder: str | None = None,
    connection: Any = None,
) -> Callable[[type], Any]:
    """Link the table that a class names, on another lab's server, to a local table.

    Nothing is read or connected until the class is first used. From then on it is an ordinary DataJoint table on the
    local server, with ``source`` for what the other server has. The account at the source is ``LINK_USER`` and
    ``LINK_PASS`` of the environment.

    Parameters
    ----------
    host : str
        The source server: ``host``, ``host:port``, a socket folder, or a URL such as
        ``postgresql://db.lab.org:5432/neuro``.
    source_schema : str
        The schema of the source table.
    helper_schema, helper_table : str
        Where on the source server the rows of this link are held. The table's name may be a class name; table and
        schema are created when missing, as the account's rights allow.
    local_schema : str
        The schema of the local table; created when missing.
    stores : mapping, optional
        For tables with files: each store of the source, and the local store for copies of its objects. Both are
        configured in DataJoint's settings of the local connection; where the source's goes by another name there, give
        a pair of names. ``reference("local_store")`` copies nothing. The default store is named ``"default"``.
    backend : {'mysql', 'postgresql'}, optional
        The kind of the source server ('mysql' for MariaDB as well). Default: that of the local connection.
    database : str, optional
        The database on a PostgreSQL server.
    port : int, optional
        The source server's port.
    use_tls : bool or mapping, optional
        As for ``dj.conn``.
    holder : str, optional
        Who holds, in words for people at the source, such as ``"Lab B"``: they read it in the comment of the helper
        table.
    connection : datajoint.Instance or datajoint.Connection, optional
        The local server. Default: DataJoint's own connection, ``dj.conn()``.

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
    ... class Unit:
    ...     '''The units of lab A.'''
    >>> (Unit().source & "subject_id = 7").pull(display_progress=True)
    """

    def decorate(cls: type) -> Any:
        require_table_class(cls, "@link")
        schemas = {
            "source_schema": source_schema,
            "helper_schema": helper_schema,
            "local_schema": local_schema,
        }
        spec = make_spec(
            cls.__name__,
            host,
            schemas,
            helper_table,
            stores=stores,
            backend=backend,
            database=database,
            port=port,
            use_tls=use_tls,
            holder=holder,
            parts_named=parts_named(cls),
        )
        return linked_class(cls, Link(spec, connection), LinkedTable)

    return decorate


def require_table_class(cls: object, decorator: str) -> None:
    """Raise ConfigError for what cannot be decorated."""
    if not isinstance(cls, type) or not host.is_camel_case(cls.__name__):
        raise ConfigError(
            f"{decorator} decorates a class whose name is the source table's in CamelCase, not {cls!r}.",
            "For example: class Unit: pass",
        )


def parts_named(cls: type) -> frozenset[str]:
    """The part classes that the body of a class names."""
    return frozenset(n for n, v in vars(cls).items() if isinstance(v, type) and issubclass(v, dj.Part))


def linked_class(cls: type, link: Link, kind: type[LinkedTable]) -> Any:
    """A linked table of some kind with the name, docstring and methods of the decorated class."""
    left_out = {"__dict__", "__weakref__", "definition", *link.spec.parts_named}
    body = {name: value for name, value in vars(cls).items() if name not in left_out}
    mixins = tuple(base for base in cls.__bases__ if base is not object and not issubclass(base, dj.Table))
    body |= {
        "_link": link,
        "_active": False,
        "_activation": threading.RLock(),
        "database": link.spec.local_schema,
    }
    return LinkedMeta(cls.__name__, (*mixins, kind), body)


class LinkedMeta(TableMeta):
    """Connects a linked class when it is first used, not when it is made."""

    _link: Link
    _active: bool
    _activation: Any

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        cls._activate()
        return super().__call__(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        # Part tables are attributes of the class, known once the local tables are; a pull may have added one.
        if name[:1].isupper() and "_link" in cls.__dict__ and (not cls._active or cls._has_new_part(name)):
            cls._active = False
            cls._activate()
            return getattr(cls, name)
        raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")

    @property
    def connection(cls) -> dj.Connection:
        """The connection to the local server."""
        return cls._link.connect_here()

    @property
    def full_table_name(cls) -> str:
        """The local table's quoted full name."""
        return host.full_name(cls.connection, cls._link.spec.local_schema, cls.table_name)

    def _has_new_part(cls, name: str) -> bool:
        return part_of_class(cls._link.spec.table_name, name) in cls._link.local_parts()

    def _activate(cls) -> None:
        """Bind the class to the local tables; declare them if they are not there. Only that needs the source."""
        with cls._activation, final():
            if cls._active:
                return
            if not cls._link.is_declared():
                cls._link.open()
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
                setattr(cls, part, type(part, (dj.Part,), {"definition": ...}))
            schema = dj.Schema(
                cls._link.spec.local_schema,
                connection=local.connection,
                create_schema=False,
                create_tables=False,
            )
            schema(cls, context={cls.__name__: cls})
            host.load_heading(cls())


class Source(Selecting, FreeTable):
    """What the source has: a DataJoint query that can be restricted, previewed, fetched, and pulled."""

    def __init__(self, link: Link) -> None:
        with final():
            master, site = link.find_source().master, link.connect_source()
            heading = link.read_heading()
        cast(Any, super()).__init__(site.connection, host.full_name(site.connection, master.schema, master.name))
        self._link = link
        host.set_heading(self, heading)

    def pull(
        self,
        *restrictions: Any,
        display_progress: bool = False,
        max_calls: int | None = None,
        dry_run: bool = False,
        suppress_errors: bool = False,
        transfers: int = 8,
        processes: int = 1,
        executor: Executor | None = None,
    ) -> PullResult:
        """Copy the selected rows, with all their part rows, to the local table, and hold them at the source.

        What is there already is left alone; what the source wants deleted is never pulled. Whatever an interrupted
        run left is finished first. Any number of pulls may run at once.

        Parameters
        ----------
        *restrictions
            Further restrictions, as for ``&``; all of them apply.
        display_progress : bool
            Show a progress bar.
        max_calls : int, optional
            Pull at most so many new entities.
        dry_run : bool
            Only count.
        suppress_errors : bool
            Go on after an entity that the local server does not take, or of which a file is missing, and return its
            error with the result.
        transfers : int
            Copy so many files at once (each worker).
        processes : int
            Pull with so many worker processes.
        executor : concurrent.futures.Executor, optional
            Run the workers on this instead, as on a cluster: they need this package, and must reach both servers.
            ``processes`` says how many tasks it runs at once (default: the number of cores here).

        Returns
        -------
        PullResult
            Counts; prints as one line.

        Raises
        ------
        TransferError
            The local server does not take an entity; it is left unshared, what was pulled stays.
        TransactionError
            Called inside an open local transaction.
        LinkError
            The source cannot be reached, a right is missing, tables do not fit.
        """
        for name, value, least in (
            ("transfers", transfers, 1),
            ("processes", processes, 1),
            ("max_calls", max_calls, 0),
        ):
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, not {value!r}.")
        with final():
            selection = self._selection(*restrictions)
            options: dict[str, Any] = {
                "display_progress": display_progress,
                "max_calls": max_calls,
                "suppress_errors": suppress_errors,
                "transfers": transfers,
            }
            if (processes > 1 or executor) and not dry_run:
                workers = processes if processes > 1 else os.cpu_count() or 1
                return self._link.operate(
                    lambda ends: parallel.pull(ends, selection, workers=workers, executor=executor, **options)
                )
            return self._link.operate(lambda ends: pull(ends, selection, dry_run=dry_run, **options))

    @property
    def flagged(self) -> list[dict[str, Any]]:
        """The primary keys that the source wants deleted and that are local, as a restriction."""
        with final():
            selection = self._selection()
            return self._link.operate(lambda ends: flagged(ends, selection))

    def status(self, deep: bool = False) -> Status:
        """Count the selected entities by state; prints as a small table.

        Parameters
        ----------
        deep : bool
            Look up every key on both servers, rather than compare checksums of the keys.
        """
        with final():
            selection = self._selection()
            return self._link.operate(lambda ends: status(ends, selection, deep=deep))

    def repair(self, dry_run: bool = True, vanished: Literal["refetch", "release"] = "refetch") -> RepairResult:
        """Bring to rest every selected entity that is not: what an interrupted run, a backup or a hand left behind.

        Parameters
        ----------
        dry_run : bool
            Only say what would be done about how many entities of which state.
        vanished : {'refetch', 'release'}
            What to do about entities that are held and not local: fetch them again, or release their holds.

        Returns
        -------
        RepairResult
            What was done, or would be; prints as a small table.
        """
        with final():
            selection = self._selection()
            return self._link.operate(lambda ends: repair(ends, selection, dry_run=dry_run, vanished=vanished))

    def verify(self) -> VerifyResult:
        """Prove that the selected shared entities, parts included, are the same on both servers.

        Each server computes digests of ranges where both are of one kind; elsewhere the values are compared here. Only
        where digests differ are single entities compared. Differences are reported, never mended.

        Returns
        -------
        VerifyResult
            The keys that differ; true when there are none.
        """
        with final():
            selection = self._selection()
            return self._link.operate(lambda ends: verify(ends, selection))

    def release(self, *restrictions: Any, prompt: bool | None = None) -> int:
        """Let go of what is held for the selected entities, and keep the local rows as the lab's own.

        The source may change and delete them then. Those that it has flagged become deprecated. A later pull holds
        again what is still there; without one the link has ended, and the class is a table like any other.

        Parameters
        ----------
        *restrictions
            Further restrictions, as for ``&``; all of them apply.
        prompt : bool, optional
            Say how many holds that are, and ask. Default: ``dj.config['safemode']``.

        Returns
        -------
        int
            Number of holds that were let go of.
        """
        with final():
            spec, here, there = self._link.spec, self._link.connect_local(), self._link.connect_source()
            asks = host.safemode(here.connection) if prompt is None else prompt
            selection = self._selection(*restrictions)

            def confirm(unflagged: int, flagged: int) -> bool:
                if not asks:
                    return True
                dj.logger.info(
                    f"{unflagged + flagged:,} holds at {there.address} will be let go of: its lab may then change or "
                    f"delete these rows of {spec.source_schema}. The rows in {spec.local_schema} stay, as your own."
                )
                return bool(host.user_choice("Release?", default="no") == "yes")

            return self._link.operate(lambda ends: release(ends, selection, confirm))

    def moved(self, prompt: bool | None = None) -> None:
        """Say that this local table is the one that is held for at the source, after it was moved or restored.

        A link goes by a number that is kept with the local data, and by the place where they were last used. Where they
        are at another place it may be a copy that uses the link, and changes nothing until this is said. Whoever uses
        the same helper table for another local table is refused from then on.

        Parameters
        ----------
        prompt : bool, optional
            Ask first. Default: ``dj.config['safemode']``.
        """
        with final():
            here = self._link.connect_local()
            spec = self._link.spec
            if host.safemode(here.connection) if prompt is None else prompt:
                dj.logger.info(
                    f"From now on {spec.find_helper_schema()}.{spec.helper_table} at the source serves "
                    f"{spec.local_schema}.{spec.table_name} on {here.address} ({here.facts.place}), and no other table."
                )
                if host.user_choice("Proceed?", default="no") != "yes":
                    dj.logger.warning("Nothing was changed.")
                    return
            self._link.take_over()

    def _selection(self, *restrictions: Any) -> Selection:
        """What this query selects; DataJoint may have to ask the source for it."""
        expression: Any = self
        with self._link.connect_source().in_our_words():
            for restriction in restrictions:
                expression = expression & restriction
            selection = selection_of(expression, self._link.spec.class_name)
        self._link.connect_source().require_short(selection.condition)
        return selection

    def __repr__(self) -> str:
        return str(cast(Any, super(FreeTable, self)).__repr__())

    def _read_only(self, *_: Any, **__: Any) -> NoReturn:
        raise LinkError(
            f"The source of {self._link.spec.class_name} is read-only from here.",
            "Delete local rows with (Table() & ...).delete(); rows at the source are its own lab's.",
        )

    insert = insert1 = insert_dataframe = update1 = staged_insert1 = _read_only
    delete = delete_quick = drop = drop_quick = alter = _read_only


class _SourceOf:
    """``Table.source`` and ``Table().source``."""

    def __get__(self, instance: Any, owner: type[LinkedTable]) -> Source:
        return owner._source_class(owner._link)


class LinkedTable(Selecting, dj.Manual, metaclass=LinkedMeta):
    """A local table whose rows come from a source table: an ordinary DataJoint table otherwise."""

    _link: Link
    _active = True
    _source_class: type[Source] = Source
    source = _SourceOf()

    @property
    def definition(self) -> str:
        """The local table's definition, as DataJoint describes it."""
        return str(cast(Any, self).describe(printout=False))

    def alter(self, prompt: bool = True, context: Any = None) -> None:
        """Widen the local table, and its parts, to what the source's have become.

        Columns and part tables that are missing are added, columns that hold less than the source's are widened; and so
        is the key of the helper table. Nothing is narrowed or dropped. Rows that are here get the default of a new
        column, or NULL: ``source.verify()`` names those of which the source has something else.

        Parameters
        ----------
        prompt : bool
            Show the statements and ask.
        context : dict, optional
            As in DataJoint; a linked table's definition is the source's.

        Raises
        ------
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

    def delete(self, transaction: bool = True, prompt: bool | None = None, part_integrity: str = "enforce") -> int:
        """Delete local rows and what depends on them locally, and release them at the source.

        Entities that the source has flagged become deprecated there: it can delete them then.

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
        TransactionError
            Called inside an open transaction.
        """
        prompt = host.safemode(self.connection) if prompt is None else prompt
        own: Any = super(LinkedTable, LinkedTable)

        def execute(keys: Iterable[dict[str, Any]]) -> int:
            seeds = [host.seed(table) for table in self._deletable(keys)]
            if prompt:
                for name, count in host.cascade_counts(seeds, part_integrity).items():
                    dj.logger.info(f"{name} ({count} tuples)")
            # Of a deletion inside a transaction DataJoint says that it is completed before anybody has agreed.
            with host.muted(lambda: True, "Delete completed"):
                return sum(
                    int(own.delete(seed, transaction=False, prompt=False, part_integrity=part_integrity))
                    for seed in seeds
                )

        with final():
            return self._link.operate(lambda ends: delete(ends, self._selection(), execute, prompt))

    def drop(self, prompt: bool | None = None, part_integrity: str = "enforce") -> None:
        """Drop the local table, its parts and what depends on them locally, and release the holds at the source.

        Entities that the source has flagged become deprecated there. ``drop_quick``, and a drop of the schema, leave
        the holds as they are.

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
        """
        if self.restriction:
            raise LinkError("A table with a restriction cannot be dropped.", "Call drop() of the whole table.")
        with final():
            self._link.operate(lambda ends: self._drop(ends, prompt, part_integrity))

    def _drop(self, ends: Ends, prompt: bool | None, part_integrity: str) -> None:
        with ends.local.turn, ends.local.in_our_words():
            ends.local.revive()
            tables = host.tables_to_drop(self, part_integrity)
        asks = host.safemode(self.connection) if prompt is None else prompt

        def confirm(unflagged: int, flagged: int) -> bool:
            if not asks:
                return True
            with ends.local.in_one_session():
                for table in reversed(tables):
                    dj.logger.info(f"{table.full_table_name} ({len(table)} tuples)")
            dj.logger.info(f"{unflagged:,} holds at {ends.source.address} will be released")
            if flagged:
                dj.logger.info(f"{flagged:,} flagged there will become deprecated: the source can delete them then")
            return bool(host.user_choice("Proceed?", default="no") == "yes")

        def execute() -> None:
            with ends.local.in_one_session():
                for table in tables:
                    table.drop_quick()

        try:
            if drop(ends, confirm, execute) and asks:
                dj.logger.info("Tables dropped, holds released.")
        finally:
            self._look_again()

    def drop_quick(self) -> None:
        """Drop the local table alone, without a prompt; what is held for it at the source stays held."""
        try:
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

    def delete_quick(self, get_count: bool = False) -> int | None:
        """Delete local rows without a prompt and without dependents, and release them at the source.

        Parameters
        ----------
        get_count : bool
            Return the number of rows deleted.
        """
        own: Any = super(LinkedTable, LinkedTable)

        def execute(keys: Iterable[dict[str, Any]]) -> int:
            return sum(int(own.delete_quick(table, True)) for table in self._deletable(keys))

        with final():
            count = self._link.operate(lambda ends: delete(ends, self._selection(), execute, prompt=False))
        return count if get_count else None

    def _selection(self) -> Selection:
        return selection_of(self, type(self).__name__)

    def _deletable(self, keys: Iterable[dict[str, Any]]) -> Iterator[Any]:
        """The selected rows, which have these keys, by conditions that deletions can take; in batches, if need be.

        DataJoint's cascade misreads conditions that look up rows, and once rows of a table are gone that they look up
        they select others. A condition by very many keys takes a server too long.
        """
        if not host.is_limited(self) and not host.has_subquery(self):
            yield self
            return
        remaining = iter(keys)
        while batch := list(itertools.islice(remaining, KEYS_AT_ONCE)):
            yield type(self)() & batch
