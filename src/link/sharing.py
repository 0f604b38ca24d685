"""What of a table at the source is shared and what is not, as queries there: the helper table is at hand.

Nothing is created: where there is no helper table yet, nothing is shared.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from typing import Any, NoReturn, TypeVar, cast

import datajoint as dj

from . import host
from .captions import Captioned
from .errors import ConfigError, LinkError, NotFoundError
from .holds.holds import Holds
from .model.schema import Table
from .model.states import AT_REST, Condition
from .selections import Selecting
from .servers.keyed import Keyed
from .servers.site import Site
from .signals import final
from .typed import of_classes

T = TypeVar("T")


class UnknownNameError(NotFoundError, AttributeError):
    """No such schema or table; to Python no such attribute, which many ask for before they use it."""


class _Told:
    """Those rows of a table, or of the table of a class, whose helper rows say something; or, negated, the others."""

    def __init__(self, says: Condition | None, *, negated: bool = False) -> None:
        self._says, self._negated = says, negated

    def __get__(self, instance: T | None, owner: type[T]) -> T:
        query: Any = owner() if instance is None else instance
        return cast(T, query._saying(self._says, negated=self._negated))


#: Of more rows it is not counted in a preview how many are shared.
MOST_COUNTED = 100_000


class Sharing(Captioned, Selecting):
    """A query on a table of the source, that of a master or of a part, which tells what of it is shared."""

    #: The rows that nobody holds: what a pull would bring. All, before the first pull. Rows in other hands, and those
    #: that the source wants deleted, are neither in here nor among the shared ones. Rows that are here and not held, as
    #: after a restore, are in here: a pull takes the hold.
    unshared = _Told(None, negated=True)
    #: The rows that are held and at rest, of which the source wants nothing; none before the first pull. The source
    #: does not know of rows that are lost here by accident: they are in here until ``repair()``.
    shared = _Told(AT_REST)

    def _saying(self, says: Condition | None, *, negated: bool = False) -> Any:
        """The rows that are held, their helper rows saying this; or, ``negated``, the others."""
        with final():
            site, holds = self._there(), self._find_holds()
            if holds is None:
                return self._all(negated)
            held = holds.holding(Keyed(site.dialect, self._table()), says)
            return self._only(f"NOT {held}" if negated else held)

    def _all(self, all_of_it: bool) -> Any:
        query: Any = self
        return query.restrict(all_of_it)

    def _only(self, condition: str) -> Any:
        """The rows for which a condition on the table, by the full names of its columns, is true."""
        query: Any = self
        if host.is_plain(query):
            return host.with_condition(query, condition)
        whole = host.with_condition(self._whole(), condition).proj()
        key = whole.primary_key
        if not set(key) <= {*query.heading.names} - {*query.heading.new_attributes}:
            raise ConfigError(
                f"A query on {self._title} without its primary key ({', '.join(key)}) does not tell what is shared.",
                "Ask the table first: .unshared, then proj(), dj.Top() and the like.",
            )
        return query & whole

    def _caption(self) -> str:
        place = f"Source: {self._place()} at {self._there().address}."
        with contextlib.suppress(LinkError):  # what cannot be counted is not told
            return f"{place} {self._told_of_shared()}".strip()
        return place

    def _told_of_shared(self) -> str:
        """How many of the rows are shared, where that is soon counted; DataJoint counts the rows anyway."""
        query: Any = self
        if not host.counts_rows(query) or (holds := self._known_holds()) is None:
            return ""
        most = dj.Top(MOST_COUNTED + 1)
        with self._there().in_our_words():
            if host.is_restricted_table(query) and not query.restriction and not self._table().master_key:
                sql, _ = holds.saying(AT_REST).selecting("1")
                counted = f"SELECT COUNT(*) FROM ({sql} LIMIT {MOST_COUNTED + 1}) AS {holds.dialect.alias('some')}"
                number = int(query.connection.query(counted).fetchone()[0])
            elif len(query.restrict(most)) <= MOST_COUNTED:
                number = len(query.shared)
            else:
                return ""
        if number > MOST_COUNTED:
            return f"More than {MOST_COUNTED:,} of these are shared."
        return f"{number:,} of these {'is' if number == 1 else 'are'} shared."

    @abstractmethod
    def _place(self) -> str:
        """The table, as the source calls it."""

    @abstractmethod
    def _known_holds(self) -> Holds | None:
        """The holds, as far as they are known without asking every time."""

    @abstractmethod
    def _there(self) -> Site:
        """The source."""

    @abstractmethod
    def _table(self) -> Table:
        """The table that this is a query on."""

    @abstractmethod
    def _find_holds(self) -> Holds | None:
        """The holds, if there is a helper table; creates nothing."""

    @abstractmethod
    def _whole(self) -> Any:
        """The table without restrictions."""


class ReadOnly(Sharing):
    """A table of the source, which is another lab's."""

    @of_classes
    def _read_only(self, *_: Any, **__: Any) -> NoReturn:
        raise LinkError(
            f"The source of {self._title} is read-only from here.",
            "Delete local rows with (Table() & ...).delete(); rows at the source are its own lab's.",
        )

    insert = insert1 = insert_dataframe = update1 = staged_insert1 = _read_only
    delete = delete_quick = drop = drop_quick = alter = _read_only
