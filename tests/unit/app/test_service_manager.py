"""What systemd is told, over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from gateway.app.service_manager import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_states_are_datagrams(systemd: socket.socket) -> None:
    """One per call, one state per line."""
    ServiceManager(systemd.getsockname()).tell("READY=1", "STATUS=serving")

    assert b"READY=1\nSTATUS=serving" == systemd.recv(100)


def test_abstract_names() -> None:
    """A name that begins with an at sign stands for one that begins with a zero byte; other at signs do not."""
    name = f"gateway-test-{os.getpid()}@x"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        ServiceManager(f"@{name}").tell("READY=1")

        assert b"READY=1" == listening.recv(100)


def test_nobody_is_told_nothing(tmp_path: Path) -> None:
    """Without a service manager, and with one that is gone, it is silent."""
    ServiceManager().tell("READY=1")
    ServiceManager(str(tmp_path / "gone")).tell("READY=1")


@pytest.mark.parametrize(
    ("variables", "watchdog", "is_told"),
    [
        ({}, None, False),
        ({"NOTIFY_SOCKET": "{path}"}, None, True),
        ({"NOTIFY_SOCKET": "{path}", "WATCHDOG_USEC": "3000000"}, 3.0, True),
        ({"NOTIFY_SOCKET": "{path}", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "{pid}"}, 3.0, True),
        ({"NOTIFY_SOCKET": "{path}", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None, True),
        ({"NOTIFY_SOCKET": "{path}", "WATCHDOG_USEC": "0"}, None, True),
        ({"WATCHDOG_USEC": "3000000"}, None, False),
        ({"NOTIFY_SOCKET": "vsock:2:3"}, None, False),
    ],
)
def test_the_environment_says_who(
    systemd: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    watchdog: float | None,
    *,
    is_told: bool,
) -> None:
    """Variables that are not for this process, or that nobody here speaks, name nobody."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(path=systemd.getsockname(), pid=os.getpid()))
    manager = ServiceManager.of_environment()
    manager.tell("READY=1")
    systemd.settimeout(5 if is_told else 0)

    assert watchdog == manager.watchdog
    if is_told:
        assert b"READY=1" == systemd.recv(100)
    else:
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


async def test_a_watchdog_is_fed_while_all_is_well(systemd: socket.socket) -> None:
    """Several times within its interval; not while it is not well, and not after the end."""
    wells = iter([True, False, True])
    asked = []

    def is_well() -> bool:
        asked.append(next(wells, False))
        return asked[-1]

    async with AsyncExitStack() as stack:
        ServiceManager(systemd.getsockname(), 0.03).keep_alive(stack, is_well)
        ServiceManager(systemd.getsockname()).keep_alive(stack)  # nobody waits for this one
        while len(asked) < 4:
            await asyncio.sleep(0.001)
    systemd.setblocking(False)
    fed = [systemd.recv(100) for _ in range(2)]
    with pytest.raises(BlockingIOError):
        systemd.recv(100)

    assert [b"WATCHDOG=1"] * 2 == fed


def test_nothing_is_ready_again_once_it_stops(systemd: socket.socket) -> None:
    """A reload that is under way at the end must not take the end back; signs of life go on."""
    manager = ServiceManager(systemd.getsockname())
    for states in (("RELOADING=1", "MONOTONIC_USEC=1"), ("STOPPING=1",), ("READY=1",), ("WATCHDOG=1",)):
        manager.tell(*states)

    assert [b"RELOADING=1\nMONOTONIC_USEC=1", b"STOPPING=1", b"WATCHDOG=1"] == [
        systemd.recv(100) for _ in range(3)
    ]
