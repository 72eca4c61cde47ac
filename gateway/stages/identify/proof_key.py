"""Reads the header of a proof of possession: its type, its algorithm, and the one key it brings.

Here, and nowhere else, a key comes from the credential itself: it proves nothing until its thumbprint
is the one that a verified token names. A client's header is the same with every proof, so what was
read is remembered by digest, bounded, and only once such a token has vouched for the key.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, final

import msgspec

from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.compact import base64url
from gateway.stages.identify.document import parse
from gateway.stages.identify.issuer import media_type
from gateway.stages.identify.jwt import MEANING_CHANGERS

if TYPE_CHECKING:
    from collections.abc import Mapping

PROOF_TYPE: Final = "dpop+jwt"
# RFC 7638, section 3.2: the members that make a key, in the order of their names
THUMBPRINT_MEMBERS: Final = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}

NOT_JSON: Final = Refusal(Reason.PROOF_MALFORMED, "The proof's header is not a JSON object in UTF-8.")
CRITICAL: Final = Refusal(
    Reason.PROOF_MALFORMED, "The proof's header demands an extension that is not supported here."
)
TYPE_REFUSED: Final = Refusal(Reason.PROOF_MALFORMED, "The proof's type is not dpop+jwt.")
ALGORITHM_REFUSED: Final = Refusal(Reason.PROOF_KEY, note="alg is not accepted for proofs")
KEY_MISSING: Final = Refusal(Reason.PROOF_KEY, note="jwk is missing or no object")
KEY_REFUSED: Final = Refusal(Reason.PROOF_KEY, note="jwk is not one strong public key")
KEY_MISFIT: Final = Refusal(Reason.PROOF_KEY, note="alg does not fit jwk")
KEY_OTHER: Final = Refusal(Reason.PROOF_KEY, note="jwk is not the key that the token is bound to")


class KeyParser(Protocol):
    """Reads a public key that somebody unproven sends along (RFC 7517, section 4); whoever reads issuers'."""

    def __call__(self, jwk: Mapping[str, object], /) -> tuple[object, frozenset[str]] | None:
        """Return a strong public key and the algorithms that it may verify.

        Args:
            jwk: A JSON object; attacker-controlled.

        Returns:
            Both, or None: no kind of key that verifies signatures here.

        Raises:
            ValueError: A private or symmetric key, or one that is malformed or weak.
        """


@final
class ProofKey(NamedTuple):
    """The key of a proof, for its one algorithm."""

    algorithm: str
    key: object
    thumbprint: str


def thumbprint(jwk: Mapping[str, object]) -> str:
    """Compute the SHA-256 thumbprint of a public key that was parsed (RFC 7638, section 3)."""
    members = {name: jwk[name] for name in THUMBPRINT_MEMBERS[str(jwk["kty"])]}
    return base64url(sha256(msgspec.json.encode(members)).digest())


def read_header(text: bytes, algorithms: frozenset[str], parse_key: KeyParser) -> ProofKey | Refusal:
    """Read the header of a proof.

    Args:
        text: The decoded header; attacker-controlled.
        algorithms: Accepted values of `alg`; asymmetric only.
        parse_key: Reads public keys, strong ones alone.

    Returns:
        Its key, or why it cannot be the header of a proof.
    """
    members = parse(text)
    if isinstance(members, Refusal):
        return NOT_JSON
    if not MEANING_CHANGERS.isdisjoint(members):
        return CRITICAL
    typ, algorithm, jwk = members.get("typ"), members.get("alg"), members.get("jwk")
    if not isinstance(typ, str) or media_type(typ) != PROOF_TYPE:
        return TYPE_REFUSED
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        return ALGORITHM_REFUSED
    if not isinstance(jwk, dict):
        return KEY_MISSING
    try:
        found = parse_key(jwk)
    except ValueError:
        return KEY_REFUSED
    if found is None:
        return KEY_REFUSED
    key, fitting = found
    if algorithm not in fitting:
        return KEY_MISFIT
    return ProofKey(algorithm, key, thumbprint(jwk))


@final
class ProofKeys:
    """Keys of proofs, each read once.

    Args:
        algorithms: Accepted values of `alg`; asymmetric only.
        parse_key: Reads public keys, strong ones alone.
        capacity: How many are surely remembered; at most twice as many.
    """

    __slots__ = ("_algorithms", "_capacity", "_old", "_parse", "_young")

    def __init__(self, algorithms: frozenset[str], parse_key: KeyParser, capacity: int) -> None:
        self._algorithms = algorithms
        self._parse = parse_key
        self._capacity = capacity
        self._young: dict[bytes, ProofKey] = {}
        self._old: dict[bytes, ProofKey] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def find(self, header: bytes, expected: str) -> ProofKey | Refusal:
        """Return the key of a header, if it is the one expected.

        Args:
            header: The decoded header of a proof; attacker-controlled.
            expected: Thumbprint that a verified token names.
        """
        digest = sha256(header).digest()
        found: ProofKey | Refusal | None = self._young.get(digest)
        is_young = found is not None
        if found is None:
            found = self._old.get(digest) or read_header(header, self._algorithms, self._parse)
        if isinstance(found, Refusal):
            return found
        if found.thumbprint != expected:
            return KEY_OTHER
        if not is_young:
            self._put(digest, found)
        return found

    def _put(self, digest: bytes, key: ProofKey) -> None:
        if len(self._young) >= self._capacity:
            self._old = self._young
            self._young = {}
        self._young[digest] = key
