"""Servers of issuers over real sockets: honest, slow, huge, broken and hostile ones."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    import pytest


@final
class Exchange:
    """One request that a provider got, and its way to answer."""

    def __init__(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        line, _, rest = head.decode("ascii").partition("\r\n")
        self.method, self.target, _ = line.split(" ")
        self.fields = dict(each.split(": ", 1) for each in rest.strip().split("\r\n"))
        self.body = body
        self.writer = writer

    async def answer(
        self, body: bytes = b"{}", status: int = 200, fields: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
        await self.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()


@final
class Provider:
    """A server whose answer a test decides; counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Exchange] = []
        self.connections = 0
        self.port = 0
        self.scheme = "http"
        self.host = "127.0.0.1"
        self.say: Callable[[Exchange], Awaitable[None]] = Exchange.answer
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def origin(self) -> str:
        """Where it is."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def targets(self) -> list[str]:
        """Paths that were asked for, in order."""
        return [each.target for each in self.asked]

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in a task that the test's end cancels."""
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.decode("ascii").lower().split("\r\n"):
                    if line.startswith("content-length: "):
                        length = int(line.split(": ")[1])
                one = Exchange(head, await reader.readexactly(length), writer)
                self.asked.append(one)
                await self.say(one)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def providing(
    tls: ssl.SSLContext | None = None, address: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Provider]:
    """Run a provider on a free port."""
    provider = Provider()
    server = await asyncio.start_server(provider.connected, address, port, ssl=tls)
    provider.port = server.sockets[0].getsockname()[1]
    provider.host = address
    provider.scheme = "http" if tls is None else "https"
    try:
        yield provider
    finally:
        server.close()
        tasks = list(provider.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def answering(
    body: bytes, status: int = 200, fields: Mapping[str, str] | None = None
) -> Callable[[Exchange], Awaitable[None]]:
    """The same whole answer to everything."""

    async def say(exchange: Exchange) -> None:
        await exchange.answer(body, status, fields)

    return say


def by_path(answers: Mapping[str, bytes]) -> Callable[[Exchange], Awaitable[None]]:
    """An answer per path; 404 for the rest."""

    async def say(exchange: Exchange) -> None:
        body = answers.get(exchange.target)
        await exchange.answer(body or b"", 404 if body is None else 200)

    return say


def raw(data: bytes) -> Callable[[Exchange], Awaitable[None]]:
    """Bytes as they are, and then the end of the connection."""

    async def say(exchange: Exchange) -> None:
        await exchange.write(data)
        exchange.writer.close()

    return say


async def silence(_: Exchange) -> None:
    """No answer at all."""
    await asyncio.Event().wait()


def dripping(first: bytes, drop: bytes) -> Callable[[Exchange], Awaitable[None]]:
    """Bytes that keep coming, one by one, and never end."""

    async def say(exchange: Exchange) -> None:
        await exchange.write(first)
        while True:
            await exchange.write(drop)
            await asyncio.sleep(0.005)

    return say


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let the running loop resolve names to the given addresses, in turn; returns the names asked for."""
    turns = iter(answers)
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [
            (socket.AF_INET6, 1, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, 1, 6, "", (address, port))
            for address in next(turns)
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


@contextmanager
def handshaking(context: ssl.SSLContext) -> Iterator[int]:
    """A blocking server in a thread, as asyncio's sends no alert where a handshake fails; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:  # the end of the test
                return
            with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as secure:
                try:
                    secure.do_handshake()
                    secure.recv(65536)
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                except OSError:
                    with suppress(OSError):  # the client may be gone
                        secure.shutdown(socket.SHUT_WR)
                        while secure.recv(65536):  # what is unread would turn the alert into a reset
                            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
