"""What operations return: the same facts as text, as HTML and as plain values, and sums that add up."""

from __future__ import annotations

import datetime
import decimal
import html
import json
import os
import pickle
import re
import uuid
from pathlib import Path
from typing import Any

import datajoint as dj
import pulling
import pytest
from children import CHILDREN, accounts
from lab import Lab
from pipelines import flag, granted, linked, sessions, units
from recorder import Statement

from link import LinkError, Pipeline, State, TransferError, link
from link.model.results import PullResult, RefreshResult
from link.work.following import Following
from link.work.tally import Tally

ROOT = Path(__file__).parent.parent


def documented(title: str) -> set[str]:
    """The fields that docs/results.md tells of."""
    section = (ROOT / "docs/results.md").read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}


def words(text: str) -> set[str]:
    """The words and numbers of a text or of HTML, but for the unit of what is told without its name."""
    unescaped = html.unescape(re.sub(r"<[^>]+>", " ", text))
    return set(re.findall(r"[\w'.,-]*\w", unescaped)) - {"s"}


def assert_shown(result: Any, title: str, *more: str) -> dict[str, Any]:
    """A result is documented and plain, and its HTML says what its text says; its dict."""
    told: dict[str, Any] = result.to_dict()
    assert set(told) == documented(title).union(more)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    shown = result._repr_html_()
    assert words(repr(result)) <= words(shown), (repr(result), shown)
    return told


def test_what_a_table_returns(lab: Lab) -> None:
    Session = granted(lab, sessions(lab, 8))
    assert assert_shown(Session.source.pull(dry_run=True), "`pull()`")["pulled"] == 8
    told = assert_shown(Session.source.pull("session < 6"), "`pull()`")
    assert (told["pulled"], told["part_rows"], told["total"]) == (6, 12, 6)
    assert told["seconds"] > 0 and told["errors"] == [] and told["dry_run"] is False
    flag(lab, "session = 5")
    told = assert_shown(Session.source.pull(max_calls=0), "`pull()`")
    assert told["skipped"] == {"flagged for deletion by the source": 1} and told["total"] == 6
    Session.update1({"subject": 1, "session": 1, "note": "<b>mine</b>"})
    (Session.Trial & "session = 2 AND trial = 0").delete_quick()
    told = assert_shown(Session.source.verify(), "`verify()`")
    keys = [{"subject": n, "session": n} for n in (1, 2)]
    assert (told["equal"], told["compared"], told["differing"]) == (False, 5, keys)
    told = assert_shown(Session.source.refresh(dry_run=True), "`refresh()`")
    assert (told["refreshed"], told["keys"], told["edited_here"], told["dependents"]) == (2, keys, keys[:1], {})
    told = assert_shown(Session.source.refresh(), "`refresh()`")
    assert (told["refreshed"], told["equal"], told["total"]) == (2, 3, 6)
    assert told["skipped"] == {"flagged for deletion by the source": 1}
    for table in ("session__trial", "session"):
        lab.local_server.sql(f"DELETE FROM {lab.local_schema}.{table} WHERE session = 3")
    told = assert_shown(Session.source.status(), "`status()`")
    found = {"Unshared": 2, "Shared": 4, "Tainted": 1, "Vanished": 1}
    assert told["states"] == {state.value: 0 for state in State} | found
    times = [told["since"][name] for name in ("first_pulled", "last_refreshed", "flagged")]
    assert all(datetime.datetime.fromisoformat(time).utcoffset() == datetime.timedelta() for time in times)
    for shown in (repr(Session.source.status()), Session.source.status()._repr_html_()):
        assert "Vanished" in shown and "Deprecated" not in shown and "flagged since" in shown
    told = assert_shown(Session.source.repair(), "`repair()`")
    assert told["actions"]["Vanished"]["entities"] == 1 and told["before"]["states"]["Shared"] == 4
    assert_shown(Session.source.repair(dry_run=False), "`repair()`")
    told = assert_shown(Session.source.repair(), "`repair()`")
    assert told["actions"] == {}


def test_what_a_pipeline_returns(lab: Lab) -> None:
    """The same, with each table's beside the sums."""

    class Animal(dj.Manual):
        definition = "animal: int32\n---\nweight=null: float64"

    class Visit(dj.Manual):
        definition = "-> Animal\nvisit: int32\n---\nnote='': varchar(20)"

    rows: dict[str, Any] = {"Animal": [(n, None) for n in range(3)], "Visit": [(n % 3, n, "") for n in range(6)]}
    schema = pulling.declare(lab, {"zoo": (Animal, Visit)}, rows)["zoo"]
    pulling.grant(lab, [schema])
    zoo = pulling.Checked(lab, [schema]).pipeline
    visits = zoo.source[schema].Visit & "visit < 4"
    plan = zoo.plan(visits)
    told = assert_shown(plan, "`plan()`")
    animal, visit = f"{schema}.Animal", f"{schema}.Visit"
    assert (told["new"], list(told["tables"])) == (7, [animal, visit])
    assert set(told["tables"][visit]) == documented("A table of a plan")
    told = assert_shown(plan.pull(), "`pull()`", "tables")
    assert (told["pulled"], told["tables"][animal]["pulled"]) == (7, 3)
    visit_table = zoo[schema].Visit
    visit_table.update1({"animal": 1, "visit": 1, "note": "<i>here</i>"})
    told = assert_shown(zoo.verify(), "`verify()`", "tables")
    assert told["tables"][visit]["differing"] == told["differing"] == [{"animal": 1, "visit": 1}]
    told = assert_shown(zoo.refresh(), "`refresh()`", "tables", "pulled")
    assert told["tables"][visit]["refreshed"] == told["refreshed"] == 1 and told["pulled"]["pulled"] == 0
    lab.source_server.sql(f"UPDATE {lab.helper_schema}.{schema}_animal_outbound SET is_flagged = 'TRUE'")
    told = assert_shown(zoo.status(), "`status()`", "tables")
    assert told["states"]["Tainted"] == told["tables"][animal]["states"]["Tainted"] == 3
    told = assert_shown(zoo.flagged, "`flagged` of a pipeline")
    assert told["keys"] == {animal: [{"animal": n} for n in range(3)]}
    [(_, dependents)] = told["dependents"].items()
    assert dependents == {"tier": "manual", "rows": 4}
    assert_shown(zoo.repair(), "`repair()`", "tables")


def test_values_that_json_has_not() -> None:
    day = datetime.date(2026, 1, 2)
    key = {
        "day": day,
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
        "clock": -datetime.timedelta(hours=30, seconds=1, microseconds=5),
        "noon": datetime.time(12),
        "id": uuid.UUID(int=1),
        "price": decimal.Decimal("1.50"),
        "hash": b"\x00\xff",
        "ratio": float("nan"),
        "n": 7,
    }
    error = TransferError("It went wrong.", "Do this.")
    result = PullResult(differing=[key], errors=[(key, error), ({"n": 1}, ValueError("odd"))])
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told["differing"] == [
        {
            "day": "2026-01-02",
            "at": "2026-01-02T03:04:05.000006",
            "clock": "-30:00:01.000005",
            "noon": "12:00:00",
            "id": "00000000-0000-0000-0000-000000000001",
            "price": "1.50",
            "hash": "00ff",
            "ratio": "nan",
            "n": 7,
        }
    ]
    assert told["errors"][0] == {
        "key": told["differing"][0],
        "type": "TransferError",
        "what": "It went wrong.",
        "hint": "Do this.",
    }
    assert told["errors"][1] == {"key": {"n": 1}, "type": "ValueError", "what": "odd", "hint": None}
    assert told["total"] == 3


def test_dependents_that_are_not_here() -> None:
    """A result that has travelled to another process is plain all the same."""
    result = pickle.loads(pickle.dumps(RefreshResult(refreshed=1)))
    with pytest.raises(LinkError):
        list(result.dependents)
    assert result.to_dict()["dependents"] is None


def pull_elsewhere(names: tuple[str, ...], local: tuple[Any, ...], given: dict[str, str], told: Any) -> None:
    """Pull all of a table in a process of its own, and tell what came of it."""
    os.environ.update(given)
    address, port, user, password, backend = local
    here = dj.Instance(address, user, password, port=port, use_tls=False, backend=backend, safemode=False)
    Unit: Any = link(*names, connection=here, use_tls=False)(type("Unit", (), {}))
    told.send(Unit.source.pull())


@pytest.mark.parametrize("options", [{}, {"processes": 2}], ids=["alone", "workers"])
def test_sums_of_two_pulls_at_once(lab: Lab, options: dict[str, Any]) -> None:
    """Whatever one of them takes in hand is counted by the other: all that was selected is accounted for."""
    number = 30_000
    Unit = granted(lab, units(lab, number))
    Unit()
    names = (
        f"{lab.source_server.host}:{lab.source_server.port}",
        *(lab.source_schema, lab.helper_schema, lab.helper_table, lab.local_schema),
    )
    server = lab.local_server
    local = (server.host, server.port, lab.local_user, lab.local_password, server.backend)
    mine, theirs = CHILDREN.Pipe(duplex=False)
    child = CHILDREN.Process(target=pull_elsewhere, args=(names, local, accounts(), theirs))
    child.start()
    while not lab.source_server.sql(f"SELECT 1 FROM {lab.helper_schema}.{lab.helper_table} LIMIT 1"):
        assert child.is_alive()
    result = Unit.source.pull(**options)
    other = mine.recv()
    child.join()
    assert result.total == other.total == number, (result, other)
    assert result.pulled + other.pulled == number == len(Unit())
    assert Unit.source.pull().total == number
    half = Unit.source.pull(f"unit < {number // 2}")
    assert (half.shared, half.total) == (number // 2, number // 2)


def test_what_an_interrupted_pull_says(lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Ctrl-C between a commit here and its being counted: what was moved is told, and nothing is left in hand."""
    Unit = granted(lab, units(lab, 3000))
    count = Tally.count

    def interrupted(tally: Tally, loaded: Any) -> int:
        if tally.result.pulled:
            raise KeyboardInterrupt
        return count(tally, loaded)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Tally, "count", interrupted)
        Unit.source.pull()
    status = Unit.source.status()
    here = len(Unit())
    assert here > 64 and f"interrupted after {here} entities" in caplog.text
    assert status.to_dict()["states"] == {state.value: 0 for state in State} | {"Shared": here, "Unshared": 3000 - here}
    result = Unit.source.pull()
    assert (result.pulled, result.shared, result.total) == (3000 - here, here, 3000)


def test_what_an_interrupted_pull_of_a_pipeline_says(lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """The same of several tables."""

    class Animal(dj.Manual):
        definition = "animal: int32"

    class Visit(dj.Manual):
        definition = "visit: int32\n---\n-> Animal"

    rows: dict[str, Any] = {"Animal": [(n,) for n in range(5)], "Visit": [(n, n % 5) for n in range(300)]}
    schema = pulling.declare(lab, {"zoo": (Animal, Visit)}, rows)["zoo"]
    pulling.grant(lab, [schema])
    zoo = pulling.Checked(lab, [schema]).pipeline
    visits = zoo.source[schema].Visit
    assert zoo.pull(visits & "visit < 3").pulled == 6
    count = Tally.count

    def interrupted(tally: Tally, loaded: Any) -> int:
        if loaded[0] > 2:
            raise KeyboardInterrupt
        return count(tally, loaded)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Tally, "count", interrupted)
        zoo.pull(visits)
    new = len(zoo[schema].Animal()) + len(zoo[schema].Visit()) - 6
    assert new > 2 and f"interrupted after {new} entities" in caplog.text
    assert zoo.status()[State.RECEIVED_PULL] == zoo.status()[State.ACTIVATED_PULL] == 0
    assert zoo.pull(visits).pulled == 299 - new and zoo.verify()


def captions(query: Any) -> str:
    """The caption of a preview, which is the same as text and in HTML."""
    caption, _, preview = repr(query).partition("\n")
    assert preview.startswith("*") and query.preview(limit=1).startswith(caption)
    html_caption, _, table = query._repr_html_().partition("</p>")
    assert html.unescape(html_caption) == f"<p>{caption}" and "<table" in table
    return caption


def test_previews_say_what_they_show(lab: Lab, monkeypatch: pytest.MonkeyPatch, statements: list[Statement]) -> None:
    """Which server, which schema, source or local, and how many of the source's are shared, where it is soon told."""
    table = sessions(lab, 6)
    lab.grant(table)
    Session = linked(lab, table)
    there = f"{lab.source_server.host}:{lab.source_server.port}"
    source = f"Source: {lab.source_schema}.Session at {there}."
    assert captions(Session.source) == captions(linked(lab, table).source & "session < 2") == source
    Session.source.pull("session < 4")
    for again in (Session, linked(lab, table)):  # one that has been opened, and one that has not
        assert captions(again.source) == f"{source} 4 of these are shared."
        assert captions(again.source & "session > 2") == f"{source} 1 of these is shared."
        assert captions(again.source.proj()) == f"{source} 4 of these are shared."
        assert captions(again.source.unshared) == f"{source} 0 of these are shared."
        part = source.replace("Session at", "Session.Trial at")
        assert captions(again.source.Trial & "session > 2") == f"{part} 2 of these are shared."
    assert captions(Session.source.proj(note="note") & dj.Top(3)).startswith(source)
    statements.clear()
    captions(Session.source)
    assert len(statements) <= 3 * 3  # DataJoint's two and one of ours, for each of three previews
    monkeypatch.setattr("link.sharing.MOST_COUNTED", 3)
    monkeypatch.setattr("link.sharing.MOST_LOOKED_UP", 3)
    assert captions(Session.source) == f"{source} More than 3 of these are shared."
    assert captions(Session.source & "session < 5") == source
    assert captions(Session.source & "session = 5") == f"{source} 0 of these are shared."
    here = f"{lab.local_server.host}:{lab.local_server.port}, linked to {lab.source_schema}.Session"
    assert captions(Session()) == captions(Session & "session = 1")
    assert captions(Session()) == f"Local: {lab.local_schema}.session at {here} at {there}."
    assert captions(Session.Trial()) == f"Local: {lab.local_schema}.session__trial at {here}.Trial at {there}."


def test_previews_of_a_pipeline_say_what_they_show(lab: Lab) -> None:
    class Animal(dj.Lookup):
        definition = "animal: int32"

    schema = pulling.declare(lab, {"zoo": (Animal,)}, {"Animal": [(n,) for n in range(3)]})["zoo"]
    pulling.grant(lab, [schema])
    zoo = pulling.Checked(lab, [schema]).pipeline
    there = f"{lab.source_server.host}:{lab.source_server.port}"
    source = f"Source: {schema}.Animal at {there}."
    assert captions(zoo.source[schema].Animal()) == source
    zoo.pull(zoo.source[schema].Animal & "animal = 1")
    again = pulling.Checked(lab, [schema]).pipeline
    for each in (zoo, again):
        assert captions(each.source[schema].Animal()) == f"{source} 1 of these is shared."
        assert captions(each[schema].Animal()).startswith(f"Local: {schema}_here.#animal at ")


def test_sums_of_two_pulls_of_a_pipeline_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another one takes between the count of what is held and the first claim is accounted for."""

    class Animal(dj.Manual):
        definition = "animal: int32"

    class Visit(dj.Manual):
        definition = "visit: int32\n---\n-> Animal"

    rows: dict[str, Any] = {"Animal": [(n,) for n in range(5)], "Visit": [(n, n % 5) for n in range(20)]}
    schema = pulling.declare(lab, {"zoo": (Animal, Visit)}, rows)["zoo"]
    pulling.grant(lab, [schema])
    zoo = pulling.Checked(lab, [schema]).pipeline
    visits = zoo.source[schema].Visit
    assert zoo.pull(visits & "visit < 3").pulled == 6
    here = lab.instance(lab.local_server, lab.local_user, lab.local_password)
    options: dict[str, Any] = {"connection": here, "backend": lab.source_server.backend, "use_tls": False}
    there = f"{lab.source_server.host}:{lab.source_server.port}"
    other = Pipeline(there, {schema: f"{schema}_here"}, lab.helper_schema, **options)
    hold, taken = Following.hold, list[int]()

    def hold_later(self: Following, *, fresh: bool) -> None:
        if fresh and not taken:
            taken.append(0)
            taken.append(other.pull(other.source[schema].Visit & "visit < 12").pulled)
        hold(self, fresh=fresh)

    monkeypatch.setattr(Following, "hold", hold_later)
    told = zoo.pull(visits & "visit < 18").to_dict()["tables"][f"{schema}.Visit"]
    assert taken == [0, 9 + 2]  # with the animals that nobody had
    assert (told["pulled"], told["shared"], told["skipped"]) == (6, 3, {"in other hands": 9})
    assert told["total"] == len(zoo[schema].Visit()) == 18 and zoo.verify()
