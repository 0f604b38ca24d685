"""Turning a link of the older interface into one of ``@link``, in place.

The outbound table becomes the helper table: what stood in its part tables and hidden columns comes to stand in visible
columns. Servers of the MySQL family commit after each statement here. So the order is such that at every moment the
tables are those of one interface or the other, that nothing is dropped before what it says stands elsewhere, and that
the same conversion, started again, goes on where it was broken off.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

from link import host
from link.ends.linking import Link
from link.errors import LinkError
from link.holds.helper import check_helper, check_key
from link.holds.parts import holds_of
from link.model.backends import BACKENDS
from link.model.layouts import DJ_LINK, LINK, WORKER
from link.model.schema import Table, part_name
from link.model.states import FALSE, TRUE
from link.servers.keyed import Keyed, Segment
from link.servers.session import Session
from link.signals import final
from link.tls import CLEAR

logger = logging.getLogger("link")

#: The end of the name of the part table with the requests while they are copied for the last time.
_LAST_REQUESTS = "converted_requests"


@dataclass(frozen=True)
class Step:
    """One step: what it does, and the statements for the source that do it."""

    what: str
    statements: list[str]


@dataclass(frozen=True)
class Conversion:
    """What a conversion did, or with ``dry_run`` would do; prints as text.

    Attributes
    ----------
    link : str
        The link, as it is written with ``@link``.
    counts : dict of str to int
        How many rows there are in the outbound table and in its part tables.
    steps : list of str
        What is done, in its order.
    dry_run : bool
        Whether nothing was changed.
    """

    link: str
    counts: dict[str, int]
    steps: list[str]
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """The same, as JSON can have it."""
        return asdict(self)

    def __repr__(self) -> str:
        if not self.steps:
            return f"nothing to convert; the link is {self.link}"
        counts = [f"  {n:>10,} rows in {table}" for table, n in self.counts.items()]
        numbered = [f"  {n}. {step}" for n, step in enumerate(self.steps, 1)]
        head, tail = ("would convert:", "the link would be") if self.dry_run else ("converted:", "the link is now")
        return "\n".join([head, *counts, *numbered, tail, f"  {self.link}"])


def convert(link: Link, *, dry_run: bool = True) -> Conversion:
    """Convert the outbound table of a link of the older interface to the helper table of ``@link``.

    Parameters
    ----------
    link : Link
        The link, in the older layout.
    dry_run : bool
        Only say what would be done.

    Raises
    ------
    NotFoundError
        There is no such outbound table.
    HelperMismatchError
        It is of another source table.
    LinkError
        A pull or delete is running on the link.
    """
    with final(), link.connect_source().session() as session:
        conversion = _Conversion(link, session)
        conversion.require_rest()
        steps = conversion.steps()
        local_part = _local_part(link)
        counts = conversion.counts()
        if not dry_run:
            # Where definitions can be rolled back, all of it happens at one instant.
            with session.transaction():
                for statement in (statement for step in steps for statement in step.statements):
                    session.execute(statement)
            if local_part:
                host.free_table(link.connect_here(), link.spec.local_schema, local_part).drop_quick()
    said = [step.what for step in steps]
    if local_part:
        name = host.full_name(link.connect_here(), link.spec.local_schema, local_part)
        said.append(f"drop the local table {name}, which refresh() has filled")
    if not dry_run:
        logger.info("%s: converted: %s", link.spec.class_name, "; ".join(said))
    return Conversion(_as_link(link), counts, said, dry_run)


def _local_part(link: Link) -> str | None:
    """The local part table for requests, if it is there."""
    name = part_name(link.spec.table_name, DJ_LINK.parts["is_flagged"])
    return name if name in link.local_parts() else None


def _as_link(link: Link) -> str:
    spec, login = link.spec, link.connect_source().login
    in_folder = login.host.startswith("/")
    place = login.host if in_folder else f"{login.host}:{login.port}"
    names = (place, spec.source_schema, spec.find_helper_schema(), spec.helper_table, spec.local_schema)
    said: dict[str, str | int] = {}
    if in_folder and login.port != BACKENDS[login.backend].port:
        said["port"] = login.port
    if not in_folder and login.backend != host.backend(link.connect_here()):  # which it would be taken for
        said["backend"] = json.dumps(login.backend)
    if spec.address.database:
        said["database"] = json.dumps(spec.address.database)
    if spec.use_tls == CLEAR:
        said["use_tls"] = False
    options = (f"{name}={value}" for name, value in said.items())
    return f"@link({', '.join([*map(json.dumps, names), *options])})"


class _Conversion:
    """The tables at the source as they are found, and what is left to do."""

    def __init__(self, link: Link, session: Session) -> None:
        self.site, self.session = link.connect_source(), session
        self.link_name = link.spec.class_name
        self.source = link.find_source().master
        self.schema, self.name = link.spec.find_helper_schema(), link.spec.helper_table
        check_key(self.source, LINK)
        catalogue = self.site.catalogue_type(session)
        self.there = catalogue.tables(self.schema)
        if self.name not in self.there:
            raise catalogue.no_such(
                f"The link user {self.site.user!r} sees no outbound table {self.schema}.{self.name} on "
                f"{self.site.address}.",
                "",
                self.site.grant_helper_hint(self.schema, self.name),
                self.schema,
                self.name,
            )
        self.helper: Table = catalogue.table(self.schema, self.name)
        self.converted = set(LINK.columns) <= set(self.helper.names)
        self.layout = LINK if self.converted else DJ_LINK
        check_helper(self.site, self.source, self.helper, self.layout)
        self.keyed = self._table(self.name)
        self.parts = {said: part_name(self.name, suffix) for said, suffix in DJ_LINK.parts.items()}
        self.last_requests = part_name(self.name, _LAST_REQUESTS)

    def require_rest(self) -> None:
        """Raise LinkError while a run works on the link. What a dead one left is finished by the next."""
        holds = holds_of(self.site.dialect, self.source, self.helper, self.layout)
        known = {self.layout.columns["process"], WORKER} <= set(self.helper.names)
        if known and holds.is_worked_on(self.session):
            raise LinkError(f"A pull or delete of {self.link_name} is running.", "Convert when it is done.")

    def counts(self) -> dict[str, int]:
        """How many rows each of the tables has."""
        names = [name for name in (self.name, *self.parts.values(), self.last_requests) if name in self.there]
        return {f"{self.schema}.{name}": Segment(self._table(name)).count(self.session) for name in names}

    def steps(self) -> list[Step]:
        """What is left to do at the source."""
        return [*([] if self.converted else self._columns()), *self._last_requests(), *self._drops()]

    def _columns(self) -> list[Step]:
        hidden = {said: f"_{said}" for said in LINK.columns}
        labels = {hidden[said]: labels for said, labels in LINK.labels.items()} | {WORKER: ()}
        missing = {column: labels for column, labels in labels.items() if column not in self.helper.names}
        add = self.site.definitions.add_columns(self.schema, self.name, missing) if missing else []
        copied = {said: part for said, part in self.parts.items() if part in self.there}
        copy = [sql for said, part in copied.items() for sql in self._copy(hidden[said], part)]
        rename = self.site.definitions.rename_columns(
            self.schema, self.name, {hidden[said]: said for said in LINK.columns}
        )
        steps = []
        if add:
            steps.append(Step(f"add the hidden columns {', '.join(missing)} to {self.schema}.{self.name}", add))
        if copy:
            steps.append(Step(f"copy what stands in {' and '.join(copied.values())} to them", copy))
        return [*steps, Step(f"show them as {', '.join(LINK.columns)}: the table is one of @link from then on", rename)]

    def _copy(self, column: str, part: str) -> list[str]:
        asked = f"EXISTS (SELECT 1 FROM {self._table(part).name} WHERE {self._table(part).equals(self.keyed)})"
        set_to = f"UPDATE {self.keyed.name} SET {column} ="
        return [
            f"{set_to} {TRUE!r} WHERE {column} = {FALSE!r} AND {asked}",
            f"{set_to} {FALSE!r} WHERE {column} = {TRUE!r} AND NOT {asked}",
        ]

    def _last_requests(self) -> list[Step]:
        """A request made while the columns were renamed is not lost; under another name the table gets no more."""
        requests, steps = self.parts["is_flagged"], []
        if requests in self.there:
            rename = self.site.definitions.rename_table(self.schema, requests, self.last_requests)
            steps.append(Step(f"take {requests} away from the source's users: they set is_flagged now", [rename]))
        if requests in self.there or self.last_requests in self.there:
            flag = self._copy("is_flagged", self.last_requests)[0]
            steps.append(Step("flag what was requested meanwhile", [flag]))
        return steps

    def _drops(self) -> list[Step]:
        """What says nothing any more that does not stand in a column."""
        requested, approved = self.parts["is_flagged"], self.parts["is_deprecated"]
        dropped = [approved] if approved in self.there else []
        dropped += [self.last_requests] if {requested, self.last_requests} & set(self.there) else []
        names = [self._table(name).name for name in dropped]
        return [Step(f"drop {' and '.join(dropped)}", [f"DROP TABLE {name}" for name in names])] if names else []

    def _table(self, name: str) -> Keyed:
        return Keyed(self.site.dialect, replace(self.helper, name=name), self.source.key_columns)
