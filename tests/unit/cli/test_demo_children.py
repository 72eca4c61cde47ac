"""The demo's children get ready or are named as failed, and never outlive the demo."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gateway.cli.demo import children as module
from gateway.cli.demo.children import ChildError, Children, answers, free_port, until

SAY = ("timeit", "-n1", "-r1")  # a module that runs a statement
READY = "import sys; print('ready 7', flush=True); sys.stdin.read()"
STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ready', flush=True); time.sleep(60)"
)


def is_alive(pid: int) -> bool:
    """Tell whether a process exists."""
    return Path(f"/proc/{pid}").exists()


def test_a_child_that_says_ready_is_heard(tmp_path: Path) -> None:
    """What follows the word is returned; the child runs on until the block is left."""
    with Children(tmp_path) as children:
        heard = children.start_and_hear("one", *SAY, READY)
        process = children._running[0][1]
        assert process.poll() is None
        assert children.fallen() is None

    assert "7" == heard
    assert not is_alive(process.pid)


@pytest.mark.parametrize("statement", ["print('no')", "pass", "raise SystemExit(3)"])
def test_a_child_that_says_something_else_failed(tmp_path: Path, statement: str) -> None:
    """Another word, silence, an early end: the error names the child and where it wrote."""
    with pytest.raises(ChildError, match=r"^one did not start; .*one\.log"), Children(tmp_path) as children:
        children.start_and_hear("one", *SAY, statement)


def test_a_child_that_stays_silent_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends."""
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    monkeypatch.setattr(module, "FAREWELL", 0.1)
    with pytest.raises(ChildError) as caught, Children(tmp_path) as children:
        children.start_and_hear("one", *SAY, "import time; time.sleep(60)")

    assert tmp_path / "one.log" == caught.value.log


def test_a_child_that_takes_connections_is_ready(tmp_path: Path) -> None:
    """Knocking succeeds, and the log is the child's own output."""
    port = free_port()
    with Children(tmp_path) as children:
        children.start_and_knock("web", port, "http.server", str(port), "--bind", "127.0.0.1")
        assert answers(port)

    assert not answers(port)
    assert (tmp_path / "web.log").exists()


def test_a_child_that_ends_instead_of_listening_failed(tmp_path: Path) -> None:
    """A program that cannot start is noticed at once, not after all patience."""
    with pytest.raises(ChildError) as caught, Children(tmp_path) as children:
        children.start_and_knock("web", free_port(), "http.server", "no-port")

    assert "invalid int value" in caught.value.log.read_text()


def test_a_stubborn_child_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who ignores a request to end is ended."""
    monkeypatch.setattr(module, "FAREWELL", 0.1)
    monkeypatch.setattr(module, "GRACE", 0.2)
    with Children(tmp_path) as children:
        children.start_and_hear("mule", *SAY, STUBBORN)
        process = children._running[0][1]

    assert not is_alive(process.pid)
    assert -9 == process.returncode


def test_children_end_even_if_the_block_fails(tmp_path: Path) -> None:
    """Ctrl-C inside the block leaves nobody behind."""
    pids = []

    def play() -> None:
        with Children(tmp_path) as children:
            for name in ("one", "two"):
                children.start_and_hear(name, *SAY, READY)
            pids.extend(process.pid for _, process in children._running)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play()

    assert 2 == len(pids)
    assert [False, False] == [is_alive(pid) for pid in pids]


def test_a_child_that_ended_by_itself_is_named(tmp_path: Path) -> None:
    """The demo can say who fell over."""
    with Children(tmp_path) as children:
        children.start_and_hear("one", *SAY, READY)
        os.kill(children._running[0][1].pid, 9)

        assert until(lambda: children.fallen() == "one", 10)


def test_waiting_ends_in_time() -> None:
    """A condition that never holds is given up."""
    assert not until(lambda: False, 0)


def test_a_free_port_can_be_bound() -> None:
    """The port is free on the loopback address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", free_port()))
