"""Cuts a compact JWS into its parts, before any library sees it. Verifies nothing.

One token has exactly one spelling here (RFC 8725bis: content with any other character is refused):
padding, whitespace, foreign alphabets and set unused bits would give one token many hashes, and with
them many cache entries and a way around every list of hashes.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple

from gateway.core.refusal import Reason, Refusal

MAX_TOKEN_BYTES: Final = 8 * 1024  # the largest header field that common servers take
_SHAPE: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")

TOO_LARGE: Final = Refusal(Reason.TOKEN_TOO_LARGE, f"The token is larger than {MAX_TOKEN_BYTES} bytes.")
MALFORMED: Final = Refusal(Reason.TOKEN_MALFORMED, "The token is not a compact JWS of three base64url parts.")
NOT_CANONICAL: Final = Refusal(Reason.TOKEN_MALFORMED, "The token's base64url encoding is not canonical.")


class Compact(NamedTuple):
    """The decoded parts, and the octets that the signature covers (RFC 7515, section 5.2)."""

    header: bytes
    payload: bytes
    signature: bytes
    signed: bytes


def base64url(data: bytes) -> str:
    """Encode without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(segment: bytes) -> bytes | None:
    if len(segment) % 4 == 1:
        return None
    data = urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    return data if urlsafe_b64encode(data).rstrip(b"=") == segment else None


def is_compact(token: bytes) -> bool:
    """Tell whether a token is a JWS by its look: whatever else it is, it is never shown to an issuer."""
    return _SHAPE.fullmatch(token) is not None


def split(token: bytes) -> Compact | Refusal:
    """Cut a token into its parts.

    Args:
        token: What followed `Bearer `; attacker-controlled.

    Returns:
        The parts, or why the token is no compact JWS of canonical spelling.
    """
    if len(token) > MAX_TOKEN_BYTES:
        return TOO_LARGE
    shape = _SHAPE.fullmatch(token)
    if shape is None:
        return MALFORMED
    header, payload, signature = (_decode(segment) for segment in shape.groups())
    if header is None or payload is None or signature is None:
        return NOT_CANONICAL
    return Compact(header, payload, signature, token[: shape.end(2)])
