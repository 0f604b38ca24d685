"""Holds in a layout that says some of it in part tables of the helper table, as the older interface does.

A flag is TRUE where the part has the key. What stands in a part changes in one transaction with the helper table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..model.layouts import Layout
from ..model.ranges import Key, Range, Rows, Selection, Sql
from ..model.schema import Table, part_name
from ..model.states import FALSE, NONE, TRUE, UNASKED, Condition, Transition
from ..servers.dialect import Dialect
from ..servers.keyed import Keyed
from ..servers.session import Session
from ..signals import BusyError, RowError
from .holds import Change, Holds


class PartHolds(Holds):
    """The holds of one link, in a helper table and its part tables; see :class:`Holds`."""

    def __init__(self, dialect: Dialect, source: Table, helper: Table, layout: Layout) -> None:
        super().__init__(dialect, source, helper, layout)
        self.parts = {
            said: Keyed(dialect, replace(helper, name=part_name(helper.name, suffix)), source.key_columns)
            for said, suffix in layout.parts.items()
        }

    def _apply(self, session: Session, change: Change) -> int:
        try:
            return super()._apply(session, change)
        except RowError as error:
            # What was to be let go of has been asked for just now. The guard sees that when it is tried again.
            raise BusyError(error.what) from error

    def change(self, transition: Transition, rows: Rows) -> Change:
        """The statements of a transition on some rows: one statement's worth."""
        (helper,) = super().change(transition, rows).statements
        # No row that goes may be left approved.
        deprecated = FALSE if transition.then is None else transition.then.get("is_deprecated")
        if deprecated is None:
            return Change((helper,))
        if deprecated == TRUE:
            assert transition.then is not None
            approved = self._approve(rows, self._guard(transition.when))
            return Change((approved, helper), 1) if self._assignments(transition.then) else Change((approved,))
        if "is_deprecated" not in transition.when:
            return Change((self._disapprove(rows, transition.when), helper), 1)
        # The guard looks at the approvals itself: then they go afterwards, with the rows that have been changed.
        assert transition.then is not None
        return Change((helper, self._disapprove(rows, {"process": (transition.then["process"],)})))

    def _approve(self, rows: Rows, guard: Sql) -> Sql:
        keys = f"SELECT {', '.join(self.helper.references)} "
        if isinstance(rows, Range):
            within, args = self.helper.within(rows)
            select, args = f"{keys} FROM {self.table} WHERE {guard[0]} AND {within}", (*guard[1], *args)
        else:
            of_keys, args = self.helper.rows_of(rows)
            select, args = f"{keys} {of_keys} WHERE {guard[0]}", (*args, *guard[1])
        names = self.helper.names
        return self.dialect.insert_new(self.parts["is_deprecated"].name, names, select, names[0]), args

    def _disapprove(self, rows: Rows, when: Condition) -> Sql:
        approved, (guard, args) = self.parts["is_deprecated"], self._guard(when)
        equal = self.helper.equals(approved)
        held = f"EXISTS (SELECT {self.dialect.by_index}1 FROM {self.table} WHERE {equal} AND {guard})"
        return approved.deletion(rows, (held, args))

    def flagging(self, selection: Selection) -> Sql:
        requested, (condition, args) = self.parts["is_flagged"], self.saying(UNASKED, selection).condition
        keys = f"SELECT {', '.join(self.helper.references)} FROM {self.table} WHERE {condition}"
        # Somebody else may be flagging the same.
        return self.dialect.insert_new(requested.name, requested.names, keys, requested.names[0]), args

    def unflagging(self, selection: Selection) -> Sql:
        requested, (condition, args) = self.parts["is_flagged"], self.saying({}, selection).condition
        equal = self.helper.equals(requested)
        return self.dialect.delete_listed(requested.name, self.table, equal, condition), args

    def clearing(self, keys: Sequence[Key]) -> list[Sql]:
        requested, approved = self.parts["is_flagged"], self.parts["is_deprecated"]
        equal, at_rest = self.helper.equals(requested), self.condition({"process": (NONE,)})
        return [
            approved.deletion(keys),
            requested.deletion(keys, (f"EXISTS (SELECT 1 FROM {self.table} WHERE {equal} AND {at_rest})", ())),
            self.helper.deletion(keys),
        ]

    def _says(self, table: str, name: str, values: tuple[str, ...]) -> str:
        if name not in self.parts:
            return super()._says(table, name, values)
        is_in_part = self._is_in_part(name, table)
        return is_in_part if values == (TRUE,) else f"NOT {is_in_part}"

    def _value(self, name: str) -> str:
        if name not in self.parts:
            return super()._value(name)
        return f"CASE WHEN {self._is_in_part(name, self.table)} THEN {TRUE!r} ELSE {FALSE!r} END"

    def _is_in_part(self, name: str, table: str) -> str:
        return self.helper.called(table).exists(self.parts[name], "part")


def holds_of(dialect: Dialect, source: Table, helper: Table, layout: Layout) -> Holds:
    """The holds of a link, made as its layout says."""
    make = PartHolds if layout.parts else Holds
    return make(dialect, source, helper, layout)
