"""Writing a `links.toml`, by options or by answers, and completing what is in it. No server is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from shelling import run, shell
from test_cli import HEAVY

from link.links_file import read_links

DOCUMENTS: Any = Draft202012Validator(json.loads((Path(__file__).parents[1] / "docs/cli.schema.json").read_text()))
OPTIONS = ["--source", "lab_a", "--host", "postgresql://db.lab-a.org/neuro", "--user", "lab_b"]
OPTIONS += ["--schema", "ephys=a_ephys", "--schema", "odd-name", "--helper-schema", "link_lab_b", "--link", "odd link"]


def test_options_write_it_and_the_grants_are_printed(tmp_path: Path) -> None:
    path = tmp_path / "links.toml"
    said = shell("--config", str(path), "--json", "init", *OPTIONS)
    document = said.document
    DOCUMENTS.validate(document)
    assert (said.exit_code, document["verb"], document["link"]) == (0, "init", "odd link"), said
    assert document["counts"] == {"file": str(path), "source": "lab_a"}
    assert 'CREATE ROLE "lab_b"' in document["sql"] or 'CREATE USER "lab_b"' in document["sql"]
    assert '"ephys"' in document["sql"] and '"odd-name"' in document["sql"] and '"link_lab_b"' in document["sql"]
    file = read_links(path)
    assert file.source("lab_a").address.database == "neuro"
    assert file.links["odd link"].schemas == {"ephys": "a_ephys", "odd-name": "lab_a_odd-name"}

    # What is there stays: a link is added, to the source that is there, and only where somebody says so.
    path.write_bytes(b"# mine\r\n" + path.read_bytes() + b"  \n")
    more = ["--source", "lab_a", "--schema", "behavior", "--helper-schema", "link_lab_b", "--link", "more"]
    before = path.read_bytes()
    refused = shell("--config", str(path), "init", *more)
    assert refused.exit_code == 2 and "--yes" in refused.stderr and path.read_bytes() == before
    assert shell("--config", str(path), "init", *more, "--yes").exit_code == 0
    assert path.read_bytes().startswith(before)
    assert set(read_links(path).links) == {"odd link", "more"}
    taken = shell("--config", str(path), "init", *more, "--yes")
    assert taken.exit_code == 2 and "[link.more] already" in taken.stderr
    refused = shell("--config", str(path), "--json", "init", *more)
    DOCUMENTS.validate(refused.document)
    assert refused.exit_code == refused.document["exit"] == 2 and "--yes" in refused.document["errors"][0]["what"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "say --host"),
        ([*OPTIONS[:2], "--host", "db", "--helper-schema", "h", "--link", "x"], "say --schema"),
        ([*OPTIONS[:-1], "a.b"], "no name of a link"),
        ([*OPTIONS, "--schema", "h", "--helper-schema", "h"], "one of the schemas to pull from"),
        ([*OPTIONS[:2], "--host", "postgresql://me:s3cret@db.org", *OPTIONS[4:]], "password"),
    ],
)
def test_what_is_missing_or_wrong_is_said_and_nothing_is_written(options: list[str], told: str, tmp_path: Path) -> None:
    said = shell("--config", str(tmp_path / "links.toml"), "init", *options)
    assert said.exit_code == 2
    assert told in " ".join(said.stderr.split()) and str(tmp_path) in said.stderr + str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_links_and_schemas_are_completed(tmp_path: Path) -> None:
    """By the shell's own call, which connects nowhere, and loads nothing that takes time."""
    assert shell("--config", str(tmp_path / "links.toml"), "init", *OPTIONS[:-1], "ours").exit_code == 0
    with (tmp_path / "links.toml").open("a") as file:
        file.write('[link.ours.pull]\n"ephys.Unit" = true\n')
    asked = {"_DATAJOINT_LINK_COMPLETE": "complete_bash", "COMP_CWORD": "2", "PYTHONPROFILEIMPORTTIME": "1"}
    for begun, completed in {"o": ["ours"], "ours.": ["ours.ephys.", "ours.ephys.Unit", "ours.odd-name."]}.items():
        done = run(cwd=tmp_path, COMP_WORDS=f"datajoint-link pull {begun}", **asked)
        assert sorted(done.stdout.split()) == completed, done
        loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "link.links_file" in loaded and not HEAVY & loaded
    assert run(cwd=tmp_path.parent, COMP_WORDS="datajoint-link pull o", **asked).stdout.split() == []
