"""A process as a worker, in this one: its supervisor is the test."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from gateway.app.door import Purpose, hand_in
from gateway.app.listening import Entrance
from gateway.app.process import Process
from gateway.app.report import Report, decode
from gateway.app.shares import share_of_worker
from gateway.app.supervised import Supervised
from gateway.config.addresses import Listen
from gateway.observe.chains import end_of
from tests.unit.app.settings import CLOCK
from tests.unit.app.test_process import ANSWER, ask, model, simple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.observe.log import LogSink
    from tests.unit.app.settings import Directory


class Bond:
    """The supervisor's half, by hand."""

    def __init__(self, door: socket.socket, name: str, process: Process, task: asyncio.Future[None]) -> None:
        self.door = door
        self.name = name
        self.process = process
        self.task = task

    async def report(self) -> Report:
        """Ask for a report."""
        reader, writer = await asyncio.open_connection(sock=hand_in(self.door, Purpose.REPORT))
        data = await reader.read()
        writer.close()
        return decode(data)

    async def admin(self, path: str) -> bytes:
        """Ask the worker's application."""
        reader, writer = await asyncio.open_connection(sock=hand_in(self.door, Purpose.ADMIN))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        data = await reader.read()
        writer.close()
        return data


@asynccontextmanager
async def bound(directory: Directory, sink: LogSink, text: str, listen: Listen) -> AsyncIterator[Bond]:
    """Run a worker until the end of the block."""
    entrance = Entrance(listen)
    sockets = entrance.open()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    compilation = share_of_worker(directory.compile(text), 1, 1)
    process = Process(compilation, CLOCK, sink, supervised=Supervised(theirs, sockets))
    task = asyncio.ensure_future(process.run())
    while not process._is_ready:
        await asyncio.sleep(0)
        if task.done():
            task.result()
    try:
        yield Bond(ours, entrance.name, process, task)
    finally:
        process.stop()
        await task
        for one in (ours, theirs, *sockets):
            one.close()
        entrance.close()


async def test_a_worker_serves_and_reports(directory: Directory, sink: LogSink) -> None:
    """On sockets that it was given, into a chain of its own; operators reach it through the door alone."""
    with capture_logs() as lines:
        async with (
            model(ANSWER) as port,
            bound(directory, sink, simple(port), Listen("127.0.0.1", 0)) as bond,
        ):
            answer = await ask(bond.name)
            reports = [await bond.report() for _ in range(2)]
            while (
                reports[-1].seq < 2
            ):  # whose chain it is, and the exchange: written and on disk after a moment
                reports.append(await bond.report())
            status = await bond.admin("/v1/status")
            addresses = dict(bond.process.addresses)
    path = directory.path / "audit/gateway.1.jsonl"

    assert answer.endswith(b"hi")
    assert {"serving": True, "audit": True, "state": True, "revocations": True} == reports[-1].parts
    assert (2, 32) == (reports[-1].seq, len(reports[-1].hash))
    assert 2 == end_of(path).seq
    assert any(family.name == "exchanges_total" for family in reports[0].families)
    assert status.startswith(b"HTTP/1.1 200 OK\r\n")
    assert ["listen"] == list(addresses)
    assert ["worker-ready", "draining"] == [line["event"] for line in lines]
    assert not (directory.path / "audit/gateway.jsonl").exists()


async def test_a_worker_on_a_unix_socket(directory: Directory, sink: LogSink, tmp_path: Path) -> None:
    """The same, where all workers share one socket."""
    path = tmp_path / "s"
    text = simple(listen=f"unix:{path}")
    async with bound(directory, sink, text, Listen("", 0, path)) as bond:
        answer = await ask(bond.name)

    assert answer.startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("drain", ["5s", "0s"])
async def test_a_worker_ends_with_its_supervisor(directory: Directory, sink: LogSink, drain: str) -> None:
    """It says so, and drains for two seconds at most."""
    with capture_logs() as lines:
        async with bound(directory, sink, simple(drain=drain), Listen("127.0.0.1", 0)) as bond:
            bond.door.close()
            await asyncio.wait_for(asyncio.shield(bond.task), 5)
    [draining] = [line for line in lines if line["event"] == "draining"]

    assert "supervisor-gone" in [line["event"] for line in lines]
    assert min(2.0, float(drain[:-1])) == draining["seconds"]


async def test_a_draining_worker_takes_nobody_new(directory: Directory, sink: LogSink) -> None:
    """Its listening sockets are closed at once, so that the kernel asks the others."""
    async with model(b"") as port:  # never answers
        async with bound(directory, sink, simple(port, drain="200ms"), Listen("127.0.0.1", 0)) as bond:
            host, number = bond.name.split(":")
            _, writer = await asyncio.open_connection(host, number)
            writer.write(b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n")
            bond.process.stop()
            while bond.process._listener._servers:
                await asyncio.sleep(0)
            is_draining = not bond.task.done()
            await bond.task
        writer.close()

    assert is_draining
