"""Resolves references to secrets: `file:PATH` and `env:NAME`. The only reader of the environment.

A secret never stands in the configuration itself, and never in an error: errors name file or variable.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from gateway.credentials.files import read_bounded, unusable

if TYPE_CHECKING:
    from pathlib import Path

MAX_SECRET_BYTES: Final = 64 * 1024


@final
class SecretError(ValueError):
    """A reference that leads to no usable secret.

    Args:
        message: What is wrong, without a full stop.
        mend: How to mend it.
    """

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


def resolve_secret(reference: str, base: Path) -> str:
    """Return the secret that a reference leads to.

    Args:
        reference: `file:PATH`, relative to `base`, or `env:NAME`.
        base: Directory of the configuration.

    Returns:
        The secret, without the newlines that editors put at the end of a file.

    Raises:
        SecretError: No such reference, file or variable; too large, empty, or not one line of text.
    """
    kind, colon, place = reference.partition(":")
    if not colon or not place or kind not in {"file", "env"}:
        raise SecretError("a secret is given as `file:PATH` or `env:NAME`", "write one of the two")
    if kind == "file":
        where, value = str(base / place), _from_file(base / place)
    else:
        where, value = f"the environment variable {place}", _from_environment(place)
    if not value:
        raise SecretError(f"{where} is empty", "put the secret into it")
    if not value.isprintable():
        raise SecretError(f"{where} is not one line of printable text", "put the secret into it as one line")
    return value


def _from_environment(name: str) -> str:
    value = os.environ.get(name)  # noqa: TID251 - this is the one place
    if value is None:
        mend = "set it before the command starts, or refer to a file: `file:secrets/name`"
        raise SecretError(f"the environment variable {name} is not set", mend)
    return value


def _from_file(path: Path) -> str:
    try:
        return read_bounded(path, MAX_SECRET_BYTES).decode().rstrip("\r\n")
    except OSError as unreadable:
        raise SecretError(*unusable(unreadable)) from unreadable
    except ValueError as wrong:
        raise SecretError(f"{path} is too large or not UTF-8", "put the secret alone into it") from wrong
