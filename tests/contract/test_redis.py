"""What only a shared store has: one command per request, lapsing leases, privileges, server time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.core.limits import ConcurrencyLimit, Ledger, RateLimit, RouteLimits
from gateway.core.ports import ClientGone, StoreUnavailable
from gateway.state.script import Script
from tests.clusters import CLUSTER_PRIVILEGES
from tests.contract.conftest import SHARED, FakeClock, Servers, opened, reach
from tests.sentinels import SENTINEL_PRIVILEGES
from tests.servers import INLINE_INSTEAD, INLINE_USER, LEAST_PRIVILEGES, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import RunningServer

CHAT = RouteLimits(
    "chat", (RateLimit("a", 60, 60.0, 10), RateLimit("b", 600, 3600.0, 50)), ConcurrencyLimit("c", 2, 50.0)
)
TEN_AT_ONCE = RouteLimits("ten", (RateLimit("r", 10, 3600.0, 10),), ConcurrencyLimit("c", 100))


@pytest.fixture(params=SHARED)
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[RunningServer]:
    """Each kind of server."""
    return servers[request.param]


async def test_one_command_per_request(server: RunningServer, key: str) -> None:
    """A claim is one script call, a settlement one command; nothing else is ever sent."""
    server.admin("CONFIG", "RESETSTAT")
    async with opened(reach(server)) as store:
        for _ in range(25):
            store.settle(await store.admit(key, CHAT))
    counts = {name: server.calls(name) for name in ("evalsha", "script|load", "zrem", "auth", "eval")}

    assert counts["evalsha"] == 25 + server.nodes  # a new connection is tried once
    assert counts["zrem"] == 10  # only the ten of the burst held a slot
    assert counts["script|load"] <= server.nodes
    assert counts["eval"] == 0


async def test_a_fleet_shares_its_limits(server: RunningServer, key: str) -> None:
    """Two gateways grant together exactly what one may; slots are given back by whoever took them."""
    ledgers: list[Ledger] = []
    async with opened(reach(server)) as one, opened(reach(server)) as other, asyncio.TaskGroup() as group:

        async def claim(index: int) -> None:
            ledgers.append(await (one, other)[index % 2].admit(key, TEN_AT_ONCE))

        for index in range(100):
            group.create_task(claim(index))
    granted = [ledger for ledger in ledgers if ledger.refused is None]

    assert len(granted) == 10


async def test_a_crashed_gateway_loses_its_slots(server: RunningServer, key: str, clock: FakeClock) -> None:
    """A lease that nobody gives back lapses after its lifetime, and not before."""
    limits = RouteLimits("lease", (), ConcurrencyLimit("c", 1, 50.0))
    async with opened(reach(server), clock) as crashed:
        await crashed.admit(key, limits)
    async with opened(reach(server), clock) as store:
        clock.now += 49.9
        before = await store.admit(key, limits)
        clock.now += 0.2
        after = await store.admit(key, limits)

    assert (before.refused, after.refused) == ("c", None)


async def test_every_key_expires_and_names_nobody(server: RunningServer, key: str) -> None:
    """No key stays for ever, all of an identity share one hash tag, and none holds its name."""
    prefix = f"gateway:{key[-12:]}:"
    async with opened(reach(server), prefix=prefix) as store:
        await store.admit(key, CHAT)
    keys = server.admin("KEYS", prefix + "*:chat:*")
    assert isinstance(keys, list)
    lives = [server.admin("PTTL", name.decode()) for name in keys]

    assert len(keys) == 3
    assert all(isinstance(life, int) and life > 0 for life in lives)
    assert len({name.split(b"{")[1].split(b"}")[0] for name in keys}) == 1
    assert not any(b"issuer" in name or key.encode() in name for name in keys)


async def test_blinding_changes_the_keys(server: RunningServer, key: str) -> None:
    """With another blinding key the same identity is another one: fleets must agree on it."""
    limits = RouteLimits("blind", (RateLimit("r", 1, 3600.0, 1),))
    async with opened(reach(server)) as store, opened(reach(server), blinding=b"secret") as other:
        ledgers = [
            await store.admit(key, limits),
            await store.admit(key, limits),
            await other.admit(key, limits),
        ]

    assert [ledger.refused for ledger in ledgers] == [None, "r", None]


async def test_server_time_decides(server: RunningServer, key: str) -> None:
    """Without a test's clock the script asks the server, and the wait is about what it should be."""
    limits = RouteLimits("time", (RateLimit("r", 2, 7200.0, 1),))
    async with opened(reach(server)) as store:
        await store.admit(key, limits)
        refused = await store.admit(key, limits)

    assert 3590.0 < refused.retry_after <= 3600.0


async def test_a_flushed_script_is_loaded_again(server: RunningServer, key: str) -> None:
    """SCRIPT FLUSH costs one more trip for the claims on their way, and no refusal."""
    async with opened(reach(server)) as store:
        await store.admit(key, TEN_AT_ONCE)
        server.admin("SCRIPT", "FLUSH")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.admit(key, TEN_AT_ONCE)) for _ in range(12)]
    granted = [task.result().refused for task in tasks].count(None)

    assert granted == 9


async def test_a_client_that_goes_leaves_no_slot_behind(server: RunningServer, key: str) -> None:
    """The line is ended while it waits for the store: what the claim may have got is given back."""
    limits = RouteLimits("gone", (), ConcurrencyLimit("c", 1))
    async with opened(reach(server)) as store:
        line = store.admit(key, limits)
        line.send(None)  # driven by hand, as the wire does; the claim is on its way
        with pytest.raises(ClientGone):
            line.throw(ClientGone())
        after = await store.admit(key, limits)

    assert None is after.refused


async def test_stopping_gives_back_what_was_settled(server: RunningServer, key: str) -> None:
    """A settlement in the very tick of the stop still arrives."""
    limits = RouteLimits("stop", (), ConcurrencyLimit("c", 1))
    async with opened(reach(server)) as store:
        store.settle(await store.admit(key, limits))
    async with opened(reach(server)) as store:
        after = await store.admit(key, limits)

    assert None is after.refused


@pytest.mark.parametrize("value", ["nonsense", "nan", "-nan", "", "0x"])
async def test_garbage_in_redis_grants_nothing(server: RunningServer, key: str, value: str) -> None:
    """A forged value that is no time refuses the claim; it never grants one."""
    prefix = f"gateway:{key[-12:]}:"
    async with opened(reach(server), prefix=prefix) as store:
        store.settle(await store.admit(key, CHAT))
        names = server.admin("KEYS", prefix + "*:a")
        assert isinstance(names, list)
        server.admin("SET", names[0].decode(), value)
        with pytest.raises(StoreUnavailable):
            await store.admit(key, CHAT)


async def test_a_time_in_the_far_future_locks_out_for_a_bounded_time(server: RunningServer, key: str) -> None:
    """A server clock that went back, or a forged time, costs at most the burst's own time."""
    prefix = f"gateway:{key[-12:]}:"
    async with opened(reach(server), prefix=prefix) as store:
        store.settle(await store.admit(key, CHAT))
        names = server.admin("KEYS", prefix + "*:a")
        assert isinstance(names, list)
        server.admin("SET", names[0].decode(), "inf")
        refused = await store.admit(key, CHAT)

    assert ("a", pytest.approx(2.0)) == (refused.refused, refused.retry_after)


async def test_a_key_of_another_type_grants_nothing(server: RunningServer, key: str) -> None:
    """WRONGTYPE refuses."""
    prefix = f"gateway:{key[-12:]}:"
    async with opened(reach(server), prefix=prefix) as store:
        store.settle(await store.admit(key, CHAT))
        names = server.admin("KEYS", prefix + "*:a")
        assert isinstance(names, list)
        server.admin("DEL", names[0].decode())
        server.admin("LPUSH", names[0].decode(), "1")
        with pytest.raises(StoreUnavailable):
            await store.admit(key, CHAT)
        assert store.is_ready


def test_without_scripts_the_only_other_privilege_is_eval(server: RunningServer) -> None:
    """Who may send scripts along may neither load nor flush them, nor reach more with them."""
    permitted = [
        server.admin("ACL", "DRYRUN", INLINE_USER, *command) == b"OK"
        for command in (
            ("EVAL", "return 1", "0"),
            ("EVALSHA", "0" * 40, "0"),
            ("SCRIPT", "LOAD", "return 1"),
            ("SCRIPT", "FLUSH"),
            ("EVAL", "return 1", "1", "other"),
        )
    ]

    assert permitted == [True, False, False, False, False]


@pytest.mark.parametrize(
    "command",
    [
        ("EVAL", "return 1", "0"),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("ACL", "LIST"),
        ("DEBUG", "SLEEP", "0"),
        ("SCRIPT", "FLUSH"),
        ("GET", "other"),
        ("SET", "other", "1"),
        ("SHUTDOWN",),
    ],
)
def test_the_documented_privileges_are_no_more_than_needed(
    server: RunningServer, command: tuple[str, ...]
) -> None:
    """The ACL line of docs/redis.md works (every test here uses it) and permits nothing else."""
    reply = server.admin("ACL", "DRYRUN", USER, *command)

    assert isinstance(reply, bytes)
    assert reply != b"OK"


def test_the_documentation_states_the_tested_privileges() -> None:
    """docs/redis.md quotes the ACL lines that these tests run under, and the scripts' digests exist."""
    text = " ".join(Path(__file__).parents[2].joinpath("docs", "redis.md").read_text().split())

    assert LEAST_PRIVILEGES in text
    assert all(f"`{words}`" in text for words in INLINE_INSTEAD)
    for privileges in (SENTINEL_PRIVILEGES, CLUSTER_PRIVILEGES):
        assert f"`{privileges.removeprefix(LEAST_PRIVILEGES).strip()}`" in text
    assert len(Script("admit").digest) == 40
