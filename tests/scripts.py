"""Scripts as users write them, each in a process of its own with a lab's servers and accounts in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from lab import Lab


def environment(lab: Lab) -> dict[str, str]:
    """The environment of a user of the local server, with the account at the source."""
    server = lab.local_server
    theirs = {name: value for name, value in os.environ.items() if not name.startswith(("DJ_", "LINK_"))}
    return theirs | {
        "DJ_IGNORE_CONFIG_FILE": "true",
        "DJ_HOST": server.host,
        "DJ_PORT": str(server.port),
        "DJ_USER": lab.local_user,
        "DJ_PASS": lab.local_password,
        "DJ_BACKEND": server.backend,
        "DJ_USE_TLS": "false",
        "LINK_USER": lab.link_user,
        "LINK_PASS": lab.link_password,
        "TERM": "dumb",
    }


def names(lab: Lab) -> tuple[str, ...]:
    """What ``@link`` is given of the lab's link."""
    address = f"{lab.source_server.host}:{lab.source_server.port}"
    return address, lab.source_schema, lab.helper_schema, lab.helper_table, lab.local_schema


def run(lab: Lab, code: str, folder: Path, *, linked: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end; in it ``linked`` is the decorator of the lab's link, unless it makes its own."""
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120, "cwd": folder}
    return subprocess.run(written(lab, code, folder, linked=linked), env=environment(lab) | environ, **options)


def written(lab: Lab, code: str, folder: Path, *, linked: bool = True) -> list[str]:
    """The command that runs a script, which is written into a file."""
    decorator = f"from link import link\nlinked = link(*{names(lab)}, use_tls=False)\n"
    file = folder / "script.py"
    file.write_text((decorator if linked else "") + textwrap.dedent(code))
    return [sys.executable, str(file)]
