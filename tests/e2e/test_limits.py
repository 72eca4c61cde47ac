"""What operators see and give back of a real gateway's limits, as one process and as several over Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.credentials.signing import generate_key, private_pem
from gateway.observe.chain import Kind, parse
from gateway.observe.chains import worker_files
from tests.e2e.running import RunningGateway, once
from tests.e2e.world import prompt
from tests.servers import PASSWORD, USER, RunningServer, redis_binary, valkey_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.backend import Backend
    from tests.e2e.world import World

URL = "/v1/chat/completions"
LIMIT = "chat/tokens 120/month UTC"
TOKEN = "an operator's token"
KEY = "https://idp.example.org|spender"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RunningServer]:
    """A server whose user may do what the documentation says, and nothing else."""
    directory = tmp_path / "redis"
    directory.mkdir()
    server = RunningServer(redis_binary() or valkey_binary(), directory)
    server.start()
    yield server
    server.stop()


def prepared(
    world: World, backend: Backend, directory: Path, redis: RunningServer | None, workers: int | None
) -> RunningGateway:
    """Return a gateway with a budget of 120 tokens per identity, an operator's token and a signed log."""
    for name, text in (("password", PASSWORD), ("operator", TOKEN)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)
    state = "{url: memory://}"
    if redis is not None:
        url = f"redis://{USER}@127.0.0.1:{redis.port}/0"
        state = f'{{url: "{url}", password: "file:password", timeout: 500ms}}'
    key = generate_key("EdDSA")
    (directory / "checkpoint.key").write_bytes(private_pem(key))
    (directory / "checkpoint.key").chmod(0o600)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (directory / "checkpoint.pub").write_bytes(public)
    path = world.configure(directory, backend.port, state=state)
    changes = {
        "limits: {requests: 600/minute, concurrent: 4}": "limits: {budget: {tokens: 120, window: month}, output_cap: 30}",
        'admin: {listen: "127.0.0.1:0"}': 'admin: {listen: "127.0.0.1:0", token: "file:operator"}',
        "sync_every: 5ms": "sync_every: 5ms, checkpoint_key: checkpoint.key",
    }
    text = path.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return RunningGateway(path, directory / "audit.jsonl", workers=workers)


def operator(gateway: RunningGateway) -> Callable[..., str]:
    """Return a function that runs `gateway limits` as an operator would; it must succeed."""

    def run(*arguments: str) -> str:
        admin = gateway.admin.removeprefix("http://")
        done = once("limits", *arguments, "--config", gateway.configuration, "--admin", admin)
        assert 0 == done.returncode, done.stderr
        return done.stdout

    return run


def actions(gateway: RunningGateway) -> list[dict[str, Any]]:
    """Return the actions of all chains, in the order of their times."""
    chains = [path for path in (gateway.audit, *worker_files(gateway.audit)) if path.exists()]
    lines = [parse(line) for path in chains for line in path.read_bytes().splitlines(keepends=True)]
    found = [msgspec.json.decode(line.payload) for line in lines if line.kind is Kind.ACTION]
    return sorted(found, key=lambda action: str(action["time"]))


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("workers", [None, 2])
def test_what_is_used_up_is_given_back(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path, workers: int | None
) -> None:
    """Used up: 429, and nothing left. Granted: so much can be used, and no more. Reset: all. All on record."""
    store = redis if workers else None
    with prepared(world, backend, tmp_path, store, workers) as gateway:
        limits = operator(gateway)

        def ask(tokens: int) -> int:
            """Ask until a share that another worker holds has come back, or surely will not."""
            deadline = time.monotonic() + 6.0
            while True:
                with world.http(gateway, world.token("spender")) as client:  # on whichever worker
                    answer = client.post(URL, json=prompt("spend", max_tokens=tokens))
                is_held = "temporary" in answer.text and time.monotonic() < deadline
                if not is_held:
                    return answer.status_code

        def row(key: str = KEY) -> dict[str, Any]:
            """Look until nobody holds anything: a worker gives back what it does not need within seconds."""
            deadline = time.monotonic() + 20.0
            headers = {"authorization": f"Bearer {TOKEN}"}
            while True:
                url = f"{gateway.admin}/v1/limits"
                answer = httpx.get(url, params={"key": key}, headers=headers, trust_env=False)
                [row] = [one for one in answer.json()["limits"] if one["limit"] == LIMIT]
                if row["held"] == 0 or time.monotonic() > deadline:
                    return dict(row)

        untouched = row()
        while ask(1) == 200:
            pass
        spent = row()
        granted = limits("grant", KEY, "--limit", LIMIT, "--amount", "60", "--reason", "demo today")
        after_grant = row()
        again = ask(1)
        while ask(1) == 200:
            pass
        reset = limits("reset", KEY, "--limit", LIMIT)
        after_reset = row()
        at_last = ask(1)
        table = limits("show", KEY)
        stranger = row(KEY + "x")
    verified = once("audit", "verify", gateway.audit, "--key", tmp_path / "checkpoint.pub")
    shown = once("audit", "show", gateway.audit, "--actions")
    grant, forgiven = actions(gateway)

    assert (LIMIT, "tokens", 120, 0, 120) == tuple(
        untouched[name] for name in ("limit", "unit", "quota", "used", "left")
    )
    assert spent["used"] > 60
    assert spent["left"] == 120 - spent["used"]
    assert f"{LIMIT}: 60 tokens taken off what was used" in granted
    assert after_grant["used"] == spent["used"] - 60
    assert f"{LIMIT}: " in reset
    assert (120, 0) == (after_reset["left"], after_reset["used"])
    assert (200, 200) == (again, at_last)
    assert {LIMIT, "limited/3/hour"} <= {line.split("  ")[0] for line in table.splitlines()}
    assert 120 == stranger["left"]
    assert 0 == verified.returncode, verified.stdout
    assert verified.stdout.startswith("INTACT")
    assert ("granted", "subject", KEY, LIMIT, 60, 60, "demo today") == tuple(
        grant[name] for name in ("action", "target", "value", "limit", "asked", "taken", "reason")
    )
    assert grant["by"].startswith("operator token ")
    assert TOKEN not in str(grant)
    assert ("reset", KEY, LIMIT) == (forgiven["action"], forgiven["value"], forgiven["limit"])
    assert "60 of chat/tokens 120/month UTC" in shown.stdout
    assert gateway.event("limit-granted")["key"] == KEY
