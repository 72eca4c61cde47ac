"""The configuration changes while several workers serve: all of them take it, or none does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from tests.e2e.backend import WORDS
from tests.e2e.reloading import RULE, Load, add_route, change, configuration, deny, hang_up
from tests.e2e.running import PROGRAM, RunningGateway, once
from tests.e2e.test_workers import back, clients, configured, metric, pids, redis
from tests.e2e.world import prompt

if TYPE_CHECKING:
    from tests.e2e.backend import Backend
    from tests.e2e.world import World
    from tests.servers import RunningServer

__all__ = ["redis"]  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
IMPATIENT = (Path(__file__).with_name("impatient.py"),)
SOON = 3.0  # seconds: a second as promised, and two for a slow machine


@pytest.fixture
def path(world: World, backend: Backend, redis: RunningServer, tmp_path: Path) -> Path:
    """A configuration of the test's own, with state in Redis."""
    made = configured(world, backend, redis, tmp_path)
    change(made, "  drain: 10s\n", "  drain: 10s\n  watch: 1h\n")
    add_route(made)
    return made


def started(path: Path, program: tuple[str | Path, ...] = PROGRAM) -> RunningGateway:
    """Return a gateway with two workers, to be entered."""
    return RunningGateway(path, path.parent / "audit.jsonl", program, workers=2)


def test_every_worker_takes_it(world: World, path: Path) -> None:
    """Streams that are denied end wherever they run, others go on whole; one that comes later knows it as well."""
    with started(path) as gateway:
        before = configuration(gateway)["version"]
        with (
            world.openai(gateway, world.token("denied")) as first,
            world.openai(gateway, world.token("allowed")) as second,
        ):
            ending = [first.chat.completions.create(**prompt("drip-w"), stream=True) for _ in range(3)]
            staying = second.chat.completions.create(**prompt("long-w"), stream=True)
            for each in ending:
                next(each)
            pieces = [next(staying).choices[0].delta.content]
            deny(path, "denied")
            taken = hang_up(gateway)
            began = time.monotonic()
            for each in ending:
                with pytest.raises(openai.APIError):
                    list(each)
            took = time.monotonic() - began
            pieces += [event.choices[0].delta.content for event in staying if event.choices]
        for number in (1, 2):
            gateway.event("worker-reloaded", lambda line, number=number: line["worker"] == number)
        os.kill(pids(gateway)[1], signal.SIGKILL)
        gateway.event("worker-lost")
        back(gateway, 2)
        with clients(world, gateway, "denied") as found:
            statuses = [
                one.post("/v1/chat/completions", json=prompt("x")).status_code for one in found.values()
            ]
        after = configuration(gateway)["version"]
        info = httpx.get(f"{gateway.admin}/metrics", trust_env=False).text
        reloads = metric(gateway, "gateway_configuration_reloads_total")
    shown = once("audit", "show", "--actions", gateway.audit).stdout
    versions = {record["configuration"] for record in gateway.records() if record["status"] == 403}

    assert (before, after) == (taken["previous"], taken["configuration"])
    assert SOON > took
    assert list(WORDS) * 20 == pieces
    assert ({1, 2}, [403, 403]) == (set(found), statuses)
    assert {after} == versions
    assert f'gateway_configuration_info{{version="{after}"}} 1\n' in info
    assert f'version="{before}"' not in info
    assert 1 == reloads
    assert f"{before} -> {after}" in shown
    assert "by SIGHUP" in shown
    assert 0 == once("audit", "verify", gateway.audit).returncode


def test_one_that_cannot_keeps_all_from_it(world: World, path: Path) -> None:
    """A worker that hangs is replaced; nobody has taken the new one, and then all do."""
    with started(path, IMPATIENT) as gateway:
        before = configuration(gateway)["version"]
        deny(path, "denied")
        stopped = pids(gateway)[2]
        os.kill(stopped, signal.SIGSTOP)
        refused = hang_up(gateway, "configuration-refused")
        back(gateway, 2)
        kept = configuration(gateway)
        with clients(world, gateway, "denied") as found:
            served = [
                one.post("/v1/chat/completions", json=prompt("y")).status_code for one in found.values()
            ]
            taken = hang_up(gateway)
            denied = [
                one.post("/v1/chat/completions", json=prompt("y")).status_code for one in found.values()
            ]

    assert ["worker 2 does not answer"] == [one["message"] for one in refused["problems"]]
    assert before == kept["version"] == taken["previous"] == refused["configuration"]
    assert ([200, 200], [403, 403]) == (served, denied)


def test_a_broken_file_reaches_no_worker(path: Path) -> None:
    """The supervisor refuses it, and what needs a restart; the workers hear nothing of either."""
    with started(path) as gateway:
        change(path, "backend: tiny\n    require", "backend: tinny\n    require")
        broken = hang_up(gateway, "configuration-refused")
        change(path, "backend: tinny\n", "backend: tiny\n")
        change(path, "sync_every: 5ms", "sync_every: 6ms")
        fixed = hang_up(gateway, "configuration-refused")
        failures = metric(gateway, "gateway_configuration_reload_failures_total")

    assert "tinny" in broken["problems"][0]["text"]
    assert ["`audit.sync_every` cannot change while the gateway runs"] == [
        one["message"] for one in fixed["problems"]
    ]
    assert 2 == failures
    assert not [line for line in gateway.lines if line.get("event") == "worker-reloaded"]


def test_twenty_reloads_under_load(world: World, path: Path) -> None:
    """Not one request fails, not one stream misses a byte, and no worker is lost."""
    with started(path) as gateway:
        before = pids(gateway)
        with Load(world, gateway, 6) as load:
            for number in range(20):
                change(path, f"lifetime: {60 - number}s", f"lifetime: {59 - number}s")
                if number % 4 == 0:
                    change(path, RULE, RULE.replace("512", str(511 - number)))
                    change(path, RULE.replace("512", str(511 - number)), RULE)
                hang_up(gateway)
                time.sleep(0.2)  # so that requests come between two of them
        after = pids(gateway)
    versions = {record["configuration"] for record in gateway.records()}

    assert [] == load.failures
    assert 100 < load.served
    assert 15 < len(versions)
    assert before == after
    assert not [line for line in gateway.lines if line.get("event") in {"fault", "task-failed"}]
