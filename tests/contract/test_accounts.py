"""What operators see and forgive, on every kind of store: true everywhere, and never more than was forgiven."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.core.accounts import Account, Standing
from gateway.core.ports import StoreUnavailable
from gateway.state.memory import MemoryStore
from gateway.state.memory_accounts import MemoryAccounts
from gateway.state.memory_budgets import MemoryBudgets
from gateway.state.redis_accounts import RedisAccounts
from tests.contract.budgets import daily, level, opened_budgets, rolling, settled, take
from tests.contract.conftest import KINDS, SERVERS, FakeClock, Servers, reach
from tests.servers import USER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gateway.core.accounts import Accounts
    from gateway.core.budgets import Budget
    from gateway.core.ports import Budgets
    from gateway.state.redis_budgets import RedisBudgets
    from tests.servers import RunningServer

NOON = 86400.0 * 1000 + 43200.0
Kept = tuple["Budgets", "Accounts"]


@pytest.fixture
def clock() -> FakeClock:
    """Noon of some day."""
    return FakeClock(NOON)


@pytest.fixture(params=KINDS)
async def kept(request: pytest.FixtureRequest, servers: Servers, clock: FakeClock) -> AsyncIterator[Kept]:
    """Every kind there is, at the test's time; nobody waits, for there is one process."""
    kind = request.param
    if kind == "memory":
        budgets = MemoryBudgets(clock)
        yield budgets, MemoryAccounts(budgets, MemoryStore(clock), clock)
        return
    async with opened_budgets(reach(servers[kind.split("-")[0]], kind), clock) as redis:
        assert redis.shares.link.is_ready, redis.shares.link.why
        yield redis, RedisAccounts(redis.shares, wait=never)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[RunningServer]:
    """Each kind of server."""
    return servers[request.param]


async def never(_seconds: float) -> None:
    """Alone, nobody has to be waited for."""
    raise AssertionError("waited")


async def spend(budgets: Budgets, key: str, budget: Budget, amount: int) -> bool:
    """Use an amount, if there is room."""
    (hold,), denial = await take(budgets, key, (budget, amount))
    if denial is None:
        budgets.settle(hold, amount)
    return denial is None


@pytest.mark.parametrize("budget", [rolling(), daily(), level(100)], ids=["rolling", "daily", "level"])
async def test_what_nobody_used_is_whole(kept: Kept, key: str, budget: Budget) -> None:
    """An account that was never used stands at nothing, and there is nothing to forgive."""
    _, accounts = kept
    account = Account(budget, key)

    assert [Standing(0, 0, 0.0)] == await accounts.show([account])
    assert [0] == await accounts.forgive([account], None)


@pytest.mark.parametrize(
    ("budget", "reset"), [(rolling(), 30.0), (daily(), 43200.0)], ids=["rolling", "daily"]
)
async def test_what_is_used_and_held_is_shown(kept: Kept, key: str, budget: Budget, reset: float) -> None:
    """What was spent, what is set aside, and when it is whole again; looking changes nothing."""
    budgets, accounts = kept
    await spend(budgets, key, budget, 30)
    await take(budgets, key, (budget, 20))
    seen = [await accounts.show([Account(budget, key)]) for _ in range(2)]
    _, refused = await take(budgets, key, (budget, 51))
    _, granted = await take(budgets, key, (budget, 50))

    for [standing] in seen:
        assert (30, 20) == (standing.used, standing.held)
        assert pytest.approx(reset) == standing.reset
    assert refused is not None
    assert granted is None


async def test_what_runs_is_held_and_never_used(kept: Kept, key: str) -> None:
    """Of what runs at the same time nothing is used, so nothing can be forgiven."""
    budgets, accounts = kept
    account = Account(level(2), key)
    await take(budgets, key, (level(2), 2))
    taken = await accounts.forgive([account], None)
    _, refused = await take(budgets, key, (level(2), 1))

    assert [0] == taken
    assert [Standing(0, 2, 0.0)] == await accounts.show([account])
    assert refused is not None


@pytest.mark.parametrize("budget", [rolling(), daily()], ids=["rolling", "daily"])
async def test_so_much_is_forgiven_and_no_more(kept: Kept, key: str, budget: Budget) -> None:
    """Exactly what was asked for can be used again; all that was used, and nothing beyond."""
    budgets, accounts = kept
    account = Account(budget, key)
    await spend(budgets, key, budget, 100)
    none = await spend(budgets, key, budget, 1)
    few = await accounts.forgive([account], 30)
    some = [await spend(budgets, key, budget, amount) for amount in (31, 30, 1)]
    many = await accounts.forgive([account], 1000)
    all_of_it = [await spend(budgets, key, budget, amount) for amount in (101, 100, 1)]

    assert (none, few, some) == (False, [30], [False, True, False])
    assert (many, all_of_it) == ([100], [False, True, False])


@pytest.mark.parametrize("budget", [rolling(), daily()], ids=["rolling", "daily"])
async def test_what_is_held_stays_held(kept: Kept, key: str, budget: Budget) -> None:
    """A reset forgives what was used; what runs keeps its part, and is charged when it ends."""
    budgets, accounts = kept
    account = Account(budget, key)
    await spend(budgets, key, budget, 60)
    (hold,), _ = await take(budgets, key, (budget, 40))
    taken = await accounts.forgive([account], None)
    [reset] = await accounts.show([account])
    _, refused = await take(budgets, key, (budget, 61))
    budgets.settle(hold, 40)
    [charged] = await accounts.show([account])

    assert [60] == taken
    assert (0, 40) == (reset.used, reset.held)
    assert refused is not None
    assert (40, 0) == (charged.used, charged.held)


async def test_an_overdraft_is_forgiven_like_all_else(kept: Kept, key: str) -> None:
    """What an answer used beyond the quota counts as used: so much more must be forgiven."""
    budgets, accounts = kept
    (hold,), _ = await take(budgets, key, (daily(), 100))
    budgets.settle(hold, 150)
    taken = await accounts.forgive([Account(daily(), key)], 60)
    one = [await spend(budgets, key, daily(), amount) for amount in (11, 10)]

    assert ([60], [False, True]) == (taken, one)


async def test_accounts_are_forgiven_each_for_itself(kept: Kept, key: str) -> None:
    """Several at once, in their order; other keys and budgets stay as they are."""
    budgets, accounts = kept
    for budget, amount in ((daily(), 10), (rolling(), 20)):
        await spend(budgets, key, budget, amount)
        await spend(budgets, key + "x", budget, amount)
    taken = await accounts.forgive([Account(rolling(), key), Account(daily(), key)], None)
    others = await accounts.show([Account(rolling(), key + "x"), Account(daily(), key + "x")])

    assert [20, 10] == taken
    assert [20, 10] == [standing.used for standing in others]


async def test_a_window_that_is_over_shows_nothing(kept: Kept, key: str, clock: FakeClock) -> None:
    """What was used yesterday does not count, and cannot be forgiven to be used today."""
    budgets, accounts = kept
    await spend(budgets, key, daily(), 60)
    await settled(budgets)
    clock.now += 86400.0
    [standing] = await accounts.show([Account(daily(), key)])
    taken = await accounts.forgive([Account(daily(), key)], None)

    assert (0, 0) == (standing.used, standing.held)
    assert [0] == taken


async def test_a_reload_is_looked_at_with_the_quota_of_now(kept: Kept, key: str) -> None:
    """A budget of another quota under the old name stands as its next request would find it."""
    budgets, accounts = kept
    await spend(budgets, key, rolling(100, 100.0), 50)
    [standing] = await accounts.show([Account(rolling(200, 200.0), key)])

    assert (50, 0) == (standing.used, standing.held)


@asynccontextmanager
async def two(server: RunningServer, clock: FakeClock) -> AsyncIterator[tuple[RedisBudgets, RedisBudgets]]:
    """Two processes."""
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(opened_budgets(reach(server), clock)) for _ in range(2)]
        yield one, other


@pytest.mark.parametrize("budget", [rolling(), daily()], ids=["rolling", "daily"])
async def test_what_another_process_has_not_reported_is_forgiven_too(
    server: RunningServer, clock: FakeClock, key: str, budget: Budget
) -> None:
    """Another holds a share and spent of it unseen: within a second all that was spent before is forgiven."""
    async with two(server, clock) as (one, other):
        waited: list[float] = []

        async def wait(seconds: float) -> None:
            waited.append(seconds)
            await settled(one)

        accounts = RedisAccounts(other.shares, wait=wait)
        (ended,), _ = await take(one, key, (budget, 70))
        (running,), _ = await take(one, key, (budget, 30))
        one.settle(ended, 70)
        [before] = await accounts.show([Account(budget, key)])
        taken = await accounts.forgive([Account(budget, key)], None)
        [after] = await accounts.show([Account(budget, key)])
        refused, granted = [await spend(other, key, budget, amount) for amount in (71, 70)]
        one.settle(running, 30)
        await settled(one)
        [last] = await accounts.show([Account(budget, key)])

    assert (0, 100) == (before.used, before.held)  # its store does not know more than that
    assert ([70], (0, 30)) == (taken, (after.used, after.held))
    assert (False, True) == (refused, granted)
    assert 1 == len(waited)
    assert 1.0 < waited[0] < 2.0
    assert (100, 0) == (last.used, last.held)


async def test_a_part_is_forgiven_once_however_late_it_is_known(
    server: RunningServer, clock: FakeClock, key: str
) -> None:
    """What the first look did not find used the second one takes, and together no more than was asked."""
    async with two(server, clock) as (one, other):
        holds = [(await take(one, key, (daily(), amount)))[0][0] for amount in (10, 50, 5)]
        one.settle(holds[0], 10)
        await settled(one)
        one.settle(holds[1], 50)

        async def wait(_seconds: float) -> None:
            await settled(one)

        taken = await RedisAccounts(other.shares, wait=wait).forgive([Account(daily(), key)], 25)
        again = await RedisAccounts(other.shares, wait=never).forgive(
            [Account(daily(), key)], 25
        )  # known now
        [standing] = await RedisAccounts(other.shares).show([Account(daily(), key)])

    assert ([25], [25], 10) == (taken, again, standing.used)


@pytest.mark.parametrize("budget", [rolling(100, 1e9), daily()], ids=["rolling", "daily"])
async def test_never_more_than_the_quota_and_what_was_forgiven(
    server: RunningServer, clock: FakeClock, key: str, budget: Budget
) -> None:
    """Three processes spend as fast as they can while an operator forgives: the sum is exact."""
    async with AsyncExitStack() as stack:
        fleet = [await stack.enter_async_context(opened_budgets(reach(server), clock)) for _ in range(3)]
        spent = 0
        forgiven = 0

        async def use(budgets: RedisBudgets) -> None:
            nonlocal spent
            for turn in range(60):
                if await spend(budgets, key, budget, 3):
                    spent += 3
                if turn % 7 == 0:
                    budgets.shares.flush()
                await asyncio.sleep(0)

        async def wait(_seconds: float) -> None:
            for each in fleet:
                await settled(each)

        async def grant() -> None:
            nonlocal forgiven
            accounts = RedisAccounts(fleet[0].shares, wait=wait)
            for _ in range(10):
                forgiven += sum(taken or 0 for taken in await accounts.forgive([Account(budget, key)], 17))

        async with asyncio.TaskGroup() as group:
            for each in fleet:
                group.create_task(use(each))
            group.create_task(grant())
        for _ in range(3):
            for each in fleet:
                while await spend(each, key, budget, 1):
                    spent += 1
                await settled(each)
        [standing] = await RedisAccounts(fleet[0].shares).show([Account(budget, key)])

    assert 0 < forgiven <= 170
    assert 100 + forgiven == spent
    assert (100, 0) == (standing.used, standing.held)


async def test_who_is_away_says_so(server: RunningServer, clock: FakeClock, key: str) -> None:
    """Without a connection nobody knows how an account stands, or what became of a change."""
    async with opened_budgets(reach(server, password="wrong"), clock) as budgets:
        accounts = RedisAccounts(budgets.shares)

        assert [None] == await accounts.forgive([Account(daily(), key)], 5)
        with pytest.raises(StoreUnavailable):
            await accounts.show([Account(daily(), key)])


@pytest.mark.parametrize("value", ["nonsense", "1 x\n", "1 2\nlease 1 2", "nan 0\n"])
async def test_a_damaged_account_is_not_read_as_anything(
    server: RunningServer, clock: FakeClock, key: str, value: str
) -> None:
    """What is no account shows nothing and forgives nothing."""
    async with opened_budgets(reach(server), clock) as budgets:
        _, share = budgets.shares.tell(daily(), key)
        server.admin("SET", share.place.decode(), value)
        accounts = RedisAccounts(budgets.shares)

        assert [None] == await accounts.forgive([Account(daily(), key)], 5)
        with pytest.raises(StoreUnavailable):
            await accounts.show([Account(daily(), key)])


async def test_a_clock_that_is_far_off_changes_nothing(
    server: RunningServer, clock: FakeClock, key: str
) -> None:
    """A process whose calendar is years behind the server's would forgive another window than it means."""
    async with opened_budgets(reach(server), clock, is_timed=False) as budgets:
        _, share = budgets.shares.tell(daily(), key)
        server.admin("SET", share.place.decode(), "2000000000 7\n")

        assert [None] == await RedisAccounts(budgets.shares).forgive([Account(daily(), key)], 5)


async def test_scripts_that_operators_loaded_are_enough(
    server: RunningServer, clock: FakeClock, key: str
) -> None:
    """The stricter set-up of docs/redis.md: the gateway may not load scripts, and needs none but those."""
    script = Path(__file__).parents[2].joinpath("gateway", "state", "lua", "forgive.lua").read_text()
    async with opened_budgets(reach(server), clock) as budgets:
        accounts = RedisAccounts(budgets.shares)
        await spend(budgets, key, daily(), 30)
        server.admin("ACL", "SETUSER", USER, "-script|load")
        try:
            server.admin("SCRIPT", "LOAD", script)
            taken = await accounts.forgive([Account(daily(), key)], 10)
        finally:
            server.admin("ACL", "SETUSER", USER, "+script|load")

    assert [10] == taken
