"""Connections handed from one process to another, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from gateway.app.door import Door, Purpose, hand_in, watch_end

if TYPE_CHECKING:
    from collections.abc import Iterator

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The supervisor's end, and the worker's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


async def test_a_connection_comes_through_for_its_purpose(pair: Pair) -> None:
    """What was handed in before the door was open has waited, in order."""
    taken: list[tuple[str, socket.socket]] = []
    ours = [hand_in(pair[0], purpose) for purpose in (Purpose.REPORT, Purpose.ADMIN)]
    door = Door(
        pair[1],
        {
            Purpose.REPORT: lambda one: taken.append(("report", one)),
            Purpose.ADMIN: lambda one: taken.append(("admin", one)),
        },
        lambda: None,
    )
    door.open()
    while len(taken) < 2:
        await asyncio.sleep(0)
    door._take()  # nothing is there: nothing happens
    for end, (word, theirs) in zip(ours, taken, strict=True):
        theirs.sendall(word.encode())
        theirs.close()
        end.setblocking(True)
        assert word.encode() == end.recv(10)
        end.close()
    door.close()

    assert ["report", "admin"] == [word for word, _ in taken]


@pytest.mark.parametrize("is_reset", [False, True])
async def test_the_end_of_the_supervisor_is_heard_once(pair: Pair, *, is_reset: bool) -> None:
    """Also if it died with something unread."""
    gone = asyncio.Event()
    calls: list[int] = []

    def note() -> None:
        calls.append(1)
        gone.set()

    door = Door(pair[1], {}, note)
    if is_reset:
        pair[1].sendall(b"unread")
    door.open()
    pair[0].close()
    await gone.wait()
    await asyncio.sleep(0)

    assert [1] == calls


def test_nothing_is_handed_to_the_dead(pair: Pair) -> None:
    """Nor to one that takes nothing; no descriptor stays behind."""
    held: list[socket.socket] = []

    def fill() -> None:
        while True:
            held.append(hand_in(pair[0], Purpose.REPORT))

    with pytest.raises(BlockingIOError):
        fill()
    pair[1].close()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        hand_in(pair[0], Purpose.REPORT)
    for one in held:
        one.close()

    assert held


def test_a_thread_hears_the_end_too(pair: Pair) -> None:
    """Whatever the loop does; what is handed through in between does not disturb it."""
    gone = threading.Event()
    watch_end(pair[1], gone.set)
    hand_in(pair[0], Purpose.REPORT).close()
    early = gone.is_set()
    pair[0].close()

    assert (False, True) == (early, gone.wait(5))
