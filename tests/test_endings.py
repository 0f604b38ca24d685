"""What runs at the source when the client is gone, or has given up: nothing that keeps its own lab waiting."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import datajoint as dj
import pytest
from children import CHILDREN, accounts
from figures import Figures
from lab import Lab
from pipelines import count_held, granted, units
from recorder import Statement

from link import LinkError, link
from link.servers import settings
from link.servers.site import LONGEST_QUERY

#: A restriction that looks at each row for a second.
SLOWLY = {"mysql": "SLEEP(1) = 0", "mariadb": "SLEEP(1) = 0", "postgresql": "pg_sleep(1) IS NOT NULL"}
#: How long the source's own lab waits for a lock, in the tests: much less than what is selected would take.
SECONDS = 45


def pull_slowly(names: tuple[str, ...], local: tuple[Any, ...], given: dict[str, str], kind: str, killed: bool) -> None:
    """What the child does."""
    os.environ.update(given)
    if killed:  # an hour is too long for a test
        for name in ("MYSQL", "MARIADB"):
            bounds = {"max_execution_time": "2000", "max_statement_time": "2"}
            hurried = [s._replace(value=bounds.get(s.name, s.value)) for s in getattr(settings, name)]
            setattr(settings, name, hurried)
    host, port, user, password, backend = local
    instance = dj.Instance(host, user, password, port=port, use_tls=False, backend=backend, safemode=False)
    unit: Any = link(*names, connection=instance, use_tls=False)(type("Unit", (), {}))
    (unit().source & SLOWLY[kind]).pull()


def slow_statements(lab: Lab) -> int:
    """How many statements of the link user's are looking at rows."""
    if lab.kind == "postgresql":
        query = "SELECT COUNT(*) FROM pg_stat_activity WHERE usename = %s AND state = 'active' AND query ILIKE %s"
    else:
        query = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s AND info LIKE %s"
    return int(lab.source_server.sql(query, lab.link_user, "%sleep(1)%")[0][0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_the_source_is_free_soon_after_the_client_has_gone(lab: Lab, number: signal.Signals, figures: Figures) -> None:
    """In the middle of a long statement: the source's own lab alters the table, and waits for no one."""
    table = units(lab, 200)
    unit = granted(lab, table)
    assert len(unit()) == 0
    names = (
        f"{lab.source_server.host}:{lab.source_server.port}",
        *(lab.source_schema, lab.helper_schema, lab.helper_table, lab.local_schema),
    )
    server = lab.local_server
    local = (server.host, server.port, lab.local_user, lab.local_password, server.backend)
    arguments = (names, local, accounts(), lab.kind, number == signal.SIGKILL)
    child: Any = CHILDREN.Process(target=pull_slowly, args=arguments)
    child.start()
    try:
        deadline = time.monotonic() + 60
        while not slow_statements(lab):
            assert child.is_alive() and time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(child.pid, number)
        child.join(60)
        assert child.exitcode
        patience = "lock_timeout = '{}s'" if lab.kind == "postgresql" else "SESSION lock_wait_timeout = {}"
        with lab.source_server.cursor("alter") as cursor:
            cursor.execute(f"SET {patience.format(SECONDS)}")
            cursor.execute(f"ALTER TABLE {table.full_table_name} ADD COLUMN extra int")
    finally:
        child.kill()
        child.join()
    assert slow_statements(lab) == 0
    assert count_held(lab) == 0
    figures.add("clients killed or interrupted in a long statement at the source", lab.kind)


def test_long_lists_of_keys_are_never_one_statement(lab: Lab, statements: list[Statement]) -> None:
    """A pull takes them all the same, in batches: no statement is long."""
    table = units(lab, 30)
    unit = granted(lab, table)
    keys = [{"unit": n} for n in range(60_000)]
    assert len(unit().source & keys[:1000]) == 30
    statements.clear()
    named_otherwise = [key | {"unknown": 1} if n else key for n, key in enumerate(keys)]
    uses: dict[str, list[Callable[[], object]]] = {
        "A list with 60,000 keys does not restrict": [
            lambda: (unit().source - keys).status(),
            lambda: (unit().source - keys).to_dicts(),
            lambda: unit().source & [{"depth": n / 7.0} for n in range(60_000)],
        ],
        "characters is not sent": [lambda: (unit().source & [f"unit = {n}" for n in range(60_000)]).to_dicts()],
    }
    for said, several in uses.items():
        for use in several:
            with pytest.raises(LinkError, match=said):
                use()
    assert count_held(lab) == 0
    assert (unit().source & named_otherwise[:20_000]).pull(dry_run=True).pulled == 30
    result = unit().source.pull(keys)
    assert (result.pulled, result.shared) == (30, 0)
    assert max((len(statement.sql) for statement in statements), default=0) < LONGEST_QUERY


def test_a_browser_that_was_left_alone_is_taken_up_again(lab: Lab) -> None:
    """Servers end sessions that rest; the next look at the source connects anew, and is prepared as the first was."""
    table = units(lab, 12)
    unit = granted(lab, table)
    if lab.kind == "postgresql":
        lab.source_server.sql(f"ALTER ROLE {lab.link_user} SET idle_session_timeout = '1s'")
        lab.source_server.sql(f"ALTER ROLE {lab.link_user} SET extra_float_digits = -9")
    else:
        lab.source_server.sql("SET GLOBAL init_connect = 'SET SESSION wait_timeout = 1, sql_select_limit = 5'")
    try:
        expected = table.to_dicts(order_by="unit")
        assert unit.source.to_dicts(order_by="unit") == expected
        time.sleep(1.5)
        assert len(unit.source) == 12
        time.sleep(1.5)
        assert unit.source.to_dicts(order_by="unit") == expected
    finally:
        if lab.kind != "postgresql":
            lab.source_server.sql("SET GLOBAL init_connect = ''")
