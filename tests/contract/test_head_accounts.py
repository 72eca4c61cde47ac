"""What operators see and forgive of requests per identity and their concurrency, on every kind of store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.accounts import Account, Standing
from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.core.ports import StoreUnavailable
from gateway.state.head_accounts import AllAccounts, MemoryHeads, RedisHeads, budgets_of
from gateway.state.memory import MemoryStore
from gateway.state.memory_accounts import MemoryAccounts
from gateway.state.memory_budgets import MemoryBudgets
from tests.contract.budgets import daily, take
from tests.contract.conftest import KINDS, SERVERS, FakeClock, Servers, opened, reach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.core.ports import Store

LIMITS = RouteLimits(
    "chat {x}", (RateLimit("6/minute", 6, 60.0, 6), RateLimit("20/hour", 20, 3600.0, 4)), ConcurrencyLimit("concurrent", 5)
)  # fmt: skip
FAST, SLOW, LEVEL = budgets_of(LIMITS)


class Kept:
    """A store, and what operators see of it."""

    def __init__(self, store: Store, heads: Any, clock: FakeClock) -> None:
        self.store = store
        self.budgets = MemoryBudgets(clock)
        self.accounts = AllAccounts(heads, MemoryAccounts(self.budgets), [LIMITS])

    async def admit(self, key: str, count: int = 1) -> list[str | None]:
        """Ask for requests that end at once; returns which limit refused each."""
        refused = []
        for _ in range(count):
            ledger = await self.store.admit(key, LIMITS)
            refused.append(ledger.refused)
            self.store.settle(ledger)
        return refused


class Timed:
    """`RedisHeads` at the test's time."""

    def __init__(self, store: Any, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock

    async def look(self, account: Account, most: int, /) -> Any:
        return await RedisHeads(self.store, repr(self.clock.now)).look(account, most)


@pytest.fixture(params=KINDS)
async def kept(request: pytest.FixtureRequest, servers: Servers, clock: FakeClock) -> AsyncIterator[Kept]:
    """Every kind there is."""
    kind = request.param
    if kind == "memory":
        store = MemoryStore(clock)
        yield Kept(store, MemoryHeads(store, clock), clock)
        return
    async with opened(reach(servers[kind.split("-")[0]], kind), clock) as redis:
        assert redis.is_ready, redis.why
        yield Kept(redis, Timed(redis, clock), clock)


async def test_what_nobody_used_is_whole(kept: Kept, key: str) -> None:
    """Nothing is used, and nothing can be forgiven."""
    accounts = [Account(budget, key) for budget in (FAST, SLOW, LEVEL)]

    assert [Standing(0, 0, 0.0)] * 3 == await kept.accounts.show(accounts)
    assert [0, 0, 0] == await kept.accounts.forgive(accounts, None)


async def test_what_is_used_and_running_is_shown(kept: Kept, key: str, clock: FakeClock) -> None:
    """Requests of each rate, rounded up while they are paid off; what runs is held."""
    await kept.admit(key, 3)
    ledger = await kept.store.admit(key, LIMITS)
    before = await kept.accounts.show([Account(budget, key) for budget in (FAST, SLOW, LEVEL)])
    clock.now += 15.0
    [after] = await kept.accounts.show([Account(FAST, key)])
    kept.store.settle(ledger)
    [ended] = await kept.accounts.show([Account(LEVEL, key)])

    assert [(4, 0), (4, 0), (0, 1)] == [(each.used, each.held) for each in before]
    assert [40.0, 720.0, 0.0] == [pytest.approx(each.reset) for each in before]
    assert (3, pytest.approx(25.0)) == (after.used, after.reset)
    assert Standing(0, 0, 0.0) == ended


async def test_so_much_is_forgiven_and_no_more(kept: Kept, key: str) -> None:
    """Each limit for itself: exactly what was asked for, then all of it; another caller's stays."""
    await kept.admit(key, 4)
    await kept.admit(key + "x", 4)
    refused = await kept.admit(key)
    slow = await kept.accounts.forgive([Account(SLOW, key)], 2)
    some = await kept.admit(key, 3)
    all_of_it = await kept.accounts.forgive([Account(FAST, key), Account(SLOW, key)], None)
    again = await kept.admit(key, 5)
    other = await kept.admit(key + "x")

    assert (["20/hour"], [2], [None, None, "20/hour"]) == (refused, slow, some)
    assert ([6, 4], [None] * 4 + ["20/hour"]) == (all_of_it, again)
    assert ["20/hour"] == other


async def test_what_runs_can_not_be_forgiven(kept: Kept, key: str) -> None:
    """It is held, not used."""
    await kept.store.admit(key, LIMITS)

    assert [0] == await kept.accounts.forgive([Account(LEVEL, key)], None)
    assert [Standing(0, 1, 0.0)] == await kept.accounts.show([Account(LEVEL, key)])


async def test_budgets_are_asked_where_they_are_kept(kept: Kept, key: str) -> None:
    """Both kinds at once, in the order that was asked for."""
    await kept.admit(key, 3)
    (hold,), _ = await take(kept.budgets, key, (daily(), 50))
    kept.budgets.settle(hold, 50)
    accounts = [Account(FAST, key), Account(daily(), key), Account(SLOW, key)]
    shown = await kept.accounts.show(accounts)
    taken = await kept.accounts.forgive(accounts, 2)

    assert [3, 50, 3] == [each.used for each in shown]
    assert [2, 2, 2] == taken


@pytest.mark.parametrize("server", SERVERS)
async def test_at_the_server_s_own_time(servers: Servers, server: str, key: str) -> None:
    """Script and `admit.lua` count from the same moment."""
    async with opened(reach(servers[server])) as store:
        kept = Kept(store, RedisHeads(store), FakeClock())
        await kept.admit(key, 4)
        [used] = await kept.accounts.show([Account(SLOW, key)])
        taken = await kept.accounts.forgive([Account(SLOW, key)], 1)
        after = await kept.admit(key, 2)

    assert (4, [1], [None, "20/hour"]) == (used.used, taken, after)
    assert 700.0 < used.reset <= 720.0


@pytest.mark.parametrize("server", SERVERS)
async def test_what_nobody_knows(servers: Servers, server: str, key: str) -> None:
    """No connection, and a damaged value: nothing is shown and nothing called forgiven."""
    async with opened(reach(servers[server], password="wrong")) as store:
        away = Kept(store, RedisHeads(store), FakeClock()).accounts
        assert [None] == await away.forgive([Account(SLOW, key)], 1)
        with pytest.raises(StoreUnavailable):
            await away.show([Account(SLOW, key)])
    async with opened(reach(servers[server])) as store:
        place = store.place(LIMITS.scope, SLOW.name, key, is_level=False)
        servers[server].admin("SET", place.decode(), "nonsense")
        damaged = Kept(store, RedisHeads(store), FakeClock()).accounts
        assert [None] == await damaged.forgive([Account(SLOW, key)], 1)


async def test_a_new_limit_of_a_known_identity_is_whole(key: str, clock: FakeClock) -> None:
    """What was used of others does not count for it."""
    store = MemoryStore(clock)
    await store.admit(key, LIMITS)
    [budget] = budgets_of(RouteLimits(LIMITS.scope, (RateLimit("9/day", 9, 86400.0, 9),)))

    assert (0, Standing(0, 0, 0.0)) == await MemoryHeads(store, clock).look(Account(budget, key), 5)
