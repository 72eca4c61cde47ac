"""Memory and a real server are driven with the same operations, and every answer must be the same."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, rule, run_state_machine_as_test

from gateway.core.budgets import Budget, Hold
from gateway.state.memory_budgets import MemoryBudgets
from tests.contract.budgets import daily, level, opened_budgets, rolling, settled
from tests.contract.conftest import SHARED, FakeClock, Servers, reach

if TYPE_CHECKING:
    from gateway.core.budgets import Denial
    from gateway.state.redis_budgets import RedisBudgets

SETS: tuple[tuple[Budget, ...], ...] = (
    (rolling(70, 60.0),),
    (daily(90),),
    (level(3),),
    (rolling(70, 60.0), daily(90), level(3)),
    (rolling(50, 60.0), daily(70)),  # as after a reload
    (rolling(7, 3600.0, "slow"),),
)
PERIODS = [0.0, 0.001, 0.3, 1.0, 60 / 7, 8.571, 61.0, 3600.0, 86399.0, 100000.0]


def view(denial: Denial | None) -> object:
    """Everything of an answer; what lies between two clocks' windows is compared to a microsecond."""
    if denial is None:
        return None
    states = [(s.name, s.quota, s.window, s.remaining, round(s.reset, 5), s.unit) for s in denial.states]
    return denial.budget.name, denial.is_temporary, round(denial.retry_after, 5), states


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", SHARED)
def test_memory_and_redis_never_differ(servers: Servers, name: str) -> None:
    """Any sequence of reservations, extensions, settlements, reloads and waits gives the same answers."""
    clock = FakeClock()

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        redis: RedisBudgets = runner.run(
            stack.enter_async_context(opened_budgets(reach(servers[name]), clock))
        )

        class Both(RuleBasedStateMachine):
            held = Bundle("held")

            def __init__(self) -> None:
                super().__init__()
                self.memory = MemoryBudgets(clock)
                self.prefix = str(uuid4())
                clock.now = 86400.0 * 1000 + 7.0

            @rule(
                target=held,
                who=st.sampled_from("ab"),
                budgets=st.sampled_from(SETS),
                amount=st.sampled_from([1, 2, 5, 30, 69, 70, 90]),
            )
            def reserve(self, who: str, budgets: tuple[Budget, ...], amount: int) -> object:
                amounts = [1 if budget.measure.is_level else amount for budget in budgets]
                pairs = [
                    [
                        Hold(budget, self.prefix + who, much)
                        for budget, much in zip(budgets, amounts, strict=True)
                    ]
                    for _ in range(2)
                ]
                expected = runner.run(self.memory.reserve(pairs[0]))
                actual = runner.run(redis.reserve(pairs[1]))
                runner.run(settled(redis))

                assert view(expected) == view(actual)
                return tuple(zip(*pairs, strict=True)) if expected is None else multiple()

            @rule(holds=held, amount=st.sampled_from([1, 7, 40]))
            def extend(self, holds: tuple[tuple[Hold, Hold], ...], amount: int) -> None:
                for mine, theirs in holds:
                    told: list[str] = []
                    self.memory.extend(mine, amount, lambda told=told: told.append("memory"))  # type: ignore[misc]  # bound now
                    redis.extend(theirs, amount, lambda told=told: told.append("redis"))  # type: ignore[misc]  # bound now
                    runner.run(settled(redis))

                    assert told in ([], ["memory", "redis"])
                    assert mine.amount == theirs.amount

            @rule(holds=held, used=st.sampled_from([0, 1, 3, 29, 70, 120]))
            def settle(self, holds: tuple[tuple[Hold, Hold], ...], used: int) -> None:
                for mine, theirs in holds:
                    self.memory.settle(mine, used)
                    redis.settle(theirs, used)
                runner.run(settled(redis))

            @rule(seconds=st.sampled_from(PERIODS) | st.floats(0.0, 1e5))
            def wait(self, seconds: float) -> None:
                if redis.shares._dirty:
                    seconds = min(seconds, 100.0)
                while redis.shares._dirty and seconds > 9.0:  # what runs is renewed, as it would be
                    clock.now += 9.0
                    seconds -= 9.0
                    runner.run(settled(redis))
                clock.now += seconds

        try:
            run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis has no types here
                Both,
                settings=settings(
                    max_examples=60,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(stack.aclose())
