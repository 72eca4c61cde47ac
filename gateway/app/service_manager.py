"""Tells systemd how it goes (sd_notify(3), `Type=notify`): ready, stopping, still alive. Says no secret.

A few lines of datagrams instead of a library. Silent where nobody asked to be told.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final, Self, final

from gateway.credentials.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack


RELOAD_STATES: Final = ("RELOADING=", "READY=")


@final
class ServiceManager:
    """Who started us and wants to know.

    Args:
        address: Its socket: a path, or an abstract name that begins with `@`; None: nobody.
        watchdog: Seconds within which it wants to hear that we live; None: it does not.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address is not None and address[0] == "@" else address
        self._is_stopping = False
        self.watchdog = None if address is None else watchdog

    @classmethod
    def of_environment(cls) -> Self:
        """Return the one that the environment names (systemd.exec(5)); these variables are no secrets."""
        address = os.getenv("NOTIFY_SOCKET", "")
        microseconds, process = os.getenv("WATCHDOG_USEC", ""), os.getenv("WATCHDOG_PID", "")
        is_meant = microseconds.isdigit() and process in {"", str(os.getpid())}
        watchdog = int(microseconds) / 1e6 if is_meant else None
        return cls(address if address[:1] in {"/", "@"} else None, watchdog or None)

    def keep_alive(self, stack: AsyncExitStack, is_well: Callable[[], bool] = lambda: True) -> None:
        """Say again and again that we live, while all is well; `stack` ends it."""
        if self.watchdog is None:
            return

        async def say() -> None:
            if is_well():
                self.tell("WATCHDOG=1")

        beat = Periodic("watchdog", self.watchdog / 3, say)
        beat.start()
        stack.push_async_callback(beat.stop)

    def tell(self, *states: str) -> None:
        """Send states, `READY=1`; never blocks, never raises: it is not worth stopping for.

        Once `STOPPING=1` was sent no reload that is still under way says that all is ready again.
        """
        self._is_stopping = self._is_stopping or "STOPPING=1" in states
        if self._address is None or (self._is_stopping and states[0].startswith(RELOAD_STATES)):
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(states).encode(), self._address)
