"""The bounds of what is used once in memory; what all stores promise is in tests/contract."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ports import StoreUnavailable
from gateway.state.once import MemoryOnce
from tests.contract.conftest import FakeClock


async def test_a_name_is_free_again_after_its_time() -> None:
    """Exactly then; and it can be claimed anew."""
    clock = FakeClock()
    once = MemoryOnce(clock)
    found = []
    for later in (0.0, 59.9, 0.1, 30.0):
        clock.now += later
        found.append(await once.claim(b"a", 60.0))

    assert [True, False, True, False] == found


async def test_a_full_memory_refuses_and_forgets_nothing() -> None:
    """Dropping a name would let its proof be used again; room comes when names lapse."""
    clock = FakeClock()
    once = MemoryOnce(clock, entries=3)
    for name in (b"a", b"b", b"c"):
        await once.claim(name, 60.0)
    with pytest.raises(StoreUnavailable):
        await once.claim(b"d", 60.0)

    assert [False] * 3 == [await once.claim(name, 60.0) for name in (b"a", b"b", b"c")]
    clock.now += 60.0
    assert await once.claim(b"d", 60.0)


async def test_lapsed_names_are_swept_while_new_ones_come() -> None:
    """Memory follows what still counts, and no claim pays for more than a few."""
    clock = FakeClock()
    once = MemoryOnce(clock)
    for number in range(1000):
        await once.claim(b"old-%d" % number, 60.0)
    clock.now += 61.0
    await once.claim(b"first", 60.0)

    assert 1000 - 4 + 1 == len(once)
    for number in range(400):
        await once.claim(b"new-%d" % number, 60.0)
    assert 401 == len(once)


async def test_times_may_differ() -> None:
    """A short claim lapses before a long one that is older; a name that was claimed again is not swept early."""
    clock = FakeClock()
    once = MemoryOnce(clock)
    await once.claim(b"long", 100.0)
    await once.claim(b"short", 1.0)
    clock.now += 1.0
    assert await once.claim(b"short", 100.0)
    clock.now += 50.0
    assert [False, False] == [await once.claim(name, 1.0) for name in (b"long", b"short")]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0.1, 9.0), st.floats(0.0, 5.0)), max_size=40))
async def test_it_is_what_a_list_would_say(claims: list[tuple[str, float, float]]) -> None:
    """Against the plainest model: a name is taken until its time is over."""
    clock = FakeClock()
    once = MemoryOnce(clock)
    lapses: dict[str, float] = {}
    for name, seconds, pause in claims:
        clock.now += pause
        is_free = lapses.get(name, 0.0) <= clock.now
        if is_free:
            lapses[name] = clock.now + seconds

        assert is_free == await once.claim(name.encode(), seconds)


async def test_an_old_entry_frees_no_new_claim() -> None:
    """What is swept is the claim that lapsed, never the one that came after it under the same name."""
    clock = FakeClock()
    once = MemoryOnce(clock)
    for name in (b"a", b"b", b"c", b"d", b"e", b"f"):
        await once.claim(name, 1.0)
    clock.now += 1.0
    assert await once.claim(b"f", 60.0)  # its old entry is still there: four others were swept
    assert await once.claim(b"g", 60.0)

    assert not await once.claim(b"f", 60.0)
    assert 2 == len(once)
