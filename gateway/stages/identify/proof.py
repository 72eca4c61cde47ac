"""Verifies one proof of possession, all but its replay (RFC 9449, section 4.3).

Syntax, header, key, signature, and then the claims: that the proof was made for this token, this
method, this URL, just now, and with a nonce of ours where nonces are demanded. What a proof does not
cover is the body (section 11.7).
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, final

from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.claims import MAX_DATE
from gateway.stages.identify.compact import base64url, split
from gateway.stages.identify.document import parse
from gateway.stages.identify.signature import ALGORITHMS, check_signature
from gateway.stages.identify.target import find_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.call import Call
    from gateway.stages.identify.nonce import Nonces
    from gateway.stages.identify.proof_key import ProofKeys

MAX_ID_CHARACTERS: Final = 256  # common clients take 16 to 43
MAX_AGE: Final = 300.0  # seconds: what is older was made in advance, or by a broken clock
MAX_AHEAD: Final = 60.0  # seconds

MALFORMED: Final = Refusal(Reason.PROOF_MALFORMED, "The proof is not a compact JWS of three base64url parts.")
NOT_JSON: Final = Refusal(Reason.PROOF_MALFORMED, "The proof's payload is not a JSON object in UTF-8.")
ID_INVALID: Final = Refusal(Reason.PROOF_MALFORMED, "The proof has no 'jti' that is a short string.")
DATE_INVALID: Final = Refusal(Reason.PROOF_MALFORMED, "The proof has no 'iat' that is a date.")
NONCE_INVALID: Final = Refusal(Reason.PROOF_MALFORMED, "The proof's 'nonce' is not a string.")
BAD_SIGNATURE: Final = Refusal(Reason.PROOF_BAD_SIGNATURE)
OTHER_METHOD: Final = Refusal(Reason.PROOF_MISMATCH, "The proof's 'htm' is not the method of the request.")
OTHER_TARGET: Final = Refusal(
    Reason.PROOF_MISMATCH, "The proof's 'htu' is not this path at an origin of this gateway."
)
OTHER_TOKEN: Final = Refusal(Reason.PROOF_MISMATCH, "The proof's 'ath' is not the digest of the token.")
OLD: Final = Refusal(Reason.PROOF_STALE, "The proof was made too long ago.")
FUTURE: Final = Refusal(Reason.PROOF_STALE, "The proof was made in the future.")


@final
class ProofRules:
    """What a proof must be.

    Args:
        origins: Origins by which clients reach us: normalised scheme, host and port.
        algorithms: Accepted values of `alg`; asymmetric only.
        max_age: How old a proof may be, seconds; what clocks may be apart is part of it.
        ahead: How far in the future it may have been made, seconds.
        nonces: Makes and checks the nonces that every proof must carry, or None: none is demanded.

    Raises:
        ValueError: A value that would accept what nobody meant to accept.
    """

    __slots__ = ("ahead", "algorithms", "max_age", "nonces", "origins")

    def __init__(
        self,
        origins: tuple[str, ...],
        algorithms: frozenset[str],
        *,
        max_age: float = 60.0,
        ahead: float = 5.0,
        nonces: Nonces | None = None,
    ) -> None:
        if not origins:
            raise ValueError("proofs need an origin that they can be made for")
        if not algorithms or not algorithms <= ALGORITHMS.keys():
            raise ValueError(f"algorithms must be some of {', '.join(sorted(ALGORITHMS))}")
        if not 0.0 < max_age <= MAX_AGE:
            raise ValueError(f"max_age must be at most {MAX_AGE:g} seconds")
        if not 0.0 <= ahead <= MAX_AHEAD:
            raise ValueError(f"ahead must be between 0 and {MAX_AHEAD:g} seconds")
        self.origins = origins
        self.algorithms = algorithms
        self.max_age = max_age
        self.ahead = ahead
        self.nonces = nonces


@final
class Proof(NamedTuple):
    """A proof that holds for a request, unless it was used before.

    Args:
        name: Digest that stands for it: of its `jti`, its key and its target.
        issued: `iat`.
    """

    name: bytes
    issued: int


def check_proof(
    proof: bytes,
    call: Call,
    token_digest: bytes,
    expected: str,
    rules: ProofRules,
    keys: ProofKeys,
    now: float,
) -> Proof | Refusal:
    """Verify a proof for a request.

    Args:
        proof: Value of the one `DPoP` field; attacker-controlled.
        call: The request.
        token_digest: SHA-256 of the access token beside it.
        expected: Thumbprint of the key that this token, verified, is bound to.
        rules: What a proof must be.
        keys: Reads and remembers keys.
        now: Seconds since the epoch.

    Returns:
        The proof, still to be claimed, or why it is refused.
    """
    parts = split(proof)
    if isinstance(parts, Refusal):
        return MALFORMED
    key = keys.find(parts.header, expected)
    if isinstance(key, Refusal):
        return key
    claims = parse(parts.payload)
    if isinstance(claims, Refusal):
        return NOT_JSON
    if check_signature(key.algorithm, key.key, parts.signed, parts.signature) is not None:
        return BAD_SIGNATURE
    return _check_claims(claims, call, token_digest, expected, rules, now)


def _check_claims(
    claims: Mapping[str, object],
    call: Call,
    token_digest: bytes,
    thumbprint: str,
    rules: ProofRules,
    now: float,
) -> Proof | Refusal:
    name, issued = claims.get("jti"), claims.get("iat")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID_CHARACTERS:
        return ID_INVALID
    if type(issued) is not int or not 0 <= issued <= MAX_DATE:  # a bool is an int, and no date
        return DATE_INVALID
    if claims.get("htm") != call.method:
        return OTHER_METHOD
    url = claims.get("htu")
    target = find_target(url, rules.origins, call.path) if isinstance(url, str) else None
    if target is None:
        return OTHER_TARGET
    if not _is_digest(claims.get("ath"), token_digest):
        return OTHER_TOKEN
    if now - issued > rules.max_age:
        return OLD
    if issued - now > rules.ahead:
        return FUTURE
    if rules.nonces is not None:
        refusal = _check_nonce(claims.get("nonce"), thumbprint, rules.nonces, now)
        if refusal is not None:
            return refusal
    written = b"dpop\0%b\0%b\0%b" % (
        thumbprint.encode(),
        target.encode(),
        name.encode("utf-8", "surrogatepass"),
    )
    return Proof(sha256(written).digest(), issued)


def _is_digest(written: object, digest: bytes) -> bool:
    """Tell whether `ath` is the base64url SHA-256 of the token, in constant time."""
    return isinstance(written, str) and hmac.compare_digest(
        written.encode("utf-8", "surrogatepass"), base64url(digest).encode()
    )


def _check_nonce(nonce: object, thumbprint: str, nonces: Nonces, now: float) -> Refusal | None:
    """Demand a nonce of ours; whoever proved the key and has none is given one."""
    if nonce is not None and not isinstance(nonce, str):
        return NONCE_INVALID
    if nonce is not None and nonces.is_good(nonce, thumbprint, now):
        return None
    return Refusal(
        Reason.PROOF_NONCE,
        "The proof must carry the nonce of this answer's DPoP-Nonce field.",
        note="nonce is missing" if nonce is None else "nonce is not ours, or too old",
        nonce=nonces.make(thumbprint, now),
    )
