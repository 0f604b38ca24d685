"""What servers' catalogues tell: the same of tables read one by one and of whole schemas, these with few statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import datajoint as dj
import oracle
import pytest
from lab import Lab
from linking import admin, linked
from oracle import TYPES
from pipelines import ephys
from recorder import Statement

from link import Pipeline
from link.model.schema import Index, Table
from link.servers.catalogue import Catalogue
from link.servers.sites import site_of

#: The documented rights, on MySQL and MariaDB and on PostgreSQL, where the helper schema is the account's own.
PIPELINE_GRANTS = (
    ('GRANT SELECT, REFERENCES ON "{source}".* TO {user}', 'GRANT ALL PRIVILEGES ON "{helper}".* TO {user}'),
    ('GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA "{source}" TO {user}',),
)
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES")


@contextmanager
def catalogues(lab: Lab, user: str) -> Iterator[tuple[Catalogue, Catalogue]]:
    """The source's catalogue twice, of the administrator or of the link user."""
    site = site_of((lab.source if user == "admin" else lab.link_instance()).connection)
    with site.catalogue() as one, site.catalogue() as other:
        yield one, other


def pipeline(lab: Lab) -> Pipeline:
    """The pipeline of the lab's schema; nothing is connected yet."""
    return Pipeline(
        f"{lab.source_server.host}:{lab.source_server.port}",
        {lab.source_schema: lab.local_schema},
        lab.helper_schema,
        backend=lab.source_server.backend,
        use_tls=False,
        connection=lab.local,
    )


def declare_all(lab: Lab) -> None:
    """Tables of all types and tiers, with defaults, parts, foreign keys, indexes; and what resembles tables."""
    server, schema = lab.source_server, lab.source_schema
    oracle.create_enum(server, schema)
    for number in range(0, len(TYPES[lab.kind]), 12):
        columns = {f"v{n}": column for n, column in enumerate(TYPES[lab.kind][number : number + 12])}
        oracle.create(server, schema, f"all_{number}", {"k": oracle.INTEGER, **columns}, ["k"], comment="it's 100%")
    tables = ephys(lab)
    lab.grant(*(table for name, table in tables.items() if name != "Subject"))
    odd, text = ("\"od%d 'name", "text") if lab.kind == "postgresql" else ("\"od%d 'name", "varchar(20)")
    admin(
        lab,
        f"""CREATE TABLE "{{source}}".{odd}" (k int, n int NOT NULL DEFAULT 7, t {text} DEFAULT 'it''s "50%"')""",
        'CREATE VIEW "{source}".looks AS SELECT 1 AS one',
        'CREATE TABLE "{helper}".other (k int PRIMARY KEY, FOREIGN KEY (k) REFERENCES "{source}".all_0 (k))',
    )
    if lab.kind == "postgresql":
        admin(
            lab,
            'CREATE TABLE "{source}".heir () INHERITS ("{source}".all_0)',
            'ALTER TABLE "{source}".all_12 ENABLE ROW LEVEL SECURITY',
            'CREATE POLICY few ON "{source}".all_24 FOR SELECT USING (k > 1)',
            'ALTER TABLE "{source}".all_24 ENABLE ROW LEVEL SECURITY',
            'CREATE UNLOGGED TABLE "{source}".light (k int PRIMARY KEY)',
        )
        lab.grant("all_12", "all_24", "light", "heir", "looks")
    else:
        admin(
            lab,
            "CREATE TABLE \"{source}\".plain (k int PRIMARY KEY, b varbinary(9) DEFAULT 'a?\\0') ENGINE=MyISAM",
            'CREATE TABLE "{source}".cut_up (k int PRIMARY KEY, t varchar(9) CHARACTER SET utf8mb4 '
            "DEFAULT '\U0001f600') PARTITION BY HASH (k) PARTITIONS 2",
        )
        lab.grant("plain", "cut_up", "all_12", "looks")


def told(catalogue: Catalogue, schema: str) -> dict[str, Any]:
    """All that a catalogue tells of a schema."""
    relations = catalogue.relations(schema)
    seen: Any = catalogue.has_schema(schema), catalogue.tables(schema), catalogue.origins(schema)
    found: dict[str, Any] = {"": (relations, seen)}
    for name in relations:
        table = catalogue.table(schema, name)
        obstacles = [catalogue.obstacle(table, held=held) for held in (False, True)]
        policies = catalogue.has_policies(table) if catalogue.shows_all_keys else None
        seen = catalogue.has_keys(table), catalogue.hides_rows(table), policies
        found[name] = table, obstacles, catalogue.missing_rights(table, RIGHTS), seen
    return found


@pytest.mark.parametrize("user", ["admin", "linker"])
def test_whole_schemas_are_told_as_tables_are(lab: Lab, user: str, statements: list[Statement]) -> None:
    declare_all(lab)
    schemas = [lab.source_schema, lab.helper_schema]
    with catalogues(lab, user) as (asked, read):
        one_by_one = [told(asked, schema) for schema in schemas]
        statements.clear()

        read.read(schemas)
        taken = len(statements)
        at_once = [told(read, schema) for schema in schemas]

        assert at_once == one_by_one
        # The facts; schemas, relations, origins; grants.
        assert taken <= len(read.facts) + 3 + 2 * (lab.kind != "postgresql")
        # What no list of tables tells is still asked of each: JSON on MariaDB, defaults with odd bytes.
        assert len([s for s in statements[taken:] if not s.sql.startswith("SHOW ")]) <= 1
        assert not read.has_schema(f"{lab.prefix}_none")
        assert read.table(lab.source_schema, "none") == Table(lab.source_schema, "none", "", (), ())
        some = [(lab.source_schema, name) for name in ("subject", "__sorting__unit") if name in one_by_one[0]]
        asked.read_tables(some)
        statements.clear()
        assert [asked.table(*each) for each in some] == [one_by_one[0][name][0] for _, name in some]
        assert not statements


def test_what_was_read_is_told_until_it_is_forgotten(lab: Lab) -> None:
    schema = lab.source_schema
    admin(lab, 'CREATE TABLE "{source}".one (k int PRIMARY KEY)')
    with catalogues(lab, "admin") as (_, catalogue):
        catalogue.read([schema])
        before = catalogue.table(schema, "one")
        admin(
            lab,
            'CREATE TABLE "{source}".two (k int PRIMARY KEY)',
            'ALTER TABLE "{source}".one ADD COLUMN n int',
            'CREATE SCHEMA "{source}_more"',
        )
        assert (catalogue.tables(schema), catalogue.table(schema, "one")) == (["one"], before)

        catalogue.forget(schema)

        assert catalogue.has_schema(f"{schema}_more")
        assert (catalogue.tables(schema), catalogue.table(schema, "one").names) == (["one", "two"], ("k", "n"))


def test_indexes(lab: Lab) -> None:
    postgresql = lab.kind == "postgresql"
    lines = "a int NOT NULL, b int NULL, c int NULL, d varchar(50) NULL, e int NULL, f int NULL"
    admin(
        lab,
        'CREATE TABLE "{source}".parent (k int PRIMARY KEY, n int NOT NULL, UNIQUE (n))',
        f'CREATE TABLE "{{source}}".child (k int PRIMARY KEY, {lines}, '
        + ", ".join(f'FOREIGN KEY ({name}) REFERENCES "{{source}}".parent (k)' for name in "abe")
        + ")",
        'CREATE INDEX first ON "{source}".child (d, c)',
        'CREATE INDEX same ON "{source}".child (d, c)',
        'CREATE UNIQUE INDEX pair ON "{source}".child (c DESC, f)',
        'CREATE UNIQUE INDEX own ON "{source}".child (b)',
    )
    if postgresql:  # as DataJoint declares it; elsewhere the server does
        admin(lab, 'CREATE INDEX ON "{source}".child (a)', 'CREATE INDEX ON "{source}".child (e)')
        odd: tuple[str, ...] = (
            'CREATE UNIQUE INDEX ON "{source}".child (lower(d))',
            'CREATE UNIQUE INDEX ON "{source}".child (f) WHERE f > 0',
            'CREATE INDEX ON "{source}".child USING hash (f)',
            'CREATE UNIQUE INDEX ON "{source}".child (k, f) NULLS NOT DISTINCT',
            'CREATE UNIQUE INDEX ON "{source}".child (f) INCLUDE (d)',
        )
    else:
        odd = (
            'CREATE UNIQUE INDEX beginning ON "{source}".child (f, d(5))',
            'CREATE FULLTEXT INDEX words ON "{source}".child (d)',
        )
    lab.grant("child")
    plain = {Index(("d", "c")), Index(("c", "f"), True), Index(("b",), True)}
    with catalogues(lab, "linker") as (catalogue, _):
        assert set(catalogue.table(lab.source_schema, "child").indexes) == plain

        admin(lab, *odd)

        found = catalogue.table(lab.source_schema, "child").indexes
    assert plain < set(found)
    unfit = {(i.columns, i.unique): i.unfit for i in found if i.unfit}
    if postgresql:
        assert Index(("f",), True) in found
        assert unfit == {
            ((), True): "it is of an expression",
            (("f",), True): "it is of some rows only",
            (("f",), False): "it is of the type hash",
            (("k", "f"), True): "it tells no NULL from another",
        }
    else:
        assert unfit == {
            (("f", "d"), True): "it is of the first 5 characters of d only",
            (("d",), False): "it is of the type FULLTEXT",
        }


def test_parts_come_after_the_parts_that_they_refer_to(lab: Lab) -> None:
    class Session(dj.Manual):
        definition = "session: int32"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32"

        class Event(dj.Part):
            definition = "-> Session.Trial\nevent: int32"

        class Detail(dj.Part):
            definition = "-> master\ndetail: int32\n---\n-> [nullable] Session.Event"

    table: Any = lab.source.Schema(lab.source_schema)(Session)
    lab.grant(table)
    row = {"session": 1, "trial": 2, "event": 3, "detail": 4}
    for each in (table, table.Trial, table.Event, table.Detail):
        each.insert1(row, ignore_extra_fields=True)
    Linked: Any = linked(lab)

    Linked().source.pull()

    parts = [part.name for part in Linked._link.find_source().parts]
    assert parts == ["session__trial", "session__event", "session__detail"]
    assert len(Linked.Detail()) == 1 and Linked().source.verify()


def test_indexes_of_a_pipeline_are_made_here(mixed: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab = mixed

    class Owner(dj.Manual):
        definition = "owner: int32"

    class Animal(dj.Manual):
        definition = """
        animal: int32
        ---
        name: varchar(20)
        born: date
        weight: float64
        story: varchar(700)
        -> Owner
        -> [nullable, unique] Owner.proj(keeper="owner")
        index (born, weight)
        unique index (name, weight)
        unique index (story)
        """

    schema = lab.source.Schema(lab.source_schema)
    context = {"Owner": Owner, "Animal": Animal}
    for table in (Owner, Animal):
        schema(table, context=context)
    admin(lab, *PIPELINE_GRANTS[lab.kind == "postgresql"])
    mirror = pipeline(lab)

    mirror.pull(mirror.source[lab.source_schema].Animal)

    wanted = {Index(("born", "weight")), Index(("keeper",), True), Index(("name", "weight"), True)}
    warned = [record.getMessage() for record in caplog.records if "unique index" in record.getMessage()]
    if lab.local_kind == "postgresql" != lab.kind:
        left_out = f"{lab.local_schema}.animal has no unique index (story) here: values can be longer than"
        assert len(warned) == 1 and left_out in warned[0]
    else:
        wanted.add(Index(("story",), True))
        assert not warned
    with site_of(lab.local.connection).catalogue() as catalogue:
        assert set(catalogue.table(lab.local_schema, "animal").indexes) == wanted


def test_many_tables_are_opened_with_few_statements(lab: Lab, statements: list[Statement]) -> None:
    known: dict[str, Any] = {}
    for number in range(12):
        below = f"-> T{number - 1}\n" if number else ""
        definition = f"t{number}: int32\n---\n{below}x: float64"
        made = type(f"T{number}", (dj.Manual,), {"definition": definition})
        known[made.__name__] = lab.source.Schema(lab.source_schema)(made, context=dict(known))
    admin(lab, *PIPELINE_GRANTS[lab.kind == "postgresql"])

    def opened(names: int) -> int:
        """The statements that it takes to open so many tables, once it is known what the source has."""
        links = pipeline(lab)._theirs.links
        graph = links.find_graph()
        statements.clear()
        links.open([(lab.source_schema, f"t{names - 1}")])
        assert len(graph.groups) == 12
        return len([s for s in statements if s.port == lab.source_server.port])

    first, more = opened(2), opened(12)
    assert more - first <= 10 + 5 * 4  # CREATE TABLE, where a server takes one statement at a time; its sessions
    again = opened(12)
    assert again <= 20 and again == opened(2)


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_many_helper_tables_are_made_by_few_connections(lab: Lab) -> None:
    for number in range(9):
        admin(lab, f'CREATE TABLE "{{source}}".t{number} (k int PRIMARY KEY)')
    admin(lab, *PIPELINE_GRANTS[0])
    lab.source_server.sql(f"ALTER USER {lab.link_user}@'%' WITH MAX_USER_CONNECTIONS 3")
    links = pipeline(lab)._theirs.links

    assert len(links.open(links.find_graph().groups)) == 9
