"""Server-side scripts, and commands that are packed once per route instead of once per request.

A command whose changing words have a fixed length is a template: packed once, split at the places of
the words, and joined again with the words of a request. One `bytes.join` instead of packing.
"""

from __future__ import annotations

from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from gateway.state.connection import pack

if TYPE_CHECKING:
    from gateway.core.limits import RouteLimits

TAG_LENGTH: Final = 32
"""Characters of a hash tag: 128 bits in hexadecimal."""

TAG: Final = b"T" * TAG_LENGTH
"""Stands for the identity's tag while a template is packed; no name of ours contains it: see `_name`."""

LEASE_LENGTH: Final = 24
"""Characters of a lease's name: 64 bits of the gateway process, 32 bits of a counter."""

LEASE: Final = b"L" * LEASE_LENGTH
"""Stands for the lease; it is the last word of its argument list, so only its length matters."""


@final
class Script:
    """One Lua script.

    Args:
        name: File name in `lua/`, without its ending.

    Attributes:
        digest: Its name on a server that has it.
        inline: The two words of a packed call by digest, and those of one that brings the text along: what
            a server needs that refuses to load scripts. The other words are the same.
        text: What it says.
    """

    __slots__ = ("digest", "inline", "text")

    def __init__(self, name: str) -> None:
        self.text = Path(__file__).with_name("lua").joinpath(f"{name}.lua").read_bytes()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest().encode()  # what EVALSHA names it by
        by_digest = b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n" % self.digest
        self.inline = (by_digest, b"$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (len(self.text), self.text))


def _name(text: str) -> bytes:
    """Return a name of the configuration as part of a key: unambiguous, no placeholder, no hash tag."""
    return b"".join(
        b"%c" % byte if byte in b"abcdefghijklmnopqrstuvwxyz0123456789-_." else b"%%%02x" % byte
        for byte in text.encode()
    )


@final
class Claim:
    """The `admit` command of one route, packed.

    Args:
        script: The admit script.
        prefix: What all keys begin with.
        limits: The route's limits.
        now: Time for the script; "" for the server's own clock. Tests alone give one.
    """

    __slots__ = ("_giving", "_parts", "is_leasing", "limits")

    def __init__(self, script: Script, prefix: str, limits: RouteLimits, now: str = "") -> None:
        self.limits = limits
        concurrency = limits.concurrency
        self.is_leasing = concurrency is not None
        base = b"%b{%b}:%b:" % (prefix.encode(), TAG, _name(limits.scope))
        keys = [base + _name(limit.name) for limit in limits.rates]
        numbers: list[str | int] = ["", 0]
        giving = b""
        if concurrency is not None:
            leases = base + _name(concurrency.name) + b":leases"
            keys.append(leases)
            numbers = [concurrency.maximum, repr(concurrency.lifetime)]
            giving = pack("ZREM", leases, LEASE)
        rates = [repr(number) for limit in limits.rates for number in (limit.interval, limit.tolerance)]
        words = ["EVALSHA", script.digest, len(keys), *keys, len(limits.rates), now, *numbers]
        command = pack(*words, LEASE, *rates)
        before, after = command.split(LEASE)
        self._parts = (tuple(before.split(TAG)), after)
        self._giving = tuple(giving.removesuffix(LEASE + b"\r\n").split(TAG))

    def command(self, tag: bytes, lease: bytes) -> bytes:
        """Return the command that claims for one identity.

        Args:
            tag: The identity's hash tag, `TAG_LENGTH` bytes.
            lease: Name of the lease, `LEASE_LENGTH` bytes; unused without a concurrency limit.
        """
        before, after = self._parts
        return b"%b%b%b" % (tag.join(before), lease, after)

    def giving(self, tag: bytes, lease: bytes) -> bytes:
        """Return the command that gives the concurrency slot back."""
        return b"%b%b\r\n" % (tag.join(self._giving), lease)
