"""The supervisor, in this process; its workers are processes: ours, or others that only die."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from gateway.app import supervisor as module
from gateway.app.service_manager import ServiceManager
from gateway.app.supervisor import CannotStart, Supervisor
from gateway.app.worker import Orders
from gateway.cli import main
from gateway.observe.audit import AuditBroken
from gateway.observe.journal import Journal
from tests.servers import PASSWORD, USER, RunningServer, valkey_binary
from tests.unit.app.settings import CLOCK
from tests.unit.app.test_process import ANSWER, ask, json, model, simple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from gateway.app.child import Child
    from gateway.observe.log import LogSink
    from tests.unit.app.settings import Directory

DEAD = (sys.executable, "-c", "raise SystemExit(3)")
SERVED_ONE = b'\ngateway_exchanges_total{route="all",outcome="served",reason=""} 1\n'
NAMED = (sys.executable, "-m", "gateway", "run", "--config", "unread.yaml", "--orders")


@pytest.fixture
def shared(tmp_path: Path, directory: Directory) -> Iterator[str]:
    """A section `state` that leads to a real server."""
    (tmp_path / "redis").mkdir()
    server = RunningServer(valkey_binary(), tmp_path / "redis")
    server.start()
    directory.write("secret", PASSWORD.encode())
    yield f'state: {{url: "redis://{USER}@127.0.0.1:{server.port}", password: "file:secret"}}\n'
    server.stop()


def made(
    directory: Directory,
    sink: LogSink,
    text: str,
    *,
    command: tuple[str, ...] = NAMED,
    workers: int = 2,
    manager: ServiceManager | None = None,
) -> Supervisor:
    """Return a supervisor of a configuration."""
    orders = Orders(
        path=str(directory.path / "gateway.yaml"),
        configuration=text.encode(),
        number=0,
        workers=workers,
        door=-1,
        listen=[],
        log_lock=os.memfd_create("log"),
    )
    return Supervisor(directory.compile(text), orders, command, CLOCK, sink, manager or ServiceManager())


@asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[asyncio.Future[None]]:
    """Run a supervisor from its readiness to the end of the block."""
    task = asyncio.ensure_future(supervisor.run())
    while not supervisor._is_ready and not task.done():
        await asyncio.sleep(0.01)
    try:
        yield task
    finally:
        supervisor.stop()
        await task


async def test_it_serves_and_stops(directory: Directory, sink: LogSink, shared: str, tmp_path: Path) -> None:
    """Ready once all are; the service manager hears of it; a worker that dies is replaced; the log is one."""
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(tmp_path / "notify"))
    systemd.setblocking(False)
    async with model(ANSWER) as port:
        supervisor = made(
            directory,
            sink,
            simple(port, more=shared),
            manager=ServiceManager(str(tmp_path / "notify"), 600.0),
        )
        with capture_logs() as lines:
            async with running(supervisor):
                answer = await ask(supervisor.addresses["listen"])
                where = supervisor.addresses["admin"]
                ready = json(await ask(where, "/readyz"))
                while SERVED_ONE not in await ask(where, "/metrics"):  # written some milliseconds later
                    pass
                [first, _] = supervisor._children()
                first.tell(signal.SIGKILL)
                while supervisor._children()[:1] in ([], [first]) or not all(supervisor._serving()):
                    await asyncio.sleep(0.01)
                status = json(await ask(where, "/v1/status"))
                keys = json(await ask(where, "/.well-known/jwks.json"))
    events = [line["event"] for line in lines]
    told = [systemd.recv(100) for _ in range(2)]
    systemd.close()

    assert answer.endswith(b"hi")
    assert {"serving": True, "audit": True, "state": True, "revocations": True} == ready["parts"]
    assert (1, True, [1, 2]) == (
        status["restarts"],
        status["ready"],
        [one["worker"] for one in status["workers"]],
    )
    assert 1 == len(keys["keys"])
    assert ["operators-unproven", "ready", "worker-lost", "stopping"] == events
    assert [b"READY=1", b"STOPPING=1"] == told
    assert 0 == main(["audit", "verify", str(directory.path / "audit/gateway.jsonl")])


async def test_workers_that_only_die(directory: Directory, sink: LogSink, shared: str) -> None:
    """Tried a few times, ever later; then it ends, and says how they did."""
    supervisor = made(directory, sink, simple(more=shared), command=DEAD, workers=1)
    with (
        capture_logs() as lines,
        pytest.raises(CannotStart, match="worker 1 did not start 4 times: exit code 3"),
    ):
        await supervisor.run()

    assert [0.0, 0.5, 1.0, 2.0] == [line["next_start"] for line in lines if line["event"] == "worker-lost"]


async def test_a_program_that_is_not_there(
    directory: Directory, sink: LogSink, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's reason is the worker's."""
    monkeypatch.setattr(module, "START_ATTEMPTS", 1)
    supervisor = made(directory, sink, simple(more=shared), command=("/nowhere/gateway",), workers=1)
    with pytest.raises(CannotStart, match="No such file"):
        await supervisor.run()


async def test_workers_that_never_report(
    directory: Directory, sink: LogSink, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are killed after a while, and count as dead."""
    monkeypatch.setattr(module, "START_SECONDS", 0.05)
    monkeypatch.setattr(module, "START_ATTEMPTS", 2)
    idle = (sys.executable, "-c", "import time; time.sleep(60)")
    supervisor = made(directory, sink, simple(more=shared), command=idle, workers=1)
    with capture_logs() as lines, pytest.raises(CannotStart, match="signal 9"):
        await supervisor.run()

    assert 2 == sum(line["event"] == "worker-stuck" for line in lines)


async def test_workers_that_do_not_end(
    directory: Directory, sink: LogSink, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the drain and what closing takes they are killed; stopping never takes without end."""
    monkeypatch.setattr(module, "END_SECONDS", -10.0)
    monkeypatch.setattr(module, "START_SECONDS", 0.2)
    deaf = (sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    supervisor = made(directory, sink, simple(more=shared, drain="0s"), command=deaf, workers=1)
    task = asyncio.ensure_future(supervisor.run())
    while not supervisor._children():
        await asyncio.sleep(0.01)
    supervisor.stop()
    await asyncio.wait_for(task, 20)

    assert [] == supervisor._children()


async def test_what_keeps_it_from_starting(directory: Directory, sink: LogSink, shared: str) -> None:
    """A log that another gateway writes, an address that is taken: said, and no worker is started."""
    text = simple(more=shared).replace('admin: {listen: "127.0.0.1:0"}\n', "")
    (directory.path / "audit").mkdir()
    held = Journal(directory.path / "audit/gateway.jsonl")
    with pytest.raises(AuditBroken, match="another process"):
        await made(directory, sink, text).run()
    held.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"cannot listen on {address}"):
            await made(directory, sink, text.replace("127.0.0.1:0", address)).run()


async def test_a_fault_of_its_own_leaves_nobody(
    directory: Directory, sink: LogSink, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends it ends its workers."""
    supervisor = made(directory, sink, simple(more=shared), workers=1)
    started: list[Any] = []

    def fail() -> None:
        started.extend(supervisor._children())
        raise RuntimeError

    monkeypatch.setattr(supervisor, "_say_ready", fail)
    with pytest.raises(ExceptionGroup):
        await supervisor.run()

    assert [-signal.SIGKILL] == [child.code for child in started]


def test_security_events_go_to_the_first(directory: Directory, sink: LogSink, shared: str) -> None:
    """Whatever else operators ask goes to any worker that serves; events wait while the first does not."""
    supervisor = made(directory, sink, simple(more=shared), workers=3)
    for slot, is_serving in zip(supervisor._slots, (True, False, True), strict=True):
        slot.child = cast(
            "Child", SimpleNamespace(number=slot.number, is_serving=is_serving, door=slot.number)
        )
    everything, events = supervisor._doors("/v1/revocations"), supervisor._doors("/signals/idp")
    cast("SimpleNamespace", supervisor._slots[0].child).is_serving = False

    assert ([1, 3], [1], []) == (everything, events, supervisor._doors("/signals/idp"))
