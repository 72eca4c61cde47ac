"""More than a model can serve, and more than anybody should ask for: who waits, who goes first, who is sent away."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.running import RunningGateway
from tests.e2e.world import BACKEND_ID, prompt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.backend import Backend
    from tests.e2e.world import World

URL = "/v1/chat/completions"
QUEUE = "\n    requests: 1\n    queue: {length: 2, time: 60s}"
ROLES = """
  urgent: {groups: [operations], priority: 10}
  batch: {groups: [night-jobs], priority: -10}"""


def metric(gateway: RunningGateway, name: str) -> float:
    """Read one number that operators see."""
    lines = httpx.get(f"{gateway.admin}/metrics", trust_env=False).text.splitlines()
    (value,) = [float(line.split()[1]) for line in lines if line.startswith(f"gateway_{name} ")]
    return value


def wait_until(gateway: RunningGateway, name: str, value: float, seconds: float = 10.0) -> None:
    """Wait for a number."""
    end = time.monotonic() + seconds
    while metric(gateway, name) != value:
        assert time.monotonic() < end, metric(gateway, name)
        time.sleep(0.01)


def changed(path: Path, old: str, new: str) -> None:
    """Replace a part of a configuration."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def request_id(answer: httpx.Response) -> str:
    """Return what a refusal calls its request."""
    return str(answer.json()["instance"]).rsplit(":", 1)[1]


def test_the_lowest_priority_is_refused_first_and_served_last(
    world: World, backend: Backend, tmp_path: Path
) -> None:
    """A model with one place and a queue of two; what was shed has used nothing of anybody's limits."""
    path = world.configure(tmp_path, backend.port)
    changed(path, f"identity: {BACKEND_ID}", f"identity: {BACKEND_ID}{QUEUE}")
    changed(path, "researcher: {groups: [ml-research]}", "researcher: {groups: [ml-research]}" + ROLES)

    def ask(subject: str, word: str, *groups: str) -> httpx.Response:
        token = world.token(subject, groups=["ml-research", *groups])
        with world.http(gateway, token) as client:
            return client.post(URL, json=prompt(word))

    with RunningGateway(path, tmp_path / "audit.jsonl") as gateway, ThreadPoolExecutor(5) as pool:
        held = pool.submit(ask, "first", "hold-the-place")
        backend.wait(lambda: backend.asked("hold-the-place") is not None)
        batch = pool.submit(ask, "batch", "nightly", "night-jobs")
        wait_until(gateway, "upstream_waiting", 1)
        plain = pool.submit(ask, "plain", "everyday")
        wait_until(gateway, "upstream_waiting", 2)
        urgent = pool.submit(ask, "urgent", "incident", "operations", "night-jobs")
        shed = batch.result(10)
        refused = ask("batch", "nightly-again", "night-jobs")
        wait_until(gateway, "upstream_waiting", 2)
        backend.release()
        answers = [each.result(10).status_code for each in (held, plain, urgent)]
        counted = {
            name: metric(gateway, f"upstream_{name}") for name in ("requests", "waited_total", "shed_total")
        }
    record = gateway.record(request_id(shed))
    words = [seen.body.decode() for seen in backend.seen]

    assert [200, 200, 200] == answers
    assert (503, 503) == (shed.status_code, refused.status_code)
    assert ("backend-busy", "1") == (shed.json()["error"]["code"], shed.headers["retry-after"])
    assert ("backend-busy", "made room in the queue for another") == (record["reason"], record["note"])
    assert ["hold", "incident", "everyday"] == [
        next(each for each in ("hold", "incident", "everyday", "nightly") if each in word) for word in words
    ]
    assert {"requests": 0, "waited_total": 2, "shed_total": 2} == counted


@pytest.mark.parametrize("bound", ["failures: 3/hour", "address: 7/hour"])
def test_a_flood_is_held_back_before_anybody_is_identified(
    world: World, backend: Backend, tmp_path: Path, bound: str
) -> None:
    """By where it comes from; its last answer says when to come again, and its connections are reset."""
    path = world.configure(tmp_path, backend.port)
    changed(path, "  drain: 10s\n", f"  drain: 10s\n  flood: {{{bound}}}\n")
    with RunningGateway(path, tmp_path / "audit.jsonl") as gateway:
        answers = []
        with world.http(gateway, "no.such.token") as client:
            for _ in range(20):
                answers.append(client.get("/v1/models"))
                if answers[-1].status_code != 401:
                    break
        with world.http(gateway, world.token("honest")) as client, pytest.raises(httpx.TransportError):
            client.post(URL, json=prompt("honest"))
        count = metric(gateway, "flood_refused_total")
    record = gateway.record(request_id(answers[-1]))

    assert [401] * (3 if "failures" in bound else 6) + [429] == [each.status_code for each in answers]
    assert "too-many-requests" == answers[-1].json()["error"]["code"]
    assert 500 <= int(answers[-1].headers["retry-after"]) <= 1200
    assert ("close", None) == (answers[-1].headers["connection"], answers[-1].headers.get("ratelimit"))
    assert ("flooded", "127.0.0.1") == (record["reason"], record["peer"])
    assert count >= 2
