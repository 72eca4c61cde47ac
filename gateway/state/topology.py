"""Connects to the shared store as its operators run it: one server, or several that know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.state.address import Address
from gateway.state.link import Fixed, Link
from gateway.state.sentinel import Sentinels

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.state.connection import Connection
    from gateway.state.link import Server
    from gateway.state.script import Script


def connect(
    server: Server,
    script: Script,
    probe: bytes,
    on_up: Callable[[Connection], None],
    report: Callable[[str, str], None],
) -> Link:
    """Make the connection that the address needs; it still has to be started.

    Args:
        server: How to reach the store.
        script: See `Link`, as are the others.
        probe: A packed command.
        on_up: Called with every new connection.
        report: Called with transitions.
    """
    place = server.address
    locator = Fixed(place) if isinstance(place, Address) else Sentinels(server, place)
    return Link(server, locator, script, probe, on_up, report)
