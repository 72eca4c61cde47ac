"""Budgets under contract: memory, Redis and Valkey, and what tests ask of them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.core.budgets import Budget, Dimension, Hold, Key, Measure
from gateway.core.calendars import Calendar, Window
from gateway.state.memory_budgets import MemoryBudgets
from gateway.state.redis import RedisStore
from gateway.state.redis_budgets import RedisBudgets
from gateway.state.redis_shares import RedisShares

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.core.budgets import Budgets, Denial
    from gateway.core.ports import Store
    from gateway.state.link import Server
    from tests.contract.conftest import FakeClock

PER = (Key(Dimension.IDENTITY),)
DAILY = Calendar(Window.DAY, ZoneInfo("UTC"))


def rolling(quota: int = 100, period: float = 100.0, name: str = "tokens", **more: object) -> Budget:
    """A rolling budget: one unit per second, unless told otherwise."""
    return Budget("chat", name, Measure.TOKENS, quota, PER, period, **more)  # type: ignore[arg-type]  # the caller's


def daily(quota: int = 100, name: str = "daily", **more: object) -> Budget:
    """A budget per day."""
    return Budget("chat", name, Measure.TOKENS, quota, PER, calendar=DAILY, **more)  # type: ignore[arg-type]  # the caller's


def level(quota: int = 2, name: str = "streams") -> Budget:
    """A budget of what runs at the same time."""
    return Budget("chat", name, Measure.STREAMS, quota, PER)


@asynccontextmanager
async def opened_budgets(
    server: Server, clock: FakeClock, *, is_timed: bool = True, **options: object
) -> AsyncIterator[RedisBudgets]:
    """Started budgets whose reports wait for the test; the script takes the test's time."""
    options = {"interval": 1e6, "now": clock.tick if is_timed else None, **options}
    part = options.pop("share", 0.5)
    shares = RedisShares(server, clock, **options)  # type: ignore[arg-type]  # options
    await shares.start()
    try:
        yield RedisBudgets(shares, MemoryBudgets(clock), share=part)  # type: ignore[arg-type]  # an option
    finally:
        await shares.stop()


async def settled(budgets: Budgets | Store) -> None:
    """Let everything that is on its way to a server arrive, and what that makes leave as well."""
    if isinstance(budgets, RedisBudgets | RedisStore):
        budgets.shares.flush()
        for connection in 2 * budgets.shares.link.connections:
            await connection.ask("PING")  # replies come in order
    await asyncio.sleep(0)


async def take(budgets: Budgets, key: str, *wants: tuple[Budget, int]) -> tuple[list[Hold], Denial | None]:
    """Reserve amounts of budgets, all or none."""
    holds = [Hold(budget, key, amount) for budget, amount in wants]
    return holds, await budgets.reserve(holds)
