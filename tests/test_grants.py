"""The SQL for link users: its text, and what it does on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import datajoint as dj
import pytest
from fleet import TestServer
from lab import Lab
from shelling import shell
from test_cli_lab_a import environment

from link.accounts import Credentials
from link.addresses import Address
from link.admin.grants import (
    grant_statements,
    grants,
    helper_name,
    look_up,
    random_password,
    render,
    required_sql,
    revoke_statements,
    table_name,
)
from link.errors import ConfigError, NotFoundError
from link.servers.rights import Access

EPHYS = Access(
    source_schema="lab_ephys",
    tables=["unit", "unit__waveform"],
    helper_schema="link_lab_b",
    helper_tables=["unit_outbound"],
)
HOSTILE = Access(
    source_schema="a`b\"c'd%e_f\\g",
    tables=["#t`\"'%"],
    helper_schema='h`"; --\nDROP',
    helper_tables=["x\ny"],
    user="o'br\"i`en%",
    password="p'w\\d%\"`",
)


# --- the text


def test_mysql_grants() -> None:
    assert (
        grants(EPHYS, backend="mysql")
        == """\
CREATE USER 'djlink'@'%' IDENTIFIED BY 'choose-a-password' REQUIRE SSL;
CREATE SCHEMA IF NOT EXISTS `link_lab_b`;
GRANT SELECT, REFERENCES ON `lab_ephys`.`unit` TO 'djlink'@'%';
GRANT SELECT, REFERENCES ON `lab_ephys`.`unit__waveform` TO 'djlink'@'%';
GRANT ALL PRIVILEGES ON `link_lab_b`.`unit_outbound` TO 'djlink'@'%';
-- Where the attributes of the helper tables come from: DataJoint looks for it when it deletes.
GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON `link_lab_b`.`~lineage` TO 'djlink'@'%';
-- If the schema has that table, in which DataJoint 2 writes the same of the source tables:
-- GRANT SELECT ON `lab_ephys`.`~lineage` TO 'djlink'@'%';
-- Optional, together with the last one. The server hides tables without a grant: a part table added
-- later would be missed without a word. It shows names and definitions of all tables there, no rows:
-- GRANT SHOW VIEW ON `lab\\_ephys`.* TO 'djlink'@'%';
"""
    )


def test_postgresql_grants() -> None:
    assert (
        grants(replace(EPHYS, database="neuro"), backend="postgresql")
        == """\
-- To let it in by TLS alone, put this into pg_hba.conf, before all lines that are for everybody, and
-- SELECT pg_reload_conf():
-- hostssl "neuro" "djlink" all scram-sha-256
-- hostnossl all "djlink" all reject
CREATE ROLE "djlink" LOGIN PASSWORD 'choose-a-password';
GRANT CONNECT ON DATABASE "neuro" TO "djlink";
GRANT USAGE ON SCHEMA "lab_ephys" TO "djlink";
GRANT SELECT, REFERENCES ON "lab_ephys"."unit" TO "djlink";
GRANT SELECT, REFERENCES ON "lab_ephys"."unit__waveform" TO "djlink";
-- Only for an administrator who is no superuser; and after the next statement
-- REVOKE "djlink" FROM CURRENT_USER, as its members could delete held rows:
-- GRANT "djlink" TO CURRENT_USER;
CREATE SCHEMA IF NOT EXISTS "link_lab_b" AUTHORIZATION "djlink";
-- Only if that schema was there before. Its owner lets your users look at the helper table, without
-- which DataJoint refuses to delete anything from the source table:
-- ALTER SCHEMA "link_lab_b" OWNER TO "djlink";
-- Only for an account that makes backups and is no superuser: pg_dump refuses tables whose rows are
-- kept from others, as those of the helper table are, unless it is told --enable-row-security:
-- ALTER ROLE backup BYPASSRLS;
"""
    )


def test_mysql_revoke() -> None:
    kept = """\
-- The helper table stays, and its rows go on holding; a guard is taken away by datajoint-link guard --remove.
-- When nobody has copies any more:
-- DROP TABLE `link_lab_b`.`unit_outbound`;
-- DELETE FROM `link_lab_b`.`~lineage` WHERE table_name = 'unit_outbound';
"""
    assert (
        render(revoke_statements(EPHYS, "mysql"))
        == f"""\
-- All rights of the account end with it.
DROP USER 'djlink'@'%';
{kept}"""
    )
    assert (
        grants(replace(EPHYS, new_user=False), backend="mysql", revoke=True)
        == f"""\
REVOKE SELECT, REFERENCES ON `lab_ephys`.`unit` FROM 'djlink'@'%';
REVOKE SELECT, REFERENCES ON `lab_ephys`.`unit__waveform` FROM 'djlink'@'%';
REVOKE ALL PRIVILEGES ON `link_lab_b`.`unit_outbound` FROM 'djlink'@'%';
-- Only if no other link of this account needs it:
-- REVOKE CREATE, SELECT, INSERT, UPDATE, DELETE ON `link_lab_b`.`~lineage` FROM 'djlink'@'%';
-- REVOKE SELECT ON `lab_ephys`.`~lineage` FROM 'djlink'@'%';
{kept}"""
    )


def test_postgresql_revoke() -> None:
    assert (
        render(revoke_statements(EPHYS, "postgresql"))
        == """\
-- Only for an administrator who is no superuser:
-- GRANT "djlink" TO CURRENT_USER;
-- First of all: the foreign key is checked with the rights of the helper table's owner.
REASSIGN OWNED BY "djlink" TO CURRENT_USER;
REVOKE SELECT, REFERENCES ON "lab_ephys"."unit" FROM "djlink";
REVOKE SELECT, REFERENCES ON "lab_ephys"."unit__waveform" FROM "djlink";
REVOKE USAGE, CREATE ON SCHEMA "link_lab_b" FROM "djlink";
REVOKE USAGE ON SCHEMA "lab_ephys" FROM "djlink";
DROP ROLE "djlink";
-- The helper table stays, and its rows go on holding; a guard is taken away by datajoint-link guard --remove.
-- When nobody has copies any more:
-- DROP TABLE "link_lab_b"."unit_outbound";
-- DELETE FROM "link_lab_b"."~lineage" WHERE table_name = 'unit_outbound';
"""
    )


def test_postgresql_revoke_leaves_what_other_links_of_the_account_need() -> None:
    statements = revoke_statements(replace(EPHYS, new_user=False, database="neuro"), "postgresql")
    assert required_sql(statements) == [
        'ALTER TABLE IF EXISTS "link_lab_b"."unit_outbound" OWNER TO CURRENT_USER',
        'REVOKE SELECT, REFERENCES ON "lab_ephys"."unit" FROM "djlink"',
        'REVOKE SELECT, REFERENCES ON "lab_ephys"."unit__waveform" FROM "djlink"',
    ]
    assert '-- REVOKE CONNECT ON DATABASE "neuro" FROM "djlink";' in render(statements)


@pytest.mark.parametrize(
    ("backend", "drop"), [("mysql", "DROP USER 'djlink'@'%';"), ("postgresql", 'DROP ROLE "djlink";')]
)
def test_nobody_knows_what_else_an_account_is_for_without_a_look(backend: str, drop: str) -> None:
    stays = render(revoke_statements(replace(EPHYS, new_user=False), backend))
    why = "-- The account stays: with --host it is looked up whether it is for anything else. If it is not:\n"
    assert grants(EPHYS, backend=backend, revoke=True) == f"{stays}{why}-- {drop}\n"


def test_an_account_that_exists_is_not_created() -> None:
    for backend, created in (("mysql", "CREATE USER"), ("postgresql", "CREATE ROLE")):
        assert created in grants(EPHYS, backend=backend)
        assert created not in grants(replace(EPHYS, new_user=False), backend=backend)


def test_an_account_without_tls() -> None:
    """Where the server has none; what that means is said."""
    for backend, required in (("mysql", "REQUIRE SSL;"), ("postgresql", "hostssl all")):
        assert required in grants(EPHYS, backend=backend)
        without = grants(replace(EPHYS, require_tls=False), backend=backend)
        assert required not in without and "links say use_tls=False" in without


def test_hostile_names_are_quoted_on_mysql() -> None:
    assert required_sql(grant_statements(HOSTILE, "mysql")) == [
        """CREATE USER 'o''br"i`en%'@'%' IDENTIFIED BY 'p''w\\\\d%"`' REQUIRE SSL""",
        'CREATE SCHEMA IF NOT EXISTS `h``"; --\nDROP`',
        """GRANT SELECT, REFERENCES ON `a``b"c'd%e_f\\g`.`#t``"'%` TO 'o''br"i`en%'@'%'""",
        """GRANT ALL PRIVILEGES ON `h``"; --\nDROP`.`x\ny` TO 'o''br"i`en%'@'%'""",
        """GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON `h``"; --\nDROP`.`~lineage` TO 'o''br"i`en%'@'%'""",
    ]


def test_hostile_names_are_quoted_on_postgresql() -> None:
    role = '"o\'br""i`en%"'
    assert required_sql(grant_statements(HOSTILE, "postgresql")) == [
        f"""CREATE ROLE {role} LOGIN PASSWORD E'p''w\\\\d%"`'""",
        f'GRANT USAGE ON SCHEMA "a`b""c\'d%e_f\\g" TO {role}',
        f'GRANT SELECT, REFERENCES ON "a`b""c\'d%e_f\\g"."#t`""\'%" TO {role}',
        f'CREATE SCHEMA IF NOT EXISTS "h`""; --\nDROP" AUTHORIZATION {role}',
    ]


@pytest.mark.parametrize("backend", ["mysql", "postgresql"])
def test_no_name_ends_a_comment(backend: str) -> None:
    script = render(s for s in revoke_statements(HOSTILE, backend) if s.optional)
    assert script.count("\n") > 2
    assert all(line.startswith("-- ") for line in script.splitlines())


@pytest.mark.parametrize("backend", ["mysql", "postgresql"])
@pytest.mark.parametrize("name", ["", "x" * 65, "a\0b"])
def test_impossible_names_are_refused(backend: str, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a name"):
        grants(replace(EPHYS, helper_schema=name), backend=backend)


def test_unknown_backend() -> None:
    with pytest.raises(ConfigError, match=r"oracle.*\n.*mysql, postgresql"):
        grants(EPHYS, backend="oracle")


def test_class_names_stand_for_table_names() -> None:
    assert table_name("SpikeSorting") == "spike_sorting"
    assert table_name("Unit.WaveForm") == "unit__wave_form"
    assert table_name("#lookup") == "#lookup"
    assert table_name("__computed__part") == "__computed__part"
    # What is no class to @link is none here: it looks for a helper table of just that name.
    assert table_name("Unit_Outbound") == "Unit_Outbound" and table_name("ephys.Unit") == "ephys.Unit"
    assert helper_name("Unit") == "unit_outbound"
    assert helper_name("__firing_rate") == "firing_rate_outbound"


def test_passwords() -> None:
    assert len(random_password()) == 32
    assert random_password() != random_password()
    assert "secret" not in repr(replace(EPHYS, password="secret"))


# --- on real servers


@pytest.fixture
def access(lab: Lab) -> Access:
    """A link user of its own, and tables of which it gets two: a master and its part."""
    q = quote(lab.kind)
    unit = q(lab.source_schema, "unit")
    for statement in (
        f"CREATE TABLE {unit} (id int PRIMARY KEY)",
        f"CREATE TABLE {q(lab.source_schema, 'unit__wave')} (id int PRIMARY KEY REFERENCES {unit} (id))",
        f"CREATE TABLE {q(lab.source_schema, '_other')} (id int PRIMARY KEY)",
        f"INSERT INTO {unit} VALUES (1), (2), (3)",
    ):
        lab.source_server.sql(statement)
    return Access(
        source_schema=lab.source_schema,
        tables=["unit", "unit__wave"],
        helper_schema=f"{lab.prefix}_new_helper",
        helper_tables=["unit_outbound"],
        user=f"{lab.prefix}_granted",
        password=random_password(),
        require_tls=False,
    )


@pytest.fixture
def linked(lab: Lab, access: Access) -> Iterator[Any]:
    """A cursor of the link user, who has made a helper table that holds the row 1."""
    run(lab.source_server, required_sql(grant_statements(access, lab.source_server.backend)))
    q = quote(lab.kind)
    helper, unit = q(access.helper_schema, "unit_outbound"), q(access.source_schema, "unit")
    with (
        closing(lab.source_server.connect_raw(access.user, access.password)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"CREATE TABLE {helper} (id int PRIMARY KEY, FOREIGN KEY (id) REFERENCES {unit} (id))")
        cursor.execute(f"INSERT INTO {helper} VALUES (1)")
        yield cursor


def quote(kind: str) -> Any:
    mark = '"' if kind == "postgresql" else "`"
    return lambda *names: ".".join(f"{mark}{name}{mark}" for name in names)


def run(server: TestServer, statements: list[str]) -> None:
    with closing(server.connect_raw()) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def refused(cursor: Any, statement: str) -> str:
    with pytest.raises(Exception, match=r"(?i)denied|foreign key|doesn't exist") as caught:
        cursor.execute(statement)
    return str(caught.value)


def test_the_rights_suffice_and_are_no_more(lab: Lab, access: Access, linked: Any) -> None:
    q = quote(lab.kind)
    for table in ("unit", "unit__wave"):
        linked.execute(f"SELECT * FROM {q(access.source_schema, table)}")
        assert "denied" in refused(linked, f"DELETE FROM {q(access.source_schema, table)}")
    assert "denied" in refused(linked, f"SELECT * FROM {q(access.source_schema, '_other')}")
    assert "denied" in refused(linked, f"CREATE TABLE {q(access.source_schema, 'new')} (id int)")


@pytest.mark.parametrize("new_user", [True, False])
def test_revoking_keeps_the_holds(lab: Lab, access: Access, linked: Any, new_user: bool) -> None:
    q = quote(lab.kind)
    helper, unit = q(access.helper_schema, "unit_outbound"), q(access.source_schema, "unit")
    taken = replace(access, new_user=new_user)
    run(lab.source_server, required_sql(revoke_statements(taken, lab.source_server.backend)))

    assert lab.source_server.sql(f"SELECT id FROM {helper}") == [(1,)]
    owner = delete_as_an_ordinary_member(lab)
    with closing(owner), owner.cursor() as cursor:
        assert "foreign key" in refused(cursor, f"DELETE FROM {unit} WHERE id = 1")
        cursor.execute(f"DELETE FROM {unit} WHERE id = 2")
    if not new_user:
        with closing(lab.source_server.connect_raw(access.user, access.password)) as connection:
            refused(connection.cursor(), f"SELECT * FROM {unit}")
            refused(connection.cursor(), f"SELECT * FROM {helper}")


def test_an_account_is_found_and_goes_with_its_last_link(lab: Lab, access: Access) -> None:
    """A second table does not stop at CREATE USER, and taking one back does not end the other link."""
    server = lab.source_server
    where: dict[str, Any] = {
        "backend": server.backend,
        "address": Address(server.host, server.port),
        "administrator": Credentials(server.admin_user, server.admin_password),
    }
    second = replace(access, tables=["_other"], helper_tables=["other_outbound"])

    def printed(asked: Access, **more: Any) -> str:
        script = grants(asked, **where, **more)
        run(server, [line.rstrip(";") for line in script.splitlines() if not line.startswith("--")])
        return script

    create, drop = ("CREATE ROLE", "DROP ROLE") if lab.kind == "postgresql" else ("CREATE USER", "DROP USER")
    assert create in printed(access)
    again = printed(second)
    assert create not in again and "is there already, and stays as it is" in again
    taken = printed(access, revoke=True)
    assert f"-- {drop}" in taken and f"\n{drop}" not in taken
    assert "The account stays, for it has rights on " in taken and f"{access.source_schema}._other." in taken
    with closing(server.connect_raw(access.user, access.password)) as connection:
        connection.cursor().execute(f"SELECT * FROM {quote(lab.kind)(access.source_schema, '_other')}")
        refused(connection.cursor(), f"SELECT * FROM {quote(lab.kind)(access.source_schema, 'unit')}")
    assert f"\n{drop}" in f"\n{printed(second, revoke=True)}"
    with pytest.raises(Exception, match=r"(?i)denied|does not exist|authentication failed"):
        server.connect_raw(access.user, access.password)


@pytest.mark.parametrize("of_pipeline", [False, True])
def test_what_was_never_granted_is_not_taken_back(lab: Lab, access: Access, of_pipeline: bool) -> None:
    """A part that was added later: MySQL and MariaDB refuse that, and a script would stop before the rest of it."""
    server = lab.source_server
    given = replace(access, helper_tables=["unit_outbound"])
    run(server, required_sql(grant_statements(given, server.backend)))
    q = quote(lab.kind)
    unit, later = q(access.source_schema, "unit"), q(access.source_schema, "unit__later")
    server.sql(f"CREATE TABLE {later} (id int, n int, PRIMARY KEY (id, n), FOREIGN KEY (id) REFERENCES {unit} (id))")
    named: list[str] = ["--table", f"{access.source_schema}.Unit"] if of_pipeline else ["--table", "Unit"]
    said = shell(
        *("grants", "--schema", access.source_schema, *named, "--helper-schema", access.helper_schema),
        *("--user", access.user, "--revoke", "--existing-user", "--host", f"{server.host}:{server.port}"),
        env=environment(lab),
    )
    assert "unit__later" not in said.stdout, said
    taken = [line.rstrip(";") for line in said.stdout.splitlines() if not line.startswith("--")]
    if of_pipeline:  # the rights on the helper schema are another script's
        taken = [line for line in taken if access.helper_schema not in line.replace("\\", "")]
    run(server, taken)
    with closing(server.connect_raw(access.user, access.password)) as connection:
        refused(connection.cursor(), f"SELECT * FROM {unit}")
    if lab.kind != "postgresql" and not of_pipeline:
        assert f"-- REVOKE SELECT ON {q(access.source_schema, '~lineage')}" in said.stdout


@pytest.mark.parametrize("how", ["role", "everything", "column"])
def test_an_account_that_is_for_something_else_stays(lab: Lab, access: Access, how: str) -> None:
    """It is a person's, who got it by a role, or on all there is, or on single columns."""
    server, role = lab.source_server, f"{lab.prefix}_role"
    run(server, required_sql(grant_statements(access, server.backend)))
    account = access.user if lab.kind == "postgresql" else f"{access.user}@'%'"
    other = quote(lab.kind)(access.source_schema, "_other")
    given = {
        "role": [f"CREATE ROLE {role}", f"GRANT {role} TO {account}"],
        "everything": [
            f"ALTER ROLE {account} SUPERUSER" if lab.kind == "postgresql" else f"GRANT FILE ON *.* TO {account}"
        ],
        "column": [f"GRANT SELECT (id) ON {other} TO {account}"],
    }
    run(server, given[how])
    try:
        administrator = Credentials(server.admin_user, server.admin_password)
        where = Address(server.host, server.port, server.backend)
        script = grants(access, address=where, administrator=administrator, revoke=True)
        named = {"role": f"the role {role}", "everything": "*.*", "column": "_other"}[how]
        assert "The account stays, for it has rights on " in script and named in script.splitlines()[-2], script
        assert not any(line.startswith("DROP") for line in script.splitlines())
    finally:
        if how == "role" and lab.kind != "postgresql":
            server.sql(f"DROP ROLE {role}")


def delete_as_an_ordinary_member(lab: Lab) -> Any:
    """Connect as an account that may edit the source table, and knows nothing of the helper table."""
    user, password = f"{lab.prefix}_member", random_password()
    lab.source_server.create_user(user, password)
    account = user if lab.kind == "postgresql" else f"{user}@'%'"
    rights = [f"GRANT SELECT, DELETE ON {quote(lab.kind)(lab.source_schema, 'unit')} TO {account}"]
    if lab.kind == "postgresql":
        rights.append(f"GRANT USAGE ON SCHEMA {lab.source_schema} TO {user}")
    run(lab.source_server, rights)
    return lab.source_server.connect_raw(user, password)


@pytest.mark.usefixtures("linked")
def test_the_account_is_gone_after_revoking(lab: Lab, access: Access) -> None:
    run(lab.source_server, required_sql(revoke_statements(access, lab.source_server.backend)))
    with pytest.raises(Exception, match=r"(?i)denied|does not exist|authentication failed"):
        lab.source_server.connect_raw(access.user, access.password)
    # The administrator can let the same name in again.
    run(lab.source_server, required_sql(grant_statements(access, lab.source_server.backend)))


def test_names_in_grants_on_tables_are_taken_literally(lab: Lab, access: Access) -> None:
    """Why nothing is escaped in a grant on a table: the escaped name is that of another schema."""
    if lab.kind == "postgresql":
        pytest.skip("PostgreSQL has no wildcards in grants")
    escaped = access.source_schema.replace("_", "\\_")
    with closing(lab.source_server.connect_raw()) as connection, connection.cursor() as cursor:
        refused(cursor, f"GRANT SELECT ON `{escaped}`.`unit` TO '{lab.link_user}'@'%'")
        # ALL includes CREATE, so the table need not exist: accepted, and of no use.
        cursor.execute(f"GRANT ALL PRIVILEGES ON `{escaped}`.`unit` TO '{lab.link_user}'@'%'")
    with closing(lab.source_server.connect_raw(lab.link_user, lab.link_password)) as connection:
        assert "denied" in refused(connection.cursor(), f"SELECT * FROM {access.source_schema}.unit")


def test_show_view_shows_names_and_no_rows(lab: Lab, access: Access, linked: Any) -> None:
    if lab.kind == "postgresql":
        pytest.skip("PostgreSQL shows all names")
    names = f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{access.source_schema}'"
    linked.execute(names)
    assert {name for (name,) in linked.fetchall()} == {"unit", "unit__wave"}

    lab.source_server.sql(f"CREATE TABLE `{access.source_schema}`.`~lineage` (table_name varchar(64))")
    run(lab.source_server, [s.sql for s in grant_statements(access, "mysql") if s.optional])
    with closing(lab.source_server.connect_raw(access.user, access.password)) as again:
        cursor = again.cursor()
        cursor.execute(names)
        assert {name for (name,) in cursor.fetchall()} == {"unit", "unit__wave", "_other", "~lineage"}
        cursor.execute(f"SELECT * FROM `{access.source_schema}`.`~lineage`")
        assert "denied" in refused(cursor, f"SELECT * FROM `{access.source_schema}`.`_other`")


def test_hostile_names_work(lab: Lab) -> None:
    q = quote(lab.kind)
    access = Access(
        source_schema=f"{lab.prefix} a'b%c",
        tables=["#t'%"],
        helper_schema=f"{lab.prefix} h'--",
        helper_tables=["x;y"],
        user=f"{lab.prefix} o'%",
        password="p'w\\d%\"`",
        require_tls=False,
    )
    create = [
        f"CREATE SCHEMA {q(access.source_schema)}",
        f"CREATE TABLE {q(access.source_schema, *access.tables)} (id int)",
    ]
    try:
        run(lab.source_server, create)
        run(lab.source_server, required_sql(grant_statements(access, lab.source_server.backend)))
        with closing(lab.source_server.connect_raw(access.user, access.password)) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SELECT * FROM {q(access.source_schema, *access.tables)}")
            cursor.execute(f"CREATE TABLE {q(access.helper_schema, *access.helper_tables)} (id int)")
    finally:
        run(lab.source_server, required_sql(revoke_statements(access, lab.source_server.backend)))
        cascade = " CASCADE" if lab.kind == "postgresql" else ""
        for schema in (access.source_schema, access.helper_schema):
            run(lab.source_server, [f"DROP SCHEMA {q(schema)}{cascade}"])


def test_look_up_finds_tiers_and_parts(lab: Lab) -> None:
    q = quote(lab.kind)
    for name in ("unit", "unit__wave", "unit__wave__peak", "unit_group", "#area", "_rec", "__rate", "__rate__bin"):
        lab.source_server.sql(f"CREATE TABLE {q(lab.source_schema, name)} (id int)")

    def found(*names: str) -> list[str]:
        return look_up(lab.source.connection, lab.source_server.backend, lab.source_schema, names)

    assert found("Unit") == ["unit", "unit__wave", "unit__wave__peak"]
    assert found("Area", "Rec") == ["#area", "_rec"]
    assert found("Rate", "__rate") == ["__rate", "__rate__bin"]
    with pytest.raises(NotFoundError, match=r"no table 'Unut'.*\n.*'unit'"):
        found("Unut")
    lab.source_server.sql(f"CREATE TABLE {q(lab.source_schema, '#unit')} (id int)")
    with pytest.raises(ConfigError, match="unit, #unit"):
        found("Unit")
    with pytest.raises(NotFoundError, match="no_such_schema"):
        look_up(lab.source.connection, lab.source_server.backend, "no_such_schema", ["Unit"])


def test_a_pipeline_of_datajoint_can_be_read_with_the_rights(lab: Lab) -> None:
    """Classes, tiers and parts as DataJoint itself declares them."""

    class Rate(dj.Computed):
        definition = """
        id : int32
        """

        class Bin(dj.Part):
            definition = """
            -> master
            bin : int32
            """

    lab.source.Schema(lab.source_schema)(Rate, context={"Rate": Rate})
    tables = look_up(lab.source.connection, lab.source_server.backend, lab.source_schema, ["Rate"])
    access = Access(
        source_schema=lab.source_schema,
        tables=tables,
        helper_schema=lab.helper_schema,
        helper_tables=["rate_outbound"],
        user=lab.link_user,
        new_user=False,
    )
    run(lab.source_server, required_sql(grant_statements(access, lab.source_server.backend)))
    seen: dict[str, Any] = {}
    schema = lab.link_instance().Schema(lab.source_schema, create_schema=False, create_tables=False)
    schema.make_classes(into=seen)
    assert len(seen["Rate"]()) == len(seen["Rate"].Bin()) == 0
