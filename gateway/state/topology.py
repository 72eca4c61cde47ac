"""Connects to the shared store as its operators run it: one server, or several that know each other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from gateway.state.address import ClusterAddress, SentinelAddress
from gateway.state.cluster import Cluster
from gateway.state.link import Link
from gateway.state.locator import Fixed
from gateway.state.sentinel import Sentinels
from gateway.state.slots import SlotOwner, probe_tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.state.connection import Connection
    from gateway.state.link import Server
    from gateway.state.locator import Locator
    from gateway.state.script import Script

Links: TypeAlias = Link | Cluster
"""One connection, or one to each server of a cluster."""


def connect(
    server: Server,
    script: Script,
    probe: Callable[[bytes], bytes],
    on_up: Callable[[Connection], None],
    report: Callable[[str, str], None],
) -> Links:
    """Make the connections that the address needs, for keys of any hash tag; not started yet.

    Args:
        server: How to reach the store.
        script: See `Link`, as are the others.
        probe: Makes a packed command of a hash tag.
        on_up: Called with every new connection.
        report: Called with transitions.
    """
    place = server.address
    if isinstance(place, ClusterAddress):
        return Cluster(server, place, script, probe, on_up, report)
    return Link(server, _locator(server, b""), script, partial(probe, probe_tag()), on_up, report)


def follow(
    server: Server,
    tag: bytes,
    script: Script,
    probe: bytes,
    on_up: Callable[[Connection], None],
    report: Callable[[str, str], None],
) -> Link:
    """Make one connection, to the server that has the keys of one hash tag; not started yet.

    Args:
        server: How to reach the store.
        tag: The hash tag.
        script: See `Link`, as are the others.
        probe: A packed command, of these keys.
        on_up: Called with every new connection.
        report: Called with transitions.
    """
    return Link(server, _locator(server, tag), script, lambda: probe, on_up, report)


def _locator(server: Server, tag: bytes) -> Locator:
    place = server.address
    match place:
        case ClusterAddress():
            return SlotOwner(server, place, tag)
        case SentinelAddress():
            return Sentinels(server, place)
        case _:
            return Fixed(place)
