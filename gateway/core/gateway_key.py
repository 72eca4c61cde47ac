"""Gateway keys: credentials of our own, for clients that can do no OAuth. Their form, and what one gives.

A key is `gk_`, a public id, `_`, a secret of 256 bits and a checksum: one regular expression finds leaked
ones, and a mistyped one is known for it without a look at any list. Decides nothing: `identify` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Protocol, TypeAlias, final
from zlib import crc32

Network: TypeAlias = IPv4Network | IPv6Network

PREFIX: Final = b"gk_"
ID_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"  # base32, RFC 4648, in lower case
ID_CHARACTERS: Final = 20
SECRET_BYTES: Final = 32
SECRET_CHARACTERS: Final = 43  # of base62: 62^43 is a little more than 2^256
CHECKSUM_CHARACTERS: Final = 6
BASE62: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID: Final = re.compile(r"[a-z2-7]{20}\Z")
_SHAPE: Final = re.compile(rb"(gk_([a-z2-7]{20})_[0-9A-Za-z]{43})([0-9A-Za-z]{6})")
NO_DIGEST: Final = bytes(32)  # nobody knows what has this digest


@final
@dataclass(frozen=True)
class GatewayKey:
    """One key, without its secret.

    Args:
        id: Public name.
        subject: Whose it is; the caller is called `key|` and this.
        roles: Roles of the configuration that it gives.
        digest: Digest of the secret, under the pepper.
        issued: When that secret was made, seconds since the epoch.
        expires: When the key ends, seconds since the epoch.
        previous: Digest of the secret before the last rotation; `NO_DIGEST`: there is none.
        previous_issued: When that one was made.
        previous_until: When that one ends.
        groups: As of a token: roles may rest on them.
        scopes: As of a token: routes may demand them.
        certificates: Fingerprints of certificates (`x5t#S256`) of which its connection must show one; or
        spiffe_ids: SPIFFE IDs, of which that certificate must have one. Both empty: not bound.
        networks: Where it may come from; empty: from anywhere.
    """

    id: str
    subject: str
    roles: frozenset[str]
    digest: bytes
    issued: float
    expires: float
    previous: bytes = NO_DIGEST
    previous_issued: float = 0.0
    previous_until: float = 0.0
    groups: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    certificates: frozenset[str] = frozenset()
    spiffe_ids: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @property
    def is_bound(self) -> bool:
        """True if it is good beside a certificate alone."""
        return bool(self.certificates or self.spiffe_ids)


class GatewayKeys(Protocol):
    """The gateway's own keys, as far as they are valid now. No I/O."""

    def find(self, id: str, /) -> GatewayKey | None:
        """Return the key of that id, expired ones too, or None."""

    def blind(self, token: bytes, /) -> bytes:
        """Return the digest under which a key is stored: nobody makes one without the pepper."""

    @property
    def generation(self) -> int:
        """Grows with every change: what was proven by older keys is void."""


def compose(id: str, secret: bytes) -> str:
    """Write a key down as its owner gets it.

    Args:
        id: 20 characters of base32 in lower case.
        secret: 32 random bytes.

    Raises:
        ValueError: One of the two is not that.
    """
    if ID.match(id) is None or len(secret) != SECRET_BYTES:
        raise ValueError("a gateway key has an id of 20 characters and a secret of 32 bytes")
    body = b"gk_%b_%b" % (id.encode(), _base62(int.from_bytes(secret, "big"), SECRET_CHARACTERS))
    return (body + _checksum(body)).decode()


def read_id(token: bytes) -> str | None:
    """Return the id that a key names, or None if it is no gateway key: shape or checksum are wrong.

    Args:
        token: The whole credential; attacker-controlled.
    """
    shape = _SHAPE.fullmatch(token)
    if shape is None or _checksum(shape[1]) != shape[3]:
        return None
    return shape[2].decode()


def new_id(random: bytes) -> str:
    """Make an id out of random bytes, five bits of each.

    Args:
        random: At least 20 of them; fewer make an id that `compose` refuses.
    """
    return "".join(ID_ALPHABET[byte & 31] for byte in random[:ID_CHARACTERS])


def _checksum(body: bytes) -> bytes:
    return _base62(crc32(body), CHECKSUM_CHARACTERS)


def _base62(number: int, width: int) -> bytes:
    digits = bytearray(width)
    for place in range(width - 1, -1, -1):
        number, digit = divmod(number, 62)
        digits[place] = BASE62[digit]
    return bytes(digits)
