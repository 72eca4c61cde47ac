"""Limits of heads over a fleet, in Redis or Valkey: rates and concurrency of an identity, drawn as shares.

Each is an account like that of a budget, so a busy identity asks nobody, and a quiet one costs one script
call for all its limits. A rate is spent when it is granted; a slot goes back to the share, and from there to
the fleet. When the store does not answer within its timeout, nobody knows whether the request may pass, so
it may not; unless the route says that a local share of its limits may answer instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from gateway.core.limits import ConcurrencyLimit, Ledger, RateLimit, RouteLimits, as_budgets
from gateway.core.ports import StoreUnavailable
from gateway.core.refusal import LimitState
from gateway.state.draw import Part
from gateway.state.redis_shares import Outcome
from gateway.state.verdict import CONCURRENCY_WAIT, GRAIN, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.budgets import Budget, Hold
    from gateway.state.memory import MemoryStore
    from gateway.state.redis_shares import RedisShares
    from gateway.state.share import Share
    from gateway.state.topology import Links

BARRED_SECONDS: Final = 1.0
"""For so long at most a refusal is repeated without asking: somebody may have reset a limit by hand."""

HELD_WAIT: Final = 1.0
"""Seconds until what others hold and do not use has come back."""


def share_of(limits: RouteLimits, share: float) -> RouteLimits:
    """Return the part of a route's limits that one process may grant on its own.

    Args:
        limits: The limits of the fleet.
        share: In (0, 1]: one over the number of gateway processes.

    Returns:
        Limits with the share of every rate, burst and concurrency; at least one request each.
    """
    rates = []
    for limit in limits.rates:
        count = max(1, int(limit.count * share))
        period = limit.period * count / (limit.count * share)  # keeps the rate exact where counts are small
        rates.append(RateLimit(limit.name, count, period, max(1, int(limit.burst * share))))
    concurrency = limits.concurrency
    if concurrency is not None:
        concurrency = ConcurrencyLimit(concurrency.name, max(1, int(concurrency.maximum * share)))
    return RouteLimits(limits.scope, tuple(rates), concurrency)


@final
class _Known:
    """What follows from the limits of one route.

    Args:
        limits: The limits.
        local: The part of them that this process may grant alone.
    """

    __slots__ = ("budgets", "limits", "local")

    def __init__(self, limits: RouteLimits, local: RouteLimits) -> None:
        self.limits = limits
        self.local = local
        self.budgets: tuple[Budget, ...] = as_budgets(limits)


@final
class _Barred:
    """A refusal by a rate that is used up: time alone lifts it, so nobody has to be asked meanwhile.

    Args:
        limits: All limits of the claim.
        parts: What the store said of them.
        now: When, monotonic seconds.
        wait: Seconds until the claim could be granted.
    """

    __slots__ = ("at", "debts", "limits", "running", "slots", "until")

    def __init__(self, limits: RouteLimits, parts: Sequence[Part], now: float, wait: float) -> None:
        self.limits = limits
        self.at = now
        self.until = now + min(wait, BARRED_SECONDS)
        rates = parts[: len(limits.rates)]
        self.debts = [0.0 if part.answer is None else part.answer.reset for part in rates]
        self.slots: Share | None = None
        self.running = 0  # elsewhere
        if limits.concurrency is not None:
            self.slots = parts[-1].share
            self.running = limits.concurrency.maximum - parts[-1].rest - self.slots.running

    def ledger(self, now: float) -> Ledger:
        """Word the refusal as it is by now."""
        debts = [max(debt - (now - self.at), 0.0) for debt in self.debts]
        running = self.running + (0 if self.slots is None else self.slots.running)
        return refusal(self.limits, debts, running, is_rate=True)


@final
class _Lease:
    """A slot that a request holds, and all shares that it drew on."""

    __slots__ = ("shares", "slot")

    def __init__(self, slot: Share, shares: list[Share]) -> None:
        self.slot = slot
        self.shares = shares


@final
class RedisStore:
    """Limits in Redis or Valkey. Implements `gateway.core.ports.Store`.

    Args:
        shares: What is drawn; this store starts and stops it.
        local: Answers for routes that may go on without the store.
        share: Part of the limits that `local` may grant: one over the number of gateway processes.
        barred: Refusals that are remembered; what is forgotten is asked for again.
    """

    __slots__ = (
        "_barred",
        "_known",
        "_local",
        "_most_barred",
        "_share",
        "_shares",
        "local_answers",
        "unavailable",
    )

    def __init__(
        self, shares: RedisShares, local: MemoryStore, *, share: float = 0.5, barred: int = 16_384
    ) -> None:
        self._most_barred = barred
        self._shares = shares
        self._local = local
        self._share = share
        self._known: dict[str, _Known] = {}
        self._barred: dict[tuple[str, str], _Barred] = {}
        shares.told = self._unbar
        self.local_answers = 0
        self.unavailable = 0

    @property
    def shares(self) -> RedisShares:
        """What is drawn, for what else is drawn over the same connection."""
        return self._shares

    @property
    def link(self) -> Links:
        """The connections, for what else may share them."""
        return self._shares.link

    @property
    def is_ready(self) -> bool:
        """True while there is a connection: in a cluster, any."""
        return self._shares.link.is_ready

    @property
    def lost(self) -> int:
        """How many servers cannot be used."""
        return self._shares.link.lost

    @property
    def why(self) -> str:
        """Why there is no connection, in one word; the last reason if there is one again."""
        return self._shares.link.why

    async def start(self) -> None:
        """Connect; returns after the first attempt, successful or not. Never raises."""
        await self._shares.start()

    async def stop(self) -> None:
        """Give back what is not in use, and end the connection."""
        await self._shares.stop()

    async def admit(
        self, key: str, limits: RouteLimits, ahead: Callable[[], Sequence[Hold]] | None = None, /
    ) -> Ledger:
        """Charge one request against all limits, or none, over the whole fleet.

        Suspends only if a share is empty.

        Raises:
            StoreUnavailable: No usable answer in time, and the limits do not allow a local share.
        """
        known = self._known.get(limits.scope)
        if known is None or known.limits is not limits:
            known = self._known[limits.scope] = _Known(limits, share_of(limits, self._share))
        now = self._shares.clock.tick()
        of = self._shares.shares.of
        shares: list[Share] = []
        is_lacking = False
        for budget in known.budgets:
            share = of(budget, key, now)
            if share.left(now) < 1:
                is_lacking = True
            shares.append(share)
        if is_lacking:
            return await self._draw(key, known, shares, now, ahead)
        for share in shares:
            if share.is_level:
                share.take(1)
            else:
                share.spend(now)
            self._shares.mark(share)
        return _granted(limits, shares)

    def settle(self, ledger: Ledger, /) -> None:
        """Give the concurrency slot back; idempotent.

        What may not be kept idle goes on to the server at once, with a report of the other limits: then a
        quiet identity needs no second one.
        """
        lease = ledger.lease
        if not isinstance(lease, _Lease):
            self._local.settle(ledger)
            return
        ledger.lease = None
        slot = lease.slot
        slot.settle(1, 0, 0.0)
        if slot.slack > slot.allowance:
            self._shares.report(lease.shares)
        self._shares.mark(slot)

    async def _draw(
        self,
        key: str,
        known: _Known,
        shares: list[Share],
        now: float,
        ahead: Callable[[], Sequence[Hold]] | None,
    ) -> Ledger:
        """Ask for what shares lack, unless it is known that there is no more."""
        barred = self._barred.get((known.limits.scope, key))
        if barred is not None and now < barred.until and barred.limits is known.limits:
            return barred.ledger(now)
        parts = [Part(share, 1) for share in shares]
        outcome = await self._shares.draw(parts, now, self._early(ahead, now))
        if outcome is Outcome.REFUSED:
            return self._refuse(key, known.limits, parts, now)
        if outcome is Outcome.UNKNOWN:
            return await self._without(key, known)
        now = self._shares.clock.tick()
        for share in shares:
            if not share.is_level:
                share.settle(1, 1, now)
        return _granted(known.limits, shares)

    def _unbar(self, key: str) -> None:
        """Forget what is known of an identity: an operator may forgive what it used."""
        for scope in self._known:
            self._barred.pop((scope, key), None)

    def _refuse(self, key: str, limits: RouteLimits, parts: Sequence[Part], now: float) -> Ledger:
        ledger = _refusal(limits, parts)
        if not ledger.is_concurrency and not ledger.is_temporary:
            if len(self._barred) >= self._most_barred:
                self._barred.clear()
            self._barred[limits.scope, key] = _Barred(limits, parts, now, ledger.retry_after)
        return ledger

    def _early(self, ahead: Callable[[], Sequence[Hold]] | None, now: float) -> list[Part]:
        """Return what has to be drawn now for what the request will want when its body is read."""
        if ahead is None:
            return []
        parts = []
        for hold in ahead():
            share = self._shares.shares.of(hold.budget, hold.key, now)
            left = share.left(now)
            if left < hold.amount:
                parts.append(Part(share, 0, max(hold.amount - left, share.wanted())))
        return parts

    async def _without(self, key: str, known: _Known) -> Ledger:
        """Answer without the store: by the local share where the route allows it."""
        if not known.limits.is_local_on_failure:
            self.unavailable += 1
            raise StoreUnavailable
        self.local_answers += 1
        ledger = await self._local.admit(key, known.local)
        ledger.is_local = True
        return ledger


def _granted(limits: RouteLimits, shares: list[Share]) -> Ledger:
    return Ledger(None if limits.concurrency is None else _Lease(shares[-1], shares))


def _refusal(limits: RouteLimits, parts: Sequence[Part]) -> Ledger:
    """Word a refusal: the limit with the longest wait is named, a rate before the concurrency.

    What others hold and do not use comes back within a second: then the refusal is a temporary one.
    """
    states: list[LimitState] = []
    waits: list[tuple[bool, float, str]] = []
    for limit, part in zip(limits.rates, parts, strict=False):
        reset = 0.0 if part.answer is None else part.answer.reset
        states.append(LimitState(limit.name, limit.count, limit.period, max(0, part.rest), reset))
        if part.is_short:
            wait = reset + limit.interval - limit.tolerance
            is_used_up = wait > GRAIN
            waits.append((is_used_up, wait if is_used_up else HELD_WAIT, limit.name))
    concurrency = limits.concurrency
    is_temporary = False
    if concurrency is not None:
        slots = parts[-1]
        states.append(LimitState(concurrency.name, concurrency.maximum, 0.0, max(0, slots.rest), 0.0))
        if not waits and slots.answer is not None:
            is_temporary = slots.need <= slots.answer.room + slots.answer.idle
    if waits:
        is_used_up, wait, name = max(waits, key=lambda each: each[:2])
        return Ledger(refused=name, retry_after=wait, states=tuple(states), is_temporary=not is_used_up)
    return Ledger(
        refused="" if concurrency is None else concurrency.name,
        is_concurrency=True,
        is_temporary=is_temporary,
        retry_after=CONCURRENCY_WAIT,
        states=tuple(states),
    )
