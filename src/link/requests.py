"""Showing locally, in a part table of the local table, what the source wants deleted: for the older interface."""

from __future__ import annotations

from .ends import Ends
from .keyed import EVERYTHING, Keyed, batches
from .run import Run, patiently
from .servers import BusyError, Key, RowError


def refresh(ends: Ends) -> None:
    """Let the local part table hold the keys that the source wants deleted and that are local."""
    ends.require_no_transaction("refresh of")
    with Run(ends) as run:
        run.recover()
        (part,) = ends.own_parts
        shown = Keyed(ends.local, part, [part[column.name] for column in run.rows.key])
        patiently(lambda: _show(run, shown, set(run.flagged())))


def _show(run: Run, shown: Keyed, wanted: set[Key]) -> None:
    server, names = run.local.server, [column.name for column in shown.key]
    try:
        with run.local.transaction():
            there = set(shown.keys(run.local, shown.within(EVERYTHING)))
            for batch in batches(sorted(there - wanted)):
                listed, on, args = shown.listed(batch)
                run.local.execute(server.delete_listed(shown.name, listed, on, "1 = 1"), args)
            for batch in batches(sorted(wanted - there)):
                rows, args = run.rows.rows_of(batch)
                select = f"SELECT {', '.join(run.rows.references)} {rows}"
                run.local.execute(server.insert_new(shown.name, names, select, names[0]), args)
    except RowError as error:
        raise BusyError(error.what) from error  # somebody deletes at the same time
