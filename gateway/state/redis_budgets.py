"""Budgets of a fleet, in Redis or Valkey: reserved from the shares of this process, while they last.

When the store does not answer within its timeout nobody knows whether there is room, so there is none;
unless the route says that a local share of its budgets may answer instead. `redis_shares` says what is
exact, and when.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, final

from gateway.core.budgets import Hold, Shortage, deny
from gateway.core.ports import StoreUnavailable
from gateway.state.draw import Extension, Part
from gateway.state.redis_shares import Outcome
from gateway.state.share import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.budgets import Budget, Denial
    from gateway.state.memory_budgets import MemoryBudgets
    from gateway.state.redis_shares import RedisShares


@final
class RedisBudgets:
    """Budgets in Redis or Valkey. Implements `gateway.core.budgets.Budgets`.

    Args:
        shares: What is drawn; whoever owns it starts and stops it.
        local: Answers for routes that may go on without the store.
        share: Part of the budgets that `local` may grant: one over the number of gateway processes.
    """

    __slots__ = ("_local", "_part", "_parts", "_shares", "local_answers", "unavailable")

    def __init__(self, shares: RedisShares, local: MemoryBudgets, *, share: float = 0.5) -> None:
        self._shares = shares
        self._local = local
        self._part = share
        self._parts: dict[Budget, Budget] = {}
        self.local_answers = 0
        self.unavailable = 0

    @property
    def shares(self) -> RedisShares:
        """What is drawn."""
        return self._shares

    async def reserve(self, holds: Sequence[Hold], /) -> Denial | None:
        """Set all amounts aside, or none, over the whole fleet; suspends only if a share is too small.

        Raises:
            StoreUnavailable: No usable answer in time, and the budgets do not allow a local share.
        """
        now = self._shares.clock.tick()
        of = self._shares.shares.of
        shares = []
        is_lacking = False
        for hold in holds:
            share = of(hold.budget, hold.key, now)
            shares.append(share)
            if share.left(now) < hold.amount:
                is_lacking = True
        if is_lacking:
            return await self._draw(holds, shares, now)
        for hold, share in zip(holds, shares, strict=True):
            hold.account = share
            share.take(hold.amount)
            self._shares.mark(share)
        return None

    def extend(self, hold: Hold, amount: int, refuse: Callable[[], None], /) -> None:
        """Set more aside for a request that runs: from the share, or as soon as the server answers."""
        if hold.is_local:
            self._local.extend(hold, amount, refuse)
            return
        share = hold.account
        if not isinstance(share, Share):
            return
        now = self._shares.clock.tick()
        connection = self._shares.link.at(share.tag)
        part = self._shares.cover(share, amount, now)
        more = Extension(hold, part, refuse)
        if not part.need:
            hold.amount += amount
        elif connection is None:
            more.unknown()
        else:
            hold.is_growing = True
            self._shares.ask([part], now, more.done)

    def settle(self, hold: Hold, used: int, /) -> None:
        """Charge what was used, and give the rest back to the share; the second call does nothing."""
        if hold.is_local:
            self._local.settle(hold, used)
            return
        share = hold.account
        if isinstance(share, Share):
            hold.account = None
            share.settle(hold.amount, used, self._shares.clock.tick())
            self._shares.touch(share)

    async def _draw(self, holds: Sequence[Hold], shares: Sequence[Share], now: float) -> Denial | None:
        parts = [Part(share, hold.amount) for hold, share in zip(holds, shares, strict=True)]
        outcome = await self._shares.draw(parts, now)
        if outcome is Outcome.GRANTED:
            for hold, share in zip(holds, shares, strict=True):
                hold.account = share
            return None
        if outcome is Outcome.UNKNOWN:
            return await self._without(holds)
        return deny(
            [
                Shortage(hold, part.rest, part.answer.used, part.answer.reset)
                for hold, part in zip(holds, parts, strict=True)
                if part.answer is not None and part.is_short
            ]
        )

    async def _without(self, holds: Sequence[Hold]) -> Denial | None:
        """Answer without the store: by the local share where the route allows it."""
        if not all(hold.budget.is_local_on_failure for hold in holds):
            self.unavailable += 1
            raise StoreUnavailable
        self.local_answers += 1
        parts = [Hold(self._part_of(hold.budget), hold.key, hold.amount) for hold in holds]
        denial = await self._local.reserve(parts)
        for hold, part in zip(holds, parts, strict=True):
            hold.account = part.account
            hold.is_local = True
        return denial

    def _part_of(self, budget: Budget) -> Budget:
        part = self._parts.get(budget)
        if part is None:
            quota = max(1, int(budget.quota * self._part))
            period = budget.period * quota / (budget.quota * self._part)  # exact also where quotas are small
            part = self._parts[budget] = replace(budget, quota=quota, period=period)
        return part
