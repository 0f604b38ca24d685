"""Plans: what a pull would bring, and what the pull then does; with SELECT alone, and without a trace."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import closures
import oracle
import pytest
import tricky
from buckets import Buckets
from filing import Stores, fill, recordings
from lab import Lab
from pulling import declare, grant
from recorder import Statement

from link import Pipeline
from link.errors import ConfigError, ConflictError, LimitError, LinkError, LocalMismatchError, PrivilegeError
from link.model import plans

#: Selections by name: classes of the tricky pipeline, with conditions, and options.
CASES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "half of a key": ({"report.Twin": "twin = 3"}, {}),
    "derived": ({"subject.Subject": "subject = 1"}, {"descendants": True}),
    "nothing derived, whole lookups": (
        {"subject.Subject": "subject > 98", "report.Site": "params is not null"},
        {"descendants": True, "leave_out": ["ephys.Clustering"], "lookups": "whole"},
    ),
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
        own = self.lab.prefix  # others may be at work on the same servers
        return [
            _all_of(closures.read(server, schemas)) + sorted(s for s in server.sql(SCHEMAS) if s[0].startswith(own))
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


def test_what_is_here_already_is_told(world: World, statements: list[Statement]) -> None:
    """What is held and gone, and what is not held and another; of what is needed alone. A pull holds nothing then."""
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
    statements.clear()
    with pytest.raises(ConflictError, match=re.escape(str(conflict))):
        world.pipeline.pull(psth)
    assert not [each for each in statements if each.sql.startswith("INSERT")] and world.trace() == before
    world.pipeline.pull(psth, conflicts="keep")
    assert not world.pipeline.plan(psth)
    world.here("DELETE FROM {report}.__psth WHERE subject = 1")
    gone = world.pipeline.plan(psth)
    assert gone and (gone.gone, gone.new, gone.conflicts) == (1, 0, [])
    assert "1 is gone here: a pull fetches it again" in repr(gone)
    assert not world.pipeline.plan(psth & "subject = 5")
    assert world.pipeline.pull(psth).pulled == 1
    assert not world.pipeline.plan(psth)


def grant_select(world: World, *schemas: str) -> None:
    """SELECT alone, on whole schemas."""
    user, server = world.lab.link_user, world.lab.source_server
    for schema in schemas:
        if world.lab.kind == "postgresql":
            server.sql(f"GRANT USAGE ON SCHEMA {schema} TO {user}")
            server.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user}")
        else:
            server.sql(f"GRANT SELECT ON `{schema}`.* TO {user}@'%'")


def test_select_is_enough_for_a_plan(world: World) -> None:
    """What the pull needs beside it is told as SQL, which an administrator can run; then the pull works."""
    grant_select(world, *world.schemas)
    psth = world.table("report.Psth") & "subject = 1"
    before = world.trace()
    plan = world.pipeline.plan(psth, descendants=True)
    assert world.trace() == before
    tables = sum(1 + (name in ("Probe", "Session", "Clustering")) for _, name in map(_split, plan.tables)) + 1
    assert sum("REFERENCES" in grant for grant in plan.missing) == tables  # Clustering has two parts
    joined = world.table("report.Psth") * world.table("ephys.Clustering")
    own_schema = world.lab.kind == "postgresql"
    if own_schema:  # where SELECT alone hides primary keys from DataJoint
        with pytest.raises(LinkError, match="REFERENCES"):
            world.pipeline.plan(joined)
    else:
        assert world.pipeline.plan(joined).new
    assert len(plan.missing) == tables + (not own_schema)
    assert "lacks rights" in repr(plan)
    with pytest.raises(PrivilegeError):
        plan.pull()
    assert world.trace() == before
    script = world.pipeline.grants(plan)
    for missing in plan.missing:
        assert missing in script
        run(world, missing)
    world.pipeline._theirs.links.forget()
    again = world.pipeline.plan(psth, descendants=True)
    assert not again.missing and not world.pipeline.grants(again)
    assert again.pull().pulled == plan.new


def _split(table: Any) -> tuple[str, str]:
    schema, _, name = table.name.partition(".")
    return schema, name


def run(world: World, script: str) -> None:
    """Statements that a message has told, as the administrator of the source."""
    for statement in filter(None, map(str.strip, script.split(";"))):
        world.lab.source_server.sql(statement)


def test_what_may_not_be_read(world: World) -> None:
    """All that is missing is told at once, and enough; an ancestor may be cut, also where nothing refers to it."""
    lab, schema = world.lab, world.names["lab"]
    grant(lab, [world.names[name] for name in ("subject", "ephys", "report")])
    on, account = (f'"{schema}"."#institute"', lab.link_user)
    if lab.kind == "postgresql":
        lab.source_server.sql(f"GRANT USAGE ON SCHEMA {schema} TO {account}")
    else:
        on, account = on.replace('"', "`"), f"{account}@'%'"
    lab.source_server.sql(f"GRANT SELECT, REFERENCES ON {on} TO {account}")
    site = world.table("report.Site") & "params is null"
    with pytest.raises(PrivilegeError) as refused:
        world.pipeline.plan(site)
    told = str(refused.value)
    for name in ("probe", "probe__electrode", "#params"):
        assert f"{schema}.{name}" in told
    if lab.kind != "postgresql":  # which shows these tables, and their keys are not cut then
        assert world.named("report.Site.params") in told
    cut = world.pipeline.plan(site, cut=[world.named("report.Site.params"), world.named("report.Site.at")])
    assert [table.new for table in cut.tables] == [1] and "Site.params (" in repr(cut)
    run(world, told.partition(": GRANT")[2].join(["GRANT", ""]).partition(" Or leave")[0])
    world.pipeline._theirs.links.forget()
    new = {table.name: table.new for table in world.pipeline.plan(site).tables}
    assert new == {world.named("lab.Probe"): 1, world.named("lab.Params"): 0, world.named("report.Site"): 1}


def test_limits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan says that it is over them; a pull is refused before anything is held. Very much is asked about, once."""
    grant(world.lab, world.schemas)
    psth, before = world.table("report.Psth"), world.trace()
    probe, clustering = world.named("lab.Probe"), world.named("ephys.Clustering")
    several: list[tuple[dict[str, Any], str]] = [
        ({"max_rows": 5}, rf"Most of it is {probe}: 8 rows.*Insertion\.probe"),
        ({"max_bytes": 20}, rf"Most of it is {clustering}: 7 rows.*Psth\.subject"),
    ]
    for limits, told in several:
        plan = world.pipeline.plan(psth, **limits)
        assert "over its limits" in repr(plan)
        for pull in (plan.pull, functools.partial(world.pipeline.pull, psth, **limits)):
            with pytest.raises(LimitError, match=told):
                pull()
    assert world.trace() == before
    plan = world.pipeline.plan(psth, max_rows=100, max_bytes=10_000)
    assert "over its limits" not in repr(plan)
    monkeypatch.setattr(plans, "MANY_ROWS", 20)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    answers = ["no", None, "yes"]

    def answer(prompt: str) -> str:
        assert "Pull all of it?" in prompt
        given = answers.pop(0)
        if given is None:
            raise EOFError
        return given

    monkeypatch.setattr("builtins.input", answer)
    assert plan.pull().pulled == 0 and world.trace() == before
    with pytest.raises(ConfigError, match="Nobody answers here"):
        plan.pull()
    assert world.trace() == before
    assert plan.pull().pulled == plan.new and not answers


def test_a_notebook_that_a_program_runs_is_asked_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a script is not: there is nobody."""
    grant(world.lab, world.schemas)
    plan = world.pipeline.plan(world.table("report.Psth"))
    monkeypatch.setattr(plans, "MANY_ROWS", 20)
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)

    def unheard(prompt: str) -> str:
        raise NotImplementedError

    monkeypatch.setattr("builtins.input", unheard)
    assert plan.rows > plans.MANY_ROWS and plan.pull().pulled == plan.new


@pytest.mark.parametrize("workers", [1, 2])
def test_what_rows_refer_to_and_is_not_there(world: World, workers: int) -> None:
    """Rows may go at the source while nobody looks at foreign keys: no plan counts them, and a pull tells each once."""
    grant(world.lab, world.schemas)
    off, on = ("foreign_key_checks = 0", "foreign_key_checks = 1")
    if world.lab.kind == "postgresql":
        off, on = (f"session_replication_role = {role}" for role in ("replica", "DEFAULT"))
    users = '"user"' if world.lab.kind == "postgresql" else "`user`"
    gone = f"DELETE FROM {world.names['lab']}.{users} WHERE {users} = 'ann'"
    oracle.run(world.lab.source_server, f"SET {off}", gone, f"SET {on}")
    sessions, user = world.table("subject.Session"), world.named("lab.User")
    plan = world.pipeline.plan(sessions & "subject in (5, 6)")
    counted = {table.name: (table.entities, table.new) for table in plan.tables}
    assert (counted[user], counted[world.named("subject.Session")]) == ((1, 1), (2, 2))
    result = world.pipeline.pull(sessions & "subject in (5, 6)", suppress_errors=True, processes=workers)
    assert [key for key, _ in result.errors] == [{"subject": 5, "session": 1}] and not result.skipped
    assert result.total == plan.entities == result.pulled + 1
    again = world.pipeline.plan(sessions & "subject in (5, 6)")
    assert (again.entities, again.new) == (plan.entities, 1)
    derived = world.pipeline.plan(world.table("lab.User"), descendants=True)
    assert {table.name: table.entities for table in derived.tables}[user] == 3


def test_what_is_flagged_and_left_out(world: World) -> None:
    grant(world.lab, world.schemas)
    world.pipeline.pull(world.table("subject.Session") & "subject = 1")
    world.there(f"UPDATE {{held}}.{world.names['subject']}_session_outbound SET is_flagged = 'TRUE' WHERE session = 1")
    psth = world.table("report.Psth")
    for descendants in (False, True):
        plan = world.pipeline.plan(psth, descendants=descendants)
        assert (plan.left_out, plan.new) == (1, 7)
        assert "left out: 1 that depend on what the source wants deleted" in repr(plan)
    out: dict[str, Any] = {"leave_out": [world.named("ephys.Insertion"), world.table("lab.Probe")], "max_rows": 100}
    plan = world.pipeline.plan(psth, **out)
    assert f"ephys.Clustering.subject ({world.named('ephys.Insertion')} is left out)" in repr(plan)
    with pytest.raises(LocalMismatchError, match="User"):
        world.pipeline.plan(psth, leave_out=[world.table("lab.Institute")])
    result = world.pipeline.pull(psth, **out)
    assert result.pulled == plan.new and not any("Insertion" in name for name in result.tables)


def test_bytes_and_files(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    """Of what is new; files as the source has written them down, or as DataJoint 2 tells of them."""
    stores = Stores(lab, tmp_path, buckets, "file", "file")
    table = recordings(lab)
    fill(lab, table, tmp_path, rows=4)
    grant(lab, [lab.source_schema])
    server = lab.source_server
    options: dict[str, Any] = {"connection": lab.local, "backend": server.backend, "use_tls": False}
    schemas = {lab.source_schema: lab.local_schema}
    pipeline = Pipeline(
        f"{server.host}:{server.port}", schemas, lab.helper_schema, stores={"theirs": "ours"}, **options
    )
    recording = pipeline.source[lab.source_schema].Recording
    plan = pipeline.plan(recording)
    assert (plan.new, plan.rows) == (4, 12) and 1000 < plan.bytes < 20_000
    result = plan.pull()
    assert plan.files == result.files and 2000 < plan.file_bytes <= result.file_bytes
    assert f"{plan.files:,} files" in repr(plan)
    fill(lab, table, tmp_path, first=4, rows=1)
    assert (pipeline.plan(recording).rows, pipeline.plan(recording).files) == (3, 10)
    assert stores


LEVELS = 9


def test_very_many_ways(lab: Lab) -> None:
    """Each table refers twice to the one above: by hundreds of ways a row depends on the first, or stands on it."""
    for n in range(LEVELS):
        above = "".join(
            f", {column} int, FOREIGN KEY ({column}) REFERENCES {lab.source_schema}.t{n - 1} (k{n - 1})"
            for column in ("a", "b") * bool(n)
        )
        lab.source_server.sql(f"CREATE TABLE {lab.source_schema}.t{n} (k{n} int NOT NULL PRIMARY KEY{above})")
        rows = [(i, *((i, "NULL" if i == 2 else (i + 1) % 4) if n else ())) for i in range(4)]
        values = ", ".join(f"({', '.join(map(str, row))})" for row in rows)
        lab.source_server.sql(f"INSERT INTO {lab.source_schema}.t{n} VALUES {values}")
    grant(lab, [lab.source_schema])
    server = lab.source_server
    options: dict[str, Any] = {"connection": lab.local, "backend": server.backend, "use_tls": False}
    schemas = {lab.source_schema: lab.local_schema}
    pipeline = Pipeline(f"{server.host}:{server.port}", schemas, lab.helper_schema, **options)
    first = pipeline.source[lab.source_schema].T0 & "k0 = 3"
    last = pipeline.source[lab.source_schema][f"T{LEVELS - 1}"] & f"k{LEVELS - 1} = 2"
    assert pipeline.plan(last).new == LEVELS  # it refers to nothing else
    plan = pipeline.plan(first, descendants=True)
    result = plan.pull()
    assert (plan.new, plan.rows) == (result.pulled, result.pulled) and plan.new > 3 * LEVELS
    assert not pipeline.plan(first, descendants=True)
