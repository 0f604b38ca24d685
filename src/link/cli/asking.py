"""Asking the person who sits at the terminal, if there is one."""

from __future__ import annotations

import sys
from typing import Any

import typer

from .reporting import Asked, set_level

#: What typer raises for a command that is not understood; it has no public name for it.
UsageError: Any = typer.BadParameter.__base__


def somebody_sits_there(asked: Asked) -> bool:
    """Whether there is anybody to ask; who wants a document on stdout wants no questions there."""
    return sys.stdin.isatty() and not asked.as_json


def may_ask(asked: Asked, yes: bool, what: str) -> bool:
    """Whether to ask before something is done: not where ``--yes`` was said.

    Parameters
    ----------
    asked : Asked
        How the command was called.
    yes : bool
        Whether ``--yes`` was said.
    what : str
        What would be done.

    Raises
    ------
    typer.BadParameter
        There is nobody to ask.
    """
    if yes:
        return False
    if not somebody_sits_there(asked):
        raise typer.BadParameter(f"Nobody can be asked here, and so nothing was done. Say --yes to {what}.")
    set_level("INFO")  # what it is about is logged before it is asked
    return True


def confirmed(asked: Asked, yes: bool, what: str, question: str) -> bool:
    """Whether something may be done: as :func:`may_ask`, and the person's answer to a question."""
    return not may_ask(asked, yes, what) or typer.confirm(question, err=True)


def answer(asked: Asked, given: str | None, question: str, option: str, default: str | None = None) -> str:
    """What an option says, or the person at the terminal, or else the default.

    Raises
    ------
    typer.BadParameter
        There is none of them.
    """
    if given is not None:
        return given
    if somebody_sits_there(asked):
        return str(typer.prompt(question, default=default, err=True))
    if default is None:
        raise typer.BadParameter(f"Nobody can be asked here: say {option}.")
    return default
