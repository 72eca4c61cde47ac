"""Verifies again what was permitted and still runs: nothing is believed for longer than it is true.

An exchange ends while it waits or streams when its identity is revoked or no longer proven, when the key
that proved it is gone, or when the rules of now would not permit it. Looks at what the line wrote down and
at what the runtime knows; never waits, never reads a body, and costs a request nothing while it runs.
When to look is the owner's business: `urgent` when revocations change, `sweep` four times a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.refusal import Reason, Refusal, Refused
from gateway.pipeline import BUG
from gateway.stages.authorize import DENIED, enter
from gateway.stages.identify import STALE, current, revoked, unkeyed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.call import Call
    from gateway.core.exchange import Exchange
    from gateway.core.identity import Identity
    from gateway.core.ports import Reply
    from gateway.core.route import Route
    from gateway.pipeline import Gateway
    from gateway.runtime import Runtime

    Judge = Callable[[Exchange, Identity, Call, Runtime], Refusal | None]

STRIDE: Final = 16  # exchanges between two looks at the clock, as a power of two

EXPIRED: Final = "The credential expired while the request was served."
ROUTE_GONE: Final = Refusal(Reason.ROUTE_UNKNOWN, DENIED, note="the route is no longer configured")

CAUSES: Final[Mapping[Reason, str]] = {
    Reason.REVOKED: "revoked",
    Reason.REVOCATIONS_STALE: "stale",
    Reason.TOKEN_EXPIRED: "expired",
    Reason.KEY_EXPIRED: "expired",
    Reason.CERTIFICATE_EXPIRED: "expired",
    Reason.KEY_UNKNOWN: "keys",
    Reason.KEY_BINDING: "keys",
    Reason.TOKEN_KEY_UNKNOWN: "keys",
    Reason.TOKEN_ISSUER_UNKNOWN: "keys",
    Reason.INTERNAL: "fault",
}
OTHERWISE: Final = "policy"


@final
class Round:
    """One look at everything that ran when it began; taken in steps, so that nobody waits for long.

    Args:
        vigil: Whose it is.
        items: What to look at.
        judge: Returns why an exchange must end, or None.
    """

    __slots__ = ("_at", "_items", "_judge", "_vigil")

    def __init__(
        self,
        vigil: Vigil,
        items: list[tuple[Reply, Exchange]],
        judge: Judge,
    ) -> None:
        self._vigil = vigil
        self._items = items
        self._judge = judge
        self._at = 0

    def step(self, seconds: float) -> bool:
        """Go on for a while.

        Args:
            seconds: About how long.

        Returns:
            True if there is more to look at.
        """
        vigil, items, judge = self._vigil, self._items, self._judge
        tick = vigil.gateway.runtime.clock.tick
        until = tick() + seconds
        while self._at < len(items):
            reply, ex = items[self._at]
            self._at += 1  # first: whatever goes wrong below, the next step goes on behind it
            vigil.look(reply, ex, judge)
            if self._at % STRIDE == 0 and tick() >= until:
                break
        return self._at < len(items)


@final
class Vigil:
    """Watches the running exchanges of one gateway.

    Args:
        gateway: Whose.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.cuts = dict.fromkeys(sorted({*CAUSES.values(), OTHERWISE}), 0)
        """How many exchanges were ended, by cause."""
        self._runtime = gateway.runtime
        self._swapped_at = float("-inf")
        self._routes = _by_name(gateway.runtime)
        self._due: dict[str, float] = {}
        self._keys = _generations(gateway.runtime)

    def urgent(self) -> Round:
        """Look at all identities, for revocations alone."""
        return Round(self, self._running(), _unbelieved)

    def sweep(self) -> Round:
        """Look at what is due by its route; at everything, if keys or configuration have changed."""
        rt = self.gateway.runtime
        tick = rt.clock.tick()
        keys = _generations(rt)
        is_new = rt is not self._runtime or keys != self._keys
        if rt is not self._runtime:
            self._runtime, self._swapped_at = rt, tick
            self._routes = _by_name(rt)
            self._due.clear()
        self._keys = keys
        due = {name for name in self._routes if is_new or tick >= self._due.get(name, 0.0)}
        if not due and not is_new:
            return Round(self, [], self._judge)
        for name in due:
            self._due[name] = tick + self._routes[name].continuous.every
        later = self._routes.keys() - due  # not by what is due: a route that is gone never is
        return Round(
            self,
            [(reply, ex) for reply, ex in self._running() if ex.route is None or ex.route.name not in later],
            self._judge,
        )

    def look(self, reply: Reply, ex: Exchange, judge: Judge) -> None:
        """Look at one exchange, and end it if it must not go on."""
        identity, call = ex.identity, ex.call
        if identity is None or call is None or self.gateway.running.get(reply) is not ex:
            return  # nobody, no request, or it has ended since
        try:
            refusal = judge(ex, identity, call, self.gateway.runtime)
        except Refused as refused:
            refusal = refused.refusal
        except Exception as fault:  # noqa: BLE001 - our bug: fail closed, and never their text
            ex.fault = type(fault).__name__
            refusal = BUG
        if refusal is not None:
            self.cuts[CAUSES.get(refusal.reason, OTHERWISE)] += 1
            reply.cut(refusal)

    def _running(self) -> list[tuple[Reply, Exchange]]:
        return [item for item in self.gateway.running.items() if item[1].identity is not None]

    def _judge(self, ex: Exchange, identity: Identity, call: Call, rt: Runtime) -> Refusal | None:
        now = rt.clock.wall()
        refusal = _unbelieved(ex, identity, call, rt) or unkeyed(identity, ex.peer, rt.identification, now)
        if refusal is not None or ex.route is None:
            return refusal
        route = self._routes.get(ex.route.name)
        if route is None:
            return ROUTE_GONE
        if route.continuous.ends_at_expiry and not now < identity.expires:
            return _expired(identity)
        if not route.continuous.ends_by_policy:
            return None
        if ex.began_at <= self._swapped_at or identity.key_id is not None:
            # identified by another configuration, or by a key whose rights stand in a file of their own
            identity = current(identity, ex.peer.certificate, rt.identification)
        entry = enter(identity, route, call, now)
        if ex.permit is None or ex.prompt is None or ex.risk is None:
            return None  # its body has not been decided about
        decision = entry.route.policy.decide(identity, call, ex.prompt, ex.risk, now)
        return decision if isinstance(decision, Refusal) else None


def _unbelieved(_ex: Exchange, identity: Identity, _call: Call, rt: Runtime) -> Refusal | None:
    """Return why an identity must not be believed at all, whatever its route says."""
    revocations = rt.identification.revocations
    if not revocations.is_current:
        return STALE
    found = revocations.find(identity)
    return None if found is None else revoked(found)


def _expired(identity: Identity) -> Refusal:
    if identity.key_id is not None:
        reason = Reason.KEY_EXPIRED
    else:
        reason = Reason.CERTIFICATE_EXPIRED if identity.token is None else Reason.TOKEN_EXPIRED
    return Refusal(reason, EXPIRED)


def _by_name(rt: Runtime) -> dict[str, Route]:
    return {route.name: route for route in rt.routes.routes}


def _generations(rt: Runtime) -> list[tuple[str, int]]:
    methods = rt.identification
    own = 0 if methods.keys is None else methods.keys.generation
    return [
        ("", own),
        *((name, issuer.keys.generation) for name, issuer in methods.issuers.items()),
        *((name, domain.keys.generation) for name, domain in methods.domains.items()),
    ]
