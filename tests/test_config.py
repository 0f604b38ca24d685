"""What `@link` is given and the environment, as far as that goes without a server."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import datajoint as dj
import pytest

from link import ConfigError, CredentialsError, LinkedTable, link
from link.accounts import credentials
from link.addresses import Address, parse_host
from link.config import LinkSpec, make_spec

NAMES = ("source", "helper", "outbound", "here")


def spec(host: str = "db.lab.org", helper_table: str = "outbound", **changes: Any) -> LinkSpec:
    """A spec of usable arguments but for `changes`."""
    schemas = {"source_schema": "source", "helper_schema": "helper", "local_schema": "here"}
    options: dict[str, Any] = dict.fromkeys(("stores", "backend", "database", "port", "use_tls"))
    for name in schemas:
        schemas[name] = changes.pop(name, schemas[name])
    return make_spec("Unit", host, schemas, helper_table, **(options | changes))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("db.lab.org", Address("db.lab.org")),
        ("db.lab.org:3307", Address("db.lab.org", 3307)),
        ("10.0.0.7:3307", Address("10.0.0.7", 3307)),
        ("/var/run/postgresql", Address("/var/run/postgresql", backend="postgresql")),
        ("mysql://db.lab.org", Address("db.lab.org", backend="mysql")),
        ("mysql://db.lab.org:3307", Address("db.lab.org", 3307, "mysql")),
        ("mariadb://db.lab.org:3307/", Address("db.lab.org", 3307, "mysql")),
        ("postgresql://db.lab.org:5433/neuro", Address("db.lab.org", 5433, "postgresql", "neuro")),
        ("postgres://db.lab.org/neuro", Address("db.lab.org", None, "postgresql", "neuro")),
    ],
)
def test_hosts(host: str, address: Address) -> None:
    assert parse_host(host) == address
    assert spec(host).address == address


@pytest.mark.parametrize(
    "host",
    ["", " ", None, 7, b"db", ":3306", "db:", "db:port", "a:b:3306", "::1", "db:0", "db:65536", "db:99999", "db:3³"],
)
def test_unreadable_hosts(host: Any) -> None:
    with pytest.raises(ConfigError):
        parse_host(host)


@pytest.mark.parametrize(
    "url",
    [
        *("mysql://", "http://db", "mysql://db:port", "mysql://db:65536"),
        *("postgresql://db/neuro?sslmode=require", "postgresql://db/neuro#x"),
    ],
)
def test_unreadable_urls(url: str) -> None:
    with pytest.raises(ConfigError, match="URL"):
        parse_host(url)


@pytest.mark.parametrize("host", ["db:0", "db:65536", "mysql://db:0"])
def test_a_port_that_is_none(host: str) -> None:
    """It would have been another one: that of such servers, or one modulo 65536."""
    with pytest.raises(ConfigError, match="port must be a number from 1 to 65535"):
        parse_host(host)


def test_ipv6_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="IPv6"):
        parse_host("postgresql://[::1]:5432/neuro")


@pytest.mark.parametrize(
    "url", ["mysql://me:s3cret@db", "mysql://:s3cret@db", "http://me:s3cret@db", "mysql://me@db", "me:s3cret@db"]
)
def test_a_url_holds_no_credentials(url: str) -> None:
    with pytest.raises(ConfigError, match="LINK_USER and LINK_PASS") as raised:
        parse_host(url)
    assert "s3cret" not in repr(raised.value)


@pytest.mark.parametrize("url", ["mysql://me:s3cret@db:port", "mysql://me:s3cret@[db"])
def test_an_unreadable_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_host(url)
    assert "s3cret" not in f"{raised.value!r}{raised.value.__cause__!r}"
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("host", "argument"),
    [
        ("db:3307", {"port": 3308}),
        ("mysql://db:3307", {"port": 3308}),
        ("mysql://db", {"backend": "postgresql"}),
        ("/var/run/postgresql", {"backend": "mysql"}),
        ("postgresql://db/neuro", {"database": "vision"}),
    ],
)
def test_arguments_that_contradict_the_host(host: str, argument: dict[str, Any]) -> None:
    ((name, value),) = argument.items()
    with pytest.raises(ConfigError, match=f"{name}={value!r} contradicts the host"):
        spec(host, **argument)


def test_arguments_that_agree_with_the_host() -> None:
    given: dict[str, Any] = {"port": 5433, "backend": "postgresql", "database": "neuro"}
    assert spec("postgresql://db:5433/neuro", **given).address == spec("db", **given).address


@pytest.mark.parametrize(
    "argument",
    [
        {"backend": "mariadb"},
        {"backend": "sqlite"},
        {"database": "neuro", "backend": "mysql"},
        {"port": "3306"},
        {"port": 0},
        {"port": 70000},
        {"port": True},
        {"database": 7},
        {"database": ""},
        {"database": ["neuro"]},
        {"use_tls": "yes"},
        {"holder": ""},
        {"holder": "Lab\nB"},
        {"holder": 7},
        {"stores": ["a", "b"]},
        {"stores": "store"},
        {"stores": {"a": None}},
        {"stores": {1: "a"}},
        {"source_schema": ""},
        {"helper_schema": None},
        {"local_schema": 3},
        {"helper_table": ""},
        {"helper_table": dj.Manual},
    ],
)
def test_arguments_of_the_wrong_kind(argument: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(argument))):
        spec(**argument)


def test_a_mariadb_backend_is_named_mysql() -> None:
    with pytest.raises(ConfigError, match="'mysql' \\(also for MariaDB\\)"):
        spec(backend="mariadb")


@pytest.mark.parametrize("name", ["UnitOutbound", "unit_outbound"])
def test_a_helper_table_is_named_by_class_or_table(name: str) -> None:
    assert spec(helper_table=name).helper_table == "unit_outbound"


@pytest.mark.parametrize("name", ["x", "Unit_Outbound", "~outbound", "a b"])
def test_other_helper_names_are_taken_as_they_are(name: str) -> None:
    assert spec(helper_table=name).helper_table == name


def test_a_spec_cannot_change() -> None:
    stores = {"theirs": "ours"}
    frozen: Any = spec(stores=stores)
    stores["theirs"] = "elsewhere"
    assert frozen.stores == {"theirs": "ours"}
    with pytest.raises(FrozenInstanceError):
        frozen.local_schema = "elsewhere"


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "variables LINK_USER and LINK_PASS are not set"),
        ({"LINK_USER": "u"}, "variable LINK_PASS is not set"),
        ({"LINK_PASS": "p"}, "variable LINK_USER is not set"),
        ({"LINK_USER": "", "LINK_PASS": "p"}, "variable LINK_USER is not set"),
    ],
)
def test_missing_credentials(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], missing: str) -> None:
    for name in ("LINK_USER", "LINK_PASS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CredentialsError, match=missing) as raised:
        credentials()
    assert "export LINK_USER=... LINK_PASS=..." in str(raised.value.hint)


def test_a_password_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINK_USER", "me")
    monkeypatch.setenv("LINK_PASS", "s3cret")
    assert credentials().password == "s3cret"
    assert "s3cret" not in f"{credentials()} {credentials()!r}"


@pytest.mark.parametrize("decorated", [type("unit", (), {}), type("My_Unit", (), {}), len, "Unit", lambda: None])
def test_only_classes_in_camel_case_are_decorated(decorated: Any) -> None:
    with pytest.raises(ConfigError, match="class Unit: pass"):
        link("db.lab.org", *NAMES)(decorated)


def test_decorating_needs_neither_server_nor_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LINK_USER", "LINK_PASS"):
        monkeypatch.delenv(name, raising=False)

    @link("no-such-host.invalid", *NAMES, stores={"theirs": "not configured"})
    class Unit:
        """The units of lab A."""

    assert issubclass(Unit, LinkedTable)
    assert Unit.__name__ == "Unit" and str(Unit.__doc__).startswith("The units of lab A.\n\nLinked to source.Unit at ")


def test_positional_and_keyword_arguments_are_what_they_are_documented_to_be() -> None:
    decorator: Any = link
    with pytest.raises(TypeError):
        decorator("db", *NAMES, {"theirs": "ours"})
    names = ("source_schema", "helper_schema", "helper_table", "local_schema")
    by_name = decorator(host="db", **dict(zip(names, NAMES, strict=True)))(type("Unit", (), {}))
    assert by_name._link.spec == decorator("db", *NAMES)(type("Unit", (), {}))._link.spec


@pytest.mark.parametrize("table", ["unit", "_unit", "", 7, dj.Manual])
def test_the_class_at_the_source_is_a_class(table: Any) -> None:
    with pytest.raises(ConfigError, match="table must be the class"):
        link("db", *NAMES, table=table)(type("Unit", (), {}))


def test_a_schema_without_a_name_is_no_local_schema() -> None:
    with pytest.raises(ConfigError, match="without a name"):
        link("db", *NAMES[:3], dj.Schema())


def test_what_is_not_used_of_a_body_is_told() -> None:
    """Each thing by its name, with what to do about it; a name and methods of one's own are no reason."""

    class Unit(dj.Computed):
        definition = "unit: int32"

        class Spike(dj.Part):
            definition = "-> master"

        class Wave(dj.Part): ...

        def make(self, key: Any) -> None: ...  # type: ignore[override]

        def few(self) -> Any: ...

    with pytest.warns(UserWarning, match=r"definition, make, Spike\.definition, the base dj\.Computed") as told:
        link("db", *NAMES)(Unit)
    assert [each.filename for each in told] == [__file__]
    assert "Unit.source.pull()" in str(told[0].message) and "Wave" not in str(told[0].message)
    link("db", *NAMES)(type("Unit", (dj.Manual,), {"few": Unit.few, "Wave": Unit.Wave}))
