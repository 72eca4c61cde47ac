"""Two gateways on one Redis: what they grant together is what the configuration says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.clusters import RunningCluster
from tests.e2e.running import RunningGateway
from tests.e2e.world import prompt
from tests.servers import PASSWORD, USER, RunningServer, redis_binary, valkey_binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.backend import Backend
    from tests.e2e.world import World

LIMIT = 3  # of the route `limited`


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RunningServer]:
    """A server whose user may do what the documentation says, and nothing else."""
    directory = tmp_path / "redis"
    directory.mkdir()
    server = RunningServer(redis_binary() or valkey_binary(), directory)
    server.start()
    yield server
    server.stop()


def configured(
    world: World, backend: Backend, redis: RunningServer | RunningCluster, directory: Path
) -> RunningGateway:
    """Return a gateway of this directory that keeps its state in Redis."""
    directory.mkdir()
    secret = directory / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    url = redis.url if isinstance(redis, RunningCluster) else f"redis://{USER}@127.0.0.1:{redis.port}/0"
    state = f'{{url: "{url}", password: "file:{secret}", timeout: 500ms}}'
    path = world.configure(directory, backend.port, state=state)
    return RunningGateway(path, directory / "audit.jsonl")


def is_about_limits(line: dict[str, Any]) -> bool:
    """Tell the link of the limits from that of the counters, which comes back on its own."""
    return line["what"] == "limits"


def test_two_gateways_share_limits(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path
) -> None:
    """Both at once, from many threads: never more than the limit, all of it usable, per identity."""
    with (
        configured(world, backend, redis, tmp_path / "one") as one,
        configured(world, backend, redis, tmp_path / "two") as two,
        world.http(one, world.token("fleet")) as first,
        world.http(two, world.token("fleet")) as second,
    ):

        def ask(number: int) -> int:
            client = (first, second)[number % 2]
            return client.post("/limited/v1/chat/completions", json=prompt("fleet-prompt")).status_code

        with ThreadPoolExecutor(6) as threads:
            statuses = list(threads.map(ask, range(12)))

    assert [200] * LIMIT + [429] * (12 - LIMIT) == sorted(statuses)
    assert LIMIT == sum(b"fleet-prompt" in seen.body for seen in backend.seen)


def test_a_lost_store_refuses_and_comes_back(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path
) -> None:
    """Without Redis nobody is let through unchecked: 503, said in the log; once it is back, so are we."""
    with (
        configured(world, backend, redis, tmp_path / "one") as gateway,
        world.http(gateway, world.token("patient")) as client,
    ):

        def ask() -> httpx.Response:
            return client.post("/v1/chat/completions", json=prompt("patient-prompt"))

        assert 200 == ask().status_code
        redis.stop()
        lost = ask()
        gateway.event("state-lost", is_about_limits)
        not_ready = httpx.get(f"{gateway.admin}/readyz", trust_env=False)
        redis.start()
        gateway.event("state-back", is_about_limits)
        statuses = [ask().status_code for _ in range(3)]
        ready = httpx.get(f"{gateway.admin}/readyz", trust_env=False)
        metrics = httpx.get(f"{gateway.admin}/metrics", trust_env=False).text
    record = gateway.record_where(lambda one: one["status"] == 503)

    assert (503, "unavailable") == (lost.status_code, lost.json()["error"]["code"])
    assert "retry-after" in lost.headers
    assert ("store-unavailable", "gateway") == (record["reason"], record["source"])
    assert [200] * 3 == statuses
    assert (503, 200) == (not_ready.status_code, ready.status_code)
    assert "\ngateway_state_ready 1\n" in metrics
    assert "\ngateway_state_unavailable_total 1\n" in metrics


def test_a_lost_server_of_a_cluster_refuses_its_own(world: World, backend: Backend, tmp_path: Path) -> None:
    """Some identities get 503, all others are served; log and metrics say so, and it ends by itself."""
    directory = tmp_path / "cluster"
    directory.mkdir()
    cluster = RunningCluster(redis_binary() or valkey_binary(), directory)
    try:
        cluster.start()
        lost = next(each for each in cluster.servers if each is not cluster.owner(b"revocations"))
        with configured(world, backend, cluster, tmp_path / "one") as gateway:

            def ask() -> list[int]:
                statuses = []
                for number in range(20):
                    with world.http(gateway, world.token(f"caller-{number}")) as client:
                        answer = client.post("/v1/chat/completions", json=prompt("clustered-prompt"))
                        statuses.append(answer.status_code)
                return statuses

            def metrics() -> str:
                return httpx.get(f"{gateway.admin}/metrics", trust_env=False).text

            before = ask()
            lost.stop()
            alarm = gateway.event("state-lost", is_about_limits)
            during, alarmed = ask(), metrics()
            lost.start()
            gateway.event("state-back", is_about_limits)
            after, calm = ask(), metrics()
    finally:
        cluster.stop()

    assert {200} == set(before) == set(after)
    assert {200, 503} == set(during)
    assert f"closed at 127.0.0.1:{lost.port}" == alarm["why"]
    assert "\ngateway_state_servers_lost 1\n" in alarmed
    assert "\ngateway_state_ready 1\n" in alarmed
    assert "\ngateway_state_servers_lost 0\n" in calm
    assert f"\ngateway_state_unavailable_total {during.count(503)}\n" in calm
    assert "\ngateway_state_counters_ready 1\n" in calm
