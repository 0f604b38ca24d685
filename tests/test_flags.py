"""What the source asks for by hand: flags set, obeyed and taken back, and rows it cannot delete while they are held."""

from __future__ import annotations

from typing import Any

import datajoint as dj
import psycopg2
import pymysql
import pytest
from lab import Lab
from pipelines import assert_same, everything, flag, granted, helper_rows, sessions, states, units

from link import State
from link.model.ranges import Chunk
from link.work import reader

REFUSALS = (pymysql.MySQLError, psycopg2.Error)


def helper_at_source(lab: Lab) -> Any:
    """The helper table as DataJoint shows it to an administrator of the source."""
    schema = lab.instance(lab.source_server).Schema(lab.helper_schema, create_schema=False, create_tables=False)
    return schema.get_table(lab.helper_table)


def test_what_is_not_copied_is_told(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A flag that comes before an entity is read and goes before it is finished leaves it held and not local."""
    Unit = granted(lab, units(lab, 4))
    Unit.source.pull("unit = 1")
    read = reader.Reader._read

    def reading(self: reader.Reader, chunk: Chunk) -> None:
        flag(lab, "unit = 2")
        read(self, chunk)
        flag(lab, "unit = 2", "FALSE")

    with monkeypatch.context() as patched:
        patched.setattr(reader.Reader, "_read", reading)
        assert Unit.source.pull().pulled == 2
    assert "1 entities are held and were not copied, {'unit': 2} among them" in caplog.text
    assert states(lab, "unit", "unit")[2,] == State.VANISHED
    assert Unit.source.pull().pulled == 1


def test_flag_by_update_in_datajoint(lab: Lab) -> None:
    """In one step, during which the entity stays held."""
    Unit = granted(lab, units(lab, 3))
    Unit.source.pull()
    helper_at_source(lab).update1({"unit": 1, "is_flagged": "TRUE"})
    assert (Unit & Unit.source.flagged).delete(prompt=False) == 1
    assert states(lab, "unit", "unit")[1,] is State.DEPRECATED
    helper_at_source(lab).update1({"unit": 1, "is_flagged": "FALSE"})
    assert Unit.source.pull().pulled == 1


def test_flag_by_hand(lab: Lab) -> None:
    """The recipe that source administrators have always used."""
    Session = granted(lab, sessions(lab, 6))
    Session.source.pull()
    Helper = helper_at_source(lab)
    assert Helper.heading.names == ["subject", "session", "process", "is_flagged", "is_deprecated"]

    row = (Helper & "session = 1").fetch1()
    assert row == {"subject": 1, "session": 1, "process": "NONE", "is_flagged": "FALSE", "is_deprecated": "FALSE"}
    (Helper & row).delete(prompt=False)
    row["is_flagged"] = "TRUE"
    Helper.insert1(row)

    assert Session().source.flagged.keys() == [{"subject": 1, "session": 1}]
    assert Session.source.status()[State.TAINTED] == 1
    result = Session.source.pull()
    assert (result.pulled, result.shared, sum(result.skipped.values())) == (0, 5, 1)
    assert "flagged" in repr(result)
    assert len(Session()) == 6
    assert (Session() & Session().source.flagged).delete(prompt=False) == 1
    assert (Helper & "session = 1").fetch1("is_deprecated") == "TRUE"
    assert (Helper & "session = 1").fetch1("process") == "NONE"
    assert Session.source.flagged.keys() == []
    assert Session.source.pull().pulled == 0
    assert Session.source.status()[State.DEPRECATED] == 1


def test_flag_by_hand_with_classes(lab: Lab) -> None:
    Unit = granted(lab, units(lab, 3))
    Unit.source.pull()
    schema: Any = lab.source.Schema(lab.helper_schema, create_schema=False, create_tables=False)
    found: dict[str, Any] = {}
    schema.make_classes(into=found)
    Helper = found["Outbound"]
    row = (Helper() & "unit = 1").fetch1()
    (Helper() & row).delete(prompt=False)
    row["is_flagged"] = "TRUE"
    Helper().insert1(row)
    (Unit() & Unit().source.flagged).delete(prompt=False)
    assert (Helper() & "unit = 1").fetch1("is_deprecated") == "TRUE"
    assert len(Unit()) == 2


def test_flag_by_update(lab: Lab) -> None:
    Session = granted(lab, sessions(lab, 30))
    Session.source.pull("session < 20")
    flag(lab, "subject = 3")
    assert Session.source.flagged.keys(order_by="KEY") == [{"subject": 3, "session": number} for number in (3, 13)]
    assert (Session.source & "session > 5").flagged.keys() == [{"subject": 3, "session": 13}]
    assert len(Session & (Session.source & "session > 5").flagged) == 1
    assert (Session & Session.source.flagged).delete(prompt=False) == 2
    assert helper_rows(lab, "subject = 3") == [("NONE", "TRUE", "TRUE")] * 2
    assert Session.source.pull().pulled == 10
    assert (Session & "subject = 3").fetch1("session") == 23


def test_nothing_flagged_selects_nothing(lab: Lab) -> None:
    """An empty answer must not turn into a deletion of everything."""
    Unit = granted(lab, units(lab, 3))
    Unit.source.pull()
    assert Unit.source.flagged.keys() == []
    assert len(Unit & Unit.source.flagged) == 0
    assert (Unit & Unit.source.flagged).delete(prompt=False) == 0
    assert len(Unit()) == 3


def test_flagged_is_a_query_at_the_source(lab: Lab) -> None:
    """Before the first pull it is empty, and nothing is created; what has been given back is in it when it is here."""
    table = units(lab, 6)
    Unit = granted(lab, table)
    before = everything(lab)
    assert len(Unit.source.flagged) == 0 and everything(lab) == before
    Unit.source.pull()
    rows = (Unit & "unit < 3").to_dicts()
    flag(lab, "unit < 4")
    flagged = Unit.source.flagged
    assert len(flagged) == 4 and (flagged & "depth > 0.2").keys(order_by="KEY") == [{"unit": 2}, {"unit": 3}]
    assert (Unit & (flagged & "unit < 3")).delete(prompt=False) == 3
    assert Unit.source.flagged.keys() == [{"unit": 3}] and len(Unit.source & Unit.source.flagged.proj()) == 1
    Unit.insert(rows[:1])  # restored
    assert Unit.source.status()[State.TAINTED] == 2
    assert (Unit & Unit.source.flagged).delete(prompt=False) == 2 and len(Unit.source.flagged) == 0


@pytest.mark.parametrize("deprecated", ["TRUE", "FALSE"])
def test_flagged_is_never_pulled(lab: Lab, deprecated: str) -> None:
    """Not even if it was flagged before anybody had pulled it."""
    Unit = granted(lab, units(lab, 3))
    Unit()
    columns = "(unit, process, is_flagged, is_deprecated)"
    helper = f"{lab.helper_schema}.{lab.helper_table}"
    lab.source_server.sql(f"INSERT INTO {helper} {columns} VALUES (1, 'NONE', 'TRUE', '{deprecated}')")
    result = Unit.source.pull()
    assert (result.pulled, sum(result.skipped.values())) == (2, 1)
    assert Unit.source.pull("unit = 1").pulled == 0
    assert helper_rows(lab, "unit = 1") == [("NONE", "TRUE", "TRUE")]
    assert Unit.source.flagged.keys() == []


def test_unflagged_before_the_deletion(lab: Lab) -> None:
    Unit = granted(lab, units(lab, 3))
    Unit.source.pull()
    flag(lab, "unit = 1")
    flag(lab, "unit = 1", "FALSE")
    assert Unit.source.flagged.keys() == []
    assert Unit.source.status()[State.SHARED] == 3
    assert Unit.source.pull().pulled == 0


def test_unflagged_after_the_deletion(lab: Lab) -> None:
    """Taking the flag back makes a deprecated row pullable again, in the restriction asked for."""
    Session = granted(lab, sessions(lab, 6))
    Session.source.pull()
    flag(lab, "session IN (1, 2, 3)")
    (Session & Session.source.flagged).delete(prompt=False)
    flag(lab, "session IN (1, 2)", "FALSE")
    assert Session.source.status()[State.VANISHED] == 2
    assert Session.source.pull("session = 0").pulled == 0
    result = Session.source.pull("session < 2")
    assert (result.pulled, result.shared, result.part_rows) == (1, 1, 2)
    assert Session.source.pull().pulled == 1
    found = states(lab, "session", "subject", "session")
    assert found.pop((3, 3)) is State.DEPRECATED
    assert set(found.values()) == {State.SHARED}
    assert len(Session.Trial()) == 10


def test_held_rows_cannot_be_deleted_at_the_source(lab: Lab) -> None:
    table = sessions(lab, 6)
    Session = granted(lab, table)
    Session.source.pull("session < 4")
    at_source = as_member(lab)
    before = everything(lab)
    with pytest.raises(dj.DataJointError):
        (at_source & "session = 1").delete(prompt=False)
    with pytest.raises(REFUSALS):
        lab.source_server.sql(f"DELETE FROM {table.full_table_name} WHERE session = 1")
    assert everything(lab) == before

    # What nobody holds, or holds no more, is the source's to delete.
    (Session & "session = 1").delete(prompt=False)
    for session in (1, 5):
        lab.source_server.sql(f"DELETE FROM {table.Trial.full_table_name} WHERE session = {session}")
        lab.source_server.sql(f"DELETE FROM {table.full_table_name} WHERE session = {session}")
    assert Session.source.status()[State.SHARED] == 3


def as_member(lab: Lab) -> Any:
    """The source table as an ordinary user of the source has it, without any right on the helper table."""
    member, password = f"{lab.prefix}_member", "secret"
    lab.source_server.create_user(member, password)
    rights = "SELECT, INSERT, UPDATE, DELETE"
    if lab.kind == "postgresql":
        lab.source_server.sql(f"GRANT USAGE ON SCHEMA {lab.source_schema} TO {member}")
        lab.source_server.sql(f"GRANT {rights} ON ALL TABLES IN SCHEMA {lab.source_schema} TO {member}")
    else:
        lab.source_server.sql(f"GRANT {rights} ON {lab.source_schema}.* TO {member}@'%'")
    instance = lab.instance(lab.source_server, member, password)
    schema: Any = instance.Schema(lab.source_schema, create_schema=False, create_tables=False)
    return schema.get_table("session")


@pytest.mark.parametrize("by_hand", [True, False])
def test_deprecated_rows_can_be_deleted_at_the_source(lab: Lab, by_hand: bool) -> None:
    table = sessions(lab, 4)
    Session = granted(lab, table)
    Session.source.pull()
    flag(lab, "session = 2")
    (Session & Session.source.flagged).delete(prompt=False)
    if by_hand:
        helper = f"{lab.helper_schema}.{lab.helper_table}"
        lab.source_server.sql(f"DELETE FROM {helper} WHERE is_deprecated = 'TRUE'")
        lab.source_server.sql(f"DELETE FROM {table.Trial.full_table_name} WHERE session = 2")
        lab.source_server.sql(f"DELETE FROM {table.full_table_name} WHERE session = 2")
    else:
        lab.source.Schema(lab.helper_schema, create_schema=False, create_tables=False)
        assert (table & "session = 2").delete(prompt=False) == 1
    assert len(table()) == 3
    assert helper_rows(lab) == [("NONE", "FALSE", "FALSE")] * 3
    assert Session.source.pull().shared == 3
    assert_same(lab, table, "trial")
