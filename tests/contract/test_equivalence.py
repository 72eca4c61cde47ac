"""Memory and Redis are driven with the same operations, and every ledger must be the same."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, rule, run_state_machine_as_test

from gateway.core.limits import ConcurrencyLimit, Ledger, RateLimit, RouteLimits
from gateway.state.memory import MemoryStore
from tests.contract.budgets import settled
from tests.contract.conftest import SHARED, FakeClock, Servers, opened, reach

if TYPE_CHECKING:
    from gateway.state.redis import RedisStore

MINUTE = RateLimit("minute", 7, 60.0, 3)
HOUR = RateLimit("hour", 50, 3600.0, 9)
DAY = RateLimit("day", 11, 86400.0, 11)
ROUTES = (
    RouteLimits("one", (MINUTE,)),
    RouteLimits("all", (MINUTE, HOUR, DAY), ConcurrencyLimit("c", 3)),
    RouteLimits("all", (HOUR, MINUTE), ConcurrencyLimit("c", 2)),  # as after a reload
    RouteLimits("slots", (), ConcurrencyLimit("c", 2)),
)
PERIODS = [0.0, 0.001, 0.3, 1.0, 60 / 7, 8.571, 61.0, 3600.0, 100000.0]


def view(ledger: Ledger) -> object:
    """Everything of a ledger but the lease, whose type is the store's own; sums of floats to a microsecond."""
    states = [(s.name, s.quota, s.window, s.remaining, round(s.reset, 5), s.unit) for s in ledger.states]
    return (
        ledger.refused,
        ledger.is_concurrency,
        ledger.is_temporary,
        round(ledger.retry_after, 5),
        states,
        ledger.is_local,
        ledger.lease is None,
    )


@pytest.mark.parametrize("name", SHARED)
def test_memory_and_redis_never_differ(servers: Servers, name: str) -> None:
    """Any sequence of claims, settlements, reloads and waits gives the same ledgers in both."""
    clock = FakeClock()

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        redis: RedisStore = runner.run(stack.enter_async_context(opened(reach(servers[name]), clock)))

        class Both(RuleBasedStateMachine):
            granted = Bundle("granted")

            def __init__(self) -> None:
                super().__init__()
                self.memory = MemoryStore(clock)
                self.prefix = str(uuid4())
                clock.now = 1000.0

            @rule(target=granted, who=st.sampled_from("ab"), route=st.sampled_from(ROUTES))
            def admit(self, who: str, route: RouteLimits) -> object:
                key = self.prefix + who
                expected = runner.run(self.memory.admit(key, route))
                actual = runner.run(redis.admit(key, route))
                runner.run(settled(redis))

                assert view(expected) == view(actual)
                return (expected, actual) if actual.refused is None else multiple()

            @rule(ledgers=granted)
            def settle(self, ledgers: tuple[Ledger, Ledger]) -> None:
                self.memory.settle(ledgers[0])
                redis.settle(ledgers[1])
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
