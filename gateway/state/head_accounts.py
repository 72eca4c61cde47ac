"""What operators see and forgive of limits that are charged by the head: requests per identity, concurrency.

They look like budgets here, and are kept apart from them until they are some: then this module, what it asks
of `memory` and `redis`, and `lua/forgive_head.lua` go.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, final

from gateway.core.accounts import Standing, forgiven
from gateway.core.budgets import Budget, Dimension, Key, Measure, used_of
from gateway.core.ports import StoreUnavailable
from gateway.state.connection import Answer, pack
from gateway.state.draw import IGNORED
from gateway.state.redis_accounts import ALL, read
from gateway.state.script import Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.accounts import Account, Accounts
    from gateway.core.limits import RouteLimits
    from gateway.core.ports import Clock
    from gateway.state.memory import MemoryStore
    from gateway.state.redis import RedisStore

PER = (Key(Dimension.IDENTITY),)

Look = tuple[int, Standing] | None
"""What was taken off, and how the account stands then; None: nobody knows."""


@lru_cache(maxsize=4096)
def budgets_of(limits: RouteLimits) -> tuple[Budget, ...]:
    """Return the limits of a route's heads as budgets, under the names that records have."""
    made = [
        Budget(limits.scope, rate.name, Measure.REQUESTS, rate.burst, PER, rate.tolerance)
        for rate in limits.rates
    ]
    level = limits.concurrency
    if level is not None:
        made.append(Budget(limits.scope, level.name, Measure.CONCURRENT, level.maximum, PER))
    return tuple(made)


class Heads(Protocol):
    """Looks at one limit of a head, and takes off what was used."""

    async def look(self, account: Account, most: int, /) -> Look:
        """Take off at most `most`; with 0, only look."""


@final
class MemoryHeads:
    """In this process's memory.

    Args:
        store: Keeps them.
        clock: The store's.
    """

    __slots__ = ("_clock", "_store")

    def __init__(self, store: MemoryStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def look(self, account: Account, most: int, /) -> Look:
        """Take off at most `most`; never suspends."""
        budget = account.budget
        entry = self._store.entry(budget.scope, account.key)
        if entry is None:
            return 0, Standing(0, 0, 0.0)
        if budget.measure.is_level:
            return 0, Standing(0, entry.running, 0.0)
        now = self._clock.tick()
        for index, rate in enumerate(entry.limits.rates):
            if rate.name == budget.name:
                used = used_of(budget, entry.arrivals[index], now)
                taken = min(used, most)
                arrival = entry.arrivals[index] = forgiven(budget, entry.arrivals[index], taken)
                return taken, Standing(used - taken, 0, max(arrival - now, 0.0) if used > taken else 0.0)
        return 0, Standing(0, 0, 0.0)


@final
class RedisHeads:
    """In Redis or Valkey.

    Args:
        store: Whose keys and connection they are.
        now: Gives the script its time; for tests alone.
    """

    __slots__ = ("_now", "_script", "_store")

    def __init__(self, store: RedisStore, now: str = "") -> None:
        self._store = store
        self._script = Script("forgive_head")
        self._now = now

    async def look(self, account: Account, most: int, /) -> Look:
        """Take off at most `most`, by one script."""
        budget = account.budget
        is_level = budget.measure.is_level
        place = self._store.place(budget.scope, budget.name, account.key, is_level=is_level)
        connection = self._store.link.at(place)
        if connection is None:
            return None
        numbers = ("level" if is_level else "rate", budget.quota, repr(budget.interval), most)
        answer = Answer(asyncio.get_running_loop())
        connection.send(pack("SCRIPT", "LOAD", self._script.text), IGNORED)
        connection.send(pack("EVALSHA", self._script.digest, 1, place, self._now, *numbers), answer)
        look = read(await answer.future)
        return None if look is None else (look.taken, look.standing)


@final
class AllAccounts:
    """Limits of heads, and budgets. Implements `gateway.core.accounts.Accounts`.

    Args:
        heads: Looks at the first.
        budgets: Looks at the second.
        limits: Those of the routes, to tell them apart.
    """

    __slots__ = ("_budgets", "_heads", "_limits")

    def __init__(self, heads: Heads, budgets: Accounts, limits: Sequence[RouteLimits]) -> None:
        self._heads = heads
        self._budgets = budgets
        self._limits = frozenset(budget for each in limits for budget in budgets_of(each))

    async def show(self, accounts: Sequence[Account], /) -> list[Standing]:
        """Return how accounts stand, in their order.

        Raises:
            StoreUnavailable: Nobody knows.
        """
        looks = {account: await self._heads.look(account, 0) for account in self._of_heads(accounts)}
        if None in looks.values():
            raise StoreUnavailable
        others = [account for account in accounts if account not in looks]
        standings = dict(zip(others, await self._budgets.show(others), strict=True))
        standings |= {account: look[1] for account, look in looks.items() if look is not None}
        return [standings[account] for account in accounts]

    async def forgive(self, accounts: Sequence[Account], most: int | None, /) -> list[int | None]:
        """Take off what was used of each, at most `most`."""
        whole = ALL if most is None else most
        looks = {account: await self._heads.look(account, whole) for account in self._of_heads(accounts)}
        others = [account for account in accounts if account not in looks]
        taken = dict(zip(others, await self._budgets.forgive(others, most), strict=True))
        taken |= {account: None if look is None else look[0] for account, look in looks.items()}
        return [taken[account] for account in accounts]

    def _of_heads(self, accounts: Sequence[Account]) -> list[Account]:
        return [account for account in accounts if account.budget in self._limits]
