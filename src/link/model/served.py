"""Whom a helper table serves, as its comment says it: in words for a person at the source, and in a mark for links.

The mark is a number that is kept with the local table, and a hash of the server that it is on. So servers that look
alike are told apart by what they hold, and what was dropped and made again on one server is known by the server.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field

from .layouts import Layout
from .schema import KeyName, part_name

_MARK = re.compile(r" ?\[datajoint-link ([0-9a-f]{16}|-) ([0-9a-f]{16}|-)\]$")
#: Links of earlier versions wrote nothing but this, with what the local server says of itself, or without.
_EARLIER = re.compile(r"datajoint-link(?: ([0-9a-f]{16}))?")
_BEGINNING = "Rows held by "
#: Characters of a name in the words, and of all words.
_NAME, _WORDS = 64, 1000


def digest(*names: str) -> str:
    """A short hash of names, the same everywhere."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Mark:
    """Which local table a helper table serves.

    Attributes
    ----------
    number : str or None
        The one that is kept with the local table; None where the account may keep none.
    server : str or None
        A hash of what no other server says of itself; None where servers can look alike.
    """

    number: str | None = None
    server: str | None = None

    def __str__(self) -> str:
        return f"[datajoint-link {self.number or '-'} {self.server or '-'}]"


@dataclass(frozen=True)
class Tie:
    """Which source table a local one has its rows from, and by which helper table: kept with the local table.

    Attributes
    ----------
    server : str
        The source server, as origins of attributes name it.
    table, helper : tuple of str
        The schemas and names of the source's master table and of the helper table.
    keys : tuple or None
        Of a pipeline's table the foreign keys of the source that are known: others have come since.
    """

    server: str
    table: tuple[str, str]
    helper: tuple[str, str]
    keys: tuple[KeyName, ...] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return json.dumps([self.server, *self.table, *self.helper, *([] if self.keys is None else [self.keys])])

    @classmethod
    def read(cls, text: str | None) -> Tie | None:
        """What was kept, if anything was."""
        if not text:
            return None
        server, schema, name, helper_schema, helper, *keys = json.loads(text)
        known = tuple((table, tuple(columns), to) for table, columns, to in keys[0]) if keys else None
        return cls(server, (schema, name), (helper_schema, helper), known)


@dataclass(frozen=True)
class Told:
    """What the comment of a helper table says.

    Attributes
    ----------
    words : str
        What a person reads.
    mark : Mark
        What a link reads; of nobody where there is none.
    earlier : str or None
        The server's hash as earlier versions made it, where one of them has written the comment.
    """

    words: str
    mark: Mark
    earlier: str | None = None


def read(comment: str) -> Told:
    """What the comment of a helper table says."""
    if earlier := _EARLIER.fullmatch(comment):
        return Told("", Mark(), earlier[1])
    found = _MARK.search(comment)
    if not found:
        return Told(comment, Mark())
    number, server = (None if part == "-" else part for part in found.groups())
    return Told(comment[: found.start()], Mark(number, server))


def write(words: str, mark: Mark) -> str:
    """The comment of a helper table."""
    return f"{words[:_WORDS]} {mark}"


def holders(comment: str) -> str:
    """That somebody holds, in the words of the comment of a helper table, and who; nothing where it does not say."""
    words = read(comment).words
    return words.partition(". To delete ")[0].partition(": ")[0] if words.startswith(_BEGINNING) else ""


def holder(comment: str) -> str:
    """Who holds, as the comment of a helper table says it; nothing where it does not."""
    return holders(comment).removeprefix(_BEGINNING)


@dataclass(frozen=True)
class Words:
    """What a person at the source reads of a helper table.

    Attributes
    ----------
    holder : str or None
        What ``@link`` was given as the holder.
    place : str
        The local table, and where it is.
    remedy : str
        How a row is deleted.
    """

    holder: str | None
    place: str
    remedy: str

    def __str__(self) -> str:
        who = f"{self._held}: {self.place}" if self.holder else f"{_BEGINNING}{self.place}"
        return f"{who}. {self.remedy}"

    @property
    def _held(self) -> str:
        return f"{_BEGINNING}{shown(self.holder or '')}"

    def over(self, told: str) -> str:
        """What is to stand where some words stand: they are left, but for another holder, or another way to delete.

        Others may link the same table from another machine, and call it differently; and what a person has written
        stays.
        """
        if not told or (self.holder and not told.startswith(f"{self._held}: ")):
            return str(self)
        if told.startswith(_BEGINNING) and not told.endswith(f". {self.remedy}"):
            return f"{told.partition('. To delete ')[0]}. {self.remedy}"
        return told


def words_for(holder: str | None, table: tuple[str, str], host: str, layout: Layout, helper: str) -> Words:
    """What a person at the source shall read of a helper table.

    Parameters
    ----------
    holder : str or None
        Who holds, in words.
    table : tuple of str
        The schema and name of the local table.
    host : str
        What the other lab knows the local server by.
    layout : Layout
        Of the helper table.
    helper : str
        Its name.
    """
    where = ".".join(map(shown, table))
    return Words(holder, f"{where} on {shown(host)}", f"To delete one, {_remedy(layout, helper)}.")


def _remedy(layout: Layout, helper: str) -> str:
    if layout.parts:
        requests, approvals = (shown(part_name(helper, layout.parts[said])) for said in ("is_flagged", "is_deprecated"))
        return f"insert its key into {requests} and wait until {approvals} has it"
    flagged, deprecated = layout.columns["is_flagged"], layout.columns["is_deprecated"]
    return f"set {flagged} to TRUE and wait until {deprecated} says TRUE"


def shown(text: str, length: int = _NAME) -> str:
    """A text as it may stand in a comment, or be printed: DataJoint and servers do not read every character there."""
    return "".join(c if c.isprintable() and c not in '%"\\[]' and ord(c) < 0x10000 else "?" for c in text)[:length]
