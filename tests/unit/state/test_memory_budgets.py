"""The bounds of budgets in memory; what all keepers promise is in tests/contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.budgets import Hold
from gateway.core.ports import StoreUnavailable
from gateway.state.memory_budgets import MemoryBudgets
from tests.contract.budgets import level, rolling
from tests.contract.conftest import FakeClock

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway.core.budgets import Denial


def now(line: Coroutine[object, None, Denial | None]) -> Denial | None:
    """Run a coroutine that must not suspend."""
    with pytest.raises(StopIteration) as stopped:
        line.send(None)
    denial: Denial | None = stopped.value.value
    return denial


def test_idle_accounts_are_swept_while_new_ones_come() -> None:
    """Memory follows those that are active, not those that ever came."""
    clock = FakeClock()
    budgets = MemoryBudgets(clock)
    for index in range(1000):
        clock.now += 1.0
        hold = Hold(rolling(100, 100.0), f"k{index}", 10)
        assert now(budgets.reserve([hold])) is None
        budgets.settle(hold, 10)

    assert len(budgets) < 60


def test_who_is_restrained_is_never_forgotten() -> None:
    """A full memory refuses newcomers rather than forgive anybody; the idle make room."""
    clock = FakeClock()
    budgets = MemoryBudgets(clock, accounts=10)
    holds = [Hold(rolling(), f"k{index}", 100) for index in range(10)]
    for hold in holds:
        now(budgets.reserve([hold]))
    with pytest.raises(StoreUnavailable):
        budgets.reserve([Hold(rolling(), "new", 1)]).send(None)
    budgets.settle(holds[3], 0)

    assert now(budgets.reserve([Hold(rolling(), "new", 1)])) is None
    assert now(budgets.reserve([Hold(rolling(), "k0", 1)])) is not None


def test_what_is_not_held_cannot_be_extended_or_settled() -> None:
    """A hold that was never granted, or is settled, moves nothing."""
    budgets = MemoryBudgets(FakeClock())
    told: list[str] = []
    hold = Hold(level(), "k", 1)
    budgets.extend(hold, 1, lambda: told.append("no"))
    budgets.settle(hold, 1)

    assert [] == told
    assert 0 == len(budgets)
