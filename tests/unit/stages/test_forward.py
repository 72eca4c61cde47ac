"""What leaves for a backend and what comes back: by allow-list, built anew."""

from __future__ import annotations

from math import inf

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call
from gateway.core.permit import issue_entry, issue_permit, issue_vetted
from gateway.core.prompt import Prompt
from gateway.stages.forward import answer_headers, content_type, is_event_stream, prepare
from tests.doubles.line import ID, PEER, Line
from tests.doubles.outside import CREDENTIAL, FakeAnswer
from tests.unit.stages.authorize.material import NoBody, an_identity

LINE = Line()
LINE.set_route(request_headers=frozenset({b"accept", b"openai-beta"}))
PERMIT = issue_permit(issue_entry(an_identity("user"), LINE.route), "tiny", "rule")


def outgoing(
    headers: dict[bytes, bytes] | None = None,
    *,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    query: str = "",
    body: bytes = b"{}",
    media: bytes = b"application/json",
) -> tuple[bytes, bytes, bytes]:
    """Return line, fields and body of what leaves."""
    call = Call(ID, method, path, query, headers or {}, PEER, NoBody())
    vetted = issue_vetted(issue_entry(PERMIT.identity, PERMIT.route), Prompt("tiny"), body, media)
    outbound = prepare(call, PERMIT, vetted, CREDENTIAL)
    assert "llama" == outbound.backend
    return outbound.line, outbound.headers, outbound.body


class Read:
    """Reads a request as a backend's parser would."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def test_a_request_leaves_whole() -> None:
    """Exactly these fields: the allowed one, the content type that was checked, and ours."""
    line, fields, body = outgoing({b"accept": b"text/event-stream"})

    assert b"POST /v1/chat/completions HTTP/1.1\r\n" == line
    assert [
        b"accept: text/event-stream",
        b"content-type: application/json",
        b"accept-encoding: identity",
        b"via: 1.1 gateway",
        b"x-request-id: " + ID.encode(),
        b"X-Gateway-Assertion: signed-by-the-gateway",
    ] == fields.rstrip(b"\r\n").split(b"\r\n")
    assert b"{}" == body


def test_a_request_without_a_body_names_no_type() -> None:
    """There is nothing to be of a type."""
    assert b"content-type" not in outgoing({b"content-type": b"text/x"}, method="GET", media=b"", body=b"")[1]


def test_the_query_goes_along() -> None:
    """As it came: it was bounded and judged before."""
    assert b"POST /v1/a?b=c&d HTTP/1.1\r\n" == outgoing(path="/v1/a", query="b=c&d")[0]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b"600", 600.0),
        (b"0.5", 0.5),
        (b"0", inf),
        (b"-1", inf),
        (b"None", inf),
        (b"1e9", inf),
        (b"nan", inf),
        (b"1" * 400, inf),
        (b"", inf),
    ],
)
def test_a_client_says_how_long_it_waits(said: bytes, seconds: float) -> None:
    """As the openai and anthropic clients do; nonsense says nothing."""
    headers = {b"x-stainless-read-timeout": said}
    call = Call(ID, "POST", "/v1/chat/completions", "", headers, PEER, NoBody())
    vetted = issue_vetted(issue_entry(PERMIT.identity, PERMIT.route), Prompt("tiny"), b"{}", b"")
    outbound = prepare(call, PERMIT, vetted, CREDENTIAL)

    assert seconds == outbound.patience
    assert b"stainless" not in outbound.headers


NAMES = st.sampled_from(
    [
        b"authorization",
        b"cookie",
        b"proxy-authorization",
        b"x-api-key",
        b"x-gateway-assertion",
        b"x-request-id",
        b"x-forwarded-for",
        b"forwarded",
        b"via",
        b"host",
        b"openai-organization",
        b"accept",
        b"openai-beta",
        b"accept-encoding",
        b"te",
    ]
)


@given(st.dictionaries(NAMES, st.just(b"CANARY")))
def test_nothing_of_the_client_crosses_unnamed(headers: dict[bytes, bytes]) -> None:
    """A parser on the other side sees each field once, and values of the client's in allowed ones alone."""
    line, fields, _ = outgoing(headers)
    read = Read()
    httptools.HttpRequestParser(read).feed_data(line + b"Host: x\r\nContent-Length: 0\r\n" + fields + b"\r\n")
    names = [name.lower() for name, _ in read.fields]

    assert len(names) == len(set(names))
    assert {b"accept", b"openai-beta"} & headers.keys() == {
        name.lower() for name, value in read.fields if b"CANARY" in value
    }


@pytest.mark.parametrize(
    ("method", "is_idempotent"),
    [("GET", True), ("HEAD", True), ("PUT", True), ("DELETE", True), ("OPTIONS", True), ("POST", False)],
)
def test_what_may_be_sent_twice(method: str, is_idempotent: bool) -> None:
    """Only what HTTP calls idempotent (RFC 9110, section 9.2.2); a HEAD has no body in its answer."""
    call = Call(ID, method, "/", "", {}, PEER, NoBody())
    vetted = issue_vetted(issue_entry(PERMIT.identity, PERMIT.route), Prompt(), b"", b"")
    outbound = prepare(call, PERMIT, vetted, CREDENTIAL)

    assert is_idempotent is outbound.is_idempotent
    assert ("HEAD" == method) is outbound.has_no_answer_body


def test_content_type_of_an_answer() -> None:
    """The first one, or nothing."""
    assert b"text/plain" == content_type(FakeAnswer([(b"server", b"x"), (b"content-type", b"text/plain")]))
    assert b"" == content_type(FakeAnswer([(b"server", b"x")]))


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream ; charset=utf-8", True),
        (b"text/event-streams", False),
        (b"application/json; x=text/event-stream", False),
        (b"", False),
    ],
)
def test_what_an_event_stream_is(media: bytes, expected: bool) -> None:
    """By media type, whatever its case and parameters."""
    assert expected is is_event_stream(media)


def test_an_answer_brings_allowed_fields_only() -> None:
    """Once each, the first; our request id instead of theirs; nothing that is not ASCII."""
    answer = FakeAnswer(
        [
            (b"content-type", b"text/plain"),
            (b"content-type", b"text/html"),
            (b"x-request-id", b"theirs"),
            (b"set-cookie", b"a=b"),
            (b"retry-after", b"\xff"),
        ]
    )
    line = Line()
    line.set_route(answer_headers=frozenset({b"content-type", b"x-request-id", b"retry-after"}))

    assert b"x-request-id: our-id\r\ncontent-type: text/plain\r\n" == answer_headers(
        answer, line.route, "our-id"
    )


def test_what_a_head_became_is_made_once_per_route_and_type() -> None:
    """The next request with the same head costs no look at its fields; another route or type does."""
    other = Line()
    other.set_route(request_headers=frozenset())
    elsewhere = issue_permit(issue_entry(an_identity("user"), other.route), "tiny", "rule")
    call = Call(ID, "POST", "/x", "a=b", {b"accept": b"text/plain"}, PEER, NoBody())
    fields = []
    for permit, media in (
        (PERMIT, b"a/b"),
        (PERMIT, b"a/b"),
        (PERMIT, b"c/d"),
        (elsewhere, b"c/d"),
        (PERMIT, b"a/b"),
    ):
        vetted = issue_vetted(issue_entry(permit.identity, permit.route), Prompt("tiny"), b"{}", media)
        fields.append(prepare(call, permit, vetted, CREDENTIAL).headers)

    assert fields[0] == fields[1] == fields[4]
    assert b"content-type: c/d\r\n" in fields[2]
    assert b"accept: text/plain\r\n" in fields[2]
    assert b"accept: " not in fields[3]


def test_what_an_answer_became_is_made_once_per_route() -> None:
    """Another route has another allow-list."""
    other = Line()
    other.set_route(answer_headers=frozenset({b"date"}))
    answer = FakeAnswer([(b"content-type", b"text/plain"), (b"date", b"now")])
    first, again = answer_headers(answer, LINE.route, "one"), answer_headers(answer, LINE.route, "two")
    has_date = answer.memo.has_date
    elsewhere = answer_headers(answer, other.route, "one")

    assert first.replace(b"one", b"two") == again
    assert (b"date: now" in first, b"date: now" in elsewhere) == (has_date, True)
    assert answer.memo.has_date
