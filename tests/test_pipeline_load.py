"""Many processes pull what stands on the same, and delete it, while flags come and go: then everything converges."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack, suppress

import psycopg2
import pymysql
import pytest
from children import counted
from diamond import Name, Servers, made
from figures import SOAK, Figures
from lab import Lab
from pipeline_loader import work
from pipelines import wait_until
from test_load import repeatedly

from link.model.states import REST

SUBJECTS, PROCESSES, SECONDS = (60, 8, 120) if SOAK else (20, 4, 12)
#: What each process does at least.
OPERATIONS = 8


class Watcher:
    """Looks whether something is here that is not held."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.seen = set[Name]()
        self._suspects = set[Name]()

    def look(self) -> int:
        """Look once; what was held, gone and released between two statements of this is not here at the next look."""
        before, local, after = self.servers.helper_rows(), self.servers.local_names(), self.servers.helper_rows()
        found = local - before.keys() - after.keys()
        self.seen |= found & self._suspects
        self._suspects = found
        return 1


@pytest.mark.timeout(1800 if SOAK else 300)
def test_load(lab: Lab, figures: Figures) -> None:
    with ExitStack() as stack:
        servers = Servers(lab, stack)
        entities = made(SUBJECTS)
        servers.put(False, entities)
        everything = servers.lab_a.source[servers.theirs["second"]].D
        servers.lab_a.pull(everything & f"a < {SUBJECTS // 2}")
        chance, flagger, watcher = random.Random(0), servers.beside(stack), Watcher(servers.beside(stack))

        def change_flag() -> int:
            with suppress(pymysql.MySQLError, psycopg2.Error):  # they have to try again after a deadlock
                flagger.flag(chance.choice(list(entities)), chance.random() < 0.5)
            return 1

        with repeatedly(0.1, change_flag) as flags, repeatedly(0.05, watcher.look) as looks:
            counts = load(servers)
        assert not watcher.seen
        assert not [what for what in counts if what.startswith(("unexpected", "error"))], counts
        assert counts["operations"] > PROCESSES and counts["pulled"] and counts["deleted"], counts
        converge(servers)
        for what in ("operations", "pulled", "deleted"):
            figures.add(f"load of a pipeline, {what}", lab.kind, counts[what])
        figures.add("load of a pipeline, changes of flags", lab.kind, flags["sum"])
        figures.add("load of a pipeline, looks at what is held", lab.kind, looks["sum"])


def load(servers: Servers) -> Counter[str]:
    """What the processes have done together."""
    lab = servers.lab
    order = {
        "host": f"{lab.source_server.host}:{lab.source_server.port}",
        "pipeline": {"schemas": servers.schemas, "helper_schema": lab.helper_schema},
        "local": {
            "host": lab.local_server.host,
            "port": lab.local_server.port,
            "user": lab.local_user,
            "password": lab.local_password,
            "backend": lab.local_server.backend,
        },
        "subjects": SUBJECTS,
        "seconds": SECONDS,
        "operations": OPERATIONS,
    }
    return counted(work, order, PROCESSES)


def converge(servers: Servers) -> None:
    """Take back all flags and pull everything: all that is at the source is here, equal, and at rest."""
    entities, lab_a = servers.source_entities(), servers.lab_a
    for name in entities:
        servers.flag(name, False)
    modules = [lab_a.source[schema] for schema in servers.theirs.values()]
    # The servers may need a moment to notice that the processes have gone.
    wait_until(lambda: not lab_a.pull(*modules).pulled and len(servers.local_names()) == len(entities), 60)
    servers.check_safety()
    assert servers.local_entities() == entities
    assert servers.helper_rows() == dict.fromkeys(entities, REST)
    assert lab_a.verify()
