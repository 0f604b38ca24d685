"""The command line, run by tests: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from link import cli


@dataclass(frozen=True)
class Said:
    """What a command has said, and its exit code."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)


def shell(*words: str, env: Mapping[str, str] | None = None) -> Said:
    """Run a command in this process, with connections that are there."""
    out, err = io.StringIO(), io.StringIO()
    with _environment(env or {}), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(words)
    return Said(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def command(*words: str) -> list[str]:
    """A command for a process of its own."""
    return [sys.executable, "-m", "link", *words]


def run(*words: str, typed: str = "", cwd: Any = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, which nobody sits at."""
    environment = {**os.environ, "DJ_IGNORE_CONFIG_FILE": "true", "DJ_LOG_LEVEL": "INFO", **environment}
    return subprocess.run(
        command(*words), env=environment, cwd=cwd, input=typed, capture_output=True, text=True, timeout=120, check=False
    )
