"""Several workers on one address, with real processes and a real Redis: served, killed, stopped, orphaned."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from gateway.observe.chains import worker_file, worker_files
from tests.e2e.backend import WORDS
from tests.e2e.running import PROGRAM, RunningGateway, once
from tests.e2e.world import prompt
from tests.servers import PASSWORD, USER, RunningServer, redis_binary, valkey_binary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.backend import Backend
    from tests.e2e.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # each worker is an interpreter to be started
IMPATIENT = (Path(__file__).with_name("impatient.py"),)
LIMIT = 3  # of the route `limited`
STEP = 0.01  # between two looks at another process
FEW_SECONDS = 20.0


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose user may do what the documentation says, and nothing else."""
    server = RunningServer(redis_binary() or valkey_binary(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


def configured(world: World, backend: Backend, redis: RunningServer, directory: Path, more: str = "") -> Path:
    """Write a configuration with state in Redis, and keys of its own for assertions and checkpoints."""
    secret = directory / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    state = f'{{url: "redis://{USER}@127.0.0.1:{redis.port}/0", password: "file:{secret}", timeout: 500ms}}'
    path = world.configure(directory, backend.port, state=state, more=more)
    key = directory / "own.key"
    key.write_bytes((world.pki.directory / "assertions.key").read_bytes())
    key.chmod(0o600)
    text = path.read_text().replace(str(world.pki.directory / "assertions.key"), str(key))
    path.write_text(text.replace("sync_every: 5ms", f"sync_every: 5ms, checkpoint_key: {key}"))
    return path


def prepared(
    world: World,
    backend: Backend,
    redis: RunningServer,
    directory: Path,
    workers: int,
    program: tuple[str | Path, ...] = PROGRAM,
) -> RunningGateway:
    """Return a gateway of this directory, to be entered."""
    path = configured(world, backend, redis, directory)
    return RunningGateway(path, directory / "audit.jsonl", program, workers=workers)


@pytest.fixture(scope="module")
def workers(
    world: World, backend: Backend, redis: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """Three workers, for tests that leave three behind."""
    with prepared(world, backend, redis, tmp_path_factory.mktemp("workers"), 3) as running:
        yield running


def status(gateway: RunningGateway) -> dict[str, Any]:
    """Ask the operators' listener."""
    answer: dict[str, Any] = httpx.get(f"{gateway.admin}/v1/status", trust_env=False).json()
    return answer


def pids(gateway: RunningGateway) -> dict[int, int]:
    """Return the process of each worker."""
    return {one["worker"]: one["pid"] for one in status(gateway)["workers"]}


def metric(gateway: RunningGateway, name: str) -> float:
    """Return the sum of all samples of a name."""
    text = httpx.get(f"{gateway.admin}/metrics", trust_env=False).text
    found = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def until(condition: Any, seconds: float = FEW_SECONDS) -> Any:
    """Wait until something is so, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(STEP)
    raise AssertionError(condition)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def back(gateway: RunningGateway, count: int) -> dict[int, int]:
    """Wait until so many workers serve; return their processes."""
    until(lambda: sum(one["serving"] for one in status(gateway)["workers"]) == count)
    return pids(gateway)


def worker_of(gateway: RunningGateway, id: str) -> int:
    """Return which worker served a request."""
    return int(gateway.event("exchange", lambda line: line["id"] == id)["worker"])


@contextmanager
def clients(
    world: World, gateway: RunningGateway, subject: str, wanted: int = 2
) -> Iterator[dict[int, httpx.Client]]:
    """Kept connections to so many different workers, by worker."""
    with ExitStack() as stack:
        found: dict[int, httpx.Client] = {}
        for _ in range(200):
            client = stack.enter_context(world.http(gateway, world.token(subject)))
            answer = client.get("/v1/models")
            found.setdefault(worker_of(gateway, answer.headers["x-request-id"]), client)
            if len(found) >= wanted:
                break
        yield found


def test_workers_serve_as_one(world: World, workers: RunningGateway) -> None:
    """Each takes connections, and operators see one gateway: one readiness, one status, one sum of counters."""
    served = 'gateway_exchanges_total{route="chat",outcome="served",reason=""}'
    before = metric(workers, served)
    with clients(world, workers, "many", 3) as found:
        for client in found.values():
            assert 200 == client.post("/v1/chat/completions", json=prompt("as-one")).status_code
        until(lambda: metric(workers, served) - before == 3)  # counted some milliseconds later
        connections = metric(workers, "gateway_connections")
    ready = httpx.get(f"{workers.admin}/readyz", trust_env=False)

    assert {1, 2, 3} == set(found)
    assert 3 <= connections
    assert (200, {"serving": True, "audit": True, "state": True, "revocations": True}) == (
        ready.status_code,
        ready.json()["parts"],
    )
    assert 3 == metric(workers, "gateway_workers")
    assert [1, 2, 3] == [one["worker"] for one in status(workers)["workers"]]
    assert 1 == sum(line.get("event") == "ready" for line in workers.lines)


def test_limits_hold_over_workers(world: World, backend: Backend, workers: RunningGateway) -> None:
    """From many threads on connections of their own: never more than the limit, all of it usable."""
    token = world.token("limited")

    def ask(_: int) -> int:
        with world.http(workers, token) as client:
            return client.post("/limited/v1/chat/completions", json=prompt("w-limited")).status_code

    with ThreadPoolExecutor(6) as threads:
        statuses = list(threads.map(ask, range(12)))

    assert [200] * LIMIT + [429] * (12 - LIMIT) == sorted(statuses)
    assert LIMIT == sum(b"w-limited" in seen.body for seen in backend.seen)


def test_what_the_supervisor_does_not_know_a_worker_answers(workers: RunningGateway) -> None:
    """Other paths and methods reach the application of one worker, and its answer comes back whole."""
    unknown = httpx.post(f"{workers.admin}/v1/nothing?x=1", content=b"{}", trust_env=False)
    wrong = httpx.request("DELETE", f"{workers.admin}/v1/status", trust_env=False)

    assert (404, {"title": "Not Found", "status": 404}) == (unknown.status_code, unknown.json())
    assert (405, "application/problem+json") == (wrong.status_code, wrong.headers["content-type"])
    assert "no-store" == unknown.headers["cache-control"]
    assert "server" not in unknown.headers


def test_a_revocation_holds_in_every_worker(world: World, workers: RunningGateway) -> None:
    """It reaches one, and the others within a second, streams that run there included; who runs is of all."""
    everywhere: dict[str, Any] = {
        "target": "subject",
        "value": "https://idp.example.org|cut",
        "reason": "drill",
    }
    token = world.token("cut")
    with clients(world, workers, "cut", 3) as found, ExitStack() as stack:
        streams = [
            stack.enter_context(
                client.stream("POST", "/v1/chat/completions", json=prompt("drip-cut", stream=True))
            )
            for client in found.values()
        ]
        pieces = [stream.iter_raw() for stream in streams]
        for each in pieces:
            next(each)
        running = httpx.get(f"{workers.admin}/v1/running", trust_env=False).json()
        made = httpx.post(f"{workers.admin}/v1/revocations", json=everywhere, trust_env=False)
        began = time.monotonic()
        for each in pieces:
            with suppress(httpx.TransportError):
                list(each)
        took = time.monotonic() - began
    with clients(world, workers, "spared", 3) as others:
        refused = [
            client.get("/v1/models", headers={"authorization": f"Bearer {token}"}).status_code
            for client in others.values()
        ]
    shown = once("audit", "show", "--actions", workers.audit).stdout

    assert {1, 2, 3} == set(found)
    assert 3 == running["running"] == len(running["exchanges"])
    assert 201 == made.status_code
    assert 3.0 > took
    assert [401] * 3 == refused
    assert "drill" in shown
    assert "from 127.0.0.1" in shown


def test_sighup_ends_nobody(workers: RunningGateway) -> None:
    """The supervisor finds nothing to reload; a worker says that it is not asked."""
    before = pids(workers)
    workers.process.send_signal(signal.SIGHUP)
    workers.event("configuration-unchanged")
    os.kill(before[2], signal.SIGHUP)
    workers.event("nothing-reloaded", lambda line: line["worker"] == 2)

    assert before == pids(workers)


def test_a_killed_worker_takes_its_own_connections_alone(world: World, workers: RunningGateway) -> None:
    """Streams of the others go on; it is replaced at once; no counter falls; the log is whole."""
    lost = len([line for line in workers.lines if line.get("event") == "worker-lost"])
    before = pids(workers)
    with clients(world, workers, "killed") as found:
        (unlucky, its), (_, other) = list(found.items())[:2]
        with (
            its.stream("POST", "/v1/chat/completions", json=prompt("drip-k", stream=True)) as broken,
            other.stream("POST", "/v1/chat/completions", json=prompt("long-k", stream=True)) as whole,
        ):
            pieces, rest = broken.iter_raw(), whole.iter_raw()
            next(pieces)
            next(rest)
            served = metric(workers, "gateway_exchanges_total")
            os.kill(before[unlucky], signal.SIGKILL)
            with pytest.raises(httpx.TransportError):
                list(pieces)
            until(lambda: metric(workers, "gateway_worker_restarts_total") > lost)
            counted = metric(workers, "gateway_exchanges_total")
            end = b"".join(rest)
    line = workers.event("worker-lost", lambda line: line["worker"] == unlucky)
    after = back(workers, 3)

    assert b"[DONE]" in end
    assert ("signal 9 (SIGKILL)", 0.0) == (line["how"], line["next_start"])
    assert counted >= served
    assert metric(workers, "gateway_exchanges_total") >= counted
    assert after[unlucky] != before[unlucky]
    assert {number: pid for number, pid in after.items() if number != unlucky} == {
        number: pid for number, pid in before.items() if number != unlucky
    }
    assert 0 == once("audit", "verify", workers.audit).returncode


def test_a_worker_asked_to_end_takes_nobody_new(world: World, workers: RunningGateway) -> None:
    """It drains, while whoever connects now reaches the others; then another one takes its place."""
    before = pids(workers)
    with clients(world, workers, "retired", 1) as found:
        [(leaving, client)] = found.items()
        with client.stream("POST", "/v1/chat/completions", json=prompt("drip-r", stream=True)) as stream:
            pieces = stream.iter_raw()
            next(pieces)
            os.kill(before[leaving], signal.SIGTERM)
            until(lambda: not all(one["serving"] for one in status(workers)["workers"]))
            taken = set()
            for _ in range(20):
                with world.http(workers, world.token("newcomer")) as other:
                    answer = other.get("/v1/models", timeout=5.0)
                    taken.add(worker_of(workers, answer.headers["x-request-id"]))
            next(pieces)
    line = workers.event(
        "worker-lost", lambda line: (line["worker"], line["how"]) == (leaving, "exit code 0")
    )
    after = back(workers, 3)

    assert taken <= {1, 2, 3} - {leaving}
    assert leaving == line["worker"]
    assert after[leaving] != before[leaving]


def test_sigterm_drains_every_worker(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path
) -> None:
    """Streams end as they should, nobody new is let in; then all is one signed log, of which no part may miss."""
    with prepared(world, backend, redis, tmp_path, 2) as gateway, ExitStack() as stack:
        streams: dict[int, Any] = {}
        for number in range(3):
            client = stack.enter_context(world.openai(gateway, world.token(f"drain-{number}")))
            stream = client.chat.completions.create(**prompt("long-drain"), stream=True)
            streams[number] = (stream, [next(stream).choices[0].delta.content])
        gateway.process.send_signal(signal.SIGTERM)
        gateway.event("stopping")
        for worker in (1, 2):
            gateway.event("draining", lambda line, worker=worker: line["worker"] == worker)
        not_ready = httpx.get(f"{gateway.admin}/readyz", trust_env=False)
        with (
            pytest.raises((openai.APIConnectionError, openai.InternalServerError)),
            world.openai(gateway, world.token("late")) as late,
        ):
            late.chat.completions.create(**prompt("after-the-end-of-workers"))
        for stream, pieces in streams.values():
            pieces += [event.choices[0].delta.content for event in stream if event.choices]
        code = gateway.wait()
    public = tmp_path / "public.pem"
    public.write_bytes(public_key(tmp_path / "own.key"))
    verified = once("audit", "verify", gateway.audit, "--key", public)
    dropped = max(worker_files(gateway.audit), key=lambda file: file.stat().st_size)  # one may be idle
    dropped.rename(tmp_path / "elsewhere")
    incomplete = once("audit", "verify", gateway.audit, "--key", public)

    assert (0, 503) == (code, not_ready.status_code)
    assert [list(WORDS) * 20] * 3 == [pieces for _, pieces in streams.values()]
    assert backend.asked("after-the-end-of-workers") is None
    assert (0, "") == (verified.returncode, verified.stderr)
    assert "3 chains; where they end was stated " in verified.stdout
    assert 1 == incomplete.returncode
    assert f"{dropped.name}:0: the file of this worker's chain is missing" in incomplete.stdout


def public_key(private: Path) -> bytes:
    """Return the public half of a key, PEM."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(private.read_bytes(), None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_worker_that_cannot_start_is_tried_ever_later(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path
) -> None:
    """At once, then after pauses that double, while the other one serves; when it can start again, it does."""
    with prepared(world, backend, redis, tmp_path, 2) as gateway:
        key = tmp_path / "own.key"
        good = key.read_bytes()
        key.write_bytes(b"no key any more")
        gateway.configuration.write_text("not even YAML: [")  # workers run what was checked, not this
        os.kill(pids(gateway)[1], signal.SIGKILL)
        for pause in (0.0, 0.5, 1.0):
            gateway.event("worker-lost", lambda line, pause=pause: line["next_start"] == pause)
        with world.http(gateway, world.token("still")) as client:
            answer = client.post("/v1/chat/completions", json=prompt("still"))
        ready = httpx.get(f"{gateway.admin}/readyz", trust_env=False)
        key.write_bytes(good)
        back(gateway, 2)
        pauses = [line["next_start"] for line in gateway.lines if line.get("event") == "worker-lost"]
        codes = [line["how"] for line in gateway.lines if line.get("event") == "worker-lost"]

    assert (200, 200) == (answer.status_code, ready.status_code)
    assert [0.0, 0.5, 1.0, 2.0, 4.0, 8.0][: len(pauses)] == pauses
    assert {"exit code 1"} == set(codes[1:])
    assert "own.key" in gateway.errors
    assert 0 == once("audit", "verify", gateway.audit).returncode


def test_workers_that_never_start_end_the_gateway(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path
) -> None:
    """After a few attempts, with the reason and exit code 2; nobody is left behind."""
    path = configured(world, backend, redis, tmp_path)
    with worker_file(tmp_path / "audit.jsonl", 1).with_suffix(".jsonl.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = once("run", "--config", path, "--workers", "2", seconds=50)

    assert 2 == done.returncode
    assert "in use by another process" in done.stderr
    assert "cannot start: worker 1 did not start 4 times: exit code 2" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_supervisor_nobody_stays(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path
) -> None:
    """Killed outright, it leaves no worker: they drain for two seconds and end; the next one goes on."""
    with prepared(world, backend, redis, tmp_path, 2) as gateway:
        left = pids(gateway)
        with clients(world, gateway, "orphan", 1) as found:
            [client] = found.values()
            with client.stream("POST", "/v1/chat/completions", json=prompt("drip-o", stream=True)) as stream:
                next(stream.iter_raw())
                gateway.process.kill()
                until(lambda: not any(is_alive(pid) for pid in left.values()))
        gateway.wait()
    with RunningGateway(gateway.configuration, gateway.audit, workers=2) as again:
        serving = back(again, 2)

    assert 2 == len(serving)
    assert not set(left.values()) & set(serving.values())
    assert 0 == once("audit", "verify", gateway.audit).returncode


def test_a_worker_that_hangs_is_replaced(
    world: World, backend: Backend, redis: RunningServer, tmp_path: Path
) -> None:
    """One that answers no more is killed, and another one takes its place."""
    with prepared(world, backend, redis, tmp_path, 2, IMPATIENT) as gateway:
        before = pids(gateway)
        os.kill(before[2], signal.SIGSTOP)
        stuck = gateway.event("worker-stuck")
        lost = gateway.event("worker-lost")
        after = back(gateway, 2)
        with world.http(gateway, world.token("after")) as client:
            client.get("/v1/models")
        until(lambda: b'"event":"chains"' in gateway.audit.read_bytes())

    assert (2, before[2], 2) == (stuck["worker"], stuck["pid"], lost["worker"])
    assert (before[1], True) == (after[1], after[2] != before[2])
    assert 0 == once("audit", "verify", gateway.audit).returncode


def test_memory_is_for_one_worker(world: World, backend: Backend, tmp_path: Path) -> None:
    """Limits would be granted once per worker: refused before anything starts, with place and mend."""
    path = world.configure(tmp_path, backend.port)
    ran = once("run", "--config", path, "--workers", "2")
    checked = once("check", "--workers", "2", path)

    assert (1, 1) == (ran.returncode, checked.returncode)
    for done in (ran, checked):
        assert "each of 2 workers would grant every limit in full" in done.stderr
        assert "memory://" in done.stderr
        assert "= mend: keep the state in Redis" in done.stderr
    assert 0 == once("check", "--workers", "1", path).returncode
