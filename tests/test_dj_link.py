"""The older interface, as its users know it: two schemas, `Link`, requests in part tables, `refresh`."""

from __future__ import annotations

import pytest
from lab import Lab
from older import keys, older, outbound
from pipelines import assert_same, sessions


@pytest.fixture(autouse=True)
def outbound_schema(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """``LINK_OUTBOUND`` names the lab's schema."""
    if "lab" in request.fixturenames:
        monkeypatch.setenv("LINK_OUTBOUND", request.getfixturevalue("lab").helper_schema)


def test_request_refresh_delete_approve(lab: Lab) -> None:
    """The whole way of a deletion, the source's part by plain DataJoint."""
    table = sessions(lab, 6)
    Session = older(lab, table)
    assert Session().pull().pulled == 6
    assert_same(lab, table, "trial")
    Outbound = outbound(lab, "Session")
    assert Outbound().heading.names == ["subject", "session"]
    assert keys(Outbound()) == keys(table())

    requested = [{"subject": n, "session": n} for n in (1, 4)]
    Outbound.DeletionRequested().insert(requested)
    assert len(Session().DeletionRequested()) == 0
    Session().refresh()
    assert keys(Session().DeletionRequested()) == requested
    assert Session().pull().pulled == 0

    assert (Session() & Session().DeletionRequested()).delete() == 2
    assert keys(Outbound.DeletionApproved()) == requested
    assert (Session() & "session = 5").delete() == 1
    assert len(Outbound()) == 5 and keys(Outbound.DeletionApproved()) == requested
    assert len(Session().DeletionRequested()) == 0

    result = Session().pull()
    assert (result.pulled, result.shared) == (1, 3)
    assert (table & requested).delete() == 2
    assert len(table()) == 4 and len(Outbound()) == 4
    assert Session().pull().shared == 4
