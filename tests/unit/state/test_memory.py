"""The bounds of the memory store; what all stores promise is in tests/contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.limits import ConcurrencyLimit, Ledger, RateLimit, RouteLimits
from gateway.core.ports import StoreUnavailable
from gateway.state.memory import MemoryStore
from tests.contract.conftest import FakeClock

if TYPE_CHECKING:
    from collections.abc import Coroutine

MINUTE = RouteLimits("minute", (RateLimit("r", 1, 60.0, 1),))
SLOTS = RouteLimits("slots", (), ConcurrencyLimit("c", 1))


def now(line: Coroutine[object, None, Ledger]) -> Ledger:
    """Run a coroutine that must not suspend."""
    with pytest.raises(StopIteration) as stopped:
        line.send(None)
    ledger = stopped.value.value
    assert isinstance(ledger, Ledger)
    return ledger


def test_admit_never_suspends() -> None:
    """The line pays no turn of the loop for a claim in memory."""
    assert now(MemoryStore(FakeClock()).admit("k", MINUTE)).refused is None


def test_idle_entries_are_swept_while_new_ones_come() -> None:
    """Memory follows the identities that are active, not those that ever came."""
    clock = FakeClock()
    store = MemoryStore(clock)
    for index in range(1000):
        clock.now += 1.0
        now(store.admit(f"k{index}", MINUTE))

    assert len(store) < 130  # sixty are restrained; the sweep looks at four per newcomer


def test_who_is_restrained_is_never_forgotten() -> None:
    """A full memory refuses newcomers rather than forgive anybody."""
    store = MemoryStore(FakeClock(), entries=10)
    for index in range(10):
        now(store.admit(f"k{index}", MINUTE))
    with pytest.raises(StoreUnavailable):
        store.admit("newcomer", MINUTE).send(None)

    assert [now(store.admit(f"k{index}", MINUTE)).refused for index in range(10)] == ["r"] * 10


def test_a_full_memory_takes_newcomers_as_soon_as_somebody_is_idle() -> None:
    """The idle make room, wherever they stand."""
    clock = FakeClock()
    store = MemoryStore(clock, entries=10)
    for index in range(9):
        now(store.admit(f"k{index}", SLOTS))
    now(store.admit("brief", MINUTE))
    clock.now += 61.0

    assert now(store.admit("newcomer", MINUTE)).refused is None
    assert [now(store.admit(f"k{index}", SLOTS)).refused for index in range(9)] == ["c"] * 9


def test_a_held_slot_is_not_swept() -> None:
    """However long a request runs, its slot stays taken until it is settled."""
    clock = FakeClock()
    store = MemoryStore(clock)
    held = now(store.admit("k", SLOTS))
    for index in range(100):
        clock.now += 1000.0
        now(store.admit(f"k{index}", MINUTE))
    refused = now(store.admit("k", SLOTS))
    store.settle(held)

    assert (refused.refused, now(store.admit("k", SLOTS)).refused) == ("c", None)


def test_what_a_reload_took_away_is_remembered_while_it_restrains() -> None:
    """Claims under the old and the new configuration alternate while the old one drains."""
    clock = FakeClock()
    store = MemoryStore(clock, entries=2)
    other = RouteLimits("minute", (RateLimit("q", 1, 60.0, 1),))
    first = [now(store.admit("k", limits)).refused for limits in (MINUTE, other, MINUTE, other)]
    clock.now += 30.0
    now(store.admit("x", MINUTE))
    clock.now += 29.0
    again = [now(store.admit("k", limits)).refused for limits in (MINUTE, other)]
    clock.now += 2.0
    last = [now(store.admit("k", limits)).refused for limits in (MINUTE, other)]

    assert first == [None, None, "r", "q"]
    assert again == ["r", "q"]
    assert last == [None, None]


@given(
    count=st.integers(1, 10_000),
    period=st.sampled_from([0.1, 1.0, 60.0, 3600.0, 86400.0]),
    burst=st.integers(1, 60),
    start=st.floats(0.0, 1e8),
    gaps=st.lists(st.floats(0.0, 30.0), max_size=80),
)
def test_never_more_than_the_rate(
    count: int, period: float, burst: int, start: float, gaps: list[float]
) -> None:
    """In any stretch of time at most the burst plus what the rate yields is granted; at first, the burst."""
    clock = FakeClock(start)
    store = MemoryStore(clock)
    limits = RouteLimits("r", (RateLimit("r", count, period, burst),))
    at_once = sum(now(store.admit("k", limits)).refused is None for _ in range(burst + 2))
    granted = at_once
    for gap in gaps:
        clock.now += gap
        granted += now(store.admit("k", limits)).refused is None

    assert burst == at_once
    assert granted <= burst + (clock.now - start) / (period / count) + 1.001
