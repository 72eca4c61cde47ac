"""What ties a worker to its supervisor: the sockets it was given, its number, and the answers it owes.

Answers reports and passes operators' connections to the worker's own application. When the supervisor is
gone the worker drains for two seconds and ends: nobody watches it any more, and the next supervisor needs
its audit chain.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, final

import structlog
from aiohttp import web

from gateway.admin import build_admin, build_admin_runner
from gateway.app.door import Door, Purpose
from gateway.app.proposal import answer
from gateway.app.relay import CALLER
from gateway.app.report import Report, encode
from gateway.wire.tasks import spawn

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from contextlib import AsyncExitStack

    from aiohttp.typedefs import Handler

    from gateway.admin import AdminSources
    from gateway.app.proposal import Taker
    from gateway.observe.chain import Head
    from gateway.observe.families import Family

ORPHAN_SECONDS: Final = 2.0  # for running requests when the supervisor is gone


@web.middleware
async def _called_by(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take the caller's address from the supervisor: nobody else comes through the door."""
    return await handler(request.clone(remote=request.headers.get(CALLER, "")))


@final
class Supervised:
    """The worker's half of the bond.

    Args:
        door: Where the supervisor's connections come through.
        listen: Listening sockets for clients.
    """

    def __init__(self, door: socket.socket, listen: Sequence[socket.socket]) -> None:
        self.listen = tuple(listen)
        self._door = door
        self._lock = asyncio.Lock()

    async def answer(
        self,
        stack: AsyncExitStack,
        sources: AdminSources,
        *,
        token: str | None,
        families: Callable[[], list[Family]],
        head: Callable[[], Head],
        taker: Taker,
        stop: Callable[[float], None],
    ) -> None:
        """Begin to answer the supervisor; `stack` ends it.

        Args:
            stack: Of the process.
            sources: What operators may ask.
            token: What they must show.
            families: Everything counted; takes milliseconds.
            head: Where the audit chain on disk ends.
            taker: Takes configurations.
            stop: Told in how many seconds to end when the supervisor is gone.
        """
        app = build_admin(sources, token=token)
        app.middlewares.insert(0, _called_by)
        runner = build_admin_runner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)

        async def report(connection: socket.socket) -> None:
            with connection:
                async with self._lock:  # a later report never counts less
                    counted = await asyncio.to_thread(families)
                seq, last = head()
                data = encode(
                    Report(
                        parts=dict(sources.readiness()),
                        status=dict(sources.status()),
                        seq=seq,
                        hash=last,
                        families=counted,
                    )
                )
                await asyncio.get_running_loop().sock_sendall(connection, data)

        async def admit(connection: socket.socket) -> None:
            assert runner.server is not None  # noqa: S101 - it is set up
            await asyncio.get_running_loop().connect_accepted_socket(runner.server, connection)

        def gone() -> None:
            structlog.get_logger().error("supervisor-gone", seconds=ORPHAN_SECONDS)
            stop(ORPHAN_SECONDS)

        door = Door(
            self._door,
            {
                Purpose.REPORT: lambda connection: spawn(report(connection), "report"),
                Purpose.ADMIN: lambda connection: spawn(admit(connection), "admin"),
                Purpose.RELOAD: lambda connection: spawn(answer(connection, taker), "reload"),
            },
            gone,
        )
        door.open()
        stack.callback(door.close)
