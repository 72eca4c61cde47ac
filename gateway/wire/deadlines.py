"""One timer for all connections of a process, instead of several per request.

A `call_later` and its cancellation cost about 2 us; a request has five deadlines. Connections carry
the time at which they expire and one sweep looks at all of them, four times a second: a deadline is
met up to `GRAIN` seconds late, never early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    import asyncio

GRAIN = 0.25  # seconds between sweeps
NEVER = float("inf")


class Expiring(Protocol):
    """Something with a deadline."""

    deadline: float

    def expire(self, now: float) -> None:
        """The deadline has passed; sets a new one or ends."""


@final
class Deadlines:
    """The sweep. `watch` on connect, `forget` on close."""

    __slots__ = ("_loop", "_timer", "_watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[Expiring] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, expiring: Expiring) -> None:
        """Look after this one from now on."""
        self._watched.add(expiring)
        if self._timer is None:
            self._timer = self._loop.call_later(GRAIN, self._sweep)

    def forget(self, expiring: Expiring) -> None:
        """Do not look after this one any longer."""
        self._watched.discard(expiring)

    def close(self) -> None:
        """Stop sweeping."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = self._loop.time()
        # first of all: whatever goes wrong below, the next sweep comes
        self._timer = self._loop.call_later(GRAIN, self._sweep) if self._watched else None
        for expiring in [each for each in self._watched if each.deadline <= now]:
            expiring.expire(now)
