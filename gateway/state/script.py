"""Server-side scripts, and commands that are packed once per route instead of once per request.

A command whose changing words have a fixed length is a template: packed once, split at the places of
the words, and joined again with the words of a request. One `bytes.join` instead of packing.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from gateway.state.connection import pack

if TYPE_CHECKING:
    from gateway.core.limits import RouteLimits

DIRECTORY: Final = Path(__file__).with_name("lua")

DIGEST_LENGTH: Final = 40
"""Characters of a script's name on a server: SHA-1 in hexadecimal."""

BY_DIGEST: Final = b"$7\r\nEVALSHA\r\n$40\r\n"
"""How a call by digest goes on after its number of words."""

TAG_LENGTH: Final = 32
"""Characters of a hash tag: 128 bits in hexadecimal."""

TAG: Final = b"T" * TAG_LENGTH
"""Stands for the identity's tag while a template is packed; no name of ours contains it: see `name_of`."""

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
        text: What it says.
    """

    __slots__ = ("digest", "text")

    def __init__(self, name: str) -> None:
        self.text = DIRECTORY.joinpath(f"{name}.lua").read_bytes()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest().encode()  # what EVALSHA names it by


@cache
def texts() -> dict[bytes, bytes]:
    """Return the text of every script there is, by its digest."""
    scripts = [Script(path.stem) for path in DIRECTORY.glob("*.lua")]
    return {script.digest: script.text for script in scripts}


def inlined(command: bytes) -> bytes:
    """Return a packed call by digest as one that brings the text along; the other words stay the same.

    What a server needs that refuses to load scripts. Any other command is returned as it is.
    """
    count, _, rest = command.partition(BY_DIGEST)
    is_first = count.count(b"\r\n") == 1  # the name of the command, not data
    text = texts().get(rest[:DIGEST_LENGTH]) if is_first else None
    if text is None:
        return command
    return b"%b$4\r\nEVAL\r\n$%d\r\n%b%b" % (count, len(text), text, rest[DIGEST_LENGTH:])


def name_of(text: str) -> bytes:
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
        base = b"%b{%b}:%b:" % (prefix.encode(), TAG, name_of(limits.scope))
        keys = [base + name_of(limit.name) for limit in limits.rates]
        numbers: list[str | int] = ["", 0]
        giving = b""
        if concurrency is not None:
            leases = base + name_of(concurrency.name) + b":leases"
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
