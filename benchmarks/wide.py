"""The pipeline *wide*: many schemas of six tables each, chains and diamonds, few rows; the last table stands on all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import datajoint as dj
from fleet import TestServer
from measures import Bench, plain
from provision import KINDS, TITLES
from report import Figure
from whole import Pipelines

#: Of each table.
ROWS = 5
#: Seconds that a pull of sixty tables may take over a long wire.
SECONDS = 10.0
#: Milliseconds that a byte travels to the source, and as many back.
DELAY = 20
#: The tables of a schema, parents first: what each has beside the number of its row.
_TABLES = {
    "Root": "{below}note : varchar(20)",
    "Left": "-> {n}Root\nx : float64",
    "Right": "-> {n}Root\nx : float64",
    "Both": "-> {n}Left\n-> {n}Right\nx : float64",
    "Further": "-> {n}Both\nx : float64\nindex (x)",
    "Last": "-> {n}Further\n{all}x : float64",
}


def declare(instance: dj.Instance, schemas: Mapping[str, str]) -> str:
    """Declare and fill the pipeline in schemas of these names; the class of the last table."""
    known: dict[str, Any] = {}
    first, last = (f"{name.capitalize()}Last" for name in (next(iter(schemas)), list(schemas)[-1]))
    for own, schema in schemas.items():
        prefix = own.capitalize()
        for name, rest in _TABLES.items():
            here = f"{prefix}{name}"
            below = f"-> {first}\n" if known and name == "Root" else ""
            every = "".join(f"-> {other}\n" for other in known if other.endswith("Last") and here == last)
            columns = rest.format(n=prefix, below=below, all=every)
            definition = f"{here.lower()} : int32\n---\n{columns}"
            made = type(here, (dj.Manual,), {"definition": definition})
            table: Any = instance.Schema(schema)(made, context=dict(known))
            # Each row refers to those of its own number.
            table.insert({a: "row" if a == "note" else row for a in table.heading.names} for row in range(ROWS))
            known[here] = table
    return last


class WidePipelines(Pipelines):
    """A yard with *wide* at its source.

    Parameters
    ----------
    source, local : TestServer
        Running servers.
    schemas : int
        How many there are, of six tables each.
    """

    def __init__(self, source: TestServer, local: TestServer, schemas: int) -> None:
        super().__init__(source, local, [f"s{n}" for n in range(schemas)])
        self.last = declare(self.lab.source, self.theirs)
        self.grant()


class Wide:
    """The measures.

    Parameters
    ----------
    bench : Bench
        The servers, the sizes, and how often.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.tables = len(_TABLES) * bench.sizes.schemas

    def latency(self, kind: str) -> list[Figure]:
        """The first pull of all tables over a long wire to the source, and one that finds nothing new."""
        schemas = self.bench.sizes.schemas
        with closing(WidePipelines(*self.bench.fleet.pair(kind), schemas)) as yard, yard.relayed(DELAY) as (far, _):
            ports = far, yard.local.port
            runs = [
                {
                    "ours": yard.do("pull_wide", last=yard.last, ports=ports),
                    "again": yard.do("pull_wide", fresh=False, last=yard.last, ports=ports),
                }
                for _ in range(self.bench.sizes.runs)
            ]
        if any((run["ours"].rows, run["again"].rows) != (ROWS * self.tables, 0) for run in runs):
            raise RuntimeError(f"not {ROWS} rows of {self.tables} tables: {runs}")
        found = []
        for which, what, name in (
            ("ours", "first pull", "wide-latency"),
            ("again", "nothing new", "wide-latency-again"),
        ):
            taken = sorted(run[which].seconds for run in runs)[len(runs) // 2]
            title = f"{what} of {self.tables} tables of few rows over {2 * DELAY} ms, {TITLES[kind]}"
            found.append(Figure(f"{name}-{kind}", title, "limit", taken, SECONDS, "s", 1.0, plain(runs)))
        return found

    def measures(self) -> dict[str, Callable[[], Figure | list[Figure]]]:
        """Every measure by its name."""
        return {f"wide-latency-{kind}": partial(self.latency, kind) for kind in KINDS}
