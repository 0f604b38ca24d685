"""What a link does with more or fewer rights than the documented ones; each GRANT in a message is tried out."""

from __future__ import annotations

import logging
import re
from contextlib import closing
from typing import Any

import datajoint as dj
import psycopg2
import pymysql
import pytest
from lab import Lab
from linking import admin, contents, declare_session, linked, quoted, remedies, remedy

from link import HelperMismatchError, LinkError, LocalMismatchError, LoginError, NotFoundError, PrivilegeError
from link.model.schema import Table
from link.servers.mysql_site import MySQLSite

REFUSALS = (pymysql.MySQLError, psycopg2.Error)
MYSQLS = pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)


def lacking(lab: Lab, match: str, body: dict[str, Any] | None = None) -> LinkError:
    """Link, expect that a right is missing, and check that nothing has changed on either server."""
    before = contents(lab)
    table = linked(lab, body=body)
    with pytest.raises(PrivilegeError, match=match) as raised:
        table().source.pull()
    assert contents(lab) == before
    for known in (lab.link_user, f"{lab.source_server.host}:{lab.source_server.port}"):
        assert known in str(raised.value)
    return raised.value


def cured(lab: Lab, error: LinkError) -> None:
    """Run the GRANT of the message as administrator: then the same works."""
    remedy(lab, error)
    table = linked(lab)
    assert table().source.pull().pulled == 3
    assert len(table.Trial()) == 6


# --- rights on the source


@pytest.mark.parametrize(
    ("right", "table"),
    [("SELECT", "session"), ("REFERENCES", "session__trial"), ("SELECT, REFERENCES", "session")],
)
def test_a_missing_right_on_a_source_table(lab: Lab, right: str, table: str) -> None:
    declare_session(lab)
    lab.revoke(right, table)
    if lab.kind != "postgresql":
        # A table on which the account has no right at all is hidden from it: see below.
        admin(lab, f'GRANT INSERT ON "{{source}}"."{table}" TO {{user}}')
    error = lacking(lab, f"lacks {right.replace(', ', ' and ')} on {lab.source_schema}.{table} ")
    (grant,) = remedies(error)
    assert grant.startswith(f"GRANT {right} ON ")
    cured(lab, error)


@POSTGRESQL
def test_a_missing_right_on_the_source_schema(lab: Lab) -> None:
    declare_session(lab)
    admin(lab, 'REVOKE USAGE ON SCHEMA "{source}" FROM {user}')
    cured(lab, lacking(lab, "lacks USAGE on"))


@POSTGRESQL
def test_all_missing_rights_are_named_at_once(lab: Lab) -> None:
    declare_session(lab)
    lab.revoke("SELECT", "session")
    admin(lab, 'REVOKE USAGE ON SCHEMA "{source}" FROM {user}')
    cured(lab, lacking(lab, "lacks USAGE and SELECT on"))


@MYSQLS
def test_a_table_that_the_account_does_not_see(lab: Lab) -> None:
    declare_session(lab, grant=False)
    lab.grant("session__trial")
    with pytest.raises(NotFoundError, match="sees no table 'session'") as raised:
        linked(lab)()
    cured(lab, raised.value)


@pytest.mark.parametrize("column", ["note", "a`b) c,"])
def test_a_right_on_single_columns_is_not_enough(lab: Lab, column: str) -> None:
    declare_session(lab)
    lab.revoke("SELECT", "session")
    name = quoted(lab.source_server, column)
    if column != "note":
        lab.source_server.sql(f"ALTER TABLE {lab.source_schema}.session ADD COLUMN {name} int")
    user = lab.link_user if lab.kind == "postgresql" else f"{lab.link_user}@'%'"
    lab.source_server.sql(f"GRANT SELECT ({name}), UPDATE ({name}) ON {lab.source_schema}.session TO {user}")
    cured(lab, lacking(lab, r"lacks SELECT on .*\. It has SELECT on some columns only\."))


@MYSQLS
def test_a_role_that_is_not_active(lab: Lab) -> None:
    """Its rights are not there; the message says what makes them be, whether the table is seen or not."""
    declare_session(lab, grant=False)
    role = f"{lab.prefix}_readers"
    lab.source_server.sql(f"CREATE ROLE {role}")
    try:
        for table in ("session", "session__trial"):
            lab.source_server.sql(f"GRANT SELECT, REFERENCES ON {lab.source_schema}.{table} TO {role}")
        lab.source_server.sql(f"GRANT {role} TO {lab.link_user}@'%'")
        lab._grant("ALL PRIVILEGES", lab.helper_schema, lab.helper_table)
        with pytest.raises(NotFoundError, match=rf"it is not active \({role}\)"):
            linked(lab).source.pull()
        lab._grant("INSERT", lab.source_schema, "session")
        error = lacking(lab, rf"it is not active \({role}\)")
        (activate,) = re.findall("SET DEFAULT ROLE [^;]*", error.hint or "")
        lab.source_server.sql(activate)
        assert linked(lab).source.pull().pulled == 3
    finally:
        lab.source_server.sql(f"DROP ROLE {role}")


@POSTGRESQL
def test_a_role_that_does_not_inherit(lab: Lab) -> None:
    declare_session(lab, grant=False)
    role = f"{lab.prefix}_readers"
    lab.source_server.sql(f"CREATE ROLE {role}")
    for table in ("session", "session__trial"):
        lab.source_server.sql(f"GRANT SELECT, REFERENCES ON {lab.source_schema}.{table} TO {role}")
    if int(lab.source_server.version.partition(".")[0]) < 16:
        lab.source_server.sql(f"GRANT {role} TO {lab.link_user}")
        lab.source_server.sql(f"ALTER ROLE {lab.link_user} NOINHERIT")
    else:
        lab.source_server.sql(f"GRANT {role} TO {lab.link_user} WITH INHERIT FALSE")
    error = lacking(lab, rf"it is not active \({role}\)")
    lab.source_server.sql(remedies(error)[-1])
    assert linked(lab).source.pull().pulled == 3


@pytest.mark.parametrize("kind", ["mysql"], indirect=True)
def test_rights_that_are_revoked_on_one_schema(lab: Lab) -> None:
    """Where rights can be revoked so, names of schemas stand for themselves only."""
    declare_session(lab, grant=False)
    admin(lab, 'GRANT INSERT ON "{source}"."session" TO {user}')
    user, schema = f"{lab.link_user}@'%'", lab.source_schema
    lab.source_server.sql("SET GLOBAL partial_revokes = ON")
    try:
        for statement in (
            f"GRANT SELECT, REFERENCES ON *.* TO {user}",
            f"REVOKE SELECT, REFERENCES ON `{schema}`.* FROM {user}",
            f"GRANT SELECT, REFERENCES ON `{schema.replace('_', '%%')}`.* TO {user}".replace("%%", "%"),
            f"GRANT ALL ON {lab.helper_schema}.{lab.helper_table} TO {user}",
        ):
            lab.source_server.sql(statement)
        lacking(lab, f"lacks SELECT and REFERENCES on {schema}.session ")
        lab.source_server.sql(f"GRANT SELECT, REFERENCES ON `{schema}`.* TO {user}")
        assert linked(lab).source.pull().pulled == 3
    finally:
        lab.source_server.sql(f"DROP USER {user}")
        lab.source_server.sql("SET GLOBAL partial_revokes = OFF")
        lab.source_server.create_user(lab.link_user, lab.link_password)


REFUSED = {
    "mysql": {
        "PASSWORD EXPIRE": "password has expired",
        "ACCOUNT LOCK": "is locked: .* ACCOUNT UNLOCK",
        "REQUIRE X509": "must use TLS or a certificate",
    },
    "postgresql": {
        "VALID UNTIL '2020-01-01'": "password has expired",
        "NOLOGIN": "may not log in: .* LOGIN",
    },
}


def test_accounts_that_are_not_let_in(lab: Lab) -> None:
    """Each is told in words that help, also where the link has been in use: when the next session is opened."""
    declare_session(lab)
    user = lab.link_user if lab.kind == "postgresql" else f"{lab.link_user}@'%'"
    alter = "ALTER ROLE" if lab.kind == "postgresql" else "ALTER USER"
    for option, match in REFUSED["postgresql" if lab.kind == "postgresql" else "mysql"].items():
        table = linked(lab)
        table.source.pull()
        lab.source_server.sql(f"{alter} {user} {option}")
        for used in (table, linked(lab, use_tls=None)):
            with pytest.raises(LoginError, match=match) as raised:
                used.source.pull()
            assert lab.link_user in str(raised.value)
        if lab.kind == "postgresql":
            lab.source_server.sql(f"{alter} {user} VALID UNTIL 'infinity' LOGIN")
        else:
            again = "ACCOUNT UNLOCK" if "LOCK" in option else "REQUIRE NONE"
            lab.source_server.sql(f"{alter} {user} IDENTIFIED BY '{lab.link_password}'")
            lab.source_server.sql(f"{alter} {user} {again}")


@MYSQLS
@pytest.mark.parametrize("target", ["*.*", '"{source}".*', '"{pattern}".*', '"{any}".*'])
def test_rights_on_whole_schemas_are_seen(lab: Lab, target: str) -> None:
    declare_session(lab, grant=False)
    lab._grant("ALL PRIVILEGES", lab.helper_schema, lab.helper_table)
    names = {
        "source": lab.source_schema,
        "pattern": lab.source_schema.replace("_", "\\_"),
        "any": lab.prefix + "\\_s%",
    }
    quoted = target.format(**names).replace('"', "`")
    lab.source_server.sql(f"GRANT SELECT, REFERENCES ON {quoted} TO {lab.link_user}@'%'")
    assert linked(lab)().source.pull().pulled == 3


@MYSQLS
def test_rights_on_names_that_are_told_apart_by_no_capital_letters(lab: Lab) -> None:
    """As on macOS (`lower_case_table_names = 2`): grants are in small letters there. Here it is only said to be so."""
    declare_session(lab)
    escaped = lab.helper_schema.replace("_", "\\_")
    lab.source_server.sql(f"GRANT INSERT ON `{escaped}`.* TO {lab.link_user}@'%'")
    lab.source_server.sql(f"GRANT UPDATE (note) ON {lab.source_schema}.session TO {lab.link_user}@'%'")
    source = Table(lab.source_schema.upper(), "Session", "", (), ())
    helper = Table(lab.helper_schema.upper(), "Outbound", "", (), ())
    with MySQLSite(lab.link_instance().connection).catalogue() as catalogue:
        assert catalogue.missing_rights(source, ["SELECT"]) == ["SELECT"]
        assert catalogue.missing_rights(helper, ["INSERT"]) == ["INSERT"]
        vars(catalogue)["_naming"] = {"lower_case_table_names": "2"}
        assert catalogue.missing_rights(source, ["SELECT", "UPDATE"]) == ["UPDATE"]
        assert catalogue.held_on_columns(source, ["UPDATE"]) == ["UPDATE"]
        assert catalogue.missing_rights(helper, ["INSERT"]) == []
    with MySQLSite(lab.source.connection).catalogue() as catalogue:
        named = (lab.helper_schema.upper(), [lab.helper_table.upper()])
        assert catalogue.link_users(*named) == {lab.helper_table.upper(): []}
        assert catalogue.account_rights(lab.link_user.upper(), "%") is None
        vars(catalogue)["_naming"] = {"lower_case_table_names": "2"}
        assert catalogue.link_users(*named) == {lab.helper_table.upper(): [lab.link_user]}


@MYSQLS
def test_rights_on_another_schema_do_not_count(lab: Lab) -> None:
    declare_session(lab)
    lab.revoke("REFERENCES", "session")
    lab.source_server.sql(f"GRANT REFERENCES ON `{lab.prefix}\\_h%`.* TO {lab.link_user}@'%'")
    lacking(lab, "lacks REFERENCES on")


@MYSQLS
def test_an_account_of_one_client_host(lab: Lab) -> None:
    declare_session(lab, grant=False)
    lab.source_server.sql(f"RENAME USER {lab.link_user}@'%' TO {lab.link_user}@'127.0.0.1'")
    try:
        account = f"'{lab.link_user}'@'127.0.0.1'"
        lab.source_server.sql(f"GRANT INSERT ON {lab.source_schema}.session TO {account}")
        lab.source_server.sql(f"GRANT SELECT, REFERENCES ON {lab.source_schema}.session__trial TO {account}")
        error = lacking(lab, "lacks SELECT and REFERENCES on")
        assert error.hint and error.hint.endswith(f"TO {account};")
        remedy(lab, error)
        helper = lacking(lab, "Cannot create the helper table")
        assert helper.hint and helper.hint.endswith(f"TO {account};")
        cured(lab, helper)
    finally:
        lab.source_server.sql(f"RENAME USER {lab.link_user}@'127.0.0.1' TO {lab.link_user}@'%'")


def test_rights_through_a_role(lab: Lab) -> None:
    declare_session(lab, grant=False)
    role = f"{lab.prefix}_readers"
    user = lab.link_user if lab.kind == "postgresql" else f"{lab.link_user}@'%'"
    lab.source_server.sql(f"CREATE ROLE {role}")
    try:
        for table in ("session", "session__trial"):
            lab.source_server.sql(f"GRANT SELECT, REFERENCES ON {lab.source_schema}.{table} TO {role}")
        lab.source_server.sql(f"GRANT {role} TO {user}")
        if lab.kind != "postgresql":
            lab.source_server.sql(f"SET DEFAULT ROLE {role} {'TO' if lab.kind == 'mysql' else 'FOR'} {user}")
            lab._grant("ALL PRIVILEGES", lab.helper_schema, lab.helper_table)
        assert linked(lab)().source.pull().pulled == 3
    finally:
        if lab.kind != "postgresql":
            lab.source_server.sql(f"DROP ROLE {role}")


# --- part tables


@POSTGRESQL
def test_an_unreadable_part_is_always_noticed_on_postgresql(lab: Lab) -> None:
    declare_session(lab)
    lab.revoke("ALL", "session__trial")
    cured(lab, lacking(lab, "lacks SELECT and REFERENCES on .*session__trial"))


@MYSQLS
def test_an_unreadable_part_whose_name_is_visible_is_noticed(lab: Lab) -> None:
    declare_session(lab)
    lab.revoke("SELECT, REFERENCES", "session__trial")
    lab.source_server.sql(f"GRANT SHOW VIEW ON `{lab.source_schema}`.* TO {lab.link_user}@'%'")
    remedy(lab, lacking(lab, "lacks SELECT and REFERENCES on .*session__trial"))
    # With a right on the whole schema DataJoint sees ~lineage, and reads it without asking whether it may.
    cured(lab, lacking(lab, "DataJoint cannot read"))


def test_an_unreadable_part_that_the_class_names_is_noticed(lab: Lab) -> None:
    declare_session(lab)
    lab.revoke("SELECT, REFERENCES", "session__trial")
    cured(lab, lacking(lab, "session__trial|names a part table Trial", {"Trial": type("Trial", (dj.Part,), {})}))


@MYSQLS
def test_a_part_that_is_no_longer_granted_is_noticed(lab: Lab) -> None:
    declare_session(lab)
    linked(lab)().source.pull()
    lab.revoke("SELECT, REFERENCES", "session__trial")
    before = contents(lab)
    with pytest.raises(LocalMismatchError, match="part table session__trial, which the link user does not see"):
        linked(lab)().source.pull()
    assert contents(lab) == before


# --- the helper table


def test_a_helper_table_that_may_not_be_created(lab: Lab) -> None:
    declare_session(lab)
    if lab.kind == "postgresql":
        admin(lab, 'REVOKE USAGE, CREATE ON SCHEMA "{helper}" FROM {user}')
    else:
        admin(lab, f'REVOKE ALL PRIVILEGES ON "{{helper}}"."{lab.helper_table}" FROM {{user}}')
    cured(lab, lacking(lab, "Cannot create the helper table"))


def test_a_helper_schema_that_is_missing_and_may_not_be_created(lab: Lab) -> None:
    declare_session(lab)
    lab.helper_schema = f"{lab.prefix}_link"
    error = lacking(lab, "Cannot create the helper table")
    assert remedies(error)[0].startswith("CREATE SCHEMA IF NOT EXISTS")
    cured(lab, error)


def test_a_helper_schema_is_created_where_that_is_allowed(lab: Lab) -> None:
    declare_session(lab)
    lab.helper_schema = f"{lab.prefix}_link"
    if lab.kind == "postgresql":
        admin(lab, "GRANT CREATE ON DATABASE postgres TO {user}")
    else:
        lab.source_server.sql(f"GRANT ALL PRIVILEGES ON `{lab.prefix}\\_link`.* TO {lab.link_user}@'%'")
    assert linked(lab)().source.pull().pulled == 3


@pytest.mark.parametrize("right", ["SELECT", "INSERT", "UPDATE, DELETE"])
def test_a_helper_table_with_fewer_rights(lab: Lab, right: str) -> None:
    """An administrator has made the helper table, and owns it; the link user may do too little with it."""
    declare_session(lab)
    _helper_of_the_administrator(lab)
    admin(lab, f'REVOKE {right} ON "{{helper}}"."{lab.helper_table}" FROM {{user}}')
    error = lacking(lab, f"lacks {right.replace(', ', ' and ')} on {lab.helper_schema}.{lab.helper_table} ")
    cured(lab, error)
    linked(lab)().delete(prompt=False)
    assert not lab.source_server.sql(f"SELECT * FROM {lab.helper_schema}.{lab.helper_table}")


def _helper_of_the_administrator(lab: Lab) -> None:
    linked(lab)().source.pull(dry_run=True)
    lab.local_server.sql(f"DROP TABLE {lab.local_schema}.session__trial, {lab.local_schema}.session")
    table = f'"{{helper}}"."{lab.helper_table}"'
    if lab.kind == "postgresql":
        admin(lab, f"ALTER TABLE {table} OWNER TO CURRENT_USER", f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    else:
        admin(lab, f"REVOKE ALL PRIVILEGES ON {table} FROM {{user}}")
    admin(lab, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {{user}}")


# --- rights on the local server


def test_a_local_schema_in_which_the_account_may_not_create(lab: Lab) -> None:
    declare_session(lab)
    schema = f"x{lab.prefix}_here"
    lab.local_server.sql(f"CREATE SCHEMA {schema}")
    try:
        with pytest.raises(PrivilegeError, match="Cannot create the local tables") as raised:
            linked(lab, local_schema=schema)()
        assert (lab.source_server.port, lab.helper_schema, lab.helper_table) not in contents(lab)
        for statement in remedies(raised.value):
            lab.local_server.sql(statement)
        assert linked(lab, local_schema=schema)().source.pull().pulled == 3
    finally:
        lab.local_server.sql(f"DROP SCHEMA {schema} {'CASCADE' if lab.kind == 'postgresql' else ''}")


# --- too many rights


def test_surplus_rights_are_warned_of_once(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    declare_session(lab)
    with caplog.at_level(logging.WARNING, "link"):
        links = [linked(lab) for _ in range(3)]  # what has been said is remembered as long as there is a link
        links[0]().source.pull(dry_run=True)
        assert not caplog.records
        admin(lab, 'GRANT INSERT, DELETE ON "{source}"."session" TO {user}')
        for each in links[1:]:
            each().source.pull(dry_run=True)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"Session: the link user {lab.link_user!r} has more rights than a link needs on {lab.source_schema}.session "
        f"at {lab.source_server.host}:{lab.source_server.port}: INSERT, DELETE"
    )


def test_an_administrator_as_link_user_is_warned_of(
    lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_session(lab)
    monkeypatch.setenv("LINK_USER", lab.source_server.admin_user)
    monkeypatch.setenv("LINK_PASS", lab.source_server.admin_password)
    with caplog.at_level(logging.WARNING, "link"):
        assert linked(lab)().source.pull().pulled == 3
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["INSERT, UPDATE, DELETE"] * 2


# --- the other users of the source


def source_user(lab: Lab, *statements: str, rights: str) -> int:
    """Run statements as an ordinary user of the source, who has these rights on the source tables only."""
    user, password = f"{lab.prefix}_colleague", "colleague"
    if not lab.source_server.sql(
        f"SELECT 1 FROM {'pg_roles' if lab.kind == 'postgresql' else 'mysql.user'} "
        f"WHERE {'rolname' if lab.kind == 'postgresql' else 'user'} = %s",
        user,
    ):
        lab.source_server.create_user(user, password)
        account = user if lab.kind == "postgresql" else f"{user}@'%'"
        for table in ("session", "session__trial"):
            lab.source_server.sql(f"GRANT {rights} ON {lab.source_schema}.{table} TO {account}")
        if lab.kind == "postgresql":
            lab.source_server.sql(f"GRANT USAGE ON SCHEMA {lab.source_schema} TO {account}")
    changed = 0
    with closing(lab.source_server.connect_raw(user, password)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            changed += cursor.rowcount
    return changed


def test_who_may_delete_at_the_source_cannot_delete_a_held_row(lab: Lab) -> None:
    declare_session(lab)
    table = linked(lab)
    (table().source & "session = 1").pull()
    deletes = [f"DELETE FROM {lab.source_schema}.{name} WHERE session = {{}}" for name in ("session__trial", "session")]
    rights = "SELECT, DELETE, UPDATE"
    with pytest.raises(REFUSALS):
        source_user(lab, deletes[1].format(1), rights=rights)
    with pytest.raises(REFUSALS):
        source_user(lab, f"UPDATE {lab.source_schema}.session SET session = 9 WHERE session = 1", rights=rights)
    assert source_user(lab, *(delete.format(2) for delete in deletes), rights=rights) == 3
    table().delete(prompt=False)
    assert source_user(lab, *(delete.format(1) for delete in deletes), rights=rights) == 3


@POSTGRESQL
def test_the_owner_of_the_source_may_flag_rows(lab: Lab) -> None:
    declare_session(lab)
    owner = f"{lab.prefix}_owner"
    lab.source_server.create_user(owner, "owner")
    for table in ("session", "session__trial"):
        lab.source_server.sql(f"ALTER TABLE {lab.source_schema}.{table} OWNER TO {owner}")
    for schema in (lab.source_schema, lab.helper_schema):
        lab.source_server.sql(f"GRANT USAGE ON SCHEMA {schema} TO {owner}")
    table = linked(lab)
    table().source.pull()
    classes: dict[str, Any] = {}
    instance = lab.instance(lab.source_server, owner, "owner")
    instance.Schema(lab.helper_schema, create_schema=False).make_classes(into=classes)
    helper = classes["Outbound"]()
    helper.update1({"session": 1, "is_flagged": "TRUE"})
    assert table().source.flagged.keys() == [{"session": 1}]
    source = instance.Schema(lab.source_schema, create_schema=False, create_tables=False).get_table("session")
    with pytest.raises(dj.DataJointError, match="blocked by table"):
        (source & "session = 1").delete(prompt=False)
    (table() & table().source.flagged).delete(prompt=False)
    assert (helper & "session = 1").fetch1("is_deprecated") == "TRUE"
    assert (source & "session = 1").delete(prompt=False) == 1
    assert (len(helper), len(source)) == (2, 2)


@POSTGRESQL
def test_a_helper_table_whose_rows_are_kept_from_the_link_user(lab: Lab) -> None:
    """As after its administrator has taken it over: deletions would do nothing, and say nothing."""
    declare_session(lab)
    linked(lab)().source.pull()
    table = f'"{{helper}}"."{lab.helper_table}"'
    admin(lab, f"ALTER TABLE {table} OWNER TO CURRENT_USER", f"GRANT ALL ON {table} TO {{user}}")
    with pytest.raises(PrivilegeError, match="is not the link user's") as raised:
        linked(lab)().delete(prompt=False)
    remedy(lab, raised.value)
    linked(lab)().delete(prompt=False)
    assert not lab.source_server.sql(f"SELECT * FROM {lab.helper_schema}.{lab.helper_table}")


@POSTGRESQL
def test_a_helper_table_that_another_account_owns_is_checked_all_the_same(lab: Lab) -> None:
    declare_session(lab)
    admin(lab, 'CREATE TABLE "{helper}"."outbound" (session int PRIMARY KEY)')
    with pytest.raises((PrivilegeError, HelperMismatchError)):
        linked(lab)()
