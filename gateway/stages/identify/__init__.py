"""Who calls: turns the peer's certificate and the bearer token into one proven identity.

A token's subject is the caller, and a certificate beside it is evidence; a certificate alone names
its owner. What was proven is remembered by digest, never beyond the end of any part of the proof,
and is void once the issuer's keys change; whoever was revoked since is nobody. Never decides what a caller
may do.
"""

from __future__ import annotations

from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, final
from urllib.parse import unquote_plus

from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.core.revocation import NOTHING_REVOKED
from gateway.stages.identify.bearer import bearer_token, verify
from gateway.stages.identify.cache import ProofCache, Proven
from gateway.stages.identify.certificate import check_certificate
from gateway.stages.identify.identity import anonymous, from_certificate, from_token
from gateway.stages.identify.issuer import Issuer
from gateway.stages.identify.roles import RoleMap, RoleRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.call import Call
    from gateway.core.identity import Identity, PeerCertificate
    from gateway.core.ports import Revocations

__all__ = ["Identification", "Issuer", "RoleMap", "RoleRule", "identify"]

# Credentials that are not verified here: beside a verified one they would be a second opinion on
# who calls, alone they would be an unverified one.
FOREIGN: Final = (
    b"dpop",
    b"x-api-key",
    b"api-key",
    b"proxy-authorization",
    b"workload-identity-token",
    b"workload-proof-token",
    b"txn-token",
)
FOREIGN_SET: Final = frozenset(FOREIGN)
UNCLEARED: Final = -1  # no version of the revocations

MISSING: Final = Refusal(Reason.CREDENTIAL_MISSING, "A client certificate or a bearer token is required.")
AMBIGUOUS: Final = Refusal(
    Reason.CREDENTIAL_AMBIGUOUS, "The request carries more than one kind of credential."
)
UNSUPPORTED: Final = Refusal(
    Reason.CREDENTIAL_SCHEME, "The request carries a kind of credential that is not accepted here."
)
STALE: Final = Refusal(
    Reason.REVOCATIONS_STALE,
    "Whether credentials were revoked cannot be told at the moment.",
    source=Source.GATEWAY,
    retry_after=1.0,
)
IN_QUERY: Final = Refusal(Reason.CREDENTIAL_SCHEME, "A token in the query string is not accepted.")


@final
class Identification:
    """How callers prove who they are; part of the frozen runtime. Only its caches change.

    Args:
        issuers: Trusted token issuers, each `iss` once.
        roles: The configuration's roles.
        anonymous_roles: Roles of callers without credentials; None refuses them.
        revocations: Who is no longer believed.
        realm: Name of the protection space in challenges (RFC 9110, section 11.5).
        capacity: How many tokens, certificates and addresses are remembered at least, each.

    Raises:
        ValueError: Two entries for one issuer.
    """

    __slots__ = (
        "anonymous_roles",
        "certificates",
        "issuers",
        "realm",
        "revocations",
        "roles",
        "strangers",
        "tokens",
    )

    def __init__(
        self,
        issuers: Iterable[Issuer] = (),
        *,
        roles: RoleMap | None = None,
        anonymous_roles: frozenset[str] | None = None,
        revocations: Revocations = NOTHING_REVOKED,
        realm: str = "gateway",
        capacity: int = 20_000,
    ) -> None:
        by_name: dict[str, Issuer] = {}
        for issuer in issuers:
            if by_name.setdefault(issuer.issuer, issuer) is not issuer:
                raise ValueError("an issuer has two entries")
        self.issuers: Mapping[str, Issuer] = MappingProxyType(by_name)
        self.roles = roles or RoleMap()
        self.anonymous_roles = anonymous_roles
        self.revocations = revocations
        self.realm = realm
        self.tokens: ProofCache[tuple[bytes, str]] = ProofCache(capacity)
        self.certificates: ProofCache[str] = ProofCache(capacity)
        self.strangers: ProofCache[str] = ProofCache(capacity)


async def identify(call: Call, methods: Identification, now: float) -> Identity:
    """Prove who sent a request.

    Runs without waiting and without I/O unless a token names a key that its issuer's set lacks.

    Args:
        call: The request; its headers and token are attacker-controlled.
        methods: What is trusted.
        now: Seconds since the epoch.

    Returns:
        The identity, or the configured anonymous one if the request carries no credential.

    Raises:
        Refused: One of the `CREDENTIAL_*`, `TOKEN_*` and `CERTIFICATE_*` reasons.
    """
    revocations = methods.revocations
    if not revocations.is_current:
        raise Refused(STALE)
    headers = call.headers
    if not headers.keys().isdisjoint(FOREIGN_SET) or call.query:
        _refuse_foreign(call)
    value = headers.get(b"authorization")
    certificate = call.peer.certificate
    if value is None:
        if certificate is not None:
            return _by_certificate(certificate, methods, now)
        return _stranger(call.peer.address, methods)
    if value.startswith(b"Bearer "):  # as nearly everybody writes it; the rest is normalised below
        fingerprint = certificate.fingerprint if certificate is not None else ""
        digest = call.memo.digest
        if not digest:
            digest = call.memo.digest = sha256(value[7:]).digest()
        known = methods.tokens.find((digest, fingerprint), now)
        if known is not None and known.cleared == revocations.version:
            return known.identity
    return await _by_token(value, certificate, methods, now)


async def _by_token(
    value: bytes, certificate: PeerCertificate | None, methods: Identification, now: float
) -> Identity:
    if certificate is not None:
        refusal = check_certificate(certificate, now)
        if refusal is not None:
            raise Refused(refusal)
    token = bearer_token(value)
    if isinstance(token, Refusal):
        raise Refused(token)
    digest = sha256(token).digest()
    cache_key = (digest, certificate.fingerprint if certificate is not None else "")
    known = methods.tokens.find(cache_key, now)
    if known is not None:
        return _cleared(known, methods)
    verified = await verify(token, digest, methods.issuers, certificate, now)
    identity = from_token(verified, certificate, methods.roles)
    until = min(float(verified.expires), identity.expires)
    proven = Proven(now, until, verified.generation, verified.issuer.keys, identity, UNCLEARED)
    _cleared(proven, methods)
    methods.tokens.put(cache_key, proven)
    return identity


def _by_certificate(certificate: PeerCertificate, methods: Identification, now: float) -> Identity:
    known = methods.certificates.find(certificate.fingerprint, now)
    if known is None:
        refusal = check_certificate(certificate, now)
        if refusal is not None:
            raise Refused(refusal)
        identity = from_certificate(certificate, methods.roles)
        known = Proven(now, certificate.not_after, 0, None, identity, UNCLEARED)
        methods.certificates.put(certificate.fingerprint, known)
    return _cleared(known, methods)


def _stranger(address: str, methods: Identification) -> Identity:
    if methods.anonymous_roles is None:
        raise Refused(MISSING)
    known = methods.strangers.find(address, 0.0)
    if known is None:
        identity = anonymous(address, methods.anonymous_roles)
        known = Proven(0.0, identity.expires, 0, None, identity, UNCLEARED)
        methods.strangers.put(address, known)
    return _cleared(known, methods)


def _cleared(proven: Proven, methods: Identification) -> Identity:
    """Return who was proven, unless revoked; looks once per identity and version of the revocations.

    Raises:
        Refused: `REVOKED`.
    """
    revocations = methods.revocations
    version = revocations.version
    if proven.cleared != version:
        found = revocations.find(proven.identity)
        if found is not None:
            raise Refused(
                Refusal(Reason.REVOKED, note=f"revocation {found.id} of {found.target.value}: {found.reason}")
            )
        proven.cleared = version
    return proven.identity


def _refuse_foreign(call: Call) -> None:
    """Refuse credentials of kinds that nothing here verifies, wherever they stand."""
    for name in FOREIGN:
        if name in call.headers:
            raise Refused(AMBIGUOUS if b"authorization" in call.headers else UNSUPPORTED)
    for parameter in call.query.split("&"):
        if unquote_plus(parameter.partition("=")[0]) == "access_token":  # RFC 6750, section 2.3
            raise Refused(IN_QUERY)
