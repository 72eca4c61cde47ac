"""Requests that go well, over real sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.wire.world import CHUNKED, OK, Connection, world

if TYPE_CHECKING:
    from pathlib import Path

POST = b"POST /v1?q=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_a_request_and_its_answer() -> None:
    """The backend gets a request built anew; the client an answer framed anew, with a date."""
    async with world() as made:
        status, fields, body = await made.ask(POST)

        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        assert (200, b"ok", b"2") == (status, body, fields[b"content-length"])
        assert fields[b"date"].endswith(b" GMT")
        assert [
            b"POST /v1?q=1 HTTP/1.1\r\nHost: backend\r\nContent-Length: 5\r\n\r\nhello"
        ] == made.backend.requests


async def test_a_chunked_request_leaves_with_a_length() -> None:
    """Chunks, extensions and trailers stay here."""
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n"
    async with world() as made:
        await made.ask(raw)

        assert [
            b"POST / HTTP/1.1\r\nHost: backend\r\nContent-Length: 5\r\n\r\nhello"
        ] == made.backend.requests


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Each with its own answer, over one connection to the backend."""

    async def echo(connection: Connection) -> None:
        while True:
            path = (await connection.request()).split()[1]
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    async with world(echo) as made:
        client = await made.client(
            b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % each for each in range(20))
        )
        bodies = [(await client.answer())[2] for _ in range(20)]

        assert [b"/%d" % each for each in range(20)] == bodies
        assert 1 == made.backend.connections


async def test_a_stream_comes_piece_by_piece() -> None:
    """Each piece before the next is written; trailers of the backend are dropped."""
    step = asyncio.Event()

    async def stream(connection: Connection) -> None:
        await connection.request()
        connection.write(CHUNKED)
        for _ in range(3):
            connection.write(b"7\r\ndata: x\r\n")
            await step.wait()
            step.clear()
        connection.write(b"0\r\nX-Trailer: 1\r\n\r\n")

    async with world(stream) as made:
        client = await made.client(GET)
        await client.until(b"\r\n\r\n")
        for _ in range(3):
            assert b"7\r\ndata: x\r\n" == await client.read(12)
            step.set()

        assert b"0\r\n\r\n" == await client.read(5)


async def test_an_answer_until_close_becomes_chunked() -> None:
    """The client's connection goes on."""

    async def until_close(connection: Connection) -> None:
        await connection.request()
        connection.write(b"HTTP/1.0 200 OK\r\n\r\nhello")

    async with world(until_close) as made:
        client = await made.client(GET)
        first = await client.answer()
        client.write(GET)
        second = await client.answer()

        assert first[2] == second[2] == b"hello"
        assert b"chunked" == first[1][b"transfer-encoding"]
        assert 2 == made.backend.connections


@pytest.mark.parametrize(
    ("method", "answer", "expected"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304),
    ],
)
async def test_answers_without_a_body(method: bytes, answer: bytes, expected: int) -> None:
    """Their end is the end of their head, on both sides."""

    async def bodyless(connection: Connection) -> None:
        while True:
            await connection.request()
            connection.write(answer)

    async with world(bodyless) as made:
        client = await made.client(method + GET[3:])
        first = await client.until(b"\r\n\r\n")
        client.write(method + GET[3:])
        second = await client.until(b"\r\n\r\n")

        assert first.startswith(b"HTTP/1.1 %d" % expected)
        assert second.startswith(b"HTTP/1.1 %d" % expected)
        assert b"chunked" not in first
        assert ["served", "served"] == made.line.ended


async def test_http_1_0_gets_its_answer_and_a_close() -> None:
    """Also a stream: unframed, ended by the close."""

    async def stream(connection: Connection) -> None:
        await connection.request()
        connection.write(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")

    async with world(stream) as made:
        client = await made.client(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = await client.all()

        assert answer.endswith(b"Connection: close\r\n\r\nabc")
        assert b"chunked" not in answer


async def test_continue_is_said_when_the_line_asks_for_the_body() -> None:
    """Not before (RFC 9110, section 10.1.1)."""
    async with world() as made:
        hold = made.line.hold = asyncio.get_running_loop().create_future()
        client = await made.client(POST[:-5].replace(b"Host", b"Expect: 100-continue\r\nHost"))
        await asyncio.sleep(0.02)

        assert b"" == bytes(client.reader._buffer)  # type: ignore[attr-defined]

        hold.set_result(None)

        assert b"HTTP/1.1 100 Continue\r\n\r\n" == await client.until(b"\r\n\r\n")

        client.write(b"hello")

        assert 200 == (await client.answer())[0]
        assert b"xpect" not in made.backend.requests[0]


async def test_a_backend_on_a_unix_socket(tmp_path: Path) -> None:
    """No port, no address, no network to check."""
    async with world(path=tmp_path / "s") as made:
        assert 200 == (await made.ask(POST))[0]


async def test_clients_share_connections_and_nothing_else() -> None:
    """A hundred clients, a few connections, every answer to the one who asked."""

    async def echo(connection: Connection) -> None:
        while True:
            path = (await connection.request()).split()[1]
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    async def one(number: int) -> bytes:
        return (await made.ask(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number))[2]

    async with world(echo) as made:
        for start in range(0, 100, 10):
            bodies = await asyncio.gather(*(one(start + each) for each in range(10)))

            assert [b"/%d" % (start + each) for each in range(10)] == list(bodies)

        assert made.backend.connections <= 20


async def test_an_answer_before_the_whole_request_was_taken() -> None:
    """A backend that refuses early is heard, and its connection not used again."""

    async def early(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        connection.write(OK.replace(b"200 OK", b"413 No\r\nConnection: close"))

    async with world(early) as made:
        body = b"x" * 500_000
        status, _, _ = await made.ask(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

        assert 413 == status
