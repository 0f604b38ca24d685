"""A link of the older interface becomes one of `@link`: nothing is lost, wherever the conversion is broken off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lab import Lab
from older import keys, linked, older, outbound
from pipelines import assert_same, everything, helper_rows, run_sql, sessions
from pipelines import linked as linked_by_link
from test_dj_link import session_keys

from dj_link import convert
from dj_link.settings import older_spec
from link import HelperMismatchError, LinkError, NotFoundError, link
from link.ends.linking import Link
from link.servers.session import Session as ServerSession

DOCUMENTS: Any = Draft202012Validator(json.loads((Path(__file__).parents[1] / "docs/cli.schema.json").read_text()))
NUMBER = 9
#: Of the sessions that `scene` makes.
STATES = {
    "Shared": 3,
    "Tainted": 2,
    "Deprecated": 1,
    "Received (pull)": 1,
    "Activated (delete)": 1,
    "Unshared": 1,
}


def scene(lab: Lab) -> Any:
    """A link with an entity in each of some states, the unfinished ones of dead runs; its source table."""
    table = sessions(lab, NUMBER)
    Session = older(lab, table)
    Session().pull("session < 8")
    outbound(lab, "Session").DeletionRequested().insert(session_keys(1, 2, 3))
    (Session() & "session = 1").delete()
    Session().refresh()
    helper, local = f"{lab.helper_schema}.session_outbound", f"{lab.local_schema}.session"
    run_sql(
        lab.source_server,
        [
            f"UPDATE {helper} SET _process = '{process}', _worker = 4711 WHERE session = {n}"
            for n, process in ((4, "PULL"), (5, "DELETE"))
        ],
    )
    run_sql(lab.local_server, [f"DELETE FROM {local}{suffix} WHERE session = 5" for suffix in ("__trial", "")])
    assert states(Session) == STATES
    return table


def states(table: Any) -> dict[str, int]:
    return {state: n for state, n in table.source.status(deep=True).items() if n}


def ends(lab: Lab) -> Link:
    """Both ends of the link, as the command has them."""
    spec = older_spec("Session", None, lab.source_schema, lab.helper_schema, lab.local_schema)
    return Link(spec, lab.local, lab.link_instance())


def by_link(lab: Lab) -> Any:
    """The same link, written with `@link`."""
    lab.helper_table = "session_outbound"
    return linked_by_link(lab, "Session")


def assert_converted(lab: Lab, table: Any) -> None:
    """Everything stands where `@link` looks for it, and goes on from there."""
    Session = by_link(lab)
    assert states(Session) == STATES
    assert set(helper_rows(lab, "session = 1")) == {("NONE", "TRUE", "TRUE")}
    assert Session.source.flagged.keys(order_by="KEY") == session_keys(2, 3)
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    assert lab.source_server.sql(f"{tables} AND table_name LIKE 'session%%'", lab.helper_schema) == [
        ("session_outbound",)
    ]
    here = lab.local_server.sql(f"{tables} AND table_name LIKE 'session%%'", lab.local_schema)
    assert set(here) == {("session",), ("session__trial",)}
    assert Session.source.pull().pulled == 2
    assert (Session() & Session.source.flagged).delete() == 2
    assert states(Session) == {"Shared": 6, "Deprecated": 3}
    assert keys(Session()) == session_keys(0, 4, 5, 6, 7, 8)
    lab.source_server.sql(f"DELETE FROM {lab.helper_schema}.session_outbound WHERE is_deprecated = 'TRUE'")
    assert (table & session_keys(1, 2, 3)).delete() == 3
    assert_same(lab, table, "trial")


def test_by_the_command(lab: Lab) -> None:
    """A dry run changes nothing and says what would be done; then it is done; then there is nothing to do."""
    table = scene(lab)
    before = everything(lab)
    said = command(lab)
    assert everything(lab) == before
    assert "would convert:" in said and f"8 rows in {lab.helper_schema}.session_outbound\n" in said
    host = f"{lab.source_server.host}:{lab.source_server.port}"
    names = (host, lab.source_schema, lab.helper_schema, "session_outbound", lab.local_schema)
    assert "@link({})".format(", ".join(f'"{name}"' for name in names)) in said
    document = json.loads(command(lab, before=["--json"]))
    DOCUMENTS.validate(document)
    assert (document["verb"], document["exit"], document["counts"]["dry_run"]) == ("convert", 0, True)
    assert document["counts"]["counts"][f"{lab.helper_schema}.session_outbound"] == 8 and document["counts"]["steps"]
    assert command(lab, "--no-dry-run").startswith("converted:")
    assert_converted(lab, table)
    assert repr(convert.convert(ends(lab))).startswith("nothing to convert")


@pytest.mark.parametrize("pair", [("postgresql", "mysql"), ("mariadb", "postgresql")], ids="-".join, indirect=True)
def test_the_link_that_it_prints(mixed: Lab) -> None:
    """It is the same link: all of what the older one was told of the server, and of encryption."""
    lab = mixed
    scene(lab)
    database = "/postgres" if lab.kind == "postgresql" else ""
    said = command(lab, "--no-dry-run", database=database, DJ_USE_TLS="false").splitlines()[-1]
    words = said.strip().removeprefix("@link(").removesuffix(")").split(", ")
    told = dict(word.split("=") for word in words if "=" in word)
    wanted = {"backend": f'"{lab.source_server.backend}"', "use_tls": "False"}
    assert told == wanted | ({"database": '"postgres"'} if database else {})
    Session: Any = eval(said.strip().removeprefix("@"), {"link": partial(link, connection=lab.local)})(
        type("Session", (), {})
    )
    assert states(Session) == STATES


def command(lab: Lab, *options: str, before: Sequence[str] = (), database: str = "", **more: str) -> str:
    """What `datajoint-link convert` prints."""
    source, local = lab.source_server, lab.local_server
    arguments = {"host": f"{source.backend}://{source.host}:{source.port}{database}", "schema": lab.source_schema}
    arguments |= {"table": "Session", "local-schema": lab.local_schema}
    words = [word for name, value in arguments.items() for word in (f"--{name}", value)]
    environment = {"DJ_HOST": local.host, "DJ_PORT": str(local.port), "DJ_BACKEND": local.backend}
    environment |= {"DJ_USER": lab.local_user, "DJ_PASS": lab.local_password} | more
    call = [sys.executable, "-W", "ignore", "-m", "link", *before, "convert", *words, *options]
    done = subprocess.run(call, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class BrokenOffError(Exception):
    """The conversion was broken off."""


@contextmanager
def broken_off(monkeypatch: pytest.MonkeyPatch, before: int) -> Iterator[list[str]]:
    """Let no more than so many statements of a conversion through."""
    sent: list[str] = []
    with monkeypatch.context() as patch:
        for kind in ServerSession.__subclasses__():
            execute: Any = kind.execute

            def counting(self: Any, sql: str, args: Any = (), execute: Any = execute) -> int:
                if sql.startswith(("ALTER", "UPDATE", "DROP", "RENAME", "DO $$")):
                    if len(sent) == before:
                        raise BrokenOffError
                    sent.append(sql)
                return int(execute(self, sql, args))

            patch.setattr(kind, "execute", counting)
        yield sent


def test_broken_off_anywhere(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every moment the link is whole, by one interface or the other; the next attempt goes on."""
    table = scene(lab)
    # Where all is rolled back, some will do.
    for statement in range(0, 24, 4 if lab.kind == "postgresql" else 1):
        try:
            with broken_off(monkeypatch, statement):
                convert.convert(ends(lab), dry_run=False)
            break
        except BrokenOffError:
            assert_whole(lab)
    assert statement >= 5
    assert_converted(lab, table)


def assert_whole(lab: Lab) -> None:
    """The states are those at first, whichever interface the tables are of; what is held stays held."""
    assert lab.source_server.sql(f"SELECT COUNT(*) FROM {lab.helper_schema}.session_outbound") == [(8,)]
    try:
        assert states(linked(lab, "Session")) == STATES
    except HelperMismatchError:
        spec = older_spec("Session", None, lab.source_schema, lab.helper_schema, lab.local_schema)
        columns = "SUM(is_flagged = 'TRUE'), SUM(is_deprecated = 'TRUE'), SUM(process <> 'NONE')"
        counts = lab.source_server.sql(f"SELECT {columns} FROM {lab.helper_schema}.{spec.helper_table}")
        assert tuple(map(int, counts[0])) == (3, 1, 2)


def test_a_request_in_the_middle_is_not_lost(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """On servers that commit after each statement somebody may ask for a deletion between two of them."""
    if lab.kind == "postgresql":
        pytest.skip("there the conversion is one transaction")
    scene(lab)
    with pytest.raises(BrokenOffError), broken_off(monkeypatch, 5) as sent:
        convert.convert(ends(lab), dry_run=False)
    assert sum("RENAME COLUMN" in sql for sql in sent) == 0 and "UPDATE" in sent[-1]
    lab.source_server.sql(
        f"INSERT INTO {lab.helper_schema}.session_outbound__deletion_requested (subject, session) VALUES (6, 6)"
    )
    convert.convert(ends(lab), dry_run=False)
    assert by_link(lab).source.flagged.keys(order_by="KEY") == session_keys(2, 3, 6)


def test_not_while_something_runs(lab: Lab) -> None:
    scene(lab)
    before = everything(lab)
    running = ends(lab).open().holds.numbered()
    with_connection = ends(lab).connect_source().open()
    running.enlist(with_connection)
    lab.source_server.sql(
        f"UPDATE {lab.helper_schema}.session_outbound SET _worker = %s WHERE session = 4", running.worker
    )
    try:
        with pytest.raises(LinkError, match="running"):
            convert.convert(ends(lab), dry_run=False)
    finally:
        with_connection.close()
    lab.source_server.sql(f"UPDATE {lab.helper_schema}.session_outbound SET _worker = 4711 WHERE session = 4")
    assert everything(lab) == before


def test_what_is_not_there_is_not_converted(lab: Lab) -> None:
    older(lab, sessions(lab, 3))
    before = everything(lab)
    with pytest.raises(NotFoundError, match="session_outbound"):
        convert.convert(ends(lab), dry_run=False)
    assert everything(lab) == before


def test_a_link_of_another_table_is_not_converted(lab: Lab) -> None:
    table = sessions(lab, 3)
    older(lab, table)
    key = "subject INT NOT NULL, session INT NOT NULL, PRIMARY KEY (subject, session)"
    lab.source_server.sql(f"CREATE TABLE {lab.helper_schema}.session_outbound ({key})")
    if lab.kind == "postgresql":
        lab.source_server.sql(f"GRANT SELECT ON {lab.helper_schema}.session_outbound TO {lab.link_user}")
    with pytest.raises(HelperMismatchError, match="foreign key"):
        convert.convert(ends(lab))
