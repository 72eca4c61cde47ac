"""Signs compact JWS with a private key of ours. Verifies nothing.

Used for the gateway's own assertions and by the development issuer. Algorithms are asymmetric only:
who can verify what is signed here can never sign it.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Final, Self, final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

RSA_BITS: Final = 2048
RSA_EXPONENT: Final = 65537
THUMBPRINT_MEMBERS: Final = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
ALGORITHMS: Final = ("ES256", "ES384", "EdDSA", "Ed25519", "PS256", "RS256")


def base64url(data: bytes) -> bytes:
    """Encode without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=")


def generate_key(algorithm: str) -> PrivateKey:
    """Make a new private key that fits an algorithm.

    Raises:
        ValueError: The algorithm is none of `ALGORITHMS`.
    """
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case "EdDSA" | "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "PS256" | "RS256":
            return rsa.generate_private_key(RSA_EXPONENT, RSA_BITS)
        case _:
            raise ValueError(f"algorithm is none of {', '.join(ALGORITHMS)}")


def private_pem(key: PrivateKey) -> bytes:
    """Serialise a private key as unencrypted PKCS #8; the file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_private_key(pem: bytes) -> PrivateKey:
    """Load an unencrypted private key that signing can use.

    Raises:
        ValueError: Not PEM, encrypted, too weak, or of a kind that nothing here signs with.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as encrypted:
        raise ValueError("private key is encrypted") from encrypted
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < RSA_BITS:
        raise ValueError(f"RSA key is shorter than {RSA_BITS} bits")
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise ValueError("private key is none of RSA, EC, Ed25519")  # noqa: TRY004 - the file is wrong, not the code
    return key


def natural_algorithm(key: PrivateKey) -> str:
    """Name the algorithm that a key is meant for, where its kind leaves one choice.

    Raises:
        ValueError: An elliptic curve that no algorithm here uses.
    """
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, rsa.RSAPrivateKey):
        return "PS256"
    name = {"secp256r1": "ES256", "secp384r1": "ES384"}.get(key.curve.name)
    if name is None:
        raise ValueError("EC key is on neither P-256 nor P-384")
    return name


def _public_jwk(key: PrivateKey) -> dict[str, str]:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: str(jwk[name]) for name in THUMBPRINT_MEMBERS[str(jwk["kty"])]}


def _sign_function(key: PrivateKey, algorithm: str) -> Callable[[bytes], bytes]:
    """Bind a key to the one algorithm it signs with; a pair that does not fit is an error."""
    if isinstance(key, ed25519.Ed25519PrivateKey) and algorithm in {"EdDSA", "Ed25519"}:
        return key.sign
    if isinstance(key, ec.EllipticCurvePrivateKey) and algorithm == natural_algorithm(key):
        digest = ECAlgorithm.SHA256 if algorithm == "ES256" else ECAlgorithm.SHA384
        ecdsa = ECAlgorithm(digest)
        return lambda message: ecdsa.sign(message, key)
    if isinstance(key, rsa.RSAPrivateKey) and algorithm in {"PS256", "RS256"}:
        kind = RSAPSSAlgorithm if algorithm == "PS256" else RSAAlgorithm
        padded = kind(RSAAlgorithm.SHA256)
        return lambda message: padded.sign(message, key)
    raise ValueError("algorithm does not fit the private key")


@final
class Signer:
    """One private key with its one algorithm.

    Args:
        key: The private key.
        algorithm: One of `ALGORITHMS`, fitting the key; None takes the natural one.
        kid: Key id; None takes the thumbprint (RFC 7638).

    Raises:
        ValueError: Key and algorithm do not fit.
    """

    __slots__ = ("_sign", "algorithm", "jwk", "kid", "public", "thumbprint")

    def __init__(self, key: PrivateKey, algorithm: str | None = None, kid: str | None = None) -> None:
        self.public = public = _public_jwk(key)
        self.thumbprint = base64url(hashlib.sha256(msgspec.json.encode(public)).digest()).decode()
        self.algorithm = algorithm or natural_algorithm(key)
        self.kid = kid or self.thumbprint
        self.jwk = {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig"}
        self._sign = _sign_function(key, self.algorithm)

    @classmethod
    def from_pem(cls, pem: bytes, algorithm: str | None = None, kid: str | None = None) -> Self:
        """Load the key from PEM, then as the constructor."""
        return cls(load_private_key(pem), algorithm, kid)

    def sign(self, payload: Mapping[str, object] | bytes, header: Mapping[str, object]) -> bytes:
        """Sign a payload.

        Args:
            payload: Claims, or the exact bytes.
            header: The protected header, whole: nothing is added.

        Returns:
            The compact JWS.
        """
        body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        message = base64url(msgspec.json.encode(header)) + b"." + base64url(body)
        return message + b"." + base64url(self._sign(message))


def key_set(*signers: Signer) -> bytes:
    """Encode the public keys as a JWK set (RFC 7517, section 5)."""
    return msgspec.json.encode({"keys": [signer.jwk for signer in signers]})
