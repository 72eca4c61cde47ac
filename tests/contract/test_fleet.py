"""Many gateway processes and one real server: never more than the limit, nearly all of it usable, fair."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, final
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.state.share import LEASE_SECONDS
from tests.contract.budgets import daily, level, opened_budgets, rolling, settled, take
from tests.contract.conftest import SHARED, FakeClock, Servers, reach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.budgets import Budget, Hold
    from gateway.state.redis_budgets import RedisBudgets
    from tests.servers import RunningServer

WORKERS = 5
NOON = 86400.0 * 1000 + 43200.0


@pytest.fixture(params=SHARED)
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[RunningServer]:
    """Each kind of server."""
    return servers[request.param]


@final
class Fleet:
    """Processes that share one account of one budget, and what they did together."""

    def __init__(self, workers: list[RedisBudgets], clock: FakeClock, budget: Budget) -> None:
        self.workers = workers
        self.clock = clock
        self.budget = budget
        self.key = str(uuid4())
        self.held: list[tuple[int, Hold]] = []
        self.spent: list[tuple[float, int]] = []
        self.unknown = 0  # spent by processes that died before they could report it
        self.dead: set[int] = set()

    async def claim(self, worker: int, amount: int) -> bool:
        """Let one process set an amount aside."""
        if worker in self.dead:
            return False
        (hold,), denial = await take(self.workers[worker], self.key, (self.budget, amount))
        if denial is None:
            self.held.append((worker, hold))
        return denial is None

    async def settle(self, index: int, part: float) -> None:
        """Let one request end that used a part of what it had."""
        worker, hold = self.held.pop(index % len(self.held))
        used = int(hold.amount * part)
        self.spent.append((self.clock.now, used))
        self.workers[worker].settle(hold, used)

    async def flush(self, worker: int) -> None:
        """Let one process report."""
        if worker not in self.dead:
            await settled(self.workers[worker])

    async def kill(self, worker: int) -> None:
        """End one process without a word; what it had not reported, nobody knows."""
        if worker in self.dead or len(self.dead) == WORKERS - 1:
            return
        self.dead.add(worker)
        self.held = [(of, hold) for of, hold in self.held if of != worker]
        self.unknown += sum(share.spent - share.confirmed for share in self.workers[worker].shares.shares)

    def check(self) -> None:
        """Everything spent and set aside is within the limit, as an observer of all processes sees it."""
        running = sum(hold.amount for _, hold in self.held)
        budget = self.budget
        if budget.calendar is not None or budget.measure.is_level:
            spent = 0 if budget.measure.is_level else sum(used for _, used in self.spent)
            assert spent + running <= budget.quota + self.unknown
            return
        owed, last = 0.0, 0.0
        for when, used in self.spent:  # a bucket that runs out steadily
            owed = max(0.0, owed - (when - last) / budget.interval) + used
            last = when
        owed = max(0.0, owed - (self.clock.now - last) / budget.interval)
        assert owed + running <= budget.quota + self.unknown + 1e-3


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(0, WORKERS - 1), st.sampled_from([1, 1, 3, 10, 40])),
        st.tuples(st.just("claim"), st.integers(0, WORKERS - 1), st.sampled_from([1, 2, 5])),
        st.tuples(st.just("settle"), st.integers(0, 50), st.sampled_from([0.0, 0.5, 1.0])),
        st.tuples(st.just("settle"), st.integers(0, 50), st.just(1.0)),
        st.tuples(st.just("flush"), st.integers(0, WORKERS - 1), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.5, 1.0, 3.0]), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([11.0, 16.0]), st.none()),
        st.tuples(st.just("kill"), st.integers(0, WORKERS - 1), st.none()),
        st.tuples(st.just("rush"), st.integers(0, WORKERS - 1), st.sampled_from([1, 2])),
    ),
    min_size=5,
    max_size=60,
)


async def play(server: RunningServer, budget: Budget, steps: list[tuple[str, object, object]]) -> None:
    """Play one story."""
    clock = FakeClock(NOON)
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(opened_budgets(reach(server), clock)) for _ in range(WORKERS)
        ]
        fleet = Fleet(workers, clock, budget)
        for what, first, second in steps:
            match what:
                case "claim":
                    await fleet.claim(int(first), int(second))  # type: ignore[call-overload]
                case "settle" if fleet.held:
                    await fleet.settle(int(first), float(second))  # type: ignore[call-overload,arg-type]
                case "flush":
                    await fleet.flush(int(first))  # type: ignore[call-overload]
                case "wait":
                    for worker in range(WORKERS):  # whoever lives reports long before its lease lapses
                        await fleet.flush(worker)
                    clock.now += float(first)  # type: ignore[arg-type]
                    for worker in range(WORKERS if fleet.held else 0):
                        await fleet.flush(worker)  # what runs is renewed, as it would be
                case "kill":
                    await fleet.kill(int(first))  # type: ignore[call-overload]
                case "rush":
                    for _ in range(20):
                        if await fleet.claim(int(first), int(second)):  # type: ignore[call-overload]
                            await fleet.settle(-1, 1.0)
            fleet.check()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "budget", [daily(60), rolling(60, 20.0), level(6)], ids=["calendar", "rolling", "level"]
)
def test_never_more_than_the_limit(server: RunningServer, budget: Budget) -> None:
    """Whatever any process does or whenever it dies: used and set aside stay within the limit.

    But for what a process that died had spent and not reported: a second's worth.
    """

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def story(steps: list[tuple[str, object, object]]) -> None:
        asyncio.run(play(server, budget, steps))

    story()


async def fleet_of(stack: AsyncExitStack, server: RunningServer, budget: Budget, count: int) -> Fleet:
    """Start a fleet."""
    clock = FakeClock(NOON)
    workers = [await stack.enter_async_context(opened_budgets(reach(server), clock)) for _ in range(count)]
    return Fleet(workers, clock, budget)


@pytest.mark.parametrize("quota", [10, 1000, 20_000])
async def test_all_of_a_budget_is_usable(server: RunningServer, quota: int) -> None:
    """Under steady load of uneven processes at least 99 % is spent before everybody is refused."""
    async with AsyncExitStack() as stack:
        fleet = await fleet_of(stack, server, daily(quota), 4)
        refusals = 0
        amount = max(1, quota // 500)
        while refusals < 3:
            is_served = False
            for worker, claims in enumerate((40, 10, 3, 1)):
                for _ in range(claims):
                    if await fleet.claim(worker, amount):
                        await fleet.settle(-1, 1.0)
                        is_served = True
            fleet.clock.now += 1.0
            for worker in range(4):
                await fleet.flush(worker)
            refusals = 0 if is_served else refusals + 1
        spent = sum(used for _, used in fleet.spent)

        assert 0.99 * quota <= spent <= quota


async def test_a_rolling_budget_is_used_to_the_full(server: RunningServer) -> None:
    """Under overload a fleet gets at least 99 % of what the rate grants, and nobody is starved."""
    async with AsyncExitStack() as stack:
        fleet = await fleet_of(stack, server, rolling(1000, 10.0), 4)
        served, asked = [0] * 4, [0] * 4
        for tick in range(300):
            for turn in range(4):
                worker = (tick + turn) % 4  # nobody always comes first
                claims = 20 if worker < 3 else 1
                if worker == 3 and tick % 5:
                    continue  # the slow one
                for _ in range(claims):
                    asked[worker] += 1
                    if await fleet.claim(worker, 1):
                        await fleet.settle(-1, 1.0)
                        served[worker] += 1
            fleet.check()
            fleet.clock.now += 0.1
            if tick % 10 == 9:
                for worker in range(4):
                    await fleet.flush(worker)

        assert sum(served) >= 0.99 * min(1000 + 100 * 30, sum(asked))
        assert served[3] / asked[3] >= 0.5 * sum(served) / sum(asked)


async def test_what_a_dead_process_held_comes_back(server: RunningServer) -> None:
    """Shares and reservations of a process that died are free again when its lease lapses, not before."""
    async with AsyncExitStack() as stack:
        fleet = await fleet_of(stack, server, daily(100), 2)
        await fleet.claim(0, 60)
        await fleet.claim(0, 10)
        await fleet.settle(1, 1.0)
        await fleet.flush(0)
        await fleet.kill(0)
        early = await fleet.claim(1, 50)
        fleet.clock.now += LEASE_SECONDS + 0.1
        late = await fleet.claim(1, 90)
        more = await fleet.claim(1, 1)

        assert (early, late, more) == (False, True, False)


async def test_what_runs_is_renewed(server: RunningServer) -> None:
    """A reservation outlives its lease many times over while its process lives."""
    async with AsyncExitStack() as stack:
        fleet = await fleet_of(stack, server, daily(100), 2)
        await fleet.claim(0, 60)
        for _ in range(30):
            fleet.clock.now += 4.5
            await fleet.flush(0)
        other = await fleet.claim(1, 50)

        assert not other


async def test_a_busy_account_costs_no_round_trip_and_a_quiet_one_exactly_one(server: RunningServer) -> None:
    """The first request draws; a thousand more at a steady pace ask almost never."""
    async with AsyncExitStack() as stack:
        fleet = await fleet_of(stack, server, daily(10_000_000), 1)
        worker = fleet.workers[0]
        await fleet.claim(0, 100)
        first = worker.shares.asked
        await fleet.settle(0, 1.0)
        for _ in range(10):
            for _ in range(100):
                await fleet.claim(0, 100)
                await fleet.settle(0, 1.0)
            fleet.clock.now += 1.0
            await fleet.flush(0)
        warm = worker.shares.asked
        for _ in range(100):
            await fleet.claim(0, 100)

        assert first == 1
        assert warm <= 30  # one report per interval, and ever larger draws at the beginning
        assert worker.shares.asked == warm


async def test_a_quiet_process_keeps_nothing(server: RunningServer) -> None:
    """What a process drew ahead is given back with the next report in which it took nothing."""
    async with AsyncExitStack() as stack:
        fleet = await fleet_of(stack, server, daily(1000), 2)
        for _ in range(20):
            await fleet.claim(0, 5)
            await fleet.settle(0, 1.0)
        for _ in range(2):
            fleet.clock.now += 1.0
            await fleet.flush(0)
        rest = await fleet.claim(1, 900)

        assert rest
