"""The order of the checks, and what is true after each of them refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.exchange import Outcome
from gateway.core.identity import Peer
from gateway.core.limits import Ledger
from gateway.core.ports import StoreUnavailable
from gateway.core.refusal import LimitState, Reason, Refusal, Source, refuse
from gateway.core.route import Requirements
from tests.doubles.line import ID, PEER, STRANGER, Line
from tests.doubles.outside import FakeAnswer
from tests.unit.stages.identify.parts import NOW, signer
from tests.unit.stages.identify.proofs import NONCES, accepting, bound_token, proof_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.stages.identify.nonce import Nonces

HOLDER = signer("ES256", "holder")
SERVED = [
    "identify",
    "policy.enter",
    "store.admit",
    "body.read",
    "inspect",
    "counters.request",
    "score",
    "policy.decide",
    "onward.find",
    "backends.open",
    "meter",
    "reply.relay",
    "store.settle",
    "record",
]


@pytest.fixture
def line() -> Line:
    """A line between doubles."""
    return Line()


def test_a_credential_for_the_backend_may_take_its_time(line: Line) -> None:
    """What has to be obtained first is waited for, at the same place of the line."""
    line.onward.is_cold = True
    line.run()

    assert [{"onward.find": "onward.obtain"}.get(event, event) for event in SERVED] == line.events


def test_what_is_allowed_goes_all_the_way(line: Line) -> None:
    """Every stage once, in the one order there is; everything given back; everything on the record."""
    ex = line.run()

    assert SERVED == line.events
    assert (Outcome.SERVED, 200, "version-1", None) == (ex.outcome, ex.status, ex.runtime_version, ex.refusal)
    assert ("jti-1", "10.0.0.1:8000", len(line.body.data), 2) == (
        ex.assertion,
        ex.endpoint,
        ex.bytes_in,
        ex.bytes_out,
    )
    assert [] == line.store.held
    assert 1 == line.backends.answer.closed
    assert [ex] == line.counters.outcomes
    assert ["spiffe://example.org/ada"] == line.store.asked == line.counters.requests


def test_stamps_are_in_order(line: Line) -> None:
    """The time of each stage can be told from the stamps."""
    ex = line.run()
    stamps = [
        ex.began_at,
        ex.identified_at,
        ex.entered_at,
        ex.admitted_at,
        ex.inspected_at,
        ex.forwarded_at,
        ex.answered_at,
        ex.ended_at,
    ]

    assert sorted(set(stamps)) == stamps


def test_bounds_are_the_routes(line: Line) -> None:
    """The body is read under the bounds of the route that was matched."""
    line.run()

    assert (line.route.bounds.body, line.route.bounds.body_time) == line.body.asked


def test_the_proofs_are_of_one_request(line: Line) -> None:
    """What is sent carries the permit, the reservation and the vetted body of this very request."""
    line.run()
    [(outbound, permit, reservation, vetted)] = line.backends.asked
    admission = reservation.admission

    assert reservation.permit is permit
    assert admission.entry is vetted.entry
    assert (permit.identity, permit.route, permit.model, permit.rule) == (
        admission.entry.identity,
        line.route,
        "tiny",
        "the-rule",
    )
    assert b'{"canonical":true}' == outbound.body


@pytest.mark.parametrize(("nonces", "expected"), [(NONCES, True), (None, False)])
def test_who_proves_a_key_is_given_the_next_nonce(line: Line, nonces: Nonces | None, expected: bool) -> None:
    """With the answer itself, where nonces are demanded (RFC 9449, section 8.2); nobody else gets one."""
    line.clock.now = NOW
    line.peer = STRANGER
    line.set_route(require=Requirements(bound=True, binding="key"))
    line.gateway.runtime = replace(line.runtime(), identification=accepting(nonces=nonces))
    token = bound_token()
    nonce = NONCES.make(HOLDER.thumbprint, NOW)
    proof = proof_for(token, nonce=nonce)
    line.headers.fields = {b"authorization": f"DPoP {token}".encode(), b"dpop": proof.encode()}
    ex = line.run()

    assert ex.identity is not None
    assert (Outcome.SERVED, ("dpop", "jwt")) == (ex.outcome, ex.identity.methods)
    assert expected is (f"dpop-nonce: {nonce}\r\n".encode() in line.reply.headers)
    assert b"dpop" not in line.backends.asked[0][0].headers.lower()


@dataclass
class Case:
    """How to make one stage refuse, and what must come of it."""

    spoil: Callable[[Line], object]
    reason: Reason
    status: int
    last: str  # the last event before the answer
    is_settled: bool = False
    is_identified: bool = True


def spoiled(**attributes: object) -> Callable[[Line], None]:
    """Return what sets attributes of a line, `part__name=value` for those of its parts."""

    def spoil(line: Line) -> None:
        for name, value in attributes.items():
            part, _, attribute = name.rpartition("__")
            setattr(getattr(line, part) if part else line, attribute, value)

    return spoil


DENIED = Refusal(Reason.NO_RULE_ALLOWS, "no")
FULL = Ledger(refused="60/minute", retry_after=12.5, states=(LimitState("60/minute", 60, 60.0, 0, 12.5),))
BUSY = Ledger(refused="concurrent", is_concurrency=True, retry_after=1.0)
CASES = {
    "record": Case(
        spoiled(recorder__is_healthy=False), Reason.RECORD_UNAVAILABLE, 503, "", is_identified=False
    ),
    "identify": Case(spoiled(peer=STRANGER), Reason.CREDENTIAL_MISSING, 401, "identify", is_identified=False),
    "route": Case(spoiled(path="/v1/other"), Reason.ROUTE_UNKNOWN, 403, "identify"),
    "require": Case(
        lambda line: line.set_route(require=Requirements(token=True)), Reason.TOKEN_REQUIRED, 401, "identify"
    ),
    "enter": Case(spoiled(policy__early=DENIED), Reason.NO_RULE_ALLOWS, 403, "policy.enter"),
    "limit": Case(spoiled(store__ledger=FULL), Reason.RATE_EXCEEDED, 429, "store.admit"),
    "concurrency": Case(spoiled(store__ledger=BUSY), Reason.CONCURRENCY_EXCEEDED, 429, "store.admit"),
    "store": Case(spoiled(store__fails=StoreUnavailable()), Reason.STORE_UNAVAILABLE, 503, "store.admit"),
    "body": Case(
        spoiled(body__fails=refuse(Reason.BODY_TOO_LARGE)), Reason.BODY_TOO_LARGE, 413, "body.read", True
    ),
    "inspect": Case(
        spoiled(inspector__refusal=Refusal(Reason.SCHEMA_VIOLATION, "at /model")),
        Reason.SCHEMA_VIOLATION,
        422,
        "inspect",
        True,
    ),
    "score": Case(spoiled(detector__strength=0.9), Reason.RISK_TOO_HIGH, 403, "score", True),
    "authorize": Case(spoiled(policy__late=DENIED), Reason.NO_RULE_ALLOWS, 403, "policy.decide", True),
    "open": Case(
        spoiled(backends__fails=refuse(Reason.BACKEND_TIMEOUT, source=Source.UPSTREAM)),
        Reason.BACKEND_TIMEOUT,
        504,
        "backends.open",
        True,
    ),
    "relay": Case(
        spoiled(reply__fails=refuse(Reason.ANSWER_TOO_LARGE, source=Source.UPSTREAM)),
        Reason.ANSWER_TOO_LARGE,
        502,
        "reply.relay",
        True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_ends_the_line(name: str, line: Line) -> None:
    """Nothing after the refusing stage happens; one answer, one record; what was taken is given back."""
    case = CASES[name]
    case.spoil(line)
    ex = line.run()
    problem = msgspec.json.decode(line.reply.body)
    before = line.events[: line.events.index("reply.send")]

    assert (Outcome.REFUSED, case.status, case.status) == (ex.outcome, ex.status, line.reply.status)
    assert ex.refusal is not None
    assert case.reason is ex.refusal.reason
    assert ([case.last] if case.last else []) == before[-1:]
    assert (SERVED[: len(before)] if name != "require" else ["identify"]) == before
    assert ["reply.send", *(["store.settle"] if case.is_settled else []), "record"] == line.events[
        len(before) :
    ]
    assert [] == line.store.held
    assert (case.status, f"urn:request:{ID}") == (problem["status"], problem["instance"])
    assert [ex] * case.is_identified == line.counters.outcomes
    assert name in {"open", "relay"} or [] == line.backends.asked


def test_the_answer_is_closed_if_it_cannot_be_passed_on(line: Line) -> None:
    """A backend's connection is never leaked."""
    line.reply.fails = refuse(Reason.ANSWER_TOO_LARGE, source=Source.UPSTREAM)
    line.run()

    assert 1 == line.backends.answer.closed


@pytest.mark.parametrize(
    ("content_type", "is_said"),
    [(b"text/event-stream; charset=utf-8", True), (b"application/json", False), (None, False)],
)
def test_after_the_first_byte_it_breaks_off(line: Line, content_type: bytes | None, is_said: bool) -> None:
    """An event stream says why it ends; anything else only ends, visibly; both have failed."""
    headers = [] if content_type is None else [(b"content-type", content_type)]
    line.backends.answer = FakeAnswer(headers, [b"data: 1\n\n"])
    line.reply.fails_later = refuse(Reason.BACKEND_DIED, source=Source.UPSTREAM)
    ex = line.run()
    last = line.reply.aborted

    assert last is not None
    assert (Outcome.FAILED, 200, Reason.BACKEND_DIED) == (
        ex.outcome,
        ex.status,
        None if ex.refusal is None else ex.refusal.reason,
    )
    assert last.startswith(b"\n\nevent: error\ndata: {") is is_said
    assert bool(last) is is_said
    assert 1 == line.backends.answer.closed
    assert [] == line.store.held


def test_bytes_that_are_no_request(line: Line) -> None:
    """They are answered and recorded once; nobody is identified, nothing is counted."""
    line.gateway.reject(
        "id-1", Peer("10.9.9.9", 1), Refusal(Reason.FRAMING_REFUSED, "two lengths"), line.reply
    )
    ex = line.record()

    assert (400, True) == (line.reply.status, line.reply.is_closing)
    assert ["reply.send", "record"] == line.events
    assert (None, Outcome.REFUSED, 400, "id-1") == (ex.call, ex.outcome, ex.status, ex.id)
    assert [] == line.counters.outcomes


def test_one_request_has_one_runtime(line: Line) -> None:
    """A configuration that is swapped in the middle of a request concerns the next one only."""
    other = Line()
    line.body.then = lambda: setattr(line.gateway, "runtime", other.runtime("version-2"))
    ex = line.run()

    assert ("version-1", Outcome.SERVED) == (ex.runtime_version, ex.outcome)
    assert SERVED == line.events
    assert [] == other.events
    assert [] == line.store.held


@pytest.mark.parametrize("name", ["inspect", "open"])
def test_a_refusal_has_the_same_runtime(name: str, line: Line) -> None:
    """Its answer, its counters and its record are those of the configuration that it began under."""
    other = Line()
    CASES[name].spoil(line)
    line.body.then = lambda: setattr(line.gateway, "runtime", other.runtime("version-2"))
    ex = line.run()

    assert "version-1" == ex.runtime_version
    assert msgspec.json.decode(line.reply.body)["type"].startswith("urn:version-1:")
    assert [ex] == line.counters.outcomes
    assert [] == other.recorder.exchanges


def test_the_peer_is_on_the_record(line: Line) -> None:
    """Whoever it was, even if nobody was identified."""
    assert PEER is line.run().peer
