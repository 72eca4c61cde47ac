"""The demo's processes: started with a log each, waited for, and ended with the demo, whatever ends it."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, Self, final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE: Final = 60.0  # seconds until a child must be ready: a cold disk, two busy cores
FAREWELL: Final = 3.0  # seconds for a child that reads its standard input to notice its end
GRACE: Final = 8.0  # seconds between asking a child to end and ending it
PAUSE: Final = 0.05  # seconds between two looks


@final
class ChildError(Exception):
    """A child ended or was silent instead of getting ready.

    Args:
        name: Its name.
        log: Where it wrote why.
    """

    def __init__(self, name: str, log: Path) -> None:
        super().__init__(f"{name} did not start; the end of {log}:")
        self.log = log


@final
class Children:
    """Child processes, ended in reverse order when the block is left.

    Args:
        logs: Directory of their logs, one `<name>.log` each.
    """

    __slots__ = ("_logs", "_running")

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._running:
            self._end(self._running.pop()[1])

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()  # nothing was ever written to it, so nothing can fail to arrive
            _waits(process, FAREWELL)
        if process.poll() is None:
            process.terminate()
            _waits(process, GRACE)
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def start_and_hear(self, name: str, *arguments: str) -> str:
        """Start a child that says `ready <something>` when it is; return that something.

        Args:
            name: Name in messages, and of its log.
            arguments: Module of this program, and its arguments.

        Raises:
            ChildError: It ended, was silent too long or said something else.
        """
        process = self._start(name, arguments, subprocess.PIPE, subprocess.PIPE)
        stdout = process.stdout
        if stdout is not None and select.select([stdout], [], [], PATIENCE)[0]:
            word, _, rest = stdout.readline().decode().strip().partition(" ")
            if word == "ready":
                return rest
        raise ChildError(name, self._log(name))

    def start_and_knock(self, name: str, port: int, *arguments: str) -> None:
        """Start a child that logs to standard output; return when it takes connections.

        Args:
            name: Name in messages, and of its log.
            port: TCP port on the loopback address.
            arguments: Module of this program, and its arguments.

        Raises:
            ChildError: It ended, or took none in time.
        """
        process = self._start(name, arguments, subprocess.DEVNULL, None)
        if not until(lambda: process.poll() is not None or answers(port)) or process.poll() is not None:
            raise ChildError(name, self._log(name))

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _start(
        self, name: str, arguments: tuple[str, ...], stdin: int, stdout: int | None
    ) -> subprocess.Popen[bytes]:
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own modules
                [sys.executable, "-m", *arguments],
                stdin=stdin,
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo alone: it ends its children in order
            )
        self._running.append((name, process))
        return process

    def fallen(self) -> str | None:
        """Return the name of a child that ended by itself, or None."""
        return next((name for name, process in self._running if process.poll() is not None), None)


def _waits(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Give a process time to end; none if somebody presses Ctrl-C again."""
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(seconds)


def answers(port: int) -> bool:
    """Tell whether something takes connections on a port of the loopback address."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Wait until a condition holds; tell whether it did in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(PAUSE)
    return True


def free_port() -> int:
    """Return a port of the loopback address that nobody uses just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
