"""What is true of every exchange, whatever comes in and whatever breaks (docs/life-of-a-request.md)."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.exchange import Outcome
from gateway.core.limits import Ledger
from gateway.core.permit import Permit, Reservation, Vetted
from gateway.core.ports import ClientGone, StoreUnavailable
from gateway.core.refusal import Reason, Refusal, Refused, Source
from tests.doubles.line import PEER, STRANGER, TOKEN, Headers, Line
from tests.doubles.outside import FakeAnswer
from tests.pipeline.test_failures import STAGES

SECRET = "text-of-an-exception"
FAULTS = st.one_of(
    st.builds(
        lambda reason, source: Refused(Refusal(reason, "a sentence", note=SECRET, source=source)),
        st.sampled_from(Reason),
        st.sampled_from(Source),
    ),
    st.sampled_from([RuntimeError, ValueError, KeyError, OSError, StoreUnavailable]).map(
        lambda kind: kind(SECRET)
    ),
    st.just(ClientGone()),
)
FIELDS = st.dictionaries(
    st.sampled_from([b"accept", b"cookie", b"x-api-key", b"x-gateway-assertion", b"content-type", b"dpop"]),
    st.just(TOKEN.encode()),
)
LEDGERS = st.sampled_from([Ledger(lease=1), Ledger(refused="60/minute", retry_after=3.0)])
ANSWERS = st.builds(
    FakeAnswer,
    st.lists(
        st.tuples(
            st.sampled_from([b"content-type", b"set-cookie", b"location", b"server"]),
            st.sampled_from([b"text/event-stream", b"application/json", b"\xff"]),
        ),
        max_size=3,
    ),
    st.lists(st.binary(max_size=8), max_size=3),
    st.sampled_from([200, 204, 404, 500]),
)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    """A line with any request, in which any stages fail in any way."""
    line = Line()
    line.path = draw(st.sampled_from([line.path, "/v1/other", "/"]))
    line.peer = draw(st.sampled_from([PEER, PEER, STRANGER]))
    line.headers = Headers(draw(FIELDS), line.events)
    line.set_route(request_headers=frozenset({b"accept"}))
    line.recorder.is_healthy = draw(st.sampled_from([True, True, True, False]))
    line.store.ledger = draw(LEDGERS)
    line.detector.strength = draw(st.none() | st.floats(0.0, 1.0))
    line.backends.answer = draw(ANSWERS)
    for stage in draw(st.lists(st.sampled_from(sorted(STAGES)), max_size=2)):
        STAGES[stage](line, draw(FAULTS))
    return line


@given(lines())
def test_every_exchange(line: Line) -> None:
    """One record; nothing upstream without all proofs; nothing held; one answer at most, without secrets."""
    with suppress(ClientGone):
        asyncio.run(line.gateway.handle(line.call(), line.reply))
    ex = line.record()

    assert 1 == line.events.count("record")
    assert "record" == line.events[-1]
    assert [] == line.store.held
    assert line.store.ledger.refused is None or [] == line.store.settled
    for outbound, *proofs in line.backends.asked:
        assert [Permit, Reservation, Vetted] == [type(proof) for proof in proofs]
        assert (
            line.events.index("store.admit")
            < line.events.index("inspect")
            < line.events.index("backends.open")
        )
        assert b"signed-by-the-gateway" in outbound.headers
        assert {b"accept"} >= {
            name
            for name, value in line.headers.fields.items()
            if b"%b: %b" % (name, value) in outbound.headers
        }
    if ex.answered_at:
        assert 1 == line.backends.answer.closed
    assert ex.status == line.reply.status
    if ex.outcome is Outcome.REFUSED:
        problem = msgspec.json.decode(line.reply.body)
        assert line.reply.status == problem["status"] >= 400
        assert {"type", "title", "status", "instance", "error"} <= problem.keys()
        assert b"application/problem+json" in line.reply.headers
    if ex.outcome is Outcome.CLIENT_GONE:
        assert not {"reply.send", "reply.abort"} & set(line.events)
    assert SECRET.encode() not in line.reply.body + line.reply.headers + (line.reply.aborted or b"")
    assert (ex.outcome is Outcome.SERVED) == (
        line.reply.is_started and ex.refusal is None and ex.outcome is not Outcome.CLIENT_GONE
    )


@given(lines())
def test_backends_set_nothing_but_what_is_allowed(line: Line) -> None:
    """Of a backend's fields only those of the route's list reach the client."""
    with suppress(ClientGone):
        asyncio.run(line.gateway.handle(line.call(), line.reply))

    assert not any(name in line.reply.headers for name in (b"set-cookie", b"location", b"server"))
