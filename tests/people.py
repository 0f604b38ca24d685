"""The people of the source lab: processes with DataJoint 2.3 or 0.14, and the accounts that they may have there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import Lab
from provision import datajoint_014

PROGRAM = Path(__file__).with_name("person.py")
#: Whoever has neither of DataJoint's settings files in home or folder has the defaults.
NOTHING = ("DJ_", "LINK_", "PYTHON", "COV_")


#: What DataJoint says to whom a hold refuses something: `test_source_lab.py` hears it, docs/held-rows.md quotes it.
SAID = {
    "done": "",
    "unloaded": "Delete blocked by FK in unloaded/inaccessible schema.",
    "blocked": (
        "Delete blocked by table `link_lab_b`.`session_outbound` in an unloaded schema. "
        "Activate all dependent schemas before deleting."
    ),
    "blocked, postgresql": (
        'Delete blocked by table "session_outbound" in an unloaded schema. '
        "Activate all dependent schemas before deleting."
    ),
    "cascading": (
        "Cascading deletes failed because the error message is missing foreign key information."
        "Make sure you have REFERENCES privilege to all dependent tables."
    ),
    "values": "not enough values to unpack (expected 3, got 0)",
    "declare": "Cannot declare new tables inside a transaction, e.g. from inside a populate/make call",
    "drop, mysql": (
        "Cannot drop table 'session' referenced by a foreign key constraint 'session_outbound_ibfk_1' "
        "on table 'session_outbound'."
    ),
    "drop, mariadb": "Cannot delete or update a parent row: a foreign key constraint fails",
    "guard": "Rows held by Lab B: set is_flagged to TRUE and wait until is_deprecated says TRUE",
    "guard, mysql": (
        "Cannot drop table '~link_guard_...' referenced by a foreign key constraint '~link_guard_...__ibfk_1' "
        "on table '~link_guard_..._'."
    ),
    "guard of parts, mysql": (
        "Cannot drop table 'session__trial' referenced by a foreign key constraint '~link_guard_..._ibfk_1' "
        "on table '~link_guard_...'."
    ),
    "guard, postgresql": "cannot drop table link_lab_b.session_outbound because other objects depend on it",
    "no right": "Insufficient privileges.",
    "no right on the schema": "An attempt to drop schema `lab_a` has failed. Check permissions.",
}

#: What it shows before it asks an administrator.
SHOWN = {
    "(Session & 'session = 5').delete()": "Deleting 1 rows from `link_lab_b`.`session_outbound`",
    "Session.drop()": "`link_lab_b`.`session_outbound` (5 tuples)",
}


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The variables of somebody whose home is a folder, and who has set nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOTHING)}
    return kept | {"HOME": str(folder), "DJ_IGNORE_CONFIG_FILE": "true", "MPLCONFIGDIR": str(folder)} | more


def answered(python: Path, program: Path, order: Any, folder: Path, **more: str) -> Any:
    """What a program in another environment answers to an order, both in JSON."""
    words = [str(python), "-W", "ignore", str(program)]
    where: dict[str, Any] = {"cwd": folder, "env": environment(folder, **more)}
    done = subprocess.run(words, input=json.dumps(order), capture_output=True, text=True, check=False, **where)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@dataclass
class Answer:
    """What has come of a line of code: a result, or the class and text of an error, and what DataJoint said."""

    result: Any = None
    error: str = ""
    text: str = ""
    heard: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


class Person:
    """A process with one version of DataJoint, in which code is run as one account after another."""

    def __init__(self, version: str, folder: Path) -> None:
        python = datajoint_014() if version == "0.14" else Path(sys.executable)
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment(folder),
        )

    def arrive(self, lab: Lab, user: str | None = None, password: str = "", **options: Any) -> None:
        """Begin a session at the lab's source, as its administrator unless a user is named."""
        server = lab.source_server
        account = (user, password) if user else (server.admin_user, server.admin_password)
        where = {"host": server.host, "port": server.port, "backend": server.backend}
        where |= dict(zip(("user", "password"), account, strict=True))
        answer = self._ask(arrive={"server": where, "schema": lab.source_schema, **options})
        assert not answer.error, answer

    def run(self, code: str) -> Answer:
        """Run one expression in that session."""
        return self._ask(code=code)

    def leave(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _ask(self, **request: Any) -> Answer:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process has ended: see what it wrote to stderr"
        return Answer(**json.loads(line))
