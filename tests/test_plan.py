"""Plans: what a pull would bring, and what the pull then does; with SELECT alone, and without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import closures
import pytest
import tricky
from lab import Lab
from pulling import declare, grant

from link import Pipeline
from link.errors import ConflictError

#: Selections by name: classes of the tricky pipeline, with conditions, and options.
CASES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "half of a key": ({"report.Twin": "twin = 3"}, {}),
    "nothing": ({"subject.Session": "subject = 99"}, {}),
    "several": ({"report.Site": "params is not null", "subject.Pair": "pair < 3"}, {}),
    "derived": ({"subject.Subject": "subject = 1"}, {"descendants": True}),
    "left out": ({"subject.Subject": "subject < 3"}, {"descendants": True, "leave_out": ["ephys.Clustering"]}),
    "whole lookups": ({"subject.Session": "subject = 1"}, {"lookups": "whole"}),
}


SCHEMAS = "SELECT schema_name FROM information_schema.schemata"


def _all_of(contents: closures.Contents) -> list[Any]:
    rows = {table: sorted(map(repr, rows)) for table, rows in contents.rows.items()}
    return [rows, contents.keys, sorted(map(repr, contents.references))]


class World:
    """The tricky pipeline at a source, and a `Pipeline` on it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.names = declare(lab, tricky.TABLES, tricky.ROWS)
        self.schemas = list(self.names.values())
        self.local = {schema: f"{schema}_here" for schema in self.schemas}
        server = lab.source_server
        options: dict[str, Any] = {"connection": lab.local, "backend": server.backend, "use_tls": False}
        self.pipeline = Pipeline(f"{server.host}:{server.port}", self.local, lab.helper_schema, **options)

    def table(self, place: str) -> Any:
        schema, name = place.split(".")
        return getattr(self.pipeline.source[self.names[schema]], name)

    def asked(self, case: str) -> tuple[list[Any], dict[str, Any]]:
        chosen, options = CASES[case]
        left = [self.named(place) for place in options.get("leave_out", ())]
        return [self.table(t) & where for t, where in chosen.items()], options | ({"leave_out": left} if left else {})

    def named(self, place: str) -> str:
        """A class as the source names it."""
        schema, _, rest = place.partition(".")
        return f"{self.names[schema]}.{rest}"

    def there(self, sql: str) -> Any:
        """SQL of the source's administrator; `{report}` is that schema there, `{held}` the helper schema."""
        return self.lab.source_server.sql(sql.format(held=self.lab.helper_schema, **self.names))

    def here(self, sql: str) -> Any:
        """The same of the local one."""
        names = {name: self.local[schema] for name, schema in self.names.items()}
        return self.lab.local_server.sql(sql.format(**names))

    def trace(self) -> Any:
        """All that there is at both ends."""
        names = [*self.schemas, self.lab.helper_schema]
        return [
            _all_of(closures.read(server, schemas)) + sorted(server.sql(SCHEMAS))
            for server, schemas in ((self.lab.source_server, names), (self.lab.local_server, list(self.local.values())))
        ]


@pytest.fixture
def world(lab: Lab) -> Iterator[World]:
    made = World(lab)
    yield made


def test_a_plan_is_what_the_pull_does(world: World) -> None:
    """Of every table; also where some of it is here already; and a plan leaves no trace."""
    grant(world.lab, world.schemas)
    for case in CASES:
        selections, options = world.asked(case)
        before = world.trace()
        plan = world.pipeline.plan(*selections, **options)
        assert world.trace() == before
        assert not plan.missing and not plan.conflicts, plan
        assert "conflicts: none" in repr(plan) and "<table>" in plan._repr_html_()
        result = world.pipeline.pull(*selections, **options)
        told = {table.name: (table.new, table.part_rows) for table in plan.tables}
        assert told == {name: (each.pulled, each.part_rows) for name, each in result.tables.items()}, case
        assert (plan.rows, bool(plan)) == (result.pulled + result.part_rows, bool(result.pulled))
        again = world.pipeline.plan(*selections, **options)
        assert not again and [table.entities for table in again.tables] == [table.entities for table in plan.tables]


def test_a_plan_is_drawn_and_tabled(world: World) -> None:
    grant(world.lab, world.schemas)
    plan = world.pipeline.plan(world.table("report.Psth"))
    assert "2 new of 2" in plan.diagram().make_mermaid()
    table = plan.to_pandas()
    assert list(table.columns[:8]) == ["name", "source", "local", "entities", "new", "part_rows", "bytes", "files"]
    assert len(table) == len(plan.tables) and table["new"].sum() == plan.new


def test_what_is_here_already_is_told(world: World) -> None:
    """What is held and gone, and what is not held and another; of what is needed alone."""
    grant(world.lab, world.schemas)
    psth = world.table("report.Psth")
    assert world.pipeline.pull(psth & "subject = 1").pulled
    user = '"user"' if world.lab.kind == "postgresql" else "`user`"
    world.here(f"UPDATE {{lab}}.{user} SET lab = 'rome' WHERE {user} = 'ann'")
    world.there(f"DELETE FROM {{held}}.{world.names['lab']}_user_outbound WHERE {user} = 'ann'")
    before = world.trace()
    plan = world.pipeline.plan(psth)
    assert world.trace() == before
    (conflict,) = plan.conflicts
    assert (conflict.table, conflict.count) == (world.named("lab.User"), 1)
    assert (conflict.examples, conflict.columns) == ([{"user": "ann"}], ["lab"])
    assert f"conflicts: {conflict}" in repr(plan)
    assert not world.pipeline.plan(world.table("lab.Institute")).conflicts
    with pytest.raises(ConflictError):
        world.pipeline.pull(psth)
    world.pipeline.pull(psth, conflicts="keep")
    assert not world.pipeline.plan(psth)
    world.here("DELETE FROM {report}.__psth WHERE subject = 1")
    gone = world.pipeline.plan(psth)
    assert gone and (gone.gone, gone.new, gone.conflicts) == (1, 0, [])
    assert "1 is gone here: a pull fetches it again" in repr(gone)
    assert not world.pipeline.plan(psth & "subject = 5")
    assert world.pipeline.pull(psth).pulled == 1
    assert not world.pipeline.plan(psth)
