"""Text in the character sets of MySQL and MariaDB: which of it survives the way through UTF-8, and what stands for the
rest. Pure text: nothing here connects.

Keys travel as text in UTF-8, and so do rows. In many character sets there are bytes of no character (``?`` comes out),
or two of one character: such text travels as its bytes, and in a key by a name that no other text has.
"""

from __future__ import annotations

from ..model.keys import MARK
from ..model.schema import Column

#: Those of which every text survives, whatever bytes there are: tried with all (tests/test_exact_charsets.py).
_EXACT = {
    *("utf8mb4", "utf8mb3", "utf8", "utf16", "utf16le", "utf32"),
    *("latin1", "latin2", "latin5", "latin7", "cp850", "cp852", "cp866", "keybcs2", "koi8r", "koi8u"),
    *("macce", "macroman"),
}
#: Those in which MariaDB keeps halves of characters, which are no UTF-8; MySQL does so in ucs2 only.
_HALVES = {"utf8mb4", "utf8mb3", "utf8", "utf32", "ucs2"}
#: Those into which the servers themselves put another character for one that is not in them.
_MERGING = {"cp932", "tis620"}


def is_exact(column: Column) -> bool:
    """Whether all text of a column goes through UTF-8 and back between servers of one kind."""
    return column.charset is None or column.charset in _EXACT


def takes_text(column: Column, charset: str | None) -> bool:
    """Whether a column takes text of another character set, or refuses it, but never keeps another text."""
    return column.charset == charset or column.charset not in _MERGING


def stored(column: Column, reference: str) -> str:
    """The bytes of a column's text, as text of nothing but digits."""
    return f"CONCAT('x''', HEX({reference}), '''')"


def written(column: Column, reference: str, halves: bool) -> str:
    """Text in UTF-8; of what that cannot tell from other text, the mark and the bytes.

    ``halves`` tells whether the server keeps halves of characters.
    """
    text = f"CONVERT({reference} USING utf8mb4)"  # also of utf8mb4: then texts of any collations can be joined
    condition = lost(column, reference, halves)
    return f"IF({condition}, CONCAT('{MARK}', HEX({reference})), {text})" if condition else text


def lost(column: Column, reference: str, halves: bool) -> str | None:
    """The condition that UTF-8 cannot tell a text from every other; None where it always can."""
    text = reference if column.charset == "utf8mb4" else f"CONVERT({reference} USING utf8mb4)"
    if halves and column.charset in _HALVES:
        # Rare, and easily seen not to be there: halves begin with this byte, and with few others.
        whole = f"CONVERT(CONVERT({text} USING utf16) USING utf8mb4)"
        return f"LOCATE(0xED, BINARY {text}) AND NOT BINARY {whole} <=> BINARY {text}"
    if is_exact(column):
        return None
    again = f"CONVERT({text} USING {column.charset})"
    return f"NOT CAST({again} AS BINARY) <=> CAST({reference} AS BINARY)"


def reason(column: Column) -> str:
    """Why such a text is refused elsewhere."""
    return f"{column.name}: bytes of no character, or of one that has others, in {column.charset}"


def literal(column: Column, code: str) -> str:
    """The text of a column that has these bytes."""
    return f"_{column.charset} x'{code}'"


def unmarked(column: Column, listed: str) -> str:
    """A listed text in the character set of its column, whether marked or not."""
    code = f"UNHEX(SUBSTR({listed}, {len(MARK) + 1}))"
    of_bytes, of_text = (f"CONVERT({given} USING {column.charset})" for given in (code, listed))
    marked = f"CHAR_LENGTH({listed}) > {len(MARK)} AND {listed} = CONCAT('{MARK}', HEX({code}))"
    return f"IF({marked}, {of_bytes}, {of_text}) COLLATE {column.collation}"
