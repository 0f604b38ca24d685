"""Deleting at a source what is deprecated: the helper rows, all that depends on the rows there, then these themselves.

As DataJoint's ``delete()`` would, it goes on to whatever depends on the rows, in one transaction. But it takes no hold
away: an entity stays, with all that is its own, where somebody still holds it or anything that depends on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..accounts import Credentials
from ..addresses import Address
from ..errors import DefinitionError, ServerError
from ..model.graph import Name, label
from ..model.ranges import Key, Selection
from ..model.schema import ForeignKey, Group, Table, master_of, part_names, with_master_keys
from ..model.shown import as_table, number_of
from ..model.states import DEPRECATED
from ..servers.catalogue import Catalogue
from ..servers.session import Session
from ..servers.site import Site
from ..signals import BusyError, RowError
from .descent import Dependent, Descent
from .helpers import Helper, as_helper, opened, require
from .restricting import choose, count

#: Entities whose dependents are looked up by one statement.
AT_ONCE = 1000


@dataclass
class Cleaned:
    """What was deleted at a source (with ``dry_run``: would be).

    Attributes
    ----------
    table : str
        The source table, as ``schema.Class``.
    entities : int
        Its rows that are deleted.
    rows : dict of str to int
        All rows that are deleted, by ``schema.table``: helper rows, what depends on the rows, and these themselves.
    kept : dict of str to int
        Deprecated entities that stay, as they or what depends on them are held: how many, by who holds.
    dry_run : bool
        Whether it was only counted.
    keys : list of tuple
        The keys of these entities.
    """

    table: str
    entities: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    dry_run: bool = False
    keys: list[Key] = field(default_factory=list, repr=False)

    @property
    def _title(self) -> str:
        number = number_of(self.entities, "deprecated entity", "deprecated entities")
        return f"{self.table}: {'would delete' if self.dry_run else 'deleted'} {number}"

    @property
    def _remarks(self) -> list[str]:
        return [f"kept {number:,}: held, or what depends on them is, by {who}" for who, number in self.kept.items()]

    def __repr__(self) -> str:
        lines = [f"    {name}  {number_of(number, 'row')}" for name, number in self.rows.items() if number]
        return "\n".join([self._title, *lines, *self._remarks])

    def _repr_html_(self) -> str:
        rows = [(name, f"{number:,}") for name, number in self.rows.items() if number]
        return as_table(rows, ("table", "rows"), self._title, self._remarks)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, without the keys."""
        rows = {name: number for name, number in self.rows.items() if number}
        said = {name: value for name, value in vars(self).items() if name != "keys"}
        return {**said, "rows": rows, "kept": dict(self.kept)}


def clean(
    address: Address,
    administrator: Credentials,
    table: str,
    where: Any = None,
    *,
    helper_schema: str,
    backend: str | None = None,
    dry_run: bool = True,
    shown: Cleaned | None = None,
) -> Cleaned:
    """Delete what is deprecated of a table: helper rows, what depends on the rows at the source, then these.

    It is all done in one transaction.

    Parameters
    ----------
    address, administrator
        The source server, and an account that may delete there what DataJoint's ``delete()`` would.
    table : str
        The source table, as ``schema.Class``, or by its own name.
    where : restriction, optional
        Whatever restricts the table in DataJoint.
    helper_schema : str
        The schema with the helper tables.
    backend : str, optional
        The kind of server, where the address does not say it.
    dry_run : bool
        Whether it is only counted.
    shown : Cleaned, optional
        What was counted before, and agreed to: nothing else is deleted.

    Raises
    ------
    NotFoundError
        Nobody holds rows of such a table there.
    PrivilegeError
        The account lacks a right; the message has the GRANT.
    DefinitionError
        Part rows would go without their master.
    ServerError
        Other rows refer to them, which the account does not see. Nothing was deleted.
    LockedError
        Something else is deprecated, or depends on it, than was shown. Nothing was deleted.
    """
    with opened(address, administrator, backend, helper_schema, table) as (site, session, catalogue, source, helpers):
        for helper in helpers:
            require(site, catalogue, helper.table, ["SELECT"])
        selection = choose(site, source, where)
        count(session, source, selection)
        return _Cleaning(site, session, catalogue, source, helpers).run(selection, dry_run, shown)


class _Cleaning:
    """What is deprecated of one table, and all that depends on it.

    Parameters
    ----------
    site, session, catalogue
        The source server.
    source : Table
        The table.
    helpers : sequence of Helper
        The helper tables whose deprecated rows are meant.
    """

    def __init__(
        self, site: Site, session: Session, catalogue: Catalogue, source: Table, helpers: Sequence[Helper]
    ) -> None:
        self.site, self.session, self.catalogue, self.source = site, session, catalogue, source
        self.name = label((source.schema, source.name))
        self.holds = {helper: helper.holds(site, source) for helper in helpers}
        self.descent = Descent(site, catalogue, source)
        own = {(h.table.schema, name) for h in helpers for name in (h.table.name, *h.part_tables)}
        self.others: dict[Name, Helper] = {}
        self.dependents: list[Dependent] = []
        for dependent in self.descent.tables:
            beside = [each.table.name for each in self.descent.tables if each.table.schema == dependent.table.schema]
            if dependent.name not in own and (helper := as_helper(dependent.table, beside)):
                self.others[dependent.name] = helper
            # What cannot be seen, the server sees to.
            if dependent.name not in own and self._is_seen(dependent.table):
                self.dependents.append(dependent)

    def run(self, selection: Selection, dry_run: bool, shown: Cleaned | None = None) -> Cleaned:
        """Delete it, or count it."""
        done = Cleaned(self.name, dry_run=dry_run)
        keys = {helper: holds.saying(DEPRECATED, selection).keys(self.session) for helper, holds in self.holds.items()}
        entities = list(dict.fromkeys(key for some in keys.values() for key in some))
        free = self._free(entities, done)
        deprecated = {helper: set(some) for helper, some in keys.items()}
        batches = [free[start : start + AT_ONCE] for start in range(0, len(free), AT_ONCE)]
        counted = [self._count(batch, deprecated) for batch in batches]
        self._require_rights(sum(counted, Counter()))
        self._require_masters(batches, sum(counted, Counter()))
        done.entities, done.keys = len(free), free
        counting = replace(done, rows=Counter(), dry_run=True)
        self._tell(counting, sum(counted, Counter()))
        if dry_run:
            return counting
        if shown and (sorted(map(str, free)), counting.rows) != (sorted(map(str, shown.keys)), shown.rows):
            raise BusyError(
                f"What is deprecated of {self.name}, or depends on it, has changed since it was shown. Nothing was "
                "deleted.",
                "Run the same again, and look at it anew.",
            )
        with self.session.transaction():
            for batch, rows in zip(batches, counted, strict=True):
                self._tell(done, self._delete(batch, deprecated, rows))
        return done

    def _free(self, entities: list[Key], done: Cleaned) -> list[Key]:
        """Those of some entities that nobody holds, nor anything that depends on them."""
        held: set[Key] = set()
        for start in range(0, len(entities), AT_ONCE):
            batch = entities[start : start + AT_ONCE]
            for dependent, helper in self._holding():
                found = (
                    set(self.session.query(*self.descent.holding_back(dependent, batch, self._holds_on(helper)))) - held
                )
                held |= found
                if found:
                    done.kept[f"{helper.holder or 'somebody'} ({helper.name})"] += len(found)
        return [key for key in entities if key not in held]

    def _holds_on(self, helper: Helper) -> str:
        """The condition that a helper row keeps what it refers to."""
        if helper.layout.parts and helper not in self.holds:
            return "1 = 1"  # what is said in parts is not followed: that table is cleaned by itself
        return f"NOT ({helper.holds(self.site).condition(DEPRECATED)})"

    def _holding(self) -> list[tuple[Dependent, Helper]]:
        """The helper tables on the way, with the helper tables of the source itself."""
        own = {(helper.table.schema, helper.table.name): helper for helper in self.holds}
        helpers = {**self.others, **own}
        return [
            (each, helpers[each.name])
            for each in self.descent.tables
            if each.name in helpers and self._is_seen(each.table)
        ]

    def _count(self, keys: Sequence[Key], deprecated: dict[Helper, set[Key]]) -> Counter[Name]:
        """How many rows go with some entities, of each table."""
        rows = Counter[Name]()
        for helper, some in deprecated.items():
            rows[helper.table.schema, helper.table.name] = len(some.intersection(keys))
        for dependent in self.dependents:
            rows[dependent.name] = int(self.session.query(*self.descent.counting(dependent, keys))[0][0])
        rows[self.source.schema, self.source.name] = len(keys)
        return rows

    def _delete(self, keys: Sequence[Key], deprecated: dict[Helper, set[Key]], counted: Counter[Name]) -> Counter[Name]:
        """Delete some entities with all that depends on them, within the open transaction."""
        rows = Counter[Name](dict.fromkeys(counted, 0))
        try:
            for helper, holds in self.holds.items():
                some = [key for key in keys if key in deprecated[helper]]
                for sql in holds.clearing(some) if some else ():
                    rows[helper.table.schema, helper.table.name] = self._execute_exactly(sql, len(some))
            for dependent in reversed(self.dependents):
                if counted[dependent.name]:
                    rows[dependent.name] = self._delete_dependent(dependent, keys)
            rows[self.source.schema, self.source.name] = self._execute_exactly(
                self.descent.rows.deletion(keys), len(keys)
            )
        except RowError as error:
            raise ServerError(
                f"What is deprecated of {self.name} cannot be deleted: {error.what} Nothing was deleted.",
                f"Other rows refer to it that the account {self.site.user!r} does not see, or that have come just now.",
            ) from error
        return rows

    def _delete_dependent(self, dependent: Dependent, keys: Sequence[Key]) -> int:
        condition = "1 = 1"
        if helper := self.others.get(dependent.name):
            # A hold is never taken away; where it was taken just now, the server refuses to delete the row.
            condition = helper.holds(self.site).condition(DEPRECATED)
        return sum(self.session.execute(*sql) for sql in self.descent.deletions(dependent, keys, condition))

    def _execute_exactly(self, sql: tuple[str, tuple[Any, ...]], number: int) -> int:
        done = self.session.execute(*sql)
        if done != number:
            raise BusyError(
                f"Flags of {self.name} were changed meanwhile. Nothing was deleted.",
                "Run the same again.",
            )
        return done

    def _is_seen(self, table: Table) -> bool:
        return not table.name.startswith("~") and not self.catalogue.missing_rights(table, ["SELECT"])

    def _require_rights(self, rows: Counter[Name]) -> None:
        tables = [*(helper.table for helper in self.holds), *(each.table for each in self.dependents), self.source]
        for table in tables:
            if rows[table.schema, table.name]:
                require(self.site, self.catalogue, table, ["DELETE"])

    def _require_masters(self, batches: Sequence[Sequence[Key]], rows: Counter[Name]) -> None:
        """Refuse to take part rows from masters that stay, which may be held; DataJoint refuses some of that."""
        for part in self.dependents:
            schema, name = part.name
            master = (schema, master_of(name))
            if not rows[part.name] or part.name in self.others or master == part.name:
                continue
            if master[1] in self.catalogue.tables(schema) and (bereft := self._bereft(part, master, batches, rows)):
                raise DefinitionError(
                    f"Rows of the part {schema}.{name} depend on what is deprecated, and would go without their "
                    f"masters, {bereft:,} of {label(master)}. Nothing was deleted.",
                    "Delete these masters first, by DataJoint, or by flag and clean where they are held.",
                )

    def _bereft(self, part: Dependent, name: Name, batches: Sequence[Sequence[Key]], rows: Counter[Name]) -> int:
        """How many rows of a master would stay, and lose rows of a part."""
        names = part_names(name[1], self.catalogue.tables(name[0]))
        master = self.catalogue.table(*name)
        try:
            group = with_master_keys(master, [self.catalogue.table(name[0], each) for each in names])
        except DefinitionError:  # which row is whose is not known
            return 0 if rows[name] else rows[part.name]
        table = next(each for each in group.parts if each.name == part.table.name)
        # By other ways a row goes with its master, or with another part's row that does.
        if not (ways := [way for way in part.ways if not _is_within(way.keys[0], table, group)]):
            return 0
        require(self.site, self.catalogue, master, ["SELECT"])
        above, bereft, going = self.descent.by_name.get(name), set[Key](), set[Key]()
        for batch in batches:
            bereft.update(self.session.query(*self.descent.masters(table, ways, master, batch)))
            going.update(self.session.query(*self.descent.going(above, batch)) if above else ())
        return len(bereft - going)

    def _tell(self, done: Cleaned, rows: Counter[Name]) -> None:
        done.rows.update({".".join(name): number for name, number in rows.items()})


def _is_within(fk: ForeignKey, part: Table, group: Group) -> bool:
    """Whether a foreign key of a part leads to the row of its master, or to a row of another part of that one."""
    keys = {group.master.name: group.master.primary_key, **{each.name: each.master_key for each in group.parts}}
    theirs = keys.get(fk.table, ()) if fk.schema == part.schema else ()
    own = zip(part.master_key, theirs, strict=False)
    return bool(theirs) and {*own} <= {*zip(fk.columns, fk.referred, strict=True)}
