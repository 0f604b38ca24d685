"""Which local table a helper table serves: one, and no other table holds its rows."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from ..config import LinkSpec
from ..errors import HelperMismatchError, LinkError, LocalMismatchError
from ..model.served import Mark, Tie, Told, Words, read, write
from ..servers.catalogue import Catalogue
from ..servers.site import Site


@dataclass
class Served:
    """The local table that a helper table is to serve.

    Attributes
    ----------
    number : str or None
        By which the helper table knows it; None where it has none yet.
    server : str or None
        By which its server is known; None where servers can look alike.
    earlier : str or None
        By which links of earlier versions knew it.
    words : Words
        What a person at the source is to read.
    keep : callable
        Keeps a number with the local table, and says whether the account may.
    tie : Tie or None
        Where its rows are from, and what holds them, as it was noted; None where nothing was, or where it is a table
        without rows that has just been made.
    take_over : bool
        Whether it is to be served whatever was served before.
    may_be_copy : bool
        Whether it may be a copy, which tells the source nothing.
    told : bool
        Whether the source may have been told of its number.
    complaint : LinkError or None
        Why the link shall not begin: raised where the helper table would have to be created.
    undo : callable or None
        Takes back a helper table that has been created for it.
    """

    number: str | None
    server: str | None
    earlier: str | None
    words: Words
    keep: Callable[[str], bool]
    tie: Tie | None = None
    take_over: bool = False
    may_be_copy: bool = False
    told: bool = False
    complaint: LinkError | None = None
    undo: Callable[[], None] | None = None

    def is_meant_by(self, told: Told) -> bool:
        """Whether a comment is about this table, or about none.

        Without a number a table is known by its server alone: what was dropped there and made again is the same.
        """
        mark = told.mark
        if mark == Mark():
            return told.earlier is None or told.earlier == self.earlier
        if mark.number is not None and mark.number == self.number:
            return True
        return None in (mark.number, self.number) and mark.server is not None and mark.server == self.server

    def get_number(self, *, anew: bool = False) -> None:
        """Get a number, before the source is told; another one where the helper table is taken over, or ``anew``."""
        if self.number is None or anew or (self.take_over and not self.told):
            number = secrets.token_hex(8)
            self.number = number if self.keep(number) else None

    def adopt(self, told: Told) -> bool:
        """Take the number that a comment has, if it has one, where the source is not told another; whether it is kept.

        So the source's table stays as it is where the account may not change it.
        """
        if told.mark.number is None or not self.keep(told.mark.number):
            return False
        self.number = told.mark.number
        return True

    def comment_over(self, comment: str) -> str:
        """What is to stand where some comment stands."""
        told = read(comment)
        if self.take_over:
            return write(str(self.words), Mark(self.number, self.server))
        is_known = self.number is None or told.mark.number == self.number
        mark = told.mark if is_known and told.mark != Mark() else Mark(self.number, self.server)
        return write(self.words.over(told.words), mark)


def require_one(source: Site, local: Site, spec: LinkSpec, catalogue: Catalogue, serves: Served, tie: Tie) -> None:
    """Refuse a second helper table for a local table, and a second source.

    Parameters
    ----------
    source, local : Site
        Both ends.
    spec : LinkSpec
        What the link was given.
    catalogue : Catalogue
        Of the source.
    serves : Served
        The local table.
    tie : Tie
        What is to hold its rows.

    Raises
    ------
    HelperMismatchError
        Another helper table of the same source table holds its rows.
    LocalMismatchError
        Its rows are from another table.
    """
    noted = serves.tie
    if serves.take_over or noted == tie:
        return
    table = f"{spec.local_schema}.{spec.table_name} on {local.address}"
    if other := other_helper(catalogue, serves, tie):
        raise HelperMismatchError(
            f"The rows of the local table {table} are held by the helper table {'.'.join(other)} on the source server "
            f"{source.address}: a local table has one helper table.",
            f"Name that one{f' (helper_schema={other[0]!r})' if spec.mirror else ''}, or another local schema than "
            f"{spec.local_schema}.",
        )
    # A server may have got another name, a table may have been renamed: the helper table knows the local one.
    if noted is None or _knows(catalogue, serves, tie.helper):
        return
    if (noted.server, noted.table) == (tie.server, tie.table):
        return  # its helper table is gone
    raise LocalMismatchError(
        f"The rows of the local table {table} are from {'.'.join(noted.table)} on "
        f"{'the same' if noted.server == tie.server else 'another'} server, not from {'.'.join(tie.table)} on "
        f"{source.address}: a local table has one source.",
        "Link into another local schema; or end the other link first: release() of its class's source, and drop() of "
        f"the class. If that server is this one, renamed or restored, say so once: {spec.way_to_say_moved}",
    )


def other_helper(catalogue: Catalogue, serves: Served, tie: Tie) -> tuple[str, str] | None:
    """Another helper table of the source table that serves the local one, if there is one."""
    noted, (schema, name) = serves.tie, tie.helper
    if noted is not None:
        if noted.helper == tie.helper or not _knows(catalogue, serves, noted.helper):
            return None
        # Where the source table has got another name, the foreign key has followed it.
        is_same = (noted.server, noted.table) == (tie.server, tie.table) or _refers(catalogue, noted.helper, tie.table)
        return noted.helper if is_same else None
    if serves.number is None or name in (there := catalogue.tables(schema)):
        return None
    others = ((schema, other) for other in there if _knows(catalogue, serves, (schema, other)))
    return next((other for other in others if _refers(catalogue, other, tie.table)), None)


def _knows(catalogue: Catalogue, serves: Served, helper: tuple[str, str]) -> bool:
    """Whether a helper table is there and serves the local table by its number."""
    schema, name = helper
    if serves.number is None or name not in catalogue.tables(schema):
        return False
    return read(catalogue.table(schema, name).comment).mark.number == serves.number


def _refers(catalogue: Catalogue, helper: tuple[str, str], table: tuple[str, str]) -> bool:
    return any((fk.schema, fk.table) == table for fk in catalogue.table(*helper).foreign_keys)
