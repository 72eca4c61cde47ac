"""Writes and reads credential files: private by birth, never overwritten by accident, bounded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MAX_CREDENTIAL_BYTES: Final = 1024 * 1024  # a CA bundle of a few hundred certificates
PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


def write_new(path: Path, data: bytes, *, mode: int = PUBLIC, force: bool = False) -> None:
    """Write a file whose mode is right before its first byte is written.

    Args:
        path: Where; parent directories are created.
        data: All of it.
        mode: Permission bits.
        force: Replace what is there, atomically for readers.

    Raises:
        FileExistsError: It exists, and `force` is False.
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.with_name(f".{path.name}.new") if force else path
    if force:
        target.unlink(missing_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    if force:
        target.replace(path)


def unusable(failure: OSError) -> tuple[str, str]:
    """Say of a file what is wrong with it, without a full stop, and how to mend it."""
    if isinstance(failure, FileNotFoundError):
        return f"there is no file {failure.filename}", "make it, or correct the path"
    reason = (failure.strerror or "unknown reason").lower()
    return f"{failure.filename} cannot be used: {reason}", "let this user open it, or correct the path"


def read_bounded(path: Path, limit: int = MAX_CREDENTIAL_BYTES) -> bytes:
    """Read a whole file of at most `limit` bytes.

    Raises:
        OSError: It cannot be read.
        ValueError: It is longer than `limit`.
    """
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"file is larger than {limit} bytes")
    return data
