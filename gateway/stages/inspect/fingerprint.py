"""A keyed digest of a body: enough to count distinct prompts, useless to guess one.

Never reversible by who reads records alone: the key stays in the process that made it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, final

MASK: Final = 2**64 - 1


@final
class Fingerprint:
    """64-bit keyed digest.

    A fleet that counts together needs one digest with one key: BLAKE2b (RFC 7693). A process that
    counts alone takes the interpreter's own keyed hash of bytes (SipHash, its key drawn at start),
    five times as fast.

    Args:
        key: At most 64 bytes, the same for all workers that count together; None to count alone.

    Raises:
        ValueError: The key is empty or longer than 64 bytes.
    """

    __slots__ = ("_copy",)

    def __init__(self, key: bytes | None) -> None:
        if key is None:
            self._copy = None
            return
        if not key:
            raise ValueError("a fingerprint needs a key")
        self._copy = blake2b(digest_size=8, key=key).copy  # the keyed state, prepared once

    def __call__(self, body: bytes) -> int:
        """Return the fingerprint of `body`, 0 <= it < 2**64."""
        if self._copy is None:
            return hash(body) & MASK
        digest = self._copy()
        digest.update(body)
        return int.from_bytes(digest.digest(), "little")
