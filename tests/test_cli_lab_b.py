"""The verbs of the lab that pulls, on real servers of three kinds: what they do, say, and exit with."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import datajoint as dj
import diamond
import pulling
import pytest
from jsonschema import Draft202012Validator
from lab import Lab
from pipelines import wait_until
from shelling import Said, command, run, shell

from link import load
from link.model.states import State

DOCUMENTS: Any = Draft202012Validator(json.loads((Path(__file__).parents[1] / "docs/cli.schema.json").read_text()))


class Site(diamond.Servers):
    """The diamond, and a folder with a `links.toml` that names it `ours`."""

    def __init__(self, lab: Lab, stack: ExitStack, folder: Path, granted: bool = True) -> None:
        super().__init__(lab, stack, granted)
        self.folder = folder
        self.write()

    @property
    def tables(self) -> dict[str, str]:
        """The names of the tables, by their letters."""
        return {letter: f"{self.theirs[table.schema]}.{letter}" for letter, table in diamond.TABLES.items()}

    def write(self, host: str | None = None, pull: str = "", more: str = "") -> None:
        """Write the `links.toml`."""
        server = self.lab.source_server
        names = ", ".join(f"{theirs} = '{ours}'" for theirs, ours in self.schemas.items())
        (self.folder / "links.toml").write_text(f"""
[source.lab_a]
host = "{host or f"{server.backend}://{server.host}:{server.port}"}"
user = "{self.lab.link_user}"
use_tls = false

[link.ours]
source = "lab_a"
helper_schema = "{self.lab.helper_schema}"
schemas = {{ {names} }}
{f"[link.ours.pull]{chr(10)}{pull}" if pull else ""}
{more}""")

    @property
    def environment(self) -> dict[str, str]:
        """Where the accounts are told to a process of its own."""
        lab, server = self.lab, self.lab.local_server
        return {
            "DJ_HOST": server.host,
            "DJ_PORT": str(server.port),
            "DJ_BACKEND": server.backend,
            "DJ_USER": lab.local_user,
            "DJ_PASS": lab.local_password,
            "DJ_USE_TLS": "false",
            "LINK_LAB_A_PASS": lab.link_password,
        }

    def here_of(self, letter: str) -> set[tuple[Any, ...]]:
        """The keys that are here of one table, which is."""
        table = diamond.TABLES[letter]
        asked = f"SELECT {', '.join(table.key)} FROM {self.ours[table.schema]}.{table.name}"
        return set(self.sql(self.here, asked))

    def __call__(self, *words: str) -> Said:
        """Run a command in this process."""
        return shell("--config", str(self.folder / "links.toml"), *words, env=self.environment)

    def document(self, *words: str) -> Any:
        """What a command says as JSON, which is as the schema has it."""
        said = self("--json", *words)
        document = said.document
        DOCUMENTS.validate(document)
        assert document["exit"] == said.exit_code, said
        assert document["verb"] == words[0]
        return document

    def apart(self, *words: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a process of its own, in the folder."""
        return run(*words, typed=typed, cwd=self.folder, **{**self.environment, **environment})


@pytest.fixture
def site(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(dj.instance, "_singleton_connection", lab.local.connection)
    with ExitStack() as stack:
        found = Site(lab, stack, tmp_path)
        found.put(False, diamond.made())
        yield found


def test_a_link_from_its_first_plan_to_its_end(site: Site) -> None:
    """Each verb, as text and as a document."""
    table = f"ours.{site.tables['D']}"
    pinged = site("ping")
    assert pinged.exit_code == 0, pinged
    assert all(line.startswith("ok ") for line in pinged.stdout.splitlines())
    assert site.document("ls")["counts"] == {}

    before = site.catalogues()
    planned = site.document("plan", table, "--where", "a = 0")
    assert planned["exit"] == 0 and planned["counts"]["new"] > 4
    assert "Plan: " in site("pull", "-n", table, "--where", "a = 0").stdout
    assert site.catalogues() == before

    pulled = site.document("pull", table, "--where", "a = 0")
    assert pulled["link"] == "ours"
    assert pulled["counts"]["pulled"] == planned["counts"]["new"] == len(site.local_names())
    assert pulled["counts"]["tables"][site.tables["D"]]["pulled"] == 4
    assert site.document("ls", "ours")["counts"] == {
        site.tables[letter]: sum(name[0] == letter for name in site.local_names()) for letter in "ABCD"
    }
    assert site.tables["D"] in site("ls").stdout

    status = site.document("status", "--deep")
    assert (status["exit"], status["counts"]["states"]["Shared"]) == (0, len(site.local_names()))
    assert site("-q", "status").stdout == ""
    verified = site("verify", table)
    assert (verified.exit_code, verified.stdout) == (0, "") and "compared 4" in verified.stderr

    # What is edited here differs; a refresh brings it back.
    site.sql(site.here, f"UPDATE {site.ours['second']}.__d SET note = 'mine' WHERE b = 1 AND d = 0")
    key = {"a": 0, "b": 1, "d": 0}
    differing = site.document("verify")
    assert (differing["exit"], differing["keys"]) == (3, {site.tables["D"]: [key]})
    assert site("-q", "verify").stdout == f"{site.tables['D']} {json.dumps(key)}\n"
    assert site.document("refresh", "-n", table)["keys"] == differing["keys"]
    assert site.document("refresh", table, "--where", "b = 1")["counts"]["refreshed"] == 1
    assert site.document("verify")["exit"] == 0

    # What the source wants deleted waits for somebody.
    assert site.document("flagged")["exit"] == 0
    name: diamond.Name = ("D", (0, 0, 1))
    site.flag(name)
    flagged = site.document("flagged", table)
    assert (flagged["exit"], flagged["keys"]) == (4, {site.tables["D"]: [{"a": 0, "b": 0, "d": 1}]})
    assert site("status").exit_code == 4
    assert site("delete", table, "--flagged", "-n").exit_code == 0 and name in site.local_names()
    refused = site("delete", table, "--flagged")
    assert (refused.exit_code, refused.stdout) == (2, "") and "--yes" in refused.stderr
    assert name in site.local_names()
    assert site.document("delete", table, "--flagged", "--yes")["counts"] == {"deleted": 1}
    assert site.states()[name] is State.DEPRECATED

    whole = site.document("delete", f"ours.{site.tables['B']}", "--where", "b = 1", "-n")
    assert (whole["counts"], len(whole["dependents"])) == ({site.tables["B"]: 1}, 3)
    assert sorted(whole["dependents"].values()) == [2, 2, 3]
    many = site.document("delete", table, "--where", "b = 1", "-n")
    assert many["counts"] == {site.tables["D"]: 2}
    assert len(many["keys"][site.tables["D"]]) == 2
    assert site.document("delete", table, "--where", "b = 1", "--yes")["counts"] == many["counts"]
    assert {name for name in site.local_names() if name[0] == "D"} == {("D", (0, 0, 0))}

    # What vanished here is repaired.
    site.take(True, [("D", (0, 0, 0))])
    assert site.document("status")["exit"] == 4
    dry = site.document("repair", table)
    assert dry["exit"] == 4 and dry["counts"]["actions"]
    assert site.document("repair", "--vanished", "refetch", "--apply")["exit"] == 0
    assert ("D", (0, 0, 0)) in site.local_names()

    # The holds of one table, and of all.
    assert site("end", "ours").exit_code == 2
    assert site.document("end", table, "--yes")["counts"] == {site.tables["D"]: 1}
    rest = site.document("end", "ours", "--yes")
    assert sum(rest["counts"].values()) == len(site.local_names()) - 1
    assert {state for state in site.states().values() if state} <= {State.UNHELD, State.DEPRECATED, State.UNSHARED}


def test_standing_selections_and_limits(site: Site) -> None:
    nothing = site("pull", "ours")
    assert nothing.exit_code == 2 and "[link.ours.pull]" in nothing.stderr
    site.write(pull=f'"{site.tables["A"]}" = "a < 3"\n"{site.tables["C"]}" = ["c = 0", "c = 1"]')
    assert site.document("pull", "--limit", "2")["counts"]["pulled"] <= 4
    pulled = site.document("pull")
    assert pulled["exit"] == 0
    assert site.here_of("C") == {(0,), (1,)}
    assert {(a,) for a in range(3)} <= site.here_of("A")
    assert site.document("pull", f"ours.{site.tables['B']}", "--descendants", "--processes", "2")["exit"] == 0
    assert len(site.here_of("D")) == 16


def test_names_that_are_not_there_and_what_does_not_go_together(site: Site) -> None:
    attempts: list[tuple[list[str], str]] = [
        (["status", "our"], "'ours'"),
        (["pull", "ours.first"], "LINK.schema.Table"),
        (["pull", "ours", "--where", "a = 1"], "about tables"),
        (["pull", f"ours.{site.tables['A']}", "ours"], "as a whole"),
        (["pull", f"ours.{site.tables['A']}", "--limit", "1", "-n"], "--limit"),
        (["delete", "ours"], "either --where SQL, or --flagged"),
        (["verify", "--sample", "0"], "--sample"),
        (["delete", "ours", "--where", "a = 1", "--yes"], "about tables"),
    ]
    for words, told in attempts:
        document = site.document(*words)
        [error] = document["errors"]
        assert document["exit"] == 2, words
        assert told in error["what"] + str(error["hint"]), error
    missing = site.document("pull", f"ours.{site.theirs['first']}.Aa")
    assert missing["exit"] == 2 and missing["errors"][0]["type"] == "UnknownNameError"
    assert "A" in missing["errors"][0]["hint"]
    site.write(pull=f'"{site.theirs["first"]}.aa" = true')
    assert site.document("plan")["errors"][0]["type"] == "UnknownNameError"

    # Nothing is said of nothing: cron would take a name with a mistake in it for all is well.
    site.document("pull", f"ours.{site.tables['A']}")
    for words in (["ls"], ["status"], ["flagged"], ["verify"], ["repair"], ["delete", "--flagged", "-n"]):
        document = site.document(*words, f"ours.{site.theirs['first']}.Aa")
        assert document["exit"] == 2 and site.tables["A"] in document["errors"][0]["hint"], words
        assert site.document(*words, f"ours.{site.tables['A']}")["exit"] == 0, words


def test_conditions_that_cannot_be_used(site: Site) -> None:
    """Each is told with the table and its attributes; an empty one, as of a variable without a value, is not all."""
    table = f"ours.{site.tables['A']}"
    site.document("pull", table)
    here, told = site.here_of("A"), f"The condition on {site.tables['A']}"
    for condition in ("", " ", "no_such = 1", "a = = 1", "no_such_function(a) = 1"):
        for words in (["plan"], ["pull"], ["refresh"], ["delete", "--yes"], ["delete", "-n"]):
            document = site.document(*words, table, "--where", condition)
            [error] = document["errors"]
            assert document["exit"] == 2, words
            assert error["what"].startswith(told) and "It has the attributes a, " in error["hint"], (words, error)
    assert site.here_of("A") == here
    site.write(pull=f'"{site.tables["A"]}" = ["a = 1", "no_such = 1"]')
    [error] = site.document("pull")["errors"]
    assert error["type"] == "ConfigError" and told in error["what"] and "links.toml" in error["what"]


def test_a_broken_file(site: Site) -> None:
    (site.folder / "links.toml").write_text("[link.ours]\nsorce = 'lab_a'")
    assert site.document("ls")["exit"] == 2
    assert shell("--config", str(site.folder / "none.toml"), "ls").exit_code == 2


def test_exit_codes_of_what_is_not_to_be_had(site: Site, lab: Lab) -> None:
    """Each in a process of its own, as cron starts them: one line, and no traceback."""
    table = f"ours.{site.tables['A']}"
    assert site.apart("pull", table, LINK_LAB_A_PASS="wrong").returncode == 6
    wrong = site.apart("--json", "ping", DJ_PASS="s3cret")
    document = json.loads(wrong.stdout)
    DOCUMENTS.validate(document)
    assert wrong.returncode == document["exit"] == 6 and "s3cret" not in wrong.stdout + wrong.stderr
    site.write(host=f"{lab.source_server.backend}://127.0.0.1:1")
    away = site.apart("status")
    assert (away.returncode, away.stdout) == (5, "")
    assert site.apart("ls", DJ_PORT="1").returncode == 5
    for done in (wrong, away):
        assert "Traceback" not in done.stderr and "datajoint-link: " in done.stderr


def test_a_missing_grant_is_named(site: Site, lab: Lab) -> None:
    kind, schema = lab.kind, site.theirs["first"]
    if kind == "postgresql":
        lab.source_server.sql(f"REVOKE SELECT ON ALL TABLES IN SCHEMA {schema} FROM {lab.link_user}")
    else:
        lab.source_server.sql(f"REVOKE SELECT ON `{diamond.escaped(schema)}`.* FROM {lab.link_user}@'%'")
    lab.source_server.sql("SELECT 1")
    pinged = site.document("ping")
    assert pinged["exit"] == 6
    assert "GRANT" in pinged["errors"][0]["hint"] and schema in pinged["errors"][0]["hint"]
    told = site("ping")
    assert told.exit_code == 6 and "wrong  source tables" in told.stdout and "datajoint-link: " not in told.stderr
    pulled = site.document("pull", f"ours.{site.tables['A']}")
    assert pulled["exit"] == 6 and "GRANT" in pulled["errors"][0]["hint"]


def test_a_schema_that_is_not_seen_may_be_hidden(site: Site, lab: Lab) -> None:
    """Servers that hide what is not granted do not tell which: exit 6, and both are said. PostgreSQL hides nothing."""
    held = f"source = 'lab_a'\nhelper_schema = '{lab.helper_schema}'"
    site.write(more=f"[link.lost]\n{held}\nschemas = {{ no_where = '{lab.prefix}_lost' }}")
    code, kind = (2, "NotFoundError") if lab.kind == "postgresql" else (6, "UnseenError")
    table = "lost.no_where.Unit"
    for words in (
        ["ping", "lost"],
        ["plan", table],
        ["pull", table],
        ["verify", table],
        ["status", "lost"],
    ):
        document = site.document(*words)
        error = document["errors"][0]
        assert (document["exit"], error["type"]) == (code, kind), words
        assert "sees no schema 'no_where'" in error["what"], words
        assert ("or nothing of it is granted" in error["what"]) == (code == 6)
        assert ("datajoint-link grants --schema no_where" in (error["hint"] or "")) == (code == 6)


def test_of_several_links_each_has_its_turn(site: Site) -> None:
    """One server that is away keeps no other link from its turn; the gravest exit code is told."""
    site.write(
        pull=f'"{site.tables["A"]}" = true',
        more=f"""
[source.gone]
host = "{site.lab.source_server.backend}://127.0.0.1:1"
user = "nobody"
[link.away]
source = "gone"
helper_schema = "helper"
schemas = {{ s = "{site.lab.prefix}_s" }}
[link.away.pull]
"s.T" = true
""",
    )
    environment = {"LINK_GONE_PASS": "x"}
    said = shell("--config", str(site.folder / "links.toml"), "--json", "pull", env=environment | site.environment)
    document = said.document
    DOCUMENTS.validate(document)
    assert said.exit_code == document["exit"] == 5
    assert [(each["link"], each["exit"]) for each in document["links"]] == [("ours", 0), ("away", 5)]
    assert len(site.here_of("A")) == 4
    told = shell("--config", str(site.folder / "links.toml"), "status", env=environment | site.environment)
    assert told.exit_code == 5 and "ours:\n" in told.stdout and "datajoint-link: away: Cannot connect" in told.stderr


STANDS = {"pull": "stays, and is held", "delete": "with their holds or not at all", "verify": "Nothing was changed"}


@pytest.mark.parametrize(
    ("verb", "signal_sent"), [("pull", signal.SIGINT), ("delete", signal.SIGTERM), ("verify", signal.SIGINT)]
)
def test_an_interrupted_verb_says_what_stands(site: Site, verb: str, signal_sent: signal.Signals) -> None:
    """By Ctrl-C, or as cron and systemd end it: one sentence, and everything as it was."""
    table = f"ours.{site.tables['A']}"
    assert site("pull", f"ours.{site.tables['D']}", "--where", "a = 0").exit_code == 0
    before = site.states()
    options = {"pull": [], "delete": ["--where", "a = 0", "--yes"], "verify": []}[verb]
    blocked = f"{site.ours['first']}.a"
    is_postgresql = site.lab.kind == "postgresql"
    lock, unlock = f"LOCK TABLES {blocked} WRITE", "UNLOCK TABLES"
    if is_postgresql:
        lock, unlock = f"BEGIN; LOCK TABLE {blocked} IN ACCESS EXCLUSIVE MODE", "ROLLBACK"
    site.sql(site.here, lock)
    with subprocess.Popen(
        command(verb, table, *options),
        env={**os.environ, "DJ_IGNORE_CONFIG_FILE": "true", **site.environment},
        cwd=site.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            wait_until(lambda: child.poll() is not None or site.lab.local_server.waits(site.lab.local_user))
            assert child.poll() is None, child.communicate()
            child.send_signal(signal_sent)
            if is_postgresql:  # its driver hears of a signal when the statement has ended
                site.sql(site.here, unlock)
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
            site.sql(site.here, unlock)
    assert (child.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert STANDS[verb] in err.split("Interrupted. ")[-1]
    assert site.states() == before
    assert site("status").exit_code == 0


@pytest.mark.parametrize("answer", ["no", "yes"])
def test_who_sits_at_a_terminal_is_asked(site: Site, answer: str) -> None:
    """With what would go, and once; the question is DataJoint's."""
    assert site("pull", f"ours.{site.tables['D']}", "--where", "a = 0").exit_code == 0
    number = len(site.here_of("D"))
    typed, said = typing_at(site, ["delete", f"ours.{site.tables['D']}", "--where", "b = 1"], "Commit deletes?", answer)
    assert typed == 0, said
    assert f"{site.lab.source_server.port} will be released" in said and said.count("Commit deletes?") == 1
    assert len(site.here_of("D")) == (number if answer == "no" else number - 2)
    ended, said = typing_at(site, ["end", "ours"], "Release?", answer)
    assert ended == 0, said
    assert ({State.SHARED} & set(site.states().values()) == set()) is (answer == "yes")
    assert ("holds rows again" in said) is (answer == "yes")


def test_who_leaves_a_question_unanswered(site: Site) -> None:
    """By Ctrl-D, as by no."""
    assert site("pull", f"ours.{site.tables['D']}", "--where", "a = 0").exit_code == 0
    before = site.states()
    for words, question in (
        (["delete", f"ours.{site.tables['D']}", "--where", "b = 1"], "Commit deletes?"),
        (["end", "ours"], "Release?"),
    ):
        exit_code, said = typing_at(site, words, question, "\x04")
        assert exit_code == 2 and "Nobody answers here" in said and "--yes" in said, said
        assert "Traceback" not in said
    assert site.states() == before


def typing_at(site: Site, words: list[str], question: str, answer: str) -> tuple[int, str]:
    """Run a command at a terminal, and answer what it asks; its exit code, and all that is to be seen."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "DJ_IGNORE_CONFIG_FILE": "true", **site.environment}
    ends: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    said, answered, decode = "", False, getincrementaldecoder("utf-8")().decode
    with subprocess.Popen(command(*words), env=environ, cwd=site.folder, start_new_session=True, **ends) as program:
        os.close(theirs)
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(ours, 4096):
                said += decode(piece)
                if question in said and not answered:
                    os.write(ours, f"{answer}\n".encode() if answer.isalpha() else answer.encode())
                    answered = True
    os.close(ours)
    return program.returncode, said


class Odd(dj.Manual):
    definition = """
    day    : date
    at     : datetime
    amount : decimal(6,2)
    code   : uuid
    ---
    note   : varchar(20)
    """


def test_keys_of_a_document_restrict_in_python_and_in_the_shell(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What JSON has not is text there, which DataJoint and the servers take for what it was."""
    monkeypatch.setattr(dj.instance, "_singleton_connection", lab.local.connection)
    rows = [
        (date(2026, 1, day), datetime(2026, 1, day, 12, 30), Decimal("1.50"), UUID(int=day), "theirs")
        for day in (1, 2, 3)
    ]
    theirs = pulling.declare(lab, {"odd": [Odd]}, {"Odd": rows})["odd"]
    pulling.grant(lab, [theirs])
    with ExitStack() as stack:
        site = Site(lab, stack, tmp_path)
        site.schemas = {theirs: f"{theirs}_here"}
        site.write(pull=f'"{theirs}.Odd" = true')
        assert site.document("pull")["counts"]["pulled"] == 3
        lab.local_server.sql(f"UPDATE {theirs}_here.odd SET note = 'ours' WHERE day = '2026-01-02'")
        [key] = site.document("verify")["keys"][f"{theirs}.Odd"]
        assert {name: value for name, value in key.items() if name != "at"} == {
            "day": "2026-01-02",
            "amount": "1.50",
            "code": str(UUID(int=2)),
        }
        pipeline = load(tmp_path / "links.toml").ours
        with monkeypatch.context() as patch:
            patch.setenv("LINK_LAB_A_PASS", lab.link_password)
            for table in (pipeline.source[theirs].Odd, pipeline[theirs].Odd):
                assert (table & key).to_dicts()[0]["day"] == date(2026, 1, 2) and len(table & [key]) == 1
        where = f"day = '{key['day']}' AND at = '{key['at']}' AND amount = {key['amount']}"
        assert site.document("refresh", f"ours.{theirs}.Odd", "--where", where)["counts"]["refreshed"] == 1
        assert site.document("delete", f"ours.{theirs}.Odd", "--where", where, "-n")["keys"] == {f"{theirs}.Odd": [key]}


def test_what_is_refused_or_conflicts_is_told_by_its_keys(site: Site) -> None:
    """Exit code 3; and a store that is not configured is found by ping."""
    name, ours = site.tables["A"], f"{site.ours['first']}.a"
    assert site.document("pull", f"ours.{name}", "--where", "a = 0")["exit"] == 0
    site.sql(site.here, f"ALTER TABLE {ours} ADD CONSTRAINT odd CHECK (note <> 'a 2')")
    going = site.document("pull", f"ours.{name}", "--keep-going")
    assert (going["exit"], going["keys"], going["counts"]["pulled"]) == (3, {name: [{"a": 2}]}, 2)
    assert [error["type"] for error in going["errors"]] and going["errors"][0]["what"]
    stopped = site.document("pull", f"ours.{name}")
    assert (stopped["exit"], stopped["errors"][0]["type"]) == (3, "TransferError")
    assert site("status").exit_code == 0

    site.sql(site.here, f"ALTER TABLE {ours} DROP CONSTRAINT odd", f"INSERT INTO {ours} VALUES (2, 'mine')")
    planned = site.document("plan", f"ours.{name}")
    assert (planned["exit"], planned["keys"]) == (3, {name: [{"a": 2}]})
    conflict = site.document("pull", f"ours.{name}")
    assert (conflict["exit"], conflict["errors"][0]["type"]) == (3, "ConflictError")

    text = (site.folder / "links.toml").read_text()
    (site.folder / "links.toml").write_text(text.rstrip() + '\nstores = { raw = "nowhere" }\n')
    pinged = site.document("ping")
    assert (pinged["exit"], [error["type"] for error in pinged["errors"]]) == (1, ["StoreError"])
    assert [check["what"] for check in pinged["counts"]["checks"] if not check["ok"]] == ["stores"]
