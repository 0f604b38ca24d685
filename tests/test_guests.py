"""The source's own users beside a helper table: what they may do with DataJoint goes on, and no hold is lost by it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import datajoint as dj
import older
import psycopg2
import pymysql
import pytest
from figures import Figures
from lab import Lab
from linking import admin, linked, quoted
from shelling import shell

from link import ConfigError, State
from link.accounts import Credentials
from link.addresses import Address
from link.admin.grants import member_statements, revoke_statements
from link.admin.guard import guard
from link.cli.reporting import Exit
from link.model.states import HOLD
from link.servers.rights import Access, Statement

SECRET = "secret"
#: DataJoint has no words of its own for the refusal of PostgreSQL 18.
REFUSALS = (dj.DataJointError, pymysql.MySQLError, psycopg2.Error)


def pipeline(lab: Lab) -> Any:
    """The linked class of such a source table, of whose four rows two are held."""
    declare(lab)
    lab.grant("session")
    linked_class = linked(lab)
    linked_class.source.pull("session < 2")
    return linked_class


def declare(lab: Lab) -> None:
    """A source table whose key comes from another, with a part, and four rows."""

    class Subject(dj.Manual):
        definition = "subject: int32\n---\nname='': varchar(20)"

    class Session(dj.Manual):
        definition = "-> Subject\nsession: int32\n---\nnote='': varchar(20)"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32"

    schema: Any = lab.source.Schema(lab.source_schema)
    schema(Subject).insert({"subject": n, "name": f"mouse {n}"} for n in range(2))
    table = schema(Session, context={"Subject": Subject})
    table.insert({"subject": n // 2, "session": n, "note": f"note {n}"} for n in range(4))
    table.Trial.insert({"subject": n // 2, "session": n, "trial": t} for n in range(4) for t in range(2))


def member(lab: Lab, name: str = "member") -> Any:
    """A user with all rights on the source schema and none elsewhere, as the lab's administrator has let her in."""
    user = f"{lab.prefix}_{name}"
    lab.source_server.create_user(user, SECRET)
    if lab.kind == "postgresql":
        admin(
            lab,
            f'GRANT ALL ON SCHEMA "{{source}}" TO {user}',
            f'GRANT ALL ON ALL TABLES IN SCHEMA "{{source}}" TO {user}',
        )
    else:
        lab.source_server.sql(f"GRANT ALL PRIVILEGES ON `{lab.source_schema}`.* TO {user}@'%'")
    return lab.instance(lab.source_server, user, SECRET)


def sessions(lab: Lab, instance: Any) -> Any:
    """The source table as an account has it."""
    return instance.Schema(lab.source_schema, create_schema=False, create_tables=False).get_table("session")


def helper(lab: Lab, instance: Any) -> Any:
    """The helper table as an account has it."""
    return instance.Schema(lab.helper_schema, create_schema=False, create_tables=False).get_table(lab.helper_table)


def held(lab: Lab) -> list[int]:
    """The sessions that are held."""
    return sorted(n for (n,) in lab.source_server.sql(f"SELECT session FROM {lab.helper_schema}.{lab.helper_table}"))


@pytest.mark.parametrize("who", ["administrator", "member"])
def test_what_nobody_holds_can_be_deleted(lab: Lab, who: str) -> None:
    """By the key, by another attribute, through an ancestor; what is held is refused to all but administrators."""
    pipeline(lab)
    instance = lab.source if who == "administrator" else member(lab)
    linked_class = linked(lab)
    linked_class.source.pull("session < 2")  # anew: it lets in who came after the helper table
    table = sessions(lab, instance)
    assert (table & "note = 'note 2'").delete(prompt=False) == 1
    assert (table & "session = 3").delete(prompt=False) == 1
    if who == "member":
        for restriction in ("session = 1", "note = 'note 1'"):
            with pytest.raises(REFUSALS):
                (table & restriction).delete(prompt=False)
    assert held(lab) == [0, 1]
    subject = instance.Schema(lab.source_schema, create_schema=False, create_tables=False).get_table("subject")
    assert (subject & "name = 'mouse 1'").delete(prompt=False) == 1
    assert len(table) == 2
    assert linked_class.source.verify()


def test_what_an_administrator_must_do_is_said_once(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """Where the link user may not do it: as set up for an earlier version. What is said is what helps."""
    links = [pipeline(lab)]  # what has been said is remembered as long as there is a link
    if lab.kind == "postgresql":
        own = ("OWNER TO CURRENT_USER", "GRANT USAGE, CREATE ON")
        admin(lab, f'ALTER SCHEMA "{{helper}}" {own[0]}', f'{own[1]} SCHEMA "{{helper}}" TO {{user}}')
        instance = member(lab)
    else:
        admin(lab, 'DROP TABLE "{helper}"."~lineage"', 'REVOKE CREATE, INSERT ON "{helper}"."~lineage" FROM {user}')
        instance = lab.source
    table = sessions(lab, instance)
    caplog.clear()
    for _ in range(2):
        links.append(linked(lab))
        links[-1].source.pull("session < 2")
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    with pytest.raises(dj.DataJointError):
        (table & "note = 'note 2'").delete(prompt=False)
    for statement in re.findall(r"(?:GRANT|ALTER) [^;]*", record.getMessage()):
        lab.source_server.sql(statement)
    linked(lab).source.pull("session < 2")
    assert (sessions(lab, instance) & "note = 'note 2'").delete(prompt=False) == 1


def test_what_grants_prints_for_a_member(lab: Lab) -> None:
    """With it, on MySQL what is optional included, she flags rows, and deletes what nobody holds."""
    linked_class = pipeline(lab)
    instance, name = member(lab), f"{lab.prefix}_member"
    access = Access(
        source_schema=lab.source_schema, tables=[], helper_schema=lab.helper_schema, helper_tables=[lab.helper_table]
    )
    if lab.kind == "postgresql":  # she came after the helper table
        with pytest.raises(REFUSALS, match=f"table {lab.helper_schema}.{lab.helper_table} is not defined"):
            (sessions(lab, instance) & "note = 'note 2'").delete(prompt=False)
    run_sql(lab, member_statements(access, lab.source_server.backend, name))
    instance.connection.dependencies.clear()
    table, outbound = sessions(lab, instance), helper(lab, instance)
    outbound.update1({"subject": 0, "session": 1, "is_flagged": "TRUE"})
    assert linked_class.source.flagged.keys() == [{"subject": 0, "session": 1}]
    for change in ({"is_deprecated": "TRUE"}, {"process": "DELETE"}):
        with pytest.raises(REFUSALS):
            outbound.update1({"subject": 0, "session": 1, **change})
    assert (table & "note = 'note 2'").delete(prompt=False) == 1

    run_sql(lab, member_statements(access, lab.source_server.backend, name, revoke=True))
    with pytest.raises(REFUSALS):
        helper(lab, lab.instance(lab.source_server, name, SECRET)).fetch()


def run_sql(lab: Lab, statements: list[Statement]) -> None:
    """Run statements of a script, those also that are comments in it."""
    for statement in statements:
        lab.source_server.sql(statement.sql)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("guest", ["PUBLIC", '"{prefix}_o\'f ""the"" %% $$ lab"'])
def test_whoever_may_delete_is_let_in(lab: Lab, guest: str) -> None:
    """By a right that everybody has, or that a role with any name has; and rows are kept from her all the same."""
    pipeline(lab)
    user, role = f"{lab.prefix}_member", guest.format(prefix=lab.prefix)
    lab.source_server.create_user(user, SECRET)
    if role != "PUBLIC":
        with lab.source_server.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {role}".replace("%%", "%"))
            cursor.execute(f"GRANT {role} TO {user}".replace("%%", "%"))
    with lab.source_server.cursor() as cursor:
        for what in (
            f"USAGE ON SCHEMA {lab.source_schema}",
            f"SELECT, DELETE ON ALL TABLES IN SCHEMA {lab.source_schema}",
        ):
            cursor.execute(f"GRANT {what} TO {role}".replace("%%", "%"))
    linked(lab).source.pull("session < 2")
    instance = lab.instance(lab.source_server, user, SECRET)
    table = sessions(lab, instance)
    assert (table & "note = 'note 2'").delete(prompt=False) == 1
    with pytest.raises(REFUSALS):
        (table & "session = 1").delete(prompt=False)
    outbound = helper(lab, instance)
    assert outbound.delete_quick(get_count=True) == 0
    outbound.update1({"subject": 0, "session": 1, "is_flagged": "TRUE"})
    for change in ({"is_deprecated": "TRUE"}, {"process": "PULL"}):
        with pytest.raises(REFUSALS):
            outbound.update1({"subject": 0, "session": 1, **change})
    with pytest.raises(REFUSALS):
        outbound.insert1({"subject": 1, "session": 3})
    linked_class = linked(lab)
    assert (linked_class & linked_class.source.flagged).delete(prompt=False) == 1
    assert (table & "session = 1").delete(prompt=False) == 1
    assert held(lab) == [0]


def test_a_guard_keeps_held_rows_from_administrators(lab: Lab, figures: Figures) -> None:
    """Whatever their rights; the link, flags, and what is deprecated or not held go on as without it."""
    linked_class = pipeline(lab)
    weird = declare_weird(lab)
    if lab.kind != "postgresql":
        with pytest.raises(ConfigError, match=f"{lab.link_user} may write .*, and not djlink"):
            guarding(lab, "--user", "djlink")
    table, outbound = sessions(lab, lab.source), f"{lab.helper_schema}.{lab.helper_table}"
    for statement in guarding(lab):
        lab.source_server.sql(statement)  # as it is printed
    guarding(lab, "--apply")  # and again, by the command itself
    with pytest.raises(REFUSALS, match=r"Rows held by .*: set is_flagged to TRUE and wait"):
        lab.source_server.sql(f"DELETE FROM {weird}")
    for dropped in (weird, f"{lab.source_schema}.session__trial"):
        with pytest.raises(REFUSALS, match="other objects depend on it" if lab.kind == "postgresql" else "foreign key"):
            lab.source_server.sql(f"DROP TABLE {dropped}")
    guarding(lab, "--apply", "--remove")
    lab.source_server.sql(f"DROP TABLE {weird}")
    guarding(lab, "--apply")

    attempts: list[Callable[[], object]] = [
        lambda: (table & "session = 1").delete(prompt=False),
        lambda: (table & "note = 'note 1'").delete(prompt=False),
        *(
            functools.partial(lab.source_server.sql, statement)
            for statement in (
                f"DELETE FROM {outbound}",
                f"UPDATE {outbound} SET session = 3, subject = 1 WHERE session = 1",
                f"UPDATE {outbound} SET is_deprecated = 'TRUE'",
                f"UPDATE {outbound} SET process = 'DELETE'",
                *[f"TRUNCATE {outbound}"] * (lab.kind == "postgresql"),
            )
        ),
    ]
    for attempt in attempts:
        with pytest.raises(
            REFUSALS, match=r"Rows held by .*: (set is_flagged to TRUE and wait|nothing but is_flagged)"
        ):
            attempt()
        assert held(lab) == [0, 1]
    figures.add("attempts of administrators to delete or change the hold of a guarded table", lab.kind, len(attempts))

    assert (table & "note = 'note 2'").delete(prompt=False) == 1
    helper(lab, lab.source).update1({"subject": 0, "session": 1, "is_flagged": "TRUE"})
    assert (linked_class & linked_class.source.flagged).delete(prompt=False) == 1
    assert (table & "session = 1").delete(prompt=False) == 1
    assert linked_class.source.pull().pulled == 1
    assert (linked_class & "session = 3").delete(prompt=False) == 1
    assert linked_class.source.status()[State.SHARED] == 1
    assert (table & "session = 3").delete(prompt=False) == 1

    guarding(lab, "--apply", "--remove")
    lab.source_server.sql(f"DELETE FROM {outbound}")
    assert held(lab) == []


def test_outbound_tables_of_the_older_interface(lab: Lab) -> None:
    """Members delete what nobody holds, request what is held, and take no hold away; lineage is there as well."""
    declare(lab)
    older.older(lab, "Session")().pull("session < 2")
    instance = member(lab)
    older.older(lab, "Session")().pull("session < 2")
    table = sessions(lab, instance)
    assert (table & "note = 'note 2'").delete(prompt=False) == 1
    for restriction in ("session = 1", "note = 'note 1'"):
        with pytest.raises(REFUSALS):
            (table & restriction).delete(prompt=False)
    assert held(lab) == [0, 1]
    assert (sessions(lab, lab.source) & "note = 'note 3'").delete(prompt=False) == 1


@pytest.mark.parametrize("new_user", [True, False])
def test_revoking_keeps_the_holds_of_a_link_and_lets_members_work(lab: Lab, new_user: bool) -> None:
    """With all that a link and a guard leave at the source; then the guard goes, and the tables."""
    pipeline(lab)
    instance = member(lab)
    linked(lab).source.pull("session < 2")
    guarding(lab, "--apply")
    if lab.kind != "postgresql":  # it was given all that grants prints
        lab.source_server.sql(f"GRANT SELECT ON {lab.source_schema}.`~lineage` TO {lab.link_user}@'%'")
    access = Access(
        source_schema=lab.source_schema,
        tables=["session", "session__trial"],
        helper_schema=lab.helper_schema,
        helper_tables=[lab.helper_table],
        user=lab.link_user,
        new_user=new_user,
    )
    statements = revoke_statements(access, lab.source_server.backend)
    final = [statement for statement in statements if statement.sql.startswith(("DROP TABLE", "DELETE"))]
    run_sql(lab, [statement for statement in statements if statement not in final])

    table = sessions(lab, instance)
    with pytest.raises(REFUSALS):
        (table & "note = 'note 1'").delete(prompt=False)
    assert (table & "note = 'note 2'").delete(prompt=False) == 1
    assert held(lab) == [0, 1]
    guarding(lab, "--apply", "--remove")
    run_sql(lab, final)
    assert (sessions(lab, lab.instance(lab.source_server, f"{lab.prefix}_member", SECRET))).delete(prompt=False) == 3


def test_a_part_that_no_foreign_key_can_refer_to_is_named(lab: Lab) -> None:
    """On MySQL and MariaDB a partitioned one; the rest is guarded."""
    name, rest = f"{lab.source_schema}.session__trial", "session int, trial int, PRIMARY KEY (session, trial)"
    lab.source_server.sql(f"CREATE TABLE {lab.source_schema}.session (session int PRIMARY KEY)")
    lab.source_server.sql(
        f"CREATE TABLE {name} ({rest}) PARTITION BY HASH (trial)" + " PARTITIONS 2" * (lab.kind != "postgresql")
    )
    lab.grant("session")
    linked(lab).source.pull()
    where = Address(lab.source_server.host, lab.source_server.port, lab.source_server.backend)
    account = Credentials(lab.source_server.admin_user, lab.source_server.admin_password)
    done = guard(where, account, lab.helper_schema, user=lab.link_user, apply=True)
    assert done.loose == [name] * (lab.kind != "postgresql")
    with pytest.raises(REFUSALS):
        lab.source_server.sql(f"DROP TABLE {lab.helper_schema}.{lab.helper_table}")


def declare_weird(lab: Lab) -> str:
    """A helper table with a name of everything, and a row that holds; its name, quoted."""
    weird = (
        quoted(lab.source_server, f"{lab.helper_schema}") + "." + quoted(lab.source_server, "w'e\"i`rd %s // $guard$")
    )
    keys = "subject int, session int, PRIMARY KEY (subject, session), FOREIGN KEY (subject, session)"
    said = ", ".join(f"{column} varchar(6) DEFAULT '{default}'" for column, default in HOLD._asdict().items())
    source = f"{lab.source_schema}.session (subject, session)"
    engine = "" if lab.kind == "postgresql" else " ENGINE=InnoDB"
    with lab.source_server.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {weird} ({said}, {keys} REFERENCES {source}){engine}")
        cursor.execute(f"INSERT INTO {weird} (subject, session) VALUES (0, 0)")
        if lab.kind == "postgresql":
            cursor.execute(f"ALTER TABLE {weird} OWNER TO {lab.link_user}")
    return weird


def guarding(lab: Lab, *options: str) -> list[str]:
    """Run `datajoint-link guard` as administrator; the statements that it prints."""
    server = lab.source_server
    where = ["--host", f"{server.backend}://{server.host}:{server.port}", "--helper-schema", lab.helper_schema]
    account = {"DJ_USER": server.admin_user, "DJ_PASS": server.admin_password}
    result = shell("guard", *where, *options, env=account)
    if result.exit_code == Exit.USAGE:
        raise ConfigError(result.stderr)
    assert result.exit_code == 0, result
    assert "guarded: " in result.stderr
    assert lab.helper_table in result.stderr
    statements, ended = [""], ";"
    for line in result.stdout.splitlines():
        if line.startswith("DELIMITER "):
            ended = line.removeprefix("DELIMITER ")
            continue
        statements[-1] += f"{line}\n"
        if line.endswith(ended) and statements[-1].count("$guard$\n") != 1:
            statements[-1] = statements[-1].rstrip().removesuffix(ended)
            statements.append("")
    return statements[:-1]


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_where_a_key_comes_from_that_the_link_user_cannot_see(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """From a table of a table, neither of which is granted: then DataJoint's own table tells, which may be granted."""
    links = [pipeline(lab)]  # all alive: what has been said is known to their site
    lab.helper_table = "unit_outbound"

    class Unit(dj.Manual):
        definition = "-> Session\nunit: int32\n---\ndepth: int32"

    schema: Any = lab.source.Schema(lab.source_schema, create_schema=False, create_tables=False)
    found: dict[str, Any] = {}
    schema.make_classes(into=found)
    unit: Any = lab.source.Schema(lab.source_schema)(Unit, context=found)
    unit.insert({"subject": 1, "session": 2, "unit": n, "depth": n} for n in range(3))
    lab.grant(unit)
    admin(lab, 'REVOKE SELECT, REFERENCES ON "{source}"."session" FROM {user}')
    for _ in range(2):
        links.append(linked(lab, "Unit"))
        links[-1].source.pull("unit = 1")
    (record,) = [record for record in caplog.records if "key's attributes" in record.getMessage()]
    with pytest.raises(dj.DataJointError):
        (unit & "depth = 2").delete(prompt=False)
    admin(lab, record.getMessage().partition("GRANT")[2].join(["GRANT", ""]).rstrip(";"))
    linked(lab, "Unit").source.pull("unit = 1")
    assert (unit & "depth = 2").delete(prompt=False) == 1
