"""What only a shared store has: one command per request, lapsing leases, privileges, server time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, final

import pytest

from gateway.core.budgets import Budget, Dimension, Hold, Key, Measure
from gateway.core.limits import ConcurrencyLimit, Ledger, RateLimit, RouteLimits, as_budgets
from gateway.core.ports import ClientGone, StoreUnavailable
from gateway.state.memory_budgets import MemoryBudgets
from gateway.state.redis_budgets import RedisBudgets
from gateway.state.script import Script
from gateway.state.share import LEASE_SECONDS
from tests.clusters import CLUSTER_PRIVILEGES
from tests.contract.budgets import settled
from tests.contract.conftest import SHARED, FakeClock, Servers, opened, reach
from tests.sentinels import SENTINEL_PRIVILEGES
from tests.servers import INLINE_INSTEAD, INLINE_USER, LEAST_PRIVILEGES, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.state.redis import RedisStore
    from tests.servers import RunningServer

CHAT = RouteLimits(
    "chat", (RateLimit("a", 60, 60.0, 10), RateLimit("b", 600, 3600.0, 50)), ConcurrencyLimit("c", 2)
)
TEN_AT_ONCE = RouteLimits("ten", (RateLimit("r", 10, 3600.0, 10),), ConcurrencyLimit("c", 100))


def place(store: RedisStore, key: str) -> str:
    """Return the key of the account of the first limit of `CHAT`."""
    return store.shares.shares.of(as_budgets(CHAT)[0], key, 0.0).place.decode()


@pytest.fixture(params=SHARED)
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[RunningServer]:
    """Each kind of server."""
    return servers[request.param]


@pytest.mark.parametrize("most", [2, 1000])
async def test_a_quiet_identity_costs_one_trip_and_one_report(
    server: RunningServer, key: str, clock: FakeClock, most: int
) -> None:
    """One script call for all limits, in one write; one more, that nobody waits for, when it is over."""
    limits = RouteLimits("quiet", CHAT.rates, ConcurrencyLimit("c", most))
    async with opened(reach(server), clock) as store:
        server.admin("CONFIG", "RESETSTAT")
        for index in range(25):
            ledger = await store.admit(f"{key}{index}", limits)
            store.settle(ledger)
            await settled(store)
            clock.now += 1.0
            await settled(store)
        trips = store.shares.trips
        counts = {name: server.calls(name) for name in ("evalsha", "script|load", "zrem", "eval")}

    assert trips == 25
    assert counts == {"evalsha": 50, "script|load": 0, "zrem": 0, "eval": 0}


async def test_a_busy_identity_costs_no_trip(server: RunningServer, key: str, clock: FakeClock) -> None:
    """After the first seconds nobody waits for the store; it hears one report a second."""
    limits = RouteLimits(
        "busy",
        (RateLimit("m", 60_000, 60.0, 60_000), RateLimit("h", 10**6, 3600.0, 10**6)),
        ConcurrencyLimit("c", 100),
    )
    async with opened(reach(server), clock) as store:

        async def second() -> None:
            held: list[Ledger] = []
            for index in range(200):
                held.append(await store.admit(key, limits))
                if index % 20 >= 10:  # ten at the same time, now and then
                    store.settle(held.pop())
                if index % 20 == 19:
                    while held:
                        store.settle(held.pop())
                clock.now += 0.005
            await settled(store)

        for _ in range(5):
            await second()
        server.admin("CONFIG", "RESETSTAT")
        before = store.shares.trips
        for _ in range(10):
            await second()
        counts = store.shares.trips - before, server.calls("evalsha")

    assert counts == (0, 10)


@final
class Counting:
    """A transport that counts what is written to it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.transport.write(data)

    def abort(self) -> None:
        self.transport.abort()


@pytest.mark.parametrize(("per", "calls"), [(Dimension.IDENTITY, 1), (Dimension.NETWORK, 2)])
async def test_budgets_that_the_head_names_come_in_the_same_write(
    server: RunningServer, key: str, clock: FakeClock, per: Dimension, calls: int
) -> None:
    """A quiet request with limits and budgets is one write, of one script call per hash tag; then a busy one none."""
    budgets = [
        Budget("chat", "tokens", Measure.TOKENS, 10**6, (Key(per),), 3600.0),
        Budget("chat", "streams", Measure.STREAMS, 100, (Key(per),)),
    ]
    account = key if per is Dimension.IDENTITY else f"network of {key}"

    def holds() -> list[Hold]:
        return [Hold(budget, account, amount) for budget, amount in zip(budgets, (1500, 1), strict=True)]

    async with opened(reach(server), clock) as store:
        keeper = RedisBudgets(store.shares, MemoryBudgets(clock))
        connection = store.link.at(place(store, key).encode())
        assert connection is not None
        assert connection._transport is not None
        counting = Counting(connection._transport)
        connection._transport = counting  # type: ignore[assignment]  # a transport, as far as it is asked
        server.admin("CONFIG", "RESETSTAT")

        async def request() -> None:
            ledger = await store.admit(key, CHAT, holds)
            wanted = holds()
            denial = await keeper.reserve(wanted)
            assert (ledger.refused, denial) == (None, None)
            kept.append((ledger, wanted))

        kept: list[tuple[Ledger, list[Hold]]] = []
        await request()
        cold = store.shares.trips, counting.writes, server.calls("evalsha")
        for ledger, wanted in kept:
            for hold in wanted:
                keeper.settle(hold, 100)
            store.settle(ledger)

    assert cold == (1, 1, calls)


async def test_who_is_over_a_rate_costs_no_trip(server: RunningServer, key: str, clock: FakeClock) -> None:
    """A refusal that time alone lifts is repeated without asking, for a second at most, and no longer than it holds."""
    limits = RouteLimits(
        "over", (RateLimit("a", 60, 60.0, 3), RateLimit("b", 6, 60.0, 6)), ConcurrencyLimit("c", 9)
    )
    async with opened(reach(server), clock, barred=1) as store:
        for _ in range(3):
            await store.admit(key, limits)
        refused = [await store.admit(key, limits) for _ in range(50)]
        trips = store.shares.trips
        clock.now += 0.4
        later = await store.admit(key, limits)
        same = store.shares.trips
        clock.now += 0.6
        granted = await store.admit(key, limits)
        await store.admit(key, limits)
        for _ in range(4):
            await store.admit(key + "x", limits)

    assert trips == same == 4
    assert {ledger.refused for ledger in refused} == {"a"}
    assert (later.refused, later.retry_after) == ("a", pytest.approx(0.6))
    assert [state.remaining for state in later.states] == [0, 3, 6]
    assert granted.refused is None
    assert len(store._barred) == 1


async def test_budgets_are_asked_ahead_by_those_alone_who_ask_anyway(
    server: RunningServer, key: str, clock: FakeClock
) -> None:
    """While the limits are warm nobody looks ahead: what a budget lacks is asked for when it is needed."""
    limits = RouteLimits("warm", (RateLimit("r", 6000, 60.0, 6000),))
    looked: list[str] = []

    def ahead() -> list[Hold]:
        looked.append(key)
        return []

    async with opened(reach(server), clock) as store:
        for _ in range(20):
            await store.admit(key, limits, ahead)

    assert len(looked) == store.shares.trips < 20


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
    """A lease that nobody renews lapses, and not before."""
    limits = RouteLimits("lease", (), ConcurrencyLimit("c", 1))
    async with opened(reach(server), clock) as crashed, opened(reach(server), clock) as store:
        await crashed.admit(key, limits)
        clock.now += LEASE_SECONDS - 0.1
        before = await store.admit(key, limits)
        clock.now += 0.2
        after = await store.admit(key, limits)

    assert (before.refused, after.refused) == ("c", None)


async def test_every_key_expires_and_names_nobody(server: RunningServer, key: str) -> None:
    """No key stays for ever, all of an identity share one hash tag, and none holds its name."""
    prefix = f"gateway:{key[-12:]}:"
    async with opened(reach(server), prefix=prefix) as store:
        await store.admit(key, CHAT)
    names = server.admin("KEYS", prefix + "*")
    assert isinstance(names, list)
    keys = [name for name in names if b"{probe-" not in name]
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
        await settled(store)
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


@pytest.mark.parametrize("value", ["nonsense", "nan", "nan 0", "-nan 0", "0 nan", "0x", "0 0\nme 1 2"])
async def test_garbage_in_redis_grants_nothing(server: RunningServer, key: str, value: str) -> None:
    """A forged value that is no time refuses the claim; it never grants one."""
    prefix = f"gateway:{key[-12:]}:"
    async with opened(reach(server), prefix=prefix) as store:
        store.settle(await store.admit(key, CHAT))
        server.admin("SET", place(store, key), value)
        with pytest.raises(StoreUnavailable):
            await store.admit(key, CHAT)


async def test_a_time_in_the_far_future_locks_out_for_a_bounded_time(server: RunningServer, key: str) -> None:
    """A server clock that went back, or a forged time, costs at most the burst's own time."""
    prefix = f"gateway:{key[-12:]}:"
    async with opened(reach(server), prefix=prefix) as store:
        store.settle(await store.admit(key, CHAT))
        server.admin("SET", place(store, key), "inf 0")
        refused = await store.admit(key, CHAT)

    assert ("a", pytest.approx(2.0, abs=0.01)) == (refused.refused, refused.retry_after)


async def test_a_key_of_another_type_grants_nothing(server: RunningServer, key: str) -> None:
    """WRONGTYPE refuses."""
    prefix = f"gateway:{key[-12:]}:"
    async with opened(reach(server), prefix=prefix) as store:
        store.settle(await store.admit(key, CHAT))
        server.admin("DEL", place(store, key))
        server.admin("LPUSH", place(store, key), "1")
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
    assert len(Script("draw").digest) == 40
