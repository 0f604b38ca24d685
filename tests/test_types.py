"""What editors and type checkers see: pyright and mypy take every Python snippet of the documents, and find mistakes.

A snippet that is a fragment is checked behind those lines of :data:`PREAMBLE` that make the names which it uses.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: What a fragment may take for granted, by name.
PREAMBLE = {
    "dj": "import datajoint as dj",
    "link": "from link import link",
    "LinkedTable": "from link import LinkedTable",
    "Pipeline": "from link import Pipeline",
    **{
        name: f'@link("db.lab-a.org", "ephys", "link_lab_b", "{name}Outbound", "ours")\nclass {name}(LinkedTable): ...'
        for name in ("Unit", "Session", "Subject", "Recording", "Report")
    },
    # Tables of one's own, as DataJoint has them: without types.
    "Psth": 'Psth = dj.VirtualModule("ours", "our_analysis").Psth',
    "MySelection": 'MySelection = dj.VirtualModule("mine", "our_selections").MySelection',
    "lab_a": 'lab_a = Pipeline("db.lab-a.org", {"ephys": "a_ephys"}, "link_lab_b")',
    "plan": "plan = lab_a.plan(lab_a.source.ephys.Unit)",
    "result": "result = Unit.source.refresh()",
    "schema": 'schema = dj.Schema("our_analysis")',
    "source": 'source = dj.VirtualModule("source", "source_schema")',
    "key": 'key = {"unit_id": 1}',
    "NAMES": 'NAMES = ["Subject"]',
    "old": "old = {name: Unit for name in NAMES}",
}

#: A line of DataJoint's own that its base classes do not agree with.
DATAJOINTS = 'definition = """'
#: Programs for the older interface: what its decorator makes of a class mypy cannot see.
OLDER = "dj_link"

#: What is known of a linked class, with and without its base in the body, and of a pipeline.
FACTS = '''
from typing import Any

from typing_extensions import assert_type

import link
from link import LinkedTable, Pipeline, PipelineResult, Plan, PullResult, Source, Status, load
from link.view import SourcePart


@link.link("db.lab-a.org", "ephys", "link_lab_b", "unit_outbound", "ephys_from_a")
class Unit(LinkedTable):
    """The units of lab A."""

    def few(self) -> "Unit":
        return self & "unit_id < 3"


assert_type(Unit.source, Source)
assert_type(Unit().source & "depth > 3", Source)
assert_type((Unit.source & "depth > 3").pull(max_calls=3), PullResult)
assert_type(Unit.source.pull().pulled, int)
assert_type(Unit.source.status(), Status)
assert_type(Unit.source.unshared & "depth > 3", Source)
assert_type(Unit.source.Spike, SourcePart)
assert_type((Unit.source.Spike & "spike = 1").pull(), PullResult)
assert_type(Unit.source.pull().to_dict(), dict[str, Any])
assert_type(Unit & "unit_id = 1", Unit)
assert_type((Unit & "unit_id = 1").few(), Unit)
assert_type((Unit - {"unit_id": 1}).delete(prompt=False), int)
assert_type(Unit.delete(), int)
assert_type(Unit.Spike, Any)
assert_type(Unit.primary_key, list[str])
assert_type(Unit.to_dicts(), list[dict[str, Any]])
Unit.Spike & "spike = 1"
Unit.insert1({"unit_id": 1})
len(Unit())
for row in Unit():
    print(row)

lab_a = Pipeline("db.lab-a.org", {"ephys": "a_ephys"}, "link_lab_b")
assert_type(lab_a.plan(lab_a.source.ephys.Unit & "unit_id = 1"), Plan)
assert_type(lab_a.plan().pull(), PipelineResult)
assert_type(lab_a.ephys.Unit, type[LinkedTable])
assert_type((lab_a.ephys.Unit & "unit_id = 1").delete(), int)
assert_type(load().ephys, Pipeline)
assert_type(load()["odd name"].status().tables, dict[str, Status])
'''

#: Only who applies the decorators of classes knows these: pyright does, mypy does not.
DECORATED = '''
from typing import Any

from typing_extensions import assert_type

from link import LinkedTable, PullResult, Source, link


@link("db.lab-a.org", "ephys", "link_lab_b", "unit_outbound", "ephys_from_a")
class Unit:
    """The units of lab A."""


assert_type(Unit, type[LinkedTable])
assert_type(Unit() & "unit_id = 1", LinkedTable)
assert_type((Unit.source & "unit_id = 1").pull(), PullResult)
assert_type(Unit.Spike, Any)
Unit.source.pul()  # wrong
'''

#: Every line that is marked is wrong, and no other.
MISTAKES = """
from link import LinkedTable, Pipeline, link


@link("db.lab-a.org", "ephys", "link_lab_b", "unit_outbound", "ephys_from_a")
class Unit(LinkedTable): ...


@link("db.lab-a.org", "ephys", "link_lab_b", "unit_outbound")  # wrong
class Short(LinkedTable): ...


@link("db.lab-a.org", "ephys", "link_lab_b", "unit_outbound", "ephys_from_a", conflict="keep")  # wrong
class Misspelt(LinkedTable): ...


Unit().pull()  # wrong
Unit.source.pul()  # wrong
Unit.source.pull(max_call=3)  # wrong
Unit.source.pull(conflicts="replaced")  # wrong
Unit.source.pull().puled  # wrong
Unit.source.verify(sample="all")  # wrong
Unit.source.repair(vanished="forget")  # wrong
Unit.source.status().counts  # wrong
(Unit.source & "unit_id = 1").refresh(dependents=True)  # wrong
Unit.delete(prompt="yes")  # wrong
(Unit & "unit_id = 1").delete(prompt="yes")  # wrong
lab_a = Pipeline("db.lab-a.org", {"ephys": "a_ephys"})  # wrong
lab_a.pull(max_rows="many")  # wrong
lab_a.plan().pul()  # wrong
lab_a.status().table  # wrong
"""


def marked(text: str) -> set[int]:
    """The lines of a text that are marked as wrong."""
    return {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}


def snippets() -> dict[str, str]:
    """Each Python snippet of the documents behind what it takes for granted, by a name for its file."""
    found = {}
    for document in DOCUMENTS:
        blocks = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
        for number, block in enumerate(blocks, 1):
            found[f"{document.stem.lower().replace('-', '_')}_{number}"] = "\n".join([*granted(block), block])
    return found


def granted(block: str) -> list[str]:
    """The lines that make what a snippet uses and does not make."""
    tree = ast.parse(block)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    made = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(vars(builtins))
    made |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    made |= {node.asname or node.name for node in ast.walk(tree) if isinstance(node, ast.alias)}
    made |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    wanted = [name for name in PREAMBLE if name in {node.id for node in names} - made]
    lines = [PREAMBLE[name] for name in wanted]
    return [*granted_first(lines, {*made, *wanted}), *lines]


def granted_first(lines: list[str], made: set[str]) -> list[str]:
    """The lines that make what other lines of the preamble use."""
    used = {node.id for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Name)}
    more = [name for name in PREAMBLE if name in used - made]
    first = [PREAMBLE[name] for name in more]
    return [*granted_first(first, {*made, *more}), *first] if more else []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that is checked, a file each."""
    folder = tmp_path_factory.mktemp("typed")
    for name, text in {**snippets(), "facts": FACTS, "decorated": DECORATED, "mistakes": MISTAKES}.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def checked(command: list[str], folder: Path) -> str:
    """What a checker says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode in (0, 1), run.stderr or run.stdout
    return run.stdout


@pytest.fixture(scope="module")
def pyright(written: Path) -> dict[str, dict[int, str]]:
    """The errors that pyright finds, by file and line."""
    (written / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "standard"}))
    script = str(Path(sys.executable).with_name("basedpyright"))
    told = json.loads(checked([script, "--outputjson", "--pythonpath", sys.executable, "."], written))
    assert told["summary"]["filesAnalyzed"] == len(list(written.glob("*.py")))
    found: dict[str, dict[int, str]] = {}
    for each in told["generalDiagnostics"]:
        if each["severity"] == "error":
            line = each["range"]["start"]["line"] + 1
            found.setdefault(Path(each["file"]).stem, {})[line] = each["message"]
    return found


@pytest.fixture(scope="module")
def mypy(written: Path) -> dict[str, dict[int, str]]:
    """The errors that mypy finds, by file and line."""
    (written / "mypy.ini").write_text("[mypy]\nfollow_untyped_imports = True\n")
    files = [each.name for each in sorted(written.glob("*.py")) if not each.stem.startswith(("decorated", OLDER))]
    cache = ROOT / ".mypy_cache" / f"snippets-{os.environ.get('PYTEST_XDIST_WORKER', '')}"  # no two write into one
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", str(cache)]
    found: dict[str, dict[int, str]] = {}
    for line in checked([*command, *files], written).splitlines():
        if told := re.match(r"(\w+)\.py:(\d+): error: (.*)", line):
            found.setdefault(told[1], {})[int(told[2])] = told[3]
    return found


def told(errors: dict[str, dict[int, str]], written: Path) -> list[str]:
    """Errors, each with its line."""
    return [
        f"{name}:{line}: {message}\n{text}"
        for name, lines in errors.items()
        if name in snippets() or name == "facts"
        for line, message in lines.items()
        if DATAJOINTS not in (text := (written / f"{name}.py").read_text().splitlines()[line - 1])
    ]


def test_pyright_takes_what_the_documents_say(pyright: dict[str, dict[int, str]], written: Path) -> None:
    assert len(snippets()) > 30
    assert not told(pyright, written), "\n".join(told(pyright, written))


def test_mypy_takes_what_the_documents_say(mypy: dict[str, dict[int, str]], written: Path) -> None:
    assert not told(mypy, written), "\n".join(told(mypy, written))


def test_pyright_finds_every_mistake(pyright: dict[str, dict[int, str]]) -> None:
    """Also of a class without the base in its body."""
    assert set(pyright["mistakes"]) == marked(MISTAKES)
    assert set(pyright["decorated"]) == marked(DECORATED)


def test_mypy_finds_every_mistake(mypy: dict[str, dict[int, str]]) -> None:
    assert set(mypy["mistakes"]) == marked(MISTAKES)
