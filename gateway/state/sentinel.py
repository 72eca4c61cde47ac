"""Finds the master that Redis Sentinels agreed on (redis.io, "Sentinel client spec").

They are asked before every connection, and once a second while it lasts. What they say is checked: a
server that is no master any more, or not yet, is not used.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, final

from gateway.state.inquiry import inquire
from gateway.state.link import fault
from gateway.state.locator import Unlocated

if TYPE_CHECKING:
    from gateway.state.address import Address, SentinelAddress
    from gateway.state.connection import Connection
    from gateway.state.link import Server


WATCH: Final = 1.0
"""Seconds between two questions while there is a connection."""


@final
class Sentinels:
    """Knows whom to ask for the master. Implements `gateway.state.locator.Locator`.

    Args:
        server: How to reach them.
        place: Where they are.
    """

    def __init__(self, server: Server, place: SentinelAddress) -> None:
        self._server = server
        self._place = place
        self._nodes = list(place.nodes)

    async def locate(self) -> Address:
        """Ask for the master.

        Raises:
            Unlocated: No Sentinel answers, or it knows of no master, or names one that a password must not
                go to.
        """
        password = self._server.sentinel_password
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._place.master)
        _, reply = await inquire(self._server, self._nodes, password, *question)
        match reply:
            case [bytes(host), bytes(port)] if port.isdigit():
                address = self._place.at(host.decode("ascii", "replace"), int(port))
            case _:
                raise Unlocated("no-master")
        if not address.is_safe:
            raise Unlocated("not-encrypted")
        return address

    async def verify(self, connection: Connection, /) -> str | None:
        """Ask the server itself whether it is a master: Sentinels may be behind the times."""
        reply = await connection.ask("ROLE")
        match reply:
            case [b"master", *_]:
                return None
            case _:
                return fault(reply) or "not-master"

    async def watch(self, address: Address, /) -> None:
        """Ask again and again; return when they have agreed on another master.

        The old one may go on for many seconds, for those who are still connected to it. No answer changes
        nothing: a master does not need its Sentinels.
        """
        while True:
            await asyncio.sleep(WATCH)
            with suppress(Unlocated):
                if await self.locate() != address:
                    return
