"""One worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from gateway.app.child import Child, Silent, start
from gateway.app.worker import Orders, read_orders, write_orders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ORDERS = Orders(path="g.yaml", configuration=b"x", number=3, workers=4, door=-1, listen=[], log_lock=0)
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def worker() -> Iterator[Callable[[str], Child]]:
    """Starts processes that are no gateways, and ends them."""
    started: list[Child] = []
    lock = os.memfd_create("log")

    def begin(program: str) -> Child:
        orders = Orders(
            path="g.yaml", configuration=b"x", number=3, workers=4, door=-1, listen=[], log_lock=lock
        )
        started.append(start((sys.executable, "-c", program), orders, [], lambda: 0.0))
        return started[-1]

    yield begin
    for child in started:
        child.kill()
        child.bury()
    os.close(lock)


def ended(child: Child) -> str:
    """Wait for its end; return how it ended."""
    while child.code is None:
        pass
    return child.bury()


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("raise SystemExit(0)", "exit code 0"),
        ("raise SystemExit(7)", "exit code 7"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9 (SIGKILL)"),
        ("import os; os.kill(os.getpid(), 40)", "signal 40"),  # a signal without a name
    ],
)
def test_how_it_ended_in_words(worker: Callable[[str], Child], program: str, how: str) -> None:
    """By exit code, or by signal."""
    assert how == ended(worker(program))


def test_orders_reach_it(worker: Callable[[str], Child]) -> None:
    """It inherits their descriptor, the door, the sockets and the lock of the log, and no other."""
    program = """
import os, sys
from gateway.app.worker import read_orders
orders = read_orders(int(sys.argv[1]))
for descriptor in (orders.door, orders.log_lock):
    os.fstat(descriptor)
inherited = {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2}
known = {orders.door, orders.log_lock}
raise SystemExit(0 if orders.number == 3 and len(inherited - known) == 1 else 1)  # the one of listdir
"""
    assert "exit code 0" == ended(worker(program))


def test_orders_are_what_was_written() -> None:
    """And gone once they were read."""
    descriptor = write_orders(ORDERS)

    assert ORDERS == read_orders(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


async def test_silence_is_told_from_death(worker: Callable[[str], Child]) -> None:
    """One that lives and does not answer is silent; one that has ended is not, and is asked to end once."""
    alive = worker(SLEEP)
    with pytest.raises(Silent):
        await alive.listen(0.05)
    alive.ask_to_end()
    alive.ask_to_end()
    how = ended(alive)
    alive.tell(signal.SIGTERM)  # nobody is there any more
    gone = worker("raise SystemExit(0)")
    while gone.code is None:
        await asyncio.sleep(0)
    await gone.listen(5)

    assert "signal 15 (SIGTERM)" == how
    assert (None, False) == (gone.report, gone.is_serving)


async def test_an_answer_that_means_nothing_is_silence() -> None:
    """After as long as no answer at all."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    now = iter((0.0, 4.0, 6.0))
    child = Child(1, subprocess.Popen(("true",)), ours, lambda: next(now))

    def answer() -> None:
        for _ in range(2):
            _, [descriptor], _, _ = socket.recv_fds(theirs, 1, 1)
            with socket.socket(fileno=descriptor) as connection:
                connection.sendall(b"what?")

    answering = threading.Thread(target=answer)
    answering.start()
    await child.listen(5.0)
    with pytest.raises(Silent):
        await child.listen(5.0)
    answering.join()
    theirs.close()
    child.bury()


async def test_wishes_end_with_it(worker: Callable[[str], Child]) -> None:
    """Whoever waits for a report of a worker that dies does not wait for ever."""
    child = worker(SLEEP)
    early = child.wish()
    early.cancel()
    listening = asyncio.ensure_future(child.listen(30))
    await asyncio.sleep(0)
    late = child.wish()
    child.kill()
    await listening
    child.bury()

    assert (True, True) == (early.cancelled(), late.cancelled())
