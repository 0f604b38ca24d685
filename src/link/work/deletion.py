"""Deleting local rows of linked tables, with the helper tables kept true.

The order is DataJoint's own, with the source's part in between: delete within a transaction, preview, one prompt; then
the helper rows are marked (process DELETE), the local transaction commits, and the holds are released, or deprecated
where the source had asked. Nothing is marked before the user has confirmed, and nothing commits locally before it is
marked. That goes for every linked table of which rows are deleted, whichever the deletion began with: those that depend
on others are marked before these, for what is marked a dead run's successor deletes.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datajoint as dj

from .. import host
from ..ends.ends import Ends
from ..errors import LinkError, TransferError, UnreachableError
from ..model.graph import Name
from ..model.ranges import Key, Selection
from ..model.shown import number_of
from ..model.states import ASKED, CANCEL_DELETE, DELETING, START_DELETE
from ..signals import BusyError
from .comparing import Comparison
from .reach import Reach, Reached, grown
from .recovery import Recovery, recover_all
from .retry import patiently
from .run import Run, Runs, persistently
from .status import find_flagged

logger = logging.getLogger("link")
dj_logger = dj.logger

#: Keys of rows that DataJoint deletes by one statement, where it cannot do so by the conditions.
KEYS_AT_ONCE = 1000


class _Outcome:
    """What is true when a deletion is interrupted at this moment."""

    said = "nothing was deleted"


class _UnequalError(BusyError):
    """Other rows were deleted than had been read."""


@dataclass(frozen=True)
class Target:
    """Rows of a linked table that are to be deleted.

    Attributes
    ----------
    ends : Ends
        Both ends of its link.
    rows : Selection or sequence of tuple
        Of the local table.
    going : callable
        What DataJoint deletes for them, piece by piece; it is given their keys.
    """

    ends: Ends
    rows: Selection | Sequence[Key]
    going: Callable[[Iterable[dict[str, Any]]], Iterator[host.Alone]]


@dataclass
class _Gone:
    """What has been deleted within the open transaction: entities of the targets, and rows of all tables."""

    entities: int = 0
    rows: Counter[str] = field(default_factory=Counter)


def delete(targets: Sequence[Target], prompt: bool) -> int:
    """Delete local rows of linked tables, with what depends on them, and tell the sources.

    Parameters
    ----------
    targets : sequence of Target
        Of tables by one local connection; those on which others depend before them.
    prompt : bool
        Ask before anything is kept.

    Returns
    -------
    int
        Number of entities of the targets that were deleted; 0 when the user declined.
    """
    name, outcome = ", ".join(target.ends.name for target in targets), _Outcome()
    for target in targets:
        target.ends.require_no_transaction("delete of")
    try:
        count = _delete(targets, prompt, outcome)
    except KeyboardInterrupt:
        logger.warning("%s: interrupted; %s", name, outcome.said)
        raise KeyboardInterrupt from None  # where in here it was is of no use to anybody
    if count and prompt:
        dj_logger.info("Delete committed.")
    elif count:
        logger.info("%s: deleted %d entities here, and the source knows", name, count)
    return count


def delete_flagged(ends: Mapping[Name, Ends], part_integrity: str, prompt: bool) -> int:
    """Delete what the source wants deleted, of several links; see :meth:`link.Pipeline.delete_flagged`."""
    if ends:
        # What a dead run had deleted is not here any more to be found: the source is told of it all the same.
        with Runs(ends) as runs:
            recover_all(runs)
    targets = [_flagged(ends[name], keys, part_integrity) for name, keys in find_flagged(ends).items()]
    if not targets and prompt:
        dj_logger.warning("Nothing to delete.")
    return delete(targets, prompt) if targets else 0


def _flagged(ends: Ends, keys: Sequence[Key], part_integrity: str) -> Target:
    master, connection = ends.mapping.local.master, ends.local.connection

    def going(keys: Iterable[dict[str, Any]]) -> Iterator[host.Alone]:
        table = host.free_table(connection, master.schema, master.name)
        return (host.Cascade(table & batch, part_integrity) for batch in batched(keys))

    return Target(ends, keys, going)


def batched(keys: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Keys, so many at a time as DataJoint deletes by one condition."""
    remaining = iter(keys)
    while batch := list(itertools.islice(remaining, KEYS_AT_ONCE)):
        yield batch


def _delete(targets: Sequence[Target], prompt: bool, outcome: _Outcome) -> int:
    with Reach("delete of", [target.ends for target in targets]) as reach:
        connection = reach.local.connection
        with reach.local.in_one_session():
            gone = _delete_patiently(reach, targets)
            try:
                if not _is_confirmed(reach, gone, prompt):
                    connection.cancel_transaction()
                    if prompt:
                        dj_logger.warning("Delete cancelled" if gone.entities else "Nothing to delete.")
                    return 0
                _mark(reach)
            except BaseException:
                _roll_back(reach)
                raise
            _commit(reach, gone, outcome)
        _release(reach)
    return gone.entities


def _is_confirmed(reach: Reach, gone: _Gone, prompt: bool) -> bool:
    """Whether there is something to delete, and the user wants it, who is told what becomes of the holds."""
    if not gone.entities or not prompt:
        return bool(gone.entities)
    for name in reach.sorted([name for name, count in gone.rows.items() if count]):
        dj_logger.info(f"{name} ({gone.rows[name]} tuples)")
    tell_of_holds([(reached.run.ends, *_count(reached)) for reached in reach])
    return host.agrees("Commit deletes?")


def _count(reached: Reached) -> tuple[int, int]:
    """How many of the entities that go are held: unflagged ones, and flagged ones."""
    run = reached.run
    held = len(run.holds.helper.existing(run.home, reached.keys))
    asked = len(run.holds.existing(run.home, reached.keys, ASKED))
    return held - asked, asked


def tell_of_holds(counts: Iterable[tuple[Ends, int, int]]) -> None:
    """Tell who is to be asked what becomes of the holds: how many, by source, are released and deprecated."""
    released, deprecated = Counter[str](), Counter[str]()
    for ends, unflagged, flagged in counts:
        released[ends.source.address] += unflagged
        deprecated[ends.source.address] += flagged
    for address, number in released.items():
        if not number + deprecated[address] and len(released) > 1:
            continue
        dj_logger.info(f"{number_of(number, 'hold')} at {address} will be released")
        if deprecated[address]:
            dj_logger.info(
                f"{deprecated[address]:,} flagged there will become deprecated: the source can delete them then"
            )


def _mark(reach: Reach) -> None:
    try:
        for reached in reach:
            reached.run.apply(START_DELETE, reached.keys)
    except BaseException:
        # Nothing is deleted here, and what is marked already would be by the next operation. Others may be locked.
        for reached in reach:
            with contextlib.suppress(LinkError):
                run = reached.run
                marked = set(run.holds.mine(DELETING).keys(run.home))
                run.apply(CANCEL_DELETE, [key for key in reached.keys if key in marked])
        raise


def _delete_patiently(reach: Reach, targets: Sequence[Target]) -> _Gone:
    """Delete locally; others may pull and delete here at the same time, and have the same rows locked."""
    try:
        return patiently(lambda: _delete_here(reach, targets))
    except _UnequalError as error:
        raise TransferError(
            f"{error.what} Nothing was changed on either server.",
            "Does a trigger or a rule there change what is deleted? Or select the rows in another way.",
        ) from error


def _delete_here(reach: Reach, targets: Sequence[Target]) -> _Gone:
    """Delete locally, in a transaction that is left open."""
    gone = _Gone()
    try:
        with reach.local.in_our_words(), reach.local.ended_with_us():
            reach.begin()
            for target in targets:
                _delete_target(reach, target, gone)
        gone.entities = sum(_count_of(reach, target) for target in targets)
    except LinkError:
        _roll_back(reach)
        raise
    except host.DataJointError as error:
        _roll_back(reach)
        if isinstance(error, host.BlockedError) and error.is_news:
            raise BusyError(
                f"Rows come to {error.child} again and again that depend on what is to be deleted; nothing was.",
                "Does somebody pull or insert there? Run the same again, or when that is over.",
            ) from error
        if reach.has_grown():  # DataJoint fails in many ways where it knows nothing of a table
            raise grown() from error
        raise
    except BaseException:
        _roll_back(reach)
        raise
    return gone


def _delete_target(reach: Reach, target: Target, gone: _Gone) -> None:
    root, rows = reach.of(target.ends), target.rows
    if not isinstance(rows, Selection):
        # Some may have gone with another target; others that are not here any more are not found.
        left = sorted(set(rows).difference(root.keys))
        _delete_pieces(reach, target, left, None, gone)
        return
    keys = reach.read(root, rows.condition)
    count = _delete_pieces(reach, target, keys, root, gone)
    if count != len(keys):
        raise TransferError(
            f"DataJoint deleted {count} of the {len(keys)} selected rows of {root.run.name}; "
            "nothing was changed on either server.",
            "Does a trigger or a rule there change what is deleted? Or select the rows in another way.",
        )
    root.keys += keys


def _delete_pieces(reach: Reach, target: Target, keys: list[Key], known: Reached | None, gone: _Gone) -> int:
    """Delete entities piece by piece; how many rows of their table, of which the keys may be known, have gone."""
    root, count = reach.of(target.ends), 0
    for piece in target.going(map(root.run.as_dict, keys)):
        # Those on which others depend are read, and locked, before them.
        found = reach.find(piece.tables, known)
        deleted = piece.delete()
        for table, entities in found.items():
            if deleted[table] != len(entities):
                raise _UnequalError(f"DataJoint deleted {deleted[table]} rows of {table} where {len(entities)} depend.")
        reach.add(found)
        gone.rows.update(deleted)
        count += deleted[root.name]
    return count


def _count_of(reach: Reach, target: Target) -> int:
    """How many of a target's entities have been deleted, be it with those of another target."""
    keys = reach.of(target.ends).keys
    return len(keys) if isinstance(target.rows, Selection) else len(set(target.rows).intersection(keys))


def _roll_back(reach: Reach) -> None:
    with contextlib.suppress(Exception):
        reach.local.connection.cancel_transaction()
    with contextlib.suppress(Exception):
        reach.local.revive()  # a connection that was lost has rolled back


def _commit(reach: Reach, gone: _Gone, outcome: _Outcome) -> None:
    deleted = f"{gone.entities:,} entities were deleted here, and the next operation tells the source"
    try:
        outcome.said = "whether rows were deleted here the next operation finds out, and tells the source"
        reach.local.connection.commit_transaction()
        outcome.said = deleted
    except BaseException:
        # Only if it certainly did not commit: a hold too many is harmless, one too few is not.
        if all(Comparison(reached.run).present(reached.keys) == set(reached.keys) for reached in reach):
            for reached in reach:
                reached.run.apply(CANCEL_DELETE, reached.keys)
            outcome.said = _Outcome.said
        else:
            outcome.said = deleted
        raise


def _release(reach: Reach) -> None:
    errors = []
    for reached in reach:
        try:
            reached.recovery.release(reached.keys)
        except UnreachableError as error:
            try:
                _release_again(reached, error)
            except UnreachableError as still:
                errors.append(still)  # others may be at another source
    if errors:
        raise errors[0]


def _release_again(reached: Reached, error: UnreachableError) -> None:
    """Let a new run tell the source what this one could not."""
    run = reached.run
    logger.warning("%s: %s The rows are deleted here; trying again to tell the source.", run.name, error.what)
    begin = functools.partial(Run, run.ends)
    try:
        persistently(begin, lambda again: Recovery(again).recover(), former=[run.holds.worker])
    except UnreachableError as still:
        raise UnreachableError(
            f"{len(reached.keys)} entities of {run.name} were deleted here, but the source could not be told: "
            f"{still.what}",
            "They are held there until the next operation on this link, which tells it.",
        ) from still
