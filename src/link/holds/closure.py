"""What held entities stand on: claims that follow the source's foreign keys upward, and what is let go of again.

The helper tables are the sets. What a run has in hand of one group is looked at in ranges of its key; of the group that
a foreign key leads to, whatever is referred to and nobody holds is held then. No key travels.

All that is here returns SQL, which can be read without a server (tests/golden).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..model.graph import Edge
from ..model.ranges import ALL, EVERYTHING, Range, Selection, Sql
from ..model.schema import Table
from ..model.states import ASKED, PULLING, REFETCH, REHOLD, UNASKED, Condition, Transition
from ..servers.keyed import Keyed, Segment
from .holds import Holds
from .sets import equal

#: Kinds of keys of which equal ones are written alike everywhere.
_WRITTEN_ALIKE = ("integer", "bytes", "uuid", "bool", "date")


class Way(NamedTuple):
    """A foreign key between two groups, with the holds of both.

    Attributes
    ----------
    edge : Edge
        The foreign key.
    child, parent : Holds
        The holds of the groups.
    """

    edge: Edge
    child: Holds
    parent: Holds

    def claiming(self, within: Range = EVERYTHING, *, only_there: bool = False) -> Sql:
        """INSERT ... SELECT: hold what the run's own entities in a range refer to, and nobody holds.

        Foreign keys that were not checked may lead to what is not there: without a look for it, nothing can be held.
        """
        keys = [self.parent.dialect.quote(name) for name in self.parent.rows.names]
        d = self.parent.dialect.alias("referred")
        distinct, args = self._referred(within, keys)
        same = equal([f"{d}.{key}" for key in keys], self._held)
        held = self.parent.dialect.alias("held")
        unheld = f"NOT EXISTS (SELECT {self.parent.dialect.by_index}1 FROM {self.parent.table} {held} WHERE {same})"
        if self._written_alike and not only_there:
            return self.parent.claim_of([f"{d}.{key}" for key in keys], f"FROM ({distinct}) {d} WHERE {unheld}"), args
        # Foreign keys compare under collations: the key is held as the row has it that it refers to.
        rows = self.parent.rows
        on = equal(rows.references, [f"{d}.{key}" for key in keys])
        joined = self.parent.dialect.driving_join(f"({distinct}) {d}", rows.name, on)
        return self.parent.claim_of(list(rows.references), f"FROM {joined} WHERE {unheld}"), args

    @property
    def _held(self) -> list[str]:
        held = self.parent.dialect.alias("held")
        return [f"{held}.{self.parent.dialect.quote(column.name)}" for column in self.parent.helper.key]

    @property
    def _written_alike(self) -> bool:
        return all(column.kind and column.kind.name in _WRITTEN_ALIKE for column in self.parent.rows.key)

    def _referred(self, within: Range, names: Sequence[str]) -> Sql:
        """SELECT DISTINCT: the keys that the run's own entities in a range refer to, by some names."""
        mine = self.child.mine(PULLING, within)
        condition, args = mine.condition
        selected = ", ".join(f"{column} AS {name}" for column, name in zip(self.columns, names, strict=True))
        return f"SELECT DISTINCT {selected} FROM {self._joined} WHERE {self._with_value(condition)}", args

    @property
    def columns(self) -> list[str]:
        """The columns that hold the parent's key, by their full names; those of the helper table where inherited."""
        edge, dialect = self.edge, self.child.dialect
        if edge.is_inherited:
            own = dict(zip(edge.table.entity_key, self.child.helper.references, strict=True))
            return [own[name] for name in edge.columns]
        if edge.through is not None:
            return list(self._through(edge.through, edge.columns).references)
        return [dialect.field(edge.table, edge.table[name]) for name in edge.columns]

    def _through(self, table: Table, columns: Sequence[str]) -> Keyed:
        """The table with the rows through which entities are referred to: it may be looked up around it as well."""
        dialect = self.child.dialect
        return Keyed(dialect, table, [table[name] for name in columns]).called(dialect.alias("through"))

    @property
    def _joined(self) -> str:
        """The child's helper table, and what has to be looked up to know to what its entities refer."""
        if self.edge.is_inherited:
            return self.child.table
        return self.child.dialect.driving_join(self.child.table, *self._looked_up)

    @property
    def _looked_up(self) -> tuple[str, str]:
        """The table with the foreign key, and where need be the part it refers to; and which rows are an entity's."""
        edge, dialect = self.edge, self.child.dialect
        rows = Keyed(dialect, edge.table)
        on = rows.equals(self.child.helper)
        if edge.through is None:
            return rows.name, on
        through = self._through(edge.through, edge.key.referred)
        refers = [dialect.field(edge.table, edge.table[name]) for name in edge.key.columns]
        same = equal(through.references, refers)
        return f"({rows.name} JOIN {dialect.name_of(edge.through)} {through.name} ON {same})", on

    def _with_value(self, condition: str) -> str:
        """A condition, and that no column of the foreign key is NULL: else it refers to nothing."""
        edge = self.edge
        filled = (f"{self.child.dialect.field(edge.table, edge.table[c])} IS NOT NULL" for c in edge.nullable)
        return " AND ".join([condition, *filled])

    def _refers_where(self, condition: str) -> str:
        """The condition that an entity of the child's helper table refers to some parent for which this is true."""
        if self.edge.is_inherited:
            return condition
        rows, on = self._looked_up
        return f"EXISTS (SELECT 1 FROM {rows} WHERE {self._with_value(on)} AND {condition})"

    def _parents(self, says: Condition | None = None) -> str:
        """The rows of the parent's helper table that an entity refers to, and that say this, FROM onward."""
        held = self.parent.dialect.alias("held")
        same = equal(self._held, self.columns)
        said = [self.parent.dialect.unguessed(self.parent.condition(says, held))] if says else []
        return f"FROM {self.parent.table} {held} WHERE {' AND '.join([same, *said])}"

    @property
    def depends_on_unheld(self) -> str:
        """The condition that an entity refers to one that nobody holds."""
        return self._refers_where(f"NOT EXISTS (SELECT 1 {self._parents()})")

    @property
    def depends_on_flagged(self) -> str:
        """The condition that an entity refers to one that the source wants deleted."""
        return self._refers_where(f"EXISTS (SELECT 1 {self._parents(ASKED)})")

    def referred_by(self, says: Condition, selection: Selection) -> Selection:
        """Of the parents: what entities of a selection refer to whose helper rows say this."""
        same = equal(self.parent.rows.references, self.columns)
        condition, _ = self.child.saying(says, selection).condition
        rows = self.child.table
        if not self.edge.is_inherited:
            looked_up, on = self._looked_up
            rows = f"{looked_up} JOIN {rows} ON {on}"
        return Selection(f"EXISTS (SELECT 1 FROM {rows} WHERE {self._with_value(same)} AND {condition})")

    @property
    def is_needed(self) -> str:
        """The condition that some held entity of the child refers to one of the parent's helper table."""
        same = equal(self.parent.helper.references, self.columns)
        return f"EXISTS (SELECT 1 FROM {self._joined} WHERE {self._with_value(same)})"

    @property
    def is_wanted(self) -> str:
        """The condition that some entity that the run has in hand refers to one of the parent's helper table."""
        same = equal(self.parent.helper.references, self.columns)
        condition, _ = self.child.mine(PULLING).condition
        return f"EXISTS (SELECT 1 FROM {self._joined} WHERE {self._with_value(same)} AND {condition})"


def to_let_go(child: Holds, conditions: Sequence[str]) -> Segment:
    """The helper rows that the run has in hand and for which one of some conditions is true."""
    return _abandoned(child, f"({' OR '.join(conditions)})")


def unneeded(parent: Holds, ways: Sequence[Way], selections: Sequence[Selection]) -> Segment:
    """The helper rows that the run has in hand, that are not of a selection, and to which nothing held refers."""
    needed = [way.is_needed for way in ways]
    same = parent.rows.equals(parent.helper)
    row = f"SELECT 1 FROM {parent.rows.name} WHERE {same}"
    selected = (f"EXISTS ({row} AND {selection.condition or '1 = 1'})" for selection in selections)
    return _abandoned(parent, f"NOT ({' OR '.join([*needed, *selected]) or '1 = 0'})")


def _abandoned(holds: Holds, condition: str) -> Segment:
    return holds.mine(PULLING).where(holds.condition(UNASKED), condition)


def wanted_again(parent: Holds, ways: Sequence[Way], transition: Transition) -> Segment:
    """The helper rows of a group that a transition takes in hand again, and that entities in hand refer to."""
    assert transition in (REHOLD, REFETCH)
    wanted = " OR ".join(way.is_wanted for way in ways)
    return parent.saying(transition.when, ALL).where(f"({wanted or '1 = 0'})")
