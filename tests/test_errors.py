"""Errors in the middle of the work: Ctrl-C, lost connections, and what a user sees of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from lab import Lab
from linking import admin, declare_session, linked

from link import UnreachableError
from link.servers import Block, Form

ROWS = 100_000
CHILD = """
import sys
import datajoint as dj
from link import link

host, source, helper, table, local, backend, port, user, password = sys.argv[1:]
here = dj.Instance("127.0.0.1", user, password, port=int(port), use_tls=False, backend=backend)

@link(host, source, helper, table, local, connection=here, use_tls=False)
class Session:
    pass

print("ready", flush=True)
Session().source.pull()
print("done", flush=True)
"""


def fill(lab: Lab, rows: int) -> None:
    """A source table of many rows, made by the server itself."""
    digits = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))
    places = len(str(rows)) - 1
    number = " + ".join(f"d{p}.n * {10**p}" for p in range(places))
    tables = ", ".join(f"({digits}) AS d{p}" for p in range(places))
    admin(
        lab,
        'CREATE TABLE "{source}"."session" (session int PRIMARY KEY, note varchar(255) NOT NULL)',
        f'INSERT INTO "{{source}}"."session" SELECT {number}, REPEAT(\'x\', 200) FROM {tables}',
    )
    lab.grant("session")


def count(lab: Lab) -> int:
    """Rows of the local table; 0 while there is none."""
    with closing(lab.local_server.connect_raw()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM information_schema.tables WHERE table_schema = %s", (lab.local_schema,))
        if not cursor.fetchall():
            return 0
        cursor.execute(f"SELECT COUNT(*) FROM {lab.local_schema}.session")
        return int(cursor.fetchone()[0])


def helper_rows(lab: Lab, where: str) -> int:
    """Rows of the helper table."""
    query = f"SELECT COUNT(*) FROM {lab.helper_schema}.{lab.helper_table} WHERE {where}"
    return int(lab.source_server.sql(query)[0][0])


def start_pull(lab: Lab, rows: int) -> subprocess.Popen[str]:
    """A real process that pulls; returns when it has pulled so many rows."""
    names = [lab.source_schema, lab.helper_schema, lab.helper_table, lab.local_schema]
    here = [lab.local_server.backend, str(lab.local_server.port), lab.local_user, lab.local_password]
    host = f"127.0.0.1:{lab.source_server.port}"
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD, host, *names, *here],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"DJ_LOG_LEVEL": "WARNING"},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 60
    while count(lab) < rows and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    return child


def test_ctrl_c_in_the_middle_of_a_pull(lab: Lab) -> None:
    fill(lab, ROWS)
    child = start_pull(lab, 5_000)
    child.send_signal(signal.SIGINT)
    said, complaints = child.communicate(timeout=60)
    assert (said, child.returncode) == ("", -signal.SIGINT)
    pulled = count(lab)
    assert 5_000 <= pulled < ROWS
    # One line says what happened; the traceback is that of the caller, without threads or errors of drivers.
    (line,) = [line for line in complaints.splitlines() if line.startswith("Session: interrupted")]
    assert "the next pull goes on" in line
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    assert "Exception in thread" not in complaints
    assert "During handling" not in complaints and "direct cause" not in complaints
    assert lab.link_password not in complaints and lab.local_password not in complaints
    # What was only claimed has been let go: held is what is local, and at most the chunk in hand.
    held = helper_rows(lab, "1 = 1")
    assert pulled <= held <= pulled + 20_000
    table = linked(lab)
    result = table().source.pull()
    # The server may have gone on with the last statement after that: of MySQL's, one is a chunk.
    assert ROWS - pulled - 20_000 <= result.pulled <= ROWS - pulled and result.pulled + result.shared == ROWS
    assert len(table()) == helper_rows(lab, "process = 'NONE'") == helper_rows(lab, "1 = 1") == ROWS


def test_ctrl_c_twice_in_a_row(lab: Lab) -> None:
    fill(lab, ROWS)
    child = start_pull(lab, 1)
    child.send_signal(signal.SIGINT)
    time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    assert said == ""
    assert child.returncode != 0
    table = linked(lab)
    table().source.pull()
    assert len(table()) == helper_rows(lab, "process = 'NONE'") == helper_rows(lab, "1 = 1") == ROWS


def test_an_error_of_the_reader_is_not_hidden_by_the_loader(lab: Lab) -> None:
    declare_session(lab)
    ends = linked(lab)._ends
    here = ends.entity.master
    form = Form(ends.local.language_from(ends.source))

    def broken_off(error: BaseException) -> Iterator[Block]:
        yield from ()
        raise error

    for error in (UnreachableError("The source is gone."), KeyboardInterrupt()):
        with (
            closing(ends.local.connect()) as connection,
            pytest.raises(type(error)) as raised,
            connection.transaction(),
        ):
            connection.load(here, broken_off(error), form)
        assert raised.value is error
