"""What is asked of the helper tables of several groups at once: over a long wire each question takes its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..model.ranges import Sql
from ..model.states import REST, UNFINISHED, Count, HelperRow
from ..servers.session import Session
from .holds import Holds


def enlist(session: Session, holds: Sequence[Holds]) -> None:
    """Mark a run as alive for as long as a session lives."""
    session.lock_free([each.life for each in holds if each.multi])
    for each in holds:
        if not each.multi:
            each.enlist(session)


def survey(session: Session, holds: Sequence[Holds]) -> list[list[Count]]:
    """Count the helper rows of each group by what they say."""
    counts = list[list[Count]]()
    found = session.query_each([each.counting_rest() for each in holds])
    for each, (total, resting) in zip(holds, found, strict=True):
        others = session.query(*each.counting_others()) if total > resting else []
        counts.append(
            [Count(REST, 0, int(resting))] * bool(resting)
            + [Count(HelperRow(*row[:3]), int(row[3]), int(row[4])) for row in others]
        )
    return counts


def in_other_hands(
    session: Session, holds: Sequence[Holds], few: Mapping[Holds, int]
) -> tuple[list[bool], dict[Holds, int]]:
    """Of which groups others than this run have some in hand; and how many rows some have, up to one more than few."""
    found = session.query(*asking_for_others(holds, few))[0]
    busy, there = found[: len(holds)], found[len(holds) :]
    return list(map(bool, busy)), {each: int(number) for each, number in zip(few, there, strict=True)}


def asking_for_others(holds: Sequence[Holds], few: Mapping[Holds, int]) -> Sql:
    """SELECT: of each group whether others than this run have some in hand; of some how many rows, up to one more."""
    asked = [each.others(UNFINISHED).selecting("1") for each in holds]
    counted = [each.selected().counting_upto(number + 1) for each, number in few.items()]
    columns = [*(f"EXISTS ({sql})" for sql, _ in asked), *(f"({sql})" for sql, _ in counted)]
    return f"SELECT {', '.join(columns)}", tuple(arg for _, args in [*asked, *counted] for arg in args)
