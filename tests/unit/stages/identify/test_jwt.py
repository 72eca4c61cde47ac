"""`jwt`: headers, and the order of the checks."""

from __future__ import annotations

import pytest

from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.jwt import check, read

from .parts import ISSUER, NOW, HeldKeys, claims, forge, header, idp, issuer, signer

SIBLINGS = {
    "id token": "JWT",
    "logout token": "logout+jwt",
    "security event": "secevent+jwt",
    "DPoP proof": "dpop+jwt",
    "workload token": "wit+jwt",
    "workload proof": "wpt+jwt",
    "transaction token": "txntoken+jwt",
    "assertion of ours": "gateway-assertion+jwt",
}


def reason(token: str, **options: object) -> Reason | None:
    """Return why a token is refused before its signature is looked at."""
    found = read(token.encode(), {ISSUER: issuer("ES256", **options)})
    return found.reason if isinstance(found, Refusal) else None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"typ": "AT+JWT"}, None),
        ({"typ": "application/at+jwt"}, None),
        ({"typ": "Application/AT+JWT"}, None),
        ({"typ": "application/x/at+jwt"}, Reason.TOKEN_TYPE),
        ({"typ": "x/at+jwt"}, Reason.TOKEN_TYPE),
        ({"typ": ""}, Reason.TOKEN_TYPE),
        ({"typ": None}, Reason.TOKEN_TYPE),
        ({"typ": ["at+jwt"]}, Reason.TOKEN_TYPE),
        ({"alg": "none"}, Reason.TOKEN_ALGORITHM),
        ({"alg": "NoNe"}, Reason.TOKEN_ALGORITHM),
        ({"alg": "HS256"}, Reason.TOKEN_ALGORITHM),
        ({"alg": "es256"}, Reason.TOKEN_ALGORITHM),
        ({"alg": "RS256"}, Reason.TOKEN_ALGORITHM),
        ({"alg": None}, Reason.TOKEN_ALGORITHM),
        ({"alg": ["ES256"]}, Reason.TOKEN_ALGORITHM),
        ({"crit": []}, Reason.TOKEN_CRITICAL),
        ({"crit": ["exp"]}, Reason.TOKEN_CRITICAL),
        ({"b64": False}, Reason.TOKEN_CRITICAL),
        ({"b64": True}, Reason.TOKEN_CRITICAL),
        ({"zip": "DEF"}, Reason.TOKEN_CRITICAL),
        ({"enc": "A256GCM"}, Reason.TOKEN_CRITICAL),
        ({"kid": None}, None),
        ({"kid": ""}, Reason.TOKEN_MALFORMED),
        ({"kid": 1}, Reason.TOKEN_MALFORMED),
        ({"kid": "k" * 257}, Reason.TOKEN_MALFORMED),
        ({"kid": "../../etc/passwd\x00' OR 1=1"}, None),
        ({"jku": "https://evil.example/jwks", "x5u": "https://evil.example", "jwk": {}, "x5c": []}, None),
    ],
)
def test_headers_decide(changed: dict[str, object], expected: Reason | None) -> None:
    """Type and algorithm by allow-list, nothing critical; a key id is only ever compared."""
    assert expected is reason(forge(header(**changed), claims()))


@pytest.mark.parametrize("typ", SIBLINGS.values(), ids=SIBLINGS.keys())
def test_siblings_are_no_access_tokens(typ: str) -> None:
    """No other kind of signed token of the same issuer passes for an access token."""
    assert Reason.TOKEN_TYPE is reason(forge(header(typ=typ), claims()))


def test_key_in_the_token_is_never_looked_at() -> None:
    """A token that brings its own valid key is verified with the issuer's, and fails."""
    stranger = idp("ES256", "stranger")
    token = stranger.mint(headers={"kid": signer().kid, "jwk": stranger.signer.jwk})
    found = read(token.encode(), {ISSUER: issuer()})
    assert not isinstance(found, Refusal)
    refusal = check(found, found.issuer.keys.find(found.kid, found.algorithm), NOW)

    assert isinstance(refusal, Refusal)
    assert Reason.TOKEN_BAD_SIGNATURE is refusal.reason


@pytest.mark.parametrize(
    ("iss", "expected"),
    [
        (None, Reason.TOKEN_CLAIM_MISSING),
        ([ISSUER], Reason.TOKEN_CLAIM_MISSING),
        (ISSUER + "/", Reason.TOKEN_ISSUER_UNKNOWN),
        (ISSUER.upper(), Reason.TOKEN_ISSUER_UNKNOWN),
        (ISSUER[:-1], Reason.TOKEN_ISSUER_UNKNOWN),
    ],
)
def test_issuer_is_exact(iss: object, expected: Reason) -> None:
    """The issuer is compared whole, octet by octet."""
    assert expected is reason(forge(header(), claims(iss=iss)))


def test_no_key_is_looked_up_before_the_issuer_is_known() -> None:
    """A token of an unknown issuer touches nobody's keys."""
    keys = HeldKeys(signer())
    read(forge(header(), claims(iss="https://evil.example")).encode(), {ISSUER: issuer("ES256", keys=keys)})

    assert [] == keys.lookups


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b'{"alg":"none","alg":"ES256","typ":"at+jwt"}', b"{}"),
        (b"[]", b"{}"),
        (b'{"alg":"ES256","typ":"at+jwt"}', b'{"iss":"a","iss":"b"}'),
        (b'{"alg":"ES256","typ":"at+jwt"}', '{"iss":"a"}'.encode("utf-16")),
        (b'{"alg":"ES256","typ":"at+jwt"}', b"not json"),
    ],
)
def test_ambiguous_documents_are_malformed(head: bytes, body: bytes) -> None:
    """Header and payload are strict JSON, whatever the signature says."""
    assert Reason.TOKEN_MALFORMED is reason(forge(head, body))


def test_tokens_are_split_first() -> None:
    """What is no compact JWS is refused before anything is parsed."""
    assert Reason.TOKEN_MALFORMED is reason("a.b")


def test_claims_are_checked_after_the_signature() -> None:
    """An expired token with a bad signature is told about the signature alone."""
    token = idp("ES256", "stranger").mint(expires_in=1, headers={"kid": signer().kid})
    found = read(token.encode(), {ISSUER: issuer()})
    assert not isinstance(found, Refusal)
    refusal = check(found, found.issuer.keys.find(found.kid, found.algorithm), NOW + 999)

    assert isinstance(refusal, Refusal)
    assert Reason.TOKEN_BAD_SIGNATURE is refusal.reason
