"""Reloads of one process, in this one: what is started, swapped, drained, refused, and let go of."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from gateway.app.compilation import Compilation
from gateway.app.origin import Origin
from gateway.app.process import Process
from gateway.app.service_manager import ServiceManager
from gateway.credentials.bundles import write_bundle
from gateway.observe.audit import AuditLog
from gateway.state.redis_budgets import RedisBudgets
from tests.pki import Ca
from tests.servers import PASSWORD, USER, RunningServer, valkey_binary
from tests.unit.app.settings import CLOCK, FULL
from tests.unit.app.test_process import ANSWER, ask, json, model, simple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway.admin.configuration import Verdict
    from gateway.observe.log import LogSink
    from tests.unit.app.settings import Directory

ISSUER = "issuers: [{issuer: https://idp.example.org, jwks: 'file:issuer/jwks.json', audience: a, algorithms: [ES256]}]"
PUSH = "{name: idp, issuer: https://idp.example.org, audience: a, jwks: 'file:issuer/jwks.json', push: {token: 'file:secret'}}"


class Running:
    """A process that runs what stands in a file."""

    def __init__(
        self, directory: Directory, sink: LogSink, text: str, watch: bool, notify: str | None
    ) -> None:
        self.directory = directory
        self.path = directory.path / "gateway.yaml"
        self.text = text if watch else text.replace("server: {", "server: {watch: 1h, ")
        compilation = directory.compile(self.text)
        self.process = Process(
            compilation, CLOCK, sink, origin=Origin(self.path), manager=ServiceManager(notify)
        )

    async def reload(self, old: str = "", new: str = "") -> Verdict:
        """Change the file, and have it read again."""
        assert old in self.text
        self.text = self.text.replace(old, new, 1)
        self.path.write_text(self.text)
        assert self.process._reload is not None
        return await self.process._reload.reload("the test")

    @property
    def compilation(self) -> Compilation:
        return self.process._compilation

    async def ask(self, path: str = "/model") -> bytes:
        return await ask(self.process.addresses["listen"], path)

    async def operate(self, path: str) -> Any:
        return json(await ask(self.process.addresses["admin"], path))


@pytest.fixture
async def run(directory: Directory, sink: LogSink) -> AsyncIterator[Callable[..., Any]]:
    """Starts a process; it is stopped at the end."""
    started: list[tuple[Running, asyncio.Future[None]]] = []

    async def start(text: str, watch: bool = False, notify: str | None = None) -> Running:
        made = Running(directory, sink, text, watch, notify)
        task = asyncio.ensure_future(made.process.run())
        started.append((made, task))
        while not made.process._is_ready:
            await asyncio.sleep(0)
            if task.done():
                task.result()
        return made

    yield start
    for made, task in started:
        made.process.stop()
        await task


def events(lines: list[Any]) -> list[str]:
    """Return what was said, warnings about the test's own configuration apart."""
    return [line["event"] for line in lines if line["event"] != "configuration-warning"]


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_old_configurations_are_let_go_of(run: Callable[..., Any]) -> None:
    """After twenty reloads, with requests between them, one runtime and one compilation are left."""
    gc.collect()
    before = {id(each) for each in everything() if isinstance(each, Compilation)}
    gone: list[weakref.ref[Any]] = []
    async with patient() as (port, made, _):
        running = await run(simple(port).replace("requests: 100/minute", "requests: 1000/minute"))
        for number in range(20):
            assert (await running.ask()).endswith(b"hi")
            gone.append(weakref.ref(running.process._succession._gateway.runtime))
            verdict = await running.reload(f"{1000 + number}/minute", f"{1001 + number}/minute")
            assert "accepted" == verdict.outcome
        await until(lambda: not running.process._succession._draining)
        await asyncio.sleep(0.3)  # the vigil looks four times a second, and lets go of the last one then
    gc.collect()

    assert (20, 1) == (len(gone), len(made))
    assert [] == [one for one in gone if one() is not None]
    assert 1 == sum(isinstance(each, Compilation) and id(each) not in before for each in everything())


def everything() -> list[object]:
    """Return all objects that the collector knows, those that were taken out of it included."""
    gc.unfreeze()
    return gc.get_objects()


async def test_a_new_issuer_is_warm_before_it_counts(run: Callable[..., Any], directory: Directory) -> None:
    """Its keys are there at the swap; one whose keys cannot be had is refused, and what was begun is stopped."""
    running = await run(simple())
    verdict = await running.reload("anonymous:", f"{ISSUER}, anonymous:")
    assert "accepted" == verdict.outcome
    [keys] = running.compilation.key_sets
    before = {id(part) for part in running.process._succession._background._running.values()}
    away = ISSUER.replace("'file:issuer/jwks.json'", "'https://127.0.0.1:9/jwks'")
    with capture_logs() as lines:
        refused = await running.reload(ISSUER, away)
    after = {id(part) for part in running.process._succession._background._running.values()}

    assert keys.is_usable
    assert ("refused", verdict.version) == (refused.outcome, refused.version)
    assert ["the keys of https://idp.example.org cannot be fetched"] == [
        one.message for one in refused.problems
    ]
    assert before == after == {id(keys)}
    assert ["keys-unavailable", "configuration-refused"] == events(lines)
    assert running.process._succession.compilation.version == verdict.version


async def test_what_is_gone_is_stopped(run: Callable[..., Any], directory: Directory) -> None:
    """An issuer's keys, a trust domain's bundle, a transmitter and its endpoint; what is new is listened to."""
    directory.write("one.json", write_bundle([Ca("one", CLOCK.wall()).certificate]))
    domain = "trust_domains: {one.example: {bundle: 'file:one.json', audience: a}}"
    running = await run(simple())
    await running.reload("anonymous:", f"{ISSUER}, {domain}, signals: [{PUSH}], anonymous:")
    parts = list(running.process._succession._background._running.values())
    taken = await ask_push(running)
    await running.reload(f"{ISSUER}, {domain}, signals: [{PUSH}], ", "")
    await until(lambda: not running.process._succession._draining)
    gone = await ask_push(running)

    assert 3 == len(parts)
    assert {} == running.process._succession._background._running
    assert all(part._loop._task is None for part in parts if hasattr(part, "_loop"))
    assert (b"HTTP/1.1 401 ", b"HTTP/1.1 404 ") == (taken[:13], gone[:13])


async def ask_push(running: Running) -> bytes:
    """Send what is no security event to the endpoint for it."""
    host, port = running.process.addresses["admin"].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"POST /signals/idp HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    data = await reader.read()
    writer.close()
    return data


@asynccontextmanager
async def patient() -> AsyncIterator[tuple[int, list[asyncio.StreamWriter], asyncio.Event]]:
    """A backend that answers again and again on one connection.

    Yields its port, its connections, and what is set when one is lost.
    """
    made: list[asyncio.StreamWriter] = []
    lost = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.append(writer)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
        lost.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], made, lost
    server.close()
    for writer in made:
        writer.close()
    await asyncio.sleep(0.05)


async def test_an_idle_connection_to_a_backend_is_kept(run: Callable[..., Any]) -> None:
    """Where the backend is the same; where it is not, it is closed."""
    async with patient() as (port, made, lost):
        running = await run(simple(port).replace("endpoints: [", "keep_alive: 60m, endpoints: ["))
        answers = [await running.ask()]
        verdicts = [await running.reload("100/minute", "101/minute")]
        answers.append(await running.ask())
        assert 1 == len(made)
        verdicts.append(await running.reload("keep_alive: 60m", "keep_alive: 50m"))
        await asyncio.wait_for(lost.wait(), 5)
        answers.append(await running.ask())

    assert ["accepted"] * 2 == [verdict.outcome for verdict in verdicts]
    assert [b"hi"] * 3 == [answer[-2:] for answer in answers]
    assert 2 == len(made)


async def test_the_listener_s_own_rules_change(run: Callable[..., Any]) -> None:
    """Host names, deadlines, bounds, the time of a drain, the interval of looking at files."""
    running = await run(simple())
    before = await running.ask()
    service = running.process._succession._service
    await running.reload("server: {watch: 1h, ", "server: {watch: 2h, hosts: [other], timeouts: {head: 3s}, bounds: {connections: 7}, ")  # fmt: skip
    after = await running.ask()

    assert (b"HTTP/1.1 502 ", b"HTTP/1.1 421 ") == (before[:13], after[:13])
    assert (3.0, 7) == (service.timeouts.head, service.bounds.connections)
    assert 7200.0 == running.process._succession._renewal._interval


async def test_operators_see_it(run: Callable[..., Any], directory: Directory) -> None:
    """Which version, since when, why not; in the metrics, in the status, and in the record of actions."""
    running = await run(simple())
    first = await running.operate("/v1/configuration")
    await running.reload("100/minute", "101/minute")
    with capture_logs() as lines:
        await running.reload("101/minute", "101/minit")
    second = await running.operate("/v1/configuration")
    status = await running.operate("/v1/status")
    metrics = (await ask(running.process.addresses["admin"], "/metrics")).decode()

    assert (0, 0, []) == (first["reloads"], first["refused"], first["problems"])
    assert (1, 1) == (second["reloads"], second["refused"])
    assert first["version"] != second["version"] == status["configuration"]
    assert second["since"] >= first["since"]
    [problem] = second["problems"]
    assert f"{running.path}:13:" in problem["place"]
    assert "101/minit" in problem["text"]
    [line] = [line for line in lines if line["event"] == "configuration-refused"]
    assert (line["log_level"], line["problems"]) == ("error", [problem])
    assert f'gateway_configuration_info{{version="{second["version"]}"}} 1\n' in metrics
    assert "gateway_configuration_reloads_total 1\n" in metrics
    assert "gateway_configuration_reload_failures_total 1\n" in metrics


async def test_nothing_is_taken_without_a_record(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that leaves no trace could let somebody in."""
    running = await run(simple())
    audit, report = running.process._succession._ground.audit, AuditLog._report
    with monkeypatch.context() as full:  # the disk, whatever else is written meanwhile
        full.setattr(AuditLog, "_report", lambda self, *, is_healthy: report(self, is_healthy=False))
        audit._report(is_healthy=False)
        verdict = await running.reload("100/minute", "101/minute")
    audit._report(is_healthy=True)
    again = await running.reload()

    assert "refused" == verdict.outcome
    assert "could not be written down" in verdict.problems[0].message
    assert "accepted" == again.outcome


async def test_a_bug_of_ours_changes_nothing(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and the last good configuration goes on."""
    running = await run(simple())
    monkeypatch.setattr("gateway.app.succession.make_runtime", lambda *_: 1 / 0)
    with capture_logs() as lines:
        verdict = await running.reload("anonymous:", f"{ISSUER}, anonymous:")
    answer = await running.ask()

    assert ("refused", "a fault of the gateway: ZeroDivisionError") == (
        verdict.outcome,
        verdict.problems[0].message,
    )
    assert ["fault", "configuration-refused"] == events(lines)
    assert b"HTTP/1.1 502 " == answer[:13]
    assert {} == running.process._succession._background._running


async def test_a_hang_up_and_the_service_manager(run: Callable[..., Any], tmp_path: Path) -> None:
    """SIGHUP reloads; systemd hears that it is under way, and that it is over, whatever came of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        running = await run(simple(), notify=str(tmp_path / "notify"))
        running.path.write_text(running.text.replace("100/minute", "102/minute"))
        with capture_logs() as lines:
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: [line for line in lines if line["event"] == "configuration-accepted"])
        told = [systemd.recv(100) for _ in range(3)]

    assert (b"READY=1", b"RELOADING=1\nMONOTONIC_USEC=", b"READY=1") == (told[0], told[1][:27], told[2])
    assert told[1][27:].isdigit()
    assert "SIGHUP" == lines[-1]["by"]


async def test_the_file_is_watched(run: Callable[..., Any], directory: Directory) -> None:
    """A changed content is taken without being asked for, tried once if it may not be run; a new date is nothing."""
    running = await run(simple().replace("server: {", "server: {watch: 50ms, "), watch=True)
    with capture_logs() as lines:
        running.path.touch()
        running.path.write_text(running.text.replace("100/minute", "103/minute"))
        await until(lambda: [line for line in lines if line["event"] == "configuration-accepted"])
        running.path.write_text("server: 1")
        await until(lambda: [line for line in lines if line["event"] == "configuration-refused"])
        running.path.touch()
        await asyncio.sleep(1.0)  # twenty looks
        assert ["configuration-accepted", "configuration-refused"] == events(lines)
        running.path.unlink()
        await until(lambda: len([line for line in lines if line["event"] == "configuration-refused"]) > 1)
    said = events(lines)

    assert ["configuration-accepted", "configuration-refused", "configuration-refused"] == said
    assert b"HTTP/1.1 502 " == (await running.ask())[:13]


async def test_the_first_budget_comes_with_a_reload(
    run: Callable[..., Any], directory: Directory, tmp_path: Path
) -> None:
    """Beside Redis: it is counted there from the first request on; a reload that is refused leaves nothing open."""
    (tmp_path / "redis").mkdir()
    server = RunningServer(valkey_binary(), tmp_path / "redis")
    server.start()
    directory.write("secret", PASSWORD.encode())
    state = f'state: {{url: "redis://{USER}@127.0.0.1:{server.port}", password: "file:secret"}}'
    try:
        async with model(ANSWER) as port:
            running = await run(simple(port, more=state))
            away = ISSUER.replace("'file:issuer/jwks.json'", "'https://127.0.0.1:9/jwks'")
            limited = "concurrent: 5, bytes_out: [1MiB/hour]"
            refused = await running.reload(
                "anonymous: {roles: [public]}", f"{away}, anonymous: {{roles: [public]}}"
            )
            assert "refused" == refused.outcome
            running.text = running.text.replace(f"{away}, ", "")
            taken = await running.reload("concurrent: 5", limited)
            answer = await running.ask()
            budgets = running.process._succession._ground.budgets
        running.process.stop()
        await until(lambda: not running.process._is_ready)
    finally:
        server.stop()

    assert ("accepted", b"hi") == (taken.outcome, answer[-2:])
    assert isinstance(budgets, RedisBudgets)


async def test_tls_of_clients_changes(run: Callable[..., Any], directory: Directory) -> None:
    """New handshakes and who is believed follow; the files that are in use are looked at again."""
    running = await run(FULL.replace("server:\n", "server:\n  watch: 1h\n"))
    trust = running.compilation.client_trust
    [verdict] = [
        await running.reload("    revocation_list: certs/clients.crl\n", '    minimum_version: "1.3"\n')
    ]
    await until(lambda: not running.process._succession._draining)
    renewal = running.process._succession._renewal

    assert ("accepted", None) == (verdict.outcome, renewal._context)
    assert trust is not running.compilation.client_trust is renewal._clients
    assert renewal.chains.trust is running.compilation.client_trust.trust


async def test_the_end_comes_during_a_reload(run: Callable[..., Any]) -> None:
    """What was begun for it is stopped with everything else, and it never decides."""
    asked = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        asked.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    away = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
    running = await run(simple())
    before = running.compilation.version
    running.path.write_text(
        running.text.replace("anonymous:", f"{ISSUER.replace('file:issuer/jwks.json', away)}, anonymous:")
    )
    with capture_logs() as lines:
        running.process._reload.begin("the test")
        await asyncio.wait_for(asked.wait(), 10)
        running.process.stop()
        await until(lambda: not running.process._succession._background._running)
    server.close()
    for writer in writers:
        writer.close()

    assert before == running.compilation.version
    assert ["draining"] == events(lines)
