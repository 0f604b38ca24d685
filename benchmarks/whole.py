"""What is measured of whole pipelines: *big*, pulled with all that it stands on, beside its peers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import big
import tables
from fleet import TestServer
from measures import Bench, Runs, figure, memory
from provision import KINDS, TITLES
from report import Figure
from yard import Sample, Yard

#: All of the last table, which stands on all the others.
ALL: dict[str, Any] = {"restriction": "1 = 1"}
#: What a plan may take in any case.
PLAN_SECONDS = 2.0


class Pipelines(Yard):
    """A yard with a pipeline at its source.

    Parameters
    ----------
    source, local : TestServer
        Running servers.
    schemas : sequence of str
        What its schemas are called.
    """

    def __init__(self, source: TestServer, local: TestServer, schemas: Sequence[str]) -> None:
        super().__init__(source, local)
        prefix = self.lab.prefix
        self.theirs = {schema: f"{prefix}_{schema}" for schema in schemas}
        self.ours = {schema: f"{prefix}_our_{schema}" for schema in schemas}
        self.single = f"{prefix}_single"
        for schema in self.theirs.values():
            source.sql(f"CREATE SCHEMA {schema}")

    def grant(self) -> None:
        """Give the link user the documented rights."""
        user, helper = self.lab.link_user, self.lab.helper_schema
        for schema in self.theirs.values():
            if self.source.kind == "postgresql":
                self.source.sql(f"GRANT USAGE ON SCHEMA {schema} TO {user}")
                self.source.sql(f"GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA {schema} TO {user}")
            else:
                self.source.sql(f"GRANT SELECT, REFERENCES ON `{_escaped(schema)}`.* TO {user}@'%'")
        if self.source.kind != "postgresql":
            self.source.sql(f"GRANT ALL PRIVILEGES ON `{_escaped(helper)}`.* TO {user}@'%'")

    def reset(self) -> None:
        """As if nothing had been pulled or copied."""
        helper, cascade = self.lab.helper_schema, " CASCADE" if self.local.kind == "postgresql" else ""
        for schema in (*reversed(self.ours.values()), self.single):
            self.local.sql(f"DROP SCHEMA IF EXISTS {schema}{cascade}")
        own = f" AUTHORIZATION {self.lab.link_user}" if self.source.kind == "postgresql" else ""
        self.source.sql(f"DROP SCHEMA IF EXISTS {helper}{cascade}")
        self.source.sql(f"CREATE SCHEMA {helper}{own}")

    def do(self, do: str, fresh: bool = True, **more: Any) -> Sample:
        """Run an operation of `worker` on the pipeline, which has not been pulled if it is to be fresh."""
        if fresh:
            self.reset()
        return self.run(do, "", theirs=self.theirs, ours=self.ours, single=self.single, **more)


class BigPipelines(Pipelines):
    """A yard with *big* at its source.

    Parameters
    ----------
    source, local : TestServer
        Running servers.
    subjects : int
        How large it is: a thousand subjects have 2.1 million rows.
    """

    def __init__(self, source: TestServer, local: TestServer, subjects: int) -> None:
        super().__init__(source, local, big.SCHEMAS)
        self.classes = big.declare(self.lab.source, self.theirs)
        fill(source, self.classes, subjects)
        self.grant()

    def anti_joins(self) -> Sample:
        """Count what nobody holds, of all tables."""
        counts = []
        for name, helper in self._helpers().items():
            equal = " AND ".join(f"h.{key} = s.{key}" for key in self._key(name))
            table = self.classes[name].full_table_name
            counts.append(f"(SELECT COUNT(*) FROM {table} s WHERE NOT EXISTS (SELECT 1 FROM {helper} h WHERE {equal}))")
        return self.sql(f"SELECT {' + '.join(counts)}")

    def analyse_helpers(self) -> None:
        """Let the source know what the helper tables hold."""
        for helper in self._helpers().values():
            tables.analyse(self.source, helper)

    def hold_closed(self) -> Sample:
        """Hold all of it, found from the last table."""
        self._let_go()
        return self.do("close_pipeline", fresh=False, **ALL)

    def hold_known(self) -> Sample:
        """Hold all rows of each table by a statement, as the link user."""
        self._let_go()
        helpers, count = self._helpers(), 0
        user, password = self.lab.link_user, self.lab.link_password
        with closing(self.source.connect_raw(user, password)) as connection, connection.cursor() as cursor:
            started = time.perf_counter()
            for name, table in self.classes.items():
                key = ", ".join(self._key(name))
                cursor.execute(
                    f"INSERT INTO {helpers[name]} ({key}, process, is_flagged, is_deprecated, _worker, _pulled) "
                    f"SELECT {key}, 'PULL', 'FALSE', 'FALSE', 4711, CURRENT_TIMESTAMP FROM {table.full_table_name}"
                )
                count += cursor.rowcount
            return Sample(time.perf_counter() - started, count)

    def _key(self, name: str) -> list[str]:
        return list(map(self._quoted, self.classes[name].primary_key))

    def _quoted(self, name: str) -> str:
        return f'"{name}"' if self.source.kind == "postgresql" else f"`{name}`"

    def _let_go(self) -> None:
        for helper in self._helpers().values():
            self.source.sql(f"TRUNCATE TABLE {helper}")

    def _helpers(self) -> dict[str, str]:
        """The helper table of each master, found by what it refers to."""
        query = (
            "SELECT h.relname, s.nspname, t.relname FROM pg_constraint c JOIN pg_class h ON h.oid = c.conrelid "
            "JOIN pg_namespace n ON n.oid = h.relnamespace JOIN pg_class t ON t.oid = c.confrelid "
            "JOIN pg_namespace s ON s.oid = t.relnamespace WHERE c.contype = 'f' AND n.nspname = %s"
            if self.source.kind == "postgresql"
            else "SELECT DISTINCT table_name, referenced_table_schema, referenced_table_name "
            "FROM information_schema.key_column_usage WHERE table_schema = %s AND referenced_table_name IS NOT NULL"
        )
        found = {row[1:]: row[0] for row in self.source.sql(query, self.lab.helper_schema)}
        return {
            name: f"{self.lab.helper_schema}.{self._quoted(found[table.database, table.table_name])}"
            for name, table in self.classes.items()
        }


def fill(server: TestServer, classes: Mapping[str, Any], subjects: int) -> None:
    """Fill the tables of *big* by one statement each."""
    numbers: dict[str, Any] = {
        "labs": big.rows_of(1 / 50, subjects),
        "users": big.rows_of(1 / 5, subjects),
        "probes": big.rows_of(1 / 10, subjects),
    }
    if server.kind == "postgresql":
        numbers["div"] = {n: f"i / {n}" for n in (2, 20, 25, 40, 50, 1000)}
        numbers["bytes"] = [f"decode(repeat(encode(sha256(i::text::bytea), 'hex'), {n}), 'hex')" for n in range(3)]
    else:
        numbers["div"] = {n: f"i DIV {n}" for n in (2, 20, 25, 40, 50, 1000)}
        numbers["bytes"] = [f"UNHEX(REPEAT(SHA2(i, 256), {n}))" for n in range(3)]
    for table in big.TABLES:
        for filled in filter(None, (table, table.part)):
            target = classes[table.name] if filled is table else getattr(classes[table.name], filled.name)
            values = filled.values.format(**numbers)
            tables.fill(server, target.full_table_name, big.rows_of(filled.often, subjects), values)


def _escaped(schema: str) -> str:
    return schema.replace("_", "\\_")


class Whole:
    """The measures.

    Parameters
    ----------
    bench : Bench
        The servers, the sizes, and how often.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.rows = big.count(bench.sizes.subjects)

    @contextmanager
    def yard(self, kind: str) -> Iterator[BigPipelines]:
        """Two servers, the pipeline at one of them."""
        with closing(BigPipelines(*self.bench.fleet.pair(kind), self.bench.sizes.subjects)) as yard:
            yield yard

    def pipeline(self, kind: str) -> list[Figure]:
        """All of it against its tables one by one, without foreign keys; and the client's memory."""
        with self.yard(kind) as yard:
            runs = self.bench.alternate(ours=lambda: yard.do("pull_pipeline", **ALL), peer=lambda: yard.do("pull_each"))
        self._require(runs, self.rows)
        what = f"{self.rows:,} rows of 10 tables"
        bar = 1.3 if kind == "postgresql" else 1.0
        title = f"pull of a pipeline, {what}, {TITLES[kind]}"
        taken = figure(f"pipeline-{kind}", title, "its tables one by one", runs, bar)
        return [taken, memory(f"pipeline-memory-{kind}", f"memory, a pipeline of {what}, {TITLES[kind]}", runs)]

    def trace(self, kind: str) -> Figure:
        """A tenth of the last table, with what that stands on, against DataJoint's own trace, fetch and insert."""
        subjects = max(1, self.bench.sizes.subjects // 10)
        some = f"subject < {subjects}"
        with self.yard(kind) as yard:
            runs = self.bench.alternate(
                ours=lambda: yard.do("pull_pipeline", restriction=some, opened=True),
                peer=lambda: yard.do("trace", restriction=some),
            )
        rows, chosen = runs[0]["ours"].rows, big.rows_of(big.TABLES[-1].often, subjects)
        title = f"pull of {chosen:,} rows and what they stand on ({rows:,} in all), {TITLES[kind]}"
        return figure(f"pipeline-trace-{kind}", title, "DataJoint's trace + fetch + insert", runs, 1 / 8)

    def nothing(self, kind: str) -> Figure:
        """Nothing new in all of it against the anti-joins that the source's server would count."""
        with self.yard(kind) as yard:
            yard.do("pull_pipeline")
            yard.analyse_helpers()
            # A link, too, is opened before it is measured how long it takes to see that there is nothing new.
            runs = self.bench.alternate(
                ours=lambda: yard.do("pull_pipeline", fresh=False, opened=True), peer=yard.anti_joins
            )
        self._require(runs, 0)
        title = f"nothing new in a pipeline of {self.rows:,} rows, {TITLES[kind]}"
        return figure(f"pipeline-nothing-{kind}", title, "the anti-joins' counts", runs, 2.0)

    def plan(self, kind: str) -> Figure:
        """A plan of all of it against two seconds, or a fifth of the pull where that is more."""
        with self.yard(kind) as yard:
            runs = self.bench.alternate(
                ours=lambda: yard.do("plan_pipeline", **ALL), peer=lambda: yard.do("pull_pipeline", **ALL)
            )
        self._require(runs, self.rows)
        for run in runs:
            run["peer"] = replace(run["peer"], seconds=max(PLAN_SECONDS, run["peer"].seconds / 5))
        title = f"plan of {self.rows:,} rows of a pipeline, {TITLES[kind]}"
        return figure(f"pipeline-plan-{kind}", title, "a fifth of the pull, or 2 s", runs, 1.0)

    def closure(self, kind: str) -> Figure:
        """Holding all of it, found from the last table, against one INSERT ... SELECT a table with the answer known."""
        with self.yard(kind) as yard:
            yard.do("pull_pipeline", restriction="1 = 0")
            runs = self.bench.alternate(ours=yard.hold_closed, peer=yard.hold_known)
        self._require(runs, big.count_entities(self.bench.sizes.subjects))
        title = f"holding {runs[0]['ours'].rows:,} entities of a pipeline, {TITLES[kind]}"
        return figure(f"pipeline-closure-{kind}", title, "an INSERT a table", runs, 1.2)

    def _require(self, runs: Runs, rows: int) -> None:
        if any(sample.rows != rows for run in runs for sample in run.values()):
            raise RuntimeError(f"not {rows:,} rows: {runs}")

    def measures(self) -> dict[str, Callable[[], Figure | list[Figure]]]:
        """Every measure by its name."""
        ways: dict[str, Callable[[str], Figure | list[Figure]]] = {"": self.pipeline, "-trace": self.trace}
        ways |= {"-nothing": self.nothing, "-plan": self.plan, "-closure": self.closure}
        return {f"pipeline{name}-{kind}": partial(way, kind) for name, way in ways.items() for kind in KINDS}
