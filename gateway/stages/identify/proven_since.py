"""What can have changed about somebody who was proven: their revocation, their issuer's keys, their roles.

For what verifies again while an exchange runs. Looks nothing up that waits, and proves nothing anew: a
credential is verified once, here only what its proof rested on is looked at again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.core.refusal import Reason, Refusal
from gateway.stages.identify.gateway_keys import check_place
from gateway.stages.identify.identity import strings
from gateway.stages.identify.roles import Facts, find_claim
from gateway.stages.identify.svid import ALGORITHMS as SVID_ALGORITHMS

if TYPE_CHECKING:
    from gateway.core.gateway_key import GatewayKey
    from gateway.core.identity import Identity, Peer, PeerCertificate
    from gateway.core.revocation import Revocation
    from gateway.stages.identify import Identification

TOKENS: Final = frozenset({"jwt", "opaque"})
SPIFFE: Final = "spiffe://"  # and the trust domain's name: the issuer of JWT-SVIDs

ISSUER_GONE: Final = Refusal(Reason.TOKEN_ISSUER_UNKNOWN, "The token's issuer is no longer accepted here.")
NO_KEY: Final = Refusal(Reason.KEY_UNKNOWN, "The key is no longer accepted here.")
ENDED: Final = Refusal(Reason.KEY_EXPIRED, "The key has expired, or was replaced by a new one.")
KEY_GONE: Final = Refusal(Reason.TOKEN_KEY_UNKNOWN, "The token's key is no longer one of its issuer's.")


def revoked(found: Revocation) -> Refusal:
    """Return the refusal of somebody whom a revocation concerns; the client learns nothing of it."""
    why = f": {found.reason}" if found.reason else ""
    return Refusal(Reason.REVOKED, note=f"revocation {found.id} of {found.target.value}{why}")


def unkeyed(identity: Identity, peer: Peer, methods: Identification, now: float) -> Refusal | None:
    """Tell whether the key that a token was verified with is gone, or its issuer, or a gateway key.

    Args:
        identity: Who was proven.
        peer: The other end of the connection: a gateway key may be bound to it since.
        methods: What is trusted now.
        now: Seconds since the epoch.

    Returns:
        `TOKEN_ISSUER_UNKNOWN`, `TOKEN_KEY_UNKNOWN`, `KEY_UNKNOWN`, `KEY_EXPIRED` or `KEY_BINDING`; None if
        all are there, or no key was involved.
    """
    if identity.key_id is not None:
        key = None if methods.keys is None else methods.keys.find(identity.key_id)
        return _over(identity, key, now) or (key and check_place(key, peer.certificate, peer.address))
    if "opaque" in identity.methods:
        return None if identity.issuer in methods.opaque.names else ISSUER_GONE
    if "jwt" not in identity.methods:
        return None
    # a token is an issuer's or a trust domain's by what it says, never both: see `svid.claimed`
    issuer = methods.issuers.get(identity.issuer)
    domain = None if issuer is not None else methods.domains.get(identity.issuer.removeprefix(SPIFFE))
    if issuer is not None:
        keys, algorithms = issuer.keys, issuer.algorithms
    elif domain is not None:
        keys, algorithms = domain.keys, SVID_ALGORITHMS
    else:
        return ISSUER_GONE
    if any(keys.find(identity.signing_key, algorithm) is not None for algorithm in algorithms):
        return None
    return KEY_GONE


def _over(identity: Identity, key: GatewayKey | None, now: float) -> Refusal | None:
    """Tell whether a gateway key is gone, was replaced, or ends earlier than it did."""
    if key is None or identity.issued not in {key.issued, key.previous_issued}:
        return NO_KEY
    until = key.expires if identity.issued == key.issued else min(key.previous_until, key.expires)
    return None if now < until else ENDED


def current(identity: Identity, certificate: PeerCertificate | None, methods: Identification) -> Identity:
    """Return an identity with what is configured of it now: its roles, and what a gateway key gives.

    Args:
        identity: As for `current_roles`.
        certificate: Likewise.
        methods: Likewise.

    Raises:
        Refused: Likewise.
    """
    now = replace(identity, roles=current_roles(identity, certificate, methods))
    key = None if now.key_id is None or methods.keys is None else methods.keys.find(now.key_id)
    return now if key is None else replace(now, groups=key.groups, scopes=key.scopes, bound=key.is_bound)


def current_roles(
    identity: Identity, certificate: PeerCertificate | None, methods: Identification
) -> frozenset[str]:
    """Return the roles that an identity has by what is configured now.

    Args:
        identity: Who was proven, perhaps under an older configuration.
        certificate: The connection's certificate, or None.
        methods: What is trusted now; the identity's issuer is among it: see `unkeyed`.

    Raises:
        Refused: `TOKEN_CLAIM_INVALID`: a claim that counts now is not of the type that it must have.
    """
    if identity.is_anonymous:
        return methods.anonymous_roles or frozenset()
    names = frozenset[str]()
    if certificate is not None:
        names = frozenset({certificate.subject, *certificate.dns} - {""})
    issuer = methods.issuers.get(identity.issuer)
    is_token = not TOKENS.isdisjoint(identity.methods)
    if is_token and issuer is not None:
        client = identity.client_id
        held = find_claim(identity.claims, issuer.roles_claim) if issuer.roles_claim else None
        facts = Facts(
            groups=frozenset(strings(find_claim(identity.claims, issuer.groups_claim), "groups")),
            claims=identity.claims,
            subject=identity.key,
            clients=frozenset({client, f"{issuer.issuer}|{client}"}) if client else frozenset(),
            token_roles=frozenset(strings(held, "roles")),
            spiffe_id=identity.spiffe_id,
            certificates=names,
        )
    elif identity.key_id is not None and methods.keys is not None:
        key = methods.keys.find(identity.key_id)
        groups = frozenset(key.groups if key is not None else ())
        facts = Facts(groups=groups, subject=identity.key, spiffe_id=identity.spiffe_id, certificates=names)
        return methods.roles.roles(facts) | (key.roles if key is not None else frozenset())
    elif identity.methods == ("mtls",) or "jwt" in identity.methods:  # a JWT-SVID says no more
        facts = Facts(spiffe_id=identity.spiffe_id, certificates=names)
    else:
        return frozenset()  # a credential that nobody takes any more: see `unkeyed`
    return methods.roles.roles(facts)
