"""What of a table at the source is shared and what is not, as queries there: the helper table is at hand.

Nothing is created: where there is no helper table yet, nothing is shared.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

import datajoint as dj

from . import host
from .captions import Captioned
from .ends.linking import Link
from .ends.source import SOURCE_RIGHTS
from .errors import ConfigError, LinkError, NotFoundError, UnseenError
from .holds.holds import Holds
from .model.ranges import Selection
from .model.schema import Table
from .model.states import AT_REST, HELD, UNSETTLED, Condition
from .selections import Selecting, require_matched
from .servers.keyed import Keyed
from .servers.site import Site
from .signals import final
from .travelling import among
from .typed import Method, of_classes
from .work.presence import find_given_back, find_presence
from .work.verify import Look, verify

T = TypeVar("T")


class UnknownNameError(NotFoundError, AttributeError):
    """No such schema or table; to Python no such attribute, which many ask for before they use it."""


class UnseenNameError(UnknownNameError, UnseenError):
    """The same of what may be hidden."""


def unknown_table(site: Site, what: str, advice: str, schema: str, table: str) -> UnknownNameError:
    """The error for a table of a source, or a part, that is asked for by name, and that the account does not see."""
    with site.catalogue() as catalogue:
        error = catalogue.no_such(what, advice, site.grant_hint(SOURCE_RIGHTS, schema, table), schema, table)
    return (UnseenNameError if isinstance(error, UnseenError) else UnknownNameError)(error.what, error.hint)


def own_names(part: Table, master: Table) -> dict[str, str]:
    """What a part, or the master itself, calls the attributes of the master's key."""
    return dict(zip(master.primary_key, part.entity_key, strict=True))


def by_entity(query: Any, part: Table, master: Table) -> Any:
    """A query on a part as its master is restricted by it: by the master's key, whatever the part calls it."""
    return query.proj(**{name: own for name, own in own_names(part, master).items() if name != own})


class _Told:
    """What a query tells of itself, or the class of a table of that."""

    def __init__(self, tell: Callable[[Any], Any]) -> None:
        self._tell = tell

    def __get__(self, instance: T | None, owner: type[T]) -> T:
        with final():
            return cast(T, self._tell(owner() if instance is None else instance))


#: In previews no more than so many shared rows are counted, and of no more rows of a query is it looked up.
MOST_COUNTED, MOST_LOOKED_UP = 100_000, 10_000


class Sharing(Captioned, Selecting):
    """A query on a table of the source, that of a master or of a part, which tells what of it is shared."""

    #: The rows that nobody holds: what a pull would bring. All, before the first pull. Rows in other hands, and those
    #: that the source wants deleted, are neither in here nor among the shared ones. Rows that are here and not held, as
    #: after a restore, are in here: a pull takes the hold.
    unshared = _Told(lambda query: query._saying(None, negated=True))
    #: The rows that are held and at rest, of which the source wants nothing; none before the first pull. The source
    #: does not know of rows that are lost here by accident: they are in here until ``repair()``.
    shared = _Told(lambda query: query._saying(AT_REST))
    #: The rows that the source wants deleted, and that have not been given back: what is to be deleted here. With
    #: ``keys()`` they are a list.
    flagged = _Told(lambda query: query._flagged())

    @Method
    def differing(self) -> Any:
        """The shared rows whose entities are not the same on both servers, or not here: what ``verify()`` finds now.

        Raises
        ------
        ConfigError
            They are more than travel to the source with one query; ``verify()`` lists them all.
        """
        with final():
            link, query = self._own_link(), cast(Any, self)
            found = link.operate(lambda ends: verify(ends, self._entities(), Look()))
            names = own_names(self._table(), link.find_table(None))
            keys = [*found.differing, *found.missing]
            return query.restrict([{names[name]: value for name, value in key.items()} for key in keys])

    def restrict(self, restriction: Any, semantic_check: bool = True) -> Any:
        """Restrict as DataJoint does, also by queries on the local server; see :meth:`Selecting.restrict`.

        By the linked table itself it is restricted by what the helper table holds, where that are many.
        """
        given, negated = restriction, False
        while isinstance(given, dj.Not):
            given, negated = given.restriction, not negated
        if semantic_check and self._is_own_copy(given):
            with final():
                is_here = self._find_here()
            if is_here:
                return self._only(f"NOT ({is_here})" if negated else is_here)
        if isinstance(given, Sharing) and host.are_of_one_table(self, given):
            # A row of a table is told by its key: DataJoint would ask where its other attributes come from.
            keys: Any = given.proj()
            restriction = dj.Not(keys) if negated else keys
        return super().restrict(restriction, semantic_check)

    def _is_own_copy(self, given: Any) -> bool:
        """Whether something is the whole local table of the same link."""
        if isinstance(given, Sharing) or not (host.is_query(given) and host.is_plain(self) and hasattr(given, "_link")):
            return False
        link, query = self._own_link(), given() if isinstance(given, type) else given
        return (
            not self._table().master_key
            and host.is_whole_table(query)
            and host.parted(query.full_table_name) == (link.spec.local_schema, link.spec.table_name)
            and query.connection is link.connect_here()
        )

    def _find_here(self) -> str | None:
        """The condition that a row is here, as the helper table tells it; None where their keys had better travel."""
        site, holds, link = self._there(), self._find_holds(), self._own_link()
        if holds is None or link.connect_local().in_transaction():
            return None
        presence = link.operate(lambda ends: find_presence(ends, self.most_keys[0]))
        if presence is None:
            return None
        rows = Keyed(site.dialect, self._table())
        held, whole = holds.holding(rows, HELD), self._whole()
        if presence.gone:
            held = f"{held} AND NOT {among(whole, rows.names, presence.gone)}"
        return f"({held} OR {among(whole, rows.names, presence.besides)})" if presence.besides else f"({held})"

    def _flagged(self) -> Any:
        require_matched(self)  # it is what is deleted by
        site, holds = self._there(), self._find_holds()
        if holds is None:
            return self._all(False)
        rows, link = Keyed(site.dialect, self._table()), self._own_link()
        flagged = holds.holding(rows, UNSETTLED)
        # What has been given back may be here again, as after a restore: that the helper table does not know.
        if link.is_declared() and (back := link.operate(find_given_back)):
            flagged = f"({flagged} OR {among(self._whole(), rows.names, back)})"
        return self._only(flagged)

    def _saying(self, says: Condition | None, *, negated: bool = False) -> Any:
        """The rows that are held, their helper rows saying this; or, ``negated``, the others."""
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
        some = holds.dialect.alias("some")
        if host.is_restricted_table(query) and not query.restriction and not self._table().master_key:
            sql, _ = holds.saying(AT_REST).selecting("1")
            number = self._ask(f"SELECT COUNT(*) FROM ({sql} LIMIT {MOST_COUNTED + 1}) AS {some}")[0]
            if number > MOST_COUNTED:
                return f"More than {MOST_COUNTED:,} of these are shared."
        else:
            rows = Keyed(holds.dialect, self._table()).called(some)
            if not {column.name for column in rows.key} <= {*query.heading.names} - {*query.heading.new_attributes}:
                return ""
            first = query.restrict(dj.Top(MOST_LOOKED_UP + 1)).proj().make_sql()
            held = f"COALESCE(SUM(CASE WHEN {holds.holding(rows, AT_REST)} THEN 1 ELSE 0 END), 0)"
            total, number = self._ask(f"SELECT COUNT(*), {held} FROM ({first}) AS {some}")
            if total > MOST_LOOKED_UP:
                return ""
        return f"{number:,} of these {'is' if number == 1 else 'are'} shared."

    def _ask(self, sql: str) -> tuple[int, ...]:
        """Numbers that a statement finds, over DataJoint's connection."""
        query: Any = self
        with self._there().in_our_words():
            return tuple(map(int, query.connection.query(sql).fetchone()))

    @property
    def _of_source(self) -> tuple[Any, ...]:  # type: ignore[override]
        return (self,)

    @property
    @abstractmethod
    def _written(self) -> str:
        """How a program calls the table."""

    @abstractmethod
    def _answer(self, name: str) -> str | None:
        """How something is had for a query that is made of this one, and is no table; None for what nobody has."""

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
    def _own_link(self) -> Link:
        """The link of the table, or of that of which it is a part."""

    @abstractmethod
    def _entities(self) -> Selection:
        """The entities that the rows are of."""

    @abstractmethod
    def _whole(self) -> Any:
        """The table without restrictions."""


#: What queries on a table of a source tell.
TOLD = ("unshared", "shared", "flagged", "differing")


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
