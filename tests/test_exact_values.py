"""Every value of every type arrives as it was stored, between any two kinds of server, or its entity is refused."""

from __future__ import annotations

from typing import Any

import oracle
from lab import Lab
from oracle import TYPES, Type
from pipelines import count_held, linked

from link.run import Run

MOOD = Type("", "text", (), labels=oracle.LABELS)


def prepare(lab: Lab) -> None:
    """The enum's type, where enums have types of their own."""
    if lab.kind == "postgresql":
        labels = ", ".join(oracle.string(lab.kind, label) for label in oracle.LABELS)
        oracle.run(lab.source_server, f"CREATE TYPE {lab.source_schema}.mood AS ENUM ({labels})")


def definition(lab: Lab, name: str, column: Type, rest: str = "NULL", comment: str = "") -> list[str]:
    """A column as it stands in CREATE TABLE, and the statement that comments on it where that is another one."""
    words = f"{oracle.quote(lab.kind, name)} {column.sql.format(schema=lab.source_schema)} {rest}"
    text = oracle.string(lab.kind, f":{column.marker}:{comment}" if column.marker else comment)
    if lab.kind != "postgresql":
        return [f"{words} COMMENT {text}"]
    on = f"COMMENT ON COLUMN {lab.source_schema}.thing.{oracle.quote(lab.kind, name)}"
    return [words, *([f"{on} IS {text}"] if text != "''" else [])]


def create(lab: Lab, columns: dict[str, Type], key: str = "k integer NOT NULL, PRIMARY KEY (k)") -> None:
    """The source table `thing`."""
    defined = [definition(lab, name, column) for name, column in columns.items()]
    options = "" if lab.kind == "postgresql" else " DEFAULT CHARSET utf8mb4"
    lines = ", ".join([*(d[0] for d in defined), key])
    oracle.run(
        lab.source_server,
        f"CREATE TABLE {lab.source_schema}.thing ({lines}){options}",
        *(statement for d in defined for statement in d[1:]),
    )


def test_every_value_arrives_or_is_refused(mixed: Lab) -> None:
    lab = mixed
    prepare(lab)
    columns = {f"v{n}": column for n, column in enumerate(TYPES[lab.kind])}
    create(lab, columns)
    cases = [(name, column, value) for name, column in columns.items() for value in (*column.values, None)]
    oracle.run(
        lab.source_server,
        "BEGIN",
        *(
            f"INSERT INTO {lab.source_schema}.thing (k, {name}) "
            f"VALUES ({k}, {oracle.literal(lab.kind, column, value, lab.source_schema)})"
            for k, (name, column, value) in enumerate(cases)
        ),
        "COMMIT",
    )
    lab.grant("thing")
    Thing: Any = linked(lab, "Thing", backend=lab.source_server.backend)

    result = Thing().source.pull(suppress_errors=True)

    expected = {
        k: f"{name} {column.sql} {value!r}: {reason}"
        for k, (name, column, value) in enumerate(cases)
        if (reason := oracle.refusal(lab.kind, lab.local_kind, column, value))
    }
    refused = {key["k"]: f"{cases[key['k']]!r:.99}: {error}" for key, error in result.errors}
    assert [text for k, text in refused.items() if k not in expected] == []
    assert [text for k, text in expected.items() if k not in refused] == []
    read = {"k": oracle.INTEGER, **columns}
    names = list(read)
    there = {row[0]: row for row in oracle.read(lab.source_server, lab.source_schema, "thing", read)}
    here = {row[0]: row for row in oracle.read(lab.local_server, lab.local_schema, "thing", read)}
    assert here.keys() == there.keys() - expected.keys()
    for k, (name, column, value) in enumerate(cases):
        if k in here:
            position = names.index(name)
            wanted = oracle.stored(lab.local_kind, column, there[k][position])
            assert here[k][position] == wanted, f"{name} {column.sql} {value!r:.99}"
    assert count_held(lab) == len(here)
    status = Thing().source.status()
    assert {state: n for state, n in status.items() if n} == {"Shared": len(here)} | (
        {"Unshared": len(expected)} if expected else {}
    )
    with Run(Thing._ends) as run:
        keys = [(k,) for k in here]
        assert run.differing(run.home, keys) == []
