"""Which entities a plan or a pull is about, as sets at the source: what is selected, and all that it stands on.

Here are conditions on rows, as claims of a range need them: what a row refers to is looked up. A foreign key between
two keys is followed without a look at rows: where a session's key has the subject's in it, whatever belongs to a
session belongs to that subject. Sets as a whole are written in :mod:`link.holds.expressions`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import DefinitionError
from ..lazy import cached_property
from ..model.graph import Edge, Graph, Name, class_of, label
from ..model.ranges import Selection
from ..model.schema import Table, tier
from ..model.states import ASKED
from ..servers.dialect import Dialect
from ..servers.keyed import Keyed
from .holds import Holds

#: Finds conditions for the entity of a key of a group, whose row may be in scope.
Where = Callable[[Name, Sequence[str], bool], list[str]]

#: So many looks at other rows a condition may take, and so many characters, which a user's own conditions may have. By
#: some hundred looks within one another a server is busy for a minute; of many thousand it may die.
MOST_LOOKS, LONGEST = 150, 2_000_000


@dataclass
class Sets:
    """The sets of a selection.

    Parameters
    ----------
    dialect : Dialect
        How the source is spoken to.
    graph : Graph
        Its groups, without foreign keys that are cut.
    selections : mapping
        What is selected of a group: the union of these.
    descendants : bool
        Whether all that stands on what is selected is selected as well.
    leave_out : collection of Name
        Groups of which nothing is needed: foreign keys to them are not followed, nor theirs.
    whole : bool
        Whether lookup tables are selected as a whole that anything selected may stand on.
    flagged : mapping
        Holds of groups in which the source wants rows deleted: these, and what stands on them, are not selected.
    longest : int
        How long the conditions of a group may be, one within the other.
    """

    dialect: Dialect
    graph: Graph
    selections: Mapping[Name, Sequence[Selection]]
    descendants: bool = False
    leave_out: Collection[Name] = ()
    whole: bool = False
    flagged: Mapping[Name, Holds] = field(default_factory=dict)
    longest: int = LONGEST

    def __post_init__(self) -> None:
        out = set(self.leave_out)
        #: The foreign keys of groups that are left out, and to them.
        self.left = [edge for edge in self.graph.edges if not out.isdisjoint((edge.child, edge.parent))]
        self.graph = self.graph.without(self.left)
        self._found: dict[tuple[str, Name, tuple[str, ...], bool], list[str]] = {}

    @cached_property
    def selected_names(self) -> set[Name]:
        """The groups of which rows may be selected."""
        chosen = set(self.selections) - set(self.leave_out)
        return self.graph.descendants(chosen) if self.descendants else chosen

    @property
    def chosen_names(self) -> set[Name]:
        """The groups of which :meth:`selected` tells anything: those, and the lookup tables that are wanted whole."""
        return self.selected_names | self.whole_names

    @cached_property
    def names(self) -> list[Name]:
        """All groups of which rows may be needed, parents first."""
        return self.graph.order(self.graph.ancestors(self.selected_names))

    @cached_property
    def whole_names(self) -> set[Name]:
        """The lookup tables that are selected as a whole."""
        return {name for name in self.names if self.whole and tier(name[1]) == "lookup"}

    @cached_property
    def all_selected(self) -> set[Name]:
        """The groups of which all rows are selected: they, or what each of their rows must refer to."""
        found = set[Name]()
        for name in self.names:
            followed = self.graph.up(name) if self.descendants and name in self.selected_names else ()
            always = (edge.parent for edge in followed if edge.table == self.master(name) and not edge.nullable)
            some = self.selections.get(name, ()) if name in self.selected_names else ()
            if not all(some) or not found.isdisjoint(always):
                found.add(name)
        return found

    @cached_property
    def known(self) -> set[Name]:
        """The same, to look one up."""
        return set(self.names)

    @cached_property
    def below_flagged(self) -> set[Name]:
        """The groups of which something may stand on what is flagged, or be flagged."""
        return self.graph.descendants(self.known.intersection(self.flagged)) & self.known

    @cached_property
    def _edges(self) -> list[Edge]:
        """The foreign keys that are to be followed: without those that lead where others lead from the same columns.

        A session's key has the subject's in it: to which subject it belongs is told by that.
        """
        leads: dict[Name, set[tuple[Name, tuple[int, ...]]]] = {}
        found = list[Edge]()
        for name in self.names:
            ways = leads[name] = set()
            own = [(edge, places) for edge in self.graph.up(name) if (places := self.inherited(edge)) is not None]
            for edge, places in own:
                further = leads[edge.parent]
                ways |= {(above, tuple(places[place] for place in theirs)) for above, theirs in further}
            for edge, places in own:
                if (edge.parent, places) not in ways:
                    found.append(edge)
                    ways.add((edge.parent, places))
            for edge in self.graph.up(name):
                inside = set(edge.columns) <= set(edge.table.entity_key) and edge.through is None
                key = [edge.table.entity_key.index(column) for column in edge.columns] if inside else []
                if self.inherited(edge) is None and not (inside and (edge.parent, tuple(key)) in ways):
                    found.append(edge)
        return found

    @cached_property
    def _up(self) -> Mapping[Name, list[Edge]]:
        return {name: [edge for edge in self._edges if edge.child == name] for name in self.names}

    @cached_property
    def _down(self) -> Mapping[Name, list[Edge]]:
        return {name: [edge for edge in self._edges if edge.parent == name] for name in self.names}

    def up(self, name: Name) -> list[Edge]:
        """The foreign keys of a group that are to be followed."""
        return self._up[name]

    def down(self, name: Name) -> list[Edge]:
        """The foreign keys that refer to a group and are to be followed."""
        return self._down[name]

    def master(self, name: Name) -> Table:
        """The master table of a group."""
        return self.graph.groups[name].master

    def reason(self, name: Name) -> str:
        """Why rows of a group may be needed."""
        if name in self.selections and name in self.selected_names:
            return "selected"
        if name in self.whole_names:
            return "a lookup table, whole"
        if name in self.selected_names:
            parents = dict.fromkeys(e.parent for e in self.graph.up(name) if e.parent in self.selected_names)
            return f"derived from {self._listed(parents)}"
        return f"<- {self._listed(dict.fromkeys(e.child for e in self.graph.down(name) if e.child in self.known))}"

    def _listed(self, names: Iterable[Name]) -> str:
        return ", ".join(class_of(name[1]) for name in names)

    # conditions on rows

    def selected(self, name: Name) -> Selection:
        """The selected rows of a group, as a condition on its master: what is to be claimed.

        What a row refers to is looked up by its key. So a range of rows costs what the range does, however large the
        sets are. Rows below a flagged one are not among them.
        """
        key = self.key(name)
        if self.is_everything(name):
            condition = ""
        else:
            some = self._selected_where(name, key, True) if name in self.selected_names else []
            condition = f"({' OR '.join(some) or '1 = 0'})"
        if name in self.below_flagged:
            spared = f"NOT ({' OR '.join(self.flagged_where(name, key, True))})"
            condition = f"{condition} AND {spared}" if condition else spared
        return Selection(condition)

    def is_told(self, name: Name) -> bool:
        """Whether :meth:`selected` can tell the rows of a group."""
        try:
            self.selected(name)
        except DefinitionError:
            return False
        return True

    def key(self, name: Name) -> tuple[str, ...]:
        """The full names of the columns of a group's key."""
        return Keyed(self.dialect, self.master(name)).references

    def is_everything(self, name: Name) -> bool:
        """Whether all rows of a group are selected, but for what stands on something flagged."""
        return name in self.whole_names or name in self.all_selected

    def has_everything(self, name: Name) -> bool:
        """Whether all rows of a group are needed."""
        return self.is_everything(name) and name not in self.below_flagged

    def fields(self, table: Table, names: Iterable[str]) -> tuple[str, ...]:
        """The full names of some columns."""
        return tuple(f"{self.dialect.name_of(table)}.{self.dialect.quote(name)}" for name in names)

    def _selected_where(self, name: Name, key: Sequence[str], in_scope: bool = False) -> list[str]:
        """Conditions, any of which is true where the entity of a key is selected; its row may be in scope."""
        return self._once(self._find_selected_where, name, key, in_scope)

    def _once(self, find: Where, name: Name, key: Sequence[str], in_scope: bool) -> list[str]:
        """Conditions that are found once for each key, however many ways lead there.

        Raises
        ------
        DefinitionError
            They are too many, one within the other.
        """
        of = find.__name__, name, tuple(key), in_scope
        if of not in self._found:
            found = self._found[of] = list(dict.fromkeys(find(name, key, in_scope)))
            looks = sum(where.count("EXISTS (SELECT") for where in found)
            if looks > MOST_LOOKS or sum(map(len, found)) > self.longest:
                raise DefinitionError(
                    f"There are too many ways by which rows of {label(name)} can depend on others to tell them in one "
                    "condition.",
                    "Leave tables out (leave_out=), or do not follow some of the foreign keys (cut=).",
                )
        return self._found[of]

    def _find_selected_where(self, name: Name, key: Sequence[str], in_scope: bool) -> list[str]:
        found = list[str]()
        if name in self.all_selected:
            found.append(" AND ".join(f"{part} IS NOT NULL" for part in key))
        elif conditions := self.selections.get(name):
            condition = either(selection.condition for selection in conditions)
            rows, where = self.dialect.name_of(self.master(name)), f"{equal(self.key(name), key)} AND {condition}"
            has = f"EXISTS (SELECT {self.dialect.by_index}1 FROM {rows} WHERE {where})"
            found.append(condition if in_scope else has)
        for edge in self.up(name) if self.descendants else ():
            if edge.parent in self.selected_names:
                found += self._refers_where(edge, key, in_scope, self._selected_where)
        return found

    def flagged_where(self, name: Name, key: Sequence[str], in_scope: bool = False) -> list[str]:
        """Conditions, any of which is true where the entity of a key is to be deleted, or stands on such a one."""
        return self._once(self._find_flagged_where, name, key, in_scope)

    def _find_flagged_where(self, name: Name, key: Sequence[str], in_scope: bool) -> list[str]:
        found = list[str]()
        if holds := self.flagged.get(name):
            helper = self.dialect.alias("asked")  # it may be the target of the INSERT around it
            same = equal([f"{helper}.{self.dialect.quote(column.name)}" for column in holds.helper.key], key)
            where = f"{same} AND {holds.condition(ASKED, helper)}"
            found.append(f"EXISTS (SELECT {self.dialect.by_index}1 FROM {holds.table} {helper} WHERE {where})")
        return [*found, *self.below_flagged_where(name, key, in_scope)]

    def below_flagged_where(self, name: Name, key: Sequence[str], in_scope: bool = False) -> list[str]:
        """Conditions, any of which is true where the entity of a key stands on one that is to be deleted."""
        edges = (edge for edge in self.up(name) if edge.parent in self.below_flagged)
        return [where for edge in edges for where in self._refers_where(edge, key, in_scope, self.flagged_where)]

    def _refers_where(
        self, edge: Edge, key: Sequence[str], in_scope: bool, is_meant: Callable[[Name, Sequence[str]], list[str]]
    ) -> list[str]:
        """Conditions, any of which is true where the entity of a key refers to one that is meant."""
        if (places := self.inherited(edge)) is not None:
            return is_meant(edge.parent, [key[place] for place in places])
        through, columns = edge.through, self.fields(edge.table, edge.columns)
        # By a name of its own: the same table is looked up within, for what is meant.
        called = self.dialect.alias(f"through {self.names.index(edge.parent)}")
        if through is not None:
            columns = Keyed(self.dialect, through).called(called).references
        meant = is_meant(edge.parent, columns)
        if not meant:
            return []
        refers = " AND ".join([*self.filled(edge), either(meant)])
        looked_up = f"{self.dialect.name_of(through)} {called}" if through is not None else ""
        if in_scope and edge.table == self.master(edge.child):
            if through is None:
                return [f"({refers})"]
            # The row itself is not looked up: within, its table would mean another one.
            rows, on = looked_up, self.through_on(edge, called)
        else:
            rows, on = self.dialect.name_of(edge.table), equal(self.fields(edge.table, edge.table.entity_key), key)
            if through is not None:
                rows = self.dialect.driving_join(rows, looked_up, self.through_on(edge, called))
        return [f"EXISTS (SELECT {self.dialect.by_index}1 FROM {rows} WHERE {on} AND {refers})"]

    def inherited(self, edge: Edge) -> tuple[int, ...] | None:
        """Where in the child's key the parent's is, if the child's master has it there."""
        key = self.master(edge.child).primary_key
        if edge.through is not None or edge.table != self.master(edge.child) or not set(edge.columns) <= set(key):
            return None
        return tuple(key.index(column) for column in edge.columns)

    def filled(self, edge: Edge) -> list[str]:
        """Conditions that a row refers to something: with a NULL in a foreign key it does not."""
        return [f"{field} IS NOT NULL" for field in self.fields(edge.table, edge.nullable)]

    def through_on(self, edge: Edge, called: str = "") -> str:
        """The condition that a row refers to one through which it refers to an entity; that one may be ``called``."""
        assert edge.through is not None
        name = called or self.dialect.name_of(edge.through)
        referred = [f"{name}.{self.dialect.quote(column)}" for column in edge.key.referred]
        return equal(referred, self.fields(edge.table, edge.key.columns))


def equal(some: Sequence[str], others: Sequence[str]) -> str:
    """The condition that keys are equal."""
    return " AND ".join(f"{a} = {b}" for a, b in zip(some, others, strict=True))


def either(conditions: Iterable[str]) -> str:
    """The condition that any of some is true."""
    listed = list(dict.fromkeys(conditions))
    return f"({' OR '.join(listed)})" if listed else "1 = 0"
