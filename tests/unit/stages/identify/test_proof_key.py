"""`proof_key`: whose proof it is, and which keys can make one at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.proof_key import (
    ALGORITHM_REFUSED,
    CRITICAL,
    KEY_MISFIT,
    KEY_MISSING,
    KEY_OTHER,
    KEY_REFUSED,
    NOT_JSON,
    TYPE_REFUSED,
    ProofKey,
    ProofKeys,
    read_header,
    thumbprint,
)

from .parts import signer
from .proofs import ALGORITHMS, read_key

if TYPE_CHECKING:
    from collections.abc import Mapping

WEAK = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)  # noqa: S505 - on purpose
HOLDER = signer("ES256", "holder")


def header(**changes: Any) -> bytes:
    """A good header, with changes; None leaves a member out."""
    members = {"typ": "dpop+jwt", "alg": "ES256", "jwk": HOLDER.public} | changes
    return msgspec.json.encode({name: value for name, value in members.items() if value is not None})


def read(text: bytes) -> ProofKey | Refusal:
    """Read a header as the program does."""
    return read_header(text, ALGORITHMS, read_key)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_has_its_key(algorithm: str) -> None:
    """The key comes from the header, and its thumbprint is RFC 7638's."""
    one = signer(algorithm)
    found = read(header(alg=algorithm, jwk=one.public))

    assert isinstance(found, ProofKey)
    assert (algorithm, one.thumbprint) == (found.algorithm, found.thumbprint)


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    """RFC 7638, section 3.1, and RFC 9449, section 6.1; other members and their order do not count."""
    rfc7638 = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi"
        "FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d"
        "0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-cs"
        "FCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    rfc9449 = {
        "kty": "EC",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        "crv": "P-256",
    }

    assert "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" == thumbprint(rfc7638)
    assert "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" == thumbprint(rfc9449)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", NOT_JSON),
        (b"[]", NOT_JSON),
        (b"\xef\xbb\xbf{}", NOT_JSON),
        (header().decode().encode("utf-16"), NOT_JSON),
        (b'{"typ":"dpop+jwt","typ":"dpop+jwt"}', NOT_JSON),
        (header().replace(b'"crv"', b'"x":"","crv"'), NOT_JSON),
        (header(crit=["x"]), CRITICAL),
        (header(b64=False), CRITICAL),
        (header(zip="DEF"), CRITICAL),
        (header(enc="A128GCM"), CRITICAL),
        (header(typ=None), TYPE_REFUSED),
        (header(typ=7), TYPE_REFUSED),
        (header(typ="JWT"), TYPE_REFUSED),
        (header(typ="at+jwt"), TYPE_REFUSED),
        (header(typ="dpop+jwt "), TYPE_REFUSED),
        (header(alg=None), ALGORITHM_REFUSED),
        (header(alg=["ES256"]), ALGORITHM_REFUSED),
        (header(alg="none"), ALGORITHM_REFUSED),
        (header(alg="NoNe"), ALGORITHM_REFUSED),
        (header(alg="HS256"), ALGORITHM_REFUSED),
        (header(alg="es256"), ALGORITHM_REFUSED),
        (header(alg="ES512"), ALGORITHM_REFUSED),
        (header(jwk=None), KEY_MISSING),
        (header(jwk="x"), KEY_MISSING),
        (header(jwk=[HOLDER.public]), KEY_MISSING),
        (header(jwk={}), KEY_REFUSED),
        (header(jwk={"kty": "oct", "k": "c2VjcmV0"}), KEY_REFUSED),
        (header(jwk=HOLDER.public | {"d": "AAAA"}), KEY_REFUSED),
        (header(jwk=HOLDER.public | {"k": "AAAA"}), KEY_REFUSED),
        (header(jwk=HOLDER.public | {"use": "enc"}), KEY_REFUSED),
        (header(jwk=HOLDER.public | {"alg": ["ES256"]}), KEY_REFUSED),
        (header(jwk=HOLDER.public | {"key_ops": ["sign"]}), KEY_REFUSED),
        (header(jwk=HOLDER.public | {"y": HOLDER.public["x"]}), KEY_REFUSED),
        (header(jwk=HOLDER.public | {"y": HOLDER.public["y"] + "="}), KEY_REFUSED),
        (header(jwk=HOLDER.public | {"crv": "secp256k1"}), KEY_REFUSED),
        (header(jwk=HOLDER.public | {"kty": "RSA"}), KEY_REFUSED),
        (header(alg="RS256", jwk=WEAK), KEY_REFUSED),
        (header(alg="RS256", jwk=signer("RS256").public | {"e": "AQ"}), KEY_REFUSED),
        (header(alg="ES384"), KEY_MISFIT),
        (header(alg="EdDSA"), KEY_MISFIT),
        (header(alg="PS256", jwk=HOLDER.public | {"alg": "ES256"}), KEY_MISFIT),
    ],
)
def test_what_is_no_header_of_a_proof(text: bytes, expected: Refusal) -> None:
    """One type, asymmetric algorithms, one strong public key that fits: anything else is refused."""
    assert expected is read(text)


@pytest.mark.parametrize(
    "typ",
    [
        "JWT",
        "at+jwt",
        "application/at+jwt",
        "secevent+jwt",
        "logout+jwt",
        "wit+jwt",
        "wpt+jwt",
        "txntoken+jwt",
        "dpop",
        "dpop+jwt;x=1",
        "text/dpop+jwt",
        "dpop+jwt\0",
    ],
)
def test_siblings_are_no_proofs(typ: str) -> None:
    """A token of another kind is never taken for a proof, whoever signed it (RFC 8725, section 3.12)."""
    assert TYPE_REFUSED is read(header(typ=typ))


def test_the_type_is_a_media_type() -> None:
    """Case does not count, and `application/` may stand there (RFC 7515, section 4.1.9)."""
    assert isinstance(read(header(typ="application/DPoP+JWT")), ProofKey)


def test_keys_elsewhere_are_never_looked_at() -> None:
    """`jku`, `x5u` and `kid` may stand there and mean nothing."""
    found = read(header(jku="https://127.0.0.1:1/", x5u="https://127.0.0.1:1/", kid="../../etc", x5c=["AA"]))

    assert isinstance(found, ProofKey)


def test_a_key_is_read_once_and_only_for_its_owner() -> None:
    """A header that was read is remembered, and another token's thumbprint still refuses it."""
    asked: list[Mapping[str, object]] = []

    def counting(jwk: Mapping[str, object], /) -> tuple[object, frozenset[str]] | None:
        asked.append(jwk)
        return read_key(jwk)

    keys = ProofKeys(ALGORITHMS, counting, 10)
    first, second = keys.find(header(), HOLDER.thumbprint), keys.find(header(), HOLDER.thumbprint)

    assert first is second
    assert KEY_OTHER is keys.find(header(), "x" * 43)
    assert 1 == len(asked)
    assert Reason.PROOF_KEY is KEY_OTHER.reason


def test_what_nobody_vouched_for_is_not_remembered() -> None:
    """Strangers cannot fill the memory, and it stays within its bounds for others."""
    keys = ProofKeys(ALGORITHMS, read_key, 2)
    for number in range(10):
        assert KEY_OTHER is keys.find(header(kid=str(number)), "x" * 43)
        assert CRITICAL is keys.find(header(crit=[number]), HOLDER.thumbprint)
    assert 0 == len(keys)

    for number in range(10):
        keys.find(header(kid=str(number)), HOLDER.thumbprint)
        keys.find(header(kid="0"), HOLDER.thumbprint)  # in use: moves over, and stays known
        assert 4 >= len(keys)
