"""Published pipelines of DataJoint 0.14 are pulled whole, table by table, and equal: see `published.py`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from canonical import as_older, canonical
from datajoint.utils import to_camel_case
from figures import Figures
from lab import Lab
from people import answered

from link import link
from link.admin.grants import grant_statements, required_sql
from link.model.schema import part_class
from link.servers.rights import Access

PROGRAM = Path(__file__).with_name("published.py")
#: Each kind of server that 0.14 knows, and each to which a table can be pulled.
PAIRS = [("mysql", "mariadb"), ("mariadb", "mysql"), ("mariadb", "postgresql")]

Rows = list[Any]


@pytest.fixture(scope="session", params=PAIRS, ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The kinds of the source's and the local server."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def published(mixed: Lab, datajoint_014: Path, elements: Path, tmp_path: Path) -> dict[str, dict[str, Rows]]:
    """The rows of every table of every schema at the source, as 0.14 has declared, filled and fetched them."""
    server = mixed.source_server
    where = {"host": server.host, "port": server.port, "user": server.admin_user, "password": server.admin_password}
    order = {"server": where, "prefix": f"{mixed.prefix}_el", "folder": str(tmp_path)}
    found: dict[str, dict[str, Rows]] = answered(datajoint_014, PROGRAM, order, tmp_path, PYTHONPATH=str(elements))
    return found


def test_every_table_is_pulled_and_equal(
    mixed: Lab, published: dict[str, dict[str, Rows]], figures: Figures, tmp_path: Path
) -> None:
    lab, different, compared = mixed, [], 0
    downloads = tmp_path / "here"
    downloads.mkdir()
    lab.local.config.download_path = str(downloads)
    for schema, tables in published.items():
        assert all(tables.values()), f"{schema} has tables without rows"
        masters = {name: [part for part in tables if part.startswith(f"{name}__")] for name in tables}
        for master in [name for name in tables if not any(name in parts for parts in masters.values())]:
            linked = granted(lab, schema, master, masters[master])
            assert linked.source.pull().pulled == len(tables[master])
            assert linked.source.verify(), master
            for name in (master, *masters[master]):
                table = linked if name == master else getattr(linked, part_class(master, name))
                here = fetched(table, downloads)
                compared += sum(map(len, here))
                different += [f"{schema}.{name}: {line}" for line in compare(tables[name], here)]
    assert not different, "\n".join(different)
    figures.add("values of pipelines published for DataJoint 0.14", lab.local_kind, compared)


def granted(lab: Lab, schema: str, master: str, parts: list[str]) -> Any:
    """The linked class of a source table on which the link user has got the rights that are printed, and no others."""
    name = to_camel_case(master.strip("#_"))
    helper = f"{schema}_{name}".lower()
    access = Access(
        source_schema=schema,
        tables=[master, *parts],
        helper_schema=lab.helper_schema,
        helper_tables=[helper],
        user=lab.link_user,
        new_user=False,
    )
    for statement in required_sql(grant_statements(access, lab.source_server.backend)):
        lab.source_server.sql(statement)
    host, local_schema = f"{lab.source_server.host}:{lab.source_server.port}", f"{schema}_here"
    options: dict[str, Any] = {"backend": lab.source_server.backend, "connection": lab.local, "use_tls": False}
    return link(host, schema, lab.helper_schema, helper, local_schema, **options)(type(name, (), {}))


def fetched(table: Any, downloads: Path) -> Rows:
    """Every row of a local table."""
    return [{name: told(value, downloads) for name, value in row.items()} for row in table().to_dicts()]


def told(value: Any, downloads: Path) -> Any:
    """A value as `published.fetched` tells it."""
    if isinstance(value, str) and Path(value).parent == downloads:
        return [Path(value).name, Path(value).read_bytes().hex()]
    return canonical(as_older(value))


def compare(there: Rows, here: Rows) -> list[str]:
    """In what rows differ."""
    theirs, ours = (Counter(json.dumps(row, sort_keys=True) for row in rows) for rows in (there, here))
    return [f"{who}: {row:.600}" for who, more in (("there", theirs - ours), ("here", ours - theirs)) for row in more]
