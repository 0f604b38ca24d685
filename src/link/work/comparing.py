"""Comparing both ends: which keys are here, and whether the rows of some entities are the same on both servers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ..files import objects
from ..files.columns import FileColumn, file_columns
from ..lazy import cached_property
from ..model.keys import WIDE
from ..model.kinds import Kind
from ..model.mapping import TablePair
from ..model.ranges import ALL, EVERYTHING, Key, Range, Selection, Sql
from ..model.schema import Table, part_class
from ..model.states import FLAGGED, HELD, SHARED, Condition
from ..servers.keyed import Keyed, Segment, batches
from ..servers.session import Session
from .run import Run

T = TypeVar("T")
U = TypeVar("U")

#: Up to so many keys are looked up one by one rather than by a checksum over the tables.
FEW = 20_000
_ZERO = Decimal(0)
#: Why rows are refused that have arrived as something else.
OTHERWISE = "the local table holds it otherwise than the source's: see alter() of the linked table, or triggers here"


class Looked(NamedTuple):
    """What one look at some shared entities has found: those that are not named are equal.

    Attributes
    ----------
    entities : int
        How many were looked at.
    differing : list of Key
        Those that are local, and whose rows are not the same on both servers.
    missing : list of Key
        Those that are not local.
    whole : Range or None
        Where all that is shared in a range differs: the range, and ``differing`` is in the source's order.
    """

    entities: int
    differing: list[Key]
    missing: list[Key]
    whole: Range | None = None


class Comparison:
    """Both ends of a link, compared through the sessions of a run.

    Parameters
    ----------
    run : Run
        Whose sessions are used: ``home`` and ``local``, unless it is said otherwise.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.holds = run.holds
        self.mapping = run.mapping
        #: Whether both servers compute the same digests.
        dialects = run.ends.local.dialect, run.ends.source.dialect
        self.alike = run.mapping.exact and dialects[0].alike(dialects[1])
        self._signed_zero = all(dialect.signed_zero for dialect in dialects)
        signed = all(dialect.signed_zero_in_json for dialect in dialects)
        self._signed_zero_in_json = signed or dialects[0].alike(dialects[1])

    # keys

    def present(self, keys: Sequence[Key]) -> set[Key]:
        """Those of the keys that are local, exactly as they are at the source."""
        return self.run.rows.existing(self.run.local, keys)

    def listed(self, says: Condition, selection: Selection = ALL, within: Range = EVERYTHING) -> Iterator[list[Key]]:
        """The keys of the helper rows of a selection that say this, in order and a batch at a time."""
        after = within.after
        while keys := self.holds.saying(says, selection, Range(after, within.upto)).keys(self.run.home, FEW):
            yield keys
            after = keys[-1]

    def by_presence(self, says: Condition, selection: Selection = ALL) -> Iterator[tuple[list[Key], list[Key]]]:
        """The keys of a selection whose helper rows say this, a batch at a time: the local ones, and the others."""
        for keys in self.listed(says, selection):
            present = self.present(keys)
            yield [key for key in keys if key in present], [key for key in keys if key not in present]

    def unheld(self) -> Iterator[list[Key]]:
        """The local keys without a helper row, in order and a batch at a time."""
        after: Key | None = None
        while keys := Segment(self.run.rows, Range(after)).keys(self.run.local, FEW):
            held = self.holds.helper.existing(self.run.home, keys)
            yield [key for key in keys if key not in held]
            after = keys[-1]

    def met(self, selection: Selection) -> Iterator[list[Key]]:
        """The keys of a selection that nobody holds and that are local, in order and a batch at a time.

        Listed is the side that has fewer: what is local, or what nobody holds.
        """
        run, after = self.run, None
        unshared, here = self.holds.unshared(selection), Segment(run.rows)
        few_here = unshared.key_at(run.home, here.count(run.local)) is not None
        while True:
            if few_here:
                keys = replace(here, within=Range(after)).keys(run.local, FEW)
                found = self.holds.rows.existing(run.home, keys, unshared.condition[0])
            else:
                keys = replace(unshared, within=Range(after)).keys(run.home, FEW)
                found = self.present(keys)
            if not keys:
                return
            yield [key for key in keys if key in found]
            after = keys[-1]

    def flagged(self, selection: Selection = ALL) -> list[Key]:
        """The keys of a selection that the source wants deleted and that are local."""
        return [key for here, _ in self.by_presence(FLAGGED, selection) for key in here]

    def vanished(self, selection: Selection) -> list[Key]:
        """The entities of a selection that are held, at rest and not local."""
        return [key for _, gone in self.by_presence(SHARED, selection) for key in gone]

    def still_shared(self, keys: Sequence[Key]) -> set[Key]:
        """Those of the keys whose helper rows are at rest and not flagged."""
        return self.holds.existing(self.run.home, keys, SHARED)

    def may_differ(self, selection: Selection, shared: int) -> bool:
        """Whether the local keys may not be those that are held, as far as counts and checksums tell.

        Of a selection with few ``shared`` entities that is not worth a look at the whole tables.
        """
        if selection and shared <= FEW:
            return True
        run = self.run
        held, here = self.at_once(
            lambda: self.holds.saying(HELD).checksum(run.home, self.alike),
            lambda: Segment(run.rows).checksum(run.local, self.alike),
        )
        return held != here

    # both servers

    def at_once(self, there: Callable[[], T], here: Callable[[], U], source: Session | None = None) -> tuple[T, U]:
        """Ask both servers at the same time, the source from a thread.

        ``source`` is the session by which it is asked, where that is not the run's own.
        """
        with ThreadPoolExecutor(1, "link-comparer") as pool:
            asked = pool.submit(there)
            try:
                answer = here()
                return asked.result(), answer
            except BaseException:
                (source or self.run.home).cancel()  # which the thread waits for
                raise

    # rows

    def looked(self, keys: list[Key]) -> Looked:
        """Look at some shared entities."""
        if self.tells_digests and self._has_same_digests(keys):
            return Looked(len(keys), [], [])
        present = self.present(keys)
        here, gone = [key for key in keys if key in present], [key for key in keys if key not in present]
        return Looked(len(keys), self.differing(here), gone)

    @cached_property
    def tells_digests(self) -> bool:
        """Whether digests of whole rows tell that they are the same."""
        # Such a digest holds where files are, which is another place on each side.
        return self.alike and not any(map(file_columns, self.mapping.source.tables))

    def _has_same_digests(self, keys: Sequence[Key]) -> bool:
        """Whether all of some entities are at both ends, and the same, as far as digests tell."""
        run, number = self.run, len(keys)
        for pair in self.mapping.tables:
            theirs, ours = self.at_once(
                partial(_digest, run.home, pair.there, keys), partial(_digest, run.local, pair.here, keys)
            )
            if theirs != ours or theirs[0] < number:
                return False
            number = 0  # of parts nothing is known
        return True

    def is_same_range(self, within: Range) -> bool:
        """Whether a range has the same rows on both servers, held or not."""
        for pair in self.mapping.tables:
            look = self._digest_of_range if self.tells_digests else self._contents_of_range
            theirs, ours = self.at_once(
                partial(look, self.run.home, pair, within, local=False),
                partial(look, self.run.local, pair, within, local=True),
            )
            if theirs != ours:
                return False
        return True

    def _digest_of_range(self, session: Session, pair: TablePair, within: Range, *, local: bool) -> tuple[int, int]:
        table = pair.here if local else pair.there
        rows = Segment(Keyed(session.dialect, table), within)
        count, digest = session.query(*rows.selecting(f"COUNT(*), {session.dialect.sum_of_digests(table)}"))[0]
        return int(count), int(digest or 0)

    def _contents_of_range(
        self, session: Session, pair: TablePair, within: Range, *, local: bool
    ) -> Counter[tuple[Key, Key]]:
        table = pair.here if local else pair.there
        rows = Keyed(session.dialect, table)
        condition, args = rows.within(within)
        source = f"FROM {rows.name} WHERE {condition}", args
        return self._contents(session, table, source, file_columns(pair.there), local=local)

    def unequal(self, keys: Sequence[Key]) -> list[Key]:
        """Those of some local keys whose rows are not the same on both servers; asked by digests where these tell."""
        return [] if self.tells_digests and self._has_same_digests(keys) else self.differing(keys)

    def differing_columns(self, keys: Sequence[Key]) -> list[str]:
        """The columns in which the rows of some entities differ; of a part, behind its class."""
        found: list[str] = []
        master = self.mapping.source.master
        for pair in self.mapping.tables:
            behind = "" if pair.there.name == master.name else f"{part_class(master.name, pair.there.name)}."
            ours = self._values(self.run.local, pair.here, keys, local=True)
            theirs = self._values(self.run.home, pair.there, keys, local=False)
            if ours.keys() != theirs.keys():
                found.append(f"rows of {behind[:-1]}" if behind else "the key")
            rows = [(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()]
            found += [behind + c for c in pair.there.names if any(a.get(c) != b.get(c) for a, b in rows)]
        return found

    def _values(self, session: Session, table: Table, keys: Sequence[Key], *, local: bool) -> dict[Key, dict[str, Any]]:
        """The rows of some entities, by their own keys: values in a form that is common to both servers."""
        dialect, files = session.dialect, file_columns(table)
        named = [table[column.name] for column in files]
        own = Keyed(dialect, table, [table[name] for name in table.primary_key])
        plain = table.only([name for name in table.names if table[name] not in named])
        selected = [own.selected, *([Keyed(dialect, table, named).selected] if named else [])]
        rows_of, args = Keyed(dialect, table).rows_of(keys)
        rows = session.query(f"SELECT {', '.join([*selected, dialect.comparable(plain, False)])} {rows_of}", args)
        first, side = len(own.key), self.run.ends.routes.side(local)
        found: dict[Key, dict[str, Any]] = {}
        for row in rows:
            values = dict(zip(plain.names, row[first + len(files) :], strict=True))
            found[row[:first]] = {
                **{n: self._comparable(value, plain[n].kind == Kind("json")) for n, value in values.items()},
                **{c.name: objects.identity(c, text, side) for c, text in zip(files, row[first:], strict=False)},
            }
        return found

    def differing(self, keys: Sequence[Key], source: Session | None = None) -> list[Key]:
        """Those of the keys whose rows, parts included, are not the same on both servers.

        ``source`` is another session at the source than the run's own.
        """
        return self._differing(self.mapping.tables, keys, source or self.run.home, local=True)

    def differing_staged(self, staged: Sequence[TablePair], keys: Sequence[Key]) -> list[Key]:
        """Those of the keys whose rows, as they were staged here, are not what the source has."""
        return self._differing(staged, keys, self.run.home, local=False)

    def _differing(self, pairs: Sequence[TablePair], keys: Sequence[Key], source: Session, *, local: bool) -> list[Key]:
        """Compare tables; ``local`` tells whether the rows here name files that are here."""
        different: set[Key] = set()
        for pair in pairs:
            files = file_columns(pair.there)
            for batch in batches(keys):
                here, there = Keyed(self.run.local.dialect, pair.here), Keyed(source.dialect, pair.there)
                theirs, ours = self.at_once(
                    partial(self._contents, source, pair.there, there.rows_of(batch), files, local=False),
                    partial(self._contents, self.run.local, pair.here, here.rows_of(batch), files, local=local),
                    source,
                )
                different |= {key for key, _ in (ours - theirs) + (theirs - ours)}
        # Part rows may write the key in another way than the master's row, and be equal to it under a collation.
        if others := different.difference(keys):
            different -= others
            different |= self.holds.rows.equal(source, list(others)).intersection(keys)
        return sorted(different)

    def _contents(
        self, session: Session, table: Table, rows_of: Sql, files: Sequence[FileColumn], *, local: bool
    ) -> Counter[tuple[Key, Key]]:
        """Rows, from FROM onward: their keys, and all values, or a digest where the ends are alike.

        What names files is told by what does not change with their place.
        """
        dialect, first = session.dialect, len(table.entity_key)
        keyed, named = Keyed(dialect, table), [table[column.name] for column in files]
        plain = table.only([name for name in table.names if table[name] not in named])
        selected = [keyed.selected, *([Keyed(dialect, table, named).selected] if named else [])]
        comparable = dialect.comparable(plain, self.alike)
        rows = session.query(f"SELECT {', '.join([*selected, comparable])} {rows_of[0]}", rows_of[1])
        decode = [plain[name].kind == Kind("json") for name in plain.names] if not self.alike else [False]
        side, second = self.run.ends.routes.side(local), first + len(files)
        found = Counter[tuple[Key, Key]]()
        for row in rows:
            identities = (objects.identity(c, text, side) for c, text in zip(files, row[first:second], strict=True))
            values = map(self._comparable, row[second:], decode)
            found[row[:first], (*identities, *values)] += 1
        return found

    def _comparable(self, value: Any, is_json: bool) -> Any:
        # JSON that means the same is not written the same everywhere, and NaN is not equal to itself.
        if is_json and value is not None:
            return repr(_meant(json.loads(value, parse_int=_integer, parse_float=self._number)))
        if isinstance(value, float):
            return repr(value if self._signed_zero else value + 0.0)
        return value

    def _number(self, digits: str) -> Decimal | bytes:
        try:
            number = Decimal(digits)
        except InvalidOperation:
            return digits.encode()  # MariaDB keeps numbers of any size, as they are written
        return number if number or self._signed_zero_in_json else _ZERO


def _digest(session: Session, table: Table, keys: Sequence[Key]) -> tuple[int, int]:
    """Number of rows of some entities in one table, and a digest of them; only where both ends are alike."""
    count, digest = 0, 0
    for batch in batches(keys):
        rows, args = Keyed(session.dialect, table).rows_of(batch)
        row = session.query(f"SELECT COUNT(*), {session.dialect.sum_of_digests(table)} {rows}", args)[0]
        count, digest = count + int(row[0]), digest + int(row[1] or 0)
    return count, digest


def _integer(digits: str) -> Decimal:
    # JSON may have -0, which is 0 once it is an integer.
    return Decimal(digits) or _ZERO


def _meant(document: Any) -> Any:
    """What JSON means, with nothing in it that could be taken for something else: numbers alone are bytes."""
    if isinstance(document, dict):
        return {key: _meant(document[key]) for key in sorted(document)}
    if isinstance(document, list):
        return [_meant(item) for item in document]
    if not isinstance(document, Decimal):
        return document
    return str(document.normalize(WIDE)).encode()
