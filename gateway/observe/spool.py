"""Moves lines from the event loop to a thread that may block: the loop never waits for a disk or a pipe.

One producer (the loop), one consumer (the thread), memory bounded. What does not fit is refused and
counted here; what that means (stop serving, or lose a log line) is decided by who owns the spool.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable


@final
class Spool:
    """A bounded queue of lines and the thread that drains it in batches.

    Args:
        name: Name of the thread.
        write: Takes a batch, which may be empty when nothing happened for a second; runs in the thread
            alone. True: the batch is done. False: keep it and offer it again after a pause.
        interval: Seconds that a batch may grow before it is written.
        capacity: Lines that may wait.
        batch: Most lines per batch.
    """

    __slots__ = (
        "_batch",
        "_capacity",
        "_interval",
        "_kept",
        "_lines",
        "_stop",
        "_wake",
        "_write",
        "_writer",
        "lost",
    )

    def __init__(
        self,
        name: str,
        write: Callable[[list[bytes]], bool],
        *,
        interval: float,
        capacity: int,
        batch: int = 4096,
    ) -> None:
        self.lost = 0
        self._write = write
        self._interval = interval
        self._capacity = capacity
        self._batch = batch
        self._lines: deque[bytes] = deque()
        self._kept: list[bytes] = []
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._writer = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def backlog(self) -> int:
        """Lines not yet written."""
        return len(self._lines) + len(self._kept)

    @property
    def is_running(self) -> bool:
        """True while the thread lives."""
        return self._writer.is_alive()

    def start(self) -> None:
        """Start the thread. Call it after any fork."""
        self._writer.start()

    def put(self, line: bytes) -> bool:
        """Queue a line; False if it was refused because the spool is full."""
        lines = self._lines
        if len(lines) >= self._capacity:
            self.lost += 1
            return False
        lines.append(line)
        if len(lines) == 1:  # the consumer drains to the end, so only the first needs to wake it
            self._wake.set()
        return True

    def close(self, seconds: float = 5.0) -> bool:
        """Write what is left and stop.

        Args:
            seconds: Longest wait for the thread.

        Returns:
            True if everything was written.
        """
        self._stop.set()
        self._wake.set()
        if self._writer.is_alive():
            self._writer.join(seconds)
        else:
            self._drain()  # never started: write here
        return not self._writer.is_alive() and self.backlog == 0

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(1.0)
            self._stop.wait(self._interval)  # let the batch grow: one fsync for many
            self._wake.clear()
            if not self._drain():
                self._stop.wait(1.0)
                self._wake.set()
        self._drain()

    def _drain(self) -> bool:
        """Write until the queue is empty; False if a batch could not be written."""
        while True:
            while len(self._kept) < self._batch and self._lines:
                self._kept.append(self._lines.popleft())
            if not self._write(self._kept):
                return False
            self._kept = []
            if not self._lines:
                return True
