"""What a new user reads at first use: what DataJoint says itself, and one line for the source."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lab import Lab
from linking import declare_session

NOTEBOOK = """
import os
from link import LinkedTable, link

host, *names = os.environ["LINK"].split()

@link(host, *names)
class Session(LinkedTable):
    pass

@link(host.replace("127.0.0.1", "localhost"), *names, table="Session")
class Again(LinkedTable):
    pass

Session.source.preview()
print(len(Session.source), len(Again.source))
print(Session.source.pull(processes=2).pulled)
print(len(Session() & "session < 2"))
"""


def said(lab: Lab, folder: Path, script: str) -> tuple[list[str], str]:
    """What a process of its own says on stdout, line by line and without times, and on stderr."""
    local = lab.local_server
    settings = {
        "DJ_HOST": local.host,
        "DJ_PORT": str(local.port),
        "DJ_USER": lab.local_user,
        "DJ_PASS": lab.local_password,
        "DJ_BACKEND": local.backend,
        "DJ_USE_TLS": "false",
        "LINK": f"{lab.source_server.host}:{lab.source_server.port} "
        f"{lab.source_schema} {lab.helper_schema} {lab.helper_table} {lab.local_schema}",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJ_")} | settings
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    return [re.sub(r"^\[[^]]*\] ", "", line) for line in done.stdout.splitlines()], done.stderr


def test_first_use(lab: Lab, tmp_path: Path) -> None:
    """Of a server by two names; of one that DataJoint warns of, and of one without TLS, too."""
    declare_session(lab)
    lines, warnings = said(lab, tmp_path, NOTEBOOK)
    source, local = lab.source_server, lab.local_server
    assert re.fullmatch(rf"DataJoint \S+ connected to {lab.local_user}@127.0.0.1:{local.port}", lines[0])
    by_tls = " by TLS" * (lab.kind == "mysql")
    assert lines[1:] == [
        f"Connected to the source server 127.0.0.1:{source.port} as {lab.link_user}{by_tls}.",
        "3 3",
        "3",
        "2",
    ]
    told = re.findall(r"\w+Warning: (\w+ \S+ \w+)", warnings)
    assert told == ["No datajoint.json found", "MariaDB is not"][: 1 + (lab.kind == "mariadb")], warnings


@pytest.mark.parametrize("kind", ["mysql"], indirect=True)
def test_the_driver_of_postgresql_is_not_installed(lab: Lab, tmp_path: Path) -> None:
    declare_session(lab)
    script = f"""
import sys
sys.modules["psycopg2"] = None  # as where there is none
import link
names = {(lab.source_schema, lab.helper_schema, lab.helper_table, lab.local_schema)!r}
try:
    link.link("postgresql://127.0.0.1:1/neuro", *names)(type("Session", (), {{}}))()
except link.ConfigError as error:
    print(error.hint)
"""
    lines, _ = said(lab, tmp_path, script)
    assert lines[-1] == 'pip install "datajoint-link[postgres]"'
