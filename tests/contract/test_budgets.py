"""What every keeper of budgets promises, on every kind: exact over everything used and set aside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.core.budgets import Hold
from gateway.core.refusal import LimitState
from gateway.state.memory_budgets import MemoryBudgets
from tests.contract.budgets import daily, level, opened_budgets, rolling, settled, take
from tests.contract.conftest import KINDS, FakeClock, Servers, reach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.core.ports import Budgets


@pytest.fixture(params=KINDS)
async def budgets(
    request: pytest.FixtureRequest, servers: Servers, clock: FakeClock
) -> AsyncIterator[Budgets]:
    """Every kind there is, at the test's time."""
    kind = request.param
    if kind == "memory":
        yield MemoryBudgets(clock)
        return
    async with opened_budgets(reach(servers[kind.split("-")[0]], kind), clock) as redis:
        assert redis.shares.link.is_ready
        yield redis


@pytest.mark.parametrize("budget", [rolling(), daily(), level(100)], ids=["rolling", "daily", "level"])
async def test_what_is_set_aside_counts(budgets: Budgets, key: str, budget: object) -> None:
    """Reservations use a budget up as what is spent does; what is given back is free again."""
    (first,), granted = await take(budgets, key, (budget, 60))
    _, refused = await take(budgets, key, (budget, 41))
    budgets.settle(first, 0)
    await settled(budgets)
    _, again = await take(budgets, key, (budget, 100))

    assert (granted, again) == (None, None)
    assert refused is not None
    assert (refused.budget, refused.is_temporary, refused.retry_after) == (budget, True, 1.0)


async def test_what_is_used_is_charged_and_no_more(budgets: Budgets, key: str) -> None:
    """The estimate is replaced by the truth, in both directions."""
    (small,), _ = await take(budgets, key, (daily(), 50))
    budgets.settle(small, 10)
    (large,), _ = await take(budgets, key, (daily(), 10))
    budgets.settle(large, 60)
    await settled(budgets)
    _, refused = await take(budgets, key, (daily(), 31))
    _, granted = await take(budgets, key, (daily(), 30))

    assert refused is not None
    assert (refused.is_temporary, refused.states[0].remaining) == (False, 30)
    assert granted is None


async def test_a_rolling_budget_comes_back_steadily(budgets: Budgets, key: str, clock: FakeClock) -> None:
    """`retry_after` is the earliest time that helps."""
    (hold,), _ = await take(budgets, key, (rolling(), 100))
    budgets.settle(hold, 100)
    await settled(budgets)
    _, refused = await take(budgets, key, (rolling(), 30))
    assert refused is not None
    clock.now += refused.retry_after - 0.01
    _, early = await take(budgets, key, (rolling(), 30))
    clock.now += 0.01
    _, late = await take(budgets, key, (rolling(), 30))

    assert pytest.approx(30.0) == refused.retry_after
    [state] = refused.states
    assert pytest.approx(100.0) == state.reset
    assert LimitState("tokens", 100, 100.0, 0, state.reset, "tokens") == state
    assert early is not None
    assert late is None


async def test_a_window_begins_anew_at_midnight(budgets: Budgets, key: str, clock: FakeClock) -> None:
    """A calendar budget is whole again when its window ends, and not a moment earlier."""
    clock.now = 86400.0 * 100 + 80000.0
    (hold,), _ = await take(budgets, key, (daily(), 100))
    budgets.settle(hold, 100)
    await settled(budgets)
    _, refused = await take(budgets, key, (daily(), 1))
    assert refused is not None
    clock.now += refused.retry_after - 0.001
    _, early = await take(budgets, key, (daily(), 1))
    clock.now += 0.001
    _, late = await take(budgets, key, (daily(), 100))

    assert pytest.approx(6400.0) == refused.retry_after
    assert early is not None
    assert late is None


async def test_what_runs_over_midnight_counts_for_the_new_day(
    budgets: Budgets, key: str, clock: FakeClock
) -> None:
    """What was set aside in the old window is not free in the new one."""
    clock.now = 86400.0 * 100 - 1.0
    (hold,), _ = await take(budgets, key, (daily(), 70))
    clock.now += 2.0
    _, refused = await take(budgets, key, (daily(), 31))
    budgets.settle(hold, 40)
    await settled(budgets)
    _, granted = await take(budgets, key, (daily(), 60))

    assert refused is not None
    assert granted is None


async def test_all_or_none(budgets: Budgets, key: str) -> None:
    """One budget without room refuses all, and the others stay as they are."""
    _, refused = await take(budgets, key, (rolling(), 100), (daily(50), 60), (level(), 1))
    await settled(budgets)
    _, granted = await take(budgets, key, (rolling(), 100), (daily(50), 50), (level(), 2))

    assert refused is not None
    assert [state.name for state in refused.states] == ["daily"]
    assert granted is None


async def test_all_or_none_of_several_accounts(budgets: Budgets, key: str) -> None:
    """A claim over accounts of several keys, as of an identity and of its network, takes from all or from none."""
    mine, network = Hold(rolling(), key, 60), Hold(level(1), f"{key} network", 1)
    granted = await budgets.reserve([mine, network])
    again = [Hold(rolling(), key, 40), Hold(level(1), f"{key} network", 1)]
    refused = await budgets.reserve(again)
    budgets.settle(network, 1)
    await settled(budgets)
    both = await budgets.reserve(again)
    for hold in (mine, *again):
        budgets.settle(hold, 0)
    await settled(budgets)
    _, whole = await take(budgets, key, (rolling(), 100))

    assert (granted, both, whole) == (None, None, None)
    assert refused is not None
    assert [state.name for state in refused.states] == ["streams"]


async def test_names_the_budget_with_the_longest_wait(budgets: Budgets, key: str) -> None:
    """Trying again helps only when all have room: used up weighs more than set aside."""
    holds, _ = await take(budgets, key, (rolling(), 100), (daily(), 100), (level(1), 1))
    for hold in holds[:2]:
        budgets.settle(hold, 100)
    await settled(budgets)
    _, refused = await take(budgets, key, (level(1), 1), (rolling(), 1), (daily(), 1))

    assert refused is not None
    assert (refused.budget.name, refused.is_temporary) == ("daily", False)
    assert {state.name for state in refused.states} == {"streams", "tokens", "daily"}


async def test_settling_twice_charges_once(budgets: Budgets, key: str) -> None:
    """`settle` is idempotent, and settling what was refused does nothing."""
    (hold,), _ = await take(budgets, key, (daily(), 60))
    (lost,), refused = await take(budgets, key, (daily(), 60))
    for each in (hold, hold, lost):
        budgets.settle(each, 50)
    await settled(budgets)
    _, granted = await take(budgets, key, (daily(), 50))

    assert refused is not None
    assert granted is None


async def test_a_request_that_runs_gets_more_while_there_is_more(budgets: Budgets, key: str) -> None:
    """What it takes grows; where there is no more it is told so, and keeps what it has."""
    told: list[str] = []
    (hold,), _ = await take(budgets, key, (daily(), 60))
    budgets.extend(hold, 30, lambda: told.append("no"))
    await settled(budgets)
    budgets.extend(hold, 11, lambda: told.append("none"))
    await settled(budgets)
    amount = hold.amount
    budgets.settle(hold, 95)
    budgets.extend(hold, 5, lambda: told.append("late"))
    await settled(budgets)
    _, granted = await take(budgets, key, (daily(), 5))

    assert (amount, told) == (90, ["none"])
    assert granted is None


async def test_overdraft_is_paid_off(budgets: Budgets, key: str, clock: FakeClock) -> None:
    """An answer that used more than there was is charged whole, and locks out for two periods at most."""
    (hold,), _ = await take(budgets, key, (rolling(), 100))
    budgets.settle(hold, 150)
    await settled(budgets)
    clock.now += 50.0
    _, refused = await take(budgets, key, (rolling(), 1))
    clock.now += 1.5
    _, granted = await take(budgets, key, (rolling(), 1))
    clock.now += 200.0
    (vast,), _ = await take(budgets, key, (rolling(), 99))
    budgets.settle(vast, 10**9)
    await settled(budgets)
    _, refused_again = await take(budgets, key, (rolling(), 1))
    clock.now += 201.0
    _, at_last = await take(budgets, key, (rolling(), 98))

    assert refused is not None
    assert refused_again is not None
    assert (granted, at_last) == (None, None)


async def test_keys_names_and_scopes_do_not_share(budgets: Budgets, key: str) -> None:
    """What one account used restrains no other."""
    others = [rolling(name="other"), rolling()]
    await take(budgets, key, (rolling(), 100))
    _, other = await take(budgets, key, (others[0], 100))
    _, elsewhere = await take(budgets, key + "x", (others[1], 100))
    odd = f"{{a}}\r\n \x00é€\ud800{key}"
    _, strange = await take(budgets, odd, (others[1], 100))

    assert (other, elsewhere, strange) == (None, None, None)


async def test_one_unit_for_a_hundred_at_once(budgets: Budgets, key: str) -> None:
    """Of a hundred simultaneous requests against a budget for one, one passes."""
    granted: list[Hold] = []
    budget = daily(10)

    async def claim() -> None:
        holds, denial = await take(budgets, key, (budget, 6))
        if denial is None:
            granted.extend(holds)

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(claim())
    budgets.settle(granted[0], 6)
    await settled(budgets)
    _, refused = await take(budgets, key, (budget, 5))
    _, last = await take(budgets, key, (budget, 4))

    assert 1 == len(granted)
    assert refused is not None
    assert last is None


async def test_a_reload_forgives_nothing(budgets: Budgets, key: str) -> None:
    """A budget of another quota under the old name goes on from what was used."""
    (hold,), _ = await take(budgets, key, (daily(100), 60))
    budgets.settle(hold, 60)
    await settled(budgets)
    _, refused = await take(budgets, key, (daily(80), 21))
    _, granted = await take(budgets, key, (daily(80), 20))

    assert refused is not None
    assert granted is None
