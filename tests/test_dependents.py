"""What became stale: local rows that depend on refreshed entities are told, and those that can be made anew deleted."""

from __future__ import annotations

import builtins
import logging
import pickle
from contextlib import closing, suppress
from typing import Any

import datajoint as dj
import pytest
from lab import Lab
from pipelines import contents, declare, granted
from recorder import Statement

from link import LinkError, TransferError
from link.errors import ConfigError
from link.servers import keyed
from link.work import dependents


class Analysis:
    """A linked table with a part, `number` rows of it pulled, and what a lab has made of them, over three levels."""

    Depth: Any
    Quality: Any
    Cluster: Any
    Pair: Any
    Rate: Any
    Summary: Any

    def __init__(self, lab: Lab, number: int = 14) -> None:
        self.lab = lab

        class Probe(dj.Manual):
            definition = "probe: int32\n---\nnote=null: varchar(60)"

            class Site(dj.Part):
                definition = "-> master\nsite: int32\n---\nlabel: varchar(10)"

        theirs = declare(lab, Probe)
        theirs.insert({"probe": n, "note": f"note {n}"} for n in range(number))
        theirs.Site.insert({"probe": n, "site": site, "label": "x"} for n in range(number) for site in range(3))
        self.Probe = granted(lab, theirs)
        self.Probe.source.pull()
        self.context: dict[str, Any] = {"Probe": self.Probe}
        self.schemas: list[Any] = [lab.local.Schema(f"{lab.prefix}_{name}") for name in ("the-first", "second")]

        class Depth(dj.Computed):
            definition = "-> Probe\n---\ntwice: float64"

        class Quality(dj.Imported):
            definition = "-> Probe.Site"

        class Cluster(dj.Computed):
            definition = "cluster: int32"

            class Member(dj.Part):
                definition = "-> master\nmember: int32\n---\n-> Probe.Site"

        class Pair(dj.Computed):
            definition = "-> Probe.proj(a='probe')\n-> Probe.proj(b='probe')"

        class Note(dj.Manual):
            definition = "note: int32\n---\n-> [nullable] Probe"

        class Remark(dj.Manual):
            definition = "-> Depth"

        class Opinion(dj.Manual):
            definition = "-> Cluster.Member"

        class Rate(dj.Computed):
            definition = "-> Depth\nrate: int32"

            class Bin(dj.Part):
                definition = "-> master\nbin: int32"

        class Summary(dj.Computed):
            definition = "-> Rate.proj(first='probe')"

        class ClusterStat(dj.Computed):
            definition = "-> Cluster"

        class NoteStat(dj.Computed):
            definition = "-> Note"

        first: tuple[Any, ...] = (Depth, Quality, Cluster, Pair, Note, Remark, Opinion)
        second: tuple[Any, ...] = (Rate, Summary, ClusterStat, NoteStat)
        for schema, tables in enumerate((first, second)):
            for table in tables:
                self.declare(table, schema)
        few = range(10)
        self.fill("Depth", ({"probe": n, "twice": 2 * n} for n in few))
        self.fill("Quality", ({"probe": n, "site": site} for n in few for site in (0, 2)))
        members = {10: (1, 8), 11: (8, 9), 12: (3, 3), 13: (2, 9)}
        self.fill("Cluster", ({"cluster": n} for n in members))
        self.Cluster.Member.insert(
            {"cluster": n, "member": m, "probe": probe, "site": m}
            for n, of in members.items()
            for m, probe in enumerate(of)
        )
        self.fill("Pair", ({"a": a, "b": b} for a, b in ((1, 8), (8, 2), (8, 9), (1, 2))))
        self.fill("Note", ({"note": n, "probe": n if n else None} for n in few))
        self.fill("Rate", ({"probe": n, "rate": r} for n in few for r in range(2)))
        self.Rate.Bin.insert({"probe": n, "rate": r, "bin": b} for n in few for r in range(2) for b in range(2))
        self.fill("Summary", ({"first": n, "rate": 0} for n in few))
        self.fill("ClusterStat", ({"cluster": n} for n in members))
        self.fill("NoteStat", ({"note": n} for n in few))

    def declare(self, table: Any, schema: int) -> None:
        made = self.schemas[schema](table, context=self.context)
        self.context[table.__name__] = made
        setattr(self, table.__name__, made)

    def fill(self, name: str, rows: Any) -> None:
        getattr(self, name).insert(rows, allow_direct_insert=True)

    def edit(self, *statements: str) -> None:
        """Run SQL at the source, with `{t}` for the master's full name."""
        for sql in statements:
            self.lab.source_server.sql(sql.format(t=f"{self.lab.source_schema}.probe"))

    def keys(self, table: Any, restriction: Any = ()) -> set[tuple[Any, ...]]:
        """The keys of a table's rows, of those of a restriction if one is given."""
        query = table() & restriction if restriction != () else table()
        return {tuple(key.values()) for key in query.keys()}  # noqa: SIM118

    def here(self) -> dict[str, list[str]]:
        """All that the local lab has."""
        return contents(self.lab.local_server, self.lab.local_schema, *(schema.database for schema in self.schemas))


#: What depends on the probes 1, 2, 3.
STALE: dict[str, set[tuple[Any, ...]]] = {
    "Depth": {(1,), (2,), (3,)},
    "Quality": {(n, site) for n in (1, 2, 3) for site in (0, 2)},
    "Cluster": {(10,), (12,), (13,)},
    "Cluster.Member": {(n, member) for n in (10, 12, 13) for member in (0, 1)},
    "Pair": {(1, 8), (8, 2), (1, 2)},
    "Rate": {(n, rate) for n in (1, 2, 3) for rate in (0, 1)},
    "Rate.Bin": {(n, rate, b) for n in (1, 2, 3) for rate in (0, 1) for b in (0, 1)},
    "Summary": {(n, 0) for n in (1, 2, 3)},
    "ClusterStat": {(10,), (12,), (13,)},
    "NoteStat": {(1,), (2,), (3,)},
    "Note": {(1,), (2,), (3,)},
    "Remark": {(2,)},
    "Opinion": {(13, 1)},
}


def table_of(analysis: Analysis, name: str) -> Any:
    found: Any = analysis
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_what_became_stale(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed, "KEYS_PER_STATEMENT", 2)
    monkeypatch.setattr(dependents, "FEW", 2)
    analysis = Analysis(lab)
    analysis.fill("Remark", [{"probe": 2}])
    analysis.fill("Opinion", [{"cluster": 13, "member": 1}])
    analysis.edit(
        "UPDATE {t} SET note = 'new' WHERE probe IN (1, 11)",
        "UPDATE {t}__site SET label = 'new' WHERE probe = 2 AND site = 1",
        "INSERT INTO {t}__site VALUES (3, 7, 'new')",
    )
    planned = analysis.Probe.source.refresh(dry_run=True)
    before = analysis.here()
    result = analysis.Probe.source.refresh()
    assert result.refreshed == planned.refreshed == 4 and not result.deleted
    for told in (planned.dependents, result.dependents):
        found = {name: analysis.keys(table_of(analysis, name), told[table_of(analysis, name)]) for name in STALE}
        assert found == STALE
        assert {name: len(told[table_of(analysis, name)]) for name in STALE} == {n: len(k) for n, k in STALE.items()}
    changed = {name for name, rows in analysis.here().items() if rows != before[name]}
    assert {name.split(".")[1] for name in changed} == {"probe", "probe__site"}

    told = result.dependents
    assert len(told) == len(STALE) and analysis.Depth in told and analysis.Pair.full_table_name in told
    # What can be made anew is told first, what depends on others behind these.
    order = list(told)
    manual = {table_of(analysis, name).full_table_name for name in ("Note", "Remark", "Opinion")}
    assert set(order[-3:]) == manual
    assert order.index(analysis.Depth.full_table_name) < order.index(analysis.Summary.full_table_name)
    line = next(line for line in repr(told).splitlines() if analysis.Pair.full_table_name in line)
    assert line.split()[1:] == ["computed", "3"]
    monkeypatch.setattr("link.model.dependents.MOST_KEYS", 5)
    with pytest.raises(LinkError, match="6 keys"):
        analysis.Quality & told[analysis.Quality]
    assert [len(batch) for batch in told[analysis.Quality].batches(4)] == [4, 2]
    with pytest.raises(KeyError):
        told["nothing"]
    sent: Any = pickle.loads(pickle.dumps(result))
    assert sent.keys == result.keys
    with pytest.raises(LinkError, match="where the result was made"):
        len(sent.dependents)
    equal = analysis.Probe.source.refresh().dependents
    assert (
        not equal and repr(equal) == "no dependents" and analysis.keys(analysis.Depth, equal[analysis.Depth]) == set()
    )


@pytest.mark.parametrize("kind", ["mysql", "mariadb"], indirect=True)
def test_no_limit_of_the_user_s_session_hides_what_became_stale(lab: Lab) -> None:
    """What depends on what is read through DataJoint's connection, which is the user's own, and stays as it was."""
    analysis = Analysis(lab)
    analysis.edit("UPDATE {t} SET note = 'new' WHERE probe = 1")
    told = analysis.Probe.source.refresh(dry_run=True).dependents.to_dict()
    lab.local.connection.query("SET SESSION sql_select_limit = 2")
    assert analysis.Probe.source.refresh(dry_run=True).dependents.to_dict() == told
    assert lab.local.connection.query("SELECT @@sql_select_limit").fetchone()[0] == 2
    lab.local.connection.query("SET SESSION sql_select_limit = DEFAULT")


@pytest.mark.parametrize("processes", [1, 2])
def test_what_became_stale_by_a_pull_that_replaces(lab: Lab, processes: int) -> None:
    """What was brought to the source's content by a pull has dependents as by a refresh."""
    analysis = Analysis(lab)
    analysis.Probe.source.release(prompt=False)
    analysis.edit("UPDATE {t} SET note = 'new' WHERE probe IN (1, 11)")
    kept = analysis.Probe.source.pull(conflicts="keep", processes=processes)
    assert len(kept.differing) == 2 and not kept.dependents and kept.to_dict()["dependents"] == {}
    analysis.Probe.source.release(prompt=False)
    result = analysis.Probe.source.pull(conflicts="replace", processes=processes)
    assert sorted(key["probe"] for key in result.replaced) == [1, 11]
    assert analysis.keys(analysis.Depth, result.dependents[analysis.Depth]) == {
        key for key in analysis.keys(analysis.Depth) if key[0] in (1, 11)
    }
    assert analysis.keys(analysis.Depth, result.dependents[analysis.Depth])
    told = result.to_dict()["dependents"]
    assert {name: each["rows"] for name, each in told.items()} == {
        n: len(rows) for n, rows in result.dependents.items()
    }


def test_what_can_be_made_anew_is_deleted(lab: Lab, statements: list[Statement]) -> None:
    analysis = Analysis(lab)
    analysis.fill("Remark", [{"probe": 2}])
    analysis.fill("Opinion", [{"cluster": 13, "member": 1}])
    site = lab.local.Schema(f"{lab.prefix}_third")

    class Word(dj.Manual):
        definition = "-> Probe.Site\n---\nword: varchar(10)"

    word: Any = site(Word, context=analysis.context)
    word.insert1({"probe": 4, "site": 1, "word": "good"})
    analysis.edit(
        "UPDATE {t} SET note = 'new' WHERE probe IN (1, 4)",
        "UPDATE {t}__site SET label = 'new' WHERE probe = 2 AND site = 1",
        # To one a computed part row refers and an imported one, to the other a manual row.
        "DELETE FROM {t}__site WHERE probe = 3 AND site = 0",
        "DELETE FROM {t}__site WHERE probe = 4 AND site = 1",
    )
    before = {name: analysis.keys(table_of(analysis, name)) for name in STALE}
    with pytest.raises(ConfigError, match="dependents"):
        analysis.Probe.source.refresh(dependents="drop")
    with pytest.raises(TransferError, match="refer to them"):
        analysis.Probe.source.refresh("probe = 3")
    assert analysis.Probe.source.refresh(dry_run=True, dependents="delete").refreshed == 4
    assert {name: analysis.keys(table_of(analysis, name)) for name in STALE} == before

    statements.clear()
    result = analysis.Probe.source.refresh(dependents="delete", suppress_errors=True)
    assert sorted(key["probe"] for key in result.keys) == [1, 2, 3]
    assert [key["probe"] for key, _ in result.refused] == [4]
    stays: dict[str, set[tuple[Any, ...]]] = {
        "Depth": {(2,)},
        "Cluster": {(13,)},
        "Cluster.Member": {(13, 0), (13, 1)},
        "Note": STALE["Note"],
        "Remark": STALE["Remark"],
        "Opinion": STALE["Opinion"],
    }
    after = {name: analysis.keys(table_of(analysis, name)) for name in STALE}
    assert after == {name: before[name] - (STALE[name] - stays.get(name, set())) for name in STALE}
    deleted = {table_of(analysis, n).full_table_name: len(STALE[n] - stays.get(n, set())) for n in STALE}
    assert result.deleted == {name: number for name, number in deleted.items() if number}
    assert f"deleted {sum(deleted.values())} dependent rows" in repr(result)
    # What has stayed is told; and of the refused entity all is as it was.
    told = {
        name: analysis.keys(table_of(analysis, name), result.dependents[table_of(analysis, name)]) for name in STALE
    }
    assert told == {name: stays.get(name, set()) for name in STALE}
    assert (analysis.Probe & "probe = 4").fetch1("note") == "note 4"
    assert analysis.Probe.source.verify().differing == [{"probe": 4}]
    # Nothing of it at the source.
    there = [s.sql for s in statements if (s.port, s.user) == (lab.source_server.port, lab.link_user)]
    assert there and not [sql for sql in there if sql.startswith("DELETE")]


def test_what_another_link_has_brought(lab: Lab) -> None:
    """Rows of a linked table are their source's: they are not told, and stay, and keep what they refer to."""
    analysis = Analysis(lab)

    class Unit(dj.Manual):
        definition = "unit: int32"

    class Derived(dj.Computed):
        definition = "derived: int32"

    lab.helper_table = "other_outbound"
    theirs = declare(lab, Unit)
    theirs.insert({"unit": n} for n in range(5))
    linked_unit = granted(lab, theirs)
    linked_unit.source.pull()
    lab.helper_table = "outbound"
    table = f"{lab.local_schema}.unit"
    quoted = analysis.Depth.full_table_name
    lab.local_server.sql(f"ALTER TABLE {table} ADD FOREIGN KEY (unit) REFERENCES {quoted} (probe)")

    class UnitStat(dj.Computed):
        definition = "-> Unit"

    analysis.context["Unit"] = linked_unit
    analysis.declare(UnitStat, 0)
    analysis.fill("UnitStat", ({"unit": n} for n in range(5)))
    analysis.edit("UPDATE {t} SET note = 'new' WHERE probe IN (3, 7)")
    told = analysis.Probe.source.refresh(dry_run=True).dependents
    assert linked_unit not in told and analysis.keys(
        table_of(analysis, "UnitStat"), told[analysis.context["UnitStat"]]
    ) == {(3,)}
    result = analysis.Probe.source.refresh(dependents="delete", processes=2)
    assert result.refreshed == 2 and result.deleted[analysis.Depth.full_table_name] == 1
    assert analysis.keys(analysis.Depth, result.dependents[analysis.Depth]) == {(3,)}
    assert analysis.keys(analysis.Depth) == {(n,) for n in range(10) if n != 7}
    assert len(linked_unit()) == 5
    assert analysis.keys(table_of(analysis, "UnitStat")) == {(0,), (1,), (2,), (4,)}


def test_one_prompt(lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    analysis = Analysis(lab)
    analysis.edit("UPDATE {t} SET note = 'new' WHERE probe IN (5, 12)")
    lab.local.config.safemode = True
    asked: list[str] = []
    answers = iter(["no", "yes"])

    def answer(prompt: str = "") -> str:
        asked.append(prompt)
        # What is edited from here on was not asked about.
        analysis.edit("UPDATE {t} SET note = 'newer' WHERE probe = 6")
        return next(answers)

    monkeypatch.setattr(builtins, "input", answer)
    before = analysis.here()
    with caplog.at_level(logging.INFO, logger="datajoint"):
        result = analysis.Probe.source.refresh("probe <> 6", dependents="delete")
        assert (result.refreshed, result.deleted, len(asked)) == (0, {}, 1)
        assert analysis.here() == before
        assert f"{analysis.Depth.full_table_name} (1 tuples)" in caplog.messages
        assert f"{table_of(analysis, 'Rate.Bin').full_table_name} (4 tuples)" in caplog.messages
        analysis.edit("UPDATE {t} SET note = 'note 6' WHERE probe = 6")
        result = analysis.Probe.source.refresh(dependents="delete")
    assert (result.refreshed, result.skipped, len(asked)) == (2, {"edited since you were asked": 1}, 2)
    assert analysis.keys(analysis.Depth) == {(n,) for n in range(10) if n != 5}
    # Nobody is asked where nothing would be deleted.
    lab.local_server.sql(f"DELETE FROM {table_of(analysis, 'Summary').full_table_name}")
    analysis.edit("UPDATE {t} SET note = 'newest' WHERE probe = 12")
    assert analysis.Probe.source.refresh("probe = 12", dependents="delete").refreshed == 1
    assert len(asked) == 2


def test_interrupted_at_any_statement(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """No computed row stands beside newer content, and none is gone beside the older."""
    analysis = Analysis(lab)
    with closing(analysis.Probe.source._link.connect_local().open()) as session:
        kind: Any = type(session)
    execute, here = kind.execute, f":{lab.local_server.port}"
    sent: list[str] = []
    at = [0]

    def interrupted(self: Any, sql: str, args: Any = ()) -> int:
        if not self.address.endswith(here):
            return int(execute(self, sql, args))
        sent.append(sql)
        if len(sent) == at[0] and at[0] % 2:
            raise KeyboardInterrupt
        changed = int(execute(self, sql, args))
        if len(sent) == at[0]:
            raise KeyboardInterrupt
        return changed

    analysis.edit("UPDATE {t} SET note = 'new' WHERE probe = 8")
    monkeypatch.setattr(kind, "execute", interrupted)
    analysis.Probe.source.refresh(dependents="delete")
    old = {(n,) for n in range(10) if n != 8}
    assert analysis.keys(analysis.Depth) == old
    last = len(sent)
    assert sum("~stale" in sql for sql in sent) > 20
    analysis.edit("UPDATE {t} SET note = 'new' WHERE probe IN (1, 2)")
    for at[0] in (*range(1, last - 8, 11), *range(last - 8, last + 9)):
        sent.clear()
        with suppress(KeyboardInterrupt):
            analysis.Probe.source.refresh("probe < 8", dependents="delete")
        new = analysis.keys(analysis.Probe, "note = 'new' AND probe < 8")
        assert new in (set(), {(1,), (2,)})
        assert analysis.keys(analysis.Depth) == old - new
        if new:
            break
    monkeypatch.setattr(kind, "execute", execute)
    assert new and "COMMIT" in sent[-3:]
    assert analysis.Probe.source.verify()
