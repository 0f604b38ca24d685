"""The tutorial's notebook, run from its first cell to its last in a kernel: it shows what it says that it shows.

`LINK_GOLDEN=write pytest tests/test_notebook.py` writes its outputs anew, without the paths and times of a machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

nbclient: Any = pytest.importorskip("nbclient")
nbformat: Any = pytest.importorskip("nbformat")

NOTEBOOK = Path(__file__).parents[1] / "docs/tutorial.ipynb"
#: What differs from run to run, and what is written for it.
VARYING = [
    (r"[\w./-]+/two-labs-\w+", "/tmp/two-labs"),
    (r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] ?", ""),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC( to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC)?", "2026-11-28 12:00:00 UTC"),
    (r"\b\d+\.\d s\b", "0.1 s"),
    (r"\[\d\d:\d\d<[^\]]*?(?:s/)?( entities|it)(?:/s)?\]", r"[00:00<00:00, 100\1/s]"),
    # Of what is drawn over and over the last is what a reader sees.
    (r"[^\n]*\r(?!\n)", ""),
]
#: What is shown as it was, and may be another: sizes are guessed by statistics, and DataJoint has releases.
FREE = r"\d+ (bytes|kB)|DataJoint [\d.]+"


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder for temporary files, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="nb-"))
    yield folder
    shutil.rmtree(folder)


def executed(folder: Path) -> Any:
    """The notebook with the outputs that it has now; a cell that fails is an error."""
    notebook = nbformat.read(NOTEBOOK, 4)
    resources = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(notebook, timeout=120, record_timing=False, resources=resources)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DJ_", "LINK_", "PG"))}
    client.execute(env=environ | {"DJ_IGNORE_CONFIG_FILE": "true", "TMPDIR": str(folder)})
    return notebook


def steady(notebook: Any) -> Any:
    """A notebook as it is kept: each stream in one piece, and nothing of the machine on which it ran."""
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            outputs: list[Any] = []
            for output in cell.outputs:
                if outputs and output.output_type == "stream" and outputs[-1].get("name") == output.name:
                    outputs[-1].text += output.text
                else:
                    outputs.append(output)
            cell.outputs = outputs
            for output in outputs:
                if "text" in output:
                    output.text = steadied(output.text)
                for kind, text in output.get("data", {}).items():
                    output.data[kind] = steadied(text)
    return notebook


def steadied(text: str) -> str:
    for pattern, kept in VARYING:
        text = re.sub(pattern, kept, text)
    return text


def shown(notebook: Any) -> list[tuple[str, list[str]]]:
    """What each cell of code shows."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = [[out.get("text") or json.dumps(out.data, sort_keys=True) for out in cell.outputs] for cell in cells]
    return [
        (cell.source, [re.sub(FREE, "...", text) for text in said]) for cell, said in zip(cells, texts, strict=True)
    ]


def test_the_tutorial_shows_what_it_says(place: Path) -> None:
    ran = steady(executed(place))
    if os.environ.get("LINK_GOLDEN") == "write":
        nbformat.write(ran, NOTEBOOK)
    assert shown(ran) == shown(nbformat.read(NOTEBOOK, 4)), "If this is what is meant: LINK_GOLDEN=write, and read it."
    assert not list(place.glob("two-labs-*"))


#: A person's cells: her own functions on the way, and a server that is not there.
WRONG = [
    "from link import Pipeline\n"
    "lab_a = Pipeline('mysql://127.0.0.1:1', {'ephys': 'a_ephys'}, 'link_lab_b', connection=None)\n"
    "def mine():\n    lab_a.pull(lab_a.source.ephys.Unit, conflicts='x')",
    "mine()",
    "import logging; logging.getLogger('datajoint').setLevel('DEBUG')",
    "mine()",
]


def test_an_error_is_told_in_few_lines(place: Path) -> None:
    """The caller's lines, what happened, and what to do; with DataJoint's level at DEBUG all of it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in WRONG])
    client = nbclient.NotebookClient(notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": place}})
    accounts = {"LINK_USER": "me", "LINK_PASS": "s3cret"}
    client.execute(env=os.environ | accounts | {"DJ_IGNORE_CONFIG_FILE": "true", "DJ_LOG_LEVEL": "INFO"})
    few, everything = (
        re.sub(r"\x1b\[[\d;]*m", "", "\n".join(out.traceback))
        for number in (1, 3)
        for out in notebook.cells[number].outputs
        if out.output_type == "error"
    )
    called, said = few.splitlines()[:-2], few.splitlines()[-2:]
    assert len(called) <= 6 and any("in mine" in line for line in called), few
    assert said[0].startswith("UnreachableError: Cannot connect to the source server 127.0.0.1:1 as 'me'"), few
    assert said[1].startswith("  → Check host, port and backend"), few
    assert everything.splitlines()[-1].startswith("  → Check host") and "theirs.py" in everything
    assert "s3cret" not in few + everything
