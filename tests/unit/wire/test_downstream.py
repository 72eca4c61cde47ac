"""The client's side in memory: parsing, order, bounds, deadlines; and that known heads change nothing."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.refusal import Reason, Refusal, Refused
from gateway.core.route import Bounds
from gateway.wire.driver import Gate
from gateway.wire.reader import MAX_PIPELINED, MAX_SLACK_PER_BYTE, MAX_TRAILERS
from gateway.wire.service import Timeouts
from tests.unit.wire.parts import GET, Clock, FakeTransport, Line, connect, make_service, post, statuses, turn

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


async def exchange(*packets: bytes, line: Line | None = None, **bounds: int) -> tuple[Line, FakeTransport]:
    """Send packets over one connection in memory."""
    line = line or Line()
    downstream, transport = connect(make_service(line, **bounds))
    for packet in packets:
        downstream.data_received(packet)
        await turn()
    return line, transport


async def test_a_request_is_served_within_the_call_that_brought_it() -> None:
    """Nothing waits for the loop while nothing blocks."""
    line = Line()
    downstream, transport = connect(make_service(line))
    downstream.data_received(post(b"hello", "/v1?q=1", b"X-Thing: 1"))

    assert [("POST", "/v1", "q=1", {b"host": b"a", b"x-thing": b"1"}, b"hello")] == line.seen
    assert [200] == statuses(transport.written)
    assert not transport.is_closing()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "host-refused"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "header-refused"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "host-refused"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "version-unsupported"),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", "version-unsupported"),
        (b"GET / HTTP/7.3\r\nHost: a\r\n\r\n", "version-unsupported"),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "method-refused"),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "method-refused"),
        (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "target-refused"),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "target-refused"),
        (b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", "target-refused"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\n\r\n", "header-refused"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n", "header-refused"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nauthorization: b\r\n\r\n", "header-refused"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: authorization\r\n\r\n", "header-refused"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", "expectation-refused"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "framing-refused",
        ),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "framing-refused"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "framing-refused",
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", "framing-refused"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "request-malformed"),
        (b"GET / HTTP/1.1\nHost: a\n\n", "request-malformed"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "upgrade-refused"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "request-malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "method-refused"),
    ],
)
async def test_what_is_no_request_is_refused_once_and_the_connection_closed(raw: bytes, reason: str) -> None:
    """The refusal is the last thing that the connection says, whatever follows in the same packet."""
    line, transport = await exchange(raw + GET, GET)

    assert [] == line.seen
    assert [reason] == line.refused
    assert [400] == statuses(transport.written)
    assert b"Connection: close\r\n" in transport.written
    assert transport.has_eof


@pytest.mark.parametrize("body", [b"", b"\r\nContent-Length: 3"])
async def test_an_upgrade_gets_one_refusal_and_no_answer(body: bytes) -> None:
    """Bytes behind an upgrade are not HTTP (RFC 9110, section 7.8)."""
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket" + body + b"\r\n\r\nabc"
    line, transport = await exchange(raw)

    assert [] == line.seen
    assert ["upgrade-refused"] == line.refused
    assert [400] == statuses(transport.written)


async def test_pipelined_requests_are_answered_in_order() -> None:
    """One after the other; what comes meanwhile waits, unread."""
    line = Line()
    gate = line.wait_for = Gate()
    downstream, transport = connect(make_service(line))
    downstream.data_received(post(b"1") + post(b"2") + post(b"3"))

    assert [b"1"] == [each[4] for each in line.seen]
    assert not transport.is_reading

    gate.open()
    await turn(9)

    assert [b"1", b"2", b"3"] == [each[4] for each in line.seen]
    assert [200, 200, 200] == statuses(transport.written)
    assert transport.is_reading


async def test_a_valid_request_before_broken_bytes_is_still_answered() -> None:
    """What came whole is certain; what came after it is not."""
    line, transport = await exchange(GET + b"NONSENSE\r\n\r\n")

    assert 1 == len(line.seen)
    assert [200, 400] == statuses(transport.written)
    assert transport.has_eof


async def test_too_many_pipelined_requests_end_in_one_refusal() -> None:
    """The one over the bound is refused, and nothing behind it is looked at."""
    line, transport = await exchange(GET * (MAX_PIPELINED + 9))
    await turn(3 * MAX_PIPELINED)

    assert MAX_PIPELINED == len(line.seen)
    assert ["overloaded"] == line.refused
    assert [*([200] * MAX_PIPELINED), 400] == statuses(transport.written)


async def test_known_heads_obey_the_bound_on_pipelining() -> None:
    """The short way is no way around the bound."""
    line, _transport = await exchange(GET, GET * (MAX_PIPELINED + 9))
    await turn(3 * MAX_PIPELINED)

    assert 1 + MAX_PIPELINED == len(line.seen)
    assert ["overloaded"] == line.refused


async def test_a_client_that_does_not_read_is_not_served_on() -> None:
    """Its answers would pile up: no further request is read or served until it has read."""
    line = Line()
    line.answer = b"x" * 500
    downstream, transport = connect(make_service(line), room=1000)
    for _ in range(8):
        if transport.is_reading:
            downstream.data_received(GET)
        await turn()

    assert 2 == len(line.seen)
    assert not transport.is_reading

    transport.drain()

    assert transport.is_reading


async def test_requests_that_waited_for_the_reader_are_served_when_it_has_read() -> None:
    """Pausing loses nothing."""
    line = Line()
    line.answer = b"x" * 600
    downstream, transport = connect(make_service(line), room=1000)
    downstream.data_received(GET * 4)
    await turn()

    assert 2 == len(line.seen)

    transport.drain()
    await turn()
    transport.drain()
    await turn()

    assert 4 == len(line.seen)


async def test_trailers_never_become_headers() -> None:
    """Whatever their name (RFC 9110, section 6.5.1)."""
    line, _ = await exchange(CHUNKED + b"2\r\nhi\r\n0\r\nAuthorization: Bearer x\r\n\r\n" + GET)

    assert [({b"host": b"a"}, b"hi"), ({b"host": b"a"}, b"")] == [each[3:] for each in line.seen]


async def test_too_many_trailers_are_refused() -> None:
    """They cost memory and say nothing."""
    trailers = b"".join(b"t%d: 1\r\n" % each for each in range(MAX_TRAILERS + 1))
    line, transport = await exchange(CHUNKED + b"2\r\nhi\r\n0\r\n" + trailers + b"\r\n")

    assert ["header-refused"] == line.refused
    assert transport.has_eof


@pytest.mark.parametrize("start", [b"0\r\nX: ", b"5;x="])
async def test_chunk_framing_without_an_end_is_refused(start: bytes) -> None:
    """Llhttp bounds neither trailers nor chunk extensions; the wire does, long before a deadline."""
    line, transport = await exchange(CHUNKED + start, *([b"a" * 1024] * 20), head=4096)

    assert ["framing-refused"] == line.refused
    assert transport.has_eof


async def test_small_chunks_are_no_attack() -> None:
    """One byte per chunk stays within the bound on framing, for as long as the client likes."""
    line, _ = await exchange(CHUNKED, *([b"1\r\nx\r\n" * 50] * 100), b"0\r\n\r\n", head=300)

    assert [b"x" * 5000] == [each[4] for each in line.seen]
    assert len(b"1\r\nx\r\n") - 1 < MAX_SLACK_PER_BYTE


@pytest.mark.parametrize("split", [[], [100], [100, 5000]])
async def test_a_head_over_the_bound_is_refused(split: list[int]) -> None:
    """However it is cut into packets."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n"
    cuts = [0, *split, len(raw)]
    packets = [raw[a:b] for a, b in itertools.pairwise(cuts)]
    line, transport = await exchange(*packets, head=4096)

    assert ["head-too-large"] == line.refused
    assert [400] == statuses(transport.written)


async def test_a_head_over_the_bound_behind_another_request_is_refused() -> None:
    """Its first bytes came with the request before it."""
    raw = GET + b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n"
    for cut in (3000, 4000):
        line, _ = await exchange(raw[:cut], raw[cut:], head=4096)

        assert ["head-too-large"] == line.refused
        assert 1 == len(line.seen)


async def test_a_large_pipelined_head_in_one_packet_is_refused() -> None:
    """Heads that come whole are measured when they are whole."""
    raw = GET + b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n"
    line, _ = await exchange(raw, head=4096)

    assert ["head-too-large"] == line.refused
    assert 1 == len(line.seen)


async def test_a_body_larger_than_a_head_may_be_is_no_head() -> None:
    """The bound on heads counts heads."""
    line, _ = await exchange(
        post(b"x" * 9000) + post(b"y" * 9000), post(b"z" * 9000)[:200], post(b"z" * 9000)[200:], head=4096
    )

    assert [b"x" * 9000, b"y" * 9000, b"z" * 9000] == [each[4] for each in line.seen]


async def test_empty_lines_without_an_end_are_refused() -> None:
    """RFC 9112, section 2.2, lets one empty line pass; not a flood of them."""
    line, _ = await exchange(*([b"\r\n" * 100] * 3), head=500)

    assert ["head-too-large"] == line.refused


async def test_the_number_of_fields_is_bounded() -> None:
    """Different names are counted."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"x%d: 1\r\n" % each for each in range(4)) + b"\r\n"
    line, _ = await exchange(raw, headers=4)

    assert ["head-too-large"] == line.refused


async def test_repeated_list_fields_are_joined() -> None:
    """RFC 9110, section 5.3; cookies by RFC 6265, section 5.4."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\nCookie: a=1\r\ncookie: b=2\r\n\r\n"
    line, _ = await exchange(raw)

    assert {b"host": b"a", b"x-a": b"1, 2", b"cookie": b"a=1; b=2"} == line.seen[0][3]


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
)
async def test_the_last_request_closes(raw: bytes) -> None:
    """HTTP/1.0 always does; 1.1 when the client says so."""
    _, transport = await exchange(raw)

    assert b"Connection: close\r\n" in transport.written
    assert transport.has_eof


async def test_over_tls_the_connection_is_closed_whole() -> None:
    """TLS has no half-closed connections here."""
    downstream, transport = connect(make_service(Line()), is_tls=True)
    downstream.data_received(b"GET / HTTP/1.0\r\n\r\n")

    assert transport.is_closing()


async def test_continue_is_said_when_the_body_is_asked_for() -> None:
    """And only then, and only if none of it has come (RFC 9110, section 10.1.1)."""
    raw = post(b"hello", "/", b"Expect: 100-continue")
    line = Line(reads=False)
    _, silent = await exchange(raw[:-5], line=line)
    _, asked = await exchange(raw[:-5])
    _, eager = await exchange(raw[:-3])

    assert [200] == statuses(silent.written)
    assert [100] == statuses(asked.written)
    assert b"" == eager.written


async def test_continue_is_not_said_to_http_1_0() -> None:
    """It would not understand (RFC 9110, section 10.1.1)."""
    raw = post(b"hello", "/", b"Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    _, transport = await exchange(raw[:-5])

    assert b"" == transport.written


async def test_a_body_that_nobody_asked_for_is_not_read() -> None:
    """Until the line asks, the client's bytes stay in the kernel."""
    gate = Gate()

    class Slow(Line):  # type: ignore[misc]
        async def handle(self, call, reply) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
            await gate
            await super().handle(call, reply)

    line = Slow()
    downstream, transport = connect(make_service(line))
    downstream.data_received(post(b"hello")[:-2])

    assert not transport.is_reading

    gate.open()

    assert transport.is_reading

    downstream.data_received(b"lo")

    assert [b"hello"] == [each[4] for each in line.seen]


@pytest.mark.parametrize("is_known", [False, True])
async def test_bodies_over_the_bound_are_refused(is_known: bool) -> None:
    """A declared one before it is read, a chunked one as soon as it is too much."""
    line = Line(Bounds(body=10))
    _, known = await exchange(post(b"x" * 11)[:-11], line=line)
    chunked = b"".join([CHUNKED, b"8\r\n12345678\r\n"])
    other, unknown = await exchange(
        *([GET] if is_known else []), chunked, b"8\r\n1234", line=Line(Bounds(body=10))
    )

    assert ["body-too-large"] == line.refused == other.refused
    assert known.has_eof
    assert unknown.has_eof


async def test_bodies_over_all_connections_are_bounded() -> None:
    """The first who come are served; the memory is free again when they are done."""
    line = Line()
    service = make_service(line, body_memory=100)
    first, _ = connect(service)
    second, there = connect(service)
    first.data_received(post(b"x" * 80)[:-1])
    second.data_received(post(b"y" * 80)[:-1])

    assert ["overloaded"] == line.refused
    assert there.has_eof
    assert 79 == service.body_memory

    first.data_received(b"x")

    assert 0 == service.body_memory


async def test_memory_of_a_vanished_client_is_free_again() -> None:
    """Also what waited behind the request that was served."""
    line = Line()
    line.wait_for = Gate()
    service = make_service(line)
    downstream, transport = connect(service)
    downstream.data_received(post(b"x") + post(b"yy") + post(b"zzzz")[:-1])

    assert 6 == service.body_memory

    transport.abort()
    await turn()

    assert (0, 0, 1) == (service.body_memory, service.active, line.gone)


async def test_a_client_that_says_no_more_is_gone() -> None:
    """Half-closed while it waits: the line is told, and nothing is counted twice."""
    line = Line()
    line.wait_for = Gate()
    service = make_service(line)
    downstream, transport = connect(service)
    downstream.data_received(GET)

    assert 1 == service.active
    assert not downstream.eof_received()

    await turn()

    assert transport.was_aborted
    assert (0, 1, 0) == (service.active, line.gone, len(service.connections))


async def test_a_client_that_leaves_between_requests_just_leaves() -> None:
    """The transport closes by itself."""
    downstream, transport = connect(make_service(Line()))

    assert not downstream.eof_received()
    assert not transport.was_aborted


async def test_a_line_that_breaks_takes_its_connection_along() -> None:
    """Nothing can be said for certain any more."""
    line = Line()
    line.fault = RuntimeError("bug")
    service = make_service(line)
    downstream, transport = connect(service)
    downstream.data_received(GET)

    assert transport.was_aborted
    assert 0 == service.active


async def test_deadlines_of_a_connection() -> None:
    """Silent, in the head, between requests, in the body: each has its own."""
    clock = Clock()
    timeouts = Timeouts(head=10, keep_alive=75, write=30)
    line = Line(Bounds(body_time=20))
    downstream, transport = connect(make_service(line, clock=clock, timeouts=timeouts), room=10_000)

    assert clock.now + 10 == downstream.deadline

    clock.now += 5
    downstream.data_received(GET[:5])

    assert clock.now + 10 == downstream.deadline

    clock.now += 5
    downstream.data_received(GET[5:])

    assert clock.now + 75 == downstream.deadline

    clock.now += 5
    began = clock.now
    downstream.data_received(post(b"12")[:-1])
    clock.now += 5
    downstream.data_received(b"")

    assert began + 20 == downstream.deadline

    downstream.expire(clock.now)

    assert ["body-timeout"] == line.refused
    assert transport.has_eof


async def test_a_body_s_deadline_outlives_a_full_buffer() -> None:
    """Else a client could fill the buffer, read it, and send its body at any pace."""
    clock = Clock()
    line = Line(Bounds(body_time=20))
    downstream, transport = connect(make_service(line, clock=clock), room=10)
    downstream.data_received(post(b"hello", "/", b"Expect: 100-continue")[:-5])

    assert downstream.is_full
    assert clock.now + 20 == downstream.deadline

    transport.drain()

    assert clock.now + 20 == downstream.deadline

    downstream.expire(clock.now + 20)

    assert ["body-timeout"] == line.refused


async def test_a_slow_head_is_refused_in_words() -> None:
    """A client that began gets an answer; one that said nothing just a close."""
    line = Line()
    service = make_service(line)
    slow, slow_transport = connect(service)
    slow.data_received(GET[:9])
    slow.expire(0.0)
    silent, silent_transport = connect(service)
    silent.expire(0.0)

    assert ["head-timeout"] == line.refused
    assert [400] == statuses(slow_transport.written)
    assert b"" == silent_transport.written
    assert silent_transport.is_closing()


async def test_a_head_begun_behind_a_request_has_the_head_s_deadline() -> None:
    """Not the longer one of an idle connection."""
    clock = Clock()
    line = Line()
    line.wait_for = Gate()
    downstream, _ = connect(make_service(line, clock=clock, timeouts=Timeouts(head=10)))
    downstream.data_received(GET + GET[:5])
    line.wait_for.open()

    assert clock.now + 10 == downstream.deadline


async def test_a_deadline_while_the_backend_works_is_not_the_client_s() -> None:
    """The body is complete: its deadline means nothing any more."""
    line = Line()
    line.wait_for = Gate()
    downstream, transport = connect(make_service(line))
    downstream.data_received(GET)
    downstream.expire(0.0)

    assert not transport.is_closing()
    assert float("inf") == downstream.deadline


async def test_a_reader_that_makes_no_progress_loses_its_connection() -> None:
    """Between two requests, and while its answer waits."""
    clock = Clock()
    line = Line()
    line.answer = b"x" * 100
    downstream, transport = connect(make_service(line, clock=clock, timeouts=Timeouts(write=30)), room=50)
    downstream.data_received(GET)

    assert clock.now + 30 == downstream.deadline

    downstream.expire(clock.now)

    assert transport.was_aborted


async def test_a_closed_connection_lingers_and_is_cut() -> None:
    """So that its last bytes can be read; not for ever (RFC 9112, section 9.6)."""
    clock = Clock()
    line = Line()
    line.answer = b"x" * 100
    downstream, transport = connect(make_service(line, clock=clock, timeouts=Timeouts(write=30)), room=50)
    downstream.data_received(b"GET / HTTP/1.0\r\n\r\n")

    assert clock.now + 31 == downstream.deadline

    transport.drain()

    assert clock.now + 1 == downstream.deadline

    downstream.data_received(GET)
    downstream.expire(clock.now)
    await turn()
    downstream.expire(clock.now)

    assert 1 == len(line.seen)
    assert transport.was_aborted


async def test_connections_over_a_bound_are_cut_at_once() -> None:
    """From one address, in all, while draining; nothing is answered."""
    service = make_service(Line(), connections_per_address=1)
    first, _ = connect(service)
    second, refused = connect(service)
    second.data_received(GET)
    await turn()

    assert refused.was_aborted
    assert 1 == service.refused_connections
    assert {first} == service.connections


async def test_draining_closes_after_the_request() -> None:
    """And says so; idle connections close at once; who waits in line is not served."""
    line = Line()
    line.wait_for = Gate()
    service = make_service(line)
    busy, busy_transport = connect(service)
    _, idle_transport = connect(service)
    busy.data_received(GET + GET)
    service.drain()

    assert idle_transport.is_closing()
    assert not busy_transport.is_closing()

    line.wait_for.open()
    await turn()

    assert 1 == len(line.seen)
    assert b"Connection: close\r\n" in busy_transport.written
    assert busy_transport.has_eof


async def test_abort_closes_everything() -> None:
    """When the time to drain is over."""
    line = Line()
    line.wait_for = Gate()
    service = make_service(line)
    downstream, transport = connect(service)
    downstream.data_received(GET)
    service.abort()
    await turn()
    downstream.abort()
    downstream.expire(0.0)
    downstream.close_if_idle()
    downstream.write(b"x")

    assert transport.was_aborted
    assert 1 == line.gone
    assert b"" == transport.written


async def test_empty_lines_are_not_remembered_as_a_head() -> None:
    """Else an empty line would be a request."""
    line, _ = await exchange(b"\n\r\n\r\n" + GET, b"\n\r\n\r\n", b"\r\n\r\n")

    assert 1 == len(line.seen)


async def test_digits_of_a_known_head_are_read_strictly() -> None:
    """No sign, no leading zero, no more than ten: those go through llhttp, which refuses or takes them."""
    for odd in (b"", b"+3", b"0003", b"3 ", b"99999999999", b"3\r\nContent-Length: 3", b"-1"):
        raw = post(b"abc")
        line, _ = await exchange(raw, raw.replace(b"Length: 3", b"Length: " + odd))
        plain, _ = await exchange(raw.replace(b"Length: 3", b"Length: " + odd))

        assert line.seen[1:] == plain.seen
        assert line.refused == plain.refused


TOKENS = st.sampled_from([b"0", b"1", b"2", b"7", b"31", b"200"])
BODIES = st.binary(max_size=300)
FIELDS = st.sampled_from(
    [
        b"",
        b"X-A: 1\r\n",
        b"Accept: */*\r\n",
        b"Expect: 100-continue\r\n",
        b"x-b: Content-Length: 3\r\n",
        b"Bad_Name: 1\r\n",
    ]
)
LENGTH_NAMES = st.sampled_from(
    [b"Content-Length: ", b"content-length: ", b"CONTENT-LENGTH: ", b"Content-Length:"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, mostly well formed, of a few kinds so that heads repeat."""
    kind = draw(st.integers(0, 19))
    field = draw(FIELDS) if kind % 3 == 0 else b""
    if kind == 0:
        return draw(st.sampled_from([b"\r\n", b"\n", b"\n\r\n\r\n", b"\r\n\r\n"])) + GET
    if kind == 1:
        return draw(
            st.sampled_from(
                [b"GET /../ HTTP/1.1\r\nHost: a\r\n\r\n", b"BREW\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"]
            )
        )
    if kind == 2:
        body = draw(st.binary(min_size=1, max_size=20))
        return CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    if kind < 7:
        return b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n"
    body = draw(BODIES)
    name = draw(LENGTH_NAMES) if kind == 7 else b"Content-Length: "
    return b"POST /v1 HTTP/1.1\r\nHost: a\r\n" + field + name + b"%d\r\nX-Z: 1\r\n\r\n" % len(body) + body


def outcome(line: Line, transport: FakeTransport) -> tuple[object, ...]:
    """Everything about a connection that somebody else can see."""
    written = b"\r\n".join(
        row for row in bytes(transport.written).split(b"\r\n") if not row.startswith(b"Date: ")
    )
    # 100 Continue depends on how much of the body came with the head; that is not what is compared
    written = written.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    return line.seen, line.refused, written, transport.has_eof, transport.is_closing()


async def play(packets: list[bytes], *, is_forgetful: bool) -> tuple[object, ...]:
    """Send packets; a forgetful connection never takes the short way."""
    line = Line(Bounds(body=250))
    service = make_service(line)
    downstream, transport = connect(service)
    for packet in packets:
        if is_forgetful:
            downstream._reader._prefix = None
        downstream.data_received(packet)
        await turn(40 if downstream._reader.queue else 1)
    transport.abort()
    await turn()

    assert 0 == service.body_memory
    assert 0 == service.active
    return outcome(line, transport)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sequence=st.lists(requests(), min_size=1, max_size=6), data=st.data())
async def test_known_heads_are_read_as_unknown_ones_are(sequence: list[bytes], data: st.DataObject) -> None:
    """The same requests, the same answers, the same end, however the bytes are cut into packets."""
    stream = b"".join(sequence)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    packets = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]

    # one request per packet and one connection that forgets: nothing is pipelined, nothing is known
    assert await play(sequence, is_forgetful=True) == await play(packets, is_forgetful=False)


@pytest.mark.parametrize(
    "stream",
    [
        post(b"abc") + post(b"defg") + post(b"h") + GET + GET,
        GET + GET + CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + CHUNKED + b"0\r\n\r\n" + GET,
        post(b"abc") + post(b"") + post(b"abc") + b"NONSENSE\r\n\r\n",
    ],
)
async def test_known_heads_cut_at_every_offset(stream: bytes) -> None:
    """Two packets, one byte at a time, after a first request that makes the head known."""
    first = stream[: stream.index(b"\r\n\r\n") + 4]
    first = post(b"abc") if first.startswith(b"POST") else GET
    expected = await play([first, stream], is_forgetful=True)

    assert expected == await play(
        [first, *(stream[i : i + 1] for i in range(len(stream)))], is_forgetful=False
    )
    for cut in range(1, len(stream)):
        assert expected == await play([first, stream[:cut], stream[cut:]], is_forgetful=False)


DISTRUSTED = Refusal(Reason.CERTIFICATE_REVOKED)


async def test_a_cut_is_meant_for_one_reply() -> None:
    """One that has ended, or another client's, cuts nobody; a client that does not read is reset."""
    line, other = Line(), Line()
    line.wait_for = other.wait_for = asyncio.get_running_loop().create_future()
    downstream, transport = connect(make_service(line))
    elsewhere, _ = connect(make_service(other))
    downstream.data_received(GET)
    elsewhere.data_received(GET)
    mine, theirs = downstream._reply, elsewhere._reply
    assert mine is not None
    assert theirs is not None
    downstream.cut(theirs, Refused(DISTRUSTED))
    missed = list(line.refused)
    downstream.pause_writing()
    downstream.cut(mine, Refused(DISTRUSTED))

    assert ([], ["certificate-revoked"]) == (missed, line.refused)
    assert transport.was_aborted

    downstream.cut(mine, Refused(DISTRUSTED))

    assert ["certificate-revoked"] == line.refused


async def test_a_distrusted_client_is_cut_off() -> None:
    """The running line gets the refusal at once, what waits behind it is never served."""
    line = Line()
    line.wait_for = asyncio.get_running_loop().create_future()
    downstream, transport = connect(make_service(line), is_tls=True)
    downstream.data_received(GET + GET)
    downstream.distrust(DISTRUSTED)
    refused = list(line.refused)
    downstream.data_received(GET)
    await turn()
    downstream.distrust(DISTRUSTED)

    assert ["certificate-revoked"] == refused == line.refused
    assert [400] == statuses(transport.written)
    assert b"Connection: close" in transport.written
    assert transport.is_closing()
    assert downstream.is_ending
    assert 1 == len(line.seen)


async def test_a_distrusted_client_that_says_nothing_is_closed() -> None:
    """In order if it listens, at once if it does not; a head that has begun is never finished."""
    service = make_service(Line())
    idle, quiet = connect(service, is_tls=True)
    idle.data_received(GET[:10])
    assert not idle.is_ending
    idle.distrust(DISTRUSTED)
    line = Line()
    line.answer = b"x" * 100
    deaf, silent = connect(make_service(line), room=50)
    deaf.data_received(GET)
    deaf.distrust(DISTRUSTED)
    idle.data_received(GET[10:])
    await turn()
    lingering, still_open = connect(make_service(Line()))
    lingering.distrust(DISTRUSTED)

    assert (True, False, b"") == (quiet.is_closing(), quiet.was_aborted, bytes(quiet.written))
    assert silent.was_aborted
    assert idle.is_ending
    assert (True, False) == (lingering.is_ending, still_open.is_closing())
    assert (None, None) == (idle.transport_info("peername"), deaf.transport_info("peername"))


async def test_a_transport_is_asked_through_its_connection() -> None:
    """While there is one."""
    downstream, _ = connect(make_service(Line()))

    assert "192.0.2.1" == downstream.transport_info("peername")[0]
