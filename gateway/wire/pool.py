"""The only way to a model: backends by name from the configuration, their endpoints, their connections.

An endpoint is resolved, its addresses checked against the backend's networks, connected to by address
and checked again once connected: a name that changes its mind in between (DNS rebinding) leads
nowhere. No redirect is followed, no proxy from the environment used, no host chosen by a client.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast, final

from gateway.core.refusal import Reason, Refusal, Refused, Source, refuse
from gateway.wire.deadlines import Deadlines
from gateway.wire.tasks import spawn
from gateway.wire.turnstile import Turnstile
from gateway.wire.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from gateway.core.outbound import Outbound
    from gateway.core.permit import Permit, Reservation, Vetted
    from gateway.wire.answer import Answer


@final
@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """One address of a backend.

    Args:
        name: As configured: in records and logs.
        host: Host name or address; "" for a unix socket.
        port: TCP port.
        path: Path of a unix socket, or None.
        tls: Context for TLS, or None.
        server_name: Name for SNI and host check, or None where `verify` checks.
        verify: Checks the server's certificate (DER); raises ValueError. None: the host check is enough.
        authority: `Host` that the backend gets.
        credential: What `Authorization` says to the backend, or None.
    """

    name: str
    host: str
    port: int
    authority: str
    path: str | None = None
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    verify: Callable[[bytes], None] | None = None
    credential: str | None = None


@final
@dataclass(frozen=True, slots=True)
class BackendSettings:
    """A named group of endpoints.

    Args:
        name: Name in routes.
        endpoints: At least one.
        networks: Networks that an endpoint's address must be in; empty: any (unix: always).
        connections: Most connections to each endpoint.
        keep_alive: Seconds that a connection may idle: less than what the backend allows.
        requests: Most requests that it serves at the same time; None: as many as there may be connections.
        queue: Most requests that wait for their turn.
        queue_time: Seconds that one may wait.
    """

    name: str
    endpoints: tuple[EndpointSettings, ...]
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    connections: int = 256
    keep_alive: float = 4.0
    requests: int | None = None
    queue: int = 128
    queue_time: float = 5.0

    @property
    def places(self) -> int:
        """How many requests it is sent at the same time."""
        connections = self.connections * len(self.endpoints)
        return connections if self.requests is None else min(self.requests, connections)


@final
class Endpoint:
    """One address of a backend and its connections."""

    __slots__ = (
        "_backend",
        "_deadlines",
        "_idle",
        "_is_closed",
        "_live",
        "_loop",
        "_retired",
        "_settings",
        "_tls",
        "head",
        "name",
        "now",
        "open",
    )

    def __init__(self, settings: EndpointSettings, backend: BackendSettings, deadlines: Deadlines) -> None:
        self._settings = settings
        self._backend = backend
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._idle: list[Upstream] = []
        self._live: set[Upstream] = set()  # made and not lost: each of them is counted once in `open`
        self._retired: set[Upstream] = set()  # made under another TLS context: not used again
        self._tls = settings.tls
        self._is_closed = False
        self.now = self._loop.time
        self.name = settings.name
        self.open = 0  # connections, those being made included
        head = f"Host: {settings.authority}\r\n"
        if settings.credential is not None:
            head += f"Authorization: {settings.credential}\r\n"
        self.head = head.encode()

    @property
    def has_room(self) -> bool:
        """True if a request can be sent without waiting for another one's end."""
        return bool(self._idle) or self.open < self._backend.connections

    def take(self) -> Upstream | None:
        """Return a free connection, the one used last, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.is_open:
                return connection
        return None

    def free(self, connection: Upstream) -> None:
        """A connection has ended its exchange and may be used again."""
        if self._is_closed or connection in self._retired:
            connection.abort()
            return
        connection.deadline = self.now() + self._backend.keep_alive
        self._idle.append(connection)

    def lost(self, connection: Upstream) -> None:
        """A connection is closed."""
        if connection not in self._live:
            return  # lost while it was being made: `_connect` counts it
        self._live.remove(connection)
        self._retired.discard(connection)
        self.open -= 1
        self._deadlines.forget(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def connect(self, seconds: float) -> Upstream:
        """Open a connection; awaitable from a line that no task drives.

        Raises:
            Refused: `BACKEND_UNREACHABLE`, `BACKEND_TLS`, `BACKEND_ADDRESS_REFUSED`, `BACKEND_BUSY`.
        """
        if self.open >= self._backend.connections:
            raise Refused(Refusal(Reason.BACKEND_BUSY, source=Source.GATEWAY, retry_after=1.0))
        self.open += 1
        made: asyncio.Future[Upstream | Refused] = self._loop.create_future()
        task = spawn(self._connect(made, seconds), f"connect {self.name}")
        try:
            result = await made
        except BaseException:  # the client is gone: so is the reason to connect
            # after the task's first step: one that never began would never give its slot back
            self._loop.call_soon(task.cancel)
            if not made.done():
                made.cancel()  # a connection that is made all the same is closed by `_connect`
            elif isinstance(late := made.result(), Upstream):
                late.abort()  # made in the very turn in which the client went
            raise
        if isinstance(result, Refused):
            raise result
        return result

    async def _connect(self, made: asyncio.Future[Upstream | Refused], seconds: float) -> None:
        connection: Upstream | None = None
        # what a bug of ours ends with; `spawn` logs it
        result: Upstream | Refused = refuse(Reason.INTERNAL, note="connecting failed", source=Source.GATEWAY)
        try:
            async with asyncio.timeout(seconds):
                connection = await self._dial()
            self._check(connection)
            result = connection
        except Refused as refused:
            result = refused
        except ssl.SSLError as error:
            result = refuse(
                Reason.BACKEND_TLS, note=getattr(error, "reason", None) or "", source=Source.UPSTREAM
            )
        except TimeoutError:
            result = refuse(Reason.BACKEND_UNREACHABLE, note="connect timed out", source=Source.UPSTREAM)
        except OSError as error:
            note = type(error).__name__
            result = refuse(Reason.BACKEND_UNREACHABLE, note=note, source=Source.UPSTREAM)
        finally:  # also when cancelled
            if connection is None or connection not in self._live:
                self.open -= 1
            elif result is not connection or made.done():
                connection.abort()
            if not made.done():
                made.set_result(result)  # here, so that nobody waits for ever whatever went wrong

    async def _dial(self) -> Upstream:
        settings, tls = self._settings, self._tls
        if settings.path is not None:
            _, unix = await self._loop.create_unix_connection(
                self._protocol,
                settings.path,
                ssl=tls,
                server_hostname=settings.server_name or ("localhost" if tls else None),
            )
            return self._watch(cast("Upstream", unix), tls)
        infos = await self._loop.getaddrinfo(settings.host, settings.port, type=1)  # SOCK_STREAM
        if not infos:
            raise refuse(Reason.BACKEND_UNREACHABLE, note="no address", source=Source.UPSTREAM)
        failure: OSError | None = None
        for info in infos:
            self._check_address(info[4][0])
        for info in infos:
            try:
                _, connection = await self._loop.create_connection(
                    self._protocol,
                    str(info[4][0]),
                    settings.port,
                    ssl=tls,
                    server_hostname=(settings.server_name or settings.host) if tls else None,
                )
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
            else:
                return self._watch(cast("Upstream", connection), tls)
        raise failure or OSError("no address")

    def _protocol(self) -> asyncio.Protocol:
        return cast("asyncio.Protocol", Upstream(self))  # one in all but the base class

    def _watch(self, connection: Upstream, tls: ssl.SSLContext | None) -> Upstream:
        if connection.is_open:
            self._live.add(connection)
            if tls is not self._tls:  # replaced meanwhile
                self._retired.add(connection)
            self._deadlines.watch(connection)
        return connection

    def _check_address(self, address: str | int) -> None:
        """Refuse addresses outside the backend's networks, IPv4-mapped ones included."""
        networks = self._backend.networks
        if not networks:
            return
        ip = ip_address(address)
        mapped = getattr(ip, "ipv4_mapped", None)
        if not any((mapped or ip) in network for network in networks):
            raise refuse(
                Reason.BACKEND_ADDRESS_REFUSED,
                note="resolved to an address outside the backend's networks",
                source=Source.GATEWAY,
            )

    def _check(self, connection: Upstream) -> None:
        """What is connected is what was meant: its address once more, its certificate."""
        settings = self._settings
        if not connection.is_open:
            raise refuse(Reason.BACKEND_UNREACHABLE, note="closed at once", source=Source.UPSTREAM)
        if settings.path is None:
            self._check_address(connection.transport_info("peername")[0])
        if settings.tls is not None and settings.verify is not None:
            certificate = connection.transport_info("ssl_object").getpeercert(binary_form=True)
            try:
                settings.verify(certificate)
            except ValueError as error:
                raise refuse(Reason.BACKEND_TLS, note=str(error), source=Source.UPSTREAM) from error

    def renew(self, tls: ssl.SSLContext) -> None:
        """Connect under another context from now on; what was made before ends as soon as it is idle."""
        if self._tls is None:
            return
        self._tls = tls
        self._retired = set(self._live)
        while self._idle:
            self._idle.pop().abort()

    def close(self) -> None:
        """Close the idle connections, and the others as soon as they become idle."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().abort()


@final
class Pool:
    """All backends. Implements `core.ports.Backends`.

    Args:
        backends: Their settings.
    """

    def __init__(self, backends: Sequence[BackendSettings]) -> None:
        self._deadlines = Deadlines(asyncio.get_running_loop())
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {
            backend.name: tuple(Endpoint(each, backend, self._deadlines) for each in backend.endpoints)
            for backend in backends
        }
        self._turnstiles = {
            each.name: Turnstile(each.places, each.queue, each.queue_time) for each in backends
        }
        self._next = dict.fromkeys(self._endpoints, 0)

    async def open(
        self, outbound: Outbound, permit: Permit, _reservation: Reservation, _vetted: Vetted, /
    ) -> Answer:
        """Send a request and wait for the answer's head. See `core.ports.Backends`."""
        bounds, route = permit.route.bounds, permit.route
        turnstile = self._turnstiles[outbound.backend]
        if not turnstile.take():
            identity = permit.identity
            await turnstile.wait(route.priority(identity.roles), identity.key, outbound.patience)
        answer: Answer | None = None
        try:
            endpoint = self._choose(outbound.backend)
            connection = endpoint.take()
            if connection is not None:
                answer = connection.send(outbound, bounds.first_byte)
                try:
                    await answer.head
                except Refused as refused:
                    # the backend closed the idle connection as we wrote: the normal end of keep-alive, but
                    # only a method that may be repeated is sent twice (RFC 9110, section 9.2.2)
                    if refused.refusal.reason is not Reason.BACKEND_DIED or not outbound.is_idempotent:
                        raise
                    connection = None
            if connection is None:
                answer = (await endpoint.connect(bounds.connect)).send(outbound, bounds.first_byte)
                await answer.head
        except BaseException:  # ClientGone as well: the backend must see that nobody waits any more
            if answer is not None:
                answer.close()
            turnstile.leave()
            raise
        assert answer is not None  # noqa: S101 - or something was raised
        answer.occupy(turnstile)
        return answer

    def _choose(self, backend: str) -> Endpoint:
        """Return the next endpoint in turn that can take one more; the next one, if none can."""
        endpoints = self._endpoints[backend]
        if len(endpoints) == 1:
            return endpoints[0]
        turn = self._next[backend]
        self._next[backend] = (turn + 1) % len(endpoints)
        for endpoint in (*endpoints[turn:], *endpoints[:turn]):
            if endpoint.has_room:
                return endpoint
        return endpoints[turn]

    def renew(self, backend: str, tls: ssl.SSLContext) -> None:
        """Connect to a backend under another TLS context from now on; kept connections end when idle."""
        for endpoint in self._endpoints[backend]:
            endpoint.renew(tls)

    @property
    def turnstiles(self) -> Iterable[Turnstile]:
        """The queues in front of the backends."""
        return self._turnstiles.values()

    def connections(self) -> dict[str, int]:
        """Return the number of connections per endpoint."""
        return {each.name: each.open for group in self._endpoints.values() for each in group}

    def close(self) -> None:
        """Close idle connections and stop the sweep."""
        for group in self._endpoints.values():
            for endpoint in group:
                endpoint.close()
        self._deadlines.close()
