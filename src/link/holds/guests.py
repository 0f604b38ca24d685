"""What those who work at the source meet there: their own deletions go on beside a helper table.

DataJoint deletes by cascade through every table that refers to a row, helper tables included, and joins them with the
source's by where their attributes come from. So the helper schema says where they come from, in the table in which
DataJoint looks. Where a server shows foreign keys to everybody, whoever may delete from the source table is let in to
the helper table as well, and the server itself keeps the held rows from her: what nobody holds goes, what is held is
refused by its foreign key.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .. import host
from ..errors import PrivilegeError, ReadOnlyError
from ..lazy import cached_property
from ..model.layouts import Layout
from ..model.schema import Table, part_name
from ..servers.catalogue import Catalogue
from ..servers.rights import LINEAGE, MemberRights, member_rights_on
from ..servers.site import Site
from ..signals import BusyError

logger = logging.getLogger("link")


@dataclass(frozen=True)
class Beside:
    """A helper table beside its source table.

    Attributes
    ----------
    source, helper : Table
        Both of them.
    layout : Layout
        Where the helper table says what.
    origins : mapping
        Where the attributes of the source table come from, as ``schema.table.attribute``.
    """

    source: Table
    helper: Table
    layout: Layout
    origins: Mapping[str, str]

    @cached_property
    def parts(self) -> Mapping[str, str]:
        """The names of the helper table's parts, by what they say."""
        return {said: part_name(self.helper.name, suffix) for said, suffix in self.layout.parts.items()}

    @property
    def tables(self) -> Sequence[str]:
        """The names of the helper table and its parts."""
        return (self.helper.name, *self.parts.values())

    @property
    def rights(self) -> MemberRights:
        """What guests get in the helper schema."""
        return member_rights_on(self.helper.name, self.parts, self.layout.columns)

    @property
    def entries(self) -> list[tuple[str, str, str]]:
        """What is to be written down of where attributes come from: table, attribute, origin."""
        known = [(a, self.origins[a]) for a in self.source.primary_key if a in self.origins]
        return [(table, attribute, origin) for table in self.tables for attribute, origin in known]


def foretell_origins(site: Site, catalogue: Catalogue, schema: str, beside: Sequence[Beside]) -> None:
    """Write down where the attributes of helper tables that are about to be created come from, if the account may.

    The source's own users can go on from the first moment, whatever becomes of this program then.

    Parameters
    ----------
    site, catalogue, beside
        As for :func:`welcome_guests`.
    schema : str
        Where the helper tables will be.
    """
    with contextlib.suppress(PrivilegeError, host.AccessError):  # it is told once they are there
        _Guests(site, catalogue, schema, beside).write_origins()


def welcome_guests(site: Site, catalogue: Catalogue, beside: Sequence[Beside]) -> None:
    """Let the source's own users delete what nobody holds; say once what an administrator must do for it.

    Parameters
    ----------
    site : Site
        The source server.
    catalogue : Catalogue
        Its catalogue, by whose session it is done.
    beside : sequence of Beside
        Helper tables beside their source tables.
    """
    for schema in dict.fromkeys(each.helper.schema for each in beside):
        guests = _Guests(site, catalogue, schema, [each for each in beside if each.helper.schema == schema])
        with contextlib.suppress(ReadOnlyError):  # by the next use
            guests.record_origins()
            guests.let_in()


class _Guests:
    """The users of a source beside the helper tables of one schema."""

    def __init__(self, site: Site, catalogue: Catalogue, schema: str, beside: Sequence[Beside]) -> None:
        self.site, self.catalogue, self.session = site, catalogue, catalogue.session
        self.schema, self.beside = schema, beside
        self.has_origins = False

    # where attributes come from

    def record_origins(self) -> None:
        """Write down where the attributes of the helper tables come from, where that is not written down."""
        try:
            self.write_origins()
        except (PrivilegeError, host.AccessError):
            self._tell(
                f"who sees {_listed(each.helper for each in self.beside)} cannot delete from "
                f"{_listed(each.source for each in self.beside)} with DataJoint, but by the primary key: the link user "
                f"{self.site.user!r} may not write in {self.schema}.{LINEAGE} where the attributes come from",
                self.site.rights.on_lineage(self.schema, self.site.facts.account),
            )

    def write_origins(self) -> None:
        """The same, where the account may."""
        there = self.catalogue.origins(self.schema) or {}
        entries = [entry for each in self.beside for entry in each.entries]
        missing = [entry for entry in entries if there.get(entry[0], {}).get(entry[1]) != entry[2]]
        if missing:
            self._write(missing)

    def _write(self, entries: Sequence[tuple[str, str, str]]) -> None:
        connection = self.site.connection
        with self.site.turn, self.site.in_our_words():
            if not host.in_transaction(connection):
                self.site.revive()
            # It would be ended, as by any definition of a table.
            if not host.in_transaction(connection):
                self.catalogue.reserve(self.schema)
                host.record_lineage(connection, self.schema, entries)
                self.has_origins = True

    # who may delete

    def let_in(self) -> None:
        """Let whoever may delete from a source table look at its helper table, and delete there what is deprecated.

        The server keeps all other helper rows from them: as the owner of the table has told it, once. An administrator
        who has switched that off again is not overruled.
        """
        if not self.catalogue.shows_all_keys:
            return
        closed = self._closed(self._left_out())
        if not closed:
            return
        try:
            if self.catalogue.reserve(self.schema):
                self.catalogue.renew(self.schema)
            left_out = self._open(closed)
        except BusyError as error:
            left_out = self._left_out()
            logger.info(
                "%s: rows are kept from the source's users at the next use: %s",
                *(_listed(each.helper for each in closed), error.what),
            )
        for each, guests in zip(self.beside, left_out, strict=True):
            if guests:
                self._tell(
                    f"{', '.join(guests)} may delete from {_listed([each.source])}, but DataJoint refuses them even "
                    f"what nobody holds: they may not look at {_listed([each.helper])}, and the link user "
                    f"{self.site.user!r} cannot let them, as not all of it is his own",
                    self.site.rights.owning(self.schema, [*self._rights(each)], self.site.facts.account),
                )

    def _closed(self, left_out: Sequence[Sequence[str]]) -> list[Beside]:
        """The helper tables that do not let in everybody, or keep no rows."""
        pairs = zip(self.beside, left_out, strict=True)
        return [each for each, guests in pairs if guests or not self.catalogue.has_policies(each.helper)]

    def _open(self, closed: Sequence[Beside]) -> list[list[str]]:
        """Keep rows, and let in who is left out; who still is."""
        unkept = [each for each in closed if not self.catalogue.has_policies(each.helper)]
        kept = [each for each in closed if each not in unkept] + self._attempt(unkept, self._keeping)
        left_out = self._left_out()
        if not any(left_out):
            return left_out
        guests = {each.helper.name: some for each, some in zip(self.beside, left_out, strict=True)}
        self._attempt(kept, lambda each: self._granting(each, guests[each.helper.name]))
        return self._left_out()

    def _attempt(self, some: list[Beside], statements: Callable[[Beside], Iterable[str]]) -> list[Beside]:
        """Run statements for helper tables, for all at once if that may be; of those for which it might, which."""
        try:
            if listed := [statement for each in some for statement in statements(each)]:
                self.session.execute_together(listed)
        except PrivilegeError:  # it is told who is left out
            return [done for each in some for done in self._attempt([each], statements)] if len(some) > 1 else []
        return some

    def _keeping(self, each: Beside) -> Iterator[str]:
        define, said = self.site.definitions, each.layout.columns.get("is_deprecated")
        for name in each.tables:
            # By which it is known which helper rows may go.
            may_go = define.deprecated(said) if said else define.owning(each.source)
            if name == each.parts.get("is_flagged"):
                may_go = "true"  # a request that is taken back
            yield from define.keep_rows(self.schema, name, may_go)

    def _granting(self, each: Beside, guests: Sequence[str]) -> Iterator[str]:
        for guest in guests:
            for rights in self.site.rights.of_member(self.schema, self._rights(each)):
                yield f"GRANT {rights} TO {self.site.dialect.quote(guest)}"

    def _left_out(self) -> list[list[str]]:
        return self.catalogue.guests(self.schema, [(each.source, self._rights(each)) for each in self.beside])

    def _rights(self, each: Beside) -> MemberRights:
        """What guests get on those tables that are there."""
        there = [*self.catalogue.tables(self.schema), *[LINEAGE] * self.has_origins]
        return {name: rights for name, rights in each.rights.items() if name in there}

    def _tell(self, what: str, remedy: str) -> None:
        if self.site.is_news((self.schema, what)):
            logger.warning("At the source %s: %s. As administrator there: %s", self.site.address, what, remedy)


def _listed(tables: Iterable[Table]) -> str:
    return ", ".join(f"{table.schema}.{table.name}" for table in tables)
