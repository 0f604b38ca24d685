"""The command line: what it prints, where, and how it fails."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from lab import Lab
from shelling import run, shell

import link
from link.admin import grants
from link.servers.rights import PASSWORD_PLACEHOLDER, Access

NAMED = ["grants", "--schema", "ephys", "--table", "Unit", "--helper-schema", "link_lab_b"]


def test_grants_prints_what_the_function_returns() -> None:
    access = Access(
        source_schema="ephys",
        tables=["unit", "#area", "unit__waveform"],
        helper_schema="link_lab_b",
        helper_tables=["unit_out", "area_out"],
        user="lab_b",
        client_host="10.0.%",
    )
    options = ["--table", "#area", "--part", "Unit.Waveform", "--helper-table", "UnitOut"]
    options += ["--helper-table", "area_out", "--user", "lab_b", "--client-host", "10.0.%"]
    result = shell(*NAMED, *options)
    assert result.exit_code == 0
    assert result.stdout == grants.grants(access, backend="mysql")
    assert result.stderr == ""


def test_the_helper_tables_have_proposed_names_and_missing_parts_are_mentioned() -> None:
    result = shell(*NAMED, "--backend", "postgresql", "--revoke")
    assert '"link_lab_b"."unit_outbound"' in result.stdout
    assert "OWNER TO CURRENT_USER" in result.stdout
    assert "--part or --host" in result.stderr


def test_a_generated_password_replaces_the_placeholder() -> None:
    result = shell(*NAMED, "--generate-password")
    assert "IDENTIFIED BY '" in result.stdout
    assert PASSWORD_PLACEHOLDER not in result.stdout


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--generate-password", "--revoke"], "for a new user only"),
        (["--helper-table", "a", "--helper-table", "b"], "one --helper-table for each --table"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], complaint: str) -> None:
    result = shell(*NAMED, *options)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())


def test_tables_are_looked_up_as_the_administrator(lab: Lab) -> None:
    mark = '"' if lab.kind == "postgresql" else "`"
    for name in ("__rate", "__rate__bin"):
        lab.source_server.sql(f"CREATE TABLE {lab.source_schema}.{mark}{name}{mark} (id int)")
    server = lab.source_server
    arguments = ["grants", "--schema", lab.source_schema, "--table", "Rate", "--helper-schema", "h"]
    arguments += ["--host", f"{server.backend}://{server.host}:{server.port}"]
    # The kind of the server that the address names is not that of DataJoint's own.
    other = {"mysql": "postgresql", "postgresql": "mysql"}[server.backend]
    result = run(*arguments, typed=f"{server.admin_user}\n", DJ_PASS=server.admin_password, DJ_BACKEND=other)
    assert result.returncode == 0, result.stderr
    accounts = {"DJ_USER": server.admin_user, "DJ_PASS": server.admin_password, "DJ_BACKEND": other}
    pipeline = run(*arguments[:3], *arguments[5:], **accounts)
    assert pipeline.returncode == 0, pipeline.stderr
    assert f"CREATE SCHEMA IF NOT EXISTS {mark}h{mark}" in pipeline.stdout
    for name in ("__rate", "__rate__bin"):
        assert f"SELECT, REFERENCES ON {mark}{lab.source_schema}{mark}.{mark}{name}{mark} TO" in result.stdout
    assert {line.split()[0] for line in result.stdout.splitlines()} <= {"CREATE", "GRANT", "--"}
    assert "Administrator:" in result.stderr


def test_errors_are_one_message() -> None:
    said = shell(*NAMED, "--backend", "oracle")
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr.startswith("datajoint-link: backend='oracle' is not known.\n  → Use")


def test_a_server_that_refuses_is_told_in_a_sentence(
    lab: Lab,
) -> None:
    """With the account's name and where it was read, and neither a password nor a traceback."""
    server = lab.source_server
    right = (server.admin_user, server.admin_password)
    place, other = f"{server.host}:{server.port}", {"mysql": "postgresql", "postgresql": "mysql"}[server.backend]
    attempts = [
        (f"{server.backend}://{place}", (server.admin_user, "s3cret"), "refused the administrator 'admin'"),
        (f"{server.backend}://{place}", ("nobody", "s3cret"), "refused the administrator 'nobody'"),
        (f"{server.backend}://{server.host}:1", ("nobody", "s3cret"), "Cannot connect to the source server"),
        (f"{other}://{place}", right, f"{place} is a "),
        # There is none of that name; MySQL and MariaDB might hide it.
        (f"{server.backend}://{place}", (lab.link_user, lab.link_password), "The schema 'ephys' does not exist"),
    ]
    if server.backend == "postgresql":
        attempts.append((f"postgresql://{place}/nowhere", right, "has no such database"))
    codes = {"refused the administrator": 6, "Cannot connect": 5}
    codes |= {"The schema": 6} if server.backend == "mysql" else {}
    for host, (user, password), complaint in attempts:
        said = shell(*NAMED, "--host", host, env={"DJ_USER": user, "DJ_PASS": password})
        code = next((code for begin, code in codes.items() if complaint.startswith(begin)), None)
        assert said.exit_code == code or (code is None and said.exit_code in (1, 2)), complaint
        assert said.stdout == ""
        assert complaint in said.stderr.split("datajoint-link: ")[-1] and "Traceback" not in said.stderr
        assert ("Check DJ_USER and DJ_PASS." in said.stderr) is ("refused the administrator" in complaint)
        assert password not in said.stderr.replace(f"'{user}'", "").replace(f'"{user}"', "")


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(grants, "grants", fail)
    said = shell("--json", *NAMED)
    assert said.exit_code == said.document["exit"] == 1
    assert said.document["errors"] == [{"type": "ZeroDivisionError", "what": "by nothing", "hint": None}]
    assert "Traceback" in said.stderr


def test_in_a_process_of_its_own() -> None:
    helped = run("--help")
    assert helped.returncode == 0
    assert {"grants", "demo"} <= set(helped.stdout.split())
    assert run().stdout == helped.stdout

    failed = run(*NAMED, "--backend", "oracle")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("datajoint-link: ")
    assert "Traceback" in run("-v", *NAMED, "--backend", "oracle").stderr


@pytest.mark.parametrize(
    ("settings", "environment", "told"),
    [
        ('{"database": {"host": ', {}, "datajoint.json: Expecting value"),
        ('{"database": {"password": 4711, "port": "x"}}', {}, "json: password: Input should be a valid string"),
        ("{}", {"DJ_PORT": "s3cret"}, "DJ_PORT: Input should be a valid integer"),
        ("{}", {"DJ_STORES": "{"}, "DJ_STORES contains invalid JSON"),
    ],
)
def test_settings_that_datajoint_cannot_read(
    tmp_path: Path, settings: str, environment: dict[str, str], told: str
) -> None:
    """DataJoint warns of a file, and goes on with the half of it; of a variable it raises what pydantic says."""
    (tmp_path / "datajoint.json").write_text(settings)
    done = run("--json", *NAMED, "--with-ancestors", cwd=tmp_path, DJ_IGNORE_CONFIG_FILE="false", **environment)
    [error] = json.loads(done.stdout)["errors"]
    assert (done.returncode, error["type"]) == (2, "ConfigError") and told in error["what"], done
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert all(secret not in done.stderr for secret in ("4711", "s3cret", "Traceback"))


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        (["pul"], "No such command 'pul'", "datajoint-link --help"),
        (["grants", "--json", "--schema", "s"], "No such option: --json", "before the verb"),
        (["-q", "-v", "version"], "do not go together", "datajoint-link --help"),
    ],
)
def test_a_command_that_is_not_understood(words: list[str], what: str, hint: str) -> None:
    said = shell(*words)
    assert (said.exit_code, said.stdout) == (2, "")
    assert what in said.stderr and hint in said.stderr
    [error] = shell("--json", *words).document["errors"]
    assert what in error["what"] and hint in error["hint"]


def test_letters_that_a_terminal_does_not_take() -> None:
    """They are told by their numbers; a document is the same whatever the terminal takes."""
    words = ["grants", "--schema", "größe", "--table", "Unit", "--helper-schema", "links"]
    said = run(*words, PYTHONIOENCODING="ascii")
    assert (said.returncode, said.stderr.count("Traceback")) == (0, 0), said
    assert r"gr\xf6\xdfe" in said.stdout
    sql = [json.loads(run("--json", *words, PYTHONIOENCODING=name).stdout)["sql"] for name in ("ascii", "utf-8")]
    assert sql[0] == sql[1] and "größe" in sql[0]


def test_who_reads_no_further_is_no_error() -> None:
    """As with `| head -1`: the pipe is closed before anything is written to it."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "link", "version"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


HEAVY = {"datajoint", "numpy", "pandas", "pymysql", "psycopg2", "networkx", "rich"}


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["grants", "--help"], ["--json", "grants"]])
def test_help_loads_nothing_that_takes_time(words: list[str]) -> None:
    program = f"import sys; from link.cli import run; run({words}); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = ast.literal_eval(done.stderr.splitlines()[-1])
    assert "typer" in loaded and not HEAVY & set(loaded)


def test_completion_is_there_for_every_shell() -> None:
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # else it is the shell that has started the tests
    done = {kind: run("--show-completion", kind, **named) for kind in ("bash", "zsh", "fish")}
    assert all(f"_DATAJOINT_LINK_COMPLETE=complete_{kind}" in each.stdout for kind, each in done.items()), done
    asked = {"_DATAJOINT_LINK_COMPLETE": "complete_bash", "COMP_WORDS": "datajoint-link gr", "COMP_CWORD": "1"}
    assert run(**asked).stdout.split() == ["grants"]


def test_version() -> None:
    result = shell("--version")
    assert (result.exit_code, result.stdout) == (0, f"datajoint-link {version('datajoint-link')}\n")
    assert shell("version").stdout == result.stdout
    assert shell("--json", "version").document["exit"] == 0


def test_the_public_names_are_where_the_package_says() -> None:
    """What type checkers read, what is loaded when it is asked for, and what is listed, are the same."""
    tree = ast.parse(Path(link.__file__).read_text())
    asked = "_typing.TYPE_CHECKING"
    [typed] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == asked]
    places = {
        alias.name: node.module for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert places == link._PLACES
    assert sorted(places) == sorted(link.__all__)
    assert set(link.__all__) <= set(dir(link))
    assert all(getattr(link, name) is not None for name in [*link.__all__, "__version__"])
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(link, "nothing")  # noqa: B009


@pytest.mark.parametrize(
    "program",
    [
        "import datajoint, link",
        "from link import State",
        "import link; link.Pipeline",
        "from link.ends.linking import Link",
        "import link.view",
    ],
)
def test_datajoint_is_mended_before_it_is_used(program: str) -> None:
    asked = "from datajoint import condition; print(condition.make_condition.__code__.co_filename)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{program}\n{asked}"], capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).name == "mends.py"
