"""What a lab has that runs published pipelines of DataJoint 0.14: DataJoint's Elements, declared by their own code.

This runs in the environment of DataJoint 0.14, with the Elements beside (see `provision.py`). A line of JSON says
where; the answer, in JSON, is every row of every table as it was fetched there, each value as `canonical` writes it.
"""

from __future__ import annotations

import datetime
import itertools
import json
import re
import sys
import uuid
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import datajoint as dj
import numpy as np
from canonical import canonical

MODULE = sys.modules[__name__]
ROWS = 4
DAY = datetime.datetime(2024, 2, 29, 23, 59, 1)
#: In turn, what a column of objects holds.
OBJECTS: tuple[Any, ...] = (
    np.linspace(0, 1, 7),
    {"method": "kilosort2", "thresholds": [10, 4.5], "mask": np.eye(3, dtype=bool), "none": None},
    np.zeros((300, 20), dtype=np.float32),
    [1, "two", (3.0, None), {"four": np.arange(4, dtype=np.uint8)}],
)


# declaring: what each pipeline finds under these names in this module it is downstream of


def declare(prefix: str) -> list[str]:
    """Declare all that the pipelines have; the names of the schemas."""
    lab, project = import_module("element_lab.lab"), import_module("element_lab.project")
    subject, genotyping, surgery = (import_module(f"element_animal.{n}") for n in ("subject", "genotyping", "surgery"))
    session = import_module("element_session.session_with_datetime")
    session_with_id = import_module("element_session.session_with_id")
    trial, ephys = import_module("element_event.trial"), import_module("element_array_ephys.ephys_acute")

    lab.activate(f"{prefix}_lab")
    _name(lab, "Lab", "Source", "Protocol", "User", "Device", Experimenter="User", Equipment="Device")
    project.activate(f"{prefix}_project", linking_module=MODULE)
    _name(project, "Project")
    genotyping.activate(f"{prefix}_genotyping", f"{prefix}_subject", linking_module=MODULE)
    _name(subject, "Subject")
    surgery.activate(f"{prefix}_surgery", f"{prefix}_subject", linking_module=MODULE)
    session_with_id.activate(f"{prefix}_session_id", linking_module=MODULE)
    session.activate(f"{prefix}_session", linking_module=MODULE)
    _name(session, "Session")
    _name(surgery, SkullReference="CoordinateReference")
    trial.activate(f"{prefix}_trial", f"{prefix}_event", linking_module=MODULE)
    ephys.activate(f"{prefix}_ephys", f"{prefix}_probe", linking_module=MODULE)
    found = dj.conn().query("SHOW DATABASES LIKE %s", args=(prefix.replace("_", r"\_") + r"\_%",)).fetchall()
    return [name for (name,) in found]


def _name(pipeline: Any, *same: str, **others: str) -> None:
    for name, theirs in {**{name: name for name in same}, **others}.items():
        setattr(MODULE, name, getattr(pipeline, theirs))


# filling


def fill(table: Any, folder: Path) -> None:
    """A few rows, each of parents of its own as far as there are so many."""
    parents = []
    for parent, facts in table.parents(as_objects=True, foreign_key_info=True):
        columns = facts["attr_map"]
        rows = parent.fetch(*columns.values(), as_dict=True, limit=100, order_by="KEY")
        parents.append([{column: row[theirs] for column, theirs in columns.items()} for row in rows])
    made: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number in range(ROWS):
        row = _fitting(parents, number)
        for name, attribute in table.heading.attributes.items():
            if name not in row:
                row[name] = _value(attribute, number, folder)
            elif attribute.nullable and number == 1:
                row[name] = None
        made.setdefault(tuple(row[name] for name in table.primary_key), row)
    table.insert(made.values(), allow_direct_insert=True)


def _fitting(parents: list[list[dict[str, Any]]], number: int) -> dict[str, Any]:
    """The columns of a row that are those of its parents, which agree about what they share."""
    turned = [rows[number % len(rows) :] + rows[: number % len(rows)] for rows in parents]
    for chosen in itertools.islice(itertools.product(*turned), 100_000):
        row: dict[str, Any] = {}
        if all(row.setdefault(name, value) == value for parent in chosen for name, value in parent.items()):
            return row
    raise ValueError("no parents that belong together")


def _value(attribute: Any, number: int, folder: Path) -> Any:
    """A value of an attribute, another for each number."""
    if attribute.nullable and number == 2:
        return None
    if attribute.uuid:
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{attribute.name} {number}")
    if attribute.is_blob:
        return OBJECTS[number]
    if attribute.is_attachment:
        path = folder / f"{attribute.name} {number}.png"
        path.write_bytes(b"\x89PNG\r\n" + bytes(range(256)) * number)
        return str(path)
    word, size = re.match(r"(\w+)(?:\((.*)\))?", attribute.type).groups()  # type: ignore[union-attr]
    if word in ("varchar", "char"):
        return f"{attribute.name} {number} µ"[-int(size) :]
    if word == "enum":
        options = re.findall(r"'([^']*)'", attribute.type)
        return options[number % len(options)]
    if word == "decimal":
        return Decimal(number * 10 + 1).scaleb(-int(size.partition(",")[2] or 0))
    if word in ("date", "datetime", "timestamp"):
        moment = DAY + datetime.timedelta(days=number)
        return moment.date() if word == "date" else moment
    if word == "time":
        return datetime.timedelta(hours=number, seconds=1)
    # Of single precision what this client shows of a value is all of it.
    return number + 0.5 if word in ("float", "double") else number


# fetching


def fetched(table: Any, folder: Path) -> list[Any]:
    """Every row; of files name and content."""
    files = [name for name, attribute in table.heading.attributes.items() if attribute.is_attachment]
    rows = table.fetch(as_dict=True, download_path=str(folder))
    for row in rows:
        row |= {name: canonical(row[name]) for name in row if name not in files}
        row |= {name: [Path(row[name]).name, Path(row[name]).read_bytes().hex()] for name in files}
    return sorted(rows, key=json.dumps)


def main() -> None:
    """Declare, fill, fetch, answer."""
    answers, sys.stdout = sys.stdout, sys.stderr
    order = json.load(sys.stdin)
    server, folder = order["server"], Path(order["folder"])
    dj.config["database.port"] = server["port"]
    dj.conn(server["host"], server["user"], server["password"], use_tls=False)
    schemas = declare(order["prefix"])
    dependencies = dj.conn().dependencies
    dependencies.load()
    tables = {name: dj.FreeTable(dj.conn(), name) for name in dependencies.topo_sort()}
    for table in tables.values():
        if not table:
            fill(table, folder)
    answer: dict[Any, dict[Any, Any]] = {schema: {} for schema in schemas}
    for number, table in enumerate(tables.values()):
        downloads = folder / f"downloads {number}"
        downloads.mkdir()
        answer[table.database][table.table_name] = fetched(table, downloads)
    json.dump(answer, answers)


if __name__ == "__main__":
    main()
