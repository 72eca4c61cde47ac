"""What is not allowed is refused, in one shape, with one record each, and never reaches the backend."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import openai
import pytest

from tests.challenges import parse_all
from tests.e2e.world import prompt

if TYPE_CHECKING:
    import httpx

    from tests.e2e.backend import Backend
    from tests.e2e.running import RunningGateway
    from tests.e2e.world import World

LIMIT = 3  # of the route `limited`


def request_id(answer: httpx.Response) -> str:
    """Return the id under which a refusal is recorded."""
    return str(answer.json()["instance"]).rsplit(":", 1)[1]


@dataclass
class Case:
    """One thing that somebody tries, and what must come of it."""

    name: str
    status: int
    word: str
    reason: str
    token: dict[str, Any] = field(default_factory=dict)
    body: bytes | dict[str, Any] = field(default_factory=dict)
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = field(default_factory=dict)
    has_token: bool = True


CASES = [
    Case("no-token", 401, "credential-required", "token-required", has_token=False),
    Case("audience", 401, "credential-rejected", "token-audience", {"audience": "somebody-else"}),
    Case("expired", 401, "credential-rejected", "token-expired", {"issued_at": 1e9, "expires_in": 60}),
    Case("stranger", 401, "credential-rejected", "token-issuer-unknown", {"issuer": "https://evil.example"}),
    Case("stolen", 401, "credential-rejected", "token-binding", {"bind": "x" * 43}),
    Case("unbound", 401, "credential-rejected", "token-unbound", {"bind": None}),
    Case("no-scope", 403, "insufficient-scope", "scope-missing", {"scopes": []}),
    Case("no-role", 403, "forbidden", "no-rule-allows", {"groups": ["visitors"]}),
    Case("model", 403, "forbidden", "no-rule-allows", body={"model": "gpt-5"}),
    Case("too-many-tokens", 403, "forbidden", "no-rule-allows", body={"max_tokens": 513}),
    Case("no-such-route", 403, "forbidden", "route-unknown", path="/v1/completions"),
    Case("management", 403, "forbidden", "route-unknown", path="/slots"),
    Case("schema", 422, "schema-violation", "schema-violation", body={"messages": "hello"}),
    Case("unknown-member", 422, "schema-violation", "schema-violation", body={"system_override": True}),
    Case("two-models", 400, "invalid-body", "json-duplicate-key", body=b'{"model":"tiny","model":"x"}'),
    Case("no-json", 400, "invalid-body", "json-invalid", body=b"{'model': 'tiny'}"),
    Case("two-credentials", 400, "invalid-request", "credential-ambiguous", headers={"x-api-key": "k"}),
    Case("form", 415, "unsupported-media-type", "content-type", headers={"content-type": "text/plain"}),
    Case("dot-dot", 400, "invalid-request", "target-refused", path="/v1/%2e%2e/chat/completions"),
    Case("too-large", 413, "too-large", "body-too-large", body=b" " * (1024 * 1024 + 1)),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_not_allowed(case: Case, world: World, gateway: RunningGateway, backend: Backend) -> None:
    """Status, public word and problem document; the precise reason in the record alone; nothing upstream."""
    canary = f"refused-{case.name}"
    token = world.token(canary, **case.token) if case.has_token else None
    headers = {"content-type": "application/json"} | case.headers
    with world.http(gateway, token) as client:
        if isinstance(case.body, bytes):
            answer = client.post(case.path, content=case.body, headers=headers)
        else:
            content = msgspec.json.encode(prompt(canary) | case.body)
            answer = client.post(case.path, content=content, headers=headers)
    problem = answer.json()
    record = gateway.record(request_id(answer))

    assert (case.status, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    assert (case.status, case.word) == (problem["status"], problem["type"].rsplit(":", 1)[1])
    assert case.word == problem["error"]["code"]
    assert ("refused", case.status, case.reason) == tuple(
        record[key] for key in ("outcome", "status", "reason")
    )
    challenges = parse_all(answer.headers.get_list("www-authenticate"))
    assert bool(challenges) == (case.status == 401 or case.word == "insufficient-scope")
    assert backend.asked(canary) is None
    assert token is None or token not in answer.text
    assert token is None or token not in gateway.audit.read_text()


def test_unknown_and_forbidden_look_alike(world: World, gateway: RunningGateway) -> None:
    """Who may not use a route cannot tell it from one that does not exist."""
    with world.http(gateway, world.token("explorer", groups=["visitors"])) as client:
        answers = [
            client.post(path, json=prompt("explore")) for path in ("/v1/chat/completions", "/v1/nothing")
        ]

    def shape(answer: httpx.Response) -> tuple[object, ...]:
        # whether the connection is kept says only if the body had come by then
        ours = {key: value for key, value in answer.headers.items() if key not in {"date", "connection"}}
        return answer.status_code, ours, answer.text.replace(request_id(answer), "")

    assert shape(answers[0]) == shape(answers[1])


def test_over_the_limit(world: World, gateway: RunningGateway, backend: Backend) -> None:
    """After the last request that the limit grants: 429, with when to come back; others are not concerned."""
    with world.openai(gateway, world.token("greedy"), "/limited") as client:
        for _ in range(LIMIT):
            client.chat.completions.create(**prompt("greedy-prompt"))
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**prompt("greedy-prompt"))
    with world.openai(gateway, world.token("modest"), "/limited") as client:
        client.chat.completions.create(**prompt("modest-prompt"))
    headers = caught.value.response.headers
    record = gateway.record(request_id(caught.value.response))

    assert "too-many-requests" == caught.value.code
    assert 0 < int(headers["retry-after"]) <= 1200
    assert ("3/hour", '"3/hour";q=3;w=3600') == (record["limit"], headers["ratelimit-policy"])
    assert headers["ratelimit"].startswith('"3/hour";r=0;t=')
    assert ("refused", 429, "rate-exceeded") == tuple(record[key] for key in ("outcome", "status", "reason"))
    assert LIMIT == sum(b"greedy-prompt" in one.body for one in backend.seen)


def test_too_many_at_the_same_time(world: World, gateway: RunningGateway, backend: Backend) -> None:
    """A slot is held as long as the answer runs, and free again afterwards."""
    with world.openai(gateway, world.token("parallel")) as client:
        streams = [client.chat.completions.create(**prompt("drip-parallel"), stream=True) for _ in range(4)]
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**prompt("one-more"))
        for stream in streams:
            stream.close()
        backend.wait(
            lambda: 4 == sum(one.lost_at > 0 for one in backend.seen if b"drip-parallel" in one.body)
        )
        answer = client.chat.completions.create(**prompt("afterwards"))

    assert "too-many-concurrent" == caught.value.code
    assert answer.choices


@pytest.mark.parametrize("owner", ["nobody", "stranger", "revoked"])
def test_no_certificate_no_request(owner: str, world: World, gateway: RunningGateway) -> None:
    """Without a valid certificate of the clients' authority the handshake fails: no byte of HTTP comes back."""
    context = world.context(None if owner == "nobody" else getattr(world, owner))
    with pytest.raises((ssl.SSLError, ConnectionError)):  # noqa: PT012, SIM117 - TLS 1.3 tells at the first read
        with (
            socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if not secured.recv(64):
                raise ConnectionResetError


def test_bytes_that_are_no_request(world: World, gateway: RunningGateway) -> None:
    """They are answered once, recorded once, and the connection is closed."""
    with (
        socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as plain,
        world.context(world.alice).wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        secured.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"
        )
        data = b""
        while piece := secured.recv(4096):
            data += piece
    request = data.rsplit(b'"instance":"', 1)[1].split(b'"')[0].rsplit(b":", 1)[1].decode()
    record = gateway.record(request)

    assert data.startswith(b"HTTP/1.1 400 ")
    assert 1 == data.count(b"HTTP/1.1 ")
    assert ("refused", "client") == (record["outcome"], record["source"])
    assert "who" not in record
