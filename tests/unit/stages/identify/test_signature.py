"""`signature`: the algorithm fits the key, or nothing is verified."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from gateway.core.refusal import Reason, Refusal
from gateway.credentials.signing import generate_key
from gateway.stages.identify.signature import ALGORITHMS, BAD_SIGNATURE, MISFIT, check_signature

KEYS = {
    "RSA": generate_key("RS256").public_key(),
    "P-256": generate_key("ES256").public_key(),
    "P-384": generate_key("ES384").public_key(),
    "P-521": ec.generate_private_key(ec.SECP521R1()).public_key(),
    "Ed25519": generate_key("EdDSA").public_key(),
}
FITS = {"RS": "RSA", "PS": "RSA", "Ed": "Ed25519", "ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("kind", sorted(KEYS))
def test_every_algorithm_fits_one_kind_of_key(algorithm: str, kind: str) -> None:
    """A key of another kind or curve is a misfit; one that fits is asked, and says no to garbage."""
    is_fitting = kind in (FITS.get(algorithm), FITS.get(algorithm[:2]))

    assert (BAD_SIGNATURE if is_fitting else MISFIT) is check_signature(
        algorithm, KEYS[kind], b"m", b"s" * 64
    )


def test_weak_and_foreign_keys_are_misfits() -> None:
    """Short RSA keys, Ed448, PEM text and bytes verify nothing."""
    weak = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505 - what must be refused
    pem = KEYS["P-256"].public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    assert MISFIT is check_signature("RS256", weak, b"m", b"s")
    assert MISFIT is check_signature("EdDSA", ed448.Ed448PrivateKey.generate().public_key(), b"m", b"s")
    assert MISFIT is check_signature("ES256", pem, b"m", b"s")
    assert MISFIT is check_signature("RS256", None, b"m", b"s")


@pytest.mark.parametrize("name", ["none", "HS256", "HS384", "HS512", "ES256K", ""])
def test_dangerous_algorithms_do_not_exist(name: str) -> None:
    """No configuration can name them."""
    assert name not in ALGORITHMS


def test_refusals_name_their_reason() -> None:
    """A misfit is the algorithm's fault, a bad signature its own."""
    assert (Reason.TOKEN_ALGORITHM, Reason.TOKEN_BAD_SIGNATURE) == (MISFIT.reason, BAD_SIGNATURE.reason)
    assert all(isinstance(one, Refusal) for one in (MISFIT, BAD_SIGNATURE))
