"""Servers whose administrator lets nothing be changed for a while: what looks goes on, what would change is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import labs
import pytest
from lab import Lab
from linking import contents, declare_session, linked

from link import ReadOnlyError, State
from link.accounts import Credentials
from link.addresses import Address
from link.admin.flags import flag

ENDS = pytest.mark.parametrize("end", ["source", "local"])
VARIABLE = {
    "postgresql": "default_transaction_read_only",
    "mysql": "transaction_read_only",
    "mariadb": "tx_read_only",
}


@contextmanager
def closed(lab: Lab, end: str) -> Iterator[str]:
    """Let an end's server take no changes of the lab's account there, as a maintenance mode does; who refuses."""
    server, user = (lab.source_server, lab.link_user) if end == "source" else (lab.local_server, lab.local_user)
    name = VARIABLE[lab.kind]
    try:
        if lab.kind == "postgresql":
            server.sql(f"ALTER ROLE {user} SET {name} = on")
        else:
            said = f"SET SESSION {name} = IF(CURRENT_USER() LIKE '{user}@%%', 1, 0)"
            server.sql("SET GLOBAL init_connect = %s", said.replace("%%", "%"))
        lab.local = lab.instance(lab.local_server, lab.local_user, lab.local_password)
        yield f"{server.host}:{server.port} takes no changes of '{user}' at the moment: {name} is on"
    finally:
        if lab.kind == "postgresql":
            server.sql(f"ALTER ROLE {user} RESET {name}")
        else:
            server.sql("SET GLOBAL init_connect = ''")


def assert_refused(lab: Lab, said: str, *verbs: Callable[[], object]) -> None:
    """Each is refused, says by what, how that is seen and what to do, and changes nothing anywhere."""
    before = contents(lab)
    for verb in verbs:
        with pytest.raises(ReadOnlyError) as caught:
            verb()
        assert said in str(caught.value), caught.value
        hint = str(caught.value.hint)
        assert "read_only" in hint and "ask when that is over" in hint
    assert contents(lab) == before


@ENDS
def test_what_changes_is_refused_before_and_what_looks_goes_on(lab: Lab, end: str) -> None:
    """All that is asked of one that is closed, by sessions of now."""
    table = declare_session(lab)
    session = linked(lab)
    assert session().source.pull({"session": 1}).pulled == 1
    table.update1({"session": 1, "note": "edited"})
    with closed(lab, end) as said:
        session = linked(lab)
        source = session().source
        assert source.status()[State.SHARED] == source.status(deep=True)[State.SHARED] == 1
        assert source.verify().differing == source.refresh(dry_run=True).keys == [{"session": 1}]
        assert source.pull(dry_run=True).pulled == len(source.unshared) == 2
        assert len(source.shared) == len(session()) == 1
        assert not source.repair().actions
        assert_refused(
            lab,
            said,
            source.pull,
            lambda: source.pull(processes=2),
            source.refresh,
            lambda: source.refresh(dependents="delete", prompt=True),
            lambda: source.repair(dry_run=False),
            lambda: source.release(prompt=True),
            lambda: source.moved(prompt=False),
            lambda: session().delete(prompt=True),
            lambda: session().alter(prompt=False),
            lambda: session().drop(prompt=False),
        )
    assert source.refresh().refreshed == 1
    assert source.pull().pulled == 2
    assert session().delete(prompt=False) == 3


@ENDS
def test_the_first_use(lab: Lab, end: str) -> None:
    """Nothing is made at the other end either."""
    declare_session(lab)
    with closed(lab, end) as said:
        session = linked(lab)
        assert len(session.source) == 3
        assert_refused(lab, said, session, session.source.pull)
    assert session().source.pull().pulled == 3
    lab.source_server.sql(f"DROP TABLE {lab.helper_schema}.{lab.helper_table}")
    with closed(lab, end) as said:
        assert_refused(lab, said, linked(lab).source.pull)
    assert linked(lab)().source.pull().adopted == 3


@ENDS
def test_a_pipeline(lab: Lab, end: str) -> None:
    """`ping` tells it, and looks on; a plan counts."""
    labs.build(lab)
    ephys = f"{lab.prefix}_ephys"
    with closed(lab, end) as said:
        lab_a: Any = labs.pipeline(lab)
        plan = lab_a.plan(lab_a.source[ephys].Psth)
        assert_refused(lab, said, plan.pull)
    assert plan.pull().pulled
    with closed(lab, end) as said:
        lab_a = labs.pipeline(lab)
        ping = lab_a.ping()
        [error] = ping.errors
        assert said in str(error)
        assert [check.what for check in ping.checks if check.error] == [f"changes {'t' * (end == 'source')}here"]
        assert [check.what for check in ping.checks][-1] == "stores of columns"
        assert lab_a.plan(lab_a.source[ephys]).rows and lab_a.verify() and lab_a.status() and not lab_a.flagged
        before = lab_a.counts()
        assert_refused(
            lab,
            said,
            lambda: lab_a.pull(lab_a.source[ephys]),
            lab_a.refresh,
            lambda: lab_a.repair(dry_run=False),
            lambda: lab_a.delete_flagged(prompt=False),
            lambda: lab_a.end(prompt=True),
            lambda: lab_a.moved(prompt=False),
        )
        assert lab_a.counts() == before
    assert labs.pipeline(lab).ping()


def test_what_is_refused_on_the_way(lab: Lab) -> None:
    """The server itself refuses, whoever asks: that is told by the same words."""
    declare_session(lab)
    assert linked(lab)().source.pull().pulled == 3
    server = lab.source_server
    with closed(lab, "source"), pytest.raises(ReadOnlyError, match=r"(?i)read[- ]only") as caught:
        flag(
            Address(server.host, server.port, "postgresql" if lab.kind == "postgresql" else "mysql"),
            Credentials(lab.link_user, lab.link_password),
            f"{lab.source_schema}.Session",
            "session = 1",
            helper_schema=lab.helper_schema,
        )
    assert "ask when that is over" in str(caught.value.hint)
    assert not len(linked(lab)().source.flagged)


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_a_read_only_server(lab: Lab) -> None:
    """A replica, or one that is looked after: `read_only` holds for all but administrators."""
    declare_session(lab)
    server, name = lab.source_server, "SET GLOBAL read_only"
    said = f"{server.host}:{server.port} takes no changes of '{lab.link_user}' at the moment: read_only is on"
    session = linked(lab)
    try:
        server.sql(f"{name} = 1")
        assert_refused(lab, said, session)
        server.sql(f"{name} = 0")
        assert session().source.pull({"session": 1}).pulled == 1
        server.sql(f"{name} = 1")
        assert linked(lab).source.status()[State.UNSHARED] == 2 and session.source.verify().compared == 1
        assert_refused(lab, said, session.source.pull, lambda: session().delete(prompt=False))
    finally:
        server.sql(f"{name} = 0")
    assert session().source.pull().pulled == 2
