"""How a refusal is worded."""

from __future__ import annotations

import pytest

from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.core.refusal import LimitState
from gateway.state.verdict import CONCURRENCY_WAIT, refusal, remaining

FAST = RateLimit("fast", 10, 10.0, 2)
SLOW = RateLimit("slow", 6, 60.0, 3)


@pytest.mark.parametrize(("debt", "left"), [(0.0, 3), (10.0, 2), (10.1, 1), (29.0, 0), (30.0, 0), (99.0, 0)])
def test_remaining_counts_whole_requests(debt: float, left: int) -> None:
    """What cannot be granted at once now does not remain."""
    assert left == remaining(SLOW, debt)


def test_the_longest_wait_names_the_limit() -> None:
    """Two rate limits refuse: the one that takes longer is named."""
    ledger = refusal(RouteLimits("r", (FAST, SLOW)), [2.0, 25.0], 0, is_rate=True)

    assert (ledger.refused, ledger.retry_after, ledger.is_concurrency) == ("slow", 5.0, False)
    assert (LimitState("fast", 10, 10.0, 0, 2.0), LimitState("slow", 6, 60.0, 0, 25.0)) == ledger.states


def test_a_refusal_always_asks_to_wait() -> None:
    """Rounding never makes a refusal say that no wait is needed."""
    assert refusal(RouteLimits("r", (FAST,)), [1.0], 0, is_rate=True).retry_after > 0.0


def test_a_lowered_limit_shows_nothing_left() -> None:
    """More may run than a reload allows; less than nothing does not remain."""
    limits = RouteLimits("r", (), ConcurrencyLimit("c", 2))
    ledger = refusal(limits, [], 5, is_rate=False)

    assert (ledger.refused, ledger.retry_after, ledger.is_concurrency) == ("c", CONCURRENCY_WAIT, True)
    assert (LimitState("c", 2, 0.0, 0, 0.0),) == ledger.states
