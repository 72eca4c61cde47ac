"""The arithmetic of budgets, and how a shortage is worded."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budgets import (
    Budget,
    Dimension,
    Hold,
    Key,
    Measure,
    Price,
    Shortage,
    deny,
    spend,
    used_of,
    window_of,
)
from gateway.core.calendars import Calendar, Window

PER = (Key(Dimension.IDENTITY),)
ROLLING = Budget("chat", "rolling", Measure.TOKENS, 100, PER, 50.0)
MONTHLY = Budget("chat", "monthly", Measure.COST, 100, PER, calendar=Calendar(Window.MONTH, ZoneInfo("UTC")))
LEVEL = Budget("chat", "level", Measure.CONCURRENT, 2, PER)


@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0.0, 60.0)), max_size=20))
def test_what_is_spent_runs_out_steadily(uses: list[tuple[int, float]]) -> None:
    """What counts as used is what a bucket would hold that runs out at the budget's rate, rounded up."""
    now, arrival, owed = 1000.0, 0.0, 0.0
    for amount, pause in uses:
        if owed + amount > 200.0:
            continue
        arrival = spend(ROLLING, arrival, now, amount)
        owed = min(owed, 200.0) + amount
        now += pause
        owed = max(0.0, owed - pause / ROLLING.interval)

        assert owed - 1e-3 <= used_of(ROLLING, arrival, now) <= owed + 1.0


@pytest.mark.parametrize(
    ("price", "given_tokens", "produced", "expected"),
    [
        (Price(200_000, 600_000), 1_000_000, 1_000_000, 800_000),
        (Price(200_000, 600_000), 1, 0, 1),
        (Price(0, 0), 5, 5, 0),
    ],
)
def test_cost_is_rounded_up(price: Price, given_tokens: int, produced: int, expected: int) -> None:
    """Millionths of the currency's unit: whatever is not free costs something."""
    assert expected == price.of(given_tokens, produced)


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        (Shortage(Hold(ROLLING, "a", 10), 5, 95, 47.5), (False, 2.5)),
        (Shortage(Hold(ROLLING, "a", 10), 5, 20, 10.0), (True, 1.0)),
        (Shortage(Hold(ROLLING, "a", 101), 100, 0, 0.0), (False, 1e-6)),
        (Shortage(Hold(MONTHLY, "a", 10), 5, 95, 3600.0), (False, 3600.0)),
        (Shortage(Hold(LEVEL, "a", 1), 0, 0, 0.0), (True, 1.0)),
    ],
    ids=["used", "held", "too-large", "calendar", "level"],
)
def test_a_shortage_says_how_long_to_wait(short: Shortage, expected: tuple[bool, float]) -> None:
    """What is used up comes back with time; of what is held nobody knows when it ends."""
    denial = deny([short])

    assert expected[0] == denial.is_temporary
    assert pytest.approx(expected[1]) == denial.retry_after


def test_the_longest_wait_decides() -> None:
    """All shortages are shown; the worst is named."""
    denial = deny(
        [Shortage(Hold(LEVEL, "a", 1), 0, 0, 0.0), Shortage(Hold(MONTHLY, "a", 10), -5, 105, 3600.0)]
    )

    assert MONTHLY is denial.budget
    assert [("level", 0, 0.0), ("monthly", 0, 2592000.0)] == [
        (state.name, state.remaining, state.window) for state in denial.states
    ]
    assert window_of(ROLLING) == 50.0
