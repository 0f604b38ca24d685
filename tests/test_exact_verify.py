"""`verify` compares what is stored: whatever value of whatever type is changed behind its back, at either side, it
names that entity and no other; and `refresh` makes them the source's again."""

from __future__ import annotations

import itertools
from typing import Any

import oracle
import pytest
from figures import Figures
from lab import Lab
from oracle import TYPES, Type
from pipelines import linked

#: What looks alike when it is written down.
ALIKE = (
    "1",
    '["1"]',
    '"1"',
    "[1]",
    "true",
    '"true"',
    '{"1": 1}',
    '{"1": "1"}',
    "null",
    '"null"',
    '[{"a": 1}]',
    '{"a": 1}',
)


def changes(lab: Lab, cases: list[tuple[int, str]]) -> dict[int, tuple[str, int]]:
    """What to change: the value of which column of which row to that of which other, where that is another one."""
    read = {"k": oracle.INTEGER, **columns_of(lab)}
    here = {row[0]: row for row in oracle.read(lab.local_server, lab.local_schema, "thing", read)}
    place = {name: n for n, name in enumerate(read)}
    found = {}
    for (k, name), (other, other_name) in itertools.pairwise(cases):
        if name == other_name and k in here and other in here:
            old, new = (as_compared(lab, here[row][place[name]]) for row in (k, other))
            if old != new:
                found[k] = name, other
    return found


def as_compared(lab: Lab, stored: Any) -> Any:
    """MariaDB prints no sign of zero."""
    return oracle._bits(0.0) if stored == oracle._bits(-0.0) and "mariadb" in (lab.kind, lab.local_kind) else stored


def columns_of(lab: Lab) -> dict[str, Type]:
    """A column of every type, and one of JSON that looks like other JSON."""
    json = Type("jsonb" if lab.kind == "postgresql" else "json", "json", ALIKE)
    return {f"v{n}": column for n, column in enumerate((*TYPES[lab.kind], json))}


def test_every_change_is_seen(mixed: Lab, figures: Figures) -> None:
    lab = mixed
    oracle.create_enum(lab.source_server, lab.source_schema)
    columns = columns_of(lab)
    there, here = (lab.source_server, lab.source_schema), (lab.local_server, lab.local_schema)
    oracle.create(*there, "thing", {"k": oracle.INTEGER, **columns}, ["k"])
    # Twice: one that is changed there, and one that is changed here.
    values = [(name, value) for _ in there for name, column in columns.items() for value in (*column.values, None)]
    for name, column in columns.items():
        rows = [(k, value) for k, (other, value) in enumerate(values) if other == name]
        oracle.insert(*there, "thing", {"k": oracle.INTEGER, name: column}, rows)
    lab.grant("thing")
    Thing: Any = linked(lab, "Thing", backend=lab.source_server.backend)
    Thing().source.pull(suppress_errors=True)
    assert Thing().source.verify()

    changed = changes(lab, [(k, name) for k, (name, _) in enumerate(values)])
    assert len(changed) > len(columns)
    for server, schema in (there, here):
        oracle.run(server, f"CREATE TABLE {schema}.copy AS SELECT * FROM {schema}.thing")
    updates: dict[bool, list[str]] = {True: [], False: []}
    for k, (name, other) in changed.items():
        at_source = k < len(values) // 2
        schema = there[1] if at_source else here[1]
        value = f"(SELECT {name} FROM {schema}.copy WHERE k = {other})"
        updates[at_source].append(f"UPDATE {schema}.thing SET {name} = {value} WHERE k = {k}")
    oracle.run(lab.source_server, *updates[True])
    oracle.run(lab.local_server, *updates[False])
    named = {key["k"] for key in Thing().source.verify().differing}
    assert sorted(values[k] for k in changed.keys() - named) == []
    assert sorted(values[k] for k in named - changed.keys()) == []
    # And brings back, whatever its type.
    refreshed = Thing().source.refresh()
    assert refreshed.refreshed == len(changed) and not refreshed.refused
    assert Thing().source.verify()
    figures.add("changed values, each found by verify", f"{lab.kind} to {lab.local_kind}", len(changed))


ZEROS = [*itertools.permutations(("mysql", "mariadb", "postgresql"), 2)]


@pytest.mark.parametrize("pair", ZEROS, ids="-".join, indirect=True)
def test_numbers_in_json_that_are_written_otherwise(mixed: Lab) -> None:
    """PostgreSQL's JSON has no -0.0, and no server's an integer -0 but MariaDB's: what has arrived does not differ."""
    lab = mixed
    documents = ("-0.0", '{"a": [-0.0, 1.50]}', "0.0", "-0", "[-0, 0]", "-0e0", "1E5", "1e-7", "100000", "12e130")
    json = Type("jsonb" if lab.kind == "postgresql" else "json", "json", (), "json")
    columns = {"k": oracle.INTEGER, "v": json}
    oracle.create(lab.source_server, lab.source_schema, "thing", columns, ["k"])
    oracle.insert(lab.source_server, lab.source_schema, "thing", columns, enumerate(documents))
    lab.grant("thing")
    Thing: Any = linked(lab, "Thing", backend=lab.source_server.backend)
    assert Thing().source.pull(suppress_errors=True).pulled >= len(documents) - 1
    assert Thing().source.verify()
    assert Thing().source.refresh().refreshed == 0
    if lab.kind == "mariadb" and lab.local_kind == "postgresql":
        far = f"UPDATE {lab.source_schema}.thing SET v = '{{}}' WHERE k = 9"
        for number in ("1e999999999", "1e99999999999999999999"):  # no memory has room for their digits
            oracle.run(lab.source_server, far.format(number))
            assert Thing().source.verify().differing == [{"k": 9}]


LONG = [("mariadb", "mariadb"), ("mariadb", "mysql")]


@pytest.mark.parametrize("pair", LONG, ids="-".join, indirect=True)
def test_long_values_that_differ_at_their_ends(mixed: Lab) -> None:
    """In hexadecimal they are longer than a packet, and no expression of the server's has them whole."""
    lab = mixed
    columns = {"k": oracle.INTEGER, "b": Type("longblob", "bytes", ()), "t": Type("longtext", "text", ())}
    oracle.create(lab.source_server, lab.source_schema, "thing", columns, ["k"])
    packet = lab.source_server.sql("SELECT @@max_allowed_packet")[0][0]
    length = min(packet, 16 << 20) // 2 + 1000
    value = "CONCAT(REPEAT('x', {}), '{}')"
    for k in range(4):
        values = [value.format(length if k < 2 else 0, "a"), value.format(length if k >= 2 else 0, "a")]
        oracle.run(lab.source_server, f"INSERT INTO {lab.source_schema}.thing VALUES ({k}, {', '.join(values)})")
    lab.grant("thing")
    Thing: Any = linked(lab, "Thing", backend=lab.source_server.backend)
    assert Thing().source.pull().pulled == 4
    assert Thing().source.verify()
    for k, column in ((1, "b"), (2, "t")):
        changed = f"UPDATE {lab.source_schema}.thing SET {column} = {value.format(length, 'b')} WHERE k = {k}"
        oracle.run(lab.source_server, changed)
    assert Thing().source.verify().differing == [{"k": 1}, {"k": 2}]
