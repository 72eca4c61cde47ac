"""The sidecar lets the gateway's certificate through to the model, and nothing else."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import pytest

from gateway.cli.demo import sidecar
from gateway.cli.demo.children import Children
from gateway.credentials.development import DevelopmentPki, Issued

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Model: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ALLOWED = "spiffe://demo.example/gateway"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentPki:
    """Authorities, a model server, the gateway, and three others."""
    made = DevelopmentPki(tmp_path_factory.mktemp("pki"))
    made.init()
    made.issue("model", "backend", dns=["localhost"], spiffe="spiffe://demo.example/backend/smollm2")
    made.issue("gateway", "client", authority="backends", spiffe=ALLOWED)
    made.issue("neighbour", "client", authority="backends", spiffe="spiffe://demo.example/other")
    made.issue("nameless", "client", authority="backends")
    made.issue("alice", "client", spiffe=ALLOWED)
    return made


def client(pki: DevelopmentPki, name: str | None) -> ssl.SSLContext:
    """Make a client context that shows one certificate, or none."""
    made = ssl.create_default_context(cafile=str(pki.ca("backends")))
    if name is not None:
        made.load_cert_chain(pki.directory / f"{name}.pem", pki.directory / f"{name}.key")
    return made


@asynccontextmanager
async def running(pki: DevelopmentPki, model: Model) -> AsyncIterator[tuple[int, asyncio.Server]]:
    """Run a sidecar before a unix server whose connections `model` handles; yield its port and that server."""
    issued = Issued(pki.directory / "model.pem", pki.directory / "model.key")
    tls = sidecar.context(issued.certificate, issued.key, pki.ca("backends"))
    with tempfile.TemporaryDirectory() as private:  # a unix socket's path must be short
        path = f"{private}/m.sock"
        async with await asyncio.start_unix_server(model, path) as behind:
            front = await asyncio.start_server(partial(sidecar.serve, path, ALLOWED), "127.0.0.1", 0, ssl=tls)
            async with front:
                yield front.sockets[0].getsockname()[1], behind
            while len(asyncio.all_tasks()) > 1:  # let every connection end before the loop does
                await asyncio.sleep(0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what was said."""
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


async def connect(port: int, tls: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the sidecar."""
    return await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost")


async def test_the_gateway_s_certificate_passes(pki: DevelopmentPki) -> None:
    """Bytes go to the model and come back unchanged, more of them than one piece."""
    sent = bytes(range(256)) * 1000
    async with running(pki, echo) as (port, _):
        reader, writer = await connect(port, client(pki, "gateway"))
        writer.write(sent)
        came = await reader.readexactly(len(sent))
        writer.close()

    assert sent == came


@pytest.mark.parametrize("name", [None, "alice", "neighbour", "nameless"])
async def test_nobody_else_gets_a_byte_through(pki: DevelopmentPki, name: str | None) -> None:
    """No certificate, one of another authority, another workload's, one without a SPIFFE ID: all refused."""
    reached = []

    async def model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.read(1000))
        writer.close()

    came = b""
    async with running(pki, model) as (port, _):
        try:
            reader, writer = await connect(port, client(pki, name))
            writer.write(b"GET /v1/models HTTP/1.1\r\n\r\n")
            came = await reader.read()
            writer.close()
        except (ssl.SSLError, ConnectionError):
            pass

    assert b"" == came
    assert [] == reached


async def test_a_client_that_leaves_frees_the_model(pki: DevelopmentPki) -> None:
    """The model's side is closed as soon as the client's is: generating costs."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        begun.set()
        assert b"" == await reader.read(1000)
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with running(pki, model) as (port, _):
        _, writer = await connect(port, client(pki, "gateway"))
        writer.write(b"x")
        await begun.wait()
        writer.close()
        await writer.wait_closed()
        await ended.wait()

    assert ended.is_set()


async def test_a_model_that_closes_ends_the_client_s_connection(pki: DevelopmentPki) -> None:
    """What the model said arrives, then the end."""

    async def model(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.close()

    async with running(pki, model) as (port, _):
        reader, writer = await connect(port, client(pki, "gateway"))
        came = await reader.read()
        writer.close()

    assert b"bye" == came


async def test_a_model_that_is_gone_closes_the_connection(
    pki: DevelopmentPki, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing listens behind: the client is disconnected, and the log names the error's kind alone."""
    async with running(pki, echo) as (port, behind):
        behind.close()
        reader, writer = await connect(port, client(pki, "gateway"))
        came = await reader.read()
        writer.close()

    assert b"" == came
    assert capsys.readouterr().err.startswith("sidecar: ")


def test_the_program_says_its_port_and_ends_with_its_input(pki: DevelopmentPki, tmp_path: Path) -> None:
    """`ready PORT` is all it prints; closing its standard input ends it with success."""
    files = [str(pki.directory / name) for name in ("model.pem", "model.key", "backends-ca.pem")]
    with Children(tmp_path) as children:
        port = children.start_and_hear(
            "sidecar", "gateway.cli.demo.sidecar", "/nowhere.sock", ALLOWED, *files
        )
        process = children._running[0][1]
        assert process.stdin is not None
        process.stdin.close()
        code = process.wait(20)

    assert 0 < int(port) < 65536
    assert 0 == code
    assert "" == (tmp_path / "sidecar.log").read_text()
