"""What is published: its contents, what it says of itself, and that it runs where nothing else is installed."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_docs import DOCUMENTS, ROOT
from test_house import TREES, place

SRC = ROOT / "src"
OURS = {"link", "dj_link"}


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints that knows nothing of this environment."""
    foreign = ("PYTHON", "VIRTUAL_ENV", "DJ_", "LINK_", "SSL_CERT")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment["UV_SYSTEM_CERTS"] = "true"  # as pip does
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def program(name: str) -> Path:
    return Path(sys.executable).parent / name


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel that was built of it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--installer", "uv", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    [found] = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module", params=["newest", "oldest"])
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel alone: with the newest of what it needs, or the oldest."""
    folder = tmp_path_factory.mktemp("empty")
    uv = program("uv")
    run(uv, "venv", "--no-config", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    install = (uv, "pip", "install", "--python", python, "--only-binary", ":all:")
    if request.param == "oldest":
        extras = ("--extra", "postgres", "--extra", "s3")
        run(*install, "--resolution", "lowest-direct", *extras, "-r", ROOT / "pyproject.toml", cwd=folder)
        found = run(python, "-c", "from importlib.metadata import version; print(version('tenacity'))", cwd=folder)
        assert f'"tenacity>={found.rpartition(".")[0]}"' in (ROOT / "pyproject.toml").read_text()
    run(*install, f"{wheel}[postgres,s3]", cwd=folder)
    return python.parent


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {path.relative_to(SRC).as_posix() for path in SRC.rglob("*") if path.suffix in (".py", ".typed")}
    assert held == ours >= {"link/py.typed", "dj_link/py.typed"}


def test_what_it_says_of_itself(dist: Path, metadata: Message) -> None:
    run(program("twine"), "check", "--strict", *dist.iterdir(), cwd=dist)
    assert metadata["Author"] and metadata["License-Expression"] == "Apache-2.0"
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    assert urls.keys() >= {"Source", "Documentation", "Issues", "Changelog"}
    # Another place shows the description: what is beside the README here is not beside it there.
    assert not re.findall(r"\]\((?!https://|#)[^)]*\)", str(metadata.get_payload()))


def test_the_changes_begin_with_this_version(metadata: Message) -> None:
    [first, *_] = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert re.fullmatch(rf"{re.escape(metadata['Version'])}, \d{{4}}-\d\d-\d\d", first)


def test_it_runs_with_what_it_declares_alone(installed: Path, metadata: Message, tmp_path: Path) -> None:
    version = metadata["Version"]
    assert run(installed / "datajoint-link", "--version", cwd=tmp_path).split() == ["datajoint-link", version]
    assert "grants" in run(installed / "datajoint-link", "grants", "--help", cwd=tmp_path)
    said = run(
        installed / "python", "-c", "import link; from link import Pipeline; print(link.__version__)", cwd=tmp_path
    )
    assert said.split()[-1] == version
    # Whatever is imported late, too.
    every = "import dj_link, importlib, link, pkgutil\nfor package in (link, dj_link):\n"
    every += "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
    every += "        if not module.name.endswith('.__main__'): importlib.import_module(module.name)\n"
    run(installed / "python", "-c", every, cwd=tmp_path)


def imported() -> Iterator[tuple[str, str]]:
    """The packages that are imported somewhere, each with a place."""
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], place(module, node.lineno)) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0], place(module, node.lineno)


def test_what_is_imported_is_declared(metadata: Message) -> None:
    """Not only what happens to come with something else, which may go without it one day."""
    declared = {canonicalize_name(Requirement(line).name) for line in metadata.get_all("Requires-Dist", [])}
    brought = packages_distributions()
    undeclared = [
        f"{where} imports {package}, of {brought.get(package)}"
        for package, where in imported()
        if package not in OURS | sys.stdlib_module_names
        and declared.isdisjoint(map(canonicalize_name, brought.get(package, (package,))))
    ]
    assert not undeclared, "\n".join(undeclared)


def test_extras_are_quoted() -> None:
    """For zsh, the shell of macOS, brackets are a pattern, and a pattern that fits nothing is an error."""
    messages = sorted(SRC.rglob("*.py"))
    bare = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (*DOCUMENTS, ROOT / "CHANGELOG.md", *messages)
        for line in path.read_text().splitlines()
        if re.search(r"(?<!['\"])datajoint-link\[", line)
    ]
    assert not bare, "\n".join(bare)
