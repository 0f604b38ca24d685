"""The measures: each compares a pull, or what belongs to it, with a peer in the same run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial

import tables
from fleet import Fleet
from legacy_tables import create
from provision import KINDS, TITLES
from report import Figure
from shelf import Drawers, Shelf
from yard import Sample, Yard


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    small: int = 300_000
    by_datajoint: int = 30_000
    large: int = 200
    large_bytes: int = 10_000_000
    shared: int = 1_000_000
    few: int = 100_000
    many: int = 3_000_000
    small_files: int = 5_000
    large_files: int = 20
    stored: int = 3_000
    runs: int = 3
    more: int = 3  # times as many, for what is nearly alike
    subjects: int = 1_000  # of a pipeline
    schemas: int = 10  # of another one


QUICK = Sizes(3_000, 1_000, 10, 1_000_000, 5_000, 2_000, 20_000, 50, 2, 50, 1, 1, 10, 2)
Runs = list[dict[str, Sample]]


class Bench:
    """The servers, and the measures taken on them.

    Parameters
    ----------
    fleet : Fleet
        Where servers come from.
    sizes : Sizes
        How much to measure.
    """

    def __init__(self, fleet: Fleet, sizes: Sizes) -> None:
        self.fleet, self.sizes = fleet, sizes

    @contextmanager
    def yard(self, source: str, local: str | None = None) -> Iterator[Yard]:
        """A yard between two kinds of server."""
        there, here = self.fleet.pair(source)[0], self.fleet.pair(local or source)[1]
        yard = Yard(there, here)
        try:
            yield yard
        finally:
            yard.close()

    @contextmanager
    def small(self, source: str, local: str | None = None, rows: int | None = None) -> Iterator[Yard]:
        """A yard with the table of small rows."""
        with self.yard(source, local) as yard:
            tables.fill_small(yard.source, yard.declare("Unit", tables.SMALL_ROWS), rows or self.sizes.small)
            yield yard

    def alternate(self, **ways: Callable[[], Sample]) -> Runs:
        """Every way once, as often as there are runs, one after the other: noise meets all alike."""
        return [{name: way() for name, way in ways.items()} for _ in range(self.sizes.runs)]

    def closely(self, **ways: Callable[[], Sample]) -> Runs:
        """More often, after once for nothing: for what is nearly alike."""
        warm = [way() for way in ways.values()]
        assert warm
        return [run for _ in range(self.sizes.more) for run in self.alternate(**ways)]

    # measures; each takes the kind of server

    def full(self, kind: str) -> Figure:
        """A full pull against the servers' own dump, which holds nothing."""
        with self.small(kind) as yard:
            runs = self.alternate(ours=lambda: pulled(yard, "Unit"), peer=lambda: yard.dump_and_load("Unit"))
        bar = 2.5 if kind == "postgresql" else 1.0
        return figure(f"full-{kind}", f"pull of {self.sizes.small:,} rows, {TITLES[kind]}", pipe(kind), runs, bar)

    def cross(self, source: str, local: str) -> Figure:
        """A pull between kinds against the slower of the two within a kind."""
        runs: Runs = []
        with self.small(source, local) as across, self.small(source) as first, self.small(local) as second:
            for _ in range(self.sizes.runs):
                within = [pulled(yard, "Unit") for yard in (first, second)]
                runs.append({"ours": pulled(across, "Unit"), "peer": max(within, key=lambda sample: sample.seconds)})
        title = f"pull of {self.sizes.small:,} rows, {TITLES[source]} to {TITLES[local]}"
        return figure(f"cross-{source}-{local}", title, "the slower pull within a kind", runs, 1.5)

    def datajoint(self, kind: str) -> Figure:
        """A pull against DataJoint's own fetch and insert, both a row."""
        with self.small(kind) as yard:
            animals = f"animal < {max(1, self.sizes.by_datajoint // 10_000)}"

            def fetch_and_insert() -> Sample:
                yard.unlinked_copy("Unit")
                sample = yard.run("fetch_and_insert", "Unit", restriction=animals)
                yard.reset()
                return sample

            runs = self.alternate(ours=lambda: pulled(yard, "Unit"), peer=fetch_and_insert)
        title = f"pull, a row, {TITLES[kind]}"
        return figure(f"datajoint-{kind}", title, "DataJoint's fetch + insert", runs, 1 / 8, "µs", by_row)

    def large(self, kind: str) -> list[Figure]:
        """Long rows: time against the dump, and the client's memory."""
        count, size = self.sizes.large, self.sizes.large_bytes
        with self.yard(kind) as yard:
            tables.fill_large(yard.source, yard.declare("Trace", tables.LARGE_ROWS), count, size)
            runs = self.alternate(ours=lambda: pulled(yard, "Trace"), peer=lambda: yard.dump_and_load("Trace"))
        what = f"{count * size / 1e9:.3g} GB in rows of {size / 1e6:.3g} MB"
        time_taken = figure(f"large-{kind}", f"pull of {what}, {TITLES[kind]}", pipe(kind), runs, 1.0)
        return [time_taken, memory(f"large-memory-{kind}", f"memory, {what}, {TITLES[kind]}", runs)]

    def scale(self, kind: str) -> list[Figure]:
        """The time a row of many rows against that of few, and the client's memory."""
        many, few = self.sizes.many, self.sizes.few
        with self.small(kind, rows=few) as yard:
            name = yard.declare("Event", tables.SMALL_ROWS)
            tables.fill_small(yard.source, name, many)
            # The few are quick: five of them to each of the many, and their median.
            runs = [
                {
                    "peer": statistics_median([pulled(yard, "Unit") for _ in range(5)]),
                    "ours": pulled(yard, "Event"),
                }
                for _ in range(min(self.sizes.runs, 2))
            ]
        a_row = figure(
            f"scale-{kind}",
            f"pull of {many:,} rows, a row, {TITLES[kind]}",
            f"of {few:,}",
            runs,
            1.2,
            "µs",
            by_row,
        )
        return [a_row, memory(f"memory-{kind}", f"memory, {many:,} small rows, {TITLES[kind]}", runs)]

    def latency(self, kind: str) -> Figure:
        """A pull with a round trip of 40 ms to both servers against one through the same proxies without."""
        with self.small(kind) as yard, yard.relayed(20) as far, yard.relayed(0) as near:
            runs = self.alternate(
                ours=lambda: pulled(yard, "Unit", far),
                peer=lambda: pulled(yard, "Unit", near),
            )
        title = f"pull of {self.sizes.small:,} rows over 40 ms, {TITLES[kind]}"
        return figure(f"latency-{kind}", title, "over 0 ms", runs, 1.3)

    def nothing(self, kind: str) -> Figure:
        """A pull that finds nothing new against the anti-join that the source's server would count."""
        with self.small(kind, rows=self.sizes.shared) as yard:
            pulled(yard, "Unit", keep=True)
            helper = f"{yard.lab.helper_schema}.{yard.lab.helper_table}"
            tables.analyse(yard.source, helper)
            equal = " AND ".join(f"h.{key} = s.{key}" for key in ("animal", "session", "unit"))
            anti_join = (
                f"SELECT COUNT(*) FROM {yard.source_name('Unit')} s "
                f"WHERE NOT EXISTS (SELECT 1 FROM {helper} h WHERE {equal})"
            )
            runs = self.alternate(ours=lambda: yard.run("pull", "Unit"), peer=lambda: yard.sql(anti_join))
        assert not any(sample.rows for run in runs for sample in run.values())
        title = f"nothing new in {self.sizes.shared:,} rows, {TITLES[kind]}"
        return figure(f"nothing-{kind}", title, "the anti-join's count", runs, 2.0)

    def verify(self, source: str, local: str | None = None) -> list[Figure]:
        """Verifying equal rows against a checksum of each table, both servers at once; and the client's memory."""
        with self.small(source, local, rows=self.sizes.shared) as yard:
            pulled(yard, "Unit", keep=True)
            tables.analyse(yard.local, f"{yard.lab.local_schema}.unit")
            runs = self.alternate(
                ours=lambda: yard.run("verify", "Unit"), peer=lambda: yard.checksums("Unit", tables.SMALL_CHECKSUM)
            )
        assert all(run["ours"].rows == run["peer"].rows for run in runs)
        name = source if local is None else f"{source}-{local}"
        rows = f"{self.sizes.shared:,} equal rows, {TITLES[source]}" + (f" and {TITLES[local]}" if local else "")
        # Between kinds the values travel, and are compared here.
        bar = 1.5 if local is None else 20.0
        time_taken = figure(f"verify-{name}", f"verify of {rows}", "both checksums at once", runs, bar)
        return [time_taken, memory(f"verify-memory-{name}", f"memory, verify of {rows}", runs)]

    def delete(self, kind: str) -> Figure:
        """Deleting a third of the linked rows against DataJoint's delete on an unlinked copy."""
        third = f"unit < {100 // 3}"
        with self.small(kind) as yard:
            pulled(yard, "Unit", keep=True)
            copy = yard.unlinked_copy("Unit")
            original = f"{yard.lab.local_schema}.unit"

            def delete_unlinked() -> Sample:
                yard.local.sql(f"DELETE FROM {copy}")
                yard.local.sql(f"INSERT INTO {copy} SELECT * FROM {original}")
                tables.analyse(yard.local, copy)
                return yard.run("delete_unlinked", "Unit", restriction=third)

            def delete() -> Sample:
                tables.analyse(yard.local, original)
                return yard.run("delete", "Unit", restriction=third)

            runs: Runs = []
            for _ in range(self.sizes.runs):
                peer = delete_unlinked()
                ours = delete()
                assert ours.rows == peer.rows
                runs.append({"ours": ours, "peer": peer})
                pulled(yard, "Unit", keep=True)
        title = f"delete of {runs[0]['ours'].rows:,} of {self.sizes.small:,} rows, {TITLES[kind]}"
        return figure(f"delete-{kind}", title, "DataJoint's, unlinked", runs, 2.0)

    def refresh(self, kind: str) -> list[Figure]:
        """Refreshing rows that were all edited, against pulling them into nothing, and deleting and pulling them again.

        And the client's memory.
        """
        few = self.sizes.few
        with self.small(kind, rows=few) as yard:
            runs: Runs = []
            again: Runs = []
            for number in range(self.sizes.runs):
                peer = pulled(yard, "Unit")
                pulled(yard, "Unit", keep=True)
                edit(yard, number)
                ours = yard.run("refresh", "Unit")
                assert ours.rows == peer.rows
                runs.append({"ours": ours, "peer": peer})
                deleted, anew = yard.run("delete", "Unit", restriction="unit >= 0"), yard.run("pull", "Unit")
                assert ours.rows == deleted.rows == anew.rows
                again.append({"ours": ours, "peer": in_sum(deleted, anew)})
        title = f"refresh of {few:,} edited rows, {TITLES[kind]}"
        return [
            figure(f"refresh-{kind}", title, "pulling them anew", runs, 1.5),
            figure(f"refresh-again-{kind}", title, "deleting and pulling them", again, 1.0),
            memory(f"refresh-memory-{kind}", f"memory, {title}", runs),
        ]

    def adopting(self, source: str, local: str | None = None) -> Figure:
        """Adopting rows that are local, equal and not held, against pulling them."""
        with self.small(source, local, rows=self.sizes.few) as yard:
            runs: Runs = []
            for _ in range(self.sizes.runs):
                peer = pulled(yard, "Unit")
                pulled(yard, "Unit", keep=True)
                yard.source.sql(f"TRUNCATE TABLE {yard.lab.helper_schema}.{yard.lab.helper_table}")
                tables.analyse(yard.local, f"{yard.lab.local_schema}.unit")
                ours = yard.run("adopt", "Unit")
                assert ours.rows == peer.rows
                runs.append({"ours": ours, "peer": peer})
        name = source if local is None else f"{source}-{local}"
        title = f"holding {self.sizes.few:,} equal rows, {TITLES[source]}" + (f" to {TITLES[local]}" if local else "")
        # Between kinds the values travel, and are compared here.
        return figure(f"adopting-{name}", title, "pulling them", runs, 1.2 if local is None else 3.0)

    def mending(self, kind: str) -> Figure:
        """Refreshing a hundred edited rows among many, against verifying all when they are equal."""
        with self.small(kind, rows=self.sizes.shared) as yard:
            pulled(yard, "Unit", keep=True)
            runs: Runs = []
            for number in range(self.sizes.runs):
                peer = yard.run("verify", "Unit")
                edit(yard, number, f"MOD(n, {1_000_003 * (self.sizes.shared // 100)}) = 0")
                ours = yard.run("refresh", "Unit")
                assert ours.rows == 100
                runs.append({"ours": ours, "peer": peer})
        title = f"refresh with 100 edited among {self.sizes.shared:,}, {TITLES[kind]}"
        return figure(f"mending-{kind}", title, "verify()", runs, 1.2)

    def files(self, what: str) -> list[Figure]:
        """Rows with a file each, from one S3 server to another, against rclone; and the client's memory."""
        count, size = (self.sizes.small_files, 20_000) if what == "small" else (self.sizes.large_files, 100_000_000)
        with self.yard("postgresql") as yard, closing(Shelf(yard, count, size)) as shelf:
            runs = self.alternate(ours=shelf.pull, peer=shelf.rclone)
        named = f"{count:,} files of {size / 1e6:g} MB, S3 to S3"
        time_taken = figure(f"files-{what}", f"pull of {named}", "rclone copy", runs, 1.2)
        return [time_taken, memory(f"files-memory-{what}", f"memory, {named}", runs)]

    def legacy(self, kind: str) -> Figure:
        """Rows with blobs that DataJoint 0.x declared against the same that 2.x declared."""
        count = self.sizes.few
        with self.yard(kind) as yard:
            tables.fill_blobs(yard.source, yard.declare("Unit", tables.BLOB_ROWS), count)
            yard.lab.grant(create(yard.lab, "legacy", *tables.LEGACY_BLOB_COLUMNS))
            tables.fill_blobs(yard.source, yard.source_name("Legacy"), count)
            runs = self.closely(ours=lambda: pulled(yard, "Legacy"), peer=lambda: pulled(yard, "Unit"))
        title = f"pull of {count:,} rows with blobs of DataJoint 0.x, {TITLES[kind]}"
        return figure(f"legacy-{kind}", title, "of 2.x", runs, 1.05)

    def legacy_files(self, kind: str) -> Figure:
        """Rows with a stored blob each that DataJoint 0.x declared against the same that 2.x declared."""
        count = self.sizes.stored
        with self.yard(kind) as yard, closing(Drawers(yard, count, 20_000)) as drawers:
            runs = self.closely(ours=lambda: drawers.pull("Legacy"), peer=lambda: drawers.pull("Recording"))
        title = f"pull of {count:,} stored blobs of DataJoint 0.x, {TITLES[kind]}"
        return figure(f"legacy-files-{kind}", title, "of 2.x", runs, 1.1)

    def imports(self) -> Figure:
        """Importing the package against importing DataJoint, in fresh interpreters."""
        ways = {who: partial(imported, module) for who, module in IMPORTS.items()}
        return figure("import", "import link", "import datajoint", self.closely(**ways), 1.1)

    def measures(self) -> dict[str, Callable[[], Figure | list[Figure]]]:
        """Every measure by its name."""
        found: dict[str, Callable[[], Figure | list[Figure]]] = {"import": self.imports}
        by_kind: list[Callable[[str], Figure | list[Figure]]] = [self.full, self.datajoint, self.nothing]
        by_kind += [self.verify, self.delete, self.refresh, self.mending, self.adopting, self.latency]
        by_kind += [self.scale, self.large]
        for measure in by_kind:
            for kind in KINDS:
                found[f"{measure.__name__}-{kind}"] = partial(measure, kind)
        for kind in ("mysql", "mariadb"):
            found[f"legacy-{kind}"] = partial(self.legacy, kind)
            found[f"legacy-files-{kind}"] = partial(self.legacy_files, kind)
        for what in ("small", "large"):
            found[f"files-{what}"] = partial(self.files, what)
        for other in ("mysql", "mariadb"):
            for source, local in ((other, "postgresql"), ("postgresql", other)):
                found[f"cross-{source}-{local}"] = partial(self.cross, source, local)
            found[f"verify-{other}-postgresql"] = partial(self.verify, other, "postgresql")
            found[f"adopting-{other}-postgresql"] = partial(self.adopting, other, "postgresql")
        return found


IMPORTS = {"ours": "link", "peer": "datajoint"}


def imported(module: str) -> Sample:
    """Import a module in a fresh interpreter."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {module}"], check=True)
    return Sample(time.perf_counter() - started)


def pulled(yard: Yard, name: str, ports: Sequence[int] = (), keep: bool = False) -> Sample:
    """Pull into nothing."""
    if not keep:
        yard.reset()
    sample = yard.run("pull", name, ports)
    if not sample.rows:
        raise RuntimeError(f"nothing of {name} was pulled")
    if not keep:
        yard.reset()
    return sample


def edit(yard: Yard, number: int, condition: str = "1 = 1") -> None:
    """Change a value of some rows at the source, each time to another one."""
    name = yard.source_name("Unit")
    yard.source.sql(f"UPDATE {name} SET quality = 'edit {number}' WHERE {condition}")
    tables.analyse(yard.source, name)


def pipe(kind: str) -> str:
    """What the peer of a kind of server is called."""
    return "pg_dump piped to psql" if kind == "postgresql" else "mysqldump piped to mysql"


def in_seconds(sample: Sample) -> float:
    """The time."""
    return sample.seconds


def by_row(sample: Sample) -> float:
    """Microseconds a row."""
    return 1e6 * sample.seconds / sample.rows


def in_sum(first: Sample, second: Sample) -> Sample:
    """One thing after the other."""
    cpu = {who: seconds + second.cpu[who] for who, seconds in first.cpu.items()}
    return Sample(first.seconds + second.seconds, second.rows, max(first.peak_bytes, second.peak_bytes), cpu)


def statistics_median(samples: Sequence[Sample]) -> Sample:
    """The sample in the middle."""
    return sorted(samples, key=in_seconds)[len(samples) // 2]


def figure(
    name: str,
    measure: str,
    peer_is: str,
    runs: Runs,
    bar: float,
    unit: str = "s",
    value: Callable[[Sample], float] = in_seconds,
) -> Figure:
    """The medians of several runs."""
    ours, peer = (statistics.median(value(run[who]) for run in runs) for who in ("ours", "peer"))
    return Figure(name, measure, peer_is, ours, peer, unit, bar, plain(runs))


def memory(name: str, measure: str, runs: Runs) -> Figure:
    """The largest process of several runs against the limit."""
    peak = max(run["ours"].peak_bytes for run in runs) / 1e6
    return Figure(name, measure, "limit", peak, 300, "MB", 1.0)


def plain(runs: Runs) -> list[dict[str, object]]:
    """Runs as JSON has them."""
    return [{who: asdict(sample) for who, sample in run.items()} for run in runs]
