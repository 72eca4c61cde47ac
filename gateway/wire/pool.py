"""The only way to a model: backends by name from the configuration, their endpoints, their connections.

Chooses an endpoint, lets requests wait their turn in front of it, and sends them. How an endpoint is reached
is `endpoint`'s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, final

from gateway.core.refusal import Reason, Refused
from gateway.wire.deadlines import Deadlines
from gateway.wire.endpoint import Endpoint
from gateway.wire.turnstile import Turnstile

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.core.outbound import Outbound
    from gateway.core.permit import Permit, Reservation, Vetted
    from gateway.wire.answer import Answer
    from gateway.wire.endpoint import BackendSettings


@final
class Pool:
    """All backends. Implements `core.ports.Backends`.

    Args:
        backends: Their settings.
        deadlines: Looks after the connections; None: a new one.
        held: Endpoints that are there already, by backend.
        queues: Likewise, the queues in front of them.
    """

    def __init__(
        self,
        backends: Sequence[BackendSettings],
        deadlines: Deadlines | None = None,
        held: Mapping[str, tuple[Endpoint, ...]] | None = None,
        queues: Mapping[str, Turnstile] | None = None,
    ) -> None:
        self._deadlines = deadlines or Deadlines(asyncio.get_running_loop())
        self._settings = {backend.name: backend for backend in backends}
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {} if held is None else dict(held)
        for backend in backends:
            if backend.name not in self._endpoints:
                self._endpoints[backend.name] = tuple(
                    Endpoint(each, backend, self._deadlines) for each in backend.endpoints
                )
        self._turnstiles: dict[str, Turnstile] = {} if queues is None else dict(queues)
        for each in backends:
            if each.name not in self._turnstiles:
                self._turnstiles[each.name] = Turnstile(each.places, each.queue, each.queue_time)
        self._next = dict.fromkeys(self._endpoints, 0)

    def succeed(self, backends: Sequence[BackendSettings]) -> Pool:
        """Return the pool of another configuration: a backend that is the same keeps its connections."""
        same = [each.name for each in backends if self._settings.get(each.name) == each]
        return Pool(
            backends,
            self._deadlines,
            {name: self._endpoints[name] for name in same},
            {name: self._turnstiles[name] for name in same},
        )

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
        return {each.name: each.open for each in self.endpoints()}

    def endpoints(self) -> list[Endpoint]:
        """Return every endpoint of every backend."""
        return [each for group in self._endpoints.values() for each in group]

    def retire(self, kept: Sequence[Endpoint]) -> None:
        """Close the connections of all other endpoints as soon as they are idle.

        Who holds this pool still reaches them: a request is never split between two configurations.
        """
        for endpoint in self.endpoints():
            if endpoint not in kept:
                endpoint.close()

    def close(self) -> None:
        """Close idle connections and stop the sweep."""
        for endpoint in self.endpoints():
            endpoint.close()
        self._deadlines.close()
