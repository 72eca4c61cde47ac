"""What limits and budgets cost: CPU per request, round trips per thousand requests, memory per identity.

    python benchmarks/budgets.py [memory|redis|heads|crowd|slow]

`heads` are the limits that the head of a request is charged by: two rates and a concurrency per identity;
`crowd` is a million identities of them in memory; `slow` is what they add to a request while every answer of
Redis comes 50 ms late.

Redis is started by the program itself, on a free port. CPU is that of this process alone.
"""

import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import uvloop

from gateway.core.budgets import Budget, Dimension, Hold, Key, Measure
from gateway.core.calendars import Calendar, Window
from gateway.core.limits import ConcurrencyLimit, RateLimit, RouteLimits
from gateway.credentials.clock import SystemClock
from gateway.state.address import parse
from gateway.state.connection import Connection
from gateway.state.link import Server
from gateway.state.memory import MemoryStore
from gateway.state.memory_budgets import MemoryBudgets
from gateway.state.redis import RedisStore
from gateway.state.redis_budgets import RedisBudgets
from gateway.state.redis_shares import RedisShares
from tests.servers import PASSWORD, USER, RunningServer, redis_binary, valkey_binary

PER = (Key(Dimension.IDENTITY),)
MONTH = Calendar(Window.MONTH, ZoneInfo("Europe/Berlin"))
ONE = (Budget("chat", "tokens", Measure.TOKENS, 10**9, PER, calendar=MONTH),)
THREE = (
    *ONE,
    Budget("chat", "output", Measure.OUTPUT_TOKENS, 10**9, PER, 3600.0),
    Budget("chat", "cost", Measure.COST, 10**12, PER, 86400.0),
)


async def one(budgets, set_, key):
    holds = [Hold(budget, key, 1500) for budget in set_]
    denial = await budgets.reserve(holds)
    if denial is not None:
        sys.exit(f"refused: {denial.budget.name}")
    for hold in holds:
        budgets.settle(hold, 400)


async def timed(budgets, set_, keys):
    before = time.process_time()
    for key in keys:
        await one(budgets, set_, key)
    return (time.process_time() - before) / len(keys) * 1e6


def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def memory():
    clock = SystemClock()
    for name, set_ in (("one budget", ONE), ("three budgets", THREE)):
        budgets = MemoryBudgets(clock)
        await timed(budgets, set_, ["k"] * 1000)
        hot = min([await timed(budgets, set_, ["k"] * 20_000) for _ in range(5)])
        cold = await timed(budgets, set_, [f"c{n}" for n in range(20_000)])
        print(f"memory, {name}: hot {hot:.2f} us, cold {cold:.2f} us per request (reserve and settle)")
    budgets = MemoryBudgets(clock, accounts=2_000_000)
    before, step = rss(), 250_000
    for first in range(0, 1_000_000, step):
        keys = [f"https://issuer.example.org|user-{n}" for n in range(first, first + step)]
        start = rss()
        took = await timed(budgets, ONE, keys)
        print(
            f"memory, {first + step:>9,} identities: {took:.2f} us per new one, {(rss() - start) / step:.0f} bytes each"
        )
    keys = [f"https://issuer.example.org|user-{n * 7919 % 1_000_000}" for n in range(20_000)]
    print(
        f"memory, known among {len(budgets):,}: {await timed(budgets, ONE, keys):.2f} us; {(rss() - before) / 1e6:.0f} MB in all"
    )


async def redis():
    directory = Path(tempfile.mkdtemp())
    server = RunningServer(redis_binary() or valkey_binary(), directory)
    server.start()
    try:
        clock = SystemClock()
        where = Server(parse(f"redis://{USER}@127.0.0.1:{server.port}"), PASSWORD.encode(), timeout=5.0)
        for identities in (1, 10, 10_000):
            shares = RedisShares(where, clock)
            budgets = RedisBudgets(shares, MemoryBudgets(clock))
            await shares.start()
            keys = [f"{identities}-{n}" for n in range(identities)]
            requests = 20_000
            rate = 2_000
            began, cpu, asked = clock.tick(), time.process_time(), shares.asked
            trips = 0
            for n in range(requests):
                before = shares.asked
                await one(budgets, ONE, keys[n % identities])
                trips += shares.asked > before
                if n % 20 == 19:  # at a steady pace, so that reports come between
                    await asyncio.sleep(max(0.0, began + n / rate - clock.tick()))
            used = time.process_time() - cpu
            sent = shares.asked - asked
            print(
                f"redis, {identities:>6,} identities, {rate} requests/s: {trips / requests * 1000:7.1f} round trips and "
                f"{sent / requests * 1000:7.1f} commands per 1,000 requests, {used / requests * 1e6:6.2f} us CPU per request"
            )
            await shares.stop()
        shares = RedisShares(where, clock)
        budgets = RedisBudgets(shares, MemoryBudgets(clock))
        await shares.start()
        for _ in range(2000):
            await one(budgets, ONE, "hot")
        hot = min([await timed(budgets, ONE, ["hot"] * 5_000) for _ in range(4)])
        cold = await timed(budgets, ONE, [f"cold{n}" for n in range(5_000)])
        print(f"redis: hot {hot:.2f} us, cold {cold:.2f} us CPU per request, one at a time")
        await shares.stop()
    finally:
        server.stop()


HEADS = RouteLimits(
    "chat",
    (RateLimit("m", 10**6, 60.0, 10**6), RateLimit("h", 10**7, 3600.0, 10**7)),
    ConcurrencyLimit("c", 100),
)


def make_store(where, clock):
    return RedisStore(RedisShares(where, clock), MemoryStore(clock))


async def admitted(store, key):
    ledger = await store.admit(key, HEADS)
    if ledger.refused is not None:
        sys.exit(f"refused: {ledger.refused}")
    store.settle(ledger)


async def cpu_of(store, keys):
    before = time.process_time()
    for key in keys:
        await admitted(store, key)
    return (time.process_time() - before) / len(keys) * 1e6


async def paced(store, identities, requests=20_000, rate=2_000):
    """Send requests at a steady pace, so that reports come between; CPU of sending alone is not apart."""
    keys = [f"{identities}-{n}" for n in range(identities)]
    clock = SystemClock()
    commands, trips = Commands(store), 0
    began, cpu = clock.tick(), time.process_time()
    for n in range(requests):
        before = commands.waited
        await admitted(commands, keys[n % identities])
        trips += commands.waited > before
        if n % 20 == 19:
            await asyncio.sleep(max(0.0, began + n / rate - clock.tick()))
    used = time.process_time() - cpu
    print(
        f"heads, {identities:>6,} identities, {rate} requests/s: {trips / requests * 1000:7.1f} round trips and "
        f"{commands.sent / requests * 1000:7.1f} commands per 1,000 requests, {used / requests * 1e6:6.2f} us CPU per request"
    )


class Commands:
    """A store, and how often its connection was written to while a claim waited, or at all."""

    def __init__(self, store):
        self.store = store
        self.sent = self.waited = 0
        send = Connection.send

        def counted(connection, command, receiver):
            self.sent += 1
            send(connection, command, receiver)

        Connection.send = counted
        self.settle = store.settle

    async def admit(self, key, limits):
        before = self.sent
        ledger = await self.store.admit(key, limits)
        self.waited += self.sent > before
        return ledger


async def heads():
    clock = SystemClock()
    memory = MemoryStore(clock)
    await cpu_of(memory, ["k"] * 1000)
    hot = min([await cpu_of(memory, ["k"] * 20_000) for _ in range(7)])
    cold = min([await cpu_of(memory, [f"c{turn}-{n}" for n in range(5_000)]) for turn in range(5)])
    print(f"heads in memory: hot {hot:.2f} us, cold {cold:.2f} us per request (admit and settle)")
    server = RunningServer(redis_binary() or valkey_binary(), Path(tempfile.mkdtemp()))
    server.start()
    where = Server(parse(f"redis://{USER}@127.0.0.1:{server.port}"), PASSWORD.encode(), timeout=5.0)
    store = make_store(where, clock)
    await store.start()
    try:
        for _ in range(3000):
            await admitted(store, "hot")
        hot = min([await cpu_of(store, ["hot"] * 5_000) for _ in range(7)])
        cold = min([await cpu_of(store, [f"c{turn}-{n}" for n in range(3_000)]) for turn in range(4)])
        print(f"heads in Redis: hot {hot:.2f} us, cold {cold:.2f} us CPU per request, one at a time")
        piped = []
        for turn in range(4):
            before = time.process_time()
            for first in range(0, 3_200, 16):
                await asyncio.gather(*(admitted(store, f"p{turn}-{n}") for n in range(first, first + 16)))
            piped.append((time.process_time() - before) / 3_200 * 1e6)
        print(f"heads in Redis: cold {min(piped):.2f} us CPU per request, sixteen at once")
        for identities in (1, 10, 10_000):
            await asyncio.sleep(3.0)  # until what went before is reported
            await paced(store, identities)
    finally:
        await store.stop()
        server.stop()


async def crowd():
    store = MemoryStore(SystemClock(), entries=1_000_000)
    before, figures = rss(), []
    limits = RouteLimits("crowd", (RateLimit("r", 24, 86_400.0, 24),), ConcurrencyLimit("c", 4))
    for hundred in range(10):  # each counts for an hour: nobody is forgotten meanwhile
        began = time.process_time()
        for n in range(100_000):
            store.settle(await store.admit(f"https://idp.example.org|user-{hundred}-{n:06}", limits))
        figures.append((time.process_time() - began) * 10)
    used = (rss() - before) / 1_000_000
    print(f"a million identities in memory: {used:.0f} bytes each, their names included")
    print("us per new one, by hundred thousands: " + " ".join(f"{each:.1f}" for each in figures))


class Late(asyncio.Protocol):
    """One connection to Redis, and one from a client: answers come late."""

    seconds = 0.0

    def __init__(self, port):
        self.port = port
        self.waiting = []
        self.out = None

    def connection_made(self, transport):
        self.transport = transport
        asyncio.ensure_future(self.connect())

    async def connect(self):
        loop, client = asyncio.get_running_loop(), self.transport

        class Back(asyncio.Protocol):
            def data_received(self, data):
                loop.call_later(Late.seconds, client.write, data)

        self.out, _ = await loop.create_connection(Back, "127.0.0.1", self.port)
        for data in self.waiting:
            self.out.write(data)

    def data_received(self, data):
        if self.out is None:
            self.waiting.append(data)
        else:
            self.out.write(data)


async def waits(store, keys, rate=200.0):
    loop, begin, found = asyncio.get_running_loop(), time.perf_counter(), []

    async def one_of(key):
        before = time.perf_counter()
        await admitted(store, key)
        found.append((time.perf_counter() - before) * 1e3)

    tasks = []
    for number, key in enumerate(keys):
        await asyncio.sleep(max(begin + number / rate - time.perf_counter(), 0))
        tasks.append(loop.create_task(one_of(key)))
    await asyncio.gather(*tasks)
    found.sort()
    return found[len(found) // 2], found[len(found) * 99 // 100]


async def slow():
    server = RunningServer(redis_binary() or valkey_binary(), Path(tempfile.mkdtemp()))
    server.start()
    late = await asyncio.get_running_loop().create_server(lambda: Late(server.port), "127.0.0.1", 0)
    port = late.sockets[0].getsockname()[1]
    store = make_store(
        Server(parse(f"redis://{USER}@127.0.0.1:{port}"), PASSWORD.encode(), timeout=1.0), SystemClock()
    )
    await store.start()
    try:
        for seconds in (0.0, 0.05):
            Late.seconds = seconds
            await waits(store, ["hot"] * 600)
            hot = await waits(store, ["hot"] * 2_000)
            cold = await waits(store, [f"{seconds}-{n}" for n in range(2_000)])
            print(
                f"answers {seconds * 1e3:.0f} ms late, 200 requests/s: added ms p50/p99: busy identity "
                f"{hot[0]:.2f}/{hot[1]:.2f}, new ones {cold[0]:.2f}/{cold[1]:.2f}"
            )
    finally:
        await store.stop()
        late.close()
        server.stop()


if __name__ == "__main__":
    what = sys.argv[1:] or ["memory", "redis", "heads", "crowd", "slow"]
    programs = {"memory": memory, "redis": redis, "heads": heads, "crowd": crowd, "slow": slow}
    for each in what:
        uvloop.run(programs[each]())
