"""The demo as its users run it: in a process of its own, to the end or interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from link import demo, demo_steps
from link.errors import ConfigError

psutil: Any = pytest.importorskip("psutil")  # comes with the server's wheel


DOCUMENTS: Any = Draft202012Validator(json.loads((Path(__file__).parents[1] / "docs/cli.schema.json").read_text()))


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder for temporary files, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="demo-"))
    yield folder
    shutil.rmtree(folder)


def start(place: Path, *before: str, **options: Any) -> subprocess.Popen[str]:
    # Settings that would make the demo fail if it used them.
    hostile = {"DJ_BACKEND": "mysql", "DJ_PORT": "1", "DJ_DATABASE_NAME": "none", "PGPORT": "1", "LINK_USER": "x"}
    return subprocess.Popen(
        [sys.executable, "-m", "link", *before, "demo"],
        env={**os.environ, **hostile, "TMPDIR": str(place)},
        text=True,
        **options,
    )


def leftovers(place: Path) -> list[str]:
    """Return the files in `place` and the processes that work there, once those that are ending have ended."""
    deadline = time.monotonic() + 30
    while True:
        processes = psutil.process_iter(["cmdline", "status"])
        running = [" ".join(p.info["cmdline"] or []) for p in processes if p.info["status"] != psutil.STATUS_ZOMBIE]
        found = [*map(str, place.iterdir()), *(line for line in running if str(place) in line)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def test_the_demo_runs_and_leaves_nothing_behind(place: Path) -> None:
    """Where stdout is for a document, all that it shows goes to stderr."""
    with start(place, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        document, output = process.communicate(timeout=120)
    assert process.returncode == 0, output
    DOCUMENTS.validate(json.loads(document))
    assert json.loads(document)["verb"] == "demo"
    assert leftovers(place) == []
    lines = output.splitlines()
    assert (
        sum(line.startswith("[") for line in lines) == len(demo_steps.STEPS) + 2
    )  # and the lists of flagged keys, of parents
    for expected in (
        "(20, 1797, 200)",
        'GRANT SELECT, REFERENCES ON "grasshopper"."recording__spike" TO "djlink"',
        "[{'experiment': 1, 'second': 2}]",
        "(19, 19)",
        "'TRUE'",
        "  6 tables, 24 new entities, 953 rows, 11 kB; 0 are shared already",
        "(20, 10)",
        "24",
    ):
        assert expected in lines
    assert "pulled 10, already shared 10" in output
    assert 'Delete blocked by table "recording_outbound"' in output
    assert "100%" in output  # the progress bar
    assert lines[-1].startswith("Done in ")


@pytest.mark.parametrize("line", ["Starting two", "[7/"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(place: Path, number: signal.Signals, line: str) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    with start(place, **pipes) as process:
        assert process.stdout is not None
        assert any(read.startswith(line) for read in process.stdout)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: to all its processes
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert f"Stopped by {number.name}." in errors
    assert "Traceback" not in errors
    assert leftovers(place) == []


@pytest.mark.parametrize("step", demo_steps.STEPS, ids=lambda step: step.what[:20])
def test_the_code_shown_is_the_code_that_runs(step: demo_steps.Step, capsys: pytest.CaptureFixture[str]) -> None:
    code = textwrap.dedent(step.code).strip()
    for source, _ in demo._statements(code):
        demo._show(source)
    assert [line[4:] for line in capsys.readouterr().out.splitlines()] == code.splitlines()


def test_a_step_that_should_fail_and_does_not_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="was to fail"):
        demo._run(demo_steps.Step(demo_steps.LAB_A, "nothing", "None", fails=True), {})
    with pytest.raises(ZeroDivisionError):
        demo._run(demo_steps.Step(demo_steps.LAB_A, "nothing", "1 / 0"), {})


def test_the_data() -> None:
    data = demo.load(demo._data_folder())
    assert len(data.recordings) == 20
    assert {row["cutoff_hz"] for row in data.recordings} == {200, 800}
    assert data.spikes[0] == {"experiment": 1, "second": 0, "spike": 0, "time_us": 6700}
    assert all(row["time_us"] // 1_000_000 == row["second"] for row in data.spikes)
    sound = np.concatenate([row["amplitude"] for row in data.stimuli])
    assert sound.shape == (400_000,)
    assert sound[0] == 0.242911


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"nitime.*\n.*datajoint-link\[demo\]"):
        demo.demo()
