"""How revocations are written down: as one line of JSON, and sealed for a store that is not trusted.

A seal is AES-256-GCM under a key that only the fleet has: who runs the store cannot make a revocation, change
one, lift one or read whom it names. It can only withhold. The key's fingerprint stands in front, so that
gateways with different keys notice each other instead of not hearing each other.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Final, final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.revocation import Lift, Revocation, Target, check

MAGIC: Final = b"GWR1"  # what does not begin with it was written by no gateway
NONCE: Final = 12  # bytes
FINGERPRINT: Final = 8  # bytes
HEAD: Final = len(MAGIC) + FINGERPRINT
CONTEXT: Final = b"gateway revocation v1"


class Foreign(Exception):
    """Sealed with another key: another fleet, or one that does not agree on its secret."""


class Forged(Exception):
    """Not sealed by anybody who has the key, or not a revocation."""


@final
class _Added(msgspec.Struct, tag="add", tag_field="op", omit_defaults=True, forbid_unknown_fields=True):
    id: str
    target: Target
    value: str
    at: float
    issued_before: float | None = None
    expires: float | None = None
    reason: str = ""
    source: str = ""


@final
class _Lifted(msgspec.Struct, tag="lift", tag_field="op", omit_defaults=True, forbid_unknown_fields=True):
    id: str
    at: float
    expires: float | None = None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Added | _Lifted).decode


def write(change: Revocation | Lift) -> bytes:
    """Return a change as JSON without line ends."""
    if isinstance(change, Lift):
        return _encode(_Lifted(change.id, change.at, change.expires))
    return _encode(
        _Added(
            change.id,
            change.target,
            change.value,
            change.at,
            change.issued_before,
            change.expires,
            change.reason,
            change.source,
        )
    )


def read(data: bytes) -> Revocation | Lift:
    """Read what `write` wrote.

    Raises:
        ValueError: It is something else.
    """
    read = _decode(data)
    change: Revocation | Lift
    if isinstance(read, _Lifted):
        change = Lift(read.id, read.at, read.expires)
    else:
        change = Revocation(
            read.id,
            read.target,
            read.value,
            read.at,
            read.issued_before,
            read.expires,
            read.reason,
            read.source,
        )
    check(change)
    return change


@final
class Seal:
    """Seals and opens with one key.

    Args:
        secret: What the fleet shares, and the store does not have.
    """

    __slots__ = ("_aead", "fingerprint")

    def __init__(self, secret: bytes) -> None:
        key = blake2b(secret, person=b"gateway-revoke", digest_size=32).digest()
        self._aead = AESGCM(key)
        self.fingerprint = blake2b(key, person=b"gateway-rev-id", digest_size=FINGERPRINT).digest()

    def close(self, change: Revocation | Lift) -> bytes:
        """Return a change, sealed; never the same bytes twice."""
        nonce = secrets.token_bytes(NONCE)
        return MAGIC + self.fingerprint + nonce + self._aead.encrypt(nonce, write(change), CONTEXT)

    def open(self, sealed: bytes) -> Revocation | Lift:
        """Open what was sealed. Attacker-controlled.

        Raises:
            Foreign: With another key.
            Forged: Not at all.
        """
        if not sealed.startswith(MAGIC):
            raise Forged
        if sealed[len(MAGIC) : HEAD] != self.fingerprint:
            raise Foreign
        nonce, rest = sealed[HEAD : HEAD + NONCE], sealed[HEAD + NONCE :]
        try:
            return read(self._aead.decrypt(nonce, rest, CONTEXT))
        except (InvalidTag, ValueError, OverflowError):
            raise Forged from None
