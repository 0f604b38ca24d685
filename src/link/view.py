"""The view of the source: a query there, and what can be done with what it selects."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Literal, ParamSpec, TypeVar, cast

import datajoint as dj

from . import host
from .config import require_at_least, require_conflicts, require_dependents, require_switch
from .ends.ends import Ends
from .ends.implied import implied_by
from .ends.linking import Link
from .holds.holds import Holds
from .host import FreeTable
from .model.ranges import Selection
from .model.results import PullResult, RefreshResult, RepairResult, VerifyResult
from .model.schema import Table, nearest, part_of_class
from .model.shown import number_of
from .model.statuses import Status
from .selections import require_matched, require_own_key, selection_of
from .servers.site import Site
from .sharing import TOLD, ReadOnly, UnknownNameError, by_entity, unknown_table
from .signals import final
from .travelling import in_batches
from .work import parallel
from .work.ending import release
from .work.following import Wanted
from .work.gather import gather
from .work.pull import pull
from .work.refresh import Share, deletable, refresh
from .work.repair import repair, repair_each, require_known
from .work.run import Run
from .work.standing import Wish, refresh_each
from .work.status import status
from .work.verify import Look, verify

P = ParamSpec("P")
T = TypeVar("T")


def named_here(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function say of arguments that it does not know how it calls them."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> T:
            for given in kwargs.keys() & names.keys():
                raise TypeError(f"{function.__name__}() calls it {names[given]}=, not {given}=.")
            return function(*args, **kwargs)

        return told

    return decorate


class SourceView(ReadOnly, FreeTable):
    """A table of a link's source: the master's, or that of a part."""

    def __init__(self, link: Link, part: str | None = None) -> None:
        with final():
            table, site = link.find_table(part), link.connect_source()
            heading = link.read_heading(part)
        cast(Any, super()).__init__(site.connection, host.full_name(site.connection, table.schema, table.name))
        self._link = link
        self._part = part
        host.set_heading(self, heading)

    @property
    def for_more_keys(self) -> str:  # type: ignore[override]
        """Who takes any number of keys."""
        here = self._link.spec.class_name
        return (
            f"{here}.source.pull(selection) takes any number, in batches; what is not here yet is in "
            f"{here}.source.unshared. Or restrict by less."
        )

    def _there(self) -> Site:
        return self._link.connect_source()

    def _table(self) -> Table:
        return self._link.find_table(self._part)

    def _find_holds(self) -> Holds | None:
        return self._link.find_holds()

    def _known_holds(self) -> Holds | None:
        return self._link.know_holds()

    def _place(self) -> str:
        return ".".join(filter(None, (self._link.spec.source_schema, self._link.spec.source_class, self._part)))

    def _own_link(self) -> Link:
        return self._link

    def _whole(self) -> Any:
        return type(self)(self._link, self._part)

    @property
    def _title(self) -> str:
        title = self._link.spec.class_name
        return f"{title}.{self._part}" if self._part else title

    @property
    def _written(self) -> str:
        return ".".join(filter(None, (self._link.spec.class_name, "source", self._part)))

    def _answer(self, name: str) -> str | None:
        asked = f"({self._written} & query.proj()).{name}"
        return asked if name in TOLD else f"{asked}()" if name in vars(type(self)) else None

    def __repr__(self) -> str:
        return str(cast(Any, super(FreeTable, self)).__repr__())


class Source(SourceView):
    """What the source has: a DataJoint query that can be restricted, previewed, fetched, and pulled.

    Of what is selected: :meth:`pull` copies rows, with their parts, and holds them; :meth:`status` counts entities by
    state; :meth:`verify` proves that copies are equal, and :meth:`refresh` brings them up to date; :meth:`repair` mends
    what a crash or a hand left behind; :meth:`release` lets go. ``unshared``, ``shared`` and ``flagged`` are queries.

    Its part tables are attributes, by the names of their classes: ``Session.source.Trial``.
    """

    @named_here(limit="max_calls")
    def pull(
        self,
        *restrictions: Any,
        display_progress: bool = False,
        max_calls: int | None = None,
        dry_run: bool = False,
        suppress_errors: bool = False,
        transfers: int = 8,
        conflicts: Literal["keep", "raise", "skip", "replace"] | None = None,
        processes: int = 1,
        executor: Executor | None = None,
    ) -> PullResult:
        """Copy the selected rows, with all their part rows, to the local table, and hold them at the source.

        What is shared already is left alone; what the source wants deleted is never pulled. Whatever an interrupted
        run left is finished first. Any number of pulls may run at once. Rows that are local and not held are held, and
        not copied, where they are the same as the source's. Where the local table refers to other tables that are
        linked to this source, as a pipeline's does, what the selected rows refer to there comes before them.

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
        conflicts : {'keep', 'raise', 'skip', 'replace'}
            What becomes of entities that are local, not held, and not what the source has: ``'keep'`` holds them as
            they are, and names them in the result; ``'raise'`` is an error before anything is held; ``'skip'`` leaves
            them alone, and counts them; ``'replace'`` holds them, and brings them to the source's content in place, as
            :meth:`refresh` does. Default: what ``@link`` was told, else ``'keep'``.
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
        ConflictError
            With ``conflicts="raise"`` there are such entities.
        TransactionError
            Called inside an open local transaction.
        LinkError
            The source cannot be reached, a right is missing, tables do not fit.
        """
        require_at_least(transfers=(transfers, 1), processes=(processes, 1), max_calls=(max_calls, 0))
        word = self._link.spec.conflicts if conflicts is None else conflicts
        require_conflicts(word)
        workers = processes if processes > 1 or executor is None else os.cpu_count() or 1
        options: dict[str, Any] = {
            "display_progress": display_progress,
            "max_calls": max_calls,
            "suppress_errors": suppress_errors,
            "transfers": transfers,
            "conflicts": word,
        }

        def work(ends: Ends, selection: Selection) -> PullResult:
            if dry_run:
                return pull(ends, selection, dry_run=True, **options)
            if implied := implied_by(self._link):
                # What it refers to here comes before it.
                wanted = Wanted(
                    implied.graph, {implied.name: [selection]}, **options, workers=workers, executor=executor
                )
                return gather(implied.ends, wanted)[implied.name]
            if processes > 1 or executor is not None:
                return parallel.pull(ends, selection, workers=workers, executor=executor, **options)
            return pull(ends, selection, **options)

        with final():
            result: PullResult | None = None
            # Each of them is cut where its keys are too many to travel at once.
            batches = itertools.product(*(list(in_batches(self, each)) for each in restrictions))
            selections = [self._selection(*some) for some in batches]
            if word == "raise" and len(selections) > 1 and not dry_run:
                # One with a conflict comes first: nothing is held before it is told.
                selections.sort(key=lambda some: not self._is_in_conflict(some))
            for selection in selections:
                part = self._link.operate(functools.partial(work, selection=selection))
                if result is None:
                    result = part
                else:
                    result.add(part)
                    result.seconds += part.seconds
                if max_calls is not None:
                    met = result.adopted + len(result.differing) + len(result.replaced)
                    options["max_calls"] = max(max_calls - result.pulled - met, 0)
            assert result is not None
            return result

    def _is_in_conflict(self, selection: Selection) -> bool:
        return bool(self._link.operate(lambda ends: pull(ends, selection, dry_run=True)).differing)

    def status(self, deep: bool = False) -> Status:
        """Count the selected entities by state; prints as a small table.

        Parameters
        ----------
        deep : bool
            Look up every key on both servers, rather than compare checksums of the keys.

        Returns
        -------
        Status
            A number for each state, and since when.

        Raises
        ------
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        require_switch(deep=deep)
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

        Raises
        ------
        TransactionError
            Called inside an open local transaction, and not as a dry run.
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        require_switch(dry_run=dry_run)
        require_known(vanished)
        with final():
            selection = self._selection()

            def work(ends: Ends) -> RepairResult:
                if implied := implied_by(self._link):
                    about, title = {implied.name: selection}, f"{ends.name}: entities by state"
                    return repair_each(implied.ends, implied.graph, about, title, dry_run=dry_run, vanished=vanished)
                return repair(ends, selection, dry_run=dry_run, vanished=vanished)

            return self._link.operate(work)

    def verify(
        self,
        files: bool = False,
        sample: int | None = None,
        display_progress: bool = False,
        transfers: int = 8,
    ) -> VerifyResult:
        """Prove that the selected shared entities, parts included, are the same on both servers.

        Both servers compute digests of ranges at the same time where they are of one kind and no column names files;
        elsewhere the values are compared here. Only where digests differ are single entities compared. Differences are
        reported, never mended.

        Parameters
        ----------
        files : bool
            Read the local files that rows name, too, and compare them with the hashes in the rows, or with the source's
            files where there is none.
        sample : int, optional
            Only the files of so many entities, chosen at random; their rows are compared all the same.
        display_progress : bool
            Show a progress bar of the bytes read.
        transfers : int
            Read so many files at once.

        Returns
        -------
        VerifyResult
            The keys that differ; true when there are none.

        Raises
        ------
        ConfigError
            ``sample`` is given without ``files``.
        StoreError
            A store cannot be reached: that is no difference.
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        look = Look(files, sample, display_progress, transfers)
        with final():
            selection = self._selection()
            return self._link.operate(lambda ends: verify(ends, selection, look))

    def refresh(
        self,
        *restrictions: Any,
        dry_run: bool = False,
        display_progress: bool = False,
        suppress_errors: bool = False,
        transfers: int = 8,
        processes: int = 1,
        dependents: Literal["report", "delete"] = "report",
        prompt: bool | None = None,
    ) -> RefreshResult:
        """Bring the selected shared entities that differ to the source's content, in place.

        Values are changed, part rows added, changed and removed, files copied anew; keys stay, and with them what
        refers to the rows. Each entity is refreshed whole or not at all. What is equal is not read, and nothing is
        changed at the source but a time in the helper table. Entities that are not shared are left alone: flagged ones,
        and those in other hands.

        Parameters
        ----------
        *restrictions
            Further restrictions, as for ``&``; all of them apply.
        dry_run : bool
            Only find what differs.
        display_progress : bool
            Show a progress bar.
        suppress_errors : bool
            Go on after an entity that the local server does not take, or of which a file is missing, and return its
            error with the result.
        transfers : int
            Copy so many files at once (each worker).
        processes : int
            Refresh with so many worker processes: they compare at the same time, and change rows here by turns.
        dependents : {'report', 'delete'}
            What to do about local rows that depend on refreshed entities. The result's ``dependents`` tells them. With
            ``'delete'`` those of computed and imported tables are deleted, each in the transaction that refreshes its
            entity, so that ``populate()`` makes them anew. Rows of other tables are never deleted, and so are none to
            which such rows refer.
        prompt : bool, optional
            With ``dependents="delete"``: show how many rows of which tables will be deleted, and ask. Default:
            ``dj.config['safemode']``.

        Returns
        -------
        RefreshResult
            Counts, and the keys of what was refreshed; prints as one line.

        Raises
        ------
        TransferError
            The local server does not take an entity as it is at the source now, or local rows refer to a part row that
            has gone there; the entity stays as it was, and what was refreshed stays refreshed.
        TransactionError
            Called inside an open local transaction.
        LinkError
            The source cannot be reached, a right is missing, tables do not fit.
        """
        require_at_least(transfers=(transfers, 1), processes=(processes, 1))
        require_dependents(dependents)
        with final():
            selection = self._selection(*restrictions)
            share = Share(dry_run, suppress_errors, transfers, delete=dependents == "delete")
            asks = self._link.asks(prompt)

            def work(ends: Ends) -> RefreshResult:
                if implied := implied_by(self._link):
                    # What edited rows refer to here comes before them.
                    wish = Wish(
                        {implied.name: selection},
                        share,
                        may_delete if asks else None,
                        ends.spec.conflicts,
                        processes,
                        display_progress,
                    )
                    return refresh_each(implied.ends, implied.graph, wish)
                agreed = share
                if share.delete and asks and not dry_run:
                    with Run(ends) as run:
                        [entities], counts = deletable([(run, selection)])
                    if counts and not may_delete(counts):
                        return RefreshResult()
                    agreed = replace(share, covered=entities)
                if processes > 1:
                    return parallel.refresh(
                        ends, selection, workers=processes, share=agreed, display_progress=display_progress
                    )
                return refresh(ends, selection, agreed, display_progress)

            return self._link.operate(work)

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
            Number of holds that were let go of; 0 when the user declined.

        Raises
        ------
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        with final():
            asks, spec, there = self._link.asks(prompt), self._link.spec, self._link.connect_source()
            selection = self._selection(*restrictions)

            def confirm(unflagged: int, flagged: int) -> bool:
                return not asks or may_release(
                    unflagged + flagged, there.address, spec.source_schema, spec.local_schema
                )

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

        Raises
        ------
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        with final():
            here, spec = self._link.connect_local(), self._link.spec
            asks = self._link.asks(prompt)
            helper = f"{spec.find_helper_schema()}.{spec.helper_table}"
            if asks and not may_take_over(helper, [f"{spec.local_schema}.{spec.table_name}"], here):
                return
            self._link.take_over()

    def _entities(self) -> Selection:
        return self._selection()

    def __getattr__(self, name: str) -> SourcePart:
        if name[:1].isupper() and "_link" in self.__dict__:
            with final():
                known = self._link.find_parts()
                if name in known and not self.restriction and not host.is_limited(self):
                    return SourcePart(self._link, name)
                if name in known:
                    raise UnknownNameError(
                        f"A query on {self._title} at the source has no part tables.",
                        f"Restrict the part by it: {self._title}.source.{name} & query.",
                    )
                what = f"{self._title} at the source has no part table {name!r}, as far as the link user sees them."
                master = self._table()
                part = part_of_class(master.name, name)
                raise unknown_table(self._there(), what, nearest(name, known), master.schema, part)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._link.find_parts()})

    def _selection(self, *restrictions: Any) -> Selection:
        """What this query selects; DataJoint may have to ask the source for it."""
        expression: Any = self
        with self._link.connect_source().in_our_words():
            for restriction in restrictions:
                expression = expression & restriction
            selection = selection_of(expression)
        self._link.connect_source().require_short(selection.condition)
        return selection


class SourcePart(SourceView):
    """A part of a source table: a DataJoint query; what is pulled are the entities that its rows belong to."""

    def _entities(self) -> Selection:
        query: Any = self
        require_own_key(query)
        return Source(self._link)._selection(by_entity(query, self._table(), self._link.find_table(None)))

    def pull(self, *restrictions: Any, **options: Any) -> PullResult:
        """Copy the entities that the selected rows belong to, whole, as :meth:`Source.pull` does, and hold them.

        Parameters
        ----------
        *restrictions
            Further restrictions, as for ``&``; all of them apply.
        **options
            As for :meth:`Source.pull`.

        Returns
        -------
        PullResult
            Counts entities.

        Raises
        ------
        LinkError
            As for :meth:`Source.pull`.
        """
        query: Any = self
        with self._there().in_our_words():
            for restriction in restrictions:
                query = query & restriction
        require_matched(query)
        require_own_key(query)
        return Source(self._link).pull(by_entity(query, self._table(), self._link.find_table(None)), **options)


def may_take_over(helper: str, served: Sequence[str], here: Site) -> bool:
    """Say whom a helper table, or a schema of them, serves from now on, and ask."""
    dj.logger.info(
        f"From now on {helper} at the source serves {', '.join(served)} on {here.address} ({here.facts.place}), and no "
        "other table."
    )
    if host.agrees("Proceed?"):
        return True
    dj.logger.warning("Nothing was changed.")
    return False


def may_release(number: int, address: str, theirs: str, ours: str) -> bool:
    """Say how many holds will be let go of, and ask."""
    dj.logger.info(
        f"{number_of(number, 'hold')} at {address} will be let go of: its lab may then change or delete "
        f"these rows of {theirs}. The rows in {ours} stay, as your own."
    )
    return host.agrees("Release?")


def may_delete(counts: Mapping[str, int]) -> bool:
    """Show how many rows of which tables are deleted by a refresh, and ask."""
    for name, count in counts.items():
        dj.logger.info(f"{name} ({count} tuples)")
    if host.agrees("Delete these, and refresh?"):
        return True
    dj.logger.warning("Nothing was deleted, and nothing refreshed.")
    return False
