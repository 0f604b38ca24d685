"""What those who work at the source meet there: their own deletions go on beside a helper table.

DataJoint deletes by cascade through every table that refers to a row, helper tables included, and joins them with the
source's by where their attributes come from. So the helper schema says where they come from, in the table in which
DataJoint looks. Where a server shows foreign keys to everybody, whoever may delete from the source table is let in to
the helper table as well, and the server itself keeps the held rows from her: what nobody holds goes, what is held is
refused by its foreign key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from .. import host
from ..errors import PrivilegeError
from ..model.layouts import Layout
from ..model.schema import Table, part_name
from ..servers.catalogue import Catalogue
from ..servers.rights import LINEAGE, MemberRights, member_rights_on
from ..servers.session import Session, lock_number
from ..servers.site import Site
from ..signals import BusyError

logger = logging.getLogger("link")


def welcome_guests(
    site: Site, session: Session, source: Table, helper: Table, layout: Layout, origins: Callable[[], Mapping[str, str]]
) -> None:
    """Let the source's own users delete what nobody holds; say once what an administrator must do for it.

    Parameters
    ----------
    site : Site
        The source server.
    session : Session
        A session there.
    source, helper : Table
        The source table and its helper table.
    layout : Layout
        Where the helper table says what.
    origins : callable
        Where the attributes of the source table come from, as ``schema.table.attribute``.
    """
    guests = _Guests(site, session, source, helper, layout)
    guests.record_origins(origins())
    guests.let_in()


class _Guests:
    """The users of a source beside one helper table."""

    def __init__(self, site: Site, session: Session, source: Table, helper: Table, layout: Layout) -> None:
        self.site, self.session, self.source, self.helper = site, session, source, helper
        self.catalogue: Catalogue = site.catalogue_type(session)
        self.name = f"{helper.schema}.{helper.name}"
        self.parts = {said: part_name(helper.name, suffix) for said, suffix in layout.parts.items()}
        self.rights = member_rights_on(helper.name, self.parts, layout.columns)
        #: The column by which it is known which helper rows may go.
        self.deprecated = layout.columns.get("is_deprecated")

    # where attributes come from

    def record_origins(self, origins: Mapping[str, str]) -> None:
        """Write down where the attributes of the helper table come from, where that is not written down."""
        tables = (self.helper.name, *self.parts.values())
        entries = [(table, a, origins[a]) for table in tables for a in self.source.primary_key if a in origins]
        schema, connection = self.helper.schema, self.site.connection
        try:
            with self.site.turn, self.site.in_our_words():
                if not host.in_transaction(connection):
                    self.site.revive()
                there = host.recorded_lineage(connection, schema)
                missing = [entry for entry in entries if there.get(f"{schema}.{entry[0]}.{entry[1]}") != entry[2]]
                # It would be ended, as by any definition of a table.
                if missing and not host.in_transaction(connection):
                    self._lock()
                    host.record_lineage(connection, schema, missing)
        except (PrivilegeError, host.AccessError):
            self._tell(
                f"who sees {self.name} cannot delete from {self.source.schema}.{self.source.name} with DataJoint, but "
                f"by the primary key: the link user {self.site.user!r} may not write in {schema}.{LINEAGE} where the "
                "attributes come from",
                self.site.rights.on_lineage(schema, self.site.facts.account),
            )

    # who may delete

    def let_in(self) -> None:
        """Let whoever may delete from the source table look at the helper table, and delete there what is deprecated.

        The server keeps all other helper rows from them: as the owner of the table has told it, once. An administrator
        who has switched that off again is not overruled.
        """
        if not self.catalogue.shows_all_keys:
            return
        left_out, kept = self._left_out(), self.catalogue.has_policies(self.helper)
        if not left_out and kept:
            return
        try:
            self._lock()
            with self.session.transaction():
                if not self.catalogue.has_policies(self.helper):
                    self._keep_rows()
            with self.session.transaction():
                for guest in left_out:
                    for rights in self.site.rights.of_member(self.helper.schema, self._rights()):
                        self.session.execute(f"GRANT {rights} TO {self.site.dialect.quote(guest)}")
        except BusyError as error:
            logger.info("%s: its rows are kept from the source's users at the next use: %s", self.name, error.what)
        except PrivilegeError:
            pass  # it is told who is left out
        if left_out := self._left_out():
            self._tell(
                f"{', '.join(left_out)} may delete from {self.source.schema}.{self.source.name}, but DataJoint refuses "
                f"them even what nobody holds: they may not look at {self.name}, and the link user {self.site.user!r} "
                "cannot let them, as not all of it is his own",
                self.site.rights.owning(self.helper.schema, [*self._rights()], self.site.facts.account),
            )

    def _keep_rows(self) -> None:
        define, schema = self.site.definitions, self.helper.schema
        for name in (self.helper.name, *self.parts.values()):
            may_go = define.deprecated(self.deprecated) if self.deprecated else define.owning(self.source)
            if name == self.parts.get("is_flagged"):
                may_go = "true"  # a request that is taken back
            for statement in define.keep_rows(schema, name, may_go):
                self.session.execute(statement)

    def _left_out(self) -> list[str]:
        return self.catalogue.guests(self.source, self.helper.schema, self._rights())

    def _rights(self) -> MemberRights:
        """What guests get on those tables that are there."""
        there = self.catalogue.tables(self.helper.schema)
        return {name: rights for name, rights in self.rights.items() if name in there}

    def _lock(self) -> None:
        # Links may well be used for the first time at once.
        self.session.lock((lock_number(self.helper.schema), 0), wait=True)

    def _tell(self, what: str, remedy: str) -> None:
        if self.site.is_news((self.name, what)):
            logger.warning("At the source %s: %s. As administrator there: %s", self.site.address, what, remedy)
