"""Checks the registered claims of a token whose signature is valid (RFC 7519, 4.1; RFC 9068, 2.2).

Dates are integers, the audience is this gateway alone, and a lifetime is always known: a token
without `exp` or `iat` is refused, whatever its issuer thinks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.issuer import ACCESS_TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.stages.identify.issuer import Issuer

MAX_DATE: Final = 253_402_300_799  # the last second of the year 9999
MAX_NAME_CHARACTERS: Final = 512
# How callers without a `sub` are named (`opaque`): no issuer may call anybody so, or two were one.
CLIENT_SUBJECT: Final = "client_id="
REQUIRED_STRINGS_OF_ACCESS_TOKENS: Final = ("client_id", "jti")  # beside `sub`: RFC 9068, section 2.2

AUDIENCE_MISSING: Final = Refusal(Reason.TOKEN_CLAIM_MISSING, "The token has no 'aud'.", rule="aud")
AUDIENCE_REFUSED: Final = Refusal(Reason.TOKEN_AUDIENCE, "The token was not issued for this gateway alone.")
EXPIRED: Final = Refusal(Reason.TOKEN_EXPIRED, "The token has expired.")
NOT_YET: Final = Refusal(Reason.TOKEN_NOT_YET_VALID, "The token is not valid yet.")
ISSUED_LATER: Final = Refusal(Reason.TOKEN_NOT_YET_VALID, "The token was issued in the future.")
LIFETIME: Final = Refusal(Reason.TOKEN_LIFETIME, "The token lives longer than its issuer's tokens may.")


class Dates(NamedTuple):
    """`iat` and `exp` of a token, seconds since the epoch."""

    issued: int
    expires: int


def missing(name: str) -> Refusal:
    """Say that a claim is missing; `name` is one of our own constants."""
    return Refusal(Reason.TOKEN_CLAIM_MISSING, f"The token has no '{name}'.", rule=name)


def invalid(name: str) -> Refusal:
    """Say that a claim has the wrong type or range; `name` is one of our own constants."""
    return Refusal(Reason.TOKEN_CLAIM_INVALID, f"The token's '{name}' is not what it must be.", rule=name)


def date(claims: Mapping[str, object], name: str) -> int | Refusal:
    """Return a date claim, or why it is none: absent, no integer, or outside of the calendar."""
    value = claims.get(name)
    if value is None:
        return missing(name)
    if type(value) is not int or not 0 <= value <= MAX_DATE:  # a bool is an int, and no date
        return invalid(name)
    return value


def check_name(claims: Mapping[str, object], name: str) -> Refusal | None:
    """Check that a claim is a short, printable, non-empty string."""
    value = claims.get(name)
    if value is None:
        return missing(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARACTERS or not value.isprintable():
        return invalid(name)
    return None


def check_subject(claims: Mapping[str, object]) -> Refusal | None:
    """Check that `sub` is a name, and none that only this gateway gives."""
    refusal = check_name(claims, "sub")
    if refusal is None and str(claims["sub"]).startswith(CLIENT_SUBJECT):
        return invalid("sub")
    return refusal


def check_audience(claims: Mapping[str, object], audience: str) -> Refusal | None:
    """Check that the token is for this gateway and for nobody else, so that nobody else can replay it."""
    value = claims.get("aud")
    if value is None:
        return AUDIENCE_MISSING
    if value in (audience, [audience]):
        return None
    return AUDIENCE_REFUSED


def check_dates(claims: Mapping[str, object], issuer: Issuer, now: float) -> Dates | Refusal:
    """Check `exp`, `iat` and `nbf` against the clock and the issuer's longest lifetime."""
    expires = date(claims, "exp")
    if isinstance(expires, Refusal):
        return expires
    issued = date(claims, "iat")
    if isinstance(issued, Refusal):
        return issued
    if now >= expires + issuer.skew:
        return EXPIRED
    if issued > now + issuer.skew:
        return ISSUED_LATER
    if not 0 < expires - issued <= issuer.max_lifetime:
        return LIFETIME
    if "nbf" in claims:
        begins = date(claims, "nbf")
        if isinstance(begins, Refusal):
            return begins
        if begins > now + issuer.skew:
            return NOT_YET
    return Dates(issued, expires)


def check_claims(claims: Mapping[str, object], issuer: Issuer, typ: str, now: float) -> Dates | Refusal:
    """Check every registered claim.

    Args:
        claims: Payload of a token with a valid signature.
        issuer: The issuer entry it was verified under.
        typ: Normalised type of the token.
        now: Seconds since the epoch.

    Returns:
        When the token was issued and expires if all hold, or the first that does not.
    """
    if claims.get("iss") != issuer.issuer:
        return invalid("iss")
    refusal = check_subject(claims)
    names = REQUIRED_STRINGS_OF_ACCESS_TOKENS if typ == ACCESS_TOKEN else ()
    for name in names:
        refusal = refusal or check_name(claims, name)
    if refusal is not None:
        return refusal
    return check_audience(claims, issuer.audience) or check_dates(claims, issuer, now)
