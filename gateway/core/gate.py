"""What a line may wait for without an event loop: a gate that somebody opens once.

Awaited only where something drives a line by hand (`wire.driver`); a task of asyncio cannot wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Generator


class Waiting:
    """Whoever waits at a gate."""

    __slots__ = ()

    def resume(self) -> None:
        """Go on: the gate is open."""
        raise NotImplementedError


@final
class Gate:
    """Something to wait for once: opened with nothing, or with an error to raise."""

    __slots__ = ("_error", "_is_open", "_waiting")

    def __init__(self) -> None:
        self._waiting: Waiting | None = None
        self._error: Exception | None = None
        self._is_open = False

    def open(self, error: Exception | None = None) -> None:
        """Let the waiting line go on, now; the first call counts."""
        if self._is_open:
            return
        self._is_open = True
        self._error = error
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.resume()

    def __await__(self) -> Generator[Gate, None, None]:
        if not self._is_open:
            yield self
        if self._error is not None:
            raise self._error

    def hold(self, waiting: Waiting | None) -> None:
        """Name who waits; for the driver alone."""
        self._waiting = waiting
