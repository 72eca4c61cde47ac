"""What is allowed is served, by the clients that people use, and nothing of theirs crosses."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import msgspec
import pytest

from tests.e2e.backend import INPUT_TOKENS, OUTPUT_TOKENS, WORDS
from tests.e2e.world import ASSERTION_ISSUER, GATEWAY_ID, prompt
from tests.house.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.backend import Backend, Seen
    from tests.e2e.running import RunningGateway
    from tests.e2e.world import World

ANSWER = "".join(WORDS)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def only(backend: Backend, word: str) -> Seen:
    """Return the one request with a word in its body."""
    [seen] = [one for one in backend.seen if word.encode() in one.body]
    return seen


def test_the_official_client_gets_its_answer(world: World, gateway: RunningGateway) -> None:
    """OpenAI's own client works over mutual TLS with a token in place of its key."""
    with world.openai(gateway, world.token("plain")) as client:
        answer = client.chat.completions.create(**prompt("plain-sdk"))

    assert ANSWER == answer.choices[0].message.content
    assert answer.usage is not None
    assert OUTPUT_TOKENS == answer.usage.completion_tokens


def test_the_official_client_streams(world: World, gateway: RunningGateway) -> None:
    """Streamed answers arrive piece by piece and whole, and their usage stands in the record."""
    with (
        world.openai(gateway, world.token("streamed")) as client,
        client.chat.completions.create(
            **prompt("streamed-sdk"), stream=True, stream_options={"include_usage": True}
        ) as stream,
    ):
        request = stream.response.headers["x-request-id"]
        pieces = [event.choices[0].delta.content for event in stream if event.choices]
    record = gateway.record(request)

    assert list(WORDS) == pieces
    assert ("served", 200, True) == (record["outcome"], record["status"], record["stream"])
    assert (INPUT_TOKENS, OUTPUT_TOKENS) == (record["input_tokens"], record["output_tokens"])
    assert len(WORDS) + 2 == record["events"]


def test_json_mode_and_tools_pass(world: World, gateway: RunningGateway, backend: Backend) -> None:
    """What the built-in schema knows of OpenAI's format reaches the backend as it was meant."""
    tool = {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {}}}},
    }
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    asked = prompt(
        "tools-and-schema",
        tools=[tool],
        tool_choice="auto",
        response_format={"type": "json_schema", "json_schema": schema},
    )
    with world.openai(gateway, world.token("tools")) as client:
        answer = client.chat.completions.create(**asked)
    [call] = answer.choices[0].message.tool_calls or []

    assert "weather" == call.function.name  # type: ignore[union-attr]  # the only kind that was offered
    assert asked == msgspec.json.decode(only(backend, "tools-and-schema").body)


def test_the_record_says_what_happened(world: World, gateway: RunningGateway) -> None:
    """Who, what, where, how much, by which rule; and no credential."""
    token = world.token("recorded")
    with world.http(gateway, token) as client:
        answer = client.post("/v1/chat/completions", json=prompt("recorded-prompt"))
    record = gateway.record(answer.headers["x-request-id"])

    assert 200 == answer.status_code
    assert ("served", 200, "POST", "/v1/chat/completions", "chat", "researchers", "tiny") == tuple(
        record[name] for name in ("outcome", "status", "method", "path", "route", "rule", "model")
    )
    assert {
        "key": "https://idp.example.org|recorded",
        "subject": "recorded",
        "methods": ["jwt", "mtls"],
        "roles": ["researcher"],
        "token": sha256(token.encode()).hexdigest()[:16],
    } == {key: record["who"][key] for key in ("key", "subject", "methods", "roles", "token")}
    assert (INPUT_TOKENS, OUTPUT_TOKENS) == (record["input_tokens"], record["output_tokens"])
    assert len(answer.content) == record["bytes_out"]
    assert {"total", "identify", "limit", "inspect", "decide", "backend", "relay"} <= record["us"].keys()
    assert token not in gateway.audit.read_text()
    assert "recorded-prompt" not in gateway.audit.read_text()


def test_each_exchange_is_one_line_of_the_log(world: World, gateway: RunningGateway) -> None:
    """The log's line is the record, under the event `exchange`, and holds no credential."""
    token = world.token("logged")
    with world.http(gateway, token) as client:
        request = client.post("/v1/chat/completions", json=prompt("logged-prompt")).headers["x-request-id"]
    line = gateway.event("exchange", lambda one: one["id"] == request)

    assert gateway.record(request) == {key: value for key, value in line.items() if key != "event"}
    assert token not in str(gateway.lines)


def test_no_credential_of_the_client_crosses(world: World, gateway: RunningGateway, backend: Backend) -> None:
    """Fields are allowed by name: tokens, cookies and forged assertions stay on this side."""
    token = world.token("careful")
    headers = {
        "cookie": "session=client-cookie",
        "x-gateway-assertion": "forged-assertion",
        "x-forwarded-for": "198.51.100.7",
        "openai-organization": "client-organisation",
        "connection": "keep-alive, x-private",
        "x-private": "client-private",
    }
    with world.http(gateway, token) as client:
        answer = client.post("/v1/chat/completions", json=prompt("careful-prompt"), headers=headers)
    seen = only(backend, "careful-prompt")

    assert 200 == answer.status_code
    assert [] == [
        word
        for word in (token, "client-", "forged-assertion", "198.51.100.7", "authorization", "Bearer")
        if word in seen.raw
    ]
    assert "set-cookie" not in answer.headers
    assert "server" not in answer.headers
    assert (GATEWAY_ID,) == seen.uris
    assert "POST /v1/chat/completions HTTP/1.1" == seen.line


def test_the_backend_can_verify_who_asks(world: World, gateway: RunningGateway, backend: Backend) -> None:
    """The assertion is signed with a key that the operators' listener publishes, and matches the record."""
    with world.http(gateway, world.token("asserted")) as client:
        answer = client.post("/v1/chat/completions", json=prompt("asserted-prompt"))
    record = gateway.record(answer.headers["x-request-id"])
    assertion = only(backend, "asserted-prompt").header("x-gateway-assertion")
    published = httpx.get(f"{gateway.admin}/.well-known/jwks.json", trust_env=False).json()
    keys = jwt.PyJWKSet.from_dict(published)
    assert assertion is not None
    key = keys[jwt.get_unverified_header(assertion)["kid"]]
    claims: dict[str, Any] = jwt.decode(
        assertion, key, algorithms=["EdDSA"], audience="tiny", issuer=ASSERTION_ISSUER
    )

    assert record["assertion"] == claims["jti"]
    assert ("asserted", "https://idp.example.org") == (claims["sub"], claims["sub_iss"])
    assert answer.headers["x-request-id"] == claims["decision"]
    assert 60 >= claims["exp"] - claims["iat"]


def test_the_documented_check_accepts_the_gateway_alone(
    world: World, gateway: RunningGateway, backend: Backend
) -> None:
    """The lines of docs/backends.md, run as they stand: this gateway's connection passes, any other does not."""
    block = PYTHON.findall((ROOT / "docs/backends.md").read_text())[0]
    lines: dict[str, Any] = {}
    exec(compile(block, "docs/backends.md", "exec"), lines)  # noqa: S102 - our own page
    lines |= {
        "KEYS": jwt.PyJWKClient(f"{gateway.admin}/.well-known/jwks.json"),
        "AUDIENCE": "tiny",
        "ISSUER": ASSERTION_ISSUER,
    }
    with world.http(gateway, world.token("documented")) as client:
        client.post("/v1/chat/completions", json=prompt("documented-prompt"))
    seen = only(backend, "documented-prompt")
    assertion = seen.header("x-gateway-assertion")

    assert "documented" == lines["who_asks"](assertion, seen.certificate)["sub"]
    with pytest.raises(PermissionError, match="not a connection of the gateway"):
        lines["who_asks"](assertion, b"another certificate")
    lines |= {"AUDIENCE": "another backend"}
    with pytest.raises(jwt.InvalidAudienceError):
        lines["who_asks"](assertion, seen.certificate)


def test_a_certificate_alone_is_an_identity(world: World, gateway: RunningGateway) -> None:
    """A workload without a token is its SPIFFE ID."""
    with world.http(gateway, None, world.robot) as client:
        answer = client.get("/v1/models")
    record = gateway.record(answer.headers["x-request-id"])

    assert ["tiny"] == [model["id"] for model in answer.json()["data"]]
    assert (["mtls"], "spiffe://example.org/robot/one") == (
        record["who"]["methods"],
        record["who"]["subject"],
    )


def test_a_plain_command_line_client_is_served(world: World, gateway: RunningGateway, tmp_path: Path) -> None:
    """What the demo prints to be tried by hand works: curl, or the smallest client there is."""
    body = tmp_path / "body.json"
    body.write_bytes(msgspec.json.encode(prompt("by-hand")))
    token, url = world.token("by-hand"), f"https://localhost:{gateway.port}/v1/chat/completions"
    curl = shutil.which("curl")
    if curl is None:
        with world.http(gateway, token) as client:
            text = client.post(
                url, content=body.read_bytes(), headers={"content-type": "application/json"}
            ).text
    else:
        command = [
            curl,
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--cacert",
            str(world.pki.ca("gateway")),
        ]
        command += ["--cert", str(world.alice.certificate), "--key", str(world.alice.key), url]
        command += ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"]
        command += ["--data-binary", f"@{body}"]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout

    assert ANSWER == msgspec.json.decode(text)["choices"][0]["message"]["content"]


def test_metrics_count_what_happened(world: World, gateway: RunningGateway) -> None:
    """The operators' listener tells served from refused, by route and reason."""

    def counted(what: str) -> int:
        text = httpx.get(f"{gateway.admin}/metrics", trust_env=False).text
        lines = [line for line in text.splitlines() if line.startswith(f"gateway_exchanges_total{{{what}}}")]
        return int(lines[0].split()[-1]) if lines else 0

    served = 'route="chat",outcome="served",reason=""'
    refused = 'route="chat",outcome="refused",reason="no-rule-allows"'
    before = counted(served), counted(refused)
    with world.http(gateway, world.token("counted")) as client:
        last = [
            client.post("/v1/chat/completions", json=prompt("counted", model=model))
            for model in ("other", "tiny")
        ][-1]
    gateway.record(last.headers["x-request-id"])

    assert (before[0] + 1, before[1] + 1) == (counted(served), counted(refused))


def test_health_is_open_and_ready(gateway: RunningGateway) -> None:
    """Probes need no token and name the parts that serving needs."""
    answer = httpx.get(f"{gateway.admin}/readyz", trust_env=False)

    assert (200, True) == (answer.status_code, answer.json()["ready"])


def test_the_record_names_the_protocol(world: World, gateway: RunningGateway) -> None:
    """What was negotiated is on the record, so that the last users of an old version can be found."""
    context = world.context(world.robot)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with httpx.Client(verify=context, trust_env=False) as client:
        answer = client.get(f"https://localhost:{gateway.port}/v1/models")

    assert "TLSv1.2" == gateway.record(answer.headers["x-request-id"])["tls"]
