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
from typing import Any

import datajoint as dj
from datajoint.utils import user_choice

from .ends import Ends
from .errors import TransferError, UnreachableError
from .run import Run, patiently, persistently
from .servers import Key
from .states import CANCEL_DELETE, START_DELETE

logger = logging.getLogger("link")
dj_logger = dj.logger


def delete(ends: Ends, selected: dj.Table, execute: Callable[[], int], prompt: bool) -> int:
    """Delete what ``execute`` deletes of the selected local rows, and tell the source.

    Parameters
    ----------
    selected : datajoint.Table
        The restricted local table.
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
    connection = ends.local_connection
    with Run(ends) as run:
        run.recover()
        with ends.local.in_one_session():
            # Others may pull and delete here at the same time, and have the same rows locked.
            keys = patiently(lambda: _delete(ends, run, selected, execute))
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
        _release(ends, run, keys)
    logger.info("%s: deleted %d entities here, and the source knows", ends.spec.class_name, count)
    if prompt:
        dj_logger.info("Delete committed.")
    return count


def _delete(ends: Ends, run: Run, selected: dj.Table, execute: Callable[[], int]) -> list[Key]:
    """Delete locally, in a transaction that is left open; the keys of what is deleted."""
    reading = run.rows.server.stable_read(f"SELECT {run.rows.selected} FROM {run.rows.name}{_where(selected)}")
    ends.local_connection.start_transaction()
    try:
        with ends.local.in_our_words():
            keys = _read_keys(ends.local_connection, reading)
            count = execute()
        if count != len(keys):
            raise TransferError(
                f"DataJoint deleted {count} of the {len(keys)} selected rows of {ends.spec.class_name}; "
                "nothing was changed on either server.",
                "It misreads some restrictions in deletions, such as those with %: select by other attributes.",
            )
    except BaseException:
        _roll_back(ends)
        raise
    return keys


def _roll_back(ends: Ends) -> None:
    with contextlib.suppress(Exception):
        ends.local_connection.cancel_transaction()
    with contextlib.suppress(Exception):
        ends.local.revive()  # a connection that was lost has rolled back


def _read_keys(connection: dj.Connection, statements: Sequence[str]) -> list[Key]:
    *before, select = statements
    for statement in before:
        connection.query(statement)
    return [tuple(row) for row in connection.query(select)]


def _where(selected: Any) -> str:
    """The rows of the table itself that an expression on it selects."""
    return f" WHERE {condition}" if (condition := selection(selected)) else ""


def selection(expression: Any) -> str:
    """The SQL condition on a base table that selects the rows of a DataJoint expression on it; empty for all.

    Parameters
    ----------
    expression : datajoint.QueryExpression
        The table, restricted in whatever way.
    """
    simple = expression._top is None and len(expression.support) == 1 and not expression.heading.new_attributes
    if simple and isinstance(expression.support[0], str):
        clause = str(expression.where_clause()).strip()
        return f"({clause.removeprefix('WHERE')})" if clause else ""
    quote = expression.connection.adapter.quote_identifier
    key = ", ".join(quote(name) for name in expression.primary_key)
    return f"({key}) IN (SELECT {key} FROM ({expression.proj().make_sql()}) AS selection)"


def _commit(run: Run, connection: dj.Connection, keys: list[Key]) -> None:
    try:
        connection.commit_transaction()
    except Exception:
        # Only if it certainly did not commit: a hold too many is harmless, one too few is not.
        if run.present(keys) == set(keys):
            run.apply(CANCEL_DELETE, keys)
        raise


def _release(ends: Ends, run: Run, keys: list[Key]) -> None:
    try:
        run.release(keys)
    except UnreachableError as error:
        logger.warning("%s: %s The rows are deleted here; trying again to tell the source.", run.name, error.what)
        try:
            persistently(functools.partial(Run, ends), Run.recover, former=[run.outbound.worker])
        except UnreachableError as still:
            raise UnreachableError(
                f"{len(keys)} entities of {run.name} were deleted here, but the source could not be told: {still.what}",
                "They are held there until the next operation on this link, which tells it.",
            ) from still
