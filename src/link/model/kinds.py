"""Kinds of value, in no server's words: what a column can hold, so that servers of different kinds can be linked.

Each server names the kind of its columns, and declares a column of a given kind in its own words. Between servers of
one kind the words themselves are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

#: The form of bytes that a uuid has as well.
UUID_FORM = "16 bytes"


@dataclass(frozen=True)
class Kind:
    """What a column can hold.

    Attributes
    ----------
    name : str
        ``integer``, ``decimal``, ``float``, ``bool``, ``text``, ``enum``, ``bytes``, ``uuid``, ``json``, ``date``,
        ``time``, ``datetime`` (what a clock on the wall shows) or ``timestamp`` (an instant).
    size : int or None
        Bits of an integer or float, digits of a decimal, characters of text, bytes, decimals of seconds; None where
        there is no limit.
    scale : int
        Digits of a decimal after the point.
    unsigned : bool
        Of an integer.
    labels : tuple of str
        Of an enum.
    form : str
        What its server brings values into without a word, where it keeps them in one form only: without blanks at
        their end, filled up, rounded.
    """

    name: str
    size: int | None = None
    scale: int = 0
    unsigned: bool = False
    labels: tuple[str, ...] = ()
    form: str = field(default="", compare=False)

    def keeps(self, other: Kind) -> bool:
        """Whether every value of the other kind stays what it is, or is refused."""
        form = UUID_FORM if other.name == "uuid" else other.form
        return self.holds(other) and self.form in ("", form)

    def holds(self, other: Kind) -> bool:
        """Whether every value of the other kind fits."""
        if self.name != other.name:
            # An attribute that a part inherits does not say that it is a bool or a uuid.
            wider = (("decimal", "integer"), ("integer", "bool"), ("bytes", "uuid"))
            return (self.name, other.name) in wider and self.scale == 0
        if self.name == "decimal":
            return self.scale >= other.scale and _at_least(_whole(self), _whole(other))
        if self.name == "integer":
            return self.range[0] <= other.range[0] and self.range[1] >= other.range[1]
        return set(self.labels) >= set(other.labels) and _at_least(self.size, other.size)

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest value of an integer."""
        bits = self.size or 64
        return (0, 2**bits - 1) if self.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _whole(kind: Kind) -> int | None:
    return None if kind.size is None else kind.size - kind.scale


def _at_least(a: int | None, b: int | None) -> bool:
    return a is None or (b is not None and a >= b)


@dataclass(frozen=True)
class Default:
    """A default in no server's words: a value as text, or the time of insertion."""

    text: str = ""
    now: bool = False


#: A cast of PostgreSQL's, to a type that may have a schema, a size and more words.
_WORD = r'(?:"(?:[^"]|"")+"|\w+)'
_MORE_WORDS = r"(?: (?:varying|precision|with time zone|without time zone)(?:\(\d+\))?)?"
_CAST = rf"::{_WORD}(?:\.{_WORD})?(?:\([\d,]+\))?{_MORE_WORDS}"


def default_of(expression: str | None, unescape: Callable[[str], str]) -> Default | None:
    """What a default is, as far as every server can have it; None for none and for any other expression.

    ``unescape`` gives the text of a literal's inside in the words of its server.
    """
    text = (expression or "").strip()
    while match := re.fullmatch(rf"\((.*)\)({_CAST})*", text, re.DOTALL):
        text = match[1]
    if match := re.fullmatch(rf"(?:_\w+ ?)?'((?:[^'\\]|''|\\.|\\)*)'({_CAST})*", text, re.DOTALL):
        return Default(unescape(match[1]))
    if re.fullmatch(r"-?[\d.]+(e[-+]?\d+)?|true|false", text, re.IGNORECASE):
        return Default(text)
    if re.fullmatch(r"0x([0-9a-f]{2})+", text, re.IGNORECASE):
        return Default(bytes.fromhex(text[2:]).decode("latin-1"))
    if re.fullmatch(r"(current_timestamp|now)(\(\d*\))?", text, re.IGNORECASE):
        return Default(now=True)
    return None


def is_null(default: str | None) -> bool:
    """Whether a default says no more than that there is none."""
    return default is None or bool(re.fullmatch(rf"NULL({_CAST})*", default, re.IGNORECASE))


def counts(default: str) -> bool:
    """Whether a default takes a number from a sequence, which belongs to its server."""
    return bool(re.search(r"\b(next|curr|last)val\(", re.sub(r"'(?:[^'\\]|''|\\.)*'", "''", default), re.IGNORECASE))


def marked(comment: str, kind: Kind, unseen: Collection[str]) -> str:
    """A column comment with the marker by which DataJoint knows a kind, if it is one that column types do not show."""
    return comment if marker(comment) or kind.name not in unseen else with_marker(comment, kind.name)


def with_marker(comment: str, special: str) -> str:
    """A column comment with another marker, or without any."""
    was = marker(comment)
    rest = comment[len(was) + 2 :] if was else comment
    return f":{special}:{rest}" if special else rest


def marker(comment: str) -> str:
    """DataJoint's type marker at the beginning of a column comment; empty where there is none.

    The form is that of ``datajoint.heading``: ``:type:comment``.
    """
    match = re.match(r":([^:]+):", comment)
    return match[1] if match else ""
