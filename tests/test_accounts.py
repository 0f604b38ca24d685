"""Accounts of sources with names: where passwords are found, who is asked, and that none shows anywhere."""

from __future__ import annotations

import json
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datajoint as dj
import pytest
from fleet import Fleet, TestServer
from lab import Lab
from linking import declare_session, everything_said, linked
from pipelines import wait_until
from provision import KINDS
from proxy import Proxy
from pydantic import SecretStr

from link import CredentialsError, LinkError, LoginError, Pipeline, UnreachableError, link, load
from link import accounts as module
from link.accounts import Credentials, credentials
from link.links_file import NamedSource, read_links
from link.servers.postgresql_site import PostgreSQLSite

Write = Callable[..., NamedSource]
#: Prints no secret by accident: the program of a password_command that says what it is told.
SAYS = [sys.executable, "-c", "import sys; exec(sys.argv[1])"]


def command(program: str) -> str:
    """A line of a `links.toml`."""
    return f"password_command = {json.dumps([*SAYS, program])}"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a `links.toml` with one source into a project, in which the test works."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_remembered", module._Remembered())
    for name in ("LINK_USER", "LINK_PASS"):
        monkeypatch.delenv(name, raising=False)

    def written(*lines: str, name: str = "lab_a") -> NamedSource:
        (tmp_path / "links.toml").write_text("\n".join([f"[source.{name}]", 'host = "db"', *lines]))
        return read_links().source(name)

    return written


def secret_file(folder: Path, password: str, mode: int = 0o600) -> Path:
    (folder / ".secrets").mkdir(exist_ok=True)
    path = folder / ".secrets" / "link.lab_a.password"
    path.write_text(password)
    path.chmod(mode)
    return path


def test_the_first_way_wins(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write('user = "djlink"', command("print('by command'); print('more')"))

    def found() -> tuple[str, str]:
        account = credentials(source)
        assert account.password not in f"{account!r} {source!r} {account.told_by}"
        return account.user, account.password

    assert found() == ("djlink", "by command")
    secret_file(tmp_path, "by file\n")
    assert found() == ("djlink", "by file")
    monkeypatch.setenv("LINK_LAB_A_PASS", "by variable")
    assert found() == ("djlink", "by variable")
    monkeypatch.setenv("LINK_LAB_A_USER", "another")
    assert found() == ("another", "by variable")
    monkeypatch.setenv("LINK_LAB_A_PASS", "")  # is not set
    assert found() == ("another", "by file")


def test_the_variable_of_a_name_with_other_characters(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(name="lab-a2")
    monkeypatch.setenv("LINK_LAB_A2_USER", "me")
    monkeypatch.setenv("LINK_LAB_A2_PASS", "s3cret")
    assert credentials(source) == Credentials("me", "s3cret", told_by="the user, and LINK_LAB_A2_PASS")


def test_without_any_way_all_are_told(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set for sources without a name is sent to no other; and nobody sits here."""
    monkeypatch.setenv("LINK_USER", "me")
    monkeypatch.setenv("LINK_PASS", "s3cret")
    assert credentials() == Credentials("me", "s3cret")
    with pytest.raises(CredentialsError, match=r"no user for \[source.lab_a\]") as raised:
        credentials(write())
    assert "LINK_LAB_A_USER" in str(raised.value.hint) and "sources without a name" in str(raised.value.hint)
    with pytest.raises(CredentialsError, match=r"'djlink'.* nobody to ask") as raised:
        credentials(write('user = "djlink"'))
    for way in ("LINK_LAB_A_PASS", ".secrets/link.lab_a.password", "password_command"):
        assert way in str(raised.value.hint)


def test_a_secret_that_others_can_read_is_warned_of_once(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, path = write('user = "djlink"'), secret_file(tmp_path, "s3cret")
    assert credentials(source).password == "s3cret"
    assert not caplog.records
    path.chmod(0o640)
    for _ in range(2):
        assert credentials(source).password == "s3cret"
    [said] = [record.getMessage() for record in caplog.records]
    assert f"chmod 600 {path}" in said and "s3cret" not in said


def test_a_secret_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    source, path = write('user = "djlink"'), secret_file(tmp_path, "s3cret")
    path.write_bytes(b"s3cret\xff")
    with pytest.raises(CredentialsError, match=f"cannot be read from {re.escape(str(path))}") as raised:
        credentials(source)
    assert "s3cret" not in everything_said(raised.value)


FAILING = [
    (
        "import sys; print('s3cret'); sys.exit('it is locked: s3cret')",
        "has ended with 1: it is locked: ***",
    ),
    ("import sys; print('s3cret'); sys.exit(3)", "has ended with 3: without a word"),
    ("pass", "has printed nothing"),
    ("print(); print('s3cret')", "has printed nothing"),
    ("import sys; sys.stdout.buffer.write(b's3cret\\xff')", "has printed what is no text"),
    ("import time; print('s3cret', flush=True); time.sleep(30)", "has not ended within 2 s"),
]


@pytest.mark.parametrize(("program", "what"), FAILING, ids=[what for _, what in FAILING])
def test_a_command_that_fails(write: Write, monkeypatch: pytest.MonkeyPatch, program: str, what: str) -> None:
    """It is told with what it complains of, and nothing that it has printed is."""
    if "sleep" in program:
        monkeypatch.setattr(module, "PATIENCE", 2)
    with pytest.raises(CredentialsError) as raised:
        credentials(write('user = "djlink"', command(program)))
    assert f"The password_command of [source.lab_a] of {Path.cwd()}/links.toml {what}" in raised.value.what
    assert "s3cret" not in everything_said(raised.value)


def test_a_command_is_words_and_no_shell(write: Write, tmp_path: Path) -> None:
    script = tmp_path / "say"
    script.write_text(f'#!{sys.executable}\nimport os, sys\nprint(*sys.argv[1:], os.getcwd() == "{tmp_path}")\n')
    script.chmod(0o700)
    source = write('user = "djlink"', "password_command = \"./say '$HOME a' ; b\"")
    assert credentials(source).password == "$HOME a ; b True"
    for said, what in (("no-such-program x", "no-such-program"), ("'say", "No closing quotation")):
        with pytest.raises(CredentialsError, match=f"cannot be run: .*{what}"):
            credentials(write('user = "djlink"', f"password_command = {json.dumps(said)}"))


def test_a_command_that_another_user_has_left_on_the_way_is_not_run(write: Write, tmp_path: Path) -> None:
    """A folder such as /tmp is everybody's; who names the file has looked at it."""
    write('user = "djlink"', command("open('run', 'w'); print('s3cret')"))
    path = tmp_path / "links.toml"
    kinds: list[tuple[int, int, str]] = [(os.getuid(), 0o666, "everybody may change")]
    if os.getuid() == 0:
        kinds.append((12345, 0o644, "another user's"))
    for owner, mode, what in kinds:
        os.chown(path, owner, -1)
        path.chmod(mode)
        with pytest.raises(CredentialsError, match=what):
            credentials(read_links().source("lab_a"))
        assert not (tmp_path / "run").exists()
    assert credentials(read_links(path).source("lab_a")).password == "s3cret"


def test_a_command_is_run_once_a_process_by_however_many_threads(write: Write, tmp_path: Path) -> None:
    source = write(
        'user = "djlink"', command("import time; open('run', 'a').write('x'); time.sleep(0.3); print('s3cret')")
    )
    found = list[str]()
    threads = [threading.Thread(target=lambda: found.append(credentials(source).password)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["s3cret"] * 5
    assert (tmp_path / "run").read_text() == "x"


# --- real servers


def links_toml(lab: Lab, folder: Path, **accounts: str) -> None:
    """Sources on the lab's source server, by the users of their accounts; and a link to the first."""
    text = "".join(
        f'[source.{name}]\nhost = "{lab.source_server.host}"\nport = {lab.source_server.port}\nuse_tls = false\n'
        f'backend = "{lab.source_server.backend}"\nuser = "{user}"\n'
        for name, user in accounts.items()
    )
    for number, name in enumerate(accounts):
        text += f'[link.{name}]\nsource = "{name}"\nhelper_schema = "{lab.helper_schema}"\n'
        text += f'schemas = {{ {lab.source_schema} = "{lab.local_schema}{number or ""}" }}\n'
        text += f'[link.{name}.pull]\n"{lab.source_schema}.Session" = ["session = 1", "session = 2"]\n'
    (folder / "links.toml").write_text(text)


@pytest.fixture
def project(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which the lab's link user has no account in the environment."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_remembered", module._Remembered())
    for name in ("LINK_USER", "LINK_PASS"):
        monkeypatch.delenv(name)
    yield tmp_path


@pytest.fixture
def granted_by_schema(lab: Lab) -> Iterator[None]:
    declare_session(lab)
    if lab.kind != "postgresql":
        escaped = lab.helper_schema.replace("_", "\\_")
        lab.source_server.sql(f"GRANT ALL PRIVILEGES ON `{escaped}`.* TO {lab.link_user}@'%'")
    yield


def test_several_accounts_in_one_process(lab: Lab, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two on one server, a third on another, and one of the environment; each is used first, and in turn."""
    declare_session(lab)
    other_user, other_password = f"{lab.prefix}_other", "other s3cret"
    lab.source_server.create_user(other_user, other_password)
    first, lab.link_user = lab.link_user, other_user
    lab.grant("session")
    if lab.kind == "postgresql":
        lab.source_server.sql(f"GRANT USAGE ON SCHEMA {lab.source_schema} TO {other_user}")
    lab.link_user = first
    links_toml(lab, project, lab_a=first, lab_b=other_user)
    local, here = lab.local_server, f"{lab.prefix}_mine"

    class Session(dj.Manual):
        definition = "session: int32"

    table: Any = lab.local.Schema(here)(Session)
    table.insert1({"session": 7})
    with (project / "links.toml").open("a") as file:
        file.write(
            f'[source.lab_c]\nhost = "{local.host}:{local.port}"\nbackend = "{local.backend}"\n'
            f'use_tls = false\nuser = "{lab.local_user}"\n'
        )
    (project / ".secrets").mkdir()
    (project / ".secrets" / "link.lab_a.password").write_text(lab.link_password)
    (project / ".secrets" / "link.lab_a.password").chmod(0o600)
    monkeypatch.setenv("LINK_LAB_B_PASS", other_password)
    monkeypatch.setenv("LINK_LAB_C_PASS", lab.local_password)
    monkeypatch.setenv("LINK_USER", first)
    monkeypatch.setenv("LINK_PASS", lab.link_password)
    address = f"{lab.source_server.host}:{lab.source_server.port}"

    def linked(source: str, schema: str) -> Any:
        names = (schema, lab.helper_schema, lab.helper_table, f"{lab.local_schema}_{source[-1]}")
        options: dict[str, Any] = {"connection": lab.local} | ({} if source.startswith("lab") else {"use_tls": False})
        decorate: Any = link
        return decorate(source, *names, **options)(type("Session", (), {}))

    expected = {"lab_c": (lab.local_user, 1), "lab_b": (other_user, 3), address: (first, 3), "lab_a": (first, 3)}
    for order in (list(expected), list(reversed(expected))):
        made = {source: linked(source, here if source == "lab_c" else lab.source_schema) for source in order}
        for source, table in made.items():
            user, rows = expected[source]
            assert table.source.connection.get_user().split("@")[0] == user
            assert len(table.source) == rows
        assert made["lab_a"].source.connection is made[address].source.connection
    assert made["lab_a"].source.pull().pulled == 3


def test_what_is_refused_names_where_the_password_was_found(
    lab: Lab, project: Path, monkeypatch: pytest.MonkeyPatch, granted_by_schema: None
) -> None:
    links_toml(lab, project, lab_a=lab.link_user)
    lab_a = load(connection=lab.local).lab_a
    monkeypatch.setenv("LINK_LAB_A_PASS", "wr0ng")
    with pytest.raises(LoginError, match="refused the link user") as raised:
        lab_a.status()
    assert "LINK_LAB_A_PASS" in str(raised.value.hint)
    assert "wr0ng" not in everything_said(raised.value)
    # What a program has printed and was refused is not kept: it may say another one now.
    monkeypatch.delenv("LINK_LAB_A_PASS")
    (project / "password").write_text("wr0ng")
    text = (project / "links.toml").read_text()
    program = command("print(open('password').read())")
    (project / "links.toml").write_text(text.replace("use_tls = false", f"use_tls = false\n{program}"))
    lab_a = load(connection=lab.local).lab_a
    with pytest.raises(LoginError, match="refused the link user") as raised:
        lab_a.status()
    assert "password_command" in str(raised.value.hint)
    (project / "password").write_text(lab.link_password)
    # Workers get it with their tasks, and it is in no pickle of the user's.
    assert lab_a.pull(*load(connection=lab.local).standing("lab_a"), processes=2).pulled == 2
    assert len(lab_a[lab.source_schema].Session()) == 2


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_a_server_that_speaks_another_language(
    lab: Lab, project: Path, monkeypatch: pytest.MonkeyPatch, granted_by_schema: None
) -> None:
    """Of a refusal the number counts; what sessions are refused is told in the language of this package."""
    links_toml(lab, project, lab_a=lab.link_user)
    lab_a = load(connection=lab.local).lab_a
    try:
        lab.source_server.sql("SET GLOBAL lc_messages = 'de_DE'")
        with monkeypatch.context() as wrong:
            wrong.setenv("LINK_LAB_A_PASS", "wr0ng")
            with pytest.raises(LoginError, match="hat keine") as raised:
                lab_a.status()
            assert "LINK_LAB_A_PASS" in str(raised.value.hint)
        monkeypatch.setenv("LINK_LAB_A_PASS", lab.link_password)
        session = lab_a.source[lab.source_schema].Session
        with pytest.raises(dj.errors.QuerySyntaxError, match="You have an error"):
            len(session & "session = = 1")
    finally:
        lab.source_server.sql("SET GLOBAL lc_messages = 'en_US'")


#: What PostgreSQL says of who does not come in, as a server of another language does; as many bytes.
REFUSALS = {
    b"password authentication failed for user": b"Anmeldung mit Passwort fehlgeschlagen: ",
    b"the database system is shutting down": b"die Datenbank wird heruntergefahren ",
    b"FATAL": b"GRAVE",
}


@pytest.fixture
def foreign(source_server: TestServer) -> Iterator[Proxy]:
    """A way to a server on which it speaks another language: of what is refused before it knows who comes."""
    proxy = Proxy(source_server.host, source_server.port, instead=REFUSALS)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_refusal_in_another_language(lab: Lab, foreign: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one by its form: the driver tells no code of it. Who is refused is not asked to try again."""
    declare_session(lab)
    here = f"127.0.0.1:{foreign.port}"
    with monkeypatch.context() as wrong:
        wrong.setenv("LINK_PASS", "wr0ng")
        with pytest.raises(LoginError, match=r"refused the link user .*Anmeldung") as raised:
            linked(lab, host=here)()
        assert "LINK_PASS" in str(raised.value.hint) and "wr0ng" not in everything_said(raised.value)
        own = {"host": "127.0.0.1", "port": foreign.port, "backend": "postgresql", "user": lab.local_user}
        for name, value in {**own, "password": SecretStr("wr0ng"), "use_tls": False}.items():
            wrong.setattr(dj.config.database, name, value)
        with pytest.raises(LoginError, match=f"local server {here} refused .*Anmeldung") as raised:
            linked(lab, connection=None)()
        assert "DJ_PASS" in str(raised.value.hint)
    session = linked(lab, host=here)
    assert session().source.pull({"session": 1}).pulled == 1
    lab.source_server.sql(f"ALTER ROLE {lab.link_user} PASSWORD 'another'")
    with pytest.raises(LoginError, match=f"{here} refused the user .*Anmeldung"):
        session().source.pull()
    lab.source_server.sql(f"ALTER ROLE {lab.link_user} PASSWORD '{lab.link_password}'")
    assert session().source.pull().pulled == 2


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_server_that_lets_nobody_in(kind: str, fleet: Fleet) -> None:
    """It is shut down as soon as the last session ends: that may be waited for, whatever language it is told in."""
    spare = fleet.spare(kind)
    proxy = Proxy(spare.host, spare.port, instead=REFUSALS)
    site = PostgreSQLSite(spare.instance().connection)
    site.login = replace(site.login, host="127.0.0.1", port=proxy.port)
    assert spare.process
    os.kill(spare.process.pid, signal.SIGTERM)
    wait_until(lambda: refused(site))
    assert "heruntergefahren" in str(refused(site)) and type(refused(site)) is UnreachableError
    proxy.close()
    spare.stop()


def refused(site: PostgreSQLSite) -> LinkError | None:
    """Why a server lets nobody in."""
    try:
        site.open().close()
    except LinkError as error:
        return error
    return None


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_host_that_may_have_been_meant_for_a_source(lab: Lab, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links_toml(lab, project, lab_a=lab.link_user)
    monkeypatch.setenv("LINK_USER", lab.link_user)
    monkeypatch.setenv("LINK_PASS", lab.link_password)
    nobody = Pipeline("lab-a", ["ephys"], "helper", connection=lab.local)
    with pytest.raises(UnreachableError, match="lab-a") as raised:
        nobody.status()
    assert str(raised.value.hint).endswith("links.toml has no [source.lab-a]. Did you mean 'lab_a'?")


PROGRAM = """
import pickle, subprocess, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from link import LinkError, load
schema = sys.argv[1]
links = load()
try:
    print(len(links.lab_a.source[schema].Session()), flush=True)
    print(len(load().again.source[schema].Session()), flush=True)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:  # a worker that inherits no memory
        print(links.lab_a.pull(*links.standing("lab_a"), executor=executor).pulled, flush=True)
        counted = "len(__import__('pickle').loads(kept).source[schema].Session())"
        kept = {"kept": pickle.dumps(links.lab_a), "schema": schema}
        print(executor.submit(eval, counted, kept).result(), flush=True)
    elsewhere = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1])).status()"
    stranger = [sys.executable, "-c", elsewhere, kept["kept"].hex()]
    told = subprocess.run(stranger, stdin=subprocess.DEVNULL, capture_output=True, text=True).stderr
    print("CredentialsError: There is no password" in told, flush=True)
    kept = pickle.dumps((links.lab_a, links))
    print(sys.argv[2].encode() in kept, repr(links), repr(links.lab_a), flush=True)
except LinkError as error:
    print(type(error).__name__, error, flush=True)
"""


def environment(lab: Lab) -> dict[str, str]:
    """What DataJoint connects by in a program of its own."""
    here = lab.local_server
    told = {"DJ_HOST": here.host, "DJ_PORT": str(here.port), "DJ_BACKEND": here.backend, "DJ_USE_TLS": "false"}
    return os.environ | told | {"DJ_USER": lab.local_user, "DJ_PASS": lab.local_password}


@pytest.mark.parametrize("wrong", [1, 3])
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_person_at_a_terminal_is_asked_once(lab: Lab, project: Path, granted_by_schema: None, wrong: int) -> None:
    """And again, where it was wrong; workers get what was typed, and nobody sees it."""
    links_toml(lab, project, lab_a=lab.link_user)
    text = (project / "links.toml").read_text()
    again = text[text.index("[link.lab_a]") :].replace("lab_a]", "again]").replace("lab_a.pull", "again.pull")
    (project / "links.toml").write_text(text + again)
    master, slave = os.openpty()
    typed = ["wr0ng"] * wrong + [lab.link_password]
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("sys.argv[2]", "open('kept').read()"), lab.source_schema],
        stdin=slave,
        stderr=slave,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(lab),
        start_new_session=True,
    )
    os.close(slave)
    (project / "kept").write_text(lab.link_password)
    shown, decode = "", getincrementaldecoder("utf-8")().decode
    try:
        while _readable(master, program):
            try:
                shown += decode(os.read(master, 4096))
            except OSError:  # nobody holds the other end any more
                break
            if typed and shown.count("Password of ") > wrong + 1 - len(typed):
                os.write(master, f"{typed.pop(0)}\n".encode())
        said = program.communicate(timeout=60)[0]
    finally:
        program.kill()
        os.close(master)
    assert f"Password of {lab.link_user} at lab_a ({lab.source_server.host}): " in shown
    assert shown.count("Password of ") == min(wrong, 2) + 1
    assert shown.count("It was refused. Password of ") == min(wrong, 2)
    assert lab.link_password not in shown + said and "wr0ng" not in shown + said
    if wrong == 3:
        assert said.startswith("LoginError") and "what was typed" in said
    else:
        assert said.splitlines()[:5] == ["3", "3", "2", "3", "True"], said
        assert said.splitlines()[5].startswith("False <links of")


def _readable(master: int, program: subprocess.Popen[str]) -> bool:
    """Whether there is something to be read; waits for it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.2)[0]:
            return True
        if program.poll() is not None:
            return False
    raise AssertionError("the program neither asks nor ends")


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.filterwarnings("ignore")
def test_a_person_at_a_notebook_is_asked(lab: Lab, project: Path, granted_by_schema: None) -> None:
    """By a real kernel; one that is run without a person says so."""
    from jupyter_client.manager import start_new_kernel

    links_toml(lab, project, lab_a=lab.link_user)
    manager, client = start_new_kernel(kernel_name="python3", env=environment(lab))
    try:
        heard, asked = list[str](), list[Any]()

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            heard.append(content.get("text", "") + "\n".join(content.get("traceback", [])))

        def answer(message: dict[str, Any]) -> None:
            asked.append(message["content"])
            client.input(lab.link_password)

        def run(code: str, person: bool) -> str:
            heard.clear()
            options: dict[str, Any] = {"stdin_hook": answer} if person else {}
            client.execute_interactive(code, allow_stdin=person, output_hook=hear, timeout=120, **options)
            return "".join(heard)

        query = f"print('rows:', len(load().lab_a.source['{lab.source_schema}'].Session()))"
        assert "nobody to ask" in run(f"from link import load\n{query}", person=False)
        assert not asked
        assert "rows: 3" in run(query, person=True)
        prompt = f"Password of {lab.link_user} at lab_a ({lab.source_server.host}): "
        assert asked == [{"prompt": prompt, "password": True}]
        assert "rows: 3" in run(query, person=True)
        assert len(asked) == 1

        # What goes wrong is told in few lines: the caller's, what, and what to do; all of it to who wants it.
        wrong = f"def look():\n    return load().lab_a.source['{lab.source_schema}'].Sesion\n\nlook()"
        told = [line for line in run(wrong, person=True).splitlines() if line]
        assert [line.strip() for line in told if "File" not in line][:2] == ["look()", wrong.splitlines()[1].strip()]
        assert told[-2].startswith("UnknownNameError: The link user") and told[-1].startswith("  → ") and len(told) == 6
        assert "theirs.py" in run(f"import datajoint as dj\ndj.logger.setLevel('DEBUG')\n{wrong}", person=True)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


UNPICKLED = """
import pickle, sys
kept, schema = pickle.load(open("kept", "rb"))
print(len(kept.source[schema].Session()))
"""


@pytest.mark.parametrize("kind", KINDS[:1], indirect=True)
def test_a_pickled_pipeline_holds_no_password_and_finds_it_anew(
    lab: Lab, project: Path, granted_by_schema: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    links_toml(lab, project, lab_a=lab.link_user)
    monkeypatch.setenv("LINK_LAB_A_PASS", lab.link_password)
    told: Pipeline = load(connection=lab.local).lab_a
    assert len(told.source[lab.source_schema].Session()) == 3
    kept = pickle.dumps((load().lab_a, lab.source_schema))
    assert lab.link_password.encode() not in kept
    (project / "kept").write_bytes(kept)
    (project / "elsewhere").mkdir()
    secret_file(project, lab.link_password)
    for variables, said in (({}, "3\n"), ({"LINK_LAB_A_PASS": "wr0ng"}, "")):
        run = subprocess.run(
            [sys.executable, "-c", UNPICKLED.replace('"kept"', '"../kept"')],
            cwd=project / "elsewhere",
            env={k: v for k, v in environment(lab).items() if k != "LINK_LAB_A_PASS"} | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.stdout == said, run.stderr
        assert bool(run.returncode) == bool(variables) and "wr0ng" not in run.stderr
