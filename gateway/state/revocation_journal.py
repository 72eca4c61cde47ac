"""The file in which a process keeps what it knows to be revoked: a restart forgets nothing.

One line per change, `CHECK JSON`, appended and on disk before the change is reported as kept. CHECK chains
the lines, so that one that was changed, removed or moved is found, and then nothing starts: a revocation
that got lost lets somebody in. Bytes behind the last line end are what a crash tore, of a change that nobody
was told of; they are dropped. Rewritten at start, and when it has grown, with what still counts.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, final

from gateway.state.sealing import read, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from gateway.core.revocation import Lift, Revocation

FILE_MODE: Final = 0o600
CHECK: Final = 16  # bytes
SLACK: Final = 10_000  # lines beyond twice what counts, before the file is rewritten
GENESIS: Final = blake2b(b"gateway revocations journal v1", digest_size=CHECK).digest()


class RevocationsBroken(Exception):
    """The journal cannot be continued; the message says why and what to do."""


@final
class RevocationJournal:
    """One journal of one process.

    Args:
        path: The file; made with mode 0600 where there is none. Its directory must exist.
        now: Returns what counts now, when the file is rewritten.
    """

    __slots__ = (
        "_check",
        "_descriptor",
        "_guard",
        "_lines",
        "_lock",
        "_now",
        "_size",
        "_writing",
        "path",
        "torn",
    )

    def __init__(self, path: Path, now: Callable[[], list[Revocation | Lift]]) -> None:
        self.path = path
        self._now = now
        self._check = GENESIS
        self._descriptor = -1
        self._lock = -1
        self._lines = 0
        self._size = 0
        self._writing = asyncio.Lock()
        self._guard = threading.Lock()  # a thread whose caller has gone goes on writing
        self.torn = 0  # bytes that a crash left behind

    def open(self) -> list[Revocation | Lift]:
        """Lock the file and read it; returns what it holds, in the order of writing.

        Raises:
            RevocationsBroken: Another process has it, it cannot be read, or it is damaged.
        """
        try:
            self._lock = _open(self.path.with_name(f"{self.path.name}.lock"))
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._descriptor = _open(self.path)
            return self._read(self.path.read_bytes())
        except BlockingIOError as error:
            self.close()
            raise RevocationsBroken(
                f"{self.path} is in use by another process; give each its own `revocations.journal`"
            ) from error
        except OSError as error:
            self.close()
            raise RevocationsBroken(f"{self.path} cannot be opened: {error.strerror}") from error

    async def append(self, changes: Iterable[Revocation | Lift]) -> None:
        """Write changes down; on disk when this returns. Runs off the loop, one call after the other.

        Raises:
            OSError: They are not on disk, and no part of them is.
        """
        new = list(changes)
        if not new:
            return
        async with self._writing:
            await asyncio.to_thread(self._write, [write(change) for change in new])
            if self._lines > SLACK and self._lines > 2 * len(counting := self._now()) + SLACK:
                # the new ones again: a lift is written before it counts
                await asyncio.to_thread(self._rewrite, [*counting, *new])

    def compact(self) -> None:
        """Rewrite the file with what counts now. At start alone: it blocks.

        Raises:
            RevocationsBroken: It cannot be written.
        """
        try:
            self._rewrite(self._now())
        except OSError as error:
            raise RevocationsBroken(f"{self.path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Release the file, once what is being written is."""
        with self._guard:
            for descriptor in (self._descriptor, self._lock):
                if descriptor >= 0:
                    os.close(descriptor)
            self._descriptor = self._lock = -1

    def _read(self, data: bytes) -> list[Revocation | Lift]:
        whole = data.rfind(b"\n") + 1
        self.torn = len(data) - whole
        changes = []
        for number, line in enumerate(data[:whole].splitlines(), 1):
            check, _, payload = line.partition(b" ")
            self._check = _chain(self._check, payload)
            try:
                if check != self._check.hex().encode():
                    raise ValueError("it does not continue the line before")  # noqa: TRY301 - same mend
                changes.append(read(payload))
            except ValueError as error:
                self.close()
                raise RevocationsBroken(
                    f"line {number} of {self.path} is damaged: somebody who was revoked may be let in again. "
                    "Restore the file from a copy; or read what is left of it, move it away, start, and "
                    "revoke again what must hold"
                ) from error
        self._lines, self._size = len(changes), whole
        if self.torn:
            os.ftruncate(self._descriptor, whole)
        return changes

    def _write(self, lines: list[bytes]) -> None:
        with self._guard:
            check, data = _lines(self._check, lines)
            try:
                _write_all(self._descriptor, data)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
                raise
            self._check = check
            self._size += len(data)
            self._lines += len(lines)

    def _rewrite(self, counting: list[Revocation | Lift]) -> None:
        with self._guard:
            self._replace(counting)

    def _replace(self, counting: list[Revocation | Lift]) -> None:
        check, data = _lines(GENESIS, [write(change) for change in counting])
        fresh = self.path.with_name(f"{self.path.name}.new")
        fresh.unlink(missing_ok=True)
        descriptor = _open(fresh)
        try:
            _write_all(descriptor, data)
            fresh.rename(self.path)
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)  # the name must survive a crash as the bytes do
            finally:
                os.close(directory)
        except OSError:
            os.close(descriptor)
            raise
        os.close(self._descriptor)
        self._descriptor, self._check = descriptor, check
        self._size, self._lines = len(data), len(counting)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)


def _chain(check: bytes, payload: bytes) -> bytes:
    return blake2b(check + payload, digest_size=CHECK).digest()


def _lines(check: bytes, payloads: list[bytes]) -> tuple[bytes, bytes]:
    lines = []
    for payload in payloads:
        check = _chain(check, payload)
        lines.append(b"%b %b\n" % (check.hex().encode(), payload))
    return check, b"".join(lines)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)
