"""The supervisor's entries in the audit log: workers that were lost, and where every chain ends.

Runs what blocks in a thread, one write at a time. What cannot be written is kept and tried again, and the
gateway is not ready meanwhile.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, final

import structlog

from gateway.observe.audit import Signer
from gateway.observe.chain import ChainBroken, Head
from gateway.observe.chains import STARTED, end_of, worker_file, worker_files
from gateway.observe.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.app.child import Child
    from gateway.app.compilation import Compilation
    from gateway.core.ports import Clock

STATEMENT_SECONDS: Final = 60.0  # between two statements while anything is written
RETRY_SECONDS: Final = 1.0


@final
class Bookkeeping:
    """One ledger, and what it must say next.

    Args:
        compilation: Names the log, and has the key.
        clock: Time.

    Raises:
        AuditBroken: The log cannot be continued.
    """

    def __init__(self, compilation: Compilation, clock: Clock) -> None:
        settings, key = compilation.settings.audit, compilation.checkpoint_key
        settings.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.is_healthy = True
        self._path = settings.path
        self._clock = clock
        self._ledger = Ledger(
            settings.path,
            clock=clock,
            signer=None if key is None else Signer(key, "checkpoint"),
            max_bytes=settings.rotate_at,
        )
        self._heads: dict[str, Head] = {}
        self._lock = asyncio.Lock()
        self._written_at = clock.tick()

    async def begin(self, workers: int) -> None:
        """Note the start, and where the chains end that earlier workers left."""
        for path in worker_files(self._path):
            await self._look(path.name)
        self._ledger.note(STARTED, workers=workers)
        await self._write()

    async def lost(self, number: int, how: str, *, is_expected: bool) -> None:
        """Note where the chain of a worker that has ended ends; and that it ended, if nobody wanted it to."""
        await self._look(worker_file(self._path, number).name)
        if not is_expected:
            self._ledger.note("worker-lost", worker=number, how=how)
            await self._write()

    async def keep(self, children: Callable[[], Sequence[Child]], stop: asyncio.Event) -> None:
        """State again and again where all chains end, until asked to stop."""
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await stop.wait()
            for child in children():
                if child.report is not None:
                    name = worker_file(self._path, child.number).name
                    self._heads[name] = Head(child.report.seq, child.report.hash)
            is_time = self._clock.tick() - self._written_at >= STATEMENT_SECONDS
            if not self.is_healthy or (is_time and self._ledger.is_due(self._heads)):
                await self._write()

    async def end(self) -> None:
        """State where all chains end, after the last worker."""
        self._ledger.note("workers-stopped")
        await self._write()

    async def close(self) -> None:
        """Release the log."""
        async with self._lock:
            self._ledger.close()

    async def _look(self, name: str) -> None:
        """Read where a chain ends that nobody writes to now."""
        try:
            self._heads[name] = await asyncio.to_thread(end_of, self._path.with_name(name))
        except (OSError, ChainBroken) as error:
            structlog.get_logger().error("chain-unreadable", file=name, why=type(error).__name__)

    async def _write(self) -> None:
        async with self._lock:
            try:
                await asyncio.to_thread(self._ledger.write, self._heads.copy())
            except OSError as error:
                if self.is_healthy:
                    structlog.get_logger().error("audit-lost", why=error.strerror)
                self.is_healthy = False
                return
            self._written_at = self._clock.tick()
            if not self.is_healthy:
                structlog.get_logger().info("audit-back")
            self.is_healthy = True
