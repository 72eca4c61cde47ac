"""Reads and verifies one signed token, in the order that leaks and risks least.

Syntax, header, payload, issuer, type, algorithm, key, signature, claims: a key is looked up only in
the key set of the issuer that the token names, and nothing in the token can name a key of its own:
`jku`, `x5u`, `jwk` and `x5c` are never looked at. Binding is decided in `binding`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.claims import check_claims
from gateway.stages.identify.compact import split
from gateway.stages.identify.document import parse
from gateway.stages.identify.issuer import Issuer, media_type
from gateway.stages.identify.signature import check_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.stages.identify.claims import Dates
    from gateway.stages.identify.compact import Compact

MAX_KID_CHARACTERS: Final = 256
# Header members that change what a token means (RFC 7515, 4.1.11; RFC 7797; RFC 7516).
MEANING_CHANGERS: Final = frozenset({"crit", "b64", "zip", "enc"})

CRITICAL: Final = Refusal(
    Reason.TOKEN_CRITICAL, "The token's header demands an extension that is not supported here."
)
KID_INVALID: Final = Refusal(Reason.TOKEN_MALFORMED, "The token's key id is not a short string.")
TYPE_MISSING: Final = Refusal(Reason.TOKEN_TYPE, "The token does not say what type it is.")
TYPE_REFUSED: Final = Refusal(Reason.TOKEN_TYPE, "Tokens of this type are not accepted as access tokens.")
ALGORITHM_REFUSED: Final = Refusal(Reason.TOKEN_ALGORITHM, "The token's algorithm is not accepted.")
ISSUER_MISSING: Final = Refusal(Reason.TOKEN_CLAIM_MISSING, "The token does not name its issuer.")
ISSUER_UNKNOWN: Final = Refusal(Reason.TOKEN_ISSUER_UNKNOWN, "The token's issuer is not trusted here.")


class Unverified(NamedTuple):
    """A token that names a trusted issuer. Nothing in it is proven yet."""

    parts: Compact
    issuer: Issuer
    algorithm: str
    kid: str | None
    typ: str
    claims: dict[str, object]


class Header(NamedTuple):
    """The three header members that count."""

    algorithm: str
    typ: str
    kid: str | None


def _read_header(text: bytes) -> Header | Refusal:
    members = parse(text)
    if isinstance(members, Refusal):
        return members
    if not MEANING_CHANGERS.isdisjoint(members):
        return CRITICAL
    algorithm, typ, kid = members.get("alg"), members.get("typ"), members.get("kid")
    if kid is not None and (not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS):
        return KID_INVALID
    if not isinstance(typ, str):
        return TYPE_MISSING
    if not isinstance(algorithm, str):
        return ALGORITHM_REFUSED
    return Header(algorithm, media_type(typ), kid)


def read(token: bytes, issuers: Mapping[str, Issuer]) -> Unverified | Refusal:
    """Parse a token and find the issuer entry that it has to satisfy.

    Args:
        token: What followed `Bearer `; attacker-controlled.
        issuers: Trusted issuers by `iss`.

    Returns:
        The parsed token, or why it cannot be valid whatever its signature.
    """
    parts = split(token)
    if isinstance(parts, Refusal):
        return parts
    header = _read_header(parts.header)
    if isinstance(header, Refusal):
        return header
    claims = parse(parts.payload)
    if isinstance(claims, Refusal):
        return claims
    named = claims.get("iss")
    if not isinstance(named, str):
        return ISSUER_MISSING
    issuer = issuers.get(named)
    if issuer is None:
        return ISSUER_UNKNOWN
    if header.typ not in issuer.token_types:
        return TYPE_REFUSED
    if header.algorithm not in issuer.algorithms:
        return ALGORITHM_REFUSED
    return Unverified(parts, issuer, header.algorithm, header.kid, header.typ, claims)


def check(token: Unverified, key: object, now: float) -> Dates | Refusal:
    """Verify the signature, then the claims.

    Args:
        token: From `read`.
        key: The issuer's key for the token's `kid` and `alg`.
        now: Seconds since the epoch.

    Returns:
        Its dates if the token is valid now, or why not.
    """
    refusal = check_signature(token.algorithm, key, token.parts.signed, token.parts.signature)
    return refusal or check_claims(token.claims, token.issuer, token.typ, now)
