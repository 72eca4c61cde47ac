"""One process, in this one: opened, serving, drained and closed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from gateway.app.ground import open_audit
from gateway.app.peers import say_refused
from gateway.app.process import Process
from gateway.app.service_manager import ServiceManager
from gateway.cli import main
from gateway.core.refusal import Reason, Refusal
from gateway.observe.chain import Kind, parse
from tests.servers import PASSWORD, USER, RunningServer, valkey_binary
from tests.unit.app.settings import CLOCK, FULL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping
    from pathlib import Path

    from gateway.observe.log import LogSink
    from tests.unit.app.settings import Directory

    Lines = list[MutableMapping[str, Any]]

OPEN = """\
server: {{listen: "{listen}", drain: {drain}}}
admin: {{listen: "{admin}"}}
identity: {{anonymous: {{roles: [public]}}}}
roles: {{public: {{}}}}
backends:
  model: {{endpoints: ["http://127.0.0.1:{backend}"]}}
routes:
  - name: all
    match: {{methods: [GET], path: /model}}
    dialect: opaque
    backend: model
    allow: [{{name: everybody, roles: [public]}}]
    limits: {{requests: 100/minute, concurrent: 5}}
assertions: {{issuer: https://gateway.example.org, private_key: certs/assertions.key}}
audit: {{path: audit/gateway.jsonl, sync_every: 1ms}}
log: {{exchanges: false}}
{more}
"""


def simple(
    backend: int = 9,
    *,
    listen: str = "127.0.0.1:0",
    admin: str = "127.0.0.1:0",
    drain: str = "5s",
    more: str = "",
) -> str:
    """Return a configuration for everybody."""
    return OPEN.format(backend=backend, listen=listen, admin=admin, drain=drain, more=more)


@asynccontextmanager
async def running(directory: Directory, sink: LogSink, text: str) -> AsyncIterator[Process]:
    """Run a process until the end of the block, then let it stop by itself."""
    process = Process(directory.compile(text), CLOCK, sink)
    task = asyncio.ensure_future(process.run())
    while not process._is_ready:
        await asyncio.sleep(0)
        if task.done():
            task.result()
    try:
        yield process
    finally:
        process.stop()
        await task


@asynccontextmanager
async def model(answer: bytes) -> AsyncIterator[int]:
    """A backend that answers every connection once, with b"" never; yields its port."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        writer.close()


async def ask(where: str, path: str = "/model") -> bytes:
    """Send one request; return everything that comes back."""
    if where.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(where[5:])
    else:
        reader, writer = await asyncio.open_connection(*where.rsplit(":", 1))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    data = await reader.read()
    writer.close()
    return data


def records(directory: Directory) -> list[dict[str, Any]]:
    """Return the records of a log that is closed."""
    data = (directory.path / "audit/gateway.jsonl").read_bytes()
    lines = [parse(line) for line in data.splitlines(keepends=True)]
    return [msgspec.json.decode(line.payload) for line in lines if line.kind is Kind.RECORD]


def json(answer: bytes) -> Any:
    """Return the body of an answer."""
    return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"


async def test_it_serves_and_stops(directory: Directory, sink: LogSink) -> None:
    """Ready is said with the real addresses; a request is served; the record is on disk at the end."""
    async with model(ANSWER) as port:
        with capture_logs() as lines:
            async with running(directory, sink, simple(port)) as process:
                answer = await ask(process.addresses["listen"])
                refused = await ask(process.addresses["listen"], "/nothing")
    said = [line["event"] for line in lines]

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhi")
    assert refused.startswith(b"HTTP/1.1 403 ")
    assert ["operators-unproven", "ready", "draining"] == said
    assert (process.addresses["listen"], process.addresses["admin"]) == (
        lines[1]["listen"],
        lines[1]["admin"],
    )
    assert ["served", "refused"] == [record["outcome"] for record in records(directory)]
    assert 0 == main(["audit", "verify", str(directory.path / "audit/gateway.jsonl")])


async def test_operators_are_told(directory: Directory, sink: LogSink) -> None:
    """Readiness by part, status, metrics with the process' own gauges, public keys."""
    async with running(directory, sink, simple()) as process:
        await ask(process.addresses["listen"])
        where = process.addresses["admin"]
        ready, status, keys = [
            json(await ask(where, path)) for path in ("/readyz", "/v1/status", "/.well-known/jwks.json")
        ]
        metrics = (await ask(where, "/metrics")).decode()
        process._is_ready = False
        not_ready = await ask(where, "/readyz")
        process._is_ready = True

    assert {"serving": True, "audit": True, "state": True, "revocations": True} == ready["parts"]
    assert not_ready.startswith(b"HTTP/1.1 503 ")
    assert (["all"], True) == (status["routes"], status["ready"])
    assert ["OKP"] == [key["kty"] for key in keys["keys"]]
    for gauge in (
        "requests_active 0",
        "body_bytes 0",
        "audit_healthy 1",
        "audit_lost_total 0",
    ):
        assert f"gateway_{gauge}\n" in metrics
    for gauge in (
        "connections",
        "connections_refused_total",
        "upstream_connections",
        "audit_backlog",
        "log_lost_total",
    ):
        assert f"gateway_{gauge} " in metrics


async def test_sockets_of_the_file_system(directory: Directory, sink: LogSink, tmp_path: Path) -> None:
    """Both listeners can be unix sockets."""
    listen, admin = f"unix:{tmp_path}/g", f"unix:{tmp_path}/a"
    async with running(directory, sink, simple(listen=listen, admin=admin)) as process:
        answer, alive = await ask(listen), await ask(admin, "/livez")

    assert {"listen": listen, "admin": admin} == process.addresses
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert alive.endswith(b"ok\n")
    assert "unix" == records(directory)[0]["peer"].partition(":")[0]


async def test_no_operators_listener(directory: Directory, sink: LogSink) -> None:
    """It is optional, and an address of IPv6 reads as people write it."""
    text = simple(listen="[::1]:0").replace('admin: {listen: "127.0.0.1:0"}\n', "")
    async with running(directory, sink, text) as process:
        pass

    assert ["listen"] == list(process.addresses)
    assert process.addresses["listen"].startswith("[::1]:")


async def test_a_stream_that_never_ends_is_cut_off(directory: Directory, sink: LogSink) -> None:
    """After the time of the drain: said with their number, and each has its record before the log closes."""
    async with model(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n") as port:
        with capture_logs() as lines:
            async with running(directory, sink, simple(port, drain="60ms")) as process:
                host, number = process.addresses["listen"].split(":")
                reader, writer = await asyncio.open_connection(host, number)
                writer.write(b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readuntil(b"a\r\n")
            with suppress(ConnectionError):
                assert b"" == await reader.read()  # not the chunk that would say: this was all
            writer.close()
    [line] = [line for line in lines if line["event"] == "drain-ended"]
    [record] = records(directory)

    assert (1, "warning") == (line["cut_off"], line["log_level"])
    assert "served" != record["outcome"]


async def test_signals_stop_it(directory: Directory, sink: LogSink) -> None:
    """SIGTERM and SIGINT mean the same."""
    for number in (signal.SIGTERM, signal.SIGINT):
        async with running(directory, sink, simple()) as process:
            os.kill(os.getpid(), number)
            await asyncio.wait_for(process._stop.wait(), 5)


async def test_the_service_manager_hears_of_it(directory: Directory, sink: LogSink, tmp_path: Path) -> None:
    """When it serves, and when it begins to stop; SIGHUP ends nothing, and says that it reloads nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        manager = ServiceManager(str(tmp_path / "notify"), 600.0)
        process = Process(directory.compile(simple()), CLOCK, sink, manager=manager)
        task = asyncio.ensure_future(process.run())
        while not process._is_ready:
            await asyncio.sleep(0)
        with capture_logs() as lines:
            os.kill(os.getpid(), signal.SIGHUP)
            while not lines:
                await asyncio.sleep(0)
        process.stop()
        await task

        assert [b"READY=1", b"STOPPING=1"] == [systemd.recv(100) for _ in range(2)]
    assert ["nothing-reloaded"] == [line["event"] for line in lines if line["event"] != "draining"]


async def test_a_full_configuration_opens(directory: Directory, sink: LogSink) -> None:
    """TLS on both sides, key sets, checkpoints, traces, a token for operators."""
    more = 'traces: {endpoint: "http://127.0.0.1:9/v1/traces", sample: 0.0}\n'
    with capture_logs() as lines:
        async with running(directory, sink, FULL + more) as process:
            base = f"https://{process.addresses['admin'].replace('127.0.0.1', 'localhost')}"
            context = ssl.create_default_context(cafile=str(directory.pki.ca("gateway")))
            async with httpx.AsyncClient(verify=context, trust_env=False) as client:
                codes = [
                    (await client.get(f"{base}/v1/status", headers=headers)).status_code
                    for headers in ({}, {"authorization": "Bearer correct-horse"})
                ]

    assert [401, 200] == codes
    assert "ready" in [line["event"] for line in lines]


async def test_state_in_redis(directory: Directory, sink: LogSink, tmp_path: Path) -> None:
    """Connected before anybody is served, and part of readiness."""
    (tmp_path / "redis").mkdir()
    server = RunningServer(valkey_binary(), tmp_path / "redis")
    server.start()
    directory.write("secret", PASSWORD.encode())
    state = f'state: {{url: "redis://{USER}@127.0.0.1:{server.port}", password: "file:secret"}}'
    try:
        async with running(directory, sink, simple(more=state)) as process:
            answer = await ask(process.addresses["listen"])
            ready = json(await ask(process.addresses["admin"], "/readyz"))
    finally:
        server.stop()

    assert answer.startswith(b"HTTP/1.1 502 ")  # admitted; there is no model
    assert ready["parts"]["state"]
    assert ready["parts"]["revocations"]


@pytest.mark.parametrize("which", ["listen", "admin"])
async def test_a_taken_address_is_named(which: str, directory: Directory, sink: LogSink) -> None:
    """In the words of the configuration; what was opened before is closed again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = Process(directory.compile(simple(**{which: address})), CLOCK, sink)
        with pytest.raises(OSError, match=f"cannot listen on {address}: Address already in use"):
            await process.run()
    async with running(directory, sink, simple()) as process:
        answer = await ask(process.addresses["admin"], "/livez")

    assert answer.endswith(b"ok\n")


async def test_what_operators_must_hear(directory: Directory) -> None:
    """A lost audit log with what to do about it, its return, and certificates against our rules."""
    with capture_logs() as lines:
        async with AsyncExitStack() as stack:
            audit = open_audit(stack, directory.compile(simple()), CLOCK, is_worker=False)
            audit._report(is_healthy=False)
            audit._report(is_healthy=True)
            say_refused("10.0.0.1", Refusal(Reason.CERTIFICATE_REFUSED, note="two names"))

    assert [("audit-lost", "error"), ("audit-back", "info"), ("certificate-refused", "warning")] == [
        (line["event"], line["log_level"]) for line in lines
    ]
    assert "make room" in lines[0]["mend"]
    assert ("10.0.0.1", "certificate-refused", "two names") == (
        lines[2]["address"],
        lines[2]["reason"],
        lines[2]["why"],
    )


async def test_unfetched_keys_are_said(directory: Directory, sink: LogSink) -> None:
    """An issuer that cannot be reached does not keep the gateway from starting, and is said."""
    with capture_logs() as lines:
        async with running(directory, sink, FULL):
            pass
    found = [line for line in lines if line["event"] == "keys-unavailable"]

    assert {"https://other.example.org"} == {line["issuer"] for line in found}
