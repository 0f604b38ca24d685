"""Every recipe of docs/recipes.md is run as it stands there, in a folder of its own."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab import Lab
from labs import build, local_schemas
from pipelines import rows

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/recipes.md").read_text()
FOLDER = "/srv/lab-b"
#: What cron gives its commands, and what systemd gives a service.
CRON = {"HOME": "/nonexistent", "LOGNAME": "link", "SHELL": "/bin/sh"}
SYSTEMD = {"HOME": "/nonexistent", "LOGNAME": "link", "USER": "link", "PATH": "/usr/local/bin:/usr/bin:/bin"}


def recipe(language: str, beginning: str = "") -> str:
    """The block of a language that begins so."""
    blocks = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(beginning)]
    return str(found)


@dataclass
class Site:
    """The folder of lab B, with settings, secrets and the program; and the lab."""

    folder: Path
    lab: Lab

    def here(self, text: str) -> str:
        """A recipe for this folder, and this lab's schemas."""
        return text.replace(FOLDER, str(self.folder)).replace(".source.ephys", f".source.{self.lab.prefix}_ephys")

    def sh(self, command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command with no other variables than these, as `env -i` does."""
        words = ["/bin/sh", "-c", self.here(command)]
        return subprocess.run(
            words, env=environment, cwd="/", input="", capture_output=True, text=True, timeout=300, check=False
        )

    def count(self) -> int:
        """How many units are here."""
        return len(rows(self.lab.local_server, f"{self.lab.prefix}_our_ephys._unit"))


@pytest.fixture
def site(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name in ("LINK_USER", "LINK_PASS", "LINK_OUTBOUND"):
        monkeypatch.delenv(name)
    build(lab)
    local, source = lab.local_server, lab.source_server
    database = {"host": local.host, "port": local.port, "backend": local.backend, "user": lab.local_user}
    (tmp_path / "datajoint.json").write_text(json.dumps({"database": database}))
    schemas = ", ".join(f'{theirs} = "{ours}"' for theirs, ours in local_schemas(lab).items())
    (tmp_path / "links.toml").write_text(f"""
[source.lab_a]
host = "{source.backend}://{source.host}:{source.port}"
user = "{lab.link_user}"

[link.ephys]
source = "lab_a"
helper_schema = "{lab.helper_schema}"
schemas = {{ {schemas} }}

[link.ephys.pull]
"{lab.prefix}_ephys.Unit" = "subject < 5"
""")
    secrets = tmp_path / ".secrets"
    secrets.mkdir(mode=0o700)
    for name, password in (("database", lab.local_password), ("link.lab_a", lab.link_password)):
        (secrets / f"{name}.password").write_text(password)
        (secrets / f"{name}.password").chmod(0o600)
    programs = tmp_path / "venv/bin"
    programs.mkdir(parents=True)
    write_program(programs / "datajoint-link", f'PYTHONPATH={ROOT / "src"} exec {sys.executable} -m link "$@"')
    # Instead of sending it, it keeps what it was told.
    write_program(programs / "mail", f'echo "$@" >> {tmp_path}/mails; cat >> {tmp_path}/mails')
    return Site(tmp_path, lab)


def write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize("kind", ["mysql"], indirect=True)
def test_cron(site: Site) -> None:
    """Nothing is printed, so no mail is sent, as long as all is well."""
    *settings, line = recipe("crontab").strip().splitlines()
    given = dict(setting.split("=", 1) for setting in settings)
    times = line.split()[:5]
    assert all(re.fullmatch(r"[\d*/,-]+", time) for time in times)
    command = line.split(maxsplit=5)[5]
    environment = CRON | {name: site.here(value) for name, value in given.items()}
    done = site.sh(command, environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert site.count() == 5
    site.lab.local_server.sql(f"UPDATE {site.lab.prefix}_our_ephys._unit SET wave = NULL WHERE subject = 3")
    done = site.sh(command, environment)
    assert done.returncode == 3 and "subject" in done.stdout


@pytest.mark.parametrize("kind", ["mysql"], indirect=True)
def test_a_mail_says_what_happened(site: Site) -> None:
    script = recipe("sh", "#!/bin/sh")
    assert site.sh(script, SYSTEMD).returncode == 0
    assert not (site.folder / "mails").exists() and site.count() == 5
    lab = site.lab
    helper = next(
        name
        for (name,) in lab.source_server.sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_name LIKE '%%unit%%'",
            lab.helper_schema,
        )
    )
    lab.source_server.sql(f"UPDATE {lab.helper_schema}.`{helper}` SET is_flagged = 'TRUE' WHERE subject = 2")
    site.sh(script, SYSTEMD)
    mails = (site.folder / "mails").read_text()
    assert mails.startswith("-s link ephys: status: exit 4 admin@lab-b.org\n") and "Tainted" in mails
    (site.folder / ".secrets/link.lab_a.password").write_text("wrong")
    site.sh(script, SYSTEMD)
    assert "-s link ephys: pull: exit 6 admin@lab-b.org\n" in (site.folder / "mails").read_text()


def test_a_systemd_timer(tmp_path: Path) -> None:
    """The units are right in the eyes of systemd, where it is there; their command is that of the other recipes."""
    (tmp_path / "venv/bin").mkdir(parents=True)
    write_program(tmp_path / "venv/bin/datajoint-link", "true")
    units = {}
    for block in re.findall(r"```ini\n(.*?)```", TEXT, re.DOTALL):
        name = Path(block.splitlines()[0].removeprefix("# ")).name
        units[name] = block.replace(FOLDER, str(tmp_path)).replace("User=link\n", f"User={getpass.getuser()}\n")
        (tmp_path / name).write_text(units[name])
    service = dict(line.split("=", 1) for line in units["link-ephys.service"].splitlines() if "=" in line)
    assert service["WorkingDirectory"] == str(tmp_path) and {*units} == {"link-ephys.service", "link-ephys.timer"}
    assert service["ExecStart"] == f"{tmp_path}/venv/bin/datajoint-link pull ephys"
    if verify := shutil.which("systemd-analyze"):
        paths = [str(tmp_path / name) for name in units]
        said = subprocess.run([verify, "verify", *paths], capture_output=True, text=True, timeout=120, check=False)
        assert said.returncode == 0 and "link-ephys" not in said.stderr, said.stderr


@pytest.mark.parametrize("kind", ["mysql"], indirect=True)
def test_dask(site: Site) -> None:
    """With workers that are processes of their own, and know nothing but the folder."""
    program = site.folder / "nightly.py"
    program.write_text(site.here(recipe("python", "from dask.distributed")))
    environment: dict[str, Any] = {**SYSTEMD, "PYTHONPATH": str(ROOT / "src"), "HOME": str(site.folder)}
    done = subprocess.run(
        [sys.executable, str(program)],
        env=environment,
        cwd=site.folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert re.search(r"^[1-9]\d* pulled$", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert site.count() == 4
