"""The Redis store against servers that misbehave in ways that real ones do not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.core.limits import ConcurrencyLimit, Ledger, RateLimit, RouteLimits
from gateway.core.ports import StoreUnavailable
from gateway.state import link
from gateway.state.address import parse
from gateway.state.link import Server
from gateway.state.memory import MemoryStore
from gateway.state.redis import RedisStore, share_of
from gateway.state.redis_shares import RedisShares
from gateway.wire.driver import Driver
from tests.contract.budgets import settled
from tests.contract.conftest import FakeClock
from tests.contract.test_failures import Reports
from tests.servers import talking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

RATED = RouteLimits("rated", (RateLimit("r", 60, 60.0, 10),))
SLOTS = RouteLimits("slots", (), ConcurrencyLimit("c", 4))


def usual(words: list[bytes]) -> bytes:
    """Answer as Redis does to a connection that is set up."""
    if words[0] == b"EVALSHA":
        return b"*7\r\n:1\r\n" + drawn(1)
    return b"*1\r\n:1\r\n" if words[0] == b"SCRIPT" else b"+OK\r\n"


def drawn(units: int) -> bytes:
    """Answer for one account that so many units are drawn."""
    return b":%d\r\n:1\r\n:0\r\n:0\r\n:0\r\n$1\r\n0\r\n" % units


def answering(reply: bytes) -> Callable[[list[bytes]], bytes]:
    """Answer claims with a given reply, and all else as usual."""
    return lambda words: reply if words[0] == b"EVALSHA" and b"{probe" not in words[3] else usual(words)


@asynccontextmanager
async def opened(url: str, timeout: float = 5.0, **options: object) -> AsyncIterator[RedisStore]:
    """A started store."""
    server = Server(parse(url), timeout=timeout)
    shares = RedisShares(server, FakeClock(), interval=1e6, **options)  # type: ignore[arg-type]  # options
    store = RedisStore(shares, MemoryStore(FakeClock()))
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


NOBODY = b"*7\r\n:0\r\n:0\r\n:0\r\n:60\r\n:0\r\n:0\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        b":1\r\n",
        b"$-1\r\n",
        b"+OK\r\n",
        b"*0\r\n",
        b"*1\r\n:1\r\n",
        b"*7\r\n:2\r\n" + drawn(1),
        b"*7\r\n$1\r\n1\r\n" + drawn(1),
        b"*13\r\n:1\r\n" + 2 * drawn(1),
        b"*7\r\n:1\r\n" + drawn(-1),
        b"*7\r\n:1\r\n$1\r\n1\r\n" + drawn(1)[4:],
        NOBODY + b"$3\r\nnan\r\n",
        NOBODY + b"$3\r\ninf\r\n",
        NOBODY + b"$2\r\n-1\r\n",
        NOBODY + b"$3\r\nabc\r\n",
        NOBODY + b":5\r\n",
        b"-ERR something\r\n",
    ],
)
async def test_what_is_not_understood_grants_nothing(reply: bytes) -> None:
    """Only a well-formed grant grants; only a well-formed refusal is told to the client."""
    async with talking(answering(reply)) as (url, _), opened(url) as store:
        with pytest.raises(StoreUnavailable):
            await store.admit("k", RATED)


async def test_a_slot_is_given_back_until_it_arrives() -> None:
    """What met a replica is sent again over the next connection."""
    claims = 0

    def answer(words: list[bytes]) -> bytes:
        nonlocal claims
        if words[0] != b"EVALSHA" or b"{probe" in words[3]:
            return usual(words)
        claims += 1
        return b"-READONLY You can't write\r\n" if claims == 2 else b"*7\r\n:1\r\n" + drawn(claims == 1)

    async with talking(answer) as (url, asked):
        reports = Reports()
        async with opened(url, report=reports) as store:
            store.settle(await store.admit("k", SLOTS))
            await reports.until("lost")
            await reports.until("back")
            await settled(store)
            (share,) = store.shares.shares
        given = [words for words in asked if words[0] == b"EVALSHA" and b"{probe" not in words[3]]

    assert share.is_over
    assert len(given) == 3


async def test_what_is_remembered_is_bounded() -> None:
    """Shares that hold something stay, whoever else comes; those that rest make room."""
    async with talking(usual) as (url, _), opened(url, capacity=4) as store:
        for index in range(4):
            await store.admit(f"k{index}", SLOTS)
        with pytest.raises(StoreUnavailable):
            await store.admit("new", SLOTS)

        assert 4 == len(store.shares.shares)


async def test_credentials_and_database_come_first() -> None:
    """The default user has a password alone; the database is chosen before anything is read."""
    async with talking(usual) as (url, asked):
        shares = RedisShares(Server(parse(url + "/3"), b"secret"), FakeClock())
        await shares.start()
        await shares.stop()

    assert asked[:2] == [[b"AUTH", b"secret"], [b"SELECT", b"3"]]


async def test_a_refused_database_is_no_connection() -> None:
    """An error to any command of the set-up keeps the store unused."""
    async with (
        talking(lambda words: b"-ERR DB index\r\n" if words[0] == b"SELECT" else usual(words)) as (
            url,
            _,
        ),
        opened(url + "/99") as store,
    ):
        assert (store.is_ready, store.why) == (False, "error")


async def test_a_lasting_failure_is_reported_once() -> None:
    """However many attempts fail: one line in the log."""
    tried = asyncio.Semaphore(0)

    def loading(words: list[bytes]) -> bytes:
        tried.release()
        return b"-LOADING Redis is loading\r\n"

    reports = Reports()
    async with talking(loading) as (url, _), opened(url, report=reports):
        async with asyncio.timeout(10):
            for _ in range(9):
                await tried.acquire()

    assert reports.said == [("lost", "loading")]


async def test_a_mute_server_does_not_hold_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting has a deadline of its own."""
    monkeypatch.setattr(link, "CONNECT_TIME", 0.05)
    async with talking(lambda _: b"") as (url, _), opened(url) as store:
        assert (store.is_ready, store.why) == (False, "timeout")


async def test_stopping_in_the_middle_of_connecting() -> None:
    """Nothing is left behind, and a second stop does nothing."""
    async with talking(lambda _: b"") as (url, asked):
        store = RedisStore(
            RedisShares(Server(parse(url), timeout=5.0), FakeClock()), MemoryStore(FakeClock())
        )
        starting = asyncio.ensure_future(store.start())
        async with asyncio.timeout(10):
            while not asked:
                await asyncio.sleep(0)
        await store.stop()
        await store.stop()
        await starting

    assert not store.is_ready


async def test_a_connection_that_was_good_is_replaced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first failure after a good time costs no delay."""
    monkeypatch.setattr(link, "LONGEST_DELAY", 0.0)  # every connection has been good for longer than that
    reports = Reports()
    async with talking(usual) as (url, _), opened(url, report=reports) as store:
        for attempt in range(3):
            connection = store.link.at(b"")
            assert connection is not None
            connection.abort("test")
            await reports.length(2 * attempt + 2)

    assert reports.said == [("lost", "test"), ("back", "")] * 3


@pytest.mark.parametrize("host", ["a" * 64, "x..y"])
async def test_an_impossible_host_is_unreachable(host: str) -> None:
    """What the resolver refuses with an odd exception is an unreachable store."""
    async with opened(f"redis://{host}:1") as store:
        assert (store.is_ready, store.why) == (False, "unreachable")


async def test_before_the_start_nothing_is_granted() -> None:
    """A store that nobody started is a store that is away."""
    shares = RedisShares(Server(parse("redis://localhost")), FakeClock())
    store = RedisStore(shares, MemoryStore(FakeClock()))
    with pytest.raises(StoreUnavailable):
        await store.admit("k", RATED)
    await store.stop()


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (
            0.25,
            RouteLimits(
                "r", (RateLimit("a", 15, 60.0, 2), RateLimit("b", 1, 80.0, 1)), ConcurrencyLimit("c", 1)
            ),
        ),
        (
            1.0,
            RouteLimits(
                "r", (RateLimit("a", 60, 60.0, 10), RateLimit("b", 3, 60.0, 1)), ConcurrencyLimit("c", 5)
            ),
        ),
    ],
)
def test_a_share_keeps_the_rate(share: float, expected: RouteLimits) -> None:
    """Counts shrink with the share; where they are too small the period grows instead."""
    limits = RouteLimits(
        "r", (RateLimit("a", 60, 60.0, 10), RateLimit("b", 3, 60.0, 1)), ConcurrencyLimit("c", 5)
    )

    assert expected == share_of(limits, share)


def test_a_share_of_no_concurrency_is_none() -> None:
    """What is not limited stays so."""
    assert share_of(RATED, 0.5).concurrency is None


@pytest.mark.parametrize(("reply", "granted"), [(b"*7\r\n:1\r\n" + drawn(1), True), (b"$-1\r\n", False)])
async def test_a_line_that_no_task_runs_is_answered_the_same(reply: bytes, *, granted: bool) -> None:
    """As the gateway's lines are: driven by hand, from the call that brings the reply."""
    ends: list[BaseException | None] = []
    ledgers: list[Ledger] = []
    done = asyncio.Event()

    def end(error: BaseException | None) -> None:
        ends.append(error)
        done.set()

    async with talking(answering(reply)) as (url, _), opened(url) as store:

        async def line() -> None:
            ledgers.append(await store.admit("k", SLOTS))

        asyncio.get_running_loop().call_soon(Driver(line(), end).resume)
        await done.wait()

    assert granted == bool(ledgers)
    assert granted == (ends == [None])
    assert granted or isinstance(ends[0], StoreUnavailable)
