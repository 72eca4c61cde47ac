"""One process's share of one budget: what it drew from the store, spent, set aside, and has left.

Numbers and their arithmetic; sends nothing. `drawn` and `spent` only grow, and go to the server as they
are: a command or reply that was lost is made good by the next one.
"""

from __future__ import annotations

import secrets
from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, final

from gateway.core.ports import StoreUnavailable
from gateway.state.connection import pack
from gateway.state.script import TAG_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.budgets import Budget

LEASE_SECONDS: Final = 15.0
"""After so long without a word from us the server gives our share to others."""

TRUSTED_SECONDS: Final = 10.0
"""For so long we spend a share without a word from the server: less, as clocks and networks differ."""

FORGET_SECONDS: Final = 30.0
"""After so long the server has surely forgotten a lease of which it heard nothing."""

AHEAD: Final = 2.0
"""Seconds of an identity's pace that are drawn beyond what it needs."""


@final
class Share:
    """A share. All amounts are in the smallest unit of the budget's measure.

    Args:
        budget: Of which budget.
        key: Whose account.
        place: The account's key in the store.
        name: Of the lease; no other share ever has it.
        made: When, monotonic seconds.
    """

    __slots__ = (
        "budget",
        "confirmed",
        "drawn",
        "is_changed",
        "is_reported",
        "key",
        "last_use",
        "made",
        "name",
        "pace",
        "place",
        "returning",
        "running",
        "sent",
        "spent",
        "taken",
        "times",
    )

    def __init__(self, budget: Budget, key: str, place: bytes, name: bytes, made: float) -> None:
        self.budget = budget
        self.key = key
        self.place = place
        self.name = name
        self.made = made
        self.drawn = 0
        self.spent = 0
        self.confirmed = 0  # of what was spent, what the server is known to know
        self.running = 0  # set aside for requests that run
        self.returning = 0  # given back by commands that are not answered yet
        self.times = 0  # that something was set aside since the last look
        self.taken = 0  # since the last look at the pace
        self.pace = 0.0  # units per second, lately
        self.last_use = 0.0
        self.sent = -1e9  # when the last command that was answered left; nothing was answered yet
        self.is_changed = (
            False  # a reload gave the budget another quota: what is left was drawn under the old
        )
        self.is_reported = True  # False: the server does not know all yet

    def left(self, now: float) -> int:
        """Return what can be set aside without asking: nothing if the server may have given it away."""
        if self.is_changed or now - self.sent > TRUSTED_SECONDS:
            return 0
        return self.slack

    @property
    def slack(self) -> int:
        """What was drawn, and is neither spent nor set aside."""
        return max(0, self.drawn - self.spent - self.running)

    def take(self, amount: int) -> None:
        """Set an amount aside."""
        self.running += amount
        self.taken += amount
        self.times += 1

    def untake(self, amount: int) -> None:
        """Give back what was set aside for a claim that failed."""
        self.running -= amount
        self.taken -= amount
        self.is_reported = False

    def settle(self, amount: int, used: int, now: float) -> None:
        """Spend what a request used, and free the rest of what was set aside for it."""
        self.running -= amount
        if used > 0:
            self.spent += used
            self.last_use = now
        self.is_reported = False

    def surplus(self, now: float, *, is_idle: bool) -> int:
        """Return what is not needed soon."""
        keep = 0 if is_idle or self.budget.measure.is_level else int(self.pace * AHEAD)
        return max(0, self.left(now) - keep)

    def wanted(self) -> int:
        """Return how much to draw beyond what is needed now: what it took lately, and so ever more.

        Nothing of a level: what one process keeps free, nobody else can use meanwhile.
        """
        return 0 if self.budget.measure.is_level else max(self.taken, int(self.pace * AHEAD))

    @property
    def is_over(self) -> bool:
        """True if nothing is held, and the server knows all."""
        return (
            self.is_reported
            and self.running == 0
            and self.drawn <= self.spent == self.confirmed
            and self.returning == 0
        )

    def look(self, seconds: float) -> bool:
        """Take note of the pace once per interval; return True if one request at most came in it.

        What comes so rarely is asked for when it comes: keeping a share would cost as many commands.
        """
        taken, self.taken = self.taken, 0
        times, self.times = self.times, 0
        self.pace = 0.5 * self.pace + 0.5 * max(taken, 0) / seconds
        if self.pace * AHEAD < 1.0:
            self.pace = 0.0
        if times <= 1:
            self.pace = 0.0
        return times <= 1

    def command(
        self, digest: bytes, clock: str, wall: float, now: float, need: int, want: int, back: int
    ) -> bytes:
        """Pack the command that reports, gives back and draws.

        Args:
            digest: Of the script.
            clock: Time for the script; "" for the server's own.
            wall: Seconds since the epoch, to name calendar windows.
            now: Monotonic seconds.
            need: Units for one request, 0 for a report.
            want: Units beside them.
            back: Units given back.
        """
        return pack(
            "EVALSHA",
            digest,
            1,
            self.place,
            clock,
            *kind_of(self.budget, wall),
            self.name,
            repr(LEASE_SECONDS),
            self.confirmed,
            self.spent,
            repr(max(now - self.last_use, 0.0)),
            self.running,
            back,
            need,
            want,
        )


def kind_of(budget: Budget, wall: float) -> tuple[str | int, ...]:
    """Return what scripts have to know of a budget: its kind, its quota, and its times.

    Args:
        budget: The budget.
        wall: Seconds since the epoch, to name calendar windows.
    """
    if budget.measure.is_level:
        return "level", budget.quota, "0.0", "0.0", "0.0"
    if budget.calendar is None:
        return "rolling", budget.quota, repr(budget.period), repr(budget.interval), "0.0"
    return "calendar", budget.quota, *map(repr, budget.calendar.span(wall))


@final
class Drawn:
    """What the server said to one command.

    Args:
        is_granted: True if the need was met.
        drawn: Units drawn in all.
        room: What there was, before.
        used: What was used.
        reset: Seconds until the quota is whole.
    """

    __slots__ = ("drawn", "is_granted", "reset", "room", "used")

    def __init__(self, is_granted: bool, drawn: int, room: int, used: int, reset: float) -> None:  # noqa: FBT001 - from `read` alone
        self.is_granted = is_granted
        self.drawn = drawn
        self.room = room
        self.used = used
        self.reset = reset


def read(reply: object) -> Drawn | None:
    """Read the script's answer; None if it is none: what is not understood grants nothing."""
    match reply:
        case [0 | 1 as granted, bytes(drawn), bytes(room), bytes(used), bytes(reset)]:
            try:
                return Drawn(
                    granted == 1, int(float(drawn)), int(float(room)), int(float(used)), float(reset)
                )
            except (ValueError, OverflowError):
                return None
        case _:
            return None


SWEEP: Final = 4
"""Shares looked at per new share: more than one, so that the idle shrink faster than they grow."""


@final
class Shares:
    """All shares of a process, bounded.

    Args:
        prefix: What all keys in the store begin with.
        blinding: Key of the digest that stands for an account. At most 64 bytes.
        capacity: Most shares that are remembered.
    """

    __slots__ = ("_blinding", "_capacity", "_count", "_nonce", "_prefix", "_ring", "_shares")

    def __init__(self, prefix: str, blinding: bytes, capacity: int) -> None:
        self._prefix = prefix.encode()
        self._blinding = blinding
        self._capacity = capacity
        self._nonce = secrets.token_hex(8).encode()
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
            self._sweep(now)
            self._count = (self._count + 1) & 0xFFFFFFFF
            name = b"%b%08x" % (self._nonce, self._count)
            share = self._shares[place] = Share(budget, key, self._place(budget, key), name, now)
            self._ring.append(place)
        elif share.budget is not budget:
            is_other = share.budget != budget
            share.budget = budget  # after a reload: what was used stays used
            share.is_changed = share.is_changed or is_other
        return share

    def _place(self, budget: Budget, key: str) -> bytes:
        """Name the account in the store: the key is blinded, and what it is of is part of the digest."""
        text = f"{len(budget.scope)}:{budget.scope}{len(budget.name)}:{budget.name}{key}"
        packed = text.encode("utf-8", "surrogatepass")
        digest = blake2b(packed, digest_size=TAG_LENGTH // 2, key=self._blinding).hexdigest()
        return b"%b{%b}:budget" % (self._prefix, digest.encode())

    def _sweep(self, now: float) -> None:
        """Forget shares whose lease has lapsed and that owe nothing; refuse if there are too many others."""
        ring = self._ring
        for _ in range(min(SWEEP, len(ring))):
            place = ring.popleft()
            share = self._shares[place]
            if now - max(share.sent, share.made) > FORGET_SECONDS and share.is_over and share.pace == 0.0:
                del self._shares[place]
            else:
                ring.append(place)
        if len(self._shares) >= self._capacity:
            raise StoreUnavailable
