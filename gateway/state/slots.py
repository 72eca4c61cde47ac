"""Which server of a Redis Cluster has which keys (redis.io, "Redis cluster specification").

A key's slot is a checksum of its hash tag; `CLUSTER SLOTS` says who has it, and `MOVED` or `ASK` who has it
now. Servers that a password must not go to are no servers.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple, final

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from gateway.state.inquiry import inquire
from gateway.state.locator import Unlocated

if TYPE_CHECKING:
    from gateway.state.address import Address, ClusterAddress
    from gateway.state.connection import Connection, Reply
    from gateway.state.link import Server

SLOTS: Final = REDIS_CLUSTER_HASH_SLOTS
QUESTION: Final = ("CLUSTER", "SLOTS")
UNNAMED: Final = (None, b"", b"?")
"""What a server answers for its own host if it does not know it: the one that was asked."""

PROBE_DIGITS: Final = 26


def probe_tag(slots: frozenset[int] | None = None) -> bytes:
    """Return a hash tag for trying a connection, as long as those of identities.

    Args:
        slots: In one of these, another one each time: a slot that is being moved answers nothing. None for
            a server that has all.
    """
    number = secrets.randbelow(10**9)
    while slots is not None and key_slot(b"probe-%0*d" % (PROBE_DIGITS, number)) not in slots:
        number += 1
    return b"probe-%0*d" % (PROBE_DIGITS, number if slots is not None else 0)


def read_slots(reply: Reply, asked: Address, place: ClusterAddress) -> dict[Address, frozenset[int]]:
    """Take the answer to `CLUSTER SLOTS` apart.

    Args:
        reply: The answer.
        asked: Who gave it.
        place: How to speak to whom it names.

    Returns:
        The slots of each master.

    Raises:
        Unlocated: It is no such answer, or names a server that a password must not go to.
    """
    if not isinstance(reply, list):
        raise Unlocated("no-cluster")
    found: dict[Address, set[int]] = {}
    for entry in reply:
        match entry:
            case [int(first), int(last), [host, int(port), *_], *_] if 0 <= first <= last < SLOTS:
                address = place.at(_host(host, asked), port)
            case _:
                raise Unlocated("no-cluster")
        if not address.is_safe:
            raise Unlocated("not-encrypted")
        found.setdefault(address, set()).update(range(first, last + 1))
    return {address: frozenset(slots) for address, slots in found.items()}


def _host(host: object, asked: Address) -> str:
    if host in UNNAMED:
        return asked.host
    if not isinstance(host, bytes):
        raise Unlocated("no-cluster")
    return host.decode("ascii", "replace")


class Redirection(NamedTuple):
    """Where a command belongs.

    Attributes:
        is_lasting: True for `MOVED`, False for `ASK`: this once.
        slot: Of its keys.
        address: Who has it.
    """

    is_lasting: bool
    slot: int
    address: Address


def read_redirection(text: str, source: Address, place: ClusterAddress) -> Redirection | None:
    """Take `MOVED slot host:port` or `ASK slot host:port` apart; None if it is neither."""
    match text.split(" "):
        case ["MOVED" | "ASK" as kind, slot, where, *_] if slot.isdigit() and int(slot) < SLOTS:
            host, _, port = where.rpartition(":")
            if port.isdigit():
                return Redirection(kind == "MOVED", int(slot), place.at(host or source.host, int(port)))
    return None


@final
class SlotOwner:
    """Knows who to ask for the server that has some keys. Implements `gateway.state.locator.Locator`.

    Args:
        server: How to reach it.
        place: The cluster.
        tag: The hash tag of the keys.
    """

    def __init__(self, server: Server, place: ClusterAddress, tag: bytes) -> None:
        self._server = server
        self._place = place
        self._slot = key_slot(tag)
        self._nodes = list(place.nodes)

    async def locate(self) -> Address:
        """Ask for the server.

        Raises:
            Unlocated: No node answers, or nobody has the keys.
        """
        asked, reply = await inquire(self._server, self._nodes, self._server.password, *QUESTION)
        owners = read_slots(reply, asked, self._place)
        known = dict.fromkeys((*owners, *self._place.nodes))
        self._nodes = [*(node for node in known if node != asked), asked]  # another one the next time
        for address, slots in owners.items():
            if self._slot in slots:
                return address
        raise Unlocated("slot-unserved")

    async def verify(self, _connection: Connection, /) -> str | None:
        """Whoever is not the one says so itself, with `MOVED`."""
        return None

    async def watch(self, _address: Address, /) -> None:
        """Never return, for the same reason."""
        await asyncio.get_running_loop().create_future()
