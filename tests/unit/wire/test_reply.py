"""The way back to the client: framing, bounds, pauses, visible ends."""

from __future__ import annotations

from typing import Any, cast, final

import pytest

from gateway.core.memo import AnswerMemo
from gateway.core.refusal import Reason, Refusal, Refused
from gateway.core.route import Bounds
from gateway.wire.driver import Driver
from gateway.wire.incoming import Head, Incoming
from gateway.wire.reply import Reply, status_line
from tests.unit.wire.parts import NoMeter

DATE = b"Date: today\r\n"


@final
class Connection:
    """What a reply asks of its connection."""

    def __init__(self) -> None:
        self.is_full = False
        self.is_draining = False
        self.written = b""
        self.was_reset = False

    def write(self, data: bytes) -> None:
        self.written += data

    def date(self) -> bytes:
        return b"today"

    def reset(self) -> None:
        self.was_reset = True


@final
class FakeAnswer:
    """An answer whose body a test writes piece by piece."""

    def __init__(
        self,
        status: int = 200,
        length: int | None = None,
        pieces: tuple[bytes, ...] = (),
        *,
        is_complete: bool = False,
    ) -> None:
        self.status = status
        self.length = length
        self.pieces = pieces
        self.is_complete = is_complete
        self.headers: list[tuple[bytes, bytes]] = []
        self.endpoint = "e"
        self.memo = AnswerMemo()
        self.is_paused = False
        self.fault: Refusal | None = None

    def attach(self, sink: Any, bounds: Bounds) -> tuple[tuple[bytes, ...], bool]:
        if self.fault is not None:
            raise Refused(self.fault)
        return self.pieces, self.is_complete

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def close(self) -> None:
        """Nothing to close."""


@final
class Relay:
    """A reply that relays an answer."""

    def __init__(
        self,
        answer: FakeAnswer,
        *,
        method: str = "POST",
        version: str = "1.1",
        limit: int = 1000,
        headers: bytes = b"a: b\r\n",
        is_full: bool = False,
        is_draining: bool = False,
    ) -> None:
        self.connection = Connection()
        self.connection.is_full = is_full
        self.connection.is_draining = is_draining
        head = Head(method, "/", "", version, {}, 0, is_closing=version == "1.0", wants_continue=False)
        incoming = Incoming(cast("Any", self.connection), head, 0.0)
        incoming.is_complete = True
        self.reply = Reply(cast("Any", self.connection), incoming)
        self.meter = NoMeter()
        self.ends: list[BaseException | None] = []
        answer.memo.has_date = b"date" in headers
        line = self.reply.relay(answer, headers, self.meter, Bounds(answer=limit))
        Driver(line, self.ends.append).resume()

    @property
    def written(self) -> bytes:
        """What the client got."""
        return self.connection.written

    @property
    def reason(self) -> str | None:
        """How the line ended; None if it did not."""
        if not self.ends:
            return None
        error = self.ends[0]
        return error.refusal.reason.value if isinstance(error, Refused) else str(error or "")


def test_a_chunked_relay() -> None:
    """Each piece is a chunk; the last one ends it in the same write."""
    relay = Relay(FakeAnswer())
    relay.reply.take(b"x" * 17)
    relay.reply.finish(b"yz")

    assert (
        b"HTTP/1.1 200 OK\r\n"
        + DATE
        + b"a: b\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n"
        + b"x" * 17
        + b"\r\n2\r\nyz\r\n0\r\n\r\n"
        == relay.written
    )
    assert (b"x" * 17 + b"yz", True, 19) == (relay.meter.seen, relay.meter.is_finished, relay.reply.bytes_out)
    assert "" == relay.reason
    assert relay.reply.is_ended


def test_an_empty_end() -> None:
    """Just the last chunk; for a known length nothing at all."""
    chunked, known = Relay(FakeAnswer()), Relay(FakeAnswer(length=1))
    chunked.reply.finish(b"")
    known.reply.take(b"x")
    known.reply.finish(b"")

    assert chunked.written.endswith(b"\r\n\r\n0\r\n\r\n")
    assert known.written.endswith(b"Content-Length: 1\r\n\r\nx")


def test_a_whole_answer_goes_in_one_write() -> None:
    """Head and body; the pieces that came before are joined."""
    known = Relay(FakeAnswer(length=3, pieces=(b"ab", b"c"), is_complete=True), headers=b"date: now\r\n")
    chunked = Relay(FakeAnswer(pieces=(b"ab",), is_complete=True))
    empty = Relay(FakeAnswer(is_complete=True))

    assert b"HTTP/1.1 200 OK\r\ndate: now\r\nContent-Length: 3\r\n\r\nabc" == known.written
    assert chunked.written.endswith(b"\r\n\r\n2\r\nab\r\n0\r\n\r\n")
    assert empty.written.endswith(b"\r\n\r\n0\r\n\r\n")


def test_pieces_that_came_before_the_end() -> None:
    """They go with the head."""
    relay = Relay(FakeAnswer(pieces=(b"ab",)))
    relay.reply.finish(b"c")

    assert relay.written.endswith(b"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body_have_no_framing(method: str, status: int) -> None:
    """RFC 9110, section 8.6; RFC 9112, section 6.3."""
    relay = Relay(FakeAnswer(status=status, is_complete=True), method=method)

    assert relay.written.endswith(DATE + b"a: b\r\n\r\n")


def test_http_1_0_gets_no_chunks() -> None:
    """The end of the connection is the end of the answer."""
    relay = Relay(FakeAnswer(), version="1.0")
    relay.reply.take(b"ab")
    relay.reply.finish(b"c")

    assert relay.written.endswith(b"a: b\r\nConnection: close\r\n\r\nabc")
    assert relay.reply.is_closing


def test_a_broken_answer_to_http_1_0_ends_in_a_reset() -> None:
    """An orderly close would say that this was all."""
    relay = Relay(FakeAnswer(), version="1.0")
    relay.reply.take(b"ab")
    relay.reply.lose(Refusal(Reason.BACKEND_DIED))
    relay.reply.abort(b"event: error\n\n")

    assert relay.connection.was_reset
    assert relay.written.endswith(b"\r\n\r\nab")


@pytest.mark.parametrize(
    ("length", "last", "tail"),
    [(None, b"x\n\n", b"2\r\nab\r\n3\r\nx\n\n\r\n"), (None, b"", b"2\r\nab\r\n"), (9, b"x", b"\r\nab")],
)
def test_a_broken_answer_never_ends_in_order(length: int | None, last: bytes, tail: bytes) -> None:
    """No last chunk, or short of its length; an event stream gets one event more."""
    relay = Relay(FakeAnswer(length=length))
    relay.reply.take(b"ab")
    relay.reply.lose(Refusal(Reason.BACKEND_DIED))
    relay.reply.abort(last)

    assert "backend-died" == relay.reason
    assert relay.written.endswith(tail)
    assert relay.reply.is_closing
    assert not relay.connection.was_reset


def test_a_declared_length_over_the_bound_is_refused_before_a_byte() -> None:
    """The client gets a clean refusal."""
    relay = Relay(FakeAnswer(length=1001))

    assert "answer-too-large" == relay.reason
    assert not relay.reply.is_started
    assert b"" == relay.written


@pytest.mark.parametrize("how", ["first", "take", "finish"])
def test_an_answer_over_the_bound_is_cut(how: str) -> None:
    """Wherever it grows too large; what is over the bound is not written."""
    relay = Relay(FakeAnswer(pieces=(b"x" * 1001,) if how == "first" else (b"x" * 1000,)))
    if how == "take":
        relay.reply.take(b"x")
    elif how == "finish":
        relay.reply.finish(b"x")

    assert "answer-too-large" == relay.reason
    assert relay.reply.is_started
    assert (0 if how == "first" else 1000) == relay.reply.bytes_out == len(relay.meter.seen)
    assert not relay.meter.is_finished


def test_an_answer_that_broke_before_it_was_taken_has_not_begun() -> None:
    """So the refusal can still be said in order."""
    answer = FakeAnswer()
    answer.fault = Refusal(Reason.BACKEND_DIED)
    relay = Relay(answer)

    assert "backend-died" == relay.reason
    assert not relay.reply.is_started


def test_a_slow_reader_pauses_the_backend() -> None:
    """From the start, or later; until it has caught up. Without an answer there is nothing to pause."""
    answer = FakeAnswer()
    relay = Relay(answer, is_full=True)

    assert answer.is_paused

    relay.reply.resume()

    assert not answer.is_paused

    relay.reply.pause()

    assert answer.is_paused

    relay.reply.finish(b"")
    answer.is_paused = False
    relay.reply.pause()
    relay.reply.resume()

    assert not answer.is_paused


def test_a_draining_gateway_says_so() -> None:
    """RFC 9112, section 9.6."""
    relay = Relay(FakeAnswer(length=0, is_complete=True), is_draining=True)

    assert b"Connection: close\r\n" in relay.written
    assert relay.reply.is_closing


def test_unknown_status_codes_have_no_phrase() -> None:
    """But the space before it (RFC 9112, section 4)."""
    assert b"HTTP/1.1 299 \r\n" == status_line(299)
    assert b"HTTP/1.1 404 Not Found\r\n" == status_line(404)


@pytest.mark.parametrize(
    ("method", "is_complete", "close", "is_closing", "body"),
    [
        ("POST", True, False, False, b"no"),
        ("POST", True, True, True, b"no"),
        ("POST", False, False, True, b"no"),
        ("HEAD", True, False, False, b""),
    ],
)
def test_answers_of_our_own(
    method: str, is_complete: bool, close: bool, is_closing: bool, body: bytes
) -> None:
    """Length and date are there; a request that was not read to its end is the last one."""
    connection = Connection()
    incoming = Incoming(
        cast("Any", connection),
        Head(method, "/", "", "1.1", {}, 0, is_closing=False, wants_continue=False),
        0.0,
    )
    incoming.is_complete = is_complete
    reply = Reply(cast("Any", connection), incoming)
    reply.send(403, b"a: b\r\n", b"no", close=close)
    ending = b"Connection: close\r\n" if is_closing else b""

    assert (
        b"HTTP/1.1 403 Forbidden\r\n" + DATE + b"a: b\r\nContent-Length: 2\r\n" + ending + b"\r\n" + body
        == connection.written
    )
    assert (is_closing, True, 403) == (reply.is_closing, reply.is_ended, reply.status)


def test_losing_twice_is_losing_once() -> None:
    """And losing before anything was relayed changes nothing."""
    connection = Connection()
    idle = Reply(
        cast("Any", connection),
        Incoming(
            cast("Any", connection),
            Head("GET", "/", "", "1.1", {}, 0, is_closing=False, wants_continue=False),
            0.0,
        ),
    )
    idle.lose(Refusal(Reason.CLIENT_TOO_SLOW))
    idle.finish(b"")
    relay = Relay(FakeAnswer())
    relay.reply.lose(Refusal(Reason.CLIENT_TOO_SLOW))
    relay.reply.lose(Refusal(Reason.BACKEND_DIED))

    assert "client-too-slow" == relay.reason
