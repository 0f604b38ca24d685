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
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def linked(spec: dict[str, Any]) -> Any:
    """The linked class; its tables are declared already or now."""
    from link import link

    os.environ |= {"LINK_USER": spec["source"]["user"], "LINK_PASS": spec["source"]["password"]}
    names = [spec[name] for name in ("source_schema", "helper_schema", "helper_table", "local_schema")]
    host = f"{spec['source']['host']}:{spec['source']['port']}"
    local = instance(spec["local"])
    local.config.stores = spec.get("stores", {})
    options = {"backend": spec["source"]["backend"], "connection": local, "use_tls": False}
    options["stores"] = {"theirs": "ours"} if local.config.stores else None
    table = link(host, *names, **options)(type(spec["name"], (), {}))
    _ = table().source
    return table


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
