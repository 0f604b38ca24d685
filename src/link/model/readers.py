"""What reads the local tables: DataJoint 2, or 0.12 to 0.14; and how each of them wants columns to be declared."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .kinds import Kind, marker, with_marker
from .schema import Column, Table


@dataclass(frozen=True)
class Reader:
    """The DataJoint that reads the local tables.

    Attributes
    ----------
    legacy : bool
        Whether it is one of 0.12 to 0.14.
    kinds : tuple of str
        The kinds of which DataJoint 2 knows by a column's marker alone that the column is of them.
    """

    legacy: bool
    kinds: tuple[str, ...] = ()

    def heard(self, comment: str) -> str:
        """What a column's marker tells it; empty where it goes by the column's type."""
        special = marker(comment)
        # 0.x cannot read a table with a marker that it does not know.
        tells = special.startswith("<") or special in (*self.kinds, "attach")
        return special if self.legacy or tells else ""

    def declared(self, table: Table) -> Table:
        """A table, as DataJoint 2 would have declared it, as this one would have."""
        if not self.legacy:
            return table
        return replace(table, columns=tuple(map(_as_legacy, table.columns)))

    def reads(self, column: Column) -> bool:
        """Whether it can read what is in a column, which is declared as DataJoint 2 would have declared it."""
        if not self.legacy:
            return True
        special = marker(column.comment)
        if column.tracked or "@" in special or _is_filled(column):
            return False
        if special.startswith("<"):
            # An adapter of that name reads what 0.x has written with one.
            return special in ("<blob>", "<attach>") or column.former is not None
        # Every blob is packed to it: of bytes that are not it makes nothing. Its own are the same here as there.
        is_blob = column.type.endswith("blob")
        return not (is_blob or column.kind == Kind("bytes")) or (is_blob and column.former == "")

    def is_told_otherwise(self, wanted: Column, ours: Column) -> bool:
        """Whether the marker of a local column tells something else than the one that would be declared."""
        theirs, own = self.heard(wanted.comment), self.heard(ours.comment)
        # Where it needs none, one that somebody has given to the local column may stay.
        is_ours = own in ("<blob>", "<attach>", wanted.former)
        return theirs != own and (self.legacy or bool(theirs) or is_ours)

    def is_word_only(self, wanted: Column, ours: Column) -> bool:
        """Whether two columns differ in their markers at most: what is in one is what would be in the other."""
        theirs, own = marker(wanted.comment), marker(ours.comment)
        if self.heard(wanted.comment) == self.heard(ours.comment) or not self.heard(ours.comment):
            return True
        # As 0.x declared it, and versions of this package that left it so; or for the other of the two DataJoints.
        if own == wanted.former or _legacy_word(own) == _legacy_word(theirs):
            return True
        # What an adapter has made is its inner value to DataJoint 2.
        if self.legacy and theirs == wanted.former and theirs.startswith("<") and own in ("<blob>", "uuid"):
            return True
        return not self.legacy and not self.heard(wanted.comment)


def _is_filled(column: Column) -> bool:
    """Whether 0.14 fails with a column: with an integer that is filled with zeros."""
    return (
        "zerofill" in column.type and column.kind is not None and column.kind.name == "integer" and not column.nullable
    )


def _as_legacy(column: Column) -> Column:
    special = _legacy_word(marker(column.comment))
    # An adapter's name stays what it is; of attachments the names have been looked at if it is taken for such.
    if column.former and column.former != "attach":
        special = column.former
    return replace(column, comment=with_marker(column.comment, special))


def _legacy_word(special: str) -> str:
    """The marker of 0.x for what a marker says: it marks nothing but what no type of the server's shows."""
    if special.startswith("<"):
        return {"<blob>": "", "<attach>": "attach"}.get(special, special)
    return special if special in ("uuid", "attach") else ""
