"""Takes a token from its field value to what it proves. The slow path: cached by the caller.

The only wait is for an issuer's keys, when a token names one that is not known yet.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.stages.identify.binding import check_binding
from gateway.stages.identify.identity import Verified
from gateway.stages.identify.jwt import check, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.identity import PeerCertificate
    from gateway.core.ports import KeySet
    from gateway.stages.identify.issuer import Issuer

# RFC 9110, section 11.4, narrowed to exactly one space and the characters of token68.
_TOKEN: Final = re.compile(rb"(bearer|dpop) ([A-Za-z0-9._~+/=-]+)", re.IGNORECASE)
_SCHEME: Final = re.compile(rb"(?:bearer|dpop)(?![!#$%&'*+.^_`|~0-9A-Za-z-])", re.IGNORECASE)

SCHEME: Final = Refusal(
    Reason.CREDENTIAL_SCHEME, "The only accepted authorization schemes are Bearer and, where offered, DPoP."
)
MALFORMED: Final = Refusal(
    Reason.TOKEN_MALFORMED, "The Authorization field is not a scheme, one space, one token."
)
KEY_UNKNOWN: Final = Refusal(Reason.TOKEN_KEY_UNKNOWN, "The token's key is not one of its issuer's.")
KEYS_UNAVAILABLE: Final = Refusal(
    Reason.TOKEN_KEYS_UNAVAILABLE,
    "The issuer's keys cannot be had at the moment.",
    source=Source.GATEWAY,
    retry_after=30.0,
)


class Presented(NamedTuple):
    """A token, and whether it came under a scheme that promises a proof of possession."""

    token: bytes
    has_proof: bool


def presented_token(value: bytes) -> Presented | Refusal:
    """Cut the token out of an `Authorization` value (RFC 6750, section 2.1; RFC 9449, section 7.1)."""
    match = _TOKEN.fullmatch(value)
    if match is not None:
        return Presented(match[2], match[1].lower() == b"dpop")
    return MALFORMED if _SCHEME.match(value) else SCHEME


def named(refusal: Refusal, digest: bytes) -> Refusal:
    """Say in the record which token was refused to whoever showed it: others with it tell whose it is.

    Args:
        refusal: Of a token that is genuine: what refuses is who shows it, and how.
        digest: SHA-256 of the token; records name tokens by its first 16 hex digits.
    """
    token = f"token {digest.hex()[:16]}"
    return replace(refusal, note=f"{refusal.note}; {token}" if refusal.note else token)


async def find_key(keys: KeySet, kid: str | None, algorithm: str) -> object:
    """Find a key, after one look for new ones if it is unknown.

    Raises:
        Refused: `TOKEN_KEY_UNKNOWN`, or `TOKEN_KEYS_UNAVAILABLE` if there are no usable keys at all.
    """
    if keys.is_usable:
        key = keys.find(kid, algorithm)
        if key is not None:
            return key
    if await keys.refresh() and keys.is_usable:
        key = keys.find(kid, algorithm)
        if key is not None:
            return key
    raise Refused(KEY_UNKNOWN if keys.is_usable else KEYS_UNAVAILABLE)


async def verify(
    token: bytes,
    digest: bytes,
    issuers: Mapping[str, Issuer],
    certificate: PeerCertificate | None,
    now: float,
    *,
    has_proof: bool = False,
) -> Verified:
    """Verify a token and its binding to the connection; a proof of possession is checked by the caller.

    Args:
        token: The compact token; attacker-controlled.
        digest: Its SHA-256.
        issuers: Trusted issuers by `iss`.
        certificate: The connection's certificate, or None.
        now: Seconds since the epoch.
        has_proof: True if the token came under the scheme DPoP.

    Raises:
        Refused: One of the `TOKEN_*` reasons.
    """
    unverified = read(token, issuers)
    if isinstance(unverified, Refusal):
        raise Refused(unverified)
    key = await find_key(unverified.issuer.keys, unverified.kid, unverified.algorithm)
    generation = unverified.issuer.keys.generation  # no wait between the look-up and here
    dates = check(unverified, key, now)
    if isinstance(dates, Refusal):
        raise Refused(dates)
    refusal = check_binding(unverified.claims, certificate, has_proof=has_proof)
    if refusal is not None:
        raise Refused(named(refusal, digest))
    return Verified(
        unverified.claims,
        unverified.issuer,
        dates.issued,
        dates.expires,
        digest,
        generation,
        unverified.kid,
    )
