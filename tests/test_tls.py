"""What goes to a source server is encrypted, unless it stays on this machine or it is said otherwise."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datajoint as dj
import psycopg2
import pymysql
import pytest
from certificates import Authority
from fleet import Fleet, TestServer
from lab import Lab
from linking import declare_session, linked

from link import ConfigError, EncryptionError, LoginError
from link.accounts import Credentials
from link.addresses import Address
from link.admin.grants import grants
from link.servers.encryption import is_loopback, is_this_machine
from link.servers.rights import Access
from link.servers.sites import visiting
from link.tls import Tls, parse_tls

#: An address that is not of loopback, and leads there all the same.
ELSEWHERE = "0.0.0.0"


# --- what is asked for


@pytest.mark.parametrize(
    ("address", "expected"),
    {
        **dict.fromkeys(("127.0.0.1", "127.8.9.10", "::1"), True),
        **dict.fromkeys(("10.0.0.1", "192.168.1.2", "128.0.0.1", "fe80::1%eth0", "2001:db8::1", ELSEWHERE), False),
    }.items(),
)
def test_addresses_of_this_machine(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_names_of_this_machine() -> None:
    assert is_this_machine("localhost")
    assert is_this_machine("127.0.0.1")
    assert is_this_machine("/var/run/postgresql")
    assert not is_this_machine(ELSEWHERE)
    assert not is_this_machine("nowhere.invalid")


def test_what_use_tls_says(tmp_path: Path) -> None:
    assert parse_tls(None) == Tls(None)
    assert parse_tls(True) == Tls(True)
    assert parse_tls(False) == Tls(False)
    told = {"ca": tmp_path / "ca.pem", "cert": "~/me.pem", "key": "me.key", "check_hostname": False}
    home = str(Path("~/me.pem").expanduser())
    assert parse_tls(told) == Tls(True, str(tmp_path / "ca.pem"), home, "me.key", False)
    for wrong in ("yes", 1, {}, {"CA": "x"}, {"ca": 7}, {"ca": "x", "check_hostname": "no"}, {"key": "x"}):
        with pytest.raises(ConfigError, match=r'use_tls.*\n.*Such as use_tls={"ca"'):
            parse_tls(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="with ca"):
        parse_tls({"cert": "x", "check_hostname": False})


# --- a server without TLS


@pytest.fixture
def bare(lab: Lab) -> Iterator[Lab]:
    """A lab whose source has no TLS; MySQL has a certificate from its beginning."""
    declare_session(lab)
    if lab.kind != "mysql":
        yield lab
        return
    [(certificate,)] = lab.source_server.sql("SELECT @@ssl_cert")
    lab.source_server.sql("SET GLOBAL ssl_cert = 'no-such-file'")
    lab.source_server.sql("ALTER INSTANCE RELOAD TLS NO ROLLBACK ON ERROR")
    yield lab
    lab.source_server.sql("SET GLOBAL ssl_cert = %s", certificate)
    lab.source_server.sql("ALTER INSTANCE RELOAD TLS")


def elsewhere(lab: Lab) -> str:
    return f"{ELSEWHERE}:{lab.source_server.port}"


def test_nothing_goes_to_another_machine_in_the_clear(bare: Lab, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(EncryptionError, match=r"offers no encryption \(TLS\).*\n.*use_tls=False") as raised:
        linked(bare, host=elsewhere(bare), use_tls=None).source.pull()
    assert elsewhere(bare) in raised.value.what
    with pytest.raises(EncryptionError, match="offers no encryption"):
        linked(bare, use_tls=True).source.pull()
    with caplog.at_level(logging.INFO):
        assert linked(bare, use_tls=None).source.pull().pulled == 3
        assert not [record for record in caplog.records if record.levelno > logging.INFO]
        first, second = (linked(bare, host=elsewhere(bare), use_tls=False) for _ in range(2))
        assert len(first.source) == len(second.source) == 3
        assert first.source.status()["Shared"] == 3
    [warned] = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert elsewhere(bare) in warned and "not encrypted" in warned


@pytest.mark.parametrize("kind", ["mariadb"], indirect=True)
def test_a_driver_that_would_go_on_without(bare: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyMySQL before 1.2 does, whatever it is told."""
    monkeypatch.setattr(pymysql.Connection, "_ssl_required", property(lambda _: False, lambda *_: None), raising=False)
    with pytest.raises(EncryptionError, match="offers no encryption"):
        linked(bare, use_tls=True).source.pull()
    assert linked(bare, use_tls=None).source.pull().pulled == 3


def test_administrators_too(bare: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """They say it as DataJoint is told."""
    server = bare.source_server
    address = Address(ELSEWHERE, server.port)
    administrator = Credentials(server.admin_user, server.admin_password, "administrator", "DJ_USER and DJ_PASS")
    with pytest.raises(EncryptionError, match="DJ_USE_TLS=false"), visiting(address, administrator, server.backend):
        pass
    monkeypatch.setattr(dj.config.database, "use_tls", False)
    with visiting(address, administrator, server.backend) as site, site.session() as session:
        assert session.query("SELECT 1")


def access_to(lab: Lab, user: str) -> Access:
    return Access(
        source_schema=lab.source_schema,
        tables=["Session"],
        helper_schema=lab.helper_schema,
        helper_tables=[lab.helper_table],
        user=user,
        password=lab.link_password,
    )


def printed(lab: Lab, user: str) -> str:
    """What is printed for a new account, with a look at the server."""
    server = lab.source_server
    administrator = Credentials(server.admin_user, server.admin_password, "administrator", "DJ_USER and DJ_PASS")
    return grants(
        access_to(lab, user), address=Address(server.host, server.port, server.backend), administrator=administrator
    )


def test_grants_look_whether_there_is_tls(bare: Lab) -> None:
    script = printed(bare, f"{bare.prefix}_granted")
    assert "links say use_tls=False" in script
    assert not re.search(r"REQUIRE SSL;|hostssl", script)


# --- a server with a certificate


AUTHORITY = Authority()
FILES = {"ca.pem": AUTHORITY.pem, **dict(zip(("server.pem", "server.key"), AUTHORITY.issue("localhost"), strict=True))}


class Secured:
    """A lab whose source shows a certificate for ``localhost``, and lets the link user in by TLS alone.

    PostgreSQL comes from a wheel and has no TLS of its own there: PgBouncer stands before it.
    """

    def __init__(self, lab: Lab, front: TestServer) -> None:
        self.lab, self._front = lab, front
        self.port = front.port

    def at(self, name: str = "localhost", **use_tls: Any) -> Any:
        """The linked table, by some name of the server."""
        return self.linked(name, use_tls or None)

    def linked(self, name: str, use_tls: Any) -> Any:
        """The linked table, by some name of the server, with TLS as it is said."""
        return linked(self.lab, host=f"{name}:{self.port}", use_tls=use_tls)

    def require_certificate(self) -> None:
        """Let no client in without one."""
        self._change("client_tls_sslmode = verify-ca", f"ALTER USER {self.lab.link_user}@'%%' REQUIRE X509")

    def show(self, certificate: bytes, key: bytes) -> None:
        """Let the server have another certificate."""
        for name, content in {"server.pem": certificate, "server.key": key}.items():
            (self._folder / name).write_bytes(content)
        self._change("", "FLUSH SSL" if self.lab.kind == "mariadb" else "ALTER INSTANCE RELOAD TLS")

    @property
    def _folder(self) -> Path:
        assert self._front.process
        return self._front.process.engine.folder

    def _change(self, setting: str, statement: str) -> None:
        if self.lab.kind != "postgresql":
            self.lab.source_server.sql(statement.replace("%%", "%"))
            return
        with (self._folder / "settings.ini").open("a") as settings:
            settings.write(f"{setting}\n")
        lab = self.lab
        login: dict[str, Any] = {"user": lab.link_user, "password": lab.link_password, "dbname": "pgbouncer"}
        with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=self.port, **login)) as console:
            console.autocommit = True
            console.cursor().execute("RELOAD")


@pytest.fixture(scope="module")
def encrypting(kind: str, fleet: Fleet) -> Iterator[TestServer | None]:
    """A server with a certificate; PostgreSQL's has PgBouncer before it, which has one."""
    if kind == "postgresql":
        yield None
        return
    files = {name: f"{{folder}}/{name}" for name in FILES}
    options = (f"--ssl-ca={files['ca.pem']}", f"--ssl-cert={files['server.pem']}", f"--ssl-key={files['server.key']}")
    spare = fleet.spare(kind, *options, files=FILES)
    yield spare
    spare.stop()


@pytest.fixture
def secured(
    encrypting: TestServer | None,
    servers: tuple[TestServer, TestServer],
    fleet: Fleet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Secured]:
    server = encrypting or servers[0]
    lab = Lab(server, servers[1])
    monkeypatch.setenv("LINK_USER", lab.link_user)
    monkeypatch.setenv("LINK_PASS", lab.link_password)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    try:
        lab.build()
        declare_session(lab)
        if lab.kind == "postgresql":
            words = {"sslmode": "require", "ca_file": "ca.pem", "cert_file": "server.pem", "key_file": "server.key"}
            lines = [f"client_tls_{k} = {f'{{folder}}/{v}' if '.' in v else v}" for k, v in words.items()]
            lines.append(f"admin_users = {lab.link_user}")
            accounts = {lab.link_user: lab.link_password}
            front = fleet.pooler(server, "session", accounts, *lines, files=FILES)
            yield Secured(lab, front)
            front.stop()
        else:
            server.sql(f"ALTER USER {lab.link_user}@'%' REQUIRE SSL")
            yield Secured(lab, server)
    finally:
        lab.clear()


def test_a_certificate_is_checked(secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every session, of workers as well: the server takes none without TLS."""
    ca = tmp_path / "ca.pem"
    table = secured.at(ca=ca)
    assert len(table.source & "session < 2") == 2
    assert table.source.pull(processes=2).pulled == 3
    assert (table & "session = 0").delete(prompt=False) == 1
    assert table.source.verify().compared == 2
    table.source.connection._conn.close()  # DataJoint's own connection is lost, and taken up again in the same way
    assert len(table.source) == 3

    for name, said in (
        ("127.0.0.1", {"ca": ca, "check_hostname": False}),
        ("127.0.0.1", True),
        ("127.0.0.1", None),
        (ELSEWHERE, None),
    ):
        assert secured.linked(name, said).source.status()["Shared"] == 2
    with pytest.raises(LoginError, match=r"encrypted|TLS"):
        secured.linked("localhost", False).source.pull()
    with pytest.raises(EncryptionError, match="for another name"):
        secured.at("127.0.0.1", ca=ca).source.pull()
    (tmp_path / "other.pem").write_bytes(Authority().pem)
    with pytest.raises(EncryptionError, match=r"nobody in the file ca .* vouches for"):
        secured.at(ca=tmp_path / "other.pem").source.pull()
    source = f'[source.lab_a]\nhost = "localhost:{secured.port}"\nuser = "{secured.lab.link_user}"\n'
    (tmp_path / "links.toml").write_text(
        f'{source}use_tls = {{ ca = "ca.pem" }}\n{source.replace("lab_a", "other")}use_tls = {{ ca = "other.pem" }}'
    )
    monkeypatch.chdir(tmp_path)
    for name in ("LAB_A", "OTHER"):
        monkeypatch.setenv(f"LINK_{name}_PASS", secured.lab.link_password)
    assert linked(secured.lab, host="lab_a", use_tls=None).source.status()["Shared"] == 2
    with pytest.raises(EncryptionError, match="vouches"):
        linked(secured.lab, host="other", use_tls=None).source.pull()
    if secured.lab.kind == "mysql":
        return  # it takes no such certificate
    try:
        secured.show(*AUTHORITY.issue("localhost", expired=True))
        with pytest.raises(EncryptionError, match=r"out of date.*\n.*renew"):
            secured.at(ca=ca, check_hostname=False).source.pull()
    finally:
        secured.show(FILES["server.pem"], FILES["server.key"])


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_who_was_granted_is_let_in_by_tls_alone(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    user = f"{secured.lab.prefix}_granted"
    for line in printed(secured.lab, user).splitlines():
        if not line.startswith("--"):
            secured.lab.source_server.sql(line.removesuffix(";"))
    monkeypatch.setenv("LINK_USER", user)
    assert secured.linked("127.0.0.1", None).source.pull().pulled == 3
    with pytest.raises(LoginError, match="TLS"):
        secured.linked("127.0.0.1", False).source.pull()


def test_a_certificate_of_the_client(secured: Secured, tmp_path: Path) -> None:
    certificate, key = AUTHORITY.issue(secured.lab.link_user)
    (tmp_path / "me.pem").write_bytes(certificate)
    (tmp_path / "me.key").write_bytes(key)
    (tmp_path / "me.key").chmod(0o600)
    secured.require_certificate()
    with pytest.raises((LoginError, EncryptionError), match="certificate"):
        secured.at(ca=tmp_path / "ca.pem").source.pull()
    shown: dict[str, Any] = {"ca": tmp_path / "ca.pem", "cert": tmp_path / "me.pem", "key": tmp_path / "me.key"}
    assert secured.at(**shown).source.pull().pulled == 3
    for wrong, match in (
        ({"ca": tmp_path / "gone.pem"}, r"gone\.pem, cannot be read: No such file"),
        ({"ca": tmp_path / "me.key"}, r"me\.key, holds no certificates"),
        ({"key": tmp_path / "server.key"}, r"me\.pem and .*server\.key"),
    ):
        with pytest.raises(ConfigError, match=match):
            secured.at(**(shown | wrong)).source.pull()
