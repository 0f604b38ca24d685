"""One timed operation in a process of its own, so that its memory and its processor time can be told.

Started with a JSON description, it gets ready, says so, waits for a line on its standard input, does it, and prints
what it took as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import big
import datajoint as dj

warnings.simplefilter("ignore")

Action = Callable[[], int]


def pull(spec: dict[str, Any]) -> Action:
    """Pull the source table of the link, or see that there is nothing new."""
    source = linked(spec)().source
    return lambda: int(source.pull().pulled)


def adopt(spec: dict[str, Any]) -> Action:
    """Pull what is local already, and not held."""
    source = linked(spec)().source
    return lambda: int(source.pull().adopted)


def verify(spec: dict[str, Any]) -> Action:
    """Verify rows that are equal."""
    source = linked(spec)().source

    def verify_equal() -> int:
        result = source.verify()
        if not result:
            raise RuntimeError(f"not equal: {result}")
        return int(result.compared)

    return verify_equal


def delete(spec: dict[str, Any]) -> Action:
    """Delete linked rows."""
    table = linked(spec)()
    return lambda: int((table & spec["restriction"]).delete(prompt=False))


def delete_unlinked(spec: dict[str, Any]) -> Action:
    """Delete the same rows of a table that is not linked."""
    table = plain(spec["local"], spec["copy_schema"], spec["name"])
    return lambda: int((table & spec["restriction"]).delete(prompt=False))


def fetch_and_insert(spec: dict[str, Any]) -> Action:
    """What one does with DataJoint alone."""
    source = plain(spec["source"], spec["source_schema"], spec["name"])
    local = plain(spec["local"], spec["copy_schema"], spec["name"])

    def copy() -> int:
        local.insert((source & spec["restriction"]).to_dicts(), chunk_size=5000)
        return len(local)

    return copy


def refresh(spec: dict[str, Any]) -> Action:
    """Bring the local rows up to date."""
    source = linked(spec)().source
    return lambda: int(source.refresh().refreshed)


def pull_pipeline(spec: dict[str, Any]) -> Action:
    """Pull of *big* what is selected with all that it stands on, or see that there is nothing new."""
    lab = pipeline(spec)
    if spec.get("opened"):
        lab.pull(*selected({**spec, "restriction": "1 = 0"}, lab))

    def pull_selected() -> int:
        result = lab.pull(*selected(spec, lab))
        return int(result.pulled + result.part_rows)

    return pull_selected


def plan_pipeline(spec: dict[str, Any]) -> Action:
    """Plan the pull of the same."""
    lab = pipeline(spec)
    return lambda: int(lab.plan(*selected(spec, lab)).rows)


def pull_wide(spec: dict[str, Any]) -> Action:
    """Pull the last table of *wide* with all that it stands on; it is opened as well."""
    lab = pipeline(spec)

    def pull_last() -> int:
        return int(lab.pull(getattr(lab.source[list(spec["theirs"].values())[-1]], spec["last"])).pulled)

    return pull_last


class ClosedError(Exception):
    """All is held that is to be."""


def close_pipeline(spec: dict[str, Any]) -> Action:
    """Hold what is selected of *big* with all that it stands on, and go no further."""
    from link.work import following, gather

    lab = pipeline(spec)
    lab.pull(*selected({**spec, "restriction": "1 = 0"}, lab))
    held = list[int]()

    def stop(closed: following.Following) -> None:
        held.extend(closed.in_hand.values())
        raise ClosedError

    def hold() -> int:
        # What comes next is not measured: neither copies, nor letting go of what was not copied.
        closed: Any = following.Following
        gathering: Any = gather._Gathering
        closed.meet, gathering._let_go_of_all = stop, lambda _: None
        try:
            lab.pull(*selected(spec, lab))
        except ClosedError:
            return sum(held)
        raise RuntimeError("nothing was to be held")

    return hold


def pull_each(spec: dict[str, Any]) -> Action:
    """Pull every table of *big* by a link of its own, into a schema without foreign keys."""
    linking = []
    for table in big.TABLES:
        names = (spec["theirs"][table.schema], spec["helper_schema"], f"{table.name.lower()}_outbound", spec["single"])
        linking.append((decorator(spec, names), table.name))

    def pull_all() -> int:
        results = [decorate(type(name, (), {})).source.pull() for decorate, name in linking]
        return sum(int(result.pulled + result.part_rows) for result in results)

    return pull_all


def trace(spec: dict[str, Any]) -> Action:
    """What one does with DataJoint alone: its trace upwards, each table of that fetched and inserted."""
    source, local = instance(spec["source"]), instance(spec["local"])
    classes: dict[str, Any] = {}
    source.Schema(spec["theirs"]["ephys"], create_schema=False).make_classes(into=classes)
    big.declare(local, spec["ours"])
    ours = {spec["theirs"][schema]: spec["ours"][schema] for schema in big.SCHEMAS}

    def copy() -> int:
        count = 0
        for table in dj.Diagram.trace(classes["Psth"] & spec["restriction"]):
            name = table.full_table_name.replace(table.database, ours[table.database], 1)
            rows = table.to_dicts()
            dj.FreeTable(local.connection, name).insert(rows, chunk_size=5000)
            count += len(rows)
        return count

    return copy


def pipeline(spec: dict[str, Any]) -> Any:
    """The pipeline; it connects when it is used."""
    from link import Pipeline

    host, options = address(spec)
    schemas = {schema: spec["ours"][name] for name, schema in spec["theirs"].items()}
    return Pipeline(host, schemas=schemas, helper_schema=spec["helper_schema"], **options)


def selected(spec: dict[str, Any], lab: Any) -> list[Any]:
    """Some of the last table, or the modules of all of them."""
    theirs = [lab.source[spec["theirs"][schema]] for schema in big.SCHEMAS]
    return [theirs[-1].Psth & spec["restriction"]] if "restriction" in spec else theirs


def linked(spec: dict[str, Any]) -> Any:
    """The linked class; its tables are declared already or now."""
    names = [spec[name] for name in ("source_schema", "helper_schema", "helper_table", "local_schema")]
    table = decorator(spec, names)(type(spec["name"], (), {}))
    _ = table().source
    return table


def decorator(spec: dict[str, Any], names: Sequence[str]) -> Any:
    """What links a class to a table; the names are those of the source's schema and so on."""
    from link import link

    host, options = address(spec)
    stores = options["connection"].config.stores
    return link(host, *names, **options, stores={"theirs": "ours"} if stores else None)


def address(spec: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What links and pipelines are told of the two servers."""
    os.environ |= {"LINK_USER": spec["source"]["user"], "LINK_PASS": spec["source"]["password"]}
    local = instance(spec["local"])
    local.config.stores = spec.get("stores", {})
    host = f"{spec['source']['host']}:{spec['source']['port']}"
    return host, {"backend": spec["source"]["backend"], "connection": local, "use_tls": False}


def plain(address: dict[str, Any], schema: str, name: str) -> Any:
    """A table as DataJoint alone sees it."""
    classes: dict[str, Any] = {}
    instance(address).Schema(schema, create_schema=False).make_classes(into=classes)
    return classes[name]()


def instance(address: dict[str, Any]) -> dj.Instance:
    """A DataJoint instance of an account on a server."""
    return dj.Instance(**address, use_tls=False, safemode=False)


def peak_bytes() -> int:
    """The largest resident size of this process."""
    status = Path("/proc/self/status")
    if status.exists():  # unlike ru_maxrss, this begins anew with the program
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


OPERATIONS: dict[str, Callable[[dict[str, Any]], Action]] = {
    "pull": pull,
    "pull_pipeline": pull_pipeline,
    "plan_pipeline": plan_pipeline,
    "close_pipeline": close_pipeline,
    "pull_wide": pull_wide,
    "pull_each": pull_each,
    "trace": trace,
    "adopt": adopt,
    "refresh": refresh,
    "verify": verify,
    "delete": delete,
    "delete_unlinked": delete_unlinked,
    "fetch_and_insert": fetch_and_insert,
}


def main() -> None:
    """Get ready, wait for the word, act, report."""
    spec = json.loads(sys.argv[1])
    action = OPERATIONS[spec["do"]](spec)
    say = sys.stdout.write
    say("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    started, cpu = time.perf_counter(), time.process_time()
    rows = action()
    report = {
        "seconds": time.perf_counter() - started,
        "client": time.process_time() - cpu,
        "rows": rows,
        "peak_bytes": peak_bytes(),
    }
    say(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
