"""`jwk`: what is a key set, and what only looks like one."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from gateway.credentials.jwk import MAX_KEYS, MAX_SET_BYTES, JwksError, parse_set
from gateway.credentials.signing import Signer, generate_key, key_set

EC = Signer(generate_key("ES256"), kid="ec").jwk
OKP = Signer(generate_key("EdDSA"), kid="okp").jwk
RSA = Signer(generate_key("PS256"), kid="rsa").jwk
WEAK = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)  # noqa: S505
PRIVATE = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)


def encoded(*keys: object) -> bytes:
    """A JWK set of these keys."""
    return msgspec.json.encode({"keys": keys})


def without(jwk: dict[str, str], *names: str, **changed: object) -> dict[str, object]:
    """A key with changes."""
    return {name: value for name, value in jwk.items() if name not in names} | changed


def test_keys_come_back_with_their_algorithms() -> None:
    """A key that declares an algorithm verifies that one alone; one that does not, what fits it."""
    found = parse_set(encoded(EC, OKP, without(RSA, "alg")))

    assert ["ec", "okp", "rsa"] == [key.kid for key in found]
    assert [{"ES256"}, {"EdDSA", "Ed25519"}] == [set(key.algorithms) for key in found[:2]]
    assert {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} == set(found[2].algorithms)


def test_both_names_of_edwards_keys_are_one() -> None:
    """RFC 9864 renames EdDSA; issuers write either."""
    assert {"EdDSA", "Ed25519"} == set(parse_set(encoded(OKP | {"alg": "Ed25519"}))[0].algorithms)


@pytest.mark.parametrize(
    "other",
    [
        without(EC, kid="x", use="enc"),
        without(EC, "use", kid="x", key_ops=["encrypt"]),
        without(EC, "use", kid="x", key_ops="verify"),
        without(EC, kid="x", use=["sig"]),
        without(EC, kid="x", alg="ECDH-ES"),
        without(EC, kid="x", alg="ES384"),
        without(EC, kid="x", alg="HS256"),
        without(EC, kid="x", alg=["ES256"]),
        without(EC, kid="x", alg={}),
        without(EC, kid="x", crv="secp256k1"),
        without(OKP, kid="x", crv="X25519"),
        {"kty": "unknown", "kid": "x"},
        {"kid": "x"},
    ],
)
def test_keys_for_other_purposes_are_left_out(other: dict[str, object]) -> None:
    """Issuers publish encryption keys beside signature keys; they verify nothing here."""
    assert ["okp"] == [key.kid for key in parse_set(encoded(other, OKP))]
    with pytest.raises(JwksError, match="no key that verifies"):
        parse_set(encoded(other))


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ({"kty": "oct", "k": "c2VjcmV0"}, "secret"),
        ({"kty": "oct"}, "secret"),
        (PRIVATE, "secret"),
        (RSA | {"d": "AQ"}, "secret"),
        (WEAK, "bits"),
        (RSA | {"n": RSA["n"] * 5}, "bits"),
        (RSA | {"e": "AQ"}, "exponent"),
        (RSA | {"e": "BA"}, "exponent"),
        (RSA | {"e": "AQAAAAAB"}, "exponent"),
        (RSA | {"n": RSA["n"] + "="}, "base64url"),
        (without(RSA, "n"), "base64url"),
        (RSA | {"n": 5}, "base64url"),
        (EC | {"x": "A"}, "base64url"),
        (EC | {"x": EC["x"][:-4]}, "length"),
        (EC | {"y": EC["y"][:-4]}, "length"),
        (EC | {"x": EC["y"], "y": EC["x"]}, "curve"),
        (OKP | {"x": OKP["x"][:-4], "kid": "x"}, "Ed25519"),
        (EC | {"kid": 1}, "key id"),
        (EC | {"kid": ""}, "key id"),
        (EC | {"kid": "k" * 257}, "key id"),
    ],
)
def test_dangerous_keys_spoil_the_set(key: dict[str, object], fault: str) -> None:
    """Secrets, weak keys, points off their curve: whoever publishes them publishes no trust."""
    with pytest.raises(JwksError, match=fault):
        parse_set(encoded(OKP, key))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "JSON"),
        (b"[]", "JSON"),
        (b"\xff", "JSON"),
        (b'{"keys":' + b"[" * 2000 + b"]" * 2000 + b"}", "JSON|deep"),
        (b'{"keys":' + b"[" * 9 + b"]" * 9 + b"}", "deep"),
        (b"{}", "list"),
        (b'{"keys":{}}', "list"),
        (b'{"keys":[1]}', "list"),
        (b'{"keys":[]}', "no key"),
        (b'{"keys":[],"keys":[]}', "twice"),
        (encoded(EC, EC), "same key id"),
        (encoded(*[{"kty": "x"}] * (MAX_KEYS + 1)), "more than"),
        (b" " * MAX_SET_BYTES + b"{}", "larger"),
    ],
)
def test_other_documents_are_refused(text: bytes, fault: str) -> None:
    """Bounded, strict, one name per key."""
    with pytest.raises(JwksError, match=fault):
        parse_set(text)


def test_the_set_of_a_signer_is_a_set() -> None:
    """What we publish ourselves, we would accept."""
    assert "ec" == parse_set(key_set(Signer(generate_key("ES256"), kid="ec")))[0].kid
