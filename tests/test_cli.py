"""The command line: what it prints, where, and how it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from lab import Lab
from typer.testing import CliRunner

from link import cli
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
    result = CliRunner().invoke(cli.app, [*NAMED, *options])
    assert result.exit_code == 0
    assert result.stdout == grants.grants(access, backend="mysql")
    assert result.stderr == ""


def test_the_helper_tables_have_proposed_names_and_missing_parts_are_mentioned() -> None:
    result = CliRunner().invoke(cli.app, [*NAMED, "--backend", "postgresql", "--revoke"])
    assert '"link_lab_b"."unit_outbound"' in result.stdout
    assert "REASSIGN OWNED" in result.stdout
    assert "--part or --host" in result.stderr


def test_a_generated_password_replaces_the_placeholder() -> None:
    result = CliRunner().invoke(cli.app, [*NAMED, "--generate-password"])
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
    result = CliRunner().invoke(cli.app, [*NAMED, *options])
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())


def test_tables_are_looked_up_as_the_administrator(lab: Lab) -> None:
    mark = '"' if lab.kind == "postgresql" else "`"
    for name in ("__rate", "__rate__bin"):
        lab.source_server.sql(f"CREATE TABLE {lab.source_schema}.{mark}{name}{mark} (id int)")
    server = lab.source_server
    arguments = ["grants", "--schema", lab.source_schema, "--table", "Rate", "--helper-schema", "h"]
    arguments += ["--host", f"{server.backend}://{server.host}:{server.port}"]
    result = run(*arguments, typed=f"{server.admin_user}\n", DJ_PASS=server.admin_password)
    assert result.returncode == 0, result.stderr
    for name in ("__rate", "__rate__bin"):
        assert f"SELECT, REFERENCES ON {mark}{lab.source_schema}{mark}.{mark}{name}{mark} TO" in result.stdout
    assert {line.split()[0] for line in result.stdout.splitlines()} <= {"CREATE", "GRANT", "--"}
    assert "Administrator:" in result.stderr


def run(*arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-c", "from link.cli import main; main()", *arguments]
    environment = {**os.environ, "DJ_IGNORE_CONFIG_FILE": "true", "DJ_LOG_LEVEL": "INFO", **environment}
    return subprocess.run(
        command, env=environment, input=typed, capture_output=True, text=True, timeout=60, check=False
    )


def test_errors_are_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["datajoint-link", *NAMED, "--backend", "oracle"])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 1
    assert capsys.readouterr().err.startswith("datajoint-link: backend='oracle' is not known.\n  → Use")


def test_a_server_that_refuses_is_told_in_a_sentence(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
        # Without rights MySQL shows no schemas; there is none of that name.
        (f"{server.backend}://{place}", (lab.link_user, lab.link_password), "The schema 'ephys' does not exist"),
    ]
    if server.backend == "postgresql":
        attempts.append((f"postgresql://{place}/nowhere", right, "has no such database"))
    for host, (user, password), complaint in attempts:
        monkeypatch.setenv("DJ_USER", user)
        monkeypatch.setenv("DJ_PASS", password)
        monkeypatch.setattr(sys, "argv", ["datajoint-link", *NAMED, "--host", host])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        said = capsys.readouterr()
        assert (exit.value.code, said.out) == (1, "")
        assert complaint in said.err.split("datajoint-link: ")[-1] and "Traceback" not in said.err
        assert ("Check DJ_USER and DJ_PASS." in said.err) is ("refused the administrator" in complaint)
        assert password not in said.err.replace(f"'{user}'", "").replace(f'"{user}"', "")


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(grants, "grants", fail)
    monkeypatch.setattr(sys, "argv", ["datajoint-link", *NAMED])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_in_a_process_of_its_own() -> None:
    helped = run("--help")
    assert helped.returncode == 0
    assert {"grants", "demo"} <= set(helped.stdout.split())

    failed = run(*NAMED, "--backend", "oracle")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "Traceback" not in failed.stderr


def test_version() -> None:
    result = CliRunner().invoke(cli.app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"datajoint-link {version('datajoint-link')}\n")
