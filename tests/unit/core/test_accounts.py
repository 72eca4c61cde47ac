"""What forgiving does to a rolling budget."""

from __future__ import annotations

import pytest

from gateway.core.accounts import forgiven
from gateway.core.budgets import Budget, Measure, spend, used_of

NOW = 1000.0


@pytest.mark.parametrize(("used", "taken"), [(1, 1), (7, 3), (100, 100), (150, 20)])
def test_so_much_less_is_used(used: int, taken: int) -> None:
    """Taking off is the inverse of spending, unit by unit, an overdraft included."""
    budget = Budget("chat", "tokens", Measure.TOKENS, 100, (), 7.0)
    arrival = spend(budget, 0.0, NOW, used)

    assert used == used_of(budget, arrival, NOW)
    assert used - taken == used_of(budget, forgiven(budget, arrival, taken), NOW)
