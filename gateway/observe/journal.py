"""The file under an audit log: opened once, locked, only ever appended to, recovered after a crash.

Decides whether a file can be continued: its last line must be whole and fit its own hash. Bytes after
the last line end are what a crash tore; they are moved to a file beside it, never dropped. Knows lines
and sizes, not records.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Final, final

import msgspec

from gateway.observe.chain import MAX_LINE, ChainBroken, Head, parse

if TYPE_CHECKING:
    from pathlib import Path

FILE_MODE: Final = 0o600
SEQ_DIGITS: Final = 12


class AuditBroken(Exception):
    """An audit log cannot be continued; the message says why and what to do."""


def full_files(path: Path) -> list[Path]:
    """Return the files that `path` outgrew, oldest first."""
    prefix = f"{path.name}."
    return sorted(
        entry
        for entry in path.parent.iterdir()
        if entry.name.startswith(prefix)
        and len(entry.name) == len(prefix) + SEQ_DIGITS
        and entry.name[len(prefix) :].isdigit()
    )


@final
class Journal:
    """One open audit file.

    Args:
        path: The file; created with mode 0600 where there is none. Its directory must exist.

    Raises:
        AuditBroken: It cannot be opened, another process has it, or its end is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.head = Head()
        self.size = 0
        self.events: tuple[bytes, ...] = ()
        self._path = path
        self._is_torn = False
        try:
            self._lock = os.open(
                path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE
            )
        except OSError as error:
            raise AuditBroken(f"the audit log {path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file = self._open()
            self._resume()
        except BlockingIOError as error:
            os.close(self._lock)
            raise AuditBroken(f"the audit log {path} is in use by another process") from error
        except OSError as error:
            os.close(self._lock)
            raise AuditBroken(f"the audit log {path} cannot be opened: {error.strerror}") from error

    def write(self, data: bytes, head: Head) -> None:
        """Append whole lines and wait until they are on disk.

        Args:
            data: Lines.
            head: Head of the chain after them.

        Raises:
            OSError: They are not on disk, and no part of them will stay there.
        """
        if self._is_torn:
            self._cut()
        self._is_torn = True
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):  # tried again before the next write
                self._cut()
            raise
        self._is_torn = False
        self.size += len(data)
        self.head = head

    def rotate(self) -> None:
        """Set the file aside under the number of its last line and begin the next; the chain goes on.

        Raises:
            OSError: The file stays as it is, or the next one cannot be made.
        """
        self._path.rename(self._path.with_name(f"{self._path.name}.{self.head.seq:0{SEQ_DIGITS}d}"))
        full, self._file = self._file, self._open()
        os.close(full)
        self.size = 0

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)
        os.close(self._lock)

    def _open(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, FILE_MODE)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)  # the name itself must survive a crash
        finally:
            os.close(directory)
        return descriptor

    def _resume(self) -> None:
        """Find the end of the chain, in this file or, where it is empty, in the last full one."""
        self.size = os.fstat(self._file).st_size
        tail = os.pread(self._file, MAX_LINE + 1, max(0, self.size - MAX_LINE - 1)) if self.size else b""
        whole = tail.rfind(b"\n") + 1
        if not whole and len(tail) > MAX_LINE:
            raise AuditBroken(f"the audit log {self._path} does not end in a line; move it away")
        if whole < len(tail):
            self._set_aside(tail[whole:])
            tail = tail[:whole]
        full = full_files(self._path)
        if not tail and full:
            tail = _end(full[-1])
        if tail:
            try:
                self.head = parse(tail[tail.rfind(b"\n", 0, -1) + 1 :]).head
            except ChainBroken as error:
                raise AuditBroken(
                    f"the last line of the audit log {self._path} is damaged ({error}); move the log away"
                ) from error

    def _set_aside(self, torn: bytes) -> None:
        """Move what a crash tore off to a file of its own, and have the chain say so."""
        kept = self._path.with_name(f"{self._path.name}.torn-{self.size}")
        # appended, not replaced: a crash right here must not cost what an earlier one left
        descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "ab") as file:
            file.write(torn)
            file.flush()
            os.fsync(file.fileno())
        self.size -= len(torn)
        self._cut()
        self.events = (msgspec.json.encode({"event": "torn-line", "count": len(torn), "kept": kept.name}),)

    def _cut(self) -> None:
        if stat.S_ISREG(os.fstat(self._file).st_mode):
            os.ftruncate(self._file, self.size)


def _end(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_LINE - 1))
        return file.read()
