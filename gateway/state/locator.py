"""Who knows where a server is now: asked before each attempt to connect."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from gateway.state.address import Address
    from gateway.state.connection import Connection


class Unlocated(Exception):
    """Nobody says where the server is; the argument is our word for why."""


class Locator(Protocol):
    """Who knows where the server is now."""

    async def locate(self) -> Address:
        """Say where to connect to.

        Raises:
            Unlocated: Nobody knows.
        """

    async def verify(self, connection: Connection, /) -> str | None:
        """Say why the server that was reached is not the one that was meant; None if it is."""

    async def watch(self, address: Address, /) -> None:
        """Return when the server is known to be at another address."""


@final
class Fixed:
    """Knows one address.

    Args:
        address: It.
    """

    def __init__(self, address: Address) -> None:
        self._address = address

    async def locate(self) -> Address:
        """Return it."""
        return self._address

    async def verify(self, _connection: Connection, /) -> str | None:
        """Who answers there is the one."""
        return None

    async def watch(self, _address: Address, /) -> None:
        """Never return."""
        await asyncio.get_running_loop().create_future()
