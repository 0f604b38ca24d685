"""Taking back a helper table that has just been created, with all that was created around it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ..errors import LinkError
from ..model.layouts import HelperColumns
from ..servers.catalogue import Catalogue
from ..servers.rights import LINEAGE
from ..servers.session import lock_number
from ..servers.site import Site


class Undoing:
    """What was in a helper schema before a helper table was created; made when it is about to be.

    Parameters
    ----------
    site : Site
        The source server.
    catalogue : Catalogue
        Its catalogue, whose session has locked the helper schema.
    schema : str
        The helper schema.
    tables : sequence of str
        The helper table and its parts.
    columns : mapping
        What the helper table has beside the key.
    """

    def __init__(
        self, site: Site, catalogue: Catalogue, schema: str, tables: Sequence[str], columns: HelperColumns
    ) -> None:
        self.site, self.schema, self.tables, self.columns = site, schema, tables, columns
        self.session = catalogue.session
        self.had_schema = catalogue.has_schema(schema)
        self.there = set(catalogue.tables(schema)) if self.had_schema else set[str]()

    def undo(self) -> None:
        """Drop what was not there, as far as the account may; nobody has used it, and it has no rows."""
        self.session.close()  # which has the lock, and may be in the middle of something
        with self.site.session() as session:
            session.lock((lock_number(self.schema), 0), wait=True)
            catalogue, define = self.site.catalogue_type(session), self.site.definitions
            made = [name for name in self.tables if name not in self.there]
            now = catalogue.tables(self.schema)

            def attempt(*statements: str) -> None:
                for statement in statements:
                    with contextlib.suppress(LinkError):
                        session.execute(statement)

            for name in reversed(made):
                if name in now:
                    attempt(*define.drop_helper(self.schema, name, self.columns))
            if LINEAGE in now:
                lineage = self.site.dialect.full_name(self.schema, LINEAGE)
                listed = ", ".join(["%s"] * len(made))
                with contextlib.suppress(LinkError):
                    session.execute(f"DELETE FROM {lineage} WHERE table_name IN ({listed})", made)
                    if LINEAGE not in self.there and not session.query(f"SELECT 1 FROM {lineage} LIMIT 1"):
                        session.execute(f"DROP TABLE {lineage}")
            if not self.had_schema and not catalogue.tables(self.schema):
                attempt(f"DROP SCHEMA {self.site.dialect.quote(self.schema)}")
