"""Lab A's verbs, as its administrator and as an ordinary member: what they print, their exit codes, their JSON."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lab import Lab
from pipelines import contents, ephys, granted, helper_rows
from shelling import Said, command, run, shell
from test_source_lab import give

from link import State
from link.accounts import Credentials
from link.addresses import Address
from link.admin.guard import guard

Verb = Callable[..., Said]
DOCUMENTS: Any = Draft202012Validator(json.loads((Path(__file__).parents[1] / "docs/cli.schema.json").read_text()))


def environment(lab: Lab, user: str = "", password: str = "") -> dict[str, str]:
    """The variables of who works at the source, its administrator unless somebody is named."""
    server = lab.source_server
    return {
        "DJ_HOST": server.host,
        "DJ_PORT": str(server.port),
        "DJ_BACKEND": server.backend,
        "DJ_USER": user or server.admin_user,
        "DJ_PASS": password or server.admin_password,
    }


@pytest.fixture
def verb(lab: Lab) -> Verb:
    """Runs a verb, for the lab's helper schema; `env` is somebody's instead of the administrator's."""

    def verb(*words: str, env: dict[str, str] | None = None) -> Said:
        said = shell(*words, "--helper-schema", lab.helper_schema, env=env or environment(lab))
        if words[0] == "--json":
            DOCUMENTS.validate(said.document)
        return said

    return verb


@pytest.fixture
def subject(lab: Lab) -> Any:
    """A linked table of three rows that are held by Lab B, with computed tables at the source."""
    Subject = granted(lab, ephys(lab)["Subject"], holder="Lab B")
    Subject.source.pull()
    return Subject


def test_a_row_from_the_question_to_its_end(lab: Lab, verb: Verb, subject: Any) -> None:
    """Who holds it, asking for it, what stands in the way of an end; then it is gone, with all that depends on it."""
    table = ["--table", f"{lab.source_schema}.Subject"]
    held = verb("holds")
    assert (held.exit_code, held.stderr) == (0, "")
    assert "Lab B" in held.stdout and f"{lab.source_schema}.Subject" in held.stdout
    document = verb("--json", "holds", "--by", "account").document
    assert (document["verb"], document["exit"], document["errors"]) == ("holds", 0, [])
    assert [(line["account"], line["held"]) for line in document["counts"]["lines"]] == [(lab.link_user, 3)]

    where = ["--where", "subject LIKE 'a%'"]
    before = helper_rows(lab)
    foreseen = verb("flag", *table, *where, "-n")
    assert foreseen.exit_code == 0 and "would flag 1" in foreseen.stdout and helper_rows(lab) == before
    assert verb("--json", "flag", *table, *where).document["counts"]["changed"] == 1
    assert "flagged before 1" in verb("flag", *table, *where).stdout
    nothing = verb("flag", *table, "--where", "subject = 'nobody'")
    assert nothing.exit_code == 0 and "no row meets the condition" in nothing.stdout
    assert verb("unflag", *table, *where).stdout.endswith("unflagged 1\n")
    verb("flag", *table, *where)

    assert "deleted 0" in verb("clean", *table, "--yes").stdout  # not let go of yet
    (subject & "subject = 'ann'").delete(prompt=False)
    there = contents(lab.source_server, lab.source_schema, lab.helper_schema)
    dry = verb("clean", *table, "-n")
    assert dry.exit_code == 0 and "would delete 1" in dry.stdout and "__sorting__spike" in dry.stdout
    unasked = verb("clean", *table)
    assert unasked.exit_code == 2 and "--yes" in unasked.stderr
    assert contents(lab.source_server, lab.source_schema, lab.helper_schema) == there
    done = verb("--json", "clean", *table, "--yes").document
    assert (done["exit"], done["counts"]["entities"]) == (0, 1)
    assert done["counts"]["rows"][f"{lab.source_schema}.__sorting__spike"] == 14
    assert subject.source.status()[State.SHARED] == 2


@pytest.mark.parametrize("kind", ["mariadb"], indirect=True)
def test_a_deletion_asks_who_sits_there(lab: Lab, subject: Any) -> None:
    """At a terminal of its own: no leaves all, yes deletes."""
    words = ["clean", "--table", f"{lab.source_schema}.subject", "--helper-schema", lab.helper_schema]
    shell("flag", *words[1:], "--where", "1 = 1", env=environment(lab))
    (subject & True).delete(prompt=False)
    for answer, left in (("n", 3), ("y", 0)):
        said = at_terminal(command(*words), answer, {**os.environ, **environment(lab), "DJ_IGNORE_CONFIG_FILE": "true"})
        assert "3 deprecated entities" in said and "[y/N]" in said
        assert len(helper_rows(lab)) == left


def test_one_of_something(lab: Lab, verb: Verb, subject: Any) -> None:
    """Is told in the singular."""
    words = ["--table", f"{lab.source_schema}.Subject"]
    assert verb("flag", *words, "--where", "subject = 'ann'").exit_code == 0
    (subject & "subject = 'ann'").delete(prompt=False)
    cleaned = verb("clean", *words, "--yes").stdout
    assert "deleted 1 deprecated entity\n" in cleaned and f"{lab.source_schema}.subject  1 row\n" in cleaned


def test_a_password_through_a_pipe_is_taken_without_a_warning(lab: Lab, subject: Any) -> None:
    """In a process without a terminal, as of cron or a pipeline of programs."""
    env = {name: value for name, value in environment(lab).items() if name != "DJ_PASS"}
    words = command("holds", "--helper-schema", lab.helper_schema)
    env = {**os.environ, **env, "DJ_IGNORE_CONFIG_FILE": "true"}
    password = environment(lab)["DJ_PASS"]
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120, "start_new_session": True}
    said = subprocess.run(words, input=f"{password}\n", env=env, **options)
    assert said.returncode == 0 and f"{lab.source_schema}.Subject" in said.stdout, said
    assert "Warning" not in said.stderr
    said = subprocess.run(words, input="", env=env, **options)
    assert said.returncode == 6 and "nobody can be asked" in said.stderr and "Warning" not in said.stderr, said


@pytest.mark.parametrize("kind", ["mariadb"], indirect=True)
@pytest.mark.parametrize("what", ["entities", "rows"])
def test_nothing_goes_but_what_was_shown(lab: Lab, subject: Any, what: str) -> None:
    """Somebody lets go of more, or adds rows, while the question stands."""
    import pty

    words = ["clean", "--table", f"{lab.source_schema}.subject", "--helper-schema", lab.helper_schema]
    shell("flag", *words[1:], "--where", "1 = 1", env=environment(lab))
    (subject & "subject = 'ann'").delete(prompt=False)
    env = {**os.environ, **environment(lab), "DJ_IGNORE_CONFIG_FILE": "true"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(command(*words), stdin=theirs, stderr=subprocess.PIPE, env=env, text=True) as process:
        assert process.stderr
        asked = ""
        while "[y/N]" not in asked:
            asked += process.stderr.read(1)
        if what == "entities":
            (subject & "subject <> 'ann'").delete(prompt=False)
        else:
            lab.source_server.sql(f"INSERT INTO {lab.source_schema}._recording (subject, recording) VALUES ('ann', 9)")
        before = contents(lab.source_server, lab.source_schema, lab.helper_schema)
        os.write(ours, b"y\n")
        said = process.stderr.read()
        assert process.wait(120) == 1 and "has changed since it was shown" in said
    os.close(ours)
    os.close(theirs)
    assert contents(lab.source_server, lab.source_schema, lab.helper_schema) == before
    assert shell("clean", *words[1:], "--yes", env=environment(lab)).exit_code == 0


def at_terminal(words: list[str], answer: str, env: dict[str, str]) -> str:
    """What a command says at a terminal where somebody types an answer."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env) as process:
        os.write(ours, f"{answer}\n".encode())
        said, _ = process.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    return said.decode()


def test_an_ordinary_member_does_it_all(lab: Lab, verb: Verb, subject: Any) -> None:
    user = f"{lab.prefix}_member"
    lab.source_server.create_user(user, "secret")
    own = environment(lab, user, "secret")
    table = ["--table", f"{lab.source_schema}.Subject"]
    refused = verb("--json", "flag", *table, "--where", "1 = 1", env=own)
    assert refused.exit_code == 6 and ("GRANT" if lab.kind == "postgresql" else f"--member {user}") in refused.stdout
    assert lab.kind == "postgresql" or "or nothing of it is granted" in refused.document["errors"][0]["what"]
    schema = ["grants", "--schema", lab.source_schema, "--host", f"{lab.source_server.host}:{lab.source_server.port}"]
    for more in ([], ["--table", "Subject"]):
        unseen = verb("--json", *schema, *more, "--no-require-tls", env=own)
        assert lab.kind == "postgresql" or (unseen.exit_code == 6 and "DJ_USER" in unseen.stdout), unseen
    give(lab, user, flags=True)
    assert verb("guard", "--apply").exit_code == 0
    assert "flagged 2" in verb("flag", *table, "--where", "subject <> 'ann'", env=own).stdout
    assert verb("holds", env=own).exit_code == 0
    (subject & "subject <> 'ann'").delete(prompt=False)
    assert verb("clean", *table, "--yes", env=own).exit_code == 0
    assert len(helper_rows(lab)) == 1
    if lab.kind == "postgresql":
        lab.source_server.sql(f"REVOKE UPDATE (is_flagged) ON {lab.helper_schema}.{lab.helper_table} FROM {user}")
    else:
        lab.source_server.sql(f"REVOKE UPDATE (is_flagged) ON {lab.helper_schema}.{lab.helper_table} FROM {user}@'%'")
    refused = verb("--json", "flag", *table, "--where", "1 = 1", env=own)
    (error,) = refused.document["errors"]
    assert (refused.exit_code, error["type"]) == (6, "PrivilegeError")
    assert "GRANT UPDATE (" in error["hint"]


def test_two_administrators_guard_at_once(lab: Lab, subject: Any) -> None:
    """One waits for the other; in between, an anchor of the one would stand in the other's way."""
    server = lab.source_server
    where = Address(server.host, server.port, server.backend)
    account = Credentials(server.admin_user, server.admin_password, "administrator")
    with ThreadPoolExecutor() as pool:
        some = [pool.submit(guard, where, account, lab.helper_schema, apply=True) for _ in range(4)]
        assert [done.result().tables for done in some] == [[lab.helper_table]] * 4
    with pytest.raises(Exception, match="Rows held by Lab B"):
        server.sql(f"DELETE FROM {lab.helper_schema}.{lab.helper_table} WHERE subject = 'ann'")


def test_what_goes_wrong_has_its_exit_code(lab: Lab, verb: Verb, subject: Any) -> None:
    table = ["--table", f"{lab.source_schema}.Subject"]
    right = environment(lab)
    cases = [
        ({**right, "DJ_PASS": "wr0ng"}, ["holds"], 6, "refused the administrator"),
        ({**right, "DJ_PORT": "1"}, ["holds"], 5, "Cannot connect"),
        (right, ["flag", *table, "--where", "no_such_column = 1"], 2, "attributes subject, weight"),
        (right, ["flag", *table, "--where", "subject ="], 2, "cannot be used"),
        (right, ["flag", *table, "--where", " "], 2, "it is empty"),
        (right, ["flag", "--table", f"{lab.source_schema}.Subjekt", "--where", "1 = 1"], 2, "Did you mean"),
        (right, ["flag", *table], 2, "--where"),
        (right, ["holds", "--by", "person"], 2, "person"),
    ]
    before = contents(lab.source_server, lab.source_schema, lab.helper_schema)
    for env, words, code, told in cases:
        said = verb("--json", *words, env=env)
        assert said.exit_code == code == said.document["exit"], (words, said)
        (error,) = said.document["errors"]
        assert told in f"{error['what']} {error['hint']}"
        assert "Traceback" not in said.stderr and "wr0ng" not in said.stdout + said.stderr
    assert contents(lab.source_server, lab.source_schema, lab.helper_schema) == before
    assert subject.source.status()[State.SHARED] == 3


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_the_account_may_stand_in_datajoint_s_settings(lab: Lab, subject: Any, tmp_path: Path) -> None:
    """Its file, and its folder of secrets; nothing in the environment, and nobody to be asked."""
    server = lab.source_server
    (tmp_path / "datajoint.json").write_text(
        f'{{"database": {{"host": "{server.host}", "port": {server.port}, "backend": "{server.backend}", '
        f'"user": "{server.admin_user}"}}}}'
    )
    (tmp_path / ".secrets").mkdir()
    (tmp_path / ".secrets" / "database.password").write_text(server.admin_password)
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("DJ_", "LINK_"))}
    words = command("holds", "--helper-schema", lab.helper_schema)
    told = subprocess.run(words, env=bare, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0 and "Lab B" in told.stdout, told.stderr

    nobody = run("holds", "--helper-schema", lab.helper_schema, "--host", f"{server.host}:{server.port}")
    assert nobody.returncode == 6 and "Set DJ_USER and DJ_PASS" in nobody.stderr


def test_the_sql_of_grants_and_guard_is_in_the_document(lab: Lab, verb: Verb, subject: Any) -> None:
    words = ["grants", "--schema", lab.source_schema, "--table", "Subject", "--user", lab.link_user]
    text, document = verb(*words).stdout, verb("--json", *words).document
    assert document["sql"] == text.rstrip("\n") and "GRANT" in text
    document = verb("--json", "guard").document
    assert "TRIGGER" in document["sql"] and document["counts"]["tables"] == [lab.helper_table]
    assert verb("--json", "guard", "--apply").document["counts"]["applied"] is True
    assert verb("guard", "--remove", "--apply").exit_code == 0
