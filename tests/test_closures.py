"""What a pull of a pipeline brings and holds is exactly the closure, worked out by brute force: see `closures.py`.

Nothing here looks into the package: what is here and what is held is read from the servers.
"""

from __future__ import annotations

import itertools
from random import Random
from types import SimpleNamespace
from typing import Any

import closures
import datajoint as dj
import invented
import pytest
import tricky
from closures import Contents, Entity, Reference, Table
from figures import SOAK, Figures
from hypothesis import HealthCheck, Phase, given, settings
from lab import Lab
from pulling import Checked, declare, grant

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


@pytest.fixture
def deep(lab: Lab) -> Checked:
    """The tricky pipeline, of which nothing is here yet."""
    names = declare(lab, tricky.TABLES, tricky.ROWS)
    grant(lab, list(names.values()))
    return Checked(lab, names.values())


def test_what_hands_have_worked_out(deep: Checked) -> None:
    """Brute force says the same, and the same comes of pulls: one by one, and all together."""
    names = dict(zip(tricky.TABLES, deep.schemas, strict=True))
    contents = deep.read()
    assert sum(len(contents.rows[table]) for table in contents.masters()) == 42
    for what, ((schema, place, condition, descendants), wanted) in HAND.items():
        start, _ = deep.chosen(contents, names[schema], place, condition)
        assert closures.closure(contents, start, descendants=descendants) == entities(names, **wanted), what
        deep.select(names[schema], place, condition, descendants=descendants)
        deep.forget()
    everything = [deep.pipeline.source[schema] for schema in deep.schemas]
    start = set().union(*map(contents.entities, contents.masters()))
    deep.pull(contents, start, contents.masters(), *everything)


def test_what_is_left_out_and_cut(deep: Checked) -> None:
    """Of what is left out there is nothing here, not even its table; the columns of a cut foreign key stay."""
    _, subject, *_ = deep.schemas
    contents, litter = deep.read(), (subject, "litter")

    def key(table: str, column: str) -> Reference:
        (found,) = (r for r in contents.references if r.child == (subject, table) and column in r.columns)
        return found

    cut = [key("pair", "mother"), key("session__event", "other")]
    deep.select(subject, "Subject", "subject = 2", descendants=True, leave_out=[litter], cut=cut)
    assert {key for table, key in deep.wanted if table == (subject, "subject")} == {("2",)}
    deep.select(subject, "Session")  # said once, it holds
    deep.select(subject, "Pair")


def test_an_ancestor_that_is_left_out(deep: Checked) -> None:
    lab, subject, *_ = deep.schemas
    deep.select(subject, "Session", leave_out=[(lab, "user"), (lab, "#institute")])
    assert {table for table, _ in deep.wanted} == {(subject, "session"), (subject, "subject")}
    deep.select(subject, "Session")


def test_lookups_as_a_whole(deep: Checked) -> None:
    """Those of the plan, with what they stand on; no others."""
    _, _, ephys, report = deep.schemas
    deep.select(ephys, "Clustering", "subject = 5")
    before = len(deep.wanted)
    deep.select(ephys, "Clustering", "subject = 5", lookups="whole")
    assert len(deep.wanted) == before + 4
    deep.select(report, "Site", "probe = 1", lookups="whole")


# random pipelines


CLOSURES = "closures of random pipelines, each as by brute force"


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
    for code, options in made.queries:
        try:
            start, tables = asked.start(contents, code)
        except dj.DataJointError:  # what DataJoint itself does not take
            continue
        # What is here by now was made without cuts, or with them.
        less = {} if checked.tables else cuts(contents, tables, Random(f"cuts of {made.seed}"))
        checked.pull(contents, start, tables, *asked.selections(code), **options, **less)
        figures.add(CLOSURES, f"{lab.kind} to {lab.local_kind}")
        if random.random() < 0.5:
            checked.forget()
    check_single_table(checked, asked, random)
    check_more_rows(checked, asked, random)
    figures.add(CLOSURES, f"{lab.kind} to {lab.local_kind}", 3)


def cuts(contents: Contents, selected: set[Table], random: Random) -> dict[str, Any]:
    """Now and then some tables that are left out, and some foreign keys that are cut."""
    others = sorted(contents.masters() - set(map(closures.master, selected)))
    keys = [r for r in contents.references if closures.master(r.child) != closures.master(r.parent)]
    # By its last column it is named, which is in no other foreign key of the table then.
    alone = [r for r in keys if not any(r.columns[-1] in o.columns for o in keys if o.child == r.child and o != r)]
    return {
        "leave_out": random.sample(others, min(len(others), random.choice((0, 0, 0, 1, 2)))),
        "cut": random.sample(alone, min(len(alone), random.choice((0, 0, 0, 1, 3)))),
    }


def check_single_table(checked: Checked, asked: Asked, random: Random) -> None:
    """What is pulled through the class of one local table brings what it stands on as well."""
    there = [t for t in asked.made.tables if (checked.schemas[t.schema], t.name) in checked.tables]
    if not there:  # no query of the example was one
        return
    table, limit = random.choice(there), random.randint(2, 6)
    contents, name = checked.read(), (checked.schemas[table.schema], table.name)
    start = closures.where(contents, name, lambda row: int(row[table.counter]) < limit)
    source = getattr(checked.pipeline[name[0]], table.label).source
    (source & f"{table.counter} < {limit}").pull()
    checked.wanted |= closures.closure(contents, start, cut=checked.cut)
    checked.check(contents)


def check_more_rows(checked: Checked, asked: Asked, random: Random) -> None:
    """New entities at the source come with the next pull, and nothing else."""
    made = asked.made
    code = random.choice([f"{'ab'[table.schema]}.{table.place}" for table in made.tables])
    contents = checked.read()
    checked.pull(contents, *asked.start(contents, code), *asked.selections(code), descendants=True)
    for table, rows in invented.add_entities(made, random).items():
        invented.insert(checked.lab, table, checked.schemas, rows)
    contents = checked.read()
    checked.pull(contents, *asked.start(contents, code), *asked.selections(code), descendants=True)


@pytest.mark.timeout(7200 if SOAK else 300)
def test_random_pipelines(mixed: Lab, figures: Figures) -> None:
    """Between servers of one kind some, of two kinds fewer."""
    lab, numbers = mixed, itertools.count()

    @profile(2 if lab.kind == lab.local_kind else 1)
    @given(invented.pipelines(lab.kind, lab.local_kind))
    def exact(made: invented.Pipeline) -> None:
        check_example(lab, made, next(numbers), figures)

    exact()
