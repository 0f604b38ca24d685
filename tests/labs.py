"""A source with a pipeline over three schemas, of every kind of foreign key, and a `Pipeline` that pulls from it."""

from __future__ import annotations

from typing import Any

import datajoint as dj
from lab import Lab

from link import Pipeline

#: The source's schemas, by the ends of their names.
SCHEMAS = ("lab", "subject", "ephys")


class Person(dj.Manual):
    definition = """
    # who works here
    person: varchar(20)  # by what name
    ---
    born=null: date
    """


class Kind(dj.Lookup):
    definition = """
    kind: enum('wild', 'mutant')
    ---
    remark='': varchar(40)
    """
    contents = ({"kind": "wild", "remark": ""}, {"kind": "mutant", "remark": "of some gene"})


class Subject(dj.Manual):
    definition = """
    subject: int32
    ---
    -> Kind
    -> [nullable] Person.proj(keeper='person')
    name: varchar(30)
    weight=null: float32
    born=null: date
    unique index (name)
    index (born, weight)
    """


class Pair(dj.Manual):
    definition = """
    -> Subject.proj(father='subject')
    -> Subject.proj(mother='subject')
    ---
    paired=null: date
    """


class Tag(dj.Manual):
    definition = """
    -> Subject
    ---
    -> [unique] Person
    """


class Probe(dj.Manual):
    definition = """
    probe: varchar(12)
    """

    class Electrode(dj.Part):
        definition = """
        -> master
        electrode: int16
        ---
        depth=0: float64
        """


class Session(dj.Manual):
    definition = """
    -> Subject
    session: int16
    ---
    -> [nullable] Probe.Electrode.proj(used='probe', used_electrode='electrode')
    start='2020-01-01 00:00:00': datetime
    """

    class Trial(dj.Part):
        definition = """
        -> master
        trial: int16
        ---
        -> Kind
        """

    class Event(dj.Part):
        definition = """
        -> Session.Trial
        event: int16
        ---
        -> [nullable] Person.proj(seen_by='person')
        """


class Unit(dj.Imported):
    definition = """
    -> Session.Trial
    -> Probe.Electrode
    ---
    wave=null: <blob>
    """


class Psth(dj.Computed):
    definition = """
    -> Unit
    ---
    rate: float64
    """

    def make(self, key: dict[str, Any], **_: Any) -> None:
        table: Any = self
        table.insert1({**key, "rate": 0.5})


TABLES: dict[str, tuple[Any, ...]] = {
    "lab": (Person, Kind),
    "subject": (Subject, Pair, Tag),
    "ephys": (Probe, Session, Unit, Psth),
}


def declare(instance: dj.Instance, prefix: str) -> dict[str, Any]:
    """Declare all tables in schemas of some prefix; the classes by name, made anew."""
    made: dict[str, Any] = {}
    instance.config.jobs.add_job_metadata = True
    for name, tables in TABLES.items():
        schema = instance.Schema(f"{prefix}_{name}")
        for table in tables:
            body = {k: v for k, v in vars(table).items() if k in ("definition", "contents", "make")}
            parts: dict[str, Any] = {k: v for k, v in vars(table).items() if isinstance(v, type)}
            body |= {k: type(k, (dj.Part,), {"definition": v.definition}) for k, v in parts.items()}
            made[table.__name__] = schema(type(table.__name__, table.__bases__, body), context=dict(made))
    return made


def build(lab: Lab) -> dict[str, Any]:
    """The pipeline at the source, filled, with the documented rights by schema for the link user."""
    made = declare(lab.source, lab.prefix)
    fill(made)
    grant(lab, *(f"{lab.prefix}_{name}" for name in SCHEMAS))
    return made


def grant(lab: Lab, *schemas: str) -> None:
    """The documented rights of a pipeline."""
    for schema in schemas:
        if lab.kind == "postgresql":
            lab.source_server.sql(f"GRANT USAGE ON SCHEMA {schema} TO {lab.link_user}")
            lab.source_server.sql(f"GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA {schema} TO {lab.link_user}")
        else:
            escaped = schema.replace("_", "\\_")
            lab.source_server.sql(f"GRANT SELECT, REFERENCES ON `{escaped}`.* TO {lab.link_user}@'%'")
    if lab.kind != "postgresql":
        escaped = lab.helper_schema.replace("_", "\\_")
        lab.source_server.sql(f"GRANT ALL PRIVILEGES ON `{escaped}`.* TO {lab.link_user}@'%'")


def fill(made: dict[str, Any]) -> None:
    """Some rows in every table."""

    def rows(table: Any, *values: tuple[Any, ...]) -> None:
        names = [name for name in table.heading.names if not name.startswith("_")]
        table.insert([dict(zip(names, row, strict=True)) for row in values], allow_direct_insert=True)

    kinds, session = ("wild", "mutant"), made["Session"]
    rows(made["Person"], ("ann", None), ("bob", "1990-01-02"), ("eve", None))
    rows(made["Subject"], *((n, kinds[n % 2], "ann" if n % 3 else None, f"s{n}", n / 2, None) for n in range(8)))
    rows(made["Pair"], *((n, n + 1, None) for n in range(0, 8, 2)))
    rows(made["Tag"], (1, "bob"))
    rows(made["Probe"], ("p1",), ("p2",))
    rows(made["Probe"].Electrode, *((p, e, e * 1.5) for p in ("p1", "p2") for e in range(3)))
    used = [("p1", 1), (None, None)]
    rows(session, *((n, s, *used[s], "2021-02-03 04:05:06") for n in range(8) for s in range(2)))
    rows(session.Trial, *((n, s, t, kinds[t]) for n in range(8) for s in range(2) for t in range(2)))
    rows(session.Event, *((n, 0, 1, 0, "eve" if n % 2 else None) for n in range(8)))
    rows(made["Unit"], *((n, 0, 1, "p2", 2, [n]) for n in range(8)))
    rows(made["Psth"], *((n, 0, 1, "p2", 2, n / 4) for n in range(6)))


def local_schemas(lab: Lab) -> dict[str, str]:
    """The source's schemas, and ours."""
    return {f"{lab.prefix}_{name}": f"{lab.prefix}_our_{name}" for name in SCHEMAS}


def pipeline(lab: Lab, **changes: Any) -> Pipeline:
    """The pipeline, here; nothing is connected yet."""
    options: dict[str, Any] = {
        "schemas": local_schemas(lab),
        "helper_schema": lab.helper_schema,
        "connection": lab.local,
        "use_tls": False,
        "backend": "postgresql" if lab.kind == "postgresql" else "mysql",
    } | changes
    host = options.pop("host", f"{lab.source_server.host}:{lab.source_server.port}")
    return Pipeline(host, options.pop("schemas"), options.pop("helper_schema"), **options)


def everything(lab: Lab, of: Pipeline) -> list[Any]:
    """What selects all tables of a pipeline."""
    source: Any = of.source
    return [source[f"{lab.prefix}_{name}"] for name in SCHEMAS]
