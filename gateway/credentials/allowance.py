"""How often somebody may cause something: a rate per name, in bounded memory, without timers.

The generic cell rate algorithm: one number per name, the time at which its burst would be whole again.
"""

from __future__ import annotations

from typing import Final, final

MAX_NAMES: Final = 10_000


@final
class Allowance:
    """A rate with a burst, for each of many names.

    Args:
        count: Units per period, and at once.
        period: Seconds.
        capacity: How many names are surely remembered; at most twice as many are. Who is forgotten has
            its whole burst again.
    """

    __slots__ = ("_burst", "_capacity", "_interval", "_old", "_young")

    def __init__(self, count: int, period: float, capacity: int = MAX_NAMES) -> None:
        self._interval = period / count
        self._burst = period + self._interval / 1000  # clocks of long uptimes round by less
        self._capacity = capacity
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}

    def take(self, name: str, now: float) -> bool:
        """Take one unit, if there is one.

        Args:
            name: Whose.
            now: Monotonic seconds.
        """
        whole = max(self._whole(name), now) + self._interval
        if whole - now > self._burst:
            return False
        self._remember(name, whole)
        return True

    def give_back(self, name: str) -> None:
        """Undo one `take`."""
        if name in self._young or name in self._old:
            self._remember(name, self._whole(name) - self._interval)

    def _whole(self, name: str) -> float:
        found = self._young.get(name)
        return self._old.get(name, 0.0) if found is None else found

    def _remember(self, name: str, whole: float) -> None:
        if name not in self._young and len(self._young) >= self._capacity:
            self._old = self._young
            self._young = {}
        self._young[name] = whole
