"""`links.toml`: found, read, refused with its place; sources by name; links as pipelines. Nothing connects."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from linking import everything_said
from pydantic import BaseModel
from test_docs import ROOT

from link import ConfigError, Pipeline, link, load, reference
from link.config import make_pipeline_spec, make_spec
from link.links_file import LinkSettings, SourceSettings, find_links_file, read_links
from link.tls import Tls

SOURCE = """
[source.lab_a]
host = "db.lab-a.org:3306"
user = "djlink"
"""
LINK = """
[link.ephys]
source = "lab_a"
helper_schema = "link_lab_b"
schemas = { subject = "a_subject", ephys = "a_ephys" }
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the `links.toml` of a project, in which the test works."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)

    def written(text: str) -> Path:
        path = tmp_path / "links.toml"
        path.write_text(text)
        return path

    return written


def test_a_file_is_found_upward_to_the_end_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "project" / "analysis" / "units"
    deep.mkdir(parents=True)
    outside, inside = tmp_path / "links.toml", tmp_path / "project" / "links.toml"
    outside.write_text(SOURCE)
    monkeypatch.chdir(deep)
    assert find_links_file() == outside
    (tmp_path / "project" / ".git").write_text("gitdir: elsewhere")  # as in a worktree
    assert find_links_file() is None
    with pytest.raises(ConfigError, match=r"There is no links.toml in .*units") as raised:
        load()
    assert "datajoint-link init" in str(raised.value.hint)
    inside.write_text(SOURCE)
    assert find_links_file() == inside
    assert read_links(outside).path == outside


WRONG = [
    ('[sources.lab_a]\nhost = "x"', "there is no [sources]", "'source'"),
    ('source = "x"', "each [source] has a name", "[source.lab_a]"),
    ('[source]\nhost = "x"', "each [source] has a name", "[source.lab_a]"),
    ('[source.lab_a]\nhots = "x"', "[source.lab_a] has no key 'hots'", "'host'"),
    ('[source.lab_a]\nuser = "x"', "[source.lab_a]: the key host is missing", "postgresql://db.lab-a.org/neuro"),
    (f'{SOURCE}port = "3306"', "[source.lab_a], port", "from 1 to 65535"),
    (f"{SOURCE}port = 70000", "[source.lab_a], port", "from 1 to 65535"),
    (f"{SOURCE}port = 3307", "[source.lab_a], host: port=3307 contradicts the host, which says 3306", ""),
    (f'{SOURCE}backend = "mariadb"', "[source.lab_a], backend", '"mysql" or "postgresql"'),
    (f"{SOURCE}use_tls = 1", "[source.lab_a], use_tls", "true, false, or a table: ca"),
    (f'{SOURCE}use_tls = {{ ca = "x", chert = "y" }}', "[source.lab_a], use_tls, 'chert'", "cert"),
    (f"{SOURCE}use_tls = {{}}", "[source.lab_a], use_tls", "a table: ca"),
    (f"{SOURCE}use_tls = {{ key = 'x' }}", "[source.lab_a], use_tls", "cert and key"),
    (f"{SOURCE}password_command = []", "[source.lab_a], password_command", "a list of texts"),
    (f"{SOURCE}x = = 2", "is not TOML: Invalid value (at line 5, column 5)", "quotes"),
    (f'{SOURCE}[source."a.b"]\nhost = "x"', "[source.a.b]: that is no name of a source", "Letters"),
    (f'{SOURCE}[source.lab-A]\nhost = "x"', "[source.lab_a] and [source.lab-A] would both", "Name one"),
    (SOURCE + LINK.replace('"lab_a"', '"lab_b"'), "[link.ephys], source: there is no [source.lab_b]", "'lab_a'"),
    (SOURCE + LINK.replace("helper_schema", "helper"), "[link.ephys] has no key 'helper'", "'helper_schema'"),
    (f'{SOURCE}{LINK}host = "x"', "[link.ephys] has no key 'host'", "[source.NAME]"),
    (f"{SOURCE}{LINK}stores = {{ raw = {{ ref = 'x' }} }}", "[link.ephys], stores, 'raw'", "{ reference ="),
    (f"{SOURCE}{LINK}pull = {{ 'ephs.Unit' = true }}", "[link.ephys], pull: 'ephs.Unit' is of no schema", "'ephys'"),
    (f"{SOURCE}{LINK}pull = {{ Unit = true }}", "[link.ephys], pull: 'Unit' is no table", '"ephys.Unit"'),
    (f"{SOURCE}{LINK}pull = {{ 'ephys.Unit' = false }}", "[link.ephys], pull, 'ephys.Unit'", "or true"),
    (f"{SOURCE}{LINK}pull = {{ 'ephys.Unit' = '' }}", "[link.ephys], pull, 'ephys.Unit'", "a condition"),
    (re.sub("{.*}", "{}", SOURCE + LINK), "[link.ephys], schemas", "a_ephys"),
    (SOURCE + LINK.replace("link.ephys", 'link."a.b"'), "[link.a.b]: that is no name of a link", "[link.ephys]"),
    # What only the pipeline can tell.
    (SOURCE + LINK.replace("link_lab_b", "ephys"), "[link.ephys]: helper_schema='ephys' is one of", "of its own"),
    (f"{SOURCE}{LINK}codecs = {{ waveform = 'bytes' }}", "[link.ephys]: codecs= names 'waveform'", "ephys.Unit"),
]


@pytest.mark.parametrize(("text", "what", "hint"), WRONG, ids=[what for _, what, _ in WRONG])
def test_a_mistake_is_told_with_its_place(write: Write, text: str, what: str, hint: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as raised:
        links = load()
        assert [links[name] for name in links]
    assert str(path) in raised.value.what
    assert what in raised.value.what
    assert hint in (raised.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        f'{SOURCE}password = "s3cret"',
        f'{SOURCE}Pass = "s3cret"',
        SOURCE.replace('"db.', '"djlink:s3cret@db.'),
        SOURCE.replace('"db.lab-a.org:3306"', '"mysql://djlink:s3cret@db.lab-a.org"'),
        f'{SOURCE}{LINK}password = "s3cret"',
    ],
)
def test_a_password_in_the_file_is_refused_with_the_way(write: Write, text: str) -> None:
    write(text)
    with pytest.raises(ConfigError, match="password") as raised:
        load()
    assert "LINK_LAB_A_PASS" in str(raised.value.hint) and ".secrets/link.lab_a.password" in str(raised.value.hint)
    assert "s3cret" not in everything_said(raised.value)


def test_what_is_no_toml_does_not_show(write: Write) -> None:
    write(f'{SOURCE}password = "s3cret\n')
    with pytest.raises(ConfigError, match="line 5") as raised:
        load()
    assert "s3cret" not in everything_said(raised.value)


def test_a_file_that_cannot_be_read_is_named(write: Write, tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(path))):
            load(path)
    (tmp_path / "links.toml").write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="byte 2 is no UTF-8"):
        load()


def test_links_are_the_pipelines_that_arguments_would_make(write: Write) -> None:
    """Whatever the file can say, said by arguments."""
    path = write(
        f"""{SOURCE}
        [link.ephys]
        source = "lab_a"
        helper_schema = "link_lab_b"
        schemas = ["subject", "ephys"]
        prefix = "a_"
        stores = {{ raw = "ours", seen = {{ reference = "mounted" }}, default = ["theirs", "mine"] }}
        codecs = {{ "ephys.Unit.wave" = "bytes" }}
        holder = "Lab B"
        [link."odd name"]
        source = "lab_a"
        helper_schema = "link_lab_b"
        schemas = {{ subject = "other" }}
        """
    )
    links = load()
    assert list(links) == ["ephys", "odd name"] and len(links) == 2 and "ephys" in links
    assert "ephys" in dir(links) and "odd name" not in dir(links)
    assert links.ephys is links["ephys"] and isinstance(links["odd name"], Pipeline)
    assert repr(links.ephys) == (
        "<pipeline ephys of lab_a (db.lab-a.org): subject as a_subject, ephys as a_ephys; held in link_lab_b there>"
    )
    spec, _ = links.ephys.__getstate__()
    given: dict[str, Any] = dict.fromkeys(("backend", "database", "port", "use_tls"))
    assert spec == make_pipeline_spec(
        "lab_a",
        ["subject", "ephys"],
        "link_lab_b",
        prefix="a_",
        stores={"raw": "ours", "seen": reference("mounted"), "default": ("theirs", "mine")},
        codecs={"ephys.Unit.wave": "bytes"},
        holder="Lab B",
        name="ephys",
        **given,
    )
    assert load(path).ephys.__getstate__() == pickle.loads(pickle.dumps(links)).ephys.__getstate__()
    with pytest.raises(ConfigError, match=r"has no \[link.ephis\]") as raised:
        assert links.ephis
    assert "'ephys'" in str(raised.value.hint)
    assert not hasattr(links, "nothing")


def test_a_host_that_is_the_name_of_a_source_is_that_source(write: Write, tmp_path: Path) -> None:
    lines = 'host = "postgresql://db.lab-a.org/neuro"', "port = 5433", 'use_tls = { ca = "our/ca.pem" }'
    path = write("\n".join(["[source.lab_a]", *lines]))
    names = {"source_schema": "source", "helper_schema": "helper", "local_schema": "here"}
    given: dict[str, Any] = dict.fromkeys(("backend", "database", "port", "use_tls", "stores"))
    spec = make_spec("Unit", "lab_a", names, "outbound", **given)
    address = spec.address
    assert (address.host, address.port, address.backend, address.database) == (
        *("db.lab-a.org", 5433),
        *("postgresql", "neuro"),
    )
    assert spec.use_tls == Tls(required=True, ca=str(tmp_path / "our" / "ca.pem"))
    assert make_spec("Unit", "lab_a", names, "outbound", **given | {"port": 5433}).address == address
    for argument in ({"port": 5432}, {"backend": "mysql"}, {"use_tls": False}):
        with pytest.raises(ConfigError, match=rf"contradicts \[source.lab_a\] of {re.escape(str(path))}"):
            make_spec("Unit", "lab_a", names, "outbound", **given | argument)
    # All else is a host, and the file is not even read where it can be no name.
    assert make_spec("Unit", "lab_b", names, "outbound", **given).address.host == "lab_b"
    write("x = = 2")
    assert make_spec("Unit", "db.lab-a.org", names, "outbound", **given).address.host == "db.lab-a.org"
    decorate: Any = link
    with pytest.raises(ConfigError, match="line 1"):
        decorate("lab_a", "source", "helper", "outbound", "here")(type("Unit", (), {}))


def test_a_file_that_has_changed_is_read_again(write: Write) -> None:
    write(SOURCE + LINK)
    assert "(db.lab-a.org)" in repr(load().ephys)
    write(SOURCE.replace("db.lab-a.org", "new.lab-a.org") + LINK)
    assert "(new.lab-a.org)" in repr(load().ephys)


def test_reading_loads_neither_datajoint_nor_a_driver(write: Write) -> None:
    """The shell lists links, and completes their names, while a person waits."""
    write(SOURCE + LINK)
    program = "import sys; from link.links_file import read_links; print(list(read_links().links), *sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert said[0] == "['ephys']"
    assert {"datajoint", "numpy", "pandas", "pymysql", "psycopg2"}.isdisjoint(said)


# --- the documents


def rows(model: type[BaseModel]) -> list[str]:
    """The table of a model, as docs/settings.md has it."""
    return [
        f"| `{name}`{'' if field.is_required() else ', optional'} | {field.title} | {field.description} |"
        for name, field in model.model_fields.items()
    ]


def test_the_tables_of_the_documents_are_those_of_the_models() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    for model, heading in ((SourceSettings, "### `[source.NAME]`"), (LinkSettings, "### `[link.NAME]`")):
        section = text.split(heading)[1].split("\n#")[0]
        assert [line for line in section.splitlines() if line.startswith("| `")] == rows(model)


def test_the_files_of_the_documents_can_be_read(write: Write) -> None:
    """And name every key, so that none is without an example."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/settings.md").read_text(), re.DOTALL)
    assert blocks
    named = set[str]()
    for block in blocks:
        write(block)
        links = load()
        assert [links[name] for name in links]
        for settings in (*read_links().sources.values(), *read_links().links.values()):
            named |= settings.model_fields_set
    assert named >= {*LinkSettings.model_fields, "host", "user", "use_tls", "password_command"}
