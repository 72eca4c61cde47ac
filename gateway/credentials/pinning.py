"""Connects to addresses that were checked, and to nothing else: aiohttp's resolver and connector, pinned.

A name is resolved once per connection; one answer that is refused refuses all, as an issuer has no
business in two worlds. What is connected is asked for its address once more before a byte is sent, so that
no second answer (DNS rebinding) and no reused connection leads elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.credentials.destinations import address_of

if TYPE_CHECKING:
    import ssl

    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from gateway.credentials.destinations import Reach

KEEP_ALIVE: Final = 4.0  # seconds: servers close idle connections after five or more


class AddressRefused(Exception):
    """A host resolved to, or is connected at, an address that its client may not reach."""


@final
class PinnedResolver(AbstractResolver):
    """Resolves with the system's resolver, and returns checked numeric addresses or nothing.

    Args:
        reach: What may be connected to.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve a name.

        Raises:
            AddressRefused: One of the answers may not be reached.
            OSError: There is no answer.
        """
        infos = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=family, type=socket.SOCK_STREAM
        )
        addresses = [(kind, str(address[0])) for kind, _, _, _, address in infos]
        if not addresses:
            raise OSError("no address")
        if not all(self._reach.permits(host, address) for _, address in addresses):
            raise AddressRefused
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


@final
class PinnedConnector(aiohttp.TCPConnector):
    """A connector that checks each connection before it is used, new or kept.

    Args:
        reach: What may be connected to.
        tls: Context for https.
        connections: Most connections at once; more requests wait.
    """

    def __init__(self, reach: Reach, tls: ssl.SSLContext, connections: int) -> None:
        super().__init__(
            resolver=PinnedResolver(reach),
            use_dns_cache=False,
            ssl=tls,
            limit=connections,
            keepalive_timeout=KEEP_ALIVE,
        )
        self._reach = reach

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - the base class's signature
    ) -> Connection:
        """Connect, or take a kept connection.

        Raises:
            AddressRefused: It leads elsewhere.
        """
        host = req.url.raw_host or ""
        if address_of(host) is not None and not self._reach.permits(host, host):
            raise AddressRefused  # the resolver is never asked about what is an address already
        connection = await super().connect(req, traces, timeout)
        transport = connection.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        if peer is None or not self._reach.permits(host, peer[0]):
            connection.close()
            raise AddressRefused
        return connection
