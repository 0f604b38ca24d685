"""Since when: what the hidden columns of a helper table say of pulls, refreshes and flags, by the source's clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from lab import Lab
from pipelines import flag, granted, linked, states, units
from test_flags import helper_at_source

from link import State
from link.model.layouts import TIMES
from link.model.statuses import Since

LONG_AGO = "2001-02-03 04:05:06"


def helper(lab: Lab) -> str:
    return f"{lab.helper_schema}.{lab.helper_table}"


def never(column: str) -> str:
    """The condition that something has not happened: there is no time, or the first that there could be."""
    return f"({column} IS NULL OR EXTRACT(YEAR FROM {column}) < 1971)"


def set_back(lab: Lab, where: str = "1 = 1") -> None:
    """Let all that has happened have happened long ago."""
    times = ", ".join(f"{c} = CASE WHEN {never(c)} THEN {c} ELSE TIMESTAMP '{LONG_AGO}' END" for c in TIMES)
    lab.source_server.sql(f"UPDATE {helper(lab)} SET {times} WHERE {where}")


def told(lab: Lab, unit: int) -> tuple[str, str, str]:
    """What is told of an entity's pull, refresh and flag: nothing, "before" it was set back, or "now"."""
    now = "CURRENT_TIMESTAMP"
    old, new = (f"{{0}} < {now} - INTERVAL '1' DAY", f"{{0}} BETWEEN {now} - INTERVAL '5' MINUTE AND {now}")
    said = ", ".join(
        f"CASE WHEN {never(c)} THEN 'unknown' WHEN {old.format(c)} THEN 'before' WHEN {new.format(c)} THEN 'now' END"
        for c in TIMES
    )
    return tuple(lab.source_server.sql(f"SELECT {said} FROM {helper(lab)} WHERE unit = {unit}")[0])


def test_each_step_is_noted_when_it_is_done(lab: Lab) -> None:
    """Whoever flags a row knows nothing of it; what the link does afterwards leaves the time as it was."""
    Unit = granted(lab, units(lab, 6))
    assert "pulled" not in repr(Unit.source.status())
    Unit.source.pull()
    assert told(lab, 0) == ("now", "unknown", "unknown")
    assert Unit.source.status().since.last_refreshed is None
    set_back(lab)
    # as a program that knew less has held it
    lab.source_server.sql(f"UPDATE {helper(lab)} SET _refreshed = NULL WHERE unit = 1")
    # a refresh
    lab.source_server.sql(f"UPDATE {lab.source_schema}.unit SET depth = -1 WHERE unit IN (0, 1)")
    Unit.source.refresh()
    assert [told(lab, unit)[1] for unit in (0, 1, 2)] == ["now", "now", "unknown"]
    set_back(lab)
    # flags, by DataJoint and by SQL, and what follows from them
    helper_at_source(lab).update1({"unit": 1, "is_flagged": "TRUE"})
    flag(lab, "unit = 2")
    assert [told(lab, unit) for unit in (0, 1, 2)] == [
        ("before", "before", "unknown"),
        ("before", "before", "now"),
        ("before", "unknown", "now"),
    ]
    since = Unit.source.status().since
    assert since.first_pulled == since.last_pulled == datetime(2001, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    assert since.flagged is not None
    assert abs(datetime.now(timezone.utc) - since.flagged) < timedelta(minutes=5)
    assert "pulled 2001-02-03 04:05:06 UTC, last refreshed 2001-" in repr(Unit.source.status())
    # What is the same to the second is said once.
    second = datetime(2001, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    assert str(Since(second, second.replace(microsecond=7))) == "pulled 2001-02-03 04:05:06 UTC"
    set_back(lab)
    assert (Unit & Unit.source.flagged).delete(prompt=False) == 2
    assert states(lab, "unit", "unit")[1,] is State.DEPRECATED
    assert told(lab, 1) == ("before", "before", "before")
    # unflagged, and pulled again: the refresh was of another copy
    flag(lab, "unit = 1", "FALSE")
    assert told(lab, 1) == ("before", "before", "now")
    set_back(lab)
    assert Unit.source.pull().pulled == 1
    assert told(lab, 1) == ("now", "unknown", "before")
    # gone here and fetched again
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.unit WHERE unit = 4")
    assert Unit.source.pull().pulled == 1
    assert [told(lab, unit)[0] for unit in (3, 4)] == ["before", "now"]
    # what a dead run has left is gone on with
    lab.source_server.sql(f"UPDATE {helper(lab)} SET process = 'PULL', _worker = 4711 WHERE unit = 5")
    set_back(lab, "unit = 5")
    assert Unit.source.status()[State.SHARED] == 4
    Unit.source.pull()
    assert told(lab, 5)[0] == "before"
    assert told(lab, 5)[2] in ("unknown", "before")


def test_a_helper_table_without_times_gets_them(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """If the account may change it; else it is served as well, and nothing is told. What was before is unknown."""
    Unit = granted(lab, units(lab, 3))
    Unit.source.pull("unit = 0")
    drop = ", ".join(f"DROP COLUMN {column}" for column in TIMES)
    lab.source_server.sql(f"ALTER TABLE {helper(lab)} {drop}")
    account = lab.link_user if lab.kind == "postgresql" else f"{lab.link_user}@'%'"
    if lab.kind == "postgresql":
        lab.source_server.sql(f"ALTER TABLE {helper(lab)} OWNER TO {lab.source_server.admin_user}")
        lab.source_server.sql(f"ALTER TABLE {helper(lab)} DISABLE ROW LEVEL SECURITY")
        lab.source_server.sql(f"GRANT ALL ON {helper(lab)} TO {account}")
    else:
        lab.source_server.sql(f"REVOKE ALTER ON {helper(lab)} FROM {account}")
    Unit = linked(lab, "Unit")
    assert Unit.source.pull("unit = 1").pulled == 1
    lab.source_server.sql(f"UPDATE {lab.source_schema}.unit SET depth = -1 WHERE unit = 1")
    assert Unit.source.refresh().refreshed == 1
    flag(lab, "unit = 1")
    assert Unit.source.status().since == Since()
    assert (Unit & Unit.source.flagged).delete(prompt=False) == 1
    # the account may by now, as links do that are made anew
    if lab.kind == "postgresql":
        lab.source_server.sql(f"ALTER TABLE {helper(lab)} OWNER TO {account}")
    else:
        lab.source_server.sql(f"GRANT ALTER ON {helper(lab)} TO {account}")
    assert linked(lab, "Unit").source.pull().pulled == 1
    assert [told(lab, unit)[0] for unit in (0, 1, 2)] == ["unknown", "unknown", "now"]
    flag(lab, "unit = 0")
    assert [told(lab, unit)[2] for unit in (0, 1, 2)] == ["now", "unknown", "unknown"]
    # the other link goes on with the table as it is now
    assert Unit.source.status().since.flagged is not None
