"""The SQL for the link user of a pipeline: run by the administrator, it is enough for a pull, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import diamond
import pytest
from lab import Lab
from shelling import shell

from link import ConfigError, LinkError, NotFoundError
from link.accounts import Credentials
from link.addresses import parse_host
from link.admin.pipeline_grants import Asked, pipeline_grants
from link.servers.rights import PipelineAccess

ACCESS = PipelineAccess(
    schemas={"lab_subject": None, "lab_ephys": ["unit", "unit__spike"]},
    helper_schema="link_lab_b",
    lineage=["lab_subject", "lab_ephys"],
    owners={"lab_subject": ["al", "bo"]},
)


@pytest.fixture
def servers(lab: Lab) -> Iterator[diamond.Servers]:
    """The diamond at the source, whose link user has no rights yet, nor a helper schema."""
    with ExitStack() as stack:
        made = diamond.Servers(lab, stack, granted=False)
        made.put(False, diamond.made(2))
        lab.source_server.sql(f"DROP SCHEMA {lab.helper_schema}")
        yield made


def asked(servers: diamond.Servers, *tables: str, **more: Any) -> Asked:
    lab, server = servers.lab, servers.lab.source_server
    access = PipelineAccess(
        schemas=dict.fromkeys(servers.theirs.values()),
        helper_schema=lab.helper_schema,
        user=lab.link_user,
        password=lab.link_password,
        new_user=False,
    )
    admin = Credentials(server.admin_user, server.admin_password)
    backend = "postgresql" if lab.kind == "postgresql" else "mysql"
    options = {"backend": backend, "address": parse_host(f"{server.host}:{server.port}"), "administrator": admin}
    return Asked(access=access, tables=tables, **{**options, **more})


def run(servers: diamond.Servers, script: str) -> None:
    """Run a script as the administrator."""
    text = "\n".join(line for line in script.splitlines() if not line.startswith("--"))
    with closing(servers.lab.source_server.connect_raw()) as connection:
        for statement in filter(None, map(str.strip, text.split(";\n"))):
            servers.sql(connection, statement.rstrip(";"))


def some(servers: diamond.Servers, restriction: str = "1 = 1") -> Any:
    return servers.lab_a.source[servers.theirs["second"]].D & restriction


def test_whole_schemas(servers: diamond.Servers) -> None:
    script = pipeline_grants(asked(servers))
    assert "leads to" not in script
    run(servers, script)
    plan = servers.lab_a.plan(some(servers))
    assert not plan.missing
    assert servers.lab_a.pull(some(servers)).pulled
    servers.check_safety()
    # A table that comes later is covered, and so is its part.
    server, schema = servers.lab.source_server, servers.theirs["second"]
    server.sql(f"CREATE TABLE {schema}.later (a int NOT NULL PRIMARY KEY)")
    server.sql(f"INSERT INTO {schema}.later VALUES (1)")
    again = servers.pipeline()
    assert again.pull(again.source[schema].Later).pulled == 1
    held = servers.helper_rows()
    run(servers, pipeline_grants(asked(servers), revoke=True))
    assert servers.helper_rows() == held
    with pytest.raises(LinkError):
        servers.pipeline().plan(some(servers))


def test_tables_with_all_that_they_stand_on(servers: diamond.Servers) -> None:
    first, second = servers.theirs.values()
    alone = pipeline_grants(asked(servers, f"{first}.B"))
    assert f"-- {first}.B.a leads to {first}.A, which is not granted" in alone
    script = pipeline_grants(asked(servers, f"{first}.B", ancestors=True))
    assert "leads to" not in script and second not in script
    run(servers, script)
    with pytest.raises(LinkError):
        servers.lab_a.plan(some(servers))
    del servers.schemas[second]
    lab_a = servers.pipeline()
    result = lab_a.pull(lab_a.source[first].B)
    assert set(result.tables) == {f"{first}.A", f"{first}.B"}


def test_tables_by_their_own_names_and_an_account_that_is_there(servers: diamond.Servers) -> None:
    first, _ = servers.theirs.values()
    new = asked(servers, f"{first}.a")
    script = pipeline_grants(replace(new, access=replace(new.access, new_user=True)))
    assert "is there already" in script and "CREATE USER" not in script and "CREATE ROLE" not in script
    assert script.partition("stays as it is.\n")[2] == pipeline_grants(asked(servers, f"{first}.A"))


def test_schemas_that_others_lead_to(servers: diamond.Servers) -> None:
    """What a pull would have to cut is told before it is tried."""
    first, second = servers.theirs.values()
    whole = asked(servers)
    script = pipeline_grants(replace(whole, access=replace(whole.access, schemas={second: None})))
    told = [line for line in script.splitlines() if " leads to " in line]
    assert told and all(f" leads to {first}." in line and f"with --schema {first} it is" in line for line in told)
    assert all(line.startswith(f"-- {second}.") for line in told)


def test_what_cannot_be_found(servers: diamond.Servers) -> None:
    with pytest.raises(ConfigError, match=r"There is no 'nowhere\.Unit'"):
        pipeline_grants(asked(servers, "nowhere.Unit"))
    unknown = asked(servers)
    with pytest.raises(NotFoundError, match="'nowhere' does not exist"):
        pipeline_grants(replace(unknown, access=replace(unknown.access, schemas={"nowhere": None})))
    # The link user would have all rights on the lab's own tables; also on one that only comes along.
    first, second = servers.theirs.values()
    for tables, schemas, held in (((), [second], second), ((f"{second}.D",), [second], first)):
        some = asked(servers, *tables)
        access = replace(some.access, schemas=dict.fromkeys(schemas), helper_schema=held)
        with pytest.raises(ConfigError, match="is one of the schemas to pull from"):
            pipeline_grants(replace(some, access=access, ancestors=bool(tables)))
    with pytest.raises(ConfigError, match="--host"):
        pipeline_grants(replace(asked(servers, "first.B"), address=None))


def test_the_text_on_mysql() -> None:
    assert (
        pipeline_grants(Asked(access=ACCESS))
        == """\
CREATE USER 'djlink'@'%' IDENTIFIED BY 'choose-a-password' REQUIRE SSL;
GRANT SELECT, REFERENCES ON `lab\\_subject`.* TO 'djlink'@'%';
GRANT SELECT, REFERENCES ON `lab_ephys`.`unit` TO 'djlink'@'%';
GRANT SELECT, REFERENCES ON `lab_ephys`.`unit__spike` TO 'djlink'@'%';
-- Where the attributes of these tables come from, as DataJoint 2 has written it down:
GRANT SELECT ON `lab_ephys`.`~lineage` TO 'djlink'@'%';
CREATE SCHEMA IF NOT EXISTS `link_lab_b`;
GRANT ALL PRIVILEGES ON `link\\_lab\\_b`.* TO 'djlink'@'%';
"""
    )
    assert "-- DROP USER 'djlink'@'%';" in pipeline_grants(Asked(access=ACCESS), revoke=True)
    # What other links of an account that stays may need is not taken from it in passing.
    for new in (True, False):
        there = Asked(access=replace(ACCESS, new_user=new), backend="postgresql")
        lines = pipeline_grants(there, revoke=True).splitlines()
        usage = [line for line in lines if "REVOKE USAGE" in line]
        assert usage and all(line.startswith("-- ") for line in usage)
        assert any("Only if no other link of this account needs it" in line for line in lines)


def test_the_text_on_postgresql() -> None:
    script = pipeline_grants(Asked(access=ACCESS, backend="postgresql"))
    assert [line for line in script.splitlines() if not line.startswith("--")] == [
        "CREATE ROLE \"djlink\" LOGIN PASSWORD 'choose-a-password';",
        'GRANT USAGE ON SCHEMA "lab_subject" TO "djlink";',
        'GRANT USAGE ON SCHEMA "lab_ephys" TO "djlink";',
        'GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA "lab_subject" TO "djlink";',
        'GRANT SELECT, REFERENCES ON "lab_ephys"."unit" TO "djlink";',
        'GRANT SELECT, REFERENCES ON "lab_ephys"."unit__spike" TO "djlink";',
        'GRANT SELECT ON "lab_ephys"."~lineage" TO "djlink";',
        *(
            f'ALTER DEFAULT PRIVILEGES FOR ROLE "{owner}" IN SCHEMA "lab_subject" '
            'GRANT SELECT, REFERENCES ON TABLES TO "djlink";'
            for owner in ("al", "bo")
        ),
        'CREATE SCHEMA IF NOT EXISTS "link_lab_b" AUTHORIZATION "djlink";',
    ]
    unknown = pipeline_grants(Asked(access=replace(ACCESS, owners={}), backend="postgresql"))
    assert '-- ALTER DEFAULT PRIVILEGES FOR ROLE "owner" IN SCHEMA "lab_subject"' in unknown


def test_the_command() -> None:
    schemas = ["grants", "--schema", "subject", "--schema", "ephys", "--helper-schema", "link_lab_b"]
    done = shell(*schemas)
    assert done.exit_code == 0 and "GRANT SELECT, REFERENCES ON `ephys`.* TO 'djlink'@'%';" in done.stdout
    for more, told in (
        (["--table", "Unit"], "schema.Class"),
        (["--table", "lab.Person", "--with-ancestors"], "tables in them"),
        (["--with-ancestors"], "--with-ancestors is for tables"),
    ):
        refused = shell(*schemas, *more)
        assert refused.exit_code == 2 and told in " ".join(refused.stderr.split())
    for command in ([*schemas, "--host", "127.0.0.1:1"], ["guard", "--host", "127.0.0.1:1", *schemas[-2:]]):
        mistyped = shell(*command, "--backend", "postgres")
        assert mistyped.exit_code == 2 and "'postgresql'" in mistyped.stderr
