"""When a worker that died is started again: at once the first time, then ever later, never in a tight loop.

Pure arithmetic: knows no process and waits for nothing.
"""

from __future__ import annotations

from typing import Final, final

STEADY: Final = 30.0  # seconds after which a worker's earlier deaths are forgotten
FIRST: Final = 0.5  # seconds before the second start in a row; doubled with each further one
LONGEST: Final = 30.0  # seconds


@final
class Restarts:
    """The deaths of one worker in a row."""

    __slots__ = ("deaths",)

    def __init__(self) -> None:
        self.deaths = 0

    def delay(self, lived: float) -> float:
        """Count a death; return how long to wait before the next start, in seconds.

        Args:
            lived: Seconds from its start to its death.
        """
        if lived >= STEADY:
            self.deaths = 0
        self.deaths += 1
        if self.deaths == 1:
            return 0.0
        return float(min(LONGEST, FIRST * 2 ** min(self.deaths - 2, 16)))
