"""Builds an `Identity` from credentials that are already verified. Verifies nothing.

Claims that say who somebody is must have their exact type: a group list that is no list of strings
is refused, not guessed at.
"""

from __future__ import annotations

from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.identity import Identity
from gateway.core.refusal import Refused
from gateway.stages.identify.binding import proof_key
from gateway.stages.identify.certificate import certificate_subject
from gateway.stages.identify.claims import MAX_DATE, invalid
from gateway.stages.identify.roles import Facts, find_claim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.gateway_key import GatewayKey
    from gateway.core.identity import PeerCertificate
    from gateway.stages.identify.issuer import Issuer
    from gateway.stages.identify.roles import RoleMap
    from gateway.stages.identify.svid import Svid

KEY_ISSUER: Final = "key"  # no issuer may be called so: "key|subject" is a gateway key's owner


class Verified(NamedTuple):
    """A token that passed every check.

    Args:
        claims: All of them; `iss`, `sub`, `iat` and `exp` are what they must be.
        issuer: The issuer entry it was verified under.
        issued: `iat`.
        expires: `exp`.
        digest: SHA-256 of the token.
        generation: Generation of the issuer's keys that it was verified with.
        kid: Name of the key that signed it, or None.
        method: What it is: "jwt", or "opaque".
        until: When its issuer must be asked about it again, seconds since the epoch.
    """

    claims: Mapping[str, object]
    issuer: Issuer
    issued: int
    expires: int
    digest: bytes
    generation: int
    kid: str | None = None
    method: str = "jwt"
    until: float = inf

    @property
    def is_signed(self) -> bool:
        """True if its issuer's keys verified it, so that it is void once they change."""
        return self.method == "jwt"


class Accepted(NamedTuple):
    """A gateway key that passed every check.

    Args:
        key: The key.
        issued: When the secret that was shown was made.
        expires: When it ends.
    """

    key: GatewayKey
    issued: float
    expires: float


def strings(value: object, name: str) -> tuple[str, ...]:
    """Return a claim that lists names; none if it is absent.

    Args:
        value: The claim.
        name: What it stands for, one of our own words: it is told.

    Raises:
        Refused: `TOKEN_CLAIM_INVALID`: it is no list of strings.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Refused(invalid(name))
    return tuple(value)


def _string(claims: Mapping[str, object], name: str) -> str | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise Refused(invalid(name))
    return value


def _auth_time(claims: Mapping[str, object]) -> float | None:
    value = claims.get("auth_time")
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MAX_DATE:
        raise Refused(invalid("auth_time"))
    return float(value)


def _scopes(claims: Mapping[str, object]) -> frozenset[str]:
    value = claims.get("scope")
    return frozenset(value.split() if isinstance(value, str) else strings(value, "scope"))


def _certificate_names(certificate: PeerCertificate | None) -> frozenset[str]:
    return frozenset() if certificate is None else frozenset({certificate.subject, *certificate.dns} - {""})


def _methods(method: str, thumbprint: str | None, certificate: PeerCertificate | None) -> tuple[str, ...]:
    proof = () if thumbprint is None else ("dpop",)
    return tuple(sorted((*proof, method) if certificate is None else (*proof, method, "mtls")))


def from_token(token: Verified, certificate: PeerCertificate | None, roles: RoleMap) -> Identity:
    """Build the identity of a token's subject; the certificate, if any, is evidence beside it.

    Args:
        token: The verified token, its binding checked; a proof of possession still to be checked by
            whoever returns the identity, if it has a `proof_key`.
        certificate: The connection's certificate, checked, or None.
        roles: The configuration's roles.

    Raises:
        Refused: `TOKEN_CLAIM_INVALID`: a claim is not of the type that it must have.
    """
    claims, issuer = token.claims, token.issuer
    subject = str(claims["sub"])
    key = f"{issuer.issuer}|{subject}"
    groups = strings(find_claim(claims, issuer.groups_claim), "groups")
    held = strings(find_claim(claims, issuer.roles_claim) if issuer.roles_claim else None, "roles")
    client = _string(claims, "client_id" if "client_id" in claims else "azp")
    spiffe_id = None if certificate is None else certificate.spiffe_id
    facts = Facts(
        groups=frozenset(groups),
        claims=claims,
        subject=key,
        clients=frozenset({client, f"{issuer.issuer}|{client}"}) if client else frozenset(),
        token_roles=frozenset(held),
        spiffe_id=spiffe_id,
        certificates=_certificate_names(certificate),
    )
    end = token.expires + issuer.skew
    thumbprint = proof_key(claims)
    return Identity(
        key=key,
        issuer=issuer.issuer,
        subject=subject,
        methods=_methods(token.method, thumbprint, certificate),
        roles=roles.roles(facts),
        expires=end if certificate is None else min(end, certificate.not_after),
        groups=groups,
        scopes=_scopes(claims),
        claims=MappingProxyType(dict(claims)),
        client_id=client,
        spiffe_id=spiffe_id,
        certificate=None if certificate is None else certificate.fingerprint,
        token=token.digest.hex()[:16],
        token_id=_string(claims, "jti"),
        issued=float(token.issued),
        acr=_string(claims, "acr"),
        amr=strings(claims.get("amr"), "amr"),
        auth_time=_auth_time(claims),
        bound="cnf" in claims,
        proof_key=thumbprint,
        session=_string(claims, "sid"),
        signing_key=token.kid,
    )


def from_svid(svid: Svid, certificate: PeerCertificate | None, roles: RoleMap) -> Identity:
    """Build the identity of a workload that showed a JWT-SVID.

    Its key is the SPIFFE ID, as with an X.509-SVID: the same authority names the same workload by both,
    and limits and revocations that a change of credential could shake off would be none.

    Args:
        svid: The verified token.
        certificate: The connection's certificate, checked, or None; it names no other workload. A proof of
            possession is still to be checked, as with `from_token`.
        roles: The configuration's roles.

    Raises:
        Refused: `TOKEN_CLAIM_INVALID`: a claim is not of the type that it must have.
    """
    claims = svid.claims
    facts = Facts(spiffe_id=svid.id, certificates=_certificate_names(certificate))
    end = svid.expires + svid.domain.skew
    thumbprint = proof_key(claims)
    return Identity(
        key=svid.id,
        issuer=f"spiffe://{svid.domain.name}",
        subject=svid.id,
        methods=_methods("jwt", thumbprint, certificate),
        roles=roles.roles(facts),
        expires=end if certificate is None else min(end, certificate.not_after),
        claims=MappingProxyType(dict(claims)),
        spiffe_id=svid.id,
        certificate=None if certificate is None else certificate.fingerprint,
        token=svid.digest.hex()[:16],
        token_id=_string(claims, "jti"),
        issued=float(svid.issued),
        bound="cnf" in claims,
        proof_key=thumbprint,
        signing_key=svid.kid,
    )


def from_key(accepted: Accepted, certificate: PeerCertificate | None, roles: RoleMap) -> Identity:
    """Build the identity of a gateway key's subject; the certificate, if any, is evidence beside it.

    Args:
        accepted: The key, its binding checked.
        certificate: The connection's certificate, checked, or None.
        roles: The configuration's roles: a key can have more than it names, by what it is bound to.
    """
    key = accepted.key
    name = f"{KEY_ISSUER}|{key.subject}"
    spiffe_id = None if certificate is None else certificate.spiffe_id
    facts = Facts(
        groups=frozenset(key.groups),
        subject=name,
        spiffe_id=spiffe_id,
        certificates=_certificate_names(certificate),
    )
    return Identity(
        key=name,
        issuer=KEY_ISSUER,
        subject=key.subject,
        methods=("key",) if certificate is None else ("key", "mtls"),
        roles=key.roles | roles.roles(facts),
        expires=accepted.expires if certificate is None else min(accepted.expires, certificate.not_after),
        groups=key.groups,
        scopes=key.scopes,
        spiffe_id=spiffe_id,
        certificate=None if certificate is None else certificate.fingerprint,
        issued=accepted.issued,
        bound=key.is_bound,
        key_id=key.id,
    )


def from_certificate(certificate: PeerCertificate, roles: RoleMap) -> Identity:
    """Build the identity of a certificate's owner.

    Args:
        certificate: Checked; it names somebody.
        roles: The configuration's roles.
    """
    subject = certificate_subject(certificate)
    facts = Facts(spiffe_id=certificate.spiffe_id, certificates=_certificate_names(certificate))
    return Identity(
        key=subject,
        issuer=certificate.issuer,
        subject=subject,
        methods=("mtls",),
        roles=roles.roles(facts),
        expires=certificate.not_after,
        spiffe_id=certificate.spiffe_id,
        certificate=certificate.fingerprint,
    )


def anonymous(address: str, roles: frozenset[str]) -> Identity:
    """Build the identity of somebody who proved nothing: one per address, so that limits hold."""
    key = f"anonymous|{address}"
    return Identity(key=key, issuer="", subject="anonymous", methods=(), roles=roles, expires=float("inf"))
