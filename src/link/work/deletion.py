"""Deleting local rows of a linked table, with the helper table kept true.

The order is DataJoint's own, with the source's part in between: preview, delete within a transaction, one prompt;
then the helper rows are marked (process DELETE), the local transaction commits, and the holds are released, or
deprecated where the source had asked. Nothing is marked before the user has confirmed, and nothing commits locally
before it is marked.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import datajoint as dj

from ..ends.ends import Ends
from ..errors import LinkError, TransferError, UnreachableError
from ..host import user_choice
from ..model.ranges import Key, Selection
from ..model.states import ASKED, CANCEL_DELETE, DELETING, START_DELETE
from .comparing import Comparison
from .recovery import Recovery
from .retry import patiently
from .run import Run, persistently

logger = logging.getLogger("link")
dj_logger = dj.logger


class _Outcome:
    """What is true when a deletion is interrupted at this moment."""

    said = "nothing was deleted"


def delete(ends: Ends, selection: Selection, execute: Callable[[Iterable[dict[str, Any]]], int], prompt: bool) -> int:
    """Delete what ``execute`` deletes of the selected local rows, and tell the source.

    Parameters
    ----------
    selection : Selection
        Rows of the local table.
    execute : callable
        Deletes within the open transaction and returns the number of rows; it is given their keys.
    prompt : bool
        Ask before anything is kept.

    Returns
    -------
    int
        Number of local rows deleted; 0 when the user declined.
    """
    ends.require_no_transaction("delete of")
    ends.require_home("delete of")
    outcome = _Outcome()
    try:
        count = _delete(ends, selection, execute, prompt, outcome)
    except KeyboardInterrupt:
        logger.warning("%s: interrupted; %s", ends.name, outcome.said)
        raise
    if count:
        logger.info("%s: deleted %d entities here, and the source knows", ends.name, count)
        if prompt:
            dj_logger.info("Delete committed.")
    return count


def _delete(
    ends: Ends,
    selection: Selection,
    execute: Callable[[Iterable[dict[str, Any]]], int],
    prompt: bool,
    outcome: _Outcome,
) -> int:
    connection = ends.local.connection
    with Run(ends) as run:
        recovery = Recovery(run)
        recovery.recover()
        with ends.local.in_one_session():
            # Others may pull and delete here at the same time, and have the same rows locked.
            keys = patiently(lambda: _delete_here(ends, run, selection, execute))
            try:
                if not _is_confirmed(run, keys, prompt):
                    connection.cancel_transaction()
                    if prompt:
                        dj_logger.warning("Delete cancelled" if keys else "Nothing to delete.")
                    return 0
                _mark(run, keys)
            except BaseException:
                _roll_back(ends)
                raise
            _commit(run, connection, keys, outcome)
        _release(ends, recovery, keys)
    return len(keys)


def _is_confirmed(run: Run, keys: list[Key], prompt: bool) -> bool:
    """Whether there is something to delete, and the user wants it, who is told what becomes of the holds."""
    if not keys or not prompt:
        return bool(keys)
    held = len(run.holds.helper.existing(run.home, keys))
    asked = len(run.holds.existing(run.home, keys, ASKED))
    tell_of_holds(run.ends, held - asked, asked)
    return str(user_choice("Commit deletes?", default="no")) == "yes"


def tell_of_holds(ends: Ends, released: int, deprecated: int) -> None:
    """Tell who is to be asked what becomes of the holds."""
    dj_logger.info(f"{released:,} holds at {ends.source.address} will be released")
    if deprecated:
        dj_logger.info(f"{deprecated:,} flagged there will become deprecated: the source can delete them then")


def _mark(run: Run, keys: list[Key]) -> None:
    try:
        run.apply(START_DELETE, keys)
    except BaseException:
        # Nothing is deleted here, and what is marked already would be by the next operation. Others may be locked.
        with contextlib.suppress(LinkError):
            marked = set(run.holds.mine(DELETING).keys(run.home))
            run.apply(CANCEL_DELETE, [key for key in keys if key in marked])
        raise


def _delete_here(
    ends: Ends, run: Run, selection: Selection, execute: Callable[[Iterable[dict[str, Any]]], int]
) -> list[Key]:
    """Delete locally, in a transaction that is left open; the keys of what is deleted."""
    where = f" WHERE {selection.condition}" if selection else ""
    reading = run.rows.dialect.stable_read(f"SELECT {run.rows.selected} FROM {run.rows.name}{where}")
    ends.local.connection.start_transaction()
    try:
        with ends.local.in_our_words(), ends.local.ended_with_us():
            keys = _read_keys(ends.local.connection, reading)
            count = execute(map(run.as_dict, keys))
        if count != len(keys):
            raise TransferError(
                f"DataJoint deleted {count} of the {len(keys)} selected rows of {ends.name}; "
                "nothing was changed on either server.",
                "Does a trigger or a rule there change what is deleted? Or select the rows in another way.",
            )
    except BaseException:
        _roll_back(ends)
        raise
    return keys


def _roll_back(ends: Ends) -> None:
    with contextlib.suppress(Exception):
        ends.local.connection.cancel_transaction()
    with contextlib.suppress(Exception):
        ends.local.revive()  # a connection that was lost has rolled back


def _read_keys(connection: dj.Connection, statements: Sequence[str]) -> list[Key]:
    *before, select = statements
    for statement in before:
        connection.query(statement)
    return [tuple(row) for row in connection.query(select)]


def _commit(run: Run, connection: dj.Connection, keys: list[Key], outcome: _Outcome) -> None:
    deleted = f"{len(keys):,} entities were deleted here, and the next operation tells the source"
    try:
        outcome.said = "whether rows were deleted here the next operation finds out, and tells the source"
        connection.commit_transaction()
        outcome.said = deleted
    except BaseException:
        # Only if it certainly did not commit: a hold too many is harmless, one too few is not.
        if Comparison(run).present(keys) == set(keys):
            run.apply(CANCEL_DELETE, keys)
            outcome.said = _Outcome.said
        else:
            outcome.said = deleted
        raise


def _release(ends: Ends, recovery: Recovery, keys: list[Key]) -> None:
    run = recovery.run
    try:
        recovery.release(keys)
    except UnreachableError as error:
        logger.warning("%s: %s The rows are deleted here; trying again to tell the source.", run.name, error.what)
        try:
            former = [run.holds.worker]
            persistently(functools.partial(Run, ends), lambda again: Recovery(again).recover(), former=former)
        except UnreachableError as still:
            raise UnreachableError(
                f"{len(keys)} entities of {run.name} were deleted here, but the source could not be told: {still.what}",
                "They are held there until the next operation on this link, which tells it.",
            ) from still
