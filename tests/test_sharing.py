"""What is not here yet: queries at the source that tell it, by the helper table; and parts before a pull."""

from __future__ import annotations

import pickle
from typing import Any

import datajoint as dj
import pytest
from lab import Lab
from linking import contents
from pipelines import everything, granted, sessions, units
from pulling import Checked
from pulling import grant as grant_schemas

from link import ConfigError, LinkError, State


def numbers(query: Any, name: str = "unit") -> list[int]:
    return sorted(int(n) for n in query.to_arrays(name))


def ask(lab: Lab, table: Any, **said: str) -> None:
    """Let helper rows say something, as a hand or a run that is alive would."""
    key, value = next(iter(said.items()))
    quote = '"' if lab.kind == "postgresql" else "`"
    name = f"{quote}{lab.helper_schema}{quote}.{quote}{lab.helper_table}{quote}"
    lab.source_server.sql(f"UPDATE {name} SET {key} = %s WHERE {table}", value)


def test_what_is_shared_is_a_query(lab: Lab) -> None:
    """Restricted, previewed, joined, limited, counted and pulled; before the first pull nothing is created for it."""
    table = units(lab, 20)
    Unit = granted(lab, table)
    before = contents(lab)
    assert len(Unit.source.unshared) == 20 and len(Unit.source.shared) == 0
    assert len((Unit.source & "unit < 5").unshared) == 5
    assert contents(lab) == before

    assert (Unit.source.unshared & "unit < 5").pull().pulled == 5
    assert (Unit().source & {"unit": 7}).pull().pulled == 1
    assert numbers(Unit.source.shared) == [0, 1, 2, 3, 4, 7]
    assert numbers(Unit.source.unshared & "unit < 10") == [5, 6, 8, 9]
    assert numbers((Unit.source & "unit < 10").unshared.proj(half="unit / 2")) == [5, 6, 8, 9]
    assert numbers((Unit.source & "unit < 10").proj(half="unit / 2").unshared) == [5, 6, 8, 9]
    assert numbers((Unit.source & dj.Top(8)).unshared) == [5, 6] and numbers(Unit.source.unshared & dj.Top(2)) == [5, 6]
    assert numbers(Unit.source & Unit.source.shared.proj()) == numbers(Unit.source - Unit.source.unshared.proj())
    assert "Total: 6" in repr(Unit.source.shared)
    with pytest.raises(ConfigError, match=r"without its primary key \(unit\)"):
        _ = (Unit.source.proj("depth", other="unit") & dj.Top(2)).unshared

    # What the source wants deleted is neither, nor what a run has in hand.
    ask(lab, "unit = 3", is_flagged="TRUE")
    ask(lab, "unit = 4", process="PULL")
    assert numbers(Unit.source.shared) == [0, 1, 2, 7] and not {3, 4} & {*numbers(Unit.source.unshared)}
    assert Unit.source.unshared.pull(max_calls=2).pulled == 2
    assert Unit.source.unshared.pull().pulled == len(Unit.source) - 8 and len(Unit.source.unshared) == 0
    assert Unit.source.status()[State.UNSHARED] == 0


def test_what_is_no_table_says_what_can_be_pulled(lab: Lab) -> None:
    """To Python no such attribute; and what has the table's key under other names selects no rows of it."""
    Session = granted(lab, sessions(lab, 6))
    source, trials = Session.source, Session.source.Trial
    one = r"made of Session\.source, (?s:.*)Write \(Session\.source & query\.proj\(\)\)\."
    both = r"made of Session\.source and Session\.source\.Trial, (?s:.*)Write \(Session\.source & query\.proj\(\)\)\."
    for query, match in (
        (source * trials.proj(), both),
        (source.aggr(trials.proj(), n="COUNT(trial)") & "n > 1", both),
        (source.proj() + source.proj(), one),
        (source.proj(next="session + 1") & "next > 2", one),
        (pickle.loads(pickle.dumps(source * trials.proj())), both),
    ):
        assert not hasattr(query, "pull") and not hasattr(query, "unheard_of")
        for name in ("pull", "status", "unshared"):
            with pytest.raises(AttributeError, match=match + name) as caught:
                getattr(query, name)
            assert isinstance(caught.value, LinkError)
        assert (Session.source & query.proj()).pull(dry_run=True).pulled > 0

    swapped = (source & "subject = 1").proj(subject="session", session="subject")
    for renamed in (
        swapped,
        source.proj(other="subject"),
        trials.proj(session="trial", trial="session"),
        dj.U("subject") & source,
    ):
        with pytest.raises(ConfigError, match=r"calls its key something else \(\w+ as \w+|each once, and not its rows"):
            renamed.pull()
    source.pull()
    with pytest.raises(ConfigError, match=r"something else \(subject as session, session as subject\)"):
        (Session & "subject = 1").proj(subject="session", session="subject").delete(prompt=False)
    assert len(Session()) == 6


def test_of_the_older_layout(lab: Lab) -> None:
    """Flags stand in part tables of its helper table."""
    lab.older = True
    Session = granted(lab, sessions(lab, 6))
    assert len(Session.source.unshared) == 6 and len(Session.source.shared) == 0
    (Session.source & "session < 3").pull()
    assert numbers(Session.source.shared, "session") == [0, 1, 2]
    assert (Session.source.unshared & "session < 5").pull().pulled == 2
    assert numbers(Session.source.unshared, "session") == numbers(Session.source - Session(), "session") == [5]
    assert len(Session & Session.source.shared) == 5 and len(Session.source.flagged) == 0


def test_parts_before_a_pull(lab: Lab) -> None:
    """Their rows are looked at; a pull of some brings the entities that they belong to."""
    Session = granted(lab, sessions(lab, 10))
    Trial: Any = Session.source.Trial
    before = everything(lab)
    assert len(Trial) == 20 and Trial.heading.names[:3] == ["subject", "session", "trial"]
    assert len(Trial & (Session.source & "subject < 5")) == 10 and len(Trial.unshared) == 20
    assert len(Session.source * Trial.proj()) == 20 and len(Session.source & (Trial & "trial = 1")) == 10
    assert "Trial" in dir(Session.source)
    with pytest.raises(AttributeError, match=r"no part table 'Trail'(?s:.*)Did you mean 'Trial'"):
        _ = Session.source.Trail
    with pytest.raises(AttributeError, match=r"Session\.source\.Trial & query"):
        _ = (Session.source & "subject = 1").Trial
    with pytest.raises(LinkError, match="read-only"):
        Trial.insert1({})
    with pytest.raises(ConfigError, match="trail has no attribute"):
        Trial.pull({"trail": 1})
    assert everything(lab) == before
    assert (Trial & "session < 2").pull("trial = 1").pulled == 2
    assert len(Session.Trial()) == 4 and len(Session.Trial.source) == len(Session.Trial().source) == 20
    assert len(Trial.shared) == 4 and len(Session.Trial.source.unshared) == 16
    assert (Trial.unshared & dj.Top(3)).pull(dry_run=True).pulled == 2


def test_of_a_pipeline(lab: Lab) -> None:
    """By class, by instance, restricted; parts too."""
    sessions(lab, 10)
    grant_schemas(lab, [lab.source_schema])
    checked = Checked(lab, [lab.source_schema])
    lab_a, name = checked.pipeline, lab.source_schema
    there = lab_a.source[name]
    before = contents(lab)
    assert len(there.Session.unshared) == 10 and len(there.Session().shared) == 0
    assert contents(lab) == before
    lab_a.pull(there.Session & "session < 4")
    assert numbers(there.Session.shared, "session") == [0, 1, 2, 3]
    assert numbers((there.Session & "session < 6").unshared, "session") == [4, 5]
    assert len(there.Session.Trial.shared) == 8
    assert sum(one.pulled for one in lab_a.pull(there.Session.unshared & "session < 6").tables.values()) == 2
    here = lab_a[name].Session
    assert len(here.source.unshared) == 4 and here.source.unshared.pull().pulled == 4
    assert lab_a.plan(there.Session.unshared).tables[0].new == 0


def test_who_asks_the_wrong_table_is_told(lab: Lab) -> None:
    Unit = granted(lab, units(lab, 3))
    for asked in (Unit, Unit(), Unit & "unit = 1"):
        with pytest.raises(AttributeError, match=r"no attribute 'pull': it is the source's, Unit\.source\.pull"):
            asked.pull("unit = 1")
    with pytest.raises(AttributeError, match=r"no attribute 'unheard_of'$"):
        _ = Unit().unheard_of
    with pytest.raises(TypeError, match=r"pull\(\) calls it max_calls=, not limit=\."):
        Unit.source.pull(limit=3)
    assert Unit.source.pull(max_calls=2).pulled == 2
    assert (Unit.source & dj.Top(3)).pull().pulled == 1
