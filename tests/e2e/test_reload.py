"""The configuration changes while the gateway runs: taken whole or not at all, and nobody is cut off for it."""

from __future__ import annotations

import time
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from gateway.credentials.development import DevelopmentIssuer, fingerprint
from tests.e2e.backend import WORDS, Backend
from tests.e2e.reloading import RULE, Load, add_route, change, configuration, deny, hang_up
from tests.e2e.running import RunningGateway, once
from tests.e2e.world import BACKEND_ID, SIDECAR, prompt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.world import World

SOON = 3.0  # seconds: a second as promised, and two for a slow machine


def version(path: Path) -> str:
    """Return what records call a configuration."""
    return sha256(path.read_bytes()).hexdigest()[:16]


@pytest.fixture
def path(world: World, backend: Backend, tmp_path: Path) -> Path:
    """A configuration of the test's own; the file is looked at often."""
    made = world.configure(tmp_path, backend.port)
    change(made, "  drain: 10s\n", "  drain: 10s\n  watch: 200ms\n")
    return made


def started(path: Path) -> RunningGateway:
    """Return a gateway with this configuration, to be entered."""
    return RunningGateway(path, path.parent / "audit.jsonl")


def test_a_new_rule_ends_what_it_denies(world: World, path: Path) -> None:
    """Within a second of the swap; the stream of somebody else goes on without a missing byte."""
    with (
        started(path) as gateway,
        world.openai(gateway, world.token("denied")) as first,
        world.openai(gateway, world.token("allowed")) as second,
    ):
        ending = first.chat.completions.create(**prompt("drip-denied"), stream=True)
        staying = second.chat.completions.create(**prompt("long-allowed"), stream=True)
        next(ending)
        pieces = [next(staying).choices[0].delta.content]
        before = version(path)
        deny(path, "denied")
        taken = hang_up(gateway)
        began = time.monotonic()
        with pytest.raises(openai.APIError):
            list(ending)
        took = time.monotonic() - began
        pieces += [event.choices[0].delta.content for event in staying if event.choices]
        with world.http(gateway, world.token("denied")) as client:
            again = client.post("/v1/chat/completions", json=prompt("again"))
        cut = gateway.record_where(lambda one: one["who"]["subject"] == "denied" and one["status"] == 200)
        whole = gateway.record_where(lambda one: one["who"]["subject"] == "allowed")
        later = gateway.record_where(lambda one: one["who"]["subject"] == "denied" and one["status"] == 403)

    assert (before, version(path), "SIGHUP") == (taken["previous"], taken["configuration"], taken["by"])
    assert SOON > took
    assert list(WORDS) * 20 == pieces
    assert 403 == again.status_code
    assert ("failed", "denied-by-rule", before) == (cut["outcome"], cut["reason"], cut["configuration"])
    assert ("served", before) == (whole["outcome"], whole["configuration"])
    assert version(path) == later["configuration"]


def test_a_broken_file_changes_nothing(world: World, path: Path) -> None:
    """Everything that is wrong is said with place and mend; who is served goes on being served; then it is mended."""
    with started(path) as gateway, world.http(gateway, world.token("broken")) as client:
        good = version(path)
        change(path, "backend: tiny\n    require", "backend: tinny\n    require")
        change(path, "roles: [researcher], models", "roles: [reseacher], models")
        refused = gateway.event("configuration-refused")
        answer = client.post("/v1/chat/completions", json=prompt("broken"))
        ready = httpx.get(f"{gateway.admin}/readyz", trust_env=False)
        metrics = httpx.get(f"{gateway.admin}/metrics", trust_env=False).text
        state = configuration(gateway)
        record = gateway.record(answer.headers["x-request-id"])
        change(path, "backend: tinny", "backend: tiny")
        change(path, "roles: [reseacher], models", "roles: [researcher], models")
        change(path, "lifetime: 60s", "lifetime: 50s")
        gateway.event("configuration-accepted", lambda line: line["configuration"] == version(path))
        after = configuration(gateway)
    shown = once("audit", "show", "--actions", gateway.audit).stdout

    assert (200, 200, good) == (answer.status_code, ready.status_code, record["configuration"])
    assert ("error", good) == (refused["level"], refused["configuration"])
    said = [f"{one['place']} {one['text']} {one['message']} {one['mend']}" for one in state["problems"]]
    assert ["reseacher", "tinny"] == [word for word in ("reseacher", "tinny") if word in " ".join(said)]
    assert all(f"{path}:" in one["place"] and one["mend"] for one in state["problems"])
    assert "gateway_configuration_reload_failures_total 1" in metrics or state["refused"] > 1
    assert f'gateway_configuration_info{{version="{good}"}} 1' in metrics
    assert ([], version(path)) == (after["problems"], after["version"])
    assert "reload-refused" in shown
    assert f"{good} -> {version(path)}" in shown
    assert 0 == once("audit", "verify", gateway.audit).returncode


def test_what_needs_a_restart_is_named(path: Path) -> None:
    """Each setting of them, and nothing else of the file is taken either."""
    with started(path) as gateway:
        good = version(path)
        change(path, "sync_every: 5ms", "sync_every: 6ms")
        change(path, "listen: 127.0.0.1:0\n", "listen: 127.0.0.1:1\n")
        change(path, "lifetime: 60s", "lifetime: 50s")
        refused = hang_up(gateway, "configuration-refused")
        state = configuration(gateway)

    assert good == state["version"]
    assert [
        "`server.listen` cannot change while the gateway runs",
        "`audit.sync_every` cannot change while the gateway runs",
    ] == [one["message"] for one in refused["problems"]]
    assert all("needs a restart" in one["mend"] for one in refused["problems"])


def test_no_limit_is_forgotten(world: World, path: Path) -> None:
    """What was used under the old configuration stays used under the new one."""
    with started(path) as gateway, world.http(gateway, world.token("limited")) as client:

        def ask() -> int:
            return client.post("/limited/v1/chat/completions", json=prompt("limited")).status_code

        statuses = [ask(), ask()]
        change(path, "    limits: {requests: 3/hour, burst: 3}", "    limits: {requests: 3/hour}")
        hang_up(gateway)
        statuses += [ask(), ask()]

    assert [200, 200, 200, 429] == statuses


def test_a_changed_backend_and_a_request_under_way(world: World, backend: Backend, path: Path) -> None:
    """Who comes now gets the new one; who came before ends where it began, under the old version."""
    with (
        Backend(world.pki, world.backend) as other,
        started(path) as gateway,
        world.http(gateway, world.token("early")) as early,
        world.http(gateway, world.token("late")) as late,
    ):
        before = version(path)
        asked = prompt("long-early", stream=True)
        with early.stream("POST", "/v1/chat/completions", json=asked) as stream:
            pieces = stream.iter_raw()
            begin = next(pieces)
            where = SIDECAR.format(port="{}", certs=world.pki.directory, identity=BACKEND_ID)
            change(path, where.format(backend.port), where.format(other.port))
            hang_up(gateway)
            answer = late.post("/v1/chat/completions", json=prompt("moved-late"))
            whole = (begin + b"".join(pieces)).decode()
        first = gateway.record(stream.headers["x-request-id"])
        second = gateway.record(answer.headers["x-request-id"])
        connections = httpx.get(f"{gateway.admin}/metrics", trust_env=False).text

    assert 200 == answer.status_code
    assert other.asked("moved-late") is not None
    assert backend.asked("moved-late") is None
    assert whole.endswith("data: [DONE]\n\n")
    assert len(WORDS) * 20 + 2 == whole.count("data: ")
    assert (before, version(path)) == (first["configuration"], second["configuration"])
    assert (f"https://127.0.0.1:{backend.port}", f"https://127.0.0.1:{other.port}") == (
        first["endpoint"],
        second["endpoint"],
    )
    assert "gateway_upstream_connections 1\n" in connections


def test_an_issuer_that_is_removed(world: World, path: Path, tmp_path: Path) -> None:
    """Its tokens are refused at once, verified ones too, and its streams end; the other issuer's go on."""
    (tmp_path / "other").mkdir()
    other = DevelopmentIssuer.create(tmp_path / "other", issuer="https://other.example.org")
    section = (
        f"    - {{issuer: https://other.example.org, jwks: 'file:{other.directory}/jwks.json', "
        "audience: model-gateway, algorithms: [ES256]}\n"
    )
    change(path, "roles:\n", f"{section}roles:\n")
    token = other.mint(
        "guest", groups=["ml-research"], scopes=["models:chat"], bind=fingerprint(world.alice.certificate)
    )
    with (
        started(path) as gateway,
        world.http(gateway, token) as guest,
        world.http(gateway, world.token("host")) as host,
    ):
        before = guest.post("/v1/chat/completions", json=prompt("guest"))
        with guest.stream("POST", "/v1/chat/completions", json=prompt("drip-guest", stream=True)) as stream:
            pieces = stream.iter_raw()
            next(pieces)
            change(path, section, "")
            hang_up(gateway)
            with world.http(gateway, token) as anew:
                refused = anew.post("/v1/chat/completions", json=prompt("guest-again"))
            served = host.post("/v1/chat/completions", json=prompt("host"))
            rest = b""
            with suppress(httpx.RemoteProtocolError):  # it breaks off, as something that is not whole must
                for piece in pieces:
                    rest += piece
        reason = gateway.record_where(lambda one: one["status"] == 401)["reason"]
        cut = gateway.record(stream.headers["x-request-id"])["reason"]

    assert (200, 401, 200) == (before.status_code, refused.status_code, served.status_code)
    assert ("token-issuer-unknown", "token-issuer-unknown") == (reason, cut)
    assert b"event: error" in rest


def test_a_file_that_is_compiled_in_is_watched(world: World, path: Path, tmp_path: Path) -> None:
    """A schema that changes is a new version, without anybody asking for it; the same content again is none."""
    schema = tmp_path / "chat.json"
    schema.write_text('{"type": "object"}')
    change(path, "    risk: {detectors", f"    schema: {schema}\n    risk: {{detectors")
    with started(path) as gateway, world.http(gateway, world.token("schema")) as client:
        before = client.post("/v1/chat/completions", json=prompt("schema"))
        schema.write_text('{"type": "object", "required": ["seed"]}')
        taken = gateway.event("configuration-accepted")
        after = client.post("/v1/chat/completions", json=prompt("schema"))
        schema.write_text('{"type": "object", "required": ["seed"]}')
        hang_up(gateway, "configuration-unchanged")

    assert (200, 422) == (before.status_code, after.status_code)
    assert "a change of the file" == taken["by"]
    assert taken["configuration"] != taken["previous"]
    assert taken["configuration"] == gateway.record_where(lambda one: one["status"] == 422)["configuration"]


def test_the_command(path: Path) -> None:
    """Exit code 0 if it decides now, 1 with everything that is wrong, 2 if nobody was asked."""
    change(path, "watch: 200ms", "watch: 1h")
    with started(path) as gateway:
        where = ("--config", path, "--admin", gateway.admin.removeprefix("http://"))
        unchanged = once("reload", *where)
        change(path, "lifetime: 60s", "lifetime: 50s")
        taken = once("reload", *where)
        change(path, "sync_every: 5ms", "sync_every: 6ms")
        refused = once("reload", *where)
        shown = once("reload", "--show", *where)
    gone = once("reload", *where)

    assert [0, 0, 1, 0, 2] == [each.returncode for each in (unchanged, taken, refused, shown, gone)]
    assert "nothing has changed" in unchanged.stdout
    assert " decides; it was " in taken.stdout
    assert "`audit.sync_every` cannot change while the gateway runs" in refused.stderr
    assert "= mend: " in refused.stderr
    assert "1 reloads, 1 refused" in shown.stdout
    assert "nothing was reloaded" in gone.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_twenty_reloads_under_load(world: World, path: Path) -> None:
    """Not one request fails, not one stream misses a byte."""
    add_route(path)
    with started(path) as gateway, Load(world, gateway, 6) as load:
        for number in range(20):
            change(path, f"lifetime: {60 - number}s", f"lifetime: {59 - number}s")
            if number % 4 == 0:
                change(path, RULE, RULE.replace("512", str(511 - number)))
                change(path, RULE.replace("512", str(511 - number)), RULE)
            hang_up(gateway)
            time.sleep(0.2)  # so that requests come between two of them
    versions = {record["configuration"] for record in gateway.records()}

    assert [] == load.failures
    assert 100 < load.served
    assert 15 < len(versions)
    assert not [line for line in gateway.lines if line.get("event") in {"fault", "task-failed"}]
