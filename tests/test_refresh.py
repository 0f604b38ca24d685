"""`refresh` brings shared entities that were edited to the source's content, in place, and touches nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

import datajoint as dj
import numpy as np
import pytest
from buckets import Buckets
from filing import Stores, backend, change, fetched, fill, insert, path_in, recordings
from lab import Lab
from pipelines import declare, flag, granted, helper_rows, linked, run_sql, units
from recorder import Statement

from link import ConfigError, LinkError, PrivilegeError, TransferError
from link.work import claims, comparing, parallel, refresher, sweeping

#: How a part's rows are edited at the source: set of statements by what they do; `{t}` is the master's full name.
EDITS = {
    "value": "UPDATE {t} SET note = 'corrected' WHERE probe = 1",
    "to NULL": "UPDATE {t} SET note = NULL WHERE probe = 2",
    "from NULL": "UPDATE {t} SET note = '' WHERE probe = 0",
    "unicode": "UPDATE {t} SET note = 'Ünïcödé %s \\' WHERE probe = 3",
    "number": "UPDATE {t} SET depth = 0.1 WHERE probe = 4",
    "JSON": """UPDATE {t} SET facts = '{{"a": [1, 2.5, null]}}' WHERE probe = 5""",
    "part row changed": "UPDATE {t}__site SET label = 'B' WHERE probe = 6 AND site = 1",
    "part row removed": "DELETE FROM {t}__site WHERE probe = 7 AND site = 0",
    "all part rows removed": "DELETE FROM {t}__site WHERE probe = 8",
    "part row added": "INSERT INTO {t}__site VALUES (9, 7, 'new')",
    "key of a part changed": "UPDATE {t}__site SET site = 5 WHERE probe = 10 AND site = 2",
    "part and master": "UPDATE {t} SET depth = NULL WHERE probe = 11",
}


def probes(lab: Lab, number: int = 14) -> Any:
    class Probe(dj.Manual):
        definition = """
        probe: int32
        ---
        note=null: varchar(60)
        depth=null: float64
        facts=null: json
        wave=null: <blob>
        """

        class Site(dj.Part):
            definition = """
            -> master
            site: int32
            ---
            label: varchar(10)
            """

    table = declare(lab, Probe)
    for n in range(number):
        note = None if n == 0 else f"note {n}"
        table.insert1({"probe": n, "note": note, "depth": n / 7, "facts": {"n": n}, "wave": np.arange(n)})
        table.Site.insert({"probe": n, "site": site, "label": f"site {site}"} for site in range(3))
    return table


def edit(lab: Lab, *statements: str) -> None:
    """Run SQL at the source, with `{t}` for the master's full name."""
    for sql in statements:
        text = sql.format(t=f"{lab.source_schema}.probe")
        lab.source_server.sql(text if lab.kind == "postgresql" else text.replace("\\", "\\\\"))


def is_same(lab: Lab, linked: Any) -> bool:
    """Whether both sides have the same, by `verify` and by looking."""
    ours, theirs = (source.proj("note", "depth").to_dicts(order_by="KEY") for source in (linked(), linked().source))
    part = "SELECT probe, site, label FROM {}.probe__site ORDER BY 1, 2"
    sites = [
        list(server.sql(part.format(schema)))
        for server, schema in ((lab.local_server, lab.local_schema), (lab.source_server, lab.source_schema))
    ]
    return bool(linked().source.verify()) and ours == theirs and sites[0] == sites[1]


def test_every_kind_of_edit(mixed: Lab, statements: list[Statement]) -> None:
    lab = mixed
    theirs = probes(lab)
    Probe = granted(lab, theirs, backend=lab.source_server.backend)
    assert Probe().source.pull().pulled == 14
    assert repr(Probe().source.refresh()).startswith("refreshed 0 of 14")

    edit(lab, *EDITS.values())
    theirs.update1({"probe": 12, "wave": np.linspace(0, 1, 100)})
    keys = [{"probe": n} for n in range(13)]
    planned = Probe().source.refresh(dry_run=True)
    assert (planned.keys, planned.refreshed, planned.equal) == (keys, 13, 1)
    assert len(Probe().source.verify().differing) == 13
    held = helper_rows(lab)

    statements.clear()
    result = Probe().source.refresh()
    sent = [s.sql for s in statements if (s.port, s.user) == (lab.source_server.port, lab.link_user)]
    assert (result.keys, result.refreshed, result.equal, result.refused) == (keys, 13, 1, [])
    assert is_same(lab, Probe)
    # Nothing was written at the source but the time.
    written = [sql for sql in sent if re.match(r"\s*(INSERT|UPDATE|DELETE|CREATE|ALTER|DROP)", sql)]
    assert (
        len(written) == 1 and written[0].startswith("UPDATE") and " SET _refreshed = CURRENT_TIMESTAMP, " in written[0]
    )
    assert helper_rows(lab) == held
    assert Probe().source.status()["Shared"] == 14
    assert repr(Probe().source.refresh()).startswith("refreshed 0 of 14")


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("every", [False, True], ids=["some", "all"])
@pytest.mark.parametrize("event", ["INSERT", "DELETE"])
def test_a_local_trigger_that_leaves_part_rows_as_they_are(
    lab: Lab, event: str, every: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entity is not refreshed until the local server has just its part rows, all of them."""
    monkeypatch.setattr(comparing, "FEW", 32)  # so that a range differs throughout before the last one
    Probe = granted(lab, probes(lab, 40))
    Probe.source.pull()
    changes = {
        "INSERT": "INSERT INTO {t}__site VALUES (39, 7, 'new')",
        "DELETE": "DELETE FROM {t}__site WHERE probe = 39",
    }
    edit(lab, changes[event], *(["UPDATE {t} SET note = 'edited'"] if every else []))
    part, schema = f"{lab.local_schema}.probe__site", lab.local_schema
    run_sql(
        lab.local_server,
        [
            f"CREATE FUNCTION {schema}.lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            f"CREATE TRIGGER lose BEFORE {event} ON {part} FOR EACH ROW EXECUTE FUNCTION {schema}.lose()",
        ],
    )
    with pytest.raises(TransferError, match=r"took \d+ of \d+ rows of .*probe__site; nothing of them (.|\s)*trigger"):
        Probe.source.refresh()
    assert Probe.source.verify().differing[-1] == {"probe": 39}
    run_sql(lab.local_server, [f"DROP TRIGGER lose ON {part}"])
    assert Probe.source.refresh().keys[-1] == {"probe": 39}
    assert is_same(lab, Probe)


@pytest.mark.parametrize("every", [False, True], ids=["some", "all"])
@pytest.mark.parametrize("table", ["probe", "probe__site"])
def test_a_local_trigger_that_keeps_or_changes_values(
    lab: Lab, table: str, every: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the local server has made of a row is no refreshed row: it stays as it was, and that is told."""
    monkeypatch.setattr(comparing, "FEW", 32)
    Probe = granted(lab, probes(lab, 40))
    Probe.source.pull()
    edit(lab, f"UPDATE {{t}} SET note = 'edited'{'' if every else ' WHERE probe = 39'}")
    edit(lab, "UPDATE {t}__site SET label = 'edited' WHERE probe = 39 AND site = 1")
    schema = lab.local_schema
    column = "note" if table == "probe" else "label"
    if lab.kind == "postgresql":
        trigger = [
            f"CREATE FUNCTION {schema}.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
            f"CREATE TRIGGER keep BEFORE UPDATE ON {schema}.{table} FOR EACH ROW EXECUTE FUNCTION {schema}.keep()",
        ]
        drop = f"DROP TRIGGER keep ON {schema}.{table}"
    else:
        changed = f"CONCAT(NEW.{column}, '!')"
        trigger = [
            f"CREATE TRIGGER {schema}.keep BEFORE UPDATE ON {schema}.{table} FOR EACH ROW SET NEW.{column} = {changed}"
        ]
        drop = f"DROP TRIGGER {schema}.keep"
    run_sql(lab.local_server, trigger)
    told = rf"took \d+ of \d+ rows of {schema}.{table}; nothing of them (.|\s)*trigger"
    with pytest.raises(TransferError, match=told):
        Probe.source.refresh()
    assert Probe.source.verify().differing[-1] == {"probe": 39}
    assert (Probe & "probe = 39").fetch1("note") == "note 39"
    assert (Probe.Site & "probe = 39" & "site = 1").fetch1("label") == "site 1"
    run_sql(lab.local_server, [drop])
    assert Probe.source.refresh().keys[-1] == {"probe": 39}
    assert is_same(lab, Probe)


def test_of_a_selection_and_of_what_is_shared(lab: Lab) -> None:
    Probe = granted(lab, probes(lab))
    Probe.source.pull("probe < 10")
    edit(lab, "UPDATE {t} SET note = 'new'")
    flag(lab, "probe = 1")
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.probe__site WHERE probe = 2")
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.probe WHERE probe = 2")
    assert (Probe.source & "probe = 3").refresh().refreshed == 1
    assert (Probe & {"probe": 3}).fetch1("note") == "new"
    assert (Probe & {"probe": 4}).fetch1("note") == "note 4"
    with pytest.raises(LinkError, match="probe"):
        Probe.source.refresh({"prob": 3})
    result = Probe.source.refresh()
    assert (result.refreshed, result.equal) == (7, 1)
    assert result.skipped == {"flagged for deletion by the source": 1, "gone here": 1}
    assert (Probe & {"probe": 1}).fetch1("note") == "note 1"
    assert len(Probe()) == 9
    # What was edited here becomes what the source has.
    Probe.update1({"probe": 5, "note": "mine"})
    assert Probe.source.refresh().keys == [{"probe": 5}]
    assert (Probe & {"probe": 5}).fetch1("note") == "new"


def test_what_was_edited_here(lab: Lab) -> None:
    """As far as notes tell: of `update1`, kept with its transaction, and until the row is another one."""
    Probe = granted(lab, probes(lab))
    Probe.source.pull()
    theirs = f"{lab.source_schema}.probe"

    def edited() -> list[int]:
        return [key["probe"] for key in Probe.source.refresh(dry_run=True).edited_here]

    def note(probe: int, text: str) -> None:
        Probe.update1({"probe": probe, "note": text})

    lab.source_server.sql(f"UPDATE {theirs} SET note = 'theirs' WHERE probe IN (1, 2)")
    assert edited() == []
    note(1, "100% mine, 'quoted'")
    with pytest.raises(ZeroDivisionError), Probe.connection.transaction:
        note(2, "never")
        raise ZeroDivisionError
    with Probe.connection.transaction:
        note(3, "mine")
        note(4, "first")
        note(4, "mine")
    note(5, "mine")
    lab.local_server.sql(f"UPDATE {lab.local_schema}.probe SET note = 'by SQL' WHERE probe IN (5, 6)")
    with pytest.raises(dj.DataJointError, match="one existing entry"):
        note(99, "nobody")
    result = Probe.source.refresh(dry_run=True)
    assert [key["probe"] for key in result.keys] == [1, 2, 3, 4, 5, 6]
    assert edited() == [1, 3, 4]
    assert "would refresh 6 of" in repr(result) and "edited here 3" in repr(result)
    # The same row, refreshed, and deleted and pulled again; then edited at the source.
    Probe.source.refresh("probe = 1")
    (Probe & "probe = 3").delete(prompt=False)
    Probe.source.pull()
    lab.source_server.sql(f"UPDATE {theirs} SET note = 'anew' WHERE probe IN (1, 3)")
    assert edited() == [4]
    # Where nobody lets notes be kept, edits go on.
    name = '"~link_edited"' if lab.local_kind == "postgresql" else "`~link_edited`"
    lab.local_server.sql(f"DROP TABLE {lab.local_schema}.{name}")
    note(1, "mine again")
    with Probe.connection.transaction:
        note(3, "mine again")
    if lab.local_kind == "postgresql":
        lab.local_server.sql(f"ALTER SCHEMA {lab.local_schema} OWNER TO {lab.local_server.admin_user}")
        lab.local_server.sql(f"GRANT USAGE ON SCHEMA {lab.local_schema} TO {lab.local_user}")
    else:
        lab.local_server.sql(f"REVOKE CREATE ON `{lab.prefix}\\_%`.* FROM {lab.local_user}@'%'")
    linked(lab, "Probe").update1({"probe": 4, "note": "mine again"})
    assert edited() == []
    assert set((Probe & "probe IN (1, 3, 4)").to_arrays("note")) == {"mine again"}


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_time_that_was_edited_here(lab: Lab) -> None:
    class Visit(dj.Manual):
        definition = "visit: int32\n---\nat: datetime"

    table = declare(lab, Visit)
    table.insert1({"visit": 1, "at": "2020-01-01 00:00:00"})
    visit = granted(lab, table)
    visit.source.pull()
    visit.update1({"visit": 1, "at": "2021-01-01 00:00:00"})
    assert visit.source.refresh(dry_run=True).edited_here == [{"visit": 1}]
    assert visit.source.refresh().refreshed == 1
    lab.source_server.sql(f"UPDATE {lab.source_schema}.visit SET at = '2022-01-01 00:00:00'")
    assert visit.source.refresh(dry_run=True).edited_here == []


def with_dependents(lab: Lab) -> tuple[Any, Any, Any]:
    """The linked table; local tables below it, and below its part."""
    Probe = granted(lab, probes(lab))
    Probe.source.pull()
    schema = lab.local.Schema(f"{lab.prefix}_analysis")

    class Depth(dj.Manual):
        definition = "-> Probe\n---\ntwice: float64"

    class Comment(dj.Manual):
        definition = "-> Probe.Site\n---\ntext: varchar(20)"

    depth: Any = schema(Depth, context={"Probe": Probe})
    comment: Any = schema(Comment, context={"Probe": Probe})
    depth.insert({"probe": n, "twice": n} for n in range(14))
    comment.insert({"probe": n, "site": 0, "text": "good"} for n in range(14))
    return Probe, depth, comment


def test_what_refers_to_the_rows_stays(lab: Lab) -> None:
    Probe, Depth, Comment = with_dependents(lab)
    edit(
        lab,
        "UPDATE {t} SET note = 'new'",
        "UPDATE {t}__site SET label = 'new'",
        "DELETE FROM {t}__site WHERE probe = 7 AND site = 0",
        "UPDATE {t}__site SET site = 9 WHERE probe = 8 AND site = 0",
        "DELETE FROM {t}__site WHERE probe = 9 AND site = 1",
    )
    before = Depth().to_dicts(order_by="KEY"), Comment().to_dicts(order_by="KEY")
    result = Probe.source.refresh(suppress_errors=True)
    assert (result.refreshed, result.equal) == (12, 0)
    assert [key for key, _ in result.refused] == [{"probe": 7}, {"probe": 8}]
    assert repr(result).startswith("refreshed 12 of 14, refused 2, ")
    told = str(result.refused[0][1])
    assert "{'probe': 7}" in told and "probe__site are gone there, and rows here refer to them" in told
    assert (Depth().to_dicts(order_by="KEY"), Comment().to_dicts(order_by="KEY")) == before
    # What was refused is as it was, all of it.
    assert list((Probe & "probe IN (7, 8)").to_arrays("note", order_by="KEY")) == ["note 7", "note 8"]
    assert set((Probe.Site & "probe IN (7, 8)").to_arrays("label")) == {"site 0", "site 1", "site 2"}
    with pytest.raises(TransferError, match="'probe': 7"):
        Probe.source.refresh()
    (Comment & "probe IN (7, 8)").delete(prompt=False)
    assert Probe.source.refresh().refreshed == 2
    assert is_same(lab, Probe)


def test_unique_indexes_here(lab: Lab) -> None:
    """Values that move from one entity to another; those that two have exchanged are refused, and named."""
    Probe = granted(lab, probes(lab))
    Probe.source.pull()
    lab.local_server.sql(f"CREATE UNIQUE INDEX one ON {lab.local_schema}.probe (note)")
    lab.local_server.sql(
        f"CREATE UNIQUE INDEX one ON {lab.local_schema}.probe__site (probe, label)".replace("one", "two")
    )
    edit(
        lab,
        # Each takes what the next one has given up.
        *(f"UPDATE {{t}} SET note = 'note {n + 1}' WHERE probe = {n}" for n in range(1, 5)),
        "UPDATE {t} SET note = 'free' WHERE probe = 5",
        "UPDATE {t} SET note = 'note 11' WHERE probe = 10",
        "UPDATE {t} SET note = 'note 10' WHERE probe = 11",
        "UPDATE {t}__site SET site = site + 3 WHERE probe = 6",
    )
    # And two part rows of one entity, beside another that is edited.
    exchanged = "CASE label WHEN 'site 0' THEN 'site 1' ELSE 'site 0' END"
    lab.source_server.sql(
        f"UPDATE {lab.source_schema}.probe__site SET label = {exchanged} WHERE probe = 9 AND site < 2"
    )
    edit(lab, "UPDATE {t}__site SET label = 'edited' WHERE probe = 9 AND site = 2")
    result = Probe.source.refresh(suppress_errors=True)
    assert [key["probe"] for key, _ in result.refused] == [9, 10, 11]
    assert sorted(key["probe"] for key in result.keys) == [1, 2, 3, 4, 5, 6]
    assert list((Probe & "probe IN (10, 11)").to_arrays("note", order_by="KEY")) == ["note 10", "note 11"]
    assert list((Probe.Site & "probe = 9").to_arrays("label", order_by="KEY")) == ["site 0", "site 1", "site 2"]
    assert all("uplicate" in str(error) for _, error in result.refused)
    assert Probe.source.verify().differing == [{"probe": n} for n in (9, 10, 11)]
    Probe.update1({"probe": 11, "note": "aside"})
    for site in (0, 1):
        Probe.Site.update1({"probe": 9, "site": site, "label": f"aside {site}"})
    assert Probe.source.refresh().refreshed == 3
    assert is_same(lab, Probe)


def test_new_columns_are_filled(lab: Lab) -> None:
    Probe = granted(lab, probes(lab))
    Probe.source.pull("probe < 7")
    edit(lab, "ALTER TABLE {t} ADD COLUMN colour varchar(10) NULL", "UPDATE {t} SET colour = 'red' WHERE probe < 5")
    lab.local_server.sql(f"ALTER TABLE {lab.local_schema}.probe ADD COLUMN _own varchar(10) NULL")
    lab.local_server.sql(f"UPDATE {lab.local_schema}.probe SET _own = 'own'")
    Probe = linked(lab, "Probe")
    Probe().alter(prompt=False)
    result = Probe.source.refresh()
    assert (result.refreshed, result.equal) == (5, 2)
    found = lab.local_server.sql(f"SELECT colour, _own FROM {lab.local_schema}.probe ORDER BY probe")
    assert list(found) == [("red", "own")] * 5 + [(None, "own")] * 2


def test_the_right_to_make_temporary_tables(lab: Lab) -> None:
    Probe = granted(lab, probes(lab))
    Probe.source.pull()
    edit(lab, "UPDATE {t} SET note = 'new'")
    if lab.kind == "postgresql":
        if {"LINK_TEST_SERVERS", "PYTEST_XDIST_WORKER"} <= os.environ.keys():
            pytest.skip("takes a right from everybody, as other tests run on the same server")
        taken, given = (
            "REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC",
            "GRANT TEMPORARY ON DATABASE postgres TO PUBLIC",
        )
    else:
        account, schema = f"{lab.local_user}@'%'", f"`{lab.prefix}\\_%`.*"
        taken = f"REVOKE CREATE TEMPORARY TABLES ON {schema} FROM {account}"
        given = f"GRANT CREATE TEMPORARY TABLES ON {schema} TO {account}"
    lab.local_server.sql(taken)
    try:
        with pytest.raises(PrivilegeError, match="makes temporary tables") as raised:
            Probe.source.refresh()
        assert raised.value.hint
        (statement,) = re.findall(r"GRANT [^;]*", raised.value.hint)
        assert Probe.source.verify().compared == 14
        planned = Probe.source.refresh(dry_run=True)
        with pytest.raises(PrivilegeError, match="temporary tables are made") as raised:
            len(planned.dependents)
        assert statement in str(raised.value.hint)
        lab.local_server.sql(statement)
        assert len(planned.dependents) == 0
        assert Probe.source.refresh().refreshed == 14
    finally:
        lab.local_server.sql(given)


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_keys_that_are_equal_and_not_the_same(lab: Lab) -> None:
    """Under most collations of MySQL 'a' equals 'A'; a part row stays the same row, and refers are kept."""

    class Word(dj.Manual):
        definition = "word: int32"

        class Spelling(dj.Part):
            definition = "-> master\nspelling: varchar(10)\n---\nn: int32"

    theirs = declare(lab, Word)
    theirs.insert1({"word": 1})
    theirs.Spelling.insert([{"word": 1, "spelling": word, "n": 0} for word in ("grau", "Rot", "blau")])
    Word_ = granted(lab, theirs)
    Word_.source.pull()
    edit = f"UPDATE {lab.source_schema}.word__spelling SET spelling = '{{}}', n = {{}} WHERE spelling = '{{}}'"
    lab.source_server.sql(edit.format("GRAU", 0, "grau"))
    lab.source_server.sql(edit.format("rot", 1, "Rot"))
    assert Word_.source.refresh().refreshed == 1
    rows = lab.local_server.sql(f"SELECT CAST(spelling AS BINARY), n FROM {lab.local_schema}.word__spelling ORDER BY 1")
    assert [(bytes(word), n) for word, n in rows] == [(b"GRAU", 0), (b"blau", 0), (b"rot", 1)]
    assert Word_.source.verify()


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_part_rows_that_spell_their_entity_otherwise(lab: Lab) -> None:
    class Word(dj.Manual):
        definition = "word: varchar(10)"

        class Use(dj.Part):
            definition = "-> master\nuse: int32"

        class Note(dj.Part):
            definition = "note: int32\n---\n-> master"

    theirs = declare(lab, Word)
    theirs.insert({"word": word} for word in ("grau", "rot"))
    theirs.Use.insert({"word": word, "use": n} for word in ("grau", "rot") for n in range(2))
    theirs.Note.insert({"word": word, "note": n} for n, word in enumerate(("grau", "rot")))
    Word_ = granted(lab, theirs)
    Word_.source.pull()
    edit = f"UPDATE {lab.source_schema}.word__{{}} SET word = '{{}}' WHERE word = '{{}}'"
    lab.source_server.sql(edit.format("use", "GRAU", "grau") + " AND `use` = 1")
    lab.source_server.sql(edit.format("note", "ROT", "rot"))
    assert Word_.source.verify().differing == [{"word": "grau"}, {"word": "rot"}]
    assert Word_.source.refresh().refreshed == 2
    assert Word_.source.verify()


def test_part_rows_that_move_to_another_entity(lab: Lab) -> None:
    """The key of a part need not have that of its master in it."""

    class Box(dj.Manual):
        definition = "box: int32"

        class Thing(dj.Part):
            definition = "thing: int32\n---\n-> master\nname: varchar(10)"

    theirs = declare(lab, Box)
    theirs.insert({"box": n} for n in range(3))
    theirs.Thing.insert({"thing": n, "box": n, "name": f"thing {n}"} for n in range(3))
    Boxed = granted(lab, theirs)
    Boxed.source.pull()
    lab.source_server.sql(f"UPDATE {lab.source_schema}.box__thing SET box = 1 WHERE thing = 0")
    assert Boxed.source.refresh("box = 1", suppress_errors=True).refused
    assert Boxed.source.refresh().refreshed == 2
    assert Boxed.source.verify()


@pytest.mark.parametrize("place", ["file", "s3"])
def test_files(lab: Lab, place: Literal["file", "s3"], tmp_path: Path, buckets: Buckets) -> None:
    if place == "s3" and lab.kind != "postgresql":
        pytest.skip("the servers have no part in it")
    Stores(lab, tmp_path, buckets, "file", place)
    theirs = recordings(lab)
    fill(lab, theirs, tmp_path)
    Recording = granted(lab, theirs, stores={"theirs": "ours"})
    Recording.source.pull()
    assert Recording.source.refresh().refreshed == 0
    backend(lab.source, "theirs").put_buffer(b"another movie", "movies/mouse 1.avi")
    (tmp_path / "other.csv").write_text("a,b\n100")
    (tmp_path / "other.dat").write_text("y" * 99)
    changes = {
        "result": "corrected",
        "sheet": str(tmp_path / "other.csv"),
        "digest": b"other",
        "raw": str(tmp_path / "other.dat"),
        "wave": np.arange(5),
        "movie": "movies/mouse 1.avi",
    }
    change(theirs, {"recording": 1, "day": "2024-03-02"}, changes)
    change(theirs, {"recording": 2, "day": "2024-03-03"}, {"digest": None})
    change(theirs.Channel, {"recording": 2, "day": "2024-03-03", "channel": 0}, {"trace": np.arange(9)})
    result = Recording.source.refresh()
    assert [key["recording"] for key in result.keys] == [1, 2]
    assert result.files
    assert fetched(Recording) == fetched(theirs)
    assert fetched(Recording.Channel) == fetched(theirs.Channel)
    assert Recording.source.verify()
    # Of a file that is missing the entity is refused, and stays as it was.
    before = fetched(Recording)
    lab.source_server.sql(f"UPDATE {lab.source_schema}.recording SET note = 'new'")
    Path(path_in(lab.source, "theirs", lab.source_server, lab.source_schema, "recording", "movie", 1)).unlink()
    result = Recording.source.refresh(suppress_errors=True)
    assert [key["recording"] for key, _ in result.refused] == [1]
    assert result.refreshed == 3
    assert fetched(Recording)[1] == before[1]


def test_bytes_that_must_not_arrive(lab: Lab, tmp_path: Path) -> None:
    """The source refuses in the middle of what it sends, or the local server what stands for them."""

    class Letter(dj.Manual):
        definition = "letter: int32\n---\ntext: <attach>"

    theirs = declare(lab, Letter)
    (tmp_path / "a.txt").write_text("Dear Sir")
    rows = [{"letter": n, "text": str(tmp_path / "a.txt")} for n in range(40)]
    for row in rows:
        insert(theirs, row)
    Letters = granted(lab, theirs)
    assert Letters.source.pull().pulled == 40
    good, bad = (f"X'{name.encode().hex()}0041'" for name in ("b.txt", "../b.txt"))
    if lab.kind == "postgresql":
        good, bad = (f"'\\x{value[2:-1]}'::bytea" for value in (good, bad))
    lab.source_server.sql(f"UPDATE {lab.source_schema}.letter SET text = {good}")
    lab.source_server.sql(f"UPDATE {lab.source_schema}.letter SET text = {bad} WHERE letter IN (7, 20)")
    result = Letters.source.refresh(suppress_errors=True)
    assert [key for key, _ in result.refused] == [{"letter": 7}, {"letter": 20}]
    assert result.refreshed == 38
    assert "file name" in str(result.refused[0][1])
    assert "Say codecs={'text': 'bytes'} if that is what they are. It is held, and as it was" in str(
        result.refused[0][1]
    )
    names = lab.local_server.sql(f"SELECT letter FROM {lab.local_schema}.letter WHERE text <> {good}")
    assert sorted(n for (n,) in names) == [7, 20]


def test_processes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "FEWEST", 3)
    Probe, _, _ = with_dependents(lab)
    edit(lab, "UPDATE {t} SET note = 'new' WHERE probe < 12", "DELETE FROM {t}__site WHERE probe = 5 AND site = 0")
    lab.local_server.sql(f"DELETE FROM {lab.prefix}_analysis.comment WHERE probe = 13")
    lab.local_server.sql(f"DELETE FROM {lab.prefix}_analysis.depth WHERE probe = 13")
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.probe__site WHERE probe = 13")
    lab.local_server.sql(f"DELETE FROM {lab.local_schema}.probe WHERE probe = 13")
    flag(lab, "probe = 0")
    planned = Probe.source.refresh(dry_run=True, processes=3)
    assert (planned.refreshed, planned.equal) == (11, 1)
    result = Probe.source.refresh(processes=3, suppress_errors=True, display_progress=True)
    assert sorted(key["probe"] for key in result.keys) == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert (result.refreshed, result.equal, [key for key, _ in result.refused]) == (10, 1, [{"probe": 5}])
    assert result.skipped == {"flagged for deletion by the source": 1, "gone here": 1}
    with pytest.raises(TransferError, match="'probe': 5"):
        Probe.source.refresh(processes=3)
    with pytest.raises(ConfigError, match="processes"):
        Probe.source.refresh(processes=0)


def test_a_source_whose_columns_have_become_wider(lab: Lab) -> None:
    """What the local columns would round in silence is refused, and taken after `alter()`."""
    double = "double precision" if lab.kind == "postgresql" else "double"

    class Probe(dj.Manual):
        definition = "probe: int32\n---\ndepth=null: float32"

    theirs = declare(lab, Probe)
    theirs.insert({"probe": n, "depth": n} for n in range(5))
    granted(lab, theirs).source.pull()
    edit(lab, f"ALTER TABLE {{t}} {'ALTER depth TYPE' if lab.kind == 'postgresql' else 'MODIFY depth'} {double}")
    edit(lab, "UPDATE {t} SET depth = 0.1 WHERE probe = 1", "UPDATE {t} SET depth = 0.5 WHERE probe = 2")
    Probed = linked(lab, "Probe")
    result = Probed.source.refresh(suppress_errors=True)
    assert [key for key, _ in result.refused] == [{"probe": 1}]
    assert "alter()" in str(result.refused[0][1])
    assert result.keys == [{"probe": 2}]
    assert list(Probed.to_arrays("depth", order_by="KEY")) == [0, 1, 0.5, 3, 4]
    Probed().alter(prompt=False)
    assert Probed.source.refresh().refreshed == 1
    assert Probed.source.verify()


def test_by_either_interface(either: Lab) -> None:
    """The older one has a `refresh()` of its own, of what the source has requested."""
    lab = either
    theirs = probes(lab)
    Probe = granted(lab, theirs)
    Probe().source.pull()
    edit(lab, "UPDATE {t} SET note = 'new'")
    flag(lab, "probe IN (3, 4)")
    if lab.older:
        Probe().refresh()
        assert len(Probe().DeletionRequested()) == 2
        assert set(Probe().to_arrays("note")) != {"new"}
    result = Probe().source.refresh()
    assert (result.refreshed, result.skipped) == (12, {"flagged for deletion by the source": 2})
    assert (Probe() & "probe = 3").fetch1("note") == "note 3"


def test_interrupted(lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 5)
    Probe = granted(lab, probes(lab))
    Probe.source.pull()
    edit(lab, "UPDATE {t} SET note = 'new'", "UPDATE {t}__site SET label = 'new'")
    replace, calls = refresher.Refresher._replace, list[Any]()

    def interrupted(*args: Any) -> Any:
        deleted = replace(*args)
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return deleted

    with monkeypatch.context() as patched:
        patched.setattr(refresher.Refresher, "_replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Probe.source.refresh()
    assert "stopped after 5 refreshed entities, which stay so" in caplog.text
    assert len(Probe & "note = 'new'") == 5
    assert len(Probe.Site & "label = 'new'") == 15
    assert Probe.source.refresh().refreshed == 9
    assert is_same(lab, Probe)


def test_where_all_differs(lab: Lab, monkeypatch: pytest.MonkeyPatch, statements: list[Statement]) -> None:
    """What follows a range that differs throughout is not looked at; what is equal there, gone, or refused, is seen."""
    monkeypatch.setattr(comparing, "FEW", 32)  # first a range of two
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 9)
    monkeypatch.setattr(claims, "CHUNK_ROWS", 9)
    Probe = granted(lab, probes(lab, 60))
    Probe.source.pull()
    edit(lab, "UPDATE {t} SET note = 'all'", "UPDATE {t}__site SET label = 'all' WHERE site = 1")
    edit(lab, "DELETE FROM {t}__site WHERE site = 2", "INSERT INTO {t}__site SELECT probe, 9, 'new' FROM {t}")
    statements.clear()
    result = Probe.source.refresh()
    assert (result.refreshed, result.equal, result.keys) == (60, 0, [{"probe": n} for n in range(60)])
    assert len([s for s in statements if "GROUP BY" in s.sql]) <= 4
    assert is_same(lab, Probe)
    times = f"SELECT COUNT(_refreshed) FROM {lab.helper_schema}.{lab.helper_table}"
    assert lab.source_server.sql(times) == [(60,)]

    # Equal, gone, flagged, of another than the source, not here, and edited in a part alone.
    edit(lab, "UPDATE {t} SET note = 'again' WHERE probe NOT IN (20, 47)", "DELETE FROM {t}__site WHERE probe = 20")
    here = lab.local_schema
    lab.local_server.sql(f"DELETE FROM {here}.probe__site WHERE probe = 30")
    lab.local_server.sql(f"DELETE FROM {here}.probe WHERE probe = 30")
    Probe.insert1({"probe": 100})
    edit(lab, "INSERT INTO {t} (probe) VALUES (101)")
    flag(lab, "probe = 55")
    result = Probe.source.refresh()
    assert result.keys == [{"probe": n} for n in range(60) if n not in (30, 47, 55)]
    assert (result.refreshed, result.equal) == (57, 1)
    assert result.skipped == {"flagged for deletion by the source": 1, "gone here": 1}
    assert len(Probe & "note = 'again'") == 56 and len(Probe.Site & "probe = 20") == 0

    # One that the local server refuses is the only one that stays.
    edit(lab, "UPDATE {t} SET note = 'once more' WHERE probe < 30", "UPDATE {t} SET note = 'no' WHERE probe = 21")
    lab.local_server.sql(f"ALTER TABLE {here}.probe ADD CONSTRAINT checked CHECK (note <> 'no')")
    result = Probe.source.refresh("probe < 30", suppress_errors=True)
    assert (result.refreshed, [key for key, _ in result.refused]) == (29, [{"probe": 21}])
    assert len(Probe & "note = 'once more'") == 29 and (Probe & {"probe": 21}).fetch1("note") == "again"


def test_where_all_differs_and_something_happens(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted, it goes on the next time; deleted and pulled anew in between, nothing older is put over it."""
    monkeypatch.setattr(comparing, "FEW", 32)
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 9)
    monkeypatch.setattr(claims, "CHUNK_ROWS", 9)
    monkeypatch.setattr(sweeping, "TURN", 0)  # each range is the last of its turn
    Probe = granted(lab, probes(lab, 40))
    Probe.source.pull()
    edit(lab, "UPDATE {t} SET note = 'new'")
    replace, calls = sweeping.Sweep._replace, list[Any]()

    def disturbed(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        if len(calls) == 4:  # as a deletion and a pull would, after an edit
            newer = "UPDATE {}.probe SET note = 'newer' WHERE probe = 17"
            lab.source_server.sql(newer.format(lab.source_schema))
            lab.local_server.sql(newer.format(lab.local_schema))
            table = f"{lab.helper_schema}.{lab.helper_table}"
            lab.source_server.sql(f"UPDATE {table} SET _worker = _worker + 1 WHERE probe = 17")
        replace(*args)

    monkeypatch.setattr(sweeping.Sweep, "_replace", disturbed)
    with pytest.raises(KeyboardInterrupt):
        Probe.source.refresh()
    assert len(Probe & "note = 'new'") == 11  # two that were looked at, and nine
    edit(lab, "UPDATE {t} SET note = 'other'")
    assert Probe.source.refresh().refreshed == 39  # all but the one that is newer
    assert len(calls) > 3 and is_same(lab, Probe)


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_where_all_differs_but_for_the_spelling_of_a_key(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local row whose key is equal, and not the same, is another entity's."""

    class Word(dj.Manual):
        definition = "word: varchar(10)\n---\nn: int32"

    monkeypatch.setattr(comparing, "FEW", 32)
    theirs = declare(lab, Word)
    theirs.insert({"word": f"w{n:02}", "n": n} for n in range(20))
    Word_ = granted(lab, theirs)
    Word_.source.pull()
    lab.source_server.sql(f"UPDATE {lab.source_schema}.word SET n = n + 100")
    lab.local_server.sql(f"UPDATE {lab.local_schema}.word SET word = 'W07' WHERE word = 'w07'")
    result = Word_.source.refresh()
    assert (result.refreshed, result.skipped) == (19, {"gone here": 1})
    assert lab.local_server.sql(f"SELECT n FROM {lab.local_schema}.word WHERE word = 'w07'") == [(7,)]


@pytest.mark.parametrize("make", [units, probes], ids=["alone", "with parts"])
def test_a_row_that_goes_meanwhile(lab: Lab, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    """Between what was read and what is written plain SQL may delete one here: it is not counted as refreshed."""
    table = granted(lab, make(lab, 9))
    table.source.pull()
    name = table.table_name
    lab.source_server.sql(f"UPDATE {lab.source_schema}.{name} SET depth = -1 WHERE {name} < 4")
    rewrite, gone = refresher.Refresher.rewrite, list[int]()

    def deleting(*args: Any) -> None:
        if not gone:
            gone.append(2)
            for part in ["__site"] * (name == "probe") + [""]:
                lab.local_server.sql(f"DELETE FROM {lab.local_schema}.{name}{part} WHERE {name} = 2")
        rewrite(*args)

    monkeypatch.setattr(refresher.Refresher, "rewrite", deleting)
    result = table.source.refresh()
    assert (gone, result.refreshed, result.keys) == ([2], 3, [{name: n} for n in (0, 1, 3)])
    verified = table.source.verify()
    assert (verified.differing, verified.missing) == ([], [{name: 2}])


def test_how_many_statements_it_takes(lab: Lab, monkeypatch: pytest.MonkeyPatch, statements: list[Statement]) -> None:
    """As many for all entities as for one; and no row of those that are equal is sent."""
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 100)
    Probe = granted(lab, probes(lab, 40))
    Probe.source.pull()
    numbers, sent = [], []
    for where in ("probe = 7", "TRUE"):
        edit(lab, f"UPDATE {{t}} SET note = 'edit {where}' WHERE {where}", f"DELETE FROM {{t}}__site WHERE {where}")
        statements.clear()
        result = Probe.source.refresh()
        numbers.append(len(statements))
        sent.append("".join(s.sql for s in statements if s.port == lab.local_server.port))
        assert result.refreshed == (1 if where == "probe = 7" else 40)
    assert numbers[0] <= numbers[1] <= numbers[0] + 2 < 90
    if lab.kind != "postgresql":
        assert sent[0].count("'note 8'") == 0
