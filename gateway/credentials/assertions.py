"""The gateway's signature: tells a backend who asks, for which route, model and rule.

A short-lived JWT of a type of its own, so that nobody can mistake it for an access token. It carries
no credential of the client. Signing costs about 40 us, so an assertion is used again for the same
identity and decision, for at most half of its life.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, NamedTuple, Self, final

from cryptography.hazmat.primitives.asymmetric import ed25519

from gateway.credentials.files import read_bounded
from gateway.credentials.signing import Signer, key_set

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.core.permit import Permit

TYPE: Final = "gateway-assertion+jwt"
LIFETIME: Final = 60.0  # seconds
CAPACITY: Final = 20_000

_Key = tuple[str, str | None, str | None, str, str, str | None, frozenset[str]]


class _Signed(NamedTuple):
    until: float
    since: float
    id: str
    token: bytes


@final
class SignedAssertions:
    """Signs assertions. Implements `core.ports.Assertions`.

    Args:
        signer: The gateway's key.
        issuer: `iss`.
        lifetime: Seconds that a backend may believe an assertion.
        audiences: `aud` by backend name, where it is not the name itself.
        capacity: How many assertions are kept for reuse; beyond, all are forgotten and signed anew.

    Raises:
        ValueError: The lifetime is shorter than two seconds.
    """

    __slots__ = ("_audiences", "_capacity", "_header", "_issued", "_signer", "issuer", "lifetime")

    def __init__(
        self,
        signer: Signer,
        issuer: str,
        *,
        lifetime: float = LIFETIME,
        audiences: Mapping[str, str] | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        if lifetime < 2:  # noqa: PLR2004 - dates are whole seconds: half of less is nothing
            raise ValueError("lifetime of assertions must be at least 2 seconds")
        self.issuer = issuer
        self.lifetime = lifetime
        self._signer = signer
        self._audiences = dict(audiences or {})
        self._capacity = capacity
        self._header = {"alg": signer.algorithm, "typ": TYPE, "kid": signer.kid}
        self._issued: dict[_Key, _Signed] = {}

    @classmethod
    def from_file(
        cls,
        private_key: Path | None,
        issuer: str,
        *,
        lifetime: float = LIFETIME,
        audiences: Mapping[str, str] | None = None,
    ) -> Self:
        """Load the key from a PEM file; without one, make a key that lives as long as the process.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no key that can sign.
        """
        if private_key is None:
            signer = Signer(ed25519.Ed25519PrivateKey.generate())
        else:
            signer = Signer.from_pem(read_bounded(private_key))
        return cls(signer, issuer, lifetime=lifetime, audiences=audiences)

    @property
    def jwks(self) -> bytes:
        """The public key as a JWK set, for backends."""
        return key_set(self._signer)

    def assertion(self, permit: Permit, now: float, /) -> tuple[str, bytes]:
        """Return the assertion for a permit.

        Args:
            permit: What was decided.
            now: Seconds since the epoch.

        Returns:
            Its `jti`, and the compact token.
        """
        identity = permit.identity
        # Everything that is signed depends on these alone: another token of the same caller may
        # carry other roles.
        key = (
            identity.key,
            identity.token,
            identity.certificate,
            permit.route.name,
            permit.rule,
            permit.model,
            identity.roles,  # a gateway key has no digest here, and its roles can change
        )
        known = self._issued.get(key)
        if known is not None and known[1] <= now < known[0]:
            return known[2], known[3]
        if len(self._issued) >= self._capacity:
            self._issued.clear()
        signed = self._issued[key] = self._sign(permit, now)
        return signed.id, signed.token

    def _sign(self, permit: Permit, now: float) -> _Signed:
        identity, backend = permit.identity, permit.route.backend
        issued = int(now)
        # Never longer than the identity itself is proven; never shorter than one second.
        expires = max(int(min(now + self.lifetime, identity.expires)), issued + 1)
        name = secrets.token_hex(16)
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": identity.subject,
            "sub_iss": identity.issuer,
            "aud": self._audiences.get(backend, backend),
            "iat": issued,
            "exp": expires,
            "jti": name,
            "route": permit.route.name,
            "model": permit.model,
            "rule": permit.rule,
            "roles": sorted(identity.roles),
            "methods": identity.methods,
        }
        # Not `cnf`: the backend never sees the client's connection, and would have to refuse.
        if identity.spiffe_id is not None:
            claims["spiffe_id"] = identity.spiffe_id
        if identity.certificate is not None:
            claims["client_x5t#S256"] = identity.certificate
        token = self._signer.sign(claims, self._header)
        return _Signed(min(now + self.lifetime / 2, expires), now, name, token)
