"""Every value of every type arrives as it was stored, between any two kinds of server, or its entity is refused."""

from __future__ import annotations

from typing import Any

import oracle
from lab import Lab
from oracle import TYPES
from pipelines import count_held, linked

from link.work.comparing import Comparison
from link.work.run import Run


def test_every_value_arrives_or_is_refused(mixed: Lab) -> None:
    lab = mixed
    oracle.create_enum(lab.source_server, lab.source_schema)
    columns = {f"v{n}": column for n, column in enumerate(TYPES[lab.kind])}
    oracle.create(lab.source_server, lab.source_schema, "thing", {"k": oracle.INTEGER, **columns}, ["k"])
    cases = [(name, column, value) for name, column in columns.items() for value in (*column.values, None)]
    for name, column in columns.items():
        rows = [(k, value) for k, (other, _, value) in enumerate(cases) if other == name]
        table = {"k": oracle.INTEGER, name: column}
        oracle.insert(lab.source_server, lab.source_schema, "thing", table, rows)
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
    with Run(Thing._link.open()) as run:
        keys = [(k,) for k in here]
        assert Comparison(run).differing(keys) == []
