"""What a pull of a pipeline brings and holds is exactly the closure, worked out by brute force: see `closures.py`.

Nothing here looks into the package: what is here and what is held is read from the servers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import closures
import datajoint as dj
import invented
import pytest
import tricky
from closures import Contents, Entity, Table
from figures import SOAK, Figures
from hypothesis import HealthCheck, Phase, given, settings
from lab import Lab

from link import Pipeline

P0, P1, P2 = (key.hex.upper() for key in tricky.PARAMS)


def entities(names: dict[str, str], **given: list[Any]) -> set[Entity]:
    """Entities of the tricky pipeline by class: the keys of each, joined if they are of several attributes."""
    places = {table.__name__: schema for schema, tables in tricky.TABLES.items() for table in tables}
    tiers = {"Institute": "#institute", "Params": "#params", "Insertion": "_insertion"}
    tiers |= {"Clustering": "__clustering", "Psth": "__psth"}
    return {
        (
            (names[places[name]], tiers.get(name, name.lower())),
            tuple(map(str, key if isinstance(key, tuple) else (key,))),
        )
        for name, keys in given.items()
        for key in keys
    }


#: Selections of the tricky pipeline: the table, a condition, whether with descendants, and what comes of it.
HAND: dict[str, Any] = {
    "psth": (
        ("report", "Psth", "subject = 1", False),
        {
            "Psth": [(1, 1, 1, P0, 2, P2)],
            "Clustering": [(1, 1, 1, P0)],
            "Params": [P0, P2],
            "Insertion": [(1, 1, 1)],
            "Probe": [1],
            "Session": [(1, 1)],
            "Subject": [1, 4, 5],
            "User": ["ann", "bob", "cyd"],
            "Institute": ["paris", "rome"],
        },
    ),
    "pair": (("subject", "Pair", "pair = 1", False), {"Pair": [1], "Subject": [2, 3], "Institute": ["paris", "rome"]}),
    "part": (
        ("subject", "Litter.Pup", "pair = 2", False),
        {"Litter": [(2, 1)], "Pair": [2], "Subject": [2, 5], "Institute": ["paris"]},
    ),
    "downwards": (
        ("subject", "Subject", "subject = 2", True),
        {
            "Subject": [1, 2, 3, 5],
            "Pair": [1, 2],
            "Litter": [(1, 1), (2, 1)],
            "User": ["cyd"],
            "Institute": ["paris", "rome"],
        },
    ),
    "half a key": (
        ("report", "Twin", "twin = 3", False),
        {
            "Twin": [3],
            "Clustering": [(5, 1, 3, P1)],
            "Params": [P1],
            "Insertion": [(5, 1, 3)],
            "Probe": [3],
            "Session": [(5, 1)],
            "Subject": [5],
            "User": ["ann"],
            "Institute": ["paris"],
        },
    ),
    "into a part": (
        ("report", "Site", "1 = 1", False),
        {"Site": [(1, 2), (2, 0)], "Probe": [1, 2], "Params": [P1]},
    ),
    "lookup downwards": (
        ("lab", "Institute", "lab = 'oslo'", True),
        {"Institute": ["oslo"], "User": ["dan"], "Subject": [6], "Pair": [3], "Session": [(6, 1)]},
    ),
    "nothing": (("report", "Psth", "rate < 0", False), {}),
}


def chosen(lab: Lab, contents: Contents, schema: str, place: str, condition: str) -> set[Entity]:
    """The entities of what DataJoint itself says a restriction selects."""
    found: dict[str, Any] = {}
    lab.source.Schema(schema, create_schema=False, create_tables=False).make_classes(into=found)
    bare, _, part = place.partition(".")
    table = getattr(found[bare], part) if part else found[bare]
    keys = {tuple(map(shown, row.values())) for row in (table & condition).proj().to_dicts()}
    there = schema, table.table_name
    return {contents.entity(there, row) for row in contents.rows[there] if contents.key(there, row) in keys}


def shown(value: Any) -> str:
    """A value as `closures.read` shows it."""
    return value.hex.upper() if hasattr(value, "hex") else str(value)


def test_the_oracle_knows_what_hands_have_worked_out(lab: Lab) -> None:
    names = tricky.declare(lab)
    contents = closures.read(lab.source_server, names.values())
    assert sum(len(contents.rows[table]) for table in contents.masters()) == 42
    for what, ((schema, place, condition, descendants), wanted) in HAND.items():
        start = chosen(lab, contents, names[schema], place, condition)
        assert closures.closure(contents, start, descendants=descendants) == entities(names, **wanted), what


# random pipelines


def profile(examples: int) -> settings:
    return settings(
        max_examples=40 * examples if SOAK else examples,
        deadline=None,
        derandomize=not SOAK,
        database=None,
        suppress_health_check=list(HealthCheck),
        # A failure tells all; smaller pipelines would take long to find.
        phases=[Phase.explicit, Phase.generate],
    )


def grant(lab: Lab, schemas: Sequence[str]) -> None:
    """Give the link user the documented rights on whole schemas and the helper schema, and no more."""
    user, server = lab.link_user, lab.source_server
    if lab.kind == "postgresql":
        names = ", ".join(schemas)
        server.sql(f"GRANT USAGE ON SCHEMA {names} TO {user}")
        server.sql(f"GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA {names} TO {user}")
        return
    for schema in schemas:
        escaped = schema.replace("_", "\\_")
        server.sql(f"GRANT SELECT, REFERENCES ON `{escaped}`.* TO {user}@'%'")
    escaped = lab.helper_schema.replace("_", "\\_")
    server.sql(f"GRANT ALL PRIVILEGES ON `{escaped}`.* TO {user}@'%'")


class Checked:
    """One pipeline at the source of a lab, what of it is to be here, and what is."""

    def __init__(self, lab: Lab, schemas: Sequence[str]) -> None:
        self.lab, self.schemas = lab, schemas
        self.local = {schema: f"{schema}_here" for schema in schemas}
        self.back = {here: schema for schema, here in self.local.items()}
        address = f"{lab.source_server.host}:{lab.source_server.port}"
        options: dict[str, Any] = {"connection": lab.local, "backend": lab.source_server.backend, "use_tls": False}
        self.pipeline = Pipeline(address, self.local, lab.helper_schema, **options)
        self.wanted: set[Entity] = set()
        self.tables: set[Table] = set()

    def read(self) -> Contents:
        """What the source has now."""
        return closures.read(self.lab.source_server, self.schemas)

    def here(self) -> Contents:
        """What is local, under the source's names."""
        return closures.renamed(closures.read(self.lab.local_server, list(self.back)), self.back)

    def pull(self, contents: Contents, start: set[Entity], tables: set[Table], *selections: Any, **options: Any) -> Any:
        """Pull a selection that is known to select these entities of these tables, and check what has come of it."""
        chosen = closures.closure(contents, start, **options)
        new = chosen - self.wanted
        result = self.pipeline.pull(*selections, **options)
        self.wanted |= chosen
        self.tables |= closures.ancestors(
            {closures.master(t) for t in tables} | {t for t, _ in chosen}, contents.references
        )
        self.check(contents)
        assert result.pulled == len(new), result
        assert not result.errors
        again = self.pipeline.pull(*selections, **options)
        assert (again.pulled, again.adopted) == (0, 0), again
        return result

    def check(self, contents: Contents) -> None:
        """What is here, and what is held, is what is wanted and nothing else, and refers to the same as there."""
        here = self.here()
        groups = {table for table in contents.rows if closures.master(table) in self.tables}
        assert set(here.rows) == groups
        entities = {entity for table in here.masters() for entity in here.entities(table)}
        assert entities == self.wanted, difference(entities, self.wanted)
        there = closures.rows_of(contents, self.wanted)
        for table in groups:
            rows = sorted((sorted(row.items()) for row in here.rows[table]), key=repr)
            assert rows == there.get(table, []), table
        held = closures.held(self.lab.source_server, self.lab.helper_schema, contents)
        assert held == self.wanted, difference(held, self.wanted)
        wanted = [r for r in contents.references if closures.master(r.child) in self.tables]
        assert ordered(here.references) == ordered(wanted)

    def forget(self) -> None:
        """Let everything here go, and every hold, as nobody may: for the next selection."""
        _emptied(self.lab.local_server, list(self.back))
        helpers = closures.read(self.lab.source_server, [self.lab.helper_schema])
        mine = {r.child for r in helpers.references if r.parent[0] in self.schemas}
        _emptied(self.lab.source_server, [self.lab.helper_schema], mine)
        self.wanted = set()


def difference(found: set[Entity], wanted: set[Entity]) -> str:
    return f"too many: {sorted(found - wanted)}\nmissing: {sorted(wanted - found)}"


def ordered(references: list[closures.Reference]) -> list[Any]:
    """Foreign keys, whatever the order of their columns."""
    return sorted((r.child, r.parent, sorted(zip(r.columns, r.referred, strict=True))) for r in references)


def _emptied(server: Any, schemas: list[str], only: set[Table] | None = None) -> None:
    tables = closures.read(server, schemas).rows if only is None else only
    mark = '"' if server.kind == "postgresql" else "`"
    names = [f"{mark}{schema}{mark}.{mark}{table}{mark}" for schema, table in tables]
    with server.cursor("closures") as cursor:
        if server.kind == "postgresql" and names:
            cursor.execute(f"TRUNCATE {', '.join(names)}")
        elif names:
            cursor.execute("SET foreign_key_checks = 0")
            for name in names:
                cursor.execute(f"DELETE FROM {name}")
            cursor.execute("SET foreign_key_checks = 1")


class Asked:
    """What selects from an example: its code, evaluated over both sides of the package, and over neither."""

    def __init__(self, checked: Checked, made: invented.Pipeline) -> None:
        self.made, self.schemas = made, checked.schemas
        source = checked.pipeline.source
        self.theirs = {"dj": dj, "a": source[checked.schemas[0]], "b": source[checked.schemas[1]]}
        self.admins: dict[str, Any] = {"dj": dj}
        for name, schema in zip("ab", checked.schemas, strict=True):
            found: dict[str, Any] = {}
            checked.lab.source.Schema(schema, create_schema=False, create_tables=False).make_classes(into=found)
            self.admins[name] = SimpleNamespace(**found)

    def selections(self, code: str) -> tuple[Any, ...]:
        """As the package has them."""
        found = eval(code, self.theirs)
        return found if isinstance(found, tuple) else (found,)

    def start(self, contents: Contents, code: str) -> tuple[set[Entity], set[Table]]:
        """The entities that DataJoint itself says it selects, and of which tables."""
        found = eval(code, self.admins)
        start: set[Entity] = set()
        tables: set[Table] = set()
        for item in found if isinstance(found, tuple) else (found,):
            if isinstance(item, SimpleNamespace):
                number = 0 if item is self.admins["a"] else 1
                tables |= {t for t in contents.masters() if t[0] == self.schemas[number]}
                start |= set().union(*(contents.entities(t) for t in tables if t[0] == self.schemas[number]))
                continue
            rows = (item() if isinstance(item, type) else item).to_dicts()
            for table in self.made.tables:
                there = self.schemas[table.schema], table.name
                if table.counter in (item().heading if isinstance(item, type) else item.heading).names:
                    numbers = {str(row[table.counter]) for row in rows}
                    tables.add(there)
                    chosen = [row for row in contents.rows[there] if row[table.counter] in numbers]
                    start |= {contents.entity(there, row) for row in chosen}
        return start, tables


def check_example(lab: Lab, made: invented.Pipeline, number: int, figures: Figures) -> None:
    schemas = [f"{lab.prefix}_{name}{number}" for name in "ab"]
    invented.declare(lab, made, schemas)
    grant(lab, schemas)
    checked = Checked(lab, schemas)
    asked, random = Asked(checked, made), Random(made.seed)
    contents = checked.read()
    for code in made.queries:
        try:
            start, tables = asked.start(contents, code)
        except dj.DataJointError:  # what DataJoint itself does not take
            continue
        checked.pull(contents, start, tables, *asked.selections(code))
        figures.add("closures of random pipelines, each as by brute force", f"{lab.kind} to {lab.local_kind}")
        if random.random() < 0.5:
            checked.forget()


@pytest.mark.timeout(7200 if SOAK else 300)
def test_random_pipelines(mixed: Lab, figures: Figures) -> None:
    """Between servers of one kind some, of two kinds fewer."""
    lab, numbers = mixed, itertools.count()

    @profile(3 if lab.kind == lab.local_kind else 1)
    @given(invented.pipelines(lab.kind, lab.local_kind))
    def exact(made: invented.Pipeline) -> None:
        check_example(lab, made, next(numbers), figures)

    exact()
