"""What all client connections of one process share: handler, bounds, counts, clocks."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Final, Protocol, final

from gateway.wire.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from gateway.core.call import Call
    from gateway.core.identity import Peer
    from gateway.core.refusal import Refusal
    from gateway.wire.downstream import Downstream
    from gateway.wire.flood import Floodgate
    from gateway.wire.reply import Reply

MAX_TARGETS = 1024  # remembered targets; a table this large is thrown away whole
_DIGITS: Final = tuple([f"{number:03x}" for number in range(4096)])  # the last three of a serial number


class Handler(Protocol):
    """Who decides on requests: the pipeline."""

    def handle(self, call: Call, reply: Reply, /) -> Coroutine[Any, Any, None]:
        """Take a request to its record."""

    def reject(self, id: str, peer: Peer, refusal: Refusal, reply: Reply, /) -> None:
        """Answer and record bytes that are no request."""


@final
@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds.

    Args:
        handshake: TLS handshake.
        head: From the connection's, or the request's first byte, to the end of the head.
        keep_alive: Idle between two requests.
        write: Without progress while the client's buffers are full.
    """

    handshake: float = 5.0
    head: float = 10.0
    keep_alive: float = 75.0
    write: float = 30.0


@final
@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """Bounds on connections.

    Args:
        head: Bytes of a request head.
        headers: Number of header fields.
        connections: In all.
        connections_per_address: From one address.
        body_memory: Bytes of request bodies held at the same time, over all connections.
    """

    head: int = 16 * 1024
    headers: int = 64
    connections: int = 10_000
    connections_per_address: int = 1_000
    body_memory: int = 256 * 1024 * 1024


@final
class Service:
    """Shared by the connections of all listeners.

    Args:
        handler: Decides.
        make_peer: Turns address, port and TLS object into a `Peer`; None refuses the connection.
        hosts: Host names that are served, lower case; empty for any.
        timeouts: Timeouts.
        bounds: Bounds.
        floodgate: Holds back who asks for too much before anybody knows who it is; None: nobody does.
    """

    def __init__(
        self,
        handler: Handler,
        make_peer: Callable[[asyncio.BaseTransport], Peer | None],
        *,
        hosts: Iterable[str] = (),
        timeouts: Timeouts | None = None,
        bounds: ConnectionBounds | None = None,
        floodgate: Floodgate | None = None,
    ) -> None:
        self.handler = handler
        self.hosts = frozenset(host.lower().encode() for host in hosts)
        self.timeouts = timeouts or Timeouts()
        self.bounds = bounds or ConnectionBounds()
        self.floodgate = floodgate
        self.active = 0  # requests being served
        self.refused_connections = 0
        self.is_draining = False
        self.targets: dict[bytes, tuple[str, str]] = {}
        self.connections: set[Downstream] = set()
        loop = asyncio.get_running_loop()
        self.now = loop.time
        self._make_peer = make_peer
        self._deadlines = Deadlines(loop)
        self._per_address: Counter[str] = Counter()
        self._body_memory = 0
        self._prefix = secrets.token_hex(8)
        self._serial = 0
        self._stem = f"{self._prefix}{0:09x}"  # all of an id but its last three digits
        self._date = b""
        self._date_until = 0.0

    def welcome(self, connection: Downstream, transport: asyncio.BaseTransport) -> Peer | None:
        """Take a new connection in, or return None: over a bound, or not a peer we take."""
        peer = self._make_peer(transport)
        if (
            peer is None
            or self.is_draining
            or len(self.connections) >= self.bounds.connections
            or self._per_address[peer.address] >= self.bounds.connections_per_address
            or (self.floodgate is not None and self.floodgate.admit(peer, self.now(), is_request=False) > 0.0)
        ):
            self.refused_connections += 1
            return None
        self.connections.add(connection)
        self._per_address[peer.address] += 1
        self._deadlines.watch(connection)
        return peer

    def farewell(self, connection: Downstream, peer: Peer | None) -> None:
        """A connection is closed."""
        if peer is None:
            return
        self.connections.discard(connection)
        self._deadlines.forget(connection)
        self._per_address[peer.address] -= 1
        if not self._per_address[peer.address]:
            del self._per_address[peer.address]

    def remember_target(self, target: bytes, parsed: tuple[str, str]) -> tuple[str, str]:
        """Keep a target that was found canonical; returns it."""
        if len(self.targets) >= MAX_TARGETS:
            self.targets.clear()
        self.targets[target] = parsed
        return parsed

    def hold_memory(self, size: int) -> bool:
        """Count bytes of request bodies; False if they would be too many."""
        if self._body_memory + size > self.bounds.body_memory:
            return False
        self._body_memory += size
        return True

    def release_memory(self, size: int) -> None:
        """Count bytes that are no longer held."""
        self._body_memory -= size

    @property
    def body_memory(self) -> int:
        """Bytes of request bodies held now."""
        return self._body_memory

    def new_id(self) -> str:
        """Return an id unique over the fleet: 64 random bits per process, and a serial number."""
        serial = self._serial = self._serial + 1
        last = serial & 0xFFF
        if not last:
            self._stem = f"{self._prefix}{serial >> 12:09x}"
        return self._stem + _DIGITS[last]

    def date(self) -> bytes:
        """Return the Date field's value, made once a second (RFC 9110, section 6.6.1)."""
        now = self.now()
        if now >= self._date_until:
            self._date = formatdate(usegmt=True).encode()
            self._date_until = now + 1.0
        return self._date

    def drain(self) -> None:
        """Take no new requests: idle connections close now, the others after their request."""
        self.is_draining = True
        for connection in list(self.connections):
            connection.close_if_idle()

    def retire(self, is_meant: Callable[[Peer], bool]) -> int:
        """Close connections of some peers: idle ones now, the others after the request being served.

        Args:
            is_meant: Tells which peers.

        Returns:
            How many connections are meant.
        """
        meant = [each for each in self.connections if each.peer is not None and is_meant(each.peer)]
        for connection in meant:
            connection.retire()
        return len(meant)

    def abort(self) -> None:
        """Close every connection now."""
        for connection in list(self.connections):
            connection.abort()

    def close(self) -> None:
        """Stop the sweep."""
        self._deadlines.close()
