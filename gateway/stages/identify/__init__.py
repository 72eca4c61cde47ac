"""Who calls: turns the peer's certificate and the access token into one proven identity.

A token's or key's subject is the caller, and a certificate beside it is evidence; a certificate alone
names its owner. A token that is bound to a key comes with a proof, which is checked with every request:
such tokens are remembered apart from those that need none. What was proven is remembered by digest, never
beyond the end of any part of the proof, and is void once the keys behind it change; whoever was revoked
since is nobody. Never decides what a caller may do.
"""

from __future__ import annotations

from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, final
from urllib.parse import unquote_plus

from gateway.core.gateway_key import PREFIX
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.core.revocation import NOTHING_REVOKED
from gateway.stages.identify.bearer import SCHEME, presented_token, verify
from gateway.stages.identify.cache import ProofCache, Proven
from gateway.stages.identify.certificate import check_certificate
from gateway.stages.identify.compact import is_compact
from gateway.stages.identify.gateway_keys import NO_KEYS, verify_key
from gateway.stages.identify.identity import anonymous, from_certificate, from_key, from_svid, from_token
from gateway.stages.identify.issuer import Issuer
from gateway.stages.identify.opaque import OpaqueIssuer, OpaqueIssuers, verify_opaque
from gateway.stages.identify.possession import Possession, ProofRules
from gateway.stages.identify.proven_since import current, current_roles, revoked, unkeyed
from gateway.stages.identify.roles import RoleMap, RoleRule
from gateway.stages.identify.svid import Domain, claimed, verify_svid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.call import Call
    from gateway.core.gateway_key import GatewayKeys
    from gateway.core.identity import Identity, PeerCertificate
    from gateway.core.ports import Revocations

__all__ = [
    "STALE",
    "Domain",
    "Identification",
    "Issuer",
    "OpaqueIssuer",
    "Possession",
    "ProofRules",
    "RoleMap",
    "RoleRule",
    "current",
    "current_roles",
    "identify",
    "next_nonce",
    "revoked",
    "unkeyed",
]

# Credentials that are not verified here: beside a verified one they would be a second opinion on
# who calls, alone they would be an unverified one.
FOREIGN: Final = (
    b"x-api-key",
    b"api-key",
    b"proxy-authorization",
    b"workload-identity-token",
    b"workload-proof-token",
    b"txn-token",
)
NOTEWORTHY: Final = frozenset({b"dpop", *FOREIGN})
KEY_FIELD: Final = b"x-api-key"  # foreign, unless it holds a gateway key and there are any
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
KEY_UNPROVEN: Final = Refusal(
    Reason.KEY_BINDING, note="a gateway key is bound to no key that a proof could be made with"
)
IN_QUERY: Final = Refusal(Reason.CREDENTIAL_SCHEME, "A token in the query string is not accepted.")


@final
class Identification:
    """How callers prove who they are; part of the frozen runtime. Only its caches change.

    Args:
        issuers: Trusted token issuers, each `iss` once.
        opaque: Those of them that are asked about opaque tokens.
        keys: The gateway's own keys; None: it has none.
        domains: Trust domains whose JWT-SVIDs are accepted, each name once.
        roles: The configuration's roles.
        anonymous_roles: Roles of callers without credentials; None refuses them.
        revocations: Who is no longer believed.
        possession: Checks proofs of possession; None: the scheme DPoP is not accepted.
        realm: Name of the protection space in challenges (RFC 9110, section 11.5).
        capacity: How many tokens, certificates and addresses are remembered at least, each.

    Raises:
        ValueError: Two entries for one issuer or trust domain, or an opaque token that two could be asked
            about.
    """

    __slots__ = (
        "anonymous_roles",
        "bound_tokens",
        "certificates",
        "domains",
        "issuers",
        "keys",
        "opaque",
        "possession",
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
        opaque: Iterable[OpaqueIssuer] = (),
        keys: GatewayKeys | None = None,
        domains: Iterable[Domain] = (),
        roles: RoleMap | None = None,
        anonymous_roles: frozenset[str] | None = None,
        revocations: Revocations = NOTHING_REVOKED,
        possession: Possession | None = None,
        realm: str = "gateway",
        capacity: int = 20_000,
    ) -> None:
        by_name: dict[str, Issuer] = {}
        for issuer in issuers:
            if by_name.setdefault(issuer.issuer, issuer) is not issuer:
                raise ValueError("an issuer has two entries")
        by_domain: dict[str, Domain] = {}
        for domain in domains:
            if by_domain.setdefault(domain.name, domain) is not domain:
                raise ValueError("a trust domain has two entries")
        self.issuers: Mapping[str, Issuer] = MappingProxyType(by_name)
        self.opaque = OpaqueIssuers(opaque)
        self.keys = keys
        self.domains: Mapping[str, Domain] = MappingProxyType(by_domain)
        self.roles = roles or RoleMap()
        self.anonymous_roles = anonymous_roles
        self.revocations = revocations
        self.possession = possession
        self.realm = realm
        self.tokens: ProofCache[tuple[bytes, str]] = ProofCache(capacity)  # no proof, or the connection's
        self.bound_tokens: ProofCache[tuple[bytes, str]] = ProofCache(capacity)  # believed with a proof only
        self.certificates: ProofCache[str] = ProofCache(capacity)
        self.strangers: ProofCache[str] = ProofCache(capacity)


async def identify(call: Call, methods: Identification, now: float) -> Identity:
    """Prove who sent a request.

    Runs without waiting and without I/O unless a token names a key that its issuer's set lacks, or is one
    that its issuer must be asked about, or a proof of possession is claimed in a store of the fleet's.

    Args:
        call: The request; its headers and token are attacker-controlled.
        methods: What is trusted.
        now: Seconds since the epoch.

    Returns:
        The identity, or the configured anonymous one if the request carries no credential.

    Raises:
        Refused: One of the `CREDENTIAL_*`, `TOKEN_*`, `PROOF_*`, `KEY_*` and `CERTIFICATE_*` reasons,
            `REVOKED`, `REVOCATIONS_STALE`, or `STORE_UNAVAILABLE`.
    """
    revocations = methods.revocations
    if not revocations.is_current:
        raise Refused(STALE)
    headers = call.headers
    if not headers.keys().isdisjoint(NOTEWORTHY) or call.query:
        _refuse_foreign(call, methods)
    value = headers.get(b"authorization")
    certificate = call.peer.certificate
    if value is None:
        if KEY_FIELD in headers:
            return _by_key(call, headers[KEY_FIELD], methods, now)
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
    return await _by_token(call, value, methods, now)


async def _by_token(call: Call, value: bytes, methods: Identification, now: float) -> Identity:
    certificate = _checked_certificate(call, now)
    presented = presented_token(value)
    if isinstance(presented, Refusal):
        raise Refused(presented)
    token, has_proof = presented
    if token.startswith(PREFIX):  # never to an issuer, whatever scheme it came under
        if has_proof:
            raise Refused(KEY_UNPROVEN)
        return _by_key(call, token, methods, now)
    if not has_proof:
        return _cleared(await _proven(call, token, methods.tokens, certificate, methods, now), methods)
    possession = methods.possession
    if possession is None:
        raise Refused(SCHEME)
    cache = methods.bound_tokens
    proven = await _proven(call, token, cache, certificate, methods, now, has_proof=True)
    identity = _cleared(proven, methods)
    digest = sha256(token).digest()
    await possession.check(call, digest, identity.proof_key or "", now)  # with every request, cached or not
    return _cleared(proven, methods)  # the claim may have been waited for


async def _proven(
    call: Call,
    token: bytes,
    cache: ProofCache[tuple[bytes, str]],
    certificate: PeerCertificate | None,
    methods: Identification,
    now: float,
    *,
    has_proof: bool = False,
) -> Proven:
    """Return what a token proves, from the one cache that is for tokens of its kind, or newly verified.

    It is verified as its look demands: whatever looks like a JWS is one or nothing.
    """
    digest = sha256(token).digest()
    cache_key = (digest, certificate.fingerprint if certificate is not None else "")
    known = cache.find(cache_key, now)
    if known is not None:
        return known
    workload = claimed(token, methods.issuers, methods.domains) if methods.domains else None
    if workload is not None:
        svid = await verify_svid(workload, digest, certificate, now, has_proof=has_proof)
        identity = from_svid(svid, certificate, methods.roles)
        until = min(float(svid.expires), identity.expires)
        proven = Proven(now, until, svid.generation, svid.domain.keys, identity, UNCLEARED)
        cache.put(cache_key, proven)
        return proven
    if is_compact(token) or not methods.opaque:
        verified = await verify(token, digest, methods.issuers, certificate, now, has_proof=has_proof)
    else:
        address = call.peer.address
        verified = await verify_opaque(
            token, digest, methods.opaque, certificate, address, now, has_proof=has_proof
        )
    identity = from_token(verified, certificate, methods.roles)
    until = min(float(verified.expires), identity.expires, verified.until)
    keys = verified.issuer.keys if verified.is_signed else None
    proven = Proven(now, until, verified.generation, keys, identity, UNCLEARED)
    cache.put(cache_key, proven)
    return proven


def _by_key(call: Call, token: bytes, methods: Identification, now: float) -> Identity:
    keys = methods.keys
    if keys is None:
        raise Refused(NO_KEYS)
    certificate = _checked_certificate(call, now)
    digest = sha256(token).digest()
    presenter = certificate.fingerprint if certificate is not None else ""
    address = call.peer.address
    cache_key = (digest, presenter)
    near = (digest, f"{presenter} {address}")  # of a key that may not come from everywhere
    known = methods.tokens.find(cache_key, now) or methods.tokens.find(near, now)
    if known is None:
        accepted = verify_key(token, keys, certificate, address, now)
        if isinstance(accepted, Refusal):
            raise Refused(accepted)
        identity = from_key(accepted, certificate, methods.roles)
        known = Proven(now, identity.expires, keys.generation, keys, identity, UNCLEARED)
        methods.tokens.put(near if accepted.key.networks else cache_key, known)
    return _cleared(known, methods)


def _checked_certificate(call: Call, now: float) -> PeerCertificate | None:
    certificate = call.peer.certificate
    if certificate is not None:
        refusal = check_certificate(certificate, now)
        if refusal is not None:
            raise Refused(refusal)
    return certificate


def next_nonce(identity: Identity, methods: Identification, now: float) -> bytes:
    """Return the field that gives an identity the nonce for its next proof, or b"" (RFC 9449, section 8.2).

    Args:
        identity: Who was answered.
        methods: What is trusted.
        now: Seconds since the epoch.
    """
    possession = methods.possession
    nonce = None if possession is None else possession.nonce(identity, now)
    return b"" if nonce is None else b"dpop-nonce: %b\r\n" % nonce.encode()


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
        if not revocations.is_current:  # keys may have been waited for
            raise Refused(STALE)
        found = revocations.find(proven.identity)
        if found is not None:
            raise Refused(revoked(found))
        proven.cleared = version
    return proven.identity


def _refuse_foreign(call: Call, methods: Identification) -> None:
    """Refuse credentials of kinds that nothing here verifies, wherever they stand."""
    headers = call.headers
    for name in FOREIGN:
        if name in headers:
            if b"authorization" in headers:
                raise Refused(AMBIGUOUS)
            if name != KEY_FIELD or methods.keys is None or not headers[name].startswith(PREFIX):
                raise Refused(UNSUPPORTED)
    if b"dpop" in headers:  # goes with one scheme alone (RFC 9449, section 7.1)
        value = headers.get(b"authorization")
        if value is None:
            raise Refused(UNSUPPORTED)
        if value[:5].lower() != b"dpop ":
            raise Refused(AMBIGUOUS)
    for parameter in call.query.split("&"):
        if unquote_plus(parameter.partition("=")[0]) == "access_token":  # RFC 6750, section 2.3
            raise Refused(IN_QUERY)
