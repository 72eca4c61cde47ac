"""Uses certificates, keys, authorities and revocation lists again when their files have changed.

Whom to believe is replaced, and every open connection looked at again, in one turn of the event loop;
new handshakes follow as soon as the listener has been replaced. What cannot be used is said loudly, and
what is in use stays. Decides about no certificate: that is `credentials.trust`'s part.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, final

from gateway.app.peers import recheck
from gateway.credentials.periodic import Periodic
from gateway.observe.families import Fold
from gateway.observe.metrics import Gauge

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from gateway.app.client_trust import ClientTrust
    from gateway.app.listener import Listener
    from gateway.core.ports import Clock
    from gateway.core.refusal import Refusal
    from gateway.credentials.chains import Chains
    from gateway.credentials.revocation_lists import RevocationList
    from gateway.credentials.tls import Dated
    from gateway.credentials.trust import Trust
    from gateway.credentials.trust_domains import TrustDomain
    from gateway.credentials.watched import Watched
    from gateway.wire.downstream import Downstream
    from gateway.wire.pool import Pool

REPEAT: Final = 300.0  # seconds until a list that is beyond its time is named again
DAY: Final = 86400.0
NEVER: Final = float("inf")
MEND: Final = "mend the files, or put the old ones back; what is in use stays until then"


@final
class Renewal:
    """Watches what the listener and the backends rest on.

    Args:
        clock: Time.
        log: Where it is said.
        interval: Seconds between two looks.
        connections: The open connections of clients.
        pool: Connections to backends.
        backends: Their TLS contexts by name.
        bind: Told which certificate a backend is shown from now on, for what is bound to it.
        clients: The clients' listener's own files; None without TLS.
        chains: Judges client certificates.
        domains: Trust domains: when one changes, its workloads are looked at again at once.
    """

    def __init__(
        self,
        clock: Clock,
        log: FilteringBoundLogger,
        interval: float,
        *,
        connections: Callable[[], Iterable[Downstream]],
        pool: Pool,
        backends: Mapping[str, Watched[Dated]],
        bind: Callable[[str, str], None],
        clients: ClientTrust | None,
        chains: Chains,
        domains: Iterable[TrustDomain] = (),
    ) -> None:
        self._clock = clock
        self._log = log
        self._connections = connections
        self._pool = pool
        self._backends = backends
        self._bind = bind
        self._clients = clients
        self.chains = chains
        self._listener: Listener | None = None
        self._context: ssl.SSLContext | None = None  # to be given to the listener
        self._said_at = float("-inf")
        self._interval = interval
        self._lock = asyncio.Lock()  # one look at a time: two would both replace the listener
        self._loop = Periodic("certificates", lambda: self._interval, self._look)
        self.reloads = 0
        self.failures = 0
        self.ended = 0
        self._domains: tuple[TrustDomain, ...] = ()
        self._watch(domains)

    def start(self, listener: Listener) -> None:
        """Begin to watch.

        Args:
            listener: Gets new TLS contexts.
        """
        self._listener = listener
        self._loop.start()

    async def stop(self) -> None:
        """Stop watching."""
        await self._loop.stop()

    def follow(
        self,
        interval: float,
        *,
        pool: Pool,
        backends: Mapping[str, Watched[Dated]],
        bind: Callable[[str, str], None],
        clients: ClientTrust | None,
        domains: Iterable[TrustDomain],
    ) -> None:
        """Watch what another configuration rests on, in the turn in which that is swapped in.

        Who is no longer believed ends now; for new handshakes, `look` has to follow.

        Args:
            interval: As for the class, and so are the others.
            pool: Likewise.
            backends: Likewise.
            bind: Likewise.
            clients: Likewise; there are some if there were some.
            domains: Likewise.
        """
        self._interval = interval
        self._pool, self._backends, self._bind = pool, backends, bind
        for name, context in backends.items():
            pool.renew(name, context.value.context)  # unless it was made under this one
            if context.value.fingerprint is not None:
                bind(name, context.value.fingerprint)
        self._watch(domains)
        if clients is None or clients is self._clients:
            return
        self._clients = clients
        clients.look(self._report)  # bundles that were fetched since it was made
        self._context = clients.context
        self.chains.trust = clients.trust
        self.ended += recheck(self._connections(), self.chains, self._ended)

    def _watch(self, domains: Iterable[TrustDomain]) -> None:
        for domain in self._domains:
            domain.on_change = None
        self._domains = tuple(domains)
        for domain in self._domains:
            domain.on_change = self.apply

    async def look(self) -> None:
        """Look at everything now."""
        await self._look()

    async def _look(self) -> None:
        try:
            async with self._lock:
                await self._renew()
        except Exception as fault:  # noqa: BLE001 - our bug must not end the watching
            self._report("everything", f"a fault of the gateway: {type(fault).__name__}")

    async def _renew(self) -> None:
        self.apply()
        for name, context in self._backends.items():
            if context.look(self._report):
                self._pool.renew(name, context.value.context)
                if context.value.fingerprint is not None:
                    self._bind(name, context.value.fingerprint)
        context_now, listener = self._context, self._listener
        if context_now is None or listener is None:
            return
        try:
            await listener.replace(context_now)
        except OSError as failure:
            self._report("listener", failure.strerror or "cannot be replaced")
        else:
            self._context = None

    def apply(self) -> None:
        """Look at what client certificates rest on; whoever is no longer believed ends now."""
        if self._clients is None:
            return
        change = self._clients.look(self._report)
        if change.context is not None:
            self._context = change.context
        if change.trust is not None:
            self.chains.trust = change.trust  # and in this very turn:
        if change.trust is not None or self._is_time():
            self.ended += recheck(self._connections(), self.chains, self._ended)
        self._say_stale()

    def _is_time(self) -> bool:
        """Tell whether a certificate or a list has ended since the last look."""
        now = self._clock.wall()
        return any(now > each.ends for each in self._lists()) or any(
            peer is not None and peer.certificate is not None and now > peer.certificate.not_after
            for peer in [connection.peer for connection in self._connections()]
        )

    def _lists(self) -> list[RevocationList]:
        sets = [each.revocations for each in self.chains.trust.vouchers]
        return [one for lists in sets if lists is not None for one in lists.lists]

    def _say_stale(self) -> None:
        now = self._clock.tick()
        late = [one for one in self._lists() if self._clock.wall() > one.next_update]
        if not late or now - self._said_at < REPEAT:
            return
        self._said_at = now
        is_over = any(self._clock.wall() > one.ends for one in late)
        self._log.error(
            "revocations-stale",
            lists=len(late),
            refuses=is_over,
            mend="fetch or issue new lists: with a stale one nobody of its authority is believed",
        )

    def _ended(self, address: str, refusal: Refusal) -> None:
        self._log.warning(
            "connection-ended",
            address=address,
            reason=refusal.reason.value,
            why=refusal.note or refusal.detail,
        )

    def _report(self, name: str, failure: str | None) -> None:
        if failure is None:
            self.reloads += 1
            self._log.info("trust-reloaded", what=name)
        else:
            self.failures += 1
            self._log.error("trust-refused", what=name, why=failure, mend=MEND)

    def gauges(self) -> list[Gauge]:
        """Return what metrics show of this."""
        found = [
            Gauge(
                "trust_reloads_total",
                "Certificates, authorities and lists used anew.",
                lambda: self.reloads,
                is_counter=True,
            ),
            Gauge(
                "trust_reload_failures_total",
                "Changed files that could not be used.",
                lambda: self.failures,
                is_counter=True,
            ),
            Gauge(
                "trust_failing",
                "Things whose changed files cannot be used now.",
                self._failing,
                fold=Fold.MOST,
            ),
            Gauge(
                "connections_ended_total",
                "Open connections whose client was no longer believed.",
                lambda: self.ended,
                is_counter=True,
            ),
            Gauge(
                "certificate_days_left",
                "Days until the first of the gateway's own certificates ends.",
                lambda: self._days(self._own_ends()),
                fold=Fold.LEAST,
            ),
        ]
        if self._clients is not None:
            found += [
                Gauge(
                    "client_authority_days_left",
                    "Days until the first of the clients' authorities ends.",
                    lambda: self._days(_authority_ends(self.chains.trust)),
                    fold=Fold.LEAST,
                ),
                Gauge(
                    "revocation_list_days_left",
                    "Days until the first revocation list is stale.",
                    lambda: self._days([one.next_update for one in self._lists()]),
                    fold=Fold.LEAST,
                ),
            ]
        return found

    def _failing(self) -> float:
        own = () if self._clients is None else self._clients.failing
        return float(len(own) + sum(context.is_failing for context in self._backends.values()))

    def _own_ends(self) -> list[float]:
        own = [] if self._clients is None else [self._clients.ends]
        return own + [context.value.ends for context in self._backends.values()]

    def _days(self, ends: list[float]) -> float:
        return (min(ends, default=NEVER) - self._clock.wall()) / DAY


def _authority_ends(trust: Trust) -> list[float]:
    return [
        one.not_valid_after_utc.timestamp()
        for each in trust.vouchers
        for one in each.authorities.certificates
    ]
