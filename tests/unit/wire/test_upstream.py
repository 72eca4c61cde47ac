"""The backend's side in memory: whatever its bytes are, the client gets a framed answer or none."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast, final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.outbound import Outbound
from gateway.core.refusal import Refusal, Refused
from gateway.core.route import Bounds
from gateway.wire.driver import Driver
from gateway.wire.upstream import MAX_HEAD_BYTES, MAX_HEADERS, MAX_INTERIM, Upstream
from tests.unit.wire.parts import Clock, FakeTransport, turn

if TYPE_CHECKING:
    from gateway.wire.answer import Answer

ASK = Outbound("b", b"GET / HTTP/1.1\r\n", b"a: b\r\n", b"")
HEAD = Outbound("b", b"HEAD / HTTP/1.1\r\n", b"", b"", has_no_answer_body=True)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@final
class Endpoint:
    """Writes down what comes back."""

    def __init__(self) -> None:
        self.name = "e"
        self.head = b"Host: e\r\n"
        self.now = Clock()
        self.free_ones: list[Upstream] = []
        self.lost_ones: list[Upstream] = []

    def free(self, connection: Upstream) -> None:
        self.free_ones.append(connection)

    def lost(self, connection: Upstream) -> None:
        self.lost_ones.append(connection)


@final
class Sink:
    """Takes an answer's body."""

    def __init__(self) -> None:
        self.data = b""
        self.is_finished = False
        self.refusal: Refusal | None = None

    def take(self, data: bytes) -> None:
        self.data += data

    def finish(self, data: bytes) -> None:
        self.data += data
        self.is_finished = True

    def lose(self, refusal: Refusal) -> None:
        self.refusal = refusal


@final
class Exchange:
    """One request to a backend in memory, and how far its answer came.

    Args:
        outbound: The request.
        bounds: Bounds of its answer.
        pauses: True attaches only when the test says so.
    """

    def __init__(
        self, outbound: Outbound = ASK, bounds: Bounds | None = None, *, attaches: bool = True
    ) -> None:
        self.endpoint = Endpoint()
        self.upstream = Upstream(cast("Any", self.endpoint))
        self.transport = FakeTransport(self.upstream)
        self.upstream.connection_made(self.transport)
        self.bounds = bounds or Bounds()
        self.attaches = attaches
        self.ask(outbound)

    def ask(self, outbound: Outbound) -> None:
        """Send a request over the same connection."""
        self.sink = Sink()
        self.refusal: Refusal | None = None
        self.has_head = False
        self.answer = self.upstream.send(outbound, self.bounds.first_byte)
        Driver(self._wait(self.answer), self._done).resume()

    async def _wait(self, answer: Answer) -> None:
        try:
            await answer.head
        except Refused as refused:
            self.refusal = refused.refusal
            return
        self.has_head = True
        if self.attaches:
            self.attach()

    def attach(self) -> None:
        """Take the body from here on."""
        try:
            pieces, is_complete = self.answer.attach(self.sink, self.bounds)
        except Refused as refused:
            self.refusal = refused.refusal
            return
        for piece in pieces:
            self.sink.take(piece)
        if is_complete:
            self.sink.finish(b"")

    def _done(self, error: BaseException | None) -> None:
        assert error is None

    def receive(self, *packets: bytes) -> None:
        """The backend writes; what comes after the end of the connection is not delivered."""
        for packet in packets:
            if not self.transport.is_closing():
                self.upstream.data_received(packet)

    @property
    def reason(self) -> str:
        """Why there is no (whole) answer, or ""."""
        refusal = self.refusal or self.sink.refusal
        return "" if refusal is None else refusal.reason.value


def test_a_request_is_written_canonically() -> None:
    """Line, Host, fields, length; no length where there is no body and none is expected."""
    body = Outbound("b", b"DELETE /x HTTP/1.1\r\n", b"a: b\r\n", b"hi")
    empty = Outbound("b", b"POST /x HTTP/1.1\r\n", b"", b"")

    assert b"GET / HTTP/1.1\r\nHost: e\r\na: b\r\n\r\n" == Exchange().transport.written
    assert (
        b"DELETE /x HTTP/1.1\r\nHost: e\r\na: b\r\nContent-Length: 2\r\n\r\nhi"
        == Exchange(body).transport.written
    )
    assert b"POST /x HTTP/1.1\r\nHost: e\r\nContent-Length: 0\r\n\r\n" == Exchange(empty).transport.written


def test_an_answer_of_known_length() -> None:
    """Its connection is free again; hop-by-hop and framing fields do not go on."""
    exchange = Exchange()
    exchange.receive(
        b"HTTP/1.1 201 X\r\nA: b \r\nKeep-Alive: 5\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    )

    assert (201, 2, [(b"a", b"b")]) == (
        exchange.answer.status,
        exchange.answer.length,
        exchange.answer.headers,
    )
    assert b"ok" == exchange.sink.data
    assert exchange.sink.is_finished
    assert [exchange.upstream] == exchange.endpoint.free_ones


def test_a_chunked_answer_piece_by_piece() -> None:
    """As it comes; trailers are not passed on."""
    exchange = Exchange()
    exchange.receive(CHUNKED)

    assert exchange.has_head

    exchange.receive(b"2\r\nab\r\n")

    assert b"ab" == exchange.sink.data

    exchange.receive(b"1;x=y\r\nc\r\n0\r\nSet-Cookie: a=b\r\n\r\n")

    assert b"abc" == exchange.sink.data
    assert exchange.sink.is_finished
    assert [] == exchange.answer.headers
    assert [exchange.upstream] == exchange.endpoint.free_ones


def test_a_connection_is_used_again() -> None:
    """Nothing of the first exchange is left in the second."""
    exchange = Exchange()
    exchange.receive(CHUNKED + b"2\r\nab\r\n0\r\n\r\n")
    exchange.ask(ASK)
    exchange.receive(OK)

    assert b"ok" == exchange.sink.data
    assert 2 == exchange.answer.length
    assert 2 == len(exchange.endpoint.free_ones)


async def test_an_answer_until_the_end_of_the_connection() -> None:
    """Its end is the connection's, if that ends in order."""
    whole, torn = Exchange(), Exchange()
    for exchange in (whole, torn):
        exchange.receive(b"HTTP/1.1 200 OK\r\n\r\n", b"ab")
    whole.upstream.connection_lost(None)
    torn.upstream.connection_lost(ConnectionResetError())

    assert (b"ab", True) == (whole.sink.data, whole.sink.is_finished)
    assert not torn.sink.is_finished
    assert "backend-died" == torn.reason
    assert [] == whole.endpoint.free_ones


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_that_have_no_body(status: int) -> None:
    """Bytes behind them were sent by somebody who hopes for the next client."""
    clean, excess = Exchange(), Exchange()
    head = b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n" % status
    clean.receive(head)
    excess.receive(head + b"ok")

    assert clean.sink.is_finished
    assert excess.sink.is_finished
    assert b"" == excess.sink.data
    assert [clean.upstream] == clean.endpoint.free_ones
    assert [] == excess.endpoint.free_ones
    assert excess.transport.was_aborted


async def test_an_answer_to_head_has_no_body() -> None:
    """Whatever its length says; the connection is not used again."""
    exchange = Exchange(HEAD)
    exchange.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")

    assert exchange.sink.is_finished
    assert exchange.answer.length is None
    assert exchange.transport.was_aborted


async def test_interim_answers_are_not_passed_on() -> None:
    """Up to eight; their fields are forgotten."""
    early = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    exchange = Exchange()
    exchange.receive(*([early] * MAX_INTERIM), OK)
    flood = Exchange()
    flood.receive(*([early] * (MAX_INTERIM + 1)))
    whole = Exchange()
    whole.receive(early * (MAX_INTERIM + 1) + OK)

    assert (b"ok", []) == (exchange.sink.data, exchange.answer.headers)
    assert ["backend-protocol"] * 2 == [flood.reason, whole.reason]
    assert flood.transport.was_aborted


@pytest.mark.parametrize("attaches", [True, False])
@pytest.mark.parametrize(
    "raw",
    [
        b"NONSENSE\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n" + OK,
        b"HTTP/1.1 000 Zero\r\nContent-Length: 3\r\n\r\nabc" + OK,
        b"HTTP/1.1 099 Odd\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 600 Odd\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 2000 Odd\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * MAX_HEAD_BYTES + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * (MAX_HEAD_BYTES + 9),
        CHUNKED + b"zz\r\n",
    ],
)  # fmt: skip
async def test_broken_answers_are_refused_and_never_waited_for(raw: bytes, attaches: bool) -> None:
    """Whole in one read or byte by byte; the connection is gone, and nobody hangs."""
    step = 1 if len(raw) < 1000 else 1000
    whole, cut = Exchange(attaches=attaches), Exchange(attaches=attaches)
    whole.receive(raw)
    cut.receive(*(raw[i : i + step] for i in range(0, len(raw), step)))
    for exchange in (whole, cut):
        if exchange.has_head and not attaches:
            exchange.attach()

        assert "backend-protocol" == exchange.reason
        assert not exchange.sink.is_finished
        assert exchange.transport.was_aborted
        assert [] == exchange.endpoint.free_ones


async def test_trailers_without_an_end_are_refused() -> None:
    """Llhttp does not bound them."""
    exchange = Exchange()
    exchange.receive(CHUNKED, b"1\r\nx\r\n0\r\nX: ", *([b"a" * 10_000] * 7))

    assert "backend-protocol" == exchange.reason
    assert exchange.transport.was_aborted


async def test_a_large_body_is_no_large_head() -> None:
    """Reads of a quarter of a megabyte are the normal case."""
    exchange = Exchange()
    body = b"x" * (3 * MAX_HEAD_BYTES)
    exchange.receive(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * len(body)) + body, body)

    assert exchange.sink.is_finished


async def test_excess_bytes_close_the_connection() -> None:
    """A second answer to one request is meant for the next client: response splitting."""
    for excess in (OK, b"x", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 101 X\r\n\r\n"):
        exchange = Exchange()
        exchange.receive(OK + excess)

        assert (b"ok", True) == (exchange.sink.data, exchange.sink.is_finished)
        assert [] == exchange.endpoint.free_ones
        assert exchange.transport.was_aborted


async def test_bytes_that_nobody_asked_for_close_an_idle_connection() -> None:
    """Before the first request, or between two."""
    exchange = Exchange()
    exchange.receive(OK)
    exchange.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n")

    assert exchange.transport.was_aborted


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
async def test_a_connection_that_will_close_is_not_kept(head: bytes) -> None:
    """It says so, or it is HTTP/1.0."""
    exchange = Exchange()
    exchange.receive(head + b"Content-Length: 2\r\n\r\nok")

    assert exchange.sink.is_finished
    assert exchange.transport.was_aborted


@pytest.mark.parametrize(
    ("raw", "note"),
    [
        (b"", "closed before its answer"),
        (b"HTTP/1.1 20", "closed before its answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "closed within its answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "closed within its answer"),
        (CHUNKED + b"5\r\nab", "closed within its answer"),
        (CHUNKED + b"2\r\nab\r\n0\r\n", "closed within its answer"),
    ],
)
def test_a_backend_that_dies(raw: bytes, note: str) -> None:
    """At every point; an answer that has begun never ends in order."""
    exchange = Exchange()
    if raw:
        exchange.receive(raw)
    exchange.upstream.connection_lost(None)
    refusal = exchange.refusal or exchange.sink.refusal

    assert refusal is not None
    assert ("backend-died", note, "upstream") == (refusal.reason.value, refusal.note, refusal.source.value)
    assert not exchange.sink.is_finished
    assert [exchange.upstream] == exchange.endpoint.lost_ones


def test_a_connection_that_closed_between_two_turns_of_the_loop() -> None:
    """Nothing is written to it; the request can go elsewhere."""
    exchange = Exchange()
    exchange.receive(OK)
    exchange.upstream.connection_lost(None)

    assert not exchange.upstream.is_open
    assert exchange.upstream.transport_info("peername") is None

    exchange.ask(ASK)

    assert "backend-died" == exchange.reason


async def test_deadlines() -> None:
    """First byte; silence; the whole; each with its own word."""
    bounds = Bounds(first_byte=120, idle=60, answer_time=100)
    mute, silent, endless, paused = (Exchange(bounds=bounds) for _ in range(4))
    clock = mute.endpoint.now

    assert clock.now + 120 == mute.upstream.deadline

    mute.upstream.expire(clock.now + 120)
    for exchange in (silent, endless, paused):
        exchange.receive(CHUNKED)

        assert clock.now + 60 == exchange.upstream.deadline

    silent.upstream.expire(clock.now + 60)
    endless.endpoint.now.now += 50
    endless.receive(b"1\r\nx\r\n")

    assert clock.now + 100 == endless.upstream.deadline

    endless.upstream.expire(clock.now + 100)
    paused.answer.pause()

    assert clock.now + 100 == paused.upstream.deadline

    reasons = [mute.reason, silent.reason, endless.reason]

    assert ["backend-timeout", "backend-timeout", "answer-too-long"] == reasons
    assert all(each.transport.was_aborted for each in (mute, silent, endless))


async def test_an_idle_connection_expires() -> None:
    """In silence."""
    exchange = Exchange()
    exchange.receive(OK)
    exchange.upstream.expire(0.0)

    assert exchange.transport.was_aborted


async def test_pausing_stops_reading() -> None:
    """Twice is once; a connection that was paused to the end is not kept."""
    exchange = Exchange()
    exchange.receive(CHUNKED)
    exchange.answer.pause()
    exchange.answer.pause()

    assert not exchange.transport.is_reading

    exchange.answer.resume()
    exchange.answer.resume()

    assert exchange.transport.is_reading

    exchange.answer.pause()
    exchange.receive(b"0\r\n\r\n")

    assert exchange.transport.was_aborted
    assert [] == exchange.endpoint.free_ones

    exchange.answer.pause()
    exchange.answer.resume()
    exchange.upstream.connection_lost(None)
    exchange.upstream.pause()
    exchange.upstream.resume()
    exchange.upstream.abort()


async def test_a_closed_answer_aborts_an_unfinished_exchange() -> None:
    """The backend sees that its work is not wanted; a finished one is left alone."""
    unfinished, finished = Exchange(), Exchange()
    unfinished.receive(CHUNKED)
    unfinished.answer.close()
    unfinished.answer.close()
    finished.receive(OK)
    finished.answer.close()

    assert unfinished.transport.was_aborted
    assert not finished.transport.was_aborted


async def test_an_answer_that_broke_before_anybody_took_it() -> None:
    """Whoever takes it is told."""
    exchange = Exchange(attaches=False)
    exchange.receive(CHUNKED, b"2\r\nab\r\n")
    exchange.upstream.connection_lost(None)

    assert exchange.has_head

    exchange.attach()

    assert "backend-died" == exchange.reason


def test_pieces_that_came_before_anybody_took_them() -> None:
    """Nothing is lost, nothing comes twice."""
    some, whole = Exchange(attaches=False), Exchange(attaches=False)
    some.receive(CHUNKED, b"2\r\nab\r\n")
    some.attach()
    some.receive(b"1\r\nc\r\n0\r\n\r\n")
    whole.receive(CHUNKED, b"2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n")
    whole.attach()

    assert [(b"abc", True)] * 2 == [(each.sink.data, each.sink.is_finished) for each in (some, whole)]
    assert not some.upstream.eof_received()


ANSWERS = st.one_of(
    st.sampled_from(
        [
            OK, CHUNKED, CHUNKED + b"2\r\nab\r\n", CHUNKED + b"1\r\nx\r\n0\r\nT: 1\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nuntil close",
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 101 S\r\n\r\n", b"HTTP/1.1 000 Z\r\nContent-Length: 1\r\n\r\nz",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx", b"0\r\n\r\n", b"\r\n",
        ]
    ),
    st.binary(max_size=40),
)  # fmt: skip


def play(packets: list[bytes]) -> tuple[object, ...]:
    """What a client can see of an answer, and whether the connection is kept for the next one."""
    exchange = Exchange()
    exchange.receive(*packets)
    is_kept = bool(exchange.endpoint.free_ones) and not exchange.transport.is_closing()
    if not exchange.sink.is_finished and not exchange.reason:
        exchange.upstream.connection_lost(None)
    sink = exchange.sink
    status = exchange.answer.status if exchange.has_head else 0
    return status, sink.is_finished, exchange.reason, is_kept, sink.data if sink.is_finished else b""


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(ANSWERS, min_size=1, max_size=4), data=st.data())
async def test_packets_do_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    """Same bytes, same body, same end, however they are cut; unless they come after the end.

    What follows a whole answer in the same read is excess and closes the connection at once; in a
    read of its own it does so when it comes. Heads of answers that break later may have been given
    away already.
    """
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    packets = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]
    whole, cut = play([stream] if stream else []), play(packets)
    await turn(1)

    assert whole[1] == cut[1]
    assert whole[4] == cut[4]
    # empty lines behind a whole answer: the parser skips them in the same read, in their own they are excess
    assert whole[3] == cut[3] or (whole[3] and not packets[-1].strip(b"\r\n"))
    assert (whole[2] == "") == (cut[2] == "")
    if whole[1]:
        assert whole[0] == cut[0]


async def test_an_answer_without_an_end_is_refused_over_tls() -> None:
    """Over TLS nobody can tell the end of the connection from a cut (RFC 9112, section 9.8)."""
    exchange = Exchange()
    exchange.transport._extra["ssl_object"] = object()
    exchange.receive(b'HTTP/1.1 200 OK\r\n\r\n{"answer": "refu')

    assert "backend-protocol" == exchange.reason
    assert not exchange.sink.is_finished


async def test_a_connection_with_unsent_bytes_is_not_used_again() -> None:
    """An answer that comes before the request has left: what is unsent must not precede the next one."""
    exchange = Exchange(Outbound("b", b"POST / HTTP/1.1\r\n", b"", b"x" * 1000))
    exchange.transport.get_write_buffer_size = lambda: 500
    exchange.receive(OK)

    assert "ok" == exchange.sink.data.decode()
    assert [] == exchange.endpoint.free_ones
    assert exchange.transport.is_closing()


async def test_a_backend_that_reads_slowly_is_no_fault() -> None:
    """The transport may say that its buffer is full, and that it no longer is."""
    exchange = Exchange()
    exchange.upstream.pause_writing()
    exchange.upstream.resume_writing()
    exchange.receive(OK)

    assert exchange.sink.is_finished


HEADS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\nContent-Type: a/b\r\n\r\n",
    b"HTTP/1.1 404 \r\nServer: x\r\ncontent-length: %b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\nConnection: close\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: %b\r\nConnection: keep-alive\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length:%b\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: %b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\nContent-Length: %b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: Content-Length: %b\r\nTransfer-Encoding: chunked\r\n\r\n",
)
LENGTHS = (b"0", b"1", b"5", b"05", b"+5", b"5 ", b"12", b"99999999999", b"")


@settings(deadline=None, max_examples=400)
@given(
    head=st.sampled_from(HEADS),
    first=st.sampled_from((b"1", b"5", b"12")),
    length=st.sampled_from(LENGTHS),
    body=st.sampled_from(
        (b"", b"x", b"hello", b"hello again!", b"5\r\nhello\r\n0\r\n\r\n", b"helloHTTP/1.1 200 OK\r\n")
    ),
    cuts=st.lists(st.integers(0, 120), max_size=3),
    outbound=st.sampled_from((ASK, HEAD)),
)
async def test_a_known_head_means_what_it_meant(
    head: bytes, first: bytes, length: bytes, body: bytes, cuts: list[int], outbound: Outbound
) -> None:
    """An answer is the same whether its head is compared with the last one of the connection or parsed."""

    def play(exchange: Exchange) -> tuple[object, ...]:
        stream = head.replace(b"%b", length) + body
        places = sorted({0, len(stream), *[cut for cut in cuts if cut < len(stream)]})
        exchange.receive(*[stream[a:b] for a, b in pairwise(places)])
        return (
            exchange.sink.data,
            exchange.sink.is_finished,
            exchange.reason,
            exchange.has_head,
            exchange.answer.status,
            exchange.answer.length,
            tuple(exchange.answer.headers) if exchange.has_head else (),
        )

    primed = Exchange()
    primed.receive(head.replace(b"%b", first), b"hello again!"[: int(first)])
    if primed.transport.is_closing() or not primed.endpoint.free_ones:
        return
    primed.ask(outbound)
    plain = Exchange(outbound)

    assert play(primed) == play(plain)
    # llhttp lets line ends between two messages pass, a comparison lets nothing pass
    assert primed.transport.is_closing() >= plain.transport.is_closing()


@pytest.mark.parametrize("packets", [[OK + OK], [OK + b"x"], [OK[:-1], b"k" + OK], [OK[:-1], b"kx"]])
async def test_more_than_a_known_head_announced_ends_the_connection(packets: list[bytes]) -> None:
    """Its answer is whole; what follows is no answer to the next client."""
    exchange = Exchange()
    exchange.receive(OK)
    exchange.ask(ASK)
    exchange.receive(*packets)

    assert (b"ok", True) == (exchange.sink.data, exchange.sink.is_finished)
    assert 1 == len(exchange.endpoint.free_ones)  # after the first answer
    assert exchange.transport.was_aborted


async def test_an_interim_head_is_not_kept() -> None:
    """It begins the bytes, but the answer is the one behind it."""
    exchange = Exchange()
    early = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"
    exchange.receive(early + OK)
    exchange.ask(ASK)
    exchange.receive(early + OK)

    assert (b"ok", True, 200) == (exchange.sink.data, exchange.sink.is_finished, exchange.answer.status)


async def test_heads_that_never_come_again_are_not_kept_for_ever() -> None:
    """A backend whose heads all differ costs a look at every answer no longer; every 64th is tried."""
    exchange = Exchange()
    kept = []
    for number in range(130):
        exchange.receive(b"HTTP/1.1 200 OK\r\nX: %d\r\nContent-Length: 2\r\n\r\nok" % number)
        kept.append(exchange.upstream._known.is_kept)
        exchange.ask(ASK)

    assert kept == [number < 8 or number + 1 in {64, 128} for number in range(130)]


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nhel",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhel",
        b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 500\r\n\r\nhel",
        b"HTTP/1.1 200 OK\r\nX: y",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=["chunked", "known", "other", "in-its-head", "interim"],
)
async def test_a_head_within_a_body_is_body(begun: bytes) -> None:
    """The known head, where a piece of another answer begins with it, begins no answer."""
    primed, plain = Exchange(), Exchange()
    primed.receive(OK)
    primed.ask(ASK)
    for exchange in (primed, plain):
        exchange.receive(begun, OK, OK)

    assert primed.sink.data == plain.sink.data
    assert primed.answer.headers == plain.answer.headers
    assert primed.sink.is_finished == plain.sink.is_finished
    assert primed.reason == plain.reason
    assert primed.transport.is_closing() == plain.transport.is_closing()
