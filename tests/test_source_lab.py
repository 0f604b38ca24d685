"""The source lab's own life beside a link: each account, with each version of DataJoint, does what people do there.

What comes of it stands in the tables below, which docs/held-rows.md tells in words. The people are processes with
DataJoint 2.3 or 0.14 (`people.py`), at a source that the same version has made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import ANY

import closures
import pytest
from figures import Figures
from lab import Lab
from linking import quoted
from people import SAID, SHOWN, Answer, Person
from pipelines import linked, rows
from pulling import Checked, grant

from link import State
from link.accounts import Credentials
from link.addresses import Address
from link.admin.grants import member_statements
from link.admin.guard import guard
from link.servers.rights import Access

#: Sessions 0 to 9, each of a subject of its own, but that 1 is of the first one too.
FILL = """[
    Subject.insert({"subject": f"s{n}", "name": f"name {n}"} for n in range(10)),
    Session.insert({"subject": f"s{n * (n > 1)}", "session": n, "note": f"note {n}"} for n in range(10)),
    Session.Trial.insert(
        {"subject": f"s{n * (n > 1)}", "session": n, "trial": trial, "score": n} for n in range(10) for trial in (0, 1)
    ),
    Report.populate("session < 9"),
] and None"""
HELD = (0, 5, 6, 7, 8)


@dataclass(frozen=True)
class Rows:
    """How many rows there are, or by how many there are more; None where the table is gone."""

    subjects: int | None = 0
    sessions: int | None = 0
    trials: int | None = 0
    reports: int | None = 0
    holds: int | None = 0

    def __sub__(self, other: Rows) -> Rows:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Rows(*(None if there is None else there - (was or 0) for there, was in pairs))


SAME = Rows()

#: What anybody does on any day, and what it changes, whoever it is; holds are never among it.
EVERYDAY = {
    """(Session & {"subject": "s0", "session": 1}).delete()""": Rows(0, -1, -2, -1),
    """(Session & "note = 'note 2'").delete()""": Rows(0, -1, -2, -1),
    """(Subject & {"subject": "s3"}).delete()""": Rows(-1, -1, -2, -1),
    """(Subject & "name = 'name 4'").delete()""": Rows(-1, -1, -2, -1),
    """(Report & {"session": 0}).delete()""": Rows(0, 0, 0, -1),
    """(Report & "session = 5").delete()""": Rows(0, 0, 0, -1),
    """Subject.insert1({"subject": "new", "name": "new"})""": Rows(1),
    """Session.insert1({"subject": "new", "session": 10, "note": "new"})""": Rows(0, 1),
    """Session.Trial.insert1({"subject": "new", "session": 10, "trial": 0, "score": 1})""": Rows(0, 0, 1),
    """Session.update1({"subject": "s9", "session": 9, "note": "free"})""": SAME,
    """Session.update1({"subject": "s0", "session": 0, "note": "held"})""": SAME,
    """Report.populate()""": Rows(0, 0, 0, 4),
    """sorted(dj.Diagram(schema).nodes)""": SAME,
    """(dj.Diagram(Subject) + 2 - 1).make_dot().to_string()""": SAME,
    """(dj.Diagram(Session) + 1).make_dot().to_string()""": SAME,
    """Session().children()""": SAME,
    """Session.describe()""": SAME,
    """schema.list_tables()""": SAME,
}
#: What touches held rows, and what goes where it is not refused.
OF_HELD = {
    """(Session & {"subject": "s5", "session": 5}).delete()""": Rows(0, -1, -2, -1, -1),
    """(Session & "note = 'note 6'").delete()""": Rows(0, -1, -2, -1, -1),
    """(Session & "session IN (0, 9)").delete()""": Rows(0, -2, -4, -2, -1),
    """(Subject & {"subject": "s7"}).delete()""": Rows(-1, -1, -2, -1, -1),
    """(Subject & "name = 'name 8'").delete()""": Rows(-1, -1, -2, -1, -1),
}

ADMINISTRATOR = "administrator"
ACTIVATED = "administrator with the helper schema activated"
EVERYTHING = "member with all rights on the source schema"  # on PostgreSQL, the one who owns it
MEMBER = "member"
GUARDED = "administrator with the helper schema activated, beside a guard"
GUARDED_MEMBER = "member with all rights on the source schema, beside a guard"
FLAGGER = "member who may flag, beside a guard"
ACCOUNTS = (ADMINISTRATOR, ACTIVATED, GUARDED, EVERYTHING, GUARDED_MEMBER, MEMBER, FLAGGER)

GONE = "done"
#: What each account hears when it touches held rows; nothing is changed then, or all goes, holds too.
HELD_ROWS = {
    ("2.3", "mysql"): (GONE, GONE, "guard", "unloaded", "unloaded", "unloaded", "guard"),
    ("2.3", "mariadb"): (GONE, GONE, "guard", "blocked", "blocked", "blocked", "guard"),
    ("2.3", "postgresql"): (GONE, GONE, "guard", *["blocked, postgresql"] * 4),
    ("0.14", "mysql"): ("declare", GONE, "guard", "cascading", "cascading", "cascading", "guard"),
    ("0.14", "mariadb"): ("declare", GONE, "guard", "values", "values", "values", "guard"),
}

ALL = Rows(0, None, None, None, None)
PARTS = Rows(0, 0, None, None, 0)
#: Of the tables that refer to the held one, its parts and the helper table are there.
KEPT = Rows(0, 0, 0, ANY, 0)
#: What is heard when a table or a schema with held rows is dropped, and what is gone then, whatever DataJoint it is.
DROPS = {
    (ADMINISTRATOR, "Session.drop()"): {
        "mysql": ("done", ALL),
        "mariadb": ("done", ALL),
        "postgresql": ("done", ALL),
    },
    (ACTIVATED, "schema.drop()"): {
        "mysql": ("drop, mysql", SAME),
        "mariadb": ("drop, mariadb", Rows(None, 0, None, None, 0)),
        "postgresql": ("done", Rows(None, None, None, None, 0)),
    },
    (GUARDED, "Session.drop()"): {
        "mysql": ("guard, mysql", KEPT),
        "mariadb": ("drop, mariadb", KEPT),
        "postgresql": ("guard, postgresql", KEPT),
    },
    (EVERYTHING, "Session.drop()"): {
        "mysql": ("drop, mysql", PARTS),
        "mariadb": ("drop, mariadb", PARTS),
        "postgresql": ("no right", KEPT),  # at the helper table, which it shows to all
    },
    (EVERYTHING, "schema.drop()"): {
        "mysql": ("drop, mysql", PARTS),
        "mariadb": ("drop, mariadb", Rows(None, 0, None, None, 0)),
        "postgresql": ("done", Rows(None, None, None, None, 0)),
    },
    (GUARDED_MEMBER, "Session.drop()"): {
        "mysql": ("guard of parts, mysql", KEPT),
        "mariadb": ("drop, mariadb", KEPT),
        "postgresql": ("no right", KEPT),
    },
    (GUARDED_MEMBER, "schema.drop()"): {
        "mysql": ("drop, mysql", KEPT),
        "mariadb": ("drop, mariadb", Rows(None, 0, 0, None, 0)),
        "postgresql": ("done", Rows(None, None, None, None, 0)),
    },
    (MEMBER, "Session.drop()"): {
        "mysql": ("no right", SAME),
        "mariadb": ("no right", SAME),
        "postgresql": ("no right", SAME),
    },
    (MEMBER, "schema.drop()"): {
        "mysql": ("no right on the schema", SAME),
        "mariadb": ("no right on the schema", SAME),
        "postgresql": ("no right on the schema", SAME),
    },
}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Person]]:
    """Those who have been asked for, by the version of their DataJoint."""
    found: dict[str, Person] = {}
    yield found
    for person in found.values():
        person.leave()


@pytest.fixture
def person(
    version: str,
    people: dict[str, Person],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Person:
    """Somebody with this version of DataJoint."""
    if version not in people:
        if version == "0.14":
            request.getfixturevalue("datajoint_014")
        people[version] = Person(version, tmp_path_factory.mktemp("home"))
    return people[version]


@pytest.fixture
def member(lab: Lab, person: Person) -> tuple[str, str]:
    """An account that the source lab's database had before a link; and the source that this version has made."""
    person.arrive(lab, declare=True)
    assert not person.run(FILL).error
    user, password = f"{lab.prefix}_member", "secret"
    lab.source_server.create_user(user, password)
    return user, password


def link_session(lab: Lab) -> Any:
    """The linked class of that source, some of whose rows are held."""
    lab.helper_table = "session_outbound"
    lab.grant("session")
    Session = linked(lab, "Session", holder="Lab B")
    assert Session.source.pull([{"session": number} for number in HELD]).pulled == len(HELD)
    return Session


def activate(lab: Lab, person: Person, prompt: bool = False) -> None:
    """Begin a session of an administrator with the helper schema activated."""
    person.arrive(lab, helper=lab.helper_schema, prompt=prompt)
    # Version 0.14 makes its log in the helper schema here, without which its cascade stops there, by accident.
    assert not person.run("(SessionOutbound & 'session = 99').delete_quick()").error


def give_all(lab: Lab, user: str) -> None:
    """Give an account all rights on the source schema; on PostgreSQL, the schema."""
    server = lab.source_server
    if lab.kind != "postgresql":
        server.sql(f"GRANT ALL ON `{lab.source_schema}`.* TO {user}@'%'")
        return
    server.sql(f"ALTER SCHEMA {lab.source_schema} OWNER TO {user}")
    for (table,) in server.sql("SELECT tablename FROM pg_tables WHERE schemaname = %s", lab.source_schema):
        server.sql(f"ALTER TABLE {lab.source_schema}.{quoted(server, table)} OWNER TO {user}")


def give(lab: Lab, user: str, flags: bool, helpers: Sequence[str] = ()) -> None:
    """Give an account the rights of who works there, and what `grants --member` prints for it beside a link."""
    server, rights = lab.source_server, "SELECT, INSERT, UPDATE, DELETE, REFERENCES"
    if lab.kind == "postgresql":
        server.sql(f"GRANT USAGE ON SCHEMA {lab.source_schema} TO {user}")
        server.sql(f"GRANT {rights} ON ALL TABLES IN SCHEMA {lab.source_schema} TO {user}")
    else:
        server.sql(f"GRANT {rights} ON `{lab.source_schema}`.* TO {user}@'%'")
    access = Access(
        source_schema=lab.source_schema,
        tables=["session"],
        helper_schema=lab.helper_schema,
        helper_tables=list(helpers or [lab.helper_table]),
    )
    for statement in member_statements(access, lab.source_server.backend, user):
        if flags or not statement.optional:
            server.sql(statement.sql)


def set_guard(lab: Lab) -> None:
    """What `datajoint-link guard --apply` does."""
    server = lab.source_server
    account = Credentials(server.admin_user, server.admin_password)
    address = Address(server.host, server.port, server.backend)
    guard(address, account, lab.helper_schema, user=lab.link_user, apply=True)


def count(lab: Lab) -> Rows:
    """How many rows there are at the source."""
    server = lab.source_server
    names = [(lab.source_schema, name) for name in ("subject", "session", "session__trial", "__report")]
    names.append((lab.helper_schema, lab.helper_table))
    listed = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN (%s, %s)"
    there = set(server.sql(listed, lab.source_schema, lab.helper_schema))
    counts = (
        f"(SELECT COUNT(*) FROM {quoted(server, schema)}.{quoted(server, table)})"
        if (schema, table) in there
        else "NULL"
        for schema, table in names
    )
    return Rows(*server.sql(f"SELECT {', '.join(counts)}")[0])


def documented(lab: Lab, text: str) -> str:
    """A text in the names that the documentation has."""
    text = re.sub("~link_guard_[0-9a-f]{8}", "~link_guard_...", text)
    return text.replace(lab.source_schema, "lab_a").replace(lab.helper_schema, "link_lab_b")


def said(lab: Lab, answer: Answer) -> str:
    """The message that was heard, in the names that the documentation has."""
    first = documented(lab, answer.text).partition("\n")[0]
    # Errors that DataJoint hands on as the driver has them; and those with the server's own words beside its own.
    first = re.sub(r"""^\(\d+, ["'](.*)["']\)$""", r"\1", first)
    return re.sub(r"^\('([^']*)', .*$", r"\1", first)


CASES = [
    pytest.param(kind, version, account, id=f"{kind}-{version}-{account.replace(' ', '_')}")
    for version, kind in HELD_ROWS
    for account in ACCOUNTS
]


@pytest.mark.parametrize(("kind", "version", "account"), CASES, indirect=["kind"])
def test_the_life_of_the_source_goes_on(
    lab: Lab, person: Person, version: str, member: tuple[str, str], account: str, figures: Figures
) -> None:
    if account in (EVERYTHING, GUARDED_MEMBER):
        give_all(lab, member[0])
    source = link_session(lab).source
    if account in (MEMBER, FLAGGER):
        give(lab, member[0], flags=account == FLAGGER)
    if account in (GUARDED, GUARDED_MEMBER, FLAGGER):
        set_guard(lab)
    if account in (ACTIVATED, GUARDED):
        activate(lab, person)
    else:
        person.arrive(lab, *(member if account != ADMINISTRATOR else ()))
    there, tried = count(lab), 0

    def does(code: str, heard: str, changed: Rows) -> None:
        nonlocal there, tried
        answer, before, there = person.run(code), there, count(lab)
        assert (said(lab, answer), there - before) == (SAID[heard], changed), (code, answer)
        tried += 1

    for code, changed in EVERYDAY.items():
        does(code, "done", changed)
    status, verified = source.status(), source.verify()
    assert (status[State.SHARED], status[State.UNSHARED]) == (len(HELD), 2)
    assert (verified.compared, len(verified.differing)) == (len(HELD), 1)  # the one whose note was changed

    outcome = HELD_ROWS[version, lab.kind][ACCOUNTS.index(account)]
    for code, changed in OF_HELD.items():
        does(code, outcome, changed if outcome == GONE else SAME)
    assert source.pull().pulled == source.status()[State.SHARED] - (outcome != GONE) * len(HELD)

    there = count(lab)
    here = rows(lab.local_server, f"{lab.local_schema}.session__trial")
    for (who, code), outcomes in DROPS.items():
        if who == account:
            does(code, *outcomes[lab.kind])
    assert rows(lab.local_server, f"{lab.local_schema}.session__trial") == here
    figures.add("operations of people at the source beside a link, of held rows and others", lab.kind, tried)


#: What is done beside a pipeline of which reports 0 and 5 to 8 were pulled, with the sessions and subjects of these.
BESIDE = {
    """(Report & {"subject": "s0", "session": 1}).delete()""": True,
    """(Session & {"subject": "s0", "session": 1}).delete()""": True,
    """(Session & "note = 'note 2'").delete()""": True,
    """(Subject & {"subject": "s3"}).delete()""": True,
    """(Subject & "name = 'name 4'").delete()""": True,
    """(Subject & "subject = 's9'").delete()""": True,
    """(Report & "session = 5").delete()""": False,
    """(Report & "trials = 2").delete()""": False,
    """(Session & {"subject": "s5", "session": 5}).delete()""": False,
    """(Session & "note = 'note 6'").delete()""": False,
    """(Subject & {"subject": "s7"}).delete()""": False,
    """(Subject & "name = 'name 8'").delete()""": False,
}


@pytest.mark.parametrize("account", [ADMINISTRATOR, MEMBER])
@pytest.mark.parametrize(("kind", "version"), [(kind, version) for version, kind in HELD_ROWS], indirect=["kind"])
def test_the_life_of_the_source_goes_on_beside_a_pipeline(
    lab: Lab, person: Person, version: str, member: tuple[str, str], account: str, figures: Figures
) -> None:
    """What nobody holds can be deleted, by keys and by others; of what is held members delete nothing."""
    grant(lab, [lab.source_schema])
    pulled = Checked(lab, [lab.source_schema])
    pulled.select(lab.source_schema, "Report", f"session IN {HELD}")
    if account == MEMBER:
        helpers = closures.read(lab.source_server, [lab.helper_schema]).rows
        give(lab, member[0], flags=False, helpers=[name for _, name in helpers])
        pulled.select(lab.source_schema, "Report", f"session IN {HELD}")  # which lets in who came after
    person.arrive(lab, *(member if account == MEMBER else ()))
    for code, free in BESIDE.items():
        if account == MEMBER or free:
            before = pulled.read().rows
            answer, after = person.run(code), pulled.read().rows
            assert bool(answer.error) != free, (code, answer)
            assert (after == before) != free, code
            pulled.check(pulled.read())
            figures.add("operations of people at the source beside a link, of held rows and others", lab.kind)


def test_every_message_is_heard_by_somebody() -> None:
    """Docs/held-rows.md quotes them all, and no other."""
    dropped = {heard for outcomes in DROPS.values() for heard, _ in outcomes.values()}
    assert {*SAID} == dropped.union(*HELD_ROWS.values())


VERSIONS = [pytest.param(kind, version, id=f"{kind}-{version}") for version, kind in HELD_ROWS]


@pytest.mark.parametrize(("kind", "version"), VERSIONS, indirect=["kind"])
@pytest.mark.parametrize("guarded", [False, True], ids=["administrator", "member_who_may_flag,_beside_a_guard"])
def test_flagged_rows_go_when_they_are_deprecated(
    lab: Lab, person: Person, version: str, member: tuple[str, str], guarded: bool
) -> None:
    """By each of the ways to flag that there are, and each of the ways to delete what is deprecated."""
    Session = link_session(lab)
    if guarded:
        give(lab, member[0], flags=True)
        set_guard(lab)
    person.arrive(lab, *(member if guarded else ()), helper=lab.helper_schema)

    def does(code: str, heard: str = "done") -> Any:
        answer = person.run(code)
        assert said(lab, answer) == SAID[heard], (code, answer)
        return answer.result

    flag = """SessionOutbound.update1({{"subject": "s{0}", "session": {0}, "is_flagged": "TRUE"}})"""
    does(flag.format(5))
    row = does("(SessionOutbound & 'session = 6').fetch1()")
    before = count(lab)
    if guarded:  # the trigger says so; PostgreSQL does not show her the row for that
        does("(SessionOutbound & 'session = 6').delete_quick()", "done" if lab.kind == "postgresql" else "guard")
        assert count(lab) == before
        does(flag.format(6))
    else:
        does("(SessionOutbound & 'session = 6').delete_quick()")
        does(f"SessionOutbound.insert1({row | {'is_flagged': 'TRUE'}})")
    flagged = Session.source.flagged
    assert [key["session"] for key in flagged] == [5, 6]
    # What is put in anew has no times: it has had others.
    times = "_flagged IS NOT NULL, _pulled IS NOT NULL"
    noted = f"SELECT {times} FROM {lab.helper_schema}.{lab.helper_table} WHERE session IN (5, 6) ORDER BY session"
    assert list(map(tuple, lab.source_server.sql(noted))) == [(True, True), (guarded, guarded)]
    assert (Session & flagged).delete(prompt=False) == 2
    assert does("(SessionOutbound & 'session IN (5, 6)').fetch('is_deprecated').tolist()") == ["TRUE", "TRUE"]

    logs = guarded and version == "0.14"  # it would, but she may not create a table there, and it stumbles afterwards
    for number in (5, 6) if logs else (5,):
        answer = person.run(f"(SessionOutbound & 'session = {number}').delete_quick()")
        assert answer.text == ("'NoneType' object has no attribute 'items'" if logs else "")
        does(f"(Session & 'session = {number}').delete()")
    if not logs:
        does("(Session & 'session = 6').delete()")  # with its helper row
    assert count(lab) - before == Rows(0, -2, -4, -2, -2)
    assert Session.source.status()[State.SHARED] == 3


@pytest.mark.parametrize(
    ("kind", "version"),
    [pytest.param(kind, version, id=f"{kind}-{version}") for version, kind in HELD_ROWS if kind != "postgresql"],
    indirect=["kind"],
)
def test_who_may_look_at_the_helper_table(lab: Lab, person: Person, version: str, member: tuple[str, str]) -> None:
    """Version 0.14 names it then to whom a held row is refused; but version 2.3 deletes nothing any more."""
    link_session(lab)
    give(lab, member[0], flags=False)
    lab.source_server.sql(f"GRANT SELECT ON `{lab.helper_schema}`.`{lab.helper_table}` TO {member[0]}@'%'")
    person.arrive(lab, *member)
    there = count(lab)
    for code in ("(Session & 'session = 5').delete()", "(Subject & 'subject = \"s7\"').delete()"):
        answer = person.run(code)
        assert (answer.error, said(lab, answer)) == ("AccessError", SAID["no right"])
        assert "DELETE command denied" in answer.text
        assert lab.helper_table in answer.text
    assert count(lab) == there
    answer = person.run("(Session & 'session = 2').delete()")
    assert said(lab, answer) == SAID["done" if version == "0.14" else "no right"]
    assert count(lab) - there == (Rows(0, -1, -2, -1) if version == "0.14" else SAME)


@pytest.mark.parametrize(("kind", "version"), VERSIONS, indirect=["kind"])
def test_what_is_shown_before_it_is_done(lab: Lab, person: Person, version: str, member: tuple[str, str]) -> None:
    """The preview names the helper table, of a deletion and of a drop; whoever declines has lost nothing."""
    link_session(lab)
    activate(lab, person, prompt=True)
    before = count(lab)
    for code, asked in (("(Session & 'session = 5').delete()", "Commit deletes?"), ("Session.drop()", "Proceed?")):
        answer = person.run(code)
        assert SHOWN[code] in documented(lab, "\n".join(answer.heard)).replace('"', "`"), answer
        assert [question.partition(" [")[0] for question in answer.asked] == [asked]
        assert count(lab) == before
