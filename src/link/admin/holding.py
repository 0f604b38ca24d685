"""Who holds what at a source, and since when: counted in the helper tables, by whoever may read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import groupby
from typing import Any, Literal

from ..accounts import Credentials
from ..addresses import Address
from ..errors import ConfigError
from ..model.graph import label
from ..model.shown import as_table, number_of, plain
from ..servers.sites import visiting
from ..signals import final
from .helpers import Helper, find_helpers, require

#: What one line is about.
BY = ("table", "account")
#: In which order they are counted.
_COUNTS = ("held", "flagged", "deprecated", "in_hand")
_HEADER = ("holder", "account", "held", "flagged", "deprecated", "in hand", "since", "flagged since")


@dataclass(frozen=True)
class Holding:
    """How much somebody holds, of one table or of all; each entity is counted in one place.

    Attributes
    ----------
    table, helper : str or None
        The source table as ``schema.Class``, and its helper table; None where it is counted by accounts.
    account : str or None
        The link user; None where the account that asks may not see who that is.
    holder : str
        Whom the helper table's comment says it serves; empty where it does not say it.
    held : int
        Held and at rest.
    flagged : int
        Flagged, and not yet deleted by who holds.
    deprecated : int
        Deleted by who held it: it can go.
    in_hand : int
        What pulls and deletions have in hand at this moment, or had when they were killed.
    since, until : datetime or None
        When the first and the last of the holds was taken that are not deprecated; None where the helper table does not
        say it.
    refreshed : datetime or None
        When a copy was last refreshed.
    flagged_since : datetime or None
        When the first of the flags was set that wait.
    """

    table: str | None
    helper: str | None
    account: str | None
    holder: str
    held: int = 0
    flagged: int = 0
    deprecated: int = 0
    in_hand: int = 0
    since: datetime | None = None
    until: datetime | None = None
    refreshed: datetime | None = None
    flagged_since: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return {name: plain(value) for name, value in vars(self).items()}

    @property
    def cells(self) -> list[str]:
        """What is printed of it, behind the table."""
        numbers = [f"{number:,}" for number in (self.held, self.flagged, self.deprecated, self.in_hand)]
        holding = self.held + self.flagged + self.in_hand
        flagged_since = _time(self.flagged_since) if self.flagged else ""
        return [
            self.holder or "unknown",
            self.account or "unknown",
            *numbers,
            _time(self.since) if holding else "",
            flagged_since,
        ]


@dataclass(frozen=True)
class Holdings:
    """Who holds what; prints as a table.

    Attributes
    ----------
    lines : list of Holding
        By tables, or by accounts.
    by : {'table', 'account'}
        Which.
    place : str
        The helper schema and the server.
    """

    lines: list[Holding]
    by: str
    place: str

    @property
    def _rows(self) -> tuple[list[str], list[list[str]]]:
        header = [*(["table"] if self.by == BY[0] else []), *_HEADER]
        return header, [[*([each.table] if each.table else []), *each.cells] for each in self.lines]

    def __repr__(self) -> str:
        header, rows = self._rows
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        numbers = {header.index(name.replace("_", " ")) for name in _COUNTS}
        lines = [
            "  ".join(
                c.rjust(w) if n in numbers else c.ljust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in (header, *rows)
        ]
        return "\n".join([self.place, *(line.rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        header, rows = self._rows
        return as_table(rows, header, self.place)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values: of each line what :class:`Holding` has."""
        return {"by": self.by, "lines": [each.to_dict() for each in self.lines]}


def holds(
    address: Address,
    administrator: Credentials,
    helper_schema: str,
    *,
    by: Literal["table", "account"] = "table",
    backend: str | None = None,
) -> Holdings:
    """Count who holds what; changes nothing.

    Parameters
    ----------
    address, administrator
        The source server, and an account that may read the helper tables.
    helper_schema : str
        The schema with the helper tables.
    by : {'table', 'account'}
        What one line is about: a helper table, or all that one link user has for one holder.
    backend : str, optional
        The kind of server, where the address does not say it.

    Raises
    ------
    NotFoundError
        There is no such schema, or no helper table in it.
    PrivilegeError
        The account may not read them; the message has the GRANT.
    """
    if by not in BY:
        raise ConfigError(f"by={by!r} is not known.", f"Use one of {', '.join(BY)}.")
    with (
        final(),
        visiting(address, administrator, backend) as site,
        site.session() as session,
    ):
        catalogue = site.catalogue_type(session)
        helpers = find_helpers(site, catalogue, helper_schema)
        for helper in helpers:
            for name in (helper.table.name, *helper.part_tables):
                require(site, catalogue, replace(helper.table, name=name), ["SELECT"])
        users = catalogue.link_users(helper_schema, [helper.table.name for helper in helpers])
        asked = {helper: helper.holds(site) for helper in helpers}
        told: dict[Helper, tuple[Any, ...]] = {}
        for timed in (True, False):
            some = [helper for helper, of in asked.items() if of.timed is timed]
            told |= zip(some, session.query_each([asked[each].reading_account() for each in some]), strict=True)
        lines = [_held(helper, users.get(helper.table.name, ()), told[helper]) for helper in helpers]
        lines.sort(key=lambda each: (each.table or "", each.helper or ""))
        place = f"held by {helper_schema} on {site.address}"
        return Holdings(lines if by == BY[0] else _by_accounts(lines), by, place)


def _held(helper: Helper, users: Sequence[str], told: Sequence[Any]) -> Holding:
    numbers = dict(zip(_COUNTS, map(int, told), strict=False))
    since, until, refreshed, flagged_since = map(_as_time, told[len(_COUNTS) :] or [None] * 4)
    return Holding(
        label(helper.source),
        helper.name,
        ", ".join(users) or None,
        helper.holder,
        **numbers,
        since=since,
        until=until,
        refreshed=refreshed,
        flagged_since=flagged_since,
    )


def _by_accounts(lines: Iterable[Holding]) -> list[Holding]:
    def account(line: Holding) -> str:
        return line.account or ""

    return [_sum(who or None, list(some)) for who, some in groupby(sorted(lines, key=account), account)]


def _as_time(seconds: Any) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(float(seconds), timezone.utc)


def _time(time: datetime | None) -> str:
    return "unknown" if time is None else f"{time:%Y-%m-%d %H:%M}"


def _in_short(holders: Sequence[str]) -> str:
    """Some holders; of several tables that nobody has named only on which machines they are."""
    places = Counter(place for holder in holders for place in holder.rpartition(" on ")[2:])
    if len(holders) > 2 and all(" on " in holder for holder in holders):
        return ", ".join(f"{number_of(number, 'table')} on {place}" for place, number in places.items())
    return ", ".join(holders)


def _sum(account: str | None, lines: Sequence[Holding]) -> Holding:
    def times(name: str) -> list[datetime]:
        return [time for line in lines if (time := getattr(line, name)) is not None]

    counts: Mapping[str, int] = {name: sum(getattr(line, name) for line in lines) for name in _COUNTS}
    return Holding(
        None,
        None,
        account,
        _in_short(list(dict.fromkeys(line.holder for line in lines if line.holder))),
        **counts,
        since=min(times("since"), default=None),
        until=max(times("until"), default=None),
        refreshed=max(times("refreshed"), default=None),
        flagged_since=min(times("flagged_since"), default=None),
    )
