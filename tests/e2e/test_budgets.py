"""Budgets of tokens, through real gateways: refused before a model works, charged whatever happens."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from tests.e2e.running import RunningGateway
from tests.e2e.world import prompt
from tests.servers import PASSWORD, USER, RunningServer, redis_binary, valkey_binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.backend import Backend
    from tests.e2e.world import World

URL = "/v1/chat/completions"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RunningServer]:
    """A server whose user may do what the documentation says, and nothing else."""
    directory = tmp_path / "redis"
    directory.mkdir()
    server = RunningServer(redis_binary() or valkey_binary(), directory)
    server.start()
    yield server
    server.stop()


def budgeted(
    world: World, backend: Backend, directory: Path, limits: str, redis: RunningServer | None = None
) -> RunningGateway:
    """Return a gateway whose chat route has these limits."""
    directory.mkdir()
    state = "{url: memory://}"
    if redis is not None:
        secret = directory / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        url = f"redis://{USER}@127.0.0.1:{redis.port}/0"
        state = f'{{url: "{url}", password: "file:{secret}", timeout: 500ms}}'
    path = world.configure(directory, backend.port, state=state)
    text = path.read_text()
    old = "limits: {requests: 600/minute, concurrent: 4}"
    assert old in text
    path.write_text(text.replace(old, f"limits: {limits}"))
    return RunningGateway(path, directory / "audit.jsonl")


def test_a_request_that_cannot_fit_never_reaches_the_model(
    world: World, backend: Backend, tmp_path: Path
) -> None:
    """429 with the registered problem type, the fields and the time to wait; identified callers alone."""
    limits = "{budget: {tokens: 120, window: month, zone: Europe/Berlin}, output_cap: 30}"
    with (
        budgeted(world, backend, tmp_path / "one", limits) as gateway,
        world.http(gateway, world.token("thrifty")) as client,
    ):
        served = client.post(URL, json=prompt("thrifty-first"))
        refused = client.post(URL, json=prompt("thrifty-second", max_tokens=100))
        again = client.post(URL, json=prompt("thrifty-third", max_tokens=20))
    record = gateway.record_where(lambda one: one["status"] == 429)

    assert (200, 429, 200) == (served.status_code, refused.status_code, again.status_code)
    assert backend.asked("thrifty-second") is None
    problem = refused.json()
    assert "https://iana.org/assignments/http-problem-types#quota-exceeded" == problem["type"]
    name = "tokens 120/month Europe/Berlin"
    assert [name] == problem["violated-policies"]
    assert f'"{name}";q=120;w=2592000;qu="gateway-tokens"' == refused.headers["ratelimit-policy"]
    assert refused.headers["ratelimit"].startswith(f'"{name}";r=')
    assert 0 < int(refused.headers["retry-after"]) <= 32 * 86400
    assert ("budget-exceeded", "client", name) == (record["reason"], record["source"], record["limit"])
    assert "tokens" == record["limits"][0]["unit"]


def test_a_stream_that_outruns_what_was_reserved_ends(world: World, backend: Backend, tmp_path: Path) -> None:
    """A model that ignores the cap does not spend more than the route says; what it spent is charged."""
    limits = "{tokens: 2000/day, overdraft: end}"
    with (
        budgeted(world, backend, tmp_path / "one", limits) as gateway,
        world.http(gateway, world.token("endless")) as client,
        client.stream("POST", URL, json=prompt("drip-outrun", max_tokens=8, stream=True)) as answer,
    ):
        pieces: list[str] = []
        with pytest.raises(httpx.RemoteProtocolError):
            pieces.extend(answer.iter_text())
        backend.wait(lambda: bool((seen := backend.asked("drip-outrun")) and seen.lost_at))
        record = gateway.record_where(lambda one: one["reason"] == "budget-outrun")

    text = "".join(pieces)
    assert 8 <= text.count("drip ") <= 10
    assert "event: error" in text
    assert "quota-exceeded" in text
    assert ("failed", 200) == (record["outcome"], record["status"])


def test_a_client_that_goes_pays_for_what_was_written(world: World, backend: Backend, tmp_path: Path) -> None:
    """Hanging up before the usage is told is no way around a budget."""
    limits = "{output_tokens: 40/day, output_cap: 30}"
    with (
        budgeted(world, backend, tmp_path / "one", limits) as gateway,
        world.openai(gateway, world.token("leaver")) as client,
    ):
        stream = client.chat.completions.create(**prompt("drip-payer", max_tokens=30), stream=True)
        for _, _ in zip(range(25), stream, strict=False):
            pass
        stream.close()
        gateway.record_where(lambda one: one["outcome"] == "client-gone")
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(**prompt("payer-again", max_tokens=20))

    assert "quota-exceeded" == refused.value.code


def test_a_fleet_never_grants_more_than_the_budget(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path
) -> None:
    """Two gateways, many threads, one budget over all callers of a tenant-like role, per model."""
    limits = "{per: [role, model], budget: {requests: 7, window: day}}"
    with (
        budgeted(world, backend, tmp_path / "one", limits, redis) as one,
        budgeted(world, backend, tmp_path / "two", limits, redis) as two,
        world.http(one, world.token("ann")) as first,
        world.http(two, world.token("bob")) as second,
    ):

        def ask(number: int) -> int:
            return (first, second)[number % 2].post(URL, json=prompt("shared-budget")).status_code

        with ThreadPoolExecutor(6) as threads:
            statuses = list(threads.map(ask, range(30)))
        deadline = time.monotonic() + 10.0
        while statuses.count(200) < 7 and time.monotonic() < deadline:
            statuses.append(ask(len(statuses)))  # a share on its way back is free within a second

    assert 7 == statuses.count(200)
    assert {200, 429} == set(statuses)


@pytest.mark.slow
def test_what_a_killed_gateway_held_comes_back(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path
) -> None:
    """Killed in the middle of a stream: what it had reserved blocks others until its lease lapses, then not."""
    limits = "{tokens: 400/day, output_cap: 64}"
    asked: dict[str, Any] = prompt("drip-victim", max_tokens=300, stream=True)
    with (
        budgeted(world, backend, tmp_path / "two", limits, redis) as two,
        world.http(two, world.token("widow")) as second,
    ):
        with (
            budgeted(world, backend, tmp_path / "one", limits, redis) as one,
            world.http(one, world.token("widow")) as first,
            first.stream("POST", URL, json=asked) as stream,
        ):
            next(stream.iter_raw())
            early = second.post(URL, json=prompt("widow-early", max_tokens=200))
            one.process.kill()
            killed = time.monotonic()
            one.wait()
        status, late = 429, 0.0
        while status == 429 and late < 30.0:
            status = second.post(URL, json=prompt("widow-late", max_tokens=200)).status_code
            late = time.monotonic() - killed
            time.sleep(0.25)  # a lease lapses by the server's clock, which says nothing when it does

    assert 429 == early.status_code
    assert early.json()["type"].endswith("#temporary-reduced-capacity")
    assert "1" == early.headers["retry-after"]
    assert (200, True) == (status, 5.0 < late < 20.0)
