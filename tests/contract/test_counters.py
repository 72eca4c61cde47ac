"""Counters of a fleet, on real servers: additive, decayed, and the same as in one process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.core.prompt import Prompt
from gateway.core.refusal import Reason
from gateway.state.address import parse
from gateway.state.counters import MemoryCounters
from gateway.state.link import Server
from gateway.state.redis_counters import BATCH, RedisCounters
from tests.contract.conftest import SERVERS, SHARED, FakeClock, Servers, reach
from tests.contract.test_failures import Reports
from tests.servers import USER, RunningServer, redis_binary, valkey_binary
from tests.unit.state.test_counters import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

HALF_LIFE = 600.0


@pytest.fixture(params=SHARED)
def server(request: pytest.FixtureRequest, servers: Servers) -> RunningServer:
    """Each kind of server."""
    return servers[request.param]


@pytest.fixture(params=SERVERS)
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that the test may break."""
    binary = redis_binary() if request.param == "redis" else valkey_binary()
    assert binary is not None
    server = RunningServer(binary, tmp_path)
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def counting(
    server: RunningServer, clock: FakeClock, **options: object
) -> AsyncIterator[RedisCounters]:
    """Started counters that flush when the test says so."""
    settings: dict[str, object] = {"half_life": HALF_LIFE, "interval": 3600.0, "now": clock.tick, **options}
    counters = RedisCounters(reach(server), clock, **settings)  # type: ignore[arg-type]  # options
    await counters.start()
    try:
        yield counters
    finally:
        await counters.stop()


def look(counters: RedisCounters, key: str) -> tuple[float, ...]:
    """What detectors would see, without counting."""
    history = counters._local.tally(key).history
    return history.requests, history.denials, history.tokens, round(history.models), round(history.prompts)


async def test_two_gateways_see_the_sum(server: RunningServer, key: str, clock: FakeClock) -> None:
    """What each counted, both know after their next flush; distinct things count once."""
    async with counting(server, clock) as one, counting(server, clock) as other:
        for fingerprint in range(1, 6):
            one.request(key, Prompt("a", fingerprint=fingerprint))
        for fingerprint in range(4, 8):
            other.request(key, Prompt("b", fingerprint=fingerprint))
        ended = exchange(key, reason=Reason.NO_RULE_ALLOWS)
        ended.usage.output_tokens = 40
        other.outcome(ended)
        await one.flush()
        await other.flush()
        one.outcome(exchange(key, prompt=Prompt()))  # counts nothing, but is of this identity
        await one.flush()
        seen = look(one, key), look(other, key)

    assert seen == ((10.0, 1.0, 40.0, 2, 7), (10.0, 1.0, 40.0, 2, 7))


async def test_is_the_same_as_in_one_process(server: RunningServer, key: str) -> None:
    """Driven with the same requests over hours, fleet and memory decay and forget alike."""
    clock = FakeClock(600_000.0)
    alone = MemoryCounters(clock, half_life=HALF_LIFE)
    async with counting(server, clock) as counters:
        for step in range(60):
            clock.now += (step * 37) % 211
            prompt = Prompt("ab"[step % 2], fingerprint=1 + step * 7919)
            alone.request(key, prompt)
            counters.request(key, prompt)
            await counters.flush()
        expected, actual = alone.tally(key).history, counters._local.tally(key).history

    assert pytest.approx(expected.requests, rel=0.01) == actual.requests
    assert (expected.models, expected.prompts) == (actual.models, actual.prompts)


async def test_what_comes_while_the_sums_are_on_their_way_is_not_lost(
    server: RunningServer, key: str, clock: FakeClock
) -> None:
    """The sums replace what they include, and only that."""
    async with counting(server, clock) as counters:
        counters.request(key, Prompt("a", fingerprint=1))
        flush = asyncio.ensure_future(counters.flush())
        await asyncio.sleep(0)
        counters.request(key, Prompt("b", fingerprint=2))
        await flush
        between = look(counters, key)
        await counters.flush()
        after = look(counters, key)

    assert (between, after) == ((2.0, 0.0, 0.0, 2, 2), (2.0, 0.0, 0.0, 2, 2))


async def test_many_identities_go_in_batches(server: RunningServer, key: str, clock: FakeClock) -> None:
    """More than one pipeline's worth arrives; one command each."""
    server.admin("CONFIG", "RESETSTAT")
    async with counting(server, clock) as counters:
        for index in range(2 * BATCH + 3):
            counters.request(f"{key}{index}", Prompt())
        await counters.flush()
    async with counting(server, clock) as other:
        other.request(f"{key}7", Prompt())
        await other.flush()
        seen = look(other, f"{key}7")[0]

    assert seen == 2.0
    assert server.calls("evalsha") == 2 * BATCH + 3 + 1 + 2 * server.nodes  # every connection is tried once


async def test_the_flusher_runs_by_itself(server: RunningServer, key: str, clock: FakeClock) -> None:
    """Nobody needs to ask; stopping flushes the rest."""
    async with counting(server, clock) as other:
        async with counting(server, clock, interval=0.005) as counters:
            counters.request(key, Prompt())
            async with asyncio.timeout(5):
                while counters._dirty:
                    await asyncio.sleep(0.005)
        async with counting(server, clock) as brief:
            brief.request(key, Prompt())
        other.request(key, Prompt())
        await other.flush()

        assert look(other, key)[0] == 3.0


async def test_damaged_values_are_replaced(server: RunningServer, key: str, clock: FakeClock) -> None:
    """A value that is no tally counts as none: counters never stop a request."""
    prefix = f"gateway:{key[-12:]}:"
    async with counting(server, clock, prefix=prefix) as counters:
        counters.request(key, Prompt())
        await counters.flush()
        names = server.admin("KEYS", prefix + "*:behaviour")
        assert isinstance(names, list)
        for name in names:
            server.admin("SET", name.decode(), "nonsense")
        counters.request(key, Prompt())
        await counters.flush()

        assert (look(counters, key)[0], counters.lost) == (1.0, 0)


async def test_an_outage_delays_and_loses_nothing_that_never_left(
    own: RunningServer, clock: FakeClock
) -> None:
    """While the store is away counting goes on locally; later the fleet learns it."""
    reports = Reports()
    async with counting(own, clock, report=reports) as counters:
        own.stop()
        await reports.until("lost")
        counters.request("k", Prompt("a", fingerprint=1))
        await counters.flush()
        during = look(counters, "k")[0], counters.is_ready
        own.start()
        await reports.until("back")
        await counters.flush()
        async with counting(own, clock) as other:
            other.request("k", Prompt("b", fingerprint=2))
            await other.flush()
            seen = look(other, "k")

    assert during == (1.0, False)
    assert seen == (2.0, 0.0, 0.0, 2, 2)
    assert counters.lost == 0


async def test_counts_whose_reply_is_lost_are_not_sent_again(own: RunningServer, clock: FakeClock) -> None:
    """Rather one too few in the fleet than one twice; here they stay."""
    reports = Reports()
    async with counting(own, clock, report=reports) as counters:
        for index in range(BATCH + 1):
            counters.request(f"k{index}", Prompt())
        own.freeze()
        flush = asyncio.ensure_future(counters.flush())
        await asyncio.sleep(0)
        own.stop()
        await flush
        await reports.until("lost")

        assert counters.lost == BATCH
        assert [f"k{BATCH}"] == list(counters._dirty)  # its batch never left
        assert look(counters, "k0")[0] == 1.0


async def test_a_flushed_script_is_loaded_again(own: RunningServer, clock: FakeClock) -> None:
    """Counts that met a server without the script did not run: they are sent again."""
    async with counting(own, clock) as counters:
        own.admin("SCRIPT", "FLUSH")
        own.admin("CONFIG", "RESETSTAT")
        counters.request("k", Prompt("a", fingerprint=3))
        for index in range(20):
            counters.request(f"k{index}", Prompt())
        flush = asyncio.ensure_future(counters.flush())
        await asyncio.sleep(0)
        counters.request("k", Prompt("b", fingerprint=4))
        await flush
        await counters.flush()
        seen = look(counters, "k"), look(counters, "k7")
        lost = counters.lost

    assert seen == ((2.0, 0.0, 0.0, 2, 2), (1.0, 0.0, 0.0, 0, 0))
    assert (lost, own.calls("script|load")) == (0, 1)


async def test_before_the_start_counting_is_local(clock: FakeClock) -> None:
    """Never started, never flushed; stopping does no harm."""
    counters = RedisCounters(Server(parse("redis://localhost")), clock)
    history = counters.request("k", Prompt())
    await counters.flush()
    await counters.stop()

    assert (history.requests, counters.is_ready) == (1.0, False)


async def test_missing_privileges_are_no_reason_to_count_twice(own: RunningServer, clock: FakeClock) -> None:
    """Refused by the server: dropped there, kept here, and the connection tried anew."""
    reports = Reports()
    async with counting(own, clock, report=reports) as counters:
        own.admin("ACL", "SETUSER", USER, "-evalsha")
        counters.request("k", Prompt())
        await counters.flush()
        why = await reports.until("lost")

        assert (why, counters.lost, look(counters, "k")[0]) == ("not-permitted", 1, 1.0)


async def test_an_unknown_error_loses_one_count(own: RunningServer, clock: FakeClock) -> None:
    """A value of another type: that identity's counts stay local, the rest goes on."""
    async with counting(own, clock) as counters:
        counters.request("k", Prompt())
        await counters.flush()
        name = own.admin("KEYS", "gateway:*:behaviour")
        assert isinstance(name, list)
        mine = next(key for key in name if b"probe" not in key).decode()
        own.admin("DEL", mine)
        own.admin("LPUSH", mine, "1")
        counters.request("k", Prompt())
        await counters.flush()

        assert (counters.lost, counters.is_ready, look(counters, "k")[0]) == (1, True, 2.0)


async def test_a_long_outage_is_bounded(own: RunningServer, clock: FakeClock) -> None:
    """What waits for the store is bounded by identities; the oldest goes."""
    reports = Reports()
    async with counting(own, clock, report=reports, identities=3) as counters:
        own.stop()
        await reports.until("lost")
        for key in "abcd":
            counters.request(key, Prompt())

        assert ("".join(counters._dirty), counters.lost) == ("bcd", 1)
        own.start()
        await reports.until("back")


async def test_nobody_is_counted_without_identity(server: RunningServer, clock: FakeClock) -> None:
    """There is nobody to count it for."""
    async with counting(server, clock) as counters:
        ended = exchange()
        ended.identity = None
        counters.outcome(ended)

        assert counters._dirty == {}
