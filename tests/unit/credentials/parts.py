"""Parts that the tests of this package share."""

from __future__ import annotations

from typing import final

NOW = 1_790_000_000.0


@final
class FixedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def tick(self) -> float:
        return self.now
