"""A gateway's wire on real sockets, without its security: raw clients, raw backends, the smallest line.

`Backend` does what a test tells it with bytes, and writes down what it saw; `Client` writes bytes and
reads bytes; `World` puts listener, pool and line between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Self, cast, final

from gateway.core.identity import Identity, Peer
from gateway.core.limits import Ledger, RouteLimits
from gateway.core.outbound import Outbound
from gateway.core.permit import issue_admission, issue_entry, issue_permit, issue_reservation, issue_vetted
from gateway.core.ports import ClientGone
from gateway.core.prompt import Prompt
from gateway.core.refusal import Refused
from gateway.core.route import Bounds, Requirements, Route
from gateway.stages.reserve import NOTHING
from gateway.wire.downstream import Downstream
from gateway.wire.pool import BackendSettings, EndpointSettings, Pool
from gateway.wire.service import ConnectionBounds, Service, Timeouts

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from gateway.core.call import Call
    from gateway.core.refusal import Refusal
    from gateway.wire.flood import Floodgate
    from gateway.wire.reply import Reply

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ALLOWED = {b"content-type", b"date"}
PATIENCE = 5.0  # seconds after which a test has failed; never waited for in one that passes


@final
class Connection:
    """One connection at a backend."""

    def __init__(self, backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.backend = backend
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """Read one request, strictly framed by Content-Length; returns head and body.

        Raises:
            EOFError: There is no further one.
        """
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for row in head.split(b"\r\n")[1:]:
            name, _, value = row.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            assert name.lower() != b"transfer-encoding", "a backend never gets chunks"
        body = await self.reader.readexactly(length)
        self.backend.requests.append(head + body)
        self.backend.arrived.set()
        return head + body

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self.writer.write(data)

    async def gone(self) -> float:
        """Wait until the other end has closed; returns the time."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                continue
        return time.monotonic()

    def die(self) -> None:
        """Reset the connection."""
        cast("asyncio.Transport", self.writer.transport).abort()


async def serve_ok(connection: Connection) -> None:
    """Answer everything with OK."""
    while True:
        await connection.request()
        connection.write(OK)


@final
class Backend:
    """A raw server.

    Args:
        script: What it does with each connection; an end of the connection ends it.
    """

    def __init__(self, script: Callable[[Connection], Awaitable[Any]] = serve_ok) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.broken: list[bytes] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, tls: ssl.SSLContext | None = None, path: Path | None = None) -> None:
        """Listen."""
        if path is not None:
            self._server = await asyncio.start_unix_server(self._serve, path, ssl=tls)
            return
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.script(Connection(self, reader, writer))
        except asyncio.IncompleteReadError as end:
            if end.partial:
                self.broken.append(end.partial)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.sleep(0)


@final
class Client:
    """A raw client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self.writer.write(data)

    async def read(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)

    async def until(self, end: bytes) -> bytes:
        """Read up to and with `end`."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(end)

    async def all(self) -> bytes:
        """Read until the gateway closes; raises ConnectionResetError if it resets."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Read one answer of known length, or chunked."""
        head = await self.until(b"\r\n\r\n")
        line, *rows = head[:-4].split(b"\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (row.partition(b":") for row in rows)}
        if fields.get(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int(await self.until(b"\r\n"), 16):
                body += (await self.read(size + 2))[:-2]
            await self.read(2)
        else:
            body = await self.read(int(fields.get(b"content-length", b"0")))
        return int(line.split()[1]), fields, body

    def close(self) -> None:
        """Close in order."""
        self.writer.close()

    def reset(self) -> None:
        """Vanish."""
        cast("asyncio.Transport", self.writer.transport).abort()


@final
class Meter:
    """Reads nothing."""

    def feed(self, data: bytes) -> None:
        """Look at a piece."""

    def finish(self) -> None:
        """The end."""


NOBODY = Identity(
    key="nobody", issuer="", subject="nobody", methods=(), roles=frozenset(), expires=float("inf")
)


@final
class Line:
    """Body, backend, relay: the pipeline without its checks. Writes down how requests ended."""

    def __init__(self, pool: Pool, bounds: Bounds) -> None:
        self.pool = pool
        self.bounds = bounds
        self.route = Route(
            name="any", methods=frozenset(), path="/", backend="b", dialect="opaque",
            require=Requirements(), policy=cast("Any", None), limits=RouteLimits("any"),
            inspector=cast("Any", None), meter=cast("Any", None), bounds=bounds,
        )  # fmt: skip
        self.ended: list[str] = []
        self.refused: list[str] = []
        self.end = asyncio.Event()
        self.hold: asyncio.Future[None] | None = None
        self.is_open = True  # False: nobody proves who he is

    async def handle(self, call: Call, reply: Reply) -> None:
        """Serve one request."""
        answer = None
        try:
            if self.hold is not None:
                await self.hold
            if not self.is_open:
                reply.send(401, b"", b"")
                return
            body = await call.body.read(self.bounds.body, self.bounds.body_time)
            target = f"{call.path}?{call.query}" if call.query else call.path
            idempotent = call.method in {"GET", "HEAD", "PUT", "DELETE"}
            outbound = Outbound(
                "b", f"{call.method} {target} HTTP/1.1\r\n".encode(), b"", body,
                is_idempotent=idempotent, has_no_answer_body=call.method == "HEAD",
            )  # fmt: skip
            # real proofs about nobody: of all this the wire reads `route.bounds`, and nothing else
            entry = issue_entry(NOBODY, self.route)
            permit = issue_permit(entry, None, "any")
            answer = await self.pool.open(
                outbound,
                permit,
                issue_reservation(issue_admission(entry, Ledger()), permit, (), NOTHING),
                issue_vetted(entry, Prompt(), body, b""),
            )
            headers = b"".join(b"%b: %b\r\n" % each for each in answer.headers if each[0] in ALLOWED)
            await reply.relay(answer, headers, Meter(), self.bounds)
            self._note("served")
        except Refused as refused:
            reason = refused.refusal.reason.value
            self.refused.append(reason)
            self._note(reason)
            if reply.is_started:
                reply.abort(b"event: error\n\n")
            else:
                reply.send(502 if reason.startswith(("backend", "answer")) else 400, b"", reason.encode())
        except ClientGone:
            self._note("client-gone")
            raise
        finally:
            if answer is not None:
                answer.close()

    def _note(self, word: str) -> None:
        self.ended.append(word)
        self.end.set()

    def reject(self, id: str, peer: Peer, refusal: Refusal, reply: Reply) -> None:
        """Answer bytes that are no request."""
        self.refused.append(refusal.reason.value)
        reply.send(400, b"", refusal.reason.value.encode(), close=True)


@final
class World:
    """Listener, pool, line and one backend. Make one with `async with world(...)`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.port = 0
        self.service: Service
        self.pool: Pool
        self.line: Line
        self.tls: ssl.SSLContext | None = None
        self._server: asyncio.Server
        self._clients: list[Client] = []

    async def client(self, raw: bytes = b"") -> Client:
        """Connect, and write."""
        name = "localhost" if self.tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.tls, server_hostname=name, limit=1 << 20
        )
        client = Client(reader, writer)
        self._clients.append(client)
        if raw:
            client.write(raw)
        return client

    async def ask(self, raw: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
        """One request on a connection of its own."""
        client = await self.client(raw)
        answer = await client.answer()
        client.close()
        return answer

    async def ended(self, count: int = 1) -> list[str]:
        """How requests ended, once so many have."""
        async with asyncio.timeout(PATIENCE):
            while len(self.line.ended) < count:
                self.line.end.clear()
                await self.line.end.wait()
        return self.line.ended

    async def arrived(self, count: int = 1) -> list[bytes]:
        """What the backend got, once it has got so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self.backend.requests) < count:
                self.backend.arrived.clear()
                await self.backend.arrived.wait()
        return self.backend.requests

    async def settled(self) -> Self:
        """Wait until no client is connected and no request is served."""
        async with asyncio.timeout(PATIENCE):
            while self.service.connections or self.service.active:
                await asyncio.sleep(0.005)
        return self

    async def stop(self) -> None:
        """Close everything."""
        for client in self._clients:
            client.close()
        self.service.abort()
        self._server.close()
        self.service.close()
        self.pool.close()
        await self.backend.stop()
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def world(
    script: Callable[[Connection], Awaitable[Any]] = serve_ok,
    *,
    bounds: Bounds | None = None,
    timeouts: Timeouts | None = None,
    limits: ConnectionBounds | None = None,
    server_tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
    backend_tls: ssl.SSLContext | None = None,
    endpoint: dict[str, Any] | None = None,
    path: Path | None = None,
    settings: dict[str, Any] | None = None,
    floodgate: Floodgate | None = None,
) -> AsyncIterator[World]:
    """Start everything; stop it at the end."""
    backend = Backend(script)
    await backend.start(backend_tls, path)
    made = World(backend)
    fields: dict[str, Any] = {"name": "e", "host": "127.0.0.1", "port": backend.port, "authority": "backend"}
    fields |= {"path": None if path is None else str(path)} | (endpoint or {})
    made.pool = Pool([BackendSettings("b", (EndpointSettings(**fields),), **(settings or {}))])
    made.line = Line(made.pool, bounds or Bounds())
    made.service = Service(
        made.line,
        lambda transport: Peer(transport.get_extra_info("peername")[0], 0),
        timeouts=timeouts,
        bounds=limits,
        floodgate=floodgate,
    )
    made.tls = client_tls
    made._server = await asyncio.get_running_loop().create_server(
        lambda: Downstream(made.service), "127.0.0.1", 0, ssl=server_tls, backlog=2048
    )
    made.port = made._server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        await made.stop()
