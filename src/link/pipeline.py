"""Whole pipelines: several schemas of a source, and what of them is here."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Literal

import datajoint as dj

from . import host
from .choosing import chosen, groups_named, in_turns, keys_to_cut, require_limits, require_lookups, require_some_left
from .config import (
    LocalStore,
    PipelineSpec,
    local_sides,
    make_pipeline_spec,
    require_at_least,
    require_conflicts,
    require_dependents,
    require_switch,
)
from .ends.ends import Ends
from .ends.pipeline import Links
from .errors import ConfigError, NotFoundError
from .model.dependents import Dependents
from .model.graph import Graph, Name, label
from .model.pings import Ping
from .model.pipelines import (
    Flagged,
    PipelineRefresh,
    PipelineRepair,
    PipelineResult,
    PipelineStatus,
    PipelineVerification,
)
from .model.plans import Plan
from .model.ranges import ALL, union
from .model.results import PullResult
from .model.schema import nearest
from .ours import LocalSchema
from .signals import final
from .theirs import SourceSchemas, Theirs, require_schema, schemas_to_show
from .view import may_delete, may_release, may_take_over, named_here
from .work.deletion import delete_flagged
from .work.dependents import Pulled, also_made_here, dependents_of
from .work.ending import end
from .work.following import Wanted
from .work.gather import gather
from .work.ping import ping
from .work.plan import Request, make_plan, require_no_conflicts, selections, with_all_grants
from .work.refresh import Share
from .work.repair import repair_each, require_known
from .work.standing import Wish, refresh_each
from .work.status import flagged_of_all, status_of_all
from .work.verify import Look, verify_each

#: What a pull does unless it is told.
_OPTIONS: dict[str, Any] = {
    "display_progress": False,
    "max_calls": None,
    "suppress_errors": False,
    "transfers": 8,
    "conflicts": "raise",
    "processes": 1,
    "executor": None,
}


class Pipeline:
    """A source's pipeline, of several schemas, and the local one into which rows of it are pulled.

    Nothing connects before first use, and nothing is created at either end before the first pull. Schemas are
    attributes, by the *source's* names: of :attr:`source`, where tables are queries at the source, and of the pipeline
    itself, where they are the local tables, in the tiers of the source's and with their foreign keys. What is no
    identifier, or is taken, goes in brackets: ``lab_a["odd-name"]``. The account at the source is ``LINK_USER`` and
    ``LINK_PASS`` of the environment, or that of a source with a name.

    Parameters
    ----------
    host : str
        The source server, as for :func:`link.link`: a name of ``links.toml``, too.
    schemas : mapping or sequence of str
        The source's schemas, and the local ones that have their tables: theirs to ours. Of a sequence the names are the
        same here, behind ``prefix``. Local schemas are created when missing. A local one may be a ``dj.Schema``, which
        stands for its name and its connection.
    helper_schema : str
        Where on the source server rows are held.
    prefix : str, optional
        What the names of local schemas begin with that are not told. With it tables may also come from schemas that are
        not named, where others refer to them.
    stores, codecs, backend, database, port, use_tls, holder, connection
        As for :func:`link.link`; ``codecs`` by ``"schema.Class.column"``, or ``"schema.Class.Part.column"``.

    Raises
    ------
    ConfigError
        An argument is of the wrong kind. Whatever needs a server is raised at first use, as a :class:`LinkError`.

    Examples
    --------
    >>> lab_a = Pipeline("db.lab-a.org", {"subject": "a_subject", "ephys": "a_ephys"}, "link_lab_b")
    >>> plan = lab_a.plan(lab_a.source.ephys.Unit & "subject_id = 7")
    >>> plan.pull(display_progress=True)
    >>> lab_a.ephys.Unit & "depth > 100"
    """

    def __init__(
        self,
        host: str,
        schemas: Mapping[str, str | dj.Schema] | Sequence[str],
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
        named, connection = local_sides(schemas, connection)
        spec = make_pipeline_spec(
            host,
            named,
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
        self.__setstate__((spec, connection))

    @classmethod
    def _of(cls, spec: PipelineSpec, connection: Any) -> Pipeline:
        made = cls.__new__(cls)
        made.__setstate__((spec, connection))
        return made

    def __getstate__(self) -> tuple[PipelineSpec, Any]:
        """For another process, which connects by itself."""
        return self._spec, host.for_elsewhere(self._connection)

    def __setstate__(self, given: tuple[PipelineSpec, Any]) -> None:
        self._spec, self._connection = given
        self._theirs = Theirs(Links(*given))
        self._schemas: dict[str, LocalSchema] = {}

    # names

    @property
    def source(self) -> SourceSchemas:
        """What the source has: schemas as attributes, and in them the classes of tables, which are queries there."""
        return SourceSchemas(self._theirs)

    def __getitem__(self, schema: str) -> LocalSchema:
        """The local tables of one of the source's schemas, by its name there."""
        with final():
            require_schema(self._theirs, schema, here=True)
        return self._schemas.setdefault(schema, LocalSchema(self._theirs, schema))

    #: Brackets alone would make it a sequence to Python.
    __iter__ = None

    def __getattr__(self, schema: str) -> LocalSchema:
        if schema.startswith("_"):
            raise AttributeError(schema)
        return self[schema]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *schemas_to_show(self._theirs.links)})

    def __repr__(self) -> str:
        spec = self._spec
        pairs = ", ".join(theirs if theirs == ours else f"{theirs} as {ours}" for theirs, ours in spec.schemas)
        source = f"{spec.named.name} ({spec.address.host})" if spec.named else spec.address.host
        title = f"pipeline {spec.name}" if spec.name else "pipeline"
        return f"<{title} of {source}: {pairs}; held in {spec.helper_schema} there>"

    def diagram(self, plan: Plan | None = None) -> dj.Diagram:
        """The source's tables and their foreign keys, as far as the link user sees them.

        Parameters
        ----------
        plan : Plan, optional
            Only its tables, with what is new of each.

        Returns
        -------
        datajoint.Diagram
            Drawn in a notebook; ``make_mermaid()`` and ``save()`` are DataJoint's.

        Raises
        ------
        CycleError
            Tables stand on one another in a circle.
        LinkError
            The source cannot be reached, a right is missing.
        """
        with final():
            if plan is None:
                return self._theirs.drawing()
            graph = self._theirs.graph()
            return self._theirs.drawing({graph.find(each.name): each.told for each in plan.tables})

    def plan(
        self,
        *selections: Any,
        descendants: bool = False,
        leave_out: Collection[Any] = (),
        cut: Collection[str] = (),
        lookups: Literal["referenced", "whole"] = "referenced",
        max_rows: float | None = None,
        max_bytes: float | None = None,
    ) -> Plan:
        """What a pull of the same would bring; needs SELECT only, and changes nothing at either end.

        Parameters
        ----------
        *selections
            As for :meth:`pull`.
        descendants : bool
            Select all as well that was derived from what is selected.
        leave_out : collection
            Tables of which nothing is wanted: classes, or ``"schema.Class"``. Foreign keys to them are cut.
        cut : collection of str
            Foreign keys that are not to be followed: ``"schema.Class.attribute"``, or
            ``"schema.Class.Part.attribute"``. Their columns stay, as plain ones.
        lookups : {'referenced', 'whole'}
            Whether the rows of lookup tables are wanted to which others refer, or the lookup tables of the plan whole.
        max_rows, max_bytes : float, optional
            Limits: to new rows, part rows too; to their bytes, files too. The plan says if it is over them, its
            :meth:`Plan.pull` raises LimitError.

        Returns
        -------
        Plan
            Prints as a table, with a reason for each.

        Raises
        ------
        ConfigError
            A selection cannot be followed.
        CycleError
            Tables stand on one another in a circle.
        PrivilegeError
            The account may not read what the plan is about; all missing grants are told.
        LinkError
            A server cannot be reached.
        """
        require_limits({"max_rows": max_rows, "max_bytes": max_bytes})
        with final():
            request = self._request(selections, descendants, leave_out, cut, lookups)
            return self._plan(request, (max_rows, max_bytes))

    def _request(
        self,
        selections: Sequence[Any],
        descendants: bool,
        leave_out: Collection[Any],
        cut: Collection[str],
        lookups: str,
    ) -> Request:
        require_lookups(lookups)
        theirs = self._theirs
        theirs.links.look_again()
        keys, out = keys_to_cut(theirs, cut), groups_named(theirs, "leave_out", leave_out)
        selected = chosen(theirs, selections)
        require_some_left(selected, out)
        return Request(selected, descendants, out, keys, lookups == "whole")

    def _plan(self, request: Request, limits: tuple[float | None, float | None]) -> Plan:
        def pull(**options: Any) -> PipelineResult:
            return self._pull(request, limits, **{**_OPTIONS, **options})

        links, spec = self._theirs.links, self._spec
        counted = links.operate(lambda: make_plan(links, request))
        return Plan(counted, spec.address.host, spec.helper_schema, limits, pull, self.diagram)

    @named_here(limit="max_calls")
    def pull(
        self,
        *selections: Any,
        among: Any = None,
        display_progress: bool = False,
        max_calls: int | None = None,
        suppress_errors: bool = False,
        transfers: int = 8,
        conflicts: Literal["raise", "keep", "skip", "replace"] = "raise",
        descendants: bool = False,
        leave_out: Collection[Any] = (),
        cut: Collection[str] = (),
        lookups: Literal["referenced", "whole"] = "referenced",
        max_rows: float | None = None,
        max_bytes: float | None = None,
        processes: int = 1,
        executor: Executor | None = None,
    ) -> PipelineResult:
        """Copy what is selected, with all that it stands on, to the local tables, and hold it at the source.

        Of every row all that it refers to comes along, and of that again, whole entities with their part rows; and
        nothing else. What is shared already is left alone; what the source wants deleted, and what stands on that, is
        never pulled. The local tables are made as they are needed. Whatever an interrupted run left is finished first.

        Parameters
        ----------
        *selections
            What to pull, all of it together: queries on :attr:`source`, restricted or joined in whatever way, classes
            of its tables, its schemas, or a ``dj.Diagram`` of it. A join selects the rows of every table in it, a part
            the entities that its rows belong to.
        among : optional
            A restriction of each of them that may be a local query, or a list, of any number of keys. They travel in
            batches, and each is pulled by itself; ``max_rows`` and ``max_bytes`` are for what is one.
        display_progress : bool
            Show a progress bar.
        max_calls : int, optional
            Select at most so many new entities; what they stand on is not counted.
        suppress_errors : bool
            Go on after an entity that the local server does not take, or of which a file is missing, and return its
            error with the result.
        transfers : int
            Copy so many files at once.
        conflicts : {'raise', 'keep', 'skip', 'replace'}
            What becomes of entities that are local, not held, and not what the source has: ``'raise'`` is an error
            before anything is held; ``'keep'`` holds them as they are; ``'skip'`` leaves them, and what stands on
            them, alone; ``'replace'`` brings them to the source's content.
        descendants, leave_out, cut, lookups, max_rows, max_bytes
            As for :meth:`plan`.
        processes : int
            Copy with so many worker processes.
        executor : concurrent.futures.Executor, optional
            Run the workers on this instead, as on a cluster: they need this package, and must reach both servers.
            ``processes`` says how many tasks it runs at once (default: the number of cores here).

        Returns
        -------
        PipelineResult
            The sums, and a :class:`PullResult` for each table; prints a line for each.

        Raises
        ------
        ConfigError
            A selection cannot be followed.
        CycleError
            Tables stand on one another in a circle.
        ConflictError
            With ``conflicts="raise"`` there are such entities. Nothing was pulled.
        LimitError
            There is more than ``max_rows`` or ``max_bytes`` allow. Nothing was pulled or held.
        TransferError
            The local server does not take an entity; what was pulled stays.
        TransactionError
            Called inside an open local transaction.
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        require_limits({"max_rows": max_rows, "max_bytes": max_bytes})
        limits = max_rows, max_bytes
        options: dict[str, Any] = {
            "display_progress": display_progress,
            "suppress_errors": suppress_errors,
            "transfers": transfers,
            "conflicts": conflicts,
            "processes": processes,
            "executor": executor,
        }
        with final(), self._theirs.links.looking_once():
            turns = [selections] if among is None else [(each,) for each in in_turns(selections, among)]
            requests = [self._request(turn, descendants, leave_out, cut, lookups) for turn in turns or [()]]
            if len(requests) == 1:
                return self._pull(requests[0], limits, max_calls=max_calls, **options)
            if limits != (None, None):
                raise ConfigError(
                    f"max_rows= and max_bytes= are for what is pulled at once, and this is {len(requests)} batches.",
                    "Leave them out, or select less: a plan of it tells how much it is.",
                )
            return self._pull_in_turns(requests, max_calls, options)

    def _pull_in_turns(
        self, requests: Sequence[Request], max_calls: int | None, options: Mapping[str, Any]
    ) -> PipelineResult:
        """Pull one after the other; what is in conflict of any of them is told before anything is held."""
        links, results, started = self._theirs.links, dict[str, PullResult](), time.monotonic()
        for request in requests if options["conflicts"] == "raise" else ():
            links.operate(functools.partial(require_no_conflicts, links, request))
        for request in requests:
            part = self._pull(request, (None, None), max_calls=max_calls, **options)
            if max_calls is not None:
                met = [part.tables[label(name)] for name in request.selections if label(name) in part.tables]
                taken = sum(each.pulled + each.adopted + len(each.differing) + len(each.replaced) for each in met)
                max_calls = max(max_calls - taken, 0)
            for name, each in part.tables.items():
                results.setdefault(name, PullResult()).add(each)
        if not any(each.replaced for each in results.values()):
            return PipelineResult(results, time.monotonic() - started)
        ends, _ = links.open_linked()
        found = [(each, results[label(name)]) for name, each in ends.items() if label(name) in results]
        return PipelineResult(results, time.monotonic() - started, dependents=self._tell_dependents(found))

    def _tell_dependents(self, found: Sequence[tuple[Ends, PullResult]]) -> Dependents:
        """Let each result tell what depends on what was replaced; what does of all of them."""

        def pulled() -> Sequence[Pulled]:
            return also_made_here(self._theirs.links.open_linked()[0].values())

        replaced = [(ends, result.replaced_entities) for ends, result in found]
        for (_, result), each in zip(found, replaced, strict=True):
            result.dependents = dependents_of([each], pulled=pulled)
        return dependents_of(replaced, pulled=pulled)

    def _pull(
        self,
        request: Request,
        limits: tuple[float | None, float | None],
        *,
        display_progress: bool,
        max_calls: int | None,
        suppress_errors: bool,
        transfers: int,
        conflicts: str,
        processes: int,
        executor: Executor | None,
    ) -> PipelineResult:
        require_at_least(transfers=(transfers, 1), processes=(processes, 1), max_calls=(max_calls, 0))
        require_conflicts(conflicts)
        started, links = time.monotonic(), self._theirs.links

        def work() -> PipelineResult:
            sets = request.sets(links)
            if limits != (None, None):
                self._plan(request, limits).require_within_limits()
            alike = require_no_conflicts(links, request) if conflicts == "raise" else frozenset()
            with with_all_grants(links, request):
                ends = links.open(sets.chosen_names, [*request.cut, *sets.left])
            wanted = Wanted(
                sets.graph,
                selections(links, sets),
                conflicts,
                max_calls,
                suppress_errors,
                transfers,
                display_progress,
                processes if processes > 1 or executor is None else os.cpu_count() or 1,
                executor,
                alike,
            )
            pulled = gather(ends, wanted)
            told = self._tell_dependents([(ends[name], each) for name, each in pulled.items()])
            results = {label(name): result for name, result in pulled.items()}
            return PipelineResult(results, time.monotonic() - started, dependents=told)

        return links.operate(work)

    def grants(self, plan: Plan) -> str:
        """What the administrator of the source has to grant before a plan can be pulled, as SQL.

        Parameters
        ----------
        plan : Plan
            Of this pipeline.

        Returns
        -------
        str
            A statement a line; empty where nothing is missing.
        """
        return "\n".join(plan.missing)

    def status(self, deep: bool = False, *, tables: Collection[Any] | None = None) -> PipelineStatus:
        """Count the entities of all tables that are here by state; prints as a table.

        Rows that were made here in a pulled table, as by ``populate()``, are counted as Local-only, or as Unheld where
        the source has the same key.

        Parameters
        ----------
        deep : bool
            Look up every key on both servers, rather than compare checksums of the keys.
        tables : collection, optional
            Only these: classes, or ``"schema.Class"``.

        Returns
        -------
        PipelineStatus
            The sums, and in ``.tables`` the counts of each table.

        Raises
        ------
        NotFoundError
            Of a table that ``tables`` names nothing has been pulled.
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        require_switch(deep=deep)

        def work() -> PipelineStatus:
            title = f"{self._spec.address.host}: entities by state"
            return status_of_all(self._linked(tables)[0], title, deep=deep)

        with final():
            return self._theirs.links.operate(work)

    @property
    def flagged(self) -> Flagged:
        """The primary keys that the source wants deleted and that are local, by ``"schema.Class"``.

        Its ``dependents`` tell what else would be deleted here with them, by table.
        """
        links = self._theirs.links
        with final():
            return links.operate(lambda: flagged_of_all(links.open_linked()[0]))

    def delete_flagged(
        self, prompt: bool | None = None, part_integrity: str = "enforce", *, tables: Collection[Any] | None = None
    ) -> int:
        """Delete here what the source wants deleted, with all that depends on it.

        What was flagged becomes deprecated at the source, which can delete it then; the holds of what depends on it are
        released.

        Parameters
        ----------
        prompt : bool, optional
            Show what will be deleted and ask, once for all tables. Default: ``dj.config['safemode']``.
        part_integrity : {'enforce', 'ignore', 'cascade'}
            As for DataJoint's ``delete``.
        tables : collection, optional
            Only what is flagged of these: classes, or ``"schema.Class"``.

        Returns
        -------
        int
            Number of flagged entities deleted here, those that depend on them not counted; 0 when the user declined.

        Raises
        ------
        NotFoundError
            Of a table that ``tables`` names nothing has been pulled.
        UnreachableError
            The source cannot be told; nothing was deleted.
        LinkError
            Rows of another linked table would be deleted, too, whose link is not known here.
        TransactionError
            Called inside an open transaction.
        """
        links = self._theirs.links
        with final():
            asks = links.asks(prompt)
            return links.operate(lambda: delete_flagged(self._linked(tables)[0], part_integrity, asks))

    def verify(
        self,
        files: bool = False,
        sample: int | None = None,
        display_progress: bool = False,
        transfers: int = 8,
        *,
        tables: Collection[Any] | None = None,
    ) -> PipelineVerification:
        """Prove that the shared entities of all tables, parts included, are the same on both servers.

        Rows that nobody holds are not compared: what was made here is yours. No local row refers to nothing: servers
        see to that, and it is looked at all the same, for they can be told not to.

        Parameters
        ----------
        files, sample, display_progress, transfers
            As for :meth:`link.Source.verify`, of each table.
        tables : collection, optional
            Only these: classes, or ``"schema.Class"``.

        Returns
        -------
        PipelineVerification
            What differs, of all tables, and in ``.tables`` of each; true when nothing does.

        Raises
        ------
        ConfigError
            ``sample`` is given without ``files``.
        StoreError
            A store cannot be reached: that is no difference.
        NotFoundError
            Of a table that ``tables`` names nothing has been pulled.
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        look = Look(files, sample, display_progress, transfers)
        with final():
            return self._theirs.links.operate(lambda: verify_each(self._linked(tables)[0], look))

    def repair(
        self,
        dry_run: bool = True,
        vanished: Literal["refetch", "release"] = "refetch",
        *,
        tables: Collection[Any] | None = None,
    ) -> PipelineRepair:
        """Bring to rest every entity of every table that is not: what an interrupted run, or a hand, has left behind.

        What is held again, or fetched again, is followed upward: what it stands on is held, and here, before it. Rows
        of computed and imported tables that nobody holds, and that are not what the source has, are left alone: they
        may well have been made here.

        Parameters
        ----------
        dry_run : bool
            Only say what would be done about how many entities of each table.
        vanished : {'refetch', 'release'}
            What to do about entities that are held and not local: fetch them again, or release their holds.
        tables : collection, optional
            Only these, and what they stand on: classes, or ``"schema.Class"``.

        Returns
        -------
        PipelineRepair
            What was done, or would be, of all tables, and in ``.tables`` of each.

        Raises
        ------
        TransactionError
            Called inside an open local transaction, and not as a dry run.
        NotFoundError
            Of a table that ``tables`` names nothing has been pulled.
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        require_switch(dry_run=dry_run)
        require_known(vanished)
        links = self._theirs.links

        def work() -> PipelineRepair:
            (ends, graph), title = links.open_linked(), f"{links.spec.address.host}: entities by state"
            about = dict.fromkeys(self._of_these(tables, ends), ALL)
            return repair_each(ends, graph, about, title, dry_run=dry_run, vanished=vanished)

        with final():
            return links.operate(work)

    def end(self, *, tables: Collection[Any] | None = None, prompt: bool | None = None) -> dict[str, int]:
        """Let go of all that is held, and keep the local rows as the lab's own: the link has ended.

        The source may change and delete its rows then. Those that it has flagged become deprecated. A later pull holds
        again what is still there.

        Parameters
        ----------
        tables : collection, optional
            Only these: classes, or ``"schema.Class"``. Of what others that stay held stand on, a repair takes holds
            again.
        prompt : bool, optional
            Say how many holds that are, and ask. Default: ``dj.config['safemode']``.

        Returns
        -------
        dict of str to int
            How many holds were let go of, by ``"schema.Class"``.

        Raises
        ------
        NotFoundError
            Of a table that ``tables`` names nothing has been pulled.
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        links = self._theirs.links
        with final():
            asks = links.asks(prompt)
            address, schemas = links.connect_source().address, links.spec.schemas
            theirs, ours = (", ".join(names) for names in zip(*schemas, strict=True))

            def confirm(unflagged: int, flagged: int) -> bool:
                return not asks or may_release(unflagged + flagged, address, theirs, ours)

            return links.operate(
                lambda: {label(name): number for name, number in end(self._linked(tables)[0], confirm).items()}
            )

    def moved(self, prompt: bool | None = None) -> None:
        """Say that these local tables are those that are held for at the source, after they were moved or restored.

        As :meth:`link.Source.moved` of each table, of all that are here at once.

        Parameters
        ----------
        prompt : bool, optional
            Ask first. Default: ``dj.config['safemode']``.

        Raises
        ------
        LinkError
            A server cannot be reached, a right is missing, tables do not fit.
        """
        links = self._theirs.links
        with final():
            here = links.connect_local()
            asks = links.asks(prompt)
            served = [f"{schema}.{table}" for schema, table in links.linked_here().values()]
            if not asks or may_take_over(links.spec.helper_schema, served, here):
                links.open_linked(take_over=True)

    def ping(self) -> Ping:
        """Look whether everything is there that a pull needs: servers, accounts, rights, tables, stores.

        Changes nothing at either end.

        Returns
        -------
        Ping
            A line for each thing that was looked at; true when nothing is wrong.
        """
        return ping(self._theirs.links)

    def counts(self) -> dict[str, int]:
        """How many rows the linked tables have here, by ``"schema.Class"``; asks the local server only."""
        links = self._theirs.links
        with final(), links.connect_local().session() as session:
            return {
                label(name): int(session.query(f"SELECT COUNT(*) FROM {session.dialect.full_name(*table)}")[0][0])
                for name, table in links.linked_here().items()
            }

    def refresh(
        self,
        *selections: Any,
        dry_run: bool = False,
        display_progress: bool = False,
        suppress_errors: bool = False,
        transfers: int = 8,
        processes: int = 1,
        dependents: Literal["report", "delete"] = "report",
        prompt: bool | None = None,
    ) -> PipelineRefresh:
        """Bring shared entities whose content differs up to date with the source, in place, in all tables.

        As :meth:`link.Source.refresh` does, those first to which others refer. What edited rows refer to now is pulled
        before them, with all that it stands on. Rows that nobody holds are left alone: what was made here is yours.

        Parameters
        ----------
        *selections
            What to refresh, as for :meth:`pull`; everything that is here, unless it is said.
        dry_run : bool
            Only find what differs.
        display_progress : bool
            Show a progress bar for each table.
        suppress_errors : bool
            Go on after an entity that cannot be refreshed, and return its error with the result.
        transfers : int
            Copy so many files at once (each worker).
        processes : int
            Refresh with so many worker processes.
        dependents : {'report', 'delete'}
            What to do about local rows that depend on refreshed entities, and that nobody holds.
        prompt : bool, optional
            With ``dependents="delete"``: show how many rows of which tables will be deleted, and ask, once for all
            tables. Default: ``dj.config['safemode']``.

        Returns
        -------
        PipelineRefresh
            The sums, and in ``.tables`` what was done of each; in ``.pulled`` what was pulled before.

        Raises
        ------
        TransferError
            An entity cannot be refreshed; it stays as it was, and what was refreshed stays so.
        ConflictError
            What an edited row refers to now is here, not held, and not what the source has.
        TransactionError
            Called inside an open local transaction.
        LinkError
            The source cannot be reached, a right is missing, tables do not fit.
        """
        require_at_least(transfers=(transfers, 1), processes=(processes, 1))
        require_dependents(dependents)
        links = self._theirs.links
        with final():
            chosen_of = (
                {name: union(some) for name, some in chosen(self._theirs, selections).items()} if selections else {}
            )
            asks = links.asks(prompt)
            share = Share(dry_run, suppress_errors, transfers, delete=dependents == "delete")

            def work() -> PipelineRefresh:
                ends, graph = links.open_linked()
                about = {name: chosen_of.get(name, ALL) for name in ends if not selections or name in chosen_of}
                wish = Wish(
                    about,
                    share,
                    may_delete if asks else None,
                    processes=processes,
                    display_progress=display_progress,
                )
                return refresh_each(ends, graph, wish)

            return links.operate(work)

    def _linked(self, tables: Collection[Any] | None) -> tuple[dict[Name, Ends], Graph]:
        """Both ends of those of these tables that are linked here, and the foreign keys between all."""
        ends, graph = self._theirs.links.open_linked()
        return {name: ends[name] for name in self._of_these(tables, ends)}, graph

    def _of_these(self, tables: Collection[Any] | None, ends: Mapping[Name, Ends]) -> list[Name]:
        """Those of the linked tables that are asked for: all, unless it is said."""
        if tables is None:
            return list(ends)
        if not (named := groups_named(self._theirs, "tables", tables)):
            raise ConfigError("tables= names no table.", "Without it all tables are meant.")
        if missing := sorted(named - ends.keys()):
            raise NotFoundError(
                f"Of {', '.join(map(label, missing))} nothing has been pulled yet.",
                nearest(label(missing[0]), map(label, ends)) if ends else "Nothing else has, either.",
            )
        return [name for name in ends if name in named]
