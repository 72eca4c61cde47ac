"""Runs the line of one request without a task and, while it is warm, without the event loop.

The line is a coroutine, so that it reads from top to bottom; but an `asyncio.Task` costs two trips
through the loop for every request and one for every wait, about 5 us of the 20 that a request costs.
A `Driver` sends the coroutine on by hand: at once when it starts, and straight from the callback that
brings what it waits for. What it may wait for: a `Gate`, or a plain asyncio future (the
store's answer, a key refresh). `asyncio.timeout` and `current_task` have no meaning inside.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, final

from gateway.core.gate import Gate, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Driver", "Gate"]


_END: Final = Gate()  # never opened


async def _parked(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a line, and wait at its end for what never comes: to return would cost an exception, 1 us."""
    await coroutine
    await _END


@final
class Driver(Waiting):
    """Drives one coroutine to its end.

    Args:
        coroutine: The line of one request.
        done: Called once when it has ended, with the exception that escaped it, or None.
    """

    __slots__ = ("_coroutine", "_done", "_waits_for")

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], done: Callable[[BaseException | None], None]
    ) -> None:
        self._coroutine: Coroutine[Any, Any, None] | None = _parked(coroutine)
        self._done = done
        self._waits_for: Gate | asyncio.Future[Any] | None = None

    def resume(self) -> None:
        """Go on until the coroutine waits again or ends."""
        self._waits_for = None
        coroutine = self._coroutine
        if coroutine is None:
            return
        try:
            awaited = coroutine.send(None)
        except BaseException as error:  # noqa: BLE001 - handed to `done`; nothing is swallowed
            self._end(error)
        else:
            self._wait(awaited)

    def throw(self, error: BaseException) -> None:
        """Raise in the coroutine where it waits. Nothing happens if it has ended."""
        waits_for, self._waits_for = self._waits_for, None
        coroutine = self._coroutine
        if coroutine is None:
            return
        if isinstance(waits_for, Gate):
            waits_for.hold(None)
        elif waits_for is not None:
            waits_for.remove_done_callback(self._wake)
        try:
            awaited = coroutine.throw(error)
        except BaseException as escaped:  # noqa: BLE001 - handed to `done`; nothing is swallowed
            self._end(escaped)
        else:
            self._wait(awaited)

    def _wait(self, awaited: Any) -> None:  # noqa: ANN401 - whatever a coroutine may yield
        if awaited is _END:
            self._end(None)
            return
        self._waits_for = awaited
        if type(awaited) is Gate:
            awaited.hold(self)
            return
        if not asyncio.isfuture(awaited):  # a bare yield: nobody would ever resume it
            self.throw(RuntimeError("a line waits for gates and futures only"))
            return
        awaited._asyncio_future_blocking = False  # noqa: SLF001 - what asyncio.Task does
        awaited.add_done_callback(self._wake)

    def _wake(self, _future: asyncio.Future[Any]) -> None:
        self.resume()

    def _end(self, error: BaseException | None) -> None:
        self._coroutine = None
        self._done(error)
