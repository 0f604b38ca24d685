"""Showing locally, in a part table of the local table, what the source wants deleted: for the older interface."""

from __future__ import annotations

from link.ends.ends import Ends
from link.model.ranges import Key
from link.servers.keyed import Keyed, Segment, batches
from link.signals import BusyError, RowError
from link.work.comparing import Comparison
from link.work.recovery import Recovery
from link.work.retry import patiently
from link.work.run import Run


def refresh(ends: Ends) -> None:
    """Let the local part table hold the keys that the source wants deleted and that are local."""
    ends.require_no_transaction("refresh of")
    ends.require_home("refresh of")
    with Run(ends) as run:
        Recovery(run).recover()
        (part,) = run.mapping.own_parts
        shown = Keyed(run.rows.dialect, part, [part[name] for name in run.rows.names])
        patiently(lambda: _show(run, shown, set(Comparison(run).flagged())))


def _show(run: Run, shown: Keyed, wanted: set[Key]) -> None:
    local = run.local
    try:
        with local.transaction():
            there = set(Segment(shown).keys(local))
            for batch in batches(sorted(there - wanted)):
                local.execute(*shown.deletion(batch))
            for batch in batches(sorted(wanted - there)):
                rows, args = run.rows.rows_of(batch)
                select = f"SELECT {', '.join(run.rows.references)} {rows}"
                local.execute(local.dialect.insert_new(shown.name, shown.names, select, shown.names[0]), args)
    except RowError as error:
        raise BusyError(error.what) from error  # somebody deletes at the same time
