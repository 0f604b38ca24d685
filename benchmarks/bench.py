"""Measure the package beside its peers: `make bench`, or `python benchmarks/bench.py --quick --only full-mysql`.

Servers are started for the purpose, two of each kind, on loopback. Everything is measured against its peer in the
same run, alternating, and the medians are printed and saved as JSON, Markdown, PNG and SVG.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

# Before DataJoint is imported: the measures are not to depend on this machine's settings.
for _name in [name for name in os.environ if name.startswith(("DJ_", "LINK_USER", "LINK_PASS"))]:
    del os.environ[_name]
os.environ |= {"DJ_IGNORE_CONFIG_FILE": "true", "DJ_LOG_LEVEL": "ERROR"}
warnings.filterwarnings("ignore", "MariaDB is not officially supported")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import psutil  # noqa: E402
from fleet import Fleet  # noqa: E402
from measures import QUICK, Bench, Sizes  # noqa: E402
from provision import UnavailableError  # noqa: E402
from report import Figure, save  # noqa: E402
from whole import Whole  # noqa: E402
from wide import Wide  # noqa: E402
from yard import MissingPeerError, versions  # noqa: E402

RESULTS = Path(__file__).parent / "results"
QUICK_RESULTS = Path(__file__).parents[1] / ".cache/bench"


def main(arguments: Sequence[str] | None = None, fleet: Fleet | None = None) -> list[Figure]:
    """Measure what the arguments ask for."""
    options = _options(arguments)
    fleet, own = (fleet, False) if fleet else (Fleet(hurried=False), True)
    sizes = QUICK if options.quick else Sizes()
    bench = Bench(fleet, dataclasses.replace(sizes, runs=options.runs or sizes.runs))
    try:
        figures = _measure(bench, options.only)
        about = {"versions": versions(fleet), "machine": _machine(), "date": time.strftime("%Y-%m-%d")}
    finally:
        if own:
            fleet.close()
    folder = options.out or (QUICK_RESULTS if options.quick else RESULTS)
    save(folder, figures, about)
    _say(f"saved in {folder}")
    return figures


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, one run: whether it works, not how fast")
    parser.add_argument("--only", metavar="NAME", nargs="+", help="the measures whose names begin so, e.g. full-mysql")
    parser.add_argument("--runs", type=int, help="how often each measure is taken; the median counts")
    parser.add_argument("--out", type=Path, help="the folder for the results")
    return parser.parse_args(arguments)


def _measure(bench: Bench, only: Sequence[str] | None) -> list[Figure]:
    found: list[Figure] = []
    for name, measure in (bench.measures() | Whole(bench).measures() | Wide(bench).measures()).items():
        if only and not name.startswith(tuple(only)):
            continue
        try:
            taken = measure()
        except (UnavailableError, MissingPeerError) as reason:
            _say(f"{name}: skipped: {reason}")
            continue
        for figure in taken if isinstance(taken, list) else [taken]:
            found.append(figure)
            _say(figure.line())
    return found


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} processors, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
