"""TLS on both sides, with certificates of the development authority."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gateway.credentials.development import DevelopmentPki
from tests.wire.world import CHUNKED, Connection, serve_ok, world

if TYPE_CHECKING:
    from pathlib import Path

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


class Contexts(NamedTuple):
    """One context for each end."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    backend: ssl.SSLContext
    to_backend: ssl.SSLContext


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """Mutual TLS on both sides."""
    directory = tmp_path_factory.mktemp("pki")
    pki = DevelopmentPki(directory)
    pki.init()
    made = {
        "server": pki.issue("server", "server"),
        "client": pki.issue("client", "client"),
        "backend": pki.issue("backend", "backend"),
        "to-backend": pki.issue("to-backend", "client", authority="backends"),
    }

    def context(name: str, purpose: ssl.Purpose, ca: Path) -> ssl.SSLContext:
        one = ssl.create_default_context(purpose, cafile=str(ca))
        one.load_cert_chain(made[name].certificate, made[name].key)
        one.verify_mode = ssl.CERT_REQUIRED
        return one

    return Contexts(
        context("server", ssl.Purpose.CLIENT_AUTH, pki.ca("clients")),
        context("client", ssl.Purpose.SERVER_AUTH, pki.ca("gateway")),
        context("backend", ssl.Purpose.CLIENT_AUTH, pki.ca("backends")),
        context("to-backend", ssl.Purpose.SERVER_AUTH, pki.ca("backends")),
    )


async def test_mutual_tls_on_both_sides(tls: Contexts) -> None:
    """Requests, streams and refusals are the same as without."""

    async def stream(connection: Connection) -> None:
        while True:
            await connection.request()
            connection.write(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")

    endpoint = {"tls": tls.to_backend, "server_name": "localhost"}
    async with world(
        stream, server_tls=tls.server, client_tls=tls.client, backend_tls=tls.backend, endpoint=endpoint
    ) as made:
        client = await made.client(POST + GET)

        assert b"abc" == (await client.answer())[2]
        assert b"abc" == (await client.answer())[2]

        client.write(b"NONSENSE\r\n\r\n")

        assert (await client.all()).endswith(b"method-refused")
        assert 1 == made.backend.connections


async def test_a_backend_with_another_name_is_refused(tls: Contexts) -> None:
    """Nothing is sent to it."""
    endpoint = {"tls": tls.to_backend, "server_name": "other.example"}
    async with world(backend_tls=tls.backend, endpoint=endpoint) as made:
        assert b"backend-tls" == (await made.ask(GET))[2]
        assert not made.backend.requests


async def test_a_backend_without_tls_is_refused(tls: Contexts) -> None:
    """What answers in the clear is not the backend."""
    endpoint = {"tls": tls.to_backend, "server_name": "localhost"}

    async def clear(connection: Connection) -> None:
        await connection.reader.read(1)
        connection.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with world(clear, endpoint=endpoint) as made:
        assert (await made.ask(GET))[2] in {b"backend-tls", b"backend-unreachable"}


@pytest.mark.parametrize(("is_right", "word"), [(True, b"ok"), (False, b"backend-tls")])
async def test_a_backend_proves_an_identity(tls: Contexts, is_right: bool, word: bytes) -> None:
    """Checked by a function, on the certificate that the handshake proved."""
    seen = []

    def verify(certificate: bytes) -> None:
        seen.append(certificate)
        if not is_right:
            raise ValueError("another workload")

    context = tls.to_backend
    context.check_hostname = False
    try:
        endpoint = {"tls": context, "verify": verify}
        async with world(serve_ok, backend_tls=tls.backend, endpoint=endpoint) as made:
            assert word == (await made.ask(GET))[2]
            assert b"\x30\x82" == seen[0][:2]
            assert is_right == bool(made.backend.requests)
    finally:
        context.check_hostname = True


async def test_a_vanished_tls_client_ends_the_backend_s_work(tls: Contexts) -> None:
    """With a notice or without."""
    times = []

    async def stream(connection: Connection) -> None:
        await connection.request()
        connection.write(CHUNKED)
        times.append(await connection.gone())

    async with world(stream, server_tls=tls.server, client_tls=tls.client) as made:
        for how in ("reset", "close"):
            client = await made.client(GET)
            await client.until(b"\r\n\r\n")
            getattr(client, how)()
            await made.settled()
        async with asyncio.timeout(1):
            while len(times) < 2:
                await asyncio.sleep(0.001)

        assert ["client-gone"] * 2 == made.line.ended


async def test_a_client_without_a_certificate_stays_outside(tls: Contexts) -> None:
    """Before a byte of HTTP."""
    stranger = ssl.create_default_context()
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    async with world(server_tls=tls.server, client_tls=stranger) as made:
        # with TLS 1.3 the client's handshake is over before the server has refused it
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            client = await made.client(GET)

            assert b"" == await client.all()

        assert not made.service.connections
        assert not made.backend.requests
