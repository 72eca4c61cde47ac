"""Gateway keys from the command line to a real model, with the clients that people use."""

from __future__ import annotations

import stat
import subprocess
import time
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import openai
import pytest

from gateway.core.gateway_key import compose
from tests.e2e.running import RunningGateway, command, once
from tests.e2e.world import prompt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.world import World

CONFIGURATION = """\
server:
  listen: 127.0.0.1:0
  tls:
    certificate: {certs}/gateway.pem
    private_key: {certs}/gateway.key
    client_ca: {certs}/clients-ca.pem
    client_certificate: optional
identity:
  issuers:
    - {{issuer: https://idp.example.org, jwks: "file:{issuer}/jwks.json", audience: model-gateway, algorithms: [ES256]}}
  keys: {{file: keys.jsonl, pepper: "file:pepper"}}
roles:
  researcher: {{groups: [ml-research]}}
  batch: {{}}
backends:
  tiny: {{endpoints: ["unix:{backend}"]}}
routes:
  - name: chat
    match: {{methods: [POST], path: /v1/chat/completions}}
    dialect: openai.chat
    backend: tiny
    require: {{token: {{keys: allow}}}}
    allow: [{{name: batches, roles: [batch, researcher], models: [tiny]}}]
  - name: messages
    match: {{methods: [POST], path: /v1/messages}}
    dialect: json
    backend: tiny
    allow: [{{name: batches, roles: [batch]}}]
  - name: tokens
    match: {{methods: [POST], path: /chat/completions}}
    dialect: openai.chat
    backend: tiny
    require: {{token: {{}}}}
    allow: [{{name: batches, roles: [batch, researcher]}}]
audit: {{path: audit.jsonl, sync_every: 5ms}}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real model server; returns its socket."""
    directory = tmp_path_factory.mktemp("m")
    with subprocess.Popen(
        [command()[0], "-m", "tests.e2e.tiny_model", directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready")
        yield directory / "m.sock"
        process.kill()


class Keyed:
    """A gateway with keys, and its command."""

    def __init__(self, world: World, directory: Path, model: Path) -> None:
        self.world = world
        self.directory = directory
        self.file = directory / "gateway.yaml"
        self.file.write_text(
            CONFIGURATION.format(certs=world.pki.directory, issuer=world.issuer.directory, backend=model)
        )
        pepper = directory / "pepper"
        pepper.write_text("a pepper that is long enough to be one\n")
        pepper.chmod(0o600)
        self.gateway = RunningGateway(self.file, directory / "audit.jsonl")
        self.made: list[str] = []

    def keys(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `gateway keys`."""
        return once("keys", *arguments, "--config", self.file)

    def create(self, *arguments: str, subject: str = "nightly") -> str:
        """Make a key, and wait until the gateway has it."""
        done = self.keys("create", "--subject", subject, "--role", "batch", *arguments)
        assert 0 == done.returncode, done.stderr
        key = done.stdout.strip()
        self.made.append(key)
        self.until(key, True)
        return key

    def status(self, key: str, **more: Any) -> int:
        """Ask for a chat completion with a key; return the status."""
        with self.http() as client:
            return client.post(
                "/v1/chat/completions", json=prompt("hi"), headers={"authorization": f"Bearer {key}"}, **more
            ).status_code

    def until(self, key: str, is_known: bool, seconds: float = 4.0) -> None:
        """Wait until the gateway knows a key, or no longer: by its record's reason, as an operator would."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if (self.reason(key) != "key-unknown") == is_known:
                return
            time.sleep(0.05)
        raise AssertionError("the gateway has not read the file again")

    def reason(self, key: str, field: str = "authorization") -> str:
        """Return the reason of a refusal in the record; "" if it was none."""
        value = f"Bearer {key}" if field == "authorization" else key
        with self.http() as client:
            answer = client.get("/nothing", headers={field: value})
        record = self.gateway.record(answer.json()["instance"].rsplit(":", 1)[1])
        found: str = record["reason"]
        return "" if found == "route-unknown" else found

    def http(self, owner: Any = None) -> httpx.Client:
        """Make an httpx client."""
        return httpx.Client(
            base_url=f"https://localhost:{self.gateway.port}",
            verify=self.world.context(owner),
            trust_env=False,
            timeout=20.0,
        )


@pytest.fixture(scope="module")
def keyed(world: World, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """The gateway, started before there is any key."""
    one = Keyed(world, tmp_path_factory.mktemp("keyed"), model)
    with one.gateway:
        yield one


def test_the_openai_client_has_a_key(world: World, keyed: Keyed) -> None:
    """Its `api_key` is a bearer token: a gateway key is served by a real model, under its owner's name."""
    key = keyed.create()
    with openai.OpenAI(
        base_url=f"https://localhost:{keyed.gateway.port}/v1",
        api_key=key,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(verify=world.context(None), trust_env=False),
    ) as client:
        answer = client.chat.completions.with_raw_response.create(**prompt("hello"))
    who = keyed.gateway.record(answer.headers["x-request-id"])["who"]

    assert answer.parse().choices[0].message.content
    assert ("key|nightly", ["key"], ["batch"]) == (who["key"], who["methods"], who["roles"])
    assert key.split("_")[1] == who["key_id"]
    assert "token" not in who


def test_the_anthropic_client_has_a_key(world: World, keyed: Keyed) -> None:
    """Its `api_key` goes into `x-api-key`: the same key, the same caller; the model never sees it."""
    key = keyed.create()
    with anthropic.Anthropic(
        base_url=f"https://localhost:{keyed.gateway.port}",
        api_key=key,
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(verify=world.context(None), trust_env=False),
    ) as client:
        answer = client.messages.with_raw_response.create(
            model="tiny", max_tokens=16, messages=[{"role": "user", "content": "hello"}]
        )
    who = keyed.gateway.record(answer.headers["x-request-id"])["who"]

    assert "assistant" == answer.parse().role
    assert ("key|nightly", ["key"]) == (who["key"], who["methods"])


def test_two_credentials_are_one_too_many(keyed: Keyed) -> None:
    """Both fields at once are ambiguous, and foreign keys are foreign."""
    key = keyed.create()
    with keyed.http() as client:
        both = client.post("/v1/messages", headers={"authorization": f"Bearer {key}", "x-api-key": key})
        foreign = client.post("/v1/messages", headers={"x-api-key": "sk-ant-something"})

    assert (400, "invalid-request") == (both.status_code, both.json()["error"]["code"])
    assert (401, "credential-required") == (foreign.status_code, foreign.json()["error"]["code"])


def test_a_route_for_tokens_takes_no_key(world: World, keyed: Keyed) -> None:
    """`require.token` means an issuer's token, unless the route says that a key will do."""
    key = keyed.create()
    token = world.issuer.mint("alice", groups=["ml-research"])
    with keyed.http() as client:
        answers = [
            client.post(
                f"{prefix}/chat/completions",
                json=prompt("hi"),
                headers={"authorization": f"Bearer {credential}"},
            ).status_code
            for prefix in ("/v1", "")
            for credential in (key, token)
        ]

    assert [200, 200, 401, 200] == answers


def test_a_rotated_key_overlaps(keyed: Keyed) -> None:
    """Both secrets are good until the old one's end, and then the new one alone."""
    old = keyed.create()
    name = old.split("_")[1]
    done = keyed.keys("rotate", name, "--overlap", "4s")
    new = done.stdout.strip()
    ends = time.time() + 4.5
    keyed.until(new, True)

    assert name == new.split("_")[1]
    assert old != new
    assert [200, 200] == [keyed.status(key) for key in (old, new)]
    time.sleep(max(0.0, ends - time.time()))
    assert ["key-expired", ""] == [keyed.reason(key) for key in (old, new)]
    assert (401, 200) == (keyed.status(old), keyed.status(new))


def test_a_revoked_key_is_dead_within_two_seconds(keyed: Keyed) -> None:
    """Served, cached, revoked, refused; another key is not touched by that."""
    key, other = keyed.create(), keyed.create()
    assert [200, 200] == [keyed.status(each) for each in (key, other)]
    assert 0 == keyed.keys("revoke", key.split("_")[1]).returncode
    keyed.until(key, False, seconds=2.5)

    assert (401, 200) == (keyed.status(key), keyed.status(other))
    assert "key-unknown" == keyed.reason(key, "x-api-key")


def test_a_key_expires(keyed: Keyed) -> None:
    """At its end, cached or not."""
    key = keyed.create("--expires", "5s")
    ends = time.time() + 5.1
    assert 200 == keyed.status(key)
    time.sleep(max(0.0, ends - time.time()))

    assert "key-expired" == keyed.reason(key)


def test_keys_can_be_tied_down(world: World, keyed: Keyed) -> None:
    """To a network, and to a certificate, or to a workload's id."""
    near = keyed.create("--network", "127.0.0.0/8")
    far = keyed.create("--network", "192.0.2.0/24")
    bound = keyed.create("--certificate", str(world.alice.certificate))
    workload = keyed.create("--spiffe", "spiffe://example.org/robot/one")

    assert ["", "key-binding", "key-binding", "key-binding"] == [
        keyed.reason(key) for key in (near, far, bound, workload)
    ]
    for owner, expected in ((world.alice, (200, 401)), (world.robot, (401, 200))):
        with keyed.http(owner) as client:
            assert expected == tuple(
                client.post(
                    "/v1/chat/completions", json=prompt("hi"), headers={"authorization": f"Bearer {key}"}
                ).status_code
                for key in (bound, workload)
            )


def test_a_guess_reads_like_any_other(keyed: Keyed) -> None:
    """A wrong secret, an unknown id, a typo: one answer, whatever is true; the record knows."""
    key = keyed.create()
    guesses = [compose(key.split("_")[1], bytes(32)), compose("z" * 20, bytes(32)), key[:-1] + "~"]
    with keyed.http() as client:
        answers = [client.post("/v1/messages", headers={"x-api-key": guess}) for guess in guesses]
    bodies = set()
    for answer in answers:
        body = answer.json()
        del body["instance"]
        bodies.add(str(body))

    assert {401} == {answer.status_code for answer in answers}
    assert 1 == len(bodies)


def test_a_broken_file_is_said_and_takes_nothing_away(keyed: Keyed) -> None:
    """The keys that were read last are used until it is mended."""
    key = keyed.create()
    file = keyed.directory / "keys.jsonl"
    good = file.read_bytes()
    file.write_bytes(b"{\n")
    line = keyed.gateway.event("gateway-keys-broken")

    assert (200, "error") == (keyed.status(key), line["level"])
    assert "line 1" in line["why"]
    file.write_bytes(good)
    file.chmod(0o600)


def test_no_secret_is_anywhere(keyed: Keyed) -> None:
    """Not in the file, the list, the log or the audit log; the file is its owner's alone."""
    key = keyed.create(subject="leaky")
    keyed.status(key)
    listed = keyed.keys("list")
    secrets = [each.rsplit("_", 1)[1] for each in keyed.made]
    sinks = (
        (keyed.directory / "keys.jsonl").read_text()
        + keyed.gateway.audit.read_text()
        + str(keyed.gateway.lines)
        + keyed.gateway.errors
        + listed.stdout
        + listed.stderr
    )

    assert key.split("_")[1] in listed.stdout
    assert [] == [secret for secret in secrets if secret in sinks]
    assert 0o600 == stat.S_IMODE((keyed.directory / "keys.jsonl").stat().st_mode)
