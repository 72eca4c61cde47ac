"""A thousand streams at once through one process, each whole and in order."""

from __future__ import annotations

import asyncio
import resource

import pytest

from gateway.wire.service import ConnectionBounds
from tests.wire.world import CHUNKED, Connection, World, world

STREAMS = 1000
EVENTS = 10


@pytest.fixture
def _files() -> None:
    """Four sockets per stream."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * STREAMS + 500
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


@pytest.mark.slow
@pytest.mark.usefixtures("_files")
async def test_a_thousand_streams() -> None:
    """All of them are open together; nobody gets another's events."""
    everybody = asyncio.Event()  # nobody's stream ends before all have begun
    peak = 0

    async def stream(connection: Connection) -> None:
        number = (await connection.request()).split()[1][1:]
        connection.write(CHUNKED)
        if len(connection.backend.requests) == STREAMS:
            everybody.set()
        for turn in range(EVENTS):
            event = b"data: %b-%d\n\n" % (number, turn)
            connection.write(b"%x\r\n%b\r\n" % (len(event), event))
            await everybody.wait()
            await asyncio.sleep(0.02)
        connection.write(b"0\r\n\r\n")

    async def one(made: World, number: int) -> bytes:
        nonlocal peak
        client = await made.client(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        await client.until(b"\r\n\r\n")
        await everybody.wait()
        peak = max(peak, made.service.active)
        body = b""
        while size := int(await client.until(b"\r\n"), 16):
            body += (await client.read(size + 2))[:-2]
        client.close()
        return body

    limits = ConnectionBounds(connections_per_address=STREAMS)
    async with world(stream, limits=limits, settings={"connections": STREAMS}) as made:
        bodies = await asyncio.gather(*(one(made, number) for number in range(STREAMS)))
        await made.settled()

        assert [
            b"".join(b"data: %d-%d\n\n" % (number, turn) for turn in range(EVENTS))
            for number in range(STREAMS)
        ] == bodies
        assert STREAMS == peak
        assert 0 == made.service.active
