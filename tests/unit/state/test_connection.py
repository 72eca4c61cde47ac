"""One connection, byte by byte: replies in order, each receiver answered exactly once."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.state.connection import LOST, MAX_REPLY, Connection, Direct, pack
from gateway.wire.driver import Driver

if TYPE_CHECKING:
    from gateway.state.connection import Reply


class Wire(asyncio.Transport):
    """A transport that writes to a list."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.is_aborted = True


class Waiter:
    """Keeps every reply."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []

    def receive(self, reply: Reply, /) -> None:
        self.replies.append(reply)


class Meeting:
    """A connection with its transport, and what it said when it ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float = 5.0) -> None:
        self.wire = Wire()
        self.lost: list[str] = []
        self.connection = Connection(loop, timeout, lambda connection: self.lost.append(connection.why))
        self.connection.connection_made(self.wire)

    def send(self) -> Waiter:
        waiter = Waiter()
        self.connection.send(b"x", waiter)
        return waiter


@pytest.fixture
async def meeting() -> Meeting:
    """A fresh connection."""
    return Meeting(asyncio.get_running_loop())


async def test_commands_of_one_tick_leave_in_one_write(meeting: Meeting) -> None:
    """Sixty-four claims cost one system call."""
    for _ in range(64):
        meeting.send()
    before = list(meeting.wire.written)
    await asyncio.sleep(0)
    meeting.send()
    await asyncio.sleep(0)

    assert before == []
    assert meeting.wire.written == [b"x" * 64, b"x"]


@given(cuts=st.lists(st.integers(0, 40), max_size=8))
def test_replies_come_in_order_however_they_are_cut(cuts: list[int]) -> None:
    """Any split of the stream gives each receiver its own reply."""
    stream = b":1\r\n$3\r\nabc\r\n*2\r\n:2\r\n$-1\r\n-ERR no\r\n"

    async def run() -> list[Waiter]:
        meeting = Meeting(asyncio.get_running_loop())
        waiters = [meeting.send() for _ in range(4)]
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        for start, end in pairwise(edges):
            meeting.connection.data_received(stream[start:end])
        return waiters

    one, two, three, four = (waiter.replies for waiter in asyncio.run(run()))

    assert (one, two, three) == ([1], [b"abc"], [[2, None]])
    assert isinstance(four[0], hiredis.ReplyError)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n", "no-redis"),
        (b":1\r\n:2\r\n", "unasked-reply"),
        (b"$2000000\r\n" + b"x" * (MAX_REPLY + 1), "reply-too-large"),
    ],
)
async def test_what_is_no_reply_ends_the_connection(meeting: Meeting, data: bytes, why: str) -> None:
    """Everybody who waits learns that the reply is lost, once."""
    waiters = [meeting.send()]
    meeting.connection.data_received(data)
    meeting.connection.connection_lost(None)
    late = meeting.send()

    assert meeting.wire.is_aborted
    assert [why] == meeting.lost
    assert (late.replies, len(waiters[0].replies)) == ([LOST], 1)


async def test_a_receiver_may_give_the_connection_up(meeting: Meeting) -> None:
    """Aborting while replies are handed out gives the others `LOST`, and nobody two replies."""

    class Quitter(Waiter):
        def receive(self, reply: Reply, /) -> None:
            super().receive(reply)
            meeting.connection.abort("enough")

    quitter = Quitter()
    meeting.connection.send(b"x", quitter)
    other = meeting.send()
    meeting.connection.data_received(b":1\r\n:2\r\n")

    assert (quitter.replies, other.replies) == ([1], [LOST])
    assert meeting.lost == ["enough"]


async def test_the_first_reason_stays(meeting: Meeting) -> None:
    """What happens after the end does not rewrite why it ended."""
    meeting.connection.abort("first")
    meeting.connection.abort("second")
    meeting.connection.connection_lost(None)

    assert meeting.lost == ["first"]
    assert meeting.connection.why == "first"


async def test_nothing_is_written_after_the_end(meeting: Meeting) -> None:
    """Commands of the tick in which the connection ends are lost, not sent."""
    waiter = meeting.send()
    meeting.connection.connection_lost(OSError())
    await asyncio.sleep(0)

    assert (meeting.wire.written, waiter.replies, meeting.lost) == ([], [LOST], ["closed"])


async def test_an_overdue_reply_loses_everything_behind_it() -> None:
    """The oldest command's deadline is everybody's: replies come in order."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    connection = Connection(loop, 0.02, lambda _: ended.set())
    connection.connection_made(Wire())
    answered, waiting = Waiter(), Waiter()
    connection.send(b"x", answered)
    connection.data_received(b":1\r\n")
    loop.call_later(0.01, connection.send, b"x", waiting)  # the first timer finds a younger command
    began = loop.time()
    await ended.wait()

    assert loop.time() - began >= 0.03 - 0.005
    assert (answered.replies, waiting.replies, connection.why) == ([1], [LOST], "timeout")


async def test_an_idle_connection_has_no_timer() -> None:
    """Nothing asked, nothing overdue."""
    loop = asyncio.get_running_loop()
    lost: list[str] = []
    connection = Connection(loop, 0.001, lambda gone: lost.append(gone.why))
    connection.connection_made(Wire())
    waiter = Waiter()
    connection.send(b"x", waiter)
    connection.data_received(b":1\r\n")
    checked = loop.create_future()
    loop.call_later(0.01, checked.set_result, None)
    await checked

    assert (lost, waiter.replies) == ([], [1])


async def test_asking_packs_and_waits(meeting: Meeting) -> None:
    """For set-up: one command, one reply; a caller that has gone is no error."""
    task = asyncio.ensure_future(meeting.connection.ask("PING", 1, b"x"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone = asyncio.ensure_future(meeting.connection.ask("PING"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    meeting.connection.data_received(b"+PONG\r\n+PONG\r\n")

    assert await task == b"PONG"
    assert pack("PING", 1, b"x") == meeting.wire.written[0]


async def test_transports_that_gather_are_written_to_at_once() -> None:
    """Uvloop sends what one turn writes together, in the clear; the commands need no turn of their own."""

    class Gathering(Wire):
        __module__ = "uvloop.loop"

    class Encrypting(Gathering):
        __module__ = "uvloop.loop"

        def get_extra_info(self, name: str, default: object = None) -> object:
            return self if name == "ssl_object" else default

    plain, secret = Gathering(), Encrypting()
    for wire in (plain, secret):
        connection = Connection(asyncio.get_running_loop(), 5.0, lambda _: None)
        connection.connection_made(wire)
        connection.send(b"x", Waiter())
        connection.send(b"y", Waiter())
    at_once = list(plain.written), list(secret.written)
    await asyncio.sleep(0)

    assert at_once == ([b"x", b"y"], [])
    assert secret.written == [b"xy"]


async def test_a_server_that_reads_slowly_is_no_fault(meeting: Meeting) -> None:
    """The transport may say that its buffer is full, and that the server says no more."""
    meeting.connection.pause_writing()
    meeting.connection.resume_writing()

    assert not meeting.connection.eof_received()
    assert meeting.lost == []


async def test_a_line_goes_on_in_the_call_that_brings_its_reply(meeting: Meeting) -> None:
    """Without a turn of the loop; one that has gone is not called."""
    direct, gone = Direct(), Direct()
    got: list[Reply] = []

    async def line(answer: Direct) -> None:
        await answer.gate
        got.append(answer.reply)

    for answer in (direct, gone):
        meeting.connection.send(b"x", answer)
    Driver(line(direct), got.append).resume()
    leaving = Driver(line(gone), got.append)
    leaving.resume()
    leaving.throw(ValueError("gone"))
    meeting.connection.data_received(b":1\r\n:2\r\n")

    assert "gone" == str(got[0])
    assert got[1:] == [1, None]
