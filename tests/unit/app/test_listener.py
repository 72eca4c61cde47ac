"""A listener whose context is replaced: no connection is lost, on either event loop."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import uvloop

from gateway.app.listener import Listener
from gateway.config.addresses import Listen
from gateway.credentials.development import DevelopmentPki
from gateway.credentials.tls import server_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CLIENTS = 150


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentPki:
    """An authority with two certificates."""
    made = DevelopmentPki(tmp_path_factory.mktemp("pki"))
    made.init()
    for name in ("one", "two"):
        made.issue(name, "server")
    return made


def context(pki: DevelopmentPki, name: str) -> ssl.SSLContext:
    """A context that shows one of them."""
    paths = pki.directory / f"{name}.pem", pki.directory / f"{name}.key"
    return server_context(*paths, pki.clock, client_certificate="none")


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    transports: ClassVar[list[Any]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def end(listener: Listener) -> None:
    """Close everything."""
    listener.close()
    while Echo.transports:
        Echo.transports.pop().abort()
    await asyncio.sleep(0.02)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Say something, and return the answer."""
    writer.write(b"x")
    return await reader.readexactly(1)


async def under_load(pki: DevelopmentPki) -> None:
    """Connections come all the time while the context is replaced, and those that are there stay."""
    listener = Listener(Echo, 5.0)
    name = await listener.open(Listen("127.0.0.1", 0), tls=context(pki, "one"))
    port = name[1]
    trusting = ssl.create_default_context(cafile=pki.ca("gateway"))
    seen: list[bytes] = []

    async def client() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        made = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
        assert b"x" == await ask(*made)
        seen.append(made[1].get_extra_info("ssl_object").getpeercert(binary_form=True))
        return made

    kept = [await client() for _ in range(3)]
    first = set(seen)

    async def load() -> None:
        for _ in range(CLIENTS // 3):
            _, writer = await client()
            writer.transport.abort()

    async def replace() -> None:
        for number in range(20):
            await listener.replace(context(pki, "two" if number % 2 else "one"))
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(load())
        group.create_task(replace())
    assert [b"x"] * 3 == [await ask(*each) for each in kept]
    seen.clear()
    _, writer = await client()
    assert 1 == len(first)
    assert first != set(seen)
    for each in (writer, *(writer for _, writer in kept)):
        each.transport.abort()
    await end(listener)
    with pytest.raises(OSError, match=r"refused|failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def on_a_unix_socket(pki: DevelopmentPki, path: str) -> None:
    """The path stays where it is."""
    listener = Listener(Echo, 5.0)
    assert path == await listener.open(Listen("", 0, Path(path)), context(pki, "one"))
    await listener.replace(context(pki, "two"))
    await listener.replace(context(pki, "one"))
    trusting = ssl.create_default_context(cafile=pki.ca("gateway"))
    reader, writer = await asyncio.open_unix_connection(path, ssl=trusting, server_hostname="localhost")
    assert b"x" == await ask(reader, writer)
    writer.transport.abort()
    await end(listener)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_no_connection_is_lost(run: Callable[[Awaitable[None]], None], pki: DevelopmentPki) -> None:
    """Under load, twenty times in a row."""
    run(under_load(pki))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_unix_sockets(run: Callable[[Awaitable[None]], None], pki: DevelopmentPki, tmp_path: Path) -> None:
    """As well."""
    run(on_a_unix_socket(pki, str(tmp_path / "s")))


async def test_connections_that_wait_in_the_kernel_are_served(pki: DevelopmentPki) -> None:
    """The queue belongs to the socket, whoever takes from it."""
    listener = Listener(Echo, 5.0)
    name: Any = await listener.open(Listen("127.0.0.1", 0), tls=context(pki, "one"))
    with socket.create_connection(name) as waiting:  # the loop has not seen it yet
        await listener.replace(context(pki, "two"))
        trusting = ssl.create_default_context(cafile=pki.ca("gateway"))
        reader, writer = await asyncio.open_connection(
            sock=waiting, ssl=trusting, server_hostname="localhost"
        )
        assert b"x" == await ask(reader, writer)
        writer.transport.abort()
    await end(listener)


async def test_without_file_descriptors_nothing_changes(
    pki: DevelopmentPki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was half made is closed again, and the old server goes on; a closed listener stays closed."""
    listener = Listener(Echo, 5.0)
    name: Any = await listener.open(Listen("127.0.0.1", 0), tls=context(pki, "one"))
    listener._servers.append(listener._servers[0])
    left = [os.dup(listener._servers[0].sockets[0].fileno())]

    def dup(_descriptor: int) -> int:
        if not left:
            raise OSError(24, "Too many open files")
        return left.pop()

    with monkeypatch.context() as patched:
        patched.setattr("gateway.app.listener.os.dup", dup)
        with pytest.raises(OSError, match="Too many"):
            await listener.replace(context(pki, "two"))
    listener._servers.pop()
    trusting = ssl.create_default_context(cafile=pki.ca("gateway"))
    reader, writer = await asyncio.open_connection(*name, ssl=trusting, server_hostname="localhost")
    assert b"x" == await ask(reader, writer)
    writer.transport.abort()
    await end(listener)
    await listener.replace(context(pki, "two"))
    assert [] == listener._servers


async def test_a_listener_that_is_closed_meanwhile_stays_closed(
    pki: DevelopmentPki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that begins to drain while its certificate is renewed listens no more afterwards."""
    listener = Listener(Echo, 5.0)
    name: Any = await listener.open(Listen("127.0.0.1", 0), tls=context(pki, "one"))
    serve = listener._serve

    async def slowly(listening: socket.socket, tls: ssl.SSLContext | None) -> asyncio.Server:
        server = await serve(listening, tls)
        listener.close()
        return server

    monkeypatch.setattr(listener, "_serve", slowly)
    await listener.replace(context(pki, "two"))

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", name[1])
