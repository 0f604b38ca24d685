"""Which server is which, and which local table: however they were reached, moved or copied; and what people read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import datajoint as dj
import labs
import psycopg2
import pytest
from figures import Figures
from lab import Lab
from linking import admin, contents, declare_session, linked, quoted
from older import older
from pipelines import count_held
from proxy import Proxy

from dj_link.convert import convert
from link import ConfigError, HelperMismatchError, LocalMismatchError
from link.ends.identity import linked_in
from link.servers.sites import site_of
from link.signals import BusyError

LOCAL_MARK = "[datajoint-link "


@pytest.fixture
def other_name(lab: Lab) -> Iterator[str]:
    """The source server by another name and port, as through a tunnel."""
    proxy = Proxy(lab.source_server.host, lab.source_server.port)
    yield f"localhost:{proxy.port}"
    proxy.close()


def comment(lab: Lab, table: str | None = None) -> str:
    """The comment of the helper table."""
    name = table or lab.helper_table
    if lab.kind == "postgresql":
        query = "SELECT COALESCE(obj_description(to_regclass(%s)), '')"
        return str(lab.source_server.sql(query, f"{lab.helper_schema}.{name}")[0][0])
    query = "SELECT table_comment FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
    return str(lab.source_server.sql(query, lab.helper_schema, name)[0][0])


def set_comment(lab: Lab, text: str) -> None:
    """What an administrator of the source does to the comment of the helper table."""
    text = text.replace("'", "''")
    if lab.kind == "postgresql":
        admin(lab, f'COMMENT ON TABLE "{{helper}}"."{lab.helper_table}" IS \'{text}\'')
    else:
        admin(lab, f'ALTER TABLE "{{helper}}"."{lab.helper_table}" COMMENT \'{text}\'')


def numbers(lab: Lab) -> list[tuple[Any, ...]]:
    """What is kept with the local tables."""
    return lab.local_server.sql(
        f"SELECT name, number, place FROM {lab.local_schema}.{quoted(lab.local_server, '~link')}"
    )


# --- one server by two names, two servers by one


def test_one_server_by_two_names_is_one(lab: Lab, other_name: str) -> None:
    """Its tables are joined with one another, there and here."""

    class Subject(dj.Manual):
        definition = "subject: int32\n---\nspecies: varchar(20)"

    class Session(dj.Manual):
        definition = "-> Subject\nsession: int32"

    schema: Any = lab.source.Schema(lab.source_schema)
    made = []
    given: list[tuple[Any, dict[str, Any]]] = [(Subject, {}), (Session, {"host": other_name})]
    for table, changes in given:
        table = schema(table, context={"Subject": Subject})
        own = {"species": "mouse"} if table.__name__ == "Subject" else {"session": 1}
        table.insert({"subject": n, **own} for n in range(4))
        lab.helper_table = f"{table.table_name}_outbound"
        lab.grant(table)
        made.append(linked(lab, table.__name__, **changes))
    subject, session = made
    assert len(subject.source * session.source) == 4
    assert subject.source.connection is session.source.connection
    assert subject.source.pull().pulled == session.source.pull().pulled == 4
    assert len(subject() * session()) == 4


def test_the_source_s_own_schema_is_refused_by_whatever_name(lab: Lab, other_name: str) -> None:
    declare_session(lab)
    before = contents(lab)
    table = linked(lab, local_schema=lab.source_schema, host=other_name, connection=lab.source)
    with pytest.raises(ConfigError, match="is the source's own"):
        table().source.pull()
    assert contents(lab) == before
    # On another server it is another schema.
    linked_there = linked(lab, local_schema=lab.source_schema)
    assert linked_there().source.pull().pulled == 3


# --- a copy, and a server that was moved


def test_a_copy_of_the_local_data_changes_nothing_until_it_is_said(lab: Lab, figures: Figures) -> None:
    """The local data are restored on another server, tables, number and all, while the first goes on."""
    declare_session(lab)
    table = linked(lab)
    assert table().source.pull().pulled == 3
    copy = _copied(lab)
    assert copy.source.status()["Shared"] == 3
    assert copy.source.verify()
    assert lab.local.Schema(lab.local_schema).list_tables() == ["session", "session__trial"]
    before = comment(lab), count_held(lab)
    tried = (
        copy.source.pull,
        copy().delete,
        copy().delete_quick,
        (copy() & "session = 1").delete,
        lambda: copy.source.repair(dry_run=False),
        lambda: copy().alter(prompt=False),
    )
    for change in tried:
        with pytest.raises(HelperMismatchError, match="looks like a copy") as raised:
            change()
        assert "Session.source.moved()" in str(raised.value)
    assert (comment(lab), count_held(lab), len(copy())) == (*before, 3)
    figures.add("changes by a copy of the local server", lab.kind, len(tried))
    table().delete(prompt=False)
    assert table().source.pull().pulled == 3

    copy.source.moved(prompt=False)
    copy().delete(prompt=False)
    assert not count_held(lab)
    # Now the first is the copy: also in a process that has used the link before.
    with pytest.raises(HelperMismatchError, match="serves another local table"):
        table().source.pull()
    with pytest.raises(HelperMismatchError, match="serves another local table"):
        linked(lab)().source.pull()
    again = linked(lab)
    again.source.moved(prompt=False)
    again().source.pull()
    assert len(again()) == count_held(lab) == 3
    with pytest.raises(HelperMismatchError, match="serves another local table"):
        _link_there(lab)().source.pull()


def _copied(lab: Lab) -> Any:
    """The class on the other server of the kind, where the local schema has been restored."""
    copy = _link_there(lab)
    schema = lab.local_schema
    site = site_of(lab.source.connection)
    lab.source_server.sql(f"CREATE SCHEMA {schema}")
    for statement in site.definitions.create_numbers(schema, "~link"):
        lab.source_server.sql(statement)
    hidden = f"{schema}.{quoted(lab.source_server, '~link')}"
    for row in numbers(lab):
        lab.source_server.sql(f"INSERT INTO {hidden} (name, number, place) VALUES (%s, %s, %s)", *row)
    copy()
    for name in ("session", "session__trial"):
        for row in lab.local_server.sql(f"SELECT * FROM {schema}.{name}"):
            lab.source_server.sql(f"INSERT INTO {schema}.{name} VALUES ({', '.join(['%s'] * len(row))})", *row)
    return copy


def _link_there(lab: Lab) -> Any:
    return linked(lab, connection=lab.source)


def test_a_copy_of_the_local_schema_is_another_table(lab: Lab) -> None:
    """Also on the same server, and with what is kept with it."""
    declare_session(lab)
    linked(lab)().source.pull()
    other = f"{lab.prefix}_copied"
    (row,) = numbers(lab)
    table = linked(lab, local_schema=other)
    lab.local_server.sql(f"CREATE SCHEMA {other}")
    for statement in site_of(lab.local.connection).definitions.create_numbers(other, "~link"):
        lab.local_server.sql(statement)
    hidden = f"{other}.{quoted(lab.local_server, '~link')}"
    lab.local_server.sql(f"INSERT INTO {hidden} (name, number, place) VALUES (%s, %s, %s)", *row)
    if lab.kind == "postgresql":
        lab.local_server.sql(f"GRANT ALL ON SCHEMA {other} TO {lab.local_user}")
    with pytest.raises(HelperMismatchError, match="looks like a copy"):
        table().source.pull()


def test_asking_before_a_table_is_taken_over(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    declare_session(lab)
    linked(lab)().source.pull()
    other = linked(lab, local_schema=f"{lab.prefix}_other")
    before = comment(lab)
    monkeypatch.setattr("builtins.input", lambda *_: "no")
    other.source.moved(prompt=True)
    assert comment(lab) == before
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    other.source.moved(prompt=True)
    assert f"{lab.prefix}_other.session on " in comment(lab) != before


def test_a_source_schema_that_is_renamed_keeps_its_helper_tables(lab: Lab) -> None:
    """What a pipeline has named after its former name goes on to hold its rows; nothing is held by a second one."""
    labs.build(lab)
    there, new = f"{lab.prefix}_ephys", f"{lab.prefix}_physiology"
    names = labs.local_schemas(lab)
    lab_a: Any = labs.pipeline(lab)
    lab_a.pull(lab_a.source[there].Psth & "subject < 2")
    before, held = lab_a.status(), helper_tables(lab)
    rename_schema(lab, there, new)
    local = {new if name == there else name: ours for name, ours in names.items()}
    lab_a = labs.pipeline(lab, schemas=local)
    assert lab_a.plan(lab_a.source[new].Psth & "subject < 2").new == 0
    after = lab_a.status()
    assert {n.partition(".")[2]: dict(s) for n, s in after.tables.items()} == {
        n.partition(".")[2]: dict(s) for n, s in before.tables.items()
    }
    assert lab_a.pull(lab_a.source[new].Psth).pulled
    assert lab_a.verify() and helper_tables(lab) == held
    assert not lab_a.status()["Unheld"]
    assert (lab_a[new].Session & "subject = 1").delete(prompt=False)
    assert lab_a.verify() and not lab_a.status()["Vanished"]


def helper_tables(lab: Lab) -> list[str]:
    """The names of the helper tables that there are."""
    asked = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    found = [name for (name,) in lab.source_server.sql(asked, lab.helper_schema)]
    return sorted(name for name in found if name.endswith("_outbound"))


def rename_schema(lab: Lab, name: str, new: str) -> None:
    """As its administrator does; where schemas cannot be renamed, by renaming all tables."""
    if lab.kind == "postgresql":
        lab.source_server.sql(f"ALTER SCHEMA {name} RENAME TO {new}")
        return
    lab.source_server.sql(f"CREATE SCHEMA {new}")
    asked = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    moves = [f"`{name}`.`{table}` TO `{new}`.`{table}`" for (table,) in lab.source_server.sql(asked, name)]
    lab.source_server.sql(f"RENAME TABLE {', '.join(moves)}")
    escaped = new.replace("_", "\\_")
    lab.source_server.sql(f"GRANT SELECT, REFERENCES ON `{escaped}`.* TO {lab.link_user}@'%'")


def test_a_pipeline_is_said_to_have_moved_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all its tables at once; until then it may be a copy, of which only questions are answered."""
    labs.build(lab)
    there = f"{lab.prefix}_ephys"
    lab_a: Any = labs.pipeline(lab)
    lab_a.pull(lab_a.source[there].Psth & "subject < 2")
    for schema in labs.local_schemas(lab).values():
        lab.local_server.sql(f"UPDATE {schema}.{quoted(lab.local_server, '~link')} SET place = 'another machine'")
    lab_a = labs.pipeline(lab)
    changes: list[Callable[[], Any]] = [
        lambda: lab_a.pull(lab_a.source[there].Psth),
        lambda: (lab_a[there].Session & "subject = 1").delete(prompt=False),
        lambda: lab_a.repair(dry_run=False),
        lambda: lab_a.refresh(),
    ]
    monkeypatch.setattr("builtins.input", lambda *_: "no")
    lab_a.moved(prompt=True)
    for change in changes:
        with pytest.raises(HelperMismatchError, match=r"looks like a copy(?s:.*)its moved\(\)"):
            change()
    assert lab_a.status().tables[f"{there}.Psth"]["Shared"] == 2
    lab_a.moved(prompt=False)
    assert lab_a.pull(lab_a.source[there].Psth).tables[f"{there}.Psth"].pulled == 4
    others: list[Any] = [lab_a, labs.pipeline(lab)]
    for again in others:
        assert again.verify()
        again.repair(dry_run=False)
    assert (lab_a[there].Session & "subject = 1").delete(prompt=False) == 1


def test_a_schema_that_was_dropped_and_made_again(lab: Lab) -> None:
    """It is known by its server; where servers can look alike, as MariaDB's can, that has to be said."""
    declare_session(lab)
    linked(lab)().source.pull()
    lab.local_server.sql(f"DROP SCHEMA {lab.local_schema} {'CASCADE' if lab.kind == 'postgresql' else ''}")
    table = linked(lab)
    if lab.kind == "mariadb":
        with pytest.raises(HelperMismatchError, match="serves another local table") as raised:
            table()
        assert "Session.source.moved()" in str(raised.value.hint)
        table.source.moved(prompt=False)
    assert table().source.status()["Vanished"] == 3
    table().source.pull()
    assert len(table()) == count_held(lab) == 3
    assert linked(lab)().source.pull().pulled == 0


# --- helper tables that say nothing yet


def earlier(lab: Lab, local_schema: str) -> str:
    """What links of earlier versions wrote on a server that has a number."""
    table = "\0".join((str(site_of(lab.local.connection).facts.lasting_identity), local_schema, "session"))
    return f"datajoint-link {hashlib.sha256(table.encode()).hexdigest()[:16]}"


@pytest.mark.parametrize("before", ["nothing", "earlier, unnamed", "earlier", "by hand"])
def test_a_helper_table_from_before_is_told_whom_it_serves(lab: Lab, before: str) -> None:
    declare_session(lab)
    linked(lab)().source.pull()
    lab.local_server.sql(f"DROP TABLE {lab.local_schema}.{quoted(lab.local_server, '~link')}")
    if before == "earlier" and lab.kind == "mariadb":
        set_comment(lab, "datajoint-link 0123456789abcdef")  # a MySQL server's
        with pytest.raises(HelperMismatchError, match="serves another local table"):
            linked(lab)().source.pull()
        return
    said = {"nothing": "", "earlier, unnamed": "datajoint-link", "by hand": "Ask Anna, it's hers"}
    set_comment(lab, said.get(before, earlier(lab, lab.local_schema)))
    assert linked(lab)().source.pull().pulled == 0
    words = "Ask Anna, it's hers " if before == "by hand" else f"Rows held by {lab.local_schema}.session on "
    assert comment(lab).startswith(words) and LOCAL_MARK in comment(lab)
    with pytest.raises(HelperMismatchError, match="serves another local table"):
        linked(lab, local_schema=f"{lab.prefix}_other")().source.pull()
    assert linked(lab)().source.pull().pulled == 0


def test_a_helper_table_from_before_is_told_once(lab: Lab) -> None:
    """Many use it for the first time at once: for one local table, and for others, of which one gets it."""
    declare_session(lab)
    linked(lab)().source.pull()
    for local_schemas in ([lab.local_schema] * 4, [f"{lab.prefix}_{n}" for n in range(3)]):
        set_comment(lab, "datajoint-link")
        lab.local_server.sql(f"DROP TABLE {lab.local_schema}.{quoted(lab.local_server, '~link')}")
        with ThreadPoolExecutor(len(local_schemas)) as pool:
            tried = list(pool.map(lambda schema: _first_use(lab, schema), local_schemas))
        if local_schemas[0] == lab.local_schema:
            assert tried == [True] * 4
            ((_, number, _),) = numbers(lab)
            assert f"{LOCAL_MARK}{number} " in comment(lab)
        else:
            assert tried.count(True) == 1
            assert f"{local_schemas[tried.index(True)]}.session on " in comment(lab)


def _first_use(lab: Lab, local_schema: str) -> bool:
    """Whether a link of a process of its own may be used."""
    local = lab.instance(lab.local_server, lab.local_user, lab.local_password)
    try:
        linked(lab, local_schema=local_schema, connection=local)().source.status()
        return True
    except HelperMismatchError:
        return False


def test_accounts_that_may_keep_no_number_and_tell_nothing(lab: Lab) -> None:
    """The local tables are another account's, and so is the helper table: the link goes by the servers."""
    declare_session(lab)
    linked(lab)().source.pull()
    hidden = f"{lab.local_schema}.{quoted(lab.local_server, '~link')}"
    lab.local_server.sql(f"DROP TABLE {hidden}")
    set_comment(lab, "")
    helper = f'"{{helper}}"."{lab.helper_table}"'
    user = f"{lab.prefix}_guest"
    lab.local_server.create_user(user, lab.local_password)
    if lab.kind == "postgresql":
        admin(lab, f"ALTER TABLE {helper} OWNER TO CURRENT_USER", f"ALTER TABLE {helper} DISABLE ROW LEVEL SECURITY")
        lab.local_server.sql(f"GRANT USAGE ON SCHEMA {lab.local_schema} TO {user}")
        lab.local_server.sql(f"GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA {lab.local_schema} TO {user}")
    else:
        admin(lab, f"REVOKE ALL PRIVILEGES ON {helper} FROM {{user}}")
        lab.local_server.sql(f"GRANT SELECT, INSERT, DELETE ON `{lab.local_schema}`.* TO {user}@'%'")
    admin(lab, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {helper} TO {{user}}")
    table = linked(lab, connection=lab.instance(lab.local_server, user, lab.local_password))
    (table() & "session = 1").delete(prompt=False)
    assert table().source.pull().pulled == 1
    assert comment(lab) == ""
    tables = "information_schema.tables WHERE table_name = '~link' AND table_schema"
    assert not lab.local_server.sql(f"SELECT 1 FROM {tables} = %s", lab.local_schema)


# --- one helper table, one source


def hidden_name(lab: Lab) -> str:
    return f"{lab.local_schema}.{quoted(lab.local_server, '~link')}"


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "by an earlier version"])
def test_a_second_helper_table_is_refused(lab: Lab, noted: bool) -> None:
    """It would hold the same rows again, and a deletion would let go of them once."""
    declare_session(lab)
    linked(lab)().source.pull()
    if not noted:
        lab.local_server.sql(f"ALTER TABLE {hidden_name(lab)} DROP COLUMN tie")
    first, lab.helper_table = lab.helper_table, "another"
    lab.grant("session")
    before = contents(lab)
    with pytest.raises(HelperMismatchError, match="has one helper table") as raised:
        linked(lab)().source.pull()
    assert f"{lab.helper_schema}.{first} " in str(raised.value)
    assert contents(lab) == before
    lab.helper_table = first
    assert linked(lab)().source.pull().pulled == 0
    # What is noted by no one is noted at the next use.
    assert lab.local_server.sql(f"SELECT tie FROM {hidden_name(lab)} WHERE name = 'session'")[0][0] is not None
    # Once the helper table is gone, another one may hold the rows.
    admin(lab, f'DROP TABLE "{{helper}}"."{first}"')
    lab.helper_table = "another"
    assert linked(lab)().source.pull().adopted == 3


def test_a_second_source_is_refused_until_the_first_link_has_ended(lab: Lab) -> None:
    """Another table there, which is like the first: a deletion would tell only one of them."""
    declare_session(lab)
    first = linked(lab)
    first().source.pull()
    second = _second_source(lab)
    before = contents(lab)
    with pytest.raises(LocalMismatchError, match="has one source") as raised:
        second().source.pull()
    assert f"from {lab.source_schema}.session on the same server" in str(raised.value)
    assert contents(lab) == before
    first.source.release(prompt=False)
    first.drop(prompt=False)
    assert second.source.pull().pulled == 3
    # The first has ended: its class does not take the table back.
    with pytest.raises(LocalMismatchError, match="has one source"):
        linked(lab)().source.pull()
    assert second.source.status()["Shared"] == 3


def test_a_dropped_table_may_come_from_another_source(lab: Lab) -> None:
    declare_session(lab)
    linked(lab)().source.pull()
    second = _second_source(lab)
    lab.local_server.sql(f"DROP TABLE {lab.local_schema}.session__trial")
    lab.local_server.sql(f"DROP TABLE {lab.local_schema}.session")
    assert second().source.pull().pulled == 3
    with pytest.raises(LocalMismatchError, match="has one source"):
        linked(lab)().source.pull()


def _second_source(lab: Lab) -> Any:
    """The class of the same table in another schema of the source, linked into the same local table."""
    first, lab.source_schema = lab.source_schema, f"{lab.prefix}_second"
    lab.source_server.sql(f"CREATE SCHEMA {lab.source_schema}")
    if lab.kind == "postgresql":
        lab.source_server.sql(f"GRANT USAGE ON SCHEMA {lab.source_schema} TO {lab.link_user}")
    helper, lab.helper_table = lab.helper_table, "second"
    declare_session(lab)
    try:
        return linked(lab)
    finally:
        lab.source_schema, lab.helper_table = first, helper


# --- what people read


def test_the_comment_says_who_holds_and_what_to_do(lab: Lab) -> None:
    declare_session(lab)
    linked(lab, holder='Lab "B", 100% Müller')().source.pull()
    words, _, mark = comment(lab).partition(LOCAL_MARK)
    remedy = "To delete one, set is_flagged to TRUE and wait until is_deprecated says TRUE. "
    assert words.startswith(f"Rows held by Lab ?B?, 100? Müller: {lab.local_schema}.session on ")
    assert words.endswith(f". {remedy}")
    assert "127.0.0.1" not in words and len(comment(lab)) < 256
    assert mark.endswith("]")
    # Colleagues who do not say who they are leave it; another name is told.
    said = comment(lab)
    linked(lab)().source.pull()
    assert comment(lab) == said
    linked(lab, holder="Lab C")().source.pull()
    assert comment(lab) == said.replace("Lab ?B?, 100? Müller", "Lab C")
    described: Any = lab.source.FreeTable(f"{lab.helper_schema}.{lab.helper_table}")
    assert "Rows held by Lab C" in described.describe(printout=False)
    assert len(described) == 3


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_what_is_linked_is_not_nothing_while_it_cannot_be_read(lab: Lab) -> None:
    """Rows of a linked table would be taken for the lab's own, and be deleted without a word to their source."""
    declare_session(lab)
    linked(lab)().source.pull()
    site = site_of(lab.local.connection)
    with site.session() as session, lab.local_server.connect_raw() as other:
        assert linked_in(session, lab.local_schema).keys() == {"session"}
        assert linked_in(session, lab.source_schema) == linked_in(session, "nowhere") == {}
        other.cursor().execute(f'LOCK TABLE {lab.local_schema}."~link" IN ACCESS EXCLUSIVE MODE')
        session.execute("SET lock_timeout = '100ms'")
        with pytest.raises(BusyError):
            linked_in(session, lab.local_schema)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_name_that_the_source_s_encoding_does_not_have(lab: Lab) -> None:
    """It is shown as far as that goes, once, and hinders nothing."""
    database, source = f"{lab.prefix}_db", lab.source_server
    source.sql(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with closing(psycopg2.connect(dbname=database, **_administrator(source))) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(
                f"CREATE SCHEMA a; CREATE TABLE a.session (session int PRIMARY KEY); INSERT INTO a.session VALUES (1); "
                f"CREATE SCHEMA held AUTHORIZATION {lab.link_user}; GRANT USAGE ON SCHEMA a TO {lab.link_user}; "
                f"GRANT SELECT, REFERENCES ON a.session TO {lab.link_user}"
            )
            given: dict[str, Any] = {
                "source_schema": "a",
                "helper_schema": "held",
                "database": database,
                "holder": "猫 Müller",
            }
            for pulled in (1, 0):
                assert linked(lab, **given)().source.pull().pulled == pulled
                cursor.execute("SELECT obj_description('held.outbound'::regclass)")
                ((said,),) = cursor.fetchall()
                assert said.startswith(f"Rows held by ? M?ller: {lab.local_schema}.session on ")
    finally:
        source.sql(f"DROP DATABASE {database} WITH (FORCE)")


def _administrator(server: Any) -> dict[str, Any]:
    return {"host": server.host, "port": server.port, "user": server.admin_user, "password": server.admin_password}


def test_the_comment_of_an_outbound_table(lab: Lab) -> None:
    table = older(lab, declare_session(lab, grant=False))
    table().pull()
    assert (
        "To delete one, insert its key into session_outbound__deletion_requested and wait until "
        "session_outbound__deletion_approved has it." in comment(lab)
    )
    convert(table._link, dry_run=False)
    linked(lab)().source.pull()
    assert comment(lab).count("To delete one, set is_flagged to TRUE and wait until is_deprecated says TRUE.") == 1
    assert "session_outbound__deletion_requested" not in comment(lab)


# --- origins of attributes


def test_origins_that_were_written_down_otherwise_are_renewed(lab: Lab) -> None:
    """Earlier versions wrote down the address as it was typed, also for what depends on linked tables."""
    declare_session(lab)
    table = linked(lab)
    table().source.pull()

    class Analysis(dj.Manual):
        definition = "-> Session\nmethod: int32"

    elsewhere = f"{lab.prefix}_analysis"
    below: Any = lab.local.Schema(elsewhere)(Analysis, context={"Session": table})
    lineages = {schema: f"{schema}.{quoted(lab.local_server, '~lineage')}" for schema in (lab.local_schema, elsewhere)}

    def written() -> dict[str, list[tuple[Any, ...]]]:
        return {s: sorted(lab.local_server.sql(f"SELECT * FROM {name}")) for s, name in lineages.items()}

    meant = written()
    name = site_of(lab.source.connection).facts.name
    for hidden in lineages.values():
        lab.local_server.sql(f"UPDATE {hidden} SET lineage = REPLACE(lineage, '{name}/', '/tmp/x:5432/')")
    assert written() != meant
    again = linked(lab)
    again.source.pull()
    assert written() == meant
    assert len(again() * below()) == 0
