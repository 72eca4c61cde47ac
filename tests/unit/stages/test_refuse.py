"""How refusals look to clients."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.refusal import LimitState, Reason, Refusal
from gateway.stages.refuse import Problems
from gateway.stages.refuse.public import PUBLIC, public
from tests.unit.observe.exchanges import ALICE, ANONYMOUS, ID, malformed, refused

if TYPE_CHECKING:
    from gateway.core.exchange import Exchange
    from gateway.core.identity import Identity

BASE = "https://gateway.example.org/problems/"
RATE = LimitState("per-minute", 60, 60.0, 0, 11.2)
CONCURRENT = LimitState("concurrent", 4, 0.0, 0, 0.0)
FIELD = re.compile(rb"[A-Za-z-]+: [\x20-\x7e]+\r\n")


def problems() -> Problems:
    """Return a renderer whose reports go nowhere."""
    return Problems(BASE, "models", lambda ex, fault: None)


def fields(headers: bytes) -> dict[str, str]:
    """Take field lines apart."""
    lines = headers.decode("ascii").split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


def render(refusal: Refusal, identity: Identity | None = None) -> tuple[int, dict[str, str], dict, bool]:
    """Render a refusal and parse what a client gets."""
    status, headers, body, is_closing = problems().render(refused(refusal, identity=identity), refusal)
    return status, fields(headers), msgspec.json.decode(body), is_closing


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("detail", ["", 'You may send 60 "requests".'])
def test_every_reason_is_a_valid_problem_document(reason: Reason, detail: str) -> None:
    """RFC 9457: type, title, status; the SDK's error object beside it; never cached."""
    status, headers, body, _ = render(Refusal(reason, detail, note="secret note"))

    entry = PUBLIC[reason]
    assert status == body["status"] == entry.status
    assert (entry.type or BASE + entry.word) == body["type"]
    assert f"urn:request:{ID}" == body["instance"]
    assert {"message", "type", "param", "code"} == set(body["error"])
    assert entry.word == body["error"]["code"]
    assert (detail if detail and not entry.is_silent else entry.title) == body["error"]["message"]
    assert "application/problem+json" == headers["Content-Type"]
    assert "no-store" == headers["Cache-Control"]
    assert "secret note" not in str(body)


@pytest.mark.parametrize("reason", Reason)
def test_the_public_word_is_coarser_than_the_record(reason: Reason) -> None:
    """A client never reads the reason of a refused credential or a denied request."""
    entry = public(reason)

    if entry.status in {401, 403} and reason is not Reason.CERTIFICATE_REQUIRED:
        assert reason.value != entry.word
    assert 400 <= entry.status <= 599


def test_one_word_has_one_status() -> None:
    """A problem type means one thing."""
    statuses: dict[str, set[int]] = {}
    for entry in PUBLIC.values():
        statuses.setdefault(entry.word, set()).add(entry.status)

    assert dict.fromkeys(statuses, 1) == {word: len(found) for word, found in statuses.items()}


def test_unknown_and_forbidden_routes_are_byte_identical() -> None:
    """Who may not use a route cannot learn whether it exists, whatever the stages say in detail."""
    answers = {
        problems().render(refused(refusal, identity=ALICE), refusal)
        for refusal in (
            Refusal(Reason.ROUTE_UNKNOWN),
            Refusal(Reason.NO_RULE_ALLOWS, "no rule allows this"),
            Refusal(Reason.DENIED_BY_RULE, "denied", rule="too-risky"),
            Refusal(Reason.RULE_ERROR, "a rule failed", note="x"),
        )
    }

    assert 1 == len(answers)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "1"), (0.0, "1"), (0.2, "1"), (1.01, "2"), (60.0, "60"), (1e300, "2764800")],
)
def test_retry_after_is_a_whole_number_of_seconds(seconds: float | None, expected: str) -> None:
    """RFC 9110, section 10.2.3: at least one second, rounded up, bounded."""
    _, headers, _, _ = render(Refusal(Reason.RATE_EXCEEDED, retry_after=seconds))

    assert expected == headers["Retry-After"]


@pytest.mark.parametrize(
    ("nonce", "expected"), [("bm9uY2U", "bm9uY2U"), ("a\r\nSet-Cookie: x", "a??Set-Cookie: x")]
)
def test_a_nonce_goes_with_its_refusal(nonce: str, expected: str) -> None:
    """RFC 9449, section 9: the client learns what its next proof must carry; nothing can inject a line."""
    status, headers, _, _ = render(Refusal(Reason.PROOF_NONCE, nonce=nonce))

    assert (401, expected) == (status, headers["DPoP-Nonce"])


def test_unavailable_says_when_to_come_back() -> None:
    """A 503 carries Retry-After, and no limits."""
    status, headers, _, _ = render(Refusal(Reason.STORE_UNAVAILABLE))

    assert (503, "1") == (status, headers["Retry-After"])
    assert "RateLimit" not in headers


def test_identified_callers_read_their_limits() -> None:
    """RateLimit fields are structured lists; a concurrency limit has no window."""
    refusal = Refusal(Reason.RATE_EXCEEDED, retry_after=12.0, limits=(RATE, CONCURRENT))
    _, headers, _, _ = render(refusal, ALICE)

    assert '"per-minute";q=60;w=60, "concurrent";q=4;qu="concurrent-requests"' == headers["RateLimit-Policy"]
    assert '"per-minute";r=0;t=12, "concurrent";r=0' == headers["RateLimit"]


def test_a_reset_does_not_lie_behind_the_wait() -> None:
    """A limit that fills up steadily has more before it is whole: `t` says when, no later than `Retry-After`."""
    refusal = Refusal(Reason.RATE_EXCEEDED, retry_after=2.5, limits=(RATE,))
    _, headers, _, _ = render(refusal, ALICE)

    assert ("3", '"per-minute";r=0;t=3') == (headers["Retry-After"], headers["RateLimit"])


@pytest.mark.parametrize("identity", [None, ANONYMOUS])
def test_strangers_do_not_read_limits(identity: Identity | None) -> None:
    """Who proved nothing learns when to come back, not how the limits are made."""
    _, headers, _, _ = render(Refusal(Reason.RATE_EXCEEDED, retry_after=3.0, limits=(RATE,)), identity)

    assert "3" == headers["Retry-After"]
    assert "RateLimit" not in headers
    assert "RateLimit-Policy" not in headers


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.FRAMING_REFUSED, (400, True)),
        (Reason.HEAD_TIMEOUT, (408, True)),
        (Reason.BODY_TOO_LARGE, (413, True)),
        (Reason.EXPECTATION_REFUSED, (417, True)),
        (Reason.HOST_REFUSED, (421, True)),
        (Reason.HEAD_TOO_LARGE, (431, True)),
        (Reason.METHOD_REFUSED, (501, True)),
        (Reason.VERSION_UNSUPPORTED, (505, True)),
        (Reason.RATE_EXCEEDED, (429, False)),
        (Reason.ROUTE_UNKNOWN, (403, False)),
        (Reason.SCHEMA_VIOLATION, (422, False)),
    ],
)
def test_framing_errors_close_the_connection(reason: Reason, expected: tuple[int, bool]) -> None:
    """After doubtful framing the next byte cannot be trusted to begin a request."""
    status, _, _, is_closing = render(Refusal(reason))

    assert expected == (status, is_closing)


def test_bytes_that_are_no_request_are_answered_too() -> None:
    """There is no call and no identity then."""
    refusal = Refusal(Reason.REQUEST_MALFORMED)

    assert 400 == problems().render(malformed(), refusal)[0]


def test_a_uuid_is_named_as_one() -> None:
    """The instance is a URN either way."""
    ex = refused(Refusal(Reason.INTERNAL))
    ex.id = "0192f3a4-b5c6-7d8e-9f0a-1b2c3d4e5f60"
    body = msgspec.json.decode(problems().render(ex, Refusal(Reason.INTERNAL))[2])

    assert f"urn:uuid:{ex.id}" == body["instance"]


def test_an_answer_that_has_begun_ends_with_an_event() -> None:
    """The event is separated from whatever was cut off, and carries the same object."""
    refusal = Refusal(Reason.BACKEND_DIED, "The model stopped.")
    ex = refused(refusal)
    event = problems().event(ex, refusal)

    assert event.startswith(b"\n\nevent: error\ndata: {")
    assert event.endswith(b"}\n\n")
    assert problems().render(ex, refusal)[2] == event.split(b"data: ", 1)[1][:-2]


def test_unexpected_exceptions_go_to_the_operators() -> None:
    """`report` hands over the exchange and the exception, unchanged."""
    seen: list[tuple[Exchange, Exception]] = []
    ex, fault = refused(Refusal(Reason.INTERNAL)), ValueError("prompt text")
    Problems(BASE, "models", lambda *found: seen.append(found)).report(ex, fault)

    assert [(ex, fault)] == seen


@given(st.text(), st.text(), st.text(min_size=1), st.floats(allow_nan=False))
def test_nothing_can_break_out_of_an_answer(realm: str, name: str, detail: str, reset: float) -> None:
    """Whatever a configuration or a stage says, fields stay single lines and the body stays JSON."""
    detail = detail.encode("utf-8", "replace").decode()
    limit = LimitState(name, 1, 1.0, -1, min(reset, 1e9))
    refusal = Refusal(Reason.RATE_EXCEEDED, detail, limits=(limit,))
    _, headers, body, _ = Problems(BASE, realm, lambda *found: None).render(
        refused(refusal, identity=ALICE), refusal
    )

    assert headers == b"".join(FIELD.findall(headers))
    assert detail == msgspec.json.decode(body)["detail"]


@pytest.mark.parametrize("odd", [float("-inf"), float("inf"), float("nan"), -1.0])
def test_odd_numbers_from_a_store_do_not_break_an_answer(odd: float) -> None:
    """A refusal must never fail for what a store says about times."""
    limit = LimitState("a", 1, odd if odd > 0 else 1.0, -1, odd)
    refusal = Refusal(Reason.RATE_EXCEEDED, retry_after=odd, limits=(limit,))
    status, headers, _, _ = Problems(BASE, "r", lambda *found: None).render(
        refused(refusal, identity=ALICE), refusal
    )

    assert 429 == status
    assert headers == b"".join(FIELD.findall(headers))


@pytest.mark.parametrize("word", sorted({entry.word for entry in PUBLIC.values()}))
def test_every_public_word_is_documented(word: str) -> None:
    """`type` points to a page that explains it."""
    page = Path(__file__).parents[3] / "docs" / "problems.md"

    assert f"## {word}\n" in page.read_text()
