"""The arithmetic of the rate limit (GCRA): never more than is granted, and all of it usable."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.limits import ConcurrencyLimit, Ledger, RateLimit, RouteLimits, as_budgets, charge

LIMITS = st.builds(
    lambda count, period, burst: RateLimit("limit", count, period, min(count, burst)),
    st.integers(1, 50),
    st.sampled_from([1.0, 60.0, 3600.0]),
    st.integers(1, 50),
)
TINY = 1e-6  # seconds: what doubles lose over a run


def granted(limit: RateLimit, times: list[float]) -> list[float]:
    """Send requests at these times; return when one was granted."""
    arrival, passed = 0.0, []
    for now in times:
        after, early = charge(limit, arrival, now)
        if early <= TINY:
            arrival = after
            passed.append(now)
    return passed


def test_a_burst_then_one_per_interval() -> None:
    """Ten at once of sixty a minute, then one each second."""
    limit = RateLimit("60/minute", 60, 60.0, 10)
    passed = granted(limit, [1000.0] * 20 + [1001.0] * 5 + [1003.0] * 5)

    assert [1000.0] * 10 + [1001.0] + [1003.0] * 2 == passed
    assert (1.0, 10.0) == (limit.interval, limit.tolerance)


def test_how_early_a_request_is() -> None:
    """The wait until it would conform is what `Retry-After` says."""
    limit = RateLimit("2/minute", 2, 60.0, 1)
    arrival, early = charge(limit, 0.0, 1000.0)
    _, wait = charge(limit, arrival, 1010.0)

    assert (1030.0, 0.0, 20.0) == (arrival, early, wait)


@given(LIMITS, st.lists(st.floats(0.0, 100.0), min_size=1, max_size=200))
def test_never_more_than_the_limit(limit: RateLimit, gaps: list[float]) -> None:
    """In any window of n intervals at most burst + n requests pass."""
    now, times = 1_000_000.0, []
    for gap in gaps:
        now += gap * limit.interval / 10
        times.append(now)
    passed = granted(limit, times)

    for start in range(0, len(passed), 7):
        for end in range(start, len(passed)):
            length = passed[end] - passed[start]
            assert end - start + 1 <= limit.burst + length / limit.interval + TINY


@given(LIMITS, st.integers(1, 100))
def test_the_whole_limit_is_usable(limit: RateLimit, count: int) -> None:
    """Whoever keeps the interval is never refused."""
    times = [1_000_000.0 + number * limit.interval for number in range(count)]

    assert times == granted(limit, times)


@given(LIMITS, st.floats(0.0, 1e7), st.floats(1.0, 1e7))
def test_a_refusal_names_the_first_moment_that_conforms(limit: RateLimit, arrival: float, now: float) -> None:
    """Waiting as long as was said is enough."""
    _, early = charge(limit, arrival, now)
    _, later = charge(limit, arrival, now + max(early, 0.0))

    assert TINY >= later


@given(LIMITS, st.floats(0.0, 1e7), st.floats(1.0, 1e7), st.floats(0.0, 1e3))
def test_charging_is_monotonic(limit: RateLimit, arrival: float, now: float, more: float) -> None:
    """A later request never makes the state earlier; one that was never seen starts now."""
    first, _ = charge(limit, arrival, now)

    assert first >= now + limit.interval - TINY
    assert charge(limit, arrival, now + more)[0] >= first
    assert now + limit.interval == charge(limit, 0.0, now)[0]


def test_a_ledger_grants_unless_it_says_otherwise() -> None:
    """Nothing refused, nothing held, not local."""
    ledger = Ledger()

    assert (None, None, False, 0.0, (), False, False) == (
        ledger.lease,
        ledger.refused,
        ledger.is_concurrency,
        ledger.retry_after,
        ledger.states,
        ledger.is_local,
        ledger.is_temporary,
    )


def test_limits_are_frozen() -> None:
    """A request cannot change the limits of the next one."""
    limits = RouteLimits("chat", (RateLimit("a", 1, 1.0, 1),), ConcurrencyLimit("b", 2))
    with pytest.raises(FrozenInstanceError):
        limits.rates[0].count = 5  # type: ignore[misc]  # what must not work

    assert not limits.is_local_on_failure


def test_limits_are_budgets_of_the_same_arithmetic() -> None:
    """A rate is a rolling budget of its burst; nothing can be charged beyond it but the one request."""
    limits = RouteLimits("chat", (RateLimit("a", 60, 60.0, 10),), ConcurrencyLimit("b", 2))
    rate, level = as_budgets(limits)

    assert (rate.quota, rate.period, rate.interval, rate.longest) == (10, 10.0, 1.0, 11.0)
    assert (level.quota, level.measure.is_level) == (2, True)
    assert {("chat", "a"), ("chat", "b")} == {(each.scope, each.name) for each in (rate, level)}
    assert as_budgets(RouteLimits("free")) == ()
