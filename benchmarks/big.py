"""The pipeline *big*: two schemas, nine masters, one part; 2.1 million rows of a thousand subjects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datajoint as dj


@dataclass(frozen=True)
class Declared:
    """A table of the pipeline: as DataJoint declares it, and what fills it.

    `often` is how many rows a subject has, or one row for so many subjects where it is less than one; `values` are
    SQL with the number of the row as `i`, and the numbers of labs, users and probes in braces.
    """

    schema: str
    tier: type
    name: str
    definition: str
    often: float
    values: str
    part: Declared | None = None


_UNIT = Declared(
    "ephys",
    dj.Part,
    "Unit",
    "-> master\nunit : int32\n---\nn_spikes : int32\namplitude : float64\nwaveform : bytes  # 64 of them",
    1000,
    "{div[1000]}, MOD({div[50]}, 20), MOD({div[25]}, 2), MOD(i, 25), i, i * 0.1234567, {bytes[2]}",
)
#: Parents first.
TABLES = (
    Declared(
        "lab",
        dj.Lookup,
        "Lab",
        "lab : varchar(12)\n---\naddress : varchar(40)",
        1 / 50,
        "CONCAT('lab ', i), CONCAT('street ', i)",
    ),
    Declared(
        "lab",
        dj.Manual,
        "User",
        "user : varchar(16)\n---\n-> Lab\nname : varchar(40)",
        1 / 5,
        "CONCAT('user ', i), CONCAT('lab ', MOD(i, {labs})), CONCAT('name ', i)",
    ),
    Declared(
        "lab",
        dj.Lookup,
        "Probe",
        "probe : int32\n---\n-> Lab\nmodel : varchar(20)",
        1 / 10,
        "i, CONCAT('lab ', MOD(i, {labs})), CONCAT('model ', MOD(i, 3))",
    ),
    Declared(
        "lab",
        dj.Manual,
        "Subject",
        "subject : int32\n---\n-> Lab\n-> User\nborn : date",
        1,
        "i, CONCAT('lab ', MOD(i, {labs})), CONCAT('user ', MOD(i, {users})), DATE '2024-02-29'",
    ),
    Declared(
        "lab",
        dj.Manual,
        "Session",
        "-> Subject\nsession : int32\n---\n-> User\nstart : datetime\nnote : varchar(30)",
        20,
        "{div[20]}, MOD(i, 20), CONCAT('user ', MOD(i, {users})), TIMESTAMP '2024-02-29 12:00:00', CONCAT('note ', i)",
    ),
    Declared(
        "ephys",
        dj.Manual,
        "Insertion",
        "-> Session\ninsertion : int32\n---\n-> Probe\ndepth : float32",
        40,
        "{div[40]}, MOD({div[2]}, 20), MOD(i, 2), MOD(i, {probes}), i * 0.7",
    ),
    Declared(
        "ephys",
        dj.Computed,
        "Clustering",
        "-> Insertion\n---\nquality : varchar(10)",
        40,
        "{div[40]}, MOD({div[2]}, 20), MOD(i, 2), CONCAT('good ', MOD(i, 7))",
        _UNIT,
    ),
    Declared("ephys", dj.Lookup, "Params", "params : int32\n---\nbin : float64", 0, "0, 0.01"),
    Declared(
        "ephys",
        dj.Computed,
        "Psth",
        "-> Clustering.Unit\n-> Params\n---\nrate : float64\ncurve : bytes  # 32 of them",
        1000,
        "{div[1000]}, MOD({div[50]}, 20), MOD({div[25]}, 2), MOD(i, 25), 0, i * 0.7654321, {bytes[1]}",
    ),
)
SCHEMAS = ("lab", "ephys")


def declare(instance: dj.Instance, schemas: Mapping[str, str]) -> dict[str, Any]:
    """Declare the pipeline by DataJoint, in schemas of these names; its classes, parents first."""
    classes: dict[str, Any] = {}
    for table in TABLES:
        body: dict[str, Any] = {"definition": table.definition, "contents": []}
        if table.tier is dj.Computed:
            body["make"] = lambda *_: None
        if table.part:
            body[table.part.name] = type(table.part.name, (dj.Part,), {"definition": table.part.definition})
        schema = instance.Schema(schemas[table.schema])
        classes[table.name] = schema(type(table.name, (table.tier,), body), context=dict(classes))
    return classes


def rows_of(often: float, subjects: int) -> int:
    """How many rows a table has."""
    return max(1, int(subjects * often))


def count(subjects: int) -> int:
    """The rows of all tables."""
    return sum(rows_of(table.often, subjects) for table in (*TABLES, _UNIT))


def count_entities(subjects: int) -> int:
    """The rows of all masters."""
    return sum(rows_of(table.often, subjects) for table in TABLES)
