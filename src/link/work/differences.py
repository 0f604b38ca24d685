"""Which shared entities differ: by digests of ranges of keys, on both servers at once, down to single entities.

Each server sums the digests of its own rows of a range, by groups that follow from the keys
(:mod:`link.servers.grouping`). Where the sums are the same everything is, and no key has travelled; else keys and
digests of the rows in those groups are fetched, and what differs among them is looked up. Rows that are not shared the
source leaves out by a join, and the local side by the digests of their keys, which are sent there.

Ends that group a row otherwise only make it slower: it counts in one group here and in another there, and both differ.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from ..model.ranges import ALL, EVERYTHING, Key, Range, Selection, Sql
from ..model.schema import Table
from ..model.states import SHARED
from ..servers.dialect import Dialect
from ..servers.grouping import Grouping, Label, divisible, fitting
from ..servers.keyed import KEYS_PER_STATEMENT, Keyed, Segment
from ..servers.session import Session
from ..signals import RowError
from . import comparing
from .comparing import Comparison, Looked

#: Ranges grow until they take about so many seconds: few round trips, and no statement that runs for long.
SECONDS = 1.0
#: The first range, as a share of a batch of keys; and the longest one, in batches.
FIRST, LONGEST = 1 / 16, 8
#: One of so many rows is so many that all of a range are looked at.
MOST = 4
#: So many keys tell how the keys behind them are best grouped.
SAMPLE = 1250
#: Of so many groups the rows are fetched at once.
GROUPS = 200

#: Of each group that has rows, how many, and the sum of their digests.
Digests = Mapping[Label, tuple[int, int]]


def differences(
    both: Comparison,
    selection: Selection = ALL,
    within: Range = EVERYTHING,
    sweep: Callable[[Range], Key | None] | None = None,
) -> Iterator[Looked]:
    """Look at all shared entities of a selection, in a range, many at a time, in the order of their keys.

    Once all of a range differs, ``sweep`` may do with the next ones what is to be done, without a look: told of what is
    left, it says up to which key that was.

    No lock is taken: what a pull, a deletion or an edit has in hand at that moment may be named. Those that are named
    were shared when they were.
    """
    if both.tells_digests:
        yield from _Ranges(both, selection, within, sweep).looked()
    else:
        yield from map(both.looked, both.listed(SHARED, selection, within))


class _Ranges:
    """Looks at one range after another."""

    def __init__(
        self, both: Comparison, selection: Selection, within: Range, sweep: Callable[[Range], Key | None] | None
    ) -> None:
        self.both = both
        self.run = both.run
        self.holds = both.holds
        self.selection = selection
        self.within = within
        self.sweep = sweep
        #: Whether the last range had other rows at either end: they are counted first then.
        self.mixed = False
        #: Whether the last range differed in so many rows that the next may well do so.
        self.finds_most = False
        self.grouping = Grouping()
        ends = self.run.home.dialect, self.run.local.dialect
        tables = [(Keyed(ends[0], pair.there), Keyed(ends[1], pair.here)) for pair in both.mapping.tables]
        self.divisible = divisible(tables)
        #: Whether the groups of the last range were of a good size; how many rows each of its entities had, and how
        #: many there were of these at the source.
        self.is_grouped, self.weight, self.entities = False, 1.0, 0

    def looked(self) -> Iterator[Looked]:
        """Look at all of them."""
        after, end = self.within.after, self.within.upto
        size = max(1, int(comparing.FEW * FIRST))
        last = False
        while not last:
            shared = self.holds.saying(SHARED, self.selection, Range(after, end))
            # Of a selection there may be few among many: of all there is, most are shared.
            shared = shared if self.selection else shared.unguessed
            # Of few rows, as the first range has, it does not matter how they are grouped.
            if after is not self.within.after and self.divisible and not self.is_grouped:
                keys = shared.keys(self.run.home, SAMPLE)
                self.grouping = fitting(keys, self.divisible, self.weight) if keys else self.grouping
            upto, number = shared.key_at(self.run.home, size - 1), size
            if last := upto is None:
                number = shared.count(self.run.home)
                if not number:
                    return
                upto = shared.last(self.run.home) or end  # there may be none by now
            started = time.monotonic()
            within = Range(after, upto)
            try:
                found = self._look(within, number)
            except RowError:  # the bounds of the range are nothing that the other server could have
                found = self._listed(within)
            took, after = max(time.monotonic() - started, 0.001), upto  # clocks can stand still for a moment
            size = max(1, min(int(size * min(4.0, max(0.5, SECONDS / took))), comparing.FEW * LONGEST))
            if self.finds_most:
                size = min(size, comparing.FEW)
            yield from found
            if self.sweep and not last and found and found[-1].whole:
                after = self.sweep(Range(after, end))

    def _listed(self, within: Range) -> list[Looked]:
        """Look at a range by lists of its keys."""
        keys = self.holds.saying(SHARED, self.selection, within).keys(self.run.home)
        return [self.both.looked(keys[n : n + comparing.FEW]) for n in range(0, len(keys), comparing.FEW)]

    def _look(self, within: Range, number: int) -> list[Looked]:
        """Look at a range with so many shared entities."""
        run, both = self.run, self.both
        there, here = (_Rows(end.dialect, within, self.grouping) for end in (run.home, run.local))
        shared, local = self.holds.saying(SHARED, self.selection, within), Segment(run.rows, within)
        suspects = self._suspects_of_most(there, here, number) if self.finds_most and not self.mixed else None
        different = None if self.mixed else {} if suspects else self._different(there, here, number=number)
        if different is None:
            theirs = Segment(self.holds.rows, within)
            numbers = both.at_once(lambda: theirs.count(run.home), lambda: local.count(run.local))
            self.mixed = numbers != (number, number)
            if numbers[1] > 2 * number:
                return self._listed(within)  # most of what is here is something else
            if numbers[0] != number or numbers[1] < number:
                there = replace(there, of=shared)
            others: Sequence[int] = ()
            if numbers[1] != number:
                digests = both.at_once(partial(_digests_of, run.home, shared), partial(_digests_of, run.local, local))
                others = list(digests[1] - digests[0])
            different = self._different(there, here, others) or {}
            if self.entities < number:
                return self._listed(within)  # what is held is not there, and may not be here either
        suspects = suspects or self._suspects(there, here, different)
        if suspects is None:
            return self._listed(within)
        self.finds_most = MOST * len(suspects.keys) > number
        if not self.finds_most:
            return [self._judged(number, sorted(self._meant(suspects.keys)), suspects)]
        # It is quicker to read all keys than to look so many up.
        keys = both.at_once(lambda: shared.keys(run.home), lambda: set(local.keys(run.local)))
        meant = self._meant(suspects.keys, keys[0])
        named = [*(key for key in keys[0] if key in meant), *sorted(meant.difference(keys[0]))]
        looked = self._judged(number, named, _Suspects(meant, set(keys[0]), keys[1]))
        return [looked._replace(whole=within if looked.differing == keys[0] and len(keys[0]) == number else None)]

    def _judged(self, number: int, named: Iterable[Key], seen: _Suspects) -> Looked:
        """What is true of suspects.

        Servers sort text by rules of their own, so what is not here in the range may be here elsewhere: it is compared
        by itself. What is here in the range, and not there, is so in the range that it is in there.
        """
        differing: list[Key] = []
        elsewhere: list[Key] = []
        for key in named:
            if key not in seen.here:
                elsewhere.append(key)
            elif key in seen.there:
                differing.append(key)
        present = self.both.present(elsewhere)
        differing += self.both.unequal([key for key in elsewhere if key in present])
        return Looked(number, differing, [key for key in elsewhere if key not in present])

    def _meant(self, suspects: set[Key], known: Sequence[Key] = ()) -> set[Key]:
        """The shared entities that some keys mean: part rows may write a key in another way than the master's row."""
        meant = suspects.intersection(known)
        others = list(suspects - meant)
        return meant.union(self.holds.equal(self.run.home, others, SHARED, self.selection)) if others else meant

    def _different(
        self, there: _Rows, here: _Rows, others: Sequence[int] = (), number: int | None = None
    ) -> dict[Label, int] | None:
        """The groups whose sums are not the same, with how many rows they have; None if there is more than is shared.

        ``others`` are the digests of keys that are local and not to be looked at, as far as such digests tell;
        ``number`` is how many entities both ends must have, if nothing else shall be there.
        """
        run, both = self.run, self.both
        different: set[Label] = set()
        rows: Counter[Label] = Counter()
        counts: list[tuple[int, int]] = []
        for pair in both.mapping.tables:
            theirs, ours = both.at_once(
                partial(there.digests, run.home, pair.there), partial(here.digests, run.local, pair.here, others)
            )
            if number is not None and not number == _count(theirs) == _count(ours):
                return None
            number = None  # of the parts nothing is known
            counts.append((_count(theirs), len(theirs)))
            for label in theirs.keys() | ours.keys():
                sums = theirs.get(label, (0, 0)), ours.get(label, (0, 0))
                rows[label] += sums[0][0] + sums[1][0]
                if sums[0] != sums[1]:
                    different.add(label)
        there_are, (entities, groups) = sum(count for count, _ in counts), counts[0]
        self.is_grouped, self.weight = self.grouping.suits(there_are, entities, groups), there_are / max(entities, 1)
        self.entities = entities
        return {label: rows[label] for label in different}

    def _suspects_of_most(self, there: _Rows, here: _Rows, number: int) -> _Suspects | None:
        """The keys whose rows are not the same, where most may be so and there is no table of parts.

        Nothing is summed up first. None where there is more at an end than is shared, or nothing is not the same.
        """
        if len(self.both.mapping.tables) > 1:
            return None
        rows = (
            partial(there.rows, self.run.home, self.both.mapping.tables[0].there),
            partial(here.rows, self.run.local, self.both.mapping.tables[0].here),
        )
        theirs, ours = self.both.at_once(*rows)
        alone = len(theirs) == len(ours) == number
        if not alone or theirs == ours:
            return None
        return _Suspects(*({row[:-1] for row in rows} for rows in (theirs ^ ours, theirs, ours)))

    def _suspects(self, there: _Rows, here: _Rows, different: Mapping[Label, int]) -> _Suspects | None:
        """The keys whose rows in some groups are not the same at both ends.

        None where fewer rows are found than were summed up: one end does not know its own groups again, or is at work.
        """
        run, both = self.run, self.both
        keys, seen = set[Key](), (set[Key](), set[Key]())
        for labels in _some(different):
            missing = sum(different[label] for label in labels)
            for number, pair in enumerate(both.mapping.tables):
                theirs, ours = both.at_once(
                    partial(there.rows, run.home, pair.there, labels),
                    partial(here.rows, run.local, pair.here, labels),
                )
                missing -= len(theirs) + len(ours)
                keys |= {row[:-1] for row in theirs ^ ours}
                for end, rows in zip(seen, (theirs, ours), strict=True):
                    end.update(row[:-1] for row in rows if number == 0)
            if missing > 0:
                return None
        return _Suspects(keys, *seen)


class _Suspects(NamedTuple):
    """Keys whose rows are not the same at both ends, and of what masters the rows were seen in the range, there and
    here."""

    keys: set[Key]
    there: Set[Key]
    here: Set[Key]


@dataclass(frozen=True)
class _Rows:
    """The rows of a range at one end, in any table: all of them, or those of entities that are ``of`` a segment."""

    dialect: Dialect
    within: Range
    grouping: Grouping
    of: Segment | None = None

    def digests(self, session: Session, table: Table, without: Sequence[int] = ()) -> Digests:
        """The sums of the rows in each group, but for those whose keys have some digests."""
        found = self._digests(session, table)
        for n in range(0, len(without), KEYS_PER_STATEMENT):
            for label, (count, digest) in self._digests(session, table, without[n : n + KEYS_PER_STATEMENT]).items():
                all_of = found.get(label, (0, 0))
                found[label] = all_of[0] - count, all_of[1] - digest
        return {label: sums for label, sums in found.items() if sums != (0, 0)}

    def _digests(self, session: Session, table: Table, keys: Sequence[int] = ()) -> dict[Label, tuple[int, int]]:
        source, args = self._source(table)
        rows = Keyed(self.dialect, table)
        if keys:
            source += f" AND {self.dialect.key_digest(rows.pairs)} IN ({', '.join(map(str, keys))})"
        found: dict[Label, tuple[int, int]] = {}
        sums = self.dialect.sums_by_group(table, self.grouping.of(rows), source)
        for *label, count, digest in session.query(sums, args):
            all_of = found.get(tuple(label), (0, 0))  # groups may be told alike that are not the same
            found[tuple(label)] = all_of[0] + int(count), all_of[1] + int(digest)
        return found

    def rows(self, session: Session, table: Table, labels: Sequence[Label] = ()) -> set[Key]:
        """The rows in some groups, or in all: the key of the entity, and the digest."""
        source, args = self._source(table)
        rows = Keyed(self.dialect, table)
        if labels:
            condition, more = self.grouping.having(rows, labels)
            source, args = f"{source} AND {condition}", (*args, *more)
        return set(session.query(f"SELECT {rows.selected}, {self.dialect.comparable(table, True)} {source}", args))

    def _source(self, table: Table) -> Sql:
        """FROM onward."""
        rows = Keyed(self.dialect, table)
        within, args = rows.within(self.within)
        if self.of is None:
            return f"FROM {rows.name} WHERE {within}", args
        condition, more = self.of.condition
        join = self.dialect.driving_join(self.of.rows.name, rows.name, rows.equals(self.of.rows))
        return f"FROM {join} WHERE {condition} AND {within}", (*more, *args)


def _count(digests: Digests) -> int:
    return sum(count for count, _ in digests.values())


def _digests_of(session: Session, segment: Segment) -> set[int]:
    """The digests of the keys of a segment."""
    digest = segment.rows.dialect.key_digest(segment.rows.pairs)
    return {int(found) for (found,) in session.query(*segment.selecting(digest))}


def _some(rows: Mapping[Label, int]) -> Iterator[list[Label]]:
    """Groups, so many at a time that they have about a batch of rows."""
    some: list[Label] = []
    number = 0
    for label, count in rows.items():
        some.append(label)
        number += count
        if number > comparing.FEW or len(some) == GROUPS:
            yield some
            some, number = [], 0
    if some:
        yield some
