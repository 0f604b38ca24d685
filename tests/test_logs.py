"""What this package says by itself: through DataJoint's handler, from its level on, in its format, once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import scripts
from lab import Lab
from pipelines import sessions

#: As DataJoint writes what it logs.
TIME = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]"

# How things are said does not depend on the kind of server; what is said at first use does.
one_kind = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)


@pytest.fixture
def filled(lab: Lab) -> Lab:
    """A lab with ten sessions at the source."""
    table = sessions(lab, 10)
    lab.grant(table)
    return lab


SPEAKING = """
    import logging, sys
    import datajoint as dj
    {first}
    logger = logging.getLogger("link")
    logger.info("a word")
    logger.warning("a warning")
    logger.debug("a detail")
"""


def heard(lab: Lab, folder: Path, first: str = "", **environ: str) -> tuple[list[str], list[str]]:
    """What is printed of some records, to stdout and to stderr."""
    ran = scripts.run(lab, SPEAKING.format(first=first), folder, linked=True, **environ)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines(), ran.stderr.splitlines()


@one_kind
def test_logs_go_the_way_of_datajoints(lab: Lab, tmp_path: Path) -> None:
    stdout, stderr = heard(lab, tmp_path)
    assert re.fullmatch(rf"{TIME} a word\n{TIME}\[WARNING\]: a warning", "\n".join(stdout))
    assert not stderr

    stdout, stderr = heard(lab, tmp_path, DJ_LOG_STREAM="stderr", DJ_LOG_LEVEL="WARNING")
    assert not stdout
    assert re.fullmatch(rf"{TIME}\[WARNING\]: a warning", "\n".join(stderr))


@one_kind
@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("dj.config.loglevel = 'DEBUG'", ["a word", "a warning", "a detail"]),
        ("dj.config['loglevel'] = 'ERROR'", []),
        ("dj.logger.setLevel('WARNING')", ["a warning"]),
        ("logging.getLogger('link').setLevel('ERROR')", []),
        ("logging.getLogger('link').setLevel('DEBUG')", ["a word", "a warning", "a detail"]),
    ],
)
def test_the_level_is_datajoints_as_it_is_now(lab: Lab, tmp_path: Path, first: str, said: list[str]) -> None:
    stdout, stderr = heard(lab, tmp_path, first)
    assert [line.rpartition("] ")[2].rpartition("]: ")[2] for line in stdout] == said
    assert not stderr


@one_kind
def test_an_application_that_logs_itself_hears_everything_once(lab: Lab, tmp_path: Path) -> None:
    first = "logging.basicConfig(stream=sys.stderr, format='app %(name)s %(levelname)s %(message)s')"
    stdout, stderr = heard(lab, tmp_path, first)
    assert not stdout
    assert stderr == ["app link INFO a word", "app link WARNING a warning"]
