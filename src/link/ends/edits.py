"""Which rows were edited here: of each a note of what it was when ``update1`` had changed it, by a digest of it all.

So no note becomes untrue: a row that has been refreshed, pulled anew, or changed by SQL since is not the one that was
noted. The notes stand in a hidden table of the local schema, which is made with the first edit.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..errors import LinkError, UnreachableError
from ..model.schema import Table
from ..servers.catalogue import Catalogue
from ..servers.dialect import Dialect
from ..servers.keyed import Keyed
from ..servers.session import lock_number
from ..servers.site import Site

logger = logging.getLogger("link")

#: The table with the notes; DataJoint takes no notice of tables with such names.
EDITS_TABLE = "~link_edited"


class Edits:
    """The notes on tables of one local schema.

    Parameters
    ----------
    local : Site
        The local server.
    schema : str
        The local schema.
    """

    def __init__(self, local: Site, schema: str) -> None:
        self._local, self._schema = local, schema
        self._tables: dict[str, Table | None] = {}

    def find(self, name: str) -> Table | None:
        """A table whose rows are noted; None where the account may keep no notes. They are begun if there are none.

        Through a session of its own: whoever edits may be within a transaction.
        """
        if name not in self._tables:
            try:
                self._tables[name] = self._find(name)
            except UnreachableError:
                raise
            except LinkError as error:
                logger.info("%s.%s: edits are not noted: %s", self._schema, name, error.what)
                self._tables[name] = None
        return self._tables[name]

    def _find(self, name: str) -> Table:
        with self._local.session() as session:
            catalogue = self._local.catalogue_type(session)
            session.lock((lock_number(self._schema, EDITS_TABLE), 0), wait=True)
            if EDITS_TABLE not in catalogue.tables(self._schema):
                for statement in self._local.definitions.create_edits(self._schema, EDITS_TABLE):
                    session.execute(statement)
            return catalogue.table(self._schema, name)


def noting(dialect: Dialect, table: Table, condition: str) -> str:
    """The statement that notes what the rows of a table are for which a condition is true."""
    select = f"SELECT {dialect.text(table.name)}, {_digest(dialect, table)} FROM {dialect.name_of(table)}"
    notes = dialect.full_name(table.schema, EDITS_TABLE)
    return dialect.insert_new(notes, ["name", "digest"], f"{select} WHERE {condition}", "name")


def is_noted(dialect: Dialect, table: Table) -> str:
    """The condition that a row is as it was noted."""
    notes = dialect.full_name(table.schema, EDITS_TABLE)
    return f"{_digest(dialect, table)} IN (SELECT digest FROM {notes} WHERE name = {dialect.text(table.name)})"


def noted(catalogue: Catalogue, tables: Sequence[Table]) -> list[tuple[Keyed, str]]:
    """Local tables by the keys of entities, each with the condition that a row is as it was noted."""
    if EDITS_TABLE not in catalogue.tables(tables[0].schema):
        return []
    dialect = catalogue.dialect
    return [(Keyed(dialect, t), is_noted(dialect, catalogue.table(t.schema, t.name))) for t in tables]


def _digest(dialect: Dialect, table: Table) -> str:
    told = [c.name for c in table.columns if c.kind and dialect.supports(c) and c.kind.name not in dialect.zoned]
    return dialect.comparable(table.only(told), True)
