"""How the gateway proves itself to an authorization server."""

from __future__ import annotations

import jwt
import pytest

from gateway.credentials.client_authentication import (
    ASSERTION_TYPE,
    Certificate,
    PrivateKeyJwt,
    SharedSecret,
)
from gateway.credentials.signing import ALGORITHMS, Signer, generate_key

from .parts import NOW, FixedClock


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_assertion_is_signed_for_one_server(algorithm: str) -> None:
    """All claims that RFC 7523 and OpenID Connect demand, short-lived; PyJWT verifies it."""
    signer = Signer(generate_key(algorithm), algorithm, "k")
    form = dict(PrivateKeyJwt("gateway", signer, lambda: "https://idp.example.org", FixedClock()).form())
    text = form.pop("client_assertion")
    name = "EdDSA" if algorithm == "Ed25519" else algorithm
    key = jwt.PyJWK({**signer.jwk, "alg": name}).key
    if algorithm != "Ed25519":  # RFC 9864 names the curve; PyJWT does not know the name
        options = {"verify_exp": False, "verify_iat": False}
        jwt.decode(text, key, [name], audience="https://idp.example.org", options=options)
    claims = jwt.decode(text, options={"verify_signature": False})
    jti = claims.pop("jti")

    assert {"client_id": "gateway", "client_assertion_type": ASSERTION_TYPE} == form
    assert {
        "iss": "gateway",
        "sub": "gateway",
        "aud": "https://idp.example.org",
        "iat": int(NOW),
        "exp": int(NOW) + 60,
    } == claims
    assert 22 == len(jti)
    assert {"alg": algorithm, "typ": "client-authentication+jwt", "kid": "k"} == jwt.get_unverified_header(
        text
    )


def test_no_assertion_is_used_twice() -> None:
    """A server takes each `jti` once."""
    proof = PrivateKeyJwt(
        "gateway", Signer(generate_key("ES256")), lambda: "https://idp.example.org", FixedClock()
    )
    made = [
        jwt.decode(proof.form()["client_assertion"], options={"verify_signature": False}) for _ in range(20)
    ]

    assert 20 == len({each["jti"] for each in made})
    assert {} == proof.headers()


def test_a_certificate_needs_a_name_alone() -> None:
    """RFC 8705, section 2: the handshake is the proof."""
    proof = Certificate("gateway")

    assert ({"client_id": "gateway"}, {}) == (proof.form(), proof.headers())


def test_a_secret_goes_into_one_field() -> None:
    """Encoded as RFC 6749, section 2.3.1 and appendix B demand, and never in the form as well."""
    proof = SharedSecret("a b:c", "ü%:")

    assert ({}, {"Authorization": "Basic YStiJTNBYzolQzMlQkMlMjUlM0E="}) == (proof.form(), proof.headers())
