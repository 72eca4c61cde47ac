"""Takes a changed configuration while the gateway runs: checked whole, warmed, then swapped, or not at all.

Whoever wants it (a signal, an operator, the file itself) comes through `reload`, one at a time. What may not
be run changes nothing: the last good one goes on, and everything that is wrong is said. Each change, and each
that was refused, is written down. How a configuration is put to use is the business of `take`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, final

from gateway.admin.configuration import Verdict, shown_problem
from gateway.app.named import compiled_files, digest
from gateway.config.errors import ConfigurationError, Problem
from gateway.config.load import read
from gateway.observe.action import reload_action
from gateway.observe.log import frames
from gateway.wire.tasks import spawn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from gateway.app.compilation import Compilation
    from gateway.app.origin import Origin
    from gateway.app.service_manager import ServiceManager
    from gateway.config.load import Loaded
    from gateway.core.ports import Clock

KEPT: Final = "mend the file and reload; the configuration that decided before still does"
NO_RECORD: Final = "the change could not be written down: the audit log is not well"


@final
@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration that passed every check, and runs nowhere yet.

    Args:
        data: What stood in the file.
        loaded: For the places of what is found later.
        compilation: Compiled, with what has not changed taken over from the one that runs.
        by: Who wants it.
    """

    data: bytes
    loaded: Loaded
    compilation: Compilation
    by: str


@final
class Reload:
    """Implements `admin.configuration.Configuration`.

    Args:
        origin: Where the configuration comes from.
        clock: Time.
        log: Where it is said.
        running: Returns what runs.
        take: Puts a candidate to use, on the loop; raises `ConfigurationError` if it cannot, and has then
            changed nothing.
        note: Writes a verdict down: who wanted it, and what became of it.
        is_recorded: Tells whether it could be written down.
        manager: Told that a reload is under way, and its end.

    Attributes:
        accepted: How many changes were taken.
        refused: How many were not.
        since: When the one that runs was loaded, seconds since the epoch.
    """

    def __init__(
        self,
        origin: Origin,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        running: Callable[[], Compilation],
        take: Callable[[Candidate], Awaitable[None]],
        note: Callable[[str, Verdict], None],
        is_recorded: Callable[[], bool],
        manager: ServiceManager,
    ) -> None:
        self.accepted = 0
        self.refused = 0
        self.since = clock.wall()
        self._origin = origin
        self._clock = clock
        self._log = log
        self._running = running
        self._take = take
        self._note = note
        self._is_recorded = is_recorded
        self._manager = manager
        self._lock = asyncio.Lock()
        self._begun: set[asyncio.Task[None]] = set()
        self._files = compiled_files(running().written)
        self._tried = running().inputs
        self._problems: tuple[Problem, ...] = ()
        self._warned: set[tuple[str, str]] = set()

    def stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Return date, size and place of each file, to see cheaply that nothing has changed."""
        return tuple(_stamp(file) for file in (self._origin.path, *self._files))

    def content(self) -> bytes | None:
        """Return a digest of the file and of what it names; None if that is what was tried last."""
        try:
            data = read(self._origin.path)
        except ConfigurationError:
            data = b""
        found = _content(data, self._files)
        return None if found == self._tried else found

    def state(self) -> Mapping[str, object]:
        """Return which configuration decides, since when, and why the last one was refused."""
        return {
            "version": self._running().version,
            "file": str(self._origin.path),
            "since": round(self.since, 3),
            "reloads": self.accepted,
            "refused": self.refused,
            "problems": [shown_problem(one) for one in self._problems],
        }

    async def reload(self, by: str) -> Verdict:
        """Read the file again, and let it decide if all is well with it.

        Args:
            by: Who wants that.
        """
        async with self._lock:
            self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.tick() * 1e6)}")
            try:
                verdict = await self._attempt(by)
            finally:
                self._manager.tell("READY=1")
            self._conclude(by, verdict)
        return verdict

    def begin(self, by: str) -> None:
        """Reload for somebody who does not wait for the verdict."""
        task = spawn(self._run(by), "reload")
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _run(self, by: str) -> None:
        await self.reload(by)

    async def close(self) -> None:
        """Give up what was begun: the process ends."""
        tasks = list(self._begun)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _attempt(self, by: str) -> Verdict:
        held = self._running()
        try:
            candidate = await asyncio.to_thread(self._compile, held, by)
            if candidate is None:
                return Verdict("unchanged", held.version, held.version)
            self._warn(candidate.loaded.warnings)
            self._require_record()
            await self._take(candidate)
        except ConfigurationError as error:
            return Verdict("refused", held.version, held.version, error.problems)
        except Exception as fault:  # noqa: BLE001 - our bug: the last good one goes on
            self._log.error("fault", fault=type(fault).__qualname__, frames=frames(fault))
            message = f"a fault of the gateway: {type(fault).__name__}"
            now = self._running().version  # the bug may have come after the swap
            return Verdict("refused", now, held.version, (self._problem(message, KEPT),))
        return Verdict("accepted", candidate.compilation.version, held.version)

    def _warn(self, warnings: tuple[Problem, ...]) -> None:
        """Say what an operator should know, each once."""
        for warning in warnings:
            if (warning.text, warning.message) not in self._warned:
                self._warned.add((warning.text, warning.message))
                self._log.warning("configuration-warning", **shown_problem(warning))

    def _require_record(self) -> None:
        """Nobody is let in by a change that leaves no trace."""
        if not self._is_recorded():
            raise ConfigurationError([self._problem(NO_RECORD, "make room on its disk, then reload")])

    def _compile(self, held: Compilation, by: str) -> Candidate | None:
        """Read and compile, in a thread; None if nothing has changed."""
        data = read(self._origin.path)
        self._tried = _content(data, self._files)
        loaded = self._origin.load(data, self._clock)
        self._files = compiled_files(loaded.settings)
        self._tried = _content(data, self._files)
        if self._tried == held.inputs:
            return None
        return Candidate(data, loaded, self._origin.compile(loaded, self._clock, held), by)

    def _conclude(self, by: str, verdict: Verdict) -> None:
        self._problems = verdict.problems
        facts = {"by": by, "configuration": verdict.version}
        match verdict.outcome:
            case "unchanged":
                self._log.info("configuration-unchanged", **facts)
                return
            case "accepted":
                self.accepted += 1
                self.since = self._clock.wall()
                self._log.warning("configuration-accepted", **facts, previous=verdict.previous)
            case "refused":
                self.refused += 1
                problems = [shown_problem(one) for one in verdict.problems]
                self._log.error("configuration-refused", **facts, problems=problems, mend=KEPT)
        self._note(by, verdict)

    def _problem(self, message: str, mend: str) -> Problem:
        return Problem(str(self._origin.path), 0, 0, "", message, mend)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _content(data: bytes, files: tuple[Path, ...]) -> bytes:
    return digest(files, sha256(data).hexdigest().encode())


def note_in(act: Callable[[bytes], None], clock: Clock, by: str, verdict: Verdict) -> None:
    """Write a verdict down as an action: see `Reload`."""
    word = "reloaded" if verdict.outcome == "accepted" else "reload-refused"
    why = "; ".join(problem.message for problem in verdict.problems)
    act(reload_action(word, by, clock.wall(), verdict.version, verdict.previous, why))
