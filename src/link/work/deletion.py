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
from collections.abc import Callable, Sequence

import datajoint as dj

from ..ends.ends import Ends
from ..errors import TransferError, UnreachableError
from ..host import user_choice
from ..model.ranges import Key, Selection
from ..model.states import CANCEL_DELETE, START_DELETE
from .comparing import Comparison
from .recovery import Recovery
from .retry import patiently
from .run import Run, persistently

logger = logging.getLogger("link")
dj_logger = dj.logger


def delete(ends: Ends, selection: Selection, execute: Callable[[], int], prompt: bool) -> int:
    """Delete what ``execute`` deletes of the selected local rows, and tell the source.

    Parameters
    ----------
    selection : Selection
        Rows of the local table.
    execute : callable
        Deletes within the open transaction and returns the number of rows.
    prompt : bool
        Ask before anything is kept.

    Returns
    -------
    int
        Number of local rows deleted; 0 when the user declined.
    """
    ends.require_no_transaction("delete of")
    connection = ends.local.connection
    with Run(ends) as run:
        recovery = Recovery(run)
        recovery.recover()
        with ends.local.in_one_session():
            # Others may pull and delete here at the same time, and have the same rows locked.
            keys = patiently(lambda: _delete(ends, run, selection, execute))
            count = len(keys)
            try:
                confirmed = count > 0 and (not prompt or user_choice("Commit deletes?", default="no") == "yes")
                if confirmed:
                    run.apply(START_DELETE, keys)
            except BaseException:
                _roll_back(ends)
                raise
            if not confirmed:
                connection.cancel_transaction()
                if prompt:
                    dj_logger.warning("Delete cancelled" if count else "Nothing to delete.")
                return 0
            _commit(run, connection, keys)
        _release(ends, recovery, keys)
    logger.info("%s: deleted %d entities here, and the source knows", ends.name, count)
    if prompt:
        dj_logger.info("Delete committed.")
    return count


def _delete(ends: Ends, run: Run, selection: Selection, execute: Callable[[], int]) -> list[Key]:
    """Delete locally, in a transaction that is left open; the keys of what is deleted."""
    where = f" WHERE {selection.condition}" if selection else ""
    reading = run.rows.dialect.stable_read(f"SELECT {run.rows.selected} FROM {run.rows.name}{where}")
    ends.local.connection.start_transaction()
    try:
        with ends.local.in_our_words():
            keys = _read_keys(ends.local.connection, reading)
            count = execute()
        if count != len(keys):
            raise TransferError(
                f"DataJoint deleted {count} of the {len(keys)} selected rows of {ends.name}; "
                "nothing was changed on either server.",
                "It misreads some restrictions in deletions, such as those with %: select by other attributes.",
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


def _commit(run: Run, connection: dj.Connection, keys: list[Key]) -> None:
    try:
        connection.commit_transaction()
    except Exception:
        # Only if it certainly did not commit: a hold too many is harmless, one too few is not.
        if Comparison(run).present(keys) == set(keys):
            run.apply(CANCEL_DELETE, keys)
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
