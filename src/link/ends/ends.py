"""Both ends of one link, as they are once they have been found, checked and declared."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..config import LinkSpec
from ..errors import HelperMismatchError, LinkError, TransactionError
from ..files.routes import Routes
from ..holds.helper import widened_key
from ..holds.holds import Holds
from ..lazy import cached_property
from ..model.mapping import Mapping
from ..model.schema import Table
from ..servers.dialect import plain
from ..servers.session import Session
from ..servers.site import Site
from .complaints import another_heading, other_parts, unfit

logger = logging.getLogger("link")


def masters_of(spec: LinkSpec, source: Table, *, local: bool) -> list[tuple[str, str]]:
    """The tables of a link at one end, without their parts: schemas and names."""
    if local:
        return [(spec.local_schema, spec.table_name)]
    return [(source.schema, source.name), (spec.find_helper_schema(), spec.helper_table)]


@dataclass(frozen=True)
class Ends:
    """What an operation on a link works with.

    Attributes
    ----------
    spec : LinkSpec
        What the link was given.
    source, local : Site
        The servers.
    mapping : Mapping
        The tables there and here.
    holds : Holds
        The helper table.
    routes : Routes
        Where the files of the source's stores go.
    helper : Table
        The helper table.
    outlines : tuple
        What the tables there and here were when they were looked at.
    was_at : str or None
        Where the local data were last used, if that is another place than where they are now.
    may_hide_triggers : bool
        Whether the local table may have triggers that the account is not shown.
    """

    spec: LinkSpec
    source: Site
    local: Site
    mapping: Mapping
    holds: Holds
    routes: Routes
    helper: Table
    outlines: tuple[frozenset[Any], frozenset[Any]] = (frozenset(), frozenset())
    was_at: str | None = None
    may_hide_triggers: bool = False

    @cached_property
    def has_triggers(self) -> bool:
        """Whether the local server may write something else than it is given."""
        return self.may_hide_triggers or self.local.catalogue_type.has_triggers(self.outlines[1])

    @property
    def is_exact(self) -> bool:
        """Whether whatever is written here is what the source has, or is refused; else it has to be compared."""
        return self.mapping.exact and not self.has_triggers

    @property
    def name(self) -> str:
        """What messages call the link."""
        return self.spec.class_name

    def require_held(self, session: Session) -> None:
        """Raise HelperMismatchError where what the helper table holds is not the source table any more."""
        master, helper = self.mapping.source.master, self.helper
        if not self.source.catalogue_type(session).refers(helper, master):
            raise HelperMismatchError(
                f"The helper table {helper.schema}.{helper.name} on the source server {self.source.address} does not "
                f"refer to the table {master.schema}.{master.name} any more: it was renamed, dropped or rebuilt there.",
                f"The pull of {self.name} has stopped, and nothing is kept that it does not hold. The next use of the "
                "link says what to do, or goes on.",
            )

    def require_fit(self) -> None:
        """Raise LinkError where rows cannot be pulled before tables are changed; say once what only differs."""
        if obstacle := self.find_obstacle():
            raise obstacle
        mapping = self.mapping
        lines = [line for d in mapping.differences if d.added or d.widened for line in d.lines]
        lines += [f"{name}: of a type that cannot be linked" for name in mapping.unlinkable]
        if lines and self.local.is_news((self.spec, tuple(lines))):
            logger.warning(
                "%s: the source's table has changed: %s. What fits the local table is pulled; %s().alter() shows the "
                "ALTER TABLE, and does it",
                *(self.name, "; ".join(lines), self.name),
            )
        words = tuple(word for different in mapping.differences for word in different.words)
        if words and self.local.is_news((self.spec, words)):
            logger.warning(
                "%s: local columns lack the marker by which DataJoint knows what is in them, or have another one: %s. "
                "Rows are pulled all the same; %s().alter() shows the statements that change these comments, and "
                "nothing else, and does it",
                *(self.name, "; ".join(words), self.name),
            )

    def find_obstacle(self) -> LinkError | None:
        """Why rows of the source cannot be local rows, or not all be held, if that is so."""
        mapping, define = self.mapping, self.local.definitions
        if error := unfit(self.local, self.spec, mapping.differences):
            return error
        stops = [different for different in mapping.differences if different.stops_pulls]
        if stops:
            statements = [
                plain(statement)
                for d in stops
                for statement in define.alter_table(
                    d.found, (*d.added, *d.computed), (*d.widened, *d.altered), (*d.dropped, *d.computed)
                )
            ]
            return another_heading(
                self.local,
                stops,
                "Link into another local schema, or change the local table, where its rows and what depends on them "
                f"allow it: {'; '.join(statements)}. Local rows can be deleted all the same.",
            )
        if error := other_parts(mapping.local.master, mapping.lacking, mapping.surplus):
            return error
        if narrow := widened_key(mapping.source.master, self.helper):
            statements = self.source.definitions.alter_table(self.helper, changed=narrow)
            return HelperMismatchError(
                f"The key of {mapping.source.master.schema}.{mapping.source.master.name} on the source server "
                f"{self.source.address} has become wider than that of the helper table {self.helper.schema}."
                f"{self.helper.name}: not all of its rows could be held.",
                f"{self.name}().alter() changes it, and the local table: {plain('; '.join(statements))}",
            )
        return None

    def require_no_transaction(self, what: str) -> None:
        """Raise TransactionError inside a transaction on the local connection."""
        if self.local.in_transaction():
            raise TransactionError(
                f"{what} {self.name} was called inside an open transaction on the local connection.",
                "Leave the transaction first: the source could not be told whether it commits.",
            )

    def require_home(self, what: str) -> None:
        """Raise HelperMismatchError where the local data may be a copy: two behind one hold would release it."""
        if self.was_at is not None:
            raise HelperMismatchError(
                f"{what} {self.name}: the local server looks like a copy of the one where the link was used. That was "
                f"({self.was_at}), this is ({self.local.facts.place}).",
                f"If it was moved, renamed or restored, say so once: {self.spec.way_to_say_moved}. If the other one is "
                "still used with this link, name another helper table here.",
            )


def outlines(ends: Sequence[Ends], session: Session, *, local: bool) -> list[frozenset[Any]]:
    """What the tables of links between the same servers are now at one end; read with one statement."""
    if not ends:
        return []
    catalogue = (ends[0].local if local else ends[0].source).catalogue_type(session)
    return catalogue.outlines([masters_of(each.spec, each.mapping.source.master, local=local) for each in ends])
