"""Whose turn it is: groups are copied once those that they refer to are here, and read a little before."""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from ..errors import ConnectionLimitError
from ..model.graph import Name
from ..servers.interrupting import undisturbed
from .claims import PutOffError
from .transfer import at_once

#: Seconds between looks whether others are done.
PAUSE = 0.5
#: Copies at once, each over sessions of its own; a group that is not light counts for two.
ROOM = 8


class Turn:
    """What the copy of a group waits for, and whom it tells how far it is.

    Parameters
    ----------
    taken, arrived : callable
        Told that all of it is being read, or has been; and that all of it is here, finished at the source or not.
    """

    def __init__(self, taken: Callable[[], None] = at_once, arrived: Callable[[], None] = at_once) -> None:
        self.taken, self.arrived = taken, arrived
        # Not an Event: Ctrl-C may come to who decides, and leave its lock to those that wait.
        self._decisions = queue.SimpleQueue[bool]()
        self._is_decided = False

    def come(self) -> None:
        """What the group refers to is here."""
        self._decide(True)

    def put_off(self) -> None:
        """It is to wait no longer, and to begin anew, unless its turn has come."""
        self._decide(False)

    def _decide(self, has_come: bool) -> None:
        if not self._is_decided:
            self._decisions.put(has_come)
            self._is_decided = True

    def wait(self) -> None:
        """Wait until it has come."""
        has_come = self._decisions.get()
        self._decisions.put(has_come)  # for others that wait, and for the next time
        if not has_come:
            raise PutOffError("A copy was put off.")


class Turns:
    """Copies groups, some at once, each by a thread that is told when its turn has come.

    Parameters
    ----------
    above : mapping
        The groups, parents first, and what each refers to, itself or by groups between.
    copy : callable
        Copies a group, which waits for its turn; whether some of it was let go of, on which others may stand.
    must_wait : callable
        Whether other runs have in hand what a group refers to.
    light : collection of Name
        Those that take no memory worth mentioning, and one copy each.
    """

    def __init__(
        self,
        above: Mapping[Name, Collection[Name]],
        copy: Callable[[Name, Turn], bool],
        must_wait: Callable[[Name], bool],
        light: Collection[Name],
    ) -> None:
        self._above = {name: set(others) for name, others in above.items()}
        self._left, self._light = dict.fromkeys(above), light
        self._copy, self._must_wait = copy, must_wait
        self._under_way: dict[Future[bool], Name] = {}
        self._turns: dict[Name, Turn] = {}
        self._taken, self._here = set[Name](), set[Name]()
        self._news = queue.SimpleQueue[Future[bool] | tuple[set[Name], Name]]()
        self._room, self._alone = ROOM, False

    def copy(self, let_go_below: Callable[[Name], None], has_others: bool, break_off: Callable[[bool], None]) -> None:
        """Copy all of them.

        Parameters
        ----------
        let_go_below : callable
            Lets go of what stands on what a group has lost.
        has_others : bool
            Whether other runs have some of what is here in hand: looked at again and again.
        break_off : callable
            Lets copies end with their chunks; where nobody wants to wait, asked again and again, with what they are at.
        """
        with ThreadPoolExecutor(ROOM, "link-gatherer") as pool:
            try:
                while self._left:
                    self._begin(pool)
                    try:
                        told = self._news.get(timeout=PAUSE if has_others or not self._under_way else None)
                    except queue.Empty:
                        continue
                    if not isinstance(told, Future):
                        where, name = told
                        where.add(name)
                    elif lost := self._end(told):
                        wait(self._under_way)
                        let_go_below(lost)
            except BaseException as error:
                with undisturbed():
                    break_off(False)
                    self._put_off()
                # Who has pressed Ctrl-C does not wait for somebody's rows, as they may.
                while not isinstance(error, Exception) and wait(self._under_way, PAUSE).not_done:
                    break_off(True)
                raise

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        """Let those begin whose turn has come; then those that can be read meanwhile."""
        awaited = self._left.keys() - self._here
        for unready in (awaited, awaited - self._taken) if self._room > 1 else (awaited,):
            for name in self._left:
                if name not in self._turns and not self._above[name] & unready and self._may_begin(name):
                    self._alone = self._room == 1
                    taken, arrived = ((where, name) for where in (self._taken, self._here))
                    turn = Turn(functools.partial(self._news.put, taken), functools.partial(self._news.put, arrived))
                    self._turns[name] = turn
                    with undisturbed():
                        future = pool.submit(self._copy, name, turn)
                        self._under_way[future] = name
                        future.add_done_callback(self._news.put)
        for name, turn in self._turns.items():
            if not self._above[name] & awaited:
                turn.come()

    def _may_begin(self, name: Name) -> bool:
        copies = sum(1 if each in self._light else 2 for each in (*self._turns, name))
        return (copies <= self._room or not self._turns) and not self._must_wait(name)

    def _end(self, future: Future[bool]) -> Name | None:
        """See how a copy has ended; its group, where some of that was let go of."""
        name = self._under_way.pop(future)
        del self._turns[name]
        try:
            has_lost = future.result()
        except PutOffError:
            self._taken.discard(name)
            return None
        except ConnectionLimitError:
            if self._alone:
                raise
            self._room = 1
            self._taken.discard(name)
            self._put_off()
            return None
        del self._left[name]
        if has_lost:
            self._put_off()
            return name
        return None

    def _put_off(self) -> None:
        for turn in self._turns.values():
            turn.put_off()
