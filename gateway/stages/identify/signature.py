"""Tells whether a key signed a message. The algorithm is chosen by us, and must fit the key.

PyJWT and cryptography do the arithmetic. Symmetric algorithms and `none` do not exist here, so no
public key can ever be taken for a shared secret.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

from gateway.core.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_RSA_BITS: Final = 2048  # RFC 7518, section 3.3

_Scheme = ECAlgorithm | OKPAlgorithm | RSAAlgorithm

ALGORITHMS: Final[Mapping[str, _Scheme]] = MappingProxyType(
    {
        "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
        "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
        "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
        "PS256": RSAPSSAlgorithm(RSAAlgorithm.SHA256),
        "PS384": RSAPSSAlgorithm(RSAAlgorithm.SHA384),
        "PS512": RSAPSSAlgorithm(RSAAlgorithm.SHA512),
        "ES256": ECAlgorithm(ECAlgorithm.SHA256),
        "ES384": ECAlgorithm(ECAlgorithm.SHA384),
        "ES512": ECAlgorithm(ECAlgorithm.SHA512),
        "EdDSA": OKPAlgorithm(),
        "Ed25519": OKPAlgorithm(),  # RFC 9864 names the curve; PyJWT does not know the name
    }
)
CURVES: Final[Mapping[str, str]] = MappingProxyType(
    {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
)

MISFIT: Final = Refusal(Reason.TOKEN_ALGORITHM, "The token's algorithm does not fit its key.")
BAD_SIGNATURE: Final = Refusal(Reason.TOKEN_BAD_SIGNATURE, "The token's signature is not valid.")


def check_signature(algorithm: str, key: object, signed: bytes, signature: bytes) -> Refusal | None:
    """Verify one signature.

    Args:
        algorithm: One of `ALGORITHMS`, accepted for the issuer.
        key: Public key as the key set returned it.
        signed: The octets that were signed.
        signature: The signature; attacker-controlled.

    Returns:
        None if the key made the signature, or why not.
    """
    scheme = ALGORITHMS[algorithm]
    if isinstance(scheme, RSAAlgorithm):
        if not isinstance(key, RSAPublicKey) or key.key_size < MIN_RSA_BITS:
            return MISFIT
        is_valid = scheme.verify(signed, key, signature)
    elif isinstance(scheme, ECAlgorithm):
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != CURVES[algorithm]:
            return MISFIT
        is_valid = scheme.verify(signed, key, signature)
    else:
        if not isinstance(key, Ed25519PublicKey):
            return MISFIT
        is_valid = scheme.verify(signed, key, signature)
    return None if is_valid else BAD_SIGNATURE
