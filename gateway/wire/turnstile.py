"""The queue in front of a backend: who goes on, who waits, who is sent away.

A model serves so many requests at once; more of them only make each slower, until none is served in time.
What comes beyond waits here, within bounds. A higher priority goes first; within one, callers take turns
however much each of them asks for (self-clocked fair queueing: S. J. Golestani, IEEE INFOCOM 1994), and one
caller's requests keep their order. Who would wait for longer than it has patience is sent away when it
comes; when there is no room, the last of the queue is: of the lowest priority, and of the caller that has
asked for most.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from math import inf
from typing import Final, TypeAlias, final

from gateway.core.gate import Gate
from gateway.core.refusal import Reason, Refusal, Refused, Source

LONGEST_RETRY: Final = 60.0  # seconds; what a client is told to wait at most
STALE: Final = 60.0  # seconds after which nobody knows any more how fast a backend is
WEIGHT: Final = 0.2  # of the newest interval in their average

Owner: TypeAlias = tuple[int, str]  # priority and caller: whose turns are counted together
Place: TypeAlias = tuple[int, int, int]  # priority, negative; turn; number: lower ones are served first


@final
class Waiter:
    """One request that waits.

    Args:
        place: Where in the queue.
        owner: Whose turn it takes.
    """

    __slots__ = ("gate", "is_admitted", "owner", "place", "timer")

    def __init__(self, place: Place, owner: Owner) -> None:
        self.place = place
        self.owner = owner
        self.gate = Gate()
        self.is_admitted = False
        self.timer: asyncio.TimerHandle | None = None


@final
class Turnstile:
    """Lets so many requests pass at once, and keeps the next ones in order.

    Args:
        places: How many requests the backend is sent at the same time.
        length: How many may wait.
        seconds: How long one may wait.
    """

    __slots__ = (
        "_last",
        "_length",
        "_loop",
        "_number",
        "_pace",
        "_places",
        "_queue",
        "_seconds",
        "_turn",
        "_turns",
        "_waiters",
        "running",
        "shed",
        "waited",
        "waited_seconds",
    )

    def __init__(self, places: int, length: int, seconds: float) -> None:
        self._places = places
        self._length = length
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._queue: list[Place] = []  # sorted
        self._waiters: dict[Place, Waiter] = {}
        self._number = 0
        self._turn: dict[int, int] = {}  # by priority: the turn that was served last
        self._turns: dict[Owner, int] = {}  # of those that wait: the last turn that each has taken
        self._pace = 0.0  # seconds between two that leave while others wait; 0: not known
        self._last = 0.0
        self.running = 0
        self.waited = 0  # that had to wait, and went on
        self.waited_seconds = 0.0
        self.shed = 0  # that were sent away

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._queue)

    def take(self) -> bool:
        """Take a place if one is free; whoever has one must `leave`."""
        if self.running < self._places:
            self.running += 1
            return True
        return False

    async def wait(self, priority: int, caller: str, patience: float) -> None:
        """Wait for a place; whoever returns from this must `leave`.

        Awaitable from a line that no task drives, and nowhere else.

        Args:
            priority: Higher ones go first.
            caller: Who takes turns with others.
            patience: Seconds after which an answer is of no use to the client any more.

        Raises:
            Refused: `BACKEND_BUSY`: there is no room, or it would take or took too long.
        """
        waiter = self._line_up(priority, caller, min(patience, self._seconds))
        began = self._loop.time()
        try:
            await waiter.gate
        except BaseException:  # its time is over, or its client has gone
            if waiter.is_admitted:
                self.leave()
            else:
                self._remove(waiter)
            raise
        self.waited += 1
        self.waited_seconds += self._loop.time() - began

    def leave(self) -> None:
        """Give a place back: to the next who waits."""
        if not self._queue:
            self.running -= 1
            return
        now = self._loop.time()
        interval, self._last = now - self._last, now
        self._pace = interval if not self._pace else self._pace + WEIGHT * (interval - self._pace)
        waiter = self._waiters[self._queue[0]]
        self._turn[waiter.owner[0]] = waiter.place[1]
        self._remove(waiter)
        waiter.is_admitted = True
        # in a turn of its own: whoever gives a place back is in the middle of something
        self._loop.call_soon(waiter.gate.open)

    def _line_up(self, priority: int, caller: str, patience: float) -> Waiter:
        """Let a request wait where it belongs.

        Raises:
            Refused: `BACKEND_BUSY`: not even that.
        """
        owner = priority, caller
        turn = max(self._turn.get(priority, 0), self._turns.get(owner, 0)) + 1
        self._number += 1
        place = -priority, turn, self._number
        ahead = bisect_left(self._queue, place)
        now = self._loop.time()
        if not self._queue:
            if now - self._last > STALE:
                self._pace = 0.0
            self._last = now
        if ahead and (ahead + 1) * self._pace > patience:  # the first one finds out how long it takes
            raise Refused(self._refusal("would wait for too long"))
        if len(self._queue) >= self._length:
            if ahead == len(self._queue):
                raise Refused(self._refusal("too many wait"))
            self._send_away(self._waiters[self._queue[-1]], "made room in the queue for another")
        waiter = self._waiters[place] = Waiter(place, owner)
        insort(self._queue, place)
        self._turns[owner] = turn
        if patience < inf:
            waiter.timer = self._loop.call_later(patience, self._send_away, waiter, "waited for too long")
        return waiter

    def _send_away(self, waiter: Waiter, why: str) -> None:
        refusal = self._refusal(why)
        self._remove(waiter)
        self._loop.call_soon(waiter.gate.open, Refused(refusal))

    def _remove(self, waiter: Waiter) -> None:
        """Take a request out of the queue, if it is still in it."""
        if self._waiters.pop(waiter.place, None) is None:
            return
        del self._queue[bisect_left(self._queue, waiter.place)]
        if waiter.timer is not None:
            waiter.timer.cancel()
        if self._turns.get(waiter.owner) == waiter.place[1]:
            del self._turns[waiter.owner]
        if not self._queue:
            self._turn.clear()

    def _refusal(self, why: str) -> Refusal:
        self.shed += 1
        retry = min(max(len(self._queue) * self._pace, 1.0), LONGEST_RETRY)
        return Refusal(Reason.BACKEND_BUSY, note=why, source=Source.GATEWAY, retry_after=retry)
