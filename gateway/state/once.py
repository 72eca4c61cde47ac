"""What may be used once, remembered in this process's memory: for a gateway that is alone.

A name is remembered for as long as its claimer said, by digest. Memory is bounded by `entries`: names
that have lapsed are swept a few at a time with every new one. One that still counts is never dropped;
when there is no room, nobody can claim anything.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, final

from gateway.core.ports import StoreUnavailable

if TYPE_CHECKING:
    from gateway.core.ports import Clock

SWEEP: Final = 4
"""Lapsed names forgotten per claim: more than one, so that they shrink faster than they grow."""

ENTRIES: Final = 500_000
"""About 100 MB when full: 7,000 proofs a second over their 70 seconds, more than one process verifies."""


@final
class MemoryOnce:
    """Names claimed in memory. Implements `gateway.core.ports.Once`.

    Args:
        clock: Its `tick` is the time.
        entries: Most names that are remembered.
    """

    __slots__ = ("_capacity", "_clock", "_lapses", "_order")

    def __init__(self, clock: Clock, *, entries: int = ENTRIES) -> None:
        self._clock = clock
        self._capacity = entries
        self._lapses: dict[bytes, float] = {}
        self._order: list[tuple[float, bytes]] = []  # a heap

    def __len__(self) -> int:
        """Return how many names are remembered."""
        return len(self._lapses)

    async def claim(self, name: bytes, seconds: float, /) -> bool:
        """Claim a name for a time; never suspends.

        Raises:
            StoreUnavailable: The memory is full of names that still count.
        """
        now = self._clock.tick()
        self._sweep(now)
        lapse = self._lapses.get(name)
        if lapse is not None and now < lapse:
            return False
        if lapse is None and len(self._lapses) >= self._capacity:
            raise StoreUnavailable
        self._lapses[name] = now + seconds
        heappush(self._order, (now + seconds, name))
        return True

    def _sweep(self, now: float) -> None:
        """Forget the names that lapsed first; one that was claimed again has a newer entry."""
        order, lapses = self._order, self._lapses
        for _ in range(SWEEP):
            if not order or order[0][0] > now:
                return
            lapse, name = heappop(order)
            if lapses.get(name) == lapse:
                del lapses[name]
