"""Rows that are local and not held: the same ones are held and not copied, others are what `conflicts=` says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import datajoint as dj
import pytest
from buckets import Buckets
from filing import Stores, fetched, fill, recordings
from lab import Lab
from pipelines import assert_same, count_held, declare, granted, helper_rows, linked, units
from recorder import Statement

from link import ConfigError, ConflictError, State, TransferError
from link.work import careful, claims, loader, parallel

NUMBER = 12
#: Edited at the source since they came here: a value, a part row, both, a part row gone.
EDITS = (
    "UPDATE {t} SET note = 'edited' WHERE item = 2",
    "UPDATE {t}__piece SET size = 7 WHERE item = 3 AND piece = 1",
    "UPDATE {t} SET depth = NULL WHERE item = 5",
    "DELETE FROM {t}__piece WHERE item = 5 AND piece = 0",
    "DELETE FROM {t}__piece WHERE item = 7",
)
CONFLICTS = [{"item": n} for n in (2, 3, 5, 7)]


def items(lab: Lab) -> Any:
    class Item(dj.Manual):
        definition = "item: int32\n---\nnote: varchar(20)\ndepth=null: float64"

        class Piece(dj.Part):
            definition = "-> master\npiece: int32\n---\nsize: int32"

    table = declare(lab, Item)
    table.insert({"item": n, "note": f"note {n}", "depth": n / 7} for n in range(NUMBER))
    table.Piece.insert({"item": n, "piece": p, "size": n + p} for n in range(NUMBER) for p in range(2))
    return table


def unheld(lab: Lab, **options: Any) -> tuple[Any, Any]:
    """Eight entities are here and not held, four of them other than there; one is shared, one only here."""
    table = items(lab)
    Item = granted(lab, table, **options)
    Item().source.pull("item < 8")
    (Item().source & "item < 8").release(prompt=False)
    Item().source.pull("item = 8")
    lab.source_server.sql(f"DELETE FROM {lab.source_schema}.item__piece WHERE item = 11")
    Item().insert1({"item": 99, "note": "only here", "depth": None})
    for sql in EDITS:
        lab.source_server.sql(sql.format(t=f"{lab.source_schema}.item"))
    return table, Item


def counted(result: Any) -> tuple[Any, ...]:
    return result.pulled, result.shared, result.adopted, result.differing, result.replaced, sum(result.skipped.values())


def local(lab: Lab, number: int = 8) -> Any:
    server, schema = lab.local_server, lab.local_schema
    parts = server.sql(f"SELECT * FROM {schema}.item__piece WHERE item < {number} ORDER BY 1, 2")
    return list(server.sql(f"SELECT * FROM {schema}.item WHERE item < {number} ORDER BY 1")), list(parts)


def test_every_word(mixed: Lab) -> None:
    lab = mixed
    _, Item = unheld(lab, backend=lab.source_server.backend)
    source, before = Item().source, local(lab)
    held = helper_rows(lab)

    for word in ("keep", "raise", "skip", "replace"):
        planned = source.pull(dry_run=True, conflicts=word)
        assert counted(planned) == (3, 1, 4, CONFLICTS, [], 0)
    assert repr(planned) == "would pull 3, already shared 1, adopted 4, differing 4"

    with pytest.raises(ConflictError) as error:
        source.pull(conflicts="raise")
    assert "4 entities" in str(error.value) and "{'item': 2}, {'item': 3}, {'item': 5}, ..." in str(error.value)
    assert "What differs there: note, depth, rows of Piece, Piece.size." in str(error.value)
    assert helper_rows(lab) == held and len(Item()) == 10 and local(lab) == before

    result = source.pull("item < 10", conflicts="skip")
    assert counted(result) == (1, 1, 4, [], [], 4)
    assert result.skipped == {"local with another content": 4}
    assert local(lab) == before and count_held(lab) == 6
    assert source.status()[State.UNHELD] == 4

    # Those that are the same now are no conflict any more.
    lab.source_server.sql(f"UPDATE {lab.source_schema}.item SET note = 'note 2' WHERE item = 2")
    with pytest.raises(ConflictError, match="3 entities"):
        source.pull(conflicts="raise")
    assert counted(source.pull("item <> 3", conflicts="keep"))[1:] == (6, 1, CONFLICTS[2:], [], 0)
    assert local(lab) == before and source.verify().differing == CONFLICTS[2:]

    (source & [*CONFLICTS, {"item": 9}]).release(prompt=False)
    result = source.pull(conflicts="replace")
    assert (result.adopted, result.replaced, result.differing) == (2, CONFLICTS[1:], [])
    assert source.verify() and source.status()[State.SHARED] == NUMBER
    assert source.status()[State.LOCAL_ONLY] == 1
    assert local(lab, 99)[0] == list(lab.source_server.sql(f"SELECT * FROM {lab.source_schema}.item ORDER BY 1"))
    assert source.pull(conflicts="raise").shared == NUMBER


def test_words(either: Lab) -> None:
    """A wrong one is refused; by either interface."""
    _, Item = unheld(either)
    with pytest.raises(ConfigError, match=r"'ignore'.*(\n.*)*'keep'.*'raise'.*'skip'.*'replace'"):
        Item.source.pull(conflicts="ignore")
    with pytest.raises(ConflictError):
        Item.source.pull(conflicts="raise", max_calls=1)
    assert counted(Item.source.pull(conflicts="skip")) == (3, 1, 4, [], [], 4)
    # Without a word.
    assert counted(Item.source.pull()) == (0, 8, 0, CONFLICTS, [], 0)


def test_the_word_of_the_decorator(lab: Lab) -> None:
    _, Item = unheld(lab, conflicts="raise")
    with pytest.raises(ConflictError):
        Item.source.pull()
    # A repair holds again, and replaces nothing.
    assert Item.source.repair(dry_run=False).pulled.differing == CONFLICTS
    assert Item.source.pull().pulled == 3
    with pytest.raises(ConfigError, match="'never'"):
        linked(lab, "Other", conflicts="never")


@pytest.mark.parametrize("word", ["keep", "raise", "skip", "replace"])
def test_several_workers(lab: Lab, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "FEWEST", 3)
    _, Item = unheld(lab)
    if word == "raise":
        with pytest.raises(ConflictError):
            Item.source.pull(processes=2, conflicts=word)
        assert count_held(lab) == 1
        return
    result = Item.source.pull(processes=2, conflicts=word)
    assert (result.pulled, result.shared, result.adopted) == (3, 1, 4)
    assert sorted(key["item"] for key in [*result.differing, *result.replaced]) == [2, 3, 5, 7] * (word != "skip")
    assert bool(result.replaced) == (word == "replace") and sum(result.skipped.values()) == 4 * (word == "skip")


def test_made_here_meanwhile(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that comes between the look and the copy is met with the same word."""
    monkeypatch.setattr(claims, "FIRST_CHUNK_ROWS", 4)
    Item = granted(lab, items(lab))
    Item()
    load, made = loader.Loader._load, list[int]()

    def meanwhile(self: Any, here: Any, blocks: Any, reading: Any) -> int:
        for n in made:
            Item.insert1({"item": n, "note": "made here", "depth": None})
        made.clear()
        return load(self, here, blocks, reading)

    monkeypatch.setattr(loader.Loader, "_load", meanwhile)
    made[:] = [2, 3]
    with pytest.raises(ConflictError, match="2 entities"):
        Item.source.pull("item < 5", conflicts="raise")
    status = Item.source.status()
    assert (status[State.UNHELD], count_held(lab)) == (2, status[State.SHARED])
    made[:] = [6, 7]
    result = Item.source.pull("item < 8", conflicts="skip")
    assert result.skipped == {"local with another content": 4} and result.pulled + result.shared == 4
    made[:] = [10]
    result = Item.source.pull(conflicts="replace")
    assert [key["item"] for key in result.replaced] == [2, 3, 6, 7, 10]
    assert Item.source.verify() and len(Item()) == NUMBER


def test_replaced_ones_that_are_refused(lab: Lab) -> None:
    """They are held as they are, and named."""
    _, Item = unheld(lab)
    schema = lab.local.Schema(f"{lab.prefix}_analysis")

    class Comment(dj.Manual):
        definition = "-> Item.Piece\n---\ntext: varchar(20)"

    comment: Any = schema(Comment, context={"Item": Item})
    comment.insert1({"item": 7, "piece": 0, "text": "good"})
    with pytest.raises(TransferError, match="It is held"):
        Item.source.pull("item = 7", conflicts="replace")
    Item.source.release("item = 7", prompt=False)
    result = Item.source.pull(conflicts="replace", suppress_errors=True)
    assert [key["item"] for key in result.replaced] == [2, 3, 5]
    assert [key["item"] for key, _ in result.errors] == [7]
    assert Item.source.verify().differing == [{"item": 7}] and count_held(lab) == NUMBER


def test_many_equal_rows_are_not_copied(lab: Lab, statements: list[Statement], monkeypatch: pytest.MonkeyPatch) -> None:
    """By few statements, none of which reads rows; beside one that differs, and some that are new."""
    number = 30_000
    table = units(lab, number)
    Unit = granted(lab, table)
    Unit.source.pull("unit < 29000")
    Unit.source.release(prompt=False)
    statements.clear()
    result = Unit.source.pull(conflicts="raise")
    assert (result.pulled, result.adopted, result.shared) == (1000, 29_000, 0)
    read = [s.sql for s in statements if s.port == lab.local_server.port and s.sql.lstrip().startswith("INSERT")]
    assert len(statements) < 250 and sum(map(len, read)) < 200_000
    assert_same(lab, table)

    # Few of a selection are shared: nothing is looked at until one is met, and the next ones then.
    (Unit.source & "unit < 29500").release(prompt=False)
    lab.source_server.sql(f"UPDATE {table.full_table_name} SET depth = -1 WHERE unit = 20000")
    load, refused = careful.CarefulLoader.load, list[Any]()

    def counting(self: Any, chunk: Any, batch: Any) -> int:
        refused.append(chunk)
        return load(self, chunk, batch)

    monkeypatch.setattr(careful.CarefulLoader, "load", counting)
    result = Unit.source.pull("unit >= 0")
    assert (result.pulled, result.adopted, result.shared) == (0, 29_499, 500)
    assert result.differing == [{"unit": 20_000}]
    assert 0 < len(refused) < 4
    assert Unit.source.status()[State.SHARED] == number


def test_nothing_is_looked_at_without_need(lab: Lab, statements: list[Statement]) -> None:
    """Where all that is local is held: one look at the first pull, the checksums that a pull makes anyway after it."""
    Unit = granted(lab, units(lab, 100))
    Unit()

    def asked(*selected: str) -> list[str]:
        statements.clear()
        assert Unit.source.pull(*selected, conflicts="raise").pulled
        ours = [s.sql for s in statements if (s.port, s.user) == (lab.local_server.port, lab.local_user)]
        own = re.compile(r"SELECT.*FROM\W+" + lab.local_schema + r"\W+unit\b", re.S)
        return [sql for sql in ours if own.search(sql)]

    first = asked("unit < 60")
    assert len(first) == 1 and "LIMIT 1" in first[0]
    second = asked()
    assert len(second) == 1 and "COUNT(*)" in second[0]


def test_a_file_that_differs(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    Stores(lab, tmp_path, buckets, "file", "file")
    table = recordings(lab)
    fill(lab, table, tmp_path)
    Recording = granted(lab, table, stores={"theirs": "ours"})
    Recording.source.pull()
    Recording.source.release(prompt=False)
    lab.source_server.sql(f"UPDATE {lab.source_schema}.recording SET note = 'edited', movie = NULL WHERE recording = 1")
    with pytest.raises(ConflictError, match=r"1 entities.*What differs there: note, movie"):
        Recording.source.pull(conflicts="raise")
    result = Recording.source.pull(conflicts="replace")
    assert (result.adopted, [key["recording"] for key in result.replaced], result.pulled) == (3, [1], 0)
    assert fetched(Recording) == fetched(table) and Recording.source.verify()
