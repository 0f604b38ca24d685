"""What dead runs have left, finished by the same statements that would have finished it then.

Every operation begins with this. Pulls of dead runs are finished by the next pull, which copies adopted rows first.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Sequence

from .. import host
from ..holds.together import enlist, survey
from ..model.ranges import EVERYTHING, Chunk, Key
from ..model.states import (
    ABANDON_PULL,
    DELETING,
    DEPRECATE,
    FINISH_PULL,
    PULLING,
    RELEASE,
    SETTLE,
    UNSETTLED,
    Count,
    Transition,
)
from ..servers.keyed import Keyed, batches
from ..servers.session import Session
from ..signals import BusyError, RowError
from . import comparing
from .comparing import Comparison
from .retry import patiently
from .run import Run, Runs

logger = logging.getLogger("link")


def recover_all(runs: Runs) -> None:
    """Take over what dead runs have left of several links, those first that depend on others."""
    holds = [run.holds for run in runs.runs.values()]
    enlist(runs.home, holds)
    surveys = zip(runs.runs.values(), survey(runs.home, holds), strict=True)
    for run, counts in reversed(list(surveys)):
        Recovery(run).recover_from(counts)


class Recovery:
    """The recovery of one run, and what is done in its course and by other operations: release, settle.

    Parameters
    ----------
    run : Run
        Takes over what dead runs have left.

    Attributes
    ----------
    held : int
        How many helper rows there were.
    stuck : bool
        Whether some stay marked for deletion, since they could not be deleted here.
    adopted : bool
        Whether the run has rows to copy that a dead one had in hand.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.holds = run.holds
        self.both = Comparison(run)
        self.held, self.stuck, self.adopted = 0, False, False

    def recover(self) -> list[Count]:
        """Adopt what dead runs left, finish their deletions, settle flags; what the helper table says then."""
        self.holds.enlist(self.run.home)
        return self.recover_from(self.holds.survey(self.run.home))

    def recover_from(self, counts: list[Count]) -> list[Count]:
        """The same, where the run is known to be alive, from what the helper table says."""
        run, holds = self.run, self.holds
        run.require_changes()
        self.held = sum(count.entities for count in counts)
        adopted = patiently(lambda: holds.adopt(run.home, counts, run.former))
        self.adopted = bool(adopted)
        if adopted:
            logger.info("%s: going on with %d entities of an interrupted run", run.name, adopted)
            self._finish_deletions()
        unsettled = any(count.row.says(UNSETTLED) for count in counts)
        if unsettled:
            self.settle()
        return holds.survey(run.home) if adopted or unsettled else counts

    def settle(self) -> None:
        """Mark as deprecated what is flagged and not local."""
        for _, gone in self.both.by_presence(UNSETTLED):
            self.run.apply(SETTLE, gone)

    def let_go(self, unbegun: Sequence[Chunk] = ()) -> int | None:
        """When a pull fails: let go of what it has claimed and not copied; how many are here, and are finished now.

        None where that is not possible.

        Of ``unbegun`` chunks nothing was copied: what is local there, and not what the source has, is let go of, too.
        Of what was adopted nothing: a dead run's last statement may still bring those rows here. What the run's own
        session had sent is over before we look.
        """
        run, ends = self.run, self.run.ends
        if self.adopted:
            return None
        source, local = run.open_together([ends.source, ends.local])
        run.local.close()
        local.outlive(run.local)
        run.local = local
        return self.let_go_by(source, unbegun)

    def let_go_by(self, source: Session, unbegun: Sequence[Chunk]) -> int:
        """Let go by another session at the source, once the local session that copied is known to be over."""
        run, finished = self.run, 0
        made_here = {key for chunk in unbegun for key in self.holds.mine(PULLING, chunk).keys(source)}
        for keys in batches(self.holds.mine(PULLING).keys(source)):
            present = self.both.present(keys)
            gone = [key for key in keys if key not in present]
            differing = self.both.differing(sorted(present), source)
            gone += [key for key in differing if key in made_here]
            patiently(functools.partial(self.holds.apply, source, ABANDON_PULL, gone))
            for key in [key for key in differing if key not in made_here]:
                logger.warning("%s: %s is local and differs from the source; left as it is", run.name, run.as_dict(key))
            # Also those of which the source has asked for the deletion meanwhile: they are not let go of.
            finished += patiently(functools.partial(self.holds.apply, source, FINISH_PULL, keys))
        return finished

    def release(self, keys: Sequence[Key]) -> None:
        """Let go of entities that are gone locally: no hold is left, or a deprecated one where the source had asked."""
        remaining = len(keys)
        while remaining:
            # A flag may come between the two; the guards let no row through both, and the loop takes it up again.
            done = self._apply_to_marked(RELEASE, keys)
            if done < remaining:
                done += self._apply_to_marked(DEPRECATE, keys)
            remaining = remaining - done if done else 0

    def _apply_to_marked(self, transition: Transition, keys: Sequence[Key]) -> int:
        """Apply a transition to these keys, which are all that this run has marked as deleted.

        Where they are many, one look at the whole table is quicker than to look up each.
        """
        if len(keys) > max(comparing.FEW, self.held // 4) and not self.stuck:
            with contextlib.suppress(BusyError), self.run.home.unwaiting():
                return self.holds.apply(self.run.home, transition, EVERYTHING)
        return self.run.apply(transition, keys)

    # deletions that a dead run had begun

    def _finish_deletions(self) -> None:
        keys = self.holds.mine(DELETING).keys(self.run.home)
        for batch in batches(keys):
            try:
                patiently(functools.partial(self._delete, batch))
            except RowError:
                self._delete_cascading(sorted(self.both.present(batch)))
        left = self.both.present(keys)
        self.stuck = bool(left)
        if left:
            logger.warning(
                "%s: %d entities marked for deletion are still local and stay held", self.run.name, len(left)
            )
        self.release([key for key in keys if key not in left])

    def _delete(self, keys: Sequence[Key]) -> None:
        local, group = self.run.local, self.run.mapping.local
        with local.transaction():
            for table in (*group.parts, group.master):
                local.execute(*Keyed(local.dialect, table).deletion(keys))

    def _delete_cascading(self, keys: Sequence[Key]) -> None:
        """Delete entities with what depends on them, as DataJoint does: it knows the dependents."""
        site, master = self.run.ends.local, self.run.mapping.local.master
        with site.in_one_session():
            # A class that has not been used yet has not told DataJoint of its schema.
            host.know_schema(site.connection, master.schema)
            table = host.free_table(site.connection, master.schema, master.name)
            try:
                host.seed(table & [self.run.as_dict(key) for key in keys]).delete(prompt=False)
            except host.LostConnectionError:
                raise
            except host.DataJointError as error:
                logger.warning("%s: a deletion that was begun cannot be finished: %s", self.run.name, error)
