"""`signing`: one key, one algorithm."""

from __future__ import annotations

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from gateway.credentials.signing import (
    ALGORITHMS,
    Signer,
    generate_key,
    key_set,
    load_private_key,
    private_pem,
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_signed_verifies(algorithm: str) -> None:
    """Every algorithm, verified by PyJWT with the published key."""
    signer = Signer.from_pem(private_pem(generate_key(algorithm)), algorithm, "k1")
    token = signer.sign({"a": 1}, {"alg": algorithm}).decode()
    jwk = dict(msgspec.json.decode(key_set(signer))["keys"][0])
    assert (algorithm, "k1", "sig") == (jwk["alg"], jwk["kid"], jwk["use"])
    assert {"d", "p", "q"}.isdisjoint(jwk)
    if algorithm == "Ed25519":  # PyJWT does not know the newer name
        jwk["alg"] = "EdDSA"
        token = signer.sign({"a": 1}, {"alg": "EdDSA"}).decode()

    assert {"a": 1} == jwt.decode(token, jwt.PyJWK(jwk), algorithms=[jwk["alg"]])


def test_the_thumbprint_is_the_default_key_id() -> None:
    """RFC 7638: the same key has the same id everywhere."""
    key = generate_key("EdDSA")

    assert Signer(key).kid == Signer(key, "Ed25519").kid
    assert 43 == len(Signer(key).kid)


@pytest.mark.parametrize(
    ("algorithm", "natural"), [("ES256", "ES256"), ("ES384", "ES384"), ("EdDSA", "EdDSA"), ("RS256", "PS256")]
)
def test_keys_have_a_natural_algorithm(algorithm: str, natural: str) -> None:
    """RSA keys sign with PSS unless told otherwise."""
    assert natural == Signer(generate_key(algorithm)).algorithm


def test_misfits_are_refused() -> None:
    """Unknown algorithms, keys of another kind, curve, size, and keys that sign nothing here."""
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    encrypted = generate_key("ES256").private_bytes(*pem, serialization.BestAvailableEncryption(b"x"))
    plain = serialization.NoEncryption()
    weak = rsa.generate_private_key(65537, 1024).private_bytes(*pem, plain)  # noqa: S505
    other = ed448.Ed448PrivateKey.generate().private_bytes(*pem, plain)

    with pytest.raises(ValueError, match="none of"):
        generate_key("HS256")
    for key, algorithm in (
        (generate_key("ES256"), "ES384"),
        (generate_key("EdDSA"), "ES256"),
        (generate_key("RS256"), "none"),
    ):
        with pytest.raises(ValueError, match="fit"):
            Signer(key, algorithm)
    with pytest.raises(ValueError, match="neither"):
        Signer(ec.generate_private_key(ec.SECP521R1()), None)
    for text, fault in (
        (encrypted, "encrypted"),
        (weak, "shorter"),
        (other, "none of"),
        (b"x", "PEM|deserialize|load"),
    ):
        with pytest.raises(ValueError, match=fault):
            load_private_key(text)
