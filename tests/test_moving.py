"""A lab moves from DataJoint 0.14 to 2.x as docs/older-datajoint.md says, by the code that stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import datajoint as dj
import pytest
from lab import Lab
from people import Person

DOCUMENT = Path(__file__).parent.parent / "docs/older-datajoint.md"
NAMES = ("Subject", "Session", "Unit", "Report")
#: What 0.14 declares and fills beside what `person.py` has.
UNIT = """globals().update(Unit=schema(type("Unit", (dj.Imported,), {"definition": '''
-> Session
unit: smallint unsigned
---
waveform: longblob
identity: uuid
trace: blob@raw
'''}), context=globals()))"""
FILL = """[
    Subject.insert({"subject": f"s{n}", "name": f"name {n}"} for n in range(6)),
    Session.insert({"subject": f"s{n}", "session": n, "note": f"note {n}"} for n in range(6)),
    Session.Trial.insert(
        {"subject": f"s{n}", "session": n, "trial": trial, "score": n} for n in range(6) for trial in (0, 1)
    ),
    Report.populate("session < 4"),
    Unit.insert(
        [
            {
                **{"subject": f"s{n}", "session": n, "unit": n, "waveform": {"mean": [n]}},
                **{"identity": uuid.UUID(int=n), "trace": [n, n]},
            }
            for n in range(4)
        ],
        allow_direct_insert=True,
    ),
] and None"""
#: What goes on there after the first pull.
LATER = """[
    Subject.insert1({"subject": "new", "name": "new"}),
    Session.insert1({"subject": "new", "session": 10, "note": "new"}),
    Session.update1({"subject": "s3", "session": 3, "note": "changed"}),
    Report.populate(),
] and None"""


def steps() -> list[str]:
    """The code of the document's section, step by step."""
    section = DOCUMENT.read_text().split("## Moving a lab to DataJoint 2")[1]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def own_tables(schema: Any) -> dict[str, Any]:
    """The lab's classes of DataJoint 2."""

    class Subject(dj.Manual):
        definition = "subject: varchar(12)\n---\nname: varchar(20)"

    class Session(dj.Manual):
        definition = "-> Subject\nsession: int32\n---\nnote: varchar(20)"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32\n---\nscore: int32"

    class Unit(dj.Imported):
        definition = "-> Session\nunit: int32\n---\nwaveform: <blob>\nidentity: uuid\ntrace: <blob@ours>"

    class Report(dj.Computed):
        definition = "-> Session\n---\ntrials: int32"

        def make(self, key: Any, **_: Any) -> None:
            new: Any = self
            new.insert1({**key, "trials": 2})

    found: dict[str, Any] = {}
    for table in (Subject, Session, Unit, Report):
        found[table.__name__] = schema(table, context=found)
    return found


@pytest.fixture
def old_lab(mixed: Lab, datajoint_014: Path, tmp_path: Path) -> Iterator[Person]:
    """Somebody in the old lab, who has 0.14, and the tables filled."""
    person = Person("0.14", tmp_path)
    person.arrive(mixed, declare=True)
    store = {"protocol": "file", "location": str(tmp_path / "raw"), "stage": str(tmp_path)}
    settings = f"dj.config.update(stores={{'raw': {store}}})"
    (tmp_path / "raw").mkdir()
    for code in (settings, "globals().update(uuid=__import__('uuid'))", UNIT, FILL):
        answer = person.run(code)
        assert not answer.error, answer
    yield person
    person.leave()


@pytest.mark.parametrize("pair", [("mysql", "postgresql"), ("mariadb", "mysql")], ids="-".join, indirect=True)
def test_a_lab_moves(mixed: Lab, old_lab: Person, tmp_path: Path) -> None:
    lab = mixed
    lab.grant("subject", "session", "_unit", "__report")
    lab.grant_tracking("raw")
    for name in NAMES:
        lab._grant("ALL PRIVILEGES", lab.helper_schema, f"{name.lower()}_outbound")
    (tmp_path / "ours").mkdir()
    lab.local.config.stores = {n: {"protocol": "file", "location": str(tmp_path / n)} for n in ("raw", "ours")}
    lab.local.config.safemode = False
    options = {"connection": lab.local, "backend": "mysql", "use_tls": False}
    names: dict[str, Any] = {"OPTIONS": options}
    replaced = {
        "db.old.org": f"{lab.source_server.host}:{lab.source_server.port}",
        '"ephys_old"': f'"{lab.local_schema}"',
        '"ephys"': f'"{lab.source_schema}"',
        "link_move": lab.helper_schema,
        "(*arguments": "(*arguments, **OPTIONS",
    }

    def run(code: str) -> None:
        for text, ours in replaced.items():
            code = code.replace(text, ours)
        exec(code, names)

    linking, pulling, seeing, filling, ending = steps()
    run(linking)
    run(pulling)
    pulled = names["old"]["Unit"]
    assert pulled.source.to_dicts(order_by="KEY") == pulled.proj(..., "-trace").to_dicts(order_by="KEY")
    assert not old_lab.run(LATER).error  # the lab goes on
    with pytest.raises(AssertionError):
        run(seeing)
    run(pulling)
    run(seeing)
    schema = lab.local.Schema(f"{lab.prefix}_own")
    own = own_tables(schema)
    names.update(own)
    run(filling)
    assert [len(own[name]()) for name in NAMES] == [7, 7, 4, 7]
    assert len(own["Session"].Trial()) == 12
    assert (own["Session"] * own["Report"] & "session = 3").fetch1("note", "trials") == ("changed", 2)
    assert old_lab.run("(Session & 'session = 0').delete()").error  # it is held while the copies are there
    run(ending)
    listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    assert sorted(lab.local_server.sql(listed, lab.local_schema)) == [("~lineage",), ("~link",)]
    assert old_lab.run("(Session & 'session = 0').delete()").result == 1
    dj.gc.GarbageCollector(schema, store="ours").collect(dry_run=False)
    units = own["Unit"]().to_dicts(order_by="session")
    assert [(row["waveform"], row["trace"]) for row in units] == [({"mean": [n]}, [n, n]) for n in range(4)]
    assert [row["identity"] for row in units] == [UUID(int=n) for n in range(4)]
    own["Session"].insert1({"subject": "new", "session": 11, "note": "by the new lab"})
    assert own["Report"].populate()["success_count"] == 1
