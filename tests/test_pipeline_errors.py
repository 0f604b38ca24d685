"""What a `Pipeline` cannot do: each error says what to do, and nothing has been changed on either server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import labs
import pytest
from lab import Lab
from linking import contents
from pipelines import wait_until
from proxy import Proxy
from recorder import Statement

from link import (
    ConfigError,
    CredentialsError,
    CycleError,
    LinkError,
    LoginError,
    NotFoundError,
    PrivilegeError,
    TransactionError,
    UnreachableError,
)


@contextmanager
def refused(lab: Lab, kind: type[LinkError], message: str) -> Iterator[Any]:
    """An error in our words, after which both servers are as before."""
    before = contents(lab)
    with pytest.raises(kind, match=message) as caught:
        yield caught
    assert lab.link_password not in str(caught.value)
    assert contents(lab) == before


def ddl(lab: Lab, *statements: str) -> None:
    """Statements of the source's administrator, in which names are in double quotes and {name} is a schema."""
    for statement in statements:
        named = statement.format(**{name: f"{lab.prefix}_{name}" for name in labs.SCHEMAS})
        lab.source_server.sql(named if lab.kind == "postgresql" else named.replace('"', "`"))


def test_bad_input(lab: Lab) -> None:
    labs.build(lab)
    lab_a = labs.pipeline(lab)
    Unit = lab_a.source[f"{lab.prefix}_ephys"].Unit
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: lab_a.pull(), "Nothing is selected"),
        (lambda: lab_a.pull("ephys.Unit"), "selects nothing of the source"),
        (lambda: lab_a.pull(Unit, transfers=0), "transfers must be at least 1"),
        (lambda: lab_a.pull(Unit, processes=0), "processes must be at least 1"),
        (lambda: lab_a.pull(Unit, lookups="some"), "lookups='some' is not known"),  # type: ignore[arg-type]
        (lambda: lab_a.pull(Unit, max_rows=-1), "max_rows= must be a number of at least 0"),
        (lambda: lab_a.plan(Unit, max_bytes="1 GB"), "max_bytes= must be a number"),  # type: ignore[arg-type]
        (lambda: lab_a.plan(Unit, leave_out=[Unit & "subject = 1"]), "leave_out= takes classes[^:]*; not a query"),
        (lambda: lab_a.plan(Unit, leave_out=5), "leave_out= takes a list, not 5"),  # type: ignore[arg-type]
        (lambda: lab_a.plan(Unit, cut=Unit & "subject = 1"), "cut= takes a list, not a query"),
        (lambda: lab_a.plan(Unit, leave_out="Unit"), 'named as "schema.Class"'),
        (lambda: lab_a.plan(Unit & "subject = 1", leave_out=[Unit]), r"All that is selected is left out: \w+\.Unit\."),
        (lambda: lab_a.pull(Unit, leave_out=[Unit]), "All that is selected is left out"),
        (lambda: lab_a.pull([Unit, Unit & "subject = 1"]), r"A list of selections(?s:.*)pull\(\*selections\)"),
        (lambda: lab_a.plan(), "Nothing is selected"),
        (lambda: lab_a.repair(vanished="forget"), "vanished='forget' is not known"),  # type: ignore[arg-type]
        (lambda: lab_a.pull(Unit, max_calls=-1), "max_calls must be at least 0"),
        (lambda: lab_a.pull(Unit, max_calls="3"), "max_calls must be at least 0"),  # type: ignore[arg-type]
        (lambda: lab_a.pull(Unit, conflicts="ask"), "conflicts='ask' is not known"),  # type: ignore[arg-type]
        (lambda: lab_a.pull(Unit, cut="ephys.Unit"), "no attribute of a foreign key"),
        (lambda: lab_a.pull(Unit, cut=[f"{lab.prefix}_ephys.Unit.wave"]), "no attribute of a foreign key"),
        (lambda: lab_a.pull(Unit & {"subjct": 1}), "would select everything"),
    ]
    for call, message in wrong:
        with refused(lab, ConfigError, message):
            call()
    for codecs, error in (
        ({"Unti.wave": "bytes"}, r"there is no \w+_ephys.Unti(?s:.*)Unit"),
        ({"Unit.wvae": "bytes"}, r"wvae(?s:.*)It has"),
    ):
        given = {f"{lab.prefix}_ephys.{column}": word for column, word in codecs.items()}
        with refused(lab, ConfigError, error):
            mistaken = labs.pipeline(lab, codecs=given)
            mistaken.pull(mistaken.source[f"{lab.prefix}_ephys"].Unit)
    with lab.local.connection.transaction, pytest.raises(TransactionError):
        lab_a.pull(Unit)


def test_who_cannot_connect(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    labs.build(lab)
    schema = f"{lab.prefix}_ephys"
    with refused(lab, UnreachableError, "127.0.0.1:1"):
        labs.pipeline(lab, host="127.0.0.1:1").source[schema].Unit.fetch()
    monkeypatch.setenv("LINK_PASS", "another")
    with refused(lab, LoginError, lab.link_user):
        labs.pipeline(lab).source[schema].Unit()
    assert dir(labs.pipeline(lab).source[schema]) == []
    with refused(lab, NotFoundError, f"cannot be asked(?s:.*)refused the link user '{lab.link_user}'"):
        labs.pipeline(lab)[schema].Unit  # noqa: B018
    monkeypatch.delenv("LINK_PASS")
    with refused(lab, CredentialsError, "LINK_PASS"):
        labs.pipeline(lab).pull(labs.pipeline(lab).source[schema].Unit)


def test_schemas_that_are_not_named(lab: Lab) -> None:
    """Their tables are needed, where something refers to them; a prefix names them."""
    labs.build(lab)
    lab_schema, subject, ephys = (f"{lab.prefix}_{name}" for name in labs.SCHEMAS)
    some = labs.pipeline(lab, schemas={subject: f"{subject}_ours", ephys: f"{ephys}_ours"})
    with refused(lab, NotFoundError, rf"{subject}\.Subject\.kind -> (?s:.*)schemas=: {lab_schema}(?s:.*)cut="):
        some.pull(some.source[ephys].Unit)
    with refused(lab, NotFoundError, f"no schema '{lab_schema}'"):
        some[lab_schema]
    behind = labs.pipeline(lab, schemas=[ephys], prefix=f"{lab.prefix}_our_")
    assert (
        behind.source[lab_schema].Person().describe()
        and behind[lab_schema].database == f"{lab.prefix}_our_{lab_schema}"
    )
    with refused(lab, NotFoundError, "no schema 'nowhere'"):
        behind["nowhere"]
    wrong = labs.pipeline(lab, schemas=["nowhere", ephys, f"{ephys}s", "hidden"])
    told = rf"sees no schemas 'nowhere', '{ephys}s', 'hidden' on"
    if lab.kind != "postgresql":  # which hides none
        told += rf"(?s:.*)--schema nowhere --schema {ephys}s --schema hidden"
    with refused(lab, NotFoundError, told):
        wrong.source[ephys].Unit()
    elsewhere = labs.pipeline(lab, schemas=["nowhere", ephys])
    with refused(lab, NotFoundError, "sees no schema 'nowhere'"):
        elsewhere.source[ephys].Unit()
    both = labs.pipeline(lab, schemas={ephys: f"{lab.prefix}_our_{lab_schema}"}, prefix=f"{lab.prefix}_our_")
    with refused(lab, ConfigError, "would have the tables of two of the source's"):
        both.source[ephys].Unit()


def test_rights_that_are_missing(lab: Lab) -> None:
    """All that lead to tables which the account does not see, at once; and the right to hold."""
    labs.declare(lab.source, lab.prefix)
    by_table = {"lab": ["#kind"], "subject": ["subject"], "ephys": ["session", "session__trial", "session__event"]}
    for name, tables in by_table.items():
        if lab.kind == "postgresql":
            ddl(lab, f'GRANT USAGE ON SCHEMA "{{{name}}}" TO {lab.link_user}')
        for table in tables:
            ddl(lab, f'GRANT SELECT, REFERENCES ON "{{{name}}}"."{table}" TO {lab._account(lab.link_user)}')
    lab_a = labs.pipeline(lab)
    with refused(lab, PrivilegeError, r"GRANT SELECT, REFERENCES ON \S+probe\S* TO") as caught:
        lab_a.pull(lab_a.source[f"{lab.prefix}_ephys"].Session)
    told = str(caught.value)
    assert lab.kind == "postgresql" or re.search(r"ON `\w+_lab`.`person` TO(?s:.*)cut=\[", told)
    assert re.search(r"GRANT \S.* ON \S+person\S* TO", told) and ("_helper" in told) == (lab.kind != "postgresql")
    # PostgreSQL shows tables that may not be read.
    kind, message = (
        (PrivilegeError, "unit") if lab.kind == "postgresql" else (NotFoundError, r"sees no table \w+\.Unit")
    )
    with refused(lab, kind, message):
        lab_a.source[f"{lab.prefix}_ephys"].Unit.to_dicts()


def test_circles(lab: Lab) -> None:
    """The path, and what opens it, in whatever DataJoint trips over."""
    labs.declare(lab.source, lab.prefix)
    labs.grant(lab, *(f"{lab.prefix}_{name}" for name in labs.SCHEMAS))
    kind = "integer" if lab.kind == "postgresql" else "int"
    ddl(
        lab,
        f'ALTER TABLE "{{subject}}"."subject" ADD COLUMN "parent" {kind} NULL',
        'ALTER TABLE "{subject}"."subject" ADD FOREIGN KEY ("parent") REFERENCES "{subject}"."subject" ("subject")',
    )
    lab_a = labs.pipeline(lab)
    subject = lab_a.source[f"{lab.prefix}_subject"]
    named = rf"in a circle(?s:.*){lab.prefix}_subject\.Subject -> {lab.prefix}_subject\.Subject(?s:.*)cut="
    for call in (lambda: lab_a.pull(subject.Subject), lab_a.diagram, lambda: subject.Pair().describe()):
        with refused(lab, CycleError, named):
            call()
    assert len(subject.Subject & "subject = 1") == 0
    ddl(
        lab,
        f'ALTER TABLE "{{ephys}}"."session__trial" ADD COLUMN "rate_of" {kind} NULL',
        f'CREATE TABLE "{{ephys}}"."rate" ("rate" {kind} PRIMARY KEY, "subject" {kind} NOT NULL, '
        f'"session" smallint NOT NULL)',
        'ALTER TABLE "{ephys}"."rate" ADD FOREIGN KEY ("subject", "session") '
        'REFERENCES "{ephys}"."session" ("subject", "session")',
        'ALTER TABLE "{ephys}"."session__trial" ADD FOREIGN KEY ("rate_of") REFERENCES "{ephys}"."rate" ("rate")',
    )
    labs.grant(lab, f"{lab.prefix}_ephys")
    again = labs.pipeline(lab)
    path = (
        r"in a circle(?s:.*)ephys\.(Rate -> \w+\.Session -> \w+\.Rate|Session -> \w+\.Rate -> \w+\.Session)(?s:.*)cut="
    )
    ephys = again.source[f"{lab.prefix}_ephys"]
    with refused(lab, CycleError, path):
        again.pull(ephys.Rate, cut=[f"{lab.prefix}_subject.Subject.parent"])


def test_what_the_administrator_has_to_grant(lab: Lab) -> None:
    """A plan needs SELECT alone; what is printed with it is SQL, after which it can be pulled."""
    labs.build(lab)
    for name in labs.SCHEMAS:
        schema = f"{lab.prefix}_{name}"
        tables = f"ALL TABLES IN SCHEMA {schema}" if lab.kind == "postgresql" else f"`{schema}`.*".replace("_", r"\_")
        lab.source_server.sql(f"REVOKE REFERENCES ON {tables} FROM {lab._account(lab.link_user)}")
    lab_a = labs.pipeline(lab, helper_schema=f"{lab.prefix}_other")
    before = contents(lab)
    plan = lab_a.plan(lab_a.source[f"{lab.prefix}_subject"].Subject & "subject < 3")
    granted = lab_a.grants(plan)
    assert "REFERENCES" in granted and f"{lab.prefix}_other" in granted.replace("\\", "")
    assert contents(lab) == before
    pulls: list[Callable[[], Any]] = [
        plan.pull,
        lambda: lab_a.pull(lab_a.source[f"{lab.prefix}_subject"].Subject & "subject < 3"),
    ]
    for pull in pulls:
        with refused(lab, PrivilegeError, "lacks") as caught:
            pull()
        assert caught.value.hint and [s for s in granted.splitlines() if s not in caught.value.hint] == []
    for statement in granted.splitlines():
        lab.source_server.sql(statement.rstrip(";"))
    assert plan.pull().tables[f"{lab.prefix}_subject.Subject"].pulled == 3
    assert lab_a.grants(lab_a.plan(lab_a.source[f"{lab.prefix}_subject"].Subject & "subject < 3")) == ""

    # All is told once, and by whom it is granted; then what was held before, which cannot be looked at any more.
    [error] = lab_a.ping().errors
    assert error.hint and error.hint.count(f"{lab.source_server.host}:{lab.source_server.port}: GRANT") == 1
    grants = [f"GRANT {grant.strip('; ')}" for grant in error.hint.split("GRANT ")[1:]]
    assert len(grants) > 5
    for grant in grants:
        lab.source_server.sql(grant)
    assert not lab_a.ping().errors
    helper, user = f"{lab.prefix}_other", lab._account(lab.link_user)
    if lab.kind == "postgresql":
        lab.source_server.sql(f"ALTER SCHEMA {helper} OWNER TO {lab.source_server.admin_user}")
    else:
        lab.source_server.sql("REVOKE SELECT ON `{}`.* FROM {}".format(helper.replace("_", r"\_"), user))
    plan = lab_a.plan(lab_a.source[f"{lab.prefix}_subject"].Subject & "subject < 3")
    assert any(helper in grant for grant in plan.missing) and not plan.conflicts


def test_a_wire_that_breaks(lab: Lab) -> None:
    """In our words, whatever is asked; afterwards the same goes on."""
    labs.build(lab)
    wire = Proxy(lab.source_server.host, lab.source_server.port)
    try:
        lab_a = labs.pipeline(lab, host=f"127.0.0.1:{wire.port}")
        there, here = lab_a.source[f"{lab.prefix}_ephys"], lab_a[f"{lab.prefix}_ephys"]
        lab_a.pull(there.Unit & "subject = 1")
        calls: list[Callable[[], Any]] = [
            lambda: (there.Unit & "subject = 2").to_dicts(),
            lambda: lab_a.plan(there.Unit & "subject = 2"),
            lambda: lab_a.pull(there.Unit & "subject = 2"),
            lambda: there.Psth(),
            lambda: lab_a.diagram(),
            lambda: lab_a.status(),
        ]
        wire.cut()
        for call in calls:
            with refused(lab, UnreachableError, f"127.0.0.1:{wire.port}") as caught:
                call()
            assert "\t" not in str(caught.value)  # what psycopg goes on to wonder
        assert len(here.Unit()) == 1 and len(here.Session.Trial()) == 2
        with refused(lab, NotFoundError, "Psth has not been pulled yet"):
            here.Psth  # noqa: B018
        wire.mend()
        for call in calls:
            call()
        assert len(here.Unit()) == 2
    finally:
        wire.close()


def test_ctrl_c_in_a_pull(lab: Lab, statements: list[Statement]) -> None:
    """While the local server waits for another's row: nothing is held that is not here, and the same call goes on."""
    labs.build(lab)
    lab_a = labs.pipeline(lab)
    there, here = lab_a.source[f"{lab.prefix}_ephys"], lab_a[f"{lab.prefix}_ephys"]
    lab_a.pull(there.Unit & "subject = 2")
    over = threading.Event()

    def interrupt() -> None:
        writes = re.compile(r"(INSERT|COPY|LOAD)\b.*our_subject\W+subject\b", re.DOTALL)
        while not any(writes.search(s.sql) and s.user == lab.local_user for s in list(statements)):
            if over.wait(0.05):
                return
        over.wait(1)  # until the server waits
        os.kill(os.getpid(), signal.SIGINT)

    table = f"{lab.prefix}_our_subject.subject"
    thread = threading.Thread(target=interrupt)
    with closing(lab.local_server.connect_raw()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"INSERT INTO {table} (subject, kind, name) VALUES (3, 'mutant', 'another')")
        statements.clear()
        thread.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                lab_a.pull(there.Unit & "subject = 3")
        finally:
            over.set()
            thread.join()
        cursor.execute("ROLLBACK")
    assert {state for state, number in lab_a.status().items() if number} == {"Unshared", "Shared"}
    assert lab_a.pull(there.Unit & "subject = 3").tables[f"{there.database}.Unit"].pulled == 1
    assert len(here.Unit()) == 2


PULLING = """
import json, sys
import datajoint as dj
from link import Pipeline

place, local, schema = map(json.loads, sys.argv[1:])
lab_a = Pipeline(**place, connection=dj.Instance(**local, use_tls=False), use_tls=False)
lab_a.pull(lab_a.source[schema].Unit & "subject > 2")
"""


def test_ctrl_c_with_some_tables_copied(lab: Lab) -> None:
    """A process of its own, whose last table waits for a row that somebody has locked here, and keeps locked.

    What is copied stays, what was only claimed is let go of, and the same call goes on from there.
    """
    labs.build(lab)
    lab_a = labs.pipeline(lab)
    there, here = lab_a.source[f"{lab.prefix}_ephys"], lab_a[f"{lab.prefix}_ephys"]
    lab_a.pull(there.Unit & "subject = 2")
    source, local = lab.source_server, lab.local_server
    place = {
        "host": f"{source.host}:{source.port}",
        "schemas": labs.local_schemas(lab),
        "helper_schema": lab.helper_schema,
        "backend": source.backend,
    }
    account = {"user": lab.local_user, "password": lab.local_password, "backend": local.backend}
    given = [place, {"host": local.host, "port": local.port, **account}, there.database]
    with closing(local.connect_raw()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT * FROM {here.database}.probe__electrode WHERE probe = 'p2' FOR UPDATE")
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PULLING, *map(json.dumps, given)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"DJ_LOG_LEVEL": "WARNING", "DJ_LOG_STREAM": "stderr"},
        )

        try:
            wait_until(lambda: child.poll() is not None or local.waits(lab.local_user))
            child.send_signal(signal.SIGINT)
            said, complaints = child.communicate(timeout=60)
        finally:
            child.kill()
            child.communicate()
        cursor.execute("ROLLBACK")
    assert (said, child.returncode) == ("", -signal.SIGINT), complaints
    (line,) = [line for line in complaints.splitlines() if "interrupted after" in line]
    assert "the next pull goes on from here" in line and complaints.rstrip().endswith("KeyboardInterrupt")
    assert "Exception in thread" not in complaints and "During handling" not in complaints
    assert (len(here.Session()), len(here.Unit())) == (6, 1)
    status = lab_a.status(deep=True)
    assert {state for state, number in status.items() if number} == {"Unshared", "Shared"}
    assert status.tables[f"{here.__name__}.Session"]["Shared"] == 6
    again = lab_a.pull(there.Unit & "subject > 2")
    assert {name for name, result in again.tables.items() if result.pulled} == {f"{here.__name__}.Unit"}
    assert again.pulled == 5 and lab_a.verify()
