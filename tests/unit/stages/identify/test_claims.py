"""`claims`: what a signed token must say."""

from __future__ import annotations

import math

import pytest

from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.claims import Dates, check_claims

from .parts import AUDIENCE, NOW, claims, issuer

T = int(NOW)


def reason(
    changed: dict[str, object], *, now: float = NOW, typ: str = "at+jwt", **options: object
) -> Reason | None:
    """Return why good claims with these changes are refused; a change to `...` leaves one out."""
    body = {name: value for name, value in (claims() | changed).items() if value is not ...}
    found = check_claims(body, issuer("ES256", **options), typ, now)
    return found.reason if isinstance(found, Refusal) else None


def test_good_claims_give_their_dates() -> None:
    """The caller learns when the token was issued and when it ends."""
    assert Dates(T, T + 300) == check_claims(claims(), issuer(), "at+jwt", NOW)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"exp": ...}, Reason.TOKEN_CLAIM_MISSING),
        ({"exp": None}, Reason.TOKEN_CLAIM_MISSING),
        ({"exp": str(T + 60)}, Reason.TOKEN_CLAIM_INVALID),
        ({"exp": T + 60.0}, Reason.TOKEN_CLAIM_INVALID),
        ({"exp": True}, Reason.TOKEN_CLAIM_INVALID),
        ({"exp": math.inf}, Reason.TOKEN_CLAIM_INVALID),
        ({"exp": -1}, Reason.TOKEN_CLAIM_INVALID),
        ({"exp": 10**15}, Reason.TOKEN_CLAIM_INVALID),
        ({"exp": 10**400}, Reason.TOKEN_CLAIM_INVALID),
        ({"exp": 10**11}, Reason.TOKEN_LIFETIME),
        ({"exp": [T]}, Reason.TOKEN_CLAIM_INVALID),
        ({"exp": T - 30, "iat": T - 60}, Reason.TOKEN_EXPIRED),
        ({"exp": T - 29, "iat": T - 60}, None),
        ({"exp": T, "iat": T}, Reason.TOKEN_LIFETIME),
        ({"exp": T + 3600}, None),
        ({"exp": T + 3601}, Reason.TOKEN_LIFETIME),
        ({"iat": ...}, Reason.TOKEN_CLAIM_MISSING),
        ({"iat": "now"}, Reason.TOKEN_CLAIM_INVALID),
        ({"iat": False}, Reason.TOKEN_CLAIM_INVALID),
        ({"iat": T + 30}, None),
        ({"iat": T + 31}, Reason.TOKEN_NOT_YET_VALID),
        ({"nbf": T + 30}, None),
        ({"nbf": T + 31}, Reason.TOKEN_NOT_YET_VALID),
        ({"nbf": "later"}, Reason.TOKEN_CLAIM_INVALID),
        ({"nbf": None}, Reason.TOKEN_CLAIM_MISSING),
        ({"iss": "https://idp.example.org/"}, Reason.TOKEN_CLAIM_INVALID),
        ({"iss": ["https://idp.example.org"]}, Reason.TOKEN_CLAIM_INVALID),
        ({"aud": ...}, Reason.TOKEN_CLAIM_MISSING),
        ({"aud": [AUDIENCE]}, None),
        ({"aud": [AUDIENCE, "other"]}, Reason.TOKEN_AUDIENCE),
        ({"aud": [AUDIENCE, AUDIENCE]}, Reason.TOKEN_AUDIENCE),
        ({"aud": []}, Reason.TOKEN_AUDIENCE),
        ({"aud": ""}, Reason.TOKEN_AUDIENCE),
        ({"aud": AUDIENCE.upper()}, Reason.TOKEN_AUDIENCE),
        ({"aud": AUDIENCE + "/"}, Reason.TOKEN_AUDIENCE),
        ({"aud": {AUDIENCE: True}}, Reason.TOKEN_AUDIENCE),
        ({"sub": ...}, Reason.TOKEN_CLAIM_MISSING),
        ({"sub": ""}, Reason.TOKEN_CLAIM_INVALID),
        ({"sub": 7}, Reason.TOKEN_CLAIM_INVALID),
        ({"sub": "a\nb"}, Reason.TOKEN_CLAIM_INVALID),
        ({"sub": "\u202egnp"}, Reason.TOKEN_CLAIM_INVALID),
        ({"sub": "a" * 513}, Reason.TOKEN_CLAIM_INVALID),
        ({"sub": "a" * 512}, None),
        ({"client_id": ...}, Reason.TOKEN_CLAIM_MISSING),
        ({"jti": ...}, Reason.TOKEN_CLAIM_MISSING),
        ({"jti": 1}, Reason.TOKEN_CLAIM_INVALID),
    ],
)
def test_claims_decide(changed: dict[str, object], expected: Reason | None) -> None:
    """Types, ranges, skew at its exact second, audience for us alone, a known lifetime."""
    assert expected is reason(changed)


def test_other_types_need_no_client() -> None:
    """`client_id` and `jti` are what RFC 9068 demands of its own type."""
    assert reason({"client_id": ..., "jti": ...}, typ="jwt") is None


def test_skew_may_be_zero() -> None:
    """Without skew a token ends at the very second it names."""
    assert reason({}, now=NOW + 299.9, skew=0.0) is None
    assert Reason.TOKEN_EXPIRED is reason({}, now=NOW + 300, skew=0.0)
