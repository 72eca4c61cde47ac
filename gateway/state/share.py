"""One process's share of one limit: what it drew from the store, spent, set aside, and has left.

Numbers and their arithmetic; sends nothing. `drawn` and `spent` only grow, and go to the server as they
are: a command or reply that was lost is made good by the next one.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING, Final, final

from gateway.core.ports import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.budgets import Budget
    from gateway.state.accounts import Accounts, Terms

LEASE_SECONDS: Final = 15.0
"""After so long without a word from us the server gives our share to others."""

TRUSTED_SECONDS: Final = 10.0
"""For so long we spend a share without a word from the server: less, as clocks and networks differ."""

FORGET_SECONDS: Final = 30.0
"""After so long the server has surely forgotten a lease of which it heard nothing."""

REST_SECONDS: Final = 2.0
"""After so long a share that holds nothing makes room for others: its account goes on with another lease."""

AHEAD: Final = 2.0
"""Seconds of an account's pace that are drawn beyond what it needs."""

LOW: Final = 1.5
"""Seconds of pace below which a share is filled up again: one and a half intervals between reports."""


@final
class Share:
    """A share. All amounts are in the smallest unit of the budget's measure.

    Args:
        terms: Of which budget, or of which limit as one.
        key: Whose account.
        tag: What the keys of all accounts of that key begin with.
        name: Of the lease; no other share ever has it.
        seen: When it was last asked for, monotonic seconds.
    """

    __slots__ = (
        "allowance",
        "arrival",
        "budget",
        "confirmed",
        "crest",
        "drawn",
        "is_changed",
        "is_level",
        "is_reported",
        "key",
        "name",
        "pace",
        "peak",
        "place",
        "returning",
        "running",
        "seen",
        "sent",
        "spent",
        "tag",
        "taken",
        "terms",
        "times",
    )

    def __init__(self, terms: Terms, key: str, tag: bytes, place: bytes, name: str, seen: float) -> None:
        self.budget = terms.budget
        self.key = key
        self.tag = tag
        self.place = place
        self.name = name
        self.seen = seen
        self.is_level = terms.is_level
        self.terms = terms
        self.drawn = 0
        self.spent = 0
        self.confirmed = 0  # of what was spent, what the server is known to know
        self.running = 0  # set aside for requests that run
        self.returning = 0  # given back by commands that are not answered yet
        self.times = 0  # that something was set aside since the last look
        self.taken = 0  # since the last look at the pace
        self.pace = 0.0  # units per second, lately
        self.peak = 0  # most that ran at the same time since the last look
        self.crest = 0  # and in the interval before
        self.allowance = 0  # of a level: what may be kept idle
        self.arrival = 0.0  # of a rolling budget: the arrival time that our own uses alone make
        self.sent = -1e9  # when the last command that was answered left; nothing was answered yet
        self.is_changed = (
            False  # a reload gave the budget another quota: what is left was drawn under the old
        )
        self.is_reported = True  # False: the server does not know all yet

    def change(self, terms: Terms, now: float) -> None:
        """Go on under the budget of another configuration: what was used stays used."""
        budget = terms.budget
        if self.budget != budget:
            self.is_changed = True
            self.allowance = 0
            self.arrival = now + (self.spent - self.confirmed) * budget.interval  # late rather than early
        self.terms = terms
        self.budget = budget

    def left(self, now: float) -> int:
        """Return what can be set aside without asking: nothing if the server may have given it away."""
        if self.is_changed or now - self.sent > TRUSTED_SECONDS:
            return 0
        left = self.drawn - self.spent - self.running
        return left if left > 0 else 0  # noqa: FURB136 - called for every limit of every request

    @property
    def slack(self) -> int:
        """What was drawn, and is neither spent nor set aside."""
        left = self.drawn - self.spent - self.running
        return left if left > 0 else 0  # noqa: FURB136 - as above

    def take(self, amount: int) -> None:
        """Set an amount aside."""
        self.running += amount
        self.taken += amount
        self.times += 1
        self.peak = max(self.peak, self.running)

    def spend(self, now: float) -> None:
        """Spend one unit at once."""
        self.spent += 1
        self.taken += 1
        self.times += 1
        self.arrival = max(self.arrival, now) + self.budget.interval
        self.is_reported = False

    def untake(self, amount: int) -> None:
        """Give back what was set aside for a claim that failed."""
        self.running -= amount
        self.taken -= amount
        self.is_reported = False

    def settle(self, amount: int, used: int, now: float) -> None:
        """Spend what a request used, and free the rest of what was set aside for it."""
        self.running -= amount
        if used > 0 and not self.is_level:
            self.spent += used
            self.arrival = max(self.arrival, now) + used * self.budget.interval
        self.is_reported = False

    def surplus(self, now: float, *, is_idle: bool) -> int:
        """Return what is not needed soon, or may not be kept idle."""
        left = self.left(now)
        if is_idle:
            return left
        if self.is_level:
            return left - min(left, self.allowance, self._spare())
        return max(0, left - max(self.taken, int(self.pace * AHEAD)))

    def wanted(self) -> int:
        """Return how much to draw beyond what is needed now: what it took lately, and so ever more.

        Of a level, as many as ran at the same time lately, and some more; the server gives them where there
        is ample room alone, for what one process keeps idle nobody else can use meanwhile.
        """
        if self.is_level:
            return self._spare() if self.times else 0
        return max(self.taken, int(self.pace * AHEAD))

    def _spare(self) -> int:
        peak = max(self.peak, self.crest)
        return max(0, peak - self.running) + 1 + peak // 4

    def lacking(self) -> int:
        """Return how much to draw in the background, so that no request has to wait for it."""
        if self.is_level or self.pace == 0.0 or self.slack >= self.pace * LOW:
            return 0
        return max(0, int(self.pace * AHEAD) - self.slack)

    @property
    def is_over(self) -> bool:
        """True if nothing is held, and the server knows all."""
        return (
            self.is_reported
            and self.running == 0
            and self.drawn <= self.spent == self.confirmed
            and self.returning == 0
        )

    @property
    def is_idle(self) -> bool:
        """True if one request at most comes per interval.

        What comes so rarely is asked for when it comes: keeping a share would cost as many commands.
        """
        return self.pace == 0.0 and self.times <= 1

    def look(self, seconds: float) -> None:
        """Take note of the pace, once per interval."""
        taken, self.taken = self.taken, 0
        times, self.times = self.times, 0
        self.crest, self.peak = self.peak, self.running
        self.pace = 0.5 * self.pace + 0.5 * max(taken, 0) / seconds
        if self.pace * AHEAD < 1.0:
            self.pace = 0.0
        if times <= 1:
            self.pace = 0.0

    def words(self, wall: float) -> str:
        """Return kind, quota and three times of the budget, for scripts.

        Args:
            wall: Seconds since the epoch, to name calendar windows.
        """
        calendar = self.budget.calendar
        if calendar is None:
            return self.terms.text
        first, finish, later = calendar.span(wall)
        return f"calendar {self.budget.quota} {first!r} {finish!r} {later!r}"

    def line(self, wall: float, now: float, need: int, want: int, back: int) -> bytes:
        """Write the line that reports, gives back and draws, for the script.

        Args:
            wall: Seconds since the epoch, to name calendar windows.
            now: Monotonic seconds.
            need: Units for one request, 0 for a report.
            want: Units beside them.
            back: Units given back.
        """
        lead = self.arrival - now
        words = self.words(wall)
        return (
            f"{words} {self.name} {self.confirmed} {self.spent} {lead!r} {self.running} {back} {need} {want}"
        ).encode()


SWEEP: Final = 2
"""Shares looked at per new share: more than one, so that the idle shrink faster than they grow."""

SWEEP_WHEN_FULL: Final = 64
"""Shares looked at before a new one is refused: bounds the work of one request."""


@final
class Shares:
    """All shares of a process, bounded.

    Args:
        accounts: Names them.
        capacity: Most shares that are remembered.
    """

    __slots__ = ("_accounts", "_capacity", "_count", "_nonce", "_ring", "_shares")

    def __init__(self, accounts: Accounts, capacity: int) -> None:
        self._accounts = accounts
        self._capacity = capacity
        self._nonce = secrets.token_hex(8)
        self._count = 0
        self._shares: dict[tuple[str, str, str], Share] = {}
        self._ring: deque[tuple[str, str, str]] = deque()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._shares)

    def __iter__(self) -> Iterator[Share]:
        """Iterate over all."""
        return iter(self._shares.values())

    def of(self, budget: Budget, key: str, now: float) -> Share:
        """Return the share of a budget under a key.

        Raises:
            StoreUnavailable: There are too many that still hold something.
        """
        place = budget.scope, budget.name, key
        share = self._shares.get(place)
        if share is None:
            return self._make(place, budget, key, now)
        share.seen = now  # so that none of one claim makes room for another
        if share.budget is not budget:
            share.change(self._accounts.terms(budget), now)
        return share

    def _make(self, place: tuple[str, str, str], budget: Budget, key: str, now: float) -> Share:
        self._sweep(SWEEP, now - FORGET_SECONDS)
        if len(self._shares) >= self._capacity:
            self._sweep(SWEEP_WHEN_FULL, now - REST_SECONDS)
        if len(self._shares) >= self._capacity:
            raise StoreUnavailable
        self._count = (self._count + 1) & 0xFFFFFFFF
        name = f"{self._nonce}{self._count:08x}"
        accounts = self._accounts
        terms, tag, at = accounts.terms(budget), accounts.tag(key), accounts.place(budget, key)
        share = self._shares[place] = Share(terms, key, tag, at, name, now)
        self._ring.append(place)
        return share

    def _sweep(self, count: int, before: float) -> None:
        """Forget shares that rested since then and owe nothing."""
        ring = self._ring
        for _ in range(min(count, len(ring))):
            share = self._shares[ring[0]]
            if share.seen < before and share.sent < before and share.is_over and share.pace == 0.0:
                del self._shares[ring.popleft()]
            else:
                ring.rotate(-1)
