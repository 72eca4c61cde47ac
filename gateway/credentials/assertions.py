"""The gateway's signature: tells a backend who asks, for which route, model and rule.

A short-lived JWT of a type of its own, so that nobody can mistake it for an access token. It carries
no credential of the client. It is bound to the certificate that the gateway shows to that backend, where
it shows one: taken from the wire, it is worth nothing to anybody else. Signing costs about 20 us, so an
assertion is used again for the same identity and decision, for at most half of its life; unless every
request has to have one of its own.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, Self, final

from cryptography.hazmat.primitives.asymmetric import ed25519

from gateway.core.ports import Credential
from gateway.credentials.files import read_bounded
from gateway.credentials.signing import Signer, key_set

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.core.call import Call
    from gateway.core.permit import Permit

TYPE: Final = "gateway-assertion+jwt"
LIFETIME: Final = 60.0  # seconds
CAPACITY: Final = 20_000


def read_signer(private_key: Path | None) -> Signer:
    """Read the gateway's key from a PEM file; without one, make a key that lives as long as the process.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no key that can sign.
    """
    if private_key is None:
        return Signer(ed25519.Ed25519PrivateKey.generate())
    return Signer.from_pem(read_bounded(private_key))


_Key = tuple[str, str | None, str | None, str | None, str, str, str | None, frozenset[str]]


@final
class _Issued:
    """An assertion that may be used again, and between which times."""

    __slots__ = ("credential", "since", "until")

    def __init__(self, credential: Credential, since: float, until: float) -> None:
        self.credential = credential
        self.since = since
        self.until = until


@final
class SignedAssertions:
    """Signs assertions. Implements `core.ports.Onward`; never waits.

    Args:
        signer: The gateway's key.
        issuer: `iss`.
        lifetime: Seconds that a backend may believe an assertion.
        audiences: `aud` by backend name, where it is not the name itself.
        bindings: By backend name, `x5t#S256` of the certificate that the gateway shows to it.
        is_single_use: Sign for every request, under its own id, instead of once per decision.
        capacity: How many assertions are kept for reuse; beyond, all are forgotten and signed anew.

    Raises:
        ValueError: The lifetime is shorter than two seconds.
    """

    __slots__ = (
        "_audiences",
        "_bindings",
        "_capacity",
        "_header",
        "_is_single_use",
        "_issued",
        "_signer",
        "issuer",
        "lifetime",
    )

    def __init__(
        self,
        signer: Signer,
        issuer: str,
        *,
        lifetime: float = LIFETIME,
        audiences: Mapping[str, str] | None = None,
        bindings: Mapping[str, str] | None = None,
        is_single_use: bool = False,
        capacity: int = CAPACITY,
    ) -> None:
        if lifetime < 2:  # noqa: PLR2004 - dates are whole seconds: half of less is nothing
            raise ValueError("lifetime of assertions must be at least 2 seconds")
        self.issuer = issuer
        self.lifetime = lifetime
        self._signer = signer
        self._audiences = dict(audiences or {})
        self._bindings = dict(bindings or {})
        self._is_single_use = is_single_use
        self._capacity = capacity
        self._header = {"alg": signer.algorithm, "typ": TYPE, "kid": signer.kid}
        self._issued: dict[_Key, _Issued] = {}

    @classmethod
    def from_file(
        cls,
        private_key: Path | None,
        issuer: str,
        *,
        lifetime: float = LIFETIME,
        audiences: Mapping[str, str] | None = None,
        bindings: Mapping[str, str] | None = None,
        is_single_use: bool = False,
    ) -> Self:
        """Load the key from a PEM file; without one, make a key that lives as long as the process.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no key that can sign.
        """
        return cls(
            read_signer(private_key),
            issuer,
            lifetime=lifetime,
            audiences=audiences,
            bindings=bindings,
            is_single_use=is_single_use,
        )

    @property
    def jwks(self) -> bytes:
        """The public key as a JWK set, for backends."""
        return key_set(self._signer)

    def bind(self, backend: str, fingerprint: str) -> None:
        """Bind the assertions for a backend to another certificate: the gateway's own was replaced."""
        if self._bindings.get(backend) != fingerprint:
            self._bindings[backend] = fingerprint
            self._issued.clear()

    def find(self, call: Call, permit: Permit, now: float, /) -> Credential:
        """Return the assertion for a permit, in the field that carries it.

        Args:
            call: The request that was decided.
            permit: What was decided.
            now: Seconds since the epoch.
        """
        if self._is_single_use:
            return self._sign(call, permit, now).credential
        identity = permit.identity
        # Everything that is signed depends on these alone: another token of the same caller may
        # carry other roles.
        key = (
            identity.key,
            identity.token,
            identity.key_id,
            identity.certificate,
            permit.route.name,
            permit.rule,
            permit.model,
            identity.roles,  # those of a gateway key can change
        )
        known = self._issued.get(key)
        if known is not None and known.since <= now < known.until:
            return known.credential
        if len(self._issued) >= self._capacity:
            self._issued.clear()
        signed = self._issued[key] = self._sign(call, permit, now)
        return signed.credential

    async def obtain(self, call: Call, permit: Permit, now: float, /) -> Credential:
        """Return the same: a signature needs no waiting."""
        return self.find(call, permit, now)

    def statement(
        self, call: Call, permit: Permit, now: float, audience: str, fingerprint: str | None = None
    ) -> tuple[str, bytes, int]:
        """Sign who asks for what, for any audience.

        Args:
            call: The request that was decided: its id leads to the record.
            permit: What was decided.
            now: Seconds since the epoch.
            audience: `aud`.
            fingerprint: Certificate of ours that it is bound to, or None.

        Returns:
            Its `jti`, the compact token, and when it expires.
        """
        identity = permit.identity
        issued = int(now)
        # Never longer than the identity itself is proven; never shorter than one second.
        expires = max(int(min(now + self.lifetime, identity.expires)), issued + 1)
        name = secrets.token_hex(16)
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": identity.subject,
            "sub_iss": identity.issuer,
            "aud": audience,
            "iat": issued,
            "exp": expires,
            "jti": name,
            "decision": call.id,
            "route": permit.route.name,
            "model": permit.model,
            "rule": permit.rule,
            "roles": sorted(identity.roles),
            "methods": identity.methods,
        }
        # The connection that it is bound to is the gateway's own (RFC 8705, section 3.1); the client's
        # certificate is told beside it.
        if fingerprint is not None:
            claims["cnf"] = {"x5t#S256": fingerprint}
        if identity.spiffe_id is not None:
            claims["spiffe_id"] = identity.spiffe_id
        if identity.certificate is not None:
            claims["client_x5t#S256"] = identity.certificate
        return name, self._signer.sign(claims, self._header), expires

    def _sign(self, call: Call, permit: Permit, now: float) -> _Issued:
        backend = permit.route.backend
        audience = self._audiences.get(backend, backend)
        name, token, expires = self.statement(call, permit, now, audience, self._bindings.get(backend))
        credential = Credential(name, b"X-Gateway-Assertion: %b\r\n" % token)
        return _Issued(credential, now, min(now + self.lifetime / 2, expires))
