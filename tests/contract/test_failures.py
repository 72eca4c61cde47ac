"""What happens when the store fails: nothing passes unchecked, nobody waits long, it comes back by itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

import pytest

from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.core.ports import StoreUnavailable
from gateway.state.address import parse
from gateway.state.link import Server, tls_context
from gateway.state.redis import BARRED_SECONDS
from tests.contract.conftest import SERVERS, opened, reach
from tests.servers import (
    LEAST_PRIVILEGES,
    PASSWORD,
    USER,
    RunningServer,
    free_port,
    make_pki,
    redis_binary,
    talking,
    valkey_binary,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.conftest import FakeClock

CHAT = RouteLimits("chat", (RateLimit("r", 1000, 60.0, 100),), ConcurrencyLimit("c", 2))
LOCAL = RouteLimits(
    "local", (RateLimit("r", 8, 3600.0, 8),), ConcurrencyLimit("c", 4), is_local_on_failure=True
)
PATIENCE = 10.0


@final
@dataclass
class Reports:
    """What the store said, and a way to wait for it."""

    said: list[tuple[str, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: str, why: str) -> None:
        self.said.append((event, why))
        self.changed.set()

    async def until(self, event: str) -> str:
        """Wait until the last thing said is this event; return why."""
        async with asyncio.timeout(PATIENCE):
            while not self.said or self.said[-1][0] != event:
                self.changed.clear()
                await self.changed.wait()
        return self.said[-1][1]

    async def length(self, count: int) -> None:
        """Wait until so many things have been said."""
        async with asyncio.timeout(PATIENCE):
            while len(self.said) < count:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that the test may break."""
    binary = redis_binary() if request.param == "redis" else valkey_binary()
    assert binary is not None
    server = RunningServer(binary, tmp_path)
    server.start()
    yield server
    server.stop()


async def test_a_killed_server_refuses_at_once_and_comes_back(server: RunningServer) -> None:
    """Refused while it is away, without waiting; used again after its restart, without ours."""
    reports = Reports()
    async with opened(reach(server), report=reports) as store:
        await store.admit("k", CHAT)
        server.stop()
        await reports.until("lost")
        began = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)
        took = asyncio.get_running_loop().time() - began
        lost = store.lost
        server.start()
        await reports.until("back")
        ledger = await store.admit("k", CHAT)

    assert took < 0.05
    assert None is ledger.refused
    assert reports.said == [("lost", "closed"), ("back", "")]
    assert (lost, store.unavailable) == (1, 1)


async def test_claims_on_their_way_are_refused_when_the_server_dies(server: RunningServer) -> None:
    """Nobody knows whether they were granted: so they were not."""
    async with opened(reach(server)) as store:
        server.freeze()
        tasks = [asyncio.ensure_future(store.admit(f"k{index}", CHAT)) for index in range(20)]
        await asyncio.wait(tasks, timeout=0.01)
        server.stop()
        await asyncio.wait(tasks)
        faults = [task.exception() for task in tasks]

    assert [StoreUnavailable] * 20 == [type(fault) for fault in faults]


async def test_a_black_hole_costs_one_timeout_and_no_slot(server: RunningServer) -> None:
    """The first claim waits its timeout, the next fails at once; slots of lost claims come back."""
    reports = Reports()
    loop = asyncio.get_running_loop()
    async with opened(reach(server, timeout=0.2), report=reports) as store:
        held = await store.admit("k", CHAT)
        server.freeze()
        began = loop.time()
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)
        first = loop.time() - began
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)
        second = loop.time() - began - first
        store.settle(held)  # while nobody answers
        server.thaw()
        await reports.until("back")
        ledgers = [await store.admit("k", CHAT) for _ in range(3)]

    assert 0.19 < first < 0.4
    assert second < 0.05
    assert reports.said[0] == ("lost", "timeout")
    assert [ledger.refused for ledger in ledgers] == [None, None, "c"]


async def test_a_route_may_go_on_with_a_local_share(server: RunningServer) -> None:
    """With `is_local_on_failure` a share of the limits answers, and says so."""
    reports = Reports()
    async with opened(reach(server), report=reports, share=0.25) as store:
        shared = await store.admit("k", LOCAL)
        server.stop()
        await reports.until("lost")
        ledgers = [await store.admit("k", LOCAL) for _ in range(2)]
        store.settle(ledgers[0])
        store.settle(ledgers[0])
        ledgers += [await store.admit("k", LOCAL) for _ in range(2)]
        answers = store.local_answers

    assert not shared.is_local
    assert all(ledger.is_local for ledger in ledgers)
    assert [ledger.refused for ledger in ledgers] == [None, "c", None, "r"]
    assert answers == 4


async def test_a_wrong_password_refuses_until_it_is_right(server: RunningServer) -> None:
    """Start does not fail: it says why, refuses, and goes on trying."""
    reports = Reports()
    async with opened(reach(server, password="wrong"), report=reports) as store:
        is_ready = store.is_ready
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)
        server.admin("ACL", "SETUSER", USER, ">wrong")
        await reports.until("back")
        ledger = await store.admit("k", CHAT)

    assert not is_ready
    assert reports.said[0] == ("lost", "wrong-password")
    assert None is ledger.refused


async def test_missing_privileges_refuse(server: RunningServer) -> None:
    """A user that may not run the script is refused by the server, and nobody passes."""
    reports = Reports()
    async with opened(reach(server), report=reports) as store:
        server.admin("ACL", "SETUSER", USER, "-evalsha")
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)
        why = await reports.until("lost")
        server.admin("ACL", "SETUSER", USER, "+evalsha")
        await reports.until("back")
        ledger = await store.admit("k", CHAT)

    assert why == "not-permitted"
    assert None is ledger.refused


async def test_missing_privileges_inside_the_script_refuse(server: RunningServer) -> None:
    """The script runs with the privileges of the user; without one of its commands it grants nothing."""
    async with opened(reach(server)) as store:
        server.admin("ACL", "SETUSER", USER, "-set")
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)


async def test_a_replica_refuses(server: RunningServer) -> None:
    """A server that became read-only grants nothing; when it is writable again, it is used again."""
    reports = Reports()
    async with opened(reach(server), report=reports) as store:
        server.admin("REPLICAOF", "127.0.0.1", str(free_port()))
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)
        why = await reports.until("lost")
        server.admin("REPLICAOF", "NO", "ONE")
        await reports.until("back")
        ledger = await store.admit("k", CHAT)

    assert why == "read-only"
    assert None is ledger.refused


async def test_a_user_that_may_not_load_scripts_needs_them_loaded(server: RunningServer) -> None:
    """The stricter set-up of docs/redis.md: operators load the scripts, the gateway may not."""
    reports = Reports()
    script = Path(__file__).parents[2].joinpath("gateway", "state", "lua", "draw.lua").read_text()
    server.admin("ACL", "SETUSER", USER, "-script|load")
    async with opened(reach(server), report=reports) as store:
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)
        server.admin("SCRIPT", "LOAD", script)
        await reports.until("back")
        ledger = await store.admit("k", CHAT)
        server.admin("SCRIPT", "FLUSH")
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)
        await reports.until("lost")
        server.admin("SCRIPT", "LOAD", script)
        await reports.until("back")
        again = await store.admit("k", CHAT)

    assert reports.said[0] == ("lost", "not-permitted")
    assert (ledger.refused, again.refused) == (None, None)


async def test_a_master_without_its_replicas_is_given_up(server: RunningServer) -> None:
    """`NOREPLICAS`: cut off from them, it must not grant what another may grant as well."""
    reports = Reports()
    async with opened(reach(server), report=reports) as store:
        await store.admit("k", CHAT)
        server.admin("CONFIG", "SET", "min-replicas-to-write", "1")
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)
        why = await reports.until("lost")
        server.admin("CONFIG", "SET", "min-replicas-to-write", "0")
        await reports.until("back")
        ledger = await store.admit("k", CHAT)

    assert why == "no-replicas"
    assert ledger.refused is None


async def test_a_server_that_loads_its_data_is_waited_for() -> None:
    """`LOADING`: refused until it has, and tried anew meanwhile."""
    replies = iter([b"-LOADING Redis is loading the dataset in memory\r\n"] * 2)
    granted = b"*13\r\n:1\r\n" + 2 * b":1\r\n:1\r\n:0\r\n:0\r\n:0\r\n$1\r\n0\r\n"
    reports = Reports()

    def answer(words: list[bytes]) -> bytes:
        return next(replies, granted) if words[0] == b"EVALSHA" else b"*1\r\n:1\r\n"

    async with talking(answer) as (url, _), opened(Server(parse(url)), report=reports) as store:
        is_ready = store.is_ready
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)
        await reports.until("back")
        ledger = await store.admit("k", CHAT)

    assert not is_ready
    assert reports.said == [("lost", "loading"), ("back", "")]
    assert ledger.refused is None


async def test_a_slow_server_is_waited_for_until_the_timeout(server: RunningServer) -> None:
    """Slower than usual is granted; slower than the timeout is refused then, and not later."""
    reports = Reports()
    loop = asyncio.get_running_loop()
    async with opened(reach(server, timeout=1.0), report=reports) as store:
        times = []
        for milliseconds in (200, 3000):
            server.admin("CLIENT", "PAUSE", milliseconds)
            began = loop.time()
            with suppress(StoreUnavailable):
                await store.admit("k", CHAT)
            times.append(loop.time() - began)
        unavailable = store.unavailable
        server.admin("CLIENT", "UNPAUSE")
        await reports.until("back")

    assert 0.1 < times[0] < 0.9
    assert 0.99 < times[1] < 1.5
    assert unavailable == 1
    assert reports.said == [("lost", "timeout"), ("back", "")]


async def test_what_is_flushed_begins_anew(server: RunningServer, clock: FakeClock) -> None:
    """FLUSHALL forgets what was used; a process tells again what runs, and what it knows of rates; nothing fails."""
    limits = RouteLimits("flushed", (RateLimit("r", 2, 3600.0, 2),), ConcurrencyLimit("c", 2))
    reports = Reports()
    async with opened(reach(server), clock, report=reports) as store:
        before = [await store.admit("k", limits) for _ in range(3)]
        server.admin("FLUSHALL")
        clock.now += BARRED_SECONDS  # so long a refusal is repeated without asking
        amid = await store.admit("k", limits)
        for ledger in before[:2]:
            store.settle(ledger)
        after = [await store.admit("k", limits) for _ in range(2)]
        others = [await store.admit("other", limits) for _ in range(3)]

    assert [ledger.refused for ledger in before] == [None, None, "r"]
    assert amid.refused == "c"
    assert [ledger.refused for ledger in after] == [None, "r"]  # its own uses count with its next one
    assert [ledger.refused for ledger in others] == [None, None, "r"]
    assert reports.said == []


async def test_a_server_that_loads_no_scripts_is_sent_them_with_every_call(tmp_path: Path, key: str) -> None:
    """Managed servers have no SCRIPT command: EVAL does the same, is said once, and limits are as exact."""
    server = RunningServer(
        redis_binary() or valkey_binary(),
        tmp_path,
        acl="+@all ~*",
        options=("--rename-command", "SCRIPT", ""),
    )
    server.start()
    reports = Reports()
    limits = RouteLimits("two", (RateLimit("r", 2, 3600.0, 2),))
    try:
        async with opened(reach(server), report=reports) as store:
            ledgers = [await store.admit(key, limits) for _ in range(3)]
            evals = server.calls("eval"), server.calls("evalsha")
            server.stop()
            await reports.until("lost")
            server.start()
            await reports.until("back")
            ledgers.append(await store.admit("other", limits))
    finally:
        server.stop()

    assert [ledger.refused for ledger in ledgers] == [None, None, "r", None]
    assert evals == (4, 0)  # a new connection is tried once
    assert [event for event, _ in reports.said] == ["inline", "lost", "back"]


async def test_privileges_that_change_while_it_runs_are_followed(server: RunningServer, key: str) -> None:
    """SCRIPT is withdrawn and the scripts are gone: one claim is refused, then they are sent along."""
    reports = Reports()
    async with opened(reach(server), report=reports) as store:
        await store.admit(key, CHAT)
        server.admin("ACL", "SETUSER", USER, "-script", "+eval")
        server.admin("SCRIPT", "FLUSH")
        with pytest.raises(StoreUnavailable):
            await store.admit(key, CHAT)
        await reports.length(3)
        ledger = await store.admit(key, CHAT)

    assert ledger.refused is None
    assert reports.said == [("lost", "script-missing"), ("back", ""), ("inline", "")]


async def test_a_full_server_refuses_and_keeps_its_connection(server: RunningServer) -> None:
    """Out of memory: refused, one by one and at once, until there is room; said once."""
    rated = RouteLimits("rated", CHAT.rates)
    reports = Reports()
    async with opened(reach(server), report=reports) as store:
        await store.admit("k", rated)
        server.admin("CONFIG", "SET", "maxmemory", "1")
        began = asyncio.get_running_loop().time()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.admit("k", rated)
        took = asyncio.get_running_loop().time() - began
        is_ready = store.is_ready
        server.admin("CONFIG", "SET", "maxmemory", "0")
        ledger = await store.admit("k", rated)

    assert is_ready
    assert took < 0.2
    assert store.unavailable == 3
    assert reports.said == [("out-of-memory", "")]
    assert None is ledger.refused


async def test_nobody_listens() -> None:
    """Start returns, and the reason is known."""
    async with opened(Server(parse(f"redis://127.0.0.1:{free_port()}"))) as store:
        assert (store.is_ready, store.why) == (False, "unreachable")


async def test_a_server_that_speaks_something_else_is_no_store() -> None:
    """Whatever answers there: nothing is granted."""
    async with (
        talking(lambda _: b"", greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as (url, _),
        opened(Server(parse(url))) as store,
    ):
        with pytest.raises(StoreUnavailable):
            await store.admit("k", CHAT)

        assert store.why in {"unasked-reply", "no-redis"}


@pytest.mark.skipif(redis_binary() is None, reason="no Redis with TLS here")
@pytest.mark.parametrize(("host", "is_known"), [("localhost", False), ("127.0.0.2", True)])
async def test_tls_proves_the_server(tmp_path: Path, host: str, *, is_known: bool) -> None:
    """An unknown authority, or another host's certificate: no connection, and no password sent."""
    binary = redis_binary()
    assert binary is not None
    pki = make_pki(tmp_path)
    server = RunningServer(binary, tmp_path, pki=pki)
    server.start()
    try:
        before = server.calls("auth")
        other = tmp_path / "other"
        other.mkdir()
        ca = pki.ca if is_known else make_pki(other).ca
        context = tls_context(str(ca), str(pki.client_certificate), str(pki.client_key))
        address = parse(f"rediss://{USER}@{host}:{server.tls_port}")
        async with opened(Server(address, PASSWORD.encode(), context)) as store:
            assert not store.is_ready
            assert store.why in ({"tls"} if not is_known else {"tls", "unreachable"})
        assert before + 1 == server.calls("auth")  # the one is this question's own
    finally:
        server.stop()


@pytest.mark.skipif(redis_binary() is None, reason="no Redis with TLS here")
async def test_a_server_may_demand_a_certificate(tmp_path: Path) -> None:
    """Without one the store is away; with one it is used."""
    binary = redis_binary()
    assert binary is not None
    pki = make_pki(tmp_path)
    server = RunningServer(binary, tmp_path, pki=pki)
    server.start()
    try:
        address = parse(f"rediss://{USER}@localhost:{server.tls_port}")
        async with opened(
            Server(address, PASSWORD.encode(), tls_context(str(pki.ca), None, None))
        ) as nameless:
            assert not nameless.is_ready
        proven = tls_context(str(pki.ca), str(pki.client_certificate), str(pki.client_key))
        async with opened(Server(address, PASSWORD.encode(), proven)) as store:
            assert store.is_ready
    finally:
        server.stop()


def test_the_servers_run_with_the_least_privileges() -> None:
    """These tests are no proof under a user that may do everything."""
    assert RunningServer("", Path()).acl == LEAST_PRIVILEGES
