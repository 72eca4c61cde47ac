"""Security events of an identity provider end what runs: pushed and polled, through a real gateway."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, final

import httpx
import pytest
from aiohttp import web

from gateway.credentials.signing import Signer, generate_key, key_set
from tests.e2e.running import RunningGateway
from tests.e2e.test_revocation import cut, streaming
from tests.e2e.world import prompt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_aiohttp.plugin import AiohttpServer

    from tests.e2e.backend import Backend
    from tests.e2e.world import World

ISSUER = "https://idp.example.org"
AUDIENCE = "https://gateway.example.org/signals"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
SIGNALS = """\
  signals:
    - name: idp
      issuer: {issuer}
      audience: {audience}
      jwks: file:{jwks}
      algorithms: [ES256]
      push: {{token: "file:{secret}"}}
{poll}"""
POLL = """\
      poll: {{endpoint: "{url}/poll", token: "file:{secret}", interval: 50ms}}
"""


@final
class Transmitter:
    """An identity provider that knows better than its tokens."""

    def __init__(self, directory: Path) -> None:
        self.signer = Signer(generate_key("ES256"))
        self.directory = directory
        self.jwks = directory / "signals.json"
        self.jwks.write_bytes(key_set(self.signer))
        self.secret = directory / "signals.secret"
        self.secret.write_text("push-secret")
        self.secret.chmod(0o600)
        self.waiting: dict[str, str] = {}
        self.acknowledged: list[str] = []
        self._count = 0

    def event(self, kind: str, subject: dict[str, Any], **changed: Any) -> str:
        """Sign one event."""
        self._count += 1
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(time.time()),
            "jti": f"event-{self._count}",
            "sub_id": subject,
            "events": {kind: {"event_timestamp": int(time.time())}},
        }
        header = {"typ": "secevent+jwt", "alg": "ES256", "kid": self.signer.kid}
        return self.signer.sign(claims | changed, header).decode()

    async def poll(self, request: web.Request) -> web.Response:
        """Give what waits until it is acknowledged (RFC 8936)."""
        assert "Bearer push-secret" == request.headers["authorization"]
        question = await request.json()
        for name in question.get("ack", ()):
            self.acknowledged.append(name)
            self.waiting.pop(name, None)
        return web.json_response({"sets": self.waiting})

    def configure(self, world: World, backend: Backend, url: str = "") -> RunningGateway:
        """Return a gateway that listens to it."""
        configuration = world.configure(self.directory, backend.port)
        lines = SIGNALS.format(
            issuer=ISSUER,
            audience=AUDIENCE,
            jwks=self.jwks,
            secret=self.secret,
            poll=POLL.format(url=url, secret=self.secret) if url else "",
        )
        text = configuration.read_text()
        assert 1 == text.count("\nroles:\n")
        configuration.write_text(text.replace("\nroles:\n", f"\n{lines}roles:\n"))
        return RunningGateway(configuration, self.directory / "audit.jsonl")


@pytest.fixture
def transmitter(tmp_path: Path) -> Transmitter:
    """A provider with a key of its own."""
    return Transmitter(tmp_path)


@pytest.fixture
def listening(world: World, backend: Backend, transmitter: Transmitter) -> Iterator[RunningGateway]:
    """A gateway that takes its pushes."""
    with transmitter.configure(world, backend) as running:
        yield running


async def push(gateway: RunningGateway, token: str, secret: str = "push-secret") -> httpx.Response:
    """Push one event to the operators' listener."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(
            f"{gateway.admin}/signals/idp",
            content=token,
            headers={"content-type": "application/secevent+jwt", "authorization": f"Bearer {secret}"},
        )


def user(subject: str) -> dict[str, Any]:
    """Name a user of the issuer."""
    return {"format": "iss_sub", "iss": ISSUER, "sub": subject}


async def test_a_revoked_session_ends_a_running_stream(
    world: World, listening: RunningGateway, transmitter: Transmitter
) -> None:
    """Within a second, with an event that says why; others go on, and a new token of the same user is let in."""
    async with (
        streaming(world, listening, "signalled") as reader,
        streaming(world, listening, "bystander") as other,
    ):
        began = time.monotonic()
        answer, (ended, rest) = await asyncio.gather(
            push(listening, transmitter.event(CAEP + "session-revoked", user("signalled"))), cut(reader)
        )
        await asyncio.wait_for(other.readuntil(b"drip"), 5)
    with world.http(listening, world.token("signalled", issued_at=int(time.time()) - 5)) as client:
        old = client.post("/v1/chat/completions", json=prompt("hello"))
    with world.http(listening, world.token("signalled", issued_at=int(time.time()) + 5)) as client:
        new = client.post("/v1/chat/completions", json=prompt("hello"))
    record = listening.record_where(lambda one: one.get("outcome") == "failed")

    assert 202 == answer.status_code
    assert ended - began < 1.0
    assert b"event: error\n" in rest
    assert (401, 200) == (old.status_code, new.status_code)
    assert ("revoked", True) == (record["reason"], "session-revoked" in record["note"])
    assert "session-revoked" == listening.event("signal-applied")["kind"]


async def test_what_is_not_genuine_changes_nothing(
    world: World, listening: RunningGateway, transmitter: Transmitter
) -> None:
    """A wrong secret, a stranger's key, another audience, an access token: each has its answer, nobody is cut."""
    elsewhere = transmitter.directory / "stranger"
    elsewhere.mkdir()
    stranger = Transmitter(elsewhere)
    good = transmitter.event(CAEP + "session-revoked", user("victim"))
    forged = stranger.event(CAEP + "session-revoked", user("victim"))
    async with streaming(world, listening, "victim") as reader:
        answers = [
            await push(listening, good, secret="wrong"),
            await push(listening, forged),
            await push(listening, transmitter.event(CAEP + "session-revoked", user("victim"), aud="x")),
            await push(listening, world.token("victim")),
            await push(listening, "x" * 100_000),
        ]
        await asyncio.wait_for(reader.readuntil(b"drip"), 5)

    assert [401, 400, 400, 400, 413] == [answer.status_code for answer in answers]
    assert ["authentication_failed", "invalid_key", "invalid_audience", "invalid_request"] == [
        answer.json()["err"] for answer in answers[:4]
    ]


async def test_polled_events_lock_and_unlock(
    world: World, backend: Backend, transmitter: Transmitter, aiohttp_server: AiohttpServer
) -> None:
    """An account that is disabled is locked by its address, a new token included, until it is enabled again."""
    app = web.Application()
    app.router.add_post("/poll", transmitter.poll)
    server = await aiohttp_server(app)
    owner = {"format": "email", "email": "Locked@Example.org"}
    loop = asyncio.get_running_loop()
    running = transmitter.configure(world, backend, f"http://127.0.0.1:{server.port}")
    await loop.run_in_executor(None, running.__enter__)
    try:

        async def settle(kind: str) -> int:
            name = f"jti-{kind}"
            transmitter.waiting[name] = transmitter.event(RISC + kind, owner, jti=name)
            async with asyncio.timeout(10):
                while name not in transmitter.acknowledged:
                    await asyncio.sleep(0.01)
            token = world.token("locked", claims={"email": "locked@example.org"})
            async with httpx.AsyncClient(verify=world.context(world.alice), trust_env=False) as client:
                answer = await client.post(
                    f"https://localhost:{running.port}/v1/chat/completions",
                    json=prompt("hello"),
                    headers={"authorization": f"Bearer {token}"},
                )
            return answer.status_code

        statuses = [await settle("account-disabled"), await settle("account-enabled")]
    finally:
        await loop.run_in_executor(None, running.stop)

    assert [401, 200] == statuses
