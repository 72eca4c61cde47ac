"""One worker as its supervisor sees it: started, listened to, told to end, found dead.

Knows nothing of the others and decides nothing: when to start one again is its caller's business.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, final

import msgspec

from gateway.app.door import Purpose, hand_in
from gateway.app.report import decode
from gateway.app.worker import Orders, write_orders

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.app.report import Report


@final
class Silent(Exception):
    """A worker lives, but did not answer in time."""


@final
class Child:
    """One worker process. Start it with `start`.

    Args:
        number: Of the worker, from 1.
        process: The process.
        door: Our end of its door.
        tick: Seconds, monotonic.
    """

    def __init__(
        self, number: int, process: subprocess.Popen[bytes], door: socket.socket, tick: Callable[[], float]
    ) -> None:
        self.number = number
        self.door = door
        self.report: Report | None = None
        self.is_serving = False
        self.has_served = False
        self.is_asked_to_end = False
        self.is_killed = False
        self._process = process
        self._tick = tick
        self._began = self._heard_at = tick()
        self._turn = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def lived(self) -> float:
        """Seconds since it was started."""
        return self._tick() - self._began

    @property
    def code(self) -> int | None:
        """How it ended: its exit code, or minus the number of a signal; None while it lives."""
        return self._process.poll()

    def wake(self) -> None:
        """Have whoever watches it look again: it may have died, or it must report sooner."""
        self._turn.set()

    def wish(self) -> asyncio.Future[None]:
        """Ask for a report; the result comes when there is one that was made after now, or never will be."""
        wish: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(wish)
        self.wake()
        return wish

    async def listen(self, seconds: float) -> None:
        """Get a report, if the worker still has one to give.

        Raises:
            Silent: It did not answer for so many seconds, or not usably.
        """
        self._turn.clear()
        wishes, self._waiting = self._waiting, []
        try:
            async with asyncio.timeout(seconds):
                connection = hand_in(self.door, Purpose.REPORT)
                reader, writer = await asyncio.open_connection(sock=connection)
                try:
                    data = await reader.read()
                finally:
                    writer.close()
            report = decode(data)
        except TimeoutError:
            raise Silent from None
        except (OSError, msgspec.DecodeError):  # it is ending, or not well: what it said before stands
            if self._tick() - self._heard_at > seconds:
                raise Silent from None
        else:
            self._heard_at = self._tick()
            self.report = report
            self.is_serving = report.parts.get("serving", False)
            self.has_served = self.has_served or self.is_serving
        finally:
            for wish in wishes:
                if not wish.done():
                    wish.set_result(None)

    async def rest(self, seconds: float) -> None:
        """Wait, unless somebody wakes us."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._turn.wait()

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.code is None:
            self._process.send_signal(number)

    def ask_to_end(self) -> None:
        """Have it drain; once, for at its very end a second signal would cost it the last of its log."""
        if not self.is_asked_to_end:
            self.is_asked_to_end = True
            self.tell(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self.is_killed = True
        self.tell(signal.SIGKILL)

    def bury(self) -> str:
        """Let go of a worker that is dead or dying; return how it ended, in words."""
        self.is_serving = False
        self.door.close()
        for wish in self._waiting:
            wish.cancel()
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return f"signal {-code} ({signal.Signals(-code).name})"
        return f"signal {-code}"


def start(
    command: Sequence[str],
    orders: Orders,
    listen: Sequence[socket.socket],
    tick: Callable[[], float],
) -> Child:
    """Start a worker: a new interpreter, which inherits nothing but what it is meant to.

    Args:
        command: What runs; the descriptor of the orders is appended.
        orders: What it is told; door and sockets are filled in here.
        listen: What it listens on.
        tick: Seconds, monotonic.

    Raises:
        OSError: The system has no more processes or descriptors.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    told = msgspec.structs.replace(orders, door=theirs.fileno(), listen=[one.fileno() for one in listen])
    try:
        descriptor = write_orders(told)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command line, once more
                [*command, str(descriptor)],
                stdin=subprocess.DEVNULL,
                pass_fds=(descriptor, told.door, told.log_lock, *told.listen),
            )
        finally:
            os.close(descriptor)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return Child(orders.number, process, ours, tick)
