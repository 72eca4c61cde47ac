"""Rates per name: what they grant, and that memory is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.credentials.allowance import Allowance


@given(st.integers(1, 20), st.lists(st.floats(0.0, 0.3), max_size=200))
def test_no_period_grants_more_than_twice_the_rate(count: int, waits: list[float]) -> None:
    """A full burst at once, then the rate: in any period at most what a burst and a period give together."""
    allowance = Allowance(count, 1.0)
    now, granted = 0.0, []
    for wait in waits:
        now += wait
        if allowance.take("a", now):
            granted.append(now)

    for start in granted:
        assert 2 * count >= len([at for at in granted if start <= at < start + 1.0])


def test_a_burst_comes_back_with_time() -> None:
    """So many at once, then one per share of the period; each name has its own."""
    allowance = Allowance(2, 1.0)

    assert [True, True, False] == [allowance.take("a", 10.0) for _ in range(3)]
    assert allowance.take("b", 10.0)
    assert [True, False] == [allowance.take("a", 10.5) for _ in range(2)]
    assert [True, True, False] == [allowance.take("a", 99.0) for _ in range(3)]


def test_what_is_given_back_can_be_taken_again() -> None:
    """Who is found to be honest is not charged; what was never taken is not given back."""
    allowance = Allowance(1, 1.0)
    allowance.give_back("a")

    for _ in range(5):
        assert allowance.take("a", 10.0)
        allowance.give_back("a")
    assert allowance.take("a", 10.0)
    assert not allowance.take("a", 10.0)


def test_memory_is_bounded() -> None:
    """Names that were not seen for longest are forgotten; those still in use move along."""
    allowance = Allowance(1, 1.0, capacity=2)
    for name in ("a", "b", "c"):
        assert allowance.take(name, 10.0)

    assert not allowance.take("a", 10.0)  # in the old half still
    allowance.give_back("a")
    assert allowance.take("a", 10.0)
    for number in range(100):
        allowance.take(str(number), 10.0)
    assert 4 >= len(allowance._young) + len(allowance._old)
    assert allowance.take("a", 10.0)
