"""Source pipelines for the tests: declared with DataJoint, filled by SQL, and what both servers hold afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any, TypeVar

import datajoint as dj
import older
from fleet import TestServer
from lab import Lab

from link import link
from link.model.states import HelperRow, State, state_of

Contents = dict[str, list[str]]
T = TypeVar("T")


def linked(lab: Lab, table: Any, *, local_schema: str | None = None, body: type | None = None, **options: Any) -> Any:
    """The linked class of a source table, a DataJoint class or its name; nothing is connected yet."""
    name = table if isinstance(table, str) else table.__name__
    if lab.older:
        return older.linked(lab, name)
    settings: dict[str, Any] = {"connection": lab.local, "use_tls": False} | options
    host = settings.pop("host", f"{lab.source_server.host}:{lab.source_server.port}")
    schemas = (lab.source_schema, lab.helper_schema, lab.helper_table, local_schema or lab.local_schema)
    return link(host, *schemas, **settings)(body or type(name, (), {}))


def granted(lab: Lab, table: Any, **options: Any) -> Any:
    """The linked class of a source table on which the link user has got the documented rights."""
    if lab.older:
        older.grant_schemas(lab)
    else:
        lab.grant(table)
    return linked(lab, table, **options)


def declare(lab: Lab, table: type, *others: Any) -> Any:
    """Declare a table at the source, with the tables that its definition names."""
    return lab.source.Schema(lab.source_schema)(table, context={other.__name__: other for other in others})


# pipelines


def units(lab: Lab, rows: int = 0) -> Any:
    """A table without parts: one integer as key, counting from 0."""

    class Unit(dj.Manual):
        definition = """
        unit: int32
        ---
        depth=null: float64  # below the surface
        """

    table = declare(lab, Unit)
    if rows:
        lab.source_server.sql(f"INSERT INTO {table.full_table_name} SELECT i, i / 7.0 FROM {series(rows)}")
    return table


def sessions(lab: Lab, rows: int = 0, trials: int = 2) -> Any:
    """A table with a key of two attributes, ten subjects in turn, and a part with as many rows for each session."""

    class Session(dj.Manual):
        definition = """
        subject: int32
        session: int32
        ---
        note=null: varchar(40)
        """

        class Trial(dj.Part):
            definition = """
            -> master
            trial: int32
            ---
            score: float64
            """

    table = declare(lab, Session)
    if rows:
        add_sessions(lab, 0, rows, trials)
    return table


def add_sessions(lab: Lab, first: int, rows: int, trials: int = 2) -> None:
    """Fill the tables of `sessions` further."""
    master = f"{lab.source_schema}.session"
    key = f"MOD(i + {first}, 10), i + {first}"
    lab.source_server.sql(f"INSERT INTO {master} SELECT {key}, CONCAT('s', i) FROM {series(rows)}")
    if trials:
        product = f"{series(rows)} CROSS JOIN (SELECT i AS trial FROM {series(trials)}) t"
        lab.source_server.sql(f"INSERT INTO {master}__trial SELECT {key}, trial, i + trial / 8.0 FROM {product}")


def series(length: int) -> str:
    """A FROM item whose column `i` counts from 0, on every kind of server."""
    digits = "(SELECT 0 AS n" + "".join(f" UNION ALL SELECT {n}" for n in range(1, 10)) + ")"
    places = range(len(str(length - 1)))
    number = " + ".join(f"{10**place} * d{place}.n" for place in places)
    tables = " CROSS JOIN ".join(f"{digits} d{place}" for place in places)
    return f"(SELECT i FROM (SELECT {number} AS i FROM {tables}) numbers WHERE i < {length}) series"


def ephys(lab: Lab) -> Any:
    """Tables of all tiers, and in the last one parts that refer to other tables, to parts, to a renamed master.

    Returns the table of each tier by name.
    """
    lab.source.config.jobs.add_job_metadata = True

    class Subject(dj.Manual):
        definition = """
        # whom we record
        subject: varchar(12)  # what we call it
        ---
        weight=null: float64
        """

    class Method(dj.Lookup):
        definition = """
        method: varchar(8)
        ---
        setting=0: int32
        """
        contents = ({"method": "fast", "setting": 1}, {"method": "slow", "setting": 2})

    class Recording(dj.Imported):
        definition = """
        -> Subject
        recording: int32
        ---
        -> [nullable] Method
        """

        class File(dj.Part):
            definition = """
            -> master
            file: varchar(20)
            """

        class Channel(dj.Part):
            definition = """
            -> master
            channel: int32
            """

        key_source: Any = Subject

        def make(self, key: Any, **_: Any) -> None:
            new: Any = self
            new.insert1({**key, "recording": 1, "method": None})
            new.File.insert1({**key, "recording": 1, "file": "a%b.dat"})
            new.Channel.insert({**key, "recording": 1, "channel": n} for n in range(3))

    class Sorting(dj.Computed):
        definition = """
        -> Recording
        -> Method
        ---
        quality: float64
        """

        class Unit(dj.Part):
            definition = """
            -> master
            unit: int32
            ---
            -> [nullable] Recording.Channel
            -> [nullable] Method.proj(other_method="method")
            """

        class Spike(dj.Part):
            definition = """
            -> Sorting.Unit
            spike: int32
            ---
            at: float64
            """

        class Report(dj.Part):
            definition = """
            -> master.proj(animal="subject", how="method")
            page: int32
            """

        def make(self, key: Any, **_: Any) -> None:
            new: Any = self
            new.insert1({**key, "quality": 0.1})
            new.Unit.insert({**key, "unit": n, "channel": n or None, "other_method": "slow"} for n in range(3))
            new.Spike.insert({**key, "unit": n % 3, "spike": n, "at": n / 3} for n in range(7))
            renamed = {"animal": key["subject"], "recording": key["recording"], "how": key["method"]}
            new.Report.insert({**renamed, "page": n} for n in range(2))

    tables = [declare(lab, Subject), declare(lab, Method)]
    for table in (Recording, Sorting):
        tables.append(declare(lab, table, *tables))
    tables[0].insert({"subject": name, "weight": len(name)} for name in ("ann", "bob's", 'ci"%\\d'))
    for table in tables[2:]:
        table.populate()
    return {table.__name__: table for table in tables}


# what the servers hold


def rows(server: TestServer, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """All rows of a table, in one order whatever the server's."""
    return sorted(server.sql(f"SELECT {columns} FROM {table}"), key=repr)


def contents(server: TestServer, *schemas: str) -> Contents:
    """Every row of every table in these schemas, what DataJoint keeps for itself included."""
    marks = ", ".join(["%s"] * len(schemas))
    found = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN"
    names = [f"{s}.{t}" for s, t in server.sql(f"{found} ({marks})", *schemas)]
    quote = '"' if server.kind == "postgresql" else "`"
    quoted = {name: f"{quote}{name.replace('.', f'{quote}.{quote}')}{quote}" for name in names}
    return {name: [repr(row) for row in rows(server, quoted[name])] for name in sorted(names)}


def everything(lab: Lab) -> tuple[Contents, Contents]:
    """What both servers hold."""
    return (
        contents(lab.source_server, lab.source_schema, lab.helper_schema),
        contents(lab.local_server, lab.local_schema),
    )


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Fail unless a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def at_one_instant(read: Callable[[], T]) -> T:
    """What several statements read, though the server may just be committing what a dead child has sent."""
    found = read()
    while found != (again := read()):
        found = again
    return found


def assert_same(lab: Lab, table: Any, *parts: str, columns: str = "*") -> None:
    """The source table and these of its parts have the very rows of the local tables."""
    source, local = table.table_name, table.table_name.lstrip("#_")
    quote = '"' if lab.kind == "postgresql" else "`"
    for suffix in ("", *(f"__{part}" for part in parts)):
        there = rows(lab.source_server, f"{lab.source_schema}.{quote}{source}{suffix}{quote}", columns)
        here = rows(lab.local_server, f"{lab.local_schema}.{quote}{local}{suffix}{quote}", columns)
        assert there, f"{source}{suffix} is empty: nothing to compare"
        assert here == there


# the helper table


def helper(lab: Lab) -> str:
    """A FROM item with the columns of the helper table, by whichever interface it was made."""
    return older.said(lab) if lab.older else f"{lab.helper_schema}.{lab.helper_table}"


def helper_rows(lab: Lab, condition: str = "1 = 1") -> list[tuple[Any, ...]]:
    """process, is_flagged and is_deprecated of the helper rows, sorted."""
    columns = "process, is_flagged, is_deprecated"
    return rows(lab.source_server, f"{helper(lab)} WHERE {condition}", columns)


def count_held(lab: Lab) -> int:
    """The number of helper rows."""
    return int(lab.source_server.sql(f"SELECT COUNT(*) FROM {lab.helper_schema}.{lab.helper_table}")[0][0])


def flag(lab: Lab, condition: str, flagged: str = "TRUE") -> None:
    """What an administrator of the source does to ask for a deletion, or to take that back."""
    if lab.older:
        older.request(lab, condition, flagged == "TRUE")
        return
    table = f"{lab.helper_schema}.{lab.helper_table}"
    lab.source_server.sql(f"UPDATE {table} SET is_flagged = '{flagged}' WHERE {condition}")


def states(lab: Lab, table: str, *key: str) -> dict[tuple[Any, ...], State]:
    """The state of every entity, worked out from the three tables."""
    columns = ", ".join(key)
    said = lab.source_server.sql(f"SELECT {columns}, process, is_flagged, is_deprecated FROM {helper(lab)}")
    held = {row[:-3]: HelperRow(*row[-3:]) for row in said}
    there = set(lab.source_server.sql(f"SELECT {columns} FROM {lab.source_schema}.{table}"))
    here = set(lab.local_server.sql(f"SELECT {columns} FROM {lab.local_schema}.{table}"))
    found = {k: state_of(k in there, held.get(k), k in here) for k in there | here}
    assert all(found.values()), f"in no state: {[k for k, state in found.items() if state is None]}"
    return {k: state for k, state in found.items() if state}


def run_sql(server: TestServer, statements: Iterable[str]) -> None:
    """Run statements in one session as administrator."""
    with closing(server.connect_raw()) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
