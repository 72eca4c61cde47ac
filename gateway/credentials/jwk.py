"""Parses a JWK set strictly: public signature keys that are strong, named once, and nothing else.

A set is refused whole when it shows that its author does not know what a key set is (a private or
symmetric key, two keys of one name). A single key of a kind that signatures do not need is left out,
as issuers publish encryption keys in the same document (RFC 7517, section 5).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.credentials.documents import DocumentError, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SET_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 64
MAX_DEPTH: Final = 8
MAX_KID_CHARACTERS: Final = 256
RSA_BITS: Final = range(2048, 8193)  # below: forgeable; above: verification becomes a denial of service
RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
EDWARDS_ALGORITHMS: Final = frozenset({"EdDSA", "Ed25519"})  # RFC 8037 and RFC 9864: two names of one thing
PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
CURVES: Final[Mapping[str, tuple[type[ec.EllipticCurve], int, str]]] = MappingProxyType(
    {
        "P-256": (ec.SECP256R1, 32, "ES256"),
        "P-384": (ec.SECP384R1, 48, "ES384"),
        "P-521": (ec.SECP521R1, 66, "ES512"),
    }
)
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class JwksError(ValueError):
    """A key set that cannot be used; the text names the first fault and repeats nothing of the set."""


@final
class VerificationKey(NamedTuple):
    """One public key and the algorithms it may verify."""

    kid: str | None
    key: PublicKey
    algorithms: frozenset[str]


def _octets(jwk: Mapping[str, object], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value) or len(value) % 4 == 1:
        raise JwksError(f"member '{name}' of a key is not base64url")
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))


def _rsa(jwk: Mapping[str, object]) -> tuple[PublicKey, frozenset[str]]:
    modulus, exponent = (int.from_bytes(_octets(jwk, name), "big") for name in ("n", "e"))
    if modulus.bit_length() not in RSA_BITS:
        raise JwksError(f"an RSA key is not of {RSA_BITS.start} to {RSA_BITS.stop - 1} bits")
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 32:  # noqa: PLR2004 - bounds of FIPS 186-5 relaxed to 3
        raise JwksError("an RSA key has an exponent that is no sane one")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key(), RSA_ALGORITHMS


def _ec(jwk: Mapping[str, object]) -> tuple[PublicKey, frozenset[str]] | None:
    found = CURVES.get(str(jwk.get("crv")))
    if found is None:
        return None
    curve, size, algorithm = found
    x, y = _octets(jwk, "x"), _octets(jwk, "y")
    if len(x) != size or len(y) != size:  # RFC 7518, section 6.2.1.2: full size, always
        raise JwksError("a coordinate of an EC key has the wrong length")
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve())
    try:
        return numbers.public_key(), frozenset({algorithm})
    except ValueError as off_curve:
        raise JwksError("an EC key is not a point of its curve") from off_curve


def _okp(jwk: Mapping[str, object]) -> tuple[PublicKey, frozenset[str]] | None:
    if jwk.get("crv") != "Ed25519":
        return None
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(_octets(jwk, "x")), EDWARDS_ALGORITHMS
    except ValueError as wrong:
        raise JwksError("an Ed25519 key has the wrong length") from wrong


def _is_for_signatures(jwk: Mapping[str, object]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _algorithms(jwk: Mapping[str, object], fitting: frozenset[str]) -> frozenset[str]:
    declared = jwk.get("alg")
    if declared is None:
        return fitting
    if not isinstance(declared, str) or declared not in fitting:
        return frozenset()
    return EDWARDS_ALGORITHMS if declared in EDWARDS_ALGORITHMS else frozenset({declared})


def parse_key(jwk: Mapping[str, object]) -> VerificationKey | None:
    """Parse one JWK.

    Args:
        jwk: A JSON object.

    Returns:
        The key, or None if it is not one that verifies signatures of supported algorithms.

    Raises:
        JwksError: A private or symmetric key, or a public one that is malformed or weak.
    """
    if jwk.get("kty") == "oct" or not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise JwksError("the set publishes a secret: a private or symmetric key")
    if not _is_for_signatures(jwk):
        return None
    kid = jwk.get("kid")
    if kid is not None and (not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS):
        raise JwksError("a key id is not a short string")
    match jwk.get("kty"):
        case "RSA":
            found: tuple[PublicKey, frozenset[str]] | None = _rsa(jwk)
        case "EC":
            found = _ec(jwk)
        case "OKP":
            found = _okp(jwk)
        case _:
            found = None
    if found is None:
        return None
    algorithms = _algorithms(jwk, found[1])
    return VerificationKey(kid, found[0], algorithms) if algorithms else None


def parse_set(text: bytes) -> tuple[VerificationKey, ...]:
    """Parse a JWK set.

    Args:
        text: The document; partly trusted: it comes from the issuer, over a network or a file.

    Returns:
        Its signature keys, at least one.

    Raises:
        JwksError: Too large, malformed, a secret in it, duplicate key ids, or no usable key.
    """
    try:
        document = parse_object(text, MAX_SET_BYTES, MAX_DEPTH)
    except DocumentError as unusable:
        raise JwksError(str(unusable)) from unusable
    entries = document.get("keys")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise JwksError("the set has no list of keys")
    if len(entries) > MAX_KEYS:
        raise JwksError(f"the set has more than {MAX_KEYS} keys")
    kids = [entry["kid"] for entry in entries if isinstance(entry.get("kid"), str)]
    if len(kids) != len(set(kids)):
        raise JwksError("two keys have the same key id")
    keys = tuple(key for entry in entries if (key := parse_key(entry)) is not None)
    if not keys:
        raise JwksError("the set has no key that verifies signatures")
    return keys
