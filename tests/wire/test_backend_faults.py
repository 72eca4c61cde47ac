"""Backends that die, lie or fall silent, at every point of an exchange."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.route import Bounds
from tests.wire.world import CHUNKED, OK, PATIENCE, Connection, serve_ok, world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


def saying(*packets: bytes, dies: bool = True) -> Callable[[Connection], Awaitable[Any]]:
    """A backend that reads one request, writes packets and then closes (or waits)."""

    async def script(connection: Connection) -> None:
        await connection.request()
        for packet in packets:
            connection.write(packet)
            await asyncio.sleep(0)
        if not dies:
            await connection.gone()

    return script


async def dead_on_arrival(connection: Connection) -> None:
    """Close before a byte."""
    connection.die()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (dead_on_arrival, "backend-died"),
        (saying(), "backend-died"),
        (saying(b"HTTP/1.1 200"), "backend-died"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Le"), "backend-died"),
        (saying(b"HTTP/1.1 100 Continue\r\n\r\n"), "backend-died"),
        (saying(b"HTTP/1.1 103 Early\r\n\r\n" * 9, dies=False), "backend-protocol"),
        (saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", dies=False), "backend-protocol"),
        (saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, dies=False), "backend-protocol"),
        (saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n", dies=False), "backend-protocol"),
        (saying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, dies=False), "backend-protocol"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", dies=False), "backend-protocol"),
        (saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx", dies=False), "backend-protocol"),
        (saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", dies=False), "backend-protocol"),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n", dies=False), "backend-protocol"),
        (saying(CHUNKED + b"nonsense\r\n", dies=False), "backend-protocol"),
    ],
)  # fmt: skip
async def test_before_the_answer_has_begun_the_client_gets_a_refusal(
    script: Callable[[Connection], Awaitable[Any]], reason: str
) -> None:
    """Whole and in order; its connection goes on."""
    async with world(script) as made:
        client = await made.client(POST)
        status, _, body = await client.answer()

        # a connection that dies as it is made may do so before or after the request is written
        assert body.decode() in {reason, "backend-unreachable" if script is dead_on_arrival else reason}
        assert 502 == status

        client.write(POST)

        assert 502 == (await client.answer())[0]


@pytest.mark.parametrize(
    "packets",
    [
        [CHUNKED],
        [CHUNKED + b"3\r\nabc\r\n"],
        [CHUNKED + b"3\r\nabc\r\n", b"5\r\nde"],
        [CHUNKED + b"3\r\nabc\r\n", b"zz\r\n"],
        [CHUNKED + b"3\r\nabc\r\n", b"0\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"],
    ],
)
async def test_after_it_has_begun_the_client_sees_a_truncation(packets: list[bytes]) -> None:
    """No last chunk, short of its length: never a clean end."""
    head, *rest = packets

    async def script(connection: Connection) -> None:
        await connection.request()
        connection.write(head)
        await asyncio.sleep(0.01)  # so that the client has the head before the connection breaks
        for packet in rest:
            connection.write(packet)

    async with world(script) as made:
        client = await made.client(GET)
        answer = await client.all()

        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert not answer.endswith(b"0\r\n\r\n")
        assert b"chunked" not in answer or answer.endswith(b"\r\nevent: error\n\n\r\n")
        assert made.line.refused[0] in {"backend-died", "backend-protocol"}


async def test_a_broken_stream_to_http_1_0_ends_in_a_reset() -> None:
    """Its only framing is the end of the connection."""

    async def script(connection: Connection) -> None:
        await connection.request()
        connection.write(CHUNKED + b"3\r\nabc\r\n")
        await asyncio.sleep(0.01)

    async with world(script) as made:
        client = await made.client(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await client.all()


@pytest.mark.parametrize("excess", [OK, b"x", b"HTTP/1.1 200 OK\r\n"])
async def test_a_second_answer_never_reaches_the_next_client(excess: bytes) -> None:
    """The connection that brought it is closed."""

    async def script(connection: Connection) -> None:
        await connection.request()
        connection.write(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + excess.replace(b"ok", b"EVIL"))
        await connection.gone()

    async with world(script) as made:
        for _ in range(3):
            assert b"abc" == (await made.ask(GET))[2]

        assert 3 == made.backend.connections


@pytest.mark.parametrize(("raw", "status", "sent"), [(GET, 200, 3), (POST, 502, 2)])
async def test_a_stale_connection_is_the_normal_case(raw: bytes, status: int, sent: int) -> None:
    """The backend took the second request and closed: a GET is sent once more, a POST is not."""

    async def script(connection: Connection) -> None:
        await connection.request()
        connection.write(OK)
        if connection.backend.connections == 1:
            await connection.request()
            connection.die()

    async with world(script) as made:
        await made.ask(raw)
        answer = await made.ask(raw)

        assert status == answer[0]
        assert sent == len(made.backend.requests)


async def test_an_idle_connection_that_the_backend_closed_is_not_used() -> None:
    """It is forgotten when it closes; nothing fails."""

    async def script(connection: Connection) -> None:
        await connection.request()
        connection.write(OK)

    async with world(script) as made:
        for _ in range(3):
            assert 200 == (await made.ask(POST))[0]
            while any(made.pool.connections().values()):
                await asyncio.sleep(0.001)

        assert 3 == made.backend.connections


async def test_an_idle_connection_is_closed_before_the_backend_would() -> None:
    """Less than its own limit, so that no request meets a closing connection."""
    async with world(settings={"keep_alive": 0.1}) as made:
        await made.ask(POST)
        async with asyncio.timeout(2):
            while any(made.pool.connections().values()):
                await asyncio.sleep(0.01)


async def test_nobody_listens() -> None:
    """Refused at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        async with world(endpoint={"port": probe.getsockname()[1]}) as made:
            status, _, body = await made.ask(POST)

            assert (502, b"backend-unreachable") == (status, body)


@pytest.mark.parametrize(
    ("packets", "bounds", "reason"),
    [
        ([], Bounds(first_byte=0.1), "backend-timeout"),
        ([b"HTTP/1.1 200 OK\r\n"], Bounds(first_byte=0.1), "backend-timeout"),
        ([CHUNKED], Bounds(idle=0.1), "backend-timeout"),
        ([CHUNKED + b"1\r\nx\r\n"], Bounds(idle=0.1), "backend-timeout"),
        ([CHUNKED + b"1\r\nx\r\n"], Bounds(answer_time=0.1), "answer-too-long"),
        ([CHUNKED + b"1\r\nx\r\n" * 50], Bounds(answer=10), "answer-too-large"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"], Bounds(answer=10), "answer-too-large"),
    ],
)
async def test_answers_have_bounds(packets: list[bytes], bounds: Bounds, reason: str) -> None:
    """Head, silence, length and time; met up to a quarter of a second late."""
    async with world(saying(*packets, dies=False), bounds=bounds) as made:
        client = await made.client(POST)
        began = asyncio.get_running_loop().time()
        ended = await made.ended()

        assert [reason] == ended
        assert asyncio.get_running_loop().time() - began < 0.1 + 0.25 + 0.3
        client.close()


async def test_a_name_that_resolves_elsewhere_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address must be in the backend's networks, before a packet is sent."""

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET, 1, 6, "", ("127.0.0.1", port)),
            (socket.AF_INET, 1, 6, "", ("169.254.169.254", port)),
        ]

    async with world(
        endpoint={"host": "backend.example"}, settings={"networks": (ip_network("127.0.0.0/8"),)}
    ) as made:
        endpoint = made.pool._endpoints["b"][0]

        class Loop:
            def __getattr__(self, name: str) -> Any:
                return getattr(asyncio.get_running_loop(), name)

        loop = Loop()
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo, raising=False)
        monkeypatch.setattr(endpoint, "_loop", loop)

        assert b"backend-address-refused" == (await made.ask(POST))[2]
        assert 0 == made.backend.connections


async def test_a_flood_of_requests_meets_the_bound_on_connections() -> None:
    """Refused at once where nobody may wait."""
    async with world(saying(dies=False), settings={"connections": 3, "queue": 0}) as made:
        clients = [await made.client(POST) for _ in range(3)]
        await made.arrived(3)

        assert b"backend-busy" == (await made.ask(POST))[2]

        for client in clients:
            client.reset()
        await made.settled()


async def test_requests_beyond_what_a_backend_serves_wait() -> None:
    """Each goes out when another has its answer, or its client has gone, and not before."""
    turns: asyncio.Queue[None] = asyncio.Queue()

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await turns.get()
            connection.write(OK)

    async with world(script, settings={"requests": 1, "queue": 2, "queue_time": 60.0}) as made:
        first = await made.client(POST)
        await made.arrived(1)
        waiting = [await made.client(POST), await made.client(POST)]
        (turnstile,) = made.pool.turnstiles
        async with asyncio.timeout(PATIENCE):
            while turnstile.waiting < 2:
                await asyncio.sleep(0.005)

        assert b"backend-busy" == (await made.ask(POST))[2]
        assert 1 == len(made.backend.requests)

        waiting[0].reset()
        await made.ended(2)
        turns.put_nowait(None)
        assert b"ok" == (await first.answer())[2]
        await made.arrived(2)
        turns.put_nowait(None)
        assert b"ok" == (await waiting[1].answer())[2]
        assert ["backend-busy", "client-gone", "served", "served"] == await made.ended(4)
        assert (2, 1, 0, 1) == (
            len(made.backend.requests),
            turnstile.waited,
            turnstile.running,
            turnstile.shed,
        )


@pytest.mark.parametrize("script", [dead_on_arrival, saying(), saying(CHUNKED + b"1\r\nx\r\n"), serve_ok])
async def test_a_place_at_a_backend_comes_back(script: Callable[[Connection], Awaitable[Any]]) -> None:
    """However an exchange ended: sixteen pass through the only place, one after the other."""
    async with world(script, settings={"requests": 1, "queue": 16, "queue_time": 60.0}) as made:
        for _ in range(16):
            await made.client(POST)
        await made.ended(16)

        (turnstile,) = made.pool.turnstiles
        assert (0, 0) == (turnstile.running, turnstile.waiting)
        assert "backend-busy" not in made.line.ended


async def test_connections_are_kept_apart_by_the_answers_they_had() -> None:
    """What one client's answer left over is never read by another."""

    async def script(connection: Connection) -> None:
        request = await connection.request()
        if request.startswith(b"GET /first"):
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokLEFTOVER")
            await connection.gone()
            return
        connection.write(OK)
        await serve_ok(connection)

    async with world(script) as made:
        bodies = [
            (await made.ask(GET.replace(b"/", path, 1)))[2] for path in (b"/first", b"/", b"/first", b"/")
        ]

        assert [b"ok"] * 4 == bodies
