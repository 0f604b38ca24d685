"""The README's first example, line by line, with a source that has what it speaks of: each line does something."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path
from typing import Any

import datajoint as dj
import pytest
import scripts
from lab import Lab
from pipelines import count_held, declare, flag

README = Path(__file__).parents[1] / "README.md"
GIVEN = '"db.lab-a.org", "ephys", "link_lab_b", "unit_outbound", "ephys_from_a"'


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_the_first_example(lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Unit(dj.Manual):
        definition = "subject_id: int32\nunit_id: int32\n---\ndepth: float64"

        class Spike(dj.Part):
            definition = "-> master\nspike: int32"

    table = declare(lab, Unit)
    keys = [{"subject_id": subject, "unit_id": unit} for subject in (6, 7) for unit in range(5)]
    table.insert({**key, "depth": 40.0 * key["unit_id"]} for key in keys)
    table.Spike.insert({**key, "spike": 0} for key in keys)
    lab.grant(table)
    lab.local.config.safemode = True
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "yes"

    monkeypatch.setattr(builtins, "input", answer)
    [code] = re.findall(r"```python\n(from link import LinkedTable, link\n.*?)```", README.read_text(), re.DOTALL)
    head, lines = code.split("\n\n\n")[:2], code.split("\n\n\n")[2]
    names: dict[str, Any] = {"lab": lab}
    ours = f"*{scripts.names(lab)}, use_tls=False, connection=lab.local"
    assert GIVEN in code
    exec("\n".join(head).replace(GIVEN, ours), names)
    results: list[Any] = []
    for statement in ast.parse(lines).body:
        line = ast.unparse(statement)
        if "flagged" in line:
            flag(lab, "subject_id = 6")  # the source asks in between,
        if "verify" in line:
            table.update1({"subject_id": 7, "unit_id": 4, "depth": 161.0})  # and edits something
        results.append(eval(line, names))
    source, pulled, here, unshared, more, deleted, done, status, verified, refreshed, ended = results
    assert (len(source), pulled.pulled, more.pulled) == (10, 5, 2)
    assert (deleted, done) == (2, 2)
    assert status["Shared"] == 3 and (len(verified.differing), refreshed.refreshed) == (1, 1)
    assert ended is None and count_held(lab) == 2  # of what the source has flagged, until it deletes it
    assert len(asked) == 3 and "Nothing to delete." not in caplog.messages
    for query in (here, unshared):
        assert isinstance(query, dj.expression.QueryExpression)
