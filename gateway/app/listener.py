"""The clients' listener: its sockets stay, what serves them is replaced when the TLS context changes.

The event loop keeps a server's context for good. So a second server is started on duplicates of the
listening sockets, and then the first one is closed: the kernel's queue belongs to the sockets, no
connection in it is lost, and handshakes that are under way end as they began.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, final

from gateway.app.listening import BACKLOG

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from gateway.config.addresses import Listen

# From 3.13 on a server would remove its path when it closes, although another one listens there.
UNIX: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


@final
class Listener:
    """One listening address.

    Args:
        protocol: Makes the protocol of a connection.
        handshake: Seconds that a TLS handshake may take.
    """

    def __init__(self, protocol: Callable[[], asyncio.Protocol], handshake: float) -> None:
        self._protocol = protocol
        self._handshake = handshake
        self._servers: list[asyncio.Server] = []
        self._is_closed = False

    async def open(
        self, listen: Listen, tls: ssl.SSLContext | None = None, inherited: Sequence[socket.socket] = ()
    ) -> object:
        """Listen.

        Args:
            listen: The address; bound here unless somebody did.
            tls: Context for TLS, or None.
            inherited: Sockets that listen on it already.

        Returns:
            The first socket's own name for its address.

        Raises:
            OSError: The address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        timeout = None if tls is None else self._handshake
        if inherited:
            self._servers = [await self._serve(each, tls) for each in inherited]
            for server in self._servers:
                await server.start_serving()
        elif listen.path is not None:
            server = await loop.create_unix_server(
                self._protocol, listen.path, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=timeout, **UNIX
            )
            self._servers = [server]
        else:
            server = await loop.create_server(
                self._protocol,
                listen.host,
                listen.port,
                backlog=BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=timeout,
            )
            self._servers = [server]
        name: object = self._servers[0].sockets[0].getsockname()
        return name

    async def replace(self, tls: ssl.SSLContext) -> None:
        """Shake hands under another context from now on.

        Raises:
            OSError: There are no file descriptors left; nothing has changed.
        """
        old = self._servers
        new: list[asyncio.Server] = []
        try:
            for each in [found for server in old for found in server.sockets]:
                new.append(await self._serve(socket.socket(fileno=os.dup(each.fileno())), tls))
                await new[-1].start_serving()
        except BaseException:  # cancelled, too: none that was begun goes on by itself
            _close(new)
            raise
        if self._is_closed:  # meanwhile: a worker that drains listens no more
            _close(new)
            return
        self._servers = new
        await _rest(old)
        _close(old)

    def close(self) -> None:
        """Take no more connections; those that are there stay."""
        self._is_closed = True
        _close(self._servers)
        self._servers = []

    async def _serve(self, listening: socket.socket, tls: ssl.SSLContext | None) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        timeout = None if tls is None else self._handshake
        if listening.family is socket.AF_UNIX:
            return await loop.create_unix_server(
                self._protocol,
                sock=listening,
                backlog=BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=timeout,
                start_serving=False,
                **UNIX,
            )
        return await loop.create_server(
            self._protocol,
            sock=listening,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=timeout,
            start_serving=False,
        )


async def _rest(servers: list[asyncio.Server]) -> None:
    """Let a server end what it has begun with a connection before it is closed.

    uvloop makes something of a connection in the very call that takes it. asyncio's own loop does so one
    turn later, and a server that was closed in between would lose it.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.SelectorEventLoop):
        for each in [found for server in servers for found in server.sockets]:
            loop.remove_reader(each.fileno())
        for _ in range(3):
            await asyncio.sleep(0)


def _close(servers: list[asyncio.Server]) -> None:
    for server in servers:
        server.close()
