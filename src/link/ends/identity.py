"""Which local table is which: a number that is kept with the local data, whatever server they are on.

It stands in a hidden table of the local schema, with the place where the data were last used. So it goes with them
when they are moved, and a copy of them is noticed by its place. There stands as well which source table the rows are
from, and which helper table holds them: a local table has one of each.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

from ..config import LinkSpec
from ..errors import LinkError, PrivilegeError, ServerError, UnreachableError
from ..holds.serving import Served
from ..model.schema import Table
from ..model.served import Tie, digest, words_for
from ..servers.session import Session
from ..servers.site import Site

logger = logging.getLogger("link")

#: The table with the numbers; DataJoint takes no notice of tables with such names.
LINKS_TABLE = "~link"


def linked_in(session: Session, schema: str) -> dict[str, Tie | None]:
    """The linked tables of a local schema, as far as the account may know, and where their rows are from, if noted."""
    try:
        rows = session.query(f"SELECT * FROM {session.dialect.full_name(schema, LINKS_TABLE)}")
    except PrivilegeError:
        return {}  # it is another account's
    except ServerError:
        if LINKS_TABLE in dict(session.query(session.dialect.relations, (schema,))):
            raise
        return {}
    # Earlier versions have noted no ties.
    return {str(name): Tie.read(tie[0]) if tie else None for name, _, _, *tie in rows}


class Identity:
    """The number of one local table, read and kept within a transaction on the local server.

    Parameters
    ----------
    local : Site
        The local server.
    session : Session
        On it, within a transaction.
    spec : LinkSpec
        What the link was given.
    there : set of str
        The schemas in which the table with the numbers is; one in which it comes to be is added.

    Attributes
    ----------
    number : str or None
        None where the table has none yet, or the account may not see it.
    here : str
        The place where the data are.
    place : str
        Where they were last used.
    tie : Tie or None
        Where its rows are from, and what holds them; None where that was not noted.
    made : Table or None
        The table with the numbers, if it had to be created.
    """

    def __init__(self, local: Site, session: Session, spec: LinkSpec, there: set[str]) -> None:
        self._local, self._session, self._spec = local, session, spec
        self._there = there
        self._name = local.dialect.full_name(spec.local_schema, LINKS_TABLE)
        self.here = self.place = f"{spec.local_schema} on {local.facts.place}"
        self.number: str | None = None
        self.tie: Tie | None = None
        self.made: Table | None = None
        if spec.local_schema in there:
            self._attempt(self._read)

    def _read(self) -> None:
        found = self._session.query(f"SELECT * FROM {self._name} WHERE name = %s", (self._spec.table_name,))
        for _, number, place, *tie in found:  # earlier versions have noted no ties
            self.number, self.place = str(number), str(place)
            self.tie = Tie.read(tie[0]) if tie else None

    def keep(self, number: str) -> bool:
        """Let a number, and the place, be those of the table; whether the account may."""
        return self._attempt(lambda: self._write(number))

    def _write(self, number: str) -> None:
        session, name = self._session, self._spec.table_name
        if self._spec.local_schema not in self._there:
            for statement in self._local.definitions.create_numbers(self._spec.local_schema, LINKS_TABLE):
                session.execute(statement)
            self.made = Table(self._spec.local_schema, LINKS_TABLE, "", (), ())
            self._there.add(self._spec.local_schema)
        if self.number is None:
            session.execute(
                f"INSERT INTO {self._name} (name, number, place) VALUES (%s, %s, %s)", (name, number, self.here)
            )
        else:
            session.execute(
                f"UPDATE {self._name} SET number = %s, place = %s WHERE name = %s", (number, self.here, name)
            )
        self.number, self.place = number, self.here

    def bind(self, tie: Tie) -> None:
        """Note where the rows of the table are from, as far as the account may: of a copy nothing is noted."""
        if self.number is None or str(tie) == str(self.tie) or self.place != self.here:
            return
        note = functools.partial(self._bind, tie)
        if not self._attempt(note) and self._attempt(self._let_hold_ties):
            self._attempt(note)

    def untie(self) -> None:
        """Note that nothing holds the rows of the table any more: they may come from another source then."""
        if self.tie is not None:
            self._attempt(functools.partial(self._bind, None))

    def _bind(self, tie: Tie | None) -> None:
        text = None if tie is None else str(tie)
        self._session.execute(f"UPDATE {self._name} SET tie = %s WHERE name = %s", (text, self._spec.table_name))
        self.tie = tie

    def _let_hold_ties(self) -> None:
        for statement in self._local.definitions.add_ties(self._spec.local_schema, LINKS_TABLE):
            self._session.execute(statement)

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Whether something could be done. The table may well be another account's: a link does without it then."""
        try:
            with self._session.attempt():
                action()
        except UnreachableError:
            raise
        except LinkError as error:
            logger.info("%s: not all is noted beside its local table: %s", self._spec.class_name, error.what)
            return False
        return True

    def served(self, take_over: bool) -> Served:
        """The local table, as its helper table is told of it; ``take_over`` whatever the helper table has served."""
        spec, facts = self._spec, self._local.facts
        table = spec.local_schema, spec.table_name
        return Served(
            number=self.number,
            server=digest(facts.unlike, *table) if facts.unlike else None,
            earlier=digest(facts.lasting_identity, *table) if facts.lasting_identity else None,
            words=words_for(spec.holder, table, self._local.known_as, spec.layout, spec.helper_table),
            keep=self.keep,
            tie=self.tie,
            take_over=take_over,
            may_be_copy=self.place != self.here,
        )
