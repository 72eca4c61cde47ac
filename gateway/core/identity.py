"""Who calls: the TLS peer, and the identity that its credentials prove.

A `Peer` is what the connection itself proves, made once per connection. An `Identity` is what all
verified credentials of one request prove together. Neither ever holds a credential, only its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, final

TWO_PROOFS: Final = "urn:gateway:acr:two-proofs"  # a context class of ours: met by proofs, never by a claim
NO_CLAIMS: Mapping[str, object] = MappingProxyType({})
CERTIFICATE_CONFIRMATION: Final = "x5t#S256"  # RFC 8705, section 3.1
KEY_CONFIRMATION: Final = "jkt"  # RFC 9449, section 6.1


@final
@dataclass(frozen=True)
class PeerCertificate:
    """The client certificate that the TLS handshake proved possession of.

    Args:
        fingerprint: base64url SHA-256 of the DER leaf, as in `cnf.x5t#S256` (RFC 8705, section 3.1).
        subject: Distinguished name, RFC 4514.
        issuer: Distinguished name of the issuing authority, RFC 4514.
        serial: Serial number, lower-case hexadecimal.
        uris: URI subject alternative names, as they stand in the certificate.
        dns: DNS subject alternative names.
        spiffe_id: The one valid SPIFFE ID, or None.
        not_before: Seconds since the epoch.
        not_after: Seconds since the epoch.
    """

    fingerprint: str
    subject: str
    issuer: str
    serial: str
    uris: tuple[str, ...]
    dns: tuple[str, ...]
    spiffe_id: str | None
    not_before: float
    not_after: float


@final
@dataclass(frozen=True)
class Peer:
    """The other end of one client connection.

    Args:
        address: IP address as the kernel gives it (or "unix").
        port: TCP port, 0 where there is none.
        certificate: The verified client certificate, or None.
        tls: Negotiated protocol ("TLSv1.3"), or None without TLS.
    """

    address: str
    port: int
    certificate: PeerCertificate | None = None
    tls: str | None = None


@final
@dataclass(frozen=True)
class Identity:
    """One caller, as far as verified credentials prove it.

    `key` is what limits, counters and records are kept under: issuer and subject of the token, or
    the SPIFFE ID or subject name of the certificate. Two callers never share one.

    Args:
        key: Stable, unique name of the caller.
        issuer: `iss` of the token, or the certificate's issuer; "" for an anonymous caller.
        subject: `sub` of the token, or SPIFFE ID, or distinguished name.
        methods: Which credentials were verified, sorted: "dpop" (a proof of possession), "jwt", "key" (a
            gateway key), "mtls", "opaque" (a token that its issuer was asked about); empty for anonymous.
        roles: Roles from the configuration that this identity has.
        groups: Group names from the token.
        scopes: OAuth scopes of the token.
        claims: Verified claims of the token, read-only.
        client_id: OAuth client, or None.
        spiffe_id: From certificate or token, or None.
        certificate: Fingerprint of the peer's certificate, or None.
        token: First 16 hex digits of the token's SHA-256, or None; never the token.
        token_id: `jti`, or None.
        expires: When the identity stops being proven, seconds since the epoch.
        issued: `iat` of the token, or 0.
        acr: Authentication context class, or None.
        amr: Authentication methods.
        auth_time: When the user authenticated, seconds since the epoch, or None.
        bound: True if the token is bound to this connection's certificate (RFC 8705) or to a key whose
            possession every request proves (RFC 9449).
        proof_key: Thumbprint of that key (`cnf.jkt`), or None.
        session: `sid` of the token, or None.
        signing_key: `kid` of the key that signed the token, or None.
        key_id: Id of the gateway key, or None.
    """

    key: str
    issuer: str
    subject: str
    methods: tuple[str, ...]
    roles: frozenset[str]
    expires: float
    groups: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, object] = field(default_factory=lambda: NO_CLAIMS, repr=False)
    client_id: str | None = None
    spiffe_id: str | None = None
    certificate: str | None = None
    token: str | None = None
    token_id: str | None = None
    issued: float = 0.0
    acr: str | None = None
    amr: tuple[str, ...] = ()
    auth_time: float | None = None
    bound: bool = False
    proof_key: str | None = None
    session: str | None = None
    signing_key: str | None = None
    key_id: str | None = None

    @property
    def binding(self) -> str:
        """To what the token is bound: "none", "certificate", "key" or "both"."""
        if not self.bound:
            return "none"
        if self.proof_key is None:
            return "certificate"
        confirmation = self.claims.get("cnf")
        is_both = isinstance(confirmation, Mapping) and CERTIFICATE_CONFIRMATION in confirmation
        return "both" if is_both else "key"

    @property
    def proofs(self) -> int:
        """How many independent proofs: 2 for a certificate beside a token bound to a key, 0 for none at all.

        A token that is bound to nothing adds none: with it, whoever holds it is taken for its subject. Nor
        does a gateway key: nobody but this gateway vouches for it.
        """
        if self.certificate is not None and self.bound and self.key_id is None:
            return 2
        return 1 if self.methods else 0

    @property
    def is_anonymous(self) -> bool:
        """True if nothing was proven."""
        return not self.methods
