"""Proposals to workers: taken by all or by none, whatever one of them does instead of answering."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
import pytest

from gateway.app import agreement as agreements
from gateway.app.agreement import Agreement
from gateway.app.proposal import MAX_MESSAGE, Opinion, answer
from gateway.config.errors import ConfigurationError, Problem

WRONG = Problem("g.yaml", 3, 4, "x", "this is wrong", "mend it")


class Prepared:
    """What a worker has prepared."""

    def __init__(self, version: str) -> None:
        self.compilation = self
        self.version = version


class Worker:
    """A child and the process behind its door, both in this one."""

    def __init__(self, number: int, thinks: Any = "v2") -> None:
        self.number = number
        self.door, self.inside = socket.socketpair()
        self.is_serving = self.has_served = True
        self.code: int | None = None
        self.thinks = thinks
        self.did: list[str] = []
        self.task: asyncio.Task[None] | None = None
        asyncio.get_running_loop().add_reader(self.inside.fileno(), self._take)

    def _take(self) -> None:
        _, [descriptor], _, _ = socket.recv_fds(self.inside, 1, 1)
        connection = socket.socket(fileno=descriptor)
        connection.setblocking(False)
        if self.thinks == "nothing":
            connection.close()
        elif isinstance(self.thinks, bytes):
            connection.send(self.thinks)
            self.kept = connection
        else:
            self.task = asyncio.ensure_future(answer(connection, self))  # type: ignore[arg-type]

    async def consider(self, data: bytes) -> Prepared:
        self.did.append(data.decode())
        if isinstance(self.thinks, Exception):
            raise self.thinks
        return Prepared(self.thinks)

    def commit(self, prepared: Prepared) -> None:
        self.did.append(f"took {prepared.version}")

    async def discard(self, prepared: Prepared) -> None:
        self.did.append(f"let go of {prepared.version}")

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.inside.fileno())
        self.door.close()
        self.inside.close()
        if self.task is not None:
            await self.task
        if isinstance(self.thinks, bytes):
            self.kept.close()


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less of it."""
    monkeypatch.setattr(agreements, "OPINION_SECONDS", 0.3)
    monkeypatch.setattr(agreements, "TAKING_SECONDS", 0.3)


async def propose(*workers: Worker) -> tuple[Agreement, list[str]]:
    """Propose something; return what was said against it."""
    made = Agreement("g.yaml", "v2")
    try:
        await made.propose(workers, b"data")  # type: ignore[arg-type]
    except ConfigurationError as error:
        return made, [problem.message for problem in error.problems]
    return made, []


async def test_all_take_it() -> None:
    """Each is asked, and told once all have answered."""
    workers = [Worker(1), Worker(2)]
    made, said = await propose(*workers)
    before = [list(worker.did) for worker in workers]
    silent = await made.commit()
    for worker in workers:
        await worker.close()

    assert ([], []) == (said, silent)
    assert [["data"], ["data"]] == before
    assert [["data", "took v2"]] * 2 == [worker.did for worker in workers]


@pytest.mark.parametrize(
    ("thinks", "said"),
    [
        (ConfigurationError([WRONG]), "this is wrong"),
        (ZeroDivisionError("a secret"), "a fault of the gateway: ZeroDivisionError"),
        ("v3", "worker 2 found other schemas than the supervisor"),
        ("nothing", "worker 2 does not answer"),
        (b"", "worker 2 does not answer"),
        (b"\0\0\0\0\0\0\0\1\xc1", "worker 2 does not answer"),
        ((MAX_MESSAGE + 1).to_bytes(8, "big"), "worker 2 does not answer"),
    ],
)
@pytest.mark.usefixtures("patience")
async def test_none_takes_it(thinks: Any, said: str) -> None:
    """One that cannot, that breaks, that says nothing, that says nonsense: the others let go of it."""
    workers = [Worker(1), Worker(2, thinks), Worker(3)]
    made, heard = await propose(*workers)
    made.discard()
    for worker in workers:
        await worker.close()

    assert [said] == heard
    assert ["data", "let go of v2"] == workers[0].did == workers[2].did
    assert "took" not in str(workers[1].did)


async def test_the_same_objection_is_said_once() -> None:
    """However many workers have it."""
    workers = [Worker(number, ConfigurationError([WRONG])) for number in (1, 2, 3)]
    made, heard = await propose(*workers)
    made.discard()
    for worker in workers:
        await worker.close()

    assert ["this is wrong"] == heard


@pytest.mark.usefixtures("patience")
async def test_who_is_ending_holds_nobody_up() -> None:
    """One that drains and does not answer, one that is dead; but not one that has only begun."""
    draining, dead, fresh = Worker(1, b""), Worker(2), Worker(3, b"")
    draining.is_serving = False
    await dead.close()
    dead.door, dead.inside = socket.socketpair()
    dead.inside.close()
    dead.code = 1
    made, heard = await propose(draining, dead)
    made.discard()
    fresh.is_serving = fresh.has_served = False
    dead.code = None
    other, objections = await propose(fresh, dead)
    other.discard()
    dead.door.close()
    await draining.close()
    await fresh.close()

    assert [] == heard
    assert ["worker 2 takes nothing any more", "worker 3 does not answer"] == sorted(objections)


@pytest.mark.usefixtures("patience")
async def test_who_does_not_say_that_it_has_taken_it() -> None:
    """It is named: nobody knows by what it decides."""
    data = msgspec.msgpack.encode(Opinion("v2"))
    workers = [Worker(1), Worker(2, len(data).to_bytes(8, "big") + data)]
    made, heard = await propose(*workers)
    silent = await made.commit()
    for worker in workers:
        await worker.close()

    assert ([], [2]) == (heard, [child.number for child in silent])
    assert ["data", "took v2"] == workers[0].did
