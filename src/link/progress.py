"""Progress bars: one in entities, and beside it one in the bytes of their files."""

from __future__ import annotations

import warnings
from typing import Any, NoReturn, TypeAlias

from tqdm import tqdm

#: Whichever it is; ``tqdm`` is generic in its stubs alone.
Bar: TypeAlias = "tqdm[NoReturn]"


def bar_of_entities(name: str, total: int, shown: bool = True) -> Bar:
    """A bar for so many entities; none is drawn where there are none."""
    return _bar(desc=name, total=total, unit=" entities") if shown and total else no_bar()


def bar_of_bytes(name: str, stays: bool) -> Bar:
    """A bar for bytes, of which no number is known yet; whether it stays when it is done."""
    return _bar(desc=name, unit="B", unit_scale=True, leave=stays)


def no_bar() -> Bar:
    """Nothing is drawn."""
    return tqdm(disable=True)


def _bar(**options: Any) -> Bar:
    with warnings.catch_warnings():
        # A notebook without widgets gets a bar made of text, and needs no advice.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm as suitable
    return suitable(**options)
