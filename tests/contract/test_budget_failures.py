"""What happens to budgets when the store fails: nothing passes unchecked, and nothing is lost or charged twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.core.budgets import Hold
from gateway.core.ports import ClientGone, StoreUnavailable
from gateway.state.address import parse
from gateway.state.link import Server
from gateway.state.share import FORGET_SECONDS, TRUSTED_SECONDS
from tests.contract.budgets import daily, level, opened_budgets, rolling, settled, take
from tests.contract.conftest import SERVERS, FakeClock, Servers, reach
from tests.contract.test_failures import Reports
from tests.servers import RunningServer, redis_binary, talking, valkey_binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCAL = rolling(100, is_local_on_failure=True)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that the test may break."""
    binary = redis_binary() if request.param == "redis" else valkey_binary()
    assert binary is not None
    server = RunningServer(binary, tmp_path)
    server.start()
    yield server
    server.stop()


async def test_without_a_server_nobody_passes_but_by_what_was_drawn(server: RunningServer) -> None:
    """A share is good for some seconds; after them, and for all others, there is no room at all."""
    clock = FakeClock()
    reports = Reports()
    async with opened_budgets(reach(server), clock, report=reports) as budgets:
        for _ in range(20):
            (hold,), _ = await take(budgets, "busy", (daily(1000), 10))
            budgets.settle(hold, 1)
        server.stop()
        await reports.until("lost")
        _, granted = await take(budgets, "busy", (daily(1000), 10))
        told: list[str] = []
        budgets.extend(hold, 10, lambda: told.append("settled"))
        with pytest.raises(StoreUnavailable):
            await take(budgets, "new", (daily(1000), 10))
        clock.now += TRUSTED_SECONDS + 1.0
        with pytest.raises(StoreUnavailable):
            await take(budgets, "busy", (daily(1000), 10))

        assert granted is None
        assert told == []
        assert (
            budgets.unavailable,
            budgets.shares.link.is_ready,
            budgets.shares.link.why,
        ) == (2, False, "closed")


async def test_what_was_spent_meanwhile_is_reported_when_the_server_is_back(server: RunningServer) -> None:
    """A report that was lost is made good, and charged once."""
    clock = FakeClock()
    reports = Reports()
    async with (
        opened_budgets(reach(server), clock, report=reports) as one,
        opened_budgets(reach(server, timeout=5.0), clock) as other,
    ):
        (hold,), _ = await take(one, "k", (daily(100), 60))
        connection = one.shares.link.at(b"")
        assert connection is not None
        one.settle(hold, 50)
        one.shares.flush()
        connection.abort("test")  # whether it ran, nobody knows
        await reports.until("back")
        for _ in range(2):  # what was given back in vain shows in the answer to the next report
            await settled(one)
        _, refused = await take(other, "k", (daily(100), 51))
        _, granted = await take(other, "k", (daily(100), 50))

        assert refused is not None
        assert granted is None


async def test_a_local_share_may_answer(server: RunningServer) -> None:
    """A part of the budget, in this process alone; what it held is settled there."""
    clock = FakeClock()
    reports = Reports()
    async with opened_budgets(reach(server), clock, report=reports, share=0.25) as budgets:
        server.stop()
        await reports.until("lost")
        told: list[str] = []
        (hold,), granted = await take(budgets, "k", (LOCAL, 20))
        budgets.extend(hold, 5, lambda: told.append("no"))
        budgets.extend(hold, 5, lambda: told.append("no"))
        amount = hold.amount
        (lost,), refused = await take(budgets, "k", (LOCAL, 1))
        budgets.settle(hold, 10)
        _, again = await take(budgets, "k", (LOCAL, 15))

        assert (granted, again) == (None, None)
        assert refused is not None
        assert lost.is_local
        assert (amount, told) == (25, ["no"])
        assert budgets.local_answers == 3


async def test_what_runs_may_go_on_where_the_route_says_so(server: RunningServer) -> None:
    """An answer that needs more while the server is away goes on, or ends."""
    clock = FakeClock()
    reports = Reports()
    async with opened_budgets(reach(server), clock, report=reports) as budgets:
        told: list[str] = []
        (lenient,), _ = await take(budgets, "k", (LOCAL, 20))
        (strict,), _ = await take(budgets, "k", (daily(), 20))
        server.stop()
        await reports.until("lost")
        budgets.extend(lenient, 5, lambda: told.append("lenient"))
        budgets.extend(strict, 5, lambda: told.append("strict"))

        assert (lenient.amount, strict.amount, told) == (25, 20, ["strict"])


async def test_a_server_that_turned_replica_is_given_up(server: RunningServer) -> None:
    """It could grant nothing; the connection is tried anew until it can."""
    reports = Reports()
    async with opened_budgets(reach(server), FakeClock(), report=reports) as budgets:
        server.admin("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StoreUnavailable):
            await take(budgets, "k", (daily(), 10))
        why = await reports.until("lost")
        server.admin("REPLICAOF", "NO", "ONE")
        await reports.until("back")
        _, granted = await take(budgets, "k", (daily(), 10))

        assert why == "read-only"
        assert granted is None


async def test_a_lost_script_is_loaded_again(server: RunningServer) -> None:
    """SCRIPT FLUSH costs nobody a request."""
    async with opened_budgets(reach(server), FakeClock()) as budgets:
        server.admin("SCRIPT", "FLUSH")
        _, granted = await take(budgets, "k", (daily(), 10), (rolling(), 10))

        assert granted is None


@pytest.mark.parametrize("value", ["rubbish", "1 x\n", "0 0\nme 1 2\n", "nan 0"])
async def test_a_damaged_account_grants_nothing(server: RunningServer, value: str) -> None:
    """What is not understood is no room; the connection stays."""
    async with opened_budgets(reach(server), FakeClock()) as budgets:
        share = budgets.shares.shares.of(daily(), "k", 0.0)
        server.admin("SET", share.place.decode(), value)
        with pytest.raises(StoreUnavailable):
            await take(budgets, "k", (daily(), 10))
        _, granted = await take(budgets, "other", (daily(), 10))

        assert granted is None


@pytest.mark.parametrize("reply", [b"+OK\r\n", b"*2\r\n:1\r\n:1\r\n", b"*5\r\n:1\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n", b"*5\r\n:2\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n", b"-OOM no\r\n"])  # fmt: skip
async def test_a_strange_answer_grants_nothing(reply: bytes) -> None:
    """A server that talks nonsense cannot let anybody pass."""
    calls = 0

    def answer(words: list[bytes]) -> bytes:
        nonlocal calls
        if words[0] == b"AUTH":
            return b"+OK\r\n"
        if words[0] == b"SCRIPT":
            return b"*1\r\n:1\r\n"
        calls += words[0] == b"EVALSHA"
        return reply if calls > 1 else b"*5\r\n:1\r\n$1\r\n0\r\n$1\r\n1\r\n$1\r\n0\r\n$1\r\n0\r\n"

    async with talking(answer) as (url, _):
        where = Server(parse(url), timeout=5.0)
        async with opened_budgets(where, FakeClock()) as budgets:
            with pytest.raises(StoreUnavailable):
                await take(budgets, "k", (daily(), 10))


async def test_a_client_that_goes_leaves_nothing_set_aside(server: RunningServer) -> None:
    """A claim whose answer nobody waits for any more goes back whole."""
    clock = FakeClock()
    async with opened_budgets(reach(server), clock) as budgets:
        holds = [Hold(daily(), "k", 60), Hold(level(), "k", 1)]
        line = budgets.reserve(holds)
        line.send(None)
        with pytest.raises(ClientGone):
            line.throw(ClientGone())
        connection = budgets.shares.link.at(b"")
        assert connection is not None
        await connection.ask("PING")
        clock.now += 1.0
        await settled(budgets)
        async with opened_budgets(reach(server), clock) as other:
            _, granted = await take(other, "k", (daily(), 100), (level(), 2))

        assert granted is None
        assert all(share.running == 0 for share in budgets.shares.shares)


async def test_what_was_settled_before_more_came_gets_nothing(server: RunningServer) -> None:
    """More that comes after the end goes back."""
    async with opened_budgets(reach(server), FakeClock()) as budgets:
        (hold,), _ = await take(budgets, "k", (daily(), 10))
        budgets.extend(hold, 20, lambda: None)
        budgets.settle(hold, 10)
        await settled(budgets)
        (share,) = budgets.shares.shares

        assert (share.running, share.spent, hold.amount) == (0, 10, 10)


async def test_memory_is_bounded(server: RunningServer) -> None:
    """Shares that hold something are never forgotten; idle ones make room."""
    clock = FakeClock()
    async with opened_budgets(reach(server), clock, capacity=10) as budgets:
        holds = [(await take(budgets, f"k{index}", (daily(), 10)))[0][0] for index in range(10)]
        with pytest.raises(StoreUnavailable):
            await take(budgets, "new", (daily(), 10))
        for hold in holds:
            budgets.settle(hold, 5)
        for _ in range(20):
            clock.now += 1.0
            await settled(budgets)
        clock.now += FORGET_SECONDS + 1.0
        for index in range(20):
            clock.now += FORGET_SECONDS + 1.0
            (hold,), _ = await take(budgets, f"new{index}", (daily(), 10))
            budgets.settle(hold, 0)
            for _ in range(12):
                clock.now += 1.0
                await settled(budgets)

        assert len(budgets.shares.shares) <= 10


async def test_a_claim_makes_no_room_at_its_own_cost(servers: Servers, key: str) -> None:
    """An account that rested is not forgotten while the same claim opens another: what it held comes back."""
    clock = FakeClock()
    async with opened_budgets(reach(servers[SERVERS[0]]), clock) as budgets:
        (hold,), _ = await take(budgets, key, (level(1), 1))
        budgets.settle(hold, 1)
        await settled(budgets)
        clock.now += FORGET_SECONDS + 1.0
        holds, granted = await take(budgets, key, (level(1), 1), (daily(), 10))
        for each in holds:
            budgets.settle(each, 1)
        await settled(budgets)
        _, again = await take(budgets, key, (level(1), 1))

        assert (granted, again) == (None, None)
        assert [1, 0] == [share.running for share in budgets.shares.shares]


async def test_a_flush_takes_one_interval(server: RunningServer) -> None:
    """However many shares there are: its steps are spread over the interval, and never longer."""
    async with opened_budgets(reach(server), FakeClock()) as budgets:
        one = (await take(budgets, "k", (daily(), 10)))[0]
        alone = list(budgets.shares._flush())
        for index in range(300):
            await take(budgets, f"k{index}", (daily(), 10))
        many = list(budgets.shares._flush())

        assert one
        assert alone == [1.0]
        assert len(many) == 3
        assert all(part <= 0.5 for part in many)


async def test_every_key_has_an_end(server: RunningServer) -> None:
    """Nothing stays in the server for ever."""
    clock = FakeClock()
    async with opened_budgets(reach(server), clock, prefix="gateway:ends:") as budgets:
        holds, _ = await take(budgets, "k", (daily(), 10), (rolling(), 10), (level(), 1))
        budgets.settle(holds[0], 5)
        await settled(budgets)
        keys = server.admin("KEYS", "gateway:ends:*")
        assert isinstance(keys, list)
        lives = [server.admin("PTTL", key) for key in keys]

        assert 4 == len(keys)  # with that of the probe
        assert all(isinstance(life, int) and life > 0 for life in lives)


async def test_reports_by_itself_and_gives_all_back_at_the_end(servers: Servers, key: str) -> None:
    """The interval's report carries what was spent; stopping frees what was drawn ahead."""
    clock = FakeClock()
    where = reach(servers[SERVERS[0]])
    async with opened_budgets(where, clock, interval=0.01) as one:
        for _ in range(10):
            (hold,), _ = await take(one, key, (daily(1000), 10))
            one.settle(hold, 10)
        (share,) = one.shares.shares
        async with asyncio.timeout(10.0):
            while share.confirmed < 100:
                await asyncio.sleep(0.005)
        await take(one, key, (daily(1000), 10))
        one.settle((await take(one, key, (daily(1000), 10)))[0][0], 10)
    async with opened_budgets(where, clock) as other:
        _, granted = await take(other, key, (daily(1000), 880))
        _, refused = await take(other, key, (daily(1000), 1))

    assert granted is None
    assert refused is not None
