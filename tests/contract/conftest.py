"""Stores under contract: memory, Redis (TCP, TLS, unix socket) and Valkey (SCRIPT permitted or not), all real."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast, final
from uuid import uuid4

import pytest

from gateway.credentials.clock import SystemClock
from gateway.state.address import parse
from gateway.state.link import Server, tls_context
from gateway.state.memory import MemoryStore
from gateway.state.redis import RedisStore
from gateway.state.redis_shares import RedisShares
from tests.clusters import RunningCluster
from tests.servers import INLINE_USER, PASSWORD, USER, RunningServer, make_pki, redis_binary, valkey_binary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gateway.core.ports import Store

KINDS = [
    "memory",
    "valkey",
    "valkey-inline",
    *(["redis", "redis-tls", "redis-unix"] if redis_binary() else []),
    "cluster",
]
SERVERS = ["valkey", *(["redis"] if redis_binary() else [])]
SHARED = [*SERVERS, "cluster"]
"""What many tests may use together: `Servers` has them."""


@final
class FakeClock:
    """Time that stands still until a test moves it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def tick(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@final
@dataclass
class Servers:
    """Both servers and a cluster, started when first asked for."""

    directory: pytest.TempPathFactory
    running: dict[str, RunningServer | RunningCluster] = field(default_factory=dict)

    def __getitem__(self, name: str) -> RunningServer:
        if name not in self.running:
            self.running[name] = self._make(name)
            self.running[name].start()
        return cast("RunningServer", self.running[name])  # a cluster is asked the same of tests that share it

    def _make(self, name: str) -> RunningServer | RunningCluster:
        directory = self.directory.mktemp(name)
        if name == "cluster":
            return RunningCluster(redis_binary() or valkey_binary(), directory)
        binary = redis_binary() if name == "redis" else valkey_binary()
        assert binary is not None
        return RunningServer(binary, directory, pki=make_pki(directory) if name == "redis" else None)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of this test process."""
    servers = Servers(tmp_path_factory)
    yield servers
    for server in servers.running.values():
        server.stop()


def reach(
    server: RunningServer | RunningCluster,
    kind: str = "",
    *,
    password: str = PASSWORD,
    timeout: float = 5.0,
) -> Server:
    """Return how a store reaches a server; patient, because test machines are slow."""
    if isinstance(server, RunningCluster):
        return Server(parse(server.url), password.encode(), timeout=timeout)
    if kind == "redis-tls":
        assert server.pki is not None
        pki = server.pki
        context = tls_context(str(pki.ca), str(pki.client_certificate), str(pki.client_key))
        url = f"rediss://{USER}@localhost:{server.tls_port}"
        return Server(parse(url), password.encode(), context, timeout)
    user = INLINE_USER if kind.endswith("-inline") else USER
    url = (
        f"unix://{user}@{server.socket_path}"
        if kind == "redis-unix"
        else f"redis://{user}@127.0.0.1:{server.port}"
    )
    return Server(parse(url), password.encode(), timeout=timeout)


@asynccontextmanager
async def opened(
    server: Server, clock: FakeClock | None = None, **options: object
) -> AsyncIterator[RedisStore]:
    """A started store; with a clock, the script takes its time instead of the server's, and reports wait."""
    local = MemoryStore(clock or FakeClock())
    own = {name: options.pop(name) for name in ("share", "barred") if name in options}
    if clock is not None:
        options = {"interval": 1e6, "now": clock.tick, **options}
    shares = RedisShares(server, clock or SystemClock(), **options)  # type: ignore[arg-type]  # options
    store = RedisStore(shares, local, **own)  # type: ignore[arg-type]  # options
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


@pytest.fixture
def clock() -> FakeClock:
    """The time of the store under test."""
    return FakeClock()


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, servers: Servers, clock: FakeClock) -> AsyncIterator[Store]:
    """Every store there is, at the test's time."""
    kind = request.param
    if kind == "memory":
        yield MemoryStore(clock)
        return
    async with opened(reach(servers[kind.split("-")[0]], kind), clock) as redis:
        assert redis.is_ready, redis.why
        yield redis


@pytest.fixture
def key() -> str:
    """An identity that no other test has."""
    return f"issuer|{uuid4()}"
