"""A line that is ended from outside, at every place where it can wait, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

import pytest

from gateway.core.exchange import Outcome
from gateway.core.identity import Peer
from gateway.core.limits import Ledger
from gateway.core.refusal import Reason, Refusal
from gateway.core.route import Requirements
from gateway.credentials.clock import SystemClock
from gateway.credentials.development import DevelopmentPki
from gateway.credentials.tls import client_context
from gateway.wire.downstream import Downstream
from gateway.wire.endpoint import BackendSettings, EndpointSettings
from gateway.wire.pool import Pool
from gateway.wire.service import Service
from tests.doubles.line import CERTIFICATE, PATH, Line
from tests.wire.world import CHUNKED, PATIENCE, Backend, Client, Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from gateway.core.exchange import Exchange

REVOKED = Refusal(Reason.REVOKED, note="revocation r-1 of subject: stolen")
EVENT = b"data: {}\n\n"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n".encode()
WHOLE = HEAD + b"0123456789"


@final
class World:
    """The real line between real sockets; beside it, doubles for what it asks."""

    def __init__(self, backend: Backend, certificates: Path | None) -> None:
        self.backend = backend
        self.clients: list[Client] = []
        self.line = Line()
        self.line.set_route(require=Requirements(), backend="b")
        tls = None if certificates is None else client_context(SystemClock(), ca=certificates)
        endpoint = EndpointSettings(
            "e", "127.0.0.1", backend.port, "backend", tls=tls, server_name="backend" if tls else None
        )
        self.pool = Pool([BackendSettings("b", (endpoint,))])
        self.gateway = self.line.gateway
        self.gateway.runtime = replace(self.line.runtime(), backends=self.pool)
        self.service = Service(
            self.gateway, lambda transport: Peer(transport.get_extra_info("peername")[0], 1, CERTIFICATE)
        )

    async def start(self) -> None:
        """Listen."""
        self.server = await asyncio.get_running_loop().create_server(
            lambda: Downstream(self.service), "127.0.0.1", 0
        )
        self.port = self.server.sockets[0].getsockname()[1]

    async def client(self, raw: bytes) -> Client:
        """Connect, and write."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20))
        self.clients.append(client)
        client.write(raw)
        return client

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.002)

    def running(self) -> Exchange | None:
        """The exchange that runs, once it is known whose it is."""
        return next((ex for ex in self.gateway.running.values() if ex.identity is not None), None)

    def cut(self) -> float:
        """End it; returns when."""
        [reply] = self.gateway.running
        reply.cut(REVOKED)
        reply.cut(REVOKED)  # twice is once
        assert {} == self.gateway.running
        return time.monotonic()


@contextlib.asynccontextmanager
async def world(
    script: Callable[[Connection], Awaitable[Any]], certificates: Path | None = None
) -> AsyncIterator[World]:
    """Start everything; stop it at the end."""
    backend = Backend(script)
    await backend.start()
    made = World(backend, certificates)
    await made.start()
    try:
        yield made
    finally:
        for client in made.clients:
            client.close()
        made.service.abort()
        made.server.close()
        made.service.close()
        made.pool.close()
        await backend.stop()
        await asyncio.sleep(0.01)


def settled_and_recorded(made: World) -> Exchange:
    """Nothing is held, and exactly one record says why."""
    [ex] = made.line.recorder.exchanges

    assert [] == made.line.store.held
    assert ex.refusal is REVOKED
    assert 0 == made.service.active
    return ex


async def refused(client: Client) -> bytes:
    """Read one refusal, and check it."""
    status, fields, body = await client.answer()

    assert 401 == status
    assert b"application/problem+json" == fields[b"content-type"]
    assert b"credential-rejected" in body
    assert b"stolen" not in body
    return fields.get(b"connection", b"")


async def test_while_the_body_arrives() -> None:
    """A problem document and a close: the rest of the body is not waited for, no backend hears of it."""
    async with world(Connection.request) as made:
        client = await made.client(HEAD + b"01234")
        await made.until(lambda: "store.admit" in made.line.events and made.running())
        made.cut()
        assert b"close" == await refused(client)
        assert b"" == await client.all()

        assert Outcome.REFUSED is settled_and_recorded(made).outcome
        assert 0 == made.backend.connections


async def test_while_the_store_is_asked() -> None:
    """What the store says later goes nowhere, and is given back."""
    async with world(Connection.request) as made:
        asked: asyncio.Future[Ledger] = asyncio.get_running_loop().create_future()
        given_back: list[bool] = []

        async def admit(_key: str, _limits: object, _ahead: object = None, /) -> Ledger:
            try:
                return await asked
            except BaseException:
                given_back.append(True)
                raise

        made.line.store.admit = admit  # type: ignore[method-assign]  # a double that waits
        client = await made.client(WHOLE)
        await made.until(made.running)
        await asyncio.sleep(0)
        made.cut()
        asked.set_result(Ledger())
        await refused(client)

        assert Outcome.REFUSED is settled_and_recorded(made).outcome
        assert [True] == given_back


async def test_while_a_token_for_the_backend_is_asked_for() -> None:
    """Nobody waits for it any more; the slot that was held is free."""
    async with world(Connection.request) as made:
        asked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        @final
        class Onward:
            def find(self, *_: object) -> None:
                return None

            async def obtain(self, *_: object) -> Any:
                return await asked

        made.gateway.runtime = replace(made.gateway.runtime, onward=Onward())
        client = await made.client(WHOLE)
        await made.until(lambda: (ex := made.running()) is not None and ex.permit is not None)
        made.cut()
        await refused(client)

        assert Outcome.REFUSED is settled_and_recorded(made).outcome
        assert 0 == made.backend.connections


async def test_while_a_backend_is_connected_to(tmp_path: Path) -> None:
    """A handshake that does not end is given up at once, and its slot is free."""
    pki = DevelopmentPki(tmp_path)
    pki.init()
    gone: list[float] = []

    async def silent(connection: Connection) -> None:
        connection.backend.arrived.set()
        gone.append(await connection.gone())

    async with world(silent, pki.ca("backends")) as made:
        client = await made.client(WHOLE)
        await made.backend.arrived.wait()
        at = made.cut()
        await refused(client)
        await made.until(lambda: gone)

        settled_and_recorded(made)
        assert gone[0] - at < 0.1
        await made.until(lambda: {"e": 0} == made.pool.connections())


async def test_while_the_backend_thinks() -> None:
    """The backend sees the close at once: thinking costs; the client's connection goes on."""
    gone: list[float] = []

    async def thinking(connection: Connection) -> None:
        await connection.request()
        gone.append(await connection.gone())

    async with world(thinking) as made:
        client = await made.client(WHOLE)
        await made.backend.arrived.wait()
        at = made.cut()
        assert b"" == await refused(client)
        await made.until(lambda: gone)
        client.write(WHOLE)
        await made.until(made.running)

        assert gone[0] - at < 0.1
        assert 1 == len(made.line.recorder.exchanges)


async def test_while_the_answer_streams() -> None:
    """One event that says so, no clean end, nothing after; the backend sees the close at once."""
    gone: list[float] = []

    async def streaming(connection: Connection) -> None:
        await connection.request()
        connection.write(CHUNKED + b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
        gone.append(await connection.gone())

    async with world(streaming) as made:
        client = await made.client(WHOLE)
        await client.until(EVENT + b"\r\n")
        at = made.cut()
        rest = await client.all()
        await made.until(lambda: gone)
        ex = settled_and_recorded(made)

        assert b"event: error\ndata: " in rest
        assert b"credential-rejected" in rest
        assert not rest.endswith(b"0\r\n\r\n")
        assert Outcome.FAILED is ex.outcome
        assert gone[0] - at < 0.1


async def test_while_the_client_does_not_read() -> None:
    """What waits to be read is not the client's any more: a reset, and not another byte from us."""
    gone: list[float] = []

    async def flooding(connection: Connection) -> None:
        await connection.request()
        connection.write(CHUNKED)
        with contextlib.suppress(ConnectionError):
            while True:
                connection.write(b"%x\r\n%b\r\n" % (65536, b"x" * 65536))
                await connection.writer.drain()
        gone.append(time.monotonic())

    async with world(flooding) as made:
        client = await made.client(WHOLE)
        await made.until(lambda: any(each.is_full for each in made.service.connections))
        made.cut()
        await made.until(lambda: not made.service.connections)
        await made.until(lambda: gone)

        assert Outcome.FAILED is settled_and_recorded(made).outcome
        with contextlib.suppress(ConnectionResetError):
            rest = await client.all()
            assert not rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("is_meant", [True, False])
async def test_connections_of_a_certificate_are_retired(*, is_meant: bool) -> None:
    """Idle ones close now, one that is served after its answer; nobody else's does."""
    release = asyncio.Event()

    async def held(connection: Connection) -> None:
        await connection.request()
        await release.wait()
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with world(held) as made:
        idle, busy = await made.client(b""), await made.client(WHOLE)
        await made.backend.arrived.wait()
        await made.until(lambda: 2 == len(made.service.connections))
        count = made.service.retire(lambda peer: is_meant and peer.certificate is CERTIFICATE)
        if is_meant:
            assert b"" == await idle.all()
        release.set()
        status, fields, _ = await busy.answer()

        assert 200 == status
        assert (2 if is_meant else 0) == count
        assert is_meant is (fields.get(b"connection") == b"close")
        await made.until(lambda: (0 if is_meant else 2) == len(made.service.connections))
