"""A cluster whose slots move and whose servers die: what is lost is lost alone, and it comes back by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.core.budgets import Hold
from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.core.ports import StoreUnavailable
from gateway.core.prompt import Prompt
from gateway.state.cluster import Cluster
from gateway.state.link import tls_context
from gateway.state.redis_counters import RedisCounters
from gateway.state.redis_once import RedisOnce
from gateway.state.share import TRUSTED_SECONDS
from tests.clusters import MASTERS, NODE_TIMEOUT, RunningCluster
from tests.contract.budgets import daily, opened_budgets, take
from tests.contract.conftest import SERVERS, FakeClock, opened, reach
from tests.contract.fleet import Fleet, revoke, until
from tests.contract.test_failures import Reports
from tests.sentinels import info
from tests.servers import USER, RunningServer, make_pki, redis_binary, valkey_binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.state.redis import RedisStore

RATED = RouteLimits("rated", (RateLimit("r", 20, 36_000.0, 20),))
FIRST = RouteLimits("many", (RateLimit("r", 20, 3600.0, 20),))
MANY = RouteLimits(
    "many", (RateLimit("r", 20, 3600.0, 20), RateLimit("s", 99, 3600.0, 99)), ConcurrencyLimit("c", 9)
)
CALM = RouteLimits("calm", (RateLimit("r", 10_000, 1.0, 10_000),))
LOCAL = RouteLimits("local", (RateLimit("r", 8, 3600.0, 8),), is_local_on_failure=True)
LATER = TRUSTED_SECONDS + 1.0
"""Seconds after which a share is no longer spent without asking: so every claim reaches the server."""

PROMOTED = NODE_TIMEOUT + 14.0
"""Seconds until a replica is used: noticing, electing, asking; slow machines included."""


@pytest.fixture(params=SERVERS)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningCluster]:
    """Three masters that the test may break."""
    binary = redis_binary() if request.param == "redis" else valkey_binary()
    assert binary is not None
    yield from running(RunningCluster(binary, tmp_path))


def running(cluster: RunningCluster) -> Iterator[RunningCluster]:
    """Start it, and stop it whatever happens."""
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def tag_of(store: RedisStore, key: str) -> bytes:
    """Return what the keys of an identity begin with."""
    return store.shares.shares._accounts.tag(key)


def identities(cluster: RunningCluster, store: RedisStore) -> dict[int, str]:
    """Return an identity for each server, whose keys it has."""
    found: dict[int, str] = {}
    for number in range(1000):
        key = f"identity-{number}"
        found.setdefault(cluster.servers.index(cluster.owner(tag_of(store, key))), key)
        if len(found) == MASTERS:
            return found
    raise AssertionError(found)


def errors(server: RunningServer, kind: str) -> int:
    """Return how often a server gave an error."""
    for line in info(server, "errorstats").decode().splitlines():
        if line.startswith(f"errorstat_{kind}:"):
            return int(line.split("count=")[1])
    return 0


async def granted(store: RedisStore, key: str, limits: RouteLimits = RATED) -> float:
    """Claim until the store answers; return after how long."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(PROMOTED):
        while True:
            try:
                assert (await store.admit(key, limits)).refused is None
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                return loop.time() - began


async def test_every_server_does_its_part(cluster: RunningCluster) -> None:
    """Identities are spread over all, each with limits that are exact; two addresses are enough to find them."""
    async with opened(reach(cluster), interval=1e6) as store:
        keys = identities(cluster, store)
        ledgers, asked = [], []
        for number in range(MASTERS):
            before = store.shares.asked
            ledgers += [await store.admit(keys[number], RATED) for _ in range(21)]
            asked.append(store.shares.asked - before)
        once = RedisOnce(store.link)
        claims = [await once.claim(b"%d" % (number % 20), 60.0) for number in range(40)]

        assert len(store.link.connections) == MASTERS
        calls = [(server.calls("evalsha"), server.calls("set") > asked[0]) for server in cluster.servers]

    assert [ledger.refused for ledger in ledgers] == ([None] * 20 + ["r"]) * MASTERS
    assert claims == [True] * 20 + [False] * 20
    assert min(asked) > 1
    assert calls == [(each + 1, True) for each in asked]  # a new connection is tried once
    assert [errors(server, "MOVED") for server in cluster.servers] == [0] * MASTERS


async def test_a_slot_moves_while_requests_run(cluster: RunningCluster, clock: FakeClock) -> None:
    """Before, amid (`ASK`) and after (`MOVED`): no request is refused, and the limit stays exact."""
    reports = Reports()
    async with opened(reach(cluster), clock, report=reports) as store:
        key, other = identities(cluster, store)[0], identities(cluster, store)[1]
        tag = tag_of(store, key)
        source, target = cluster.owner(tag), cluster.servers[2]
        is_over = False

        async def traffic() -> int:
            count = 0
            while not is_over:
                assert (await store.admit(other, CALM)).refused is None
                count += 1
                await asyncio.sleep(0.001)
            return count

        async def claim(count: int) -> list[str | None]:
            refused = []
            for _ in range(count):
                clock.now += LATER
                refused.append((await store.admit(key, RATED)).refused)
            return refused

        async with asyncio.TaskGroup() as group:
            task = group.create_task(traffic())
            refused = await claim(5)
            await asyncio.to_thread(cluster.begin_to_move, tag, target)
            refused += await claim(5)
            moved = await asyncio.to_thread(cluster.move_keys, tag, target)
            refused += await claim(5)
            asked = errors(source, "ASK")
            await asyncio.to_thread(cluster.end_to_move, tag, target)
            refused += await claim(6)
            is_over = True

        assert store.link.at(tag) in store.link.connections
    assert moved == 1
    assert refused == [None] * 20 + ["r"]
    assert (asked, errors(source, "MOVED")) == (5, 1)
    assert task.result() > 0
    assert reports.said == []


async def test_what_needs_several_keys_waits_for_the_move(cluster: RunningCluster) -> None:
    """While some of an identity's keys are there and some here nobody can tell (`TRYAGAIN`): refused, briefly."""
    async with opened(reach(cluster)) as store:
        key = identities(cluster, store)[0]
        tag, target = tag_of(store, key), cluster.servers[1]
        await store.admit(key, FIRST)
        await asyncio.to_thread(cluster.begin_to_move, tag, target)
        await asyncio.to_thread(cluster.move_keys, tag, target)
        with pytest.raises(StoreUnavailable):
            await store.admit(key, MANY)
        is_ready = store.lost
        await asyncio.to_thread(cluster.end_to_move, tag, target)
        ledger = await store.admit(key, MANY)

    assert is_ready == 0
    assert ledger.refused is None


async def test_scripts_that_are_sent_along_are_sent_on(cluster: RunningCluster) -> None:
    """Where SCRIPT is refused, a claim that met the wrong server is a claim with its script as well."""
    reports = Reports()
    cluster.admin("ACL", "SETUSER", USER, "-evalsha", "-script", "+eval")
    async with opened(reach(cluster), interval=1e6, report=reports) as store:
        key = identities(cluster, store)[0]
        tag, target = tag_of(store, key), cluster.servers[2]
        await asyncio.to_thread(cluster.begin_to_move, tag, target)
        amid = await store.admit(key, RATED)
        await asyncio.to_thread(cluster.move_keys, tag, target)
        await asyncio.to_thread(cluster.end_to_move, tag, target)
        after = await store.admit(key, RATED)
        calls = target.calls("eval"), target.calls("evalsha")

    assert (amid.refused, after.refused) == (None, None)
    assert calls == (3, 0)  # a new connection is tried once
    assert reports.said == [("inline", "")]


async def test_a_slot_moves_to_a_server_that_joined(cluster: RunningCluster, clock: FakeClock) -> None:
    """Nobody knew it when the gateway started: it is connected to when it is named."""
    async with opened(reach(cluster), clock) as store:
        key = identities(cluster, store)[0]
        tag = tag_of(store, key)
        await store.admit(key, RATED)
        joined = await asyncio.to_thread(cluster.launch)
        await asyncio.to_thread(cluster.meet, joined)
        await asyncio.to_thread(cluster.until_whole)
        await asyncio.to_thread(cluster.begin_to_move, tag, joined)
        await asyncio.to_thread(cluster.move_keys, tag, joined)
        clock.now += LATER
        amid = await granted(store, key)
        await asyncio.to_thread(cluster.end_to_move, tag, joined)
        clock.now += LATER
        after = await granted(store, key)
        await until(lambda: len(store.link.connections) == MASTERS + 1)

    assert max(amid, after) < 5.0
    assert joined.calls("evalsha") >= 2


async def test_a_dead_server_takes_its_own_keys_along(cluster: RunningCluster) -> None:
    """Without a replica: its identities are refused at once or answered locally, all others are served."""
    reports = Reports()
    loop = asyncio.get_running_loop()
    async with opened(reach(cluster), report=reports) as store:
        keys = identities(cluster, store)
        cluster.servers[1].stop()
        why = await reports.until("lost")
        began = loop.time()
        with pytest.raises(StoreUnavailable):
            await store.admit(keys[1], RATED)
        local = await store.admit(keys[1], LOCAL)
        waited = loop.time() - began
        others = [await store.admit(keys[number], RATED) for number in (0, 2) for _ in range(3)]
        during = store.lost, store.is_ready
        cluster.servers[1].start()
        await reports.until("back")
        again = await store.admit(keys[1], LOCAL)
        after = store.lost

    assert why == f"closed at 127.0.0.1:{cluster.servers[1].port}"
    assert [event for event, _ in reports.said] == ["lost", "back"]
    assert waited < 0.05
    assert {(ledger.refused, ledger.is_local) for ledger in others} == {(None, False)}
    assert (local.is_local, again.is_local) == (True, False)
    assert (during, after) == ((1, True), 0)


async def test_a_server_that_hangs_delays_its_own_keys(cluster: RunningCluster) -> None:
    """One timeout for its identities, then none; nothing for all others."""
    loop = asyncio.get_running_loop()
    reports = Reports()
    async with opened(reach(cluster, timeout=0.3), report=reports) as store:
        keys = identities(cluster, store)
        cluster.servers[2].freeze()
        times = []
        for _ in range(2):
            began = loop.time()
            with pytest.raises(StoreUnavailable):
                await store.admit(keys[2], RATED)
            times.append(loop.time() - began)
        began = loop.time()
        for _ in range(5):
            await store.admit(keys[0], RATED)
        others = loop.time() - began
        cluster.servers[2].thaw()
        await reports.until("back")

    assert 0.29 < times[0] < 0.6
    assert times[1] < 0.05
    assert others < 0.25


async def test_a_share_outlasts_the_server_it_is_from(cluster: RunningCluster, clock: FakeClock) -> None:
    """It is spent while the server hangs, and is told later: nothing is granted twice, and nothing lost."""
    reports = Reports()
    async with opened(reach(cluster, timeout=0.3), clock, report=reports) as store:
        keys = identities(cluster, store)
        before = [await store.admit(keys[1], RATED) for _ in range(4)]
        share = next(each for each in store.shares.shares if each.key == keys[1])
        drawn = share.left(clock.tick())
        cluster.servers[1].freeze()
        amid = [await store.admit(keys[1], RATED) for _ in range(drawn)]
        with pytest.raises(StoreUnavailable):
            await store.admit(keys[1], RATED)
        other = await store.admit(keys[0], RATED)
        cluster.servers[1].thaw()
        await reports.until("back")
        after = [await store.admit(keys[1], RATED) for _ in range(20 - 4 - drawn + 1)]

    assert drawn > 0
    assert {ledger.refused for ledger in (*before, *amid, other)} == {None}
    assert [ledger.refused for ledger in after] == [None] * (20 - 4 - drawn) + ["r"]


async def test_a_replica_takes_over(cluster: RunningCluster, tmp_path: Path) -> None:
    """Its identities are refused until it was promoted, then used without a restart; all else goes on.

    The same for the revocations, all of which are on one server: killed is the one that has them.
    """
    reports = Reports()
    master = cluster.owner(b"revocations")
    number = cluster.servers.index(master)
    await asyncio.to_thread(cluster.replicate, master)
    fleet = Fleet(tmp_path, reach(cluster, timeout=1.0))
    one, two = await fleet.start("journal-one"), await fleet.start("journal-two")
    await one.keeper.add([revoke("a")])
    await until(two.is_revoked)
    async with opened(reach(cluster), report=reports) as store:
        keys = identities(cluster, store)
        await store.admit(keys[number], RATED)
        master.stop()
        await reports.until("lost")
        others = [await store.admit(keys[each], RATED) for each in keys if each != number]
        took = await granted(store, keys[number])
        refused = store.unavailable
        await reports.until("back")
        await until(lambda: one.index.is_current and two.index.is_current, PROMOTED)
        async with asyncio.timeout(PROMOTED):
            while True:
                try:
                    await one.keeper.add([revoke("b", "issuer|bob")])
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    break
        await until(lambda: {"a", "b"} == one.ids == two.ids)
    await fleet.close()

    assert {ledger.refused for ledger in others} == {None}
    assert refused > 0
    assert took < PROMOTED


async def test_revocations_move(cluster: RunningCluster, tmp_path: Path) -> None:
    """Their slot moves to another server: they are found there, and nobody doubts them for long."""
    fleet = Fleet(tmp_path, reach(cluster, timeout=1.0))
    one, two = await fleet.start("journal-one"), await fleet.start("journal-two")
    await one.keeper.add([revoke("a")])
    tag = b"revocations"
    target = next(server for server in cluster.servers if server is not cluster.owner(tag))
    await asyncio.to_thread(cluster.begin_to_move, tag, target)
    moved = await asyncio.to_thread(cluster.move_keys, tag, target)
    await asyncio.to_thread(cluster.end_to_move, tag, target)
    async with asyncio.timeout(PROMOTED):
        while True:
            try:
                await one.keeper.add([revoke("b", "issuer|bob")])
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                break
    await until(lambda: {"a", "b"} == one.ids == two.ids)
    await until(lambda: one.index.is_current and two.index.is_current)
    await fleet.close()

    assert moved == 3
    assert cluster.owner(tag) is target


async def test_budgets_of_a_lost_server(cluster: RunningCluster) -> None:
    """A claim on two budgets, one of them lost, takes nothing of the other; alone the other is granted."""
    reports = Reports()
    clock = FakeClock()
    async with opened_budgets(reach(cluster), clock, report=reports) as budgets:
        places = {}
        for number in range(100):
            share = budgets.shares.shares.of(daily(), f"k{number}", clock.tick())
            places.setdefault(cluster.servers.index(cluster.owner(share.place)), f"k{number}")
        cluster.servers[0].stop()
        await reports.until("lost")
        lost, there = Hold(daily(), places[0], 60), Hold(daily(), places[1], 60)
        with pytest.raises(StoreUnavailable):
            await budgets.reserve([there, lost])
        _, alone = await take(budgets, places[1], (daily(), 100))
        unavailable = budgets.unavailable
        cluster.servers[0].start()
        await reports.until("back")
        _, again = await take(budgets, places[0], (daily(), 100))

    assert (alone, again, unavailable) == (None, None, 1)


async def test_counts_for_a_lost_server_wait(cluster: RunningCluster) -> None:
    """Those for the others are sent; its own are when it is back."""
    reports = Reports()
    counters = RedisCounters(reach(cluster), FakeClock(), interval=3600.0, report=reports)
    await counters.start()
    cluster.servers[0].stop()
    await reports.until("lost")
    for number in range(60):
        counters.request(f"k{number}", Prompt())
    await counters.flush()
    waiting, is_ready = len(counters._dirty), counters.is_ready
    cluster.servers[0].start()
    await reports.until("back")
    await counters.flush()
    after, lost = len(counters._dirty), counters.lost
    await counters.stop()

    assert 0 < waiting < 60
    assert is_ready
    assert (after, lost) == (0, 0)


async def test_a_full_server_refuses_what_it_has(cluster: RunningCluster) -> None:
    """Said with its name; the others serve theirs."""
    reports = Reports()
    async with opened(reach(cluster), report=reports) as store:
        keys = identities(cluster, store)
        full = cluster.servers[1]
        full.admin("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreUnavailable):
            await store.admit(keys[1], RATED)
        other = await store.admit(keys[0], RATED)
        full.admin("CONFIG", "SET", "maxmemory", "0")
        again = await store.admit(keys[1], RATED)

    assert (other.refused, again.refused) == (None, None)
    assert reports.said == [("out-of-memory", f"at 127.0.0.1:{full.port}")]


async def test_without_the_privilege_nothing_is_found(cluster: RunningCluster) -> None:
    """Everything above runs under the documented line; without its last words, no cluster."""
    for server in cluster.servers:
        server.admin("ACL", "SETUSER", USER, "-cluster|slots")
    async with opened(reach(cluster)) as store:
        assert (store.is_ready, store.why, store.lost) == (False, "not-permitted", 1)
        with pytest.raises(StoreUnavailable):
            await store.admit("k", RATED)


async def test_a_cluster_that_is_down_is_said(cluster: RunningCluster, clock: FakeClock) -> None:
    """Servers that refuse everything because the others are gone are given up, until they are back."""
    reports = Reports()
    async with opened(reach(cluster), clock, report=reports) as store:
        assert isinstance(store.link, Cluster)
        key = identities(cluster, store)[0]
        for server in cluster.servers[1:]:
            server.stop()
        await until(lambda: store.lost == 2)

        async def is_down() -> bool:
            clock.now += LATER
            try:
                await store.admit(key, CALM)
            except StoreUnavailable:
                return True
            return False

        async with asyncio.timeout(PROMOTED):
            while not await is_down():
                await asyncio.sleep(0.05)
        await until(lambda: store.lost == MASTERS)
        for server in cluster.servers[1:]:
            server.start()
        await until(lambda: store.lost == 0, PROMOTED)
        await granted(store, key, CALM)

    assert any(why.startswith("cluster-down at ") for _, why in reports.said)
    assert reports.said[-1] == ("back", "")


@pytest.mark.skipif(redis_binary() is None, reason="no Redis with TLS here")
async def test_a_cluster_is_encrypted_and_proven(tmp_path: Path) -> None:
    """With `rediss+cluster` every server proves itself, and we to it."""
    binary = redis_binary()
    assert binary is not None
    pki = make_pki(tmp_path)
    for cluster in running(RunningCluster(binary, tmp_path, pki)):
        server = reach(cluster)
        mutual = tls_context(str(pki.ca), str(pki.client_certificate), str(pki.client_key))
        async with opened(type(server)(server.address, server.password, mutual, 5.0)) as store:
            ledgers = [await store.admit(f"k{number}", RATED) for number in range(20)]
            assert len(store.link.connections) == MASTERS
        async with opened(
            type(server)(server.address, server.password, tls_context(str(pki.ca), None, None))
        ) as store:
            assert not store.is_ready

        assert {ledger.refused for ledger in ledgers} == {None}
