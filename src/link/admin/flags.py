"""Asking for the deletion of held rows, and taking that back: what a source says to who holds its rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..accounts import Credentials
from ..addresses import Address
from ..holds.holds import Holds
from ..model.graph import label
from ..model.layouts import DJ_LINK
from ..model.ranges import Selection
from ..model.shown import Fact, as_line, as_rows, as_table
from ..model.states import ASKED, DEPRECATED, UNASKED
from ..servers.catalogue import Catalogue
from ..servers.keyed import Keyed, Segment
from ..servers.session import Session
from ..servers.site import Site
from ..signals import RowError
from .helpers import Helper, opened, require
from .restricting import choose, count, unusable


@dataclass(frozen=True)
class Flagging:
    """What was flagged, or unflagged. Entities that several hold are counted for each of them.

    Attributes
    ----------
    table : str
        The source table, as ``schema.Class``.
    selected : int
        Entities that the condition selects.
    changed : int
        Those flagged, or unflagged, now (with ``dry_run``: that would be).
    unchanged : int
        Those that were so before.
    not_held : int
        Those that nobody holds: there is nobody to ask, DataJoint deletes them as ever.
    deprecated : int
        Of those flagged before, or unflagged now, how many were deprecated.
    unflag : bool
        Whether flags were taken back.
    dry_run : bool
        Whether nothing was changed.
    """

    table: str
    selected: int
    changed: int
    unchanged: int
    not_held: int
    deprecated: int
    unflag: bool
    dry_run: bool

    @property
    def _facts(self) -> list[Fact]:
        word = "unflag" if self.unflag else "flag"
        done = f"would {word}" if self.dry_run else f"{word}ged"
        before = "not flagged" if self.unflag else "flagged before"
        deprecated = "deprecated of these, and pullable again" if self.unflag else "deprecated of these"
        facts = [Fact(done, f"{self.changed:,}")]
        some = ((before, self.unchanged), (deprecated, self.deprecated), ("not held", self.not_held))
        facts += [Fact(what, f"{number:,}") for what, number in some if number]
        return facts if self.selected else [Fact("no row", "", "no row meets the condition")]

    def __repr__(self) -> str:
        return f"{self.table}: {as_line(self._facts)}"

    def _repr_html_(self) -> str:
        return as_table(as_rows(self._facts), title=self.table)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return dict(vars(self))


@dataclass
class _Counts:
    """What is counted of all helper tables together."""

    changed: int = 0
    unchanged: int = 0
    deprecated: int = 0
    conditions: list[str] = field(default_factory=list)


def flag(
    address: Address,
    administrator: Credentials,
    table: str,
    where: Any,
    *,
    helper_schema: str,
    backend: str | None = None,
    dry_run: bool = False,
) -> Flagging:
    """Ask whoever holds rows of a table to delete their copies.

    Parameters
    ----------
    address, administrator
        The source server, and an account that may read the table and flag rows: ``grants(..., members=...)`` has what
        it needs.
    table : str
        The source table, as ``schema.Class``, or by its own name.
    where : restriction
        Whatever restricts the table in DataJoint: a condition as text, a mapping, a list of these; None for all rows.
    helper_schema : str
        The schema with the helper tables of those who are asked.
    backend : str, optional
        The kind of server, where the address does not say it.
    dry_run : bool
        Whether it is only counted.

    Raises
    ------
    NotFoundError
        Nobody holds rows of such a table there.
    ConfigError
        The condition cannot be used.
    PrivilegeError
        The account lacks a right; the message has the GRANT.
    """
    return _change(address, administrator, table, where, helper_schema, backend, dry_run, unflag=False)


def unflag(
    address: Address,
    administrator: Credentials,
    table: str,
    where: Any,
    *,
    helper_schema: str,
    backend: str | None = None,
    dry_run: bool = False,
) -> Flagging:
    """Take back what was asked for; what is deprecated can be pulled again then. See :func:`flag`."""
    return _change(address, administrator, table, where, helper_schema, backend, dry_run, unflag=True)


def _change(
    address: Address,
    administrator: Credentials,
    table: str,
    where: Any,
    helper_schema: str,
    backend: str | None,
    dry_run: bool,
    *,
    unflag: bool,
) -> Flagging:
    with opened(address, administrator, backend, helper_schema, table) as (site, session, catalogue, source, helpers):
        for helper in helpers:
            _require_flagging(site, catalogue, helper, unflag)
        selection = choose(site, source, where)
        counts = _Counts()
        with session.transaction():
            selected = count(session, source, selection)
            for helper in helpers:
                try:
                    _flag(session, helper.holds(site, source), selection, counts, unflag=unflag, dry_run=dry_run)
                except RowError as error:  # MySQL and MariaDB compare more strictly where rows are changed
                    raise unusable(source, error.what) from error
            rows = Segment(Keyed(site.dialect, source)).where(*counts.conditions, *selection.conditions)
            not_held = rows.count(session)
    numbers = (selected, counts.changed, counts.unchanged, not_held, counts.deprecated)
    return Flagging(label(helpers[0].source), *numbers, unflag=unflag, dry_run=dry_run)


def _flag(
    session: Session, holds: Holds, selection: Selection, counts: _Counts, *, unflag: bool, dry_run: bool
) -> None:
    to_change, others = (ASKED, UNASKED) if unflag else (UNASKED, ASKED)
    counts.deprecated += holds.saying(DEPRECATED, selection).count(session)
    counts.unchanged += holds.saying(others, selection).count(session)
    if dry_run:
        counts.changed += holds.saying(to_change, selection).count(session)
    else:
        counts.changed += session.execute(*(holds.unflagging if unflag else holds.flagging)(selection))
    counts.conditions.append(f"NOT {holds.rows.exists(holds.helper, 'held')}")


def _require_flagging(site: Site, catalogue: Catalogue, helper: Helper, unflag: bool) -> None:
    if helper.layout is not DJ_LINK:
        require(site, catalogue, helper.table, ["SELECT", "UPDATE"], helper.layout.columns["is_flagged"])
        return
    requested, _ = helper.part_tables
    for name in (helper.table.name, *helper.part_tables):
        wanted = [] if name != requested else ["DELETE"] if unflag else ["INSERT"]
        require(site, catalogue, replace(helper.table, name=name), ["SELECT", *wanted])
