"""Clients that vanish, stall, flood or never read: what they cost, and what the others notice."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.core.route import Bounds
from gateway.wire.flood import Flood, Floodgate
from gateway.wire.service import ConnectionBounds, Timeouts
from tests.wire.world import CHUNKED, OK, Client, Connection, World, world

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
SOON = 0.1  # seconds within which a backend sees that its client is gone


class Gone:
    """Backends that write down when they saw the end."""

    def __init__(self, *packets: bytes) -> None:
        self.packets = packets
        self.times: list[float] = []

    async def __call__(self, connection: Connection) -> None:
        """Read one request, write the packets, wait for the end."""
        await connection.request()
        for packet in self.packets:
            connection.write(packet)
        self.times.append(await connection.gone())


@pytest.mark.parametrize("how", ["reset", "close", "half-close"])
@pytest.mark.parametrize("packets", [[], [CHUNKED], [CHUNKED + b"3\r\nabc\r\n"]])
async def test_a_vanished_client_ends_the_backend_s_work(how: str, packets: list[bytes]) -> None:
    """While the head is awaited and within the stream; a half-closed client counts as gone."""
    backend = Gone(*packets)
    async with world(backend) as made:
        client = await made.client(GET)
        await made.arrived()
        if packets:
            await client.until(b"\r\n\r\n")
        left = time.monotonic()
        if how == "reset":
            client.reset()
        elif how == "close":
            client.close()
        else:
            client.writer.write_eof()

        assert ["client-gone"] == await made.ended()

        await made.settled()
        async with asyncio.timeout(1):
            while not backend.times:
                await asyncio.sleep(0.001)

        assert backend.times[0] - left < SOON


async def test_a_client_that_vanishes_within_its_body_leaves_nothing() -> None:
    """The backend never hears of it; the memory is free again."""
    async with world() as made:
        client = await made.client(POST[:-1])
        while made.service.body_memory != 4:
            await asyncio.sleep(0.001)
        client.reset()

        assert ["client-gone"] == await made.ended()

        await made.settled()

        assert (0, 0) == (made.service.body_memory, made.backend.connections)


async def good_clients_are_served(made: World) -> None:
    """The others do not notice."""
    began = time.monotonic()
    for _ in range(20):
        assert 200 == (await made.ask(POST))[0]

    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("first", "more", "says"),
    [
        (b"", b"", b""),
        (GET[:10], b"", b"head-timeout"),
        (GET[:-2], b"X: y\r\n", b"head-timeout"),
        (POST[:-4], b"", b"body-timeout"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", b"body-timeout"),
    ],
)
async def test_slow_senders_lose_their_connections(first: bytes, more: bytes, says: bytes) -> None:
    """A hundred of them, dripping; each is told why; everybody else is served meanwhile."""
    timeouts = Timeouts(head=0.4, keep_alive=0.4)
    async with world(timeouts=timeouts, bounds=Bounds(body_time=0.4)) as made:
        slow = [await made.client(first) for _ in range(100)]

        async def drip() -> None:
            while more:
                for client in slow:
                    client.write(more)
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        began = time.monotonic()
        await good_clients_are_served(made)
        ends = []
        for client in slow:
            try:
                ends.append(await client.all())
            except ConnectionResetError:  # it wrote on after its answer: that can destroy it
                ends.append(says)
        dripping.cancel()

        assert time.monotonic() - began < 0.4 + 0.25 + 1.5
        assert all(end.endswith(says) and bool(end) == bool(says) for end in ends)
        assert not made.service.body_memory
        assert not made.backend.broken


async def test_a_reader_that_stops_pauses_the_backend() -> None:
    """The gateway holds little; when it reads on, nothing is missing."""
    piece = b"x" * 65_536
    total = 400  # 25 MiB, more than all socket buffers together

    class Backend:
        sent = 0

        async def __call__(self, connection: Connection) -> None:
            await connection.request()
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * total))
            for _ in range(total):
                connection.write(piece)
                await connection.writer.drain()
                self.sent += 1
            await connection.gone()

    backend = Backend()
    async with world(backend) as made:
        client = await made.client(GET)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await made.arrived()
        before = -1
        while before != backend.sent:
            before = backend.sent
            await asyncio.sleep(0.1)
        held = max(
            each._transport.get_write_buffer_size() for each in made.service.connections if each._transport
        )

        assert backend.sent < total * 0.8
        assert held < 1024 * 1024

        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await client.until(b"\r\n\r\n")

        assert len(piece) * total == len(await client.read(len(piece) * total))


async def test_a_reader_that_stays_away_loses_its_connection() -> None:
    """And its backend the work."""

    async def endless(connection: Connection) -> None:
        await connection.request()
        connection.write(CHUNKED)
        while True:
            connection.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await connection.writer.drain()

    async with world(endless, timeouts=Timeouts(write=0.3)) as made:
        client = await made.client(GET)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]

        assert ["client-too-slow"] == await made.ended()

        await made.settled()

        assert 0 == sum(made.pool.connections().values())


async def test_a_client_that_asks_and_never_reads_costs_little() -> None:
    """Its requests are not read on while its answers wait."""

    async def large(connection: Connection) -> None:
        while True:
            await connection.request()
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)

    async with world(large, timeouts=Timeouts(write=0.5)) as made:
        client = await made.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.write(GET * 5000)
        held = 0
        async with asyncio.timeout(5):
            while made.service.connections or not made.backend.requests:
                for each in made.service.connections:
                    held = max(held, each._transport.get_write_buffer_size() if each._transport else 0)
                await asyncio.sleep(0.01)

        assert len(made.backend.requests) < 1000
        assert held < 1024 * 1024


async def cut(client: Client) -> bytes:
    """What a connection says before it is closed or reset, as the kernel likes."""
    try:
        return await client.all()
    except ConnectionResetError:
        return b""


async def refused(client: Client, word: bytes) -> None:
    """Answered once, with that word, and closed."""
    answer = await client.all()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert 1 == answer.count(b"HTTP/1.1 ")
    assert answer.endswith(word)


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", b"head-too-large"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"x%d: y\r\n" % each for each in range(64)) + b"\r\n",
            b"head-too-large",
        ),
        (b"GET /" + b"y" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"target-refused"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", b"body-too-large"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024,
            b"body-too-large",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 50_000,
            b"framing-refused",
        ),
    ],
)
async def test_what_is_too_large_is_refused_and_never_reaches_a_backend(raw: bytes, word: bytes) -> None:
    """Before it is all read; the client can still read the answer."""
    async with world(bounds=Bounds(body=1000)) as made:
        await refused(await made.client(raw), word)

        assert 0 == made.backend.connections


async def test_bodies_of_all_connections_together_are_bounded() -> None:
    """The one too many is refused; room that is given back is used again."""
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n" + b"x" * 60
    async with world(limits=ConnectionBounds(body_memory=100)) as made:
        first = await made.client(raw[:-1])
        while made.service.body_memory != 59:
            await asyncio.sleep(0.001)
        await refused(await made.client(raw[:-1]), b"overloaded")
        first.write(b"x")

        assert 200 == (await first.answer())[0]
        assert 200 == (await made.ask(raw))[0]


async def test_a_flood_from_one_address_is_held_back() -> None:
    """One request more is told so and closes the connection; the next connection is cut."""
    async with world(floodgate=Floodgate(Flood(4, 600.0))) as made:
        client = await made.client()
        for _ in range(3):
            client.write(GET)
            assert 200 == (await client.answer())[0]
        client.write(GET)
        await refused(client, b"flooded")

        assert b"" == await cut(await made.client(GET))
        assert 3 == len(made.backend.requests)
        assert 2 == getattr(made.service.floodgate, "refused", None)


async def test_who_sends_nonsense_too_often_is_cut() -> None:
    """Bytes that are no request."""
    async with world(floodgate=Floodgate(failures=Flood(2, 600.0))) as made:
        for _ in range(2):
            await refused(await made.client(b"GET / HTTP/1.1\r\n\r\n"), b"host-refused")

        assert b"" == await cut(await made.client(GET))


async def test_who_proves_nothing_too_often_is_cut() -> None:
    """By the gateway's own 401; one of the backend is none of the client's doing."""

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            connection.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    async with world(script, floodgate=Floodgate(failures=Flood(2, 600.0))) as made:
        for _ in range(4):
            assert 401 == (await made.ask(GET))[0]
        made.line.is_open = False
        for _ in range(2):
            assert 401 == (await made.ask(GET))[0]

        assert b"" == await cut(await made.client(GET))


async def test_connections_from_one_address_are_bounded() -> None:
    """The one too many is cut; when one leaves, another may come."""
    async with world(limits=ConnectionBounds(connections_per_address=2)) as made:
        first, second = await made.client(), await made.client()
        third = await made.client(GET)

        assert b"" == await cut(third)
        assert 0 == made.backend.connections

        first.close()
        while len(made.service.connections) > 1:
            await asyncio.sleep(0.001)

        assert 200 == (await made.ask(GET))[0]

        second.close()


async def test_an_idle_connection_is_closed_in_silence() -> None:
    """After the time for keeping it."""
    async with world(timeouts=Timeouts(keep_alive=0.2)) as made:
        client = await made.client(GET)
        await client.answer()

        assert b"" == await client.all()


async def test_draining_lets_requests_end_and_closes() -> None:
    """Idle connections at once, busy ones after their answer, new ones not at all."""
    step = asyncio.Event()

    async def stream(connection: Connection) -> None:
        await connection.request()
        connection.write(CHUNKED + b"1\r\na\r\n")
        await step.wait()
        connection.write(b"1\r\nb\r\n0\r\n\r\n")

    async with world(stream) as made:
        idle = await made.client()
        busy = await made.client(GET)
        await busy.until(b"\r\n\r\n")
        made.service.drain()

        assert b"" == await idle.all()

        late = await made.client(GET)

        assert b"" == await cut(late)

        step.set()

        assert b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n" == await busy.all()
        assert ["served"] == made.line.ended


async def test_abort_cuts_what_is_left() -> None:
    """When the time to drain is over; the backend hears of it."""
    backend = Gone(CHUNKED)
    async with world(backend) as made:
        client = await made.client(GET)
        await client.until(b"\r\n\r\n")
        made.service.abort()

        assert ["client-gone"] == await made.ended()

        assert b"" == await cut(client)

        await made.settled()


async def test_the_last_answer_can_be_read_while_the_client_still_writes() -> None:
    """Closed in two steps, so that no reset destroys it (RFC 9112, section 9.6)."""
    async with world(bounds=Bounds(body=1000)) as made:
        client = await made.client(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 1_000_000
        )

        await refused(client, b"body-too-large")


async def test_answers_are_whole_for_clients_that_leave_after_them() -> None:
    """A client that writes, half-closes and reads gets nothing more than what was ready."""

    async def instant(connection: Connection) -> None:
        await connection.request()
        connection.write(OK)

    async with world(instant) as made:
        client = await made.client(GET)
        status, _, body = await client.answer()
        client.writer.write_eof()

        assert (200, b"ok") == (status, body)
        assert b"" == await client.all()
