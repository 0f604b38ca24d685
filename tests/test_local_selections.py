"""What is selected on one server restricts queries on the other: its keys travel, exactly, and as one list."""

from __future__ import annotations

from typing import Any

import datajoint as dj
import pandas as pd
import pytest
from lab import Lab
from linking import contents
from pipelines import everything, granted, sessions, units
from pulling import Checked
from pulling import grant as grant_schemas

from link import ConfigError, ConflictError, travelling


def numbers(query: Any, name: str = "unit") -> list[int]:
    return sorted(int(n) for n in query.to_arrays(name))


def mine(lab: Lab, definition: str, rows: Any, **context: Any) -> Any:
    """A table of the lab's own, beside the linked ones."""
    schema = lab.local.Schema(lab.local_schema)
    table: Any = schema(type("Mine", (dj.Manual,), {"definition": definition}), context=context)
    table.insert(dict(zip(table.heading.names, row, strict=True)) for row in rows)
    return table


def test_of_ones_own_tables(lab: Lab) -> None:
    """Restricted by, and by what is not in it; in a list, negated, joined; and nothing is changed by it."""
    Unit = granted(lab, units(lab, 20))
    Unit.source.pull("unit < 5")
    Mine = mine(lab, "-> Unit\n---\nok: int8", [(n, n % 2) for n in range(5)], Unit=Unit)
    before = everything(lab)
    source = Unit.source
    assert numbers(source & Mine) == numbers(source & Mine()) == [0, 1, 2, 3, 4]
    assert numbers(source & (Mine & "ok = 1")) == [1, 3] and numbers((source & "unit < 4") - (Mine & "ok = 1")) == [
        0,
        2,
    ]
    assert numbers(source - Mine) == list(range(5, 20))
    assert numbers(source & [Mine & "ok = 1", "unit > 18"]) == [1, 3, 19]
    assert numbers(source & dj.AndList([Mine & "ok = 1", "unit > 2"])) == [3]
    assert numbers(source & dj.Not([Mine & "ok = 1", "unit > 3"])) == [0, 2]
    assert numbers(source & (Mine & "ok = 7")) == [] and len(source - (Mine & "ok = 7")) == 20
    assert numbers(source & (Mine & dj.Top(2))) == [0, 1] and numbers(source & Mine.proj(x="ok + 1")) == [0, 1, 2, 3, 4]
    assert (
        numbers(source & Unit.proj().aggr(Mine, n="count(*)", exclude_nonmatching=True))
        == numbers(source & (dj.U("unit") & Mine))
        == [0, 1, 2, 3, 4]
    )
    assert numbers(source.proj(other="unit") & Mine.proj(other="unit"), "other") == [0, 1, 2, 3, 4]
    # And the other way.
    assert numbers(Unit & (source & "unit < 2")) == [0, 1] and numbers(Unit() - (source & "unit < 3")) == [3, 4]
    assert numbers(Unit & source) == [0, 1, 2, 3, 4]
    assert everything(lab) == before
    # Pulled by; read when the query is made.
    chosen = source - (Mine & "ok = 1")
    Mine.delete_quick()
    assert len(chosen) == 18 and len(source & Mine) == 0
    assert Unit.source.pull(Mine).pulled == 0 and (chosen & "unit > 17").pull().pulled == 2


def test_the_linked_table_itself(lab: Lab) -> None:
    """By the keys that are here, whoever has brought them, and whatever else was edited."""
    Unit = granted(lab, units(lab, 20))
    assert len(Unit.source - Unit) == 20 and len(Unit.source & Unit()) == 0
    Unit.source.pull("unit < 5")
    Unit.update1({"unit": 2, "depth": -1.0})
    Unit.insert1({"unit": 7, "depth": 0.0})  # by hand
    assert numbers(Unit.source & Unit) == [0, 1, 2, 3, 4, 7]
    assert numbers((Unit.source & "unit < 9") - Unit()) == [5, 6, 8]
    assert numbers(Unit.source - (Unit & "depth < 0")) == [0, 1, *range(3, 20)]
    assert numbers(Unit & Unit.source.unshared) == [7] and numbers(Unit - Unit.source.shared.proj()) == [7]


@pytest.mark.usefixtures("few")
def test_many_keys_of_the_linked_table_itself(lab: Lab) -> None:
    """More than travel: the helper table tells them, with what it does not know; never something else than is here."""
    Unit = granted(lab, units(lab, 80))
    Unit.source.pull("unit < 60")
    assert numbers(Unit.source - Unit) == list(range(60, 80)) and len(Unit.source & Unit()) == 60
    assert (
        numbers((Unit.source & "unit > 57") & Unit) == [58, 59] and (Unit.source - Unit).pull(max_calls=1).pulled == 1
    )
    # By hand here: new, gone, the lab's own; and what a run has in hand.
    Unit.insert({"unit": n, "depth": 0.0} for n in (70, 71, 500, 501))
    lost = Unit & "unit < 3"
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.unit WHERE unit < 3")
    lab.source_server.sql(f"UPDATE {lab.helper_schema}.{lab.helper_table} SET process = 'PULL' WHERE unit IN (3, 79)")
    assert len(lost) == 0
    missing = [0, 1, 2, *range(61, 70), *range(72, 80)]
    assert numbers(Unit.source - Unit) == numbers(Unit.source - Unit()) == missing
    assert numbers(Unit.source & dj.Not(dj.Not(Unit))) == sorted({*range(80)} - {*missing})
    assert numbers(Unit.source & [Unit & "unit < 9"]) == list(range(3, 9))
    # Inside a transaction of the user's nobody else sees what is here.
    with Unit.connection.transaction, pytest.raises(ConfigError, match="more than 20 keys"):
        _ = Unit.source - Unit


def test_what_differs_is_a_query(lab: Lab) -> None:
    """By whole entities: of a part it is their rows."""
    Session = granted(lab, sessions(lab, 8))
    Session.source.pull("session < 6")
    assert len(Session.source.differing()) == len(Session.source.Trial.differing()) == 0
    lab.source_server.sql(f"UPDATE {lab.source_schema}.session__trial SET score = 9 WHERE session = 4 AND trial = 1")
    lab.local_server.sql(*(f"DELETE FROM {lab.local_schema}.{name} WHERE session = 1" for name in ("session__trial",)))
    assert numbers(Session.source.differing(), "session") == [1, 4]
    assert numbers(Session.source.Trial.differing(), "session") == [1, 1, 4, 4]
    assert numbers((Session.source & "session > 1").differing(), "session") == [4]
    assert Session.source.refresh(Session.source.differing()).refreshed == 2
    assert len(Session.source.differing()) == 0
    assert numbers(Session.source - Session.source.shared, "session") == [6, 7]


def test_a_table_with_parts(lab: Lab) -> None:
    Session = granted(lab, sessions(lab, 10))
    Session.source.pull("session < 4")
    own = Session.Trial & "trial = 1 AND session < 2"
    assert numbers(Session.source & own, "session") == [0, 1]
    assert len(Session.source.Trial & own) == 2 and len(Session.source.Trial & (Session & "session = 3")) == 2
    assert len(Session.Trial & (Session.source & "session = 3")) == 2
    assert (Session.source.Trial & own).pull().shared == 2


def test_what_does_not_match_is_refused(lab: Lab) -> None:
    Unit = granted(lab, units(lab, 5))
    Unit.source.pull()
    other = mine(lab, "unit: int32\n---\ndepth=null: float64", [(1, 2.0)])
    told = r"not the same attribute(?s:.*)proj\(\.\.\., other_name='unit'\)(?s:.*)semantic_check"
    with pytest.raises(ConfigError, match=told):
        _ = Unit.source & other
    assert numbers(Unit.source.restrict(other.proj(), semantic_check=False)) == [1]
    with pytest.raises(ConfigError, match="no attribute in common"):
        _ = Unit.source & other.proj(x="unit").proj(y="depth")
    with pytest.raises(ConfigError, match="is computed by the query"):
        _ = Unit.source.restrict(Unit.proj(depth="unit + 1"), semantic_check=False)
    with pytest.raises(ConfigError, match=r"cannot be combined(?s:.*)with & or -: its keys travel"):
        _ = Unit.source * Unit()


@pytest.mark.usefixtures("few")
def test_pulls_take_more_than_queries(lab: Lab) -> None:
    """In batches, without overlap; a limit goes for all of them."""
    Unit = granted(lab, units(lab, 60))
    Unit.source.pull()
    Mine = mine(lab, "-> Unit\n---\nok: int8", [(n, n % 2) for n in range(60)], Unit=Unit)
    keys = Mine.keys()
    with pytest.raises(ConfigError, match=r"with more than 20 keys(?s:.*)Unit\.source\.pull\(selection\) takes any"):
        _ = Unit.source & Mine
    with pytest.raises(ConfigError, match=r"A list with 60 keys"):
        _ = Unit.source & keys
    assert len(Unit & keys) == len(Unit & Unit.source) == 60
    Unit.source.release(prompt=False)
    assert Unit.source.pull(Mine & "ok = 1", max_calls=25, dry_run=True).adopted == 30
    result = Unit.source.pull(Mine & "ok = 1")
    assert result.adopted == 30 and result.shared == 0 and len(Unit.source.shared) == 30
    (Unit - Mine.proj()).delete(prompt=False)
    result = Unit.source.pull(keys, "unit < 50")
    assert (result.adopted, result.shared) == (25, 25)
    assert Unit.source.pull(pd.DataFrame(keys)).shared == 55
    # An error comes before anything is held, whichever batch it is in.
    Unit.source.release(prompt=False)
    Unit.update1({"unit": 58, "depth": -1.0})
    with pytest.raises(ConflictError, match=r"'unit': 58(?s:.*)Nothing was pulled or held"):
        Unit.source.pull(keys, conflicts="raise")
    assert len(Unit.source.unshared) == 60
    assert Unit.source.pull(keys, max_calls=30).adopted == 30


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small bounds."""
    monkeypatch.setattr("link.selections.Selecting.most_keys", (20, 10_000, 1))
    monkeypatch.setattr(travelling, "FEW", 10)


def test_of_a_pipeline(lab: Lab) -> None:
    """A query on the lab's own tables restricts what is planned and pulled; so do attributes of foreign keys."""
    sessions(lab, 12)
    grant_schemas(lab, [lab.source_schema])
    lab_a, name = Checked(lab, [lab.source_schema]).pipeline, lab.source_schema
    there = lab_a.source[name].Session
    lab_a.pull(there & "session < 4")
    here: Any = lab_a[name].Session
    mine = here & "session < 2"
    own: Any = lab.local.Schema(f"{lab.prefix}_own")(
        type("Chosen", (dj.Manual,), {"definition": "-> Session\n-> Session.Trial\n---\nok: int8"}),
        context={"Session": here},
    )
    with lab.local.connection.transaction:  # the lab's own work sees what it has just done
        own.insert({**key, "ok": key["session"]} for key in (here.Trial & "trial = 1").keys())  # noqa: SIM118
        assert len(there & (own & "ok > 1")) == len(there.Trial & (own & "ok > 1")) == 2
    assert len(there - own) == 8 and lab_a.plan(there & own).tables[0].entities == 4
    before = contents(lab)
    assert lab_a.plan(there & mine).tables[0].entities == 2 and lab_a.plan(there - mine).tables[0].new == 8
    assert len(there.Trial & (here.Trial & "trial = 1")) == 4 and len(there - here) == 8
    assert len(here & there.unshared) == 0 and len(here - (there & "session < 3")) == 1
    assert contents(lab) == before
    assert lab_a.pull(there - here, max_calls=3).tables[f"{name}.Session"].pulled == 3
    assert here.source.pull(here & "session = 1").shared == 1


@pytest.mark.usefixtures("few")
def test_a_first_pull_of_a_pipeline_by_any_number_of_keys(lab: Lab) -> None:
    """In batches, each pulled by itself; a conflict in any of them comes before anything is held."""
    sessions(lab, 50)
    grant_schemas(lab, [lab.source_schema])
    lab_a, name = Checked(lab, [lab.source_schema]).pipeline, lab.source_schema
    there = lab_a.source[name].Session
    some = [dict(key) for key in there.keys()][:45]  # noqa: SIM118
    with pytest.raises(ConfigError, match=r"A list with 45 keys(?s:.*)among=selection\)"):
        lab_a.pull(there & some)
    assert lab_a.pull(there, among=some, max_calls=25).pulled == 25
    result = lab_a.pull(there & "subject >= 0", among=some)
    assert (result.pulled, result.shared, result.tables[f"{name}.Session"].pulled) == (20, 25, 20)
    here: Any = lab_a[name].Session
    assert len(here & some) == 45 == len(here())
    assert lab_a.pull(there, among=here & "subject >= 0").shared == 45

    lab_a.end(prompt=False)
    here.update1({**some[-1], "note": "mine"})
    with pytest.raises(ConflictError, match="Nothing was pulled"):
        lab_a.pull(there, among=some)
    assert len(there.shared) == 0
    with pytest.raises(ConfigError, match="among= restricts queries on tables"):
        lab_a.pull(lab_a.source[name], among=some)
    with pytest.raises(ConfigError, match="max_rows= and max_bytes= are for what is pulled at once"):
        lab_a.pull(there, among=some, max_rows=1)
    assert lab_a.pull(there, among=there & "subject < 0").total == 0

    class Remark(dj.Manual):
        definition = "-> Session"

    remarks: Any = lab.local.Schema(f"{lab.prefix}_remarks", context={"Session": here})(Remark)
    remarks.insert(some[-2:])
    result = lab_a.pull(there, among=some, conflicts="replace")
    assert len(result.replaced) == 1 and len(result.dependents) == 1
    assert len(remarks & result.dependents[remarks]) == 1
    assert len(result.tables[f"{name}.Session"].dependents[remarks]) == 1
