"""Figures as text, JSON, Markdown and a plot: each beside its peer and its bar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Figure:
    """One measured figure. Smaller is better, always.

    Attributes
    ----------
    name : str
        What ``--only`` calls it.
    measure, peer_is : str
        What was measured, and what it is held against.
    ours, peer : float
        Medians of the runs, in ``unit``.
    bar : float
        The largest ratio of the two that is good enough.
    runs : list of dict
        Every single run.
    """

    name: str
    measure: str
    peer_is: str
    ours: float
    peer: float
    unit: str
    bar: float
    runs: list[dict[str, Any]] = field(default_factory=list)
    rows: str = ""

    @property
    def ratio(self) -> float:
        """Ours in peers."""
        return self.ours / self.peer

    @property
    def met(self) -> bool:
        """Whether the bar is met."""
        return self.ratio <= self.bar

    def line(self) -> str:
        """For the terminal."""
        verdict = "met" if self.met else "MISSED"
        return (
            f"{self.name:<24} {_number(self.ours):>8} {self.unit:<6} {self.peer_is}: {_number(self.peer)} {self.unit}, "
            f"ratio {self.ratio:.2f} (at most {self.bar:.3g}): {verdict}"
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def save(folder: Path, figures: Sequence[Figure], about: dict[str, Any]) -> list[Figure]:
    """Write all files; figures of earlier runs that were not measured again are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "bench.json"
    known = {f["name"]: Figure(**f) for f in json.loads(file.read_text())["figures"]} if file.exists() else {}
    merged = list((known | {figure.name: figure for figure in figures}).values())
    content = {"about": about, "figures": [asdict(figure) for figure in merged]}
    file.write_text(json.dumps(content, indent=1) + "\n")
    (folder / "bench.md").write_text(markdown(merged, about))
    plot(folder, merged)
    return merged


def markdown(figures: Sequence[Figure], about: dict[str, Any]) -> str:
    """The table for docs/performance.md."""
    lines = ["| measure | here | held against | ratio | bar | |", "|---|---:|---:|---:|---:|---|"]
    for figure in figures:
        here, peer = (f"{_number(value)} {figure.unit}" for value in (figure.ours, figure.peer))
        cells = [figure.measure, here, f"{figure.peer_is}: {peer}", f"{figure.ratio:.2f}", f"{figure.bar:.3g}"]
        lines.append(f"| {' | '.join(cells)} | {'met' if figure.met else 'missed'} |")
    servers = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return "\n".join([*lines, "", f"{servers}; {about['machine']}; {about['date']}.", ""])


def plot(folder: Path, figures: Sequence[Figure]) -> None:
    """Ours as a bar, the peer as the line at 1, what is good enough as a tick."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    chart, axes = plt.subplots(figsize=(11, 0.42 * len(figures) + 1.6))
    for place, figure in enumerate(figures):
        axes.barh(place, figure.ratio, height=0.6, color="#3b7dd8" if figure.met else "#d8593b")
        axes.plot([figure.bar] * 2, [place - 0.42, place + 0.42], color="black", linewidth=2)
        words = f"{_number(figure.ours)} {figure.unit}; {figure.peer_is}: {_number(figure.peer)} {figure.unit}"
        axes.text(max(figure.ratio, figure.bar, 1) * 1.06, place, words, va="center", fontsize=8)
    axes.axvline(1, color="grey", linestyle=":")
    axes.set_yticks(range(len(figures)), [figure.measure for figure in figures], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(right=12)
    axes.invert_yaxis()
    axes.set_xlabel("in units of what it is held against (dotted line); the black tick is the bar")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for ending in ("png", "svg"):
        chart.savefig(folder / f"bench.{ending}", dpi=150, bbox_inches="tight", metadata=_NO_DATE.get(ending))
    plt.close(chart)


_NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}}
