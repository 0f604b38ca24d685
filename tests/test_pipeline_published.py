"""Published pipelines of DataJoint 0.14, declared by their own code, are pulled as pipelines: see `published.py`."""

from __future__ import annotations

from pathlib import Path

import datajoint as dj
import pytest
from lab import Lab
from people import answered
from pulling import Checked, grant

PROGRAM = Path(__file__).with_name("published.py")


@pytest.fixture(
    scope="session", params=[("mysql", "mysql"), ("mysql", "postgresql"), ("mysql", "mariadb")], ids="-".join
)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The kinds of the source's and the local server."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def elements_pulled(mixed: Lab, datajoint_014: Path, elements: Path, tmp_path: Path) -> Checked:
    """The Elements at the source, every table filled, of which nothing is here yet."""
    server = mixed.source_server
    where = {"host": server.host, "port": server.port, "user": server.admin_user, "password": server.admin_password}
    order = {"server": where, "prefix": f"{mixed.prefix}_el", "folder": str(tmp_path)}
    schemas = list(answered(datajoint_014, PROGRAM, order, tmp_path, PYTHONPATH=str(elements)))
    grant(mixed, schemas)
    return Checked(mixed, schemas)


@pytest.mark.timeout(600)
def test_elements(elements_pulled: Checked) -> None:
    """One insertion of a probe upwards, then one session with all that was derived from it."""
    pulled = elements_pulled
    pulled.keys_only = True
    named = {schema.rpartition("_el_")[2]: schema for schema in pulled.schemas}
    pulled.select(named["ephys"], "ProbeInsertion", "insertion_number = 1")
    assert pulled.wanted
    pulled.select(named["session"], "Session", dj.Top(1), descendants=True)
    assert pulled.pipeline.verify()
    assert len(pulled.tables) > 40
    there, here = described(pulled, pulled.lab.source), described(pulled, pulled.lab.local)
    assert here == there


def described(pulled: Checked, instance: dj.Instance) -> dict[str, list[str]]:
    """What DataJoint says of the tables that were pulled: their foreign keys and their attributes."""
    local = instance is pulled.lab.local
    names = {schema: pulled.local[schema] if local else schema for schema, _ in sorted(pulled.tables)}
    for name in names.values():
        instance.Schema(name, create_schema=False, create_tables=False)
    found = {}
    for schema, table in sorted(pulled.tables):
        text = instance.FreeTable(f"{names[schema]}.{table}").describe()
        for theirs, ours in names.items():
            text = text.replace(ours, theirs)
        lines = [line.partition(" : ")[0].partition("=")[0].strip() for line in text.replace('"', "`").splitlines()]
        # On PostgreSQL DataJoint shows no indexes.
        found[f"{schema}.{table}"] = [line for line in lines if not line.startswith(("INDEX", "UNIQUE", "#"))]
    return found
