"""Starting, stopping, and everything that must keep a gateway from starting."""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from gateway.cli import main
from tests.e2e.backend import WORDS
from tests.e2e.running import RunningGateway, once
from tests.e2e.world import prompt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.backend import Backend
    from tests.e2e.world import World

GONE_SECONDS = 0.1  # how soon a backend must know that nobody listens any more


def started(world: World, backend: Backend, directory: Path, more: str = "") -> RunningGateway:
    """Return a gateway of the test's own, to be entered."""
    return RunningGateway(world.configure(directory, backend.port, more=more), directory / "audit.jsonl")


def test_sigterm_drains(world: World, backend: Backend, tmp_path: Path) -> None:
    """A running stream ends as it should, nobody new is let in, the exit code is 0, the log is intact."""
    with started(world, backend, tmp_path) as gateway, world.openai(gateway, world.token("last")) as client:
        stream = client.chat.completions.create(**prompt("long-last"), stream=True)
        pieces = [next(stream).choices[0].delta.content]
        gateway.process.send_signal(signal.SIGTERM)
        draining = gateway.event("draining")
        with (
            pytest.raises((openai.APIConnectionError, openai.InternalServerError)),
            world.openai(gateway, world.token("late")) as late,
        ):
            late.chat.completions.create(**prompt("late-prompt"))
        pieces += [event.choices[0].delta.content for event in stream if event.choices]
        code = gateway.wait()
    verified = once("audit", "verify", tmp_path / "audit.jsonl")

    assert (1, 0) == (draining["active"], code)
    assert list(WORDS) * 20 == pieces
    assert backend.asked("late-prompt") is None
    assert "served" == gateway.record_where(lambda one: one["who"]["subject"] == "last")["outcome"]
    assert (0, "") == (verified.returncode, verified.stderr)
    assert "INTACT" in verified.stdout


def test_a_drain_ends(world: World, backend: Backend, tmp_path: Path) -> None:
    """Whoever never ends is cut off when the time for it is over, and that is on the record."""
    path = world.configure(tmp_path, backend.port)
    path.write_text(path.read_text().replace("drain: 10s", "drain: 200ms"))
    with (
        RunningGateway(path, tmp_path / "audit.jsonl") as gateway,
        world.openai(gateway, world.token("endless")) as client,
        client.chat.completions.create(**prompt("drip-endless"), stream=True) as stream,
    ):
        next(stream)
        began = time.monotonic()
        code = gateway.stop()
        took = time.monotonic() - began

    assert 0 == code
    assert 5.0 > took
    assert 1 == gateway.event("drain-ended")["cut_off"]
    assert "served" != gateway.record_where(lambda one: one["who"]["subject"] == "endless")["outcome"]


def test_a_changed_record_is_found(
    world: World, backend: Backend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One digit changed, one line removed: `gateway audit verify` says where, and exits with 1."""
    with started(world, backend, tmp_path) as gateway, world.http(gateway, world.token("honest")) as client:
        for _ in range(3):
            gateway.record(
                client.post("/v1/chat/completions", json=prompt("honest-prompt")).headers["x-request-id"]
            )
    log = tmp_path / "audit.jsonl"
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    codes = [main(["audit", "verify", str(log)])]
    log.write_bytes(whole.replace(b'"status":200', b'"status":403', 1))
    codes.append(main(["audit", "verify", str(log)]))
    changed = capsys.readouterr().out
    log.write_bytes(b"".join(lines[:1] + lines[2:]))
    codes.append(main(["audit", "verify", str(log)]))
    removed = capsys.readouterr().out

    assert [0, 1, 1] == codes
    assert "audit.jsonl:1: " in changed
    assert "NOT INTACT" in changed
    assert "NOT INTACT" in removed


def test_the_next_process_continues_the_log(world: World, backend: Backend, tmp_path: Path) -> None:
    """Even after a crash: the chain goes on where it stood."""
    for subject in ("first", "second"):
        with (
            started(world, backend, tmp_path) as gateway,
            world.http(gateway, world.token(subject)) as client,
        ):
            answer = client.post("/v1/chat/completions", json=prompt(subject))
            gateway.record(answer.headers["x-request-id"])
            gateway.kill()

    assert ["first", "second"] == [record["who"]["subject"] for record in gateway.records()]
    assert 0 == main(["audit", "verify", str(tmp_path / "audit.jsonl")])


def test_two_processes_cannot_share_an_audit_log(world: World, backend: Backend, tmp_path: Path) -> None:
    """The second one says so and does not start; the first one is not concerned."""
    with started(world, backend, tmp_path) as gateway:
        second = once("run", "--config", gateway.configuration)
        with world.http(gateway, world.token("first")) as client:
            answer = client.post("/v1/chat/completions", json=prompt("shared-log"))

    assert 2 == second.returncode
    assert "audit" in second.stderr
    assert "another process" in second.stderr
    assert "Traceback" not in second.stderr
    assert 200 == answer.status_code


def test_a_taken_port_is_said(world: World, backend: Backend, tmp_path: Path) -> None:
    """Which address, and why; exit code 2, no stack trace."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = once("run", "--config", world.configure(tmp_path, backend.port, port=port))

    assert 2 == done.returncode
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_configuration_does_not_start(
    world: World, backend: Backend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything that is wrong is said at once, each with its place and mend; exit code 1."""
    path = world.configure(tmp_path, backend.port)
    path.write_text(
        path.read_text()
        .replace("roles: [researcher], models", "roles: [reseacher], models")
        .replace("backend: tiny\n    require", "backend: tinny\n    require")
        .replace("log: {level: info", "log: {level: loud")
    )
    run = once("run", "--config", path)
    checked = main(["check", str(path)])
    said = capsys.readouterr().err

    assert (1, 1) == (run.returncode, checked)
    assert run.stderr == said
    assert ["tinny", "reseacher", "loud"] == sorted(("loud", "reseacher", "tinny"), key=said.index)
    assert "3 problems; nothing was started" in said
    assert 3 == said.count("= mend: ")


def test_problems_of_the_second_pass_come_together(
    world: World, backend: Backend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Conditions, schemas and keys are compiled after the file is read; they are reported whole as well."""
    path = world.configure(tmp_path, backend.port)
    (tmp_path / "schema.json").write_text('{"type": "objekt"}')
    path.write_text(
        path.read_text()
        .replace("request.max_tokens <= 512", "request.max_tokns <= 512")
        .replace(
            "risk: {detectors: [denied-probing",
            f"schema: {tmp_path}/schema.json\n    risk: {{detectors: [oracle",
        )
    )
    code = main(["check", str(path)])
    said = capsys.readouterr().err

    assert 1 == code
    assert "max_tokns" in said
    assert "`oracle` is no detector" in said
    assert "3 problems; nothing was started" in said


def test_a_client_that_leaves_frees_the_model(
    world: World, gateway: RunningGateway, backend: Backend
) -> None:
    """The backend sees the connection break off within 100 ms, and the record says who went."""
    with world.openai(gateway, world.token("leaver")) as client:
        stream = client.chat.completions.create(**prompt("drip-leaver"), stream=True)
        next(stream)
        left = time.monotonic()
        stream.close()
        backend.wait(lambda: bool((seen := backend.asked("drip-leaver")) and seen.lost_at))
    seen = backend.asked("drip-leaver")
    record = gateway.record(stream.response.headers["x-request-id"])

    assert seen is not None
    assert GONE_SECONDS > seen.lost_at - left
    assert ("client-gone", 200) == (record["outcome"], record["status"])


def test_a_model_that_dies_is_no_clean_end(world: World, gateway: RunningGateway) -> None:
    """A stream that breaks off ends with an error event that the official client raises, never as if whole."""
    with world.openai(gateway, world.token("unlucky")) as client:
        stream = client.chat.completions.create(**prompt("die-unlucky"), stream=True)
        pieces = []
        with pytest.raises((openai.APIError, httpx.RemoteProtocolError)) as caught:
            pieces.extend(event.choices[0].delta.content for event in stream)
    record = gateway.record(stream.response.headers["x-request-id"])

    assert ["half a"] == pieces
    assert "The model's answer cannot be used" in str(caught.value)
    assert ("failed", "upstream") == (record["outcome"], record["source"])


def test_a_model_that_is_away(world: World, tmp_path: Path) -> None:
    """502, with nothing of the reason but in the record; the gateway itself stays ready."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and never listening: refused
        path = world.configure(tmp_path, nobody.getsockname()[1])
        with (
            RunningGateway(path, tmp_path / "audit.jsonl") as gateway,
            world.http(gateway, world.token("early")) as client,
        ):
            answer = client.post("/v1/chat/completions", json=prompt("early"))
            ready = httpx.get(f"{gateway.admin}/readyz", trust_env=False)
            record = gateway.record_where(lambda one: one["status"] == 502)

    assert (502, 200) == (answer.status_code, ready.status_code)
    assert ("backend-unreachable", "upstream") == (record["reason"], record["source"])
    assert "Connection" not in answer.json()["title"]
