"""Resolves references to secrets: `file:PATH` and `env:NAME`. The only reader of the environment.

A secret never stands in the configuration itself, and never in an error: errors name the reference.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from gateway.credentials.files import read_bounded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_SECRET_BYTES: Final = 64 * 1024
OTHERS: Final = stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH


class SecretError(ValueError):
    """A reference that leads to no usable secret."""


def resolve_secret(reference: str, base: Path, warn: Callable[[str], None] | None = None) -> str:
    """Return the secret that a reference leads to.

    Args:
        reference: `file:PATH`, relative to `base`, or `env:NAME`.
        base: Directory of the configuration.
        warn: Told when others than the owner may read or write the file.

    Returns:
        The secret, without the newlines that editors put at the end of a file.

    Raises:
        SecretError: No such reference, file or variable; too large, empty, or not one line of text.
    """
    kind, colon, place = reference.partition(":")
    if not colon or not place or kind not in {"file", "env"}:
        raise SecretError("a secret is given as 'file:PATH' or 'env:NAME'")
    value = (
        _from_file(base / place, reference, warn) if kind == "file" else _from_environment(place, reference)
    )
    if not value:
        raise SecretError(f"{reference} is empty")
    if not value.isprintable():
        raise SecretError(f"{reference} is not one line of printable text")
    return value


def _from_environment(name: str, reference: str) -> str:
    value = os.environ.get(name)  # noqa: TID251 - this is the one place
    if value is None:
        raise SecretError(f"{reference}: the variable is not set")
    return value


def _from_file(path: Path, reference: str, warn: Callable[[str], None] | None) -> str:
    try:
        data = read_bounded(path, MAX_SECRET_BYTES)
        mode = path.stat().st_mode
        text = data.decode()
    except OSError as unreadable:
        raise SecretError(f"{reference}: {unreadable.strerror}") from unreadable
    except ValueError as unusable:
        raise SecretError(f"{reference} is too large or not UTF-8") from unusable
    if warn is not None and mode & OTHERS:
        warn(f"{reference} can be read or written by others than its owner (mode {stat.S_IMODE(mode):o})")
    return text.rstrip("\r\n")
