"""What every store of things used once promises, on every one: one claimer, for a time, over the fleet."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from secrets import token_bytes
from typing import TYPE_CHECKING

import pytest

from gateway.core.ports import StoreUnavailable
from gateway.state.address import parse
from gateway.state.link import Server
from gateway.state.once import MemoryOnce
from gateway.state.redis_once import RedisOnce
from tests.contract.conftest import KINDS, SERVERS, SHARED, FakeClock, opened, reach
from tests.servers import LEAST_PRIVILEGES, RunningServer, redis_binary, talking, valkey_binary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from gateway.core.ports import Once
    from tests.contract.conftest import Servers

SECRET = b"blinding"
REDIS = [kind for kind in KINDS if kind != "memory"]


@asynccontextmanager
async def connected(server: Server, secret: bytes = SECRET) -> AsyncIterator[RedisOnce]:
    """What is used once, over the connection of a started store of limits."""
    async with opened(server) as store:
        yield RedisOnce(store.link, blinding=secret)


@pytest.fixture(params=KINDS)
async def once(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Once]:
    """Every store there is."""
    kind = request.param
    if kind == "memory":
        yield MemoryOnce(FakeClock())
        return
    async with connected(reach(servers[kind.split("-")[0]], kind)) as redis:
        yield redis


@pytest.fixture
def name() -> bytes:
    """A name that no other test has."""
    return token_bytes(32)


async def test_a_name_is_claimed_once(once: Once, name: bytes) -> None:
    """The first gets it, and nobody after that."""
    assert [True, False, False] == [await once.claim(name, 60.0) for _ in range(3)]


async def test_names_do_not_meet(once: Once, name: bytes) -> None:
    """Another name is another thing."""
    assert await once.claim(name, 60.0)
    assert await once.claim(name + b"x", 60.0)
    assert await once.claim(name[:-1], 60.0)


async def test_of_many_at_the_same_time_one_is_first(once: Once, name: bytes) -> None:
    """However they race."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(once.claim(name, 60.0)) for _ in range(50)]

    assert 1 == sum(task.result() for task in tasks)


@pytest.mark.parametrize("kind", REDIS)
async def test_two_gateways_share_what_was_used(servers: Servers, kind: str, name: bytes) -> None:
    """A proof that was used at one gateway is used at every other."""
    server = reach(servers[kind.split("-", maxsplit=1)[0]], kind)
    async with connected(server) as one, connected(server) as two:
        assert await one.claim(name, 60.0)
        assert not await two.claim(name, 60.0)
        assert not await one.claim(name, 60.0)


@pytest.mark.parametrize("kind", SHARED)
async def test_a_claim_lapses(servers: Servers, kind: str, name: bytes) -> None:
    """After its time, to the millisecond, the server forgets it by itself."""
    server = servers[kind]
    async with connected(reach(server)) as once:
        assert await once.claim(name, 0.02)
        async with asyncio.timeout(5.0):
            while not await once.claim(name, 60.0):
                await asyncio.sleep(0.005)
        assert not await once.claim(name, 60.0)


@pytest.mark.parametrize("kind", SHARED)
async def test_the_server_learns_no_name(servers: Servers, kind: str, name: bytes) -> None:
    """Keys are digests under the fleet's secret, expire, and hold nothing."""
    server = servers[kind]
    server.admin("FLUSHALL")
    async with connected(reach(server)) as one, connected(reach(server), b"another fleet") as other:
        await one.claim(name, 60.0)
        keys = server.admin("KEYS", "*:once")
        assert isinstance(keys, list)
        [key] = keys
        lives = server.admin("PTTL", key)

        assert await other.claim(name, 60.0)
    assert isinstance(lives, int)
    assert 50_000 < lives <= 60_000
    assert name.hex().encode() not in key
    assert key.startswith(b"gateway:{")
    assert b"1" == server.admin("GET", key)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that the test may break."""
    binary = redis_binary() if request.param == "redis" else valkey_binary()
    assert binary is not None
    server = RunningServer(binary, tmp_path)
    server.start()
    yield server
    server.stop()


async def test_without_the_server_nobody_knows(server: RunningServer, name: bytes) -> None:
    """Killed: refused at once, and counted; never taken for first."""
    async with connected(reach(server)) as once:
        assert await once.claim(name, 60.0)
        server.stop()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await once.claim(name, 60.0)

    assert 3 == once.unavailable


async def test_a_server_that_hangs_costs_one_timeout(server: RunningServer, name: bytes) -> None:
    """No answer in time is no answer."""
    async with connected(reach(server, timeout=0.2)) as once:
        server.freeze()
        with pytest.raises(StoreUnavailable):
            await once.claim(name, 60.0)
        server.thaw()


async def test_a_user_that_may_not_write_proves_nothing(tmp_path: Path, name: bytes) -> None:
    """Without the privilege nothing is claimed."""
    server = RunningServer(valkey_binary(), tmp_path, acl=LEAST_PRIVILEGES.replace("+set ", ""))
    server.start()
    try:
        async with connected(reach(server)) as once:
            with pytest.raises(StoreUnavailable):
                await once.claim(name, 60.0)
    finally:
        server.stop()


@pytest.mark.parametrize(
    "reply",
    [
        b"-OOM command not allowed\r\n",
        b"-READONLY replica\r\n",
        b":1\r\n",
        b"+QUEUED\r\n",
        b"*0\r\n",
        b"$2\r\nno\r\n",
    ],
)
async def test_what_is_not_understood_grants_nothing(reply: bytes, name: bytes) -> None:
    """Errors and odd replies are no yes."""

    def answer(words: list[bytes]) -> bytes:
        match words[0].upper():
            case b"SET":
                return reply
            case b"SCRIPT":
                return b"*1\r\n:1\r\n"
            case _:
                return b"+PONG\r\n" if words[0].upper() == b"PING" else b":1\r\n"

    async with talking(answer) as (url, asked), opened(Server(parse(url), timeout=5.0)) as store:
        once = RedisOnce(store.link, blinding=SECRET)
        with pytest.raises(StoreUnavailable):
            await once.claim(name, 0.0001)

    [claim] = [words for words in asked if words[0] == b"SET"]
    assert [b"1", b"NX", b"PX", b"1"] == claim[2:]
