"""The audit log: append-only, hash-chained, group-committed, closed by signed checkpoints.

`append` only queues. One thread chains the lines, writes them and calls fsync, at most once per
interval for everything that arrived meanwhile; so a crash of the machine loses what happened within
one interval, and nothing that was reported as written. A log that cannot be written is unhealthy, and
whoever serves must stop serving (`is_healthy`). Existing lines are never rewritten: what a crash tore
off the end is set aside in a file of its own and the chain says so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,  # noqa: TC002 - the compiler reads annotations of classes
)

from gateway.observe.chain import Kind, link, link_all, sign
from gateway.observe.chains import Owner
from gateway.observe.journal import AuditBroken, Journal
from gateway.observe.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from gateway.core.ports import Clock
    from gateway.observe.chain import Head

__all__ = ["AuditBroken", "AuditLog", "Signer"]


class _Action(bytes):
    """A line about an operator, among records on their way to the disk."""

    __slots__ = ()


@final
@dataclass(frozen=True)
class Signer:
    """What signs checkpoints.

    Args:
        key: Ed25519 private key.
        key_id: Its name in the log.
    """

    key: Ed25519PrivateKey
    key_id: str


@final
class AuditLog:
    """One audit log of one process.

    Args:
        path: The file being written; full ones stand beside it as `NAME.000000012345`, named by the
            number of their last line.
        clock: For checkpoint times and ages.
        signer: Signs checkpoints; without it there are none, and a truncation cannot be proven.
        sync_every: Seconds that lines may wait for each other before one fsync.
        max_bytes: Size at which a file is set aside, bytes.
        max_backlog: Lines that may wait before the log counts as failed.
        checkpoint_lines: Lines after which a checkpoint is due.
        checkpoint_seconds: Seconds after which one is due if anything was written.
        is_worker: One chain of several: each of its files begins by saying whose it is, signed.
        on_health: Called from the writing thread with False when writing fails, True when it works again.

    Raises:
        AuditBroken: The file cannot be opened, is in use, or does not end in a valid line.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        signer: Signer | None = None,
        sync_every: float = 0.02,
        max_bytes: int = 256 * 1024 * 1024,
        max_backlog: int = 20_000,
        checkpoint_lines: int = 1000,
        checkpoint_seconds: float = 60.0,
        is_worker: bool = False,
        on_health: Callable[[bool], None] | None = None,
    ) -> None:
        self.is_healthy = True
        self.written = 0
        self._clock = clock
        self._signer = signer
        self._max_bytes = max_bytes
        self._checkpoint_lines = checkpoint_lines
        self._checkpoint_seconds = checkpoint_seconds
        self._on_health = on_health
        self._unsigned = 0
        self._unsigned_since = clock.tick()
        self._noted_losses = 0
        self._is_closing = False
        self._journal = Journal(path)
        self._owner = (msgspec.json.encode(Owner(path.name)),) if is_worker else ()
        self._events: list[bytes] = [*self._journal.events, *self._owner]
        self._spool = Spool("audit", self._write, interval=sync_every, capacity=max_backlog)
        self._put = self._spool.put

    @property
    def backlog(self) -> int:
        """Lines that wait to be written."""
        return self._spool.backlog

    @property
    def lost(self) -> int:
        """Records that did not fit; each loss is also noted in the chain."""
        return self._spool.lost

    @property
    def last(self) -> int:
        """Number of the last line on disk."""
        return self._journal.head.seq

    @property
    def head(self) -> Head:
        """Where the chain on disk ends."""
        return self._journal.head

    def start(self) -> None:
        """Start the writing thread. Call it after any fork."""
        self._spool.start()

    def append(self, record: bytes) -> None:
        """Queue a record: one JSON object without line ends. Never blocks, never raises."""
        if not self._put(record):
            self.is_healthy = False

    def append_action(self, action: bytes) -> None:
        """Queue what an operator did, as `append` does a record; in the order of both."""
        self.append(_Action(action))

    def close(self) -> bool:
        """Write what is left and a last checkpoint, release the file.

        Returns:
            True if everything is on disk.
        """
        self._is_closing = True
        is_done = self._spool.close()
        if is_done:
            is_done = self._write([])
        if not self._spool.is_running:  # a thread stuck in a write keeps its file
            self._journal.close()
        return is_done

    def _write(self, records: list[bytes]) -> bool:
        """Chain and write one batch; True if it is on disk. Runs in the writing thread."""
        head, lines = self._journal.head, []
        losses = self._spool.lost
        events = self._events.copy()
        if losses > self._noted_losses:
            events.append(_event("records-lost", losses - self._noted_losses))
        for kind, payloads in ((Kind.EVENT, events), *_runs(records)):
            head, chained = link_all(head, kind, payloads)
            lines += chained
        unsigned = self._unsigned + len(lines)
        signer = self._signer if events or self._is_checkpoint_due(unsigned) else None
        if signer is not None:
            payload = sign(head, _utc(self._clock.wall()), signer.key, signer.key_id)
            head, line = link(head, Kind.CHECKPOINT, payload)
            lines.append(line)
        try:
            if lines:
                self._journal.write(b"".join(lines), head)
        except OSError:
            self._report(is_healthy=False)
            return False
        self._events = []
        self._noted_losses = losses
        self.written += len(records)
        if signer is not None or not unsigned:
            self._unsigned_since = self._clock.tick()
        self._unsigned = 0 if signer is not None else unsigned
        self._report(is_healthy=self._rotate())
        return True

    def _rotate(self) -> bool:
        """Begin the next file if this one is full; False if that failed, to be tried again."""
        if self._journal.size < self._max_bytes:
            return True
        try:
            self._journal.rotate()
        except OSError:
            return False
        self._events = list(self._owner)
        return True

    def _is_checkpoint_due(self, unsigned: int) -> bool:
        if not unsigned:
            return False
        return (
            self._is_closing
            or unsigned >= self._checkpoint_lines
            or self._clock.tick() - self._unsigned_since >= self._checkpoint_seconds
        )

    def _report(self, *, is_healthy: bool) -> None:
        if is_healthy is self.is_healthy:
            return
        self.is_healthy = is_healthy
        if self._on_health is not None:
            self._on_health(is_healthy)


def _runs(lines: list[bytes]) -> Iterable[tuple[Kind, Iterable[bytes]]]:
    """Divide records and actions into runs of one kind, in their order."""
    if not any(type(line) is _Action for line in lines):
        return ((Kind.RECORD, lines),)
    return (
        (Kind.ACTION if kind is _Action else Kind.RECORD, tuple(run)) for kind, run in groupby(lines, type)
    )


def _event(name: str, count: int) -> bytes:
    return msgspec.json.encode({"event": name, "count": count})


def _utc(wall: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))
