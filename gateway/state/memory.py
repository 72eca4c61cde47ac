"""Exact limits of one process, in memory: the embedded default, and the local share of a fleet.

`admit` never suspends, so nothing comes between reading and writing an entry. Memory is bounded by
`entries`: idle entries are swept a few at a time whenever a new one is made. An entry that still
restrains its identity is never dropped; when nothing is idle, new identities are refused.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, final

from gateway.core.limits import Ledger, charge
from gateway.core.ports import StoreUnavailable
from gateway.state.verdict import GRAIN, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.budgets import Hold
    from gateway.core.limits import RouteLimits
    from gateway.core.ports import Clock

SWEEP: Final = 4
"""Entries looked at per new entry: more than one, so that the idle shrink faster than they grow."""

SWEEP_WHEN_FULL: Final = 64
"""Entries looked at before a new identity is refused: bounds the work of one request."""


@final
class Entry:
    """What one identity has used of one route's limits; also the lease of a concurrency slot."""

    __slots__ = ("arrivals", "key", "limits", "retired", "running")

    def __init__(self, key: tuple[str, str], limits: RouteLimits) -> None:
        self.key = key
        self.limits = limits
        self.arrivals = [0.0] * len(limits.rates)
        self.running = 0
        self.retired: dict[str, float] = {}  # arrivals of limits that the last reload took away

    def adopt(self, limits: RouteLimits, now: float) -> None:
        """Go on under new limits after a reload: what was used under a limit's name stays used.

        While an old configuration drains, claims under both alternate; neither forgives anything. A
        limit that became smaller locks nobody out for longer than its own burst takes.
        """
        known = self.retired
        known.update((limit.name, was) for limit, was in zip(self.limits.rates, self.arrivals, strict=True))
        self.arrivals = [
            min(known.pop(limit.name, 0.0), now + limit.tolerance + limit.interval) for limit in limits.rates
        ]
        self.retired = {name: arrival for name, arrival in known.items() if arrival > now}
        self.limits = limits

    def is_idle(self, now: float) -> bool:
        """Tell whether forgetting the entry would change nothing."""
        return (
            self.running == 0
            and max(self.arrivals, default=0.0) <= now
            and max(self.retired.values(), default=0.0) <= now
        )


@final
class MemoryStore:
    """Limits in this process's memory. Implements `gateway.core.ports.Store`.

    Args:
        clock: Its `tick` is the time of the limits.
        entries: Most pairs of identity and route that are remembered, some 470 bytes each.
    """

    __slots__ = ("_capacity", "_clock", "_entries", "_ring")

    def __init__(self, clock: Clock, *, entries: int = 1_000_000) -> None:
        self._clock = clock
        self._capacity = entries
        self._entries: dict[tuple[str, str], Entry] = {}
        self._ring: deque[Entry] = deque()

    def __len__(self) -> int:
        """Return how many pairs of identity and route are remembered."""
        return len(self._entries)

    async def admit(
        self, key: str, limits: RouteLimits, _ahead: Callable[[], Sequence[Hold]] | None = None, /
    ) -> Ledger:
        """Charge one request against all limits, or none; never suspends.

        Raises:
            StoreUnavailable: The memory is full of entries that still restrain their identities.
        """
        now = self._clock.tick()
        entry = self._entries.get((limits.scope, key))
        if entry is None:
            entry = self._make((limits.scope, key), limits, now)
        elif entry.limits is not limits:
            entry.adopt(limits, now)
        rates = limits.rates
        arrivals = entry.arrivals
        charged: list[float] | None = None
        arrival = 0.0
        if len(rates) == 1:  # the common case, without a list
            arrival, early = charge(rates[0], arrivals[0], now)
            if early > GRAIN:
                return self._refuse(entry, now, is_rate=True)
        else:
            charged = []
            for limit, stored in zip(rates, arrivals, strict=True):
                later, early = charge(limit, stored, now)
                if early > GRAIN:
                    return self._refuse(entry, now, is_rate=True)
                charged.append(later)
        concurrency = limits.concurrency
        if concurrency is not None:
            if entry.running >= concurrency.maximum:
                return self._refuse(entry, now, is_rate=False)
            entry.running += 1
        if charged is None:
            arrivals[0] = arrival
        else:
            entry.arrivals = charged
        return Ledger(None if concurrency is None else entry)

    def settle(self, ledger: Ledger, /) -> None:
        """Give the concurrency slot back; the second call finds no lease and does nothing."""
        lease = ledger.lease
        if isinstance(lease, Entry):
            ledger.lease = None
            lease.running -= 1

    def entry(self, scope: str, key: str) -> Entry | None:
        """Return what an identity has used of a route's limits, for `memory_accounts` alone."""
        return self._entries.get((scope, key))

    def _refuse(self, entry: Entry, now: float, *, is_rate: bool) -> Ledger:
        debts = [max(arrival - now, 0.0) for arrival in entry.arrivals]
        return refusal(entry.limits, debts, entry.running, is_rate=is_rate)

    def _make(self, key: tuple[str, str], limits: RouteLimits, now: float) -> Entry:
        self._sweep(SWEEP, now)
        if self._is_full():
            self._sweep(SWEEP_WHEN_FULL, now)
        if self._is_full():
            raise StoreUnavailable
        entry = self._entries[key] = Entry(key, limits)
        self._ring.append(entry)
        return entry

    def _is_full(self) -> bool:
        return len(self._entries) >= self._capacity

    def _sweep(self, count: int, now: float) -> None:
        """Look at the next entries of the ring, and forget those that restrain nobody any more."""
        ring = self._ring
        for _ in range(min(count, len(ring))):
            entry = ring.popleft()
            if entry.is_idle(now):
                del self._entries[entry.key]
            else:
                ring.append(entry)
