"""What every store promises, on every store: exact limits, charged all or none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.core.refusal import LimitState

if TYPE_CHECKING:
    from gateway.core.limits import Ledger
    from gateway.core.ports import Store
    from tests.contract.conftest import FakeClock

SLOW = RateLimit("slow", 6, 60.0, 3)
DAILY = RateLimit("daily", 100, 86400.0, 5)
CHAT = RouteLimits("chat", (SLOW,))
BOTH = RouteLimits("both", (DAILY, SLOW), ConcurrencyLimit("together", 4))
TWO_AT_ONCE = RouteLimits("two", (), ConcurrencyLimit("together", 2))


async def test_grants_a_burst_and_no_more(store: Store, key: str) -> None:
    """As many requests as the burst pass at once; the next is refused by name."""
    ledgers = [await store.admit(key, CHAT) for _ in range(4)]

    assert [ledger.refused for ledger in ledgers] == [None, None, None, "slow"]


async def test_grants_again_after_retry_after_and_not_earlier(
    store: Store, key: str, clock: FakeClock
) -> None:
    """`retry_after` is the earliest time that helps."""
    for _ in range(3):
        await store.admit(key, CHAT)
    refused = await store.admit(key, CHAT)
    clock.now += refused.retry_after - 0.01
    early = await store.admit(key, CHAT)
    clock.now += 0.01
    late = await store.admit(key, CHAT)

    assert pytest.approx(10.0) == refused.retry_after
    assert (early.refused, late.refused) == ("slow", None)


async def test_a_granted_ledger_says_nothing_more(store: Store, key: str) -> None:
    """States are made for refusals alone; a rate limit leaves nothing to settle."""
    ledger = await store.admit(key, CHAT)

    assert (ledger.lease, ledger.states, ledger.retry_after, ledger.is_local) == (None, (), 0.0, False)


async def test_a_refused_claim_charges_nothing(store: Store, key: str, clock: FakeClock) -> None:
    """However often one limit refuses, the others stay as they are."""
    granted = [await store.admit(key, BOTH) for _ in range(3)]
    refused = [await store.admit(key, BOTH) for _ in range(20)]
    for ledger in granted:
        store.settle(ledger)
    clock.now += 20.0
    again = [await store.admit(key, BOTH) for _ in range(3)]

    assert {"slow"} == {ledger.refused for ledger in refused}
    assert [ledger.refused for ledger in again] == [None, None, "daily"]
    assert next(state.remaining for state in again[2].states if state.name == "daily") == 0


async def test_names_the_limit_with_the_longest_wait(store: Store, key: str, clock: FakeClock) -> None:
    """Two limits refuse: trying again helps only when both have room."""
    for _ in range(3):
        store.settle(await store.admit(key, BOTH))
    clock.now += 25.0
    for _ in range(2):
        store.settle(await store.admit(key, BOTH))
    refused = await store.admit(key, BOTH)

    assert refused.refused == "daily"
    assert pytest.approx(864.0 - 25.0) == refused.retry_after


async def test_shows_the_limits_that_a_refused_claim_touched(store: Store, key: str) -> None:
    """Quota, window, what remains, and when the quota is whole again."""
    for _ in range(3):
        await store.admit(key, BOTH)
    refused = await store.admit(key, BOTH)

    assert (
        LimitState("daily", 100, 86400.0, 2, 2592.0),
        LimitState("slow", 6, 60.0, 0, 30.0),
        LimitState("together", 4, 0.0, 1, 0.0),
    ) == refused.states


async def test_bounds_requests_at_the_same_time(store: Store, key: str) -> None:
    """A slot is free again when it is settled."""
    first = await store.admit(key, TWO_AT_ONCE)
    await store.admit(key, TWO_AT_ONCE)
    refused = await store.admit(key, TWO_AT_ONCE)
    store.settle(first)
    again = await store.admit(key, TWO_AT_ONCE)

    assert (first.refused, refused.refused, refused.is_concurrency) == (None, "together", True)
    assert refused.retry_after > 0.0
    assert None is again.refused


async def test_settling_twice_frees_one_slot(store: Store, key: str) -> None:
    """`settle` is idempotent, and settling what holds nothing does nothing."""
    first = await store.admit(key, TWO_AT_ONCE)
    await store.admit(key, TWO_AT_ONCE)
    refused = await store.admit(key, TWO_AT_ONCE)
    for ledger in (first, first, refused):
        store.settle(ledger)
    again = [(await store.admit(key, TWO_AT_ONCE)).refused for _ in range(2)]

    assert again == [None, "together"]


async def test_a_full_house_charges_no_rate(store: Store, key: str) -> None:
    """A claim refused for concurrency leaves the rate limits as they are."""
    limits = RouteLimits("house", (SLOW,), ConcurrencyLimit("together", 1))
    first = await store.admit(key, limits)
    refused = [await store.admit(key, limits) for _ in range(5)]
    store.settle(first)
    after = await store.admit(key, limits)

    assert {("together", True)} == {(ledger.refused, ledger.is_concurrency) for ledger in refused}
    assert refused[-1].states[0].remaining == 2
    assert None is after.refused


async def test_is_exact_under_concurrent_claims(store: Store, key: str) -> None:
    """Of a hundred claims at once exactly as many pass as there is room for."""
    limits = RouteLimits("crowd", (RateLimit("r", 40, 3600.0, 40),), ConcurrencyLimit("c", 30))
    ledgers: list[Ledger] = []

    async def claim() -> None:
        ledgers.append(await store.admit(key, limits))

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(claim())
    granted = [ledger for ledger in ledgers if ledger.refused is None]
    for ledger in granted:
        store.settle(ledger)
    later = [(await store.admit(key, limits)).refused for _ in range(12)]

    assert len(granted) == 30
    assert later == [None] * 10 + ["r"] * 2


async def test_identities_and_routes_do_not_share(store: Store, key: str) -> None:
    """What one identity used on one route restrains neither others nor elsewhere."""
    for _ in range(4):
        await store.admit(key, CHAT)
    other = await store.admit(key + "x", CHAT)
    elsewhere = await store.admit(key, RouteLimits("embeddings", (SLOW,)))

    assert (other.refused, elsewhere.refused) == (None, None)


async def test_names_cannot_be_spliced(store: Store, key: str) -> None:
    """A scope and a limit whose names join to the same text are still two."""
    one = RouteLimits("a", (RateLimit("b:c", 1, 60.0, 1),))
    other = RouteLimits("a:b", (RateLimit("c", 1, 60.0, 1),))
    ledgers = [await store.admit(key, one), await store.admit(key, other), await store.admit(key, other)]

    assert [ledger.refused for ledger in ledgers] == [None, None, "c"]


async def test_any_text_may_be_an_identity(store: Store, key: str) -> None:
    """Braces, newlines and non-ASCII letters in a key do no harm."""
    odd = f"{{a}}\r\n*1 \x00é€{key}"
    ledgers = [await store.admit(odd, CHAT) for _ in range(4)]

    assert [ledger.refused for ledger in ledgers] == [None, None, None, "slow"]


async def test_a_reload_forgives_nothing(store: Store, key: str) -> None:
    """New limits under an old name go on from what was used under it."""
    for _ in range(3):
        await store.admit(key, CHAT)
    reloaded = RouteLimits("chat", (DAILY, SLOW), ConcurrencyLimit("together", 2))
    ledger = await store.admit(key, reloaded)

    assert ledger.refused == "slow"


async def test_a_smaller_limit_locks_nobody_out(store: Store, key: str, clock: FakeClock) -> None:
    """What was granted under a generous limit is not held against the new one for ever."""
    for _ in range(50):
        await store.admit(key, RouteLimits("smaller", (RateLimit("r", 100, 86400.0, 50),)))
    smaller = RouteLimits("smaller", (RateLimit("r", 60, 60.0, 5),))
    refused = await store.admit(key, smaller)
    clock.now += refused.retry_after
    later = await store.admit(key, smaller)

    assert (pytest.approx(2.0), None) == (refused.retry_after, later.refused)


async def test_a_slot_outlives_a_reload(store: Store, key: str) -> None:
    """Requests that began under old limits still hold their slots under new ones."""
    running = await store.admit(key, TWO_AT_ONCE)
    reloaded = RouteLimits("two", (), ConcurrencyLimit("together", 1))
    refused = await store.admit(key, reloaded)
    store.settle(running)
    granted = await store.admit(key, reloaded)

    assert (refused.refused, granted.refused) == ("together", None)


@pytest.mark.parametrize(
    ("count", "period", "burst"), [(7, 60.0, 7), (1, 86400.0, 1), (1000, 3600.0, 50), (3, 70.7, 100)]
)
async def test_rounding_never_costs_the_last_of_a_burst(
    store: Store, key: str, clock: FakeClock, count: int, period: float, burst: int
) -> None:
    """Sums of fractions are no reason to refuse; nor to grant one more."""
    clock.now = 123456.789
    limits = RouteLimits("fractions", (RateLimit("r", count, period, burst),))
    granted = [(await store.admit(key, limits)).refused is None for _ in range(burst + 1)]

    assert [True] * burst + [False] == granted
