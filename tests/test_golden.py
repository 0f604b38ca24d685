"""All SQL of holds, keys and claims, as text that can be read without a server: tests/golden, one file a dialect.

`make golden` writes the files anew; the difference is then to be read before it is committed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from link.ends.edits import is_noted, noting
from link.holds.closure import Way, to_let_go, unneeded, wanted_again
from link.holds.expressions import Expressions, Known, choosing, needing, reading
from link.holds.parts import holds_of
from link.holds.questions import Question, asking_flags
from link.holds.sets import Sets
from link.holds.together import asking_for_others
from link.model.graph import Graph, graph_of
from link.model.kinds import Kind
from link.model.layouts import DJ_LINK, LINK, TIMES, WORKER, Layout
from link.model.mapping import local_group
from link.model.ranges import ALL, Chunk, Key, Range, Selection, Sql
from link.model.schema import Column, Content, ForeignKey, Group, Index, Table, Tracked, part_name
from link.model.states import AT_REST, FLAGGED, PULLING, REFETCH, SHARED, TRANSITIONS, UNFLAGGED, UNSETTLED
from link.servers.definitions import Definitions
from link.servers.dialect import Dialect
from link.servers.grouping import Grouping
from link.servers.keyed import Keyed, Segment
from link.servers.mysql import MariaDB, MySQL
from link.servers.mysql_definitions import MySQLDefinitions
from link.servers.postgresql import PostgreSQL
from link.servers.postgresql_definitions import PostgreSQLDefinitions
from link.servers.session import Form
from link.servers.staging import Staging
from link.servers.stale import Stale

GOLDEN = Path(__file__).with_name("golden")
DIALECTS: dict[str, tuple[Dialect, type[Definitions]]] = {
    "mysql": (MySQL(), MySQLDefinitions),
    "mariadb": (MariaDB(), MySQLDefinitions),
    "postgresql": (PostgreSQL(), PostgreSQLDefinitions),
}
LAYOUTS = {"@link": LINK, "dj_link": DJ_LINK}
RANGE = Range((1, "a"), (7, "it's 100%"))
CHUNK = Chunk((1, "a"), (7, "b"), 20)
KEYS = [(1, "a"), (2, "b")]
SELECTION = Selection("(n > 3)")
FORMER = (ForeignKey(("n", "name"), "lab", "#unit_old", ("n", "name"), name="outbound_ibfk_1"),)
#: Where a reader wants a new line; an AND only where it joins conditions on rows.
LINE = re.compile(
    r" (?=(?:FROM|WHERE|SET|ORDER BY|GROUP BY|ON DUPLICATE KEY|ON CONFLICT|SELECT|AND (?:NOT )?EXISTS|AND \(\())"
)
NEW_LINE = "\n    "


def columns(dialect: Dialect) -> dict[str, Column]:
    """A number, a text, a float and bytes in the words of a kind of server."""
    if isinstance(dialect, PostgreSQL):
        names = ("integer", "character varying(20)", "real", "bytea")
        charset = {}
    else:
        names = ("int", "varchar(20)", "float", "longblob")
        charset = {"charset": "utf8mb4", "collation": "utf8mb4_bin"}
    kinds = (Kind("integer", 32), Kind("text", 20), Kind("float", 32), Kind("bytes"))
    made = [
        Column(name, sql, kind=kind) for name, sql, kind in zip(("n", "name", "x", "wave"), names, kinds, strict=True)
    ]
    made[1] = replace(made[1], charset=charset.get("charset"), collation=charset.get("collation"))
    made[3] = replace(made[3], nullable=True, comment="samples, 100%")
    return {column.name: column for column in made}


def group(dialect: Dialect) -> Group:
    """A master with a key of two columns, and a part."""
    column = columns(dialect)
    key = ("n", "name")
    master = Table("lab", "#unit", "a unit", tuple(column.values()), key)
    part = Table(
        "lab",
        "#unit__spike",
        "",
        (column["n"], column["name"], replace(column["n"], name="spike")),
        (*key, "spike"),
        (ForeignKey(key, "lab", "#unit", key),),
        key,
    )
    return Group(master, (part,))


def helper(tables: Group, layout: Layout) -> Table:
    """The helper table of the group's master."""
    said = [Column(name, "enum", kind=Kind("enum")) for name in (*layout.columns.values(), *layout.hidden)]
    master = tables.master
    return Table("held", "unit_outbound", "", (*master.key_columns, *said), master.primary_key)


def statements(dialect: Dialect, define: Definitions) -> Iterator[tuple[str, str | Sql]]:
    """What is sent, and when."""
    tables = group(dialect)
    yield from defining(define, tables)
    for name, layout in LAYOUTS.items():
        yield from holding(f"{name}: ", dialect, tables, layout)
    yield from following(dialect, tables)
    yield from planning(dialect, tables)
    yield from comparing(dialect, tables)
    yield from refreshing(define, tables)
    yield from depending(define, tables)
    yield from sending(dialect, tables)


def defining(define: Definitions, tables: Group) -> Iterator[tuple[str, str | Sql]]:
    master = tables.master
    for layout in LAYOUTS.values():
        columns = {**layout.labels, **layout.hidden}
        created = define.create_helper(master, "held", "unit_outbound", columns, "datajoint-link")
        yield from (("create the helper table", sql) for sql in created)
        for suffix in layout.parts.values():
            part = part_name("unit_outbound", suffix)
            created = define.create_helper_part(master, "held", part, "unit_outbound")
            yield from (("create a part of the helper table", sql) for sql in created)
    flags = define.note_flags("held", "unit_outbound", master.primary_key)
    yield from (("note when rows are flagged", sql) for sql in flags)
    comment = define.comment_on("held", "unit_outbound", "Rows held by Lab B [datajoint-link]")
    yield from (("say whom a helper table serves", sql) for sql in comment)
    yield from (("create the table with the numbers", sql) for sql in define.create_numbers("here", "~link"))
    yield from (("let it hold ties", sql) for sql in define.add_ties("here", "~link"))
    yield from (("create the table with edits", sql) for sql in define.create_edits("here", "~link_edited"))
    unit = local_group(tables, "here", "unit").master
    yield "note an edit", noting(define.dialect, unit, "n = 1")
    yield "tell what was edited", is_noted(define.dialect, unit)
    for missing in ({WORKER: ()}, dict.fromkeys(TIMES)):
        completed = define.add_columns("held", "unit_outbound", missing)
        yield from (("complete a helper table", sql) for sql in completed)
    for table in local_group(tables, "here", "unit").tables:
        yield from (("create a local table", sql) for sql in define.create_table(table))
    indexes = (Index(("x", "n")), Index(("name",), True), Index(("wave",), unfit="it is longer than indexes are"))
    indexed = define.create_table(replace(master, schema="here", indexes=indexes))
    yield from (("create a local table with indexes", sql) for sql in indexed)
    added = replace(master["x"], name="y", default="0.5", comment="100%")
    wider = replace(master["name"], type=master["name"].type.replace("20", "40"), nullable=True)
    altered = define.alter_table(master, [added], [wider], [master["wave"]])
    yield from (("alter a table", sql) for sql in altered)
    former = replace(helper(tables, LINK), foreign_keys=FORMER)
    yield "let a helper table refer to its source", define.refer(former, master)


def holding(layout_name: str, dialect: Dialect, tables: Group, layout: Layout) -> Iterator[tuple[str, str | Sql]]:
    holds = holds_of(dialect, tables.master, helper(tables, layout), layout).numbered(7)
    told = {
        "adopt": holds.adopting({3}),
        "survey, at rest": holds.counting_rest(SELECTION),
        "survey, others": holds.counting_others(),
        "what a refresh leaves alone": holds.counting_left_alone(SELECTION),
        "claim a range": holds.claiming(ALL, RANGE),
        "claim a range that nobody holds anything of": holds.claiming(SELECTION, RANGE, mixed=False),
        "claim keys": holds.claiming_keys(SELECTION, KEYS),
        "count what nobody holds": holds.unshared(SELECTION).selecting("COUNT(*)"),
        "rows of a chunk, master": holds.rows_of(tables.master, CHUNK),
        "rows of a chunk, part": holds.rows_of(tables.parts[0], CHUNK),
        "rows of a whole chunk": holds.rows_of(tables.parts[0], replace(CHUNK, whole=True)),
        "how many rows of a chunk": holds.counting_rows(tables.tables, CHUNK),
        "keys in hand": holds.mine(PULLING, Range((1, "a"))).selecting(holds.helper.selected, holds.helper.order),
    }
    says = {"shared": SHARED, "flagged": FLAGGED, "unflagged": UNFLAGGED, "unsettled": UNSETTLED}
    told |= {
        f"keys: {name}": holds.saying(what, SELECTION).selecting(holds.helper.selected) for name, what in says.items()
    }
    told |= {
        "who holds what": holds.reading_account(),
        "the source flags": holds.flagging(SELECTION),
        "the source unflags": holds.unflagging(ALL),
    }
    yield f"{layout_name}which rows are shared", holds.holding(holds.rows, AT_REST)
    yield from ((layout_name + name, sql) for name, sql in told.items())
    yield from ((f"{layout_name}the source clears away what is deprecated", sql) for sql in holds.clearing(KEYS))
    if holds.timed:
        yield f"{layout_name}note what is refreshed", holds.noting_refreshed(KEYS)
        yield f"{layout_name}tell since when", holds.reading_since()
    for transition in TRANSITIONS:
        for what, rows in (("range", RANGE), ("keys", KEYS)):
            for sql in holds.change(transition, rows).statements:
                yield f"{layout_name}transition {transition.edge}, {what}", sql


def pipeline(dialect: Dialect, tables: Group) -> Graph:
    """A unit, what is computed of it, with a part that refers to another unit, and a table that names a spike only."""
    column, unit, spike = columns(dialect), tables.master, replace(tables.parts[0], primary_key=("spike",))
    key, to_unit = unit.primary_key, ForeignKey(unit.primary_key, "lab", unit.name, unit.primary_key)
    near = replace(column["name"], name="near")
    of = tuple(replace(column[name], name=f"of_{name}", nullable=True) for name in key)
    rate = Table("lab", "__rate", "", (*unit.key_columns, replace(column["n"], name="bin")), (*key, "bin"), (to_unit,))
    beside = Table(
        *("lab", "__rate__beside", "", (*rate.columns, near, *of), (*rate.primary_key, "near")),
        (
            ForeignKey(rate.primary_key, "lab", "__rate", rate.primary_key),
            ForeignKey(("of_n", "of_name"), "lab", unit.name, key),
        ),
    )
    note = Table(
        *("lab", "note", "", (column["n"], replace(column["n"], name="spike", nullable=True)), ("n",)),
        (ForeignKey(("spike",), "lab", spike.name, ("spike",)),),
    )
    return graph_of([unit, spike, rate, beside, note])


def following(dialect: Dialect, tables: Group) -> Iterator[tuple[str, str | Sql]]:
    graph = pipeline(dialect, tables)
    holds = {}
    for name, each in graph.groups.items():
        held = helper(each, LINK)
        holds[name] = holds_of(dialect, each.master, replace(held, name=f"{name[1].strip('_#')}_outbound"), LINK)
        holds[name] = holds[name].numbered(4711)
    yield "ask for what others have in hand", asking_for_others(list(holds.values()), {next(iter(holds.values())): 64})
    ways = [Way(edge, holds[edge.child], holds[edge.parent]) for edge in graph.edges]
    for way in ways:
        yield (
            f"hold what is referred to: {way.edge.place[4:]}",
            way.claiming(Range((1, "a")[: len(way.child.rows.key)])),
        )
        yield "let go of what depends on what is not held", to_let_go(way.child, [way.depends_on_unheld]).deletion
        yield "take in hand again what is needed", wanted_again(way.parent, [way], REFETCH).selecting("COUNT(*)")
        for says in (way.depends_on_unheld, way.depends_on_flagged):
            yield "refers to what nobody holds, or is flagged", says
        yield "what shared entities refer to", way.referred_by(SHARED, SELECTION).condition
    parent = next(way.parent for way in ways if way.edge.parent[1] == tables.master.name)
    down = [way for way in ways if way.parent is parent]
    yield "let go of what nothing needs", unneeded(parent, down, [SELECTION]).deletion


def planning(dialect: Dialect, tables: Group) -> Iterator[tuple[str, str | Sql]]:
    graph, unit = pipeline(dialect, tables), tables.master
    names = ("lab", unit.name), ("lab", "__rate"), ("lab", "note")
    held = {names[0]: holds_of(dialect, unit, helper(tables, LINK), LINK)}
    yield "is anything flagged", asking_flags(held)
    sets = Sets(dialect, graph, {names[1]: [SELECTION, Selection("(bin = 7)")], names[2]: [SELECTION]})
    yield (
        "plan: all that is needed",
        next(Question(sets, held, {unit: 1000}, {unit: [dialect.field(unit, unit["wave"])]}).statements),
    )
    derived = Sets(dialect, graph, {names[0]: [SELECTION]}, descendants=True, flagged=held)
    for name in derived.names:
        yield "plan: what is selected", derived.selected(name).condition
    yield "plan: all that is derived", next(Question(derived, held, {}, {}).statements)
    some = Expressions(derived, Known({names[1]: [(1, "a", 2)]}, {names[0]: KEYS}))
    yield "plan: read what is needed", reading(some, some.needed(names[1]), names[1], 20)
    yield "plan: which keys are needed", needing(some, names[0], KEYS)
    yield "plan: what is selected, by a set", choosing(Expressions(replace(derived, flagged={})), names[1])


def comparing(dialect: Dialect, tables: Group) -> Iterator[tuple[str, str | Sql]]:
    rows = Keyed(dialect, tables.master)
    for alike in (True, False):
        checksum = dialect.key_checksum(rows.pairs, alike)
        yield f"checksum of keys, alike {alike}", Segment(rows).selecting(checksum)
        yield f"comparable rows, alike {alike}", f"SELECT {dialect.comparable(tables.master, alike)}"
    yield "digest of rows", f"SELECT {dialect.sum_of_digests(tables.master)} {rows.rows_of(KEYS)[0]}"
    yield "digest of a key", f"SELECT {dialect.key_digest(rows.pairs)}"
    for pairs in (rows.pairs, rows.pairs[:1]):
        yield "bucket of a key", f"SELECT {dialect.bucket(pairs, 256)}"
    some: dict[Grouping, Sequence[Key]] = {
        Grouping(): [(7,), (9,)],
        Grouping(2): KEYS,
        Grouping(1, 64): [(0,), (3,), (-1,)],
    }
    for grouping, labels in some.items():
        grouped = grouping.of(rows)
        yield "digests by group", dialect.sums_by_group(tables.master, grouped, f"FROM {rows.name}")
        yield "rows of groups", grouping.having(rows, labels)
    yield "look up keys", rows.rows_of(KEYS)
    yield "read keys that travel", f"SELECT {rows.told}"
    travelling = [dialect.travelling(column) for column in rows.key]
    values = [dialect.travelled_value(column, dialect.listed(n)) for n, column in enumerate(travelling)]
    yield "keys that travel", dialect.looked_up(values, dialect.key_text(travelling, KEYS))
    yield "delete keys", rows.deletion(KEYS)
    for sql in (*dialect.stable, dialect.stable_read(f"SELECT {rows.selected} FROM {rows.name}")):
        yield "read what is deleted next", sql
    if isinstance(dialect, MySQL):
        tracked = Tracked("lab", "~external_raw", "blob", "raw")
        column = Column("image", "json", nullable=True, kind=Kind("json"), tracked=tracked)
        told = Keyed(dialect, tables.master, [column]).selected
        yield "what DataJoint 0.x has in a store", f"SELECT {told} FROM {rows.name}"


def refreshing(define: Definitions, tables: Group) -> Iterator[tuple[str, str | Sql]]:
    master, part = (Staging(define, table, n) for n, table in enumerate(local_group(tables, "here", "unit").tables))
    for sql in master.creation:
        yield "make a temporary table", sql
    yield "lock what is refreshed", master.locking
    yield "remove part rows that have gone", part.removal(master)
    yield "change what differs", str(master.update)
    yield "change what differs of a part", str(part.update)
    if changing := master.update_within(RANGE):
        yield "change all of a range", changing
    yield "add part rows that are new", part.insertion
    yield "compare what has become of it, where there are triggers", master.comparing


def depending(define: Definitions, tables: Group) -> Iterator[tuple[str, str | Sql]]:
    """Rows that depend on rows of a master and a part: by a key of their own, and by another column."""
    master, part = (
        Stale(define, table, "here", n) for n, table in enumerate(local_group(tables, "here", "unit").tables)
    )
    column = columns(define.dialect)
    near = ForeignKey(("unit", "name"), "here", "unit", ("n", "name"))
    far = ForeignKey(("at",), "here", "unit", ("x",))
    child = Table("there", "__rate", "", (column["n"], column["name"]), ("n",), (near, far))
    rate = Stale(define, child, "here", 2)
    yield from (("make a temporary table of keys", sql) for sql in rate.creation)
    yield "list the keys of entities", master.adding(Keyed(define.dialect, master.table), KEYS)
    yield "list what refers to them", rate.following(master, near)
    yield "list what refers to another column of them", rate.following(master, far)
    yield "list the masters of part rows", master.gathering(part, part.table.entity_key)
    yield "strike out what rows refer to", master.sparing(child, near, None)
    yield "strike out what rows refer to that stay", master.sparing(child, near, rate)
    yield "strike out what rows refer to by another column", master.sparing(child, far, rate)
    yield "strike out part rows of masters that stay", part.staying_with(master, part.table.entity_key)
    yield "delete what depends on others", rate.deletion


def sending(dialect: Dialect, tables: Group) -> Iterator[tuple[str, str | Sql]]:
    """Rows with bytes that are looked at on the way."""
    table = tables.master
    whats: tuple[Literal["attachment", "packed", "raw"], ...] = ("attachment", "packed", "raw")
    languages: tuple[Literal["values", "copy"], ...] = ("values", "copy")
    for what in whats:
        looked_at = replace(table["wave"], content=Content(what, "wave"))
        some = replace(table, columns=(*table.key_columns, looked_at))
        if isinstance(dialect, MySQL):
            for language in languages:
                form = Form(language)
                yield f"send rows, {what}, {language}", f"SELECT {dialect.render(some, form)}"
                yield f"send long rows, {what}, {language}", f"SELECT {dialect.render(some, form, [looked_at])}"
        elif isinstance(dialect, PostgreSQL) and what == "attachment":
            for form in (Form("values"), Form("binary")):
                yield f"send rows, {what}, {form.language}", f"SELECT {dialect.render(some, form)}"


def golden(name: str) -> str:
    dialect, definitions = DIALECTS[name]
    lines: list[str] = []
    for what, sql in statements(dialect, definitions(dialect)):
        text, args = (sql, ()) if isinstance(sql, str) else sql
        lines += [f"-- {what}{f': {args!r}' if args else ''}", f"{LINE.sub(NEW_LINE, text)};", ""]
    return "\n".join(lines)


@pytest.mark.parametrize("name", DIALECTS)
def test_every_statement_is_as_it_was_read(name: str) -> None:
    file = GOLDEN / f"{name}.sql"
    if os.environ.get("LINK_GOLDEN") == "write":
        file.write_text(golden(name))
    assert file.read_text() == golden(name), "If this is what is meant: make golden, and read the difference."


@pytest.mark.parametrize("name", DIALECTS)
def test_each_transition_is_there_in_both_layouts(name: str) -> None:
    text = golden(name)
    for layout in LAYOUTS:
        for transition in TRANSITIONS:
            assert f"-- {layout}: transition {transition.edge}, range" in text
