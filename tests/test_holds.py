"""What people of a source do about held rows, without a link: see who holds them, flag them, clear them away."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import datajoint as dj
import pytest
from lab import Lab
from labs import build, everything, pipeline
from linking import admin
from pipelines import contents, count_held, declare, ephys, flag, granted, helper, rows, states
from shelling import shell
from test_cli_lab_a import environment
from test_source_lab import give

from link import ConfigError, DefinitionError, NotFoundError, PrivilegeError, State
from link.accounts import Credentials
from link.addresses import Address
from link.admin import cleaning, flags, holding
from link.admin.guard import guard
from link.model.layouts import TIMES


@pytest.fixture
def address(lab: Lab) -> Address:
    return Address(lab.source_server.host, lab.source_server.port, lab.source_server.backend)


@pytest.fixture
def administrator(lab: Lab) -> Credentials:
    return Credentials(lab.source_server.admin_user, lab.source_server.admin_password, "administrator")


@pytest.fixture
def member(lab: Lab) -> Credentials:
    """Somebody who works at the source, and has no rights yet."""
    user = f"{lab.prefix}_member"
    lab.source_server.create_user(user, "secret")
    return Credentials(user, "secret", "administrator", "DJ_USER and DJ_PASS")


def give_flagging(lab: Lab, user: str) -> None:
    """What `grants --member` prints, for one linked table."""
    give(lab, user, flags=True, helpers=[lab.helper_table])


def wall(moment: datetime) -> bool:
    return timedelta(minutes=-5) < datetime.now(timezone.utc) - moment < timedelta(minutes=5)


# --- who holds what


def test_each_entity_is_counted_once(either: Lab, address: Address, administrator: Credentials) -> None:
    lab, tables = either, ephys(either)
    Subject = granted(lab, tables["Subject"], **({} if either.older else {"holder": "Lab B"}))
    Subject.source.pull()
    (held,) = holding.holds(address, administrator, lab.helper_schema).lines
    assert (held.table, held.account) == (f"{lab.source_schema}.Subject", lab.link_user)
    assert (held.held, held.flagged, held.deprecated, held.in_hand, held.refreshed) == (3, 0, 0, 0, None)
    if not lab.older:
        assert held.holder == "Lab B"
        assert held.since and wall(held.since) and held.until and wall(held.until)
        assert held.flagged_since is None
    table = f"{lab.source_schema}.Subject"
    assert flags.flag(address, administrator, table, "subject <> 'ann'", helper_schema=lab.helper_schema).changed
    (Subject & "subject = 'bob''s'").delete(prompt=False)
    result = holding.holds(address, administrator, lab.helper_schema)
    (held,) = result.lines
    assert (held.held, held.flagged, held.deprecated, held.in_hand) == (1, 1, 1, 0)
    assert lab.older or (held.flagged_since and wall(held.flagged_since))
    told = json.loads(json.dumps(result.to_dict()))["lines"][0]
    assert (told["table"], told["held"], told["in_hand"]) == (table, 1, 0)
    for shown in (repr(result), result._repr_html_()):
        assert table in shown and lab.link_user in shown and ("Lab B" in shown) is not lab.older


def test_older_helper_tables_say_no_times(lab: Lab, address: Address, administrator: Credentials) -> None:
    Subject = granted(lab, ephys(lab)["Subject"])
    Subject.source.pull()
    for column in TIMES:
        if lab.kind == "postgresql":
            lab.source_server.sql(f"DROP TRIGGER IF EXISTS link_since ON {helper(lab)}")
        lab.source_server.sql(f"ALTER TABLE {helper(lab)} DROP COLUMN {column}")
    (held,) = (result := holding.holds(address, administrator, lab.helper_schema)).lines
    assert (held.held, held.since, held.until) == (3, None, None)
    assert "unknown" in repr(result)


def test_a_pipeline_is_counted_by_tables_and_by_accounts(
    lab: Lab, address: Address, administrator: Credentials
) -> None:
    build(lab)
    lab_a = pipeline(lab, holder="Lab B")
    lab_a.pull(*everything(lab, lab_a))
    by_table = holding.holds(address, administrator, lab.helper_schema)
    counts = {each.table: each.held for each in by_table.lines}
    assert counts[f"{lab.prefix}_ephys.Unit"] == 8 and counts[f"{lab.prefix}_ephys.Session"] == 16
    (whole,) = holding.holds(address, administrator, lab.helper_schema, by="account").lines
    assert (whole.account, whole.holder, whole.table) == (lab.link_user, "Lab B", None)
    assert whole.held == sum(counts.values())
    assert whole.since and wall(whole.since)
    # Of a right on just that schema it is known, too, who the link user is.
    guarded = guard(address, administrator, lab.helper_schema, apply=True)
    assert len(guarded.tables) == len(counts) and not lab_a.pull(*everything(lab, lab_a)).pulled


def test_an_account_that_holds_rows_of_many_tables_is_one_short_line(
    lab: Lab, address: Address, administrator: Credentials
) -> None:
    """Where nobody has said for whom they are held: it had been as long as the names of all local tables."""
    build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(*everything(lab, lab_a))
    tables = holding.holds(address, administrator, lab.helper_schema)
    places = {line.holder.rpartition(" on ")[2] for line in tables.lines}
    (whole,) = holding.holds(address, administrator, lab.helper_schema, by="account").lines
    assert whole.holder == f"{len(tables.lines)} tables on {places.pop()}" and not places


def test_what_cannot_be_found_is_said(lab: Lab, address: Address, administrator: Credentials) -> None:
    with pytest.raises(NotFoundError, match="no schema 'nowhere'"):
        holding.holds(address, administrator, "nowhere")
    with pytest.raises(NotFoundError, match="no helper table in"):
        holding.holds(address, administrator, lab.helper_schema)
    granted(lab, ephys(lab)["Subject"]).source.pull("subject = 'ann'")
    for named, complaint in (
        (f"{lab.source_schema}.Subjekt", rf"(?s)holds rows of .*Did you mean '{lab.source_schema}.Subject'"),
        ("Subject", "schema.Class"),
        (f'{lab.source_schema}.x`"; DROP TABLE y; --', "holds rows of"),
    ):
        with pytest.raises(NotFoundError, match=complaint):
            flags.flag(address, administrator, named, None, helper_schema=lab.helper_schema)
    with pytest.raises(ConfigError, match="is a part"):
        flags.flag(address, administrator, f"{lab.source_schema}.Subject.Name", None, helper_schema=lab.helper_schema)


# --- asking for deletion


def test_flagging_says_what_it_does(either: Lab, address: Address, administrator: Credentials) -> None:
    lab = either
    Subject = granted(lab, ephys(lab)["Subject"])
    Subject.source.pull("subject <> 'ann'")
    table = f"{lab.source_schema}.Subject"

    def does(what: Callable[..., flags.Flagging], where: Any, **options: Any) -> tuple[int, ...]:
        done = what(address, administrator, table, where, helper_schema=lab.helper_schema, **options)
        assert json.loads(json.dumps(done.to_dict()))["changed"] == done.changed
        return done.selected, done.changed, done.unchanged, done.not_held

    before = contents(lab.source_server, lab.helper_schema)
    assert does(flags.flag, None, dry_run=True) == (3, 2, 0, 1)
    assert does(flags.flag, "subject LIKE 'nobody%'") == (0, 0, 0, 0)
    assert contents(lab.source_server, lab.helper_schema) == before
    # Text as DataJoint takes it, and a mapping whose value is bound.
    assert does(flags.flag, "subject LIKE 'bob%'") == (1, 1, 0, 0)
    assert does(flags.flag, {"subject": "bob's"}) == (1, 0, 1, 0)
    assert does(flags.flag, [{"subject": 'ci"%\\d'}, {"subject": "ann"}]) == (2, 1, 0, 1)
    assert len(Subject.source.flagged) == 2
    (Subject & {"subject": "bob's"}).delete(prompt=False)
    assert states(lab, "subject", "subject")["bob's",] is State.DEPRECATED
    done = flags.unflag(address, administrator, table, None, helper_schema=lab.helper_schema)
    assert (done.changed, done.deprecated, done.not_held) == (2, 1, 1)
    assert Subject.source.pull({"subject": "bob's"}).pulled == 1
    assert does(flags.unflag, None) == (3, 0, 2, 1)
    with pytest.raises(ConfigError, match=r"(?s)cannot be used.*attributes subject, weight"):
        does(flags.flag, "no_such_column = 1")
    with pytest.raises(ConfigError, match="no attribute of"):
        does(flags.flag, {"subjekt": "ann"})
    # Values of another type: MySQL and MariaDB compare them, and refuse that where rows are changed.
    for where in ("subject = 0", "weight = 'heavy'"):
        with pytest.raises(ConfigError, match=r"(?s)cannot be used.*attributes subject, weight"):
            does(flags.flag, where)
    assert count_held(lab) == 2


def test_values_are_bound_as_datajoint_does(lab: Lab, address: Address, administrator: Credentials) -> None:
    class Tagged(dj.Manual):
        definition = "tag: uuid\nday: date"

    tags = [uuid.UUID(int=n << 64 | 7) for n in range(3)]
    tagged: Any = declare(lab, Tagged)
    tagged.insert({"tag": tag, "day": date(2020, 1, n + 1)} for n, tag in enumerate(tags))
    granted(lab, tagged).source.pull()
    for where, found in (
        ({"tag": tags[1]}, 1),
        ([{"tag": tags[0]}, {"tag": str(tags[1]), "day": "2020-01-02"}], 2),
        (dj.Not({"day": date(2020, 1, 1)}), 2),
        ("day > '2020-01-01'", 2),
        (dj.AndList(["day > '2020-01-01'", {"tag": tags[2]}]), 1),
        (tagged & {"tag": tags[2]}, 1),  # of another connection: its keys travel
    ):
        options: dict[str, Any] = {"helper_schema": lab.helper_schema, "dry_run": True}
        done = flags.flag(address, administrator, f"{lab.source_schema}.Tagged", where, **options)
        assert (done.selected, done.changed) == (found, found), where


def test_a_pipeline_s_rows_are_flagged(lab: Lab, address: Address, administrator: Credentials) -> None:
    build(lab)
    lab_a = pipeline(lab)
    lab_a.pull(*everything(lab, lab_a))
    for named in ("ephys.Unit", "ephys._unit"):
        done = flags.flag(
            address, administrator, f"{lab.prefix}_{named}", "subject < 3", helper_schema=lab.helper_schema
        )
        assert done.changed + done.unchanged == 3
    assert lab_a.delete_flagged(prompt=False) == 3
    cleaned = cleaning.clean(
        address, administrator, f"{lab.prefix}_ephys.Unit", helper_schema=lab.helper_schema, dry_run=False
    )
    assert cleaned.entities == 3 and not cleaned.kept
    assert len(rows(lab.source_server, f"{lab.prefix}_ephys._unit")) == 5


def test_whoever_lacks_a_right_is_told_the_grant(lab: Lab, address: Address, member: Credentials) -> None:
    """With what is granted then, a member does it all; beside a guard, too."""
    Subject = granted(lab, ephys(lab)["Subject"])
    Subject.source.pull()
    table, where = f"{lab.source_schema}.Subject", "subject = 'ann'"

    def flagging() -> Any:
        return flags.flag(address, member, table, where, helper_schema=lab.helper_schema)

    if lab.kind != "postgresql":
        with pytest.raises(NotFoundError, match="--member"):
            flagging()
    tries = 0
    while tries < 6:
        try:
            assert flagging().changed == 1
            break
        except NotFoundError:
            admin(lab, f'GRANT REFERENCES ON "{{helper}}"."{lab.helper_table}" TO {account(lab, member)}')
        except PrivilegeError as error:
            tries += 1
            assert member.user in error.what
            for statement in (error.hint or "").partition(": ")[2].split(";"):
                if "GRANT" in statement:
                    lab.source_server.sql(statement)
    assert tries
    give_flagging(lab, member.user)
    guard(
        address,
        Credentials(lab.source_server.admin_user, lab.source_server.admin_password),
        lab.helper_schema,
        user=lab.link_user,
        apply=True,
    )
    assert flags.unflag(address, member, table, where, helper_schema=lab.helper_schema).changed == 1
    assert flagging().changed == 1
    (held,) = holding.holds(address, member, lab.helper_schema).lines
    assert (held.held, held.flagged) == (2, 1)
    (Subject & where).delete(prompt=False)
    cleaned = cleaning.clean(address, member, table, helper_schema=lab.helper_schema, dry_run=False)
    assert cleaned.entities == 1
    assert {key[0] for key in states(lab, "subject", "subject")} == {"bob's", 'ci"%\\d'}


def account(lab: Lab, member: Credentials) -> str:
    return member.user if lab.kind == "postgresql" else f"{member.user}@'%'"


# --- clearing away


def test_what_is_deprecated_goes_with_all_that_depends_on_it(
    either: Lab, address: Address, administrator: Credentials
) -> None:
    """As by DataJoint's delete(): parts, computed tables, and those by keys under other names; beside a guard."""
    lab, tables = either, ephys(either)
    Subject = granted(lab, tables["Subject"])
    Subject.source.pull()
    if not lab.older:
        guard(address, administrator, lab.helper_schema, user=lab.link_user, apply=True)
    table = f"{lab.source_schema}.Subject"

    def cleaned(**options: Any) -> cleaning.Cleaned:
        return cleaning.clean(address, administrator, table, helper_schema=lab.helper_schema, **options)

    flag(lab, "subject <> 'ann'")
    assert cleaned(dry_run=False).entities == 0  # nobody has let go of it yet
    (Subject & "subject <> 'ann'").delete(prompt=False)
    before = contents(lab.source_server, lab.source_schema, lab.helper_schema)
    foreseen = cleaned()
    assert foreseen.dry_run and foreseen.entities == 2
    assert contents(lab.source_server, lab.source_schema, lab.helper_schema) == before

    one = cleaned(where={"subject": "bob's"}, dry_run=False)
    two = cleaned(dry_run=False)
    assert (one.entities, two.entities) == (1, 1)
    assert one.rows + two.rows == foreseen.rows
    after = contents(lab.source_server, lab.source_schema, lab.helper_schema)
    gone = {name: len(before[name]) - len(after[name]) for name in before if len(before[name]) != len(after[name])}
    assert gone.pop(f"{lab.source_schema}.subject") == 2
    told = {name: number for name, number in foreseen.rows.items() if number and not name.endswith(".subject")}
    # Of an outbound table its parts are not counted.
    assert told == {name: number for name, number in gone.items() if "__deletion" not in name}
    # Each subject has a recording with a file and three channels, sorted twice.
    schema = lab.source_schema
    assert gone[f"{schema}._recording__channel"] == 6 and gone[f"{schema}.__sorting__spike"] == 28
    assert gone[f"{schema}.__sorting__report"] == 8
    assert json.loads(json.dumps(two.to_dict()))["rows"][f"{schema}.__sorting"] == 2
    assert "__sorting__spike" in repr(two) and "__sorting__spike" in two._repr_html_()
    assert Subject.source.status()[State.SHARED] == 1


def test_no_hold_is_taken_away(lab: Lab, address: Address, administrator: Credentials) -> None:
    """Where others hold what depends on a row, or the row itself, it stays with all that is its own."""
    tables = ephys(lab)
    Subject = granted(lab, tables["Subject"])
    Subject.source.pull()
    # Lab C, with a helper schema of its own, holds a computed row.
    admin(lab, f'CREATE SCHEMA "{lab.prefix}_c"' + (" AUTHORIZATION {user}" if lab.kind == "postgresql" else ""))
    if lab.kind != "postgresql":
        admin(lab, f'GRANT ALL ON "{lab.prefix}_c".* TO {{user}}')
    other = Lab(lab.source_server, lab.local_server, prefix=lab.prefix, link_password=lab.link_password)
    other.helper_schema, other.local_schema = f"{lab.prefix}_c", f"{lab.prefix}_local_c"
    other.source, other.local = lab.source, lab.local
    for table in (tables["Sorting"], tables["Recording"]):
        lab.grant(table)
    Sorting = granted(other, tables["Sorting"], holder="Lab C")
    Sorting.source.pull({"subject": "bob's", "method": "fast"})
    flag(lab, "1 = 1")
    (Subject & True).delete(prompt=False)
    before = contents(lab.source_server, lab.source_schema, other.helper_schema)
    done = cleaning.clean(
        address, administrator, f"{lab.source_schema}.Subject", helper_schema=lab.helper_schema, dry_run=False
    )
    assert done.entities == 2 and list(done.kept.values()) == [1]
    assert "Lab C" in repr(done) and done.to_dict()["kept"] == dict(done.kept)
    words = ("--table", done.table, "--helper-schema", lab.helper_schema, "-n")
    assert shell("clean", *words, env=environment(lab)).exit_code == 3
    assert rows(lab.source_server, f"{lab.source_schema}.subject", "subject") == [("bob's",)]
    after = contents(lab.source_server, lab.source_schema, other.helper_schema)
    name = f"{other.helper_schema}.{other.helper_table}"
    assert after[name] == before[name]
    assert len(after[f"{lab.source_schema}.__sorting"]) == 2
    # Lab C lets go of it as asked, and then all of it can go.
    flag(other, "1 = 1")
    (Sorting & True).delete(prompt=False)
    done = cleaning.clean(
        address, administrator, f"{lab.source_schema}.Subject", helper_schema=lab.helper_schema, dry_run=False
    )
    assert done.entities == 1 and done.rows[name] == 1
    assert rows(lab.source_server, f"{lab.source_schema}.subject") == []


def test_nothing_is_half_done(lab: Lab, address: Address, administrator: Credentials) -> None:
    """Part rows that refer to what goes, of masters that stay: DataJoint refuses it where it comes to no master."""

    class Note(dj.Manual):
        definition = "note: int32\n---\n-> [nullable] Subject"

        class Line(dj.Part):
            definition = "-> master\n---\n-> Subject"

        class Word(dj.Part):
            definition = "-> Note.Line\nword: int32"

    tables = ephys(lab)
    note: Any = declare(lab, Note, tables["Subject"])
    note.insert({"note": n, "subject": s} for n, s in enumerate([None, "ann", "bob's"]))
    note.Line.insert1({"note": 0, "subject": "ann"})
    note.Word.insert1({"note": 0, "word": 1})
    Subject = granted(lab, tables["Subject"])
    Subject.source.pull()
    flag(lab, "1 = 1")
    (Subject & True).delete(prompt=False)

    def clean(where: str) -> cleaning.Cleaned:
        table = f"{lab.source_schema}.Subject"
        return cleaning.clean(address, administrator, table, where, helper_schema=lab.helper_schema, dry_run=False)

    before = contents(lab.source_server, lab.source_schema, lab.helper_schema)
    for where in ("subject = 'ann'", "1 = 1"):  # its own master would stay, and some others go or none
        with pytest.raises(DefinitionError, match=r"without their masters, 1 of .*Note"):
            clean(where)
    lab.source_server.sql(f"UPDATE {lab.source_schema}.note SET subject = NULL")
    with pytest.raises(DefinitionError, match=r"without their masters, 1 of .*Note"):
        clean("subject = 'ann'")
    lab.source_server.sql(f"UPDATE {lab.source_schema}.note SET subject = 'ann' WHERE note = 1")
    lab.source_server.sql(f"UPDATE {lab.source_schema}.note SET subject = 'bob''s' WHERE note = 2")
    assert contents(lab.source_server, lab.source_schema, lab.helper_schema) == before
    # It goes with its master, whichever of the subjects takes that along.
    lab.source_server.sql(f"UPDATE {lab.source_schema}.note SET subject = 'bob''s' WHERE note = 0")
    done = clean("subject <> 'nobody'")
    assert (done.entities, done.rows[f"{lab.source_schema}.note__word"]) == (3, 1)


def test_no_part_of_what_is_held_goes(lab: Lab, address: Address, administrator: Credentials) -> None:
    """A part that refers to another entity of its own table, too."""

    class Session(dj.Manual):
        definition = "session: int32"

        class Next(dj.Part):
            definition = "-> master\n---\n-> [nullable] Session.proj(other='session')"

    there: Any = declare(lab, Session)
    there.insert({"session": n} for n in range(4))
    there.Next.insert({"session": n, "other": other} for n, other in enumerate([0, 2, None, 2]))
    linked = granted(lab, there)
    linked.source.pull()
    flag(lab, "session >= 2")
    (linked & "session >= 2").delete(prompt=False)

    def clean() -> cleaning.Cleaned:
        table = f"{lab.source_schema}.Session"
        return cleaning.clean(address, administrator, table, helper_schema=lab.helper_schema, dry_run=False)

    before = contents(lab.source_server, lab.source_schema, lab.helper_schema)
    with pytest.raises(DefinitionError, match="without their masters, 1 of"):
        clean()
    assert contents(lab.source_server, lab.source_schema, lab.helper_schema) == before and linked.source.verify()
    lab.source_server.sql(f"UPDATE {lab.source_schema}.session__next SET other = NULL WHERE session = 1")
    done = clean()
    assert (done.entities, done.rows[f"{lab.source_schema}.session__next"]) == (2, 2)
    assert linked.source.verify().compared == 2


def test_what_a_member_cannot_see_keeps_the_rows(lab: Lab, address: Address, member: Credentials) -> None:
    """Whoever may not look at a table that refers to a row hears that there is one; nothing has been deleted."""
    tables = ephys(lab)
    Subject = granted(lab, tables["Subject"])
    Subject.source.pull()
    give_flagging(lab, member.user)
    admin(lab, f'CREATE SCHEMA "{lab.prefix}_hidden"')
    subject = f'"{lab.source_schema}"."subject"'
    admin(
        lab,
        f'CREATE TABLE "{lab.prefix}_hidden"."secret" '
        f"(subject varchar(12) PRIMARY KEY, FOREIGN KEY (subject) REFERENCES {subject} (subject))",
        f'INSERT INTO "{lab.prefix}_hidden"."secret" VALUES (\'ann\')',
    )
    flag(lab, "subject <> 'bob''s'")
    (Subject & "subject <> 'bob''s'").delete(prompt=False)
    before = contents(lab.source_server, lab.source_schema, lab.helper_schema)
    with pytest.raises(Exception, match=r"(?s)Nothing was deleted.*does not see"):
        cleaning.clean(address, member, f"{lab.source_schema}.Subject", helper_schema=lab.helper_schema, dry_run=False)
    assert contents(lab.source_server, lab.source_schema, lab.helper_schema) == before


def test_names_are_quoted(lab: Lab, address: Address, administrator: Credentials) -> None:
    """Of schemas and tables that nobody should have; DataJoint itself stumbles over others still."""
    quote = '"' if lab.kind == "postgresql" else "`"
    there, helpers, key = (f"{lab.prefix}_a'b\\c", f"{lab.prefix}_h'--;", "k")

    def q(*names: str) -> str:
        return ".".join(f"{quote}{name}{quote}" for name in names)

    said = ", ".join(f"{name} varchar(6) NOT NULL" for name in ("process", "is_flagged", "is_deprecated"))
    with lab.source_server.cursor() as cursor:
        for statement in (
            f"CREATE SCHEMA {q(there)}",
            f"CREATE SCHEMA {q(helpers)}",
            f"CREATE TABLE {q(there, 'unit')} ({q(key)} int PRIMARY KEY)",
            f"CREATE TABLE {q(there, '_rate')} (id int PRIMARY KEY, {q(key)} int NOT NULL, "
            f"FOREIGN KEY ({q(key)}) REFERENCES {q(there, 'unit')} ({q(key)}))",
            f"CREATE TABLE {q(helpers, 'x;y')} ({q(key)} int PRIMARY KEY, {said}, "
            f"FOREIGN KEY ({q(key)}) REFERENCES {q(there, 'unit')} ({q(key)}))",
            f"INSERT INTO {q(there, 'unit')} VALUES (1), (2), (3)",
            f"INSERT INTO {q(there, '_rate')} VALUES (10, 1), (11, 1), (12, 2)",
            f"INSERT INTO {q(helpers, 'x;y')} VALUES (1, 'NONE', 'FALSE', 'TRUE'), (2, 'NONE', 'FALSE', 'FALSE')",
        ):
            cursor.execute(statement)
        options: dict[str, Any] = {"helper_schema": helpers}
        done = flags.flag(address, administrator, f"{there}.unit", f"{q(key)} % 2 = 1", **options)
        assert (done.selected, done.changed, done.not_held) == (2, 1, 1)
        assert [(each.held, each.deprecated) for each in holding.holds(address, administrator, helpers).lines] == [
            (1, 1)
        ]
        cleaned = cleaning.clean(address, administrator, f"{there}.Unit", **options, dry_run=False)
        assert cleaned.rows == {f"{helpers}.x;y": 1, f"{there}._rate": 2, f"{there}.unit": 1}
        cursor.execute(f"SELECT id FROM {q(there, '_rate')}")
        assert list(map(tuple, cursor.fetchall())) == [(12,)]
