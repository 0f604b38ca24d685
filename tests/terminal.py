"""What a terminal shows of a program that runs in it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

COLUMNS, LINES = 100, 50


class Screen:
    """The lines of a terminal, as far as progress bars move in it, and whatever has been on it."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = self.column = 0
        self.seen: list[list[str]] = []

    def show(self, text: str) -> None:
        """Print what a program writes."""
        for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            if piece == "\r":
                self.column = 0
            elif piece == "\n":
                self._move(1)
            elif piece == "\x1b[A":
                self._move(-1)
            elif piece[0] != "\x1b":
                self._write(piece)
            self.seen.append([line.rstrip() for line in self.lines if line.strip()])

    @property
    def shown(self) -> list[str]:
        """What is left on it."""
        return [line.rstrip() for line in self.lines if line.strip()]

    def _move(self, rows: int) -> None:
        self.row += rows
        self.column = 0 if rows > 0 else self.column
        assert self.row >= 0
        self.lines += [""] * (self.row + 1 - len(self.lines))

    def _write(self, text: str) -> None:
        line = self.lines[self.row].ljust(self.column)
        assert self.column + len(text) <= COLUMNS, text
        self.lines[self.row] = line[: self.column] + text + line[self.column + len(text) :]
        self.column += len(text)


def run(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Screen:
    """Run a program in a terminal, to its end, and look at it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    written = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=folder) as process:
        os.close(theirs)
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # the end, on Linux
                break
            if not block:
                break
            written += block
    os.close(ours)
    screen = Screen()
    screen.show(written.decode().replace("\r\n", "\n"))
    assert process.returncode == 0, screen.lines
    return screen
