"""Limits of heads over many processes and one real server: exact, usable, fair, and back after a crash."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, final
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.state.share import LEASE_SECONDS
from tests.contract.budgets import settled
from tests.contract.conftest import SERVERS, FakeClock, Servers, opened, reach
from tests.servers import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.limits import Ledger
    from gateway.state.redis import RedisStore
    from tests.servers import RunningServer

WORKERS = 5
NOON = 86400.0 * 1000 + 43200.0


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[RunningServer]:
    """Each kind of server."""
    return servers[request.param]


@final
class Fleet:
    """Processes that admit requests of one identity on one route, and what they did together."""

    def __init__(self, workers: list[RedisStore], clock: FakeClock, limits: RouteLimits) -> None:
        self.workers = workers
        self.clock = clock
        self.limits = limits
        self.key = str(uuid4())
        self.running: list[tuple[int, Ledger]] = []
        self.owed = [0.0 for _ in limits.rates]
        self.when = clock.now
        self.served = [0] * len(workers)
        self.unknown = 0  # spent by processes that died before they could report it
        self.dead: set[int] = set()

    @classmethod
    async def of(cls, stack: AsyncExitStack, server: RunningServer, limits: RouteLimits, count: int) -> Fleet:
        """Start a fleet."""
        clock = FakeClock(NOON)
        workers = [await stack.enter_async_context(opened(reach(server), clock)) for _ in range(count)]
        return cls(workers, clock, limits)

    async def claim(self, worker: int) -> Ledger | None:
        """Let one process admit a request; None if it died."""
        if worker in self.dead:
            return None
        ledger = await self.workers[worker].admit(self.key, self.limits)
        if ledger.refused is None:
            self.running.append((worker, ledger))
            self.served[worker] += 1
            self.let_pass()
            self.owed = [
                owed + limit.interval for owed, limit in zip(self.owed, self.limits.rates, strict=True)
            ]
        return ledger

    async def is_served(self, worker: int) -> bool:
        """Let one process admit a request, and end it; tell whether it passed."""
        ledger = await self.claim(worker)
        if ledger is None or ledger.refused is not None:
            return False
        self.settle(-1)
        return True

    def settle(self, index: int) -> None:
        """Let one request end."""
        worker, ledger = self.running.pop(index % len(self.running))
        self.workers[worker].settle(ledger)

    def let_pass(self) -> None:
        """Let buckets run out as time goes."""
        gone, self.when = self.clock.now - self.when, self.clock.now
        self.owed = [max(0.0, owed - gone) for owed in self.owed]

    async def flush(self, *workers: int) -> None:
        """Let processes report; all, if none is named."""
        for worker in workers or range(len(self.workers)):
            if worker not in self.dead:
                await settled(self.workers[worker])

    async def wait(self, seconds: float) -> None:
        """Let time go by: who lives reports before its lease lapses, and renews what runs."""
        await self.flush()
        self.clock.now += seconds
        if self.running:
            await self.flush()

    def kill(self, worker: int) -> None:
        """End one process without a word; what it had not reported, nobody knows."""
        if worker in self.dead or len(self.dead) == len(self.workers) - 1:
            return
        self.dead.add(worker)
        self.running = [(of, ledger) for of, ledger in self.running if of != worker]
        self.unknown += sum(share.spent - share.confirmed for share in self.workers[worker].shares.shares)

    def check(self) -> None:
        """Everything admitted is within all limits, as an observer of all processes sees it."""
        self.let_pass()
        concurrency = self.limits.concurrency
        assert concurrency is None or len(self.running) <= concurrency.maximum
        for owed, limit in zip(self.owed, self.limits.rates, strict=True):
            assert owed <= limit.tolerance + self.unknown * limit.interval + 1e-3


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(0, WORKERS - 1)),
        st.tuples(st.just("claim"), st.integers(0, WORKERS - 1)),
        st.tuples(st.just("settle"), st.integers(0, 50)),
        st.tuples(st.just("settle"), st.integers(0, 50)),
        st.tuples(st.just("flush"), st.integers(0, WORKERS - 1)),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.5, 1.0, 3.0, 11.0, 16.0])),
        st.tuples(st.just("kill"), st.integers(0, WORKERS - 1)),
        st.tuples(st.just("rush"), st.integers(0, WORKERS - 1)),
        st.tuples(st.just("crowd"), st.integers(0, WORKERS - 1)),
    ),
    min_size=5,
    max_size=60,
)
MIXED = RouteLimits(
    "mixed", (RateLimit("a", 40, 20.0, 20), RateLimit("b", 60, 60.0, 60)), ConcurrencyLimit("c", 12)
)
SLOTS = RouteLimits("slots", (), ConcurrencyLimit("c", 30))
RATE = RouteLimits("rate", (RateLimit("a", 200, 20.0, 60),))


async def play(server: RunningServer, limits: RouteLimits, steps: list[tuple[str, float]]) -> None:
    """Play one story."""
    async with AsyncExitStack() as stack:
        fleet = await Fleet.of(stack, server, limits, WORKERS)
        for what, which in steps:
            match what:
                case "claim":
                    await fleet.claim(int(which))
                case "settle" if fleet.running:
                    fleet.settle(int(which))
                case "flush":
                    await fleet.flush(int(which))
                case "wait":
                    await fleet.wait(which)
                case "kill":
                    fleet.kill(int(which))
                case "rush":
                    for _ in range(10):
                        await fleet.is_served(int(which))
                case "crowd":  # at once, in one process
                    await asyncio.gather(*(fleet.claim(int(which)) for _ in range(6)))
            fleet.check()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("limits", [MIXED, SLOTS, RATE], ids=["mixed", "slots", "rate"])
def test_never_more_than_the_limit(server: RunningServer, limits: RouteLimits) -> None:
    """Whatever any process does or whenever it dies: what is admitted stays within all limits."""

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def story(steps: list[tuple[str, float]]) -> None:
        asyncio.run(play(server, limits, steps))

    story()


@pytest.mark.parametrize("limits", [RouteLimits("one", (RateLimit("r", 1, 3600.0, 1),)), RouteLimits("one", (), ConcurrencyLimit("c", 1))], ids=["rate", "slot"])  # fmt: skip
async def test_one_of_a_hundred(server: RunningServer, limits: RouteLimits) -> None:
    """Of a hundred simultaneous requests at five processes against a limit of one, one passes."""
    async with AsyncExitStack() as stack:
        fleet = await Fleet.of(stack, server, limits, WORKERS)
        async with asyncio.TaskGroup() as group:
            for index in range(100):
                group.create_task(fleet.claim(index % WORKERS))

        assert sum(fleet.served) == 1


@pytest.mark.parametrize(("count", "burst"), [(6000, 6000), (6000, 300), (600, 20)])
async def test_a_rate_is_used_to_the_full_and_nobody_is_starved(
    server: RunningServer, count: int, burst: int
) -> None:
    """Under overload a fleet gets at least 99 % of what the rate grants; who asks seldom gets its part."""
    limits = RouteLimits("full", (RateLimit("r", count, 60.0, burst),), ConcurrencyLimit("c", 100))
    async with AsyncExitStack() as stack:
        fleet = await Fleet.of(stack, server, limits, 4)
        asked = [0] * 4
        for tick in range(300):
            for turn in range(4):
                worker = (tick + turn) % 4  # nobody always comes first
                if worker == 3 and tick % 5:
                    continue  # the slow one
                for _ in range(max(1, count // 300) if worker < 3 else 1):
                    asked[worker] += 1
                    await fleet.is_served(worker)
            fleet.check()
            fleet.clock.now += 0.1
            if tick % 10 == 9:
                await fleet.flush()
        most = min(burst + count / 60.0 * 30.0, sum(asked))

        assert sum(fleet.served) >= 0.99 * most
        assert fleet.served[3] / asked[3] >= 0.5 * sum(fleet.served) / sum(asked)


async def test_what_a_share_has_is_charged_when_it_is_spent(server: RunningServer) -> None:
    """Units that were drawn, and lay for seconds while the rate filled up again, are no gift on top of the burst."""
    async with AsyncExitStack() as stack:
        fleet = await Fleet.of(stack, server, RATE, 2)
        for _ in range(20):
            await fleet.is_served(0)
        await fleet.flush()
        fleet.clock.now += 3.0
        kept = next(iter(fleet.workers[0].shares.shares)).left(fleet.clock.now)
        before = sum(fleet.served)
        while await fleet.is_served(0) or await fleet.is_served(1):
            fleet.check()

        assert kept > 0
        assert sum(fleet.served) - before == RATE.rates[0].burst


async def test_all_slots_are_usable_and_nobody_is_starved(server: RunningServer) -> None:
    """Under overload of slots a fleet holds nearly all of them, the slow process its part."""
    limits = RouteLimits("busy", (), ConcurrencyLimit("c", 40))
    async with AsyncExitStack() as stack:
        fleet = await Fleet.of(stack, server, limits, 4)
        asked, filled = [0] * 4, []
        for tick in range(200):
            for turn in range(4):
                worker = (tick + turn) % 4
                if worker == 3 and tick % 5:
                    continue
                for _ in range(10 if worker < 3 else 1):
                    asked[worker] += 1
                    await fleet.claim(worker)
            filled.append(len(fleet.running))
            for index in range(10 if tick % 3 else 20):
                if fleet.running:
                    fleet.settle(index * 7)
            await asyncio.sleep(0)
            fleet.check()
            fleet.clock.now += 0.1
            if tick % 10 == 9:
                await fleet.flush()
        later = filled[20:]

        assert sum(later) >= 0.99 * 40 * len(later)
        assert fleet.served[3] / asked[3] >= 0.5 * sum(fleet.served) / sum(asked)


async def test_a_slot_that_lies_idle_elsewhere_comes_back_within_a_second(server: RunningServer) -> None:
    """Refused for a moment, and told so; the other process hears of it with its next report."""
    limits = RouteLimits("idle", (), ConcurrencyLimit("c", 40))
    async with AsyncExitStack() as stack:
        fleet = await Fleet.of(stack, server, limits, 2)
        for _ in range(3):  # the first one is busy, and keeps some slots
            for _ in range(8):
                await fleet.claim(0)
            for _ in range(8):
                fleet.settle(-1)
            await fleet.wait(1.0)
        for _ in range(2):
            await fleet.claim(0)
        for _ in range(2):
            fleet.settle(-1)
        kept = next(iter(fleet.workers[0].shares.shares)).slack
        refused = None
        while refused is None:
            ledger = await fleet.claim(1)
            assert ledger is not None
            refused = ledger if ledger.refused else None
        before = len(fleet.running)
        await fleet.flush(0)  # its next report, within a second
        for _ in range(40):
            await fleet.claim(1)

        assert kept > 0
        assert 40 - kept == before
        assert (refused.is_concurrency, refused.is_temporary, refused.retry_after) == (True, True, 1.0)
        assert len(fleet.running) == 40


async def test_what_is_full_is_not_called_temporary(server: RunningServer) -> None:
    """Where all slots are in use, waiting a second need not help."""
    limits = RouteLimits("full", (), ConcurrencyLimit("c", 3))
    async with AsyncExitStack() as stack:
        fleet = await Fleet.of(stack, server, limits, 2)
        for _ in range(3):
            await fleet.claim(0)
        refused = await fleet.claim(1)

        assert refused is not None
        assert (refused.refused, refused.is_temporary) == ("c", False)


async def test_of_a_small_limit_nobody_keeps_a_free_slot(server: RunningServer) -> None:
    """What one process gives back, the next one has at once."""
    limits = RouteLimits("small", (), ConcurrencyLimit("c", 4))
    async with AsyncExitStack() as stack:
        fleet = await Fleet.of(stack, server, limits, 2)
        for _ in range(20):
            for _ in range(4):
                await fleet.claim(0)
            while fleet.running:
                fleet.settle(0)
            connection = fleet.workers[0].link.connection
            assert connection is not None
            await connection.ask("PING")  # nobody reports but for what was given back
            for _ in range(4):
                await fleet.claim(1)
            while fleet.running:
                fleet.settle(0)
            connection = fleet.workers[1].link.connection
            assert connection is not None
            await connection.ask("PING")

        assert fleet.served == [80, 80]


VICTIM = """
import asyncio, sys
from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.credentials.clock import SystemClock
from gateway.state.address import parse
from gateway.state.link import Server
from gateway.state.memory import MemoryStore
from gateway.state.redis import RedisStore
from gateway.state.redis_shares import RedisShares

async def main(url, password, key, now):
    shares = RedisShares(Server(parse(url), password.encode(), timeout=5.0), SystemClock(), interval=0.05, now=lambda: now)
    store = RedisStore(shares, MemoryStore(SystemClock()))
    await store.start()
    limits = RouteLimits("crash", (RateLimit("r", 100, 1e6, 100),), ConcurrencyLimit("c", 10))
    for _ in range(30):
        store.settle(await store.admit(key, limits))
    for _ in range(10):
        await store.admit(key, limits)
    while any(share.confirmed < share.spent for share in shares.shares):
        await asyncio.sleep(0.01)
    print(await shares.link.connection.ask("PING") == b"PONG", flush=True)
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:4], float(sys.argv[4])))
"""


async def test_a_killed_process_gives_everything_back_after_its_lease(server: RunningServer) -> None:
    """`kill -9`: what ran there is over, what it held and did not spend comes back; what it spent stays spent."""
    limits = RouteLimits("crash", (RateLimit("r", 100, 1e6, 100),), ConcurrencyLimit("c", 10))
    async with AsyncExitStack() as stack:
        fleet = await Fleet.of(stack, server, limits, 1)
        url = f"redis://{USER}@127.0.0.1:{server.port}"
        root = str(Path(__file__).parents[2])
        command = [sys.executable, "-P", "-c", VICTIM, url, PASSWORD, fleet.key, str(fleet.clock.now)]
        victim = subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": root}
        )
        try:
            assert victim.stdout is not None
            said = await asyncio.to_thread(victim.stdout.readline)
        finally:
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            if victim.stdout is not None:
                victim.stdout.close()
        early = await fleet.claim(0)
        fleet.clock.now += LEASE_SECONDS + 0.1
        late = [await fleet.claim(0) for _ in range(10)]
        for _ in range(10):
            fleet.settle(0)
        rest = 0
        while await fleet.is_served(0):
            rest += 1

        assert said == b"True\n"
        assert early is not None
        assert early.refused == "c"
        assert [None] * 10 == [ledger and ledger.refused for ledger in late]
        assert rest == 100 - 40 - 10
