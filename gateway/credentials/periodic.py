"""Runs one action again and again in the background, at times that fleets do not share.

What it keeps fresh is what others are believed by, so a fault of ours in one run is said and does not end
the runs that would come.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

JITTER: Final = 0.1  # share of the interval: replicas started together drift apart


@final
class Periodic:
    """One background task, owned: whoever starts it stops it.

    Args:
        name: Shown in debuggers.
        interval: Seconds between the end of one run and the begin of the next, give or take 10 %; or what
            returns them, asked before each wait.
        action: What to run; it handles its own failures: what it raises is a bug, of which the event loop's
            exception handler is told the type alone.
    """

    __slots__ = ("_action", "_interval", "_name", "_task")

    def __init__(
        self, name: str, interval: float | Callable[[], float], action: Callable[[], Awaitable[None]]
    ) -> None:
        self._name = name
        self._interval = interval
        self._action = action
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start, unless it runs already."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Stop, and wait until it has stopped. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            spread = 1 + JITTER * (secrets.randbelow(2001) / 1000 - 1)
            interval = self._interval
            await asyncio.sleep((interval() if callable(interval) else interval) * spread)
            try:
                await self._action()
            except Exception as fault:  # noqa: BLE001 - our bug must not end the watching
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"{self._name}: a fault of the gateway: {type(fault).__name__}"}
                )
