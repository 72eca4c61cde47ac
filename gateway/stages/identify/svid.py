"""Reads and verifies a JWT-SVID (SPIFFE JWT-SVID): a workload's identity as a bearer token.

Which of the two ways a token goes is decided by what it says, once, before any key is looked up: one
whose `iss` is a configured issuer is that issuer's; of the others, one whose `sub` is a SPIFFE ID of a
configured trust domain is a JWT-SVID. Never both, and never the other way after one has failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, final

from gateway.core.refusal import Reason, Refusal, Refused
from gateway.core.spiffe import is_spiffe_id, is_trust_domain, is_workload_id, trust_domain
from gateway.stages.identify.bearer import find_key, named
from gateway.stages.identify.binding import check_binding
from gateway.stages.identify.claims import (
    EXPIRED,
    ISSUED_LATER,
    LIFETIME,
    NOT_YET,
    check_audience,
    date,
    invalid,
)
from gateway.stages.identify.compact import split
from gateway.stages.identify.document import parse
from gateway.stages.identify.issuer import MAX_SKEW
from gateway.stages.identify.jwt import ALGORITHM_REFUSED, KID_INVALID, MAX_KID_CHARACTERS, TYPE_REFUSED
from gateway.stages.identify.signature import check_signature

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from gateway.core.identity import PeerCertificate
    from gateway.core.ports import KeySet
    from gateway.stages.identify.compact import Compact

# JWT-SVID, section 2.1: RSA and EC alone.
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}
)
HEADER: Final = frozenset({"alg", "kid", "typ"})  # section 2: nothing else may be there
TYPES: Final = frozenset({"JWT", "JOSE"})  # section 2.3, case and all

HEADER_REFUSED: Final = Refusal(
    Reason.TOKEN_MALFORMED, "The header of a JWT-SVID has nothing but 'alg', 'kid' and 'typ'."
)
KID_MISSING: Final = Refusal(Reason.TOKEN_MALFORMED, "The token does not name its key.")
OTHER_WORKLOAD: Final = Refusal(
    Reason.TOKEN_BINDING, "The token names another workload than the client certificate."
)


@final
@dataclass(frozen=True, slots=True)
class Domain:
    """What one trust domain is trusted for.

    Args:
        name: The trust domain.
        keys: Its keys for JWT-SVIDs, and nobody else's.
        audience: `aud` of tokens meant for this gateway.
        max_lifetime: Longest time from `iat`, or from now if there is none, to `exp`, seconds.
        skew: Tolerated difference between the clocks, seconds; at most 60.

    Raises:
        ValueError: A value that would accept what nobody meant to accept.
    """

    name: str
    keys: KeySet
    audience: str
    max_lifetime: float = 3600.0
    skew: float = 30.0

    def __post_init__(self) -> None:
        if not is_trust_domain(self.name):
            raise ValueError("name must be that of a trust domain")
        if not self.audience:
            raise ValueError("audience must not be empty")
        if not 0.0 <= self.skew <= MAX_SKEW:
            raise ValueError(f"skew must be between 0 and {MAX_SKEW:g} seconds")
        if not self.max_lifetime > 0.0:
            raise ValueError("max_lifetime must be positive")


class Svid(NamedTuple):
    """A JWT-SVID that passed every check.

    Args:
        id: The SPIFFE ID.
        domain: The trust domain's entry that it was verified under.
        claims: All of them.
        issued: `iat`, or 0 if it does not say.
        expires: `exp`.
        digest: SHA-256 of the token.
        generation: Generation of the domain's keys that it was verified with.
        kid: Name of the key that signed it.
    """

    id: str
    domain: Domain
    claims: Mapping[str, object]
    issued: int
    expires: int
    digest: bytes
    generation: int
    kid: str


class Unverified(NamedTuple):
    """A token that has to satisfy a trust domain. Nothing in it is proven yet."""

    parts: Compact
    domain: Domain
    claims: dict[str, object]


def claimed(token: bytes, issuers: Container[str], domains: Mapping[str, Domain]) -> Unverified | None:
    """Tell whether a token says that it is a JWT-SVID of a configured trust domain.

    Args:
        token: What followed `Bearer `; attacker-controlled.
        issuers: Names of the configured issuers.
        domains: Trust domains by name.

    Returns:
        None if it is to be judged as an issuer's token, unreadable ones included.
    """
    parts = split(token)
    if isinstance(parts, Refusal):
        return None
    claims = parse(parts.payload)
    if isinstance(claims, Refusal):
        return None
    issuer, subject = claims.get("iss"), claims.get("sub")
    if isinstance(issuer, str) and issuer in issuers:
        return None
    if not isinstance(subject, str) or not is_spiffe_id(subject):
        return None
    domain = domains.get(trust_domain(subject))
    return None if domain is None else Unverified(parts, domain, claims)


def _read_header(text: bytes) -> tuple[str, str] | Refusal:
    """Return algorithm and key id."""
    members = parse(text)
    if isinstance(members, Refusal):
        return members
    if not members.keys() <= HEADER:
        return HEADER_REFUSED
    typ = members.get("typ", "JWT")
    if not isinstance(typ, str) or typ not in TYPES:
        return TYPE_REFUSED
    algorithm, kid = members.get("alg"), members.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        return ALGORITHM_REFUSED
    if kid is None:
        return KID_MISSING
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS:
        return KID_INVALID
    return algorithm, kid


def _check_dates(claims: Mapping[str, object], domain: Domain, now: float) -> tuple[int, int] | Refusal:
    """Return `iat` (0 if absent) and `exp`, or why they do not hold."""
    expires = date(claims, "exp")
    if isinstance(expires, Refusal):
        return expires
    issued = date(claims, "iat") if "iat" in claims else 0
    if isinstance(issued, Refusal):
        return issued
    if now >= expires + domain.skew:
        return EXPIRED
    if issued > now + domain.skew:
        return ISSUED_LATER
    begins_at = float(issued) if "iat" in claims else min(now, expires - 1.0)  # what is left is bounded
    if not 0.0 < expires - begins_at <= domain.max_lifetime:
        return LIFETIME
    if "nbf" in claims:
        begins = date(claims, "nbf")
        if isinstance(begins, Refusal):
            return begins
        if begins > now + domain.skew:
            return NOT_YET
    return issued, expires


def check_workload(claims: Mapping[str, object], certificate: PeerCertificate | None) -> str | Refusal:
    """Return the workload, or why the token cannot be its own on this connection.

    A certificate that names another workload refuses the token: two workloads are not one caller, and a
    token that shows up on a stranger's connection is most likely stolen.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not is_workload_id(subject):
        return invalid("sub")
    if certificate is not None and certificate.spiffe_id not in {None, subject}:
        return OTHER_WORKLOAD
    return subject


async def verify_svid(
    token: Unverified,
    digest: bytes,
    certificate: PeerCertificate | None,
    now: float,
    *,
    has_proof: bool = False,
) -> Svid:
    """Verify a JWT-SVID and that it fits the connection.

    Args:
        token: From `claimed`.
        digest: SHA-256 of the token.
        certificate: The connection's certificate, or None.
        now: Seconds since the epoch.
        has_proof: True if the token came under the scheme DPoP: its proof is checked by the caller.

    Raises:
        Refused: One of the `TOKEN_*` reasons.
    """
    domain, claims = token.domain, token.claims
    header = _read_header(token.parts.header)
    if isinstance(header, Refusal):
        raise Refused(header)
    algorithm, kid = header
    key = await find_key(domain.keys, kid, algorithm)
    generation = domain.keys.generation  # no wait between the look-up and here
    signature = token.parts.signature
    refusal = check_signature(algorithm, key, token.parts.signed, signature) or check_audience(
        claims, domain.audience
    )
    if refusal is not None:
        raise Refused(refusal)
    dates = _check_dates(claims, domain, now)
    if isinstance(dates, Refusal):
        raise Refused(dates)
    workload = check_workload(claims, certificate)
    if isinstance(workload, Refusal):
        raise Refused(named(workload, digest))
    refusal = check_binding(claims, certificate, has_proof=has_proof)
    if refusal is not None:
        raise Refused(named(refusal, digest))
    return Svid(workload, domain, claims, *dates, digest, generation, kid)
