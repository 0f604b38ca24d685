"""What a pull of a pipeline would bring: asked of the source, with nothing but SELECT, and of what is here."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..ends.pipeline import Links
from ..ends.source import SOURCE_RIGHTS
from ..errors import PrivilegeError, told_together
from ..files.columns import file_columns
from ..holds.expressions import Expressions, Known, choosing, reading
from ..holds.helper import HELPER_RIGHTS, check_key
from ..holds.holds import Holds
from ..holds.parts import holds_of
from ..holds.questions import Answer, Question, asking_flags
from ..holds.sets import LONGEST, Sets
from ..model.graph import Edge, Name, Outside, label
from ..model.legacy import modernized
from ..model.plans import Counted, Cut, PlanTable
from ..model.ranges import Key, Selection
from ..model.schema import Table, master_of
from ..servers.catalogue import Catalogue
from ..servers.session import Session
from ..servers.site import Site
from .foreseen import Foreseeing, refusal, rows_here

logger = logging.getLogger("link")

#: So many rows of each table are looked at to know how large they are.
SAMPLE = 1000
#: A set that names so many others, all told, is read ahead, unless it has too many keys to be told anew.
HEAVY, MOST_KEYS = 12, 100_000


@dataclass(frozen=True)
class Request:
    """What a plan, or a pull, is about.

    Attributes
    ----------
    selections : mapping
        What is selected of which groups.
    descendants : bool
        Whether all that is derived from it is selected as well.
    leave_out : collection of Name
        Groups of which nothing is wanted.
    cut : sequence
        Foreign keys that are not followed.
    whole : bool
        Whether lookup tables are wanted whole.
    """

    selections: Mapping[Name, Sequence[Selection]]
    descendants: bool
    leave_out: Collection[Name]
    cut: Sequence[Edge | Outside]
    whole: bool

    def sets(self, links: Links, flagged: Mapping[Name, Holds] | None = None) -> Sets:
        """The sets of it at the source; asks for the source's tables, where they are not known."""
        source = links.connect_source()
        return Sets(
            source.dialect,
            links.find_graph().without(self.cut),
            self.selections,
            self.descendants,
            self.leave_out,
            self.whole,
            flagged or {},
            source.room_for(LONGEST, 3),  # what is selected, what is flagged, and what is around them
        )


@dataclass
class _Planning:
    """One plan, made through one session at the source."""

    links: Links
    request: Request
    session: Session
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.site: Site = self.links.connect_source()
        self.catalogue: Catalogue = self.site.catalogue_type(self.session)
        self.sets = self.request.sets(self.links)
        self.known = Known()

    def plan(self) -> Counted:
        """Find it all."""
        names = self.sets.names
        self.catalogue.read(sorted({name[0] for name in names}))
        if left := [edge for edge in self.sets.left if edge.child in self.sets.known]:
            self.links.find_cut(left)  # refuses what is here already
        self._require_select(names)
        self.links.require_known(self.sets.graph, names)
        told_together(self._checking_key(name) for name in names)
        with self.links.connect_local().catalogue() as here:
            helpers = self.links.find_helpers(self.catalogue, here, names)
            held = self._find_holds(names, helpers)
            with self.session.transaction(snapshot=True):
                answers = self._ask(held)
            some = Expressions(self.sets, self.known)
            looking = Foreseeing(self.links, self.catalogue, here, helpers, held)
            foreseen = looking.foresee(some, looking.unequal(names), also_gone=True)
        return Counted(
            tables=[self._table(name, answers[name]) for name in names],
            conflicts=foreseen.conflicts,
            missing=self.missing,
            cut=self._cut(),
            left_out=sum(answer.left_out for answer in answers.values()),
            gone=foreseen.gone,
            unseen=foreseen.unseen,
        )

    def _checking_key(self, name: Name) -> Callable[[], None]:
        return functools.partial(check_key, self.sets.master(name), self.links.link(name).spec.layout)

    def require_no_conflicts(self, here: Catalogue, with_rows: Sequence[Name]) -> list[Name]:
        """Raise ConflictError where what is needed of groups with local rows is not held, and not what these are.

        Those of the groups of which not the very same is held.
        """
        helpers = self.links.find_helpers(self.catalogue, here, with_rows)
        looking = Foreseeing(self.links, self.catalogue, here, helpers, self._find_holds(with_rows, helpers))
        if not (unequal := looking.unequal(with_rows)):
            return []
        names = self.sets.names
        self.catalogue.read(sorted({name[0] for name in names}))
        self._spare(self._find_holds(names, self.links.find_helpers(self.catalogue, here, names)))
        some, most = Expressions(self.sets), self.sets.dialect.most_sets
        if most is not None and max(some.weight(some.needed(name)) for name in unequal) > most:
            some = Expressions(self.sets, read_ahead(self.session, self.sets))
        if conflicts := looking.foresee(some, unequal, also_gone=False).conflicts:
            raise refusal(conflicts)
        return unequal

    # rights

    def _require_select(self, names: Iterable[Name]) -> None:
        """Note what rights are missing; raise PrivilegeError, with all of them, where nothing can be counted so."""
        if unreadable := self._note_rights(names):
            self._note_rights_to_hold(names)
            raise PrivilegeError(
                f"The link user {self.site.user!r} may not read {', '.join(unreadable)} on {self.site.address}: what a "
                "pull of this would bring cannot be told.",
                self._remedy,
            )

    def _note_rights(self, names: Iterable[Name]) -> list[str]:
        """Note what rights on tables are missing; the tables that cannot be read."""
        rights, account, unreadable = self.site.rights, self.site.facts.account, list[str]()
        for name in names:
            for table in self.sets.graph.groups[name].tables:
                if lacking := self.catalogue.missing_rights(table, SOURCE_RIGHTS):
                    self._grant(rights.on_table(lacking, table.schema, table.name, account))
                if set(lacking) - {"REFERENCES"}:
                    unreadable.append(f"{table.schema}.{table.name}")
        for schema, referred in dict.fromkeys((outside.key.schema, outside.key.table) for outside in self._hidden):
            unreadable.append(f"{schema}.{referred}")
            for each in dict.fromkeys([master_of(referred), referred]):
                self._grant(rights.on_table(SOURCE_RIGHTS, schema, each, account))
        return unreadable

    def _note_rights_to_hold(self, names: Iterable[Name]) -> None:
        with self.links.connect_local().catalogue() as here:
            self._find_holds(names, self.links.find_helpers(self.catalogue, here, names))

    @property
    def _hidden(self) -> list[Outside]:
        """The foreign keys that lead to tables that the account does not see."""
        return [o for o in self.sets.graph.outside if o.child in self.sets.known and self._is_named(o)]

    @property
    def _remedy(self) -> str:
        """What to do about the rights that are missing."""
        places = [outside.place for outside in self._hidden]
        cut = f" Or leave foreign keys out, whose columns stay then: cut={places!r}." if places else ""
        granted = f"{self.site.rights.granter} {self.site.address}: {' '.join(self.missing)}"
        return f"{granted}{cut}{self.site.role_hint(self.catalogue.idle_roles())}"

    def with_all_grants(self, error: PrivilegeError) -> PrivilegeError:
        """An error of a pull that lacked a right, with all that are missing at the source."""
        names = self.sets.names
        self.catalogue.read(sorted({name[0] for name in names}))
        self._note_rights(names)
        self._note_rights_to_hold(names)
        if not self.missing:
            return error
        told = "" if self.site.address in str(error) else f"{error.hint}\n  → "  # the local server's
        return PrivilegeError(error.what, f"{told}{self._remedy}")

    def _is_named(self, outside: Outside) -> bool:
        """Whether a foreign key leads to a schema of the pipeline: to a table there that the account does not see."""
        return self.links.spec.here(outside.key.schema) is not None

    def _grant(self, statement: str) -> None:
        self.missing += [statement] * (statement not in self.missing)

    # what is held

    def _find_holds(self, names: Iterable[Name], there: Mapping[Name, Table]) -> dict[Name, Holds]:
        """The holds of the groups that have a helper table."""
        schema, account = self.links.spec.helper_schema, self.site.facts.account
        found, wanted = dict[Name, Holds](), list[str]()
        for name in names:
            link = self.links.link(name)
            if name not in there:
                wanted.append(link.spec.helper_table)
                continue
            helper = there[name]
            if lacking := self.catalogue.missing_rights(helper, HELPER_RIGHTS):
                self._grant(self.site.rights.on_table(lacking, helper.schema, helper.name, account))
            if not {"SELECT", "USAGE"} & set(lacking):
                found[name] = holds_of(self.site.dialect, self.sets.master(name), helper, link.spec.layout)
        if wanted and not self.catalogue.may_create(schema, wanted):
            self._grant(self.site.rights.on_schema(schema, account))
        return found

    # what there is

    def _spare(self, held: Mapping[Name, Holds]) -> None:
        """Leave out what the source wants deleted, and what stands on that."""
        if held:
            names, rows = list(held), self.session.query(*asking_flags(held))
            self.sets = self.request.sets(
                self.links, {names[int(n)]: held[names[int(n)]] for n, asked in rows if asked}
            )

    def _ask(self, held: Mapping[Name, Holds]) -> dict[Name, Answer]:
        self._spare(held)
        tables = [table for name in self.sets.names for table in self.sets.graph.groups[name].tables]
        large = self.catalogue.large_rows(tables)
        samples = {table: SAMPLE for table in tables if table not in large}
        files = self._files()
        question = Question(self.sets, held, samples, files)
        most = self.sets.dialect.most_sets
        if most is not None and question.weight > most:
            self.known = read_ahead(self.session, self.sets)
            question = Question(self.sets, held, samples, files, self.known)
        rows = [row for statement in question.statements for row in self.session.query(*statement)]
        return question.read(rows, large)

    def _files(self) -> dict[Table, list[str]]:
        """Of each table the columns whose values name objects, as far as these can be looked at."""
        found = dict[Table, list[str]]()
        for name in self.sets.names:
            group = self.sets.graph.groups[name]
            modern = modernized(group, self.links.link(name).spec.codecs)
            hidden = set[tuple[str, str]]()
            for tracking in modern.tracking:
                if lacking := self.catalogue.missing_rights(tracking, ("SELECT",)):
                    place = tracking.schema, tracking.name
                    self._grant(self.site.rights.on_table(lacking, *place, self.site.facts.account))
                    hidden.add(place)
            for table, declared in zip(group.tables, modern.group.tables, strict=True):
                columns = [each.column for each in file_columns(declared)]
                seen = [c for c in columns if not c.tracked or (c.tracked.schema, c.tracked.table) not in hidden]
                found[table] = [self.site.dialect.field(table, column) for column in seen]
        return found

    # what is said of it

    def _table(self, name: Name, answer: Answer) -> PlanTable:
        group, sizes = self.sets.graph.groups[name], answer.sizes
        here = self.links.link(name).spec
        return PlanTable(
            name=label(name),
            source=f"{name[0]}.{name[1]}",
            local=f"{here.local_schema}.{here.table_name}",
            entities=answer.entities,
            new=answer.new,
            part_rows=sum(sizes[part.name].rows for part in group.parts),
            bytes=round(sum(size.rows * size.row_bytes for size in sizes.values())),
            files=sum(size.files for size in sizes.values()),
            file_bytes=sum(size.file_bytes for size in sizes.values()),
            reason=self.sets.reason(name),
            keys=tuple(dict.fromkeys(edge.place for edge in self._because_of(name))),
        )

    def _because_of(self, name: Name) -> list[Edge]:
        """The foreign keys by which entities of a group are needed."""
        sets = self.sets
        if name in sets.selections or name in sets.whole_names:
            return []
        if name in sets.selected_names:
            return [edge for edge in sets.graph.up(name) if edge.parent in sets.selected_names]
        return [edge for edge in sets.graph.down(name) if edge.child in sets.known]

    def _cut(self) -> list[Cut]:
        """The foreign keys of the plan's tables that are not followed, and why."""
        graph, out, names = self.links.find_graph(), set(self.request.leave_out), self.sets.known
        asked = [each for each in self.request.cut if each.child in names]
        found = [Cut(each.place, self._why_not(each)) for each in asked]
        left = [edge for edge in graph.edges if edge.child in names and edge.parent in out and edge not in asked]
        return [*found, *(Cut(edge.place, f"{label(edge.parent)} is left out") for edge in left)]

    def _why_not(self, cut: Edge | Outside) -> str:
        """Why a foreign key could not be followed; nothing, where it could."""
        if cut.is_standing:
            return "the local table was made without it"
        told = f"{cut.key.schema}.{cut.key.table} is not"
        if isinstance(cut, Outside):
            return f"{told} {'granted' if self._is_named(cut) else 'in a schema that is named'}"
        self.catalogue.read([cut.parent[0]])
        master = self.links.find_graph().groups[cut.parent].master
        return f"{told} granted" if self.catalogue.missing_rights(master, ("SELECT",)) else ""


def make_plan(links: Links, request: Request) -> Counted:
    """What a pull would bring. Changes nothing at either end.

    Raises
    ------
    PrivilegeError
        The account may not read all that the plan is about.
    LinkError
        Whatever else does not fit.
    """
    with links.connect_source().session() as session:
        return _Planning(links, request, session).plan()


@contextlib.contextmanager
def with_all_grants(links: Links, request: Request) -> Iterator[None]:
    """Where a right is missing for a pull, all are told that are missing at the source, and not the first alone."""
    try:
        yield
    except PrivilegeError as error:
        with links.connect_source().session() as session:
            raise _Planning(links, request, session).with_all_grants(error) from error


def selections(links: Links, sets: Sets) -> dict[Name, list[Selection]]:
    """What is to be claimed of each group, as conditions on its rows.

    Where rows can depend on others by so many ways that these cannot be told one by one, as sets.
    """
    chosen = [name for name in sets.names if name in sets.chosen_names]
    found = {name: [sets.selected(name)] for name in chosen if sets.is_told(name)}
    if len(found) < len(chosen):
        with links.connect_source().session() as session:
            known = Known() if sets.dialect.most_sets is None else read_ahead(session, sets)
        for name in chosen:
            if name not in found:
                found[name] = [Selection(choosing(Expressions(sets, known), name))]
    return found


def require_no_conflicts(links: Links, request: Request) -> frozenset[Name]:
    """Look, before anything is held, for what is local, not held, and not what the source has. Changes nothing.

    Returns
    -------
    frozenset of Name
        The groups of which the very same is local that is held, as counts and checksums tell.

    Raises
    ------
    ConflictError
        There is some.
    """
    with links.catalogue_here() as here:
        with_rows = rows_here(links, here, request.sets(links).names)
        if with_rows:
            with links.connect_source().session() as session:
                unequal = _Planning(links, request, session).require_no_conflicts(here, with_rows)
                return frozenset(with_rows) - set(unequal)
    return frozenset()


def read_ahead(session: Session, sets: Sets) -> Known:
    """The keys of sets that a server would have to write out too often, as far as they are not too many."""
    known, selected = Known(), [name for name in sets.names if name in sets.selected_names]
    for read, names in ((known.selected, selected), (known.needed, sets.names[::-1])):
        for name in names:
            some = Expressions(sets, known)
            found = some.selected(name) if read is known.selected else some.needed(name)
            if some.weight(found) > HEAVY:
                keys: list[Key] = session.query(*reading(some, found, name, MOST_KEYS + 1))
                if len(keys) <= MOST_KEYS:
                    read[name] = keys
    return known
