"""The gateway as a process of its own, as operators run it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any, Self, final

import msgspec

from gateway.observe.chain import Kind, parse
from gateway.observe.chains import worker_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START_SECONDS = 20.0
PROGRAM: tuple[str | Path, ...] = ("-m", "gateway")
STEP = 0.005  # between two looks at a file that another process writes


def command(*arguments: str | Path, program: tuple[str | Path, ...] = PROGRAM) -> list[str]:
    """Return the command line of one command of ours."""
    return [sys.executable, *map(str, program + arguments)]


def once(*arguments: str | Path, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=seconds)


@final
class RunningGateway:
    """One `gateway run`. Use it as a context manager.

    Args:
        configuration: The YAML file; its listeners should say port 0.
        audit: Where the configuration writes the audit log.
        program: What Python runs.
        workers: How many processes serve.
    """

    def __init__(
        self,
        configuration: Path,
        audit: Path,
        program: tuple[str | Path, ...] = PROGRAM,
        *,
        workers: int | None = None,
    ) -> None:
        self.configuration = configuration
        self.audit = audit
        self.program = program
        self.workers = workers
        self.lines: list[dict[str, Any]] = []
        self.errors = ""
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        more = () if self.workers is None else ("--workers", str(self.workers))
        self.process = subprocess.Popen(
            command("run", "--config", self.configuration, *more, program=self.program),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._threads = [
            threading.Thread(target=self._read_log, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self.process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        try:
            ready = self.event("ready", seconds=START_SECONDS * (self.workers or 1))
        except AssertionError:
            self.kill()
            raise AssertionError(self.errors) from None
        self.port = int(ready["listen"].rsplit(":", 1)[1])
        self.admin = f"http://{ready['admin']}" if "admin" in ready else ""
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait(self, seconds: float = 15.0) -> int:
        """Wait for its end, and return its exit code."""
        code = self.process.wait(seconds)
        for thread in self._threads:
            thread.join(5)
        return code

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.wait()

    def event(
        self, name: str, matches: Callable[[dict[str, Any]], bool] = bool, *, seconds: float = 10.0
    ) -> dict[str, Any]:
        """Wait for a line of the log; return the first that fits."""

        def find() -> dict[str, Any] | None:
            return next((one for one in self.lines if one.get("event") == name and matches(one)), None)

        with self._changed:
            self._changed.wait_for(lambda: find() is not None or self.process.poll() is not None, seconds)
            found = find()
        assert found is not None, (name, self.lines[-5:], self.errors)
        return found

    def nth(self, name: str, number: int, seconds: float = 20.0) -> dict[str, Any]:
        """Wait for one more line of a name than there were; return it."""

        def find() -> list[dict[str, Any]]:
            return [one for one in self.lines if one.get("event") == name]

        with self._changed:
            self._changed.wait_for(lambda: len(find()) > number or self.process.poll() is not None, seconds)
            found = find()
        assert len(found) > number, (name, self.lines[-5:], self.errors)
        return found[number]

    def records(self) -> list[dict[str, Any]]:
        """Return all records that are on disk now, whole lines only."""
        chains = [self.audit, *worker_files(self.audit)]
        files = [chain.read_bytes() for chain in chains if chain.exists()]
        lines = [parse(line + b"\n") for data in files for line in data.split(b"\n")[:-1]]
        return [msgspec.json.decode(line.payload) for line in lines if line.kind is Kind.RECORD]

    def record(self, id: str | None, seconds: float = 10.0) -> dict[str, Any]:
        """Wait until the one record of a request is on disk, and return it."""
        return self.record_where(lambda record: record["id"] == id, seconds)

    def record_where(
        self, matches: Callable[[dict[str, Any]], bool], seconds: float = 10.0
    ) -> dict[str, Any]:
        """Wait for a record; there is exactly one of this kind."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = [record for record in self.records() if matches(record)]
            if found:
                assert 1 == len(found)
                return found[0]
            time.sleep(STEP)
        raise AssertionError(f"no such record; the last ones: {self.records()[-3:]}")

    def _read_log(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self.lines.append(msgspec.json.decode(line))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _read_errors(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.errors += line.decode()
