"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from people import SAID, SHOWN

import dj_link
import link
from link.model.states import TABLE, TRANSITIONS, Transition
from link.servers import mysql_types, postgresql_types

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def state_table() -> list[str]:
    """The state table of docs/states.md, as the code has it."""

    def word(value: bool | str | None, none: str) -> str:
        return {True: "yes", False: "no", None: none}.get(value, str(value))  # type: ignore[arg-type]

    rows = []
    for rule in TABLE:
        none = "any" if rule.outbound else "-"
        cells = [
            *(word(rule.source, none), word(rule.outbound, none), word(rule.process, none), word(rule.flagged, none)),
            *(word(rule.local, none), f"**{rule.state.value}**", rule.next),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def transition_row(transition: Transition) -> str:
    """A line of the table of transitions, as the code has it."""
    guard = ", ".join(f"{column} = {' or '.join(values)}" for column, values in transition.when.items())
    effect = (
        "the row is removed"
        if transition.then is None
        else ", ".join(f"{column} = {value}" for column, value in transition.then.items())
    )
    return f"| {transition.edge} | {guard} | {effect} |"


def test_the_state_table_is_that_of_the_code() -> None:
    text = (ROOT / "docs/states.md").read_text()
    section = text.split("## The table")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith(("| yes", "| no"))] == state_table()


def test_the_transitions_are_those_of_the_code() -> None:
    text = (ROOT / "docs/states.md").read_text()
    section = text.split("## The transitions")[1]
    rows = [re.sub(r" \| [^|]* \|$", " |", line) for line in section.splitlines() if re.match(r"\| [a-z] \|", line)]
    assert rows == [transition_row(transition) for transition in TRANSITIONS]


def test_every_edge_is_in_the_diagram() -> None:
    diagram = (ROOT / "docs/states.md").read_text().split("```mermaid")[1].split("```")[0]
    edges = set(re.findall(r": ([a-z])\b", diagram))
    assert {transition.edge for transition in TRANSITIONS} <= edges


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "docs/tutorial.ipynb"], ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("backend", ["mysql", "postgresql"])
def test_the_grants_that_are_shown_are_those_that_are_printed(backend: str) -> None:
    quote = "`" if backend == "mysql" else '"'
    texts = "".join((ROOT / name).read_text() for name in ("README.md", "docs/setup.md"))
    blocks = re.findall(r"```sql\n(.*?)```", texts, re.DOTALL)
    block = next(block for block in blocks if f"{quote}ephys{quote}" in block)
    shown = [line.split("  --")[0] for line in block.splitlines()]
    assert shown == printed_grants(backend)


def printed_grants(backend: str) -> list[str]:
    """What ``datajoint-link grants`` prints for the example of the documents, without its comments."""
    options = {"schema": "ephys", "table": "Unit", "part": "Unit.Spike", "helper-schema": "link_lab_b"}
    command = [str(Path(sys.executable).parent / "datajoint-link"), "grants", "--backend", backend]
    command += [word for name, value in options.items() for word in (f"--{name}", value)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return [line for line in run.stdout.splitlines() if not line.startswith("--")]


def test_the_messages_that_people_are_told_of_are_those_that_were_heard() -> None:
    text = (ROOT / "docs/held-rows.md").read_text()
    quoted = "".join(re.findall(r"```text\n(.*?)```", text, re.DOTALL)).splitlines()
    assert sorted(quoted) == sorted(filter(None, [*SAID.values(), *SHOWN.values()]))


def test_the_types_are_those_of_the_code() -> None:
    text = (ROOT / "docs/types.md").read_text()
    to_postgresql = re.findall(r"^\| `([^|]+)` \| `([^|`]+)` \|$", text, re.MULTILINE)
    to_mysql = re.findall(r"^\| `([^|]+)` \| `([^|`]+)` \| (?:`([^|`]+)`|refused) \|$", text, re.MULTILINE)
    assert len(to_postgresql) > 20
    assert len(to_mysql) > 15
    for there, here in to_postgresql:
        kind = mysql_types.kind_of(there, "", mariadb=False)
        assert kind
        assert here == ("enum" if kind.name == "enum" else postgresql_types.declare(kind)), there
    for there, here, in_key in to_mysql:
        kind = postgresql_types.kind_of(there, ())
        assert kind
        assert (mysql_types.declare(kind, False), mysql_types.declare(kind, True)) == (here, in_key or None), there


def test_what_was_measured_is_shown() -> None:
    measured = (ROOT / "benchmarks/results/bench.md").read_text().strip()
    assert measured in (ROOT / "docs/performance.md").read_text()


def test_the_page_on_what_is_public_lists_the_public_names() -> None:
    names = (ROOT / "docs/public.md").read_text().split("## Names")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", names, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(link.__all__)
    [older] = re.findall(r"^`from dj_link import ...`: (.*) \(", names, re.MULTILINE)
    assert re.findall(r"`(\w+)`", older) == dj_link.__all__
