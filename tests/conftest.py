"""Fixtures over real servers: `kind` runs a test once on each, `lab` gives it a world of its own there."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

# Before DataJoint is imported: neither this machine's settings nor its accounts shall leak into a test.
_LEAKING = re.compile(r"(DJ|PG|AWS_)|LINK_(\w+_)?(USER|PASS)|LINK_OUTBOUND")
for _name in [name for name in os.environ if _LEAKING.match(name)]:
    del os.environ[_name]
# Nor does its proxy lead to the servers of the tests.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"127.0.0.1,localhost,{os.environ.get('no_proxy', '')}".strip(",")
os.environ |= {"DJ_IGNORE_CONFIG_FILE": "true", "DJ_LOG_LEVEL": "WARNING"}
# No server of the tests has a certificate of the system's authorities, which take 20 ms to load for each connection.
os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull

import recorder  # noqa: E402

recorder.install()

import provision  # noqa: E402
import pytest  # noqa: E402
from buckets import Buckets  # noqa: E402
from figures import Figures  # noqa: E402
from fleet import Fleet, TestServer  # noqa: E402
from lab import Lab  # noqa: E402
from provision import KINDS, TITLES, UnavailableError, find  # noqa: E402
from shop import Shop, opened  # noqa: E402

FLEET = pytest.StashKey[Fleet]()
FIGURES = pytest.StashKey[Figures]()
#: What `--quick` runs on PostgreSQL, beside what needs no server.
QUICK = ("test_pull", "test_delete", "test_flags", "test_linked_class")
#: Fixtures that come with a server, the demo's, which starts its own, and one that installs what is published.
WITH_SERVERS = {"kind", "pair", "servers", "buckets", "place", "installed"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only what needs no server, and the main jobs on PostgreSQL")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--quick`, leave out the rest; an error where that leaves nothing of a module that shall be there."""
    if not config.getoption("quick"):
        return
    chosen = [item for item in items if _is_quick(item)]
    modules, left = ({item.path.stem for item in some} for some in (items, chosen))
    gone = [name for name in QUICK if not (config.rootpath / "tests" / f"{name}.py").exists()]
    if lost := gone + [name for name in QUICK if name in modules - left]:
        raise pytest.UsageError(f"--quick finds no test in {', '.join(lost)}")
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def _is_quick(item: pytest.Item) -> bool:
    if WITH_SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
        return True
    chosen = item.callspec.params if hasattr(item, "callspec") else {}
    return item.path.stem in QUICK and chosen.get("kind") == "postgresql"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FLEET] = Fleet()
    config.stash[FIGURES] = Figures()
    if getattr(config.option, "numprocesses", None):
        for kind in ("postgresql",) if config.getoption("quick") else KINDS:
            with suppress(UnavailableError):  # who needs it will say so
                find(kind)  # fetched once, before several workers ask for it


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start what the chosen tests need, all at once, before the first test's clock runs.

    One worker of several starts what it comes to need.
    """
    if not session.config.option.collectonly and not hasattr(session.config, "workerinput"):
        parameters = [item.callspec.params for item in session.items if hasattr(item, "callspec")]
        kinds = {chosen["kind"] for chosen in parameters if "kind" in chosen}
        kinds |= {kind for chosen in parameters for kind in chosen.get("pair", ())}
        session.config.stash[FLEET].start(kinds)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker's last words to the process that reports."""
    if hasattr(session.config, "workeroutput"):
        fleet = session.config.stash[FLEET]
        told = {"figures": session.config.stash[FIGURES].counts, "covered": fleet.covered(), "missing": fleet.missing}
        session.config.workeroutput.update(told)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker has told."""
    told = getattr(node, "workeroutput", {})
    fleet, figures = node.config.stash[FLEET], node.config.stash[FIGURES]
    for what, counts in told.get("figures", {}).items():
        for kind, number in counts.items():
            figures.add(what, kind, number)
    fleet.elsewhere.update(told.get("covered", []))
    fleet.missing.update(told.get("missing", {}))


def pytest_unconfigure(config: pytest.Config) -> None:
    if FLEET in config.stash:
        config.stash[FLEET].close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[None]:
    """Say last, after pytest's own summary, on which servers the tests have run and how to get the others."""
    yield
    if hasattr(config, "workerinput"):
        return
    fleet = config.stash[FLEET]
    for kind, reason in fleet.missing.items():
        terminalreporter.write_line(f"NOT covered: {TITLES[kind]}: {reason}", yellow=True)
    for line in config.stash[FIGURES].lines():
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"servers covered: {', '.join(fleet.covered()) or 'none'}")


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of server on which the test runs: each of the three in turn."""
    return str(request.param)


@pytest.fixture(scope="session", params=list(itertools.product(KINDS, KINDS)), ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The kinds of the source's and the local server: each of the nine ordered pairs in turn."""
    return request.param  # type: ignore[no-any-return]


# For each test: one of the session would stay that of another kind where a module has a `kind` of its own.
@pytest.fixture
def servers(kind: str, pytestconfig: pytest.Config) -> tuple[TestServer, TestServer]:
    """The source's and the local server of this kind; skips where there is none, unless all are required."""
    return _pair(pytestconfig, kind)


def _pair(config: pytest.Config, kind: str) -> tuple[TestServer, TestServer]:
    try:
        return config.stash[FLEET].pair(kind)
    except UnavailableError as reason:
        if os.environ.get("LINK_REQUIRE_SERVERS") == "all" or config.getoption("quick"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def fleet(pytestconfig: pytest.Config) -> Fleet:
    """All servers of the run, for a test that needs one more."""
    return pytestconfig.stash[FLEET]


@pytest.fixture(scope="session")
def datajoint_014(pytestconfig: pytest.Config) -> Path:
    """The Python of an environment with DataJoint 0.14; skips, and the run says so, where none can be made."""
    return _installed(pytestconfig, "datajoint 0.14", provision.datajoint_014)


@pytest.fixture(scope="session")
def elements(pytestconfig: pytest.Config) -> Path:
    """The folder of the pipelines that were published for DataJoint 0.14; likewise."""
    return _installed(pytestconfig, "elements", provision.elements)


def _installed(config: pytest.Config, what: str, install: Callable[[], Path]) -> Path:
    try:
        return install()
    except UnavailableError as reason:
        config.stash[FLEET].missing[what] = str(reason)
        if os.environ.get("LINK_REQUIRE_SERVERS") == "all":
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Where to count what was tried: the run prints it at its end."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture
def source_server(servers: tuple[TestServer, TestServer]) -> Iterator[TestServer]:
    """The source's server, which a test may stop or kill: it is started again afterwards."""
    yield servers[0]
    servers[0].restore()


@pytest.fixture
def local_server(servers: tuple[TestServer, TestServer]) -> Iterator[TestServer]:
    """The local server, which a test may stop or kill: it is started again afterwards."""
    yield servers[1]
    servers[1].restore()


@pytest.fixture
def lab(source_server: TestServer, local_server: TestServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Fresh schemas, accounts and connections, with the link user's credentials in the environment."""
    yield from _built(Lab(source_server, local_server), monkeypatch)


@pytest.fixture(params=[False, True], ids=["link", "dj_link"])
def either(lab: Lab, request: pytest.FixtureRequest) -> Lab:
    """The lab, whose tables are linked by `@link`, and by the older interface."""
    lab.older = request.param
    return lab


@pytest.fixture
def mixed(pair: tuple[str, str], pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """What `lab` is, between servers of two kinds."""
    source, local = _pair(pytestconfig, pair[0])[0], _pair(pytestconfig, pair[1])[1]
    yield from _built(Lab(source, local), monkeypatch)


def _built(world: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("LINK_USER", world.link_user)
    monkeypatch.setenv("LINK_PASS", world.link_password)
    monkeypatch.setenv("LINK_OUTBOUND", world.helper_schema)
    try:
        world.build()
        yield world
    finally:
        world.clear()


@pytest.fixture(scope="session")
def buckets() -> Iterator[Buckets]:
    """Two S3 servers, the source's and the local one."""
    servers = Buckets()
    yield servers
    servers.close()


@pytest.fixture
def shop(tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Stores of every kind, for single objects."""
    with opened(tmp_path, buckets, monkeypatch) as made:
        yield made


@pytest.fixture
def statements() -> Iterator[list[recorder.Statement]]:
    """The SQL that the drivers send during the test; empty the list before what is to be counted."""
    with recorder.recorded() as sent:
        yield sent
